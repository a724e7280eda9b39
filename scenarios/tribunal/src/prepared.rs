//! A scenario that is ready to be run with any seed.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Bound, Catalogue, Options, Outcome, Plan, Reached, Rule, ScheduleFault, When, World, check_schedule};
use judges::Court;
use machine::{Depth, Describe, Digest, Machine as _};
use serde::{Deserialize, Serialize};
use world::{
    ADMINS, BROKERS, BadInput, CLIENTS, COORDINATORS, Defect, Fact, Files, Node, OBSERVERS, Properties, Scenario,
    ServerProperties, Setup, ZooCfg, check_scenario, did_you_mean, load_with,
};

use crate::source::Source;

/// The world this command runs.
pub type JudgedWorld = World<Node, Court>;

/// Events a run may take off its queue before it is undecided.
pub const STEP_BUDGET: u64 = 200_000_000;

/// Worlds that are running in this process: inside them a panic is caught, and is a finding.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// True while a world runs: a panic then is a finding of that run, and no news for a panic hook.
#[must_use]
pub fn is_running_a_world() -> bool {
    RUNNING.load(Ordering::SeqCst) > 0
}

/// What a user may change about a scenario without touching its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// `key=value` overrides.
    pub sets: Vec<String>,
    /// Defects to switch on, by public id.
    pub defects: Vec<String>,
    /// A `zoo.cfg`: its path and its text.
    pub zoo_cfg: Option<(String, String)>,
    /// A `server.properties`: its path and its text.
    pub server_properties: Option<(String, String)>,
    /// Unknown keys of configuration files are errors.
    pub strict_config: bool,
}

/// A configuration file as it was given: its path and its text.
pub type GivenFile = (String, String);

/// The configuration files as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// A `zoo.cfg`.
    pub zoo_cfg: Option<GivenFile>,
    /// A `server.properties`.
    pub server_properties: Option<GivenFile>,
}

impl Given {
    /// Reads them.
    ///
    /// # Errors
    /// The first thing that is wrong in one of them.
    fn parse(&self) -> Result<Files, BadInput> {
        let zoo_cfg = self.zoo_cfg.as_ref().map(|(name, text)| ZooCfg::parse(name, text));
        let properties = self.server_properties.as_ref().map(|(name, text)| ServerProperties::parse(name, text));
        Ok(Files { zoo_cfg: zoo_cfg.transpose()?, server_properties: properties.transpose()? })
    }
}

/// A scenario, loaded and checked.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What messages call it.
    pub name: String,
    /// The scenario.
    pub scenario: Scenario,
    /// The configuration files as they were given.
    pub given: Given,
    /// The same, read.
    pub files: Files,
    /// The schedule, if it is not the one that scenario and nemesis draw.
    pub schedule: Option<Vec<Rule>>,
    /// The words behind `tribunal` that run it: `run` and the scenario, or `replay` and a file.
    pub words: String,
    /// The arguments behind them that make it this one.
    pub arguments: String,
}

/// How a run is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Keep the full record.
    pub record: bool,
    /// Digest every byte of every message.
    pub verify: bool,
    /// Go on behind a violation, to see what comes of it.
    pub keep_going: bool,
}

/// So many violations end a run that goes on behind the first.
const VIOLATIONS_MOST: usize = 32;

impl Watch {
    /// Nothing but the hash, the counts and the marks: for many runs.
    pub const LIGHT: Self = Self { record: false, verify: false, keep_going: false };
    /// The full record: for one run that somebody reads about.
    pub const FULL: Self = Self { record: true, verify: false, keep_going: false };
}

/// One run, over.
#[derive(Debug)]
pub struct Run {
    /// What it was made from.
    pub setup: Setup,
    /// How it was watched.
    pub watch: Watch,
    /// How it ended.
    pub outcome: Outcome,
    /// The world at its end.
    pub world: Box<JudgedWorld>,
}

