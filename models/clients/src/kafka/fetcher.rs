//! Reading partitions: positions, resets, validation, fetches (kafka-broker.md §8.2, §8.4).
//!
//! ```text
//!              no offset, or out of range         leader or epoch changed, and the epoch of the position is known
//!   assigned ─────────▶ AwaitReset ──ListOffsets──▶ Fetching ◀──OffsetForLeaderEpoch── AwaitValidation
//!       └── an offset ────────────────────────────────▲ │ ──────────────────────────────▲
//! ```
//!
//! One fetch is outstanding per node. What a fetch returns is given to the application at once, in order; an answer counts only
//! for partitions whose position is still the one it was asked for.
//!
//! The [`Style`] tells the Java consumer from that of 0.8: the first keeps fetch sessions, names its leader epoch, and validates
//! its position against a new leader's log; the second does none of that, and looks for leaders at its own pace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafkawire::messages::fetch_request::FetchTopic;
use kafkawire::messages::fetch_response::PartitionData;
use kafkawire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafkawire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafkawire::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, TopicName,
};
use kafkawire::{
    BrokerId, Correlation, ErrorCode, LeaderEpoch, Offset, Request, Response, Topic, TopicPartition, batches,
};
use machine::{Digest, Instant, Io, Span};

use super::cluster::{Cluster, ClusterEvent, NodeId};
use super::fetch_session::{FetchSession, Wanted};
use super::metadata::LeaderAndEpoch;
use super::record::{checksum, decode_value};
use super::{KafkaClient, KafkaClientMark, KafkaWorkFact, OffsetReset};

/// `fetch.max.bytes`.
const FETCH_MAX_BYTES: i32 = 50 * 1024 * 1024;
/// The replica id of clients.
const CONSUMER: BrokerId = BrokerId(-1);
const EARLIEST_TIMESTAMP: i64 = -2;
const LATEST_TIMESTAMP: i64 = -1;

/// Which consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The Java consumer: sessions (KIP-227), epochs (KIP-320).
    Java,
    /// The consumer of 0.8: neither.
    Old,
}

/// How partitions are read.
#[derive(Clone, Debug)]
pub(crate) struct FetcherConfig {
    pub(crate) client: u16,
    pub(crate) group: Arc<str>,
    pub(crate) topic: Topic,
    pub(crate) style: Style,
    pub(crate) reset: OffsetReset,
    pub(crate) max_wait: Span,
    pub(crate) min_bytes: i32,
    pub(crate) partition_max_bytes: i32,
    /// How long a partition rests behind an error. `Simplified:` the Java consumer asks the same leader again at once while it
    /// waits for metadata; lost is the load of that.
    pub(crate) backoff: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `auto.offset.reset` decides where it begins.
    AwaitReset {
        why: &'static str,
    },
    /// The log of the new leader decides whether what was read is still there.
    AwaitValidation,
    Fetching,
}

/// A partition that is read.
#[derive(Clone, Debug)]
struct Reading {
    /// The next offset; none before a reset.
    position: Option<Offset>,
    /// The epoch of the record before the position.
    epoch: Option<LeaderEpoch>,
    phase: Phase,
    leader: LeaderAndEpoch,
    high_watermark: Option<Offset>,
    /// Nothing is asked before.
    not_before: Instant,
    /// When the last fetch was sent that found nothing more to read.
    at_end: Option<Instant>,
    /// The last error, until a fetch succeeds.
    trouble: Option<ErrorCode>,
}

/// What was asked and not answered.
#[derive(Clone, Debug)]
enum Flight {
    Fetch { sent: Instant, wanted: Arc<BTreeMap<i32, Wanted>> },
    Reset { partitions: BTreeSet<i32> },
    Validate { positions: BTreeMap<i32, (Offset, LeaderEpoch)> },
}

/// What a consumer reads, and how far it is.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    config: Arc<FetcherConfig>,
    /// The topic's name as messages carry it.
    wire_topic: TopicName,
    readings: BTreeMap<i32, Reading>,
    /// The version of the metadata whose leaders every reading has; none if a reading is new.
    followed: Option<u64>,
    /// No partition rests after that.
    rests_until: Instant,
    flights: BTreeMap<(NodeId, Correlation), Flight>,
    sessions: BTreeMap<BrokerId, FetchSession>,
}

