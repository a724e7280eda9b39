//! The operations of the client API, one method each.

use std::sync::Arc;

use jute::client::{
    AddWatchRequest, CreateRequest, DeleteRequest, ExistsRequest, GetChildrenRequest, GetDataRequest, MultiOp,
    MultiReadOp, MultiRequest, Request, SetDataRequest, SyncRequest,
};
use jute::data::Acl;
use jute::op::{AddWatchMode, CreateMode};
use jute::path::{self, PathError};
use jute::{Buffer, Version};
use machine::Io;

use crate::in_flight::OnWatches;
use crate::{OpId, Rejected, WatchKind, ZkClient};

/// All errors are [`Rejected`]: the operation was not queued and surely has no effect.
#[expect(clippy::missing_errors_doc, reason = "said once for all")]
impl ZkClient {
    /// Creates a znode that everybody may do everything with; the reply has its path and stat (create2).
    pub fn create(
        &mut self,
        path: &str,
        data: Buffer,
        mode: CreateMode,
        io: &mut Io<'_, Self>,
    ) -> Result<OpId, Rejected> {
        self.submit(Request::Create2(create_request(path, data, mode)), io)
    }

    /// Deletes a znode of this version.
    pub fn delete(&mut self, path: &str, version: Version, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        self.submit(Request::Delete(DeleteRequest { path: path.to_owned(), version }), io)
    }

    /// Reads a stat; with `watch` it leaves a data watch, or an exist watch where nothing is.
    pub fn exists(&mut self, path: &str, watch: bool, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        self.submit(Request::Exists(ExistsRequest { path: path.to_owned(), watch }), io)
    }

    /// Reads data and stat; with `watch` it leaves a data watch.
    pub fn get_data(&mut self, path: &str, watch: bool, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        self.submit(Request::GetData(GetDataRequest { path: path.to_owned(), watch }), io)
    }

    /// Sets the data of a znode of this version.
    pub fn set_data(
        &mut self,
        path: &str,
        data: Buffer,
        version: Version,
        io: &mut Io<'_, Self>,
    ) -> Result<OpId, Rejected> {
        self.submit(Request::SetData(SetDataRequest { path: path.to_owned(), data, version }), io)
    }

    /// Reads the names of children and the parent's stat (getChildren2); with `watch` it leaves a child watch.
    pub fn get_children(&mut self, path: &str, watch: bool, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        self.submit(Request::GetChildren2(GetChildrenRequest { path: path.to_owned(), watch }), io)
    }

    /// Does all of these or none. A refused one is an `Ok` whose results are all errors, see [`jute::client::OpResult`].
    pub fn multi(&mut self, ops: Vec<MultiOp>, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        self.submit(Request::Multi(MultiRequest { ops }), io)
    }

    /// Adds a watch that stays until it is removed, whether anything is there or not.
    pub fn add_watch(&mut self, path: &str, mode: AddWatchMode, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        self.submit(Request::AddWatch(AddWatchRequest { path: path.to_owned(), mode }), io)
    }

    /// Lets the server catch up with its leader.
    pub fn sync(&mut self, path: &str, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        self.submit(Request::Sync(SyncRequest { path: Some(path.to_owned()) }), io)
    }
}

/// The request of a create that everybody may do everything with.
pub(crate) fn create_request(path: &str, data: Buffer, mode: CreateMode) -> CreateRequest {
    CreateRequest { path: path.to_owned(), data, acl: Some(Acl::open()), flags: mode.code() }
}

