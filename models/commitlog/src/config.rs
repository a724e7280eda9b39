//! What a log may be told: the keys of kafka-broker.md §1.4 that this package reads.

use machine::Span;
use serde::{Deserialize, Serialize};

/// The configuration of one log: the broker's values, or those a topic overrides.
///
/// Keys of retention, compaction, timestamps and `preallocate` are absent, as what they would steer is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogConfig {
    /// `segment.bytes`: no segment grows beyond it, and no append may be larger.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is rolled when it is this much older, in milliseconds, than what is appended.
    pub segment_ms: i64,
    /// `index.interval.bytes`: an index entry is added for every so many bytes.
    pub index_interval_bytes: u64,
    /// `segment.index.bytes`: a segment whose index would outgrow it is rolled.
    pub index_max_bytes: u64,
    /// `flush.messages`: so many records may be unflushed; 1 means that each append waits for its sync.
    pub flush_messages: i64,
    /// `flush.ms`: so long, in milliseconds, may records be unflushed, as far as the log flusher looks.
    pub flush_ms: i64,
    /// `max.message.bytes`: no batch of a producer may be larger.
    pub max_message_bytes: u64,
    /// `file.delete.delay.ms`: how long a deleted file keeps its bytes under another name.
    pub file_delete_delay: Span,
    /// No key of Kafka's: what this log does wrong on purpose.
    #[serde(default)]
    pub mutant: LogMutant,
}

/// What a log may be made to do wrong, to see whether anybody notices (invariants-and-faults.md §5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LogMutant {
    /// M27: every start counts as one after a clean shutdown, and no CRC is checked then.
    pub trusts_the_disk: bool,
    /// M28: CRCs are not checked.
    pub skips_crc: bool,
}

/// A value below the least that Kafka accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{key} must be at least {least}")]
pub struct BadLogConfig {
    /// The topic's key.
    pub key: &'static str,
    /// The least it may be.
    pub least: i64,
}

impl LogConfig {
    /// Kafka's defaults.
    #[must_use]
    pub const fn kafka_defaults() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 168 * 60 * 60 * 1000,
            index_interval_bytes: 4096,
            index_max_bytes: 10 << 20,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            file_delete_delay: Span::secs(60),
            mutant: LogMutant { trusts_the_disk: false, skips_crc: false },
        }
    }

    /// Checks the values as Kafka does when it reads them.
    ///
    /// # Errors
    /// Names the first key whose value is too small. `segment.index.bytes` must hold two entries of each index here; Kafka
    /// accepts 4 and then cannot append.
    pub const fn validate(&self) -> Result<(), BadLogConfig> {
        const fn least(key: &'static str, least: i64) -> Result<(), BadLogConfig> {
            Err(BadLogConfig { key, least })
        }
        if self.segment_bytes < 14 {
            return least("segment.bytes", 14);
        }
        if self.segment_ms < 1 {
            return least("segment.ms", 1);
        }
        if self.index_max_bytes < 24 {
            return least("segment.index.bytes", 24);
        }
        if self.flush_messages < 1 {
            return least("flush.messages", 1);
        }
        if self.flush_ms < 0 {
            return least("flush.ms", 0);
        }
        Ok(())
    }
}
