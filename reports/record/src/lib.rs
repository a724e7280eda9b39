//! What a run leaves behind.
//!
//! A [`Record`] is everything a report may say about one run, as plain data in versioned JSON: who took part, what was
//! injected and felt, which rules were held against it and how often, what happened that mattered, and — if a rule was
//! broken — the finding with its witnesses. No protocol is named here: whoever makes a record gives the things their
//! names (a *track* is "zk1.role", a *band* is "pause zk2 8s").
//!
//! Every report is a pure function of a record, so the same record gives the same bytes. Times are nanoseconds of
//! simulated time since the start of the run; events are numbered by their delivery.

mod finding;
mod story;
mod tree;

use serde::{Deserialize, Serialize};

pub use finding::{Finding, Note, Role, Stuck, Table, Waiting, Witness};
pub use story::{Arrow, Band, Moment, Point, Step, Track, Weight};
pub use tree::{Tree, TreeChange};

/// The version of this schema; a reader refuses any other.
pub const SCHEMA: u32 = 2;

/// One run, as its reports see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Which run it was.
    pub identity: Identity,
    /// How it ended.
    pub outcome: Outcome,
    /// One sentence that says so.
    pub headline: String,
    /// What was found, the first cause first. Empty if the run held.
    pub findings: Vec<Finding>,
    /// Sizes of the run.
    pub counts: Counts,
    /// Who took part, in order of host number.
    pub hosts: Vec<Host>,
    /// Each rule of the schedule, whether or not it fired.
    pub rules: Vec<RuleCount>,
    /// Each invariant, with how often it was held against the run.
    pub checks: Vec<Check>,
    /// Each mark of the catalogue, reached or not.
    pub marks: Vec<MarkCount>,
    /// What clients asked, by kind, and what became of it.
    pub operations: Vec<OperationCount>,
    /// What mattered, in order of time.
    pub moments: Vec<Moment>,
    /// Faults as stretches of time.
    pub bands: Vec<Band>,
    /// Named values over time.
    pub tracks: Vec<Track>,
    /// Rows by path over time.
    pub trees: Vec<Tree>,
    /// Every input that was delivered, if the record is a full one.
    pub steps: Vec<Step>,
    /// Messages, if the record is a full one.
    pub arrows: Vec<Arrow>,
    /// Losses that the configuration excuses, holes the real systems are known to have, rules that were relaxed, keys
    /// that are not modelled: whatever an honest report must not leave out.
    pub notes: Vec<Note>,
}

/// Which run a record is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The scenario's name, or the path it was read from.
    pub scenario: String,
    /// What the scenario is about, in its own words.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// The command that repeats the run.
    pub command: String,
    /// Version of the testbed.
    pub version: String,
    /// The commit it was built from, if known.
    pub commit: Option<String>,
    /// Digest of scenario and configuration: if it differs, so may the run.
    pub config_digest: u64,
    /// The chained hash of all events.
    pub trace_hash: u64,
    /// Historical defects that were switched on, by public id.
    pub defects: Vec<String>,
}

/// How a run ended; each has its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every rule held; losses, if any, are excused or known holes.
    Held,
    /// Safety, liveness, a panic in a machine, or an anomaly that no judge saw.
    Violated,
    /// A budget was spent before a verdict.
    Undecided,
    /// The same seed gave two traces.
    NotDeterministic,
    /// The testbed itself is at fault.
    TestbedAtFault,
}

impl Outcome {
    /// The command's exit status for it.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Violated => 1,
            Self::Undecided => 3,
            Self::NotDeterministic => 4,
            Self::TestbedAtFault => 5,
        }
    }

    /// The word for it in a report.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Violated => "VIOLATED",
            Self::Undecided => "UNDECIDED",
            Self::NotDeterministic => "NOT DETERMINISTIC",
            Self::TestbedAtFault => "TESTBED AT FAULT",
        }
    }
}

/// Sizes of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Inputs delivered to machines.
    pub events: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Simulated time, in nanoseconds.
    pub simulated: u64,
    /// Bytes written to disks.
    pub bytes_written: u64,
    /// Syncs finished.
    pub syncs: u64,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The group it belongs to.
    pub group: String,
    /// How often its process was started.
    pub boots: u32,
    /// What it is at the end, in a few words.
    pub state: String,
}

/// A rule of the schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// The rule in words.
    pub text: String,
    /// How often it fired.
    pub fired: u32,
    /// How often that changed a delivery, a read or a step.
    pub felt: u32,
}

/// An invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its id, such as `C03`.
    pub id: String,
    /// Its name, such as `prefix-agreement`.
    pub name: String,
    /// How often it was evaluated.
    pub times: u64,
    /// Why it does not apply to this run, or was relaxed in it.
    pub relaxed: Option<String>,
}

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkCount {
    /// Its name.
    pub name: String,
    /// The id of the property that it stands for, such as `Y03`; none if it stands for itself.
    pub id: Option<String>,
    /// Whether even a small campaign must reach it.
    pub starred: bool,
    /// How often it was reached.
    pub times: u64,
}

/// Operations of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationCount {
    /// The kind, such as `set-data`.
    pub kind: String,
    /// Definitely happened, with the result the client saw.
    pub ok: u64,
    /// Definitely did not happen.
    pub failed: u64,
    /// May have happened, or may yet.
    pub unknown: u64,
}

/// Why a record could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// Not JSON, or not a record.
    Malformed(serde_json::Error),
    /// A record of another schema.
    Schema {
        /// The schema found.
        found: u32,
    },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "not a record of a run: {error}"),
            Self::Schema { found } => write!(f, "a record of schema {found}; this version reads schema {SCHEMA}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::Schema { .. } => None,
        }
    }
}

impl Record {
    /// The record as JSON, indented, ending in a newline.
    ///
    /// # Panics
    /// Never: a record holds nothing that JSON cannot.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a record holds nothing that JSON cannot");
        json.push('\n');
        json
    }

    /// Forgets every single step and message: what is left is the story, at a hundredth of the size.
    pub fn abridge(&mut self) {
        self.steps = Vec::new();
        self.arrows = Vec::new();
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If it is not JSON, not a record, or one of another schema.
    pub fn from_json(json: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let head: Head = serde_json::from_str(json).map_err(ReadError::Malformed)?;
        if head.schema != SCHEMA {
            return Err(ReadError::Schema { found: head.schema });
        }
        serde_json::from_str(json).map_err(ReadError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadError, Record};

    #[test]
    fn a_record_of_another_schema_is_refused_by_name() {
        let error = Record::from_json("{\"schema\": 99}").expect_err("schema 99");
        assert!(matches!(error, ReadError::Schema { found: 99 }));
        assert!(error.to_string().contains("99"), "{error}");
    }

    #[test]
    fn what_is_not_a_record_is_refused_with_its_place() {
        let error = Record::from_json("{\n  \"schema\": x").expect_err("not JSON");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
