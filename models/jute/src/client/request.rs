//! What a client sends.

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};

use super::LENGTH_PREFIX;
use super::multi::{MultiReadRequest, MultiRequest};
use super::record::{
    AddWatchRequest, AuthPacket, CheckVersionRequest, ConnectRequest, CreateRequest, CreateTtlRequest,
    DeleteContainerRequest, DeleteRequest, ExistsRequest, GetAclRequest, GetAllChildrenNumberRequest,
    GetChildrenRequest, GetDataRequest, GetEphemeralsRequest, ReconfigRequest, RequestHeader, SaslToken, SetAclRequest,
    SetDataRequest, SetWatches2Request, SetWatchesRequest, SyncRequest, WatchesRequest,
};
use crate::op::{ErrorCode, OpCode};
use crate::ser::Raw;
use crate::{DecodeError, Xid, encoded_len, from_prefix, to_bytes};

/// What a client asks for. It encodes to its record alone; the header is the frame's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Creates a znode; answered with its path.
    Create(CreateRequest),
    /// Creates a znode; answered with its path and stat.
    Create2(CreateRequest),
    /// Creates a container.
    CreateContainer(CreateRequest),
    /// Creates a TTL znode.
    CreateTtl(CreateTtlRequest),
    /// Deletes a znode.
    Delete(DeleteRequest),
    /// Deletes an empty container; the leader's own.
    DeleteContainer(DeleteContainerRequest),
    /// Reads a stat, and may leave a watch even where nothing is.
    Exists(ExistsRequest),
    /// Reads data.
    GetData(GetDataRequest),
    /// Sets data.
    SetData(SetDataRequest),
    /// Reads an ACL.
    GetAcl(GetAclRequest),
    /// Sets an ACL.
    SetAcl(SetAclRequest),
    /// Reads the names of children.
    GetChildren(GetChildrenRequest),
    /// Reads the names of children and the parent's stat.
    GetChildren2(GetChildrenRequest),
    /// Lets the server catch up with its leader.
    Sync(SyncRequest),
    /// Keeps the session alive.
    Ping,
    /// Demands a version; implemented in multis only.
    Check(CheckVersionRequest),
    /// Several changes, all or none.
    Multi(MultiRequest),
    /// Several reads.
    MultiRead(MultiReadRequest),
    /// Changes the ensemble's members.
    Reconfig(ReconfigRequest),
    /// Asks whether a watch is there.
    CheckWatches(WatchesRequest),
    /// Removes watches.
    RemoveWatches(WatchesRequest),
    /// Sets one-shot watches again.
    SetWatches(SetWatchesRequest),
    /// Sets all kinds of watches again.
    SetWatches2(SetWatches2Request),
    /// Adds a watch that stays.
    AddWatch(AddWatchRequest),
    /// Reads the paths of the session's ephemerals.
    GetEphemerals(GetEphemeralsRequest),
    /// Counts descendants.
    GetAllChildrenNumber(GetAllChildrenNumberRequest),
    /// Reads the connection's identities.
    WhoAmI,
    /// Adds an identity.
    Auth(AuthPacket),
    /// A step of a SASL exchange.
    Sasl(SaslToken),
    /// Ends the session.
    CloseSession,
}

impl Request {
    /// Returns its code.
    pub fn op(&self) -> OpCode {
        match self {
            Request::Create(_) => OpCode::Create,
            Request::Create2(_) => OpCode::Create2,
            Request::CreateContainer(_) => OpCode::CreateContainer,
            Request::CreateTtl(_) => OpCode::CreateTtl,
            Request::Delete(_) => OpCode::Delete,
            Request::DeleteContainer(_) => OpCode::DeleteContainer,
            Request::Exists(_) => OpCode::Exists,
            Request::GetData(_) => OpCode::GetData,
            Request::SetData(_) => OpCode::SetData,
            Request::GetAcl(_) => OpCode::GetAcl,
            Request::SetAcl(_) => OpCode::SetAcl,
            Request::GetChildren(_) => OpCode::GetChildren,
            Request::GetChildren2(_) => OpCode::GetChildren2,
            Request::Sync(_) => OpCode::Sync,
            Request::Ping => OpCode::Ping,
            Request::Check(_) => OpCode::Check,
            Request::Multi(_) => OpCode::Multi,
            Request::MultiRead(_) => OpCode::MultiRead,
            Request::Reconfig(_) => OpCode::Reconfig,
            Request::CheckWatches(_) => OpCode::CheckWatches,
            Request::RemoveWatches(_) => OpCode::RemoveWatches,
            Request::SetWatches(_) => OpCode::SetWatches,
            Request::SetWatches2(_) => OpCode::SetWatches2,
            Request::AddWatch(_) => OpCode::AddWatch,
            Request::GetEphemerals(_) => OpCode::GetEphemerals,
            Request::GetAllChildrenNumber(_) => OpCode::GetAllChildrenNumber,
            Request::WhoAmI => OpCode::WhoAmI,
            Request::Auth(_) => OpCode::Auth,
            Request::Sasl(_) => OpCode::Sasl,
            Request::CloseSession => OpCode::CloseSession,
        }
    }

