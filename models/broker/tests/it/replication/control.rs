//! LeaderAndIsr, StopReplica, UpdateMetadata: fences and transitions (§4.15, §5.9).

use broker::Defect;
use broker::fact::KafkaFact;
use broker::replication::Role;
use kafkawire::messages::stop_replica_request::{StopReplicaPartitionState, StopReplicaTopicState};
use kafkawire::messages::{StopReplicaRequest, UpdateMetadataRequest};
use kafkawire::{BrokerId, ErrorCode, Response};
use machine::Span;

use crate::replication::asking::{error_of, leader_and_isr, set_topic};
use crate::replication::bench::{Bench, State, orders};

fn stop(epoch: i32, delete: bool) -> StopReplicaRequest {
    let partition = StopReplicaPartitionState::default().with_leader_epoch(epoch).with_delete_partition(delete);
    let topic =
        StopReplicaTopicState::default().with_topic_name(orders().topic.wire()).with_partition_states(vec![partition]);
    StopReplicaRequest::default()
        .with_controller_id(1.into())
        .with_controller_epoch(1)
        .with_broker_epoch(-1)
        .with_topic_states(vec![topic])
}

fn stop_error(bench: &mut Bench, id: i32, request: StopReplicaRequest) -> ErrorCode {
    let number = bench.ask(id, request);
    let Response::StopReplica(response) = bench.response(id, number) else { panic!("StopReplica answers itself") };
    assert_eq!(response.error_code, 0);
    error_of(response.partition_errors[0].error_code)
}

fn top_level(bench: &mut Bench, id: i32, broker_epoch: i64, controller_epoch: i32) -> ErrorCode {
    let request = UpdateMetadataRequest::default()
        .with_controller_id(1.into())
        .with_controller_epoch(controller_epoch)
        .with_broker_epoch(broker_epoch);
    let number = bench.ask(id, request);
    let Response::UpdateMetadata(response) = bench.response(id, number) else {
        panic!("UpdateMetadata answers itself")
    };
    error_of(response.error_code)
}

#[test]
fn requests_to_an_earlier_life_are_refused_and_to_a_later_one_obeyed() {
    let mut bench = Bench::new(2);
    assert_eq!(top_level(&mut bench, 2, 19, 1), ErrorCode::StaleBrokerEpoch);
    assert_eq!(top_level(&mut bench, 2, 20, 1), ErrorCode::None);
    assert_eq!(top_level(&mut bench, 2, 21, 1), ErrorCode::None, "the controller may know it first (KAFKA-9839)");
    assert_eq!(top_level(&mut bench, 2, -1, 1), ErrorCode::None);
    assert!(bench.has_mark("broker-stale-broker-epoch-refused"));
    assert!(bench.has_mark("broker-newer-broker-epoch-accepted"));
}

#[test]
fn without_broker_epochs_an_earlier_lifes_requests_are_obeyed() {
    let mut bench = Bench::with(2, &[Defect::NoBrokerEpoch], &|_| {});
    assert_eq!(top_level(&mut bench, 2, 19, 1), ErrorCode::None);
}

#[test]
fn a_deposed_controller_is_refused() {
    let mut bench = Bench::new(2);
    assert_eq!(top_level(&mut bench, 2, 20, 5), ErrorCode::None);
    bench.take_facts(2);
    assert_eq!(top_level(&mut bench, 2, 20, 4), ErrorCode::StaleControllerEpoch);
    assert_eq!(bench.manager(2).controller_epoch().0, 5);
    assert!(matches!(
        bench.take_facts(2)[..],
        [KafkaFact::ControlRequestRefused { api: "UpdateMetadata", error: "STALE_CONTROLLER_EPOCH", .. }]
    ));
}

#[test]
fn leader_epochs_only_go_up() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 3));
    assert_eq!(
        bench.tell(1, &State::new(1, 3)),
        ErrorCode::StaleControllerEpoch,
        "a change of the ISR alone is not taken"
    );
    assert_eq!(bench.tell(1, &State::new(2, 2)), ErrorCode::StaleControllerEpoch);
    assert_eq!(bench.tell(1, &State::new(2, 4)), ErrorCode::None);
    assert_eq!(bench.tell(1, &State::new(2, 5).replicas(&[2, 3])), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_new_leader_notes_its_epoch_even_if_it_never_writes() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench.produce(1, "a", -1);
    bench.elect(&State::new(2, 1));
    let epochs: Vec<_> =
        bench.manager(2).log(&orders()).unwrap().epochs().entries().iter().map(|e| (e.epoch.0, e.start.0)).collect();
    assert_eq!(epochs, [(0, 0), (1, 1)]);
    let led = bench.take_facts(2).into_iter().find(|fact| matches!(fact, KafkaFact::BecameLeader { .. }));
    let Some(KafkaFact::BecameLeader { leader_epoch, start, broker_epoch, .. }) = led else { panic!("it said so") };
    assert_eq!((leader_epoch.0, start.0, broker_epoch.0), (1, 1, 20));
}

