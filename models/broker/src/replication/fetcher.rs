//! A replica fetcher: the thread that follows one leader (kafka-broker.md §5.10).
//!
//! ```text
//!                     LeaderAndIsr adds partitions, Truncating
//!                                    │
//!     ┌───────────────────────▶ the loop begins ──── nothing to do ──▶ sleeps replica.fetch.backoff.ms
//!     │                              │
//!     │   Truncating: with epochs ───┼──▶ OffsetsForLeaderEpoch ──▶ cut the log, Fetching (or ask again)
//!     │               without ───────┼──▶ cut to the high watermark, Fetching
//!     │   Fetching ──────────────────┴──▶ Fetch ──▶ append, follow the leader's offsets
//!     └───────────────────────────────────────────────────┘
//! ```
//!
//! A thread waits for one answer at a time. Partitions are added and removed meanwhile: what is answered about a partition that
//! went, or whose leader epoch is another one now, is ignored (KAFKA-7786, KAFKA-13207).
//!
//! `Simplified:` partitions are asked for in a fixed order, where the real thread moves those with records to the end; the
//! leader's session does that, too. Lost: fairness among partitions of a *full* request that exceeds the limits of size.

mod out_of_range;
mod request;
mod session;
mod truncating;

use std::collections::{BTreeMap, VecDeque};

use commitlog::AppendError;
use kafkawire::messages::fetch_response::PartitionData;
use kafkawire::messages::{FetchResponse, TopicName};
use kafkawire::{
    BrokerId, Correlation, ErrorCode, LeaderEpoch, Link, LinkConfig, LinkEvent, Offset, Request, Response,
    TopicPartition, Versions,
};
use machine::disk::DiskError;
use machine::{Address, Digest, InputOf, Instant};
use serde::Serialize;

use crate::cx::{Ask, Cx};
use crate::replication::fetcher::session::Session;
use crate::replication::local::LocalLogs;
use crate::replication::table::Slot;
use crate::replication::{ReplicationWork, wire};
use crate::work;

/// A partition that is to be followed.
#[derive(Clone, Debug)]
pub(crate) struct Assigned {
    pub(crate) slot: Slot,
    pub(crate) tp: TopicPartition,
    pub(crate) wire_topic: TopicName,
    pub(crate) leader_epoch: LeaderEpoch,
    /// Where to begin: the high watermark.
    pub(crate) offset: Offset,
    /// Whether it was cut already, and is fetched without epochs: as before KIP-101.
    pub(crate) fetches_at_once: bool,
}

/// Whether the log still has to be made to agree with the leader's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum FetchPhase {
    /// Yes.
    Truncating,
    /// It agrees: what comes next is fetched.
    Fetching,
}

/// What the leader's session was last told of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    offset: Offset,
    leader_epoch: LeaderEpoch,
    log_start: Offset,
}

#[derive(Clone, Debug)]
struct FetchState {
    tp: TopicPartition,
    wire_topic: TopicName,
    offset: Offset,
    leader_epoch: LeaderEpoch,
    carries_epoch: bool,
    phase: FetchPhase,
    delayed_until: Option<Instant>,
    told: Option<Told>,
}

impl FetchState {
    fn is_in(&self, phase: FetchPhase, now: Instant) -> bool {
        self.phase == phase && self.delayed_until.is_none_or(|until| until <= now)
    }

    fn epoch_code(&self) -> i32 {
        if self.carries_epoch { self.leader_epoch.0 } else { -1 }
    }
}

/// A partition whose fetch was out of the leader's range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct OutOfRange {
    slot: Slot,
    leader_epoch: LeaderEpoch,
}

/// What was appended, and is being flushed because `flush.messages` says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Flushing {
    slot: Slot,
    leader_epoch: LeaderEpoch,
    up_to: Offset,
    high_watermark: Option<Offset>,
    log_start: Option<Offset>,
}

/// Where the thread is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// At the beginning of its loop: its turn is deferred.
    Beginning,
    /// Nothing to do.
    Sleeping { until: Instant },
    /// It wants to ask something, and dials.
    Connecting,
    /// It asked where epochs end; with the leader epochs it had then.
    AskingEpochs { correlation: Correlation, asked: Vec<(Slot, LeaderEpoch)> },
    /// It fetches.
    Fetching { correlation: Correlation },
    /// It waits for the disk.
    Flushing { flushes: Vec<Flushing>, out_of_range: VecDeque<OutOfRange> },
    /// It asks where the leader's log ends.
    AskingEnd { correlation: Correlation, of: OutOfRange, rest: VecDeque<OutOfRange> },
    /// It asks where the leader's log begins.
    AskingStart { correlation: Correlation, of: OutOfRange, rest: VecDeque<OutOfRange> },
}

