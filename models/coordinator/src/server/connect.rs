//! How a connection gets its session (zookeeper.md §7.1–7.4, §7.7).

use jute::client::{ConnectRequest, ConnectResponse, ServerFrame};
use jute::password::session_password;
use jute::{Buffer, SessionId, Xid};
use machine::{EndId, Io};

use super::connection::Phase;
use super::request::{Ask, Owner, Request, nobody};
use super::session_tracker::{Tracking, span_of_ms};
use super::{Server, ServerEvent, Serving, Stores};
use crate::defect::Defect;
use crate::{Coordinator, CoordinatorMark, Fact};

impl Server {
    /// `processConnectRequest`, in its order.
    pub(super) fn on_connect(
        &mut self,
        end: EndId,
        request: &ConnectRequest,
        stores: &mut Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        if self.is_read_only() && request.read_only != Some(true) {
            // It must find a server with a leader.
            self.close_connection(end, io);
            return;
        }
        let takes_anybody = self.config.defects.has(Defect::AcceptsClientsAhead);
        if request.last_zxid_seen > stores.db.last_processed() && !takes_anybody {
            // It must find a server that has seen as much: no answer, or it would take its session for lost.
            io.reach(CoordinatorMark::ClientAheadOfServer);
            self.close_connection(end, io);
            return;
        }
        let timeout_ms = self.negotiate(request.timeout_ms);
        let connection = self.connections.get_mut(end).expect("a connection that is read is open");
        connection.read_only = request.read_only;
        connection.timeout_ms = timeout_ms;
        connection.phase = Phase::Connecting;
        self.connection_expiry.touch(end, span_of_ms(timeout_ms), io.now());
        if request.session.is_zero() {
            self.create_session(end, timeout_ms, io);
        } else {
            self.reopen_session(end, request, timeout_ms, stores, io);
        }
    }

    fn negotiate(&self, requested_ms: i32) -> i32 {
        let millis = |span: machine::Span| i32::try_from(span.as_millis()).unwrap_or(i32::MAX);
        requested_ms.min(millis(self.config.max_session())).max(millis(self.config.min_session()))
    }

    /// A new session costs a write: its answer comes with the commit.
    fn create_session(&mut self, end: EndId, timeout_ms: i32, io: &mut Io<'_, Coordinator>) {
        let session = self.next_session;
        self.next_session = session.next();
        let is_local = self.makes_local_sessions();
        self.connections.bind(end, session);
        if let Some(locals) = &mut self.locals {
            locals.tracker.track(session, timeout_ms, io.now());
        } else {
            if let Tracking::Expiring(tracker) = &mut self.tracking {
                tracker.track(session, timeout_ms, io.now());
            }
            let touched = self.tracking.touch(session, timeout_ms, io.now());
            assert!(touched, "a session that was just minted is not closing");
        }
        let ask = Ask::CreateSession { timeout_ms };
        let request = Request::of_client(end, session, Xid::ZERO, ask, nobody());
        self.submit_of_client(Request { is_local, since: io.now(), ..request }, io);
    }

    fn reopen_session(
        &mut self,
        end: EndId,
        request: &ConnectRequest,
        timeout_ms: i32,
        stores: &mut Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let session = request.session;
        // Before the password is looked at: who does not know it still cuts off who does.
        if let Some(previous) = self.connections.of_session(session) {
            self.close_connection(previous, io);
        }
        self.connections.bind(end, session);
        if request.password.as_slice() != session_password(session) {
            self.finish_session(end, false, stores, io);
            return;
        }
        if let Some(locals) = self.locals.as_mut().filter(|locals| locals.contains(session)) {
            let valid = locals.tracker.touch(session, timeout_ms, io.now());
            self.finish_session(end, valid, stores, io);
            return;
        }
        match self.serving.expect("a connection is read by who serves") {
            Serving::Standalone => {
                let valid = self.tracking.touch(session, timeout_ms, io.now());
                self.finish_session(end, valid, stores, io);
            }
            Serving::Leader { .. } => {
                let valid = self.tracking.touch(session, timeout_ms, io.now());
                if valid {
                    self.own(session, Owner::Me, io);
                }
                self.finish_session(end, valid, stores, io);
            }
            // Only a leader could tell.
            Serving::ReadOnly => self.close_connection(end, io),
            Serving::Follower | Serving::Observer => {
                self.revalidating.insert(session, end);
                self.events.push_back(ServerEvent::Revalidate { session, timeout_ms });
            }
        }
    }

    /// Gives a session that was just touched to an owner.
    fn own(&mut self, session: SessionId, owner: Owner, io: &mut Io<'_, Coordinator>) {
        let Tracking::Expiring(tracker) = &mut self.tracking else { panic!("who knows owners tracks sessions") };
        let previous = tracker.set_owner(session, owner).expect("a session that can be touched is not closing");
        if previous.is_some_and(|previous| previous != owner) {
            io.reach(CoordinatorMark::SessionMoved);
            io.state(Fact::SessionMoved { session });
        }
    }

    /// `finishSessionInit`: the answer to a ConnectRequest, and the end of the connection if it is a refusal.
    pub(super) fn finish_session(
        &mut self,
        end: EndId,
        valid: bool,
        stores: &mut Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let is_read_only = self.is_read_only();
        let Some(connection) = self.connections.get_mut(end) else { return };
        // An old client that did not ask is not told.
        let read_only = connection.read_only.map(|_| is_read_only);
        let response = if valid {
            ConnectResponse {
                protocol_version: 0,
                timeout_ms: connection.timeout_ms,
                session: connection.session,
                password: Buffer::new(session_password(connection.session).to_vec()),
                read_only,
            }
        } else {
            ConnectResponse::refused(read_only)
        };
        if valid {
            connection.phase = Phase::Connected;
        }
        self.send(end, ServerFrame::Connect(response), io);
        if valid {
            self.read_frames(end, stores, io);
        } else {
            self.close_connection(end, io);
        }
    }

    /// Follower: the leader's answer to REVALIDATE.
    pub fn revalidated(
        &mut self,
        session: SessionId,
        valid: bool,
        stores: &mut Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        // Missing: asked twice and answered before, or asked in an earlier term.
        if let Some(end) = self.revalidating.remove(&session) {
            self.finish_session(end, valid, stores, io);
        }
    }

    /// Leader: a learner asks whether one of its clients may have its session back; if so the learner owns it from now on.
    pub fn revalidate(
        &mut self,
        learner: EndId,
        session: SessionId,
        timeout_ms: i32,
        io: &mut Io<'_, Coordinator>,
    ) -> bool {
        let valid = self.touch(session, timeout_ms, io);
        if valid {
            self.own(session, Owner::Learner(learner), io);
        }
        valid
    }

    /// Leader: a learner heard of this session since its last ping. False if it is unknown or closing, or no leader serves.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32, io: &mut Io<'_, Coordinator>) -> bool {
        match &mut self.tracking {
            Tracking::Expiring(tracker) => tracker.touch(session, timeout_ms, io.now()),
            Tracking::Touching(_) => false,
        }
    }

    /// Follower: who was heard of since this was last asked, with their timeouts, ms.
    pub fn take_touches(&mut self) -> Vec<(SessionId, i32)> {
        match &mut self.tracking {
            Tracking::Expiring(_) => Vec::new(),
            Tracking::Touching(touches) => std::mem::take(touches).into_iter().collect(),
        }
    }
}
