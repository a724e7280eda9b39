//! Produce (kafka-broker.md §5.5): append, wait for the in-sync replicas, acknowledge.
//!
//! What failed after the append **stays in the log**: neither REQUEST_TIMED_OUT nor NOT_ENOUGH_REPLICAS_AFTER_APPEND nor
//! NOT_LEADER_OR_FOLLOWER says that the records are not there.

use std::sync::Arc;

use bytes::Bytes;
use commitlog::{AppendError, Appended, LogManager};
use kafkawire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafkawire::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafkawire::{Batch, ErrorCode, Offset, Response, Version};
use machine::Span;

use crate::cx::{Answer, Ask, Cx, RequestId};
use crate::fact::{KafkaFact, Side};
use crate::replication::lock::{Access, Hold, Parked, ParkedBody, ParkedRequest};
use crate::replication::table::{PartitionTable, Slot, SlotSet};
use crate::replication::{Partition, ReplicaManager};
use crate::{BrokerMark, Defect};

/// `acks=all`.
const ALL: i16 = -1;
/// Only brokers write to these (§5.5 step 2).
const INTERNAL_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// A batch that was appended for a produce request: where it is in the response, and where in the log.
#[derive(Clone, Copy, Debug)]
struct Part {
    topic_at: usize,
    partition_at: usize,
    slot: Slot,
    base: Offset,
    last: Offset,
    high_watermark_rose: bool,
}

/// A produce of acks=all that waits for the in-sync replicas.
#[derive(Clone, Debug)]
pub(crate) struct DelayedProduce {
    to: RequestId,
    /// What is answered; the partitions that wait say REQUEST_TIMED_OUT until they are through.
    response: ProduceResponse,
    waiting: Vec<Part>,
}

/// A produce whose appends are being flushed, because `flush.messages` says so.
#[derive(Clone, Debug)]
pub(crate) struct FlushingProduce {
    acks: i16,
    timeout: Span,
    produce: DelayedProduce,
    /// Up to where each log must be durable.
    flushes: Vec<(Slot, Offset)>,
}

impl DelayedProduce {
    /// Takes out of the partitions that wait those that need not any longer (`DelayedProduce.tryComplete`).
    fn look(&mut self, partitions: &PartitionTable, logs: &LogManager, cx: &mut Cx<'_, '_>) {
        let response = &mut self.response;
        self.waiting.retain(|part| {
            let topic = &mut response.responses[part.topic_at];
            let answer = &mut topic.partition_responses[part.partition_at];
            let outcome = match partitions.get(part.slot) {
                Some(partition) => outcome_of(part, partition, logs, cx),
                None => Some(error_of_absent(&topic.name, answer.index, cx)),
            };
            if let Some(error) = outcome {
                answer.error_code = error.code();
            }
            outcome.is_none()
        });
    }
}

/// What became of a batch that waits for the in-sync replicas; none while it has to wait on.
fn outcome_of(part: &Part, partition: &Partition, logs: &LogManager, cx: &mut Cx<'_, '_>) -> Option<ErrorCode> {
    let Ok((leader_epoch, leader)) = partition.check_leader(None) else {
        cx.io.reach(BrokerMark::ParkedProduceLostLeader);
        return Some(ErrorCode::NotLeaderOrFollower);
    };
    let high_watermark = logs.at(partition.log_in_use()).high_watermark();
    if high_watermark <= part.last {
        return None;
    }
    let min_insync = partition.settings().min_insync_replicas;
    if leader.isr.len() < min_insync {
        cx.io.reach(BrokerMark::NotEnoughReplicasAfterAppend);
        return Some(ErrorCode::NotEnoughReplicasAfterAppend);
    }
    let tp = partition.tp();
    cx.io.state(KafkaFact::ProduceAcknowledged {
        broker: cx.image.config.broker_id,
        topic: tp.topic.clone(),
        partition: tp.partition,
        leader_epoch,
        base: part.base,
        last: part.last,
        high_watermark,
        isr_size: leader.isr.len() as u64,
        min_insync: min_insync as u64,
    });
    Some(ErrorCode::None)
}

/// A partition that is not hosted: whether anybody has it is what the metadata cache says.
pub(crate) fn error_of_absent(topic: &TopicName, partition: i32, cx: &Cx<'_, '_>) -> ErrorCode {
    if cx.cache.topics.get(topic.as_str()).is_some_and(|topic| topic.contains_key(&partition)) {
        ErrorCode::NotLeaderOrFollower
    } else {
        ErrorCode::UnknownTopicOrPartition
    }
}

fn answer_of(response: ProduceResponse) -> Response {
    Response::Produce(Arc::new(response))
}

