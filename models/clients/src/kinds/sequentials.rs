//! Sequential znodes, persistent and ephemeral.

use std::collections::VecDeque;
use std::sync::Arc;

use jute::op::CreateMode;
use machine::{Io, Span};

use super::{CHOICE, directory, rest};
use crate::invocation::{Invocation, Watch};
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{OpKind, Stored, ZkWorkload, ZkWorkloadImage};

/// Creates znodes whose numbers must grow in zxid order, and deletes the oldest of its own.
#[derive(Clone, Debug)]
pub(crate) struct Sequentials {
    pub(super) dir: Arc<str>,
    prefix: Arc<str>,
    /// Own znodes that are surely there, oldest first, and whether they go with the session.
    own: VecDeque<(Arc<str>, bool)>,
    own_max: usize,
    think: Span,
}

impl Sequentials {
    pub(super) fn new(image: &ZkWorkloadImage) -> Self {
        let dir = directory(image);
        let prefix = Arc::from(format!("{dir}/c{}-", image.client));
        let own_max = usize::try_from(image.keys).expect("keys fit memory");
        Self { dir, prefix, own: VecDeque::new(), own_max, think: image.think }
    }

    pub(super) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        let Some(slot) = recorder.free_slot(io.now()) else { return };
        if self.own.len() >= self.own_max {
            let (path, _) = self.own.pop_front().expect("a full list has an oldest");
            return recorder.invoke(slot, Invocation::delete(&path, None), io);
        }
        let what = match io.draw(CHOICE).below(8) {
            0 => Invocation::get_children(&self.dir, Watch::No),
            1 | 2 => self.create(CreateMode::EphemeralSequential, recorder),
            _ => self.create(CreateMode::PersistentSequential, recorder),
        };
        recorder.invoke(slot, what, io);
    }

    fn create(&self, mode: CreateMode, recorder: &mut Recorder) -> Invocation {
        Invocation::create(&self.prefix, mode, Some(Stored { value: recorder.fresh(), token: 0 }))
    }

    pub(super) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &Io<'_, ZkWorkload>) {
        rest(done.slot, self.think, recorder, io);
        if let Some(path) = done.result.created {
            assert!(
                path.len() == self.prefix.len() + 10 && path.starts_with(self.prefix.as_ref()),
                "{path} is {} and ten digits",
                self.prefix
            );
            self.own.push_back((path, done.kind == OpKind::CreateEphemeralSequential));
        }
        while self.own.len() > self.own_max {
            self.own.pop_front();
        }
    }

    pub(super) fn on_expired(&mut self) {
        self.own.retain(|&(_, ephemeral)| !ephemeral);
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.own.len() <= self.own_max, "own znodes stay within their limit");
    }
}
