//! The whole consumer of 0.8, which balances itself over ZooKeeper (kafka-broker.md §6.10, §8.4), one topic per process.
//!
//! Members register below `/consumers/G/ids`, watch each other and the topic, and each computes alone who reads what; claims,
//! ephemerals below `/consumers/G/owners`, keep them apart where their views differ. Its flaws are kept:
//!
//! - **herd**: every member rebalances at every change, and stops reading meanwhile;
//! - **split brain**: members that read at different times compute different assignments; claims are refused, and after
//!   `rebalance.max.retries` a member stays without partitions until something changes;
//! - **session loss**: the fetchers go on until the rebalance in the next session stops them, while others read the same
//!   partitions; what was read and not committed by then is read again by its successor;
//! - **zombie**: a commit that waited for a connection is written in whatever session comes, over newer offsets.
//!
//! `Simplified:` a rebalance that is under way when the session expires ends there, and the next session begins another one (the
//! original went on in the next session, then ran another); and offsets are read behind a sync (the original did not: what is
//! lost are positions that a lagging server still had).

mod leader_finder;
mod range;
mod rebalance;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jute::op::{CreateMode, ErrorCode};
use kafkawire::znode::{self, ConsumerRegistration, Znode};
use kafkawire::{Link, Offset, TopicPartition};
use machine::disk::DiskError;
use machine::{Digest, EndId, Input, InputOf, Instant, Io, Purpose, Span, Ticket};
use zkclient::{WatchedEvent, ZkClient};

use self::leader_finder::{FinderOp, Finding};
use self::rebalance::{Rebalance, RebalanceOp};
use super::cluster::{Cluster, ClusterConfig, ClusterEvent, Source};
use super::consumer::CONSUMER_MAX_IN_FLIGHT;
use super::fetcher::{Fetcher, FetcherConfig, Style};
use super::life::{Life, Role};
use super::offsets::{OffsetEvent, OffsetOp, OffsetStore, WhenLost};
use super::session::{Answer, Session, Told, Watch, parents};
use super::view::KafkaClientView;
use super::{KafkaClient, KafkaClientMark, KafkaWorkFact, ZkConsumerImage};

const CONSUMER_ID: Purpose = Purpose::new("zookeeper-consumer-id");

/// Metadata are asked for when a leader is missing; this consumer has no age for them, but a connection that stays silent this
/// long is worth the question.
const METADATA_MAX_AGE: Span = Span::secs(600);
/// `fetch.min.bytes`.
const FETCH_MIN_BYTES: i32 = 1;

/// What an operation of the session is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ZkOp {
    /// A parent of the registration, by its depth.
    IdsParent { depth: usize },
    /// The registration.
    Register,
    /// Whose registration is in the way.
    Registered,
    /// Sets the watch on the members again.
    WatchMembers,
    /// Sets the watch on the topic again.
    WatchTopic,
    /// Sets a watch where the topic will be.
    WatchTopicExists,
    /// Sets the watch on the brokers again.
    WatchBrokers,
    /// Belongs to an attempt.
    Rebalance { run: u64, op: RebalanceOp },
    /// Belongs to a turn of the thread that finds leaders.
    Finder(FinderOp),
    /// Belongs to the offsets.
    Offset(OffsetOp),
}

impl From<OffsetOp> for ZkOp {
    fn from(op: OffsetOp) -> Self {
        Self::Offset(op)
    }
}

/// How far it is with being a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    /// No session, or the registration is under way.
    Outside,
    /// An older registration is in the way; it is tried again then.
    Waiting { until: Instant },
    /// Registered in the present session.
    Member,
}

/// The consumer of 0.8.
#[derive(Clone, Debug)]
pub(crate) struct ZkConsumer {
    image: Arc<ZkConsumerImage>,
    life: Life,
    consumer_id: String,
    member: Arc<str>,
    cluster: Cluster,
    session: Session<ZkOp>,
    offsets: OffsetStore,
    fetcher: Fetcher,
    /// The turn of the thread that finds leaders, while it reads who is registered.
    finding: Option<Finding>,
    membership: Membership,
    /// When it registered, by its calendar.
    registered_ms: i64,
    /// Partitions it claimed, and the thread they are for (`topicRegistry`): what it releases and commits.
    registry: BTreeMap<i32, String>,
    rebalance: Option<Rebalance>,
    /// Something changed while one was running.
    triggered: Option<&'static str>,
    /// Counts attempts, so that late answers are told from those of the present one.
    run: u64,
    /// The last rebalance gave up.
    has_failed: bool,
    /// The session that its partitions were claimed in has expired.
    has_expired: bool,
    next_commit: Instant,
    /// When it was told to stop; it reads what is left.
    stopping_since: Option<Instant>,
    probing_since: Option<Instant>,
    wake: Option<Instant>,
}