/// The one batch of a partition's records.
fn batch_of(records: Option<&Bytes>) -> Result<Batch, ErrorCode> {
    let records = records.ok_or(ErrorCode::InvalidRecord)?;
    match Batch::read(records, 0) {
        Ok(Some(batch)) if batch.header.size() == records.len() => Ok(batch),
        Ok(Some(_) | None) => Err(ErrorCode::InvalidRecord),
        Err(_) => Err(ErrorCode::CorruptMessage),
    }
}

impl ReplicaManager {
    /// Produce (§5.5): answered at once or from purgatory.
    pub fn produce(&mut self, to: RequestId, request: &Arc<ProduceRequest>, version: Version, cx: &mut Cx<'_, '_>) {
        if self.is_stopping {
            return;
        }
        let named = request.topic_data.iter().flat_map(|topic| {
            let partitions = &self.partitions;
            topic.partition_data.iter().filter_map(move |data| partitions.find(topic.name.as_str(), data.index))
        });
        if let Some(held) = self.locks.blocked(named, Access::Write) {
            let body = ParkedBody::Produce(Arc::clone(request));
            self.locks.park(held, Parked::Request(ParkedRequest { to, version, body }));
            return;
        }
        let acks_are_valid = (ALL..=1).contains(&request.acks);
        let mut response = ProduceResponse::default();
        let (mut parts, mut flushes) = (Vec::new(), Vec::new());
        for (topic_at, topic) in request.topic_data.iter().enumerate() {
            let mut answers = Vec::with_capacity(topic.partition_data.len());
            for (partition_at, data) in topic.partition_data.iter().enumerate() {
                let appended = if acks_are_valid {
                    self.append_produced(&topic.name, data.index, data.records.as_ref(), request.acks, cx)
                } else {
                    Err(ErrorCode::InvalidRequiredAcks)
                };
                let mut answer = PartitionProduceResponse::default().with_index(data.index).with_log_append_time_ms(-1);
                match appended {
                    Ok((slot, appended)) => {
                        answer.base_offset = appended.base.0;
                        answer.log_start_offset = self.log_of(slot).log_start().0;
                        let Appended { base, last, .. } = appended;
                        parts.push(Part { topic_at, partition_at, slot, base, last, high_watermark_rose: false });
                        flushes.extend(appended.flush_first.map(|up_to| (slot, up_to)));
                    }
                    Err(error) => {
                        answer.error_code = error.code();
                        answer.base_offset = -1;
                        answer.log_start_offset = -1;
                    }
                }
                answers.push(answer);
            }
            response
                .responses
                .push(TopicProduceResponse::default().with_name(topic.name.clone()).with_partition_responses(answers));
        }
        let timeout = Span::millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let produce = DelayedProduce { to, response, waiting: parts };
        if flushes.is_empty() {
            return self.appended(request.acks, timeout, produce, cx);
        }
        for &(slot, _) in &flushes {
            if !self.locks.blocks(slot, Access::Write) {
                self.locks.hold(slot, Hold::Flush, None);
            }
        }
        self.flushing.push(FlushingProduce { acks: request.acks, timeout, produce, flushes });
    }

