//! What other tools read is well-formed: every rule of their formats, held against real runs.

use std::collections::{BTreeMap, BTreeSet};

use record::Record;
use render::{Shown, junit, perfetto, shiviz};
use serde_json::Value;
use tribunal::{Changes, Prepared, Source, Watch, report};

/// Each event of a trace: its host, and its vector clock.
type ShivizTraces = BTreeMap<String, Vec<(String, BTreeMap<String, u64>)>>;
/// The phase of an arrow's end, where it is, and when.
type FlowEnd = (String, Lane, u64);

fn record_of(name: &str, seed: u64, defect: Option<&str>) -> Record {
    let sets = if name.contains('/') { vec![] } else { vec!["duration=12s".to_owned()] };
    let changes = Changes { defects: defect.map(str::to_owned).into_iter().collect(), sets, ..Changes::default() };
    let prepared = Prepared::new(&Source::named(name).unwrap(), &changes).unwrap();
    let run = prepared.run(seed, Watch::FULL).unwrap();
    report::record(&prepared, &run)
}

/// Runs with much in them: leaders die, partitions, a whole Kafka cluster, a violation.
fn records() -> Vec<(String, Record)> {
    [
        ("leader-crash", 7, None),
        ("ensemble-split", 2, None),
        ("controller-crash", 7, None),
        (crate::defects::HUNT_1211, 0, Some("KAFKA-1211")),
    ]
    .into_iter()
    .map(|(name, seed, defect)| (format!("{name} {seed}"), record_of(name, seed, defect)))
    .collect()
}

/// The names of the groups of a regex.
fn groups(regex: &str) -> Vec<&str> {
    regex.match_indices("(?<").map(|(at, _)| regex[at + 3..].split('>').next().unwrap()).collect()
}

/// Every rule of ShiViz's format. Returns the events of each trace: host and clock.
#[track_caller]
fn check_shiviz(log: &str) -> ShivizTraces {
    let mut lines = log.lines();
    let (event, delimiter) = (lines.next().unwrap(), lines.next().unwrap());
    let mut named = groups(event);
    named.sort_unstable();
    assert_eq!(named, ["clock", "event", "host"], "the groups of the first line");
    assert_eq!(groups(delimiter), ["trace"], "the group of the second line");
    let mut traces = ShivizTraces::new();
    let mut trace = None;
    for line in lines.filter(|line| !line.is_empty()) {
        // What the delimiter's regex matches.
        if let Some(name) = line.strip_prefix("=== ").and_then(|rest| rest.strip_suffix(" ===")) {
            assert!(traces.insert(name.to_owned(), Vec::new()).is_none(), "two traces are called {name}");
            trace = Some(name.to_owned());
            continue;
        }
        // What the event's regex matches: no blank in the host, no brace in the clock, something behind it.
        let (host, rest) = line.split_once(' ').unwrap();
        let end = rest.find('}').unwrap();
        let (clock, text) = rest.split_at(end + 1);
        assert!(clock.starts_with('{') && text.len() > 1 && text.starts_with(' '), "{line}");
        let clock: BTreeMap<String, u64> = serde_json::from_str(clock).unwrap();
        traces
            .get_mut(trace.as_ref().expect("a delimiter before the first event"))
            .unwrap()
            .push((host.to_owned(), clock));
    }
    for (name, events) in &traces {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (host, clock) in events {
            let count = counts.entry(host).or_insert(0);
            *count += 1;
            assert_eq!(clock.get(host), Some(&*count), "{name}: the own entry of {host} rises by one from one");
        }
        for (host, clock) in events {
            for (other, entry) in clock {
                assert!(
                    *entry >= 1 && *entry <= counts[other.as_str()],
                    "{name}: {host} knows {entry} events of {other}"
                );
            }
        }
        // A host forgets nothing, and knows of another only what that one knew.
        let mut last: BTreeMap<&str, &BTreeMap<String, u64>> = BTreeMap::new();
        let at: BTreeMap<(&str, u64), &BTreeMap<String, u64>> =
            events.iter().map(|(host, clock)| ((host.as_str(), clock[host]), clock)).collect();
        for (host, clock) in events {
            if let Some(before) = last.insert(host, clock) {
                assert!(before.iter().all(|(other, entry)| clock[other] >= *entry), "{name}: {host} forgets");
            }
            for (other, entry) in clock.iter().filter(|&(other, _)| other != host) {
                let theirs = at[&(other.as_str(), *entry)];
                assert!(
                    theirs.iter().all(|(third, entry)| clock.get(third) >= Some(entry)),
                    "{name}: {host} of {other}"
                );
            }
        }
    }
    traces
}

