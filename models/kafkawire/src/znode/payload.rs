//! What is in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{BrokerId, ControllerEpoch, LeaderEpoch, Offset, Topic, TopicPartition};

/// A payload is not what its path promises.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a payload of {of}: {why}")]
pub struct BadPayload {
    /// Where it was found.
    pub of: &'static str,
    /// What is wrong.
    pub why: String,
}

impl BadPayload {
    fn new(of: &'static str, why: impl ToString) -> Self {
        Self { of, why: why.to_string() }
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("payloads have string keys and no floats"))
}

fn from_json<T: DeserializeOwned>(of: &'static str, bytes: &[u8]) -> Result<T, BadPayload> {
    serde_json::from_slice(bytes).map_err(|why| BadPayload::new(of, why))
}

fn check_version(of: &'static str, version: i32, known: std::ops::RangeInclusive<i32>) -> Result<(), BadPayload> {
    if known.contains(&version) { Ok(()) } else { Err(BadPayload::new(of, format_args!("version {version}"))) }
}

fn decimal<T: std::str::FromStr<Err: ToString>>(of: &'static str, bytes: &[u8]) -> Result<T, BadPayload> {
    let text = std::str::from_utf8(bytes).map_err(|why| BadPayload::new(of, why))?;
    text.parse().map_err(|why: T::Err| BadPayload::new(of, why))
}

/// The text of `/controller_epoch`.
#[must_use]
pub fn encode_controller_epoch(epoch: ControllerEpoch) -> Bytes {
    Bytes::from(epoch.to_string())
}

/// Reads the text of `/controller_epoch`.
///
/// # Errors
/// If it is no decimal number of 32 bits.
pub fn decode_controller_epoch(bytes: &[u8]) -> Result<ControllerEpoch, BadPayload> {
    decimal("/controller_epoch", bytes).map(ControllerEpoch)
}

/// The text of `/consumers/G/offsets/T/P`.
#[must_use]
pub fn encode_offset(offset: Offset) -> Bytes {
    Bytes::from(offset.to_string())
}

/// Reads the text of `/consumers/G/offsets/T/P`.
///
/// # Errors
/// If it is no decimal number of 64 bits.
pub fn decode_offset(bytes: &[u8]) -> Result<Offset, BadPayload> {
    decimal("/consumers/G/offsets/T/P", bytes).map(Offset)
}

/// `/controller`, version 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerClaim {
    /// Who claims.
    pub broker: BrokerId,
    /// Since when, by its own calendar: milliseconds since 1970.
    pub timestamp_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct ControllerClaimJson {
    version: i32,
    brokerid: BrokerId,
    timestamp: String,
}

impl ControllerClaim {
    const OF: &str = "/controller";

    /// As a broker writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        to_json(&ControllerClaimJson { version: 1, brokerid: self.broker, timestamp: self.timestamp_ms.to_string() })
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not JSON with these keys.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        let json: ControllerClaimJson = from_json(Self::OF, bytes)?;
        Ok(Self { broker: json.brokerid, timestamp_ms: decimal(Self::OF, json.timestamp.as_bytes())? })
    }
}

/// `/brokers/ids/N` with one PLAINTEXT listener. The broker epoch is not in it: it is the znode's czxid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerRegistration {
    /// The advertised host; empty if there is no PLAINTEXT listener.
    pub host: Arc<str>,
    /// The advertised port; −1 if there is no PLAINTEXT listener.
    pub port: i32,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// When it registered, by its own calendar: milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The version of the payload.
    pub version: i32,
}

#[derive(Serialize, Deserialize)]
struct BrokerRegistrationJson {
    #[serde(default)]
    listener_security_protocol_map: BTreeMap<String, String>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    jmx_port: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    features: Option<serde_json::Map<String, serde_json::Value>>,
    host: Option<Arc<str>>,
    timestamp: String,
    port: i32,
    version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rack: Option<Arc<str>>,
}

