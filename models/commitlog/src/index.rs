//! The two sparse indexes of a segment (kafka-broker.md §5.1): where to begin to look for an offset, and for a timestamp.
//!
//! Both are kept in memory as the real ones are mapped, and are always what the file holds.
//!
//! `Simplified:` a file grows with its entries, it is not preallocated to `segment.index.bytes` and trimmed at a roll. Lost: the
//! tail of zeros that a crash leaves of the active segment's index, which recovery throws away in any case.

use std::fmt::Debug;

use kafkawire::Offset;
use machine::disk::{Disk, DiskError, FileId};

use crate::chunked::Chunked;

/// An entry of a fixed number of bytes.
pub(crate) trait Entry: Copy + Debug + 'static {
    /// The entry as it is in the file.
    type Bytes: AsRef<[u8]>;
    const BYTES: u64;

    fn encode(self, base: Offset) -> Self::Bytes;
    /// Panics unless there are [`Entry::BYTES`] of them.
    fn decode(base: Offset, bytes: &[u8]) -> Self;
    fn offset(&self) -> Offset;
    /// Whether the entry may come after the other.
    fn follows(&self, other: &Self) -> bool;
}

/// An entry of `B.index`: the batch with this offset begins at this position, or later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffsetEntry {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
}

/// An entry of `B.timeindex`: no record before the offset is younger than the timestamp, in milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) offset: Offset,
}

impl Entry for OffsetEntry {
    type Bytes = [u8; 8];
    const BYTES: u64 = 8;

    fn encode(self, base: Offset) -> [u8; 8] {
        let position = i32::try_from(self.position).expect("a segment is below 2 GiB");
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&relative(base, self.offset).to_be_bytes());
        bytes[4..].copy_from_slice(&position.to_be_bytes());
        bytes
    }

    fn decode(base: Offset, bytes: &[u8]) -> Self {
        let (offset, position) = bytes.split_at(4);
        let position = u32::from_be_bytes(position.try_into().expect("an entry has eight bytes"));
        Self { offset: absolute(base, offset), position: u64::from(position) }
    }

    fn offset(&self) -> Offset {
        self.offset
    }

    fn follows(&self, other: &Self) -> bool {
        self.offset > other.offset && self.position > other.position
    }
}

impl Entry for TimeEntry {
    type Bytes = [u8; 12];
    const BYTES: u64 = 12;

    fn encode(self, base: Offset) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&relative(base, self.offset).to_be_bytes());
        bytes
    }

    fn decode(base: Offset, bytes: &[u8]) -> Self {
        let (timestamp, offset) = bytes.split_at(8);
        let timestamp = i64::from_be_bytes(timestamp.try_into().expect("an entry has twelve bytes"));
        Self { timestamp, offset: absolute(base, offset) }
    }

    fn offset(&self) -> Offset {
        self.offset
    }

    fn follows(&self, other: &Self) -> bool {
        self.timestamp > other.timestamp && self.offset >= other.offset
    }
}

/// Whether an offset can be written relative to a base (`canConvertToRelativeOffset`).
pub(crate) fn is_in_range(base: Offset, offset: Offset) -> bool {
    offset >= base && i32::try_from(offset.0 - base.0).is_ok()
}

fn relative(base: Offset, offset: Offset) -> i32 {
    assert!(offset >= base, "offset {offset} in a segment that begins at {base}");
    i32::try_from(offset.0 - base.0).expect("a segment is rolled before its offsets need more than 32 bits")
}

fn absolute(base: Offset, bytes: &[u8]) -> Offset {
    base.plus(i64::from(u32::from_be_bytes(bytes.try_into().expect("a relative offset has four bytes"))))
}

/// An index: its file, and the entries in it.
#[derive(Clone, Debug)]
pub(crate) struct Index<E> {
    base: Offset,
    pub(crate) file: FileId,
    entries: Chunked<E>,
}

pub(crate) type OffsetIndex = Index<OffsetEntry>;
pub(crate) type TimeIndex = Index<TimeEntry>;

impl<E: Entry> Index<E> {
    pub(crate) fn create(disk: &mut dyn Disk, path: &str, base: Offset) -> Result<Self, DiskError> {
        Ok(Self { base, file: disk.create(path)?, entries: Chunked::default() })
    }

    /// Reads an index; none if it is missing or cannot be one (`sanityCheck`), so that it has to be rebuilt.
    pub(crate) fn load(disk: &mut dyn Disk, path: &str, base: Offset) -> Result<Option<Self>, DiskError> {
        let file = match disk.open(path) {
            Ok(file) => file,
            Err(DiskError::NotFound) => return Ok(None),
            Err(error @ (DiskError::Io | DiskError::NoSpace)) => return Err(error),
        };
        let len = disk.len(file);
        if !len.is_multiple_of(E::BYTES) {
            return Ok(None);
        }
        let bytes = disk.read(file, 0, len)?;
        let mut entries: Chunked<E> = Chunked::default();
        let size = usize::try_from(E::BYTES).expect("an entry has a few bytes");
        for entry in bytes.chunks_exact(size).map(|bytes| E::decode(base, bytes)) {
            if entries.last().is_some_and(|last| !entry.follows(last)) || !is_in_range(base, entry.offset()) {
                return Ok(None);
            }
            entries.push(entry);
        }
        Ok(Some(Self { base, file, entries }))
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn last(&self) -> Option<&E> {
        self.entries.last()
    }

    pub(crate) fn append(&mut self, disk: &mut dyn Disk, entry: E) -> Result<(), DiskError> {
        assert!(self.last().is_none_or(|last| entry.follows(last)), "{entry:?} after {:?}", self.last());
        disk.write_at(self.file, self.len() * E::BYTES, entry.encode(self.base).as_ref())?;
        self.entries.push(entry);
        Ok(())
    }

    /// Drops the entries from that offset on.
    pub(crate) fn truncate_to(&mut self, disk: &mut dyn Disk, offset: Offset) -> Result<(), DiskError> {
        let kept = self.entries.partition_point(|entry| entry.offset() < offset);
        disk.set_len(self.file, kept as u64 * E::BYTES)?;
        self.entries.truncate(kept);
        Ok(())
    }
}

impl OffsetIndex {
    /// Where to begin to look for an offset: the position of the last entry that is not beyond it.
    pub(crate) fn lookup(&self, offset: Offset) -> u64 {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).map_or(0, |entry| entry.position)
    }

    pub(crate) fn is_full(&self, max_bytes: u64) -> bool {
        self.len() >= max_bytes / OffsetEntry::BYTES
    }
}

impl TimeIndex {
    /// From which offset on to look for a timestamp: that of the last entry which is not younger.
    pub(crate) fn lookup(&self, timestamp: i64) -> Offset {
        let after = self.entries.partition_point(|entry| entry.timestamp <= timestamp);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).map_or(self.base, |entry| entry.offset)
    }

    /// One entry before its end: the last place is for the largest timestamp when the segment is rolled.
    pub(crate) fn is_full(&self, max_bytes: u64) -> bool {
        self.len() + 1 >= max_bytes / TimeEntry::BYTES
    }

    /// Adds an entry if it is younger than the last one.
    pub(crate) fn maybe_append(&mut self, disk: &mut dyn Disk, entry: TimeEntry) -> Result<(), DiskError> {
        // No timestamp is -1, and the real index begins with it.
        if entry.timestamp > self.last().map_or(-1, |last| last.timestamp) { self.append(disk, entry) } else { Ok(()) }
    }
}
