//! An operation that is to be started.

use std::sync::Arc;

use jute::client::{
    CreateRequest, DeleteRequest, ExistsRequest, GetChildrenRequest, GetDataRequest, MultiOp, MultiRequest,
    ReconfigRequest, Request, SetDataRequest,
};
use jute::data::Acl;
use jute::op::CreateMode;
use jute::{Buffer, Version};

use crate::op::Aim;
use crate::{OpKind, Stored};

/// Whether a read leaves a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Yes,
    No,
}

impl Watch {
    const fn is_set(self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// How another configuration of the ensemble is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reconfiguration {
    /// This server joins, or is something else from now on.
    Joining(String),
    /// The server with this number leaves.
    Leaving(String),
    /// These are the servers.
    To(String),
}

/// Where the configuration of the ensemble is shown.
const CONFIG: &str = "/zookeeper/config";
/// `curConfigId` of a request that takes any.
const ANY_CONFIG: i64 = -1;

/// An operation that is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) kind: OpKind,
    pub(crate) path: Arc<str>,
    pub(crate) request: Request,
    /// The version it demands; none for any.
    pub(crate) version: Option<Version>,
    /// What it writes.
    pub(crate) writes: Option<Stored>,
    pub(crate) aim: Aim,
    /// Which of the workload's things it is about.
    pub(crate) subject: u32,
}

impl Invocation {
    /// Creates a znode that everybody may do everything with; without `writes`, its data is empty.
    ///
    /// # Panics
    /// For modes no workload uses.
    pub(crate) fn create(path: &Arc<str>, mode: CreateMode, writes: Option<Stored>) -> Self {
        let kind = match mode {
            CreateMode::Persistent => OpKind::Create,
            CreateMode::Ephemeral => OpKind::CreateEphemeral,
            CreateMode::PersistentSequential => OpKind::CreateSequential,
            CreateMode::EphemeralSequential => OpKind::CreateEphemeralSequential,
            CreateMode::Container | CreateMode::PersistentTtl | CreateMode::PersistentSequentialTtl => {
                panic!("no workload creates {mode}")
            }
        };
        let data = data(path, writes);
        let request = CreateRequest { path: owned(path), data, acl: Some(Acl::open()), flags: mode.code() };
        Self { writes, ..Self::new(kind, path, Request::Create2(request)) }
    }

    pub(crate) fn delete(path: &Arc<str>, version: Option<Version>) -> Self {
        let request = DeleteRequest { path: owned(path), version: version.unwrap_or(Version::ANY) };
        Self { version, ..Self::new(OpKind::Delete, path, Request::Delete(request)) }
    }

    pub(crate) fn exists(path: &Arc<str>, watch: Watch) -> Self {
        let request = ExistsRequest { path: owned(path), watch: watch.is_set() };
        Self::new(OpKind::Exists, path, Request::Exists(request))
    }

    pub(crate) fn get_data(path: &Arc<str>, watch: Watch) -> Self {
        let request = GetDataRequest { path: owned(path), watch: watch.is_set() };
        Self::new(OpKind::GetData, path, Request::GetData(request))
    }

    /// Reads data behind a sync.
    pub(crate) fn sync_get_data(path: &Arc<str>) -> Self {
        Self { kind: OpKind::SyncGetData, ..Self::get_data(path, Watch::No) }
    }

    pub(crate) fn set_data(path: &Arc<str>, writes: Stored, version: Option<Version>) -> Self {
        let request = set_data_request(path, writes, version);
        Self { version, writes: Some(writes), ..Self::new(OpKind::SetData, path, Request::SetData(request)) }
    }

    pub(crate) fn get_children(path: &Arc<str>, watch: Watch) -> Self {
        let request = GetChildrenRequest { path: owned(path), watch: watch.is_set() };
        Self::new(OpKind::GetChildren, path, Request::GetChildren2(request))
    }

    /// Several changes in one; `path` is what it is called by, `writes` what its parts write.
    pub(crate) fn multi(path: &Arc<str>, ops: Vec<MultiOp>, writes: Stored) -> Self {
        let request = Request::Multi(MultiRequest { ops });
        Self { writes: Some(writes), ..Self::new(OpKind::Multi, path, request) }
    }

    /// `getConfig`.
    pub(crate) fn get_config() -> Self {
        Self { kind: OpKind::GetConfig, ..Self::get_data(&Arc::from(CONFIG), Watch::No) }
    }

    /// `reconfig`, of the configuration with this version, or of any.
    pub(crate) fn reconfig(asked: Reconfiguration, version: Option<i64>) -> Self {
        let (joining, leaving, new_members) = match asked {
            Reconfiguration::Joining(line) => (Some(line), None, None),
            Reconfiguration::Leaving(sid) => (None, Some(sid), None),
            Reconfiguration::To(lines) => (None, None, Some(lines)),
        };
        let config_id = version.unwrap_or(ANY_CONFIG);
        let request = ReconfigRequest { joining, leaving, new_members, config_id };
        Self::new(OpKind::Reconfig, &Arc::from(CONFIG), Request::Reconfig(request))
    }

    /// Any other request.
    pub(crate) fn of(kind: OpKind, path: &Arc<str>, request: Request) -> Self {
        Self::new(kind, path, request)
    }

    /// What is written with it.
    pub(crate) fn writing(self, writes: Stored) -> Self {
        Self { writes: Some(writes), ..self }
    }

    fn new(kind: OpKind, path: &Arc<str>, request: Request) -> Self {
        let path = Arc::clone(path);
        Self { kind, path, request, version: None, writes: None, aim: Aim::Single, subject: 0 }
    }

    /// About which of the workload's things it is.
    pub(crate) fn about(self, subject: u32) -> Self {
        Self { subject, ..self }
    }

    pub(crate) fn aiming(self, aim: Aim) -> Self {
        Self { aim, ..self }
    }
}

/// A setData of these bytes; no version is any.
pub(crate) fn set_data_request(path: &Arc<str>, writes: Stored, version: Option<Version>) -> SetDataRequest {
    SetDataRequest { path: owned(path), data: writes.encode(path), version: version.unwrap_or(Version::ANY) }
}

fn data(path: &Arc<str>, writes: Option<Stored>) -> Buffer {
    writes.map_or_else(|| Buffer::new(Vec::new()), |stored| stored.encode(path))
}

fn owned(path: &Arc<str>) -> String {
    path.as_ref().to_owned()
}
