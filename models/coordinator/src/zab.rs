//! Zab 1.0: the peer's main loop, the leader with its learner handlers, and the learner (zookeeper.md §2.1, §3).
//!
//! ```text
//!              ┌──────────────────────────── Stopping ◀──────────────┐
//!              ▼                                │ pipeline flushed   │ its leader, or its quorum, is lost
//!           Looking ── leader election ──▶ Following, Leading ────────┘
//! ```
//!
//! A role ends in the real server's order: connections of clients and peers first, then the pipeline, whose log queue is
//! flushed; only then the tree is brought up to the log, uncommitted tail included (ZOOKEEPER-2845), and the next leader
//! election begins. A tree with something the disk does not have is thrown away and read back instead.

mod leader;
mod learner;
mod learner_handler;
mod parts;
mod peer_epochs;
mod proposals;
mod sync_limit;
mod sync_plan;

use std::collections::{BTreeSet, VecDeque};

use jute::election::PeerState;
use jute::op::OpCode;
use jute::quorum::QuorumMessage;
use jute::{PeerEpoch, Sid, Zxid};
use machine::disk::DiskError;
use machine::{Digest, EndId, Instant, Io, Purpose, Span, Ticket};

use self::leader::{Leader, StepDown};
use self::learner::{Learner, Left};
use crate::defect::Defect;
use crate::election::Decided;
use crate::quorum_verifier::{LearnerType, QuorumVerifier};
use crate::server::{ServerEvent, Serving};
use crate::store::{Durability, EpochFile};
use crate::{Coordinator, CoordinatorMark, Fact, Role};

pub(crate) use self::parts::Parts;
pub(crate) use self::peer_epochs::PeerEpochs;

/// How long an observer waits that lost its leader.
const ELECTION_DELAY: Purpose = Purpose::new("observer-election");

/// The next step of the main loop, the leader or the learner. The term tells a step of an earlier role, which is stale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZabWork {
    /// The leader has loaded its data and joins the discovery of its epoch.
    Lead {
        /// Of the main loop's role.
        term: u64,
    },
    /// An epoch file is durable and in its place.
    EpochWritten {
        /// Of the main loop's role.
        term: u64,
        /// Which of the two.
        file: EpochFile,
    },
    /// The learner's next persisted step between NEWLEADER and its ACK.
    Persist {
        /// Of the main loop's role.
        term: u64,
    },
    /// The leader's handler sends the tree.
    SendSnapshot {
        /// The learner's connection.
        learner: EndId,
        /// What the leader had when it decided.
        zxid: Zxid,
    },
    /// The leader's handler is forwarded to from now on: a step of its own only where that is a bug (ZOOKEEPER-962).
    StartForwarding {
        /// The learner's connection.
        learner: EndId,
        /// The learner gets everything up to here by what it was sent.
        after: Zxid,
    },
}

/// What the main loop does at the moment.
#[derive(Clone, Debug)]
enum State {
    /// Epoch files that recovery found missing or lost are written, one after the other.
    Starting {
        to_write: VecDeque<(EpochFile, PeerEpoch)>,
    },
    /// No ensemble is configured.
    Standalone,
    Looking,
    /// An observer that lost its leader waits before it looks for another.
    Pausing {
        until: Instant,
    },
    Following(Box<Learner>),
    Leading(Box<Leader>),
    /// The role has ended; the pipeline flushes what is queued for the log. `reload`: the tree is not to be trusted.
    Stopping {
        reload: bool,
    },
    /// The process has exited.
    Down,
}

/// The peer's main loop (`QuorumPeer`).
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    state: State,
    /// Counts roles.
    term: u64,
    /// Its last role was an observer's.
    observed: bool,
    /// False until its first synchronisation of a server whose empty disk nobody vouched for (zookeeper.md §9.6).
    has_database: bool,
    /// When it may be read while it looks for a leader.
    read_only_at: Option<Instant>,
}