impl Fetcher {
    pub(crate) fn new(config: FetcherConfig) -> Self {
        Self {
            wire_topic: config.topic.wire(),
            config: Arc::new(config),
            readings: BTreeMap::new(),
            followed: None,
            rests_until: Instant::ZERO,
            flights: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// Begins to read a partition, at an offset if there is one.
    pub(crate) fn assign(&mut self, partition: i32, position: Option<Offset>) {
        let reading = Reading {
            position,
            epoch: None,
            phase: if position.is_some() { Phase::Fetching } else { Phase::AwaitReset { why: "no-offset" } },
            leader: LeaderAndEpoch::default(),
            high_watermark: None,
            not_before: Instant::ZERO,
            at_end: None,
            trouble: None,
        };
        let before = self.readings.insert(partition, reading);
        assert!(before.is_none(), "a partition is assigned once");
        self.followed = None;
    }

    /// Stops reading; what is in flight will not count.
    pub(crate) fn clear(&mut self) {
        self.readings.clear();
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.readings.keys().copied()
    }

    /// The next offset of a partition; none before it has one.
    pub(crate) fn position(&self, partition: i32) -> Option<Offset> {
        self.readings.get(&partition)?.position
    }

    /// How far a partition is behind the high watermark it was last told; none before it was told one.
    pub(crate) fn lag(&self, partition: i32) -> Option<i64> {
        let reading = self.readings.get(&partition)?;
        Some((reading.high_watermark?.0 - reading.position?.0).max(0))
    }

    /// Whether every partition was found to be read to its end by a fetch that was sent at that time or later.
    pub(crate) fn is_at_end_since(&self, since: Instant) -> bool {
        self.readings.values().all(|reading| reading.at_end.is_some_and(|at| at >= since))
    }

    /// The first partition that is not read to its end, in words.
    pub(crate) fn pending(&self) -> Option<String> {
        self.readings.iter().find_map(|(&partition, reading)| {
            let at = self.at(partition);
            let trouble = reading.trouble.map(|error| format!(" after {error}")).unwrap_or_default();
            let why = match reading.phase {
                Phase::AwaitReset { why } => format!("awaits a reset ({why})"),
                Phase::AwaitValidation => "awaits validation".to_owned(),
                Phase::Fetching => match (self.lag(partition), reading.trouble) {
                    (Some(0), None) => return None,
                    (Some(lag), _) => format!("lags by {lag}"),
                    (None, _) => "was not fetched yet".to_owned(),
                },
            };
            Some(format!("{at} {why}{trouble}"))
        })
    }

    fn at(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.config.topic.clone(), partition)
    }

    /// Takes what came from the cluster.
    pub(crate) fn on_cluster(&mut self, event: ClusterEvent, cluster: &mut Cluster, io: &mut Io<'_, KafkaClient>) {
        match event {
            ClusterEvent::Up | ClusterEvent::Refreshed => {}
            ClusterEvent::Response { node, correlation, response } => {
                let flight = self.flights.remove(&(node, correlation)).expect("an answer has a request");
                match (flight, &response) {
                    (Flight::Fetch { sent, wanted }, Response::Fetch(response)) => {
                        self.on_fetched(node, sent, &wanted, response, cluster, io);
                    }
                    (Flight::Reset { partitions }, Response::ListOffsets(response)) => {
                        self.on_offsets(&partitions, response, cluster, io);
                    }
                    (Flight::Validate { positions }, Response::OffsetForLeaderEpoch(response)) => {
                        self.on_epoch_ends(&positions, response, cluster, io);
                    }
                    (flight, response) => panic!("{flight:?} is answered by {response:?}"),
                }
            }
            ClusterEvent::Down { node, unanswered } => {
                for correlation in unanswered {
                    let flight = self.flights.remove(&(node, correlation)).expect("what is unanswered was asked");
                    self.on_lost(node, flight, io);
                }
            }
        }
    }

    fn on_lost(&mut self, node: NodeId, flight: Flight, io: &Io<'_, KafkaClient>) {
        let partitions: Vec<i32> = match flight {
            Flight::Fetch { wanted, .. } => {
                if let NodeId::Broker(broker) = node
                    && let Some(session) = self.sessions.get_mut(&broker)
                {
                    session.on_lost();
                }
                wanted.keys().copied().collect()
            }
            Flight::Reset { partitions } => partitions.into_iter().collect(),
            Flight::Validate { positions } => positions.into_keys().collect(),
        };
        for partition in partitions {
            self.rest(partition, ErrorCode::NetworkException, io);
        }
    }

    /// A partition met an error: nothing is asked about it for a while.
    fn rest(&mut self, partition: i32, error: ErrorCode, io: &Io<'_, KafkaClient>) {
        if let Some(reading) = self.readings.get_mut(&partition) {
            reading.not_before = io.now() + self.config.backoff;
            self.rests_until = self.rests_until.max(reading.not_before);
            reading.trouble = Some(error);
            reading.at_end = None;
        }
    }

    /// Asks whatever can be asked.
    pub(crate) fn pump(&mut self, cluster: &mut Cluster, io: &mut Io<'_, KafkaClient>) {
        self.follow_leaders(cluster);
        // Most of the time everything is asked: then this is all there is to do.
        let fetching = self.fetching();
        let mut due: BTreeMap<BrokerId, Vec<i32>> = BTreeMap::new();
        for (&partition, reading) in &self.readings {
            if reading.not_before > io.now() {
                continue;
            }
            match reading.leader.leader {
                Some(leader) if reading.phase == Phase::Fetching && fetching.contains(&leader) => {}
                Some(leader) => due.entry(leader).or_default().push(partition),
                None => cluster.request_refresh(),
            }
        }
        for (broker, partitions) in due {
            self.ask(broker, &partitions, cluster, io);
        }
    }

    /// The brokers that a fetch is outstanding at.
    fn fetching(&self) -> Vec<BrokerId> {
        let fetches = self.flights.iter().filter(|(_, flight)| flight.is_fetch());
        let brokers = fetches.filter_map(|(&(node, _), _)| match node {
            NodeId::Broker(broker) => Some(broker),
            NodeId::Bootstrap(_) => None,
        });
        brokers.collect()
    }

    /// Takes over leaders from the metadata. The position of a consumer that knows the epoch of what it read is validated
    /// against the log of the new leader before anything is fetched from it.
    fn follow_leaders(&mut self, cluster: &Cluster) {
        let metadata = cluster.metadata();
        if self.followed.replace(metadata.version()) == Some(metadata.version()) {
            return;
        }
        for (&partition, reading) in &mut self.readings {
            let leader = metadata.leader(&self.config.topic, partition);
            if leader == reading.leader {
                continue;
            }
            reading.leader = leader;
            let can_validate = self.config.style == Style::Java && leader.epoch.is_some() && reading.epoch.is_some();
            if can_validate && leader.leader.is_some() && reading.phase == Phase::Fetching {
                reading.phase = Phase::AwaitValidation;
            }
        }
    }

    fn ask(&mut self, broker: BrokerId, partitions: &[i32], cluster: &mut Cluster, io: &mut Io<'_, KafkaClient>) {
        let node = NodeId::Broker(broker);
        let asked: Vec<i32> = self.flights.values().flat_map(Flight::questions).collect();
        let idle = partitions.iter().copied().filter(|partition| !asked.contains(partition));
        let (mut resets, mut validations, mut fetches) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for partition in idle {
            let reading = &self.readings[&partition];
            match (reading.phase, reading.position, reading.epoch) {
                (Phase::AwaitReset { .. }, _, _) => {
                    resets.insert(partition);
                }
                (Phase::AwaitValidation, Some(position), Some(epoch)) => {
                    validations.insert(partition, (position, epoch));
                }
                (Phase::Fetching, Some(offset), _) => {
                    let leader_epoch = reading.leader.epoch.filter(|_| self.config.style == Style::Java);
                    let max_bytes = self.config.partition_max_bytes;
                    fetches.insert(partition, Wanted { offset, leader_epoch, max_bytes });
                }
                (Phase::AwaitValidation | Phase::Fetching, _, _) => {
                    panic!("{} is {:?} without a position or its epoch", self.at(partition), reading.phase)
                }
            }
        }
        if !resets.is_empty() && cluster.is_ready(node, io) {
            self.ask_offsets(node, resets, cluster, io);
        }
        if !validations.is_empty() && cluster.is_ready(node, io) {
            self.ask_epoch_ends(node, validations, cluster, io);
        }
        let is_fetching = self.flights.iter().any(|(&(at, _), flight)| at == node && flight.is_fetch());
        if !fetches.is_empty() && !is_fetching && cluster.is_ready(node, io) {
            self.fetch(node, broker, Arc::new(fetches), cluster, io);
        }
    }

    fn fetch(
        &mut self,
        node: NodeId,
        broker: BrokerId,
        wanted: Arc<BTreeMap<i32, Wanted>>,
        cluster: &mut Cluster,
        io: &mut Io<'_, KafkaClient>,
    ) {
        let request = FetchRequest::default()
            .with_replica_id(CONSUMER.wire())
            .with_max_wait_ms(i32::try_from(self.config.max_wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.config.min_bytes)
            .with_max_bytes(FETCH_MAX_BYTES);
        let request = match self.config.style {
            Style::Java => {
                let session = self.sessions.entry(broker).or_default();
                session.ask(&self.wire_topic, &wanted, request)
            }
            Style::Old => {
                let partitions = wanted.iter().map(|(&partition, wanted)| wanted.wire(partition)).collect();
                let topic = FetchTopic::default().with_topic(self.wire_topic.clone()).with_partitions(partitions);
                request.with_topics(vec![topic])
            }
        };
        let correlation = cluster.send(node, Request::Fetch(Arc::new(request)), io);
        self.flights.insert((node, correlation), Flight::Fetch { sent: io.now(), wanted });
    }

    fn on_fetched(
        &mut self,
        node: NodeId,
        sent: Instant,
        wanted: &BTreeMap<i32, Wanted>,
        response: &FetchResponse,
        cluster: &mut Cluster,
        io: &mut Io<'_, KafkaClient>,
    ) {
        if self.config.style == Style::Java {
            let NodeId::Broker(broker) = node else { panic!("a leader is fetched from by its id") };
            let session = self.sessions.get_mut(&broker).expect("a fetch has a session");
            if !session.on_answer(response) {
                io.reach(KafkaClientMark::FetchSessionLost);
                return;
            }
        }
        let mut answered = Vec::with_capacity(wanted.len());
        for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
            let partition = data.partition_index;
            let Some(wanted) = wanted.get(&partition) else { continue };
            answered.push(partition);
            if self.is_still_wanted(partition, *wanted) {
                self.on_partition(partition, sent, data, cluster, io);
            }
        }
        // What an incremental answer leaves out has neither records nor news.
        for (&partition, &wanted) in wanted {
            if !answered.contains(&partition) && self.is_still_wanted(partition, wanted) {
                self.readings.get_mut(&partition).expect("it is wanted").trouble = None;
                self.note_end(partition, sent);
            }
        }
    }

    fn is_still_wanted(&self, partition: i32, wanted: Wanted) -> bool {
        self.readings
            .get(&partition)
            .is_some_and(|reading| reading.phase == Phase::Fetching && reading.position == Some(wanted.offset))
    }

    fn note_end(&mut self, partition: i32, sent: Instant) {
        if self.lag(partition) == Some(0) {
            self.readings.get_mut(&partition).expect("it has a lag").at_end = Some(sent);
        }
    }

    fn on_partition(
        &mut self,
        partition: i32,
        sent: Instant,
        data: &PartitionData,
        cluster: &mut Cluster,
        io: &mut Io<'_, KafkaClient>,
    ) {
        let error = ErrorCode::from_code(data.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if error.is_none() {
            let reading = self.readings.get_mut(&partition).expect("it is read");
            reading.high_watermark = Some(Offset(data.high_watermark));
            reading.trouble = None;
            self.consume(partition, data, cluster, io);
            self.note_end(partition, sent);
        } else if error == ErrorCode::OffsetOutOfRange {
            io.reach(KafkaClientMark::OffsetOutOfRange);
            let reading = self.readings.get_mut(&partition).expect("it is read");
            reading.phase = Phase::AwaitReset { why: "out-of-range" };
        } else if error == ErrorCode::UnknownLeaderEpoch {
            // The leader does not know of its own leadership yet.
            self.rest(partition, error, io);
        } else {
            self.on_error(partition, error, cluster, io);
        }
    }

    /// The leader is another one, or nobody knows: metadata are refreshed.
    fn on_error(&mut self, partition: i32, error: ErrorCode, cluster: &mut Cluster, io: &mut Io<'_, KafkaClient>) {
        if error == ErrorCode::NotLeaderOrFollower {
            io.reach(KafkaClientMark::NotLeader);
        }
        cluster.request_refresh();
        self.rest(partition, error, io);
    }

    /// Gives the application the records of an answer, from the position on.
    fn consume(&mut self, partition: i32, data: &PartitionData, cluster: &mut Cluster, io: &mut Io<'_, KafkaClient>) {
        let Some(records) = data.records.as_ref().filter(|records| !records.is_empty()) else { return };
        let at = self.at(partition);
        for batch in batches(records) {
            // `check.crcs`: the application gets an exception, and the same one the next time it polls.
            let read = batch.and_then(|batch| {
                batch.check_crc()?;
                Ok((batch.records()?, batch.header))
            });
            let Ok((records, header)) = read else {
                io.reach(KafkaClientMark::CorruptBatch);
                return self.rest(partition, ErrorCode::CorruptMessage, io);
            };
            let reading = self.readings.get_mut(&partition).expect("it is read");
            let mut position = reading.position.expect("what was fetched has a position");
            for record in records.iter().filter(|_| !header.is_control()) {
                if record.offset < position {
                    // The batch begins before the position.
                    continue;
                }
                position = record.offset.plus(1);
                let value = record.value.as_ref().expect("producers write values");
                let id = decode_value(value, &at).unwrap_or_else(|why| {
                    panic!("offset {} of {at} is not a record of its own: {why:?}", record.offset)
                });
                io.state(KafkaWorkFact::RecordConsumed {
                    client: self.config.client,
                    group: Arc::clone(&self.config.group),
                    topic: at.topic.clone(),
                    partition,
                    offset: record.offset,
                    record: id,
                    value: checksum(record.key.as_deref(), value),
                });
            }
            assert!(header.next_offset() >= position, "the last record of {at} is at the end of its batch");
            let before = reading.position.replace(header.next_offset().max(position));
            assert!(before <= reading.position, "the position of {at} went back from {before:?}");
            reading.epoch = Some(LeaderEpoch(header.leader_epoch)).filter(|epoch| epoch.0 >= 0);
            if let (Some(epoch), Style::Java) = (reading.epoch, self.config.style) {
                cluster.see_epoch(&at.topic, partition, epoch);
            }
        }
    }

    fn ask_offsets(
        &mut self,
        node: NodeId,
        partitions: BTreeSet<i32>,
        cluster: &mut Cluster,
        io: &mut Io<'_, KafkaClient>,
    ) {
        let timestamp = match self.config.reset {
            OffsetReset::Earliest => EARLIEST_TIMESTAMP,
            OffsetReset::Latest => LATEST_TIMESTAMP,
        };
        let asked = partitions.iter().map(|&partition| {
            let epoch = self.readings[&partition].leader.epoch.filter(|_| self.config.style == Style::Java);
            ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_current_leader_epoch(epoch.map_or(-1, |epoch| epoch.0))
                .with_timestamp(timestamp)
        });
        let topic = ListOffsetsTopic::default().with_name(self.wire_topic.clone()).with_partitions(asked.collect());
        let request = ListOffsetsRequest::default().with_replica_id(CONSUMER.wire()).with_topics(vec![topic]);
        let correlation = cluster.send(node, Request::ListOffsets(Arc::new(request)), io);
        self.flights.insert((node, correlation), Flight::Reset { partitions });
    }

    fn on_offsets(
        &mut self,
        asked: &BTreeSet<i32>,
        response: &ListOffsetsResponse,
        cluster: &mut Cluster,
        io: &mut Io<'_, KafkaClient>,
    ) {
        for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let partition = answer.partition_index;
            let reading = self.readings.get_mut(&partition).filter(|_| asked.contains(&partition));
            let Some(Phase::AwaitReset { why }) = reading.map(|reading| reading.phase) else { continue };
            let error = ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError);
            if error.is_none() {
                let epoch = Some(LeaderEpoch(answer.leader_epoch)).filter(|epoch| epoch.0 >= 0);
                if let (Some(epoch), Style::Java) = (epoch, self.config.style) {
                    cluster.see_epoch(&self.config.topic, partition, epoch);
                }
                self.reset(partition, Offset(answer.offset), epoch, why, io);
            } else {
                self.on_error(partition, error, cluster, io);
            }
        }
    }

