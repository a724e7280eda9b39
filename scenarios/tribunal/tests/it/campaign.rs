//! Campaigns, repros and shards, as their users see them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};

use search::{Shard, first_difference};
use tribunal::campaign::{Ahead, Campaign, CampaignOutcome, Gate, Stopped, Summary, merge, summary};
use tribunal::{Changes, Prepared, Repro, SCENARIOS, Source, Watch};

fn tribunal(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tribunal"));
    command.args(arguments).env("NO_COLOR", "1");
    // Whatever runs these tests may be a shard itself.
    for name in ["TRIBUNAL_SHARD", "JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID", "CI_NODE_INDEX", "CI_NODE_TOTAL"] {
        command.env_remove(name);
    }
    command
}

/// A fresh directory below the target directory.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn check_status(output: &Output, status: i32) -> String {
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said}\n{errors}");
    said
}

#[track_caller]
fn check_refused(output: &Output, said: &[&str]) {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(output.stdout.is_empty(), "data on standard output: {}", text(&output.stdout));
    for words in said {
        assert!(errors.contains(words), "\"{words}\" is not in: {errors}");
    }
    assert!(errors.lines().count() <= 12, "{errors}");
}

fn prepared(name: &str, defects: &[&str], sets: &[&str]) -> Prepared {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let changes = Changes { defects: owned(defects), sets: owned(sets), ..Changes::default() };
    Prepared::new(&Source::catalogue(name).unwrap(), &changes).unwrap()
}

/// The seed of [`crate::defects::SEED_OF_1208`] and those around it: some hold, some do not.
const HUNT: [&str; 6] = ["fuzz", "session-expiry", "--seeds", "0..8", "--defect", "ZOOKEEPER-1208"];

/// A repro that a campaign has kept, with the directory it is in.
fn kept(name: &str) -> (PathBuf, PathBuf) {
    let keep = directory(name);
    let output = tribunal(&[&HUNT[..], &["--keep", &keep.display().to_string()]].concat());
    check_status(&output, 1);
    let repro = std::fs::read_dir(&keep).unwrap().map(|entry| entry.unwrap().path());
    let repro: Vec<PathBuf> = repro.filter(|path| path.to_string_lossy().ends_with(".repro.json")).collect();
    assert_eq!(repro.len(), 1, "{repro:?}");
    (repro.into_iter().next().unwrap(), keep)
}

fn replay(file: &Path, out: &Path, more: &[&str]) -> Output {
    let (file, out) = (file.display().to_string(), out.display().to_string());
    tribunal(&[&["replay", &file, "--out", &out], more].concat())
}

#[test]
fn a_campaign_groups_its_failures_and_keeps_the_first_of_each() {
    let keep = directory("fuzz-groups").display().to_string();
    let output = tribunal(&[&HUNT[..], &["--keep", &keep]].concat());
    let said = check_status(&output, 1);
    assert!(said.starts_with("VIOLATED 1 failure in 2 of 8 runs\n"), "{said}");
    let seed = crate::defects::SEED_OF_1208;
    let line = format!("     2 runs  C19: tribunal run session-expiry --seed {seed} --defect ZOOKEEPER-1208\n");
    assert!(said.contains(&line), "{said}");
    assert!(said.contains("tribunal replay ") && said.contains("seeds 0..8: 6 held, 2 violated"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 100 || line.contains("tribunal ")), "{said}");
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let outputs = ["1", "2", "5"].map(|jobs| {
        let keep = directory("fuzz-jobs");
        let json = keep.join("out.json");
        let (keep_text, json_text) = (keep.display().to_string(), json.display().to_string());
        let output = tribunal(&[&HUNT[..], &["--keep", &keep_text, "--json", &json_text, "--jobs", jobs]].concat());
        (check_status(&output, 1), std::fs::read_to_string(json).unwrap())
    });
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
}

