//! The responses' tables (kafka-broker.md §9.2, and Kafka's own schemas).

use kafka_protocol::messages::{
    ApiVersionsResponse, ControlledShutdownResponse, CreateTopicsResponse, FetchResponse, LeaderAndIsrResponse,
    ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse, ProduceResponse, StopReplicaResponse,
    UpdateMetadataResponse, api_versions_response, controlled_shutdown_response, create_topics_response,
    fetch_response, leader_and_isr_response, list_offsets_response, metadata_response,
    offset_for_leader_epoch_response, produce_response, stop_replica_response,
};

use super::schema;

schema! {
    flexible from 9;
    ProduceResponse { responses 0.., throttle_time_ms 1..; absent node_endpoints }
    produce_response::TopicProduceResponse { name 0.., partition_responses 0.. }
    produce_response::PartitionProduceResponse {
        index 0.., error_code 0.., base_offset 0.., log_append_time_ms 2.., log_start_offset 5.., record_errors 8..,
        error_message 8..
        ; absent current_leader
    }
    produce_response::BatchIndexAndErrorMessage { batch_index 8.., batch_index_error_message 8.. }
}

schema! {
    flexible from 12;
    FetchResponse {
        throttle_time_ms 1.., error_code 7.., session_id 7.., responses 0..; absent node_endpoints
    }
    fetch_response::FetchableTopicResponse { topic 0..=12, partitions 0..; absent topic_id }
    fetch_response::PartitionData {
        partition_index 0.., error_code 0.., high_watermark 0.., last_stable_offset 4.., log_start_offset 5..,
        aborted_transactions 4.., preferred_read_replica 11.., records 0..
        ; absent diverging_epoch, current_leader, snapshot_id
    }
    fetch_response::AbortedTransaction { producer_id 4.., first_offset 4.. }
}

schema! {
    flexible from 6;
    ListOffsetsResponse { throttle_time_ms 2.., topics 0.. }
    list_offsets_response::ListOffsetsTopicResponse { name 0.., partitions 0.. }
    list_offsets_response::ListOffsetsPartitionResponse {
        partition_index 0.., error_code 0.., timestamp 1.., offset 1.., leader_epoch 4..; absent old_style_offsets
    }
}

schema! {
    flexible from 9;
    MetadataResponse {
        throttle_time_ms 3.., brokers 0.., cluster_id 2.., controller_id 1.., topics 0..,
        cluster_authorized_operations 8..=10
    }
    metadata_response::MetadataResponseBroker { node_id 0.., host 0.., port 0.., rack 1.. }
    metadata_response::MetadataResponseTopic {
        error_code 0.., name 0.., is_internal 1.., partitions 0.., topic_authorized_operations 8..; absent topic_id
    }
    metadata_response::MetadataResponsePartition {
        error_code 0.., partition_index 0.., leader_id 0.., leader_epoch 7.., replica_nodes 0.., isr_nodes 0..,
        offline_replicas 5..
    }
}

schema! {
    flexible from 4;
    LeaderAndIsrResponse { error_code 0.., partition_errors 0..=4; absent topics }
    leader_and_isr_response::LeaderAndIsrPartitionError { topic_name 0..=4, partition_index 0.., error_code 0.. }
}

schema! {
    flexible from 2;
    StopReplicaResponse { error_code 0.., partition_errors 0.. }
    stop_replica_response::StopReplicaPartitionError { topic_name 0.., partition_index 0.., error_code 0.. }
}

schema! {
    flexible from 6;
    UpdateMetadataResponse { error_code 0.. }
}

schema! {
    flexible from 3;
    ControlledShutdownResponse { error_code 0.., remaining_partitions 0.. }
    controlled_shutdown_response::RemainingPartition { topic_name 0.., partition_index 0.. }
    ApiVersionsResponse {
        error_code 0.., api_keys 0.., throttle_time_ms 1..
        ; tagged 0 supported_features 3.., 1 finalized_features_epoch 3.., 2 finalized_features 3..,
        3 zk_migration_ready 3..
    }
    api_versions_response::ApiVersion { api_key 0.., min_version 0.., max_version 0.. }
    api_versions_response::SupportedFeatureKey { name 3.., min_version 3.., max_version 3.. }
    api_versions_response::FinalizedFeatureKey { name 3.., max_version_level 3.., min_version_level 3.. }
}

schema! {
    flexible from 5;
    CreateTopicsResponse { throttle_time_ms 2.., topics 0.. }
    create_topics_response::CreatableTopicResult {
        name 0.., error_code 0.., error_message 1.., num_partitions 5.., replication_factor 5.., configs 5..
        ; tagged 0 topic_config_error_code 5..
        ; absent topic_id
    }
    create_topics_response::CreatableTopicConfigs {
        name 5.., value 5.., read_only 5.., config_source 5.., is_sensitive 5..
    }
}

schema! {
    flexible from 4;
    OffsetForLeaderEpochResponse { throttle_time_ms 2.., topics 0.. }
    offset_for_leader_epoch_response::OffsetForLeaderTopicResult { topic 0.., partitions 0.. }
    offset_for_leader_epoch_response::EpochEndOffset { error_code 0.., partition 0.., leader_epoch 1.., end_offset 0.. }
}
