//! What a disk does for a machine, and what its faults do to it.

use std::sync::Arc;

use machine::disk::{CrashModel, Disk, DiskError, FileId, SyncTarget};
use machine::{Digest, Draw, Incarnation, Instant, Purpose, RunKey, Span, Ticket};

use super::{DiskOp, DiskOpKind, DiskSpec, Failing, HostDisk, SyncEvent};

const TEST: Purpose = Purpose::new("test");

fn draw(index: u64) -> Draw {
    RunKey([1, 2]).draw(TEST, 0, index)
}

fn disk(spec: DiskSpec) -> HostDisk {
    HostDisk::new(Arc::new(spec))
}

fn asked(ticket: u64) -> SyncEvent {
    SyncEvent { ticket: Ticket(ticket), power_epoch: 0, incarnation: Incarnation(1), cause: 0 }
}

/// One step of a machine; returns what it did, what was logged, and how long it waited.
fn step<R>(disk: &mut HostDisk, to: impl FnOnce(&mut dyn Disk) -> R) -> (R, Vec<DiskOp>, Span) {
    let mut log = Vec::new();
    let mut lent = disk.lend(draw(9), &mut log);
    let result = to(&mut lent);
    let stall = lent.stall();
    (result, log, stall)
}

fn log_file(disk: &mut HostDisk, bytes: &[u8]) -> FileId {
    step(disk, |disk| {
        let file = disk.create("log").unwrap();
        disk.append(file, bytes).unwrap();
        disk.begin_sync(SyncTarget::File(file), Ticket(500));
        file
    })
    .0
}

#[test]
fn every_change_is_logged_in_order_with_its_bytes() {
    let mut disk = disk(DiskSpec::default());
    let (file, log, stall) = step(&mut disk, |disk| {
        let file = disk.create("a").unwrap();
        disk.append(file, b"bytes").unwrap();
        disk.rename("a", "b").unwrap();
        disk.set_len(file, 2).unwrap();
        disk.begin_sync(SyncTarget::File(file), Ticket(1));
        assert_eq!(disk.remove("a"), Err(DiskError::NotFound));
        disk.remove("b").unwrap();
        file
    });
    assert_eq!((file, stall), (FileId(0), Span::ZERO));
    let mut checksum = Digest::new();
    checksum.bytes(b"bytes");
    let bytes = b"bytes"[..].into();
    let expected = [
        ("a", DiskOpKind::Create),
        ("a", DiskOpKind::Write { offset: 0, bytes, checksum: checksum.value() }),
        ("a", DiskOpKind::Rename { to: "b".into() }),
        ("b", DiskOpKind::SetLen { len: 2 }),
        ("b", DiskOpKind::BeginSync { ticket: Ticket(1) }),
        ("b", DiskOpKind::Remove),
    ];
    assert_eq!(log, expected.map(|(path, kind)| DiskOp { path: path.into(), kind }));
}

#[test]
fn logged_change_digests_its_content() {
    let digest_of = |bytes: &[u8]| {
        let mut disk = disk(DiskSpec::default());
        let (_, log, _) = step(&mut disk, |disk| {
            let file = disk.create("a").unwrap();
            disk.append(file, bytes).unwrap();
        });
        let mut digest = Digest::new();
        log.iter().for_each(|op| op.digest(&mut digest));
        digest.value()
    };
    assert_ne!(digest_of(b"one"), digest_of(b"two"), "same name, offset and length");
    assert_eq!(digest_of(b"one"), digest_of(b"one"));
}

#[test]
fn failed_write_writes_and_logs_nothing() {
    let mut disk = disk(DiskSpec::default());
    let file = log_file(&mut disk, b"old");
    disk.faults_mut().write_error = Failing::Next(2);
    let (results, log, _) = step(&mut disk, |disk| {
        [disk.append(file, b"a").err(), disk.set_len(file, 0).err(), disk.append(file, b"b").err()]
    });
    assert_eq!(results, [Some(DiskError::Io), Some(DiskError::Io), None]);
    assert_eq!(log.len(), 1);
    assert_eq!(disk.cache().bytes("log").unwrap(), "oldb");
    assert_eq!(disk.felt().write_error, 2);
}

#[test]
fn read_error_lasts_while_it_is_active() {
    let mut disk = disk(DiskSpec::default());
    let file = log_file(&mut disk, b"old");
    disk.faults_mut().read_error = Failing::Always;
    for _ in 0..3 {
        assert_eq!(step(&mut disk, |disk| disk.read(file, 0, 3)).0, Err(DiskError::Io));
    }
    assert_eq!(step(&mut disk, |disk| disk.open("none")).0, Err(DiskError::NotFound));
    disk.faults_mut().read_error = Failing::Never;
    assert_eq!(step(&mut disk, |disk| disk.read(file, 0, 3)).0.unwrap(), "old");
    assert_eq!(disk.felt().read_error, 3);
}

