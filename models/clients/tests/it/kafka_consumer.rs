//! Consumers of given partitions: positions, resets, sessions, validation, commits.

use std::collections::BTreeMap;

use clients::kafka::{ConsumerImage, KafkaClientMark, KafkaWorkFact, OffsetReset};
use kafkawire::{Offset, TopicPartition, znode};
use machine::Span;

use crate::kafka_bench::{GROUP, KafkaBench, TOPIC};
use crate::kafka_images::consumer;

fn commits(bench: &KafkaBench, at: usize) -> BTreeMap<&'static str, usize> {
    let mut ends = BTreeMap::new();
    let mut open = std::collections::BTreeSet::new();
    for fact in bench.said(at) {
        match fact {
            KafkaWorkFact::OffsetCommitInvoked { commit, .. } => assert!(open.insert(*commit)),
            KafkaWorkFact::OffsetCommitCompleted { commit, outcome, .. } => {
                assert!(open.remove(commit), "a commit ends once");
                *ends.entry(*outcome).or_default() += 1;
            }
            _ => {}
        }
    }
    ends
}

fn resets(bench: &KafkaBench, at: usize) -> Vec<(i64, i64, &'static str)> {
    let of = |fact: &KafkaWorkFact| match fact {
        KafkaWorkFact::PositionReset { from, to, why, .. } => Some((from.0, to.0, *why)),
        _ => None,
    };
    bench.said(at).filter_map(of).collect()
}

fn offset_path(partition: i32) -> String {
    znode::consumer_offset(GROUP, &TopicPartition::new(TOPIC, partition))
}

#[test]
fn group_without_an_offset_begins_where_the_reset_says_and_commits_what_it_consumed() {
    let mut bench = KafkaBench::new(2);
    bench.append(0, 0..5);
    let earliest = bench.start(consumer(1));
    bench.run(Span::secs(1));
    bench.append(0, 5..8);
    bench.append(1, 0..2);
    bench.run(Span::secs(3));
    assert_eq!(bench.consumed(earliest, 0), (0..8).collect::<Vec<_>>());
    assert_eq!(bench.consumed(earliest, 1), [0, 1]);
    assert_eq!((bench.committed(0), bench.committed(1)), (Some(8), Some(2)));
    assert_eq!(resets(&bench, earliest), [(-1, 0, "no-offset"), (-1, 0, "no-offset")]);
    let at = TopicPartition::new(TOPIC, 0);
    assert_eq!(bench.client(earliest).lag(&at), Some(0));
    assert_eq!(bench.client(earliest).pending(), None);
    assert_eq!(bench.client(earliest).owned().len(), 2);

    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..5);
    let latest = bench.start(ConsumerImage { reset: OffsetReset::Latest, ..consumer(1) });
    bench.run(Span::secs(1));
    bench.append(0, 5..7);
    bench.run(Span::secs(1));
    assert_eq!(bench.consumed(latest, 0), [5, 6]);
}

#[test]
fn committed_offset_is_where_the_next_life_begins() {
    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..5);
    let at = bench.start(consumer(1));
    bench.run(Span::secs(3));
    bench.append(0, 5..7);
    bench.restart(at);
    bench.run(Span::secs(2));
    assert_eq!(bench.consumed(at, 0), (0..7).collect::<Vec<_>>());
    assert_eq!(bench.count(at, |fact| matches!(fact, KafkaWorkFact::OffsetFetched { offset: Offset(5), .. })), 1);
    let assigned = |fact: &KafkaWorkFact| matches!(fact, KafkaWorkFact::PartitionAssigned { position: Offset(5), .. });
    assert_eq!(bench.count(at, assigned), 1);
}

#[test]
fn offset_out_of_range_is_reset() {
    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..5);
    bench.put(&offset_path(0), znode::encode_offset(Offset(50)));
    let at = bench.start(consumer(1));
    bench.run(Span::secs(2));
    assert_eq!(resets(&bench, at), [(50, 0, "out-of-range")]);
    assert_eq!(bench.consumed(at, 0), (0..5).collect::<Vec<_>>());
    assert!(bench.reached(at, KafkaClientMark::OffsetOutOfRange));
}

#[test]
fn nothing_beyond_the_high_watermark_is_consumed() {
    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..5);
    bench.parts.get_mut(&0).unwrap().high_watermark = Some(3);
    let at = bench.start(consumer(1));
    bench.run(Span::secs(2));
    assert_eq!(bench.consumed(at, 0), [0, 1, 2]);
    bench.parts.get_mut(&0).unwrap().high_watermark = None;
    bench.run(Span::secs(1));
    assert_eq!(bench.consumed(at, 0), (0..5).collect::<Vec<_>>());
}

