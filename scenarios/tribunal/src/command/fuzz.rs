//! `tribunal fuzz`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{ArgAction, Args};
use indicatif::{ProgressBar, ProgressStyle};
use machine::Digest;
use render::Level;
use search::Shard;
use tribunal::campaign::{Ahead, Campaign, CampaignOutcome, Gate, Stopped, Summary, Taken, Unmet, junit, summary};
use tribunal::score::{self, Target};
use tribunal::{Changes, Prepared, Repro, SCENARIOS, STEP_BUDGET, Source, Watch, read};
use world::BadInput;

use super::run::{ChangeArguments, quiet_panics, seed};
use super::{Failure, TESTBED_AT_FAULT, files, narrate, print};

/// So many seeds are run if neither `--seeds` nor `--for` says otherwise.
const SEEDS: u64 = 100;

/// Runs many seeds, groups what fails, and keeps a repro of each group.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal fuzz --for 10m
  tribunal fuzz --defect KAFKA-1211 --first
  tribunal fuzz session-expiry --seeds 0..200 --defect ZOOKEEPER-1208
  tribunal fuzz power-loss leader-crash --for 1h --from 1000000 --junit out.xml --json out.json
  tribunal fuzz --seeds 0..20000 --shard 3/8 --json shard-3.json
  tribunal fuzz steady --seeds 0..10 --verify

Every scenario is run with each seed before the next seed's turn comes. With --defect and no
scenario named, the scenario in which tribunal score looks for that defect comes first, with as
many seeds as its budget has, and then the catalogue, without the scenarios in which it cannot
show. The result does not depend on --jobs. Interrupting it (Ctrl-C, SIGTERM) finishes the runs
that have begun and reports on all that were done; so does the end of --for. The summary says
which seeds were run.

Which shard this is, if --shard does not say, is taken from the environment, from the first of:
  TRIBUNAL_SHARD=I/N                             a CI matrix, or your own script; I counts from 0
  JOB_COMPLETION_INDEX and TRIBUNAL_SHARDS=N     a Kubernetes Job with completionMode: Indexed
  SLURM_ARRAY_TASK_ID, _MIN, _STEP and _COUNT    a Slurm job array
  CI_NODE_INDEX and CI_NODE_TOTAL                GitLab CI with parallel: N")]
pub(crate) struct Fuzz {
    /// Scenarios of the catalogue (tribunal list), or files; none for the whole catalogue.
    scenarios: Vec<String>,
    /// The seeds, such as 0..1000; the last one is not among them. 0..100 unless --for is given.
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// Goes on for so long, such as 90s, 10m or 8h.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// The first seed, with --for. "random" takes one from the clock and prints it.
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    from: Option<String>,
    #[command(flatten)]
    changes: ChangeArguments,
    /// Threads, one world on each; as many as there are cores unless it is given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Takes every Nth seed only, beginning with the one at place I, from 0.
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    /// Stops at the first run that does not hold.
    #[arg(long)]
    first: bool,
    /// Runs each seed twice with a digest of every byte of every message, and compares the traces.
    #[arg(long)]
    verify: bool,
    /// Fails if marks were not reached that a campaign must reach: those of the list that comes with the command, or of a file.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    gate: Option<Option<PathBuf>>,
    /// Events a run may take off its queue before it is given up as undecided.
    #[arg(long, value_name = "N", default_value_t = STEP_BUDGET)]
    steps: u64,
    /// Where the first repro of each group of failures is kept.
    #[arg(long, value_name = "DIR", default_value = "target/tribunal")]
    keep: PathBuf,
    #[command(flatten)]
    exports: OutcomeArguments,
}

