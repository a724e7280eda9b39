//! A producer (kafka-broker.md §8.1, without idempotence and transactions), and the three ways it finds partitions (§8.4).
//!
//! The application hands itself a record at its pace; the partitioner chooses; the record waits in the accumulator; the sender
//! drains batches to the leaders and hears what came of them. `batch.size`, `linger.ms`, `max.in.flight.requests.per.connection`,
//! `retries` and `delivery.timeout.ms` mean what they mean in the Java client, and so does what follows from them: with more than
//! one request in flight a retry may be appended behind a later batch, and a retry of what was appended after all is a duplicate.
//!
//! | balance | brokers and leaders from | a record goes to |
//! |---|---|---|
//! | cluster metadata | any broker's answer | murmur2 of its key over all partitions; sticky without one |
//! | ZooKeeper | watches on ids, topic and states | Java's hash of its key over partitions with a live leader; any without one |
//! | fixed broker | that broker's answer | as with metadata, over the partitions which that broker leads |
//!
//! Every record that is sent gets one outcome, unless the process dies first: acknowledged, failed surely, or failed unknown.

mod accumulator;
mod broker_watch;
mod incarnation;
mod outcome;
mod sender;

use std::sync::Arc;

use bytes::Bytes;
use kafkawire::messages::TopicName;
use kafkawire::{BrokerId, Link, Topic, TopicPartition};
use machine::disk::DiskError;
use machine::{Digest, EndId, Input, InputOf, Instant, Io, Span, Ticket};
use zkclient::ZkClient;

use self::accumulator::{Accumulator, PendingRecord};
use self::broker_watch::BrokerWatch;
use self::incarnation::Incarnation;
use self::sender::InFlight;
use super::cluster::{Cluster, ClusterConfig, NodeId, Source};
use super::life::{Life, Role};
use super::metadata::LeaderAndEpoch;
use super::partitioner::{Sticky, partition_of_hash, partition_of_key, random_partition};
use super::record::encode_value;
use super::view::KafkaClientView;
use super::{Balance, KafkaClient, KafkaClientMark, KafkaWorkFact, ProducerImage, RecordId};
use crate::pace::Pace;

/// `max.block.ms`.
const MAX_BLOCK: Span = Span::millis(60_000);
/// `buffer.memory`.
const BUFFER_MEMORY: usize = 32 * 1024 * 1024;

/// What the application waits with: metadata are missing, or memory is.
#[derive(Clone, Debug)]
struct Blocked {
    number: u64,
    is_probe: bool,
    until: Instant,
}

/// The partitions that records may go to, as a version of the metadata has them.
#[derive(Clone, Debug, Default)]
struct Candidates {
    version: Option<u64>,
    all: Vec<i32>,
    /// Those that have a leader.
    available: Vec<i32>,
}

/// A producer.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    image: Arc<ProducerImage>,
    /// The topic's name as messages carry it.
    wire_topic: TopicName,
    life: Life,
    incarnation: Incarnation,
    cluster: Cluster,
    /// Of a producer that watches ZooKeeper.
    watch: Option<BrokerWatch>,
    pace: Pace,
    candidates: Arc<Candidates>,
    sticky: Sticky,
    accumulator: Accumulator,
    in_flight: InFlight,
    blocked: Option<Blocked>,
    brokers_told: Option<Arc<str>>,
    wake: Option<Instant>,
}

