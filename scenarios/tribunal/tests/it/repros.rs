//! One committed repro for each bug that can be switched on: on, it is caught as it was; off, the same schedule holds.
//!
//! CONTRIBUTING.md says how they are made.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use engine::Verdict;
use tribunal::{Expected, Repro, Watch};
use world::{Defect, DefectKind};

fn repros() -> Vec<PathBuf> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/repros");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn stem(file: &Path) -> &str {
    file.file_stem().and_then(|stem| stem.to_str()).unwrap()
}

/// What is wrong with a repro, if anything.
fn judge(file: &Path) -> Option<String> {
    let id = stem(file);
    let mut repro = Repro::from_json(id, &std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(repro.scenario.cluster.defects, [id], "a repro is called by what is switched on in it");
    let on = repro.prepared(id).unwrap().run(repro.seed, Watch::LIGHT).unwrap();
    let seen = Expected::of(&on.outcome);
    if seen.signature.is_none() || seen.signature != repro.expected.signature {
        return Some(format!("{id}: {:?} instead of {:?}", seen.headline, repro.expected.headline));
    }
    repro.scenario.cluster.defects.clear();
    let off = repro.prepared(id).unwrap().run(repro.seed, Watch::LIGHT).unwrap();
    (off.outcome.verdict != Verdict::Held).then(|| format!("{id}: without it {:?}", off.outcome.verdict))
}

#[test]
fn every_bug_is_caught_in_its_repro_and_its_twin_holds() {
    let files = Mutex::new(repros());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(file) = { files.lock().unwrap().pop() } {
                    let found = judge(&file);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<String>::new());
}

#[test]
fn every_historical_bug_has_a_repro() {
    let files = repros();
    let has = |id: &str| files.iter().any(|file| stem(file) == id);
    let all = Defect::all();
    let without = all.iter().filter(|it| it.kind == DefectKind::Historical && !has(it.id)).map(|it| it.id);
    assert_eq!(without.collect::<Vec<_>>(), Vec::<&str>::new());
}