impl ZkConsumer {
    pub(crate) fn boot(image: &Arc<ZkConsumerImage>, io: &mut Io<'_, KafkaClient>) -> Self {
        assert!(image.streams > 0, "a consumer has at least one stream");
        assert!(image.rebalance_max_retries > 0, "rebalance.max.retries is at least 1");
        let work = &image.work;
        let life = Life::begin(work, "zookeeper-consumer", io);
        let config = ClusterConfig {
            source: Source::Registered,
            topics: vec![image.topic.clone()],
            request_timeout: image.socket_timeout,
            retry_backoff: image.refresh_leader_backoff,
            metadata_max_age: METADATA_MAX_AGE,
            max_in_flight: CONSUMER_MAX_IN_FLIGHT,
        };
        let fetcher = Fetcher::new(FetcherConfig {
            client: work.client,
            group: Arc::clone(&image.group),
            topic: image.topic.clone(),
            style: Style::Old,
            reset: image.reset,
            max_wait: image.fetch_max_wait,
            min_bytes: FETCH_MIN_BYTES,
            partition_max_bytes: image.fetch_message_max_bytes,
            backoff: image.refresh_leader_backoff,
        });
        let uuid = io.draw(CONSUMER_ID).bits() >> 32;
        let consumer_id = format!("{}_client-{}-{}-{uuid:08x}", image.group, work.client, io.wall_clock().0);
        let (group, topic) = (Arc::clone(&image.group), image.topic.clone());
        Self {
            life,
            member: Arc::from(consumer_id.as_str()),
            consumer_id,
            cluster: Cluster::new(work, config),
            session: Session::start(&image.zookeeper, io),
            offsets: OffsetStore::new(work.client, group, topic, WhenLost::TryAgain),
            fetcher,
            finding: None,
            membership: Membership::Outside,
            registered_ms: 0,
            registry: BTreeMap::new(),
            rebalance: None,
            triggered: None,
            run: 0,
            has_failed: false,
            has_expired: false,
            next_commit: io.now() + image.commit_interval,
            stopping_since: None,
            probing_since: None,
            wake: None,
            image: Arc::clone(image),
        }
    }

    fn is_registered(&self) -> bool {
        self.membership == Membership::Member
    }

    fn id_path(&self) -> String {
        znode::consumer_id(&self.image.group, &self.consumer_id)
    }

    fn on_cluster(&mut self, events: Vec<ClusterEvent>, io: &mut Io<'_, KafkaClient>) {
        for event in events {
            self.fetcher.on_cluster(event, &mut self.cluster, io);
        }
    }

    fn on_told(&mut self, told: Vec<Told<ZkOp>>, io: &mut Io<'_, KafkaClient>) {
        for told in told {
            match told {
                // `handleNewSession`: what was claimed is no longer ours to release or commit.
                Told::Connected { anew: true } => {
                    self.registry.clear();
                    if !self.life.is_terminating() {
                        self.register(io);
                    }
                }
                Told::Connected { anew: false } => {}
                Told::Expired => self.on_expired(io),
                Told::Closed => {
                    assert!(self.life.is_terminating(), "a session is closed by its process alone");
                    io.exit(0);
                }
                Told::Answered { purpose, answer } => self.on_answer(purpose, answer, io),
                Told::Watched(event) => self.on_watched(&event, io),
            }
        }
    }

    /// The fetchers go on.
    fn on_expired(&mut self, io: &mut Io<'_, KafkaClient>) {
        io.reach(KafkaClientMark::SessionAgain);
        self.membership = Membership::Outside;
        self.rebalance = None;
        self.triggered = None;
        self.run += 1;
        self.has_expired = true;
    }

    fn register(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.membership = Membership::Outside;
        self.registered_ms = io.wall_clock().0;
        self.send_registration(io);
    }

