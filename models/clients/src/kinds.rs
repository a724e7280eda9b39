//! What workloads do: one module per kind.
//!
//! A kind is told when it may start something ([`Kind::on_tick`]), how its operations ended, what its watches saw and that
//! its session is another one; it starts operations through the [`Recorder`] it is lent.

mod barrier;
mod compare_and_set;
mod double_barrier;
mod election;
mod ephemerals;
mod line;
mod lock;
mod multi;
mod queue;
mod random_operations;
mod reconfigure;
mod sequentials;
mod unique_creates;
mod watches;

use std::sync::Arc;

use machine::{Instant, Io, Purpose, Span};
use zkclient::WatchedEvent;

use self::barrier::Barrier;
use self::compare_and_set::CompareAndSet;
use self::double_barrier::DoubleBarrier;
use self::election::Election;
use self::ephemerals::Ephemerals;
use self::lock::Lock;
use self::multi::CounterPairs;
use self::queue::Queue;
use self::random_operations::RandomOperations;
use self::reconfigure::Reconfigure;
use self::sequentials::Sequentials;
use self::unique_creates::UniqueCreates;
use self::watches::WatchedKeys;
use crate::op::Done;
use crate::recorder::Recorder;
use crate::{WorkloadKind, ZkWorkload, ZkWorkloadImage};

/// What to do, on which key: every kind draws from here.
const CHOICE: Purpose = Purpose::new("client-choice");

/// A znode that must be there before work begins.
#[derive(Clone, Debug)]
pub(crate) struct SetupNode {
    pub(crate) path: Arc<str>,
    /// Whether it is made with a value; a parent is not.
    pub(crate) has_value: bool,
}

/// What a workload does.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    UniqueCreates(UniqueCreates),
    CompareAndSet(CompareAndSet),
    Ephemerals(Ephemerals),
    Sequentials(Sequentials),
    Multi(CounterPairs),
    Watches(WatchedKeys),
    Lock(Lock),
    Reconfigure(Reconfigure),
    Election(Election),
    Queue(Queue),
    Barrier(Barrier),
    DoubleBarrier(DoubleBarrier),
    RandomOperations(RandomOperations),
}

impl Kind {
    pub(crate) fn new(image: &ZkWorkloadImage) -> Self {
        match image.kind {
            WorkloadKind::UniqueCreates => Self::UniqueCreates(UniqueCreates::new(image)),
            WorkloadKind::CompareAndSet => Self::CompareAndSet(CompareAndSet::new(image)),
            WorkloadKind::Ephemerals => Self::Ephemerals(Ephemerals::new(image)),
            WorkloadKind::Sequentials => Self::Sequentials(Sequentials::new(image)),
            WorkloadKind::Multi => Self::Multi(CounterPairs::new(image)),
            WorkloadKind::Watches => Self::Watches(WatchedKeys::new(image)),
            WorkloadKind::Lock => Self::Lock(Lock::new(image)),
            WorkloadKind::Reconfigure => Self::Reconfigure(Reconfigure::new(image)),
            WorkloadKind::Election => Self::Election(Election::new(image)),
            WorkloadKind::Queue => Self::Queue(Queue::new(image)),
            WorkloadKind::Barrier => Self::Barrier(Barrier::new(image)),
            WorkloadKind::DoubleBarrier => Self::DoubleBarrier(DoubleBarrier::new(image)),
            WorkloadKind::RandomOperations => Self::RandomOperations(RandomOperations::new(image)),
        }
    }

    /// What it needs, parents first.
    pub(crate) fn setup(&self) -> Vec<SetupNode> {
        match self {
            Self::UniqueCreates(kind) => parents(&kind.dir),
            Self::CompareAndSet(kind) => with_keys(&kind.dir, kind.keys.iter()),
            Self::Ephemerals(kind) => parents(&kind.dir),
            Self::Sequentials(kind) => parents(&kind.dir),
            Self::Multi(kind) => with_keys(&kind.dir, kind.paths()),
            Self::Watches(kind) => with_keys(&kind.dir, kind.keys.iter()),
            Self::Reconfigure(kind) => parents(&kind.dir),
            Self::Lock(kind) => with_keys(&kind.line.dir, [&kind.resource]),
            Self::Election(kind) => with_keys(kind.dir(), kind.keys()),
            Self::Queue(kind) => parents(&kind.dir),
            Self::Barrier(kind) => parents(&kind.dir),
            Self::DoubleBarrier(kind) => parents(&kind.dir),
            Self::RandomOperations(kind) => parents(&kind.dir),
        }
    }

