//! What parts ask of ZooKeeper, and what they get back.

use bytes::Bytes;
use jute::client::{
    CheckVersionRequest, CreateRequest, DeleteRequest, ExistsRequest, GetChildrenRequest, GetDataRequest, MultiOp,
    MultiRequest, OpResult, Request, Response, SetDataRequest,
};
use jute::data::Acl;
use jute::op::{CreateMode, ErrorCode};
use jute::{Buffer, Version};
use kafkawire::TopicPartition;

/// One request. Watches are not asked for here: a read sets one if, and only if, a handler is registered for its path (§2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkRequest {
    /// Creates a znode.
    Create {
        /// Where.
        path: String,
        /// With what; nothing is written as null.
        data: Bytes,
        /// Persistent, ephemeral, sequential.
        mode: CreateMode,
    },
    /// Deletes a znode; `version` −1 is any.
    Delete {
        /// Which.
        path: String,
        /// The version it must have.
        version: i32,
    },
    /// Whether it is there, and its Stat.
    Exists {
        /// Which.
        path: String,
    },
    /// Its data and Stat.
    GetData {
        /// Which.
        path: String,
    },
    /// Writes its data; `version` −1 is any.
    SetData {
        /// Which.
        path: String,
        /// What.
        data: Bytes,
        /// The version it must have.
        version: i32,
    },
    /// Its children; `watch` says whether a child watch is set if a handler is registered.
    GetChildren {
        /// Whose.
        path: String,
        /// `registerWatch`.
        watch: bool,
    },
    /// All or nothing.
    Multi(Vec<MultiOp>),
}

impl ZkRequest {
    /// A persistent znode.
    #[must_use]
    pub fn create(path: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::Create { path: path.into(), data: data.into(), mode: CreateMode::Persistent }
    }

    /// This request in `multi[check(path, version), request]`: it takes effect only if that znode still has that version.
    ///
    /// # Panics
    /// If it changes nothing: a multi holds no reads.
    #[must_use]
    pub fn checked(self, path: &str, version: i32) -> Self {
        let check = CheckVersionRequest { path: path.to_owned(), version: Version::new(version) };
        let op = match self {
            Self::Create { path, data, mode } => MultiOp::Create(Self::wire_create(&path, or_null(data), mode)),
            Self::Delete { path, version } => MultiOp::Delete(DeleteRequest { path, version: Version::new(version) }),
            Self::SetData { path, data, version } => {
                MultiOp::SetData(SetDataRequest { path, data: Buffer::new(data), version: Version::new(version) })
            }
            Self::Exists { .. } | Self::GetData { .. } | Self::GetChildren { .. } | Self::Multi(_) => {
                panic!("{self:?} cannot be checked")
            }
        };
        Self::Multi(vec![MultiOp::Check(check), op])
    }

    /// A create as it travels, open to everybody (`zookeeper.set.acl=false`).
    #[must_use]
    pub fn wire_create(path: &str, data: Buffer, mode: CreateMode) -> CreateRequest {
        CreateRequest { path: path.to_owned(), data, acl: Some(Acl::open()), flags: mode.code() }
    }

    /// The request as it travels; `watch` sets one, where the operation can.
    pub(crate) fn wire(&self, watch: bool) -> Request {
        match self {
            Self::Create { path, data, mode } => Request::Create(Self::wire_create(path, or_null(data.clone()), *mode)),
            Self::Delete { path, version } => {
                Request::Delete(DeleteRequest { path: path.clone(), version: Version::new(*version) })
            }
            Self::Exists { path } => Request::Exists(ExistsRequest { path: path.clone(), watch }),
            Self::GetData { path } => Request::GetData(GetDataRequest { path: path.clone(), watch }),
            Self::SetData { path, data, version } => Request::SetData(SetDataRequest {
                path: path.clone(),
                data: Buffer::new(data.clone()),
                version: Version::new(*version),
            }),
            Self::GetChildren { path, watch: _ } => {
                Request::GetChildren2(GetChildrenRequest { path: path.clone(), watch })
            }
            Self::Multi(ops) => Request::Multi(MultiRequest { ops: ops.clone() }),
        }
    }
}

/// Kafka creates znodes without data with null.
fn or_null(data: Bytes) -> Buffer {
    if data.is_empty() { Buffer::NULL } else { Buffer::new(data) }
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZkError {
    /// The server's error. CONNECTIONLOSS never gets here: such requests are sent again when the session is back (§2.3).
    Code(ErrorCode),
    /// The session ended first: whether it happened is not known.
    SessionExpired,
}

/// What came of a request. The response's body where the operation has one.
pub type ZkResult = Result<Option<Response>, ZkError>;

/// The results of a multi, or its first error: a failed multi is answered without error, its results tell (zookeeper.md
/// §11.6).
///
/// # Errors
/// Of the request, or of the first operation that failed.
///
/// # Panics
/// If it is the result of another operation.
pub fn multi_results(result: &ZkResult) -> Result<&[OpResult], ZkError> {
    let results = match result {
        Ok(Some(Response::Multi(response))) => response.results.as_slice(),
        Ok(other) => panic!("a multi was answered by {other:?}"),
        Err(why) => return Err(*why),
    };
    let failed = results.iter().find_map(|result| match result {
        OpResult::Error(code) if *code != ErrorCode::Ok => Some(*code),
        OpResult::Error(_)
        | OpResult::Create(_)
        | OpResult::Create2(_)
        | OpResult::Delete
        | OpResult::SetData(_)
        | OpResult::Check
        | OpResult::GetData(_)
        | OpResult::GetChildren(_) => None,
    });
    failed.map_or(Ok(results), |code| Err(ZkError::Code(code)))
}

/// Who gets a batch's results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkOwner {
    /// Startup and shutdown.
    Lifecycle,
    /// The event that the controller's thread is processing.
    Controller,
    /// A partition whose leader changes the ISR.
    Isr(TopicPartition),
    /// The propagation of ISR changes (`/isr_change_notification`).
    IsrPropagation,
    /// The configurations of topics whose first replicas here are being created: `ReplicaManager::on_topic_configs`.
    TopicConfigs,
    /// A topic that is being created through this broker's API.
    TopicCommand(u64),
}

/// Requests that are pipelined, `zookeeper.max.in.flight.requests` at a time (§2.3).
#[derive(Clone, Debug)]
pub struct ZkBatch {
    /// Who gets the results, in the order of the requests, when all are there.
    pub owner: ZkOwner,
    /// The requests; at least one.
    pub requests: Vec<ZkRequest>,
}
