//! What each transaction does to the tree (zookeeper.md §5.3–5.7).

use std::collections::BTreeSet;
use std::sync::Arc;

use jute::data::{Acl, EphemeralOwner, Stat, StatPersisted};
use jute::op::ErrorCode;
use jute::txn::{CloseSessionTxn, CreateTxn, DeleteTxn, SetAclTxn, SetDataTxn, Txn, TxnHeader};
use jute::{Buffer, SessionId, Version, Zxid};

use super::node::Node;
use super::{Change, DataTree, TreeEvent, key, name_of, parent_of, shown};
use crate::defect::Defect;

/// What came of a transaction, or of one part of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// A znode was created.
    Created {
        /// Its path.
        path: String,
        /// What a client sees of it.
        stat: Stat,
    },
    /// A znode was deleted.
    Deleted,
    /// Data was set.
    DataSet {
        /// What a client sees of the znode.
        stat: Stat,
    },
    /// An access control list was set.
    AclSet {
        /// What a client sees of the znode.
        stat: Stat,
    },
    /// A version was as a multi expected it.
    Checked,
    /// A session began.
    SessionCreated {
        /// Its timeout.
        timeout_ms: i32,
    },
    /// A session ended.
    SessionClosed,
    /// Nothing was changed. `Ok` in a failed multi: the part before the one that failed.
    Failed(ErrorCode),
    /// The parts of a multi.
    Multi(Vec<OpResult>),
}

impl OpResult {
    /// Returns the error code; of a multi, that of its first part which has one.
    #[must_use]
    pub fn err(&self) -> ErrorCode {
        match self {
            Self::Created { .. }
            | Self::Deleted
            | Self::DataSet { .. }
            | Self::AclSet { .. }
            | Self::Checked
            | Self::SessionCreated { .. }
            | Self::SessionClosed => ErrorCode::Ok,
            Self::Failed(err) => *err,
            Self::Multi(parts) => {
                parts.iter().map(Self::err).find(|&err| err != ErrorCode::Ok).unwrap_or(ErrorCode::Ok)
            }
        }
    }
}

/// What a create makes, whatever its transaction type.
struct NewNode<'a> {
    path: &'a str,
    data: &'a Buffer,
    acl: &'a [Acl],
    owner: EphemeralOwner,
    parent_cversion: Option<Version>,
}

impl DataTree {
    /// Applies a transaction; events are appended in the order in which watches fire.
    ///
    /// Total: on replay over a fuzzy snapshot a znode may be there already, be gone already or be newer.
    pub fn apply(&mut self, header: &TxnHeader, txn: &Txn, events: &mut Vec<TreeEvent>) -> OpResult {
        match txn {
            Txn::Create(create) | Txn::Create2(create) => self.apply_create(header, create, events),
            Txn::CreateContainer(create) => {
                let new = NewNode {
                    path: &create.path,
                    data: &create.data,
                    acl: &create.acl,
                    owner: EphemeralOwner::Container,
                    parent_cversion: create.parent_cversion,
                };
                self.create_node(header, &new, events)
            }
            Txn::CreateTtl(create) => {
                let new = NewNode {
                    path: &create.path,
                    data: &create.data,
                    acl: &create.acl,
                    owner: EphemeralOwner::Ttl { ttl_ms: create.ttl_ms.clamp(1, EphemeralOwner::TTL_MS_MAX) },
                    parent_cversion: create.parent_cversion,
                };
                self.create_node(header, &new, events)
            }
            Txn::Delete(DeleteTxn { path }) | Txn::DeleteContainer(DeleteTxn { path }) => {
                self.delete_node(path, header.zxid, events)
            }
            Txn::SetData(set) | Txn::Reconfig(set) => self.set_data(header, set, events),
            Txn::SetAcl(set) => self.set_acl(set),
            Txn::CreateSession(create) => OpResult::SessionCreated { timeout_ms: create.timeout_ms },
            Txn::CloseSession(close) => {
                self.close_session(header.session, header.zxid, close.as_ref(), events);
                OpResult::SessionClosed
            }
            Txn::Error(error) => OpResult::Failed(error.err),
            Txn::Multi(parts) => self.apply_multi(header, parts, events),
            Txn::Check(_) => OpResult::Checked,
        }
    }

