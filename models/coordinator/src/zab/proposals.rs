//! What a leader proposed, and who acknowledged it (zookeeper.md §3.7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use jute::{Sid, Zxid};
use machine::EndId;

use crate::defect::{Defect, Defects};
use crate::quorum_verifier::Quorums;

/// A proposal that waits for its quorum.
#[derive(Clone, Debug)]
struct Outstanding {
    bytes: Bytes,
    acks: BTreeSet<Sid>,
    /// What its quorum must be of.
    quorums: Quorums,
    /// Whether it ends a session: a leader that dies with one outstanding is a situation of its own (Y21).
    closes_session: bool,
}

/// What an acknowledgement led to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Acked {
    /// Nothing yet, or nothing any more.
    Counted,
    /// There is a quorum, but the proposal before is not committed: commits are strictly in order.
    HeldBack,
    /// It is committed; these learners' syncs waited for it.
    Committed {
        /// The txn, for who is told of commits only.
        entry: Bytes,
        /// Who acknowledged it.
        acks: BTreeSet<Sid>,
        /// Ends of the learners, one for each sync, in the order they came.
        syncs: Vec<EndId>,
    },
}

/// A leader's proposals, from `propose` until they are applied here.
#[derive(Clone, Debug)]
pub(super) struct Proposals {
    last_proposed: Zxid,
    last_committed: Zxid,
    outstanding: BTreeMap<Zxid, Outstanding>,
    /// Committed, and not yet applied to the leader's tree.
    to_be_applied: VecDeque<(Zxid, Bytes)>,
    /// Syncs of learners, by the last zxid proposed when they came.
    pending_syncs: BTreeMap<Zxid, Vec<EndId>>,
    /// Nobody looks whether the counter is at its end (ZOOKEEPER-1277).
    rolls_over: bool,
}

impl Proposals {
    /// Of a leader whose epoch starts with this zxid.
    pub(super) fn new(start: Zxid, defects: &Defects) -> Self {
        assert!(start.is_epoch_start(), "a leadership starts with its NEWLEADER proposal");
        Self {
            last_proposed: start,
            last_committed: start,
            outstanding: BTreeMap::new(),
            to_be_applied: VecDeque::new(),
            pending_syncs: BTreeMap::new(),
            rolls_over: defects.has(Defect::NoRolloverCheck),
        }
    }

    pub(super) const fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    /// Whether it has gone on into an epoch that is not its own.
    pub(super) const fn has_rolled_over(&self) -> bool {
        self.rolls_over
    }

