//! A run: a phase of faults, then heal, settle, and converge within a budget or say what is stuck.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use machine::{HostId, Instant, Machine, Purpose, Span};

use crate::judge::{Judges, Part, Violation, Witness};
use crate::{Hosts, World};

/// How often a settling world is asked whether it has converged.
const SETTLE_CHECK: Span = Span::millis(250);

const CORE: Purpose = Purpose::new("engine/core");

/// A cycle of states is a certificate when it has come so often.
const CYCLES: usize = 3;

/// A part of a world that is healed for good while the rest stays broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Core {
    /// Which part, in words.
    pub name: String,
    /// Whom it consists of.
    pub members: Vec<HostId>,
    /// What becomes of each of the others.
    pub rest: Vec<(HostId, Brokenness)>,
}

/// How a host outside of a core stays broken for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Brokenness {
    /// As the faults have left it.
    AsItIs,
    /// Its process is down.
    Down,
    /// Its process is stopped.
    Paused,
    /// Nothing passes between it and the core.
    Cut,
    /// Nothing passes from it to the core.
    Mute,
}

impl Brokenness {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsItIs => "as it is",
            Self::Down => "down",
            Self::Paused => "paused",
            Self::Cut => "cut off",
            Self::Mute => "mute",
        }
    }
}

/// The shapes a world took since it last got any further, without its counters, epochs and clocks; the same one twice in a row
/// counts once, and how long it stood is lost.
///
/// Simplified: that nothing but periodic timers is under way is not read off the queue but follows from the patience.
#[derive(Default)]
struct Shapes(Vec<String>);

impl Shapes {
    fn add(&mut self, shape: String) {
        if self.0.last() != Some(&shape) {
            self.0.push(shape);
        }
    }

    /// The shortest cycle that has come often enough at the end; a single shape that never changed is one.
    fn cycle(&self) -> Option<Vec<String>> {
        let all = &self.0;
        if all.len() == 1 {
            return Some(all.clone());
        }
        (2..=all.len() / CYCLES).find_map(|period| {
            let tail = &all[all.len() - period * CYCLES..];
            tail.windows(period + 1).all(|it| it[0] == it[period]).then(|| tail[..period].to_vec())
        })
    }
}

/// How long a run may take, in simulated time and in work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The phase in which rules strike.
    pub faults_for: Span,
    /// How long the world may take to converge after it was healed.
    pub settle_at_most: Span,
    /// Events taken off the queue in all; beyond it the run is undecided.
    pub step_budget: u64,
}

impl Default for Plan {
    /// A minute of faults, two to converge, a hundred million steps.
    fn default() -> Self {
        Self { faults_for: Span::secs(60), settle_at_most: Span::secs(120), step_budget: 100_000_000 }
    }
}

/// What a core came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreOutcome {
    /// What was healed, and what became of the rest.
    pub core: Core,
    /// When it was healed.
    pub healed_at: Instant,
    /// How long it took to converge.
    pub settled_after: Option<Span>,
    /// Why nobody can promise that it does, if it did not.
    pub excused: Option<String>,
}

/// What a run has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every rule held, and the world converged.
    Held,
    /// A rule was broken, a machine panicked, or the world did not converge. The first comes first.
    Violated(Vec<Violation>),
    /// The budget was spent before it was known.
    Undecided(String),
}

/// The outcome of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What it has shown.
    pub verdict: Verdict,
    /// The world's time at its end.
    pub at: Instant,
    /// What the core came to, if there was one.
    pub core: Option<CoreOutcome>,
    /// When the world was healed, if it came to that.
    pub healed_at: Option<Instant>,
    /// How long it took to converge after that.
    pub settled_after: Option<Span>,
    /// Inputs delivered.
    pub events: u64,
    /// Events taken off the queue.
    pub steps: u64,
    /// The trace hash at its end.
    pub hash: u64,
}

/// Why a phase ended early.
enum Stop {
    Violated,
    Budget,
}

