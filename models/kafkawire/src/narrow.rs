//! Messages as a version has them.

use std::sync::Arc;

use kafka_protocol::messages::{
    LeaderAndIsrRequest, StopReplicaRequest, TopicName, UpdateMetadataRequest,
    leader_and_isr_request::LeaderAndIsrTopicState,
    stop_replica_request::{
        StopReplicaPartitionState, StopReplicaPartitionV0, StopReplicaTopicState, StopReplicaTopicV1,
    },
    update_metadata_request::UpdateMetadataTopicState,
};

use crate::schema::Field;
use crate::{Request, Response, Version};

impl Request {
    /// Resets the fields that the version does not have. What a version says in another form (partitions by topic or not,
    /// a broker's only endpoint) is said in that form. A body that fits is shared on as it is.
    ///
    /// # Panics
    /// If the version is not [supported](crate::ApiKey::supported), or a StopReplica of a version below 3 would delete only
    /// some of its partitions: there is one flag for all of them, and the controller sends two requests (kafka-broker.md
    /// §4.13).
    #[must_use]
    pub fn narrow(self, version: Version) -> Self {
        let api = self.api();
        assert!(api.supported().contains(version), "{api} has no version {version} here");
        match self {
            Self::Produce(body) => Self::Produce(narrowed(body, version)),
            Self::Fetch(body) => Self::Fetch(narrowed(body, version)),
            Self::ListOffsets(body) => Self::ListOffsets(narrowed(body, version)),
            Self::Metadata(body) => Self::Metadata(narrowed(body, version)),
            Self::LeaderAndIsr(body) => Self::LeaderAndIsr(narrowed(reformed(body, version), version)),
            Self::StopReplica(body) => Self::StopReplica(narrowed(reformed(body, version), version)),
            Self::UpdateMetadata(body) => Self::UpdateMetadata(narrowed(reformed(body, version), version)),
            Self::ControlledShutdown(body) => Self::ControlledShutdown(narrowed(body, version)),
            Self::ApiVersions(body) => Self::ApiVersions(narrowed(body, version)),
            Self::CreateTopics(body) => Self::CreateTopics(narrowed(body, version)),
            Self::OffsetForLeaderEpoch(body) => Self::OffsetForLeaderEpoch(narrowed(body, version)),
        }
    }
}

impl Response {
    /// Resets the fields that the version does not have. A body that fits is shared on as it is.
    ///
    /// # Panics
    /// If the version is not [supported](crate::ApiKey::supported).
    #[must_use]
    pub fn narrow(self, version: Version) -> Self {
        let api = self.api();
        assert!(api.supported().contains(version), "{api} has no version {version} here");
        match self {
            Self::Produce(body) => Self::Produce(narrowed(body, version)),
            Self::Fetch(body) => Self::Fetch(narrowed(body, version)),
            Self::ListOffsets(body) => Self::ListOffsets(narrowed(body, version)),
            Self::Metadata(body) => Self::Metadata(narrowed(body, version)),
            Self::LeaderAndIsr(body) => Self::LeaderAndIsr(narrowed(body, version)),
            Self::StopReplica(body) => Self::StopReplica(narrowed(body, version)),
            Self::UpdateMetadata(body) => Self::UpdateMetadata(narrowed(body, version)),
            Self::ControlledShutdown(body) => Self::ControlledShutdown(narrowed(body, version)),
            Self::ApiVersions(body) => Self::ApiVersions(narrowed(body, version)),
            Self::CreateTopics(body) => Self::CreateTopics(narrowed(body, version)),
            Self::OffsetForLeaderEpoch(body) => Self::OffsetForLeaderEpoch(narrowed(body, version)),
        }
    }
}

fn narrowed<T: Field + Clone>(mut body: Arc<T>, version: Version) -> Arc<T> {
    if !body.fits(&T::default(), version) {
        Arc::make_mut(&mut body).narrow(version);
    }
    body
}

/// A message whose versions say the same in several forms.
trait Forms {
    /// Whether it is in the version's form.
    fn in_form(&self, version: Version) -> bool;

    /// Brings it into the version's form.
    fn reform(&mut self, version: Version);
}

fn reformed<T: Forms + Clone>(mut body: Arc<T>, version: Version) -> Arc<T> {
    if !body.in_form(version) {
        Arc::make_mut(&mut body).reform(version);
    }
    body
}

/// The entry of a topic in a list that is grouped by topic, in order of first appearance.
fn entry<T>(topics: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let at = topics.iter().position(is).unwrap_or_else(|| {
        topics.push(new());
        topics.len() - 1
    });
    &mut topics[at]
}

/// Grouped by topic since version 2.
impl Forms for LeaderAndIsrRequest {
    fn in_form(&self, version: Version) -> bool {
        if version < 2 { self.topic_states.is_empty() } else { self.ungrouped_partition_states.is_empty() }
    }

