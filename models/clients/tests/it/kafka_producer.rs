//! Producers: outcomes, retries and their order, delivery timeout, partitions, the three balances.

use std::collections::BTreeSet;

use clients::kafka::{Acks, Balance, KafkaClientMark, KafkaWorkFact, ProducerImage, RecordId, decode_value};
use kafkawire::{BrokerId, ErrorCode, TopicPartition};
use machine::Span;

use crate::kafka_bench::{KafkaBench, TOPIC};
use crate::kafka_brokers::Fate;
use crate::kafka_images::{producer, zk_config};

fn sent(bench: &KafkaBench, at: usize) -> Vec<(RecordId, i32)> {
    let of = |fact: &KafkaWorkFact| match fact {
        KafkaWorkFact::RecordSent { record, partition, .. } => Some((*record, *partition)),
        _ => None,
    };
    bench.said(at).filter_map(of).collect()
}

/// The records in a partition's log, in order.
fn log(bench: &KafkaBench, partition: i32) -> Vec<RecordId> {
    let at = TopicPartition::new(TOPIC, partition);
    let records = bench.parts[&partition].batches.iter().flat_map(|batch| batch.records().unwrap());
    records.map(|record| decode_value(&record.value.unwrap(), &at).unwrap()).collect()
}

fn stopping(image: ProducerImage, after: Span) -> ProducerImage {
    let mut image = image;
    image.work.stop_after = Some(after);
    image
}

#[test]
fn every_record_is_acknowledged_at_the_offset_it_has() {
    for acks in [Acks::One, Acks::All] {
        let mut bench = KafkaBench::new(3);
        let at = bench.start(stopping(ProducerImage { acks, ..producer(1) }, Span::secs(2)));
        bench.run(Span::secs(3));
        let [sent, acknowledged, surely, unknown] = bench.outcomes(at);
        assert!(sent > 50, "{sent}");
        assert_eq!((acknowledged, surely, unknown), (sent, 0, 0));
        for fact in bench.said(at) {
            if let KafkaWorkFact::RecordAcknowledged { record, partition, offset, .. } = fact {
                assert_eq!(log(&bench, *partition)[usize::try_from(offset.0).unwrap()], *record);
            }
        }
        assert_eq!(bench.client(at).pending(), None);
    }
}

#[test]
fn record_without_acks_is_acknowledged_when_it_is_sent_at_no_offset() {
    let mut bench = KafkaBench::new(1);
    let at = bench.start(stopping(ProducerImage { acks: Acks::Zero, ..producer(1) }, Span::secs(1)));
    bench.run(Span::secs(2));
    let [sent, acknowledged, ..] = bench.outcomes(at);
    assert!(sent > 20 && acknowledged == sent);
    assert!(
        bench.said(at).all(|fact| !matches!(fact, KafkaWorkFact::RecordAcknowledged { offset, .. } if offset.0 != -1))
    );
    assert_eq!(log(&bench, 0).len(), sent);
}

/// One record, whose only attempt meets this fate; returns (acknowledged, surely, unknown).
fn outcome_of(acks: Acks, retries: u32, fates: &[Fate]) -> (usize, usize, usize) {
    let mut bench = KafkaBench::new(1);
    bench.fates.extend(fates);
    let image = ProducerImage { acks, retries, rate_per_second: 2, ..producer(1) };
    let at = bench.start(image);
    let ended = |bench: &KafkaBench| bench.outcomes(at)[1..].iter().sum::<usize>() > 0;
    bench.run_until(ended);
    let [_, acknowledged, surely, unknown] = bench.outcomes(at);
    (acknowledged, surely, unknown)
}

