//! What a client knows of the cluster (kafka-broker.md §8.1): brokers, the controller, leaders.
//!
//! The rule to know: **a partition's leader is believed only if its epoch is not older than the newest one seen**, because
//! brokers' own caches compare nothing (appendix B), and a broker that lags would send clients back to a leader of the past.

use std::collections::BTreeMap;

use kafkawire::messages::MetadataResponse;
use kafkawire::{BrokerId, ErrorCode, Hosts, LeaderEpoch, Topic, TopicPartition};
use machine::{Address, Digest};

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct LeaderAndEpoch {
    /// Nobody, or nobody knows.
    pub(crate) leader: Option<BrokerId>,
    /// None from who does not say one.
    pub(crate) epoch: Option<LeaderEpoch>,
}

/// What came of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Updated {
    /// Something is missing or in motion: ask again behind the backoff.
    pub(crate) ask_again: bool,
    /// A leader of the past was named and not believed.
    pub(crate) was_stale: bool,
}

/// What a client knows of the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    brokers: BTreeMap<BrokerId, Address>,
    controller: Option<BrokerId>,
    topics: BTreeMap<Topic, BTreeMap<i32, LeaderAndEpoch>>,
    /// The newest epoch anybody named, kept although the topic may vanish from a response.
    newest: BTreeMap<TopicPartition, LeaderEpoch>,
    /// How often brokers and leaders were learned, for whoever keeps something that follows from them.
    version: u64,
}

impl Metadata {
    /// Another one whenever brokers or leaders may be others than before.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) const fn brokers(&self) -> &BTreeMap<BrokerId, Address> {
        &self.brokers
    }

    pub(crate) const fn controller(&self) -> Option<BrokerId> {
        self.controller
    }

    /// The partitions of a topic with their leaders; none if the topic is not known.
    pub(crate) fn topic(&self, topic: &Topic) -> Option<&BTreeMap<i32, LeaderAndEpoch>> {
        self.topics.get(topic)
    }

    pub(crate) fn leader(&self, topic: &Topic, partition: i32) -> LeaderAndEpoch {
        self.topics.get(topic).and_then(|partitions| partitions.get(&partition)).copied().unwrap_or_default()
    }

    /// Brokers and leaders as ZooKeeper names them, from who does not ask brokers.
    pub(crate) fn learn(
        &mut self,
        brokers: BTreeMap<BrokerId, Address>,
        topic: &Topic,
        leaders: BTreeMap<i32, LeaderAndEpoch>,
    ) {
        self.version += 1;
        self.brokers = brokers;
        self.topics.insert(topic.clone(), leaders);
    }

    /// Somebody named an epoch; returns whether it is newer than what was known, so that metadata must be refreshed
    /// (`updateLastSeenEpochIfNewer`).
    pub(crate) fn see_epoch(&mut self, topic: &Topic, partition: i32, epoch: LeaderEpoch) -> bool {
        let newest = self.newest.entry(TopicPartition::new(topic.clone(), partition)).or_insert(epoch);
        let is_newer = *newest < epoch;
        *newest = epoch.max(*newest);
        is_newer
    }

    /// Takes a response that names at least one broker.
    pub(crate) fn update(&mut self, response: &MetadataResponse, hosts: &Hosts) -> Updated {
        assert!(!response.brokers.is_empty(), "a response without brokers is not believed");
        self.version += 1;
        let mut updated = Updated::default();
        let resolved = response.brokers.iter().filter_map(|broker| {
            let address = hosts.resolve(&broker.host, broker.port)?;
            Some((BrokerId::from(broker.node_id), address))
        });
        self.brokers = resolved.collect();
        self.controller = Some(BrokerId::from(response.controller_id)).filter(|id| self.brokers.contains_key(id));
        let before = std::mem::take(&mut self.topics);
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref().map(Topic::from) else { continue };
            if topic.error_code != 0 {
                updated.ask_again |= is_invalid_metadata(topic.error_code);
                continue;
            }
            let mut partitions = BTreeMap::new();
            for partition in &topic.partitions {
                updated.ask_again |= is_invalid_metadata(partition.error_code);
                let named = LeaderAndEpoch {
                    leader: Some(BrokerId::from(partition.leader_id)).filter(|leader| leader.0 >= 0),
                    epoch: Some(LeaderEpoch(partition.leader_epoch)).filter(|epoch| epoch.0 >= 0),
                };
                let index = partition.partition_index;
                let known = before.get(&name).and_then(|partitions| partitions.get(&index)).copied();
                match self.believe(&name, index, named, known) {
                    Believed::Named => {
                        partitions.insert(index, named);
                    }
                    Believed::Known(known) => {
                        updated.was_stale = true;
                        partitions.insert(index, known);
                    }
                    Believed::Neither => {
                        updated.was_stale = true;
                        partitions.insert(index, LeaderAndEpoch::default());
                    }
                }
            }
            // A leader that is not among the brokers cannot be talked to: it is as good as none, and is asked for again.
            for known in partitions.values_mut() {
                known.leader = known.leader.filter(|leader| self.brokers.contains_key(leader));
            }
            self.topics.insert(name, partitions);
        }
        updated
    }

    /// `updateLatestMetadata`. What was known before is kept only if it is of the newest epoch itself.
    fn believe(
        &mut self,
        topic: &Topic,
        partition: i32,
        named: LeaderAndEpoch,
        known: Option<LeaderAndEpoch>,
    ) -> Believed {
        let key = TopicPartition::new(topic.clone(), partition);
        let Some(epoch) = named.epoch else {
            self.newest.remove(&key);
            return Believed::Named;
        };
        match self.newest.get(&key).copied() {
            Some(newest) if epoch < newest => match known.filter(|known| known.epoch == Some(newest)) {
                Some(known) => Believed::Known(known),
                None => Believed::Neither,
            },
            Some(_) | None => {
                self.newest.insert(key, epoch);
                Believed::Named
            }
        }
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        for broker in self.brokers.keys() {
            into.signed(i64::from(broker.0));
        }
        for leader in self.topics.values().flat_map(BTreeMap::values) {
            into.signed(leader.leader.map_or(-1, |leader| i64::from(leader.0)));
            into.signed(leader.epoch.map_or(-1, |epoch| i64::from(epoch.0)));
        }
    }
}

