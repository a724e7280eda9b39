//! What the controller remembers of ZooKeeper (kafka-broker.md §4.2), and the states of its two state machines.
//!
//! Tables are shared: a fork of the world costs a reference count, and the first change after it copies the one table it
//! touches, not the partitions in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafkawire::znode::{self, BrokerRegistration};
use kafkawire::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, Topic, TopicPartition};

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBroker {
    /// The host of its endpoint.
    pub host: Arc<str>,
    /// The port of its endpoint.
    pub port: i32,
    /// Its rack.
    pub rack: Option<Arc<str>>,
    /// The czxid of its registration.
    pub epoch: BrokerEpoch,
}

impl LiveBroker {
    pub(super) fn new(registration: &BrokerRegistration, epoch: BrokerEpoch) -> Self {
        Self { host: registration.host.clone(), port: registration.port, rack: registration.rack.clone(), epoch }
    }

    /// Whether both are reached in the same way.
    pub(super) fn has_endpoint_of(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }
}

/// Who leads a partition, as `state` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Who leads; nobody if none.
    pub leader: Option<BrokerId>,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// Who is in sync.
    pub isr: Arc<[BrokerId]>,
    /// The version of the `state` znode.
    pub partition_epoch: PartitionEpoch,
    /// The epoch of the controller that wrote it, or that has made it its own.
    pub controller_epoch: ControllerEpoch,
}

impl Leadership {
    pub(super) fn read(state: &znode::PartitionState, version: i32) -> Self {
        Self {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr.as_slice().into(),
            partition_epoch: PartitionEpoch(version),
            controller_epoch: state.controller_epoch,
        }
    }

    pub(super) fn written(&self) -> znode::PartitionState {
        znode::PartitionState {
            controller_epoch: self.controller_epoch,
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            isr: self.isr.to_vec(),
        }
    }

    /// The next leadership (`newLeaderAndIsr`): the epoch moves on even if the leader stays.
    pub(super) fn next(&self, leader: Option<BrokerId>, isr: impl Into<Arc<[BrokerId]>>) -> Self {
        Self { leader, isr: isr.into(), leader_epoch: LeaderEpoch(self.leader_epoch.0 + 1), ..self.clone() }
    }
}

/// The state of a partition (§4.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PartitionState {
    /// It was not heard of.
    NonExistent,
    /// It has replicas, and no leader ever.
    New,
    /// It has a leader that is alive.
    Online,
    /// Its leader is gone.
    Offline,
}

impl PartitionState {
    pub(super) const fn may_become(self, target: Self) -> bool {
        match target {
            Self::New => matches!(self, Self::NonExistent),
            Self::Online | Self::Offline => matches!(self, Self::New | Self::Online | Self::Offline),
            Self::NonExistent => matches!(self, Self::Offline),
        }
    }
}

/// The state of a replica (§4.4). Those on the way of a deletion are absent, as is deletion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ReplicaState {
    /// It was not heard of.
    NonExistent,
    /// Its partition is being created.
    New,
    /// It has been told what to do.
    Online,
    /// Its broker is gone, or stops.
    Offline,
    /// It was not alive when the controller took office.
    DeletionIneligible,
}

impl ReplicaState {
    pub(super) const fn may_become(self, target: Self) -> bool {
        match target {
            Self::New => matches!(self, Self::NonExistent),
            Self::Online | Self::Offline => {
                matches!(self, Self::New | Self::Online | Self::Offline | Self::DeletionIneligible)
            }
            Self::DeletionIneligible => matches!(self, Self::Offline),
            Self::NonExistent => false,
        }
    }
}

/// What the controller knows of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionContext {
    /// Who is assigned, the preferred leader first.
    pub assignment: Arc<[BrokerId]>,
    /// Who leads, as far as it was read or written.
    pub leadership: Option<Leadership>,
    /// Its state.
    pub state: PartitionState,
    replicas: Vec<(BrokerId, ReplicaState)>,
}

impl PartitionContext {
    fn new(assignment: Arc<[BrokerId]>) -> Self {
        Self { assignment, leadership: None, state: PartitionState::NonExistent, replicas: Vec::new() }
    }

    /// The state of a replica.
    #[must_use]
    pub fn replica(&self, broker: BrokerId) -> ReplicaState {
        let known = self.replicas.iter().find(|(replica, _)| *replica == broker);
        known.map_or(ReplicaState::NonExistent, |(_, state)| *state)
    }

