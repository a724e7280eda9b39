//! The in-sync replicas (kafka-broker.md §5.11, E22): the leader decides, and writes them to ZooKeeper.
//!
//! The write is a setData conditional on the version of the `state` znode that the leader knows. While it is under way the
//! partition is held (see [`lock`](crate::replication::lock)). If the version is another one the leader looks whether what is
//! there is what it wrote: then the write took effect and only its answer was lost (KAFKA-1382). If not, somebody else wrote:
//! the change is not applied, and the next attempt fails the same way until LeaderAndIsr tells a new epoch.

use std::collections::BTreeSet;

use jute::client::Response as ZkResponse;
use jute::op::{CreateMode, ErrorCode as ZkCode};
use kafkawire::znode::{self, IsrChange};
use kafkawire::{BrokerId, PartitionEpoch, TopicPartition};
use machine::{Instant, Span};

use crate::cx::{Ask, Cx};
use crate::fact::KafkaFact;
use crate::replication::ReplicaManager;
use crate::replication::lock::{Access, Hold, IsrWrite, IsrWriteStep, Parked};
use crate::replication::table::Slot;
use crate::zookeeper::{ZkBatch, ZkError, ZkOwner, ZkRequest, ZkResult};
use crate::{BrokerMark, Defect};

/// Changes are told when there were none for so long …
const PROPAGATION_BLACK_OUT: Span = Span::secs(5);
/// … or when none were told for so long.
const PROPAGATION_INTERVAL: Span = Span::secs(60);

/// Brokers as facts and reports write them: `1,2,3`.
fn text_of(brokers: &[BrokerId]) -> std::sync::Arc<str> {
    let mut text = String::with_capacity(brokers.len() * 2);
    for broker in brokers {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&broker.0.to_string());
    }
    text.into()
}

/// Changes of ISRs that the controller, and through it everybody, is yet to hear of.
#[derive(Clone, Debug)]
pub(crate) struct IsrChanges {
    untold: BTreeSet<TopicPartition>,
    /// What is being told; while it is, nothing else is.
    telling: BTreeSet<TopicPartition>,
    last_change: Instant,
    last_told: Instant,
}

impl IsrChanges {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { untold: BTreeSet::new(), telling: BTreeSet::new(), last_change: now, last_told: now }
    }

    fn note(&mut self, tp: TopicPartition, now: Instant) {
        self.untold.insert(tp);
        self.last_change = now;
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_quiet = now.saturating_since(self.last_change) > PROPAGATION_BLACK_OUT;
        let is_late = now.saturating_since(self.last_told) > PROPAGATION_INTERVAL;
        self.telling.is_empty() && !self.untold.is_empty() && (is_quiet || is_late)
    }
}

impl ReplicaManager {
    /// Takes a follower into the ISR; `goes_on` is what its fetch does afterwards.
    pub(crate) fn expand_isr(&mut self, slot: Slot, follower: BrokerId, goes_on: Parked, cx: &mut Cx<'_, '_>) {
        let mut isr = self.partitions.get(slot).expect("its leader expands it").isr().to_vec();
        assert!(!isr.contains(&follower), "{follower} is in the ISR {isr:?}");
        isr.push(follower);
        self.write_isr(slot, isr, goes_on, cx);
    }

    /// The isr-expiration task: looks at every partition that is led here, one after the other.
    pub(crate) fn begin_isr_expiration(&mut self, cx: &mut Cx<'_, '_>) {
        // The one before is still waiting for ZooKeeper.
        if self.expiring.is_empty() {
            let led = self.partitions.iter().filter(|(_, partition)| partition.leading().is_some());
            self.expiring = led.map(|(slot, _)| slot).collect();
            self.expire_isrs(cx);
        }
    }

    pub(crate) fn expire_isrs(&mut self, cx: &mut Cx<'_, '_>) {
        while let Some(&slot) = self.expiring.front() {
            if self.locks.blocks(slot, Access::Write) {
                return self.locks.park(slot, Parked::IsrExpiration);
            }
            self.expiring.pop_front();
            let lag_max = cx.config().replica_lag_time_max;
            let shrunk = self.partitions.get(slot).and_then(|partition| {
                let log_end = self.logs.at(partition.log()?).log_end();
                partition.shrunk_isr(log_end, lag_max, cx.io.now())
            });
            // Whom this run does not remove the next one does.
            if let Some(isr) = shrunk.filter(|_| !self.control_waits()) {
                return self.write_isr(slot, isr, Parked::IsrExpiration, cx);
            }
        }
    }

    fn write_isr(&mut self, slot: Slot, isr: Vec<BrokerId>, goes_on: Parked, cx: &mut Cx<'_, '_>) {
        let is_unconditional = isr.len() == 1 && cx.has(Defect::ShrinksWithoutCas);
        let counts_already = matches!(goes_on, Parked::IsrExpiration) && cx.has(Defect::CountsShrunkIsr);
        let partition = self.partitions.get(slot).expect("its leader writes the ISR");
        let state = znode::PartitionState {
            controller_epoch: partition.controller_epoch(),
            leader: Some(cx.broker()),
            leader_epoch: partition.leader_epoch().expect("a leader has an epoch"),
            isr: isr.clone(),
        };
        let tp = partition.tp().clone();
        let request = ZkRequest::SetData {
            path: znode::partition_state(&tp),
            data: state.encode(),
            version: if is_unconditional {
                -1
            } else {
                partition.partition_epoch().expect("a leader knows a version").0
            },
        };
        if counts_already {
            let version = partition.partition_epoch().expect("a leader knows a version");
            let partition = self.partitions.get_mut(slot).expect("its leader writes the ISR");
            partition.commit_isr(isr.clone(), version);
            if self.raise_high_watermark(slot, cx) {
                self.complete_delayed(slot, cx);
            }
        }
        cx.ask(Ask::Zk(ZkBatch { owner: ZkOwner::Isr(tp), requests: vec![request] }));
        self.locks.hold(slot, Hold::Isr(IsrWrite { isr, step: IsrWriteStep::Writing }), Some(goes_on));
    }

