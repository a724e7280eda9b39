//! The process of one client: session, setup, pace, stop and probe.

use std::sync::Arc;

use jute::client::ClientPacket;
use jute::op::{CreateMode, ErrorCode};
use machine::{Digest, Input, InputOf, Instant, Io, Lane, Machine, Never, Span, Vocabulary};
use zkclient::ZkClient;

use crate::invocation::Invocation;
use crate::kinds::{Kind, SetupNode, parents};
use crate::op::{Aim, Done};
use crate::pace::Pace;
use crate::recorder::{Recorder, Told};
use crate::{ClientFact, OldestOp, Outcome, Stored, WorkloadFact, ZkWorkloadImage, ZkWorkloadView};

/// A setup step or a probe that failed is tried again after so long.
const RETRY: Span = Span::millis(200);

/// What must be there before work begins.
#[derive(Clone, Debug)]
struct Setup {
    nodes: Arc<[SetupNode]>,
    /// How many of them, the first, are what the client's chroot needs: they lie outside of it.
    outside: usize,
    /// How many are there.
    done: usize,
    /// When the next one is tried, unless it is being tried.
    next: Option<Instant>,
}

/// The write behind the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// None is wanted.
    Absent,
    /// It is tried then.
    At(Instant),
    /// It is being tried.
    Open,
    /// It succeeded.
    Succeeded,
}

/// One client process with a workload.
#[derive(Clone, Debug)]
pub struct ZkWorkload {
    image: Arc<ZkWorkloadImage>,
    recorder: Recorder,
    kind: Kind,
    setup: Setup,
    pace: Pace,
    /// When it starts nothing new; none once it has stopped, or never will.
    stop_at: Option<Instant>,
    stopped: bool,
    probe: Probe,
    probes: u64,
    /// What its probes are created under.
    probe_root: Arc<str>,
    /// The operator asked the process to end.
    terminating: bool,
}

impl Vocabulary for ZkWorkload {
    type Message = ClientPacket;
    type Work = Never;
    type Fact = ClientFact;
}

impl Machine for ZkWorkload {
    type Image = ZkWorkloadImage;
    type View = ZkWorkloadView;

