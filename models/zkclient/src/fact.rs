//! What observers are told about a session.

use std::sync::Arc;

use jute::op::EventType;
use jute::{SessionId, Zxid};

use crate::{WatchKind, WatchKinds};

/// Why a client gave up a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectCause {
    /// Nobody listened where it dialled.
    Refused,
    /// The server closed it.
    Closed,
    /// It was reset.
    Reset,
    /// No session was confirmed within the connect timeout.
    ConnectTimeout,
    /// Nothing was heard for the read timeout.
    ReadTimeout,
    /// A reply was not that to the oldest request.
    XidOutOfOrder,
    /// A frame had no place in the conversation.
    UnexpectedFrame,
    /// A frame was longer than `jute.maxbuffer`.
    FrameTooLong,
    /// An operation took longer than `zookeeper.request.timeout`.
    RequestTimeout,
    /// It was read-only, and a server with an ensemble was found.
    ReadWriteServerFound,
    /// The list of servers became another one.
    ServersChanged,
}

impl DisconnectCause {
    /// The cause in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::ConnectTimeout => "connect-timeout",
            Self::ReadTimeout => "read-timeout",
            Self::XidOutOfOrder => "xid-out-of-order",
            Self::UnexpectedFrame => "unexpected-frame",
            Self::FrameTooLong => "frame-too-long",
            Self::RequestTimeout => "request-timeout",
            Self::ReadWriteServerFound => "read-write-server-found",
            Self::ServersChanged => "servers-changed",
        }
    }
}

/// Who declared a session expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiredBy {
    /// A server, in its ConnectResponse.
    Server,
    /// The client, which had heard nothing for 4/3 of the timeout (3.9.3 and later; ZOOKEEPER-4508).
    Client,
}

impl ExpiredBy {
    /// The name in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// How an absent zxid is shown: all ones, as the `long` −1 is.
fn shown(zxid: Option<Zxid>) -> u64 {
    zxid.map_or(u64::MAX, Zxid::value)
}

machine::facts! {
    /// What a client says about its session. Paths are those of the server, whatever the client's root is.
    pub enum ZkClientFact {
        /// A server confirmed the session; `resumed` if it was there before.
        "client-connected" SessionConnected {
            session: SessionId => Hex(session.value().cast_unsigned()),
            server: Arc<str> => Text(server),
            timeout_ms: i32 => Int(i64::from(*timeout_ms)),
            resumed: bool => Flag(*resumed),
        },
        /// A server without an ensemble made a session, which it alone knows.
        "client-connected-read-only" ReadOnlyConnected {
            session: SessionId => Hex(session.value().cast_unsigned()),
            server: Arc<str> => Text(server),
            timeout_ms: i32 => Int(i64::from(*timeout_ms)),
        },
        /// The session went on at another server.
        "client-session-moved" SessionMoved {
            session: SessionId => Hex(session.value().cast_unsigned()),
            from: Arc<str> => Text(from),
            to: Arc<str> => Text(to),
        },
        /// A connection that had the session is gone.
        "client-disconnected" SessionDisconnected {
            session: SessionId => Hex(session.value().cast_unsigned()),
            server: Arc<str> => Text(server),
            cause: DisconnectCause => Text(cause.name()),
        },
        /// The client knows that its session is over.
        "client-session-expired" SessionExpired {
            session: SessionId => Hex(session.value().cast_unsigned()),
            by: ExpiredBy => Text(by.name()),
        },
        /// The client closed; `confirmed` if a server said so.
        "client-session-closed" SessionClosed {
            session: SessionId => Hex(session.value().cast_unsigned()),
            confirmed: bool => Flag(*confirmed),
        },
        /// A server refused an identity, and the client ended.
        "client-auth-failed" AuthFailed {
            session: SessionId => Hex(session.value().cast_unsigned()),
        },
        /// A watch is set: the reply that registers it arrived.
        "watch-set" WatchSet {
            session: SessionId => Hex(session.value().cast_unsigned()),
            path: Arc<str> => Text(path),
            watch: WatchKind => Text(watch.name()),
            zxid: Option<Zxid> => Hex(shown(*zxid)),
        },
        /// Watches were removed.
        "watch-removed" WatchRemoved {
            session: SessionId => Hex(session.value().cast_unsigned()),
            path: Arc<str> => Text(path),
            removed: WatchKinds => Text(removed.name()),
        },
        /// A watch event arrived; `consumed` says which watches it is for, `none` if there were none.
        "watch-delivered" WatchDelivered {
            session: SessionId => Hex(session.value().cast_unsigned()),
            path: Arc<str> => Text(path),
            consumed: WatchKinds => Text(consumed.name()),
            event: EventType => Text(event.name()),
            zxid: Option<Zxid> => Hex(shown(*zxid)),
        },
        /// A batch of watches was sent again after a reconnect.
        "watches-resent" WatchesResent {
            session: SessionId => Hex(session.value().cast_unsigned()),
            relative_zxid: Zxid => Hex(relative_zxid.value()),
            watches: u64 => Uint(*watches),
        },
    }
}
