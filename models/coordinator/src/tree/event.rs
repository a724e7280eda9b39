//! What a change of the tree means to watches (zookeeper.md §8.3).

use std::sync::Arc;

use jute::data::Acl;

/// What happened to a znode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It was created: data watches see `NodeCreated`.
    Created,
    /// It was deleted: data watches, then child watches of connections that have not been told yet, see `NodeDeleted`.
    Deleted,
    /// Its data was set: data watches see `NodeDataChanged`.
    DataChanged,
    /// It gained or lost a child: child watches see `NodeChildrenChanged`.
    ChildrenChanged,
}

/// A change of one znode. The order of a transaction's events is the order in which watches fire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeEvent {
    /// What happened.
    pub change: Change,
    /// To which znode; the root is `/`.
    pub path: Arc<str>,
    /// The znode's access control list (of a deleted one, its last): who may not read it is not told (§8.4).
    pub acl: Arc<[Acl]>,
}
