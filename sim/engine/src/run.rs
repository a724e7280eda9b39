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
#[derive(Clone, Default, Debug)]
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

/// How far a run goes before somebody looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// To this time: behind all that happens then, but in the phase that ends then.
    At(Instant),
    /// To the end of this event.
    Event(u64),
    /// To its end.
    End,
}

/// Where a run stopped on its way to a bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reached {
    /// There.
    There,
    /// At its end, with every rule held; the bound lies behind it.
    End,
    /// At the violation that ends it.
    Violation,
    /// At a panic with this message: what panicked is not to be looked at.
    Panic(String),
    /// Where its budget was spent.
    Spent,
}

/// Why a run ended early.
#[derive(Clone, Debug)]
enum Stop {
    Violated,
    Panicked(String),
    Budget,
}

/// In which phase a run is.
#[derive(Clone, Debug)]
enum Phase {
    /// Rules strike until this instant.
    Faults(Instant),
    /// A core is healed for good; it is asked again at `check` whether it has converged.
    Core { attempt: Box<Attempt>, check: Instant },
    /// All is healed; it is asked again at `check` whether it has converged.
    Settling { healed_at: Instant, check: Instant },
    /// It has converged.
    Over,
}

/// A core that is to converge.
#[derive(Clone, Debug)]
struct Attempt {
    /// What is reported if it does.
    outcome: CoreOutcome,
    /// The farthest that it got.
    best: Vec<u64>,
    /// When that was.
    since: Instant,
    /// What it looked like since then.
    shapes: Shapes,
}

