//! What a newly elected controller does before it acts, in fifteen steps (kafka-broker.md §4.3). The order is observable.
//!
//! ISR notifications are deleted *before* the states are read, so that what they would have told is read anyway. The steps
//! run in the event that elected; what happens meanwhile queues behind it.

use std::collections::BTreeMap;

use kafkawire::znode::{
    self, BROKERS_IDS, BROKERS_TOPICS, BrokerRegistration, ISR_CHANGE_NOTIFICATION, LOG_DIR_EVENT_NOTIFICATION,
    TopicAssignment,
};
use kafkawire::{BrokerId, Topic, TopicPartition};
use machine::Span;

use crate::cx::{Ask, Cx};
use crate::fact::KafkaFact;
use crate::zookeeper::{ZkRequest, ZkResult, ZnodeHandler};

use super::context::{Leadership, LiveBroker, PartitionState, ReplicaState};
use super::partition_machine::PartitionStep;
use super::replica_machine::ReplicaStep;
use super::step::{Done, Failure};
use super::{Controller, fence, read};

/// How long after a failover preferred leaders are first looked at.
const FIRST_REBALANCE: Span = Span::secs(5);

/// A step of a failover. The numbers are the reference's.
#[derive(Clone, Debug)]
pub(super) enum FailoverStep {
    /// 1–3: features are deferred, and so are the handlers of topic deletions, log directories, preferred elections and
    /// reassignments asked for in ZooKeeper; registers the child handlers of brokers, topics and ISR notifications.
    Begin,
    /// 4: log-directory notifications were listed; deletes them.
    LogDirEventsListed,
    /// They are deleted. 5: lists ISR notifications.
    LogDirEventsDeleted,
    /// They were listed; deletes them.
    IsrChangesListed,
    /// They are deleted. 6: lists brokers.
    IsrChangesDeleted,
    /// Brokers were listed; reads them.
    BrokersListed,
    /// Brokers were read. Lists topics.
    BrokersRead(Vec<BrokerId>),
    /// Topics were listed; reads their assignments.
    TopicsListed,
    /// Assignments were read.
    AssignmentsRead(Vec<Topic>),
    /// Registers the data handlers of brokers, one after the other.
    WatchBrokers(Vec<BrokerId>),
    /// One is registered.
    BrokerWatched(Vec<BrokerId>),
    /// Reads the states of all partitions.
    ReadStates,
    /// They were read. Starts the channels.
    StatesRead(Vec<TopicPartition>),
    /// 7, 8 are of topic deletion. 9: tells all live brokers of all live brokers (KAFKA-4443).
    TellBrokers,
    /// 10: the replica state machine: who is online is told so, who is not is removed from ISRs.
    StartReplicas,
    /// The second half of 10.
    StartOfflineReplicas,
    /// 11: the partition state machine: who has no leader gets one.
    StartPartitions,
    /// 12–14 are of reassignment, deletion and elections asked for in ZooKeeper. 15: the timer.
    Ready,
}

