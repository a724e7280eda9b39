//! The session's state machine.

use std::sync::Arc;

use jute::client::{
    ClientFrame, ClientPacket, ConnectRequest, ConnectResponse, ReplyHeader, Request, Response, ServerFrame,
    WatcherEvent,
};
use jute::op::{ErrorCode, KeeperState};
use jute::{Buffer, SessionId, Xid, Zxid};
use machine::{EndId, Input, InputOf, Instant, Io, Loss, Never, Span, Vocabulary};

use crate::in_flight::{Answered, InFlight, Purpose};
use crate::link::{Link, Timeouts};
use crate::servers::ServerList;
use crate::watches::Watches;
use crate::{
    DisconnectCause, ExpiredBy, OpId, Outcome, Rejected, WatchKind, WatchedEvent, ZkClientConfig, ZkClientFact,
    ZkClientMark, ZkEvent,
};

const SHUFFLE: machine::Purpose = machine::Purpose::new("zkclient-shuffle");
const RECONNECT: machine::Purpose = machine::Purpose::new("zkclient-reconnect-delay");

/// Java sleeps so long after it closed a socket, and only then completes what was in flight.
const CLOSE_PAUSE: Span = Span::millis(100);
/// A reconnect sleeps less than so many milliseconds first.
const RECONNECT_DELAY_MS: u64 = 1000;
/// Length of a session's password.
const PASSWORD_LEN: usize = 16;

/// A ZooKeeper session; see the crate's documentation.
///
/// The order of calls: [`start`](Self::start) once, then [`handle`](Self::handle) for every input on an end it
/// [owns](Self::owns) and for every wake, and commands ([`submit`](Self::submit), [`close`](Self::close)) in between.
#[derive(Clone, Debug)]
pub struct ZkClient {
    config: Arc<ZkClientConfig>,
    servers: ServerList,
    timeouts: Timeouts,
    link: Link,
    closing: bool,
    /// Whether any TCP connection was ever made: only then a connect is a reconnect, which is delayed.
    primed: bool,
    session: SessionId,
    password: Buffer,
    last_zxid: Zxid,
    /// The server that last confirmed the session.
    session_server: Option<Arc<str>>,
    last_send: Instant,
    last_heard: Instant,
    in_flight: InFlight,
    watches: Watches,
    /// The state last told; one that repeats is not told again.
    told: Option<KeeperState>,
}

impl Vocabulary for ZkClient {
    type Message = ClientPacket;
    type Work = Never;
    type Fact = ZkClientFact;
}

impl ZkClient {
    /// A client that has no session yet.
    ///
    /// # Panics
    /// If the configuration names no server, or its timeout is too short for the number of servers.
    #[must_use]
    pub fn new(config: impl Into<Arc<ZkClientConfig>>) -> Self {
        let config = config.into();
        let servers = ServerList::new(config.servers.clone());
        let timeouts = Timeouts::of(config.session_timeout_ms, servers.len());
        assert!(timeouts.connect > Span::ZERO, "less than a millisecond to connect to each server");
        Self {
            servers,
            timeouts,
            link: Link::Unstarted,
            closing: false,
            primed: false,
            session: SessionId::ZERO,
            password: Buffer::new(vec![0; PASSWORD_LEN]),
            last_zxid: Zxid::ZERO,
            session_server: None,
            last_send: Instant::ZERO,
            last_heard: Instant::ZERO,
            in_flight: InFlight::new(),
            watches: Watches::default(),
            told: None,
            config,
        }
    }

    /// Shuffles the host list and dials the first server.
    ///
    /// # Panics
    /// If it was started before.
    pub fn start(&mut self, io: &mut Io<'_, Self>) {
        assert_eq!(self.link, Link::Unstarted, "a client starts once");
        self.servers.shuffle(io.draw(SHUFFLE));
        self.last_heard = io.now();
        let mut events = Vec::new();
        self.next_server(&mut events, io);
        assert!(events.is_empty(), "nothing is known before the first connect");
    }

    /// Queues an operation; it is written as soon as a server has confirmed the session. A `watch` in the request is
    /// registered when the reply arrives. Everything else of the request is taken as it is.
    ///
    /// # Errors
    /// See [`Rejected`]: such an operation surely has no effect.
    ///
    /// # Panics
    /// For requests that are the client's own: ping, setWatches, closeSession, auth.
    pub fn submit(&mut self, request: Request, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        if self.closing || self.link == Link::Dead {
            return Err(Rejected::Closed);
        }
        let watch = crate::command::watch_of(&request);
        if self.in_flight.operations() >= self.config.operations_max {
            return Err(Rejected::Full);
        }
        if watch.is_some() && self.watches.len() + self.in_flight.watches_due() >= self.config.watches_max {
            return Err(Rejected::Full);
        }
        let op = self.in_flight.queue_operation(request, watch);
        self.flush(io);
        Ok(op)
    }

