//! A segment of a log: its three files, and the headers of the batches in it (kafka-broker.md §5.1).
//!
//! The headers are kept in memory. They stand for what the real code reads from the page cache on its way through a file, and
//! whoever compares replicas reads them without touching a disk. The bytes of the records are in the file alone.

use bytes::Bytes;
use kafkawire::{BatchHeader, Offset};
use machine::WallMillis;
use machine::disk::{Disk, DiskError, FileId};

use crate::LogConfig;
use crate::chunked::Chunked;
use crate::index::{OffsetEntry, OffsetIndex, TimeEntry, TimeIndex, is_in_range};
use crate::layout::{DELETED_SUFFIX, INDEX, LOG, TIME_INDEX, segment_file};

/// A batch of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Placed {
    /// The position after it.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.size() as u64
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) base: Offset,
    pub(crate) log: FileId,
    batches: Chunked<Placed>,
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    bytes_since_index_entry: u64,
    /// The largest timestamp, and the last offset of the first batch that has it.
    pub(crate) youngest: Option<TimeEntry>,
    /// What the segment's age is counted from.
    first_timestamp: Option<i64>,
    created: WallMillis,
}

/// Where a read begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Located {
    /// The batch of this index holds the offset, or is the first beyond it.
    Batch(usize),
    /// Every batch ends before the offset.
    Beyond,
    /// The index points into the middle of a batch.
    IndexCorrupt,
}

impl Segment {
    /// Creates the files of an empty segment.
    pub(crate) fn create(disk: &mut dyn Disk, dir: &str, base: Offset, created: WallMillis) -> Result<Self, DiskError> {
        Ok(Self {
            base,
            log: disk.create(&segment_file(dir, base, LOG))?,
            batches: Chunked::default(),
            offsets: OffsetIndex::create(disk, &segment_file(dir, base, INDEX), base)?,
            times: TimeIndex::create(disk, &segment_file(dir, base, TIME_INDEX), base)?,
            bytes_since_index_entry: 0,
            youngest: None,
            first_timestamp: None,
            created,
        })
    }

    /// Takes a segment as it is: headers are read, CRCs are not checked, indexes are trusted if they can be indexes. None if
    /// that is not enough, so that it has to be recovered.
    ///
    /// `Simplified:` the real code reads no header of a segment it trusts but those behind the last index entry, and leaves
    /// garbage at the end of a log that was closed cleanly where it is. Lost: what it then appends behind the garbage.
    pub(crate) fn open(
        disk: &mut dyn Disk,
        dir: &str,
        base: Offset,
        created: WallMillis,
    ) -> Result<Option<Self>, DiskError> {
        let log = disk.open(&segment_file(dir, base, LOG))?;
        let Some(offsets) = OffsetIndex::load(disk, &segment_file(dir, base, INDEX), base)? else { return Ok(None) };
        let Some(times) = TimeIndex::load(disk, &segment_file(dir, base, TIME_INDEX), base)? else { return Ok(None) };
        let len = disk.len(log);
        let bytes = disk.read(log, 0, len)?;
        let mut segment = Self {
            base,
            log,
            batches: Chunked::default(),
            offsets,
            times,
            bytes_since_index_entry: 0,
            youngest: None,
            first_timestamp: None,
            created,
        };
        while let Some(header) = segment.next_batch(&bytes) {
            segment.push(header);
        }
        let indexes_fit = segment.offsets.last().is_none_or(|entry| entry.position < len)
            && segment.offsets.last().is_none_or(|entry| entry.offset < segment.next_offset())
            && segment.times.last().is_none_or(|entry| entry.offset < segment.next_offset())
            && segment
                .times
                .last()
                .is_none_or(|entry| segment.youngest.is_some_and(|youngest| youngest.timestamp >= entry.timestamp));
        Ok(if segment.size() == len && indexes_fit { Some(segment) } else { None })
    }

