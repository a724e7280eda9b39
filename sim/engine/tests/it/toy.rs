//! A machine that follows a script, and a judge that writes down what it sees.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{
    Core, Findings, HostSpec, Hosts, Judges, NetworkSpec, Options, Part, Rule, Seen, SeenWhat, Step, Supervisor,
    Violation, Witness, World,
};
use machine::disk::{Disk, DiskError, FileId};
use machine::{
    Address, Depth, Digest, Draw, EndId, HostId, Input, InputOf, Instant, Io, Lane, Machine, Payload, Port, Purpose,
    Span, Ticket, Vocabulary,
};

pub(crate) const PORT: Port = Port(7);
const JITTER: Purpose = Purpose::new("toy/jitter");
const LOG: &str = "log";

/// A message: a number and a body whose content only a deep look tells apart.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Number { n: u64, body: Bytes },
    Answer { n: u64 },
}

impl Payload for Message {
    fn name(&self) -> &'static str {
        match self {
            Self::Number { .. } => "number",
            Self::Answer { .. } => "answer",
        }
    }

    fn wire_len(&self) -> u32 {
        16
    }

    fn digest(&self, depth: Depth, into: &mut Digest) {
        match self {
            Self::Number { n, body } => {
                into.word(*n);
                match depth {
                    Depth::Cheap => {}
                    Depth::Encoded => into.bytes(body),
                }
            }
            Self::Answer { n } => into.word(*n),
        }
    }
}

machine::facts! {
    pub(crate) enum Fact {
        "got" Got { n: u64 => Uint(*n), on: u32 => Uint(u64::from(*on)) },
        "answered" Answered { n: u64 => Uint(*n) },
        "stored" Stored { n: u64 => Uint(*n), good: bool => Flag(*good) },
        "said" Said { what: &'static str => Text(what) },
        "ticked" Ticked { late_ns: u64 => Uint(*late_ns), drawn: u64 => Uint(*drawn) },
        "turned" Turned { lane: u16 => Uint(u64::from(*lane)), n: u64 => Uint(*n) },
        "recovered" Recovered { count: u64 => Uint(*count) },
        "failed" Failed { why: &'static str => Text(why) },
        "leading" Leading { who: u64 => Uint(*who) },
    }
}

machine::marks! {
    pub(crate) enum ToyMark {
        /// A feeder's timer came.
        Ticked => "toy-ticked",
    }
}

/// One act of a script.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Connect(HostId),
    /// On the newest open end.
    Send(u64),
    SendBody(u64, &'static str),
    Datagram(HostId, u64),
    Close,
    Exit(i32),
    Panic,
    Write(u64),
    Sync,
    Defer(Lane, u64),
    Spend(Lane, Span),
    Lead,
    Read,
    All(Vec<Self>),
}

/// When it answers what it was asked to store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ack {
    /// At once, without storing.
    Echo,
    /// After the write, before the sync.
    Early,
    /// When the sync is done.
    Durable,
    /// Never.
    Silent,
}

#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) script: Vec<(Span, Act)>,
    pub(crate) ack: Ack,
    pub(crate) listens: bool,
    /// Dials this host, sends a number every so often (and a drawn jitter), and dials again after a loss.
    pub(crate) feeds: Option<(HostId, Span)>,
    /// Never retires its deadline.
    pub(crate) spins: bool,
    pub(crate) exits_on_terminate: bool,
}

pub(crate) fn quiet() -> Image {
    Image { script: Vec::new(), ack: Ack::Echo, listens: true, feeds: None, spins: false, exits_on_terminate: true }
}

pub(crate) fn script(acts: Vec<(u64, Act)>) -> Image {
    let script = acts.into_iter().map(|(ms, act)| (Span::millis(ms), act)).collect();
    Image { script, listens: false, ..quiet() }
}

pub(crate) fn feeder(to: HostId, every_ms: u64) -> Image {
    Image { feeds: Some((to, Span::millis(every_ms))), listens: false, ..quiet() }
}

