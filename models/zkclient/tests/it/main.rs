//! Drives a session by hand: a bench in place of the network, hand-made answers in place of servers.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it waits for, and at nothing else")]

mod bench;
mod connecting;
mod expiry;
mod operations;
mod timing;
mod watching;