    pub(super) fn put_replica(&mut self, broker: BrokerId, state: ReplicaState) {
        match self.replicas.iter_mut().find(|(replica, _)| *replica == broker) {
            Some(known) => known.1 = state,
            None => self.replicas.push((broker, state)),
        }
    }

    fn leader(&self) -> Option<BrokerId> {
        self.leadership.as_ref().and_then(|leadership| leadership.leader)
    }
}

type Partitions = BTreeMap<i32, Arc<PartitionContext>>;

/// The controller's memory; empty unless it is active.
#[derive(Clone, Debug, Default)]
pub struct ControllerContext {
    pub(super) epoch: ControllerEpoch,
    /// The zkVersion of `/controller_epoch`, which every fenced write demands.
    pub(super) epoch_version: i32,
    live: Arc<BTreeMap<BrokerId, LiveBroker>>,
    shutting_down: BTreeSet<BrokerId>,
    topics: Arc<BTreeMap<Topic, Arc<Partitions>>>,
}

impl ControllerContext {
    /// The epoch it was elected in; 0 if it is not active.
    #[must_use]
    pub const fn epoch(&self) -> ControllerEpoch {
        self.epoch
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.epoch == ControllerEpoch(0)
            && self.live.is_empty()
            && self.shutting_down.is_empty()
            && self.topics.is_empty()
    }

    /// The registered brokers, those that shut down included.
    #[must_use]
    pub fn live_brokers(&self) -> &BTreeMap<BrokerId, LiveBroker> {
        &self.live
    }

    /// Their ids (`liveOrShuttingDownBrokerIds`).
    pub fn live_ids(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.live.keys().copied()
    }

    /// Whether a broker has asked for a controlled shutdown and is still registered.
    #[must_use]
    pub fn is_shutting_down(&self, broker: BrokerId) -> bool {
        self.shutting_down.contains(&broker)
    }

    /// Whether a replica on this broker may lead (`isReplicaOnline`): alive and not shutting down.
    #[must_use]
    pub fn is_online(&self, broker: BrokerId) -> bool {
        self.live.contains_key(&broker) && !self.shutting_down.contains(&broker)
    }

    /// The broker epoch of a registered broker.
    #[must_use]
    pub fn broker_epoch(&self, broker: BrokerId) -> Option<BrokerEpoch> {
        self.live.get(&broker).map(|live| live.epoch)
    }

