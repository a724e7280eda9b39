//! The follower: finds its leader, is synchronised by it, logs and applies what it proposes (zookeeper.md §3.3, §3.5, §3.8).
//! The observer: the same, but it is told of what is committed only, and acknowledges nothing.
//!
//! The orders that matter, each of them a historical bug when swapped: `acceptedEpoch` is durable before ACKEPOCH; snapshot
//! and txns are durable before `currentEpoch`, which is durable before the ACK of NEWLEADER; that ACK comes before the ACK of
//! any proposal; a proposal that is not committed when NEWLEADER comes is neither dropped nor acknowledged early.
//!
//! ```text
//!  Dialing ─▶ WaitLeaderInfo ─▶ Promising ─▶ WaitSync ─▶ [ReceivingSnapshot] ─▶ Synchronising ─NEWLEADER─▶ Persisting
//!                               acceptedEpoch                                        ▲  snapshot, log, currentEpoch, ACK
//!                                                                                    └───────────┘ ─UPTODATE─▶ Broadcast
//! ```
//!
//! A real follower blocks while it writes: here a phase that waits for its ticket, with what arrives meanwhile in an inbox.
//! Every persisted step is an item of its own on the lane, so that a crash can fall between any two.

mod synchronisation;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use jute::quorum::{LEARNER_PROTOCOL, LearnerInfo, LearnerRequest, QuorumMessage, QuorumPacket, SessionTouch};
use jute::txn::TxnEntry;
use jute::{PeerEpoch, Sid, Zxid};
use machine::disk::FileId;
use machine::{Address, EndId, Instant, Io, Purpose, Span, Ticket};

use super::parts::Parts;
use crate::defect::{Defect, Defects};
use crate::quorum_verifier::{LearnerType, QuorumVerifier};
use crate::server::{Committing, Proposal, ServerEvent};
use crate::store::{EpochFile, SnapshotWriter};
use crate::{Coordinator, Fact};

/// How a learner's work ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// It gives up on its leader, for this reason, and looks for another.
    Leader(&'static str),
    /// The process exits with this status.
    Process(i32),
}

/// `UNMATCHED_TXN_COMMIT`: a COMMIT for another txn than the next.
const EXIT_UNMATCHED_COMMIT: i32 = 12;
/// `QUORUM_PACKET_ERROR`: a synchronisation that starts with nonsense, or a log that cannot be cut.
const EXIT_QUORUM_PACKET: i32 = 13;
/// How often a learner dials before it gives up.
const DIALS_MAX: u32 = 5;
/// Why it leaves a leader that is one no more, or to be something else itself.
const RECONFIGURED: &str = "changes proposed in reconfig";
/// Why it gives up.
const CANNOT_CONNECT: &str = "cannot connect to the leader";
/// How long an observer waits before it dials.
const RECONNECT_DELAY: Purpose = Purpose::new("observer-reconnect");
/// What may arrive while the learner writes to its disk. The real one leaves it in the socket, where TCP would slow the
/// leader down long before.
const INBOX_MAX: usize = 1_000_000;

/// What arrived, in order.
#[derive(Clone, Debug)]
enum Arrival {
    Message(QuorumMessage),
    /// The connection's end.
    Lost,
}

/// How the leader brings this learner up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SyncMode {
    Diff,
    Trunc,
    Snap,
}

impl SyncMode {
    const fn name(self) -> &'static str {
        match self {
            Self::Diff => "DIFF",
            Self::Trunc => "TRUNC",
            Self::Snap => "SNAP",
        }
    }
}

/// One persisted step between NEWLEADER and its ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PersistStep {
    /// The tree as it is.
    Snapshot,
    /// Committed txns that came by DIFF: appended, applied, synced.
    Txns,
    /// `currentEpoch`.
    Epoch,
    /// The server opens: only where that had to wait for `currentEpoch` (ZOOKEEPER-1264).
    Open,
    /// Everything is durable.
    Ack,
}

