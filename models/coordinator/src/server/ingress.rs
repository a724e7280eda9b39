//! What clients send, up to the first processor (zookeeper.md §4.3): accepting, reading, touching, refusing, holding back.

use jute::client::{
    AuthPacket, ClientFrame, ClientPacket, ReplyHeader, Request as ClientRequest, Response, SaslToken, ServerFrame,
    refusal_of_malformed,
};
use jute::data::Id;
use jute::op::{ErrorCode, OpCode};
use jute::{Buffer, SessionId, Xid, Zxid};
use machine::{EndId, HostId, Io};

use super::connection::Phase;
use super::identity::{IP, authenticate};
use super::request::{Ask, Request, is_valid};
use super::session_tracker::span_of_ms;
use super::{Server, Serving, Stores};
use crate::Coordinator;

/// Frames of one connection that may wait while it is not read. Clients send nothing before their session is confirmed, and the
/// pipeline answers what it has taken, so only a client that breaks the rules comes near.
///
/// Simplified: the real server leaves them in the socket, where flow control stops the client; here it is cut off.
const UNREAD_MAX: usize = 100_000;

/// Bytes of a frame that are not its payload.
const FRAME_PREFIX: usize = 4;

impl Server {
    /// A client dialled. It may speak before the server serves: then it is cut off.
    pub fn on_accepted(&mut self, end: EndId, peer: HostId, io: &mut Io<'_, Coordinator>) {
        let (per_host, in_all) = (self.config.max_client_cnxns, self.config.max_cnxns);
        let full = |limit: u32, open: usize| limit > 0 && open >= limit as usize;
        if full(per_host, self.connections.of_peer(peer)) || full(in_all, self.connections.len()) {
            io.close(end);
            return;
        }
        self.connections.insert(end, peer, self.address(peer), io.now());
        self.connection_expiry.touch(end, self.config.sessionless_cnxn_timeout, io.now());
    }

    /// The identity that every connection has.
    fn address(&self, peer: HostId) -> Id {
        Id { scheme: IP.to_owned(), id: self.config.address_of(peer).to_string() }
    }

    /// Whether this is a client connection.
    #[must_use]
    pub fn owns(&self, end: EndId) -> bool {
        self.connections.contains(end)
    }

    /// A client sent a frame.
    pub fn on_frame(&mut self, end: EndId, frame: ClientFrame, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        let Some(connection) = self.connections.get_mut(end) else {
            // Closed on this side while the frame was under way.
            return;
        };
        if frame.wire_len() - FRAME_PREFIX > self.config.jute_max_buffer as usize {
            // "Len error": nothing of it is read.
            self.close_connection(end, io);
            return;
        }
        let timeout = if connection.timeout_ms > 0 {
            span_of_ms(connection.timeout_ms)
        } else {
            self.config.sessionless_cnxn_timeout
        };
        self.connection_expiry.touch(end, timeout, io.now());
        self.statistics.received += 1;
        connection.statistics.received += 1;
        connection.unread.push_back(frame);
        if connection.unread.len() > UNREAD_MAX {
            self.close_connection(end, io);
            return;
        }
        self.read_frames(end, stores, io);
    }

    /// Reads what has arrived, as far as the connection is read at all.
    pub(super) fn read_frames(&mut self, end: EndId, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        loop {
            let Some(connection) = self.connections.get_mut(end).filter(|connection| connection.reads()) else {
                return;
            };
            let Some(frame) = connection.unread.pop_front() else { return };
            if self.serving.is_none() || self.closing {
                // `ZooKeeperServer not running`.
                self.close_connection(end, io);
                return;
            }
            self.read_frame(end, frame, stores, io);
        }
    }

