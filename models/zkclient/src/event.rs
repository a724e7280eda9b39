//! What a client tells its parent.

use std::sync::Arc;

use jute::client::Response;
use jute::op::{ErrorCode, EventType};
use jute::{SessionId, Zxid};

use crate::WatchKinds;

/// A client's number for an operation, never reused within one [`ZkClient`](crate::ZkClient).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Why an operation was not even queued: it surely has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The client is closed, closing or expired.
    Closed,
    /// Too many operations or watches.
    Full,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server did it.
    Ok {
        /// The body of the reply, where the operation has one.
        response: Option<Response>,
        /// The zxid of the reply: what the server had applied.
        zxid: Option<Zxid>,
    },
    /// The server answered with an error.
    Error {
        /// Which.
        code: ErrorCode,
        /// The zxid of the reply.
        zxid: Option<Zxid>,
    },
    /// The connection was lost first: it may or may not have happened, or happen yet.
    ConnectionLoss,
    /// The session ended first: it may or may not have happened.
    SessionExpired,
}

/// A one-shot watch that saw something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedEvent {
    /// What it saw.
    pub event: EventType,
    /// Where.
    pub path: Arc<str>,
    /// The transaction it saw; none in servers up to 3.8, and for what a reconnect finds.
    pub zxid: Option<Zxid>,
    /// The watches it consumed; at least one.
    pub consumed: WatchKinds,
}

/// What a client's parent must know, in the order of Java's event thread, except that an expiry is told after the operations
/// it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkEvent {
    /// A server confirmed the session.
    Connected {
        /// The session.
        session: SessionId,
        /// The server's name.
        server: Arc<str>,
    },
    /// The connection is gone, or could not be made; told once until it is back.
    Disconnected,
    /// The session is over, and this client with it.
    Expired,
    /// The client was closed; if a server confirmed that, the session is over as well.
    Closed,
    /// An operation ended.
    Completed {
        /// Which.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// A watch saw something.
    Watch(WatchedEvent),
}