/// What comes to a fetcher's thread.
#[derive(Clone, Debug)]
pub(crate) enum FetcherTurn {
    /// The loop begins.
    Loop,
    /// The leader answered.
    Answered { correlation: Correlation, response: Response },
    /// The connection is gone, or could not be made.
    Failed,
}

/// One fetcher.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    /// Its lane's number.
    pub(crate) thread: u16,
    /// Which of the fetchers that had the number it is: turns of earlier ones are ignored.
    pub(crate) generation: u64,
    pub(crate) leader: BrokerId,
    /// Which of the fetchers of the leader it is.
    pub(crate) fetcher_id: u32,
    /// Where the leader is; none if nobody knows its host.
    address: Option<Address>,
    link: Option<Link>,
    partitions: BTreeMap<Slot, FetchState>,
    session: Session,
    /// Partitions that the leader's session has and that are not fetched any more.
    forgotten: Vec<(Slot, TopicPartition, TopicName)>,
    step: Step,
}

/// A fetcher, for reports.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FetcherSummary {
    /// Whom it follows.
    pub leader: BrokerId,
    /// The partitions: where each is in which phase, and in which leader epoch.
    pub partitions: Vec<(TopicPartition, FetchPhase, Offset, LeaderEpoch)>,
    /// Whether a connection to the leader is up.
    pub is_connected: bool,
}

impl Fetcher {
    pub(crate) fn new(thread: u16, generation: u64, leader: BrokerId, fetcher_id: u32, cx: &mut Cx<'_, '_>) -> Self {
        let address = cx.cache.address(leader, &cx.image.hosts);
        let this = Self {
            thread,
            generation,
            leader,
            fetcher_id,
            link: address.map(|address| link_to(address, cx)),
            address,
            partitions: BTreeMap::new(),
            session: Session::default(),
            forgotten: Vec::new(),
            step: Step::Beginning,
        };
        this.defer(FetcherTurn::Loop, cx);
        this
    }

    fn defer(&self, turn: FetcherTurn, cx: &mut Cx<'_, '_>) {
        let work = ReplicationWork::fetcher(self.thread, self.generation, turn);
        cx.io.defer(work::fetcher(self.thread), work);
    }

