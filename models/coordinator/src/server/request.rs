//! A request on its way through the pipeline (zookeeper.md §4.1).

use std::sync::Arc;

use bytes::Bytes;
use jute::client::{Request as ClientRequest, refusal_of_malformed};
use jute::data::Id;
use jute::op::{ErrorCode, OpCode};
use jute::txn::{CreateSessionTxn, TxnEntry};
use jute::{DecodeError, SessionId, Xid, Zxid};
use machine::{EndId, Instant};

use crate::config::Release;

/// Who a session belongs to, by identity (zookeeper.md §7.6): a learner that comes back is a new owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Owner {
    /// A client of this server itself.
    Me,
    /// A client of the learner on this connection.
    Learner(EndId),
}

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// To begin the request's session with this timeout.
    CreateSession {
        /// The negotiated timeout, ms.
        timeout_ms: i32,
    },
    /// What a client wants, the end of its session included.
    Client(ClientRequest),
    /// A client's record that cannot be read.
    Malformed {
        /// What it was to be.
        op: OpCode,
        /// What came instead.
        body: Bytes,
        /// How it is answered.
        err: ErrorCode,
    },
    /// Nothing: the leader committed a txn of another server's client.
    Committed(OpCode),
}

impl Ask {
    /// Reads what a learner forwarded: none if no learner forwards such a thing.
    #[must_use]
    pub fn forwarded(op: OpCode, body: &Bytes) -> Option<Self> {
        if !is_forwarded(op) {
            return None;
        }
        Some(if op == OpCode::CreateSession {
            match jute::from_bytes::<CreateSessionTxn>(body) {
                Ok(txn) => Self::CreateSession { timeout_ms: txn.timeout_ms },
                Err(error) => Self::malformed(op, body, &error),
            }
        } else {
            match ClientRequest::decode(op, body) {
                Ok(Some(request)) => Self::Client(request),
                Ok(None) => return None,
                Err(error) => Self::malformed(op, body, &error),
            }
        })
    }

    fn malformed(op: OpCode, body: &Bytes, error: &DecodeError) -> Self {
        Self::Malformed { op, body: body.clone(), err: refusal_of_malformed(op, error, body) }
    }

    /// The code, `error` included for a txn that failed elsewhere.
    #[must_use]
    pub fn op(&self) -> OpCode {
        match self {
            Self::CreateSession { .. } => OpCode::CreateSession,
            Self::Client(request) => request.op(),
            Self::Malformed { op, .. } | Self::Committed(op) => *op,
        }
    }

    /// The record, as a learner forwards it.
    ///
    /// # Panics
    /// If there is none: a committed txn is never forwarded.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::CreateSession { timeout_ms } => jute::to_bytes(&CreateSessionTxn { timeout_ms: *timeout_ms }),
            Self::Client(request) => request.encode(),
            Self::Malformed { body, .. } => body.clone(),
            Self::Committed(op) => panic!("a committed {op} is not forwarded"),
        }
    }
}

/// Whether a learner sends requests with this code to its leader (zookeeper.md §4.2).
#[must_use]
pub fn is_forwarded(op: OpCode) -> bool {
    is_write(op) || op == OpCode::Sync
}

/// Whether a request with this code becomes a txn.
#[must_use]
pub(crate) fn is_write(op: OpCode) -> bool {
    match op {
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateTtl
        | OpCode::CreateContainer
        | OpCode::Delete
        | OpCode::DeleteContainer
        | OpCode::SetData
        | OpCode::Reconfig
        | OpCode::SetAcl
        | OpCode::Multi
        | OpCode::Check
        | OpCode::CreateSession
        | OpCode::CloseSession => true,
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
        | OpCode::WhoAmI
        | OpCode::Error => false,
    }
}

