//! The snapshot thread (zookeeper.md §4.5, §9.4): one at a time, while txns go on.

use machine::Io;

use super::{Server, ServerWork, Stores};
use crate::store::{Durability, Progress, SnapshotWriter};
use crate::{Coordinator, Fact, work};

/// A failed snapshot ends the process (zookeeper.md §0.3).
const EXIT_SNAPSHOT_FAILED: i32 = 10;

/// What the snapshot thread is doing.
#[derive(Clone, Debug)]
pub(super) enum SnapshotThread {
    /// It has been started and has not looked at the tree.
    Starting,
    /// It is writing.
    Writing(SnapshotWriter),
}

impl Server {
    /// Starts the thread, unless it runs already: "Too busy to snap, skipping".
    pub(super) fn start_snapshot(&mut self, io: &mut Io<'_, Coordinator>) {
        if self.snapshot.is_none() {
            self.snapshot = Some(SnapshotThread::Starting);
            self.schedule_snapshot(io);
        }
    }

    fn schedule_snapshot(&mut self, io: &mut Io<'_, Coordinator>) {
        if !self.snapshot_scheduled {
            self.snapshot_scheduled = true;
            io.defer(work::SNAPSHOT, ServerWork::Snapshot);
        }
    }

    /// One chunk.
    pub(super) fn on_snapshot_turn(&mut self, stores: &Stores<'_>, io: &mut Io<'_, Coordinator>) {
        self.snapshot_scheduled = false;
        self.step_snapshot(self.config.snapshot_chunk_nodes, stores, io);
        if self.snapshot.is_some() {
            self.schedule_snapshot(io);
        }
    }

    fn step_snapshot(&mut self, nodes: usize, stores: &Stores<'_>, io: &mut Io<'_, Coordinator>) {
        let mut writer = match self.snapshot.take() {
            None => return,
            Some(SnapshotThread::Starting) => SnapshotWriter::begin(stores.db, &self.config, Durability::Lazy),
            Some(SnapshotThread::Writing(writer)) => writer,
        };
        io.spend(work::SNAPSHOT, self.config.costs.snapshot_chunk);
        match writer.step(stores.db, nodes, io.disk()) {
            Ok(Progress::More) => self.snapshot = Some(SnapshotThread::Writing(writer)),
            Ok(Progress::Done) => io.state(Fact::SnapshotWritten { zxid: writer.zxid(), fuzzy: writer.is_fuzzy() }),
            Err(_) => io.exit(EXIT_SNAPSHOT_FAILED),
        }
    }

    /// Lets a snapshot that has begun come to its end before the database is replaced.
    ///
    /// Simplified: the real thread holds on to the old tree and goes on in its own time.
    pub(super) fn finish_snapshot(&mut self, stores: &Stores<'_>, io: &mut Io<'_, Coordinator>) {
        self.step_snapshot(usize::MAX, stores, io);
    }
}
