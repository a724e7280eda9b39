//! The standard workloads on our engine and on a bare loop, in the same run: the ratio is what counts.
//!
//! `pingpong`: 8 nodes, 1–10 ms. *Everything on* is a timer with each ping, a fact with each answer, a judge, three
//! rules that compare each fact, and drifting clocks. `timers`: 100 nodes for 60 s. `replicate`: 20,000 records, see
//! [`replicate`]. `seeds`: a world of 8 hosts and 1,000 messages, made and dropped. `fork`: 10 hosts with few and with
//! 250 messages pending, and the first message of the fork. All machines are in one enum.
//!
//! `profile` followed by the name of a workload runs it once and nothing else, for an instruction profiler; it prints how
//! many messages it delivered and the trace hash.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the host's clock")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the host's clock")]
#![expect(clippy::disallowed_macros, reason = "a benchmark prints its table")]
#![expect(clippy::float_arithmetic, reason = "a benchmark divides")]
#![expect(clippy::cast_precision_loss, reason = "a benchmark divides")]

mod bare;
mod node;
mod pingpong;
mod replicate;
mod timers;
mod window;

use std::hint::black_box;
use std::time::Instant as HostTime;

use engine::{
    ClockSpec, DatagramSpec, Fault, Findings, HostSpec, Hosts, Judges, NetworkSpec, Options, Rule, Seen, SeenWhat,
    SpanRange, Step, Supervisor, Target, Trigger, When, World,
};
use machine::{HostId, Instant, Span};

use crate::node::{Fact, Image, Node};
use crate::pingpong::{PingFact, PingImage};
use crate::replicate::LogImage;
use crate::timers::TimerImage;

/// A tenth of what the other engines were given, and many times over.
const RECORDS: u64 = 20_000;
const SECONDS: u64 = 60;

/// Every answer is counted once, in order.
#[derive(Clone, Debug)]
struct Counted {
    answers: Vec<u64>,
}

impl Judges<Node> for Counted {
    fn observe(&mut self, seen: &Seen<'_, Node>, _: &mut Findings) {
        if let SeenWhat::Stated { fact: Fact::Ping(PingFact::Answered { count }) } = seen.what {
            let answers = &mut self.answers[seen.host.0 as usize];
            *answers += 1;
            assert_eq!(*answers, *count, "an answer is counted once");
        }
    }

