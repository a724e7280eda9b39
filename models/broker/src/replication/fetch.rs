//! Fetch (kafka-broker.md §5.6): consumers read what is committed, followers read everything and thereby say what they have.
//!
//! A fetch is read first, all its partitions, and only then are the positions of a follower noted, so that a response carries
//! the high watermark from before: the follower learns one round later what its own fetch committed.
//!
//! `Simplified:` only leaders serve consumers. A real follower answers consumers of version 11 and above (KIP-392), be a replica
//! selector configured or not; lost: reads from a follower by a consumer whose metadata is stale.

use std::sync::Arc;

use bytes::Bytes;
use commitlog::ReadError;
use kafkawire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafkawire::messages::{FetchRequest, FetchResponse};
use kafkawire::{BrokerId, ErrorCode, LeaderEpoch, Offset, Response, Version};
use machine::{Instant, Purpose, Span};

use crate::Defect;
use crate::cx::{Ask, Cx, RequestId};
use crate::fact::KafkaFact;
use crate::replication::ReplicaManager;
use crate::replication::fetch_session::{
    FetchContext, FetchPart, FetchParts, INVALID_SESSION_ID, SessionKind, follower,
};
use crate::replication::lock::{Access, Parked, ParkedBody, ParkedRequest};
use crate::replication::partition::JoinsFrom;
use crate::replication::produce::error_of_absent;
use crate::replication::table::{Slot, SlotSet};
use crate::replication::wire;

const SESSION_ID: Purpose = Purpose::new("broker-fetch-session-id");

/// What a fetch wants besides its partitions.
#[derive(Clone, Copy, Debug)]
struct Params {
    /// The follower that asks; none if a consumer does.
    follower: Option<BrokerId>,
    max_wait: Span,
    min_bytes: usize,
    max_bytes: usize,
    /// `read_committed`: without transactions all that is below the high watermark is.
    is_read_committed: bool,
}

/// What was read of one partition.
#[derive(Clone, Debug)]
struct Read {
    error: ErrorCode,
    /// −1 if there was an error.
    high_watermark: i64,
    log_start: i64,
    /// Where the log ended.
    log_end: Offset,
    leader_epoch: LeaderEpoch,
    records: Bytes,
    /// The offsets of the records: the first, and the one after the last.
    range: (Offset, Offset),
}

impl Read {
    fn failed(error: ErrorCode) -> Self {
        let none = Offset(-1);
        Self {
            error,
            high_watermark: -1,
            log_start: -1,
            log_end: none,
            leader_epoch: LeaderEpoch(-1),
            records: Bytes::new(),
            range: (none, none),
        }
    }
}

/// A follower's fetch that was read, and whose positions are being noted.
#[derive(Clone, Debug)]
pub(crate) struct FetchInProgress {
    delayed: DelayedFetch,
    reads: Vec<Read>,
    /// When it was read.
    at: Instant,
    /// The next partition to be noted.
    next: usize,
    /// The partition before was found in sync, and its ISR was written: whether its high watermark is yet to be looked at.
    moved: Option<Slot>,
    /// It had to wait for a partition on the way.
    waited: bool,
}

/// A fetch that waits for records.
#[derive(Clone, Debug)]
pub(crate) struct DelayedFetch {
    to: RequestId,
    context: FetchContext,
    params: Params,
}

/// Whether a fetch that waits may be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Readiness {
    Ready,
    NotYet,
    /// A partition is held, and may not even be looked at.
    Held,
}

