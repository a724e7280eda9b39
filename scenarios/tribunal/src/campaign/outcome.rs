//! The outcome of a campaign, as a file: what shards leave behind, and how they become one again.

use std::collections::BTreeMap;

use machine::Digest;
use record::Outcome;
use search::{Groups, Seeds};
use serde::{Deserialize, Serialize};
use world::BadInput;

use super::{Campaign, Ran};
use crate::report::{COMMIT, VERSION};
use crate::versioned::{self, Kind};

/// The version of the file's form; a reader refuses any other.
const SCHEMA: u32 = 1;

/// As files that are read again.
const KIND: Kind = Kind {
    what: "an outcome of a campaign",
    schema: SCHEMA,
    origin: "outcomes are written by tribunal fuzz --json FILE and tribunal merge --json FILE",
    elsewhere: "merge it with the version that wrote it",
};

/// What became of a campaign, or of one shard of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignOutcome {
    /// The version of the form, as its writer had it.
    pub schema: u32,
    /// Version of the testbed that wrote it.
    pub version: String,
    /// The commit that was built from, if known.
    pub commit: Option<String>,
    /// The arguments behind `tribunal run NAME --seed N` that repeat a run.
    pub arguments: String,
    /// Historical defects that were switched on, by public id.
    pub defects: Vec<String>,
    /// Whether each seed was run twice, with a digest of every byte. The hashes are others then.
    pub verified: bool,
    /// Which seeds were asked for.
    pub asked: Asked,
    /// Which parts of them these are.
    pub shards: Shards,
    /// Why it ended before all of them were run; none if they were.
    pub stopped: Option<Stopped>,
    /// Each scenario, in the order in which they were run with each seed.
    pub scenarios: Vec<ScenarioOutcome>,
}

/// The seeds of a campaign, over all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The first.
    pub from: u64,
    /// The one behind the last; none if a time was given instead.
    pub to: Option<u64>,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to {
            Some(to) => write!(f, "{}..{to}", self.from),
            None => write!(f, "from {} on", self.from),
        }
    }
}

/// Parts of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shards {
    /// How many there are.
    pub of: u64,
    /// Which of them are here, from 0, in order.
    pub have: Vec<u64>,
}

impl Shards {
    /// Those that are not here.
    #[must_use]
    pub fn missing(&self) -> Vec<u64> {
        (0..self.of).filter(|index| !self.have.contains(index)).collect()
    }
}

/// Why a campaign ended before its last seed; the later ones matter more when shards are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// The time it was given is over, as was asked for.
    TimeIsUp,
    /// It was to stop at the first run that does not hold.
    FirstFailure,
    /// Somebody interrupted it.
    Interrupted,
}

/// What became of one scenario's runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioOutcome {
    /// Its name, or the path it was read from.
    pub name: String,
    /// Digest of scenario and configuration.
    #[serde(with = "search::hex")]
    pub digest: u64,
    /// The seeds it was run with.
    pub seeds: Seeds,
    /// Runs in which every rule held.
    pub held: u64,
    /// Inputs delivered, over all runs.
    pub events: u64,
    /// Simulated milliseconds, over all runs.
    pub simulated_ms: u64,
    /// A digest of the trace hashes of all runs, whatever their order: equal for equal runs.
    #[serde(with = "search::hex")]
    pub traces: u64,
    /// Runs in which a rule was broken, grouped.
    pub failures: Groups,
    /// Runs without a verdict, and why.
    pub undecided: Vec<Noted>,
    /// Seeds that gave two traces, and where these part.
    pub differing: Vec<Noted>,
    /// Runs in which the testbed is at fault.
    pub faulty: Vec<Noted>,
    /// Rules whose breaking the configuration excused.
    pub excused: BTreeMap<String, Times>,
    /// Known holes of the real systems that runs went through.
    pub holes: BTreeMap<String, Times>,
    /// Marks reached.
    pub marks: BTreeMap<String, Times>,
}

/// A seed and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// The seed.
    pub seed: u64,
    /// A sentence.
    pub what: String,
}

/// How often something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// In how many runs.
    pub runs: u64,
    /// How often in all of them.
    pub times: u64,
    /// The smallest seed.
    pub first: u64,
}

impl Times {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            times: self.times.saturating_add(other.times),
            first: self.first.min(other.first),
        }
    }
}

/// Counts what one run has seen.
fn count(into: &mut BTreeMap<String, Times>, seen: &BTreeMap<&'static str, u64>, seed: u64) {
    for (&name, &times) in seen {
        let once = Times { runs: 1, times, first: seed };
        match into.get_mut(name) {
            Some(all) => *all = all.and(once),
            None => {
                into.insert(name.to_owned(), once);
            }
        }
    }
}

