//! A partition's log, as it is read and asked (kafka-broker.md §5.4). What changes it is in [`LogMut`](crate::LogMut).

use std::sync::Arc;

use bytes::Bytes;
use kafkawire::{Batch, BatchHeader, LeaderEpoch, Offset, TopicPartition};
use machine::disk::DiskError;
use machine::{Digest, Instant, Io, Ticket, Vocabulary};

use crate::checkpoint::CheckpointFile;
use crate::index::TimeEntry;
use crate::segment::{Located, Segment};
use crate::{EpochCache, EpochEnd, LogConfig};

/// A partition's log.
///
/// Offsets below the log start are gone; those from the log start to the high watermark are committed; those from there to the
/// log end are not. A clone shares every sealed segment and every full chunk of the active one.
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) tp: TopicPartition,
    /// Its directory, such as `kafka-logs/orders-0`.
    pub(crate) dir: Arc<str>,
    pub(crate) config: Arc<LogConfig>,
    /// Every segment but the last, oldest first.
    pub(crate) sealed: Arc<Vec<Arc<Segment>>>,
    /// The segment that is appended to.
    pub(crate) active: Segment,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) high_watermark: Offset,
    /// Everything below it is durable.
    pub(crate) recovery_point: Offset,
    pub(crate) epochs: EpochCache,
    pub(crate) epochs_file: CheckpointFile<EpochCache>,
    /// Flushes in flight.
    pub(crate) flushes: Vec<Flush>,
    pub(crate) last_flush: Instant,
    /// Whether a partition stands on the log: only then does its high watermark mean anything.
    pub(crate) is_hosted: bool,
}

/// A flush in flight: when all its syncs are done, and those of the flushes before it, everything below an offset is durable.
#[derive(Clone, Debug)]
pub(crate) struct Flush {
    pub(crate) up_to: Offset,
    pub(crate) waiting: Vec<Ticket>,
}

/// What a read found: whole batches, in order, of one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadData {
    /// The batches, contiguous.
    pub bytes: Bytes,
    /// The base offset of the first batch, which may lie below the offset asked for; that offset itself if there is none.
    pub first_offset: Offset,
    /// The offset after the last batch; the offset asked for if there is none.
    pub next_offset: Offset,
}

/// Why nothing could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset lies before the log's start or beyond its end: OFFSET_OUT_OF_RANGE.
    #[error("the offset is not in the log")]
    OutOfRange,
    /// The offset index points into the middle of a batch: CORRUPT_MESSAGE.
    #[error("the offset index is corrupt")]
    IndexCorrupt,
    /// The disk failed: the log dir is to be given up (§3.8).
    #[error("reading failed")]
    Disk(#[from] DiskError),
}

/// A record found by its timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    /// The timestamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// The offset.
    pub offset: Offset,
}

impl Log {
    /// The partition.
    #[must_use]
    pub const fn topic_partition(&self) -> &TopicPartition {
        &self.tp
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// The first offset (LSTART).
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The next offset to be written (LEO).
    #[must_use]
    pub const fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The offset from which on records are not known to be committed (HW). It means nothing before
    /// [`restore_high_watermark`](crate::LogManager::restore_high_watermark).
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The offset below which everything has been flushed.
    #[must_use]
    pub const fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// How many offsets are not known to be durable.
    #[must_use]
    pub const fn unflushed(&self) -> i64 {
        self.log_end.0 - self.recovery_point.0
    }

    /// The epochs.
    #[must_use]
    pub const fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// The last epoch of the log; none of an empty one that no leader has begun.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// The end of an epoch in this log (§5.8); none is the protocol's undefined.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_offset_for(epoch, self.log_end)
    }

    /// The base offsets of the segments, oldest first.
    pub fn segment_bases(&self) -> impl Iterator<Item = Offset> {
        self.segments().map(|segment| segment.base)
    }

    /// The base offset of the segment that an offset is or would be in.
    #[must_use]
    pub fn segment_of(&self, offset: Offset) -> Offset {
        self.segment(self.floor(offset)).base
    }

