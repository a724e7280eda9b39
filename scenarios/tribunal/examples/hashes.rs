//! Prints the trace hash of every catalogue scenario on a few seeds: `hashes [--seeds N] [--threads N]`.
//!
//! The gate runs it in dev and release, on one thread and on two, and compares what it prints.

use std::io::Write as _;

use tribunal::{Changes, Prepared, SCENARIOS, Source, campaign};

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args();
    while let Some(argument) = arguments.next() {
        if argument == name {
            let value = arguments.next().unwrap_or_default();
            return value.parse().unwrap_or_else(|_| panic!("{name} is followed by a number, not by \"{value}\""));
        }
    }
    default
}

fn main() {
    let seeds = argument("--seeds", 3);
    let threads = usize::try_from(argument("--threads", 1)).expect("a few threads");
    let mut out = std::io::stdout().lock();
    for entry in SCENARIOS {
        let source = Source::catalogue(entry.name).expect("it is in the catalogue");
        let prepared = Prepared::new(&source, &Changes::default()).expect("the catalogue is right");
        for result in campaign(&prepared, 0..seeds, threads) {
            writeln!(out, "{} {} {:016x} {}", entry.name, result.seed, result.hash, result.events)
                .expect("standard output is open");
        }
    }
}
