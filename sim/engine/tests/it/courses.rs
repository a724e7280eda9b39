//! A run is the same however often it is stopped on its way: in its faults, in its core, while it settles.

use engine::{Bound, Brokenness, Core, NetworkSpec, Options, Outcome, Plan, Reached, Verdict, World};
use machine::Span;

use crate::toy::{A, Ack, Act, B, C, D, ToyWorld, Watch, at, hosts, quiet, rules, script, two_pairs, world};

const PATIENCE: Span = Span::secs(2);

const SCHEDULE: &str = r#"
    [[faults]]
    when = { at = "300ms" }
    do = { isolate = { target = { host = "b" } } }
    [[faults]]
    when = { at = "600ms" }
    do = { kill = { target = { host = "c" } } }
"#;

fn plan() -> Plan {
    Plan { faults_for: Span::secs(1), settle_at_most: Span::secs(5), step_budget: 1_000_000 }
}

/// Behind its faults `a` and `b` are a core that has to answer more, while `c` is down and `d` is cut off.
fn begun(seed: u64) -> ToyWorld {
    let rest = vec![(C, Brokenness::Down), (D, Brokenness::Cut)];
    let core = Core { name: "a pair".to_owned(), members: vec![A, B], rest };
    let mut judges = Watch::default();
    (judges.core, judges.wants_answers) = (Some((core, 80)), 160);
    let options = Options { record: true, barrier_every: 100, ..Options::default() };
    let network = NetworkSpec::uniform(Span::millis(1), Span::millis(2));
    let mut world = World::new(seed, judges, two_pairs(Ack::Echo), &network, rules(SCHEDULE), options);
    world.begin_run(&plan(), Some(PATIENCE));
    world
}

fn whole(seed: u64) -> (Outcome, ToyWorld) {
    let mut world = begun(seed);
    let outcome = world.finish();
    assert_eq!(outcome.verdict, Verdict::Held);
    let core = outcome.core.as_ref().expect("there is a core");
    assert!(core.settled_after.is_some_and(|it| it > Span::millis(250)), "the core takes a while: {core:?}");
    (outcome, world)
}

#[test]
fn stopping_at_instants_and_events_changes_nothing() {
    for seed in 0..5 {
        let (outcome, world) = whole(seed);
        let mut stopped = begun(seed);
        let mut stops = 0;
        while stopped.advance(Bound::At(stopped.now() + Span::millis(70))) == Reached::There {
            stops += 1;
            // A fork goes on with the run on its own, from any phase.
            assert_eq!(stopped.clone().finish(), outcome, "seed {seed}, forked at {}", stopped.now());
        }
        assert!(stops > 20, "{stops}");
        assert_eq!(stopped.finish(), outcome);
        assert_eq!(stopped.recording(), world.recording());

        let mut stepped = begun(seed);
        while stepped.advance(Bound::Event(stepped.events() + 7)) == Reached::There {}
        assert_eq!(stepped.finish(), outcome);
        assert_eq!(stepped.recording(), world.recording());
    }
}

#[test]
fn a_bound_is_behind_what_happens_then_and_before_the_phase_that_follows() {
    let mut world = begun(1);
    let faults_end = at(1_000);
    assert_eq!(world.advance(Bound::At(faults_end)), Reached::There);
    assert_eq!(world.now(), faults_end);
    assert!(!world.cut_links().is_empty(), "what the faults left is there still");
    world.advance(Bound::At(faults_end + Span::nanos(1)));
    let cut = world.cut_links();
    assert!(cut.contains(&(D, A)) && !cut.contains(&(A, B)), "a core is whole, and cut off from the rest: {cut:?}");

    let mut world = begun(1);
    world.advance(Bound::Event(500));
    assert_eq!(world.events(), 500);
}

#[test]
fn a_run_that_is_over_goes_no_further() {
    let (outcome, mut world) = whole(2);
    assert_eq!(world.advance(Bound::At(outcome.at)), Reached::There);
    assert_eq!(world.advance(Bound::Event(outcome.events)), Reached::There);
    assert_eq!(world.advance(Bound::At(outcome.at + Span::nanos(1))), Reached::End);
    assert_eq!(world.advance(Bound::Event(outcome.events + 1)), Reached::End);
    assert_eq!((world.now(), world.hash()), (outcome.at, outcome.hash));
}

#[test]
fn a_panic_and_a_spent_budget_stop_it_on_the_way() {
    let mut panics = world(1, vec![quiet(), script(vec![(100, Act::Panic)])], vec![]);
    panics.begin_run(&plan(), None);
    assert_eq!(panics.advance(Bound::At(at(99))), Reached::There);
    let Reached::Panic(message) = panics.advance(Bound::At(at(200))) else { panic!("it panics at 100 ms") };
    assert_eq!(message, "the script says so at act 1");
    assert!(matches!(panics.finish().verdict, Verdict::Violated(violations) if violations.len() == 1));

    let mut busy = crate::toy::world_of(1, hosts(vec![quiet()]), vec![]);
    busy.begin_run(&Plan { step_budget: 0, ..plan() }, None);
    assert_eq!(busy.advance(Bound::End), Reached::Spent);
}
