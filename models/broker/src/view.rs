//! What an inspector is shown of a broker.

use std::collections::BTreeMap;

use kafkawire::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch};
use serde::Serialize;
use zkclient::ZkClientView;

use crate::replication::{Partition, ReplicaManager, Role};

/// A broker at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerView {
    /// `broker.id`.
    pub broker: BrokerId,
    /// Where it is between start and exit.
    pub phase: &'static str,
    /// The broker epoch of its last registration.
    pub epoch: Option<BrokerEpoch>,
    /// Its session.
    pub session: ZkClientView,
    /// Whether it believes that it is the controller.
    pub is_controller: bool,
    /// The controller that it knows.
    pub controller: Option<BrokerId>,
    /// The brokers that it knows to be alive.
    pub alive: Vec<BrokerId>,
    /// Topics that it knows.
    pub topics: usize,
    /// Connections that it accepted and that are open.
    pub connections: usize,
    /// The partitions it hosts, by name.
    pub partitions: BTreeMap<String, PartitionView>,
}

/// A partition on one broker at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    /// On which side of replication the broker stands.
    pub role: &'static str,
    /// The epoch of the leadership.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The version of the `state` znode, as far as the broker knows.
    pub partition_epoch: Option<PartitionEpoch>,
    /// The in-sync replicas; empty unless the broker leads.
    pub isr: Vec<BrokerId>,
    /// Where its log starts.
    pub log_start: Option<Offset>,
    /// Where its log ends.
    pub log_end: Option<Offset>,
    /// What it takes for committed.
    pub high_watermark: Option<Offset>,
}

impl PartitionView {
    fn of(partition: &Partition, replicas: &ReplicaManager) -> Self {
        let log = replicas.log(partition.tp());
        Self {
            role: match partition.role() {
                Role::None => "none",
                Role::Leader(_) => "leader",
                Role::Follower { .. } => "follower",
            },
            leader_epoch: partition.leader_epoch(),
            partition_epoch: partition.partition_epoch(),
            isr: partition.isr().to_vec(),
            log_start: log.map(commitlog::Log::log_start),
            log_end: log.map(commitlog::Log::log_end),
            high_watermark: log.map(commitlog::Log::high_watermark),
        }
    }

    /// Every hosted partition.
    pub(crate) fn all(replicas: &ReplicaManager) -> BTreeMap<String, Self> {
        replicas.partitions().map(|(tp, partition)| (tp.to_string(), Self::of(partition, replicas))).collect()
    }
}
