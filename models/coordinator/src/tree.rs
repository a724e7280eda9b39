//! The data tree: every znode, by path, and what the server knows beside them (zookeeper.md §5).
//!
//! A tree changes only by transactions, and applying one is *total*: whatever the leader's preparation let through, and
//! whatever replay over a fuzzy snapshot meets that is already there or already gone, ends in a result, never in a panic
//! (§5.3, §9.4). It validates nothing else; that is preparation's task.
//!
//! The digest of the tree is kept up to date node by node (§5.10): a transaction costs what it touches.
//!
//! Who may do what (§6) and what exceeds a quota is not asked here either: a transaction was let through. Containers and TTL znodes
//! are indexed, for whoever reaps them (§5.12).

mod acl_cache;
mod apply;
mod digest;
mod event;
mod node;
mod quota;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use jute::data::{Acl, EphemeralOwner, Stat, StatPersisted};
use jute::{Buffer, SessionId, Version};

use crate::defect::Defects;

pub use acl_cache::{AclCache, AclId};
pub use apply::OpResult;
pub use digest::{DIGEST_VERSION, is_digested, node_digest};
pub use event::{Change, TreeEvent};
pub use node::{Node, PersistedNode};
pub use quota::{NoStatsTrack, StatsTrack};

/// The znode of the system's own.
pub const ZOOKEEPER: &str = "/zookeeper";
/// The root of the quota limits.
pub const QUOTA: &str = "/zookeeper/quota";
/// The ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";

/// All znodes.
#[derive(Clone, Debug)]
pub struct DataTree {
    /// By path; the root's is "".
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    /// Paths of plain ephemerals by session. Who had some keeps a set, be it empty, until its end: `dump` shows it.
    ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    /// Paths of containers.
    containers: BTreeSet<Arc<str>>,
    /// Paths of TTL znodes.
    ttls: BTreeSet<Arc<str>>,
    /// Paths with a quota.
    quotas: BTreeSet<Arc<str>>,
    acls: AclCache,
    digest: u64,
    /// Those that show in a tree.
    pub(crate) defects: Defects,
}

/// A snapshot's znode whose parent did not come before it: the tree in it is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its path.
    pub path: String,
}

impl Default for DataTree {
    fn default() -> Self {
        Self::new()
    }
}