    fn send_registration(&mut self, io: &mut Io<'_, KafkaClient>) {
        let streams = i32::try_from(self.image.streams).expect("few threads");
        let registration = ConsumerRegistration {
            subscription: BTreeMap::from([(self.image.topic.to_string(), streams)]),
            pattern: "static".to_owned(),
            timestamp_ms: self.registered_ms,
        };
        self.session.create(ZkOp::Register, self.id_path(), registration.encode(), CreateMode::Ephemeral, io);
    }

    fn create_ids_parent(&mut self, depth: usize, io: &mut Io<'_, KafkaClient>) {
        match parents(&self.id_path()).into_iter().nth(depth) {
            Some(parent) => {
                self.session.create(ZkOp::IdsParent { depth }, parent, Bytes::new(), CreateMode::Persistent, io);
            }
            None => self.send_registration(io),
        }
    }

    fn on_answer(&mut self, op: ZkOp, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        match op {
            ZkOp::Offset(op) => {
                let event = self.offsets.on_answer(op, answer, &mut self.session, io);
                match event {
                    Some(OffsetEvent::Fetched { partition, offset }) => self.on_offset_found(partition, offset, io),
                    Some(OffsetEvent::Committed { .. }) => self.on_rebalance_committed(io),
                    None => {}
                }
            }
            ZkOp::Rebalance { run, op } => {
                if run == self.run && self.rebalance.is_some() {
                    self.on_rebalance_answer(op, answer, io);
                }
            }
            ZkOp::Finder(op) => self.on_finder_answer(op, answer, io),
            // A member's watches are set again in each session, and its registration is made again.
            ZkOp::IdsParent { .. }
            | ZkOp::Register
            | ZkOp::Registered
            | ZkOp::WatchMembers
            | ZkOp::WatchTopic
            | ZkOp::WatchTopicExists
            | ZkOp::WatchBrokers => self.on_membership_answer(&op, answer, io),
        }
    }

    fn on_membership_answer(&mut self, op: &ZkOp, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        match (op, answer) {
            (ZkOp::IdsParent { depth }, Answer::Lost) => self.create_ids_parent(*depth, io),
            (ZkOp::IdsParent { depth }, _) => self.create_ids_parent(depth + 1, io),
            (ZkOp::Register, Answer::Done) => self.on_registered(io),
            (ZkOp::Register, Answer::Refused(ErrorCode::NoNode)) => self.create_ids_parent(0, io),
            (ZkOp::Register, Answer::Refused(ErrorCode::NodeExists)) | (ZkOp::Registered, Answer::Lost) => {
                self.session.data(ZkOp::Registered, self.id_path(), Watch::None, io);
            }
            (ZkOp::Register, _) => self.send_registration(io),
            (ZkOp::Registered, Answer::Data { stat, .. }) => {
                if stat.ephemeral_owner == self.session.zk().session() {
                    self.on_registered(io);
                } else {
                    // Written by this consumer a while back in another session: it backs off for as long as a session
                    // lives, and tries again (KAFKA-1387).
                    io.reach(KafkaClientMark::RegistrationConflict);
                    let timeout_ms = u64::try_from(self.image.zookeeper.session_timeout_ms).unwrap_or(0);
                    self.membership = Membership::Waiting { until: io.now() + Span::millis(timeout_ms) };
                }
            }
            // It disappeared.
            (ZkOp::Registered, _) => self.send_registration(io),
            (ZkOp::WatchMembers, Answer::Lost) => self.watch_members(io),
            (ZkOp::WatchTopic, Answer::Lost) => self.watch_topic(io),
            (ZkOp::WatchTopic, Answer::Refused(ErrorCode::NoNode)) | (ZkOp::WatchTopicExists, Answer::Lost) => {
                self.session.watch_for(ZkOp::WatchTopicExists, znode::topic(&self.image.topic), io);
            }
            // It came between the two reads.
            (ZkOp::WatchTopicExists, Answer::Done) => self.trigger("partitions-changed", io),
            (ZkOp::WatchBrokers, Answer::Lost) => self.watch_brokers(io),
            (ZkOp::WatchMembers | ZkOp::WatchTopic | ZkOp::WatchTopicExists | ZkOp::WatchBrokers, _) => {}
            (ZkOp::Rebalance { .. } | ZkOp::Finder(_) | ZkOp::Offset(_), _) => {
                unreachable!("not a matter of membership")
            }
        }
    }