impl ReplicaManager {
    /// Fetch (§5.6): answered at once or from purgatory.
    pub fn fetch(&mut self, to: RequestId, request: &Arc<FetchRequest>, version: Version, cx: &mut Cx<'_, '_>) {
        if self.is_stopping {
            return;
        }
        if !self.locks.is_empty() {
            let touched = self.sessions.touched(request, &self.partitions);
            if let Some(held) = self.locks.blocked(touched, Access::Read) {
                let body = ParkedBody::Fetch(Arc::clone(request));
                self.locks.park(held, Parked::Request(ParkedRequest { to, version, body }));
                return;
            }
        }
        let now = cx.io.now();
        let context = match self.sessions.context(request, version, &self.partitions, now) {
            Ok(context) => context,
            Err(error) => {
                let response =
                    FetchResponse::default().with_error_code(error.code()).with_session_id(request.session_id);
                return cx.answer(to, Response::Fetch(Arc::new(response)));
            }
        };
        let max_bytes = wire::size(request.max_bytes.min(cx.config().fetch_max_bytes));
        let params = Params {
            follower: follower(request.replica_id),
            max_wait: Span::millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            min_bytes: wire::size(request.min_bytes).min(max_bytes),
            max_bytes,
            is_read_committed: request.isolation_level == 1,
        };
        let reads = self.read_all(&context.parts, &params, cx);
        let delayed = DelayedFetch { to, context, params };
        if params.follower.is_some() {
            self.note_positions(FetchInProgress { delayed, reads, at: now, next: 0, moved: None, waited: false }, cx);
        } else {
            self.answer_or_wait(delayed, reads, false, cx);
        }
    }

    /// Reads every partition within the limits of size: the first records may exceed them, so that a batch larger than the
    /// limits does not stop a fetcher for ever.
    fn read_all(&self, parts: &FetchParts, params: &Params, cx: &mut Cx<'_, '_>) -> Vec<Read> {
        let mut left = params.max_bytes;
        let mut at_least_one = true;
        let mut reads = Vec::with_capacity(parts.len());
        for part in parts.iter() {
            let read = self.read_one(part, params, left, at_least_one, cx).unwrap_or_else(Read::failed);
            at_least_one &= read.records.is_empty();
            left = left.saturating_sub(read.records.len());
            reads.push(read);
        }
        reads
    }

    fn read_one(
        &self,
        part: &FetchPart,
        params: &Params,
        left: usize,
        at_least_one: bool,
        cx: &mut Cx<'_, '_>,
    ) -> Result<Read, ErrorCode> {
        let partition = part.find(&self.partitions).ok_or_else(|| error_of_absent(&part.topic, part.partition, cx))?;
        let takes_older = params.follower.is_some() && cx.has(Defect::TakesOlderFetches);
        let (leader_epoch, _) = partition.check_leader(part.epoch.filter(|_| !takes_older))?;
        if let Some(follower) = params.follower
            && !partition.has_follower(follower)
        {
            // A replica that was added by an election this leader has not heard of (KAFKA-13837).
            return Err(if part.epoch.is_some() {
                ErrorCode::UnknownLeaderEpoch
            } else {
                ErrorCode::NotLeaderOrFollower
            });
        }
        let log = self.logs.at(partition.log_in_use());
        let (high_watermark, log_start, log_end) = (log.high_watermark(), log.log_start(), log.log_end());
        let serves_everything = params.follower.is_some() || cx.has(Defect::ServesToLogEnd);
        let bound = if serves_everything { log_end } else { high_watermark };
        let data = match log.read(part.offset, part.max_bytes.min(left), bound, at_least_one, cx.io) {
            Ok(data) => data,
            Err(ReadError::OutOfRange) => return Err(ErrorCode::OffsetOutOfRange),
            Err(ReadError::IndexCorrupt) => return Err(ErrorCode::CorruptMessage),
            Err(ReadError::Disk(error)) => {
                cx.ask(Ask::LogDirFailed(error));
                return Err(ErrorCode::KafkaStorageError);
            }
        };
        Ok(Read {
            error: ErrorCode::None,
            high_watermark: high_watermark.0,
            log_start: log_start.0,
            log_end,
            leader_epoch,
            records: data.bytes,
            range: (data.first_offset, data.next_offset),
        })
    }