impl DataTree {
    /// Returns the tree of a new server: `/`, `/zookeeper`, `/zookeeper/quota`, `/zookeeper/config`, all stats zero (§5.1).
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Self::empty();
        let config_acl = tree.acls.acquire(&Acl::read_only());
        for (path, acl) in [("", AclId::OPEN), (ZOOKEEPER, AclId::OPEN), (QUOTA, AclId::OPEN), (CONFIG, config_acl)] {
            let mut stat = StatPersisted::default();
            if path == CONFIG {
                stat.aversion = Version::new(-1);
            }
            tree.link(path.into(), Node::new(Buffer::new(Bytes::new()), acl, stat));
        }
        tree
    }

    fn empty() -> Self {
        Self {
            nodes: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: BTreeSet::new(),
            acls: AclCache::default(),
            digest: 0,
            defects: Defects::default(),
        }
    }

    /// Builds a tree from what a snapshot holds: ACL lists by id, and znodes, each after its parent.
    ///
    /// A fuzzy snapshot may name an ACL id which its map lacks: replay sets that ACL again (ZOOKEEPER-3306).
    ///
    /// # Errors
    /// An [`Orphan`].
    pub fn restore(
        acls: impl IntoIterator<Item = (AclId, Vec<Acl>)>,
        nodes: impl IntoIterator<Item = (String, PersistedNode)>,
    ) -> Result<Self, Orphan> {
        let mut tree = Self::empty();
        for (id, acl) in acls {
            tree.acls.restore(id, acl);
        }
        for (path, node) in nodes {
            if !path.is_empty() && parent_of(&path).is_none_or(|parent| !tree.nodes.contains_key(parent)) {
                return Err(Orphan { path });
            }
            let acl = AclId(node.acl);
            tree.acls.add_usage(acl);
            tree.link(path.into(), Node::new(node.data, acl, node.stat));
        }
        tree.acls.purge_unused();
        if !tree.nodes.contains_key("") {
            return Err(Orphan { path: "/".to_owned() });
        }
        if !tree.nodes.contains_key(CONFIG) && tree.nodes.contains_key(ZOOKEEPER) {
            let acl = tree.acls.acquire(&Acl::read_only());
            let stat = StatPersisted { aversion: Version::new(-1), ..StatPersisted::default() };
            tree.link(CONFIG.into(), Node::new(Buffer::new(Bytes::new()), acl, stat));
        }
        tree.find_quotas();
        Ok(tree)
    }

    /// Returns a znode. `/` and the empty path both name the root, as in the real server (§5.5).
    #[must_use]
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(key(path)).map(Arc::as_ref)
    }

    /// Returns what a client sees of a znode (§5.2).
    #[must_use]
    pub fn client_stat(&self, path: &str) -> Option<Stat> {
        self.node(path).map(Node::client_stat)
    }

    /// Returns a znode's access control list; nothing if there is no such znode.
    ///
    /// Empty for a znode of a fuzzy snapshot whose list is not known before replay has set it again.
    #[must_use]
    pub fn acl(&self, path: &str) -> Option<&Arc<[Acl]>> {
        self.node(path).map(|node| self.acls.list(node.acl()))
    }

    /// Returns the paths of containers, sorted.
    pub fn containers(&self) -> impl Iterator<Item = &str> {
        self.containers.iter().map(AsRef::as_ref)
    }

    /// Returns the paths of TTL znodes, sorted.
    pub fn ttls(&self) -> impl Iterator<Item = &str> {
        self.ttls.iter().map(AsRef::as_ref)
    }

    /// Whether there is anything that goes by itself once it is empty.
    #[must_use]
    pub fn has_reapable(&self) -> bool {
        !self.containers.is_empty() || !self.ttls.is_empty()
    }

    /// Number of znodes below a path.
    #[must_use]
    pub fn descendants(&self, path: &str) -> usize {
        self.below(path).count()
    }

    /// The znodes below a path, sorted.
    fn below(&self, path: &str) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        let below = format!("{}/", key(path));
        let from = self.nodes.range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded));
        let nodes = from.map(|(path, node)| (path, node.as_ref()));
        nodes.take_while(move |(path, _)| path.starts_with(&below))
    }

    /// Returns the paths of a session's ephemerals, sorted.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.ephemerals.get(&session).into_iter().flatten().map(AsRef::as_ref)
    }

    /// Returns the sessions that own ephemerals, sorted.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.iter().filter(|(_, paths)| !paths.is_empty()).map(|(&session, _)| session)
    }

    /// Returns the sessions that own ephemerals or did since this tree was loaded, sorted.
    pub fn past_ephemeral_owners(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// Returns all znodes by path, sorted; the root's path is "".
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_ref(), node.as_ref()))
    }

    /// Number of znodes, the root counted once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A tree is never empty: it has a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the digest of the tree (§5.10), in O(1).
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Returns the access control lists in use.
    #[must_use]
    pub const fn acls(&self) -> &AclCache {
        &self.acls
    }

    /// Panics if the tree contradicts itself. Walks all of it.
    pub fn check_invariants(&self) {
        let mut digest = 0_u64;
        let mut children = 0;
        let mut ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>> = BTreeMap::new();
        assert!(self.nodes.contains_key(""), "the tree has no root");
        for (path, node) in &self.nodes {
            let fresh = node_digest(path, node.data(), node.stat());
            assert_eq!(node.digest, fresh, "the kept digest of {path:?} is stale");
            digest = digest.wrapping_add(fresh);
            children += node.children.len();
            if let Some(parent) = parent_of(path) {
                let parent = self.nodes.get(parent).unwrap_or_else(|| panic!("{path:?} has no parent"));
                assert!(parent.children.contains(name_of(path)), "{path:?} is no child of its parent");
            }
            match node.owner() {
                EphemeralOwner::Session(session) => {
                    ephemerals.entry(session).or_default().insert(Arc::clone(path));
                }
                EphemeralOwner::Container => assert!(self.containers.contains(path), "{path:?} is in no index"),
                EphemeralOwner::Ttl { .. } => assert!(self.ttls.contains(path), "{path:?} is in no index"),
                EphemeralOwner::Nobody => {}
            }
        }
        let reapable = self.containers.iter().chain(&self.ttls);
        assert!(reapable.clone().all(|path| self.nodes.contains_key(path)), "an index names a znode that is gone");
        assert_eq!(children + 1, self.nodes.len(), "a child is listed that does not exist");
        assert_eq!(self.digest, digest, "the kept digest of the tree is stale");
        let indexed = self.ephemerals.iter().filter(|(_, paths)| !paths.is_empty());
        assert!(indexed.eq(&ephemerals), "the index of ephemerals contradicts the znodes");
    }

    /// Puts a new znode below its parent and into the indexes. The parent's stat is not touched.
    fn link(&mut self, path: Arc<str>, mut node: Node) {
        if let Some(parent) = parent_of(&path)
            && let Some(parent) = self.nodes.get_mut(parent)
        {
            Arc::make_mut(parent).children.insert(name_of(&path).into());
        }
        match node.owner() {
            EphemeralOwner::Session(session) => {
                self.ephemerals.entry(session).or_default().insert(Arc::clone(&path));
            }
            EphemeralOwner::Container => {
                self.containers.insert(Arc::clone(&path));
            }
            EphemeralOwner::Ttl { .. } => {
                self.ttls.insert(Arc::clone(&path));
            }
            EphemeralOwner::Nobody => {}
        }
        node.digest = node_digest(&path, node.data(), node.stat());
        self.digest = self.digest.wrapping_add(node.digest);
        let previous = self.nodes.insert(path, Arc::new(node));
        assert!(previous.is_none(), "a znode was linked twice");
    }

    /// Takes a znode out of the tree and the indexes; its parent's list of children is the caller's.
    fn unlink(&mut self, path: &str) -> Option<Arc<Node>> {
        let (path, node) = self.nodes.remove_entry(path)?;
        self.digest = self.digest.wrapping_sub(node.digest);
        self.acls.release(node.acl());
        match node.owner() {
            EphemeralOwner::Session(session) => {
                if let Some(paths) = self.ephemerals.get_mut(&session) {
                    paths.remove(&path);
                }
            }
            EphemeralOwner::Container => {
                self.containers.remove(&path);
            }
            EphemeralOwner::Ttl { .. } => {
                self.ttls.remove(&path);
            }
            EphemeralOwner::Nobody => {}
        }
        Some(node)
    }

    /// Changes a znode and the digest with it. The closure must leave path-independent indexes (owner, ACL use) as they are.
    fn change<R>(&mut self, path: &str, change: impl FnOnce(&mut Node) -> R) -> Option<R> {
        let path = key(path);
        let node = Arc::make_mut(self.nodes.get_mut(path)?);
        let result = change(node);
        let digest = node_digest(path, node.data(), node.stat());
        self.digest = self.digest.wrapping_sub(node.digest).wrapping_add(digest);
        node.digest = digest;
        Some(result)
    }
}

