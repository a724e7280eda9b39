//! Writing a snapshot while transactions go on (zookeeper.md §9.4).
//!
//! Sessions and access control lists are serialised when it begins, znodes in as many steps as the caller likes, the
//! trailers at the end. Each znode is consistent in itself, and the list of a znode's children is what it was when that znode
//! was written; that is all a fuzzy snapshot promises.

use bytes::Bytes;
use jute::Zxid;
use machine::disk::{Disk, DiskError, FileId};
use machine::{Io, Ticket, Vocabulary};

use super::layout::snapshot_path;
use super::snapshot::{Encoder, NO_DIGEST, SnapshotTrailers};
use crate::config::ServerConfig;
use crate::database::Database;
use crate::defect::Defect;

/// How a snapshot reaches the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// In place, without a sync: a crash may tear it, and then an older one is used.
    Lazy,
    /// As `.tmp`, synced, then renamed: after SNAP, when no older one would do (ZOOKEEPER-2872).
    Synced,
}

/// Whether a step was the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Znodes are left.
    More,
    /// All is in the page cache. A synced snapshot must still be synced and renamed.
    Done,
}

/// A snapshot being written.
#[derive(Clone, Debug)]
pub struct SnapshotWriter {
    zxid: Zxid,
    durability: Durability,
    path: String,
    file: Option<FileId>,
    content: Content,
    ended_at: Zxid,
}

/// The part that knows no disk.
#[derive(Clone, Debug)]
struct Content {
    trailers: SnapshotTrailers,
    encoder: Encoder,
    /// Paths to write, the next one last.
    pending: Vec<String>,
    is_complete: bool,
}

impl SnapshotWriter {
    /// Begins a snapshot named by the last processed transaction: serialises sessions and access control lists.
    #[must_use]
    pub fn begin(database: &Database, config: &ServerConfig, durability: Durability) -> Self {
        let zxid = database.last_processed();
        Self {
            zxid,
            durability,
            path: snapshot_path(&config.data_dir, zxid),
            file: None,
            content: Content::begin(database, trailers(config), config.defects.has(Defect::SnapshotLacksSession)),
            ended_at: zxid,
        }
    }

    /// Serialises up to so many znodes and writes them to the page cache.
    ///
    /// # Errors
    /// Of the write; the real server exits with status 10.
    ///
    /// # Panics
    /// If the snapshot is done already.
    pub fn step(&mut self, database: &Database, nodes: usize, disk: &mut dyn Disk) -> Result<Progress, DiskError> {
        let chunk = self.content.step(database, nodes);
        let file = match self.file {
            Some(file) => file,
            None => *self.file.insert(disk.create(&self.written_path())?),
        };
        disk.append(file, &chunk)?;
        if self.content.is_complete {
            self.ended_at = database.last_processed();
            Ok(Progress::Done)
        } else {
            Ok(Progress::More)
        }
    }

    /// Writes all that is left in one step.
    ///
    /// # Errors
    /// As [`SnapshotWriter::step`].
    pub fn write_all(&mut self, database: &Database, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.step(database, usize::MAX, disk).map(|_| ())
    }

    /// Begins the sync of a [`Durability::Synced`] snapshot that is done; when the ticket is back, [`SnapshotWriter::publish`].
    pub fn sync<V: Vocabulary>(&self, io: &mut Io<'_, V>) -> Ticket {
        assert!(self.content.is_complete, "a snapshot is synced before it is complete");
        assert_eq!(self.durability, Durability::Synced, "a lazy snapshot is never synced");
        io.sync(self.file.expect("a complete snapshot has its file"))
    }

    /// Gives a synced snapshot its name.
    ///
    /// # Errors
    /// Of the rename.
    pub fn publish(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        assert_eq!(self.durability, Durability::Synced, "a lazy snapshot has its name from the start");
        disk.rename(&self.written_path(), &self.path)
    }

    /// Returns the zxid it is named by.
    #[must_use]
    pub const fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Whether transactions were applied between begin and end. Known when it is done.
    #[must_use]
    pub fn is_fuzzy(&self) -> bool {
        self.ended_at > self.zxid
    }

    fn written_path(&self) -> String {
        match self.durability {
            Durability::Lazy => self.path.clone(),
            Durability::Synced => format!("{}.tmp", self.path),
        }
    }
}

impl Content {
    fn begin(database: &Database, trailers: SnapshotTrailers, lacks_one: bool) -> Self {
        let mut encoder = Encoder::new();
        let listed = database.sessions().len().saturating_sub(usize::from(lacks_one));
        let sessions = database.sessions().iter().take(listed).map(|(&session, &timeout_ms)| (session, timeout_ms));
        encoder.begin(sessions, database.tree().acls().iter());
        Self { trailers, encoder, pending: vec![String::new()], is_complete: false }
    }

    fn step(&mut self, database: &Database, nodes: usize) -> Vec<u8> {
        assert!(!self.is_complete, "the snapshot is complete");
        let mut left = nodes.max(1);
        while left > 0
            && let Some(path) = self.pending.pop()
        {
            // Deleted meanwhile: replay knows of it.
            if let Some(node) = database.tree().node(&path) {
                self.encoder.node(&path, &node.persisted());
                let children: Vec<String> = node.children().map(|name| format!("{path}/{name}")).collect();
                self.pending.extend(children.into_iter().rev());
                left -= 1;
            }
        }
        if self.pending.is_empty() {
            self.encoder.end_of_nodes();
            if self.trailers.digest {
                self.encoder.digest(database.last_digest().unwrap_or(NO_DIGEST));
            }
            if self.trailers.last_processed {
                self.encoder.last_processed(database.last_processed());
            }
            self.is_complete = true;
        }
        self.encoder.take()
    }
}

/// Returns the snapshot of this instant, as a leader sends it after SNAP (zookeeper.md §3.4).
#[must_use]
pub fn serialize_snapshot(database: &Database, config: &ServerConfig) -> Bytes {
    Bytes::from(Content::begin(database, trailers(config), false).step(database, usize::MAX))
}

fn trailers(config: &ServerConfig) -> SnapshotTrailers {
    SnapshotTrailers { digest: config.digest_enabled, last_processed: config.serialize_last_processed_zxid }
}
