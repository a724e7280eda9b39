//! A ZooKeeper 3.9 server as a state machine.
//!
//! One [`Coordinator`] is one server process: leader election, Zab among the voters (or a standalone server), the request
//! pipelines, the data tree, sessions and watches, and what it all leaves on disk. It is a [`machine::Machine`]: inputs in,
//! effects out, no threads and no clock of its own. What a real server does, and in which order, is
//! `reference/zookeeper.md`; comments name its sections.
//!
//! ```text
//!                    ┌──────────────────────── Coordinator ────────────────────────┐
//!   election port ──▶│ election   who leads?                                       │
//!   quorum port   ──▶│ zab        the main loop: follow, lead, or look for a leader │
//!   client port   ──▶│ server     sessions and the request pipeline                 │
//!                    │ database   tree, session table, committed log                │
//!   disk          ◀─▶│ store      txn log, snapshots, epoch files, recovery         │
//!                    └─────────────────────────────────────────────────────────────┘
//! ```
//!
//! The real server's threads are lanes ([`work`]), so that a crash can fall between any two steps that are separate there.
//! Everything in the struct is volatile; what survives is on the disk, and `boot` reads it back.

mod coordinator;
mod database;
mod membership;
mod view;

pub mod config;
pub mod defect;
pub mod election;
pub mod fact;
pub mod mark;
pub mod message;
pub mod quorum_verifier;
pub mod server;
pub mod store;
pub mod tree;
pub mod watch;
pub mod work;
pub mod zab;

pub use config::{Costs, Release, ServerConfig};
pub use coordinator::Coordinator;
pub use database::{Applied, CommittedLog, Database, ZxidDigest, follows};
pub use defect::{Defect, Defects};
pub use fact::{Fact, Role};
pub use mark::CoordinatorMark;
pub use message::Message;
pub use quorum_verifier::{Hierarchy, LearnerType, Member, QuorumVerifier};
pub use view::CoordinatorView;
pub use work::Work;