#[test]
fn without_a_live_leader_only_the_log_is_created_and_its_high_watermark_checkpointed() {
    let mut bench = Bench::new(2);
    let state = State::new(3, 1);
    assert_eq!(bench.tell(2, &state), ErrorCode::None);
    let partition = bench.manager(2).partition(&orders()).unwrap();
    assert_eq!((partition.role(), partition.leader_epoch()), (&Role::None, None));
    assert!(bench.manager(2).log(&orders()).is_some());
    bench.advance(Span::secs(6));
    let checkpoint = bench.nodes.get_mut(&2).unwrap();
    let file = machine::disk::Disk::open(&mut checkpoint.disk, "kafka-logs/replication-offset-checkpoint").unwrap();
    let text = machine::disk::Disk::read(&mut checkpoint.disk, file, 0, 100).unwrap();
    assert_eq!(text.as_ref(), b"0\n1\norders 0 0\n");
    // The same state is obeyed once the leader is there.
    bench.tell_alive(&[1, 2, 3]);
    assert_eq!(bench.tell(2, &state), ErrorCode::None);
    assert_eq!(bench.manager(2).partition(&orders()).unwrap().role(), &Role::Follower { leader: BrokerId(3) });
}

#[test]
fn a_stopped_replica_keeps_its_log_and_a_deleted_one_does_not() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 2));
    bench.produce(1, "a", -1);
    assert_eq!(stop_error(&mut bench, 2, stop(1, false)), ErrorCode::FencedLeaderEpoch);
    assert_eq!(stop_error(&mut bench, 2, stop(2, false)), ErrorCode::None, "an equal epoch stops (KAFKA-13972)");
    bench.produce(1, "b", 1);
    assert_eq!((bench.log_end(2), bench.log_end(3)), (1, 2), "it fetches no more");
    assert_eq!(stop_error(&mut bench, 2, stop(-2, true)), ErrorCode::None);
    assert!(bench.manager(2).partition(&orders()).is_none());
    assert!(bench.manager(2).log(&orders()).is_none());
    let stopped: Vec<bool> = bench
        .take_facts(2)
        .into_iter()
        .filter_map(|fact| if let KafkaFact::ReplicaStopped { deleted, .. } = fact { Some(deleted) } else { None })
        .collect();
    assert_eq!(stopped, [false, true]);
    bench.advance(Span::secs(61));
    assert!(machine::disk::Disk::list(&bench.nodes[&2].disk, "kafka-logs/orders-0").is_empty(), "its files are gone");
}

#[test]
fn a_deleted_leader_answers_what_waited_for_it() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench.cut(1, 2);
    bench.cut(1, 3);
    let produce = bench.produce(1, "a", -1);
    assert_eq!(stop_error(&mut bench, 1, stop(-1, true)), ErrorCode::None);
    assert_eq!(bench.produced(1, produce).0, ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_topics_settings_are_read_before_its_first_replica_is_created() {
    let mut bench = Bench::new(3);
    set_topic(&mut bench, "orders", &[("min.insync.replicas", "2"), ("segment.bytes", "1000")]);
    bench.elect(&State::new(1, 0));
    let partition = bench.manager(1).partition(&orders()).unwrap();
    assert_eq!(partition.settings().min_insync_replicas, 2);
    assert_eq!(bench.manager(1).log(&orders()).unwrap().config().segment_bytes, 1000);
}

#[test]
fn control_requests_behind_one_that_waits_for_settings_keep_their_order() {
    let mut bench = Bench::new(3);
    let first = bench.ask_only(1, leader_and_isr(&[State::new(1, 0)]));
    let second = bench.ask_only(1, leader_and_isr(&[State::new(2, 1)]));
    assert_eq!(bench.zk.len(), 1, "the settings are read once");
    bench.settle();
    for number in [first, second] {
        let Response::LeaderAndIsr(response) = bench.response(1, number) else { panic!("LeaderAndIsr answers itself") };
        assert_eq!(response.partition_errors[0].error_code, 0);
    }
    assert_eq!(bench.manager(1).partition(&orders()).unwrap().leader_epoch().unwrap().0, 1);
}

#[test]
fn the_high_watermark_comes_back_from_the_checkpoint() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench.produce(1, "a", -1);
    bench.advance(Span::secs(6));
    bench.produce(1, "b", -1);
    bench.kill(1);
    bench.boot(1);
    bench.tell_alive(&[1, 2, 3]);
    bench.cut(1, 2);
    bench.cut(1, 3);
    assert_eq!(bench.tell(1, &State::new(1, 1)), ErrorCode::None);
    assert_eq!((bench.log_end(1), bench.high_watermark(1)), (2, 1), "the second record came after the checkpoint");
}

#[test]
fn a_clean_shutdown_checkpoints_and_marks() {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench.produce(1, "a", -1);
    bench.shut_down(1);
    let files = machine::disk::Disk::list(&bench.nodes[&1].disk, "kafka-logs/");
    assert!(files.iter().any(|path| path.ends_with(".kafka_cleanshutdown")), "{files:?}");
    bench.boot(1);
    assert_eq!(bench.log_end(1), 1);
    assert_eq!(bench.manager(1).log(&orders()).unwrap().recovery_point().0, 1);
}