impl Controller {
    pub(super) fn run_failover(&mut self, step: FailoverStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            FailoverStep::Begin => {
                for parent in [BROKERS_IDS, BROKERS_TOPICS, ISR_CHANGE_NOTIFICATION] {
                    cx.ask(Ask::Watch(ZnodeHandler::Children(parent.to_owned())));
                }
                self.list(LOG_DIR_EVENT_NOTIFICATION, FailoverStep::LogDirEventsListed, cx);
            }
            FailoverStep::LogDirEventsListed => {
                self.delete_listed(LOG_DIR_EVENT_NOTIFICATION, FailoverStep::LogDirEventsDeleted, cx)?;
            }
            FailoverStep::LogDirEventsDeleted => {
                self.unfenced(cx)?;
                self.list(ISR_CHANGE_NOTIFICATION, FailoverStep::IsrChangesListed, cx);
            }
            FailoverStep::IsrChangesListed => {
                self.delete_listed(ISR_CHANGE_NOTIFICATION, FailoverStep::IsrChangesDeleted, cx)?;
            }
            FailoverStep::IsrChangesDeleted => {
                self.unfenced(cx)?;
                self.list(BROKERS_IDS, FailoverStep::BrokersListed, cx);
            }
            FailoverStep::BrokersListed => {
                let brokers = broker_ids(&read::only(self.take_results()))?;
                self.ask(broker_reads(&brokers), FailoverStep::BrokersRead(brokers), cx);
            }
            FailoverStep::BrokersRead(brokers) => {
                let results = self.take_results();
                for (broker, live) in brokers_read(&brokers, &results)? {
                    self.context.put_live(broker, live);
                }
                self.list(BROKERS_TOPICS, FailoverStep::TopicsListed, cx);
            }
            FailoverStep::TopicsListed => {
                let topics = topics_listed(&read::only(self.take_results()))?;
                self.watch_topics(&topics, cx);
                self.ask(topic_reads(&topics), FailoverStep::AssignmentsRead(topics), cx);
            }
            FailoverStep::AssignmentsRead(topics) => {
                let results = self.take_results();
                for (topic, assigned) in assignments_read(&topics, &results)? {
                    self.context.put_assignment(&topic, &assigned.partitions);
                }
                let live: Vec<BrokerId> = self.context.live_ids().collect();
                self.then(FailoverStep::ReadStates);
                self.then(FailoverStep::WatchBrokers(live));
            }
            FailoverStep::WatchBrokers(brokers) => self.watch_brokers(brokers, cx),
            FailoverStep::BrokerWatched(rest) => {
                read::exists(&read::only(self.take_results()))?;
                self.watch_brokers(rest, cx);
            }
            FailoverStep::ReadStates => {
                let partitions: Vec<TopicPartition> = self.context.partitions().map(|(tp, _)| tp).collect();
                self.ask(state_reads(&partitions), FailoverStep::StatesRead(partitions), cx);
            }
            FailoverStep::StatesRead(partitions) => {
                self.take_states(&partitions)?;
                self.channels.start(&self.context, cx);
                self.then(FailoverStep::Ready);
                self.then(FailoverStep::StartPartitions);
                self.then(FailoverStep::StartReplicas);
                self.then(FailoverStep::TellBrokers);
            }
            FailoverStep::TellBrokers => {
                let live: Vec<BrokerId> = self.context.live_ids().collect();
                self.send_update_metadata(&live, &[], cx);
            }
            FailoverStep::StartReplicas => {
                self.initialise_replicas();
                self.then(FailoverStep::StartOfflineReplicas);
                let online = self.context.replicas_online(true);
                self.then(ReplicaStep::Change { replicas: online, target: ReplicaState::Online });
            }
            FailoverStep::StartOfflineReplicas => {
                let offline = self.context.replicas_online(false);
                self.then(ReplicaStep::Change { replicas: offline, target: ReplicaState::Offline });
            }
            FailoverStep::StartPartitions => {
                self.initialise_partitions();
                self.then(PartitionStep::TriggerOnline);
            }
            FailoverStep::Ready => {
                if cx.config().auto_leader_rebalance_enable {
                    self.rebalance_at = Some(cx.io.now().saturating_add(FIRST_REBALANCE));
                }
                let partitions = self.context.partition_count() as u64;
                cx.io.state(KafkaFact::ControllerReady { broker: cx.broker(), epoch: self.context.epoch, partitions });
            }
        }
        Ok(())
    }

    /// Lists children, with a watch if their handler is registered.
    pub(super) fn list(&mut self, parent: &str, then: impl Into<super::step::Step>, cx: &mut Cx<'_, '_>) {
        self.ask(vec![ZkRequest::GetChildren { path: parent.to_owned(), watch: true }], then, cx);
    }

    fn delete_listed(&mut self, parent: &str, then: FailoverStep, cx: &mut Cx<'_, '_>) -> Done {
        let names = read::children(&read::only(self.take_results()))?;
        let deletes = names.iter().map(|name| fence::delete(format!("{parent}/{name}")));
        let deletes = self.fenced(deletes, cx);
        self.ask(deletes, then, cx);
        Ok(())
    }

    /// Registers the data handlers of topics; the read of their assignments sets the watches.
    pub(super) fn watch_topics(&mut self, topics: &[Topic], cx: &mut Cx<'_, '_>) {
        for topic in topics {
            self.context.put_topic(topic.clone());
            cx.ask(Ask::Watch(ZnodeHandler::Data(znode::topic(topic))));
        }
    }

    /// `registerZNodeChangeHandlerAndCheckExistence`, a broker at a time.
    pub(super) fn watch_brokers(&mut self, mut brokers: Vec<BrokerId>, cx: &mut Cx<'_, '_>) {
        if brokers.is_empty() {
            return;
        }
        let path = znode::broker_id(brokers.remove(0));
        cx.ask(Ask::Watch(ZnodeHandler::Data(path.clone())));
        self.ask(vec![ZkRequest::Exists { path }], FailoverStep::BrokerWatched(brokers), cx);
    }

    /// `updateLeaderAndIsrCache`: remembers the states that are there, with the epochs of who wrote them.
    pub(super) fn take_states(&mut self, partitions: &[TopicPartition]) -> Done {
        for (tp, result) in partitions.iter().zip(self.take_results()) {
            let Some((data, stat)) = read::data(&result)? else { continue };
            let Ok(state) = znode::PartitionState::decode(data) else { continue };
            if let Some(partition) = self.context.partition_mut(tp) {
                partition.leadership = Some(Leadership::read(&state, stat.version.value()));
            }
        }
        Ok(())
    }

    fn initialise_replicas(&mut self) {
        for (broker, partitions) in self.context.replicas_online(true) {
            self.put_replica_states(broker, &partitions, ReplicaState::Online);
        }
        for (broker, partitions) in self.context.replicas_online(false) {
            self.put_replica_states(broker, &partitions, ReplicaState::DeletionIneligible);
        }
    }

    fn put_replica_states(&mut self, broker: BrokerId, partitions: &[TopicPartition], state: ReplicaState) {
        for tp in partitions {
            self.context.partition_mut(tp).expect("it was listed from the context").put_replica(broker, state);
        }
    }

    fn initialise_partitions(&mut self) {
        let states: Vec<(TopicPartition, PartitionState)> = self
            .context
            .partitions()
            .map(|(tp, partition)| {
                let state = match &partition.leadership {
                    None => PartitionState::New,
                    Some(Leadership { leader: Some(leader), .. }) if self.context.is_online(*leader) => {
                        PartitionState::Online
                    }
                    Some(_) => PartitionState::Offline,
                };
                (tp, state)
            })
            .collect();
        for (tp, state) in states {
            self.context.partition_mut(&tp).expect("it was listed from the context").state = state;
        }
    }
}