    /// Deletes what a session owns, as its closeSession would: at boot, for sessions the table does not know (§7.9).
    pub fn kill_session(&mut self, session: SessionId, zxid: Zxid, events: &mut Vec<TreeEvent>) {
        self.close_session(session, zxid, None, events);
    }

    /// Puts the ensemble's configuration into `/zookeeper/config`, in memory only (§3.5).
    pub fn set_config(&mut self, text: Buffer, version: Zxid, wall_ms: i64) {
        let changed = self.change(super::CONFIG, |node| {
            node.set_data(text);
            let stat = node.stat_mut();
            stat.mtime = wall_ms;
            stat.mzxid = version;
            stat.version = Version::new(-1);
        });
        assert!(changed.is_some(), "every tree has {}", super::CONFIG);
    }

    fn apply_create(&mut self, header: &TxnHeader, create: &CreateTxn, events: &mut Vec<TreeEvent>) -> OpResult {
        let owner = if create.ephemeral { EphemeralOwner::Session(header.session) } else { EphemeralOwner::Nobody };
        let new = NewNode {
            path: &create.path,
            data: &create.data,
            acl: &create.acl,
            owner,
            parent_cversion: create.parent_cversion,
        };
        self.create_node(header, &new, events)
    }

    /// §5.3. A znode that is there already is repaired: its ACL, and its parent's cversion and pzxid, are as if it had been
    /// created now; data, stat and owner are those of a later transaction which replay will reach.
    ///
    /// The real server repairs the parent for the type `create` only. It makes no difference: whoever finds the znode in a
    /// snapshot finds a parent there that was written after this create.
    fn create_node(&mut self, header: &TxnHeader, new: &NewNode<'_>, events: &mut Vec<TreeEvent>) -> OpResult {
        let path = new.path;
        let Some(parent_path) = parent_of(path).filter(|parent| self.nodes.contains_key(*parent)) else {
            return OpResult::Failed(ErrorCode::NoNode);
        };
        let acl = self.acls.acquire(new.acl);
        let exists = self.nodes.contains_key(path);
        if exists {
            let previous = self.change(path, |node| {
                let previous = node.acl();
                node.set_acl(acl);
                previous
            });
            self.acls.release(previous.expect("the znode was there"));
        } else {
            let stat = StatPersisted {
                czxid: header.zxid,
                mzxid: header.zxid,
                pzxid: header.zxid,
                ctime: header.time_ms,
                mtime: header.time_ms,
                ephemeral_owner: new.owner.to_wire(),
                ..StatPersisted::default()
            };
            self.link(path.into(), Node::new(new.data.clone(), acl, stat));
        }
        let given = new.parent_cversion.filter(|_| !self.defects.has(Defect::CversionComputedInApply));
        self.change(parent_path, |parent| {
            let stat = parent.stat_mut();
            let cversion = given.unwrap_or_else(|| stat.cversion.next());
            // Never backwards: the parent may be from later than this transaction (ZOOKEEPER-3249).
            if cversion > stat.cversion {
                stat.cversion = cversion;
                stat.pzxid = header.zxid;
            }
        });
        if exists {
            return OpResult::Failed(ErrorCode::NodeExists);
        }
        let stat = self.client_stat(path).expect("the znode was just created");
        self.count_created(path, new.data);
        events.push(TreeEvent { change: Change::Created, path: path.into(), acl: Arc::clone(self.acls.list(acl)) });
        self.push_children_changed(parent_path, events);
        OpResult::Created { path: path.to_owned(), stat }
    }

    /// §5.4. The parent's pzxid moves even if the znode is gone already (ZOOKEEPER-3145).
    ///
    /// Only on replay can it have children: the snapshot caught a later life of it, and replay will make them again. They go
    /// with it here. The real server leaves them without a parent, and they stay missing from the list of children.
    fn delete_node(&mut self, path: &str, zxid: Zxid, events: &mut Vec<TreeEvent>) -> OpResult {
        let Some(parent_path) = parent_of(path) else { return OpResult::Failed(ErrorCode::NoNode) };
        if self.defects.has(Defect::CloseTxnWithoutPaths) && !self.nodes.contains_key(path) {
            return OpResult::Failed(ErrorCode::NoNode); // Before ZOOKEEPER-3145 the parent was not looked at.
        }
        let parent = self.change(parent_path, |parent| {
            parent.children.remove(name_of(path));
            let stat = parent.stat_mut();
            stat.pzxid = stat.pzxid.max(zxid);
        });
        // Its list may be forgotten with it.
        let acl = self.acl(path).cloned();
        let node = if parent.is_some() { self.unlink(path).zip(acl) } else { None };
        let Some((node, acl)) = node else { return OpResult::Failed(ErrorCode::NoNode) };
        if node.child_count() > 0 {
            self.unlink_descendants(path);
        }
        self.count_deleted(path, node.data());
        events.push(TreeEvent { change: Change::Deleted, path: path.into(), acl });
        self.push_children_changed(parent_path, events);
        OpResult::Deleted
    }

