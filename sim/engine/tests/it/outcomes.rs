//! Runs end with a verdict: held, violated (a panic too), or undecided.

use engine::{Plan, Supervisor, Verdict};
use machine::Span;

use crate::toy::{A, Ack, Act, B, Image, at, feeder, hosts, quiet, rules, script, two_pairs, world, world_of};

fn plan() -> Plan {
    Plan { faults_for: Span::secs(1), settle_at_most: Span::secs(2), step_budget: 1_000_000 }
}

#[test]
fn a_run_without_faults_holds_and_repeats() {
    let run = || world_of(1, two_pairs(Ack::Durable), vec![]).run(&plan());
    let outcome = run();
    assert_eq!(outcome.verdict, Verdict::Held);
    assert_eq!(outcome, run());
    assert_eq!(outcome.healed_at, Some(at(1_000)));
}

#[test]
fn a_panic_in_a_machine_becomes_a_violation() {
    let mut world = world(1, vec![quiet(), script(vec![(100, Act::Panic)])], vec![]);
    let Verdict::Violated(violations) = world.run(&plan()).verdict else { panic!("a panic is a violation") };
    assert_eq!(violations[0].invariant, "PANIC");
    assert_eq!(violations[0].host, Some(B));
    assert_eq!(violations[0].at, at(100));
    assert_eq!(violations[0].headline, "b: the script says so at act 1");
}

#[test]
fn a_machine_that_is_still_due_after_its_wake_is_found_out() {
    let spinning = Image { spins: true, ..quiet() };
    let Verdict::Violated(violations) = world(1, vec![spinning], vec![]).run(&plan()).verdict else {
        panic!("spinning is a violation")
    };
    assert!(violations[0].headline.contains("a wake must retire what is due"), "{}", violations[0].headline);
}

#[test]
fn a_world_that_does_not_converge_says_what_is_pending() {
    let mut world = world(1, vec![quiet()], vec![]);
    let mut judges = world.judges().clone();
    judges.wants_answers = 5;
    world =
        engine::World::new(1, judges, hosts(vec![quiet()]), &crate::toy::links(), vec![], engine::Options::default());
    let outcome = world.run(&plan());
    let Verdict::Violated(violations) = outcome.verdict else { panic!("it does not converge") };
    assert_eq!((violations[0].invariant, violations[0].headline.as_str()), ("LIVENESS", "0 of 5 answers"));
    assert_eq!(outcome.at, at(3_000));
}

#[test]
fn worlds_that_lack_different_things_fail_differently_and_numbers_make_no_difference() {
    let signature = |title: &'static str, wants_answers: u64| {
        let mut judges = world(1, vec![quiet()], vec![]).judges().clone();
        (judges.wants_answers, judges.title) = (wants_answers, title);
        let (hosts, links) = (hosts(vec![quiet()]), crate::toy::links());
        let mut world = engine::World::new(1, judges, hosts, &links, vec![], engine::Options::default());
        let Verdict::Violated(violations) = world.run(&plan()).verdict else { panic!("it does not converge") };
        violations[0].signature()
    };
    assert_eq!(signature("", 5), signature("", 6));
    assert_eq!(signature("ANSWERS: ", 5), signature("ANSWERS: ", 6));
    assert_ne!(signature("ANSWERS: ", 5), signature("OTHERS: ", 5));
}

#[test]
fn a_spent_budget_is_undecided() {
    let plan = Plan { step_budget: 10, ..plan() };
    let verdict = world_of(1, two_pairs(Ack::Echo), vec![]).run(&plan).verdict;
    assert!(matches!(verdict, Verdict::Undecided(reason) if reason.contains("budget of 10 steps")));
}

#[test]
fn healing_ends_every_fault_and_starts_who_is_down() {
    let text = r#"
        [[faults]]
        when = { at = "100ms" }
        do = { isolate = { target = { host = "b" } } }
        [[faults]]
        when = { at = "200ms" }
        do = { power-loss = { target = { host = "a" } } }
        [[faults]]
        when = { at = "300ms" }
        do = { freeze = { target = { host = "c" } } }
        [[faults]]
        when = { at = "5s" }
        do = { kill = { target = { everybody = true } } }
    "#;
    let mut world = world(1, vec![quiet(), feeder(A, 20), quiet()], rules(text));
    world.run_until(at(1_000));
    let before = world.machine(B).unwrap().answers;
    world.heal();
    world.run_until(at(8_000));
    assert!(world.machine(B).unwrap().answers > before + 20);
    assert_eq!(world.rules().nth(3).unwrap().1.fired, 0, "no rule strikes a healed world");
}

#[test]
fn supervisors_restart_or_do_not() {
    let exits = || script(vec![(100, Act::Exit(1))]);
    let mut hosts = hosts(vec![exits(), exits()]);
    hosts[1].supervisor = Supervisor::After("50ms".parse().unwrap());
    let mut world = world_of(1, hosts, vec![]);
    world.run_until(at(400));
    assert_eq!(world.judges().count(A, "booted"), 1);
    assert!(world.machine(A).is_none());
    assert_eq!(world.judges().count(B, "booted"), 3, "at 0, 150 and 300 ms");
}

#[test]
fn a_terminated_process_may_end_by_itself_and_is_restarted() {
    let text = "[[faults]]\nwhen = { at = \"100ms\" }\ndo = { terminate = { target = { everybody = true }, restart-after = \"50ms\" } }\n";
    let stubborn = Image { exits_on_terminate: false, ..quiet() };
    let mut world = world(1, vec![quiet(), stubborn], rules(text));
    world.run_until(at(200));
    assert_eq!(world.judges().of(A), ["booted", "recovered 0", "terminated", "exited 0", "booted", "recovered 0"]);
    assert_eq!(world.judges().of(B), ["booted", "recovered 0", "terminated"]);
}
