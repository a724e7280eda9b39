//! One client, alone on a host, and the hand of a server.

use std::sync::Arc;

use jute::client::{
    ClientFrame, ClientPacket, ConnectRequest, ConnectResponse, ExistsResponse, FourLetterWord, GetChildren2Response,
    GetDataResponse, ReplyHeader, Request, Response, ServerFrame, SetWatchesRequest, WatcherEvent,
};
use jute::data::Stat;
use jute::op::{ErrorCode, EventType, KeeperState, WatcherType};
use jute::{Buffer, SessionId, Xid, Zxid};
use machine::rig::Rig;
use machine::{
    Address, Digest, Effect, EndId, HostId, Input, InputOf, Instant, Io, Lane, Loss, Machine, Never, Port, Span,
    Vocabulary,
};
use zkclient::{AuthInfo, OpId, Rejected, ZkClient, ZkClientConfig, ZkClientFact, ZkClientView, ZkEvent, ZkServer};

pub(crate) const SESSION: SessionId = SessionId::new(0x0100_0000_0000_0007);

/// What the bench asks of the client.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Submit(Request),
    RemoveWatches { path: String, watcher_type: WatcherType, local: bool },
    AddAuth(AuthInfo),
    Update(Vec<ZkServer>),
    Close,
}

impl From<Never> for Command {
    fn from(never: Never) -> Self {
        match never {}
    }
}

/// A client that is a machine of its own; what its parent would be told is kept.
#[derive(Clone, Debug)]
pub(crate) struct Alone {
    pub(crate) zk: ZkClient,
    pub(crate) events: Vec<ZkEvent>,
    pub(crate) submitted: Vec<Result<OpId, Rejected>>,
}

impl Vocabulary for Alone {
    type Message = ClientPacket;
    type Work = Command;
    type Fact = ZkClientFact;
}

impl Machine for Alone {
    type Image = ZkClientConfig;
    type View = ZkClientView;

    fn boot(image: &ZkClientConfig, io: &mut Io<'_, Self>) -> Self {
        let mut zk = ZkClient::new(image.clone());
        io.lend(|io| zk.start(io));
        Self { zk, events: Vec::new(), submitted: Vec::new() }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        let input = match input {
            Input::Turn { work: Command::Submit(request), .. } => {
                self.submitted.push(io.lend(|io| self.zk.submit(request, io)));
                return;
            }
            Input::Turn { work: Command::RemoveWatches { path, watcher_type, local }, .. } => {
                self.submitted.push(io.lend(|io| self.zk.remove_watches(&path, watcher_type, local, io)));
                return;
            }
            Input::Turn { work: Command::AddAuth(info), .. } => {
                io.lend(|io| self.zk.add_auth(info, io));
                return;
            }
            Input::Turn { work: Command::Update(servers), .. } => {
                self.events.extend(io.lend(|io| self.zk.update_servers(servers, io)));
                return;
            }
            Input::Turn { work: Command::Close, .. } => {
                self.events.extend(io.lend(|io| self.zk.close(io)));
                return;
            }
            Input::Woken => Input::Woken,
            Input::Message { on, message } => Input::Message { on, message },
            Input::Opened { on } => Input::Opened { on },
            Input::Refused { on } => Input::Refused { on },
            Input::Lost { on, why } => Input::Lost { on, why },
            other => panic!("the bench feeds no {other:?}"),
        };
        self.events.extend(io.lend(|io| self.zk.handle(input, io)));
    }

    fn next_wake(&self) -> Option<Instant> {
        self.zk.next_wake()
    }

    fn check_invariants(&self) {
        self.zk.check_invariants();
    }

    fn view(&self) -> ZkClientView {
        self.zk.view()
    }

    fn digest(&self, into: &mut Digest) {
        self.zk.digest(into);
    }

    fn lane_name(_: Lane) -> &'static str {
        "test"
    }
}

#[derive(Debug)]
pub(crate) struct Bench {
    rig: Rig<Alone>,
    servers: Vec<ZkServer>,
    /// The end that was dialled last.
    pub(crate) end: EndId,
    pub(crate) dialled: Vec<HostId>,
    /// The end on which another server is being asked, and all that were asked.
    pub(crate) probe: EndId,
    pub(crate) probed: Vec<HostId>,
    pub(crate) words: Vec<FourLetterWord>,
    pub(crate) closed: Vec<EndId>,
    sent: Vec<ClientFrame>,
    pub(crate) facts: Vec<ZkClientFact>,
    seen: usize,
}

