//! The start of a broker (kafka-broker.md §3.1, App. A1).

use std::sync::Arc;

use broker::LOG_DIR;
use broker::fact::KafkaFact;
use machine::Span;

use crate::bench::{Bench, SESSION_TIMEOUT, ZOOKEEPER};

#[test]
fn first_broker_creates_the_paths_and_the_cluster_id_and_registers_before_it_elects() {
    let mut bench = Bench::new(1, |_, _| {});
    bench.records = true;
    bench.boot(1);
    bench.until(Span::secs(5), "the broker runs", |bench| bench.broker(1).is_running());
    bench.run(Span::millis(10));
    let asked = bench.zk_requests(1);
    // A path whose parent is missing is tried first, then the parent is created, then it is tried again.
    let expected = [
        "create /consumers",
        "create /brokers/ids",
        "create /brokers",
        "create /brokers/ids",
        "create /brokers/topics",
        "create /config/changes",
        "create /config",
        "create /config/changes",
        "create /admin/delete_topics",
        "create /admin",
        "create /admin/delete_topics",
        "create /brokers/seqid",
        "create /isr_change_notification",
        "create /latest_producer_id_block",
        "create /log_dir_event_notification",
        "create /config/topics",
        "create /config/clients",
        "create /config/users",
        "create /config/brokers",
        "create /config/ips",
        "getData /cluster/id",
        "create /cluster/id",
        "create /cluster",
        "create /cluster/id",
        "getChildren /brokers/ids",
        "multi[create /brokers/ids/1, setData /brokers/ids/1]",
        "exists+watch /controller",
    ];
    assert_eq!(asked[..expected.len()], expected);
    assert_eq!(bench.fact_kinds(1)[..3], ["broker-started", "broker-registered", "broker-running"]);
}

#[test]
fn second_broker_finds_everything_and_reads_whose_endpoint_is_taken() {
    let mut bench = Bench::running(2, |_, _| {});
    let id = bench.broker(1).identity().cluster_id.clone();
    assert_eq!(id.as_ref().map(|id| id.len()), Some(22));
    assert_eq!(id, bench.broker(2).identity().cluster_id);
    bench.records = true;
    bench.terminate(2);
    bench.until(Span::secs(20), "broker 2 stops", |bench| !bench.is_up(2));
    bench.sent.clear();
    bench.boot(2);
    bench.until(Span::secs(5), "broker 2 runs", |bench| bench.broker(2).is_running());
    let asked = bench.zk_requests(2);
    let of_interest = asked.iter().filter(|line| line.contains("cluster") || line.contains("ids"));
    let expected = [
        "create /brokers/ids",
        "getData /cluster/id",
        "getChildren /brokers/ids",
        "getData /brokers/ids/1",
        "multi[create /brokers/ids/2, setData /brokers/ids/2]",
    ];
    assert_eq!(of_interest.collect::<Vec<_>>(), expected);
}

#[test]
fn broker_epoch_is_the_czxid_of_its_registration_and_grows_with_every_life() {
    let mut bench = Bench::running(1, |_, _| {});
    let first = bench.broker(1).identity().epoch.expect("it is registered");
    bench.terminate(1);
    bench.until(Span::secs(20), "it stops", |bench| !bench.is_up(1));
    bench.boot(1);
    bench.until(Span::secs(5), "it runs again", |bench| bench.broker(1).is_running());
    let second = bench.broker(1).identity().epoch.expect("it is registered");
    let czxid = bench.zookeeper().database().tree().client_stat("/brokers/ids/1").expect("it is there").czxid;
    assert_eq!(second.0, czxid.to_wire());
    assert!(second > first);
}

#[test]
fn broker_without_zookeeper_gives_up_after_the_connection_timeout() {
    let mut bench = Bench::new(1, |_, _| {});
    bench.kill(ZOOKEEPER);
    bench.boot(1);
    bench.run(SESSION_TIMEOUT - Span::millis(1));
    assert_eq!(bench.exits, []);
    bench.run(Span::millis(2));
    assert_eq!(bench.exits, [(1, 1)]);
}

