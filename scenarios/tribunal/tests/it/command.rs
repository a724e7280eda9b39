//! The command as a process: what it prints, where, and its exit status.

use std::path::PathBuf;
use std::process::{Command, Output};

pub(crate) fn tribunal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tribunal")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

/// A fresh directory below the target directory.
pub(crate) fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[track_caller]
pub(crate) fn check_refused(arguments: &[&str], said: &[&str]) {
    let output = tribunal(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(output.stdout.is_empty(), "data on standard output: {:?}", String::from_utf8_lossy(&output.stdout));
    for words in said {
        assert!(errors.contains(words), "\"{words}\" is not in: {errors}");
    }
    assert!(errors.lines().count() <= 12, "{errors}");
}

#[test]
fn a_run_that_holds_reports_on_standard_output_and_ends_with_zero() {
    let output = tribunal(&["run", "steady", "--seed", "1", "--set", "duration=3s", "-q"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("HELD steady with seed 1"), "{text}");
    assert!(text.contains("tribunal run steady --seed 1 --set duration=3s"), "{text}");
}

#[test]
fn a_run_that_does_not_hold_ends_with_one_and_leaves_its_record() {
    let out = directory("violated");
    let seed = crate::defects::SEED_OF_1208.to_string();
    let out_text = out.display().to_string();
    let arguments = ["run", "session-expiry", "--seed", &seed, "--defect", "ZOOKEEPER-1208", "--out", &out_text];
    let output = tribunal(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("VIOLATED C"), "{text}");
    assert!(text.trim_end().ends_with("--defect ZOOKEEPER-1208"), "{text}");
    let record = std::fs::read_dir(&out).unwrap().next().expect("a record").unwrap().path();
    let record = record::Record::from_json(&std::fs::read_to_string(record).unwrap()).unwrap();
    assert_eq!(record.outcome, record::Outcome::Violated);
}

#[test]
fn a_world_that_does_not_converge_in_time_says_what_is_stuck() {
    let out = directory("stuck").display().to_string();
    let output = tribunal(&["run", "steady", "--set", "duration=4s", "--set", "settle=500ms", "--out", &out]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("VIOLATED V02 writes-complete: no new write of c1 has succeeded"), "{text}");
    assert!(text.contains("what is stuck") && text.contains("should progress : every fault has ended"), "{text}");
}

#[test]
fn a_record_that_cannot_be_written_costs_neither_report_nor_status() {
    let out = directory("not-a-directory").join("file");
    std::fs::write(&out, "in the way").unwrap();
    let output = tribunal(&["run", "steady", "--set", "duration=2s", "--keep", "--out", &out.display().to_string()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("HELD"));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("warning: the directory") && errors.contains("hint: --out DIR"), "{errors}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "in the way");
}

#[test]
fn verify_runs_twice_and_compares() {
    let output = tribunal(&["run", "leader-crash", "--set", "duration=6s", "--verify", "-q"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("two runs, the same trace"));
}

#[test]
fn wrong_words_are_one_sentence_with_a_hint() {
    check_refused(&["run", "leader-crsh"], &["no such scenario", "did you mean `leader-crash`?"]);
    check_refused(&["run", "missing.toml"], &["missing.toml: cannot be read", "hint:"]);
    check_refused(
        &["run", "steady", "--defect", "ZOOKEEPER-4634"],
        &["there is no defect", "did you mean `ZOOKEEPER-4643`?"],
    );
    check_refused(&["run", "steady", "--set", "duration"], &["--set duration", "there is no `=` in it"]);
    check_refused(&["run", "steady", "--set", "cluster.zoo.tickTime=fast"], &["tickTime is \"fast\""]);
    check_refused(&["run", "steady", "--seed", "seven"], &["a seed is a whole number"]);
    check_refused(&["run", "steady", "--zoo-cfg", "no.cfg"], &["no.cfg: cannot be read"]);
}

#[test]
fn a_broken_scenario_file_names_line_and_neighbour() {
    let directory = directory("broken");
    let path = directory.join("mine.toml");
    let file = path.display().to_string();
    let check = |text: &str, said: &[&str]| {
        std::fs::write(&path, text).unwrap();
        check_refused(&["check", &file], said);
    };
    let head = "about = \"x\"\nduration = \"5s\"\n[cluster]\ncoordinators = 3\n";
    check(&format!("{head}coordinaters = 3\n"), &["mine.toml:5:", "did you mean `coordinators`?"]);
    check("about = \"x\"\nduration = 5\n", &["mine.toml:2:", "1s..3s"]);
    check("about = \"x\"\nduration\n", &["mine.toml:2:", "expected `=`"]);
    let rule = |when: &str, what: &str| format!("{head}[[faults]]\nwhen = {when}\ndo = {what}\n");
    check(
        &rule("{ fact = \"leader-establishd\" }", "{ kill = { target = { role = \"leader\" } } }"),
        &["mine.toml:5:", "the fact `leader-establishd`", "did you mean `leader-established`?"],
    );
    check(
        &rule("{ at = \"1s\" }", "{ kill = { target = { role = \"leadr\" } } }"),
        &["the role `leadr`", "did you mean `leader`?"],
    );
    check(&rule("{ at = \"1s\" }", "{ kill = { target = { host = \"zk9\" } } }"), &["the host `zk9`"]);
    check(
        &rule("{ at = \"1s\" }", "{ kil = { target = { host = \"zk1\" } } }"),
        &["mine.toml:7:", "did you mean `kill`?"],
    );
    check(&format!("{head}defects = [\"ZOOKEEPER-1\"]\n"), &["there is no defect `ZOOKEEPER-1`"]);
    check("about = \"x\"\nduration = \"5s\"\n[cluster]\ncoordinators = 0\n", &["mine.toml:4:", "from 1 to 9"]);
}

#[test]
fn init_writes_a_file_that_checks_and_overwrites_nothing() {
    let directory = directory("init");
    let file = directory.join("mine.toml").display().to_string();
    assert_eq!(tribunal(&["init", &file]).status.code(), Some(0));
    assert_eq!(tribunal(&["check", &file]).status.code(), Some(0));
    let before = std::fs::read_to_string(&file).unwrap();
    check_refused(&["init", &file], &["cannot be written", "nothing is overwritten"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let output = tribunal(&["run", &file, "--set", "duration=3s", "-q"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_real_zoo_cfg_configures_the_servers_and_its_oddities_are_said() {
    let directory = directory("zoo");
    let path = directory.join("zoo.cfg");
    let file = path.display().to_string();
    std::fs::write(&path, "tickTime=400\ninitLimit=10\nsyncLimit=5\nclientPrt=2181\nadmin.serverPort=8080\n").unwrap();
    let arguments = ["run", "steady", "--set", "duration=3s", "--zoo-cfg", &file];
    let output = tribunal(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("clientPrt: unknown; did you mean `clientPort`?"), "{text}");
    assert!(flat.contains("admin.serverPort: valid, not modelled"), "{text}");
    let strict = [&arguments[..], &["--strict-config"]].concat();
    check_refused(&strict, &["zoo.cfg:4:", "clientPrt"]);
    assert_eq!(tribunal(&["check", &file]).status.code(), Some(0));
    std::fs::write(&path, "tickTime=soon\n").unwrap();
    check_refused(&["check", &file], &["zoo.cfg:1: tickTime is \"soon\"", "default: 3000"]);
}

#[test]
fn everything_that_can_be_listed_is_listed() {
    for what in ["scenarios", "defects", "invariants", "marks", "faults", "facts", "roles", "config"] {
        let output = tribunal(&["list", what]);
        assert_eq!(output.status.code(), Some(0), "{what}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() >= 2, "{what}: {text}");
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(what == "faults" || longest <= 110, "{what}: {longest} columns");
    }
}

#[test]
fn the_help_texts_are_as_reviewed() {
    for verb in ["", "run", "list", "check", "init", "inspect"] {
        let arguments: Vec<&str> = [verb, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let output = tribunal(&arguments);
        assert_eq!(output.status.code(), Some(0));
        let name = if verb.is_empty() { "help" } else { verb };
        insta::assert_snapshot!(format!("help-{name}"), String::from_utf8(output.stdout).unwrap());
    }
}
