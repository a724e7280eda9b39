//! What is answered from this server's own tree, stale or not (zookeeper.md §4.9, §5.5).

use jute::SessionId;
use jute::client::{
    ErrorResponse, ExistsRequest, ExistsResponse, GetAclResponse, GetAllChildrenNumberResponse, GetChildren2Response,
    GetChildrenRequest, GetChildrenResponse, GetDataRequest, GetDataResponse, GetEphemeralsResponse, MultiReadOp,
    MultiResponse, OpResult, Request as ClientRequest, Response, SetWatches2Request, SyncResponse, WhoAmIResponse,
};
use jute::data::{Id, Stat, perms};
use jute::op::{ErrorCode, WatcherType};
use machine::{EndId, Io};

use super::identity::client_info;
use super::{Server, acl};
use crate::Coordinator;
use crate::config::Release;
use crate::tree::{DataTree, Node};
use crate::watch::WatchKind;

impl Server {
    /// Executes a request that needs no txn. The path's syntax is not checked: an odd one names no node.
    pub(super) fn read(
        &mut self,
        end: EndId,
        (request, ids): (&ClientRequest, &[Id]),
        tree: &DataTree,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<Option<Response>, ErrorCode> {
        match request {
            ClientRequest::Exists(exists) => {
                if exists.path.contains('\0') {
                    return Err(ErrorCode::BadArguments);
                }
                self.exists(end, exists, ids, tree).map(|stat| Some(Response::Exists(ExistsResponse { stat })))
            }
            ClientRequest::GetData(get) => self.get_data(end, get, ids, tree).map(|data| Some(Response::GetData(data))),
            ClientRequest::GetChildren(get) => {
                let node = self.parent(end, get, ids, tree)?;
                Ok(Some(Response::GetChildren(GetChildrenResponse { children: names(node) })))
            }
            ClientRequest::GetChildren2(get) => {
                let node = self.parent(end, get, ids, tree)?;
                Ok(Some(Response::GetChildren2(GetChildren2Response {
                    children: names(node),
                    stat: node.client_stat(),
                })))
            }
            ClientRequest::GetAcl(get) => self.get_acl(&get.path, ids, tree).map(|acl| Some(Response::GetAcl(acl))),
            ClientRequest::GetAllChildrenNumber(get) => {
                self.check_read(&get.path, ids, tree)?;
                let total_number = i32::try_from(tree.descendants(&get.path)).unwrap_or(i32::MAX);
                Ok(Some(Response::GetAllChildrenNumber(GetAllChildrenNumberResponse { total_number })))
            }
            ClientRequest::GetEphemerals(get) => {
                let prefix = get.prefix.as_deref().filter(|prefix| !prefix.trim().is_empty() && prefix.trim() != "/");
                let session = self.connections.get(end).map_or(SessionId::ZERO, |connection| connection.session);
                let own = tree.ephemerals(session).filter(|path| prefix.is_none_or(|prefix| path.starts_with(prefix)));
                let ephemerals = own.map(str::to_owned).collect();
                Ok(Some(Response::GetEphemerals(GetEphemeralsResponse { ephemerals })))
            }
            ClientRequest::WhoAmI => {
                let client_info = ids.iter().map(client_info).collect();
                Ok(Some(Response::WhoAmI(WhoAmIResponse { client_info })))
            }
            ClientRequest::MultiRead(reads) => {
                let results = reads.ops.iter().map(|op| self.read_part(end, op, ids, tree)).collect();
                Ok(Some(Response::Multi(MultiResponse { results })))
            }
            ClientRequest::Sync(sync) => Ok(Some(Response::Sync(SyncResponse { path: sync.path.clone() }))),
            ClientRequest::SetWatches(set) => {
                let set = SetWatches2Request {
                    relative_zxid: set.relative_zxid,
                    data_watches: set.data_watches.clone(),
                    exist_watches: set.exist_watches.clone(),
                    child_watches: set.child_watches.clone(),
                    persistent_watches: Vec::new(),
                    persistent_recursive_watches: Vec::new(),
                };
                self.set_watches(end, &set, tree, io);
                Ok(None)
            }
            ClientRequest::SetWatches2(set) => {
                self.set_watches(end, set, tree, io);
                Ok(None)
            }
            ClientRequest::AddWatch(add) => {
                // Neither node nor permission is asked for.
                if self.may_watch(end) {
                    self.watches.add_persistent(&add.path, end, add.mode);
                }
                Ok(Some(Response::AddWatch(ErrorResponse { err: ErrorCode::Ok })))
            }
            ClientRequest::CheckWatches(check) => {
                self.check_watcher_type(check.watcher_type)?;
                let is_there = self.watches.has(&check.path, end, check.watcher_type);
                if is_there { Ok(None) } else { Err(ErrorCode::NoWatcher) }
            }
            ClientRequest::RemoveWatches(remove) => {
                self.check_watcher_type(remove.watcher_type)?;
                let was_there = self.watches.remove(&remove.path, end, remove.watcher_type);
                if was_there { Ok(None) } else { Err(ErrorCode::NoWatcher) }
            }
            ClientRequest::Ping => Ok(None),
            ClientRequest::Create(_)
            | ClientRequest::Create2(_)
            | ClientRequest::CreateContainer(_)
            | ClientRequest::CreateTtl(_)
            | ClientRequest::Delete(_)
            | ClientRequest::DeleteContainer(_)
            | ClientRequest::SetData(_)
            | ClientRequest::SetAcl(_)
            | ClientRequest::Check(_)
            | ClientRequest::Multi(_)
            | ClientRequest::Reconfig(_)
            | ClientRequest::Auth(_)
            | ClientRequest::Sasl(_)
            | ClientRequest::CloseSession => panic!("{} is no read", request.op()),
        }
    }

    fn exists(&mut self, end: EndId, exists: &ExistsRequest, ids: &[Id], tree: &DataTree) -> Result<Stat, ErrorCode> {
        // Before the node is looked for: a watch for its creation stays.
        if exists.watch {
            self.watch(WatchKind::Data, &exists.path, end);
        }
        if self.config.release == Release::V3_8_0 {
            // Who knows the path was told of the node, whatever its list said.
            return tree.client_stat(&exists.path).ok_or(ErrorCode::NoNode);
        }
        self.check_read(&exists.path, ids, tree).map(Node::client_stat)
    }

    fn get_data(
        &mut self,
        end: EndId,
        get: &GetDataRequest,
        ids: &[Id],
        tree: &DataTree,
    ) -> Result<GetDataResponse, ErrorCode> {
        let node = self.check_read(&get.path, ids, tree)?;
        if get.watch {
            self.watch(WatchKind::Data, &get.path, end);
        }
        Ok(GetDataResponse { data: node.data().clone(), stat: node.client_stat() })
    }

    /// Before 3.9 nobody could ask for the persistent ones by name.
    fn check_watcher_type(&self, watcher_type: WatcherType) -> Result<(), ErrorCode> {
        let is_new = matches!(watcher_type, WatcherType::Persistent | WatcherType::PersistentRecursive);
        if is_new && self.config.release == Release::V3_8_0 { Err(ErrorCode::MarshallingError) } else { Ok(()) }
    }

    /// One read of a multiRead: it fails alone, and leaves no watch whatever it asks.
    fn read_part(&mut self, end: EndId, op: &MultiReadOp, ids: &[Id], tree: &DataTree) -> OpResult {
        let result = match op {
            MultiReadOp::GetData(get) => {
                let get = GetDataRequest { path: get.path.clone(), watch: false };
                self.get_data(end, &get, ids, tree).map(OpResult::GetData)
            }
            MultiReadOp::GetChildren(get) => {
                let get = GetChildrenRequest { path: get.path.clone(), watch: false };
                let node = self.parent(end, &get, ids, tree);
                node.map(|node| OpResult::GetChildren(GetChildrenResponse { children: names(node) }))
            }
        };
        result.unwrap_or_else(OpResult::Error)
    }

    /// A znode that may be read.
    fn check_read<'a>(&self, path: &str, ids: &[Id], tree: &'a DataTree) -> Result<&'a Node, ErrorCode> {
        let node = tree.node(path).ok_or(ErrorCode::NoNode)?;
        acl::check(tree.acls().list(node.acl()), perms::READ, ids, &self.config)?;
        Ok(node)
    }

    /// Who may not administer the znode sees no secrets.
    fn get_acl(&self, path: &str, ids: &[Id], tree: &DataTree) -> Result<GetAclResponse, ErrorCode> {
        let node = tree.node(path).ok_or(ErrorCode::NoNode)?;
        let list = tree.acls().list(node.acl());
        acl::check(list, perms::READ | perms::ADMIN, ids, &self.config)?;
        let administers = acl::check(list, perms::ADMIN, ids, &self.config).is_ok();
        let acl = if administers { list.to_vec() } else { acl::masked(list) };
        Ok(GetAclResponse { acl, stat: node.client_stat() })
    }

    fn parent<'a>(
        &mut self,
        end: EndId,
        get: &GetChildrenRequest,
        ids: &[Id],
        tree: &'a DataTree,
    ) -> Result<&'a Node, ErrorCode> {
        let node = self.check_read(&get.path, ids, tree)?;
        if get.watch {
            self.watch(WatchKind::Child, &get.path, end);
        }
        Ok(node)
    }

    /// Refused for a connection that is gone.
    fn watch(&mut self, kind: WatchKind, path: &str, end: EndId) {
        if self.may_watch(end) {
            self.watches.add(kind, path, end);
        }
    }
}

/// Sorted; a real server's order is that of a hash set.
fn names(node: &Node) -> Vec<String> {
    node.children().map(str::to_owned).collect()
}