impl Peer {
    /// Starts with what recovery found: a standalone server serves, a voter looks for a leader.
    pub(crate) fn start(
        has_database: bool,
        to_write: Vec<(EpochFile, PeerEpoch)>,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) -> Self {
        let mut peer = Self {
            state: State::Starting { to_write: to_write.into() },
            term: 0,
            observed: false,
            has_database,
            read_only_at: None,
        };
        peer.go_on_starting(parts, io);
        peer
    }

    fn go_on_starting(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let State::Starting { to_write } = &mut self.state else { unreachable!("it starts once") };
        let current = parts.current_epoch();
        if let Some((file, epoch)) = to_write.pop_front() {
            if parts.epochs.begin(file, epoch, self.term, parts.config, io).is_err() {
                self.refuse("an epoch file could not be written".to_owned(), io);
            }
        } else if let Some(election) = parts.election.as_mut() {
            election.start(self.has_database.then(|| parts.db.last_processed()), current, io);
            self.become_looking(parts, io);
        } else {
            self.become_standalone(parts, io);
        }
    }

    /// A server that cannot trust its disk does not run.
    fn refuse(&mut self, why: String, io: &mut Io<'_, Coordinator>) {
        io.state(Fact::RefusedToStart { why });
        self.exit(1, io);
    }

    /// A server that refused to start.
    pub(crate) const fn down() -> Self {
        Self { state: State::Down, term: 0, observed: false, has_database: false, read_only_at: None }
    }

    pub(crate) const fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    pub(crate) fn role(&self) -> Role {
        match &self.state {
            State::Standalone => Role::Standalone,
            State::Starting { .. } | State::Looking | State::Pausing { .. } | State::Stopping { .. } | State::Down => {
                Role::Looking
            }
            State::Following(learner) if learner.observes() => Role::Observing,
            State::Following(_) => Role::Following,
            State::Leading(_) => Role::Leading,
        }
    }

