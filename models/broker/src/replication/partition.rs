//! One hosted partition, without its log: who leads, who is in sync, what the followers fetched (kafka-broker.md §5.4, §5.9).

use std::sync::Arc;

use commitlog::Log;
use kafkawire::messages::TopicName;
use kafkawire::{BrokerId, ControllerEpoch, ErrorCode, LeaderEpoch, Offset, PartitionEpoch, TopicPartition};
use machine::{Digest, Instant, Span};

use crate::topic_settings::TopicSettings;

/// A follower, as its leader knows it from its fetches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remote {
    /// The broker.
    pub broker: BrokerId,
    /// Where its log ends; not known before it fetches in this leader's reign.
    pub log_end: Option<Offset>,
    /// When it last had everything that the leader had at the time.
    pub last_caught_up: Option<Instant>,
    /// When it last fetched.
    last_fetch: Option<Instant>,
    /// Where the leader's log ended then.
    last_fetch_leader_end: Offset,
}

impl Remote {
    const fn new(broker: BrokerId) -> Self {
        Self { broker, log_end: None, last_caught_up: None, last_fetch: None, last_fetch_leader_end: Offset(-1) }
    }

    /// Whether it had everything less than `lag_max` ago.
    fn caught_up_within(&self, lag_max: Span, now: Instant) -> bool {
        self.last_caught_up.is_some_and(|then| now.saturating_since(then) <= lag_max)
    }

    /// A fetch (`updateFetchState`): what it asks for it does not have, and everything before that it has.
    fn fetched(&mut self, offset: Offset, leader_end: Offset, now: Instant) {
        if offset >= leader_end {
            self.last_caught_up = self.last_caught_up.max(Some(now));
        } else if offset >= self.last_fetch_leader_end {
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        self.log_end = Some(offset);
        self.last_fetch_leader_end = self.last_fetch_leader_end.max(leader_end);
        self.last_fetch = Some(now);
    }
}

/// What only the leader of a partition has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leader {
    /// Where its epoch began in its log.
    pub epoch_start: Offset,
    /// The in-sync replicas as they are in ZooKeeper, in the order they have there; the leader among them.
    pub isr: Vec<BrokerId>,
    /// The other assigned replicas.
    pub remotes: Vec<Remote>,
}

impl Leader {
    fn remote(&self, broker: BrokerId) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.broker == broker)
    }
}

/// On which side of replication the broker stands with a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// On none yet: LeaderAndIsr named a leader that was not alive, so there is only the log (KAFKA-1647).
    None,
    /// It leads.
    Leader(Leader),
    /// It follows this broker.
    Follower {
        /// The leader.
        leader: BrokerId,
    },
}

/// What LeaderAndIsr says about a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PartitionState {
    pub(crate) controller_epoch: ControllerEpoch,
    pub(crate) leader: BrokerId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
    pub(crate) isr: Vec<BrokerId>,
    pub(crate) replicas: Vec<BrokerId>,
}

/// What a follower's fetch changed at its leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fetched {
    /// The end of the follower's log is another one than before: the high watermark may rise.
    pub(crate) moved: bool,
    /// The follower belongs in the ISR (§5.11).
    pub(crate) is_in_sync: bool,
}

/// A hosted partition.
#[derive(Clone, Debug)]
pub struct Partition {
    tp: TopicPartition,
    /// The topic's name as messages carry it.
    wire_topic: TopicName,
    settings: Arc<TopicSettings>,
    leader_epoch: Option<LeaderEpoch>,
    partition_epoch: Option<PartitionEpoch>,
    controller_epoch: ControllerEpoch,
    assignment: Vec<BrokerId>,
    role: Role,
    has_log: bool,
}

impl Partition {
    pub(crate) fn new(tp: TopicPartition, settings: Arc<TopicSettings>) -> Self {
        Self {
            wire_topic: tp.topic.wire(),
            tp,
            settings,
            leader_epoch: None,
            partition_epoch: None,
            controller_epoch: ControllerEpoch(0),
            assignment: Vec::new(),
            role: Role::None,
            has_log: false,
        }
    }

    /// Which partition it is.
    #[must_use]
    pub const fn tp(&self) -> &TopicPartition {
        &self.tp
    }

    pub(crate) const fn wire_topic(&self) -> &TopicName {
        &self.wire_topic
    }

    /// What holds for its topic.
    #[must_use]
    pub fn settings(&self) -> &TopicSettings {
        &self.settings
    }

