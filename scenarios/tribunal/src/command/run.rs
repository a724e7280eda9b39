//! `tribunal run`.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use record::{Outcome, Record};
use render::Level;
use tribunal::{Changes, Prepared, Source, Watch, read, report};
use world::BadInput;

use super::export::ExportArguments;
use super::{Failure, TESTBED_AT_FAULT, files, narrate, print};

/// Runs a scenario with one seed and reports what happened.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal run leader-crash --seed 7
  tribunal run ./mine.toml --seed 7 --set cluster.coordinators=5
  tribunal run power-loss --defect ZOOKEEPER-4643 -v
  tribunal run steady --zoo-cfg /etc/zookeeper/conf/zoo.cfg --verify
  tribunal run controller-crash --server-properties config/server.properties
  tribunal run controller-crash --seed 7 --export perfetto=trace.json --export shiviz=run.log

A run that does not hold also leaves its record, as JSON, below target/tribunal/.")]
pub(crate) struct RunArguments {
    /// A scenario of the catalogue (tribunal list), or a file.
    scenario: String,
    /// The seed: the same seed, scenario and configuration give the same run, everywhere.
    #[arg(long, default_value_t = 0, value_parser = seed)]
    seed: u64,
    #[command(flatten)]
    changes: ChangeArguments,
    /// Runs twice with a digest of every byte of every message, and compares the traces.
    #[arg(long)]
    verify: bool,
    /// Goes on behind a violation, to see what comes of it; stops after 32.
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    report: ReportArguments,
}

/// How a run is reported.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Only the headline and the command that repeats the run.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// More of the story; twice for everything.
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Where a record is written to.
    #[arg(long, value_name = "DIR", default_value = "target/tribunal")]
    out: PathBuf,
    /// Writes the record whatever the outcome.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    export: ExportArguments,
}

impl ReportArguments {
    /// What can be known to be wrong before anything runs.
    pub(crate) fn check(&self) -> Result<(), BadInput> {
        self.export.check()
    }

    /// How much of the story.
    const fn level(&self) -> Level {
        match (self.quiet, self.verbose) {
            (true, _) => Level::Quiet,
            (false, 0) => Level::Normal,
            (false, 1) => Level::Verbose,
            (false, _) => Level::Full,
        }
    }

    /// Prints the report, writes what was asked for, and leaves the record if the run does not hold. The exit status is the
    /// outcome's.
    pub(crate) fn report(&self, mut record: Record) -> Result<u8, Failure> {
        let level = self.level();
        let exported = self.export.write(&record);
        if level < Level::Full {
            record.abridge();
        }
        print(&render::terminal(&record, level));
        if record.outcome != Outcome::Held || self.keep {
            match write(&self.out, &record) {
                Ok(path) => narrate(&format!("record     {}", path.display())),
                // The report is out: nothing is lost but the copy, and the status is the run's.
                Err(error) => narrate(&format!("warning: {error:#}\n  hint: --out DIR writes it elsewhere")),
            }
        }
        exported?;
        Ok(record.outcome.status())
    }
}

/// What changes a scenario without touching its file.
#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// Replaces a value of the scenario, such as duration=10s or workloads.0.clients=5.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Switches a historical bug on, by its public id (tribunal list defects).
    #[arg(long = "defect", value_name = "ID")]
    defects: Vec<String>,
    /// Configures the servers by a real zoo.cfg.
    #[arg(long, value_name = "FILE")]
    zoo_cfg: Option<PathBuf>,
    /// Configures the brokers by a real server.properties.
    #[arg(long, value_name = "FILE")]
    server_properties: Option<PathBuf>,
    /// Unknown keys of configuration files are errors.
    #[arg(long)]
    strict_config: bool,
}

impl ChangeArguments {
    pub(crate) fn changes(self) -> Result<Changes, BadInput> {
        let file = |path: Option<PathBuf>| {
            path.map(|path| read(&path).map(|text| (path.display().to_string(), text))).transpose()
        };
        Ok(Changes {
            sets: self.sets,
            defects: self.defects,
            zoo_cfg: file(self.zoo_cfg)?,
            server_properties: file(self.server_properties)?,
            strict_config: self.strict_config,
        })
    }
}

/// Decimal, or hexadecimal with `0x`.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    parsed.map_err(|_| "a seed is a whole number from 0 to 18446744073709551615, decimal or 0x…".to_owned())
}

impl RunArguments {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        self.report.check()?;
        let source = Source::named(&self.scenario)?;
        let prepared = Prepared::new(&source, &self.changes.changes()?)?;
        let watch = Watch { verify: self.verify, keep_going: self.keep_going, ..Watch::FULL };
        quiet_panics();
        let run = prepared.run(self.seed, watch)?;
        let mut record = report::record(&prepared, &run);
        if self.verify {
            verify(&prepared, watch, &run, &mut record)?;
        }
        self.report.report(record)
    }
}

/// A panic inside a machine is a finding and part of the report; the default hook would print it a second time.
pub(crate) fn quiet_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Only the world catches panics; anything else is the testbed's fault and must be seen.
        if !tribunal::is_running_a_world() {
            default(info);
        }
    }));
}

/// The same seed again, every byte digested; says which event is the first that differs.
fn verify(prepared: &Prepared, watch: Watch, first: &tribunal::Run, record: &mut Record) -> Result<(), Failure> {
    let seed = first.setup.seed;
    let second = prepared.run(seed, watch)?;
    if second.outcome.hash == first.outcome.hash {
        narrate("verified   two runs, the same trace");
        return Ok(());
    }
    let (Some(a), Some(b)) = (first.world.recording(), second.world.recording()) else {
        return Err(Failure::Other(TESTBED_AT_FAULT, anyhow::anyhow!("a verified run was not recorded")));
    };
    let names = first.setup.topology.names();
    record.outcome = Outcome::NotDeterministic;
    record.headline = match search::first_difference(a, b, &|host| names[host.0 as usize].clone()) {
        Some(difference) => format!("two runs of seed {seed} part at {difference}"),
        None => format!("two runs of seed {seed} have the same events and end in different states"),
    };
    Ok(())
}

/// Writes the record; a record of the same run that is there already is replaced, and that is said.
fn write(directory: &Path, record: &Record) -> anyhow::Result<PathBuf> {
    let name: String = Path::new(&record.identity.scenario)
        .file_stem()
        .map_or_else(|| "run".into(), |stem| stem.to_string_lossy())
        .into_owned();
    let config = record.identity.config_digest & 0xFFFF_FFFF;
    let path = directory.join(format!("{name}-{}-{config:08x}.json", record.identity.seed));
    files::write(&path, &record.to_json(), "the record")?;
    Ok(path)
}
