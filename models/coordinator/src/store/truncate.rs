//! Cutting off what an earlier leader proposed and nobody committed (zookeeper.md §9.5).
//!
//! The real server cuts the log after the first transaction that is *not below* the given one, and leaves the snapshots alone;
//! what a snapshot has of the tail comes back on reload (ZOOKEEPER-4837, ZB-34). Here the fixed rule holds: afterwards neither
//! log nor snapshots know anything newer, and a server that cannot get back to exactly that transaction is told so.

use jute::Zxid;
use machine::disk::{Disk, DiskError, FileId};
use thiserror::Error;

use super::layout::{log_files, snapshot_files};
use super::log_reader::{LogError, LogReader};
use super::recovery::{Recovered, RefuseToStart, read_snapshot, restore};
use crate::config::ServerConfig;
use crate::defect::Defect;

/// Why a learner cannot follow a TRUNC; the real server exits with status 13.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TruncateError {
    /// There is no log to cut.
    #[error("no log files found to truncate")]
    NoLog,
    /// Every snapshot that can be loaded knows of later transactions. Nothing was touched.
    #[error("no snapshot is as old as {zxid}")]
    NoBase {
        /// Where the leader wanted it cut.
        zxid: Zxid,
    },
    /// The log cannot be read as far as it has to be.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What is left cannot be loaded.
    #[error("cannot reload after truncation: {0}")]
    Reload(#[from] RefuseToStart),
    /// This server never had the transaction the leader counts on.
    #[error("the history ends at {last}, before {zxid}")]
    HistoryEndsBefore {
        /// The last transaction left.
        last: Zxid,
        /// Where the leader wanted it cut.
        zxid: Zxid,
    },
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Disk(#[from] DiskError),
}

/// What a truncation left.
#[derive(Clone, Debug)]
pub struct Truncation {
    /// The state in memory, reloaded; its last transaction is the one asked for.
    pub recovered: Recovered,
    /// The log that was cut, if one was. The real server does not sync it; who wants to be sure that the tail stays away
    /// syncs it, and the directory if `files_removed` is not 0.
    pub cut: Option<FileId>,
    /// Logs and snapshots that were removed.
    pub files_removed: usize,
}

/// Forgets every transaction after `zxid` and reloads the state. The log's handle must have been closed before.
///
/// # Errors
/// See [`TruncateError`].
pub fn truncate(disk: &mut dyn Disk, config: &ServerConfig, zxid: Zxid) -> Result<Truncation, TruncateError> {
    let logs = log_files(disk, &config.data_log_dir);
    if logs.is_empty() {
        return Err(TruncateError::NoLog);
    }
    // ZOOKEEPER-4837: the snapshots stay, whatever they have.
    let keeps_snapshots = config.defects.has(Defect::TruncUsesNewestSnapshot);
    let snapshots = if keeps_snapshots { Vec::new() } else { newer_snapshots(disk, config, zxid)? };
    let logs = logs.into_iter().filter(|&(name, _)| name > zxid).map(|(_, path)| path);
    let newer: Vec<String> = logs.chain(snapshots).collect();
    for path in &newer {
        disk.remove(path)?;
    }
    let cut = cut_log(disk, config, zxid)?;
    let recovered = restore(disk, config)?;
    let last = recovered.database.last_processed();
    assert!(last <= zxid || keeps_snapshots, "{last} is still there after truncation to {zxid}");
    // ZOOKEEPER-1156: nobody looked where the history ended then.
    if last < zxid && !config.defects.has(Defect::TruncOneExtra) {
        return Err(TruncateError::HistoryEndsBefore { last, zxid });
    }
    Ok(Truncation { recovered, cut, files_removed: newer.len() })
}

/// Cuts the file that `zxid` is in, or would be in, right after the last transaction to keep. What comes after `zxid` is not
/// even looked at.
fn cut_log(disk: &mut dyn Disk, config: &ServerConfig, zxid: Zxid) -> Result<Option<FileId>, TruncateError> {
    let mut log = LogReader::open(disk, config, zxid);
    while let Some(entry) = log.next(disk)? {
        if entry.zxid >= zxid {
            let keeps_it = entry.zxid == zxid && !config.defects.has(Defect::TruncOneExtra);
            let keep = if keeps_it { entry.end } else { entry.offset };
            let file = disk.open(&entry.file)?;
            disk.set_len(file, keep)?;
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Returns the snapshots that know of later transactions: by their name, or because they were still being written when those
/// came.
fn newer_snapshots(disk: &mut dyn Disk, config: &ServerConfig, zxid: Zxid) -> Result<Vec<String>, TruncateError> {
    let mut newer = Vec::new();
    for (name, path) in snapshot_files(disk, &config.data_dir).into_iter().rev() {
        if name > zxid {
            newer.push(path);
        } else if let Some(image) = read_snapshot(disk, &path)? {
            let ended_at = image.last_processed.or(image.digest.map(|digest| digest.zxid));
            if ended_at.is_none_or(|ended_at| ended_at <= zxid) {
                // An older one ended before this one began.
                return Ok(newer);
            }
            newer.push(path);
        }
    }
    if config.snapshot_trust_empty { Ok(newer) } else { Err(TruncateError::NoBase { zxid }) }
}
