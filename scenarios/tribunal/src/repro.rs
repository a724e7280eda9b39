//! Repro files: enough to replay a run on any machine.
//!
//! Versioned JSON: the resolved scenario with its overrides and defects, the configuration files as they were given, the seed,
//! the explicit schedule, and what came of it.

use engine::{Outcome, Recording, Rule, Verdict};
use search::Trail;
use serde::{Deserialize, Serialize};
use world::{BadInput, Scenario};

use crate::prepared::{Given, Prepared};
use crate::report::{COMMIT, VERSION};
use crate::versioned::{self, Kind};

/// The version of the file's form; a reader refuses any other.
const SCHEMA: u32 = 1;

/// As files that are read again.
const KIND: Kind = Kind {
    what: "a repro",
    schema: SCHEMA,
    origin: "repros are written by tribunal fuzz --keep DIR and tribunal shrink",
    elsewhere: "replay it with the version that wrote it",
};

/// A run that can be made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repro {
    /// The version of the form, as its writer had it.
    pub schema: u32,
    /// Version of the testbed that wrote it.
    pub version: String,
    /// The commit that was built from, if known.
    pub commit: Option<String>,
    /// What the scenario was called.
    pub name: String,
    /// The scenario, with every override and defect in it.
    pub scenario: Scenario,
    /// The configuration files as they were given.
    pub given: Given,
    /// The seed.
    pub seed: u64,
    /// Every rule of the run, that of the nemesis among them.
    pub schedule: Vec<Rule>,
    /// What came of it.
    pub expected: Expected,
    /// Its trace, as little of it as names the first event that differs; absent if the run was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail: Option<Trail>,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The invariant that was broken first; none if the run held.
    pub invariant: Option<String>,
    /// The sentence that says so.
    pub headline: Option<String>,
    /// The signature of the failure.
    #[serde(with = "hex_option")]
    pub signature: Option<u64>,
    /// The trace hash at the end.
    #[serde(with = "hex")]
    pub hash: u64,
    /// Inputs delivered.
    pub events: u64,
    /// Simulated time at the end, in nanoseconds.
    pub simulated: u64,
}

impl Expected {
    /// What came of this run.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let violation = match &outcome.verdict {
            Verdict::Violated(violations) => violations.first(),
            Verdict::Held | Verdict::Undecided(_) => None,
        };
        Self {
            invariant: violation.map(|it| it.invariant.to_owned()),
            headline: violation.map(|it| it.headline.clone()),
            signature: violation.map(engine::Violation::signature),
            hash: outcome.hash,
            events: outcome.events,
            simulated: outcome.at.as_nanos(),
        }
    }
}

impl Repro {
    /// The repro of a seed's run.
    ///
    /// # Errors
    /// If scenario and configuration files contradict each other.
    pub fn of(prepared: &Prepared, seed: u64, outcome: &Outcome) -> Result<Self, BadInput> {
        Ok(Self {
            schema: SCHEMA,
            version: VERSION.to_owned(),
            commit: COMMIT.map(str::to_owned),
            name: prepared.name.clone(),
            scenario: prepared.scenario.resolved(seed),
            given: prepared.given.clone(),
            seed,
            schedule: prepared.setup(seed)?.schedule,
            expected: Expected::of(outcome),
            trail: None,
        })
    }

    /// The same with the trail of its recorded run, so that a replay can name the first event that differs.
    #[must_use]
    pub fn with_trail(mut self, recording: &Recording) -> Self {
        self.trail = Some(Trail::of(recording));
        self
    }

    /// The scenario with its explicit schedule, ready to be run with the repro's seed. `file` is what messages call it.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn prepared(&self, file: &str) -> Result<Prepared, BadInput> {
        let words = format!("replay {file}");
        let (scenario, given) = (self.scenario.clone(), self.given.clone());
        Prepared::of(self.name.clone(), scenario, given, Some(self.schedule.clone()), words)
    }

    /// As text.
    ///
    /// # Panics
    /// Never: a repro is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a repro is plain data") + "\n"
    }

    /// From a file's text.
    ///
    /// # Errors
    /// If it is no repro, or one of another version.
    pub fn from_json(file: &str, text: &str) -> Result<Self, BadInput> {
        versioned::read(&KIND, file, text)
    }
}

/// 64 bits as hexadecimal text: JSON's readers lose the low bits of large numbers.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{value:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom(format!("`{text}` is not a hexadecimal number")))
    }
}

/// The same, or null.
mod hex_option {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.serialize_some(&format!("{value:016x}")),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let value = u64::from_str_radix(&text, 16);
        value.map(Some).map_err(|_| D::Error::custom(format!("`{text}` is not a hexadecimal number")))
    }
}