/// Returns the path of the parent, "" for children of the root, none for the root and for what is no path.
#[must_use]
pub fn parent_of(path: &str) -> Option<&str> {
    path.rfind('/').filter(|_| path.len() > 1).map(|slash| &path[..slash])
}

/// Returns the last component of a path.
#[must_use]
pub fn name_of(path: &str) -> &str {
    path.rfind('/').map_or(path, |slash| &path[slash + 1..])
}

/// The map's key: the root is reachable under two names.
fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// A path as clients and watches know it.
fn shown(path: &str) -> Arc<str> {
    if path.is_empty() { "/".into() } else { path.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_empty_tree_is_the_real_servers() {
        let tree = DataTree::new();
        assert_eq!(tree.digest(), 1_371_985_504);
        tree.check_invariants();
    }

    #[test]
    fn root_has_two_names() {
        let tree = DataTree::new();
        assert_eq!(tree.client_stat("/"), tree.client_stat(""));
        assert_eq!(tree.client_stat("/").unwrap().num_children, 1);
        assert_eq!(tree.node("zookeeper"), None);
    }

    #[test]
    fn parents_and_names_split_at_the_last_slash() {
        assert_eq!(parent_of("/a/b"), Some("/a"));
        assert_eq!(parent_of("/a"), Some(""));
        assert_eq!(parent_of("/"), None);
        assert_eq!(parent_of(""), None);
        assert_eq!(parent_of("x"), None);
        assert_eq!(name_of("/a/b"), "b");
    }

    #[test]
    fn a_znode_without_its_parent_is_no_tree() {
        let node = PersistedNode { data: Buffer::NULL, acl: -1, stat: StatPersisted::default() };
        let nodes = [(String::new(), node.clone()), ("/a/b".to_owned(), node)];
        assert_eq!(DataTree::restore([], nodes).unwrap_err(), Orphan { path: "/a/b".to_owned() });
    }
}