#[test]
fn broker_that_was_killed_is_refused_until_its_old_session_expires() {
    let mut bench = Bench::running(1, |_, _| {});
    let old = bench.znode_owner("/brokers/ids/1").expect("it is registered");
    bench.kill(1);
    bench.facts.clear();
    // The supervisor starts it again, and again.
    let mut starts = 0;
    while !(bench.is_up(1) && bench.broker(1).is_running()) {
        if !bench.is_up(1) {
            starts += 1;
            bench.boot(1);
        }
        bench.run(Span::millis(500));
        assert!(starts < 40, "the old session expires");
    }
    let refusals = bench.kafka_facts(1).into_iter().filter_map(|fact| match fact {
        KafkaFact::RegistrationRefused { owner, .. } => Some(owner),
        _ => None,
    });
    let refusals: Vec<_> = refusals.collect();
    assert!(refusals.len() >= 5, "{refusals:?}");
    assert!(refusals.iter().all(|owner| *owner == old));
    assert_eq!(bench.exits, vec![(1, 1); refusals.len()]);
}

#[test]
fn broker_with_the_endpoint_of_another_does_not_start() {
    let mut bench = Bench::new(2, |broker, image| {
        if broker == 2 {
            Arc::make_mut(&mut image.config).advertised_host = Arc::from("kafka-1");
        }
    });
    bench.boot(1);
    bench.run(Span::secs(1));
    bench.boot(2);
    bench.run(Span::secs(1));
    assert_eq!(bench.exits, [(2, 1)]);
}

#[test]
fn broker_on_the_log_directory_of_another_does_not_start_and_leaves_it_alone() {
    let mut bench = Bench::running(1, |_, _| {});
    bench.terminate(1);
    bench.until(Span::secs(20), "it stops", |bench| !bench.is_up(1));
    bench.exits.clear();
    let path = format!("{LOG_DIR}/meta.properties");
    bench.disk(1, |disk| {
        let file = disk.create(&path).unwrap();
        disk.append(file, b"version=0\nbroker.id=2\n").unwrap();
    });
    let marker = format!("{LOG_DIR}/.kafka_cleanshutdown");
    assert!(bench.disk(1, |disk| disk.open(&marker)).is_ok(), "it was shut down cleanly");
    bench.boot(1);
    bench.run(Span::secs(1));
    assert_eq!(bench.exits, [(1, 1)]);
    assert!(bench.disk(1, |disk| disk.open(&marker)).is_ok());
}

#[test]
fn broker_on_the_log_directory_of_another_cluster_does_not_start() {
    let mut bench = Bench::new(1, |_, _| {});
    let path = format!("{LOG_DIR}/meta.properties");
    bench.disk(1, |disk| {
        let file = disk.create(&path).unwrap();
        disk.append(file, b"cluster.id=another\nversion=0\nbroker.id=1\n").unwrap();
    });
    bench.boot(1);
    bench.run(Span::secs(1));
    assert_eq!(bench.exits, [(1, 1)]);
}

#[test]
fn session_that_expires_during_the_start_is_fatal() {
    let mut bench = Bench::new(1, |_, _| {});
    bench.boot(1);
    bench.until(Span::secs(1), "it is connected", |bench| bench.broker(1).is_connected_to_zookeeper());
    bench.cut(1, ZOOKEEPER);
    bench.run(Span::secs(10));
    bench.heal(1, ZOOKEEPER);
    bench.run(Span::secs(5));
    assert_eq!(bench.exits, [(1, 1)]);
}

#[test]
fn registration_whose_answer_is_lost_is_found_to_be_its_own() {
    let mut bench = Bench::new(1, |_, _| {});
    bench.records = true;
    bench.boot(1);
    bench.until(Span::secs(5), "it is applied", |bench| bench.znode_owner("/brokers/ids/1").is_some());
    bench.reset(1, ZOOKEEPER);
    bench.until(Span::secs(5), "it runs", |bench| bench.broker(1).is_running());
    let asked = bench.zk_requests(1);
    let of_interest = asked.iter().filter(|line| line.contains("/brokers/ids/1"));
    let expected = [
        "multi[create /brokers/ids/1, setData /brokers/ids/1]",
        "multi[create /brokers/ids/1, setData /brokers/ids/1]",
        "getData /brokers/ids/1",
    ];
    assert_eq!(of_interest.take(3).collect::<Vec<_>>(), expected);
    let czxid = bench.zookeeper().database().tree().client_stat("/brokers/ids/1").expect("it is there").czxid;
    assert_eq!(bench.broker(1).identity().epoch.map(|epoch| epoch.0), Some(czxid.to_wire()));
}

#[test]
fn same_start_says_the_same_twice() {
    let facts = || Bench::running(2, |_, _| {}).facts;
    assert_eq!(facts(), facts());
}
