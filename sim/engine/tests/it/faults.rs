//! Every fault kind is felt, deterministic, and keeps the order of each connection.

use machine::Span;

use crate::toy::{Ack, at, rules, two_pairs, world_of};

const EVERY: &[&str] = &[
    r#"kill = { target = { host = "a" }, restart-after = "50ms..200ms" }"#,
    r#"kill = { target = { host = "b" } }"#,
    r#"power-loss = { target = { host = "a" }, down-for = "400ms" }"#,
    r#"power-loss = { target = { host = "b" }, down-for = "400ms" }"#,
    r#"terminate = { target = { host = "a" }, restart-after = "100ms" }"#,
    r#"pause = { target = { host = "a" }, for = "300ms" }"#,
    r#"pause = { target = { host = "b" }, for = "300ms" }"#,
    r#"freeze = { target = { host = "a" }, for = "700ms" }"#,
    r#"cut = { from = { host = "a" }, to = { host = "b" }, for = "500ms" }"#,
    r#"cut = { from = { host = "b" }, to = { host = "a" }, one-way = true, for = "500ms" }"#,
    r#"partition = { groups = [[{ host = "a" }], [{ host = "b" }, { host = "c" }]], for = "500ms" }"#,
    r#"partition = { groups = [[{ minority-of = "toys" }], [{ rest-of = "toys" }]], for = "500ms" }"#,
    r#"isolate = { target = { host = "a" }, for = "500ms" }"#,
    r#"reset = { between = [{ host = "a" }, { host = "b" }] }"#,
    r#"delay = { from = { host = "a" }, to = { host = "b" }, extra = "30ms..60ms", for = "500ms" }"#,
    r#"loss = { from = { host = "b" }, to = { host = "a" }, one-in = 3, for = "900ms" }"#,
    r#"disk-error = { target = { host = "a" }, operation = "write", for = "500ms" }"#,
    r#"disk-error = { target = { host = "a" }, operation = "sync", times = 2 }"#,
    r#"disk-full = { target = { host = "a" }, for = "500ms" }"#,
    r#"slow-disk = { target = { host = "a" }, factor = 20, stall = "5ms", for = "500ms" }"#,
    r#"clock-drift = { target = { host = "b" }, ppm = 200000, for = "500ms" }"#,
    r#"clock-jump = { target = { host = "b" }, by-ms = -5000 }"#,
];

fn run(seed: u64, fault: &str) -> (u64, u64, u32, u32, Vec<String>) {
    let rules = rules(&format!("[[faults]]\nwhen = {{ at = \"500ms..900ms\" }}\ndo = {{ {fault} }}\n"));
    let mut world = world_of(seed, two_pairs(Ack::Durable), rules);
    world.run_until(at(4_000));
    let count = world.rules().next().unwrap().1;
    let violations = world.violations().iter().map(|violation| violation.headline.clone()).collect();
    (world.hash(), world.events(), count.fired, count.felt, violations)
}

#[test]
fn every_fault_is_felt_and_gives_the_same_hash_again() {
    for fault in EVERY {
        let mut hashes = Vec::new();
        for seed in 0..6 {
            let first = run(seed, fault);
            assert_eq!(first, run(seed, fault), "{fault} is not deterministic at seed {seed}");
            assert_eq!(first.2, 1, "{fault} fired");
            if !fault.contains("minority-of") {
                assert_eq!(first.3, 1, "{fault} was not felt at seed {seed}");
            }
            hashes.push(first.0);
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 6, "six seeds of {fault} give six runs");
    }
}

#[test]
fn connections_keep_their_order_under_every_fault() {
    for fault in EVERY {
        for seed in 0..20 {
            assert_eq!(run(seed, fault).4, Vec::<String>::new(), "{fault} at seed {seed}");
        }
    }
}

#[test]
fn all_faults_together_keep_the_order_and_heal() {
    let mut text = String::new();
    for (index, fault) in EVERY.iter().enumerate() {
        let from = 200 + 90 * index;
        text += &format!("[[faults]]\nwhen = {{ at = \"{from}ms..{}ms\" }}\ndo = {{ {fault} }}\n", from + 400);
    }
    for seed in 0..30 {
        let mut world = world_of(seed, two_pairs(Ack::Durable), rules(&text));
        world.run_until(at(3_000));
        world.heal();
        let healed = world.judges().lines.len();
        // Long enough for the next SYN of a dialer that has tried three times.
        world.run_until(at(3_000) + Span::secs(8));
        assert!(world.violations().is_empty(), "seed {seed}: {:?}", world.violations());
        let after = &world.judges().lines[healed..];
        for host in [crate::toy::B, crate::toy::D] {
            let answers = after.iter().filter(|(_, who, text)| *who == host && text.starts_with("answered"));
            assert!(answers.count() > 10, "{host} is served again at seed {seed}");
        }
    }
}

#[test]
fn a_fault_on_nobody_fires_and_is_not_felt() {
    let text = "[[faults]]\nwhen = { at = \"1s\" }\ndo = { kill = { target = { role = \"leader\" } } }\n";
    let mut world = world_of(1, two_pairs(Ack::Echo), rules(text));
    world.run_until(at(2_000));
    let count = world.rules().next().unwrap().1;
    assert_eq!((count.fired, count.felt), (1, 0));
}
