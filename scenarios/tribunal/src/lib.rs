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

pub mod campaign;
mod catalogue;
mod check;
mod comparison;
mod explanation;
pub mod inspect;
mod prepared;
mod regression;
pub mod report;
mod repro;
pub mod score;
mod shrinking;
mod source;
mod story;
mod versioned;

pub use catalogue::{Entry, HUNTS, SCENARIOS, SWARMS, find};
pub use check::{Seed, campaign, check, one, seeds};
pub use comparison::{Comparison, Side, Told, compare};
pub use explanation::{AskedRule, Explanation, Lore, Questions, SLICE_LINES, explain_id, explain_repro};
pub use prepared::{
    Changes, Given, GivenFile, JudgedWorld, Prepared, Run, STEP_BUDGET, Watch, advance, is_running_a_world, run_to_end,
    run_within, state_of,
};
pub use regression::check_repro;
pub use repro::{Expected, Repro};
pub use shrinking::{NotShrunk, Size, Smaller, Step, reproduce, shrink_repro};
pub use source::{Source, read};