#[derive(Clone, Debug)]
pub(crate) struct Toy {
    image: Image,
    started: Instant,
    next_act: usize,
    open: Vec<EndId>,
    dialling: Option<EndId>,
    tick: Option<Instant>,
    sent_on: u64,
    value: u64,
    log: Option<FileId>,
    waiting: BTreeMap<Ticket, (EndId, u64)>,
    pub(crate) answers: u64,
}

impl Vocabulary for Toy {
    type Message = Message;
    type Work = u64;
    type Fact = Fact;
}

impl Toy {
    fn act(&mut self, act: Act, io: &mut Io<'_, Self>) {
        match act {
            Act::Connect(host) => {
                self.dialling = Some(io.connect(Address { host, port: PORT }));
            }
            Act::Send(n) => self.act(Act::SendBody(n, ""), io),
            Act::SendBody(n, body) => match self.open.last() {
                Some(&on) => io.send(on, Message::Number { n, body: Bytes::from_static(body.as_bytes()) }),
                None => io.state(Fact::Failed { why: "no open end" }),
            },
            Act::Datagram(host, n) => {
                io.send_datagram(Address { host, port: PORT }, Message::Number { n, body: Bytes::new() });
            }
            Act::Close => {
                if let Some(end) = self.open.pop().or(self.dialling.take()) {
                    io.close(end);
                }
            }
            Act::Exit(status) => io.exit(status),
            Act::Panic => panic!("the script says so at act {}", self.next_act),
            Act::Write(n) => self.append(n, io),
            Act::Sync => {
                if let Some(log) = self.log {
                    let ticket = io.sync(log);
                    self.waiting.insert(ticket, (EndId(0), 0));
                }
            }
            Act::Defer(lane, n) => io.defer(lane, n),
            Act::Spend(lane, time) => io.spend(lane, time),
            Act::Lead => {
                io.state(Fact::Leading { who: self.value });
                io.state(Fact::Said { what: "leads" });
            }
            Act::Read => match self.log.map(|log| io.disk().read(log, 0, 8)) {
                Some(Ok(_)) | None => {}
                Some(Err(error)) => io.state(Fact::Failed { why: name(error) }),
            },
            Act::All(acts) => acts.into_iter().for_each(|act| self.act(act, io)),
        }
    }

    fn append(&mut self, n: u64, io: &mut Io<'_, Self>) {
        let Some(log) = self.log else { return };
        if let Err(error) = io.disk().append(log, &n.to_le_bytes()) {
            io.state(Fact::Failed { why: name(error) });
        }
    }

    fn on_number(&mut self, on: EndId, n: u64, io: &mut Io<'_, Self>) {
        io.state(Fact::Got { n, on: on.0 });
        match self.image.ack {
            Ack::Silent => {}
            Ack::Echo => io.send(on, Message::Answer { n }),
            Ack::Early | Ack::Durable => {
                self.append(n, io);
                let log = self.log.expect("a store has a log");
                let ticket = io.sync(log);
                self.waiting.insert(ticket, (on, n));
                if self.image.ack == Ack::Early {
                    io.send(on, Message::Answer { n });
                }
            }
        }
    }

    fn on_lost(&mut self, on: EndId, io: &mut Io<'_, Self>) {
        self.open.retain(|&end| end != on);
        if let Some((_, every)) = self.image.feeds {
            self.tick = Some(io.now() + every);
        }
    }

    fn on_tick(&mut self, io: &mut Io<'_, Self>) {
        let Some((to, every)) = self.image.feeds else { return };
        let Some(due) = self.tick.filter(|&due| due <= io.now()) else { return };
        let mut draw = io.draw(JITTER);
        io.reach(ToyMark::Ticked);
        io.state(Fact::Ticked { late_ns: (io.now() - due).as_nanos(), drawn: draw.bits() });
        self.tick = None;
        if let Some(&on) = self.open.last() {
            io.send(on, Message::Number { n: self.sent_on, body: Bytes::new() });
            self.sent_on += 1;
            self.value += 1;
            self.tick = Some(io.now() + every + draw.between(Span::ZERO, every / 2));
        } else if self.dialling.is_none() {
            self.dialling = Some(io.connect(Address { host: to, port: PORT }));
        }
    }
}

