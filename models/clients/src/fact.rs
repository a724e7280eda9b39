//! What observers are told about a workload: a history of what clients saw.

use std::sync::Arc;

use jute::op::ErrorCode;
use jute::{SessionId, Version, Zxid};
use machine::{Describe, Value};
use zkclient::ZkClientFact;

use crate::{OpKind, Outcome, RecipeCall, WorkloadKind};

/// How an absent zxid is shown: all ones, as the `long` −1 is.
fn zxid_shown(zxid: Option<Zxid>) -> u64 {
    zxid.map_or(u64::MAX, Zxid::value)
}

/// How an absent version is shown: as the wildcard −1.
fn version_shown(version: Option<Version>) -> i64 {
    i64::from(version.unwrap_or(Version::ANY).value())
}

machine::facts! {
    /// What a workload says. Values, operations and processes have numbers that are unique over all clients and lives.
    pub enum WorkloadFact {
        /// A client process began.
        "client-started" Started {
            client: u16 => Uint(u64::from(*client)),
            workload: WorkloadKind => Text(workload.name()),
        },
        /// An operation was invoked.
        "op-invoked" Invoked {
            client: u16 => Uint(u64::from(*client)),
            process: u64 => Hex(*process),
            op: u64 => Hex(*op),
            kind: OpKind => Text(kind.name()),
            path: Arc<str> => Text(path),
            session: SessionId => Hex(session.value().cast_unsigned()),
            version: Option<Version> => Int(version_shown(*version)),
            value: Option<u64> => Hex(value.unwrap_or(0)),
        },
        /// An operation ended. `path` is the path that was made, where a create made one; `value` is what was read or
        /// written; zeros in `value`, and −1 elsewhere, stand for what the outcome does not tell.
        "op-completed" Completed {
            client: u16 => Uint(u64::from(*client)),
            process: u64 => Hex(*process),
            op: u64 => Hex(*op),
            kind: OpKind => Text(kind.name()),
            path: Arc<str> => Text(path),
            session: SessionId => Hex(session.value().cast_unsigned()),
            server: Option<Arc<str>> => Text(server.as_deref().unwrap_or("none")),
            outcome: Outcome => Text(outcome.name()),
            code: ErrorCode => Text(code.name()),
            zxid: Option<Zxid> => Hex(zxid_shown(*zxid)),
            czxid: Option<Zxid> => Hex(zxid_shown(*czxid)),
            mzxid: Option<Zxid> => Hex(zxid_shown(*mzxid)),
            pzxid: Option<Zxid> => Hex(zxid_shown(*pzxid)),
            version: Option<Version> => Int(version_shown(*version)),
            cversion: Option<Version> => Int(version_shown(*cversion)),
            owner: SessionId => Hex(owner.value().cast_unsigned()),
            value: Option<u64> => Hex(value.unwrap_or(0)),
            children: Option<u32> => Int(children.map_or(-1, i64::from)),
        },
        /// What one part of a multi came to; stated before the multi's own `op-completed`.
        "multi-result" MultiResult {
            client: u16 => Uint(u64::from(*client)),
            op: u64 => Hex(*op),
            path: Arc<str> => Text(path),
            code: ErrorCode => Text(code.name()),
            mzxid: Option<Zxid> => Hex(zxid_shown(*mzxid)),
            version: Option<Version> => Int(version_shown(*version)),
            value: Option<u64> => Hex(value.unwrap_or(0)),
        },
        /// One part of a multi of any kinds made this version of a znode; stated before the multi's own `op-completed`.
        "part-written" PartWritten {
            client: u16 => Uint(u64::from(*client)),
            op: u64 => Hex(*op),
            path: Arc<str> => Text(path),
            czxid: Zxid => Hex(czxid.value()),
            version: Version => Int(i64::from(version.value())),
            value: Option<u64> => Hex(value.unwrap_or(0)),
        },
        /// Two counters that must be equal were read together, by this client, at these versions.
        "pair-read" PairRead {
            client: u16 => Uint(u64::from(*client)),
            left: Arc<str> => Text(left),
            left_version: Version => Int(i64::from(left_version.value())),
            left_mzxid: Zxid => Hex(left_mzxid.value()),
            right_version: Version => Int(i64::from(right_version.value())),
            right_mzxid: Zxid => Hex(right_mzxid.value()),
        },
        /// A process whose operation ended unknown gives way to another.
        "process-retired" ProcessRetired {
            client: u16 => Uint(u64::from(*client)),
            process: u64 => Hex(*process),
            successor: u64 => Hex(*successor),
        },
        /// The client believes that it holds the lock. `token` is the sequence number of its znode.
        "lock-acquired" LockAcquired {
            client: u16 => Uint(u64::from(*client)),
            lock: Arc<str> => Text(lock),
            session: SessionId => Hex(session.value().cast_unsigned()),
            token: u64 => Uint(*token),
            path: Arc<str> => Text(path),
        },
        /// The client no longer believes that it holds the lock: it is about to delete its znode, or `expired`.
        "lock-released" LockReleased {
            client: u16 => Uint(u64::from(*client)),
            lock: Arc<str> => Text(lock),
            token: u64 => Uint(*token),
            expired: bool => Flag(*expired),
        },
        /// The resource took a write under the lock, or refused it because it had seen a greater token (`seen`).
        "resource-write" ResourceWrite {
            client: u16 => Uint(u64::from(*client)),
            resource: Arc<str> => Text(resource),
            token: u64 => Uint(*token),
            accepted: bool => Flag(*accepted),
            seen: u64 => Uint(*seen),
            version: Option<Version> => Int(version_shown(*version)),
            value: Option<u64> => Hex(value.unwrap_or(0)),
        },
        /// The client stands for the election, in this session.
        "candidate-stood" CandidateStood {
            client: u16 => Uint(u64::from(*client)),
            election: Arc<str> => Text(election),
            session: SessionId => Hex(session.value().cast_unsigned()),
        },
        /// The client believes that it leads, in this epoch, which it has claimed. `path` is its znode.
        "leadership-taken" LeadershipTaken {
            client: u16 => Uint(u64::from(*client)),
            election: Arc<str> => Text(election),
            session: SessionId => Hex(session.value().cast_unsigned()),
            epoch: u64 => Uint(*epoch),
            path: Arc<str> => Text(path),
        },
        /// The client no longer believes that: its connection is gone, it was told of a later epoch, or its session `expired`.
        "leadership-given-up" LeadershipGivenUp {
            client: u16 => Uint(u64::from(*client)),
            election: Arc<str> => Text(election),
            epoch: u64 => Uint(*epoch),
            expired: bool => Flag(*expired),
        },
        /// A recipe was called. `session` is that in which it began; `value` is the element that is put into a queue, and how
        /// many must be inside a double barrier.
        "recipe-invoked" RecipeInvoked {
            client: u16 => Uint(u64::from(*client)),
            call: u64 => Hex(*call),
            kind: RecipeCall => Text(kind.name()),
            object: Arc<str> => Text(object),
            session: SessionId => Hex(session.value().cast_unsigned()),
            value: Option<u64> => Hex(value.unwrap_or(0)),
        },
        /// The call of a recipe ended, in this session. `value` is the element that was put or taken, or may have been (none: the
        /// queue was empty), and of an entry the zxid of the znode that lets everybody in; `number` is the element's sequence
        /// number, and of an entry the zxid of the client's own znode.
        "recipe-returned" RecipeReturned {
            client: u16 => Uint(u64::from(*client)),
            call: u64 => Hex(*call),
            kind: RecipeCall => Text(kind.name()),
            object: Arc<str> => Text(object),
            session: SessionId => Hex(session.value().cast_unsigned()),
            outcome: Outcome => Text(outcome.name()),
            value: Option<u64> => Hex(value.unwrap_or(0)),
            number: Option<u64> => Hex(number.unwrap_or(0)),
        },
        /// What the workload needs is there, and it begins.
        "setup-done" SetupDone {
            client: u16 => Uint(u64::from(*client)),
        },
        /// The client starts nothing new.
        "client-stopped" Stopped {
            client: u16 => Uint(u64::from(*client)),
        },
        /// The write behind the faults succeeded.
        "probe-succeeded" ProbeSucceeded {
            client: u16 => Uint(u64::from(*client)),
            path: Arc<str> => Text(path),
            zxid: Option<Zxid> => Hex(zxid_shown(*zxid)),
            attempts: u64 => Uint(*attempts),
        },
    }
}

/// What a client says: of its session, and of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFact {
    /// Of its session.
    Session(ZkClientFact),
    /// Of its work.
    Workload(WorkloadFact),
}

impl From<ZkClientFact> for ClientFact {
    fn from(fact: ZkClientFact) -> Self {
        Self::Session(fact)
    }
}

impl From<WorkloadFact> for ClientFact {
    fn from(fact: WorkloadFact) -> Self {
        Self::Workload(fact)
    }
}

const KINDS: [&str; ZkClientFact::KINDS.len() + WorkloadFact::KINDS.len()] =
    machine::joined(&[ZkClientFact::KINDS, WorkloadFact::KINDS]);

impl Describe for ClientFact {
    fn kinds() -> &'static [&'static str] {
        &KINDS
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Session(fact) => fact.kind(),
            Self::Workload(fact) => fact.kind(),
        }
    }

    fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'_>)) {
        match self {
            Self::Session(fact) => fact.fields(visit),
            Self::Workload(fact) => fact.fields(visit),
        }
    }
}
