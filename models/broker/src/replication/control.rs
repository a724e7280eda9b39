//! What the controller asks of a broker: LeaderAndIsr, StopReplica, UpdateMetadata (kafka-broker.md §4.15, §5.9).
//!
//! The fence of the broker epoch is looked at when a request arrives; everything else happens under one lock, the
//! `replicaStateChangeLock`: one control request at a time, in order of arrival, and one that has to wait (for a partition that
//! is held, or for the configuration of topics that are new here) lets the later ones wait, too.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use kafkawire::messages::{
    LeaderAndIsrRequest, LeaderAndIsrResponse, StopReplicaRequest, StopReplicaResponse, UpdateMetadataRequest,
    UpdateMetadataResponse, leader_and_isr_request::LeaderAndIsrPartitionState,
    leader_and_isr_response::LeaderAndIsrPartitionError, stop_replica_response::StopReplicaPartitionError,
};
use kafkawire::{
    BrokerEpoch, BrokerId, ControllerEpoch, ErrorCode, LeaderEpoch, PartitionEpoch, Response, Topic, TopicPartition,
};
use machine::disk::DiskError;

use crate::cx::{Ask, Cx, RequestId};
use crate::fact::KafkaFact;
use crate::replication::fetcher::Assigned;
use crate::replication::lock::{Access, Parked};
use crate::replication::partition::PartitionState;
use crate::replication::table::Slot;
use crate::replication::{Partition, ReplicaManager};
use crate::topic_settings::TopicSettings;
use crate::zookeeper::{ZkBatch, ZkOwner, ZkResult};
use crate::{BrokerMark, Defect};

/// The topic is being deleted: StopReplica without regard to the epoch that is known here (`EpochDuringDelete`).
const EPOCH_DURING_DELETE: i32 = -2;
/// StopReplica of a controller that knows no epoch, or of a version that carries none (`NoEpoch`).
const NO_EPOCH: i32 = -1;

/// A control request whose broker epoch was accepted.
#[derive(Clone, Debug)]
enum ControlRequest {
    LeaderAndIsr(Arc<LeaderAndIsrRequest>),
    StopReplica(Arc<StopReplicaRequest>),
    UpdateMetadata(Arc<UpdateMetadataRequest>),
}

/// Who sent a control request, as whom, to whom.
#[derive(Clone, Copy, Debug)]
struct Sender {
    controller: BrokerId,
    controller_epoch: ControllerEpoch,
    broker_epoch: BrokerEpoch,
}

impl ControlRequest {
    const fn api(&self) -> &'static str {
        match self {
            Self::LeaderAndIsr(_) => "LeaderAndIsr",
            Self::StopReplica(_) => "StopReplica",
            Self::UpdateMetadata(_) => "UpdateMetadata",
        }
    }

    fn sender(&self) -> Sender {
        let (controller, controller_epoch, broker_epoch) = match self {
            Self::LeaderAndIsr(body) => (body.controller_id, body.controller_epoch, body.broker_epoch),
            Self::StopReplica(body) => (body.controller_id, body.controller_epoch, body.broker_epoch),
            Self::UpdateMetadata(body) => (body.controller_id, body.controller_epoch, body.broker_epoch),
        };
        Sender {
            controller: controller.into(),
            controller_epoch: ControllerEpoch(controller_epoch),
            broker_epoch: BrokerEpoch(broker_epoch),
        }
    }

    /// The answer that refuses the whole request.
    fn refusal(&self, error: ErrorCode) -> Response {
        let code = error.code();
        match self {
            Self::LeaderAndIsr(_) => {
                Response::LeaderAndIsr(Arc::new(LeaderAndIsrResponse::default().with_error_code(code)))
            }
            Self::StopReplica(_) => {
                Response::StopReplica(Arc::new(StopReplicaResponse::default().with_error_code(code)))
            }
            Self::UpdateMetadata(_) => {
                Response::UpdateMetadata(Arc::new(UpdateMetadataResponse::default().with_error_code(code)))
            }
        }
    }

    /// The partitions whose role it changes.
    fn partitions(&self) -> Vec<TopicPartition> {
        match self {
            Self::LeaderAndIsr(body) => states_of(body).map(|(tp, _)| tp).collect(),
            Self::StopReplica(body) => stops_of(body).into_iter().map(|stop| stop.tp).collect(),
            Self::UpdateMetadata(_) => Vec::new(),
        }
    }
}

