//! An ensemble of [`Election`] parts on a small network, for tests: lanes, latencies, crashes and partitions, all drawn
//! from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::election::PeerState;
use jute::{PeerEpoch, Sid, Zxid};
use machine::disk::{Metadata, PageCache};
use machine::{Address, Clock, Effect, EndId, HostId, Instant, Io, Numbers, Purpose, RunKey, Span};

use super::{Decided, Election};
use crate::config::ELECTION_PORT;
use crate::membership::Membership;
use crate::{Coordinator, Message, ServerConfig, Work};

const LATENCY: Purpose = Purpose::new("latency");

type End = (Sid, EndId);

#[derive(Debug)]
enum Event {
    Dial { from: End, to: Address },
    Opened(End),
    Refused(End),
    Lost(End),
    Message(End, Message),
    Turn { sid: Sid, life: u32, work: Work },
    Wake(Sid),
}

#[derive(Debug)]
struct Server {
    election: Election,
    life: u32,
}

/// Servers 1 to n on hosts 0 to n-1.
#[derive(Debug)]
pub(super) struct Ensemble {
    pub(super) now: Instant,
    hosts: Vec<HostId>,
    latency: (Span, Span),
    key: RunKey,
    draws: u64,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    servers: BTreeMap<Sid, Server>,
    numbers: BTreeMap<Sid, Numbers>,
    lives: u32,
    peers: BTreeMap<End, End>,
    /// The last thing on each directed link or lane, so that order is kept.
    busy: BTreeMap<(Sid, u32), Instant>,
    groups: BTreeMap<Sid, u8>,
    /// The last decision of each server that is up.
    pub(super) decisions: BTreeMap<Sid, Decided>,
    pub(super) dials: u32,
    /// Notifications that arrived, by sender and receiver.
    pub(super) delivered: BTreeMap<(Sid, Sid), u32>,
}

pub(super) const fn sid(number: u8) -> Sid {
    Sid::new(number)
}

pub(super) fn zxid(value: u64) -> Option<Zxid> {
    Zxid::from_wire(i64::try_from(value).expect("a zxid of a test"))
}

pub(super) fn election_of(config: ServerConfig) -> Election {
    let membership = Membership::new(&config);
    Election::new(&Arc::new(config), &membership)
}

