//! What the controller told this broker about the cluster (UpdateMetadata): who is alive, who leads what (kafka-broker.md §4.15).
//!
//! The last request wins within the controller's epoch: there is no comparison of leader epochs here (App. B).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::messages::update_metadata_request::{UpdateMetadataBroker, UpdateMetadataPartitionState};
use kafkawire::messages::{self, UpdateMetadataRequest};
use kafkawire::{BrokerId, ControllerEpoch, Hosts, LeaderEpoch, Topic, TopicPartition};
use machine::{Address, Digest};
use serde::Serialize;

/// A broker that is alive, as the controller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AliveBroker {
    /// The host of its endpoint.
    pub host: Arc<str>,
    /// The port of its endpoint.
    pub port: i32,
    /// Its rack.
    pub rack: Option<Arc<str>>,
}

/// A partition's state, as the controller last sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionMetadata {
    /// The epoch of the controller that wrote the state.
    pub controller_epoch: ControllerEpoch,
    /// Who leads; nobody if none.
    pub leader: Option<BrokerId>,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// Who is in sync.
    pub isr: Vec<BrokerId>,
    /// The version of the `state` znode.
    pub zk_version: i32,
    /// Who is assigned.
    pub replicas: Vec<BrokerId>,
    /// Who of them is offline.
    pub offline_replicas: Vec<BrokerId>,
}

/// The metadata cache of a broker. A clone costs two reference counts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MetadataCache {
    /// The controller of the last request.
    pub controller: Option<BrokerId>,
    /// Who is alive.
    pub alive: Arc<BTreeMap<BrokerId, AliveBroker>>,
    /// Topics and their partitions; a topic that has none is not there.
    pub topics: Arc<BTreeMap<Topic, Arc<TopicMetadata>>>,
}

/// A topic's partitions, by index.
pub type TopicMetadata = BTreeMap<i32, Arc<PartitionMetadata>>;

/// The leader of a partition whose topic is being deleted (`LeaderDuringDelete`).
const LEADER_DURING_DELETE: i32 = -2;

impl MetadataCache {
    /// A partition's state.
    #[must_use]
    pub fn partition(&self, tp: &TopicPartition) -> Option<&PartitionMetadata> {
        self.topics.get(&tp.topic)?.get(&tp.partition).map(|partition| &**partition)
    }

    /// Whether a broker is alive, as far as this cache knows.
    #[must_use]
    pub fn is_alive(&self, broker: BrokerId) -> bool {
        self.alive.contains_key(&broker)
    }

    /// Where a broker that is alive listens; none if it is not, or nobody knows its host.
    #[must_use]
    pub fn address(&self, broker: BrokerId, hosts: &Hosts) -> Option<Address> {
        let alive = self.alive.get(&broker)?;
        hosts.resolve(&alive.host, alive.port)
    }

    /// Takes over what an UpdateMetadata says, which has passed the fences: its list of brokers is complete, its partitions are
    /// those that changed; one whose leader is −2 goes (§4.15).
    pub fn apply(&mut self, request: &UpdateMetadataRequest) {
        self.controller = Some(BrokerId(request.controller_id.0)).filter(|controller| controller.0 >= 0);
        let alive = request.live_brokers.iter().map(|broker| (BrokerId::from(broker.id), AliveBroker::of(broker)));
        let alive: BTreeMap<_, _> = alive.collect();
        if *self.alive != alive {
            self.alive = Arc::new(alive);
        }
        // Grouped by topic since version 5, each with its topic's name before.
        for topic in &request.topic_states {
            self.apply_topic(&Topic::from(&topic.topic_name), topic.partition_states.iter());
        }
        for state in &request.ungrouped_partition_states {
            self.apply_topic(&Topic::from(&state.topic_name), std::iter::once(state));
        }
    }

    fn apply_topic<'a>(&mut self, topic: &Topic, states: impl Iterator<Item = &'a UpdateMetadataPartitionState>) {
        let topics = Arc::make_mut(&mut self.topics);
        let partitions = Arc::make_mut(topics.entry(topic.clone()).or_default());
        for state in states {
            if state.leader.0 == LEADER_DURING_DELETE {
                partitions.remove(&state.partition_index);
            } else {
                partitions.insert(state.partition_index, Arc::new(PartitionMetadata::of(state)));
            }
        }
        if partitions.is_empty() {
            topics.remove(topic);
        }
    }

    /// Controller, counts, leaders and their epochs.
    pub fn digest(&self, into: &mut Digest) {
        into.signed(self.controller.map_or(-1, |controller| i64::from(controller.0)));
        for broker in self.alive.keys() {
            into.signed(i64::from(broker.0));
        }
        for (topic, partitions) in self.topics.iter() {
            into.text(topic.as_str());
            for (index, partition) in partitions.iter() {
                into.signed(i64::from(*index));
                into.signed(partition.leader.map_or(-1, |leader| i64::from(leader.0)));
                into.signed(i64::from(partition.leader_epoch.0));
            }
        }
    }
}

