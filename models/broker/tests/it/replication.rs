//! Replication by itself: replica managers on disks of their own, their fetchers joined by a network that only tests cut, with
//! the test as controller, as ZooKeeper and as client.

mod asking;
mod bench;

mod control;
mod failover;
mod fetching;
mod flushing;
mod isr;
mod producing;
mod random;
mod sessions;
