//! The double barrier recipe (Curator's `DistributedDoubleBarrier`): so many clients enter together, and leave together.
//!
//! Each round has a directory of its own. Whoever enters asks for `ready`, with a watch, makes an ephemeral znode, and counts: the
//! one that sees as many as there are members makes `ready`, the others wait for it. Whoever leaves and is the lowest waits for
//! the highest; the others delete their znodes and wait for the lowest; the last one is gone when it sees nobody else.
//!
//! What a session's end does to that, and the recipe says nothing about: a member that waits to enter makes its znode again in its
//! next session; one that was inside is out, and its round is over for it. Whoever enters again a round that is `ready` already
//! enters at once, and those that leave need not wait for it: it is not one of those whose znode `ready` has counted.
//!
//! ```text
//!   seeking ─▶ looking ─▶ joining ─▶ counting ─enough▶ opening ─▶ confirming ─▶ inside ─think over▶ leaving …
//!   a round    for ready     │          │ too few                     ▲                    lists, deletes, watches
//!                 └──────────┴──────────┴─────▶ waiting for ready ────┘
//! ```

use std::sync::Arc;

use jute::op::{CreateMode, ErrorCode};
use jute::{SessionId, Zxid};
use machine::{Instant, Io, Span};
use zkclient::WatchedEvent;

use super::line::RETRY;
use super::{directory, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{Misuse, OpKind, Outcome, RecipeCall, WorkloadFact, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// The znode that lets everybody in.
const READY: &str = "ready";

/// What a member is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing.
    Idle,
    /// It looks for the newest round.
    Seeking,
    /// It makes a round's directory.
    Founding,
    /// It asks whether the round is ready.
    Looking,
    /// It makes its own znode.
    Joining,
    /// It asks whose its znode is.
    Checking,
    /// It counts the members inside.
    Counting,
    /// It waits to be told that the round is ready.
    AwaitingReady,
    /// It makes the round ready.
    Opening,
    /// It asks when the round became ready.
    Confirming,
    /// It is inside.
    Inside { until: Instant },
    /// It lists who is left.
    Listing,
    /// It deletes its own znode, and waits for the lowest then.
    Deleting { then: Option<Arc<str>> },
    /// It asks whether another member is still there.
    Watching,
    /// It waits for that one to go.
    AwaitingGone { path: Arc<str> },
    /// A step failed: it goes on from the list of rounds, from `ready`, or from the list of members.
    Retrying { at: Instant, then: Retry },
}

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    Seek,
    Found,
    Look,
    Leave,
}

/// A call that is open.
#[derive(Clone, Copy, Debug)]
struct Call {
    number: u64,
    kind: RecipeCall,
}

/// One member of a double barrier.
#[derive(Clone, Debug)]
pub(crate) struct DoubleBarrier {
    pub(super) dir: Arc<str>,
    name: String,
    members: usize,
    stage: Stage,
    /// The round it is in, or goes to next.
    round: Option<u64>,
    /// The creation of its own znode, once that is there, by this session.
    own: Option<(Zxid, SessionId)>,
    call: Option<Call>,
    stopped: bool,
    without_ready: bool,
    leaves_alone: bool,
    think: Span,
}