    /// Returns the request's record.
    pub fn encode(&self) -> Bytes {
        to_bytes(self)
    }

    /// Decodes the record of a request with this code. None if no client may send such a request. Bytes after the record are
    /// ignored, as servers do.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(op: OpCode, mut body: &[u8]) -> Result<Option<Request>, DecodeError> {
        let body = &mut body;
        Ok(Some(match op {
            OpCode::Create => Request::Create(from_prefix(body)?),
            OpCode::Create2 => Request::Create2(from_prefix(body)?),
            OpCode::CreateContainer => Request::CreateContainer(from_prefix(body)?),
            OpCode::CreateTtl => Request::CreateTtl(from_prefix(body)?),
            OpCode::Delete => Request::Delete(from_prefix(body)?),
            OpCode::DeleteContainer => Request::DeleteContainer(DeleteContainerRequest::from_body(body)?),
            OpCode::Exists => Request::Exists(from_prefix(body)?),
            OpCode::GetData => Request::GetData(from_prefix(body)?),
            OpCode::SetData => Request::SetData(from_prefix(body)?),
            OpCode::GetAcl => Request::GetAcl(from_prefix(body)?),
            OpCode::SetAcl => Request::SetAcl(from_prefix(body)?),
            OpCode::GetChildren => Request::GetChildren(from_prefix(body)?),
            OpCode::GetChildren2 => Request::GetChildren2(from_prefix(body)?),
            OpCode::Sync => Request::Sync(from_prefix(body)?),
            OpCode::Ping => Request::Ping,
            OpCode::Check => Request::Check(from_prefix(body)?),
            OpCode::Multi => Request::Multi(from_prefix(body)?),
            OpCode::MultiRead => Request::MultiRead(from_prefix(body)?),
            OpCode::Reconfig => Request::Reconfig(from_prefix(body)?),
            OpCode::CheckWatches => Request::CheckWatches(from_prefix(body)?),
            OpCode::RemoveWatches => Request::RemoveWatches(from_prefix(body)?),
            OpCode::SetWatches => Request::SetWatches(from_prefix(body)?),
            OpCode::SetWatches2 => Request::SetWatches2(from_prefix(body)?),
            OpCode::AddWatch => Request::AddWatch(from_prefix(body)?),
            OpCode::GetEphemerals => Request::GetEphemerals(from_prefix(body)?),
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber(from_prefix(body)?),
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::Auth => Request::Auth(from_prefix(body)?),
            OpCode::Sasl => Request::Sasl(from_prefix(body)?),
            OpCode::CloseSession => Request::CloseSession,
            OpCode::Notification | OpCode::CreateSession | OpCode::Error => return Ok(None),
        }))
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Request::Create(request) | Request::Create2(request) | Request::CreateContainer(request) => {
                request.serialize(serializer)
            }
            Request::CreateTtl(request) => request.serialize(serializer),
            Request::Delete(request) => request.serialize(serializer),
            Request::DeleteContainer(request) => request.serialize(serializer),
            Request::Exists(request) => request.serialize(serializer),
            Request::GetData(request) => request.serialize(serializer),
            Request::SetData(request) => request.serialize(serializer),
            Request::GetAcl(request) => request.serialize(serializer),
            Request::SetAcl(request) => request.serialize(serializer),
            Request::GetChildren(request) | Request::GetChildren2(request) => request.serialize(serializer),
            Request::Sync(request) => request.serialize(serializer),
            Request::Check(request) => request.serialize(serializer),
            Request::Multi(request) => request.serialize(serializer),
            Request::MultiRead(request) => request.serialize(serializer),
            Request::Reconfig(request) => request.serialize(serializer),
            Request::CheckWatches(request) | Request::RemoveWatches(request) => request.serialize(serializer),
            Request::SetWatches(request) => request.serialize(serializer),
            Request::SetWatches2(request) => request.serialize(serializer),
            Request::AddWatch(request) => request.serialize(serializer),
            Request::GetEphemerals(request) => request.serialize(serializer),
            Request::GetAllChildrenNumber(request) => request.serialize(serializer),
            Request::Auth(request) => request.serialize(serializer),
            Request::Sasl(request) => request.serialize(serializer),
            Request::Ping | Request::WhoAmI | Request::CloseSession => serializer.serialize_unit(),
        }
    }
}