impl Prepared {
    /// Loads a scenario and checks all of it: keys, values, schedule, configuration files.
    ///
    /// # Errors
    /// The first thing that is wrong, with place and hint.
    pub fn new(source: &Source, changes: &Changes) -> Result<Self, BadInput> {
        let mut sets = changes.sets.clone();
        if !changes.defects.is_empty() {
            for id in &changes.defects {
                let known = Defect::ids();
                if !known.contains(&id.as_str()) {
                    return Err(BadInput::new(&format!("--defect {id}"), None, format!("there is no defect `{id}`"))
                        .hint(did_you_mean(id, &known)));
                }
            }
            let quoted: Vec<String> = changes.defects.iter().map(|id| format!("\"{id}\"")).collect();
            sets.push(format!("cluster.defects=[{}]", quoted.join(", ")));
        }
        let scenario = load_with(&source.name, &source.text, &sets)?;
        let file = |given: &Option<GivenFile>, named: &Option<String>| match (given, named) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Some(named)) => source.beside(named).map(Some),
            (None, None) => Ok(None),
        };
        let given = Given {
            zoo_cfg: file(&changes.zoo_cfg, &scenario.cluster.zoo_cfg)?,
            server_properties: file(&changes.server_properties, &scenario.cluster.server_properties)?,
        };
        let prepared = Self {
            name: source.name.clone(),
            scenario,
            files: given.parse()?,
            given,
            schedule: None,
            words: format!("run {}", source.name),
            arguments: arguments(changes),
        };
        if changes.strict_config
            && let Some((properties, remark)) =
                prepared.configuration().find_map(|properties| Some((properties, properties.unknown.first()?)))
        {
            let what = format!("the key {} is {}", remark.key, remark.text);
            return Err(BadInput::new(&properties.file, Some(remark.line), what));
        }
        prepared.check(&source.text)?;
        Ok(prepared)
    }

    /// A scenario that is a value already, with its files and its schedule; all of it is checked.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn of(
        name: String,
        scenario: Scenario,
        given: Given,
        schedule: Option<Vec<Rule>>,
        words: String,
    ) -> Result<Self, BadInput> {
        check_scenario(&name, &scenario)?;
        let files = given.parse()?;
        let prepared = Self { name, scenario, given, files, schedule, words, arguments: String::new() };
        prepared.check("")?;
        Ok(prepared)
    }

    /// Draws the setup of a seed.
    ///
    /// # Errors
    /// If scenario and configuration files contradict each other.
    pub fn setup(&self, seed: u64) -> Result<Setup, BadInput> {
        let mut setup = Setup::draw(&self.scenario, &self.files, seed)?;
        if let Some(schedule) = &self.schedule {
            setup.schedule.clone_from(schedule);
        }
        Ok(setup)
    }

    /// The lines of the configuration files.
    pub fn configuration(&self) -> impl Iterator<Item = &Properties> {
        let zoo_cfg = self.files.zoo_cfg.iter().map(|cfg| &cfg.properties);
        zoo_cfg.chain(self.files.server_properties.iter().map(|file| &file.properties))
    }

    /// Holds the schedule against what there is: facts, roles, hosts and groups.
    fn check(&self, text: &str) -> Result<(), BadInput> {
        // Hosts depend on the seed where the file leaves the size open; names are checked against the largest.
        let most = *self.scenario.cluster.coordinators.choices().iter().max().expect("checked when it was loaded");
        let mut largest = self.scenario.clone();
        largest.cluster.coordinators = world::OneOf::Exactly(most);
        let most = *self.scenario.cluster.brokers.choices().iter().max().expect("checked when it was loaded");
        largest.cluster.brokers = world::OneOf::Exactly(most);
        let setup = Setup::draw(&largest, &self.files, 0)?;
        let catalogue = catalogue(&setup);
        check_schedule(self.schedule.as_ref().unwrap_or(&self.scenario.faults), &catalogue).map_err(|error| {
            let line = text
                .lines()
                .enumerate()
                .filter(|(_, line)| line.trim_start().starts_with("[[faults]]"))
                .nth(error.rule)
                .map(|(at, _)| at + 1);
            match &error.what {
                ScheduleFault::Unknown { what, name, known } => {
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    BadInput::new(&self.name, line, format!("this rule names the {what} `{name}`, which there is not"))
                        .hint(did_you_mean(name, &known))
                }
                ScheduleFault::Illegal { why } => {
                    BadInput::new(&self.name, line, format!("this rule is illegal: {why}"))
                }
            }
        })
    }

    /// Draws and makes the world of a seed, not yet run.
    ///
    /// # Errors
    /// If scenario and configuration files contradict each other.
    pub fn world(&self, seed: u64, watch: Watch) -> Result<(Setup, JudgedWorld), BadInput> {
        let setup = self.setup(seed)?;
        let situations = setup.schedule.iter().filter_map(|rule| match &rule.when {
            When::Fact(trigger) => Some(trigger.fact.clone()),
            When::At(_) => None,
        });
        let judges = Court::of(&setup.topology, true, situations.collect());
        let options = Options {
            record: watch.record,
            depth: if watch.verify { Depth::Encoded } else { Depth::Cheap },
            violations_most: if watch.keep_going { VIOLATIONS_MOST } else { 1 },
            budgeted: setup.budgeted,
            ..Options::default()
        };
        let world = World::new(seed, judges, setup.hosts.clone(), &setup.network, setup.schedule.clone(), options);
        Ok((setup, world))
    }

    /// Runs a seed to its end.
    ///
    /// # Errors
    /// If scenario and configuration files contradict each other.
    pub fn run(&self, seed: u64, watch: Watch) -> Result<Run, BadInput> {
        let (setup, mut world) = self.world(seed, watch)?;
        let outcome = run_to_end(&mut world, &setup);
        Ok(Run { setup, watch, outcome, world: Box::new(world) })
    }

    /// The command that repeats a run.
    #[must_use]
    pub fn command(&self, seed: u64, watch: Watch) -> String {
        let keep_going = if watch.keep_going { " --keep-going" } else { "" };
        let seed = if self.schedule.is_some() { String::new() } else { format!(" --seed {seed}") };
        format!("tribunal {}{seed}{}{keep_going}", self.words, self.arguments)
    }

    /// A digest of scenario and configuration: if it differs, so may the run.
    #[must_use]
    pub fn config_digest(&self) -> u64 {
        let mut digest = Digest::new();
        digest.text(&serde_json::to_string(&self.scenario).expect("a scenario is plain data"));
        if self.files != Files::default() {
            digest.text(&format!("{:?}", self.files));
        }
        if let Some(schedule) = &self.schedule {
            digest.text(&format!("{schedule:?}"));
        }
        digest.value()
    }
}