fn name(error: DiskError) -> &'static str {
    match error {
        DiskError::Io => "EIO",
        DiskError::NoSpace => "ENOSPC",
        DiskError::NotFound => "ENOENT",
    }
}

impl Machine for Toy {
    type Image = Image;
    type View = u64;

    fn boot(image: &Image, io: &mut Io<'_, Self>) -> Self {
        if image.listens {
            io.listen(PORT);
        }
        let disk: &mut dyn Disk = io.disk();
        let log = disk.open(LOG).or_else(|_| disk.create(LOG));
        let count = log.map_or(0, |log| disk.len(log) / 8);
        io.sync_directory();
        io.state(Fact::Recovered { count });
        let tick = image.feeds.map(|_| io.now() + Span::millis(30));
        Self {
            image: image.clone(),
            started: io.now(),
            next_act: 0,
            open: Vec::new(),
            dialling: None,
            tick,
            sent_on: 0,
            value: 0,
            log: log.ok(),
            waiting: BTreeMap::new(),
            answers: 0,
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match input {
            Input::Woken => {
                while let Some((after, act)) = self.image.script.get(self.next_act)
                    && self.started + *after <= io.now()
                {
                    let act = act.clone();
                    self.next_act += 1;
                    self.act(act, io);
                }
                self.on_tick(io);
            }
            Input::Message { on, message: Message::Number { n, .. } } => self.on_number(on, n, io),
            Input::Message { on: _, message: Message::Answer { n } } => {
                self.answers += 1;
                io.state(Fact::Answered { n });
            }
            Input::Datagram { from: _, message: Message::Number { n, .. } | Message::Answer { n } } => {
                io.state(Fact::Got { n, on: 0 });
            }
            Input::Opened { on } => {
                assert_eq!(self.dialling.take(), Some(on), "only what was dialled opens");
                self.open.push(on);
                self.sent_on = 0;
                if self.image.feeds.is_some() {
                    self.tick = Some(io.now());
                }
                io.state(Fact::Said { what: "opened" });
            }
            Input::Accepted { on, .. } => {
                self.open.push(on);
                io.state(Fact::Said { what: "accepted" });
            }
            Input::Refused { on } => {
                self.dialling = None;
                io.state(Fact::Said { what: "refused" });
                self.on_lost(on, io);
            }
            Input::Lost { on, why } => {
                io.state(Fact::Said {
                    what: match why {
                        machine::Loss::Closed => "closed",
                        machine::Loss::Reset => "reset",
                    },
                });
                self.on_lost(on, io);
            }
            Input::Durable { ticket, result } => {
                if let Some((on, n)) = self.waiting.remove(&ticket) {
                    io.state(Fact::Stored { n, good: result.is_ok() });
                    if self.image.ack == Ack::Durable && result.is_ok() {
                        io.send(on, Message::Answer { n });
                    }
                }
            }
            Input::Turn { lane, work } => io.state(Fact::Turned { lane: lane.0, n: work }),
            Input::Terminate => {
                io.state(Fact::Said { what: "terminated" });
                if self.image.exits_on_terminate {
                    io.exit(0);
                }
            }
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        if self.image.spins {
            return Some(self.started);
        }
        let act = self.image.script.get(self.next_act).map(|(after, _)| self.started + *after);
        match (act, self.tick) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn check_invariants(&self) {
        assert!(self.next_act <= self.image.script.len(), "a script ends");
    }

    fn view(&self) -> u64 {
        self.value
    }

    fn digest(&self, into: &mut Digest) {
        into.word(self.value);
        into.word(self.answers);
    }

    fn lane_name(lane: Lane) -> &'static str {
        if lane == Lane(1) { "one" } else { "lane" }
    }
}

/// Writes down every fact and what happens to processes; checks the order of numbers on each connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) lines: Vec<(Instant, HostId, String)>,
    pub(crate) facts: Vec<(Instant, HostId, Fact)>,
    pub(crate) booted: Vec<Instant>,
    next: BTreeMap<(HostId, EndId), u64>,
    pub(crate) leader: Option<HostId>,
    /// Not converged until this many answers were seen after the world healed.
    pub(crate) wants_answers: u64,
    /// What a pending answer is called.
    pub(crate) title: &'static str,
    /// What is healed alone before the rest, and how many answers are enough then.
    pub(crate) core: Option<(Core, u64)>,
    pub(crate) durable_logs: BTreeMap<HostId, u64>,
}

impl Watch {
    fn line(&mut self, seen: &Seen<'_, Toy>, text: String) {
        self.lines.push((seen.at, seen.host, text));
    }

