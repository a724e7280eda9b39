//! Clients of the systems on trial: ZooKeeper workloads, and in [`kafka`] producers, consumers and an admin of Kafka.
//!
//! [`ZkWorkload`] is one client process: a session ([`zkclient::ZkClient`]), a pace, and a [kind](WorkloadKind) that decides
//! what it does. Whatever it asks of the ensemble is told to observers twice, as [`WorkloadFact::Invoked`] and
//! [`WorkloadFact::Completed`]: a history that black-box checkers judge without believing any server.
//!
//! ```text
//!   boot ─▶ session ─▶ setup (parents, keys) ─▶ work at its rate ─▶ stop_after: release, be quiet ─▶ probe_after: one write
//!              ▲                                   │                                              that must succeed
//!              └────────── expired: a new session ─┘
//! ```
//!
//! Outcomes are three: *ok* (also with NoNode, NodeExists, BadVersion, NotEmpty: they tell the state as a read does),
//! *failed* (surely no effect), *unknown* (may take effect at any later time). A logical process whose operation ended
//! unknown retires, and a successor goes on under a new number, so that no process ever has two operations open.

mod data;
mod fact;
mod image;
mod invocation;
pub mod kafka;
mod kinds;
mod mark;
mod misuse;
mod op;
mod pace;
mod recipe;
mod recorder;
mod view;
mod workload;

pub use data::{Stored, Unreadable};
pub use fact::{ClientFact, WorkloadFact};
pub use image::{WorkloadKind, ZkWorkloadImage};
pub use mark::WorkloadMark;
pub use misuse::{Misuse, Misuses};
pub use op::{OldestOp, OpKind, Outcome};
pub use recipe::RecipeCall;
pub use view::ZkWorkloadView;
pub use workload::ZkWorkload;