#[test]
fn full_disk_refuses_growth_and_lets_overwrites_and_removals_pass() {
    let mut disk = disk(DiskSpec { capacity_bytes: Some(10), ..DiskSpec::default() });
    let file = log_file(&mut disk, b"12345678");
    let (results, log, _) = step(&mut disk, |disk| {
        disk.set_len(file, 1_000).unwrap();
        [disk.write_at(file, 8, b"9ab").err(), disk.write_at(file, 0, b"overwrite").err(), disk.remove("log").err()]
    });
    assert_eq!(results, [Some(DiskError::NoSpace), None, None]);
    assert_eq!((log.len(), disk.felt().full), (3, 1));
    disk.faults_mut().full = true;
    assert_eq!(step(&mut disk, |disk| disk.create("log")).0, Err(DiskError::NoSpace));
    disk.faults_mut().full = false;
    assert!(step(&mut disk, |disk| disk.create("log")).0.is_ok());
}

#[test]
fn syncs_of_one_disk_are_served_one_after_another() {
    let latency = Span::millis(1);
    let mut disk = disk(DiskSpec { sync_latency: (latency, latency), ..DiskSpec::default() });
    let now = Instant::from_nanos(5_000_000);
    assert_eq!(disk.begun(now, draw(0), asked(0)), now + latency);
    assert_eq!(disk.begun(now, draw(1), asked(1)), now + latency * 2);
    assert_eq!(disk.begun(now + Span::secs(1), draw(2), asked(2)), now + Span::secs(1) + latency);
    disk.faults_mut().slow_factor = 10;
    disk.faults_mut().stall = Span::millis(3);
    assert_eq!(disk.begun(now + Span::secs(2), draw(3), asked(3)), now + Span::secs(2) + latency * 13);
    assert_eq!(disk.felt().slow, 1);
}

#[test]
fn device_that_recovered_works_its_queue_off_at_its_usual_pace() {
    let latency = Span::millis(10);
    let mut disk = disk(DiskSpec { sync_latency: (latency, latency), ..DiskSpec::default() });
    let at = |ms| Instant::ZERO + Span::millis(ms);
    assert_eq!(disk.begun(at(0), draw(0), asked(0)), at(10));
    // Two faults overlap: what a disk owes then is far beyond their end.
    assert!(disk.slow(100, Span::ZERO, at(5)).is_empty(), "what is served keeps its pace");
    assert!(disk.slow(10_000, Span::millis(7), at(5)).is_empty());
    assert_eq!(disk.begun(at(5), draw(1), asked(1)), at(10 + 100_007));
    assert_eq!(disk.begun(at(5), draw(2), asked(2)), at(10 + 200_014));
    let sooner = |disk: &mut HostDisk, factor, now| -> Vec<(u64, Instant)> {
        let sooner = disk.slow(factor, Span::ZERO, at(now));
        sooner.iter().map(|service| (service.event.ticket.0, service.done_at)).collect()
    };
    assert_eq!(sooner(&mut disk, 100, 500), [(1, at(1_500)), (2, at(2_500))], "one of them is over");
    assert_eq!(sooner(&mut disk, 1, 1_499), [(2, at(1_510))], "the first is about to be done anyhow");
    assert_eq!(disk.begun(at(1_499), draw(3), asked(3)), at(1_520));
}

#[test]
fn completed_sync_is_durable_and_a_failed_one_never_is() {
    let mut disk = disk(DiskSpec::default());
    let file = log_file(&mut disk, b"old");
    assert_eq!(disk.complete(Ticket(500)), Some(Ok(())));
    assert_eq!(disk.complete(Ticket(500)), None);
    let mut lossy = disk.clone();
    lossy.faults_mut().sync_error = Failing::Next(1);
    for disk in [&mut disk, &mut lossy] {
        for ticket in [Ticket(1), Ticket(2)] {
            step(disk, |disk| {
                disk.append(file, b"+").unwrap();
                disk.begin_sync(SyncTarget::File(file), ticket);
            });
        }
    }
    assert_eq!((disk.complete(Ticket(1)), disk.complete(Ticket(2))), (Some(Ok(())), Some(Ok(()))));
    assert_eq!((lossy.complete(Ticket(1)), lossy.complete(Ticket(2))), (Some(Err(DiskError::Io)), Some(Ok(()))));
    assert_eq!((disk.felt().sync_error, lossy.felt().sync_error), (0, 1));
    disk.lose_power(&mut draw(1));
    lossy.lose_power(&mut draw(1));
    assert_eq!(disk.cache().bytes("log").unwrap(), "old++");
    assert_eq!(lossy.cache().bytes("log").unwrap(), "old\0+");
}

