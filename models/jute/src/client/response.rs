//! What a server sends.

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};

use super::LENGTH_PREFIX;
use super::multi::MultiResponse;
use super::record::{
    ConnectResponse, Create2Response, CreateResponse, ErrorResponse, ExistsResponse, GetAclResponse,
    GetAllChildrenNumberResponse, GetChildren2Response, GetChildrenResponse, GetDataResponse, GetEphemeralsResponse,
    ReplyHeader, SaslToken, SetAclResponse, SetDataResponse, SyncResponse, WatcherEvent, WhoAmIResponse,
};
use crate::de::finish;
use crate::op::{ErrorCode, OpCode};
use crate::{DecodeError, Xid, Zxid, encoded_len, from_prefix, to_bytes};

/// The body of a reply. Operations without one (delete, ping, setWatches, …) are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To create.
    Create(CreateResponse),
    /// To create2, createContainer and createTTL.
    Create2(Create2Response),
    /// To exists.
    Exists(ExistsResponse),
    /// To getData.
    GetData(GetDataResponse),
    /// To setData.
    SetData(SetDataResponse),
    /// To getACL.
    GetAcl(GetAclResponse),
    /// To setACL.
    SetAcl(SetAclResponse),
    /// To getChildren.
    GetChildren(GetChildrenResponse),
    /// To getChildren2.
    GetChildren2(GetChildren2Response),
    /// To sync.
    Sync(SyncResponse),
    /// To multi and multiRead.
    Multi(MultiResponse),
    /// To reconfig: the new configuration.
    Reconfig(GetDataResponse),
    /// To addWatch.
    AddWatch(ErrorResponse),
    /// To getEphemerals.
    GetEphemerals(GetEphemeralsResponse),
    /// To getAllChildrenNumber.
    GetAllChildrenNumber(GetAllChildrenNumberResponse),
    /// To whoAmI.
    WhoAmI(WhoAmIResponse),
    /// To sasl.
    Sasl(SaslToken),
}

impl Response {
    /// Returns the response's record.
    pub fn encode(&self) -> Bytes {
        to_bytes(self)
    }

    /// Decodes the response to a request with this code and advances `body` behind it. None if there is none.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(op: OpCode, body: &mut &[u8]) -> Result<Option<Response>, DecodeError> {
        Ok(Some(match op {
            OpCode::Create => Response::Create(from_prefix(body)?),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => Response::Create2(from_prefix(body)?),
            OpCode::Exists => Response::Exists(from_prefix(body)?),
            OpCode::GetData => Response::GetData(from_prefix(body)?),
            OpCode::SetData => Response::SetData(from_prefix(body)?),
            OpCode::GetAcl => Response::GetAcl(from_prefix(body)?),
            OpCode::SetAcl => Response::SetAcl(from_prefix(body)?),
            OpCode::GetChildren => Response::GetChildren(from_prefix(body)?),
            OpCode::GetChildren2 => Response::GetChildren2(from_prefix(body)?),
            OpCode::Sync => Response::Sync(from_prefix(body)?),
            OpCode::Multi | OpCode::MultiRead => Response::Multi(from_prefix(body)?),
            OpCode::Reconfig => Response::Reconfig(from_prefix(body)?),
            OpCode::AddWatch => Response::AddWatch(from_prefix(body)?),
            OpCode::GetEphemerals => Response::GetEphemerals(from_prefix(body)?),
            OpCode::GetAllChildrenNumber => Response::GetAllChildrenNumber(from_prefix(body)?),
            OpCode::WhoAmI => Response::WhoAmI(from_prefix(body)?),
            OpCode::Sasl => Response::Sasl(from_prefix(body)?),
            OpCode::Notification
            | OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::Ping
            | OpCode::Check
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::Auth
            | OpCode::CreateSession
            | OpCode::CloseSession
            | OpCode::Error => return Ok(None),
        }))
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Response::Create(response) => response.serialize(serializer),
            Response::Create2(response) => response.serialize(serializer),
            Response::Exists(response) => response.serialize(serializer),
            Response::GetData(response) | Response::Reconfig(response) => response.serialize(serializer),
            Response::SetData(response) => response.serialize(serializer),
            Response::GetAcl(response) => response.serialize(serializer),
            Response::SetAcl(response) => response.serialize(serializer),
            Response::GetChildren(response) => response.serialize(serializer),
            Response::GetChildren2(response) => response.serialize(serializer),
            Response::Sync(response) => response.serialize(serializer),
            Response::Multi(response) => response.serialize(serializer),
            Response::AddWatch(response) => response.serialize(serializer),
            Response::GetEphemerals(response) => response.serialize(serializer),
            Response::GetAllChildrenNumber(response) => response.serialize(serializer),
            Response::WhoAmI(response) => response.serialize(serializer),
            Response::Sasl(response) => response.serialize(serializer),
        }
    }
}

/// One frame of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// The first of a connection.
    Connect(ConnectResponse),
    /// The reply to a request.
    Reply {
        /// Number and outcome.
        header: ReplyHeader,
        /// The body. None after an error (except that a refused multiRead has an empty list), and where the operation has none.
        response: Option<Response>,
    },
    /// A watch saw something: xid −1, err 0.
    Notification {
        /// The transaction it saw; none (−1) in servers up to 3.8, and for what setWatches finds.
        zxid: Option<Zxid>,
        /// What it saw.
        event: WatcherEvent,
    },
}

impl ServerFrame {
    /// Returns the payload.
    pub fn encode(&self) -> Bytes {
        to_bytes(self)
    }

    /// Returns the length of the frame: prefix and payload.
    pub fn wire_len(&self) -> usize {
        LENGTH_PREFIX + encoded_len(self)
    }

    /// Decodes the payload of a connection's first frame.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode_connect(payload: &[u8]) -> Result<Self, DecodeError> {
        crate::from_bytes(payload).map(ServerFrame::Connect)
    }

    /// Decodes the payload of a later frame, where `awaited` is the oldest unanswered request: replies come in order, and
    /// only its code says what the body is. Notifications and the replies to pings and auth packets need none.
    ///
    /// # Errors
    /// See [`DecodeError`]. A body nobody awaits is [`DecodeError::TrailingBytes`].
    pub fn decode(mut payload: &[u8], awaited: Option<OpCode>) -> Result<Self, DecodeError> {
        let body = &mut payload;
        let header: ReplyHeader = from_prefix(body)?;
        let frame = if header.xid == Xid::NOTIFICATION && header.err == ErrorCode::Ok {
            ServerFrame::Notification { zxid: header.zxid, event: from_prefix(body)? }
        } else {
            let op = awaited.filter(|_| header.xid != Xid::PING && header.xid != Xid::AUTH);
            let response = match op {
                Some(op) if header.err == ErrorCode::Ok || !body.is_empty() => Response::decode(op, body)?,
                Some(_) | None => None,
            };
            ServerFrame::Reply { header, response }
        };
        finish(body)?;
        Ok(frame)
    }
}

impl Serialize for ServerFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        match self {
            ServerFrame::Connect(response) => tuple.serialize_element(response)?,
            ServerFrame::Reply { header, response } => {
                tuple.serialize_element(header)?;
                if let Some(response) = response {
                    tuple.serialize_element(response)?;
                }
            }
            ServerFrame::Notification { zxid, event } => {
                let header = ReplyHeader { xid: Xid::NOTIFICATION, zxid: *zxid, err: ErrorCode::Ok };
                tuple.serialize_element(&header)?;
                tuple.serialize_element(event)?;
            }
        }
        tuple.end()
    }
}
