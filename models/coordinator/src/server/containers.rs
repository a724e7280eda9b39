//! What goes by itself: empty containers, and TTL znodes nobody set for their time (zookeeper.md §5.12; `ContainerManager`).
//!
//! Only who prepares requests looks for them, at a fixed interval from when it began to serve. It asks for deletions like a client;
//! preparation looks again, so that a child that was created meanwhile keeps its parent.

use std::collections::VecDeque;

use jute::client::{DeleteContainerRequest, Request as ClientRequest};
use jute::data::EphemeralOwner;
use jute::{SessionId, Version, Xid};
use machine::{Instant, Io, Span};

use super::request::{Ask, Owner, Request, nobody};
use super::{Server, Serving};
use crate::config::ServerConfig;
use crate::tree::{DataTree, Node};
use crate::{Coordinator, Database};

/// The thread that looks for them.
#[derive(Clone, Debug)]
pub(super) struct ContainerManager {
    /// When it looks next.
    next_check: Instant,
    /// What it found and has not asked for yet.
    found: VecDeque<String>,
    /// When it may ask for the next.
    next_delete: Instant,
    /// Whether there is anything to look at.
    is_needed: bool,
}

impl ContainerManager {
    pub(super) fn new(interval: Span, now: Instant) -> Self {
        Self { next_check: now + interval, found: VecDeque::new(), next_delete: now, is_needed: false }
    }

    /// When it wants to be woken.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.found.is_empty() {
            return Some(self.next_delete);
        }
        // It sleeps behind each deletion, and behind the last one before it looks again.
        self.is_needed.then_some(self.next_check.max(self.next_delete))
    }

    /// It looks now. Looks that a stall made it miss come one behind the other in the real server, and find the same: here they
    /// are this one.
    fn look(&mut self, interval: Span, now: Instant) {
        while self.next_check <= now {
            self.next_check = self.next_check + interval;
        }
    }

    /// What there was to look at has changed. A look that was missed because there was nothing to see is made up for by none.
    pub(super) fn need(&mut self, is_needed: bool, interval: Span, now: Instant) {
        if is_needed && !self.is_needed {
            self.look(interval, now);
        }
        self.is_needed = is_needed;
    }
}

impl Server {
    /// Whether this server reaps, and what.
    pub(super) fn note_reapable(&mut self, db: &Database, now: Instant) {
        let reaps = matches!(self.serving, Some(Serving::Standalone | Serving::Leader { .. })) && !self.closing;
        self.containers.need(reaps && db.tree().has_reapable(), self.config.container_check_interval, now);
    }

    /// Looks, and asks for one deletion.
    pub(super) fn reap(&mut self, db: &Database, io: &mut Io<'_, Coordinator>) {
        let now = io.now();
        if self.containers.found.is_empty() && self.containers.next_check <= now {
            self.containers.look(self.config.container_check_interval, now);
            self.containers.found = candidates(db.tree(), io.wall_clock().0, &self.config).into();
        }
        if self.containers.next_delete <= now
            && let Some(path) = self.containers.found.pop_front()
        {
            let per_minute = u64::from(self.config.container_max_per_minute.max(1));
            self.containers.next_delete = now + Span::millis(60_000 / per_minute);
            let ask = Ask::Client(ClientRequest::DeleteContainer(DeleteContainerRequest { path }));
            self.submit(Request::detached(SessionId::ZERO, Xid::ZERO, ask, Owner::Me, nobody()), io);
        }
    }
}

/// What may go at this time, in the order of paths: first containers, then TTL znodes.
fn candidates(tree: &DataTree, wall_ms: i64, config: &ServerConfig) -> Vec<String> {
    let never_used = config.container_max_never_used.map(|span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
    let unset_for = |node: &Node| wall_ms.saturating_sub(node.stat().mtime);
    let is_done = |node: &Node| {
        // A new one is kept for its first child.
        let was_used = node.stat().cversion > Version::ZERO;
        was_used || never_used.is_some_and(|most| unset_for(node) > most)
    };
    let is_over = |node: &Node| match node.owner() {
        EphemeralOwner::Ttl { ttl_ms } => unset_for(node) > ttl_ms,
        EphemeralOwner::Nobody | EphemeralOwner::Session(_) | EphemeralOwner::Container => false,
    };
    let node = |path: &str| tree.node(path).expect("an index names znodes that are there");
    let containers = tree.containers().filter(|path| node(path).child_count() == 0 && is_done(node(path)));
    let ttls = tree.ttls().filter(|path| node(path).child_count() == 0 && is_over(node(path)));
    containers.chain(ttls).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Span = Span::millis(500);

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Span::millis(ms)
    }

    #[test]
    fn look_behind_a_stall_leaves_nothing_due() {
        let mut manager = ContainerManager::new(INTERVAL, at(0));
        manager.need(true, INTERVAL, at(0));
        assert_eq!(manager.next_due(), Some(at(500)));
        manager.look(INTERVAL, at(1_800));
        assert_eq!(manager.next_due(), Some(at(2_000)));
    }

    #[test]
    fn look_that_is_due_waits_for_the_sleep_behind_the_last_deletion() {
        let mut manager = ContainerManager::new(INTERVAL, at(0));
        manager.need(true, INTERVAL, at(0));
        manager.found.push_back("/a".to_owned());
        manager.next_delete = at(600);
        assert_eq!(manager.next_due(), Some(at(600)));
        manager.found.clear();
        manager.next_delete = at(606);
        assert_eq!(manager.next_due(), Some(at(606)));
    }
}
