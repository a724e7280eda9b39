//! The judges of a Kafka cluster: invariants of controllers, replicas and offsets, and checks of what clients saw.
//!
//! [`KafkaOracle`] believes what the engine saw: bytes in logs, messages, crashes, and the history that ZooKeeper committed,
//! which the judges of the ensemble know. A broker's word is taken only for what nobody else can know: that it applied a
//! request, that its high watermark moved.
//!
//! ```text
//!  ZooKeeper's canon ─▶ Znodes: claims, registrations, states ── E01 E04 E08 E10 E15 E25 ─▶ elections: E12 L10 L11
//!  writes to .log ────▶ ReplicaLog of each replica ───────────── L03 L11 L16
//!  high watermarks ───▶ canon of each partition ──────────────── L05 L08 E13
//!  control requests ──▶ Channels ─────────────────────────────── E05 E06
//!  answers to clients ▶ ──────────────────────────────────────── L09 L12 L13
//!  clients' facts ────▶ RecordHistory, Groups ────────────────── H01 H03 H04 H05 H10–H12 H15 G09 G14
//! ```
//!
//! Legal but surprising (invariants-and-faults.md §2.9): two brokers believe that they are controller, or lead a partition;
//! a follower's high watermark decreases; a new leader's lags behind what was committed; an uncommitted record of a dead
//! leader survives or vanishes; the ISR lists a dead broker until its session expires. None of that is judged.

mod broker;
mod channel;
mod cluster;
mod config_reads;
mod consumers;
mod control;
mod dispatch;
mod elections;
mod fetching;
mod liveness;
mod logs;
mod oracle;
mod partition;
mod producers;
mod records;
mod replica_log;
mod roles;
mod serving;
mod watermarks;
mod znodes;

pub(crate) use cluster::BrokerAt;
pub use cluster::{Cluster, KafkaBroker, KafkaClientKind, KafkaClientSeat};
pub use dispatch::KafkaJudges;
pub use liveness::{CachedPartition, ClusterLook};
pub use logs::Ended;
pub use oracle::{DiskLook, KafkaOracle};
pub(crate) use partition::{PartitionAt, ZkState};
pub use roles::{KAFKA_ROLES, KAFKA_SITUATIONS, kafka_roles};

#[cfg(test)]
mod tests;
