//! `[[workloads]]`: what clients do.

use clients::WorkloadKind;
use engine::SpanRange;
use machine::Span;
use serde::{Deserialize, Serialize};
use zkclient::{AuthInfo, Chroot, ConnectString};

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Of ZooKeeper: creates persistent znodes with unique paths, reads them, deletes some.
    UniqueCreates,
    /// Of ZooKeeper: a versioned register per key.
    CompareAndSet,
    /// Of ZooKeeper: creates and deletes ephemerals, watches those of others.
    Ephemerals,
    /// Of ZooKeeper: sequential znodes.
    Sequentials,
    /// Of ZooKeeper: pairs of counters which one multi keeps equal.
    Multi,
    /// Of ZooKeeper: watches on keys that all clients change.
    Watches,
    /// Of ZooKeeper: the lock recipe with a fencing token.
    Lock,
    /// Of ZooKeeper: an operator who adds, removes, promotes and demotes servers. It needs `reconfigEnabled` and `skipACL`.
    Reconfigure,
    /// Of ZooKeeper: the leader election recipe with an epoch.
    Election,
    /// Of ZooKeeper: the queue recipe.
    Queue,
    /// Of ZooKeeper: the barrier recipe; the first client sets and lifts barriers, the others wait at them.
    Barrier,
    /// Of ZooKeeper: the double barrier recipe; all clients enter together and leave together.
    DoubleBarrier,
    /// Of ZooKeeper: random operations of all kinds on a small tree.
    RandomOperations,
    /// Of Kafka: produces records.
    Produce,
    /// Of Kafka: reads given partitions up to the high watermark, with offsets in ZooKeeper.
    Consume,
    /// Of Kafka: the consumer of 0.8, which balances itself over ZooKeeper.
    ZookeeperConsume,
    /// Of Kafka: an operator who deletes `/controller` now and then.
    MoveController,
    /// Of Kafka: creates the scenario's topics; every world with topics has one.
    #[serde(skip)]
    CreateTopics,
}

impl Kind {
    /// The name in scenario files and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UniqueCreates => WorkloadKind::UniqueCreates.name(),
            Self::CompareAndSet => WorkloadKind::CompareAndSet.name(),
            Self::Ephemerals => WorkloadKind::Ephemerals.name(),
            Self::Sequentials => WorkloadKind::Sequentials.name(),
            Self::Multi => WorkloadKind::Multi.name(),
            Self::Watches => WorkloadKind::Watches.name(),
            Self::Lock => WorkloadKind::Lock.name(),
            Self::Reconfigure => WorkloadKind::Reconfigure.name(),
            Self::Election => WorkloadKind::Election.name(),
            Self::Queue => WorkloadKind::Queue.name(),
            Self::Barrier => WorkloadKind::Barrier.name(),
            Self::DoubleBarrier => WorkloadKind::DoubleBarrier.name(),
            Self::RandomOperations => WorkloadKind::RandomOperations.name(),
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::ZookeeperConsume => "zookeeper-consume",
            Self::MoveController => "move-controller",
            Self::CreateTopics => "create-topics",
        }
    }

    /// The ZooKeeper workload, if it is one.
    #[must_use]
    pub const fn zk(self) -> Option<WorkloadKind> {
        Some(match self {
            Self::UniqueCreates => WorkloadKind::UniqueCreates,
            Self::CompareAndSet => WorkloadKind::CompareAndSet,
            Self::Ephemerals => WorkloadKind::Ephemerals,
            Self::Sequentials => WorkloadKind::Sequentials,
            Self::Multi => WorkloadKind::Multi,
            Self::Watches => WorkloadKind::Watches,
            Self::Lock => WorkloadKind::Lock,
            Self::Reconfigure => WorkloadKind::Reconfigure,
            Self::Election => WorkloadKind::Election,
            Self::Queue => WorkloadKind::Queue,
            Self::Barrier => WorkloadKind::Barrier,
            Self::DoubleBarrier => WorkloadKind::DoubleBarrier,
            Self::RandomOperations => WorkloadKind::RandomOperations,
            Self::Produce | Self::Consume | Self::ZookeeperConsume | Self::MoveController | Self::CreateTopics => {
                return None;
            }
        })
    }
}

