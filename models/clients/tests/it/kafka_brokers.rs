//! Brokers that are played: one log per partition, whoever leads it; what becomes of a produce request is the test's choice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use clients::kafka::{KafkaClientMessage, RecordId, encode_value};
use kafkawire::messages::api_versions_response::ApiVersion;
use kafkawire::messages::create_topics_response::CreatableTopicResult;
use kafkawire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafkawire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafkawire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafkawire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafkawire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafkawire::messages::{
    ApiVersionsResponse, CreateTopicsResponse, FetchRequest, FetchResponse, ListOffsetsResponse, MetadataResponse,
    OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse,
};
use kafkawire::{
    ApiKey, Batch, BrokerId, Correlation, ErrorCode, KafkaMessage, LeaderEpoch, NewBatch, Offset, Request, Response,
    StrBytes, Topic, TopicPartition,
};
use machine::{EndId, Input, Instant, Span};

use crate::kafka_bench::{KAFKA_PORT, KafkaBench, TOPIC};

/// What becomes of a produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is refused with this code, and nothing is appended.
    Refuse(ErrorCode),
    /// It is appended, and answered with this code.
    AppendThen(ErrorCode),
    /// It is appended, and the connection is lost.
    AppendThenLose,
    /// The connection is lost.
    Lose,
    /// It is not answered until somebody [releases](KafkaBench::release) it.
    Hold,
}

/// A partition as the played brokers have it: one log, whoever leads.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    pub(crate) batches: Vec<Batch>,
    /// What consumers see; the end of the log unless it is held back.
    pub(crate) high_watermark: Option<i64>,
    pub(crate) log_start: i64,
}

impl Part {
    pub(crate) fn end(&self) -> i64 {
        self.batches.last().map_or(self.log_start, |batch| batch.header.next_offset().0)
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) client: usize,
    pub(crate) on: EndId,
    pub(crate) broker: i32,
    pub(crate) correlation: Correlation,
    pub(crate) version: i16,
    pub(crate) body: Request,
    pub(crate) since: Instant,
}

impl KafkaBench {
    /// Answers what has arrived.
    pub(crate) fn answer_all(&mut self) {
        // A broker works on one request of a connection at a time, and answers in order.
        let mut busy: BTreeSet<(usize, EndId)> = self.held.iter().map(|asked| (asked.client, asked.on)).collect();
        for asked in std::mem::take(&mut self.asked) {
            let connection = (asked.client, asked.on);
            if busy.contains(&connection) {
                self.asked.push(asked);
                continue;
            }
            let waiting = self.asked.len() + self.held.len();
            self.on_asked(asked);
            if self.asked.len() + self.held.len() > waiting {
                busy.insert(connection);
            }
        }
    }

    fn respond(&mut self, asked: &Asked, body: Response) {
        let client = &mut self.clients[asked.client];
        if client.ends.contains_key(&asked.on) {
            let message = KafkaMessage::response(asked.correlation, asked.version, body).through_bytes();
            client.inbox.push_back(Input::Message { on: asked.on, message: KafkaClientMessage::Kafka(message) });
        }
    }

    fn on_asked(&mut self, asked: Asked) {
        match asked.body.clone() {
            Request::ApiVersions(_) => {
                let keys = ApiKey::ALL.iter().map(|&api| {
                    let range = api.supported();
                    ApiVersion::default()
                        .with_api_key(api.code())
                        .with_min_version(range.min)
                        .with_max_version(range.max)
                });
                let body = ApiVersionsResponse::default().with_api_keys(keys.collect());
                self.respond(&asked, Response::ApiVersions(Arc::new(body)));
            }
            Request::Metadata(_) => {
                let body = self.metadata_response();
                self.respond(&asked, Response::Metadata(Arc::new(body)));
            }
            Request::Produce(body) => {
                for data in body.topic_data.iter().flat_map(|topic| &topic.partition_data) {
                    self.produced.push((asked.broker, data.index));
                }
                match self.fates.pop_front() {
                    Some(Fate::Hold) => self.held.push(asked),
                    fate => self.produce(&asked, &body, fate),
                }
            }
            Request::Fetch(body) => self.fetch(asked, &body),
            Request::ListOffsets(body) => {
                let topics = body.topics.iter().map(|topic| {
                    let partitions = topic.partitions.iter().map(|partition| {
                        let part = &self.parts[&partition.partition_index];
                        let error = leader_error(part, asked.broker, partition.current_leader_epoch);
                        let offset = if partition.timestamp == -2 { part.log_start } else { part.end() };
                        ListOffsetsPartitionResponse::default()
                            .with_partition_index(partition.partition_index)
                            .with_error_code(error.code())
                            .with_offset(offset)
                            .with_leader_epoch(part.epoch)
                    });
                    ListOffsetsTopicResponse::default()
                        .with_name(topic.name.clone())
                        .with_partitions(partitions.collect())
                });
                let body = ListOffsetsResponse::default().with_topics(topics.collect());
                self.respond(&asked, Response::ListOffsets(Arc::new(body)));
            }
            Request::OffsetForLeaderEpoch(body) => {
                let topics = body.topics.iter().map(|topic| {
                    let partitions = topic.partitions.iter().map(|partition| {
                        let part = &self.parts[&partition.partition];
                        let error = leader_error(part, asked.broker, partition.current_leader_epoch);
                        let (epoch, end) = epoch_end(part, partition.leader_epoch);
                        EpochEndOffset::default()
                            .with_partition(partition.partition)
                            .with_error_code(error.code())
                            .with_leader_epoch(epoch)
                            .with_end_offset(end)
                    });
                    OffsetForLeaderTopicResult::default()
                        .with_topic(topic.topic.clone())
                        .with_partitions(partitions.collect())
                });
                let body = OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
                self.respond(&asked, Response::OffsetForLeaderEpoch(Arc::new(body)));
            }
            Request::CreateTopics(body) => {
                let error = self.create_answers.pop_front().unwrap_or(ErrorCode::None);
                let error = if asked.broker == self.controller { error } else { ErrorCode::NotController };
                if error == ErrorCode::None {
                    self.topic_exists = true;
                }
                let topics = body.topics.iter().map(|topic| {
                    CreatableTopicResult::default().with_name(topic.name.clone()).with_error_code(error.code())
                });
                let body = CreateTopicsResponse::default().with_topics(topics.collect());
                self.respond(&asked, Response::CreateTopics(Arc::new(body)));
            }
            other => panic!("a client asks no {other:?}"),
        }
    }

