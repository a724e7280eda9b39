//! The sections of a scenario file.

use std::collections::BTreeMap;

use engine::{Rule, SpanRange};
use machine::Span;
use machine::disk::{CrashModel, Metadata};
use serde::{Deserialize, Serialize};

use super::workload::Workload;
use crate::nemesis::Nemesis;
use crate::swarm::Swarm;

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a sentence or two: the report opens with it.
    pub about: String,
    /// How long faults may strike. After that everything heals.
    pub duration: SpanRange,
    /// How long the healed world may take to converge.
    #[serde(default = "settle")]
    pub settle: SpanRange,
    /// The servers.
    pub cluster: Cluster,
    /// The links between all hosts.
    #[serde(default)]
    pub network: Network,
    /// Kafka's topics, created before anything else is done with them.
    #[serde(default)]
    pub topics: Vec<Topic>,
    /// What clients do.
    #[serde(default)]
    pub workloads: Vec<Workload>,
    /// The schedule.
    #[serde(default)]
    pub faults: Vec<Rule>,
    /// What draws more faults from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nemesis: Option<Nemesis>,
    /// What draws the run as a whole from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<Swarm>,
    /// Faults that would make recovery impossible are refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub budget: bool,
    /// What comes between the faults and the healed world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// What a swarm drew, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drawn: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// `[liveness]`: before everything heals, a core is healed for good and must get on while the rest stays broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Liveness {
    /// Which core.
    pub core: CoreChoice,
    /// How long the core may take without getting any further.
    #[serde(default = "patience")]
    pub patience: SpanRange,
}

fn patience() -> SpanRange {
    SpanRange::exactly(Span::secs(30))
}

/// Which servers are healed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoreChoice {
    /// All: nothing stays broken.
    Full,
    /// One of the variants, drawn.
    Drawn,
}

fn settle() -> SpanRange {
    SpanRange::exactly(Span::secs(60))
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// `[cluster]`: the servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// How many coordinators: one number, or several of which one is drawn.
    pub coordinators: OneOf,
    /// How many coordinators beside them that do not vote.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observers: u8,
    /// A real `zoo.cfg`, beside the scenario file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zoo_cfg: Option<String>,
    /// Keys of `zoo.cfg`, in the file itself; they win over `zoo_cfg`.
    #[serde(default)]
    pub zoo: Keys,
    /// How many brokers: one number, or several of which one is drawn; none if absent.
    #[serde(default = "no_brokers")]
    pub brokers: OneOf,
    /// A real `server.properties`, beside the scenario file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_properties: Option<String>,
    /// Keys of `server.properties`, in the file itself; they win over `server_properties`.
    #[serde(default)]
    pub kafka: Keys,
    /// Over how many racks the brokers are spread, in turn; 0 for none.
    #[serde(default)]
    pub racks: u32,
    /// Brokers that start later, by name, such as `kafka4 = "20s"`.
    #[serde(default)]
    pub late: BTreeMap<String, SpanRange>,
    /// Through what topics are created.
    #[serde(default)]
    pub create_topics: CreateTopics,
    /// How Kafka's messages are carried; drawn if absent. It changes nothing but the speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
    /// How long a supervisor takes to start a server again that exited.
    #[serde(default = "restart")]
    pub restart_after: SpanRange,
    /// The servers' disks.
    #[serde(default)]
    pub disk: Disk,
    /// Everybody's clocks.
    #[serde(default)]
    pub clocks: Clocks,
    /// Historical bugs to switch on, by public id.
    #[serde(default)]
    pub defects: Vec<String>,
}

fn no_brokers() -> OneOf {
    OneOf::Exactly(0)
}

fn restart() -> SpanRange {
    SpanRange::between(Span::millis(500), Span::secs(3))
}

/// One number, or several of which one is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, or a list of numbers such as [3, 5]")]
pub enum OneOf {
    /// Always this.
    Exactly(u32),
    /// One of these.
    Drawn(Vec<u32>),
}

impl OneOf {
    /// The numbers there are to choose from.
    #[must_use]
    pub fn choices(&self) -> &[u32] {
        match self {
            Self::Exactly(number) => std::slice::from_ref(number),
            Self::Drawn(numbers) => numbers,
        }
    }
}

/// Keys of a configuration file with their values, checked like a real file: `[cluster.zoo]`, `[cluster.kafka]`, a topic's.
pub type Keys = BTreeMap<String, KeyValue>;

/// A value of such a key: numbers and booleans need no quotes in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, true, false or a text")]
pub enum KeyValue {
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Anything else.
    Text(String),
}

impl std::fmt::Display for KeyValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// `[cluster.disk]`: what the servers' disks are like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// What a loss of power leaves of what was not synced; drawn per host if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<CrashModel>,
    /// What makes creations, renames and removals durable; `journaled` if absent, as on ext4 and XFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// How long a sync takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SpanRange>,
    /// How many bytes it holds; no limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
}

/// `[cluster.clocks]`: how far the hosts' clocks are apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clocks {
    /// Calendars differ by at most this, in both directions; drawn per host.
    pub offset: SpanRange,
    /// Clocks run off by at most this many parts per million, in both directions; drawn per host.
    pub drift_ppm: u32,
}

impl Default for Clocks {
    fn default() -> Self {
        Self { offset: SpanRange::exactly(Span::millis(500)), drift_ppm: 100 }
    }
}

/// `[network]`: the links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Base latency of a link, drawn once per ordered pair of hosts; a data centre's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<SpanRange>,
    /// What each segment takes on top; mostly little, sometimes 2 ms, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<SpanRange>,
}

/// Through what topics are created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CreateTopics {
    /// CreateTopics to the controller.
    #[default]
    Api,
    /// The znodes, as `kafka-topics --zookeeper` did.
    Znode,
}

/// How Kafka's messages are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// As values.
    Values,
    /// Each is encoded and decoded again before it leaves.
    Bytes,
}

/// `[[topics]]`: a topic of Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    #[serde(default = "one")]
    pub partitions: u32,
    /// How many replicas each has.
    #[serde(default = "three")]
    pub replication_factor: u32,
    /// Who has them, by partition, the preferred leader first; drawn if absent.
    #[serde(default)]
    pub assignment: BTreeMap<String, Vec<i32>>,
    /// Topic configuration, such as `"min.insync.replicas" = 2`.
    #[serde(default)]
    pub config: Keys,
}

fn one() -> u32 {
    1
}

fn three() -> u32 {
    3
}
