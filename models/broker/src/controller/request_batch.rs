//! The control requests of one round of state changes (kafka-broker.md §4.13).
//!
//! Whoever is told to lead or follow is told once per round, and everybody is told who leads. Per broker a LeaderAndIsr goes
//! first, then the UpdateMetadata, then the StopReplica.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafkawire::messages::leader_and_isr_request::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrTopicState,
};
use kafkawire::messages::stop_replica_request::{StopReplicaPartitionState, StopReplicaRequest, StopReplicaTopicState};
use kafkawire::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataRequest,
    UpdateMetadataTopicState,
};
use kafkawire::{BrokerId, Request, Topic, TopicPartition, messages};

use crate::Defect;
use crate::cx::Cx;

use super::Controller;
use super::context::{ControllerContext, Leadership};
use super::election::ElectionStep;
use super::step::{Failure, Step};

/// No leader, no epoch: as messages carry it.
const NONE: i32 = -1;
/// An unknown broker epoch: every broker obeys.
const NO_BROKER_EPOCH: i64 = -1;
/// The only listener that is modelled, and its security protocol.
const LISTENER: &str = "PLAINTEXT";
const PLAINTEXT: i16 = 0;

#[derive(Clone, Debug, PartialEq, Eq)]
struct ToLead {
    leadership: Leadership,
    assignment: Arc<[BrokerId]>,
    is_new: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ToKnow {
    leadership: Leadership,
    assignment: Arc<[BrokerId]>,
    offline: Vec<BrokerId>,
}

/// Requests that are being gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestBatch {
    leader_and_isr: BTreeMap<BrokerId, BTreeMap<TopicPartition, ToLead>>,
    update_metadata_to: BTreeSet<BrokerId>,
    update_metadata: BTreeMap<TopicPartition, ToKnow>,
    /// The leader epoch at which a replica stops.
    stop_replica: BTreeMap<BrokerId, BTreeMap<TopicPartition, i32>>,
}

impl RequestBatch {
    /// `newBatch`.
    ///
    /// # Errors
    /// [`Failure::IllegalState`] if the batch before it was not sent.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        let rest =
            !self.leader_and_isr.is_empty() || !self.stop_replica.is_empty() || !self.update_metadata_to.is_empty();
        if rest { Err(Failure::IllegalState) } else { Ok(()) }
    }

    /// Brokers shall lead or follow a partition as the context has it now; everybody shall know.
    ///
    /// # Panics
    /// If the context has no leadership of it.
    pub(super) fn add_leader_and_isr(
        &mut self,
        brokers: &[BrokerId],
        tp: &TopicPartition,
        is_new: bool,
        context: &ControllerContext,
    ) {
        let partition = context.partition(tp).expect("requests are about partitions that are known");
        let leadership = partition.leadership.as_ref().expect("who shall lead or follow is told whom");
        for &broker in brokers {
            let told = self.leader_and_isr.entry(broker).or_default();
            let already_new = told.get(tp).is_some_and(|told| told.is_new);
            let told_now = ToLead {
                leadership: leadership.clone(),
                assignment: partition.assignment.clone(),
                is_new: is_new || already_new,
            };
            told.insert(tp.clone(), told_now);
        }
        self.add_update_metadata(context.live_ids(), std::slice::from_ref(tp), context);
    }

    /// Brokers shall know these partitions, and who is alive in any case. Those that never had a leader are left out.
    pub(super) fn add_update_metadata(
        &mut self,
        brokers: impl IntoIterator<Item = BrokerId>,
        partitions: &[TopicPartition],
        context: &ControllerContext,
    ) {
        self.update_metadata_to.extend(brokers);
        for tp in partitions {
            let Some(partition) = context.partition(tp) else { continue };
            let Some(leadership) = &partition.leadership else { continue };
            let offline = partition.assignment.iter().copied().filter(|&broker| !context.is_online(broker));
            let known = ToKnow {
                leadership: leadership.clone(),
                assignment: partition.assignment.clone(),
                offline: offline.collect(),
            };
            self.update_metadata.insert(tp.clone(), known);
        }
    }

    /// A replica shall stop, keeping its log. Deletion, and with it the sticky flag, is absent.
    pub(super) fn add_stop_replica(&mut self, broker: BrokerId, tp: &TopicPartition, context: &ControllerContext) {
        let epoch = context.leadership(tp).map_or(NONE, |leadership| leadership.leader_epoch.0);
        self.stop_replica.entry(broker).or_default().insert(tp.clone(), epoch);
    }

    /// Forgets what was gathered.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The requests to brokers that are alive now, in the order they are queued. The broker epochs are those of now as well.
    fn drain(&mut self, context: &ControllerContext, sender: &Sender) -> Vec<(BrokerId, Request)> {
        let batch = std::mem::take(self);
        let mut requests = Vec::new();
        for (broker, partitions) in batch.leader_and_isr {
            if let Some(epoch) = sender.broker_epoch(broker, context) {
                let request = leader_and_isr(partitions, context).with_controller_id(sender.id);
                let request = request.with_controller_epoch(context.epoch.0).with_broker_epoch(epoch);
                requests.push((broker, Request::LeaderAndIsr(request.into())));
            }
        }
        if !batch.update_metadata_to.is_empty() {
            // The same for everybody but for the epoch.
            let request = update_metadata(batch.update_metadata, context).with_controller_id(sender.id);
            let request = request.with_controller_epoch(context.epoch.0);
            for broker in batch.update_metadata_to {
                if let Some(epoch) = sender.broker_epoch(broker, context) {
                    let request = request.clone().with_broker_epoch(epoch);
                    requests.push((broker, Request::UpdateMetadata(request.into())));
                }
            }
        }
        for (broker, partitions) in batch.stop_replica {
            if let Some(epoch) = sender.broker_epoch(broker, context) {
                let request = stop_replica(partitions).with_controller_id(sender.id);
                let request = request.with_controller_epoch(context.epoch.0).with_broker_epoch(epoch);
                requests.push((broker, Request::StopReplica(request.into())));
            }
        }
        requests
    }
}

