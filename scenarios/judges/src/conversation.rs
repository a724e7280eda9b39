//! What clients and servers said to each other, from the clients' end: C25 to C27, C31, C32, C45, the promises of C13, and what replies
//! show of C20 and C22.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use engine::{FieldValue, Findings};
use jute::client::{ClientFrame, MultiOp, OpResult, ReplyHeader, Request, Response, ServerFrame, WatcherEvent};
use jute::data::Stat;
use jute::op::{ErrorCode, EventType, OpCode};
use jute::{SessionId, Version, Xid, Zxid};
use machine::{EndId, HostId};

use crate::membership::CONFIG;
use crate::moment::Story;
use crate::oracle::Oracle;
use crate::replay::{Change, Replay};
use crate::{Moment, Rule};

/// Why a session may be said to be over that lives.
const OF_THE_DEPOSED: &str =
    "a leader that was deposed, or one of its followers, does not know the sessions of its successor";

/// What a one-shot watch waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum WatchOf {
    /// A znode that is there: its data, and its end.
    Data,
    /// A path where nothing is: its creation.
    Exist,
    /// A znode's children, and its end.
    Child,
}

impl WatchOf {
    const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Exist => "exist",
            Self::Child => "child",
        }
    }

    fn sees(self, event: EventType) -> bool {
        match event {
            EventType::NodeDataChanged => self == Self::Data,
            EventType::NodeCreated => self != Self::Child,
            EventType::NodeDeleted => self != Self::Exist,
            EventType::NodeChildrenChanged => self == Self::Child,
            EventType::None
            | EventType::DataWatchRemoved
            | EventType::ChildWatchRemoved
            | EventType::PersistentWatchRemoved => false,
        }
    }

    /// Whether a client forgets such a watch of a path when it is told of an event there (zookeeper.md §8.6).
    fn is_consumed_by(self, event: EventType) -> bool {
        match event {
            EventType::NodeCreated | EventType::NodeDataChanged => self != Self::Child,
            EventType::NodeDeleted => true,
            EventType::NodeChildrenChanged => self == Self::Child,
            EventType::None
            | EventType::DataWatchRemoved
            | EventType::ChildWatchRemoved
            | EventType::PersistentWatchRemoved => false,
        }
    }

    /// The first change after a zxid that such a watch sees.
    fn first_change(self, replay: &Replay, path: &str, after: Zxid) -> Option<Zxid> {
        match self {
            Self::Data => replay.first_data_change(path, after),
            Self::Exist => replay.first_creation(path, after),
            Self::Child => replay.first_child_change(path, after),
        }
    }
}

/// One operation that a client asked for, or a part of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AskedOp {
    pub(crate) op: OpCode,
    pub(crate) path: String,
    /// The version it demands; none if it takes any.
    pub(crate) version: Option<Version>,
    /// The version of the configuration it demands; none if it takes any, or does not ask for another one.
    pub(crate) config: Option<i64>,
}

/// The `curConfigId` of a request that takes any.
const ANY_CONFIG: i64 = -1;

/// A request that a client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ask {
    op: OpCode,
    pub(crate) ops: Vec<AskedOp>,
    watch: bool,
}

fn demanded(version: Version) -> Option<Version> {
    (version != Version::ANY).then_some(version)
}

impl Ask {
    fn of(request: &Request) -> Self {
        let op = |path: &str, version| vec![AskedOp { op: request.op(), path: path.to_owned(), version, config: None }];
        let (ops, watch) = match request {
            Request::Create(it) | Request::Create2(it) | Request::CreateContainer(it) => (op(&it.path, None), false),
            Request::CreateTtl(it) => (op(&it.path, None), false),
            Request::Delete(it) => (op(&it.path, demanded(it.version)), false),
            Request::SetData(it) => (op(&it.path, demanded(it.version)), false),
            Request::Exists(it) => (op(&it.path, None), it.watch),
            Request::GetData(it) => (op(&it.path, None), it.watch),
            Request::GetChildren(it) | Request::GetChildren2(it) => (op(&it.path, None), it.watch),
            Request::Reconfig(it) => {
                let config = Some(it.config_id).filter(|&config_id| config_id != ANY_CONFIG);
                (vec![AskedOp { op: request.op(), path: CONFIG.to_owned(), version: None, config }], false)
            }
            Request::Multi(multi) => (multi.ops.iter().map(part).collect(), false),
            Request::DeleteContainer(_)
            | Request::GetAcl(_)
            | Request::SetAcl(_)
            | Request::Sync(_)
            | Request::Ping
            | Request::Check(_)
            | Request::MultiRead(_)
            | Request::CheckWatches(_)
            | Request::RemoveWatches(_)
            | Request::SetWatches(_)
            | Request::SetWatches2(_)
            | Request::AddWatch(_)
            | Request::GetEphemerals(_)
            | Request::GetAllChildrenNumber(_)
            | Request::WhoAmI
            | Request::Auth(_)
            | Request::Sasl(_)
            | Request::CloseSession => (Vec::new(), false),
        };
        Self { op: request.op(), ops, watch }
    }