/// What the end of a request will mean for watches. Exists asks for one of two: the reply says which. `local` is said of those
/// that are removed.
///
/// # Panics
/// For requests that are the client's own.
pub(crate) fn on_watches_of(request: &Request, local: bool) -> OnWatches {
    let (kind, path, watch) = match request {
        Request::Exists(request) => (WatchKind::Exist, &request.path, request.watch),
        Request::GetData(request) => (WatchKind::Data, &request.path, request.watch),
        Request::GetChildren(request) | Request::GetChildren2(request) => {
            (WatchKind::Child, &request.path, request.watch)
        }
        Request::AddWatch(request) => {
            let kind = match request.mode {
                AddWatchMode::Persistent => WatchKind::Persistent,
                AddWatchMode::PersistentRecursive => WatchKind::Recursive,
            };
            (kind, &request.path, true)
        }
        // The one removes a watcher, the other all of a path: here there is one.
        Request::CheckWatches(request) | Request::RemoveWatches(request) => {
            let path = Arc::from(request.path.as_str());
            return OnWatches::Remove { watcher_type: request.watcher_type, path, local };
        }
        Request::Create(_)
        | Request::Create2(_)
        | Request::CreateContainer(_)
        | Request::CreateTtl(_)
        | Request::Delete(_)
        | Request::DeleteContainer(_)
        | Request::SetData(_)
        | Request::GetAcl(_)
        | Request::SetAcl(_)
        | Request::Sync(_)
        | Request::Check(_)
        | Request::Multi(_)
        | Request::MultiRead(_)
        | Request::Reconfig(_)
        | Request::GetEphemerals(_)
        | Request::GetAllChildrenNumber(_)
        | Request::WhoAmI => return OnWatches::Nothing,
        Request::Ping
        | Request::SetWatches(_)
        | Request::SetWatches2(_)
        | Request::Auth(_)
        | Request::Sasl(_)
        | Request::CloseSession => panic!("{} is not for parents to submit", request.op()),
    };
    if watch { OnWatches::Set { kind, path: Arc::from(path.as_str()) } } else { OnWatches::Nothing }
}

/// Checks the paths of a request, as Java does before it queues anything. Of a sequential znode it is the path with a number.
pub(crate) fn validate(request: &Request) -> Result<(), PathError> {
    let one = |path: &str| path::validate(path);
    let numbered = |path: &str, mode: Option<CreateMode>| {
        if mode.is_some_and(CreateMode::is_sequential) { path::validate(&format!("{path}1")) } else { one(path) }
    };
    match request {
        Request::Create(it) | Request::Create2(it) | Request::CreateContainer(it) => numbered(&it.path, it.mode()),
        Request::CreateTtl(it) => numbered(&it.path, it.mode()),
        Request::Delete(it) => one(&it.path),
        Request::DeleteContainer(it) => one(&it.path),
        Request::Exists(it) => one(&it.path),
        Request::GetData(it) => one(&it.path),
        Request::SetData(it) => one(&it.path),
        Request::GetAcl(it) => one(&it.path),
        Request::SetAcl(it) => one(&it.path),
        Request::GetChildren(it) | Request::GetChildren2(it) => one(&it.path),
        Request::Sync(it) => it.path.as_deref().map_or(Ok(()), one),
        Request::Check(it) => one(&it.path),
        Request::Multi(multi) => multi.ops.iter().try_for_each(|op| match op {
            MultiOp::Create(it) | MultiOp::Create2(it) | MultiOp::CreateContainer(it) => numbered(&it.path, it.mode()),
            MultiOp::CreateTtl(it) => numbered(&it.path, it.mode()),
            MultiOp::Delete(_) | MultiOp::SetData(_) | MultiOp::Check(_) => one(op.path()),
        }),
        Request::MultiRead(multi) => multi.ops.iter().try_for_each(|op| match op {
            MultiReadOp::GetData(it) => one(&it.path),
            MultiReadOp::GetChildren(it) => one(&it.path),
        }),
        Request::CheckWatches(it) | Request::RemoveWatches(it) => one(&it.path),
        Request::AddWatch(it) => one(&it.path),
        Request::GetAllChildrenNumber(it) => one(&it.path),
        // A prefix is no path.
        Request::GetEphemerals(_)
        | Request::Ping
        | Request::Reconfig(_)
        | Request::SetWatches(_)
        | Request::SetWatches2(_)
        | Request::WhoAmI
        | Request::Auth(_)
        | Request::Sasl(_)
        | Request::CloseSession => Ok(()),
    }
}
