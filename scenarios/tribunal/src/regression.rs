//! Repros as tests: what was found once is looked for again on every run of the tests.

use std::path::Path;

use engine::Verdict;
use render::Level;

use crate::prepared::{Run, Watch};
use crate::repro::Repro;
use crate::shrinking::{NotShrunk, reproduce};
use crate::{read, report};

/// Holds a committed repro against the code as it is.
///
/// A repro of a defect must still fail in the way it says, and every rule must hold once its defects are switched off. A repro
/// without a defect is that of a bug: every rule must hold, now that it is fixed.
///
/// # Panics
/// If that is not so: three lines, the last of them the command that repeats it. Also if the file is no usable repro.
#[track_caller]
pub fn check_repro(path: impl AsRef<Path>) {
    let path = path.as_ref();
    let file = path.display().to_string();
    let text = read(path).unwrap_or_else(|error| panic!("{error}"));
    let repro = Repro::from_json(&file, &text).unwrap_or_else(|error| panic!("{error}"));
    if !repro.scenario.cluster.defects.is_empty() {
        match reproduce(&file, &repro, Watch::LIGHT) {
            Ok(_) => {}
            Err(NotShrunk::Input(error)) => panic!("{error}"),
            Err(NotShrunk::Differs(why)) => panic!("{file}: {why}\ntribunal replay {file}"),
        }
    }
    if let Err(why) = holds_without_defects(&file, &repro) {
        panic!("{why}");
    }
}

/// Runs a repro with its defects switched off; in three lines what is broken nevertheless.
fn holds_without_defects(file: &str, repro: &Repro) -> Result<(), String> {
    let mut fixed = repro.clone();
    fixed.scenario.cluster.defects.clear();
    let prepared = fixed.prepared(file).map_err(|error| error.to_string())?;
    let run: Run = prepared.run(fixed.seed, Watch::LIGHT).map_err(|error| error.to_string())?;
    if run.outcome.verdict == Verdict::Held {
        return Ok(());
    }
    let record = report::record(&prepared, &run);
    let report = render::terminal(&record, Level::Quiet);
    Err(format!("{file} does not hold without a defect\n{}", anstream::adapter::strip_str(&report)))
}