    /// Whether it sets watches again, behind a reconnect.
    fn sets_watches_again(&self) -> bool {
        matches!(self.op, OpCode::SetWatches | OpCode::SetWatches2)
    }

    /// Whether a success means that a transaction is committed.
    fn is_write(&self) -> bool {
        [
            OpCode::Create,
            OpCode::Create2,
            OpCode::CreateContainer,
            OpCode::CreateTtl,
            OpCode::Delete,
            OpCode::SetData,
            OpCode::SetAcl,
            OpCode::Multi,
            OpCode::Reconfig,
        ]
        .contains(&self.op)
    }

    /// The watch that a reply to it sets (zookeeper.md §8.6).
    fn watch(&self, err: ErrorCode) -> Option<(&str, WatchOf)> {
        let path = self.ops.first().filter(|_| self.watch)?.path.as_str();
        let of = match (self.op, err) {
            (OpCode::GetData | OpCode::Exists, ErrorCode::Ok) => WatchOf::Data,
            (OpCode::Exists, ErrorCode::NoNode) => WatchOf::Exist,
            (OpCode::GetChildren | OpCode::GetChildren2, ErrorCode::Ok) => WatchOf::Child,
            _ => return None,
        };
        Some((path, of))
    }
}

fn part(op: &MultiOp) -> AskedOp {
    let version = match op {
        MultiOp::Delete(it) => demanded(it.version),
        MultiOp::SetData(it) => demanded(it.version),
        MultiOp::Check(it) => demanded(it.version),
        MultiOp::Create(_) | MultiOp::Create2(_) | MultiOp::CreateContainer(_) | MultiOp::CreateTtl(_) => None,
    };
    AskedOp { op: op.op(), path: op.path().to_owned(), version, config: None }
}

/// A client and its connection.
#[derive(Clone, Debug, Default)]
struct Talk {
    end: Option<EndId>,
    /// Who is at the other end.
    server: Option<HostId>,
    session: SessionId,
    /// Sent and not answered, oldest first.
    pending: VecDeque<(Xid, Arc<Ask>, Moment)>,
    /// Batches of watches that are being set again.
    resetting: u32,
}

/// A watch that a session has set.
#[derive(Clone, Copy, Debug)]
struct Armed {
    set: Zxid,
    moment: Moment,
    /// The first change it must tell of, once there is one.
    due: Option<Zxid>,
}

/// A watch that did not tell of a change.
#[derive(Clone, Debug)]
struct Missed {
    path: Arc<str>,
    of: WatchOf,
    armed: Armed,
    /// The change.
    due: Zxid,
    /// When that was committed.
    change: Option<Moment>,
}

impl Missed {
    fn story(&self, rule: Rule, headline: String) -> Story {
        let set = self.armed.set;
        let story = Story::new(rule, headline).promise(self.armed.moment, format!("the watch was set at {set}"));
        let story = match self.change {
            Some(moment) => story.other(moment, format!("{} was committed", self.due)),
            None => story,
        };
        story.kind(self.of.name())
    }
}