    /// It may start an operation.
    pub(crate) fn on_tick(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match self {
            Self::UniqueCreates(kind) => kind.on_tick(recorder, io),
            Self::CompareAndSet(kind) => kind.on_tick(recorder, io),
            Self::Ephemerals(kind) => kind.on_tick(recorder, io),
            Self::Sequentials(kind) => kind.on_tick(recorder, io),
            Self::Multi(kind) => kind.on_tick(recorder, io),
            Self::Watches(kind) => kind.on_tick(recorder, io),
            Self::Lock(kind) => kind.on_tick(recorder, io),
            Self::Reconfigure(kind) => kind.on_tick(recorder, io),
            Self::Election(kind) => kind.on_tick(recorder, io),
            Self::Queue(kind) => kind.on_tick(recorder, io),
            Self::Barrier(kind) => kind.on_tick(recorder, io),
            Self::DoubleBarrier(kind) => kind.on_tick(recorder, io),
            Self::RandomOperations(kind) => kind.on_tick(recorder, io),
        }
    }

    /// One of its operations ended.
    pub(crate) fn on_done(&mut self, done: Done, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match self {
            Self::UniqueCreates(kind) => kind.on_done(done, recorder, io),
            Self::CompareAndSet(kind) => kind.on_done(&done, recorder, io),
            Self::Ephemerals(kind) => kind.on_done(&done, recorder, io),
            Self::Sequentials(kind) => kind.on_done(done, recorder, io),
            Self::Multi(kind) => kind.on_done(&done, recorder, io),
            Self::Watches(kind) => kind.on_done(&done, recorder, io),
            Self::Lock(kind) => kind.on_done(done, recorder, io),
            Self::Reconfigure(kind) => kind.on_done(&done, recorder, io),
            Self::Election(kind) => kind.on_done(done, recorder, io),
            Self::Queue(kind) => kind.on_done(done, recorder, io),
            Self::Barrier(kind) => kind.on_done(done, recorder, io),
            Self::DoubleBarrier(kind) => kind.on_done(done, recorder, io),
            Self::RandomOperations(kind) => kind.on_done(done, recorder, io),
        }
    }

    /// A watch saw something.
    pub(crate) fn on_watch(&mut self, event: &WatchedEvent, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match self {
            Self::Ephemerals(kind) => kind.on_watch(event, recorder, io),
            Self::Watches(kind) => kind.on_watch(event, recorder, io),
            Self::Lock(kind) => kind.on_watch(event, recorder, io),
            Self::Election(kind) => kind.on_watch(event, recorder, io),
            Self::Barrier(kind) => kind.on_watch(event, recorder, io),
            Self::DoubleBarrier(kind) => kind.on_watch(event, recorder, io),
            // What is watched is as random as what is done about it.
            Self::RandomOperations(_) => {}
            Self::UniqueCreates(_)
            | Self::CompareAndSet(_)
            | Self::Sequentials(_)
            | Self::Multi(_)
            | Self::Reconfigure(_)
            | Self::Queue(_) => {
                panic!("a workload that sets no watches was told of {event:?}")
            }
        }
    }

    /// The session is another one: the ephemerals and watches of the old one are gone, or will be.
    pub(crate) fn on_expired(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match self {
            Self::Ephemerals(kind) => kind.on_expired(),
            Self::Sequentials(kind) => kind.on_expired(),
            Self::Lock(kind) => kind.on_expired(recorder, io),
            Self::Election(kind) => kind.on_expired(recorder, io),
            Self::Barrier(kind) => kind.on_expired(io),
            Self::DoubleBarrier(kind) => kind.on_expired(recorder, io),
            Self::UniqueCreates(_)
            | Self::CompareAndSet(_)
            | Self::Multi(_)
            | Self::Watches(_)
            | Self::Reconfigure(_)
            | Self::Queue(_)
            | Self::RandomOperations(_) => {}
        }
    }

    /// A server has confirmed the session on a new connection.
    pub(crate) fn on_connected(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match self {
            Self::Election(kind) => kind.on_connected(recorder, io),
            Self::UniqueCreates(_)
            | Self::CompareAndSet(_)
            | Self::Ephemerals(_)
            | Self::Sequentials(_)
            | Self::Multi(_)
            | Self::Watches(_)
            | Self::Lock(_)
            | Self::Queue(_)
            | Self::Barrier(_)
            | Self::DoubleBarrier(_)
            | Self::RandomOperations(_)
            | Self::Reconfigure(_) => {}
        }
    }

    /// The connection is gone: whether the session is, nobody knows.
    pub(crate) fn on_disconnected(&mut self, recorder: &Recorder, io: &mut Io<'_, ZkWorkload>) {
        match self {
            Self::Election(kind) => kind.on_disconnected(recorder, io),
            Self::UniqueCreates(_)
            | Self::CompareAndSet(_)
            | Self::Ephemerals(_)
            | Self::Sequentials(_)
            | Self::Multi(_)
            | Self::Watches(_)
            | Self::Lock(_)
            | Self::Queue(_)
            | Self::Barrier(_)
            | Self::DoubleBarrier(_)
            | Self::RandomOperations(_)
            | Self::Reconfigure(_) => {}
        }
    }