/// Who sends.
struct Sender {
    id: messages::BrokerId,
    /// KAFKA-7235: nobody's epoch is told.
    tells_epochs: bool,
}

impl Sender {
    /// None if the broker is not alive.
    fn broker_epoch(&self, broker: BrokerId, context: &ControllerContext) -> Option<i64> {
        let epoch = context.broker_epoch(broker)?;
        Some(if self.tells_epochs { epoch.0 } else { NO_BROKER_EPOCH })
    }
}

impl Controller {
    /// `sendRequestsToBrokers`.
    pub(super) fn send_batch(&mut self, cx: &mut Cx<'_, '_>) {
        let sender = Sender { id: cx.broker().wire(), tells_epochs: !cx.has(Defect::NoBrokerEpoch) };
        for (broker, request) in self.batch.drain(&self.context, &sender) {
            self.channels.send(broker, request, cx);
        }
    }

    /// `sendUpdateMetadataRequest`: a batch of its own. If the one before it was not sent, the office is given up.
    pub(super) fn send_update_metadata(
        &mut self,
        brokers: &[BrokerId],
        partitions: &[TopicPartition],
        cx: &mut Cx<'_, '_>,
    ) {
        if !self.begin_batch() {
            return;
        }
        self.batch.add_update_metadata(brokers.iter().copied(), partitions, &self.context);
        self.send_batch(cx);
    }

    /// Begins a batch outside the state machines; `handleIllegalState` and false if the one before it was not sent.
    pub(super) fn begin_batch(&mut self) -> bool {
        match self.batch.begin() {
            Ok(()) => true,
            Err(why) => {
                self.batch.clear();
                self.then(Step::Fail(why));
                self.then(ElectionStep::TriggerMove);
                false
            }
        }
    }
}

fn wire_ids(brokers: &[BrokerId]) -> Vec<messages::BrokerId> {
    brokers.iter().map(|broker| broker.wire()).collect()
}

fn leader_id(leadership: &Leadership) -> messages::BrokerId {
    messages::BrokerId(leadership.leader.map_or(NONE, |leader| leader.0))
}

