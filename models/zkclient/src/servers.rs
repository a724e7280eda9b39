//! The host list: who is dialled next, and after how long (zookeeper.md §10.2).

use std::collections::VecDeque;

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
    moving: Option<Moving>,
}

/// On the way to a server of a new list: `reconfigMode`.
#[derive(Clone, Debug)]
struct Moving {
    /// Servers that were not in the list before, and were not tried yet.
    fresh: VecDeque<ZkServer>,
    /// Servers that were, and were not tried yet.
    known: VecDeque<ZkServer>,
    /// The probability of going to a fresh one, as a fraction.
    to_fresh: (u64, u64),
}

impl ServerList {
    /// Panics if there are no servers.
    pub(crate) fn new(servers: Vec<ZkServer>) -> Self {
        assert!(!servers.is_empty(), "a connect string names at least one server");
        Self { servers, current: None, last: None, moving: None }
    }

    pub(crate) fn shuffle(&mut self, mut draw: Draw) {
        draw.shuffle(&mut self.servers);
    }

    pub(crate) const fn len(&self) -> usize {
        self.servers.len()
    }

    /// Moves on to the next server and returns how long to sleep before it is dialled. Who is on the way to a server of a new
    /// list draws.
    pub(crate) fn advance(&mut self, draw: impl FnOnce() -> Draw) -> Span {
        let mut gone_through = false;
        if let Some(moving) = &mut self.moving {
            if let Some(server) = moving.next(draw) {
                self.current = self.servers.iter().position(|it| *it == server);
                return Span::ZERO;
            }
            self.moving = None;
            gone_through = true;
        }
        let next = self.current.map_or(0, |at| (at + 1) % self.servers.len());
        self.current = Some(next);
        let spin = gone_through || self.last == Some(next);
        // The very first attempt does not sleep, but a list gone through without success does.
        self.last.get_or_insert(0);
        if spin { SPIN_DELAY } else { Span::ZERO }
    }

    /// The current server has confirmed the session.
    pub(crate) fn on_connected(&mut self) {
        self.last = self.current;
        self.moving = None;
    }

    /// The server that was chosen last; none before the first attempt.
    pub(crate) fn current(&self) -> Option<&ZkServer> {
        self.current.map(|at| &self.servers[at])
    }

    /// Another list, already shuffled; `connected` is the server it has a connection to. Whether the client is to leave that
    /// for another: so many clients move that in the end every server has its share of them (`updateServerList`).
    ///
    /// Panics if there are no servers.
    pub(crate) fn update(
        &mut self,
        servers: Vec<ZkServer>,
        connected: Option<&ZkServer>,
        mut draw: impl FnMut() -> Draw,
    ) -> bool {
        assert!(!servers.is_empty(), "a connect string names at least one server");
        let mine = if self.moving.is_some() {
            // It has not come to rest since the last change: where it would go next counts as where it is.
            self.advance(&mut draw);
            self.current().expect("it has just advanced").clone()
        } else {
            connected.unwrap_or_else(|| &self.servers[self.last.unwrap_or(0)]).clone()
        };
        let is_listed = servers.contains(&mine);
        let (known, fresh): (VecDeque<_>, VecDeque<_>) =
            servers.iter().cloned().partition(|server| self.servers.contains(server));
        let (before, after) = (self.servers.len() as u64, servers.len() as u64);
        let to_fresh = if after > before {
            // Each server has fewer clients than it had: of those that may stay, so many go to the new ones.
            (!is_listed || draw().chance(after - before, after)).then_some((1, 1))
        } else if is_listed {
            None
        } else {
            let known = known.len() as u64;
            let (all, kept) = (after * before.saturating_sub(known), known * (before - after));
            Some((all.saturating_sub(kept), all))
        };
        self.current = match to_fresh {
            Some(_) => None,
            None => self.current().and_then(|current| servers.iter().position(|server| server == current)),
        };
        self.moving = to_fresh.map(|to_fresh| Moving { fresh, known, to_fresh });
        self.last = self.current;
        self.servers = servers;
        self.moving.is_some()
    }
}

