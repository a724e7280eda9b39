//! Who wants to be told of which change, once (zookeeper.md §8).
//!
//! Two tables, of data and of child watches. A watch belongs to a connection: it dies with it, and a client that comes back
//! registers anew. Firing uses a watch up.
//!
//! Persistent and recursive watches (`addWatch`) are absent: such requests are answered as by a server that lacks them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::op::EventType;
use machine::EndId;

use crate::tree::{Change, TreeEvent};

/// Which table a watch is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WatchKind {
    /// Set by getData and exists: creation, deletion and data of a znode.
    Data,
    /// Set by getChildren: deletion of a znode and changes of its list of children.
    Child,
}

/// An event for one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fired {
    /// The connection.
    pub end: EndId,
    /// What it is told.
    pub event: EventType,
    /// Of which znode.
    pub path: Arc<str>,
}

/// All watches of a server.
#[derive(Clone, Debug, Default)]
pub struct WatchTable {
    data: Table,
    child: Table,
}

#[derive(Clone, Debug, Default)]
struct Table {
    by_path: BTreeMap<Arc<str>, BTreeSet<EndId>>,
    by_end: BTreeMap<EndId, BTreeSet<Arc<str>>>,
}

impl WatchTable {
    /// Registers a watch; twice is once. The path need not name a znode; `""` and `/` are two paths, as clients see them.
    ///
    /// A connection must not be added after [`WatchTable::drop_connection`]: nothing would remove its watches (ZOOKEEPER-1382).
    pub fn add(&mut self, kind: WatchKind, path: &str, end: EndId) {
        self.table(kind).add(path, end);
    }

    /// Returns who is to be told of a change, at most once per connection, and uses their watches up (§8.2, §8.3).
    ///
    /// Connections come in the order of their ids; between connections no order is promised.
    pub fn trigger(&mut self, event: &TreeEvent) -> Vec<Fired> {
        let path = &event.path;
        let fire = |ends: BTreeSet<EndId>, event: EventType| {
            ends.into_iter().map(move |end| Fired { end, event, path: Arc::clone(path) })
        };
        match event.change {
            Change::Created => fire(self.data.take(path), EventType::NodeCreated).collect(),
            Change::DataChanged => fire(self.data.take(path), EventType::NodeDataChanged).collect(),
            Change::ChildrenChanged => fire(self.child.take(path), EventType::NodeChildrenChanged).collect(),
            Change::Deleted => {
                let data = self.data.take(path);
                // A suppressed child watch is used up as well.
                let child = self.child.take(path).difference(&data).copied().collect();
                fire(data, EventType::NodeDeleted).chain(fire(child, EventType::NodeDeleted)).collect()
            }
        }
    }

    /// Forgets all watches of a connection.
    pub fn drop_connection(&mut self, end: EndId) {
        self.data.drop_connection(end);
        self.child.drop_connection(end);
    }

    /// Forgets everything: the server stops serving.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a connection has this watch.
    #[must_use]
    pub fn contains(&self, kind: WatchKind, path: &str, end: EndId) -> bool {
        let table = match kind {
            WatchKind::Data => &self.data,
            WatchKind::Child => &self.child,
        };
        table.by_path.get(path).is_some_and(|ends| ends.contains(&end))
    }

    /// All watches: in which table, of which path, of which connection.
    pub fn iter(&self) -> impl Iterator<Item = (WatchKind, &str, EndId)> {
        let tables = [(WatchKind::Data, &self.data), (WatchKind::Child, &self.child)].into_iter();
        let paths = tables.flat_map(|(kind, table)| table.by_path.iter().map(move |(path, ends)| (kind, path, ends)));
        paths.flat_map(|(kind, path, ends)| ends.iter().map(move |&end| (kind, &**path, end)))
    }

    /// Number of watches.
    #[must_use]
    pub fn len(&self) -> usize {
        let count = |table: &Table| table.by_path.values().map(BTreeSet::len).sum::<usize>();
        count(&self.data) + count(&self.child)
    }

