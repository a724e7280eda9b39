//! A broken rule, with what proves it.

use serde::{Deserialize, Serialize};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The invariant's id, such as `C13`; `PANIC` or `GAP` where there is none.
    pub id: String,
    /// The invariant's name, such as `no-acked-loss`.
    pub name: String,
    /// One sentence with the values, in a user's words.
    pub headline: String,
    /// The event that broke it.
    pub event: u64,
    /// When, in nanoseconds of simulated time.
    pub at: u64,
    /// The host it happened on, if it was one.
    pub host: Option<String>,
    /// What proves it, in order of time.
    pub witnesses: Vec<Witness>,
    /// Why it is a bug: the promise, and the excuses that were considered and refuted.
    pub why: Vec<Note>,
    /// Who was where when it was detected.
    pub state: Option<Table>,
    /// For a liveness failure: what is stuck.
    pub stuck: Option<Stuck>,
    /// What to look at next.
    pub help: Option<String>,
    /// Equal for the same failure in another run: invariant, roles and kinds of events, no times, ids or seeds.
    pub signature: u64,
}

/// What part a witness plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Something was promised here.
    Promise,
    /// The first step that was wrong.
    FirstWrongStep,
    /// The rule was seen to be broken here.
    Detected,
    /// It belongs to the story.
    Step,
}

/// A step of the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The event.
    pub event: u64,
    /// When, in nanoseconds of simulated time.
    pub at: u64,
    /// Where: a host's name, or `FAULT`, `judge`.
    pub place: String,
    /// What happened: one line with the values.
    pub text: String,
    /// Its part in the story.
    pub role: Role,
}

/// A labelled remark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What it is: `promised`, `refuted`, `excused`, `relaxed`, `not modelled`.
    pub label: String,
    /// The remark.
    pub text: String,
}

/// A side-by-side view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What the table shows.
    pub title: String,
    /// Column heads.
    pub head: Vec<String>,
    /// Rows, each as long as the head.
    pub rows: Vec<Vec<String>>,
}

/// What is stuck, and why it should not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// The first condition that is not met.
    pub pending: String,
    /// The last event that was progress.
    pub progress: Option<String>,
    /// Who waits for what.
    pub waiting: Vec<Waiting>,
    /// Why theory promises progress here.
    pub recoverable: String,
}

/// Who waits for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Who.
    pub who: String,
    /// In which state.
    pub state: String,
    /// For what.
    pub what: String,
}