    fn inspect(&mut self, _: &Step, _: &Hosts<'_, Node>, _: &mut Findings) {}

    fn role(&self, _: &str) -> Option<HostId> {
        None
    }

    fn pending(&mut self, _: Instant, _: &Hosts<'_, Node>) -> Option<String> {
        None
    }

    fn finish(&mut self, _: Instant, _: &Hosts<'_, Node>, _: &mut Findings) {}
}

fn host(at: u32, image: Image) -> HostSpec<Node> {
    HostSpec { start_at: Some(Span::ZERO), ..HostSpec::new(format!("h{at}"), "hosts", image) }
}

fn links() -> NetworkSpec {
    NetworkSpec::uniform(Span::millis(1), Span::millis(10))
}

/// Connections, effects and the trace hash, which are always on; nothing else.
fn ping_world(seed: u64, hosts: u32, in_flight: u32) -> World<Node, ()> {
    let hosts = (0..hosts).map(|me| host(me, Image::Ping(PingImage { me, hosts, in_flight, everything: false })));
    World::new(seed, (), hosts.collect(), &links(), Vec::new(), Options::default())
}

fn everything_on(seed: u64) -> World<Node, Counted> {
    let hosts = (0..8).zip([-150, -80, -20, 0, 10, 60, 120, 200]).map(|(me, drift_ppm)| HostSpec {
        clock: ClockSpec { offset_ms: 0, drift_ppm },
        ..host(me, Image::Ping(PingImage { me, hosts: 8, in_flight: 1, everything: true }))
    });
    // None of them ever strikes: only the comparison is measured.
    let rule = |fact: &str, nth| {
        let kill = Fault::Kill { target: Target::Host("h0".to_owned()), restart_after: None };
        Rule { when: When::Fact(Trigger { nth, ..Trigger::new(fact) }), ..Rule::on(fact, kill) }
    };
    let rules = vec![rule("answered", u32::MAX), rule("timed-out", 1), rule("answered", u32::MAX - 1)];
    World::new(seed, Counted { answers: vec![0; 8] }, hosts.collect(), &links(), rules, Options::default())
}

fn timer_world() -> World<Node, ()> {
    let hosts = (0..100).map(|me| host(me, Image::Timer(TimerImage { me, hosts: 100 })));
    World::new(1, (), hosts.collect(), &links(), Vec::new(), Options::default())
}

/// Over datagrams messages are lost and followers crash; over connections nothing happens to them.
fn log_world(datagrams: bool) -> World<Node, ()> {
    let hosts = (0..4).map(|at| HostSpec {
        supervisor: Supervisor::Never,
        // The client comes when the followers are there.
        start_at: Some(if at == 3 { Span::millis(100) } else { Span::ZERO }),
        ..host(at, Image::Log(LogImage { host: HostId(at), datagrams }))
    });
    let mut network = links();
    let mut rules = Vec::new();
    if datagrams {
        network.datagrams = DatagramSpec { loss_one_in: 100, duplicate_one_in: 0 };
        for crash in 1..=100 {
            let target = Target::Host(format!("h{}", 1 + crash % 2));
            let half_a_second = SpanRange::between(Span::millis(500), Span::millis(500));
            let fault = Fault::Kill { target, restart_after: Some(half_a_second) };
            let at = Span::secs(5) * crash;
            rules.push(Rule { when: When::At(SpanRange::between(at, at)), ..Rule::on("at a time", fault) });
        }
    }
    World::new(1, (), hosts.collect(), &network, rules, Options::default())
}

/// Steps until so many messages were delivered.
fn messages<J: Judges<Node>>(world: &mut World<Node, J>, count: u64) -> u64 {
    while world.counts().messages < count {
        assert!(world.step(), "somebody always waits");
    }
    world.counts().messages
}

fn timers(world: &mut World<Node, ()>, seconds: u64) -> u64 {
    world.run_until(Instant::ZERO + Span::secs(seconds));
    let of_nodes = world.hosts().machines().map(|(_, node)| match node {
        Node::Timer(node) => node.timer_events(),
        Node::Ping(_) | Node::Log(_) => 0,
    });
    world.counts().messages + of_nodes.sum::<u64>()
}

fn replicate(world: &mut World<Node, ()>, records: u64) -> u64 {
    let client = HostId(3);
    loop {
        if let Some(Node::Log(node)) = world.machine(client)
            && node.stored() >= records
        {
            return world.counts().messages + world.counts().datagrams;
        }
        for _ in 0..64 {
            assert!(world.step(), "somebody always waits");
        }
    }
}

/// Seconds, and what was counted in them.
type Timed = (f64, u64);

/// Runs all of them in turn, many times over, and keeps the fastest of each: on a machine with other work on it only
/// those compare.
fn fastest<const N: usize>(works: [&dyn Fn() -> u64; N]) -> [Timed; N] {
    let mut best = [(f64::MAX, 0); N];
    for _ in 0..25 {
        for (work, best) in works.iter().zip(&mut best) {
            let start = HostTime::now();
            let count = black_box(work());
            let seconds = start.elapsed().as_secs_f64();
            if seconds < best.0 {
                *best = (seconds, count);
            }
        }
    }
    best
}

/// Prints a rate, and how it compares with the bare loop's.
fn row(name: &str, (seconds, count): Timed, unit: &str, bare: Option<Timed>) {
    let rate = count as f64 / seconds;
    let ratio = bare.map_or_else(String::new, |bare| format!("{:.2} of bare", rate * bare.0 / bare.1 as f64));
    println!("{name:<38} {:>8.2} M {unit}/s {:>8.1} ns each  {ratio}", rate / 1e6, 1e9 / rate);
}

fn fork_row(name: &str, world: &World<Node, ()>) {
    const FORKS: u32 = 1_000;
    let fork = || {
        (0..FORKS).for_each(|_| drop(black_box(world.clone())));
        1
    };
    let touch = || {
        for _ in 0..FORKS {
            let mut fork = world.clone();
            messages(&mut fork, world.counts().messages + 1);
            drop(black_box(fork));
        }
        1
    };
    let [forked, touched] = fastest([&fork, &touch]).map(|(seconds, _)| seconds * 1e6 / f64::from(FORKS));
    println!("{name:<38} {forked:>8.2} us, and its first message {touched:>6.2} us");
}

/// Runs a workload once, for a profiler.
fn profile(name: &str) {
    let (count, hash) = match name {
        "direct" => {
            let mut world = ping_world(1, 8, 1);
            (messages(&mut world, 200_000), world.hash())
        }
        "everything" => {
            let mut world = everything_on(1);
            (messages(&mut world, 200_000), world.hash())
        }
        "timers" => {
            let mut world = timer_world();
            (timers(&mut world, 60), world.hash())
        }
        "replicate" => {
            let mut world = log_world(true);
            (replicate(&mut world, 20_000), world.hash())
        }
        "replicate-connections" => {
            let mut world = log_world(false);
            (replicate(&mut world, 20_000), world.hash())
        }
        "seeds" => (1..=100).fold((0, 0), |(count, hash), seed| {
            let mut world = ping_world(seed, 8, 1);
            (count + messages(&mut world, 1_000), hash ^ world.hash())
        }),
        "bare-pingpong" => (bare::pingpong(200_000), 0),
        "bare-timers" => (bare::timers(60), 0),
        "bare-replicate" => (bare::replicate(20_000), 0),
        other => panic!("no workload is called `{other}`"),
    };
    println!("{name}: {count} counted, hash {hash:016x}");
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--test") {
        return;
    }
    if let Some(at) = args.iter().position(|arg| arg == "profile") {
        return args[at + 1..].iter().filter(|arg| !arg.starts_with('-')).for_each(|name| profile(name));
    }
    println!("{:<38} {:>10}", "workload", "rate");
    let rich = || bare::pingpong(200_000);
    let direct = || messages(&mut ping_world(1, 8, 1), 200_000);
    let everything = || messages(&mut everything_on(1), 200_000);
    let [bare, direct, everything] = fastest([&rich, &direct, &everything]);
    row("pingpong, bare rich loop", bare, "messages", None);
    row("pingpong", direct, "messages", Some(bare));
    row("pingpong, everything on", everything, "messages", Some(bare));

    let bare = || bare::replicate(RECORDS);
    let datagrams = || replicate(&mut log_world(true), RECORDS);
    let connections = || replicate(&mut log_world(false), RECORDS);
    let [bare, datagrams, connections] = fastest([&bare, &datagrams, &connections]);
    row("replicate, bare loop", bare, "messages", None);
    row("replicate, losses and crashes", datagrams, "messages", Some(bare));
    row("replicate, over connections", connections, "messages", Some(bare));

    let [bare, ours] = fastest([&|| bare::timers(SECONDS), &|| timers(&mut timer_world(), SECONDS)]);
    row("timers, bare loop", bare, "events", None);
    row("timers, 100 hosts", ours, "events", Some(bare));

    let seeds = || (0..20).map(|seed| messages(&mut ping_world(seed, 8, 1), 1_000) / 1_000).sum();
    let [(seconds, count)] = fastest([&seeds]);
    let rate = count as f64 / seconds;
    println!("{:<38} {:>8.2} k seeds/s {:>8.1} us each", "seeds of 1,000 messages, 8 hosts", rate / 1e3, 1e6 / rate);

    for in_flight in [1, 25] {
        let mut world = ping_world(1, 10, in_flight);
        world.run_until(Instant::ZERO + Span::secs(1));
        fork_row(&format!("fork of 10 hosts, {} pending", world.pending_events()), &world);
    }
}
