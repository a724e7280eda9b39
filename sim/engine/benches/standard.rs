//! The standard workloads on our engine and on a bare loop, in the same run: the ratio is what counts.
//!
//! `pingpong`: 8 nodes, each sends to a random other and waits for the answer; 1–10 ms. `timers`: 100 nodes, heartbeats
//! every 100 ms, election-like timeouts re-armed by each. `replicate`: a leader, two followers, 16 records in flight.
//! `seeds`: a world of 8 hosts and 1,000 messages, made and dropped. `fork`: 10 hosts, few and 250 messages pending.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the host's clock")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the host's clock")]
#![expect(clippy::disallowed_macros, reason = "a benchmark prints its table")]
#![expect(clippy::float_arithmetic, reason = "a benchmark divides")]
#![expect(clippy::cast_precision_loss, reason = "a benchmark divides")]

use std::hint::black_box;
use std::time::Instant as HostTime;

use bytes::Bytes;
use engine::{HostSpec, NetworkSpec, Options, World};
use machine::{
    Address, Depth, Digest, Draw, EndId, HostId, Input, InputOf, Instant, Io, Lane, Machine, Payload, Port, Purpose,
    RunKey, Span, Vocabulary,
};

const PORT: Port = Port(1);
const WHOM: Purpose = Purpose::new("bench/whom");
const WHEN: Purpose = Purpose::new("bench/when");

#[derive(Clone, Debug)]
enum Message {
    Ping { body: [u64; 7] },
    Pong { body: [u64; 7] },
    Heartbeat,
    Record { n: u64, bytes: Bytes },
    Acked { n: u64 },
}

impl Payload for Message {
    fn name(&self) -> &'static str {
        match self {
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
            Self::Heartbeat => "heartbeat",
            Self::Record { .. } => "record",
            Self::Acked { .. } => "acked",
        }
    }

    fn wire_len(&self) -> u32 {
        64
    }

    fn digest(&self, _: Depth, into: &mut Digest) {
        match self {
            Self::Ping { body } | Self::Pong { body } => into.word(body[0]),
            Self::Heartbeat => {}
            Self::Record { n, .. } | Self::Acked { n } => into.word(*n),
        }
    }
}

machine::facts! {
    enum Fact {
        "done" Done { count: u64 => Uint(*count) },
    }
}

#[derive(Clone, Debug)]
enum Image {
    Ping { me: u32, hosts: u32 },
    Timer { me: u32, hosts: u32 },
    Leader,
    Follower,
    Client,
}

/// A node of any of the workloads, as a scenario's enum of machines would be.
#[derive(Clone, Debug)]
enum Node {
    Ping { me: u32, hosts: u32, ends: Vec<Option<EndId>>, opened: u32, count: u64 },
    Timer { me: u32, ends: Vec<EndId>, beat: Instant, election: Instant, fired: u64 },
    Leader { followers: Vec<EndId>, client: Option<EndId>, acks: u64, count: u64 },
    Follower { stored: u64 },
    Client { next: u64, acked: u64 },
}

impl Vocabulary for Node {
    type Message = Message;
    type Work = u64;
    type Fact = Fact;
}

fn ping_next(hosts: u32, me: u32, ends: &[Option<EndId>], io: &mut Io<'_, Node>) {
    let mut draw: Draw = io.draw(WHOM);
    let other = (u64::from(me) + 1 + draw.below(u64::from(hosts) - 1)) % u64::from(hosts);
    let other = usize::try_from(other).expect("a host");
    io.send(ends[other].expect("all are open"), Message::Ping { body: [other as u64; 7] });
}

impl Machine for Node {
    type Image = Image;
    type View = ();