/// Runs a world as its setup says, to its end: faults, a core if there is to be one, heal, settle. Panics inside it are findings.
pub fn run_to_end(world: &mut JudgedWorld, setup: &Setup) -> Outcome {
    run_within(world, setup, STEP_BUDGET)
}

/// The same with another budget of events taken off the queue.
pub fn run_within(world: &mut JudgedWorld, setup: &Setup, step_budget: u64) -> Outcome {
    begin(world, setup, step_budget);
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let outcome = world.finish();
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    outcome
}

/// Runs a world as its setup says, through the same phases, but no further than the bound. It can go on from there.
pub fn advance(world: &mut JudgedWorld, setup: &Setup, bound: Bound) -> Reached {
    begin(world, setup, STEP_BUDGET);
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let reached = world.advance(bound);
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    reached
}

/// Begins the run of a world, unless it is under way.
fn begin(world: &mut JudgedWorld, setup: &Setup, step_budget: u64) {
    if !world.has_begun() {
        let plan = Plan { faults_for: setup.faults_for, settle_at_most: setup.settle_at_most, step_budget };
        world.begin_run(&plan, setup.core_patience);
    }
}

/// What a schedule may name in such a world.
#[must_use]
fn catalogue(setup: &Setup) -> Catalogue {
    let facts = Fact::kinds().iter().copied().chain(Court::all_situations().map(|(kind, _)| kind));
    Catalogue {
        facts: facts.map(str::to_owned).collect(),
        roles: Court::role_names(&setup.topology),
        hosts: setup.topology.names(),
        groups: [COORDINATORS, OBSERVERS, BROKERS, CLIENTS, ADMINS].map(str::to_owned).to_vec(),
        lanes: world::lane_names(),
    }
}

fn arguments(changes: &Changes) -> String {
    let mut text = String::new();
    for set in &changes.sets {
        let _ = write!(text, " --set {}", quoted(set));
    }
    for defect in &changes.defects {
        let _ = write!(text, " --defect {defect}");
    }
    if let Some((file, _)) = &changes.zoo_cfg {
        let _ = write!(text, " --zoo-cfg {}", quoted(file));
    }
    if let Some((file, _)) = &changes.server_properties {
        let _ = write!(text, " --server-properties {}", quoted(file));
    }
    text
}

/// The word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

impl Run {
    /// What a server is at the end, in a few words.
    pub(crate) fn state(&self, host: machine::HostId) -> String {
        state_of(&self.world, host)
    }
}

/// What a host's machine is at this instant, in a few words.
#[must_use]
pub fn state_of(world: &JudgedWorld, host: machine::HostId) -> String {
    match world.machine(host) {
        None => "down".to_owned(),
        Some(machine) => {
            let view = serde_json::to_value(machine.view()).expect("a view is plain data");
            let serde_json::Value::Object(fields) = view else { return view.to_string() };
            let words: Vec<String> = fields
                .iter()
                .filter(|(_, value)| !value.is_null() && !value.is_object() && !value.is_array())
                .map(|(name, value)| match value {
                    serde_json::Value::String(text) => text.clone(),
                    other => format!("{} {other}", name.replace('_', " ")),
                })
                .collect();
            words.join(", ")
        }
    }
}