#[test]
fn merged_shards_are_one_campaign_and_missing_or_foreign_ones_are_named() {
    let all = directory("fuzz-shards");
    let file = |name: &str| all.join(name).display().to_string();
    let keep = file("kept");
    let run = |more: &[&str]| {
        let seeds = ["fuzz", "session-expiry", "steady", "--seeds", "1..6", "--set", "duration=20s"];
        tribunal(&[&seeds, &["--defect", "ZOOKEEPER-1208", "--keep", &keep, "-q"][..], more].concat())
    };
    let shards = [file("0.json"), file("1.json"), file("2.json")];
    for (shard, path) in ["0/3", "1/3", "2/3"].iter().zip(&shards) {
        run(&["--shard", shard, "--json", path]);
    }
    let whole = run(&["--json", &file("whole.json")]);
    let status = whole.status.code().unwrap();
    // In another order than that of the shards.
    let merged = tribunal(&["merge", &shards[2], &shards[0], &shards[1], "-q", "--json", &file("merged.json")]);
    assert_eq!(check_status(&merged, status), text(&whole.stdout));
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    assert_eq!(read("merged.json"), read("whole.json"));

    let partial = tribunal(&["merge", &shards[0], &shards[2], "-q"]);
    let said = check_status(&partial, if status == 0 { 3 } else { status });
    assert!(said.contains("  missing    shards 1 of 0..3"), "{said}");
    assert!(text(&partial.stderr).contains("of 3 shards these are missing: 1"), "{}", text(&partial.stderr));

    check_refused(&tribunal(&["merge", &shards[0], &shards[0]]), &["has run session-expiry with seed 1, and so has"]);
    run(&["--set", "duration=21s", "--shard", "1/3", "--json", &file("other.json")]);
    check_refused(
        &tribunal(&["merge", &shards[0], &file("other.json")]),
        &["other.json: is no shard of the campaign of", "duration=21s", "differ in --shard alone"],
    );
    let cut = read("whole.json");
    std::fs::write(file("cut.json"), &cut[..cut.len() / 2]).unwrap();
    check_refused(&tribunal(&["merge", &file("cut.json")]), &["cut.json:", "is no outcome of a campaign"]);
}

#[test]
fn the_environment_says_which_shard_this_is() {
    let run = |pairs: &[(&str, &str)]| {
        let mut command = command(&["fuzz", "steady", "--seeds", "10..14", "--set", "duration=1s"]);
        command.envs(pairs.iter().copied()).output().unwrap()
    };
    let seeds = |pairs: &[(&str, &str)]| {
        let said = check_status(&run(pairs), 0);
        said.lines().find_map(|line| line.trim().strip_prefix("steady  seeds ").map(str::to_owned)).expect("a line")
    };
    assert_eq!(seeds(&[]), "10..14: 4 held");
    assert_eq!(seeds(&[("TRIBUNAL_SHARD", "1/2")]), "11..14 by 2: 2 held");
    assert_eq!(seeds(&[("JOB_COMPLETION_INDEX", "3"), ("TRIBUNAL_SHARDS", "4")]), "13: 1 held");
    assert_eq!(seeds(&[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "4")]), "10: 1 held");
    check_refused(
        &run(&[("JOB_COMPLETION_INDEX", "3")]),
        &["JOB_COMPLETION_INDEX: says that this is shard 3", "TRIBUNAL_SHARDS"],
    );
}

#[test]
fn a_repro_replays_bit_for_bit() {
    let (file, out) = kept("replay-same");
    let output = replay(&file, &out, &[]);
    let said = check_status(&output, 1);
    assert!(said.starts_with("VIOLATED C19"), "{said}");
    assert!(text(&output.stderr).contains("repeated   bit for bit: "), "{}", text(&output.stderr));

    let repro = Repro::from_json("x", &std::fs::read_to_string(&file).unwrap()).unwrap();
    let run = repro.prepared("x").unwrap().run(repro.seed, Watch::LIGHT).unwrap();
    assert_eq!(run.outcome.hash, repro.expected.hash);
    let run = prepared("session-expiry", &["ZOOKEEPER-1208"], &[]).run(repro.seed, Watch::LIGHT).unwrap();
    assert_eq!(run.outcome.hash, repro.expected.hash, "the scenario's own run is the repro's");

    let until = check_status(&replay(&file, &out, &["--until", "4.5s"]), 0);
    assert!(until.starts_with("STOPPED at 4.500000s after "), "{until}");
    assert!(until.lines().any(|line| line.contains("zk1") && line.contains("following")), "{until}");
    let behind = check_status(&replay(&file, &out, &["--until", "10m"]), 0);
    assert!(behind.starts_with("VIOLATED C19 at "), "{behind}");

    let on = replay(&file, &out, &["--keep-going", "-q"]);
    check_status(&on, 1);
    assert!(text(&on.stderr).contains("then it went on"), "{}", text(&on.stderr));
}

