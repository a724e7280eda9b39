//! One hosted partition, without its log: who leads, who is in sync, what the followers fetched (kafka-broker.md §5.4, §5.9).

use std::sync::Arc;

use commitlog::{Log, LogId};
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

/// From where on a follower is taken into the ISR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JoinsFrom {
    /// From this high watermark, and from the start of the leader's epoch on.
    Committed {
        /// The leader's.
        high_watermark: Offset,
    },
    /// From the leader's high watermark on (KAFKA-7128).
    HighWatermark(Offset),
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
    /// None until its log was created, or found, and its high watermark taken from the checkpoint.
    log: Option<LogId>,
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
            log: None,
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

    /// Its log; none until it was created, or found, and its high watermark taken from the checkpoint.
    pub(crate) const fn log(&self) -> Option<LogId> {
        self.log
    }

    /// The log of a partition that is led or followed.
    ///
    /// # Panics
    /// If it has none yet: neither is begun without one.
    pub(crate) const fn log_in_use(&self) -> LogId {
        self.log.expect("what is led or followed has a log")
    }

    pub(crate) const fn log_created(&mut self, log: LogId) {
        self.log = Some(log);
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
        joins_from: JoinsFrom,
        now: Instant,
    ) -> Option<Fetched> {
        let leader = self.leading_mut()?;
        let epoch_start = leader.epoch_start;
        let is_member = leader.isr.contains(&broker);
        let remote = leader.remotes.iter_mut().find(|remote| remote.broker == broker)?;
        let before = remote.log_end;
        remote.fetched(offset, leader_end, now);
        let joins_from = match joins_from {
            JoinsFrom::Committed { high_watermark } => high_watermark.max(epoch_start),
            JoinsFrom::HighWatermark(high_watermark) => high_watermark,
        };
        let is_in_sync = !is_member && offset >= joins_from;
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
        assert_eq!(tp, log.topic_partition(), "a partition has a log of its own name");
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafkawire::{BrokerId, ControllerEpoch, ErrorCode, LeaderEpoch, Offset, PartitionEpoch, TopicPartition};
    use machine::{Instant, Port, Span};

    use super::{Fetched, JoinsFrom, Partition, PartitionState};
    use crate::BrokerConfig;
    use crate::topic_settings::TopicSettings;

    const ME: BrokerId = BrokerId(1);
    const LAG: Span = Span::secs(30);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Span::secs(seconds)
    }

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().map(|&id| BrokerId(id)).collect()
    }

    fn state(leader_epoch: i32, isr: &[i32]) -> PartitionState {
        PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: ME,
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: PartitionEpoch(leader_epoch),
            isr: ids(isr),
            replicas: ids(&[1, 2, 3]),
        }
    }

    /// A leader since second 100, with this ISR.
    fn led(isr: &[i32]) -> Partition {
        let config = BrokerConfig::new(ME, "kafka-1", Port(9092));
        let mut partition =
            Partition::new(TopicPartition::new("orders", 0), Arc::new(TopicSettings::defaults(&config)));
        assert!(partition.become_leader(state(0, isr), Offset(10), ME, at(100)), "it did not lead before");
        partition
    }

    /// A fetch of a follower when the leader's log ended at 20 and its high watermark was 10.
    fn fetch(partition: &mut Partition, broker: i32, offset: i64, seconds: u64) -> Fetched {
        let joins_from = JoinsFrom::Committed { high_watermark: Offset(10) };
        let fetched = partition.on_fetched(BrokerId(broker), Offset(offset), Offset(20), joins_from, at(seconds));
        fetched.expect("it is a follower")
    }

    #[test]
    fn nothing_is_committed_before_every_in_sync_follower_has_fetched_from_the_new_leader() {
        let mut partition = led(&[1, 2, 3]);
        assert_eq!(partition.committed(Offset(20), LAG, at(101)), None);
        fetch(&mut partition, 2, 15, 101);
        assert_eq!(partition.committed(Offset(20), LAG, at(101)), None);
        fetch(&mut partition, 3, 12, 101);
        assert_eq!(partition.committed(Offset(20), LAG, at(101)), Some(Offset(12)));
    }

    #[test]
    fn a_follower_that_was_never_in_sync_holds_nothing_back() {
        let mut partition = led(&[1, 2]);
        fetch(&mut partition, 2, 20, 101);
        fetch(&mut partition, 3, 11, 101);
        assert_eq!(partition.committed(Offset(20), LAG, at(101)), Some(Offset(20)));
    }

    #[test]
    fn one_that_had_everything_lately_holds_back_even_outside_the_isr() {
        let mut partition = led(&[1, 2, 3]);
        fetch(&mut partition, 2, 20, 101);
        fetch(&mut partition, 3, 20, 101);
        partition.commit_isr(ids(&[1, 2]), PartitionEpoch(1));
        fetch(&mut partition, 2, 25, 110);
        assert_eq!(partition.committed(Offset(25), LAG, at(131)), Some(Offset(20)));
        assert_eq!(partition.committed(Offset(25), LAG, at(132)), Some(Offset(25)), "30 s later it does not");
    }

    #[test]
    fn a_follower_is_behind_when_it_lacked_something_for_longer_than_it_may() {
        let mut partition = led(&[1, 2, 3]);
        fetch(&mut partition, 2, 20, 110);
        fetch(&mut partition, 3, 19, 110);
        let shrunk = |partition: &Partition, seconds| partition.shrunk_isr(Offset(20), LAG, at(seconds));
        assert_eq!(shrunk(&partition, 130), None, "it was taken to be in sync at second 100");
        assert_eq!(shrunk(&partition, 131), Some(ids(&[1, 2])), "2 has everything, however long ago it asked");
        // A slow one that always gets what there was at its fetch before is in sync.
        fetch(&mut partition, 3, 20, 131);
        assert_eq!(shrunk(&partition, 131), None);
    }

    #[test]
    fn a_follower_joins_from_the_start_of_the_epoch_on() {
        let mut partition = led(&[1]);
        let joins_from = JoinsFrom::Committed { high_watermark: Offset(5) };
        let early = partition.on_fetched(BrokerId(2), Offset(9), Offset(20), joins_from, at(101));
        assert!(!early.expect("it is a follower").is_in_sync, "a high watermark that is behind does not let it in");
        assert_eq!(fetch(&mut partition, 2, 10, 101), Fetched { moved: true, is_in_sync: true });
        assert_eq!(fetch(&mut partition, 2, 10, 102), Fetched { moved: false, is_in_sync: true });
        partition.commit_isr(ids(&[1, 2]), PartitionEpoch(1));
        assert!(!fetch(&mut partition, 2, 11, 102).is_in_sync, "it is in already");
    }

    #[test]
    fn defect_7128_lets_a_follower_join_at_a_high_watermark_that_is_behind() {
        let mut partition = led(&[1]);
        let joins_from = JoinsFrom::HighWatermark(Offset(5));
        let early = partition.on_fetched(BrokerId(2), Offset(9), Offset(20), joins_from, at(101));
        assert!(early.expect("it is a follower").is_in_sync);
    }

    #[test]
    fn a_leader_elected_again_remembers_how_far_its_followers_were() {
        let mut partition = led(&[1, 2, 3]);
        fetch(&mut partition, 2, 20, 101);
        fetch(&mut partition, 3, 20, 101);
        assert!(!partition.become_leader(state(1, &[1, 2, 3]), Offset(20), ME, at(102)), "it led before");
        assert_eq!(partition.committed(Offset(20), LAG, at(102)), Some(Offset(20)));
    }

    #[test]
    fn epochs_are_checked_before_the_role() {
        let mut partition = led(&[1]);
        let check = |partition: &Partition, epoch: i32| {
            partition.check_leader(Some(LeaderEpoch(epoch))).map(|(epoch, _)| epoch)
        };
        assert_eq!(check(&partition, 0), Ok(LeaderEpoch(0)));
        assert_eq!(check(&partition, 1), Err(ErrorCode::UnknownLeaderEpoch));
        partition.become_follower(PartitionState { leader: BrokerId(2), ..state(3, &[2]) });
        assert_eq!(check(&partition, 2), Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(check(&partition, 3), Err(ErrorCode::NotLeaderOrFollower));
        assert!(partition.isr().is_empty(), "a follower has none");
    }
}