    /// Scans a segment from its first byte: CRCs are checked, the file is cut at the first batch that is not whole, the indexes
    /// are rebuilt (§5.3, `LogSegment.recover`). Returns how many bytes were cut off, too.
    ///
    /// `Simplified:` a batch of an older epoch than `epoch`, or than that of the batch before it, is cut off, too, and one that
    /// does not follow the batch before it. The real scan does not look: compaction leaves gaps, and no journaling file system
    /// loses a truncation, which is not synced, but keeps what was written after it; a disk here may (KA-I21, KA-I31). Lost: what
    /// a real broker does with such a log.
    pub(crate) fn recover(
        disk: &mut dyn Disk,
        dir: &str,
        base: Offset,
        mut epoch: i32,
        created: WallMillis,
        config: &LogConfig,
    ) -> Result<(Self, u64), DiskError> {
        let log = disk.open(&segment_file(dir, base, LOG))?;
        let len = disk.len(log);
        let bytes = disk.read(log, 0, len)?;
        let offsets = OffsetIndex::create(disk, &segment_file(dir, base, INDEX), base)?;
        let times = TimeIndex::create(disk, &segment_file(dir, base, TIME_INDEX), base)?;
        let mut segment = Self {
            base,
            log,
            batches: Chunked::default(),
            offsets,
            times,
            bytes_since_index_entry: 0,
            youngest: None,
            first_timestamp: None,
            created,
        };
        let mut last_entry = 0;
        while let Some(header) = segment.next_batch(&bytes) {
            let position = segment.size();
            let follows = header.base_offset == segment.next_offset() && header.leader_epoch >= epoch;
            // A segment that is trusted comes here if it ends in garbage; the real code would read no more of it than its headers.
            let is_taken_as_it_is = config.mutant.skips_crc || config.mutant.trusts_the_disk;
            if !follows || !(is_taken_as_it_is || has_its_crc(&bytes, position, &header)) {
                break;
            }
            epoch = header.leader_epoch;
            segment.push(header);
            if position - last_entry > config.index_interval_bytes {
                segment.index(disk, config, header.last_offset(), position)?;
                last_entry = position;
            }
        }
        disk.set_len(log, segment.size())?;
        segment.complete_time_index(disk)?;
        let cut = len - segment.size();
        Ok((segment, cut))
    }

    /// The header behind the last batch, if a whole one is there and its offsets can be there.
    fn next_batch(&self, bytes: &Bytes) -> Option<BatchHeader> {
        let at = usize::try_from(self.size()).expect("a segment is below 2 GiB");
        let rest = bytes.get(at..)?;
        let header = BatchHeader::parse(rest).ok()?;
        let is_whole = header.size() <= rest.len();
        let is_in_place = header.base_offset >= self.next_offset()
            && header.last_offset_delta >= 0
            && is_in_range(self.base, header.last_offset());
        if is_whole && is_in_place { Some(header) } else { None }
    }

    fn push(&mut self, header: BatchHeader) {
        let position = self.size();
        self.first_timestamp.get_or_insert(header.max_timestamp);
        if self.youngest.is_none_or(|youngest| header.max_timestamp > youngest.timestamp) {
            self.youngest = Some(TimeEntry { timestamp: header.max_timestamp, offset: header.last_offset() });
        }
        self.batches.push(Placed { position, header });
    }

    /// Adds an entry to both indexes, as one append or one batch of a scan earns it.
    fn index(
        &mut self,
        disk: &mut dyn Disk,
        config: &LogConfig,
        offset: Offset,
        position: u64,
    ) -> Result<(), DiskError> {
        // Only a scan may meet a full index: with a smaller `segment.index.bytes` than the segment was written with.
        if !self.offsets.is_full(config.index_max_bytes) {
            self.offsets.append(disk, OffsetEntry { offset, position })?;
        }
        if let Some(youngest) = self.youngest
            && !self.times.is_full(config.index_max_bytes)
        {
            self.times.maybe_append(disk, youngest)?;
        }
        Ok(())
    }

