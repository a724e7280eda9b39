//! The requests' tables (kafka-broker.md §9.2, and Kafka's own schemas).

use kafka_protocol::messages::{
    ApiVersionsRequest, ControlledShutdownRequest, CreateTopicsRequest, FetchRequest, LeaderAndIsrRequest,
    ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest, StopReplicaRequest,
    UpdateMetadataRequest, create_topics_request, fetch_request, leader_and_isr_request, list_offsets_request,
    metadata_request, offset_for_leader_epoch_request, produce_request, stop_replica_request, update_metadata_request,
};

use super::schema;

schema! {
    flexible from 9;
    ProduceRequest { transactional_id 3.., acks 0.., timeout_ms 0.., topic_data 0.. }
    produce_request::TopicProduceData { name 0.., partition_data 0.. }
    produce_request::PartitionProduceData { index 0.., records 0.. }
}

schema! {
    flexible from 12;
    FetchRequest {
        replica_id 0..=14, max_wait_ms 0.., min_bytes 0.., max_bytes 3.., isolation_level 4.., session_id 7..,
        session_epoch 7.., topics 0.., forgotten_topics_data 7.., rack_id 11..
        ; absent cluster_id, replica_state
    }
    fetch_request::FetchTopic { topic 0..=12, partitions 0..; absent topic_id }
    fetch_request::FetchPartition {
        partition 0.., current_leader_epoch 9.., fetch_offset 0.., log_start_offset 5.., partition_max_bytes 0..
        ; absent last_fetched_epoch, replica_directory_id
    }
    fetch_request::ForgottenTopic { topic 7..=12, partitions 7..; absent topic_id }
}

schema! {
    flexible from 6;
    ListOffsetsRequest { replica_id 0.., isolation_level 2.., topics 0.. }
    list_offsets_request::ListOffsetsTopic { name 0.., partitions 0.. }
    list_offsets_request::ListOffsetsPartition {
        partition_index 0.., current_leader_epoch 4.., timestamp 0..; absent max_num_offsets
    }
}

schema! {
    flexible from 9;
    MetadataRequest {
        topics 0.., allow_auto_topic_creation 4.., include_cluster_authorized_operations 8..=10,
        include_topic_authorized_operations 8..
    }
    metadata_request::MetadataRequestTopic { name 0..; absent topic_id }
}

schema! {
    flexible from 4;
    LeaderAndIsrRequest {
        controller_id 0.., controller_epoch 0.., broker_epoch 2.., ungrouped_partition_states 0..=1, topic_states 2..,
        live_leaders 0..
        ; absent is_k_raft_controller, _type
    }
    leader_and_isr_request::LeaderAndIsrTopicState { topic_name 2.., partition_states 2..; absent topic_id }
    leader_and_isr_request::LeaderAndIsrPartitionState {
        topic_name 0..=1, partition_index 0.., controller_epoch 0.., leader 0.., leader_epoch 0.., isr 0..,
        partition_epoch 0.., replicas 0.., adding_replicas 3.., removing_replicas 3.., is_new 1..
        ; absent leader_recovery_state
    }
    leader_and_isr_request::LeaderAndIsrLiveLeader { broker_id 0.., host_name 0.., port 0.. }
}

schema! {
    flexible from 2;
    StopReplicaRequest {
        controller_id 0.., controller_epoch 0.., broker_epoch 1.., delete_partitions 0..=2, ungrouped_partitions 0..=0,
        topics 1..=2, topic_states 3..
        ; absent is_k_raft_controller
    }
    stop_replica_request::StopReplicaPartitionV0 { topic_name 0..=0, partition_index 0..=0 }
    stop_replica_request::StopReplicaTopicV1 { name 1..=2, partition_indexes 1..=2 }
    stop_replica_request::StopReplicaTopicState { topic_name 3.., partition_states 3.. }
    stop_replica_request::StopReplicaPartitionState { partition_index 3.., leader_epoch 3.., delete_partition 3.. }
}

schema! {
    flexible from 6;
    UpdateMetadataRequest {
        controller_id 0.., controller_epoch 0.., broker_epoch 5.., ungrouped_partition_states 0..=4, topic_states 5..,
        live_brokers 0..
        ; absent is_k_raft_controller, _type
    }
    update_metadata_request::UpdateMetadataTopicState { topic_name 5.., partition_states 5..; absent topic_id }
    update_metadata_request::UpdateMetadataPartitionState {
        topic_name 0..=4, partition_index 0.., controller_epoch 0.., leader 0.., leader_epoch 0.., isr 0..,
        zk_version 0.., replicas 0.., offline_replicas 4..
    }
    update_metadata_request::UpdateMetadataBroker { id 0.., v0_host 0..=0, v0_port 0..=0, endpoints 1.., rack 2.. }
    update_metadata_request::UpdateMetadataEndpoint { port 1.., host 1.., listener 3.., security_protocol 1.. }
}

schema! {
    flexible from 3;
    ControlledShutdownRequest { broker_id 0.., broker_epoch 2.. }
    ApiVersionsRequest { client_software_name 3.., client_software_version 3.. }
}

schema! {
    flexible from 5;
    CreateTopicsRequest { topics 0.., timeout_ms 0.., validate_only 1.. }
    create_topics_request::CreatableTopic {
        name 0.., num_partitions 0.., replication_factor 0.., assignments 0.., configs 0..
    }
    create_topics_request::CreatableReplicaAssignment { partition_index 0.., broker_ids 0.. }
    create_topics_request::CreatableTopicConfig { name 0.., value 0.. }
}

schema! {
    flexible from 4;
    OffsetForLeaderEpochRequest { replica_id 3.., topics 0.. }
    offset_for_leader_epoch_request::OffsetForLeaderTopic { topic 0.., partitions 0.. }
    offset_for_leader_epoch_request::OffsetForLeaderPartition {
        partition 0.., current_leader_epoch 2.., leader_epoch 0..
    }
}
