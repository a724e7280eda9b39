//! A little network of whole servers: constant latency, no faults but those a test makes.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::{Coordinator, Fact, Message, Role, ServerConfig};
use jute::client::{
    ClientFrame, ClientPacket, ConnectRequest, CreateRequest, FourLetterWord, GetDataRequest, Request, Response,
    ServerFrame,
};
use jute::data::Acl;
use jute::op::ErrorCode;
use jute::{Buffer, SessionId, Sid, Xid, Zxid};
use machine::rig::Rig;
use machine::{Effect, EndId, HostId, Input, Instant, Loss, Machine, Port, Span};

const LATENCY: Span = Span::micros(200);
const SYNC: Span = Span::millis(1);
/// Where the clients are.
pub(crate) const CLIENT_HOST: HostId = HostId(99);

/// Where a connection's other end is: at a host, or with the test.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Peer {
    Host(usize, EndId),
    Client(usize),
}

#[derive(Debug)]
enum Event {
    Dial { from: usize, end: EndId, to: usize, port: Port },
    Input { to: usize, life: u32, input: Input<Message, coordinator::Work> },
    Answer { client: usize, frame: Option<ServerFrame> },
    Syncs { host: usize, life: u32 },
}

/// A scripted client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    server: usize,
    end: EndId,
    next_xid: Xid,
    pub(crate) session: SessionId,
    pub(crate) frames: Vec<ServerFrame>,
    pub(crate) lost: bool,
    /// What an operator was told.
    pub(crate) texts: Vec<String>,
}

/// Servers `server.1` to `server.n` on hosts 0 to n − 1.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) rigs: Vec<Rig<Coordinator>>,
    up: Vec<bool>,
    lives: Vec<u32>,
    listening: Vec<BTreeSet<Port>>,
    peers: BTreeMap<(usize, EndId), Peer>,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    now: Instant,
    next_end: u32,
    pub(crate) clients: Vec<Client>,
    pub(crate) facts: Vec<(usize, Fact)>,
    pub(crate) marks: Vec<(usize, &'static str)>,
    pub(crate) exits: Vec<(usize, i32)>,
    /// Hosts whose packets, both ways, are held back for good.
    pub(crate) cut: BTreeSet<usize>,
}

impl Network {
    pub(crate) fn ensemble(size: usize, change: impl Fn(&mut ServerConfig)) -> Self {
        let hosts: Vec<HostId> = (0..u32::try_from(size).unwrap()).map(HostId).collect();
        let configs = (1..=u8::try_from(size).unwrap()).map(|number| ServerConfig::ensemble(Sid::new(number), &hosts));
        Self::of(configs, change)
    }

    pub(crate) fn standalone() -> Self {
        Self::of([ServerConfig::standalone()].into_iter(), |_| {})
    }

    pub(crate) fn of(configs: impl Iterator<Item = ServerConfig>, change: impl Fn(&mut ServerConfig)) -> Self {
        let rigs: Vec<Rig<Coordinator>> = configs
            .enumerate()
            .map(|(host, mut config)| {
                config.tick_time = Span::millis(500);
                config.pre_alloc_size_kb = 64;
                change(&mut config);
                Rig::new(config, host as u64)
            })
            .collect();
        let size = rigs.len();
        Self {
            now: rigs[0].clock.now,
            rigs,
            up: vec![false; size],
            lives: vec![0; size],
            listening: vec![BTreeSet::new(); size],
            peers: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            next_end: 1_000_000,
            clients: Vec::new(),
            facts: Vec::new(),
            marks: Vec::new(),
            exits: Vec::new(),
            cut: BTreeSet::new(),
        }
    }

    pub(crate) fn boot(&mut self, host: usize) {
        self.rigs[host].clock.now = self.now;
        self.rigs[host].boot();
        self.up[host] = true;
        self.settle(host);
    }

    pub(crate) fn boot_all(&mut self) {
        for host in 0..self.rigs.len() {
            self.boot(host);
        }
    }

    pub(crate) fn kill(&mut self, host: usize) {
        self.rigs[host].kill();
        self.down(host, Loss::Reset);
    }

    /// The kernel writes back what lies in the page cache, as it does after half a minute. Snapshots depend on it: no server
    /// syncs its first one, and without it a log is of no use.
    pub(crate) fn write_back(&mut self, host: usize) {
        self.rigs[host].with_io(|_, io| {
            for path in io.disk().list("") {
                let file = io.disk().open(&path).unwrap();
                let _ = io.sync(file);
            }
        });
        self.rigs[host].finish_syncs();
        self.settle(host);
    }

