//! `tribunal shrink`.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use search::Limits;
use tribunal::{NotShrunk, Repro, Smaller, read, shrink_repro};
use world::BadInput;

use super::run::quiet_panics;
use super::{Failure, NOT_DETERMINISTIC, TESTBED_AT_FAULT, files, narrate, print};

/// Makes a repro smaller: fewer rules, servers, clients and partitions, less time, and the same failure.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal shrink target/tribunal/L10.json -o small.json
  tribunal shrink found.json -o small.json --jobs 8 --runs 2000
  tribunal shrink found.json -o tests/repros/KAFKA-1211.json --force --no-trail

Only a run with the same signature is taken and, if the repro holds once its defects are off,
only one of which that is still so. The result does not depend on --jobs. Prints what became
smaller and a test that is ready to be pasted.")]
pub(crate) struct Shrink {
    /// The repro (tribunal fuzz --keep DIR writes some).
    file: PathBuf,
    /// Where the small repro is written to; the same name with `.small.json` if absent.
    #[arg(short, long, value_name = "SMALL")]
    output: Option<PathBuf>,
    /// Replaces a file that is there.
    #[arg(long)]
    force: bool,
    /// Leaves out the trail, by which a replay names the first event that differs: for a file that is committed.
    #[arg(long)]
    no_trail: bool,
    /// Runs at a time; as many as there are processors if absent.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Runs in all.
    #[arg(long, value_name = "N", default_value_t = 800)]
    runs: u64,
}

impl Shrink {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let file = self.file.display().to_string();
        let output = self.output.clone().unwrap_or_else(|| self.file.with_extension("small.json"));
        if output.exists() && !self.force {
            let what = "is there already, and nothing is overwritten";
            return Err(BadInput::new(&output.display().to_string(), None, what)
                .hint("-o another file, or --force to replace it")
                .into());
        }
        let repro = Repro::from_json(&file, &read(&self.file)?)?;
        quiet_panics();
        let bar = ProgressBar::new(self.runs);
        let style = "{elapsed_precise} {bar:24} {pos} of at most {len} runs  {msg}";
        bar.set_style(ProgressStyle::with_template(style).expect("a template of indicatif's"));
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        let limits = Limits { jobs: jobs(self.jobs), runs: self.runs };
        let smaller = shrink_repro(&file, &repro, limits, &mut |step| {
            bar.set_position(step.runs);
            let size = step.size;
            bar.set_message(format!(
                "{}: {} rules, {} events, {} hosts",
                step.pass, size.rules, size.events, size.hosts
            ));
        });
        bar.finish_and_clear();
        let mut smaller = smaller.map_err(|error| failure(&file, error))?;
        if self.no_trail {
            smaller.repro.trail = None;
        }
        let written = files::write(&output, &smaller.repro.to_json(), "the small repro");
        written.map_err(|error| Failure::Other(TESTBED_AT_FAULT, error))?;
        print(&report(&smaller, &output));
        narrate(&format!(
            "{} runs, {} of them taken{}",
            smaller.runs,
            smaller.accepted,
            if smaller.is_complete { "" } else { "; the budget is spent: --runs N tries more" }
        ));
        Ok(0)
    }
}

/// So many threads as were asked for, or as there are processors.
pub(super) fn jobs(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// A repro that does not fail as it says is not deterministic, or is of other code.
pub(super) fn failure(file: &str, error: NotShrunk) -> Failure {
    match error {
        NotShrunk::Input(error) => Failure::Input(error),
        NotShrunk::Differs(why) => {
            let hint = format!("tribunal replay {file} says where the trace differs");
            Failure::Other(NOT_DETERMINISTIC, anyhow::anyhow!("{file}: {why}\n  hint: {hint}"))
        }
    }
}

fn report(smaller: &Smaller, output: &Path) -> String {
    let expected = &smaller.repro.expected;
    let path = output.display();
    let mut text = format!(
        "SHRUNK {} {}\n\n{}\nschedule\n",
        expected.invariant.as_deref().unwrap_or(""),
        expected.headline.as_deref().unwrap_or(""),
        smaller.table(),
    );
    for rule in &smaller.repro.schedule {
        text.push_str(&format!("  {rule}\n"));
    }
    if smaller.repro.schedule.is_empty() {
        text.push_str("  none: it fails without a fault\n");
    }
    text.push_str(&format!(
        "\nrepro      {path}\nreplay     tribunal replay {path}\nexplain    tribunal explain {path}\n"
    ));
    text.push_str(&format!("\nas a test:\n\n{}", smaller.test(&path.to_string())));
    text
}
