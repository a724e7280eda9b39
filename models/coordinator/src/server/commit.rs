//! The commit processor (zookeeper.md §4.6): lets reads pass, holds a session's requests back behind its own writes, and applies
//! commits in the order of the leader, each with the local request it belongs to.
//!
//! ```text
//! requests ─▶ arrived ─┬─ no write of its session waits ─▶ run
//!                      └─ a write, or behind one ─▶ waiting[session]
//! leader ──▶ committed ── head of `writes`? ─▶ the local request, with the txn ─▶ run, then the reads behind it
//!                      └─ somebody else's    ─▶ run as it is
//! ```
//!
//! Two rules keep replies in order: a request is in `arrived` before the leader can know of it (ZOOKEEPER-1863), and a commit of
//! a local write waits until that write is the first of its session.
//!
//! Simplified: one worker runs reads inside the processor's own thread, so "wait until no read is running" is always true.

use std::collections::{BTreeMap, VecDeque};

use jute::op::OpCode;
use jute::{SessionId, Xid};

use super::request::Request;
use crate::defect::{Defect, Defects};

/// The queues between preparation and application.
#[derive(Clone, Debug)]
pub(super) struct CommitProcessor {
    /// Whether a sync waits for the leader, as a learner's does.
    match_syncs: bool,
    /// `maxReadBatchSize`; none is unlimited.
    read_batch_max: Option<usize>,
    /// `maxCommitBatchSize`.
    commit_batch_max: usize,
    /// `queuedRequests`: everything, as it came.
    arrived: VecDeque<Request>,
    /// `queuedWriteRequests`: session and cxid of the local writes, as they came.
    writes: VecDeque<(SessionId, Xid)>,
    /// `pendingRequests`: per session what waits for a commit, or behind something that does.
    waiting: BTreeMap<SessionId, VecDeque<Request>>,
    /// `committedRequests`: in the order of the leader.
    committed: VecDeque<Request>,
    turn: Turn,
    /// What is committed is looked at before what has arrived (ZOOKEEPER-1863).
    commits_first: bool,
}

/// Where the loop of the thread is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// Looking at what arrived: so many were there when the loop began, so many reads have run.
    Reading { left: usize, reads: usize },
    /// Applying what is committed; so many more may be.
    Committing { left: usize },
}

impl CommitProcessor {
    /// Empty queues.
    pub(super) fn new(match_syncs: bool, read_batch_max: Option<usize>, commit_batch_max: usize) -> Self {
        assert!(commit_batch_max > 0, "a commit processor must commit");
        Self {
            match_syncs,
            read_batch_max,
            commit_batch_max,
            arrived: VecDeque::new(),
            writes: VecDeque::new(),
            waiting: BTreeMap::new(),
            committed: VecDeque::new(),
            turn: Turn::Reading { left: 0, reads: 0 },
            commits_first: false,
        }
    }

    /// The same, with what is switched on of the bugs that show in it.
    pub(super) fn with_defects(mut self, defects: &Defects) -> Self {
        self.commits_first = defects.has(Defect::CommitBeforeRequest);
        self
    }

    /// Whether a request must wait for the leader.
    fn needs_commit(&self, request: &Request) -> bool {
        request.is_write() || self.match_syncs && request.op() == OpCode::Sync
    }

    /// Takes a request of this server (or, at the leader, of anybody).
    pub(super) fn arrive(&mut self, request: Request) {
        if self.needs_commit(&request) {
            self.writes.push_back((request.session, request.cxid));
        }
        self.arrived.push_back(request);
    }

    /// Takes what the leader committed.
    pub(super) fn commit(&mut self, request: Request) {
        self.committed.push_back(request);
    }

    /// Whether a step would do anything.
    pub(super) fn is_idle(&self) -> bool {
        self.arrived.is_empty() && !self.can_commit()
    }

    /// Requests in all queues, those waiting for the leader included.
    pub(super) fn len(&self) -> usize {
        self.arrived.len() + self.committed.len() + self.waiting.values().map(VecDeque::len).sum::<usize>()
    }

