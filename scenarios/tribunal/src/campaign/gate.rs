//! The coverage gate: marks that a campaign must reach, as a committed list.

use std::collections::BTreeMap;

use serde::Deserialize;
use world::{BadInput, did_you_mean};

use super::CampaignOutcome;
use crate::report::mark_names;

/// Campaigns of so many runs must meet the second list, too (invariants-and-faults.md §5.1).
const NIGHTLY_RUNS: u64 = 10_000;

/// Which marks must be reached, each in how many runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// By every campaign.
    #[serde(default)]
    every: BTreeMap<String, u64>,
    /// By one of 10,000 runs or more.
    #[serde(default)]
    nightly: BTreeMap<String, u64>,
}

/// A mark that was not reached often enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The mark.
    pub mark: String,
    /// In how many runs it was reached.
    pub runs: u64,
    /// In how many it must be.
    pub least: u64,
}

impl Gate {
    /// The list that comes with the command, for the whole catalogue.
    ///
    /// # Panics
    /// Never: a test reads it.
    #[must_use]
    pub fn of_the_catalogue() -> Self {
        Self::parse("gate.toml", include_str!("../../gate.toml")).expect("a test reads it")
    }

    /// From a file's text.
    ///
    /// # Errors
    /// If it is no such list, or names a mark that there is not.
    pub fn parse(file: &str, text: &str) -> Result<Self, BadInput> {
        let gate: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            BadInput::new(file, line, format!("is no coverage gate: {}", error.message())).hint(
                "under [every] and [nightly] stand lines such as leader-established = 1: a mark, and in how many runs",
            )
        })?;
        let known = mark_names();
        match gate.every.keys().chain(gate.nightly.keys()).find(|mark| !known.contains(&mark.as_str())) {
            None => Ok(gate),
            Some(mark) => {
                let line = text.lines().position(|line| line.starts_with(mark.as_str())).map(|at| at + 1);
                Err(BadInput::new(file, line, format!("there is no mark `{mark}`")).hint(did_you_mean(mark, &known)))
            }
        }
    }

    /// What the campaign did not reach often enough.
    #[must_use]
    pub fn unmet(&self, outcome: &CampaignOutcome) -> Vec<Unmet> {
        let reached = outcome.marks();
        let mut lists = vec![&self.every];
        if outcome.runs() >= NIGHTLY_RUNS {
            lists.push(&self.nightly);
        }
        let all = lists.into_iter().flatten().map(|(mark, &least)| {
            let runs = reached.get(mark).map_or(0, |times| times.runs);
            Unmet { mark: mark.clone(), runs, least }
        });
        all.filter(|it| it.runs < it.least).collect()
    }
}
