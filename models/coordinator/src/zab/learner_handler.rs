//! What a leader keeps of one learner's connection (zookeeper.md §3.3, §3.4).

use std::collections::VecDeque;

use jute::quorum::{QuorumMessage, QuorumPacket};
use jute::{PeerEpoch, Sid, Zxid};
use machine::{EndId, Instant, Io, Span};

use super::sync_limit::SyncLimitCheck;
use crate::Coordinator;

/// Where a handler is in its conversation. In the waiting phases its real thread is blocked: it reads nothing, so only the
/// phase's own deadline counts, not the socket's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Reads FOLLOWERINFO or OBSERVERINFO.
    WaitInfo,
    /// Waits for a quorum to connect.
    WaitEpoch { deadline: Instant },
    /// Reads ACKEPOCH.
    WaitAckEpoch,
    /// Waits for a quorum to promise the epoch; this is the learner's last logged txn.
    WaitElection { deadline: Instant, last_logged: Option<Zxid> },
    /// The tree is about to be sent.
    SendSnapshot,
    /// Reads the ACK of NEWLEADER.
    WaitNewLeaderAck,
    /// Waits for a quorum of such acks.
    WaitNewLeaderQuorum { deadline: Instant },
    /// Waits for the leader to serve.
    WaitStartup,
    /// Reads acks, requests, and answers to pings.
    Streaming,
}

impl Phase {
    /// Whether the handler reads from its connection.
    const fn reads(self) -> bool {
        match self {
            Self::WaitInfo | Self::WaitAckEpoch | Self::WaitNewLeaderAck | Self::Streaming => true,
            Self::WaitEpoch { .. }
            | Self::WaitElection { .. }
            | Self::SendSnapshot
            | Self::WaitNewLeaderQuorum { .. }
            | Self::WaitStartup => false,
        }
    }
}

/// What a synchronisation counts as, where only so many may run at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Syncing {
    /// The tree is sent.
    Snap,
    /// What the learner lacks is sent, or what it has too much is cut.
    Diff,
}

/// Packets that wait for a handler that does not read. A learner has nothing to say then, but a strange one may.
pub(super) const INBOX_MAX: usize = 100_000;

/// One learner's connection at its leader.
#[derive(Clone, Debug)]
pub(super) struct LearnerHandler {
    end: EndId,
    /// None before FOLLOWERINFO.
    pub(super) sid: Option<Sid>,
    /// Whether it sent OBSERVERINFO instead: it is told of commits only.
    pub(super) observes: bool,
    /// How it is being synchronised; none before and after.
    pub(super) syncing: Option<Syncing>,
    phase: Phase,
    /// What arrived while the handler did not read.
    pub(super) inbox: VecDeque<QuorumPacket>,
    /// `queuedPackets`, until the sender starts.
    queued: VecDeque<QuorumPacket>,
    sender_started: bool,
    /// Whether live proposals and commits are queued for it: it is in `forwardingFollowers` or `observingLearners`.
    pub(super) forwarding: bool,
    /// The tick by which it must have been heard of.
    pub(super) ack_deadline_tick: u64,
    read_timeout: Span,
    read_deadline: Instant,
    pub(super) sync_limit: SyncLimitCheck,
}

impl LearnerHandler {
    pub(super) fn new(end: EndId, ack_deadline_tick: u64, read_timeout: Span, now: Instant) -> Self {
        Self {
            end,
            sid: None,
            observes: false,
            syncing: None,
            phase: Phase::WaitInfo,
            inbox: VecDeque::new(),
            queued: VecDeque::new(),
            sender_started: false,
            forwarding: false,
            ack_deadline_tick,
            read_timeout,
            read_deadline: now.saturating_add(read_timeout),
            sync_limit: SyncLimitCheck::default(),
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn reads(&self) -> bool {
        self.phase.reads()
    }

    /// Enters a phase; if it reads, the socket's timeout starts anew.
    pub(super) fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.heard(now);
    }

    /// Something was read.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.read_deadline = now.saturating_add(self.read_timeout);
    }

    pub(super) const fn set_read_timeout(&mut self, timeout: Span) {
        self.read_timeout = timeout;
    }

    pub(super) const fn sender_started(&self) -> bool {
        self.sender_started
    }

    /// When the handler gives its learner up; none while only somebody else can end its wait.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::WaitEpoch { deadline }
            | Phase::WaitElection { deadline, .. }
            | Phase::WaitNewLeaderQuorum { deadline } => Some(deadline),
            Phase::SendSnapshot | Phase::WaitStartup => None,
            Phase::WaitInfo | Phase::WaitAckEpoch | Phase::WaitNewLeaderAck | Phase::Streaming => {
                Some(self.read_deadline)
            }
        }
    }

    /// `queuePacket`: behind everything queued before.
    pub(super) fn queue(&mut self, packet: QuorumPacket, io: &mut Io<'_, Coordinator>) {
        if self.sender_started {
            self.write(packet, io);
        } else {
            self.queued.push_back(packet);
        }
    }

    /// Written directly, before anything that is queued.
    pub(super) fn write_now(&self, message: QuorumMessage, io: &mut Io<'_, Coordinator>) {
        assert!(!self.sender_started, "only the sender writes once it runs");
        io.send(self.end, message);
    }

    /// `startSendingPackets`.
    pub(super) fn start_sender(&mut self, io: &mut Io<'_, Coordinator>) {
        assert!(!self.sender_started, "a handler has one sender");
        self.sender_started = true;
        for packet in std::mem::take(&mut self.queued) {
            self.write(packet, io);
        }
    }

    fn write(&mut self, packet: QuorumPacket, io: &mut Io<'_, Coordinator>) {
        if let QuorumPacket::Proposal { zxid, .. } = packet {
            self.sync_limit.sent(zxid, io.now());
        }
        io.send(self.end, QuorumMessage::Packet(packet));
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.sender_started <= self.queued.is_empty(), "a sender that runs leaves nothing queued");
        assert!(self.inbox.len() <= INBOX_MAX, "a learner that is not read floods its leader");
        assert!(!self.reads() || self.inbox.is_empty(), "a handler that reads leaves nothing unread");
        assert_eq!(self.sid.is_none(), self.phase == Phase::WaitInfo, "FOLLOWERINFO tells who it is");
    }
}

/// A server's history as discovery compares it: the derived order is `isMoreRecentThan`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct StateSummary {
    pub(super) current_epoch: PeerEpoch,
    pub(super) last_zxid: Zxid,
}