impl Bench {
    /// A client of so many servers that asks for 6 s and has just dialled the first.
    pub(crate) fn new(servers: u32) -> Self {
        let server = |host| ZkServer {
            name: Arc::from(format!("zk{host}")),
            address: Address { host: HostId(host), port: Port(2181) },
        };
        Self::with(ZkClientConfig::new((1..=servers).map(server).collect(), 6000))
    }

    /// The configuration of a client of so many servers that asks for 6 s.
    pub(crate) fn config(servers: u32) -> ZkClientConfig {
        ZkClientConfig::new(Self::new(servers).zk_servers(), 6000)
    }

    /// A client of this configuration with an established session of 6 s.
    pub(crate) fn connected_with(config: ZkClientConfig) -> Self {
        let mut bench = Self::with(config);
        bench.associate(6000);
        bench.events();
        bench.sent();
        bench
    }

    pub(crate) fn with(config: ZkClientConfig) -> Self {
        let mut bench = Self {
            servers: config.servers.clone(),
            rig: Rig::new(config, 1),
            end: EndId(0),
            dialled: Vec::new(),
            probe: EndId(0),
            probed: Vec::new(),
            words: Vec::new(),
            closed: Vec::new(),
            sent: Vec::new(),
            facts: Vec::new(),
            seen: 0,
        };
        bench.rig.boot();
        bench.collect();
        bench
    }

    /// A client with an established session of 6 s.
    pub(crate) fn connected(servers: u32) -> Self {
        let mut bench = Self::new(servers);
        bench.associate(6000);
        bench.events();
        bench.sent();
        bench
    }

    pub(crate) fn zk(&self) -> &ZkClient {
        &self.rig.machine().zk
    }

    pub(crate) fn zk_servers(&self) -> Vec<ZkServer> {
        self.servers.clone()
    }

    pub(crate) fn now(&self) -> Instant {
        self.rig.clock.now
    }

    fn collect(&mut self) {
        for effect in self.rig.take_effects() {
            match effect {
                Effect::Connect { end, to } if self.zk().is_read_only() => {
                    self.probe = end;
                    self.probed.push(to.host);
                }
                Effect::Send { on, message: ClientPacket::Word(word) } => {
                    assert_eq!(on, self.probe, "only a probe asks");
                    self.words.push(word);
                }
                Effect::Connect { end, to } => {
                    self.end = end;
                    self.dialled.push(to.host);
                }
                Effect::Send { on, message } => {
                    assert_eq!(on, self.end, "only the last connection is used");
                    let ClientPacket::ToServer(frame) = message else { panic!("a client sends client frames") };
                    self.sent.push(frame);
                }
                Effect::Close { end } => self.closed.push(end),
                Effect::State(fact) => self.facts.push(fact),
                Effect::Reach(_) => {}
                other => panic!("a client wants no {other:?}"),
            }
        }
    }

    pub(crate) fn feed(&mut self, input: Input<ClientPacket, Command>) {
        self.rig.feed(input);
        self.collect();
    }

    pub(crate) fn advance(&mut self, span: Span) {
        self.rig.advance(span);
        self.collect();
    }

    /// The process is stopped for so long; the wake it missed comes then.
    pub(crate) fn stall(&mut self, span: Span) {
        self.rig.clock.now = self.rig.clock.now + span;
        self.feed(Input::Woken);
    }

    /// Lets time pass until the client dials again; returns how much.
    #[track_caller]
    pub(crate) fn until_dialled(&mut self) -> Span {
        let (before, start) = (self.dialled.len(), self.now());
        for _ in 0..50 {
            let wake = self.rig.machine().next_wake().expect("it wants to dial");
            self.advance(wake.saturating_since(self.now()));
            if self.dialled.len() > before {
                return self.now() - start;
            }
        }
        panic!("it does not dial");
    }

    pub(crate) fn opened(&mut self) {
        self.feed(Input::Opened { on: self.end });
    }

    pub(crate) fn lost(&mut self) {
        self.feed(Input::Lost { on: self.end, why: Loss::Reset });
    }

    pub(crate) fn refused(&mut self) {
        self.feed(Input::Refused { on: self.end });
    }

    pub(crate) fn answer(&mut self, frame: ServerFrame) {
        self.feed(Input::Message { on: self.end, message: ClientPacket::ToClient(frame) });
    }

    /// Opens the connection and confirms the session with this timeout, 0 to refuse it.
    pub(crate) fn associate(&mut self, timeout_ms: i32) {
        self.opened();
        self.confirm(timeout_ms);
    }

