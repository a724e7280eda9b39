//! From the first packet of `syncWithLeader` to UPTODATE, with everything that is persisted on the way (zookeeper.md §3.5).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use jute::Zxid;
use jute::quorum::QuorumPacket;
use machine::disk::DiskError;
use machine::{Io, Ticket};

use super::{EXIT_QUORUM_PACKET, Learner, Left, PersistStep, Phase, RECONFIGURED, Sync, SyncMode, commit, decode};
use crate::database::follows;
use crate::defect::Defect;
use crate::quorum_verifier::QuorumVerifier;
use crate::server::{Proposal, Serving};
use crate::store::{Durability, EpochFile};
use crate::work::MAIN;
use crate::zab::ZabWork;
use crate::zab::parts::Parts;
use crate::{Coordinator, CoordinatorMark, Fact};

impl Learner {
    /// The first packet of `syncWithLeader`.
    pub(super) fn on_first_sync_packet(
        &mut self,
        packet: QuorumPacket,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        match packet {
            QuorumPacket::Diff { zxid } => {
                // `lastProcessedZxid` stays: the packet's zxid is only a promise (ZOOKEEPER-2355).
                if parts.config.defects.has(Defect::DiffSetsLastProcessed) {
                    parts.db.set_last_processed(zxid);
                }
                let snapshot_needed = parts.config.snapshot_trust_empty && !parts.has_snapshot(io);
                self.begin_sync(SyncMode::Diff, snapshot_needed, parts, io);
                Ok(())
            }
            QuorumPacket::Trunc { zxid } => {
                let Ok((cut, files_removed)) = parts.truncate(zxid, io) else {
                    return Err(Left::Process(EXIT_QUORUM_PACKET));
                };
                parts.db.set_last_processed(zxid);
                io.reach(CoordinatorMark::TailTruncated);
                io.state(Fact::Truncated { zxid });
                self.begin_sync(SyncMode::Trunc, true, parts, io);
                if let Phase::Synchronising(sync) = &mut self.phase {
                    (sync.cut, sync.files_removed) = (cut, files_removed);
                }
                Ok(())
            }
            QuorumPacket::Snap { zxid } => {
                self.read_on(Phase::ReceivingSnapshot { zxid }, io.now());
                Ok(())
            }
            // The real server takes anything else for a broken stream too, pings included: none comes so early.
            QuorumPacket::Request(_)
            | QuorumPacket::Proposal { .. }
            | QuorumPacket::Ack { .. }
            | QuorumPacket::Commit { .. }
            | QuorumPacket::Ping { .. }
            | QuorumPacket::PingReply { .. }
            | QuorumPacket::Revalidate(_)
            | QuorumPacket::RevalidateReply { .. }
            | QuorumPacket::Sync
            | QuorumPacket::Inform { .. }
            | QuorumPacket::CommitAndActivate { .. }
            | QuorumPacket::NewLeader { .. }
            | QuorumPacket::FollowerInfo { .. }
            | QuorumPacket::UpToDate
            | QuorumPacket::ObserverInfo { .. }
            | QuorumPacket::LeaderInfo { .. }
            | QuorumPacket::AckEpoch { .. }
            | QuorumPacket::InformAndActivate { .. } => Err(Left::Process(EXIT_QUORUM_PACKET)),
        }
    }

    pub(super) fn on_snapshot(
        &mut self,
        zxid: Zxid,
        stream: &Bytes,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        if !parts.load_snapshot(zxid, stream) {
            return Err(Left::Leader("the snapshot stream cannot be read"));
        }
        self.begin_sync(SyncMode::Snap, true, parts, io);
        Ok(())
    }

    pub(super) fn begin_sync(
        &mut self,
        mode: SyncMode,
        snapshot_needed: bool,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        parts.publish_config(io);
        let sync = Sync {
            mode,
            snapshot_needed,
            write_to_log: !snapshot_needed,
            not_logged: VecDeque::new(),
            committed: VecDeque::new(),
            last_queued: None,
            ahead_of_disk: mode == SyncMode::Snap,
            cut: None,
            files_removed: false,
            new_leader_config: None,
            acked: false,
        };
        self.read_on(Phase::Synchronising(sync), io.now());
    }

