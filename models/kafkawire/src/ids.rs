//! The newtypes both ends share. Sentinels such as −1 live in messages and znodes; inside machines there is `Option`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($of:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $of);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// `broker.id`.
    BrokerId(i32)
}
number! {
    /// A position in a partition's log; also the next one to be written (log end offset) or committed (high watermark).
    Offset(i64)
}
number! {
    /// The epoch of a partition's leadership: in `state` znodes, control requests, fetches and batches.
    LeaderEpoch(i32)
}
number! {
    /// The epoch of a controller: the text of `/controller_epoch`.
    ControllerEpoch(i32)
}
number! {
    /// The incarnation of a registered broker: the czxid of `/brokers/ids/N` (KIP-380).
    BrokerEpoch(i64)
}
number! {
    /// The zkVersion of a partition's `state` znode.
    PartitionEpoch(i32)
}

impl Offset {
    /// The start of every log.
    pub const ZERO: Self = Self(0);

    /// The offset `by` further on.
    #[must_use]
    pub const fn plus(self, by: i64) -> Self {
        Self(self.0 + by)
    }
}

impl BrokerId {
    /// The id as messages of the crate carry it.
    #[must_use]
    pub const fn wire(self) -> kafka_protocol::messages::BrokerId {
        kafka_protocol::messages::BrokerId(self.0)
    }
}

impl From<kafka_protocol::messages::BrokerId> for BrokerId {
    fn from(id: kafka_protocol::messages::BrokerId) -> Self {
        Self(id.0)
    }
}

/// A topic's name, shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topic(pub Arc<str>);

impl Topic {
    /// The name as messages of the crate carry it.
    #[must_use]
    pub fn wire(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.0.to_string()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl From<&TopicName> for Topic {
    fn from(name: &TopicName) -> Self {
        Self(Arc::from(name.as_str()))
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A partition of a topic; written `orders-0` as Kafka does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Topic,
    /// The partition's index, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition.
    #[must_use]
    pub fn new(topic: impl Into<Topic>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TopicPartition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