/// `acks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acks {
    /// Nobody.
    #[serde(rename = "0")]
    Zero,
    /// The leader.
    #[serde(rename = "1")]
    One,
    /// Everybody in the ISR.
    #[default]
    #[serde(rename = "all")]
    All,
}

/// How a producer finds brokers and partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One broker by address, in turn over the clients, as behind a layer-4 load balancer.
    FixedBroker,
    /// Watches on `/brokers/ids` and `/brokers/topics`, as the producer of 0.7.
    Zookeeper,
    /// Metadata of any broker.
    #[default]
    Metadata,
}

/// `auto.offset.reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// The start of the log.
    #[default]
    Earliest,
    /// Its end.
    Latest,
}

/// `[[workloads]]`: clients that do the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// What they do.
    pub kind: Kind,
    /// How many clients.
    #[serde(default = "two")]
    pub clients: u32,
    /// Operations, or records, per second and client.
    #[serde(default = "ten")]
    pub rate_per_second: u32,
    /// The session timeout they ask ZooKeeper for.
    #[serde(default = "session_timeout")]
    pub session_timeout: SpanRange,
    /// Which servers a client of ZooKeeper knows, and perhaps below which znode it lives: `zk1:2181,zk2/app`. All of them, and
    /// the root, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// Below which znode a client of ZooKeeper lives; it makes that znode if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chroot: Option<String>,
    /// Whether a server without an ensemble will do for a client of ZooKeeper (`readonlymode.enabled` there).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_be_read_only: bool,
    /// An identity that a client of ZooKeeper claims, such as `digest:user:password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// `zookeeper.request.timeout`; for ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zookeeper_request_timeout: Option<SpanRange>,
    /// How many keys they share: few make contention. Of records: how many different keys; 0 for records without a key.
    #[serde(default = "four")]
    pub keys: u32,
    /// Logical processes of a client of ZooKeeper, each with one operation open at a time; two if absent. Whoever plays one
    /// part in a recipe (lock, election, barriers) is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// How long a process rests behind its last operation; how long a lock is held.
    #[serde(default = "think")]
    pub think: SpanRange,
    /// How long an operator waits between two deletions of `/controller`.
    #[serde(default = "every")]
    pub every: SpanRange,
    /// When they start; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<SpanRange>,
    /// The topic that is produced to, or read; the first of the file if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// A producer's `acks`.
    #[serde(default)]
    pub acks: Acks,
    /// How a producer finds brokers and partitions.
    #[serde(default)]
    pub balance: Balance,
    /// The length of a record's value, in bytes.
    #[serde(default = "record_bytes")]
    pub record_bytes: u32,
    /// A producer's `batch.size`, in bytes; 16384 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<u32>,
    /// `linger.ms`.
    #[serde(default)]
    pub linger: SpanRange,
    /// `max.in.flight.requests.per.connection`.
    #[serde(default = "five")]
    pub max_in_flight: u32,
    /// `request.timeout.ms`, and `socket.timeout.ms` of the consumer of 0.8.
    #[serde(default = "request_timeout")]
    pub request_timeout: SpanRange,
    /// `socket.connection.setup.timeout.ms`; 10 s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_timeout: Option<SpanRange>,
    /// `delivery.timeout.ms`.
    #[serde(default = "delivery_timeout")]
    pub delivery_timeout: SpanRange,
    /// `retries`.
    #[serde(default = "retries")]
    pub retries: u32,
    /// A consumer's `group.id`; `g` and the workload's number if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A consumer's `auto.offset.reset`.
    #[serde(default)]
    pub reset: Reset,
    /// How long a fetch waits for records, shorter than a request may take: a consumer's `fetch.max.wait.ms`, 500 ms if absent,
    /// and `fetch.wait.max.ms` of the consumer of 0.8, 100 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_wait: Option<SpanRange>,
    /// A consumer's `auto.commit.interval.ms`.
    #[serde(default = "commit_every")]
    pub commit_every: SpanRange,
    /// Streams of the consumer of 0.8.
    #[serde(default = "one")]
    pub streams: u32,
    /// `rebalance.max.retries` of the consumer of 0.8.
    #[serde(default = "four")]
    pub rebalance_max_retries: u32,
    /// `rebalance.backoff.ms` of the consumer of 0.8.
    #[serde(default = "rebalance_backoff")]
    pub rebalance_backoff: SpanRange,
}

