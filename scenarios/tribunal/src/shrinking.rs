//! A repro, made smaller: fewer rules, servers, clients and partitions, less time, and the same failure.
//!
//! Everything a repro holds may be changed but its defects, its configuration keys and its configuration files. What decides is the
//! signature of the failure alone, so a change of the topology may come with another seed. If the repro holds once its defects are
//! off, so does every smaller one: a cluster that is too small for its topics would fail alike, for a reason of its own.

mod case;
mod passes;
mod rules;

use std::fmt::Write as _;

use engine::{Verdict, Violation};
use machine::Span;
use search::Limits;
use world::BadInput;

use case::{Case, Shown};

use crate::prepared::{Run, Watch, run_to_end};
use crate::repro::{Expected, Repro};

/// How big a repro is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Size {
    /// Rules of its schedule.
    pub rules: usize,
    /// Inputs delivered until its failure.
    pub events: u64,
    /// Simulated time until then, in nanoseconds.
    pub simulated: u64,
    /// Hosts: servers, brokers and clients.
    pub hosts: usize,
    /// Partitions of all topics.
    pub partitions: u32,
}

/// A repro, shrunk.
#[derive(Clone, Debug)]
pub struct Smaller {
    /// The small repro.
    pub repro: Repro,
    /// How big the one it was made from is.
    pub before: Size,
    /// How big it is.
    pub after: Size,
    /// Runs that were tried.
    pub runs: u64,
    /// How many of them were taken as the next best.
    pub accepted: u64,
    /// Whether nothing is left to try, rather than the budget spent.
    pub is_complete: bool,
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What is tried.
    pub pass: &'static str,
    /// Runs so far.
    pub runs: u64,
    /// How big the best so far is.
    pub size: Size,
}

/// Why a repro cannot be shrunk.
#[derive(Clone, Debug)]
pub enum NotShrunk {
    /// It is not a usable repro, or one of a run that held.
    Input(BadInput),
    /// It does not fail as it says: with what came of it instead.
    Differs(String),
}

impl From<BadInput> for NotShrunk {
    fn from(error: BadInput) -> Self {
        Self::Input(error)
    }
}

/// The first violation of a run.
pub(crate) fn first_violation(run: &Run) -> Option<&Violation> {
    match &run.outcome.verdict {
        Verdict::Violated(violations) => violations.first(),
        Verdict::Held | Verdict::Undecided(_) => None,
    }
}

/// Runs a repro and holds what comes of it against what it says; the run is of a failure with the repro's signature.
///
/// # Errors
/// If it is of a run that held, or fails in another way, or not at all.
pub fn reproduce(file: &str, repro: &Repro, watch: Watch) -> Result<Run, NotShrunk> {
    let Some(signature) = repro.expected.signature else {
        let hint = "shrink and explain want the repro of a failure: tribunal fuzz --keep DIR keeps some";
        return Err(BadInput::new(file, None, "is the repro of a run that held").hint(hint).into());
    };
    let run = repro.prepared(file)?.run(repro.seed, watch)?;
    match first_violation(&run) {
        Some(violation) if violation.signature() == signature => Ok(run),
        Some(violation) => {
            let said = repro.expected.headline.as_deref().unwrap_or("a failure");
            let (id, now) = (violation.invariant, &violation.headline);
            Err(NotShrunk::Differs(format!("it fails in another way: {id} {now}; the repro says: {said}")))
        }
        None => {
            Err(NotShrunk::Differs("the run no longer fails: the code has changed since it was written".to_owned()))
        }
    }
}

