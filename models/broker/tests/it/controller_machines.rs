//! What the controller makes of brokers, topics and ISRs that change.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it waits for, and at nothing else")]

use broker::controller::{ControllerEvent, PartitionState, ReplicaState};
use broker::cx::RequestId;
use broker::fact::KafkaFact;
use broker::{BrokerMark, Defect};
use kafkawire::znode::{self, IsrChange, TopicConfig};
use kafkawire::{BrokerEpoch, BrokerId, ErrorCode, Response, Topic, TopicPartition};
use machine::{EndId, Mark, Span};

use crate::controller_bench::{Bench, assignment, state};

const STATE: &str = "/brokers/topics/t/partitions/0/state";

fn t0() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Topic t with partitions on these brokers; brokers 1 to 3, of whom 1 is the controller.
fn with_topic(replicas: &[&[i32]]) -> Bench {
    let mut bench = Bench::in_office();
    bench.create_topic("t", replicas);
    bench.run();
    bench.take_log();
    bench
}

fn partition_state(bench: &Bench) -> PartitionState {
    bench.controller(1).context().partition(&t0()).expect("it is known").state
}

/// The leader elections of a controller: leader, epoch, ISR, unclean.
fn elections(bench: &Bench, broker: i32) -> Vec<(i32, i32, String, bool)> {
    let election = |fact: &KafkaFact| match fact {
        KafkaFact::PartitionLeaderElected { leader, leader_epoch, isr, unclean, .. } => {
            Some((*leader, leader_epoch.0, isr.to_string(), *unclean))
        }
        _ => None,
    };
    bench.facts(broker).iter().filter_map(election).collect()
}

fn broker_changes(bench: &Bench) -> Vec<(String, String, String)> {
    let change = |fact: &KafkaFact| match fact {
        KafkaFact::BrokerChange { added, bounced, dead, .. } => {
            Some((added.to_string(), bounced.to_string(), dead.to_string()))
        }
        _ => None,
    };
    bench.facts(1).iter().filter_map(change).collect()
}

#[test]
fn last_member_stays_in_the_isr_of_a_dead_leader() {
    let mut bench = with_topic(&[&[2, 3]]);
    for (broker, expected) in [(3, state(1, 2, 1, &[2])), (2, state(1, -1, 2, &[2]))] {
        bench.unregister(broker);
        bench.run();
        assert_eq!(bench.tree.text(STATE).unwrap(), expected);
    }
    assert_eq!(partition_state(&bench), PartitionState::Offline);
    // It comes back, and only it may lead.
    bench.register(3);
    bench.run();
    assert_eq!(partition_state(&bench), PartitionState::Offline);
    bench.register(2);
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 2, 3, &[2]));
    let expected = [(2, 0, "2,3".to_owned(), false), (-1, 2, "2".to_owned(), false), (2, 3, "2".to_owned(), false)];
    assert_eq!(elections(&bench, 1), expected);
}

#[test]
fn every_removal_from_the_isr_is_a_new_leader_epoch() {
    let mut bench = with_topic(&[&[1, 2, 3]]);
    bench.unregister(3);
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 1, &[1, 2]));
    bench.unregister(2);
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 2, &[1]));
    assert_eq!(elections(&bench, 1).len(), 1, "the leader stayed");
}

#[test]
fn unclean_leader_is_elected_only_where_the_topic_allows_it() {
    for allowed in [false, true] {
        let mut bench = with_topic(&[&[2, 3]]);
        let config =
            TopicConfig { config: [("unclean.leader.election.enable".to_owned(), allowed.to_string())].into() };
        bench.change(|tree| tree.make("/config/topics/t", config.encode()));
        bench.change(|tree| tree.put(STATE, state(1, 2, 0, &[2])));
        bench.unregister(2);
        bench.run();
        if allowed {
            assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 3, 1, &[3]));
            assert_eq!(elections(&bench, 1).last(), Some(&(3, 1, "3".to_owned(), true)));
            assert!(bench.marks(1).contains(&BrokerMark::UncleanElection.name()));
        } else {
            assert_eq!(bench.tree.text(STATE).unwrap(), state(1, -1, 1, &[2]));
            assert_eq!(partition_state(&bench), PartitionState::Offline);
        }
    }
}

