//! A leader in office: proposals, acknowledgements, commits, and whether a quorum is still with it (zookeeper.md §3.7, §3.9).

use std::collections::BTreeSet;

use jute::Sid;
use jute::Zxid;
use jute::quorum::{LearnerRequest, QuorumPacket, SessionTouch};
use machine::{EndId, Io};

use super::{Leader, Stage, StepDown, Unfit};
use crate::server::{Committing, Proposal};
use crate::zab::parts::Parts;
use crate::zab::proposals::Acked;
use crate::{Coordinator, CoordinatorMark, Fact};

/// What was committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Commit {
    None,
    OfTxn,
    OfReconfig,
}

impl Leader {
    /// The packet loop of a handler whose learner is up to date.
    pub(super) fn on_streamed(
        &mut self,
        end: EndId,
        packet: QuorumPacket,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let handler = self.learners.get_mut(&end).expect("the learner is still there");
        let sid = handler.sid.expect("FOLLOWERINFO came before");
        handler.ack_deadline_tick = self.tick + u64::from(parts.config.sync_limit);
        match packet {
            QuorumPacket::Ack { zxid } => {
                handler.sync_limit.acked(zxid);
                self.on_ack(sid, zxid, parts, io);
            }
            QuorumPacket::PingReply { touches, .. } => {
                for SessionTouch { session, timeout_ms } in touches {
                    let _ = parts.server.touch(session, timeout_ms, io);
                }
            }
            QuorumPacket::Revalidate(SessionTouch { session, timeout_ms }) => {
                let is_valid = parts.server.revalidate(end, session, timeout_ms, io);
                handler.queue(QuorumPacket::RevalidateReply { session, is_valid }, io);
            }
            QuorumPacket::Request(request) => {
                // What no learner forwards is dropped.
                let LearnerRequest { session, cxid, op, body, auth } = request;
                let _ = parts.server.submit_from_learner(end, session, cxid, op, (&body, auth), io);
            }
            // Ignored, with a warning in the real server's log.
            QuorumPacket::Proposal { .. }
            | QuorumPacket::Commit { .. }
            | QuorumPacket::Ping { .. }
            | QuorumPacket::RevalidateReply { .. }
            | QuorumPacket::Sync
            | QuorumPacket::Inform { .. }
            | QuorumPacket::CommitAndActivate { .. }
            | QuorumPacket::NewLeader { .. }
            | QuorumPacket::FollowerInfo { .. }
            | QuorumPacket::UpToDate
            | QuorumPacket::Diff { .. }
            | QuorumPacket::Trunc { .. }
            | QuorumPacket::Snap { .. }
            | QuorumPacket::ObserverInfo { .. }
            | QuorumPacket::LeaderInfo { .. }
            | QuorumPacket::AckEpoch { .. }
            | QuorumPacket::InformAndActivate { .. } => {}
        }
    }

    /// `propose`: the txn goes to every follower that is forwarded to.
    pub(in crate::zab) fn propose(
        &mut self,
        proposal: &Proposal,
        closes_session: bool,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let zxid = proposal.zxid();
        self.on_reconfig_proposed(proposal, parts, io);
        let proposals = self.proposals.as_mut().expect("a leader that serves has an epoch");
        proposals.propose(zxid, proposal.bytes.clone(), closes_session, parts.membership.quorums());
        let header = &proposal.entry.header;
        io.state(Fact::Proposed { zxid, session: header.session, op: proposal.entry.txn.op().name() });
        for handler in self.learners.values_mut().filter(|handler| handler.forwarding && !handler.observes) {
            handler.queue(QuorumPacket::Proposal { zxid, entry: proposal.bytes.clone() }, io);
        }
    }

    /// The leader's own log has these txns, durably.
    pub(in crate::zab) fn on_logged(&mut self, zxids: Vec<Zxid>, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        for zxid in zxids {
            self.on_ack(self.me, zxid, parts, io);
        }
    }

