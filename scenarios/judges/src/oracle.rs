//! What the judges hold: a shadow of each server, the committed history, and what clients were told.
//!
//! Its methods take plain data, so that a test can tell a history in ten lines. `dispatch.rs` translates what the engine saw
//! into them; nothing else here knows machines.
//!
//! The one thing to know: what a disk has durable is asked of the page cache itself, and only at the end of a step
//! ([`Oracle::settle`]), which is early enough because no sync completes within a step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::{FieldValue, Findings, Violation};
use jute::{PeerEpoch, SessionId, Zxid};
use machine::disk::PageCache;
use machine::{HostId, Instant};

use crate::canon::Canon;
use crate::configuration::{Configuration, Needs};
use crate::conversation::Conversations;
use crate::describe::describe;
use crate::durability::{NAME_NOT_SYNCED, STEPPED_OVER};
use crate::ensemble::{Place, Roster};
use crate::giving_up::Hope;
use crate::history::History;
use crate::moment::Story;
use crate::replay::Replay;
use crate::server::{Memory, Server};
use crate::tally::Tally;
use crate::{Check, Ensemble, Excuse, Moment, Role, Rule};

/// What may be looked at when a step is over.
pub trait Look {
    /// The page cache of a host, up or down.
    fn disk(&self, host: HostId) -> &PageCache;
    /// What a host's clock shows at an instant of the world.
    fn local(&self, host: HostId, at: Instant) -> Instant;
    /// The tree that a member has in memory.
    fn tree(&self, member: HostId) -> Option<TreeLook>;
    /// The first ephemeral of a session in that tree.
    fn ephemeral_of(&self, member: HostId, session: SessionId) -> Option<String>;
}

/// A tree as it is in a server's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeLook {
    /// The last transaction in it.
    pub zxid: Zxid,
    /// Its digest.
    pub digest: u64,
    /// The session table.
    pub sessions: Vec<SessionId>,
}

/// A check that waits for the end of the step.
#[derive(Clone, Debug)]
pub(crate) enum Todo {
    /// A follower acknowledged a proposal.
    Acked { member: usize, zxid: Zxid, moment: Moment },
    /// A learner acknowledged NEWLEADER.
    AckedNewLeader { member: usize, epoch: PeerEpoch, moment: Moment },
    /// A server applied the end of a session.
    Closed { member: usize, session: SessionId, moment: Moment },
    /// A transaction became committed, for which so much was needed.
    Committed { zxid: Zxid, needs: Needs, moment: Moment },
    /// A leader was established, for which so much was needed.
    Established { member: usize, epoch: PeerEpoch, needs: Needs, moment: Moment },
    /// A server goes by a configuration.
    Activated { member: usize, version: Zxid, moment: Moment },
    /// A leader was established with an older configuration than that in force.
    Outdated { member: usize, epoch: PeerEpoch, offered: Zxid, moment: Moment },
    /// `currentEpoch` was written.
    EpochWritten { member: usize, epoch: u32, moment: Moment },
    /// A leader heard of a session.
    Touched { member: usize, session: SessionId, timeout_ms: i32, moment: Moment },
    /// A leader gave up on a session.
    Expired { member: usize, session: SessionId, timeout_ms: i32, moment: Moment },
    /// A server read its disk back.
    Recovered { member: usize, moment: Moment },
    /// A server refused to start.
    Refused { member: usize, why: Arc<str>, moment: Moment },
    /// A sync completed on a member's disk.
    Synced { member: usize, moment: Moment },
}

