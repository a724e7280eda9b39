//! Three reports, read as a stranger would: one that holds, one with faults, one that found a bug.

use render::{Level, terminal};
use tribunal::{Changes, Prepared, Source, Watch, report};

/// The report as plain text, without the hash: it changes only when the story does.
fn report_of(name: &str, seed: u64, defect: Option<&str>, level: Level) -> String {
    let changes = Changes { defects: defect.map(str::to_owned).into_iter().collect(), ..Changes::default() };
    let prepared = Prepared::new(&Source::named(name).unwrap(), &changes).unwrap();
    let run = prepared.run(seed, Watch::FULL).unwrap();
    let mut record = report::record(&prepared, &run);
    record.identity.trace_hash = 0;
    record.identity.version = "0.0.0".to_owned();
    record.identity.commit = None;
    let text = anstream::adapter::strip_str(&terminal(&record, level)).to_string();
    let lines = text.lines().count();
    if level == Level::Normal {
        assert!(lines <= 60, "{lines} lines");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "a line is longer than 100 columns:\n{text}");
    text
}

#[test]
fn a_run_without_faults() {
    insta::assert_snapshot!(report_of("steady", 1, None, Level::Normal));
}

#[test]
fn a_run_in_which_leaders_die() {
    insta::assert_snapshot!(report_of("leader-crash", 7, None, Level::Normal));
}

#[test]
fn a_run_that_found_a_bug() {
    insta::assert_snapshot!(report_of(
        "session-expiry",
        crate::defects::SEED_OF_1208,
        Some("ZOOKEEPER-1208"),
        Level::Normal
    ));
}

#[test]
fn a_run_in_which_controllers_die() {
    insta::assert_snapshot!(report_of("controller-crash", 7, None, Level::Normal));
}

#[test]
fn a_run_that_found_a_bug_of_kafka() {
    insta::assert_snapshot!(report_of(crate::defects::HUNT_1211, 0, Some("KAFKA-1211"), Level::Normal));
}

#[test]
fn records_per_broker_show_that_nothing_moves_to_a_broker_that_joins() {
    let text = report_of("broker-joins", 0, None, Level::Normal);
    assert!(text.contains("kafka4 0"), "{text}");
    assert!(text.contains("until a reassignment is asked for"), "{text}");
}

#[test]
fn the_quiet_report_is_headline_and_command() {
    let text = report_of("steady", 1, None, Level::Quiet);
    assert!(text.starts_with("HELD steady with seed 1"), "{text}");
    assert!(text.trim_end().ends_with("tribunal run steady --seed 1"), "{text}");
    assert!(text.lines().count() <= 4, "{text}");
}

#[test]
fn a_record_survives_its_json() {
    let prepared = Prepared::new(&Source::catalogue("leader-crash").unwrap(), &Changes::default()).unwrap();
    let run = prepared.run(3, Watch::FULL).unwrap();
    let record = report::record(&prepared, &run);
    assert_eq!(record::Record::from_json(&record.to_json()).unwrap(), record);
}