#[test]
fn election_that_races_with_a_leaders_write_is_held_again() {
    let mut bench = with_topic(&[&[2, 1, 3]]);
    bench.unregister(2);
    let write = format!("[✓v1; set {STATE} v0");
    bench.run_until(1, &write);
    // The leader, whose session is gone, shrinks its ISR before the controller's write.
    bench.change(|tree| tree.put(STATE, state(1, 2, 0, &[2, 3])));
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 3, 1, &[3]));
    assert_eq!(bench.tree.version(STATE), 2);
    assert_eq!(elections(&bench, 1).last(), Some(&(3, 1, "3".to_owned(), false)));
}

#[test]
fn shrink_that_races_with_a_leaders_write_is_tried_again() {
    let mut bench = with_topic(&[&[1, 2, 3]]);
    bench.unregister(2);
    bench.run_until(1, &format!("[✓v1; set {STATE} v0"));
    bench.change(|tree| tree.put(STATE, state(1, 1, 0, &[1, 2])));
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 1, &[1]));
}

#[test]
fn lost_answer_of_an_election_is_an_election_more() {
    let mut bench = with_topic(&[&[2, 1, 3]]);
    bench.unregister(2);
    bench.run_until(1, &format!("[✓v1; set {STATE} v0"));
    bench.answer_after_loss(1);
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 2, &[1, 3]));
    assert_eq!(
        elections(&bench, 1).last(),
        Some(&(1, 2, "1,3".to_owned(), false)),
        "stated once, in the epoch that is told"
    );
}

#[test]
fn lost_answer_of_the_first_state_leaves_the_partition_to_the_next_controller() {
    let mut bench = Bench::in_office();
    bench.create_topic("t", &[&[1, 2, 3]]);
    bench.run_until(1, &format!("[✓v1; create {STATE}"));
    bench.answer_after_loss(1);
    bench.run();
    assert_eq!(partition_state(&bench), PartitionState::New);
    assert!(bench.take_sent().iter().all(|line| !line.contains("LeaderAndIsr")));
    bench.expire(1);
    bench.run_alone(2);
    let context = bench.controller(2).context();
    assert_eq!(context.partition(&t0()).unwrap().state, PartitionState::Online);
}

#[test]
fn state_of_a_later_controller_is_not_touched() {
    let mut bench = with_topic(&[&[2, 1, 3]]);
    bench.change(|tree| tree.put(STATE, state(9, 2, 4, &[1, 2, 3])));
    bench.unregister(2);
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(9, 2, 4, &[1, 2, 3]));
    assert_eq!(partition_state(&bench), PartitionState::Offline);
}

#[test]
fn partition_without_a_live_replica_stays_new_until_one_comes() {
    let mut bench = Bench::in_office();
    bench.unregister(3);
    bench.run();
    bench.create_topic("t", &[&[3]]);
    bench.run();
    assert_eq!(partition_state(&bench), PartitionState::New);
    assert_eq!(bench.tree.text(STATE), None);
    bench.register(3);
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 3, 0, &[3]));
    assert_eq!(partition_state(&bench), PartitionState::Online);
}

#[test]
fn new_partitions_of_a_topic_are_taken_up_and_edits_of_old_ones_are_not() {
    let mut bench = with_topic(&[&[1, 2]]);
    bench.change(|tree| tree.put("/brokers/topics/t", assignment(&[&[3, 1], &[2, 3]]).encode()));
    bench.run();
    let context = bench.controller(1).context();
    assert_eq!(context.partition(&t0()).unwrap().assignment[..], [BrokerId(1), BrokerId(2)]);
    assert_eq!(bench.tree.text("/brokers/topics/t/partitions/1/state").unwrap(), state(1, 2, 0, &[2, 3]));
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 0, &[1, 2]));
}

#[test]
fn removed_topic_is_forgotten() {
    let mut bench = with_topic(&[&[1, 2]]);
    for path in [STATE, "/brokers/topics/t/partitions/0", "/brokers/topics/t/partitions", "/brokers/topics/t"] {
        bench.change(|tree| tree.remove(path));
    }
    bench.run();
    assert!(!bench.controller(1).context().has_topic("t"));
    bench.unregister(2);
    bench.run();
    assert!(bench.take_log().iter().all(|line| !line.contains("/state")));
}

