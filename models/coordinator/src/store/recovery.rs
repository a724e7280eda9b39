//! From the disk to the state in memory: at boot, after a truncation, at the end of a role (zookeeper.md §9.6, §2.1).

use jute::op::ErrorCode;
use jute::txn::Txn;
use jute::{PeerEpoch, Zxid};
use machine::disk::{Disk, DiskError};
use thiserror::Error;

use super::epoch_file::Epochs;
use super::layout::{log_files, snapshot_files};
use super::log_reader::{LogError, LogReader};
use super::snapshot::{SnapshotImage, is_plausible};
use super::snapshot_writer::{Durability, SnapshotWriter};
use crate::config::ServerConfig;
use crate::database::Database;
use crate::defect::Defect;
use crate::tree::OpResult;

/// So many plausible snapshots are tried, the newest first.
const SNAPSHOTS_TRIED_MAX: usize = 100;

/// What a server starts with.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Tree, sessions and committed log, with everything replayed that the log holds.
    pub database: Database,
    /// The epochs of a member of an ensemble; a standalone server has none.
    pub epochs: Option<Epochs>,
    /// False on an empty disk which nobody vouches for (`db.autocreate=false`, no `initialize` file): data may be missing,
    /// so this server must not help to elect anybody. The real server's last zxid is then −1.
    pub may_vote: bool,
    /// The snapshot that was used; none on an empty disk.
    pub snapshot: Option<Zxid>,
    /// Newer snapshots that were not usable.
    pub snapshots_skipped: usize,
    /// Transactions replayed from the log.
    pub replayed: u64,
    /// Logs that ended inside an entry.
    pub torn_tails: u32,
}

/// Why a server must not start: it cannot know what it once promised.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RefuseToStart {
    /// Snapshots look whole and none can be loaded.
    #[error("none of {tried} snapshots can be loaded")]
    NoValidSnapshot {
        /// How many were tried.
        tried: usize,
    },
    /// There is a log and no snapshot it could be replayed on (ZOOKEEPER-2325).
    #[error("no snapshot was found, but there is a txn log")]
    LogWithoutSnapshot,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An epoch file holds no number.
    #[error("{file} holds \"{content}\", which is no epoch")]
    EpochUnreadable {
        /// The file.
        file: &'static str,
        /// What it holds.
        content: String,
    },
    /// A leader of a later epoch sent transactions, but this server was never in step with it.
    #[error("currentEpoch is {current}, older than the last zxid, {last}")]
    CurrentEpochBehind {
        /// What the file says.
        current: PeerEpoch,
        /// The last transaction in the log.
        last: Zxid,
    },
    /// A server was in step with a leader it never accepted.
    #[error("acceptedEpoch is {accepted}, less than currentEpoch, {current}")]
    AcceptedEpochBehind {
        /// What one file says.
        accepted: PeerEpoch,
        /// What the other says.
        current: PeerEpoch,
    },
    /// The ensemble's configuration cannot be understood, or leaves this server out (zookeeper.md §15).
    #[error("the configuration cannot be used: {why}")]
    BadConfig {
        /// What is wrong.
        why: String,
    },
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Disk(#[from] DiskError),
}

/// Reads the disk back: newest usable snapshot, then all of the log after it, then the epoch files.
///
/// Writes only on an empty disk (`snapshot.0`), removes only an empty last log and the `initialize` file. What
/// [`Epochs::to_write`] lists is the caller's, because it takes a sync.
///
/// # Errors
/// See [`RefuseToStart`].
pub fn recover(disk: &mut dyn Disk, config: &ServerConfig) -> Result<Recovered, RefuseToStart> {
    let mut recovered = restore(disk, config)?;
    if config.is_distributed() {
        recovered.epochs = Some(Epochs::load(disk, config, recovered.database.last_processed())?);
    }
    Ok(recovered)
}

/// [`recover`] without the epoch files.
pub(super) fn restore(disk: &mut dyn Disk, config: &ServerConfig) -> Result<Recovered, RefuseToStart> {
    let may_vote = take_initialize_file(disk, config)? || config.db_autocreate;
    let found = load_snapshot(disk, config)?;
    let has_snapshot = found.database.is_some();
    let mut recovered = Recovered {
        database: found.database.unwrap_or_else(|| Database::new(config.commit_log_count)),
        epochs: None,
        may_vote: has_snapshot || may_vote,
        snapshot: None,
        snapshots_skipped: found.skipped,
        replayed: 0,
        torn_tails: 0,
    };
    if has_snapshot {
        recovered.snapshot = Some(recovered.database.last_processed());
    } else if log_files(disk, &config.data_log_dir).is_empty() {
        if may_vote {
            let database = &recovered.database;
            SnapshotWriter::begin(database, config, Durability::Lazy).write_all(database, disk)?;
        }
        return Ok(recovered);
    } else if !config.snapshot_trust_empty {
        return Err(RefuseToStart::LogWithoutSnapshot);
    }
    let replay = fast_forward(disk, config, &mut recovered.database)?;
    recovered.replayed = replay.replayed;
    recovered.torn_tails = replay.torn_tails;
    Ok(recovered)
}