#[test]
fn a_repro_with_another_schedule_parts_at_the_first_event_that_differs() {
    let (file, out) = kept("replay-edited");
    let repro = Repro::from_json("x", &std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut edited = repro.clone();
    edited.schedule.remove(0);
    std::fs::write(&file, edited.to_json()).unwrap();
    let output = replay(&file, &out, &[]);
    let said = check_status(&output, 4);
    let runs = [&repro, &edited].map(|repro| repro.prepared("x").unwrap().run(repro.seed, Watch::FULL).unwrap());
    let recordings = runs.each_ref().map(|run| run.world.recording().unwrap());
    let difference = first_difference(recordings[0], recordings[1], &|host| host.to_string()).expect("they differ");
    let words = format!("parts from that of the repro at event {}:", difference.event);
    assert!(said.starts_with("NOT DETERMINISTIC this run"), "{said}");
    assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(&words), "not \"{words}\" in {said}");

    // Before that event it is the same run.
    let at = recordings[0].events[usize::try_from(difference.event).unwrap()].at;
    let before = format!("{}ms", at.as_millis() - 100);
    check_status(&replay(&file, &out, &["--until", &before]), 0);
    check_status(&replay(&file, &out, &["--until", "10m"]), 4);
}

#[test]
fn a_repro_that_is_none_is_refused_in_one_sentence() {
    let (file, out) = kept("replay-refused");
    let good = std::fs::read_to_string(&file).unwrap();
    let check = |text: &str, said: &[&str]| {
        std::fs::write(&file, text).unwrap();
        check_refused(&replay(&file, &out, &[]), said);
    };
    check(&good[..2_000], &["repro.json:", "is no repro: EOF", "hint:"]);
    check("", &["is no repro: EOF"]);
    check(&good.replace("\"seed\"", "\"sead\""), &["is no repro: unknown field `sead`"]);
    check(
        &good.replace("\"version\": \"0", "\"version\": \"99"),
        &["is a repro of tribunal 99", "the version that wrote it"],
    );
    let trail = good.find("\"trail\": \"").unwrap();
    check(&format!("{}{}", &good[..trail + 40], &good[trail + 44..]), &["is no repro: the trail is not as long"]);
    check(&good.replace("\"leader\"", "\"leadr\""), &["the role `leadr`", "did you mean `leader`?"]);
    check_refused(&replay(&out.join("missing.json"), &out, &[]), &["missing.json: cannot be read"]);
}

#[test]
fn a_run_beyond_its_budget_is_undecided_and_not_the_end() {
    let output = tribunal(&["fuzz", "steady", "--seeds", "0..3", "--set", "duration=2s", "--steps", "1000"]);
    let said = check_status(&output, 3);
    assert!(said.starts_with("UNDECIDED 3 of 3 runs without a verdict\n"), "{said}");
    assert!(
        said.contains("  tribunal run steady --seed 2 --set duration=2s\n      the budget of 1000 steps"),
        "{said}"
    );
}

#[test]
fn a_machine_that_panics_is_found_and_a_testbed_that_does_is_not_the_end() {
    let good = prepared("steady", &[], &["duration=1s"]);
    let mut broken = good.clone();
    broken.name = "broken".to_owned();
    // No loader lets this pass: how many servers are there?
    broken.scenario.cluster.coordinators = world::OneOf::Drawn(Vec::new());
    let campaign = Campaign { to: Some(2), jobs: 2, ..Campaign::new(vec![good, broken]) };
    let outcome = campaign.run(&|| None, &mut |_| None);
    assert_eq!(outcome.verdict(), record::Outcome::TestbedAtFault);
    assert_eq!(outcome.scenarios[0].held, 2);
    assert_eq!(outcome.scenarios[1].faulty.len(), 2);
    let kept = std::collections::BTreeMap::new();
    let text = summary(&Summary { outcome: &outcome, kept: &kept, unmet: None, level: render::Level::Quiet });
    assert!(text.starts_with("TESTBED AT FAULT the testbed failed in 2 of 4 runs\n"), "{text}");
}

