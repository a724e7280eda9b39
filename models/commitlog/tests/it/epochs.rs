//! The epoch cache against a scan of the log (kafka-broker.md §5.8, KA-I30).

use commitlog::{EpochEnd, LogConfig};
use kafkawire::{LeaderEpoch, Offset};
use machine::{Purpose, RunKey};

use crate::bench::{Host, orders, replicated};

const STEPS: Purpose = Purpose::new("steps");

/// What a scan of the batches says of the end of an epoch; `begun` is an epoch at the log's end without records.
fn scan(host: &Host, epoch: i32, begun: Option<i32>) -> Option<EpochEnd> {
    let log = host.log();
    let mut epochs: Vec<(i32, i64)> = Vec::new();
    for header in log.batches(log.log_start(), log.log_end()) {
        if epochs.last().is_none_or(|&(last, _)| last != header.leader_epoch) {
            epochs.push((header.leader_epoch, header.base_offset.0));
        }
    }
    epochs.extend(
        begun
            .filter(|&begun| epochs.last().is_none_or(|&(last, _)| last < begun))
            .map(|begun| (begun, log.log_end().0)),
    );
    let end = |epoch: i32, end: i64| Some(EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) });
    if epochs.last().is_some_and(|&(last, _)| last == epoch) {
        return end(epoch, log.log_end().0);
    }
    let &(_, higher_start) = epochs.iter().find(|&&(found, _)| found > epoch)?;
    let floor = epochs.iter().rev().find(|&&(found, _)| found <= epoch).map_or(epoch, |&(found, _)| found);
    end(floor, higher_start)
}

#[test]
fn epoch_ends_agree_with_a_scan_under_random_leaders_and_truncations() {
    for seed in 0..200 {
        let mut host =
            Host::with_log(LogConfig { segment_bytes: 600, index_interval_bytes: 100, ..LogConfig::kafka_defaults() });
        let mut draw = RunKey([seed, 5]).draw(STEPS, 0, 0);
        let (mut epoch, mut begun) = (0, None);
        for _ in 0..60 {
            match draw.below(8) {
                0 => {
                    epoch += 1 + i32::try_from(draw.below(2)).unwrap();
                    host.with_log_of(&orders(), |mut log, io| log.begin_epoch(LeaderEpoch(epoch), io)).unwrap();
                    begun = Some(epoch);
                }
                1 => {
                    let end = host.log().log_end().0;
                    let to = host
                        .log()
                        .batches(Offset(end - 3), Offset(end))
                        .next()
                        .map_or(end, |batch| batch.base_offset.0);
                    host.truncate_to(to);
                    begun = None;
                }
                2 => {
                    epoch += 1;
                    let bytes = replicated(&[(host.log().log_end().0, epoch, &["a", "b"])]);
                    host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&bytes, io)).unwrap();
                    begun = None;
                }
                3 => {
                    host.finish_syncs();
                }
                4 if draw.chance(1, 4) => {
                    // What a kill leaves is the log; an epoch at its end without records goes.
                    host.kill();
                    host.start();
                    begun = None;
                }
                _ => {
                    host.append(epoch, &["x"]);
                    begun = None;
                }
            }
            for asked in -1..=epoch + 1 {
                let told = host.log().end_offset_for(LeaderEpoch(asked));
                assert_eq!(told, scan(&host, asked, begun), "seed {seed}, epoch {asked}, {:?}", host.log().epochs());
            }
        }
    }
}

#[track_caller]
fn check(entries: &[(i32, i64)], asked: i32, expected: Option<(i32, i64)>) {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    for (at, &(epoch, start)) in entries.iter().enumerate() {
        let next = entries.get(at + 1).map_or(start + 1, |&(_, next)| next);
        for offset in start..next {
            let bytes = replicated(&[(offset, epoch, &["a"])]);
            host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&bytes, io)).unwrap();
        }
    }
    let told = host.log().end_offset_for(LeaderEpoch(asked)).map(|end| (end.epoch.0, end.end.0));
    assert_eq!(told, expected, "epoch {asked} of {entries:?}");
}

#[test]
fn epoch_ends_are_those_of_the_protocol() {
    let log = [(2, 0), (5, 3), (6, 7)];
    check(&log, 6, Some((6, 8))); // The latest ends with the log.
    check(&log, 5, Some((5, 7)));
    check(&log, 4, Some((2, 3))); // Unknown: the largest below it, up to the next one.
    check(&log, 2, Some((2, 3)));
    check(&log, 1, Some((1, 0))); // Before the first: no record of it was ever here.
    check(&log, 7, None); // Beyond the latest: undefined.
    check(&[], 0, None);
}

#[test]
fn leader_of_an_older_epoch_than_its_last_record_drops_the_epochs_that_contradict_it() {
    // A ZooKeeper that lost what it had acknowledged hands an epoch out again.
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(0, &["a"]);
    host.append(5, &["b"]);
    host.with_log_of(&orders(), |mut log, io| log.begin_epoch(LeaderEpoch(3), io)).unwrap();
    let entries: Vec<(i32, i64)> =
        host.log().epochs().entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect();
    assert_eq!(entries, [(0, 0), (3, 2)]);
    host.append(3, &["c"]);
    assert_eq!(host.log().latest_epoch(), Some(LeaderEpoch(3)));
}

#[test]
fn epoch_checkpoint_is_renamed_only_when_it_is_durable() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    assert_eq!(host.text("orders-0/leader-epoch-checkpoint"), "");
    host.append(4, &["a", "b"]);
    assert_eq!(host.text("orders-0/leader-epoch-checkpoint"), "");
    assert_eq!(host.text("orders-0/leader-epoch-checkpoint.tmp"), "0\n1\n4 0\n");
    // While that is being written two more epochs begin: both are in the next file.
    host.append(5, &["c"]);
    host.append(7, &["d"]);
    host.finish(host.syncs[0], Ok(()));
    assert_eq!(host.text("orders-0/leader-epoch-checkpoint"), "0\n1\n4 0\n");
    assert_eq!(
        host.disk.durable().bytes("kafka-logs/orders-0/leader-epoch-checkpoint.tmp").as_deref(),
        Some(&b"0\n1\n4 0\n"[..]),
        "the content is durable before the name"
    );
    host.finish_syncs();
    assert_eq!(host.text("orders-0/leader-epoch-checkpoint"), "0\n3\n4 0\n5 2\n7 3\n");
    let durable = host.disk.durable().bytes("kafka-logs/orders-0/leader-epoch-checkpoint").unwrap();
    assert_eq!(durable, "0\n3\n4 0\n5 2\n7 3\n");
}
