//! What the controller and clients of a test ask, and how answers are read.

use std::sync::Arc;

use bytes::Bytes;
use kafkawire::messages::fetch_request::{FetchPartition, FetchTopic};
use kafkawire::messages::fetch_response::PartitionData;
use kafkawire::messages::leader_and_isr_request::{LeaderAndIsrPartitionState, LeaderAndIsrTopicState};
use kafkawire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafkawire::messages::{
    FetchRequest, FetchResponse, LeaderAndIsrRequest, LeaderAndIsrResponse, ListOffsetsRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, StopReplicaRequest, UpdateMetadataRequest,
};
use kafkawire::{Batch, ErrorCode, NewBatch, Request, Topic, TopicPartition, Version, batches, znode};

use crate::replication::bench::{Bench, State, orders};

/// A request and the version it comes with.
#[derive(Clone, Debug)]
pub(crate) struct Asking(pub(crate) Version, pub(crate) Request);

macro_rules! asking {
    ($($body:ident $variant:ident $version:literal;)*) => {
        $(impl From<$body> for Asking {
            fn from(body: $body) -> Self {
                Self($version, Request::$variant(Arc::new(body)))
            }
        })*
    };
}

asking! {
    ProduceRequest Produce 8;
    FetchRequest Fetch 11;
    ListOffsetsRequest ListOffsets 5;
    OffsetForLeaderEpochRequest OffsetForLeaderEpoch 3;
    LeaderAndIsrRequest LeaderAndIsr 4;
    StopReplicaRequest StopReplica 3;
    UpdateMetadataRequest UpdateMetadata 6;
}

pub(crate) fn wire_ids(ids: &[i32]) -> Vec<kafkawire::messages::BrokerId> {
    ids.iter().map(|&id| id.into()).collect()
}

pub(crate) fn leader_and_isr(states: &[State]) -> LeaderAndIsrRequest {
    let topics = states.iter().map(|state| {
        let partition = LeaderAndIsrPartitionState::default()
            .with_partition_index(state.tp.partition)
            .with_controller_epoch(1)
            .with_leader(state.leader.into())
            .with_leader_epoch(state.epoch)
            .with_isr(wire_ids(&state.isr))
            .with_partition_epoch(state.version)
            .with_replicas(wire_ids(&state.replicas));
        LeaderAndIsrTopicState::default().with_topic_name(state.tp.topic.wire()).with_partition_states(vec![partition])
    });
    LeaderAndIsrRequest::default()
        .with_controller_id(1.into())
        .with_controller_epoch(1)
        .with_broker_epoch(-1)
        .with_topic_states(topics.collect())
}

pub(crate) fn partition_error(response: &LeaderAndIsrResponse) -> ErrorCode {
    assert_eq!(response.error_code, 0, "the request was taken up");
    ErrorCode::from_code(response.partition_errors[0].error_code).unwrap()
}

/// One record, in a batch of its own.
pub(crate) fn record(value: &str) -> Bytes {
    NewBatch::new(&[(None, value.as_bytes())], 1_700_000_000_000).encode()
}

pub(crate) fn produce(tp: &TopicPartition, value: &str, acks: i16) -> ProduceRequest {
    produce_bytes(tp, record(value), acks)
}

pub(crate) fn produce_bytes(tp: &TopicPartition, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(tp.partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(tp.topic.wire()).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

pub(crate) fn fetch_of(tp: &TopicPartition, from: i64, epoch: i32) -> FetchTopic {
    let partition = FetchPartition::default()
        .with_partition(tp.partition)
        .with_fetch_offset(from)
        .with_current_leader_epoch(epoch)
        .with_partition_max_bytes(1 << 20);
    FetchTopic::default().with_topic(tp.topic.wire()).with_partitions(vec![partition])
}

/// A consumer's fetch without a session.
pub(crate) fn consumer_fetch(tp: &TopicPartition, from: i64, max_wait_ms: i32) -> FetchRequest {
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![fetch_of(tp, from, -1)])
}

/// A follower's fetch without a session.
pub(crate) fn follower_fetch(replica: i32, from: i64, epoch: i32) -> FetchRequest {
    FetchRequest::default()
        .with_replica_id(replica.into())
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![fetch_of(&orders(), from, epoch)])
}

pub(crate) fn error_of(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

pub(crate) fn values_in(records: &Bytes) -> Vec<String> {
    let batches = batches(records).map(|batch: Result<Batch, _>| batch.unwrap());
    batches
        .flat_map(|batch| batch.records().unwrap())
        .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
        .collect()
}

/// The one partition of a fetch's answer; none if it is not in it.
pub(crate) fn partition_of(response: &FetchResponse) -> Option<&PartitionData> {
    response.responses.first().and_then(|topic| topic.partitions.first())
}

/// Settings of a topic, as ZooKeeper holds them.
pub(crate) fn set_topic(bench: &mut Bench, topic: &str, config: &[(&str, &str)]) {
    let config = config.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let data = znode::TopicConfig { config }.encode();
    bench.znodes.insert(znode::topic_config(&Topic::from(topic)), (data, 0));
}
