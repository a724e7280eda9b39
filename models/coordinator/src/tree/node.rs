//! One znode.

use std::collections::BTreeSet;
use std::sync::Arc;

use jute::data::{EphemeralOwner, Stat, StatPersisted};
use jute::{Buffer, SessionId, Version};
use serde::{Deserialize, Serialize};

use super::AclId;

/// A znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    data: Buffer,
    acl: AclId,
    stat: StatPersisted,
    pub(super) children: BTreeSet<Arc<str>>,
    /// Of path, data and stat; kept by the tree.
    pub(super) digest: u64,
}

/// A znode as a snapshot holds it, after its path (zookeeper.md §9.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistedNode {
    /// Its data.
    pub data: Buffer,
    /// The id of its access control list in the snapshot's map; −1 is the built-in open one.
    pub acl: i64,
    /// Its stat.
    pub stat: StatPersisted,
}

impl Node {
    pub(super) fn new(data: Buffer, acl: AclId, stat: StatPersisted) -> Self {
        Self { data, acl, stat, children: BTreeSet::new(), digest: 0 }
    }

    /// Returns the data, which may be null.
    #[must_use]
    pub const fn data(&self) -> &Buffer {
        &self.data
    }

    /// Returns the stat as it is kept and written to snapshots.
    #[must_use]
    pub const fn stat(&self) -> &StatPersisted {
        &self.stat
    }

    /// Returns the id of its access control list.
    #[must_use]
    pub const fn acl(&self) -> AclId {
        self.acl
    }

    /// Returns the names of the children, sorted.
    pub fn children(&self) -> impl ExactSizeIterator<Item = &str> {
        self.children.iter().map(AsRef::as_ref)
    }

    /// Whether it has a child of this name.
    #[must_use]
    pub fn has_child(&self, name: &str) -> bool {
        self.children.contains(name)
    }

    /// Number of children.
    #[must_use]
    pub fn child_count(&self) -> usize {
        self.children.len()
    }

    /// Returns what its `ephemeralOwner` means.
    ///
    /// 0xff in the top byte marks a TTL here whatever `extendedTypesEnabled` says: no server has id 255.
    #[must_use]
    pub fn owner(&self) -> EphemeralOwner {
        EphemeralOwner::from_wire(self.stat.ephemeral_owner, true)
    }

    /// Returns what a client sees (zookeeper.md §5.2): cversion counts creates *and* deletes, and only plain ephemerals have
    /// an owner.
    #[must_use]
    pub fn client_stat(&self) -> Stat {
        let stat = &self.stat;
        let num_children = count(self.children.len());
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: Version::new(stat.cversion.value().wrapping_mul(2).wrapping_sub(num_children)),
            aversion: stat.aversion,
            ephemeral_owner: match self.owner() {
                EphemeralOwner::Session(session) => session,
                EphemeralOwner::Nobody | EphemeralOwner::Container | EphemeralOwner::Ttl { .. } => SessionId::ZERO,
            },
            data_length: count(self.data.len()),
            num_children,
            pzxid: stat.pzxid,
        }
    }

    /// Returns what a snapshot holds of it.
    #[must_use]
    pub fn persisted(&self) -> PersistedNode {
        PersistedNode { data: self.data.clone(), acl: self.acl.0, stat: self.stat }
    }

    pub(super) fn set_data(&mut self, data: Buffer) {
        self.data = data;
    }

    pub(super) fn set_acl(&mut self, acl: AclId) {
        self.acl = acl;
    }

    pub(super) fn stat_mut(&mut self) -> &mut StatPersisted {
        &mut self.stat
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).expect("a znode has fewer than 2³¹ children and bytes")
}
