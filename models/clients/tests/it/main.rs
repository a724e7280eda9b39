//! Drives workloads against a server made for the purpose (one tree in memory, no ensemble, faults by hand), and clients of
//! Kafka against brokers that are played by hand and a real standalone ZooKeeper server.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it waits for, and at nothing else")]
#![expect(clippy::unwrap_used, reason = "a bench fails its test by panicking")]

mod bench;
mod faults;
mod kafka_admin;
mod kafka_bench;
mod kafka_brokers;
mod kafka_consumer;
mod kafka_images;
mod kafka_producer;
mod kafka_swarm;
mod kafka_zk_consumer;
mod lock;
mod recipes;
mod steady;
mod tree;
