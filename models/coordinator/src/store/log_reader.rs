//! The txn log as it is read: for recovery, for DIFF from disk, for truncation (zookeeper.md §9.2, §9.6).
//!
//! A file ends where an entry is not all there: at the end of the file, at zeros, at a missing end mark. That is how a
//! crash leaves it, and how the real server reads it. A checksum that does not match is no end: it is an error.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use jute::txn::TxnEntry;
use jute::{DecodeError, Zxid};
use machine::disk::{Disk, DiskError, FileId};
use thiserror::Error;

use super::layout::{log_files, snapshot_files};
use super::recovery::newest_snapshot_bytes;
use super::txn_log::{END_OF_ENTRY, HEADER_BYTES, MAGIC};
use crate::config::ServerConfig;
use crate::database::follows;
use crate::defect::Defect;

/// Read ahead by this much; files are mostly padding.
const WINDOW_BYTES: u64 = 64 * 1024;

/// Why a log cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// A file is shorter than its header, and not an empty last one.
    #[error("{file} ends inside its header")]
    TruncatedHeader {
        /// The file.
        file: String,
    },
    /// A file does not begin as a txn log does.
    #[error("{file} has magic number {magic:#x}")]
    BadMagic {
        /// The file.
        file: String,
        /// What it begins with.
        magic: i32,
    },
    /// An entry is negative in length, or longer than any may be.
    #[error("{file} has an entry of length {length} at {offset}")]
    UnreasonableLength {
        /// The file.
        file: String,
        /// Where the entry begins.
        offset: u64,
        /// Its length.
        length: i32,
    },
    /// The bytes of an entry are not those that were written.
    #[error("CRC check failed in {file} at {offset}")]
    ChecksumMismatch {
        /// The file.
        file: String,
        /// Where the entry begins.
        offset: u64,
    },
    /// An entry is not a transaction this version knows (ZOOKEEPER-2623).
    #[error("{file} is unreadable at {offset}: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// Where the entry begins.
        offset: u64,
        /// What is wrong with it.
        why: DecodeError,
    },
    /// Transactions are missing. The real server does not notice (§9.6, ZB-35): the fixed rule is to refuse.
    #[error("the log has a gap between {after} and {next} in {file}")]
    Gap {
        /// The last transaction before the gap.
        after: Zxid,
        /// The first one behind it.
        next: Zxid,
        /// The file that one is in.
        file: String,
    },
    /// A txn changes a znode that is not there: an error only in old releases (ZOOKEEPER-1573).
    #[error("the log changes a znode at {zxid} that is not there")]
    NoNode {
        /// The txn.
        zxid: Zxid,
    },
    /// The disk failed.
    #[error("cannot read the txn log: {0}")]
    Disk(#[from] DiskError),
}

/// A transaction as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its zxid.
    pub zxid: Zxid,
    /// Header, record and digest; see [`TxnEntry::decode`].
    pub bytes: Bytes,
    /// The file it is in.
    pub file: String,
    /// Where it begins, with its checksum.
    pub offset: u64,
    /// Where the next one begins.
    pub end: u64,
}

impl LogEntry {
    /// Decodes the transaction.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub fn decode(&self) -> Result<TxnEntry, LogError> {
        TxnEntry::decode(&self.bytes).map_err(|why| self.unreadable(why))
    }

    fn unreadable(&self, why: DecodeError) -> LogError {
        LogError::Unreadable { file: self.file.clone(), offset: self.offset, why }
    }
}

/// Reads the transactions of a directory's logs in order.
#[derive(Clone, Debug)]
pub struct LogReader {
    /// Those not opened yet, oldest first.
    files: VecDeque<String>,
    current: Option<OpenFile>,
    peeked: Option<LogEntry>,
    entry_bytes_max: i32,
    /// Entries before it are not given out, if that was asked for.
    skip_below: Zxid,
    /// Where a gap begins to matter; none if it never does.
    gapless_from: Option<Zxid>,
    /// The counter with which an epoch must begin, if that was asked for.
    first_counter: Option<u32>,
    /// The zxids of snapshots that lie in a gap if the log passes over them.
    snapshots: Vec<Zxid>,
    last: Option<Zxid>,
    torn: u32,
    /// An empty last file is an error (ZOOKEEPER-2332).
    fails_on_empty: bool,
}

/// A file and what is known of its bytes.
#[derive(Clone, Debug)]
struct OpenFile {
    path: String,
    file: FileId,
    len: u64,
    position: u64,
    window: Bytes,
    window_at: u64,
}

/// What the next bytes of a file are.
enum Next {
    Entry(LogEntry),
    /// Padding, or the end of the file right after an entry.
    End,
    /// Part of an entry.
    TornEnd,
}

