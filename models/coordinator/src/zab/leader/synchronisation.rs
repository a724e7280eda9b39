//! `syncFollower` and what follows it: the learner's history becomes a prefix of the leader's (zookeeper.md §3.4).

use bytes::Bytes;
use jute::quorum::{QuorumMessage, QuorumPacket};
use jute::{PeerEpoch, Zxid};
use machine::{EndId, Io};

use super::{Leader, Unfit};
use crate::defect::Defect;
use crate::work::learner;
use crate::zab::ZabWork;
use crate::zab::learner_handler::{LearnerHandler, Phase, Syncing};
use crate::zab::parts::Parts;
use crate::zab::proposals::Proposals;
use crate::zab::sync_plan::{self, History, Opening, SyncPlan};
use crate::{Coordinator, CoordinatorMark, Fact};

impl Leader {
    /// `syncFollower` and what follows it (§3.4). One step: no commit comes between the decision and `startForwarding`.
    pub(super) fn synchronise(
        &mut self,
        end: EndId,
        last_logged: Option<Zxid>,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let plan = plan_for(last_logged, parts, io);
        let syncing = if plan.opening == Opening::Snap { Syncing::Snap } else { Syncing::Diff };
        if self.is_throttled(end, syncing, parts) {
            io.reach(CoordinatorMark::SyncThrottled);
            self.drop_learner(end, Unfit("too many learners are being synchronised"), io);
            return;
        }
        let proposals = self.proposals.as_mut().expect("the epoch is settled");
        let handler = self.learners.get_mut(&end).expect("the learner is still there");
        handler.syncing = Some(syncing);
        let sid = handler.sid.expect("FOLLOWERINFO came before");
        if handler.observes {
            io.reach(CoordinatorMark::ObserverSynchronised);
        }
        if plan.from_disk {
            io.reach(CoordinatorMark::SyncedByDiskDiff);
        }
        io.reach(match plan.opening {
            Opening::Diff(_) => CoordinatorMark::SyncedByDiff,
            Opening::Trunc(_) => CoordinatorMark::SyncedByTrunc,
            Opening::Snap => CoordinatorMark::SyncedBySnap,
        });
        let (Opening::Diff(zxid) | Opening::Trunc(zxid)) = plan.opening else {
            io.state(Fact::SyncDecided {
                learner: sid,
                mode: plan.opening.name(),
                peer_zxid: last_logged.unwrap_or(Zxid::ZERO),
                zxid: parts.db.last_processed(),
            });
            start_forwarding(handler, proposals, plan.forward_after, io);
            if parts.config.defects.has(Defect::NewLeaderBeforeSnap) {
                handler.queue(new_leader(self.epoch, parts), io);
            }
            handler.enter(Phase::SendSnapshot, io.now());
            io.defer(learner(sid), ZabWork::SendSnapshot { learner: end, zxid: parts.db.last_processed() });
            return;
        };
        io.state(Fact::SyncDecided {
            learner: sid,
            mode: plan.opening.name(),
            peer_zxid: last_logged.unwrap_or(Zxid::ZERO),
            zxid,
        });
        handler.queue(
            match plan.opening {
                Opening::Diff(zxid) => QuorumPacket::Diff { zxid },
                Opening::Trunc(zxid) => QuorumPacket::Trunc { zxid },
                Opening::Snap => unreachable!("a snapshot was decided above"),
            },
            io,
        );
        let hole = plan.txns.len().checked_sub(2).filter(|_| parts.config.defects.has(Defect::HoleInDiff));
        for (at, (zxid, entry)) in plan.txns.into_iter().enumerate() {
            if hole == Some(at) {
                continue;
            }
            handler.queue(QuorumPacket::Proposal { zxid, entry }, io);
            handler.queue(QuorumPacket::Commit { zxid }, io);
        }
        if parts.config.defects.has(Defect::SyncWithoutLogLock) {
            handler.enter(Phase::SendSnapshot, io.now());
            io.defer(learner(sid), ZabWork::StartForwarding { learner: end, after: plan.forward_after });
            return;
        }
        start_forwarding(handler, proposals, plan.forward_after, io);
        self.send_new_leader(end, parts, io);
    }

