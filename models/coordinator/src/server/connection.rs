//! The table of client connections (zookeeper.md §4.3, §7.3; `NIOServerCnxn` and its factory).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jute::SessionId;
use jute::client::ClientFrame;
use jute::data::Id;
use machine::{EndId, HostId, Instant};

use super::statistics::Statistics;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Its first frame has not come.
    Fresh,
    /// Its session is being created or validated; nothing is read meanwhile.
    Connecting,
    /// It has its session.
    Connected,
}

/// One client connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) peer: HostId,
    /// Who it is: its address, and what it has proved.
    pub(super) ids: Arc<[Id]>,
    pub(super) phase: Phase,
    /// The session, from the ConnectRequest on.
    pub(super) session: SessionId,
    /// The negotiated timeout, ms; 0 before there is one.
    pub(super) timeout_ms: i32,
    /// The ConnectRequest's flag: an old client that did not send it does not get it back.
    pub(super) read_only: Option<bool>,
    /// Requests with a positive xid that are not answered yet.
    pub(super) outstanding: u32,
    /// Whether too many requests are in the server: nothing is read meanwhile.
    pub(super) throttled: bool,
    /// What arrived and is not read: in the real server it stays in the socket.
    pub(super) unread: VecDeque<ClientFrame>,
    /// Since when it is open.
    pub(super) since: Instant,
    pub(super) statistics: Statistics,
}

impl Connection {
    /// Whether the next frame may be read.
    pub(super) fn reads(&self) -> bool {
        self.phase != Phase::Connecting && !self.throttled
    }
}

/// All client connections of a server, and whose session is on which.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    by_end: BTreeMap<EndId, Connection>,
    /// The last connection of each session.
    by_session: BTreeMap<SessionId, EndId>,
}

impl Connections {
    pub(super) fn insert(&mut self, end: EndId, peer: HostId, address: Id, since: Instant) {
        let connection = Connection {
            peer,
            ids: Arc::new([address]),
            phase: Phase::Fresh,
            session: SessionId::ZERO,
            timeout_ms: 0,
            read_only: None,
            outstanding: 0,
            throttled: false,
            unread: VecDeque::new(),
            since,
            statistics: Statistics::default(),
        };
        let previous = self.by_end.insert(end, connection);
        assert!(previous.is_none(), "{end} was accepted twice");
    }

    pub(super) fn contains(&self, end: EndId) -> bool {
        self.by_end.contains_key(&end)
    }

    pub(super) fn get(&self, end: EndId) -> Option<&Connection> {
        self.by_end.get(&end)
    }

    pub(super) fn get_mut(&mut self, end: EndId) -> Option<&mut Connection> {
        self.by_end.get_mut(&end)
    }

    /// Who a connection is; nobody if it is gone.
    pub(super) fn ids(&self, end: EndId) -> Arc<[Id]> {
        self.get(end).map_or_else(super::nobody, |connection| Arc::clone(&connection.ids))
    }

    /// Forgets a connection.
    pub(super) fn remove(&mut self, end: EndId) -> Option<Connection> {
        let connection = self.by_end.remove(&end)?;
        if self.by_session.get(&connection.session) == Some(&end) {
            self.by_session.remove(&connection.session);
        }
        Some(connection)
    }

    /// The connection of a session.
    pub(super) fn of_session(&self, session: SessionId) -> Option<EndId> {
        self.by_session.get(&session).copied()
    }

    /// Gives a connection its session.
    pub(super) fn bind(&mut self, end: EndId, session: SessionId) {
        let connection = self.by_end.get_mut(&end).expect("a connection that asked for a session is open");
        connection.session = session;
        self.by_session.insert(session, end);
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = EndId> + '_ {
        self.by_end.keys().copied()
    }

    /// The connections that asked for a session, with the client's host and the session.
    pub(super) fn with_session(&self) -> impl Iterator<Item = (EndId, HostId, SessionId)> {
        let all = self.by_end.iter().map(|(&end, connection)| (end, connection.peer, connection.session));
        all.filter(|(_, _, session)| !session.is_zero())
    }

    /// All of them, by end.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EndId, &Connection)> {
        self.by_end.iter().map(|(&end, connection)| (end, connection))
    }

    /// Begins to count anew.
    pub(super) fn reset_statistics(&mut self) {
        for connection in self.by_end.values_mut() {
            connection.statistics = Statistics::default();
        }
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.by_end.len()
    }

    /// Number of connections from one host.
    pub(super) fn of_peer(&self, peer: HostId) -> usize {
        self.by_end.values().filter(|connection| connection.peer == peer).count()
    }

    /// Panics if the two directions disagree.
    pub(super) fn check(&self) {
        for (session, end) in &self.by_session {
            let connection = self.by_end.get(end).expect("the connection of a session is open");
            assert!(connection.session == *session, "{end} has session {}, not {session}", connection.session);
        }
    }
}
