//! The disk a machine may ask for: real bytes in files, behind a page cache.
//!
//! Writes and reads go to the cache and return at once. Durability is separate: a sync covers what was written *before
//! it was asked*, its ticket comes back as an input, and what a crash leaves of the rest is the crash model's choice
//! ([`PageCache::lose_power`]). A machine that forgets to wait for its ticket is found out by that, not by an assertion.
//!
//! Paths are plain strings relative to the host's root, such as `version-2/log.100000001`; there is one flat directory
//! per host whose entries (creations, renames, removals) are durable only after a directory sync, or as the
//! [`Metadata`] rules of its file system say.

mod content;
mod crash;
mod directory;
mod file;
mod page_cache;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Ticket;

pub use crash::{CrashModel, Metadata};
pub use page_cache::{Durable, PageCache, PowerLoss};

/// A file by handle; it follows the file through renames. Numbered by the disk, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub u32);

/// What a sync makes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncTarget {
    /// The content and length of one file.
    File(FileId),
    /// The entries of the directory.
    Directory,
}

/// What a disk may answer instead of doing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskError {
    /// EIO: the device failed.
    Io,
    /// ENOSPC: the disk is full. Overwriting and removing still work.
    NoSpace,
    /// ENOENT: no such file.
    NotFound,
}

impl std::fmt::Display for DiskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
            Self::NotFound => "ENOENT",
        })
    }
}

impl std::error::Error for DiskError {}

/// A host's page cache, as a machine sees it.
///
/// Handles stay valid until the file is removed; using one after that panics (the machine lost track of its files).
pub trait Disk {
    /// Creates an empty file; one that had this name is replaced.
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    fn create(&mut self, path: &str) -> Result<FileId, DiskError>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    fn open(&mut self, path: &str) -> Result<FileId, DiskError>;

    /// The paths that start with `prefix`, in order of their bytes.
    fn list(&self, prefix: &str) -> Vec<String>;

    /// Length of a file in bytes.
    fn len(&self, file: FileId) -> u64;

    /// Writes at the end; returns the offset of the first byte. On an error nothing is written.
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<u64, DiskError> {
        let offset = self.len(file);
        self.write_at(file, offset, bytes)?;
        Ok(offset)
    }

    /// Writes at an offset, which may lie beyond the end: the gap reads as zeros. On an error nothing is written.
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Reads up to `len` bytes; fewer only at the end of the file.
    ///
    /// # Errors
    /// `Io`.
    fn read(&mut self, file: FileId, offset: u64, len: u64) -> Result<Bytes, DiskError>;

    /// Cuts the file, or extends it with zeros that take no space until they are written.
    ///
    /// # Errors
    /// `Io`.
    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError>;

    /// Gives a file another name; one that had it is replaced.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    fn remove(&mut self, path: &str) -> Result<(), DiskError>;

    /// Notes what a sync asked now will cover. Machines call [`Io::sync`](crate::Io::sync) instead, which hands out the
    /// ticket.
    fn begin_sync(&mut self, target: SyncTarget, ticket: Ticket);
}
