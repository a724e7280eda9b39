//! Incremental fetch sessions (KIP-227; kafka-broker.md §5.6): what a leader remembers of a fetcher, so that requests and
//! responses hold only what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::messages::{FetchRequest, TopicName};
use kafkawire::{BrokerId, ErrorCode, LeaderEpoch, Offset, Version};
use machine::{Draw, Instant, Span};

use crate::replication::table::{PartitionTable, Slot};
use crate::replication::{Partition, wire};

/// The request is not of a session, or makes one.
const INITIAL_EPOCH: i32 = 0;
/// The request wants no session, or ends the one it names.
const FINAL_EPOCH: i32 = -1;
/// No session.
pub(crate) const INVALID_SESSION_ID: i32 = 0;
/// A session that was not used for so long may be evicted (`min.incremental.fetch.session.eviction.ms`).
const EVICTION: Span = Span::secs(120);
/// The first version of Fetch with sessions.
const SESSIONS_FROM: Version = 7;

/// The epoch of the request after that of `epoch`.
pub(crate) const fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        FINAL_EPOCH => FINAL_EPOCH,
        i32::MAX => 1,
        epoch => epoch + 1,
    }
}

/// A partition of a fetch: what is asked, and what the fetcher was last told.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct FetchPart {
    pub(crate) topic: TopicName,
    pub(crate) partition: i32,
    /// Where it was found in the table; none if it was not there.
    slot: Option<Slot>,
    pub(crate) offset: Offset,
    pub(crate) epoch: Option<LeaderEpoch>,
    pub(crate) max_bytes: usize,
    /// −1 if it was told none, or an error.
    told_high_watermark: i64,
    told_log_start: i64,
}

impl FetchPart {
    fn is_of(&self, topic: &TopicName, partition: i32) -> bool {
        self.partition == partition && self.topic == *topic
    }

    /// Where it is; looked up again where it was not, or is not any more.
    pub(crate) fn slot(&self, table: &PartitionTable) -> Option<Slot> {
        match self.slot {
            Some(slot) if table.get(slot).is_some() => Some(slot),
            Some(_) | None => table.find(self.topic.as_str(), self.partition),
        }
    }

    /// The partition, where it is hosted.
    pub(crate) fn find<'a>(&self, table: &'a PartitionTable) -> Option<&'a Partition> {
        match self.slot.and_then(|slot| table.get(slot)) {
            Some(partition) => Some(partition),
            None => table.get(table.find(self.topic.as_str(), self.partition)?),
        }
    }

    /// Whether a session's response names the partition: it has records or an error, or its offsets moved
    /// (`maybeUpdateResponseData`). Notes what is told.
    pub(crate) fn tells(&mut self, has_records: bool, error: ErrorCode, high_watermark: i64, log_start: i64) -> bool {
        let is_news = has_records
            || !error.is_none()
            || self.told_high_watermark != high_watermark
            || self.told_log_start != log_start;
        self.told_log_start = log_start;
        // With an error that is −1: when it is gone all is told again.
        self.told_high_watermark = high_watermark;
        is_news
    }
}

/// The partitions of a fetch, in the order in which they are read; shared with the session they come from.
pub(crate) type FetchParts = Arc<Vec<FetchPart>>;

/// The partitions a request names itself.
fn parts_of(request: &FetchRequest, table: &PartitionTable) -> Vec<FetchPart> {
    let mut parts: Vec<FetchPart> = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in &request.topics {
        for asked in &topic.partitions {
            parts.push(FetchPart {
                topic: topic.topic.clone(),
                partition: asked.partition,
                slot: table.find(topic.topic.as_str(), asked.partition),
                offset: Offset(asked.fetch_offset),
                epoch: wire::leader_epoch(asked.current_leader_epoch),
                max_bytes: wire::size(asked.partition_max_bytes),
                told_high_watermark: -1,
                told_log_start: -1,
            });
        }
    }
    parts
}

/// How a fetch is related to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SessionKind {
    /// It has none.
    Sessionless,
    /// It asks for one.
    Full,
    /// It goes on with one; the epoch is that of the request which is to follow.
    Incremental { id: i32, next_epoch: i32 },
}

/// What a fetch is about.
#[derive(Clone, Debug)]
pub(crate) struct FetchContext {
    pub(crate) kind: SessionKind,
    pub(crate) parts: FetchParts,
}

#[derive(Clone, Debug)]
struct FetchSession {
    is_privileged: bool,
    created: Instant,
    last_used: Instant,
    /// The epoch of the request that is to come.
    epoch: i32,
    parts: FetchParts,
}

/// The sessions of a broker's fetchers (`FetchSessionCache`).
#[derive(Clone, Debug, Default)]
pub(crate) struct FetchSessions {
    sessions: BTreeMap<i32, FetchSession>,
}

