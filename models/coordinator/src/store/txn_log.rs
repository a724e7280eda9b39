//! The txn log as it is written (zookeeper.md §9.2, §9.3).
//!
//! Appending is buffering; what was appended reaches the page cache at a flush, and the platter when the tickets of that
//! flush come back. A roll opens no file: the next append does, so a file is named after its first transaction, and each
//! life of a server begins a new one.

use jute::Zxid;
use machine::disk::{Disk, DiskError, FileId};
use machine::{Io, Ticket, Vocabulary};

use super::layout::log_path;
use crate::config::ServerConfig;

/// "ZKLG".
pub(super) const MAGIC: i32 = 0x5a4b_4c47;
/// Of the format; readers do not look at it.
const VERSION: i32 = 2;
/// Bytes before the first transaction.
pub(super) const HEADER_BYTES: u64 = 16;
/// Ends every transaction.
pub(super) const END_OF_ENTRY: u8 = b'B';
/// The file grows when less than this is left of it.
const PADDING_RESERVE: u64 = 4096;

/// The handle of the log being written; volatile.
#[derive(Clone, Debug)]
pub struct TxnLog {
    dir: String,
    force_sync: bool,
    pre_alloc_bytes: u64,
    roll_bytes: Option<u64>,
    current: Option<Stream>,
    /// Streams that are not closed yet, oldest first: each flush syncs them all, rolled ones too.
    open: Vec<FileId>,
    rolled_bytes: u64,
}

/// The file that takes the next transaction.
#[derive(Clone, Debug)]
struct Stream {
    file: FileId,
    /// Where the buffer goes.
    position: u64,
    buffer: Vec<u8>,
    /// Length of the file with its padding.
    len: u64,
}

impl TxnLog {
    /// Returns a log that opens its first file at its first transaction.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            dir: config.data_log_dir.clone(),
            force_sync: config.force_sync,
            pre_alloc_bytes: config.pre_alloc_size_kb * 1024,
            roll_bytes: config.txn_log_size_limit_kb.map(|kb| kb * 1024),
            current: None,
            open: Vec::new(),
            rolled_bytes: 0,
        }
    }

    /// Appends a transaction to the buffer; opens and pads the file first if need be.
    ///
    /// # Errors
    /// Of creating, heading or padding the file. The log is then unusable, as the real server's is: see §4.5.
    ///
    /// # Panics
    /// If the entry is empty: a reader would take it for the end of the file.
    pub fn append(&mut self, disk: &mut dyn Disk, zxid: Zxid, entry: &[u8]) -> Result<(), DiskError> {
        assert!(!entry.is_empty(), "the entry of {zxid} is empty");
        let pre_alloc_bytes = self.pre_alloc_bytes;
        let stream = match &mut self.current {
            Some(stream) => stream,
            None => {
                let stream = Stream::create(disk, &log_path(&self.dir, zxid))?;
                self.open.push(stream.file);
                self.current.insert(stream)
            }
        };
        stream.pad(disk, pre_alloc_bytes)?;
        let checksum = i64::from(adler2::adler32_slice(entry));
        let length = i32::try_from(entry.len()).expect("an entry is shorter than 2 GiB");
        stream.buffer.extend_from_slice(&checksum.to_be_bytes());
        stream.buffer.extend_from_slice(&length.to_be_bytes());
        stream.buffer.extend_from_slice(entry);
        stream.buffer.push(END_OF_ENTRY);
        Ok(())
    }

    /// Writes what was appended and begins the syncs; all tickets must have come back before anything is acknowledged.
    /// With `forceSync=no` there are none.
    ///
    /// # Errors
    /// Of the write; nothing of the buffer may then be acknowledged.
    pub fn flush<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<Vec<Ticket>, DiskError> {
        if let Some(stream) = &mut self.current {
            stream.write(io.disk())?;
        }
        let tickets = if self.force_sync { self.open.iter().map(|&file| io.sync(file)).collect() } else { Vec::new() };
        let closed = self.open.len().saturating_sub(1);
        self.open.drain(..closed);
        if let Some(limit) = self.roll_bytes
            && self.current.as_ref().is_some_and(|stream| stream.position > limit)
        {
            self.roll(io.disk())?;
        }
        Ok(tickets)
    }

    /// Ends the current file; the next transaction begins another. Syncs nothing: the next flush does.
    ///
    /// # Errors
    /// Of writing what was appended.
    pub fn roll(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if let Some(mut stream) = self.current.take() {
            stream.write(disk)?;
            self.rolled_bytes += stream.position;
        }
        Ok(())
    }

    /// Writes what was appended, without a sync, and forgets the files: the next transaction begins another.
    ///
    /// # Errors
    /// Of the write.
    pub fn close(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.roll(disk)?;
        self.open.clear();
        Ok(())
    }

    /// Writes what was appended, without a sync.
    ///
    /// # Errors
    /// Of the write.
    pub(crate) fn write_out(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.current.as_mut().map_or(Ok(()), |stream| stream.write(disk))
    }

    /// Whether this file is the only one that is open.
    pub(crate) fn is_at(&self, file: Option<FileId>) -> bool {
        self.current.as_ref().map(|stream| stream.file) == file && self.open.iter().all(|&open| Some(open) == file)
    }

    /// Whether something was appended that no flush has written.
    #[must_use]
    pub fn has_unwritten(&self) -> bool {
        self.current.as_ref().is_some_and(|stream| !stream.buffer.is_empty())
    }

    /// Bytes logged since the last [`TxnLog::reset_bytes`], without padding: against `snapSizeLimitInKb` (§4.5).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.rolled_bytes + self.current.as_ref().map_or(0, Stream::end)
    }

    /// Counts from zero again, as a snapshot begins. The current file should have been rolled before.
    pub fn reset_bytes(&mut self) {
        self.rolled_bytes = 0;
    }
}

impl Stream {
    fn create(disk: &mut dyn Disk, path: &str) -> Result<Self, DiskError> {
        let file = disk.create(path)?;
        let mut header = Vec::with_capacity(16);
        header.extend_from_slice(&MAGIC.to_be_bytes());
        header.extend_from_slice(&VERSION.to_be_bytes());
        header.extend_from_slice(&0_i64.to_be_bytes());
        // Before any padding: no process crash leaves a file that is only padding. And once more with the first transactions:
        // they are in one sector, so no loss of power may keep those and lose the header.
        disk.write_at(file, 0, &header)?;
        Ok(Self { file, position: 0, buffer: header, len: HEADER_BYTES })
    }

    /// Position after the buffer.
    fn end(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }

    /// Extends the file by a block when its end is near; the first block comes on top of the header.
    fn pad(&mut self, disk: &mut dyn Disk, block: u64) -> Result<(), DiskError> {
        let end = self.end();
        if block == 0 || end + PADDING_RESERVE < self.len {
            return Ok(());
        }
        let len = if end > self.len { (end + block) / block * block } else { self.len + block };
        disk.set_len(self.file, len)?;
        self.len = len;
        Ok(())
    }

    fn write(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if !self.buffer.is_empty() {
            disk.write_at(self.file, self.position, &self.buffer)?;
            self.position = self.end();
            self.len = self.len.max(self.position);
            self.buffer.clear();
        }
        Ok(())
    }
}
