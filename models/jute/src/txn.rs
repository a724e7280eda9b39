//! Transactions, as logs hold them and proposals carry them (zookeeper.md §9.2).
//!
//! ```text
//! entry = i64 session, i32 cxid, i64 zxid, i64 time, i32 type | record by type | [ i32 digest version, i64 digest of the tree ]
//! ```
//!
//! The file around the entries (header, checksums, padding) is the log's own.

use bytes::Bytes;
use serde::ser::{SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use crate::data::Acl;
use crate::de::finish;
use crate::op::{ErrorCode, OpCode};
use crate::ser::Nested;
use crate::{Buffer, DecodeError, SessionId, Version, Xid, Zxid, from_bytes, from_prefix, to_bytes};

/// Who asked for a transaction, its place in the order, and its time. The type is the [`Txn`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnHeader {
    /// The session, `clientId`.
    pub session: SessionId,
    /// The session's number for the request; 0 for what the server asked of itself.
    pub cxid: Xid,
    /// Its place.
    pub zxid: Zxid,
    /// Wall ms of the leader.
    pub time_ms: i64,
}

/// Digest of the whole tree after a transaction (zookeeper.md §5.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnDigest {
    /// Of the algorithm: 2.
    pub version: i32,
    /// Sum of the nodes' digests, modulo 2⁶⁴.
    pub tree_digest: u64,
}

impl Serialize for TxnDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.version, self.tree_digest.cast_signed()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TxnDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (version, tree_digest): (i32, i64) = Deserialize::deserialize(deserializer)?;
        Ok(TxnDigest { version, tree_digest: tree_digest.cast_unsigned() })
    }
}

const DIGEST_LEN: usize = 12;

/// Makes a znode; of create and create2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTxn {
    /// Of the znode, with its number if it is sequential.
    pub path: String,
    /// Its data.
    pub data: Buffer,
    /// Its access control list.
    pub acl: Vec<Acl>,
    /// Whether it belongs to the header's session.
    pub ephemeral: bool,
    /// The parent's persisted cversion afterwards; none (−1, or no field at all) before 3.4: one more than it was.
    #[serde(with = "parent_cversion")]
    pub parent_cversion: Option<Version>,
}

/// Makes a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContainerTxn {
    /// Of the znode.
    pub path: String,
    /// Its data.
    pub data: Buffer,
    /// Its access control list.
    pub acl: Vec<Acl>,
    /// The parent's persisted cversion afterwards.
    #[serde(with = "parent_cversion")]
    pub parent_cversion: Option<Version>,
}

/// Makes a TTL znode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTtlTxn {
    /// Of the znode.
    pub path: String,
    /// Its data.
    pub data: Buffer,
    /// Its access control list.
    pub acl: Vec<Acl>,
    /// The parent's persisted cversion afterwards.
    #[serde(with = "parent_cversion")]
    pub parent_cversion: Option<Version>,
    /// Time to live, ms.
    pub ttl_ms: i64,
}

/// Removes a znode; of delete and deleteContainer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTxn {
    /// Of the znode.
    pub path: String,
}

/// Sets data; of setData and reconfig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDataTxn {
    /// Of the znode.
    pub path: String,
    /// The new data.
    pub data: Buffer,
    /// The data version afterwards.
    pub version: Version,
}

/// Sets an access control list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAclTxn {
    /// Of the znode.
    pub path: String,
    /// The new list.
    pub acl: Vec<Acl>,
    /// The ACL version afterwards.
    pub version: Version,
}

/// Begins the header's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSessionTxn {
    /// Its negotiated timeout, ms.
    pub timeout_ms: i32,
}

/// Ends the header's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseSessionTxn {
    /// Its ephemerals, in the order they are deleted.
    pub paths: Vec<String>,
}

/// Was satisfied with a version, in a multi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckVersionTxn {
    /// Of the znode.
    pub path: String,
    /// The data version plus one.
    pub version: Version,
}

/// Changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorTxn {
    /// Why.
    pub err: ErrorCode,
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn {
    /// Makes a znode.
    Create(CreateTxn),
    /// Makes a znode; the client also wanted its stat.
    Create2(CreateTxn),
    /// Makes a container.
    CreateContainer(CreateContainerTxn),
    /// Makes a TTL znode.
    CreateTtl(CreateTtlTxn),
    /// Removes a znode.
    Delete(DeleteTxn),
    /// Removes an empty container or a dead TTL znode.
    DeleteContainer(DeleteTxn),
    /// Sets data.
    SetData(SetDataTxn),
    /// Sets the ensemble's configuration.
    Reconfig(SetDataTxn),
    /// Sets an ACL.
    SetAcl(SetAclTxn),
    /// Begins a session.
    CreateSession(CreateSessionTxn),
    /// Ends a session. None before 3.6 and with `closeSessionTxn.enabled=false`: every server knows the ephemerals itself.
    CloseSession(Option<CloseSessionTxn>),
    /// Changed nothing.
    Error(ErrorTxn),
    /// All of these, or none: then all are errors.
    Multi(Vec<Txn>),
    /// Was satisfied with a version; only in a [`Txn::Multi`].
    Check(CheckVersionTxn),
}