/// The partitions of a LeaderAndIsr: grouped by topic since version 2, each with its topic's name before.
fn states_of(request: &LeaderAndIsrRequest) -> impl Iterator<Item = (TopicPartition, &LeaderAndIsrPartitionState)> {
    let grouped = request.topic_states.iter().flat_map(|topic| {
        let name = Topic::from(&topic.topic_name);
        topic.partition_states.iter().map(move |state| (name.clone(), state))
    });
    let ungrouped = request.ungrouped_partition_states.iter().map(|state| (Topic::from(&state.topic_name), state));
    grouped.chain(ungrouped).map(|(topic, state)| (TopicPartition { topic, partition: state.partition_index }, state))
}

/// A partition of a StopReplica.
#[derive(Clone, Debug)]
struct Stop {
    tp: TopicPartition,
    leader_epoch: i32,
    delete: bool,
}

/// The partitions of a StopReplica: each with epoch and its own wish since version 3, grouped since 1.
fn stops_of(request: &StopReplicaRequest) -> Vec<Stop> {
    let delete = request.delete_partitions;
    let states = request.topic_states.iter().flat_map(|topic| {
        let name = Topic::from(&topic.topic_name);
        topic.partition_states.iter().map(move |state| Stop {
            tp: TopicPartition { topic: name.clone(), partition: state.partition_index },
            leader_epoch: state.leader_epoch,
            delete: state.delete_partition,
        })
    });
    let grouped = request.topics.iter().flat_map(|topic| {
        let name = Topic::from(&topic.name);
        topic.partition_indexes.iter().map(move |&partition| TopicPartition { topic: name.clone(), partition })
    });
    let ungrouped = request
        .ungrouped_partitions
        .iter()
        .map(|stop| TopicPartition { topic: Topic::from(&stop.topic_name), partition: stop.partition_index });
    let older = grouped.chain(ungrouped).map(|tp| Stop { tp, leader_epoch: NO_EPOCH, delete });
    states.chain(older).collect()
}

fn brokers(ids: &[kafkawire::messages::BrokerId]) -> Vec<BrokerId> {
    ids.iter().map(|&id| id.into()).collect()
}

fn state_of(state: &LeaderAndIsrPartitionState) -> PartitionState {
    PartitionState {
        controller_epoch: ControllerEpoch(state.controller_epoch),
        leader: state.leader.into(),
        leader_epoch: LeaderEpoch(state.leader_epoch),
        partition_epoch: PartitionEpoch(state.partition_epoch),
        isr: brokers(&state.isr),
        replicas: brokers(&state.replicas),
    }
}

/// What the request that is next waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Waiting {
    /// A partition that is held.
    Partition,
    /// The configurations of these topics.
    Configs(Vec<Topic>),
}

/// Control requests, the first of which is being worked on.
#[derive(Clone, Debug, Default)]
pub(crate) struct ControlQueue {
    queue: VecDeque<(RequestId, ControlRequest)>,
    waiting: Option<Waiting>,
}

impl ControlQueue {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl ReplicaManager {
    /// LeaderAndIsr (§4.15): answered when it is applied.
    pub fn leader_and_isr(&mut self, to: RequestId, request: &Arc<LeaderAndIsrRequest>, cx: &mut Cx<'_, '_>) {
        self.on_control(to, ControlRequest::LeaderAndIsr(Arc::clone(request)), cx);
    }

    /// StopReplica (§4.15).
    pub fn stop_replica(&mut self, to: RequestId, request: &Arc<StopReplicaRequest>, cx: &mut Cx<'_, '_>) {
        self.on_control(to, ControlRequest::StopReplica(Arc::clone(request)), cx);
    }

