//! The leader: discovery, synchronisation of its learners, broadcast (zookeeper.md §3.2–3.4, §3.7, §3.9).
//!
//! It holds office only once a quorum promised it an epoch *and* acknowledged NEWLEADER. Until then it may be one of two.
//!
//! ```text
//!            a quorum connected   acceptedEpoch durable    a quorum promised   currentEpoch durable   a quorum acked NEWLEADER
//!  Loading ─▶ WaitEpoch ─────────▶ Promising ────────────▶ WaitEpochAck ──────▶ Adopting ───────────▶ WaitNewLeaderAck ─▶ Broadcast
//! ```
//!
//! Handlers go on at their own pace beside it: they synchronise their learners as soon as a quorum promised, even before the
//! leader's own `currentEpoch` is durable.
//!
//! Who does not vote is led too: it is synchronised and told of commits, but nothing waits for it.

mod broadcast;
mod reconfig;
mod synchronisation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::quorum::{LEARNER_PROTOCOL, QuorumMessage, QuorumPacket};
use jute::{PeerEpoch, Sid, Zxid};
use machine::{EndId, Instant, Io, Port};

use super::ZabWork;
use super::learner_handler::{INBOX_MAX, LearnerHandler, Phase, StateSummary};
use super::parts::Parts;
use super::proposals::Proposals;
use crate::defect::Defect;
use crate::quorum_verifier::QuorumVerifier;
use crate::server::Serving;
use crate::store::{Durability, EpochFile};
use crate::work::MAIN;
use crate::{Coordinator, CoordinatorMark, Fact};

/// A leader gives up, for this reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StepDown(pub(super) &'static str);

/// A handler gives its learner up, for this reason.
#[derive(Clone, Copy, Debug)]
struct Unfit(&'static str);

/// Where the main loop is in `lead()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The database was loaded and a snapshot taken.
    Loading,
    /// Waits for a quorum to connect.
    WaitEpoch { deadline: Instant },
    /// Makes `acceptedEpoch` durable.
    Promising,
    /// Waits for a quorum to promise the epoch.
    WaitEpochAck { deadline: Instant },
    /// Makes `currentEpoch` durable.
    Adopting,
    /// Waits for a quorum to acknowledge NEWLEADER.
    WaitNewLeaderAck { deadline: Instant },
    /// Serves; every half tick it looks whether a quorum is still with it.
    Broadcast { next_half_tick: Instant, skip: bool },
}

/// A server that leads, or tries to.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    me: Sid,
    /// Where it accepts learners.
    port: Port,
    term: u64,
    /// `leadingVoteSet`: who voted for it.
    supporters: BTreeSet<Sid>,
    stage: Stage,
    /// `connectingFollowers`.
    connecting: BTreeSet<Sid>,
    /// The epoch to propose: above everything heard of, final once a quorum connected.
    epoch: PeerEpoch,
    /// Whether the epoch is final and durable.
    epoch_settled: bool,
    /// What this server had when it began to lead.
    summary: StateSummary,
    /// `electingFollowers`.
    electing: BTreeSet<Sid>,
    election_finished: bool,
    new_leader_acks: BTreeSet<Sid>,
    quorum_formed: bool,
    /// None until the epoch is settled.
    proposals: Option<Proposals>,
    learners: BTreeMap<EndId, LearnerHandler>,
    tick: u64,
    /// The reconfiguration that is proposed and not committed.
    reconfig: Option<(Zxid, Arc<QuorumVerifier>)>,
    /// False once another is to lead by a committed reconfiguration.
    allowed_to_commit: bool,
    /// Acks that came while the configuration last heard of was not durable here.
    held_acks: Vec<(Sid, Zxid)>,
    /// `currentEpoch` is durable, but that configuration is not.
    adopted_early: bool,
    /// The pipeline died (state ERROR): noticed at the next half tick.
    server_failed: bool,
}

