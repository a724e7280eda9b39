//! What is prepared and not yet applied (zookeeper.md §4.4): `outstandingChanges`.
//!
//! Preparation must see the tree as it will be when every txn before this one is applied. Each write leaves a record per node it
//! touches; the newest record of a path stands for the node, and goes when its txn is applied.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jute::data::{Acl, StatPersisted};
use jute::op::ErrorCode;
use jute::{Buffer, SessionId, Zxid, path};

use crate::Database;
use crate::tree::node_digest;

/// A node as it will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FutureNode {
    /// Its stat.
    pub(super) stat: StatPersisted,
    /// Number of its children.
    pub(super) children: usize,
    /// Its data.
    pub(super) data: Buffer,
    /// Its access control list.
    pub(super) acl: Arc<[Acl]>,
    /// Its part of the tree's digest.
    digest: u64,
}

/// What one txn makes of one node.
#[derive(Clone, Debug)]
struct Change {
    /// Tells records of one path apart.
    number: u64,
    zxid: Zxid,
    path: Arc<str>,
    /// None: it is deleted.
    node: Option<Arc<FutureNode>>,
}

/// Every change between preparation and application.
#[derive(Clone, Debug)]
pub(super) struct OutstandingChanges {
    changes: VecDeque<Change>,
    /// The newest record of each path.
    newest: BTreeMap<Arc<str>, Change>,
    next_number: u64,
    /// The tree's digest once everything outstanding is applied; none while nothing is: then it is the tree's own.
    digest: Option<u64>,
    with_digest: bool,
}

/// Where to go back to if a multi fails.
#[derive(Debug)]
pub(super) struct Savepoint {
    changes: usize,
    newest: BTreeMap<Arc<str>, Change>,
    digest: Option<u64>,
}

impl OutstandingChanges {
    /// Nothing is outstanding.
    pub(super) fn new(with_digest: bool) -> Self {
        Self { changes: VecDeque::new(), newest: BTreeMap::new(), next_number: 0, digest: None, with_digest }
    }

    /// The node as it will be once everything outstanding is applied.
    ///
    /// # Errors
    /// `NoNode`.
    pub(super) fn node(&self, path: &str, db: &Database) -> Result<Arc<FutureNode>, ErrorCode> {
        let path = canonical(path);
        if let Some(change) = self.newest.get(path) {
            return change.node.clone().ok_or(ErrorCode::NoNode);
        }
        let node = db.tree().node(path).ok_or(ErrorCode::NoNode)?;
        let (data, stat) = (node.data().clone(), *node.stat());
        let acl = Arc::clone(db.tree().acls().list(node.acl()));
        let digest = self.digest_of(path, &data, &stat);
        Ok(Arc::new(FutureNode { stat, children: node.child_count(), data, acl, digest }))
    }

    /// The tree's digest once everything outstanding is applied.
    pub(super) fn tree_digest(&self, db: &Database) -> u64 {
        self.digest.unwrap_or_else(|| db.digest())
    }

    /// Notes that a txn changes a node.
    pub(super) fn update(&mut self, zxid: Zxid, path: &str, mut node: FutureNode, db: &Database) {
        node.digest = self.digest_of(canonical(path), &node.data, &node.stat);
        self.push(zxid, path, Some(Arc::new(node)), db);
    }

    /// Notes that a txn creates a node.
    pub(super) fn create(
        &mut self,
        zxid: Zxid,
        path: &str,
        (stat, data, acl): (StatPersisted, Buffer, Arc<[Acl]>),
        db: &Database,
    ) {
        self.update(zxid, path, FutureNode { stat, children: 0, data, acl, digest: 0 }, db);
    }

    /// Notes that a txn deletes a node.
    pub(super) fn delete(&mut self, zxid: Zxid, path: &str, db: &Database) {
        self.push(zxid, path, None, db);
    }

    fn push(&mut self, zxid: Zxid, path: &str, node: Option<Arc<FutureNode>>, db: &Database) {
        if let Some(last) = self.changes.back() {
            assert!(last.zxid <= zxid, "changes are prepared in the order of their zxids: {zxid} after {}", last.zxid);
        }
        if self.with_digest {
            let before = self.node(path, db).map_or(0, |node| node.digest);
            let after = node.as_ref().map_or(0, |node| node.digest);
            self.digest = Some(self.tree_digest(db).wrapping_sub(before).wrapping_add(after));
        }
        let change = Change { number: self.next_number, zxid, path: Arc::from(canonical(path)), node };
        self.next_number += 1;
        self.newest.insert(change.path.clone(), change.clone());
        self.changes.push_back(change);
    }

    fn digest_of(&self, path: &str, data: &Buffer, stat: &StatPersisted) -> u64 {
        if self.with_digest { node_digest(path, data, stat) } else { 0 }
    }

    /// Applies what is outstanding of a session's ephemerals to those the tree has: in order of their paths.
    pub(super) fn ephemerals(&self, session: SessionId, db: &Database) -> Vec<String> {
        let mut paths: BTreeSet<String> = db.tree().ephemerals(session).map(str::to_owned).collect();
        for change in &self.changes {
            match &change.node {
                None => {
                    paths.remove(&*change.path);
                }
                Some(node) if node.stat.ephemeral_owner == session.value() => {
                    paths.insert(change.path.to_string());
                }
                Some(_) => {}
            }
        }
        paths.into_iter().collect()
    }

    /// Remembers the present, for a multi.
    pub(super) fn savepoint(&self) -> Savepoint {
        Savepoint { changes: self.changes.len(), newest: self.newest.clone(), digest: self.digest }
    }

    /// Forgets what was noted since.
    pub(super) fn roll_back(&mut self, to: Savepoint) {
        self.changes.truncate(to.changes);
        self.newest = to.newest;
        self.digest = to.digest;
    }

    /// Drops the records of everything up to this txn: the tree has them now.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        while self.changes.front().is_some_and(|change| change.zxid <= zxid) {
            let change = self.changes.pop_front().expect("it has a front");
            if self.newest.get(&change.path).is_some_and(|newest| newest.number == change.number) {
                self.newest.remove(&change.path);
            }
        }
        if self.changes.is_empty() {
            self.digest = None;
        }
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Panics if list and map disagree.
    pub(super) fn check(&self) {
        assert!(self.newest.len() <= self.changes.len(), "every newest record is in the list");
        if self.changes.is_empty() {
            assert!(self.digest.is_none(), "with nothing outstanding the tree's digest is its own");
        }
    }
}

/// The root has two names; records know it by one.
fn canonical(path: &str) -> &str {
    if path.is_empty() { path::ROOT } else { path }
}