/// What a replay met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replay {
    /// Transactions replayed.
    pub replayed: u64,
    /// Logs that ended inside an entry.
    pub torn_tails: u32,
}

/// Replays what the log holds after the last processed transaction, committed or not: at boot, and at the end of a role so
/// that the next leader election is told of everything this server has logged (ZOOKEEPER-2845).
///
/// What was appended and not yet written is not seen: flush the log first.
///
/// # Errors
/// See [`LogError`].
pub fn fast_forward(disk: &mut dyn Disk, config: &ServerConfig, database: &mut Database) -> Result<Replay, LogError> {
    database.switch_on(&config.defects);
    let mut log = LogReader::after(disk, config, database.last_processed());
    let mut replayed = 0;
    while let Some(entry) = log.next(disk)? {
        let decoded = entry.decode()?;
        let applied = database.process_entry(&decoded);
        if config.defects.has(Defect::ReplayNoNodeFatal) && is_missing(&decoded.txn, &applied.result) {
            return Err(LogError::NoNode { zxid: entry.zxid });
        }
        database.add_committed(entry.zxid, entry.bytes);
        replayed += 1;
    }
    Ok(Replay { replayed, torn_tails: log.torn_tails() })
}

/// Whether a txn that once succeeded finds no znode any more.
fn is_missing(txn: &Txn, result: &OpResult) -> bool {
    match (txn, result) {
        (Txn::Error(_), _) => false,
        (Txn::Multi(txns), OpResult::Multi(results)) => {
            txns.iter().zip(results).any(|(txn, result)| is_missing(txn, result))
        }
        (_, result) => *result == OpResult::Failed(ErrorCode::NoNode),
    }
}

/// Returns the length of the newest snapshot that looks whole, against which DIFF from disk is weighed (§3.4).
pub fn newest_snapshot_bytes(disk: &mut dyn Disk, config: &ServerConfig) -> Option<u64> {
    let files = snapshot_files(disk, &config.data_dir);
    files.iter().rev().find_map(|(_, path)| plausible_len(disk, path).ok().flatten())
}

struct FoundSnapshot {
    database: Option<Database>,
    skipped: usize,
}

fn load_snapshot(disk: &mut dyn Disk, config: &ServerConfig) -> Result<FoundSnapshot, RefuseToStart> {
    let files = snapshot_files(disk, &config.data_dir);
    let (mut skipped, mut tried) = (0, 0);
    for (zxid, path) in files.iter().rev() {
        if tried == SNAPSHOTS_TRIED_MAX {
            break;
        }
        if plausible_len(disk, path)?.is_some() {
            tried += 1;
            let image = read_snapshot(disk, path)?;
            let database = image.and_then(|image| image.into_database(*zxid, config.commit_log_count).ok());
            if database.is_some() {
                return Ok(FoundSnapshot { database, skipped });
            }
        }
        skipped += 1;
    }
    if tried > 0 {
        return Err(RefuseToStart::NoValidSnapshot { tried });
    }
    Ok(FoundSnapshot { database: None, skipped })
}

/// Returns a snapshot's content, none if it is broken.
pub(super) fn read_snapshot(disk: &mut dyn Disk, path: &str) -> Result<Option<SnapshotImage>, DiskError> {
    let file = disk.open(path)?;
    let len = disk.len(file);
    let bytes = disk.read(file, 0, len)?;
    Ok(SnapshotImage::parse(&bytes).ok())
}

fn plausible_len(disk: &mut dyn Disk, path: &str) -> Result<Option<u64>, DiskError> {
    let file = disk.open(path)?;
    let len = disk.len(file);
    let ending = disk.read(file, len.saturating_sub(5), 5)?;
    Ok(is_plausible(len, &ending).then_some(len))
}

/// Whether a snapshot looks whole.
pub(super) fn could_be_whole(disk: &mut dyn Disk, path: &str) -> Result<bool, DiskError> {
    plausible_len(disk, path).map(|len| len.is_some())
}

/// Takes the operator's word, once, that an empty database is right.
fn take_initialize_file(disk: &mut dyn Disk, config: &ServerConfig) -> Result<bool, DiskError> {
    let path = match config.data_log_dir.rsplit_once('/') {
        Some((parent, _)) => format!("{parent}/initialize"),
        None => "initialize".to_owned(),
    };
    match disk.remove(&path) {
        Ok(()) => Ok(true),
        Err(DiskError::NotFound) => Ok(false),
        Err(error @ (DiskError::Io | DiskError::NoSpace)) => Err(error),
    }
}
