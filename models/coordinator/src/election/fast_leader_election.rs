//! `lookForLeader`: how a server finds out, by votes alone, who leads (zookeeper.md §2.3).
//!
//! Knows neither connections nor clocks of its own: [`Election`](super::Election) hands it what arrived and what time it
//! is, and does what it answers. A call of [`FastLeaderElection::poll`] is one turn of the real server's loop.
//!
//! The one rule to know: a server decides only after a quorum agrees with it *and* nothing better arrived for 200 ms, or
//! when a quorum already has a leader and that leader itself says so. Two servers can still both decide to lead; only
//! discovery (§3.2), where a quorum must promise an epoch, settles it.
//!
//! ```text
//!            nothing for `timeout`: resend, double it
//!              ┌────┐
//!              ▼    │     quorum agrees             nothing better for 200 ms
//!   look() ──▶ Polling ───────────────▶ Finalizing ─────────────────────────▶ decided
//!              ▲    │                       │
//!              │    └───────────────────────┼─ a quorum follows a leader ───▶ decided
//!              └──── something better ──────┘
//! ```

use std::collections::{BTreeSet, VecDeque};

use jute::election::PeerState;
use jute::{ElectionRound, Sid};
use machine::{Instant, Span};

use super::vote::{Ballot, BallotBox, Candidate, Vote, supporters};
use crate::quorum_verifier::{LearnerType, Quorums};

/// Notifications that wait for the loop. The real queue is unbounded; peers repeat themselves so slowly that a longer one
/// means that nobody reads it.
const RECEIVED_MAX: usize = 10_000;

/// What a server says about who should lead, as the loop sees it: a notification without its configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Opinion {
    /// Who says so.
    pub(super) from: Sid,
    /// What it is itself at that moment.
    pub(super) state: PeerState,
    pub(super) vote: Vote,
    /// The version of the notification's format.
    pub(super) version: i32,
}

impl Opinion {
    /// As counted in the running round: without its version.
    const fn ballot_of_round(&self) -> Ballot {
        Ballot { vote: self.vote, state: self.state, version: 0 }
    }

    /// As counted out of election.
    const fn ballot(&self) -> Ballot {
        Ballot { vote: self.vote, state: self.state, version: self.version }
    }
}

/// How a leader election ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// The vote to keep as the current one.
    pub vote: Vote,
    /// [`PeerState::Leading`] if the vote is for this server itself, else [`PeerState::Following`], or
    /// [`PeerState::Observing`] of an observer.
    pub state: PeerState,
    /// Who voted for it, as far as was known at the end: the voters a leader counts on (`leadingVoteSet`, for
    /// `leader.maxTimeToWaitForEpoch`).
    pub supporters: BTreeSet<Sid>,
    /// Whether a leader that others already had was joined, rather than elected by a quorum of lookers.
    pub joined: bool,
}

impl Decided {
    /// The elected leader.
    ///
    /// # Panics
    /// Never: nobody is elected by votes for nobody.
    #[must_use]
    pub const fn leader(&self) -> Sid {
        self.vote.candidate.leader.expect("somebody was elected")
    }
}

/// What the loop wants done after one step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nothing: it waits on.
    Wait,
    /// Tell every voter the proposal.
    SendNotifications,
    /// Nobody answered for a whole timeout: resend, or dial those that nothing could be delivered to.
    TimedOut,
    /// It is over.
    Decided(Decided),
}

#[derive(Clone, Debug)]
enum Phase {
    /// Waiting for votes.
    Polling,
    /// These agree with the proposal; waiting for a better one.
    Finalizing { supporters: BTreeSet<Sid> },
}

/// What lives for the length of one leader election.
#[derive(Clone, Debug)]
struct Looking {
    initial: Candidate,
    recvset: BallotBox,
    outofelection: BallotBox,
    timeout: Span,
    phase: Phase,
}

