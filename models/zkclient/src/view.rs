//! What an inspector is shown of a session.

use std::sync::Arc;

use machine::Digest;
use serde::Serialize;

use crate::ZkClient;

/// A session as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZkClientView {
    /// Where it is with its server.
    pub state: &'static str,
    /// The session, as ZooKeeper prints it.
    pub session: String,
    /// The server that last confirmed it.
    pub server: Option<Arc<str>>,
    /// The zxid of the last reply, as ZooKeeper prints it.
    pub last_zxid: String,
    /// Operations queued and pending.
    pub operations: usize,
    /// Watches set.
    pub watches: usize,
}

impl ZkClient {
    const fn state_name(&self) -> &'static str {
        if self.is_read_only() { "connected-read-only" } else { self.link().name() }
    }

    /// What an inspector is shown.
    #[must_use]
    pub fn view(&self) -> ZkClientView {
        ZkClientView {
            state: self.state_name(),
            session: self.session().to_string(),
            server: self.server().cloned(),
            last_zxid: self.last_zxid().to_string(),
            operations: self.operations(),
            watches: self.watch_count(),
        }
    }

    /// State, session, last zxid, counts.
    pub fn digest(&self, into: &mut Digest) {
        into.text(self.state_name());
        into.signed(self.session().value());
        into.word(self.last_zxid().value());
        into.word(self.operations() as u64);
        into.word(self.watch_count() as u64);
    }
}
