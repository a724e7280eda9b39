//! C19 to C24, C43 and the order of C25, on a replay of the committed history in a model of our own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use engine::Findings;
use jute::op::{ErrorCode, EventType, OpCode};
use jute::path::{ROOT, parent_of};
use jute::txn::{Txn, TxnEntry, TxnHeader};
use jute::{SessionId, Version, Xid, Zxid};

use crate::conversation::{Ask, AskedOp};
use crate::moment::Story;
use crate::oracle::Oracle;
use crate::{Moment, Rule};

/// What is held against each transaction that changes the tree.
const OF_TREES: [Rule; 4] = [Rule::Cas, Rule::EphemeralOwnerLive, Rule::TreeStructure, Rule::SequentialUnique];

/// A znode of the model.
#[derive(Clone, Copy, Debug)]
struct Znode {
    version: Version,
    /// The transaction that made this version; zero for what was always there.
    made_by: Zxid,
    /// The session it belongs to, if it is an ephemeral.
    owner: Option<SessionId>,
}

/// When a path changed, for those who watch it.
#[derive(Clone, Debug, Default)]
struct Changes {
    data: Vec<(Zxid, EventType)>,
    children: Vec<Zxid>,
}

/// The model: what the committed history makes.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    sessions: BTreeMap<SessionId, i32>,
    closed: BTreeMap<SessionId, (Zxid, Moment)>,
    opened: BTreeMap<SessionId, Zxid>,
    znodes: BTreeMap<Arc<str>, Znode>,
    ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    /// The last request of each session that took effect.
    last_effect: BTreeMap<SessionId, (Xid, Zxid, Moment)>,
    changes: BTreeMap<Arc<str>, Changes>,
    /// The last number that a child of a znode was given, as long as that is there.
    numbers: BTreeMap<Arc<str>, (i32, Zxid)>,
}

/// A rule that a transaction breaks.
struct Broken {
    rule: Rule,
    kind: &'static str,
    what: String,
    /// The transaction that it does not reckon with.
    made_by: Option<Zxid>,
    before: Option<(Moment, String)>,
}

/// A change that a watch may wait for.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) path: Arc<str>,
    pub(crate) zxid: Zxid,
    pub(crate) event: EventType,
}