    pub(super) const fn last_committed(&self) -> Zxid {
        self.last_committed
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    pub(super) fn closes_session(&self) -> bool {
        self.outstanding.values().any(|proposal| proposal.closes_session)
    }

    pub(super) fn propose(&mut self, zxid: Zxid, bytes: Bytes, closes_session: bool, quorums: Quorums) {
        assert!(zxid > self.last_proposed, "{zxid} is proposed after {}", self.last_proposed);
        assert!(
            zxid.epoch() == self.last_proposed.epoch() || self.rolls_over,
            "a leader proposes in its own epoch only"
        );
        self.last_proposed = zxid;
        self.outstanding.insert(zxid, Outstanding { bytes, acks: BTreeSet::new(), quorums, closes_session });
    }

    /// `processAck` and `tryToCommit`.
    pub(super) fn ack(&mut self, by: Sid, zxid: Zxid, defects: &Defects) -> Acked {
        // The acks of NEWLEADER and UPTODATE name no txn.
        if zxid.is_epoch_start() || zxid <= self.last_committed {
            return Acked::Counted;
        }
        let Some(proposal) = self.outstanding.get_mut(&zxid) else { return Acked::Counted };
        if proposal.quorums.is_voter(by) {
            proposal.acks.insert(by);
        }
        self.try_to_commit(zxid, defects)
    }

    /// `tryToCommit`: also of a proposal that follows a committed reconfiguration, and may have had its acks before.
    pub(super) fn try_to_commit(&mut self, zxid: Zxid, defects: &Defects) -> Acked {
        let Some(proposal) = self.outstanding.get(&zxid) else { return Acked::Counted };
        let half = proposal.quorums.current().voters().len() / 2;
        let half_is_enough = defects.has(Defect::HalfIsAQuorum) && proposal.acks.len() >= half;
        if !half_is_enough && !proposal.quorums.have_all(&proposal.acks) {
            return Acked::Counted;
        }
        // It is not retried when its predecessor commits: one more ack comes then, since acks of one server are in order.
        if self.outstanding.range(..zxid).next_back().is_some_and(|(&before, _)| before.next() == zxid) {
            return Acked::HeldBack;
        }
        let proposal = self.outstanding.remove(&zxid).expect("it was found above");
        let entry = proposal.bytes.clone();
        self.to_be_applied.push_back((zxid, proposal.bytes));
        assert!(zxid > self.last_committed, "commits are in order");
        self.last_committed = zxid;
        Acked::Committed { entry, acks: proposal.acks, syncs: self.pending_syncs.remove(&zxid).unwrap_or_default() }
    }

    /// A reconfiguration is in force: what was proposed behind it needs the new quorum alone (§3.7, §15). Who voted before and does not
    /// any more leaves its leader with that, and may never acknowledge.
    pub(super) fn come_into_force(&mut self, version: Zxid) {
        for proposal in self.outstanding.values_mut() {
            proposal.quorums.come_into_force(version);
        }
    }

    /// `getDesignatedLeader`: of these, who acknowledged the longest run of what follows `zxid`.
    pub(super) fn best_of(&self, mut candidates: BTreeSet<Sid>, zxid: Zxid) -> Option<Sid> {
        let mut best = candidates.first().copied()?;
        let mut next = zxid.next();
        while let Some(proposal) = self.outstanding.get(&next) {
            candidates.retain(|sid| proposal.acks.contains(sid));
            match candidates.first() {
                None => break,
                Some(&first) => best = first,
            }
            next = next.next();
        }
        Some(best)
    }

    /// A learner's log ends here, or is about to: what it acknowledged behind that, over an earlier connection, is sent to it again.
    ///
    /// The real leader keeps such acks (§3.7): it truncates a follower that comes back with proposals that are not committed yet, and
    /// commits them with the ack of a log that has them no more. A quorum then does not have what was committed (ZK-I11) until
    /// the follower has logged it again.
    pub(super) fn forget_acks(&mut self, of: Sid, behind: Zxid) {
        for (_, proposal) in self.outstanding.range_mut(behind.next()..) {
            proposal.acks.remove(&of);
        }
    }

    /// `processSync`: whether to answer at once; else it is remembered until what was proposed last is committed.
    pub(super) fn sync(&mut self, of: EndId) -> bool {
        if self.outstanding.is_empty() {
            return true;
        }
        self.pending_syncs.entry(self.last_proposed).or_default().push(of);
        false
    }

    /// The leader's tree has it.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        if self.to_be_applied.front().is_some_and(|(head, _)| *head == zxid) {
            self.to_be_applied.pop_front();
        }
    }

    /// What a follower that joins now must be sent at once, in order, with whether it is committed already.
    pub(super) fn after(&self, zxid: Zxid) -> impl Iterator<Item = (Zxid, Bytes, bool)> + '_ {
        let committed = self.to_be_applied.iter().map(|(zxid, bytes)| (*zxid, bytes.clone(), true));
        let outstanding = self.outstanding.iter().map(|(zxid, proposal)| (*zxid, proposal.bytes.clone(), false));
        committed.chain(outstanding).filter(move |(of, ..)| *of > zxid)
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.last_committed <= self.last_proposed, "nothing is committed before it is proposed");
        let mut previous = Zxid::ZERO;
        for zxid in self.to_be_applied.iter().map(|(zxid, _)| *zxid).chain(self.outstanding.keys().copied()) {
            assert!(zxid > previous, "proposals are in order, committed ones first");
            previous = zxid;
        }
        assert!(previous <= self.last_proposed);
        assert!(self.to_be_applied.back().is_none_or(|(zxid, _)| *zxid <= self.last_committed));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jute::PeerEpoch;
    use machine::HostId;

    use super::*;
    use crate::{QuorumVerifier, ServerConfig};

    fn z(counter: u32) -> Zxid {
        Zxid::new(PeerEpoch::new(1), counter)
    }

    /// The syncs that a commit answers.
    fn syncs(acked: Acked) -> Option<Vec<EndId>> {
        match acked {
            Acked::Committed { syncs, .. } => Some(syncs),
            Acked::Counted | Acked::HeldBack => None,
        }
    }

    fn three() -> (Proposals, Defects) {
        let config = ServerConfig::ensemble(Sid::new(1), &[HostId(0), HostId(1), HostId(2)]);
        let quorum = Arc::new(config.quorum());
        let mut proposals = Proposals::new(z(0), &Defects::default());
        for counter in 1..=3 {
            proposals.propose(z(counter), Bytes::new(), false, Quorums::new(&quorum, &quorum));
        }
        (proposals, config.defects)
    }

    #[test]
    fn behind_a_reconfiguration_the_new_voters_count_alone() {
        let config = ServerConfig::ensemble(Sid::new(1), &[0, 1, 2, 3, 4].map(HostId));
        let of = |sids: [u8; 3], version: Zxid| {
            let mut members = config.members.clone();
            members.retain(|sid, _| sids.contains(&sid.value()));
            Arc::new(QuorumVerifier::new(members, None, version))
        };
        let (old, new) = (of([1, 2, 3], Zxid::ZERO), of([3, 4, 5], z(1)));
        let mut proposals = Proposals::new(z(0), &config.defects);
        for counter in 1..=2 {
            proposals.propose(z(counter), Bytes::new(), false, Quorums::new(&old, &new));
        }
        for counter in [2, 1] {
            for sid in [3, 4, 5] {
                assert_eq!(proposals.ack(Sid::new(sid), z(counter), &config.defects), Acked::Counted, "one of the old");
            }
        }
        assert_eq!(syncs(proposals.ack(Sid::new(1), z(1), &config.defects)), Some(vec![]));
        assert_eq!(proposals.try_to_commit(z(2), &config.defects), Acked::Counted);
        proposals.come_into_force(z(1));
        assert_eq!(syncs(proposals.try_to_commit(z(2), &config.defects)), Some(vec![]));
    }

    #[test]
    fn a_quorum_of_acks_commits() {
        let (mut proposals, config) = three();
        assert_eq!(proposals.ack(Sid::new(1), z(1), &config), Acked::Counted);
        assert_eq!(proposals.ack(Sid::new(1), z(1), &config), Acked::Counted, "the same server counts once");
        assert_eq!(syncs(proposals.ack(Sid::new(2), z(1), &config)), Some(vec![]));
        assert_eq!(proposals.ack(Sid::new(3), z(1), &config), Acked::Counted);
        assert_eq!(proposals.last_committed(), z(1));
        proposals.check_invariants();
    }

    #[test]
    fn commits_are_strictly_in_order() {
        let (mut proposals, config) = three();
        assert_eq!(proposals.ack(Sid::new(1), z(2), &config), Acked::Counted);
        assert_eq!(proposals.ack(Sid::new(2), z(2), &config), Acked::HeldBack);
        assert_eq!(proposals.ack(Sid::new(1), z(1), &config), Acked::Counted);
        assert_eq!(syncs(proposals.ack(Sid::new(2), z(1), &config)), Some(vec![]));
        assert_eq!(proposals.last_committed(), z(1), "the second waits for one more ack");
        assert_eq!(syncs(proposals.ack(Sid::new(3), z(2), &config)), Some(vec![]));
    }

    /// Found by the swarm (swarm-ensemble, seed 572): all pause, all followers come back to the leader that they left, are truncated
    /// to what is committed, and one loses power before it has logged again what it had acknowledged.
    #[test]
    fn ack_of_a_log_that_was_truncated_since_does_not_count() {
        let (mut proposals, config) = three();
        assert_eq!(proposals.ack(Sid::new(2), z(1), &config), Acked::Counted);
        proposals.forget_acks(Sid::new(2), z(0));
        assert_eq!(proposals.ack(Sid::new(1), z(1), &config), Acked::Counted);
        assert_eq!(syncs(proposals.ack(Sid::new(2), z(1), &config)), Some(vec![]));
    }

    #[test]
    fn ack_of_what_a_learner_keeps_counts() {
        let (mut proposals, config) = three();
        assert_eq!(proposals.ack(Sid::new(2), z(1), &config), Acked::Counted);
        proposals.forget_acks(Sid::new(2), z(1));
        assert_eq!(syncs(proposals.ack(Sid::new(1), z(1), &config)), Some(vec![]));
    }

    #[test]
    fn acks_of_newleader_and_of_strangers_commit_nothing() {
        let (mut proposals, config) = three();
        assert_eq!(proposals.ack(Sid::new(1), z(0), &config), Acked::Counted);
        assert_eq!(proposals.ack(Sid::new(1), z(9), &config), Acked::Counted);
        assert_eq!(proposals.ack(Sid::new(8), z(1), &config), Acked::Counted);
        assert_eq!(proposals.ack(Sid::new(9), z(1), &config), Acked::Counted);
        assert_eq!(proposals.outstanding(), 3);
    }

    #[test]
    fn a_sync_waits_for_what_was_proposed_before_it() {
        let (mut proposals, config) = three();
        assert!(!proposals.sync(EndId(7)));
        for counter in 1..=3 {
            let _ = proposals.ack(Sid::new(1), z(counter), &config);
            let acked = proposals.ack(Sid::new(2), z(counter), &config);
            assert_eq!(syncs(acked), Some(if counter == 3 { vec![EndId(7)] } else { vec![] }));
        }
        assert!(proposals.sync(EndId(7)), "nothing is outstanding");
    }

    #[test]
    fn a_joiner_gets_committed_and_outstanding_proposals_after_its_last() {
        let (mut proposals, config) = three();
        for sid in [1, 2] {
            let _ = proposals.ack(Sid::new(sid), z(1), &config);
        }
        let sent = |proposals: &Proposals, after| {
            proposals.after(after).map(|(zxid, _, committed)| (zxid.counter(), committed)).collect::<Vec<_>>()
        };
        assert_eq!(sent(&proposals, z(0)), [(1, true), (2, false), (3, false)]);
        assert_eq!(sent(&proposals, z(2)), [(3, false)]);
        proposals.applied(z(1));
        assert_eq!(sent(&proposals, z(0)), [(2, false), (3, false)]);
    }

    #[test]
    fn proposal_under_two_configurations_needs_a_quorum_of_each() {
        let quorum = |voters: u32, version: Zxid| {
            let hosts: Vec<HostId> = (0..voters).map(HostId).collect();
            Arc::new(ServerConfig::ensemble(Sid::new(1), &hosts).quorum().with_version(version))
        };
        let quorums = Quorums::new(&quorum(3, Zxid::ZERO), &quorum(5, z(1)));
        let defects = Defects::default();
        let mut proposals = Proposals::new(z(0), &defects);
        proposals.propose(z(1), Bytes::new(), false, quorums);
        for sid in [1, 4, 5] {
            assert_eq!(syncs(proposals.ack(Sid::new(sid), z(1), &defects)), None, "one of the old servers");
        }
        assert_eq!(syncs(proposals.ack(Sid::new(2), z(1), &defects)), Some(vec![]));
    }

    #[test]
    fn best_successor_acknowledged_the_longest_run_of_what_follows() {
        let (mut proposals, defects) = three();
        let candidates = || [2, 3].map(Sid::new).into();
        assert_eq!(proposals.best_of(candidates(), z(1)), Some(Sid::new(2)), "nobody has more");
        let _ = proposals.ack(Sid::new(3), z(2), &defects);
        assert_eq!(proposals.best_of(candidates(), z(1)), Some(Sid::new(3)));
        assert_eq!(proposals.best_of(BTreeSet::new(), z(1)), None);
    }
}
