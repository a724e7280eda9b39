//! The test API: seeded scenarios from `cargo test`.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use engine::Verdict;

use crate::prepared::{Changes, Prepared, Run, Watch};
use crate::report;
use crate::source::Source;
use render::Level;

/// What one seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The seed.
    pub seed: u64,
    /// Its trace hash.
    pub hash: u64,
    /// Inputs delivered.
    pub events: u64,
    /// Simulated time, in nanoseconds.
    pub simulated: u64,
    /// The invariant that was broken first, with its headline and the signature of the failure.
    pub broken: Option<(String, String, u64)>,
    /// Why there is no verdict, if there is none.
    pub undecided: Option<String>,
    /// Marks reached, and situations that arose, with how often.
    pub marks: BTreeMap<&'static str, u64>,
    /// Rules whose breaking the configuration excused, with how often.
    pub excused: BTreeMap<&'static str, u64>,
    /// Known holes of the real systems that the run went through, with how often.
    pub holes: BTreeMap<&'static str, u64>,
    /// What the judges excused or count as a known hole.
    pub notes: Vec<String>,
}

impl Seed {
    /// What came of a run.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let broken = match &run.outcome.verdict {
            Verdict::Violated(violations) => violations
                .first()
                .map(|violation| (violation.invariant.to_owned(), violation.headline.clone(), violation.signature())),
            Verdict::Held | Verdict::Undecided(_) => None,
        };
        let undecided = match &run.outcome.verdict {
            Verdict::Undecided(why) => Some(why.clone()),
            Verdict::Held | Verdict::Violated(_) => None,
        };
        let court = run.world.judges();
        let mut excused = BTreeMap::new();
        for excuse in court.excuses() {
            *excused.entry(excuse.rule.id()).or_insert(0) += 1;
        }
        Self {
            seed: run.setup.seed,
            hash: run.outcome.hash,
            events: run.outcome.events,
            simulated: run.outcome.at.as_nanos(),
            broken,
            undecided,
            marks: report::marks_reached(run),
            excused,
            holes: court.notes().map(|(what, times, _)| (what, times)).collect(),
            notes: report::remarks(run).into_iter().map(|note| format!("{}: {}", note.label, note.text)).collect(),
        }
    }

    /// True if every rule held.
    #[must_use]
    pub const fn held(&self) -> bool {
        self.broken.is_none() && self.undecided.is_none()
    }
}

/// The seeds a test should run: those it names, unless `TRIBUNAL_SEED` names one or `TRIBUNAL_SEEDS` says how many.
///
/// # Panics
/// If one of the two is set and is not a number.
#[must_use]
pub fn seeds(named: Range<u64>) -> Range<u64> {
    let number = |key: &str| {
        let text = std::env::var(key).ok()?;
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
        Some(parsed.unwrap_or_else(|| panic!("{key} is \"{text}\", which is not a number")))
    };
    if let Some(seed) = number("TRIBUNAL_SEED") {
        return seed..seed + 1;
    }
    match number("TRIBUNAL_SEEDS") {
        Some(count) => named.start..named.start + count,
        None => named,
    }
}

/// Runs a scenario of the catalogue, or a file, with each of these seeds.
///
/// `TRIBUNAL_SEED` narrows it to one seed, `TRIBUNAL_SEEDS` says how many instead.
///
/// # Panics
/// If a rule is broken or a run has no verdict: three lines, the last of them the command that repeats it. The whole
/// report goes to standard error before. Also if there is no such scenario.
#[track_caller]
pub fn check(scenario: &str, seeds: Range<u64>) {
    let source = Source::named(scenario).unwrap_or_else(|error| panic!("{error}"));
    let prepared = Prepared::new(&source, &Changes::default()).unwrap_or_else(|error| panic!("{error}"));
    let seeds = self::seeds(seeds);
    let results = campaign(&prepared, seeds.clone(), 2);
    if let Some(first) = results.iter().find(|result| !result.held()) {
        let broken = results.iter().filter(|result| !result.held()).count();
        panic!("{}", failure(&prepared, first.seed, broken, results.len()));
    }
}

/// The report of a failing seed on standard error, and its three lines.
#[expect(clippy::disallowed_macros, reason = "a test's report belongs on standard error")]
fn failure(prepared: &Prepared, seed: u64, broken: usize, of: usize) -> String {
    let run = prepared.run(seed, Watch::FULL).unwrap_or_else(|error| panic!("{error}"));
    let record = report::record(prepared, &run);
    eprintln!("{}", anstream::adapter::strip_str(&render::terminal(&record, Level::Normal)));
    format!(
        "{} {}\n{broken} of {of} seeds of {} do not hold; seed {seed} is the first\n{}",
        record.outcome.word(),
        record.headline,
        prepared.name,
        record.identity.command
    )
}

/// Runs many seeds, on so many threads; one world per thread, results in order of the seeds.
///
/// # Panics
/// If scenario and `zoo.cfg` contradict each other.
#[must_use]
pub fn campaign(prepared: &Prepared, seeds: Range<u64>, threads: usize) -> Vec<Seed> {
    let mut results = Vec::new();
    search::campaign(seeds, threads, &|| true, &|&seed| one(prepared, seed), &mut |_, result| {
        results.push(result.unwrap_or_else(|panicked| panic!("{panicked}")));
        ControlFlow::Continue(())
    });
    results
}

/// Runs one seed without a record.
///
/// # Panics
/// If scenario and `zoo.cfg` contradict each other.
#[must_use]
pub fn one(prepared: &Prepared, seed: u64) -> Seed {
    Seed::of(&prepared.run(seed, Watch::LIGHT).unwrap_or_else(|error| panic!("{error}")))
}