impl LogReader {
    /// Opens the logs so that the first transaction given out is the first one after `last`. A gap after `last` is an error.
    #[must_use]
    pub fn after(disk: &dyn Disk, config: &ServerConfig, last: Zxid) -> Self {
        let next = Zxid::from_wire(last.to_wire() + 1).expect("a zxid has 63 bits");
        let mut reader = Self::open(disk, config, next);
        reader.skip_below = next;
        reader.gapless_from = Some(next);
        reader.last = Some(last);
        reader
    }

    /// Opens the logs at the beginning of the file that may hold `zxid`, with what comes before it in that file. A gap is an
    /// error only if it is not wholly before `zxid`.
    ///
    /// An epoch that does not begin with its first transaction is a gap as well: a SNAP was loaded over it, and what stands
    /// before it may never have been committed (ZOOKEEPER-2846; the real server sends it to its learners). So is one that is passed
    /// over and has a snapshot: a whole epoch, of which the log alone does not tell, was loaded by SNAP.
    #[must_use]
    pub fn around(disk: &dyn Disk, config: &ServerConfig, zxid: Zxid) -> Self {
        if config.defects.has(Defect::TxnLogSyncIgnoresGaps) {
            return Self::open(disk, config, zxid);
        }
        Self {
            gapless_from: Some(zxid),
            first_counter: Some(config.initial_zxid.unwrap_or(0) + 1),
            snapshots: snapshot_files(disk, &config.data_dir).into_iter().map(|(zxid, _)| zxid).collect(),
            ..Self::open(disk, config, zxid)
        }
    }

    /// Opens the logs at the beginning of the newest file whose name is below `zxid`, and lets gaps be.
    pub(super) fn open(disk: &dyn Disk, config: &ServerConfig, zxid: Zxid) -> Self {
        let files = log_files(disk, &config.data_log_dir);
        let first = files.iter().rposition(|&(name, _)| name < zxid).unwrap_or(0);
        let entry_bytes_max = config.jute_max_buffer.saturating_mul(2);
        Self {
            files: files.into_iter().skip(first).map(|(_, path)| path).collect(),
            current: None,
            peeked: None,
            entry_bytes_max: i32::try_from(entry_bytes_max).unwrap_or(i32::MAX),
            skip_below: Zxid::ZERO,
            gapless_from: None,
            first_counter: None,
            snapshots: Vec::new(),
            last: None,
            torn: 0,
            fails_on_empty: config.defects.has(Defect::EmptyTailLogFatal),
        }
    }

    /// Returns the next transaction, none at the end of the last file.
    ///
    /// # Errors
    /// See [`LogError`]; the reader is useless afterwards.
    pub fn next(&mut self, disk: &mut dyn Disk) -> Result<Option<LogEntry>, LogError> {
        if let Some(entry) = self.peeked.take() {
            return Ok(Some(entry));
        }
        loop {
            let Some(file) = &mut self.current else {
                if self.open_next(disk)? {
                    continue;
                }
                return Ok(None);
            };
            match file.next(disk, self.entry_bytes_max)? {
                Next::Entry(entry) => {
                    if entry.zxid >= self.skip_below {
                        self.check_continuity(&entry)?;
                        self.last = self.last.max(Some(entry.zxid));
                        return Ok(Some(entry));
                    }
                }
                Next::End => self.current = None,
                Next::TornEnd => {
                    self.torn += 1;
                    self.current = None;
                }
            }
        }
    }

    /// Returns the next transaction without going past it.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn peek(&mut self, disk: &mut dyn Disk) -> Result<Option<&LogEntry>, LogError> {
        if self.peeked.is_none() {
            self.peeked = self.next(disk)?;
        }
        Ok(self.peeked.as_ref())
    }

    /// How many files ended inside an entry so far.
    #[must_use]
    pub const fn torn_tails(&self) -> u32 {
        self.torn
    }

    /// Sum of the lengths of the files not opened yet, padding included.
    ///
    /// # Errors
    /// Of opening them.
    pub fn bytes_ahead(&self, disk: &mut dyn Disk) -> Result<u64, DiskError> {
        let mut bytes = 0;
        for path in &self.files {
            let file = disk.open(path)?;
            bytes += disk.len(file);
        }
        Ok(bytes)
    }

    /// A zxid that is not greater than the last is read as the real server reads it: it only warns.
    fn check_continuity(&self, entry: &LogEntry) -> Result<(), LogError> {
        if let (Some(last), Some(from)) = (self.last, self.gapless_from)
            && entry.zxid >= from
            && entry.zxid > last
            && !self.continues(last, entry.zxid)
        {
            return Err(LogError::Gap { after: last, next: entry.zxid, file: entry.file.clone() });
        }
        Ok(())
    }

    fn continues(&self, last: Zxid, next: Zxid) -> bool {
        let begins_well = self.first_counter.is_none_or(|first| next.counter() == first);
        let is_loaded_over = self.snapshots.iter().any(|&it| last < it && it < next && !it.is_epoch_start());
        follows(last, next) && (next.epoch() == last.epoch() || begins_well) && !is_loaded_over
    }

    /// Opens the next file; false if there is none. An empty last one is removed: a crash fell between its creation and its
    /// header (ZOOKEEPER-2332).
    fn open_next(&mut self, disk: &mut dyn Disk) -> Result<bool, LogError> {
        let Some(path) = self.files.pop_front() else { return Ok(false) };
        let file = disk.open(&path)?;
        let len = disk.len(file);
        if len == 0 && self.files.is_empty() && !self.fails_on_empty {
            disk.remove(&path)?;
            return Ok(false);
        }
        let mut open = OpenFile { path, file, len, position: 0, window: Bytes::new(), window_at: 0 };
        let Some(header) = open.take(disk, HEADER_BYTES)? else {
            return Err(LogError::TruncatedHeader { file: open.path });
        };
        let magic = read_i32(&header);
        if magic != MAGIC {
            return Err(LogError::BadMagic { file: open.path, magic });
        }
        self.current = Some(open);
        Ok(true)
    }
}