    /// The topics, with or without partitions.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> + '_ {
        self.topics.keys()
    }

    /// Whether a topic is known.
    #[must_use]
    pub fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// A partition.
    #[must_use]
    pub fn partition(&self, tp: &TopicPartition) -> Option<&PartitionContext> {
        self.topics.get(&tp.topic)?.get(&tp.partition).map(Arc::as_ref)
    }

    /// Every partition, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionContext)> + '_ {
        self.topics.iter().flat_map(|(topic, partitions)| {
            let named = |index| TopicPartition { topic: topic.clone(), partition: index };
            partitions.iter().map(move |(&index, partition)| (named(index), partition.as_ref()))
        })
    }

    /// How many partitions are known.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.topics.values().map(|partitions| partitions.len()).sum()
    }

    /// Who leads a partition, as far as it is known.
    #[must_use]
    pub fn leadership(&self, tp: &TopicPartition) -> Option<&Leadership> {
        self.partition(tp)?.leadership.as_ref()
    }

    pub(super) fn assignment(&self, tp: &TopicPartition) -> Arc<[BrokerId]> {
        self.partition(tp).map_or_else(|| Arc::from([]), |partition| partition.assignment.clone())
    }

    fn where_partition(&self, holds: impl Fn(&PartitionContext) -> bool) -> Vec<TopicPartition> {
        self.partitions().filter(|(_, partition)| holds(partition)).map(|(tp, _)| tp).collect()
    }

    /// `partitionsInStates(New, Offline)`.
    pub(super) fn without_leader(&self) -> Vec<TopicPartition> {
        self.where_partition(|partition| match partition.state {
            PartitionState::New | PartitionState::Offline => true,
            PartitionState::Online | PartitionState::NonExistent => false,
        })
    }

    /// `partitionsWithLeaders`: with leadership information, a leader or none.
    pub(super) fn with_leadership(&self) -> Vec<TopicPartition> {
        self.where_partition(|partition| partition.leadership.is_some())
    }

    /// `partitionsWithOfflineLeader`: a leader that shuts down counts as offline.
    pub(super) fn with_offline_leader(&self) -> Vec<TopicPartition> {
        self.where_partition(|partition| {
            let leads = |leadership: &Leadership| leadership.leader.is_some_and(|leader| self.is_online(leader));
            partition.leadership.as_ref().is_some_and(|leadership| !leads(leadership))
        })
    }

    /// `partitionsOnBroker`.
    pub(super) fn on_broker(&self, broker: BrokerId) -> Vec<TopicPartition> {
        self.where_partition(|partition| partition.assignment.contains(&broker))
    }

    /// Partitions with more than one replica that a broker leads: what a controlled shutdown leaves undone.
    pub(super) fn led_by(&self, broker: BrokerId) -> Vec<TopicPartition> {
        self.where_partition(|partition| partition.leader() == Some(broker) && partition.assignment.len() > 1)
    }

    /// `replicasOnBrokers`, by broker.
    pub(super) fn replicas_on(&self, brokers: &BTreeSet<BrokerId>) -> Replicas {
        self.replicas_where(|broker| brokers.contains(&broker))
    }

    /// Every assigned replica whose broker is, or is not, online.
    pub(super) fn replicas_online(&self, online: bool) -> Replicas {
        self.replicas_where(|broker| self.is_online(broker) == online)
    }

    fn replicas_where(&self, holds: impl Fn(BrokerId) -> bool) -> Replicas {
        let mut replicas = Replicas::new();
        for (tp, partition) in self.partitions() {
            for &broker in partition.assignment.iter().filter(|&&broker| holds(broker)) {
                replicas.entry(broker).or_default().push(tp.clone());
            }
        }
        replicas
    }

    /// `replicasForPartition`.
    pub(super) fn replicas_of(&self, partitions: &[TopicPartition]) -> Replicas {
        let mut replicas = Replicas::new();
        for tp in partitions {
            for &broker in self.assignment(tp).iter() {
                replicas.entry(broker).or_default().push(tp.clone());
            }
        }
        replicas
    }

    pub(super) fn put_live(&mut self, broker: BrokerId, live: LiveBroker) {
        Arc::make_mut(&mut self.live).insert(broker, live);
    }

    pub(super) fn remove_live(&mut self, broker: BrokerId) {
        Arc::make_mut(&mut self.live).remove(&broker);
    }

    pub(super) fn put_shutting_down(&mut self, broker: BrokerId) {
        self.shutting_down.insert(broker);
    }

    pub(super) fn remove_shutting_down(&mut self, broker: BrokerId) {
        self.shutting_down.remove(&broker);
    }

    pub(super) fn put_topic(&mut self, topic: Topic) {
        Arc::make_mut(&mut self.topics).entry(topic).or_default();
    }

    /// Forgets a topic, its partitions and their states.
    pub(super) fn remove_topic(&mut self, topic: &str) {
        Arc::make_mut(&mut self.topics).remove(topic);
    }

    /// Takes up the partitions of a topic that are not known yet; returns them.
    pub(super) fn put_assignment(
        &mut self,
        topic: &Topic,
        assigned: &BTreeMap<i32, Vec<BrokerId>>,
    ) -> Vec<TopicPartition> {
        let partitions = Arc::make_mut(&mut self.topics).entry(topic.clone()).or_default();
        let partitions = Arc::make_mut(partitions);
        let mut added = Vec::new();
        for (&index, replicas) in assigned {
            if let std::collections::btree_map::Entry::Vacant(vacant) = partitions.entry(index) {
                vacant.insert(Arc::new(PartitionContext::new(replicas.as_slice().into())));
                added.push(TopicPartition { topic: topic.clone(), partition: index });
            }
        }
        added
    }

    /// A partition, to be changed; none if it is not known.
    pub(super) fn partition_mut(&mut self, tp: &TopicPartition) -> Option<&mut PartitionContext> {
        let partitions = Arc::make_mut(&mut self.topics).get_mut(&tp.topic)?;
        Arc::make_mut(partitions).get_mut(&tp.partition).map(Arc::make_mut)
    }

    pub(super) fn check_invariants(&self) {
        for broker in &self.shutting_down {
            assert!(self.live.contains_key(broker), "broker {broker} shuts down and is not registered");
        }
        for (tp, partition) in self.partitions() {
            let Some(leadership) = &partition.leadership else {
                assert_ne!(partition.state, PartitionState::Online, "{tp} is online without leadership");
                continue;
            };
            assert!(!leadership.isr.is_empty(), "{tp} has an empty ISR");
            if let Some(leader) = leadership.leader {
                assert!(leadership.isr.contains(&leader), "{tp}: the leader {leader} is not in {:?}", leadership.isr);
            }
        }
    }
}

/// Replicas by their broker.
pub(super) type Replicas = BTreeMap<BrokerId, Vec<TopicPartition>>;