    /// `processAck`.
    pub(super) fn on_ack(&mut self, by: Sid, zxid: Zxid, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        if !self.allowed_to_commit {
            return;
        }
        if parts.membership.is_writing_last_seen() {
            self.held_acks.push((by, zxid)); // Its thread is busy with the file.
            return;
        }
        let proposals = self.proposals.as_mut().expect("a leader that serves has an epoch");
        let acked = proposals.ack(by, zxid, &parts.config.defects);
        if self.on_acked(acked, zxid, parts, io) == Commit::OfReconfig {
            // What waited for the old quorum too may have all it needs now.
            let mut next = zxid.next();
            while self.allowed_to_commit {
                let proposals = self.proposals.as_mut().expect("a leader that serves has an epoch");
                let acked = proposals.try_to_commit(next, &parts.config.defects);
                if self.on_acked(acked, next, parts, io) == Commit::None {
                    break;
                }
                next = next.next();
            }
        }
    }

    /// What an ack led to.
    fn on_acked(&mut self, acked: Acked, zxid: Zxid, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Commit {
        match acked {
            Acked::Counted => Commit::None,
            Acked::HeldBack => {
                io.reach(CoordinatorMark::CommitHeldBack);
                Commit::None
            }
            Acked::Committed { entry, acks, syncs } => {
                io.state(Fact::Committed { zxid });
                let reconfig = self.reconfig.clone().filter(|(of, _)| *of == zxid);
                if let Some((_, new)) = &reconfig {
                    self.activate(zxid, new, (&entry, acks), parts, io);
                } else {
                    for handler in self.learners.values_mut().filter(|handler| handler.forwarding) {
                        if handler.observes {
                            handler.queue(QuorumPacket::Inform { zxid, entry: entry.clone() }, io);
                        } else {
                            handler.queue(QuorumPacket::Commit { zxid }, io);
                        }
                    }
                }
                match parts.commit(zxid, io) {
                    Committing::Taken => {}
                    Committing::NonePending => panic!("{zxid} is committed, but the pipeline does not have it"),
                    Committing::Mismatch { head } => panic!("{zxid} is committed before {head}"),
                }
                for end in syncs {
                    self.send_sync(end, io);
                }
                if reconfig.is_some() { Commit::OfReconfig } else { Commit::OfTxn }
            }
        }
    }

    /// A learner's sync reached its place in the pipeline.
    pub(in crate::zab) fn on_learner_sync(&mut self, end: EndId, io: &mut Io<'_, Coordinator>) {
        let proposals = self.proposals.as_mut().expect("a leader that serves has an epoch");
        if proposals.sync(end) {
            self.send_sync(end, io);
        }
    }

    pub(super) fn send_sync(&mut self, end: EndId, io: &mut Io<'_, Coordinator>) {
        if let Some(handler) = self.learners.get_mut(&end) {
            handler.queue(QuorumPacket::Sync, io);
        }
    }

    /// The leader's tree has a txn.
    pub(in crate::zab) fn on_applied(&mut self, zxid: Zxid) {
        self.proposals.as_mut().expect("a leader that serves has an epoch").applied(zxid);
    }

    /// One pass of the loop of §3.9.
    pub(super) fn on_half_tick(
        &mut self,
        skip: bool,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), StepDown> {
        if !skip {
            self.tick += 1;
        }
        let synced = self
            .learners
            .values()
            .filter(|handler| self.tick <= handler.ack_deadline_tick)
            .filter_map(|handler| handler.sid)
            .chain([self.me])
            .collect::<BTreeSet<_>>();
        if self.server_failed {
            return Err(StepDown("unexpected internal error"));
        }
        if !skip && !parts.membership.quorums().have_all(&synced) {
            return Err(StepDown("not sufficient followers synced"));
        }
        self.stage = Stage::Broadcast { next_half_tick: io.now() + parts.config.tick_time / 2, skip: !skip };
        for end in self.ends() {
            self.ping(end, parts, io);
        }
        Ok(())
    }

    pub(super) fn ping(&mut self, end: EndId, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let zxid = self.proposals.as_ref().expect("a leader that serves has an epoch").last_proposed();
        let handler = self.learners.get_mut(&end).expect("the learner is still there");
        if !handler.sender_started() {
            return;
        }
        if handler.sync_limit.keeps_up(io.now(), parts.config.sync_time()) {
            handler.queue(QuorumPacket::Ping { zxid }, io);
        } else {
            self.drop_learner(end, Unfit("it does not acknowledge in time"), io);
        }
    }
}