/// What a session has seen.
#[derive(Clone, Debug, Default)]
struct View {
    seen: Option<(Zxid, Moment)>,
    /// What of that it takes along to its next connection: a client neither remembers the zxid of a ping nor that of a watch
    /// event (zookeeper.md §10.5), so another server may be behind these.
    kept: Option<(Zxid, Moment)>,
    armed: BTreeMap<(Arc<str>, WatchOf), Armed>,
    /// The earliest change it must be told of.
    due: Option<Zxid>,
    /// Between two connections, until the watches are set again.
    suspended: bool,
    /// The version of the configuration that it was shown last.
    config: Option<(Zxid, Moment)>,
}

impl View {
    fn update_due(&mut self) {
        self.due = self.armed.values().filter_map(|armed| armed.due).min();
    }
}

/// Everything said.
#[derive(Clone, Debug)]
pub(crate) struct Conversations {
    talks: Vec<Talk>,
    views: BTreeMap<SessionId, View>,
    /// Writes that were sent and are not committed yet.
    asked: BTreeMap<(SessionId, Xid), Arc<Ask>>,
    /// Who watches a path, by session.
    watched: BTreeMap<Arc<str>, Vec<SessionId>>,
}

impl Conversations {
    pub(crate) fn new(clients: usize) -> Self {
        Self {
            talks: vec![Talk::default(); clients],
            views: BTreeMap::new(),
            asked: BTreeMap::new(),
            watched: BTreeMap::new(),
        }
    }

    /// The request behind a transaction; it is forgotten with this.
    pub(crate) fn take_asked(&mut self, session: SessionId, xid: Xid) -> Option<Arc<Ask>> {
        if self.asked.is_empty() { None } else { self.asked.remove(&(session, xid)) }
    }

    /// Nothing that a dead session asked for happens any more.
    pub(crate) fn session_closed(&mut self, session: SessionId) {
        self.asked.retain(|&(of, _), _| of != session);
    }

    /// The version of the configuration that a session was shown last, and when.
    pub(crate) fn config_of(&self, session: SessionId) -> Option<(Zxid, Moment)> {
        self.views.get(&session)?.config
    }

    pub(crate) fn saw_config(&mut self, session: SessionId, version: Zxid, moment: Moment) {
        self.views.entry(session).or_default().config = Some((version, moment));
    }

    /// The session of a client's present connection, or of the last.
    pub(crate) fn session_of(&self, client: usize) -> SessionId {
        self.talks[client].session
    }

    /// Who has this session now.
    pub(crate) fn client_of(&self, session: SessionId) -> Option<usize> {
        self.talks.iter().position(|talk| talk.session == session)
    }

    /// Watches that see what has just become committed know what they must tell.
    pub(crate) fn paths_changed(&mut self, changes: &[Change]) {
        if self.watched.is_empty() {
            return;
        }
        for change in changes {
            let Some(sessions) = self.watched.get(&change.path) else { continue };
            for session in sessions {
                let Some(view) = self.views.get_mut(session) else { continue };
                for of in [WatchOf::Data, WatchOf::Exist, WatchOf::Child] {
                    if of.sees(change.event)
                        && let Some(armed) = view.armed.get_mut(&(Arc::clone(&change.path), of))
                        && armed.due.is_none()
                        && change.zxid > armed.set
                    {
                        armed.due = Some(change.zxid);
                        view.due = Some(view.due.map_or(change.zxid, |due| due.min(change.zxid)));
                    }
                }
            }
        }
    }

    fn arm(&mut self, session: SessionId, path: &str, of: WatchOf, armed: Armed) {
        let path: Arc<str> = Arc::from(path);
        let view = self.views.entry(session).or_default();
        // One watch per path and kind, whoever set it first.
        if view.armed.contains_key(&(Arc::clone(&path), of)) {
            return;
        }
        view.armed.insert((Arc::clone(&path), of), armed);
        view.update_due();
        let watchers = self.watched.entry(path).or_default();
        if !watchers.contains(&session) {
            watchers.push(session);
        }
    }

    fn consume(&mut self, session: SessionId, event: &WatcherEvent) {
        self.disarm(session, &event.path, |of| of.is_consumed_by(event.event));
    }

