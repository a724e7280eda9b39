//! The final processor (zookeeper.md §4.7): applies what is committed, tells watchers, answers whoever waits here.

use jute::Buffer;
use jute::client::{
    Create2Response, CreateResponse, GetDataResponse, MultiResponse, OpResult as MultiResult, ReplyHeader,
    Request as ClientRequest, Response, ServerFrame, SetAclResponse, SetDataResponse,
};
use jute::op::{ErrorCode, OpCode};
use jute::txn::Txn;
use jute::{Xid, Zxid};
use machine::{EndId, Instant, Io};

use super::request::{Ask, Proposal, Request};
use super::session_tracker::Tracking;
use super::statistics::LastAnswer;
use super::{Server, ServerEvent, Stores};
use crate::config::Release;
use crate::defect::Defect;
use crate::tree::OpResult;
use crate::{Coordinator, Fact};

/// What a client is told.
enum Outcome {
    /// Its session is confirmed.
    Session,
    /// A reply.
    Reply { xid: Xid, result: Result<Option<Response>, ErrorCode> },
    /// Nothing: of a check on its own that succeeds (ZOOKEEPER-2623).
    Silence,
    /// The session is another server's by now: the connection ends without an answer, or this client could take the other
    /// connection's fate for its own (ZOOKEEPER-710).
    Moved,
}

impl Server {
    /// `processRequest`: a txn is applied whoever asked for it, then this server's own client is answered.
    pub(super) fn finish(&mut self, request: Request, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        let late = std::mem::take(&mut self.late_watches);
        let result = request.proposal.as_ref().map(|proposal| self.apply(proposal, stores, io));
        if request.is_local
            && request.op() == OpCode::CloseSession
            && let Some(locals) = &mut self.locals
        {
            locals.tracker.remove(request.session);
        }
        self.answer(request, result, stores, io);
        for (events, zxid) in late {
            self.fire_watches(&events, zxid, io);
        }
    }

    fn answer(
        &mut self,
        request: Request,
        result: Option<OpResult>,
        stores: &mut Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let Some(end) = request.client else {
            if request.op() == OpCode::CloseSession
                && let Some(end) = self.connections.of_session(request.session)
            {
                // It expired, or was closed over another connection.
                self.close_connection(end, io);
            }
            return;
        };
        self.in_process = self.in_process.checked_sub(1).expect("a client's request is counted once");
        match self.outcome(end, &request, result, stores, io) {
            Outcome::Session => self.finish_session(end, true, stores, io),
            Outcome::Reply { xid, result } => {
                // ZOOKEEPER-1412: a read's was its request's, which has none.
                let is_request_s = self.config.defects.has(Defect::ReplyRequestZxid) && !request.is_write();
                let header = ReplyHeader {
                    xid,
                    zxid: Some(if is_request_s { Zxid::ZERO } else { stores.db.last_processed() }),
                    err: result.as_ref().err().copied().unwrap_or(ErrorCode::Ok),
                };
                if self.connections.contains(end) {
                    // What a multiRead that cannot be read has found so far is sent with the error.
                    let nothing = (result.is_err() && request.op() == OpCode::MultiRead)
                        .then(|| Response::Multi(MultiResponse::default()));
                    let response = result.unwrap_or(nothing);
                    self.count_answer(end, &request, stores.db.last_processed(), io.now());
                    self.send(end, ServerFrame::Reply { header, response }, io);
                }
                self.count_answered(end, request.cxid, stores, io);
                if request.op() == OpCode::CloseSession {
                    self.close_connection(end, io);
                }
            }
            Outcome::Silence => {}
            Outcome::Moved => self.close_connection(end, io),
        }
    }

    fn count_answer(&mut self, end: EndId, request: &Request, zxid: Zxid, now: Instant) {
        let millis = now.saturating_since(request.since).as_millis();
        self.statistics.latency.add(millis);
        if let Some(connection) = self.connections.get_mut(end) {
            let last = LastAnswer { op: request.op(), cxid: request.cxid, zxid, at: now, millis };
            connection.statistics.last = Some(last);
            connection.statistics.latency.add(millis);
        }
    }

    fn apply(&mut self, proposal: &Proposal, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) -> OpResult {
        let header = &proposal.entry.header;
        let (session, zxid) = (header.session, header.zxid);
        if let Txn::CloseSession(_) = proposal.entry.txn
            && let Tracking::Expiring(tracker) = &mut self.tracking
        {
            tracker.remove(session);
        }
        let was_known = stores.db.sessions().contains_key(&session);
        let applied = stores.db.process_entry(&proposal.entry);
        // While the txn is being applied: whoever sees its effect in a reply has been told before.
        if self.config.defects.has(Defect::LateWatches) {
            self.late_watches.push((applied.events, zxid));
        } else {
            self.fire_watches(&applied.events, zxid, io);
        }
        self.prep.changes.applied(zxid);
        self.note_reapable(stores.db, io.now());
        stores.db.add_committed(zxid, proposal.bytes.clone());
        let tree_digest = stores.db.digest();
        let txn_digest = proposal.entry.digest.map_or(tree_digest, |digest| digest.tree_digest);
        io.state(Fact::Applied { zxid, session, txn_digest, tree_digest });
        match &proposal.entry.txn {
            Txn::CreateSession(create) => {
                self.session_is_global(session);
                io.state(Fact::SessionCreated { session, timeout_ms: create.timeout_ms });
            }
            Txn::CloseSession(_) => {
                if was_known {
                    io.state(Fact::SessionClosed { session });
                }
            }
            Txn::Create(_)
            | Txn::Create2(_)
            | Txn::CreateContainer(_)
            | Txn::CreateTtl(_)
            | Txn::Delete(_)
            | Txn::DeleteContainer(_)
            | Txn::SetData(_)
            | Txn::Reconfig(_)
            | Txn::SetAcl(_)
            | Txn::Error(_)
            | Txn::Multi(_)
            | Txn::Check(_) => {}
        }
        self.events.push_back(ServerEvent::Applied { zxid });
        applied.result
    }