fn join(into: &mut BTreeMap<String, Times>, other: BTreeMap<String, Times>) {
    for (name, times) in other {
        into.entry(name).and_modify(|all| *all = all.and(times)).or_insert(times);
    }
}

impl ScenarioOutcome {
    /// Adds a run; true if it failed as none before it did.
    pub(super) fn add(&mut self, ran: &Ran) -> bool {
        let seed = &ran.seed;
        self.seeds.push(seed.seed);
        self.events += seed.events;
        self.simulated_ms += seed.simulated / 1_000_000;
        let mut digest = Digest::new();
        digest.word(seed.seed);
        digest.word(seed.hash);
        self.traces = self.traces.wrapping_add(digest.value());
        count(&mut self.excused, &seed.excused, seed.seed);
        count(&mut self.holes, &seed.holes, seed.seed);
        count(&mut self.marks, &seed.marks, seed.seed);
        if let Some(what) = &ran.differs {
            self.differing.push(Noted { seed: seed.seed, what: what.clone() });
        }
        if let Some(what) = &seed.undecided {
            self.undecided.push(Noted { seed: seed.seed, what: what.clone() });
        }
        if seed.held() {
            self.held += 1;
        }
        match &ran.failure {
            Some((signature, failure)) => self.failures.add(*signature, failure.clone()),
            None => false,
        }
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.seeds.count()
    }

    /// Adds the runs of another shard.
    fn merge(&mut self, other: Self) {
        self.seeds.merge(other.seeds);
        self.held += other.held;
        self.events += other.events;
        self.simulated_ms += other.simulated_ms;
        self.traces = self.traces.wrapping_add(other.traces);
        self.failures.merge(other.failures);
        for (mine, theirs) in [
            (&mut self.undecided, other.undecided),
            (&mut self.differing, other.differing),
            (&mut self.faulty, other.faulty),
        ] {
            mine.extend(theirs);
            mine.sort();
        }
        join(&mut self.excused, other.excused);
        join(&mut self.holes, other.holes);
        join(&mut self.marks, other.marks);
    }
}

impl CampaignOutcome {
    /// Before the first run.
    pub(super) fn new(campaign: &Campaign) -> Self {
        let scenarios = campaign.scenarios.iter().map(|prepared| ScenarioOutcome {
            name: prepared.name.clone(),
            digest: prepared.config_digest(),
            seeds: Seeds::default(),
            held: 0,
            events: 0,
            simulated_ms: 0,
            traces: 0,
            failures: Groups::new(),
            undecided: Vec::new(),
            differing: Vec::new(),
            faulty: Vec::new(),
            excused: BTreeMap::new(),
            holes: BTreeMap::new(),
            marks: BTreeMap::new(),
        });
        let first = campaign.scenarios.first();
        Self {
            schema: SCHEMA,
            version: VERSION.to_owned(),
            commit: COMMIT.map(str::to_owned),
            arguments: first.map_or_else(String::new, |prepared| prepared.arguments.clone()),
            defects: first.map_or_else(Vec::new, |prepared| prepared.scenario.cluster.defects.clone()),
            verified: campaign.verify,
            asked: Asked { from: campaign.from, to: campaign.to },
            shards: Shards { of: campaign.shard.of(), have: vec![campaign.shard.index()] },
            stopped: None,
            scenarios: scenarios.collect(),
        }
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.scenarios.iter().map(ScenarioOutcome::runs).sum()
    }

    /// How many runs broke a rule.
    #[must_use]
    pub fn violated(&self) -> u64 {
        self.scenarios.iter().map(|it| it.failures.runs()).sum()
    }

    /// Marks reached, over all scenarios.
    #[must_use]
    pub fn marks(&self) -> BTreeMap<String, Times> {
        self.all(|it| &it.marks)
    }

    /// One of the counts, over all scenarios.
    pub(super) fn all(&self, which: fn(&ScenarioOutcome) -> &BTreeMap<String, Times>) -> BTreeMap<String, Times> {
        let mut all = BTreeMap::new();
        self.scenarios.iter().for_each(|it| join(&mut all, which(it).clone()));
        all
    }

