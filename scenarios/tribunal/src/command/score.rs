//! `tribunal score`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use tribunal::score::{Score, Target, search_all, target, targets};

use super::{Failure, narrate, print};

/// Holds every bug that can be switched on against its budget of seeds: who finds it, how soon, and whether its twin is silent.
///
/// Each is looked for in a scenario of its own or of the catalogue, seed after seed from 0 on, until it is found or its budget is
/// spent. Its twin is the same scenario with the same seeds and without the bug: it must hold.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal score
  tribunal score KAFKA-1211 M18 --jobs 1
  tribunal score --seeds 500 --json score.json
  tribunal score --keep repros

Exit status: 0 if every bug was found within its budget by a judge that is expected to, and every twin held; 1 otherwise.")]
pub(crate) struct ScoreArguments {
    /// Defects or mutants, by id (tribunal list defects); all if none is given.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// So many seeds for each, instead of its budget.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// So many worlds at a time; as many as there are cores if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Keeps the run that found each bug in this directory, as a repro.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Writes the scores to this file, too; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl ScoreArguments {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let targets: Vec<Target> = if self.ids.is_empty() {
            targets()
        } else {
            self.ids.iter().map(|id| target(id)).collect::<Result<_, _>>()?
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let jobs = self.jobs.map_or(cores, usize::from);
        let file = self.json.as_ref().map(|path| {
            let file = std::fs::File::create_new(path);
            file.map_err(|error| Failure::Other(2, anyhow::anyhow!("{}: {error}", path.display())))
        });
        let file = file.transpose()?;
        let scores = search_all(&targets, self.seeds, jobs, |score| narrate(&line(score)))?;
        print(&table(&scores));
        if let Some(directory) = &self.keep {
            std::fs::create_dir_all(directory).map_err(|error| Failure::Other(2, error.into()))?;
            for (score, repro) in scores.iter().filter_map(|score| Some((score, score.repro.as_ref()?))) {
                let path = directory.join(format!("{}.json", score.id));
                let written = std::fs::write(&path, repro.to_json());
                written.map_err(|error| Failure::Other(2, anyhow::anyhow!("{}: {error}", path.display())))?;
            }
        }
        if let Some(mut file) = file {
            let text = serde_json::to_string_pretty(&scores).expect("scores are plain data") + "\n";
            file.write_all(text.as_bytes()).map_err(|error| Failure::Other(5, error.into()))?;
        }
        Ok(u8::from(!scores.iter().all(Score::is_good)))
    }
}

fn line(score: &Score) -> String {
    let by = score
        .found
        .as_ref()
        .map_or_else(String::new, |found| format!(" by {} at seed {}", found.invariant, found.seed));
    format!("{}: {}{by}", score.id, score.verdict())
}

/// One row each, then the sums.
fn table(scores: &[Score]) -> String {
    let mut text = format!(
        "{:<15} {:<28} {:<16} {:<8} {:<18} {:>6} {:>9} {:>8}\n",
        "bug", "scenario", "verdict", "judge", "expected", "seeds", "events", "seconds"
    );
    for score in scores {
        let found = score.found.as_ref();
        let judge = found.map_or("-", |found| &found.invariant);
        let seeds = found.map_or_else(|| format!(">{}", score.budget), |found| (found.seed + 1).to_string());
        let events = found.map_or_else(|| "-".to_owned(), |found| found.events.to_string());
        let seconds = found.map_or_else(|| "-".to_owned(), |found| format!("{:.2}", found.seconds));
        let _ = writeln!(
            text,
            "{:<15} {:<28} {:<16} {judge:<8} {:<18} {seeds:>6} {events:>9} {seconds:>8}",
            score.id,
            score.scenario,
            score.verdict(),
            score.expected.join(" "),
        );
        if let Some((seed, rule)) = &score.twin {
            let _ = writeln!(text, "{:<15} without it seed {seed} breaks {rule}", "");
        }
    }
    let good = scores.iter().filter(|score| score.is_good()).count();
    let mut seeds: Vec<u64> = scores.iter().filter_map(|score| Some(score.found.as_ref()?.seed + 1)).collect();
    seeds.sort_unstable();
    let median = seeds.get(seeds.len() / 2).copied().unwrap_or(0);
    let _ = writeln!(text, "\n{good} of {} found within their budgets, median seeds {median}", scores.len());
    text
}