    /// It may start nothing new; what it holds it gives back.
    pub(crate) fn on_stop(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match self {
            Self::Lock(kind) => kind.on_stop(recorder, io),
            Self::Ephemerals(kind) => kind.on_stop(),
            Self::Watches(kind) => kind.on_stop(),
            Self::Queue(kind) => kind.on_stop(io),
            Self::Barrier(kind) => kind.on_stop(io),
            Self::DoubleBarrier(kind) => kind.on_stop(io),
            Self::UniqueCreates(_)
            | Self::CompareAndSet(_)
            | Self::Sequentials(_)
            | Self::Multi(_)
            | Self::Reconfigure(_)
            | Self::Election(_)
            | Self::RandomOperations(_) => {}
        }
    }

    /// Its own timer.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        match self {
            Self::Lock(kind) => kind.next_wake(),
            Self::Election(kind) => kind.next_wake(),
            Self::Queue(kind) => kind.next_wake(),
            Self::Barrier(kind) => kind.next_wake(),
            Self::DoubleBarrier(kind) => kind.next_wake(),
            Self::UniqueCreates(_)
            | Self::CompareAndSet(_)
            | Self::Ephemerals(_)
            | Self::Sequentials(_)
            | Self::Multi(_)
            | Self::Watches(_)
            | Self::Reconfigure(_) => None,
            Self::RandomOperations(_) => None,
        }
    }

    pub(crate) fn on_woken(&mut self, recorder: &mut Recorder, io: &mut Io<'_, ZkWorkload>) {
        match self {
            Self::Lock(kind) => kind.on_woken(recorder, io),
            Self::Election(kind) => kind.on_woken(recorder, io),
            Self::Queue(kind) => kind.on_woken(recorder, io),
            Self::Barrier(kind) => kind.on_woken(recorder, io),
            Self::DoubleBarrier(kind) => kind.on_woken(recorder, io),
            Self::UniqueCreates(_)
            | Self::CompareAndSet(_)
            | Self::Ephemerals(_)
            | Self::Sequentials(_)
            | Self::Multi(_)
            | Self::Watches(_)
            | Self::Reconfigure(_)
            | Self::RandomOperations(_) => {}
        }
    }

    /// Panics if the state contradicts itself.
    pub(crate) fn check_invariants(&self) {
        match self {
            Self::UniqueCreates(kind) => kind.check_invariants(),
            Self::Sequentials(kind) => kind.check_invariants(),
            Self::DoubleBarrier(kind) => kind.check_invariants(),
            Self::CompareAndSet(_)
            | Self::Ephemerals(_)
            | Self::Multi(_)
            | Self::Watches(_)
            | Self::Lock(_)
            | Self::Reconfigure(_)
            | Self::Election(_)
            | Self::Queue(_)
            | Self::Barrier(_)
            | Self::RandomOperations(_) => {}
        }
    }
}

/// The directory of a kind below the root.
fn directory(image: &ZkWorkloadImage) -> Arc<str> {
    Arc::from(format!("{}/{}", image.root, image.kind.name()))
}

fn keys(dir: &str, count: u32) -> Arc<[Arc<str>]> {
    (0..count).map(|key| Arc::from(format!("{dir}/k{key}"))).collect()
}

/// A path and everything above it.
pub(crate) fn parents(dir: &Arc<str>) -> Vec<SetupNode> {
    let ends = dir.match_indices('/').map(|(at, _)| at).filter(|&at| at > 0).chain([dir.len()]);
    ends.map(|end| SetupNode { path: Arc::from(&dir[..end]), has_value: false }).collect()
}

fn with_keys<'a>(dir: &Arc<str>, keys: impl IntoIterator<Item = &'a Arc<str>>) -> Vec<SetupNode> {
    let mut nodes = parents(dir);
    nodes.extend(keys.into_iter().map(|path| SetupNode { path: Arc::clone(path), has_value: true }));
    nodes
}

/// One of `count` keys.
fn choose_key(count: usize, io: &mut Io<'_, ZkWorkload>) -> u32 {
    u32::try_from(io.draw(CHOICE).index(count)).expect("keys are counted by u32")
}

fn at(key: u32) -> usize {
    usize::try_from(key).expect("a key indexes a list")
}

/// The process rests, its chain of operations is over.
fn rest(slot: usize, think: Span, recorder: &mut Recorder, io: &Io<'_, ZkWorkload>) {
    recorder.rest(slot, io.now().saturating_add(think));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children() {
        let paths: Vec<_> = parents(&Arc::from("/a/b/c")).into_iter().map(|node| node.path.to_string()).collect();
        assert_eq!(paths, ["/a", "/a/b", "/a/b/c"]);
    }
}
