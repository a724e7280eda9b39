//! A server that has no ensemble and may be read all the same (`readonlymode.enabled`; zookeeper.md §2.1, §4.2).
//!
//! While it looks for a leader it serves what it has to clients that say they can do with that. It makes local sessions, knows no
//! others, and refuses whatever would need a leader. Nothing it does reaches the log or the committed log (ZOOKEEPER-3526).

use jute::op::{ErrorCode, OpCode};
use machine::Io;

use super::request::Request;
use super::{Server, ServerEvent, Serving, Stores};
use crate::Coordinator;

impl Server {
    /// Whether it serves without an ensemble.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.serving == Some(Serving::ReadOnly)
    }

    /// `ReadOnlyRequestProcessor` and what is behind it, in one step.
    pub(super) fn read_only_step(
        &mut self,
        mut request: Request,
        stores: &mut Stores<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        if request.is_write() || request.op() == OpCode::Sync {
            request.failure = Some(ErrorCode::NotReadOnly);
        }
        self.finish(request, stores, io);
    }

    /// Ends read-only service at once: nothing of it waits for a disk.
    pub fn close_read_only(&mut self, stores: &Stores<'_>, io: &mut Io<'_, Coordinator>) {
        assert!(self.is_read_only(), "only what is open is closed");
        self.close(stores, io);
        let closed = self.events.pop_back();
        assert!(matches!(closed, Some(ServerEvent::Closed)), "a server without a log is closed at once");
    }
}
