//! A server of one: the tree and its operations as zookeeper.md §5 has them, without persistence or quorum.

use std::collections::{BTreeMap, BTreeSet};

use jute::client::{
    Create2Response, CreateRequest, DeleteRequest, ExistsResponse, GetChildren2Response, GetDataResponse, MultiOp,
    MultiRequest, MultiResponse, OpResult, ReconfigRequest, Request, Response, SetDataRequest, SetDataResponse,
    SyncResponse,
};
use jute::data::Stat;
use jute::op::{ErrorCode, EventType};
use jute::{Buffer, PeerEpoch, SessionId, Version, Zxid};

#[derive(Clone, Debug, Default)]
pub(crate) struct Znode {
    pub(crate) data: Buffer,
    pub(crate) stat: Stat,
    /// Creates of children: the numbers of sequential ones.
    created: i32,
}

/// A change that watches may see.
pub(crate) type Change = (EventType, String);

#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) znodes: BTreeMap<String, Znode>,
    pub(crate) zxid: Zxid,
    /// The configuration: the lines of its servers.
    servers: BTreeMap<u8, String>,
}

const CONFIG: &str = "/zookeeper/config";

type Answer = Result<Option<Response>, ErrorCode>;

pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

impl Tree {
    pub(crate) fn new() -> Self {
        let servers = (1..=5).map(|sid| (sid, format!("host{sid}:2888:3888:participant;0.0.0.0:2181"))).collect();
        let znodes = BTreeMap::from([("/".to_owned(), Znode::default()), (CONFIG.to_owned(), Znode::default())]);
        let mut tree = Self { znodes, zxid: Zxid::new(PeerEpoch::new(1), 0), servers };
        tree.publish_config();
        tree
    }

    /// Does a request; the changes are those that watches may see.
    pub(crate) fn apply(&mut self, session: SessionId, request: &Request, changes: &mut Vec<Change>) -> Answer {
        let writes =
            matches!(request, Request::Create2(_) | Request::Delete(_) | Request::SetData(_) | Request::Multi(_));
        if writes || matches!(request, Request::Reconfig(_)) {
            self.zxid = self.zxid.next();
        }
        match request {
            Request::Create2(request) => {
                let (path, stat) = self.create(session, request, changes)?;
                Ok(Some(Response::Create2(Create2Response { path, stat })))
            }
            Request::Delete(request) => self.delete(request, changes).map(|()| None),
            Request::SetData(request) => {
                let stat = self.set_data(request, changes)?;
                Ok(Some(Response::SetData(SetDataResponse { stat })))
            }
            Request::Multi(request) => Ok(Some(Response::Multi(self.multi(session, request, changes)))),
            Request::Reconfig(request) => {
                self.reconfig(request)?;
                let Znode { data, stat, .. } = self.znodes[CONFIG].clone();
                Ok(Some(Response::Reconfig(GetDataResponse { data, stat })))
            }
            Request::Exists(request) => {
                let stat = self.znode(&request.path)?.stat;
                Ok(Some(Response::Exists(ExistsResponse { stat })))
            }
            Request::GetData(request) => {
                let Znode { data, stat, .. } = self.znode(&request.path)?.clone();
                Ok(Some(Response::GetData(GetDataResponse { data, stat })))
            }
            Request::GetChildren2(request) => {
                let stat = self.znode(&request.path)?.stat;
                Ok(Some(Response::GetChildren2(GetChildren2Response { children: self.children(&request.path), stat })))
            }
            Request::Sync(request) => Ok(Some(Response::Sync(SyncResponse { path: request.path.clone() }))),
            Request::Ping | Request::SetWatches(_) | Request::CloseSession => Ok(None),
            other => panic!("no workload asks for {other:?}"),
        }
    }

    /// Of what its clients ask for, everything is possible (zookeeper.md §15) that leaves two voters.
    fn reconfig(&mut self, request: &ReconfigRequest) -> Result<(), ErrorCode> {
        let version = self.znodes[CONFIG].stat.mzxid.to_wire();
        if request.config_id != -1 && request.config_id != version {
            return Err(ErrorCode::BadVersion);
        }
        let read = |line: &str| {
            let (server, place) = line.strip_prefix("server.").and_then(|line| line.split_once('=')).unwrap();
            (server.parse().unwrap(), place.to_owned())
        };
        let mut servers = self.servers.clone();
        if let Some(lines) = &request.new_members {
            servers = lines.split(',').map(read).collect();
        }
        servers.extend(request.joining.iter().map(|line| read(line)));
        if let Some(sid) = &request.leaving {
            servers.remove(&sid.parse().unwrap());
        }
        // Each operator leaves enough; several that do not know of each other may not.
        if servers.values().filter(|line| line.contains(":participant;")).count() < 2 {
            return Err(ErrorCode::BadArguments);
        }
        self.servers = servers;
        self.publish_config();
        Ok(())
    }

    fn publish_config(&mut self) {
        let lines: String = self.servers.iter().map(|(sid, line)| format!("server.{sid}={line}\n")).collect();
        let text = format!("{lines}version={:x}", self.zxid.value());
        let znode = self.znodes.get_mut(CONFIG).unwrap();
        znode.data = Buffer::new(text.into_bytes());
        znode.stat.mzxid = self.zxid;
    }

