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

/// The schedules of four defects of Kafka by hand.
pub(crate) const HUNT_1211: &str = "tests/scenarios/kafka-1211.toml";
const HUNT_7235: &str = "tests/scenarios/kafka-7235.toml";
const HUNT_6082: &str = "tests/scenarios/kafka-6082.toml";

/// The rules that a seed breaks, in order, when it is not stopped at the first.
fn rules_broken(name: &str, defect: &str, seed: u64) -> Vec<&'static str> {
    let changes = Changes { defects: vec![defect.to_owned()], ..Changes::default() };
    let prepared = Prepared::new(&Source::named(name).unwrap(), &changes).unwrap();
    let run = prepared.run(seed, Watch { keep_going: true, ..Watch::LIGHT }).unwrap();
    let Verdict::Violated(violations) = &run.outcome.verdict else { return Vec::new() };
    violations.iter().map(|violation| violation.invariant).collect()
}

#[test]
fn a_follower_that_cuts_to_its_high_watermark_loses_what_was_committed() {
    let on = results(HUNT_1211, Some("KAFKA-1211"), 0..4);
    let broken = first_broken(&on);
    assert!(!broken.is_empty() && broken.iter().all(|&(_, id)| id == "L11"), "{broken:?}");
    let lost = broken.iter().map(|&(seed, _)| rules_broken(HUNT_1211, "KAFKA-1211", seed));
    let lost: Vec<_> = lost.filter(|rules| rules.starts_with(&["L11", "E13", "L10"])).collect();
    assert!(!lost.is_empty(), "no seed of {broken:?} loses what was committed");
    assert_eq!(first_broken(&results(HUNT_1211, None, 0..4)), []);
}

#[test]
fn a_broker_that_bounces_unseen_obeys_what_was_meant_for_its_earlier_life() {
    let on = results(HUNT_7235, Some("KAFKA-7235"), 0..4);
    let broken = first_broken(&on);
    assert!(!broken.is_empty() && broken.iter().all(|&(_, id)| id == "E06"), "{broken:?}");
    let stuck = (0..4).any(|seed| {
        let rules = rules_broken(HUNT_7235, "KAFKA-7235", seed);
        rules.first() == Some(&"E06") && rules.contains(&"LIVENESS")
    });
    assert!(stuck, "no seed of four is stuck at the end");
    assert_eq!(first_broken(&results(HUNT_7235, None, 0..4)), []);
}

#[test]
fn a_deposed_controller_without_a_fence_writes_on() {
    let on = results(HUNT_6082, Some("KAFKA-6082"), 0..6);
    let broken = first_broken(&on);
    assert!(!broken.is_empty() && broken.iter().all(|&(_, id)| id == "E04"), "{broken:?}");
    assert_eq!(first_broken(&results(HUNT_6082, None, 0..6)), []);
}

#[test]
fn a_broker_that_gives_way_to_its_own_earlier_registration_stays_away() {
    let on = results("stale-registration", Some("KAFKA-7165"), 0..3);
    let broken = first_broken(&on);
    assert!(!broken.is_empty() && broken.iter().all(|&(_, id)| id == "E25"), "{broken:?}");
    let rules = rules_broken("stale-registration", "KAFKA-7165", broken[0].0);
    assert!(rules.contains(&"E25"), "{rules:?}");
    assert_eq!(first_broken(&results("stale-registration", None, 0..3)), []);
}

/// Within its budget a bug is found by a judge that is expected to, and without it the same seeds hold.
#[track_caller]
fn scores(id: &str) -> String {
    let score = tribunal::score::search(&tribunal::score::target(id).unwrap(), None).unwrap();
    assert!(score.is_good(), "{score:#?}");
    score.found.unwrap().invariant
}

#[test]
fn an_epoch_that_nobody_wrote_down_is_begun_twice() {
    // C01 follows, one election later: that NEWLEADER is acknowledged without currentEpoch on the disk is seen first.
    assert_eq!(scores("ZOOKEEPER-335"), "C11");
}

#[test]
fn a_diff_that_was_cut_off_is_taken_for_complete() {
    scores("ZOOKEEPER-2355");
}

#[test]
fn an_acknowledgement_of_what_is_not_in_the_log_is_caught() {
    scores("ZOOKEEPER-3911");
}

#[test]
fn a_txn_that_only_the_learner_knows_stays() {
    scores("ZOOKEEPER-1154");
}

#[test]
fn a_tail_that_was_forgotten_comes_back() {
    scores("ZOOKEEPER-2845");
}

#[test]
fn a_log_that_is_cut_too_far_is_caught() {
    scores("ZOOKEEPER-1156");
}

#[test]
fn a_snapshot_that_was_not_synced_is_caught() {
    scores("ZOOKEEPER-2872");
}

#[test]
fn a_committed_log_with_a_hole_is_handed_on() {
    scores("ZOOKEEPER-4925");
}

#[test]
fn bugs_of_synchronisation_and_recovery_are_found_and_their_twins_hold() {
    for id in [
        "ZOOKEEPER-962",
        "ZOOKEEPER-1046",
        "ZOOKEEPER-1264",
        "ZOOKEEPER-1277",
        "ZOOKEEPER-1367",
        "ZOOKEEPER-1489",
        "ZOOKEEPER-1573",
        "ZOOKEEPER-1653",
        "ZOOKEEPER-2846",
        "ZOOKEEPER-3104",
        "ZOOKEEPER-3145",
        "ZOOKEEPER-3642",
        "ZOOKEEPER-4352",
        "ZOOKEEPER-4394",
        "ZOOKEEPER-4837",
        "ZOOKEEPER-4882",
    ] {
        scores(id);
    }
}

#[test]
fn bugs_of_the_pipeline_and_of_watches_are_found_and_their_twins_hold() {
    for id in ["ZOOKEEPER-1382", "ZOOKEEPER-1412", "ZOOKEEPER-1667", "ZOOKEEPER-1863", "ZOOKEEPER-2247"] {
        scores(id);
    }
}

#[test]
fn a_client_that_never_gives_up_is_caught() {
    assert_eq!(scores("ZOOKEEPER-4508"), "C50");
}

#[test]
fn a_follower_that_joins_too_early_is_caught() {
    scores("KAFKA-7128");
}

#[test]
fn a_leader_that_does_not_know_its_own_write_is_stuck() {
    scores("KAFKA-1382");
}

#[test]
fn an_epoch_that_the_leader_never_had_is_answered_wrongly() {
    scores("KAFKA-6361");
}

#[test]
fn a_broker_that_refuses_what_comes_early_is_not_told_again() {
    scores("KAFKA-9839");
}
