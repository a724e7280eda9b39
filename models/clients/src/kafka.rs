//! Clients of Kafka: producers, consumers, an admin (kafka-broker.md §6.10, §8).
//!
//! One machine, [`KafkaClient`], is one process with one of four roles; what it is told ([`KafkaClientImage`]) decides.
//!
//! ```text
//!   producer ────┐                      ┌─▶ link per broker (kafkawire::Link)
//!   consumer ──┐ ├─▶ cluster: metadata, ┴─ reconnects, least-loaded node
//!   consumer   ├─┘
//!    of 0.8 ───┼───▶ fetcher: positions, resets, validation, fetches
//!   admin      └───▶ offsets, session: one ZooKeeper session (zkclient::ZkClient), begun anew when it expires
//! ```
//!
//! The invariant to know: behind every input the role *settles*: whatever is due or has become possible is done, so that nothing
//! depends on which of two timers came first.

mod admin;
mod client;
mod cluster;
mod consumer;
mod fact;
mod fetch_session;
mod fetcher;
mod image;
mod life;
mod mark;
mod message;
mod metadata;
mod offsets;
mod operator;
mod partitioner;
mod producer;
mod record;
mod session;
mod view;
mod zk_consumer;

pub use client::KafkaClient;
pub use fact::{KafkaClientFact, KafkaWorkFact, RecordId};
pub use image::{
    Acks, AdminImage, Balance, ConsumerImage, CreateTopicsBy, KafkaClientImage, NewTopic, OffsetReset, OperatorImage,
    ProducerImage, Work, ZkConsumerImage,
};
pub use mark::KafkaClientMark;
pub use message::KafkaClientMessage;
pub use partitioner::{murmur2, partition_of_hash, partition_of_key, string_hash};
pub use record::{UnreadableRecord, checksum, decode_value, encode_value};
pub use view::KafkaClientView;
