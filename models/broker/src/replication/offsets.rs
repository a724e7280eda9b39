//! ListOffsets and OffsetForLeaderEpoch (kafka-broker.md §5.7, §5.8): where a log, and where an epoch of it, ends.

use std::sync::Arc;

use commitlog::Log;
use kafkawire::messages::list_offsets_request::ListOffsetsPartition;
use kafkawire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafkawire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafkawire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafkawire::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};
use kafkawire::{ErrorCode, LeaderEpoch, Offset, Response, Version};

use crate::Defect;
use crate::cx::{Ask, Cx, RequestId};
use crate::replication::ReplicaManager;
use crate::replication::lock::{Access, Parked, ParkedBody, ParkedRequest};
use crate::replication::produce::error_of_absent;
use crate::replication::wire;

/// Asks where the log ends, as far as whoever asks may know.
pub(crate) const LATEST_TIMESTAMP: i64 = -1;
/// Asks where it begins.
pub(crate) const EARLIEST_TIMESTAMP: i64 = -2;
/// Replica id of a client that may see all a follower sees (`DEBUGGING_REPLICA_ID`).
const DEBUGGING_REPLICA: i32 = -2;

/// The first version of ListOffsets with that error.
const OFFSET_NOT_AVAILABLE_FROM: Version = 5;

/// What ListOffsets finds.
#[derive(Clone, Copy, Debug)]
struct Listed {
    timestamp: i64,
    offset: Offset,
    leader_epoch: Option<LeaderEpoch>,
}