    /// What came of a write of a partition's ISR.
    ///
    /// # Panics
    /// If none is under way.
    pub fn on_isr_written(&mut self, tp: &TopicPartition, mut results: Vec<ZkResult>, cx: &mut Cx<'_, '_>) {
        let slot = self.partitions.find_tp(tp).expect("a held partition is not deleted");
        let write = self.locks.isr_write(slot).expect("the partition is held for the write");
        let result = results.pop().expect("one request, one result");
        match (write.step, result) {
            (IsrWriteStep::Writing, Ok(Some(ZkResponse::SetData(written)))) => {
                let isr = std::mem::take(&mut write.isr);
                self.commit_isr(slot, isr, PartitionEpoch(written.stat.version.value()), cx);
            }
            (IsrWriteStep::Writing, Err(ZkError::Code(ZkCode::BadVersion))) if !cx.has(Defect::NoWriteResultCheck) => {
                write.step = IsrWriteStep::Comparing;
                let requests = vec![ZkRequest::GetData { path: znode::partition_state(tp) }];
                return cx.ask(Ask::Zk(ZkBatch { owner: ZkOwner::Isr(tp.clone()), requests }));
            }
            (IsrWriteStep::Comparing, Ok(Some(ZkResponse::GetData(read)))) => {
                let isr = std::mem::take(&mut write.isr);
                let partition = self.partitions.get(slot).expect("it was just found");
                let found = znode::PartitionState::decode(read.data.as_slice()).ok();
                let is_ours = found.is_some_and(|found| {
                    found.leader == Some(cx.broker())
                        && Some(found.leader_epoch) == partition.leader_epoch()
                        && found.controller_epoch == partition.controller_epoch()
                        && found.isr == isr
                });
                if is_ours {
                    cx.io.reach(BrokerMark::IsrWriteFoundApplied);
                    self.commit_isr(slot, isr, PartitionEpoch(read.stat.version.value()), cx);
                } else {
                    self.state_refused(slot, cx);
                }
            }
            (IsrWriteStep::Writing | IsrWriteStep::Comparing, Err(ZkError::Code(_))) => self.state_refused(slot, cx),
            // Whether it took effect is found out by the next attempt, which compares. `Simplified:` in the real broker the
            // exception fails a follower's whole fetch with UNKNOWN_SERVER_ERROR, and ends this run of isr-expiration; here both
            // go on.
            (IsrWriteStep::Writing | IsrWriteStep::Comparing, Err(ZkError::SessionExpired)) => {}
            (step, Ok(answer)) => panic!("{tp}: {step:?} was answered by {answer:?}"),
        }
        self.free(slot, cx);
    }

    fn commit_isr(&mut self, slot: Slot, isr: Vec<BrokerId>, version: PartitionEpoch, cx: &mut Cx<'_, '_>) {
        let partition = self.partitions.get_mut(slot).expect("a held partition is not deleted");
        let text = text_of(&isr);
        if isr.len() == 1 {
            cx.io.reach(BrokerMark::IsrShrankToLeader);
        }
        partition.commit_isr(isr, version);
        let tp = partition.tp().clone();
        let leader_epoch = partition.leader_epoch().expect("a leader has an epoch");
        self.isr_changes.note(tp.clone(), cx.io.now());
        cx.io.state(KafkaFact::IsrChanged {
            broker: cx.broker(),
            topic: tp.topic,
            partition: tp.partition,
            leader_epoch,
            isr: text,
            version: version.0,
        });
        // Whoever held it back may be out. What waits for it goes on when the partition is free.
        self.raise_high_watermark(slot, cx);
    }

    fn state_refused(&self, slot: Slot, cx: &mut Cx<'_, '_>) {
        let partition = self.partitions.get(slot).expect("a held partition is not deleted");
        let TopicPartition { topic, partition: number } = partition.tp().clone();
        cx.io.state(KafkaFact::IsrChangeRefused {
            broker: cx.broker(),
            topic,
            partition: number,
            leader_epoch: partition.leader_epoch().expect("a leader has an epoch"),
            version: partition.partition_epoch().expect("a leader knows a version").0,
        });
    }

    /// The isr-change-propagation task: tells of changes by a sequential znode below `/isr_change_notification`.
    pub(crate) fn propagate_isr_changes(&mut self, cx: &mut Cx<'_, '_>) {
        if !self.isr_changes.is_due(cx.io.now()) {
            return;
        }
        self.isr_changes.telling = std::mem::take(&mut self.isr_changes.untold);
        let change = IsrChange { partitions: self.isr_changes.telling.iter().cloned().collect() };
        let request = ZkRequest::Create {
            path: znode::isr_change_prefix(),
            data: change.encode(),
            mode: CreateMode::PersistentSequential,
        };
        cx.ask(Ask::Zk(ZkBatch { owner: ZkOwner::IsrPropagation, requests: vec![request] }));
    }

    /// What came of the propagation of ISR changes.
    pub fn on_isr_propagated(&mut self, mut results: Vec<ZkResult>, cx: &mut Cx<'_, '_>) {
        let told = std::mem::take(&mut self.isr_changes.telling);
        match results.pop().expect("one request, one result") {
            Ok(_) => self.isr_changes.last_told = cx.io.now(),
            // Again with the next look.
            Err(_) => self.isr_changes.untold.extend(told),
        }
    }
}
