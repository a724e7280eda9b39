//! Who wants to hear of changes.

use std::collections::BTreeSet;

use jute::op::EventType;
use zkclient::WatchedEvent;

/// A registered interest. Alone it sets no watch: the *next* read of its path does (§2.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ZnodeHandler {
    /// `ZNodeChangeHandler`: creation, deletion, data. Set by [`Exists`](super::ZkRequest::Exists) and
    /// [`GetData`](super::ZkRequest::GetData).
    Data(String),
    /// `ZNodeChildChangeHandler`: children. Set by [`GetChildren`](super::ZkRequest::GetChildren) that ask for it.
    Children(String),
}

/// The handlers that are registered. They outlive the session; its watches do not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handlers {
    data: BTreeSet<String>,
    children: BTreeSet<String>,
}

impl Handlers {
    pub(crate) fn register(&mut self, handler: ZnodeHandler) {
        match handler {
            ZnodeHandler::Data(path) => self.data.insert(path),
            ZnodeHandler::Children(path) => self.children.insert(path),
        };
    }

    pub(crate) fn unregister(&mut self, handler: &ZnodeHandler) {
        match handler {
            ZnodeHandler::Data(path) => self.data.remove(path),
            ZnodeHandler::Children(path) => self.children.remove(path),
        };
    }

    pub(crate) fn wants_data(&self, path: &str) -> bool {
        self.data.contains(path)
    }

    pub(crate) fn wants_children(&self, path: &str) -> bool {
        self.children.contains(path)
    }

    /// Whether an event has a handler: what a data watch tells has a data handler, what a child watch tells a child handler.
    /// A deletion is of the first kind only, even if a child watch saw it.
    pub(crate) fn wants(&self, event: &WatchedEvent) -> bool {
        match event.event {
            EventType::NodeCreated | EventType::NodeDeleted | EventType::NodeDataChanged => {
                self.wants_data(&event.path)
            }
            EventType::NodeChildrenChanged => self.wants_children(&event.path),
            EventType::None
            | EventType::DataWatchRemoved
            | EventType::ChildWatchRemoved
            | EventType::PersistentWatchRemoved => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len() + self.children.len()
    }
}