/// The intervals of the loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intervals {
    /// `fastleader.minNotificationInterval`.
    pub(super) notification_min: Span,
    /// `fastleader.maxNotificationInterval`.
    pub(super) notification_max: Span,
    /// `finalizeWait`.
    pub(super) finalize_wait: Span,
}

/// The loop's state, over all the elections of a server's life.
#[derive(Clone, Debug)]
pub(super) struct FastLeaderElection {
    me: Sid,
    learner_type: LearnerType,
    quorums: Quorums,
    intervals: Intervals,
    /// `logicalclock`: the round, which only grows.
    round: ElectionRound,
    /// What is proposed, or was at the end of the last election.
    proposal: Option<Candidate>,
    /// `recvqueue`.
    received: VecDeque<Opinion>,
    looking: Option<Looking>,
    /// When the running poll gives up; none while something waits in `received` or nobody looks.
    deadline: Option<Instant>,
}

impl FastLeaderElection {
    pub(super) fn new(me: Sid, learner_type: LearnerType, quorums: Quorums, intervals: Intervals) -> Self {
        assert!(intervals.notification_min > Span::ZERO, "a poll without a wait never ends");
        assert!(intervals.notification_min <= intervals.notification_max, "intervals grow");
        assert!(intervals.finalize_wait > Span::ZERO, "a decision waits for something better");
        Self {
            me,
            learner_type,
            quorums,
            intervals,
            round: ElectionRound::ZERO,
            proposal: None,
            received: VecDeque::new(),
            looking: None,
            deadline: None,
        }
    }

    pub(super) const fn round(&self) -> ElectionRound {
        self.round
    }

    /// What this server proposes now: none before its first election.
    pub(super) fn proposal(&self) -> Option<Vote> {
        self.proposal.map(|candidate| Vote { candidate, round: self.round })
    }

    pub(super) const fn quorums(&self) -> &Quorums {
        &self.quorums
    }

    /// Another configuration was heard of, or came into force.
    pub(super) fn set_membership(&mut self, learner_type: LearnerType, quorums: Quorums) {
        self.learner_type = learner_type;
        self.quorums = quorums;
    }

    pub(super) const fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// When [`Self::on_timeout`] is due.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether [`Self::poll`] has something to take.
    pub(super) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Begins a leader election with this server's own vote; the proposal must then be sent to every voter.
    pub(super) fn look(&mut self, initial: Candidate, now: Instant) {
        assert!(self.looking.is_none(), "a leader election is running already");
        assert!(initial.leader.is_none_or(|leader| leader == self.me), "a voter's first vote is for itself");
        self.round = self.round.next();
        self.proposal = Some(initial);
        self.looking = Some(Looking {
            initial,
            recvset: BallotBox::new(),
            outofelection: BallotBox::new(),
            timeout: self.intervals.notification_min,
            phase: Phase::Polling,
        });
        self.wait(now);
    }

    /// Ends the running leader election without a result.
    pub(super) fn stop(&mut self) {
        self.looking = None;
        self.deadline = None;
    }

    /// Puts an opinion behind those that wait. While one waits, no poll times out.
    pub(super) fn offer(&mut self, opinion: Opinion) {
        assert!(self.received.len() < RECEIVED_MAX, "{RECEIVED_MAX} notifications wait and nobody reads them");
        self.received.push_back(opinion);
        self.deadline = None;
    }

    /// Takes the oldest opinion: one turn of the loop. Does nothing if none waits or nobody looks.
    pub(super) fn poll(&mut self, now: Instant) -> Step {
        let Some(looking) = &self.looking else { return Step::Wait };
        let Some(opinion) = self.received.pop_front() else { return Step::Wait };
        let step = match looking.phase {
            Phase::Polling => self.on_opinion(opinion),
            Phase::Finalizing { .. } => self.on_drained(opinion),
        };
        if let Step::Decided(_) = step {
            self.leave();
        } else {
            self.wait(now);
        }
        step
    }

