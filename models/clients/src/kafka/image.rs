//! What a client of Kafka is told when it boots.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::{BrokerId, Hosts, Topic, Wire};
use machine::Span;
use zkclient::ZkClientConfig;

/// `acks`: who must have a record before a producer is told that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acks {
    /// Nobody; there is no answer.
    Zero,
    /// The leader.
    One,
    /// Everybody in the ISR.
    All,
}

impl Acks {
    /// As produce requests carry it.
    #[must_use]
    pub const fn wire(self) -> i16 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::All => -1,
        }
    }
}

/// How a producer spreads its records over brokers: the two ways that ZooKeeper-era Kafka knew, and what came after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One broker, found by address as behind a layer-4 load balancer: it never learns of another (kafka-broker.md §8.4, E07
    /// without ZooKeeper). A record goes to the partitions that this broker leads.
    FixedBroker(BrokerId),
    /// Watches `/brokers/ids` and `/brokers/topics` (the 0.7 producer, on this era's znodes).
    ZooKeeper(Arc<ZkClientConfig>),
    /// Asks brokers for metadata (§8.1).
    Metadata,
}

/// What every client of Kafka has.
#[derive(Clone, Debug)]
pub struct Work {
    /// The client's number, unique among the clients of a world.
    pub client: u16,
    /// `bootstrap.servers`, as host and port.
    pub bootstrap: Arc<[(Arc<str>, u16)]>,
    /// Who is where.
    pub hosts: Hosts,
    /// How messages are carried.
    pub wire: Wire,
    /// `socket.connection.setup.timeout.ms`.
    pub setup_timeout: Span,
    /// How long after its start, on its own clock, it starts nothing new (a consumer goes on until it has read everything).
    pub stop_after: Option<Span>,
    /// How long after its start, on its own clock, it tries one produce, or one fetch, until that succeeds.
    pub probe_after: Option<Span>,
}

/// A producer (§8.1, without idempotence and transactions).
#[derive(Clone, Debug)]
pub struct ProducerImage {
    /// What every client has.
    pub work: Work,
    /// Where its records go.
    pub topic: Topic,
    /// How it finds brokers and partitions.
    pub balance: Balance,
    /// `acks`.
    pub acks: Acks,
    /// Records it hands to itself per second.
    pub rate_per_second: u32,
    /// How many different keys its records have; 0 for records without a key.
    pub keys: u32,
    /// The length of a record's value, in bytes; at least what its identity takes.
    pub record_bytes: usize,
    /// `batch.size`.
    pub batch_size: usize,
    /// `linger.ms`.
    pub linger: Span,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: usize,
    /// `request.timeout.ms`.
    pub request_timeout: Span,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Span,
    /// `retries`.
    pub retries: u32,
    /// `retry.backoff.ms`.
    pub retry_backoff: Span,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Span,
}

/// `auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// The start of the log.
    Earliest,
    /// Its end.
    Latest,
}

/// A consumer that is told its partitions, reads them up to the high watermark and commits to `/consumers/G/offsets/T/P`.
#[derive(Clone, Debug)]
pub struct ConsumerImage {
    /// What every client has.
    pub work: Work,
    /// Where it keeps its offsets.
    pub zookeeper: Arc<ZkClientConfig>,
    /// `group.id`.
    pub group: Arc<str>,
    /// What it reads.
    pub topic: Topic,
    /// Which partitions; all if empty.
    pub partitions: Vec<i32>,
    /// `auto.offset.reset`.
    pub reset: OffsetReset,
    /// `auto.commit.interval.ms`.
    pub commit_interval: Span,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait: Span,
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub max_partition_fetch_bytes: i32,
    /// `request.timeout.ms`.
    pub request_timeout: Span,
    /// `retry.backoff.ms`.
    pub retry_backoff: Span,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Span,
}

/// The whole consumer of 0.8 that balances itself over ZooKeeper (§6.10), one stream per process.
#[derive(Clone, Debug)]
pub struct ZkConsumerImage {
    /// What every client has.
    pub work: Work,
    /// Where ids, owners and offsets are.
    pub zookeeper: Arc<ZkClientConfig>,
    /// `group.id`.
    pub group: Arc<str>,
    /// What it subscribes to.
    pub topic: Topic,
    /// Threads (streams) for the topic: as many claims as one process makes.
    pub streams: u32,
    /// `auto.offset.reset`: `smallest` or `largest`.
    pub reset: OffsetReset,
    /// `auto.commit.interval.ms`.
    pub commit_interval: Span,
    /// `rebalance.max.retries`.
    pub rebalance_max_retries: u32,
    /// `rebalance.backoff.ms`.
    pub rebalance_backoff: Span,
    /// `refresh.leader.backoff.ms`.
    pub refresh_leader_backoff: Span,
    /// `fetch.wait.max.ms`.
    pub fetch_max_wait: Span,
    /// `fetch.message.max.bytes`.
    pub fetch_message_max_bytes: i32,
    /// `socket.timeout.ms`.
    pub socket_timeout: Span,
}

/// Through what topics are created.
#[derive(Clone, Debug)]
pub enum CreateTopicsBy {
    /// CreateTopics to the controller (§4.7).
    Api,
    /// The znodes, as `kafka-topics --zookeeper` did; the assignment is the tool's own (§4.8).
    Znode(Arc<ZkClientConfig>),
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Topic,
    /// How many partitions; not read if there is an assignment.
    pub partitions: i32,
    /// How many replicas each; not read if there is an assignment.
    pub replication_factor: i16,
    /// Who has the replicas of each partition, the preferred leader first; drawn by §4.8 if empty.
    pub assignment: BTreeMap<i32, Vec<BrokerId>>,
    /// Topic configuration.
    pub config: BTreeMap<String, String>,
}

/// An admin client: creates topics, then rests.
#[derive(Clone, Debug)]
pub struct AdminImage {
    /// What every client has.
    pub work: Work,
    /// How it creates them.
    pub by: CreateTopicsBy,
    /// What is to be there. A topic that exists already is left as it is.
    pub topics: Vec<NewTopic>,
    /// `request.timeout.ms`.
    pub request_timeout: Span,
    /// How many brokers must be registered before it begins: a topic cannot have more replicas than there are brokers.
    pub brokers_expected: usize,
}

/// An operator who deletes `/controller` now and then.
#[derive(Clone, Debug)]
pub struct OperatorImage {
    /// What every client has.
    pub work: Work,
    /// Where `/controller` is.
    pub zookeeper: Arc<ZkClientConfig>,
    /// How long it waits between two deletions, and before the first.
    pub every: Span,
}

/// What a client of Kafka is told when it boots.
#[derive(Clone, Debug)]
pub enum KafkaClientImage {
    /// A producer.
    Producer(Arc<ProducerImage>),
    /// A consumer of given partitions.
    Consumer(Arc<ConsumerImage>),
    /// The consumer of 0.8.
    ZkConsumer(Arc<ZkConsumerImage>),
    /// An admin.
    Admin(Arc<AdminImage>),
    /// An operator.
    Operator(Arc<OperatorImage>),
}
