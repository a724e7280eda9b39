//! The command line: arguments in, exit status out.
//!
//! Data goes to standard output, narration to standard error. The exit status is the outcome: 0 held, 1 violated, 2 wrong use, 3 undecided, 4 not
//! deterministic, 5 the testbed is at fault.

mod check;
mod diff;
mod explain;
mod export;
mod files;
mod fuzz;
mod init;
mod inspect;
mod list;
mod merge;
mod replay;
mod run;
mod score;
mod shrink;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use world::BadInput;

/// Wrong use: arguments, a file, a key.
const WRONG_USE: u8 = 2;
/// A budget was spent, or runs are missing.
const UNDECIDED: u8 = 3;
/// The same seed gave two traces.
const NOT_DETERMINISTIC: u8 = 4;
/// The testbed is at fault.
const TESTBED_AT_FAULT: u8 = 5;

const STATUSES: &str = "\
Exit status:
  0  held: every rule held (excused losses and known holes are counted and printed)
  1  violated: safety, liveness, a panic in a machine, or an anomaly no judge saw
  2  wrong use: arguments, a file, a key
  3  undecided: a budget was spent before a verdict
  4  not deterministic: the same seed gave two traces
  5  the testbed is at fault";

/// Puts ZooKeeper on trial: runs complete servers and clients in one deterministic world, injects faults, judges every step.
#[derive(Debug, Parser)]
#[command(name = "tribunal", version, after_help = STATUSES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::List),
    Run(run::RunArguments),
    Check(check::Check),
    Score(score::ScoreArguments),
    Init(init::Init),
    Fuzz(fuzz::Fuzz),
    Replay(replay::Replay),
    Merge(merge::Merge),
    Inspect(inspect::InspectArguments),
    Shrink(shrink::Shrink),
    Explain(explain::Explain),
    Diff(diff::Diff),
    Completions(Completions),
}

/// Prints a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tribunal completions bash > ~/.local/share/bash-completion/completions/tribunal")]
struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Why a command could not do what it was told.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The user's input.
    Input(BadInput),
    /// Something else, such as a full disk: with its status.
    Other(u8, anyhow::Error),
}

impl From<BadInput> for Failure {
    fn from(error: BadInput) -> Self {
        Self::Input(error)
    }
}

/// Parses, runs, reports.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.verb {
        Verb::List(list) => list.run(),
        Verb::Run(run) => run.run(),
        Verb::Check(check) => check.run(),
        Verb::Score(score) => score.run(),
        Verb::Init(init) => init.run(),
        Verb::Fuzz(fuzz) => fuzz.run(),
        Verb::Replay(replay) => replay.run(),
        Verb::Merge(merge) => merge.run(),
        Verb::Inspect(inspect) => inspect.run(),
        Verb::Shrink(shrink) => shrink.run(),
        Verb::Explain(explain) => explain.run(),
        Verb::Diff(diff) => diff.run(),
        Verb::Completions(Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tribunal", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(0)
        }
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(Failure::Input(error)) => {
            narrate(&format!("error: {error}"));
            ExitCode::from(WRONG_USE)
        }
        Err(Failure::Other(status, error)) => {
            narrate(&format!("error: {error:#}"));
            ExitCode::from(status)
        }
    }
}

/// Data, to standard output. A reader that went away is no error of ours.
pub(crate) fn print(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Narration, to standard error.
pub(crate) fn narrate(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}
