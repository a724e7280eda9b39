//! What an inspector is shown of a client of Kafka.

use std::collections::BTreeMap;

use serde::Serialize;
use zkclient::ZkClientView;

/// A client of Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KafkaClientView {
    /// Its number.
    pub client: u16,
    /// What it is, as in its `kafka-client-started`.
    pub kind: &'static str,
    /// Whether it knows what it must know to work.
    pub ready: bool,
    /// Whether it starts nothing new.
    pub stopped: bool,
    /// Whether its probe succeeded.
    pub probed: bool,
    /// The oldest unfinished thing.
    pub pending: Option<String>,
    /// The brokers it knows.
    pub brokers: Vec<i32>,
    /// Leaders it believes in, as `leader/epoch`, by partition.
    pub leaders: BTreeMap<i32, String>,
    /// Where it reads, by partition.
    pub positions: BTreeMap<i32, i64>,
    /// Its ZooKeeper session, if it has one.
    pub session: Option<ZkClientView>,
}
