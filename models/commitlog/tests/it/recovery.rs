//! What is left after a loss of power (kafka-broker.md §5.3, KA-I31).

use commitlog::{Cut, LogConfig};
use kafkawire::Offset;
use machine::disk::CrashModel;

use crate::bench::{DIR, Host, orders, replicated, small, values};

#[test]
fn what_was_not_flushed_is_lost_and_the_rest_is_kept() {
    let mut host = Host::with_log(small());
    for _ in 0..13 {
        host.append(1, &["0123456789"]);
    }
    host.finish_syncs();
    assert_eq!(host.log().recovery_point(), Offset(10));
    host.lose_power(CrashModel::AllUnsyncedLost);
    let loaded = host.start();
    assert_eq!((loaded[0].log_end, loaded[0].recovery_point), (Offset(10), Offset(0)), "no recovery point was written");
    assert_eq!(values(&mut host).len(), 10);
}

#[test]
fn torn_batch_and_all_behind_it_is_cut_off() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    for _ in 0..10 {
        host.append(1, &["0123456789"]);
    }
    host.kill();
    host.damage("orders-0/00000000000000000000.log", 6 * 78 + 70, b"\xff");
    let loaded = host.start();
    assert_eq!(loaded[0].cut, Some(Cut { at: Offset(6), bytes: 4 * 78, segments: 0 }));
    assert_eq!(values(&mut host).len(), 6);
    assert!(host.marks.contains(&"log-recovery-truncated"));
    assert_eq!(host.append(2, &["next"]).base, Offset(6));
}

#[test]
fn what_a_lost_truncation_leaves_behind_later_batches_is_cut_off() {
    // 1. the log is cut at 2 and written again by a newer leader, 2. power is lost, and with it the truncation, not the write:
    // whole batches of the older leader follow those of the newer one.
    for (base, epoch, end) in [(2, 4, 3), (2, 1, 5), (3, 1, 2), (1, 1, 2)] {
        let mut host = Host::with_log(LogConfig::kafka_defaults());
        for _ in 0..5 {
            host.append(1, &["0123456789"]);
        }
        host.kill();
        let written = replicated(&[(base, epoch, &["abcdefghij"])]);
        host.damage("orders-0/00000000000000000000.log", 2 * 78, &written);
        assert_eq!(host.start()[0].log_end, Offset(end), "batch at {base} of epoch {epoch}");
    }
}

#[test]
fn segments_behind_a_torn_batch_are_deleted() {
    let mut host = Host::with_log(small());
    for _ in 0..20 {
        host.append(1, &["0123456789"]);
    }
    host.kill();
    host.damage("orders-0/00000000000000000005.log", 3 * 78 + 70, b"\xff");
    let loaded = host.start();
    assert_eq!(loaded[0].cut, Some(Cut { at: Offset(8), bytes: 2 * 78, segments: 2 }));
    assert_eq!(host.log().segment_bases().map(|base| base.0).collect::<Vec<_>>(), [0, 5]);
    assert_eq!(values(&mut host).len(), 8);
}

#[test]
fn segments_below_the_recovery_point_are_not_scanned() {
    let mut host = Host::with_log(small());
    for _ in 0..20 {
        host.append(1, &["0123456789"]);
    }
    host.finish_syncs();
    host.with(|logs, io| logs.checkpoint_recovery_points(io)).unwrap();
    host.finish_syncs();
    assert_eq!(host.text("recovery-point-offset-checkpoint"), "0\n1\norders 0 15\n");
    host.kill();
    // Rot of a record that nobody looks at; a consumer will find it by its CRC.
    host.damage("orders-0/00000000000000000005.log", 3 * 78 + 70, b"\xff");
    let loaded = host.start();
    assert_eq!((loaded[0].cut, loaded[0].recovery_point, loaded[0].log_end), (None, Offset(15), Offset(20)));
    assert_eq!(host.marks.iter().filter(|mark| **mark == "log-recovered").count(), 1, "the active segment alone");
}

#[test]
fn clean_log_is_taken_as_it_is() {
    let mut host = Host::with_log(small());
    for _ in 0..7 {
        host.append(1, &["0123456789"]);
    }
    host.shut_down();
    host.damage("orders-0/00000000000000000005.log", 70, b"\xff");
    let loaded = host.start();
    assert_eq!((loaded[0].clean, loaded[0].cut, loaded[0].log_end), (true, None, Offset(7)));
}

