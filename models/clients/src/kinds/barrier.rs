//! The barrier recipe (Curator's `DistributedBarrier`): one client sets and lifts barriers, the others wait at them.
//!
//! A barrier is a znode, new for each time. Whoever waits asks whether it exists, with a watch: it passes when it does not. As
//! in Curator, whoever loses its session while it waits asks again in the next one, on a server that may be behind the one before:
//! there it may find that the barrier is not there *yet*, and pass early. That is a hole of the recipe, not of ZooKeeper, and a caller
//! who must not fall into it starts over when its session expires.
//!
//! A barrier whose creation ended unknown is lifted with all others that are left over when the keeper looks next.

use std::sync::Arc;

use jute::SessionId;
use jute::op::{CreateMode, ErrorCode};
use machine::{Instant, Io, Span};
use zkclient::WatchedEvent;

use super::line::RETRY;
use super::{CHOICE, directory, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{Misuse, OpKind, Outcome, RecipeCall, WorkloadFact, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// What a client is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing.
    Idle,
    /// It looks which barriers there are.
    Listing,
    /// A step failed and is tried again.
    Retrying { at: Instant },
    /// The keeper sets a barrier.
    Setting,
    /// The barrier stays for a while.
    Holding { until: Instant },
    /// The keeper lifts a barrier.
    Lifting,
    /// Whoever waits asks whether the barrier is there.
    Asking,
    /// It waits to be told that the barrier has gone.
    Waiting,
}

/// A call that is open.
#[derive(Clone, Debug)]
struct Call {
    number: u64,
    barrier: Arc<str>,
    /// The session that saw the barrier first.
    seen_by: SessionId,
}

/// One client at the barriers of one directory.
#[derive(Clone, Debug)]
pub(crate) struct Barrier {
    pub(super) dir: Arc<str>,
    is_keeper: bool,
    stage: Stage,
    call: Option<Call>,
    stopped: bool,
    passes_on_loss: bool,
    think: Span,
}

impl Barrier {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        Self {
            dir: directory(image),
            is_keeper: image.member == 0,
            stage: Stage::Idle,
            call: None,
            stopped: false,
            passes_on_loss: image.misuses.has(Misuse::PassesOnLoss),
            think: image.think,
        }
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if recorder.session().is_zero() {
            return;
        }
        let now = io.now();
        let Some(slot) = recorder.free_slot(now) else { return };
        match self.stage {
            Stage::Idle => self.list(slot, recorder, io),
            // What it finds it lifts.
            Stage::Holding { until } if until <= now => self.list(slot, recorder, io),
            Stage::Listing
            | Stage::Retrying { .. }
            | Stage::Setting
            | Stage::Holding { .. }
            | Stage::Lifting
            | Stage::Asking
            | Stage::Waiting => {}
        }
    }

    fn list(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Listing;
        recorder.invoke(slot, Invocation::get_children(&self.dir, Watch::No), io);
    }

    fn begin(&mut self, kind: RecipeCall, barrier: Arc<str>, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        assert!(self.call.is_none(), "a client makes one call at a time");
        let number = recorder.fresh();
        let (client, session) = (recorder.client(), recorder.session());
        let object = Arc::clone(&barrier);
        io.state(WorkloadFact::RecipeInvoked { client, call: number, kind, object, session, value: None });
        self.call = Some(Call { number, barrier, seen_by: session });
    }

    fn end(&mut self, kind: RecipeCall, outcome: Outcome, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Call { number: call, barrier: object, .. } = self.call.take().expect("a call ends once");
        let (client, session) = (recorder.client(), recorder.session());
        let (value, number) = (None, None);
        io.state(WorkloadFact::RecipeReturned { client, call, kind, object, session, outcome, value, number });
    }

    fn barrier(&self) -> Arc<str> {
        Arc::clone(&self.call.as_ref().expect("a call is open").barrier)
    }

    fn set(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let barrier: Arc<str> = Arc::from(format!("{}/b-{:x}", self.dir, recorder.fresh()));
        self.begin(RecipeCall::SetBarrier, Arc::clone(&barrier), recorder, io);
        self.stage = Stage::Setting;
        recorder.invoke(slot, Invocation::create(&barrier, CreateMode::Persistent, None), io);
    }

    fn ask(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let barrier = self.barrier();
        self.stage = Stage::Asking;
        recorder.invoke(slot, Invocation::exists(&barrier, Watch::Yes), io);
    }

    fn retry(&mut self, io: &Io<'_, ZkWorkload>) {
        self.stage = Stage::Retrying { at: io.now() + RETRY };
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match (&self.stage, done.kind) {
            (Stage::Listing, OpKind::GetChildren) => {
                if !done.is_ok() {
                    return self.retry(io);
                }
                if self.is_keeper { self.on_kept(&done, recorder, io) } else { self.on_found(&done, recorder, io) }
            }
            (Stage::Setting, OpKind::Create) => {
                let outcome = if done.is_ok() { Outcome::Ok } else { done.outcome };
                self.end(RecipeCall::SetBarrier, outcome, recorder, io);
                self.stage = Stage::Holding { until: io.now().saturating_add(self.think) };
                if self.stopped {
                    self.list(done.slot, recorder, io);
                }
            }
            (Stage::Lifting, OpKind::Delete) => {
                // That it is not there is as good.
                self.end(RecipeCall::LiftBarrier, done.outcome, recorder, io);
                if done.outcome == Outcome::Ok { self.list(done.slot, recorder, io) } else { self.retry(io) }
            }
            (Stage::Asking, OpKind::Exists) => self.on_asked(&done, recorder, io),
            (
                Stage::Idle
                | Stage::Listing
                | Stage::Retrying { .. }
                | Stage::Setting
                | Stage::Holding { .. }
                | Stage::Lifting
                | Stage::Asking
                | Stage::Waiting,
                kind,
            ) => panic!("{} of {} ended in stage {:?}", kind.name(), done.path, self.stage),
        }
    }

    /// The keeper lifts what there is, one after the other, and then sets the next one.
    fn on_kept(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if let Some(name) = done.result.children.first() {
            let barrier: Arc<str> = Arc::from(format!("{}/{name}", self.dir));
            self.begin(RecipeCall::LiftBarrier, Arc::clone(&barrier), recorder, io);
            self.stage = Stage::Lifting;
            return recorder.invoke(done.slot, Invocation::delete(&barrier, None), io);
        }
        if self.stopped {
            self.stage = Stage::Idle;
            return;
        }
        self.set(done.slot, recorder, io);
    }

    /// Whoever waits takes any barrier that it finds.
    fn on_found(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if done.result.children.is_empty() || self.stopped {
            self.stage = Stage::Idle;
            return rest(done.slot, self.think, recorder, io);
        }
        let name = &done.result.children[io.draw(CHOICE).index(done.result.children.len())];
        let barrier = Arc::from(format!("{}/{name}", self.dir));
        self.begin(RecipeCall::WaitAtBarrier, barrier, recorder, io);
        self.ask(done.slot, recorder, io);
    }

    fn on_asked(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let is_gone = done.outcome == Outcome::Ok && done.code == ErrorCode::NoNode;
        if done.is_ok() {
            self.stage = Stage::Waiting;
        } else if is_gone || self.passes_on_loss {
            if self.call.as_ref().is_some_and(|call| call.seen_by != recorder.session()) {
                io.reach(WorkloadMark::BarrierAcrossSessions);
            }
            self.end(RecipeCall::WaitAtBarrier, Outcome::Ok, recorder, io);
            self.stage = Stage::Idle;
            rest(done.slot, self.think, recorder, io);
        } else {
            self.retry(io);
        }
    }

    pub(super) fn on_watch(&mut self, event: &WatchedEvent, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        // The exist watch that a passing left behind sees nothing: no barrier is set twice.
        if self.stage != Stage::Waiting || event.path != self.barrier() {
            return;
        }
        match recorder.idle_slot() {
            Some(slot) => self.ask(slot, recorder, io),
            // A probe of whether the ensemble serves again is open.
            None => self.retry(io),
        }
    }

    /// Its watch is gone.
    pub(super) fn on_expired(&mut self, io: &Io<'_, ZkWorkload>) {
        if self.stage == Stage::Waiting {
            self.retry(io);
        }
    }

    /// Nothing is set from now on, and what is set is lifted.
    pub(super) fn on_stop(&mut self, io: &Io<'_, ZkWorkload>) {
        self.stopped = true;
        if self.is_keeper && matches!(self.stage, Stage::Idle | Stage::Holding { .. }) {
            self.retry(io);
        }
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        match self.stage {
            Stage::Retrying { at } => Some(at),
            Stage::Idle
            | Stage::Listing
            | Stage::Setting
            | Stage::Holding { .. }
            | Stage::Lifting
            | Stage::Asking
            | Stage::Waiting => None,
        }
    }

    pub(super) fn on_woken(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Stage::Retrying { at } = self.stage else { return };
        if at > io.now() {
            return;
        }
        match recorder.idle_slot().filter(|_| !recorder.session().is_zero()) {
            Some(slot) if self.call.is_some() => self.ask(slot, recorder, io),
            Some(slot) => self.list(slot, recorder, io),
            // Between two sessions, or a probe of whether the ensemble serves again is open.
            None => self.retry(io),
        }
    }
}