#[test]
fn broker_that_comes_is_told_everything_and_the_others_of_it() {
    let mut bench = with_topic(&[&[1, 2], &[2, 3]]);
    bench.unregister(3);
    bench.run();
    bench.take_log();
    let epoch = bench.register(3);
    bench.run();
    let expected = [
        "→1 UpdateMetadata be=18 live 1,2,3".to_owned(),
        "→2 UpdateMetadata be=19 live 1,2,3".to_owned(),
        format!("→3 UpdateMetadata be={epoch} live 1,2,3: t-0 1/0, t-1 2/1"),
        format!("→3 LeaderAndIsr be={epoch}: t-1 2/1 2"),
        "→1 UpdateMetadata be=18 live 1,2,3: t-1 2/1".to_owned(),
        "→2 UpdateMetadata be=19 live 1,2,3: t-1 2/1".to_owned(),
        format!("→3 UpdateMetadata be={epoch} live 1,2,3: t-1 2/1"),
    ];
    let mut sent = bench.take_sent();
    // Channels are independent: only the order of one is an order.
    sent.sort_by_key(|line| line[..4].to_owned());
    let mut sorted = expected.to_vec();
    sorted.sort_by_key(|line| line[..4].to_owned());
    assert_eq!(sent, sorted);
    let changes = broker_changes(&bench);
    assert_eq!(changes.last(), Some(&("3".to_owned(), String::new(), String::new())));
}

#[test]
fn bounce_between_two_reads_is_seen_by_its_epoch() {
    let mut bench = with_topic(&[&[2, 1, 3]]);
    bench.unregister(2);
    let epoch = bench.register(2);
    bench.run();
    assert_eq!(broker_changes(&bench).last(), Some(&(String::new(), "2".to_owned(), String::new())));
    assert!(bench.marks(1).contains(&BrokerMark::BrokerBounced.name()));
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 1, &[1, 3]), "it failed first");
    let sent = bench.take_sent();
    assert!(sent.contains(&format!("→2 LeaderAndIsr be={epoch}: t-0 1/1 1,3")), "and started then: {sent:#?}");
    assert_eq!(bench.controller(1).context().broker_epoch(BrokerId(2)), Some(BrokerEpoch(epoch)));
}

#[test]
fn bounce_is_invisible_without_broker_epochs() {
    let mut bench = Bench::with_defect(Defect::NoBrokerEpoch).inaugurated();
    bench.create_topic("t", &[&[2, 1, 3]]);
    bench.run();
    let sent = bench.take_sent();
    assert!(sent.iter().all(|line| line.contains("be=-1")), "{sent:#?}");
    let before = broker_changes(&bench).len();
    bench.unregister(2);
    bench.register(2);
    bench.run();
    assert_eq!(broker_changes(&bench).len(), before);
    assert!(bench.take_sent().is_empty(), "the new life is never told what to lead");
}

#[test]
fn broker_that_goes_between_listing_and_reading_is_dead_and_not_half_alive() {
    let mut bench = with_topic(&[&[1, 2]]);
    bench.unregister(3);
    bench.run_until(1, "get /brokers/ids/1");
    bench.unregister(2);
    bench.run();
    // One reading decides (KAFKA-3085): both are missing in it.
    let changes = broker_changes(&bench);
    assert_eq!(changes.last(), Some(&(String::new(), String::new(), "2,3".to_owned())));
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 1, &[1]));
}

#[test]
fn death_that_changes_no_partition_is_told_all_the_same() {
    let mut bench = with_topic(&[&[1, 2]]);
    bench.unregister(3);
    bench.run();
    assert_eq!(bench.take_sent(), ["→1 UpdateMetadata be=18 live 1,2", "→2 UpdateMetadata be=19 live 1,2"]);
}