impl Txn {
    /// Returns its type.
    pub fn op(&self) -> OpCode {
        match self {
            Txn::Create(_) => OpCode::Create,
            Txn::Create2(_) => OpCode::Create2,
            Txn::CreateContainer(_) => OpCode::CreateContainer,
            Txn::CreateTtl(_) => OpCode::CreateTtl,
            Txn::Delete(_) => OpCode::Delete,
            Txn::DeleteContainer(_) => OpCode::DeleteContainer,
            Txn::SetData(_) => OpCode::SetData,
            Txn::Reconfig(_) => OpCode::Reconfig,
            Txn::SetAcl(_) => OpCode::SetAcl,
            Txn::CreateSession(_) => OpCode::CreateSession,
            Txn::CloseSession(_) => OpCode::CloseSession,
            Txn::Error(_) => OpCode::Error,
            Txn::Multi(_) => OpCode::Multi,
            Txn::Check(_) => OpCode::Check,
        }
    }

    /// Whether it may be part of a [`Txn::Multi`].
    pub fn is_part(&self) -> bool {
        match self {
            Txn::Create(_)
            | Txn::Create2(_)
            | Txn::CreateContainer(_)
            | Txn::CreateTtl(_)
            | Txn::Delete(_)
            | Txn::SetData(_)
            | Txn::Error(_)
            | Txn::Check(_) => true,
            Txn::DeleteContainer(_)
            | Txn::Reconfig(_)
            | Txn::SetAcl(_)
            | Txn::CreateSession(_)
            | Txn::CloseSession(_)
            | Txn::Multi(_) => false,
        }
    }

    /// Whether it may be a transaction of its own.
    pub fn is_whole(&self) -> bool {
        self.op() != OpCode::Check
    }

    fn decode(code: i32, body: &mut &[u8]) -> Result<Txn, DecodeError> {
        let op = OpCode::from_code(code).ok_or_else(|| unknown_type(code))?;
        Ok(match op {
            OpCode::Create => Txn::Create(from_prefix(body)?),
            OpCode::Create2 => Txn::Create2(from_prefix(body)?),
            OpCode::CreateContainer => Txn::CreateContainer(from_prefix(body)?),
            OpCode::CreateTtl => Txn::CreateTtl(from_prefix(body)?),
            OpCode::Delete => Txn::Delete(from_prefix(body)?),
            OpCode::DeleteContainer => Txn::DeleteContainer(from_prefix(body)?),
            OpCode::SetData => Txn::SetData(from_prefix(body)?),
            OpCode::Reconfig => Txn::Reconfig(from_prefix(body)?),
            OpCode::SetAcl => Txn::SetAcl(from_prefix(body)?),
            OpCode::CreateSession => Txn::CreateSession(from_prefix(body)?),
            OpCode::CloseSession => Txn::CloseSession(decode_close(body)?),
            OpCode::Error => Txn::Error(from_prefix(body)?),
            OpCode::Multi => Txn::Multi(decode_parts(body)?),
            OpCode::Check => Txn::Check(from_prefix(body)?),
            OpCode::Notification
            | OpCode::Exists
            | OpCode::GetData
            | OpCode::GetAcl
            | OpCode::GetChildren
            | OpCode::Sync
            | OpCode::Ping
            | OpCode::GetChildren2
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::MultiRead
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::Sasl
            | OpCode::GetEphemerals
            | OpCode::GetAllChildrenNumber
            | OpCode::SetWatches2
            | OpCode::AddWatch
            | OpCode::WhoAmI => return Err(unknown_type(code)),
        })
    }
}

fn unknown_type(code: i32) -> DecodeError {
    DecodeError::bad_value(code, "a transaction type")
}

/// Reads the list of paths, or nothing: an entry from before 3.6 ends here, or goes on with its digest. A list may be as long
/// as a digest (one path of four bytes), but no digest of a version in use reads as a list: its version would be the count, and
/// both paths would be empty.
fn decode_close(body: &mut &[u8]) -> Result<Option<CloseSessionTxn>, DecodeError> {
    if body.is_empty() {
        return Ok(None);
    }
    if body.len() == DIGEST_LEN {
        let list = from_bytes(body).ok();
        let list = list.filter(|list: &CloseSessionTxn| list.paths.iter().all(|path| !path.is_empty()));
        if list.is_some() {
            *body = &[];
        }
        return Ok(list);
    }
    from_prefix(body).map(Some)
}

