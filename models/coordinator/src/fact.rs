//! What only a server knows and an observer may be told.

use jute::{ElectionRound, PeerEpoch, SessionId, Sid, Zxid};

/// What a server is to its ensemble.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Looking for a leader.
    Looking,
    /// Following one.
    Following,
    /// Observing one.
    Observing,
    /// Leading, or trying to.
    Leading,
    /// Alone: no ensemble is configured.
    Standalone,
}

impl Role {
    /// The role's name, as facts and views show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Looking => "looking",
            Self::Following => "following",
            Self::Observing => "observing",
            Self::Leading => "leading",
            Self::Standalone => "standalone",
        }
    }
}

fn hex(value: i64) -> u64 {
    value.cast_unsigned()
}

machine::facts! {
    /// What a server states.
    pub enum Fact {
        /// The main loop entered a state (zookeeper.md §2.1). `epoch` is `currentEpoch` at that moment.
        "role-changed" RoleChanged {
            sid: Sid => Uint(u64::from(sid.value())),
            role: Role => Text(role.name()),
            epoch: PeerEpoch => Uint(u64::from(epoch.value())),
        },
        /// Leader election ended with this vote (§2.3).
        "leader-elected" LeaderElected {
            leader: Sid => Uint(u64::from(leader.value())),
            round: ElectionRound => Uint(round.value()),
            zxid: Zxid => Hex(zxid.value()),
            peer_epoch: PeerEpoch => Uint(u64::from(peer_epoch.value())),
        },
        /// `acceptedEpoch` is durable: a promise to follow no older leader (§3.2, §3.3).
        "epoch-accepted" EpochAccepted { epoch: PeerEpoch => Uint(u64::from(epoch.value())) },
        /// `currentEpoch` is durable (§3.2, §3.5).
        "epoch-current" EpochCurrent { epoch: PeerEpoch => Uint(u64::from(epoch.value())) },
        /// A quorum acknowledged NEWLEADER: broadcast begins (§3.2).
        "leader-established" LeaderEstablished {
            sid: Sid => Uint(u64::from(sid.value())),
            epoch: PeerEpoch => Uint(u64::from(epoch.value())),
            zxid: Zxid => Hex(zxid.value()),
        },
        /// A learner's history agrees with its leader's: it acknowledged NEWLEADER (§3.5). `mode` is `DIFF`, `TRUNC` or `SNAP`.
        "synchronised" Synchronised {
            leader: Sid => Uint(u64::from(leader.value())),
            epoch: PeerEpoch => Uint(u64::from(epoch.value())),
            mode: &'static str => Text(mode),
            zxid: Zxid => Hex(zxid.value()),
        },
        /// A leader decided how to bring a learner up to date (§3.4).
        "sync-decided" SyncDecided {
            learner: Sid => Uint(u64::from(learner.value())),
            mode: &'static str => Text(mode),
            peer_zxid: Zxid => Hex(peer_zxid.value()),
            zxid: Zxid => Hex(zxid.value()),
        },
        /// A leader proposed a txn (§3.7).
        "proposed" Proposed {
            zxid: Zxid => Hex(zxid.value()),
            session: SessionId => Hex(hex(session.value())),
            op: &'static str => Text(op),
        },
        /// A leader saw a quorum of acknowledgements, in order (§3.7).
        "committed" Committed { zxid: Zxid => Hex(zxid.value()) },
        /// A txn was applied to the tree (§4.7). The digests are those after it.
        "applied" Applied {
            zxid: Zxid => Hex(zxid.value()),
            session: SessionId => Hex(hex(session.value())),
            txn_digest: u64 => Hex(*txn_digest),
            tree_digest: u64 => Hex(*tree_digest),
        },
        /// A session is in the global table (§7.4).
        "session-created" SessionCreated {
            session: SessionId => Hex(hex(session.value())),
            timeout_ms: i32 => Int(i64::from(*timeout_ms)),
        },
        /// The tracker gave up on a session: its close was submitted (§7.5).
        "session-expired" SessionExpired {
            session: SessionId => Hex(hex(session.value())),
            timeout_ms: i32 => Int(i64::from(*timeout_ms)),
        },
        /// A session is out of the global table (§7.9).
        "session-closed" SessionClosed { session: SessionId => Hex(hex(session.value())) },
        /// A client took its session to this server (§7.7).
        "session-moved" SessionMoved { session: SessionId => Hex(hex(session.value())) },
        /// A snapshot is complete (§9.4).
        "snapshot-written" SnapshotWritten {
            zxid: Zxid => Hex(zxid.value()),
            fuzzy: bool => Flag(*fuzzy),
        },
        /// A server read its disk back (§9.6).
        "recovered" Recovered {
            zxid: Zxid => Hex(zxid.value()),
            epoch: PeerEpoch => Uint(u64::from(epoch.value())),
        },
        /// A server refused to start, because it cannot trust its disk (§9.6).
        "refused-to-start" RefusedToStart { why: String => Text(why) },
        /// A leader gave up (§3.10).
        "leader-stepped-down" LeaderSteppedDown {
            epoch: PeerEpoch => Uint(u64::from(epoch.value())),
            why: &'static str => Text(why),
        },
        /// A leader gave up on one of its learners (§3.10).
        "learner-dropped" LearnerDropped {
            learner: Sid => Uint(u64::from(learner.value())),
            why: &'static str => Text(why),
        },
        /// A learner gave up on its leader (§3.10).
        "learner-left" LearnerLeft {
            leader: Sid => Uint(u64::from(leader.value())),
            why: &'static str => Text(why),
        },
        /// The log could not be written or synced: nothing syncs what is in it and not durable any more (§3.10).
        "log-failed" LogFailed { why: String => Text(why) },
        /// A configuration of the ensemble is in force here (§15).
        "config-activated" ConfigActivated { version: Zxid => Hex(version.value()) },
        /// A learner cut its log after this zxid (§9.5).
        "truncated" Truncated { zxid: Zxid => Hex(zxid.value()) },
        /// A watch event went to a client (§8.4).
        "watch-fired" WatchFired {
            session: SessionId => Hex(hex(session.value())),
            event: &'static str => Text(event),
            path: String => Text(path),
            zxid: Zxid => Hex(zxid.value()),
        },
    }
}