/// The ids of a listing of `/brokers/ids`.
pub(super) fn broker_ids(listing: &ZkResult) -> Result<Vec<BrokerId>, Failure> {
    let names = read::children(listing)?;
    let mut ids: Vec<BrokerId> = names.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The reads of brokers' registrations.
pub(super) fn broker_reads(brokers: &[BrokerId]) -> Vec<ZkRequest> {
    brokers.iter().map(|&broker| ZkRequest::GetData { path: znode::broker_id(broker) }).collect()
}

/// The brokers that were still there when they were read: the one source of who is alive (KAFKA-3085).
pub(super) fn brokers_read(
    brokers: &[BrokerId],
    results: &[ZkResult],
) -> Result<BTreeMap<BrokerId, LiveBroker>, Failure> {
    let mut live = BTreeMap::new();
    for (&broker, result) in brokers.iter().zip(results) {
        if let Some((data, stat)) = read::data(result)? {
            let registration = BrokerRegistration::decode(data)?;
            live.insert(broker, LiveBroker::new(&registration, read::epoch_of(stat.czxid)));
        }
    }
    Ok(live)
}

/// The topics of a listing of `/brokers/topics`.
pub(super) fn topics_listed(listing: &ZkResult) -> Result<Vec<Topic>, Failure> {
    Ok(read::children(listing)?.iter().map(|name| Topic::from(name.as_str())).collect())
}

/// The reads of topics' assignments.
pub(super) fn topic_reads(topics: &[Topic]) -> Vec<ZkRequest> {
    topics.iter().map(|topic| ZkRequest::GetData { path: znode::topic(topic) }).collect()
}

/// The assignments of the topics that are there.
pub(super) fn assignments_read(
    topics: &[Topic],
    results: &[ZkResult],
) -> Result<Vec<(Topic, TopicAssignment)>, Failure> {
    let mut assignments = Vec::new();
    for (topic, result) in topics.iter().zip(results) {
        if let Some((data, _)) = read::data(result)? {
            // What is no assignment assigns nothing.
            assignments.push((topic.clone(), TopicAssignment::decode(data).unwrap_or_default()));
        }
    }
    Ok(assignments)
}

/// The reads of partitions' states.
pub(super) fn state_reads(partitions: &[TopicPartition]) -> Vec<ZkRequest> {
    partitions.iter().map(|tp| ZkRequest::GetData { path: znode::partition_state(tp) }).collect()
}