    fn boot(image: &ZkWorkloadImage, io: &mut Io<'_, Self>) -> Self {
        image.check();
        io.state(WorkloadFact::Started { client: image.client, workload: image.kind });
        let kind = Kind::new(image);
        let chroot = image.connection.chroot.path().map_or_else(Vec::new, parents);
        let outside = chroot.len();
        let nodes = chroot.into_iter().chain(kind.setup()).collect();
        let setup = Setup { nodes, outside, done: 0, next: None };
        let recorder = Recorder::new(image.client, Arc::new(image.connection.clone()), image.processes, io);
        Self {
            recorder,
            kind,
            setup,
            pace: Pace::new(image.rate_per_second),
            stop_at: image.stop_after.map(|span| io.now() + span),
            stopped: false,
            probe: image.probe_after.map_or(Probe::Absent, |span| Probe::At(io.now() + span)),
            probes: 0,
            probe_root: Arc::clone(&image.root),
            terminating: false,
            image: Arc::new(image.clone()),
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match input {
            Input::Woken => self.on_woken(io),
            Input::Message { on, message } if self.recorder.owns(on) => {
                self.feed(Input::Message { on, message }, io);
            }
            Input::Opened { on } if self.recorder.owns(on) => self.feed(Input::Opened { on }, io),
            Input::Refused { on } if self.recorder.owns(on) => self.feed(Input::Refused { on }, io),
            Input::Lost { on, why } if self.recorder.owns(on) => self.feed(Input::Lost { on, why }, io),
            // Late: the session gave this end up while it was under way.
            Input::Message { .. } | Input::Opened { .. } | Input::Refused { .. } | Input::Lost { .. } => {}
            Input::Terminate => {
                self.terminating = true;
                self.pace.stop();
                let told = self.recorder.close(io);
                self.on_told(told, io);
            }
            Input::Turn { work, .. } => match work {},
            Input::Accepted { .. } | Input::Datagram { .. } | Input::Durable { .. } => {
                panic!("a client neither listens nor writes files: {input:?}")
            }
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let probe = match self.probe {
            Probe::At(at) => Some(at).filter(|_| self.is_set_up()),
            Probe::Absent | Probe::Open | Probe::Succeeded => None,
        };
        let kind = self.kind.next_wake().filter(|_| self.is_set_up());
        let own = [self.setup.next, self.pace.next(), self.stop_at, probe, kind];
        let own = own.into_iter().flatten().min().filter(|_| !self.terminating);
        [own, self.recorder.next_wake()].into_iter().flatten().min()
    }

    fn check_invariants(&self) {
        self.recorder.check_invariants();
        self.kind.check_invariants();
        assert!(self.setup.done <= self.setup.nodes.len(), "no more is set up than is wanted");
        if self.probe == Probe::Succeeded {
            assert!(self.probes > 0, "a probe that succeeded was tried");
        }
    }

    fn view(&self) -> ZkWorkloadView {
        ZkWorkloadView {
            client: self.image.client,
            workload: self.image.kind,
            session: self.recorder.zk().view(),
            set_up: self.is_set_up(),
            stopped: self.stopped,
            probed: self.probed(),
            open: self.recorder.open_count(),
            oldest: self.recorder.oldest().map(|oldest| oldest.to_string()),
        }
    }

    fn digest(&self, into: &mut Digest) {
        self.recorder.zk().digest(into);
        into.word(self.setup.done as u64);
        into.word(self.recorder.open_count() as u64);
        into.word(u64::from(self.stopped) << 1 | u64::from(self.probed()));
    }

    fn lane_name(_: Lane) -> &'static str {
        "none"
    }
}

/// What may be asked of it at any time.
impl ZkWorkload {
    /// The oldest operation without an outcome.
    #[must_use]
    pub fn pending(&self) -> Option<OldestOp> {
        self.recorder.oldest()
    }

    /// Whether a server has confirmed its session on the present connection.
    #[must_use]
    pub const fn connected(&self) -> bool {
        self.recorder.zk().is_connected()
    }

    /// Its session.
    #[must_use]
    pub const fn session(&self) -> &ZkClient {
        self.recorder.zk()
    }

    /// Whether the write behind the faults succeeded.
    #[must_use]
    pub fn probed(&self) -> bool {
        self.probe == Probe::Succeeded
    }

    /// Whether it wanted such a write at all.
    #[must_use]
    pub fn wants_probe(&self) -> bool {
        self.probe != Probe::Absent
    }

    /// Whether everything it needs is there, so that it works.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.setup.done == self.setup.nodes.len()
    }

    /// Its configuration.
    #[must_use]
    pub fn image(&self) -> &ZkWorkloadImage {
        &self.image
    }
}

impl ZkWorkload {
    fn feed(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, Self>) {
        let told = self.recorder.handle(input, io);
        self.on_told(told, io);
    }

    /// A wake goes to all parts; with nothing due it changes nothing.
    fn on_woken(&mut self, io: &mut Io<'_, Self>) {
        self.feed(Input::Woken, io);
        if self.terminating {
            return;
        }
        let now = io.now();
        if self.stop_at.is_some_and(|at| at <= now) {
            self.stop(io);
        }
        if self.setup.next.is_some_and(|at| at <= now) {
            self.set_up_next(io);
        }
        if self.is_set_up() {
            self.kind.on_woken(&mut self.recorder, io);
        }
        if self.pace.tick(io) {
            self.kind.on_tick(&mut self.recorder, io);
        }
        if let Probe::At(at) = self.probe
            && at <= now
            && self.is_set_up()
        {
            self.try_probe(io);
        }
    }

