//! The search for a server that has an ensemble, by a client of one that has none (zookeeper.md §10.7, `pingRwServer`).
//!
//! Simplified: the search goes on beside the connection, and a probe that gets no answer is given up after a second in all; in
//! Java the thread that reads the connection waits for it, and for the TCP handshake as long as the system lets it.

use jute::client::{ClientPacket, FourLetterWord};
use machine::{EndId, Instant, Io, Span};

use super::{REBALANCE, ZkClient};
use crate::{DisconnectCause, ZkClientMark, ZkEvent, ZkServer};

/// After so long the first server is asked; each one after that takes twice as long as the one before.
const INTERVAL_LEAST: Span = Span::millis(100);
/// It never takes longer.
const INTERVAL_MOST: Span = Span::secs(60);
/// So long an answer is waited for.
const PATIENCE: Span = Span::millis(1000);
/// The answer of a server with an ensemble to `isro`.
const READ_WRITE: &str = "rw";

/// Where the search is.
#[derive(Clone, Debug)]
pub(super) struct ReadWriteSearch {
    /// When a server was asked last; before any, when the client began.
    last: Instant,
    /// How long after that the next is asked.
    interval: Span,
    probe: Option<Probe>,
    /// What it found: dialled next, whoever's turn it is.
    found: Option<ZkServer>,
}

/// A server that is being asked.
#[derive(Clone, Debug)]
struct Probe {
    end: EndId,
    server: ZkServer,
    until: Instant,
}

impl ReadWriteSearch {
    pub(super) const fn new() -> Self {
        Self { last: Instant::ZERO, interval: INTERVAL_LEAST, probe: None, found: None }
    }

    pub(super) const fn start(&mut self, now: Instant) {
        self.last = now;
    }

    pub(super) fn owns(&self, end: EndId) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.end == end)
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.probe.is_none()
    }

    pub(super) fn next_wake(&self) -> Instant {
        self.probe.as_ref().map_or(self.last.saturating_add(self.interval), |probe| probe.until)
    }

    /// The server that was found, once.
    pub(super) const fn take_found(&mut self) -> Option<ZkServer> {
        self.found.take()
    }

    pub(super) fn on_opened(&self, io: &mut Io<'_, ZkClient>) {
        let end = self.probe.as_ref().expect("it owns the end").end;
        io.send(end, ClientPacket::Word(FourLetterWord::Isro));
    }

    pub(super) fn on_lost(&mut self) {
        self.probe = None;
    }

    /// Nobody waits for the answer any more.
    pub(super) fn give_up(&mut self, io: &mut Io<'_, ZkClient>) {
        if let Some(probe) = self.probe.take() {
            io.close(probe.end);
        }
    }
}

impl ZkClient {
    /// Gives up a probe that takes too long, and asks the next server if it is time.
    pub(super) fn search_read_write(&mut self, io: &mut Io<'_, Self>) {
        let now = io.now();
        if self.search.next_wake() > now {
            return;
        }
        if !self.search.is_idle() {
            return self.search.give_up(io);
        }
        self.search.last = now;
        self.search.interval = (self.search.interval * 2).min(INTERVAL_MOST);
        // Nobody sleeps for the end of the list here.
        let _spin: Span = self.servers.advance(|| io.draw(REBALANCE));
        let server = self.servers.current().expect("it has just advanced").clone();
        let end = io.connect(server.address);
        self.search.probe = Some(Probe { end, server, until: now + PATIENCE });
    }

    /// The answer of a server that was asked.
    pub(super) fn on_probed(&mut self, answer: &ClientPacket, events: &mut Vec<ZkEvent>, io: &mut Io<'_, Self>) {
        let probe = self.search.probe.take().expect("somebody was asked");
        io.close(probe.end);
        let is_found = match answer {
            ClientPacket::Text(text) => text.trim_end() == READ_WRITE,
            ClientPacket::ToServer(_) | ClientPacket::ToClient(_) | ClientPacket::Word(_) => false,
        };
        if is_found {
            io.reach(ZkClientMark::ReadWriteFound);
            self.search.interval = INTERVAL_LEAST;
            self.search.found = Some(probe.server);
            self.disconnect(DisconnectCause::ReadWriteServerFound, events, io);
        }
    }
}
