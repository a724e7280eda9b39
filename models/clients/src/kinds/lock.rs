//! The lock recipe, and a resource that is written under it.
//!
//! The contender makes an ephemeral sequential znode whose prefix names its session, lists the lock's children, and holds the
//! lock when its own has the lowest number; else it watches the one before its own and lists again when that goes. A create
//! that ended unknown is looked for by its prefix. The number is the *fencing token*: the resource remembers the greatest it
//! has seen and refuses smaller ones, because the holder's belief may be out of date (a paused process, an expired session).
//!
//! ```text
//! idle ─create▶ creating ─list▶ listing ─lowest▶ holding ─think over▶ releasing ─deleted▶ idle
//!                  │ unknown      ▲ │ not lowest                        │ unknown
//!                  ▼              │ ▼                                   ▼
//!               searching      waiting for the one before            list and delete again
//! ```

use std::sync::Arc;

use jute::op::{CreateMode, ErrorCode, EventType};
use machine::{Instant, Io, Span};
use zkclient::WatchedEvent;

use super::{directory, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::{Aim, Done};
use crate::recorder::Recorder;
use crate::{OpKind, Outcome, Stored, WorkloadFact, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// Digits of a sequential znode's number.
const SEQUENCE_DIGITS: usize = 10;
/// What refused a step may be asked again after so long.
const RETRY: Span = Span::millis(100);

/// Where a contender is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// It has no znode and wants none yet.
    Idle,
    /// Its znode is being created.
    Creating,
    /// The children are being listed: where does it stand? `uncertain` if its create ended unknown.
    Listing { uncertain: bool },
    /// A list, a read or a delete failed and is tried again.
    Retrying { at: Instant, then: Retry },
    /// The znode before its own is being watched.
    Watching { own: Arc<str> },
    /// It waits for that znode to go.
    Waiting { before: Arc<str> },
    /// It believes that it holds the lock.
    Holding { own: Arc<str>, token: u64, until: Instant },
    /// Its znode, or one too many, is being deleted.
    Deleting,
    /// The children are being listed to find what is left to delete.
    Sweeping,
}

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// List and find the own place.
    List { uncertain: bool },
    /// List and delete what is the own.
    Sweep,
}

/// One contender for one lock.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(super) dir: Arc<str>,
    pub(super) resource: Arc<str>,
    stage: Stage,
    stopped: bool,
    think: Span,
}

/// A child of the lock: its path, its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Contender {
    token: u64,
    name: String,
}

impl Contender {
    /// None for children that are no contenders.
    fn of(name: &str) -> Option<Self> {
        let at = name.len().checked_sub(SEQUENCE_DIGITS)?;
        let token = name.get(at..)?.parse().ok()?;
        (name.starts_with("x-")).then(|| Self { token, name: name.to_owned() })
    }
}