/// Everything the judges know.
#[derive(Clone, Debug)]
pub struct Oracle {
    pub(crate) roster: Arc<Roster>,
    pub(crate) tally: Tally,
    pub(crate) canon: Arc<Canon>,
    /// Why no two trees need agree any more: a leader that had misread its disk, for a reason that excuses it, has led with that.
    pub(crate) parted: Option<&'static str>,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) replay: Arc<Replay>,
    pub(crate) conversations: Arc<Conversations>,
    pub(crate) history: Arc<History>,
    /// What each client knows of its session.
    pub(crate) hopes: Vec<Option<Hope>>,
    /// Who was established as the leader of each epoch.
    pub(crate) leaders: BTreeMap<PeerEpoch, Moment>,
    /// The tree a snapshot on its way holds, by sender and receiver.
    pub(crate) in_flight: BTreeMap<(HostId, HostId), Memory>,
    /// The configuration in force, by the committed history.
    pub(crate) in_force: Arc<Configuration>,
    /// Every configuration that came into force, by version.
    pub(crate) versions: Arc<BTreeMap<Zxid, (Arc<Configuration>, Moment)>>,
    /// Versions that leaders told their learners while they were outstanding.
    pub(crate) told_early: BTreeSet<Zxid>,
    /// The configurations that leaders told their learners, by epoch, until they are established.
    pub(crate) offers: BTreeMap<PeerEpoch, Arc<Configuration>>,
    /// Members that acknowledged NEWLEADER of the epochs whose leader is not established: it may be paused for long.
    pub(crate) new_leader_acks: BTreeMap<PeerEpoch, u32>,
    /// Sessions that a leader said to have expired, and whose end is not committed.
    pub(crate) given_up: BTreeSet<SessionId>,
    /// Clients whose write behind the faults succeeded.
    pub(crate) probed: u64,
    pub(crate) todo: Vec<Todo>,
    /// How often each situation arose.
    pub(crate) situations: BTreeMap<&'static str, u64>,
    /// The last proposal of which was said that only its leader has it, and that a quorum has it.
    pub(crate) last_alone: Zxid,
    pub(crate) last_acked_by_quorum: Zxid,
    pub(crate) last_on_one_follower: Zxid,
}

impl Oracle {
    /// Nothing has happened yet.
    ///
    /// Panics if the ensemble contradicts itself.
    #[must_use]
    pub fn new(ensemble: Ensemble) -> Self {
        let roster = Roster::new(ensemble);
        let in_force = Arc::new(roster.ensemble.configuration.clone());
        let start = Moment { event: 0, at: Instant::ZERO, host: roster.ensemble.members[0].host };
        let versions = BTreeMap::from([(in_force.version(), (Arc::clone(&in_force), start))]);
        let servers = roster.ensemble.members.iter().map(|member| Arc::new(Server::new(member.host))).collect();
        let conversations = Conversations::new(roster.ensemble.clients.len());
        let hopes = vec![None; roster.ensemble.clients.len()];
        Self {
            roster,
            tally: Tally::default(),
            canon: Arc::default(),
            parted: None,
            servers,
            replay: Arc::new(Replay::new()),
            conversations: Arc::new(conversations),
            history: Arc::default(),
            hopes,
            leaders: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            in_force,
            versions: Arc::new(versions),
            told_early: BTreeSet::new(),
            offers: BTreeMap::new(),
            new_leader_acks: BTreeMap::new(),
            given_up: BTreeSet::new(),
            probed: 0,
            todo: Vec::new(),
            situations: BTreeMap::new(),
            last_alone: Zxid::ZERO,
            last_acked_by_quorum: Zxid::ZERO,
            last_on_one_follower: Zxid::ZERO,
        }
    }

