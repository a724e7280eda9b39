//! The way to a server, the handshake, the loss of a connection, and the end.

use std::sync::Arc;

use jute::SessionId;
use jute::client::{ClientFrame, ConnectRequest, ConnectResponse};
use jute::op::KeeperState;
use machine::{EndId, Io, Span};

use super::{ZkClient, packet_of};
use crate::link::{Link, Timeouts};
use crate::{DisconnectCause, ExpiredBy, Outcome, ZkClientFact, ZkClientMark, ZkEvent};

const RECONNECT: machine::Purpose = machine::Purpose::new("zkclient-reconnect-delay");
const REBALANCE: machine::Purpose = super::REBALANCE;

/// Java sleeps so long after it closed a socket, and only then completes what was in flight.
const CLOSE_PAUSE: Span = Span::millis(100);
/// A reconnect sleeps less than so many milliseconds first.
const RECONNECT_DELAY_MS: u64 = 1000;

impl ZkClient {
    /// Chooses the next server, and dials it at once or sleeps first.
    pub(super) fn next_server(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let mut delay = Span::ZERO;
        self.dialled = self.search.take_found();
        if self.dialled.is_none() {
            delay += self.servers.advance(|| io.draw(REBALANCE));
            self.dialled = self.servers.current().cloned();
        }
        // The Java client sets `isFirstConnect` to false when a TCP connection is made: servers that refuse it before that
        // are tried without this delay.
        if self.primed {
            delay += Span::millis(io.draw(RECONNECT).below(RECONNECT_DELAY_MS));
        }
        let now = io.now();
        if delay > Span::ZERO {
            self.link = Link::Waiting { until: now + delay };
        } else {
            self.dial(events, io);
        }
    }

    /// Dials. Java looks at the clocks only now, with the connect under way, and not while it sleeps before.
    pub(super) fn dial(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let address = self.dialled.as_ref().expect("a server was chosen").address;
        self.last_send = io.now();
        self.link = Link::Connecting { end: io.connect(address) };
        if self.expiration_deadline() <= io.now() {
            self.expire(ExpiredBy::Client, events, io);
        }
    }

