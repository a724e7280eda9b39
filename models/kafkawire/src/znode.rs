//! What Kafka keeps in ZooKeeper: paths and payloads, for brokers, clients and judges alike (kafka-broker.md §2.1, §2.2).
//!
//! The key order of the JSON is that of the reference, so that the bytes look like a real broker's; reading takes any order,
//! skips unknown keys, and takes older and newer versions of a payload as far as this era can use them. A chroot is prepended
//! by whoever has one.

mod path;
mod payload;

pub use path::{
    ADMIN_DELETE_TOPICS, BROKERS_IDS, BROKERS_SEQID, BROKERS_TOPICS, CLUSTER_ID, CONFIG_TOPICS, CONSUMERS, CONTROLLER,
    CONTROLLER_EPOCH, ISR_CHANGE_NOTIFICATION, LOG_DIR_EVENT_NOTIFICATION, TOP_LEVEL, Znode, broker_id, consumer_id,
    consumer_ids, consumer_offset, consumer_offsets, consumer_owner, consumer_owners, delete_topic, isr_change_prefix,
    log_dir_event_prefix, partition, partition_state, sequence_of, topic, topic_config, topic_partitions,
};
pub use payload::{
    BadPayload, BrokerRegistration, ClusterId, ConsumerRegistration, ControllerClaim, IsrChange, PartitionState,
    TopicAssignment, TopicConfig, decode_controller_epoch, decode_offset, encode_controller_epoch, encode_offset,
};
