//! Drives a session by hand: a bench in place of the network, hand-made answers in place of servers.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it waits for, and at nothing else")]

mod against_a_server;
mod authentication;
mod bench;
mod chroot;
mod connecting;
mod expiry;
mod operations;
mod read_only;
mod request_timeout;
mod server_list;
mod staying_watches;
mod timing;
mod watching;