    pub(super) fn on_opened(&mut self, end: EndId, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        if self.link != (Link::Connecting { end }) {
            return self.disconnect(DisconnectCause::UnexpectedFrame, events, io);
        }
        self.primed = true;
        self.link = Link::Associating { end };
        // Watches are listed now, with the zxid of now; they leave behind the ConnectResponse and before what is queued.
        // Each batch is put in front of the one before, then each identity in front of everything.
        if !self.config.disable_auto_watch_reset {
            let batches = self.watches.batches(self.last_zxid, &self.config.chroot);
            if batches.len() > 1 {
                io.reach(ZkClientMark::ManyBatches);
            }
            for batch in batches {
                self.in_flight.queue_watches_first(batch);
            }
        }
        for info in &self.auth {
            self.in_flight.queue_auth_first(packet_of(info));
        }
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: self.config.session_timeout_ms,
            session: self.known_session(),
            password: self.password.clone(),
            read_only: Some(self.config.can_be_read_only),
        };
        self.send(end, ClientFrame::Connect(request), io);
    }

    /// The session that it asks a server to continue: what a server without an ensemble made is known to that one alone.
    fn known_session(&self) -> SessionId {
        if self.seen_read_write { self.session } else { SessionId::ZERO }
    }

    pub(super) fn on_connect_response(
        &mut self,
        end: EndId,
        response: ConnectResponse,
        events: &mut Vec<ZkEvent>,
        io: &mut Io<'_, Self>,
    ) {
        if response.timeout_ms <= 0 {
            return self.expire(ExpiredBy::Server, events, io);
        }
        let asked = self.known_session();
        assert!(asked.is_zero() || asked == response.session, "session {asked} was continued as {}", response.session);
        let resumed = !asked.is_zero();
        self.session = response.session;
        self.password = response.password;
        self.timeouts = Timeouts::of(response.timeout_ms, self.servers.len());
        self.servers.on_connected();
        self.is_read_only = response.read_only == Some(true);
        self.seen_read_write |= !self.is_read_only;
        self.state_connected(resumed, response.timeout_ms, io);
        let (session, server) = (self.session, self.server().cloned().expect("it has just answered"));
        let (state, event) = if self.is_read_only {
            (KeeperState::ConnectedReadOnly, ZkEvent::ConnectedReadOnly { session, server })
        } else {
            (KeeperState::SyncConnected, ZkEvent::Connected { session, server })
        };
        self.tell(state, event, events);
        self.link = Link::Connected { end, ping_at: self.last_send + self.timeouts.ping_after(Span::ZERO) };
        self.flush(io);
    }

    fn state_connected(&mut self, resumed: bool, timeout_ms: i32, io: &mut Io<'_, Self>) {
        let session = self.session;
        let server = Arc::clone(&self.dialled.as_ref().expect("it answered").name);
        let before = self.session_server.replace(Arc::clone(&server)).filter(|_| resumed);
        if self.is_read_only {
            io.reach(ZkClientMark::ReadOnly);
            io.state(ZkClientFact::ReadOnlyConnected { session, server, timeout_ms });
            return;
        }
        io.state(ZkClientFact::SessionConnected { session, server: Arc::clone(&server), timeout_ms, resumed });
        if let Some(from) = before.filter(|from| *from != server) {
            io.reach(ZkClientMark::Moved);
            io.state(ZkClientFact::SessionMoved { session, from, to: server });
        } else if resumed {
            io.reach(ZkClientMark::Resumed);
        }
    }

    /// Tells the parent of a state, unless it was the last that was told.
    fn tell(&mut self, state: KeeperState, event: ZkEvent, events: &mut Vec<ZkEvent>) {
        if self.told.replace(state) == Some(state) {
            return;
        }
        if self.config.disable_auto_watch_reset && state != KeeperState::SyncConnected {
            self.watches.clear();
        }
        events.push(event);
    }

    /// Gives up the connection. Operations complete when the pause is over, with those that are submitted meanwhile.
    pub(super) fn disconnect(&mut self, cause: DisconnectCause, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let end = self.link.end().expect("a connection to give up");
        match cause {
            DisconnectCause::Refused | DisconnectCause::Closed | DisconnectCause::Reset => {}
            DisconnectCause::ConnectTimeout
            | DisconnectCause::ReadTimeout
            | DisconnectCause::XidOutOfOrder
            | DisconnectCause::UnexpectedFrame
            | DisconnectCause::FrameTooLong
            | DisconnectCause::RequestTimeout
            | DisconnectCause::ReadWriteServerFound
            | DisconnectCause::ServersChanged => io.close(end),
        }
        if let (Link::Connected { .. }, Some(server)) = (self.link, &self.session_server) {
            let server = Arc::clone(server);
            io.state(ZkClientFact::SessionDisconnected { session: self.session, server, cause });
            if self.in_flight.has_pending() {
                io.reach(ZkClientMark::LostInFlight);
            }
        }
        self.search.give_up(io);
        self.link = Link::Pausing { until: io.now() + CLOSE_PAUSE };
        if self.closing {
            self.die_closed(false, events, io);
        }
    }

    pub(super) fn on_pause_over(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        self.end_all(&Outcome::ConnectionLoss, events, io);
        self.tell(KeeperState::Disconnected, ZkEvent::Disconnected, events);
        if self.closing {
            return self.die_closed(false, events, io);
        }
        self.next_server(events, io);
    }

    /// The session is over. Simplified: Java tells Expired first and sleeps 100 ms before it completes operations; here they
    /// complete first, so that a parent may drop the client at Expired.
    pub(super) fn expire(&mut self, by: ExpiredBy, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        io.reach(match by {
            ExpiredBy::Server => ZkClientMark::ExpiredByServer,
            ExpiredBy::Client => ZkClientMark::ExpiredByClient,
        });
        io.state(ZkClientFact::SessionExpired { session: self.session, by });
        self.die(&Outcome::SessionExpired, events, io);
        events.push(ZkEvent::Expired);
    }

    pub(super) fn die_closed(&mut self, confirmed: bool, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        io.state(ZkClientFact::SessionClosed { session: self.session, confirmed });
        self.die(if confirmed { &Outcome::SessionExpired } else { &Outcome::ConnectionLoss }, events, io);
        events.push(ZkEvent::Closed);
    }

    /// A server refused an identity: nothing more can be done with this client.
    pub(super) fn fail_auth(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        io.state(ZkClientFact::AuthFailed { session: self.session });
        self.auth_failed = true;
        self.die(&Outcome::AuthFailed, events, io);
        events.push(ZkEvent::AuthFailed);
    }

    fn die(&mut self, outcome: &Outcome, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        if let Some(end) = self.link.end() {
            io.close(end);
        }
        self.search.give_up(io);
        self.end_all(outcome, events, io);
        self.link = Link::Dead;
    }
}