impl Ensemble {
    pub(super) fn new(servers: u8, seed: u64, latency: (Span, Span)) -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            hosts: (0..u32::from(servers)).map(HostId).collect(),
            latency,
            key: RunKey([seed, 7]),
            draws: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            servers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            lives: 0,
            peers: BTreeMap::new(),
            busy: BTreeMap::new(),
            groups: BTreeMap::new(),
            decisions: BTreeMap::new(),
            dials: 0,
            delivered: BTreeMap::new(),
        }
    }

    /// Starts a server that looks for a leader.
    pub(super) fn start(&mut self, who: Sid, epoch: u32, last_logged: Option<Zxid>) {
        let config = ServerConfig::ensemble(who, &self.hosts);
        self.lives += 1;
        let server = Server { election: election_of(config), life: self.lives };
        assert!(self.servers.insert(who, server).is_none(), "{who} runs already");
        let epoch = PeerEpoch::new(epoch);
        self.step(who, |election, io| {
            election.start(last_logged, epoch, io);
            election.look_for_leader(last_logged, epoch, io);
        });
    }

    /// A server that had a leader looks again.
    pub(super) fn look_again(&mut self, who: Sid, epoch: u32, last_logged: Option<Zxid>) {
        self.decisions.remove(&who);
        self.step(who, |election, io| {
            election.set_state(PeerState::Looking);
            election.look_for_leader(last_logged, PeerEpoch::new(epoch), io);
        });
    }

    /// The process dies; its kernel resets its connections.
    pub(super) fn kill(&mut self, who: Sid) {
        self.servers.remove(&who).expect("it runs");
        self.decisions.remove(&who);
        let ends: Vec<_> = self.peers.iter().filter(|(end, _)| end.0 == who).map(|(&end, &peer)| (end, peer)).collect();
        for (end, peer) in ends {
            self.peers.remove(&end);
            self.later((who, u32::MAX), Event::Lost(peer));
        }
    }

    /// The leader is established: everybody in office overwrites the epoch of its vote.
    pub(super) fn establish(&mut self, epoch: u32) {
        for who in self.decisions.keys() {
            let server = self.servers.get_mut(who).expect("who decided runs");
            server.election.update_election_vote(PeerEpoch::new(epoch));
        }
    }

    /// Cuts the network in two: these against the rest. Silence, not resets. Healing loses nothing new.
    pub(super) fn cut(&mut self, one_side: &[Sid]) {
        self.groups = one_side.iter().map(|&who| (who, 1)).collect();
    }

    pub(super) fn election(&mut self, who: Sid) -> &mut Election {
        &mut self.servers.get_mut(&who).expect("it runs").election
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, span: Span) {
        let until = self.now + span;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.apply(event);
        }
        self.now = until;
    }

    /// Whom each running server decided for.
    pub(super) fn leaders(&self) -> BTreeSet<Option<Sid>> {
        self.servers.keys().map(|who| self.decisions.get(who).map(Decided::leader)).collect()
    }

    /// Runs until every running server has decided, at most a minute; asserts that all decided for one leader, which knows.
    #[track_caller]
    pub(super) fn settle(&mut self) -> Sid {
        for _ in 0..6000 {
            if !self.leaders().contains(&None) {
                break;
            }
            self.run(Span::millis(10));
        }
        let leaders: Vec<_> = self.leaders().into_iter().collect();
        let [Some(leader)] = leaders[..] else { panic!("no agreement: {:?}", self.decisions) };
        assert_eq!(self.decisions[&leader].state, PeerState::Leading);
        leader
    }

    /// Established connections, each once: (dialler, dialled).
    pub(super) fn connections(&self) -> usize {
        self.peers.len() / 2
    }

    fn separated(&self, one: Sid, other: Sid) -> bool {
        self.groups.get(&one) != self.groups.get(&other)
    }

    fn sid_of(&self, host: HostId) -> Sid {
        sid(u8::try_from(host.0 + 1).expect("few hosts"))
    }

    fn later(&mut self, channel: (Sid, u32), event: Event) {
        let mut draw = self.key.draw(LATENCY, 0, self.draws);
        self.draws += 1;
        let at = self.now + draw.between(self.latency.0, self.latency.1);
        let last = self.busy.entry(channel).or_insert(at);
        *last = at.max(*last);
        self.sequence += 1;
        self.queue.insert((*last, self.sequence), event);
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Dial { from, to } => self.dial(from, to),
            Event::Opened(end) => self.on_own(end, |election, io| election.on_opened(end.1, io)),
            Event::Refused(end) => self.on_own(end, |election, io| election.on_refused(end.1, io)),
            Event::Lost(end) => {
                self.peers.remove(&end);
                self.on_own(end, |election, io| election.on_lost(end.1, io));
            }
            Event::Message(end, Message::Election(message)) => {
                let Some(&(from, _)) = self.peers.get(&end) else { return };
                if self.separated(from, end.0) {
                    return; // Held for ever: a test that heals waits for the next one.
                }
                *self.delivered.entry((from, end.0)).or_default() += 1;
                self.on_own(end, |election, io| election.on_message(end.1, message, io));
            }
            Event::Message(..) => panic!("leader election sends its own messages only"),
            Event::Turn { sid, life, work: Work::Election(work) } => {
                if self.servers.get(&sid).is_some_and(|server| server.life == life) {
                    self.step(sid, |election, io| election.on_turn(work, io));
                }
            }
            Event::Turn { .. } => panic!("leader election defers its own work only"),
            Event::Wake(who) => {
                if self.servers.contains_key(&who) {
                    self.step(who, Election::on_woken);
                    let wake = self.election(who).next_wake();
                    assert!(wake.is_none_or(|wake| wake > self.now), "still due after a wake");
                }
            }
        }
    }

    fn dial(&mut self, from: End, to: Address) {
        let target = self.sid_of(to.host);
        if self.separated(from.0, target) || !self.servers.contains_key(&from.0) {
            return;
        }
        assert_eq!(to.port, ELECTION_PORT);
        if !self.servers.contains_key(&target) {
            return self.later((target, u32::MAX), Event::Refused(from));
        }
        let end = (target, self.numbers.entry(target).or_default().end());
        self.peers.insert(from, end);
        self.peers.insert(end, from);
        self.later((target, end.1.0), Event::Opened(from));
        self.step(target, |election, io| election.on_accepted(end.1, io));
    }

    /// As the server does: an input on an end that nobody owns any more is dropped.
    fn on_own(&mut self, end: End, to: impl FnOnce(&mut Election, &mut Io<'_, Coordinator>)) {
        if self.servers.get(&end.0).is_some_and(|server| server.election.owns(end.1)) {
            self.step(end.0, to);
        }
    }

    fn step(&mut self, who: Sid, to: impl FnOnce(&mut Election, &mut Io<'_, Coordinator>)) {
        let mut disk = PageCache::new(Metadata::Journaled);
        let mut effects: Vec<Effect<Coordinator>> = Vec::new();
        let server = self.servers.get_mut(&who).expect("it runs");
        let clock = Clock { now: self.now, wall_offset_ms: 0 };
        let numbers = self.numbers.entry(who).or_default();
        to(
            &mut server.election,
            &mut Io::new(clock, self.key, u64::from(who.value()), &mut disk, numbers, &mut effects),
        );
        server.election.check_invariants();
        let (life, wake) = (server.life, server.election.next_wake());
        if let Some(decided) = server.election.poll_decision() {
            self.decisions.insert(who, decided);
        }
        for effect in effects {
            self.take(who, life, effect);
        }
        if let Some(wake) = wake {
            self.sequence += 1;
            self.queue.insert((wake.max(self.now), self.sequence), Event::Wake(who));
        }
    }

    fn take(&mut self, who: Sid, life: u32, effect: Effect<Coordinator>) {
        match effect {
            Effect::Connect { end, to } => {
                self.dials += 1;
                self.later((who, end.0), Event::Dial { from: (who, end), to });
            }
            Effect::Send { on, message } => {
                if let Some(&peer) = self.peers.get(&(who, on)) {
                    self.later((who, on.0), Event::Message(peer, message));
                }
            }
            Effect::Close { end } => {
                if let Some(peer) = self.peers.remove(&(who, end)) {
                    self.later((who, end.0), Event::Lost(peer));
                }
            }
            Effect::Defer { lane, work } => {
                let channel = (who, u32::MAX - 1 - u32::from(lane.0));
                self.later(channel, Event::Turn { sid: who, life, work });
            }
            Effect::Listen { port } => assert_eq!(port, ELECTION_PORT),
            Effect::State(_) => {}
            other @ (Effect::Unlisten { .. }
            | Effect::Datagram { .. }
            | Effect::Sync { .. }
            | Effect::Spend { .. }
            | Effect::Exit { .. }
            | Effect::Reach(_)) => panic!("leader election has no use for {other:?}"),
        }
    }
}
