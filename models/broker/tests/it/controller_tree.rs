//! A ZooKeeper that fits into a test: one tree, sessions as numbers, one-shot watches left to whoever asks.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for what it waits for, and at nothing else"
)]

use std::collections::BTreeMap;

use broker::zookeeper::{ZkError, ZkRequest, ZkResult};
use bytes::Bytes;
use jute::client::{
    CreateResponse, ExistsResponse, GetChildren2Response, GetDataResponse, MultiOp, MultiResponse, OpResult, Response,
    SetDataResponse,
};
use jute::data::Stat;
use jute::op::{CreateMode, ErrorCode, EventType};
use jute::{Buffer, SessionId, Version, Zxid};

#[derive(Clone, Debug)]
struct Znode {
    data: Bytes,
    czxid: i64,
    version: i32,
    owner: SessionId,
    children: i32,
}

/// What a watch would see.
pub(crate) type Change = (EventType, String);

#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Znode>,
    zxid: i64,
}

impl Tree {
    /// Makes a znode with its parents.
    pub(crate) fn make(&mut self, path: &str, data: impl Into<Bytes>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (at, _) in path.match_indices('/').skip(1) {
            if !self.nodes.contains_key(&path[..at]) {
                self.create(&path[..at], Bytes::new(), SessionId::ZERO, &mut changes).unwrap();
            }
        }
        self.create(path, data.into(), SessionId::ZERO, &mut changes).unwrap();
        changes
    }

    /// Makes an ephemeral; its czxid is returned as well.
    pub(crate) fn make_ephemeral(
        &mut self,
        path: &str,
        data: impl Into<Bytes>,
        owner: SessionId,
    ) -> (i64, Vec<Change>) {
        let mut changes = Vec::new();
        self.create(path, data.into(), owner, &mut changes).unwrap();
        (self.nodes[path].czxid, changes)
    }

    pub(crate) fn put(&mut self, path: &str, data: impl Into<Bytes>) -> Vec<Change> {
        let mut changes = Vec::new();
        self.set(path, data.into(), -1, &mut changes).unwrap();
        changes
    }

    pub(crate) fn remove(&mut self, path: &str) -> Vec<Change> {
        let mut changes = Vec::new();
        self.delete(path, -1, &mut changes).unwrap();
        changes
    }

    pub(crate) fn expire(&mut self, session: SessionId) -> Vec<Change> {
        let own = |(path, node): (&String, &Znode)| (node.owner == session).then(|| path.clone());
        let paths: Vec<String> = self.nodes.iter().filter_map(own).collect();
        paths.iter().flat_map(|path| self.remove(path)).collect()
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        self.nodes.get(path).map(|node| String::from_utf8(node.data.to_vec()).unwrap())
    }

    pub(crate) fn version(&self, path: &str) -> i32 {
        self.nodes[path].version
    }

    fn stat(&self, node: &Znode) -> Stat {
        Stat {
            czxid: Zxid::from_wire(node.czxid).unwrap(),
            version: Version::new(node.version),
            ephemeral_owner: node.owner,
            num_children: node.children,
            ..Stat::default()
        }
    }

    /// Does what is asked for a session.
    pub(crate) fn apply(&mut self, request: &ZkRequest, session: SessionId, changes: &mut Vec<Change>) -> ZkResult {
        let result = match request {
            ZkRequest::Create { path, data, mode } => {
                let path = match mode {
                    CreateMode::PersistentSequential => format!("{path}{:010}", self.zxid),
                    _ => path.clone(),
                };
                let owner = if mode.is_ephemeral() { session } else { SessionId::ZERO };
                self.create(&path, data.clone(), owner, changes)
                    .map(|()| Some(Response::Create(CreateResponse { path })))
            }
            ZkRequest::Delete { path, version } => self.delete(path, *version, changes).map(|()| None),
            ZkRequest::Exists { path } => {
                let node = self.nodes.get(path).ok_or(ErrorCode::NoNode);
                node.map(|node| Some(Response::Exists(ExistsResponse { stat: self.stat(node) })))
            }
            ZkRequest::GetData { path } => {
                let node = self.nodes.get(path).ok_or(ErrorCode::NoNode);
                node.map(|node| {
                    let data = Buffer::new(node.data.clone());
                    Some(Response::GetData(GetDataResponse { data, stat: self.stat(node) }))
                })
            }
            ZkRequest::SetData { path, data, version } => self
                .set(path, data.clone(), *version, changes)
                .map(|stat| Some(Response::SetData(SetDataResponse { stat }))),
            ZkRequest::GetChildren { path, watch: _ } => {
                let node = self.nodes.get(path).ok_or(ErrorCode::NoNode);
                node.map(|node| {
                    let stat = self.stat(node);
                    Some(Response::GetChildren2(GetChildren2Response { children: self.children(path), stat }))
                })
            }
            ZkRequest::Multi(ops) => Ok(Some(Response::Multi(self.multi(ops, session, changes)))),
        };
        result.map_err(ZkError::Code)
    }

