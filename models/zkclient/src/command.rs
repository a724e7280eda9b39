//! The operations of the client API, one method each.

use std::sync::Arc;

use jute::client::{
    CreateRequest, DeleteRequest, ExistsRequest, GetChildrenRequest, GetDataRequest, MultiOp, MultiRequest, Request,
    SetDataRequest, SyncRequest,
};
use jute::data::Acl;
use jute::op::CreateMode;
use jute::{Buffer, Version};
use machine::Io;

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

    /// Lets the server catch up with its leader.
    pub fn sync(&mut self, path: &str, io: &mut Io<'_, Self>) -> Result<OpId, Rejected> {
        self.submit(Request::Sync(SyncRequest { path: Some(path.to_owned()) }), io)
    }
}

/// The request of a create that everybody may do everything with.
pub(crate) fn create_request(path: &str, data: Buffer, mode: CreateMode) -> CreateRequest {
    CreateRequest { path: path.to_owned(), data, acl: Some(Acl::open()), flags: mode.code() }
}

/// The watch a request asks for. Exists asks for one of two: the reply says which.
///
/// # Panics
/// For requests that are the client's own.
pub(crate) fn watch_of(request: &Request) -> Option<(WatchKind, Arc<str>)> {
    let (kind, path, watch) = match request {
        Request::Exists(request) => (WatchKind::Exist, &request.path, request.watch),
        Request::GetData(request) => (WatchKind::Data, &request.path, request.watch),
        Request::GetChildren(request) | Request::GetChildren2(request) => {
            (WatchKind::Child, &request.path, request.watch)
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
        | Request::CheckWatches(_)
        | Request::GetEphemerals(_)
        | Request::GetAllChildrenNumber(_)
        | Request::WhoAmI => return None,
        Request::RemoveWatches(_)
        | Request::AddWatch(_)
        | Request::Ping
        | Request::SetWatches(_)
        | Request::SetWatches2(_)
        | Request::Auth(_)
        | Request::Sasl(_)
        | Request::CloseSession => panic!("{} is not for parents to submit", request.op()),
    };
    watch.then(|| (kind, Arc::from(path.as_str())))
}