#[test]
fn new_leader_whose_log_lacks_what_was_read_is_noticed() {
    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..6);
    let at = bench.start(consumer(1));
    bench.run(Span::secs(1));
    // The new leader has only four of them, and goes on by itself.
    bench.parts.get_mut(&0).unwrap().batches.truncate(4);
    bench.elect(0, 2);
    bench.append(0, 10..13);
    bench.set_broker(1, false);
    bench.run(Span::secs(3));
    assert_eq!(resets(&bench, at), [(-1, 0, "no-offset"), (6, 4, "truncated")]);
    assert_eq!(bench.consumed(at, 0), [0, 1, 2, 3, 4, 5, 4, 5, 6]);
    assert!(bench.reached(at, KafkaClientMark::TruncationNoticed));
}

#[test]
fn position_that_is_still_there_is_validated_and_kept() {
    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..6);
    let at = bench.start(consumer(1));
    bench.run(Span::secs(1));
    bench.elect(0, 2);
    bench.append(0, 6..8);
    bench.run(Span::secs(3));
    assert_eq!(bench.consumed(at, 0), (0..8).collect::<Vec<_>>());
    assert!(bench.arrived.contains_key(&kafkawire::ApiKey::OffsetForLeaderEpoch));
    assert_eq!(resets(&bench, at).len(), 1);
}

#[test]
fn broker_that_forgets_a_fetch_session_or_keeps_none_is_read_all_the_same() {
    for sessions in [true, false] {
        let mut bench = KafkaBench::new(2);
        bench.sessions = sessions;
        bench.append(0, 0..3);
        let at = bench.start(consumer(1));
        bench.run(Span::secs(1));
        bench.forget_fetch_sessions();
        bench.append(0, 3..6);
        bench.append(1, 0..6);
        bench.run(Span::secs(2));
        assert_eq!(bench.consumed(at, 0), (0..6).collect::<Vec<_>>());
        assert_eq!(bench.consumed(at, 1), (0..6).collect::<Vec<_>>());
        assert_eq!(bench.reached(at, KafkaClientMark::FetchSessionLost), sessions);
    }
}

#[test]
fn commit_whose_connection_is_lost_ends_unknown_and_the_next_one_succeeds() {
    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..5);
    let at = bench.start(ConsumerImage { commit_interval: Span::secs(2), ..consumer(1) });
    bench.run(Span::millis(1500));
    bench.cut_zookeeper(true);
    bench.run(Span::secs(2));
    bench.cut_zookeeper(false);
    bench.run(Span::secs(8));
    let ends = commits(&bench, at);
    assert!(ends["unknown"] >= 1 && ends["ok"] >= 1, "{ends:?}");
    assert_eq!(bench.committed(0), Some(5));
}

#[test]
fn positions_and_commits_outlive_an_expired_session() {
    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..5);
    let at = bench.start(consumer(1));
    bench.run(Span::secs(3));
    bench.cut_zookeeper(true);
    bench.run(Span::secs(20));
    bench.append(0, 5..9);
    bench.run(Span::secs(1));
    assert_eq!(bench.consumed(at, 0), (0..9).collect::<Vec<_>>(), "reading needs no ZooKeeper");
    bench.cut_zookeeper(false);
    bench.run(Span::secs(8));
    assert_eq!(bench.committed(0), Some(9));
    assert_eq!(bench.consumed(at, 0).len(), 9);
}

#[test]
fn stopped_consumer_reads_to_the_end_and_its_probe_is_a_fetch_at_the_end() {
    let mut bench = KafkaBench::new(1);
    let mut image = consumer(1);
    image.work.stop_after = Some(Span::secs(1));
    image.work.probe_after = Some(Span::secs(4));
    let at = bench.start(image);
    bench.run(Span::millis(900));
    bench.append(0, 0..5);
    bench.set_broker(1, false);
    bench.run(Span::secs(2));
    let stopped = |bench: &KafkaBench| bench.count(at, |fact| matches!(fact, KafkaWorkFact::Stopped { .. }));
    assert_eq!(stopped(&bench), 0, "it has not read everything: {:?}", bench.client(at).pending());
    bench.set_broker(1, true);
    bench.run_until(|bench| stopped(bench) == 1);
    assert_eq!(bench.consumed(at, 0).len(), 5);
    assert!(!bench.client(at).probed());
    bench.run_until(|bench| bench.client(at).probed());
}

#[test]
fn closed_consumer_commits_and_exits() {
    let mut bench = KafkaBench::new(1);
    bench.append(0, 0..5);
    let at = bench.start(ConsumerImage { commit_interval: Span::secs(100), ..consumer(1) });
    bench.run(Span::secs(1));
    assert_eq!(bench.committed(0), None);
    bench.terminate(at);
    bench.run_until(|bench| bench.exit(at) == Some(0));
    assert_eq!(bench.committed(0), Some(5));
    assert_eq!(bench.count(at, |fact| matches!(fact, KafkaWorkFact::PartitionRevoked { why: "closed", .. })), 1);
}
