//! The thread that logs (zookeeper.md §4.5): appends, syncs in groups, triggers snapshots.
//!
//! A group is whatever queued up while the sync before it ran. While a sync runs the thread is blocked: its lane has no item, and
//! requests gather in `queue`.

use std::collections::VecDeque;

use machine::disk::DiskError;
use machine::{Instant, Io, Purpose, Span, Ticket};

use super::request::Request;
use super::{Server, ServerEvent, ServerFault, ServerWork, Serving, Stores};
use crate::config::ServerConfig;
use crate::defect::Defect;
use crate::{Coordinator, Fact, work};

/// How far beyond half of `snapCount` and `snapSizeLimitInKb` this server goes: not all servers of an ensemble at once.
const SNAPSHOT_ROLL: Purpose = Purpose::new("snapshot-roll");

/// The logging thread's queues and counters.
#[derive(Clone, Debug)]
pub(super) struct SyncProcessor {
    pub(super) queue: VecDeque<Request>,
    pub(super) scheduled: bool,
    /// Appended, or behind something that is, and not handed on.
    to_flush: VecDeque<Request>,
    /// What the sync that runs still waits for.
    syncing: Vec<Ticket>,
    /// Flushed, and on its way to the next processor.
    handing_on: VecDeque<Request>,
    last_flush: Instant,
    /// When a poll for more writes to batch times out.
    flush_at: Option<Instant>,
    poll_timed_out: bool,
    /// Txns logged since the last snapshot began.
    pub(super) txns: u64,
    txns_extra: u64,
    bytes_extra: u64,
    /// A write or a sync failed: the thread has died.
    pub(super) dead: bool,
    /// A group is handed on when it is written.
    hands_on_early: bool,
}

impl SyncProcessor {
    pub(super) fn new(config: &ServerConfig, io: &mut Io<'_, Coordinator>) -> Self {
        let mut processor = Self {
            queue: VecDeque::new(),
            scheduled: false,
            to_flush: VecDeque::new(),
            syncing: Vec::new(),
            handing_on: VecDeque::new(),
            last_flush: io.now(),
            flush_at: None,
            poll_timed_out: false,
            txns: 0,
            txns_extra: 0,
            bytes_extra: 0,
            dead: false,
            hands_on_early: config.defects.has(Defect::AckBeforeSync) && config.is_distributed(),
        };
        processor.roll(config, io);
        processor
    }

    /// Draws how many txns and bytes go before the next snapshot, and counts anew.
    fn roll(&mut self, config: &ServerConfig, io: &mut Io<'_, Coordinator>) {
        let mut draw = io.draw(SNAPSHOT_ROLL);
        self.txns_extra = draw.below(u64::from(config.snap_count / 2).max(1));
        self.bytes_extra = draw.below((config.snap_size_limit_kb * 1024 / 2).max(1));
        self.txns = 0;
    }

    fn wants_snapshot(&self, config: &ServerConfig, log_bytes: u64) -> bool {
        let bytes_max = config.snap_size_limit_kb * 1024;
        self.txns > u64::from(config.snap_count / 2) + self.txns_extra
            || bytes_max > 0 && log_bytes > bytes_max / 2 + self.bytes_extra
    }

    /// How long to wait for more writes before the group is flushed.
    fn poll_time(&self, config: &ServerConfig, now: Instant) -> Span {
        let remaining = config.flush_delay.saturating_sub(now.saturating_since(self.last_flush));
        remaining.min(config.max_write_queue_poll_time.unwrap_or(config.flush_delay / 3))
    }

    fn is_full(&self, config: &ServerConfig, now: Instant) -> bool {
        let delayed_enough =
            config.flush_delay > Span::ZERO && now.saturating_since(self.last_flush) >= config.flush_delay;
        delayed_enough || self.to_flush.len() >= config.max_batch_size
    }

    /// Whether nothing is queued, unflushed or on its way.
    pub(super) fn is_drained(&self) -> bool {
        self.dead || self.len() == 0 && self.syncing.is_empty()
    }

    /// Requests in all queues.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.to_flush.len() + self.handing_on.len()
    }

    /// Whether this ticket is of its log.
    pub(super) fn owns(&self, ticket: Ticket) -> bool {
        self.syncing.contains(&ticket)
    }

    /// When a poll for more writes times out.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.flush_at
    }

    pub(super) fn check(&self) {
        if !self.handing_on.is_empty() {
            assert!(
                self.syncing.is_empty() && self.to_flush.is_empty(),
                "a group is handed on before the next one begins"
            );
        }
        if !self.syncing.is_empty() && !self.hands_on_early {
            assert!(!self.to_flush.is_empty(), "a sync is run for somebody");
        }
    }
}

impl Server {
    /// Queues a request for the log; one without a txn keeps its place behind those that have one.
    pub(super) fn log_request(&mut self, request: Request, io: &mut Io<'_, Coordinator>) {
        self.sync.queue.push_back(request);
        self.schedule_sync(io);
    }

