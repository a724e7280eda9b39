//! The broker's use of ZooKeeper: Kafka's `ZooKeeperClient` and `KafkaZkClient` (kafka-broker.md §2.3, §2.4).
//!
//! Parts ask by [`Ask::Zk`](crate::cx::Ask::Zk), register handlers by [`Ask::Watch`](crate::cx::Ask::Watch), and get results
//! and watch events from the broker, in the order in which the session told them.

mod batch;
mod client;
mod handler;
mod recursive;
mod registration;

pub use batch::{ZkBatch, ZkError, ZkOwner, ZkRequest, ZkResult, multi_results};
pub use handler::ZnodeHandler;
pub use registration::{Registration, Step as RegistrationStep};

pub(crate) use client::{KafkaZk, RenewalStep, ZkNews};
pub(crate) use recursive::{Creation, RecursiveCreate};
