//! Lanes: in order within, interleaved by the seed, delayed by what is spent.

use std::collections::BTreeSet;

use machine::{Lane, Span};

use crate::toy::{A, Act, at, script, world};

const ONE: Lane = Lane(1);
const TWO: Lane = Lane(2);

fn turns(seed: u64, acts: Vec<(u64, Act)>) -> Vec<String> {
    let mut world = world(seed, vec![script(acts)], vec![]);
    world.run_until(at(1_000));
    world.judges().of(A).into_iter().filter(|line| line.starts_with("turn")).collect()
}

#[test]
fn a_lane_is_first_in_first_out_and_two_interleave_by_the_seed() {
    let acts = || {
        let deferred = (0..6).flat_map(|n| [Act::Defer(ONE, n), Act::Defer(TWO, n)]).collect();
        vec![(10, Act::All(deferred))]
    };
    let mut orders = BTreeSet::new();
    for seed in 0..20 {
        let turns = turns(seed, acts());
        for lane in ["turn 1/", "turn 2/"] {
            let of_lane: Vec<&String> = turns.iter().filter(|line| line.starts_with(lane)).collect();
            assert!(of_lane.is_sorted() && of_lane.len() == 6, "{turns:?}");
        }
        orders.insert(turns);
    }
    assert!(orders.len() > 5, "seeds interleave differently");
}

#[test]
fn what_is_spent_delays_the_next_item_of_that_lane_only() {
    let acts = vec![(
        10,
        Act::All(vec![Act::Spend(ONE, Span::millis(100)), Act::Defer(ONE, 1), Act::Defer(TWO, 2), Act::Lead]),
    )];
    let mut world = world(1, vec![script(acts)], vec![]);
    world.run_until(at(1_000));
    assert_eq!(world.judges().at(A, "leads"), at(10), "the effects of the step leave at once");
    assert!(world.judges().at(A, "turn 1/1") >= at(110));
    assert!(world.judges().at(A, "turn 2/2") < at(25));
}

#[test]
fn a_kill_drops_what_was_deferred() {
    let acts = vec![(10, Act::All(vec![Act::Spend(ONE, Span::millis(100)), Act::Defer(ONE, 1)]))];
    let kill =
        "[[faults]]\nwhen = { at = \"20ms\" }\ndo = { kill = { target = { host = \"a\" }, restart-after = \"1s\" } }\n";
    let mut world = world(1, vec![script(acts)], crate::toy::rules(kill));
    world.run_until(at(500));
    assert_eq!(world.judges().count(A, "turn 1/1"), 0);
}
