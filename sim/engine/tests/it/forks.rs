//! A fork is a complete, independent world.

use engine::{Plan, World};
use machine::Span;

use crate::toy::{Ack, ToyWorld, at, rules, two_pairs, world_of};

const SCHEDULE: &str = r#"
    [[faults]]
    when = { at = "300ms..900ms" }
    do = { kill = { target = { any-of = "toys" } } }
    [[faults]]
    when = { fact = "answered", nth = 20 }
    after = "1ms..50ms"
    do = { cut = { from = { host = "a" }, to = { host = "b" }, for = "300ms" } }
    [[faults]]
    when = { fact = "stored", nth = 5 }
    times = 3
    do = { pause = { target = { this = true }, for = "100ms..200ms" } }
    [[faults]]
    when = { at = "1s" }
    do = { power-loss = { target = { host = "c" }, down-for = "300ms" } }
    [[faults]]
    when = { fact = "got", where = { n = 7 } }
    do = { delay = { from = { this = true }, to = { everybody = true }, extra = "5ms" } }
"#;

fn world_at(seed: u64, ms: u64) -> ToyWorld {
    let mut world = world_of(seed, two_pairs(Ack::Durable), rules(SCHEDULE));
    world.run_until(at(ms));
    world
}

#[test]
fn a_fork_equals_its_original_to_the_last_record() {
    for seed in 0..20 {
        let mut original = world_at(seed, 700 + seed * 40);
        let mut fork = original.clone();
        let hash = original.hash();
        fork.run_until(at(3_000));
        assert_eq!(original.hash(), hash, "the original does not notice");
        original.run_until(at(3_000));
        assert_eq!(fork.hash(), original.hash(), "seed {seed}");
        assert_eq!(fork.recording(), original.recording(), "seed {seed}");
        let mut whole = world_of(seed, two_pairs(Ack::Durable), rules(SCHEDULE));
        whole.run_until(at(3_000));
        assert_eq!(whole.hash(), original.hash(), "stopping in between changes nothing");
    }
}

#[test]
fn a_reseeded_fork_differs() {
    for seed in 0..20 {
        let mut original = world_at(seed, 800);
        let (mut one, mut other) = (original.clone(), original.clone());
        one.reseed(1);
        other.reseed(2);
        for world in [&mut original, &mut one, &mut other] {
            world.run_until(at(2_000));
        }
        assert_ne!(original.hash(), one.hash());
        assert_ne!(one.hash(), other.hash());
    }
}

#[test]
fn forks_run_on_two_threads_and_agree() {
    fn is_send<T: Send>(_: &T) {}
    let world = world_at(3, 500);
    is_send(&world);
    let run = |mut world: World<_, _>| {
        move || -> u64 {
            world.run(&Plan { faults_for: Span::secs(1), settle_at_most: Span::secs(5), ..Plan::default() }).hash
        }
    };
    let (a, b) = (run(world.clone()), run(world));
    #[expect(clippy::disallowed_methods, reason = "the test is about threads")]
    let (a, b) = (std::thread::spawn(a).join().unwrap(), std::thread::spawn(b).join().unwrap());
    assert_eq!(a, b);
}

#[test]
fn recording_does_not_change_the_hash() {
    let mut recorded = world_of(9, two_pairs(Ack::Durable), rules(SCHEDULE));
    let options = engine::Options { record: false, check_every: 1, barrier_every: 100, ..engine::Options::default() };
    let judges = crate::toy::Watch::default();
    let mut bare = World::new(9, judges, two_pairs(Ack::Durable), &crate::toy::links(), rules(SCHEDULE), options);
    recorded.run_until(at(2_000));
    bare.run_until(at(2_000));
    assert_eq!(recorded.hash(), bare.hash());
    assert!(bare.recording().is_none());
    let events = &recorded.recording().unwrap().events;
    assert_eq!(events.len() as u64, recorded.events());
    assert!(events.iter().all(|event| event.cause < event.id), "causes come first");
}
