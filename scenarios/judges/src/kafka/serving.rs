//! Judges of what brokers answer: L09, L12, L13, L15. Facts and the messages themselves are held against each other.

use std::sync::Arc;

use engine::Findings;
use kafkawire::messages::{FetchResponse, ProduceRequest, ProduceResponse, UpdateMetadataRequest};
use kafkawire::{Batch, BatchHeader, BrokerId, LeaderEpoch, Request, Response};
use machine::{EndId, HostId};

use super::broker::Asked;
use super::cluster::BrokerAt;
use super::config_reads::READ_BEHIND;
use super::oracle::KafkaOracle;
use super::partition::PartitionAt;
use crate::moment::Story;
use crate::{Moment, Rule};

const ACKS_ALL: i16 = -1;

/// How a promise was made.
const ACKNOWLEDGED: &str = "acknowledged to a producer with acks=all";
const SERVED: &str = "given to a consumer";

/// Why a broker may send damaged bytes: whoever takes them must look at the CRC.
const SENT_UNREAD: &str = "a broker sends what is on its disk without looking at it, and the disk lied: the consumer finds it by the CRC (known hole, kafka-broker.md §1.10, check.crcs)";

impl KafkaOracle {
    /// Bits flip on these hosts' disks.
    pub fn disks_rot(&mut self, hosts: &[HostId]) {
        for &host in hosts {
            if let Some(broker) = self.seating.broker_on(host) {
                self.broker_mut(broker).has_rotten_disk = true;
            }
        }
    }

    /// A request reaches a broker.
    pub fn request_delivered(&mut self, broker: BrokerAt, on: EndId, correlation: i32, request: &Request) {
        let asked = match request {
            Request::Produce(body) => {
                self.produce_delivered(body);
                if body.acks != ACKS_ALL {
                    return;
                }
                Asked::ProduceToAll { correlation }
            }
            Request::Fetch(body) if body.replica_id.0 < 0 => Asked::Consume { correlation },
            Request::Fetch(body) => return self.follower_fetched(broker, correlation, body),
            Request::UpdateMetadata(body) => return self.metadata_told(broker, body),
            Request::ListOffsets(_)
            | Request::Metadata(_)
            | Request::LeaderAndIsr(_)
            | Request::StopReplica(_)
            | Request::ControlledShutdown(_)
            | Request::ApiVersions(_)
            | Request::CreateTopics(_)
            | Request::OffsetForLeaderEpoch(_) => return,
        };
        self.broker_mut(broker).asked.insert(on, asked);
    }

