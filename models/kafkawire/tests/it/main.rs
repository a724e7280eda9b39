//! Kafka's messages, batches and connections from the outside.

mod batches;
mod link;
mod payloads;