    /// A session's watches of a path are gone.
    pub(crate) fn disarm(&mut self, session: SessionId, path: &str, is_gone: impl Fn(WatchOf) -> bool) {
        let Some(view) = self.views.get_mut(&session) else { return };
        view.armed.retain(|(of_path, of), _| **of_path != *path || !is_gone(*of));
        view.update_due();
        let still = [WatchOf::Data, WatchOf::Exist, WatchOf::Child]
            .into_iter()
            .any(|of| view.armed.contains_key(&(Arc::from(path), of)));
        if !still && let Some(watchers) = self.watched.get_mut(path) {
            watchers.retain(|&it| it != session);
            if watchers.is_empty() {
                self.watched.remove(path);
            }
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.views.remove(&session);
        self.watched.retain(|_, watchers| {
            watchers.retain(|&it| it != session);
            !watchers.is_empty()
        });
    }
}

impl Oracle {
    /// A server answers a client.
    pub fn server_answered(&mut self, member: usize, on: EndId, frame: &ServerFrame) {
        if let ServerFrame::Connect(connect) = frame
            && !connect.is_refusal()
        {
            self.server_mut(member).ends.insert(on, (connect.session, connect.timeout_ms));
        }
    }

    /// A client's frame reaches a server.
    pub fn server_heard(&mut self, moment: Moment, member: usize, on: EndId, frame: &ClientFrame) {
        if let ClientFrame::Request { .. } = frame {
            self.client_heard(moment, member, on);
        }
    }

    /// A server's end of a connection is gone.
    pub fn end_closed(&mut self, member: usize, on: EndId) {
        if self.servers[member].ends.contains_key(&on) {
            self.server_mut(member).ends.remove(&on);
        }
    }

    /// A client sends a frame.
    pub fn client_sent(&mut self, moment: Moment, client: usize, to: HostId, on: EndId, frame: &ClientFrame) {
        let conversations = Arc::make_mut(&mut self.conversations);
        let talk = &mut conversations.talks[client];
        match frame {
            ClientFrame::Connect(connect) => {
                let (end, server) = (Some(on), Some(to));
                *talk = Talk { end, server, session: connect.session, pending: VecDeque::new(), resetting: 0 };
                if let Some(view) = conversations.views.get_mut(&connect.session) {
                    view.suspended = !view.armed.is_empty();
                }
            }
            ClientFrame::Request { xid, request } if talk.end == Some(on) => {
                if let Request::SetWatches(_) | Request::SetWatches2(_) = request {
                    talk.resetting += 1;
                }
                if *xid > Xid::ZERO {
                    let ask = Arc::new(Ask::of(request));
                    if ask.is_write() {
                        conversations.asked.insert((talk.session, *xid), Arc::clone(&ask));
                    }
                    talk.pending.push_back((*xid, ask, moment));
                }
            }
            ClientFrame::Request { .. } | ClientFrame::Unknown { .. } | ClientFrame::Malformed { .. } => {}
        }
    }

    /// A client is told something.
    pub fn client_told(
        &mut self,
        moment: Moment,
        client: usize,
        on: EndId,
        frame: &ServerFrame,
        findings: &mut Findings,
    ) {
        if self.conversations.talks[client].end != Some(on) {
            return;
        }
        match frame {
            ServerFrame::Connect(connect) => {
                if connect.is_refusal() {
                    self.check_refused_session(moment, client, findings);
                }
                let conversations = Arc::make_mut(&mut self.conversations);
                let talk = &mut conversations.talks[client];
                if connect.is_refusal() {
                    let session = std::mem::replace(&mut talk.session, SessionId::ZERO);
                    conversations.forget(session);
                } else {
                    talk.session = connect.session;
                    let view = conversations.views.entry(connect.session).or_default();
                    view.seen = view.kept;
                }
            }
            ServerFrame::Reply { header, response } => {
                self.replied(moment, client, header, response.as_ref(), findings);
            }
            ServerFrame::Notification { zxid, event } => {
                let session = self.conversations.talks[client].session;
                if let Some(zxid) = zxid {
                    self.see_zxid(moment, client, session, *zxid, "a watch event", findings);
                }
                Arc::make_mut(&mut self.conversations).consume(session, event);
            }
        }
    }

