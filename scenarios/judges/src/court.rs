//! All judges of a world: those of its ensemble, and those of its Kafka cluster if it has one.

use std::collections::BTreeMap;

use engine::{Core, Fault, Findings, Hosts, Judges, Seen, Step};
use machine::{Draw, HostId, Instant, Mark as _};
use world::{Node, Topology};

use crate::coverage::Coverage;
use crate::kafka::{KAFKA_ROLES, KAFKA_SITUATIONS, KafkaJudges, KafkaOracle, kafka_roles};
use crate::{Check, CoverageMark, Excuse, Moment, Oracle, ROLES, Rule, SITUATIONS, Statistics, ZkJudges};
use crate::{budget, settled_core};

/// The judges of a world.
///
/// A clone is a fork: it shares the histories until one side goes on.
#[derive(Clone, Debug)]
pub struct Court {
    zk: ZkJudges,
    kafka: Option<KafkaJudges>,
    statistics: Statistics,
    coverage: Coverage,
}

impl Court {
    /// Judges of a world made from a scenario. `probes` says whether its clients try something after everything healed;
    /// `situations` are the kinds that rules wait for, see [`Court::all_situations`].
    #[must_use]
    pub fn of(topology: &Topology, probes: bool, situations: Vec<String>) -> Self {
        let kafka = KafkaJudges::of(topology, probes, situations.clone());
        Self {
            zk: ZkJudges::of(topology, probes, situations),
            kafka,
            statistics: Statistics::default(),
            coverage: Coverage::default(),
        }
    }

    /// The judges of the ensemble.
    #[must_use]
    pub const fn zookeeper(&self) -> &Oracle {
        self.zk.oracle()
    }

    /// The judges of the Kafka cluster, if there is one.
    #[must_use]
    pub fn kafka(&self) -> Option<&KafkaOracle> {
        self.kafka.as_ref().map(KafkaJudges::oracle)
    }

    /// What clients of Kafka did, in figures.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// How often each rule was held against what happened.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let mut checks = self.zookeeper().checks();
        let Some(kafka) = self.kafka() else { return checks };
        let gaps = checks.pop().expect("the last rule is about gaps");
        checks.extend(kafka.checks());
        let last = checks.last_mut().expect("the last rule is about gaps");
        assert_eq!((gaps.id, last.id), (Rule::Gap.id(), Rule::Gap.id()), "the last rule is about gaps");
        last.times += gaps.times;
        last.relaxed.extend(gaps.relaxed);
        checks
    }

    /// Losses that are excused, each with the events that excuse it.
    pub fn excuses(&self) -> impl Iterator<Item = &Excuse> {
        self.zookeeper().excuses().iter().chain(self.kafka().into_iter().flat_map(KafkaOracle::excuses))
    }

    /// Known holes of the real systems that the run went through: what, how often, and when first.
    pub fn notes(&self) -> impl Iterator<Item = (&'static str, u64, Moment)> {
        self.zookeeper().notes().chain(self.kafka().into_iter().flat_map(KafkaOracle::notes))
    }

    /// How often each situation arose, those among them that no rule can wait for: see [`crate::CoverageMark`].
    #[must_use]
    pub fn situations(&self) -> BTreeMap<&'static str, u64> {
        let mut situations = self.zookeeper().situations().clone();
        if let Some(kafka) = self.kafka() {
            situations.extend(kafka.situations());
        }
        situations.extend(self.coverage.reached());
        let excused = self.excuses().count() as u64;
        if excused > 0 {
            situations.insert(CoverageMark::LossExcused.name(), excused);
        }
        situations
    }

    /// Every role there is, each with a sentence; those of partitions as patterns.
    pub fn all_roles() -> impl Iterator<Item = (&'static str, &'static str)> {
        ROLES.iter().chain(KAFKA_ROLES).copied()
    }

    /// Every situation there is, each with a sentence.
    pub fn all_situations() -> impl Iterator<Item = (&'static str, &'static str)> {
        SITUATIONS.iter().chain(KAFKA_SITUATIONS).copied()
    }

    /// The names of the roles of a world: patterns are written out for each partition of its topics.
    #[must_use]
    pub fn role_names(topology: &Topology) -> Vec<String> {
        let mut names: Vec<String> = ROLES.iter().map(|&(role, _)| role.to_owned()).collect();
        if !topology.brokers.is_empty() {
            let topics = topology.topics.iter().map(|topic| {
                let assigned = topic.assignment.keys().next_back().map(|last| last + 1);
                (&topic.name, assigned.unwrap_or(topic.partitions))
            });
            names.extend(kafka_roles(topics));
        }
        names
    }
}

