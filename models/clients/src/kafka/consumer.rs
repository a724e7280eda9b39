//! A consumer of given partitions (kafka-broker.md §8.2 without groups): it reads them up to the high watermark and keeps its
//! offsets in ZooKeeper.
//!
//! Each partition begins at the group's committed offset, or where `auto.offset.reset` says; the [fetcher](super::fetcher) does
//! the rest. Every `auto.commit.interval.ms` the positions are committed. Positions survive an expired session: only the commits
//! need ZooKeeper.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafkawire::{Link, TopicPartition};
use machine::disk::DiskError;
use machine::{Digest, EndId, Input, InputOf, Instant, Io, Ticket};
use zkclient::ZkClient;

use super::cluster::{Cluster, ClusterConfig, ClusterEvent, Source};
use super::fetcher::{Fetcher, FetcherConfig, Style};
use super::life::{Life, Role};
use super::offsets::{OffsetEvent, OffsetOp, OffsetStore, WhenLost};
use super::session::{Session, Told};
use super::view::KafkaClientView;
use super::{ConsumerImage, KafkaClient, KafkaWorkFact};

/// `max.in.flight.requests.per.connection` of a consumer; no choice of a user.
pub(crate) const CONSUMER_MAX_IN_FLIGHT: usize = 100;

/// A consumer of given partitions.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    image: Arc<ConsumerImage>,
    life: Life,
    member: Arc<str>,
    cluster: Cluster,
    session: Session<OffsetOp>,
    offsets: OffsetStore,
    fetcher: Fetcher,
    /// What it reads; none before the topic's partitions are known.
    partitions: Option<BTreeSet<i32>>,
    next_commit: Instant,
    /// When it was told to stop; it reads what is left.
    stopping_since: Option<Instant>,
    probing_since: Option<Instant>,
    wake: Option<Instant>,
}

impl Consumer {
    pub(crate) fn boot(image: &Arc<ConsumerImage>, io: &mut Io<'_, KafkaClient>) -> Self {
        let work = &image.work;
        let life = Life::begin(work, "consumer", io);
        let config = ClusterConfig {
            source: Source::Brokers,
            topics: vec![image.topic.clone()],
            request_timeout: image.request_timeout,
            retry_backoff: image.retry_backoff,
            metadata_max_age: image.metadata_max_age,
            max_in_flight: CONSUMER_MAX_IN_FLIGHT,
        };
        let fetcher = Fetcher::new(FetcherConfig {
            client: work.client,
            group: Arc::clone(&image.group),
            topic: image.topic.clone(),
            style: Style::Java,
            reset: image.reset,
            max_wait: image.fetch_max_wait,
            min_bytes: image.fetch_min_bytes,
            partition_max_bytes: image.max_partition_fetch_bytes,
            backoff: image.retry_backoff,
        });
        let (group, topic) = (Arc::clone(&image.group), image.topic.clone());
        Self {
            life,
            member: Arc::from(format!("consumer-{}", work.client)),
            cluster: Cluster::new(work, config),
            session: Session::start(&image.zookeeper, io),
            offsets: OffsetStore::new(work.client, group, topic, WhenLost::GiveUp),
            fetcher,
            partitions: None,
            next_commit: io.now() + image.commit_interval,
            stopping_since: None,
            probing_since: None,
            wake: None,
            image: Arc::clone(image),
        }
    }

    fn on_cluster(&mut self, events: Vec<ClusterEvent>, io: &mut Io<'_, KafkaClient>) {
        for event in events {
            self.fetcher.on_cluster(event, &mut self.cluster, io);
        }
    }

    fn on_told(&mut self, told: Vec<Told<OffsetOp>>, io: &mut Io<'_, KafkaClient>) {
        for told in told {
            match told {
                Told::Connected { .. } | Told::Expired => {}
                Told::Closed => {
                    assert!(self.life.is_terminating(), "a session is closed by its process alone");
                    io.exit(0);
                }
                Told::Answered { purpose, answer } => {
                    let event = self.offsets.on_answer(purpose, answer, &mut self.session, io);
                    if let Some(OffsetEvent::Fetched { partition, offset }) = event
                        && !self.life.is_terminating()
                    {
                        let [assigned, _] = self.assigned_and_revoked(partition, offset);
                        io.state(assigned);
                        self.fetcher.assign(partition, offset);
                    }
                }
                Told::Watched(event) => panic!("a consumer of given partitions watches nothing: {event:?}"),
            }
        }
    }

