//! Votes: who should lead, and how two opinions on that compare (zookeeper.md §2.2).

use std::collections::{BTreeMap, BTreeSet};

use jute::election::PeerState;
use jute::{ElectionRound, PeerEpoch, Sid, Zxid};

/// A server proposed as leader, with the history that speaks for it.
///
/// The derived order *is* the total order predicate, and rests on the order of the fields: the candidate with the greater
/// (epoch, zxid, id) wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// The candidate's `currentEpoch`.
    pub peer_epoch: PeerEpoch,
    /// The last txn in its log; none (−1 on the wire) if its database was never initialised (`db.autocreate=no`).
    pub zxid: Option<Zxid>,
    /// The candidate.
    pub leader: Sid,
}

impl Candidate {
    /// Whether this one should lead rather than `other`: `totalOrderPredicate`, where every voter's weight is 1 (§2.6).
    #[must_use]
    pub fn is_better_than(&self, other: &Self) -> bool {
        self > other
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

/// The voters whose ballot counts with `ballot` (`SyncedLearnerTracker`).
///
/// Simplified: one verifier; the last seen one differs only during a reconfiguration, which is absent.
pub(super) fn supporters(ballots: &BallotBox, ballot: &Ballot, voters: &BTreeSet<Sid>) -> BTreeSet<Sid> {
    ballots.iter().filter(|(sid, cast)| voters.contains(sid) && ballot.counts_with(cast)).map(|(&sid, _)| sid).collect()
}

/// Whether these are more than half of the voters (§2.6).
pub(super) fn is_majority(supporters: &BTreeSet<Sid>, voters: &BTreeSet<Sid>) -> bool {
    assert!(supporters.is_subset(voters), "only voters are counted");
    supporters.len() > voters.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(epoch: u32, zxid: u64, sid: u8) -> Candidate {
        let zxid = Zxid::from_wire(i64::try_from(zxid).unwrap());
        Candidate { peer_epoch: PeerEpoch::new(epoch), zxid, leader: Sid::new(sid) }
    }

    fn ballot(state: PeerState, version: i32, candidate: Candidate, round: u64) -> Ballot {
        Ballot { vote: Vote { candidate, round: ElectionRound::new(round) }, state, version }
    }

    #[test]
    fn epoch_beats_zxid_beats_id() {
        assert!(candidate(2, 0x1_0000_0000, 1).is_better_than(&candidate(1, 0x1_0000_0009, 3)));
        assert!(candidate(1, 0x1_0000_0002, 1).is_better_than(&candidate(1, 0x1_0000_0001, 3)));
        assert!(candidate(1, 0x1_0000_0002, 3).is_better_than(&candidate(1, 0x1_0000_0002, 2)));
        assert!(!candidate(1, 7, 3).is_better_than(&candidate(1, 7, 3)), "nobody is better than itself");
    }

    #[test]
    fn uninitialised_database_is_worse_than_an_empty_one() {
        let uninitialised = Candidate { zxid: None, ..candidate(0, 0, 3) };
        assert!(candidate(0, 0, 1).is_better_than(&uninitialised));
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
        let voters: BTreeSet<_> = [1, 2, 3].map(Sid::new).into();
        let cast = Ballot::looking(Vote { candidate: candidate(1, 5, 3), round: ElectionRound::new(1) });
        let one: BallotBox = [1, 8, 9].map(|sid| (Sid::new(sid), cast)).into();
        assert!(!is_majority(&supporters(&one, &cast, &voters), &voters));
        let two: BallotBox = [1, 3].map(|sid| (Sid::new(sid), cast)).into();
        assert!(is_majority(&supporters(&two, &cast, &voters), &voters));
    }
}
