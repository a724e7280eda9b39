//! The watches a client holds (zookeeper.md §8.6).

use std::collections::BTreeSet;
use std::sync::Arc;

use jute::Zxid;
use jute::client::SetWatchesRequest;
use jute::op::EventType;

/// Bytes of paths after which a setWatches batch is full: `SET_WATCHES_MAX_LENGTH`. The path that fills it may exceed it.
const BATCH_BYTES: usize = 128 * 1024;

/// What a watch looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchKind {
    /// A znode that was there: its data, and its end.
    Data,
    /// A path where nothing was: its creation.
    Exist,
    /// A znode's children, and its end.
    Child,
}

impl WatchKind {
    /// The kind's name in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Exist => "exist",
            Self::Child => "child",
        }
    }
}

/// The kinds of watch one event consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchKinds {
    /// A data watch.
    pub data: bool,
    /// An exist watch.
    pub exist: bool,
    /// A child watch.
    pub child: bool,
}

impl WatchKinds {
    /// Whether no watch was there.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.data && !self.exist && !self.child
    }

    /// The kinds' names in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.data, self.exist, self.child) {
            (false, false, false) => "none",
            (true, false, false) => "data",
            (false, true, false) => "exist",
            (false, false, true) => "child",
            (true, true, false) => "data+exist",
            (true, false, true) => "data+child",
            (false, true, true) => "exist+child",
            (true, true, true) => "data+exist+child",
        }
    }
}

/// The three maps of one-shot watches. There is one watcher, so a path and kind watched twice is one watch, as with one
/// `Watcher` object in Java.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watches {
    data: BTreeSet<Arc<str>>,
    exist: BTreeSet<Arc<str>>,
    child: BTreeSet<Arc<str>>,
}

impl Watches {
    pub(crate) fn len(&self) -> usize {
        self.data.len() + self.exist.len() + self.child.len()
    }

    pub(crate) fn contains(&self, kind: WatchKind, path: &str) -> bool {
        match kind {
            WatchKind::Data => self.data.contains(path),
            WatchKind::Exist => self.exist.contains(path),
            WatchKind::Child => self.child.contains(path),
        }
    }

    pub(crate) fn register(&mut self, kind: WatchKind, path: Arc<str>) {
        match kind {
            WatchKind::Data => self.data.insert(path),
            WatchKind::Exist => self.exist.insert(path),
            WatchKind::Child => self.child.insert(path),
        };
    }

    /// Takes the watches that an event is for.
    pub(crate) fn consume(&mut self, event: EventType, path: &str) -> WatchKinds {
        let (data, exist, child) = match event {
            EventType::NodeCreated | EventType::NodeDataChanged => (true, true, false),
            // An exist watch "shouldn't be needed, but just in case", says the Java client.
            EventType::NodeDeleted => (true, true, true),
            EventType::NodeChildrenChanged => (false, false, true),
            EventType::None
            | EventType::DataWatchRemoved
            | EventType::ChildWatchRemoved
            | EventType::PersistentWatchRemoved => (false, false, false),
        };
        WatchKinds {
            data: data && self.data.remove(path),
            exist: exist && self.exist.remove(path),
            child: child && self.child.remove(path),
        }
    }

    /// Everything that is watched, in batches for setWatches: data, exist, child, each in the order of its paths. Java's
    /// order is that of a hash map.
    pub(crate) fn batches(&self, relative_zxid: Zxid) -> Vec<SetWatchesRequest> {
        let data = self.data.iter().map(|path| (WatchKind::Data, path));
        let exist = self.exist.iter().map(|path| (WatchKind::Exist, path));
        let child = self.child.iter().map(|path| (WatchKind::Child, path));
        let mut batches = Vec::new();
        let mut bytes = BATCH_BYTES;
        for (kind, path) in data.chain(exist).chain(child) {
            if bytes >= BATCH_BYTES {
                bytes = 0;
                batches.push(SetWatchesRequest {
                    relative_zxid,
                    data_watches: Vec::new(),
                    exist_watches: Vec::new(),
                    child_watches: Vec::new(),
                });
            }
            let batch = batches.last_mut().expect("the first path starts a batch");
            let list = match kind {
                WatchKind::Data => &mut batch.data_watches,
                WatchKind::Exist => &mut batch.exist_watches,
                WatchKind::Child => &mut batch.child_watches,
            };
            list.push(path.as_ref().to_owned());
            bytes += path.len();
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything_on(path: &str) -> Watches {
        let mut watches = Watches::default();
        for kind in [WatchKind::Data, WatchKind::Exist, WatchKind::Child] {
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
            let mut watches = everything_on("/a");
            assert_eq!(watches.consume(event, "/b").name(), "none", "another path keeps its watches");
            assert_eq!(watches.consume(event, "/a").name(), kinds);
            assert_eq!(watches.consume(event, "/a").name(), "none", "a watch is delivered once");
        }
    }

    #[test]
    fn batches_hold_128_kib_of_paths_and_the_path_that_fills_them() {
        let mut watches = Watches::default();
        for n in 0..300 {
            watches.register(WatchKind::Data, Arc::from(format!("/{n:01023}")));
        }
        watches.register(WatchKind::Child, Arc::from("/c"));
        let batches = watches.batches(Zxid::ZERO);
        let sizes: Vec<_> = batches.iter().map(|batch| batch.data_watches.len()).collect();
        assert_eq!(sizes, [128, 128, 44]);
        assert_eq!(batches[2].child_watches, ["/c"]);
    }
}