#[test]
fn logs_for_shiviz_are_well_formed() {
    for (name, record) in records() {
        let story = check_shiviz(&shiviz(&[("run", &record)], Shown::Story));
        let events = &story["run"];
        assert!(events.len() > 20, "{name}: {} events", events.len());
        let knowing = events.iter().filter(|(_, clock)| clock.len() > 1).count();
        assert!(knowing * 2 > events.len(), "{name}: {knowing} of {} know of another host", events.len());
    }
    let record = record_of("steady", 1, None);
    let all = check_shiviz(&shiviz(&[("run", &record)], Shown::Everything));
    assert_eq!(all["run"].len(), record.steps.len());
}

#[test]
fn two_runs_in_one_log_are_two_traces() {
    let (a, b) = (record_of("leader-crash", 1, None), record_of("leader-crash", 2, None));
    let traces = check_shiviz(&shiviz(&[("seed 1", &a), ("seed 2", &b)], Shown::Story));
    assert_eq!(traces.keys().collect::<Vec<_>>(), ["seed 1", "seed 2"]);
}

/// A time of a trace in nanoseconds; it is written in microseconds with three decimals.
fn nanos(value: &Value) -> u64 {
    let text = value.to_string();
    let (whole, parts) = text.split_once('.').unwrap_or((&text, "0"));
    let parts = format!("{parts:0<3}");
    assert_eq!(parts.len(), 3, "{text} is finer than a nanosecond");
    whole.parse::<u64>().unwrap() * 1000 + parts.parse::<u64>().unwrap()
}

type Lane = (u64, u64);

/// Every rule of Chrome's format that Perfetto relies on. Returns how many events there are of each phase.
#[track_caller]
fn check_perfetto(name: &str, record: &Record) -> BTreeMap<String, usize> {
    let trace: Value = serde_json::from_str(&perfetto(record)).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let mut processes = BTreeSet::new();
    let mut threads = BTreeSet::new();
    let mut slices: BTreeMap<Lane, Vec<(u64, u64)>> = BTreeMap::new();
    let mut open: BTreeMap<(String, String), (String, u64, u64)> = BTreeMap::new();
    let mut flows: BTreeMap<(String, String), Vec<FlowEnd>> = BTreeMap::new();
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for event in events {
        let text = |key: &str| event[key].as_str().unwrap_or_else(|| panic!("{key} of {event}")).to_owned();
        let phase = text("ph");
        *phases.entry(phase.clone()).or_insert(0) += 1;
        let lane = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let at = nanos(&event["ts"]);
        let title = text("name");
        let id = || event["id"].to_string();
        match phase.as_str() {
            "M" => {
                match title.as_str() {
                    "process_name" => assert!(processes.insert(lane.0), "{name}: two names of process {}", lane.0),
                    "thread_name" => assert!(threads.insert(lane), "{name}: two names of thread {lane:?}"),
                    "process_sort_index" | "thread_sort_index" => assert!(event["args"]["sort_index"].is_u64()),
                    other => panic!("{name}: metadata {other}"),
                }
                assert!(title.ends_with("sort_index") || event["args"]["name"].is_string());
            }
            "X" => {
                let duration = nanos(&event["dur"]);
                assert!(duration > 0, "{name}: a slice of no length: {event}");
                slices.entry(lane).or_default().push((at, at + duration));
            }
            "i" => assert!(["g", "p", "t"].contains(&text("s").as_str())),
            "C" => assert!(event["args"]["value"].is_i64(), "{event}"),
            "b" => {
                let key = (text("cat"), id());
                assert!(
                    open.insert(key, (title, lane.0, at)).is_none(),
                    "{name}: an async slice begins twice: {event}"
                );
            }
            "n" => {
                let (of, pid, from) = &open[&(text("cat"), id())];
                assert!((of, pid) == (&title, &lane.0) && at >= *from, "{event}");
            }
            "e" => {
                let (of, pid, from) = open.remove(&(text("cat"), id())).expect("it began");
                assert!((of, pid) == (title, lane.0) && at >= from, "{event}");
            }
            "s" | "f" => {
                if phase == "f" {
                    assert_eq!(text("bp"), "e", "{event}");
                }
                flows.entry((text("cat"), id())).or_default().push((phase, lane, at));
            }
            other => panic!("{name}: phase {other}"),
        }
    }
    assert!(open.is_empty(), "{name}: async slices without end: {open:?}");
    for event in events {
        let lane = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        assert!(processes.contains(&lane.0) && threads.contains(&lane), "{name}: {lane:?} has no name: {event}");
    }
    for (lane, slices) in &mut slices {
        slices.sort_by_key(|&(from, to)| (from, std::cmp::Reverse(to)));
        let mut nest: Vec<u64> = Vec::new();
        for &(from, to) in slices.iter() {
            while nest.pop_if(|end| *end <= from).is_some() {}
            assert!(nest.last().is_none_or(|end| to <= *end), "{name}: slices of {lane:?} overlap at {from}");
            nest.push(to);
        }
    }
    for (id, ends) in &flows {
        let [(first, from, sent), (second, to, received)] = &ends[..] else { panic!("{name}: flow {id:?}: {ends:?}") };
        assert_eq!((first.as_str(), second.as_str()), ("s", "f"));
        assert!(sent <= received, "{name}: flow {id:?} goes back in time");
        for (lane, at) in [(from, sent), (to, received)] {
            let bound = slices[lane].binary_search_by_key(at, |&(from, _)| from);
            let (begin, end) =
                slices[lane][bound.unwrap_or_else(|_| panic!("{name}: flow {id:?} is bound to no slice"))];
            assert!(end - begin >= 1000, "{name}: flow {id:?} is bound to a slice below a microsecond");
        }
    }
    assert_eq!(flows.len(), record.arrows.len(), "{name}: a flow per message");
    phases
}

