//! Coverage: which of the situations that a good campaign must reach a run reached (invariants-and-faults.md §5.2).
//!
//! A *property* of the catalogue has an id (`Y04`) and stands on one or more marks: those that machines reach themselves, the
//! situations of [`crate::SITUATIONS`] and [`crate::kafka::KAFKA_SITUATIONS`], and the marks here, which no machine can know
//! alone. They are derived from facts, crashes and what the other judges hold, before those hear of an event; nothing is kept
//! that is not rare, and what is frequent costs one branch.
//!
//! Not here, because nothing states what they need: Y13, Y24, Y37, Y56, Y57, Y59, Y62, Y63; groups and transactions (Y64–Y74,
//! Y76–Y83) are deferred; Y84–Y86 and Y88–Y90 are about campaigns, not runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker::fact::{KafkaFact, Side};
use clients::ClientFact;
use clients::kafka::KafkaClientFact;
use coordinator::Fact as ServerFact;
use engine::{Seen, SeenWhat};
use jute::SessionId;
use kafkawire::{ControllerEpoch, KafkaMessage, Request};
use machine::disk::PageCache;
use machine::{HostId, Instant, Mark as _, Span};
use world::{Fact, Node, Packet};
use zkclient::ZkClientFact;

use crate::Oracle;
use crate::Role;
use crate::ensemble::Place;
use crate::kafka::{BrokerAt, KafkaOracle, PartitionAt};
use crate::server::Mode;

machine::marks! {
    /// What judges can know and no machine alone.
    pub enum CoverageMark {
        /// A leader was established with a tail that no earlier leader had committed: it is committed now.
        UncommittedTailAdopted => "uncommitted-tail-adopted",
        /// A leader died when a quorum had acknowledged a proposal and nobody had committed it.
        LeaderDiedBeforeCommit => "leader-died-before-commit",
        /// A learner died while it was synchronised by DIFF.
        DiedDuringDiff => "learner-died-during-diff",
        /// A learner died while it was synchronised by TRUNC.
        DiedDuringTrunc => "learner-died-during-trunc",
        /// A learner died while it was synchronised by SNAP.
        DiedDuringSnap => "learner-died-during-snap",
        /// A session came back to a server that it had left.
        SessionMovedBack => "session-moved-back",
        /// A watch fired for a session whose client had lost the connection and had no other yet.
        WatchFiredInGap => "watch-fired-in-reconnect-gap",
        /// Every server was down at once, and their logs ended differently.
        AllDownWithTails => "ensemble-down-with-different-tails",
        /// The ensemble had no leader for longer than any session's timeout, and came back.
        LeaderlessLongerThanSessions => "ensemble-leaderless-longer-than-sessions",
        /// A controller was elected while a partition's leader was gone and not replaced yet.
        ElectedWithElectionsDue => "controller-elected-with-elections-due",
        /// A LeaderAndIsr of a deposed controller was refused by one broker after another broker had obeyed it.
        LeaderAndIsrHalfFenced => "leader-and-isr-half-fenced",
        /// A LeaderAndIsr reached a broker that had obeyed a newer controller, or was meant for an earlier life of it.
        StaleLeaderAndIsr => "stale-leader-and-isr",
        /// A controller died between writing a partition's state and the first request about it.
        ControllerDiedBeforeTelling => "controller-died-before-telling",
        /// The session of a controller expired while its process ran and believed that it controls.
        ControllerExpiredUnaware => "controller-expired-unaware",
        /// Three controllers or more were elected while a broker was down.
        ThreeControllersInOneOutage => "three-controllers-in-one-outage",
        /// A controller heard from a broker a second or longer after it had lost ZooKeeper.
        ControllerCutOffFromZooKeeper => "controller-cut-off-from-zookeeper",
        /// The last member of an ISR, which led, died.
        SoleReplicaDied => "sole-in-sync-replica-died",
        /// A leader died with records above its high watermark that a follower in the ISR had.
        DiedWithRecordsReplicated => "leader-died-with-uncommitted-records-replicated",
        /// A leader died with records above its high watermark that no follower in the ISR had.
        DiedWithRecordsAlone => "leader-died-with-uncommitted-records-alone",
        /// A broker became leader knowing a smaller high watermark than the true one.
        NewLeaderBehind => "new-leader-behind-true-high-watermark",
        /// A replica cut off one record or more.
        RecordsTruncated => "records-truncated",
        /// A replica cut off a tail, and its log had been as long as its leader's.
        EqualLengthsDiverged => "divergent-logs-of-equal-length",
        /// A deposed leader appended what a producer sent after its successor was elected.
        DeposedLeaderAppended => "deposed-leader-appended",
        /// A deposed leader's change of the ISR was refused by the version of the znode.
        DeposedLeaderIsrRefused => "deposed-leader-isr-change-refused",
        /// The ISR was extended by a broker that was dead by then.
        IsrExtendedByDead => "isr-extended-by-dead-broker",
        /// A replica whose disk was wiped follows, and fetches everything again.
        WipedReplicaFollows => "wiped-replica-follows",
        /// The last member of an ISR lost power with records that were not synced.
        SoleReplicaLostPower => "sole-in-sync-replica-lost-unsynced-records",
        /// A leader was elected while a replica outside of the ISR had a longer log.
        LongerLogOutOfSync => "longer-log-out-of-sync",
        /// A new leader epoch began where the one before it had begun: that one had no records.
        EmptyEpoch => "leader-epoch-without-records",
        /// The preferred replica took a partition back from a leader that lives and had appended.
        PreferredLeaderBack => "preferred-leader-back-under-load",
        /// A broker stopped before the controller had moved all its leaderships.
        ControlledShutdownFailed => "controlled-shutdown-failed",
        /// A loss was excused by what the configuration allows.
        LossExcused => "loss-excused",
    }
}

