//! The families of faults of a swarm: whole kinds of trouble, of which a run has some and much of each.

use engine::{DiskOperation, Except, Fault, Rule, SpanRange, Target, When, Yes};
use machine::Span;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use super::{Cast, Profile, Size, Swarm, between, chance, log_uniform, rule, some_of};
use crate::{BROKERS, CLIENTS, COORDINATORS};

macro_rules! families {
    ($($(#[doc = $about:literal])+ $variant:ident = $name:literal in $profile:ident,)*) => {
        /// A family of faults, by the ids of invariants-and-faults.md §1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum SwarmFamily {
            $($(#[doc = $about])+ $variant,)*
        }

        /// Every family, with the first profile that has it and what it does.
        pub const SWARM_FAMILIES: &[(SwarmFamily, Profile, &str)] =
            &[$((SwarmFamily::$variant, Profile::$profile, concat!($($about),+)),)*];

        impl SwarmFamily {
            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

families! {
    /// P01: a process dies and comes back.
    Kill = "kill" in Crash,
    /// P08: it is back before its session ends.
    Bounce = "fast-bounce" in Crash,
    /// P02: it is asked to end.
    Terminate = "terminate" in Crash,
    /// P07: it dies again while it starts.
    CrashLoop = "crash-loop" in Crash,
    /// P03 with D01, D02 and D14: a host loses power.
    Power = "power-loss" in Crash,
    /// P04: a process stops for a while.
    Pause = "pause" in Crash,
    /// K05: a host and its clocks stop.
    Suspend = "suspend" in Crash,
    /// O03, X03: everybody of a group restarts at once.
    Together = "all-at-once" in Crash,
    /// O01, O02: one of a group after another is asked to end.
    Rolling = "rolling-restart" in Crash,
    /// X01: everything in a rack loses power.
    Rack = "rack-loss" in Crash,
    /// N01: one host is cut off from everybody.
    Isolate = "isolate" in Net,
    /// N01: a minority is cut off from the rest.
    Split = "split" in Net,
    /// N02: two hosts do not reach each other, everybody else does.
    Partial = "partial-cut" in Net,
    /// N03: one direction only.
    OneWay = "one-way-cut" in Net,
    /// N04, N05: a ring of majorities, or halves that one host joins.
    Shape = "ring-or-bridge" in Net,
    /// N06, Z01, Z02: brokers or clients are cut off from ZooKeeper, perhaps for longer than a session.
    RoleCut = "cut-from-zookeeper" in Net,
    /// N07: a link that comes and goes.
    Flap = "flap" in Net,
    /// N08: half of the hosts are cut off one by one.
    Swizzle = "swizzle" in Net,
    /// N10, N20, Z12: one direction is slow.
    Delay = "delay" in Net,
    /// N11: segments are lost.
    Loss = "loss" in Net,
    /// N13, Z03, X08: connections are reset.
    Reset = "reset" in Net,
    /// N14: connections fall silent.
    HalfOpen = "half-open" in Net,
    /// N16: connections are accepted late, or refused.
    SlowAccept = "slow-accept" in Net,
    /// N17: a narrow link.
    Bandwidth = "bandwidth" in Net,
    /// P05: a slow processor.
    SlowCpu = "slow-cpu" in WithinSpec,
    /// P06: one thread stops.
    StopLane = "stop-lane" in WithinSpec,
    /// D11: a slow disk.
    SlowDisk = "slow-disk" in WithinSpec,
    /// D04: a sync fails.
    SyncError = "sync-error" in WithinSpec,
    /// D10: writes fail.
    WriteError = "write-error" in WithinSpec,
    /// D09: the disk is full.
    DiskFull = "disk-full" in WithinSpec,
    /// D12: a disk is replaced.
    Wipe = "wipe" in WithinSpec,
    /// K02, K03, K04: calendars jump.
    Calendar = "calendar-jumps" in WithinSpec,
    /// K01: clocks run fast or slow.
    Drift = "drift" in WithinSpec,
    /// K06: timers fire late.
    LateTimers = "late-timers" in WithinSpec,
    /// X06: everybody of a group pauses.
    PauseAll = "pause-all" in WithinSpec,
    /// D05: sectors cannot be read.
    BadSectors = "bad-sectors" in BeyondSpec,
    /// D06: bits rot.
    BitRot = "bit-rot" in BeyondSpec,
    /// D07, D08: writes are lost or land elsewhere.
    LostWrite = "lost-write" in BeyondSpec,
    /// D03: syncs lie.
    LostSync = "lost-sync" in BeyondSpec,
    /// D13: a disk goes back in time.
    RestoreDisk = "restore-disk" in BeyondSpec,
}

/// The families of a run, and its rules in the order of their times.
pub(super) fn draw(swarm: &Swarm, cast: &Cast, duration: Span, rng: &mut ChaCha8Rng) -> (Vec<SwarmFamily>, Vec<Rule>) {
    let all: Vec<SwarmFamily> = SWARM_FAMILIES
        .iter()
        .filter(|(_, profile, _)| match swarm.profile {
            Profile::None => false,
            Profile::Crash => *profile == Profile::Crash,
            Profile::Net => *profile == Profile::Net,
            Profile::WithinSpec => *profile != Profile::BeyondSpec,
            Profile::BeyondSpec => true,
        })
        .map(|(family, ..)| *family)
        .collect();
    // Aimed faults alone, in their order, are a preset of their own.
    if all.is_empty() || (swarm.size == Size::Three && chance(75, rng)) {
        return (Vec::new(), Vec::new());
    }
    // Of many kinds few at a time: even odds on each axis of kinds would leave a little of everything.
    let mut families = some_of(&all, rng);
    families.truncate(rng.random_range(1..=6));
    families.sort_unstable();
    let mean = between(swarm.every, rng);
    let mut at = between(swarm.not_before, rng);
    let mut rules = Vec::new();
    while at < duration && rules.len() < 40 {
        let family = *families.choose(rng).expect("there is a family");
        rules.extend(
            faults(family, swarm, cast, rng)
                .into_iter()
                .map(|(after, fault)| rule(When::At(SpanRange::exactly(at + after)), fault)),
        );
        at += arrival(mean, rng);
    }
    (families, rules)
}

/// The time to the next fault: exponential by halves, which is near enough and needs no float.
fn arrival(mean: Span, rng: &mut ChaCha8Rng) -> Span {
    let mean = mean.as_millis().max(1);
    let mut wait = 0;
    while rng.random_ratio(1, 2) && wait < mean * 6 {
        wait += mean;
    }
    Span::millis(wait + rng.random_range(1..=mean))
}

fn group(name: &str) -> Target {
    Target::Group(name.to_owned())
}

/// A server: half of the time one whose role makes it interesting.
fn server(cast: &Cast, rng: &mut ChaCha8Rng) -> Target {
    if cast.brokers > 0 && rng.random_ratio(1, 2) { broker(cast, rng) } else { coordinator(rng) }
}

fn coordinator(rng: &mut ChaCha8Rng) -> Target {
    match rng.random_range(0..4) {
        0 | 1 => Target::Role("leader".to_owned()),
        2 => Target::Role("a-follower".to_owned()),
        _ => Target::AnyOf(COORDINATORS.to_owned()),
    }
}

fn broker(cast: &Cast, rng: &mut ChaCha8Rng) -> Target {
    match (&cast.partition, rng.random_range(0..5)) {
        (_, 0) => Target::Role("controller".to_owned()),
        (Some(partition), 1 | 2) => Target::Role(format!("leader-of-{partition}")),
        (Some(partition), 3) => Target::Role(format!("isr-follower-of-{partition}")),
        (_, _) => Target::AnyOf(BROKERS.to_owned()),
    }
}

fn servers(cast: &Cast, rng: &mut ChaCha8Rng) -> Target {
    group(if cast.brokers > 0 && rng.random_ratio(1, 2) { BROKERS } else { COORDINATORS })
}

fn minority(cast: &Cast, rng: &mut ChaCha8Rng) -> (Target, Target) {
    let name = if cast.brokers > 2 && rng.random_ratio(1, 2) { BROKERS } else { COORDINATORS };
    (Target::MinorityOf(name.to_owned()), Target::RestOf(name.to_owned()))
}

/// What a family does this once, each with how long behind its time.
#[expect(clippy::too_many_lines, reason = "a flat match with one arm per family")]
fn faults(family: SwarmFamily, swarm: &Swarm, cast: &Cast, rng: &mut ChaCha8Rng) -> Vec<(Span, Fault)> {
    let drawn = between(swarm.lasting, rng);
    // One in three lasts longer than a session.
    let drawn = if chance(30, rng) { drawn.max(Span::millis(cast.session_ms + cast.session_ms / 2)) } else { drawn };
    let lasting = Some(SpanRange::exactly(drawn));
    let clients = if cast.has_clients { CLIENTS } else { COORDINATORS };
    let fault = match family {
        SwarmFamily::Kill => Fault::Kill { target: server(cast, rng), restart_after: lasting },
        SwarmFamily::Bounce => {
            let gap = Span::millis(log_uniform(1, (cast.session_ms / 2).max(2), rng));
            Fault::Kill { target: server(cast, rng), restart_after: Some(SpanRange::exactly(gap)) }
        }
        SwarmFamily::Terminate => Fault::Terminate { target: server(cast, rng), restart_after: lasting },
        SwarmFamily::CrashLoop => Fault::CrashLoop {
            target: server(cast, rng),
            times: rng.random_range(1..=5),
            within: SpanRange::between(Span::ZERO, Span::millis(log_uniform(1, 1_000, rng))),
            restart_after: SpanRange::between(Span::millis(10), Span::millis(300)),
        },
        SwarmFamily::Power => Fault::PowerLoss { target: server(cast, rng), down_for: lasting },
        SwarmFamily::Pause => Fault::Pause { target: server(cast, rng), lasting },
        SwarmFamily::Suspend => Fault::Suspend { target: server(cast, rng), lasting },
        SwarmFamily::Together => {
            let target = servers(cast, rng);
            match rng.random_range(0..3) {
                0 => Fault::Kill { target, restart_after: lasting },
                1 => Fault::Terminate { target, restart_after: lasting },
                _ => Fault::PowerLoss { target, down_for: lasting },
            }
        }
        SwarmFamily::Rolling => {
            let is_brokers = cast.brokers > 0 && rng.random_ratio(1, 2);
            let (count, name) = if is_brokers { (cast.brokers, "kafka") } else { (cast.coordinators, "zk") };
            let wait = Span::millis(log_uniform(100, 2_000, rng));
            let one = |at: u32| {
                let target = Target::Host(format!("{name}{}", at + 1));
                (wait * u64::from(at), Fault::Terminate { target, restart_after: Some(SpanRange::exactly(wait / 2)) })
            };
            return (0..count).map(one).collect();
        }
        SwarmFamily::Rack => {
            let rack = rng.random_range(0..cast.racks.max(1));
            let of = |count: u32, name: &'static str| {
                (0..count).filter(move |at| at % cast.racks.max(1) == rack).map(move |at| format!("{name}{}", at + 1))
            };
            let hosts: Vec<String> = of(cast.coordinators, "zk").chain(of(cast.brokers, "kafka")).collect();
            return hosts
                .into_iter()
                .map(|host| {
                    let after = Span::millis(rng.random_range(0..=200));
                    (after, Fault::PowerLoss { target: Target::Host(host), down_for: lasting })
                })
                .collect();
        }
        SwarmFamily::Isolate => Fault::Isolate { target: server(cast, rng), lasting },
        SwarmFamily::Split => {
            let (one, other) = minority(cast, rng);
            Fault::Partition { groups: vec![vec![one], vec![other]], lasting }
        }
        SwarmFamily::Partial => {
            let name = if cast.brokers > 1 && rng.random_ratio(1, 2) { BROKERS } else { COORDINATORS };
            let any = Target::AnyOf(name.to_owned());
            Fault::Cut { from: any.clone(), to: any, one_way: false, lasting }
        }
        SwarmFamily::OneWay => {
            let (one, other) = (server(cast, rng), servers(cast, rng));
            let (from, to) = if rng.random_ratio(1, 2) { (one, other) } else { (other, one) };
            Fault::Cut { from, to, one_way: true, lasting }
        }
        SwarmFamily::Shape => {
            let target = servers(cast, rng);
            if rng.random_ratio(1, 2) { Fault::Ring { target, lasting } } else { Fault::Bridge { target, lasting } }
        }
        SwarmFamily::RoleCut => {
            let from = if cast.brokers > 0 { broker(cast, rng) } else { Target::AnyOf(clients.to_owned()) };
            let to = if rng.random_ratio(1, 3) { Target::Role("leader".to_owned()) } else { group(COORDINATORS) };
            Fault::Cut { from, to, one_way: chance(20, rng), lasting }
        }
        SwarmFamily::Flap => {
            let span = |rng: &mut ChaCha8Rng| {
                let most = log_uniform(50, 2_000, rng);
                SpanRange::between(Span::millis(10), Span::millis(most))
            };
            let (up, down) = (span(rng), span(rng));
            Fault::Flap {
                from: server(cast, rng),
                to: servers(cast, rng),
                up,
                down,
                lasting: SpanRange::exactly(drawn),
            }
        }
        SwarmFamily::Swizzle => Fault::Swizzle {
            target: if rng.random_ratio(1, 2) { Target::Everybody(Yes) } else { servers(cast, rng) },
            lasting: SpanRange::exactly(drawn),
        },
        SwarmFamily::Delay => {
            let most = log_uniform(5, cast.session_ms, rng);
            let extra = SpanRange::between(Span::millis(1), Span::millis(most));
            Fault::Delay { from: server(cast, rng), to: servers(cast, rng), extra, lasting }
        }
        SwarmFamily::Loss => {
            Fault::Loss { from: servers(cast, rng), to: servers(cast, rng), one_in: rng.random_range(3..=30), lasting }
        }
        SwarmFamily::Reset => {
            let other = if rng.random_ratio(1, 2) { group(clients) } else { servers(cast, rng) };
            Fault::Reset { between: [server(cast, rng), other] }
        }
        SwarmFamily::HalfOpen => {
            let other = if rng.random_ratio(1, 3) { group(clients) } else { servers(cast, rng) };
            Fault::HalfOpen { between: [server(cast, rng), other], lasting }
        }
        SwarmFamily::SlowAccept => {
            let extra = Span::millis(log_uniform(10, 2_000, rng));
            let extra = rng.random_ratio(1, 2).then(|| SpanRange::exactly(extra));
            Fault::SlowAccept { target: server(cast, rng), extra, lasting }
        }
        SwarmFamily::Bandwidth => Fault::Bandwidth {
            from: server(cast, rng),
            to: servers(cast, rng),
            bytes_per_second: log_uniform(1_000, 1_000_000, rng),
            lasting,
        },
        SwarmFamily::SlowCpu => Fault::SlowCpu {
            target: server(cast, rng),
            factor: u32::try_from(log_uniform(2, 100, rng)).expect("at most a hundred"),
            each: SpanRange::exactly(Span::micros(log_uniform(1, 10_000, rng))),
            lasting,
        },
        SwarmFamily::StopLane => {
            let is_broker = cast.brokers > 0 && rng.random_ratio(1, 2);
            let (target, lanes) = if is_broker {
                (
                    broker(cast, rng),
                    ["controller-events", "zookeeper-events", "scheduler", "request-handler", "fetcher"],
                )
            } else {
                (coordinator(rng), ["prep", "disk", "commit", "sessions", "learner-handler"])
            };
            let lane = (*lanes.choose(rng).expect("there are lanes")).to_owned();
            Fault::StopLane { target, lane, lasting }
        }
        SwarmFamily::SlowDisk => Fault::SlowDisk {
            target: server(cast, rng),
            factor: u32::try_from(log_uniform(10, 500, rng)).expect("at most five hundred"),
            stall: SpanRange::exactly(Span::millis(rng.random_range(0..=cast.session_ms / 2))),
            lasting,
        },
        SwarmFamily::SyncError => {
            let (target, operation) = (server(cast, rng), DiskOperation::Sync);
            Fault::DiskError { target, operation, times: Some(1), lasting }
        }
        SwarmFamily::WriteError => {
            let (target, operation) = (server(cast, rng), DiskOperation::Write);
            Fault::DiskError { target, operation, times: None, lasting }
        }
        SwarmFamily::DiskFull => Fault::DiskFull { target: server(cast, rng), lasting },
        SwarmFamily::Wipe => Fault::Wipe { target: server(cast, rng), down_for: lasting },
        SwarmFamily::Calendar => {
            let size = i64::try_from(log_uniform(11, 288_000, rng)).expect("five minutes");
            let by_ms = if rng.random_ratio(1, 2) { size } else { -size };
            let target = server(cast, rng);
            if rng.random_ratio(1, 2) {
                Fault::ClockJump { target, by_ms }
            } else {
                let every = SpanRange::exactly(Span::millis(log_uniform(1, 1_000, rng)));
                Fault::ClockStrobe { target, by_ms, every, lasting }
            }
        }
        SwarmFamily::Drift => {
            Fault::ClockDrift { target: server(cast, rng), ppm: rng.random_range(-5_000..=5_000), lasting }
        }
        SwarmFamily::LateTimers => {
            let by = SpanRange::exactly(Span::millis(log_uniform(1, 100, rng)));
            Fault::LateTimers { target: server(cast, rng), by, lasting }
        }
        SwarmFamily::PauseAll => Fault::Pause { target: servers(cast, rng), lasting },
        SwarmFamily::BadSectors => Fault::BadSectors {
            target: server(cast, rng),
            file: String::new(),
            sectors: rng.random_range(1..=4),
            lasting,
        },
        SwarmFamily::BitRot => {
            Fault::BitRot { target: server(cast, rng), file: String::new(), bits: rng.random_range(1..=4) }
        }
        SwarmFamily::LostWrite => {
            let target = server(cast, rng);
            if rng.random_ratio(1, 2) {
                Fault::LostWrite { target, file: String::new(), times: 1, lasting }
            } else {
                Fault::MisdirectedWrite { target, file: String::new(), times: 1, lasting }
            }
        }
        SwarmFamily::LostSync => Fault::LostSync { target: server(cast, rng), lasting },
        SwarmFamily::RestoreDisk => Fault::RestoreDisk {
            target: server(cast, rng),
            age: SpanRange::exactly(Span::millis(log_uniform(100, 8_000, rng))),
            down_for: lasting,
        },
    };
    vec![(Span::ZERO, fault)]
}

/// The group without a target.
pub(super) fn except(name: &str, target: Target) -> Target {
    Target::Except(Except { group: name.to_owned(), target: Box::new(target) })
}
