//! The judges of a ZooKeeper ensemble, and of the Kafka cluster on it: invariants, and checks of what clients saw.
//!
//! A [`Court`] is all of them. Those of Kafka are in [`kafka`]; they take the committed history of ZooKeeper from those of the
//! ensemble, and a world without brokers has none.
//!
//! [`ZkJudges`] watches a world beside its hosts. It believes what the engine saw (bytes on disks, packets, crashes) and
//! takes a server's word only for what nobody else can know: that it leads, commits, applies, expires. From that it keeps the
//! committed history as it must be, and holds every server and every reply against it.
//!
//! ```text
//!  writes, syncs ─▶ Server: log, snapshots, epochs ─┐
//!  packets ───────▶ Server: role, synchronisation ──┼─▶ Canon: the committed history ─▶ Replay: a model of its own
//!  facts ─────────▶ established, committed, applied ┘        ▲        C01–C14 C35 C42          C19 C20 C22 C25
//!  client frames ─▶ Conversations: promises, sessions, watches     C13 C25 C27 C31
//!  client facts ──▶ History: what clients saw, judged at the end   C29 C33 H20 ─▶ GAP if nobody else noticed
//! ```
//!
//! What a reader must know:
//!
//! - **A rule that is not met is not always broken.** `forceSync=no` and a few known holes of the real server relax some;
//!   each time is counted with its reason ([`Oracle::checks`]), and holes are listed ([`Oracle::notes`]). A loss is excused
//!   only by events that it names ([`Oracle::excuses`]).
//! - **Legal but surprising** (invariants-and-faults.md §2.9): an uncommitted proposal of a dead leader may survive or vanish;
//!   a follower may apply what others have durable before it has itself; two servers may believe that they lead; reads are stale.
//! - What happens to the disk within a step is judged at its end; no sync completes in between.

mod budget;
mod canon;
mod chunked;
mod configuration;
mod conversation;
mod court;
mod coverage;
mod describe;
mod dispatch;
mod durability;
mod ensemble;
mod expiry;
mod giving_up;
mod history;
pub mod kafka;
mod liveness;
mod membership;
mod moment;
mod oracle;
mod protocol;
mod replay;
mod roles;
mod rule;
mod server;
mod settled_core;
mod snapshot_file;
mod statistics;
mod tally;
mod txn_log;
mod zab;

pub use configuration::Configuration;
pub use court::Court;
pub use coverage::{CoverageMark, PROPERTIES, Property, property_of};
pub use dispatch::ZkJudges;
pub use ensemble::{Client, Ensemble, Member};
pub use history::{
    Operation, OperationCount, OperationEnd, OperationKind, OperationOutcome, RecipeCall, RecipeEnd, WatchMap,
};
pub use moment::Moment;
pub use oracle::{Look, Oracle, TreeLook};
pub use roles::{ROLES, SITUATIONS};
pub use rule::{Rule, RuleDoc, explain};
pub use server::Role;
pub use statistics::Statistics;
pub use tally::{Check, Excuse};

#[cfg(test)]
mod tests;