impl Lock {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        assert_eq!(image.processes, 1, "a contender for a lock is one process");
        let dir = directory(image);
        let resource = Arc::from(format!("{dir}-resource"));
        Self { dir, resource, stage: Stage::Idle, stopped: false, think: image.think }
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let now = io.now();
        let Some(slot) = recorder.free_slot(now) else { return };
        match self.stage {
            Stage::Idle if !self.stopped => self.create(slot, recorder, io),
            Stage::Holding { until, .. } if until <= now => self.release(slot, recorder, io),
            Stage::Holding { .. } => {
                let read = Invocation::get_data(&self.resource, Watch::No).aiming(Aim::Chain);
                recorder.invoke(slot, read, io);
            }
            Stage::Idle
            | Stage::Creating
            | Stage::Listing { .. }
            | Stage::Retrying { .. }
            | Stage::Watching { .. }
            | Stage::Waiting { .. }
            | Stage::Deleting
            | Stage::Sweeping => {}
        }
    }

    /// Names the session, so that a later session never takes a znode of an earlier one for its own.
    fn prefix(recorder: &Recorder) -> String {
        format!("x-{:x}-", recorder.session().value())
    }

    fn create(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if recorder.session().is_zero() {
            // Between two sessions: the next tick will do.
            return;
        }
        self.stage = Stage::Creating;
        let path = Arc::from(format!("{}/{}", self.dir, Self::prefix(recorder)));
        recorder.invoke(slot, Invocation::create(&path, CreateMode::EphemeralSequential, None), io);
    }

    fn list(&mut self, slot: usize, uncertain: bool, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Listing { uncertain };
        recorder.invoke(slot, Invocation::get_children(&self.dir, Watch::No), io);
    }

    fn sweep(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stage = Stage::Sweeping;
        recorder.invoke(slot, Invocation::get_children(&self.dir, Watch::No), io);
    }

    fn retry(&mut self, then: Retry, io: &Io<'_, ZkWorkload>) {
        self.stage = Stage::Retrying { at: io.now() + RETRY, then };
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match (&self.stage, done.kind) {
            (Stage::Creating, OpKind::CreateEphemeralSequential) => self.on_created(&done, recorder, io),
            (Stage::Listing { uncertain }, OpKind::GetChildren) => {
                let uncertain = *uncertain;
                if !done.is_ok() {
                    return self.retry(Retry::List { uncertain }, io);
                }
                self.on_listed(&done, uncertain, recorder, io);
            }
            (Stage::Sweeping, OpKind::GetChildren) => {
                if !done.is_ok() {
                    return self.retry(Retry::Sweep, io);
                }
                self.on_swept(&done, recorder, io);
            }
            (Stage::Watching { .. }, OpKind::GetData) => {
                if done.is_ok() {
                    self.stage = Stage::Waiting { before: done.path };
                    if self.stopped {
                        self.sweep(done.slot, recorder, io);
                    }
                } else if done.code == ErrorCode::NoNode && done.outcome == Outcome::Ok {
                    self.list(done.slot, false, recorder, io);
                } else {
                    self.retry(Retry::List { uncertain: false }, io);
                }
            }
            (Stage::Deleting, OpKind::Delete) => {
                if done.outcome == Outcome::Ok {
                    // What is left of the session's znodes, if anything is, goes as well.
                    self.sweep(done.slot, recorder, io);
                } else {
                    self.retry(Retry::Sweep, io);
                }
            }
            (Stage::Holding { .. }, OpKind::GetData | OpKind::SetData) => self.on_resource(&done, recorder, io),
            (
                Stage::Idle
                | Stage::Creating
                | Stage::Listing { .. }
                | Stage::Retrying { .. }
                | Stage::Watching { .. }
                | Stage::Waiting { .. }
                | Stage::Holding { .. }
                | Stage::Deleting
                | Stage::Sweeping,
                kind,
            ) => panic!("{} of {} ended in stage {:?}", kind.name(), done.path, self.stage),
        }
    }

    fn on_created(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match done.outcome {
            Outcome::Ok if done.is_ok() => self.list(done.slot, false, recorder, io),
            // The znode may be there: whoever created another would wait for itself.
            Outcome::Unknown => self.retry(Retry::List { uncertain: true }, io),
            Outcome::Ok | Outcome::Failed => {
                self.stage = Stage::Idle;
                rest(done.slot, RETRY, recorder, io);
            }
        }
    }

    fn on_listed(&mut self, done: &Done, uncertain: bool, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let prefix = Self::prefix(recorder);
        let mut all: Vec<_> = done.result.children.iter().filter_map(|name| Contender::of(name)).collect();
        all.sort_unstable();
        let mut own = all.iter().enumerate().filter(|(_, child)| child.name.starts_with(&prefix));
        let Some((place, first)) = own.next() else {
            if uncertain {
                io.reach(WorkloadMark::LockNodeMissing);
            }
            self.stage = Stage::Idle;
            return rest(done.slot, RETRY, recorder, io);
        };
        if uncertain {
            io.reach(WorkloadMark::LockNodeFound);
        }
        if own.next().is_some() {
            // A create that ended unknown took effect late, behind its successor.
            io.reach(WorkloadMark::LockNodeDouble);
        }
        if self.stopped {
            return self.sweep(done.slot, recorder, io);
        }
        let path: Arc<str> = Arc::from(format!("{}/{}", self.dir, first.name));
        if place == 0 {
            self.acquire(path, first.token, recorder, io);
            return;
        }
        // getData and not exists: an exist watch on a number that never comes again would stay for ever.
        let before = Arc::from(format!("{}/{}", self.dir, all[place - 1].name));
        self.stage = Stage::Watching { own: path };
        recorder.invoke(done.slot, Invocation::get_data(&before, Watch::Yes), io);
    }

    fn acquire(&mut self, own: Arc<str>, token: u64, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        io.state(WorkloadFact::LockAcquired {
            client: recorder.client(),
            lock: Arc::clone(&self.dir),
            session: recorder.session(),
            token,
            path: Arc::clone(&own),
        });
        self.stage = Stage::Holding { own, token, until: io.now().saturating_add(self.think) };
    }

    /// From here on it no longer believes that it holds the lock; no write of its own is on the way.
    fn release(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let own = self.give_up(recorder, io);
        self.stage = Stage::Deleting;
        recorder.invoke(slot, Invocation::delete(&own, None), io);
    }

    fn give_up(&self, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) -> Arc<str> {
        let Stage::Holding { own, token, .. } = &self.stage else { panic!("only a holder gives up") };
        self.state_released(*token, false, recorder, io);
        Arc::clone(own)
    }

    fn state_released(&self, token: u64, expired: bool, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let (client, lock) = (recorder.client(), Arc::clone(&self.dir));
        io.state(WorkloadFact::LockReleased { client, lock, token, expired });
    }

    /// The children were listed to delete what is the session's own, one after the other.
    fn on_swept(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let prefix = Self::prefix(recorder);
        match done.result.children.iter().find(|name| name.starts_with(&prefix)) {
            Some(own) => {
                self.stage = Stage::Deleting;
                let path = Arc::from(format!("{}/{own}", self.dir));
                recorder.invoke(done.slot, Invocation::delete(&path, None), io);
            }
            None => {
                self.stage = Stage::Idle;
                rest(done.slot, self.think, recorder, io);
            }
        }
    }

    /// A read of the resource goes on to a conditional write; what ends otherwise ends a holder that is to stop.
    fn on_resource(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if done.outcome == Outcome::Unknown {
            if self.stopped {
                self.give_up(recorder, io);
                self.retry(Retry::Sweep, io);
            }
            return;
        }
        let refused = if done.kind == OpKind::GetData {
            self.on_resource_read(done, recorder, io)
        } else {
            self.on_resource_written(done, recorder, io);
            false
        };
        if (self.stopped || refused) && recorder.idle_slot() == Some(done.slot) {
            self.release(done.slot, recorder, io);
        }
    }

    /// A version that moved on is another holder's write, or an own one whose outcome was unknown: the next tick reads again.
    fn on_resource_written(&self, done: &Done, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Stage::Holding { token, .. } = self.stage else { panic!("only a holder writes the resource") };
        let Some(stat) = done.result.stat.filter(|_| done.is_ok()) else { return };
        io.state(WorkloadFact::ResourceWrite {
            client: recorder.client(),
            resource: Arc::clone(&self.resource),
            token,
            accepted: true,
            seen: token,
            version: Some(stat.version),
            value: done.wrote,
        });
    }

    /// The resource compares tokens: a read and a write of the version that was read are its two halves. True if it refuses.
    fn on_resource_read(&self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) -> bool {
        let Stage::Holding { token, .. } = self.stage else { panic!("only a holder reads the resource") };
        let (Some(stat), Some(stored)) = (done.result.stat, done.result.stored) else { return false };
        if stored.token > token {
            // Somebody else holds the lock by now: the belief was wrong.
            io.reach(WorkloadMark::TokenRefused);
            io.state(WorkloadFact::ResourceWrite {
                client: recorder.client(),
                resource: Arc::clone(&self.resource),
                token,
                accepted: false,
                seen: stored.token,
                version: Some(stat.version),
                value: None,
            });
            return true;
        }
        if !self.stopped {
            let writes = Stored { value: recorder.fresh(), token };
            let set = Invocation::set_data(&self.resource, writes, Some(stat.version));
            recorder.invoke(done.slot, set, io);
        }
        false
    }

    pub(super) fn on_watch(&mut self, event: &WatchedEvent, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Stage::Waiting { before } = &self.stage else {
            // The watch of an earlier wait, or one that a reply has yet to tell of: both are followed by a list anyway.
            return;
        };
        if event.path != *before {
            return;
        }
        assert_ne!(event.event, EventType::NodeChildrenChanged, "the one before was watched for its data");
        match recorder.idle_slot() {
            Some(slot) => self.list(slot, false, recorder, io),
            // A probe of whether the ensemble serves again is open.
            None => self.retry(Retry::List { uncertain: false }, io),
        }
    }

    pub(super) fn on_expired(&mut self, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        if let Stage::Holding { token, .. } = self.stage {
            io.reach(WorkloadMark::LockExpired);
            self.state_released(token, true, recorder, io);
        }
        self.stage = Stage::Idle;
    }

    pub(super) fn on_stop(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.stopped = true;
        let slot = recorder.idle_slot();
        match (&self.stage, slot) {
            (Stage::Holding { .. }, Some(slot)) => self.release(slot, recorder, io),
            (Stage::Waiting { .. }, Some(slot)) => self.sweep(slot, recorder, io),
            // The end of what is open finds that it is to stop.
            (
                Stage::Idle
                | Stage::Creating
                | Stage::Listing { .. }
                | Stage::Retrying { .. }
                | Stage::Watching { .. }
                | Stage::Waiting { .. }
                | Stage::Holding { .. }
                | Stage::Deleting
                | Stage::Sweeping,
                _,
            ) => {}
        }
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        match self.stage {
            Stage::Retrying { at, .. } => Some(at),
            Stage::Idle
            | Stage::Creating
            | Stage::Listing { .. }
            | Stage::Watching { .. }
            | Stage::Waiting { .. }
            | Stage::Holding { .. }
            | Stage::Deleting
            | Stage::Sweeping => None,
        }
    }

    pub(super) fn on_woken(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Stage::Retrying { at, then } = self.stage else { return };
        if at > io.now() {
            return;
        }
        match (then, recorder.idle_slot()) {
            (Retry::List { uncertain }, Some(slot)) => self.list(slot, uncertain, recorder, io),
            (Retry::Sweep, Some(slot)) => self.sweep(slot, recorder, io),
            // A probe of whether the ensemble serves again is open.
            (then, None) => self.retry(then, io),
        }
    }
}