    /// UpdateMetadata (§4.15): fences, then the cache.
    pub fn update_metadata(&mut self, to: RequestId, request: &Arc<UpdateMetadataRequest>, cx: &mut Cx<'_, '_>) {
        self.on_control(to, ControlRequest::UpdateMetadata(Arc::clone(request)), cx);
    }

    fn on_control(&mut self, to: RequestId, request: ControlRequest, cx: &mut Cx<'_, '_>) {
        if self.is_stopping {
            return;
        }
        let requested = request.sender().broker_epoch;
        if !cx.has(Defect::NoBrokerEpoch) && requested.0 != -1 {
            // An earlier incarnation is meant. A later one may be: the controller read of the registration before this broker
            // had its answer (KAFKA-9839).
            let is_refused = match cx.identity.epoch {
                Some(own) if requested > own => cx.has(Defect::RejectsNewerBrokerEpoch),
                Some(own) => requested < own,
                None => cx.has(Defect::RejectsNewerBrokerEpoch),
            };
            if is_refused {
                cx.io.reach(BrokerMark::StaleBrokerEpochRefused);
                return refuse(to, &request, ErrorCode::StaleBrokerEpoch, cx);
            }
            if cx.identity.epoch.is_none_or(|own| requested > own) {
                cx.io.reach(BrokerMark::NewerBrokerEpochAccepted);
            }
        }
        self.control.queue.push_back((to, request));
        if self.control.queue.len() == 1 {
            self.next_control(cx);
        }
    }

    /// Whether a control request waits for a partition.
    pub(super) fn control_waits(&self) -> bool {
        self.control.waiting == Some(Waiting::Partition)
    }

    /// Works on the control requests until one has to wait.
    pub(crate) fn next_control(&mut self, cx: &mut Cx<'_, '_>) {
        match self.control.waiting {
            Some(Waiting::Configs(_)) => return,
            Some(Waiting::Partition) | None => self.control.waiting = None,
        }
        while let Some((to, request)) = self.control.queue.front() {
            let (to, request) = (*to, request.clone());
            let is_stale = request.sender().controller_epoch < self.controller_epoch;
            if is_stale && !cx.has(Defect::IgnoresControllerEpoch) {
                cx.io.reach(BrokerMark::StaleControllerRefused);
                refuse(to, &request, ErrorCode::StaleControllerEpoch, cx);
            } else if self.must_wait(&request, cx) {
                return;
            } else {
                self.apply(to, &request, cx);
            }
            self.control.queue.pop_front();
        }
    }

    fn must_wait(&mut self, request: &ControlRequest, cx: &mut Cx<'_, '_>) -> bool {
        if let ControlRequest::LeaderAndIsr(body) = request {
            let unread = self.topics_to_read(body);
            if !unread.is_empty() {
                let requests = unread.iter().map(TopicSettings::request).collect();
                cx.ask(Ask::Zk(ZkBatch { owner: ZkOwner::TopicConfigs, requests }));
                self.control.waiting = Some(Waiting::Configs(unread));
                return true;
            }
        }
        if self.locks.is_empty() {
            return false;
        }
        let partitions = request.partitions();
        let slots = partitions.iter().filter_map(|tp| self.partitions.find_tp(tp));
        let Some(held) = self.locks.blocked(slots, Access::Write) else { return false };
        self.locks.park(held, Parked::Control);
        self.control.waiting = Some(Waiting::Partition);
        true
    }

    /// The topics of a LeaderAndIsr that no partition is hosted of yet, and whose configuration is not known.
    ///
    /// `Simplified:` a topic's configuration is read when its first replica is created here and kept as it is: dynamic changes
    /// (§1.8) are deferred.
    fn topics_to_read(&self, request: &LeaderAndIsrRequest) -> Vec<Topic> {
        let names = request.topic_states.iter().map(|topic| &topic.topic_name);
        let ungrouped = request.ungrouped_partition_states.iter().map(|state| &state.topic_name);
        let unread: BTreeSet<Topic> =
            names.chain(ungrouped).filter(|name| !self.settings.contains_key(name.as_str())).map(Topic::from).collect();
        unread.into_iter().collect()
    }