    /// Notes what a follower's fetch says about its log (`updateFollowerFetchState`), partition by partition. Where that brings
    /// it into the ISR, the rest waits for ZooKeeper.
    pub(crate) fn note_positions(&mut self, mut fetch: FetchInProgress, cx: &mut Cx<'_, '_>) {
        let follower = fetch.delayed.params.follower.expect("only a follower's positions are noted");
        let parts = Arc::clone(&fetch.delayed.context.parts);
        if let Some(slot) = fetch.moved.take()
            && self.raise_high_watermark(slot, cx)
        {
            self.complete_delayed(slot, cx);
        }
        while let Some(part) = parts.get(fetch.next) {
            let read = &fetch.reads[fetch.next];
            let slot = Some(read).filter(|read| read.error.is_none()).and_then(|_| part.slot(&self.partitions));
            let Some(slot) = slot else {
                fetch.next += 1;
                continue;
            };
            if self.locks.blocks(slot, Access::Read) {
                fetch.waited = true;
                self.locks.park(slot, Parked::Fetch(Arc::new(fetch)));
                return;
            }
            let partition = self.partitions.get_mut(slot).expect("it was just found");
            let high_watermark = self.logs.at(partition.log_in_use()).high_watermark();
            let joins_from = if cx.has(Defect::IsrJoinAtHighWatermark) {
                JoinsFrom::HighWatermark(high_watermark)
            } else {
                JoinsFrom::Committed { high_watermark }
            };
            let noted = partition.on_fetched(follower, part.offset, read.log_end, joins_from, fetch.at);
            let Some(noted) = noted else {
                // It lost the leadership while the fetch waited for another partition.
                fetch.next += 1;
                continue;
            };
            // Whom a fetch does not bring into the ISR its next one does.
            if noted.is_in_sync && !self.control_waits() {
                fetch.moved = noted.moved.then_some(slot);
                fetch.waited = true;
                if self.locks.blocks(slot, Access::Write) {
                    // An append is being flushed. The position will be noted again, which finds the same.
                    self.locks.park(slot, Parked::Fetch(Arc::new(fetch)));
                    return;
                }
                fetch.next += 1;
                return self.expand_isr(slot, follower, Parked::Fetch(Arc::new(fetch)), cx);
            }
            fetch.next += 1;
            if noted.moved && self.raise_high_watermark(slot, cx) {
                self.complete_delayed(slot, cx);
            }
        }
        let FetchInProgress { delayed, reads, waited, .. } = fetch;
        drop(parts);
        self.answer_or_wait(delayed, reads, waited, cx);
    }

    /// Answers a fetch that has what it wants, or found an error, or does not want to wait; or lets it wait.
    fn answer_or_wait(&mut self, fetch: DelayedFetch, reads: Vec<Read>, waited: bool, cx: &mut Cx<'_, '_>) {
        let bytes: usize = reads.iter().map(|read| read.records.len()).sum();
        let answers = fetch.params.max_wait == Span::ZERO
            || reads.is_empty()
            || bytes >= fetch.params.min_bytes
            || reads.iter().any(|read| !read.error.is_none());
        if answers {
            return self.answer_fetch(fetch, reads, cx);
        }
        // A fetch that wants any record at all was read just now and found none; one that wants more may be in a segment that was
        // rolled; and one that waited for ZooKeeper was read before that.
        let is_fresh = fetch.params.min_bytes <= 1 && !waited;
        match if is_fresh { Readiness::NotYet } else { self.readiness(&fetch) } {
            Readiness::Ready => self.complete_fetch(fetch, cx),
            Readiness::NotYet | Readiness::Held => {
                let slots = fetch.context.parts.iter().filter_map(|part| part.slot(&self.partitions));
                let watches: SlotSet = slots.collect();
                let deadline = cx.io.now().saturating_add(fetch.params.max_wait);
                self.fetches.insert(fetch, watches, deadline);
            }
        }
    }

    /// Whether a fetch has waited long enough for records (`DelayedFetch.tryComplete`, cases A to G).
    fn readiness(&self, fetch: &DelayedFetch) -> Readiness {
        let parts = &fetch.context.parts;
        let slots = parts.iter().filter_map(|part| part.slot(&self.partitions));
        if self.locks.blocked(slots, Access::Read).is_some() {
            return Readiness::Held;
        }
        let min_bytes = fetch.params.min_bytes;
        let mut bytes = 0;
        for part in parts.iter() {
            match self.bytes_waiting(part, &fetch.params, min_bytes - bytes) {
                Some(here) => bytes += here,
                None => return Readiness::Ready,
            }
            if bytes >= min_bytes {
                return Readiness::Ready;
            }
        }
        Readiness::NotYet
    }