    fn replied(
        &mut self,
        moment: Moment,
        client: usize,
        header: &ReplyHeader,
        response: Option<&Response>,
        findings: &mut Findings,
    ) {
        let session = self.conversations.talks[client].session;
        if header.xid == Xid::AUTH {
            return;
        }
        if let Some(zxid) = header.zxid {
            self.see_zxid(moment, client, session, zxid, "a reply", findings);
            if header.xid != Xid::PING {
                let view = Arc::make_mut(&mut self.conversations).views.entry(session).or_default();
                view.kept = view.seen;
            }
        }
        // The Java client numbers setWatches as any request; others leave it its own xid (zookeeper.md §8.5).
        let oldest = self.conversations.talks[client].pending.front();
        let is_numbered = oldest.is_some_and(|(xid, ask, _)| *xid == header.xid && ask.sets_watches_again());
        if is_numbered || header.xid == Xid::SET_WATCHES {
            if is_numbered {
                self.tally.check(Rule::FifoSession);
                Arc::make_mut(&mut self.conversations).talks[client].pending.pop_front();
            }
            self.watches_set_again(moment, client, header.zxid.unwrap_or(Zxid::ZERO), findings);
            return;
        }
        if let Some(zxid) = header.zxid {
            self.check_watches(moment, client, session, zxid, findings);
        }
        if header.xid <= Xid::ZERO {
            return;
        }
        self.tally.check(Rule::FifoSession);
        let pending = Arc::make_mut(&mut self.conversations).talks[client].pending.pop_front();
        let Some((xid, ask, sent)) = pending else { return };
        if xid != header.xid {
            let headline = format!(
                "{} was answered request {} of session {session} while its request {xid} ({}) was the oldest",
                self.name(moment.host),
                header.xid,
                ask.op
            );
            let story = Story::new(Rule::FifoSession, headline)
                .promise(sent, format!("request {xid} was sent"))
                .kind("replies-reordered")
                .detected(moment, format!("the reply to request {} arrives", header.xid));
            self.broken(Rule::FifoSession, story, findings);
            return;
        }
        if ask.op == OpCode::CloseSession && header.err == ErrorCode::Ok {
            let conversations = Arc::make_mut(&mut self.conversations);
            conversations.talks[client].session = SessionId::ZERO;
            conversations.forget(session);
            return;
        }
        let Some(zxid) = header.zxid else { return };
        if header.err == ErrorCode::Ok && ask.is_write() && !has_failed(response) {
            self.acked(moment, session, zxid, &ask, findings);
        }
        self.check_stat(moment, session, zxid, &ask, response, findings);
        self.check_read(moment, client, (zxid, header.err), &ask, response, findings);
        match response {
            Some(Response::Reconfig(shown)) => {
                self.config_shown(moment, client, (session, zxid), shown.data.as_slice(), findings);
            }
            Some(Response::GetData(shown)) if ask.ops.first().is_some_and(|op| op.path == CONFIG) => {
                self.config_shown(moment, client, (session, zxid), shown.data.as_slice(), findings);
            }
            _ => {}
        }
        if let Some((path, of)) = ask.watch(header.err) {
            let due = of.first_change(&self.replay, path, zxid);
            Arc::make_mut(&mut self.conversations).arm(session, path, of, Armed { set: zxid, moment, due });
        }
    }

    /// C27.
    fn see_zxid(
        &mut self,
        moment: Moment,
        client: usize,
        session: SessionId,
        zxid: Zxid,
        what: &str,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::ZxidMonotone);
        let view = Arc::make_mut(&mut self.conversations).views.entry(session).or_default();
        match view.seen {
            Some((seen, then)) if zxid < seen => {
                let name = self.roster.ensemble.clients[client].name.clone();
                let headline = format!("{name} saw {zxid} after {seen} in session {session}: time ran backwards");
                let story = Story::new(Rule::ZxidMonotone, headline)
                    .promise(then, format!("{name} saw {seen}"))
                    .kind(what.to_owned())
                    .detected(moment, format!("{what} shows {zxid}"));
                self.broken(Rule::ZxidMonotone, story, findings);
            }
            _ => view.seen = Some((zxid, moment)),
        }
    }

    /// C31: nothing that was to be told of may be shown first.
    fn check_watches(
        &mut self,
        moment: Moment,
        client: usize,
        session: SessionId,
        zxid: Zxid,
        findings: &mut Findings,
    ) {
        let Some(view) = self.conversations.views.get(&session).filter(|view| !view.armed.is_empty()) else { return };
        if view.suspended {
            return;
        }
        self.tally.check(Rule::WatchBeforeData);
        if view.due.is_none_or(|due| due > zxid) {
            return;
        }
        self.watch_missed(moment, client, session, zxid, findings);
    }

