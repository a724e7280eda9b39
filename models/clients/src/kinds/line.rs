//! A place in a line of ephemeral sequential znodes: the part that the lock and the election recipe share.
//!
//! A contender makes a znode whose prefix names its session, lists the line, and is first when its own number is the lowest;
//! else it watches the one before its own and lists again when that goes: no herd is woken. A create that ended unknown is looked
//! for by its prefix.
//!
//! ```text
//! outside ─create▶ creating ─list▶ listing ─lowest▶ first ─leave▶ deleting ─deleted▶ sweeping ─nothing left▶ outside
//!                     │ unknown      ▲ │ not lowest                  │ unknown         ▲
//!                     ▼              │ ▼                             └─────────────────┘
//!                  searching      waiting for the one before
//! ```

use std::sync::Arc;

use jute::op::{CreateMode, ErrorCode, EventType};
use machine::{Instant, Io, Span};
use zkclient::WatchedEvent;

use super::rest;
use crate::invocation::{Invocation, Watch};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{Misuse, OpKind, Outcome, WorkloadMark, ZkWorkload, ZkWorkloadImage};

/// Digits of a sequential znode's number.
pub(super) const SEQUENCE_DIGITS: usize = 10;
/// What refused a step may be asked again after so long.
pub(super) const RETRY: Span = Span::millis(100);

/// Where a contender is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// It has no znode and wants none yet.
    Outside,
    /// Its znode is being created.
    Creating,
    /// The children are being listed: where does it stand? `uncertain` if its create ended unknown.
    Listing { uncertain: bool },
    /// A list, a read or a delete failed and is tried again.
    Retrying { at: Instant, then: Retry },
    /// The znode before its own is being watched.
    Watching,
    /// It waits for that znode to go.
    Waiting { before: Arc<str> },
    /// Nobody was before it when it looked last.
    First { own: Arc<str>, number: u64 },
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

/// A place in a line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(super) dir: Arc<str>,
    stage: Stage,
    /// It wants no place any more.
    leaving: bool,
    /// It takes only this znode for its own, whatever else its session has made: R01.
    only: Option<Arc<str>>,
    forgets: bool,
    think: Span,
}

/// A child of the line: its number, its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Contender {
    number: u64,
    name: String,
}

impl Contender {
    /// None for children that are no contenders.
    fn of(name: &str) -> Option<Self> {
        let at = name.len().checked_sub(SEQUENCE_DIGITS)?;
        let number = name.get(at..)?.parse().ok()?;
        (name.starts_with("x-")).then(|| Self { number, name: name.to_owned() })
    }
}

/// Names the session, so that a later session never takes a znode of an earlier one for its own.
fn prefix(recorder: &Recorder) -> String {
    format!("x-{:x}-", recorder.session().value())
}

impl Line {
    pub(super) fn new(dir: Arc<str>, image: &ZkWorkloadImage) -> Self {
        let forgets = image.misuses.has(Misuse::ForgetsItsZnode);
        Self { dir, stage: Stage::Outside, leaving: false, only: None, forgets, think: image.think }
    }

    pub(super) fn is_outside(&self) -> bool {
        self.stage == Stage::Outside
    }

    pub(super) fn is_first(&self) -> bool {
        matches!(self.stage, Stage::First { .. })
    }

    /// Its znode and its number, if it is first.
    pub(super) fn first(&self) -> Option<(&Arc<str>, u64)> {
        match &self.stage {
            Stage::First { own, number } => Some((own, *number)),
            Stage::Outside
            | Stage::Creating
            | Stage::Listing { .. }
            | Stage::Retrying { .. }
            | Stage::Watching
            | Stage::Waiting { .. }
            | Stage::Deleting
            | Stage::Sweeping => None,
        }
    }

    /// Takes a place. False between two sessions.
    pub(super) fn join(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) -> bool {
        assert!(self.is_outside(), "a contender has one place");
        if recorder.session().is_zero() {
            return false;
        }
        self.stage = Stage::Creating;
        self.only = None;
        let path = Arc::from(format!("{}/{}", self.dir, prefix(recorder)));
        recorder.invoke(slot, Invocation::create(&path, CreateMode::EphemeralSequential, None), io);
        true
    }

    /// Looks where it stands.
    pub(super) fn look(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.list(slot, false, recorder, io);
    }

    /// Looks where it stands, in a while.
    pub(super) fn look_later(&mut self, io: &Io<'_, ZkWorkload>) {
        self.retry(Retry::List { uncertain: false }, io);
    }

