//! The watches a client holds (zookeeper.md §8.6, Java's `ZKWatchManager`).

use std::collections::BTreeSet;
use std::sync::Arc;

use jute::Zxid;
use jute::client::{Request, SetWatches2Request, SetWatchesRequest};
use jute::op::{EventType, WatcherType};
use jute::path::parent_of;

use crate::Chroot;

/// Bytes of paths after which a setWatches batch is full: `SET_WATCHES_MAX_LENGTH`. The path that fills it may exceed it.
const BATCH_BYTES: usize = 128 * 1024;

/// What a watch looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchKind {
    /// A znode that was there: its data, and its end. Once.
    Data,
    /// A path where nothing was: its creation. Once.
    Exist,
    /// A znode's children, and its end. Once.
    Child,
    /// Everything that happens to a path and its children, until it is removed.
    Persistent,
    /// Everything that happens to a path and below it, until it is removed.
    Recursive,
}

impl WatchKind {
    /// Every kind, in the order in which they are set again.
    pub const ALL: [Self; 5] = [Self::Data, Self::Exist, Self::Child, Self::Persistent, Self::Recursive];

    /// The kind's name in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Exist => "exist",
            Self::Child => "child",
            Self::Persistent => "persistent",
            Self::Recursive => "recursive",
        }
    }

    /// Whether it ends with the first event it is for.
    #[must_use]
    pub const fn is_one_shot(self) -> bool {
        match self {
            Self::Data | Self::Exist | Self::Child => true,
            Self::Persistent | Self::Recursive => false,
        }
    }
}

/// The kinds of watch that one event was for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchKinds {
    /// A data watch, which is consumed.
    pub data: bool,
    /// An exist watch, which is consumed.
    pub exist: bool,
    /// A child watch, which is consumed.
    pub child: bool,
    /// A persistent watch, which stays.
    pub persistent: bool,
    /// A recursive watch of the path or one above it, which stays.
    pub recursive: bool,
}

/// Names of the sets of kinds: bit 0 is a data watch, bit 4 a recursive one.
const NAMES: [&str; 32] = [
    "none",
    "data",
    "exist",
    "data+exist",
    "child",
    "data+child",
    "exist+child",
    "data+exist+child",
    "persistent",
    "data+persistent",
    "exist+persistent",
    "data+exist+persistent",
    "child+persistent",
    "data+child+persistent",
    "exist+child+persistent",
    "data+exist+child+persistent",
    "recursive",
    "data+recursive",
    "exist+recursive",
    "data+exist+recursive",
    "child+recursive",
    "data+child+recursive",
    "exist+child+recursive",
    "data+exist+child+recursive",
    "persistent+recursive",
    "data+persistent+recursive",
    "exist+persistent+recursive",
    "data+exist+persistent+recursive",
    "child+persistent+recursive",
    "data+child+persistent+recursive",
    "exist+child+persistent+recursive",
    "data+exist+child+persistent+recursive",
];

impl WatchKinds {
    /// Whether no watch was there.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bits() == 0
    }

    /// The kinds' names in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        NAMES[self.bits()]
    }

    /// Whether this kind is among them.
    #[must_use]
    pub const fn has(self, kind: WatchKind) -> bool {
        match kind {
            WatchKind::Data => self.data,
            WatchKind::Exist => self.exist,
            WatchKind::Child => self.child,
            WatchKind::Persistent => self.persistent,
            WatchKind::Recursive => self.recursive,
        }
    }

    const fn bits(self) -> usize {
        self.data as usize
            | (self.exist as usize) << 1
            | (self.child as usize) << 2
            | (self.persistent as usize) << 3
            | (self.recursive as usize) << 4
    }

    fn add(&mut self, kind: WatchKind) {
        match kind {
            WatchKind::Data => self.data = true,
            WatchKind::Exist => self.exist = true,
            WatchKind::Child => self.child = true,
            WatchKind::Persistent => self.persistent = true,
            WatchKind::Recursive => self.recursive = true,
        }
    }
}

/// The five maps of watches, by the paths of the client. There is one watcher, so a path and kind watched twice is one
/// watch, as with one `Watcher` object in Java.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watches([BTreeSet<Arc<str>>; 5]);

