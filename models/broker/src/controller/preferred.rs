//! Preferred leaders shall lead again (kafka-broker.md §4.11): five seconds after a failover, then every
//! `leader.imbalance.check.interval.seconds`.

use std::collections::BTreeMap;

use kafkawire::{BrokerId, TopicPartition};

use crate::cx::Cx;

use super::Controller;
use super::context::{PartitionContext, PartitionState, Replicas};
use super::partition_machine::PartitionStep;
use super::step::{Catch, Done};
use super::strategy::Strategy;

/// A step of the check.
#[derive(Clone, Debug)]
pub(super) enum RebalanceStep {
    /// Looks at the partitions of the next broker.
    Next(Replicas),
}

impl Controller {
    pub(super) fn begin_rebalance(&mut self) {
        self.then(Catch::Rebalance);
        let mut by_preferred: Replicas = BTreeMap::new();
        for (tp, partition) in self.context.partitions() {
            if let Some(&preferred) = partition.assignment.first() {
                by_preferred.entry(preferred).or_default().push(tp);
            }
        }
        self.then(RebalanceStep::Next(by_preferred));
    }

    pub(super) fn run_rebalance(&mut self, step: RebalanceStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            RebalanceStep::Next(mut by_preferred) => {
                if let Some((preferred, partitions)) = by_preferred.pop_first() {
                    self.then(RebalanceStep::Next(by_preferred));
                    self.rebalance(preferred, partitions, cx);
                }
            }
        }
        Ok(())
    }

    fn rebalance(&mut self, preferred: BrokerId, mut partitions: Vec<TopicPartition>, cx: &Cx<'_, '_>) {
        let all = partitions.len();
        partitions.retain(|tp| self.partition(tp).leadership.as_ref().is_some_and(|now| now.leader != Some(preferred)));
        let percentage = cx.config().leader_imbalance_per_broker_percentage as usize;
        if partitions.len() * 100 <= all * percentage {
            return;
        }
        partitions.retain(|tp| {
            let leadership = self.partition(tp).leadership.as_ref().expect("only those with leadership were kept");
            self.context.is_online(preferred) && leadership.isr.contains(&preferred)
        });
        self.then(PartitionStep::Change { partitions, target: PartitionState::Online, strategy: Strategy::Preferred });
    }

    fn partition(&self, tp: &TopicPartition) -> &PartitionContext {
        self.context.partition(tp).expect("topics do not change within an event of their own")
    }

    pub(super) fn schedule_rebalance(&mut self, cx: &Cx<'_, '_>) {
        // The scheduler ends with the office.
        if self.is_active() {
            self.rebalance_at = Some(cx.io.now().saturating_add(cx.config().leader_imbalance_check_interval));
        }
    }
}