    pub(crate) fn children(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        let below = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let names = below.map(|(path, _)| &path[prefix.len()..]).filter(|name| !name.contains('/'));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        // Not in order, as a real server's.
        names.reverse();
        names
    }

    fn multi(&mut self, ops: &[MultiOp], session: SessionId, changes: &mut Vec<Change>) -> MultiResponse {
        let at = changes.len();
        let before = self.touched(ops);
        let mut results = Vec::new();
        for op in ops {
            let result = match op {
                MultiOp::Check(check) => match self.nodes.get(&check.path) {
                    None => Err(ErrorCode::NoNode),
                    Some(node) if node.version != check.version.value() => Err(ErrorCode::BadVersion),
                    Some(_) => Ok(OpResult::Check),
                },
                MultiOp::Create(create) => {
                    let ephemeral = create.mode().unwrap().is_ephemeral();
                    let owner = if ephemeral { session } else { SessionId::ZERO };
                    let data = create.data.bytes().cloned().unwrap_or_default();
                    self.create(&create.path, data, owner, changes)
                        .map(|()| OpResult::Create(CreateResponse { path: create.path.clone() }))
                }
                MultiOp::SetData(set) => {
                    let data = set.data.bytes().cloned().unwrap_or_default();
                    self.set(&set.path, data, set.version.value(), changes)
                        .map(|stat| OpResult::SetData(SetDataResponse { stat }))
                }
                MultiOp::Delete(delete) => {
                    self.delete(&delete.path, delete.version.value(), changes).map(|()| OpResult::Delete)
                }
                other => panic!("no broker asks {other:?}"),
            };
            match result {
                Ok(result) => results.push(result),
                Err(code) => {
                    for (path, node) in before {
                        match node {
                            Some(node) => self.nodes.insert(path, node),
                            None => self.nodes.remove(&path),
                        };
                    }
                    changes.truncate(at);
                    let failed = results.len();
                    let of = |op: usize| match op.cmp(&failed) {
                        std::cmp::Ordering::Less => ErrorCode::Ok,
                        std::cmp::Ordering::Equal => code,
                        std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
                    };
                    return MultiResponse { results: (0..ops.len()).map(|op| OpResult::Error(of(op))).collect() };
                }
            }
        }
        MultiResponse { results }
    }

    /// The znodes that these operations could change, as they are.
    fn touched(&self, ops: &[MultiOp]) -> Vec<(String, Option<Znode>)> {
        let paths = ops.iter().flat_map(|op| [Some(op.path()), op.path().rsplit_once('/').map(|(parent, _)| parent)]);
        let paths = paths.flatten().filter(|path| !path.is_empty());
        paths.map(|path| (path.to_owned(), self.nodes.get(path).cloned())).collect()
    }

    fn create(
        &mut self,
        path: &str,
        data: Bytes,
        owner: SessionId,
        changes: &mut Vec<Change>,
    ) -> Result<(), ErrorCode> {
        if self.nodes.contains_key(path) {
            return Err(ErrorCode::NodeExists);
        }
        let (parent, _) = path.rsplit_once('/').unwrap();
        if !parent.is_empty() {
            self.nodes.get_mut(parent).ok_or(ErrorCode::NoNode)?.children += 1;
        }
        self.zxid += 1;
        self.nodes.insert(path.to_owned(), Znode { data, czxid: self.zxid, version: 0, owner, children: 0 });
        changes.push((EventType::NodeCreated, path.to_owned()));
        changes.push((EventType::NodeChildrenChanged, parent.to_owned()));
        Ok(())
    }

    fn set(&mut self, path: &str, data: Bytes, version: i32, changes: &mut Vec<Change>) -> Result<Stat, ErrorCode> {
        let node = self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?;
        if version != -1 && node.version != version {
            return Err(ErrorCode::BadVersion);
        }
        self.zxid += 1;
        node.version += 1;
        node.data = data;
        changes.push((EventType::NodeDataChanged, path.to_owned()));
        let node = self.nodes[path].clone();
        Ok(self.stat(&node))
    }

    fn delete(&mut self, path: &str, version: i32, changes: &mut Vec<Change>) -> Result<(), ErrorCode> {
        let node = self.nodes.get(path).ok_or(ErrorCode::NoNode)?;
        if version != -1 && node.version != version {
            return Err(ErrorCode::BadVersion);
        }
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.nodes.remove(path);
        self.zxid += 1;
        let (parent, _) = path.rsplit_once('/').unwrap();
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.children -= 1;
        }
        changes.push((EventType::NodeDeleted, path.to_owned()));
        changes.push((EventType::NodeChildrenChanged, parent.to_owned()));
        Ok(())
    }
}
