//! Appends: offsets, epochs, refusals, rolls, flushes.

use bytes::Bytes;
use commitlog::{AppendError, LogConfig, LogEvent};
use kafkawire::{BadBatch, Batch, LeaderEpoch, Offset};
use machine::Span;

use crate::bench::{Host, batch, orders, replicated, small, values};

#[test]
fn leader_assigns_offsets_and_epoch() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    let first = host.append(3, &["a", "b"]);
    let second = host.append(3, &["c"]);
    assert_eq!((first.base, first.last), (Offset(0), Offset(1)));
    assert_eq!((second.base, second.last, second.flush_first), (Offset(2), Offset(2), None));
    assert_eq!(host.log().log_end(), Offset(3));
    assert_eq!(host.log().high_watermark(), Offset(0));
    assert_eq!(host.log().latest_epoch(), Some(LeaderEpoch(3)));
    let found: Vec<(i64, i32)> =
        host.read_all().iter().map(|batch| (batch.header.base_offset.0, batch.header.leader_epoch)).collect();
    assert_eq!(found, [(0, 3), (2, 3)]);
    assert_eq!(values(&mut host), [(0, "a".into()), (1, "b".into()), (2, "c".into())]);
}

#[track_caller]
fn check_refused(batch: &Batch, expected: AppendError) {
    let mut host = Host::with_log(LogConfig { max_message_bytes: 200, ..small() });
    let result = host.with_log_of(&orders(), |mut log, io| log.append_as_leader(batch, LeaderEpoch(0), io));
    assert_eq!(result, Err(expected));
    assert_eq!(host.log().log_end(), Offset(0));
    assert_eq!(host.log().latest_epoch(), None, "a refused batch begins no epoch");
}

#[test]
fn leader_refuses_what_no_producer_may_send() {
    let good = batch(&["a"], 0);
    check_refused(&good.stamped(Offset(7), LeaderEpoch(0)), AppendError::Invalid);
    let mut bytes = good.bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let bytes = Bytes::from(bytes);
    check_refused(&Batch { header: good.header, bytes }, AppendError::Corrupt(BadBatch::BadCrc));
    check_refused(&batch(&["x".repeat(200).as_str()], 0), AppendError::TooLarge);
    let mut miscounted = good.clone();
    miscounted.header.record_count = 2;
    check_refused(&miscounted, AppendError::Invalid);
    let mut control = good;
    control.header.attributes |= 1 << 5;
    check_refused(&control, AppendError::Invalid);
}

#[test]
fn append_larger_than_a_segment_is_refused() {
    let mut host = Host::with_log(small());
    let large = batch(&["x".repeat(400).as_str()], 0);
    let result = host.with_log_of(&orders(), |mut log, io| log.append_as_leader(&large, LeaderEpoch(0), io));
    assert_eq!(result, Err(AppendError::LargerThanSegment));
}

#[test]
fn follower_keeps_offsets_and_epochs_of_its_leader() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    let bytes = replicated(&[(0, 1, &["a", "b"]), (2, 1, &["c"]), (3, 4, &["d"])]);
    let appended = host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&bytes, io)).unwrap();
    assert_eq!(appended.iter().map(|batch| batch.base.0).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(host.read(0).bytes, bytes);
    let entries: Vec<(i32, i64)> =
        host.log().epochs().entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect();
    assert_eq!(entries, [(1, 0), (4, 3)]);
}

#[test]
fn follower_leaves_out_the_incomplete_batch_at_the_end() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    let bytes = replicated(&[(0, 1, &["a"]), (1, 1, &["b"])]);
    let cut = bytes.slice(..bytes.len() - 1);
    let appended = host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&cut, io)).unwrap();
    assert_eq!(appended.len(), 1);
    assert_eq!(host.log().log_end(), Offset(1));
}

/// Found by swarm-cluster, seed 5263: a leader had been truncated in the midst of a batch.
#[test]
fn follower_takes_a_gap_as_its_leader_has_it() {
    let mut leader = Host::with_log(LogConfig::kafka_defaults());
    leader.append(0, &["a"]);
    leader.append(0, &["b", "c", "d"]);
    leader.truncate_to(2);
    assert_eq!(leader.log().log_end(), Offset(2), "the whole batch of 1 to 3 is gone");
    assert_eq!(leader.append(1, &["e"]).base, Offset(2));
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    let bytes = replicated(&[(0, 0, &["a"]), (2, 1, &["e"])]);
    let appended = host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&bytes, io)).unwrap();
    assert_eq!(appended.len(), 2);
    assert_eq!(host.log().log_end(), Offset(3));
    let bytes = replicated(&[(5, 1, &["f"]), (4, 1, &["g"])]);
    let result = host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&bytes, io));
    assert_eq!(result, Err(AppendError::UnexpectedOffset { expected: Offset(6), found: Offset(4) }));
}

#[test]
fn follower_refuses_what_begins_before_its_end_or_is_corrupt() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(0, &["a", "b"]);
    for found in [0, 1] {
        let bytes = replicated(&[(found, 0, &["c"])]);
        let result = host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&bytes, io));
        assert_eq!(result, Err(AppendError::UnexpectedOffset { expected: Offset(2), found: Offset(found) }));
    }
    let mut bytes = replicated(&[(2, 0, &["c"]), (3, 0, &["d"])]).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let bytes = Bytes::from(bytes);
    let result = host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&bytes, io));
    assert_eq!(result, Err(AppendError::Corrupt(BadBatch::BadCrc)));
    assert_eq!(host.log().log_end(), Offset(2), "of a corrupt response nothing is appended");
}

