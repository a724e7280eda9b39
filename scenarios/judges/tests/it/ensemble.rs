//! A real ensemble is judged: correct ones hold, historical bugs are found.

use engine::{Options, Outcome, Plan, Verdict, World};
use judges::{Rule, ZkJudges};
use world::{Files, Node, Setup};

const CRASHES: &str = r#"
about = "Leaders die, again and again."
duration = "12s"

[cluster]
coordinators = 3
zoo = { tickTime = 500, initLimit = 10, syncLimit = 5, snapCount = 200, preAllocSize = 64 }

[[workloads]]
kind = "compare-and-set"
clients = 2
rate_per_second = 20

[[workloads]]
kind = "ephemerals"

[[workloads]]
kind = "watches"

[[workloads]]
kind = "multi"

[[workloads]]
kind = "lock"
clients = 2

[[workloads]]
kind = "election"
clients = 2

[[workloads]]
kind = "queue"
clients = 2

[[workloads]]
kind = "barrier"
clients = 2

[[workloads]]
kind = "double-barrier"
clients = 2

[[faults]]
when = { at = "3s..4s" }
do = { kill = { target = { role = "leader" }, restart-after = "1s..2s" } }

[[faults]]
when = { fact = "quorum-acked-not-committed", nth = 40 }
do = { kill = { target = { role = "leader" }, restart-after = "1s..2s" } }

[[faults]]
when = { at = "8s..9s" }
do = { pause = { target = { role = "leader" }, for = "4s..6s" } }
"#;

fn world(seed: u64, sets: &[&str]) -> (World<Node, ZkJudges>, Plan) {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let scenario = world::load_with("crashes", CRASHES, &sets).expect("the scenario is right");
    let setup = Setup::draw(&scenario, &Files::default(), seed).expect("there is no file to contradict it");
    let judges = ZkJudges::of(&setup.topology, true, vec!["quorum-acked-not-committed".to_owned()]);
    let plan = Plan { faults_for: setup.faults_for, settle_at_most: setup.settle_at_most, step_budget: 50_000_000 };
    (World::new(seed, judges, setup.hosts, &setup.network, setup.schedule, Options::default()), plan)
}

fn run(seed: u64, sets: &[&str]) -> (World<Node, ZkJudges>, Outcome) {
    let (mut world, plan) = world(seed, sets);
    let outcome = world.run(&plan);
    (world, outcome)
}

#[test]
fn correct_ensemble_holds_and_every_rule_was_held_against_something() {
    let rules: Vec<Rule> = Rule::ALL.iter().copied().filter(|rule| !rule.is_of_kafka()).collect();
    let mut times = vec![0; rules.len()];
    for seed in 0..4 {
        let (world, outcome) = run(seed, &[]);
        assert_eq!(outcome.verdict, Verdict::Held, "seed {seed}");
        for (sum, check) in times.iter_mut().zip(world.judges().oracle().checks()) {
            *sum += check.times;
        }
        assert!(world.judges().oracle().excuses().is_empty(), "a loss was excused in seed {seed}");
    }
    for (rule, times) in rules.iter().zip(times) {
        assert!(times > 0, "{} was never checked", rule.id());
    }
}

#[test]
fn epoch_written_before_its_transactions_is_found() {
    let found = (0..4).any(|seed| match run(seed, &["cluster.defects=[\"ZOOKEEPER-4643\"]"]).1.verdict {
        Verdict::Violated(violations) => violations[0].invariant == "C11",
        Verdict::Held | Verdict::Undecided(_) => false,
    });
    assert!(found, "C11 did not fire for ZOOKEEPER-4643");
}

#[test]
fn fork_is_judged_as_its_original_is() {
    let (mut original, plan) = world(1, &[]);
    original.run_until(machine::Instant::ZERO + machine::Span::secs(5));
    let mut fork = original.clone();
    let (outcome, again) = (original.run(&plan), fork.run(&plan));
    assert_eq!(outcome, again);
    assert_eq!(original.judges().oracle().checks(), fork.judges().oracle().checks());
}
