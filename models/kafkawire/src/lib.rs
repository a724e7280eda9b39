//! Kafka's messages as they travel: our exhaustive [`Request`] and [`Response`], narrowed to the version of their connection,
//! and what both ends of Kafka's protocols share: ids, error codes, record batches, znode payloads, a client's [`Link`].
//!
//! The structs are those of the crate `kafka-protocol`, generated from Kafka's own schemas; they hold the fields of *all*
//! versions. A message therefore travels with the version it was narrowed to, and [`KafkaMessage::through_bytes`] proves that
//! nothing else travels with it.

mod assignment;
mod batch;
mod error;
mod frame;
mod hosts;
mod ids;
mod link;
mod message;
mod narrow;
mod request;
mod response;
#[cfg(test)]
mod round_trip;
mod schema;
mod version;
pub mod znode;

pub use assignment::{AssignmentStart, BadAssignment, Candidate, assign_replicas};
pub use batch::{BadBatch, Batch, BatchHeader, NewBatch, RECORD_BATCH_OVERHEAD, Record, batches};
pub use error::ErrorCode;
pub use frame::BadMessage;
pub use hosts::Hosts;
pub use ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, PartitionEpoch, Topic, TopicPartition};
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::StrBytes;
pub use link::{CONNECTION_SETUP_TIMEOUT, DownCause, Link, LinkConfig, LinkEvent, Versions};
pub use message::{Correlation, KafkaMessage, Wire};
pub use request::Request;
pub use response::Response;
pub use version::{ApiKey, UnsupportedVersion, Version, VersionRange, inter_broker, negotiate};
