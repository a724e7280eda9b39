//! Replication (kafka-broker.md §5): the partitions a broker leads and follows.
//!
//! ```text
//!   produce ──▶ append ──▶ purgatory ◀── high watermark ◀── followers' positions ◀── fetch ◀── followers
//!   LeaderAndIsr ──▶ leader: epoch begins, remotes unknown │ follower: fetcher truncates, then fetches
//!   fetchers ──▶ (their leaders)            isr-expiration, fetches ──▶ ISR ──▶ ZooKeeper, conditional on its version
//! ```
//!
//! What a reader must know: **a record is committed when every in-sync replica has it**, and the leader learns that one fetch
//! late, its followers two. Everything that keeps committed records alive through elections (epochs in logs, truncation by
//! epoch, the rule for joining the ISR) makes up for that lag.
//!
//! One partition is locked while its ISR is written (see `lock.rs`); nothing else here waits.
//!
//! Absent, as in a broker of era E22 without them: producer state and transactions, retention, compaction, DeleteRecords, fetch
//! from followers (KIP-392), reassignment's adding and removing replicas, moves between log dirs, quotas and throttles,
//! truncation on fetch, AlterPartition, topic ids.

mod control;
mod fetch;
mod fetch_session;
mod fetcher;
mod fetchers;
mod isr;
mod local;
mod lock;
mod offsets;
mod partition;
mod produce;
mod purgatory;
mod schedule;
mod table;
mod truncation;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use commitlog::{Log, LogEvent, LogManager};
use kafkawire::{BrokerId, ControllerEpoch, Link, Offset, Topic, TopicPartition};
use machine::disk::DiskError;
use machine::{Digest, EndId, Input, InputOf, Instant, Ticket};

use crate::cx::{Ask, Cx};
use crate::fact::{KafkaFact, Side};
use crate::replication::control::ControlQueue;
use crate::replication::fetch::DelayedFetch;
use crate::replication::fetch_session::FetchSessions;
use crate::replication::fetcher::FetcherTurn;
use crate::replication::fetchers::Fetchers;
use crate::replication::isr::IsrChanges;
use crate::replication::local::LocalLogs;
use crate::replication::lock::{Hold, Locks, Parked, ParkedBody};
use crate::replication::produce::{DelayedProduce, FlushingProduce};
use crate::replication::purgatory::Purgatory;
use crate::replication::schedule::{Schedule, Task};
use crate::replication::table::{PartitionTable, Slot};
use crate::topic_settings::TopicSettings;
use crate::work;

pub use crate::replication::fetcher::{FetchPhase, FetcherSummary};
pub use crate::replication::partition::{Leader, Partition, Remote, Role};

/// The next step on a lane of replication's.
#[derive(Clone, Debug)]
pub struct ReplicationWork(Turn);

#[derive(Clone, Debug)]
enum Turn {
    /// A periodic task, on the scheduler.
    Task(Task),
    /// A fetcher's thread, if it is still that one.
    Fetcher { thread: u16, generation: u64, turn: FetcherTurn },
}

impl ReplicationWork {
    pub(crate) const fn fetcher(thread: u16, generation: u64, turn: FetcherTurn) -> Self {
        Self(Turn::Fetcher { thread, generation, turn })
    }
}

/// What Kafka's ReplicaManager is.
#[derive(Clone, Debug)]
pub struct ReplicaManager {
    me: BrokerId,
    logs: LogManager,
    partitions: PartitionTable,
    /// Of topics that a partition is, or was, hosted of.
    settings: BTreeMap<Topic, Arc<TopicSettings>>,
    /// Of the last control request that was obeyed.
    controller_epoch: ControllerEpoch,
    control: ControlQueue,
    locks: Locks,
    produces: Purgatory<DelayedProduce>,
    flushing: Vec<FlushingProduce>,
    fetches: Purgatory<DelayedFetch>,
    sessions: FetchSessions,
    isr_changes: IsrChanges,
    /// The partitions that isr-expiration has still to look at.
    expiring: VecDeque<Slot>,
    fetchers: Fetchers,
    schedule: Schedule,
    is_stopping: bool,
}