#[test]
fn segment_with_a_missing_or_impossible_index_is_scanned_even_if_clean() {
    for damage in ["missing", "odd length", "backwards", "beyond the end"] {
        let mut host = Host::with_log(small());
        for _ in 0..7 {
            host.append(1, &["0123456789"]);
        }
        host.shut_down();
        let index = format!("{DIR}/orders-0/{:020}.index", 0);
        let before = host.disk.bytes(&index).unwrap();
        assert_eq!(before.len(), 16);
        {
            use machine::disk::Disk as _;
            match damage {
                "missing" => host.disk.remove(&index).unwrap(),
                "odd length" => host.damage("orders-0/00000000000000000000.index", 16, b"\0"),
                "backwards" => host.damage("orders-0/00000000000000000000.index", 8, &before[..8]),
                _ => host.damage("orders-0/00000000000000000000.index", 12, &[0x7f]),
            }
        }
        let loaded = host.start();
        assert_eq!((loaded[0].clean, loaded[0].cut, loaded[0].log_end), (true, None, Offset(7)), "{damage}");
        assert_eq!(host.disk.bytes(&index).unwrap(), before, "{damage}");
        assert_eq!(host.marks, ["log-segment-rolled", "log-clean-start", "log-recovered"], "{damage}");
    }
}

#[test]
fn orphaned_indexes_and_deleted_segments_go_at_the_start() {
    let mut host = Host::with_log(small());
    for _ in 0..13 {
        host.append(1, &["0123456789"]);
    }
    host.truncate_to(7);
    host.kill();
    {
        use machine::disk::Disk as _;
        host.disk.create(&format!("{DIR}/orders-0/{:020}.index", 77)).unwrap();
    }
    host.start();
    let files = host.files("orders-0/");
    assert!(files.iter().all(|file| !file.ends_with(".deleted") && !file.contains("77.")), "{files:?}");
    assert_eq!(values(&mut host).len(), 7);
}

#[test]
fn gap_between_segments_ends_the_log() {
    let mut host = Host::with_log(small());
    for _ in 0..15 {
        host.append(1, &["0123456789"]);
    }
    host.kill();
    {
        use machine::disk::Disk as _;
        let file = host.disk.open(&format!("{DIR}/orders-0/{:020}.log", 5)).unwrap();
        host.disk.set_len(file, 3 * 78).unwrap();
    }
    let loaded = host.start();
    assert_eq!(loaded[0].cut, Some(Cut { at: Offset(8), bytes: 0, segments: 1 }));
    assert_eq!(values(&mut host).len(), 8);
}

#[test]
fn log_that_ends_before_its_start_begins_anew_there() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(1, &["a"]);
    host.with_log_of(&orders(), |mut log, io| log.flush(io));
    host.finish_syncs();
    for _ in 0..9 {
        host.append(2, &["b"]);
    }
    host.with(|logs, io| {
        logs.log_mut(&orders()).unwrap().set_high_watermark(Offset(8));
        logs.log_mut(&orders()).unwrap().raise_log_start(Offset(8), io).unwrap();
        logs.checkpoint_log_start_offsets(io).unwrap();
    });
    while host.text("log-start-offset-checkpoint").is_empty() {
        host.finish(host.syncs[0], Ok(()));
    }
    host.lose_power(CrashModel::AllUnsyncedLost);
    // Where the directory is journaled, the rename is durable only with the next sync; here the file system got to it.
    host.damage("log-start-offset-checkpoint", 0, b"0\n1\norders 0 8\n");
    let loaded = host.start();
    assert_eq!((loaded[0].log_start, loaded[0].log_end), (Offset(8), Offset(8)));
    assert_eq!(host.log().segment_bases().map(|base| base.0).collect::<Vec<_>>(), [8]);
    assert!(host.log().epochs().entries().is_empty());
    assert_eq!(host.append(3, &["c"]).base, Offset(8));
}

#[test]
fn epochs_come_from_the_batches_when_their_checkpoint_is_lost() {
    // KAFKA-10432: epoch 0 too.
    let mut host = Host::with_log(small());
    for at in 0..12 {
        host.append(if at < 6 { 0 } else { 3 }, &["0123456789"]);
    }
    host.kill();
    {
        use machine::disk::Disk as _;
        host.disk.remove(&format!("{DIR}/orders-0/leader-epoch-checkpoint")).unwrap();
    }
    host.start();
    let entries: Vec<(i32, i64)> =
        host.log().epochs().entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect();
    assert_eq!(entries, [(0, 0), (3, 6)]);
    host.finish_syncs();
    assert_eq!(host.text("orders-0/leader-epoch-checkpoint"), "0\n2\n0 0\n3 6\n", "and are written again");
}
