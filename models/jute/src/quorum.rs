//! What leader and learners say to each other (zookeeper.md §3.1).
//!
//! All of it is a record of four fields: type, zxid, data, authinfo. What zxid and data mean depends on the type, and for pings
//! and revalidations also on the direction. [`QuorumPacket`] is the meaning; [`QuorumPacket::encode`] and
//! [`QuorumPacket::decode`] are the only places that know the fields. Packets follow each other without a length between them.
//!
//! ```text
//! learner                                leader
//!    |-- FollowerInfo ------------------->|   discovery
//!    |<------------------- LeaderInfo ----|
//!    |-- AckEpoch ----------------------->|
//!    |<---- Diff, Trunc or Snap, Proposal, Commit …   synchronization
//!    |<-------------------- NewLeader ----|
//!    |-- Ack ---------------------------->|
//!    |<--------------------- UpToDate ----|
//!    |<--- Proposal --- Ack --> Commit ---|   broadcast; Request, Sync, Revalidate, Ping beside it
//! ```

mod packet;
mod wire;

pub use crate::packet::QuorumMessage;
pub use packet::{Direction, LEARNER_PROTOCOL, LearnerInfo, LearnerRequest, QuorumPacket, SessionTouch};
