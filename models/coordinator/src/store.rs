//! What a server leaves on disk, and how it reads it back (zookeeper.md §9).
//!
//! ```text
//! data/version-2/log.<zxid>        txn log, named by its first transaction         TxnLog, LogReader
//! data/version-2/snapshot.<zxid>   tree and sessions; may be fuzzy                 SnapshotWriter, SnapshotImage
//! conf/zoo.cfg.dynamic.*           configurations of the ensemble                  dynamic_config
//! data/version-2/currentEpoch      the epoch of the last leader in step with       epoch_file
//! data/version-2/acceptedEpoch     the highest epoch promised
//! data/initialize                  the operator's word that an empty disk is right
//! ```
//!
//! Formats are the real ones, byte for byte. The one thing to know: **a snapshot is correct only together with the log
//! after its name**. It is written while transactions go on, so it may hold effects of later ones; replay repairs that,
//! and everything in the log is replayed, committed or not.
//!
//! Simplified: snapshots are not compressed.

mod dynamic_config;
pub mod epoch_file;
mod layout;
mod log_reader;
mod purge;
mod recovery;
mod snapshot;
mod snapshot_writer;
mod truncate;
mod txn_log;

pub(crate) use dynamic_config::{ConfigFiles, load_config};
pub use epoch_file::{EpochFile, Epochs};
pub use layout::{log_files, log_path, snapshot_files, snapshot_path};
pub use log_reader::{LogEntry, LogError, LogReader, disk_proposals};
pub use purge::purge;
pub use recovery::{Recovered, RefuseToStart, fast_forward, newest_snapshot_bytes, recover};
pub use snapshot::{SnapshotError, SnapshotImage, SnapshotTrailers, is_plausible};
pub use snapshot_writer::{Durability, Progress, SnapshotWriter, serialize_snapshot};
pub use truncate::{TruncateError, Truncation, truncate};
pub use txn_log::TxnLog;
