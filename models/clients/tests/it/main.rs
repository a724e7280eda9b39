//! Drives workloads against a server made for the purpose: one tree in memory, no ensemble, faults by hand.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it waits for, and at nothing else")]

mod bench;
mod faults;
mod lock;
mod steady;
mod tree;
