//! The end of a living broker's session (kafka-broker.md §2.4, App. A9).

use broker::fact::KafkaFact;
use broker::{Broker, Defect};
use machine::{Describe, Span};
use zkclient::ZkClientFact;

use crate::bench::{Bench, ZOOKEEPER};

/// Cuts a broker off from ZooKeeper until its session is over there, and heals.
fn expire(bench: &mut Bench, broker: usize) {
    bench.cut(broker, ZOOKEEPER);
    bench.until(Span::secs(20), "its registration vanishes", |bench| {
        bench.znode_owner(&format!("/brokers/ids/{broker}")).is_none()
    });
    bench.heal(broker, ZOOKEEPER);
}

fn epoch(broker: &Broker) -> i64 {
    broker.identity().epoch.expect("it was registered").0
}

#[test]
fn broker_registers_again_in_a_new_session_with_a_new_epoch() {
    let mut bench = Bench::running(2, |_, _| {});
    let (session, before) = (bench.broker(2).identity().session, epoch(bench.broker(2)));
    bench.facts.clear();
    expire(&mut bench, 2);
    bench.until(Span::secs(20), "it is registered again", |bench| epoch(bench.broker(2)) > before);
    assert_ne!(bench.broker(2).identity().session, session);
    assert_eq!(bench.broker(2).identity().registered_session, bench.broker(2).identity().session);
    assert_eq!(bench.znode_owner("/brokers/ids/2"), bench.broker(2).identity().session);
    assert!(bench.broker(2).is_running());
    assert_eq!(bench.exits, []);
    let told: Vec<&str> = bench
        .kafka_facts(2)
        .iter()
        .map(KafkaFact::kind)
        .filter(|kind| kind.contains("session") || kind.contains("registered"))
        .collect();
    assert_eq!(told, ["broker-session-expired", "broker-registered"]);
}

#[test]
fn broker_serves_between_the_end_of_its_session_and_the_next() {
    let mut bench = Bench::running(1, |_, _| {});
    bench.cut(1, ZOOKEEPER);
    bench.run(Span::secs(30));
    assert!(bench.broker(1).is_running());
    let client = bench.connect(1);
    bench.ask(client, crate::topics::metadata_of(&[], false));
}

#[test]
fn active_controller_resigns_before_it_registers_again() {
    let mut bench = Bench::running(2, |_, _| {});
    let controller = if bench.broker(1).controller().is_active() { 1 } else { 2 };
    let other = 3 - controller;
    let before = epoch(bench.broker(controller));
    bench.facts.clear();
    bench.cut(controller, ZOOKEEPER);
    bench.until(Span::secs(30), "the other takes over", |bench| bench.broker(other).controller().is_active());
    assert!(bench.broker(controller).controller().is_active(), "it does not know: there are two for a while");
    bench.heal(controller, ZOOKEEPER);
    bench.until(Span::secs(20), "it is registered again", |bench| epoch(bench.broker(controller)) > before);
    bench.run(Span::secs(1));
    assert!(!bench.broker(controller).controller().is_active());
    assert!(bench.broker(other).controller().is_active());
    let told: Vec<&str> = bench
        .kafka_facts(controller)
        .iter()
        .map(KafkaFact::kind)
        .filter(|kind| ["broker-session-expired", "controller-resigned", "broker-registered"].contains(kind))
        .collect();
    assert_eq!(told, ["broker-session-expired", "controller-resigned", "broker-registered"]);
}

