//! The durability rules of the disk, one by one.

use machine::disk::{CrashModel, Disk, DiskError, FileId, Metadata, PageCache, PowerLoss, SyncTarget};
use machine::{Digest, Draw, Purpose, RunKey, Ticket};

const CRASH: Purpose = Purpose::new("crash");

fn draw(index: u64) -> Draw {
    RunKey([11, 17]).draw(CRASH, 0, index)
}

/// A disk with the file `log` of that content, all of it durable.
fn disk_with(metadata: Metadata, bytes: &[u8]) -> (PageCache, FileId) {
    let mut disk = PageCache::new(metadata);
    let log = disk.create("log").unwrap();
    disk.append(log, bytes).unwrap();
    sync(&mut disk, SyncTarget::File(log));
    sync(&mut disk, SyncTarget::Directory);
    (disk, log)
}

fn journaled(bytes: &[u8]) -> (PageCache, FileId) {
    disk_with(Metadata::Journaled, bytes)
}

fn sync(disk: &mut PageCache, target: SyncTarget) {
    disk.begin_sync(target, Ticket(1_000));
    assert!(disk.harden(Ticket(1_000)));
}

fn lose_all(disk: &mut PageCache) -> PowerLoss {
    disk.lose_power(CrashModel::AllUnsyncedLost, &mut draw(0))
}