    fn on_registered(&mut self, io: &mut Io<'_, KafkaClient>) {
        // An answer that was lost, and the read behind it, may both say so.
        if self.is_registered() {
            return;
        }
        self.membership = Membership::Member;
        self.watch_members(io);
        self.watch_topic(io);
        self.trigger(if self.has_expired { "session-expired" } else { "started" }, io);
    }

    fn watch_members(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.session.children(ZkOp::WatchMembers, znode::consumer_ids(&self.image.group), Watch::Set, io);
    }

    fn watch_topic(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.session.data(ZkOp::WatchTopic, znode::topic(&self.image.topic), Watch::Set, io);
    }

    fn watch_brokers(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.session.children(ZkOp::WatchBrokers, znode::BROKERS_IDS.to_owned(), Watch::Set, io);
    }

    /// The watch is set again before anything is read for the rebalance: nothing is missed.
    fn on_watched(&mut self, event: &WatchedEvent, io: &mut Io<'_, KafkaClient>) {
        if self.life.is_terminating() {
            return;
        }
        match Znode::of(&event.path) {
            Some(Znode::ConsumerIds { .. }) => {
                self.watch_members(io);
                self.trigger("members-changed", io);
            }
            Some(Znode::Topic(_)) => {
                self.watch_topic(io);
                self.trigger("partitions-changed", io);
            }
            Some(Znode::BrokerIds) => self.trigger("brokers-changed", io),
            Some(_) | None => panic!("a watch on {} was never set", event.path),
        }
    }

    /// Stops reading; returns what is to be committed. Partitions that were claimed in a session that expired are no longer
    /// in the registry, and their positions are lost.
    fn stop_fetchers(&mut self, io: &mut Io<'_, KafkaClient>) -> BTreeMap<i32, Offset> {
        let positions = self.positions();
        let why = match (self.life.is_terminating(), self.has_expired) {
            (true, _) => "closed",
            (false, true) => "session-expired",
            (false, false) => "rebalance",
        };
        let partitions: Vec<i32> = self.fetcher.partitions().collect();
        for partition in partitions {
            io.state(KafkaWorkFact::PartitionRevoked {
                client: self.life.client,
                group: Arc::clone(&self.image.group),
                member: Arc::clone(&self.member),
                topic: self.image.topic.clone(),
                partition,
                why,
            });
        }
        self.fetcher.clear();
        self.has_expired = false;
        positions
    }

    fn start_fetchers(&mut self, found: &BTreeMap<i32, Option<Offset>>, io: &mut Io<'_, KafkaClient>) {
        for (&partition, &offset) in found {
            io.state(KafkaWorkFact::PartitionAssigned {
                client: self.life.client,
                group: Arc::clone(&self.image.group),
                member: Arc::clone(&self.member),
                topic: self.image.topic.clone(),
                partition,
                position: offset.unwrap_or(Offset(-1)),
            });
            self.fetcher.assign(partition, offset);
        }
    }

    /// The positions of the partitions in the registry.
    fn positions(&self) -> BTreeMap<i32, Offset> {
        let partitions = self.registry.keys();
        partitions.filter_map(|&partition| Some((partition, self.fetcher.position(partition)?))).collect()
    }

    fn commit(&mut self, io: &mut Io<'_, KafkaClient>) {
        for (partition, offset) in self.positions() {
            self.offsets.commit(partition, offset, &mut self.session, io);
        }
    }

    /// Whether fetches that were sent at that time or later found nothing more to read.
    fn read_all_since(&self, since: Instant) -> bool {
        self.is_ready() && self.fetcher.pending().is_none() && self.fetcher.is_at_end_since(since)
    }
}

impl Role for ZkConsumer {
    fn on_link(&mut self, input: InputOf<Link>, io: &mut Io<'_, KafkaClient>) {
        let events = self.cluster.handle(input, io);
        self.on_cluster(events, io);
    }

    fn owns_session(&self, end: EndId) -> bool {
        self.session.owns(end)
    }

    fn on_session(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>) {
        let told = self.session.handle(input, io);
        self.on_told(told, io);
    }

    fn on_durable(&mut self, ticket: Ticket, _: Result<(), DiskError>, _: &mut Io<'_, KafkaClient>) {
        panic!("a consumer writes no files: {ticket}");
    }