    /// The first watch that should have told by now of a change, which it waits for no longer.
    fn take_missed(&mut self, session: SessionId, zxid: Zxid) -> Option<Missed> {
        let view = Arc::make_mut(&mut self.conversations).views.entry(session).or_default();
        let is_missed = |armed: &Armed| armed.due.filter(|&due| due <= zxid);
        let (key, armed, due) =
            view.armed.iter().find_map(|(key, armed)| Some((key.clone(), *armed, is_missed(armed)?)))?;
        view.armed.remove(&key);
        view.update_due();
        let (path, of) = key;
        let change = self.canon.position(due).and_then(|at| self.canon.get(at)).map(|change| change.moment);
        Some(Missed { path, of, armed, due, change })
    }

    fn watch_missed(&mut self, moment: Moment, client: usize, session: SessionId, zxid: Zxid, findings: &mut Findings) {
        let Some(missed) = self.take_missed(session, zxid) else { return };
        let headline = format!(
            "{} was shown {zxid} by a reply before its {} watch of {} told of the change at {} ({})",
            self.roster.ensemble.clients[client].name,
            missed.of.name(),
            missed.path,
            missed.due,
            self.describe(missed.due)
        );
        let story = missed.story(Rule::WatchBeforeData, headline);
        let violation = story.kind("a reply").detected(moment, format!("a reply shows {zxid}"));
        self.broken(Rule::WatchBeforeData, violation, findings);
    }

    /// The server has compared the watches with its tree: what changed meanwhile was told, the rest waits again. A watch that was not
    /// told waits for the next change only: this one it has lost (C32, ZK-I41).
    fn watches_set_again(&mut self, moment: Moment, client: usize, zxid: Zxid, findings: &mut Findings) {
        let conversations = Arc::make_mut(&mut self.conversations);
        let talk = &mut conversations.talks[client];
        let session = talk.session;
        talk.resetting = talk.resetting.saturating_sub(1);
        if talk.resetting > 0 {
            return;
        }
        let Some(view) = conversations.views.get_mut(&session) else { return };
        view.suspended = false;
        for ((path, of), armed) in &mut view.armed {
            // What was created and deleted meanwhile leaves no trace for who waits for a creation (zookeeper.md §8.5).
            if *of == WatchOf::Exist && !self.replay.existed(path, zxid) {
                armed.set = armed.set.max(zxid);
                armed.due = of.first_change(&self.replay, path, armed.set);
            }
        }
        view.update_due();
        self.tally.check(Rule::WatchNoLoss);
        let Some(missed) = self.take_missed(session, zxid) else { return };
        let headline = format!(
            "the {} watch of {} that session {session} set was set again at {zxid} and never told of the change at {} ({})",
            missed.of.name(),
            missed.path,
            missed.due,
            self.describe(missed.due)
        );
        let story = missed.story(Rule::WatchNoLoss, headline);
        let violation = story.kind("set again").detected(moment, format!("the reply to setWatches shows {zxid}"));
        self.broken(Rule::WatchNoLoss, violation, findings);
    }

    /// A client was told of a success: a promise (C13).
    fn acked(&mut self, moment: Moment, session: SessionId, zxid: Zxid, ask: &Ask, findings: &mut Findings) {
        self.tally.check(Rule::NoAckedLoss);
        if let Some(at) = self.canon.position(zxid) {
            let committed = Arc::make_mut(&mut self.canon).get_mut(at).expect("it has a place");
            committed.acked.get_or_insert((moment, session));
            return;
        }
        let path = ask.ops.first().map_or("", |op| op.path.as_str());
        let headline = format!(
            "{} was told that its {} {path} succeeded at {zxid}, which was never committed",
            self.name(moment.host),
            ask.op
        );
        let story = Story::new(Rule::NoAckedLoss, headline)
            .kind("acknowledged-uncommitted")
            .detected(moment, "the reply arrives");
        self.broken(Rule::NoAckedLoss, story, findings);
    }

