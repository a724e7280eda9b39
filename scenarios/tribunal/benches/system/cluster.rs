//! The standard cluster: 3 coordinators, 3 brokers, 12 partitions of 3 replicas, 200 records a second acknowledged by all, a consumer.

use machine::Span;

use tribunal::Watch;

use crate::figures::{forks, row, speed, stretch, world};

const SCENARIO: &str = r#"
about = "The standard cluster."
duration = "1h"
[cluster]
coordinators = 3
brokers = 3
zoo = { tickTime = 2000, initLimit = 10, syncLimit = 5 }
[[topics]]
name = "orders"
partitions = 12
replication_factor = 3
config = { "min.insync.replicas" = 2 }
[[workloads]]
kind = "produce"
clients = 2
rate_per_second = 100
session_timeout = "20s"
[[workloads]]
kind = "consume"
clients = 1
session_timeout = "20s"
"#;

pub(crate) fn run() {
    for round in 1..=3 {
        row(&format!("the standard cluster, round {round}"), String::new());
        let mut world = world("cluster", SCENARIO, 1, Watch::LIGHT);
        world.run_until(world.now() + Span::secs(10));
        row("at second 10:", String::new());
        forks(&world);
        let measured = stretch(&mut world, 90);
        speed(90, measured);
        row("at second 100:", String::new());
        forks(&world);
        assert!(world.violations().is_empty(), "{:?}", world.violations());
    }
}