    /// The configurations of topics whose first replicas here are being created (`ZkOwner::TopicConfigs`).
    ///
    /// A configuration that cannot be had fails the request as it fails the real handler, whose exception nobody catches: the
    /// controller only logs that, and sends the next LeaderAndIsr when this broker registers again.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn on_topic_configs(&mut self, results: Vec<ZkResult>, cx: &mut Cx<'_, '_>) {
        let Some(Waiting::Configs(topics)) = self.control.waiting.take() else {
            panic!("configurations of topics that nobody asked for")
        };
        if self.is_stopping {
            return;
        }
        assert_eq!(topics.len(), results.len(), "one configuration a topic");
        let mut failed = false;
        for (topic, result) in topics.into_iter().zip(&results) {
            match TopicSettings::read(cx.config(), result) {
                Ok(settings) => {
                    self.settings.insert(topic, Arc::new(settings));
                }
                Err(_) => failed = true,
            }
        }
        if failed {
            let (to, request) = self.control.queue.pop_front().expect("a request waited for the configurations");
            refuse(to, &request, ErrorCode::UnknownServerError, cx);
        }
        self.next_control(cx);
    }

    /// A request that passed the fences and need not wait.
    fn apply(&mut self, to: RequestId, request: &ControlRequest, cx: &mut Cx<'_, '_>) {
        let sender = request.sender();
        self.controller_epoch = sender.controller_epoch;
        let fact = KafkaFact::ControlRequestApplied {
            broker: cx.broker(),
            api: request.api(),
            controller: sender.controller,
            controller_epoch: sender.controller_epoch,
            broker_epoch: sender.broker_epoch,
            own_epoch: cx.identity.epoch.unwrap_or(BrokerEpoch(-1)),
        };
        cx.io.state(fact);
        match request {
            ControlRequest::LeaderAndIsr(body) => {
                let errors = self.apply_leader_and_isr(body, cx);
                cx.answer(
                    to,
                    Response::LeaderAndIsr(Arc::new(LeaderAndIsrResponse::default().with_partition_errors(errors))),
                );
            }
            ControlRequest::StopReplica(body) => {
                let errors = self.apply_stop_replica(body, cx);
                cx.answer(
                    to,
                    Response::StopReplica(Arc::new(StopReplicaResponse::default().with_partition_errors(errors))),
                );
            }
            ControlRequest::UpdateMetadata(body) => {
                cx.cache.apply(body);
                cx.ask(Ask::MetadataChanged);
                cx.answer(to, Response::UpdateMetadata(Arc::new(UpdateMetadataResponse::default())));
            }
        }
    }

    fn apply_leader_and_isr(
        &mut self,
        request: &LeaderAndIsrRequest,
        cx: &mut Cx<'_, '_>,
    ) -> Vec<LeaderAndIsrPartitionError> {
        let me = cx.broker();
        let mut errors = Vec::new();
        let (mut to_lead, mut to_follow) = (Vec::new(), Vec::new());
        for (tp, asked) in states_of(request) {
            let slot = self.partitions.find_tp(&tp);
            let known = slot.and_then(|slot| self.partitions.get(slot)?.leader_epoch());
            let state = state_of(asked);
            // An equal epoch is stale, too: a change of the ISR alone does not come this way.
            let error = if known.is_some_and(|known| state.leader_epoch <= known) {
                ErrorCode::StaleControllerEpoch
            } else if !state.replicas.contains(&me) {
                ErrorCode::UnknownTopicOrPartition
            } else {
                let slot = slot.unwrap_or_else(|| self.host(&tp));
                let side = if state.leader == me { &mut to_lead } else { &mut to_follow };
                side.push((slot, state));
                ErrorCode::None
            };
            errors.push(
                LeaderAndIsrPartitionError::default()
                    .with_topic_name(tp.topic.wire())
                    .with_partition_index(tp.partition)
                    .with_error_code(error.code()),
            );
        }
        let done = self.make_leaders(to_lead, cx).and_then(|()| self.make_followers(to_follow, cx));
        if let Err(error) = done {
            cx.ask(Ask::LogDirFailed(error));
            for error in &mut errors {
                error.error_code = ErrorCode::KafkaStorageError.code();
            }
            return errors;
        }
        self.schedule.start_high_watermark_checkpoints(cx.io.now());
        self.fetchers.close_idle(cx);
        errors
    }

