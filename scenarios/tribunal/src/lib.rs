//! Tribunal puts Kafka and ZooKeeper on trial: the catalogue of scenarios, and the test API.
//!
//! ```no_run
//! // In a test: fifty seeds of a scenario; a broken rule panics with the command that repeats it.
//! tribunal::check("leader-crash", 0..50);
//! ```
//!
//! The command `tribunal` is built from the same parts: a [`Source`] is [`Prepared`] once and run with any seed; a
//! [`Run`] becomes a record ([`report::record`]), and a record becomes text.

#![allow(clippy::wildcard_enum_match_arm, reason = "error kinds and JSON values are not ours to enumerate")]

mod catalogue;
mod check;
mod prepared;
pub mod report;
mod repro;
mod source;
mod story;

pub use catalogue::{Entry, SCENARIOS, find};
pub use check::{Seed, campaign, check, one, seeds};
pub use prepared::{Changes, Given, GivenFile, JudgedWorld, Prepared, Run, Watch, is_running_a_world, run_to_end};
pub use repro::{Expected, Repro};
pub use source::{Source, read};