/// What a campaign leaves behind beside its summary.
#[derive(Debug, Args)]
pub(crate) struct OutcomeArguments {
    /// Writes the outcome as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Writes the outcome as JSON; tribunal merge reads it.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only the headline and one line for each group of failures.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Also names each run that breaks a rule, and the marks that a single scenario never reached.
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

impl OutcomeArguments {
    /// Prints the summary and writes the files. The exit status is the outcome's.
    pub(crate) fn report(
        &self,
        outcome: &CampaignOutcome,
        kept: &BTreeMap<(String, u64), String>,
        unmet: Option<&[Unmet]>,
    ) -> Result<u8, Failure> {
        let level = match (self.quiet, self.verbose) {
            (true, _) => Level::Quiet,
            (false, 0) => Level::Normal,
            (false, _) => Level::Verbose,
        };
        let shown = Summary { outcome, kept, unmet, level };
        print(&summary(&shown));
        let mut result = Ok(shown.verdict().status());
        let exports =
            [(&self.json, outcome.to_json(), "the outcome"), (&self.junit, junit(outcome, unmet), "the JUnit file")];
        for (path, text, what) in exports {
            let Some(path) = path else { continue };
            match files::write(path, &text, what) {
                Ok(()) => narrate(&format!("wrote      {}", path.display())),
                // A later step reads this file: that it is not there must not look like success.
                Err(error) => result = Err(Failure::Other(TESTBED_AT_FAULT, error)),
            }
        }
        result
    }
}

/// How often the campaign was interrupted.
static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are given as A..B, such as 0..1000")?;
    let (from, to) = (seed(from)?, seed(to)?);
    if from < to {
        Ok(from..to)
    } else {
        Err(format!("there is no seed in {from}..{to}; the second number is not among them"))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let span = engine::parse_span(text).map_err(|error| error.to_string())?;
    Ok(Duration::from_nanos(span.as_nanos()))
}

impl Fuzz {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let gate = match &self.gate {
            None => None,
            Some(None) => Some(Gate::of_the_catalogue()),
            Some(Some(path)) => Some(Gate::parse(&path.display().to_string(), &read(path)?)?),
        };
        let shard = shard(self.shard.as_deref())?;
        let (from, to) = self.range(shard)?;
        let (scenarios, ahead) = scenarios(&self.scenarios, &self.changes.changes()?)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let campaign = Campaign {
            from,
            to,
            shard,
            jobs: self.jobs.map_or(cores, usize::from),
            verify: self.verify,
            stop_at_first: self.first,
            step_budget: self.steps,
            ahead,
            ..Campaign::new(scenarios)
        };
        let started = Instant::now();
        let ends = self.time.and_then(|time| started.checked_add(time));
        quiet_panics();
        interruptible()?;
        let stop = || {
            if INTERRUPTED.load(Ordering::SeqCst) > 0 {
                return Some(Stopped::Interrupted);
            }
            ends.filter(|&ends| Instant::now() >= ends).map(|_| Stopped::TimeIsUp)
        };
        let mut watching = Watching::new(&campaign, self.keep, self.exports.verbose > 0);
        let outcome = campaign.run(&stop, &mut |taken| watching.taken(taken));
        let kept = watching.finish();
        let unmet = gate.map(|gate| gate.unmet(&outcome));
        let status = self.exports.report(&outcome, &kept, unmet.as_deref())?;
        let (runs, ms) = (outcome.runs(), u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1));
        let (seconds, tenths) = (ms / 1_000, ms / 100 % 10);
        narrate(&format!("took       {seconds}.{tenths} s, {} runs a minute", runs.saturating_mul(60_000) / ms));
        Ok(status)
    }

    /// Which seeds are asked for, and says so where the user did not.
    fn range(&self, shard: Shard) -> Result<(u64, Option<u64>), Failure> {
        if let Some(seeds) = &self.seeds {
            return Ok((seeds.start, Some(seeds.end)));
        }
        let from = match self.from.as_deref() {
            None => 0,
            Some("random") => {
                if shard.of() > 1 {
                    let what = "each shard would take seeds of its own, and some twice";
                    return Err(BadInput::new("--from random", None, what)
                        .hint("give every shard the same number")
                        .into());
                }
                let from = random();
                narrate(&format!("from       seed {from}"));
                from
            }
            Some(text) => seed(text).map_err(|what| BadInput::new("--from", None, what))?,
        };
        Ok((from, self.time.is_none().then(|| from.saturating_add(SEEDS))))
    }
}

/// A first seed from the host's clock; small enough to be read aloud.
fn random() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut digest = Digest::new();
    digest.word(now.as_secs());
    digest.word(u64::from(now.subsec_nanos()));
    digest.value() >> 24
}

fn shard(given: Option<&str>) -> Result<Shard, BadInput> {
    let bad = |error: search::ShardError, place: &str| BadInput::new(place, None, error.what).hint(error.hint);
    if let Some(text) = given {
        return text.parse().map_err(|error| bad(error, "--shard"));
    }
    let found = Shard::from_environment(&|name| std::env::var(name).ok());
    let Some((shard, from)) = found.map_err(|error| bad(error.clone(), error.variable))? else {
        return Ok(Shard::WHOLE);
    };
    narrate(&format!("shard      {shard}, says {from}"));
    Ok(shard)
}

/// Those that are named; or all in which what is asked for can show, with those that hunt it ahead.
fn scenarios(named: &[String], changes: &Changes) -> Result<(Vec<Prepared>, Ahead), Failure> {
    if !named.is_empty() {
        let mut all: Vec<Prepared> = Vec::new();
        for name in named {
            let prepared = Prepared::new(&Source::named(name)?, changes)?;
            if all.iter().any(|it| it.name == prepared.name) {
                return Err(BadInput::new(name, None, "is named twice: each seed would be run twice").into());
            }
            all.push(prepared);
        }
        return Ok((all, Ahead::default()));
    }
    let mut all = Vec::new();
    let mut ahead = Ahead::default();
    let mut without = 0;
    let of_kafka = |id: &String| id.starts_with("KAFKA-");
    let needs_brokers = !changes.defects.is_empty() && changes.defects.iter().all(of_kafka);
    for Target { scenario, seeds, .. } in score::targets().into_iter().filter(|it| changes.defects.contains(&it.id)) {
        if all.iter().all(|it: &Prepared| it.name != scenario) {
            narrate(&format!("hunts      {scenario}, {seeds} seeds of it ahead of all others"));
            all.push(Prepared::new(&Source::named(&scenario)?, changes)?);
            ahead = Ahead { scenarios: all.len(), seeds: ahead.seeds.max(seeds) };
        }
    }
    let begun: Vec<String> = all.iter().map(|prepared| prepared.name.clone()).collect();
    for entry in SCENARIOS.iter().filter(|entry| !begun.iter().any(|name| name == entry.name)) {
        let prepared = Prepared::new(&Source::catalogue(entry.name)?, changes)?;
        if needs_brokers && prepared.scenario.cluster.brokers.choices().iter().all(|&count| count == 0) {
            without += 1;
        } else {
            all.push(prepared);
        }
    }
    if without > 0 {
        narrate(&format!("without    {without} scenarios of the catalogue that have no brokers"));
    }
    Ok((all, ahead))
}