/// A run under way: a part of its world, so that a fork goes on with it.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    plan: Plan,
    patience: Option<Span>,
    phase: Phase,
    stopped: Option<Stop>,
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
        self.begin_run(plan, patience);
        self.finish()
    }

    /// Begins such a run without a step of it: [`World::advance`] goes on with it and [`World::finish`] ends it. A fork goes on with
    /// it on its own.
    ///
    /// # Panics
    /// If one was begun already.
    pub fn begin_run(&mut self, plan: &Plan, patience: Option<Span>) {
        assert!(self.course.is_none(), "a world has one run");
        self.course = Some(Box::new(Course {
            plan: *plan,
            patience,
            phase: Phase::Faults(self.core.now + plan.faults_for),
            stopped: None,
            steps: 0,
            core: None,
            healed_at: None,
            settled_after: None,
        }));
    }

    /// Whether a run was begun.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.course.is_some()
    }

    /// Goes on with the run as far as the bound, through all phases: whatever the bounds are on the way, the run is the same. A panic
    /// is caught, as in [`World::run`].
    ///
    /// # Panics
    /// If none was begun.
    pub fn advance(&mut self, bound: Bound) -> Reached {
        let mut course = self.course.take().expect("a run was begun");
        if course.stopped.is_none() {
            let result = catch_unwind(AssertUnwindSafe(|| self.phases(&mut course, bound)));
            course.stopped = match result {
                Ok(Ok(())) => None,
                Ok(Err(stop)) => Some(stop),
                Err(payload) => {
                    let violation = self.panicked(payload.as_ref());
                    let message = violation.witnesses[0].note.clone();
                    self.core.findings.violation(violation);
                    Some(Stop::Panicked(message))
                }
            };
        }
        let reached = match (&course.stopped, &course.phase) {
            (Some(Stop::Violated), _) => Reached::Violation,
            (Some(Stop::Panicked(message)), _) => Reached::Panic(message.clone()),
            (Some(Stop::Budget), _) => Reached::Spent,
            (None, Phase::Over) => match bound {
                Bound::At(at) if at <= self.core.now => Reached::There,
                Bound::Event(event) if event <= self.core.event => Reached::There,
                Bound::At(_) | Bound::Event(_) | Bound::End => Reached::End,
            },
            (None, Phase::Faults(_) | Phase::Core { .. } | Phase::Settling { .. }) => Reached::There,
        };
        self.course = Some(course);
        reached
    }

    /// Runs what is left of the run, and judges.
    ///
    /// # Panics
    /// If none was begun.
    pub fn finish(&mut self) -> Outcome {
        let reached = self.advance(Bound::End);
        let course = self.course.as_ref().expect("it was begun");
        let (core, healed_at) = (course.core.clone(), course.healed_at);
        let (settled_after, steps) = (course.settled_after, course.steps);
        let spent = match reached {
            Reached::Spent => {
                Some(format!("the budget of {} steps is spent at {}", course.plan.step_budget, self.core.now))
            }
            Reached::There | Reached::End | Reached::Violation | Reached::Panic(_) => None,
        };
        let violations = std::mem::take(&mut self.core.findings.violations);
        let verdict = match spent.or_else(|| self.unmet()) {
            _ if !violations.is_empty() => Verdict::Violated(violations),
            Some(reason) => Verdict::Undecided(reason),
            None => Verdict::Held,
        };
        Outcome {
            verdict,
            at: self.core.now,
            core,
            healed_at,
            settled_after,
            events: self.core.event,
            steps,
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

    fn phases(&mut self, course: &mut Course, bound: Bound) -> Result<(), Stop> {
        loop {
            let until = match course.phase {
                Phase::Faults(until) => until,
                Phase::Core { check, .. } | Phase::Settling { check, .. } => check,
                Phase::Over => return Ok(()),
            };
            if !self.phase(until, bound, course)? {
                return Ok(());
            }
            self.next_phase(course)?;
        }
    }

    /// What comes when a phase, or a while of it, is over.
    fn next_phase(&mut self, course: &mut Course) -> Result<(), Stop> {
        match &mut course.phase {
            Phase::Faults(_) => {
                self.barrier();
                if course.patience.is_none() {
                    self.heal_all(course);
                } else if let Some(attempt) = self.begin_core() {
                    course.core = Some(attempt.outcome.clone());
                    course.phase = Phase::Core { attempt: Box::new(attempt), check: self.core.now + SETTLE_CHECK };
                } else {
                    self.barrier();
                    self.heal_all(course);
                }
            }
            Phase::Core { attempt, check } => {
                let patience = course.patience.expect("a core has a patience");
                match self.ask_core(attempt, patience)? {
                    None => *check = self.core.now + SETTLE_CHECK,
                    Some(outcome) => {
                        course.core = Some(outcome);
                        self.barrier();
                        self.heal_all(course);
                    }
                }
            }
            Phase::Settling { healed_at, check } => {
                let healed_at = *healed_at;
                let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
                if let Some(pending) = self.judges.pending(self.core.now, &hosts) {
                    if self.since(healed_at) >= course.plan.settle_at_most {
                        let violation = self.stuck(pending, course.plan.settle_at_most);
                        self.core.findings.violation(violation);
                        return Err(Stop::Violated);
                    }
                    *check = self.core.now + SETTLE_CHECK;
                    return Ok(());
                }
                course.settled_after = Some(self.since(healed_at));
                self.barrier();
                let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
                self.judges.finish(self.core.now, &hosts, &mut self.core.findings);
                course.phase = Phase::Over;
                if self.is_stopped_by_violations() {
                    return Err(Stop::Violated);
                }
            }
            Phase::Over => {}
        }
        Ok(())
    }

    fn heal_all(&mut self, course: &mut Course) {
        self.heal();
        let healed_at = self.core.now;
        course.healed_at = Some(healed_at);
        course.phase = Phase::Settling { healed_at, check: healed_at + SETTLE_CHECK };
    }

    /// A core is healed for good, and the rest stays as it is; none if the judges draw none.
    fn begin_core(&mut self) -> Option<Attempt> {
        let mut draw = self.core.key.draw(CORE, 0, 0);
        let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
        let core = self.judges.core(&mut draw, &hosts)?;
        self.heal_core(&core);
        let healed_at = self.core.now;
        let outcome = CoreOutcome { core, healed_at, settled_after: None, excused: None };
        Some(Attempt { outcome, best: self.judges.progress(), since: healed_at, shapes: Shapes::default() })
    }

    /// Asks whether a core has converged: what came of it, or nothing yet.
    fn ask_core(&mut self, attempt: &mut Attempt, patience: Span) -> Result<Option<CoreOutcome>, Stop> {
        let (core, healed_at) = (&attempt.outcome.core, attempt.outcome.healed_at);
        let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
        let Some(pending) = self.judges.pending_in(core, self.core.now, &hosts) else {
            return Ok(Some(CoreOutcome { settled_after: Some(self.since(healed_at)), ..attempt.outcome.clone() }));
        };
        let now = self.judges.progress();
        if now > attempt.best {
            (attempt.best, attempt.since) = (now, self.core.now);
            attempt.shapes = Shapes::default();
        }
        attempt.shapes.add(self.judges.shape(&hosts));
        let since = attempt.since;
        let idle = self.since(since);
        let cycle = attempt.shapes.cycle().filter(|_| idle >= patience / 2);
        if cycle.is_none() && idle < patience && self.since(healed_at) < patience * 10 {
            return Ok(None);
        }
        if let Some(why) = self.judges.core_excuse(core, &hosts) {
            return Ok(Some(CoreOutcome { excused: Some(why), ..attempt.outcome.clone() }));
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
        Err(Stop::Violated)
    }

    /// Runs until an instant at which something else comes; false if the bound is before that.
    fn phase(&mut self, until: Instant, bound: Bound, course: &mut Course) -> Result<bool, Stop> {
        let (limit, last) = match bound {
            Bound::At(at) => (until.min(at), u64::MAX),
            Bound::Event(event) => (until, event),
            Bound::End => (until, u64::MAX),
        };
        while self.core.event < last && self.core.queue.next_at().is_some_and(|at| at <= limit) {
            if course.steps >= course.plan.step_budget {
                return Err(Stop::Budget);
            }
            course.steps += 1;
            self.step();
            if self.is_stopped_by_violations() {
                return Err(Stop::Violated);
            }
        }
        if self.core.event >= last {
            return Ok(false);
        }
        self.core.now = self.core.now.max(limit);
        Ok(match bound {
            Bound::At(at) => until < at,
            Bound::Event(_) | Bound::End => true,
        })
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
