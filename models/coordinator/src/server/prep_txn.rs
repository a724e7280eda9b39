//! From a request to its txn: validation against the tree as it will be (zookeeper.md §5.3–5.7).
//!
//! The order of the checks is the real server's, first failure wins. What passes can be applied by every server: applying never
//! validates.

use std::collections::BTreeSet;

use jute::client::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteContainerRequest, DeleteRequest, MultiOp, MultiRequest,
    ReconfigRequest, Request as ClientRequest, SetAclRequest, SetDataRequest,
};
use jute::data::{Acl, EphemeralOwner, Id, StatPersisted, perms};
use jute::op::{CreateMode, ErrorCode};
use jute::path::{parent_of, validate};
use jute::txn::{
    CheckVersionTxn, CloseSessionTxn, CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn, ErrorTxn, SetAclTxn,
    SetDataTxn, Txn, TxnHeader,
};
use jute::{Buffer, Sid, Version, Zxid};

use super::acl;
use super::change::{FutureNode, OutstandingChanges};
use super::local_sessions::{LocalSessions, check_at_leader};
use super::reconfig;
use super::request::Owner;
use super::session_tracker::SessionTracker;
use crate::config::{Release, ServerConfig};
use crate::defect::Defect;
use crate::quorum_verifier::Quorums;
use crate::tree::{CONFIG, NoStatsTrack, QUOTA, ZOOKEEPER};
use crate::{CoordinatorMark, Database};

/// One write on its way to a txn.
pub(super) struct Preparation<'a> {
    pub(super) header: &'a TxnHeader,
    pub(super) owner: Owner,
    /// Who asks.
    pub(super) ids: &'a [Id],
    pub(super) tracker: &'a mut SessionTracker,
    pub(super) locals: Option<&'a mut LocalSessions>,
    /// Why its ephemerals are refused, if whoever took the request knows.
    pub(super) refusal: Option<ErrorCode>,
    pub(super) changes: &'a mut OutstandingChanges,
    pub(super) db: &'a Database,
    pub(super) config: &'a ServerConfig,
    /// Whether there are others to reconfigure with.
    pub(super) leads: bool,
    /// The ensemble as it is.
    pub(super) quorums: &'a Quorums,
    /// Who is in step with this leader; of a reconfiguration only.
    pub(super) synced: &'a BTreeSet<Sid>,
    /// What was reached on the way.
    pub(super) marks: Vec<CoordinatorMark>,
}