#[test]
fn verified_seeds_run_twice_and_say_so() {
    let json = directory("fuzz-verify").join("out.json").display().to_string();
    let arguments = ["fuzz", "leader-crash", "--seeds", "0..2", "--set", "duration=4s", "--verify", "--json", &json];
    check_status(&tribunal(&arguments), 0);
    let outcome = CampaignOutcome::from_json("x", &std::fs::read_to_string(&json).unwrap()).unwrap();
    assert!(outcome.verified && outcome.runs() == 2);
}

#[test]
fn an_interrupted_campaign_is_the_beginning_of_the_whole_one() {
    let scenarios = || vec![prepared("steady", &[], &["duration=1s"]), prepared("leader-crash", &[], &["duration=1s"])];
    for jobs in [1, 3] {
        let runs = AtomicU64::new(0);
        let stop = || (runs.fetch_add(1, Ordering::SeqCst) >= 5).then_some(Stopped::Interrupted);
        let campaign = Campaign { to: Some(100), jobs, ..Campaign::new(scenarios()) };
        let interrupted = campaign.run(&stop, &mut |_| None);
        assert_eq!(interrupted.stopped, Some(Stopped::Interrupted));
        assert_eq!(interrupted.verdict(), record::Outcome::Undecided);
        assert_eq!(interrupted.runs(), 5);
        let whole = Campaign { to: Some(3), ..Campaign::new(scenarios()) }.run(&|| None, &mut |_| None);
        assert_eq!(interrupted.scenarios[0], whole.scenarios[0], "three seeds of the first");
        assert_eq!(interrupted.scenarios[1].seeds.to_string(), "0..2", "two seeds of the second");
    }
}

#[cfg(unix)]
#[test]
fn an_interruption_loses_nothing() {
    let directory = directory("fuzz-interrupted");
    let json = directory.join("out.json");
    let arguments = ["fuzz", "steady", "--for", "10m", "--set", "duration=1s", "--json", &json.display().to_string()];
    let mut command = command(&arguments);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = check_status(&output, 3);
    assert!(said.starts_with("UNDECIDED every rule held in "), "{said}");
    assert!(said.contains("by an interruption"), "{said}");
    let outcome = CampaignOutcome::from_json("x", &std::fs::read_to_string(&json).unwrap()).unwrap();
    assert!(outcome.runs() > 0 && outcome.stopped == Some(Stopped::Interrupted));
    assert_eq!(
        outcome.scenarios[0].seeds.to_string(),
        if outcome.runs() == 1 { "0".into() } else { format!("0..{}", outcome.runs()) }
    );
}

#[test]
fn a_campaign_over_a_time_ends_and_begins_where_it_is_told() {
    let output = tribunal(&["fuzz", "steady", "--for", "500ms", "--from", "77", "--set", "duration=1s"]);
    let said = check_status(&output, 0);
    assert!(said.contains("seeds from 77 on"), "{said}");
    assert!(said.contains("  steady  seeds 77"), "{said}");
}

#[test]
fn the_first_failure_ends_the_campaign_if_it_is_told_so_whatever_the_threads() {
    let keep = directory("fuzz-first").display().to_string();
    let said = ["1", "3"]
        .map(|jobs| check_status(&tribunal(&[&HUNT[..], &["--keep", &keep, "--first", "--jobs", jobs]].concat()), 1));
    assert_eq!(said[0], said[1]);
    assert!(said[0].contains(&format!("seeds 0..{}", crate::defects::SEED_OF_1208 + 1)), "{}", said[0]);
}

#[test]
fn a_mark_of_the_gate_that_is_not_reached_fails_the_campaign() {
    let directory = directory("fuzz-gate");
    let file = directory.join("gate.toml");
    let gate = format!("--gate={}", file.display());
    let junit = directory.join("out.xml").display().to_string();
    let run = || tribunal(&["fuzz", "steady", "--seeds", "0..1", "--set", "duration=1s", &gate, "--junit", &junit]);
    std::fs::write(&file, "[every]\ntwo-leaders = 1\n").unwrap();
    let said = check_status(&run(), 3);
    assert!(said.contains("  two-leaders was reached in 0 runs; at least 1 must"), "{said}");
    assert!(std::fs::read_to_string(&junit).unwrap().contains("name=\"two-leaders\""));
    std::fs::write(&file, "[nightly]\ntwo-leaders = 1\n").unwrap();
    assert!(check_status(&run(), 0).contains("coverage gate met"));
    std::fs::write(&file, "[every]\ntwo-leders = 1\n").unwrap();
    check_refused(&run(), &["gate.toml:2: there is no mark `two-leders`", "did you mean `two-leaders`?"]);
    std::fs::write(&file, "[every]\ntwo-leaders = \"x\"\n").unwrap();
    check_refused(&run(), &["gate.toml:2: is no coverage gate"]);
    let _ = Gate::of_the_catalogue();
}

