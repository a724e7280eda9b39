//! Clients of Kafka as tests start them.

use std::sync::Arc;

use clients::kafka::{
    Acks, AdminImage, Balance, ConsumerImage, CreateTopicsBy, KafkaClientImage, NewTopic, OffsetReset, ProducerImage,
    Work, ZkConsumerImage,
};
use kafkawire::{Hosts, Topic, Wire};
use machine::{Address, HostId, Port, Span};
use zkclient::{ZkClientConfig, ZkServer};

use crate::kafka_bench::{GROUP, KAFKA_PORT, TOPIC, ZOOKEEPER};

pub(crate) fn zk_config() -> Arc<ZkClientConfig> {
    let server = ZkServer { name: Arc::from("zk1"), address: Address { host: ZOOKEEPER, port: Port(2181) } };
    Arc::new(ZkClientConfig::new(vec![server], 6000))
}

fn work(client: u16) -> Work {
    let name = |id: u32| Arc::from(format!("kafka-{id}"));
    Work {
        client,
        bootstrap: (1..=3).map(|id| (name(id), KAFKA_PORT)).collect(),
        hosts: Hosts::new((1..=4).map(|id| (name(id), HostId(id)))),
        wire: Wire::Values,
        stop_after: None,
        setup_timeout: kafkawire::CONNECTION_SETUP_TIMEOUT,
        probe_after: None,
    }
}

pub(crate) fn producer(client: u16) -> ProducerImage {
    ProducerImage {
        work: work(client),
        topic: Topic::from(TOPIC),
        balance: Balance::Metadata,
        acks: Acks::All,
        rate_per_second: 50,
        keys: 0,
        record_bytes: 100,
        batch_size: 16_384,
        linger: Span::ZERO,
        max_in_flight: 5,
        request_timeout: Span::secs(2),
        delivery_timeout: Span::secs(6),
        retries: u32::MAX,
        retry_backoff: Span::millis(100),
        metadata_max_age: Span::secs(300),
    }
}

pub(crate) fn consumer(client: u16) -> ConsumerImage {
    ConsumerImage {
        work: work(client),
        zookeeper: zk_config(),
        group: Arc::from(GROUP),
        topic: Topic::from(TOPIC),
        partitions: Vec::new(),
        reset: OffsetReset::Earliest,
        commit_interval: Span::secs(1),
        fetch_max_wait: Span::millis(500),
        fetch_min_bytes: 1,
        max_partition_fetch_bytes: 1 << 20,
        request_timeout: Span::secs(30),
        retry_backoff: Span::millis(100),
        metadata_max_age: Span::secs(300),
    }
}

pub(crate) fn zk_consumer(client: u16) -> ZkConsumerImage {
    ZkConsumerImage {
        work: work(client),
        zookeeper: zk_config(),
        group: Arc::from(GROUP),
        topic: Topic::from(TOPIC),
        streams: 1,
        reset: OffsetReset::Earliest,
        commit_interval: Span::secs(1),
        rebalance_max_retries: 4,
        rebalance_backoff: Span::millis(500),
        refresh_leader_backoff: Span::millis(200),
        fetch_max_wait: Span::millis(100),
        fetch_message_max_bytes: 1 << 20,
        socket_timeout: Span::secs(30),
    }
}

pub(crate) fn admin(by: CreateTopicsBy, topics: Vec<NewTopic>) -> AdminImage {
    AdminImage { work: work(9), by, topics, request_timeout: Span::secs(5), brokers_expected: 3 }
}

impl From<ProducerImage> for Role {
    fn from(image: ProducerImage) -> Self {
        Self(KafkaClientImage::Producer(Arc::new(image)))
    }
}

impl From<ConsumerImage> for Role {
    fn from(image: ConsumerImage) -> Self {
        Self(KafkaClientImage::Consumer(Arc::new(image)))
    }
}

impl From<ZkConsumerImage> for Role {
    fn from(image: ZkConsumerImage) -> Self {
        Self(KafkaClientImage::ZkConsumer(Arc::new(image)))
    }
}

impl From<AdminImage> for Role {
    fn from(image: AdminImage) -> Self {
        Self(KafkaClientImage::Admin(Arc::new(image)))
    }
}

/// What a process is started as.
pub(crate) struct Role(pub(crate) KafkaClientImage);