    /// How often each rule was held against what happened.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.tally.checks(|rule| !rule.is_of_kafka())
    }

    /// Losses that are excused, each with the events that excuse it.
    #[must_use]
    pub fn excuses(&self) -> &[Excuse] {
        self.tally.excuses()
    }

    /// Known holes of the real server that the run went through: what, how often, and when first.
    pub fn notes(&self) -> impl Iterator<Item = (&'static str, u64, Moment)> {
        self.tally.notes()
    }

    /// How often each situation arose.
    #[must_use]
    pub const fn situations(&self) -> &BTreeMap<&'static str, u64> {
        &self.situations
    }

    /// Transactions committed so far.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.canon.len()
    }

    /// The committed history: when each transaction became committed, and its bytes as logs hold them.
    pub fn committed_history(&self) -> impl Iterator<Item = (Moment, &[u8])> {
        self.canon.iter_from(0).map(|committed| (committed.moment, &*committed.entry))
    }

    /// Names, and who is who.
    #[must_use]
    pub fn ensemble(&self) -> &Ensemble {
        &self.roster.ensemble
    }

    /// What a member is to its ensemble; down if there is no such member.
    #[must_use]
    pub fn role_of(&self, host: HostId) -> Role {
        self.roster.member(host).map_or(Role::Down, |member| self.servers[member].role)
    }

    /// The step is over: what had to wait for that is checked now.
    pub fn settle(&mut self, look: &impl Look, findings: &mut Findings) {
        if self.todo.is_empty() {
            return;
        }
        let mut todo = std::mem::take(&mut self.todo);
        for item in todo.drain(..) {
            match item {
                Todo::Acked { member, zxid, moment } => self.check_ack(member, zxid, moment, look, findings),
                Todo::AckedNewLeader { member, epoch, moment } => {
                    self.check_new_leader_ack(member, epoch, moment, look, findings);
                }
                Todo::Closed { member, session, moment } => self.check_closed(member, session, moment, look, findings),
                Todo::Committed { zxid, needs, moment } => self.check_commit(zxid, &needs, moment, look, findings),
                Todo::Established { member, epoch, needs, moment } => {
                    self.check_established((member, epoch), &needs, moment, look, findings);
                }
                Todo::Activated { member, version, moment } => self.check_activated(member, version, moment, findings),
                Todo::Outdated { member, epoch, offered, moment } => {
                    self.check_outdated(member, (epoch, offered), moment, look, findings);
                }
                Todo::EpochWritten { member, epoch, moment } => {
                    self.check_epoch_written(member, epoch, moment, look, findings);
                }
                Todo::Touched { member, session, timeout_ms, moment } => {
                    self.on_touched(member, session, timeout_ms, moment, look);
                }
                Todo::Expired { member, session, timeout_ms, moment } => {
                    self.check_expired(member, session, timeout_ms, moment, look, findings);
                }
                Todo::Recovered { member, moment } => self.check_recovered(member, moment, look, findings),
                Todo::Refused { member, why, moment } => self.check_refused(member, &why, moment, look, findings),
                Todo::Synced { member, moment } => self.on_synced(member, moment, look, findings),
            }
        }
        self.todo = todo;
    }

    /// A server applied the end of a session: its tree is looked at when the step is over.
    pub fn session_closed(&mut self, moment: Moment, member: usize, session: SessionId) {
        self.todo.push(Todo::Closed { member, session, moment });
    }

    /// C20: with a session all its ephemerals end, in every tree. All servers may do the same wrong, so that their trees agree.
    fn check_closed(
        &mut self,
        member: usize,
        session: SessionId,
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::EphemeralOwnerLive);
        let Some(path) = look.ephemeral_of(self.servers[member].host, session) else { return };
        let name = self.member_name(member);
        let headline = format!("{name} applied the end of session {session}, and its ephemeral {path} is still there");
        let mut story = Story::new(Rule::EphemeralOwnerLive, headline).kind("ephemeral-left-in-tree");
        if let Some((zxid, then)) = self.replay.closed(session) {
            story = story.promise(then, format!("the end of session {session} was committed at {zxid}"));
        }
        let violation = story.detected(moment, format!("{path} is in its tree"));
        self.broken(Rule::EphemeralOwnerLive, violation, findings);
    }

    /// A server has read its disk back: its tree is looked at when the step is over.
    pub fn read_back(&mut self, moment: Moment, member: usize) {
        // It started: nothing refused it (C49).
        self.tally.check(Rule::NoRestartRefusal);
        self.todo.push(Todo::Recovered { member, moment });
    }

    /// C16: what a server read back is what the committed history makes.
    fn check_recovered(&mut self, member: usize, moment: Moment, look: &impl Look, findings: &mut Findings) {
        self.server_mut(member).misread = None;
        let Some(tree) = look.tree(self.servers[member].host) else { return };
        let Some(committed) = self.canon.position(tree.zxid).and_then(|at| self.canon.get(at)) else {
            // Beyond the committed history there is nothing to compare with.
            let server = &self.servers[member];
            let has_hole =
                self.missing_below(member, self.canon.last_zxid()).any(|missing| server.lost_with_power(missing));
            self.server_mut(member).misread = has_hole.then_some(STEPPED_OVER);
            return;
        };
        self.tally.check(Rule::RecoveryEquivalence);
        let expected: Vec<SessionId> = self.replay.sessions_at(tree.zxid).collect();
        let name = self.member_name(member);
        let what = if let Some((digest, _)) = committed.tree.filter(|&(digest, _)| digest != tree.digest) {
            Some(("tree", format!("its digest is {:#x}, and it was {digest:#x}", tree.digest)))
        } else if let Some(lost) = expected.iter().find(|session| !tree.sessions.contains(session)) {
            Some(("session-lost", format!("session {lost} is missing")))
        } else {
            let ghost = tree.sessions.iter().find(|session| !expected.contains(session));
            ghost.map(|ghost| ("session-ghost", format!("session {ghost} is there, and should not be")))
        };
        let Some((kind, what)) = what else { return };
        let server = &self.servers[member];
        // Recovery goes on from an older snapshot with whatever log there is, and a new epoch in it hides what is missing before.
        let is_excused = server.lost_snapshot.is_some_and(|lost| self.missing_below(member, lost).next().is_some());
        // Or from whoever did so before, and led with it.
        let why = self.parted.or(is_excused.then_some(NAME_NOT_SYNCED)).or_else(|| {
            let has_stepped = self.missing_below(member, tree.zxid).any(|missing| server.lost_with_power(missing));
            has_stepped.then_some(STEPPED_OVER)
        });
        if let Some(why) = why {
            self.server_mut(member).misread = Some(why);
            self.tally.relax(Rule::RecoveryEquivalence, why);
            self.tally.note(why, moment);
            return;
        }
        let headline = format!("{name} read back another state at {} than there was: {what}", tree.zxid);
        let story = Story::new(Rule::RecoveryEquivalence, headline)
            .promise(committed.moment, format!("{} was committed", tree.zxid))
            .kind(kind)
            .detected(moment, "it has read its disk");
        self.broken(Rule::RecoveryEquivalence, story, findings);
    }

    /// What a member's newest snapshot and its log leave out of what was committed up to there.
    fn missing_below(&self, member: usize, zxid: Zxid) -> impl Iterator<Item = Zxid> {
        let server = &self.servers[member];
        let from = self.canon.count_to(server.anchor().unwrap_or(Zxid::ZERO));
        let committed = self.canon.iter_from(from).map(|it| it.zxid).take_while(move |&it| it <= zxid);
        committed.filter(|&it| server.log.position(it).is_none())
    }

    /// A rule is broken.
    pub(crate) fn broken(&mut self, rule: Rule, violation: Violation, findings: &mut Findings) {
        self.tally.broke(rule);
        findings.violation(violation);
    }

    /// A situation has arisen.
    pub(crate) fn arise(
        &mut self,
        kind: &'static str,
        fields: impl FnOnce() -> Vec<(&'static str, FieldValue)>,
        findings: &mut Findings,
    ) {
        *self.situations.entry(kind).or_insert(0) += 1;
        if self.roster.ensemble.situations.iter().any(|wanted| wanted == kind) {
            findings.situation(kind, fields());
        }
    }

    #[inline]
    pub(crate) fn place(&self, host: HostId) -> Place {
        self.roster.place(host)
    }

    pub(crate) fn name(&self, host: HostId) -> &str {
        self.roster.name(host)
    }

    pub(crate) fn member_name(&self, member: usize) -> &str {
        &self.roster.ensemble.members[member].name
    }

    pub(crate) fn server_mut(&mut self, member: usize) -> &mut Server {
        Arc::make_mut(&mut self.servers[member])
    }

    /// What a transaction does, committed or only proposed.
    pub(crate) fn describe(&self, zxid: Zxid) -> String {
        let committed = self.canon.position(zxid).and_then(|at| self.canon.get(at)).map(|it| it.entry.clone());
        let entry = committed.or_else(|| self.canon.proposal(zxid).map(|it| it.entry.clone()));
        entry.map_or_else(|| "a transaction nobody has seen".to_owned(), |entry| describe(&entry))
    }

    /// A transaction became committed: replay it.
    pub(crate) fn replay_last(&mut self, moment: Moment, findings: &mut Findings) {
        let last = self.canon.last().expect("it was just committed");
        let (zxid, entry) = (last.zxid, last.entry.clone());
        self.replay_entry(zxid, &entry, moment, findings);
    }
}
