//! The engine, proven with one toy machine that follows a script.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod canaries;
mod clocks;
mod connections;
mod courses;
mod durability;
mod faults;
mod forks;
mod lanes;
mod names_of_draws;
mod outcomes;
mod rules;
mod toy;
mod wakes;