    pub(crate) fn of(&self, host: HostId) -> Vec<String> {
        self.lines.iter().filter(|(_, other, _)| *other == host).map(|(_, _, text)| text.clone()).collect()
    }

    pub(crate) fn count(&self, host: HostId, text: &str) -> usize {
        self.lines.iter().filter(|(_, other, line)| *other == host && line == text).count()
    }

    #[track_caller]
    pub(crate) fn at(&self, host: HostId, text: &str) -> Instant {
        let found = self.lines.iter().find(|(_, other, line)| *other == host && line == text);
        found.unwrap_or_else(|| panic!("{host} never {text}: {:#?}", self.of(host))).0
    }
}

impl Judges<Toy> for Watch {
    fn observe(&mut self, seen: &Seen<'_, Toy>, findings: &mut Findings) {
        match seen.what {
            SeenWhat::Stated { fact } => {
                self.facts.push((seen.at, seen.host, fact.clone()));
                let text = match fact {
                    Fact::Said { what } => (*what).to_owned(),
                    Fact::Got { n, .. } => format!("got {n}"),
                    Fact::Answered { n } => format!("answered {n}"),
                    Fact::Failed { why } => format!("failed {why}"),
                    Fact::Turned { lane, n } => format!("turn {lane}/{n}"),
                    Fact::Recovered { count } => format!("recovered {count}"),
                    Fact::Stored { n, good } => format!("stored {n} {good}"),
                    Fact::Leading { .. } => {
                        self.leader = Some(seen.host);
                        findings.situation("leader-known", vec![]);
                        return;
                    }
                    Fact::Ticked { .. } => return,
                };
                self.line(seen, text);
            }
            SeenWhat::Delivered { on, message: Message::Number { n, .. }, .. } => {
                let next = self.next.entry((seen.host, on)).or_default();
                // A feeder counts from zero on each connection; scripts send what they like.
                if *n != *next && *n < 1_000 {
                    findings.violation(Violation {
                        invariant: "ORDER",
                        name: "order",
                        headline: format!("{} got {n} on {on}, not {next}", seen.host),
                        witnesses: vec![Witness {
                            event: seen.event,
                            at: seen.at,
                            host: Some(seen.host),
                            note: String::new(),
                            part: Part::Detected,
                        }],
                        host: Some(seen.host),
                        at: seen.at,
                        event: seen.event,
                        signature_parts: vec![],
                    });
                }
                *next = n + 1;
            }
            SeenWhat::Booted { .. } => {
                self.booted.push(seen.at);
                self.line(seen, "booted".to_owned());
            }
            SeenWhat::Crashed { power, disk, .. } => {
                let stored = disk.bytes(LOG).map_or(0, |bytes| bytes.len() as u64 / 8);
                self.durable_logs.insert(seen.host, stored);
                self.line(seen, if power { "lost power" } else { "killed" }.to_owned());
            }
            SeenWhat::Exited { status } => self.line(seen, format!("exited {status}")),
            SeenWhat::Paused => self.line(seen, "paused".to_owned()),
            SeenWhat::Resumed => self.line(seen, "resumed".to_owned()),
            SeenWhat::Sent { message: Message::Number { n, .. }, .. } => self.line(seen, format!("sent {n}")),
            SeenWhat::Sent { .. }
            | SeenWhat::Delivered { .. }
            | SeenWhat::DatagramSent { .. }
            | SeenWhat::DatagramDelivered { .. }
            | SeenWhat::Wrote { .. }
            | SeenWhat::Resized { .. }
            | SeenWhat::Renamed { .. }
            | SeenWhat::Removed { .. }
            | SeenWhat::Created { .. }
            | SeenWhat::SyncAsked { .. }
            | SeenWhat::Durable { .. }
            | SeenWhat::Dialled { .. }
            | SeenWhat::Opened { .. }
            | SeenWhat::Accepted { .. }
            | SeenWhat::Refused { .. }
            | SeenWhat::Lost { .. }
            | SeenWhat::Closed { .. }
            | SeenWhat::Struck { .. } => {}
        }
    }

