//! The ensemble alone: 3 servers, about 1,000 writes a second and as many reads.
//!
//! The registers are few, so the tree does not grow: a workload that lists a directory it fills measures the list.

use machine::{Machine as _, Span};

use tribunal::Watch;

use crate::figures::{forks, row, speed, stretch, world};

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

pub(crate) fn run() {
    for round in 1..=3 {
        row(&format!("the ensemble alone, round {round}"), String::new());
        let mut world = world("ensemble", SCENARIO, 1, Watch::LIGHT);
        world.run_until(world.now() + Span::secs(5));
        let writes = zxid(&world);
        let measured = stretch(&mut world, SECONDS);
        row("writes per simulated second", ((zxid(&world) - writes) / SECONDS).to_string());
        speed(SECONDS, measured);
        forks(&world);
        assert!(world.violations().is_empty(), "{:?}", world.violations());
    }
}

fn zxid(world: &tribunal::JudgedWorld) -> u64 {
    let machines = world.hosts();
    let servers = machines.machines().filter_map(|(_, machine)| machine.as_coordinator());
    servers.map(|server| server.view().last_processed).max().expect("servers run")
}
