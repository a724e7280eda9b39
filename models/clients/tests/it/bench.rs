//! Several client processes and one server, in lockstep of a millisecond.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use clients::{ClientFact, Misuses, OpKind, Outcome, WorkloadFact, WorkloadKind, ZkWorkload, ZkWorkloadImage};
use jute::client::{ClientFrame, ClientPacket, ConnectResponse, ReplyHeader, Request, ServerFrame, WatcherEvent};
use jute::op::{ErrorCode, EventType, KeeperState};
use jute::{Buffer, SessionId, Xid};
use machine::rig::Rig;
use machine::{Address, Effect, EndId, HostId, Input, Instant, Loss, Port, Span};
use zkclient::{ZkClientConfig, ZkClientFact, ZkServer};

use crate::tree::{Change, Tree};

/// What happens to a client's next request that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The connection is lost before the server sees it.
    BeforeApply,
    /// It is applied, and the connection is lost before the reply.
    AfterApply,
}

#[derive(Debug)]
struct Client {
    rig: Rig<ZkWorkload>,
    end: EndId,
    session: SessionId,
    open: bool,
    data_watches: BTreeSet<String>,
    child_watches: BTreeSet<String>,
    inbox: VecDeque<Input<ClientPacket, machine::Never>>,
    facts: Vec<ClientFact>,
    cut: Option<(OpKind, Cut)>,
    exit: Option<i32>,
}

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) tree: Tree,
    alive: BTreeSet<SessionId>,
    next_session: i64,
    clients: Vec<Client>,
    /// Nobody can connect.
    pub(crate) down: bool,
}

/// The kinds whose operations this server knows: random operations need a real one.
pub(crate) fn kinds() -> impl Iterator<Item = WorkloadKind> {
    WorkloadKind::ALL.iter().copied().filter(|&kind| kind != WorkloadKind::RandomOperations)
}

pub(crate) fn image(client: u16, kind: WorkloadKind) -> ZkWorkloadImage {
    let servers = (1..=3)
        .map(|host| ZkServer {
            name: Arc::from(format!("zk{host}")),
            address: Address { host: HostId(host), port: Port(2181) },
        })
        .collect();
    ZkWorkloadImage {
        client,
        connection: ZkClientConfig::new(servers, 6000),
        kind,
        root: Arc::from("/work/of/clients"),
        keys: 3,
        members: 3,
        member: (u32::from(client) - 1) % 3,
        misuses: Misuses::default(),
        rate_per_second: 100,
        processes: 1,
        think: Span::millis(20),
        stop_after: None,
        probe_after: None,
    }
}

impl Bench {
    pub(crate) fn new(images: Vec<ZkWorkloadImage>) -> Self {
        Self::boot(images, false)
    }

    /// With a server that is down: nothing is set up before it is back.
    pub(crate) fn offline(images: Vec<ZkWorkloadImage>) -> Self {
        Self::boot(images, true)
    }

    fn boot(images: Vec<ZkWorkloadImage>, down: bool) -> Self {
        let client = |image: ZkWorkloadImage| Client {
            rig: Rig::new(image.clone(), u64::from(image.client)),
            end: EndId(0),
            session: SessionId::ZERO,
            open: false,
            data_watches: BTreeSet::new(),
            child_watches: BTreeSet::new(),
            inbox: VecDeque::new(),
            facts: Vec::new(),
            cut: None,
            exit: None,
        };
        let clients = images.into_iter().map(client).collect();
        let mut bench = Self { tree: Tree::new(), alive: BTreeSet::new(), next_session: 1, clients, down };
        for at in 0..bench.clients.len() {
            bench.clients[at].rig.boot();
            bench.pump(at);
        }
        bench
    }

    /// So many clients of one kind.
    pub(crate) fn of(kind: WorkloadKind, clients: u16) -> Self {
        let members = u32::from(clients);
        Self::new((1..=clients).map(|client| ZkWorkloadImage { members, ..image(client, kind) }).collect())
    }