    fn metadata_response(&self) -> MetadataResponse {
        let brokers = self.brokers.iter().filter(|(_, up)| **up).map(|(&id, _)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id).wire())
                .with_host(StrBytes::from_string(format!("kafka-{id}")))
                .with_port(i32::from(KAFKA_PORT))
        });
        let partitions = self.parts.iter().map(|(&partition, part)| {
            let told = self.metadata.as_ref().and_then(|told| told.get(&partition)).copied();
            let (leader, epoch) = told.unwrap_or((part.leader, part.epoch));
            let error = if leader < 0 { ErrorCode::LeaderNotAvailable } else { ErrorCode::None };
            MetadataResponsePartition::default()
                .with_partition_index(partition)
                .with_error_code(error.code())
                .with_leader_id(BrokerId(leader).wire())
                .with_leader_epoch(epoch)
        });
        let topic = MetadataResponseTopic::default().with_name(Some(Topic::from(TOPIC).wire()));
        let topic = if self.topic_exists {
            topic.with_partitions(partitions.collect())
        } else {
            topic.with_error_code(ErrorCode::UnknownTopicOrPartition.code())
        };
        MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_controller_id(BrokerId(self.controller).wire())
            .with_topics(vec![topic])
    }

    fn produce(&mut self, asked: &Asked, body: &ProduceRequest, fate: Option<Fate>) {
        let mut topics = Vec::new();
        for topic in &body.topic_data {
            let mut answers = Vec::new();
            for data in &topic.partition_data {
                let part = self.parts.get_mut(&data.index).unwrap();
                let answer = PartitionProduceResponse::default().with_index(data.index);
                let refused = match fate {
                    Some(Fate::Refuse(error)) => Some(error),
                    Some(Fate::Lose) => Some(ErrorCode::NetworkException),
                    _ if part.leader != asked.broker => Some(ErrorCode::NotLeaderOrFollower),
                    _ => None,
                };
                if let Some(error) = refused {
                    answers.push(answer.with_error_code(error.code()).with_base_offset(-1));
                    continue;
                }
                let base = part.end();
                append(part, data.records.as_ref().unwrap());
                answers.push(match fate {
                    Some(Fate::AppendThen(error)) => answer.with_error_code(error.code()).with_base_offset(-1),
                    _ => answer.with_base_offset(base),
                });
            }
            topics
                .push(TopicProduceResponse::default().with_name(topic.name.clone()).with_partition_responses(answers));
        }
        if matches!(fate, Some(Fate::Lose | Fate::AppendThenLose)) {
            return self.lose_broker(asked.client, asked.broker);
        }
        if body.acks != 0 {
            self.respond(asked, Response::Produce(Arc::new(ProduceResponse::default().with_responses(topics))));
        }
    }

    /// How many produce requests are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// A produce request that was held meets its fate; none is to be appended and answered.
    pub(crate) fn release(&mut self, at: usize, fate: Option<Fate>) {
        let asked = self.held.remove(at);
        let Request::Produce(body) = asked.body.clone() else { panic!("only produce requests are held") };
        self.produce(&asked, &body, fate);
        self.pump();
    }

    /// Appends records of nobody's producer.
    pub(crate) fn append(&mut self, partition: i32, numbers: impl IntoIterator<Item = u64>) {
        let at = TopicPartition::new(TOPIC, partition);
        for number in numbers {
            let id = RecordId { client: 77, number };
            let value = encode_value(id, &at, 50);
            let batch = NewBatch::new(&[(None, &value)], 1_700_000_000_000).encode();
            append(self.parts.get_mut(&partition).unwrap(), &batch);
        }
    }

    fn fetch(&mut self, asked: Asked, body: &FetchRequest) {
        // An incremental session remembers offsets; partitions without news are left out of its answers.
        let mut wanted: BTreeMap<i32, (i64, i32)> = BTreeMap::new();
        let key = asked.broker;
        let is_incremental = body.session_id != 0 && body.session_epoch > 0;
        if is_incremental {
            match self.fetch_sessions.get(&body.session_id) {
                Some((epoch, _)) if *epoch == body.session_epoch => {}
                Some(_) => return self.fetch_error(&asked, ErrorCode::InvalidFetchSessionEpoch),
                None => return self.fetch_error(&asked, ErrorCode::FetchSessionIdNotFound),
            }
            let (_, remembered) = &self.fetch_sessions[&body.session_id];
            wanted.extend(remembered.iter().map(|(&partition, &offset)| (partition, (offset, -1))));
            for partition in body.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions) {
                wanted.remove(partition);
            }
        }
        for partition in body.topics.iter().flat_map(|topic| &topic.partitions) {
            wanted.insert(partition.partition, (partition.fetch_offset, partition.current_leader_epoch));
        }
        let mut answers = Vec::new();
        let mut has_news = false;
        for (&partition, &(offset, epoch)) in &wanted {
            let part = &self.parts[&partition];
            let answer = PartitionData::default().with_partition_index(partition);
            let hw = part.high_watermark.unwrap_or_else(|| part.end());
            let error = match leader_error(part, asked.broker, epoch) {
                ErrorCode::None if offset < part.log_start || offset > part.end() => ErrorCode::OffsetOutOfRange,
                error => error,
            };
            if error != ErrorCode::None {
                has_news = true;
                answers.push(answer.with_error_code(error.code()).with_high_watermark(-1));
                continue;
            }
            let visible = part
                .batches
                .iter()
                .filter(|batch| batch.header.next_offset().0 > offset && batch.header.next_offset().0 <= hw);
            let mut records = BytesMut::new();
            visible.for_each(|batch| records.extend_from_slice(&batch.bytes));
            has_news |= !records.is_empty();
            if !is_incremental || !records.is_empty() {
                answers.push(answer.with_high_watermark(hw).with_records(Some(records.freeze())));
            }
        }
        let deadline = asked.since + Span::millis(u64::try_from(body.max_wait_ms).unwrap());
        if !has_news && self.now() < deadline {
            return self.asked.push(asked);
        }
        let mut session = 0;
        if self.sessions && body.session_epoch >= 0 {
            session =
                if is_incremental { body.session_id } else { key * 1000 + i32::try_from(asked.client).unwrap() + 1 };
            let next = if is_incremental { body.session_epoch + 1 } else { 1 };
            let offsets = wanted.iter().map(|(&partition, &(offset, _))| (partition, offset)).collect();
            self.fetch_sessions.insert(session, (next, offsets));
        }
        let topic = FetchableTopicResponse::default().with_topic(Topic::from(TOPIC).wire()).with_partitions(answers);
        let body = FetchResponse::default().with_session_id(session).with_responses(vec![topic]);
        self.respond(&asked, Response::Fetch(Arc::new(body)));
    }

    fn fetch_error(&mut self, asked: &Asked, error: ErrorCode) {
        let body = FetchResponse::default().with_error_code(error.code());
        self.respond(asked, Response::Fetch(Arc::new(body)));
    }

    pub(crate) fn forget_fetch_sessions(&mut self) {
        self.fetch_sessions.clear();
    }
}

fn append(part: &mut Part, records: &Bytes) {
    let batch = Batch::read(records, 0).unwrap().unwrap();
    batch.check_crc().unwrap();
    part.batches.push(batch.stamped(Offset(part.end()), LeaderEpoch(part.epoch)));
}

fn leader_error(part: &Part, broker: i32, epoch: i32) -> ErrorCode {
    match epoch {
        -1 => {}
        epoch if epoch < part.epoch => return ErrorCode::FencedLeaderEpoch,
        epoch if epoch > part.epoch => return ErrorCode::UnknownLeaderEpoch,
        _ => {}
    }
    if part.leader == broker { ErrorCode::None } else { ErrorCode::NotLeaderOrFollower }
}

/// The largest epoch up to the one asked, and where it ends.
fn epoch_end(part: &Part, epoch: i32) -> (i32, i64) {
    let within = part.batches.iter().filter(|batch| batch.header.leader_epoch <= epoch);
    within.last().map_or((-1, -1), |batch| (batch.header.leader_epoch, batch.header.next_offset().0))
}
