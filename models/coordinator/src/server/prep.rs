//! The preparation thread (zookeeper.md §4.4): every write takes a zxid, is checked against the tree as it will be, and becomes a
//! txn, be it an error. On a follower the same lane is the `FollowerRequestProcessor`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use jute::client::Request as ClientRequest;
use jute::data::Id;
use jute::op::OpCode;
use jute::txn::{CreateSessionTxn, ErrorTxn, Txn, TxnDigest, TxnEntry, TxnHeader};
use jute::{SessionId, Xid, Zxid};
use machine::{EndId, Io};

use super::change::OutstandingChanges;
use super::local_sessions::check_at_leader;
use super::prep_txn::Preparation;
use super::request::{Ask, Owner, Proposal, Request};
use super::session_tracker::Tracking;
use super::{Server, ServerEvent, ServerWork, Serving, Stores};
use crate::defect::Defect;
use crate::tree::DIGEST_VERSION;
use crate::{Coordinator, CoordinatorMark, Database, work};

/// The preparation thread's queue and state.
#[derive(Clone, Debug)]
pub(super) struct Prep {
    pub(super) queue: VecDeque<Request>,
    pub(super) scheduled: bool,
    /// `hzxid`: the last one handed out.
    pub(super) zxid: Zxid,
    pub(super) changes: OutstandingChanges,
    /// The counter of zxids is at its end: the thread has died.
    pub(super) dead: bool,
}

impl Prep {
    pub(super) fn new(zxid: Zxid, with_digest: bool) -> Self {
        Self {
            queue: VecDeque::new(),
            scheduled: false,
            zxid,
            changes: OutstandingChanges::new(with_digest),
            dead: false,
        }
    }
}

impl Server {
    /// Queues a request for the first processor.
    pub(super) fn submit(&mut self, request: Request, io: &mut Io<'_, Coordinator>) {
        self.prep.queue.push_back(request);
        self.schedule_prep(io);
    }

    fn schedule_prep(&mut self, io: &mut Io<'_, Coordinator>) {
        if !self.prep.scheduled && !self.prep.queue.is_empty() {
            self.prep.scheduled = true;
            io.defer(work::PREP, ServerWork::Prep(self.term));
        }
    }

    /// One request.
    pub(super) fn on_prep_turn(&mut self, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        self.prep.scheduled = false;
        if self.prep.dead {
            return;
        }
        let Some(request) = self.prep.queue.pop_front() else { return };
        io.spend(work::PREP, self.config.costs.prep);
        match self.serving.expect("a server with a queue serves") {
            Serving::Standalone => {
                let request = self.prepare(request, stores.db, io);
                self.log_request(request, io);
            }
            Serving::Leader { .. } => self.prepare_and_propose(request, stores.db, io),
            Serving::Follower | Serving::Observer => self.forward(request, io),
            Serving::ReadOnly => self.read_only_step(request, stores, io),
        }
        self.schedule_prep(io);
    }

    /// `FollowerRequestProcessor`: the commit processor knows of a request before the leader can (ZOOKEEPER-1863).
    fn forward(&mut self, request: Request, io: &mut Io<'_, Coordinator>) {
        let op = request.op();
        let forwards = request.is_write() || op == OpCode::Sync;
        let (session, cxid, ask) = (request.session, request.cxid, Arc::clone(&request.ask));
        let ids = Arc::clone(&request.ids);
        if op == OpCode::Sync {
            self.pending_syncs.push_back(request.clone());
        }
        self.arrive_at_commit(request, io);
        if forwards {
            self.events.push_back(ServerEvent::Forward { session, cxid, op, body: ask.encode(), ids });
        }
    }

