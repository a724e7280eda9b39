//! That a drawn world is one in which its participants can work.

use engine::{Fault, When};
use machine::Span;

use crate::scenario::KeyValue;
use crate::{Kind, Scenario, load};

const SEEDS: u64 = 500;

fn drawn(seed: u64) -> Scenario {
    let text = "about = \"drawn\"\nduration = \"20s\"\n[cluster]\ncoordinators = 3\nbrokers = 3\n\
                [[topics]]\nname = \"orders\"\n\
                [[workloads]]\nkind = \"produce\"\n\
                [[workloads]]\nkind = \"consume\"\n\
                [[workloads]]\nkind = \"zookeeper-consume\"\n\
                [swarm]\nprofile = \"within-spec\"\ntimers = \"scaled\"\n";
    load("swarm.toml", text).expect("it is a scenario").resolved(seed)
}

fn number(scenario: &Scenario, key: &str) -> u64 {
    let cluster = &scenario.cluster;
    match cluster.kafka.get(key).or_else(|| cluster.zoo.get(key)) {
        Some(KeyValue::Number(value)) => value.unsigned_abs(),
        other => panic!("{key} is {other:?}"),
    }
}

#[test]
fn fetch_is_answered_before_its_request_times_out() {
    for seed in 0..SEEDS {
        for workload in drawn(seed).workloads.iter().filter(|workload| workload.fetch_wait().most() > Span::ZERO) {
            let (waits, limit) = (workload.fetch_wait().most(), workload.request_timeout.least());
            assert!(waits * 2 <= limit, "seed {seed}: {waits} of {limit}");
        }
    }
}

#[test]
fn nothing_aims_at_a_disk_before_faults_may_begin() {
    let mut aimed = 0;
    for seed in 0..SEEDS {
        for rule in drawn(seed).faults {
            let When::Fact(trigger) = &rule.when else { continue };
            if matches!(rule.fault, Fault::PowerLoss { .. } | Fault::Wipe { .. }) {
                assert_eq!(trigger.not_before, Some(Span::secs(2)), "seed {seed}: {rule:?}");
                aimed += 1;
            }
        }
    }
    assert!(aimed > 20, "{aimed} were drawn");
}

#[test]
fn batch_fits_a_segment() {
    for seed in 0..SEEDS {
        let scenario = drawn(seed);
        let segment = number(&scenario, "log.segment.bytes");
        for workload in scenario.workloads.iter().filter(|workload| workload.kind == Kind::Produce) {
            let batch = workload.batch_bytes.expect("it was drawn");
            assert!(u64::from(batch) <= segment, "seed {seed}: batches of {batch} bytes in segments of {segment}");
            // A record that is longer than a batch is one of its own.
            assert!(u64::from(workload.record_bytes) + 200 <= segment, "seed {seed}: {}", workload.record_bytes);
        }
    }
}

#[test]
fn session_lasts_long_enough_to_be_opened() {
    let mut lengthened = 0;
    for seed in 0..SEEDS {
        let scenario = drawn(seed);
        let session = number(&scenario, "zookeeper.session.timeout.ms");
        let servers = u64::from(scenario.cluster.coordinators.choices()[0]);
        let hop = [scenario.network.latency, scenario.network.jitter].into_iter().flatten();
        let hop: u64 = hop.map(|range| range.most().as_millis()).sum();
        assert!(session / servers >= 6 * hop, "seed {seed}: {session} ms over {servers} servers at {hop} ms a hop");
        assert!(session <= number(&scenario, "tickTime") * 20, "seed {seed}: no server grants {session} ms");
        assert!(scenario.workloads.iter().all(|workload| workload.session_timeout.most().as_millis() == session));
        lengthened += u64::from(scenario.drawn.iter().any(|line| line.starts_with("sessions last")));
    }
    assert!((1..SEEDS).contains(&lengthened), "{lengthened}");
}

#[test]
fn disk_keeps_up_with_the_segments_that_are_rolled() {
    for seed in 0..SEEDS {
        let scenario = drawn(seed);
        let producers = scenario.workloads.iter().filter(|workload| workload.kind == Kind::Produce);
        let per_second: u64 = producers.map(|it| u64::from(it.clients * it.rate_per_second * it.record_bytes)).sum();
        let sync = scenario.cluster.disk.sync.expect("it was drawn").most().as_millis();
        let busy_ms = per_second * 4 * sync / number(&scenario, "log.segment.bytes");
        assert!(busy_ms <= 500, "seed {seed}: the disk is busy {busy_ms} ms of a second");
    }
}

#[test]
fn fetch_that_waits_longer_than_its_request_may_take_is_refused() {
    let text = "about = \"a test\"\nduration = \"20s\"\n[cluster]\ncoordinators = 3\nbrokers = 3\n[[topics]]\nname = \"orders\"\n\
                [[workloads]]\nkind = \"consume\"\nrequest_timeout = \"500ms\"\n";
    let complaint = load("f.toml", text).expect_err("500 ms is the default of fetch_wait").to_string();
    assert!(complaint.starts_with("f.toml:10: a fetch waits 500ms for records"), "{complaint}");
    load("f.toml", &format!("{text}fetch_wait = \"200ms\"\n")).expect("it is answered in time");
    load("f.toml", &text.replace("\"consume\"", "\"produce\"")).expect("a producer fetches nothing");
}