    /// The same for a fetch that could not be answered before, and of whose partitions one changed since. Where any record at
    /// all will do, the others cannot have any.
    fn readiness_since(&self, fetch: &DelayedFetch, changed: Slot) -> Readiness {
        if fetch.params.min_bytes > 1 || !self.locks.is_empty() {
            return self.readiness(fetch);
        }
        let mut parts = fetch.context.parts.iter();
        let is_ready =
            parts.find(|part| part.slot(&self.partitions).is_none_or(|slot| slot == changed)).is_none_or(|part| {
                let waiting = self.bytes_waiting(part, &fetch.params, fetch.params.min_bytes);
                waiting.is_none_or(|bytes| bytes >= fetch.params.min_bytes)
            });
        if is_ready { Readiness::Ready } else { Readiness::NotYet }
    }

    /// How many bytes there are for a fetch of a partition, counted up to what is needed; none if there is no waiting for more:
    /// it is led here no longer, or in another epoch, or gone, or the fetch is in another segment than the end.
    fn bytes_waiting(&self, part: &FetchPart, params: &Params, needed: usize) -> Option<usize> {
        let partition = part.find(&self.partitions)?;
        partition.check_leader(part.epoch).ok()?;
        let log = self.logs.at(partition.log_in_use());
        let bound = if params.follower.is_some() { log.log_end() } else { log.high_watermark() };
        if part.offset == bound {
            return Some(0);
        }
        // The log was truncated, or a segment was rolled.
        if log.segment_of(part.offset) != log.segment_of(bound) {
            return None;
        }
        if part.offset > bound {
            return Some(0);
        }
        let enough = needed.min(part.max_bytes);
        let mut bytes = 0;
        for batch in log.batches(part.offset, bound) {
            bytes += batch.size();
            if bytes >= enough {
                return Some(enough);
            }
        }
        Some(bytes)
    }

    /// Something was appended to a partition, committed or changed: fetches that waited for it may be answered.
    pub(crate) fn complete_fetches(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) {
        self.complete_ready(slot, |this, fetch| this.readiness_since(fetch, slot), cx);
    }

    /// A partition is free: fetches could not be looked at while it was held, whatever happened to their other partitions.
    pub(crate) fn complete_fetches_of_freed(&mut self, slot: Slot, cx: &mut Cx<'_, '_>) {
        self.complete_ready(slot, Self::readiness, cx);
    }

    fn complete_ready(&mut self, slot: Slot, look: impl Fn(&Self, &DelayedFetch) -> Readiness, cx: &mut Cx<'_, '_>) {
        let mut after = 0;
        while let Some(number) = self.fetches.watching(slot, after) {
            after = number;
            let fetch = self.fetches.get(number).expect("it was just found");
            let is_ready = match look(self, fetch) {
                Readiness::Ready => true,
                Readiness::NotYet => self.fetches.is_expired(number),
                Readiness::Held => false,
            };
            if is_ready {
                let fetch = self.fetches.remove(number).expect("it was just there");
                self.complete_fetch(fetch, cx);
            }
        }
    }

    /// Fetches whose time is over are answered with what there is; those that need a held partition when it is free.
    pub(crate) fn expire_fetches(&mut self, cx: &mut Cx<'_, '_>) {
        while let Some(number) = self.fetches.expire(cx.io.now()) {
            let fetch = self.fetches.get(number).expect("it just expired");
            match self.readiness(fetch) {
                Readiness::Ready | Readiness::NotYet => {
                    let fetch = self.fetches.remove(number).expect("it was just there");
                    self.complete_fetch(fetch, cx);
                }
                Readiness::Held => {}
            }
        }
    }

    /// Reads again, without noting a follower's position again, and answers.
    fn complete_fetch(&mut self, fetch: DelayedFetch, cx: &mut Cx<'_, '_>) {
        let reads = self.read_all(&fetch.context.parts, &fetch.params, cx);
        self.answer_fetch(fetch, reads, cx);
    }