impl Judges<Node> for Court {
    fn observe(&mut self, seen: &Seen<'_, Node>, findings: &mut Findings) {
        self.coverage.observe(seen, self.zk.oracle(), self.kafka.as_ref().map(KafkaJudges::oracle));
        self.zk.observe(seen, findings);
        if let Some(kafka) = &mut self.kafka {
            self.statistics.observe(seen);
            kafka.observe(seen, self.zk.oracle(), findings);
        }
    }

    fn inspect(&mut self, step: &Step, hosts: &Hosts<'_, Node>, findings: &mut Findings) {
        self.zk.inspect(step, hosts, findings);
        if let Some(kafka) = &mut self.kafka {
            kafka.inspect(hosts, self.zk.oracle(), findings);
        }
    }

    fn role(&self, name: &str) -> Option<HostId> {
        self.zk.role(name).or_else(|| self.kafka()?.role(name))
    }

    fn refuses(&self, _: Instant, fault: &Fault, targets: &[HostId], hosts: &Hosts<'_, Node>) -> Option<String> {
        budget::refuses(self.zookeeper(), self.kafka(), fault, targets, hosts)
    }

    fn pending(&mut self, now: Instant, hosts: &Hosts<'_, Node>) -> Option<String> {
        let pending = self.zk.pending(now, hosts);
        pending.or_else(|| self.kafka.as_mut()?.pending(now, hosts, None))
    }

    fn core(&self, draw: &mut Draw, hosts: &Hosts<'_, Node>) -> Option<Core> {
        let everybody: Vec<HostId> = hosts.ids().collect();
        Some(settled_core::drawn(self.zookeeper(), self.kafka(), &everybody, draw))
    }

    fn pending_in(&mut self, core: &Core, now: Instant, hosts: &Hosts<'_, Node>) -> Option<String> {
        let is_in = |host| core.members.contains(&host);
        let pending = self.zk.pending_in(now, hosts, is_in);
        pending.or_else(|| self.kafka.as_mut()?.pending(now, hosts, Some(core)))
    }

    fn core_excuse(&self, core: &Core, _: &Hosts<'_, Node>) -> Option<String> {
        settled_core::excuse(self.zookeeper(), self.kafka(), core)
    }

    fn progress(&self) -> Vec<u64> {
        let of_kafka = self.kafka().into_iter().flat_map(|_| self.statistics.operations()).map(|(_, count)| count.ok);
        let done: u64 = self.zookeeper().operations().into_iter().map(|(_, count)| count.ok).chain(of_kafka).sum();
        vec![done, self.kafka().map_or(0, KafkaOracle::replicated)]
    }

    fn shape(&self, _: &Hosts<'_, Node>) -> String {
        let kafka = self.kafka().map(|kafka| format!("; {}", kafka.shape()));
        self.zookeeper().shape() + &kafka.unwrap_or_default()
    }

    fn finish(&mut self, now: Instant, hosts: &Hosts<'_, Node>, findings: &mut Findings) {
        self.zk.finish(now, hosts, findings);
        if let Some(kafka) = &mut self.kafka {
            kafka.finish(now, findings);
        }
    }
}