    pub(crate) fn lose_power(&mut self, host: usize) {
        let key = machine::RunKey([7, host as u64]);
        let mut draw = key.draw(machine::Purpose::new("test-crash"), host as u64, 0);
        self.rigs[host].lose_power(machine::disk::CrashModel::AllUnsyncedLost, &mut draw);
        self.down(host, Loss::Reset);
    }

    fn down(&mut self, host: usize, why: Loss) {
        self.up[host] = false;
        self.lives[host] += 1;
        self.listening[host].clear();
        let ends: Vec<(usize, EndId)> = self.peers.keys().copied().filter(|(of, _)| *of == host).collect();
        for end in ends {
            self.close(end, why);
        }
    }

    pub(crate) fn machine(&self, host: usize) -> &Coordinator {
        self.rigs[host].machine()
    }

    pub(crate) fn is_up(&self, host: usize) -> bool {
        self.up[host]
    }

    /// The host that leads and serves.
    pub(crate) fn leader(&self) -> Option<usize> {
        (0..self.rigs.len()).find(|&host| {
            self.up[host] && self.machine(host).role() == Role::Leading && self.machine(host).is_serving()
        })
    }

    /// Hosts that serve, whatever their role.
    pub(crate) fn serving(&self) -> Vec<usize> {
        (0..self.rigs.len()).filter(|&host| self.up[host] && self.machine(host).is_serving()).collect()
    }

    fn push(&mut self, after: Span, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    fn input(&mut self, to: usize, input: Input<Message, coordinator::Work>) {
        let life = self.lives[to];
        self.push(LATENCY, Event::Input { to, life, input });
    }

    /// Runs until nothing is due before `until`, or the condition holds; whether it does.
    pub(crate) fn run_until(&mut self, span: Span, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + span;
        loop {
            if done(self) {
                return true;
            }
            let wakes = (0..self.rigs.len())
                .filter(|&host| self.up[host])
                .filter_map(|host| Some((self.machine(host).next_wake()?.max(self.now), host)))
                .min();
            let head = self.queue.keys().next().copied();
            let (at, wake) = match (head, wakes) {
                (None, None) => return done(self),
                (Some((at, _)), Some((wake, host))) if wake < at => (wake, Some(host)),
                (Some((at, _)), _) => (at, None),
                (None, Some((wake, host))) => (wake, Some(host)),
            };
            if at > until {
                self.now = until;
                return done(self);
            }
            self.now = at;
            if let Some(host) = wake {
                self.feed(host, Input::Woken);
                let next = self.up[host].then(|| self.machine(host).next_wake()).flatten();
                assert!(next.is_none_or(|next| next > self.now), "a wake retires what was due");
            } else {
                let (_, event) = self.queue.pop_first().unwrap();
                self.deliver(event);
            }
        }
    }

    pub(crate) fn run(&mut self, span: Span) {
        self.run_until(span, |_| false);
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Dial { from, end, to, port } => {
                if self.cut.contains(&from) || self.cut.contains(&to) || !self.up[from] {
                    return;
                }
                if !self.up[to] || !self.listening[to].contains(&port) {
                    self.input(from, Input::Refused { on: end });
                    return;
                }
                let there = self.fresh_end();
                self.peers.insert((from, end), Peer::Host(to, there));
                self.peers.insert((to, there), Peer::Host(from, end));
                self.feed(to, Input::Accepted { on: there, port, peer: HostId(u32::try_from(from).unwrap()) });
                self.input(from, Input::Opened { on: end });
            }
            Event::Input { to, life, input } => {
                if self.up[to] && self.lives[to] == life && !self.cut.contains(&to) {
                    self.feed(to, input);
                }
            }
            Event::Answer { client, frame: Some(frame) } => {
                if let ServerFrame::Connect(response) = &frame {
                    self.clients[client].session = response.session;
                }
                self.clients[client].frames.push(frame);
            }
            Event::Answer { client, frame: None } => self.clients[client].lost = true,
            Event::Syncs { host, life } => {
                if self.up[host] && self.lives[host] == life {
                    self.rigs[host].clock.now = self.now;
                    self.rigs[host].finish_syncs();
                    self.settle(host);
                }
            }
        }
    }

    fn fresh_end(&mut self) -> EndId {
        self.next_end += 1;
        EndId(self.next_end)
    }