/// One part of a multi: type and record in a buffer.
struct Part<'a>(&'a Txn);

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0.is_part(), "a multi holds no {}", self.0.op());
        (self.0.op(), Nested(self.0)).serialize(serializer)
    }
}

#[derive(Deserialize)]
struct EncodedPart {
    code: i32,
    record: Buffer,
}

fn decode_parts(body: &mut &[u8]) -> Result<Vec<Txn>, DecodeError> {
    let parts: Vec<EncodedPart> = from_prefix(body)?;
    parts.iter().map(decode_part).collect()
}

fn decode_part(part: &EncodedPart) -> Result<Txn, DecodeError> {
    // Checked before decoding: a multi in a multi in a multi would go deep.
    if part.code == OpCode::Multi.code() {
        return Err(unknown_part(part.code));
    }
    let mut record = part.record.as_slice();
    let txn = Txn::decode(part.code, &mut record)?;
    finish(record)?;
    if txn.is_part() { Ok(txn) } else { Err(unknown_part(part.code)) }
}

fn unknown_part(code: i32) -> DecodeError {
    DecodeError::bad_value(code, "a transaction type a multi may hold")
}

/// Encodes to the record alone.
impl Serialize for Txn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Txn::Create(txn) | Txn::Create2(txn) => txn.serialize(serializer),
            Txn::CreateContainer(txn) => txn.serialize(serializer),
            Txn::CreateTtl(txn) => txn.serialize(serializer),
            Txn::Delete(txn) | Txn::DeleteContainer(txn) => txn.serialize(serializer),
            Txn::SetData(txn) | Txn::Reconfig(txn) => txn.serialize(serializer),
            Txn::SetAcl(txn) => txn.serialize(serializer),
            Txn::CreateSession(txn) => txn.serialize(serializer),
            Txn::CloseSession(Some(txn)) => txn.serialize(serializer),
            Txn::CloseSession(None) => serializer.serialize_unit(),
            Txn::Error(txn) => txn.serialize(serializer),
            Txn::Multi(txns) => serializer.collect_seq(txns.iter().map(Part)),
            Txn::Check(txn) => txn.serialize(serializer),
        }
    }
}

/// A transaction as the log holds it and a proposal carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnEntry {
    /// Who, where and when.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn,
    /// What the tree's digest is afterwards, if digests are on. Errors of their own have none, failed multis have.
    pub digest: Option<TxnDigest>,
}

impl TxnEntry {
    /// Returns the bytes of log entry and proposal.
    ///
    /// # Panics
    /// If [`Txn::Check`] stands alone, or a multi holds what it cannot.
    pub fn encode(&self) -> Bytes {
        to_bytes(self)
    }

    /// Decodes log entry or proposal, legacy forms included.
    ///
    /// # Errors
    /// See [`DecodeError`]. An unknown type makes a log unreadable (ZOOKEEPER-2623).
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let rest = &mut bytes;
        let header = from_prefix(rest)?;
        let code = from_prefix(rest)?;
        let txn = Txn::decode(code, rest)?;
        if !txn.is_whole() {
            return Err(unknown_type(code));
        }
        let digest = if rest.is_empty() { None } else { Some(from_bytes(rest)?) };
        Ok(TxnEntry { header, txn, digest })
    }

    /// Decodes only the header of an entry: enough to find a place in a log.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode_header(mut bytes: &[u8]) -> Result<TxnHeader, DecodeError> {
        from_prefix(&mut bytes)
    }
}

impl Serialize for TxnEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(4)?;
        tuple.serialize_element(&self.header)?;
        tuple.serialize_element(&self.txn.op())?;
        tuple.serialize_element(&self.txn)?;
        if let Some(digest) = &self.digest {
            tuple.serialize_element(digest)?;
        }
        tuple.end()
    }
}

/// The parent's cversion: none is −1, and nothing at all in logs from before 3.4.
mod parent_cversion {
    use serde::{Deserializer, Serialize, Serializer};

    use crate::{Version, de};

    const NONE: Version = Version::new(-1);

    pub(super) fn serialize<S: Serializer>(cversion: &Option<Version>, serializer: S) -> Result<S::Ok, S::Error> {
        cversion.unwrap_or(NONE).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Version>, D::Error> {
        let cversion: Option<Version> = de::trailing::deserialize(deserializer)?;
        Ok(cversion.filter(|&cversion| cversion != NONE))
    }
}