    /// A partition is hosted from now on, with its topic's settings; its log follows.
    fn host(&mut self, tp: &TopicPartition) -> Slot {
        let settings = self.settings.get(tp.topic.as_str()).expect("a topic's settings are read before it is hosted");
        self.partitions.insert(Partition::new(tp.clone(), Arc::clone(settings)))
    }

    /// Creates a partition's log unless it has one; its high watermark is the checkpointed one (§5.3).
    fn create_log_if_absent(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) -> Result<(), DiskError> {
        let partition = self.partitions.get(slot).expect("a log is created for a hosted partition");
        if partition.log().is_some() {
            return Ok(());
        }
        let tp = partition.tp().clone();
        let settings = partition.settings().log.clone();
        let mut log = match self.logs.log_mut(&tp) {
            Some(log) => log,
            None => self.logs.create(&tp, cx.io)?,
        };
        log.reconfigure(settings);
        self.logs.restore_high_watermark(&tp);
        let log = self.logs.find(&tp).expect("it was just found or created");
        self.partitions.get_mut(slot).expect("it was just there").log_created(log);
        Ok(())
    }

    fn make_leaders(&mut self, states: Vec<(Slot, PartitionState)>, cx: &mut Cx<'_, '_>) -> Result<(), DiskError> {
        for (slot, _) in &states {
            self.fetchers.remove(*slot);
        }
        for (slot, state) in states {
            self.create_log_if_absent(slot, cx)?;
            let partition = self.partitions.get_mut(slot).expect("it was just hosted");
            // Epochs were compared; a state with a later leader epoch was written later.
            let is_stale = partition.partition_epoch().is_some_and(|known| state.partition_epoch < known);
            if is_stale {
                continue;
            }
            let tp = partition.tp().clone();
            let leader_epoch = state.leader_epoch;
            let mut log = self.logs.at_mut(partition.log_in_use());
            // Even if it never writes: followers of later epochs must find where its epoch began (KAFKA-7415).
            let start = log.begin_epoch(leader_epoch, cx.io)?;
            partition.become_leader(state, start, cx.broker(), cx.io.now());
            cx.io.state(KafkaFact::BecameLeader {
                broker: cx.broker(),
                broker_epoch: cx.identity.epoch.unwrap_or(BrokerEpoch(-1)),
                topic: tp.topic.clone(),
                partition: tp.partition,
                leader_epoch,
                start,
            });
            // The ISR may be the leader alone.
            if self.raise_high_watermark(slot, cx) {
                self.complete_delayed(slot, cx);
            }
        }
        Ok(())
    }