    /// Bytes of all log files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments().map(Segment::size).sum()
    }

    /// The headers of the batches that hold offsets from `from` on and below `to`, in order: what the disk is not read for.
    pub fn batches(&self, from: Offset, to: Offset) -> impl Iterator<Item = &BatchHeader> {
        (self.floor(from)..=self.sealed.len())
            .flat_map(move |at| {
                let batches = self.segment(at).batches();
                let first = batches.partition_point(|batch| batch.header.last_offset() < from);
                batches.range(first..batches.len())
            })
            .map(|batch| &batch.header)
            .take_while(move |header| header.base_offset < to)
    }

    /// The header of the batch that holds an offset.
    #[must_use]
    pub fn batch_at(&self, offset: Offset) -> Option<&BatchHeader> {
        self.batches(offset, offset.plus(1)).next()
    }

    /// The header of the last batch.
    #[must_use]
    pub fn last_batch(&self) -> Option<&BatchHeader> {
        let newest_first = std::iter::once(&self.active).chain(self.sealed.iter().rev().map(|segment| &**segment));
        newest_first.filter_map(|segment| segment.batches().last()).map(|batch| &batch.header).next()
    }

    /// Reads whole batches from the one that holds `from` on (§5.6): of one segment, at most `max_bytes`, none that holds an
    /// offset at or above `upper_bound`. With `at_least_one` the first batch is returned however large it is.
    ///
    /// `Simplified:` the real server cuts at `max_bytes` wherever that is, and clients drop the partial batch at the end. Lost:
    /// these bytes on the wire.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read<V: Vocabulary>(
        &self,
        from: Offset,
        max_bytes: usize,
        upper_bound: Offset,
        at_least_one: bool,
        io: &mut Io<'_, V>,
    ) -> Result<ReadData, ReadError> {
        if from < self.log_start || from > self.log_end {
            return Err(ReadError::OutOfRange);
        }
        let nothing = ReadData { bytes: Bytes::new(), first_offset: from, next_offset: from };
        let upper_bound = upper_bound.min(self.log_end);
        if from >= upper_bound {
            return Ok(nothing);
        }
        for at in self.floor(from)..=self.sealed.len() {
            let segment = self.segment(at);
            let first = match segment.locate(from) {
                Located::Batch(first) => first,
                Located::Beyond => continue,
                Located::IndexCorrupt => return Err(ReadError::IndexCorrupt),
            };
            let batches = segment.batches();
            let start = batches.get(first).expect("the batch was located");
            let limit = start.position.saturating_add(max_bytes as u64);
            let mut after = batches
                .partition_point(|batch| batch.header.next_offset() <= upper_bound && batch.end() <= limit)
                .max(first);
            if after == first && at_least_one && start.header.next_offset() <= upper_bound {
                after = first + 1;
            }
            let Some(last) = after.checked_sub(1).filter(|&last| last >= first).and_then(|last| batches.get(last))
            else {
                return Ok(nothing);
            };
            let bytes = io.disk().read(segment.log, start.position, last.end() - start.position)?;
            return Ok(ReadData {
                bytes,
                first_offset: start.header.base_offset,
                next_offset: last.header.next_offset(),
            });
        }
        Ok(nothing)
    }

    /// Finds the first record that is not older than a timestamp in milliseconds since 1970 (§5.7).
    ///
    /// `Simplified:` of a compressed batch it is the first record, whatever its timestamp.
    ///
    /// # Errors
    /// Of reading the batch that holds it.
    pub fn offset_for_timestamp<V: Vocabulary>(
        &self,
        timestamp: i64,
        io: &mut Io<'_, V>,
    ) -> Result<Option<TimestampOffset>, DiskError> {
        let is_young = |youngest: TimeEntry| youngest.timestamp >= timestamp;
        let Some(segment) = self.segments().find(|segment| segment.youngest.is_some_and(is_young)) else {
            return Ok(None);
        };
        let from = segment.times.lookup(timestamp).max(self.log_start); // No earlier batch is young enough.
        let batches = segment.batches();
        let first = batches.partition_point(|batch| batch.header.last_offset() < from);
        for placed in batches.range(first..batches.len()).filter(|batch| batch.header.max_timestamp >= timestamp) {
            let bytes = io.disk().read(segment.log, placed.position, placed.end() - placed.position)?;
            let records = Batch { header: placed.header, bytes }.records().unwrap_or_default();
            let found = records
                .iter()
                .find(|record| record.timestamp >= timestamp && record.offset >= self.log_start)
                .map(|record| TimestampOffset { timestamp: record.timestamp, offset: record.offset });
            if let Some(found) = found {
                return Ok(Some(found));
            }
            if placed.header.is_compressed() {
                let offset = placed.header.base_offset.max(self.log_start);
                return Ok(Some(TimestampOffset { timestamp: placed.header.max_timestamp, offset }));
            }
        }
        Ok(None)
    }

    /// Adds positions, epochs and the last batch: no payload.
    pub fn digest(&self, into: &mut Digest) {
        for offset in [self.log_start, self.log_end, self.high_watermark, self.recovery_point, self.active.base] {
            into.signed(offset.0);
        }
        into.word(self.sealed.len() as u64);
        into.word(self.active.size());
        into.word(self.epochs.entries().len() as u64);
        if let Some(last) = self.epochs.entries().last() {
            into.signed(i64::from(last.epoch.0));
            into.signed(last.start.0);
        }
        if let Some(last) = self.last_batch() {
            into.signed(last.base_offset.0);
            into.word(u64::from(last.crc));
        }
    }

    /// Panics if the log contradicts itself (KA-I21, KA-I29, KA-I30). Looks at the ends of things, not at all of them.
    pub fn check_invariants(&self) {
        let Self { tp, log_start, log_end, high_watermark, .. } = self;
        assert!(log_start <= high_watermark, "{tp}: log start {log_start} beyond the high watermark {high_watermark}");
        assert!(high_watermark <= log_end, "{tp}: high watermark {high_watermark} beyond the log end {log_end}");
        assert!(self.recovery_point <= *log_end, "{tp}: recovery point {} beyond {log_end}", self.recovery_point);
        for flush in &self.flushes {
            assert!(flush.up_to <= *log_end, "{tp}: a flush up to {} beyond the log end {log_end}", flush.up_to);
        }
        assert!(self.flushes.is_sorted_by_key(|flush| flush.up_to), "{tp}: flushes out of order");
        let is_waiting = self.flushes.first().is_none_or(|flush| !flush.waiting.is_empty());
        assert!(is_waiting, "{tp}: a flush that waits for nothing");
        let first = self.segment(0).base;
        assert!(first <= *log_start, "{tp}: the first segment begins at {first}, after the log start {log_start}");
        let mut before: Option<&Segment> = None;
        for at in self.sealed.len().saturating_sub(2)..=self.sealed.len() {
            let segment = self.segment(at);
            if let Some(before) = before {
                assert!(before.next_offset() <= segment.base, "{tp}: segments {} and {}", before.base, segment.base);
            }
            segment.check_invariants();
            before = Some(segment);
        }
        let written = self.last_batch().map_or(*log_start, BatchHeader::next_offset);
        assert!(written <= *log_end, "{tp}: a record before {written} in a log that ends at {log_end}");
        self.check_epochs();
    }

    fn check_epochs(&self) {
        let Self { tp, log_end, .. } = self;
        for pair in self.epochs.entries().windows(2) {
            assert!(pair[0].epoch < pair[1].epoch && pair[0].start < pair[1].start, "{tp}: epochs {pair:?}");
        }
        for entry in self.epochs.entries().iter().rev().take(4) {
            assert!(entry.start <= *log_end, "{tp}: {entry:?} in a log that ends at {log_end}");
            if let Some(first) = self.batch_at(entry.start) {
                assert_eq!(first.leader_epoch, entry.epoch.0, "{tp}: {entry:?} and {first:?}");
                let begins = first.base_offset == entry.start || entry.start == self.log_start;
                assert!(begins, "{tp}: {entry:?} in the middle of {first:?}");
            }
        }
        // A leader whose epoch is older than that of its last record drops the entries that contradict it: a ZooKeeper that lost
        // what it had acknowledged hands old epochs out again.
        let newest = self.epochs.entries().last().map_or(-1, |entry| entry.epoch.0);
        if let (Some(last), Some(epoch)) = (self.last_batch(), self.epochs.epoch_at(self.log_end.plus(-1)))
            && last.next_offset() == *log_end
            && last.leader_epoch <= newest
        {
            assert_eq!(last.leader_epoch, epoch.0, "{tp}: the last batch {last:?} and {:?}", self.epochs);
        }
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.sealed.iter().map(|segment| &**segment).chain(std::iter::once(&self.active))
    }

    /// The segment of that index, the active one being the last.
    pub(crate) fn segment(&self, at: usize) -> &Segment {
        self.sealed.get(at).map_or(&self.active, |segment| segment)
    }

    /// The index of the segment that an offset is or would be in; the first one if it lies before that.
    pub(crate) fn floor(&self, offset: Offset) -> usize {
        if offset >= self.active.base {
            return self.sealed.len();
        }
        self.sealed.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }
}