    pub(crate) fn phase_name(&self) -> &'static str {
        match &self.state {
            State::Starting { .. } => "starting",
            State::Standalone => "serving",
            State::Looking => "looking",
            State::Pausing { .. } => "pausing",
            State::Stopping { .. } => "stopping",
            State::Down => "down",
            State::Following(learner) => learner.phase_name(),
            State::Leading(leader) => leader.stage_name(),
        }
    }

    fn enter(&mut self, state: State, parts: &Parts<'_>, io: &mut Io<'_, Coordinator>) {
        self.state = state;
        io.state(Fact::RoleChanged { sid: parts.config.myid, role: self.role(), epoch: parts.epochs.current() });
    }

    /// `ZooKeeperServerMain`: the tree is cleaned of unknown sessions and written out, then clients are served.
    fn become_standalone(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        parts.db.kill_unknown_sessions();
        if let Err(status) = parts.take_snapshot(Durability::Lazy, io) {
            return self.exit(status, io);
        }
        parts.open_server(Serving::Standalone, io);
        self.enter(State::Standalone, parts, io);
    }

    fn become_looking(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        self.term += 1;
        parts.membership.clear_reconfig_flag();
        self.enter(State::Looking, parts, io);
        self.read_only_at = parts.config.read_only_mode.then(|| io.now() + parts.config.read_only_delay());
        let last_logged = self.has_database.then(|| parts.db.last_processed());
        let current = parts.current_epoch();
        let election = parts.election.as_mut().expect("a voter takes part in leader election");
        election.look_for_leader(last_logged, current, io);
    }

    /// A leader election has ended.
    pub(crate) fn on_decided(&mut self, decided: Decided, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        assert!(matches!(self.state, State::Looking), "a decision while {}", self.phase_name());
        self.read_only_at = None;
        parts.close_read_only_server(io);
        self.take_role(decided.leader(), decided.supporters, parts, io);
    }

    /// Who leads is known: leads, follows or observes.
    fn take_role(
        &mut self,
        leader: Sid,
        supporters: BTreeSet<Sid>,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        self.term += 1;
        if leader == parts.config.myid {
            match Leader::start(self.term, supporters, parts, io) {
                Ok(leader) => self.enter(State::Leading(Box::new(leader)), parts, io),
                Err(status) => self.exit(status, io),
            }
        } else {
            match Learner::start(leader, self.term, self.has_database, parts, io) {
                Some(learner) => self.enter(State::Following(Box::new(learner)), parts, io),
                // "Couldn't find the leader".
                None => self.finish_stop(false, false, parts, io),
            }
        }
    }

    /// `updateServerState`: after a reconfiguration that said who leads, nobody looks for a leader.
    fn update_server_state(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let election = parts.election.as_mut().expect("who had a role is in an ensemble");
        let leader = election.current_vote().and_then(|vote| vote.candidate.leader);
        let Some(leader) = leader.filter(|_| parts.membership.reconfig_flag()) else {
            return self.become_looking(parts, io);
        };
        parts.membership.clear_reconfig_flag();
        election.set_state(match parts.membership.learner_type() {
            _ if leader == parts.config.myid => PeerState::Leading,
            LearnerType::Participant => PeerState::Following,
            LearnerType::Observer => PeerState::Observing,
        });
        self.take_role(leader, BTreeSet::new(), parts, io);
    }

    /// A newer configuration was in a notification: it is in force at once, and the election starts over if it has other servers.
    pub(crate) fn on_config_learned(
        &mut self,
        learned: QuorumVerifier,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        if !matches!(self.state, State::Looking | State::Pausing { .. }) {
            return;
        }
        io.reach(CoordinatorMark::ConfigGossiped);
        let differs = !learned.is_same_as(parts.membership.current());
        parts.process_reconfig(learned, None, io);
        parts.membership.clear_reconfig_flag();
        if differs && matches!(self.state, State::Looking) {
            let last_logged = self.has_database.then(|| parts.db.last_processed());
            let current = parts.current_epoch();
            let election = parts.election.as_mut().expect("who looks is in an ensemble");
            election.reset_vote(last_logged, current);
            election.look_for_leader(last_logged, current, io);
        }
    }

    /// A file of the configuration is in its place.
    pub(crate) fn on_config_written(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        if parts.membership.is_writing_last_seen() {
            return;
        }
        match &mut self.state {
            State::Leading(leader) => leader.on_config_written(parts, io),
            State::Following(learner) => learner.on_config_written(io),
            State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => {}
        }
    }

    /// The followers that are in step with this leader, and itself; nobody if it does not lead.
    pub(crate) fn synced_followers(&self, me: Sid) -> BTreeSet<Sid> {
        match &self.state {
            State::Leading(leader) => leader.synced_followers(me),
            State::Following(_)
            | State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => BTreeSet::new(),
        }
    }

    /// The role ends: the pipeline is closed, and what it flushes still reaches the log.
    fn stop(&mut self, reload: bool, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        self.state = State::Stopping { reload };
        if parts.server.is_open() {
            parts.close_server(io);
        } else {
            // Nothing was logged behind the tree's back: what synchronisation logged, it applied.
            self.finish_stop(false, reload, parts, io);
        }
    }

    fn finish_stop(&mut self, served: bool, reload: bool, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        // ZOOKEEPER-2845: the tree stays as it is.
        let fast_forwards = served && !parts.config.defects.has(Defect::NoFastForward);
        let reload = reload || fast_forwards && parts.fast_forward(io).is_err();
        if reload && let Err(why) = parts.reload(io) {
            self.refuse(why.to_string(), io);
            return;
        }
        if parts.config.defects.has(Defect::KeepMemoryAfterLogError) {
            parts.forget_unwritten();
        }
        self.has_database |= served;
        let most = parts.config.observer_election_delay;
        if std::mem::take(&mut self.observed) && most > Span::ZERO {
            let until = io.now() + io.draw(ELECTION_DELAY).between(Span::ZERO, most);
            if let Some(election) = parts.election.as_mut() {
                election.set_state(PeerState::Looking);
            }
            self.state = State::Pausing { until };
        } else {
            self.update_server_state(parts, io);
        }
    }

    fn exit(&mut self, status: i32, io: &mut Io<'_, Coordinator>) {
        io.exit(status);
        self.state = State::Down;
    }

    /// The operator ends the process: no server has a hook for that, it just dies of the signal.
    pub(crate) fn on_terminate(&mut self, io: &mut Io<'_, Coordinator>) {
        self.exit(143, io);
    }

    fn end_leading(&mut self, result: Result<(), StepDown>, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let Err(why) = result else { return };
        let State::Leading(leader) = std::mem::replace(&mut self.state, State::Down) else {
            unreachable!("only a leader steps down")
        };
        let reload = leader.server_failed() && !parts.config.defects.has(Defect::KeepMemoryAfterLogError);
        leader.shut_down(why, io);
        self.stop(reload, parts, io);
    }

    fn end_following(&mut self, result: Result<(), Left>, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let why = match result {
            Ok(()) => return,
            Err(Left::Leader(why)) => why,
            Err(Left::Process(status)) => return self.exit(status, io),
        };
        let State::Following(learner) = std::mem::replace(&mut self.state, State::Down) else {
            unreachable!("only a learner leaves")
        };
        self.observed = learner.observes();
        learner.shut_down(why, io);
        self.stop(learner.is_ahead_of_disk(&parts.config.defects), parts, io);
    }

    /// Whether an end is a learner's, or the leader's.
    pub(crate) fn owns(&self, end: EndId) -> bool {
        match &self.state {
            State::Following(learner) => learner.owns(end),
            State::Leading(leader) => leader.owns(end),
            State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => false,
        }
    }

    /// Whether a sync is one of a learner's persisted steps.
    pub(crate) fn owns_ticket(&self, ticket: Ticket) -> bool {
        match &self.state {
            State::Following(learner) => learner.owns_ticket(ticket),
            State::Leading(_)
            | State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => false,
        }
    }

    /// Somebody dialled the quorum port.
    pub(crate) fn on_accepted(&mut self, end: EndId, parts: &Parts<'_>, io: &mut Io<'_, Coordinator>) {
        match &mut self.state {
            State::Leading(leader) => leader.on_accepted(end, parts, io),
            // The handshake was under way when the port was closed.
            State::Following(_)
            | State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => {
                io.close(end);
            }
        }
    }

    /// A dial succeeded; the end must be owned.
    pub(crate) fn on_opened(&mut self, parts: &Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let State::Following(learner) = &mut self.state else { unreachable!("only a learner dials") };
        learner.on_opened(parts, io);
    }

    /// A dial failed; the end must be owned.
    pub(crate) fn on_refused(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let State::Following(learner) = &mut self.state else { unreachable!("only a learner dials") };
        let result = learner.on_refused(parts, io);
        self.end_following(result, parts, io);
    }

    /// An end is gone; it must be owned.
    pub(crate) fn on_lost(&mut self, end: EndId, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        match &mut self.state {
            State::Leading(leader) => leader.on_lost(end),
            State::Following(learner) => {
                let result = learner.on_lost(parts, io);
                self.end_following(result, parts, io);
            }
            State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => {
                unreachable!("the end is owned")
            }
        }
    }

    /// A message arrived; the end must be owned.
    pub(crate) fn on_message(
        &mut self,
        end: EndId,
        message: QuorumMessage,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        match &mut self.state {
            State::Leading(leader) => match message {
                QuorumMessage::Packet(packet) => {
                    let result = leader.on_packet(end, packet, parts, io);
                    self.end_leading(result, parts, io);
                }
                QuorumMessage::Snapshot(_) => {
                    // No packet: a learner sends no tree.
                    io.close(end);
                    leader.on_lost(end);
                }
            },
            State::Following(learner) => {
                let result = learner.on_message(message, parts, io);
                self.end_following(result, parts, io);
            }
            State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => {
                unreachable!("the end is owned")
            }
        }
    }

    /// A deferred step has its turn.
    pub(crate) fn on_turn(&mut self, work: ZabWork, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        match (work, &mut self.state) {
            (ZabWork::Lead { term }, State::Leading(leader)) if term == self.term => {
                let result = leader.on_lead(parts, io);
                self.end_leading(result, parts, io);
            }
            (ZabWork::EpochWritten { term, file }, State::Leading(leader)) if term == self.term => {
                let result = leader.on_epoch_written(file, parts, io);
                self.end_leading(result, parts, io);
            }
            (ZabWork::EpochWritten { term, file }, State::Following(learner)) if term == self.term => {
                let result = learner.on_epoch_written(file, parts, io);
                self.end_following(result, parts, io);
            }
            (ZabWork::Persist { term }, State::Following(learner)) if term == self.term => {
                let result = learner.on_persist(parts, io);
                self.end_following(result, parts, io);
            }
            (ZabWork::EpochWritten { term, .. }, State::Starting { .. }) if term == self.term => {
                self.go_on_starting(parts, io);
            }
            (ZabWork::SendSnapshot { learner, zxid }, State::Leading(leader)) => {
                leader.on_send_snapshot(learner, zxid, parts, io);
            }
            (ZabWork::StartForwarding { learner, after }, State::Leading(leader)) => {
                leader.on_start_forwarding(learner, after, parts, io);
            }
            // Of an earlier role.
            (
                ZabWork::Lead { .. }
                | ZabWork::EpochWritten { .. }
                | ZabWork::Persist { .. }
                | ZabWork::SendSnapshot { .. }
                | ZabWork::StartForwarding { .. },
                State::Starting { .. }
                | State::Standalone
                | State::Looking
                | State::Pausing { .. }
                | State::Following(_)
                | State::Leading(_)
                | State::Stopping { .. }
                | State::Down,
            ) => {}
        }
    }

    /// The sync of an epoch file came back.
    pub(crate) fn on_epoch_durable(
        &mut self,
        result: Result<(), DiskError>,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        if parts.epochs.on_durable(result, parts.config, io).is_ok() {
            return; // The rest is a step of its own.
        }
        match &mut self.state {
            State::Leading(leader) => {
                let why = leader.on_epoch_failed();
                self.end_leading(Err(why), parts, io);
            }
            State::Following(_) => {
                self.end_following(Err(Left::Leader("an epoch file could not be written")), parts, io);
            }
            State::Starting { .. } => self.refuse("an epoch file could not be written".to_owned(), io),
            State::Standalone | State::Looking | State::Pausing { .. } | State::Stopping { .. } | State::Down => {
                unreachable!("only leaders and learners write epochs, and they wait for it")
            }
        }
    }

    /// A sync of a learner's persisted step came back; the ticket must be owned.
    pub(crate) fn on_durable(
        &mut self,
        ticket: Ticket,
        result: Result<(), DiskError>,
        parts: &mut Parts<'_>,
        io: &mut Io<'_, Coordinator>,
    ) {
        let State::Following(learner) = &mut self.state else { unreachable!("the ticket is owned") };
        let result = learner.on_durable(ticket, result, io);
        self.end_following(result, parts, io);
    }

    /// Time has passed.
    pub(crate) fn on_woken(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        match &mut self.state {
            State::Leading(leader) => {
                let result = leader.on_woken(parts, io);
                self.end_leading(result, parts, io);
            }
            State::Following(learner) => {
                let result = learner.on_woken(parts, io);
                self.end_following(result, parts, io);
            }
            State::Looking => {
                if self.read_only_at.is_some_and(|at| at <= io.now()) {
                    self.read_only_at = None;
                    io.reach(CoordinatorMark::ReadOnlyServer);
                    parts.open_server(Serving::ReadOnly, io);
                }
            }
            &mut State::Pausing { until } if until <= io.now() => self.update_server_state(parts, io),
            State::Starting { .. }
            | State::Standalone
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => {}
        }
    }

    /// When it next wants to be woken.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        match &self.state {
            State::Leading(leader) => leader.next_wake(),
            State::Following(learner) => learner.next_wake(),
            State::Looking => self.read_only_at,
            State::Pausing { until } => Some(*until),
            State::Starting { .. } | State::Standalone | State::Stopping { .. } | State::Down => None,
        }
    }

    /// Voters were seen looking while this server leads.
    pub(crate) fn on_lookers(&mut self, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        let State::Leading(leader) = &mut self.state else { return };
        let Some(election) = parts.election.as_mut() else { return };
        let sids = election.take_looking_sids();
        if !sids.is_empty() {
            let result = leader.on_lookers(&sids, parts, io.now());
            self.end_leading(result, parts, io);
        }
    }

    /// What the pipeline wants of its peer.
    pub(crate) fn on_server_event(&mut self, event: ServerEvent, parts: &mut Parts<'_>, io: &mut Io<'_, Coordinator>) {
        match &mut self.state {
            State::Leading(leader) => match event {
                ServerEvent::Propose(proposal) => {
                    let closes_session = proposal.entry.txn.op() == OpCode::CloseSession;
                    leader.propose(&proposal, closes_session, parts, io);
                }
                ServerEvent::XidRollover => {
                    io.reach(CoordinatorMark::ZxidRollover);
                    self.end_leading(Err(StepDown("the zxid counter has rolled over")), parts, io);
                }
                ServerEvent::LeaderSync { learner, .. } => leader.on_learner_sync(learner, io),
                ServerEvent::Logged(zxids) => leader.on_logged(zxids, parts, io),
                ServerEvent::Applied { zxid } => leader.on_applied(zxid),
                ServerEvent::Fatal(_) => leader.on_server_failed(),
                ServerEvent::Forward { .. } | ServerEvent::Revalidate { .. } | ServerEvent::Closed => {
                    unreachable!("a leader's pipeline asks nobody")
                }
            },
            State::Following(learner) => {
                learner.on_server_event(event, parts.membership.is_writing_last_seen(), io);
            }
            State::Standalone => match event {
                ServerEvent::Fatal(_) => self.exit(1, io),
                ServerEvent::Logged(_)
                | ServerEvent::Applied { .. }
                | ServerEvent::Forward { .. }
                | ServerEvent::Propose(_)
                | ServerEvent::XidRollover
                | ServerEvent::LeaderSync { .. }
                | ServerEvent::Revalidate { .. }
                | ServerEvent::Closed => {}
            },
            &mut State::Stopping { reload } => match event {
                ServerEvent::Closed => self.finish_stop(true, reload, parts, io),
                // The log is not what the tree says: whatever was applied is read back from it (ZOOKEEPER-4882).
                ServerEvent::Fatal(_) => {
                    let reload = !parts.config.defects.has(Defect::KeepMemoryAfterLogError);
                    self.state = State::Stopping { reload };
                }
                // Nobody is there any more to tell.
                ServerEvent::Logged(_)
                | ServerEvent::Applied { .. }
                | ServerEvent::Forward { .. }
                | ServerEvent::Propose(_)
                | ServerEvent::XidRollover
                | ServerEvent::LeaderSync { .. }
                | ServerEvent::Revalidate { .. } => {}
            },
            State::Starting { .. } | State::Looking | State::Pausing { .. } | State::Down => {}
        }
    }

    pub(crate) fn check_invariants(&self) {
        match &self.state {
            State::Leading(leader) => leader.check_invariants(),
            State::Following(learner) => learner.check_invariants(),
            State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => {}
        }
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        into.text(self.role().name());
        match &self.state {
            State::Leading(leader) => leader.digest(into),
            State::Following(learner) => learner.digest(into),
            State::Starting { .. }
            | State::Standalone
            | State::Looking
            | State::Pausing { .. }
            | State::Stopping { .. }
            | State::Down => into.text(self.phase_name()),
        }
    }
}
