//! What a broker defers to itself, and on which of its threads.
//!
//! Lanes stand for the real broker's threads (kafka-broker.md §0.3) where their interleaving matters, and for persisted
//! sub-steps that a crash must be able to fall between.

use kafkawire::{Request, Version};
use machine::{Lane, Never};

use crate::cx::RequestId;
use crate::replication::ReplicationWork;

/// The first lane of a broker's. Those of a ZooKeeper server are below, so that a lane's number alone names it in a trace.
pub const FIRST: Lane = Lane(8000);
/// The main thread: startup, recovery of logs, shutdown.
pub const MAIN: Lane = Lane(8000);
/// The controller's event thread (§0.3, actor 2).
pub const CONTROLLER: Lane = Lane(8001);
/// ZooKeeper's event thread: watch events and session states, in order (actor 1).
pub const ZK_EVENTS: Lane = Lane(8002);
/// The scheduler: ISR expiration, checkpoints, flushes (§0.4).
pub const SCHEDULER: Lane = Lane(8003);
/// The thread that makes a new session after one expired (§2.4): apart from the event thread, because it blocks.
pub const ZK_SESSION_EXPIRY: Lane = Lane(8004);

/// A request handler thread, from 0 to `num.io.threads` (actor 4).
#[must_use]
pub const fn request_handler(thread: u16) -> Lane {
    Lane(8100 + thread)
}

/// The fetcher thread of one leader (actor 5); `thread` counts the broker's fetchers, it is not the leader's id.
#[must_use]
pub const fn fetcher(thread: u16) -> Lane {
    Lane(9000 + thread)
}

/// The name of a lane, for reports.
#[must_use]
pub const fn lane_name(lane: Lane) -> &'static str {
    match lane {
        MAIN => "main",
        CONTROLLER => "controller-events",
        ZK_EVENTS => "zookeeper-events",
        SCHEDULER => "scheduler",
        ZK_SESSION_EXPIRY => "zookeeper-session-expiry",
        Lane(8100..=8999) => "request-handler",
        _ => "fetcher",
    }
}

/// The next step on one of a broker's lanes.
#[derive(Clone, Debug)]
pub enum Work {
    /// The next step of startup or shutdown.
    Lifecycle,
    /// The controller's event thread may go on.
    Controller,
    /// ZooKeeper's event thread may hand out its next event.
    ZkEvents,
    /// The session expired: a new one is to be made (§2.4 step 2).
    Reinitialize,
    /// A request reached a handler.
    Request {
        /// Whom to answer.
        id: RequestId,
        /// The version it came with, and is answered with.
        version: Version,
        /// The request.
        body: Request,
    },
    /// Of replication: the scheduler's tasks, the fetchers.
    Replication(ReplicationWork),
}

impl From<ReplicationWork> for Work {
    fn from(work: ReplicationWork) -> Self {
        Self::Replication(work)
    }
}

impl From<Never> for Work {
    fn from(work: Never) -> Self {
        match work {}
    }
}