/// One frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// The first of a connection.
    Connect(ConnectRequest),
    /// A request.
    Request {
        /// The client's number for it.
        xid: Xid,
        /// What it asks for.
        request: Request,
    },
    /// A request with a code no client may use: answered with `Unimplemented`.
    Unknown {
        /// The client's number for it.
        xid: Xid,
        /// The code.
        code: i32,
        /// All that followed the header.
        body: Bytes,
    },
    /// A request whose record cannot be read: answered with [`ClientFrame::refusal`].
    Malformed {
        /// The client's number for it.
        xid: Xid,
        /// What it asks for.
        op: OpCode,
        /// What is wrong.
        error: DecodeError,
        /// All that followed the header.
        body: Bytes,
    },
}

impl ClientFrame {
    /// Returns the payload.
    pub fn encode(&self) -> Bytes {
        to_bytes(self)
    }

    /// Returns what to answer to a frame that is no proper request, none to others.
    pub fn refusal(&self) -> Option<ErrorCode> {
        match self {
            ClientFrame::Connect(_) | ClientFrame::Request { .. } => None,
            ClientFrame::Unknown { .. } => Some(ErrorCode::Unimplemented),
            ClientFrame::Malformed { op, error, body, .. } => Some(refusal_of_malformed(*op, error, body)),
        }
    }

    /// Returns the length of the frame: prefix and payload.
    pub fn wire_len(&self) -> usize {
        LENGTH_PREFIX + encoded_len(self)
    }

    /// Decodes the payload of a connection's first frame. Bytes after the record are ignored, as servers do.
    ///
    /// # Errors
    /// See [`DecodeError`]: the server closes the connection.
    pub fn decode_connect(mut payload: &[u8]) -> Result<Self, DecodeError> {
        from_prefix(&mut payload).map(ClientFrame::Connect)
    }

    /// Decodes the payload of a later frame. Bytes after the record are ignored, as servers do.
    ///
    /// # Errors
    /// If there is no header: the server closes the connection. A bad record is not an error but
    /// [`ClientFrame::Malformed`], since it is answered.
    pub fn decode(mut payload: &[u8]) -> Result<Self, DecodeError> {
        let (xid, code): (Xid, i32) = from_prefix(&mut payload)?;
        let body = || Bytes::copy_from_slice(payload);
        let Some(op) = OpCode::from_code(code) else {
            return Ok(ClientFrame::Unknown { xid, code, body: body() });
        };
        Ok(match Request::decode(op, payload) {
            Ok(Some(request)) => ClientFrame::Request { xid, request },
            Ok(None) => ClientFrame::Unknown { xid, code, body: body() },
            Err(error) => ClientFrame::Malformed { xid, op, error, body: body() },
        })
    }
}

/// Returns what to answer to a record that cannot be read.
///
/// Simplified: a real server reads a null path, ACL id or scheme and trips over it later (zookeeper.md §5.3, §5.5). The code
/// is the same, but here the record is refused first, even if for instance the session has moved or the parent is missing.
#[must_use]
pub fn refusal_of_malformed(op: OpCode, error: &DecodeError, body: &[u8]) -> ErrorCode {
    if op == OpCode::DeleteContainer {
        ErrorCode::BadArguments
    } else if *error == DecodeError::UnexpectedNull {
        refusal_of_null(op, body.starts_with(&NULL))
    } else {
        ErrorCode::MarshallingError
    }
}

/// A null length.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Where the first field is the path, the null is in it or, after it, in an ACL's id: all else behind a path may be null.
fn refusal_of_null(op: OpCode, is_first_field: bool) -> ErrorCode {
    let has_acl =
        [OpCode::Create, OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl, OpCode::SetAcl].contains(&op);
    if is_first_field && [OpCode::SetData, OpCode::SetAcl].contains(&op) {
        ErrorCode::BadArguments
    } else if !is_first_field && has_acl {
        ErrorCode::InvalidAcl
    } else {
        ErrorCode::MarshallingError
    }
}

impl Serialize for ClientFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        match self {
            ClientFrame::Connect(request) => tuple.serialize_element(request)?,
            ClientFrame::Request { xid, request } => {
                tuple.serialize_element(&RequestHeader { xid: *xid, op: request.op() })?;
                tuple.serialize_element(request)?;
            }
            ClientFrame::Unknown { xid, code, body } => {
                tuple.serialize_element(&(xid, code))?;
                tuple.serialize_element(&Raw(body))?;
            }
            ClientFrame::Malformed { xid, op, error: _, body } => {
                tuple.serialize_element(&RequestHeader { xid: *xid, op: *op })?;
                tuple.serialize_element(&Raw(body))?;
            }
        }
        tuple.end()
    }
}
