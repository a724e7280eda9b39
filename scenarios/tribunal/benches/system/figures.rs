//! Rows of figures, and what every measurement has in common.

use std::io::Write as _;
use std::time::{Duration, Instant};

use machine::Span;
use tribunal::{Changes, JudgedWorld, Prepared, Source, Watch};

/// One row.
pub(crate) fn row(name: &str, value: String) {
    writeln!(std::io::stdout().lock(), "{name:<64} {value:>18}").expect("standard output is open");
}

#[expect(clippy::float_arithmetic, reason = "a figure for people")]
pub(crate) fn per_second(amount: u64, time: Duration) -> f64 {
    let amount = u32::try_from(amount).expect("a benchmark counts below four billion");
    f64::from(amount) / time.as_secs_f64()
}

/// The world of a scenario's text, not yet run.
pub(crate) fn world(name: &str, text: &str, seed: u64, watch: Watch) -> JudgedWorld {
    let source = Source { name: name.to_owned(), text: text.to_owned(), directory: None };
    let prepared = Prepared::new(&source, &Changes::default()).expect("the scenario is right");
    prepared.world(seed, watch).expect("the scenario is right").1
}

/// Runs for so many simulated seconds; returns how long that took and how many events it were.
pub(crate) fn stretch(world: &mut JudgedWorld, seconds: u64) -> (Duration, u64) {
    let events = world.events();
    let start = Instant::now();
    world.run_until(world.now() + Span::secs(seconds));
    (start.elapsed(), world.events() - events)
}

/// Simulated seconds and protocol events per second of a stretch.
pub(crate) fn speed(seconds: u64, (took, events): (Duration, u64)) {
    row("simulated seconds per second", format!("{:.1}", per_second(seconds, took)));
    row("protocol events per second", format!("{:.0}", per_second(events, took)));
}

/// What a fork costs, and the first steps in it.
pub(crate) fn forks(world: &JudgedWorld) {
    const FORKS: u32 = 200;
    let start = Instant::now();
    for _ in 0..FORKS {
        std::hint::black_box(world.clone());
    }
    row("a fork and its end", format!("{:?}", start.elapsed() / FORKS));
    let mut touched = Duration::ZERO;
    for _ in 0..FORKS {
        let mut fork = world.clone();
        let start = Instant::now();
        for _ in 0..10 {
            fork.step();
        }
        touched += start.elapsed();
    }
    row("the first ten steps of a fork", format!("{:?}", touched / FORKS));
}