    /// The leader epoch of the last LeaderAndIsr that was applied; none yet.
    #[must_use]
    pub const fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// The version of the `state` znode, as far as this broker knows it; none yet.
    #[must_use]
    pub const fn partition_epoch(&self) -> Option<PartitionEpoch> {
        self.partition_epoch
    }

    /// The epoch of the controller that wrote the state.
    #[must_use]
    pub const fn controller_epoch(&self) -> ControllerEpoch {
        self.controller_epoch
    }

    /// Who is assigned.
    #[must_use]
    pub fn assignment(&self) -> &[BrokerId] {
        &self.assignment
    }

    /// Whether its log was created, or found, and its high watermark taken from the checkpoint.
    pub(crate) const fn has_log(&self) -> bool {
        self.has_log
    }

    pub(crate) const fn log_created(&mut self) {
        self.has_log = true;
    }

    /// Where the broker stands.
    #[must_use]
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// What it has as leader.
    #[must_use]
    pub const fn leading(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::None | Role::Follower { .. } => None,
        }
    }

    /// The in-sync replicas; empty unless it leads.
    #[must_use]
    pub fn isr(&self) -> &[BrokerId] {
        self.leading().map_or(&[], |leader| &leader.isr)
    }

    const fn leading_mut(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::None | Role::Follower { .. } => None,
        }
    }

    /// The checks before anything that only a leader does (`localLogWithEpochOrThrow`, §5.6 step 2): the epoch first, if the
    /// request has one.
    pub(crate) fn check_leader(&self, epoch: Option<LeaderEpoch>) -> Result<(LeaderEpoch, &Leader), ErrorCode> {
        if let Some(requested) = epoch {
            match self.leader_epoch {
                Some(current) if requested < current => return Err(ErrorCode::FencedLeaderEpoch),
                Some(current) if requested == current => {}
                Some(_) | None => return Err(ErrorCode::UnknownLeaderEpoch),
            }
        }
        let leader = self.leading().ok_or(ErrorCode::NotLeaderOrFollower)?;
        Ok((self.leader_epoch.expect("a leader has an epoch"), leader))
    }

    /// Whether a broker is one of the followers.
    pub(crate) fn has_follower(&self, broker: BrokerId) -> bool {
        self.leading().is_some_and(|leader| leader.remote(broker).is_some())
    }

    /// Leads in a new epoch (§5.9), whose start is noted in the log's epoch cache already. Returns whether it did not lead
    /// before.
    pub(crate) fn become_leader(
        &mut self,
        state: PartitionState,
        epoch_start: Offset,
        me: BrokerId,
        now: Instant,
    ) -> bool {
        let before = match std::mem::replace(&mut self.role, Role::None) {
            Role::Leader(leader) => Some(leader),
            Role::None | Role::Follower { .. } => None,
        };
        let is_new = before.is_none();
        let mut remotes = Vec::with_capacity(state.replicas.len());
        for &broker in state.replicas.iter().filter(|&&broker| broker != me) {
            let known = before.as_ref().and_then(|leader| leader.remote(broker)).copied();
            let mut remote = known.unwrap_or(Remote::new(broker));
            remote.last_caught_up = state.isr.contains(&broker).then_some(now);
            if !is_new {
                remote.last_fetch = Some(now);
                remote.last_fetch_leader_end = epoch_start;
            }
            remotes.push(remote);
        }
        assert!(state.isr.contains(&me), "{}: the leader {me} is not in the ISR {:?}", self.tp, state.isr);
        self.role = Role::Leader(Leader { epoch_start, isr: state.isr, remotes });
        self.enter(state.controller_epoch, state.leader_epoch, state.partition_epoch, state.replicas);
        is_new
    }

    /// Follows in a new epoch (§5.9). Remote replicas and ISR are forgotten.
    pub(crate) fn become_follower(&mut self, state: PartitionState) {
        self.role = Role::Follower { leader: state.leader };
        self.enter(state.controller_epoch, state.leader_epoch, state.partition_epoch, state.replicas);
    }

    fn enter(
        &mut self,
        controller_epoch: ControllerEpoch,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        assignment: Vec<BrokerId>,
    ) {
        let before = self.leader_epoch;
        assert!(before.is_none_or(|before| before < leader_epoch), "{}: {leader_epoch} after {before:?}", self.tp);
        self.controller_epoch = controller_epoch;
        self.leader_epoch = Some(leader_epoch);
        self.partition_epoch = Some(partition_epoch);
        self.assignment = assignment;
    }

    /// A follower fetched from `offset` on when this leader's log ended at `leader_end` (`updateFollowerFetchState`).
    ///
    /// Whether it belongs in the ISR: its log reaches the high watermark *and* the start of this leader's epoch, without which
    /// a leader whose own high watermark is still behind would take in a follower that lacks committed records (KAFKA-7128).
    pub(crate) fn on_fetched(
        &mut self,
        broker: BrokerId,
        offset: Offset,
        leader_end: Offset,
        high_watermark: Offset,
        now: Instant,
    ) -> Option<Fetched> {
        let leader = self.leading_mut()?;
        let epoch_start = leader.epoch_start;
        let is_member = leader.isr.contains(&broker);
        let remote = leader.remotes.iter_mut().find(|remote| remote.broker == broker)?;
        let before = remote.log_end;
        remote.fetched(offset, leader_end, now);
        let is_in_sync = !is_member && offset >= high_watermark && offset >= epoch_start;
        Some(Fetched { moved: before != Some(offset), is_in_sync })
    }

    /// The high watermark that the followers allow: the smallest log end of the leader, of the ISR and of whoever had
    /// everything less than `lag_max` ago (appendix C, E22). None if the log end of one of them is not known yet, or nobody
    /// leads here.
    pub(crate) fn committed(&self, log_end: Offset, lag_max: Span, now: Instant) -> Option<Offset> {
        let leader = self.leading()?;
        let mut committed = log_end;
        for remote in &leader.remotes {
            if leader.isr.contains(&remote.broker) || remote.caught_up_within(lag_max, now) {
                committed = committed.min(remote.log_end?);
            }
        }
        Some(committed)
    }

    /// The ISR without those that have fallen behind (§5.11); none if nobody has.
    pub(crate) fn shrunk_isr(&self, log_end: Offset, lag_max: Span, now: Instant) -> Option<Vec<BrokerId>> {
        let leader = self.leading()?;
        let is_behind = |broker: BrokerId| {
            let remote = leader.remote(broker);
            remote.is_some_and(|remote| remote.log_end != Some(log_end) && !remote.caught_up_within(lag_max, now))
        };
        let isr: Vec<BrokerId> = leader.isr.iter().copied().filter(|&broker| !is_behind(broker)).collect();
        (isr.len() < leader.isr.len()).then_some(isr)
    }

    /// A change of the ISR is committed in ZooKeeper.
    pub(crate) fn commit_isr(&mut self, isr: Vec<BrokerId>, version: PartitionEpoch) {
        let leader = self.leading_mut().expect("the partition was locked while its leader wrote the ISR");
        leader.isr = isr;
        self.partition_epoch = Some(version);
    }

    /// Adds role, epochs, ISR.
    pub(crate) fn digest(&self, into: &mut Digest) {
        into.signed(self.leader_epoch.map_or(-1, |epoch| i64::from(epoch.0)));
        into.signed(self.partition_epoch.map_or(-1, |epoch| i64::from(epoch.0)));
        match &self.role {
            Role::None => into.word(0),
            Role::Follower { leader } => into.signed(i64::from(leader.0)),
            Role::Leader(leader) => {
                into.signed(leader.epoch_start.0);
                for broker in &leader.isr {
                    into.signed(i64::from(broker.0));
                }
                for remote in &leader.remotes {
                    into.signed(remote.log_end.map_or(-1, |end| end.0));
                }
            }
        }
    }

    /// Panics if it contradicts itself, or its log.
    pub(crate) fn check_invariants(&self, log: &Log, me: BrokerId) {
        let tp = &self.tp;
        match &self.role {
            Role::None => {}
            Role::Follower { leader } => assert_ne!(*leader, me, "{tp}: a broker follows another one"),
            Role::Leader(leader) => {
                assert!(leader.isr.contains(&me), "{tp}: the leader is in its ISR {:?}", leader.isr);
                assert!(leader.epoch_start <= log.log_end(), "{tp}: an epoch from {} on", leader.epoch_start);
                for (at, broker) in leader.isr.iter().enumerate() {
                    assert!(!leader.isr[..at].contains(broker), "{tp}: {broker} twice in {:?}", leader.isr);
                }
                assert!(leader.remote(me).is_none(), "{tp}: a leader is no follower of its own");
                let epoch = self.leader_epoch.expect("a leader has an epoch");
                assert!(log.latest_epoch().is_none_or(|latest| latest <= epoch), "{tp}: a batch from the future");
            }
        }
    }
}
