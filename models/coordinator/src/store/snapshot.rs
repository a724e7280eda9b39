//! The format of snapshots (zookeeper.md §9.4).
//!
//! ```text
//! "ZKSN", version 2, dbid -1 | sessions | ACL lists by id | path, znode, path, znode, … "/" | seal
//!   [ zxid, digest version, digest | seal ]   since 3.6, with digest.enabled
//!   [ last processed zxid | seal ]            since 3.9, with serializeLastProcessedZxid.enabled
//! ```
//! A seal is the Adler-32 of everything before it, and the string "/".

use std::collections::BTreeMap;

use adler2::Adler32;
use bytes::Bytes;
use jute::data::Acl;
use jute::txn::TxnDigest;
use jute::{DecodeError, SessionId, Zxid, from_prefix, to_vec_into};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::database::{Database, ZxidDigest};
use crate::tree::{AclId, DIGEST_VERSION, DataTree, Orphan, PersistedNode};

/// "ZKSN".
const MAGIC: i32 = 0x5a4b_534e;
const VERSION: i32 = 2;
const DB_ID: i64 = -1;
/// Follows the last znode and every checksum.
const END_MARK: &str = "/";
/// The end mark as a snapshot file ends with it.
const ENDING: &[u8] = &[0, 0, 0, 1, b'/'];

/// Why bytes are no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// They do not begin as a snapshot does.
    #[error("the snapshot has magic number {magic:#x}")]
    BadMagic {
        /// What they begin with.
        magic: i32,
    },
    /// They end early, or a record in them is broken.
    #[error("the snapshot is broken: {0}")]
    Broken(#[from] DecodeError),
    /// They are not those that were written.
    #[error("the snapshot's checksum is {found:#x}, its bytes have {actual:#x}")]
    BadSeal {
        /// What the seal says.
        found: i64,
        /// What the bytes have.
        actual: i64,
    },
    /// A seal lacks its end mark.
    #[error("the snapshot has no end mark after its checksum")]
    NoEndMark,
    /// A znode comes before its parent, or has none.
    #[error("the snapshot has no parent for {0}")]
    Orphan(String),
}

impl From<Orphan> for SnapshotError {
    fn from(orphan: Orphan) -> Self {
        Self::Orphan(orphan.path)
    }
}

/// Which of the two optional trailers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTrailers {
    /// `digest.enabled`.
    pub digest: bool,
    /// `serializeLastProcessedZxid.enabled`.
    pub last_processed: bool,
}

/// A snapshot's content, in its own order: encoding it gives the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotImage {
    /// Timeouts of the global sessions, ms.
    pub sessions: Vec<(SessionId, i32)>,
    /// Access control lists.
    pub acls: Vec<(AclId, Vec<Acl>)>,
    /// Znodes, each after its parent; the root's path is "".
    pub nodes: Vec<(String, PersistedNode)>,
    /// The digest after the transaction that was last when the znodes had been written; zxid 0 if there was none.
    pub digest: Option<ZxidDigest>,
    /// The last transaction when the snapshot ended.
    pub last_processed: Option<Zxid>,
}

/// Whether a file of this name could be a whole snapshot: it is long enough and ends with the end mark. What is torn does
/// not; a full load decides about the rest.
#[must_use]
pub fn is_plausible(len: u64, ending: &[u8]) -> bool {
    len >= 10 && ending.ends_with(ENDING)
}