impl ReplicaManager {
    /// Begins with the logs that were loaded; there are no partitions until LeaderAndIsr names them (§3.1 step 11).
    pub fn start(logs: LogManager, cx: &mut Cx<'_, '_>) -> Self {
        let now = cx.io.now();
        Self {
            me: cx.broker(),
            logs,
            partitions: PartitionTable::default(),
            settings: BTreeMap::new(),
            controller_epoch: ControllerEpoch(0),
            control: ControlQueue::default(),
            locks: Locks::default(),
            produces: Purgatory::new(),
            flushing: Vec::new(),
            fetches: Purgatory::new(),
            sessions: FetchSessions::default(),
            isr_changes: IsrChanges::new(now),
            expiring: VecDeque::new(),
            fetchers: Fetchers::default(),
            schedule: Schedule::new(cx.config(), now),
            is_stopping: false,
        }
    }

    /// The partitions that are hosted, in order of their names.
    pub fn partitions(&self) -> impl Iterator<Item = (&TopicPartition, &Partition)> {
        self.partitions.iter().map(|(_, partition)| (partition.tp(), partition))
    }

    /// A hosted partition.
    #[must_use]
    pub fn partition(&self, tp: &TopicPartition) -> Option<&Partition> {
        self.partitions.get(self.partitions.find_tp(tp)?)
    }

    /// A log; also of a partition that is not hosted (yet).
    #[must_use]
    pub fn log(&self, tp: &TopicPartition) -> Option<&Log> {
        self.logs.log(tp)
    }

    /// All logs of the broker.
    #[must_use]
    pub const fn logs(&self) -> &LogManager {
        &self.logs
    }

    /// The epoch of the last control request that was obeyed; 0 before.
    #[must_use]
    pub const fn controller_epoch(&self) -> ControllerEpoch {
        self.controller_epoch
    }

    /// The fetchers, for reports.
    pub fn fetchers(&self) -> impl Iterator<Item = FetcherSummary> {
        self.fetchers.iter().map(fetcher::Fetcher::summary)
    }

