//! Who becomes controller, and how it ends.

use broker::controller::ControllerEvent;
use broker::cx::RequestId;
use broker::{BrokerMark, Defect};
use jute::SessionId;
use kafkawire::znode::{self, BrokerRegistration};
use kafkawire::{BrokerId, ControllerEpoch, ErrorCode, Response};
use machine::{EndId, Mark};

use crate::controller_bench::{Bench, state};

const CLAIM: &str = "[create E /controller";

fn request(number: u64) -> RequestId {
    RequestId { on: EndId(99), number }
}

fn shutdown_of(broker: i32, number: u64) -> ControllerEvent {
    ControllerEvent::ControlledShutdown { to: request(number), broker: BrokerId(broker), epoch: None }
}

#[track_caller]
fn check_answer(bench: &Bench, broker: i32, number: u64, error: ErrorCode) {
    let answer = bench.answers(broker).iter().find(|(to, _)| *to == request(number));
    let Some((_, Response::ControlledShutdown(response))) = answer else { panic!("{number} has no answer") };
    assert_eq!(ErrorCode::from_code(response.error_code), Some(error));
}

#[test]
fn loser_of_the_race_remembers_the_winner() {
    let mut bench = Bench::new();
    for broker in [1, 2] {
        bench.register(broker);
        bench.put(broker, ControllerEvent::Startup);
        bench.run_until(broker, CLAIM);
    }
    bench.answer(2);
    bench.answer(1);
    bench.run();
    assert!(!bench.controller(1).is_active());
    assert!(bench.controller(2).is_active());
    assert_eq!(bench.controller(1).known_controller(), Some(BrokerId(2)));
    assert_eq!(bench.controller(2).epoch(), Some(ControllerEpoch(1)));
    assert!(bench.facts(1).is_empty());
    assert_eq!(bench.tree.text("/controller_epoch").unwrap(), "1");
}

#[test]
fn lost_answer_of_the_claim_is_found_out_by_reading() {
    let mut bench = Bench::new();
    bench.register(1);
    bench.put(1, ControllerEvent::Startup);
    bench.run_until(1, CLAIM);
    bench.answer_after_loss(1);
    bench.run();
    assert_eq!(bench.controller(1).epoch(), Some(ControllerEpoch(1)));
    assert_eq!(bench.fact_kinds(1), ["controller-elected", "controller-ready"]);
    // The version it fences with is the one it has found: a write goes through.
    bench.create_topic("t", &[&[1]]);
    bench.run();
    assert_eq!(bench.tree.text("/brokers/topics/t/partitions/0/state").unwrap(), state(1, 1, 0, &[1]));
}

#[test]
fn epoch_znode_of_another_candidate_is_as_good() {
    let mut bench = Bench::new();
    bench.register(1);
    bench.put(1, ControllerEvent::Startup);
    bench.run_until(1, "create /controller_epoch 0");
    bench.change(|tree| tree.make("/controller_epoch", "0"));
    bench.run();
    assert_eq!(bench.controller(1).epoch(), Some(ControllerEpoch(1)));
}

#[test]
fn deleted_claim_makes_every_broker_a_candidate_again() {
    let mut bench = Bench::in_office();
    bench.change(|tree| tree.remove("/controller"));
    bench.run_alone(2);
    bench.run();
    assert_eq!(bench.controller(2).epoch(), Some(ControllerEpoch(2)));
    assert!(!bench.controller(1).is_active());
    assert_eq!(bench.fact_kinds(1).last(), Some(&"controller-resigned"));
    assert_eq!(bench.handlers(1), ["/controller"], "only the handler that every broker has is left");
}

/// Broker 1 is about to create the znodes of a new topic; its session ended without its knowing, and broker 2 was elected.
fn deposed_in_the_middle(mut bench: Bench) -> Bench {
    bench.create_topic("t", &[&[1, 2, 3]]);
    let write = if bench.has(Defect::NoControllerFence) {
        "create /brokers/topics/t/p"
    } else {
        "[✓v1; create /brokers/topics/t/p"
    };
    bench.run_until(1, write);
    bench.expire(1);
    bench.run_until(2, "ls /log_dir_event_notification");
    bench
}

#[test]
fn controller_that_is_deposed_in_the_middle_of_an_event_writes_nothing_and_resigns() {
    let mut bench = deposed_in_the_middle(Bench::in_office());
    bench.take_log();
    bench.run_alone(1);
    assert!(!bench.controller(1).is_active());
    assert_eq!(bench.controller(1).known_controller(), Some(BrokerId(2)));
    assert_eq!(bench.tree.text("/brokers/topics/t/partitions"), None);
    assert_eq!(bench.fact_kinds(1).last(), Some(&"controller-resigned"));
    assert!(bench.marks(1).contains(&BrokerMark::ControllerDeposedMidEvent.name()));
    assert!(bench.take_sent().is_empty());
    bench.run();
    assert_eq!(bench.tree.text("/brokers/topics/t/partitions/0/state").unwrap(), state(2, 2, 0, &[2, 3]));
}

#[test]
fn controller_without_fence_still_writes_after_it_is_deposed() {
    let mut bench = deposed_in_the_middle(Bench::with_defect(Defect::NoControllerFence).inaugurated());
    assert_eq!(bench.tree.text("/controller_epoch").unwrap(), "2");
    while bench.tree.text("/brokers/topics/t/partitions/0/state").is_none() {
        assert!(bench.turn(1) || bench.answer(1), "it writes the state");
    }
    assert_eq!(bench.tree.text("/brokers/topics/t/partitions/0/state").unwrap(), state(1, 1, 0, &[1, 2, 3]));
}