    fn make_followers(&mut self, states: Vec<(Slot, PartitionState)>, cx: &mut Cx<'_, '_>) -> Result<(), DiskError> {
        let mut followed = Vec::with_capacity(states.len());
        for (slot, state) in states {
            self.create_log_if_absent(slot, cx)?;
            // Without a live leader there is only the log, so that its high watermark is in the next checkpoint (KAFKA-1647):
            // the role stays as it is.
            if !cx.cache.is_alive(state.leader) {
                continue;
            }
            let partition = self.partitions.get_mut(slot).expect("it was just hosted");
            if partition.partition_epoch().is_some_and(|known| state.partition_epoch < known) {
                continue;
            }
            let (leader, leader_epoch) = (state.leader, state.leader_epoch);
            partition.become_follower(state);
            let tp = partition.tp();
            cx.io.state(KafkaFact::BecameFollower {
                broker: cx.broker(),
                topic: tp.topic.clone(),
                partition: tp.partition,
                leader: leader.0,
                leader_epoch,
            });
            followed.push((slot, leader, leader_epoch));
        }
        // The position to fetch from is read when no fetcher can change it any more. The rule that skipped the restart where
        // only the epoch had moved by one (appendix C, E20) cannot stand beside fetches that carry the epoch (KIP-320): the
        // leader would fence the old one. So every later epoch restarts, as in the code of 3.3.
        for &(slot, ..) in &followed {
            self.fetchers.remove(slot);
        }
        for &(slot, ..) in &followed {
            self.complete_delayed(slot, cx);
        }
        if self.is_stopping {
            return Ok(());
        }
        for (slot, leader, leader_epoch) in followed {
            let truncates_to_high_watermark = cx.has(Defect::TruncateToHighWatermark);
            let partition = self.partitions.get(slot).expect("it was just hosted");
            let (tp, wire_topic) = (partition.tp().clone(), partition.wire_topic().clone());
            let offset = self.logs.at(partition.log_in_use()).high_watermark();
            if truncates_to_high_watermark {
                self.truncate(slot, offset, cx)?;
            }
            let assigned =
                Assigned { slot, tp, wire_topic, leader_epoch, offset, fetches_at_once: truncates_to_high_watermark };
            self.fetchers.add(leader, assigned, cx);
        }
        Ok(())
    }

    fn apply_stop_replica(
        &mut self,
        request: &StopReplicaRequest,
        cx: &mut Cx<'_, '_>,
    ) -> Vec<StopReplicaPartitionError> {
        let mut errors = Vec::new();
        let mut stopped = Vec::new();
        for stop in stops_of(request) {
            let slot = self.partitions.find_tp(&stop.tp);
            let known = slot.and_then(|slot| self.partitions.get(slot)?.leader_epoch());
            let is_unconditional = stop.leader_epoch == NO_EPOCH || stop.leader_epoch == EPOCH_DURING_DELETE;
            // An equal epoch stops: the controller sends the one it last wrote (KAFKA-13972).
            let is_fenced = !is_unconditional && known.is_some_and(|known| LeaderEpoch(stop.leader_epoch) < known);
            let error = if is_fenced { ErrorCode::FencedLeaderEpoch } else { ErrorCode::None };
            errors.push(
                StopReplicaPartitionError::default()
                    .with_topic_name(stop.tp.topic.wire())
                    .with_partition_index(stop.tp.partition)
                    .with_error_code(error.code()),
            );
            if !is_fenced {
                stopped.push((slot, stop));
            }
        }
        for slot in stopped.iter().filter_map(|(slot, _)| *slot) {
            self.fetchers.remove(slot);
        }
        for (slot, stop) in stopped {
            if stop.delete
                && let Some(slot) = slot
            {
                self.partitions.remove(slot);
            }
            // A produce that waits here would only time out: it learns at once that nobody leads.
            if let Some(slot) = slot {
                self.complete_delayed(slot, cx);
            }
            if stop.delete {
                self.settings_unused(&stop.tp.topic);
                // A log without a partition, left by an earlier life, goes as well.
                if let Err(error) = self.logs.delete(&stop.tp, cx.io) {
                    cx.ask(Ask::LogDirFailed(error));
                }
            }
            let TopicPartition { topic, partition } = stop.tp;
            let fact = KafkaFact::ReplicaStopped { broker: cx.broker(), topic, partition, deleted: stop.delete };
            cx.io.state(fact);
        }
        errors
    }

    /// A topic that no partition is left of is read again should it come back.
    fn settings_unused(&mut self, topic: &Topic) {
        if !self.partitions.hosts(topic) {
            self.settings.remove(topic.as_str());
        }
    }
}

fn refuse(to: RequestId, request: &ControlRequest, error: ErrorCode, cx: &mut Cx<'_, '_>) {
    let sender = request.sender();
    cx.io.state(KafkaFact::ControlRequestRefused {
        broker: cx.broker(),
        api: request.api(),
        controller: sender.controller,
        controller_epoch: sender.controller_epoch,
        broker_epoch: sender.broker_epoch,
        error: error.name(),
    });
    cx.answer(to, request.refusal(error));
}
