//! What a server defers to itself, and on which of its threads.
//!
//! Lanes stand for the real server's threads (zookeeper.md §0.1) where their interleaving matters, and for persisted
//! sub-steps that a crash must be able to fall between.

use machine::Lane;

use crate::election::ElectionWork;
use crate::server::ServerWork;
use crate::zab::ZabWork;

/// The peer's main loop: leader election's outcome, the learner, the leader's ticks (T1, T5).
pub const MAIN: Lane = Lane(0);
/// The senders and receivers of leader election (T2, T3).
pub const ELECTION: Lane = Lane(1);
/// The request preparation thread (T7).
pub const PREP: Lane = Lane(2);
/// The thread that appends to the txn log and syncs it (T9).
pub const DISK: Lane = Lane(3);
/// The commit and final processors (T11).
pub const COMMIT: Lane = Lane(4);
/// The session tracker (T12).
pub const SESSIONS: Lane = Lane(5);
/// The snapshot thread (T10).
pub const SNAPSHOT: Lane = Lane(6);
/// The client port's threads (T6, T13).
pub const CLIENTS: Lane = Lane(7);

/// The leader's handler of one learner (T4).
#[must_use]
pub const fn learner(sid: jute::Sid) -> Lane {
    Lane(100 + sid.value() as u16)
}

/// The name of a lane, for reports.
#[must_use]
pub const fn lane_name(lane: Lane) -> &'static str {
    match lane {
        MAIN => "main",
        ELECTION => "election",
        PREP => "prep",
        DISK => "disk",
        COMMIT => "commit",
        SESSIONS => "sessions",
        SNAPSHOT => "snapshot",
        CLIENTS => "clients",
        _ => "learner-handler",
    }
}

/// The next step on one of a server's lanes.
#[derive(Clone, Debug)]
pub enum Work {
    /// Of leader election.
    Election(ElectionWork),
    /// Of the request pipeline.
    Server(ServerWork),
    /// Of the main loop, the leader or the learner.
    Zab(ZabWork),
}

impl From<ElectionWork> for Work {
    fn from(work: ElectionWork) -> Self {
        Self::Election(work)
    }
}

impl From<ServerWork> for Work {
    fn from(work: ServerWork) -> Self {
        Self::Server(work)
    }
}

impl From<ZabWork> for Work {
    fn from(work: ZabWork) -> Self {
        Self::Zab(work)
    }
}
