//! The session's state machine.

mod connection;
mod conversation;
mod read_write_search;

use std::sync::Arc;

use jute::client::{AuthPacket, ClientPacket, Request, WatchesRequest};
use jute::op::{KeeperState, WatcherType};
use jute::{Buffer, SessionId, Zxid};
use machine::{EndId, Input, InputOf, Instant, Io, Loss, Never, Span, Vocabulary};

use self::read_write_search::ReadWriteSearch;
use crate::in_flight::{InFlight, OnWatches};
use crate::link::{Link, Timeouts};
use crate::servers::ServerList;
use crate::watches::Watches;
use crate::{
    AuthInfo, Defect, DisconnectCause, ExpiredBy, OpId, Rejected, WatchKind, ZkClientConfig, ZkClientFact,
    ZkClientMark, ZkEvent, ZkServer,
};

const SHUFFLE: machine::Purpose = machine::Purpose::new("zkclient-shuffle");
const REBALANCE: machine::Purpose = machine::Purpose::new("zkclient-rebalance");

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
    /// Whom it dials, or talks to.
    dialled: Option<ZkServer>,
    timeouts: Timeouts,
    link: Link,
    /// Whether the server of the present connection has no ensemble.
    is_read_only: bool,
    search: ReadWriteSearch,
    closing: bool,
    /// An identity was refused.
    auth_failed: bool,
    /// Whether any TCP connection was ever made: only then a connect is a reconnect, which is delayed.
    primed: bool,
    session: SessionId,
    password: Buffer,
    /// Whether any server with an ensemble confirmed a session: only then there is one that others know.
    seen_read_write: bool,
    last_zxid: Zxid,
    /// The server that last confirmed the session.
    session_server: Option<Arc<str>>,
    last_send: Instant,
    last_heard: Instant,
    /// Identities that are claimed on every connection, in the order in which they were added.
    auth: Vec<AuthInfo>,
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
            dialled: None,
            timeouts,
            link: Link::Unstarted,
            is_read_only: false,
            search: ReadWriteSearch::new(),
            closing: false,
            auth_failed: false,
            primed: false,
            session: SessionId::ZERO,
            password: Buffer::new(vec![0; PASSWORD_LEN]),
            seen_read_write: false,
            last_zxid: Zxid::ZERO,
            session_server: None,
            last_send: Instant::ZERO,
            last_heard: Instant::ZERO,
            auth: Vec::new(),
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
        self.search.start(io.now());
        for info in Arc::clone(&self.config).auth.iter().cloned() {
            self.add_auth(info, io);
        }
        let mut events = Vec::new();
        self.next_server(&mut events, io);
        assert!(events.is_empty(), "nothing is known before the first connect");
    }

    /// Queues an operation; it is written as soon as a server has confirmed the session. A watch that the request asks for is
    /// registered when the reply arrives, and watches it removes are forgotten then. Paths are those of the client.
    ///
    /// # Errors
    /// See [`Rejected`]: such an operation surely has no effect.
    ///
    /// # Panics
    /// For requests that are the client's own: ping, setWatches, closeSession, auth.
    pub fn submit(&mut self, request: Request, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        let on_watches = crate::command::on_watches_of(&request, false);
        self.queue(request, on_watches, io)
    }

    /// Removes watches of a path. `local` ones go even if no server says so: then the operation succeeds without one.
    ///
    /// # Errors
    /// See [`Rejected`]: such an operation surely has no effect.
    pub fn remove_watches(
        &mut self,
        path: &str,
        watcher_type: WatcherType,
        local: bool,
        io: &mut Io<'_, Self>,
    ) -> Result<OpId, Rejected> {
        let request = Request::RemoveWatches(WatchesRequest { path: path.to_owned(), watcher_type });
        let on_watches = crate::command::on_watches_of(&request, local);
        self.queue(request, on_watches, io)
    }

    fn queue(&mut self, mut request: Request, on_watches: OnWatches, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        if self.auth_failed {
            return Err(Rejected::AuthFailed);
        }
        if self.closing || self.link == Link::Dead {
            return Err(Rejected::Closed);
        }
        crate::command::validate(&request).map_err(Rejected::BadPath)?;
        if self.in_flight.operations() >= self.config.operations_max {
            return Err(Rejected::Full);
        }
        if on_watches.sets_one() && self.watches.len() + self.in_flight.watches_due() >= self.config.watches_max {
            return Err(Rejected::Full);
        }
        self.config.chroot.enter(&mut request);
        let patience = self.config.request_timeout;
        let deadline = (patience > Span::ZERO).then(|| io.now() + patience);
        let op = self.in_flight.queue_operation(request, on_watches, deadline);
        self.flush(io);
        Ok(op)
    }

    /// Claims an identity, on this connection and on every one that follows. If a server refuses it, the client ends. Before
    /// the first connection it is queued, and claimed with all the others as well: then the server is told twice.
    pub fn add_auth(&mut self, info: AuthInfo, io: &mut Io<'_, Self>) {
        if self.link == Link::Dead {
            return;
        }
        self.in_flight.queue_auth(packet_of(&info));
        self.auth.push(info);
        self.flush(io);
    }

    /// Another list of servers. The client leaves the server it is at for another one if it is not listed any more, or with
    /// the probability that spreads all clients evenly over the servers that are (zookeeper.md §10.2).
    ///
    /// # Panics
    /// If the list is empty.
    #[must_use]
    pub fn update_servers(&mut self, mut servers: Vec<ZkServer>, io: &mut Io<'_, Self>) -> Vec<ZkEvent> {
        io.draw(SHUFFLE).shuffle(&mut servers);
        let connected = match self.link {
            Link::Associating { .. } | Link::Connected { .. } => self.dialled.clone(),
            Link::Unstarted | Link::Pausing { .. } | Link::Waiting { .. } | Link::Connecting { .. } | Link::Dead => {
                None
            }
        };
        let leaves = self.servers.update(servers, connected.as_ref(), || io.draw(REBALANCE));
        let mut events = Vec::new();
        if leaves && self.link.end().is_some() {
            self.disconnect(DisconnectCause::ServersChanged, &mut events, io);
        }
        events
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
            Input::Opened { on } if self.search.owns(on) => self.search.on_opened(io),
            Input::Refused { on } | Input::Lost { on, .. } if self.search.owns(on) => self.search.on_lost(),
            Input::Message { on, message } if self.search.owns(on) => self.on_probed(&message, &mut events, io),
            Input::Opened { on } if self.is_linked(on) => self.on_opened(on, &mut events, io),
            Input::Refused { on } if self.is_linked(on) => self.disconnect(DisconnectCause::Refused, &mut events, io),
            Input::Lost { on, why } if self.is_linked(on) => {
                let cause = match why {
                    Loss::Closed => DisconnectCause::Closed,
                    Loss::Reset => DisconnectCause::Reset,
                };
                self.disconnect(cause, &mut events, io);
            }
            Input::Message { on, message } if self.is_linked(on) => self.on_packet(on, message, &mut events, io),
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
        self.is_linked(end) || self.search.owns(end)
    }

    fn is_linked(&self, end: EndId) -> bool {
        self.link.end() == Some(end)
    }

    /// When it next wants to be woken.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let link = match self.link {
            Link::Unstarted | Link::Dead => return None,
            Link::Pausing { until } | Link::Waiting { until } => until,
            Link::Connecting { .. } | Link::Associating { .. } => {
                self.connect_deadline().min(self.expiration_deadline())
            }
            // 2T/3 comes before 4T/3.
            Link::Connected { ping_at, .. } => {
                let ping_at = ping_at.min(self.read_deadline());
                if self.is_read_only { ping_at.min(self.search.next_wake()) } else { ping_at }
            }
        };
        [Some(link), self.in_flight.next_deadline()].into_iter().flatten().min()
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
        let is_searching = matches!(self.link, Link::Connected { .. }) && self.is_read_only;
        assert!(is_searching || self.search.is_idle(), "only who is read-only looks for another server");
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
        if self.session.is_zero() || self.config.defects.has(Defect::NoClientExpiry) {
            Instant::MAX
        } else {
            self.last_heard.saturating_add(self.timeouts.expiration)
        }
    }

    fn on_woken(&mut self, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        self.give_up_overdue(events, io);
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
                } else {
                    if ping_at <= now {
                        self.send_ping(end, io);
                    }
                    if self.is_read_only {
                        self.search_read_write(io);
                    }
                }
            }
        }
    }
}

fn packet_of(info: &AuthInfo) -> AuthPacket {
    AuthPacket { kind: 0, scheme: Some(info.scheme.as_ref().to_owned()), auth: info.auth.clone() }
}

/// What may be asked of it at any time.
impl ZkClient {
    /// Whether a server has confirmed the session on the present connection.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected { .. })
    }

    /// Whether that server has no ensemble, and can only be read.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.is_connected() && self.is_read_only
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

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &Arc<ZkClientConfig> {
        &self.config
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
