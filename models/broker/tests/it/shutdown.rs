//! The end of a broker (kafka-broker.md §3.5, §3.6, §3.8, App. A7).

use std::sync::Arc;

use broker::LOG_DIR;
use broker::fact::KafkaFact;
use machine::Span;

use crate::bench::{Bench, ZOOKEEPER};

#[track_caller]
fn stop(bench: &mut Bench, broker: usize) {
    bench.facts.clear();
    bench.terminate(broker);
    bench.until(Span::secs(60), "the process ends", |bench| !bench.is_up(broker));
    assert_eq!(bench.exits.pop(), Some((broker, 0)));
}

/// The last fact of a clean end.
#[track_caller]
fn controlled(bench: &Bench, broker: usize) -> bool {
    let stopped = bench.kafka_facts(broker).into_iter().filter_map(|fact| match fact {
        KafkaFact::Stopped { controlled, .. } => Some(controlled),
        _ => None,
    });
    let stopped: Vec<bool> = stopped.collect();
    assert_eq!(stopped.len(), 1);
    stopped[0]
}

#[test]
fn clean_end_leaves_the_marker_and_no_session() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    bench.ask(client, crate::topics::create("t", 2, 1));
    let marker = format!("{LOG_DIR}/.kafka_cleanshutdown");
    assert!(bench.disk(1, |disk| disk.open(&marker)).is_err());
    stop(&mut bench, 1);
    bench.run(Span::millis(5));
    assert!(bench.is_lost(client));
    assert!(bench.disk(1, |disk| disk.open(&marker)).is_ok());
    assert_eq!(bench.znode_owner("/brokers/ids/1"), None, "the session was closed, it did not expire");
    assert_eq!(bench.znode_owner("/controller"), None);
    let told = bench.fact_kinds(1);
    let at = |kind: &str| told.iter().position(|told| *told == kind).unwrap_or_else(|| panic!("{kind}: {told:?}"));
    assert!(at("broker-stopping") < at("controller-resigned"));
    assert!(at("controller-resigned") < at("broker-stopped"));
}

#[test]
fn logs_are_recovered_after_a_kill_and_not_after_a_clean_end() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    bench.ask(client, crate::topics::create("t", 2, 1));
    let recovered = |bench: &Bench| {
        let loaded = bench.kafka_facts(1).into_iter().filter_map(|fact| match fact {
            KafkaFact::LogLoaded { recovered, .. } => Some(recovered),
            _ => None,
        });
        loaded.collect::<Vec<_>>()
    };
    stop(&mut bench, 1);
    bench.facts.clear();
    bench.boot(1);
    bench.until(Span::secs(5), "it runs", |bench| bench.broker(1).is_running());
    assert_eq!(recovered(&bench), [false, false]);
    assert_eq!(bench.fact_kinds(1)[..4], ["broker-started", "log-loaded", "log-loaded", "broker-registered"]);
    bench.kill(1);
    bench.run(Span::secs(10));
    bench.facts.clear();
    bench.boot(1);
    bench.until(Span::secs(5), "it runs", |bench| bench.broker(1).is_running());
    assert_eq!(recovered(&bench), [true, true]);
}

#[test]
fn leaderships_are_moved_away_before_the_broker_stops() {
    let mut bench = Bench::running(3, |_, _| {});
    let controller = (1..=3).find(|&broker| bench.broker(broker).controller().is_active()).unwrap();
    let leaving = controller % 3 + 1;
    let client = bench.connect(controller);
    bench.ask(client, crate::topics::create("t", 6, 3));
    bench.run(Span::secs(2));
    stop(&mut bench, leaving);
    assert!(controlled(&bench, leaving));
    let cache = bench.broker(controller).cache();
    for (index, partition) in cache.topics["t"].iter() {
        let leader = partition.leader.expect("there always was one");
        assert_ne!(usize::try_from(leader.0).unwrap(), leaving, "partition {index}");
        assert_eq!(partition.isr.len(), 2);
    }
}

#[test]
fn last_replica_cannot_move_its_leaderships_and_stops_all_the_same() {
    let mut bench = Bench::running(2, |_, image| {
        let config = Arc::make_mut(&mut image.config);
        config.controlled_shutdown_retry_backoff = Span::secs(1);
    });
    let controller = if bench.broker(1).controller().is_active() { 1 } else { 2 };
    let other = 3 - controller;
    let client = bench.connect(controller);
    bench.ask(client, crate::topics::create("t", 1, 2));
    bench.run(Span::secs(1));
    stop(&mut bench, other);
    bench.run(Span::secs(1));
    let before = bench.now();
    stop(&mut bench, controller);
    assert!(!controlled(&bench, controller));
    assert!(bench.now() >= before + Span::secs(2), "three attempts have two pauses");
}

#[test]
fn controlled_shutdown_can_be_switched_off() {
    let mut bench = Bench::running(2, |_, image| {
        Arc::make_mut(&mut image.config).controlled_shutdown_enable = false;
    });
    let before = bench.now();
    stop(&mut bench, 2);
    assert!(!controlled(&bench, 2));
    assert!(bench.now() < before + Span::secs(1));
}

/// The controller's thread waits for ZooKeeper without end, and the shutdown for the thread, as in the real broker.
#[test]
fn shutdown_without_zookeeper_ends_when_zookeeper_is_back() {
    let mut bench = Bench::running(1, |_, _| {});
    bench.kill(ZOOKEEPER);
    bench.run(Span::secs(1));
    bench.terminate(1);
    bench.run(Span::secs(300));
    assert!(bench.is_up(1));
    bench.boot(ZOOKEEPER);
    bench.until(Span::secs(60), "the process ends", |bench| !bench.is_up(1));
    assert_eq!(bench.exits, [(1, 0)]);
}

#[test]
fn second_sigterm_changes_nothing() {
    let mut bench = Bench::running(2, |_, _| {});
    bench.terminate(2);
    bench.terminate(2);
    bench.until(Span::secs(20), "the process ends", |bench| !bench.is_up(2));
    assert_eq!(bench.exits, [(2, 0)]);
    assert_eq!(bench.fact_kinds(2).iter().filter(|kind| **kind == "broker-stopping").count(), 1);
}

#[test]
fn sigterm_during_the_start_halts() {
    let mut bench = Bench::new(1, |_, _| {});
    bench.boot(1);
    bench.terminate(1);
    assert_eq!(bench.exits, [(1, 1)]);
}

#[test]
fn failing_disk_halts_the_broker() {
    let mut bench = Bench::running(1, |_, _| {});
    bench.fail_disk(1);
    let client = bench.connect(1);
    bench.send(client, crate::topics::create("t", 1, 1));
    bench.run(Span::secs(3));
    assert_eq!(bench.exits, [(1, 1)]);
    assert!(bench.fact_kinds(1).contains(&"log-dir-failed"));
}