impl BrokerRegistration {
    const OF: &str = "/brokers/ids/N";
    /// What a broker of era E22 writes: `features`, and with them version 5, came with `inter.broker.protocol.version=2.7`.
    pub const VERSION: i32 = 4;
    const FEATURES_SINCE: i32 = 5;

    /// A registration of this era.
    #[must_use]
    pub fn new(host: impl Into<Arc<str>>, port: u16, rack: Option<Arc<str>>, timestamp_ms: i64) -> Self {
        Self { host: host.into(), port: i32::from(port), rack, timestamp_ms, version: Self::VERSION }
    }

    /// As a broker writes it.
    ///
    /// # Panics
    /// If the version is below 4: those have no listener names, and no broker of this era writes them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        assert!(self.version >= Self::VERSION, "no broker writes version {}", self.version);
        to_json(&BrokerRegistrationJson {
            listener_security_protocol_map: BTreeMap::from([("PLAINTEXT".to_owned(), "PLAINTEXT".to_owned())]),
            endpoints: vec![format!("PLAINTEXT://{}:{}", self.host, self.port)],
            jmx_port: -1,
            features: (self.version >= Self::FEATURES_SINCE).then(serde_json::Map::new),
            host: Some(Arc::clone(&self.host)),
            timestamp: self.timestamp_ms.to_string(),
            port: self.port,
            version: self.version,
            rack: self.rack.clone(),
        })
    }

    /// Reads versions 1 to 5.
    ///
    /// # Errors
    /// If it is not JSON with these keys, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        let json: BrokerRegistrationJson = from_json(Self::OF, bytes)?;
        check_version(Self::OF, json.version, 1..=5)?;
        Ok(Self {
            host: json.host.unwrap_or_default(),
            port: json.port,
            rack: json.rack,
            timestamp_ms: decimal(Self::OF, json.timestamp.as_bytes())?,
            version: json.version,
        })
    }
}

/// `/brokers/topics/T`: the replicas of every partition, the preferred leader first.
///
/// Replicas being added or removed are written empty and not read: a reassignment is deferred.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicAssignment {
    /// Partition to replicas.
    pub partitions: BTreeMap<i32, Vec<BrokerId>>,
}

/// Version 1 has no replicas in motion, version 3 has a topic id: unknown keys are skipped.
#[derive(Serialize, Deserialize)]
struct TopicAssignmentJson {
    version: i32,
    partitions: BTreeMap<i32, Vec<BrokerId>>,
    #[serde(default, skip_deserializing)]
    adding_replicas: BTreeMap<i32, Vec<BrokerId>>,
    #[serde(default, skip_deserializing)]
    removing_replicas: BTreeMap<i32, Vec<BrokerId>>,
}

impl TopicAssignment {
    const OF: &str = "/brokers/topics/T";

    /// As version 2, without replicas in motion.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        to_json(&TopicAssignmentJson {
            version: 2,
            partitions: self.partitions.clone(),
            adding_replicas: BTreeMap::new(),
            removing_replicas: BTreeMap::new(),
        })
    }

    /// Reads versions 1 to 3.
    ///
    /// # Errors
    /// If it is not JSON with these keys, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        let json: TopicAssignmentJson = from_json(Self::OF, bytes)?;
        check_version(Self::OF, json.version, 1..=3)?;
        Ok(Self { partitions: json.partitions })
    }
}

/// `/brokers/topics/T/partitions/P/state`, version 1. The partition epoch is not in it: it is the znode's version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    /// The controller that elected the leader.
    pub controller_epoch: ControllerEpoch,
    /// The leader; written −1 if there is none.
    pub leader: Option<BrokerId>,
    /// The epoch of the leadership.
    pub leader_epoch: LeaderEpoch,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
}

#[derive(Serialize, Deserialize)]
struct PartitionStateJson {
    controller_epoch: ControllerEpoch,
    leader: BrokerId,
    version: i32,
    leader_epoch: LeaderEpoch,
    isr: Vec<BrokerId>,
}

impl PartitionState {
    const OF: &str = "/brokers/topics/T/partitions/P/state";
    const NO_LEADER: BrokerId = BrokerId(-1);