    fn on_told(&mut self, told: Vec<Told>, io: &mut Io<'_, Self>) {
        for told in told {
            match told {
                Told::Connected => {
                    // Setup waits for the first session, and for the first inside of a chroot; after that it goes on by itself.
                    if !self.is_set_up() && self.setup.next.is_none() && self.recorder.open_count() == 0 {
                        self.set_up_next(io);
                    }
                    if !self.terminating {
                        self.kind.on_connected(&mut self.recorder, io);
                    }
                }
                Told::Disconnected => self.kind.on_disconnected(&self.recorder, io),
                Told::Closed => {
                    assert!(self.terminating, "a session is closed by its process alone");
                    io.exit(0);
                }
                Told::AuthFailed => io.exit(1),
                Told::Expired => {
                    self.kind.on_expired(&mut self.recorder, io);
                    if self.terminating {
                        // The end it was waiting for came another way.
                        io.exit(0);
                    }
                }
                Told::Done(done) => self.on_done(*done, io),
                Told::Watch(event) => {
                    if !self.terminating {
                        self.kind.on_watch(&event, &mut self.recorder, io);
                    }
                }
            }
        }
    }

    fn on_done(&mut self, done: Done, io: &mut Io<'_, Self>) {
        if self.terminating {
            return;
        }
        match done.aim {
            Aim::Setup => self.on_set_up(&done, io),
            Aim::Probe => self.on_probed(&done, io),
            Aim::Single | Aim::Chain => self.kind.on_done(done, &mut self.recorder, io),
        }
    }

    fn set_up_next(&mut self, io: &mut Io<'_, Self>) {
        self.setup.next = None;
        let SetupNode { path, has_value } = self.setup.nodes[self.setup.done].clone();
        let writes = has_value.then(|| Stored { value: self.recorder.fresh(), token: 0 });
        let slot = self.recorder.idle_slot().expect("nothing else is done before setup is");
        let create = Invocation::create(&path, CreateMode::Persistent, writes).aiming(Aim::Setup);
        self.recorder.invoke(slot, create, io);
    }

    fn on_set_up(&mut self, done: &Done, io: &mut Io<'_, Self>) {
        if !done.is_ok() && done.code != ErrorCode::NodeExists {
            self.setup.next = Some(io.now() + RETRY);
            return;
        }
        self.setup.done += 1;
        if self.setup.done == self.setup.outside {
            let told = self.recorder.enter(io);
            return self.on_told(told, io);
        }
        if !self.is_set_up() {
            return self.set_up_next(io);
        }
        io.state(WorkloadFact::SetupDone { client: self.image.client });
        if !self.stopped {
            self.pace.start(io);
        }
    }

    fn stop(&mut self, io: &mut Io<'_, Self>) {
        self.stop_at = None;
        self.stopped = true;
        self.pace.stop();
        io.state(WorkloadFact::Stopped { client: self.image.client });
        self.kind.on_stop(&mut self.recorder, io);
    }

    fn try_probe(&mut self, io: &mut Io<'_, Self>) {
        let Some(slot) = self.recorder.idle_slot() else {
            // What is open ends with the connection at the latest.
            self.probe = Probe::At(io.now() + RETRY);
            return;
        };
        self.probe = Probe::Open;
        self.probes += 1;
        let value = self.recorder.fresh();
        let path: Arc<str> = Arc::from(format!("{}/probe-{value:x}", self.probe_root));
        let create = Invocation::create(&path, CreateMode::Persistent, Some(Stored { value, token: 0 }));
        self.recorder.invoke(slot, create.aiming(Aim::Probe), io);
    }

    fn on_probed(&mut self, done: &Done, io: &mut Io<'_, Self>) {
        if done.outcome == Outcome::Ok && done.is_ok() {
            self.probe = Probe::Succeeded;
            let (client, path, zxid) = (self.image.client, self.recorder.whole_path(&done.path), done.zxid);
            io.state(WorkloadFact::ProbeSucceeded { client, path, zxid, attempts: self.probes });
        } else {
            if done.code == ErrorCode::NoNode {
                // What was set up is lost, as an ensemble without forceSync may lose it. What is asked is whether it serves.
                self.probe_root = Arc::from("");
            }
            self.probe = Probe::At(io.now() + RETRY);
        }
    }
}