    fn schedule_sync(&mut self, io: &mut Io<'_, Coordinator>) {
        let blocked = self.sync.scheduled || self.sync.dead || !self.sync.syncing.is_empty();
        let polling = self.sync.flush_at.is_some() && self.sync.queue.is_empty();
        if !blocked && !polling && self.sync.len() > 0 {
            self.sync.scheduled = true;
            io.defer(work::DISK, ServerWork::Sync(self.term));
        }
    }

    /// One step of the thread's loop: one request handed on, one request appended, or one flush begun.
    pub(super) fn on_sync_turn(&mut self, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        self.sync.scheduled = false;
        if self.sync.dead || !self.sync.syncing.is_empty() {
            return;
        }
        if let Some(request) = self.sync.handing_on.pop_front() {
            io.spend(work::DISK, self.config.costs.apply);
            self.finish(request, stores, io);
        } else if let Some(request) = self.sync.queue.pop_front() {
            self.sync.flush_at = None;
            self.append(request, stores, io);
        } else if !self.sync.to_flush.is_empty() {
            let poll_time = self.sync.poll_time(&self.config, io.now());
            if poll_time > Span::ZERO && !self.sync.poll_timed_out {
                self.sync.flush_at = Some(io.now() + poll_time);
            } else {
                self.flush(stores, io);
            }
        }
        self.schedule_sync(io);
        self.close_if_drained();
    }

    fn append(&mut self, request: Request, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        if let Some(proposal) = &request.proposal {
            io.spend(work::DISK, self.config.costs.log);
            if let Err(error) = stores.log.append(io.disk(), proposal.zxid(), &proposal.bytes) {
                self.die_of_log(error, io);
                return;
            }
            self.sync.txns += 1;
            if self.sync.wants_snapshot(&self.config, stores.log.bytes()) {
                self.sync.roll(&self.config, io);
                if let Err(error) = stores.log.roll(io.disk()) {
                    self.die_of_log(error, io);
                    return;
                }
                stores.log.reset_bytes();
                self.start_snapshot(io);
            }
        } else if self.sync.to_flush.is_empty() {
            // Nothing before it waits for the disk: a read goes on at once.
            io.spend(work::DISK, self.config.costs.apply);
            self.finish(request, stores, io);
            return;
        }
        self.sync.to_flush.push_back(request);
        if self.sync.is_full(&self.config, io.now()) {
            self.flush(stores, io);
        }
    }

    fn flush(&mut self, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        self.sync.poll_timed_out = false;
        self.sync.flush_at = None;
        self.sync.last_flush = io.now();
        match stores.log.flush(io) {
            Ok(tickets) => {
                self.sync.syncing = tickets;
                if self.sync.syncing.is_empty() || self.sync.hands_on_early {
                    self.hand_on();
                }
            }
            Err(error) => self.die_of_log(error, io),
        }
    }

    /// The group is in the log: a standalone server executes it one by one, others acknowledge it as a whole.
    fn hand_on(&mut self) {
        let group = std::mem::take(&mut self.sync.to_flush);
        match self.serving.expect("a group is flushed for a role") {
            Serving::Standalone => self.sync.handing_on = group,
            Serving::ReadOnly => unreachable!("a read-only server logs nothing"),
            Serving::Leader { .. } | Serving::Follower | Serving::Observer => {
                let zxids =
                    group.iter().filter_map(|request| request.proposal.as_ref()).map(|txn| txn.zxid()).collect();
                self.events.push_back(ServerEvent::Logged(zxids));
            }
        }
    }

    fn die_of_log(&mut self, error: DiskError, io: &mut Io<'_, Coordinator>) {
        io.state(Fact::LogFailed { why: error.to_string() });
        self.sync.dead = true;
        self.sync.syncing.clear();
        let is_leader = matches!(self.serving, Some(Serving::Leader { .. }));
        if !(is_leader && self.config.defects.has(Defect::SyncErrorNoStepDown)) {
            self.events.push_back(ServerEvent::Fatal(ServerFault::Log(error)));
        }
        self.close_if_drained();
    }

    /// A sync of the log came to its end.
    pub(super) fn on_log_durable(
        &mut self,
        ticket: Ticket,
        result: Result<(), DiskError>,
        io: &mut Io<'_, Coordinator>,
    ) {
        self.sync.syncing.retain(|&waiting| waiting != ticket);
        if let Err(error) = result {
            self.die_of_log(error, io);
            return;
        }
        if !self.sync.syncing.is_empty() {
            return;
        }
        self.hand_on();
        self.schedule_sync(io);
        self.close_if_drained();
    }

    /// The poll for more writes has timed out.
    pub(super) fn on_poll_timeout(&mut self, io: &mut Io<'_, Coordinator>) {
        if self.sync.flush_at.is_some_and(|at| at <= io.now()) {
            self.sync.flush_at = None;
            self.sync.poll_timed_out = true;
            self.schedule_sync(io);
        }
    }
}
