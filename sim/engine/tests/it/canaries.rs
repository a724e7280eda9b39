//! A canary for each kind of fault: it sings if the fault changes something that can be seen, and is silent without it.

use engine::{HostSpec, When};
use machine::{HostId, Instant, Lane, Span};

use crate::toy::{
    A, Ack, Act, B, C, D, Fact, Image, Toy, ToyWorld, at, feeder, hosts, quiet, rules, script, two_pairs, world_of,
};

struct Canary {
    /// One or more faults, each struck at 500 ms.
    fault: &'static str,
    hosts: fn() -> Vec<HostSpec<Toy>>,
    sings: fn(&ToyWorld) -> bool,
}

fn pairs_of_toys() -> Vec<HostSpec<Toy>> {
    two_pairs(Ack::Durable)
}

/// A host that writes, syncs, reads, and writes again.
fn scribe() -> Vec<HostSpec<Toy>> {
    let mut acts = vec![(100, Act::Write(1)), (110, Act::Sync)];
    acts.extend((0..40).map(|n| (200 + n * 20, Act::All(vec![Act::Write(n + 2), Act::Read]))));
    acts.push((1_100, Act::Sync));
    hosts(vec![script(acts), feeder(A, 20)])
}

/// Five hosts, each with a connection to every other.
fn five() -> Vec<HostSpec<Toy>> {
    hosts((0..5).map(|_| quiet()).collect())
}

/// A host with two lanes that are given work now and then.
fn threads() -> Vec<HostSpec<Toy>> {
    let turn = |n| Act::All(vec![Act::Defer(Lane(1), n), Act::Spend(Lane(1), Span::millis(1)), Act::Defer(Lane(2), n)]);
    hosts(vec![script((0..100).map(|n| (10 + n * 20, turn(n))).collect())])
}

fn lines(world: &ToyWorld, host: HostId, text: &str) -> Vec<Instant> {
    let lines = world.judges().lines.iter();
    lines.filter(|(_, who, line)| *who == host && line.starts_with(text)).map(|(at, ..)| *at).collect()
}

/// The longest time between two lines, from 200 ms on.
fn longest_gap(world: &ToyWorld, host: HostId, text: &str) -> Span {
    let times: Vec<Instant> = lines(world, host, text).into_iter().filter(|when| *when > at(200)).collect();
    let end = [at(2_000)];
    times.iter().zip(times[1..].iter().chain(&end)).map(|(a, b)| b.saturating_since(*a)).max().unwrap_or(Span::ZERO)
}

fn is_starved(world: &ToyWorld) -> bool {
    longest_gap(world, B, "answered") > Span::millis(150)
}

fn late_ticks(world: &ToyWorld) -> bool {
    world
        .judges()
        .facts
        .iter()
        .any(|(_, who, fact)| *who == B && matches!(fact, Fact::Ticked { late_ns, .. } if *late_ns > 2_000_000))
}

/// How many pairs cannot reach each other at the moment.
fn cut_pairs(world: &ToyWorld) -> usize {
    world.cut_links().len()
}

