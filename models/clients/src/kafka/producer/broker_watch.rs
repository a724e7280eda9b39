//! Brokers and partitions as a producer sees them that watches ZooKeeper: the producer of 0.7 on this era's znodes
//! (kafka-broker.md §8.4).
//!
//! It keeps a child watch on `/brokers/ids` and data watches on the topic and its partitions' `state`. Everything it knows comes
//! from there; it asks no broker. A watch that fired is set again by the read that follows, so what changed in between is seen by
//! that read; in a new session everything is read again, and until then what was known is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::op::ErrorCode;
use kafkawire::znode::{self, BrokerRegistration, PartitionState, TopicAssignment, Znode};
use kafkawire::{BrokerId, Topic, TopicPartition};
use machine::{Address, InputOf, Io};
use zkclient::{ZkClient, ZkClientConfig};

use crate::kafka::KafkaClient;
use crate::kafka::metadata::LeaderAndEpoch;
use crate::kafka::session::{Answer, Session, Told, Watch};

/// What is read, and again whenever its watch fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The registered brokers.
    BrokerIds,
    /// One's registration; it is not watched, as a broker that moves registers anew.
    Broker(BrokerId),
    /// The topic's partitions.
    Topic,
    /// Whether the topic is there.
    TopicExists,
    /// A partition's leader.
    State(i32),
    /// Whether a partition has a state.
    StateExists(i32),
}

/// What a watching producer knows.
#[derive(Clone, Debug)]
pub(crate) struct BrokerWatch {
    topic: Topic,
    pub(crate) session: Session<Read>,
    /// Registered brokers; those whose registration is not read yet have no address.
    brokers: BTreeMap<BrokerId, Option<Arc<BrokerRegistration>>>,
    partitions: Option<BTreeSet<i32>>,
    leaders: BTreeMap<i32, LeaderAndEpoch>,
}

impl BrokerWatch {
    pub(crate) fn start(topic: Topic, config: &Arc<ZkClientConfig>, io: &mut Io<'_, KafkaClient>) -> Self {
        let mut watch = Self {
            topic,
            session: Session::start(config, io),
            brokers: BTreeMap::new(),
            partitions: None,
            leaders: BTreeMap::new(),
        };
        watch.read_everything(io);
        watch
    }

    fn read_everything(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.read(Read::BrokerIds, io);
        self.read(Read::Topic, io);
        for partition in self.partitions.clone().into_iter().flatten() {
            self.read(Read::State(partition), io);
        }
    }

    fn read(&mut self, what: Read, io: &mut Io<'_, KafkaClient>) {
        let state_of = |partition| znode::partition_state(&TopicPartition::new(self.topic.clone(), partition));
        match what {
            Read::BrokerIds => self.session.children(what, znode::BROKERS_IDS.to_owned(), Watch::Set, io),
            Read::Broker(broker) => self.session.data(what, znode::broker_id(broker), Watch::None, io),
            Read::Topic => self.session.data(what, znode::topic(&self.topic), Watch::Set, io),
            Read::TopicExists => self.session.watch_for(what, znode::topic(&self.topic), io),
            Read::State(partition) => self.session.data(what, state_of(partition), Watch::Set, io),
            Read::StateExists(partition) => self.session.watch_for(what, state_of(partition), io),
        }
    }

    /// Feeds the session; returns whether anything changed.
    pub(crate) fn handle(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>) -> bool {
        let mut changed = false;
        for told in self.session.handle(input, io) {
            match told {
                Told::Connected { .. } | Told::Closed => {}
                Told::Expired => self.read_everything(io),
                Told::Answered { purpose, answer } => changed |= self.on_answer(purpose, answer, io),
                Told::Watched(event) => match Znode::of(&event.path) {
                    Some(Znode::BrokerIds) => self.read(Read::BrokerIds, io),
                    Some(Znode::Topic(_)) => self.read(Read::Topic, io),
                    Some(Znode::PartitionState(at)) => self.read(Read::State(at.partition), io),
                    Some(_) | None => panic!("a watch on {} was never set", event.path),
                },
            }
        }
        changed
    }

