//! The ensemble alone: 3 servers, about 1,000 writes a second and as many reads, all judges on. `cargo bench -p tribunal`.
//!
//! The registers are few, so the tree does not grow: a workload that lists a directory it fills measures the list.
//!
//! A benchmark, never a test: it asserts nothing about time.

use std::io::Write as _;
use std::time::{Duration, Instant};

use machine::{Machine as _, Span};
use tribunal::{Changes, Prepared, Source, Watch};

/// Simulated seconds of the measured stretch.
const SECONDS: u64 = 20;

const SCENARIO: &str = r#"
about = "Three servers, a thousand writes a second."
duration = "1h"
[cluster]
coordinators = 3
zoo = { tickTime = 2000, initLimit = 10, syncLimit = 5 }
[[workloads]]
kind = "compare-and-set"
clients = 10
rate_per_second = 250
processes = 20
keys = 50
session_timeout = "20s"
think = "0s"
"#;

#[expect(clippy::float_arithmetic, reason = "a figure for people")]
fn per_second(amount: u64, time: Duration) -> f64 {
    let amount = u32::try_from(amount).expect("a benchmark counts below four billion");
    f64::from(amount) / time.as_secs_f64()
}

fn main() {
    let source = Source { name: "ensemble".to_owned(), text: SCENARIO.to_owned(), directory: None };
    let prepared = Prepared::new(&source, &Changes::default()).expect("the scenario is right");
    let mut out = std::io::stdout().lock();
    let mut row = |name: &str, value: String| writeln!(out, "{name:<58} {value:>18}").expect("standard output is open");
    for _ in 0..3 {
        let (_, mut world) = prepared.world(1, Watch::LIGHT).expect("the scenario is right");
        world.run_until(world.now() + Span::secs(5));
        let (events, writes) = (world.events(), zxid(&world));
        let start = Instant::now();
        world.run_until(world.now() + Span::secs(SECONDS));
        let took = start.elapsed();
        row("writes per simulated second", ((zxid(&world) - writes) / SECONDS).to_string());
        row("simulated seconds per second", format!("{:.1}", per_second(SECONDS, took)));
        row("protocol events per second", format!("{:.0}", per_second(world.events() - events, took)));
        forks(&mut row, &world);
        assert!(world.violations().is_empty(), "{:?}", world.violations());
    }
}

fn zxid(world: &tribunal::ZkWorld) -> u64 {
    let machines = world.hosts();
    let servers = machines.machines().filter_map(|(_, machine)| machine.as_coordinator());
    servers.map(|server| server.view().last_processed).max().expect("servers run")
}

fn forks(row: &mut impl FnMut(&str, String), world: &tribunal::ZkWorld) {
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