    /// Appends to one partition, if it may be appended to.
    fn append_produced(
        &mut self,
        topic: &TopicName,
        partition: i32,
        records: Option<&Bytes>,
        acks: i16,
        cx: &mut Cx<'_, '_>,
    ) -> Result<(Slot, Appended), ErrorCode> {
        if INTERNAL_TOPICS.contains(&topic.as_str()) {
            return Err(ErrorCode::InvalidTopic);
        }
        let Some(slot) = self.partitions.find(topic.as_str(), partition) else {
            return Err(error_of_absent(topic, partition, cx));
        };
        let hosted = self.partitions.get(slot).expect("it was just found");
        let (epoch, leader) = hosted.check_leader(None)?;
        if acks == ALL && leader.isr.len() < hosted.settings().min_insync_replicas {
            cx.io.reach(BrokerMark::NotEnoughReplicas);
            return Err(ErrorCode::NotEnoughReplicas);
        }
        let batch = batch_of(records)?;
        let tp = hosted.tp();
        let mut log = self.logs.at_mut(hosted.log_in_use());
        match log.append_as_leader(&batch, epoch, cx.io) {
            Ok(appended) => {
                cx.io.state(KafkaFact::Appended {
                    broker: cx.image.config.broker_id,
                    topic: tp.topic.clone(),
                    partition,
                    side: Side::Leader,
                    base: appended.base,
                    last: appended.last,
                    leader_epoch: epoch,
                    checksum: appended.header.crc,
                });
                Ok((slot, appended))
            }
            Err(AppendError::Corrupt(_)) => Err(ErrorCode::CorruptMessage),
            Err(AppendError::Invalid | AppendError::UnexpectedOffset { .. }) => Err(ErrorCode::InvalidRecord),
            Err(AppendError::TooLarge) => Err(ErrorCode::MessageTooLarge),
            Err(AppendError::LargerThanSegment) => Err(ErrorCode::RecordListTooLarge),
            Err(AppendError::Disk(error)) => {
                cx.ask(Ask::LogDirFailed(error));
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }

    /// The appends are done, and as durable as `flush.messages` wants them.
    fn appended(&mut self, acks: i16, timeout: Span, mut produce: DelayedProduce, cx: &mut Cx<'_, '_>) {
        self.after_append(&mut produce.waiting, cx);
        let waits = acks == ALL && !cx.has(Defect::AcksAtAppend);
        let parts = if waits && !produce.waiting.is_empty() {
            let parts = produce.waiting.clone();
            self.wait_for_replicas(timeout, produce, cx);
            parts
        } else {
            let DelayedProduce { to, response, waiting } = produce;
            let failed =
                || response.responses.iter().flat_map(|topic| &topic.partition_responses).any(|it| it.error_code != 0);
            let answer = match acks {
                0 if failed() => Answer::Close,
                0 => Answer::Nothing,
                _ => Answer::Response(answer_of(response)),
            };
            cx.answer(to, answer);
            waiting
        };
        self.complete_appended(&parts, cx);
    }

    /// The high watermark follows where the leader alone is in sync.
    fn after_append(&mut self, parts: &mut [Part], cx: &mut Cx<'_, '_>) {
        for part in parts {
            part.high_watermark_rose = self.raise_high_watermark(part.slot, cx);
        }
    }

    /// What waits for appends may go on (the action queue): fetches of what is new, produces where the high watermark rose.
    fn complete_appended(&mut self, parts: &[Part], cx: &mut Cx<'_, '_>) {
        for part in parts {
            if part.high_watermark_rose {
                self.complete_produces(part.slot, cx);
            }
            self.complete_fetches(part.slot, cx);
        }
    }

    fn wait_for_replicas(&mut self, timeout: Span, mut produce: DelayedProduce, cx: &mut Cx<'_, '_>) {
        for part in &produce.waiting {
            let answer = &mut produce.response.responses[part.topic_at].partition_responses[part.partition_at];
            answer.error_code = ErrorCode::RequestTimedOut.code();
        }
        produce.look(&self.partitions, &self.logs, cx);
        if produce.waiting.is_empty() {
            return cx.answer(produce.to, answer_of(produce.response));
        }
        let watches: SlotSet = produce.waiting.iter().map(|part| part.slot).collect();
        self.produces.insert(produce, watches, cx.io.now().saturating_add(timeout));
    }

    /// The high watermark or the leadership of a partition changed: produces that waited for it may be answered.
    pub(crate) fn complete_produces(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) {
        let Self { produces, partitions, logs, .. } = self;
        let mut after = 0;
        while let Some(number) = produces.watching(slot, after) {
            after = number;
            let produce = produces.get_mut(number).expect("it was just found");
            produce.look(partitions, logs, cx);
            if produce.waiting.is_empty() {
                let produce = produces.remove(number).expect("it was just there");
                cx.answer(produce.to, answer_of(produce.response));
            }
        }
    }

    /// Produces whose time is over are answered with what they have: REQUEST_TIMED_OUT where they still waited.
    pub(crate) fn expire_produces(&mut self, cx: &mut Cx<'_, '_>) {
        while let Some(number) = self.produces.expire(cx.io.now()) {
            let produce = self.produces.remove(number).expect("it just expired");
            cx.answer(produce.to, answer_of(produce.response));
        }
    }

    /// A log is durable up to where produces waited for.
    pub(crate) fn on_flushed_produces(&mut self, cx: &mut Cx<'_, '_>) {
        let is_through = |this: &Self, flushes: &[(Slot, Offset)]| {
            flushes.iter().all(|&(slot, up_to)| this.log_of(slot).recovery_point() >= up_to)
        };
        while let Some(at) = (0..self.flushing.len()).find(|&at| is_through(self, &self.flushing[at].flushes)) {
            let FlushingProduce { acks, timeout, produce, flushes } = self.flushing.remove(at);
            self.appended(acks, timeout, produce, cx);
            for (slot, _) in flushes {
                self.free(slot, cx);
            }
        }
    }
}
