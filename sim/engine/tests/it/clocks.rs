//! Host clocks: drift is never early and at most one tick late; pauses let the clock go on.

use engine::ClockSpec;

use crate::toy::{A, Act, B, Fact, at, feeder, hosts, quiet, rules, script, world, world_of};

#[test]
fn a_drifting_clock_wakes_never_early_and_at_most_one_tick_late() {
    for drift_ppm in [-400_000, -137, 0, 3, 50_000, 800_000] {
        let mut hosts = hosts(vec![quiet(), feeder(A, 3)]);
        hosts[1].clock = ClockSpec { offset_ms: 0, drift_ppm };
        let mut world = world_of(1, hosts, vec![]);
        world.run_until(at(2_000));
        let late = world.judges().facts.iter().filter_map(|(_, _, fact)| match fact {
            Fact::Ticked { late_ns, .. } => Some(*late_ns),
            Fact::Got { .. }
            | Fact::Answered { .. }
            | Fact::Stored { .. }
            | Fact::Said { .. }
            | Fact::Turned { .. }
            | Fact::Recovered { .. }
            | Fact::Failed { .. }
            | Fact::Leading { .. } => None,
        });
        let late: Vec<u64> = late.collect();
        assert!(late.len() > 100, "it ticks");
        // A tick of the world is at most two of a clock that runs 80 % fast.
        assert!(late.iter().all(|&ns| ns <= 1), "{drift_ppm} ppm: {late:?}");
    }
}

#[test]
fn a_fast_clock_does_more_in_the_same_time() {
    let ticks = |drift| {
        let text = format!(
            "[[faults]]\nwhen = {{ at = \"100ms\" }}\ndo = {{ clock-drift = {{ target = {{ host = \"b\" }}, ppm = {drift} }} }}\n"
        );
        let mut world = world(1, vec![quiet(), feeder(A, 10)], rules(&text));
        world.run_until(at(5_000));
        world.marks()["toy-ticked"]
    };
    let usual = ticks(0);
    assert!(ticks(900_000) * 10 > usual * 18);
    assert!(ticks(-500_000) * 10 < usual * 6);
}

#[test]
fn a_paused_process_wakes_late_and_once() {
    let text =
        "[[faults]]\nwhen = { at = \"50ms\" }\ndo = { pause = { target = { host = \"a\" }, for = \"400ms\" } }\n";
    let acts = vec![(100, Act::Write(1)), (200, Act::Lead)];
    let mut world = world(1, vec![script(acts), quiet()], rules(text));
    world.run_until(at(1_000));
    let lines = world.judges().of(A);
    assert_eq!(lines[2..], ["paused", "resumed", "leads"]);
    assert_eq!(world.judges().at(A, "leads"), at(450));
    assert_eq!(world.judges().count(B, "paused"), 0);
}

#[test]
fn on_resume_the_wake_and_the_queued_packets_come_in_a_drawn_order() {
    let text =
        "[[faults]]\nwhen = { at = \"90ms\" }\ndo = { pause = { target = { host = \"a\" }, for = \"400ms\" } }\n";
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let paused = crate::toy::Image { script: script(vec![(200, Act::Lead)]).script, ..quiet() };
        let sends = vec![(10, Act::Connect(A)), (100, Act::Send(1_000)), (110, Act::Send(1_001))];
        let mut world = world(seed, vec![paused, script(sends)], rules(text));
        world.run_until(at(1_000));
        let lines = world.judges().of(A);
        let after = lines.iter().position(|line| line == "resumed").unwrap();
        let after: Vec<String> = lines[after + 1..].to_vec();
        let numbers: Vec<&String> = after.iter().filter(|line| line.starts_with("got")).collect();
        assert_eq!(numbers, ["got 1000", "got 1001"], "one connection stays in order");
        orders.insert(after);
    }
    assert_eq!(orders.len(), 3, "the wake comes before, between or after");
}
