//! Two runs side by side: the first event in which they differ, and what is different then.

use std::fmt::Write as _;

use engine::{Bound, Recording, TraceEvent};
use machine::{Instant, Machine as _};
use search::{Change, changes};
use serde::Serialize;
use world::BadInput;

use crate::prepared::{JudgedWorld, Prepared, Run, Watch, advance};
use crate::repro::Repro;

/// Events told on each side, before and from the parting on.
const CONTEXT: usize = 5;
/// Changes of state that are printed; all of them are in the JSON.
const CHANGES_SHOWN: usize = 40;

/// An event of one run, in words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Told {
    /// Its number.
    pub event: u64,
    /// When, in nanoseconds.
    pub at: u64,
    /// What.
    pub text: String,
}

/// What one of the two runs does from the parting on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Side {
    /// What it is called.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Events in all.
    pub events: u64,
    /// How it ended: the headline of its failure, or that it held.
    pub outcome: String,
    /// Its next events; none if it has ended.
    pub next: Vec<Told>,
}

/// Where two runs part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Comparison {
    /// The first event that differs, from 1; none if the runs are the same.
    pub parts_at: Option<u64>,
    /// The events before it, which both have.
    pub before: Vec<Told>,
    /// The two runs.
    pub sides: [Side; 2],
    /// Hosts that only one of them has: which one, and their names.
    pub only: [Vec<String>; 2],
    /// What differs in the hosts that both have, at the instant of the first event that differs: the host's name is the first part
    /// of a path.
    pub state: Vec<Change>,
}

/// A run to be compared.
struct Compared {
    prepared: Prepared,
    run: Run,
    names: Vec<String>,
}

impl Compared {
    fn of(file: &str, repro: &Repro) -> Result<Self, BadInput> {
        let prepared = repro.prepared(file)?;
        let run = prepared.run(repro.seed, Watch::FULL)?;
        let names = run.setup.topology.names();
        Ok(Self { prepared, run, names })
    }

    fn recording(&self) -> &Recording {
        self.run.world.recording().expect("the run was recorded")
    }

    fn told(&self, events: &[TraceEvent]) -> Vec<Told> {
        let told = |event: &TraceEvent| {
            let mut text = search::input(event, &|host| self.names[host.0 as usize].clone());
            for (kind, fields) in &event.facts {
                let said = crate::story::said(kind, fields).map(|(_, text)| text);
                let _ = write!(text, "; {}", said.unwrap_or_else(|| (*kind).to_owned()));
            }
            Told { event: event.id, at: event.at.as_nanos(), text }
        };
        events.iter().map(told).collect()
    }

    fn side(&self, name: &str, from: usize) -> Side {
        let events = &self.recording().events;
        let outcome = match crate::shrinking::first_violation(&self.run) {
            Some(violation) => format!("{} {}", violation.invariant, violation.headline),
            None => "no rule is broken".to_owned(),
        };
        let to = (from + CONTEXT).min(events.len());
        Side {
            name: name.to_owned(),
            seed: self.run.setup.seed,
            events: events.len() as u64,
            outcome,
            next: self.told(&events[from.min(to)..to]),
        }
    }

    /// What every host is at an instant.
    fn state(&self, at: Instant) -> Result<serde_json::Value, BadInput> {
        let (setup, mut world) = self.prepared.world(self.run.setup.seed, Watch::LIGHT)?;
        // A machine that panics is looked at as it was: nothing is stepped behind that.
        let _ = advance(&mut world, &setup, Bound::At(at));
        Ok(self.views(&world))
    }

    fn views(&self, world: &JudgedWorld) -> serde_json::Value {
        let views = world.hosts().ids().zip(&self.names).map(|(host, name)| {
            let view = match world.machine(host) {
                Some(machine) => serde_json::to_value(machine.view()).expect("a view is plain data"),
                None => serde_json::json!("down"),
            };
            (name.clone(), view)
        });
        serde_json::Value::Object(views.collect())
    }
}

