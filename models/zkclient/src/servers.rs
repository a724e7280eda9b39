//! The host list: who is dialled next, and after how long (zookeeper.md §10.2).

use machine::{Draw, Span};

use crate::ZkServer;

/// Slept before the list is gone through once more.
pub(crate) const SPIN_DELAY: Span = Span::millis(1000);

/// The servers in their shuffled order, and where in it the client is.
#[derive(Clone, Debug)]
pub(crate) struct ServerList {
    servers: Vec<ZkServer>,
    current: Option<usize>,
    /// The last one a session was confirmed by; before any, the first that was dialled.
    last: Option<usize>,
}

impl ServerList {
    /// Panics if there are no servers.
    pub(crate) fn new(servers: Vec<ZkServer>) -> Self {
        assert!(!servers.is_empty(), "a connect string names at least one server");
        Self { servers, current: None, last: None }
    }

    pub(crate) fn shuffle(&mut self, mut draw: Draw) {
        draw.shuffle(&mut self.servers);
    }

    pub(crate) const fn len(&self) -> usize {
        self.servers.len()
    }

    /// Moves on to the next server and returns how long to sleep before it is dialled.
    pub(crate) fn advance(&mut self) -> Span {
        let next = self.current.map_or(0, |at| (at + 1) % self.servers.len());
        self.current = Some(next);
        let spin = self.last == Some(next);
        // The very first attempt does not sleep, but a list gone through without success does.
        self.last.get_or_insert(0);
        if spin { SPIN_DELAY } else { Span::ZERO }
    }

    /// The current server has confirmed the session.
    pub(crate) const fn on_connected(&mut self) {
        self.last = self.current;
    }

    /// The server being dialled or talked to; none before the first attempt.
    pub(crate) fn current(&self) -> Option<&ZkServer> {
        self.current.map(|at| &self.servers[at])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machine::{Address, HostId, Port};

    use super::*;

    fn list(len: u32) -> ServerList {
        let server = |host| ZkServer {
            name: Arc::from(format!("zk{host}")),
            address: Address { host: HostId(host), port: Port(2181) },
        };
        ServerList::new((0..len).map(server).collect())
    }

    #[test]
    fn list_gone_through_in_vain_is_slept_on() {
        let mut servers = list(3);
        let slept: Vec<_> = (0..7).map(|_| servers.advance()).collect();
        let (no, yes) = (Span::ZERO, SPIN_DELAY);
        assert_eq!(slept, [no, no, no, yes, no, no, yes]);
    }

    #[test]
    fn last_connected_server_is_slept_on() {
        let mut servers = list(3);
        servers.advance();
        servers.advance();
        servers.on_connected();
        let slept: Vec<_> = (0..3).map(|_| servers.advance()).collect();
        assert_eq!(slept, [Span::ZERO, Span::ZERO, SPIN_DELAY]);
        assert_eq!(servers.current().expect("dialled").address.host, HostId(1));
    }
}
