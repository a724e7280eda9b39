//! A run: a phase of faults, then heal, settle, and converge within a budget or say what is stuck.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use machine::{Instant, Machine, Span};

use crate::judge::{Judges, Part, Violation, Witness};
use crate::{Hosts, World};

/// How often a settling world is asked whether it has converged.
const SETTLE_CHECK: Span = Span::millis(250);

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
    healed_at: Option<Instant>,
    settled_after: Option<Span>,
}

impl<M: Machine, J: Judges<M>> World<M, J> {
    /// Runs both phases and judges. A panic in a machine, or in a judge, is caught and is a violation; the world must not
    /// be stepped after that. A silent panic hook is the caller's to set.
    pub fn run(&mut self, plan: &Plan) -> Outcome {
        let mut progress = Progress::default();
        let result = catch_unwind(AssertUnwindSafe(|| self.phases(plan, &mut progress)));
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
        let verdict = match verdict {
            _ if !violations.is_empty() => Verdict::Violated(violations),
            Some(reason) => Verdict::Undecided(reason),
            None => Verdict::Held,
        };
        Outcome {
            verdict,
            at: self.core.now,
            healed_at: progress.healed_at,
            settled_after: progress.settled_after,
            events: self.core.event,
            steps: progress.steps,
            hash: self.hash(),
        }
    }

    fn phases(&mut self, plan: &Plan, progress: &mut Progress) -> Result<(), Stop> {
        self.phase(self.core.now + plan.faults_for, plan.step_budget, progress)?;
        self.barrier();
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
        Violation {
            invariant: "LIVENESS",
            name: "convergence",
            headline: pending,
            witnesses: vec![Witness { event, at, host: None, note, part: Part::Detected }],
            host: None,
            at,
            event,
            signature_parts: Vec::new(),
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