    pub(crate) fn workload(&self, at: usize) -> &ZkWorkload {
        self.clients[at].rig.machine()
    }

    pub(crate) fn exit(&self, at: usize) -> Option<i32> {
        self.clients[at].exit
    }

    /// Lets this much time pass.
    pub(crate) fn run(&mut self, span: Span) {
        for _ in 0..span.as_millis() {
            for at in 0..self.clients.len() {
                if self.clients[at].exit.is_none() {
                    self.clients[at].rig.advance(Span::millis(1));
                    self.pump(at);
                }
            }
        }
    }

    /// Lets time pass until this is so, at most a minute.
    #[track_caller]
    pub(crate) fn run_until(&mut self, so: impl Fn(&Self) -> bool) {
        for _ in 0..60_000 {
            if so(self) {
                return;
            }
            self.run(Span::millis(1));
        }
        panic!("a minute was not enough");
    }

    /// Takes effects and feeds answers until this client and everybody its changes concern are at rest.
    fn pump(&mut self, at: usize) {
        self.take(at);
        while let Some(next) = (0..self.clients.len()).find(|&other| !self.clients[other].inbox.is_empty()) {
            let input = self.clients[next].inbox.pop_front().expect("it is not empty");
            if self.clients[next].exit.is_none() {
                self.clients[next].rig.feed(input);
                self.take(next);
            }
        }
    }

    fn take(&mut self, at: usize) {
        for effect in self.clients[at].rig.take_effects() {
            match effect {
                Effect::Connect { end, .. } => self.on_connect(at, end),
                Effect::Send { on, message } => self.on_send(at, on, message),
                Effect::Close { end } => {
                    if end == self.clients[at].end {
                        self.clients[at].open = false;
                    }
                }
                Effect::State(fact) => self.clients[at].facts.push(fact),
                Effect::Exit { status } => self.clients[at].exit = Some(status),
                Effect::Reach(_) => {}
                other => panic!("a client wants no {other:?}"),
            }
        }
    }

    fn on_connect(&mut self, at: usize, end: EndId) {
        let down = self.down;
        let client = &mut self.clients[at];
        client.end = end;
        client.open = !down;
        client.data_watches.clear();
        client.child_watches.clear();
        client.inbox.push_back(if down { Input::Refused { on: end } } else { Input::Opened { on: end } });
    }

    fn on_send(&mut self, at: usize, on: EndId, message: ClientPacket) {
        if on != self.clients[at].end || !self.clients[at].open {
            return;
        }
        match message {
            ClientPacket::ToServer(ClientFrame::Connect(request)) => {
                let session = if request.session.is_zero() {
                    let session = SessionId::new(self.next_session);
                    self.next_session += 1;
                    self.alive.insert(session);
                    session
                } else {
                    request.session
                };
                let response = if self.alive.contains(&session) {
                    self.clients[at].session = session;
                    ConnectResponse {
                        protocol_version: 0,
                        timeout_ms: request.timeout_ms,
                        session,
                        password: Buffer::new(vec![1; 16]),
                        read_only: Some(false),
                    }
                } else {
                    ConnectResponse::refused(Some(false))
                };
                self.answer(at, ServerFrame::Connect(response));
            }
            ClientPacket::ToServer(ClientFrame::Request { xid, request }) => self.on_request(at, xid, &request),
            other => panic!("a client sends no {other:?}"),
        }
    }