impl Replay {
    pub(crate) fn new() -> Self {
        let znodes = [ROOT, "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
        let bare = Znode { version: Version::ZERO, made_by: Zxid::ZERO, owner: None };
        Self {
            sessions: BTreeMap::new(),
            closed: BTreeMap::new(),
            opened: BTreeMap::new(),
            znodes: znodes.into_iter().map(|path| (Arc::from(path), bare)).collect(),
            ephemerals: BTreeMap::new(),
            last_effect: BTreeMap::new(),
            changes: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// The session table: timeouts in ms.
    pub(crate) fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// The sessions that there were behind a transaction of the past.
    pub(crate) fn sessions_at(&self, zxid: Zxid) -> impl Iterator<Item = SessionId> + '_ {
        let is_over = move |session| self.closed.get(&session).is_some_and(|&(end, _)| end <= zxid);
        let opened = self.opened.iter().filter(move |&(_, &began)| began <= zxid).map(|(&session, _)| session);
        opened.filter(move |&session| !is_over(session))
    }

    /// When a session's end was committed.
    pub(crate) fn closed(&self, session: SessionId) -> Option<(Zxid, Moment)> {
        self.closed.get(&session).copied()
    }

    /// How many ephemerals a session has.
    pub(crate) fn ephemerals_of(&self, session: SessionId) -> usize {
        self.ephemerals.get(&session).map_or(0, BTreeSet::len)
    }

    /// Whether there is a znode.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.znodes.contains_key(path)
    }

    /// The first change of a path's data, or of its existence, after a zxid.
    pub(crate) fn first_data_change(&self, path: &str, after: Zxid) -> Option<Zxid> {
        let changes = &self.changes.get(path)?.data;
        let at = changes.partition_point(|&(zxid, _)| zxid <= after);
        changes.get(at).map(|&(zxid, _)| zxid)
    }

    /// The first creation of a path after a zxid.
    pub(crate) fn first_creation(&self, path: &str, after: Zxid) -> Option<Zxid> {
        let changes = &self.changes.get(path)?.data;
        let at = changes.partition_point(|&(zxid, _)| zxid <= after);
        changes[at..].iter().find(|&&(_, event)| event == EventType::NodeCreated).map(|&(zxid, _)| zxid)
    }

    /// The first change of a path's children, or its own end, after a zxid.
    pub(crate) fn first_child_change(&self, path: &str, after: Zxid) -> Option<Zxid> {
        let changes = self.changes.get(path)?;
        let child = changes.children.get(changes.children.partition_point(|&zxid| zxid <= after)).copied();
        let from = changes.data.partition_point(|&(zxid, _)| zxid <= after);
        let end = changes.data[from..].iter().find(|&&(_, event)| event == EventType::NodeDeleted);
        child.into_iter().chain(end.map(|&(zxid, _)| zxid)).min()
    }

    /// Whether a path existed at a zxid of the past.
    pub(crate) fn existed(&self, path: &str, at: Zxid) -> bool {
        let Some(changes) = self.changes.get(path) else { return self.exists(path) };
        let before = changes.data.partition_point(|&(zxid, _)| zxid <= at);
        changes.data[..before]
            .iter()
            .rev()
            .find_map(|&(_, event)| match event {
                EventType::NodeCreated => Some(true),
                EventType::NodeDeleted => Some(false),
                EventType::NodeDataChanged => Some(true),
                EventType::None
                | EventType::NodeChildrenChanged
                | EventType::DataWatchRemoved
                | EventType::ChildWatchRemoved
                | EventType::PersistentWatchRemoved => None,
            })
            // The root and its like were never created.
            .unwrap_or(changes.data.is_empty() && self.exists(path))
    }

    /// The transaction that made a path's znode, and that of its data, as they were at a zxid of the past; none if nothing was there.
    pub(crate) fn made_by(&self, path: &str, at: Zxid) -> Option<(Zxid, Zxid)> {
        let changes = &self.changes.get(path)?.data;
        let before = &changes[..changes.partition_point(|&(zxid, _)| zxid <= at)];
        let created = before.iter().rposition(|&(_, event)| event == EventType::NodeCreated)?;
        let mut since = before[created..].iter();
        if since.any(|&(_, event)| event == EventType::NodeDeleted) {
            return None;
        }
        Some((before[created].0, before.last()?.0))
    }

    fn changed(&mut self, path: &Arc<str>, zxid: Zxid, event: EventType, changes: &mut Vec<Change>) {
        let of_path = self.changes.entry(Arc::clone(path)).or_default();
        if event == EventType::NodeChildrenChanged {
            of_path.children.push(zxid);
        } else {
            of_path.data.push((zxid, event));
        }
        changes.push(Change { path: Arc::clone(path), zxid, event });
    }

    fn create(&mut self, path: &str, owner: Option<SessionId>, zxid: Zxid, changes: &mut Vec<Change>) {
        let path: Arc<str> = Arc::from(path);
        self.znodes.insert(Arc::clone(&path), Znode { version: Version::ZERO, made_by: zxid, owner });
        if let Some(owner) = owner {
            self.ephemerals.entry(owner).or_default().insert(Arc::clone(&path));
        }
        self.changed(&path, zxid, EventType::NodeCreated, changes);
        self.parent_changed(&path, zxid, changes);
    }

    fn parent_changed(&mut self, path: &str, zxid: Zxid, changes: &mut Vec<Change>) {
        if let Some(parent) = parent_of(path) {
            self.changed(&Arc::from(parent), zxid, EventType::NodeChildrenChanged, changes);
        }
    }

    fn delete(&mut self, path: &str, zxid: Zxid, changes: &mut Vec<Change>) {
        let Some((path, znode)) = self.znodes.remove_entry(path) else { return };
        if let Some(owner) = znode.owner
            && let Some(paths) = self.ephemerals.get_mut(&owner)
        {
            paths.remove(&path);
        }
        self.numbers.remove(&path);
        self.changed(&path, zxid, EventType::NodeDeleted, changes);
        self.parent_changed(&path, zxid, changes);
    }

    /// The first child of a znode.
    fn child_of(&self, path: &str) -> Option<&Arc<str>> {
        let from: Arc<str> = Arc::from(format!("{}/", path.trim_end_matches('/')));
        let next = self.znodes.range(Arc::clone(&from)..).map(|(path, _)| path).find(|it| ***it != *ROOT)?;
        next.starts_with(&*from).then_some(next)
    }

    /// C21: the parent of what is created is there, and is no ephemeral.
    fn check_parent(&self, path: &str, broken: &mut Vec<Broken>) {
        let Some(parent) = parent_of(path) else { return };
        let found = self.znodes.get(parent);
        if found.is_some_and(|znode| znode.owner.is_none()) {
            return;
        }
        let (kind, how) = match found {
            None => ("parent-missing", "is not there"),
            Some(_) => ("child-of-ephemeral", "is an ephemeral"),
        };
        broken.push(Broken {
            rule: Rule::TreeStructure,
            kind,
            what: format!("{path} is created, and its parent {how}"),
            made_by: found.map(|znode| znode.made_by),
            before: None,
        });
    }

    /// C24: the number of a sequential znode is above that of every earlier one of its parent.
    fn check_number(&mut self, path: &str, asked: Option<&AskedOp>, zxid: Zxid, broken: &mut Vec<Broken>) {
        let number = asked.and_then(|op| path.strip_prefix(&*op.path)).and_then(|number| number.parse::<i32>().ok());
        let (Some(number), Some(parent)) = (number, parent_of(path)) else { return };
        let before = self.numbers.insert(Arc::from(parent), (number, zxid));
        // It is a signed counter, and a real server wraps it around (zookeeper.md §5.3).
        let Some((last, made_by)) = before.filter(|&(last, _)| last != i32::MAX && number <= last) else { return };
        broken.push(Broken {
            rule: Rule::SequentialUnique,
            kind: "number-repeated",
            what: format!("{path} is created, and {parent} gave its children the number {last} already"),
            made_by: Some(made_by),
            before: None,
        });
    }

    /// Applies one transaction, or a part of a multi.
    fn apply(
        &mut self,
        header: &TxnHeader,
        txn: &Txn,
        asked: Option<&AskedOp>,
        changes: &mut Vec<Change>,
        broken: &mut Vec<Broken>,
    ) {
        let (session, zxid) = (header.session, header.zxid);
        match txn {
            Txn::Create(create) | Txn::Create2(create) => {
                let owner = create.ephemeral.then_some(session);
                if owner.is_some() && !self.sessions.contains_key(&session) {
                    let before = self.closed(session);
                    broken.push(Broken {
                        rule: Rule::EphemeralOwnerLive,
                        kind: "ephemeral-of-dead-session",
                        what: format!("{} is created as an ephemeral of session {session}, which is over", create.path),
                        made_by: None,
                        before: before.map(|(at, moment)| (moment, format!("its end was committed at {at}"))),
                    });
                }
                self.check_parent(&create.path, broken);
                self.check_number(&create.path, asked, zxid, broken);
                self.create(&create.path, owner, zxid, changes);
            }
            Txn::CreateContainer(create) => {
                self.check_parent(&create.path, broken);
                self.create(&create.path, None, zxid, changes);
            }
            Txn::CreateTtl(create) => {
                self.check_parent(&create.path, broken);
                self.check_number(&create.path, asked, zxid, broken);
                self.create(&create.path, None, zxid, changes);
            }
            Txn::Delete(delete) | Txn::DeleteContainer(delete) => {
                self.check_demand(&delete.path, asked, broken);
                if let Some(child) = self.child_of(&delete.path) {
                    broken.push(Broken {
                        rule: Rule::TreeStructure,
                        kind: "parent-deleted",
                        what: format!("{} is deleted, and {child} is left", delete.path),
                        made_by: self.znodes.get(child).map(|znode| znode.made_by),
                        before: None,
                    });
                }
                self.delete(&delete.path, zxid, changes);
            }
            // The node's own version never moves (zookeeper.md §15).
            Txn::Reconfig(set) => {
                self.changed(&Arc::from(set.path.as_str()), zxid, EventType::NodeDataChanged, changes);
            }
            Txn::SetData(set) => {
                self.check_demand(&set.path, asked, broken);
                let found = self.znodes.get(set.path.as_str()).map(|znode| znode.version);
                if found.map(Version::next) != Some(set.version) {
                    let found = found.map_or_else(|| "nothing".to_owned(), |version| format!("version {version}"));
                    broken.push(Broken {
                        rule: Rule::Cas,
                        kind: "version-skipped",
                        what: format!("setData makes version {} of {}, where {found} was", set.version, set.path),
                        made_by: None,
                        before: None,
                    });
                }
                if let Some(znode) = self.znodes.get_mut(set.path.as_str()) {
                    znode.version = set.version;
                    znode.made_by = zxid;
                }
                self.changed(&Arc::from(set.path.as_str()), zxid, EventType::NodeDataChanged, changes);
            }
            Txn::CreateSession(create) => {
                if let Some(&first) = self.opened.get(&session) {
                    broken.push(Broken {
                        rule: Rule::SessionUnique,
                        kind: "session-created-twice",
                        what: format!("session {session} is created, and was before"),
                        made_by: Some(first),
                        before: None,
                    });
                }
                self.sessions.insert(session, create.timeout_ms);
                self.opened.entry(session).or_insert(zxid);
            }
            Txn::CloseSession(close) => {
                let owned = self.ephemerals.remove(&session).unwrap_or_default();
                if let Some(close) = close {
                    let listed: BTreeSet<&str> = close.paths.iter().map(String::as_str).collect();
                    for path in owned.iter().filter(|path| !listed.contains(&***path)) {
                        broken.push(Broken {
                            rule: Rule::EphemeralOwnerLive,
                            kind: "ephemeral-forgotten",
                            what: format!("session {session} ends, and its ephemeral {path} does not end with it"),
                            made_by: None,
                            before: None,
                        });
                    }
                    for path in &close.paths {
                        self.delete(path, zxid, changes);
                    }
                }
                for path in owned {
                    self.delete(&path, zxid, changes);
                }
                self.sessions.remove(&session);
            }
            Txn::Check(check) => self.check_demand(&check.path, asked, broken),
            Txn::SetAcl(_) | Txn::Error(_) | Txn::Multi(_) => {}
        }
    }

    /// C22: what succeeded with a demanded version had it.
    fn check_demand(&self, path: &str, asked: Option<&AskedOp>, broken: &mut Vec<Broken>) {
        let Some(AskedOp { version: Some(demanded), .. }) = asked.filter(|op| &*op.path == path) else { return };
        let znode = self.znodes.get(path);
        let found = znode.map(|znode| znode.version);
        if found.is_none_or(|found| !demanded.admits(found)) {
            let made_by = znode.map(|znode| znode.made_by);
            let found = found.map_or_else(|| "nothing".to_owned(), |version| format!("version {version}"));
            broken.push(Broken {
                rule: Rule::Cas,
                kind: "wrong-version-accepted",
                what: format!("a write of {path} that demanded version {demanded} succeeded, where {found} was"),
                made_by,
                before: None,
            });
        }
    }

    /// C22: what was refused for its version did not have it.
    fn check_refusal(&self, op: &AskedOp, broken: &mut Vec<Broken>) {
        let Some(demanded) = op.version else { return };
        let found = self.znodes.get(op.path.as_str()).map(|znode| znode.version);
        if found == Some(demanded) {
            broken.push(Broken {
                rule: Rule::Cas,
                kind: "right-version-refused",
                what: format!(
                    "a write of {} that demanded version {demanded} was refused, though that was its version",
                    op.path
                ),
                made_by: None,
                before: None,
            });
        }
    }
}

/// C22 of a reconfiguration: it succeeds if and only if the version that it demands is that in force. What is under way is refused first.
fn config_demand(asked: Option<&Ask>, txn: &Txn, in_force: Zxid) -> Option<Broken> {
    let demanded = asked?.ops.first()?.config?;
    let is_right = demanded == in_force.to_wire();
    let (kind, what) = if matches!(txn, Txn::Reconfig(_)) && !is_right {
        ("wrong-version-accepted", "succeeded")
    } else if matches!(txn, Txn::Error(error) if error.err == ErrorCode::BadVersion) && is_right {
        ("right-version-refused", "was refused")
    } else {
        return None;
    };
    let what = format!("a reconfiguration that demanded version {demanded:#x} {what}, where {in_force} is in force");
    Some(Broken { rule: Rule::Cas, kind, what, made_by: None, before: None })
}

/// C23: a multi that is committed has the operations it was asked for, each of its kind and of its path.
fn torn(session: SessionId, asked: &[AskedOp], parts: &[Txn]) -> Option<Broken> {
    let is_its = |(op, part): (&AskedOp, &Txn)| match part {
        Txn::Create(it) | Txn::Create2(it) => {
            matches!(op.op, OpCode::Create | OpCode::Create2) && it.path.starts_with(&op.path)
        }
        Txn::CreateContainer(_) => op.op == OpCode::CreateContainer,
        Txn::CreateTtl(_) => op.op == OpCode::CreateTtl,
        Txn::Delete(it) => op.op == OpCode::Delete && it.path == op.path,
        Txn::SetData(it) => op.op == OpCode::SetData && it.path == op.path,
        Txn::Check(it) => op.op == OpCode::Check && it.path == op.path,
        Txn::DeleteContainer(_)
        | Txn::Reconfig(_)
        | Txn::SetAcl(_)
        | Txn::CreateSession(_)
        | Txn::CloseSession(_)
        | Txn::Error(_)
        | Txn::Multi(_) => false,
    };
    let missing = asked.iter().zip(parts).position(|pair| !is_its(pair));
    let missing = missing.or_else(|| (asked.len() != parts.len()).then_some(parts.len().min(asked.len())))?;
    let what = asked.get(missing).map_or("nothing", |op| op.op.name());
    Some(Broken {
        rule: Rule::MultiAtomic,
        kind: "torn-multi",
        what: format!(
            "a multi of session {session} is committed without its operation {} ({what}), and with {} others",
            missing + 1,
            parts.len().saturating_sub(1)
        ),
        made_by: None,
        before: None,
    })
}

impl Oracle {
    /// Replays one committed transaction and holds C19, C20, C22 and C25 against it.
    pub(crate) fn replay_entry(&mut self, zxid: Zxid, entry: &Bytes, moment: Moment, findings: &mut Findings) {
        let Ok(entry) = TxnEntry::decode(entry) else { return };
        let header = &entry.header;
        let session = header.session;
        let is_error = matches!(entry.txn, Txn::Error(_)) || is_failed_multi(&entry.txn);
        let asked = Arc::make_mut(&mut self.conversations).take_asked(session, header.cxid);
        let replay = Arc::make_mut(&mut self.replay);
        let mut broken = Vec::new();
        self.tally.check(Rule::ClosedIsClosed);
        // A session that expires before its createSession is prepared is tracked again by that, and expires again
        // (`trackSession` puts a closing session back into a bucket): its second end takes nothing with it.
        let ends_again =
            matches!(&entry.txn, Txn::CloseSession(close) if close.as_ref().is_none_or(|it| it.paths.is_empty()));
        if !is_error
            && !ends_again
            && let Some((at, then)) = replay.closed(session)
        {
            broken.push(Broken {
                rule: Rule::ClosedIsClosed,
                kind: "zombie-session-write",
                what: format!("session {session} ended at {at}, and its {} succeeds", entry.txn.op()),
                made_by: None,
                before: Some((then, format!("the end of session {session} was committed at {at}"))),
            });
        }
        if !is_error && header.cxid > Xid::ZERO {
            self.tally.check(Rule::FifoSession);
            let before = replay.last_effect.insert(session, (header.cxid, zxid, moment));
            if let Some((xid, at, then)) = before
                && header.cxid <= xid
            {
                broken.push(Broken {
                    rule: Rule::FifoSession,
                    kind: "effects-reordered",
                    what: format!("request {} of session {session} takes effect behind its request {xid}", header.cxid),
                    made_by: None,
                    before: Some((then, format!("request {xid} took effect at {at}"))),
                });
            }
        }
        broken.extend(config_demand(asked.as_deref(), &entry.txn, self.in_force.version()));
        let mut changes = Vec::new();
        match (&entry.txn, asked.as_deref()) {
            (Txn::Error(error), Some(Ask { ops, .. })) => {
                self.tally.check(Rule::Cas);
                if let ([op], ErrorCode::BadVersion) = (&ops[..], error.err) {
                    replay.check_refusal(op, &mut broken);
                }
            }
            (Txn::Error(_), None) => {}
            (Txn::Multi(_), _) if is_error => {}
            (Txn::Multi(parts), asked) => {
                for rule in OF_TREES {
                    self.tally.check(rule);
                }
                self.tally.check(Rule::MultiAtomic);
                broken.extend(asked.and_then(|asked| torn(session, &asked.ops, parts)));
                for (at, part) in parts.iter().enumerate() {
                    let op = asked.and_then(|asked| asked.ops.get(at));
                    replay.apply(header, part, op, &mut changes, &mut broken);
                }
            }
            (txn, asked) => {
                for rule in OF_TREES {
                    self.tally.check(rule);
                }
                if let Txn::CreateSession(_) = txn {
                    self.tally.check(Rule::SessionUnique);
                }
                let op = asked.and_then(|asked| asked.ops.first());
                replay.apply(header, txn, op, &mut changes, &mut broken);
            }
        }
        if let Txn::CloseSession(_) = entry.txn {
            replay.closed.entry(session).or_insert((zxid, moment));
            Arc::make_mut(&mut self.conversations).session_closed(session);
            self.given_up.remove(&session);
        }
        Arc::make_mut(&mut self.conversations).paths_changed(&changes);
        for Broken { rule, kind, what, made_by, before } in broken {
            let mut story = Story::new(rule, format!("at {zxid} {what}")).kind(kind);
            if let Some((then, note)) = before {
                story = story.promise(then, note);
            }
            if let Some(committed) = made_by.and_then(|made_by| self.canon.get(self.canon.position(made_by)?)) {
                let note = format!("{} was committed: {}", committed.zxid, self.describe(committed.zxid));
                story = story.promise(committed.moment, note);
            }
            let violation = story.detected(moment, format!("{zxid} is committed"));
            self.broken(rule, violation, findings);
        }
    }