#[test]
fn outcome_is_failed_surely_only_if_no_attempt_can_have_appended() {
    use Acks::{All, One};
    use ErrorCode::{
        MessageTooLarge, NotEnoughReplicas, NotEnoughReplicasAfterAppend, NotLeaderOrFollower, RequestTimedOut,
    };
    let (ok, surely, unknown) = ((1, 0, 0), (0, 1, 0), (0, 0, 1));
    for (acks, retries, fates, expected) in [
        (All, 0, vec![Fate::Refuse(NotEnoughReplicas)], surely),
        (All, 0, vec![Fate::Refuse(MessageTooLarge)], surely),
        (One, 0, vec![Fate::Refuse(NotLeaderOrFollower)], surely),
        (All, 0, vec![Fate::Refuse(NotLeaderOrFollower)], unknown),
        (All, 0, vec![Fate::AppendThen(NotLeaderOrFollower)], unknown),
        (All, 0, vec![Fate::AppendThen(NotEnoughReplicasAfterAppend)], unknown),
        (All, 0, vec![Fate::AppendThen(RequestTimedOut)], unknown),
        (All, 0, vec![Fate::Lose], unknown),
        (All, 0, vec![Fate::AppendThenLose], unknown),
        (All, 1, vec![Fate::Refuse(NotEnoughReplicas), Fate::Refuse(NotEnoughReplicas)], surely),
        (All, 1, vec![Fate::Lose, Fate::Refuse(NotEnoughReplicas)], unknown),
        (All, 1, vec![Fate::Refuse(NotEnoughReplicas), Fate::Lose], unknown),
        (All, 1, vec![Fate::Refuse(NotEnoughReplicas)], ok),
        (All, 1, vec![Fate::Lose], ok),
    ] {
        assert_eq!(outcome_of(acks, retries, &fates), expected, "{acks:?}, {fates:?}");
    }
}

#[test]
fn retry_of_what_was_appended_after_all_is_a_duplicate() {
    let mut bench = KafkaBench::new(1);
    bench.fates.push_back(Fate::AppendThenLose);
    let at = bench.start(stopping(producer(1), Span::secs(1)));
    bench.run(Span::secs(3));
    let [sent, acknowledged, ..] = bench.outcomes(at);
    assert_eq!(sent, acknowledged);
    let log = log(&bench, 0);
    let distinct: BTreeSet<_> = log.iter().collect();
    assert_eq!(distinct.len(), sent);
    assert!(log.len() > sent, "what was appended twice is there twice");
    assert!(bench.reached(at, KafkaClientMark::Retried));
}

#[test]
fn retry_may_be_appended_behind_a_later_batch_if_more_than_one_is_in_flight() {
    for (max_in_flight, reorders) in [(5, true), (1, false)] {
        let mut bench = KafkaBench::new(1);
        let image = ProducerImage {
            max_in_flight,
            request_timeout: Span::secs(20),
            delivery_timeout: Span::secs(30),
            ..producer(1)
        };
        let at = bench.start(stopping(image, Span::secs(2)));
        bench.run_until(|bench| bench.outcomes(at)[1] > 3);
        bench.fates.push_back(Fate::Hold);
        bench.run_until(|bench| bench.held() == 1);
        bench.run(Span::millis(200));
        // The first fails, those behind it on the connection are appended; then it is appended itself.
        bench.release(0, Some(Fate::Refuse(ErrorCode::NotEnoughReplicas)));
        bench.run(Span::secs(4));
        let log = log(&bench, 0);
        assert_eq!(log.len(), bench.outcomes(at)[1]);
        assert_eq!(!log.is_sorted(), reorders, "{max_in_flight} in flight");
        assert!(bench.reached(at, KafkaClientMark::Retried));
        assert_eq!(bench.reached(at, KafkaClientMark::Reordered), reorders);
    }
}

#[test]
fn record_that_was_never_sent_expires_surely_failed() {
    let mut bench = KafkaBench::new(1);
    let at = bench.start(stopping(producer(1), Span::secs(3)));
    bench.run(Span::secs(1));
    let before = bench.outcomes(at);
    assert_eq!(before[0], before[1]);
    bench.set_broker(1, false);
    bench.run(Span::secs(15));
    let [sent, acknowledged, surely, unknown] = bench.outcomes(at);
    assert!(surely > 50, "{surely}");
    assert_eq!(sent, acknowledged + surely + unknown);
    assert!(unknown <= 1, "one may have been in flight");
    assert!(bench.reached(at, KafkaClientMark::ExpiredUnsent));
    let errors =
        bench.count(at, |fact| matches!(fact, KafkaWorkFact::RecordFailed { error: "DELIVERY_TIMED_OUT", .. }));
    assert_eq!(errors, surely + unknown);
}