impl ReplicaManager {
    /// ListOffsets (§5.7).
    pub fn list_offsets(
        &mut self,
        to: RequestId,
        request: &Arc<ListOffsetsRequest>,
        version: Version,
        cx: &mut Cx<'_, '_>,
    ) {
        if self.is_stopping {
            return;
        }
        let partitions = &self.partitions;
        let named = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().filter_map(|asked| partitions.find(topic.name.as_str(), asked.partition_index))
        });
        if let Some(held) = self.locks.blocked(named, Access::Read) {
            let body = ParkedBody::ListOffsets(Arc::clone(request));
            self.locks.park(held, Parked::Request(ParkedRequest { to, version, body }));
            return;
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut answers = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
                answers.push(match self.listed(&topic.name, asked, request.replica_id.0, cx) {
                    Ok(Some(listed)) => answer
                        .with_timestamp(listed.timestamp)
                        .with_offset(listed.offset.0)
                        .with_leader_epoch(wire::epoch_code(listed.leader_epoch)),
                    // No record is so young.
                    Ok(None) => answer.with_timestamp(-1).with_offset(-1).with_leader_epoch(-1),
                    Err(error) => {
                        // Clients before KIP-207 do not know that error.
                        let is_known = error != ErrorCode::OffsetNotAvailable || version >= OFFSET_NOT_AVAILABLE_FROM;
                        let error = if is_known { error } else { ErrorCode::LeaderNotAvailable };
                        answer.with_error_code(error.code()).with_timestamp(-1).with_offset(-1).with_leader_epoch(-1)
                    }
                });
            }
            topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(answers));
        }
        cx.answer(to, Response::ListOffsets(Arc::new(ListOffsetsResponse::default().with_topics(topics))));
    }

    fn listed(
        &self,
        topic: &TopicName,
        asked: &ListOffsetsPartition,
        replica: i32,
        cx: &mut Cx<'_, '_>,
    ) -> Result<Option<Listed>, ErrorCode> {
        let slot = self.partitions.find(topic.as_str(), asked.partition_index);
        let slot = slot.ok_or_else(|| error_of_absent(topic, asked.partition_index, cx))?;
        let partition = self.partitions.get(slot).expect("it was just found");
        let epoch = wire::leader_epoch(asked.current_leader_epoch);
        // Unlike the other requests of a client this one is for the leader alone, whoever asks.
        let (leader_epoch, leader) =
            if replica == DEBUGGING_REPLICA { partition.check_leader(None)? } else { partition.check_leader(epoch)? };
        let log = self.logs.at(partition.log_in_use());
        let is_client = replica == -1;
        let bound = if is_client { log.high_watermark() } else { log.log_end() };
        // A new leader's own high watermark is behind until a round of fetches: it does not know yet what was committed, and
        // must not tell a client an offset that an earlier leader told a larger one of (KIP-207).
        let may_go_back = is_client && leader.epoch_start > log.high_watermark();
        match asked.timestamp {
            LATEST_TIMESTAMP if may_go_back => Err(ErrorCode::OffsetNotAvailable),
            LATEST_TIMESTAMP => Ok(Some(Listed { timestamp: -1, offset: bound, leader_epoch: Some(leader_epoch) })),
            EARLIEST_TIMESTAMP => {
                let offset = log.log_start();
                Ok(Some(Listed { timestamp: -1, offset, leader_epoch: log.epochs().epoch_at(offset) }))
            }
            timestamp => {
                let found = log.offset_for_timestamp(timestamp, cx.io).map_err(|error| {
                    cx.ask(Ask::LogDirFailed(error));
                    ErrorCode::KafkaStorageError
                })?;
                match found {
                    Some(found) if found.offset < bound => Ok(Some(Listed {
                        timestamp: found.timestamp,
                        offset: found.offset,
                        leader_epoch: log.epochs().epoch_at(found.offset),
                    })),
                    Some(_) | None if may_go_back => Err(ErrorCode::OffsetNotAvailable),
                    Some(_) | None => Ok(None),
                }
            }
        }
    }

    /// OffsetForLeaderEpoch (§5.7, §5.8).
    pub fn offset_for_leader_epoch(
        &mut self,
        to: RequestId,
        request: &Arc<OffsetForLeaderEpochRequest>,
        cx: &mut Cx<'_, '_>,
    ) {
        if self.is_stopping {
            return;
        }
        let partitions = &self.partitions;
        let named = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().filter_map(|asked| partitions.find(topic.topic.as_str(), asked.partition))
        });
        if let Some(held) = self.locks.blocked(named, Access::Read) {
            let body = ParkedBody::OffsetForLeaderEpoch(Arc::clone(request));
            self.locks.park(held, Parked::Request(ParkedRequest { to, version: 0, body }));
            return;
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let answers = topic.partitions.iter().map(|asked| self.epoch_end(&topic.topic, asked, cx)).collect();
            topics.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(answers));
        }
        let response = OffsetForLeaderEpochResponse::default().with_topics(topics);
        cx.answer(to, Response::OffsetForLeaderEpoch(Arc::new(response)));
    }

    fn epoch_end(&self, topic: &TopicName, asked: &OffsetForLeaderPartition, cx: &Cx<'_, '_>) -> EpochEndOffset {
        let answer =
            EpochEndOffset::default().with_partition(asked.partition).with_leader_epoch(-1).with_end_offset(-1);
        let Some(slot) = self.partitions.find(topic.as_str(), asked.partition) else {
            return answer.with_error_code(error_of_absent(topic, asked.partition, cx).code());
        };
        let partition = self.partitions.get(slot).expect("it was just found");
        if let Err(error) = partition.check_leader(wire::leader_epoch(asked.current_leader_epoch)) {
            return answer.with_error_code(error.code());
        }
        let log = self.logs.at(partition.log_in_use());
        let epoch = wire::leader_epoch(asked.leader_epoch);
        if cx.has(Defect::EpochReplyWithoutEpoch) {
            return answer
                .with_end_offset(epoch.and_then(|epoch| end_before_kip_279(log, epoch)).map_or(-1, |end| end.0));
        }
        let off_by = i64::from(cx.has(Defect::EpochEndOffByOne));
        match epoch.and_then(|epoch| log.end_offset_for(epoch)) {
            Some(end) => answer.with_leader_epoch(end.epoch.0).with_end_offset(end.end.0 + off_by),
            None => answer,
        }
    }
}

/// `endOffsetFor` up to 1.1: the start of whatever epoch follows, whether the log has the one that is asked about or not.
fn end_before_kip_279(log: &Log, epoch: LeaderEpoch) -> Option<Offset> {
    let entries = log.epochs().entries();
    if log.latest_epoch() == Some(epoch) {
        return Some(log.log_end());
    }
    let is_known_or_later = entries.first().is_some_and(|first| first.epoch <= epoch);
    entries.iter().find(|entry| entry.epoch > epoch).filter(|_| is_known_or_later).map(|entry| entry.start)
}