impl Producer {
    pub(crate) fn boot(image: &Arc<ProducerImage>, io: &mut Io<'_, KafkaClient>) -> Self {
        check(image);
        let (kind, source) = match &image.balance {
            Balance::FixedBroker(broker) => ("producer-fixed", Source::Pinned(*broker)),
            Balance::ZooKeeper(_) => ("producer-zookeeper", Source::Told),
            Balance::Metadata => ("producer-metadata", Source::Brokers),
        };
        let life = Life::begin(&image.work, kind, io);
        // Its broker may lead nothing any more, and then no record of its can ever succeed.
        let life = if matches!(image.balance, Balance::FixedBroker(_)) { life.without_probe() } else { life };
        let watch = match &image.balance {
            Balance::ZooKeeper(config) => Some(BrokerWatch::start(image.topic.clone(), config, io)),
            Balance::FixedBroker(_) | Balance::Metadata => None,
        };
        let config = ClusterConfig {
            source,
            topics: vec![image.topic.clone()],
            request_timeout: image.request_timeout,
            retry_backoff: image.retry_backoff,
            metadata_max_age: image.metadata_max_age,
            max_in_flight: image.max_in_flight,
        };
        Self {
            life,
            incarnation: Incarnation::begin(io),
            cluster: Cluster::new(&image.work, config),
            watch,
            pace: Pace::new(image.rate_per_second),
            candidates: Arc::default(),
            sticky: Sticky::default(),
            accumulator: Accumulator::new(image),
            in_flight: InFlight::default(),
            blocked: None,
            brokers_told: None,
            wake: None,
            wire_topic: image.topic.wire(),
            image: Arc::clone(image),
        }
    }

    fn topic(&self) -> &Topic {
        &self.image.topic
    }

    /// The leader this producer sends a partition's batches to.
    fn leader_of(&self, partition: i32) -> Option<NodeId> {
        let leader = self.cluster.metadata().leader(self.topic(), partition).leader?;
        self.may_use(leader).then_some(NodeId::Broker(leader))
    }

    fn may_use(&self, leader: BrokerId) -> bool {
        match &self.image.balance {
            Balance::FixedBroker(broker) => *broker == leader,
            Balance::ZooKeeper(_) | Balance::Metadata => true,
        }
    }

    /// The partitions records may go to; none before the topic is known.
    fn candidates(&mut self) -> Arc<Candidates> {
        let version = self.cluster.metadata().version();
        if self.candidates.version != Some(version) {
            let (all, available) = self.find_candidates();
            self.candidates = Arc::new(Candidates { version: Some(version), all, available });
        }
        Arc::clone(&self.candidates)
    }

    fn find_candidates(&self) -> (Vec<i32>, Vec<i32>) {
        let Some(partitions) = self.cluster.metadata().topic(self.topic()) else { return (Vec::new(), Vec::new()) };
        let has_leader = |known: &LeaderAndEpoch| known.leader.is_some_and(|leader| self.may_use(leader));
        let available: Vec<i32> =
            partitions.iter().filter(|(_, known)| has_leader(known)).map(|(&partition, _)| partition).collect();
        match &self.image.balance {
            Balance::Metadata => (partitions.keys().copied().collect(), available),
            // The partitions of a broker that is not there are not there either.
            Balance::FixedBroker(_) | Balance::ZooKeeper(_) => (available.clone(), available),
        }
    }

    fn key_of(&self, number: u64) -> Option<String> {
        (self.image.keys > 0).then(|| format!("key-{}", number % u64::from(self.image.keys)))
    }

    /// The application hands over a record, unless it still waits with the last one.
    fn hand_over(&mut self, is_probe: bool, io: &mut Io<'_, KafkaClient>) {
        if self.blocked.is_some() {
            return;
        }
        let number = self.incarnation.next_number();
        if !self.try_append(number, is_probe, io) {
            io.reach(KafkaClientMark::SendBlocked);
            self.blocked = Some(Blocked { number, is_probe, until: io.now() + MAX_BLOCK });
        }
    }

    /// What waited for metadata or memory is tried again; behind `max.block.ms` the application gets a TimeoutException: the
    /// record never had a partition.
    fn unblock(&mut self, io: &mut Io<'_, KafkaClient>) {
        let Some(blocked) = self.blocked.take() else { return };
        if blocked.until <= io.now() {
            if blocked.is_probe {
                self.life.retry_probe(io.now());
            }
        } else if !self.try_append(blocked.number, blocked.is_probe, io) {
            self.blocked = Some(blocked);
        }
    }

