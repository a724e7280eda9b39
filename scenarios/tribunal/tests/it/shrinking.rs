//! Shrinking, explaining and comparing, from a run that fails to a sentence that says why.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use engine::Verdict;
use search::{Limits, Need};
use tribunal::{Changes, Prepared, Questions, Repro, SLICE_LINES, Source, Watch, compare, explain_repro, shrink_repro};

/// The repro of the first of a few seeds that fails.
fn repro(scenario: &str, defect: &str) -> Repro {
    let changes = Changes { defects: vec![defect.to_owned()], ..Changes::default() };
    let prepared = Prepared::new(&Source::named(scenario).unwrap(), &changes).unwrap();
    (0..8)
        .find_map(|seed| {
            let run = prepared.run(seed, Watch::LIGHT).unwrap();
            let repro = Repro::of(&prepared, seed, &run.outcome).unwrap();
            repro.expected.signature.is_some().then_some(repro)
        })
        .unwrap_or_else(|| panic!("no seed of {scenario} catches {defect}"))
}

fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn tribunal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tribunal")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

const FEW: Questions = Questions { futures: 10, curve_futures: 4, instants: 6, jobs: 2 };

/// Shrinks the failure of a defect with one thread and with four, explains it, and holds both against what is promised.
fn check(scenario: &str, defect: &str, rules_most: usize, says: &[&str]) {
    let repro = repro(scenario, defect);
    let small = [1, 4].map(|jobs| {
        let limits = Limits { jobs, runs: 400 };
        shrink_repro("found.json", &repro, limits, &mut |_| {}).unwrap_or_else(|error| panic!("{defect}: {error:?}"))
    });
    assert_eq!(small[0].repro, small[1].repro, "{defect}: the number of threads shows");
    let [small, _] = small;
    assert_eq!(small.repro.expected.signature, repro.expected.signature);
    let (before, after) = (small.before, small.after);
    assert!(
        after.rules <= rules_most && after.events < before.events && after.hosts < before.hosts,
        "{before:?} {after:?}"
    );

    let mut twin = small.repro.clone();
    twin.scenario.cluster.defects.clear();
    let twin = twin.prepared("twin.json").unwrap().run(twin.seed, Watch::LIGHT).unwrap();
    assert_eq!(twin.outcome.verdict, Verdict::Held, "{defect}: the small repro fails without it");

    let explained = [1, 4].map(|jobs| {
        let questions = Questions { jobs, ..FEW };
        let explanation = explain_repro("small.json", &small.repro, questions, &mut |_, _, _| {});
        explanation.unwrap_or_else(|error| panic!("{defect}: {error:?}"))
    });
    let text = explained[0].to_text();
    assert_eq!(text, explained[1].to_text(), "{defect}: the number of threads shows");
    let slice: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("what happened")).skip(1).collect();
    let slice: Vec<&str> = slice.into_iter().take_while(|line| !line.is_empty()).collect();
    assert!(slice.len() <= SLICE_LINES, "{defect}: {} lines\n{text}", slice.len());
    assert!(slice.iter().any(|line| line.contains("<== detected")), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "a line is longer than 100 columns\n{text}");
    for words in says {
        assert!(text.contains(words), "{defect}: \"{words}\" is not in\n{text}");
    }
    for asked in &explained[0].necessity {
        assert_eq!(asked.necessity.need, Need::Needed, "{defect}: {}", asked.rule);
        let fault = asked.rule.split(", ").next().unwrap().rsplit(": ").next().unwrap();
        assert!(slice.iter().any(|line| line.contains("FAULT") && line.contains(fault)), "{fault}\n{text}");
    }
}

#[test]
fn a_follower_that_cuts_to_its_high_watermark_is_shrunk_to_one_death_and_explained() {
    let says = ["cuts orders-0 from", "<== first wrong step", "KAFKA-1211 is on", "KIP-101"];
    check(crate::defects::HUNT_1211, "KAFKA-1211", 1, &says);
}

#[test]
fn an_epoch_written_too_early_is_shrunk_to_one_death_and_explained() {
    let says = ["NEWLEADER", "by DIFF", "ZOOKEEPER-4643 is on"];
    check("leader-crash", "ZOOKEEPER-4643", 1, &says);
}

#[test]
fn a_broker_that_gives_way_to_its_own_ghost_is_shrunk_and_explained() {
    let says = ["CANNOT REGISTER", "KAFKA-7165 is on"];
    check("stale-registration", "KAFKA-7165", 1, &says);
}