    /// The committed history was cut: the model starts over. Its rules were held against it before.
    pub(crate) fn rebuild_replay(&mut self) {
        let mut replay = Replay::new();
        for committed in self.canon.iter_from(0) {
            let Ok(entry) = TxnEntry::decode(&committed.entry) else { continue };
            let (mut changes, mut broken) = (Vec::new(), Vec::new());
            let parts = match &entry.txn {
                Txn::Multi(_) if is_failed_multi(&entry.txn) => &[],
                Txn::Multi(parts) => &parts[..],
                Txn::Create(_)
                | Txn::Create2(_)
                | Txn::CreateContainer(_)
                | Txn::CreateTtl(_)
                | Txn::Delete(_)
                | Txn::DeleteContainer(_)
                | Txn::SetData(_)
                | Txn::Reconfig(_)
                | Txn::SetAcl(_)
                | Txn::CreateSession(_)
                | Txn::CloseSession(_)
                | Txn::Error(_)
                | Txn::Check(_) => std::slice::from_ref(&entry.txn),
            };
            for part in parts {
                replay.apply(&entry.header, part, None, &mut changes, &mut broken);
            }
            if let Txn::CloseSession(_) = entry.txn {
                replay.closed.insert(entry.header.session, (committed.zxid, committed.moment));
            }
        }
        self.replay = Arc::new(replay);
    }
}

fn is_failed_multi(txn: &Txn) -> bool {
    match txn {
        Txn::Multi(parts) => parts.iter().any(|part| matches!(part, Txn::Error(_))),
        Txn::Create(_)
        | Txn::Create2(_)
        | Txn::CreateContainer(_)
        | Txn::CreateTtl(_)
        | Txn::Delete(_)
        | Txn::DeleteContainer(_)
        | Txn::SetData(_)
        | Txn::Reconfig(_)
        | Txn::SetAcl(_)
        | Txn::CreateSession(_)
        | Txn::CloseSession(_)
        | Txn::Error(_)
        | Txn::Check(_) => false,
    }
}