    /// What a stat shows: of C20, a znode whose owner is dead; of C22, a version that does not follow the one demanded.
    fn check_stat(
        &mut self,
        moment: Moment,
        session: SessionId,
        zxid: Zxid,
        ask: &Ask,
        response: Option<&Response>,
        findings: &mut Findings,
    ) {
        let Some(stat) = response.and_then(stat_of) else { return };
        let path = ask.ops.first().map_or("", |op| op.path.as_str());
        if !stat.ephemeral_owner.is_zero() {
            self.tally.check(Rule::EphemeralOwnerLive);
            if let Some((end, then)) = self.replay.closed(stat.ephemeral_owner).filter(|&(end, _)| end <= zxid) {
                let owner = stat.ephemeral_owner;
                let headline = format!(
                    "{} read {path} as an ephemeral of session {owner} at {zxid}; that session ended at {end}",
                    self.name(moment.host)
                );
                let story = Story::new(Rule::EphemeralOwnerLive, headline)
                    .promise(then, format!("the end of session {owner} was committed at {end}"))
                    .kind("ghost-read")
                    .detected(moment, format!("the reply to session {session} shows it"));
                self.broken(Rule::EphemeralOwnerLive, story, findings);
            }
        }
        if let (Some(Response::SetData(_)), [AskedOp { version: Some(demanded), .. }]) = (response, &ask.ops[..]) {
            self.tally.check(Rule::Cas);
            if stat.version != demanded.next() {
                let headline = format!(
                    "{} set {path} at version {demanded} and was told that it is at version {} now",
                    self.name(moment.host),
                    stat.version
                );
                let story = Story::new(Rule::Cas, headline)
                    .kind("reply-with-other-version")
                    .detected(moment, format!("the reply at {zxid} arrives"));
                self.broken(Rule::Cas, story, findings);
            }
        }
    }

    /// C26: a read shows what the committed history makes up to its zxid.
    fn check_read(
        &mut self,
        moment: Moment,
        client: usize,
        (zxid, err): (Zxid, ErrorCode),
        ask: &Ask,
        response: Option<&Response>,
        findings: &mut Findings,
    ) {
        let ([op], OpCode::Exists | OpCode::GetData) = (&ask.ops[..], ask.op) else { return };
        let shown = match (err, response.and_then(stat_of)) {
            (ErrorCode::Ok, Some(stat)) => Some((stat.czxid, stat.mzxid)),
            (ErrorCode::NoNode, _) => None,
            _ => return,
        };
        // What stands behind the committed history, or was there before it, is nobody's to compare with.
        let is_known =
            self.canon.position(zxid).is_some() || zxid.is_epoch_start() && zxid.epoch() <= self.canon.epoch();
        if !is_known || shown.is_some_and(|(czxid, _)| czxid == Zxid::ZERO) {
            return;
        }
        self.tally.check(Rule::ReadAtZxid);
        let is = self.replay.made_by(&op.path, zxid);
        if is == shown {
            return;
        }
        let server = self.conversations.talks[client].server;
        let misled = || server.and_then(|server| self.misled(self.roster.member(server)?));
        if let Some(why) = self.parted.or_else(misled) {
            return self.tally.relax(Rule::ReadAtZxid, why);
        }
        let told = |made_by: Option<(Zxid, Zxid)>| match made_by {
            None => "nothing there".to_owned(),
            Some((czxid, mzxid)) if czxid == mzxid => format!("a znode as it was created at {czxid}"),
            Some((czxid, mzxid)) => format!("a znode that was created at {czxid} and set at {mzxid}"),
        };
        let headline = format!(
            "{} read {} at {zxid} and was shown {}; the committed history has {}",
            self.name(moment.host),
            op.path,
            told(shown),
            told(is)
        );
        let committed = is.and_then(|(_, mzxid)| self.canon.get(self.canon.position(mzxid)?));
        let story = Story::new(Rule::ReadAtZxid, headline).kind(ask.op.name());
        let story = match committed {
            Some(it) => story.promise(it.moment, format!("{} was committed", it.zxid)),
            None => story,
        };
        self.broken(Rule::ReadAtZxid, story.detected(moment, "the reply arrives"), findings);
    }

