//! The sender: batches to leaders, answers to outcomes (kafka-broker.md §8.1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafkawire::messages::ProduceRequest;
use kafkawire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafkawire::messages::produce_response::PartitionProduceResponse;
use kafkawire::{Correlation, ErrorCode, Offset, Request, Response};
use machine::{Instant, Io};

use super::Producer;
use super::accumulator::ProducerBatch;
use super::outcome::had_no_effect;
use crate::kafka::cluster::{ClusterEvent, NodeId};
use crate::kafka::{Acks, KafkaClient, KafkaClientMark, KafkaWorkFact};

/// `max.request.size`.
const MAX_REQUEST_SIZE: usize = 1024 * 1024;
/// Why a record failed that had no outcome within `delivery.timeout.ms` (a TimeoutException).
const DELIVERY_TIMED_OUT: &str = "DELIVERY_TIMED_OUT";

/// What was sent and not answered.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    batches: BTreeMap<u64, ProducerBatch>,
    requests: BTreeMap<(NodeId, Correlation), Vec<u64>>,
    bytes: usize,
    /// Where the next request begins to take batches, so that a full one starves nobody.
    drain_from: usize,
}

impl InFlight {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn batches(&self) -> impl Iterator<Item = &ProducerBatch> {
        self.batches.values()
    }

    fn insert(&mut self, batch: ProducerBatch) {
        self.bytes += batch.size();
        let before = self.batches.insert(batch.number, batch);
        assert!(before.is_none(), "a batch is in flight once");
    }

    fn remove(&mut self, number: u64) -> Option<ProducerBatch> {
        let batch = self.batches.remove(&number)?;
        self.bytes -= batch.size();
        Some(batch)
    }
}

impl Producer {
    pub(super) fn on_cluster(&mut self, events: Vec<ClusterEvent>, io: &mut Io<'_, KafkaClient>) {
        for event in events {
            match event {
                ClusterEvent::Up => {}
                ClusterEvent::Refreshed => self.tell_brokers(io),
                ClusterEvent::Response { node, correlation, response } => {
                    self.on_response(node, correlation, &response, io);
                }
                ClusterEvent::Down { node, unanswered } => {
                    for correlation in unanswered {
                        for number in self.in_flight.requests.remove(&(node, correlation)).unwrap_or_default() {
                            self.on_failed(number, ErrorCode::NetworkException, io);
                        }
                    }
                }
            }
        }
    }

    fn on_response(
        &mut self,
        node: NodeId,
        correlation: Correlation,
        response: &Response,
        io: &mut Io<'_, KafkaClient>,
    ) {
        let Response::Produce(response) = response else { panic!("Produce is answered by {response:?}") };
        let mut unanswered = self.in_flight.requests.remove(&(node, correlation)).expect("an answer has a request");
        for partition in response.responses.iter().flat_map(|topic| &topic.partition_responses) {
            let is_asked = |number: &u64| {
                self.in_flight.batches.get(number).is_some_and(|batch| batch.partition == partition.index)
            };
            // One that expired in flight has its outcome.
            let Some(at) = unanswered.iter().position(is_asked) else { continue };
            let number = unanswered.swap_remove(at);
            self.on_answered(number, partition, io);
        }
        for number in unanswered {
            assert!(!self.in_flight.batches.contains_key(&number), "a produce request is answered for every partition");
        }
    }