#[test]
fn wrong_words_are_one_sentence() {
    let check = |arguments: &[&str], said: &[&str]| check_refused(&tribunal(&[&["fuzz"], arguments].concat()), said);
    check(&["steady", "--seeds", "7"], &["A..B"]);
    check(&["steady", "--seeds", "7..7"], &["there is no seed in 7..7"]);
    check(&["steady", "--for", "10"], &["--for"]);
    check(&["steady", "--shard", "3/3"], &["--shard: there is no shard 3/3: 3 shards are 0 to 2"]);
    check(&["steady", "steady"], &["is named twice"]);
    check(&["stedy"], &["did you mean `steady`?"]);
    check(&["--for", "1s", "--from", "random", "--shard", "0/2"], &["give every shard the same number"]);
}

#[test]
fn defects_of_kafka_are_hunted_where_brokers_are() {
    let output = tribunal(&["fuzz", "--defect", "KAFKA-6082", "--seeds", "0..1", "--for", "0s"]);
    let said = check_status(&output, 0);
    assert!(said.contains("controller-crash") && !said.contains("leader-pause"), "{said}");
    assert!(text(&output.stderr).contains("scenarios of the catalogue that have no brokers"));
}

#[test]
fn a_hunt_for_a_defect_begins_where_it_shows() {
    let keep = directory("hunt");
    let keep = keep.display().to_string();
    // Two seeds of it hold: they come before any other scenario.
    let output =
        tribunal(&["fuzz", "--defect", "KAFKA-7128", "--first", "--seeds", "0..9", "--jobs", "1", "--keep", &keep]);
    let said = check_status(&output, 1);
    assert!(said.contains("1 failure in 1 of 2 runs") && said.contains("E17: tribunal run kafka-7128"), "{said}");
    let narrated = text(&output.stderr);
    assert!(narrated.contains("kafka-7128, 100 seeds of it ahead of all others"), "{narrated}");
    assert!(narrated.contains(".repro.json"), "{narrated}");
}

#[test]
fn what_is_run_ahead_is_run_once_and_everything_else_too() {
    let scenarios = || ["steady", "leader-crash"].map(|name| prepared(name, &[], &["duration=1s"])).to_vec();
    let plain = Campaign { to: Some(5), ..Campaign::new(scenarios()) };
    let ahead = Campaign { ahead: Ahead { scenarios: 1, seeds: 3 }, ..plain.clone() };
    let order = |campaign: &Campaign| {
        let mut order = Vec::new();
        campaign.run(&|| None, &mut |taken| {
            order.push((taken.scenario, taken.ran.unwrap().seed.seed));
            None
        });
        order
    };
    let (plain, ahead) = (order(&plain), order(&ahead));
    assert_eq!(ahead[..5], [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
    let sorted = |mut order: Vec<(usize, u64)>| {
        order.sort_unstable();
        order
    };
    assert_eq!(sorted(plain), sorted(ahead));
}

#[test]
fn shards_of_a_campaign_partition_its_runs() {
    for of in [1, 3, 8] {
        let runs: Vec<u64> = (0..of)
            .map(|index| {
                let shard = Shard::new(index, of).unwrap();
                let scenarios = vec![prepared("steady", &[], &[])];
                Campaign { from: 5, to: Some(25), shard, ..Campaign::new(scenarios) }.runs().unwrap()
            })
            .collect();
        assert_eq!(runs.iter().sum::<u64>(), 20, "{runs:?}");
    }
    assert_eq!(merge(Vec::new()).unwrap_err().what, "there is nothing to merge");
    assert!(SCENARIOS.len() > 1);
}

#[test]
fn the_help_texts_are_as_reviewed() {
    for verb in ["fuzz", "replay", "merge"] {
        insta::assert_snapshot!(format!("help-{verb}"), check_status(&tribunal(&[verb, "--help"]), 0));
    }
}
