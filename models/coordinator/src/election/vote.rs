//! Votes: who should lead, and how two opinions on that compare (zookeeper.md §2.2).

use std::collections::{BTreeMap, BTreeSet};

use jute::election::PeerState;
use jute::{ElectionRound, PeerEpoch, Sid, Zxid};

use crate::quorum_verifier::{QuorumVerifier, Quorums};

/// A server proposed as leader, with the history that speaks for it.
///
/// The derived order *is* the total order predicate, and rests on the order of the fields: the candidate with the greater
/// (epoch, zxid, id) wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// The candidate's `currentEpoch`; none of an observer's.
    pub peer_epoch: Option<PeerEpoch>,
    /// The last txn in its log; none (−1 on the wire) if its database was never initialised (`db.autocreate=no`), and of an
    /// observer's.
    pub zxid: Option<Zxid>,
    /// The candidate; none if who proposes does not vote.
    pub leader: Option<Sid>,
}

impl Candidate {
    /// Whether this one should lead rather than `other` (`totalOrderPredicate`). Who has no weight never should.
    #[must_use]
    pub fn is_better_than(&self, other: &Self, quorum: &QuorumVerifier) -> bool {
        self.leader.is_some_and(|leader| quorum.weight(leader) > 0) && self > other
    }

    /// Whether it is a server's whose database was never initialised, and not an observer's, which has none to show.
    pub(super) const fn is_uninitialised(&self) -> bool {
        self.zxid.is_none() && self.peer_epoch.is_some()
    }
}

/// A candidate, and the round of leader election in which it was proposed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vote {
    /// Who should lead.
    pub candidate: Candidate,
    /// `electionEpoch`.
    pub round: ElectionRound,
}

/// A vote as it is kept for counting: with the state of the server that cast it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ballot {
    pub(super) vote: Vote,
    pub(super) state: PeerState,
    /// 0 in the votes of the running round, whose version is never compared there.
    pub(super) version: i32,
}

impl Ballot {
    /// The vote of a server that is looking for a leader.
    pub(super) const fn looking(vote: Vote) -> Self {
        Self { vote, state: PeerState::Looking, version: 0 }
    }

    /// Whether the two count for the same leader (`Vote.equals`): while anybody looks, in every respect; among servers that
    /// have a leader neither zxid nor round matter, because those differ from one server's election to another's.
    pub(super) fn counts_with(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.vote, &other.vote);
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return mine == theirs;
        }
        let same_leader = mine.candidate.leader == theirs.candidate.leader;
        if (self.version > 0) != (other.version > 0) {
            return same_leader;
        }
        same_leader && mine.candidate.peer_epoch == theirs.candidate.peer_epoch
    }
}

/// Votes by the server that cast them; a later one replaces an earlier one.
pub(super) type BallotBox = BTreeMap<Sid, Ballot>;

/// The voters whose ballot counts with `ballot`.
pub(super) fn supporters(ballots: &BallotBox, ballot: &Ballot, quorums: &Quorums) -> BTreeSet<Sid> {
    ballots
        .iter()
        .filter(|(sid, cast)| quorums.is_voter(**sid) && ballot.counts_with(cast))
        .map(|(&sid, _)| sid)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machine::HostId;

    use super::*;
    use crate::ServerConfig;

    fn candidate(epoch: u32, zxid: u64, sid: u8) -> Candidate {
        let zxid = Zxid::from_wire(i64::try_from(zxid).unwrap());
        Candidate { peer_epoch: Some(PeerEpoch::new(epoch)), zxid, leader: Some(Sid::new(sid)) }
    }

    fn quorums(voters: u32) -> Quorums {
        let hosts: Vec<HostId> = (0..voters).map(HostId).collect();
        let quorum = Arc::new(ServerConfig::ensemble(Sid::new(1), &hosts).quorum());
        Quorums::new(&quorum, &quorum)
    }

    fn ballot(state: PeerState, version: i32, candidate: Candidate, round: u64) -> Ballot {
        Ballot { vote: Vote { candidate, round: ElectionRound::new(round) }, state, version }
    }

    #[test]
    fn epoch_beats_zxid_beats_id() {
        assert!(candidate(2, 0x1_0000_0000, 1).is_better_than(&candidate(1, 0x1_0000_0009, 3), quorums(3).current()));
        assert!(candidate(1, 0x1_0000_0002, 1).is_better_than(&candidate(1, 0x1_0000_0001, 3), quorums(3).current()));
        assert!(candidate(1, 0x1_0000_0002, 3).is_better_than(&candidate(1, 0x1_0000_0002, 2), quorums(3).current()));
        assert!(
            !candidate(1, 7, 3).is_better_than(&candidate(1, 7, 3), quorums(3).current()),
            "nobody is better than itself"
        );
    }

    #[test]
    fn uninitialised_database_is_worse_than_an_empty_one() {
        let uninitialised = Candidate { zxid: None, ..candidate(0, 0, 3) };
        assert!(candidate(0, 0, 1).is_better_than(&uninitialised, quorums(3).current()));
    }

    #[test]
    fn votes_of_the_running_round_must_agree_in_everything() {
        let (looking, following) = (PeerState::Looking, PeerState::Following);
        let base = ballot(looking, 0, candidate(1, 5, 3), 4);
        assert!(base.counts_with(&ballot(looking, 0, candidate(1, 5, 3), 4)));
        assert!(base.counts_with(&ballot(following, 2, candidate(1, 5, 3), 4)), "the version is not compared");
        assert!(!base.counts_with(&ballot(looking, 0, candidate(1, 5, 3), 5)));
        assert!(!base.counts_with(&ballot(following, 2, candidate(1, 6, 3), 4)));
        assert!(!base.counts_with(&ballot(looking, 0, candidate(2, 5, 3), 4)));
        assert!(!base.counts_with(&ballot(looking, 0, candidate(1, 5, 2), 4)));
    }

    #[test]
    fn votes_for_an_established_leader_agree_in_leader_and_epoch() {
        let (following, leading) = (PeerState::Following, PeerState::Leading);
        let base = ballot(following, 2, candidate(1, 5, 3), 4);
        assert!(base.counts_with(&ballot(leading, 2, candidate(1, 9, 3), 7)));
        assert!(!base.counts_with(&ballot(leading, 2, candidate(2, 5, 3), 4)));
        assert!(!base.counts_with(&ballot(leading, 2, candidate(1, 5, 2), 4)));
        assert!(
            base.counts_with(&ballot(leading, 0, candidate(2, 9, 3), 7)),
            "without a version the epoch is not trusted"
        );
    }

    #[test]
    fn strangers_do_not_count_towards_a_quorum() {
        let quorums = quorums(3);
        let cast = Ballot::looking(Vote { candidate: candidate(1, 5, 3), round: ElectionRound::new(1) });
        let one: BallotBox = [1, 8, 9].map(|sid| (Sid::new(sid), cast)).into();
        assert!(!quorums.have_all(&supporters(&one, &cast, &quorums)));
        let two: BallotBox = [1, 3].map(|sid| (Sid::new(sid), cast)).into();
        assert!(quorums.have_all(&supporters(&two, &cast, &quorums)));
    }
}