/// Runs both and compares them.
///
/// # Errors
/// If one of them is no usable repro.
pub fn compare(names: [&str; 2], repros: [&Repro; 2]) -> Result<Comparison, BadInput> {
    let [a, b] = [Compared::of(names[0], repros[0])?, Compared::of(names[1], repros[1])?];
    let (one, other) = (&a.recording().events, &b.recording().events);
    let differs = one.iter().zip(other).position(|(a, b)| a.hash != b.hash);
    let at = differs.or_else(|| (one.len() != other.len()).then(|| one.len().min(other.len())));
    let only = |names: &[String], others: &[String]| -> Vec<String> {
        names.iter().filter(|name| !others.contains(name)).cloned().collect()
    };
    let mut comparison = Comparison {
        parts_at: at.map(|at| at as u64 + 1),
        before: Vec::new(),
        sides: [a.side(names[0], at.unwrap_or(one.len())), b.side(names[1], at.unwrap_or(other.len()))],
        only: [only(&a.names, &b.names), only(&b.names, &a.names)],
        state: Vec::new(),
    };
    let Some(at) = at else { return Ok(comparison) };
    comparison.before = a.told(&one[at.saturating_sub(CONTEXT)..at]);
    let when = |events: &[TraceEvent], run: &Run| events.get(at).map_or(run.outcome.at, |event| event.at);
    let (mut old, mut new) = (a.state(when(one, &a.run))?, b.state(when(other, &b.run))?);
    for (state, gone) in [(&mut old, &comparison.only[0]), (&mut new, &comparison.only[1])] {
        if let Some(hosts) = state.as_object_mut() {
            hosts.retain(|name, _| !gone.contains(name));
        }
    }
    comparison.state = changes(&old, &new);
    Ok(comparison)
}

impl Comparison {
    /// Whether the two runs are the same to the last event.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.parts_at.is_none()
    }

    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let [a, b] = &self.sides;
        let Some(event) = self.parts_at else {
            return format!("SAME {} events, from the first to the last\n", a.events);
        };
        let mut text = format!("DIFFERENT from event {event} on: {} events are the same\n", event - 1);
        for (side, letter) in [(a, 'A'), (b, 'B')] {
            let _ = writeln!(
                text,
                "  {letter} {} (seed {}): {} events, {}",
                side.name, side.seed, side.events, side.outcome
            );
        }
        for (only, letter) in self.only.iter().zip(['A', 'B']) {
            if !only.is_empty() {
                let _ = writeln!(text, "  only {letter} has {}", only.join(", "));
            }
        }
        if !self.before.is_empty() {
            text.push_str("\nboth\n");
            write_events(&mut text, &self.before);
        }
        for (side, letter) in [(a, 'A'), (b, 'B')] {
            let _ = writeln!(text, "\nthen {letter}");
            write_events(&mut text, &side.next);
            if side.next.is_empty() {
                text.push_str("  has ended\n");
            }
        }
        text.push_str("\nstate at that instant, A -> B\n");
        if self.state.is_empty() {
            text.push_str("  no host differs in what it shows\n");
        }
        let leaf = |value: &Option<serde_json::Value>| {
            value.as_ref().map_or_else(|| "(absent)".to_owned(), ToString::to_string)
        };
        for change in self.state.iter().take(CHANGES_SHOWN) {
            let _ = writeln!(text, "  {}: {} -> {}", change.path, cut(&leaf(&change.old)), cut(&leaf(&change.new)));
        }
        if self.state.len() > CHANGES_SHOWN {
            let _ = writeln!(text, "  … and {} more: --json has all of them", self.state.len() - CHANGES_SHOWN);
        }
        text
    }
}

fn write_events(text: &mut String, events: &[Told]) {
    for told in events {
        let _ = writeln!(text, "  #{} {}", told.event, cut(&told.text));
    }
}

/// Long values are cut: the JSON has them whole.
fn cut(text: &str) -> String {
    const MOST: usize = 160;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let short: String = text.chars().take(MOST).collect();
    format!("{short}…")
}