    /// Gives a record its partition and appends it to the accumulator; false if the topic's partitions are not known, or
    /// memory is short.
    fn try_append(&mut self, number: u64, is_probe: bool, io: &mut Io<'_, KafkaClient>) -> bool {
        let candidates = self.candidates();
        let Candidates { all, available, .. } = &*candidates;
        if all.is_empty() {
            self.cluster.request_refresh();
            return false;
        }
        if self.accumulator.bytes() + self.in_flight.bytes() + self.image.batch_size > BUFFER_MEMORY {
            return false;
        }
        let id = RecordId { client: self.life.client, number };
        let key = self.key_of(number);
        let (now, timestamp) = (io.now(), io.wall_clock().0);
        let (partition, record) = match (&self.image.balance, &key) {
            (Balance::ZooKeeper(_), Some(key)) => {
                self.record(id, Some(key), all[partition_of_hash(key, all.len())], is_probe)
            }
            (Balance::ZooKeeper(_), None) => {
                let partition = all[random_partition(all.len(), io)];
                self.record(id, None, partition, is_probe)
            }
            (Balance::FixedBroker(_) | Balance::Metadata, Some(key)) => {
                self.record(id, Some(key), all[partition_of_key(key.as_bytes(), all.len())], is_probe)
            }
            (Balance::FixedBroker(_) | Balance::Metadata, None) => {
                let current = self.sticky.current(all, available, io);
                // Without a batch there is nothing to fit, and no need to know how large the record is.
                let fitting = if self.accumulator.has_batch(current) {
                    let record = self.record(id, None, current, is_probe);
                    Some(record).filter(|(_, record)| self.accumulator.fits_last(current, record))
                } else {
                    None
                };
                fitting.unwrap_or_else(|| {
                    let next = self.sticky.on_new_batch(current, all, available, io);
                    self.record(id, None, next, is_probe)
                })
            }
        };
        io.state(KafkaWorkFact::RecordSent {
            record: id,
            topic: self.topic().clone(),
            partition,
            acks: self.image.acks.wire(),
        });
        self.accumulator.append(partition, record, now, timestamp);
        true
    }

    fn record(&self, id: RecordId, key: Option<&String>, partition: i32, is_probe: bool) -> (i32, PendingRecord) {
        let at = TopicPartition::new(self.topic().clone(), partition);
        let value = encode_value(id, &at, self.image.record_bytes);
        (partition, PendingRecord { id, key: key.map(|key| Bytes::from(key.clone())), value, is_probe })
    }

    /// What the watch on ZooKeeper found becomes what the cluster knows.
    fn learn(&mut self, io: &mut Io<'_, KafkaClient>) {
        let Some(watch) = &self.watch else { return };
        let (brokers, leaders) = (watch.addresses(self.cluster.hosts()), watch.leaders());
        let events = self.cluster.learn(brokers, &self.image.topic, leaders, io);
        self.on_cluster(events, io);
        self.tell_brokers(io);
    }

    fn tell_brokers(&mut self, io: &mut Io<'_, KafkaClient>) {
        let known = self.cluster.metadata().brokers();
        let ids: Vec<BrokerId> = match (&self.image.balance, &self.watch) {
            (Balance::ZooKeeper(_), Some(watch)) => watch.broker_ids().collect(),
            (Balance::FixedBroker(broker), _) => known.keys().copied().filter(|id| id == broker).collect(),
            (Balance::Metadata | Balance::ZooKeeper(_), _) => known.keys().copied().collect(),
        };
        let text: Arc<str> = Arc::from(ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(","));
        if self.brokers_told.as_ref() != Some(&text) {
            io.state(KafkaWorkFact::ProducerBrokersKnown { client: self.life.client, brokers: Arc::clone(&text) });
            self.brokers_told = Some(text);
        }
    }

    fn on_session_input(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>) {
        let Some(watch) = &mut self.watch else { return };
        if watch.handle(input, io) {
            self.learn(io);
        }
    }

    fn is_idle(&self) -> bool {
        self.accumulator.is_empty() && self.in_flight.is_empty()
    }
}

impl Role for Producer {
    fn on_link(&mut self, input: InputOf<Link>, io: &mut Io<'_, KafkaClient>) {
        let events = self.cluster.handle(input, io);
        self.on_cluster(events, io);
    }

