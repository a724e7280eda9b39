//! Who wants to be told of which change (zookeeper.md §8).
//!
//! Two tables, of data and of child watches. A watch belongs to a connection: it dies with it, and a client that comes back
//! registers anew. A connection may watch one path in up to three modes at once: once, until it says otherwise, and with all that is
//! below. Firing uses the first up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::data::Acl;
use jute::op::{AddWatchMode, EventType, WatcherType};
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

/// How long and how deep a watch looks (§8.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WatchMode {
    /// At one path, once.
    Standard,
    /// At one path, until it is removed.
    Persistent,
    /// At a path and all that is below, until it is removed.
    PersistentRecursive,
}

impl From<AddWatchMode> for WatchMode {
    fn from(mode: AddWatchMode) -> Self {
        match mode {
            AddWatchMode::Persistent => Self::Persistent,
            AddWatchMode::PersistentRecursive => Self::PersistentRecursive,
        }
    }
}

/// The modes in which one connection watches one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Modes(u8);

impl Modes {
    const fn bit(mode: WatchMode) -> u8 {
        match mode {
            WatchMode::Standard => 1,
            WatchMode::Persistent => 2,
            WatchMode::PersistentRecursive => 4,
        }
    }

    const fn has(self, mode: WatchMode) -> bool {
        self.0 & Self::bit(mode) != 0
    }

    fn set(&mut self, mode: WatchMode) {
        self.0 |= Self::bit(mode);
    }

    fn clear(&mut self, mode: WatchMode) {
        self.0 &= !Self::bit(mode);
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }
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
    /// Who may read that znode.
    pub acl: Arc<[Acl]>,
}

/// All watches of a server.
#[derive(Clone, Debug, Default)]
pub struct WatchTable {
    data: Table,
    child: Table,
    /// ZOOKEEPER-4466, the releases before 3.9: a path is watched by a connection in one mode per table, the last one asked for, and
    /// a recursive watch is in both tables.
    one_mode: bool,
}

#[derive(Clone, Debug, Default)]
struct Table {
    by_path: BTreeMap<Arc<str>, BTreeMap<EndId, Modes>>,
    by_end: BTreeMap<EndId, BTreeSet<Arc<str>>>,
    /// Number of recursive watches: without any, nobody looks at ancestors.
    recursive: usize,
}

impl WatchTable {
    /// An empty table; `one_mode` as the releases before 3.9 have it.
    #[must_use]
    pub fn new(one_mode: bool) -> Self {
        Self { one_mode, ..Self::default() }
    }

    /// Registers a watch that fires once; twice is once. The path need not name a znode; `""` and `/` are two paths, as clients see
    /// them.
    ///
    /// A connection must not be added after [`WatchTable::drop_connection`]: nothing would remove its watches (ZOOKEEPER-1382).
    pub fn add(&mut self, kind: WatchKind, path: &str, end: EndId) {
        let one_mode = self.one_mode;
        self.table(kind).add(path, end, WatchMode::Standard, one_mode);
    }

    /// Registers a watch that stays (`addWatch`).
    pub fn add_persistent(&mut self, path: &str, end: EndId, mode: AddWatchMode) {
        let one_mode = self.one_mode;
        self.data.add(path, end, mode.into(), one_mode);
        // Recursive watchers are never told of children.
        if mode == AddWatchMode::Persistent || one_mode {
            self.child.add(path, end, mode.into(), one_mode);
        }
    }

    /// Returns who is to be told of a change, at most once per connection, and uses watches up that fire once (§8.2, §8.3).
    ///
    /// Connections come in the order of their ids; between connections no order is promised.
    pub fn trigger(&mut self, event: &TreeEvent) -> Vec<Fired> {
        let path = &event.path;
        let fire = |ends: BTreeSet<EndId>, name: EventType| {
            ends.into_iter().map(move |end| Fired {
                end,
                event: name,
                path: Arc::clone(path),
                acl: Arc::clone(&event.acl),
            })
        };
        match event.change {
            Change::Created => fire(self.data.take(path, true), EventType::NodeCreated).collect(),
            Change::DataChanged => fire(self.data.take(path, true), EventType::NodeDataChanged).collect(),
            Change::ChildrenChanged => fire(self.child.take(path, false), EventType::NodeChildrenChanged).collect(),
            Change::Deleted => {
                let data = self.data.take(path, true);
                // A suppressed child watch is used up as well.
                let child = self.child.take(path, true).difference(&data).copied().collect();
                fire(data, EventType::NodeDeleted).chain(fire(child, EventType::NodeDeleted)).collect()
            }
        }
    }

