//! Persistent znodes with unique paths and values.

use std::collections::VecDeque;
use std::sync::Arc;

use jute::op::{CreateMode, ErrorCode};
use machine::{Io, Span};

use super::{CHOICE, directory, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{OpKind, Outcome, Stored, ZkWorkload, ZkWorkloadImage};

/// Creates, reads and deletes its own znodes: whatever was acknowledged must be found again.
#[derive(Clone, Debug)]
pub(crate) struct UniqueCreates {
    pub(super) dir: Arc<str>,
    /// Own znodes that are surely there, oldest first.
    own: VecDeque<Arc<str>>,
    own_max: usize,
    think: Span,
}

impl UniqueCreates {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let own_max = usize::try_from(image.keys).expect("keys fit memory");
        Self { dir: directory(image), own: VecDeque::new(), own_max, think: image.think }
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        let mut draw = io.draw(CHOICE);
        let choice = draw.below(8);
        // One in eight deletes and two in eight read; what is full deletes.
        if !self.own.is_empty() && (choice == 0 || self.own.len() >= self.own_max) {
            let path = self.own.remove(draw.index(self.own.len())).expect("an index of the list");
            return recorder.invoke(slot, Invocation::delete(&path, None), io);
        }
        if !self.own.is_empty() && choice <= 2 {
            let path = &self.own[draw.index(self.own.len())];
            let read =
                if choice == 1 { Invocation::get_data(path, Watch::No) } else { Invocation::exists(path, Watch::No) };
            return recorder.invoke(slot, read, io);
        }
        let value = recorder.fresh();
        let path: Arc<str> = Arc::from(format!("{}/n{value:x}", self.dir));
        let create = Invocation::create(&path, CreateMode::Persistent, Some(Stored { value, token: 0 }));
        recorder.invoke(slot, create, io);
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &Io<'_, ZkWorkload>) {
        rest(done.slot, self.think, recorder, io);
        if done.kind == OpKind::Create && done.outcome == Outcome::Ok {
            assert_ne!(done.code, ErrorCode::NodeExists, "{} was created twice", done.path);
            if done.is_ok() {
                self.own.push_back(done.path);
            }
        }
        // Processes that were at it at the same time may have created one too many.
        while self.own.len() > self.own_max {
            self.own.pop_front();
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.own.len() <= self.own_max, "own znodes stay within their limit");
    }
}