/// How far a run has come: kept outside, so that it is known after a panic.
#[derive(Default)]
struct Progress {
    steps: u64,
    core: Option<CoreOutcome>,
    healed_at: Option<Instant>,
    settled_after: Option<Span>,
}

impl<M: Machine, J: Judges<M>> World<M, J> {
    /// Runs both phases and judges. A panic in a machine, or in a judge, is caught and is a violation; the world must not
    /// be stepped after that. A silent panic hook is the caller's to set.
    pub fn run(&mut self, plan: &Plan) -> Outcome {
        self.run_with_core(plan, None)
    }

    /// The same, with a phase between the faults and the healed world if there is a patience: a core that the judges draw is
    /// healed for good and must converge, while the rest stays broken for good. It may take that long without getting any further,
    /// and ten times as long in all (invariants-and-faults.md §4).
    pub fn run_with_core(&mut self, plan: &Plan, patience: Option<Span>) -> Outcome {
        let mut progress = Progress::default();
        let result = catch_unwind(AssertUnwindSafe(|| self.phases(plan, patience, &mut progress)));
        let verdict = match result {
            Ok(Ok(())) => None,
            Ok(Err(Stop::Violated)) => None,
            Ok(Err(Stop::Budget)) => {
                Some(format!("the budget of {} steps is spent at {}", plan.step_budget, self.core.now))
            }
            Err(payload) => {
                let violation = self.panicked(payload.as_ref());
                self.core.findings.violation(violation);
                None
            }
        };
        let violations = std::mem::take(&mut self.core.findings.violations);
        let verdict = match verdict.or_else(|| self.unmet()) {
            _ if !violations.is_empty() => Verdict::Violated(violations),
            Some(reason) => Verdict::Undecided(reason),
            None => Verdict::Held,
        };
        Outcome {
            verdict,
            at: self.core.now,
            core: progress.core,
            healed_at: progress.healed_at,
            settled_after: progress.settled_after,
            events: self.core.event,
            steps: progress.steps,
            hash: self.hash(),
        }
    }

    /// A rule that must fire and did not, or that nobody felt: a run without it shows nothing, so it is undecided.
    fn unmet(&self) -> Option<String> {
        let (rule, count) = self.rules().find(|(rule, count)| rule.must_fire && count.felt == 0)?;
        let what = match (count.fired, count.refused) {
            (0, _) => "never fired",
            (_, 0) => "was never felt",
            (_, _) => "was refused by the budget",
        };
        Some(format!("a rule that must fire {what}: {rule}"))
    }

    fn phases(&mut self, plan: &Plan, patience: Option<Span>, progress: &mut Progress) -> Result<(), Stop> {
        self.phase(self.core.now + plan.faults_for, plan.step_budget, progress)?;
        self.barrier();
        if let Some(patience) = patience {
            self.core_phase(plan, patience, progress)?;
            self.barrier();
        }
        self.heal();
        let healed_at = self.core.now;
        progress.healed_at = Some(healed_at);
        loop {
            self.phase(self.core.now + SETTLE_CHECK, plan.step_budget, progress)?;
            let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
            let Some(pending) = self.judges.pending(self.core.now, &hosts) else { break };
            if self.since(healed_at) >= plan.settle_at_most {
                let violation = self.stuck(pending, plan.settle_at_most);
                self.core.findings.violation(violation);
                return Err(Stop::Violated);
            }
        }
        progress.settled_after = Some(self.since(healed_at));
        self.barrier();
        let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
        self.judges.finish(self.core.now, &hosts, &mut self.core.findings);
        Ok(())
    }

