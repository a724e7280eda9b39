//! `tribunal inspect` as its users see it.

use engine::{Bound, Brokenness, Reached};
use machine::{HostId, Instant, Span};
use serde_json::Value;

use crate::command::{check_refused, directory, tribunal};

fn inspect(arguments: &[&str]) -> String {
    let output = tribunal(&[&["inspect"], arguments].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(arguments.contains(&"--json") || longest <= 100, "{longest} columns");
    text
}

#[test]
fn an_instant_shows_hosts_sessions_partitions_znodes_and_watches() {
    let text = inspect(&["controller-crash", "--seed", "7", "--at", "3s"]);
    for title in ["hosts", "sessions, as their clients see them", "brokers", "partitions", "znodes of zk", "watches"] {
        assert!(text.lines().any(|line| line.starts_with(title)), "no {title}:\n{text}");
    }
    // The controller was killed at 2.498 s.
    let kafka3 = text.lines().find(|line| line.trim_start().starts_with("kafka3")).unwrap();
    assert!(kafka3.split_whitespace().nth(2) == Some("down"), "{kafka3}");
    assert!(text.contains("/brokers/topics/orders/partitions/0/state"), "{text}");
}

#[test]
fn a_path_narrows_to_a_subtree_or_to_a_partition_with_its_files() {
    insta::assert_snapshot!(inspect(&["controller-crash", "--seed", "7", "--at", "3s", "--path", "/brokers/ids"]));
    insta::assert_snapshot!(inspect(&["controller-crash", "--seed", "7", "--at", "3s", "--path", "orders-0"]));
}

#[test]
fn a_host_shows_its_own_tree_sessions_and_epoch_files() {
    let text = inspect(&["leader-crash", "--seed", "7", "--at", "4s", "--host", "zk1"]);
    assert!(text.contains("znodes of zk1 ("), "{text}");
    assert!(text.contains("currentEpoch") && text.contains("log.100000001"), "{text}");
    assert!(!text.lines().any(|line| line.trim_start().starts_with("zk2 ")), "{text}");
}

#[test]
fn json_has_the_stat_of_every_znode() {
    let text = inspect(&["steady", "--seed", "1", "--at", "3s", "--json"]);
    let state: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["at"].as_u64(), Some(3_000_000_000));
    let servers = state["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    for znode in servers[0]["znodes"].as_array().unwrap() {
        assert!(znode["czxid"].is_string() && znode["version"].is_i64() && !znode["path"].is_null(), "{znode}");
    }
    assert!(
        servers
            .iter()
            .any(|it| it["sessions"].as_array().is_some_and(|all| all.iter().any(|s| s["client"].is_string())))
    );
}

#[test]
fn an_event_is_an_instant_too_and_the_heal_is_passed() {
    let at = |at: &str| -> Value {
        serde_json::from_str(&inspect(&["leader-crash", "--seed", "3", "--set", "duration=4s", "--at", at, "--json"]))
            .unwrap()
    };
    let by_event = at("#500");
    assert_eq!(by_event["event"].as_u64(), Some(500));
    let later = at("4500ms");
    assert_eq!(later["at"].as_u64(), Some(4_500_000_000));
    let down = |state: &Value| state["hosts"].as_array().unwrap().iter().filter(|it| it["condition"] == "down").count();
    assert_eq!(down(&later), 0, "behind the heal everybody runs");
}

#[test]
fn what_is_not_there_is_said_with_its_neighbour() {
    let base = ["inspect", "steady", "--at", "2s"];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    check_refused(&with(&["--host", "zk11"]), &["--host zk11", "there is no such host", "did you mean `zk1`?"]);
    check_refused(&with(&["--path", "/zookeper"]), &["there is no such znode", "did you mean `/zookeeper`?"]);
    check_refused(&["inspect", "steady", "--at", "soon"], &["`soon` is no instant"]);
    check_refused(&["inspect", "steady", "--at", "9000s"], &["behind the end", "hint: that is"]);
    check_refused(&["inspect", "stedy", "--at", "1s"], &["did you mean `steady`?"]);
}

#[test]
fn a_repro_is_inspected_with_its_own_seed_and_schedule() {
    let changes = tribunal::Changes { sets: vec!["duration=4s".to_owned()], ..tribunal::Changes::default() };
    let prepared = tribunal::Prepared::new(&tribunal::Source::catalogue("leader-crash").unwrap(), &changes).unwrap();
    let run = prepared.run(5, tribunal::Watch::LIGHT).unwrap();
    let repro = tribunal::Repro::of(&prepared, 5, &run.outcome).unwrap();
    let file = directory("inspect").join("repro.json").display().to_string();
    std::fs::write(&file, repro.to_json()).unwrap();
    let [of_repro, of_scenario] = [
        vec![file.as_str(), "--at", "3s", "--json"],
        vec!["leader-crash", "--set", "duration=4s", "--seed", "5", "--at", "3s", "--json"],
    ]
    .map(|arguments| inspect(&arguments));
    assert_eq!(of_repro, of_scenario);
    check_refused(&["inspect", &file, "--at", "3s", "--seed", "6"], &["is a repro", "hint: leave --seed"]);
}