    fn feed(&mut self, host: usize, input: Input<Message, coordinator::Work>) {
        self.rigs[host].clock.now = self.now;
        self.rigs[host].feed(input);
        self.settle(host);
    }

    /// Deferred items have their turns at once; effects become events.
    fn settle(&mut self, host: usize) {
        loop {
            for effect in self.rigs[host].take_effects() {
                self.apply(host, effect);
                if !self.up[host] {
                    return;
                }
            }
            if !self.rigs[host].turn() {
                break;
            }
        }
        if !self.rigs[host].pending_syncs().is_empty() {
            let life = self.lives[host];
            self.push(SYNC, Event::Syncs { host, life });
        }
    }

    fn apply(&mut self, host: usize, effect: Effect<Coordinator>) {
        match effect {
            Effect::Connect { end, to } => {
                let to_host = usize::try_from(to.host.0).unwrap();
                self.push(LATENCY, Event::Dial { from: host, end, to: to_host, port: to.port });
            }
            Effect::Listen { port } => {
                self.listening[host].insert(port);
            }
            Effect::Unlisten { port } => {
                self.listening[host].remove(&port);
            }
            Effect::Send { on, message } => match self.peers.get(&(host, on)).copied() {
                Some(Peer::Host(to, there)) if !self.cut.contains(&host) => {
                    self.input(to, Input::Message { on: there, message });
                }
                Some(Peer::Client(client)) => match message {
                    Message::Client(ClientPacket::ToClient(frame)) => {
                        self.push(LATENCY, Event::Answer { client, frame: Some(frame) });
                    }
                    Message::Client(ClientPacket::Text(text)) => self.clients[client].texts.push(text),
                    other @ (Message::Client(_) | Message::Quorum(_) | Message::Election(_)) => panic!("{other:?}"),
                },
                Some(Peer::Host(..)) | None => {}
            },
            Effect::Close { end } => self.close((host, end), Loss::Closed),
            Effect::Exit { status } => {
                self.exits.push((host, status));
                self.kill(host);
            }
            Effect::State(fact) => self.facts.push((host, fact)),
            Effect::Reach(mark) => self.marks.push((host, mark)),
            Effect::Datagram { .. } | Effect::Sync { .. } | Effect::Defer { .. } | Effect::Spend { .. } => {
                unreachable!("not a server's, or the rig's own")
            }
        }
    }

    fn close(&mut self, end: (usize, EndId), why: Loss) {
        match self.peers.remove(&end) {
            Some(Peer::Host(to, there)) => {
                self.peers.remove(&(to, there));
                self.input(to, Input::Lost { on: there, why });
            }
            Some(Peer::Client(client)) => self.push(LATENCY, Event::Answer { client, frame: None }),
            None => {}
        }
    }

    /// A client dials and asks for a session of 10 s.
    pub(crate) fn connect(&mut self, server: usize) -> usize {
        self.try_connect(server).expect("a session")
    }