/// What synchronisation keeps from its first packet to UPTODATE.
#[derive(Clone, Debug)]
struct Sync {
    mode: SyncMode,
    snapshot_needed: bool,
    /// `writeToTxnLog`: committed txns wait for the log instead of going straight to the tree.
    write_to_log: bool,
    not_logged: VecDeque<Arc<Proposal>>,
    committed: VecDeque<Zxid>,
    last_queued: Option<Zxid>,
    /// Txns are in the tree that neither log nor snapshot has.
    ahead_of_disk: bool,
    /// The log that TRUNC cut, until the cut is synced.
    cut: Option<FileId>,
    /// TRUNC removed files, and the directory is not synced yet.
    files_removed: bool,
    /// The configuration that came with NEWLEADER: in force with UPTODATE.
    new_leader_config: Option<Box<QuorumVerifier>>,
    acked: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Waits for its dial's answer.
    Dialing { tries: u32, started: Instant, deadline: Instant },
    /// Waits before it dials again.
    Pausing { tries: u32, started: Instant, until: Instant },
    /// Reads LEADERINFO.
    WaitLeaderInfo,
    /// Makes `acceptedEpoch` durable; then it answers with this epoch of its own.
    Promising { current_epoch: PeerEpoch },
    /// Reads DIFF, TRUNC or SNAP.
    WaitSync,
    /// Reads the tree.
    ReceivingSnapshot { zxid: Zxid },
    /// Reads what is missing, NEWLEADER, and what goes on until UPTODATE.
    Synchronising(Sync),
    /// Between NEWLEADER and its ACK: these steps are left, and these syncs run.
    Persisting {
        sync: Sync,
        steps: VecDeque<PersistStep>,
        tickets: BTreeSet<Ticket>,
        /// To be published when it is durable.
        snapshot: Option<SnapshotWriter>,
    },
    /// Follows.
    Broadcast,
}

/// A server that follows, or tries to.
#[derive(Clone, Debug)]
pub(super) struct Learner {
    leader: Sid,
    /// Where it leads.
    address: Address,
    /// An observer, not a follower.
    observes: bool,
    term: u64,
    phase: Phase,
    end: Option<EndId>,
    inbox: VecDeque<Arrival>,
    read_timeout: Span,
    read_deadline: Instant,
    /// The epoch LEADERINFO told; none before.
    epoch: Option<PeerEpoch>,
    /// Whether it has a history at all (`db.autocreate=no`, zookeeper.md §9.6).
    has_database: bool,
    server_failed: bool,
    /// Acks that wait until the configuration last heard of is durable here.
    held_acks: Vec<Zxid>,
    /// So does the next persisted step.
    persist_held: bool,
}

impl Learner {
    /// `followLeader()` or `observeLeader()`: dials. None if it does not know where its leader is.
    pub(super) fn start(
        leader: Sid,
        term: u64,
        has_database: bool,
        parts: &Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Option<Self> {
        let now = io.now();
        let address = parts.membership.quorum_address(leader)?;
        let observes = parts.membership.learner_type() == LearnerType::Observer;
        let mut learner = Self {
            leader,
            address,
            observes,
            term,
            phase: Phase::Pausing { tries: 0, started: now, until: now },
            end: None,
            inbox: VecDeque::new(),
            read_timeout: parts.config.init_time(),
            read_deadline: Instant::MAX,
            epoch: None,
            has_database,
            server_failed: false,
            held_acks: Vec::new(),
            persist_held: false,
        };
        let most = parts.config.observer_reconnect_delay;
        if observes && most > Span::ZERO {
            let until = now + io.draw(RECONNECT_DELAY).between(Span::ZERO, most);
            learner.phase = Phase::Pausing { tries: 0, started: until, until };
        } else {
            learner.dial(0, now, parts, io);
        }
        Some(learner)
    }

    /// Whether it is an observer.
    pub(super) const fn observes(&self) -> bool {
        self.observes
    }

    pub(super) const fn phase_name(&self) -> &'static str {
        match &self.phase {
            Phase::Dialing { .. } => "dialing",
            Phase::Pausing { .. } => "pausing",
            Phase::WaitLeaderInfo => "wait-leader-info",
            Phase::Promising { .. } => "promising",
            Phase::WaitSync => "wait-sync",
            Phase::ReceivingSnapshot { .. } => "receiving-snapshot",
            Phase::Synchronising(_) => "synchronising",
            Phase::Persisting { .. } => "persisting",
            Phase::Broadcast => "broadcast",
        }
    }

