//! What is answered from this server's own tree, stale or not (zookeeper.md §4.9, §5.5).

use jute::client::{
    ExistsResponse, GetChildren2Response, GetChildrenRequest, GetChildrenResponse, GetDataResponse,
    Request as ClientRequest, Response, SyncResponse,
};
use jute::op::ErrorCode;
use machine::{EndId, Io};

use super::Server;
use crate::Coordinator;
use crate::tree::{DataTree, Node};
use crate::watch::WatchKind;

impl Server {
    /// Executes a request that needs no txn. The path's syntax is not checked: an odd one names no node.
    pub(super) fn read(
        &mut self,
        end: EndId,
        request: &ClientRequest,
        tree: &DataTree,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<Option<Response>, ErrorCode> {
        match request {
            ClientRequest::Exists(exists) => {
                if exists.path.contains('\0') {
                    return Err(ErrorCode::BadArguments);
                }
                // Before the node is looked for: a watch for its creation stays.
                if exists.watch {
                    self.watch(WatchKind::Data, &exists.path, end);
                }
                let stat = tree.client_stat(&exists.path).ok_or(ErrorCode::NoNode)?;
                Ok(Some(Response::Exists(ExistsResponse { stat })))
            }
            ClientRequest::GetData(get) => {
                let node = tree.node(&get.path).ok_or(ErrorCode::NoNode)?;
                if get.watch {
                    self.watch(WatchKind::Data, &get.path, end);
                }
                Ok(Some(Response::GetData(GetDataResponse { data: node.data().clone(), stat: node.client_stat() })))
            }
            ClientRequest::GetChildren(get) => {
                let node = self.parent(end, get, tree)?;
                Ok(Some(Response::GetChildren(GetChildrenResponse { children: names(node) })))
            }
            ClientRequest::GetChildren2(get) => {
                let node = self.parent(end, get, tree)?;
                Ok(Some(Response::GetChildren2(GetChildren2Response {
                    children: names(node),
                    stat: node.client_stat(),
                })))
            }
            ClientRequest::Sync(sync) => Ok(Some(Response::Sync(SyncResponse { path: sync.path.clone() }))),
            ClientRequest::SetWatches(set) => {
                self.set_watches(end, set, tree, io);
                Ok(None)
            }
            ClientRequest::Ping => Ok(None),
            ClientRequest::Create(_)
            | ClientRequest::Create2(_)
            | ClientRequest::CreateContainer(_)
            | ClientRequest::CreateTtl(_)
            | ClientRequest::Delete(_)
            | ClientRequest::DeleteContainer(_)
            | ClientRequest::SetData(_)
            | ClientRequest::GetAcl(_)
            | ClientRequest::SetAcl(_)
            | ClientRequest::Check(_)
            | ClientRequest::Multi(_)
            | ClientRequest::MultiRead(_)
            | ClientRequest::Reconfig(_)
            | ClientRequest::CheckWatches(_)
            | ClientRequest::RemoveWatches(_)
            | ClientRequest::SetWatches2(_)
            | ClientRequest::AddWatch(_)
            | ClientRequest::GetEphemerals(_)
            | ClientRequest::GetAllChildrenNumber(_)
            | ClientRequest::WhoAmI
            | ClientRequest::Auth(_)
            | ClientRequest::Sasl(_)
            | ClientRequest::CloseSession => panic!("{} is no read this server implements", request.op()),
        }
    }

    fn parent<'a>(&mut self, end: EndId, get: &GetChildrenRequest, tree: &'a DataTree) -> Result<&'a Node, ErrorCode> {
        let node = tree.node(&get.path).ok_or(ErrorCode::NoNode)?;
        if get.watch {
            self.watch(WatchKind::Child, &get.path, end);
        }
        Ok(node)
    }

    /// Refused for a connection that is gone: nothing would remove the watch (ZOOKEEPER-1382).
    fn watch(&mut self, kind: WatchKind, path: &str, end: EndId) {
        if self.connections.contains(end) {
            self.watches.add(kind, path, end);
        }
    }
}

/// Sorted; a real server's order is that of a hash set.
fn names(node: &Node) -> Vec<String> {
    node.children().map(str::to_owned).collect()
}