impl Watches {
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(BTreeSet::len).sum()
    }

    pub(crate) fn contains(&self, kind: WatchKind, path: &str) -> bool {
        self.0[kind as usize].contains(path)
    }

    pub(crate) fn register(&mut self, kind: WatchKind, path: Arc<str>) {
        self.0[kind as usize].insert(path);
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The watches that an event is for; takes those that are for one event only.
    pub(crate) fn consume(&mut self, event: EventType, path: &str) -> WatchKinds {
        let mut kinds = WatchKinds::default();
        let one_shot: &[WatchKind] = match event {
            EventType::NodeCreated | EventType::NodeDataChanged => &[WatchKind::Data, WatchKind::Exist],
            // An exist watch "shouldn't be needed, but just in case", says the Java client.
            EventType::NodeDeleted => &[WatchKind::Data, WatchKind::Exist, WatchKind::Child],
            EventType::NodeChildrenChanged => &[WatchKind::Child],
            EventType::None
            | EventType::DataWatchRemoved
            | EventType::ChildWatchRemoved
            | EventType::PersistentWatchRemoved => return kinds,
        };
        for &kind in one_shot {
            if self.0[kind as usize].remove(path) {
                kinds.add(kind);
            }
        }
        kinds.persistent = self.contains(WatchKind::Persistent, path);
        // Who watches a whole subtree is told of each znode in it, and so not of children; the server tells a child watch.
        kinds.recursive = event != EventType::NodeChildrenChanged
            && std::iter::successors(Some(path), |path| parent_of(path))
                .any(|path| self.contains(WatchKind::Recursive, path));
        kinds
    }

    /// Whether there is anything that a removal of this type could be about; `containsWatcher`.
    pub(crate) fn has_any(&self, watcher_type: WatcherType, path: &str) -> bool {
        let is_there = |kind: &WatchKind| self.contains(*kind, path);
        match watcher_type {
            WatcherType::Children => {
                [WatchKind::Child, WatchKind::Persistent, WatchKind::Recursive].iter().any(is_there)
            }
            WatcherType::Data => {
                [WatchKind::Data, WatchKind::Exist, WatchKind::Persistent, WatchKind::Recursive].iter().any(is_there)
            }
            WatcherType::Any => WatchKind::ALL.iter().any(is_there),
            WatcherType::Persistent => is_there(&WatchKind::Persistent),
            WatcherType::PersistentRecursive => is_there(&WatchKind::Recursive),
        }
    }

    /// Removes watches, and says which, with the event that tells of it. Java's order is that of a hash map.
    pub(crate) fn remove(&mut self, watcher_type: WatcherType, path: &str) -> Vec<(EventType, WatchKinds)> {
        let mut removed = Vec::new();
        for (event, kinds) in [
            (EventType::ChildWatchRemoved, &[WatchKind::Child][..]),
            (EventType::DataWatchRemoved, &[WatchKind::Data, WatchKind::Exist]),
            (EventType::PersistentWatchRemoved, &[WatchKind::Persistent, WatchKind::Recursive]),
        ] {
            let mut gone = WatchKinds::default();
            for &kind in kinds {
                let is_meant = match watcher_type {
                    WatcherType::Children => kind == WatchKind::Child,
                    WatcherType::Data => kind == WatchKind::Data || kind == WatchKind::Exist,
                    WatcherType::Any => true,
                    WatcherType::Persistent => kind == WatchKind::Persistent,
                    WatcherType::PersistentRecursive => kind == WatchKind::Recursive,
                };
                if is_meant && self.0[kind as usize].remove(path) {
                    gone.add(kind);
                }
            }
            if !gone.is_empty() {
                removed.push((event, gone));
            }
        }
        removed
    }

    /// Everything that is watched, by the paths of servers, in batches for setWatches, or setWatches2 where watches that
    /// stay are among them: data, exist, child, persistent, recursive, each in the order of its paths. Java's order is that
    /// of a hash map.
    pub(crate) fn batches(&self, relative_zxid: Zxid, chroot: &Chroot) -> Vec<Request> {
        let mut batches: Vec<[Vec<String>; 5]> = Vec::new();
        let mut bytes = BATCH_BYTES;
        for kind in WatchKind::ALL {
            for path in &self.0[kind as usize] {
                if bytes >= BATCH_BYTES {
                    bytes = 0;
                    batches.push(Default::default());
                }
                let path = chroot.prepend(path).into_owned();
                bytes += path.len();
                batches.last_mut().expect("the first path starts a batch")[kind as usize].push(path);
            }
        }
        let request = |[data_watches, exist_watches, child_watches, persistent, recursive]: [Vec<String>; 5]| {
            if persistent.is_empty() && recursive.is_empty() {
                let batch = SetWatchesRequest { relative_zxid, data_watches, exist_watches, child_watches };
                return Request::SetWatches(batch);
            }
            Request::SetWatches2(SetWatches2Request {
                relative_zxid,
                data_watches,
                exist_watches,
                child_watches,
                persistent_watches: persistent,
                persistent_recursive_watches: recursive,
            })
        };
        batches.into_iter().map(request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything_on(path: &str) -> Watches {
        let mut watches = Watches::default();
        for kind in WatchKind::ALL {
            watches.register(kind, Arc::from(path));
        }
        watches
    }

    fn one_shots_on(path: &str) -> Watches {
        let mut watches = Watches::default();
        for kind in WatchKind::ALL.into_iter().filter(|kind| kind.is_one_shot()) {
            watches.register(kind, Arc::from(path));
        }
        watches
    }

    #[test]
    fn each_event_consumes_its_kinds_once() {
        for (event, kinds) in [
            (EventType::NodeCreated, "data+exist"),
            (EventType::NodeDataChanged, "data+exist"),
            (EventType::NodeDeleted, "data+exist+child"),
            (EventType::NodeChildrenChanged, "child"),
            (EventType::None, "none"),
        ] {
            let mut watches = one_shots_on("/a");
            assert_eq!(watches.consume(event, "/b").name(), "none", "another path keeps its watches");
            assert_eq!(watches.consume(event, "/a").name(), kinds);
            assert_eq!(watches.consume(event, "/a").name(), "none", "a watch is delivered once");
        }
    }

    #[test]
    fn watches_that_stay_are_told_again_and_the_recursive_one_of_everything_below_but_children() {
        for (event, path, kinds) in [
            (EventType::NodeCreated, "/a", "persistent+recursive"),
            (EventType::NodeDeleted, "/a", "persistent+recursive"),
            (EventType::NodeChildrenChanged, "/a", "persistent"),
            (EventType::NodeDataChanged, "/a/b/c", "recursive"),
            (EventType::NodeChildrenChanged, "/a/b", "none"),
            (EventType::NodeDataChanged, "/ab", "none"),
            (EventType::NodeDataChanged, "/", "none"),
        ] {
            let mut watches = Watches::default();
            watches.register(WatchKind::Persistent, Arc::from("/a"));
            watches.register(WatchKind::Recursive, Arc::from("/a"));
            for _ in 0..2 {
                assert_eq!(watches.consume(event, path).name(), kinds, "{event:?} of {path}");
            }
        }
        let mut root = Watches::default();
        root.register(WatchKind::Recursive, Arc::from("/"));
        assert_eq!(root.consume(EventType::NodeCreated, "/a/b").name(), "recursive");
    }

    #[test]
    fn removal_takes_what_its_type_says_and_tells_of_it() {
        for (watcher_type, told, left) in [
            (WatcherType::Children, vec![(EventType::ChildWatchRemoved, "child")], 4),
            (WatcherType::Data, vec![(EventType::DataWatchRemoved, "data+exist")], 3),
            (WatcherType::Persistent, vec![(EventType::PersistentWatchRemoved, "persistent")], 4),
            (WatcherType::PersistentRecursive, vec![(EventType::PersistentWatchRemoved, "recursive")], 4),
            (
                WatcherType::Any,
                vec![
                    (EventType::ChildWatchRemoved, "child"),
                    (EventType::DataWatchRemoved, "data+exist"),
                    (EventType::PersistentWatchRemoved, "persistent+recursive"),
                ],
                0,
            ),
        ] {
            let mut watches = everything_on("/a");
            assert!(watches.has_any(watcher_type, "/a") && !watches.has_any(watcher_type, "/b"));
            assert_eq!(watches.remove(watcher_type, "/b"), []);
            let removed = watches.remove(watcher_type, "/a");
            let removed: Vec<_> = removed.into_iter().map(|(event, kinds)| (event, kinds.name())).collect();
            assert_eq!(removed, told);
            assert_eq!(watches.len(), left);
        }
    }

    #[test]
    fn batches_hold_128_kib_of_paths_and_the_path_that_fills_them() {
        let mut watches = Watches::default();
        for n in 0..300 {
            watches.register(WatchKind::Data, Arc::from(format!("/{n:01023}")));
        }
        watches.register(WatchKind::Child, Arc::from("/c"));
        let batches = watches.batches(Zxid::ZERO, &Chroot::NONE);
        let batches: Vec<_> = batches.iter().map(set_watches).collect();
        let sizes: Vec<_> = batches.iter().map(|batch| batch.data_watches.len()).collect();
        assert_eq!(sizes, [128, 128, 44]);
        assert_eq!(batches[2].child_watches, ["/c"]);
    }

    fn set_watches(request: &Request) -> &SetWatchesRequest {
        if let Request::SetWatches(batch) = request { batch } else { panic!("{request:?} is another request") }
    }

    #[test]
    fn only_a_batch_with_watches_that_stay_is_a_set_watches_2() {
        let mut watches = Watches::default();
        for n in 0..129 {
            watches.register(WatchKind::Data, Arc::from(format!("/{n:01023}")));
        }
        watches.register(WatchKind::Persistent, Arc::from("/p"));
        watches.register(WatchKind::Recursive, Arc::from("/"));
        let batches = watches.batches(Zxid::ZERO, &Chroot::NONE);
        assert_eq!(set_watches(&batches[0]).data_watches.len(), 128);
        let Request::SetWatches2(second) = &batches[1] else { panic!("{:?} is another request", batches[1]) };
        assert_eq!((second.data_watches.len(), second.exist_watches.len(), second.child_watches.len()), (1, 0, 0));
        assert_eq!(second.persistent_watches, ["/p"]);
        assert_eq!(second.persistent_recursive_watches, ["/"]);
    }

    #[test]
    fn watches_are_set_again_by_the_paths_of_the_server() {
        let mut watches = Watches::default();
        watches.register(WatchKind::Data, Arc::from("/d"));
        watches.register(WatchKind::Child, Arc::from("/"));
        let batches = watches.batches(Zxid::ZERO, &Chroot::new("/app").expect("a path"));
        assert_eq!(set_watches(&batches[0]).data_watches, ["/app/d"]);
        assert_eq!(set_watches(&batches[0]).child_watches, ["/app"]);
    }
}