    /// Whether an observer must come again later; a follower never has to, but counts.
    fn is_throttled(&self, end: EndId, syncing: Syncing, parts: &Parts<'_>) -> bool {
        let most = match syncing {
            Syncing::Snap => parts.config.max_concurrent_snap_syncs,
            Syncing::Diff => parts.config.max_concurrent_diff_syncs,
        };
        let observes = self.learners.get(&end).is_some_and(|handler| handler.observes);
        observes && self.learners.values().filter(|handler| handler.syncing == Some(syncing)).count() >= most
    }

    /// ZOOKEEPER-962: whatever was committed and applied since the decision is not sent.
    pub(in crate::zab) fn on_start_forwarding(
        &mut self,
        end: EndId,
        after: Zxid,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let Some(handler) = self.learners.get_mut(&end) else { return };
        start_forwarding(handler, self.proposals.as_mut().expect("the epoch is settled"), after, io);
        self.send_new_leader(end, parts, io);
    }

    /// The tree as it is now goes out before anything queued; then NEWLEADER goes behind it, and the sender starts.
    ///
    /// Simplified: the stream is serialised in one step, so it is never fuzzy; the leader may still have gone on since it
    /// decided for SNAP.
    pub(in crate::zab) fn on_send_snapshot(
        &mut self,
        end: EndId,
        decided_at: Zxid,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let Some(handler) = self.learners.get(&end) else { return }; // It left meanwhile.
        assert_eq!(handler.phase(), Phase::SendSnapshot, "a snapshot is sent once");
        let is_late = parts.config.defects.has(Defect::NewLeaderBeforeSnap);
        let zxid = if is_late { decided_at } else { parts.db.last_processed() };
        handler.write_now(QuorumMessage::Packet(QuorumPacket::Snap { zxid }), io);
        handler.write_now(QuorumMessage::Snapshot(parts.serialise_snapshot()), io);
        self.send_new_leader(end, parts, io);
    }

    pub(super) fn send_new_leader(&mut self, end: EndId, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let handler = self.learners.get_mut(&end).expect("the learner is still there");
        let is_queued = handler.phase() == Phase::SendSnapshot && parts.config.defects.has(Defect::NewLeaderBeforeSnap);
        if !is_queued {
            handler.queue(new_leader(self.epoch, parts), io);
        }
        handler.start_sender(io);
        handler.enter(Phase::WaitNewLeaderAck, io.now());
        self.read_inbox(end, parts, io);
    }
}

fn new_leader(epoch: PeerEpoch, parts: &Parts<'_>) -> QuorumPacket {
    QuorumPacket::NewLeader {
        zxid: epoch.start(),
        config: Bytes::from(parts.membership.last_seen().text(parts.config)),
    }
}

/// `syncFollower`'s decision, with the committed log and the log files as they are now.
fn plan_for(last_logged: Option<Zxid>, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> SyncPlan {
    let last_processed = parts.db.last_processed();
    let Some(peer) = last_logged else {
        // A peer without a database: nothing it has could be kept.
        return SyncPlan { opening: Opening::Snap, txns: Vec::new(), forward_after: last_processed, from_disk: false };
    };
    let db = parts.db.clone();
    let committed = db.committed_log();
    let history = History {
        committed: committed.min().zip(committed.max()),
        committed_log: &mut committed.iter().map(|(zxid, entry)| (zxid, entry.clone())),
        last_processed,
        force_snapshot: parts.config.force_snapshot_sync,
        cuts_strangers: !parts.config.defects.has(Defect::DiffWithoutTrunc),
        diffs_from_zero: parts.config.defects.has(Defect::DiffFromZero),
        cuts_tails: !parts.config.defects.has(Defect::NoTruncation),
    };
    sync_plan::plan(peer, history, || parts.log_files_from(peer, io))
}

/// `startForwarding`: what the learner lacks and is not in its plan, then everything live.
fn start_forwarding(
    handler: &mut LearnerHandler,
    proposals: &mut Proposals,
    after: Zxid,
    io: &mut Io<'_, Coordinator>,
) {
    proposals.forget_acks(handler.sid.expect("FOLLOWERINFO came before"), after);
    if proposals.last_proposed() > after {
        let observes = handler.observes;
        for (zxid, entry, committed) in proposals.after(after).filter(|(.., committed)| *committed || !observes) {
            handler.queue(QuorumPacket::Proposal { zxid, entry }, io);
            if committed {
                handler.queue(QuorumPacket::Commit { zxid }, io);
            } else {
                io.reach(CoordinatorMark::JoinedUnderLoad);
            }
        }
    }
    handler.forwarding = true;
}