    /// What waits, one sentence each; empty if nothing does. For reports of a run that does not settle.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        let mut pending = Vec::new();
        let mut count = |number: usize, what: &str| {
            if number > 0 {
                pending.push(format!("{number} {what}"));
            }
        };
        count(self.produces.len(), "produces wait for in-sync replicas");
        count(self.flushing.len(), "produces wait for the disk");
        count(self.control.len(), "control requests wait");
        for (slot, why, parked) in self.locks.iter() {
            let tp = self.partitions.get(slot).map_or("?".to_owned(), |partition| partition.tp().to_string());
            let why = match why {
                Hold::Isr(write) => format!("its ISR becomes {:?}", write.isr),
                Hold::Flush => "an append is being flushed".to_owned(),
            };
            pending.push(format!("{tp} is held ({why}), {parked} wait for it"));
        }
        for (slot, partition) in self.partitions.iter() {
            if let Role::Follower { leader } = partition.role()
                && !self.fetchers.follow(slot)
            {
                pending.push(format!("{} does not fetch from its leader {leader}", partition.tp()));
            }
        }
        pending
    }

    fn log_of(&self, slot: Slot) -> &Log {
        self.logs.at(self.partitions.get(slot).expect("the partition is hosted").log_in_use())
    }

    /// Raises the high watermark of a partition that is led here as far as the followers allow (§5.4); true if it rose.
    fn raise_high_watermark(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) -> bool {
        let Some(partition) = self.partitions.get(slot) else { return false };
        let log = self.logs.at(partition.log_in_use());
        let lag_max = cx.config().replica_lag_time_max;
        let committed = partition.committed(log.log_end(), lag_max, cx.io.now());
        let Some(committed) = committed.filter(|&committed| committed > log.high_watermark()) else { return false };
        let tp = partition.tp();
        self.logs.at_mut(partition.log_in_use()).set_high_watermark(committed);
        cx.io.state(KafkaFact::HighWatermark {
            broker: cx.image.config.broker_id,
            topic: tp.topic.clone(),
            partition: tp.partition,
            side: Side::Leader,
            leader_epoch: partition.leader_epoch().expect("a leader has an epoch"),
            offset: committed,
        });
        true
    }

    /// What waits for a partition, in purgatory, is looked at.
    fn complete_delayed(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) {
        self.complete_fetches(slot, cx);
        self.complete_produces(slot, cx);
    }

    fn truncate(&mut self, slot: Slot, to: Offset, cx: &mut Cx<'_, '_>) -> Result<(), DiskError> {
        let mut local = LocalLogs { partitions: &self.partitions, logs: &mut self.logs };
        local.truncate(slot, to, cx).map(|_| ())
    }

    /// A held partition is free: whoever held it goes on, then what waited for it, until somebody holds it again.
    fn free(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) {
        let mut parked = self.locks.release(slot);
        if self.is_stopping {
            return;
        }
        self.complete_fetches_of_freed(slot, cx);
        self.complete_produces(slot, cx);
        while let Some(next) = parked.pop_front() {
            if self.locks.blocks(slot, next.access()) {
                self.locks.park(slot, next);
            } else {
                self.resume(next, cx);
            }
        }
    }

    fn resume(&mut self, parked: Parked, cx: &mut Cx<'_, '_>) {
        match parked {
            Parked::Request(request) => match request.body {
                ParkedBody::Produce(body) => self.produce(request.to, &body, request.version, cx),
                ParkedBody::Fetch(body) => self.fetch(request.to, &body, request.version, cx),
                ParkedBody::ListOffsets(body) => self.list_offsets(request.to, &body, request.version, cx),
                ParkedBody::OffsetForLeaderEpoch(body) => self.offset_for_leader_epoch(request.to, &body, cx),
            },
            Parked::Fetch(fetch) => self.note_positions(Arc::unwrap_or_clone(fetch), cx),
            Parked::IsrExpiration => self.expire_isrs(cx),
            Parked::Control => self.next_control(cx),
        }
    }

    /// A turn of one of its lanes.
    pub fn turn(&mut self, work: ReplicationWork, cx: &mut Cx<'_, '_>) {
        if self.is_stopping {
            return;
        }
        match work.0 {
            Turn::Task(task) => {
                if let Err(error) = self.run(task, cx) {
                    cx.ask(Ask::LogDirFailed(error));
                }
            }
            Turn::Fetcher { thread, generation, turn } => {
                let mut local = LocalLogs { partitions: &self.partitions, logs: &mut self.logs };
                self.fetchers.turn(thread, generation, turn, &mut local, cx);
            }
        }
    }

    fn run(&mut self, task: Task, cx: &mut Cx<'_, '_>) -> Result<(), DiskError> {
        match task {
            Task::IsrExpiration => self.begin_isr_expiration(cx),
            Task::IsrChangePropagation => self.propagate_isr_changes(cx),
            Task::HighWatermarkCheckpoint => self.logs.checkpoint_high_watermarks(cx.io)?,
            Task::RecoveryPointCheckpoint => self.logs.checkpoint_recovery_points(cx.io)?,
            Task::LogStartOffsetCheckpoint => self.logs.checkpoint_log_start_offsets(cx.io)?,
            Task::LogFlusher => self.logs.flush_dirty(cx.io),
        }
        Ok(())
    }

    /// Whether an end belongs to a fetcher.
    #[must_use]
    pub fn owns(&self, end: EndId) -> bool {
        self.fetchers.owns(end)
    }

    /// An input for the fetchers: only what [`owns`](Self::owns), and wakes.
    ///
    /// # Panics
    /// If the input can only be the broker's.
    pub fn handle(&mut self, input: InputOf<Link>, cx: &mut Cx<'_, '_>) {
        let end = match &input {
            Input::Woken => return self.on_woken(cx),
            Input::Message { on, .. } | Input::Opened { on } | Input::Refused { on } | Input::Lost { on, .. } => *on,
            Input::Turn { work, .. } => match *work {},
            Input::Accepted { .. } | Input::Datagram { .. } | Input::Durable { .. } | Input::Terminate => {
                panic!("an input of the broker reached its fetchers: {input:?}")
            }
        };
        self.fetchers.handle(end, input, cx);
    }

    fn on_woken(&mut self, cx: &mut Cx<'_, '_>) {
        let now = cx.io.now();
        // What times out does so by deadline within each purgatory; the two know nothing of each other.
        self.expire_produces(cx);
        self.expire_fetches(cx);
        while let Some(task) = self.schedule.take_due(now) {
            cx.io.defer(work::SCHEDULER, ReplicationWork(Turn::Task(task)));
        }
        if self.logs.next_wake().is_some_and(|due| due <= now)
            && let Err(error) = self.logs.remove_deleted(cx.io)
        {
            cx.ask(Ask::LogDirFailed(error));
        }
        self.fetchers.on_woken(cx);
    }

    /// Whether a ticket is one of the logs'.
    #[must_use]
    pub fn owns_ticket(&self, ticket: Ticket) -> bool {
        self.logs.owns(ticket)
    }

    /// Something is durable, or will never be.
    pub fn on_durable(&mut self, ticket: Ticket, result: Result<(), DiskError>, cx: &mut Cx<'_, '_>) {
        match self.logs.on_durable(ticket, result, cx.io) {
            Ok(Some(LogEvent::Flushed { .. })) => {
                if self.is_stopping {
                    return;
                }
                self.on_flushed_produces(cx);
                let mut local = LocalLogs { partitions: &self.partitions, logs: &mut self.logs };
                self.fetchers.on_flushed(&mut local, cx);
            }
            Ok(Some(LogEvent::MetaPropertiesWritten | LogEvent::ShutDown) | None) => {}
            Err(error) => cx.ask(Ask::LogDirFailed(error)),
        }
    }

    /// Stops fetchers and purgatories, checkpoints, closes the logs cleanly (§3.6). What waits is not answered: the connections
    /// are closed already.
    ///
    /// # Panics
    /// If it was called before.
    pub fn shut_down(&mut self, cx: &mut Cx<'_, '_>) {
        assert!(!self.is_stopping, "a broker shuts down once");
        self.is_stopping = true;
        self.schedule.stop();
        self.fetchers.close_all(cx);
        self.produces.clear();
        self.fetches.clear();
        let closed = self.logs.checkpoint_high_watermarks(cx.io).and_then(|()| self.logs.shutdown(cx.io));
        if let Err(error) = closed {
            cx.ask(Ask::LogDirFailed(error));
        }
    }

    /// Whether the shutdown is complete: everything durable, the clean marker written.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.logs.is_shut_down()
    }

    /// When it next wants to be woken.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        Instant::earliest([
            self.schedule.next_due(),
            self.produces.next_deadline(),
            self.fetches.next_deadline(),
            self.logs.next_wake(),
            self.fetchers.next_wake(),
        ])
    }

    /// Panics if it contradicts itself.
    pub fn check_invariants(&self) {
        self.logs.check_invariants();
        self.produces.check_invariants();
        self.fetches.check_invariants();
        for (slot, partition) in self.partitions.iter() {
            let Some(log) = partition.log() else {
                assert_eq!(*partition.role(), Role::None, "{}: a role without a log", partition.tp());
                continue;
            };
            partition.check_invariants(self.logs.at(log), self.me);
            let is_led = partition.leading().is_some();
            assert!(!(is_led && self.fetchers.follow(slot)), "{}: led and followed at once", partition.tp());
        }
        for (slot, ..) in self.locks.iter() {
            let held = self.partitions.get(slot).expect("what is held is hosted");
            assert!(held.leading().is_some(), "{}: only what is led is held", held.tp());
        }
        for fetcher in self.fetchers.iter() {
            fetcher.check_invariants();
        }
    }

    /// Epochs, offsets, ISRs.
    pub fn digest(&self, into: &mut Digest) {
        into.signed(i64::from(self.controller_epoch.0));
        into.word(self.partitions.len() as u64);
        for (_, partition) in self.partitions.iter() {
            partition.digest(into);
        }
        self.logs.digest(into);
        for fetcher in self.fetchers.iter() {
            fetcher.digest(into);
        }
        for waiting in [self.produces.len(), self.fetches.len(), self.sessions.len(), self.control.len()] {
            into.word(waiting as u64);
        }
    }
}
