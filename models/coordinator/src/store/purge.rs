//! Throwing away what no recovery will need (zookeeper.md §9.8; `DatadirCleanupManager`, `PurgeTxnLog`).
//!
//! The newest snapshots are kept, as many as are configured, counted among those that could be whole (ZOOKEEPER-3231); so is every log
//! that a recovery from the oldest of them would read, the one it may begin in included.

use machine::disk::{Disk, DiskError};

use super::layout::{log_files, snapshot_files};
use super::recovery::could_be_whole;
use crate::config::ServerConfig;

/// Removes what is older. Returns how many files went; none if there are not enough snapshots to be sure.
///
/// # Errors
/// If the disk fails; what was removed before is gone.
pub fn purge(disk: &mut dyn Disk, config: &ServerConfig) -> Result<usize, DiskError> {
    let mut kept = Vec::new();
    for (zxid, path) in snapshot_files(disk, &config.data_dir).into_iter().rev() {
        if kept.len() < config.snap_retain_count && could_be_whole(disk, &path)? {
            kept.push(zxid);
        }
    }
    let Some(&oldest) = kept.last() else { return Ok(0) };
    let logs = log_files(disk, &config.data_log_dir);
    // Its first transaction may lie before the snapshot, and later ones behind it.
    let begins_in = logs.iter().map(|&(zxid, _)| zxid).filter(|&zxid| zxid <= oldest).max();
    let logs = logs.into_iter().filter(|&(zxid, _)| zxid < oldest && Some(zxid) != begins_in);
    let snapshots = snapshot_files(disk, &config.data_dir).into_iter().filter(|&(zxid, _)| zxid < oldest);
    let old: Vec<String> = snapshots.chain(logs).map(|(_, path)| path).collect();
    for path in &old {
        disk.remove(path)?;
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests {
    use jute::{PeerEpoch, Zxid};
    use machine::disk::{Metadata, PageCache};

    use super::*;
    use crate::store::{log_path, snapshot_path};

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(PeerEpoch::new(1), counter)
    }

    fn left(snapshots: &[(u32, bool)], logs: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let config = ServerConfig { snap_retain_count: 3, ..ServerConfig::standalone() };
        let mut disk = PageCache::new(Metadata::Journaled);
        for &(counter, is_whole) in snapshots {
            let file = disk.create(&snapshot_path(&config.data_dir, zxid(counter))).unwrap();
            let ending: &[u8] = if is_whole { b"ZKSN-------\0\0\0\x01/" } else { b"ZKSN----------------" };
            disk.append(file, ending).unwrap();
        }
        for &counter in logs {
            disk.create(&log_path(&config.data_log_dir, zxid(counter))).unwrap();
        }
        purge(&mut disk, &config).unwrap();
        let counters = |files: Vec<(Zxid, String)>| files.into_iter().map(|(zxid, _)| zxid.counter()).collect();
        (counters(snapshot_files(&disk, &config.data_dir)), counters(log_files(&disk, &config.data_log_dir)))
    }

    #[test]
    fn three_snapshots_and_the_log_before_the_oldest_are_kept() {
        let whole = [(10, true), (20, true), (30, true), (40, true), (50, true)];
        assert_eq!(left(&whole, &[1, 11, 21, 25, 35, 45]), (vec![30, 40, 50], vec![25, 35, 45]));
        assert_eq!(left(&whole[..2], &[1, 11]), (vec![10, 20], vec![1, 11]));
        assert_eq!(left(&[], &[1, 11]), (vec![], vec![1, 11]));
    }

    #[test]
    fn what_is_torn_does_not_count_as_kept() {
        let torn = [(10, true), (20, true), (30, true), (40, false), (50, false), (60, false)];
        assert_eq!(left(&torn, &[5, 15, 25]), (vec![10, 20, 30, 40, 50, 60], vec![5, 15, 25]));
    }
}
