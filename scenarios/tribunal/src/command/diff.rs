//! `tribunal diff`.

use std::path::Path;

use clap::Args;
use tribunal::{Repro, compare, read};
use world::BadInput;

use super::run::quiet_panics;
use super::{Failure, TESTBED_AT_FAULT, print};

/// Compares two runs: the first event in which they differ, and the difference of all hosts' state there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal diff before.json after.json
  tribunal diff small.json 7

The second is a repro too, or a seed: then it is the first with that seed, and the same schedule.
Exit status: 0 if the runs are the same to the last event, 1 if they differ.")]
pub(crate) struct Diff {
    /// A repro.
    a: String,
    /// Another repro, or a seed for the same one.
    b: String,
    /// The same as JSON.
    #[arg(long)]
    json: bool,
}

/// The runs differ.
const DIFFERENT: u8 = 1;

impl Diff {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let a = Repro::from_json(&self.a, &read(Path::new(&self.a))?)?;
        let (name, b) = match self.seed() {
            Some(seed) => (format!("{} with seed {seed}", self.a), Repro { seed, ..a.clone() }),
            None => (self.b.clone(), self.second()?),
        };
        quiet_panics();
        let comparison = compare([&self.a, &name], [&a, &b])?;
        if self.json {
            let json = serde_json::to_string_pretty(&comparison);
            print(&(json.map_err(|error| Failure::Other(TESTBED_AT_FAULT, error.into()))? + "\n"));
        } else {
            print(&comparison.to_text());
        }
        Ok(if comparison.is_same() { 0 } else { DIFFERENT })
    }

    /// The second, if it is a seed and no file is called like it.
    fn seed(&self) -> Option<u64> {
        let hex = self.b.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16).ok());
        let seed = hex.unwrap_or_else(|| self.b.parse().ok());
        seed.filter(|_| !Path::new(&self.b).exists())
    }

    fn second(&self) -> Result<Repro, BadInput> {
        let text = read(Path::new(&self.b)).map_err(|bad| match bad.hint {
            Some(_) => bad,
            None => bad.hint("the second is a repro, or a seed"),
        })?;
        Repro::from_json(&self.b, &text)
    }
}