#[test]
fn a_world_that_does_not_converge_is_shrunk_and_explained_too() {
    let changes = Changes { sets: vec!["duration=4s".to_owned(), "settle=500ms".to_owned()], ..Changes::default() };
    let prepared = Prepared::new(&Source::named("steady").unwrap(), &changes).unwrap();
    let run = prepared.run(0, Watch::LIGHT).unwrap();
    let repro = Repro::of(&prepared, 0, &run.outcome).unwrap();
    let small = shrink_repro("found.json", &repro, Limits { jobs: 2, runs: 60 }, &mut |_| {}).unwrap();
    assert_eq!(small.repro.expected.signature, repro.expected.signature);
    assert!(small.after.simulated < small.before.simulated, "{:?} {:?}", small.before, small.after);
    let explanation = explain_repro("small.json", &small.repro, FEW, &mut |_, _, _| {}).unwrap();
    let text = explanation.to_text();
    assert!(text.contains("no fault was necessary"), "{text}");
    assert!(explanation.curve.is_some_and(|curve| !curve.points.is_empty()));
}

#[test]
fn a_run_and_itself_are_the_same_and_another_seed_parts_from_it_with_different_hosts() {
    let repro = repro("leader-crash", "ZOOKEEPER-4643");
    let same = compare(["a", "b"], [&repro, &repro]).unwrap();
    assert!(same.is_same() && same.to_text().starts_with("SAME"), "{}", same.to_text());
    let other = Repro { seed: repro.seed + 1, ..repro.clone() };
    let parted = compare(["a", "b"], [&repro, &other]).unwrap();
    assert!(parted.parts_at.is_some_and(|event| event < 100), "{}", parted.to_text());
    // Without the rule both are the same until it strikes.
    let spared = Repro { schedule: Vec::new(), ..repro.clone() };
    let parted = compare(["with", "without"], [&repro, &spared]).unwrap();
    let text = parted.to_text();
    assert!(parted.parts_at.is_some_and(|event| event > 100) && parted.before.len() == 5, "{text}");
    assert!(text.contains("state at that instant"), "{text}");
    assert!(parted.state.iter().any(|change| change.old == Some("down".into())), "{text}");
}

#[track_caller]
fn text_of(output: &Output, status: i32) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}\n{errors}");
    text
}

#[track_caller]
fn check_refused(arguments: &[&str], said: &[&str]) {
    let output = tribunal(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(output.stdout.is_empty(), "data on standard output");
    for words in said {
        assert!(errors.contains(words), "\"{words}\" is not in: {errors}");
    }
}

#[test]
fn the_command_shrinks_explains_compares_and_overwrites_nothing() {
    let directory = directory("shrink");
    let path = |name: &str| directory.join(name).display().to_string();
    let (found, small) = (path("found.json"), path("found.small.json"));
    std::fs::write(&found, repro("leader-crash", "ZOOKEEPER-4643").to_json()).unwrap();

    let text = text_of(&tribunal(&["shrink", &found, "--runs", "60", "--jobs", "2"]), 0);
    assert!(text.starts_with("SHRUNK C11") && text.contains("before       after"), "{text}");
    assert!(text.contains("tribunal::check_repro(") && text.contains("#[test]"), "{text}");
    tribunal::check_repro(Path::new(&small));
    check_refused(&["shrink", &found], &["nothing is overwritten", "--force"]);
    text_of(&tribunal(&["shrink", &small, "-o", &small, "--force", "--runs", "1"]), 0);

    let text = text_of(&tribunal(&["explain", &small, "--futures", "4", "--no-curve"]), 0);
    assert!(text.starts_with("C11 epoch-file-after-sync") && !text.contains("how likely"), "{text}");
    let json = text_of(&tribunal(&["explain", &small, "--futures", "0", "--no-curve", "--json"]), 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["invariant"], "C11");

    assert!(text_of(&tribunal(&["diff", &small, &small]), 0).starts_with("SAME"));
    assert!(text_of(&tribunal(&["diff", &small, "4711"]), 1).starts_with("DIFFERENT"));
    check_refused(&["diff", &small, "missing.json"], &["missing.json: cannot be read"]);
    check_refused(&["shrink", "missing.json"], &["missing.json: cannot be read"]);
}

#[test]
fn ids_are_explained_and_mistyped_ones_find_their_neighbour() {
    let explained = [
        ("L11", "L11 truncate-floor: a rule"),
        ("l11", "L11 truncate-floor: a rule"),
        ("KAFKA-1211", "KAFKA-1211: a defect"),
        ("power-loss", "power-loss: a fault"),
        ("leader-established", "leader-established: a fact"),
        ("controller", "controller: a role"),
        ("leader-crash", "leader-crash: a scenario"),
    ];
    for (id, says) in explained {
        let text = text_of(&tribunal(&["explain", id]), 0);
        assert!(text.starts_with(says), "{id}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    }
    for mark in tribunal::report::mark_names() {
        assert!(tribunal::explain_id(mark, &[]).is_ok_and(|text| text.lines().count() > 1), "{mark}");
    }
    check_refused(&["explain", "KAFKA-1212"], &["neither a repro nor a known id", "did you mean `KAFKA-1211`?"]);
    check_refused(&["explain", "a-banana-is-a-fruit-is-it-not"], &["tribunal list"]);
}