impl Preparation<'_> {
    const fn zxid(&self) -> Zxid {
        self.header.zxid
    }

    fn check_session(&mut self) -> Result<(), ErrorCode> {
        let who = (self.header.session, self.owner);
        check_at_leader(self.tracker, self.locals.as_deref_mut(), who, self.config.myid)
    }

    /// A write of its own, but for multi and closeSession.
    pub(super) fn single(&mut self, request: &ClientRequest) -> Result<Txn, ErrorCode> {
        match request {
            ClientRequest::Create(create) => self.create(create).map(Txn::Create),
            ClientRequest::Create2(create) => self.create(create).map(Txn::Create2),
            ClientRequest::CreateContainer(create) => self.create_container(create).map(Txn::CreateContainer),
            ClientRequest::CreateTtl(create) => self.create_ttl(create).map(Txn::CreateTtl),
            ClientRequest::Delete(delete) => self.delete(delete).map(Txn::Delete),
            ClientRequest::DeleteContainer(delete) => self.delete_container(delete).map(Txn::DeleteContainer),
            ClientRequest::SetData(set) => self.set_data(set).map(Txn::SetData),
            ClientRequest::SetAcl(set) => self.set_acl(set).map(Txn::SetAcl),
            ClientRequest::Check(check) => self.check(check).map(Txn::Check),
            ClientRequest::Reconfig(reconfig) => self.reconfig(reconfig).map(Txn::Reconfig),
            ClientRequest::Exists(_)
            | ClientRequest::GetData(_)
            | ClientRequest::GetAcl(_)
            | ClientRequest::GetChildren(_)
            | ClientRequest::GetChildren2(_)
            | ClientRequest::Sync(_)
            | ClientRequest::Ping
            | ClientRequest::Multi(_)
            | ClientRequest::MultiRead(_)
            | ClientRequest::CheckWatches(_)
            | ClientRequest::RemoveWatches(_)
            | ClientRequest::SetWatches(_)
            | ClientRequest::SetWatches2(_)
            | ClientRequest::AddWatch(_)
            | ClientRequest::GetEphemerals(_)
            | ClientRequest::GetAllChildrenNumber(_)
            | ClientRequest::WhoAmI
            | ClientRequest::Auth(_)
            | ClientRequest::Sasl(_)
            | ClientRequest::CloseSession => panic!("{} is no write of its own", request.op()),
        }
    }

    fn check_acl(&self, acl: &[Acl], perms: i32) -> Result<(), ErrorCode> {
        acl::check(acl, perms, self.ids, self.config)
    }

    /// §5.3: create and create2.
    fn create(&mut self, request: &CreateRequest) -> Result<CreateTxn, ErrorCode> {
        let mode = request.mode().ok_or(ErrorCode::BadArguments)?;
        match mode {
            CreateMode::Persistent
            | CreateMode::Ephemeral
            | CreateMode::PersistentSequential
            | CreateMode::EphemeralSequential => {}
            // Stricter than the real server, which makes a persistent node whose digest is wrong.
            CreateMode::Container if self.config.release == Release::V3_9_5 => return Err(ErrorCode::BadArguments),
            CreateMode::Container => {}
            CreateMode::PersistentTtl | CreateMode::PersistentSequentialTtl => {
                return Err(self.refusal_of_ttl());
            }
        }
        let owner =
            if mode.is_ephemeral() { EphemeralOwner::Session(self.header.session) } else { EphemeralOwner::Nobody };
        let created = self.create_node(mode, owner, &request.path, &request.data, request.acl.as_deref())?;
        Ok(CreateTxn {
            path: created.path,
            data: request.data.clone(),
            acl: created.acl,
            ephemeral: mode.is_ephemeral(),
            parent_cversion: Some(created.parent_cversion),
        })
    }

    /// A time to live without a time.
    const fn refusal_of_ttl(&self) -> ErrorCode {
        if self.config.extended_types_enabled { ErrorCode::BadArguments } else { ErrorCode::Unimplemented }
    }

    /// createContainer: a container whatever the flags say, but for a number at the end of its name.
    fn create_container(&mut self, request: &CreateRequest) -> Result<CreateContainerTxn, ErrorCode> {
        let mode = request.mode().ok_or(ErrorCode::BadArguments)?;
        if mode.is_ttl() {
            return Err(self.refusal_of_ttl());
        }
        let owner = EphemeralOwner::Container;
        let created = self.create_node(mode, owner, &request.path, &request.data, request.acl.as_deref())?;
        Ok(CreateContainerTxn {
            path: created.path,
            data: request.data.clone(),
            acl: created.acl,
            parent_cversion: Some(created.parent_cversion),
        })
    }

    /// createTTL.
    fn create_ttl(&mut self, request: &CreateTtlRequest) -> Result<CreateTtlTxn, ErrorCode> {
        let mode = CreateMode::from_code(request.flags).ok_or(ErrorCode::BadArguments)?;
        if !self.config.extended_types_enabled && mode.is_ttl() {
            return Err(ErrorCode::Unimplemented);
        }
        // Other flags are let through by the real server, and the txn is none that can be applied.
        if !mode.is_ttl() || !(1..=EphemeralOwner::TTL_MS_MAX).contains(&request.ttl_ms) {
            return Err(ErrorCode::BadArguments);
        }
        let owner = EphemeralOwner::Ttl { ttl_ms: request.ttl_ms };
        let created = self.create_node(mode, owner, &request.path, &request.data, request.acl.as_deref())?;
        Ok(CreateTtlTxn {
            path: created.path,
            data: request.data.clone(),
            acl: created.acl,
            parent_cversion: Some(created.parent_cversion),
            ttl_ms: request.ttl_ms,
        })
    }

    /// §5.3, from the session on.
    fn create_node(
        &mut self,
        mode: CreateMode,
        owner: EphemeralOwner,
        asked: &str,
        data: &Buffer,
        acl: Option<&[Acl]>,
    ) -> Result<Created, ErrorCode> {
        let checked = if mode.is_ephemeral() {
            // Ephemerals are of global sessions.
            self.refusal.map_or_else(|| self.tracker.check(self.header.session, self.owner), Err)
        } else {
            self.check_session()
        };
        if let Err(err) = checked {
            if mode.is_ephemeral() && self.tracker.is_closing(self.header.session) {
                self.marks.push(CoordinatorMark::CreateRacedWithClose);
            }
            return Err(err);
        }
        let parent_path = parent_for_create(asked)?;
        let acl = acl::fix(acl, self.ids, self.config.release)?;
        let mut parent = (*self.changes.node(parent_path, self.db)?).clone();
        self.check_acl(&parent.acl, perms::CREATE)?;
        let mut path = asked.to_owned();
        if mode.is_sequential() {
            // Creates only, and before this one: what the parent's persisted cversion counts.
            path += &format!("{:010}", parent.stat.cversion.value());
        }
        validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        if let Ok(existing) = self.changes.node(&path, self.db) {
            let owner = existing.stat.ephemeral_owner;
            if mode.is_ephemeral() && owner != 0 && owner != self.header.session.value() {
                self.marks.push(CoordinatorMark::EphemeralOfOlderSession);
            }
            return Err(ErrorCode::NodeExists);
        }
        match EphemeralOwner::from_wire(parent.stat.ephemeral_owner, true) {
            EphemeralOwner::Session(_) => return Err(ErrorCode::NoChildrenForEphemerals),
            EphemeralOwner::Nobody | EphemeralOwner::Container | EphemeralOwner::Ttl { .. } => {}
        }
        self.check_quota(&path, 1, len(data))?;
        let zxid = self.zxid();
        let parent_cversion = parent.stat.cversion.next();
        parent.children += 1;
        parent.stat.cversion = parent_cversion;
        parent.stat.pzxid = zxid;
        self.changes.update(zxid, parent_path, parent, self.db);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: self.header.time_ms,
            mtime: self.header.time_ms,
            ephemeral_owner: owner.to_wire(),
            ..StatPersisted::default()
        };
        self.changes.create(zxid, &path, (stat, data.clone(), acl.as_slice().into()), self.db);
        Ok(Created { path, acl, parent_cversion })
    }

    /// Whether a hard quota allows more znodes or more bytes (§5.9). What is used is what is applied.
    fn check_quota(&self, path: &str, count: i64, bytes: i64) -> Result<(), ErrorCode> {
        if !self.config.enforce_quota {
            return Ok(());
        }
        match self.db.tree().exceeds_quota(path, count, bytes) {
            Ok(false) => Ok(()),
            Ok(true) => Err(ErrorCode::QuotaExceeded),
            // The real server trips over such limits.
            Err(NoStatsTrack) => Err(ErrorCode::MarshallingError),
        }
    }

    /// §5.4.
    fn delete(&mut self, request: &DeleteRequest) -> Result<DeleteTxn, ErrorCode> {
        self.check_session()?;
        let path = request.path.as_str();
        let parent_path = parent_for_delete(path)?;
        let parent = (*self.changes.node(parent_path, self.db)?).clone();
        self.check_acl(&parent.acl, perms::DELETE)?;
        let node = self.changes.node(path, self.db)?;
        if !request.version.admits(node.stat.version) {
            return Err(ErrorCode::BadVersion);
        }
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        Ok(self.delete_node(path, parent_path, parent))
    }

    /// §5.4: of whoever reaps containers. No session asks, and no list is looked at; a client's is refused as malformed.
    fn delete_container(&mut self, request: &DeleteContainerRequest) -> Result<DeleteTxn, ErrorCode> {
        if !self.header.session.is_zero() {
            return Err(ErrorCode::BadArguments);
        }
        let path = request.path.as_str();
        let parent_path = parent_for_delete(path)?;
        let parent = (*self.changes.node(parent_path, self.db)?).clone();
        let node = self.changes.node(path, self.db)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        if let EphemeralOwner::Session(_) = EphemeralOwner::from_wire(node.stat.ephemeral_owner, true) {
            return Err(ErrorCode::BadVersion);
        }
        Ok(self.delete_node(path, parent_path, parent))
    }

    fn delete_node(&mut self, path: &str, parent_path: &str, mut parent: FutureNode) -> DeleteTxn {
        let zxid = self.zxid();
        parent.children = parent.children.checked_sub(1).expect("the parent of a node has a child");
        parent.stat.pzxid = zxid;
        self.changes.update(zxid, parent_path, parent, self.db);
        self.changes.delete(zxid, path, self.db);
        DeleteTxn { path: path.to_owned() }
    }

    /// §5.5.
    fn set_data(&mut self, request: &SetDataRequest) -> Result<SetDataTxn, ErrorCode> {
        self.check_session()?;
        validate(&request.path).map_err(|_| ErrorCode::BadArguments)?;
        let mut node = (*self.changes.node(&request.path, self.db)?).clone();
        self.check_acl(&node.acl, perms::WRITE)?;
        self.check_quota(&request.path, 0, len(&request.data) - len(&node.data))?;
        let is_retry = self.config.defects.has(Defect::ForgivesRetries) && request.version.next() == node.stat.version;
        if !request.version.admits(node.stat.version) && !is_retry {
            return Err(ErrorCode::BadVersion);
        }
        let version = node.stat.version.next();
        node.stat.version = version;
        node.stat.mtime = self.header.time_ms;
        node.stat.mzxid = self.zxid();
        node.data = request.data.clone();
        self.changes.update(self.zxid(), &request.path, node, self.db);
        Ok(SetDataTxn { path: request.path.clone(), data: request.data.clone(), version })
    }

    /// §15, in its order.
    fn reconfig(&mut self, request: &ReconfigRequest) -> Result<SetDataTxn, ErrorCode> {
        if !self.config.reconfig_enabled {
            return Err(ErrorCode::ReconfigDisabled);
        }
        self.check_session()?;
        if !self.leads {
            return Err(ErrorCode::Unimplemented);
        }
        let (current, last_seen) = (self.quorums.current(), self.quorums.newest());
        if last_seen.version() != current.version() {
            return Err(ErrorCode::ReconfigInProgress);
        }
        if request.config_id != -1 && request.config_id != last_seen.version().to_wire() {
            return Err(ErrorCode::BadVersion);
        }
        let new = reconfig::next_config(request, last_seen, self.config)?.with_version(self.zxid());
        let least = if self.config.standalone_enabled { 2 } else { 1 };
        if new.voters().len() < least {
            return Err(ErrorCode::BadArguments);
        }
        if !new.contains_quorum(self.synced.iter().copied()) {
            return Err(ErrorCode::NewConfigNoQuorum);
        }
        let mut node = (*self.changes.node(CONFIG, self.db)?).clone();
        self.check_acl(&node.acl, perms::WRITE)?;
        let (data, version) = (Buffer::new(new.text(self.config)), Version::new(-1));
        node.stat.version = version;
        node.stat.mtime = self.header.time_ms;
        node.stat.mzxid = self.zxid();
        node.data = data.clone();
        self.changes.update(self.zxid(), CONFIG, node, self.db);
        Ok(SetDataTxn { path: CONFIG.to_owned(), data, version })
    }

    /// §5.5: neither data nor times change.
    fn set_acl(&mut self, request: &SetAclRequest) -> Result<SetAclTxn, ErrorCode> {
        self.check_session()?;
        validate(&request.path).map_err(|_| ErrorCode::BadArguments)?;
        let acl = acl::fix(request.acl.as_deref(), self.ids, self.config.release)?;
        let mut node = (*self.changes.node(&request.path, self.db)?).clone();
        self.check_acl(&node.acl, perms::ADMIN)?;
        if !request.version.admits(node.stat.aversion) {
            return Err(ErrorCode::BadVersion);
        }
        let version = node.stat.aversion.next();
        node.stat.aversion = version;
        node.acl = acl.as_slice().into();
        self.changes.update(self.zxid(), &request.path, node, self.db);
        Ok(SetAclTxn { path: request.path.clone(), acl, version })
    }

    /// §5.5: the version it names is the one after.
    fn check(&mut self, request: &CheckVersionRequest) -> Result<CheckVersionTxn, ErrorCode> {
        self.check_session()?;
        validate(&request.path).map_err(|_| ErrorCode::BadArguments)?;
        let node = self.changes.node(&request.path, self.db)?;
        self.check_acl(&node.acl, perms::READ)?;
        if !request.version.admits(node.stat.version) {
            return Err(ErrorCode::BadVersion);
        }
        Ok(CheckVersionTxn { path: request.path.clone(), version: Version::next(node.stat.version) })
    }

    /// §5.6: later operations see what earlier ones did; if one fails, nothing happened. Returns why.
    pub(super) fn multi(&mut self, request: &MultiRequest) -> (Txn, Option<ErrorCode>) {
        let is_torn = self.config.defects.has(Defect::TornMulti);
        let before = self.changes.savepoint();
        let mut failure = None;
        let mut txns = Vec::with_capacity(request.ops.len());
        for op in &request.ops {
            if failure.is_some() {
                txns.push(Txn::Error(ErrorTxn { err: ErrorCode::RuntimeInconsistency }));
                continue;
            }
            let prepared = match op {
                MultiOp::Create(create) => self.create(create).map(Txn::Create),
                MultiOp::Create2(create) if self.config.release == Release::V3_8_0 => {
                    self.create(create).map(Txn::Create)
                }
                MultiOp::Create2(create) => self.create(create).map(Txn::Create2),
                MultiOp::Delete(delete) => self.delete(delete).map(Txn::Delete),
                MultiOp::SetData(set) => self.set_data(set).map(Txn::SetData),
                MultiOp::Check(check) => self.check(check).map(Txn::Check),
                MultiOp::CreateContainer(create) => self.create_container(create).map(Txn::CreateContainer),
                MultiOp::CreateTtl(create) => self.create_ttl(create).map(Txn::CreateTtl),
            };
            txns.push(prepared.unwrap_or_else(|err| {
                failure = Some(err);
                if let (MultiOp::Check(_), ErrorCode::BadVersion) = (op, err) {
                    self.marks.push(CoordinatorMark::MultiFailedOnCheck);
                }
                Txn::Error(ErrorTxn { err })
            }));
        }
        if is_torn && failure.is_some() {
            // What succeeded is applied: in the place of what did not there are checks, which do nothing.
            let parts = txns.into_iter().zip(&request.ops).map(|(txn, op)| {
                if matches!(txn, Txn::Error(_)) {
                    Txn::Check(CheckVersionTxn { path: op.path().to_owned(), version: Version::ANY })
                } else {
                    txn
                }
            });
            return (Txn::Multi(parts.collect()), None);
        }
        if failure.is_some() {
            self.changes.roll_back(before);
        }
        (Txn::Multi(txns), failure)
    }

    /// §5.7. Nobody asks whether the session is there, or whose it is: the tracker closes sessions it does not own.
    pub(super) fn close_session(&mut self) -> Txn {
        let session = self.header.session;
        let zxid = self.zxid();
        let paths = self.changes.ephemerals(session, self.db);
        for path in &paths {
            if self.config.digest_enabled {
                let parent_path = parent_of(path).expect("an ephemeral has a parent");
                let mut parent =
                    (*self.changes.node(parent_path, self.db).expect("the parent of a node that exists")).clone();
                // The number of children stays as it is, as in the real server: a delete of the parent prepared before this txn
                // is applied is refused as NotEmpty.
                parent.stat.pzxid = zxid;
                self.changes.update(zxid, parent_path, parent, self.db);
            }
            self.changes.delete(zxid, path, self.db);
        }
        self.tracker.set_closing(session);
        let lists = self.config.close_session_txn_enabled && !self.config.defects.has(Defect::CloseTxnWithoutPaths);
        Txn::CloseSession(lists.then_some(CloseSessionTxn { paths }))
    }
}

/// What a create made.
struct Created {
    path: String,
    acl: Vec<Acl>,
    parent_cversion: Version,
}

fn len(data: &Buffer) -> i64 {
    i64::try_from(data.len()).expect("data is in memory")
}

/// The parent's path; refuses the system's own znodes.
fn parent_for_delete(path: &str) -> Result<&str, ErrorCode> {
    if path.contains('\0') || [jute::path::ROOT, ZOOKEEPER, QUOTA, CONFIG].contains(&path) {
        return Err(ErrorCode::BadArguments);
    }
    parent_of(path).ok_or(ErrorCode::BadArguments)
}

/// The parent's path, as `lastIndexOf('/')` finds it; `/` for the root itself, which then exists.
fn parent_for_create(path: &str) -> Result<&str, ErrorCode> {
    if !path.contains('/') || path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    Ok(parent_of(path).unwrap_or(jute::path::ROOT))
}
