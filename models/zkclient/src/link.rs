//! Where a client is with its server, and how long it waits there.

use machine::{EndId, Instant, Span};

/// The connection, or the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// [`start`](crate::ZkClient::start) was not called yet.
    Unstarted,
    /// The socket was closed; Java sleeps before it tells anybody.
    Pausing {
        /// When that is over.
        until: Instant,
    },
    /// Sleeping before the next server is dialled.
    Waiting {
        /// When it is dialled.
        until: Instant,
    },
    /// Dialling.
    Connecting {
        /// This side's end.
        end: EndId,
    },
    /// The ConnectRequest is sent and unanswered.
    Associating {
        /// This side's end.
        end: EndId,
    },
    /// A server has confirmed the session.
    Connected {
        /// This side's end.
        end: EndId,
        /// When the next ping is due unless something happens before.
        ping_at: Instant,
    },
    /// Expired or closed: the end.
    Dead,
}

impl Link {
    pub(crate) const fn end(self) -> Option<EndId> {
        match self {
            Self::Connecting { end } | Self::Associating { end } | Self::Connected { end, .. } => Some(end),
            Self::Unstarted | Self::Pausing { .. } | Self::Waiting { .. } | Self::Dead => None,
        }
    }

    /// The state's name in Java, where there is one.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unstarted => "not-connected",
            Self::Pausing { .. } => "pausing",
            Self::Waiting { .. } => "waiting",
            Self::Connecting { .. } => "connecting",
            Self::Associating { .. } => "associating",
            Self::Connected { .. } => "connected",
            Self::Dead => "closed",
        }
    }
}

/// The three timeouts that follow from a session timeout T and n servers (zookeeper.md §10.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// T/n: no session confirmed since the last send activity.
    pub(crate) connect: Span,
    /// 2T/3: nothing heard on a connection.
    pub(crate) read: Span,
    /// 4T/3: nothing heard from any server.
    pub(crate) expiration: Span,
}

impl Timeouts {
    /// Panics if the timeout is not positive.
    pub(crate) fn of(session_timeout_ms: i32, servers: usize) -> Self {
        let timeout = u64::try_from(session_timeout_ms).expect("a session timeout is positive");
        assert!(timeout >= 3, "a third of a session timeout of {timeout} ms is no time");
        Self {
            connect: Span::millis(timeout / servers as u64),
            read: Span::millis(timeout * 2 / 3),
            expiration: Span::millis(timeout * 4 / 3),
        }
    }

    /// How long after the last send a ping is due, seen `idle` after it: T/3, and a second earlier once more than a second
    /// has passed, so that two ticks of the loop cannot miss it; at most 10 s.
    pub(crate) fn ping_after(self, idle: Span) -> Span {
        const SEND_PING_INTERVAL_MAX: Span = Span::millis(10_000);
        const MARGIN: Span = Span::millis(1000);
        if idle > SEND_PING_INTERVAL_MAX {
            return Span::ZERO;
        }
        let half = Span::millis(self.read.as_millis() / 2);
        if idle > MARGIN { half.saturating_sub(MARGIN) } else { half }
    }
}