const CANARIES: &[Canary] = &[
    Canary {
        fault: r#"crash-loop = { target = { host = "a" }, times = 3, within = "5ms..50ms", restart-after = "10ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| world.judges().count(A, "killed") == 4,
    },
    Canary {
        fault: r#"suspend = { target = { host = "b" }, for = "400ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| {
            let clocks = world.hosts();
            is_starved(world)
                && clocks.local_time(B, at(2_000)).saturating_since(clocks.local_time(B, at(1_900))) > Span::ZERO
        },
    },
    Canary {
        fault: r#"slow-cpu = { target = { host = "a" }, factor = 40, for = "600ms" }"#,
        hosts: threads,
        sings: |world| longest_gap(world, A, "turn 1/") > Span::millis(35),
    },
    Canary {
        fault: r#"slow-cpu = { target = { host = "a" }, each = "70ms", for = "600ms" }"#,
        hosts: threads,
        sings: |world| longest_gap(world, A, "turn 2/") > Span::millis(45),
    },
    Canary {
        fault: r#"stop-lane = { target = { host = "a" }, lane = "one", for = "400ms" }"#,
        hosts: threads,
        sings: |world| {
            longest_gap(world, A, "turn 1/") > Span::millis(390) && longest_gap(world, A, "turn 2/") < Span::millis(50)
        },
    },
    Canary { fault: r#"ring = { target = { group = "toys" } }"#, hosts: five, sings: |world| cut_pairs(world) == 10 },
    Canary { fault: r#"bridge = { target = { group = "toys" } }"#, hosts: five, sings: |world| cut_pairs(world) == 8 },
    Canary {
        fault: r#"flap = { from = { host = "a" }, to = { host = "b" }, up = "20ms", down = "300ms", for = "900ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| is_starved(world) && longest_gap(world, D, "answered") < Span::millis(150),
    },
    Canary {
        fault: r#"swizzle = { target = { group = "toys" }, for = "900ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| is_starved(world) || longest_gap(world, D, "answered") > Span::millis(150),
    },
    Canary {
        fault: r#"half-open = { between = [{ host = "a" }, { host = "b" }], for = "500ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| {
            let told = |host| lines(world, host, "reset").into_iter().eq([at(1_000)]);
            longest_gap(world, B, "answered") > Span::millis(480) && told(A) && told(B)
        },
    },
    Canary {
        fault: r#"slow-accept = { target = { host = "a" }, extra = "300ms", for = "900ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| lines(world, B, "opened").len() == 2 && lines(world, B, "opened")[1] > at(840),
    },
    Canary {
        fault: r#"slow-accept = { target = { host = "a" }, for = "900ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| lines(world, B, "refused").len() > 3,
    },
    Canary {
        fault: r#"bandwidth = { from = { host = "b" }, to = { host = "a" }, bytes-per-second = 100, for = "900ms" }"#,
        hosts: pairs_of_toys,
        sings: is_starved,
    },
    Canary {
        fault: r#"wipe = { target = { host = "a" }, down-for = "100ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| lines(world, A, "recovered 0").len() == 2,
    },
    Canary {
        fault: r#"restore-disk = { target = { host = "a" }, age = "500ms", down-for = "100ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| {
            let mut recovered = world.judges().facts.iter().filter_map(|(_, who, fact)| {
                if let Fact::Recovered { count } = fact { (*who == A).then_some(*count) } else { None }
            });
            recovered.next_back().unwrap_or(0) < 25 && lines(world, A, "lost power").len() == 1
        },
    },
    Canary {
        fault: r#"bit-rot = { target = { host = "a" }, file = "lo", bits = 3 }"#,
        hosts: scribe,
        sings: |world| {
            let bytes = world.hosts().disk(A).bytes("log").unwrap();
            bytes.chunks_exact(8).zip(1_u64..).any(|(chunk, n)| *chunk != n.to_le_bytes())
        },
    },
    Canary {
        fault: r#"bad-sectors = { target = { host = "a" }, for = "200ms" }"#,
        hosts: scribe,
        sings: |world| lines(world, A, "failed EIO").len() > 5,
    },
    Canary {
        fault: r#"lost-sync = { target = { host = "a" } }"#,
        hosts: pairs_of_toys,
        sings: |world| {
            let file = world.hosts().disk(A).find("log").unwrap();
            let acknowledged = lines(world, B, "answered").len() as u64;
            world.hosts().durable(A).len(file).unwrap() / 8 < acknowledged
        },
    },
    Canary {
        fault: r#"lost-write = { target = { host = "a" }, times = 1 }"#,
        hosts: pairs_of_toys,
        sings: |world| {
            let file = world.hosts().disk(A).find("log").unwrap();
            let len = world.hosts().durable(A).len(file).unwrap();
            !world.hosts().durable(A).reaches(file, len)
        },
    },
    Canary {
        fault: r#"misdirected-write = { target = { host = "a" }, times = 1 }"#,
        hosts: pairs_of_toys,
        sings: |world| {
            // A feeder counts up: what landed elsewhere breaks the count.
            let bytes = world.hosts().disk(A).bytes("log").unwrap();
            bytes.chunks_exact(8).zip(0_u64..).any(|(chunk, n)| *chunk != n.to_le_bytes())
        },
    },
    Canary {
        fault: r#"clock-strobe = { target = { host = "a" }, by-ms = 5000, every = "30ms" }"#,
        hosts: pairs_of_toys,
        sings: |world| world.calendar_ahead(A).abs() > 4_000,
    },
    Canary {
        fault: r#"late-timers = { target = { host = "b" }, by = "40ms", for = "600ms" }"#,
        hosts: pairs_of_toys,
        sings: late_ticks,
    },
];