    fn reset(
        &mut self,
        partition: i32,
        to: Offset,
        epoch: Option<LeaderEpoch>,
        why: &'static str,
        io: &mut Io<'_, KafkaClient>,
    ) {
        let reading = self.readings.get_mut(&partition).expect("it is read");
        let from = reading.position.replace(to);
        reading.epoch = epoch;
        reading.phase = Phase::Fetching;
        reading.at_end = None;
        io.state(KafkaWorkFact::PositionReset {
            client: self.config.client,
            group: Arc::clone(&self.config.group),
            topic: self.config.topic.clone(),
            partition,
            from: from.unwrap_or(Offset(-1)),
            to,
            why,
        });
    }

    fn ask_epoch_ends(
        &mut self,
        node: NodeId,
        positions: BTreeMap<i32, (Offset, LeaderEpoch)>,
        cluster: &mut Cluster,
        io: &mut Io<'_, KafkaClient>,
    ) {
        let asked = positions.iter().map(|(&partition, &(_, epoch))| {
            let current = self.readings[&partition].leader.epoch;
            OffsetForLeaderPartition::default()
                .with_partition(partition)
                .with_current_leader_epoch(current.map_or(-1, |epoch| epoch.0))
                .with_leader_epoch(epoch.0)
        });
        let topic =
            OffsetForLeaderTopic::default().with_topic(self.wire_topic.clone()).with_partitions(asked.collect());
        let request = OffsetForLeaderEpochRequest::default().with_replica_id(CONSUMER.wire()).with_topics(vec![topic]);
        let correlation = cluster.send(node, Request::OffsetForLeaderEpoch(Arc::new(request)), io);
        self.flights.insert((node, correlation), Flight::Validate { positions });
    }