    /// `PrepRequestProcessor` and, in the same thread, `ProposalRequestProcessor`.
    fn prepare_and_propose(&mut self, request: Request, db: &Database, io: &mut Io<'_, Coordinator>) {
        let request = self.prepare(request, db, io);
        if let (Owner::Learner(learner), OpCode::Sync) = (request.owner, request.op()) {
            self.events.push_back(ServerEvent::LeaderSync { learner, session: request.session, cxid: request.cxid });
            return;
        }
        self.arrive_at_commit(request.clone(), io);
        let Some(proposal) = request.proposal.clone() else { return };
        if proposal.zxid().counter() == u32::MAX && !self.config.defects.has(Defect::NoRolloverCheck) {
            // `propose` throws XidRollover: nothing behind this request is prepared any more.
            io.reach(CoordinatorMark::ZxidRollover);
            self.prep.dead = true;
            self.events.push_back(ServerEvent::XidRollover);
            return;
        }
        self.proposed.push_back(request.clone());
        self.events.push_back(ServerEvent::Propose(proposal));
        self.log_request(request, io);
    }

    /// Gives a write its txn, and any request the error it will end with.
    fn prepare(&mut self, mut request: Request, db: &Database, io: &mut Io<'_, Coordinator>) -> Request {
        let Tracking::Expiring(tracker) = &mut self.tracking else { panic!("who prepares tracks sessions") };
        if !request.is_write() {
            if !request.is_local {
                let who = (request.session, request.owner);
                request.failure = check_at_leader(tracker, self.locals.as_mut(), who, self.config.myid).err();
            }
            return request;
        }
        let refusal = request.failure.take();
        // Before anything is validated: a write that fails has its place in the order like any other.
        self.prep.zxid = if self.config.defects.has(Defect::NoRolloverCheck) {
            Zxid::from_wire(self.prep.zxid.to_wire() + 1).expect("a zxid has 63 bits")
        } else {
            self.prep.zxid.next()
        };
        let header = TxnHeader {
            session: request.session,
            cxid: request.cxid,
            zxid: self.prep.zxid,
            time_ms: io.wall_clock().0,
        };
        let mut preparation = Preparation {
            header: &header,
            owner: request.owner,
            ids: &request.ids,
            tracker,
            locals: self.locals.as_mut(),
            refusal,
            changes: &mut self.prep.changes,
            db,
            config: &self.config,
            leads: matches!(self.serving, Some(Serving::Leader { .. })),
            quorums: &self.quorums,
            synced: &self.synced,
            marks: Vec::new(),
        };
        let prepared = match &*request.ask {
            Ask::CreateSession { timeout_ms } => {
                preparation.tracker.track(request.session, *timeout_ms, io.now());
                let owned = preparation.tracker.set_owner(request.session, request.owner);
                owned.map(|_| Txn::CreateSession(CreateSessionTxn { timeout_ms: *timeout_ms }))
            }
            Ask::Client(ClientRequest::CloseSession) => Ok(preparation.close_session()),
            Ask::Client(ClientRequest::Multi(multi)) => {
                let (txn, failure) = preparation.multi(multi);
                request.failure = failure;
                Ok(txn)
            }
            Ask::Client(client) => preparation.single(client),
            Ask::Malformed { err, .. } => Err(*err),
            Ask::Committed(op) => panic!("a committed {op} is not prepared again"),
        };
        let marks = std::mem::take(&mut preparation.marks);
        for mark in marks {
            io.reach(mark);
        }
        let txn = prepared.unwrap_or_else(|err| {
            request.failure = Some(err);
            Txn::Error(ErrorTxn { err })
        });
        let with_digest = self.config.digest_enabled && txn.op() != OpCode::Error;
        let digest =
            with_digest.then(|| TxnDigest { version: DIGEST_VERSION, tree_digest: self.prep.changes.tree_digest(db) });
        request.proposal = Some(Proposal::new(TxnEntry { header, txn, digest }));
        request
    }

    /// Leader: takes a request that a learner forwarded; it passes neither the throttler nor the touch (§3.11). False if no
    /// learner forwards such a thing, or no leader serves: it is dropped.
    pub fn submit_from_learner(
        &mut self,
        learner: EndId,
        session: SessionId,
        cxid: Xid,
        op: OpCode,
        (body, ids): (&Bytes, Vec<Id>),
        io: &mut Io<'_, Coordinator>,
    ) -> bool {
        let leads = matches!(self.serving, Some(Serving::Leader { .. })) && !self.closing;
        let Some(ask) = Ask::forwarded(op, body).filter(|_| leads) else { return false };
        self.submit(Request::detached(session, cxid, ask, Owner::Learner(learner), ids.into()), io);
        true
    }
}