impl OpenFile {
    fn next(&mut self, disk: &mut dyn Disk, entry_bytes_max: i32) -> Result<Next, LogError> {
        let offset = self.position;
        if offset == self.len {
            return Ok(Next::End);
        }
        let Some(head) = self.take(disk, 12)? else { return Ok(Next::TornEnd) };
        let checksum = u64::from_be_bytes(*head.first_chunk().expect("twelve bytes were taken"));
        let length = read_i32(&head[8..]);
        if length == 0 || length == -1 {
            return Ok(if checksum == 0 && length == 0 { Next::End } else { Next::TornEnd });
        }
        let Some(body_bytes) = u64::try_from(length).ok().filter(|_| length <= entry_bytes_max) else {
            return Err(LogError::UnreasonableLength { file: self.path.clone(), offset, length });
        };
        let Some(body) = self.take(disk, body_bytes + 1)? else { return Ok(Next::TornEnd) };
        let (&end_mark, entry) = body.split_last().expect("at least the end mark was taken");
        if end_mark != END_OF_ENTRY {
            return Ok(Next::TornEnd);
        }
        if checksum != u64::from(adler2::adler32_slice(entry)) {
            return Err(LogError::ChecksumMismatch { file: self.path.clone(), offset });
        }
        let bytes = body.slice(..body.len() - 1);
        let header = TxnEntry::decode_header(&bytes);
        let mut entry = LogEntry { zxid: Zxid::ZERO, bytes, file: self.path.clone(), offset, end: self.position };
        entry.zxid = header.map_err(|why| entry.unreadable(why))?.zxid;
        Ok(Next::Entry(entry))
    }

    /// Takes the next bytes, none if there are not so many.
    fn take(&mut self, disk: &mut dyn Disk, bytes: u64) -> Result<Option<Bytes>, LogError> {
        let (from, to) = (self.position, self.position + bytes);
        if to > self.len {
            return Ok(None);
        }
        let window_end = self.window_at + self.window.len() as u64;
        if to > window_end {
            // Keep what is left of the window: entries lie across its end.
            let mut window = BytesMut::from(&self.window[index(from - self.window_at)..]);
            window.extend_from_slice(&disk.read(self.file, window_end, (to - window_end).max(WINDOW_BYTES))?);
            self.window = window.freeze();
            self.window_at = from;
        }
        let at = index(from - self.window_at);
        let taken = self.window.slice(at..at + index(bytes));
        self.position = to;
        Ok(Some(taken))
    }
}

/// Returns the logs for a DIFF to a peer whose last zxid is `peer`, from the file that may hold it (zookeeper.md §3.4). None
/// if the logs do not reach back so far, cannot be read, or are too long against the newest valid snapshot.
///
/// The first file does not count, padding does. Whoever reads on and meets an error must fall back to SNAP.
pub fn disk_proposals(disk: &mut dyn Disk, config: &ServerConfig, peer: Zxid) -> Option<LogReader> {
    let factor = u64::from(config.snapshot_size_factor?);
    let limit = newest_snapshot_bytes(disk, config).unwrap_or(0).saturating_mul(factor) / 1000;
    let mut reader = LogReader::around(disk, config, peer);
    let first = reader.peek(disk).ok()?.map(|entry| entry.zxid);
    if first.is_some_and(|first| first > peer) {
        return None;
    }
    if limit > 0 && reader.bytes_ahead(disk).ok()? > limit {
        return None;
    }
    Some(reader)
}

fn read_i32(bytes: &[u8]) -> i32 {
    i32::from_be_bytes(*bytes.first_chunk().expect("the caller took at least four bytes"))
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("offsets fit an address space")
}