#[test]
fn exports_are_written_beside_the_report() {
    let directory = directory("exports");
    let file = |name: &str| directory.join(name).display().to_string();
    let exports: Vec<String> = ["json", "junit", "shiviz", "shiviz-full", "perfetto"]
        .iter()
        .flat_map(|format| ["--export".to_owned(), format!("{format}={}", file(format))])
        .collect();
    let mut arguments = vec!["run", "leader-crash", "--seed", "3", "--set", "duration=4s", "-q"];
    arguments.extend(exports.iter().map(String::as_str));
    let output = tribunal(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let record = record::Record::from_json(&read("json")).unwrap();
    assert!(!record.arrows.is_empty() && !record.steps.is_empty());
    assert!(read("junit").starts_with("<?xml"));
    assert!(read("shiviz").len() < read("shiviz-full").len());
    serde_json::from_str::<Value>(&read("perfetto")).unwrap();
    check_refused(
        &["run", "steady", "--export", "perfeto=x"],
        &["there is no format `perfeto`", "did you mean `perfetto`?"],
    );
}

/// A swarm, and a seed of it whose core leaves out a host that is down for good.
const WITH_A_CORE: (&str, u64) = ("swarm-ensemble", 1);

fn midway(a: Instant, b: Instant) -> Instant {
    Instant::from_nanos(a.as_nanos().midpoint(b.as_nanos()))
}

#[test]
fn behind_the_faults_a_world_is_the_one_that_its_run_had() {
    let (name, seed) = WITH_A_CORE;
    let source = tribunal::Source::catalogue(name).unwrap();
    let prepared = tribunal::Prepared::new(&source, &tribunal::Changes::default()).unwrap();
    let run = prepared.run(seed, tribunal::Watch::FULL).unwrap();
    let core = run.outcome.core.as_ref().expect("there is a core");
    let healed_at = run.outcome.healed_at.expect("it is healed");
    let recording = run.world.recording().unwrap();

    let (setup, mut world) = prepared.world(seed, tribunal::Watch::FULL).unwrap();
    for at in [midway(core.healed_at, healed_at), healed_at, midway(healed_at, run.outcome.at), run.outcome.at] {
        assert_eq!(tribunal::advance(&mut world, &setup, Bound::At(at)), Reached::There);
        let shown = &world.recording().unwrap().events;
        assert!(shown.iter().eq(recording.events.iter().take_while(|event| event.at <= at)), "at {at}");
    }
    assert_eq!(tribunal::run_to_end(&mut world, &setup), run.outcome);

    // Whom the core leaves out is down in its phase, and only in it.
    let is_down = |(host, how): &(HostId, Brokenness)| (*how == Brokenness::Down).then_some(*host);
    let down = core.core.rest.iter().find_map(is_down).expect("somebody is left out");
    let name_of_down = world.hosts().name(down).to_owned();
    let condition = |at: String| -> String {
        let text = inspect(&[name, "--seed", &seed.to_string(), "--at", &at, "--json"]);
        let state: Value = serde_json::from_str(&text).unwrap();
        let hosts = state["hosts"].as_array().unwrap();
        hosts.iter().find(|it| it["host"] == name_of_down.as_str()).unwrap()["condition"].as_str().unwrap().to_owned()
    };
    let last = recording.events.iter().rfind(|event| event.at < healed_at).unwrap();
    assert_eq!(condition(format!("{}ns", healed_at.as_nanos())), "down");
    assert_eq!(condition(format!("#{}", last.id)), "down");
    assert_eq!(condition(format!("{}ns", run.outcome.at.as_nanos())), "up");

    // A replay up to there compares every event, and a run is no other one than itself.
    let repro = tribunal::Repro::of(&prepared, seed, &run.outcome).unwrap().with_trail(recording);
    let file = directory("core").join("repro.json").display().to_string();
    std::fs::write(&file, repro.to_json()).unwrap();
    for (at, first) in [(midway(healed_at, run.outcome.at), "STOPPED"), (run.outcome.at + Span::secs(9), "ENDED")] {
        let output = tribunal(&["replay", &file, "--until", &format!("{}ns", at.as_nanos())]);
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.starts_with(first), "{said}{errors}");
        let events = recording.events.iter().take_while(|event| event.at <= at).count();
        assert!(errors.contains(&format!("repeated   {events} events")), "{errors}");
    }
    let output = tribunal(&["diff", &file, &file]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("SAME"));
}