fn text(disk: &PageCache, path: &str) -> Option<String> {
    disk.bytes(path).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

/// What a crash left, for 200 draws, each thing once.
fn outcomes(disk: &PageCache, model: CrashModel, see: impl Fn(&PageCache) -> String) -> Vec<String> {
    let mut seen: Vec<String> = (0..200)
        .map(|index| {
            let mut crashed = disk.clone();
            crashed.lose_power(model, &mut draw(index));
            see(&crashed)
        })
        .collect();
    seen.sort();
    seen.dedup();
    seen
}

#[test]
fn unsynced_append_is_lost() {
    let (mut disk, log) = journaled(b"old");
    disk.append(log, b"new").unwrap();
    assert_eq!(text(&disk, "log").unwrap(), "oldnew");
    assert_eq!(disk.durable().bytes("log").unwrap(), "old");
    assert!(disk.durable().reaches(log, 3));
    assert!(!disk.durable().reaches(log, 4));
    let loss = lose_all(&mut disk);
    assert_eq!(loss, PowerLoss { operations_lost: 1, ..PowerLoss::default() });
    assert_eq!(text(&disk, "log").unwrap(), "old");
}

#[test]
fn synced_append_is_kept_by_every_model() {
    for model in
        [CrashModel::AllUnsyncedLost, CrashModel::Prefix, CrashModel::AnySubset, CrashModel::Torn { sector_bytes: 512 }]
    {
        let (disk, _) = journaled(b"synced");
        assert_eq!(outcomes(&disk, model, |disk| text(disk, "log").unwrap()), ["synced"]);
    }
}

#[test]
fn write_after_a_sync_was_begun_is_not_covered_by_it() {
    let (mut disk, log) = journaled(b"");
    disk.append(log, b"covered").unwrap();
    disk.begin_sync(SyncTarget::File(log), Ticket(1));
    disk.append(log, b" late").unwrap();
    assert_eq!(disk.durable().bytes("log").unwrap(), "", "a sync that was only begun proves nothing");
    assert!(disk.harden(Ticket(1)));
    assert!(!disk.harden(Ticket(1)), "a ticket completes once");
    assert_eq!(disk.durable().bytes("log").unwrap(), "covered");
    lose_all(&mut disk);
    assert_eq!(text(&disk, "log").unwrap(), "covered");
}

#[test]
fn syncs_may_complete_out_of_order() {
    let (mut disk, log) = journaled(b"");
    disk.append(log, b"a").unwrap();
    disk.begin_sync(SyncTarget::File(log), Ticket(1));
    disk.append(log, b"b").unwrap();
    disk.begin_sync(SyncTarget::File(log), Ticket(2));
    disk.append(log, b"c").unwrap();
    assert!(disk.harden(Ticket(2)));
    assert_eq!(disk.durable().bytes("log").unwrap(), "ab");
    assert!(disk.harden(Ticket(1)));
    assert_eq!(disk.durable().bytes("log").unwrap(), "ab");
}

#[test]
fn power_loss_drops_pending_syncs() {
    let (mut disk, log) = journaled(b"");
    disk.append(log, b"a").unwrap();
    disk.begin_sync(SyncTarget::File(log), Ticket(1));
    lose_all(&mut disk);
    assert!(!disk.harden(Ticket(1)));
    assert!(!disk.fail_sync(Ticket(1)));
    assert_eq!(text(&disk, "log").unwrap(), "");
}

#[test]
fn overwrite_below_the_durable_length_is_undone() {
    let (mut disk, log) = journaled(b"0123456789");
    disk.write_at(log, 2, b"ab").unwrap();
    disk.write_at(log, 3, b"XY").unwrap();
    disk.write_at(log, 8, b"long tail").unwrap();
    assert_eq!(text(&disk, "log").unwrap(), "01aXY567long tail");
    assert!(disk.durable().reaches(log, 2));
    assert!(!disk.durable().reaches(log, 3));
    lose_all(&mut disk);
    assert_eq!(text(&disk, "log").unwrap(), "0123456789");
}

#[test]
fn truncation_without_a_sync_is_undone() {
    let (mut disk, log) = journaled(b"0123456789");
    disk.set_len(log, 4).unwrap();
    disk.append(log, b"new").unwrap();
    assert_eq!(text(&disk, "log").unwrap(), "0123new");
    assert_eq!(disk.durable().len(log), Some(10));
    lose_all(&mut disk);
    assert_eq!(text(&disk, "log").unwrap(), "0123456789");
}

#[test]
fn truncation_with_a_sync_stays_and_cut_bytes_do_not_come_back() {
    let (mut disk, log) = journaled(b"0123456789");
    disk.set_len(log, 4).unwrap();
    sync(&mut disk, SyncTarget::File(log));
    disk.set_len(log, 6).unwrap();
    sync(&mut disk, SyncTarget::File(log));
    lose_all(&mut disk);
    assert_eq!(text(&disk, "log").unwrap(), "0123\0\0");
}

#[test]
fn preallocated_space_reads_as_zeros_and_takes_none() {
    let (mut disk, log) = journaled(b"head");
    disk.set_len(log, 64 << 20).unwrap();
    assert_eq!((disk.len(log), disk.used_bytes()), (64 << 20, 4));
    assert_eq!(disk.growth(log, 2, 10), 8);
    disk.write_at(log, 4, b"body").unwrap();
    assert_eq!((disk.len(log), disk.used_bytes()), (64 << 20, 8));
    assert_eq!(disk.read(log, 0, 10).unwrap(), &b"headbody\0\0"[..]);
    assert_eq!(disk.read(log, (64 << 20) - 3, 100).unwrap(), &[0; 3][..]);
    lose_all(&mut disk);
    assert_eq!((disk.len(log), disk.used_bytes()), (4, 4));
}

#[test]
fn append_into_preallocated_space_is_undone_to_zeros() {
    let (mut disk, log) = journaled(b"head");
    disk.set_len(log, 1 << 20).unwrap();
    sync(&mut disk, SyncTarget::File(log));
    disk.write_at(log, 4, &[7; 100_000]).unwrap();
    lose_all(&mut disk);
    assert_eq!((disk.len(log), disk.used_bytes()), (1 << 20, 4));
    assert_eq!(disk.read(log, 0, 8).unwrap(), &b"head\0\0\0\0"[..]);
}

#[test]
fn write_beyond_the_end_leaves_a_gap_of_zeros() {
    let (mut disk, log) = journaled(b"ab");
    disk.write_at(log, 5, b"c").unwrap();
    assert_eq!(text(&disk, "log").unwrap(), "ab\0\0\0c");
    disk.write_at(log, 10 << 20, b"far").unwrap();
    assert_eq!(disk.read(log, (10 << 20) - 2, 9).unwrap(), &b"\0\0far"[..]);
    assert!(disk.used_bytes() < 100);
}

#[test]
fn sync_after_a_failed_sync_proves_nothing_about_what_that_covered() {
    let (mut disk, log) = journaled(b"old.");
    disk.append(log, b"lost").unwrap();
    disk.begin_sync(SyncTarget::File(log), Ticket(1));
    assert!(disk.fail_sync(Ticket(1)));
    disk.append(log, b".new").unwrap();
    sync(&mut disk, SyncTarget::File(log));
    assert_eq!(text(&disk, "log").unwrap(), "old.lost.new", "the cache still reads it");
    assert_eq!(disk.durable().bytes("log").unwrap(), &b"old.\0\0\0\0.new"[..]);
    assert_eq!(disk.durable().len(log), Some(12));
    assert!(disk.durable().reaches(log, 4));
    assert!(!disk.durable().reaches(log, 12));
    let loss = lose_all(&mut disk);
    assert_eq!(loss.operations_lost, 1);
    assert_eq!(text(&disk, "log").unwrap(), "old.\0\0\0\0.new");
}

#[test]
fn no_crash_model_keeps_what_a_failed_sync_covered() {
    let (mut disk, log) = journaled(b"old");
    disk.append(log, b"lost").unwrap();
    disk.begin_sync(SyncTarget::File(log), Ticket(1));
    disk.fail_sync(Ticket(1));
    for model in [CrashModel::Prefix, CrashModel::AnySubset, CrashModel::Torn { sector_bytes: 1 }] {
        assert_eq!(outcomes(&disk, model, |disk| text(disk, "log").unwrap()), ["old"]);
    }
}

#[test]
fn failed_directory_sync_loses_its_entries_and_later_ones_are_kept() {
    let mut disk = PageCache::new(Metadata::Strict);
    disk.create("a").unwrap();
    disk.begin_sync(SyncTarget::Directory, Ticket(1));
    disk.fail_sync(Ticket(1));
    disk.create("b").unwrap();
    sync(&mut disk, SyncTarget::Directory);
    assert_eq!(disk.list(""), ["a", "b"]);
    assert_eq!(lose_all(&mut disk).entries_lost, 1);
    assert_eq!(disk.list(""), ["b"]);
}

/// Creates, syncs the file alone, renames over another, removes a third; returns what a crash leaves.
fn entries_after(metadata: Metadata, last_sync: Option<SyncTarget>) -> Vec<String> {
    let mut disk = PageCache::new(metadata);
    for path in ["snapshot", "stale"] {
        disk.create(path).unwrap();
    }
    sync(&mut disk, SyncTarget::Directory);
    let other = disk.create("other").unwrap();
    let temporary = disk.create("temporary").unwrap();
    disk.append(temporary, b"content").unwrap();
    sync(&mut disk, SyncTarget::File(temporary));
    disk.rename("temporary", "snapshot").unwrap();
    disk.remove("stale").unwrap();
    match last_sync {
        None => {}
        Some(SyncTarget::Directory) => sync(&mut disk, SyncTarget::Directory),
        Some(SyncTarget::File(_)) => sync(&mut disk, SyncTarget::File(other)),
    }
    let expected = disk.durable().list();
    lose_all(&mut disk);
    assert_eq!(disk.list(""), expected, "what was foretold is what happened");
    let content = text(&disk, "snapshot").unwrap();
    disk.list("").into_iter().map(|path| if path == "snapshot" { format!("{path}={content}") } else { path }).collect()
}

#[test]
fn synchronous_directory_needs_no_sync_at_all() {
    assert_eq!(entries_after(Metadata::Synchronous, None), ["other", "snapshot=content"]);
}

#[test]
fn journaled_directory_is_committed_by_any_sync() {
    let any = Some(SyncTarget::File(FileId(0)));
    assert_eq!(entries_after(Metadata::Journaled, None), ["other", "snapshot=", "stale", "temporary"]);
    assert_eq!(entries_after(Metadata::Journaled, any), ["other", "snapshot=content"]);
    assert_eq!(entries_after(Metadata::Journaled, Some(SyncTarget::Directory)), ["other", "snapshot=content"]);
}

#[test]
fn strict_directory_is_committed_by_its_own_sync_alone() {
    let any = Some(SyncTarget::File(FileId(0)));
    assert_eq!(entries_after(Metadata::Strict, None), ["snapshot=", "stale"]);
    assert_eq!(entries_after(Metadata::Strict, any), ["snapshot=", "stale"]);
    assert_eq!(entries_after(Metadata::Strict, Some(SyncTarget::Directory)), ["other", "snapshot=content"]);
}

#[test]
fn journal_commit_covers_only_entries_made_before_it_was_begun() {
    let mut disk = PageCache::new(Metadata::Journaled);
    let early = disk.create("early").unwrap();
    disk.begin_sync(SyncTarget::File(early), Ticket(1));
    disk.create("late").unwrap();
    disk.harden(Ticket(1));
    assert!(disk.durable().has_entry(early));
    lose_all(&mut disk);
    assert_eq!(disk.list(""), ["early"]);
}

#[test]
fn journaled_entries_survive_as_a_prefix_and_strict_ones_as_any_subset() {
    let files = |metadata| {
        let mut disk = PageCache::new(metadata);
        for path in ["a", "b", "c"] {
            disk.create(path).unwrap();
        }
        outcomes(&disk, CrashModel::AnySubset, |disk| disk.list("").concat())
    };
    assert_eq!(files(Metadata::Journaled), ["", "a", "ab", "abc"]);
    assert_eq!(files(Metadata::Strict), ["", "a", "ab", "abc", "ac", "b", "bc", "c"]);
    assert_eq!(files(Metadata::Synchronous), ["abc"]);
}

#[test]
fn replaced_file_comes_back_when_the_rename_is_lost() {
    let (mut disk, log) = journaled(b"old");
    let new = disk.create("log.tmp").unwrap();
    disk.append(new, b"new").unwrap();
    disk.rename("log.tmp", "log").unwrap();
    assert_eq!(disk.path_of(new), Some("log"));
    assert_eq!(disk.path_of(log), None);
    assert_eq!(text(&disk, "log").unwrap(), "new");
    assert_eq!(disk.used_bytes(), 3);
    lose_all(&mut disk);
    assert_eq!(text(&disk, "log").unwrap(), "old");
    assert_eq!(disk.open("log"), Ok(log));
    assert_eq!(disk.open("log.tmp"), Err(DiskError::NotFound));
}

#[test]
fn rename_that_survives_without_its_data_leaves_an_empty_file() {
    let mut disk = PageCache::new(Metadata::Synchronous);
    let new = disk.create("log.tmp").unwrap();
    disk.append(new, b"new").unwrap();
    disk.rename("log.tmp", "log").unwrap();
    lose_all(&mut disk);
    assert_eq!(text(&disk, "log").unwrap(), "");
}

#[test]
fn created_file_replaces_one_of_that_name() {
    let (mut disk, log) = journaled(b"old");
    let new = disk.create("log").unwrap();
    assert_ne!(new, log);
    assert_eq!(text(&disk, "log").unwrap(), "");
    lose_all(&mut disk);
    assert_eq!(text(&disk, "log").unwrap(), "old");
    assert_ne!(disk.create("another").unwrap(), new, "handles are not reused");
}

#[test]
fn removed_file_comes_back_until_the_directory_is_synced() {
    let (mut disk, _) = journaled(b"old");
    disk.remove("log").unwrap();
    assert_eq!(disk.open("log"), Err(DiskError::NotFound));
    assert_eq!(disk.used_bytes(), 0);
    let mut crashed = disk.clone();
    assert_eq!(lose_all(&mut crashed).entries_lost, 1);
    assert_eq!(text(&crashed, "log").unwrap(), "old");
    sync(&mut disk, SyncTarget::Directory);
    assert!(lose_all(&mut disk).is_harmless());
    assert_eq!(disk.list(""), [""; 0]);
}

#[test]
#[should_panic(expected = "was removed")]
fn handle_of_a_removed_file_is_a_mistake_of_the_machine() {
    let (mut disk, log) = journaled(b"old");
    disk.remove("log").unwrap();
    let _ = disk.append(log, b"more");
}

#[test]
fn prefix_keeps_the_oldest_operations_of_the_whole_disk() {
    let (mut disk, log) = journaled(b"");
    let other = disk.create("other").unwrap();
    sync(&mut disk, SyncTarget::Directory);
    disk.append(log, b"1").unwrap();
    disk.append(other, b"2").unwrap();
    disk.append(log, b"3").unwrap();
    let see = |disk: &PageCache| text(disk, "log").unwrap() + "|" + &text(disk, "other").unwrap();
    assert_eq!(outcomes(&disk, CrashModel::Prefix, see), ["13|2", "1|", "1|2", "|"]);
}

#[test]
fn subset_may_keep_a_later_operation_without_an_earlier_one() {
    let (mut disk, log) = journaled(b"");
    for part in [b"a", b"b", b"c"] {
        disk.append(log, part).unwrap();
    }
    assert_eq!(
        outcomes(&disk, CrashModel::AnySubset, |disk| text(disk, "log").unwrap().replace('\0', ".")),
        ["", "..c", ".b", ".bc", "a", "a.c", "ab", "abc"]
    );
}

#[test]
fn torn_write_keeps_any_of_its_sectors_and_ends_with_the_last_of_them() {
    let (mut disk, log) = journaled(b"AAAA");
    disk.write_at(log, 2, b"bbBBBBbb").unwrap();
    // Sectors of the write: 2..4, 4..8, 8..10.
    assert_eq!(
        outcomes(&disk, CrashModel::Torn { sector_bytes: 4 }, |disk| text(disk, "log").unwrap().replace('\0', ".")),
        ["AAAA", "AAAA....bb", "AAAABBBB", "AAAABBBBbb", "AAbb", "AAbb....bb", "AAbbBBBB", "AAbbBBBBbb"]
    );
}

#[test]
fn write_within_one_sector_is_not_torn() {
    let (mut disk, log) = journaled(&[b'A'; 512]);
    disk.append(log, b"whole").unwrap();
    let seen = outcomes(&disk, CrashModel::Torn { sector_bytes: 512 }, |disk| text(disk, "log").unwrap()[512..].into());
    assert_eq!(seen, ["", "whole"]);
}

#[test]
fn loss_counts_what_was_torn() {
    let (mut disk, log) = journaled(b"");
    disk.append(log, &[1; 1 << 20]).unwrap();
    let loss = disk.lose_power(CrashModel::Torn { sector_bytes: 512 }, &mut draw(1));
    assert_eq!(loss, PowerLoss { operations_torn: 1, ..PowerLoss::default() });
    assert!(!loss.is_harmless());
}

#[test]
fn what_survived_one_crash_is_durable_in_the_next() {
    for index in 0..50 {
        let (mut disk, log) = journaled(b"");
        for part in [b"a", b"b", b"c", b"d"] {
            disk.append(log, part).unwrap();
            disk.create(std::str::from_utf8(part).unwrap()).unwrap();
        }
        disk.lose_power(CrashModel::AnySubset, &mut draw(index));
        let (content, list) = (text(&disk, "log"), disk.list(""));
        assert!(lose_all(&mut disk).is_harmless());
        assert_eq!((text(&disk, "log"), disk.list("")), (content, list));
    }
}

#[test]
fn same_draw_leaves_the_same_disk() {
    let (mut disk, log) = journaled(b"");
    for part in 0..50_u8 {
        disk.append(log, &[part; 700]).unwrap();
    }
    let crash = |index| {
        let mut crashed = disk.clone();
        crashed.lose_power(CrashModel::Torn { sector_bytes: 512 }, &mut draw(index));
        crashed.bytes("log")
    };
    assert_eq!(crash(5), crash(5));
    assert_ne!(crash(5), crash(6));
}

#[test]
fn clone_is_independent_of_its_original() {
    let (mut disk, log) = journaled(&[1; 100_000]);
    disk.append(log, b"both").unwrap();
    disk.begin_sync(SyncTarget::File(log), Ticket(1));
    let mut fork = disk.clone();
    disk.append(log, b"original").unwrap();
    disk.write_at(log, 0, b"o").unwrap();
    fork.append(log, b"fork").unwrap();
    fork.rename("log", "fork").unwrap();
    disk.harden(Ticket(1));
    assert_eq!(disk.read(log, 100_000, 100).unwrap(), "bothoriginal");
    assert_eq!(fork.read(log, 100_000, 100).unwrap(), "bothfork");
    assert_eq!(fork.read(log, 0, 1).unwrap(), &[1][..]);
    lose_all(&mut disk);
    lose_all(&mut fork);
    assert_eq!(disk.len(log), 100_004);
    assert_eq!(fork.len(log), 100_000, "the fork's sync had not completed");
}

#[test]
fn wiped_disk_is_empty_and_reuses_no_handle() {
    let (mut disk, log) = journaled(b"old");
    disk.wipe();
    assert_eq!(disk.list(""), [""; 0]);
    assert_eq!(disk.used_bytes(), 0);
    assert!(disk.create("log").unwrap() > log);
}

#[test]
fn list_has_the_paths_of_a_prefix_in_order() {
    let mut disk = PageCache::new(Metadata::Journaled);
    for path in ["v/log.2", "v/log.10", "v/snapshot.0", "u", "w"] {
        disk.create(path).unwrap();
    }
    assert_eq!(disk.list("v/log."), ["v/log.10", "v/log.2"]);
    assert_eq!(disk.list("v/").len(), 3);
    assert_eq!(disk.list("").len(), 5);
}

#[test]
fn digest_tells_lengths_and_unsynced_operations_apart() {
    let digest = |disk: &PageCache| {
        let mut digest = Digest::new();
        disk.digest(&mut digest);
        digest.value()
    };
    let (mut disk, log) = journaled(b"old");
    let first = digest(&disk);
    disk.append(log, b"n").unwrap();
    let second = digest(&disk);
    sync(&mut disk, SyncTarget::File(log));
    assert_ne!(first, second);
    assert_ne!(second, digest(&disk));
    assert_eq!(digest(&disk), digest(&disk.clone()));
}

#[test]
fn content_may_be_durable_before_the_name_is() {
    let mut disk = PageCache::new(Metadata::Strict);
    let log = disk.create("log").unwrap();
    disk.append(log, b"entry").unwrap();
    assert!(!disk.durable().holds(log, 5));
    sync(&mut disk, SyncTarget::File(log));
    assert!(disk.durable().holds(log, 5) && !disk.durable().reaches(log, 5), "a loss of power takes the name");
    sync(&mut disk, SyncTarget::Directory);
    assert!(disk.durable().reaches(log, 5));
}

#[test]
fn write_back_covers_what_came_before_its_mark_and_nothing_of_a_failed_sync() {
    let mut disk = PageCache::new(Metadata::Strict);
    let log = disk.create("log").unwrap();
    disk.append(log, b"lost").unwrap();
    disk.begin_sync(SyncTarget::File(log), Ticket(1));
    assert!(disk.fail_sync(Ticket(1)));
    let snapshot = disk.create("snapshot").unwrap();
    disk.append(snapshot, b"tree").unwrap();
    let mark = disk.last_change();
    disk.append(snapshot, b"late").unwrap();
    disk.write_back(mark);
    lose_all(&mut disk);
    assert_eq!(text(&disk, "snapshot").as_deref(), Some("tree"));
    assert_eq!(text(&disk, "log").as_deref(), Some(""), "the name came back, what the failed sync covered did not");
}