impl AliveBroker {
    fn of(broker: &UpdateMetadataBroker) -> Self {
        let (host, port) = match broker.endpoints.first() {
            Some(endpoint) => (endpoint.host.as_str(), endpoint.port),
            // Version 0 has no endpoints.
            None => (broker.v0_host.as_str(), broker.v0_port),
        };
        Self { host: Arc::from(host), port, rack: broker.rack.as_ref().map(|rack| Arc::from(rack.as_str())) }
    }
}

impl PartitionMetadata {
    fn of(state: &UpdateMetadataPartitionState) -> Self {
        let ids = |ids: &[messages::BrokerId]| ids.iter().map(|&id| BrokerId::from(id)).collect();
        Self {
            controller_epoch: ControllerEpoch(state.controller_epoch),
            leader: Some(BrokerId::from(state.leader)).filter(|leader| leader.0 >= 0),
            leader_epoch: LeaderEpoch(state.leader_epoch),
            isr: ids(&state.isr),
            zk_version: state.zk_version,
            replicas: ids(&state.replicas),
            offline_replicas: ids(&state.offline_replicas),
        }
    }
}

#[cfg(test)]
mod tests {
    use kafkawire::messages::update_metadata_request::{UpdateMetadataEndpoint, UpdateMetadataTopicState};
    use kafkawire::messages::{self, UpdateMetadataRequest};

    use super::*;

    fn state(index: i32, leader: i32, epoch: i32) -> UpdateMetadataPartitionState {
        UpdateMetadataPartitionState::default()
            .with_partition_index(index)
            .with_leader(messages::BrokerId(leader))
            .with_leader_epoch(epoch)
            .with_replicas(vec![messages::BrokerId(1), messages::BrokerId(2)])
    }

    fn broker(id: i32) -> UpdateMetadataBroker {
        let endpoint = UpdateMetadataEndpoint::default().with_host(format!("kafka-{id}").into()).with_port(9092);
        UpdateMetadataBroker::default().with_id(messages::BrokerId(id)).with_endpoints(vec![endpoint])
    }

    fn update(states: Vec<UpdateMetadataPartitionState>, alive: &[i32]) -> UpdateMetadataRequest {
        let topic =
            UpdateMetadataTopicState::default().with_topic_name(Topic::from("t").wire()).with_partition_states(states);
        UpdateMetadataRequest::default()
            .with_controller_id(messages::BrokerId(2))
            .with_topic_states(vec![topic])
            .with_live_brokers(alive.iter().map(|&id| broker(id)).collect())
    }

    #[test]
    fn partitions_are_merged_and_brokers_are_replaced() {
        let mut cache = MetadataCache::default();
        cache.apply(&update(vec![state(0, 1, 4), state(1, 2, 4)], &[1, 2]));
        cache.apply(&update(vec![state(1, -1, 5)], &[1]));
        let leader = |index| cache.partition(&TopicPartition::new("t", index)).map(|partition| partition.leader);
        assert_eq!(leader(0), Some(Some(BrokerId(1))));
        assert_eq!(leader(1), Some(None));
        assert!(cache.is_alive(BrokerId(1)));
        assert!(!cache.is_alive(BrokerId(2)), "the list of brokers is complete");
        assert_eq!(cache.controller, Some(BrokerId(2)));
    }

    #[test]
    fn last_request_wins_even_with_an_older_epoch() {
        let mut cache = MetadataCache::default();
        cache.apply(&update(vec![state(0, 1, 7)], &[1]));
        cache.apply(&update(vec![state(0, 2, 3)], &[1]));
        let partition = cache.partition(&TopicPartition::new("t", 0)).expect("it was never removed");
        assert_eq!((partition.leader, partition.leader_epoch), (Some(BrokerId(2)), LeaderEpoch(3)));
    }

    #[test]
    fn topic_goes_with_its_last_partition() {
        let mut cache = MetadataCache::default();
        cache.apply(&update(vec![state(0, 1, 0), state(1, 1, 0)], &[1]));
        cache.apply(&update(vec![state(0, -2, 0)], &[1]));
        assert!(cache.topics.contains_key("t"));
        cache.apply(&update(vec![state(1, -2, 0)], &[1]));
        assert!(!cache.topics.contains_key("t"));
    }
}
