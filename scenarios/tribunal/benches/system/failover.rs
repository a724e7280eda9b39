//! What a controller failover takes, in simulated time, with many partitions.

use machine::{Instant, Span};
use tribunal::{JudgedWorld, Watch};

use crate::figures::{row, world};

/// From the election of the new controller to the last step of its failover, and what of that the dead one's session was.
pub(crate) fn run() {
    for partitions in [100, 1000, 5000] {
        let text = format!(
            r#"
about = "A controller dies with many partitions."
duration = "1h"
[cluster]
coordinators = 3
brokers = 3
zoo = {{ tickTime = 2000, initLimit = 10, syncLimit = 5 }}
[[topics]]
name = "many"
partitions = {partitions}
replication_factor = 3
[[faults]]
when = {{ at = "120s" }}
do = {{ kill = {{ target = {{ role = "controller" }} }} }}
"#
        );
        row(&format!("a controller dies with {partitions} partitions"), String::new());
        let started = std::time::Instant::now();
        let mut world = world("failover", &text, 1, Watch::FULL);
        world.run_until(Instant::ZERO + Span::secs(240));
        let killed = Instant::ZERO + Span::secs(120);
        let elected = first(&world, "controller-elected", killed);
        let ready = first(&world, "controller-ready", killed);
        let led = last(&world, "became-leader");
        let since = |at: Option<Instant>| {
            let millis = |at: Instant| Span::millis(at.saturating_since(killed).as_millis()).to_string();
            at.map_or_else(|| "never".to_owned(), millis)
        };
        row("from the kill to the election of a controller", since(elected));
        row("from the kill to the end of its failover", since(ready));
        row("from the kill to the last partition with a new leader", since(led));
        row("computed in", format!("{:.1?}", started.elapsed()));
        assert!(world.violations().is_empty(), "{:?}", world.violations());
    }
}

fn stated<'a>(world: &'a JudgedWorld, kind: &'a str) -> impl DoubleEndedIterator<Item = Instant> + 'a {
    let events = &world.recording().expect("it was recorded").events;
    events.iter().filter(move |event| event.facts.iter().any(|(it, _)| *it == kind)).map(|event| event.at)
}

fn first(world: &JudgedWorld, kind: &str, behind: Instant) -> Option<Instant> {
    stated(world, kind).find(|&at| at > behind)
}

fn last(world: &JudgedWorld, kind: &str) -> Option<Instant> {
    stated(world, kind).next_back()
}