    fn znode(&self, path: &str) -> Result<&Znode, ErrorCode> {
        self.znodes.get(path).ok_or(ErrorCode::NoNode)
    }

    pub(crate) fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let names: BTreeSet<_> = self
            .znodes
            .keys()
            .filter_map(|other| other.strip_prefix(&prefix))
            .filter(|rest| !rest.is_empty() && !rest.contains('/'))
            .map(str::to_owned)
            .collect();
        names.into_iter().collect()
    }

    fn create(
        &mut self,
        session: SessionId,
        request: &CreateRequest,
        changes: &mut Vec<Change>,
    ) -> Result<(String, Stat), ErrorCode> {
        let mode = request.mode().expect("a mode");
        let above = parent(&request.path).to_owned();
        let zxid = self.zxid;
        let over = self.znodes.get_mut(&above).ok_or(ErrorCode::NoNode)?;
        let mut path = request.path.clone();
        if mode.is_sequential() {
            path = format!("{path}{:010}", over.created);
        } else if self.znodes.contains_key(&path) {
            return Err(ErrorCode::NodeExists);
        }
        let over = self.znodes.get_mut(&above).expect("checked");
        over.created += 1;
        over.stat.cversion = over.stat.cversion.next();
        over.stat.pzxid = zxid;
        let ephemeral_owner = if mode.is_ephemeral() { session } else { SessionId::ZERO };
        let stat = Stat { czxid: zxid, mzxid: zxid, pzxid: zxid, ephemeral_owner, ..Stat::default() };
        self.znodes.insert(path.clone(), Znode { data: request.data.clone(), stat, created: 0 });
        changes.push((EventType::NodeCreated, path.clone()));
        changes.push((EventType::NodeChildrenChanged, above));
        Ok((path, stat))
    }

    fn delete(&mut self, request: &DeleteRequest, changes: &mut Vec<Change>) -> Result<(), ErrorCode> {
        let znode = self.znode(&request.path)?;
        if !request.version.admits(znode.stat.version) {
            return Err(ErrorCode::BadVersion);
        }
        if !self.children(&request.path).is_empty() {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(&request.path, changes);
        Ok(())
    }

    fn remove(&mut self, path: &str, changes: &mut Vec<Change>) {
        self.znodes.remove(path).expect("it is there");
        let above = parent(path).to_owned();
        let over = self.znodes.get_mut(&above).expect("a parent");
        over.stat.cversion = over.stat.cversion.next();
        over.stat.pzxid = self.zxid;
        changes.push((EventType::NodeDeleted, path.to_owned()));
        changes.push((EventType::NodeChildrenChanged, above));
    }

    fn set_data(&mut self, request: &SetDataRequest, changes: &mut Vec<Change>) -> Result<Stat, ErrorCode> {
        let zxid = self.zxid;
        let znode = self.znodes.get_mut(&request.path).ok_or(ErrorCode::NoNode)?;
        if !request.version.admits(znode.stat.version) {
            return Err(ErrorCode::BadVersion);
        }
        znode.data = request.data.clone();
        znode.stat.version = znode.stat.version.next();
        znode.stat.mzxid = zxid;
        changes.push((EventType::NodeDataChanged, request.path.clone()));
        Ok(znode.stat)
    }

    fn multi(&mut self, session: SessionId, request: &MultiRequest, changes: &mut Vec<Change>) -> MultiResponse {
        let (before, mut seen) = (self.znodes.clone(), Vec::new());
        let mut results = Vec::new();
        for op in &request.ops {
            let result = match op {
                MultiOp::Create2(create) => self
                    .create(session, create, &mut seen)
                    .map(|(path, stat)| OpResult::Create2(Create2Response { path, stat })),
                MultiOp::Delete(delete) => self.delete(delete, &mut seen).map(|()| OpResult::Delete),
                MultiOp::SetData(set) => {
                    self.set_data(set, &mut seen).map(|stat| OpResult::SetData(SetDataResponse { stat }))
                }
                MultiOp::Check(check) => match self.znode(&check.path) {
                    Ok(znode) if check.version.admits(znode.stat.version) => Ok(OpResult::Check),
                    Ok(_) => Err(ErrorCode::BadVersion),
                    Err(code) => Err(code),
                },
                other => panic!("no workload puts {other:?} into a multi"),
            };
            match result {
                Ok(result) => results.push(result),
                Err(code) => {
                    self.znodes = before;
                    let failed = results.len();
                    let fate = |at: usize| match at.cmp(&failed) {
                        std::cmp::Ordering::Less => ErrorCode::Ok,
                        std::cmp::Ordering::Equal => code,
                        std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
                    };
                    return MultiResponse {
                        results: (0..request.ops.len()).map(|at| OpResult::Error(fate(at))).collect(),
                    };
                }
            }
        }
        changes.append(&mut seen);
        MultiResponse { results }
    }

    /// Deletes the ephemerals of a session.
    pub(crate) fn end_session(&mut self, session: SessionId, changes: &mut Vec<Change>) {
        self.zxid = self.zxid.next();
        let gone: Vec<_> = self
            .znodes
            .iter()
            .filter(|(_, znode)| znode.stat.ephemeral_owner == session && !session.is_zero())
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.remove(&path, changes);
        }
    }

    pub(crate) fn version(&self, path: &str) -> Version {
        self.znodes[path].stat.version
    }
}
