//! A log for ShiViz: events with vector clocks, which it draws as a space-time diagram.
//!
//! ```text
//! (?<host>\S+) (?<clock>\{[^}]*\}) (?<event>.*)
//! ^=== (?<trace>.*) ===$
//!
//! === on ===
//! zk1 {"zk1":1} LEADS epoch 1
//! zk2 {"zk2":1,"zk1":1} follows
//! ```
//!
//! The first line says how to read an event, the second how to tell traces apart; several runs in one log can be compared.
//! A run has far more events than anybody can look at: usually only what mattered is shown. The clocks are computed over all
//! events, so that what happened before what is right whatever is left out: the own entry of a host counts its *shown* events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use record::{Record, Step, Weight};

/// How an event is written.
const EVENT: &str = r"(?<host>\S+) (?<clock>\{[^}]*\}) (?<event>.*)";
/// How one trace is told from the next.
const DELIMITER: &str = "^=== (?<trace>.*) ===$";

/// Which events a log shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// What mattered: steps of the story, faults, and the steps of a proof.
    Story,
    /// Every input that was delivered.
    Everything,
}

/// One log of one run or of several, each with its name. The records must be full ones: without steps there is nothing to show.
#[must_use]
pub fn shiviz(runs: &[(&str, &Record)], shown: Shown) -> String {
    let mut out = format!("{EVENT}\n{DELIMITER}\n\n");
    for (name, record) in runs {
        let _ = writeln!(out, "=== {} ===", one_line(name));
        trace(record, shown, &mut out);
    }
    out
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A host's name as the format takes it: without blanks.
fn word(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join("_")
}

/// The clocks of a run while its events go by.
struct Clocks {
    /// Hosts as they are written, each as JSON.
    names: Vec<(String, String)>,
    now: Vec<Vec<u32>>,
}

impl Clocks {
    /// An event of a host that is shown.
    fn show(&mut self, host: usize, text: &str, out: &mut String) {
        self.now[host][host] += 1;
        let entries: Vec<String> = self.now[host]
            .iter()
            .zip(&self.names)
            .filter(|&(&count, _)| count > 0)
            .map(|(count, (_, json))| format!("{json}:{count}"))
            .collect();
        let _ = writeln!(out, "{} {{{}}} {}", self.names[host].0, entries.join(","), one_line(text));
    }

    /// A host learns what another knew.
    fn merge(&mut self, host: usize, known: &[u32]) {
        for (own, other) in self.now[host].iter_mut().zip(known) {
            *own = (*own).max(*other);
        }
    }
}

fn trace(record: &Record, shown: Shown, out: &mut String) {
    let numbers: BTreeMap<&str, usize> = record.hosts.iter().enumerate().map(|(at, h)| (h.name.as_str(), at)).collect();
    let name = |host: &record::Host| {
        let word = word(&host.name);
        let json = serde_json::to_string(&word).expect("text is JSON");
        (word, json)
    };
    let hosts = record.hosts.len();
    let mut clocks = Clocks { names: record.hosts.iter().map(name).collect(), now: vec![vec![0; hosts]; hosts] };
    let story = story(record);
    let mut faults = record.bands.iter().peekable();
    // What each step's host knew behind it, for those that come of it.
    let mut knew: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    let awaited: BTreeSet<u64> = record.steps.iter().map(|step| step.cause).collect();
    for step in &record.steps {
        // A fault strikes between two steps.
        while let Some(band) = faults.next_if(|band| band.event < step.event) {
            fault(band, &numbers, &mut clocks, out);
        }
        let Some(&host) = numbers.get(step.host.as_str()) else { continue };
        if let Some(known) = knew.get(&step.cause) {
            clocks.merge(host, known);
        }
        match (shown, story.get(&step.event)) {
            (Shown::Everything, Some(texts)) => {
                clocks.show(host, &format!("{}: {}", label(step), texts.join("; ")), out)
            }
            (Shown::Everything, None) => clocks.show(host, &label(step), out),
            (Shown::Story, Some(texts)) => clocks.show(host, &texts.join("; "), out),
            (Shown::Story, None) => {}
        }
        if awaited.contains(&step.event) {
            knew.insert(step.event, clocks.now[host].clone());
        }
    }
    for band in faults {
        fault(band, &numbers, &mut clocks, out);
    }
}

fn label(step: &Step) -> String {
    if step.detail.is_empty() || step.detail == step.text {
        format!("{} #{}", step.text, step.event)
    } else {
        format!("{} #{} {}", step.text, step.event, step.detail)
    }
}

fn fault(band: &record::Band, numbers: &BTreeMap<&str, usize>, clocks: &mut Clocks, out: &mut String) {
    for &host in band.hosts.iter().filter_map(|host| numbers.get(host.as_str())) {
        clocks.show(host, &format!("FAULT {}", band.text), out);
    }
}

/// What is said of an event, by its number.
fn story(record: &Record) -> BTreeMap<u64, Vec<&str>> {
    let mut story: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    let names: BTreeSet<&str> = record.hosts.iter().map(|host| host.name.as_str()).collect();
    let moments = record.moments.iter().filter(|it| it.weight >= Weight::Step && names.contains(it.place.as_str()));
    let of_moments = moments.filter_map(|moment| Some((moment.event?, moment.text.as_str())));
    let witnesses = record.findings.iter().flat_map(|finding| &finding.witnesses);
    let of_witnesses = witnesses.map(|witness| (witness.event, witness.text.as_str()));
    for (event, text) in of_moments.chain(of_witnesses) {
        let texts = story.entry(event).or_default();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    story
}