    fn on_request(&mut self, at: usize, xid: Xid, request: &Request) {
        let cut = self.clients[at].cut.filter(|&(kind, _)| is_kind(request, kind)).map(|(_, cut)| cut);
        if cut.is_some() {
            self.clients[at].cut = None;
        }
        if cut == Some(Cut::BeforeApply) {
            return self.lose(at);
        }
        let session = self.clients[at].session;
        let mut changes = Vec::new();
        let answer = self.tree.apply(session, request, &mut changes);
        if *request == Request::CloseSession {
            self.alive.remove(&session);
            self.tree.end_session(session, &mut changes);
        }
        self.notify(&changes);
        if cut == Some(Cut::AfterApply) {
            return self.lose(at);
        }
        self.watch(at, request, answer.as_ref().err().copied());
        let err = answer.as_ref().err().copied().unwrap_or(ErrorCode::Ok);
        let header = ReplyHeader { xid, zxid: Some(self.tree.zxid), err };
        self.answer(at, ServerFrame::Reply { header, response: answer.ok().flatten() });
    }

    fn watch(&mut self, at: usize, request: &Request, err: Option<ErrorCode>) {
        let client = &mut self.clients[at];
        match request {
            Request::Exists(request) if request.watch => drop(client.data_watches.insert(request.path.clone())),
            Request::GetData(request) if request.watch && err.is_none() => {
                client.data_watches.insert(request.path.clone());
            }
            Request::GetChildren2(request) if request.watch && err.is_none() => {
                client.child_watches.insert(request.path.clone());
            }
            Request::SetWatches(request) => {
                let mut catch_up = Vec::new();
                for path in &request.data_watches {
                    match self.tree.znodes.get(path) {
                        None => catch_up.push((EventType::NodeDeleted, path.clone())),
                        Some(znode) if znode.stat.mzxid > request.relative_zxid => {
                            catch_up.push((EventType::NodeDataChanged, path.clone()));
                        }
                        Some(_) => drop(client.data_watches.insert(path.clone())),
                    }
                }
                for path in &request.exist_watches {
                    if self.tree.znodes.contains_key(path) {
                        catch_up.push((EventType::NodeCreated, path.clone()));
                    } else {
                        client.data_watches.insert(path.clone());
                    }
                }
                for path in &request.child_watches {
                    if self.tree.znodes[path].stat.pzxid > request.relative_zxid {
                        catch_up.push((EventType::NodeChildrenChanged, path.clone()));
                    } else {
                        client.child_watches.insert(path.clone());
                    }
                }
                for (event, path) in catch_up {
                    self.event(at, event, path);
                }
            }
            _ => {}
        }
    }

    fn notify(&mut self, changes: &[Change]) {
        for (event, path) in changes {
            for at in 0..self.clients.len() {
                let client = &mut self.clients[at];
                let seen = match event {
                    EventType::NodeChildrenChanged => client.child_watches.remove(path),
                    EventType::NodeDeleted => client.data_watches.remove(path) | client.child_watches.remove(path),
                    _ => client.data_watches.remove(path),
                };
                if seen {
                    self.event(at, *event, path.clone());
                }
            }
        }
    }

    fn event(&mut self, at: usize, event: EventType, path: String) {
        let event = WatcherEvent { event, state: KeeperState::SyncConnected, path };
        self.answer(at, ServerFrame::Notification { zxid: Some(self.tree.zxid), event });
    }

    fn answer(&mut self, at: usize, frame: ServerFrame) {
        let client = &mut self.clients[at];
        if client.open {
            let on = client.end;
            client.inbox.push_back(Input::Message { on, message: ClientPacket::ToClient(frame) });
        }
    }

    /// The connection of a client is reset.
    pub(crate) fn lose(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.open {
            client.open = false;
            client.data_watches.clear();
            client.child_watches.clear();
            client.inbox.push_back(Input::Lost { on: client.end, why: Loss::Reset });
        }
    }

    /// The session of a client expires, and its connection is reset.
    pub(crate) fn expire(&mut self, at: usize) {
        let session = self.clients[at].session;
        assert!(self.alive.remove(&session), "it has a session");
        let mut changes = Vec::new();
        self.tree.end_session(session, &mut changes);
        self.lose(at);
        self.notify(&changes);
        self.pump(at);
    }