    /// Whether the head of what is committed could be applied now.
    fn can_commit(&self) -> bool {
        let Some(head) = self.committed.front() else { return false };
        if !self.belongs_to_next_write(head) || self.commits_first {
            return true;
        }
        let queue = self.waiting.get(&head.session);
        queue.and_then(VecDeque::front).is_some_and(|first| self.needs_commit(first))
    }

    fn belongs_to_next_write(&self, head: &Request) -> bool {
        if self.commits_first {
            // Nobody looks further than to what waits already.
            let first = self.waiting.get(&head.session).and_then(VecDeque::front);
            return first.is_some_and(|first| first.cxid == head.cxid && self.needs_commit(first));
        }
        self.writes.front() == Some(&(head.session, head.cxid))
    }

    /// Does one step of the loop; what it returns is to be run now, in this order.
    pub(super) fn step(&mut self) -> Vec<Request> {
        if let Turn::Reading { left: 0, .. } = self.turn {
            self.turn = if self.commits_first && !self.committed.is_empty() {
                Turn::Committing { left: 1 }
            } else {
                Turn::Reading { left: self.arrived.len(), reads: 0 }
            };
        }
        match self.turn {
            Turn::Reading { left, reads } => self.step_reading(left, reads),
            Turn::Committing { left } => self.step_committing(left),
        }
    }

    fn step_reading(&mut self, left: usize, mut reads: usize) -> Vec<Request> {
        let mut run = Vec::new();
        if left == 0 {
            self.turn = Turn::Committing { left: self.commit_batch_max };
            return self.step_committing(self.commit_batch_max);
        }
        let request = self.arrived.pop_front().expect("it was there when the loop began");
        if self.needs_commit(&request) || self.waiting.contains_key(&request.session) {
            self.waiting.entry(request.session).or_default().push_back(request);
        } else {
            run.push(request);
            reads += 1;
        }
        let batch_is_full = match self.read_batch_max {
            Some(max) => reads > max,
            // Stop feeding reads as soon as a commit can be matched with a local write.
            None => !self.waiting.is_empty() && !self.committed.is_empty(),
        };
        self.turn = if batch_is_full || left == 1 {
            Turn::Committing { left: self.commit_batch_max }
        } else {
            Turn::Reading { left: left - 1, reads }
        };
        run
    }

    /// Applies the head of what is committed and lets the reads behind it go.
    fn step_committing(&mut self, left: usize) -> Vec<Request> {
        let mut run = Vec::new();
        self.turn = if left > 1 { Turn::Committing { left: left - 1 } } else { Turn::Reading { left: 0, reads: 0 } };
        if !self.can_commit() {
            // Nothing is committed, or its request has not been looked at yet: the next loop will.
            self.turn = Turn::Reading { left: 0, reads: 0 };
            return run;
        }
        let head = self.committed.pop_front().expect("it can be committed");
        if !self.belongs_to_next_write(&head) {
            run.push(head);
            return run;
        }
        let at = self.writes.iter().position(|write| *write == (head.session, head.cxid));
        assert!(at == Some(0) || self.commits_first, "it is the next of the local writes");
        self.writes.remove(at.expect("every local write is noted"));
        let queue = self.waiting.get_mut(&head.session).expect("its first request is this write");
        let mut local = queue.pop_front().expect("its first request is this write");
        assert!(local.cxid == head.cxid, "the first write of {} is {}, not {}", head.session, local.cxid, head.cxid);
        local.proposal = head.proposal;
        if local.failure.is_none() {
            local.failure = head.failure;
        }
        run.push(local);
        while let Some(read) = self.pop_read(head.session) {
            run.push(read);
        }
        run
    }

    /// The next request of a session, if it need not wait; an empty queue goes.
    fn pop_read(&mut self, session: SessionId) -> Option<Request> {
        let first = self.waiting.get(&session)?.front();
        if first.is_some_and(|first| self.needs_commit(first)) {
            return None;
        }
        let read = self.waiting.get_mut(&session).and_then(VecDeque::pop_front);
        if read.is_none() {
            self.waiting.remove(&session);
        }
        read
    }

