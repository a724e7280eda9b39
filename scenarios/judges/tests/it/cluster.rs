//! A real cluster is judged: a correct one holds, and every rule that it can meet was held against something.

use engine::{Options, Outcome, Plan, Verdict, World};
use judges::{Court, Rule};
use world::{Files, Node, Setup};

const CRASHES: &str = r#"
about = "Leaders and controllers die and stall."
duration = "30s"

[cluster]
coordinators = 3
brokers = 3
zoo = { tickTime = 500, initLimit = 10, syncLimit = 5, snapCount = 2000, preAllocSize = 64 }
kafka = { "zookeeper.session.timeout.ms" = 4000, "replica.lag.time.max.ms" = 3000, "min.insync.replicas" = 2 }

[[topics]]
name = "orders"
partitions = 3
replication_factor = 3

[[workloads]]
kind = "produce"
acks = "all"
rate_per_second = 50
delivery_timeout = "20s"
request_timeout = "3s"

[[workloads]]
kind = "consume"

[[workloads]]
kind = "zookeeper-consume"
clients = 2

[[faults]]
when = { at = "6s..7s" }
do = { kill = { target = { role = "leader-of-orders-0" }, restart-after = "2s..3s" } }

[[faults]]
when = { at = "15s..16s" }
do = { pause = { target = { role = "controller" }, for = "6s..7s" } }

[[faults]]
when = { at = "24s" }
do = { power-loss = { target = { role = "isr-follower-of-orders-1" }, down-for = "1s..2s" } }
"#;

fn world(seed: u64, sets: &[&str]) -> (World<Node, Court>, Plan) {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let scenario = world::load_with("crashes", CRASHES, &sets).expect("the scenario is right");
    let setup = Setup::draw(&scenario, &Files::default(), seed).expect("there is no file to contradict it");
    let judges = Court::of(&setup.topology, true, Vec::new());
    let plan = Plan { faults_for: setup.faults_for, settle_at_most: setup.settle_at_most, step_budget: 50_000_000 };
    (World::new(seed, judges, setup.hosts, &setup.network, setup.schedule, Options::default()), plan)
}

fn run(seed: u64, sets: &[&str]) -> (World<Node, Court>, Outcome) {
    let (mut world, plan) = world(seed, sets);
    let outcome = world.run(&plan);
    (world, outcome)
}

#[test]
fn correct_cluster_holds_and_every_rule_was_held_against_something() {
    let mut times = vec![0; Rule::ALL.len()];
    for seed in 0..3 {
        let (world, outcome) = run(seed, &[]);
        assert_eq!(outcome.verdict, Verdict::Held, "seed {seed}");
        for (sum, check) in times.iter_mut().zip(world.judges().checks()) {
            *sum += check.times;
        }
    }
    for (rule, times) in Rule::ALL.iter().zip(times) {
        assert!(times > 0 || !rule.is_of_kafka(), "{} was never checked", rule.id());
    }
}

#[test]
fn fork_is_judged_as_its_original_is() {
    let (mut original, plan) = world(1, &[]);
    original.run_until(machine::Instant::ZERO + machine::Span::secs(12));
    let mut fork = original.clone();
    let (outcome, again) = (original.run(&plan), fork.run(&plan));
    assert_eq!(outcome, again);
    assert_eq!(original.judges().checks(), fork.judges().checks());
}
