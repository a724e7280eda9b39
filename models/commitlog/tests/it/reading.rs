//! Reads: bounds, sizes, segments, timestamps.

use commitlog::{LogConfig, ReadError, TimestampOffset};
use kafkawire::Offset;

use crate::bench::{Host, identity, orders, small};

/// Offsets 0–1, 2, 3–5 and so on, ten batches of 1, 2 or 3 records, in segments of a few.
fn ten_batches() -> Host {
    let mut host = Host::with_log(small());
    for at in 0..10_usize {
        let all = ["first of it", "second of it", "third of it"];
        host.append_at(0, &all[..1 + (at + 1) % 3], 1000 + i64::try_from(at).unwrap());
    }
    host
}

#[track_caller]
fn check(
    host: &mut Host,
    from: i64,
    max: usize,
    bound: i64,
    at_least_one: bool,
    expected: Result<(i64, i64), ReadError>,
) {
    let read = host.with_log_of(&orders(), |log, io| log.read(Offset(from), max, Offset(bound), at_least_one, io));
    assert_eq!(read.map(|data| (data.first_offset.0, data.next_offset.0)), expected, "read({from}, {max}, {bound})");
}

#[test]
fn every_offset_is_read_from_the_batch_that_holds_it() {
    let mut host = ten_batches();
    let headers: Vec<_> = host.log().batches(Offset(0), Offset(100)).copied().collect();
    assert_eq!(headers.len(), 10);
    assert!(host.log().segment_bases().count() > 2, "the batches are in several segments");
    for header in headers {
        for offset in header.base_offset.0..header.next_offset().0 {
            let data = host.read(offset);
            let first = crate::bench::batches_of(&data.bytes)[0].clone();
            assert_eq!(identity(&first.header), identity(&header));
            assert_eq!(data.first_offset, header.base_offset);
        }
    }
}

#[test]
fn reads_respect_bounds_and_sizes() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    for _ in 0..3 {
        host.append(0, &["a", "b"]);
    }
    let size = usize::try_from(host.log().size_bytes()).unwrap() / 3;
    check(&mut host, 0, usize::MAX, 6, false, Ok((0, 6)));
    check(&mut host, 0, usize::MAX, 5, false, Ok((0, 4)));
    check(&mut host, 1, usize::MAX, 100, false, Ok((0, 6)));
    check(&mut host, 1, usize::MAX, 2, false, Ok((0, 2)));
    check(&mut host, 1, size * 2, 6, false, Ok((0, 4)));
    check(&mut host, 1, size * 2 - 1, 6, false, Ok((0, 2)));
    check(&mut host, 2, size - 1, 6, false, Ok((2, 2)));
    check(&mut host, 2, size - 1, 6, true, Ok((2, 4)));
    check(&mut host, 2, 0, 3, true, Ok((2, 2)));
    check(&mut host, 4, 1000, 4, true, Ok((4, 4)));
    check(&mut host, 5, 1000, 4, true, Ok((5, 5)));
    check(&mut host, 6, 1000, 6, true, Ok((6, 6)));
    check(&mut host, 7, 1000, 6, true, Err(ReadError::OutOfRange));
    check(&mut host, -1, 1000, 6, true, Err(ReadError::OutOfRange));
}

#[test]
fn read_stays_in_one_segment() {
    let mut host = ten_batches();
    let bases: Vec<i64> = host.log().segment_bases().map(|base| base.0).collect();
    for pair in bases.windows(2) {
        let data = host.read(pair[0]);
        assert_eq!((data.first_offset.0, data.next_offset.0), (pair[0], pair[1]));
    }
}

#[test]
fn offsets_before_the_log_start_are_out_of_range() {
    let mut host = ten_batches();
    host.with_log_of(&orders(), |mut log, io| {
        log.set_high_watermark(Offset(9));
        assert_eq!(log.raise_log_start(Offset(4), io), Ok(true));
        assert_eq!(log.raise_log_start(Offset(3), io), Ok(false), "a log start never goes back");
    });
    check(&mut host, 3, 1000, 9, true, Err(ReadError::OutOfRange));
    let data = host.read(4);
    assert!(data.first_offset <= Offset(4));
    assert_eq!(host.log().epochs().entries()[0].start, Offset(4));
}

#[test]
fn damaged_index_is_reported_not_followed_blindly() {
    let mut host = ten_batches();
    host.shut_down();
    let index = format!("orders-0/{:020}.index", 0);
    let entries = host.disk.bytes(&format!("kafka-logs/{index}")).unwrap();
    assert!(entries.len() >= 8, "the first segment has an index entry");
    host.damage(&index, 7, &[entries[7] ^ 1]);
    host.start();
    let last = i64::from(u32::from_be_bytes(entries[..4].try_into().unwrap()));
    check(&mut host, last, 1000, 100, true, Err(ReadError::IndexCorrupt));
}

#[test]
fn record_is_found_by_timestamp_as_by_a_scan() {
    let mut host = Host::with_log(small());
    // Timestamps that go back now and then, as those of several producers do.
    for timestamp in [10, 30, 20, 40, 40, 35, 60, 50, 80, 70, 90, 90] {
        host.append_at(0, &["one value", "another"], timestamp);
    }
    let scan: Vec<(i64, i64)> = host
        .read_all()
        .iter()
        .flat_map(|batch| batch.records().unwrap())
        .map(|record| (record.timestamp, record.offset.0))
        .collect();
    for timestamp in 0..=95 {
        let expected = scan
            .iter()
            .find(|(found, _)| *found >= timestamp)
            .map(|&(found, offset)| TimestampOffset { timestamp: found, offset: Offset(offset) });
        let found = host.with_log_of(&orders(), |log, io| log.offset_for_timestamp(timestamp, io)).unwrap();
        assert_eq!(found, expected, "timestamp {timestamp}");
    }
}

#[test]
fn headers_are_those_of_the_bytes() {
    let mut host = ten_batches();
    let on_disk: Vec<_> = host.read_all().iter().map(|batch| batch.header).collect();
    let in_memory: Vec<_> = host.log().batches(Offset(0), Offset(100)).copied().collect();
    assert_eq!(on_disk, in_memory);
    let some: Vec<i64> = host.log().batches(Offset(1), Offset(4)).map(|header| header.base_offset.0).collect();
    assert_eq!(some, [0, 2], "batches that hold offsets 1 to 3");
    assert_eq!(host.log().batch_at(Offset(4)).map(|header| header.base_offset), Some(Offset(2)));
    assert_eq!(host.log().batch_at(host.log().log_end()), None);
}