    /// Gives its place up. It must be first.
    pub(super) fn leave(&mut self, slot: usize, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Stage::First { own, .. } = &self.stage else { panic!("only the first one leaves") };
        let own = Arc::clone(own);
        self.stage = Stage::Deleting;
        recorder.invoke(slot, Invocation::delete(&own, None), io);
    }

    /// Gives its place up, in a while.
    pub(super) fn leave_later(&mut self, io: &Io<'_, ZkWorkload>) {
        self.retry(Retry::Sweep, io);
    }

    /// It wants no place any more; one that is first leaves by itself.
    pub(super) fn stop(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        self.leaving = true;
        if let (Stage::Waiting { .. }, Some(slot)) = (&self.stage, recorder.idle_slot()) {
            self.sweep(slot, recorder, io);
        }
    }

    /// The session is another one, and its place is gone.
    pub(super) fn on_expired(&mut self) {
        self.stage = Stage::Outside;
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

    /// One of its operations ended.
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
            (Stage::Watching, OpKind::GetData) => {
                if done.is_ok() {
                    self.stage = Stage::Waiting { before: done.path };
                    if self.leaving {
                        self.sweep(done.slot, recorder, io);
                    }
                } else if done.code == ErrorCode::NoNode && done.outcome == Outcome::Ok {
                    self.list(done.slot, false, recorder, io);
                } else {
                    self.look_later(io);
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
            (
                Stage::Outside
                | Stage::Creating
                | Stage::Listing { .. }
                | Stage::Retrying { .. }
                | Stage::Watching
                | Stage::Waiting { .. }
                | Stage::First { .. }
                | Stage::Deleting
                | Stage::Sweeping,
                kind,
            ) => panic!("{} of {} ended in stage {:?}", kind.name(), done.path, self.stage),
        }
    }

    fn on_created(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match done.outcome {
            Outcome::Ok if done.is_ok() => {
                self.only = done.result.created.clone().filter(|_| self.forgets);
                self.list(done.slot, false, recorder, io);
            }
            // The znode may be there: whoever created another would wait for itself.
            Outcome::Unknown if !self.forgets => self.retry(Retry::List { uncertain: true }, io),
            Outcome::Ok | Outcome::Failed | Outcome::Unknown => {
                self.stage = Stage::Outside;
                rest(done.slot, RETRY, recorder, io);
            }
        }
    }

    fn on_listed(&mut self, done: &Done, uncertain: bool, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let prefix = prefix(recorder);
        let mut all: Vec<_> = done.result.children.iter().filter_map(|name| Contender::of(name)).collect();
        all.sort_unstable();
        let is_own = |child: &Contender| match &self.only {
            Some(only) => only.ends_with(&child.name),
            None => child.name.starts_with(&prefix),
        };
        let mut own = all.iter().enumerate().filter(|(_, child)| is_own(child));
        let Some((place, first)) = own.next() else {
            if uncertain {
                io.reach(WorkloadMark::LockNodeMissing);
            }
            self.stage = Stage::Outside;
            return rest(done.slot, RETRY, recorder, io);
        };
        if uncertain {
            io.reach(WorkloadMark::LockNodeFound);
        }
        if own.next().is_some() {
            // A create that ended unknown took effect late, behind its successor.
            io.reach(WorkloadMark::LockNodeDouble);
        }
        if self.leaving {
            return self.sweep(done.slot, recorder, io);
        }
        let path: Arc<str> = Arc::from(format!("{}/{}", self.dir, first.name));
        if place == 0 {
            self.stage = Stage::First { own: path, number: first.number };
            return;
        }
        // getData and not exists: an exist watch on a number that never comes again would stay for ever.
        let before = Arc::from(format!("{}/{}", self.dir, all[place - 1].name));
        self.stage = Stage::Watching;
        recorder.invoke(done.slot, Invocation::get_data(&before, Watch::Yes), io);
    }

    /// The children were listed to delete what is the session's own, one after the other.
    fn on_swept(&mut self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let prefix = prefix(recorder);
        match done.result.children.iter().find(|name| name.starts_with(&prefix)) {
            Some(own) => {
                self.stage = Stage::Deleting;
                let path = Arc::from(format!("{}/{own}", self.dir));
                recorder.invoke(done.slot, Invocation::delete(&path, None), io);
            }
            None => {
                self.stage = Stage::Outside;
                rest(done.slot, self.think, recorder, io);
            }
        }
    }

    /// A watch saw something.
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
            None => self.look_later(io),
        }
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        match self.stage {
            Stage::Retrying { at, .. } => Some(at),
            Stage::Outside
            | Stage::Creating
            | Stage::Listing { .. }
            | Stage::Watching
            | Stage::Waiting { .. }
            | Stage::First { .. }
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