    pub(crate) fn summary(&self) -> FetcherSummary {
        let states = self.partitions.values();
        FetcherSummary {
            leader: self.leader,
            partitions: states.map(|state| (state.tp.clone(), state.phase, state.offset, state.leader_epoch)).collect(),
            is_connected: self.link.as_ref().is_some_and(Link::is_up),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(crate) fn follows(&self, slot: Slot) -> bool {
        self.partitions.contains_key(&slot)
    }

    pub(crate) fn owns(&self, end: machine::EndId) -> bool {
        self.link.as_ref().is_some_and(|link| link.owns(end))
    }

    /// The leader may have come back elsewhere.
    pub(crate) fn look_up_leader(&mut self, cx: &mut Cx<'_, '_>) {
        let address = cx.cache.address(self.leader, &cx.image.hosts);
        if address == self.address {
            return;
        }
        self.close(cx);
        self.address = address;
        self.link = address.map(|address| link_to(address, cx));
        self.session = Session::default();
        // Whatever it waited for will not come; but the disk goes on.
        if !matches!(self.step, Step::Beginning | Step::Flushing { .. }) {
            self.begin_again(cx);
        }
    }

    pub(crate) fn add(&mut self, assigned: Assigned, cx: &mut Cx<'_, '_>) {
        let Assigned { slot, tp, wire_topic, leader_epoch, offset, fetches_at_once } = assigned;
        // A partition that is already followed in this epoch goes on where it is.
        if self.partitions.get(&slot).is_some_and(|known| known.leader_epoch == leader_epoch) {
            return;
        }
        self.remove(slot);
        let phase = if fetches_at_once { FetchPhase::Fetching } else { FetchPhase::Truncating };
        let carries_epoch = !fetches_at_once;
        let state =
            FetchState { tp, wire_topic, offset, leader_epoch, carries_epoch, phase, delayed_until: None, told: None };
        self.partitions.insert(slot, state);
        if let Step::Sleeping { .. } = self.step {
            self.begin_again(cx);
        }
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(state) = self.partitions.remove(&slot)
            && state.told.is_some()
        {
            self.forgotten.push((slot, state.tp, state.wire_topic));
        }
    }

    pub(crate) fn close(&mut self, cx: &mut Cx<'_, '_>) {
        if let Some(link) = &mut self.link {
            cx.io.lend(|io| link.close(io));
        }
    }

    /// An input for the link; or a wake.
    pub(crate) fn handle(&mut self, input: InputOf<Link>, cx: &mut Cx<'_, '_>) {
        let event = self.link.as_mut().and_then(|link| cx.io.lend(|io| link.handle(input, io)));
        match event {
            Some(LinkEvent::Up) => self.defer(FetcherTurn::Loop, cx),
            Some(LinkEvent::Response { correlation, response }) => {
                self.defer(FetcherTurn::Answered { correlation, response }, cx);
            }
            Some(LinkEvent::Down { .. }) => self.defer(FetcherTurn::Failed, cx),
            None => {}
        }
        if let Step::Sleeping { until } = self.step
            && until <= cx.io.now()
        {
            self.begin_again(cx);
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let link = self.link.as_ref().and_then(Link::next_wake);
        match self.step {
            Step::Sleeping { until } => Some(link.map_or(until, |link| link.min(until))),
            Step::Beginning
            | Step::Connecting
            | Step::AskingEpochs { .. }
            | Step::Fetching { .. }
            | Step::Flushing { .. }
            | Step::AskingEnd { .. }
            | Step::AskingStart { .. } => link,
        }
    }

    fn begin_again(&mut self, cx: &mut Cx<'_, '_>) {
        self.step = Step::Beginning;
        self.defer(FetcherTurn::Loop, cx);
    }

    /// A turn of its thread.
    pub(crate) fn turn(&mut self, turn: FetcherTurn, local: &mut LocalLogs<'_>, cx: &mut Cx<'_, '_>) {
        match turn {
            FetcherTurn::Loop => {
                if matches!(self.step, Step::Beginning | Step::Connecting) {
                    self.begin(local, cx);
                }
            }
            FetcherTurn::Answered { correlation, response } => self.on_answer(correlation, &response, local, cx),
            FetcherTurn::Failed => self.on_failure(cx),
        }
    }

    /// One round of the loop (`doWork`), up to the next answer it has to wait for.
    fn begin(&mut self, local: &mut LocalLogs<'_>, cx: &mut Cx<'_, '_>) {
        let now = cx.io.now();
        let mut asked = Vec::new();
        let truncating: Vec<Slot> = self
            .partitions
            .iter()
            .filter(|(_, state)| state.is_in(FetchPhase::Truncating, now))
            .map(|(&slot, _)| slot)
            .collect();
        for slot in truncating {
            match local.latest_epoch(slot) {
                Some(latest) => asked.push((slot, latest)),
                // Nothing to compare: cut to the high watermark.
                None => {
                    let to = self.partitions[&slot].offset;
                    self.cut(slot, to, true, local, cx);
                }
            }
        }
        let fetches = self.partitions.values().any(|state| state.is_in(FetchPhase::Fetching, now));
        let forgets = !self.session.is_full() && !self.forgotten.is_empty();
        if asked.is_empty() && !fetches && !forgets {
            self.step = Step::Sleeping { until: now.saturating_add(cx.config().replica_fetch_backoff) };
            return;
        }
        if !self.is_connected(cx) {
            return;
        }
        if asked.is_empty() {
            let request = self.fetch_request(local, cx);
            let correlation = self.send(request, cx);
            self.step = Step::Fetching { correlation };
        } else {
            let request = self.epochs_request(&asked, cx);
            let asked = asked.iter().map(|&(slot, _)| (slot, self.partitions[&slot].leader_epoch)).collect();
            let correlation = self.send(request, cx);
            self.step = Step::AskingEpochs { correlation, asked };
        }
    }

    /// Whether something can be sent now. If not it dials, or has failed to.
    fn is_connected(&mut self, cx: &mut Cx<'_, '_>) -> bool {
        let Some(link) = &mut self.link else {
            self.step = Step::Connecting;
            self.on_failure(cx);
            return false;
        };
        if link.is_up() {
            return true;
        }
        if link.is_down() {
            cx.io.lend(|io| link.open(io));
        }
        self.step = Step::Connecting;
        false
    }

    fn send(&mut self, request: Request, cx: &mut Cx<'_, '_>) -> Correlation {
        let link = self.link.as_mut().expect("the link is up");
        cx.io.lend(|io| link.send(request, io))
    }

    /// The connection is gone: what was asked is not answered.
    fn on_failure(&mut self, cx: &mut Cx<'_, '_>) {
        match std::mem::replace(&mut self.step, Step::Beginning) {
            // Nothing was asked.
            Step::Beginning => return,
            step @ (Step::Sleeping { .. } | Step::Flushing { .. }) => {
                self.step = step;
                return;
            }
            Step::Connecting | Step::Fetching { .. } => {
                self.session.close();
                let all: Vec<Slot> = self.partitions.keys().copied().collect();
                self.delay(all, cx);
            }
            Step::AskingEpochs { asked, .. } => self.delay(asked.into_iter().map(|(slot, _)| slot), cx),
            Step::AskingEnd { of, rest, .. } | Step::AskingStart { of, rest, .. } => {
                self.delay(std::iter::once(of).chain(rest).map(|of| of.slot), cx);
            }
        }
        self.begin_again(cx);
    }

    /// Leaves partitions alone for `replica.fetch.backoff.ms`.
    fn delay(&mut self, slots: impl IntoIterator<Item = Slot>, cx: &Cx<'_, '_>) {
        let now = cx.io.now();
        let until = now.saturating_add(cx.config().replica_fetch_backoff);
        for slot in slots {
            if let Some(state) = self.partitions.get_mut(&slot)
                && state.delayed_until.is_none_or(|until| until <= now)
            {
                state.delayed_until = Some(until);
            }
        }
    }

    fn on_answer(
        &mut self,
        answered: Correlation,
        response: &Response,
        local: &mut LocalLogs<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        let awaited = match &self.step {
            Step::AskingEpochs { correlation, .. }
            | Step::Fetching { correlation }
            | Step::AskingEnd { correlation, .. }
            | Step::AskingStart { correlation, .. } => Some(*correlation),
            Step::Beginning | Step::Sleeping { .. } | Step::Connecting | Step::Flushing { .. } => None,
        };
        if awaited != Some(answered) {
            return;
        }
        match (std::mem::replace(&mut self.step, Step::Beginning), response) {
            (Step::AskingEpochs { asked, .. }, Response::OffsetForLeaderEpoch(response)) => {
                self.on_epochs(&asked, response, local, cx);
                self.begin_again(cx);
            }
            (Step::Fetching { .. }, Response::Fetch(response)) => self.on_fetched(response, local, cx),
            (Step::AskingEnd { of, rest, .. }, Response::ListOffsets(response)) => {
                self.on_leader_end(of, rest, response, local, cx);
            }
            (Step::AskingStart { of, rest, .. }, Response::ListOffsets(response)) => {
                self.on_leader_start(of, rest, response, local, cx);
            }
            (step, response) => panic!("{step:?} was answered by {response:?}: a link pairs them"),
        }
    }

    /// The partition is not followed any more until LeaderAndIsr says so again (`markPartitionFailed`).
    fn fail(&mut self, slot: Slot) {
        self.remove(slot);
    }

    fn fail_on_disk(&mut self, slot: Slot, error: DiskError, cx: &mut Cx<'_, '_>) {
        cx.ask(Ask::LogDirFailed(error));
        self.fail(slot);
    }

    fn on_fetched(&mut self, response: &FetchResponse, local: &mut LocalLogs<'_>, cx: &mut Cx<'_, '_>) {
        cx.io.spend(work::fetcher(self.thread), cx.image.costs.fetch_response);
        let mut flushes = Vec::new();
        let mut out_of_range = VecDeque::new();
        if self.session.accepts(response) {
            for topic in &response.responses {
                for data in &topic.partitions {
                    if let Some(slot) = local.partitions.find(topic.topic.as_str(), data.partition_index) {
                        self.on_partition(slot, data, &mut flushes, &mut out_of_range, local, cx);
                    }
                }
            }
        }
        if flushes.is_empty() {
            self.settle_out_of_range(out_of_range, cx);
        } else {
            self.step = Step::Flushing { flushes, out_of_range };
        }
    }

    fn on_partition(
        &mut self,
        slot: Slot,
        data: &PartitionData,
        flushes: &mut Vec<Flushing>,
        out_of_range: &mut VecDeque<OutOfRange>,
        local: &mut LocalLogs<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        // It was removed, or added again in another epoch, or moved while the fetch was under way.
        let now = cx.io.now();
        let Some(state) = self.partitions.get_mut(&slot) else { return };
        let Some(told) = state.told else { return };
        assert_eq!(told.leader_epoch, state.leader_epoch, "{}: added in another epoch it was told nothing", state.tp);
        if told.offset != state.offset || !state.is_in(FetchPhase::Fetching, now) {
            return;
        }
        match ErrorCode::from_code(data.error_code) {
            Some(ErrorCode::None) => {
                if state.offset != local.log_end(slot) {
                    return self.fail(slot);
                }
                let records = data.records.as_ref().filter(|records| !records.is_empty());
                let flush = match records.map_or(Ok(None), |records| local.append(slot, records, cx)) {
                    Ok(flush) => flush,
                    // Perhaps the leader's log was just being cut: the same fetch may succeed later.
                    Err(AppendError::Corrupt(_) | AppendError::Invalid) => return self.delay([slot], cx),
                    Err(
                        AppendError::TooLarge | AppendError::LargerThanSegment | AppendError::UnexpectedOffset { .. },
                    ) => {
                        return self.fail(slot);
                    }
                    Err(AppendError::Disk(error)) => return self.fail_on_disk(slot, error, cx),
                };
                state.offset = local.log_end(slot);
                let high_watermark = wire::offset(data.high_watermark);
                let log_start = wire::offset(data.log_start_offset);
                if let Some(up_to) = flush {
                    flushes.push(Flushing { slot, leader_epoch: told.leader_epoch, up_to, high_watermark, log_start });
                } else if let Err(error) = local.follow_offsets(slot, high_watermark, log_start, cx) {
                    self.fail_on_disk(slot, error, cx);
                }
            }
            Some(ErrorCode::OffsetOutOfRange) => {
                out_of_range.push_back(OutOfRange { slot, leader_epoch: state.leader_epoch });
            }
            // The request carried the epoch that is current here: the leader's is a later one, and LeaderAndIsr will tell.
            Some(ErrorCode::FencedLeaderEpoch) => self.fail(slot),
            Some(_) | None => self.delay([slot], cx),
        }
    }

    /// Something became durable.
    pub(crate) fn on_flushed(&mut self, local: &mut LocalLogs<'_>, cx: &mut Cx<'_, '_>) {
        let Step::Flushing { flushes, out_of_range } = &mut self.step else { return };
        // A partition that went, or is followed in another epoch, waits for nothing; its log may have been cut or deleted.
        let partitions = &self.partitions;
        let is_current = |flush: &Flushing| {
            partitions.get(&flush.slot).is_some_and(|state| state.leader_epoch == flush.leader_epoch)
        };
        flushes.retain(is_current);
        if flushes.iter().any(|flush| !local.is_durable_to(flush.slot, flush.up_to)) {
            return;
        }
        let (flushes, out_of_range) = (std::mem::take(flushes), std::mem::take(out_of_range));
        for Flushing { slot, high_watermark, log_start, .. } in flushes {
            if let Err(error) = local.follow_offsets(slot, high_watermark, log_start, cx) {
                self.fail_on_disk(slot, error, cx);
            }
        }
        self.settle_out_of_range(out_of_range, cx);
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        into.signed(i64::from(self.leader.0));
        into.word(self.partitions.len() as u64);
        for state in self.partitions.values() {
            into.signed(state.offset.0);
            into.signed(i64::from(state.leader_epoch.0));
            into.word(u64::from(state.phase == FetchPhase::Fetching));
        }
        if let Some(link) = &self.link {
            link.digest(into);
        }
    }

    pub(crate) fn check_invariants(&self) {
        if let Some(link) = &self.link {
            link.check_invariants();
        }
        for (slot, state) in &self.partitions {
            assert!(state.offset >= Offset::ZERO, "{slot:?}: {} is fetched from {}", state.tp, state.offset);
        }
    }
}

fn link_to(address: Address, cx: &Cx<'_, '_>) -> Link {
    Link::new(LinkConfig {
        address,
        request_timeout: cx.config().replica_socket_timeout,
        setup_timeout: kafkawire::CONNECTION_SETUP_TIMEOUT,
        wire: cx.image.wire,
        versions: Versions::InterBroker,
        max_in_flight: 1,
    })
}