    /// The outcome of the campaign: that of its worst run, where a fault of the testbed is worse than traces that differ,
    /// these worse than a broken rule, and that worse than a run without a verdict or one that is missing.
    #[must_use]
    pub fn verdict(&self) -> Outcome {
        let any = |is: fn(&ScenarioOutcome) -> bool| self.scenarios.iter().any(is);
        if any(|it| !it.faulty.is_empty()) {
            Outcome::TestbedAtFault
        } else if any(|it| !it.differing.is_empty()) {
            Outcome::NotDeterministic
        } else if any(|it| !it.failures.is_empty()) {
            Outcome::Violated
        } else if any(|it| !it.undecided.is_empty()) || self.is_incomplete() {
            Outcome::Undecided
        } else {
            Outcome::Held
        }
    }

    /// True if runs are missing that were asked for: it was interrupted, or is not whole. (A shard alone is.)
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.stopped == Some(Stopped::Interrupted) || self.shards.have.len() > 1 && !self.shards.missing().is_empty()
    }

    /// The command that repeats one of its runs.
    #[must_use]
    pub fn command(&self, scenario: &str, seed: u64) -> String {
        format!("tribunal run {scenario} --seed {seed}{}", self.arguments)
    }

    /// As text.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("an outcome is plain data") + "\n"
    }

    /// From a file's text.
    ///
    /// # Errors
    /// If it is none, or one of another version.
    pub fn from_json(file: &str, text: &str) -> Result<Self, BadInput> {
        versioned::read(&KIND, file, text)
    }
}

/// Makes one outcome of several shards', each with its file's name. If all shards are there, it is that of the whole
/// campaign; which are missing, its [`Shards`] say.
///
/// # Errors
/// If there is none, if they are not of one campaign, or if one run is in two of them.
pub fn merge(outcomes: Vec<(String, CampaignOutcome)>) -> Result<CampaignOutcome, BadInput> {
    let mut outcomes = outcomes.into_iter();
    let Some((first, mut merged)) = outcomes.next() else {
        return Err(BadInput::new("merge", None, "there is nothing to merge"));
    };
    let mut from = vec![(first.clone(), merged.scenarios.iter().map(|it| it.seeds.clone()).collect::<Vec<_>>())];
    for (file, other) in outcomes {
        fits(&merged, &first, &other, &file)?;
        for (at, theirs) in other.scenarios.iter().enumerate() {
            let twice = from.iter().find_map(|(earlier, seeds)| Some((earlier, seeds[at].common(&theirs.seeds)?)));
            if let Some((earlier, seed)) = twice {
                let what = format!("has run {} with seed {seed}, and so has {earlier}", theirs.name);
                return Err(BadInput::new(&file, None, what).hint("each shard is merged once"));
            }
        }
        from.push((file, other.scenarios.iter().map(|it| it.seeds.clone()).collect()));
        merged.stopped = merged.stopped.max(other.stopped);
        merged.shards.have.extend(other.shards.have);
        for (mine, theirs) in merged.scenarios.iter_mut().zip(other.scenarios) {
            mine.merge(theirs);
        }
    }
    merged.shards.have.sort_unstable();
    merged.shards.have.dedup();
    if merged.shards.missing().is_empty() {
        merged.shards = Shards { of: 1, have: vec![0] };
    }
    Ok(merged)
}

/// Two outcomes are of one campaign, or it is said why not.
fn fits(one: &CampaignOutcome, file: &str, other: &CampaignOutcome, beside: &str) -> Result<(), BadInput> {
    let differ = |what: &str, theirs: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug| {
        let what = format!("is no shard of the campaign of {file}: its {what} {theirs:?}, there {ours:?}");
        Err(BadInput::new(beside, None, what).hint("shards of one campaign differ in --shard alone"))
    };
    if one.commit != other.commit {
        return differ("commit is", &other.commit, &one.commit);
    }
    if one.defects != other.defects {
        return differ("defects are", &other.defects, &one.defects);
    }
    if one.arguments != other.arguments {
        return differ("arguments are", &other.arguments.trim(), &one.arguments.trim());
    }
    if one.verified != other.verified {
        return differ("--verify is", &other.verified, &one.verified);
    }
    if one.asked != other.asked {
        return differ("seeds are", &format_args!("{}", other.asked), &format_args!("{}", one.asked));
    }
    if one.shards.of != other.shards.of {
        return differ("number of shards is", &other.shards.of, &one.shards.of);
    }
    let names = |outcome: &CampaignOutcome| outcome.scenarios.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    if names(one) != names(other) {
        return differ("scenarios are", &names(other), &names(one));
    }
    match one.scenarios.iter().zip(&other.scenarios).find(|(one, other)| one.digest != other.digest) {
        None => Ok(()),
        Some((one, other)) => {
            let what = format!("digest of scenario {} with its configuration is", one.name);
            differ(&what, &format!("{:016x}", other.digest), &format!("{:016x}", one.digest))
        }
    }
}