/// Shrinks a repro. `file` is what messages call it.
///
/// # Errors
/// If it does not fail as it says.
pub fn shrink_repro(
    file: &str,
    repro: &Repro,
    limits: Limits,
    progress: &mut dyn FnMut(Step),
) -> Result<Smaller, NotShrunk> {
    let run = reproduce(file, repro, Watch::LIGHT)?;
    let violation = first_violation(&run).expect("a reproduced failure");
    let signature = violation.signature();
    let case = Case::of(repro, &run.setup);
    let shown = Shown::of(&run);
    let before = case.size(&shown);
    let twin_holds = case.twin_holds(file);
    // A failure before the heal needs no time to settle: a candidate that has not failed by then is refused at once.
    let settles = run.outcome.healed_at.is_some();
    let check = |case: &Case| -> Option<Shown> {
        let (mut setup, mut world) = case.prepared(file).ok()?.world(case.seed, Watch::LIGHT).ok()?;
        if !settles {
            setup.settle_at_most = Span::ZERO;
        }
        let outcome = run_to_end(&mut world, &setup);
        let run = Run { setup, watch: Watch::LIGHT, outcome, world: Box::new(world) };
        let is_same = first_violation(&run)?.signature() == signature;
        // Without time to settle what is still to come right is pending at once: that is another failure.
        let is_in_time = settles || run.outcome.healed_at.is_none();
        (is_same && is_in_time && (!twin_holds || case.twin_holds(file))).then(|| Shown::of(&run))
    };
    // The explicit schedule makes the scenario's own rules and its nemesis superfluous; if that shifts a draw that matters,
    // they stay.
    let start = case.explicit();
    let (case, shown) = match check(&start) {
        Some(shown) => (start, shown),
        None => (case, shown),
    };
    let passes = passes::passes(file, settles);
    let shrunk = search::shrink(case, shown, &passes, &Case::key, &check, limits, &mut |found| {
        progress(Step { pass: found.pass, runs: found.runs, size: found.best.size(found.shown) });
    });
    let case = shrunk.value;
    let prepared = case.prepared(file)?;
    let run = prepared.run(case.seed, Watch::FULL)?;
    let expected = Expected::of(&run.outcome);
    assert_eq!(expected.signature, Some(signature), "the last candidate that was accepted fails in the same way");
    let after = case.size(&Shown::of(&run));
    let recording = run.world.recording().expect("the run is recorded");
    let small = case.into_repro(repro, expected).with_trail(recording);
    Ok(Smaller {
        repro: small,
        before,
        after,
        runs: shrunk.runs + 1,
        accepted: shrunk.accepted,
        is_complete: shrunk.is_complete,
    })
}

impl Smaller {
    /// Before and after, as a table.
    #[must_use]
    pub fn table(&self) -> String {
        let (a, b) = (&self.before, &self.after);
        let seconds = |nanos: u64| format!("{}.{:03} s", nanos / 1_000_000_000, nanos / 1_000_000 % 1000);
        let rows = [
            ("rules", a.rules.to_string(), b.rules.to_string()),
            ("events", a.events.to_string(), b.events.to_string()),
            ("simulated time", seconds(a.simulated), seconds(b.simulated)),
            ("hosts", a.hosts.to_string(), b.hosts.to_string()),
            ("partitions", a.partitions.to_string(), b.partitions.to_string()),
        ];
        let mut text = format!("{:<16}{:>12}{:>12}\n", "", "before", "after");
        for (what, before, after) in rows {
            let _ = writeln!(text, "{what:<16}{before:>12}{after:>12}");
        }
        text
    }

    /// A test, ready to be pasted, for the repro at `path` beside the package's manifest.
    #[must_use]
    pub fn test(&self, path: &str) -> String {
        let expected = &self.repro.expected;
        let id = expected.invariant.as_deref().unwrap_or("a rule");
        let defects = &self.repro.scenario.cluster.defects;
        let cause = if defects.is_empty() { String::new() } else { format!("_with_{}", defects.join("_and_")) };
        let rule = judges::explain(id).map_or(id, |rule| rule.name);
        let name: String = format!("{rule}{cause}")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .collect();
        let headline = expected.headline.as_deref().unwrap_or("");
        let outcome = if defects.is_empty() { "holds" } else { "is_caught" };
        format!("/// {id}: {headline}\n#[test]\nfn {name}_{outcome}() {{\n    tribunal::check_repro({path:?});\n}}\n")
    }
}