/// A property of the catalogue: something that a good campaign must have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its id in invariants-and-faults.md §5.2.
    pub id: &'static str,
    /// Whether even a small campaign (200 seeds) must reach it.
    pub starred: bool,
    /// Whether every one of its marks must be reached; else one is enough.
    pub every: bool,
    /// Its marks.
    pub marks: &'static [&'static str],
}

const fn any(id: &'static str, marks: &'static [&'static str]) -> Property {
    Property { id, starred: false, every: false, marks }
}

const fn starred(id: &'static str, marks: &'static [&'static str]) -> Property {
    Property { id, starred: true, every: false, marks }
}

const fn every(id: &'static str, marks: &'static [&'static str]) -> Property {
    Property { id, starred: false, every: true, marks }
}

/// The catalogue, as far as there are facts.
pub const PROPERTIES: &[Property] = &[
    starred("Y01", &["longer-log-elsewhere"]),
    any("Y02", &["uncommitted-tail-adopted"]),
    any("Y03", &["coordinator-tail-truncated"]),
    starred("Y04", &["leader-died-before-commit"]),
    any("Y05", &["coordinator-synced-by-diff", "coordinator-synced-by-disk-diff"]),
    any("Y06", &["coordinator-synced-by-trunc"]),
    any("Y07", &["coordinator-synced-by-snap"]),
    every("Y08", &["learner-died-during-diff", "learner-died-during-trunc", "learner-died-during-snap"]),
    any("Y09", &["coordinator-epoch-file-repaired"]),
    any("Y10", &["two-leaders"]),
    any("Y11", &["coordinator-stepped-down-with-outstanding"]),
    starred("Y12", &["live-session-expired"]),
    any("Y14", &["session-moved-back"]),
    any("Y15", &["coordinator-client-ahead-of-server"]),
    starred("Y16", &["watch-fired-in-reconnect-gap"]),
    any("Y17", &["coordinator-watch-caught-up"]),
    any("Y18", &["coordinator-ephemeral-of-older-session"]),
    any("Y19", &["coordinator-create-raced-with-close"]),
    any("Y20", &["coordinator-multi-failed-on-check"]),
    any("Y21", &["coordinator-close-session-outstanding"]),
    any("Y22", &["ensemble-down-with-different-tails"]),
    any("Y23", &["coordinator-mass-expiry"]),
    any("Y25", &["client-lock-node-found-after-loss"]),
    any("Y26", &["coordinator-zxid-rollover"]),
    any("Y27", &["ensemble-leaderless-longer-than-sessions"]),
    starred("Y28", &["controller-elected-with-elections-due"]),
    starred("Y29", &["leader-and-isr-half-fenced"]),
    any("Y30", &["stale-leader-and-isr"]),
    any("Y31", &["broker-controller-deposed-mid-event"]),
    any("Y32", &["two-controllers"]),
    any("Y33", &["controller-died-before-telling"]),
    any("Y34", &["broker-bounced"]),
    any("Y35", &["controller-expired-unaware"]),
    any("Y36", &["three-controllers-in-one-outage"]),
    any("Y38", &["controller-cut-off-from-zookeeper"]),
    starred("Y39", &["sole-in-sync-replica-died"]),
    starred("Y40", &["leader-died-with-uncommitted-records-replicated"]),
    any("Y41", &["leader-died-with-uncommitted-records-alone"]),
    any("Y42", &["new-leader-behind-true-high-watermark"]),
    any("Y43", &["records-truncated"]),
    any("Y44", &["broker-truncation-asked-again"]),
    any("Y45", &["divergent-logs-of-equal-length"]),
    any("Y46", &["deposed-leader-appended"]),
    any("Y47", &["deposed-leader-isr-change-refused"]),
    any("Y48", &["broker-parked-produce-lost-leader"]),
    every("Y49", &["broker-not-enough-replicas", "broker-not-enough-replicas-after-append"]),
    any("Y50", &["isr-extended-by-dead-broker"]),
    any("Y51", &["wiped-replica-follows"]),
    any("Y52", &["sole-in-sync-replica-lost-unsynced-records"]),
    any("Y53", &["broker-unclean-election"]),
    any("Y54", &["longer-log-out-of-sync"]),
    any("Y55", &["leader-epoch-without-records"]),
    any("Y58", &["log-recovery-truncated"]),
    any("Y60", &["preferred-leader-back-under-load"]),
    any("Y61", &["controlled-shutdown-failed"]),
    any("Y75", &["consumer-offset-out-of-range"]),
    any("Y87", &["loss-excused"]),
];

/// The property that a mark stands for, if any.
#[must_use]
pub fn property_of(mark: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.marks.contains(&mark))
}

/// A controller without ZooKeeper is cut off when it hears from a broker this much later.
const CUT_OFF: Span = Span::secs(1);

/// The last leadership of a partition.
#[derive(Clone, Copy, Debug)]
struct Led {
    broker: BrokerAt,
    epoch: i32,
    start: i64,
}

/// What only rare events change.
#[derive(Clone, Debug, Default)]
struct Memory {
    reached: BTreeMap<&'static str, u64>,
    /// The servers that a session has left.
    left: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    /// Sessions whose clients have no connection.
    disconnected: BTreeSet<SessionId>,
    leaderless_since: Option<Instant>,
    timeout_ms_most: i32,
    /// A deposed controller of this epoch was obeyed.
    late_obeyed: Option<ControllerEpoch>,
    /// How many controllers had been elected when a broker went down.
    elected_at_end: BTreeMap<HostId, usize>,
    wiped: BTreeSet<HostId>,
    led: BTreeMap<PartitionAt, Led>,
}

/// Which marks of the judges a run has reached. A clone is a fork.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    memory: Arc<Memory>,
    /// The controller that has written a partition's state and has told nobody yet.
    has_told_nobody: Option<HostId>,
    /// The controller that has lost ZooKeeper, and since when.
    without_zookeeper: Option<(HostId, Instant)>,
}

impl Coverage {
    /// How often each mark was reached.
    pub(crate) fn reached(&self) -> &BTreeMap<&'static str, u64> {
        &self.memory.reached
    }

    fn reach(&mut self, mark: CoverageMark) {
        *self.memory().reached.entry(mark.name()).or_insert(0) += 1;
    }

    fn memory(&mut self) -> &mut Memory {
        Arc::make_mut(&mut self.memory)
    }

    /// Something was seen; the judges have not been told yet.
    #[inline]
    pub(crate) fn observe(&mut self, seen: &Seen<'_, Node>, zk: &Oracle, kafka: Option<&KafkaOracle>) {
        match seen.what {
            SeenWhat::Stated { fact } => self.stated(seen, fact, zk, kafka),
            SeenWhat::Sent { message: Packet::Kafka(KafkaMessage::Request { body, .. }), .. }
                if self.has_told_nobody == Some(seen.host) =>
            {
                if let Request::LeaderAndIsr(_) | Request::UpdateMetadata(_) = body {
                    self.has_told_nobody = None;
                }
            }
            SeenWhat::Delivered { from, message: Packet::Kafka(KafkaMessage::Response { .. }), .. } => {
                if let Some((host, since)) = self.without_zookeeper
                    && host == seen.host
                    && seen.at.saturating_since(since) >= CUT_OFF
                    && kafka.is_some_and(|kafka| kafka.is_controlling(host) && kafka.is_broker(from))
                {
                    self.without_zookeeper = None;
                    self.reach(CoverageMark::ControllerCutOffFromZooKeeper);
                }
            }
            SeenWhat::Booted { incarnation, disk } => self.booted(seen.host, incarnation.0, disk, kafka),
            SeenWhat::Exited { .. } => self.ended(seen, false, zk, kafka),
            SeenWhat::Crashed { power, .. } => self.ended(seen, power, zk, kafka),
            SeenWhat::Sent { .. }
            | SeenWhat::Delivered { .. }
            | SeenWhat::DatagramSent { .. }
            | SeenWhat::DatagramDelivered { .. }
            | SeenWhat::Wrote { .. }
            | SeenWhat::Resized { .. }
            | SeenWhat::Renamed { .. }
            | SeenWhat::Removed { .. }
            | SeenWhat::Created { .. }
            | SeenWhat::SyncAsked { .. }
            | SeenWhat::Durable { .. }
            | SeenWhat::Paused
            | SeenWhat::Resumed
            | SeenWhat::Dialled { .. }
            | SeenWhat::Opened { .. }
            | SeenWhat::Accepted { .. }
            | SeenWhat::Refused { .. }
            | SeenWhat::Lost { .. }
            | SeenWhat::Closed { .. }
            | SeenWhat::Struck { .. } => {}
        }
    }

    #[inline]
    fn stated(&mut self, seen: &Seen<'_, Node>, fact: &Fact, zk: &Oracle, kafka: Option<&KafkaOracle>) {
        match fact {
            Fact::Coordinator(fact) => self.server_stated(seen, fact, zk, kafka),
            Fact::ZkWorkload(ClientFact::Session(fact))
            | Fact::KafkaClient(KafkaClientFact::Session(fact))
            | Fact::Broker(broker::Fact::Zk(fact)) => self.session_stated(seen, fact, kafka),
            Fact::Broker(broker::Fact::Kafka(fact)) => {
                if let Some(kafka) = kafka
                    && let Some(broker) = kafka.seating.broker_on(seen.host)
                {
                    self.broker_stated(seen, broker, fact, kafka);
                }
            }
            Fact::ZkWorkload(ClientFact::Workload(_)) | Fact::KafkaClient(KafkaClientFact::Work(_)) => {}
        }
    }

    fn server_stated(&mut self, seen: &Seen<'_, Node>, fact: &ServerFact, zk: &Oracle, kafka: Option<&KafkaOracle>) {
        match fact {
            ServerFact::LeaderEstablished { .. } => {
                if let Place::Member(member) = zk.place(seen.host)
                    && zk.servers[member].log.last_zxid() > zk.canon.last_zxid()
                {
                    self.reach(CoverageMark::UncommittedTailAdopted);
                }
                if let Some(since) = self.memory.leaderless_since {
                    self.memory().leaderless_since = None;
                    let most = u64::try_from(self.memory.timeout_ms_most).unwrap_or(0);
                    if most > 0 && seen.at.saturating_since(since) > Span::millis(most) {
                        self.reach(CoverageMark::LeaderlessLongerThanSessions);
                    }
                }
            }
            ServerFact::LeaderSteppedDown { .. } => self.leader_gone(seen, zk),
            ServerFact::SessionCreated { timeout_ms, .. } if *timeout_ms > self.memory.timeout_ms_most => {
                self.memory().timeout_ms_most = *timeout_ms;
            }
            ServerFact::WatchFired { session, .. } if self.memory.disconnected.contains(session) => {
                self.reach(CoverageMark::WatchFiredInGap);
            }
            ServerFact::SessionExpired { session, .. } => {
                let owner = kafka.and_then(|kafka| kafka.sessions.get(session).map(|&host| (kafka, host)));
                if owner.is_some_and(|(kafka, host)| kafka.is_controlling(host)) {
                    self.reach(CoverageMark::ControllerExpiredUnaware);
                }
            }
            ServerFact::SessionCreated { .. }
            | ServerFact::WatchFired { .. }
            | ServerFact::RoleChanged { .. }
            | ServerFact::LeaderElected { .. }
            | ServerFact::EpochAccepted { .. }
            | ServerFact::EpochCurrent { .. }
            | ServerFact::Synchronised { .. }
            | ServerFact::SyncDecided { .. }
            | ServerFact::Proposed { .. }
            | ServerFact::Committed { .. }
            | ServerFact::Applied { .. }
            | ServerFact::SessionClosed { .. }
            | ServerFact::SessionMoved { .. }
            | ServerFact::SnapshotWritten { .. }
            | ServerFact::Recovered { .. }
            | ServerFact::RefusedToStart { .. }
            | ServerFact::LearnerDropped { .. }
            | ServerFact::LearnerLeft { .. }
            | ServerFact::LogFailed { .. }
            | ServerFact::Truncated { .. }
            | ServerFact::ConfigActivated { .. } => {}
        }
    }

    /// A leader of the ensemble leads no more: from now on nobody does, if no other did.
    fn leader_gone(&mut self, seen: &Seen<'_, Node>, zk: &Oracle) {
        let mut others = zk.servers.iter().filter(|server| server.host != seen.host);
        if others.all(|server| server.leads.is_none()) && self.memory.leaderless_since.is_none() {
            self.memory().leaderless_since = Some(seen.at);
        }
    }

    fn session_stated(&mut self, seen: &Seen<'_, Node>, fact: &ZkClientFact, kafka: Option<&KafkaOracle>) {
        match fact {
            ZkClientFact::SessionMoved { session, from, to } => {
                let left = self.memory().left.entry(*session).or_default();
                left.insert(Arc::clone(from));
                if left.contains(to) {
                    self.reach(CoverageMark::SessionMovedBack);
                }
            }
            ZkClientFact::SessionConnected { session, .. } => {
                if self.memory.disconnected.contains(session) {
                    self.memory().disconnected.remove(session);
                }
                if self.without_zookeeper.is_some_and(|(host, _)| host == seen.host) {
                    self.without_zookeeper = None;
                }
            }
            ZkClientFact::SessionDisconnected { session, .. } => {
                self.memory().disconnected.insert(*session);
                if kafka.is_some_and(|kafka| kafka.is_controlling(seen.host)) {
                    self.without_zookeeper = Some((seen.host, seen.at));
                }
            }
            ZkClientFact::SessionExpired { session, .. }
            | ZkClientFact::SessionClosed { session, .. }
            | ZkClientFact::AuthFailed { session } => {
                let memory = self.memory();
                memory.disconnected.remove(session);
                memory.left.remove(session);
            }
            ZkClientFact::ReadOnlyConnected { .. }
            | ZkClientFact::WatchSet { .. }
            | ZkClientFact::WatchRemoved { .. }
            | ZkClientFact::WatchDelivered { .. }
            | ZkClientFact::WatchesResent { .. } => {}
        }
    }

    fn booted(&mut self, host: HostId, life: u32, disk: &PageCache, kafka: Option<&KafkaOracle>) {
        let Some(kafka) = kafka.filter(|kafka| kafka.is_broker(host)) else { return };
        let elected = kafka.znodes.terms.len();
        let before = self.memory.elected_at_end.get(&host).copied();
        if before.is_some_and(|before| elected >= before + 3) {
            self.reach(CoverageMark::ThreeControllersInOneOutage);
        }
        if life > 1 && disk.used_bytes() == 0 {
            self.memory().wiped.insert(host);
        }
    }

    /// A process is gone; what the judges hold is from just before.
    fn ended(&mut self, seen: &Seen<'_, Node>, power: bool, zk: &Oracle, kafka: Option<&KafkaOracle>) {
        if let Place::Member(member) = zk.place(seen.host) {
            self.member_ended(seen, member, zk);
        }
        if let Some(kafka) = kafka
            && let Some(broker) = kafka.seating.broker_on(seen.host)
            && kafka.is_up(broker)
        {
            if self.has_told_nobody == Some(seen.host) {
                self.has_told_nobody = None;
                self.reach(CoverageMark::ControllerDiedBeforeTelling);
            }
            if self.without_zookeeper.is_some_and(|(host, _)| host == seen.host) {
                self.without_zookeeper = None;
            }
            let elected = kafka.znodes.terms.len();
            self.memory().elected_at_end.insert(seen.host, elected);
            self.broker_ended(broker, power, kafka);
        }
    }

    fn member_ended(&mut self, seen: &Seen<'_, Node>, member: usize, zk: &Oracle) {
        let server = &zk.servers[member];
        if server.leads.is_some() {
            if zk.last_acked_by_quorum > zk.canon.last_zxid() {
                self.reach(CoverageMark::LeaderDiedBeforeCommit);
            }
            self.leader_gone(seen, zk);
        }
        if let Some(sync) = server.sync.as_ref().filter(|_| server.follows.is_none()) {
            self.reach(match sync.mode {
                Mode::Diff => CoverageMark::DiedDuringDiff,
                Mode::Trunc => CoverageMark::DiedDuringTrunc,
                Mode::Snap => CoverageMark::DiedDuringSnap,
            });
        }
        let mut others = zk.servers.iter().filter(|other| other.host != server.host);
        if server.role != Role::Down && others.all(|other| other.role == Role::Down) {
            let last = server.log.last_zxid();
            if zk.servers.iter().any(|other| other.log.last_zxid() != last) {
                self.reach(CoverageMark::AllDownWithTails);
            }
        }
    }

    fn broker_ended(&mut self, broker: BrokerAt, power: bool, kafka: &KafkaOracle) {
        for partition in kafka.partitions.iter() {
            let Some(zk) = partition.zk.as_ref().filter(|zk| zk.leader == Some(broker)) else { continue };
            let own = &partition.replicas[broker];
            let followers = || zk.isr.iter().filter(|&it| it != broker);
            if followers().next().is_none() && zk.isr.has(broker) {
                self.reach(CoverageMark::SoleReplicaDied);
                if power && own.flushed < own.log.end() {
                    self.reach(CoverageMark::SoleReplicaLostPower);
                }
            }
            if own.log.end() > own.high_watermark {
                let is_replicated = followers().any(|it| partition.replicas[it].log.end() > own.high_watermark);
                self.reach(if is_replicated {
                    CoverageMark::DiedWithRecordsReplicated
                } else {
                    CoverageMark::DiedWithRecordsAlone
                });
            }
        }
    }

    fn broker_stated(&mut self, seen: &Seen<'_, Node>, broker: BrokerAt, fact: &KafkaFact, kafka: &KafkaOracle) {
        match fact {
            KafkaFact::Appended { topic, partition, side: Side::Leader, leader_epoch, .. } => {
                let zk = kafka.find(topic.as_str(), *partition).and_then(|at| kafka.partitions[at].zk.as_ref());
                if zk.is_some_and(|zk| zk.state.leader_epoch > *leader_epoch) {
                    self.reach(CoverageMark::DeposedLeaderAppended);
                }
            }
            KafkaFact::BecameLeader { topic, partition, leader_epoch, start, .. } => {
                if let Some(at) = kafka.find(topic.as_str(), *partition) {
                    self.became_leader(at, Led { broker, epoch: leader_epoch.0, start: start.0 }, kafka);
                }
            }
            KafkaFact::BecameFollower { .. } if self.memory.wiped.contains(&seen.host) => {
                self.memory().wiped.remove(&seen.host);
                self.reach(CoverageMark::WipedReplicaFollows);
            }
            KafkaFact::Truncated { topic, partition, from, to, .. } if from > to => {
                self.reach(CoverageMark::RecordsTruncated);
                let of_leader = kafka.find(topic.as_str(), *partition).and_then(|at| {
                    let partition = &kafka.partitions[at];
                    let leader = partition.zk.as_ref()?.leader?;
                    Some(partition.replicas[leader].log.end()).filter(|_| leader != broker)
                });
                if of_leader == Some(from.0) {
                    self.reach(CoverageMark::EqualLengthsDiverged);
                }
            }
            KafkaFact::IsrChangeRefused { topic, partition, leader_epoch, .. } => {
                let zk = kafka.find(topic.as_str(), *partition).and_then(|at| kafka.partitions[at].zk.as_ref());
                if zk.is_some_and(|zk| zk.state.leader_epoch > *leader_epoch) {
                    self.reach(CoverageMark::DeposedLeaderIsrRefused);
                }
            }
            KafkaFact::IsrChanged { topic, partition, .. } => {
                if let Some(at) = kafka.find(topic.as_str(), *partition) {
                    let partition = &kafka.partitions[at];
                    let before = partition.believed.map(|(_, isr)| isr).unwrap_or_default();
                    if partition.isr().without(before).iter().any(|it| !kafka.is_up(it)) {
                        self.reach(CoverageMark::IsrExtendedByDead);
                    }
                }
            }
            KafkaFact::PartitionLeaderElected { topic, partition, .. } => {
                self.has_told_nobody = Some(seen.host);
                if let Some(at) = kafka.find(topic.as_str(), *partition) {
                    self.partition_leader_elected(at, kafka);
                }
            }
            KafkaFact::ControllerElected { .. } => {
                let is_due = |zk: &crate::kafka::ZkState| zk.leader.is_none_or(|leader| !kafka.is_up(leader));
                if kafka.partitions.iter().any(|partition| partition.zk.as_ref().is_some_and(is_due)) {
                    self.reach(CoverageMark::ElectedWithElectionsDue);
                }
            }
            KafkaFact::ControlRequestApplied { api: "LeaderAndIsr", controller_epoch, .. } => {
                let newest = kafka.znodes.terms.keys().next_back();
                if newest.is_some_and(|newest| newest > controller_epoch) {
                    self.memory().late_obeyed = Some(*controller_epoch);
                }
            }
            KafkaFact::ControlRequestRefused { api: "LeaderAndIsr", controller_epoch, .. } => {
                self.reach(CoverageMark::StaleLeaderAndIsr);
                if self.memory.late_obeyed == Some(*controller_epoch) {
                    self.reach(CoverageMark::LeaderAndIsrHalfFenced);
                }
            }
            KafkaFact::Stopped { controlled: false, .. } => self.reach(CoverageMark::ControlledShutdownFailed),
            KafkaFact::Appended { .. }
            | KafkaFact::BecameFollower { .. }
            | KafkaFact::Truncated { .. }
            | KafkaFact::ControlRequestApplied { .. }
            | KafkaFact::ControlRequestRefused { .. }
            | KafkaFact::Stopped { .. }
            | KafkaFact::Started { .. }
            | KafkaFact::LogLoaded { .. }
            | KafkaFact::Registered { .. }
            | KafkaFact::RegistrationRefused { .. }
            | KafkaFact::OwnRegistrationDeleted { .. }
            | KafkaFact::Running { .. }
            | KafkaFact::SessionExpired { .. }
            | KafkaFact::Stopping { .. }
            | KafkaFact::ControllerReady { .. }
            | KafkaFact::ControllerResigned { .. }
            | KafkaFact::TopicCreated { .. }
            | KafkaFact::BrokerChange { .. }
            | KafkaFact::ReplicaStopped { .. }
            | KafkaFact::HighWatermark { .. }
            | KafkaFact::ProduceAcknowledged { .. }
            | KafkaFact::RecordsServed { .. }
            | KafkaFact::LogDirFailed { .. } => {}
        }
    }

    fn became_leader(&mut self, at: PartitionAt, now: Led, kafka: &KafkaOracle) {
        let partition = &kafka.partitions[at];
        if partition.replicas[now.broker].high_watermark < partition.canon.end() {
            self.reach(CoverageMark::NewLeaderBehind);
        }
        let Some(before) = self.memory().led.insert(at, now).filter(|before| before.epoch < now.epoch) else { return };
        if before.start == now.start {
            self.reach(CoverageMark::EmptyEpoch);
        }
        let is_preferred = partition.assignment.first().and_then(|&id| kafka.seating.broker(id)) == Some(now.broker);
        if is_preferred && before.broker != now.broker && kafka.is_up(before.broker) && now.start > before.start {
            self.reach(CoverageMark::PreferredLeaderBack);
        }
    }

    /// The state is in ZooKeeper, and so with the judges.
    fn partition_leader_elected(&mut self, at: PartitionAt, kafka: &KafkaOracle) {
        let partition = &kafka.partitions[at];
        let Some(zk) = &partition.zk else { return };
        let Some(leader) = zk.leader else { return };
        let end = partition.replicas[leader].log.end();
        if partition.assigned.without(zk.isr).iter().any(|it| partition.replicas[it].log.end() > end) {
            self.reach(CoverageMark::LongerLogOutOfSync);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use machine::Mark as _;

    use super::{CoverageMark, PROPERTIES};
    use crate::Court;

    #[test]
    fn every_property_stands_on_marks_that_there_are_and_no_mark_on_two() {
        fn names<M: machine::Mark>() -> impl Iterator<Item = &'static str> {
            M::ALL.iter().map(|mark| mark.name())
        }
        let known: Vec<&str> = names::<CoverageMark>()
            .chain(names::<coordinator::CoordinatorMark>())
            .chain(names::<clients::WorkloadMark>())
            .chain(names::<clients::kafka::KafkaClientMark>())
            .chain(names::<broker::BrokerMark>())
            // A log's marks are not ours to see: they are named here once more.
            .chain(["log-recovery-truncated"])
            .chain(Court::all_situations().map(|(kind, _)| kind))
            .collect();
        let mut seen = BTreeSet::new();
        for property in PROPERTIES {
            for mark in property.marks {
                assert!(known.contains(mark), "{}: there is no mark {mark}", property.id);
                assert!(seen.insert(*mark), "{mark} stands for two properties");
            }
        }
        let ids: Vec<&str> = PROPERTIES.iter().map(|property| property.id).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for mark in CoverageMark::ALL {
            assert!(seen.contains(mark.name()), "{} stands for no property", mark.name());
        }
    }
}