    fn push_children_changed(&self, parent: &str, events: &mut Vec<TreeEvent>) {
        let acl = self.acl(parent).expect("the parent is there");
        events.push(TreeEvent { change: Change::ChildrenChanged, path: shown(parent), acl: Arc::clone(acl) });
    }

    fn unlink_descendants(&mut self, path: &str) {
        let below: Vec<_> = self.below(path).map(|(path, _)| Arc::clone(path)).collect();
        for path in below {
            self.unlink(&path);
        }
    }

    fn set_data(&mut self, header: &TxnHeader, set: &SetDataTxn, events: &mut Vec<TreeEvent>) -> OpResult {
        let before = self.len_for_quota(&set.path);
        let changed = self.change(&set.path, |node| {
            node.set_data(set.data.clone());
            let stat = node.stat_mut();
            stat.mtime = header.time_ms;
            stat.mzxid = header.zxid;
            stat.version = set.version;
            (node.client_stat(), node.acl())
        });
        let Some((stat, acl)) = changed else { return OpResult::Failed(ErrorCode::NoNode) };
        self.count_set(&set.path, before, &set.data);
        let acl = Arc::clone(self.acls.list(acl));
        events.push(TreeEvent { change: Change::DataChanged, path: shown(key(&set.path)), acl });
        OpResult::DataSet { stat }
    }

    fn set_acl(&mut self, set: &SetAclTxn) -> OpResult {
        let Some(node) = self.node(&set.path) else { return OpResult::Failed(ErrorCode::NoNode) };
        let previous = node.acl();
        let acl = self.acls.acquire(&set.acl);
        let stat = self.change(&set.path, |node| {
            node.set_acl(acl);
            node.stat_mut().aversion = set.version;
            node.client_stat()
        });
        self.acls.release(previous);
        OpResult::AclSet { stat: stat.expect("the znode was there") }
    }

    /// §5.7: first what the transaction lists, in its order, then what else the session still owns here.
    fn close_session(
        &mut self,
        session: SessionId,
        zxid: Zxid,
        close: Option<&CloseSessionTxn>,
        events: &mut Vec<TreeEvent>,
    ) {
        let mut owned: BTreeSet<Arc<str>> = self.ephemerals.get(&session).cloned().unwrap_or_default();
        let left = if self.defects.has(Defect::CloseLeavesEphemeral) { owned.pop_last() } else { None };
        let listed = close.map_or(&[][..], |close| &close.paths);
        for path in listed.iter().filter(|path| left.as_deref() != Some(path.as_str())) {
            self.delete_node(path, zxid, events);
        }
        let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
        for path in owned.iter().filter(|path| !listed.contains(path.as_ref())) {
            self.delete_node(path, zxid, events);
        }
        if self.ephemerals.get(&session).is_some_and(BTreeSet::is_empty) {
            self.ephemerals.remove(&session);
        }
        assert!(left.is_some() || !self.ephemerals.contains_key(&session), "an ephemeral outlived session {session}");
    }

    /// All parts, or none: one error among them makes the others errors of code `Ok` (§5.6, §11.6).
    fn apply_multi(&mut self, header: &TxnHeader, parts: &[Txn], events: &mut Vec<TreeEvent>) -> OpResult {
        let failed = parts.iter().any(|part| matches!(part, Txn::Error(_)));
        let apply = |part: &Txn| {
            if failed && !matches!(part, Txn::Error(_)) {
                OpResult::Failed(ErrorCode::Ok)
            } else {
                self.apply(header, part, events)
            }
        };
        OpResult::Multi(parts.iter().map(apply).collect())
    }
}

#[cfg(test)]
mod tests {
    use jute::txn::{CheckVersionTxn, ErrorTxn};
    use jute::{PeerEpoch, Xid};

    use super::*;
    use crate::tree::Change::{ChildrenChanged, Created, DataChanged, Deleted};