    /// A core is healed for good, and the rest stays as it is.
    fn core_phase(&mut self, plan: &Plan, patience: Span, progress: &mut Progress) -> Result<(), Stop> {
        let mut draw = self.core.key.draw(CORE, 0, 0);
        let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
        let Some(core) = self.judges.core(&mut draw, &hosts) else { return Ok(()) };
        self.heal_core(&core);
        let healed_at = self.core.now;
        let outcome = CoreOutcome { core: core.clone(), healed_at, settled_after: None, excused: None };
        let outcome = progress.core.insert(outcome).clone();
        let (mut best, mut since) = (self.judges.progress(), healed_at);
        let mut shapes = Shapes::default();
        loop {
            self.phase(self.core.now + SETTLE_CHECK, plan.step_budget, progress)?;
            let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
            let Some(pending) = self.judges.pending_in(&core, self.core.now, &hosts) else { break };
            let now = self.judges.progress();
            if now > best {
                (best, since) = (now, self.core.now);
                shapes = Shapes::default();
            }
            shapes.add(self.judges.shape(&hosts));
            let idle = self.since(since);
            let cycle = shapes.cycle().filter(|_| idle >= patience / 2);
            if cycle.is_none() && idle < patience && self.since(healed_at) < patience * 10 {
                continue;
            }
            if let Some(why) = self.judges.core_excuse(&core, &hosts) {
                progress.core = Some(CoreOutcome { excused: Some(why), ..outcome });
                return Ok(());
            }
            let mut violation = self.stuck(pending, self.since(healed_at));
            violation.witnesses[0].note = format!(
                "{} after a core was healed for good ({}); nothing got any further since {since}",
                self.since(healed_at),
                core.name
            );
            if let Some(cycle) = cycle {
                let (event, at) = (self.core.event, self.core.now);
                let note = if cycle.len() == 1 {
                    format!("deadlock: nothing but timers, and always: {}", cycle[0])
                } else {
                    format!("livelock, the same again {CYCLES} times: {}", cycle.join(" -> "))
                };
                violation.witnesses.insert(0, Witness { event, at, host: None, note, part: Part::FirstWrongStep });
            }
            self.core.findings.violation(violation);
            return Err(Stop::Violated);
        }
        progress.core = Some(CoreOutcome { settled_after: Some(self.since(healed_at)), ..outcome });
        Ok(())
    }

    fn phase(&mut self, until: Instant, budget: u64, progress: &mut Progress) -> Result<(), Stop> {
        while self.core.queue.next_at().is_some_and(|at| at <= until) {
            if progress.steps >= budget {
                return Err(Stop::Budget);
            }
            progress.steps += 1;
            self.step();
            if self.is_stopped_by_violations() {
                return Err(Stop::Violated);
            }
        }
        self.core.now = self.core.now.max(until);
        Ok(())
    }

    fn stuck(&self, pending: String, limit: Span) -> Violation {
        let (at, event) = (self.core.now, self.core.event);
        let note = format!("{limit} after everything was healed");
        // What is missing, before the colon, says which bug it is; without a title, the sentence without its numbers.
        let kind = match pending.split_once(':') {
            Some((title, _)) => title.to_owned(),
            None => pending.chars().filter(|c| !c.is_ascii_digit()).collect(),
        };
        Violation {
            invariant: "LIVENESS",
            name: "convergence",
            headline: pending,
            witnesses: vec![Witness { event, at, host: None, note, part: Part::Detected }],
            host: None,
            at,
            event,
            signature_parts: vec![kind],
        }
    }

    fn panicked(&self, payload: &(dyn Any + Send)) -> Violation {
        let message = payload
            .downcast_ref::<&'static str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        let (at, event, host) = (self.core.now, self.core.event, self.core.stepping);
        let who = host.map_or_else(|| "outside of a step".to_owned(), |host| self.hosts().name(host).to_owned());
        // What the message says without its numbers: two panics of one assertion are one bug.
        let shape: String = message.chars().filter(|c| !c.is_ascii_digit()).collect();
        Violation {
            invariant: "PANIC",
            name: "panic",
            headline: format!("{who}: {message}"),
            witnesses: vec![Witness { event, at, host, note: message, part: Part::Detected }],
            host,
            at,
            event,
            signature_parts: vec![shape],
        }
    }
}