fn run(canary: &Canary, seed: u64, with: bool) -> ToyWorld {
    let text = format!("[[faults]]\nwhen = {{ at = \"500ms\" }}\ndo = {{ {} }}\n", canary.fault);
    let mut hosts = (canary.hosts)();
    for host in &mut hosts {
        host.disk.write_back_after = None;
    }
    let mut world = world_of(seed, hosts, if with { rules(&text) } else { Vec::new() });
    if canary.fault.starts_with("slow-accept") {
        // Only who dials again meets it.
        let reset = "[[faults]]\nwhen = { at = \"550ms\" }\ndo = { reset = { between = [{ host = \"a\" }, { host = \"b\" }] } }\n";
        let also = rules(reset);
        let both = if with { [rules(&text), also].concat() } else { also };
        let mut hosts = (canary.hosts)();
        hosts.iter_mut().for_each(|host| host.start_at = Some(Span::ZERO));
        world = world_of(seed, hosts, both);
    }
    world.run_until(at(2_000));
    world
}

#[test]
fn a_canary_sings_under_its_fault_alone() {
    for canary in CANARIES {
        for seed in 0..5 {
            let fault = canary.fault;
            let world = run(canary, seed, true);
            assert!(
                (canary.sings)(&world),
                "{fault} at seed {seed}: the canary is silent: {:#?}",
                world.judges().of(B)
            );
            assert_eq!(world.hash(), run(canary, seed, true).hash(), "{fault} is deterministic");
            assert!(
                !(canary.sings)(&run(canary, seed, false)),
                "the canary of {fault} sings without it at seed {seed}"
            );
        }
    }
}

#[test]
fn a_resume_ends_a_pause_early() {
    let text = r#"
        [[faults]]
        when = { at = "300ms" }
        do = { pause = { target = { host = "a" } } }
        [[faults]]
        when = { at = "700ms" }
        do = { resume = { target = { host = "a" } } }
    "#;
    let mut world = world_of(1, pairs_of_toys(), rules(text));
    world.run_until(at(2_000));
    assert_eq!(world.judges().at(A, "resumed"), at(700));
    assert!(world.rules().all(|(_, count)| count.felt == 1));
}

#[test]
fn a_suspended_host_does_not_know_how_long_it_was_away() {
    let suspended = |fault: &str| {
        let text = format!(
            "[[faults]]\nwhen = {{ at = \"300ms\" }}\ndo = {{ {fault} = {{ target = {{ host = \"a\" }}, for = \"5s\" }} }}\n"
        );
        let image = Image { script: vec![(Span::secs(1), Act::Lead)], ..quiet() };
        let mut world = world_of(1, hosts(vec![image]), rules(&text));
        world.run_until(at(10_000));
        world.judges().at(A, "leads")
    };
    assert_eq!(suspended("freeze"), at(5_300), "its deadline has passed meanwhile");
    assert_eq!(suspended("suspend"), at(6_000), "its clock stood still");
}

#[test]
fn a_rule_behind_another_waits_for_its_strike() {
    let text = r#"
        [[faults]]
        name = "second"
        when = { fact = "answered", behind = "first" }
        do = { pause = { target = { host = "b" }, for = "50ms" } }
        [[faults]]
        name = "first"
        when = { at = "800ms" }
        do = { clock-jump = { target = { host = "b" }, by-ms = 5 } }
    "#;
    let mut world = world_of(1, pairs_of_toys(), rules(text));
    world.run_until(at(2_000));
    let paused = world.judges().at(B, "paused");
    assert!(paused > at(800) && paused < at(900), "at {paused}");
}

#[test]
fn what_a_rule_is_told_before_its_time_does_not_count() {
    let text = r#"
        [[faults]]
        when = { fact = "answered", nth = 2, not-before = "800ms" }
        do = { pause = { target = { host = "b" }, for = "50ms" } }
    "#;
    let written = rules(text);
    let again: When = toml::from_str(&toml::to_string(&written[0].when).unwrap()).unwrap();
    assert_eq!(again, written[0].when);
    let mut world = world_of(1, pairs_of_toys(), written);
    world.run_until(at(2_000));
    let paused = world.judges().at(B, "paused");
    assert!(paused > at(800) && paused < at(1_000), "at {paused}");
}

#[test]
fn hosts_by_name_are_a_target() {
    let text = "[[faults]]\nwhen = { at = \"500ms\" }\ndo = { kill = { target = { hosts = [\"c\", \"a\"] } } }\n";
    let mut world = world_of(1, pairs_of_toys(), rules(text));
    world.run_until(at(1_000));
    let killed = |host| world.judges().count(host, "killed");
    assert_eq!([A, B, C, D].map(killed), [1, 0, 1, 0]);
}