    fn outcome(
        &mut self,
        end: EndId,
        request: &Request,
        result: Option<OpResult>,
        stores: &Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Outcome {
        let failure = match request.proposal.as_ref().map(|proposal| &proposal.entry.txn) {
            // Where it was prepared the exception is still known; elsewhere the txn tells.
            Some(Txn::Error(error)) => Some(request.failure.unwrap_or(error.err)),
            Some(_) | None => request.failure,
        };
        let reply = |result| Outcome::Reply { xid: request.cxid, result };
        match (failure, &*request.ask) {
            (Some(ErrorCode::SessionMoved), _) => Outcome::Moved,
            // A multi that was prepared says in its body what failed.
            (Some(_), Ask::Client(ClientRequest::Multi(_))) | (None, Ask::Client(_)) => match result {
                Some(OpResult::Multi(parts)) => multi_outcome(request.cxid, parts, &request.ask, self.config.release),
                // The real one fails to write what it has to say.
                Some(OpResult::Checked) => Outcome::Silence,
                // As this server goes by now, which may be newer.
                Some(OpResult::DataSet { stat }) if request.op() == OpCode::Reconfig => {
                    let data = Buffer::new(self.quorums.current().text(&self.config));
                    reply(Ok(Some(Response::Reconfig(GetDataResponse { data, stat }))))
                }
                Some(result) => reply(write_response(result, request.op())),
                None => match (failure, &*request.ask) {
                    (Some(err), _) => reply(Err(err)),
                    (None, Ask::Client(ClientRequest::CloseSession)) => reply(Ok(None)),
                    (None, Ask::Client(ClientRequest::Ping)) => Outcome::Reply { xid: Xid::PING, result: Ok(None) },
                    (None, Ask::Client(client)) => reply(self.read(end, (client, &request.ids), stores.db.tree(), io)),
                    (None, ask) => panic!("{} waits for a txn", ask.op()),
                },
            },
            (Some(err), _) => reply(Err(err)),
            (None, Ask::CreateSession { .. }) => Outcome::Session,
            (None, Ask::Malformed { err, .. }) => reply(Err(*err)),
            (None, Ask::Committed(op)) => panic!("nobody here waits for a committed {op}"),
        }
    }
}

/// The body of a write's reply.
fn write_response(result: OpResult, op: OpCode) -> Result<Option<Response>, ErrorCode> {
    match result {
        OpResult::Created { path, .. } if op == OpCode::Create => Ok(Some(Response::Create(CreateResponse { path }))),
        OpResult::Created { path, stat } => Ok(Some(Response::Create2(Create2Response { path, stat }))),
        OpResult::DataSet { stat } => Ok(Some(Response::SetData(SetDataResponse { stat }))),
        OpResult::Deleted | OpResult::SessionClosed => Ok(None),
        OpResult::Failed(err) => Err(err),
        OpResult::AclSet { stat } => Ok(Some(Response::SetAcl(SetAclResponse { stat }))),
        OpResult::Checked | OpResult::SessionCreated { .. } | OpResult::Multi(_) => {
            panic!("a {op} has no such result")
        }
    }
}

/// The reply to a multi is without error even if the multi failed: its results tell.
fn multi_outcome(xid: Xid, parts: Vec<OpResult>, ask: &Ask, release: Release) -> Outcome {
    if parts.contains(&OpResult::Failed(ErrorCode::SessionMoved)) {
        return Outcome::Moved;
    }
    let Ask::Client(ClientRequest::Multi(multi)) = ask else { panic!("the parts of a {} are no multi's", ask.op()) };
    assert!(multi.ops.len() == parts.len(), "a multi has as many results as operations");
    let results = parts
        .into_iter()
        .zip(&multi.ops)
        .map(|(part, op)| match part {
            // 3.8 takes a create2 in a multi for a create.
            OpResult::Created { path, .. }
                if op.op() == OpCode::Create || op.op() == OpCode::Create2 && release == Release::V3_8_0 =>
            {
                MultiResult::Create(CreateResponse { path })
            }
            OpResult::Created { path, stat } => MultiResult::Create2(Create2Response { path, stat }),
            OpResult::Deleted => MultiResult::Delete,
            OpResult::DataSet { stat } => MultiResult::SetData(SetDataResponse { stat }),
            OpResult::Checked => MultiResult::Check,
            OpResult::Failed(err) => MultiResult::Error(err),
            OpResult::AclSet { .. }
            | OpResult::SessionCreated { .. }
            | OpResult::SessionClosed
            | OpResult::Multi(_) => panic!("no part of a multi has such a result"),
        })
        .collect();
    Outcome::Reply { xid, result: Ok(Some(Response::Multi(MultiResponse { results }))) }
}