    /// KIP-320: a log that ends, for the epoch of the last record that was read, before the position has lost what was read.
    fn on_epoch_ends(
        &mut self,
        asked: &BTreeMap<i32, (Offset, LeaderEpoch)>,
        response: &OffsetForLeaderEpochResponse,
        cluster: &mut Cluster,
        io: &mut Io<'_, KafkaClient>,
    ) {
        for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let partition = answer.partition;
            let Some(&(position, _)) = asked.get(&partition) else { continue };
            let Some(reading) = self.readings.get_mut(&partition) else { continue };
            if reading.phase != Phase::AwaitValidation || reading.position != Some(position) {
                continue;
            }
            let error = ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError);
            let end = Offset(answer.end_offset);
            if !error.is_none() {
                self.on_error(partition, error, cluster, io);
            } else if answer.leader_epoch < 0 || end.0 < 0 {
                io.reach(KafkaClientMark::TruncationNoticed);
                reading.phase = Phase::AwaitReset { why: "truncated" };
            } else if end < position {
                io.reach(KafkaClientMark::TruncationNoticed);
                self.reset(partition, end, Some(LeaderEpoch(answer.leader_epoch)), "truncated", io);
            } else {
                reading.phase = Phase::Fetching;
            }
        }
    }

    /// When a partition has rested enough.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.rests_until <= now {
            return None;
        }
        self.readings.values().map(|reading| reading.not_before).filter(|&at| at > now).min()
    }

    pub(crate) fn check_invariants(&self) {
        for (partition, reading) in &self.readings {
            match reading.phase {
                Phase::Fetching => assert!(reading.position.is_some(), "what is fetched has a position: {partition}"),
                Phase::AwaitValidation => {
                    assert!(reading.epoch.is_some(), "what is validated has an epoch: {partition}");
                }
                Phase::AwaitReset { .. } => {}
            }
        }
        let mut fetching = BTreeSet::new();
        for ((node, _), flight) in &self.flights {
            assert!(!flight.is_fetch() || fetching.insert(*node), "one fetch is outstanding per node");
        }
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        for (&partition, reading) in &self.readings {
            into.signed(i64::from(partition));
            into.signed(reading.position.map_or(-1, |position| position.0));
        }
        into.word(self.flights.len() as u64);
    }
}

impl Flight {
    const fn is_fetch(&self) -> bool {
        matches!(self, Self::Fetch { .. })
    }

    /// The partitions that a question other than a fetch is about: they are asked one at a time.
    fn questions(&self) -> Vec<i32> {
        match self {
            Self::Fetch { .. } => Vec::new(),
            Self::Reset { partitions } => partitions.iter().copied().collect(),
            Self::Validate { positions } => positions.keys().copied().collect(),
        }
    }
}
