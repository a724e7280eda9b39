//! Random lives of a log: appends, truncations, flushes, kills, losses of power, against a list of batches (KA-I31, L16, L17).

use commitlog::{Loaded, LogConfig, MetaProperties};
use kafkawire::{Batch, BrokerId, LeaderEpoch, Offset};
use machine::disk::{CrashModel, Metadata};
use machine::{Draw, Purpose, RunKey};

use crate::bench::{DIR, Host, identity, orders, replicated};

const LIFE: Purpose = Purpose::new("life");

type Identity = (i64, i64, i32, u32);

/// What the log must be.
#[derive(Default)]
struct Model {
    batches: Vec<Identity>,
    /// Every batch there ever was: what a lost truncation may bring back.
    ever: Vec<Identity>,
    /// Whether something was truncated since the last time everything was synced.
    truncated: bool,
    epoch: i32,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |last| last.1)
    }

    fn push(&mut self, identity: Identity) {
        self.batches.push(identity);
        self.ever.push(identity);
    }
}

fn headers(host: &Host) -> Vec<Identity> {
    let log = host.log();
    log.batches(log.log_start(), log.log_end()).map(identity).collect()
}

fn live(seed: u64, metadata: Metadata, model: CrashModel) -> [u32; 3] {
    let mut host =
        Host::on(LogConfig { segment_bytes: 700, index_interval_bytes: 150, ..LogConfig::kafka_defaults() }, metadata);
    host.create(&orders());
    host.with_io(|io| io.sync_directory());
    host.finish_syncs();
    let mut draw = RunKey([seed, 7]).draw(LIFE, 0, 0);
    let mut log = Model::default();
    let mut counts = [0; 3];
    for step in 0..120 {
        // No two batches have the same CRC: offset and epoch, which it does not cover, would be all that tells them apart.
        let unique = format!("{step:03}");
        match draw.below(20) {
            0 => log.epoch += 1,
            1 => {
                let to = if log.batches.is_empty() { 0 } else { log.batches[draw.index(log.batches.len())].0 };
                host.truncate_to(to);
                log.batches.retain(|batch| batch.0 < to);
                log.truncated = true;
                log.epoch += 1;
                // The real call returns when the recovery points are checkpointed.
                host.finish_syncs();
            }
            2 => host.with_log_of(&orders(), |mut log, io| log.flush(io)),
            3 => host.with(|logs, io| logs.checkpoint_recovery_points(io)).unwrap(),
            4 => {
                // The kernel writes everything back. No flush would do: a truncation is synced only with what is appended to
                // the same file after it.
                host.finish_syncs();
                host.disk.write_back(host.disk.last_change());
                log.truncated = false;
                log.ever.clone_from(&log.batches);
            }
            5 => {
                host.kill();
                let loaded = start(&mut host);
                assert_eq!((loaded[0].cut, loaded[0].log_end), (None, Offset(log.end())), "seed {seed}");
                counts[0] += 1;
            }
            6 => {
                host.shut_down();
                let loaded = start(&mut host);
                assert!(loaded[0].clean);
                assert_eq!(loaded[0].log_end, Offset(log.end()), "seed {seed}");
                counts[1] += 1;
            }
            7 if draw.chance(1, 2) => {
                let recovery_point = host.log().recovery_point();
                host.lose_power_as(model, &mut draw);
                start(&mut host);
                check_recovered(&host, &mut log, recovery_point, seed);
                counts[2] += 1;
            }
            8..=10 => finish_some(&mut host, &mut draw),
            11 => {
                let bytes = replicated(&[
                    (log.end(), log.epoch, &["one of two", unique.as_str()]),
                    (log.end() + 2, log.epoch, &["and more", unique.as_str()]),
                ]);
                let appended = host.with_log_of(&orders(), |mut log, io| log.append_as_follower(&bytes, io)).unwrap();
                appended.iter().for_each(|batch| log.push(identity(&batch.header)));
            }
            _ => {
                let value = unique + &"v".repeat(draw.index(120));
                let values = vec![value.as_str(); 1 + draw.index(3)];
                let timestamp = 1_000 + i64::try_from(draw.below(500)).unwrap();
                log.push(identity(&host.append_at(log.epoch, &values, timestamp).header));
            }
        }
        assert_eq!(headers(&host), log.batches, "seed {seed}");
        assert_eq!(host.log().log_end(), Offset(log.end()), "seed {seed}");
        check_epochs(&host, seed);
    }
    let on_disk: Vec<Identity> = host.read_all().iter().map(|batch| identity(&batch.header)).collect();
    assert_eq!(on_disk, log.batches, "seed {seed}");
    counts
}

