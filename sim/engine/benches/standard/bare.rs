//! The same workloads on a bare loop: what the same machine reaches when there is no engine. The ratio is what counts.
//!
//! All three use one queue: packed keys of (time, sequence, slot) in the standard heap, the events in a slab. `pingpong`
//! is the *rich* one: dynamic nodes, a buffer of effects, a table of links with checks and a draw of their own, a check of
//! the node, a hash of 32 bytes per event. `timers` keeps the deadline in the node and lets an early wake arm anew.
//! `replicate` shares the bytes of a record, loses one message in a hundred, sweeps, and crashes a follower, like ours.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;
use machine::{Digest, Draw, Purpose, RunKey};

use crate::window::Window;

const WHOM: Purpose = Purpose::new("bench/whom");
const LATENCY: Purpose = Purpose::new("bench/latency");
const FAULT: Purpose = Purpose::new("bench/fault");
const KEY: RunKey = RunKey([1, 2]);
const MS: u64 = 1_000_000;

/// One draw of 64 bits, or a number below a bound, from a generator that all share: bare, so no names.
struct Generator(Draw);

impl Generator {
    fn new(purpose: Purpose) -> Self {
        Self(KEY.draw(purpose, 0, 0))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn latency(&mut self) -> u64 {
        MS + self.below(9 * MS)
    }
}

struct Queue<E> {
    heap: BinaryHeap<Reverse<u128>>,
    slab: Vec<Option<E>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<E> Queue<E> {
    fn new() -> Self {
        Self { heap: BinaryHeap::new(), slab: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    fn push(&mut self, at: u64, event: E) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            self.slab.len() - 1
        });
        self.slab[slot] = Some(event);
        self.heap.push(Reverse(u128::from(at) << 64 | u128::from(self.sequence) << 24 | slot as u128));
        self.sequence += 1;
    }

    fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse(key) = self.heap.pop()?;
        let slot = key as usize & 0xFF_FFFF;
        self.free.push(slot);
        Some(((key >> 64) as u64, self.slab[slot].take().expect("a key names a full slot")))
    }
}

#[derive(Clone, Copy)]
enum Ball {
    Ping { body: [u64; 7] },
    Pong { body: [u64; 7] },
}

struct Thrown {
    to: usize,
    ball: Ball,
}

trait Player {
    fn on_ball(&mut self, from: usize, ball: Ball, out: &mut Vec<Thrown>);
}

struct PingPlayer {
    me: usize,
    players: u64,
    generator: Generator,
    answered: u64,
}