    fn read_frame(&mut self, end: EndId, frame: ClientFrame, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        let connection = self.connections.get(end).expect("a connection that is read is open");
        let session = connection.session;
        match (connection.phase, frame) {
            (Phase::Fresh, ClientFrame::Connect(request)) => self.on_connect(end, &request, stores, io),
            (Phase::Connected, ClientFrame::Request { xid, request: ClientRequest::Auth(packet) }) => {
                self.on_auth(end, xid, &packet, io);
            }
            (Phase::Connected, ClientFrame::Request { xid, request: ClientRequest::Sasl(_) }) => {
                // Nobody configured a mechanism: there is nothing to say, and nothing is wrong.
                let response = Response::Sasl(SaslToken { token: Buffer::NULL });
                self.reply_at_once(end, xid, ErrorCode::Ok, Some(response), io);
            }
            (Phase::Connected, ClientFrame::Malformed { op: OpCode::Auth | OpCode::Sasl, .. }) => {
                self.close_connection(end, io);
            }
            (
                Phase::Connected,
                ClientFrame::Request { xid, .. }
                | ClientFrame::Malformed { xid, .. }
                | ClientFrame::Unknown { xid, .. },
            ) if !self.is_authenticated(end) => {
                self.reply_at_once(end, xid, ErrorCode::SessionClosedRequireSaslAuth, None, io);
                self.close_connection(end, io);
            }
            (Phase::Connected, ClientFrame::Request { xid, request }) => {
                let op = request.op();
                self.on_request(end, (session, xid), op, Ask::Client(request), stores, io);
            }
            (Phase::Connected, ClientFrame::Malformed { xid, op, error, body }) => {
                let err = refusal_of_malformed(op, &error, &body);
                self.on_request(end, (session, xid), op, Ask::Malformed { op, body, err }, stores, io);
            }
            (Phase::Connected, ClientFrame::Unknown { xid, code: _, body: _ }) => {
                if self.touch_session(end, session, stores, io) {
                    self.count_outstanding(end, xid);
                    self.refuse_unimplemented(end, xid, io);
                }
            }
            // The bytes of one kind of frame do not read as the other: the real server trips over them and cuts the client off.
            (
                Phase::Fresh,
                ClientFrame::Request { .. } | ClientFrame::Malformed { .. } | ClientFrame::Unknown { .. },
            )
            | (Phase::Connected | Phase::Connecting, _) => self.close_connection(end, io),
        }
    }

    /// A proof of who the client is (§6.5): looked at by whoever reads the connection, not ordered with its requests.
    fn on_auth(&mut self, end: EndId, xid: Xid, packet: &AuthPacket, io: &mut Io<'_, Coordinator>) {
        let connection = self.connections.get(end).expect("a connection that is read is open");
        let (address, known) = (self.address(connection.peer), &connection.ids);
        let super_digest = self.config.super_digest.as_deref();
        match authenticate(packet.scheme.as_deref(), &packet.auth, address, super_digest) {
            Ok(proved) => {
                let new = proved.into_iter().filter(|id| !known.contains(id));
                let ids = known.iter().cloned().chain(new).collect();
                self.connections.get_mut(end).expect("it was there").ids = ids;
                self.reply_at_once(end, xid, ErrorCode::Ok, None, io);
            }
            Err(_) => {
                self.reply_at_once(end, xid, ErrorCode::AuthFailed, None, io);
                self.close_connection(end, io);
            }
        }
    }

    /// Whether a connection has proved what every client must (`enforce.auth.schemes`).
    fn is_authenticated(&self, end: EndId) -> bool {
        self.config
            .enforced_auth
            .as_ref()
            .is_none_or(|schemes| self.connections.ids(end).iter().any(|id| schemes.contains(&id.scheme)))
    }

    /// Sends a frame, and counts it.
    pub(super) fn send(&mut self, end: EndId, frame: ServerFrame, io: &mut Io<'_, Coordinator>) {
        self.statistics.sent += 1;
        if let Some(connection) = self.connections.get_mut(end) {
            connection.statistics.sent += 1;
        }
        io.send(end, ClientPacket::ToClient(frame));
    }

    /// Answers outside of the pipeline: such replies have no zxid.
    fn reply_at_once(
        &mut self,
        end: EndId,
        xid: Xid,
        err: ErrorCode,
        response: Option<Response>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let header = ReplyHeader { xid, zxid: Some(Zxid::ZERO), err };
        self.send(end, ServerFrame::Reply { header, response }, io);
    }

