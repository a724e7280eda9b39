//! An operation of a workload, and how it ended.

use std::fmt;
use std::sync::Arc;

use jute::Zxid;
use jute::client::{OpResult, Response};
use jute::data::Stat;
use jute::op::ErrorCode;
use machine::Instant;

use crate::{Stored, Unreadable};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// Creates a persistent znode.
    Create,
    /// Creates an ephemeral znode.
    CreateEphemeral,
    /// Creates a sequential znode.
    CreateSequential,
    /// Creates an ephemeral sequential znode.
    CreateEphemeralSequential,
    /// Deletes a znode.
    Delete,
    /// Reads a stat.
    Exists,
    /// Reads data.
    GetData,
    /// A sync, and behind it a read of data: one operation.
    SyncGetData,
    /// Sets data.
    SetData,
    /// Reads the names of children.
    GetChildren,
    /// Several changes in one.
    Multi,
    /// Reads the configuration of the ensemble.
    GetConfig,
    /// Asks for another one.
    Reconfig,
    /// Creates a container znode.
    CreateContainer,
    /// Creates a znode with a time to live.
    CreateTtl,
    /// Creates a sequential znode with a time to live.
    CreateSequentialTtl,
    /// Sets an access control list.
    SetAcl,
    /// Several changes of any kinds in one.
    MixedMulti,
    /// Reads an access control list.
    GetAcl,
    /// Reads the names of children without a stat.
    ListNames,
    /// Several reads in one.
    MultiRead,
    /// Reads the paths of the session's ephemerals.
    GetEphemerals,
    /// Reads how many znodes are below a path.
    CountChildren,
    /// Asks whether the connection has a watch.
    CheckWatches,
    /// Removes a watch.
    RemoveWatches,
}

impl OpKind {
    /// The name in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateEphemeral => "create-ephemeral",
            Self::CreateSequential => "create-sequential",
            Self::CreateEphemeralSequential => "create-ephemeral-sequential",
            Self::Delete => "delete",
            Self::Exists => "exists",
            Self::GetData => "get-data",
            Self::SyncGetData => "sync-get-data",
            Self::SetData => "set-data",
            Self::GetChildren => "get-children",
            Self::Multi => "multi",
            Self::GetConfig => "get-config",
            Self::Reconfig => "reconfig",
            Self::CreateContainer => "create-container",
            Self::CreateTtl => "create-ttl",
            Self::CreateSequentialTtl => "create-sequential-ttl",
            Self::SetAcl => "set-acl",
            Self::MixedMulti => "mixed-multi",
            Self::GetAcl => "get-acl",
            Self::ListNames => "list-names",
            Self::MultiRead => "multi-read",
            Self::GetEphemerals => "get-ephemerals",
            Self::CountChildren => "count-children",
            Self::CheckWatches => "check-watches",
            Self::RemoveWatches => "remove-watches",
        }
    }

    /// Whether it may change anything.
    #[must_use]
    pub const fn is_write(self) -> bool {
        match self {
            Self::Create
            | Self::CreateEphemeral
            | Self::CreateSequential
            | Self::CreateEphemeralSequential
            | Self::Delete
            | Self::SetData
            | Self::Multi
            | Self::Reconfig
            | Self::CreateContainer
            | Self::CreateTtl
            | Self::CreateSequentialTtl
            | Self::SetAcl
            | Self::MixedMulti => true,
            Self::Exists
            | Self::GetData
            | Self::SyncGetData
            | Self::GetChildren
            | Self::GetConfig
            | Self::GetAcl
            | Self::ListNames
            | Self::MultiRead
            | Self::GetEphemerals
            | Self::CountChildren
            | Self::CheckWatches
            | Self::RemoveWatches => false,
        }
    }
}

/// The class of an end: `ok`, `fail` or `info` of invariants-and-faults.md §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It happened, with the result that its code says: also NoNode, NodeExists, BadVersion and NotEmpty.
    Ok,
    /// It surely had no effect.
    Failed,
    /// It may take effect at any time, or never.
    Unknown,
}

