//! A versioned register per key (invariants-and-faults.md §3.3).

use std::sync::Arc;

use machine::{Io, Span};

use super::{CHOICE, at, choose_key, directory, keys, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::{Aim, Done};
use crate::recorder::Recorder;
use crate::{OpKind, Stored, ZkWorkload, ZkWorkloadImage};

/// Reads and conditional writes on few keys, by several clients.
#[derive(Clone, Debug)]
pub(crate) struct CompareAndSet {
    pub(super) dir: Arc<str>,
    pub(super) keys: Arc<[Arc<str>]>,
    think: Span,
}

impl CompareAndSet {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let dir = directory(image);
        let keys = keys(&dir, image.keys);
        Self { dir, keys, think: image.think }
    }

    pub(super) fn on_tick(&self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        let key = choose_key(self.keys.len(), io);
        let path = &self.keys[at(key)];
        let what = match io.draw(CHOICE).below(8) {
            0..4 => Invocation::get_data(path, Watch::No).aiming(Aim::Chain),
            4 => Invocation::set_data(path, Stored { value: recorder.fresh(), token: 0 }, None),
            5 => Invocation::sync_get_data(path),
            _ => Invocation::get_data(path, Watch::No),
        };
        recorder.invoke(slot, what.about(key), io);
    }

    pub(super) fn on_done(&self, done: &Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        if done.aim == Aim::Chain
            && done.is_ok()
            && let (OpKind::GetData, Some(stat)) = (done.kind, done.result.stat)
        {
            let writes = Stored { value: recorder.fresh(), token: 0 };
            let set = Invocation::set_data(&self.keys[at(done.subject)], writes, Some(stat.version));
            return recorder.invoke(done.slot, set.about(done.subject), io);
        }
        rest(done.slot, self.think, recorder, io);
    }
}
