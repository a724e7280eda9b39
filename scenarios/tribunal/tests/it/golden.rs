//! Golden hashes: the traces of named runs, committed. `TRIBUNAL_BLESS=1` rewrites them; the commit says why.

use std::fmt::Write as _;

use tribunal::{Changes, Prepared, SCENARIOS, Source, campaign};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden.toml");

#[test]
fn named_runs_have_their_golden_hashes() {
    let mut text = String::from(
        "# Trace hashes of named runs: scenario, then one hash per seed from 0. A commit that changes them says why.\n",
    );
    for entry in SCENARIOS {
        let prepared = Prepared::new(&Source::catalogue(entry.name).unwrap(), &Changes::default()).unwrap();
        let hashes: Vec<String> =
            campaign(&prepared, 0..2, 2).iter().map(|result| format!("\"{:016x}\"", result.hash)).collect();
        writeln!(text, "{} = [{}]", entry.name, hashes.join(", ")).unwrap();
    }
    if std::env::var_os("TRIBUNAL_BLESS").is_some() {
        std::fs::write(FILE, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(FILE).unwrap_or_default();
    assert_eq!(text, golden, "traces have changed; if that is meant: TRIBUNAL_BLESS=1 cargo test -p tribunal golden");
}