    /// Opens the connection and makes a session at a server without an ensemble.
    pub(crate) fn associate_read_only(&mut self, session: SessionId) {
        self.opened();
        self.answer(ServerFrame::Connect(ConnectResponse {
            protocol_version: 0,
            timeout_ms: 6000,
            session,
            password: Buffer::new(vec![8; 16]),
            read_only: Some(true),
        }));
    }

    pub(crate) fn confirm(&mut self, timeout_ms: i32) {
        let response = if timeout_ms > 0 {
            ConnectResponse {
                protocol_version: 0,
                timeout_ms,
                session: SESSION,
                password: Buffer::new(vec![7; 16]),
                read_only: Some(false),
            }
        } else {
            ConnectResponse::refused(Some(false))
        };
        self.answer(ServerFrame::Connect(response));
    }

    pub(crate) fn submit(&mut self, request: Request) -> Result<OpId, Rejected> {
        self.feed(Input::Turn { lane: Lane(0), work: Command::Submit(request) });
        *self.rig.machine().submitted.last().expect("it was submitted")
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.feed(Input::Turn { lane: Lane(0), work: command });
    }

    pub(crate) fn remove_watches(&mut self, path: &str, watcher_type: WatcherType, local: bool) -> OpId {
        self.command(Command::RemoveWatches { path: path.to_owned(), watcher_type, local });
        self.rig.machine().submitted.last().expect("it was submitted").expect("it was taken")
    }

    pub(crate) fn close(&mut self) {
        self.feed(Input::Turn { lane: Lane(0), work: Command::Close });
    }

    /// Frames sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<ClientFrame> {
        std::mem::take(&mut self.sent)
    }

    /// Requests sent since the last call, with their xids.
    pub(crate) fn requests(&mut self) -> Vec<(Xid, Request)> {
        self.sent()
            .into_iter()
            .map(|frame| match frame {
                ClientFrame::Request { xid, request } => (xid, request),
                other => panic!("{other:?} is no request"),
            })
            .collect()
    }

    #[track_caller]
    pub(crate) fn connect_request(&mut self) -> ConnectRequest {
        let sent = self.sent();
        let [ClientFrame::Connect(request)] = &sent[..] else { panic!("a ConnectRequest and nothing else: {sent:?}") };
        request.clone()
    }

    #[track_caller]
    pub(crate) fn set_watches(&mut self) -> (Xid, SetWatchesRequest) {
        match self.requests().remove(0) {
            (xid, Request::SetWatches(request)) => (xid, request),
            other => panic!("{other:?} is no setWatches"),
        }
    }

    /// Pings sent since the last call.
    pub(crate) fn pings(&mut self) -> usize {
        let requests = self.requests();
        assert!(requests.iter().all(|(xid, request)| *xid == Xid::PING && *request == Request::Ping), "only pings");
        requests.len()
    }

    /// Events since the last call.
    pub(crate) fn events(&mut self) -> Vec<ZkEvent> {
        let events = &self.rig.machine().events;
        let new = events[self.seen..].to_vec();
        self.seen = events.len();
        new
    }

    pub(crate) fn reply(&mut self, xid: i32, zxid: u32, err: ErrorCode, response: Option<Response>) {
        let header = ReplyHeader { xid: Xid::new(xid), zxid: Some(zx(zxid)), err };
        self.answer(ServerFrame::Reply { header, response });
    }

    pub(crate) fn notify(&mut self, event: EventType, path: &str) {
        let event = WatcherEvent { event, state: KeeperState::SyncConnected, path: path.to_owned() };
        self.answer(ServerFrame::Notification { zxid: None, event });
    }
}

pub(crate) fn zx(counter: u32) -> Zxid {
    Zxid::new(jute::PeerEpoch::new(1), counter)
}

pub(crate) fn data() -> Option<Response> {
    Some(Response::GetData(GetDataResponse { data: Buffer::NULL, stat: Stat::default() }))
}

pub(crate) fn found() -> Option<Response> {
    Some(Response::Exists(ExistsResponse { stat: Stat::default() }))
}

pub(crate) fn children() -> Option<Response> {
    Some(Response::GetChildren2(GetChildren2Response { children: Vec::new(), stat: Stat::default() }))
}

pub(crate) fn get_data(path: &str, watch: bool) -> Request {
    Request::GetData(jute::client::GetDataRequest { path: path.to_owned(), watch })
}

pub(crate) fn exists(path: &str, watch: bool) -> Request {
    Request::Exists(jute::client::ExistsRequest { path: path.to_owned(), watch })
}

pub(crate) fn get_children(path: &str, watch: bool) -> Request {
    Request::GetChildren2(jute::client::GetChildrenRequest { path: path.to_owned(), watch })
}