    /// As controller and leaders write it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        to_json(&PartitionStateJson {
            controller_epoch: self.controller_epoch,
            leader: self.leader.unwrap_or(Self::NO_LEADER),
            version: 1,
            leader_epoch: self.leader_epoch,
            isr: self.isr.clone(),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not JSON with these keys.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        let json: PartitionStateJson = from_json(Self::OF, bytes)?;
        Ok(Self {
            controller_epoch: json.controller_epoch,
            leader: Some(json.leader).filter(|&leader| leader != Self::NO_LEADER),
            leader_epoch: json.leader_epoch,
            isr: json.isr,
        })
    }
}

/// `/isr_change_notification/isr_change_N`, version 1.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IsrChange {
    /// Whose ISR was written.
    pub partitions: Vec<TopicPartition>,
}

#[derive(Serialize, Deserialize)]
struct IsrChangeJson {
    version: i32,
    partitions: Vec<TopicPartitionJson>,
}

#[derive(Serialize, Deserialize)]
struct TopicPartitionJson {
    topic: Topic,
    partition: i32,
}

impl IsrChange {
    const OF: &str = "/isr_change_notification/isr_change_N";

    /// As leaders write it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let partitions = self.partitions.iter();
        let partitions = partitions.map(|p| TopicPartitionJson { topic: p.topic.clone(), partition: p.partition });
        to_json(&IsrChangeJson { version: 1, partitions: partitions.collect() })
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not JSON with these keys, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        let json: IsrChangeJson = from_json(Self::OF, bytes)?;
        check_version(Self::OF, json.version, 1..=1)?;
        let partitions = json.partitions.into_iter();
        Ok(Self { partitions: partitions.map(|p| TopicPartition::new(p.topic, p.partition)).collect() })
    }
}

/// `/config/topics/T`, version 1: what a topic sets itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicConfig {
    /// Key to value, as text.
    pub config: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct TopicConfigJson {
    version: i32,
    config: BTreeMap<String, String>,
}

impl TopicConfig {
    const OF: &str = "/config/topics/T";

    /// As whoever creates the topic writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        to_json(&TopicConfigJson { version: 1, config: self.config.clone() })
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not JSON with these keys, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        let json: TopicConfigJson = from_json(Self::OF, bytes)?;
        check_version(Self::OF, json.version, 1..=1)?;
        Ok(Self { config: json.config })
    }
}

/// `/cluster/id`, version "1".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterId {
    /// A UUID in 22 characters of base64.
    pub id: String,
}

#[derive(Serialize, Deserialize)]
struct ClusterIdJson {
    version: String,
    id: String,
}

impl ClusterId {
    /// As the first broker writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        to_json(&ClusterIdJson { version: "1".to_owned(), id: self.id.clone() })
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not JSON with these keys.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        from_json("/cluster/id", bytes).map(|json: ClusterIdJson| Self { id: json.id })
    }
}

/// `/consumers/G/ids/C`, version 1: a member of a group that is balanced by ZooKeeper.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerRegistration {
    /// Topic to number of threads.
    pub subscription: BTreeMap<String, i32>,
    /// How topics were named: `static`, `white_list` or `black_list`.
    pub pattern: String,
    /// When it registered, by its own calendar: milliseconds since 1970.
    pub timestamp_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct ConsumerRegistrationJson {
    version: i32,
    subscription: BTreeMap<String, i32>,
    pattern: String,
    timestamp: String,
}

impl ConsumerRegistration {
    const OF: &str = "/consumers/G/ids/C";

    /// As consumers write it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        to_json(&ConsumerRegistrationJson {
            version: 1,
            subscription: self.subscription.clone(),
            pattern: self.pattern.clone(),
            timestamp: self.timestamp_ms.to_string(),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not JSON with these keys, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        let json: ConsumerRegistrationJson = from_json(Self::OF, bytes)?;
        check_version(Self::OF, json.version, 1..=1)?;
        Ok(Self {
            subscription: json.subscription,
            pattern: json.pattern,
            timestamp_ms: decimal(Self::OF, json.timestamp.as_bytes())?,
        })
    }
}