    /// The loop of `syncWithLeader`, before and after NEWLEADER.
    pub(super) fn on_sync_packet(
        &mut self,
        packet: QuorumPacket,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        let Phase::Synchronising(sync) = &mut self.phase else { unreachable!("it synchronises") };
        match packet {
            QuorumPacket::Proposal { zxid, entry } => {
                if Defect::learner_refuses_gaps(&parts.config.defects)
                    && sync.last_queued.is_some_and(|last| !follows(last, zxid))
                {
                    return Err(Left::Leader("a proposal leaves a gap"));
                }
                sync.last_queued = Some(zxid);
                let proposal = decode(zxid, entry)?;
                sync.not_logged.push_back(Arc::clone(&proposal));
                if let Some(seen) = parts.config_in(&proposal) {
                    parts.set_last_seen(seen, io);
                }
                Ok(())
            }
            QuorumPacket::CommitAndActivate { zxid, designated_leader }
                if let Some(new) = reconfig_at_head(sync, zxid, parts) =>
            {
                if parts.process_reconfig(new, Some((designated_leader, zxid)), io) {
                    return Err(Left::Leader(RECONFIGURED));
                }
                self.on_sync_packet(QuorumPacket::Commit { zxid }, parts, io)
            }
            QuorumPacket::Commit { zxid } | QuorumPacket::CommitAndActivate { zxid, .. } => {
                if sync.write_to_log {
                    sync.committed.push_back(zxid);
                } else if sync.not_logged.front().is_some_and(|head| head.zxid() == zxid) {
                    let proposal = sync.not_logged.pop_front().expect("there is a head");
                    refuse_gap(&proposal, parts)?;
                    sync.ahead_of_disk = true;
                    apply(&proposal, parts, io);
                }
                // Any other commit is of something the snapshot has: ignored.
                Ok(())
            }
            // A txn and its commit in one, of an observer.
            QuorumPacket::Inform { zxid, entry } if self.observes => {
                let proposal = decode(zxid, entry)?;
                if sync.write_to_log {
                    sync.not_logged.push_back(proposal);
                    sync.committed.push_back(zxid);
                } else {
                    refuse_gap(&proposal, parts)?;
                    sync.ahead_of_disk = true;
                    apply(&proposal, parts, io);
                }
                sync.last_queued = Some(zxid);
                Ok(())
            }
            QuorumPacket::InformAndActivate { zxid, designated_leader, entry } if self.observes => {
                let new = parts.config_in(&*decode(zxid, entry.clone())?);
                if new.is_some_and(|new| parts.process_reconfig(new, Some((designated_leader, zxid)), io)) {
                    return Err(Left::Leader(RECONFIGURED));
                }
                self.on_sync_packet(QuorumPacket::Inform { zxid, entry }, parts, io)
            }
            QuorumPacket::NewLeader { zxid, config } => {
                sync.new_leader_config = parts.read_config(&config).map(Box::new);
                if let Some(seen) = &sync.new_leader_config {
                    parts.set_last_seen(QuorumVerifier::clone(seen), io);
                }
                self.on_new_leader(zxid, parts, io)
            }
            QuorumPacket::UpToDate => self.on_up_to_date(parts, io),
            // No case of the real loop: ignored. Pings among them, which are not answered before UPTODATE.
            QuorumPacket::Ping { .. }
            | QuorumPacket::Request(_)
            | QuorumPacket::Ack { .. }
            | QuorumPacket::PingReply { .. }
            | QuorumPacket::Revalidate(_)
            | QuorumPacket::RevalidateReply { .. }
            | QuorumPacket::Sync
            | QuorumPacket::Inform { .. }
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

    /// NEWLEADER: what the learner has now must survive before it says so.
    pub(super) fn on_new_leader(
        &mut self,
        zxid: Zxid,
        parts: &Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        let epoch = self.epoch.expect("LEADERINFO came before");
        if zxid != epoch.start() {
            return Err(Left::Leader("NEWLEADER of another epoch"));
        }
        let Phase::Synchronising(sync) = &self.phase else { unreachable!("it synchronises") };
        if sync.acked {
            return Err(Left::Leader("a second NEWLEADER"));
        }
        let defects = &parts.config.defects;
        let mut steps = VecDeque::new();
        if sync.snapshot_needed {
            steps.push_back(PersistStep::Snapshot);
        }
        if defects.has(Defect::AckNewLeaderBeforeTxns) {
            // ZOOKEEPER-3911: up to 3.6.2 they went to the log behind UPTODATE, like what was proposed since.
            steps.push_back(PersistStep::Epoch);
        } else if defects.has(Defect::EpochBeforeTxns) {
            // ZOOKEEPER-4643: up to 3.9.1 the epoch came first.
            steps.extend([PersistStep::Epoch, PersistStep::Txns]);
        } else {
            steps.extend([PersistStep::Txns, PersistStep::Epoch]);
        }
        if defects.has(Defect::EpochAfterUpToDate) {
            steps.retain(|&step| step != PersistStep::Epoch);
        }
        if defects.has(Defect::EpochFileFirst) {
            steps.retain(|&step| step != PersistStep::Epoch);
            steps.push_front(PersistStep::Epoch);
        }
        steps.push_back(PersistStep::Ack);
        let mut sync = sync.clone();
        if defects.has(Defect::ClearPendingAtNewLeader) {
            // ZOOKEEPER-4394: what is not committed by now is forgotten.
            sync.not_logged.retain(|proposal| sync.committed.contains(&proposal.zxid()));
        }
        self.phase = Phase::Persisting { sync, steps, tickets: BTreeSet::new(), snapshot: None };
        self.defer_persist(io);
        Ok(())
    }

    pub(super) fn defer_persist(&self, io: &mut Io<'_, Coordinator>) {
        io.defer(MAIN, ZabWork::Persist { term: self.term });
    }

    /// The next persisted step between NEWLEADER and its ACK.
    pub(in crate::zab) fn on_persist(
        &mut self,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        let Phase::Persisting { sync, steps, tickets, snapshot } = &mut self.phase else {
            unreachable!("a persisted step while {}", self.phase_name())
        };
        assert!(tickets.is_empty(), "a step begins when the one before is durable");
        match steps.pop_front().expect("the last step leaves the phase") {
            PersistStep::Snapshot => {
                // The real server syncs it only after a SNAP. But txns that came behind a TRUNC are nowhere else, and the ACK
                // will vouch for them.
                let is_lazy = parts.config.defects.has(Defect::SnapshotNotSynced);
                if is_lazy || sync.mode == SyncMode::Trunc && !sync.ahead_of_disk {
                    parts.take_snapshot(Durability::Lazy, io).map_err(Left::Process)?;
                } else {
                    let writer = parts.take_snapshot(Durability::Synced, io).map_err(Left::Process)?;
                    tickets.insert(writer.sync(io));
                    *snapshot = Some(writer);
                }
                // Nor does it sync the cut. A journal takes it along with the sync of the next file, which this stands for.
                tickets.extend(sync.cut.take().map(|file| io.sync(file)));
                if std::mem::take(&mut sync.files_removed) {
                    tickets.insert(io.sync_directory());
                }
                sync.write_to_log = true;
                if tickets.is_empty() {
                    sync.ahead_of_disk = false;
                    self.defer_persist(io);
                }
                Ok(())
            }
            PersistStep::Txns => {
                sync.write_to_log = true;
                let mut appended = false;
                // An observer vouches for nothing: they wait for UPTODATE.
                while let Some(zxid) = (!self.observes).then(|| sync.committed.pop_front()).flatten() {
                    // One that is not next is ignored, with a warning in the real server's log.
                    if sync.not_logged.front().is_some_and(|head| head.zxid() == zxid) {
                        let proposal = sync.not_logged.pop_front().expect("there is a head");
                        refuse_gap(&proposal, parts)?;
                        if let Err(error) = parts.log.append(io.disk(), zxid, &proposal.bytes) {
                            return Err(log_failed(&error, io));
                        }
                        appended = true;
                        sync.ahead_of_disk = true;
                        apply(&proposal, parts, io);
                    }
                }
                if appended {
                    match parts.flush_log(io) {
                        Ok(begun) => tickets.extend(begun),
                        Err(error) => return Err(log_failed(&error, io)),
                    }
                }
                if tickets.is_empty() {
                    sync.ahead_of_disk = false;
                    self.defer_persist(io);
                }
                Ok(())
            }
            PersistStep::Epoch => {
                let epoch = self.epoch.expect("LEADERINFO came before");
                if epoch == parts.epochs.current() {
                    // Written again in the real server, to the same effect.
                    self.defer_persist(io);
                    return Ok(());
                }
                parts
                    .epochs
                    .begin(EpochFile::Current, epoch, self.term, parts.config, io)
                    .map_err(|_| Left::Leader("currentEpoch could not be written"))
            }
            PersistStep::Ack if parts.membership.is_writing_last_seen() => {
                steps.push_front(PersistStep::Ack);
                self.persist_held = true;
                Ok(())
            }
            PersistStep::Open => {
                let sync = sync.clone();
                self.open_server(sync, parts, io)
            }
            PersistStep::Ack => {
                assert!(steps.is_empty(), "the ACK is the last step");
                let epoch = self.epoch.expect("LEADERINFO came before");
                let mut sync = sync.clone();
                assert!(!sync.ahead_of_disk, "what it vouches for is durable");
                sync.acked = true;
                io.state(Fact::Synchronised {
                    leader: self.leader,
                    epoch,
                    mode: sync.mode.name(),
                    zxid: parts.db.last_processed(),
                });
                self.write(QuorumPacket::Ack { zxid: epoch.start() }, io);
                self.read_timeout = parts.config.sync_time();
                self.read_on(Phase::Synchronising(sync), io.now());
                self.read_inbox(parts, io)
            }
        }
    }

    /// A sync of a persisted step came back.
    pub(in crate::zab) fn on_durable(
        &mut self,
        ticket: Ticket,
        result: Result<(), DiskError>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Left> {
        let Phase::Persisting { sync, tickets, snapshot, .. } = &mut self.phase else {
            unreachable!("the ticket is owned")
        };
        assert!(tickets.remove(&ticket), "the ticket is owned");
        if result.is_err() {
            return Err(Left::Leader("what was synchronised could not be made durable"));
        }
        if tickets.is_empty()
            && let Some(writer) = snapshot.take()
            && writer.publish(io.disk()).is_err()
        {
            return Err(Left::Leader("the snapshot could not be put in its place"));
        }
        if tickets.is_empty() {
            sync.ahead_of_disk = false;
            self.defer_persist(io);
        }
        Ok(())
    }

    /// UPTODATE: the server opens.
    pub(super) fn on_up_to_date(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), Left> {
        let Phase::Synchronising(sync) = &mut self.phase else { unreachable!("it synchronises") };
        if !sync.acked {
            return Err(Left::Leader("UPTODATE before NEWLEADER"));
        }
        let sync = sync.clone();
        if let Some(new) = sync.new_leader_config.clone()
            && parts.process_reconfig(*new, None, io)
        {
            return Err(Left::Leader(RECONFIGURED));
        }
        if parts.config.defects.has(Defect::EpochAfterUpToDate) {
            let steps = VecDeque::from([PersistStep::Epoch, PersistStep::Open]);
            self.phase = Phase::Persisting { sync, steps, tickets: BTreeSet::new(), snapshot: None };
            self.defer_persist(io);
            return Ok(());
        }
        self.open_server(sync, parts, io)
    }

    /// The server opens, and what was proposed since the synchronisation began goes its usual way.
    fn open_server(&mut self, sync: Sync, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), Left> {
        let epoch = self.epoch.expect("LEADERINFO came before");
        self.write(QuorumPacket::Ack { zxid: epoch.start() }, io);
        parts.open_server(if self.observes { Serving::Observer } else { Serving::Follower }, io);
        if let Some(election) = parts.election.as_mut() {
            election.update_election_vote(epoch);
        }
        self.read_on(Phase::Broadcast, io.now());
        if self.observes {
            let mut committed = sync.committed.into_iter().peekable();
            // What has no commit is an old leader's outstanding proposal: passed over.
            for proposal in sync.not_logged {
                if committed.next_if_eq(&proposal.zxid()).is_some() {
                    parts.server.inform(proposal, io);
                }
            }
            return Ok(());
        }
        for proposal in sync.not_logged {
            parts.server.log_proposal(proposal, io);
        }
        for zxid in sync.committed {
            commit(zxid, parts, io)?;
        }
        self.read_inbox(parts, io)
    }
}

/// The configuration that a commit brings into force, if the txn is the next one.
fn reconfig_at_head(sync: &Sync, zxid: Zxid, parts: &Parts<'_>) -> Option<QuorumVerifier> {
    sync.not_logged.front().filter(|head| head.zxid() == zxid).and_then(|head| parts.config_in(head))
}

/// A leader whose own log has holes (ZOOKEEPER-2846) is left, as by the real server's exception; before anything is written.
fn refuse_gap(proposal: &Proposal, parts: &Parts<'_>) -> Result<(), Left> {
    let zxid = proposal.zxid();
    match parts.db.committed_log().max().filter(|_| Defect::learner_refuses_gaps(&parts.config.defects)) {
        Some(max) if zxid > max && !follows(max, zxid) => Err(Left::Leader("a committed txn leaves a gap")),
        Some(_) | None => Ok(()),
    }
}

/// A committed txn goes to the tree outside of the pipeline, which does not run yet.
///
/// Also behind SNAP and TRUNC it goes to the committed log: a hole there is sent on to the next learner (ZOOKEEPER-4925).
fn apply(proposal: &Proposal, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
    let zxid = proposal.zxid();
    let _ = if parts.config.defects.has(Defect::SyncSkipsSessions) {
        parts.db.process_entry_beside_sessions(&proposal.entry)
    } else {
        parts.db.process_entry(&proposal.entry)
    };
    if !parts.config.defects.has(Defect::SyncSkipsCommittedLog) {
        parts.db.add_committed(zxid, proposal.bytes.clone());
    }
    io.state(Fact::Applied {
        zxid,
        session: proposal.entry.header.session,
        txn_digest: proposal.entry.digest.map_or(0, |digest| digest.tree_digest),
        tree_digest: parts.db.digest(),
    });
}

fn log_failed(error: &DiskError, io: &mut Io<'_, Coordinator>) -> Left {
    io.state(Fact::LogFailed { why: error.to_string() });
    Left::Leader("the txn log could not be written")
}
