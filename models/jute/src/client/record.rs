//! The records of client frames, field by field (zookeeper.md §11.2, §11.3, §11.5).

use serde::{Deserialize, Serialize, Serializer};

use crate::data::{Acl, Stat};
use crate::op::{AddWatchMode, CreateMode, ErrorCode, EventType, KeeperState, OpCode, WatcherType};
use crate::ser::Raw;
use crate::{Buffer, DecodeError, SessionId, Version, Xid, Zxid};

/// A client's first words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// 0.
    pub protocol_version: i32,
    /// Largest zxid the client has seen: a server that has seen less refuses it.
    pub last_zxid_seen: Zxid,
    /// The session timeout it asks for, ms.
    pub timeout_ms: i32,
    /// The session it had, or zero.
    pub session: SessionId,
    /// The session's password, 16 bytes.
    pub password: Buffer,
    /// Whether a read-only server will do. Old clients do not send it, and then do not get it back.
    #[serde(with = "crate::de::trailing")]
    pub read_only: Option<bool>,
}

/// A server's answer to a [`ConnectRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectResponse {
    /// 0.
    pub protocol_version: i32,
    /// The session timeout granted, ms; 0 if the session is refused.
    pub timeout_ms: i32,
    /// The session, zero if it is refused.
    pub session: SessionId,
    /// The session's password.
    pub password: Buffer,
    /// Whether the server is read-only; absent if the request's flag was.
    #[serde(with = "crate::de::trailing")]
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// Returns the answer to a client whose session is unknown, expired or not its own: all zeros.
    pub fn refused(read_only: Option<bool>) -> Self {
        ConnectResponse {
            protocol_version: 0,
            timeout_ms: 0,
            session: SessionId::ZERO,
            password: Buffer::new(&[0; 16][..]),
            read_only,
        }
    }

    /// Whether the session is refused: the client takes it as expired.
    pub fn is_refusal(&self) -> bool {
        self.timeout_ms <= 0
    }
}

/// Before each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHeader {
    /// The client's number for it.
    pub xid: Xid,
    /// What it asks for.
    pub op: OpCode,
}

/// Before each response and notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyHeader {
    /// The request's number, or one of the special ones.
    pub xid: Xid,
    /// Last transaction the server had processed; none (−1) for an unimplemented operation and some notifications.
    #[serde(with = "crate::zxid::or_minus_one")]
    pub zxid: Option<Zxid>,
    /// What came of it. A response follows only if this is `Ok` (but see [`ServerFrame::Reply`](super::ServerFrame::Reply)).
    pub err: ErrorCode,
}

/// Asks for a znode; for create, create2 and createContainer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRequest {
    /// Of the znode, or what comes before a sequential one's number.
    pub path: String,
    /// Its data.
    pub data: Buffer,
    /// Its access control list; null is refused, but by the server.
    pub acl: Option<Vec<Acl>>,
    /// Code of a [`CreateMode`]; others are refused, but by the server.
    pub flags: i32,
}

impl CreateRequest {
    /// Returns the mode, none if the flags name none.
    pub fn mode(&self) -> Option<CreateMode> {
        CreateMode::from_code(self.flags)
    }
}

/// Asks for a znode that goes when it is childless and unset for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTtlRequest {
    /// Of the znode, or what comes before a sequential one's number.
    pub path: String,
    /// Its data.
    pub data: Buffer,
    /// Its access control list; null is refused, but by the server.
    pub acl: Option<Vec<Acl>>,
    /// Code of a [`CreateMode`]; others are refused, but by the server.
    pub flags: i32,
    /// Time to live, ms.
    pub ttl_ms: i64,
}

impl CreateTtlRequest {
    /// Returns the mode, none if the flags name none.
    pub fn mode(&self) -> Option<CreateMode> {
        CreateMode::from_code(self.flags)
    }
}

/// The answer to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateResponse {
    /// Of the znode, with its number if it is sequential.
    pub path: String,
}

/// The answer to create2, createContainer and createTTL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create2Response {
    /// Of the znode, with its number if it is sequential.
    pub path: String,
    /// Of the new znode.
    pub stat: Stat,
}

/// Asks to delete a znode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// Of the znode.
    pub path: String,
    /// What its data version must be.
    pub version: Version,
}

/// What the leader asks of itself when a container is empty; refused when a client sends it. No record: the body is the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteContainerRequest {
    /// Of the container or TTL znode.
    pub path: String,
}

impl DeleteContainerRequest {
    pub(super) fn from_body(body: &[u8]) -> Result<Self, DecodeError> {
        let path = str::from_utf8(body).map_err(|_| DecodeError::InvalidUtf8)?;
        Ok(DeleteContainerRequest { path: path.to_owned() })
    }
}

impl Serialize for DeleteContainerRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Raw(self.path.as_bytes()).serialize(serializer)
    }
}

/// Asks whether a znode exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistsRequest {
    /// Of the znode.
    pub path: String,
    /// Whether to leave a watch.
    pub watch: bool,
}

/// The answer to exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistsResponse {
    /// Of the znode.
    pub stat: Stat,
}

/// Asks for a znode's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDataRequest {
    /// Of the znode.
    pub path: String,
    /// Whether to leave a watch.
    pub watch: bool,
}