    /// `processPacket` and `submitRequestNow`.
    fn on_request(
        &mut self,
        end: EndId,
        (session, xid): (SessionId, Xid),
        op: OpCode,
        ask: Ask,
        stores: &Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        self.count_outstanding(end, xid);
        if !self.touch_session(end, session, stores, io) {
            // The session is unknown or closing: dropped without a reply.
            return;
        }
        if !is_valid(op, self.config.release) {
            self.refuse_unimplemented(end, xid, io);
            return;
        }
        let ids = self.connections.ids(end);
        let is_local = op == OpCode::CloseSession && self.is_local(session);
        let since = io.now();
        let mut request = Request { is_local, since, ..Request::of_client(end, session, xid, ask, ids) };
        self.upgrade_for(&mut request, io);
        self.submit_of_client(request, io);
    }

    /// Queues a client's request and counts it.
    pub(super) fn submit_of_client(&mut self, request: Request, io: &mut Io<'_, Coordinator>) {
        self.in_process += 1;
        self.submit(request, io);
    }

    fn touch_session(
        &mut self,
        end: EndId,
        session: SessionId,
        stores: &Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> bool {
        let timeout_ms = self.connections.get(end).map_or(0, |connection| connection.timeout_ms);
        self.touch_known(session, timeout_ms, stores.db, io.now())
    }

    /// `incrOutstandingAndCheckThrottle`: while the server has too much to do, a connection with anything outstanding is not read.
    fn count_outstanding(&mut self, end: EndId, xid: Xid) {
        let overloaded = self.is_overloaded();
        if let Some(connection) = self.connections.get_mut(end)
            && xid.value() > 0
        {
            connection.outstanding += 1;
            connection.throttled |= overloaded;
        }
    }

    /// `decrOutstandingAndCheckThrottle`, with a reply.
    pub(super) fn count_answered(
        &mut self,
        end: EndId,
        xid: Xid,
        stores: &mut Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let overloaded = self.is_overloaded();
        let Some(connection) = self.connections.get_mut(end) else { return };
        if xid.value() <= 0 {
            return;
        }
        connection.outstanding = connection.outstanding.saturating_sub(1);
        if connection.throttled && !(overloaded && connection.outstanding > 0) {
            connection.throttled = false;
            self.read_frames(end, stores, io);
        }
    }

    fn is_overloaded(&self) -> bool {
        // An ensemble of more than two shares the limit among the learners.
        let voters = u32::try_from(self.quorums.current().voters().len()).expect("a server id fits a byte");
        let limit = match voters {
            _ if self.serving == Some(Serving::Observer) => self.config.global_outstanding_limit,
            0..=2 => self.config.global_outstanding_limit,
            _ => self.config.global_outstanding_limit / (voters - 1),
        };
        self.in_process > limit as usize
    }

    /// An operation this server lacks, or no client may ask for: an answer, then the end of the connection.
    fn refuse_unimplemented(&mut self, end: EndId, xid: Xid, io: &mut Io<'_, Coordinator>) {
        let header = ReplyHeader { xid, zxid: None, err: ErrorCode::Unimplemented };
        self.send(end, ServerFrame::Reply { header, response: None }, io);
        self.close_connection(end, io);
    }

    /// A connection is gone by itself.
    pub fn on_lost(&mut self, end: EndId) {
        self.forget_connection(end);
    }

    /// Closes a connection from this side; what was sent on it before still arrives.
    pub(super) fn close_connection(&mut self, end: EndId, io: &mut Io<'_, Coordinator>) {
        if self.forget_connection(end) {
            io.close(end);
        }
    }

    /// Whether there was one.
    fn forget_connection(&mut self, end: EndId) -> bool {
        self.connection_expiry.remove(end);
        // With the connection go its watches, or nothing would ever remove them (ZOOKEEPER-1382).
        self.watches.drop_connection(end);
        self.connections.remove(end).is_some()
    }
}