    /// Ends the session: sends closeSession behind what is queued, and tells `Closed` when it is answered or the connection
    /// is lost; a session whose end no server confirmed lives on until it expires. Later operations are rejected.
    #[must_use]
    pub fn close(&mut self, io: &mut Io<'_, Self>) -> Vec<ZkEvent> {
        let mut events = Vec::new();
        if self.closing || self.link == Link::Dead {
            return events;
        }
        self.closing = true;
        if self.link == Link::Unstarted {
            self.die_closed(false, &mut events, io);
            return events;
        }
        self.in_flight.queue_close();
        self.flush(io);
        events
    }

    /// Feeds one input. What the parent must know is returned, in order.
    ///
    /// # Panics
    /// If the input can only be the parent's: a part accepts, syncs and defers nothing.
    #[must_use]
    pub fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) -> Vec<ZkEvent> {
        let mut events = Vec::new();
        match input {
            Input::Woken => self.on_woken(&mut events, io),
            Input::Opened { on } if self.owns(on) => self.on_opened(on, &mut events, io),
            Input::Refused { on } if self.owns(on) => self.disconnect(DisconnectCause::Refused, &mut events, io),
            Input::Lost { on, why } if self.owns(on) => {
                let cause = match why {
                    Loss::Closed => DisconnectCause::Closed,
                    Loss::Reset => DisconnectCause::Reset,
                };
                self.disconnect(cause, &mut events, io);
            }
            Input::Message { on, message } if self.owns(on) => self.on_packet(on, message, &mut events, io),
            // Late: the end was given up while this was under way.
            Input::Opened { .. } | Input::Refused { .. } | Input::Lost { .. } | Input::Message { .. } => {}
            Input::Turn { work, .. } => match work {},
            Input::Accepted { .. } | Input::Datagram { .. } | Input::Durable { .. } | Input::Terminate => {
                panic!("an input of the parent reached its ZooKeeper client: {input:?}")
            }
        }
        self.check();
        events
    }

    /// Whether this end is the client's.
    #[must_use]
    pub fn owns(&self, end: EndId) -> bool {
        self.link.end() == Some(end)
    }

    /// When it next wants to be woken.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        match self.link {
            Link::Unstarted | Link::Dead => None,
            Link::Pausing { until } | Link::Waiting { until } => Some(until),
            Link::Connecting { .. } | Link::Associating { .. } => {
                Some(self.connect_deadline().min(self.expiration_deadline()))
            }
            // 2T/3 comes before 4T/3.
            Link::Connected { ping_at, .. } => Some(ping_at.min(self.read_deadline())),
        }
    }

    /// The full check; panics if the state contradicts itself.
    pub fn check_invariants(&self) {
        self.in_flight.check_invariants();
        self.check();
    }

    /// What every input leaves true.
    fn check(&self) {
        assert!(self.in_flight.operations() <= self.config.operations_max, "operations stay within their limit");
        assert!(self.watches.len() <= self.config.watches_max, "watches stay within their limit");
        match self.link {
            Link::Connected { .. } => {
                assert!(!self.session.is_zero(), "a connected client has a session");
                assert!(!self.in_flight.has_queued(), "a connected client writes at once");
            }
            Link::Dead => {
                assert!(
                    !self.in_flight.has_queued() && !self.in_flight.has_pending(),
                    "a dead client has nothing in flight"
                )
            }
            Link::Unstarted | Link::Waiting { .. } | Link::Connecting { .. } | Link::Associating { .. } => {
                assert!(!self.in_flight.has_pending(), "nothing is written before the session is confirmed");
            }
            // What was pending completes when the pause is over.
            Link::Pausing { .. } => {}
        }
    }

    fn read_deadline(&self) -> Instant {
        self.last_heard.saturating_add(self.timeouts.read)
    }

    fn connect_deadline(&self) -> Instant {
        self.last_send.saturating_add(self.timeouts.connect)
    }

    /// Only an established session expires on this side.
    fn expiration_deadline(&self) -> Instant {
        if self.session.is_zero() { Instant::MAX } else { self.last_heard.saturating_add(self.timeouts.expiration) }
    }

    fn on_woken(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let now = io.now();
        match self.link {
            Link::Unstarted | Link::Dead => {}
            Link::Pausing { until } => {
                if until <= now {
                    self.on_pause_over(events, io);
                }
            }
            Link::Waiting { until } => {
                if until <= now {
                    self.dial(events, io);
                }
            }
            Link::Connecting { .. } | Link::Associating { .. } => {
                if self.expiration_deadline() <= now {
                    self.expire(ExpiredBy::Client, events, io);
                } else if self.connect_deadline() <= now {
                    self.disconnect(DisconnectCause::ConnectTimeout, events, io);
                }
            }
            Link::Connected { end, ping_at } => {
                if self.expiration_deadline() <= now {
                    // Only a process that was stopped finds itself connected and so late.
                    self.expire(ExpiredBy::Client, events, io);
                } else if self.read_deadline() <= now {
                    io.reach(ZkClientMark::ReadTimeout);
                    self.disconnect(DisconnectCause::ReadTimeout, events, io);
                } else if ping_at <= now {
                    self.send_ping(end, io);
                }
            }
        }
    }

    /// Chooses the next server, and dials it at once or sleeps first.
    fn next_server(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let mut delay = self.servers.advance();
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
    fn dial(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let address = self.servers.current().expect("a server was chosen").address;
        self.last_send = io.now();
        self.link = Link::Connecting { end: io.connect(address) };
        if self.expiration_deadline() <= io.now() {
            self.expire(ExpiredBy::Client, events, io);
        }
    }

    fn on_opened(&mut self, end: EndId, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        if self.link != (Link::Connecting { end }) {
            return self.disconnect(DisconnectCause::UnexpectedFrame, events, io);
        }
        self.primed = true;
        self.link = Link::Associating { end };
        // Watches are listed now, with the zxid of now; they leave behind the ConnectResponse and before what is queued.
        // Each batch is put in front of the one before.
        let batches = self.watches.batches(self.last_zxid);
        if batches.len() > 1 {
            io.reach(ZkClientMark::ManyBatches);
        }
        for batch in batches {
            self.in_flight.queue_watches_first(batch);
        }
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: self.config.session_timeout_ms,
            session: self.session,
            password: self.password.clone(),
            read_only: Some(false),
        };
        self.send(end, ClientFrame::Connect(request), io);
    }

    fn on_packet(&mut self, end: EndId, packet: ClientPacket, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        self.last_heard = io.now();
        match (self.link, packet) {
            (Link::Associating { .. }, ClientPacket::ToClient(ServerFrame::Connect(response))) => {
                self.on_connect_response(end, response, events, io);
            }
            (Link::Connected { .. }, ClientPacket::ToClient(ServerFrame::Reply { header, response })) => {
                self.on_reply(&header, response, events, io);
            }
            (Link::Connected { .. }, ClientPacket::ToClient(ServerFrame::Notification { zxid, event })) => {
                self.on_notification(zxid, &event, events, io);
            }
            (Link::Unstarted | Link::Pausing { .. } | Link::Waiting { .. } | Link::Dead, _) => {
                unreachable!("a client without an end owns none")
            }
            (
                Link::Connecting { .. } | Link::Associating { .. } | Link::Connected { .. },
                ClientPacket::ToServer(_) | ClientPacket::ToClient(_) | ClientPacket::Word(_) | ClientPacket::Text(_),
            ) => self.disconnect(DisconnectCause::UnexpectedFrame, events, io),
        }
        self.look_at_ping(io);
    }

    /// Every turn of Java's loop asks anew when the next ping is due, and sends one that is.
    fn look_at_ping(&mut self, io: &mut Io<'_, Self>) {
        let Link::Connected { end, .. } = self.link else { return };
        let now = io.now();
        let ping_at = self.last_send + self.timeouts.ping_after(now.saturating_since(self.last_send));
        self.link = Link::Connected { end, ping_at };
        if ping_at <= now {
            self.send_ping(end, io);
        }
    }

    fn send_ping(&mut self, end: EndId, io: &mut Io<'_, Self>) {
        self.send(end, ClientFrame::Request { xid: Xid::PING, request: Request::Ping }, io);
        self.link = Link::Connected { end, ping_at: io.now() + self.timeouts.ping_after(Span::ZERO) };
    }

    fn send(&mut self, end: EndId, frame: ClientFrame, io: &mut Io<'_, Self>) {
        io.send(end, ClientPacket::ToServer(frame));
        self.last_send = io.now();
    }

    fn on_connect_response(
        &mut self,
        end: EndId,
        response: ConnectResponse,
        events: &mut Vec<ZkEvent>,
        io: &mut Io<'_, Self>,
    ) {
        if response.timeout_ms <= 0 {
            return self.expire(ExpiredBy::Server, events, io);
        }
        assert!(
            self.session.is_zero() || self.session == response.session,
            "session {} was continued as {}",
            self.session,
            response.session
        );
        let resumed = !self.session.is_zero();
        self.session = response.session;
        self.password = response.password;
        self.timeouts = Timeouts::of(response.timeout_ms, self.servers.len());
        self.servers.on_connected();
        let session = self.session;
        let server = Arc::clone(&self.servers.current().expect("it answered").name);
        let before = self.session_server.replace(Arc::clone(&server));
        io.state(ZkClientFact::SessionConnected {
            session,
            server: Arc::clone(&server),
            timeout_ms: response.timeout_ms,
            resumed,
        });
        if let Some(from) = before.filter(|from| *from != server) {
            io.reach(ZkClientMark::Moved);
            io.state(ZkClientFact::SessionMoved { session, from, to: Arc::clone(&server) });
        } else if resumed {
            io.reach(ZkClientMark::Resumed);
        }
        if self.told.replace(KeeperState::SyncConnected) != Some(KeeperState::SyncConnected) {
            events.push(ZkEvent::Connected { session, server });
        }
        self.link = Link::Connected { end, ping_at: self.last_send + self.timeouts.ping_after(Span::ZERO) };
        self.flush(io);
    }

    /// Writes what is queued, numbering it on the way, if the session is confirmed.
    fn flush(&mut self, io: &mut Io<'_, Self>) {
        let Link::Connected { end, .. } = self.link else { return };
        if !self.in_flight.has_queued() {
            return;
        }
        while let Some((xid, request)) = self.in_flight.write_next() {
            if let Request::SetWatches(batch) = &request {
                let watches = batch.data_watches.len() + batch.exist_watches.len() + batch.child_watches.len();
                io.state(ZkClientFact::WatchesResent {
                    session: self.session,
                    relative_zxid: batch.relative_zxid,
                    watches: watches as u64,
                });
            }
            self.send(end, ClientFrame::Request { xid, request }, io);
        }
        self.look_at_ping(io);
    }

    fn on_reply(
        &mut self,
        header: &ReplyHeader,
        response: Option<Response>,
        events: &mut Vec<ZkEvent>,
        io: &mut Io<'_, Self>,
    ) {
        if header.xid == Xid::PING || header.xid == Xid::AUTH {
            return;
        }
        let purpose = match self.in_flight.answer(header.xid) {
            Answered::InOrder(purpose) => purpose,
            Answered::OutOfOrder(purpose) => {
                events.extend(purpose.completed(Outcome::ConnectionLoss));
                return self.disconnect(DisconnectCause::XidOutOfOrder, events, io);
            }
            Answered::Unasked => return self.disconnect(DisconnectCause::XidOutOfOrder, events, io),
        };
        if let Some(zxid) = header.zxid.filter(|&zxid| zxid > Zxid::ZERO) {
            self.last_zxid = zxid;
        }
        match purpose {
            Purpose::Operation { op, watch } => {
                if let Some((kind, path)) = watch {
                    self.register(kind, path, header, io);
                }
                let zxid = header.zxid;
                let outcome = if header.err == ErrorCode::Ok {
                    Outcome::Ok { response, zxid }
                } else {
                    Outcome::Error { code: header.err, zxid }
                };
                events.push(ZkEvent::Completed { op, outcome });
            }
            Purpose::Watches => {}
            Purpose::Close => self.die_closed(true, events, io),
        }
    }

    fn register(&mut self, kind: WatchKind, path: Arc<str>, header: &ReplyHeader, io: &mut Io<'_, Self>) {
        let kind = match (kind, header.err) {
            (kind, ErrorCode::Ok) => kind,
            (WatchKind::Exist, ErrorCode::NoNode) => WatchKind::Exist,
            (WatchKind::Data | WatchKind::Exist | WatchKind::Child, _) => return,
        };
        // An exists that found something watches its data.
        let kind = if kind == WatchKind::Exist && header.err == ErrorCode::Ok { WatchKind::Data } else { kind };
        io.state(ZkClientFact::WatchSet {
            session: self.session,
            path: Arc::clone(&path),
            watch: kind,
            zxid: header.zxid,
        });
        self.watches.register(kind, path);
    }

    fn on_notification(
        &mut self,
        zxid: Option<Zxid>,
        event: &WatcherEvent,
        events: &mut Vec<ZkEvent>,
        io: &mut Io<'_, Self>,
    ) {
        self.told = Some(event.state);
        let path: Arc<str> = Arc::from(event.path.as_str());
        let consumed = self.watches.consume(event.event, &path);
        io.state(ZkClientFact::WatchDelivered {
            session: self.session,
            path: Arc::clone(&path),
            consumed,
            event: event.event,
            zxid,
        });
        if consumed.is_empty() {
            io.reach(ZkClientMark::Unwatched);
            return;
        }
        if self.in_flight.is_setting_watches() {
            io.reach(ZkClientMark::CaughtUp);
        }
        events.push(ZkEvent::Watch(WatchedEvent { event: event.event, path, zxid, consumed }));
    }

    /// Gives up the connection. Operations complete when the pause is over, with those that are submitted meanwhile.
    fn disconnect(&mut self, cause: DisconnectCause, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let end = self.link.end().expect("a connection to give up");
        match cause {
            DisconnectCause::Refused | DisconnectCause::Closed | DisconnectCause::Reset => {}
            DisconnectCause::ConnectTimeout
            | DisconnectCause::ReadTimeout
            | DisconnectCause::XidOutOfOrder
            | DisconnectCause::UnexpectedFrame => io.close(end),
        }
        if let (Link::Connected { .. }, Some(server)) = (self.link, &self.session_server) {
            let server = Arc::clone(server);
            io.state(ZkClientFact::SessionDisconnected { session: self.session, server, cause });
            if self.in_flight.has_pending() {
                io.reach(ZkClientMark::LostInFlight);
            }
        }
        self.link = Link::Pausing { until: io.now() + CLOSE_PAUSE };
        if self.closing {
            self.die_closed(false, events, io);
        }
    }

    fn on_pause_over(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        self.in_flight.complete_all(&Outcome::ConnectionLoss, events);
        if self.told.replace(KeeperState::Disconnected) != Some(KeeperState::Disconnected) {
            events.push(ZkEvent::Disconnected);
        }
        if self.closing {
            return self.die_closed(false, events, io);
        }
        self.next_server(events, io);
    }

    /// The session is over. Simplified: Java tells Expired first and sleeps 100 ms before it completes operations; here they
    /// complete first, so that a parent may drop the client at Expired.
    fn expire(&mut self, by: ExpiredBy, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        io.reach(match by {
            ExpiredBy::Server => ZkClientMark::ExpiredByServer,
            ExpiredBy::Client => ZkClientMark::ExpiredByClient,
        });
        io.state(ZkClientFact::SessionExpired { session: self.session, by });
        self.die(&Outcome::SessionExpired, events, io);
        events.push(ZkEvent::Expired);
    }

    fn die_closed(&mut self, confirmed: bool, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        io.state(ZkClientFact::SessionClosed { session: self.session, confirmed });
        self.die(if confirmed { &Outcome::SessionExpired } else { &Outcome::ConnectionLoss }, events, io);
        events.push(ZkEvent::Closed);
    }

    fn die(&mut self, outcome: &Outcome, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        if let Some(end) = self.link.end() {
            io.close(end);
        }
        self.in_flight.complete_all(outcome, events);
        self.link = Link::Dead;
    }
}

/// What may be asked of it at any time.
impl ZkClient {
    /// Whether a server has confirmed the session on the present connection.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected { .. })
    }

    /// Whether it is neither expired nor closed.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        !matches!(self.link, Link::Dead)
    }

    /// The session; zero before a server made one.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The name of the server it talks to, or talked to last.
    #[must_use]
    pub const fn server(&self) -> Option<&Arc<str>> {
        self.session_server.as_ref()
    }

    /// The zxid of the last reply: what a server must have applied to be talked to.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Operations queued and pending.
    #[must_use]
    pub const fn operations(&self) -> usize {
        self.in_flight.operations()
    }

    /// Whether this watch is set.
    #[must_use]
    pub fn is_watching(&self, kind: WatchKind, path: &str) -> bool {
        self.watches.contains(kind, path)
    }

    pub(crate) const fn link(&self) -> Link {
        self.link
    }

    pub(crate) fn watch_count(&self) -> usize {
        self.watches.len()
    }
}