/// The answer to getData, and to reconfig with the new configuration's text as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDataResponse {
    /// Of the znode.
    pub data: Buffer,
    /// Of the znode.
    pub stat: Stat,
}

/// Asks to set a znode's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDataRequest {
    /// Of the znode.
    pub path: String,
    /// The new data.
    pub data: Buffer,
    /// What its data version must be.
    pub version: Version,
}

/// The answer to setData.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDataResponse {
    /// Of the znode, after the change.
    pub stat: Stat,
}

/// Asks for a znode's access control list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetAclRequest {
    /// Of the znode.
    pub path: String,
}

/// The answer to getACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetAclResponse {
    /// The list, with digests masked for who may not administer the znode.
    pub acl: Vec<Acl>,
    /// Of the znode.
    pub stat: Stat,
}

/// Asks to set a znode's access control list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAclRequest {
    /// Of the znode.
    pub path: String,
    /// The new list; null is refused, but by the server.
    pub acl: Option<Vec<Acl>>,
    /// What its ACL version must be.
    pub version: Version,
}

/// The answer to setACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAclResponse {
    /// Of the znode, after the change.
    pub stat: Stat,
}

/// Asks for the names of a znode's children; for getChildren and getChildren2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetChildrenRequest {
    /// Of the parent.
    pub path: String,
    /// Whether to leave a watch.
    pub watch: bool,
}

/// The answer to getChildren.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetChildrenResponse {
    /// Names, not paths.
    pub children: Vec<String>,
}

/// The answer to getChildren2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetChildren2Response {
    /// Names, not paths.
    pub children: Vec<String>,
    /// Of the parent.
    pub stat: Stat,
}

/// Asks the server to catch up with its leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// Nobody looks at it; it may be null.
    pub path: Option<String>,
}

/// The answer to sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncResponse {
    /// The request's path.
    pub path: Option<String>,
}

/// Demands a version of a znode, in a multi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckVersionRequest {
    /// Of the znode.
    pub path: String,
    /// What its data version must be.
    pub version: Version,
}

/// Asks for other members of the ensemble (zookeeper.md §15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconfigRequest {
    /// Servers to add or change, as `server.N=…` parted by commas.
    pub joining: Option<String>,
    /// Ids of servers to remove, parted by commas.
    pub leaving: Option<String>,
    /// All members, instead of the two above.
    pub new_members: Option<String>,
    /// Version the configuration must have, −1 for any.
    pub config_id: i64,
}

/// Asks whether the connection has a watch (checkWatches), or to remove it (removeWatches).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchesRequest {
    /// The watched path.
    pub path: String,
    /// Which watches of it.
    pub watcher_type: WatcherType,
}

/// Sets one-shot watches again after a reconnect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetWatchesRequest {
    /// Last zxid the client saw: later changes are reported at once.
    pub relative_zxid: Zxid,
    /// Paths with a data watch.
    pub data_watches: Vec<String>,
    /// Paths watched for being created.
    pub exist_watches: Vec<String>,
    /// Paths with a child watch.
    pub child_watches: Vec<String>,
}

/// Sets watches again after a reconnect, persistent ones as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetWatches2Request {
    /// Last zxid the client saw: later changes are reported at once.
    pub relative_zxid: Zxid,
    /// Paths with a data watch.
    pub data_watches: Vec<String>,
    /// Paths watched for being created.
    pub exist_watches: Vec<String>,
    /// Paths with a child watch.
    pub child_watches: Vec<String>,
    /// Paths with a persistent watch.
    pub persistent_watches: Vec<String>,
    /// Paths with a persistent recursive watch.
    pub persistent_recursive_watches: Vec<String>,
}

/// Asks for a watch that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddWatchRequest {
    /// The path to watch.
    pub path: String,
    /// How.
    pub mode: AddWatchMode,
}

/// The answer to addWatch: a code, always `Ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// The code.
    pub err: ErrorCode,
}

/// Asks for the session's ephemeral znodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetEphemeralsRequest {
    /// What their paths begin with; null, "" and "/" are all of them.
    pub prefix: Option<String>,
}

/// The answer to getEphemerals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetEphemeralsResponse {
    /// Paths.
    pub ephemerals: Vec<String>,
}

/// Asks how many descendants a znode has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetAllChildrenNumberRequest {
    /// Of the ancestor.
    pub path: String,
}

/// The answer to getAllChildrenNumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetAllChildrenNumberResponse {
    /// Number of descendants.
    pub total_number: i32,
}

/// One identity of a connection, as whoAmI tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// Its scheme.
    pub auth_scheme: String,
    /// The user's name alone.
    pub user: String,
}

/// The answer to whoAmI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoAmIResponse {
    /// Every identity.
    pub client_info: Vec<ClientInfo>,
}

/// Adds an identity to the connection (zookeeper.md §6.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthPacket {
    /// 0; nobody looks at it.
    pub kind: i32,
    /// The scheme; null is one that nobody provides.
    pub scheme: Option<String>,
    /// The proof, in the scheme's own form.
    pub auth: Buffer,
}

/// A step of a SASL exchange, either way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaslToken {
    /// In the mechanism's own form.
    pub token: Buffer,
}

/// What a watch saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatcherEvent {
    /// What happened.
    pub event: EventType,
    /// `SyncConnected`, when a server sends it.
    pub state: KeeperState,
    /// Where.
    pub path: String,
}