#[test]
fn new_session_is_opened_only_after_the_controller_has_begun_to_resign() {
    let mut bench = Bench::running(1, |_, _| {});
    let before = epoch(bench.broker(1));
    bench.facts.clear();
    expire(&mut bench, 1);
    bench.until(Span::secs(20), "it is registered again", |bench| epoch(bench.broker(1)) > before);
    bench.run(Span::secs(1));
    let at = |kind: &str| bench.facts.iter().position(|(_, fact)| fact.kind() == kind).expect("it was stated");
    let is_new =
        |fact: &broker::Fact| matches!(fact, broker::Fact::Zk(ZkClientFact::SessionConnected { resumed: false, .. }));
    let connected = bench.facts.iter().position(|(_, fact)| is_new(fact)).expect("a new session");
    assert!(at("client-session-expired") < at("controller-resigned"));
    assert!(at("controller-resigned") < connected);
    assert!(connected < at("broker-registered"));
    assert!(at("broker-registered") < at("controller-elected"), "alone it is elected again");
}

#[test]
fn lost_connection_alone_costs_nothing() {
    let mut bench = Bench::running(2, |_, _| {});
    let before = (epoch(bench.broker(1)), epoch(bench.broker(2)));
    bench.facts.clear();
    bench.reset(1, ZOOKEEPER);
    bench.reset(2, ZOOKEEPER);
    bench.run(Span::secs(5));
    assert!(bench.broker(1).is_connected_to_zookeeper());
    assert_eq!((epoch(bench.broker(1)), epoch(bench.broker(2))), before);
    assert!(
        bench.kafka_facts(1).iter().chain(&bench.kafka_facts(2)).all(|fact| fact.kind() != "broker-session-expired")
    );
}

#[test]
fn zookeeper_restart_within_the_session_timeout_is_survived() {
    let mut bench = Bench::running(2, |_, _| {});
    bench.kill(ZOOKEEPER);
    bench.run(Span::secs(1));
    bench.boot(ZOOKEEPER);
    bench.run(Span::secs(10));
    for broker in [1, 2] {
        assert!(bench.broker(broker).is_running());
        assert_eq!(bench.znode_owner(&format!("/brokers/ids/{broker}")), bench.broker(broker).identity().session);
    }
    assert_eq!(bench.broker(1).cache().alive.len(), 2);
    let client = bench.connect(if bench.broker(1).controller().is_active() { 1 } else { 2 });
    bench.ask(client, crate::topics::create("t", 1, 2));
}

/// Leaves the brokers without a server until they give their session up themselves; to a server that starts then, the old
/// sessions are alive for another timeout.
fn outlast(bench: &mut Bench) {
    bench.kill(ZOOKEEPER);
    bench.run(Span::secs(12));
    bench.facts.clear();
    bench.boot(ZOOKEEPER);
}

#[test]
fn own_registration_of_the_session_before_is_deleted_and_made_anew() {
    let mut bench = Bench::running(1, |_, _| {});
    let (old, before) = (bench.broker(1).identity().session, epoch(bench.broker(1)));
    outlast(&mut bench);
    bench.until(Span::secs(5), "it is registered again", |bench| epoch(bench.broker(1)) > before);
    let deleted = bench.kafka_facts(1).into_iter().find_map(|fact| match fact {
        KafkaFact::OwnRegistrationDeleted { owner, .. } => Some(owner),
        _ => None,
    });
    assert_eq!(deleted, old);
    bench.run(Span::secs(20));
    assert_eq!(bench.znode_owner("/brokers/ids/1"), bench.broker(1).identity().session);
}

#[test]
fn with_kafka_7165_the_broker_stays_unregistered() {
    let mut bench = Bench::running(1, |_, image| image.defects = [Defect::NoOwnEphemeralCleanup].into_iter().collect());
    let before = epoch(bench.broker(1));
    outlast(&mut bench);
    bench.until(Span::secs(5), "it is refused", |bench| {
        bench.kafka_facts(1).iter().any(|fact| fact.kind() == "registration-refused")
    });
    bench.run(Span::secs(60));
    assert_eq!(bench.znode_owner("/brokers/ids/1"), None, "the old session is over, and nobody tries again");
    assert_eq!(epoch(bench.broker(1)), before);
    assert!(bench.broker(1).is_running(), "it goes on all the same");
}
