//! The access control lists in use, each once, by number (zookeeper.md §9.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use jute::data::Acl;

/// The number of an access control list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AclId(pub i64);

impl AclId {
    /// The built-in open list, which is in no map: of the znodes a server is born with.
    pub const OPEN: AclId = AclId(-1);
}

/// Lists by number and numbers by list, with how many znodes use each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclCache {
    lists: BTreeMap<AclId, (Arc<[Acl]>, u64)>,
    numbers: BTreeMap<Arc<[Acl]>, AclId>,
    last: i64,
    /// The built-in open list.
    open: Arc<[Acl]>,
    /// What stands for a list that is not known.
    unknown: Arc<[Acl]>,
}

impl Default for AclCache {
    fn default() -> Self {
        Self {
            lists: BTreeMap::new(),
            numbers: BTreeMap::new(),
            last: 0,
            open: Acl::open().into(),
            unknown: Arc::new([]),
        }
    }
}

impl AclCache {
    /// Returns the list with this number; empty if it is not known (zookeeper.md §13 ZB-21: only until replay repaired it).
    #[must_use]
    pub fn list(&self, id: AclId) -> &Arc<[Acl]> {
        if id == AclId::OPEN { &self.open } else { self.lists.get(&id).map_or(&self.unknown, |(acl, _)| acl) }
    }

    /// Returns the lists in use by number, as snapshots hold them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (AclId, &[Acl])> {
        self.lists.iter().map(|(&id, (acl, _))| (id, acl.as_ref()))
    }

    /// Returns the number of a list that one more znode uses.
    pub(super) fn acquire(&mut self, acl: &[Acl]) -> AclId {
        let id = match self.numbers.get(acl) {
            Some(&id) => id,
            None => {
                self.last += 1;
                let id = AclId(self.last);
                let acl: Arc<[Acl]> = acl.into();
                self.lists.insert(id, (Arc::clone(&acl), 0));
                self.numbers.insert(acl, id);
                id
            }
        };
        self.add_usage(id);
        id
    }

    /// Takes over a list from a snapshot.
    pub(super) fn restore(&mut self, id: AclId, acl: Vec<Acl>) {
        self.last = self.last.max(id.0);
        let acl: Arc<[Acl]> = acl.into();
        self.numbers.insert(Arc::clone(&acl), id);
        self.lists.insert(id, (acl, 0));
    }

    /// Counts one more znode with this list. A number which is not known is never given to another list either
    /// (ZOOKEEPER-4846).
    pub(super) fn add_usage(&mut self, id: AclId) {
        self.last = self.last.max(id.0);
        if let Some((_, usage)) = self.lists.get_mut(&id) {
            *usage += 1;
        }
    }

    /// Counts one znode less; a list nobody uses is forgotten, its number never reused.
    pub(super) fn release(&mut self, id: AclId) {
        let Some((_, usage)) = self.lists.get_mut(&id) else { return };
        *usage = usage.saturating_sub(1);
        if *usage == 0 {
            self.forget(id);
        }
    }

    /// Forgets what no znode of a snapshot uses.
    pub(super) fn purge_unused(&mut self) {
        let unused: Vec<AclId> = self.lists.iter().filter(|(_, (_, usage))| *usage == 0).map(|(&id, _)| id).collect();
        for id in unused {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: AclId) {
        if let Some((acl, _)) = self.lists.remove(&id)
            && self.numbers.get(&acl) == Some(&id)
        {
            self.numbers.remove(&acl);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_number_is_never_given_again() {
        let mut acls = AclCache::default();
        let open = acls.acquire(&Acl::open());
        assert_eq!(acls.acquire(&Acl::open()), open);
        acls.release(open);
        assert_eq!(**acls.list(open), Acl::open());
        acls.release(open);
        assert_eq!(**acls.list(open), []);
        assert_ne!(acls.acquire(&Acl::read_only()), open);
    }

    #[test]
    fn a_number_a_fuzzy_snapshot_lacks_goes_to_no_other_list() {
        let mut acls = AclCache::default();
        acls.restore(AclId(1), Acl::open());
        acls.add_usage(AclId(7));
        assert_eq!(acls.acquire(&Acl::read_only()), AclId(8));
    }
}