impl Workload {
    /// Whether a broker is needed for it.
    #[must_use]
    pub const fn is_of_kafka(&self) -> bool {
        self.kind.zk().is_none()
    }

    /// The first key that is there and says something about clients of ZooKeeper only.
    #[must_use]
    pub fn zookeeper_key(&self) -> Option<&'static str> {
        [
            ("connect", self.connect.is_some()),
            ("chroot", self.chroot.is_some()),
            ("can_be_read_only", self.can_be_read_only),
            ("auth", self.auth.is_some()),
            ("zookeeper_request_timeout", self.zookeeper_request_timeout.is_some()),
        ]
        .into_iter()
        .find_map(|(key, is_there)| is_there.then_some(key))
    }

    /// Where in the tree its clients of ZooKeeper live.
    ///
    /// # Errors
    /// If `connect` or `chroot` cannot be read, or both say it.
    pub fn chroot(&self) -> Result<Chroot, String> {
        let connect = self.connect.as_deref().map(connect_string).transpose()?;
        let connect = connect.map_or(Chroot::NONE, |connect| connect.chroot);
        let Some(chroot) = &self.chroot else { return Ok(connect) };
        if connect != Chroot::NONE {
            return Err("`connect` and `chroot` both say where its clients live".to_owned());
        }
        Chroot::new(chroot).map_err(|error| format!("the chroot `{chroot}` is no path: {error}"))
    }

    /// The identity its clients of ZooKeeper claim.
    ///
    /// # Errors
    /// If it is not one that a server would believe.
    pub fn auth_info(&self) -> Result<Option<AuthInfo>, String> {
        let Some(auth) = &self.auth else { return Ok(None) };
        match auth.split_once(':') {
            Some((scheme @ "digest", proof)) if proof.contains(':') => {
                Ok(Some(AuthInfo { scheme: scheme.into(), auth: jute::Buffer::new(proof.as_bytes().to_vec()) }))
            }
            _ => Err(format!("the identity `{auth}` is not of the form digest:USER:PASSWORD")),
        }
    }

    /// How long a fetch of its consumers waits for records; zero of who fetches nothing.
    #[must_use]
    pub fn fetch_wait(&self) -> SpanRange {
        let default = match self.kind {
            Kind::Consume => Span::millis(500),
            Kind::ZookeeperConsume => Span::millis(100),
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
            | Kind::CreateTopics
            | Kind::Produce
            | Kind::MoveController => return SpanRange::ZERO,
        };
        self.fetch_wait.unwrap_or(SpanRange::exactly(default))
    }
}

/// Reads a connect string.
pub(crate) fn connect_string(text: &str) -> Result<ConnectString, String> {
    text.parse().map_err(|error| format!("the connect string `{text}` cannot be read: {error}"))
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn four() -> u32 {
    4
}

fn five() -> u32 {
    5
}

fn ten() -> u32 {
    10
}

fn every() -> SpanRange {
    SpanRange::between(Span::secs(2), Span::secs(6))
}

fn record_bytes() -> u32 {
    100
}

fn retries() -> u32 {
    i32::MAX.unsigned_abs()
}

fn think() -> SpanRange {
    SpanRange::between(Span::millis(1), Span::millis(50))
}

fn session_timeout() -> SpanRange {
    SpanRange::between(Span::secs(2), Span::secs(4))
}

fn request_timeout() -> SpanRange {
    SpanRange::exactly(Span::secs(5))
}

fn delivery_timeout() -> SpanRange {
    SpanRange::exactly(Span::secs(20))
}

fn commit_every() -> SpanRange {
    SpanRange::between(Span::millis(500), Span::secs(2))
}

fn rebalance_backoff() -> SpanRange {
    SpanRange::exactly(Span::secs(2))
}