    const SESSION: SessionId = SessionId::new(0x0100_0000_0000_0001);

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(PeerEpoch::new(1), counter)
    }

    fn create(path: &str, parent_cversion: i32) -> Txn {
        Txn::Create(CreateTxn {
            path: path.to_owned(),
            data: Buffer::NULL,
            acl: Acl::open(),
            ephemeral: path.contains("eph"),
            parent_cversion: Some(Version::new(parent_cversion)),
        })
    }

    fn delete(path: &str) -> Txn {
        Txn::Delete(DeleteTxn { path: path.to_owned() })
    }

    fn set(path: &str, version: i32) -> Txn {
        Txn::SetData(SetDataTxn { path: path.to_owned(), data: Buffer::NULL, version: Version::new(version) })
    }

    fn close(paths: &[&str]) -> Txn {
        Txn::CloseSession(Some(CloseSessionTxn { paths: paths.iter().map(|path| (*path).to_owned()).collect() }))
    }

    struct Applier {
        tree: DataTree,
        counter: u32,
    }

    impl Applier {
        fn of(txns: &[Txn]) -> Self {
            let mut applier = Self { tree: DataTree::new(), counter: 0 };
            for txn in txns {
                applier.apply(txn);
            }
            applier
        }

        fn apply(&mut self, txn: &Txn) -> (ErrorCode, Vec<(Change, String)>) {
            self.counter += 1;
            let header = TxnHeader { session: SESSION, cxid: Xid::new(1), zxid: zxid(self.counter), time_ms: 5 };
            let mut events = Vec::new();
            let result = self.tree.apply(&header, txn, &mut events);
            self.tree.check_invariants();
            (result.err(), events.into_iter().map(|event| (event.change, event.path.to_string())).collect())
        }

        #[track_caller]
        fn check(&mut self, txn: &Txn, err: ErrorCode, events: &[(Change, &str)]) {
            let (actual_err, actual) = self.apply(txn);
            assert_eq!(actual_err, err);
            assert_eq!(actual.iter().map(|(change, path)| (*change, path.as_str())).collect::<Vec<_>>(), events);
        }

        fn stat(&self, path: &str) -> Stat {
            self.tree.client_stat(path).unwrap()
        }
    }

    #[test]
    fn visible_cversion_counts_creates_and_deletes() {
        let mut tree = Applier::of(&[create("/a", 1), create("/a/b", 1), create("/a/s1", 2), create("/a/s2", 3)]);
        assert_eq!(tree.stat("/a").cversion, Version::new(3));
        tree.check(&delete("/a/s1"), ErrorCode::Ok, &[(Deleted, "/a/s1"), (ChildrenChanged, "/a")]);
        let stat = tree.stat("/a");
        assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (Version::new(4), 2, zxid(5)));
        assert_eq!((stat.czxid, stat.mzxid, stat.version), (zxid(1), zxid(1), Version::ZERO));
    }

    #[test]
    fn changes_tell_watches_in_the_order_of_the_reference() {
        let mut tree = Applier::of(&[]);
        tree.check(&create("/a", 1), ErrorCode::Ok, &[(Created, "/a"), (ChildrenChanged, "/")]);
        tree.check(&set("/a", 1), ErrorCode::Ok, &[(DataChanged, "/a")]);
        tree.check(&set("/", 1), ErrorCode::Ok, &[(DataChanged, "/")]);
        tree.check(&create("/a", 2), ErrorCode::NodeExists, &[]);
        tree.check(&create("/b/c", 2), ErrorCode::NoNode, &[]);
        tree.check(&set("/b", 1), ErrorCode::NoNode, &[]);
        tree.check(&delete("/b"), ErrorCode::NoNode, &[]);
        tree.check(&delete("/a"), ErrorCode::Ok, &[(Deleted, "/a"), (ChildrenChanged, "/")]);
    }

    #[test]
    fn closing_a_session_deletes_what_is_listed_in_order_then_what_is_left() {
        let mut tree = Applier::of(&[create("/eph3", 1), create("/eph1", 2), create("/eph2", 3), create("/a", 4)]);
        assert_eq!(tree.tree.ephemerals(SESSION).collect::<Vec<_>>(), ["/eph1", "/eph2", "/eph3"]);
        let gone = [(Deleted, "/eph2"), (ChildrenChanged, "/"), (Deleted, "/eph1"), (ChildrenChanged, "/")];
        let left = [(Deleted, "/eph3"), (ChildrenChanged, "/")];
        tree.check(&close(&["/eph2", "/eph9", "/eph1"]), ErrorCode::Ok, &[&gone[..], &left].concat());
        assert_eq!(tree.tree.ephemeral_owners().count(), 0);
        assert_eq!(tree.stat("/").num_children, 2);
    }

    #[test]
    fn failed_multi_changes_nothing() {
        let mut tree = Applier::of(&[]);
        let error = |err| Txn::Error(ErrorTxn { err });
        let parts = [create("/a", 1), error(ErrorCode::NoNode), error(ErrorCode::RuntimeInconsistency)];
        let header = TxnHeader { session: SESSION, cxid: Xid::new(1), zxid: zxid(1), time_ms: 5 };
        let result = tree.tree.apply(&header, &Txn::Multi(parts.to_vec()), &mut Vec::new());
        let codes = [ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency];
        assert_eq!(result, OpResult::Multi(codes.map(OpResult::Failed).to_vec()));
        assert_eq!((result.err(), tree.tree.len()), (ErrorCode::NoNode, 4));
        let check = Txn::Check(CheckVersionTxn { path: "/".to_owned(), version: Version::new(1) });
        let events = [(Created, "/a"), (ChildrenChanged, "/"), (DataChanged, "/a"), (DataChanged, "/a")];
        tree.check(&Txn::Multi(vec![check, create("/a", 1), set("/a", 1), set("/a", 2)]), ErrorCode::Ok, &events);
    }

    #[test]
    fn deleting_what_is_gone_still_moves_the_parents_pzxid() {
        let mut tree = Applier::of(&[create("/a", 1)]);
        tree.check(&delete("/a/b"), ErrorCode::NoNode, &[]);
        assert_eq!(tree.stat("/a").pzxid, zxid(2));
        tree.counter = 0;
        tree.check(&delete("/a/b"), ErrorCode::NoNode, &[]);
        assert_eq!(tree.stat("/a").pzxid, zxid(2), "never backwards");
    }

    #[test]
    fn replayed_create_repairs_the_acl_and_never_lowers_the_parent() {
        let mut tree = Applier::of(&[create("/a", 1), create("/a/b", 1), delete("/a/b"), create("/a/b", 2)]);
        let before = (tree.stat("/a"), tree.stat("/a/b"));
        let acl = SetAclTxn { path: "/a/b".to_owned(), acl: Acl::read_only(), version: Version::ZERO };
        tree.check(&Txn::SetAcl(acl), ErrorCode::Ok, &[]);
        tree.counter = 1;
        tree.check(&create("/a/b", 1), ErrorCode::NodeExists, &[]);
        assert_eq!((tree.stat("/a"), tree.stat("/a/b")), before);
        assert_eq!(tree.tree.acl("/a/b").unwrap()[..], Acl::open());
    }

    /// 1. The snapshot is past `/`, which lists `/p`.
    /// 2. `/p` is deleted, made again, gets a child.
    /// 3. The snapshot comes to `/p` and writes both.
    /// 4. Replay begins with the deletion.
    #[test]
    fn replayed_deletion_of_a_later_life_takes_its_children_along() {
        let later = [create("/p", 1), delete("/p"), create("/p", 2), create("/p/c", 1), create("/p/c/eph", 1)];
        let mut tree = Applier::of(&later);
        let digest = tree.tree.digest();
        tree.counter = 1;
        tree.check(&later[1], ErrorCode::Ok, &[(Deleted, "/p"), (ChildrenChanged, "/")]);
        assert_eq!(tree.tree.len(), 4);
        for txn in &later[2..] {
            tree.apply(txn);
        }
        assert_eq!(tree.tree.digest(), digest);
        assert!(tree.tree.node("/p").unwrap().has_child("c"));
    }

    #[test]
    fn pre_3_4_creates_count_the_parents_cversion_themselves() {
        let mut tree = Applier::of(&[create("/a", 1)]);
        let old = CreateTxn {
            path: "/b".to_owned(),
            data: Buffer::NULL,
            acl: Acl::open(),
            ephemeral: false,
            parent_cversion: None,
        };
        tree.check(&Txn::Create2(old), ErrorCode::Ok, &[(Created, "/b"), (ChildrenChanged, "/")]);
        assert_eq!(tree.tree.node("/").unwrap().stat().cversion, Version::new(2));
    }
}