enum Believed {
    Named,
    Known(LeaderAndEpoch),
    Neither,
}

fn is_invalid_metadata(code: i16) -> bool {
    ErrorCode::from_code(code).is_some_and(ErrorCode::is_invalid_metadata)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafkawire::StrBytes;
    use kafkawire::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use machine::HostId;

    use super::*;

    fn hosts() -> Hosts {
        Hosts::new((1..=3).map(|id| (Arc::from(format!("b{id}")), HostId(id))))
    }

    fn response(leader: i32, epoch: i32, topic_error: i16) -> MetadataResponse {
        let broker = |id: i32| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id).wire())
                .with_host(StrBytes::from_string(format!("b{id}")))
                .with_port(9092)
        };
        let partition = MetadataResponsePartition::default()
            .with_partition_index(0)
            .with_error_code(if leader < 0 { ErrorCode::LeaderNotAvailable.code() } else { 0 })
            .with_leader_id(BrokerId(leader).wire())
            .with_leader_epoch(epoch);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(Topic::from("t").wire()))
            .with_error_code(topic_error)
            .with_partitions(vec![partition]);
        MetadataResponse::default()
            .with_brokers((1..=3).map(broker).collect())
            .with_controller_id(BrokerId(2).wire())
            .with_topics(vec![topic])
    }

    fn named(leader: i32, epoch: i32) -> LeaderAndEpoch {
        LeaderAndEpoch { leader: Some(BrokerId(leader)), epoch: Some(LeaderEpoch(epoch)) }
    }

    #[test]
    fn leader_of_an_older_epoch_is_not_believed() {
        let (mut metadata, topic) = (Metadata::default(), Topic::from("t"));
        assert_eq!(metadata.update(&response(1, 4, 0), &hosts()), Updated::default());
        assert_eq!(metadata.controller(), Some(BrokerId(2)));
        let updated = metadata.update(&response(2, 3, 0), &hosts());
        assert!(updated.was_stale);
        assert_eq!(metadata.leader(&topic, 0), named(1, 4));
        metadata.update(&response(3, 4, 0), &hosts());
        assert_eq!(metadata.leader(&topic, 0), named(3, 4), "an equal epoch is believed");
    }

    #[test]
    fn epoch_seen_elsewhere_makes_metadata_stale() {
        let (mut metadata, topic) = (Metadata::default(), Topic::from("t"));
        metadata.update(&response(1, 4, 0), &hosts());
        assert!(metadata.see_epoch(&topic, 0, LeaderEpoch(5)));
        assert!(!metadata.see_epoch(&topic, 0, LeaderEpoch(5)));
        metadata.update(&response(1, 4, 0), &hosts());
        assert_eq!(metadata.leader(&topic, 0), LeaderAndEpoch::default(), "nobody of the newest epoch is known");
    }

    #[test]
    fn topic_that_vanished_keeps_its_newest_epoch() {
        let (mut metadata, topic) = (Metadata::default(), Topic::from("t"));
        metadata.update(&response(1, 4, 0), &hosts());
        assert!(metadata.update(&response(1, 4, ErrorCode::UnknownTopicOrPartition.code()), &hosts()).ask_again);
        assert_eq!(metadata.topic(&topic), None);
        metadata.update(&response(2, 3, 0), &hosts());
        assert_eq!(metadata.leader(&topic, 0).leader, None);
    }

    #[test]
    fn partition_without_a_leader_is_asked_for_again() {
        let (mut metadata, topic) = (Metadata::default(), Topic::from("t"));
        assert!(metadata.update(&response(-1, 5, 0), &hosts()).ask_again);
        assert_eq!(metadata.leader(&topic, 0), LeaderAndEpoch { leader: None, epoch: Some(LeaderEpoch(5)) });
    }

    #[test]
    fn leader_that_is_not_among_the_brokers_is_none() {
        let (mut metadata, topic) = (Metadata::default(), Topic::from("t"));
        metadata.update(&response(4, 5, 0), &hosts());
        assert_eq!(metadata.leader(&topic, 0), LeaderAndEpoch { leader: None, epoch: Some(LeaderEpoch(5)) });
    }

    #[test]
    fn response_without_an_epoch_is_believed_and_forgets_the_epoch() {
        let (mut metadata, topic) = (Metadata::default(), Topic::from("t"));
        metadata.update(&response(1, 4, 0), &hosts());
        metadata.update(&response(2, -1, 0), &hosts());
        assert_eq!(metadata.leader(&topic, 0), LeaderAndEpoch { leader: Some(BrokerId(2)), epoch: None });
        metadata.update(&response(3, 1, 0), &hosts());
        assert_eq!(metadata.leader(&topic, 0), named(3, 1));
    }
}