    fn reform(&mut self, version: Version) {
        if version < 2 {
            for topic in std::mem::take(&mut self.topic_states) {
                for mut partition in topic.partition_states {
                    partition.topic_name = topic.topic_name.clone();
                    self.ungrouped_partition_states.push(partition);
                }
            }
        } else {
            for mut partition in std::mem::take(&mut self.ungrouped_partition_states) {
                let name = std::mem::take(&mut partition.topic_name);
                let new = || LeaderAndIsrTopicState::default().with_topic_name(name.clone());
                entry(&mut self.topic_states, |it| it.topic_name == name, new).partition_states.push(partition);
            }
        }
    }
}

/// Grouped by topic since version 5; version 0 knows one plaintext endpoint per broker.
impl Forms for UpdateMetadataRequest {
    fn in_form(&self, version: Version) -> bool {
        let grouped_right =
            if version < 5 { self.topic_states.is_empty() } else { self.ungrouped_partition_states.is_empty() };
        let endpoints_right = version > 0 || self.live_brokers.iter().all(|broker| broker.endpoints.is_empty());
        grouped_right && endpoints_right
    }

    fn reform(&mut self, version: Version) {
        if version < 5 {
            for topic in std::mem::take(&mut self.topic_states) {
                for mut partition in topic.partition_states {
                    partition.topic_name = topic.topic_name.clone();
                    self.ungrouped_partition_states.push(partition);
                }
            }
        } else {
            for mut partition in std::mem::take(&mut self.ungrouped_partition_states) {
                let name = std::mem::take(&mut partition.topic_name);
                let new = || UpdateMetadataTopicState::default().with_topic_name(name.clone());
                entry(&mut self.topic_states, |it| it.topic_name == name, new).partition_states.push(partition);
            }
        }
        if version == 0 {
            for broker in &mut self.live_brokers {
                if let Some(endpoint) = broker.endpoints.iter().find(|it| it.security_protocol == PLAINTEXT) {
                    broker.v0_host = endpoint.host.clone();
                    broker.v0_port = endpoint.port;
                }
                broker.endpoints.clear();
            }
        }
    }
}

/// `SecurityProtocol.PLAINTEXT`.
const PLAINTEXT: i16 = 0;

/// Ungrouped in version 0, grouped by topic in 1 and 2, since 3 with an epoch and a flag of its own for every partition.
impl Forms for StopReplicaRequest {
    fn in_form(&self, version: Version) -> bool {
        match version {
            0 => self.topics.is_empty() && self.topic_states.is_empty(),
            1 | 2 => self.ungrouped_partitions.is_empty() && self.topic_states.is_empty(),
            _ => self.ungrouped_partitions.is_empty() && self.topics.is_empty(),
        }
    }

    fn reform(&mut self, version: Version) {
        let stopped = take_stopped(self);
        if version < 3 {
            let mut deleted = stopped.iter().map(|(_, partition)| partition.delete_partition);
            if let Some(first) = deleted.next() {
                assert!(deleted.all(|delete| delete == first), "one request of version {version} deletes all or none");
                self.delete_partitions = first;
            }
        }
        for (name, partition) in stopped {
            match version {
                0 => self.ungrouped_partitions.push(
                    StopReplicaPartitionV0::default()
                        .with_topic_name(name)
                        .with_partition_index(partition.partition_index),
                ),
                1 | 2 => {
                    let new = || StopReplicaTopicV1::default().with_name(name.clone());
                    let topic = entry(&mut self.topics, |it| it.name == name, new);
                    topic.partition_indexes.push(partition.partition_index);
                }
                _ => {
                    let new = || StopReplicaTopicState::default().with_topic_name(name.clone());
                    entry(&mut self.topic_states, |it| it.topic_name == name, new).partition_states.push(partition);
                }
            }
        }
    }
}

/// Takes every partition out of whichever form it is in.
fn take_stopped(request: &mut StopReplicaRequest) -> Vec<(TopicName, StopReplicaPartitionState)> {
    let delete = request.delete_partitions;
    let old = |index| StopReplicaPartitionState::default().with_partition_index(index).with_delete_partition(delete);
    let mut stopped = Vec::new();
    for partition in std::mem::take(&mut request.ungrouped_partitions) {
        stopped.push((partition.topic_name, old(partition.partition_index)));
    }
    for topic in std::mem::take(&mut request.topics) {
        stopped.extend(topic.partition_indexes.into_iter().map(|index| (topic.name.clone(), old(index))));
    }
    for topic in std::mem::take(&mut request.topic_states) {
        stopped.extend(topic.partition_states.into_iter().map(|partition| (topic.topic_name.clone(), partition)));
    }
    stopped
}