    /// C45: whoever is told that its session is over has none.
    fn check_refused_session(&mut self, moment: Moment, client: usize, findings: &mut Findings) {
        let Talk { session, server, .. } = self.conversations.talks[client];
        if session.is_zero() {
            return;
        }
        self.tally.check(Rule::ExpiredIsClosed);
        let is_ending = || self.given_up.contains(&session) || self.canon.is_close_proposed(session);
        if !self.replay.sessions().contains_key(&session) || is_ending() {
            return;
        }
        let newest = self.servers.iter().filter(|it| it.leads.is_some()).max_by_key(|it| it.leads).map(|it| it.host);
        let told_by = server.and_then(|server| self.roster.member(server)).map(|member| &self.servers[member]);
        if told_by.is_some_and(|it| Some(it.host) != newest && (it.follows.is_none() || it.follows != newest)) {
            return self.tally.relax(Rule::ExpiredIsClosed, OF_THE_DEPOSED);
        }
        let name = self.roster.ensemble.clients[client].name.clone();
        let headline = format!("{name} is told that session {session} is over, and it is in the session table");
        let story = Story::new(Rule::ExpiredIsClosed, headline).kind("live-session-refused");
        self.broken(Rule::ExpiredIsClosed, story.detected(moment, "its connect is refused"), findings);
    }

    /// C32: when everything has come to rest, no watch of a connected session waits to be told of a change that is older than
    /// `patience`.
    pub(crate) fn check_watches_told(&mut self, now: Moment, patience: machine::Span, findings: &mut Findings) {
        let mut lost = Vec::new();
        for talk in &self.conversations.talks {
            let Some(view) = self.conversations.views.get(&talk.session).filter(|view| !view.suspended) else {
                continue;
            };
            self.tally.check(Rule::WatchNoLoss);
            for ((path, of), armed) in &view.armed {
                let change = armed.due.and_then(|due| self.canon.get(self.canon.position(due)?));
                if let Some(change) = change.filter(|it| now.at.saturating_since(it.moment.at) > patience) {
                    lost.push((talk.session, Arc::clone(path), *of, *armed, change.zxid, change.moment));
                }
            }
        }
        for (session, path, of, armed, zxid, then) in lost {
            let headline = format!(
                "the {} watch of {path} that session {session} set was never told of the change at {zxid} ({})",
                of.name(),
                self.describe(zxid)
            );
            let story = Story::new(Rule::WatchNoLoss, headline)
                .promise(armed.moment, format!("the watch was set at {}", armed.set))
                .first_wrong(then, format!("{zxid} was committed"))
                .kind(of.name())
                .detected(now, "everything has come to rest, and it still waits");
            self.broken(Rule::WatchNoLoss, story, findings);
        }
    }

    /// Y12: a session expired whose client lives.
    pub(crate) fn note_live_session_expired(&mut self, session: SessionId, findings: &mut Findings) {
        if let Some(client) = self.conversations.client_of(session) {
            let name = self.roster.ensemble.clients[client].name.clone();
            let fields = || {
                vec![("client", FieldValue::Text(name)), ("session", FieldValue::Hex(session.value().cast_unsigned()))]
            };
            self.arise("live-session-expired", fields, findings);
        }
    }
}

/// Whether a multi, whose header never says so, failed.
fn has_failed(response: Option<&Response>) -> bool {
    match response {
        Some(Response::Multi(multi)) => multi.results.iter().any(|result| matches!(result, OpResult::Error(_))),
        Some(_) | None => false,
    }
}

fn stat_of(response: &Response) -> Option<&Stat> {
    match response {
        Response::Create2(it) => Some(&it.stat),
        Response::Exists(it) => Some(&it.stat),
        Response::GetData(it) => Some(&it.stat),
        Response::SetData(it) => Some(&it.stat),
        Response::GetChildren2(it) => Some(&it.stat),
        Response::Create(_)
        | Response::GetAcl(_)
        | Response::SetAcl(_)
        | Response::GetChildren(_)
        | Response::Sync(_)
        | Response::Multi(_)
        | Response::Reconfig(_)
        | Response::AddWatch(_)
        | Response::GetEphemerals(_)
        | Response::GetAllChildrenNumber(_)
        | Response::WhoAmI(_)
        | Response::Sasl(_) => None,
    }
}