impl SnapshotImage {
    /// Parses a snapshot, or what follows a SNAP packet up to its signature. Of an older version, trailers may be absent.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = Decoder { all: bytes, rest: bytes };
        let magic: i32 = input.take()?;
        if magic != MAGIC {
            return Err(SnapshotError::BadMagic { magic });
        }
        let (_version, _db_id): (i32, i64) = input.take()?;
        let mut sessions = Vec::new();
        for _ in 0..input.take::<i32>()? {
            sessions.push(input.take()?);
        }
        let mut acls = Vec::new();
        for _ in 0..input.take::<i32>()? {
            let (id, acl): (i64, Vec<Acl>) = input.take()?;
            acls.push((AclId(id), acl));
        }
        let mut nodes = Vec::new();
        loop {
            let path: String = input.take()?;
            if path == END_MARK {
                break;
            }
            nodes.push((path, input.take()?));
        }
        input.check_seal()?;
        let mut digest = None;
        if !input.rest.is_empty() {
            let (zxid, version, tree_digest): (Zxid, i32, i64) = input.take()?;
            let tree_digest = tree_digest.cast_unsigned();
            digest = Some(ZxidDigest { zxid, digest: TxnDigest { version, tree_digest } });
            input.check_seal()?;
        }
        let mut last_processed = None;
        if !input.rest.is_empty() {
            last_processed = Some(input.take()?);
            input.check_seal()?;
        }
        if !input.rest.is_empty() {
            return Err(DecodeError::TrailingBytes(input.rest.len()).into());
        }
        Ok(Self { sessions, acls, nodes, digest, last_processed })
    }

    /// Encodes the snapshot.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Encoder::new();
        let acls = self.acls.iter().map(|(id, acl)| (*id, acl.as_slice()));
        out.begin(self.sessions.iter().copied(), acls);
        for (path, node) in &self.nodes {
            out.node(path, node);
        }
        out.end_of_nodes();
        if let Some(digest) = self.digest {
            out.digest(digest);
        }
        if let Some(zxid) = self.last_processed {
            out.last_processed(zxid);
        }
        Bytes::from(out.take())
    }

    /// Builds the state that was saved, at the zxid of the file's name or of the SNAP packet.
    ///
    /// # Errors
    /// [`SnapshotError::Orphan`].
    pub fn into_database(self, zxid: Zxid, commit_log_count: usize) -> Result<Database, SnapshotError> {
        let tree = DataTree::restore(self.acls, self.nodes)?;
        let sessions: BTreeMap<SessionId, i32> = self.sessions.into_iter().collect();
        Ok(Database::restore(tree, sessions, zxid, self.digest, commit_log_count))
    }
}

struct Decoder<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl Decoder<'_> {
    fn take<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        from_prefix(&mut self.rest)
    }

    fn check_seal(&mut self) -> Result<(), SnapshotError> {
        let before = self.all.len() - self.rest.len();
        let actual = i64::from(adler2::adler32_slice(&self.all[..before]));
        let found: i64 = self.take()?;
        if found != actual {
            return Err(SnapshotError::BadSeal { found, actual });
        }
        if self.take::<String>()? != END_MARK {
            return Err(SnapshotError::NoEndMark);
        }
        Ok(())
    }
}

/// Writes the format piece by piece; bytes can be taken away between two pieces.
#[derive(Clone)]
pub(super) struct Encoder {
    out: Vec<u8>,
    adler: Adler32,
    /// How much of `out` the checksum has seen.
    summed: usize,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("pending_bytes", &self.out.len()).finish_non_exhaustive()
    }
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { out: Vec::new(), adler: Adler32::new(), summed: 0 }
    }

    pub(super) fn begin<'a>(
        &mut self,
        sessions: impl ExactSizeIterator<Item = (SessionId, i32)>,
        acls: impl ExactSizeIterator<Item = (AclId, &'a [Acl])>,
    ) {
        self.put(&(MAGIC, VERSION, DB_ID));
        self.put(&count(sessions.len()));
        for session in sessions {
            self.put(&session);
        }
        self.put(&count(acls.len()));
        for (id, acl) in acls {
            self.put(&(id.0, acl));
        }
    }

    pub(super) fn node(&mut self, path: &str, node: &PersistedNode) {
        self.put(path);
        self.put(node);
    }

    pub(super) fn end_of_nodes(&mut self) {
        self.put(END_MARK);
        self.seal();
    }

    pub(super) fn digest(&mut self, digest: ZxidDigest) {
        let ZxidDigest { zxid, digest: TxnDigest { version, tree_digest } } = digest;
        self.put(&(zxid, version, tree_digest.cast_signed()));
        self.seal();
    }

    pub(super) fn last_processed(&mut self, zxid: Zxid) {
        self.put(&zxid);
        self.seal();
    }

    /// Takes what was encoded since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.sum();
        self.summed = 0;
        std::mem::take(&mut self.out)
    }

    fn put<T: Serialize + ?Sized>(&mut self, record: &T) {
        to_vec_into(record, &mut self.out);
    }

    fn seal(&mut self) {
        self.sum();
        let checksum = i64::from(self.adler.checksum());
        self.put(&checksum);
        self.put(END_MARK);
    }

    fn sum(&mut self) {
        self.adler.write_slice(&self.out[self.summed..]);
        self.summed = self.out.len();
    }
}

/// What the digest trailer says when no transaction was applied: since boot, or since a snapshot that is still fuzzy.
pub(super) const NO_DIGEST: ZxidDigest =
    ZxidDigest { zxid: Zxid::ZERO, digest: TxnDigest { version: DIGEST_VERSION, tree_digest: 0 } };

fn count(number: usize) -> i32 {
    i32::try_from(number).expect("a snapshot has fewer than 2³¹ sessions and lists")
}