    fn assigned_and_revoked(&self, partition: i32, position: Option<kafkawire::Offset>) -> [KafkaWorkFact; 2] {
        let (client, group, member) = (self.life.client, Arc::clone(&self.image.group), Arc::clone(&self.member));
        let topic = self.image.topic.clone();
        let position = position.unwrap_or(kafkawire::Offset(-1));
        [
            KafkaWorkFact::PartitionAssigned {
                client,
                group: Arc::clone(&group),
                member: Arc::clone(&member),
                topic: topic.clone(),
                partition,
                position,
            },
            KafkaWorkFact::PartitionRevoked { client, group, member, topic, partition, why: "closed" },
        ]
    }

    /// Learns its partitions, once, and reads their offsets.
    fn assign(&mut self, io: &mut Io<'_, KafkaClient>) {
        if self.partitions.is_some() {
            return;
        }
        let partitions: BTreeSet<i32> = if self.image.partitions.is_empty() {
            let Some(known) = self.cluster.metadata().topic(&self.image.topic) else {
                return self.cluster.request_refresh();
            };
            known.keys().copied().collect()
        } else {
            self.image.partitions.iter().copied().collect()
        };
        for &partition in &partitions {
            self.offsets.fetch(partition, &mut self.session, io);
        }
        self.partitions = Some(partitions);
    }

    fn commit(&mut self, io: &mut Io<'_, KafkaClient>) {
        let positions =
            self.fetcher.partitions().filter_map(|partition| Some((partition, self.fetcher.position(partition)?)));
        let positions: Vec<_> = positions.collect();
        for (partition, position) in positions {
            self.offsets.commit(partition, position, &mut self.session, io);
        }
    }

    /// Whether fetches that were sent at that time or later found nothing more to read.
    fn read_all_since(&self, since: Instant) -> bool {
        self.is_ready() && self.fetcher.pending().is_none() && self.fetcher.is_at_end_since(since)
    }
}

impl Role for Consumer {
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

    /// `close()`: the last commit, then the session.
    fn on_terminate(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.life.terminate();
        self.life.stop(io);
        self.commit(io);
        let partitions: Vec<i32> = self.fetcher.partitions().collect();
        for partition in partitions {
            let [_, revoked] = self.assigned_and_revoked(partition, None);
            io.state(revoked);
        }
        self.fetcher.clear();
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
            self.assign(io);
            self.fetcher.pump(&mut self.cluster, io);
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
        let commit = Some(self.next_commit).filter(|_| !self.life.is_terminating());
        let later = |wake: Option<Instant>| wake.filter(|&at| at > now);
        self.wake = Instant::earliest([
            later(commit),
            later(self.session.next_wake()),
            self.cluster.next_wake(now),
            self.life.next_wake(now),
            self.fetcher.next_wake(now),
        ]);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.wake
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn is_ready(&self) -> bool {
        self.partitions.as_ref().is_some_and(|partitions| self.fetcher.partitions().count() == partitions.len())
    }

    fn pending(&self) -> Option<String> {
        if !self.is_ready() {
            return Some(format!("the partitions of {} or their offsets are not known", self.image.topic));
        }
        self.fetcher.pending().or_else(|| self.offsets.pending())
    }

    fn owned(&self) -> Vec<TopicPartition> {
        self.fetcher.partitions().map(|partition| TopicPartition::new(self.image.topic.clone(), partition)).collect()
    }

    fn lag(&self, at: &TopicPartition) -> Option<i64> {
        if at.topic == self.image.topic { self.fetcher.lag(at.partition) } else { None }
    }

    fn check_invariants(&self) {
        self.cluster.check_invariants();
        self.session.check_invariants();
        self.fetcher.check_invariants();
    }

    fn digest(&self, into: &mut Digest) {
        self.cluster.digest(into);
        self.session.zk().digest(into);
        self.fetcher.digest(into);
    }

    fn view(&self) -> KafkaClientView {
        let mut view = super::client::view_of(self, &self.cluster, &self.image.topic, Some(self.session.zk().view()));
        view.positions = super::client::positions_of(&self.fetcher);
        view
    }
}