    /// What a producer sends may be in the log from now on.
    fn produce_delivered(&mut self, request: &ProduceRequest) {
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                let Some(header) = data.records.as_ref().and_then(|records| BatchHeader::parse(records).ok()) else {
                    continue;
                };
                let Some(at) = self.place(topic.name.as_str(), data.index) else { continue };
                if !self.partitions[at].produced.contains(&header.crc) {
                    Arc::make_mut(&mut self.partition_mut(at).produced).insert(header.crc);
                }
            }
        }
    }

    /// L15: the bytes are those that the CRC is of, and a producer sent them. A broker whose own disk rots sends the damage as the real
    /// one does; it may not have taken it from another.
    fn check_content(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        broker: BrokerAt,
        batch: &Batch,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::ContentIntegrity);
        let what = if batch.check_crc().is_err() {
            if self.brokers[broker].has_rotten_disk {
                return self.relax_hole(Rule::ContentIntegrity, SENT_UNREAD, moment);
            }
            ("damaged", "its bytes are not those that its CRC is of")
        } else if !self.partitions[at].produced.contains(&batch.header.crc) {
            ("invented", "no producer ever sent it")
        } else {
            return;
        };
        let headline = format!(
            "{} gave a consumer a batch at offset {} of {}: {}",
            self.seating.name(broker),
            batch.header.base_offset,
            self.partitions[at].name,
            what.1
        );
        self.broken_plainly(Rule::ContentIntegrity, what.0, headline, moment, "the answer leaves", findings);
    }

    /// A broker is told who is alive and who leads what.
    fn metadata_told(&mut self, broker: BrokerAt, request: &UpdateMetadataRequest) {
        let mut alive: Vec<BrokerId> = request.live_brokers.iter().map(|it| it.id.into()).collect();
        alive.sort_unstable();
        let states: Vec<(PartitionAt, (LeaderEpoch, i32))> = request
            .topic_states
            .iter()
            .flat_map(|topic| topic.partition_states.iter().map(move |state| (topic, state)))
            .filter_map(|(topic, state)| {
                let at = self.find(topic.topic_name.as_str(), state.partition_index)?;
                Some((at, (LeaderEpoch(state.leader_epoch), state.zk_version)))
            })
            .collect();
        let told = &mut self.broker_mut(broker).told;
        if told.alive != alive {
            let before = std::mem::replace(&mut told.alive, alive);
            told.alive_before.insert(before);
        }
        for (at, state) in states {
            let newest = told.states.get(&at).map_or(state, |&[_, newest]| newest.max(state));
            told.states.insert(at, [state, newest]);
        }
    }

    /// A response leaves a broker.
    pub fn response_sent(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        on: EndId,
        correlation: i32,
        response: &Response,
        findings: &mut Findings,
    ) {
        match response {
            Response::Produce(body) => {
                if self.answers(broker, on, Asked::ProduceToAll { correlation }) {
                    self.produce_answered(moment, broker, body, findings);
                }
            }
            Response::Fetch(body) => {
                if self.answers(broker, on, Asked::Consume { correlation }) {
                    self.consume_answered(moment, broker, body, findings);
                }
            }
            Response::ListOffsets(_)
            | Response::Metadata(_)
            | Response::LeaderAndIsr(_)
            | Response::StopReplica(_)
            | Response::UpdateMetadata(_)
            | Response::ControlledShutdown(_)
            | Response::ApiVersions(_)
            | Response::CreateTopics(_)
            | Response::OffsetForLeaderEpoch(_) => {}
        }
    }

    fn answers(&mut self, broker: BrokerAt, on: EndId, asked: Asked) -> bool {
        let is_it = self.brokers[broker].asked.get(&on) == Some(&asked);
        if is_it {
            self.broker_mut(broker).asked.remove(&on);
        }
        is_it
    }

    /// A connection of a broker's is gone.
    pub fn end_gone(&mut self, broker: BrokerAt, on: EndId) {
        if self.brokers[broker].asked.contains_key(&on) {
            self.broker_mut(broker).asked.remove(&on);
        }
    }

    /// L09 as the wire shows it: no success before the high watermark passed the records.
    fn produce_answered(&mut self, moment: Moment, broker: BrokerAt, body: &ProduceResponse, findings: &mut Findings) {
        for topic in &body.responses {
            for answer in topic.partition_responses.iter().filter(|it| it.error_code == 0 && it.base_offset >= 0) {
                let Some(at) = self.place(topic.name.as_str(), answer.index) else { continue };
                self.tally.check(Rule::MinIsrGate);
                let replica = &self.partitions[at].replicas[broker];
                let end = replica.log.at(answer.base_offset).map(|entry| entry.last + 1);
                let passed = replica.high_watermark_most;
                match end {
                    Some(end) if end <= passed => self.partition_mut(at).promised(end, moment, ACKNOWLEDGED),
                    Some(_) | None => {
                        let headline = format!(
                            "{} answered acks=all with success for offset {} of {}, with its high watermark at {passed}",
                            self.seating.name(broker),
                            answer.base_offset,
                            self.partitions[at].name
                        );
                        let note = "the answer leaves";
                        self.broken_plainly(Rule::MinIsrGate, "ack-before-commit", headline, moment, note, findings);
                    }
                }
            }
        }
    }

    /// L12 and L13 as the wire shows them.
    fn consume_answered(&mut self, moment: Moment, broker: BrokerAt, body: &FetchResponse, findings: &mut Findings) {
        for topic in &body.responses {
            for answer in topic.partitions.iter().filter(|it| it.error_code == 0) {
                let Some(records) = answer.records.as_ref().filter(|records| !records.is_empty()) else { continue };
                let Some(at) = self.place(topic.topic.as_str(), answer.partition_index) else { continue };
                let passed = self.partitions[at].replicas[broker].high_watermark_most;
                if answer.high_watermark > passed {
                    self.tally.check(Rule::Visibility);
                    let headline = format!(
                        "{} tells a consumer that the high watermark of {} is {}, and it never was above {passed}",
                        self.seating.name(broker),
                        self.partitions[at].name,
                        answer.high_watermark
                    );
                    let note = "the answer leaves";
                    self.broken_plainly(Rule::Visibility, "invented-high-watermark", headline, moment, note, findings);
                }
                let mut from = 0;
                while let Some(Ok(header)) = records.get(from..).filter(|rest| !rest.is_empty()).map(BatchHeader::parse)
                {
                    if let Some(bytes) = records.get(from..from + header.size()) {
                        let batch = Batch { header, bytes: records.slice_ref(bytes) };
                        self.check_content(moment, at, broker, &batch, findings);
                    }
                    self.served(moment, at, broker, &header, passed, findings);
                    from += header.size();
                }
            }
        }
    }

    /// A batch is given to a consumer.
    fn served(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        broker: BrokerAt,
        header: &BatchHeader,
        passed: i64,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::Visibility);
        let end = header.next_offset().0;
        let partition = &self.partitions[at];
        if end > passed {
            let headline = format!(
                "{} gave a consumer offset {} of {}, where its high watermark is {passed}",
                self.seating.name(broker),
                header.last_offset(),
                partition.name
            );
            let note = "the answer leaves";
            return self.broken_plainly(Rule::Visibility, "uncommitted-read", headline, moment, note, findings);
        }
        self.tally.check(Rule::StableRead);
        let base = header.base_offset.0;
        let committed = partition.canon.at(base).copied();
        if committed.is_some_and(|it| (it.crc, it.epoch) == (header.crc, header.leader_epoch)) {
            if partition.promise.is_none_or(|promise| promise.end < end) {
                self.partition_mut(at).promised(end, moment, SERVED);
            }
            return;
        }
        if let Some(why) = partition.replaced(base) {
            return self.tally.relax(Rule::StableRead, why);
        }
        let name = partition.name.clone();
        let headline = format!(
            "{} gave a consumer another record at offset {base} of {name} than the one that was committed",
            self.seating.name(broker)
        );
        let mut story = Story::new(Rule::StableRead, headline);
        if let Some(committed) = committed {
            story = story.promise(
                committed.moment,
                format!("offset {base} was committed by {}", self.host_name(committed.moment)),
            );
        }
        let violation = story.kind("changed-record").detected(moment, "the answer leaves");
        self.broken(Rule::StableRead, violation, findings);
    }

    /// A leader states that it acknowledges with acks=all: L09.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn acknowledged(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        topic: &str,
        number: i32,
        last: i64,
        high_watermark: i64,
        isr_size: u64,
        min_insync: u64,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        self.tally.check(Rule::MinIsrGate);
        let partition = &self.partitions[at];
        let name = partition.name.clone();
        let configured = self.min_insync(&name.topic) as u64;
        let passed = partition.replicas[broker].high_watermark_most;
        let what = if high_watermark <= last || passed <= last {
            Some(("ack-before-commit", format!("its high watermark is {}", high_watermark.min(passed))))
        } else if isr_size < configured {
            Some((
                "under-replicated-ack",
                format!("its ISR has {isr_size} members and min.insync.replicas is {configured}"),
            ))
        } else if min_insync != configured {
            Some(("other-min-isr", format!("it takes min.insync.replicas for {min_insync}, and it is {configured}")))
        } else {
            None
        };
        if let Some((kind, what)) = what {
            let is_of_config = high_watermark > last && passed > last;
            let outdated = self.outdated_min_insync(broker, &name.topic).map(|read| read as u64);
            if is_of_config && outdated == Some(min_insync) && isr_size >= min_insync {
                return self.relax_hole(Rule::MinIsrGate, READ_BEHIND, moment);
            }
            let headline = format!(
                "{} acknowledges {name} up to offset {last} with acks=all, and {what}",
                self.seating.name(broker)
            );
            self.broken_plainly(Rule::MinIsrGate, kind, headline, moment, "it states so", findings);
        }
    }

    /// A broker states that it gives records to a consumer: L12.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn records_served(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        topic: &str,
        number: i32,
        end: i64,
        high_watermark: i64,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        self.tally.check(Rule::Visibility);
        let passed = self.partitions[at].replicas[broker].high_watermark_most.min(high_watermark);
        if end > passed {
            let headline = format!(
                "{} serves {} up to offset {}, where its high watermark is {passed}",
                self.seating.name(broker),
                self.partitions[at].name,
                end - 1
            );
            self.broken_plainly(Rule::Visibility, "uncommitted-read", headline, moment, "it states so", findings);
        }
    }
}
