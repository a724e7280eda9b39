//! The kill matrix: is every bug that can be switched on found, by whom, and how soon (invariants-and-faults.md §5.4)?
//!
//! Where each is looked for, and with which budget, is in one table, `score.toml`. A bug counts as found if one of the judges that
//! the table names is the first to notice it within the budget of seeds; and its *twin*, the same seeds without it, must hold, or
//! the judge would only have cried wolf.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use engine::Verdict;
use serde::{Deserialize, Serialize};
use world::{BadInput, Defect, did_you_mean};

use crate::prepared::{Changes, Prepared, Run, Watch};
use crate::repro::Repro;
use crate::source::Source;

const TABLE: &str = include_str!("../score.toml");

/// A bug, and where it is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What is switched on.
    pub id: String,
    /// A scenario of the catalogue, or one made for this bug.
    pub scenario: String,
    /// How many seeds it may take.
    pub seeds: u64,
    /// Which judges may be the first to notice.
    pub judges: Vec<String>,
    /// Why it is another judge than the reference names.
    #[serde(default)]
    pub note: Option<String>,
}

#[derive(Deserialize)]
struct Table {
    target: Vec<Target>,
}

/// Every line of the table.
///
/// # Panics
/// If the table that this program was built with is malformed.
#[must_use]
pub fn targets() -> Vec<Target> {
    let table: Table = toml::from_str(TABLE).expect("the table of this program is well-formed");
    table.target
}

/// The line of one bug.
///
/// # Errors
/// If there is no such bug; the hint names the nearest.
pub fn target(id: &str) -> Result<Target, BadInput> {
    targets().into_iter().find(|target| target.id == id).ok_or_else(|| {
        let known = Defect::ids();
        BadInput::new(id, None, format!("there is no defect `{id}`")).hint(did_you_mean(id, &known))
    })
}

/// How a bug was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The invariant that was broken first.
    pub invariant: String,
    /// The sentence that says so.
    pub headline: String,
    /// The first seed that showed it: so many and one were tried.
    pub seed: u64,
    /// Inputs delivered in all runs up to and with that one.
    pub events: u64,
    /// Seconds of one core for the same.
    pub seconds: f64,
}

/// What came of the search for one bug.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The bug.
    pub id: String,
    /// Where it was looked for.
    pub scenario: String,
    /// The budget of seeds.
    pub budget: u64,
    /// Which judges may be the first to notice.
    pub expected: Vec<String>,
    /// How it was found; none if it was not.
    pub found: Option<Found>,
    /// The first run of the same seeds without the bug that did not hold: its seed and the rule.
    pub twin: Option<(u64, String)>,
    /// The run that found it.
    #[serde(skip)]
    pub repro: Option<Repro>,
}

impl Score {
    /// Found within the budget by a judge that may, and the twin held.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.twin.is_none() && self.found.as_ref().is_some_and(|found| self.expected.contains(&found.invariant))
    }

    /// The verdict in a word or two.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (&self.found, &self.twin) {
            (None, _) => "missed",
            (Some(_), Some(_)) => "twin not silent",
            (Some(_), None) if self.is_good() => "found",
            (Some(_), None) => "another judge",
        }
    }
}

/// Why a run did not hold: the rule, and the sentence.
fn why(run: &Run) -> Option<(String, String)> {
    match &run.outcome.verdict {
        Verdict::Held => None,
        Verdict::Violated(violations) => {
            let first = violations.first().expect("a violated run has a violation");
            Some((first.invariant.to_owned(), first.headline.clone()))
        }
        Verdict::Undecided(why) => Some(("undecided".to_owned(), why.clone())),
    }
}

/// A scenario, with a bug or without.
///
/// # Errors
/// If there is no such scenario or no such bug.
pub fn prepared(target: &Target, with_defect: bool) -> Result<Prepared, BadInput> {
    let defects = if with_defect { vec![target.id.clone()] } else { Vec::new() };
    Prepared::new(&Source::named(&target.scenario)?, &Changes { defects, ..Changes::default() })
}

/// Looks for one bug, seed after seed; `seeds` instead of the table's budget, if given.
///
/// # Errors
/// If scenario and configuration contradict each other.
pub fn search(target: &Target, seeds: Option<u64>) -> Result<Score, BadInput> {
    let budget = seeds.unwrap_or(target.seeds);
    let with = prepared(target, true)?;
    let began = Instant::now();
    let mut events = 0;
    let (mut found, mut repro) = (None, None);
    for seed in 0..budget {
        let run = with.run(seed, Watch::LIGHT)?;
        events += run.outcome.events;
        if let Some((invariant, headline)) = why(&run) {
            repro = Some(Repro::of(&with, seed, &run.outcome)?);
            found = Some(Found { invariant, headline, seed, events, seconds: began.elapsed().as_secs_f64() });
            break;
        }
    }
    let tried: Range<u64> = 0..found.as_ref().map_or(budget, |found| found.seed + 1);
    let without = prepared(target, false)?;
    let mut twin = None;
    for seed in tried {
        if let Some((invariant, _)) = why(&without.run(seed, Watch::LIGHT)?) {
            twin = Some((seed, invariant));
            break;
        }
    }
    Ok(Score {
        id: target.id.clone(),
        scenario: target.scenario.clone(),
        budget,
        expected: target.judges.clone(),
        found,
        twin,
        repro,
    })
}

/// Looks for many, so many at a time; `tell` hears of each as it is done. The result is in the order of the targets.
///
/// # Errors
/// The first thing that is wrong with a scenario.
///
/// # Panics
/// If a thread of it panics, which no run does: panics inside machines are findings.
pub fn search_all(
    targets: &[Target],
    seeds: Option<u64>,
    jobs: usize,
    tell: impl Fn(&Score) + Sync,
) -> Result<Vec<Score>, BadInput> {
    let next = AtomicUsize::new(0);
    let scores = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, targets.len().max(1)) {
            scope.spawn(|| {
                while let Some((at, target)) =
                    Some(next.fetch_add(1, Ordering::SeqCst)).and_then(|at| Some((at, targets.get(at)?)))
                {
                    let score = search(target, seeds);
                    if let Ok(score) = &score {
                        tell(score);
                    }
                    scores.lock().unwrap_or_else(PoisonError::into_inner).insert(at, score);
                }
            });
        }
    });
    scores.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[cfg(test)]
mod tests {
    use judges::Rule;
    use world::Defect;

    use super::{prepared, target, targets};

    #[test]
    fn every_bug_has_a_line_and_every_line_a_bug() {
        let lines: Vec<String> = targets().into_iter().map(|target| target.id).collect();
        let mut known: Vec<&str> = Defect::ids();
        known.sort_unstable();
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, known);
        assert!(target("M99").is_err());
    }

    #[test]
    fn every_line_names_a_scenario_and_judges_that_there_are() {
        for target in targets() {
            assert!(prepared(&target, true).is_ok(), "{}", target.id);
            for judge in &target.judges {
                // The engine's own: a world that does not come to rest, and an assertion inside of a machine.
                let is_known =
                    ["LIVENESS", "PANIC"].contains(&judge.as_str()) || Rule::ALL.iter().any(|rule| rule.id() == judge);
                assert!(is_known, "{}: {judge}", target.id);
            }
        }
    }
}
