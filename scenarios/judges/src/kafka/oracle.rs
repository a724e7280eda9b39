//! What the judges of Kafka hold. Its methods take plain data, so that a test can tell a history in ten lines;
//! `dispatch.rs` translates what the engine saw into them.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{FieldValue, Findings, Violation};
use jute::SessionId;
use kafkawire::{BrokerId, Topic, TopicPartition};
use machine::HostId;
use machine::disk::PageCache;

use super::broker::BrokerShadow;
use super::channel::Channels;
use super::cluster::{BrokerAt, Brokers, Cluster, Seating};
use super::consumers::Groups;
use super::partition::{Partition, PartitionAt};
use super::producers::Work;
use super::records::RecordHistory;
use super::znodes::Znodes;
use crate::moment::Story;
use crate::tally::Tally;
use crate::{Check, Excuse, Moment, Rule};

/// What may be looked at when a step is over.
pub trait DiskLook {
    /// The page cache of a host, up or down.
    fn disk(&self, host: HostId) -> &PageCache;
}

/// A check that waits for the end of the step.
#[derive(Clone, Debug)]
pub(crate) enum Todo {
    /// A file is durable as far as it goes.
    Synced { broker: BrokerAt, file: machine::disk::FileId },
    /// A log's files must be read.
    Reread { broker: BrokerAt, partition: PartitionAt },
}

/// Everything the judges of Kafka know.
#[derive(Clone, Debug)]
pub struct KafkaOracle {
    pub(crate) seating: Arc<Seating>,
    pub(crate) tally: Tally,
    pub(crate) znodes: Arc<Znodes>,
    pub(crate) places: Arc<BTreeMap<Topic, Vec<Option<PartitionAt>>>>,
    pub(crate) partitions: Arc<Vec<Arc<Partition>>>,
    pub(crate) records: Arc<Vec<Arc<RecordHistory>>>,
    pub(crate) brokers: Vec<Arc<BrokerShadow>>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) work: Arc<Work>,
    pub(crate) groups: Arc<Groups>,
    /// Whose session it is.
    pub(crate) sessions: Arc<BTreeMap<SessionId, HostId>>,
    /// When `/controller` went away last.
    pub(crate) vacated: Option<Moment>,
    pub(crate) todo: Vec<Todo>,
    pub(crate) situations: BTreeMap<&'static str, u64>,
}