#[test]
fn isr_that_a_leader_wrote_is_told_to_everybody_and_its_notification_deleted() {
    let mut bench = with_topic(&[&[1, 2, 3]]);
    bench.change(|tree| tree.put(STATE, state(1, 1, 0, &[1, 2])));
    let notification = IsrChange { partitions: vec![t0()] };
    bench.change(|tree| tree.make("/isr_change_notification/isr_change_0000000007", notification.encode()));
    bench.run();
    let expected = [
        "ls /isr_change_notification",
        "get /isr_change_notification/isr_change_0000000007",
        "get /brokers/topics/t/partitions/0/state",
        "→1 UpdateMetadata be=18 live 1,2,3: t-0 1/0",
        "→2 UpdateMetadata be=19 live 1,2,3: t-0 1/0",
        "→3 UpdateMetadata be=20 live 1,2,3: t-0 1/0",
        "[✓v1; delete /isr_change_notification/isr_change_0000000007]",
        "ls /isr_change_notification",
    ];
    assert_eq!(bench.take_log(), expected);
    let context = bench.controller(1).context();
    assert_eq!(context.leadership(&t0()).unwrap().isr[..], [BrokerId(1), BrokerId(2)]);
    assert_eq!(context.leadership(&t0()).unwrap().partition_epoch.0, 1);
}

#[test]
fn notification_is_deleted_even_if_it_could_not_be_heeded() {
    let mut bench = with_topic(&[&[1, 2, 3]]);
    let notification = IsrChange { partitions: vec![t0()] };
    bench.change(|tree| tree.make("/isr_change_notification/isr_change_0000000007", notification.encode()));
    bench.run_until(1, &format!("get {STATE}"));
    bench.fail(1);
    bench.run();
    assert!(bench.tree.children("/isr_change_notification").is_empty());
    assert!(bench.controller(1).is_active(), "the failure is logged");
}

#[test]
fn preferred_leader_leads_again_at_the_next_check() {
    let mut bench = with_topic(&[&[2, 1, 3]]);
    bench.unregister(2);
    bench.register(2);
    bench.run();
    // Back in sync, as its leader wrote it, and as the controller was told.
    bench.change(|tree| tree.put(STATE, state(1, 1, 1, &[1, 3, 2])));
    let notification = IsrChange { partitions: vec![t0()] };
    bench.change(|tree| tree.make("/isr_change_notification/isr_change_0000000001", notification.encode()));
    bench.run();
    bench.advance(Span::millis(4_999));
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 1, &[1, 3, 2]));
    bench.advance(Span::millis(1));
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 2, 2, &[1, 3, 2]));
    assert_eq!(elections(&bench, 1).last(), Some(&(2, 2, "1,3,2".to_owned(), false)));
    // And then every five minutes.
    bench.change(|tree| tree.put(STATE, state(1, 3, 3, &[1, 3, 2])));
    bench.put(1, ControllerEvent::IsrChangeNotification);
    bench.change(|tree| tree.make("/isr_change_notification/isr_change_0000000002", notification.encode()));
    bench.run();
    bench.advance(Span::secs(299));
    bench.run();
    assert_eq!(bench.tree.version(STATE), 4);
    bench.advance(Span::secs(1));
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 2, 4, &[1, 3, 2]));
}

#[test]
fn preferred_leader_that_is_out_of_sync_waits() {
    let mut bench = with_topic(&[&[2, 1, 3]]);
    bench.unregister(2);
    bench.register(2);
    bench.run();
    bench.take_log();
    bench.advance(Span::secs(5));
    bench.run();
    assert!(bench.take_log().is_empty());
}

#[test]
fn imbalance_up_to_the_percentage_is_left_alone() {
    // One of ten partitions that prefer broker 2 is led by another: ten per cent are not more than ten per cent.
    let replicas: Vec<&[i32]> = (0..10).map(|_| &[2, 1][..]).collect();
    let mut bench = with_topic(&replicas);
    bench.change(|tree| tree.put(STATE, state(1, 1, 1, &[2, 1])));
    let notification = IsrChange { partitions: vec![t0()] };
    bench.change(|tree| tree.make("/isr_change_notification/isr_change_0000000001", notification.encode()));
    bench.run();
    bench.advance(Span::secs(5));
    bench.run();
    assert_eq!(bench.tree.text(STATE).unwrap(), state(1, 1, 1, &[2, 1]));
}

