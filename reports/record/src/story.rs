//! What happened, in the shapes a report can draw.

use serde::{Deserialize, Serialize};

/// How much a moment matters to a reader who has little time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Only in a full listing.
    Detail,
    /// A step of the story.
    Step,
    /// A turning point: kept when there is room for few.
    Turn,
}

/// Something that happened and mattered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The event in which it happened, if it was one.
    pub event: Option<u64>,
    /// When, in nanoseconds of simulated time.
    pub at: u64,
    /// Where: a host's name, or `FAULT`, `judge`.
    pub place: String,
    /// What: one line.
    pub text: String,
    /// How much it matters.
    pub weight: Weight,
}

/// A fault as a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Band {
    /// The kind of fault, such as `pause`.
    pub kind: String,
    /// The fault in words, such as `pause zk2 8s`.
    pub text: String,
    /// The event after which it struck.
    pub event: u64,
    /// The hosts it touched.
    pub hosts: Vec<String>,
    /// Its begin, in nanoseconds of simulated time.
    pub from: u64,
    /// Its end; none if it is over at once.
    pub to: Option<u64>,
}

/// A value at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// When, in nanoseconds of simulated time.
    pub at: u64,
    /// The value from then on.
    pub value: String,
}

/// A named value over time, such as `zk1.role`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Its name.
    pub name: String,
    /// Its changes, in order of time.
    pub points: Vec<Point>,
}

/// An input that was delivered to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The event's number.
    pub event: u64,
    /// The event that sent, deferred or armed it; zero for none.
    pub cause: u64,
    /// When, in nanoseconds of simulated time.
    pub at: u64,
    /// The host.
    pub host: String,
    /// The lane of the host that it is shown on: a thread, or what stands for one, such as `network`.
    pub lane: String,
    /// What it was, in a word or two.
    pub text: String,
    /// The input itself, cut.
    pub detail: String,
}

/// A message that was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrow {
    /// The sender's host.
    pub from: String,
    /// The lane it was sent from.
    pub from_lane: String,
    /// The receiver's host.
    pub to: String,
    /// The lane it was received on.
    pub to_lane: String,
    /// When it was sent, in nanoseconds of simulated time.
    pub sent: u64,
    /// When it was delivered.
    pub received: u64,
    /// The event that sent it.
    pub cause: u64,
    /// The event that delivered it.
    pub event: u64,
    /// The kind of message.
    pub label: String,
}