    /// The deadline has come: nothing arrived in time.
    pub(super) fn on_timeout(&mut self, now: Instant) -> Step {
        assert!(self.received.is_empty(), "a poll does not time out while something waits");
        assert!(self.deadline.is_some_and(|deadline| deadline <= now), "the poll is not over");
        let looking = self.looking.as_mut().expect("a deadline stands only while looking");
        match &looking.phase {
            Phase::Polling => {
                looking.timeout = (looking.timeout * 2).min(self.intervals.notification_max);
                self.wait(now);
                Step::TimedOut
            }
            Phase::Finalizing { supporters } => {
                let supporters = supporters.clone();
                let vote = self.proposal().expect("a server that looks proposes somebody");
                self.leave();
                Step::Decided(self.decision(vote, supporters, false))
            }
        }
    }

    /// Panics if the state contradicts itself.
    pub(super) fn check_invariants(&self) {
        assert!(self.received.len() <= RECEIVED_MAX);
        match &self.looking {
            None => assert_eq!(self.deadline, None, "nobody waits when nobody looks"),
            Some(looking) => {
                let proposal = self.proposal.expect("a server that looks proposes somebody");
                assert!(self.round > ElectionRound::ZERO, "rounds count from one");
                assert_eq!(self.deadline.is_none(), self.has_received(), "it waits for what has not arrived");
                assert!(proposal >= looking.initial, "nothing worse than the own vote is ever proposed");
                assert!(looking.recvset.keys().all(|sid| self.quorums.is_voter(*sid)), "only voters vote");
                if let Phase::Finalizing { supporters } = &looking.phase {
                    assert!(self.quorums.have_all(supporters), "finalizing without a quorum");
                }
            }
        }
    }

    fn on_opinion(&mut self, opinion: Opinion) -> Step {
        let leader = opinion.vote.candidate.leader;
        if !self.quorums.is_voter(opinion.from) || leader.is_none_or(|leader| !self.quorums.is_voter(leader)) {
            return Step::Wait;
        }
        match opinion.state {
            PeerState::Looking => self.on_looker(opinion),
            PeerState::Following | PeerState::Leading => self.on_settled(opinion),
            // Observers take no part (§2.3).
            PeerState::Observing => Step::Wait,
        }
    }

    /// A server that looks for a leader too.
    fn on_looker(&mut self, opinion: Opinion) -> Step {
        let looking = self.looking.as_mut().expect("polled while looking");
        let proposal = self.proposal.as_mut().expect("a server that looks proposes somebody");
        let Vote { candidate, round } = opinion.vote;
        if looking.initial.is_uninitialised() || candidate.zxid.is_none() {
            return Step::Wait; // Nobody is elected by, or because of, a database that was never initialised.
        }
        let mut changed = false;
        if round > self.round {
            self.round = round;
            looking.recvset.clear();
            // Against the initial vote, not the proposal: what others proposed in the old round counts no more.
            *proposal = if candidate.is_better_than(&looking.initial, self.quorums.current()) {
                candidate
            } else {
                looking.initial
            };
            changed = true;
        } else if round < self.round {
            return Step::Wait;
        } else if candidate.is_better_than(proposal, self.quorums.current()) {
            *proposal = candidate;
            changed = true;
        }
        looking.recvset.insert(opinion.from, Ballot::looking(opinion.vote));
        let mine = Ballot::looking(Vote { candidate: *proposal, round: self.round });
        let supporters = supporters(&looking.recvset, &mine, &self.quorums);
        if self.quorums.have_all(&supporters) {
            looking.phase = Phase::Finalizing { supporters };
        }
        if changed { Step::SendNotifications } else { Step::Wait }
    }

