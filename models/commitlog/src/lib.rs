//! A partition's log as a value: segments of real record batches, sparse indexes, epochs, checkpoints, recovery, truncation
//! (kafka-broker.md §5).
//!
//! A [`LogManager`] is a part of a broker: all logs of its one log dir. Files have Kafka's names, formats and bytes:
//!
//! ```text
//!   kafka-logs/
//!     .kafka_cleanshutdown                  there only between a clean shutdown and the next start
//!     meta.properties                       broker.id, cluster.id
//!     recovery-point-offset-checkpoint      below it everything is durable
//!     replication-offset-checkpoint         high watermarks
//!     log-start-offset-checkpoint
//!     orders-0/
//!       00000000000000000000.log            batches as they travel
//!       00000000000000000000.index          offset → position, one entry per index.interval.bytes
//!       00000000000000000000.timeindex      timestamp → offset
//!       leader-epoch-checkpoint             epoch → its first offset
//! ```
//!
//! An append is in the page cache when it returns and durable at some later time: by default when its segment is rolled. The one
//! invariant a reader must know: **below the recovery point everything is durable, above it nothing is promised**; what a loss
//! of power leaves of that is found out by CRC when the log is loaded, and the rest comes from other replicas.
//!
//! Absent: producer state and transactions (`.snapshot`, `.txnindex`), compaction, retention, DeleteRecords, topic ids
//! (`partition.metadata`), more than one log dir, `.lock`.

mod checkpoint;
mod chunked;
mod config;
mod desk;
mod epoch_cache;
mod index;
mod layout;
mod loading;
mod log;
mod log_manager;
mod log_mut;
mod log_table;
mod mark;
mod meta_properties;
mod segment;
mod truncate;

pub use config::{BadLogConfig, LogConfig, LogMutant};
pub use epoch_cache::{EpochCache, EpochEnd, EpochEntry};
pub use loading::{Cut, LoadError, Loaded, Loading};
pub use log::{Log, ReadData, ReadError, TimestampOffset};
pub use log_manager::{LogEvent, LogManager};
pub use log_mut::{AppendError, Appended, LogMut};
pub use log_table::LogId;
pub use mark::CommitLogMark;
pub use meta_properties::{BadMetaProperties, MetaProperties};
pub use truncate::Truncated;
