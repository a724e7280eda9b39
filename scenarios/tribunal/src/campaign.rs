//! Campaigns: many seeds of many scenarios, and what became of them.
//!
//! A campaign goes through the seeds in order and runs every scenario with each of them, so that whenever it stops, all
//! scenarios have been tried alike; but for those that are asked for [ahead](Ahead). A shard takes whole seeds. What a campaign says of its runs does not depend on how many
//! threads it had, and several shards' outcomes [merged](merge) are that of one campaign.

mod gate;
mod junit;
mod outcome;
mod summary;

use std::ops::ControlFlow;
use std::sync::Mutex;

use engine::Verdict;
use search::{Failure, Shard, first_difference};
use world::BadInput;

pub use gate::{Gate, Unmet};
pub use junit::junit;
pub use outcome::{Asked, CampaignOutcome, Noted, ScenarioOutcome, Shards, Stopped, Times, merge};
pub use summary::{Summary, summary};

use crate::check::Seed;
use crate::prepared::{Prepared, Run, STEP_BUDGET, Watch, run_within};
use crate::report;

/// Records of two runs are compared so often before a difference that was seen once is given up on.
const ATTEMPTS: usize = 4;

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The scenarios; each is run with each seed.
    pub scenarios: Vec<Prepared>,
    /// What is run before the seeds have their turn one by one.
    pub ahead: Ahead,
    /// The first seed.
    pub from: u64,
    /// The seed behind the last; none to go on until it is told to stop.
    pub to: Option<u64>,
    /// Which of the seeds are this one's.
    pub shard: Shard,
    /// Threads; it changes nothing but the speed.
    pub jobs: usize,
    /// Run each seed twice with a digest of every byte, and compare the traces.
    pub verify: bool,
    /// Stop at the first run that does not hold.
    pub stop_at_first: bool,
    /// Events a run may take off its queue before it is undecided.
    pub step_budget: u64,
}

/// The first few scenarios, with the first few seeds: they are run before everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// So many scenarios, from the first on.
    pub scenarios: usize,
    /// So many seeds, from the first on.
    pub seeds: u64,
}

/// What one run came to.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The run.
    pub seed: Seed,
    /// If a rule was broken: the signature of the failure, and the failure.
    pub failure: Option<(u64, Failure)>,
    /// If it was run twice and the traces differ: how.
    pub differs: Option<String>,
}

/// A run whose result was just taken.
#[derive(Debug)]
pub struct Taken<'a> {
    /// Its scenario.
    pub prepared: &'a Prepared,
    /// The scenario's place in the campaign.
    pub scenario: usize,
    /// What it came to; none if the testbed is at fault.
    pub ran: Option<&'a Ran>,
    /// True if its failure is the first of its group: then its seed is the smallest of the group, too.
    pub is_first_of_group: bool,
    /// The campaign so far, with this run.
    pub so_far: &'a CampaignOutcome,
}

impl Campaign {
    /// Every seed of these scenarios in order, until it is told to stop.
    #[must_use]
    pub const fn new(scenarios: Vec<Prepared>) -> Self {
        Self {
            scenarios,
            ahead: Ahead { scenarios: 0, seeds: 0 },
            from: 0,
            to: None,
            shard: Shard::WHOLE,
            jobs: 1,
            verify: false,
            stop_at_first: false,
            step_budget: STEP_BUDGET,
        }
    }

    /// How many runs it is; none if it goes on until it is told to stop.
    #[must_use]
    pub fn runs(&self) -> Option<u64> {
        let seeds = self.to?.saturating_sub(self.from);
        let (index, of) = (self.shard.index(), self.shard.of());
        let own = seeds / of + u64::from(index < seeds % of);
        Some(own.saturating_mul(self.scenarios.len() as u64))
    }

    /// Its outcome before the first run.
    #[must_use]
    pub fn outcome(&self) -> CampaignOutcome {
        CampaignOutcome::new(self)
    }

