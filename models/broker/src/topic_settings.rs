//! What holds for one topic: `server.properties`, and over it what `/config/topics/T` says (kafka-broker.md §1.4, §1.8).

use std::collections::BTreeMap;
use std::str::FromStr;

use commitlog::LogConfig;
use jute::client::Response;
use jute::op::ErrorCode;
use kafkawire::Topic;
use kafkawire::znode::{self, BadPayload, TopicConfig};
use serde::Serialize;

use crate::BrokerConfig;
use crate::zookeeper::{ZkError, ZkRequest, ZkResult};

/// A topic's settings, as the broker applies them to its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicSettings {
    /// Of its logs.
    pub log: LogConfig,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
}

/// Keys of a topic that are known and kept, but steer nothing here: retention, compaction, timestamps, compression, throttling.
const DEFERRED: &[&str] = &[
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
    "max.compaction.lag.ms",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "preallocate",
    "retention.bytes",
    "retention.ms",
    "segment.jitter.ms",
];

/// Why a topic's own configuration cannot be applied (`ConfigException`).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTopicConfig {
    /// No topic has this key.
    #[error("Unknown topic config name: {0}")]
    UnknownKey(String),
    /// The value is of another kind, or out of its range.
    #[error("Invalid value {value} for configuration {key}")]
    BadValue {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// What ZooKeeper holds is no configuration.
    #[error(transparent)]
    Payload(#[from] BadPayload),
    /// ZooKeeper did not say.
    #[error("ZooKeeper answered {0:?}")]
    Unread(ZkError),
}

impl TopicSettings {
    /// Those of a topic that sets nothing itself.
    #[must_use]
    pub fn defaults(config: &BrokerConfig) -> Self {
        Self {
            log: config.log.clone(),
            min_insync_replicas: config.min_insync_replicas,
            unclean_leader_election_enable: config.unclean_leader_election_enable,
        }
    }

    /// The read that tells a topic's own configuration.
    #[must_use]
    pub fn request(topic: &Topic) -> ZkRequest {
        ZkRequest::GetData { path: znode::topic_config(topic) }
    }

    /// The settings that follow from the result of [`request`](Self::request); a topic without a znode sets nothing itself.
    ///
    /// # Errors
    /// If ZooKeeper gave no answer, or one that cannot be applied. Keys that nobody knows are ignored, as brokers ignore them.
    ///
    /// # Panics
    /// If it is the result of another operation.
    pub fn read(config: &BrokerConfig, result: &ZkResult) -> Result<Self, BadTopicConfig> {
        let data = match result {
            Ok(Some(Response::GetData(read))) => read.data.as_slice(),
            Err(ZkError::Code(ErrorCode::NoNode)) => return Ok(Self::defaults(config)),
            Err(why) => return Err(BadTopicConfig::Unread(*why)),
            Ok(other) => panic!("getData was answered by {other:?}"),
        };
        if data.is_empty() {
            return Ok(Self::defaults(config));
        }
        let own = TopicConfig::decode(data)?;
        let mut this = Self::defaults(config);
        for (key, value) in &own.config {
            match this.set(key, value) {
                Ok(()) | Err(BadTopicConfig::UnknownKey(_)) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(this)
    }

    /// The settings of a topic that sets these itself, as a creation checks them (`LogConfig.validate`).
    ///
    /// # Errors
    /// Names the first key that is unknown or badly set.
    pub fn with(config: &BrokerConfig, own: &BTreeMap<String, String>) -> Result<Self, BadTopicConfig> {
        let mut this = Self::defaults(config);
        for (key, value) in own {
            this.set(key, value)?;
        }
        Ok(this)
    }

    /// `Simplified:` keys of what is deferred are accepted with any value.
    fn set(&mut self, key: &str, value: &str) -> Result<(), BadTopicConfig> {
        match key {
            "max.message.bytes" => self.log.max_message_bytes = number(key, value, 0)?,
            "segment.bytes" => self.log.segment_bytes = number(key, value, 14)?,
            "segment.ms" => self.log.segment_ms = number(key, value, 1)?,
            "segment.index.bytes" => self.log.index_max_bytes = number(key, value, 24)?,
            "index.interval.bytes" => self.log.index_interval_bytes = number(key, value, 0)?,
            "flush.messages" => self.log.flush_messages = number(key, value, 1)?,
            "flush.ms" => self.log.flush_ms = number(key, value, 0)?,
            "file.delete.delay.ms" => {
                self.log.file_delete_delay = machine::Span::millis(number(key, value, 0)?);
            }
            "min.insync.replicas" => self.min_insync_replicas = number(key, value, 1)?,
            "unclean.leader.election.enable" => self.unclean_leader_election_enable = flag(key, value)?,
            _ if DEFERRED.contains(&key) => {}
            _ => return Err(BadTopicConfig::UnknownKey(key.to_owned())),
        }
        Ok(())
    }
}

fn number<T: FromStr + PartialOrd>(key: &str, value: &str, least: T) -> Result<T, BadTopicConfig> {
    let number = value.trim().parse().ok().filter(|number| *number >= least);
    number.ok_or_else(|| BadTopicConfig::BadValue { key: key.to_owned(), value: value.to_owned() })
}

fn flag(key: &str, value: &str) -> Result<bool, BadTopicConfig> {
    let text = value.trim();
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(BadTopicConfig::BadValue { key: key.to_owned(), value: value.to_owned() })
    }
}