impl Outcome {
    /// The name in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// The class of a code in a reply.
    #[must_use]
    pub const fn of(code: ErrorCode) -> Self {
        match code {
            // They constrain the order of operations like a read.
            ErrorCode::Ok
            | ErrorCode::NoNode
            | ErrorCode::NodeExists
            | ErrorCode::BadVersion
            | ErrorCode::NotEmpty
            | ErrorCode::NoChildrenForEphemerals => Self::Ok,
            // Whoever says so need not know what became of an earlier attempt.
            ErrorCode::ConnectionLoss
            | ErrorCode::OperationTimeout
            | ErrorCode::RequestTimeout
            | ErrorCode::SessionExpired
            | ErrorCode::UnknownSession
            | ErrorCode::SessionMoved
            | ErrorCode::SystemError
            | ErrorCode::RuntimeInconsistency
            | ErrorCode::DataInconsistency => Self::Unknown,
            // Refused before anything was proposed, or proposed as an error.
            ErrorCode::MarshallingError
            | ErrorCode::Unimplemented
            | ErrorCode::BadArguments
            | ErrorCode::NewConfigNoQuorum
            | ErrorCode::ReconfigInProgress
            | ErrorCode::ApiError
            | ErrorCode::NoAuth
            | ErrorCode::InvalidCallback
            | ErrorCode::InvalidAcl
            | ErrorCode::AuthFailed
            | ErrorCode::NotReadOnly
            | ErrorCode::EphemeralOnLocalSession
            | ErrorCode::NoWatcher
            | ErrorCode::ReconfigDisabled
            | ErrorCode::SessionClosedRequireSaslAuth
            | ErrorCode::QuotaExceeded
            | ErrorCode::ThrottledOp => Self::Failed,
        }
    }
}

/// Why an operation was started: what to do with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// A path that must be there before work begins.
    Setup,
    /// The write that must succeed behind the faults.
    Probe,
    /// Nothing follows from it.
    Single,
    /// The next step of its kind follows from it.
    Chain,
}

/// An operation that has no outcome yet.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) number: u64,
    pub(crate) slot: usize,
    pub(crate) since: Instant,
    pub(crate) kind: OpKind,
    pub(crate) path: Arc<str>,
    pub(crate) writes: Option<Stored>,
    pub(crate) aim: Aim,
    pub(crate) subject: u32,
    /// The paths of a multi's parts.
    pub(crate) parts: Vec<Arc<str>>,
    /// The sync before it went wrong.
    pub(crate) unsynced: bool,
}

/// An operation that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) slot: usize,
    pub(crate) kind: OpKind,
    pub(crate) path: Arc<str>,
    pub(crate) aim: Aim,
    pub(crate) subject: u32,
    pub(crate) outcome: Outcome,
    pub(crate) code: ErrorCode,
    pub(crate) zxid: Option<Zxid>,
    /// The value it wrote, or tried to.
    pub(crate) wrote: Option<u64>,
    pub(crate) result: Found,
}

impl Done {
    /// Whether it succeeded, in the words of the API: no exception.
    pub(crate) fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok && self.code == ErrorCode::Ok
    }
}

/// What the body of a reply told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) stat: Option<Stat>,
    pub(crate) stored: Option<Stored>,
    /// The path that a create made.
    pub(crate) created: Option<Arc<str>>,
    pub(crate) children: Vec<String>,
    pub(crate) parts: Vec<OpResult>,
    /// A configuration of the ensemble.
    pub(crate) config: Option<String>,
}

