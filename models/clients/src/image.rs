//! What a workload is told when it boots.

use std::sync::Arc;

use machine::Span;
use serde::{Deserialize, Serialize};
use zkclient::ZkClientConfig;

use crate::Misuses;

/// What a workload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadKind {
    /// Creates persistent znodes with unique paths and values, reads them, deletes some.
    UniqueCreates,
    /// A versioned register per key: getData, then setData with its version; plain reads and reads behind a sync.
    CompareAndSet,
    /// Creates and deletes ephemerals, watches those of others, creates anew after an expiry.
    Ephemerals,
    /// Creates sequential znodes, persistent and ephemeral, and deletes old ones.
    Sequentials,
    /// Pairs of counters which one multi keeps equal; some multis are doomed.
    Multi,
    /// Data, exist and child watches on keys that all clients change.
    Watches,
    /// The lock recipe, and a resource that is written under it with the fencing token.
    Lock,
    /// An operator who adds, removes, promotes and demotes servers.
    Reconfigure,
    /// The leader election recipe with an epoch, and a resource that only the leader of the present epoch may write.
    Election,
    /// The queue recipe: elements are sequential znodes, whoever deletes one has it.
    Queue,
    /// The barrier recipe: one client sets and lifts barriers, the others wait at them.
    Barrier,
    /// The double barrier recipe: clients enter together and leave together, round after round.
    DoubleBarrier,
    /// Random operations of all kinds on a small tree.
    RandomOperations,
}

impl WorkloadKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::UniqueCreates,
        Self::CompareAndSet,
        Self::Ephemerals,
        Self::Sequentials,
        Self::Multi,
        Self::Watches,
        Self::Lock,
        Self::Reconfigure,
        Self::Election,
        Self::Queue,
        Self::Barrier,
        Self::DoubleBarrier,
        Self::RandomOperations,
    ];

    /// The name in scenario files and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UniqueCreates => "unique-creates",
            Self::CompareAndSet => "compare-and-set",
            Self::Ephemerals => "ephemerals",
            Self::Sequentials => "sequentials",
            Self::Multi => "multi",
            Self::Watches => "watches",
            Self::Lock => "lock",
            Self::Reconfigure => "reconfigure",
            Self::Election => "election",
            Self::Queue => "queue",
            Self::Barrier => "barrier",
            Self::DoubleBarrier => "double-barrier",
            Self::RandomOperations => "random-operations",
        }
    }

    /// Whether a client is one process: it plays one part in a recipe.
    #[must_use]
    pub const fn is_one_process(self) -> bool {
        match self {
            Self::Lock | Self::Election | Self::Barrier | Self::DoubleBarrier => true,
            Self::UniqueCreates
            | Self::CompareAndSet
            | Self::Ephemerals
            | Self::Sequentials
            | Self::Multi
            | Self::Watches
            | Self::Queue
            | Self::RandomOperations
            | Self::Reconfigure => false,
        }
    }
}

/// One client process. Clients that share `root`, `kind` and `keys` meet on the same znodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZkWorkloadImage {
    /// The client's number, unique among the clients of a world: it is part of every value it writes.
    pub client: u16,
    /// Servers and session timeout.
    pub connection: ZkClientConfig,
    /// What it does.
    pub kind: WorkloadKind,
    /// Below what it works, such as `/work`. It is created if it is missing, with its parents.
    pub root: Arc<str>,
    /// Keys, pairs or own znodes: how many things it works on. At least one.
    pub keys: u32,
    /// How many clients share the work: as many must be inside a double barrier.
    pub members: u32,
    /// Which of them this one is, from 0: the first sets and lifts barriers.
    pub member: u32,
    /// How its recipe is done wrong on purpose.
    pub misuses: Misuses,
    /// Operations it starts per second at most; zero for a client that only keeps its session.
    pub rate_per_second: u32,
    /// Logical processes, each with one operation open at a time. At least one; who plays a part in a recipe is one.
    pub processes: u16,
    /// How long a process rests behind its last operation; how long a lock is held.
    pub think: Span,
    /// How long after its start, on its own clock, it starts nothing new and releases what it holds; a candidate stays one.
    pub stop_after: Option<Span>,
    /// How long after its start, on its own clock, it tries one write until that succeeds.
    pub probe_after: Option<Span>,
}

impl ZkWorkloadImage {
    /// Panics if it contradicts itself.
    pub(crate) fn check(&self) {
        assert!(self.keys > 0, "a workload works on at least one key");
        assert!(self.processes > 0, "a client has at least one process");
        assert!(
            !self.kind.is_one_process() || self.processes == 1,
            "a client of kind {} is one process",
            self.kind.name()
        );
        assert!(self.member < self.members, "member {} of {} counts from 0", self.member, self.members);
        assert!(
            usize::from(self.processes) * 2 <= self.connection.operations_max,
            "{} processes may have as many syncs and reads open",
            self.processes
        );
        assert!(self.root.len() > 1 && self.root.starts_with('/'), "the root {} is an absolute path", self.root);
        assert!(!self.root.ends_with('/'), "the root {} is a path", self.root);
        if let (Some(stop), Some(probe)) = (self.stop_after, self.probe_after) {
            assert!(stop <= probe, "a client stops after {stop} before it probes after {probe}");
        }
    }
}
