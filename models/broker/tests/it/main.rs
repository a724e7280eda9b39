//! Brokers on a standalone ZooKeeper server, and their parts alone.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it waits for, and at nothing else")]
#![expect(clippy::unwrap_used, reason = "a bench fails its test by panicking")]

mod bench;
mod controller_bench;
mod controller_channel;
mod controller_cluster;
mod controller_election;
mod controller_golden;
mod controller_machines;
mod controller_tree;
mod produce_fetch;
mod replication;
mod server;
mod session_expiry;
mod shutdown;
mod startup;
mod swarm;
mod topics;
