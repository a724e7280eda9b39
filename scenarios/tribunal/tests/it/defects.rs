//! Canaries: with a historical bug switched on the named judges fire; without it the same seeds hold.

use engine::Verdict;
use tribunal::{Changes, Prepared, Seed, Source, Watch, campaign};

/// A seed of `session-expiry` in which ZOOKEEPER-1208 is caught.
pub(crate) const SEED_OF_1208: u64 = 1;

fn results(name: &str, defect: Option<&str>, seeds: std::ops::Range<u64>) -> Vec<Seed> {
    let changes = Changes { defects: defect.map(str::to_owned).into_iter().collect(), ..Changes::default() };
    campaign(&Prepared::new(&Source::named(name).unwrap(), &changes).unwrap(), seeds, 2)
}

fn first_broken(results: &[Seed]) -> Vec<(u64, &str)> {
    results.iter().filter_map(|result| Some((result.seed, result.broken.as_ref()?.0.as_str()))).collect()
}

/// The schedule of ZOOKEEPER-4643 by hand.
const HUNT_4643: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/zookeeper-4643.toml");

#[test]
fn an_ephemeral_created_between_the_two_steps_of_closing_its_session_is_caught() {
    let on = results("session-expiry", Some("ZOOKEEPER-1208"), 0..12);
    let broken = first_broken(&on);
    assert!(!broken.is_empty(), "no seed of twelve caught it");
    assert!(broken.iter().all(|(_, id)| ["C19", "C20"].contains(id)), "{broken:?}");
    assert_eq!(broken[0].0, SEED_OF_1208);
    assert_eq!(first_broken(&results("session-expiry", None, 0..12)), []);
}

#[test]
fn an_epoch_written_before_its_txns_is_caught_in_the_catalogue() {
    for name in ["leader-crash", "rolling-restart", "power-loss"] {
        let on = results(name, Some("ZOOKEEPER-4643"), 0..3);
        let broken = first_broken(&on);
        assert!(!broken.is_empty() && broken.iter().all(|&(_, id)| id == "C11"), "{name}: {broken:?}");
        assert_eq!(first_broken(&results(name, None, 0..3)), [], "{name}");
    }
}

#[test]
fn an_epoch_written_before_its_txns_loses_what_was_acknowledged() {
    let changes = Changes { defects: vec!["ZOOKEEPER-4643".to_owned()], ..Changes::default() };
    let source = Source::named(HUNT_4643).unwrap();
    let prepared = Prepared::new(&source, &changes).unwrap();
    for seed in 0..4 {
        let run = prepared.run(seed, Watch { keep_going: true, ..Watch::LIGHT }).unwrap();
        let Verdict::Violated(violations) = &run.outcome.verdict else { panic!("seed {seed} holds") };
        let ids: Vec<&str> = violations.iter().map(|violation| violation.invariant).collect();
        assert_eq!(ids[0], "C11", "{ids:?}");
        assert!(ids.contains(&"C13"), "{ids:?}");
    }
    assert_eq!(first_broken(&results(HUNT_4643, None, 0..4)), []);
}