#[test]
fn traces_for_perfetto_are_well_formed() {
    let mut phases = BTreeSet::new();
    for (name, record) in records() {
        phases.extend(check_perfetto(&name, &record).into_keys());
    }
    assert_eq!(phases.iter().map(String::as_str).collect::<Vec<_>>(), ["C", "M", "X", "b", "e", "f", "i", "n", "s"]);
}

/// Checks tags, attributes and entities; returns how often each element occurs.
#[track_caller]
fn check_xml(text: &str) -> BTreeMap<&str, usize> {
    let mut rest = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").unwrap();
    let (mut open, mut counts) = (Vec::new(), BTreeMap::new());
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        assert!(before.split('&').skip(1).all(|it| ["amp;", "lt;", "gt;", "quot;"].iter().any(|e| it.starts_with(e))));
        let end = tag.find('>').unwrap();
        let inside = &tag[1..end];
        rest = &tag[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        assert_eq!(inside.matches('"').count() % 2, 0, "{inside}");
        let name = inside.split([' ', '/']).next().unwrap();
        *counts.entry(name).or_insert(0) += 1;
        if !inside.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    counts
}

#[test]
fn a_run_is_a_suite_of_junit_with_a_case_per_invariant() {
    for (name, record) in records() {
        let text = junit(&record);
        let counts = check_xml(&text);
        let of = |element: &str| counts.get(element).copied().unwrap_or(0);
        assert_eq!(of("testsuite"), 1);
        assert!(of("testcase") > record.checks.len(), "{name}");
        let broken: BTreeSet<&str> = record.findings.iter().map(|finding| finding.id.as_str()).collect();
        assert_eq!(of("failure"), broken.len(), "{name}");
        assert!(text.contains(&format!("tests=\"{}\" failures=\"{}\"", of("testcase"), of("failure"))), "{name}");
        assert!(text.contains(&format!("skipped=\"{}\"", of("skipped"))), "{name}");
    }
}

#[test]
fn a_full_record_has_what_a_page_will_need() {
    let record = record_of("controller-crash", 7, None);
    let track = |name: &str| record.tracks.iter().find(|track| track.name == name);
    for name in
        ["orders-0.isr", "orders-0.leader", "orders-0.high-watermark", "zk1.role", "kafka1.session", "controller"]
    {
        assert!(track(name).is_some_and(|track| !track.points.is_empty()), "no track {name}");
    }
    assert!(record.bands.iter().all(|band| !band.kind.is_empty()));
    let tree = |name: &str| record.trees.iter().find(|tree| tree.name == name).unwrap();
    let znodes = tree("znodes");
    assert!(znodes.changes.is_sorted_by_key(|change| change.at));
    assert!(znodes.at(0).is_empty());
    let end = znodes.at(record.counts.simulated);
    let state = end["/brokers/topics/orders/partitions/0/state"];
    assert_eq!(state.len(), znodes.head.len());
    assert!(state.last().unwrap().contains("\"isr\":["), "{state:?}");
    assert!(end.contains_key("/controller") && end.contains_key("/brokers/ids/1"));
    assert_eq!(tree("partitions").at(record.counts.simulated).len(), 6);
    assert!(tree("sessions").at(record.counts.simulated).len() >= 3);
    // Lanes are those of the steps at both ends.
    let lanes: BTreeSet<(&str, &str)> = record.steps.iter().map(|it| (it.host.as_str(), it.lane.as_str())).collect();
    assert!(record.arrows.iter().all(|arrow| lanes.contains(&(&arrow.from, &arrow.from_lane))));
    let mut short = record.clone();
    short.abridge();
    assert!(short.arrows.is_empty() && short.steps.is_empty() && short.tracks == record.tracks);
}