#[test]
fn record_that_was_sent_and_not_answered_expires_unknown() {
    let mut bench = KafkaBench::new(1);
    bench.fates.extend([Fate::Hold; 100]);
    let image = ProducerImage { request_timeout: Span::secs(6), max_in_flight: 1, rate_per_second: 1, ..producer(1) };
    let at = bench.start(image);
    bench.run_until(|bench| bench.held() == 1);
    bench.run(Span::millis(6_010));
    assert_eq!(bench.outcomes(at)[3], 1);
}

#[test]
fn records_of_a_key_go_to_its_partition_and_those_without_stick_until_a_batch_is_full() {
    let mut bench = KafkaBench::new(3);
    let keyed = bench.start(stopping(ProducerImage { keys: 4, ..producer(1) }, Span::secs(2)));
    let sticky = bench.start(stopping(
        ProducerImage { linger: Span::millis(500), rate_per_second: 100, ..producer(2) },
        Span::secs(2),
    ));
    bench.run(Span::secs(4));
    for (record, partition) in sent(&bench, keyed) {
        let key = format!("key-{}", record.number % 4);
        let expected = clients::kafka::partition_of_key(key.as_bytes(), 3);
        assert_eq!(partition, i32::try_from(expected).unwrap());
    }
    let partitions: Vec<i32> = sent(&bench, sticky).into_iter().map(|(_, partition)| partition).collect();
    let switches = partitions.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((2..8).contains(&switches), "{switches} switches in {} records", partitions.len());
    assert_eq!(partitions.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn new_leader_is_found_by_metadata_and_an_older_epoch_is_not_believed() {
    let mut bench = KafkaBench::new(1);
    let at = bench.start(stopping(producer(1), Span::secs(4)));
    bench.run(Span::secs(1));
    bench.elect(0, 2);
    bench.run(Span::secs(1));
    assert!(bench.reached(at, KafkaClientMark::NotLeader));
    // A broker that lags names the leader of the past.
    bench.metadata = Some([(0, (1, 1))].into());
    bench.fates.push_back(Fate::Refuse(ErrorCode::NotLeaderOrFollower));
    let before = bench.produced.len();
    bench.run(Span::secs(3));
    assert!(bench.reached(at, KafkaClientMark::StaleMetadata));
    assert!(bench.produced[before..].iter().all(|&(broker, _)| broker == 2));
    let [sent, acknowledged, ..] = bench.outcomes(at);
    assert_eq!(sent, acknowledged);
}

#[test]
fn numbers_of_a_producer_that_lost_power_are_not_used_again() {
    let mut bench = KafkaBench::new(1);
    let at = bench.start(producer(1));
    let mut lives = Vec::new();
    for _ in 0..3 {
        let before = sent(&bench, at).len();
        bench.run(Span::secs(1));
        let records: Vec<RecordId> = sent(&bench, at)[before..].iter().map(|&(record, _)| record).collect();
        assert!(records.len() > 10);
        lives.push(records);
        bench.restart(at);
    }
    let all: Vec<RecordId> = lives.concat();
    assert!(all.is_sorted() && all.iter().collect::<BTreeSet<_>>().len() == all.len());
}

#[test]
fn closed_producer_sends_what_it_has_and_exits() {
    let mut bench = KafkaBench::new(1);
    let at = bench.start(ProducerImage { linger: Span::secs(3), ..producer(1) });
    bench.run(Span::secs(1));
    bench.terminate(at);
    bench.run_until(|bench| bench.exit(at) == Some(0));
    let [sent, acknowledged, ..] = bench.outcomes(at);
    assert!(sent > 10 && sent == acknowledged);
}

#[test]
fn probe_is_tried_until_it_is_acknowledged() {
    let mut bench = KafkaBench::new(1);
    let mut image = producer(1);
    image.work.stop_after = Some(Span::secs(1));
    image.work.probe_after = Some(Span::secs(2));
    image.delivery_timeout = Span::secs(2);
    let at = bench.start(image);
    bench.run(Span::millis(1500));
    assert_eq!(bench.count(at, |fact| matches!(fact, KafkaWorkFact::Stopped { .. })), 1);
    bench.set_broker(1, false);
    bench.run(Span::secs(10));
    assert!(bench.client(at).wants_probe() && !bench.client(at).probed());
    bench.set_broker(1, true);
    bench.run_until(|bench| bench.client(at).probed());
    assert_eq!(bench.count(at, |fact| matches!(fact, KafkaWorkFact::ProbeSucceeded { .. })), 1);
}

fn known(bench: &KafkaBench, at: usize) -> Vec<String> {
    let of = |fact: &KafkaWorkFact| match fact {
        KafkaWorkFact::ProducerBrokersKnown { brokers, .. } => Some(brokers.to_string()),
        _ => None,
    };
    bench.said(at).filter_map(of).collect()
}

/// A fourth broker joins; then a partition moves to it.
#[test]
fn joining_broker_is_seen_by_each_balance_as_it_must_and_gets_records_when_a_partition_moves() {
    let mut bench = KafkaBench::new(3);
    bench.write_cluster();
    let metadata = bench.start(ProducerImage { metadata_max_age: Span::secs(5), keys: 20, ..producer(1) });
    let zookeeper = bench.start(ProducerImage { balance: Balance::ZooKeeper(zk_config()), ..producer(2) });
    let fixed = bench.start(ProducerImage { balance: Balance::FixedBroker(BrokerId(2)), ..producer(3) });
    bench.run(Span::secs(2));
    for at in [metadata, zookeeper, fixed] {
        assert!(bench.outcomes(at)[1] > 20);
    }
    assert_eq!(known(&bench, zookeeper).last().unwrap(), "1,2,3");
    assert!(sent(&bench, fixed).iter().all(|&(_, partition)| partition == 1), "broker 2 leads partition 1");
    bench.brokers.insert(4, true);
    bench.register_broker(4);
    bench.run(Span::millis(20));
    assert_eq!(known(&bench, zookeeper).last().unwrap(), "1,2,3,4", "it is seen at once");
    assert_eq!(known(&bench, metadata).last().unwrap(), "1,2,3", "metadata are not old enough");
    bench.run(Span::secs(6));
    assert_eq!(known(&bench, metadata).last().unwrap(), "1,2,3,4");
    assert_eq!(known(&bench, fixed), ["2"]);
    assert!(bench.produced.iter().all(|&(broker, _)| broker != 4), "nothing moves by itself");
    bench.elect(0, 4);
    bench.write_state(0);
    let before = bench.produced.len();
    bench.run(Span::secs(2));
    assert!(bench.produced[before..].iter().any(|&(broker, _)| broker == 4));
    for at in [metadata, zookeeper, fixed] {
        let [sent, acknowledged, surely, unknown] = bench.outcomes(at);
        assert!(sent <= acknowledged + 3 && surely + unknown == 0);
    }
}

#[test]
fn producer_behind_a_fixed_broker_fails_with_it_and_never_turns_to_another() {
    let mut bench = KafkaBench::new(3);
    let at = bench.start(ProducerImage { balance: Balance::FixedBroker(BrokerId(2)), ..producer(1) });
    bench.run(Span::secs(2));
    let before = bench.produced.len();
    bench.set_broker(2, false);
    bench.elect(1, 3);
    bench.run(Span::secs(10));
    assert_eq!(bench.produced.len(), before);
    let [sent, acknowledged, surely, unknown] = bench.outcomes(at);
    assert!(surely + unknown > 50 && acknowledged > 50, "{sent} {acknowledged} {surely} {unknown}");
    assert!(!bench.client(at).wants_probe());
}

#[test]
fn watching_producer_keeps_what_it_knows_while_its_session_expires_and_reads_it_again() {
    let mut bench = KafkaBench::new(3);
    bench.write_cluster();
    let at = bench.start(ProducerImage { balance: Balance::ZooKeeper(zk_config()), ..producer(1) });
    bench.run(Span::secs(2));
    bench.cut_zookeeper(true);
    bench.run(Span::secs(15));
    let during = bench.outcomes(at);
    assert!(during[1] > 500, "brokers are still there: {during:?}");
    // A leader moves while nobody can watch.
    bench.elect(0, 2);
    bench.cut_zookeeper(false);
    bench.write_state(0);
    bench.run(Span::secs(5));
    let before = bench.produced.len();
    bench.run(Span::secs(3));
    let to_partition: BTreeSet<i32> =
        bench.produced[before..].iter().filter(|&&(_, partition)| partition == 0).map(|&(broker, _)| broker).collect();
    assert_eq!(to_partition, [2].into());
}