    fn on_answer(&mut self, read: Read, answer: Answer, io: &mut Io<'_, KafkaClient>) -> bool {
        match (read, answer) {
            // The next server is asked, in the next session if it must be: there everything is read again anyway, and twice
            // does no harm.
            (_, Answer::Lost) => {
                self.read(read, io);
                false
            }
            (Read::BrokerIds, Answer::Children(names)) => self.on_broker_ids(&names, io),
            (Read::Broker(broker), Answer::Data { data, .. }) => {
                let registration = BrokerRegistration::decode(&data).expect("brokers write registrations");
                let Some(known) = self.brokers.get_mut(&broker) else { return false };
                *known = Some(Arc::new(registration));
                true
            }
            // It left between the two reads; the watch on the ids says so as well.
            (Read::Broker(broker), Answer::Refused(ErrorCode::NoNode)) => self.brokers.remove(&broker).is_some(),
            (Read::Topic, Answer::Data { data, .. }) => self.on_topic(&data, io),
            (Read::Topic, Answer::Refused(ErrorCode::NoNode)) => {
                self.read(Read::TopicExists, io);
                self.partitions.take().is_some()
            }
            (Read::State(partition), Answer::Data { data, .. }) => {
                let state = PartitionState::decode(&data).expect("controllers and leaders write states");
                let leader = LeaderAndEpoch { leader: state.leader, epoch: Some(state.leader_epoch) };
                self.leaders.insert(partition, leader) != Some(leader)
            }
            (Read::State(partition), Answer::Refused(ErrorCode::NoNode)) => {
                self.read(Read::StateExists(partition), io);
                self.leaders.remove(&partition).is_some()
            }
            // It came between the two reads.
            (Read::TopicExists, Answer::Done) => {
                self.read(Read::Topic, io);
                false
            }
            (Read::StateExists(partition), Answer::Done) => {
                self.read(Read::State(partition), io);
                false
            }
            (Read::TopicExists | Read::StateExists(_), Answer::Refused(ErrorCode::NoNode)) => false,
            // The first broker of all creates the parent.
            (Read::BrokerIds, Answer::Refused(ErrorCode::NoNode)) => {
                self.read(Read::BrokerIds, io);
                false
            }
            (read, answer) => panic!("{read:?} is answered by {answer:?}"),
        }
    }

    fn on_broker_ids(&mut self, names: &[String], io: &mut Io<'_, KafkaClient>) -> bool {
        let ids: BTreeSet<BrokerId> = names.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
        let before = self.brokers.len();
        self.brokers.retain(|id, _| ids.contains(id));
        let mut changed = self.brokers.len() < before;
        for id in ids {
            // Who is known may have registered anew under another address.
            changed |= self.brokers.insert(id, self.brokers.get(&id).cloned().flatten()).is_none();
            self.read(Read::Broker(id), io);
        }
        changed
    }

    fn on_topic(&mut self, data: &[u8], io: &mut Io<'_, KafkaClient>) -> bool {
        let assignment = TopicAssignment::decode(data).expect("whoever creates a topic writes its assignment");
        let partitions: BTreeSet<i32> = assignment.partitions.into_keys().collect();
        let before = self.partitions.replace(partitions.clone()).unwrap_or_default();
        for &partition in partitions.difference(&before) {
            self.read(Read::State(partition), io);
        }
        partitions != before
    }

    /// The brokers that are registered.
    pub(crate) fn broker_ids(&self) -> impl Iterator<Item = BrokerId> {
        self.brokers.keys().copied()
    }

    /// Where they are, as far as that is known.
    pub(crate) fn addresses(&self, hosts: &kafkawire::Hosts) -> BTreeMap<BrokerId, Address> {
        let registered = self.brokers.iter().filter_map(|(&id, registration)| Some((id, registration.as_ref()?)));
        registered.filter_map(|(id, at)| Some((id, hosts.resolve(&at.host, at.port)?))).collect()
    }

    /// Who leads the topic's partitions: those without a leader that is registered have none.
    pub(crate) fn leaders(&self) -> BTreeMap<i32, LeaderAndEpoch> {
        let is_there = |known: &LeaderAndEpoch| known.leader.is_some_and(|leader| self.brokers.contains_key(&leader));
        let partitions = self.partitions.iter().flatten();
        let leader_of = |partition| self.leaders.get(partition).copied().filter(is_there).unwrap_or_default();
        partitions.map(|partition| (*partition, leader_of(partition))).collect()
    }
}
