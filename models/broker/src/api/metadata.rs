//! Metadata: what the cache knows, and the creation of topics that are only asked about (kafka-broker.md §9.2, App. B).

use kafkawire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafkawire::messages::{self, MetadataRequest, MetadataResponse};
use kafkawire::{BrokerId, ErrorCode, Response, Topic};

use crate::api::topic_name;
use crate::cache::{MetadataCache, PartitionMetadata, TopicMetadata};
use crate::cx::{Cx, RequestId};

/// A Metadata whose unknown topics are being created.
#[derive(Clone, Debug)]
pub(crate) struct Inquiry {
    /// Whom to answer.
    pub(crate) to: RequestId,
    /// What the cache knew when it was asked.
    pub(crate) known: Vec<MetadataResponseTopic>,
}

/// What is to be done about a Metadata.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The cache knows all, or nothing may be created: this is the answer.
    Now(Response),
    /// These are to be created first.
    AfterCreating(Inquiry, Vec<Topic>),
}

/// Looks a Metadata up.
///
/// Internal topics are not created: their settings are the group coordinator's, which is absent.
pub(crate) fn look_up(to: RequestId, request: &MetadataRequest, cx: &Cx<'_, '_>) -> Reply {
    let Some(wanted) = &request.topics else {
        let all = cx.cache.topics.iter().map(|(topic, partitions)| known_topic(topic, partitions, cx.cache));
        return Reply::Now(response(all.collect(), cx));
    };
    let creates = cx.config().auto_create_topics_enable && request.allow_auto_topic_creation;
    let mut known = Vec::with_capacity(wanted.len());
    let mut unknown = Vec::new();
    for topic in wanted {
        // Null only in versions that name topics by id.
        let Some(name) = &topic.name else { continue };
        if let Some((topic, partitions)) = cx.cache.topics.get_key_value(name.as_str()) {
            known.push(known_topic(topic, partitions, cx.cache));
        } else if !topic_name::is_legal(name) {
            known.push(unknown_topic(&Topic::from(name), ErrorCode::InvalidTopic));
        } else if creates && !topic_name::is_internal(name) {
            unknown.push(Topic::from(name));
        } else {
            known.push(unknown_topic(&Topic::from(name), ErrorCode::UnknownTopicOrPartition));
        }
    }
    if unknown.is_empty() {
        return Reply::Now(response(known, cx));
    }
    Reply::AfterCreating(Inquiry { to, known }, unknown)
}

/// A topic that the cache does not know.
pub(crate) fn unknown_topic(topic: &Topic, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(topic.wire()))
        .with_is_internal(topic_name::is_internal(topic.as_str()))
}

/// The answer about these topics: brokers that are alive, and the controller if it is.
pub(crate) fn response(topics: Vec<MetadataResponseTopic>, cx: &Cx<'_, '_>) -> Response {
    let brokers = cx.cache.alive.iter().map(|(id, broker)| {
        MetadataResponseBroker::default()
            .with_node_id(id.wire())
            .with_host(broker.host.to_string().into())
            .with_port(broker.port)
            .with_rack(broker.rack.as_ref().map(|rack| rack.to_string().into()))
    });
    let controller = cx.cache.controller.filter(|&id| cx.cache.is_alive(id));
    let cluster_id = cx.identity.cluster_id.as_ref().map(|id| id.to_string().into());
    let response = MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(cluster_id)
        .with_controller_id(controller.unwrap_or(BrokerId(-1)).wire())
        .with_topics(topics);
    Response::Metadata(response.into())
}

fn known_topic(topic: &Topic, partitions: &TopicMetadata, cache: &MetadataCache) -> MetadataResponseTopic {
    let partitions = partitions.iter().map(|(&index, partition)| known_partition(index, partition, cache));
    MetadataResponseTopic::default()
        .with_name(Some(topic.wire()))
        .with_is_internal(topic_name::is_internal(topic.as_str()))
        .with_partitions(partitions.collect())
}

fn known_partition(index: i32, partition: &PartitionMetadata, cache: &MetadataCache) -> MetadataResponsePartition {
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.wire()).collect();
    let leader = partition.leader.filter(|&leader| cache.is_alive(leader));
    let error = if leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
    MetadataResponsePartition::default()
        .with_error_code(error.code())
        .with_partition_index(index)
        .with_leader_id(leader.map_or(messages::BrokerId(-1), BrokerId::wire))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.isr))
        .with_offline_replicas(ids(&partition.offline_replicas))
}
