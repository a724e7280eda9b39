//! From a scenario to brokers, their configuration, topics and clients of Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::{BrokerConfig, BrokerImage, Costs};
use clients::kafka::{
    AdminImage, ConsumerImage, CreateTopicsBy, KafkaClientImage, NewTopic, OffsetReset, OperatorImage, ProducerImage,
    Work, ZkConsumerImage,
};
use commitlog::LogConfig;
use kafkawire::{BrokerId, Hosts};
use machine::{HostId, Port, Span};
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use zkclient::ZkClientConfig;

use crate::place::BadInput;
use crate::scenario::text_of;
use crate::server_properties::ServerProperties;
use crate::topology::{client_config, host, session, span};
use crate::{Acks, Balance, CreateTopics, Files, Kind, Reset, Scenario, Topology, Wire, Workload};

/// The group of the brokers.
pub const BROKERS: &str = "brokers";
/// The group of the clients that create topics.
pub const ADMINS: &str = "admins";

/// One run in so many carries its messages as bytes, unless its scenario says how.
const BYTES_ONE_IN: u64 = 8;

/// A broker of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its host.
    pub host: HostId,
    /// Its host's name.
    pub name: String,
    /// `broker.id`.
    pub id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
}

/// How messages are carried. Not from the generator: it must shift nothing.
pub(crate) fn wire(scenario: &Scenario, seed: u64) -> kafkawire::Wire {
    match scenario.cluster.wire {
        Some(Wire::Values) => kafkawire::Wire::Values,
        Some(Wire::Bytes) => kafkawire::Wire::Bytes,
        None if seed % BYTES_ONE_IN == BYTES_ONE_IN - 1 => kafkawire::Wire::Bytes,
        None => kafkawire::Wire::Values,
    }
}

/// The brokers, from id 1 on, behind so many other hosts.
pub(crate) fn brokers(scenario: &Scenario, behind: usize, rng: &mut ChaCha8Rng) -> Vec<Broker> {
    let choices = scenario.cluster.brokers.choices();
    // A single choice draws nothing, so that a world without brokers is what it was before there were any.
    let drawn = if choices.len() == 1 { choices[0] } else { *choices.choose(rng).expect("checked when it was loaded") };
    let racks = scenario.cluster.racks;
    (1..=drawn)
        .map(|id| Broker {
            host: host(behind + id as usize - 1),
            name: format!("kafka{id}"),
            id: BrokerId(id.cast_signed()),
            rack: (racks > 0).then(|| format!("rack{}", (id - 1) % racks + 1).into()),
        })
        .collect()
}

/// What all brokers have in common.
pub(crate) fn config(scenario: &Scenario, files: &Files) -> Result<BrokerConfig, BadInput> {
    let mut config = BrokerConfig::new(BrokerId(1), "kafka1", Port(9092));
    if let Some(properties) = &files.server_properties {
        properties.apply(&mut config);
    }
    ServerProperties::parse_some("[cluster.kafka]", &text_of(&scenario.cluster.kafka))?.apply(&mut config);
    Ok(config)
}

/// The topics that are created.
pub(crate) fn topics(scenario: &Scenario) -> Vec<NewTopic> {
    let topic = |topic: &crate::Topic| NewTopic {
        name: topic.name.as_str().into(),
        partitions: topic.partitions.cast_signed(),
        replication_factor: i16::try_from(topic.replication_factor).expect("at most as many as there are brokers"),
        assignment: topic
            .assignment
            .iter()
            .map(|(partition, brokers)| {
                let partition = partition.parse().expect("checked when it was loaded");
                (partition, brokers.iter().map(|&id| BrokerId(id)).collect())
            })
            .collect(),
        config: topic.config.iter().map(|(key, value)| (key.clone(), value.to_string())).collect::<BTreeMap<_, _>>(),
    };
    scenario.topics.iter().map(topic).collect()
}

fn hosts(topology: &Topology) -> Hosts {
    Hosts::new(topology.brokers.iter().map(|broker| (Arc::from(broker.name.as_str()), broker.host)))
}

/// The brokers' images, in the order of their ids.
pub(crate) fn broker_images(scenario: &Scenario, topology: &Topology, wire: kafkawire::Wire) -> Vec<BrokerImage> {
    let zookeeper = Arc::new(client_config(topology, topology.kafka.zookeeper_session_timeout));
    let hosts = hosts(topology);
    let defects: broker::Defects =
        scenario.cluster.defects.iter().filter_map(|id| broker::Defect::from_id(id)).collect();
    let image = |broker: &Broker| BrokerImage {
        config: Arc::new(BrokerConfig {
            broker_id: broker.id,
            advertised_host: broker.name.as_str().into(),
            rack: broker.rack.clone(),
            log: LogConfig { mutant: broker::defect::log_mutant(&defects), ..topology.kafka.log.clone() },
            ..(*topology.kafka).clone()
        }),
        zookeeper: Arc::clone(&zookeeper),
        hosts: hosts.clone(),
        defects: defects.clone(),
        wire,
        costs: Costs::default(),
    };
    topology.brokers.iter().map(image).collect()
}

/// `batch.size`, if nothing else is said.
pub(crate) const BATCH_BYTES: u32 = 16_384;

/// What every client of Kafka has.
pub(crate) fn work(client: u16, topology: &Topology, wire: kafkawire::Wire, stop_after: Span) -> Work {
    let port = topology.kafka.port.0;
    Work {
        client,
        bootstrap: topology.brokers.iter().map(|broker| (Arc::from(broker.name.as_str()), port)).collect(),
        hosts: hosts(topology),
        wire,
        stop_after: Some(stop_after),
        setup_timeout: kafkawire::CONNECTION_SETUP_TIMEOUT,
        probe_after: Some(stop_after + Span::secs(1)),
    }
}