/// Whether a client may ask for the operation (`Request.isValid`, zookeeper.md §4.3). Before 3.9 a check on its own was among them
/// (ZOOKEEPER-2623).
#[must_use]
pub(crate) fn is_valid(op: OpCode, release: Release) -> bool {
    match op {
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateContainer
        | OpCode::CreateTtl
        | OpCode::Delete
        | OpCode::DeleteContainer
        | OpCode::Exists
        | OpCode::GetData
        | OpCode::SetData
        | OpCode::GetAcl
        | OpCode::SetAcl
        | OpCode::GetChildren
        | OpCode::GetChildren2
        | OpCode::Sync
        | OpCode::Ping
        | OpCode::Multi
        | OpCode::MultiRead
        | OpCode::Reconfig
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::SetWatches
        | OpCode::SetWatches2
        | OpCode::AddWatch
        | OpCode::GetEphemerals
        | OpCode::GetAllChildrenNumber
        | OpCode::WhoAmI
        | OpCode::Auth
        | OpCode::Sasl
        | OpCode::CloseSession => true,
        OpCode::Check => release == Release::V3_8_0,
        OpCode::Notification | OpCode::CreateSession | OpCode::Error => false,
    }
}

/// No identity: of requests that no client made.
#[must_use]
pub(crate) fn nobody() -> Arc<[Id]> {
    Arc::new([])
}

/// A txn: its header and record, and the same encoded once for log, proposal and committed log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// The txn.
    pub entry: TxnEntry,
    /// Its bytes: TxnHeader ‖ record ‖ digest.
    pub bytes: Bytes,
}

impl Proposal {
    /// Encodes a txn.
    #[must_use]
    pub fn new(entry: TxnEntry) -> Arc<Self> {
        let bytes = entry.encode();
        Arc::new(Self { entry, bytes })
    }

    /// Its place in the order.
    #[must_use]
    pub const fn zxid(&self) -> Zxid {
        self.entry.header.zxid
    }
}

/// A request on its way through the pipeline.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose it is.
    pub session: SessionId,
    /// The client's number for it; 0 for connects and for what the server asks of itself.
    pub cxid: Xid,
    /// What it asks for; shared, because the leader keeps it until the commit.
    pub ask: Arc<Ask>,
    /// Who must own the session.
    pub owner: Owner,
    /// Who the client was when it asked.
    pub ids: Arc<[Id]>,
    /// Begins or ends a session that only this server knows: no txn.
    pub(crate) is_local: bool,
    /// When it came; of a request that no client here waits for, the beginning of time.
    pub(crate) since: Instant,
    /// The connection that waits for the answer; none if nobody here does.
    pub client: Option<EndId>,
    /// What became of it in preparation: every write has a txn, reads have none.
    pub(crate) proposal: Option<Arc<Proposal>>,
    /// Why it fails, where it was prepared: `request.exception`.
    pub(crate) failure: Option<ErrorCode>,
}

impl Request {
    /// A request of a client of this server.
    #[must_use]
    pub(crate) fn of_client(client: EndId, session: SessionId, cxid: Xid, ask: Ask, ids: Arc<[Id]>) -> Self {
        Self {
            session,
            cxid,
            ask: Arc::new(ask),
            owner: Owner::Me,
            ids,
            is_local: false,
            since: Instant::ZERO,
            client: Some(client),
            proposal: None,
            failure: None,
        }
    }

    /// A request nobody here waits for.
    #[must_use]
    pub(crate) fn detached(session: SessionId, cxid: Xid, ask: Ask, owner: Owner, ids: Arc<[Id]>) -> Self {
        Self {
            session,
            cxid,
            ask: Arc::new(ask),
            owner,
            ids,
            is_local: false,
            since: Instant::ZERO,
            client: None,
            proposal: None,
            failure: None,
        }
    }

    /// What a learner applies when the leader committed a txn that no client here asked for.
    #[must_use]
    pub(crate) fn of_proposal(proposal: Arc<Proposal>) -> Self {
        let header = &proposal.entry.header;
        let ask = Ask::Committed(proposal.entry.txn.op());
        let (session, cxid) = (header.session, header.cxid);
        Self { proposal: Some(proposal), ..Self::detached(session, cxid, ask, Owner::Me, nobody()) }
    }

    /// The code.
    #[must_use]
    pub fn op(&self) -> OpCode {
        self.ask.op()
    }

    /// Whether it becomes a txn.
    #[must_use]
    pub(crate) fn is_write(&self) -> bool {
        is_write(self.op()) && !self.is_local
    }
}
