//! What a server knows of its ensemble: the configuration in force, the one it last heard of, and its own place (§2.1, §15).

use std::collections::BTreeMap;
use std::sync::Arc;

use jute::Sid;
use machine::disk::{Disk, DiskError};
use machine::{Address, Io, Ticket};

use crate::Coordinator;
use crate::config::ServerConfig;
use crate::quorum_verifier::{LearnerType, Member, QuorumVerifier, Quorums};
use crate::store::{ConfigFiles, RefuseToStart, load_config};

/// What became of the configuration in force.
#[derive(Clone, Debug)]
pub(crate) struct Activated {
    /// The one before, if it had other members.
    pub(crate) previous: Option<Arc<QuorumVerifier>>,
    /// This server is to be something else than before.
    pub(crate) role_changed: bool,
}

/// The configurations a server goes by.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    me: Sid,
    /// `quorumVerifier`.
    current: Arc<QuorumVerifier>,
    /// `lastSeenQuorumVerifier`.
    last_seen: Arc<QuorumVerifier>,
    learner_type: LearnerType,
    /// `reconfigFlag`: the next role is known without an election.
    reconfig_flag: bool,
    /// The own line, as it last was in a configuration.
    own: Option<Member>,
    files: ConfigFiles,
}

impl Membership {
    /// As the static configuration says.
    pub(crate) fn new(config: &ServerConfig) -> Self {
        Self::of(config, config.quorum(), None)
    }

    /// As the disk says, or else the static configuration.
    ///
    /// # Errors
    /// If the server must not start with what is there.
    pub(crate) fn load(disk: &mut dyn Disk, config: &ServerConfig) -> Result<Self, RefuseToStart> {
        let (current, last_seen) = load_config(disk, config)?;
        Ok(Self::of(config, current, last_seen))
    }

    fn of(config: &ServerConfig, current: QuorumVerifier, last_seen: Option<QuorumVerifier>) -> Self {
        let current = Arc::new(current);
        let own = current.members().get(&config.myid).copied();
        Self {
            me: config.myid,
            last_seen: last_seen.map_or_else(|| Arc::clone(&current), Arc::new),
            learner_type: own.map_or(config.peer_type, |own| own.role),
            reconfig_flag: false,
            own,
            current,
            files: ConfigFiles::default(),
        }
    }

    /// The configuration in force.
    pub(crate) const fn current(&self) -> &Arc<QuorumVerifier> {
        &self.current
    }

    /// The newest configuration heard of.
    pub(crate) const fn last_seen(&self) -> &Arc<QuorumVerifier> {
        &self.last_seen
    }

    /// What a quorum must be of.
    pub(crate) fn quorums(&self) -> Quorums {
        Quorums::new(&self.current, &self.last_seen)
    }

    /// Whether it votes, or only wants to be told.
    pub(crate) const fn learner_type(&self) -> LearnerType {
        self.learner_type
    }

    /// The own line, as it last was in a configuration.
    pub(crate) const fn own(&self) -> Option<&Member> {
        self.own.as_ref()
    }

    /// Where everybody takes part in leader election; the configuration in force wins.
    pub(crate) fn election_addresses(&self) -> BTreeMap<Sid, Address> {
        let of = |quorum: &QuorumVerifier| -> Vec<(Sid, Address)> {
            quorum.members().iter().map(|(&sid, member)| (sid, member.election_address())).collect()
        };
        of(&self.last_seen).into_iter().chain(of(&self.current)).collect()
    }

    /// Where a member accepts its learners when it leads.
    pub(crate) fn quorum_address(&self, of: Sid) -> Option<Address> {
        self.current.members().get(&of).map(Member::quorum_address)
    }

    /// `setLastSeenQuorumVerifier`. Whether it is another one; its file is then under way.
    pub(crate) fn set_last_seen(
        &mut self,
        seen: QuorumVerifier,
        config: &ServerConfig,
        io: &mut Io<'_, Coordinator>,
    ) -> bool {
        if !config.reconfig_enabled || seen.version() == self.last_seen.version() {
            return false;
        }
        self.files.write_next(&seen, config, io);
        self.last_seen = Arc::new(seen);
        true
    }

    /// `setQuorumVerifier` and `updateLearnerType`: nothing if it is no newer. Its files are then under way.
    ///
    /// Simplified: nobody waits for these files, as the real server's threads do. A crash before they are there leaves
    /// `.dynamic.next`, as a crash just before the activation does.
    pub(crate) fn activate(
        &mut self,
        new: QuorumVerifier,
        config: &ServerConfig,
        io: &mut Io<'_, Coordinator>,
    ) -> Option<Activated> {
        if new.version() <= self.current.version() {
            return None;
        }
        let new = Arc::new(new);
        let previous = std::mem::replace(&mut self.current, Arc::clone(&new));
        if new.version() > self.last_seen.version() {
            self.last_seen = Arc::clone(&new);
        }
        self.files.write_active(&new, new.version() == self.last_seen.version(), config, io);
        self.own = new.members().get(&self.me).copied().or(self.own);
        let differs = !previous.is_same_as(&new);
        let mut role_changed = false;
        if differs {
            // Who is not in it any more goes on as a participant without a vote.
            let learner_type = new.members().get(&self.me).map_or(LearnerType::Participant, |own| own.role);
            role_changed = learner_type != self.learner_type;
            self.learner_type = learner_type;
            self.reconfig_flag |= role_changed;
        }
        Some(Activated { previous: differs.then_some(previous), role_changed })
    }

    /// The next role is known without an election.
    pub(crate) const fn set_reconfig_flag(&mut self) {
        self.reconfig_flag = true;
    }

    /// It is not.
    pub(crate) const fn clear_reconfig_flag(&mut self) {
        self.reconfig_flag = false;
    }

    /// Whether the next role is known.
    pub(crate) const fn reconfig_flag(&self) -> bool {
        self.reconfig_flag
    }

    /// Whether a configuration that was heard of is not durable yet: nothing may be vouched for meanwhile.
    pub(crate) fn is_writing_last_seen(&self) -> bool {
        self.files.is_writing_next()
    }

    /// Whether a sync is of its files.
    pub(crate) fn owns_ticket(&self, ticket: Ticket) -> bool {
        self.files.owns_ticket(ticket)
    }

    /// A sync of its files came back.
    pub(crate) fn on_durable(
        &mut self,
        result: Result<(), DiskError>,
        config: &ServerConfig,
        io: &mut Io<'_, Coordinator>,
    ) {
        self.files.on_durable(result, config, io);
    }
}
