//! A leader's part in a reconfiguration (zookeeper.md §15).

use std::collections::BTreeSet;
use std::sync::Arc;

use jute::quorum::QuorumPacket;
use jute::{Sid, Zxid};
use machine::Io;

use super::Leader;
use crate::quorum_verifier::{Member, QuorumVerifier};
use crate::server::Proposal;
use crate::zab::parts::Parts;
use crate::{Coordinator, CoordinatorMark};

impl Leader {
    /// A reconfiguration is proposed: from it on, proposals need a quorum of the old and of the new servers.
    pub(super) fn on_reconfig_proposed(
        &mut self,
        proposal: &Proposal,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let Some(new) = parts.config_in(proposal) else { return };
        self.reconfig = Some((proposal.zxid(), Arc::new(new.clone())));
        parts.set_last_seen(new, io);
    }

    /// `startZkServer`: what this leader last heard of was acknowledged with NEWLEADER, and is in force now, be it an earlier leader's
    /// reconfiguration.
    pub(super) fn activate_last_seen(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let new = QuorumVerifier::clone(parts.membership.last_seen());
        let start = self.epoch.start();
        let is_open = !new.is_same_as(parts.membership.current());
        let acks = self.new_leader_acks.clone();
        let designated = self.designated_leader(&new, acks, start, parts);
        parts.process_reconfig(new, Some((designated, start)), io);
        if is_open {
            io.reach(CoordinatorMark::ReconfigCompleted);
        }
        self.allowed_to_commit = designated == self.me;
    }

    /// A reconfiguration has its quorums: it is in force, and everybody is told who leads on.
    pub(super) fn activate(
        &mut self,
        zxid: Zxid,
        new: &QuorumVerifier,
        (entry, acks): (&bytes::Bytes, BTreeSet<Sid>),
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        io.reach(CoordinatorMark::ReconfigCommitted);
        self.reconfig = None;
        let designated_leader = self.designated_leader(new, acks, zxid, parts);
        let last_proposed = self.proposals.as_ref().map_or(zxid, |proposals| proposals.last_proposed());
        parts.process_reconfig(new.clone(), Some((designated_leader, last_proposed)), io);
        if let Some(proposals) = self.proposals.as_mut() {
            proposals.come_into_force(new.version());
        }
        if designated_leader != self.me {
            io.reach(CoordinatorMark::LeaderHandedOver);
            // Followers leave it by themselves, so that a quorum surely heard of the commit.
            self.allowed_to_commit = false;
        }
        for handler in self.learners.values_mut().filter(|handler| handler.forwarding) {
            let packet = if handler.observes {
                QuorumPacket::InformAndActivate { zxid, designated_leader, entry: entry.clone() }
            } else {
                QuorumPacket::CommitAndActivate { zxid, designated_leader }
            };
            handler.queue(packet, io);
        }
    }

    /// `getDesignatedLeader`: this one if it votes on and its learners find it where it is; else who has the most of what is
    /// outstanding.
    fn designated_leader(&self, new: &QuorumVerifier, mut acks: BTreeSet<Sid>, zxid: Zxid, parts: &Parts<'_>) -> Sid {
        let address = parts.membership.own().map(Member::quorum_address);
        if new.is_voter(self.me) && new.members().get(&self.me).map(Member::quorum_address) == address {
            return self.me;
        }
        acks.retain(|&sid| new.is_voter(sid) && sid != self.me);
        self.proposals.as_ref().and_then(|proposals| proposals.best_of(acks, zxid)).unwrap_or(self.me)
    }

    /// The followers that are in step with this leader, and itself.
    pub(in crate::zab) fn synced_followers(&self, me: Sid) -> BTreeSet<Sid> {
        self.learners
            .values()
            .filter(|handler| handler.forwarding && !handler.observes && self.tick <= handler.ack_deadline_tick)
            .filter_map(|handler| handler.sid)
            .chain([me])
            .collect()
    }
}