    /// `shutdown()`: fetchers, the last commit, the session with registration and claims.
    fn on_terminate(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.life.terminate();
        self.life.stop(io);
        self.rebalance = None;
        self.triggered = None;
        for (partition, offset) in self.stop_fetchers(io) {
            self.offsets.commit(partition, offset, &mut self.session, io);
        }
    }

    fn settle(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.on_link(Input::Woken, io);
        self.on_session(Input::Woken, io);
        let now = io.now();
        if self.life.is_terminating() {
            if !self.offsets.is_committing() {
                let told = self.session.close(io);
                self.on_told(told, io);
            }
        } else {
            if let Membership::Waiting { until } = self.membership
                && until <= now
            {
                self.membership = Membership::Outside;
                self.send_registration(io);
            }
            self.on_rebalance_woken(io);
            self.fetcher.pump(&mut self.cluster, io);
            self.find_leaders(io);
            if self.next_commit <= now {
                self.next_commit = now + self.image.commit_interval;
                self.commit(io);
            }
            if self.life.is_stop_due(now) {
                self.stopping_since = Some(now);
            }
            if self.stopping_since.is_some_and(|since| self.read_all_since(since)) {
                self.stopping_since = None;
                self.life.stop(io);
            }
            if self.life.begin_probe(now) {
                self.probing_since = Some(now);
            }
            if self.probing_since.is_some_and(|since| self.read_all_since(since)) {
                self.probing_since = None;
                self.life.end_probe(io);
            }
        }
        self.cluster.pump(io);
        self.wake = self.earliest(now);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.wake
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn is_ready(&self) -> bool {
        self.is_registered() && self.rebalance.is_none() && !self.has_failed
    }

    fn pending(&self) -> Option<String> {
        let own = match (&self.rebalance, self.is_registered(), self.has_failed) {
            (Some(rebalance), _, _) => Some(rebalance.describe()),
            (None, false, _) => Some("is not registered".to_owned()),
            (None, true, true) => Some("gave up rebalancing and has no partitions".to_owned()),
            (None, true, false) => None,
        };
        let own = own.map(|what| format!("{} {what}", self.consumer_id));
        own.or_else(|| self.fetcher.pending()).or_else(|| self.offsets.pending())
    }

    fn owned(&self) -> Vec<TopicPartition> {
        self.registry.keys().map(|&partition| TopicPartition::new(self.image.topic.clone(), partition)).collect()
    }

    fn lag(&self, at: &TopicPartition) -> Option<i64> {
        if at.topic == self.image.topic { self.fetcher.lag(at.partition) } else { None }
    }

    fn check_invariants(&self) {
        self.cluster.check_invariants();
        self.session.check_invariants();
        self.fetcher.check_invariants();
        if self.is_ready() && !self.has_expired && !self.life.is_terminating() {
            let read: BTreeSet<i32> = self.fetcher.partitions().collect();
            let owned: BTreeSet<i32> = self.registry.keys().copied().collect();
            assert_eq!(read, owned, "a member at rest reads what it claimed");
        }
        assert!(self.rebalance.is_none() || self.is_registered(), "only a member rebalances");
    }

    fn digest(&self, into: &mut Digest) {
        self.cluster.digest(into);
        self.session.zk().digest(into);
        self.fetcher.digest(into);
        into.word(self.run);
        into.word(self.registry.len() as u64);
    }

    fn view(&self) -> KafkaClientView {
        let mut view = super::client::view_of(self, &self.cluster, &self.image.topic, Some(self.session.zk().view()));
        view.positions = super::client::positions_of(&self.fetcher);
        view
    }
}

impl ZkConsumer {
    fn earliest(&self, now: Instant) -> Option<Instant> {
        let is_working = !self.life.is_terminating();
        let registration = match self.membership {
            Membership::Waiting { until } => Some(until),
            Membership::Outside | Membership::Member => None,
        };
        let rebalance = self.rebalance.as_ref().and_then(Rebalance::next_wake);
        let working = [Some(self.next_commit), registration, rebalance, self.fetcher.next_wake(now)];
        let working = working.into_iter().flatten().filter(|_| is_working);
        let always = [self.cluster.next_wake(now), self.session.next_wake(), self.life.next_wake(now)];
        working.chain(always.into_iter().flatten()).filter(|&at| at > now).min()
    }
}