#[test]
fn power_loss_follows_the_spec_and_drops_pending_syncs() {
    let mut disk = disk(DiskSpec { crash: CrashModel::Torn { sector_bytes: 512 }, ..DiskSpec::default() });
    let file = log_file(&mut disk, b"");
    assert_eq!(disk.complete(Ticket(500)), Some(Ok(())));
    step(&mut disk, |disk| {
        disk.append(file, &[1; 100_000]).unwrap();
        disk.begin_sync(SyncTarget::File(file), Ticket(1));
    });
    disk.begun(Instant::from_nanos(7), draw(0), asked(0));
    assert_eq!(disk.lose_power(&mut draw(1)).operations_torn, 1);
    assert_eq!(disk.complete(Ticket(1)), None);
    assert_eq!(disk.busy_until, Instant::ZERO);
}

#[test]
fn what_is_dirty_for_long_enough_is_written_back_by_the_kernel() {
    let after = Span::secs(5);
    for (age, survives) in [(Span::secs(4), false), (Span::secs(5), true), (Span::secs(60), true)] {
        let mut disk = disk(DiskSpec { write_back_after: Some(after), ..DiskSpec::default() });
        let written = Instant::ZERO + Span::secs(1);
        step(&mut disk, |disk| {
            let file = disk.create("snapshot").unwrap();
            disk.append(file, b"tree").unwrap();
        });
        disk.write_back(written);
        // The host sleeps: nobody looks at its disk until power is lost.
        disk.write_back(written + age);
        disk.lose_power(&mut draw(1));
        assert_eq!(disk.cache().find("snapshot").is_some(), survives, "after {age}");
    }
    let mut never = disk(DiskSpec { write_back_after: None, ..DiskSpec::default() });
    step(&mut never, |disk| {
        disk.create("snapshot").unwrap();
    });
    never.write_back(Instant::ZERO + Span::secs(3600));
    never.lose_power(&mut draw(1));
    assert_eq!(never.cache().find("snapshot"), None);
}

#[test]
fn changes_within_a_second_are_written_back_together_and_never_early() {
    let mut disk = disk(DiskSpec { write_back_after: Some(Span::secs(5)), ..DiskSpec::default() });
    for tenth in 0..30 {
        step(&mut disk, |disk| {
            disk.create(&format!("file-{tenth:02}")).unwrap();
        });
        disk.write_back(Instant::ZERO + Span::millis(tenth * 100));
    }
    disk.write_back(Instant::ZERO + Span::millis(6_950));
    disk.lose_power(&mut draw(1));
    let left = disk.cache().durable().list();
    assert_eq!(left.last().map(String::as_str), Some("file-19"), "the third second is not over for five");
}

#[test]
fn first_read_of_each_region_after_a_power_loss_waits_for_the_device() {
    let miss = Span::micros(100);
    let mut disk = disk(DiskSpec { read_miss_latency: (miss, miss), ..DiskSpec::default() });
    let file = log_file(&mut disk, &[1; 300_000]);
    disk.complete(Ticket(500)).unwrap().unwrap();
    let read = |disk: &mut HostDisk, offset, len| step(disk, |disk| disk.read(file, offset, len).unwrap()).2;
    assert_eq!(read(&mut disk, 0, 300_000), Span::ZERO, "it was just written");
    disk.lose_power(&mut draw(1));
    assert_eq!(read(&mut disk, 10, 10), miss);
    assert_eq!(read(&mut disk, 0, 100), Span::ZERO, "the same region");
    assert_eq!(read(&mut disk, 0, 1_000_000), miss * 2, "the two others; nothing lies behind the end");
    disk.faults_mut().slow_factor = 5;
    disk.lose_power(&mut draw(2));
    assert_eq!(read(&mut disk, 0, 1), miss * 5);
    assert_eq!(disk.felt().slow, 1);
    let fresh = step(&mut disk, |disk| {
        let fresh = disk.create("fresh").unwrap();
        disk.append(fresh, b"new").unwrap();
        disk.read(fresh, 0, 3).unwrap();
    });
    assert_eq!(fresh.2, Span::ZERO, "a new file was never out of the cache");
}

#[test]
fn hole_is_read_without_the_device() {
    let mut disk = disk(DiskSpec::default());
    let file = log_file(&mut disk, b"head");
    step(&mut disk, |disk| {
        disk.set_len(file, 64 << 20).unwrap();
        disk.begin_sync(SyncTarget::File(file), Ticket(1));
    });
    disk.complete(Ticket(1)).unwrap().unwrap();
    disk.lose_power(&mut draw(1));
    assert_eq!(step(&mut disk, |disk| disk.read(file, 1 << 20, 1 << 20).unwrap()).2, Span::ZERO);
    assert_ne!(step(&mut disk, |disk| disk.read(file, 0, 4).unwrap()).2, Span::ZERO);
}

#[test]
#[should_panic(expected = "latencies between")]
fn spec_that_contradicts_itself_is_refused() {
    disk(DiskSpec { sync_latency: (Span::millis(2), Span::millis(1)), ..DiskSpec::default() });
}