    /// A server that has a leader, or is one.
    fn on_settled(&mut self, opinion: Opinion) -> Step {
        let looking = self.looking.as_mut().expect("polled while looking");
        if opinion.vote.round == self.round {
            looking.recvset.insert(opinion.from, opinion.ballot_of_round());
            let supporters = supporters(&looking.recvset, &opinion.ballot(), &self.quorums);
            if self.quorums.have_all(&supporters)
                && leader_vouches(&looking.recvset, self.me, &opinion.vote, self.round)
            {
                return Step::Decided(self.decision(opinion.vote, supporters, true));
            }
        }
        looking.outofelection.insert(opinion.from, opinion.ballot());
        let supporters = supporters(&looking.outofelection, &opinion.ballot(), &self.quorums);
        if self.quorums.have_all(&supporters)
            && leader_vouches(&looking.outofelection, self.me, &opinion.vote, self.round)
        {
            self.round = opinion.vote.round;
            return Step::Decided(self.decision(opinion.vote, supporters, true));
        }
        Step::Wait
    }

    /// An opinion that arrived while finalizing: a better one reopens the vote, any other is discarded.
    fn on_drained(&mut self, opinion: Opinion) -> Step {
        let proposal = self.proposal.expect("a server that looks proposes somebody");
        let looking = self.looking.as_mut().expect("polled while looking");
        // Neither the sender, nor its state, nor the round is looked at here, only the candidate.
        if opinion.vote.candidate.is_better_than(&proposal, self.quorums.current()) {
            looking.phase = Phase::Polling;
            self.received.push_back(opinion); // Pushed back behind what arrived meanwhile.
        }
        Step::Wait
    }

    fn decision(&self, vote: Vote, supporters: BTreeSet<Sid>, joined: bool) -> Decided {
        let state = match self.learner_type {
            _ if vote.candidate.leader == Some(self.me) => PeerState::Leading,
            LearnerType::Participant => PeerState::Following,
            LearnerType::Observer => PeerState::Observing,
        };
        Decided { vote, state, supporters, joined }
    }

    /// `leaveInstance`: what waits is of the past.
    fn leave(&mut self) {
        self.received.clear();
        self.stop();
    }

    /// Starts the next poll.
    fn wait(&mut self, now: Instant) {
        let looking = self.looking.as_ref().expect("only who looks waits");
        let span = match looking.phase {
            Phase::Polling => looking.timeout,
            Phase::Finalizing { .. } => self.intervals.finalize_wait,
        };
        self.deadline = if self.received.is_empty() { Some(now.saturating_add(span)) } else { None };
    }
}