    /// Whose watches there are.
    pub fn ends(&self) -> impl Iterator<Item = EndId> + '_ {
        self.data.by_end.keys().chain(self.child.by_end.keys()).copied()
    }

    /// Whether a connection has such a watch of a path (checkWatches). In releases before 3.9 any mode answers for children and data,
    /// and a recursive watch for every path below it that has none of its own.
    #[must_use]
    pub fn has(&self, path: &str, end: EndId, watcher_type: WatcherType) -> bool {
        if self.one_mode {
            return match watcher_type {
                WatcherType::Children => self.child.modes(path, end).is_some(),
                WatcherType::Data => self.data.modes(path, end).is_some(),
                WatcherType::Any => self.child.modes(path, end).is_some() || self.data.modes(path, end).is_some(),
                WatcherType::Persistent | WatcherType::PersistentRecursive => false,
            };
        }
        let has = |table: &Table, mode| table.modes(path, end).is_some_and(|modes| modes.has(mode));
        match watcher_type {
            WatcherType::Children => has(&self.child, WatchMode::Standard),
            WatcherType::Data => has(&self.data, WatchMode::Standard),
            WatcherType::Persistent => has(&self.data, WatchMode::Persistent),
            WatcherType::PersistentRecursive => has(&self.data, WatchMode::PersistentRecursive),
            WatcherType::Any => self.child.modes(path, end).is_some() || self.data.modes(path, end).is_some(),
        }
    }

    /// Removes such watches of a connection from a path (removeWatches). Returns whether there were any.
    pub fn remove(&mut self, path: &str, end: EndId, watcher_type: WatcherType) -> bool {
        let all = [WatchMode::Standard, WatchMode::Persistent, WatchMode::PersistentRecursive];
        if self.one_mode {
            return match watcher_type {
                WatcherType::Children => self.child.remove(path, end, &all),
                WatcherType::Data => self.data.remove(path, end, &all),
                WatcherType::Any => self.child.remove(path, end, &all) | self.data.remove(path, end, &all),
                WatcherType::Persistent | WatcherType::PersistentRecursive => false,
            };
        }
        match watcher_type {
            WatcherType::Children => self.child.remove(path, end, &[WatchMode::Standard]),
            WatcherType::Data => self.data.remove(path, end, &[WatchMode::Standard]),
            WatcherType::Persistent => {
                let modes = [WatchMode::Persistent];
                self.child.remove(path, end, &modes) | self.data.remove(path, end, &modes)
            }
            WatcherType::PersistentRecursive => self.data.remove(path, end, &[WatchMode::PersistentRecursive]),
            WatcherType::Any => self.child.remove(path, end, &all) | self.data.remove(path, end, &all),
        }
    }

    /// Forgets all watches of a connection.
    pub fn drop_connection(&mut self, end: EndId) {
        self.data.drop_connection(end);
        self.child.drop_connection(end);
    }

    /// Forgets everything: the server stops serving.
    pub fn clear(&mut self) {
        *self = Self::new(self.one_mode);
    }

    /// Whether a connection has a watch of this path, in whatever mode.
    #[must_use]
    pub fn contains(&self, kind: WatchKind, path: &str, end: EndId) -> bool {
        let table = match kind {
            WatchKind::Data => &self.data,
            WatchKind::Child => &self.child,
        };
        table.modes(path, end).is_some()
    }

    /// All watches: in which table, of which path, of which connection. A connection that watches a path in several modes comes once.
    pub fn iter(&self) -> impl Iterator<Item = (WatchKind, &str, EndId)> {
        let tables = [(WatchKind::Data, &self.data), (WatchKind::Child, &self.child)].into_iter();
        let paths = tables.flat_map(|(kind, table)| table.by_path.iter().map(move |(path, ends)| (kind, path, ends)));
        paths.flat_map(|(kind, path, ends)| ends.keys().map(move |&end| (kind, &**path, end)))
    }

    /// Number of watches.
    #[must_use]
    pub fn len(&self) -> usize {
        let count = |table: &Table| table.by_path.values().map(BTreeMap::len).sum::<usize>();
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
            let mut recursive = 0;
            for (path, ends) in &table.by_path {
                assert!(!ends.is_empty(), "an entry without watchers is kept for {path}");
                for (&end, modes) in ends {
                    assert!(!modes.is_empty(), "{end} watches {path} in no mode");
                    recursive += usize::from(modes.has(WatchMode::PersistentRecursive));
                    by_end.entry(end).or_default().insert(Arc::clone(path));
                }
            }
            assert_eq!(by_end, table.by_end, "the two directions of a watch table disagree");
            assert_eq!(recursive, table.recursive, "recursive watches are miscounted");
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
    fn modes(&self, path: &str, end: EndId) -> Option<Modes> {
        self.by_path.get(path)?.get(&end).copied()
    }

    fn add(&mut self, path: &str, end: EndId, mode: WatchMode, one_mode: bool) {
        let path: Arc<str> = match self.by_path.get_key_value(path) {
            Some((known, _)) => Arc::clone(known),
            None => path.into(),
        };
        let modes = self.by_path.entry(Arc::clone(&path)).or_default().entry(end).or_default();
        let was_recursive = modes.has(WatchMode::PersistentRecursive);
        if one_mode {
            *modes = Modes::default();
        }
        modes.set(mode);
        self.recursive += usize::from(modes.has(WatchMode::PersistentRecursive));
        self.recursive -= usize::from(was_recursive);
        self.by_end.entry(end).or_default().insert(path);
    }

    /// Who is told of a change at a path: whoever watches it, and, if the change is one that recursive watchers see, whoever watches it
    /// from above.
    fn take(&mut self, path: &Arc<str>, for_recursive: bool) -> BTreeSet<EndId> {
        let mut told = BTreeSet::new();
        let mut used_up = Vec::new();
        for (&end, modes) in self.by_path.get(path).into_iter().flatten() {
            if modes.has(WatchMode::Standard) {
                used_up.push(end);
            }
            let tells = modes.has(WatchMode::Standard) || modes.has(WatchMode::Persistent);
            if tells || for_recursive && modes.has(WatchMode::PersistentRecursive) {
                told.insert(end);
            }
        }
        for end in used_up {
            self.remove(path, end, &[WatchMode::Standard]);
        }
        if for_recursive && self.recursive > 0 {
            for ancestor in ancestors(path) {
                let ends = self.by_path.get(ancestor).into_iter().flatten();
                told.extend(ends.filter(|(_, modes)| modes.has(WatchMode::PersistentRecursive)).map(|(&end, _)| end));
            }
        }
        told
    }

    fn remove(&mut self, path: &str, end: EndId, which: &[WatchMode]) -> bool {
        let Some(modes) = self.by_path.get_mut(path).and_then(|ends| ends.get_mut(&end)) else { return false };
        let before = *modes;
        for &mode in which {
            modes.clear(mode);
        }
        let after = *modes;
        let recursive = |modes: Modes| usize::from(modes.has(WatchMode::PersistentRecursive));
        self.recursive -= recursive(before) - recursive(after);
        if after.is_empty() {
            let ends = self.by_path.get_mut(path).expect("it was just found");
            ends.remove(&end);
            if ends.is_empty() {
                self.by_path.remove(path);
            }
            let paths = self.by_end.get_mut(&end).expect("a watch is in both directions");
            paths.remove(path);
            if paths.is_empty() {
                self.by_end.remove(&end);
            }
        }
        before != after
    }

    fn drop_connection(&mut self, end: EndId) {
        for path in self.by_end.remove(&end).unwrap_or_default() {
            let ends = self.by_path.get_mut(&path).expect("a watch is in both directions");
            let modes = ends.remove(&end).expect("a watch is in both directions");
            self.recursive -= usize::from(modes.has(WatchMode::PersistentRecursive));
            if ends.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }
}

/// The paths above a path, the nearest first, `/` last.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let above = |path: &str| path.rfind('/').filter(|_| path.len() > 1);
    std::iter::successors(above(path).map(|slash| &path[..slash]), move |path| above(path).map(|slash| &path[..slash]))
        .map(|path| if path.is_empty() { "/" } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: EndId = EndId(1);
    const B: EndId = EndId(2);

    #[track_caller]
    fn check(watches: &mut WatchTable, change: Change, path: &str, expected: &[(EndId, EventType)]) {
        let fired = watches.trigger(&TreeEvent { change, path: path.into(), acl: Acl::open().into() });
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
        watches.add_persistent("/c", A, AddWatchMode::PersistentRecursive);
        watches.drop_connection(A);
        watches.check_invariants();
        assert!(!watches.contains(WatchKind::Data, "/a", A));
        check(&mut watches, Change::ChildrenChanged, "/b", &[(B, EventType::NodeChildrenChanged)]);
    }

    #[test]
    fn persistent_watch_stays_and_sees_data_and_children() {
        let mut watches = WatchTable::default();
        watches.add_persistent("/a", A, AddWatchMode::Persistent);
        watches.add(WatchKind::Data, "/a", A);
        for _ in 0..2 {
            check(&mut watches, Change::DataChanged, "/a", &[(A, EventType::NodeDataChanged)]);
            check(&mut watches, Change::ChildrenChanged, "/a", &[(A, EventType::NodeChildrenChanged)]);
        }
        check(&mut watches, Change::Created, "/a/b", &[]);
        assert!(!watches.has("/a", A, WatcherType::Data), "the one that fires once is used up");
        assert!(watches.has("/a", A, WatcherType::Persistent));
        assert!(watches.remove("/a", A, WatcherType::Any));
        assert!(watches.is_empty());
    }

    #[test]
    fn recursive_watch_sees_all_below_but_no_lists_of_children() {
        let mut watches = WatchTable::default();
        watches.add_persistent("/", A, AddWatchMode::PersistentRecursive);
        watches.add_persistent("/a", B, AddWatchMode::PersistentRecursive);
        watches.add_persistent("/a/b", A, AddWatchMode::PersistentRecursive);
        let both = |event| [(A, event), (B, event)];
        check(&mut watches, Change::Created, "/a/b", &both(EventType::NodeCreated));
        check(&mut watches, Change::ChildrenChanged, "/a", &[]);
        check(&mut watches, Change::DataChanged, "/ab", &[(A, EventType::NodeDataChanged)]);
        check(&mut watches, Change::Deleted, "/a/b", &both(EventType::NodeDeleted));
        assert!(!watches.has("/a", B, WatcherType::Persistent));
        assert!(watches.remove("/a", B, WatcherType::PersistentRecursive));
        assert!(!watches.remove("/a", B, WatcherType::PersistentRecursive));
        check(&mut watches, Change::Created, "/a/c", &[(A, EventType::NodeCreated)]);
    }

    #[test]
    fn before_3_9_the_last_mode_wins() {
        let mut watches = WatchTable::new(true);
        watches.add(WatchKind::Child, "/a", A);
        watches.add_persistent("/a", A, AddWatchMode::PersistentRecursive);
        check(&mut watches, Change::ChildrenChanged, "/a", &[]);
        assert!(watches.has("/a", A, WatcherType::Children));
        assert!(!watches.has("/a", A, WatcherType::PersistentRecursive));
        watches.add(WatchKind::Data, "/a", A);
        check(&mut watches, Change::Created, "/a/b", &[]);
        check(&mut watches, Change::DataChanged, "/a", &[(A, EventType::NodeDataChanged)]);
        assert!(watches.remove("/a", A, WatcherType::Children));
        assert!(watches.is_empty());
    }
}