    /// Panics if the queues contradict each other.
    pub(super) fn check(&self) {
        for (session, queue) in &self.waiting {
            let first = queue.front().expect("an empty queue of a session is removed");
            assert!(self.needs_commit(first), "the first of {session} waits for nothing");
        }
        let writes =
            self.arrived.iter().chain(self.waiting.values().flatten()).filter(|request| self.needs_commit(request));
        assert!(writes.count() == self.writes.len(), "every local write is in one queue, and noted");
    }
}

#[cfg(test)]
mod tests {
    use jute::Version;
    use jute::client::{DeleteRequest, GetDataRequest, SyncRequest};

    use super::super::request::{Ask, Owner, nobody};
    use super::*;

    const A: SessionId = SessionId::new(0xa);
    const B: SessionId = SessionId::new(0xb);

    fn request(session: SessionId, cxid: i32, ask: jute::client::Request) -> Request {
        Request::detached(session, Xid::new(cxid), Ask::Client(ask), Owner::Me, nobody())
    }

    fn write(session: SessionId, cxid: i32) -> Request {
        request(
            session,
            cxid,
            jute::client::Request::Delete(DeleteRequest { path: "/x".to_owned(), version: Version::ANY }),
        )
    }

    fn read(session: SessionId, cxid: i32) -> Request {
        request(session, cxid, jute::client::Request::GetData(GetDataRequest { path: "/x".to_owned(), watch: false }))
    }

    fn sync(session: SessionId, cxid: i32) -> Request {
        request(session, cxid, jute::client::Request::Sync(SyncRequest { path: None }))
    }

    fn processor() -> CommitProcessor {
        CommitProcessor::new(true, None, 1)
    }

    /// Steps until nothing more happens; returns who ran.
    fn run(processor: &mut CommitProcessor) -> Vec<(SessionId, i32)> {
        let mut ran = Vec::new();
        while !processor.is_idle() {
            ran.extend(processor.step().iter().map(|request| (request.session, request.cxid.value())));
            processor.check();
        }
        ran
    }

    #[test]
    fn read_of_a_session_without_writes_overtakes_a_write() {
        let mut processor = processor();
        processor.arrive(write(A, 1));
        processor.arrive(read(B, 1));
        assert_eq!(run(&mut processor), [(B, 1)]);
        processor.commit(write(A, 1));
        assert_eq!(run(&mut processor), [(A, 1)]);
        assert_eq!(processor.len(), 0);
    }

    #[test]
    fn reads_behind_a_write_follow_it_up_to_the_next_write() {
        let mut processor = processor();
        for request in [read(A, 1), write(A, 2), read(A, 3), read(A, 4), write(A, 5), read(A, 6)] {
            processor.arrive(request);
        }
        assert_eq!(run(&mut processor), [(A, 1)]);
        processor.commit(write(A, 2));
        assert_eq!(run(&mut processor), [(A, 2), (A, 3), (A, 4)]);
        processor.commit(write(A, 5));
        assert_eq!(run(&mut processor), [(A, 5), (A, 6)]);
        assert_eq!(processor.len(), 0);
    }

    #[test]
    fn remote_commit_does_not_wait_for_a_local_write() {
        let mut processor = processor();
        processor.arrive(write(A, 1));
        processor.commit(write(B, 9));
        assert_eq!(run(&mut processor), [(B, 9)]);
    }

    #[test]
    fn commit_waits_until_its_request_was_looked_at() {
        let mut processor = processor();
        processor.arrive(write(A, 1));
        processor.commit(write(A, 1));
        // The request is still among those that arrived: the commit must not run without it, or its reply is lost.
        let ran = run(&mut processor);
        assert_eq!(ran, [(A, 1)]);
        assert_eq!(processor.len(), 0);
    }

    #[test]
    fn learner_holds_a_sync_back_and_a_leader_does_not() {
        let mut learner = processor();
        learner.arrive(sync(A, 1));
        learner.arrive(read(A, 2));
        assert_eq!(run(&mut learner), []);
        learner.commit(sync(A, 1));
        assert_eq!(run(&mut learner), [(A, 1), (A, 2)]);

        let mut leader = CommitProcessor::new(false, None, 1);
        leader.arrive(sync(A, 1));
        assert_eq!(run(&mut leader), [(A, 1)]);
    }
}
