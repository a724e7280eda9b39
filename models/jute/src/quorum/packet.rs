//! The packets by meaning.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::data::Id;
use crate::op::OpCode;
use crate::{PeerEpoch, SessionId, Sid, Xid, Zxid};

/// Version of the protocol between leader and learners since 3.4: Zab 1.0.
pub const LEARNER_PROTOCOL: i32 = 0x1_0000;

/// Which way a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From a follower or observer.
    ToLeader,
    /// From the leader.
    ToLearner,
}

/// Who a learner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnerInfo {
    /// Its id.
    pub sid: Sid,
    /// [`LEARNER_PROTOCOL`].
    pub protocol_version: i32,
    /// Version of the configuration it has activated.
    pub config_version: i64,
}

/// A client's request on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnerRequest {
    /// Whose it is.
    pub session: SessionId,
    /// The client's number for it.
    pub cxid: Xid,
    /// What it asks for.
    pub op: OpCode,
    /// Its record; of createSession, an `i32` with the timeout in ms.
    pub body: Bytes,
    /// The identities of the client's connection.
    pub auth: Vec<Id>,
}

/// A session that a learner has heard of since the last ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTouch {
    /// Its id.
    pub session: SessionId,
    /// Its timeout, ms.
    pub timeout_ms: i32,
}

/// One packet between leader and learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuorumPacket {
    /// A client's request, to the leader.
    Request(LearnerRequest),
    /// A transaction to log and acknowledge, to a follower.
    Proposal {
        /// Its zxid.
        zxid: Zxid,
        /// An encoded [`TxnEntry`](crate::txn::TxnEntry).
        entry: Bytes,
    },
    /// A proposal (or the leadership, if this is an epoch's start) is logged, to the leader.
    Ack {
        /// What is acknowledged.
        zxid: Zxid,
    },
    /// A quorum has logged a proposal, to a follower.
    Commit {
        /// The proposal.
        zxid: Zxid,
    },
    /// The leader is there, to a learner.
    Ping {
        /// The leader's last proposal.
        zxid: Zxid,
    },
    /// So is the learner, to the leader.
    PingReply {
        /// As it was asked.
        zxid: Zxid,
        /// Sessions heard of since the last ping.
        touches: Vec<SessionTouch>,
    },
    /// A client came with this session: is it alive? To the leader.
    Revalidate(SessionTouch),
    /// The answer, to the learner.
    RevalidateReply {
        /// The session.
        session: SessionId,
        /// Whether it is alive; then it is the learner's from now on.
        is_valid: bool,
    },
    /// All that was committed when the sync came has been sent, to a learner.
    Sync,
    /// A committed transaction, to an observer.
    Inform {
        /// Its zxid.
        zxid: Zxid,
        /// An encoded [`TxnEntry`](crate::txn::TxnEntry).
        entry: Bytes,
    },
    /// A quorum has logged a reconfiguration, to a follower.
    CommitAndActivate {
        /// The proposal.
        zxid: Zxid,
        /// Who leads from now on.
        designated_leader: Sid,
    },
    /// Synchronization is complete: log it, then acknowledge. To a learner.
    NewLeader {
        /// The start of the leader's epoch.
        zxid: Zxid,
        /// Text of the configuration the leader has last seen.
        config: Bytes,
    },
    /// A follower's first packet.
    FollowerInfo {
        /// Highest epoch it has promised.
        accepted_epoch: PeerEpoch,
        /// Who it is.
        info: LearnerInfo,
    },
    /// Serve clients, to a learner.
    UpToDate,
    /// What is missing follows as proposals and commits, to a learner.
    Diff {
        /// The last of them.
        zxid: Zxid,
    },
    /// Drop what is behind this from the log, to a learner.
    Trunc {
        /// The last to keep.
        zxid: Zxid,
    },
    /// A snapshot follows on the stream, to a learner.
    Snap {
        /// Of the leader's tree.
        zxid: Zxid,
    },
    /// An observer's first packet.
    ObserverInfo {
        /// Highest epoch it has seen proposed.
        accepted_epoch: PeerEpoch,
        /// Who it is.
        info: LearnerInfo,
    },
    /// The leader's first packet.
    LeaderInfo {
        /// The epoch it proposes.
        epoch: PeerEpoch,
        /// [`LEARNER_PROTOCOL`].
        protocol_version: i32,
    },
    /// The epoch is accepted, to the leader.
    AckEpoch {
        /// Last transaction in the learner's log; none (−1) without a database.
        last_logged: Option<Zxid>,
        /// The learner's current epoch; none (−1) if it had accepted this epoch before, and does not count again.
        current_epoch: Option<PeerEpoch>,
    },
    /// A committed reconfiguration, to an observer.
    InformAndActivate {
        /// Its zxid.
        zxid: Zxid,
        /// Who leads from now on.
        designated_leader: Sid,
        /// An encoded [`TxnEntry`](crate::txn::TxnEntry).
        entry: Bytes,
    },
}

impl QuorumPacket {
    /// Returns the name of the type as ZooKeeper's logs give it.
    pub fn name(&self) -> &'static str {
        match self {
            QuorumPacket::Request(_) => "REQUEST",
            QuorumPacket::Proposal { .. } => "PROPOSAL",
            QuorumPacket::Ack { .. } => "ACK",
            QuorumPacket::Commit { .. } => "COMMIT",
            QuorumPacket::Ping { .. } | QuorumPacket::PingReply { .. } => "PING",
            QuorumPacket::Revalidate(_) | QuorumPacket::RevalidateReply { .. } => "REVALIDATE",
            QuorumPacket::Sync => "SYNC",
            QuorumPacket::Inform { .. } => "INFORM",
            QuorumPacket::CommitAndActivate { .. } => "COMMITANDACTIVATE",
            QuorumPacket::NewLeader { .. } => "NEWLEADER",
            QuorumPacket::FollowerInfo { .. } => "FOLLOWERINFO",
            QuorumPacket::UpToDate => "UPTODATE",
            QuorumPacket::Diff { .. } => "DIFF",
            QuorumPacket::Trunc { .. } => "TRUNC",
            QuorumPacket::Snap { .. } => "SNAP",
            QuorumPacket::ObserverInfo { .. } => "OBSERVERINFO",
            QuorumPacket::LeaderInfo { .. } => "LEADERINFO",
            QuorumPacket::AckEpoch { .. } => "ACKEPOCH",
            QuorumPacket::InformAndActivate { .. } => "INFORMANDACTIVATE",
        }
    }

    /// Returns which way such a packet travels.
    pub fn direction(&self) -> Direction {
        match self {
            QuorumPacket::Request(_)
            | QuorumPacket::Ack { .. }
            | QuorumPacket::PingReply { .. }
            | QuorumPacket::Revalidate(_)
            | QuorumPacket::FollowerInfo { .. }
            | QuorumPacket::ObserverInfo { .. }
            | QuorumPacket::AckEpoch { .. } => Direction::ToLeader,
            QuorumPacket::Proposal { .. }
            | QuorumPacket::Commit { .. }
            | QuorumPacket::Ping { .. }
            | QuorumPacket::RevalidateReply { .. }
            | QuorumPacket::Sync
            | QuorumPacket::Inform { .. }
            | QuorumPacket::CommitAndActivate { .. }
            | QuorumPacket::NewLeader { .. }
            | QuorumPacket::UpToDate
            | QuorumPacket::Diff { .. }
            | QuorumPacket::Trunc { .. }
            | QuorumPacket::Snap { .. }
            | QuorumPacket::LeaderInfo { .. }
            | QuorumPacket::InformAndActivate { .. } => Direction::ToLearner,
        }
    }
}