impl FetchSessions {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The partitions that a request will be about, of its session and its own, before it is taken up: they may be held.
    pub(crate) fn touched<'a>(
        &'a self,
        request: &'a FetchRequest,
        table: &'a PartitionTable,
    ) -> impl Iterator<Item = Slot> + 'a {
        let named = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().filter_map(|asked| table.find(topic.topic.as_str(), asked.partition))
        });
        let is_incremental = request.session_epoch != INITIAL_EPOCH && request.session_epoch != FINAL_EPOCH;
        let session = self.sessions.get(&request.session_id).filter(|_| is_incremental);
        let remembered = session.into_iter().flat_map(|session| session.parts.iter());
        named.chain(remembered.filter_map(|part| part.slot(table)))
    }

    /// Takes up a request (`FetchManager.newContext`).
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH.
    pub(crate) fn context(
        &mut self,
        request: &FetchRequest,
        version: Version,
        table: &PartitionTable,
        now: Instant,
    ) -> Result<FetchContext, ErrorCode> {
        let own = |kind| FetchContext { kind, parts: Arc::new(parts_of(request, table)) };
        if version < SESSIONS_FROM {
            return Ok(own(SessionKind::Sessionless));
        }
        if request.session_epoch == INITIAL_EPOCH || request.session_epoch == FINAL_EPOCH {
            // A full request ends the session it names.
            self.sessions.remove(&request.session_id);
            let ends = request.session_epoch == FINAL_EPOCH;
            return Ok(own(if ends { SessionKind::Sessionless } else { SessionKind::Full }));
        }
        let id = request.session_id;
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.update(request, table);
        if session.parts.is_empty() {
            self.sessions.remove(&id);
            return Ok(FetchContext { kind: SessionKind::Sessionless, parts: FetchParts::default() });
        }
        session.last_used = now;
        session.epoch = next_epoch(session.epoch);
        let kind = SessionKind::Incremental { id, next_epoch: session.epoch };
        Ok(FetchContext { kind, parts: Arc::clone(&session.parts) })
    }

    /// Makes a session for a full request that was answered with these partitions, if there is room (`maybeCreateSession`);
    /// returns its id, or 0.
    pub(crate) fn create(
        &mut self,
        parts: FetchParts,
        is_follower: bool,
        slots_max: usize,
        draw: impl FnMut() -> Draw,
        now: Instant,
    ) -> i32 {
        if self.sessions.len() >= slots_max && !self.evict(is_follower, parts.len(), now) {
            return INVALID_SESSION_ID;
        }
        let id = self.fresh_id(draw);
        let session = FetchSession {
            is_privileged: is_follower,
            created: now,
            last_used: now,
            epoch: next_epoch(INITIAL_EPOCH),
            parts,
        };
        self.sessions.insert(id, session);
        id
    }

    /// The partitions of the session that an incremental request is of, to be told news of.
    ///
    /// # Errors
    /// INVALID_FETCH_SESSION_EPOCH if another request of it came meanwhile, FETCH_SESSION_ID_NOT_FOUND if it was evicted.
    pub(crate) fn parts_mut(&mut self, id: i32, next_epoch: i32) -> Result<&mut Vec<FetchPart>, ErrorCode> {
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != next_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        Ok(Arc::make_mut(&mut session.parts))
    }

    fn fresh_id(&self, mut draw: impl FnMut() -> Draw) -> i32 {
        loop {
            let bits = draw().below(1 << 31);
            let id = i32::try_from(bits).expect("31 bits");
            if id != INVALID_SESSION_ID && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Evicts the session that was not used for longest, if that is two minutes; or else one that is less worth than the new
    /// one: a consumer's where a follower asks, or a smaller one (`tryEvict`).
    fn evict(&mut self, is_privileged: bool, size: usize, now: Instant) -> bool {
        let Some((&oldest, session)) = self.sessions.iter().min_by_key(|(_, session)| session.last_used) else {
            return false;
        };
        if now.saturating_since(session.last_used) > EVICTION {
            self.sessions.remove(&oldest);
            return true;
        }
        // One that lived for two minutes when it was last used may go for anybody who is worth as much, a consumer's for a
        // follower at any time. Worth is: a follower's before a consumer's, then the number of partitions.
        let may_go = |session: &FetchSession| {
            let is_old = session.last_used.saturating_since(session.created) > EVICTION;
            is_old || (is_privileged && !session.is_privileged)
        };
        let candidates = self.sessions.iter().filter(|(_, session)| may_go(session));
        let worth = candidates.map(|(&id, session)| (session.is_privileged, session.parts.len(), id));
        let Some(least) = worth.min().filter(|&least| (is_privileged, size, INVALID_SESSION_ID) >= least) else {
            return false;
        };
        let (.., least) = least;
        self.sessions.remove(&least);
        true
    }
}

impl FetchSession {
    /// Takes over what an incremental request adds, changes and forgets.
    fn update(&mut self, request: &FetchRequest, table: &PartitionTable) {
        if request.topics.is_empty() && request.forgotten_topics_data.is_empty() {
            return;
        }
        let parts = Arc::make_mut(&mut self.parts);
        for asked in parts_of(request, table) {
            match parts.iter_mut().find(|part| part.is_of(&asked.topic, asked.partition)) {
                Some(known) => {
                    *known = FetchPart {
                        told_high_watermark: known.told_high_watermark,
                        told_log_start: known.told_log_start,
                        ..asked
                    };
                }
                None => parts.push(asked),
            }
        }
        for topic in &request.forgotten_topics_data {
            parts.retain(|part| part.topic != topic.topic || !topic.partitions.contains(&part.partition));
        }
    }
}

/// Whether a fetch of this replica is a follower's.
pub(crate) fn follower(replica_id: kafkawire::messages::BrokerId) -> Option<BrokerId> {
    (replica_id.0 >= 0).then_some(BrokerId(replica_id.0))
}