    fn answer_fetch(&mut self, fetch: DelayedFetch, reads: Vec<Read>, cx: &mut Cx<'_, '_>) {
        let DelayedFetch { to, context, params } = fetch;
        if params.follower.is_none() {
            state_served(&context.parts, &reads, cx);
        }
        let response = match context.kind {
            SessionKind::Sessionless => full_response(&context.parts, reads, &params),
            SessionKind::Full => {
                let mut parts = context.parts;
                for (part, read) in Arc::make_mut(&mut parts).iter_mut().zip(&reads) {
                    let _ = part.tells(false, ErrorCode::None, read.high_watermark, read.log_start);
                }
                let response = full_response(&parts, reads, &params);
                let slots_max = cx.config().max_incremental_fetch_session_cache_slots;
                let now = cx.io.now();
                let draw = || cx.io.draw(SESSION_ID);
                let id = self.sessions.create(parts, params.follower.is_some(), slots_max, draw, now);
                response.with_session_id(id)
            }
            SessionKind::Incremental { id, next_epoch } => {
                drop(context.parts);
                match self.sessions.parts_mut(id, next_epoch) {
                    Ok(parts) => incremental_response(parts, reads, &params).with_session_id(id),
                    Err(error) => {
                        FetchResponse::default().with_error_code(error.code()).with_session_id(INVALID_SESSION_ID)
                    }
                }
            }
        };
        cx.answer(to, Response::Fetch(Arc::new(response)));
    }
}

fn state_served(parts: &FetchParts, reads: &[Read], cx: &mut Cx<'_, '_>) {
    for (part, read) in parts.iter().zip(reads).filter(|(_, read)| !read.records.is_empty()) {
        let topic = match cx.cache.topics.get_key_value(part.topic.as_str()) {
            Some((topic, _)) => topic.clone(),
            None => (&part.topic).into(),
        };
        cx.io.state(KafkaFact::RecordsServed {
            broker: cx.broker(),
            topic,
            partition: part.partition,
            leader_epoch: read.leader_epoch,
            start: read.range.0,
            end: read.range.1,
            high_watermark: Offset(read.high_watermark),
        });
    }
}

fn partition_data(part: &FetchPart, read: Read, params: &Params) -> PartitionData {
    let is_read = read.error.is_none();
    PartitionData::default()
        .with_partition_index(part.partition)
        .with_error_code(read.error.code())
        .with_high_watermark(read.high_watermark)
        // Without transactions nothing is unstable.
        .with_last_stable_offset(read.high_watermark)
        .with_log_start_offset(read.log_start)
        .with_aborted_transactions((is_read && params.is_read_committed).then(Vec::new))
        .with_records(Some(read.records))
}

/// Adds a partition to a response; neighbours of one topic share its entry.
fn push(response: &mut FetchResponse, part: &FetchPart, data: PartitionData) {
    match response.responses.last_mut().filter(|last| last.topic == part.topic) {
        Some(last) => last.partitions.push(data),
        None => response
            .responses
            .push(FetchableTopicResponse::default().with_topic(part.topic.clone()).with_partitions(vec![data])),
    }
}

fn full_response(parts: &FetchParts, reads: Vec<Read>, params: &Params) -> FetchResponse {
    let mut response = FetchResponse::default();
    for (part, read) in parts.iter().zip(reads) {
        push(&mut response, part, partition_data(part, read, params));
    }
    response
}

/// Only what the fetcher does not know. Partitions with records go to the end, so that the size limits are fair to those behind
/// them.
fn incremental_response(parts: &mut Vec<FetchPart>, reads: Vec<Read>, params: &Params) -> FetchResponse {
    assert_eq!(parts.len(), reads.len(), "a session does not change while a fetch of it waits");
    let mut response = FetchResponse::default();
    let mut had_records = Vec::new();
    for (at, (part, read)) in parts.iter_mut().zip(reads).enumerate() {
        let has_records = !read.records.is_empty();
        if part.tells(has_records, read.error, read.high_watermark, read.log_start) {
            push(&mut response, part, partition_data(part, read, params));
        }
        if has_records {
            had_records.push(at);
        }
    }
    if !had_records.is_empty() && had_records.len() < parts.len() {
        let mut at = 0;
        let moved: Vec<FetchPart> = parts
            .extract_if(.., |_| {
                at += 1;
                had_records.binary_search(&(at - 1)).is_ok()
            })
            .collect();
        parts.extend(moved);
    }
    response
}
