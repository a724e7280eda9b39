//! Watches on keys that all clients change.

use std::sync::Arc;

use jute::op::CreateMode;
use machine::{Io, Span};
use zkclient::WatchedEvent;

use super::{CHOICE, at, choose_key, directory, keys, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{OpKind, Stored, ZkWorkload, ZkWorkloadImage};

/// Leaves data, exist and child watches, and changes what others watch.
#[derive(Clone, Debug)]
pub(crate) struct WatchedKeys {
    pub(super) dir: Arc<str>,
    pub(super) keys: Arc<[Arc<str>]>,
    stopped: bool,
    think: Span,
}

impl WatchedKeys {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let dir = directory(image);
        let keys = keys(&dir, image.keys);
        Self { dir, keys, stopped: false, think: image.think }
    }

    pub(super) fn on_tick(&self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        let key = choose_key(self.keys.len(), io);
        let path = &self.keys[at(key)];
        let mut writes = || Stored { value: recorder.fresh(), token: 0 };
        let what = match io.draw(CHOICE).below(12) {
            0 | 1 => Invocation::set_data(path, writes(), None),
            2 => Invocation::delete(path, None),
            3 | 4 => Invocation::create(path, CreateMode::Persistent, Some(writes())),
            5..8 => Invocation::get_data(path, Watch::Yes),
            8..10 => Invocation::exists(path, Watch::Yes),
            _ => Invocation::get_children(&self.dir, Watch::Yes),
        };
        recorder.invoke(slot, what.about(key), io);
    }

    pub(super) fn on_done(&self, done: &Done, recorder: &mut Recorder, io: &Io<'_, ZkWorkload>) {
        assert_ne!(done.kind, OpKind::Multi, "this workload does no multis");
        rest(done.slot, self.think, recorder, io);
    }

    /// Every other event is followed by a read that sets the watch again.
    pub(super) fn on_watch(&self, event: &WatchedEvent, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if self.stopped || !io.draw(CHOICE).chance(1, 2) {
            return;
        }
        let Some(slot) = recorder.idle_slot() else { return };
        let again = if event.consumed.child {
            Invocation::get_children(&event.path, Watch::Yes)
        } else if event.consumed.data {
            Invocation::get_data(&event.path, Watch::Yes)
        } else {
            Invocation::exists(&event.path, Watch::Yes)
        };
        recorder.invoke(slot, again, io);
    }

    pub(super) const fn on_stop(&mut self) {
        self.stopped = true;
    }
}
