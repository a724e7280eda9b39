//! What a client tells its parent.

use std::sync::Arc;

use jute::client::Response;
use jute::op::{ErrorCode, EventType};
use jute::path::PathError;
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
    /// A server has refused an identity of the client.
    AuthFailed,
    /// Too many operations or watches.
    Full,
    /// A path of it is none; Java throws.
    BadPath(PathError),
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
    /// A server refused an identity of the client first: it may or may not have happened.
    AuthFailed,
    /// Nobody answered in time, and the connection was given up for it: it may or may not have happened.
    RequestTimeout,
}

/// A watch that saw something, or was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedEvent {
    /// What it saw.
    pub event: EventType,
    /// Where.
    pub path: Arc<str>,
    /// The transaction it saw; none in servers up to 3.8, for what a reconnect finds, and for a removal.
    pub zxid: Option<Zxid>,
    /// The watches it is for, at least one: those for one event are consumed.
    pub consumed: WatchKinds,
}

/// What a client's parent must know, in the order of Java's event thread, except that the end of a client is told after the
/// operations it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkEvent {
    /// A server confirmed the session.
    Connected {
        /// The session.
        session: SessionId,
        /// The server's name.
        server: Arc<str>,
    },
    /// A server without an ensemble made a session, which it alone knows. It can be read.
    ConnectedReadOnly {
        /// The session.
        session: SessionId,
        /// The server's name.
        server: Arc<str>,
    },
    /// The connection is gone, or could not be made; told once until it is back.
    Disconnected,
    /// A server refused an identity of the client, which ends with it. Its session lives on until it expires.
    AuthFailed,
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