/// Starts as a broker does, which writes `meta.properties` before it appends anything: with that the removal of the marker of a
/// clean shutdown is durable, too.
fn start(host: &mut Host) -> Vec<Loaded> {
    let loaded = host.start();
    let properties = MetaProperties { broker_id: BrokerId(1), cluster_id: None };
    host.with(|logs, io| logs.write_meta_properties(properties, io)).unwrap();
    host.finish_syncs();
    loaded
}

/// Finishes some syncs, in any order.
fn finish_some(host: &mut Host, draw: &mut Draw) {
    for _ in 0..draw.below(6) {
        if !host.syncs.is_empty() {
            let ticket = host.syncs[draw.index(host.syncs.len())];
            host.finish(ticket, Ok(()));
        }
    }
}

/// The log is whole and without a gap, holds what was flushed, and nothing that was never in it; unless a truncation could be
/// lost, it is a prefix of what it was. It is the model from now on.
fn check_recovered(host: &Host, log: &mut Model, recovery_point: Offset, seed: u64) {
    let found = headers(host);
    let on_disk = bytes_of_all_segments(host);
    assert_eq!(on_disk.iter().map(|batch| identity(&batch.header)).collect::<Vec<_>>(), found, "seed {seed}");
    assert!(on_disk.iter().all(|batch| batch.check_crc().is_ok()), "seed {seed}: a corrupt batch was kept");
    let mut next = host.log().log_start().0;
    for batch in &found {
        assert_eq!(batch.0, next, "seed {seed}: a gap in {found:?}");
        assert!(log.ever.contains(batch), "seed {seed}: {batch:?} never was in the log");
        next = batch.1;
    }
    let flushed = log.batches.iter().filter(|batch| batch.1 <= recovery_point.0).count();
    assert!(found.len() >= flushed, "seed {seed}: {} of {flushed} flushed batches", found.len());
    assert_eq!(found[..flushed], log.batches[..flushed], "seed {seed}: what was flushed changed");
    if !log.truncated {
        assert!(log.batches.starts_with(&found), "seed {seed}: no prefix");
    }
    assert!(host.log().recovery_point() <= host.log().log_end());
    log.ever.clone_from(&found);
    log.batches = found;
    log.truncated = false;
    log.epoch += 1;
}

/// What the cache says is what a scan says, but for an epoch at the end that nobody wrote in.
fn check_epochs(host: &Host, seed: u64) {
    let mut scanned: Vec<(i32, i64)> = Vec::new();
    for (base, _, epoch, _) in headers(host) {
        if scanned.last().is_none_or(|&(last, _)| last < epoch) {
            scanned.push((epoch, base));
        }
    }
    let cached: Vec<(i32, i64)> =
        host.log().epochs().entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect();
    assert_eq!(cached, scanned, "seed {seed}");
    assert_eq!(host.log().latest_epoch(), scanned.last().map(|&(epoch, _)| LeaderEpoch(epoch)));
}

fn bytes_of_all_segments(host: &Host) -> Vec<Batch> {
    let bases: Vec<Offset> = host.log().segment_bases().collect();
    let mut all = Vec::new();
    for base in bases {
        let bytes = host.disk.bytes(&format!("{DIR}/orders-0/{:020}.log", base.0)).unwrap();
        let mut at = 0;
        while let Some(batch) = Batch::read(&bytes, at).expect("the file ends with a whole batch") {
            at += batch.header.size();
            all.push(batch);
        }
    }
    all
}

fn many_lives(metadata: Metadata, model: CrashModel) {
    let mut counts = [0; 3];
    for seed in 0..150 {
        let of_life = live(seed, metadata, model);
        counts.iter_mut().zip(of_life).for_each(|(sum, count)| *sum += count);
    }
    assert!(counts.iter().all(|&count| count > 100), "kills, shutdowns, losses of power: {counts:?}");
}

#[test]
fn lives_with_all_unsynced_lost() {
    many_lives(Metadata::Journaled, CrashModel::AllUnsyncedLost);
    many_lives(Metadata::Strict, CrashModel::AllUnsyncedLost);
}

#[test]
fn lives_with_a_prefix_kept() {
    many_lives(Metadata::Journaled, CrashModel::Prefix);
    many_lives(Metadata::Synchronous, CrashModel::Prefix);
}

#[test]
fn lives_with_any_subset_kept() {
    many_lives(Metadata::Journaled, CrashModel::AnySubset);
    many_lives(Metadata::Synchronous, CrashModel::AnySubset);
}

#[test]
fn lives_with_torn_writes() {
    many_lives(Metadata::Journaled, CrashModel::Torn { sector_bytes: 512 });
    many_lives(Metadata::Synchronous, CrashModel::Torn { sector_bytes: 64 });
}