    /// Cuts the connection at the client's next request of this kind.
    pub(crate) fn cut_at(&mut self, at: usize, kind: OpKind, cut: Cut) {
        self.clients[at].cut = Some((kind, cut));
    }

    pub(crate) fn is_cut(&self, at: usize) -> bool {
        self.clients[at].cut.is_none()
    }

    pub(crate) fn terminate(&mut self, at: usize) {
        self.clients[at].rig.feed(Input::Terminate);
        self.pump(at);
    }

    pub(crate) fn now(&self, at: usize) -> Instant {
        self.clients[at].rig.clock.now
    }

    /// What a client said of its work.
    pub(crate) fn said(&self, at: usize) -> impl Iterator<Item = &WorkloadFact> {
        self.clients[at].facts.iter().filter_map(|fact| match fact {
            ClientFact::Workload(fact) => Some(fact),
            ClientFact::Session(_) => None,
        })
    }

    /// What a client said of its sessions.
    pub(crate) fn session_said(&self, at: usize) -> impl Iterator<Item = &ZkClientFact> {
        self.clients[at].facts.iter().filter_map(|fact| match fact {
            ClientFact::Session(fact) => Some(fact),
            ClientFact::Workload(_) => None,
        })
    }

    pub(crate) fn all_said(&self) -> impl Iterator<Item = &WorkloadFact> {
        (0..self.clients.len()).flat_map(|at| self.said(at))
    }

    pub(crate) fn count(&self, at: usize, is: impl Fn(&WorkloadFact) -> bool) -> usize {
        self.said(at).filter(|fact| is(fact)).count()
    }

    /// Every operation has one invocation and at most one end, and a process never has two open; returns how many ended in
    /// each way.
    pub(crate) fn check_history(&self) -> BTreeMap<(OpKind, Outcome), usize> {
        let mut ends = BTreeMap::new();
        for at in 0..self.clients.len() {
            let mut open = BTreeMap::new();
            let mut busy = BTreeSet::new();
            let mut retired = BTreeSet::new();
            for fact in self.said(at) {
                match fact {
                    WorkloadFact::Invoked { process, op, .. } => {
                        assert!(open.insert(*op, *process).is_none(), "an operation is invoked once");
                        assert!(busy.insert(*process), "process {process:#x} has one operation open");
                        assert!(!retired.contains(process), "process {process:#x} has retired");
                    }
                    WorkloadFact::Completed { process, op, kind, outcome, .. } => {
                        assert_eq!(open.remove(op), Some(*process), "an operation ends once");
                        assert!(busy.remove(process));
                        *ends.entry((*kind, *outcome)).or_insert(0) += 1;
                    }
                    WorkloadFact::ProcessRetired { process, .. } => assert!(retired.insert(*process)),
                    _ => {}
                }
            }
            let slots = usize::from(self.workload(at).image().processes);
            assert!(open.len() <= slots, "{} operations open", open.len());
        }
        ends
    }
}

fn is_kind(request: &Request, kind: OpKind) -> bool {
    match kind {
        OpKind::Create | OpKind::CreateEphemeral | OpKind::CreateSequential | OpKind::CreateEphemeralSequential => {
            matches!(request, Request::Create2(_))
        }
        OpKind::Delete => matches!(request, Request::Delete(_)),
        OpKind::Exists => matches!(request, Request::Exists(_)),
        OpKind::GetData => matches!(request, Request::GetData(_)),
        OpKind::SyncGetData => matches!(request, Request::Sync(_)),
        OpKind::SetData => matches!(request, Request::SetData(_)),
        OpKind::GetChildren => matches!(request, Request::GetChildren2(_)),
        OpKind::Multi => matches!(request, Request::Multi(_)),
        OpKind::GetConfig => matches!(request, Request::GetData(_)),
        OpKind::Reconfig => matches!(request, Request::Reconfig(_)),
        _ => panic!("this server does no {}", kind.name()),
    }
}