impl Leader {
    /// `lead()`, step 1: ephemerals of unknown sessions go, and the tree, uncommitted tail included, goes to disk, unsynced.
    ///
    /// # Errors
    /// The status that the process exits with, if the snapshot cannot be written.
    pub(super) fn start(
        term: u64,
        supporters: BTreeSet<Sid>,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<Self, i32> {
        let me = parts.config.myid;
        let port = parts.membership.own().expect("a leader is in its configuration").quorum_port;
        io.listen(port);
        parts.db.kill_unknown_sessions();
        parts.take_snapshot(Durability::Lazy, io)?;
        io.defer(MAIN, ZabWork::Lead { term });
        Ok(Self {
            me,
            port,
            term,
            supporters,
            stage: Stage::Loading,
            connecting: BTreeSet::new(),
            epoch: PeerEpoch::ZERO,
            epoch_settled: false,
            summary: StateSummary { current_epoch: parts.current_epoch(), last_zxid: parts.db.last_processed() },
            electing: BTreeSet::new(),
            election_finished: false,
            new_leader_acks: BTreeSet::new(),
            quorum_formed: false,
            proposals: None,
            learners: BTreeMap::new(),
            tick: 0,
            reconfig: None,
            allowed_to_commit: true,
            held_acks: Vec::new(),
            adopted_early: false,
            server_failed: false,
        })
    }

    pub(super) const fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Loading => "loading",
            Stage::WaitEpoch { .. } => "wait-epoch",
            Stage::Promising => "promising",
            Stage::WaitEpochAck { .. } => "wait-epoch-ack",
            Stage::Adopting => "adopting",
            Stage::WaitNewLeaderAck { .. } => "wait-newleader-ack",
            Stage::Broadcast { .. } => "broadcast",
        }
    }

    pub(super) fn owns(&self, end: EndId) -> bool {
        self.learners.contains_key(&end)
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let own = match self.stage {
            Stage::WaitEpoch { deadline } | Stage::WaitEpochAck { deadline } | Stage::WaitNewLeaderAck { deadline } => {
                Some(deadline)
            }
            Stage::Broadcast { next_half_tick, .. } => Some(next_half_tick),
            Stage::Loading | Stage::Promising | Stage::Adopting => None,
        };
        // A handful of learners: a kept minimum would cost more than it saves.
        self.learners.values().filter_map(LearnerHandler::deadline).chain(own).min()
    }

    /// `getEpochToPropose(me)`: the leader itself connects.
    pub(super) fn on_lead(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), StepDown> {
        assert_eq!(self.stage, Stage::Loading, "a leader starts once");
        self.stage = Stage::WaitEpoch { deadline: io.now() + parts.config.init_time() };
        self.connect(self.me, parts.accepted_epoch(), parts, io)
    }

    /// The waiting part of `getEpochToPropose`.
    fn connect(
        &mut self,
        sid: Sid,
        accepted: PeerEpoch,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), StepDown> {
        match self.stage {
            Stage::Loading | Stage::WaitEpoch { .. } => {}
            Stage::Promising
            | Stage::WaitEpochAck { .. }
            | Stage::Adopting
            | Stage::WaitNewLeaderAck { .. }
            | Stage::Broadcast { .. } => return Ok(()), // The epoch is chosen: whoever comes later gets it.
        }
        // ZOOKEEPER-335: up to 3.3 a leader heeded only what it had itself.
        if sid == self.me || !parts.config.defects.has(Defect::NoEpochFiles) {
            self.epoch = self.epoch.max(accepted.next());
        }
        let quorum = parts.membership.current();
        if quorum.is_voter(sid) {
            self.connecting.insert(sid);
        }
        if self.connecting.contains(&self.me) && quorum.contains_quorum(self.connecting.iter().copied()) {
            self.stage = Stage::Promising;
            let written = parts.epochs.begin(EpochFile::Accepted, self.epoch, self.term, parts.config, io);
            return written.map_err(|_| StepDown("acceptedEpoch could not be written"));
        }
        Ok(())
    }

    /// An epoch file is durable and in its place.
    pub(super) fn on_epoch_written(
        &mut self,
        file: EpochFile,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), StepDown> {
        match (file, self.stage) {
            (EpochFile::Accepted, Stage::Promising) => {
                assert_eq!(parts.epochs.accepted(), self.epoch, "the epoch written is the one chosen");
                parts.epochs.state_written(file, parts.config, io);
                self.epoch_settled = true;
                self.proposals = Some(Proposals::new(self.epoch.start(), &parts.config.defects));
                self.give_version(parts, io);
                self.stage = Stage::WaitEpochAck { deadline: io.now() + parts.config.init_time() };
                for end in self.ends() {
                    if let Some(Phase::WaitEpoch { .. }) = self.learners.get(&end).map(LearnerHandler::phase) {
                        self.send_leader_info(end, io);
                    }
                }
                let summary = self.summary;
                self.ack_epoch(self.me, Some(summary), parts, io).expect("a leader is not ahead of itself");
                self.after_epoch_ack(parts, io)
            }
            (EpochFile::Current, Stage::Adopting) => {
                parts.epochs.state_written(file, parts.config, io);
                if parts.membership.is_writing_last_seen() {
                    self.adopted_early = true;
                } else {
                    self.wait_for_new_leader_acks(parts, io);
                }
                Ok(())
            }
            (EpochFile::Accepted | EpochFile::Current, _) => {
                unreachable!("{file:?} was written for nothing in {:?}", self.stage)
            }
        }
    }

    /// A configuration that nobody gave a version gets this epoch's, so that it wins over those of servers that only want to join.
    fn give_version(&self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let (current, last_seen) = (parts.membership.current(), parts.membership.last_seen());
        if current.version() == Zxid::ZERO && last_seen.version() == Zxid::ZERO {
            let versioned = current.with_version(self.epoch.start());
            parts.set_last_seen(versioned, io);
        }
    }

    /// The leader itself acknowledges NEWLEADER, and waits for others.
    fn wait_for_new_leader_acks(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        self.stage = Stage::WaitNewLeaderAck { deadline: io.now() + parts.config.init_time() };
        self.ack_new_leader(self.me, self.epoch.start(), parts);
        self.after_new_leader_ack(parts, io);
    }

    /// The configuration last heard of is durable: what waited for that goes on.
    pub(super) fn on_config_written(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        if std::mem::take(&mut self.adopted_early) {
            self.wait_for_new_leader_acks(parts, io);
        }
        for (by, zxid) in std::mem::take(&mut self.held_acks) {
            self.on_ack(by, zxid, parts, io);
        }
    }

    /// The epoch file could not be made durable: `lead()` fails.
    pub(super) const fn on_epoch_failed(&self) -> StepDown {
        match self.stage {
            Stage::Promising => StepDown("acceptedEpoch could not be written"),
            Stage::Adopting => StepDown("currentEpoch could not be written"),
            Stage::Loading
            | Stage::WaitEpoch { .. }
            | Stage::WaitEpochAck { .. }
            | Stage::WaitNewLeaderAck { .. }
            | Stage::Broadcast { .. } => StepDown("an epoch file could not be written"),
        }
    }

    /// `waitForEpochAck`, without the wait. `summary` is none of a learner that had promised this epoch before.
    fn ack_epoch(
        &mut self,
        sid: Sid,
        summary: Option<StateSummary>,
        parts: &mut Parts<'_>,
        _io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Unfit> {
        if self.election_finished {
            return Ok(());
        }
        let quorum = parts.membership.current();
        if let Some(summary) = summary {
            if summary > self.summary && !parts.config.defects.has(Defect::NoEpochFiles) {
                return Err(Unfit("follower is ahead of the leader"));
            }
            if quorum.is_voter(sid) {
                self.electing.insert(sid);
            }
        }
        if self.electing.contains(&self.me) && quorum.contains_quorum(self.electing.iter().copied()) {
            self.election_finished = true;
        }
        Ok(())
    }

    /// Who waited for a quorum of promises goes on: the leader adopts the epoch, handlers synchronise.
    fn after_epoch_ack(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), StepDown> {
        if !self.election_finished {
            return Ok(());
        }
        if let Stage::WaitEpochAck { .. } = self.stage {
            self.stage = Stage::Adopting;
            parts
                .epochs
                .begin(EpochFile::Current, self.epoch, self.term, parts.config, io)
                .map_err(|_| StepDown("currentEpoch could not be written"))?;
        }
        for end in self.ends() {
            if let Some(Phase::WaitElection { last_logged, .. }) = self.learners.get(&end).map(LearnerHandler::phase) {
                self.synchronise(end, last_logged, parts, io);
            }
        }
        Ok(())
    }

    /// `waitForNewLeaderAck`, without the wait. True if the handler need not wait.
    fn ack_new_leader(&mut self, sid: Sid, zxid: Zxid, parts: &Parts<'_>) -> bool {
        if self.quorum_formed || zxid != self.epoch.start() {
            return true; // An ack of something else is ignored, and its handler goes on.
        }
        self.new_leader_acks.insert(sid);
        self.quorum_formed = parts.membership.quorums().have_all(&self.new_leader_acks);
        self.quorum_formed
    }

    /// Who waited for a quorum of NEWLEADER acks goes on: the leader serves, handlers say UPTODATE.
    fn after_new_leader_ack(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        if !self.quorum_formed {
            return;
        }
        for handler in self.learners.values_mut() {
            if let Phase::WaitNewLeaderQuorum { .. } = handler.phase() {
                handler.enter(Phase::WaitStartup, io.now());
            }
        }
        if let Stage::WaitNewLeaderAck { .. } = self.stage {
            self.start_server(parts, io);
        }
        if let Stage::Broadcast { .. } = self.stage {
            for end in self.ends() {
                if self.learners.get(&end).is_some_and(|handler| handler.phase() == Phase::WaitStartup) {
                    self.say_up_to_date(end, parts, io);
                }
            }
        }
    }

    /// `startZkServer` and the way into the tick loop.
    fn start_server(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let start = self.epoch.start();
        let first = parts.config.initial_zxid.map_or(start, |counter| Zxid::new(self.epoch, counter));
        if parts.config.reconfig_enabled {
            self.activate_last_seen(parts, io);
        }
        parts.db.set_last_processed(start);
        parts.open_server(Serving::Leader { zxid: first }, io);
        if let Some(election) = parts.election.as_mut() {
            election.update_election_vote(self.epoch);
        }
        self.stage = Stage::Broadcast { next_half_tick: io.now() + parts.config.tick_time / 2, skip: true };
        io.state(Fact::LeaderEstablished { sid: self.me, epoch: self.epoch, zxid: start });
    }

    fn say_up_to_date(&mut self, end: EndId, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let handler = self.learners.get_mut(&end).expect("the learner is still there");
        handler.queue(QuorumPacket::UpToDate, io);
        handler.enter(Phase::Streaming, io.now());
        self.read_inbox(end, parts, io);
    }

    /// Somebody dialled the quorum port.
    pub(super) fn on_accepted(&mut self, end: EndId, parts: &Parts<'_>, io: &Io<'_, Coordinator>) {
        let deadline = self.tick + u64::from(parts.config.init_limit) + u64::from(parts.config.sync_limit);
        self.learners.insert(end, LearnerHandler::new(end, deadline, parts.config.init_time(), io.now()));
    }

    /// A learner's connection is gone. What it acknowledged stays acknowledged.
    pub(super) fn on_lost(&mut self, end: EndId) {
        self.learners.remove(&end);
    }

    fn drop_learner(&mut self, end: EndId, why: Unfit, io: &mut Io<'_, Coordinator>) {
        io.close(end);
        let handler = self.learners.remove(&end).expect("the learner is still there");
        if let Some(learner) = handler.sid {
            io.state(Fact::LearnerDropped { learner, why: why.0 });
        }
    }

    /// A packet of a learner.
    pub(super) fn on_packet(
        &mut self,
        end: EndId,
        packet: QuorumPacket,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), StepDown> {
        let handler = self.learners.get_mut(&end).expect("the end is owned");
        if !handler.reads() {
            if handler.inbox.len() == INBOX_MAX {
                self.drop_learner(end, Unfit("it floods a handler that does not read"), io);
            } else {
                handler.inbox.push_back(packet);
            }
            return Ok(());
        }
        handler.heard(io.now());
        match self.read_packet(end, packet, parts, io) {
            Ok(()) => {}
            Err(Failed::Learner(why)) => self.drop_learner(end, why, io),
            Err(Failed::Leader(why)) => return Err(why),
        }
        Ok(())
    }

    /// Reads what arrived while the handler was blocked.
    fn read_inbox(&mut self, end: EndId, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        while let Some(packet) =
            self.learners.get_mut(&end).filter(|handler| handler.reads()).and_then(|handler| handler.inbox.pop_front())
        {
            match self.read_packet(end, packet, parts, io) {
                Ok(()) => {}
                Err(Failed::Learner(why)) => self.drop_learner(end, why, io),
                Err(Failed::Leader(_)) => unreachable!("an epoch was settled before this handler was blocked"),
            }
        }
    }

    fn read_packet(
        &mut self,
        end: EndId,
        packet: QuorumPacket,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), Failed> {
        let handler = self.learners.get_mut(&end).expect("the end is owned");
        match handler.phase() {
            Phase::WaitInfo => {
                let observes = matches!(packet, QuorumPacket::ObserverInfo { .. });
                let (QuorumPacket::FollowerInfo { accepted_epoch, info }
                | QuorumPacket::ObserverInfo { accepted_epoch, info }) = packet
                else {
                    return Err(Failed::Learner(Unfit("first packet is no FOLLOWERINFO")));
                };
                // Simplified: peers from before Zab 1.0 (3.3) are not spoken to.
                if info.protocol_version < LEARNER_PROTOCOL {
                    return Err(Failed::Learner(Unfit("its protocol is too old")));
                }
                if info.config_version > parts.membership.current().version().to_wire() {
                    return Err(Failed::Learner(Unfit("it has a later activated configuration")));
                }
                (handler.sid, handler.observes) = (Some(info.sid), observes);
                handler.enter(Phase::WaitEpoch { deadline: io.now() + parts.config.init_time() }, io.now());
                self.connect(info.sid, accepted_epoch, parts, io).map_err(Failed::Leader)?;
                if self.epoch_settled {
                    self.send_leader_info(end, io);
                }
                Ok(())
            }
            Phase::WaitAckEpoch => {
                let QuorumPacket::AckEpoch { last_logged, current_epoch } = packet else {
                    return Err(Failed::Learner(Unfit("its packet is no ACKEPOCH")));
                };
                let sid = handler.sid.expect("FOLLOWERINFO came before");
                let deadline = io.now() + parts.config.init_time();
                handler.enter(Phase::WaitElection { deadline, last_logged }, io.now());
                // Without a database (−1) it does not count either.
                let summary = current_epoch
                    .zip(last_logged)
                    .map(|(current_epoch, last_zxid)| StateSummary { current_epoch, last_zxid });
                self.ack_epoch(sid, summary, parts, io).map_err(Failed::Learner)?;
                self.after_epoch_ack(parts, io).map_err(Failed::Leader)
            }
            Phase::WaitNewLeaderAck => {
                let QuorumPacket::Ack { zxid } = packet else {
                    return Err(Failed::Learner(Unfit("its packet is no ACK of NEWLEADER")));
                };
                let sid = handler.sid.expect("FOLLOWERINFO came before");
                handler.sync_limit.start();
                handler.syncing = None;
                handler.set_read_timeout(parts.config.sync_time());
                handler.enter(Phase::WaitNewLeaderQuorum { deadline: io.now() + parts.config.init_time() }, io.now());
                if self.ack_new_leader(sid, zxid, parts) {
                    let handler = self.learners.get_mut(&end).expect("the learner is still there");
                    handler.enter(Phase::WaitStartup, io.now());
                }
                self.after_new_leader_ack(parts, io);
                Ok(())
            }
            Phase::Streaming => {
                self.on_streamed(end, packet, parts, io);
                Ok(())
            }
            Phase::WaitEpoch { .. }
            | Phase::WaitElection { .. }
            | Phase::SendSnapshot
            | Phase::WaitNewLeaderQuorum { .. }
            | Phase::WaitStartup => unreachable!("a blocked handler reads nothing"),
        }
    }

    fn send_leader_info(&mut self, end: EndId, io: &mut Io<'_, Coordinator>) {
        let packet = QuorumPacket::LeaderInfo { epoch: self.epoch, protocol_version: LEARNER_PROTOCOL };
        let handler = self.learners.get_mut(&end).expect("the learner is still there");
        handler.write_now(QuorumMessage::Packet(packet), io);
        handler.enter(Phase::WaitAckEpoch, io.now());
    }

    pub(super) const fn server_failed(&self) -> bool {
        self.server_failed
    }

    /// A critical thread died.
    pub(super) const fn on_server_failed(&mut self) {
        self.server_failed = true;
    }

    /// Deadlines that have come.
    pub(super) fn on_woken(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) -> Result<(), StepDown> {
        let now = io.now();
        for end in self.ends() {
            let due =
                self.learners.get(&end).and_then(LearnerHandler::deadline).is_some_and(|deadline| deadline <= now);
            if due {
                self.drop_learner(end, Unfit("nothing was heard of it in time"), io);
            }
        }
        match self.stage {
            Stage::WaitEpoch { deadline } if deadline <= now => {
                Err(StepDown("timeout while waiting for epoch from quorum"))
            }
            Stage::WaitEpochAck { deadline } if deadline <= now => {
                Err(StepDown("timeout while waiting for epoch to be acked by quorum"))
            }
            Stage::WaitNewLeaderAck { deadline } if deadline <= now => {
                Err(StepDown("waiting for a quorum of followers"))
            }
            Stage::Broadcast { next_half_tick, skip } if next_half_tick <= now => self.on_half_tick(skip, parts, io),
            Stage::Loading
            | Stage::WaitEpoch { .. }
            | Stage::Promising
            | Stage::WaitEpochAck { .. }
            | Stage::Adopting
            | Stage::WaitNewLeaderAck { .. }
            | Stage::Broadcast { .. } => Ok(()),
        }
    }

    /// `reportLookingSid`: a voter this leader counted on looks again. Only with `leader.maxTimeToWaitForEpoch` does that end a
    /// wait for the epoch that has lasted so long.
    pub(super) fn on_lookers(&mut self, sids: &BTreeSet<Sid>, parts: &Parts<'_>, now: Instant) -> Result<(), StepDown> {
        let (Stage::WaitEpoch { deadline }, Some(patience)) = (self.stage, parts.config.max_time_to_wait_for_epoch)
        else {
            return Ok(());
        };
        let waited = parts.config.init_time().saturating_sub(deadline.saturating_since(now));
        if waited > patience && !self.supporters.is_disjoint(sids) {
            return Err(StepDown("a voter it counted on is looking again"));
        }
        Ok(())
    }

    /// The peers' side of a leader's end: the port and every connection are closed.
    pub(super) fn shut_down(self, why: StepDown, io: &mut Io<'_, Coordinator>) {
        if let Some(proposals) = &self.proposals {
            if proposals.outstanding() > 0 {
                io.reach(CoordinatorMark::SteppedDownWithOutstanding);
            }
            if proposals.closes_session() {
                io.reach(CoordinatorMark::CloseSessionOutstanding);
            }
        }
        io.state(Fact::LeaderSteppedDown { epoch: self.epoch, why: why.0 });
        io.unlisten(self.port);
        for &end in self.learners.keys() {
            io.close(end);
        }
    }

    fn ends(&self) -> Vec<EndId> {
        self.learners.keys().copied().collect()
    }

    pub(super) fn check_invariants(&self) {
        for handler in self.learners.values() {
            handler.check_invariants();
        }
        if let Some(proposals) = &self.proposals {
            proposals.check_invariants();
            assert!(
                proposals.last_committed().epoch() == self.epoch || proposals.has_rolled_over(),
                "it commits in its own epoch only"
            );
        }
        assert_eq!(self.epoch_settled, self.proposals.is_some(), "a leader without an epoch proposes nothing");
        assert!(self.quorum_formed <= self.election_finished, "nobody acknowledges before a quorum promised");
        if let Stage::Broadcast { .. } = self.stage {
            assert!(self.quorum_formed, "it serves only with a quorum");
        }
    }

    pub(super) fn digest(&self, into: &mut machine::Digest) {
        into.text(self.stage_name());
        into.word(u64::from(self.epoch.value()));
        into.word(self.learners.len() as u64);
        if let Some(proposals) = &self.proposals {
            into.word(proposals.last_proposed().value());
            into.word(proposals.last_committed().value());
        }
    }
}

/// What a packet of a learner may end.
enum Failed {
    Learner(Unfit),
    Leader(StepDown),
}