impl Player for PingPlayer {
    #[expect(clippy::cast_possible_truncation, reason = "a number of players")]
    fn on_ball(&mut self, from: usize, ball: Ball, out: &mut Vec<Thrown>) {
        match ball {
            Ball::Ping { body } => out.push(Thrown { to: from, ball: Ball::Pong { body } }),
            Ball::Pong { body } => {
                self.answered += body[0];
                let other = (self.me as u64 + 1 + self.generator.below(self.players - 1)) % self.players;
                out.push(Thrown { to: other as usize, ball: Ball::Ping { body: [other; 7] } });
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Link {
    is_up: bool,
    drop_one_in: u64,
    double_one_in: u64,
}

struct Flying {
    from: usize,
    thrown: Thrown,
}

/// The rich bare loop; `count` messages.
pub(crate) fn pingpong(count: u64) -> u64 {
    const PLAYERS: usize = 8;
    let mut players: Vec<Box<dyn Player>> = Vec::new();
    for me in 0..PLAYERS {
        let generator = Generator(KEY.draw(WHOM, me as u64, 0));
        players.push(Box::new(PingPlayer { me, players: PLAYERS as u64, generator, answered: 0 }));
    }
    let links = std::hint::black_box([Link { is_up: true, drop_one_in: 0, double_one_in: 0 }; PLAYERS * PLAYERS]);
    let are_up = std::hint::black_box([true; PLAYERS]);
    let (mut latencies, mut faults) = (Generator::new(LATENCY), Generator::new(FAULT));
    let mut queue: Queue<Flying> = Queue::new();
    let mut out = Vec::new();
    let mut hash = Digest::new();
    for from in 0..PLAYERS {
        let to = (from + 1) % PLAYERS;
        queue.push(latencies.latency(), Flying { from, thrown: Thrown { to, ball: Ball::Ping { body: [0; 7] } } });
    }
    let mut delivered = 0;
    while delivered < count {
        let (now, Flying { from, thrown: Thrown { to, ball } }) = queue.pop().expect("somebody waits");
        if !are_up[to] {
            continue;
        }
        delivered += 1;
        let kind = u64::from(matches!(ball, Ball::Ping { .. }));
        for word in [now, from as u64, to as u64, kind] {
            hash.word(word);
        }
        players[to].on_ball(from, ball, &mut out);
        for thrown in out.drain(..) {
            let link = links[to * PLAYERS + thrown.to];
            let luck = faults.below(1 << 32);
            if !link.is_up || link.drop_one_in > 0 && luck.is_multiple_of(link.drop_one_in) {
                continue;
            }
            if link.double_one_in > 0 && luck.is_multiple_of(link.double_one_in) {
                let thrown = Thrown { ..thrown };
                queue.push(now + latencies.latency(), Flying { from: to, thrown });
            }
            queue.push(now + latencies.latency(), Flying { from: to, thrown });
        }
    }
    std::hint::black_box(hash.value());
    delivered
}

enum Tick {
    Beat { node: usize },
    Wake { node: usize },
    Heartbeat { node: usize },
}

/// One leader and 99 others for so many seconds; protocol events.
pub(crate) fn timers(seconds: u64) -> u64 {
    const NODES: usize = 100;
    let mut generator = Generator::new(LATENCY);
    let mut deadlines = vec![500 * MS; NODES];
    let mut queue = Queue::new();
    for node in 1..NODES {
        queue.push(100 * MS, Tick::Beat { node });
        queue.push(500 * MS, Tick::Wake { node });
    }
    let mut events = 0;
    while let Some((now, tick)) = queue.pop().filter(|(now, _)| *now <= seconds * 1_000 * MS) {
        match tick {
            Tick::Beat { node } => {
                events += 1;
                queue.push(now + generator.latency(), Tick::Heartbeat { node });
                queue.push(now + 90 * MS + generator.below(20 * MS), Tick::Beat { node });
            }
            Tick::Heartbeat { node } => {
                // Received, and armed anew: the pending wake finds the later deadline.
                events += 2;
                deadlines[node] = now + 300 * MS + generator.below(300 * MS);
            }
            Tick::Wake { node } => {
                if deadlines[node] <= now {
                    deadlines[node] = now + 500 * MS;
                }
                queue.push(deadlines[node], Tick::Wake { node });
            }
        }
    }
    events
}

enum LogEvent {
    Append { to: usize, index: u64, record: Bytes },
    Stored { from: usize, index: u64 },
    Answer { index: u64 },
    Offer { index: u64 },
    Sweep,
    Crash { follower: usize },
    Restart { follower: usize },
}

struct Replication {
    queue: Queue<LogEvent>,
    generator: Generator,
    record: Bytes,
    log: VecDeque<Option<Bytes>>,
    base: u64,
    unanswered: [Window; 2],
    client: Window,
    next: u64,
    followers: [Vec<(u64, Bytes)>; 2],
    are_up: [bool; 2],
}

impl Replication {
    fn send(&mut self, now: u64, event: LogEvent) {
        if self.generator.below(100) > 0 {
            let at = now + self.generator.latency();
            self.queue.push(at, event);
        }
    }

    fn offer_next(&mut self, now: u64) {
        let index = self.next;
        self.next += 1;
        self.client.insert(index, now);
        self.send(now, LogEvent::Offer { index });
    }

    #[expect(clippy::cast_possible_truncation, reason = "a short window")]
    fn on_offer(&mut self, now: u64, index: u64) {
        let at = match index.checked_sub(self.base) {
            Some(at) => at as usize,
            None => return self.send(now, LogEvent::Answer { index }),
        };
        if self.log.get(at).is_some_and(Option::is_some) {
            if !self.unanswered.iter().all(|waits| waits.contains(index)) {
                self.send(now, LogEvent::Answer { index });
            }
            return;
        }
        if self.log.len() <= at {
            self.log.resize(at + 1, None);
        }
        self.log[at] = Some(self.record.clone());
        for to in 0..2 {
            self.unanswered[to].insert(index, now);
            self.send(now, LogEvent::Append { to, index, record: self.record.clone() });
        }
    }

    fn on_stored(&mut self, now: u64, from: usize, index: u64) {
        if !self.unanswered[from].remove(index) {
            return;
        }
        let is_first = self.unanswered[1 - from].contains(index);
        let needed = self.unanswered.iter().filter_map(Window::first).min();
        while self.log.front().is_some_and(Option::is_some) && needed.is_none_or(|needed| self.base < needed) {
            self.log.pop_front();
            self.base += 1;
        }
        if is_first {
            self.send(now, LogEvent::Answer { index });
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a short window")]
    fn on_sweep(&mut self, now: u64) {
        let late = |waits: &mut Window| waits.overdue(now.saturating_sub(50 * MS), now, 32);
        for to in 0..2 {
            for index in late(&mut self.unanswered[to]) {
                let record = self.log[(index - self.base) as usize].clone().expect("it was stored");
                self.send(now, LogEvent::Append { to, index, record });
            }
        }
        for index in late(&mut self.client) {
            self.send(now, LogEvent::Offer { index });
        }
        self.queue.push(now + 10 * MS, LogEvent::Sweep);
    }
}

/// A replicated log that takes so many records; messages delivered.
pub(crate) fn replicate(records: u64) -> u64 {
    let mut world = Replication {
        queue: Queue::new(),
        generator: Generator::new(LATENCY),
        record: Bytes::from_static(&[7; 100]),
        log: VecDeque::new(),
        base: 0,
        unanswered: [Window::default(), Window::default()],
        client: Window::default(),
        next: 0,
        followers: [Vec::new(), Vec::new()],
        are_up: [true; 2],
    };
    (0..16).for_each(|_| world.offer_next(0));
    world.queue.push(10 * MS, LogEvent::Sweep);
    world.queue.push(5_000 * MS, LogEvent::Crash { follower: 0 });
    let (mut stored, mut messages) = (0, 0);
    while stored < records {
        let (now, event) = world.queue.pop().expect("it sweeps for ever");
        match event {
            LogEvent::Offer { index } => {
                messages += 1;
                world.on_offer(now, index);
            }
            LogEvent::Append { to, index, record } => {
                if world.are_up[to] {
                    messages += 1;
                    world.followers[to].push((index, record));
                    world.send(now, LogEvent::Stored { from: to, index });
                }
            }
            LogEvent::Stored { from, index } => {
                messages += 1;
                world.on_stored(now, from, index);
            }
            LogEvent::Answer { index } => {
                messages += 1;
                if world.client.remove(index) {
                    stored += 1;
                    world.offer_next(now);
                }
            }
            LogEvent::Sweep => world.on_sweep(now),
            LogEvent::Crash { follower } => {
                world.are_up[follower] = false;
                world.queue.push(now + 500 * MS, LogEvent::Restart { follower });
                world.queue.push(now + 5_000 * MS, LogEvent::Crash { follower: 1 - follower });
            }
            LogEvent::Restart { follower } => world.are_up[follower] = true,
        }
    }
    std::hint::black_box(&world.followers);
    messages
}
