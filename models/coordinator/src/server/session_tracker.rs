//! Who is alive (zookeeper.md §7.4–7.6): the tracker of the leader or standalone server, and the touch table of a learner.

use std::collections::BTreeMap;

use jute::SessionId;
use jute::op::ErrorCode;
use machine::{Instant, Span};

use super::expiry_queue::ExpiryQueue;
use super::request::Owner;

/// What a tracker knows of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tracked {
    timeout_ms: i32,
    closing: bool,
    owner: Option<Owner>,
}

/// Every session the server that may expire them knows, in the global table or on its way there.
#[derive(Clone, Debug)]
pub(super) struct SessionTracker {
    sessions: BTreeMap<SessionId, Tracked>,
    queue: ExpiryQueue<SessionId>,
    /// ZOOKEEPER-1208: a closing session passes for an open one.
    no_closing_flag: bool,
}

/// A timeout as a span; what is not positive is no time.
pub(super) fn span_of_ms(timeout_ms: i32) -> Span {
    Span::millis(u64::try_from(timeout_ms).unwrap_or(0))
}

impl SessionTracker {
    /// A tracker of the sessions of the global table: each gets a full timeout from now.
    pub(super) fn new(global: &BTreeMap<SessionId, i32>, tick: Span, no_closing_flag: bool, now: Instant) -> Self {
        let mut tracker = Self { sessions: BTreeMap::new(), queue: ExpiryQueue::new(tick, now), no_closing_flag };
        for (&session, &timeout_ms) in global {
            tracker.track(session, timeout_ms, now);
        }
        tracker
    }

    /// Knows a session from now on.
    pub(super) fn track(&mut self, session: SessionId, timeout_ms: i32, now: Instant) {
        self.sessions.entry(session).or_insert(Tracked { timeout_ms, closing: false, owner: None });
        self.queue.touch(session, span_of_ms(timeout_ms), now);
    }

    /// Puts off the end of a session. False if it is unknown or closing.
    pub(super) fn touch(&mut self, session: SessionId, timeout_ms: i32, now: Instant) -> bool {
        match self.sessions.get(&session) {
            Some(tracked) if !tracked.closing => {
                self.queue.touch(session, span_of_ms(timeout_ms), now);
                true
            }
            Some(_) | None => false,
        }
    }

    /// From now on nothing of this session succeeds.
    pub(super) fn set_closing(&mut self, session: SessionId) {
        if self.no_closing_flag {
            // ZOOKEEPER-1208, as it was until 3.3.3: there was no flag, and the session was gone only with the commit of its
            // closeSession.
            return;
        }
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.closing = true;
        }
    }

    /// The timeout of a session that is known, ms.
    pub(super) fn timeout_ms(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).map(|tracked| tracked.timeout_ms)
    }

    /// Whether a session is known and closing.
    pub(super) fn is_closing(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|tracked| tracked.closing)
    }

    /// The session is out of the global table.
    pub(super) fn remove(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.queue.remove(session);
    }

    /// Whether a request of this owner may act for the session; the first to ask is its owner.
    ///
    /// # Errors
    /// `SessionExpired` if it is unknown or closing, `SessionMoved` if it is somebody else's.
    pub(super) fn check(&mut self, session: SessionId, owner: Owner) -> Result<(), ErrorCode> {
        let tracked = self.sessions.get_mut(&session).ok_or(ErrorCode::SessionExpired)?;
        if tracked.closing {
            return Err(ErrorCode::SessionExpired);
        }
        if *tracked.owner.get_or_insert(owner) == owner { Ok(()) } else { Err(ErrorCode::SessionMoved) }
    }

    /// Gives a session to another owner; returns the one before.
    ///
    /// # Errors
    /// `SessionExpired` if it is unknown or closing.
    pub(super) fn set_owner(&mut self, session: SessionId, owner: Owner) -> Result<Option<Owner>, ErrorCode> {
        match self.sessions.get_mut(&session) {
            Some(tracked) if !tracked.closing => Ok(tracked.owner.replace(owner)),
            Some(_) | None => Err(ErrorCode::SessionExpired),
        }
    }

    /// Takes a bucket of sessions whose time is up, with their timeouts, and marks them closing; none if nothing is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Vec<(SessionId, i32)>> {
        let bucket = self.queue.poll(now)?;
        let mut expired = Vec::with_capacity(bucket.len());
        for session in bucket {
            self.set_closing(session);
            let tracked = self.sessions.get(&session).expect("a session in a bucket is tracked");
            expired.push((session, tracked.timeout_ms));
        }
        Some(expired)
    }

    /// When the next sessions are due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.next_due()
    }

    /// When which sessions expire, and how many there are.
    pub(super) fn buckets(&self) -> (Vec<(Instant, Vec<SessionId>)>, usize) {
        (self.queue.buckets(), self.sessions.len())
    }

    /// Number of sessions known.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Panics if the tracker contradicts itself.
    pub(super) fn check_invariants(&self) {
        self.queue.check();
        assert!(self.queue.len() == self.sessions.len(), "every session tracked has its time, and no other");
    }
}