    /// Whether nobody watches anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.by_path.is_empty() && self.child.by_path.is_empty()
    }

    /// Panics if the two directions of a table disagree.
    pub fn check_invariants(&self) {
        for table in [&self.data, &self.child] {
            let mut by_end: BTreeMap<EndId, BTreeSet<Arc<str>>> = BTreeMap::new();
            for (path, ends) in &table.by_path {
                assert!(!ends.is_empty(), "an entry without watchers is kept for {path}");
                for &end in ends {
                    by_end.entry(end).or_default().insert(Arc::clone(path));
                }
            }
            assert_eq!(by_end, table.by_end, "the two directions of a watch table disagree");
        }
    }

    fn table(&mut self, kind: WatchKind) -> &mut Table {
        match kind {
            WatchKind::Data => &mut self.data,
            WatchKind::Child => &mut self.child,
        }
    }
}

impl Table {
    fn add(&mut self, path: &str, end: EndId) {
        let path: Arc<str> = match self.by_path.get_key_value(path) {
            Some((known, _)) => Arc::clone(known),
            None => path.into(),
        };
        self.by_path.entry(Arc::clone(&path)).or_default().insert(end);
        self.by_end.entry(end).or_default().insert(path);
    }

    fn take(&mut self, path: &Arc<str>) -> BTreeSet<EndId> {
        let ends = self.by_path.remove(path).unwrap_or_default();
        for end in &ends {
            let paths = self.by_end.get_mut(end).expect("a watch is in both directions");
            paths.remove(path);
            if paths.is_empty() {
                self.by_end.remove(end);
            }
        }
        ends
    }

    fn drop_connection(&mut self, end: EndId) {
        for path in self.by_end.remove(&end).unwrap_or_default() {
            let ends = self.by_path.get_mut(&path).expect("a watch is in both directions");
            ends.remove(&end);
            if ends.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: EndId = EndId(1);
    const B: EndId = EndId(2);

    #[track_caller]
    fn check(watches: &mut WatchTable, change: Change, path: &str, expected: &[(EndId, EventType)]) {
        let fired = watches.trigger(&TreeEvent { change, path: path.into() });
        let told: Vec<_> = fired.iter().map(|fired| (fired.end, fired.event)).collect();
        assert_eq!(told, expected);
        assert!(fired.iter().all(|fired| &*fired.path == path));
        watches.check_invariants();
    }

    #[test]
    fn a_watch_fires_once() {
        let mut watches = WatchTable::default();
        watches.add(WatchKind::Data, "/a", A);
        watches.add(WatchKind::Data, "/a", A);
        assert_eq!(watches.len(), 1);
        check(&mut watches, Change::DataChanged, "/a", &[(A, EventType::NodeDataChanged)]);
        check(&mut watches, Change::DataChanged, "/a", &[]);
        assert!(watches.is_empty());
    }

    #[test]
    fn deletion_tells_a_connection_once_and_uses_up_both_watches() {
        let mut watches = WatchTable::default();
        watches.add(WatchKind::Data, "/a", B);
        watches.add(WatchKind::Child, "/a", B);
        watches.add(WatchKind::Child, "/a", A);
        check(&mut watches, Change::Deleted, "/a", &[(B, EventType::NodeDeleted), (A, EventType::NodeDeleted)]);
        assert!(watches.is_empty());
    }

    #[test]
    fn data_watches_do_not_see_children_nor_child_watches_data() {
        let mut watches = WatchTable::default();
        watches.add(WatchKind::Data, "/a", A);
        watches.add(WatchKind::Child, "/a", B);
        check(&mut watches, Change::Created, "/b", &[]);
        check(&mut watches, Change::ChildrenChanged, "/a", &[(B, EventType::NodeChildrenChanged)]);
        check(&mut watches, Change::Created, "/a", &[(A, EventType::NodeCreated)]);
    }

    #[test]
    fn watches_die_with_their_connection() {
        let mut watches = WatchTable::default();
        watches.add(WatchKind::Data, "/a", A);
        watches.add(WatchKind::Child, "/b", A);
        watches.add(WatchKind::Child, "/b", B);
        watches.drop_connection(A);
        watches.check_invariants();
        assert!(!watches.contains(WatchKind::Data, "/a", A));
        check(&mut watches, Change::ChildrenChanged, "/b", &[(B, EventType::NodeChildrenChanged)]);
    }
}