impl KafkaOracle {
    /// Nothing has happened yet.
    ///
    /// Panics if the cluster contradicts itself.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        let brokers = cluster.brokers.iter().map(|_| Arc::default()).collect();
        let work = Arc::new(Work::new(cluster.clients.len()));
        Self {
            seating: Seating::new(cluster),
            tally: Tally::default(),
            znodes: Arc::default(),
            places: Arc::default(),
            partitions: Arc::default(),
            records: Arc::default(),
            brokers,
            channels: Arc::default(),
            work,
            groups: Arc::default(),
            sessions: Arc::default(),
            vacated: None,
            todo: Vec::new(),
            situations: BTreeMap::new(),
        }
    }

    /// How often each rule was held against what happened.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.tally.checks(|rule| rule.is_of_kafka() || rule == Rule::Gap)
    }

    /// Losses that are excused, each with the events that excuse it.
    #[must_use]
    pub fn excuses(&self) -> &[Excuse] {
        self.tally.excuses()
    }

    /// Known holes of the real system that the run went through: what, how often, and when first.
    pub fn notes(&self) -> impl Iterator<Item = (&'static str, u64, Moment)> {
        self.tally.notes()
    }

    /// How often each situation arose.
    #[must_use]
    pub const fn situations(&self) -> &BTreeMap<&'static str, u64> {
        &self.situations
    }

    /// Names, and who is who.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.seating.cluster
    }

    /// The true high watermark of a partition: everything below it was committed.
    #[must_use]
    pub fn committed(&self, partition: &TopicPartition) -> i64 {
        self.find(partition.topic.as_str(), partition.partition).map_or(0, |at| self.partitions[at].canon.end())
    }

    /// The step is over: what had to wait for that is done now.
    pub fn settle(&mut self, look: &impl DiskLook) {
        if self.todo.is_empty() {
            return;
        }
        let mut todo = std::mem::take(&mut self.todo);
        for item in todo.drain(..) {
            match item {
                Todo::Synced { broker, file } => self.became_durable(broker, file, look),
                Todo::Reread { broker, partition } => self.reread(broker, partition, look),
            }
        }
        self.todo = todo;
    }

    /// The place of a partition, if it was ever heard of.
    pub(crate) fn find(&self, topic: &str, partition: i32) -> Option<PartitionAt> {
        let index = usize::try_from(partition).ok()?;
        self.places.get(topic)?.get(index).copied().flatten()
    }

    /// The place of a partition, made if it is new. None if there is no such number.
    pub(crate) fn place(&mut self, topic: &str, partition: i32) -> Option<PartitionAt> {
        if let Some(at) = self.find(topic, partition) {
            return Some(at);
        }
        let index = usize::try_from(partition).ok()?;
        let at = self.partitions.len();
        let name = TopicPartition::new(topic, partition);
        let places = Arc::make_mut(&mut self.places).entry(name.topic.clone()).or_default();
        if places.len() <= index {
            places.resize(index + 1, None);
        }
        places[index] = Some(at);
        Arc::make_mut(&mut self.partitions).push(Arc::new(Partition::new(name, self.brokers.len())));
        Arc::make_mut(&mut self.records).push(Arc::default());
        Some(at)
    }

    pub(crate) fn partition_mut(&mut self, at: PartitionAt) -> &mut Partition {
        Arc::make_mut(&mut Arc::make_mut(&mut self.partitions)[at])
    }

    pub(crate) fn records_mut(&mut self, at: PartitionAt) -> &mut RecordHistory {
        Arc::make_mut(&mut Arc::make_mut(&mut self.records)[at])
    }

    pub(crate) fn broker_mut(&mut self, broker: BrokerAt) -> &mut BrokerShadow {
        Arc::make_mut(&mut self.brokers[broker])
    }

    pub(crate) fn znodes_mut(&mut self) -> &mut Znodes {
        Arc::make_mut(&mut self.znodes)
    }

    /// The value of a topic's setting, if the topic has one of its own.
    pub(crate) fn topic_setting(&self, topic: &Topic, key: &str) -> Option<&str> {
        self.znodes.configs.get(topic)?.config.get(key).map(String::as_str)
    }

    /// `min.insync.replicas` of a topic.
    pub(crate) fn min_insync(&self, topic: &Topic) -> usize {
        let own = self.topic_setting(topic, "min.insync.replicas").and_then(|value| value.parse().ok());
        own.unwrap_or(self.seating.cluster.min_insync)
    }

    /// `unclean.leader.election.enable` of a topic.
    pub(crate) fn allows_unclean(&self, topic: &Topic) -> bool {
        let own = self.topic_setting(topic, "unclean.leader.election.enable").map(|value| value == "true");
        own.unwrap_or(self.seating.cluster.unclean_election)
    }

    /// Whether every append to a topic is durable before it is answered.
    pub(crate) fn flushes_each(&self, topic: &Topic) -> bool {
        let own = self.topic_setting(topic, "flush.messages").map(|value| value == "1");
        own.unwrap_or(self.seating.cluster.flush_each)
    }

    /// A rule is broken.
    ///
    /// What only clients can complain about, while no judge of the brokers had anything to say, is a gap: it says that a rule
    /// is missing.
    pub(crate) fn broken(&mut self, rule: Rule, mut violation: Violation, findings: &mut Findings) {
        if rule.is_black_box() && self.tally.is_white_box_silent() {
            let (id, gap) = (rule.id(), Rule::Gap);
            (violation.invariant, violation.name) = (gap.id(), gap.name());
            let headline = std::mem::take(&mut violation.headline);
            violation.headline =
                format!("clients saw an anomaly ({id} {}) and no judge of the brokers did: {headline}", rule.name());
            violation.signature_parts.push(id.to_owned());
        } else {
            self.tally.broke(rule);
        }
        findings.violation(violation);
    }

    /// A rule is broken, and there is no more to say than that.
    pub(crate) fn broken_plainly(
        &mut self,
        rule: Rule,
        kind: &'static str,
        headline: String,
        moment: Moment,
        note: &str,
        findings: &mut Findings,
    ) {
        let violation = Story::new(rule, headline).kind(kind).detected(moment, note);
        self.broken(rule, violation, findings);
    }

    /// A situation has arisen.
    pub(crate) fn arise(
        &mut self,
        kind: &'static str,
        fields: impl FnOnce(&Seating) -> Vec<(&'static str, FieldValue)>,
        findings: &mut Findings,
    ) {
        *self.situations.entry(kind).or_insert(0) += 1;
        if self.seating.cluster.situations.iter().any(|wanted| wanted == kind) {
            findings.situation(kind, fields(&self.seating));
        }
    }

    /// A session belongs to a host: whoever runs there was told that it is connected.
    pub fn session_connected(&mut self, host: HostId, session: SessionId) {
        if self.sessions.get(&session) != Some(&host) {
            Arc::make_mut(&mut self.sessions).insert(session, host);
        }
        if let Some(broker) = self.seating.broker_on(host)
            && self.brokers[broker].session != Some(session)
        {
            self.broker_mut(broker).session = Some(session);
        }
    }

    /// The broker that has a session, or had it.
    pub(crate) fn author(&self, session: SessionId) -> Option<BrokerAt> {
        self.sessions.get(&session).and_then(|&host| self.seating.broker_on(host))
    }

    pub(crate) fn is_up(&self, broker: BrokerAt) -> bool {
        self.brokers[broker].is_up
    }

    /// Whether a broker runs on the host.
    pub(crate) fn is_broker(&self, host: HostId) -> bool {
        self.seating.broker_on(host).is_some()
    }

    /// Whether the host runs a broker that believes it is the controller.
    pub(crate) fn is_controlling(&self, host: HostId) -> bool {
        self.seating.broker_on(host).is_some_and(|at| self.brokers[at].is_up && self.brokers[at].controls.is_some())
    }

    pub(crate) fn name_of(&self, id: BrokerId) -> String {
        self.seating.name_of(id)
    }

    /// The committed history of ZooKeeper was cut and is told anew: what it says is taken, and judged no more.
    pub fn history_retold<'a>(&mut self, entries: impl Iterator<Item = (Moment, &'a [u8])>) {
        self.znodes = Arc::default();
        let mut findings = Findings::new();
        // Rules were held against it before.
        let tally = self.tally.clone();
        let situations = self.situations.clone();
        for partition in Arc::make_mut(&mut self.partitions) {
            let partition = Arc::make_mut(partition);
            partition.zk = None;
            partition.assignment.clear();
            partition.assigned = Brokers::NONE;
        }
        Arc::make_mut(&mut self.groups).retell();
        for (moment, entry) in entries {
            self.take_znodes(moment, entry, true, &mut findings);
        }
        self.tally = tally;
        self.situations = situations;
    }

    /// A transaction is committed in ZooKeeper: each once, in the order of zxids.
    pub fn committed_in_zookeeper(&mut self, moment: Moment, entry: &[u8], findings: &mut Findings) {
        self.take_znodes(moment, entry, false, findings);
    }
}