/// `checkLeader`: the leader itself said that it leads, so that nobody follows a dead one on hearsay; and nobody becomes
/// leader because of an earlier round of its own.
fn leader_vouches(ballots: &BallotBox, me: Sid, vote: &Vote, round: ElectionRound) -> bool {
    let Some(leader) = vote.candidate.leader else { return false };
    if leader == me {
        return vote.round == round;
    }
    ballots.get(&leader).is_some_and(|ballot| ballot.state == PeerState::Leading)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jute::{PeerEpoch, Zxid};
    use machine::HostId;

    use super::*;
    use crate::{Hierarchy, ServerConfig};

    const INTERVALS: Intervals = Intervals {
        notification_min: Span::millis(200),
        notification_max: Span::secs(60),
        finalize_wait: Span::millis(200),
    };
    const START: Instant = Instant::from_nanos(1_000_000_000);

    fn candidate(leader: u8, zxid: i64, epoch: u32) -> Candidate {
        Candidate {
            peer_epoch: Some(PeerEpoch::new(epoch)),
            zxid: Zxid::from_wire(zxid),
            leader: Some(Sid::new(leader)),
        }
    }

    fn opinion(from: u8, state: PeerState, candidate: Candidate, round: u64) -> Opinion {
        let vote = Vote { candidate, round: ElectionRound::new(round) };
        Opinion { from: Sid::new(from), state, vote, version: 2 }
    }

    fn quorums() -> Quorums {
        let hosts: Vec<HostId> = (0..5).map(HostId).collect();
        let quorum = Arc::new(ServerConfig::ensemble(Sid::new(2), &hosts).quorum());
        Quorums::new(&quorum, &quorum)
    }

    /// Server 2 of 5, looking in round 1 with zxid 5 of epoch 1.
    fn looking() -> FastLeaderElection {
        let mut election = FastLeaderElection::new(Sid::new(2), LearnerType::Participant, quorums(), INTERVALS);
        election.look(candidate(2, 5, 1), START);
        election
    }

    fn tell(election: &mut FastLeaderElection, opinion: Opinion, at: Instant) -> Step {
        election.offer(opinion);
        election.check_invariants();
        let step = election.poll(at);
        election.check_invariants();
        step
    }

    fn lookers(election: &mut FastLeaderElection, from: &[u8], candidate: Candidate, round: u64) -> Vec<Step> {
        from.iter().map(|&from| tell(election, opinion(from, PeerState::Looking, candidate, round), START)).collect()
    }

    #[test]
    fn quorum_decides_after_200_ms_without_anything_better() {
        let mut election = looking();
        let steps = lookers(&mut election, &[1, 2, 3], candidate(2, 5, 1), 1);
        assert_eq!(steps, [Step::Wait, Step::Wait, Step::Wait]);
        let later = START + Span::millis(200);
        assert_eq!(election.deadline(), Some(later));
        let Step::Decided(decided) = election.on_timeout(later) else { panic!("undecided") };
        assert_eq!((decided.leader(), decided.state), (Sid::new(2), PeerState::Leading));
        assert_eq!(decided.supporters, [1, 2, 3].map(Sid::new).into());
        assert!(!decided.joined);
        assert_eq!(election.deadline(), None);
    }

    #[test]
    fn worse_votes_while_finalizing_are_discarded_and_prolong_it() {
        let mut election = looking();
        lookers(&mut election, &[1, 2, 3], candidate(2, 5, 1), 1);
        let at = START + Span::millis(150);
        assert_eq!(tell(&mut election, opinion(4, PeerState::Looking, candidate(4, 4, 1), 1), at), Step::Wait);
        assert_eq!(election.deadline(), Some(at + Span::millis(200)));
        let Step::Decided(decided) = election.on_timeout(at + Span::millis(200)) else { panic!("undecided") };
        assert_eq!(decided.supporters.len(), 3, "the discarded vote is not counted");
    }

    #[test]
    fn better_vote_while_finalizing_reopens_the_vote() {
        let mut election = looking();
        lookers(&mut election, &[1, 2, 3], candidate(2, 5, 1), 1);
        let better = opinion(4, PeerState::Looking, candidate(4, 9, 1), 1);
        assert_eq!(tell(&mut election, better, START), Step::Wait, "pushed back");
        assert!(election.has_received());
        assert_eq!(election.poll(START), Step::SendNotifications, "and adopted at its turn");
        assert_eq!(election.proposal().map(|vote| vote.candidate), Some(better.vote.candidate));
        lookers(&mut election, &[1, 2], better.vote.candidate, 1);
        let Step::Decided(decided) = election.on_timeout(START + Span::millis(200)) else { panic!("undecided") };
        assert_eq!((decided.leader(), decided.state), (Sid::new(4), PeerState::Following));
    }

    #[test]
    fn stale_round_is_ignored_entirely() {
        let mut election = looking();
        lookers(&mut election, &[1], candidate(2, 5, 1), 3);
        assert_eq!(election.round(), ElectionRound::new(3));
        let steps = lookers(&mut election, &[2, 3, 4, 5], candidate(5, 9, 1), 2);
        assert!(steps.iter().all(|step| *step == Step::Wait));
        assert_eq!(election.proposal().map(|vote| vote.candidate), Some(candidate(2, 5, 1)));
        assert_eq!(election.deadline(), Some(START + Span::millis(200)));
    }

    #[test]
    fn later_round_starts_over_from_the_own_vote() {
        let mut election = looking();
        lookers(&mut election, &[4], candidate(4, 9, 1), 1);
        assert_eq!(election.proposal().map(|vote| vote.candidate), Some(candidate(4, 9, 1)));
        // Server 4 is gone; in round 2 its vote counts no more.
        assert_eq!(lookers(&mut election, &[1], candidate(1, 5, 1), 2), [Step::SendNotifications]);
        let expected = Vote { candidate: candidate(2, 5, 1), round: ElectionRound::new(2) };
        assert_eq!(election.proposal(), Some(expected));
        // Votes of round 1 went with it: two more make three.
        lookers(&mut election, &[2, 3], candidate(2, 5, 1), 2);
        assert!(matches!(election.looking.as_ref().unwrap().phase, Phase::Polling));
        lookers(&mut election, &[1], candidate(2, 5, 1), 2);
        assert!(matches!(election.looking.as_ref().unwrap().phase, Phase::Finalizing { .. }));
    }

    #[test]
    fn late_vote_of_an_old_round_does_not_replace_a_newer_one() {
        let mut election = looking();
        lookers(&mut election, &[1, 3], candidate(2, 5, 1), 3);
        lookers(&mut election, &[3], candidate(2, 5, 1), 2);
        lookers(&mut election, &[4], candidate(2, 5, 1), 3);
        assert!(matches!(election.looking.as_ref().unwrap().phase, Phase::Finalizing { .. }));
    }

    #[test]
    fn what_followers_said_in_an_old_round_does_not_count_in_a_later_one() {
        let mut election = looking();
        for from in [1, 3] {
            tell(&mut election, opinion(from, PeerState::Following, candidate(5, 9, 1), 1), START);
        }
        lookers(&mut election, &[4], candidate(4, 5, 1), 2);
        // Its followers are of the epoch before: alone in its epoch it has no quorum.
        let leader = opinion(5, PeerState::Leading, candidate(5, 9, 2), 2);
        assert_eq!(tell(&mut election, leader, START), Step::Wait);
    }

    #[test]
    fn votes_of_or_for_strangers_are_ignored() {
        let mut election = looking();
        assert_eq!(lookers(&mut election, &[9], candidate(5, 9, 1), 1), [Step::Wait]);
        assert_eq!(lookers(&mut election, &[5], candidate(9, 9, 1), 1), [Step::Wait]);
        assert_eq!(election.proposal().map(|vote| vote.candidate), Some(candidate(2, 5, 1)));
    }

    #[test]
    fn established_leader_is_joined_only_once_it_says_so_itself() {
        let mut election = looking();
        for (round, from) in [(7, 1), (8, 3), (7, 4)] {
            let hearsay = opinion(from, PeerState::Following, candidate(5, 9, 2), round);
            assert_eq!(tell(&mut election, hearsay, START), Step::Wait, "the leader may be dead");
        }
        let leader = opinion(5, PeerState::Leading, candidate(5, 3, 2), 7);
        let Step::Decided(decided) = tell(&mut election, leader, START) else { panic!("undecided") };
        assert!(decided.joined);
        assert_eq!((decided.leader(), decided.state), (Sid::new(5), PeerState::Following));
        assert_eq!(election.round(), ElectionRound::new(7), "the round of the ensemble is taken over");
    }

    #[test]
    fn leader_without_followers_is_not_joined() {
        let mut election = looking();
        let leader = opinion(5, PeerState::Leading, candidate(5, 9, 2), 7);
        assert_eq!(tell(&mut election, leader, START), Step::Wait);
        // Followers of the epoch before do not count for it.
        for from in [1, 3] {
            assert_eq!(
                tell(&mut election, opinion(from, PeerState::Following, candidate(5, 9, 1), 7), START),
                Step::Wait
            );
        }
    }

    #[test]
    fn nobody_becomes_leader_by_what_followers_remember_of_another_round() {
        let mut election = looking();
        for from in [1, 3, 4, 5] {
            let memory = opinion(from, PeerState::Following, candidate(2, 5, 1), 4);
            assert_eq!(tell(&mut election, memory, START), Step::Wait);
        }
    }

    #[test]
    fn votes_of_lookers_and_followers_of_one_round_count_together() {
        let mut election = looking();
        lookers(&mut election, &[1, 3], candidate(5, 9, 1), 1);
        let leader = opinion(5, PeerState::Leading, candidate(5, 9, 1), 1);
        let Step::Decided(decided) = tell(&mut election, leader, START) else { panic!("undecided") };
        assert_eq!(decided.supporters, [1, 3, 5].map(Sid::new).into());
    }

    #[test]
    fn timeout_doubles_up_to_its_maximum_and_starts_short_again() {
        let mut election = looking();
        let mut at = START;
        let mut waits = Vec::new();
        for _ in 0..12 {
            let deadline = election.deadline().unwrap();
            waits.push((deadline - at).as_millis());
            at = deadline;
            assert_eq!(election.on_timeout(at), Step::TimedOut);
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000, 60_000]);
        election.stop();
        election.look(candidate(2, 5, 1), at);
        assert_eq!(election.deadline(), Some(at + Span::millis(200)));
        assert_eq!(election.round(), ElectionRound::new(2));
    }

    #[test]
    fn observers_and_uninitialised_servers_have_no_vote() {
        let mut election = looking();
        let observing = opinion(5, PeerState::Observing, candidate(5, 9, 2), 1);
        assert_eq!(tell(&mut election, observing, START), Step::Wait);
        assert_eq!(lookers(&mut election, &[5], candidate(5, -1, 3), 9), [Step::Wait]);
        assert_eq!(election.round(), ElectionRound::new(1), "not even its round counts");
    }

    #[test]
    fn server_without_weight_is_never_proposed() {
        let hosts: Vec<HostId> = (0..5).map(HostId).collect();
        let mut config = ServerConfig::ensemble(Sid::new(2), &hosts);
        let groups = (1..=5).map(|sid| (Sid::new(sid), 1)).collect();
        config.hierarchy = Some(Hierarchy { groups, weights: [(Sid::new(5), 0)].into() });
        let quorum = Arc::new(config.quorum());
        let quorums = Quorums::new(&quorum, &quorum);
        let mut election = FastLeaderElection::new(Sid::new(2), LearnerType::Participant, quorums, INTERVALS);
        election.look(candidate(2, 5, 1), START);
        assert_eq!(lookers(&mut election, &[5], candidate(5, 9, 1), 1), [Step::Wait]);
        assert_eq!(election.proposal().map(|vote| vote.candidate), Some(candidate(2, 5, 1)));
        // Three of a weight of four.
        lookers(&mut election, &[1, 2, 5], candidate(2, 5, 1), 1);
        assert!(matches!(election.looking.as_ref().unwrap().phase, Phase::Polling));
        lookers(&mut election, &[3], candidate(2, 5, 1), 1);
        assert!(matches!(election.looking.as_ref().unwrap().phase, Phase::Finalizing { .. }));
    }

    #[test]
    fn observer_proposes_nobody_and_joins_the_leader_that_the_voters_name() {
        let mut election = FastLeaderElection::new(Sid::new(9), LearnerType::Observer, quorums(), INTERVALS);
        election.look(Candidate { peer_epoch: None, zxid: None, leader: None }, START);
        // What voters say while they look is of before their election: round 0.
        lookers(&mut election, &[1, 2, 3], candidate(2, 5, 1), 0);
        for from in [1, 2] {
            let step = tell(&mut election, opinion(from, PeerState::Following, candidate(3, 9, 2), 7), START);
            assert_eq!(step, Step::Wait);
        }
        let Step::Decided(decided) = tell(&mut election, opinion(3, PeerState::Leading, candidate(3, 9, 2), 7), START)
        else {
            panic!("undecided")
        };
        assert_eq!((decided.leader(), decided.state), (Sid::new(3), PeerState::Observing));
    }
}