    /// Whether it reads from its connection: while it writes to its disk it does not.
    const fn reads(&self) -> bool {
        match &self.phase {
            Phase::Dialing { .. } | Phase::Pausing { .. } | Phase::Promising { .. } | Phase::Persisting { .. } => false,
            Phase::WaitLeaderInfo
            | Phase::WaitSync
            | Phase::ReceivingSnapshot { .. }
            | Phase::Synchronising(_)
            | Phase::Broadcast => true,
        }
    }

    pub(super) fn owns(&self, end: EndId) -> bool {
        self.end == Some(end)
    }

    pub(super) fn owns_ticket(&self, ticket: Ticket) -> bool {
        match &self.phase {
            Phase::Persisting { tickets, .. } => tickets.contains(&ticket),
            Phase::Dialing { .. }
            | Phase::Pausing { .. }
            | Phase::WaitLeaderInfo
            | Phase::Promising { .. }
            | Phase::WaitSync
            | Phase::ReceivingSnapshot { .. }
            | Phase::Synchronising(_)
            | Phase::Broadcast => false,
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        match self.phase {
            Phase::Dialing { deadline, .. } => Some(deadline),
            Phase::Pausing { until, .. } => Some(until),
            Phase::Promising { .. } | Phase::Persisting { .. } => None,
            Phase::WaitLeaderInfo
            | Phase::WaitSync
            | Phase::ReceivingSnapshot { .. }
            | Phase::Synchronising(_)
            | Phase::Broadcast => Some(self.read_deadline),
        }
    }

    fn connect_budget(parts: &Parts<'_>) -> Span {
        match parts.config.connect_to_learner_master_limit {
            0 => parts.config.init_time(),
            limit => parts.config.tick_time * u64::from(limit),
        }
    }

    fn dial(&mut self, tries: u32, started: Instant, parts: &Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let deadline = started.saturating_add(Self::connect_budget(parts));
        self.end = Some(io.connect(self.address));
        self.phase = Phase::Dialing { tries, started, deadline };
    }

    /// The dial was refused or took too long: up to five tries, while the budget lasts.
    fn on_dial_failed(
        &mut self,
        tries: u32,
        started: Instant,
        parts: &Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        self.end = None;
        let pause = parts.config.leader_connect_delay;
        let left = Self::connect_budget(parts).saturating_sub(io.now().saturating_since(started));
        if left <= pause || tries + 1 >= DIALS_MAX {
            return Err(Left::Leader(CANNOT_CONNECT));
        }
        self.phase = Phase::Pausing { tries, started, until: io.now() + pause };
        Ok(())
    }

    pub(super) fn on_refused(&mut self, parts: &Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), Left> {
        let Phase::Dialing { tries, started, .. } = self.phase else { unreachable!("only a dial is refused") };
        self.on_dial_failed(tries, started, parts, io)
    }

    /// `registerWithLeader`.
    pub(super) fn on_opened(&mut self, parts: &Parts<'_>, io: &mut Io<'_, Coordinator>) {
        assert!(matches!(self.phase, Phase::Dialing { .. }), "only a dial is answered");
        let config_version = parts.membership.current().version().to_wire();
        let info = LearnerInfo { sid: parts.config.myid, protocol_version: LEARNER_PROTOCOL, config_version };
        let accepted_epoch = parts.accepted_epoch();
        let packet = if self.observes {
            QuorumPacket::ObserverInfo { accepted_epoch, info }
        } else {
            QuorumPacket::FollowerInfo { accepted_epoch, info }
        };
        self.write(packet, io);
        self.read_on(Phase::WaitLeaderInfo, io.now());
    }

    pub(super) fn on_lost(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), Left> {
        if let Phase::Dialing { tries, started, .. } = self.phase {
            return self.on_dial_failed(tries, started, parts, io);
        }
        if self.reads() {
            return Err(Left::Leader("connection to the leader is lost"));
        }
        self.inbox.push_back(Arrival::Lost);
        Ok(())
    }

    pub(super) fn on_message(
        &mut self,
        message: QuorumMessage,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        if self.reads() {
            return self.read(message, parts, io);
        }
        if self.inbox.len() == INBOX_MAX {
            return Err(Left::Leader("the leader floods a learner that does not read"));
        }
        self.inbox.push_back(Arrival::Message(message));
        Ok(())
    }

    pub(super) fn on_woken(&mut self, parts: &Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), Left> {
        if self.next_wake().is_none_or(|due| due > io.now()) {
            return Ok(());
        }
        match self.phase {
            Phase::Dialing { tries, started, .. } => {
                io.close(self.end.expect("a dial has an end"));
                self.on_dial_failed(tries, started, parts, io)
            }
            Phase::Pausing { tries, started, .. } => {
                // The process may have been stopped meanwhile: "connectToLeader exceeded on retries".
                if io.now().saturating_since(started) >= Self::connect_budget(parts) {
                    return Err(Left::Leader(CANNOT_CONNECT));
                }
                self.dial(tries + 1, started, parts, io);
                Ok(())
            }
            Phase::WaitLeaderInfo
            | Phase::WaitSync
            | Phase::ReceivingSnapshot { .. }
            | Phase::Synchronising(_)
            | Phase::Broadcast => Err(Left::Leader("nothing was heard of the leader in time")),
            Phase::Promising { .. } | Phase::Persisting { .. } => unreachable!("who writes has no deadline"),
        }
    }

    /// A critical thread died: noticed at the next packet.
    pub(super) const fn on_server_failed(&mut self) {
        self.server_failed = true;
    }

    /// An epoch file is durable and in its place.
    pub(super) fn on_epoch_written(
        &mut self,
        file: EpochFile,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        match (file, &self.phase) {
            (EpochFile::Accepted, &Phase::Promising { current_epoch }) => {
                parts.epochs.state_written(file, parts.config, io);
                self.send_ack_epoch(Some(current_epoch), parts, io);
                self.read_inbox(parts, io)
            }
            (EpochFile::Current, Phase::Persisting { .. }) => {
                parts.epochs.state_written(file, parts.config, io);
                self.defer_persist(io);
                Ok(())
            }
            (EpochFile::Accepted | EpochFile::Current, _) => {
                unreachable!("{file:?} was written for nothing while {}", self.phase_name())
            }
        }
    }

    /// The leader's connection closes; what was not read is gone.
    pub(super) fn shut_down(&self, why: &'static str, io: &mut Io<'_, Coordinator>) {
        if let Some(end) = self.end {
            io.close(end);
        }
        io.state(Fact::LearnerLeft { leader: self.leader, why });
    }

    /// Whether the tree must be thrown away and read back: something is in it that the disk does not have.
    ///
    /// The real server does so only while a SNAP is under way; txns applied behind a TRUNC stay in memory (§2.1). Then the next
    /// leader's DIFF would leave a hole in the log.
    pub(super) fn is_ahead_of_disk(&self, defects: &Defects) -> bool {
        match &self.phase {
            Phase::Synchronising(sync) | Phase::Persisting { sync, .. } => {
                let forgives = defects.has(Defect::KeepDbAfterPartialSnap) && sync.mode == SyncMode::Snap;
                sync.ahead_of_disk && !forgives
            }
            Phase::ReceivingSnapshot { .. } => true,
            Phase::Dialing { .. }
            | Phase::Pausing { .. }
            | Phase::WaitLeaderInfo
            | Phase::Promising { .. }
            | Phase::WaitSync => false,
            // What could not be logged may be applied already (ZOOKEEPER-4882).
            Phase::Broadcast => self.server_failed && !defects.has(Defect::KeepMemoryAfterLogError),
        }
    }

    fn write(&self, packet: QuorumPacket, io: &mut Io<'_, Coordinator>) {
        io.send(self.end.expect("a connected learner has an end"), QuorumMessage::Packet(packet));
    }

    fn read_on(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.read_deadline = now.saturating_add(self.read_timeout);
    }

    /// Reads what arrived while it did not read.
    fn read_inbox(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), Left> {
        while self.reads() {
            match self.inbox.pop_front() {
                None => break,
                Some(Arrival::Lost) => return Err(Left::Leader("connection to the leader is lost")),
                Some(Arrival::Message(message)) => self.read(message, parts, io)?,
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        message: QuorumMessage,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        self.read_deadline = io.now().saturating_add(self.read_timeout);
        if self.server_failed {
            return Err(Left::Leader("unexpected internal error"));
        }
        let packet = match (message, &self.phase) {
            (QuorumMessage::Snapshot(stream), &Phase::ReceivingSnapshot { zxid }) => {
                return self.on_snapshot(zxid, &stream, parts, io);
            }
            (QuorumMessage::Packet(packet), _) => packet,
            (QuorumMessage::Snapshot(_), _) => return Err(Left::Leader("bytes that are no packet")),
        };
        match &mut self.phase {
            Phase::WaitLeaderInfo => self.on_leader_info(packet, parts, io),
            Phase::WaitSync => self.on_first_sync_packet(packet, parts, io),
            Phase::ReceivingSnapshot { .. } => Err(Left::Leader("missing signature of the snapshot stream")),
            Phase::Synchronising(_) => self.on_sync_packet(packet, parts, io),
            Phase::Broadcast => self.on_broadcast_packet(packet, parts, io),
            Phase::Dialing { .. } | Phase::Pausing { .. } | Phase::Promising { .. } | Phase::Persisting { .. } => {
                unreachable!("it does not read now")
            }
        }
    }

    fn on_leader_info(
        &mut self,
        packet: QuorumPacket,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        let QuorumPacket::LeaderInfo { epoch, .. } = packet else {
            return Err(Left::Leader("first packet of the leader is no LEADERINFO"));
        };
        let accepted = parts.accepted_epoch();
        self.epoch = Some(epoch);
        if epoch < accepted {
            return Err(Left::Leader("the leader's epoch is lower than one promised"));
        }
        if epoch == accepted {
            // Promised before: the answer must not count towards the leader's quorum again.
            self.send_ack_epoch(None, parts, io);
            return Ok(());
        }
        let current_epoch = parts.current_epoch();
        self.phase = Phase::Promising { current_epoch };
        parts
            .epochs
            .begin(EpochFile::Accepted, epoch, self.term, parts.config, io)
            .map_err(|_| Left::Leader("acceptedEpoch could not be written"))
    }

    fn send_ack_epoch(&mut self, current_epoch: Option<PeerEpoch>, parts: &Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let last_logged = self.has_database.then(|| parts.db.last_processed());
        self.write(QuorumPacket::AckEpoch { last_logged, current_epoch }, io);
        self.read_on(Phase::WaitSync, io.now());
    }

    /// `processPacket` of a follower or an observer.
    fn on_broadcast_packet(
        &mut self,
        packet: QuorumPacket,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        match packet {
            QuorumPacket::Ping { zxid } => {
                let touches = parts
                    .server
                    .take_touches()
                    .into_iter()
                    .map(|(session, timeout_ms)| SessionTouch { session, timeout_ms })
                    .collect();
                self.write(QuorumPacket::PingReply { zxid, touches }, io);
                Ok(())
            }
            QuorumPacket::Proposal { zxid, entry } if !self.observes => {
                let proposal = decode(zxid, entry)?;
                if let Some(seen) = parts.config_in(&proposal) {
                    parts.set_last_seen(seen, io);
                }
                parts.server.log_proposal(proposal, io);
                Ok(())
            }
            QuorumPacket::Commit { zxid } if !self.observes => commit(zxid, parts, io),
            QuorumPacket::Inform { zxid, entry } if self.observes => {
                let proposal = decode(zxid, entry)?;
                parts.server.inform(proposal, io);
                Ok(())
            }
            QuorumPacket::CommitAndActivate { zxid, designated_leader } if !self.observes => {
                let head = parts.server.next_to_commit();
                let Some(new) = head.and_then(|head| parts.config_in(&head)) else {
                    return Err(Left::Leader("no reconfiguration waits for a commit"));
                };
                let major = parts.process_reconfig(new, Some((designated_leader, zxid)), io);
                commit(zxid, parts, io)?;
                if major { Err(Left::Leader(RECONFIGURED)) } else { Ok(()) }
            }
            QuorumPacket::InformAndActivate { zxid, designated_leader, entry } if self.observes => {
                let proposal = decode(zxid, entry)?;
                let Some(new) = parts.config_in(&proposal) else {
                    return Err(Left::Leader("what was committed is no reconfiguration"));
                };
                let major = parts.process_reconfig(new, Some((designated_leader, zxid)), io);
                parts.server.inform(proposal, io);
                if major { Err(Left::Leader(RECONFIGURED)) } else { Ok(()) }
            }
            QuorumPacket::RevalidateReply { session, is_valid } => {
                parts.revalidated(session, is_valid, io);
                Ok(())
            }
            QuorumPacket::Sync => {
                parts.server.sync_done(io);
                Ok(())
            }
            // Ignored, with a message in the real server's log.
            QuorumPacket::UpToDate
            | QuorumPacket::NewLeader { .. }
            | QuorumPacket::Request(_)
            | QuorumPacket::Ack { .. }
            | QuorumPacket::PingReply { .. }
            | QuorumPacket::Revalidate(_)
            | QuorumPacket::Proposal { .. }
            | QuorumPacket::Commit { .. }
            | QuorumPacket::Inform { .. }
            | QuorumPacket::CommitAndActivate { .. }
            | QuorumPacket::FollowerInfo { .. }
            | QuorumPacket::Diff { .. }
            | QuorumPacket::Trunc { .. }
            | QuorumPacket::Snap { .. }
            | QuorumPacket::ObserverInfo { .. }
            | QuorumPacket::LeaderInfo { .. }
            | QuorumPacket::AckEpoch { .. }
            | QuorumPacket::InformAndActivate { .. } => Ok(()),
        }
    }

    /// What the pipeline wants of a learner's leader.
    ///
    /// `is_writing`: the configuration last heard of is not durable yet.
    pub(super) fn on_server_event(&mut self, event: ServerEvent, is_writing: bool, io: &mut Io<'_, Coordinator>) {
        match event {
            ServerEvent::Forward { session, cxid, op, body, ids } => {
                let request = LearnerRequest { session, cxid, op, body, auth: ids.to_vec() };
                self.write(QuorumPacket::Request(request), io);
            }
            ServerEvent::Revalidate { session, timeout_ms } => {
                self.write(QuorumPacket::Revalidate(SessionTouch { session, timeout_ms }), io);
            }
            // Nobody waits for an observer.
            ServerEvent::Logged(_) if self.observes => {}
            // Its thread is busy with a file; in the real server the txn is not even logged before.
            ServerEvent::Logged(zxids) if is_writing => self.held_acks.extend(zxids),
            ServerEvent::Logged(zxids) => {
                for zxid in zxids {
                    self.write(QuorumPacket::Ack { zxid }, io);
                }
            }
            ServerEvent::Applied { .. } => {}
            ServerEvent::Fatal(_) => self.on_server_failed(),
            ServerEvent::Propose(_) | ServerEvent::XidRollover | ServerEvent::LeaderSync { .. } => {
                unreachable!("a follower's pipeline proposes nothing")
            }
            ServerEvent::Closed => unreachable!("the server of a follower at work is open"),
        }
    }

    /// The configuration last heard of is durable: what waited for that goes on.
    pub(super) fn on_config_written(&mut self, io: &mut Io<'_, Coordinator>) {
        if std::mem::take(&mut self.persist_held) {
            self.defer_persist(io);
        }
        for zxid in std::mem::take(&mut self.held_acks) {
            self.write(QuorumPacket::Ack { zxid }, io);
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.inbox.len() <= INBOX_MAX, "the inbox is bounded");
        assert!(!self.reads() || self.inbox.is_empty(), "who reads leaves nothing unread");
        if let Phase::Persisting { steps, .. } = &self.phase {
            assert!(!steps.is_empty() || self.epoch.is_some(), "a persisting learner knows its epoch");
        }
        if let Phase::Synchronising(sync) | Phase::Persisting { sync, .. } = &self.phase {
            assert!(
                sync.not_logged.iter().zip(sync.not_logged.iter().skip(1)).all(|(a, b)| a.zxid() < b.zxid()),
                "proposals are in order"
            );
        }
    }

    pub(super) fn digest(&self, into: &mut machine::Digest) {
        into.text(self.phase_name());
        into.word(u64::from(self.leader.value()));
        into.word(self.epoch.map_or(0, |epoch| u64::from(epoch.value())));
        into.word(self.inbox.len() as u64);
    }
}

/// A proposal that cannot be read ends the following, as any exception in the real loop.
fn decode(zxid: Zxid, bytes: Bytes) -> Result<Arc<Proposal>, Left> {
    match TxnEntry::decode(&bytes) {
        Ok(entry) if entry.header.zxid == zxid => Ok(Arc::new(Proposal { entry, bytes })),
        Ok(_) | Err(_) => Err(Left::Leader("a proposal cannot be read")),
    }
}

fn commit(zxid: Zxid, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), Left> {
    match parts.commit(zxid, io) {
        Committing::Taken | Committing::NonePending => Ok(()),
        Committing::Mismatch { .. } => Err(Left::Process(EXIT_UNMATCHED_COMMIT)),
    }
}
