//! A Kafka broker with its controller as a state machine: Kafka 3.3 in ZooKeeper mode (kafka-broker.md §0.1).
//!
//! One [`Broker`] is one broker process. It is a [`machine::Machine`]: inputs in, effects out, no threads and no clock of its
//! own. What a real broker does, and in which order, is `reference/kafka-broker.md`; comments name its sections.
//!
//! ```text
//!                     ┌───────────────────────────── Broker ─────────────────────────────┐
//!   Kafka's port   ──▶│ server       connections, one request of each at a time           │
//!                     │ api          each request to whom it concerns                     │
//!   control        ──▶│ controller   events, partition and replica machines, channels     │──▶ brokers
//!   leaders        ◀──│ replication  partitions, purgatories, ISR, fetchers               │
//!   ZooKeeper      ◀──│ zookeeper    session, pipelined requests, handlers, registration  │
//!                     │ cache        what UpdateMetadata said                             │
//!   disk          ◀─▶ │ (commitlog)  logs, checkpoints, recovery                          │
//!                     └──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The parts never hold each other: each is lent a [`cx::Cx`] while it works and says what it wants of its siblings as
//! [`cx::Ask`]s, which the broker settles before its step is over. The real broker's threads are lanes ([`work`]), so that a
//! crash can fall between any two steps that are separate there. Everything in the struct is volatile; what survives is on the
//! disk, and `boot` reads it back.

mod broker;
mod view;

pub mod api;
pub mod cache;
pub mod config;
pub mod controller;
pub mod cx;
pub mod defect;
pub mod fact;
mod lifecycle;
pub mod mark;
pub mod message;
pub mod replication;
mod server;
pub mod topic_settings;
pub mod work;
pub mod zookeeper;

pub use broker::Broker;
pub use config::{BrokerConfig, BrokerImage, Costs, Era};
pub use defect::{Defect, Defects};
pub use fact::Fact;
pub use lifecycle::LOG_DIR;
pub use mark::BrokerMark;
pub use message::Message;
pub use view::{BrokerView, PartitionView};
pub use work::Work;