#[test]
fn expiry_preempts_what_waits_and_ends_the_office() {
    let mut bench = Bench::in_office();
    bench.create_topic("t", &[&[1, 2, 3]]);
    bench.run_until(1, "[✓v1; create");
    bench.put(1, shutdown_of(2, 1));
    bench.put(1, ControllerEvent::BrokerChange);
    bench.expire(1);
    bench.clear_and_put_expire(1);
    check_answer(&bench, 1, 1, ErrorCode::NotController);
    assert!(bench.asks(1).is_empty(), "the event in the middle goes on first");
    bench.fail(1);
    bench.run_alone(1);
    assert_eq!(bench.asks(1), ["expire-processed"]);
    assert!(!bench.controller(1).is_active());
    assert_eq!(bench.controller(1).known_controller(), None);
    assert!(bench.controller(1).context().is_empty());
}

#[test]
fn broker_registers_again_before_it_takes_part_in_elections() {
    let mut bench = Bench::in_office();
    bench.expire(1);
    bench.clear_and_put_expire(1);
    bench.run_alone(1);
    bench.renew_session(1);
    bench.take_log();
    bench.put(1, ControllerEvent::RegisterBrokerAndReelect);
    bench.run_alone(1);
    let log = bench.take_log();
    assert!(log[0].starts_with("[create E /brokers/ids/1; set /brokers/ids/1 v0 "), "{log:#?}");
    assert_eq!(log[1..5], ["exists /controller", "get /controller", "get /controller", "get /controller_epoch"]);
    assert_eq!(bench.controller(1).epoch(), Some(ControllerEpoch(2)));
}

#[test]
fn broker_whose_registration_is_anothers_stays_out_of_elections() {
    let mut bench = Bench::new();
    let payload = BrokerRegistration::new("kafka-1", 9092, None, 1).encode();
    bench.register(2);
    bench.renew_session(1);
    bench.change(|tree| tree.make_ephemeral(&znode::broker_id(BrokerId(1)), payload, SessionId::new(77)).1);
    bench.put(1, ControllerEvent::RegisterBrokerAndReelect);
    bench.run();
    assert_eq!(bench.fact_kinds(1), ["registration-refused"]);
    assert_eq!(bench.take_log()[1..], ["get /brokers/ids/1"], "it does not even look at /controller");
}

#[test]
fn controller_that_fails_to_take_office_gives_it_up() {
    let mut bench = Bench::new();
    bench.register(1);
    bench.change(|tree| tree.make_ephemeral("/brokers/ids/2", "no registration", SessionId::new(77)).1);
    bench.put(1, ControllerEvent::Startup);
    bench.run_until(1, "[✓v1; delete /controller]");
    assert_eq!(bench.fact_kinds(1), ["controller-elected", "controller-resigned"]);
    bench.change(|tree| tree.remove("/brokers/ids/2"));
    bench.run();
    assert_eq!(bench.controller(1).epoch(), Some(ControllerEpoch(2)), "its own deletion is a call to elect");
    assert_eq!(bench.fact_kinds(1)[2..], ["controller-elected", "controller-ready"]);
}

#[test]
fn batch_that_a_lost_office_left_unsent_costs_the_next_one() {
    let mut bench = Bench::in_office();
    bench.create_topic("t", &[&[1, 2, 3]]);
    bench.run();
    // The requests to stop the replica on broker 3 are gathered when the shrink of its ISR is refused.
    bench.unregister(3);
    bench.run_until(1, "[✓v1; set /brokers/topics/t/partitions/0/state");
    bench.expire(1);
    bench.run_alone(2);
    bench.run();
    assert_eq!(bench.controller(2).epoch(), Some(ControllerEpoch(2)));
    bench.register(1);
    bench.expire(2);
    bench.run_until(1, "[✓v3; delete /controller]");
    bench.run();
    let active: Vec<i32> = (1..=3).filter(|&broker| bench.controller(broker).is_active()).collect();
    assert_eq!(active.len(), 1);
    assert_eq!(bench.tree.text("/controller_epoch").unwrap(), "4");
}

#[test]
fn shutdown_resigns_preempts_and_stops_the_thread() {
    let mut bench = Bench::in_office();
    bench.put(1, shutdown_of(2, 1));
    bench.put(1, ControllerEvent::Shutdown);
    check_answer(&bench, 1, 1, ErrorCode::NotController);
    bench.run_alone(1);
    assert!(bench.asks(1).contains(&"controller-stopped"));
    assert!(!bench.controller(1).is_active());
    bench.put(1, shutdown_of(2, 2));
    check_answer(&bench, 1, 2, ErrorCode::NotController);
    bench.put(1, ControllerEvent::Reelect);
    assert!(!bench.turn(1), "the thread is at its end");
    assert_eq!(bench.controller(1).pending(), "");
}

#[test]
fn events_for_the_controller_are_nothing_to_other_brokers() {
    let mut bench = Bench::in_office();
    bench.put(2, ControllerEvent::BrokerChange);
    bench.put(2, ControllerEvent::TopicChange);
    bench.put(2, ControllerEvent::AutoPreferredReplicaLeaderElection);
    bench.put(2, shutdown_of(3, 1));
    bench.run();
    assert!(bench.take_log().is_empty());
    check_answer(&bench, 2, 1, ErrorCode::NotController);
}
