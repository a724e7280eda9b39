//! What a leader proposed, and who acknowledged it (zookeeper.md §3.7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use jute::{Sid, Zxid};
use machine::EndId;

use crate::config::ServerConfig;
use crate::defect::Defect;

/// A proposal that waits for its quorum.
#[derive(Clone, Debug)]
struct Outstanding {
    bytes: Bytes,
    acks: BTreeSet<Sid>,
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
}

impl Proposals {
    /// Of a leader whose epoch starts with this zxid.
    pub(super) fn new(start: Zxid) -> Self {
        assert!(start.is_epoch_start(), "a leadership starts with its NEWLEADER proposal");
        Self {
            last_proposed: start,
            last_committed: start,
            outstanding: BTreeMap::new(),
            to_be_applied: VecDeque::new(),
            pending_syncs: BTreeMap::new(),
        }
    }

    pub(super) const fn last_proposed(&self) -> Zxid {
        self.last_proposed
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

    pub(super) fn propose(&mut self, zxid: Zxid, bytes: Bytes, closes_session: bool) {
        assert!(zxid > self.last_proposed, "{zxid} is proposed after {}", self.last_proposed);
        assert_eq!(zxid.epoch(), self.last_proposed.epoch(), "a leader proposes in its own epoch only");
        self.last_proposed = zxid;
        self.outstanding.insert(zxid, Outstanding { bytes, acks: BTreeSet::new(), closes_session });
    }

    /// `processAck` and `tryToCommit`.
    pub(super) fn ack(&mut self, by: Sid, zxid: Zxid, config: &ServerConfig) -> Acked {
        // The acks of NEWLEADER and UPTODATE name no txn.
        if zxid.is_epoch_start() || zxid <= self.last_committed {
            return Acked::Counted;
        }
        let Some(proposal) = self.outstanding.get_mut(&zxid) else { return Acked::Counted };
        proposal.acks.insert(by);
        let half_is_enough =
            config.defects.has(Defect::HalfIsAQuorum) && proposal.acks.len() >= config.members.len() / 2;
        if !half_is_enough && !config.is_quorum(proposal.acks.iter().copied()) {
            return Acked::Counted;
        }
        // It is not retried when its predecessor commits: one more ack comes then, since acks of one server are in order.
        if self.outstanding.range(..zxid).next_back().is_some_and(|(&before, _)| before.next() == zxid) {
            return Acked::HeldBack;
        }
        let proposal = self.outstanding.remove(&zxid).expect("it was found above");
        self.to_be_applied.push_back((zxid, proposal.bytes));
        assert!(zxid > self.last_committed, "commits are in order");
        self.last_committed = zxid;
        Acked::Committed { syncs: self.pending_syncs.remove(&zxid).unwrap_or_default() }
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

    /// What a learner that joins now must be sent at once, in order, with whether it is committed already.
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
    use super::*;
    use jute::PeerEpoch;
    use machine::HostId;

    fn z(counter: u32) -> Zxid {
        Zxid::new(PeerEpoch::new(1), counter)
    }

    fn three() -> (Proposals, ServerConfig) {
        let config = ServerConfig::ensemble(Sid::new(1), &[HostId(0), HostId(1), HostId(2)]);
        let mut proposals = Proposals::new(z(0));
        for counter in 1..=3 {
            proposals.propose(z(counter), Bytes::new(), false);
        }
        (proposals, config)
    }

    #[test]
    fn a_quorum_of_acks_commits() {
        let (mut proposals, config) = three();
        assert_eq!(proposals.ack(Sid::new(1), z(1), &config), Acked::Counted);
        assert_eq!(proposals.ack(Sid::new(1), z(1), &config), Acked::Counted, "the same server counts once");
        assert_eq!(proposals.ack(Sid::new(2), z(1), &config), Acked::Committed { syncs: vec![] });
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
        assert_eq!(proposals.ack(Sid::new(2), z(1), &config), Acked::Committed { syncs: vec![] });
        assert_eq!(proposals.last_committed(), z(1), "the second waits for one more ack");
        assert_eq!(proposals.ack(Sid::new(3), z(2), &config), Acked::Committed { syncs: vec![] });
    }

    /// Found by the swarm (swarm-ensemble, seed 572): all pause, all followers come back to the leader that they left, are truncated
    /// to what is committed, and one loses power before it has logged again what it had acknowledged.
    #[test]
    fn ack_of_a_log_that_was_truncated_since_does_not_count() {
        let (mut proposals, config) = three();
        assert_eq!(proposals.ack(Sid::new(2), z(1), &config), Acked::Counted);
        proposals.forget_acks(Sid::new(2), z(0));
        assert_eq!(proposals.ack(Sid::new(1), z(1), &config), Acked::Counted);
        assert_eq!(proposals.ack(Sid::new(2), z(1), &config), Acked::Committed { syncs: vec![] });
    }

    #[test]
    fn ack_of_what_a_learner_keeps_counts() {
        let (mut proposals, config) = three();
        assert_eq!(proposals.ack(Sid::new(2), z(1), &config), Acked::Counted);
        proposals.forget_acks(Sid::new(2), z(1));
        assert_eq!(proposals.ack(Sid::new(1), z(1), &config), Acked::Committed { syncs: vec![] });
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
            let syncs = if counter == 3 { vec![EndId(7)] } else { vec![] };
            assert_eq!(acked, Acked::Committed { syncs });
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
}
