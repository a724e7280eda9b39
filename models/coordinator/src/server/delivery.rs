//! Watch events on their way to clients (zookeeper.md §8.3–8.5).

use jute::Zxid;
use jute::client::{ServerFrame, SetWatches2Request, WatcherEvent};
use jute::data::perms;
use jute::op::{AddWatchMode, EventType, KeeperState};
use machine::{EndId, Io};

use super::{Server, acl};
use crate::config::Release;
use crate::defect::Defect;
use crate::tree::{DataTree, TreeEvent};
use crate::watch::{Fired, WatchKind};
use crate::{Coordinator, CoordinatorMark, Fact};

impl Server {
    /// Tells whoever watches what a txn changed, before any reply that shows the change.
    pub(super) fn fire_watches(&mut self, events: &[TreeEvent], zxid: Zxid, io: &mut Io<'_, Coordinator>) {
        for event in events {
            for fired in self.watches.trigger(event) {
                if self.may_see(&fired) {
                    // Before 3.9 nobody was told of the txn.
                    let zxid = Some(zxid).filter(|_| self.config.release != Release::V3_8_0);
                    self.send_event(fired.end, fired.event, &fired.path, zxid, io);
                }
            }
        }
    }

    /// Who may not read a znode is not told of it either (CVE-2024-23944, since 3.8.4).
    fn may_see(&self, fired: &Fired) -> bool {
        let ids = self.connections.ids(fired.end);
        self.config.release == Release::V3_8_0 || acl::check(&fired.acl, perms::READ, &ids, &self.config).is_ok()
    }

    fn send_event(
        &mut self,
        end: EndId,
        event: EventType,
        path: &str,
        zxid: Option<Zxid>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let Some(connection) = self.connections.get(end) else {
            let leaks = self.config.defects.has(Defect::WatchOnDeadConnection);
            assert!(leaks, "watches go with their connection");
            return;
        };
        io.state(Fact::WatchFired {
            session: connection.session,
            event: event.name(),
            path: path.to_owned(),
            zxid: zxid.unwrap_or_default(),
        });
        let event = WatcherEvent { event, state: KeeperState::SyncConnected, path: path.to_owned() };
        self.send(end, ServerFrame::Notification { zxid, event }, io);
    }

    /// setWatches and setWatches2 (§8.5): what happened since the client looked last is told now, the rest is watched again. Such events have no
    /// zxid.
    pub(super) fn set_watches(
        &mut self,
        end: EndId,
        request: &SetWatches2Request,
        tree: &DataTree,
        io: &mut Io<'_, Coordinator>,
    ) {
        if !self.may_watch(end) {
            return; // Neither told nor watched: nothing would remove the watch (ZOOKEEPER-1382).
        }
        let catches_up = !self.config.defects.has(Defect::NoCatchUp);
        let old_rules = self.config.defects.has(Defect::SetWatchesOldRules);
        let seen = request.relative_zxid;
        let missed_since = |zxid: Zxid| catches_up && zxid > seen;
        for path in &request.data_watches {
            let missed = match tree.node(path) {
                None => Some(EventType::NodeDeleted),
                Some(node) if old_rules && missed_since(node.stat().czxid) => Some(EventType::NodeCreated),
                Some(node) => missed_since(node.stat().mzxid).then_some(EventType::NodeDataChanged),
            };
            self.catch_up_or_watch(end, WatchKind::Data, path, missed, io);
        }
        for path in &request.exist_watches {
            // Whatever the zxids: the client saw no node.
            let missed = tree.node(path).map(|node| {
                let is_changed = old_rules && missed_since(node.stat().mzxid);
                if is_changed { EventType::NodeDataChanged } else { EventType::NodeCreated }
            });
            self.catch_up_or_watch(end, WatchKind::Data, path, missed, io);
        }
        for path in &request.child_watches {
            let missed = match tree.node(path) {
                None => Some(EventType::NodeDeleted),
                Some(node) => missed_since(node.stat().pzxid).then_some(EventType::NodeChildrenChanged),
            };
            self.catch_up_or_watch(end, WatchKind::Child, path, missed, io);
        }
        // What these missed is lost.
        for path in &request.persistent_watches {
            self.watches.add_persistent(path, end, AddWatchMode::Persistent);
        }
        for path in &request.persistent_recursive_watches {
            self.watches.add_persistent(path, end, AddWatchMode::PersistentRecursive);
        }
    }

    /// Not for a connection that is gone: nothing would remove the watch (ZOOKEEPER-1382).
    pub(super) fn may_watch(&self, end: EndId) -> bool {
        self.connections.contains(end) || self.config.defects.has(Defect::WatchOnDeadConnection)
    }

    fn catch_up_or_watch(
        &mut self,
        end: EndId,
        kind: WatchKind,
        path: &str,
        missed: Option<EventType>,
        io: &mut Io<'_, Coordinator>,
    ) {
        if let Some(event) = missed {
            io.reach(CoordinatorMark::WatchCaughtUp);
            self.send_event(end, event, path, None, io);
        } else {
            self.watches.add(kind, path, end);
        }
    }
}