/// One client of a workload: the `nth` of the workload with this number.
pub(crate) fn client_image(
    scenario: &Scenario,
    number: usize,
    nth: u32,
    mut work: Work,
    topology: &Topology,
    rng: &mut ChaCha8Rng,
) -> KafkaClientImage {
    let workload = &scenario.workloads[number];
    if let Some(setup) = workload.setup_timeout {
        work.setup_timeout = span(setup, rng);
    }
    let first = || scenario.topics.first().map(|topic| topic.name.as_str()).expect("checked when it was loaded");
    let topic = workload.topic.as_deref().unwrap_or_else(first).into();
    let group: Arc<str> = workload.group.clone().unwrap_or_else(|| format!("g{number}")).into();
    let zookeeper = Arc::new(session(topology, workload.session_timeout, rng));
    let reset = match workload.reset {
        Reset::Earliest => OffsetReset::Earliest,
        Reset::Latest => OffsetReset::Latest,
    };
    match workload.kind {
        Kind::Produce => {
            let balance = balance(scenario, workload, nth, topology, zookeeper);
            KafkaClientImage::Producer(Arc::new(ProducerImage {
                work,
                topic,
                balance,
                acks: match workload.acks {
                    Acks::Zero => clients::kafka::Acks::Zero,
                    Acks::One => clients::kafka::Acks::One,
                    Acks::All => clients::kafka::Acks::All,
                },
                rate_per_second: workload.rate_per_second,
                keys: workload.keys,
                record_bytes: workload.record_bytes as usize,
                batch_size: workload.batch_bytes.unwrap_or(BATCH_BYTES) as usize,
                linger: span(workload.linger, rng),
                max_in_flight: workload.max_in_flight as usize,
                request_timeout: span(workload.request_timeout, rng),
                delivery_timeout: span(workload.delivery_timeout, rng),
                retries: workload.retries,
                retry_backoff: Span::millis(100),
                metadata_max_age: Span::secs(300),
            }))
        }
        Kind::Consume => KafkaClientImage::Consumer(Arc::new(ConsumerImage {
            work,
            zookeeper,
            group,
            topic,
            partitions: Vec::new(),
            reset,
            commit_interval: span(workload.commit_every, rng),
            fetch_max_wait: span(workload.fetch_wait(), rng),
            fetch_min_bytes: 1,
            max_partition_fetch_bytes: 1 << 20,
            request_timeout: span(workload.request_timeout, rng),
            retry_backoff: Span::millis(100),
            metadata_max_age: Span::secs(300),
        })),
        Kind::ZookeeperConsume => KafkaClientImage::ZkConsumer(Arc::new(ZkConsumerImage {
            work,
            zookeeper,
            group,
            topic,
            streams: workload.streams,
            reset,
            commit_interval: span(workload.commit_every, rng),
            rebalance_max_retries: workload.rebalance_max_retries,
            rebalance_backoff: span(workload.rebalance_backoff, rng),
            refresh_leader_backoff: Span::millis(200),
            fetch_max_wait: span(workload.fetch_wait(), rng),
            fetch_message_max_bytes: 1 << 20,
            socket_timeout: span(workload.request_timeout, rng),
        })),
        Kind::MoveController => {
            KafkaClientImage::Operator(Arc::new(OperatorImage { work, zookeeper, every: span(workload.every, rng) }))
        }
        Kind::UniqueCreates
        | Kind::CompareAndSet
        | Kind::Ephemerals
        | Kind::Sequentials
        | Kind::Multi
        | Kind::Watches
        | Kind::Lock
        | Kind::Reconfigure
        | Kind::Election
        | Kind::Queue
        | Kind::Barrier
        | Kind::DoubleBarrier
        | Kind::RandomOperations
        | Kind::CreateTopics => unreachable!("not a workload of Kafka's"),
    }
}

fn balance(
    scenario: &Scenario,
    workload: &Workload,
    nth: u32,
    topology: &Topology,
    zookeeper: Arc<ZkClientConfig>,
) -> clients::kafka::Balance {
    match workload.balance {
        Balance::FixedBroker => {
            // Only those that are there from the start have an address that somebody could have configured.
            let late = &scenario.cluster.late;
            let there: Vec<&Broker> = topology.brokers.iter().filter(|it| !late.contains_key(&it.name)).collect();
            clients::kafka::Balance::FixedBroker(there[nth as usize % there.len()].id)
        }
        Balance::Zookeeper => clients::kafka::Balance::ZooKeeper(zookeeper),
        Balance::Metadata => clients::kafka::Balance::Metadata,
    }
}

/// The client that creates the topics.
pub(crate) fn admin_image(scenario: &Scenario, work: Work, topology: &Topology) -> KafkaClientImage {
    let late = &scenario.cluster.late;
    let by = match scenario.cluster.create_topics {
        CreateTopics::Api => CreateTopicsBy::Api,
        CreateTopics::Znode => {
            CreateTopicsBy::Znode(Arc::new(client_config(topology, topology.kafka.zookeeper_session_timeout)))
        }
    };
    KafkaClientImage::Admin(Arc::new(AdminImage {
        work,
        by,
        topics: topology.topics.clone(),
        request_timeout: Span::secs(5),
        brokers_expected: topology.brokers.iter().filter(|broker| !late.contains_key(&broker.name)).count(),
    }))
}