impl Moving {
    /// The next one to try; none when all were.
    fn next(&mut self, draw: impl FnOnce() -> Draw) -> Option<ZkServer> {
        let (times, of) = self.to_fresh;
        let takes_fresh = of > 0 && draw().chance(times, of);
        if takes_fresh || self.known.is_empty() {
            self.fresh.pop_front().or_else(|| self.known.pop_front())
        } else {
            self.known.pop_front()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machine::{Address, HostId, Port, Purpose, RunKey};

    use super::*;

    fn servers(hosts: &[u32]) -> Vec<ZkServer> {
        let server = |&host: &u32| ZkServer {
            name: Arc::from(format!("zk{host}")),
            address: Address { host: HostId(host), port: Port(2181) },
        };
        hosts.iter().map(server).collect()
    }

    fn list(len: u32) -> ServerList {
        ServerList::new(servers(&(0..len).collect::<Vec<_>>()))
    }

    /// Draws like a client: one after the other.
    fn draws(seed: u64) -> impl FnMut() -> Draw {
        let mut index = 0;
        move || {
            index += 1;
            RunKey([seed, 0]).draw(Purpose::new("test"), 0, index)
        }
    }

    fn no_draw() -> Draw {
        panic!("only who moves draws")
    }

    #[test]
    fn list_gone_through_in_vain_is_slept_on() {
        let mut servers = list(3);
        let slept: Vec<_> = (0..7).map(|_| servers.advance(no_draw)).collect();
        let (no, yes) = (Span::ZERO, SPIN_DELAY);
        assert_eq!(slept, [no, no, no, yes, no, no, yes]);
    }

    #[test]
    fn last_connected_server_is_slept_on() {
        let mut servers = list(3);
        servers.advance(no_draw);
        servers.advance(no_draw);
        servers.on_connected();
        let slept: Vec<_> = (0..3).map(|_| servers.advance(no_draw)).collect();
        assert_eq!(slept, [Span::ZERO, Span::ZERO, SPIN_DELAY]);
        assert_eq!(servers.current().expect("dialled").address.host, HostId(1));
    }

    /// How many of 3000 clients, spread over the servers of `before`, are at each server when the list has become `after`.
    fn spread(before: &[u32], after: &[u32]) -> Vec<usize> {
        let mut at = vec![0; 10];
        for seed in 0..3000 {
            let mut list = ServerList::new(servers(before));
            let mut draw = draws(seed);
            for _ in 0..=seed % before.len() as u64 {
                list.advance(no_draw);
            }
            list.on_connected();
            let connected = list.current().expect("it advanced").clone();
            let mut after = servers(after);
            draw().shuffle(&mut after);
            let mine = if list.update(after, Some(&connected), &mut draw) {
                assert_eq!(list.advance(&mut draw), Span::ZERO, "who moves does not sleep first");
                list.current().expect("it advanced").clone()
            } else {
                connected
            };
            at[mine.address.host.0 as usize] += 1;
        }
        at
    }

    #[track_caller]
    fn assert_even(at: &[usize], hosts: &[u32]) {
        let share = 3000 / hosts.len();
        for (host, &clients) in at.iter().enumerate() {
            let is_listed = hosts.iter().any(|&it| it as usize == host);
            let wanted = if is_listed { share } else { 0 };
            assert!(clients.abs_diff(wanted) <= share / 8, "{clients} clients at {host}, {wanted} wanted: {at:?}");
        }
    }

    #[test]
    fn clients_of_a_list_that_changes_spread_over_its_servers_evenly() {
        for (before, after) in [
            (&[0, 1, 2][..], &[0, 1, 2, 3, 4][..]),
            (&[0, 1, 2, 3, 4], &[0, 1, 2]),
            (&[0, 1, 2], &[0, 3, 4]),
            (&[0, 1, 2, 3], &[0, 4]),
        ] {
            assert_even(&spread(before, after), after);
        }
    }

    #[test]
    fn client_whose_server_stays_moves_only_to_relieve_it() {
        let mut list = list(3);
        list.advance(no_draw);
        list.on_connected();
        let connected = list.current().cloned();
        assert!(!list.update(servers(&[2, 0]), connected.as_ref(), no_draw), "it stays at server 0");
        assert_eq!(list.current(), connected.as_ref());
        assert_eq!(list.advance(no_draw), Span::ZERO);
        assert_eq!(list.current().expect("it advanced").address.host, HostId(2));
    }

    #[test]
    fn servers_of_a_new_list_are_tried_each_once_before_the_list_is_gone_through_with_a_delay() {
        let mut list = list(2);
        list.advance(no_draw);
        list.on_connected();
        let connected = list.current().cloned();
        let mut draw = draws(1);
        assert!(list.update(servers(&[1, 2, 3]), connected.as_ref(), &mut draw), "server 0 is gone");
        let mut tried = Vec::new();
        for _ in 0..3 {
            assert_eq!(list.advance(&mut draw), Span::ZERO);
            tried.push(list.current().expect("it advanced").address.host.0);
        }
        assert_eq!(tried.pop(), Some(1), "the new ones come first: {tried:?}");
        assert_eq!(list.advance(&mut draw), SPIN_DELAY);
    }
}