/// The first Ctrl-C or SIGTERM ends the campaign after the runs that have begun; a second one ends the process.
fn interruptible() -> Result<(), Failure> {
    let handler = || {
        if INTERRUPTED.fetch_add(1, Ordering::SeqCst) > 0 {
            std::process::exit(130);
        }
        narrate("interrupted; runs that have begun are finished (again: give up at once)");
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Other(TESTBED_AT_FAULT, error.into()))
}

/// What is shown and kept while the campaign goes on.
struct Watching {
    bar: ProgressBar,
    keep: PathBuf,
    kept: BTreeMap<(String, u64), String>,
    is_verified: bool,
    says_all: bool,
}

impl Watching {
    fn new(campaign: &Campaign, keep: PathBuf, says_all: bool) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            let (bar, template) = match campaign.runs() {
                Some(runs) => (ProgressBar::new(runs), "{elapsed} [{bar:30}] {pos} of {len} runs, {eta} left; {msg}"),
                None => (ProgressBar::new_spinner(), "{elapsed} {spinner} {pos} runs; {msg}"),
            };
            bar.set_style(ProgressStyle::with_template(template).expect("a constant"));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        } else {
            ProgressBar::hidden()
        };
        bar.set_message("no failure");
        Self { bar, keep, kept: BTreeMap::new(), is_verified: campaign.verify, says_all }
    }

    fn taken(&mut self, taken: &Taken<'_>) -> Option<String> {
        self.bar.inc(1);
        let ran = taken.ran?;
        let (signature, failure) = ran.failure.as_ref()?;
        let groups: usize = taken.so_far.scenarios.iter().map(|it| it.failures.len()).sum();
        self.bar.set_message(format!("failures: {groups}, in runs: {}", taken.so_far.violated()));
        let seed = ran.seed.seed;
        if self.says_all || taken.is_first_of_group {
            let line = format!("found      {} by {} with seed {seed}", failure.invariant, taken.prepared.name);
            self.bar.suspend(|| narrate(&line));
        }
        if !taken.is_first_of_group {
            return None;
        }
        match keep(&self.keep, taken.prepared, seed, *signature, &failure.invariant) {
            Ok((path, hash)) => {
                let path = path.display().to_string();
                self.bar.suspend(|| narrate(&format!("kept       {path}")));
                self.kept.insert((taken.prepared.name.clone(), *signature), path);
                // A verified run digests more, and has another hash.
                let differs = !self.is_verified && hash != failure.hash;
                differs.then(|| {
                    format!("it ended with trace {:016x}, and made again for its repro with {hash:016x}", failure.hash)
                })
            }
            Err(error) => {
                self.bar.suspend(|| narrate(&format!("warning: {error:#}\n  hint: --keep DIR keeps repros elsewhere")));
                None
            }
        }
    }

    fn finish(self) -> BTreeMap<(String, u64), String> {
        self.bar.finish_and_clear();
        self.kept
    }
}

/// Makes the run again, with a record, and keeps its repro. Also says the hash of that run.
fn keep(
    directory: &Path,
    prepared: &Prepared,
    seed: u64,
    signature: u64,
    invariant: &str,
) -> anyhow::Result<(PathBuf, u64)> {
    let run = prepared.run(seed, Watch::FULL)?;
    let recording = run.world.recording().expect("a full watch records");
    let repro = Repro::of(prepared, seed, &run.outcome)?.with_trail(recording);
    let stem = Path::new(&prepared.name).file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy());
    let mut digest = Digest::new();
    digest.word(signature);
    digest.word(prepared.config_digest());
    let path = directory.join(format!("{stem}-{invariant}-{:08x}.repro.json", digest.value() >> 32));
    files::write(&path, &repro.to_json(), "the repro")?;
    Ok((path, run.outcome.hash))
}

#[cfg(test)]
mod tests {
    use super::{duration, seeds};

    #[test]
    fn seeds_and_times_are_read_and_wrong_ones_refused() {
        assert_eq!(seeds("0x10..20").unwrap(), 16..20);
        assert!(seeds("5..5").unwrap_err().contains("no seed in 5..5"));
        assert!(seeds("5").unwrap_err().contains("A..B"));
        assert_eq!(duration("10m").unwrap().as_secs(), 600);
        assert!(duration("10").is_err());
    }
}