    fn boot(image: &Image, io: &mut Io<'_, Self>) -> Self {
        let dial = |io: &mut Io<'_, Self>, host| io.connect(Address { host: HostId(host), port: PORT });
        io.listen(PORT);
        match *image {
            Image::Ping { me, hosts } => {
                let ends = (0..hosts).map(|host| (host != me).then(|| dial(io, host))).collect();
                Self::Ping { me, hosts, ends, opened: 0, count: 0 }
            }
            Image::Timer { me, hosts } => {
                if me == 0 {
                    (1..hosts).for_each(|host| {
                        dial(io, host);
                    });
                }
                let beat = if me == 0 { io.now() + Span::millis(100) } else { Instant::MAX };
                Self::Timer { me, ends: Vec::new(), beat, election: io.now() + Span::millis(500), fired: 0 }
            }
            Image::Leader => Self::Leader { followers: Vec::new(), client: None, acks: 0, count: 0 },
            Image::Follower => {
                dial(io, 0);
                Self::Follower { stored: 0 }
            }
            Image::Client => {
                dial(io, 0);
                Self::Client { next: 0, acked: 0 }
            }
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match (self, input) {
            (Self::Ping { me, hosts, ends, opened, .. }, Input::Opened { .. }) => {
                *opened += 1;
                if *opened == *hosts - 1 {
                    ping_next(*hosts, *me, ends, io);
                }
            }
            (Self::Ping { .. }, Input::Message { on, message: Message::Ping { body } }) => {
                io.send(on, Message::Pong { body });
            }
            (Self::Ping { me, hosts, ends, count, .. }, Input::Message { message: Message::Pong { .. }, .. }) => {
                *count += 1;
                ping_next(*hosts, *me, ends, io);
            }
            (Self::Timer { ends, .. }, Input::Opened { on }) => ends.push(on),
            (Self::Timer { election, .. }, Input::Message { message: Message::Heartbeat, .. }) => {
                *election = io.now() + Span::millis(300) + io.draw(WHEN).between(Span::ZERO, Span::millis(300));
            }
            (Self::Timer { me, ends, beat, election, fired }, Input::Woken) => {
                let now = io.now();
                *fired += 1;
                if *me == 0 && *beat <= now {
                    *beat = now + Span::millis(90) + io.draw(WHEN).between(Span::ZERO, Span::millis(20));
                    for &end in ends.iter() {
                        io.send(end, Message::Heartbeat);
                    }
                }
                if *election <= now {
                    *election = now + Span::millis(500);
                }
            }
            (Self::Leader { followers, .. }, Input::Accepted { on, peer, .. }) if peer.0 < 3 => followers.push(on),
            (Self::Leader { client, .. }, Input::Accepted { on, .. }) => *client = Some(on),
            (Self::Leader { followers, .. }, Input::Message { message: Message::Record { n, bytes }, .. }) => {
                for &end in followers.iter() {
                    io.send(end, Message::Record { n, bytes: bytes.clone() });
                }
            }
            (Self::Leader { acks, count, client, .. }, Input::Message { message: Message::Acked { n }, .. }) => {
                *acks += 1;
                if *acks % 2 == 1 {
                    *count += 1;
                    io.send(client.expect("it asked"), Message::Acked { n });
                }
            }
            (Self::Follower { stored, .. }, Input::Message { on, message: Message::Record { n, .. } }) => {
                *stored += 1;
                io.send(on, Message::Acked { n });
            }
            (Self::Client { next, .. }, Input::Opened { on }) => {
                for _ in 0..16 {
                    io.send(on, Message::Record { n: *next, bytes: Bytes::from_static(&[7; 100]) });
                    *next += 1;
                }
            }
            (Self::Client { next, acked, .. }, Input::Message { on, message: Message::Acked { .. } }) => {
                *acked += 1;
                io.send(on, Message::Record { n: *next, bytes: Bytes::from_static(&[7; 100]) });
                *next += 1;
            }
            _ => {}
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        match self {
            Self::Timer { beat, election, .. } => Some((*beat).min(*election)),
            Self::Ping { .. } | Self::Leader { .. } | Self::Follower { .. } | Self::Client { .. } => None,
        }
    }

    fn check_invariants(&self) {}

    fn view(&self) {}

    fn digest(&self, into: &mut Digest) {
        if let Self::Ping { count, .. } = self {
            into.word(*count);
        }
    }

    fn lane_name(_: Lane) -> &'static str {
        "lane"
    }
}

fn world(seed: u64, images: Vec<Image>) -> World<Node, ()> {
    let hosts = (0..).zip(images).map(|(at, image): (u32, _)| HostSpec {
        start_at: Some(Span::ZERO),
        ..HostSpec::new(format!("h{at}"), "hosts", image)
    });
    let network = NetworkSpec::uniform(Span::millis(1), Span::millis(10));
    World::new(seed, (), hosts.collect(), &network, Vec::new(), Options::default())
}

fn ping_world(seed: u64, hosts: u32) -> World<Node, ()> {
    world(seed, (0..hosts).map(|me| Image::Ping { me, hosts }).collect())
}

/// The fastest of five, in seconds, and what the work returned.
fn fastest(mut work: impl FnMut() -> u64) -> (f64, u64) {
    let (mut best, mut count) = (f64::MAX, 0);
    for _ in 0..5 {
        let start = HostTime::now();
        count = black_box(work());
        best = best.min(start.elapsed().as_secs_f64());
    }
    (best, count)
}

fn row(name: &str, (seconds, count): (f64, u64), unit: &str) {
    let rate = count as f64 / seconds;
    println!("{name:<34} {:>9.2} M {unit}/s {:>8.1} ns each", rate / 1e6, 1e9 / rate);
}

fn messages(mut world: World<Node, ()>, count: u64) -> u64 {
    while world.counts().messages < count {
        world.step();
    }
    world.counts().messages
}

/// A bare loop: the standard heap, static calls, no connections, no effects, no hash, no faults.
fn bare_pingpong(count: u64) -> u64 {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    let key = RunKey([1, 2]);
    let mut heap: BinaryHeap<Reverse<(u64, u64, u64, u64)>> = BinaryHeap::new();
    let (mut sequence, mut delivered) = (0, 0);
    for me in 0..8 {
        heap.push(Reverse((me, me, me, (me + 1) % 8)));
    }
    while delivered < count {
        let Reverse((at, _, from, to)) = heap.pop().expect("somebody waits");
        delivered += 1;
        sequence += 1;
        let mut draw = key.draw(WHOM, to, sequence);
        let latency = 1_000_000 + draw.below(9_000_000);
        let whom = if delivered % 2 == 0 { (to + 1 + draw.below(7)) % 8 } else { from };
        heap.push(Reverse((at + latency, sequence, to, whom)));
    }
    delivered
}

fn main() {
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    // For an instruction profiler: one short workload and nothing else.
    if std::env::args().any(|arg| arg == "profile") {
        black_box(messages(ping_world(1, 8), 200_000));
        return;
    }
    println!("{:<34} {:>11}", "workload", "rate");
    row("pingpong, bare loop", fastest(|| bare_pingpong(2_000_000)), "messages");
    row("pingpong, 8 hosts", fastest(|| messages(ping_world(1, 8), 2_000_000)), "messages");
    let timers = || {
        let mut world = world(1, (0..100).map(|me| Image::Timer { me, hosts: 100 }).collect());
        world.run_until(Instant::ZERO + Span::secs(300));
        let counts = world.counts();
        // A re-arm comes with each heartbeat.
        counts.messages * 2 + counts.wakes
    };
    row("timers, 100 hosts", fastest(timers), "protocol events");
    let replicate =
        || messages(world(1, vec![Image::Leader, Image::Follower, Image::Follower, Image::Client]), 1_000_000);
    row("replicate, 3 hosts and a client", fastest(replicate), "messages");
    let mut seed = 0;
    let (seconds, _) = fastest(|| {
        for _ in 0..500 {
            seed += 1;
            messages(ping_world(seed, 8), 1_000);
        }
        500
    });
    println!(
        "{:<34} {:>9.2} k seeds/s {:>8.1} us each",
        "seeds of 1,000 messages, 8 hosts",
        0.5 / seconds,
        seconds * 2e3
    );

    let mut few = ping_world(1, 10);
    few.run_until(Instant::ZERO + Span::secs(1));
    let mut images = vec![Image::Leader, Image::Follower, Image::Follower];
    images.extend((0..17).map(|_| Image::Client));
    images.truncate(19);
    let mut many = world(1, images);
    many.run_until(Instant::ZERO + Span::millis(200));
    for (name, world) in [("few", few), ("many", many)] {
        let (seconds, _) = fastest(|| {
            for _ in 0..10_000 {
                black_box(world.clone());
            }
            10_000
        });
        let pending = world.pending_events();
        let hosts = world.hosts().len();
        println!("fork, {hosts} hosts, {pending} pending ({name}) {:>18.2} us", seconds * 100.0);
        let (seconds, _) = fastest(|| {
            for _ in 0..10_000 {
                let mut fork = world.clone();
                fork.step();
                black_box(fork);
            }
            10_000
        });
        println!("  … and its first message {:>29.2} us", seconds * 100.0);
    }
}