    fn owns_session(&self, end: EndId) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.session.owns(end))
    }

    fn on_session(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>) {
        self.on_session_input(input, io);
    }

    fn on_durable(&mut self, ticket: Ticket, result: Result<(), DiskError>, io: &mut Io<'_, KafkaClient>) {
        self.incarnation.on_durable(ticket, result, io);
        if self.incarnation.is_durable() && !self.life.is_stopped() && !self.life.is_terminating() {
            self.pace.start(io);
        }
    }

    /// `close()`: what was handed over is still sent, without lingering.
    fn on_terminate(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.life.terminate();
        self.life.stop(io);
        self.pace.stop();
        self.blocked = None;
        self.accumulator.is_flushing = true;
    }

    fn settle(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.on_link(Input::Woken, io);
        self.on_session_input(Input::Woken, io);
        let now = io.now();
        if self.life.is_stop_due(now) {
            self.life.stop(io);
            self.pace.stop();
            self.blocked = None;
        }
        if self.incarnation.is_durable() && !self.life.is_terminating() {
            self.unblock(io);
            if self.pace.tick(io) {
                self.hand_over(false, io);
            }
            if self.blocked.is_none() && self.life.begin_probe(now) {
                self.hand_over(true, io);
            }
        }
        self.run_sender(io);
        self.cluster.pump(io);
        if self.life.is_terminating() && self.is_idle() {
            io.exit(0);
        }
        self.wake = self.earliest(now);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.wake
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn is_ready(&self) -> bool {
        self.incarnation.is_durable() && self.cluster.metadata().topic(self.topic()).is_some()
    }

    fn pending(&self) -> Option<String> {
        let waiting = self.accumulator.batches().chain(self.in_flight.batches());
        let oldest = waiting.min_by_key(|batch| (batch.created, batch.number));
        if let Some(batch) = oldest {
            let record = batch.records[0].id;
            let at = TopicPartition::new(self.topic().clone(), batch.partition);
            return Some(format!("record {record} for {at} has no outcome since {}", batch.created));
        }
        let blocked = self.blocked.as_ref()?;
        let waits_for = format!("record {} waits for a partition of {}", blocked.number, self.topic());
        Some(format!("{waits_for} at most until {}", blocked.until))
    }

    fn owned(&self) -> Vec<TopicPartition> {
        Vec::new()
    }

    fn lag(&self, _: &TopicPartition) -> Option<i64> {
        None
    }

    fn check_invariants(&self) {
        self.cluster.check_invariants();
        self.accumulator.check_invariants();
        if let Some(watch) = &self.watch {
            watch.session.check_invariants();
        }
        assert!(!self.life.is_terminating() || self.blocked.is_none(), "who closes a producer hands over nothing");
    }

    fn digest(&self, into: &mut Digest) {
        self.cluster.digest(into);
        into.word(self.accumulator.bytes() as u64);
        into.word(self.in_flight.bytes() as u64);
        if let Some(watch) = &self.watch {
            watch.session.zk().digest(into);
        }
    }

    fn view(&self) -> KafkaClientView {
        let session = self.watch.as_ref().map(|watch| watch.session.zk().view());
        super::client::view_of(self, &self.cluster, self.topic(), session)
    }
}

impl Producer {
    fn earliest(&self, now: Instant) -> Option<Instant> {
        let session = self.watch.as_ref().and_then(|watch| watch.session.next_wake());
        let blocked = self.blocked.as_ref().map(|blocked| blocked.until);
        let later = |wake: Option<Instant>| wake.filter(|&at| at > now);
        Instant::earliest([
            later(session),
            later(blocked),
            later(self.pace.next()),
            self.cluster.next_wake(now),
            self.life.next_wake(now),
            self.sender_wake(now),
        ])
    }
}

fn check(image: &ProducerImage) {
    assert!(image.max_in_flight > 0, "max.in.flight.requests.per.connection is at least 1");
    assert!(image.batch_size > 0, "batch.size is at least 1");
    assert!(
        image.delivery_timeout >= image.linger + image.request_timeout,
        "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms"
    );
    if let (Some(stop), Some(probe)) = (image.work.stop_after, image.work.probe_after) {
        assert!(stop <= probe, "a client stops after {stop} before it probes after {probe}");
    }
}