    fn on_answered(&mut self, number: u64, answer: &PartitionProduceResponse, io: &mut Io<'_, KafkaClient>) {
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => {
                let batch = self.in_flight.remove(number).expect("it is in flight");
                self.accumulator.unmute(batch.partition);
                self.acknowledge(batch, Some(Offset(answer.base_offset)), io);
            }
            error => self.on_failed(number, error.unwrap_or(ErrorCode::UnknownServerError), io),
        }
    }

    /// An attempt failed: the batch is split, sent again, or given up.
    fn on_failed(&mut self, number: u64, error: ErrorCode, io: &mut Io<'_, KafkaClient>) {
        // One that expired in flight has its outcome.
        let Some(mut batch) = self.in_flight.remove(number) else { return };
        self.accumulator.unmute(batch.partition);
        batch.is_maybe_appended |= !had_no_effect(error, self.image.acks);
        if error == ErrorCode::NotLeaderOrFollower {
            io.reach(KafkaClientMark::NotLeader);
        }
        let is_expired = self.accumulator.expiry_of(&batch) <= io.now();
        if error == ErrorCode::MessageTooLarge && batch.records.len() > 1 && !is_expired {
            io.reach(KafkaClientMark::BatchSplit);
            self.accumulator.split(batch);
        } else if error.is_retriable() && batch.attempts < self.image.retries && !is_expired {
            io.reach(KafkaClientMark::Retried);
            let overtakes = |other: &ProducerBatch| other.partition == batch.partition && other.number > batch.number;
            if self.in_flight.batches().any(overtakes) {
                io.reach(KafkaClientMark::Reordered);
            }
            self.accumulator.put_back(batch, io.now());
        } else {
            self.give_up(batch, error.name(), io);
        }
        if error.is_invalid_metadata() {
            self.cluster.request_refresh();
        }
    }

    fn acknowledge(&mut self, batch: ProducerBatch, base: Option<Offset>, io: &mut Io<'_, KafkaClient>) {
        for (delta, record) in (0..).zip(batch.records) {
            io.state(KafkaWorkFact::RecordAcknowledged {
                record: record.id,
                topic: self.topic().clone(),
                partition: batch.partition,
                acks: self.image.acks.wire(),
                offset: base.map_or(Offset(-1), |base| base.plus(delta)),
            });
            if record.is_probe {
                self.life.end_probe(io);
            }
        }
    }

    fn give_up(&mut self, batch: ProducerBatch, error: &'static str, io: &mut Io<'_, KafkaClient>) {
        if batch.is_maybe_appended {
            io.reach(KafkaClientMark::OutcomeUnknown);
        }
        for record in batch.records {
            io.state(KafkaWorkFact::RecordFailed {
                record: record.id,
                topic: self.topic().clone(),
                partition: batch.partition,
                error,
                surely: !batch.is_maybe_appended,
            });
            if record.is_probe {
                self.life.retry_probe(io.now());
            }
        }
    }

    /// One turn of the sender's loop, until nothing more can be sent.
    pub(super) fn run_sender(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.expire(io);
        for node in self.ready_nodes(io) {
            while self.cluster.is_ready(node, io) {
                if !self.has_ready_batch(node, io.now()) {
                    break;
                }
                let batches = self.drain(node, io.now());
                if batches.is_empty() {
                    break;
                }
                self.send(node, batches, io);
            }
        }
    }

    /// Gives up what is older than `delivery.timeout.ms`, in flight or not.
    fn expire(&mut self, io: &mut Io<'_, KafkaClient>) {
        let now = io.now();
        let in_flight: Vec<u64> = self
            .in_flight
            .batches()
            .filter(|batch| self.accumulator.expiry_of(batch) <= now)
            .map(|batch| batch.number)
            .collect();
        for number in in_flight {
            let mut batch = self.in_flight.remove(number).expect("it is in flight");
            self.accumulator.unmute(batch.partition);
            // It may be appended yet.
            batch.is_maybe_appended = true;
            self.give_up(batch, DELIVERY_TIMED_OUT, io);
        }
        for batch in self.accumulator.expire(now) {
            if !batch.is_maybe_appended {
                io.reach(KafkaClientMark::ExpiredUnsent);
            }
            self.give_up(batch, DELIVERY_TIMED_OUT, io);
        }
    }

    /// The nodes that lead a partition with a batch that may leave. A batch without a leader demands metadata.
    fn ready_nodes(&mut self, io: &Io<'_, KafkaClient>) -> BTreeSet<NodeId> {
        let mut nodes = BTreeSet::new();
        for partition in self.accumulator.partitions() {
            match self.leader_of(partition) {
                None => self.cluster.request_refresh(),
                Some(node) if self.accumulator.ready_at(partition).is_some_and(|at| at <= io.now()) => {
                    nodes.insert(node);
                }
                Some(_) => {}
            }
        }
        nodes
    }

    fn has_ready_batch(&self, node: NodeId, now: Instant) -> bool {
        self.accumulator.partitions().any(|partition| {
            self.leader_of(partition) == Some(node) && self.accumulator.ready_at(partition).is_some_and(|at| at <= now)
        })
    }

    /// One batch of each partition that the node leads, as many as fit a request.
    fn drain(&mut self, node: NodeId, now: Instant) -> Vec<ProducerBatch> {
        let mut partitions: Vec<i32> = self.accumulator.partitions().collect();
        partitions.retain(|&partition| self.leader_of(partition) == Some(node));
        let shift = self.in_flight.drain_from % partitions.len().max(1);
        partitions.rotate_left(shift);
        self.in_flight.drain_from = self.in_flight.drain_from.wrapping_add(1);
        let (mut batches, mut room) = (Vec::new(), MAX_REQUEST_SIZE);
        for partition in partitions {
            // A batch of one record may be larger than a request should be, and then goes alone.
            let limit = if batches.is_empty() { usize::MAX } else { room };
            if let Some(batch) = self.accumulator.drain(partition, now, limit) {
                room = room.saturating_sub(batch.size());
                batches.push(batch);
            }
        }
        batches
    }

    fn send(&mut self, node: NodeId, mut batches: Vec<ProducerBatch>, io: &mut Io<'_, KafkaClient>) {
        let data = batches
            .iter_mut()
            .map(|batch| PartitionProduceData::default().with_index(batch.partition).with_records(Some(batch.bytes())));
        let topic = TopicProduceData::default().with_name(self.wire_topic.clone()).with_partition_data(data.collect());
        let timeout_ms = i32::try_from(self.image.request_timeout.as_millis()).unwrap_or(i32::MAX);
        let request = ProduceRequest::default()
            .with_acks(self.image.acks.wire())
            .with_timeout_ms(timeout_ms)
            .with_topic_data(vec![topic]);
        let request = Request::Produce(Arc::new(request));
        if self.image.acks == Acks::Zero {
            self.cluster.send_expecting_none(node, request, io);
            for batch in batches {
                self.acknowledge(batch, None, io);
            }
            return;
        }
        let correlation = self.cluster.send(node, request, io);
        let numbers = batches.iter().map(|batch| batch.number).collect();
        self.in_flight.requests.insert((node, correlation), numbers);
        for batch in batches {
            // Otherwise a later batch could overtake this one if it had to be sent again.
            if self.image.max_in_flight == 1 {
                self.accumulator.mute(batch.partition);
            }
            self.in_flight.insert(batch);
        }
    }

    /// When the next batch may leave or expires. What may leave already waits for a connection or a leader.
    pub(super) fn sender_wake(&self, now: Instant) -> Option<Instant> {
        let ready = self.accumulator.partitions().filter_map(|partition| self.accumulator.ready_at(partition));
        let waiting = self.accumulator.batches().chain(self.in_flight.batches());
        let expiries = waiting.map(|batch| self.accumulator.expiry_of(batch));
        ready.chain(expiries).filter(|&at| at > now).min()
    }
}