#[test]
fn segment_is_rolled_before_it_outgrows_its_size() {
    let mut host = Host::with_log(small());
    for _ in 0..20 {
        host.append(0, &["0123456789"]);
    }
    let bases: Vec<i64> = host.log().segment_bases().map(|base| base.0).collect();
    // A batch of one such record has 78 bytes; five of them fit into 400.
    assert_eq!(bases, [0, 5, 10, 15]);
    for base in bases {
        let len = host.disk.bytes(&format!("kafka-logs/orders-0/{base:020}.log")).unwrap().len();
        assert_eq!(len, 390);
    }
}

#[test]
fn segment_is_rolled_by_the_timestamp_of_its_first_batch() {
    let mut host = Host::with_log(LogConfig { segment_ms: 1000, ..LogConfig::kafka_defaults() });
    for timestamp in [5000, 6000, 5500, 6001, 7001, 7002] {
        host.append_at(0, &["a"], timestamp);
    }
    assert_eq!(host.log().segment_bases().map(|base| base.0).collect::<Vec<_>>(), [0, 3, 5]);
}

#[test]
fn segment_is_rolled_when_an_index_is_full() {
    // Two entries of the time index fit, and the last place is kept for the largest timestamp.
    let config = LogConfig { index_max_bytes: 24, index_interval_bytes: 1, ..LogConfig::kafka_defaults() };
    let mut host = Host::with_log(config);
    for timestamp in 1..=6 {
        host.append_at(0, &["a"], timestamp);
    }
    assert_eq!(host.log().segment_bases().map(|base| base.0).collect::<Vec<_>>(), [0, 2, 4]);
}

#[test]
fn roll_flushes_everything_below_the_new_segment() {
    let mut host = Host::with_log(small());
    for _ in 0..6 {
        host.append(0, &["0123456789"]);
    }
    assert_eq!(host.log().recovery_point(), Offset(0));
    let events = host.finish_syncs();
    assert_eq!(events, [LogEvent::Flushed { tp: orders(), recovery_point: Offset(5) }]);
    assert_eq!((host.log().recovery_point(), host.log().unflushed()), (Offset(5), 1));
    let durable = host.disk.durable().bytes("kafka-logs/orders-0/00000000000000000000.log").unwrap();
    assert_eq!(durable.len(), 390, "the rolled segment is durable");
}

#[test]
fn flush_messages_makes_each_append_wait_for_its_sync() {
    let mut host = Host::with_log(LogConfig { flush_messages: 1, ..LogConfig::kafka_defaults() });
    let appended = host.append(0, &["a"]);
    assert_eq!(appended.flush_first, Some(Offset(1)));
    let events = host.finish_syncs();
    assert_eq!(events, [LogEvent::Flushed { tp: orders(), recovery_point: Offset(1) }]);
}

#[test]
fn log_flusher_flushes_what_is_unflushed_for_flush_ms() {
    let mut host = Host::with_log(LogConfig { flush_ms: 500, ..LogConfig::kafka_defaults() });
    host.append(0, &["a"]);
    host.advance(Span::millis(499));
    host.with(|logs, io| logs.flush_dirty(io));
    host.finish_syncs();
    assert_eq!(host.log().recovery_point(), Offset(0));
    host.advance(Span::millis(1));
    host.with(|logs, io| logs.flush_dirty(io));
    host.finish_syncs();
    assert_eq!(host.log().recovery_point(), Offset(1));
}

#[test]
fn an_earlier_flush_does_not_vouch_for_what_was_appended_after_a_truncation() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(0, &["a", "b", "c"]);
    host.append(0, &["d"]);
    host.with_log_of(&orders(), |mut log, io| log.flush(io));
    host.truncate_to(3);
    host.append(1, &["e"]);
    host.finish_syncs();
    assert_eq!(host.log().recovery_point(), Offset(0));
    host.with_log_of(&orders(), |mut log, io| log.flush(io));
    host.finish_syncs();
    assert_eq!(host.log().recovery_point(), Offset(4));
}

#[test]
fn a_flush_syncs_only_what_no_earlier_one_does() {
    let flush = |host: &mut Host| {
        host.with_log_of(&orders(), |mut log, io| log.flush(io));
        host.syncs.len()
    };
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(0, &["a"]);
    host.finish_syncs(); // That of the checkpoint of epochs.
    assert_eq!(flush(&mut host), 4, "the log, its two indexes and the directory");
    assert_eq!(flush(&mut host), 4, "all of it is on its way");
    host.append(0, &["b"]);
    assert_eq!(flush(&mut host), 7, "its directory is known");
    host.finish_syncs();
    assert_eq!(host.log().recovery_point(), Offset(2));
    assert_eq!(flush(&mut host), 0, "nothing is unflushed");
}

#[test]
fn each_segment_that_is_rolled_is_synced_once_and_flushes_end_in_order() {
    let mut host = Host::with_log(small());
    host.append(0, &["0123456789"]);
    host.finish_syncs(); // That of the checkpoint of epochs.
    for _ in 0..15 {
        host.append(0, &["0123456789"]);
    }
    assert_eq!(host.log().segment_bases().count(), 4);
    assert_eq!(host.syncs.len(), 3 * 4, "three segments were rolled");
    let flushed = |to| LogEvent::Flushed { tp: orders(), recovery_point: Offset(to) };
    assert_eq!(host.finish_syncs(), [flushed(5), flushed(10), flushed(15)]);
}