    /// Length of the log file in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.batches.last().map_or(0, Placed::end)
    }

    /// The offset after the last record; the base of an empty segment.
    pub(crate) fn next_offset(&self) -> Offset {
        self.batches.last().map_or(self.base, |last| last.header.next_offset())
    }

    /// The epoch of the last batch, as it is in its header.
    pub(crate) fn last_epoch(&self) -> Option<i32> {
        self.batches.last().map(|last| last.header.leader_epoch)
    }

    pub(crate) const fn batches(&self) -> &Chunked<Placed> {
        &self.batches
    }

    /// Whether an append of so many bytes, up to that offset and timestamp, needs a new segment (§5.5). An empty segment takes
    /// whatever its offsets can express.
    pub(crate) fn must_roll(
        &self,
        config: &LogConfig,
        bytes: u64,
        last: Offset,
        max_timestamp: i64,
        now: WallMillis,
    ) -> bool {
        if self.batches.is_empty() {
            return !is_in_range(self.base, last);
        }
        let age_ms = match self.first_timestamp {
            Some(first) if first >= 0 => max_timestamp.saturating_sub(first),
            Some(_) | None => now.0.saturating_sub(self.created.0),
        };
        self.size() + bytes > config.segment_bytes
            || age_ms > config.segment_ms
            || self.offsets.is_full(config.index_max_bytes)
            || self.times.is_full(config.index_max_bytes)
            || !is_in_range(self.base, last)
    }

    /// Appends batches that are already stamped.
    pub(crate) fn append(
        &mut self,
        disk: &mut dyn Disk,
        config: &LogConfig,
        bytes: &[u8],
        headers: &[BatchHeader],
    ) -> Result<(), DiskError> {
        let position = self.size();
        let last = headers.last().expect("an append has a batch").last_offset();
        disk.write_at(self.log, position, bytes)?;
        let is_first = self.batches.is_empty();
        for &header in headers {
            self.push(header);
        }
        if is_first {
            // Of an append of many batches it is the largest timestamp, not the first one, that the age is counted from.
            self.first_timestamp = headers.iter().map(|header| header.max_timestamp).max();
        }
        assert_eq!(self.size(), position + bytes.len() as u64, "the headers are those of the bytes");
        if self.bytes_since_index_entry > config.index_interval_bytes {
            self.index(disk, config, last, position)?;
            self.bytes_since_index_entry = 0;
        }
        self.bytes_since_index_entry += bytes.len() as u64;
        Ok(())
    }

    /// The segment takes no more appends, or its log is closed: its largest timestamp goes into the index, full or not.
    pub(crate) fn complete_time_index(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.youngest.map_or(Ok(()), |youngest| self.times.maybe_append(disk, youngest))
    }

    /// Finds the batch that holds an offset, or the first one beyond it: the index says where to begin to look.
    pub(crate) fn locate(&self, offset: Offset) -> Located {
        let from = self.offsets.lookup(offset);
        let first = self.batches.partition_point(|batch| batch.position < from);
        match self.batches.get(first) {
            None => Located::Beyond,
            Some(batch) if batch.position != from => Located::IndexCorrupt,
            Some(_) => (first..self.batches.len())
                .find(|&at| self.batches.get(at).is_some_and(|batch| batch.header.last_offset() >= offset))
                .map_or(Located::Beyond, Located::Batch),
        }
    }

    /// Drops every batch that holds the offset or comes after it.
    pub(crate) fn truncate_to(
        &mut self,
        disk: &mut dyn Disk,
        offset: Offset,
        now: WallMillis,
    ) -> Result<(), DiskError> {
        let kept = self.batches.partition_point(|batch| batch.header.last_offset() < offset);
        let size = kept.checked_sub(1).and_then(|last| self.batches.get(last)).map_or(0, Placed::end);
        self.offsets.truncate_to(disk, offset)?;
        self.times.truncate_to(disk, offset)?;
        disk.set_len(self.log, size)?;
        self.batches.truncate(kept);
        self.bytes_since_index_entry = 0;
        if self.batches.is_empty() {
            self.created = now;
            self.first_timestamp = None;
        }
        self.find_youngest();
        Ok(())
    }

    /// Finds the largest timestamp again: the last index entry, or a batch behind it (`readLargestTimestamp`).
    fn find_youngest(&mut self) {
        self.youngest = self.times.last().copied();
        let from = self
            .youngest
            .map_or(0, |youngest| self.batches.partition_point(|batch| batch.header.last_offset() < youngest.offset));
        for batch in self.batches.range(from..self.batches.len()) {
            if self.youngest.is_none_or(|youngest| batch.header.max_timestamp > youngest.timestamp) {
                self.youngest =
                    Some(TimeEntry { timestamp: batch.header.max_timestamp, offset: batch.header.last_offset() });
            }
        }
    }

    /// Gives the files of a segment the names of files that wait to be removed; returns these names.
    pub(crate) fn rename_deleted(disk: &mut dyn Disk, dir: &str, base: Offset) -> Result<Vec<String>, DiskError> {
        let mut renamed = Vec::new();
        for suffix in [LOG, INDEX, TIME_INDEX] {
            let path = segment_file(dir, base, suffix);
            let deleted = format!("{path}{DELETED_SUFFIX}");
            match disk.rename(&path, &deleted) {
                Ok(()) => renamed.push(deleted),
                // An index that a loss of power took was never missed.
                Err(DiskError::NotFound) => {}
                Err(error @ (DiskError::Io | DiskError::NoSpace)) => return Err(error),
            }
        }
        Ok(renamed)
    }

    /// Panics if the batches do not tile the file, or an index says what is not so.
    pub(crate) fn check_invariants(&self) {
        let recent = self.batches.len().saturating_sub(16);
        let mut before: Option<&Placed> = recent.checked_sub(1).and_then(|at| self.batches.get(at));
        for batch in self.batches.range(recent..self.batches.len()) {
            assert_eq!(batch.position, before.map_or(0, Placed::end), "batches of segment {} tile it", self.base);
            let next = before.map_or(self.base, |before| before.header.next_offset());
            assert!(batch.header.base_offset >= next, "offset {} after {next}", batch.header.base_offset);
            before = Some(batch);
        }
        if let Some(entry) = self.offsets.last() {
            assert!(entry.position < self.size(), "{entry:?} beyond the segment's {} bytes", self.size());
            assert!(entry.offset < self.next_offset(), "{entry:?} beyond the segment's end {}", self.next_offset());
        }
        if let Some(entry) = self.times.last() {
            assert!(entry.offset < self.next_offset(), "{entry:?} beyond the segment's end {}", self.next_offset());
            assert!(
                self.youngest.is_some_and(|youngest| youngest.timestamp >= entry.timestamp),
                "{entry:?} is younger than {:?}",
                self.youngest
            );
        }
    }
}

fn has_its_crc(bytes: &Bytes, position: u64, header: &BatchHeader) -> bool {
    let at = usize::try_from(position).expect("a segment is below 2 GiB");
    kafkawire::Batch { header: *header, bytes: bytes.slice(at..at + header.size()) }.check_crc().is_ok()
}