#[test]
fn controlled_shutdown_answers_with_what_could_not_be_moved() {
    let mut bench = with_topic(&[&[2, 1], &[2, 3], &[2]]);
    bench.change(|tree| tree.put(STATE, state(1, 2, 0, &[2])));
    let to = RequestId { on: EndId(9), number: 1 };
    bench.put(1, ControllerEvent::ControlledShutdown { to, broker: BrokerId(2), epoch: Some(BrokerEpoch(19)) });
    bench.run();
    let [(answered, Response::ControlledShutdown(response))] = bench.answers(1) else { panic!("one answer") };
    assert_eq!((*answered, response.error_code), (to, 0));
    let remaining: Vec<i32> = response.remaining_partitions.iter().map(|tp| tp.partition_index).collect();
    assert_eq!(remaining, [0], "a partition with one replica does not count, one out of sync does");
    assert_eq!(bench.tree.text("/brokers/topics/t/partitions/1/state").unwrap(), state(1, 3, 1, &[3]));
    assert!(bench.controller(1).context().is_shutting_down(BrokerId(2)));
    // It is elected nowhere until its registration is gone.
    bench.unregister(2);
    bench.run();
    bench.register(2);
    bench.run();
    assert!(!bench.controller(1).context().is_shutting_down(BrokerId(2)));
    let context = bench.controller(1).context();
    assert_eq!(context.leadership(&t0()).unwrap().leader, Some(BrokerId(2)));
    assert_eq!(context.partition(&t0()).unwrap().replica(BrokerId(2)), ReplicaState::Online);
}

#[test]
fn controlled_shutdown_of_an_earlier_or_unknown_life_is_refused() {
    let mut bench = with_topic(&[&[2, 1]]);
    bench.put(
        1,
        ControllerEvent::ControlledShutdown {
            to: RequestId { on: EndId(9), number: 1 },
            broker: BrokerId(2),
            epoch: Some(BrokerEpoch(18)),
        },
    );
    bench.put(
        1,
        ControllerEvent::ControlledShutdown {
            to: RequestId { on: EndId(9), number: 2 },
            broker: BrokerId(7),
            epoch: None,
        },
    );
    bench.run();
    let errors: Vec<Option<ErrorCode>> = bench
        .answers(1)
        .iter()
        .map(|(_, response)| match response {
            Response::ControlledShutdown(response) => ErrorCode::from_code(response.error_code),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(errors, [Some(ErrorCode::StaleBrokerEpoch), Some(ErrorCode::BrokerNotAvailable)]);
    assert!(bench.take_log().is_empty());
}

#[test]
fn failover_deletes_notifications_before_it_reads_states() {
    let mut bench = with_topic(&[&[1, 2, 3]]);
    bench.expire(1);
    let notification = IsrChange { partitions: vec![t0()] };
    let path = "/isr_change_notification/isr_change_0000000003";
    bench.change(|tree| tree.make(path, notification.encode()));
    bench.change(|tree| tree.make("/log_dir_event_notification/log_dir_event_0000000001", "{}"));
    bench.run_alone(2);
    let log = bench.take_zookeeper();
    let at =
        |line: &str| log.iter().position(|found| found.starts_with(line)).unwrap_or_else(|| panic!("{line}: {log:#?}"));
    let order = [
        "[create E /controller",
        "[✓v2; delete /log_dir_event_notification/log_dir_event_0000000001]",
        "[✓v2; delete /isr_change_notification/isr_change_0000000003]",
        "ls /brokers/ids",
        "ls /brokers/topics",
        "get /brokers/topics/t",
        "exists /brokers/ids/2",
        "get /brokers/topics/t/partitions/0/state",
        "[✓v2; set /brokers/topics/t/partitions/0/state",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{log:#?}");
    assert_eq!(
        bench.handlers(2),
        [
            "/brokers/ids/2",
            "/brokers/ids/3",
            "/brokers/topics/t",
            "/controller",
            "/brokers/ids/*",
            "/brokers/topics/*",
            "/isr_change_notification/*"
        ]
    );
}

#[test]
fn failover_of_many_partitions_asks_little_of_each() {
    let replicas: Vec<&[i32]> = (0..2_000).map(|_| &[1, 2, 3][..]).collect();
    let mut bench = with_topic(&replicas);
    bench.expire(1);
    bench.run_alone(2);
    assert_eq!(bench.controller(2).context().partition_count(), 2_000);
    let per_partition = bench.take_zookeeper().len() / 2_000;
    // Read at the start; read and written by the shrink, read and written by the election.
    assert_eq!(per_partition, 5);
    let topic = Topic::from("t");
    let path = znode::partition_state(&TopicPartition { topic, partition: 1_999 });
    assert_eq!(bench.tree.text(&path).unwrap(), state(2, 2, 2, &[2, 3]));
}
