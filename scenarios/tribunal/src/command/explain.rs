//! `tribunal explain`.

use std::path::Path;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tribunal::{Questions, Repro, explain_id, explain_repro, read};

use super::list::FAULTS;
use super::run::quiet_panics;
use super::shrink::{failure, jobs};
use super::{Failure, TESTBED_AT_FAULT, print};

/// Explains a failure from its repro, or says what an id means.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal explain small.json
  tribunal explain small.json --futures 200 --jobs 8
  tribunal explain L11
  tribunal explain KAFKA-1211

Of a repro: what happened, in at most 40 lines; which of its faults were necessary (each is left
out in turn, and futures that fork just before it strikes are run with it and without it); and how
likely the failure was along the run, with the instant at which it became inevitable. Shrink the
repro first: the explanation is shorter, and much quicker to make.")]
pub(crate) struct Explain {
    /// A repro, or the id of a rule, a defect, a mark, a fault, a role or a fact.
    what: String,
    /// Futures of each rule, with it and without it; 0 leaves the question out.
    #[arg(long, value_name = "N", default_value_t = 50)]
    futures: u32,
    /// Leaves the curve out.
    #[arg(long)]
    no_curve: bool,
    /// Runs at a time; as many as there are processors if absent.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The same as JSON.
    #[arg(long)]
    json: bool,
}

/// Instants of a curve, beside those just before each fault.
const INSTANTS: u32 = 24;
/// Futures of each of them at most.
const CURVE_FUTURES: u32 = 20;

impl Explain {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let path = Path::new(&self.what);
        let is_file = path.exists() || path.extension().is_some_and(|extension| extension == "json");
        if !is_file {
            print(&explain_id(&self.what, FAULTS)?);
            return Ok(0);
        }
        let repro = Repro::from_json(&self.what, &read(path)?)?;
        quiet_panics();
        let questions = Questions {
            futures: self.futures,
            curve_futures: if self.no_curve { 0 } else { CURVE_FUTURES.min(self.futures.max(1)) },
            instants: INSTANTS,
            jobs: jobs(self.jobs),
        };
        let bar = ProgressBar::new(1);
        bar.set_style(
            ProgressStyle::with_template("{elapsed_precise} {bar:24} {msg}").expect("a template of indicatif's"),
        );
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        let explanation = explain_repro(&self.what, &repro, questions, &mut |what, at, of| {
            bar.set_length(of as u64);
            bar.set_position(at as u64);
            bar.set_message(format!("{what} {} of {of}", at + 1));
        });
        bar.finish_and_clear();
        let explanation = explanation.map_err(|error| failure(&self.what, error))?;
        if self.json {
            let json = serde_json::to_string_pretty(&explanation);
            let json = json.map_err(|error| Failure::Other(TESTBED_AT_FAULT, error.into()))?;
            print(&(json + "\n"));
        } else {
            print(&explanation.to_text());
        }
        Ok(0)
    }
}