    /// As [`Network::connect`], where the server may be unable to; it is given a second.
    pub(crate) fn try_connect(&mut self, server: usize) -> Option<usize> {
        let client = self.open(
            server,
            ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid::ZERO,
                timeout_ms: 10_000,
                session: SessionId::ZERO,
                password: Buffer::new(bytes::Bytes::from_static(&[0; 16])),
                read_only: Some(false),
            },
        );
        let done =
            self.run_until(Span::secs(1), |net| !net.clients[client].session.is_zero() || net.clients[client].lost);
        (done && !self.clients[client].session.is_zero()).then_some(client)
    }

    /// An operator says a word and waits for the text.
    pub(crate) fn operator(&mut self, server: usize, word: FourLetterWord) -> String {
        let client = self.dial(server);
        let Client { server, end, .. } = self.clients[client];
        self.input(server, Input::Message { on: end, message: Message::Client(ClientPacket::Word(word)) });
        assert!(self.run_until(Span::secs(1), |network| network.clients[client].lost), "an answer ends the connection");
        self.clients[client].texts.concat()
    }

    /// A client dials and says its first words, without waiting for the answer.
    pub(crate) fn open(&mut self, server: usize, first: ConnectRequest) -> usize {
        let client = self.dial(server);
        self.say(client, ClientFrame::Connect(first));
        client
    }

    /// A client dials from [`CLIENT_HOST`].
    fn dial(&mut self, server: usize) -> usize {
        let client = self.clients.len();
        let end = self.fresh_end();
        self.peers.insert((server, end), Peer::Client(client));
        self.clients.push(Client {
            server,
            end,
            next_xid: Xid::FIRST,
            session: SessionId::ZERO,
            frames: Vec::new(),
            lost: false,
            texts: Vec::new(),
        });
        let port = self.machine(server).config().client_port;
        self.feed(server, Input::Accepted { on: end, port, peer: CLIENT_HOST });
        client
    }

    /// A client comes back with its session, and waits a second for the answer.
    pub(crate) fn reopen(&mut self, server: usize, session: SessionId) -> usize {
        let password = jute::password::session_password(session).to_vec();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 10_000,
            session,
            password: Buffer::new(password),
            read_only: Some(false),
        };
        let client = self.open(server, request);
        self.run(Span::secs(1));
        client
    }

    /// A client ends its connection, and not its session.
    pub(crate) fn hang_up(&mut self, client: usize) {
        let Client { server, end, .. } = self.clients[client];
        if self.peers.remove(&(server, end)).is_some() {
            self.input(server, Input::Lost { on: end, why: Loss::Closed });
        }
    }

    pub(crate) fn say(&mut self, client: usize, frame: ClientFrame) {
        let Client { server, end, .. } = self.clients[client];
        self.input(server, Input::Message { on: end, message: Message::Client(ClientPacket::ToServer(frame)) });
    }

    /// Asks, without waiting.
    pub(crate) fn ask(&mut self, client: usize, request: Request) -> Xid {
        let xid = self.clients[client].next_xid;
        self.clients[client].next_xid = xid.next();
        self.say(client, ClientFrame::Request { xid, request });
        xid
    }

    /// The reply to a request, if it is there.
    pub(crate) fn reply(&self, client: usize, of: Xid) -> Option<(ErrorCode, Option<Response>)> {
        self.clients[client].frames.iter().find_map(|frame| match frame {
            ServerFrame::Reply { header, response } if header.xid == of => Some((header.err, response.clone())),
            ServerFrame::Reply { .. } | ServerFrame::Connect(_) | ServerFrame::Notification { .. } => None,
        })
    }

    /// Asks and waits for the reply.
    pub(crate) fn call(&mut self, client: usize, request: Request) -> Result<Option<Response>, ErrorCode> {
        let xid = self.ask(client, request);
        assert!(self.run_until(Span::secs(10), |net| net.reply(client, xid).is_some()), "no reply to {xid}");
        match self.reply(client, xid).unwrap() {
            (ErrorCode::Ok, response) => Ok(response),
            (error, _) => Err(error),
        }
    }

    pub(crate) fn create(&mut self, client: usize, path: &str) {
        self.call(client, create(path)).unwrap();
    }

    /// As [`Network::create`], by a new client of that server.
    pub(crate) fn create_through(&mut self, server: usize, path: &str) {
        let client = self.connect(server);
        self.create(client, path);
    }

    /// The data of a znode as a server has it.
    pub(crate) fn data(&mut self, client: usize, path: &str) -> Result<Vec<u8>, ErrorCode> {
        let request = Request::GetData(GetDataRequest { path: path.to_owned(), watch: false });
        match self.call(client, request)? {
            Some(Response::GetData(response)) => Ok(response.data.as_slice().to_vec()),
            other => panic!("{other:?}"),
        }
    }

    /// Whether a server's own tree has a znode.
    pub(crate) fn has(&self, host: usize, path: &str) -> bool {
        self.machine(host).database().tree().node(path).is_some()
    }

    /// Every server that serves has the same tree.
    pub(crate) fn assert_agreement(&self) {
        let digests: BTreeSet<u64> =
            self.serving().iter().map(|&host| self.machine(host).database().digest()).collect();
        assert_eq!(
            digests.len(),
            1,
            "trees differ: {:?}",
            self.rigs.iter().map(|rig| rig.machine().view()).collect::<Vec<_>>()
        );
        for &host in &self.serving() {
            assert_eq!(self.machine(host).database().digest_mismatches().0, 0, "host{host}");
        }
    }
}

/// A request for a znode whose data is its own path.
pub(crate) fn create(path: &str) -> Request {
    Request::Create(CreateRequest {
        path: path.to_owned(),
        data: Buffer::new(bytes::Bytes::copy_from_slice(path.as_bytes())),
        acl: Some(Acl::open()),
        flags: 0,
    })
}