impl Found {
    /// Panics if the body is not that of this kind of operation, or holds data that no workload wrote: both are findings.
    pub(crate) fn of(open: &Open, response: Option<Response>) -> Self {
        let read_at = |bytes: &[u8], path: &str| {
            // Setup makes parents without data.
            if bytes.is_empty() {
                return None;
            }
            Some(decoded(bytes, path).unwrap_or_else(|why| {
                panic!("{} of {path} read {} bytes that nobody wrote there: {why:?}", open.kind.name(), bytes.len())
            }))
        };
        let read = |bytes: &[u8]| read_at(bytes, &open.path);
        match (open.kind, response) {
            (
                OpKind::Create
                | OpKind::CreateEphemeral
                | OpKind::CreateSequential
                | OpKind::CreateEphemeralSequential
                | OpKind::CreateContainer
                | OpKind::CreateTtl
                | OpKind::CreateSequentialTtl,
                Some(Response::Create2(made)),
            ) => Self { stat: Some(made.stat), created: Some(Arc::from(made.path)), ..Self::default() },
            (OpKind::Delete, None) => Self::default(),
            (OpKind::Exists, Some(Response::Exists(found))) => Self { stat: Some(found.stat), ..Self::default() },
            (OpKind::GetData | OpKind::SyncGetData, Some(Response::GetData(found))) => {
                Self { stat: Some(found.stat), stored: read(found.data.as_slice()), ..Self::default() }
            }
            (OpKind::SetData, Some(Response::SetData(set))) => Self { stat: Some(set.stat), ..Self::default() },
            (OpKind::GetChildren, Some(Response::GetChildren2(found))) => {
                Self { stat: Some(found.stat), children: found.children, ..Self::default() }
            }
            (OpKind::GetConfig, Some(Response::GetData(found)))
            | (OpKind::Reconfig, Some(Response::Reconfig(found))) => {
                let text = String::from_utf8(found.data.as_slice().to_vec()).expect("a configuration is text");
                Self { stat: Some(found.stat), config: Some(text), ..Self::default() }
            }
            (OpKind::Multi | OpKind::MixedMulti, Some(Response::Multi(answer))) => {
                Self { parts: answer.results, ..Self::default() }
            }
            (OpKind::MultiRead, Some(Response::Multi(answer))) => {
                for (part, path) in answer.results.iter().zip(&open.parts) {
                    if let OpResult::GetData(found) = part {
                        read_at(found.data.as_slice(), path);
                    }
                }
                Self { parts: answer.results, ..Self::default() }
            }
            (OpKind::SetAcl, Some(Response::SetAcl(set))) => Self { stat: Some(set.stat), ..Self::default() },
            (OpKind::GetAcl, Some(Response::GetAcl(found))) => Self { stat: Some(found.stat), ..Self::default() },
            (OpKind::ListNames, Some(Response::GetChildren(found))) => {
                Self { children: found.children, ..Self::default() }
            }
            (OpKind::GetEphemerals, Some(Response::GetEphemerals(found))) => {
                let is_below = found.ephemerals.iter().all(|path| path.starts_with(open.path.as_ref()));
                assert!(is_below, "the session's ephemerals below {} are not {:?}", open.path, found.ephemerals);
                Self::default()
            }
            (OpKind::CountChildren, Some(Response::GetAllChildrenNumber(found))) => {
                assert!(found.total_number >= 0, "{} znodes are below {}", found.total_number, open.path);
                Self::default()
            }
            (OpKind::CheckWatches | OpKind::RemoveWatches, None) => Self::default(),
            (
                OpKind::Create
                | OpKind::CreateEphemeral
                | OpKind::CreateSequential
                | OpKind::CreateEphemeralSequential
                | OpKind::Delete
                | OpKind::Exists
                | OpKind::GetData
                | OpKind::SyncGetData
                | OpKind::SetData
                | OpKind::GetChildren
                | OpKind::Multi
                | OpKind::GetConfig
                | OpKind::Reconfig
                | OpKind::CreateContainer
                | OpKind::CreateTtl
                | OpKind::CreateSequentialTtl
                | OpKind::SetAcl
                | OpKind::MixedMulti
                | OpKind::GetAcl
                | OpKind::ListNames
                | OpKind::MultiRead
                | OpKind::GetEphemerals
                | OpKind::CountChildren
                | OpKind::CheckWatches
                | OpKind::RemoveWatches,
                response,
            ) => panic!("{} of {} was answered with {response:?}", open.kind.name(), open.path),
        }
    }

    /// The code that the API raises for a multi: that of the operation which failed, Ok if none did. Several reads in one do not
    /// fail with one of them.
    pub(crate) fn multi_code(&self, kind: OpKind) -> ErrorCode {
        if kind == OpKind::MultiRead {
            return ErrorCode::Ok;
        }
        self.parts
            .iter()
            .find_map(|part| match part {
                OpResult::Error(ErrorCode::Ok) => None,
                OpResult::Error(code) => Some(*code),
                OpResult::Create(_)
                | OpResult::Create2(_)
                | OpResult::Delete
                | OpResult::SetData(_)
                | OpResult::Check
                | OpResult::GetData(_)
                | OpResult::GetChildren(_) => None,
            })
            .unwrap_or(ErrorCode::Ok)
    }
}

/// Reads the bytes of the znode at `path`. Those of a sequential one were made for the path before it was given its number.
fn decoded(bytes: &[u8], path: &str) -> Result<Stored, Unreadable> {
    Stored::decode(bytes, path).or_else(|why| {
        let asked = path.trim_end_matches(|digit: char| digit.is_ascii_digit());
        if asked.len() == path.len() { Err(why) } else { Stored::decode(bytes, asked) }
    })
}

/// The oldest operation without an outcome, for whoever asks why a client is stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldestOp {
    /// The client.
    pub client: u16,
    /// The operation's number.
    pub op: u64,
    /// What it does.
    pub kind: OpKind,
    /// Where.
    pub path: Arc<str>,
    /// When it was invoked, on the client's clock.
    pub since: Instant,
}

impl fmt::Display for OldestOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}: {} of {} without outcome since {}", self.client, self.kind.name(), self.path, self.since)
    }
}