/// Who tracks sessions, and how.
#[derive(Clone, Debug)]
pub(super) enum Tracking {
    /// Leader and standalone server expire sessions.
    Expiring(SessionTracker),
    /// A learner notes who was heard of since the leader's last ping.
    Touching(BTreeMap<SessionId, i32>),
}

impl Tracking {
    /// Puts off the end of a session; a learner cannot know whether there is one and says yes.
    pub(super) fn touch(&mut self, session: SessionId, timeout_ms: i32, now: Instant) -> bool {
        match self {
            Self::Expiring(tracker) => tracker.touch(session, timeout_ms, now),
            Self::Touching(touches) => {
                touches.insert(session, timeout_ms);
                true
            }
        }
    }

    /// The tracker, where there is one.
    pub(super) fn tracker(&mut self) -> Option<&mut SessionTracker> {
        match self {
            Self::Expiring(tracker) => Some(tracker),
            Self::Touching(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use machine::EndId;

    use super::*;

    const TICK: Span = Span::secs(2);
    const SESSION: SessionId = SessionId::new(0x0100_0000_0000_0000);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn tracker(no_closing_flag: bool) -> SessionTracker {
        SessionTracker::new(&BTreeMap::from([(SESSION, 4_000)]), TICK, no_closing_flag, at(1_000))
    }

    #[test]
    fn session_of_the_table_gets_a_full_timeout_from_the_start() {
        let mut tracker = tracker(false);
        assert_eq!(tracker.next_due(), Some(at(6_000)));
        while let Some(expired) = tracker.expire(at(5_999)) {
            assert!(expired.is_empty());
        }
        assert_eq!(tracker.expire(at(6_000)), Some(vec![(SESSION, 4_000)]));
        tracker.check_invariants();
    }

    #[test]
    fn closing_session_is_neither_touched_nor_acted_for() {
        let mut tracker = tracker(false);
        assert!(tracker.touch(SESSION, 4_000, at(1_500)));
        tracker.set_closing(SESSION);
        assert!(!tracker.touch(SESSION, 4_000, at(1_600)));
        assert_eq!(tracker.check(SESSION, Owner::Me), Err(ErrorCode::SessionExpired));
        assert_eq!(tracker.set_owner(SESSION, Owner::Me), Err(ErrorCode::SessionExpired));
    }

    #[test]
    fn defect_1208_lets_a_closing_session_act() {
        let mut tracker = tracker(true);
        tracker.set_closing(SESSION);
        assert_eq!(tracker.check(SESSION, Owner::Me), Ok(()));
    }

    #[test]
    fn first_who_asks_owns_the_session_until_it_moves() {
        let mut tracker = tracker(false);
        let learner = Owner::Learner(EndId(7));
        assert_eq!(tracker.check(SESSION, learner), Ok(()));
        assert_eq!(tracker.check(SESSION, Owner::Me), Err(ErrorCode::SessionMoved));
        assert_eq!(tracker.set_owner(SESSION, Owner::Me), Ok(Some(learner)));
        assert_eq!(tracker.check(SESSION, learner), Err(ErrorCode::SessionMoved));
        assert_eq!(tracker.check(SessionId::new(9), Owner::Me), Err(ErrorCode::SessionExpired));
    }
}
