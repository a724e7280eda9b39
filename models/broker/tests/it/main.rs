//! Brokers on a standalone ZooKeeper server.

mod bench;
mod controller_bench;
mod controller_channel;
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
mod topics;
