//! What of a repro may change while it is shrunk.

use engine::{Rule, SpanRange, Verdict};
use machine::{Digest, HostId, Instant};
use world::{BadInput, Scenario, Setup};

use super::Size;
use crate::prepared::{Given, Prepared, Run, Watch, run_to_end};
use crate::repro::{Expected, Repro};

/// When a rule struck first, and whom; none if it never did.
type FirstStrike = Option<(Instant, Vec<HostId>)>;

/// A repro without what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// What the scenario was called.
    pub(super) name: String,
    /// The scenario.
    pub(super) scenario: Scenario,
    /// The configuration files.
    pub(super) given: Given,
    /// The explicit schedule.
    pub(super) schedule: Vec<Rule>,
    /// The seed.
    pub(super) seed: u64,
}

/// What the run of a case has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// When the failure was seen.
    pub(super) at: Instant,
    /// Inputs delivered until then.
    pub(super) events: u64,
    /// Hosts of its world.
    pub(super) hosts: usize,
    /// Partitions of its topics.
    pub(super) partitions: u32,
}

impl Shown {
    /// What a run has shown.
    pub(super) fn of(run: &Run) -> Self {
        let topics = &run.setup.topology.topics;
        let partitions = topics.iter().map(|topic| match topic.assignment.len() {
            0 => u32::try_from(topic.partitions).unwrap_or(0),
            assigned => u32::try_from(assigned).expect("few partitions"),
        });
        Self {
            at: run.outcome.at,
            events: run.outcome.events,
            hosts: run.setup.hosts.len(),
            partitions: partitions.sum(),
        }
    }
}

impl Case {
    /// What of a repro may change; what its seed decides about time is fixed.
    pub(super) fn of(repro: &Repro, setup: &Setup) -> Self {
        // What a swarm draws from the seed is drawn now: it stays, whatever becomes of the seed.
        let mut scenario = repro.scenario.resolved(repro.seed);
        scenario.settle = SpanRange::exactly(setup.settle_at_most);
        Self {
            name: repro.name.clone(),
            scenario,
            given: repro.given.clone(),
            schedule: repro.schedule.clone(),
            seed: repro.seed,
        }
    }

    /// The same without the rules and the nemesis that its explicit schedule stands for.
    pub(super) fn explicit(&self) -> Self {
        let mut explicit = self.clone();
        explicit.scenario.faults.clear();
        explicit.scenario.nemesis = None;
        explicit.scenario.drawn.clear();
        explicit.schedule.iter_mut().for_each(|rule| rule.must_fire = false);
        explicit
    }

    /// Equal for equal cases only.
    pub(super) fn key(&self) -> u64 {
        let mut digest = Digest::new();
        digest.text(&serde_json::to_string(&self.scenario).expect("a scenario is plain data"));
        digest.text(&serde_json::to_string(&self.schedule).expect("a schedule is plain data"));
        digest.word(self.seed);
        digest.value()
    }

    pub(super) fn prepared(&self, file: &str) -> Result<Prepared, BadInput> {
        let (scenario, given) = (self.scenario.clone(), self.given.clone());
        Prepared::of(self.name.clone(), scenario, given, Some(self.schedule.clone()), format!("replay {file}"))
    }

    /// Whether it has defects, and holds once they are off.
    pub(super) fn twin_holds(&self, file: &str) -> bool {
        if self.scenario.cluster.defects.is_empty() {
            return false;
        }
        let mut twin = self.clone();
        twin.scenario.cluster.defects.clear();
        let run = twin.prepared(file).and_then(|prepared| prepared.run(twin.seed, Watch::LIGHT));
        run.is_ok_and(|run| run.outcome.verdict == Verdict::Held)
    }

    pub(super) fn size(&self, shown: &Shown) -> Size {
        Size {
            rules: self.schedule.len(),
            events: shown.events,
            simulated: shown.at.as_nanos(),
            hosts: shown.hosts,
            partitions: shown.partitions,
        }
    }

    pub(super) fn into_repro(self, from: &Repro, expected: Expected) -> Repro {
        Repro {
            scenario: self.scenario,
            seed: self.seed,
            schedule: self.schedule,
            expected,
            trail: None,
            ..from.clone()
        }
    }

    /// When each rule struck first, and whom, with the names of all hosts.
    pub(super) fn strikes(&self, file: &str) -> Option<(Vec<FirstStrike>, Vec<String>)> {
        let (setup, mut world) = self.prepared(file).ok()?.world(self.seed, Watch::FULL).ok()?;
        run_to_end(&mut world, &setup);
        let mut strikes = vec![None; self.schedule.len()];
        for fault in &world.recording()?.faults {
            if let Some(rule) = fault.rule
                && strikes[rule].is_none()
            {
                strikes[rule] = Some((fault.at, fault.targets.clone()));
            }
        }
        Some((strikes, setup.topology.names()))
    }
}