    fn inspect(&mut self, _: &Step, _: &Hosts<'_, Toy>, _: &mut Findings) {}

    fn role(&self, name: &str) -> Option<HostId> {
        self.leader.filter(|_| name == "leader")
    }

    fn pending(&mut self, _: Instant, hosts: &Hosts<'_, Toy>) -> Option<String> {
        let answers: u64 = hosts.machines().map(|(_, machine)| machine.answers).sum();
        (answers < self.wants_answers).then(|| format!("{}{answers} of {} answers", self.title, self.wants_answers))
    }

    fn core(&self, _: &mut Draw, _: &Hosts<'_, Toy>) -> Option<Core> {
        self.core.as_ref().map(|(core, _)| core.clone())
    }

    fn pending_in(&mut self, core: &Core, _: Instant, hosts: &Hosts<'_, Toy>) -> Option<String> {
        let wanted = self.core.as_ref().map_or(0, |&(_, answers)| answers);
        let inside = hosts.machines().filter(|(host, _)| core.members.contains(host));
        let answers: u64 = inside.map(|(_, machine)| machine.answers).sum();
        (answers < wanted).then(|| format!("{answers} of {wanted} answers"))
    }

    fn progress(&self) -> Vec<u64> {
        vec![self.facts.len() as u64]
    }

    fn finish(&mut self, _: Instant, _: &Hosts<'_, Toy>, _: &mut Findings) {}
}

pub(crate) type ToyWorld = World<Toy, Watch>;

pub(crate) const A: HostId = HostId(0);
pub(crate) const B: HostId = HostId(1);
pub(crate) const C: HostId = HostId(2);
pub(crate) const D: HostId = HostId(3);

pub(crate) fn at(ms: u64) -> Instant {
    Instant::ZERO + Span::millis(ms)
}

/// Hosts `a`, `b`, `c`… that start at once and stay down when they end, on links that take 1 to 2 ms.
pub(crate) fn hosts(images: Vec<Image>) -> Vec<HostSpec<Toy>> {
    let named = images.into_iter().zip(["a", "b", "c", "d", "e"]);
    named
        .map(|(image, name)| HostSpec {
            supervisor: Supervisor::Never,
            start_at: Some(Span::ZERO),
            ..HostSpec::new(name, "toys", image)
        })
        .collect()
}

pub(crate) fn links() -> NetworkSpec {
    NetworkSpec::uniform(Span::millis(1), Span::millis(2))
}

pub(crate) fn world_of(seed: u64, hosts: Vec<HostSpec<Toy>>, rules: Vec<Rule>) -> ToyWorld {
    let options = Options { record: true, check_every: 1, barrier_every: 100, ..Options::default() };
    World::new(seed, Watch::default(), hosts, &links(), rules, options)
}

pub(crate) fn world(seed: u64, images: Vec<Image>, rules: Vec<Rule>) -> ToyWorld {
    world_of(seed, hosts(images), rules)
}

/// Rules as people write them.
#[track_caller]
pub(crate) fn rules(text: &str) -> Vec<Rule> {
    #[derive(serde::Deserialize)]
    struct File {
        faults: Vec<Rule>,
    }
    toml::from_str::<File>(text).expect("the rules are well-formed").faults
}

/// A store `a` and its feeder `b`, beside another store `c` and its feeder `d` that have nothing to do with them.
pub(crate) fn two_pairs(ack: Ack) -> Vec<HostSpec<Toy>> {
    let store = || Image { ack, ..quiet() };
    let mut hosts = hosts(vec![store(), feeder(A, 20), store(), feeder(C, 20)]);
    for host in &mut hosts {
        host.supervisor = Supervisor::After("100ms..300ms".parse().expect("a span"));
        host.start_at = None;
    }
    hosts
}