impl DoubleBarrier {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        Self {
            dir: directory(image),
            name: format!("p{:05}", image.member),
            members: usize::try_from(image.members).expect("members fit memory"),
            stage: Stage::Idle,
            round: None,
            own: None,
            call: None,
            stopped: false,
            without_ready: image.misuses.has(Misuse::EntersWithoutReady),
            leaves_alone: image.misuses.has(Misuse::LeavesAlone),
            think: image.think,
        }
    }

    fn round_path(&self) -> Arc<str> {
        Arc::from(format!("{}/r{:010}", self.dir, self.round.expect("it is in a round")))
    }

    fn path_of(&self, name: &str) -> Arc<str> {
        Arc::from(format!("{}/{name}", self.round_path()))
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if recorder.session().is_zero() {
            return;
        }
        let now = io.now();
        let Some(slot) = recorder.free_slot(now) else { return };
        match self.stage {
            Stage::Idle if self.round.is_some() => self.found(slot, recorder, io),
            Stage::Idle => self.seek(slot, recorder, io),
            Stage::Inside { until } if until <= now => self.leave(slot, recorder, io),
            Stage::Inside { .. }
            | Stage::Seeking
            | Stage::Founding
            | Stage::Looking
            | Stage::Joining
            | Stage::Checking
            | Stage::Counting
            | Stage::AwaitingReady
            | Stage::Opening
            | Stage::Confirming
            | Stage::Listing
            | Stage::Deleting { .. }
            | Stage::Watching
            | Stage::AwaitingGone { .. }
            | Stage::Retrying { .. } => {}
        }
    }

    fn seek(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Seeking;
        recorder.invoke(slot, Invocation::get_children(&self.dir, Watch::No), io);
    }

    fn found(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Founding;
        recorder.invoke(slot, Invocation::create(&self.round_path(), CreateMode::Persistent, None), io);
    }

    fn look(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.own = None;
        if self.without_ready {
            return self.join(slot, recorder, io);
        }
        self.stage = Stage::Looking;
        recorder.invoke(slot, Invocation::exists(&self.path_of(READY), Watch::Yes), io);
    }

    fn join(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Joining;
        recorder.invoke(slot, Invocation::create(&self.path_of(&self.name), CreateMode::Ephemeral, None), io);
    }

    fn count(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Counting;
        let watch = if self.without_ready { Watch::Yes } else { Watch::No };
        recorder.invoke(slot, Invocation::get_children(&self.round_path(), watch), io);
    }

    fn confirm(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Confirming;
        recorder.invoke(slot, Invocation::exists(&self.path_of(READY), Watch::Yes), io);
    }

    fn list(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Listing;
        recorder.invoke(slot, Invocation::get_children(&self.round_path(), Watch::No), io);
    }

    fn retry(&mut self, then: Retry, io: &Io<'_, ZkWorkload>) {
        self.stage = Stage::Retrying { at: io.now() + RETRY, then };
    }

    fn begin(&mut self, kind: RecipeCall, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        assert!(self.call.is_none(), "a client makes one call at a time");
        let (client, session) = (recorder.client(), recorder.session());
        let (object, number) = (self.round_path(), recorder.fresh());
        let value = (kind == RecipeCall::Enter).then_some(self.members as u64);
        io.state(WorkloadFact::RecipeInvoked { client, call: number, kind, object, session, value });
        self.call = Some(Call { number, kind });
    }

    fn end(&mut self, outcome: Outcome, ready: Option<Zxid>, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Call { number: call, kind } = self.call.take().expect("a call ends once");
        io.state(WorkloadFact::RecipeReturned {
            client: recorder.client(),
            call,
            kind,
            object: self.round_path(),
            session: recorder.session(),
            outcome,
            value: ready.map(Zxid::value),
            number: self.own.map(|(created, _)| created.value()).filter(|_| kind == RecipeCall::Enter),
        });
    }

    fn leave(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.begin(RecipeCall::Leave, recorder, io);
        self.list(slot, recorder, io);
    }

    /// Out, and on to the next round.
    fn over(&mut self, outcome: Outcome, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.end(outcome, None, recorder, io);
        // A round costs a dozen operations.
        rest(0, self.think * 5, recorder, io);
        self.own = None;
        self.round = self.round.map(|round| round + 1);
        self.stage = Stage::Idle;
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let slot = done.slot;
        match (&self.stage, done.kind) {
            (Stage::Seeking, OpKind::GetChildren) => {
                if !done.is_ok() {
                    return self.retry(Retry::Seek, io);
                }
                let newest = done.result.children.iter().filter_map(|name| name.strip_prefix('r')?.parse().ok()).max();
                self.round = Some(newest.unwrap_or(0));
                self.found(slot, recorder, io);
            }
            (Stage::Founding, OpKind::Create) => {
                if !done.is_ok() && done.code != ErrorCode::NodeExists {
                    return self.retry(Retry::Found, io);
                }
                if self.stopped {
                    self.stage = Stage::Idle;
                    return;
                }
                self.begin(RecipeCall::Enter, recorder, io);
                self.look(slot, recorder, io);
            }
            (Stage::Looking, OpKind::Exists) => {
                if done.outcome == Outcome::Ok {
                    self.join(slot, recorder, io)
                } else {
                    self.retry(Retry::Look, io)
                }
            }
            (Stage::Joining, OpKind::CreateEphemeral) => match done.result.stat {
                Some(stat) if done.is_ok() => {
                    self.own = Some((stat.czxid, recorder.session()));
                    self.count(slot, recorder, io);
                }
                _ if done.code == ErrorCode::NodeExists => {
                    self.stage = Stage::Checking;
                    recorder.invoke(slot, Invocation::exists(&self.path_of(&self.name), Watch::No), io);
                }
                _ => self.retry(Retry::Look, io),
            },
            (Stage::Checking, OpKind::Exists) => match done.result.stat {
                // Its own, from a create whose answer was lost.
                Some(stat) if done.is_ok() && stat.ephemeral_owner == recorder.session() => {
                    self.own = Some((stat.czxid, recorder.session()));
                    self.count(slot, recorder, io);
                }
                // That of its last session, which has not expired yet, or nothing.
                _ => self.retry(Retry::Look, io),
            },
            (Stage::Counting, OpKind::GetChildren) => self.on_counted(&done, recorder, io),
            (Stage::Opening, OpKind::Create) => {
                if done.is_ok() || done.code == ErrorCode::NodeExists {
                    self.confirm(slot, recorder, io);
                } else {
                    self.retry(Retry::Look, io);
                }
            }
            (Stage::Confirming, OpKind::Exists) => match done.result.stat {
                Some(stat) if done.is_ok() => self.entered(slot, Some(stat.czxid), recorder, io),
                _ if done.outcome == Outcome::Ok => self.stage = Stage::AwaitingReady,
                _ => self.retry(Retry::Look, io),
            },
            (Stage::Listing, OpKind::GetChildren) => {
                if !done.is_ok() {
                    return self.retry(Retry::Leave, io);
                }
                self.on_listed(&done, recorder, io);
            }
            (Stage::Deleting { then }, OpKind::Delete) => {
                let then = then.clone();
                if done.outcome != Outcome::Ok {
                    return self.retry(Retry::Leave, io);
                }
                match then {
                    Some(path) => self.watch(slot, &path, recorder, io),
                    None => self.over(Outcome::Ok, recorder, io),
                }
            }
            (Stage::Watching, OpKind::GetData) => {
                if done.is_ok() {
                    self.stage = Stage::AwaitingGone { path: done.path };
                } else if done.code == ErrorCode::NoNode && done.outcome == Outcome::Ok {
                    self.list(slot, recorder, io);
                } else {
                    self.retry(Retry::Leave, io);
                }
            }
            (
                Stage::Idle
                | Stage::Seeking
                | Stage::Founding
                | Stage::Looking
                | Stage::Joining
                | Stage::Checking
                | Stage::Counting
                | Stage::AwaitingReady
                | Stage::Opening
                | Stage::Confirming
                | Stage::Inside { .. }
                | Stage::Listing
                | Stage::Deleting { .. }
                | Stage::Watching
                | Stage::AwaitingGone { .. }
                | Stage::Retrying { .. },
                kind,
            ) => panic!("{} of {} ended in stage {:?}", kind.name(), done.path, self.stage),
        }
    }

    /// Whoever sees that all are there lets everybody in.
    fn on_counted(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if !done.is_ok() {
            return self.retry(Retry::Look, io);
        }
        let inside = done.result.children.iter().filter(|name| name.as_str() != READY).count();
        if self.without_ready {
            if inside >= self.members {
                return self.entered(done.slot, None, recorder, io);
            }
            self.stage = Stage::AwaitingReady;
            return;
        }
        let is_ready = inside < done.result.children.len();
        if is_ready {
            self.confirm(done.slot, recorder, io);
        } else if inside >= self.members {
            self.stage = Stage::Opening;
            recorder.invoke(done.slot, Invocation::create(&self.path_of(READY), CreateMode::Persistent, None), io);
        } else {
            self.stage = Stage::AwaitingReady;
        }
    }

    fn entered(&mut self, slot: usize, ready: Option<Zxid>, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.end(Outcome::Ok, ready, recorder, io);
        self.stage = Stage::Inside { until: io.now().saturating_add(self.think) };
        if self.stopped {
            self.leave(slot, recorder, io);
        }
    }

    fn watch(&mut self, slot: usize, path: &Arc<str>, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Watching;
        // getData and not exists: a watch on the creation of a znode that never comes again would stay for ever.
        recorder.invoke(slot, Invocation::get_data(path, Watch::Yes), io);
    }

    fn on_listed(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let mut names: Vec<_> = done.result.children.iter().filter(|name| name.as_str() != READY).collect();
        names.sort_unstable();
        let own = self.path_of(&self.name);
        let is_there = names.iter().any(|name| **name == self.name);
        match names.as_slice() {
            [] => self.over(Outcome::Ok, recorder, io),
            [only] if **only == self.name => self.delete(done.slot, &own, None, recorder, io),
            _ if is_there && self.leaves_alone => self.delete(done.slot, &own, None, recorder, io),
            [lowest, .., highest] if **lowest == self.name => {
                let highest = self.path_of(highest);
                self.watch(done.slot, &highest, recorder, io);
            }
            [lowest, ..] => {
                let lowest = self.path_of(lowest);
                if is_there {
                    self.delete(done.slot, &own, Some(lowest), recorder, io);
                } else {
                    self.watch(done.slot, &lowest, recorder, io);
                }
            }
        }
    }

    fn delete(
        &mut self,
        slot: usize,
        own: &Arc<str>,
        then: Option<Arc<str>>,
        recorder: &mut Recorder,
        io: &mut Io<'_, ZkWorkload>,
    ) {
        self.stage = Stage::Deleting { then };
        recorder.invoke(slot, Invocation::delete(own, None), io);
    }

    pub(super) fn on_watch(&mut self, event: &WatchedEvent, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let then = match &self.stage {
            Stage::AwaitingReady if self.without_ready && event.path == self.round_path() => Retry::Look,
            Stage::AwaitingReady if event.path == self.path_of(READY) => Retry::Look,
            Stage::AwaitingGone { path } if event.path == *path => Retry::Leave,
            Stage::Idle
            | Stage::Seeking
            | Stage::Founding
            | Stage::Looking
            | Stage::Joining
            | Stage::Checking
            | Stage::Counting
            | Stage::AwaitingReady
            | Stage::Opening
            | Stage::Confirming
            | Stage::Inside { .. }
            | Stage::Listing
            | Stage::Deleting { .. }
            | Stage::Watching
            | Stage::AwaitingGone { .. }
            | Stage::Retrying { .. } => return,
        };
        match recorder.idle_slot() {
            Some(slot) if then == Retry::Leave => self.list(slot, recorder, io),
            Some(slot) if self.without_ready => self.count(slot, recorder, io),
            Some(slot) => self.confirm(slot, recorder, io),
            // A probe of whether the ensemble serves again is open.
            None => self.retry(then, io),
        }
    }

    /// Its znode is gone. Whoever waits to enter makes another; whoever was inside is out.
    pub(super) fn on_expired(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let own = self.own.take();
        match self.call {
            Some(Call { kind: RecipeCall::Enter, .. }) => {
                if own.is_some() {
                    io.reach(WorkloadMark::EnteredAgain);
                }
                self.retry(Retry::Look, io);
            }
            // Nobody has promised it anything any more.
            Some(_) => self.over(Outcome::Failed, recorder, io),
            None => {
                if let Stage::Inside { .. } | Stage::Retrying { then: Retry::Leave, .. } = self.stage {
                    io.reach(WorkloadMark::ExpiredInside);
                    self.round = self.round.map(|round| round + 1);
                    self.stage = Stage::Idle;
                }
            }
        }
    }

    /// Whoever is inside leaves; whoever waits to enter goes on waiting, because the others may be inside.
    pub(super) fn on_stop(&mut self, io: &Io<'_, ZkWorkload>) {
        self.stopped = true;
        if let Stage::Inside { .. } = self.stage {
            self.retry(Retry::Leave, io);
        }
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        match self.stage {
            Stage::Retrying { at, .. } => Some(at),
            Stage::Idle
            | Stage::Seeking
            | Stage::Founding
            | Stage::Looking
            | Stage::Joining
            | Stage::Checking
            | Stage::Counting
            | Stage::AwaitingReady
            | Stage::Opening
            | Stage::Confirming
            | Stage::Inside { .. }
            | Stage::Listing
            | Stage::Deleting { .. }
            | Stage::Watching
            | Stage::AwaitingGone { .. } => None,
        }
    }

    pub(super) fn on_woken(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Stage::Retrying { at, then } = self.stage else { return };
        if at > io.now() {
            return;
        }
        let Some(slot) = recorder.idle_slot().filter(|_| !recorder.session().is_zero()) else {
            // Between two sessions, or a probe of whether the ensemble serves again is open.
            return self.retry(then, io);
        };
        match then {
            Retry::Seek | Retry::Found if self.stopped => self.stage = Stage::Idle,
            Retry::Seek => self.seek(slot, recorder, io),
            Retry::Found => self.found(slot, recorder, io),
            Retry::Look => self.look(slot, recorder, io),
            Retry::Leave if self.call.is_none() => self.leave(slot, recorder, io),
            Retry::Leave => self.list(slot, recorder, io),
        }
    }

    /// Panics if the state contradicts itself.
    pub(super) fn check_invariants(&self) {
        if let Stage::Inside { .. } = self.stage {
            assert!(self.call.is_none() && self.own.is_some(), "a member inside has a znode and waits for nothing");
        }
    }
}
