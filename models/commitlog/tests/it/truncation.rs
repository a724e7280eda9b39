//! Truncations (kafka-broker.md §5.10).

use commitlog::LogConfig;
use kafkawire::{LeaderEpoch, Offset};
use machine::Span;

use crate::bench::{Host, orders, small, values};

/// Twenty records in segments of five, epoch 1 up to offset 11 and epoch 2 from there, committed up to 12.
fn twenty() -> Host {
    let mut host = Host::with_log(small());
    for at in 0..20 {
        host.append(if at < 12 { 1 } else { 2 }, &["0123456789"]);
    }
    host.with_log_of(&orders(), |mut log, _| assert!(log.set_high_watermark(Offset(12))));
    host
}

fn entries(host: &Host) -> Vec<(i32, i64)> {
    host.log().epochs().entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect()
}

fn bases(host: &Host) -> Vec<i64> {
    host.log().segment_bases().map(|base| base.0).collect()
}

#[test]
fn truncation_inside_the_active_segment_cuts_the_file() {
    let mut host = twenty();
    let truncated = host.truncate_to(17);
    assert_eq!((truncated.from, truncated.to, truncated.high_watermark), (Offset(20), Offset(17), Offset(12)));
    assert_eq!((host.log().log_end(), host.log().high_watermark()), (Offset(17), Offset(12)));
    assert_eq!(bases(&host), [0, 5, 10, 15]);
    assert_eq!(host.disk.bytes("kafka-logs/orders-0/00000000000000000015.log").unwrap().len(), 2 * 78);
    assert_eq!(entries(&host), [(1, 0), (2, 12)]);
    assert_eq!(host.append(3, &["new"]).base, Offset(17));
}

#[test]
fn truncation_below_segments_deletes_them_and_lowers_the_high_watermark() {
    let mut host = twenty();
    host.finish_syncs();
    assert_eq!(host.log().recovery_point(), Offset(15));
    host.truncate_to(7);
    assert_eq!((host.log().log_end(), host.log().high_watermark()), (Offset(7), Offset(7)));
    assert_eq!(host.log().recovery_point(), Offset(5), "a shortened segment is unflushed as a whole");
    assert_eq!(bases(&host), [0, 5]);
    assert_eq!(entries(&host), [(1, 0)]);
    assert_eq!(values(&mut host).len(), 7);
    host.finish_syncs();
    assert_eq!(host.text("recovery-point-offset-checkpoint"), "0\n1\norders 0 5\n", "checkpointed at once");
    for at in 7..30 {
        assert_eq!(host.append(3, &["0123456789"]).base, Offset(at));
    }
    assert_eq!(entries(&host), [(1, 0), (3, 7)]);
}

#[test]
fn files_of_truncated_segments_go_after_the_delay() {
    let mut host = twenty();
    host.truncate_to(7);
    let deleted = |host: &Host| host.files("orders-0/").iter().filter(|file| file.ends_with(".deleted")).count();
    assert_eq!(deleted(&host), 6, "three files of each of two segments");
    let due = host.logs().next_wake().unwrap();
    assert_eq!(due - host.now, Span::secs(60));
    host.advance(Span::secs(59));
    assert_eq!(host.with(|logs, io| logs.remove_deleted(io)), Ok(0));
    host.advance(Span::secs(1));
    assert_eq!(host.with(|logs, io| logs.remove_deleted(io)), Ok(6));
    assert_eq!((deleted(&host), host.logs().next_wake()), (0, None));
}

#[test]
fn the_same_segment_deleted_twice_is_removed_once() {
    let mut host = twenty();
    host.truncate_to(15);
    host.truncate_to(14);
    for _ in 0..5 {
        host.append(3, &["0123456789"]);
    }
    assert_eq!(bases(&host), [0, 5, 10, 15]);
    host.advance(Span::secs(30));
    host.truncate_to(14);
    host.advance(Span::secs(30));
    host.with(|logs, io| logs.remove_deleted(io)).unwrap();
    host.advance(Span::secs(30));
    host.with(|logs, io| logs.remove_deleted(io)).unwrap();
    assert!(host.files("orders-0/").iter().all(|file| !file.ends_with(".deleted")));
    assert_eq!(values(&mut host).len(), 14);
}

#[test]
fn truncation_at_the_log_end_takes_only_the_epoch_without_records() {
    let mut host = twenty();
    let start = host.with_log_of(&orders(), |mut log, io| log.begin_epoch(LeaderEpoch(5), io)).unwrap();
    assert_eq!((start, entries(&host)), (Offset(20), vec![(1, 0), (2, 12), (5, 20)]));
    let truncated = host.truncate_to(20);
    assert_eq!((truncated.from, truncated.to), (Offset(20), Offset(20)));
    assert_eq!(entries(&host), [(1, 0), (2, 12)]);
    host.truncate_to(1000);
    assert_eq!((host.log().log_end(), values(&mut host).len()), (Offset(20), 20));
    assert!(host.marks.contains(&"log-epoch-trimmed-at-log-end"));
}

#[test]
fn truncation_below_the_first_segment_empties_the_log() {
    let mut host = twenty();
    host.with(|logs, io| logs.truncate_fully_and_start_at(&orders(), Offset(100), io)).unwrap();
    let log = host.log();
    assert_eq!((log.log_start(), log.high_watermark(), log.log_end()), (Offset(100), Offset(100), Offset(100)));
    assert_eq!((bases(&host), entries(&host)), (vec![100], vec![]));
    host.append(7, &["a", "b"]);
    host.truncate_to(50);
    let log = host.log();
    assert_eq!((log.log_start(), log.high_watermark(), log.log_end()), (Offset(50), Offset(50), Offset(50)));
    assert_eq!(bases(&host), [50]);
}

#[test]
fn log_may_be_emptied_where_it_begins() {
    let mut host = twenty();
    host.with(|logs, io| logs.truncate_fully_and_start_at(&orders(), Offset(15), io)).unwrap();
    assert_eq!((bases(&host), host.log().log_end()), (vec![15], Offset(15)));
    host.finish_syncs();
    host.kill();
    let loaded = host.start();
    assert_eq!((loaded[0].log_start, loaded[0].log_end), (Offset(15), Offset(15)));
}

#[test]
fn truncation_inside_a_batch_takes_all_of_it() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(1, &["a"]);
    host.append(1, &["b", "c", "d"]);
    host.truncate_to(2);
    assert_eq!(host.log().log_end(), Offset(2), "as the real log's: the next record gets this offset");
    assert_eq!(host.log().batches(Offset(0), Offset(9)).count(), 1);
    let data = host.read(1);
    assert_eq!((data.bytes.len(), data.next_offset), (0, Offset(1)));
    assert_eq!(host.append(2, &["e"]).base, Offset(2));
    assert_eq!(host.read(1).first_offset, Offset(2));
}

#[test]
#[should_panic(expected = "high watermark 21 beyond the log end 20")]
fn high_watermark_beyond_the_log_end_is_a_mistake() {
    twenty().with_log_of(&orders(), |mut log, _| log.set_high_watermark(Offset(21)));
}

#[test]
fn high_watermark_only_rises() {
    let mut host = twenty();
    host.with_log_of(&orders(), |mut log, _| {
        assert!(!log.set_high_watermark(Offset(11)));
        assert!(!log.set_high_watermark(Offset(12)));
        assert!(log.set_high_watermark(Offset(20)));
    });
    assert_eq!(host.log().high_watermark(), Offset(20));
}