    /// Runs it. `stop` says whether it is time, and why; `taken` is told of every run in order, on the caller's thread, and
    /// may answer with a difference it has found between two runs of that seed.
    pub fn run(
        &self,
        stop: &(dyn Fn() -> Option<Stopped> + Sync),
        taken: &mut dyn FnMut(&Taken<'_>) -> Option<String>,
    ) -> CampaignOutcome {
        let mut outcome = self.outcome();
        let stopped = Mutex::new(None);
        let go_on = || {
            let why = stop();
            if why.is_some() {
                *stopped.lock().expect("no thread panics with the lock") = why;
            }
            why.is_none()
        };
        let last = self.to.map_or(u64::MAX, |to| to.saturating_sub(1));
        let is_empty = self.to.is_some_and(|to| to <= self.from);
        let seeds = || (self.from..=last).take_while(|_| !is_empty).filter(|seed| self.shard.takes(seed - self.from));
        let is_ahead =
            |scenario: usize, seed: u64| scenario < self.ahead.scenarios && seed - self.from < self.ahead.seeds;
        let all = |seed: u64| (0..self.scenarios.len()).map(move |scenario| (scenario, seed));
        let first = seeds().take_while(|seed| seed - self.from < self.ahead.seeds).flat_map(all);
        let first = first.filter(|&(scenario, seed)| is_ahead(scenario, seed));
        let then = seeds().flat_map(all).filter(|&(scenario, seed)| !is_ahead(scenario, seed));
        let jobs = first.chain(then);
        let run = |&(scenario, seed): &(usize, u64)| self.one(&self.scenarios[scenario], seed);
        let mut is_first_failure = false;
        search::campaign(jobs, self.jobs, &go_on, &run, &mut |(scenario, seed), result| {
            let it = &mut outcome.scenarios[scenario];
            let is_first_of_group = match &result {
                Ok(ran) => it.add(ran),
                Err(panicked) => {
                    it.seeds.push(seed);
                    it.faulty.push(Noted { seed, what: panicked.to_string() });
                    false
                }
            };
            let holds = result.as_ref().is_ok_and(|ran| ran.seed.held() && ran.differs.is_none());
            let prepared = &self.scenarios[scenario];
            let ran = result.as_ref().ok();
            let found = taken(&Taken { prepared, scenario, ran, is_first_of_group, so_far: &outcome });
            if let Some(what) = found {
                outcome.scenarios[scenario].differing.push(Noted { seed, what });
            }
            if self.stop_at_first && !holds {
                is_first_failure = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let is_done = self.runs().is_some_and(|runs| runs == outcome.runs());
        outcome.stopped = match (is_done, is_first_failure) {
            (true, _) => None,
            (false, true) => Some(Stopped::FirstFailure),
            (false, false) => stopped.into_inner().expect("no thread panics with the lock"),
        };
        outcome
    }

    fn one(&self, prepared: &Prepared, seed: u64) -> Ran {
        let watch = Watch { verify: self.verify, ..Watch::LIGHT };
        // Scenario and files were checked together before: what is wrong now is the testbed's fault.
        let run = self.make(prepared, seed, watch).unwrap_or_else(|error| panic!("{error}"));
        let failure = failure(&run);
        let mut ran = Ran { seed: Seed::of(&run), failure, differs: None };
        if self.verify {
            drop(run);
            let again = self.make(prepared, seed, watch).unwrap_or_else(|error| panic!("{error}"));
            if again.outcome.hash != ran.seed.hash {
                let (one, other) = (ran.seed.hash, again.outcome.hash);
                drop(again);
                ran.differs = Some(self.difference(prepared, seed, one, other));
            }
        }
        ran
    }

    fn make(&self, prepared: &Prepared, seed: u64, watch: Watch) -> Result<Run, BadInput> {
        let (setup, mut world) = prepared.world(seed, watch)?;
        let outcome = run_within(&mut world, &setup, self.step_budget);
        Ok(Run { setup, watch, outcome, world: Box::new(world) })
    }

    /// Where two runs of a seed part: they are made again, with a record.
    fn difference(&self, prepared: &Prepared, seed: u64, one: u64, other: u64) -> String {
        let watch = Watch { record: true, verify: self.verify, ..Watch::LIGHT };
        for _ in 0..ATTEMPTS {
            let runs = [(); 2].map(|()| self.make(prepared, seed, watch).unwrap_or_else(|error| panic!("{error}")));
            let [Some(a), Some(b)] = [&runs[0], &runs[1]].map(|run| run.world.recording()) else {
                unreachable!("these runs are recorded")
            };
            let names = runs[0].setup.topology.names();
            if let Some(difference) = first_difference(a, b, &|host| names[host.0 as usize].clone()) {
                return format!("two runs part at {difference}");
            }
        }
        format!("two runs end with {one:016x} and {other:016x}, and {ATTEMPTS} recorded pairs of runs do not part")
    }
}

/// The failure of a run, with its signature; none if it has none.
fn failure(run: &Run) -> Option<(u64, Failure)> {
    let Verdict::Violated(violations) = &run.outcome.verdict else { return None };
    let violation = violations.first()?;
    let (invariant, name, headline) = report::title(violation);
    let failure = Failure { seed: run.setup.seed, invariant, name, headline, hash: run.outcome.hash };
    Some((violation.signature(), failure))
}
