//! A broker that wants to stop has its leaderships moved away first (kafka-broker.md §3.5, the controller's side).
//!
//! The flag that it shuts down stays until its registration is gone: it is elected nowhere until then.

use kafkawire::messages::ControlledShutdownResponse;
use kafkawire::messages::controlled_shutdown_response::RemainingPartition;
use kafkawire::{BrokerEpoch, BrokerId, ErrorCode, Response, TopicPartition};

use crate::Defect;
use crate::cx::{Cx, RequestId};

use super::Controller;
use super::context::{PartitionState, ReplicaState, Replicas};
use super::partition_machine::PartitionStep;
use super::replica_machine::ReplicaStep;
use super::step::{Catch, Done, Failure, Step};
use super::strategy::Strategy;

/// A step of a controlled shutdown.
#[derive(Clone, Debug)]
pub(super) enum ShutdownStep {
    /// Others lead what the broker led: stops its followers.
    StopFollowers {
        /// Who shuts down.
        broker: BrokerId,
        /// What it follows.
        followed: Vec<TopicPartition>,
    },
    /// Answers with what it still leads.
    Answer {
        /// Whom.
        to: RequestId,
        /// Who shuts down.
        broker: BrokerId,
    },
}

impl Controller {
    pub(super) fn begin_controlled_shutdown(
        &mut self,
        to: RequestId,
        broker: BrokerId,
        epoch: Option<BrokerEpoch>,
        cx: &mut Cx<'_, '_>,
    ) {
        self.then(Catch::ControlledShutdown { to });
        if let Err(why) = self.check_shutdown(broker, epoch, cx) {
            return self.then(Step::Fail(why));
        }
        self.context.put_shutting_down(broker);
        let (mut led, mut followed) = (Vec::new(), Vec::new());
        for tp in self.context.on_broker(broker) {
            let partition = self.context.partition(&tp).expect("it was listed from the context");
            if partition.assignment.len() < 2 {
                continue;
            }
            match &partition.leadership {
                Some(leadership) if leadership.leader == Some(broker) => led.push(tp),
                Some(_) => followed.push(tp),
                None => {}
            }
        }
        self.then(ShutdownStep::Answer { to, broker });
        self.then(ShutdownStep::StopFollowers { broker, followed });
        self.then(PartitionStep::Change {
            partitions: led,
            target: PartitionState::Online,
            strategy: Strategy::ControlledShutdown,
        });
    }

    fn check_shutdown(&self, broker: BrokerId, epoch: Option<BrokerEpoch>, cx: &Cx<'_, '_>) -> Done {
        if !self.is_active() {
            return Err(Failure::Moved);
        }
        let Some(current) = self.context.broker_epoch(broker) else { return Err(Failure::BrokerNotAvailable) };
        let looks_at_epochs = !cx.has(Defect::NoBrokerEpoch);
        if looks_at_epochs && epoch.is_some_and(|epoch| epoch < current) {
            return Err(Failure::StaleBrokerEpoch);
        }
        Ok(())
    }

    pub(super) fn run_shutdown(&mut self, step: ShutdownStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            ShutdownStep::StopFollowers { broker, followed } => {
                if self.begin_batch() {
                    for tp in &followed {
                        self.batch.add_stop_replica(broker, tp, &self.context);
                    }
                    self.send_batch(cx);
                    let mut replicas = Replicas::new();
                    if !followed.is_empty() {
                        replicas.insert(broker, followed);
                    }
                    self.then(ReplicaStep::Change { replicas, target: ReplicaState::Offline });
                }
            }
            ShutdownStep::Answer { to, broker } => {
                let remaining = self.context.led_by(broker).into_iter().map(|tp| {
                    RemainingPartition::default().with_topic_name(tp.topic.wire()).with_partition_index(tp.partition)
                });
                let response = ControlledShutdownResponse::default()
                    .with_error_code(ErrorCode::None.code())
                    .with_remaining_partitions(remaining.collect());
                cx.answer(to, Response::ControlledShutdown(response.into()));
            }
        }
        Ok(())
    }
}