/// Partitions grouped by topic, in order.
fn by_topic<T>(partitions: BTreeMap<TopicPartition, T>) -> Vec<(Topic, Vec<(i32, T)>)> {
    let mut topics: Vec<(Topic, Vec<(i32, T)>)> = Vec::new();
    for (tp, value) in partitions {
        match topics.last_mut() {
            Some((topic, of_topic)) if *topic == tp.topic => of_topic.push((tp.partition, value)),
            Some(_) | None => topics.push((tp.topic, vec![(tp.partition, value)])),
        }
    }
    topics
}

fn leader_and_isr(partitions: BTreeMap<TopicPartition, ToLead>, context: &ControllerContext) -> LeaderAndIsrRequest {
    let leaders: BTreeSet<BrokerId> = partitions.values().filter_map(|told| told.leadership.leader).collect();
    let leaders = context.live_brokers().iter().filter(|(broker, _)| leaders.contains(broker));
    let leaders = leaders.map(|(broker, live)| {
        let leader = LeaderAndIsrLiveLeader::default().with_broker_id(broker.wire());
        leader.with_host_name(live.host.to_string().into()).with_port(live.port)
    });
    let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
        let states = partitions.into_iter().map(|(index, told)| {
            LeaderAndIsrPartitionState::default()
                .with_partition_index(index)
                .with_controller_epoch(told.leadership.controller_epoch.0)
                .with_leader(leader_id(&told.leadership))
                .with_leader_epoch(told.leadership.leader_epoch.0)
                .with_isr(wire_ids(&told.leadership.isr))
                .with_partition_epoch(told.leadership.partition_epoch.0)
                .with_replicas(wire_ids(&told.assignment))
                .with_is_new(told.is_new)
        });
        LeaderAndIsrTopicState::default().with_topic_name(topic.wire()).with_partition_states(states.collect())
    });
    LeaderAndIsrRequest::default().with_topic_states(topics.collect()).with_live_leaders(leaders.collect())
}

/// Partitions are a difference, brokers are always all of them, those that shut down included.
fn update_metadata(partitions: BTreeMap<TopicPartition, ToKnow>, context: &ControllerContext) -> UpdateMetadataRequest {
    let brokers = context.live_brokers().iter().map(|(broker, live)| {
        let endpoint = UpdateMetadataEndpoint::default()
            .with_host(live.host.to_string().into())
            .with_port(live.port)
            .with_listener(LISTENER.into())
            .with_security_protocol(PLAINTEXT);
        UpdateMetadataBroker::default()
            .with_id(broker.wire())
            .with_endpoints(vec![endpoint])
            .with_rack(live.rack.as_ref().map(|rack| rack.to_string().into()))
    });
    let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
        let states = partitions.into_iter().map(|(index, known)| {
            UpdateMetadataPartitionState::default()
                .with_partition_index(index)
                .with_controller_epoch(known.leadership.controller_epoch.0)
                .with_leader(leader_id(&known.leadership))
                .with_leader_epoch(known.leadership.leader_epoch.0)
                .with_isr(wire_ids(&known.leadership.isr))
                .with_zk_version(known.leadership.partition_epoch.0)
                .with_replicas(wire_ids(&known.assignment))
                .with_offline_replicas(wire_ids(&known.offline))
        });
        UpdateMetadataTopicState::default().with_topic_name(topic.wire()).with_partition_states(states.collect())
    });
    UpdateMetadataRequest::default().with_topic_states(topics.collect()).with_live_brokers(brokers.collect())
}

fn stop_replica(partitions: BTreeMap<TopicPartition, i32>) -> StopReplicaRequest {
    let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
        let states = partitions.into_iter().map(|(index, epoch)| {
            StopReplicaPartitionState::default().with_partition_index(index).with_leader_epoch(epoch)
        });
        StopReplicaTopicState::default().with_topic_name(topic.wire()).with_partition_states(states.collect())
    });
    StopReplicaRequest::default().with_topic_states(topics.collect())
}
