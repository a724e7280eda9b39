//! The client and a whole server: each understands what the other says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use coordinator::{Coordinator, Message, ServerConfig};
use jute::client::{
    AddWatchRequest, CreateRequest, DeleteRequest, GetDataRequest, GetEphemeralsRequest, Request, Response,
    SetDataRequest,
};
use jute::data::{Acl, Id};
use jute::op::{AddWatchMode, CreateMode, ErrorCode, EventType, WatcherType};
use jute::{Buffer, Version};
use machine::rig::Rig;
use machine::{Address, Effect, EndId, HostId, Input, Lane, Loss, Port, Span};
use zkclient::{AuthInfo, Chroot, OpId, Outcome, ZkClient, ZkClientConfig, ZkEvent, ZkServer};

use crate::bench::{Alone, Command, exists, get_children, get_data};

const SERVER: HostId = HostId(7);

/// Clients of one server, without latency.
struct World {
    server: Rig<Coordinator>,
    clients: Vec<Rig<Alone>>,
    /// The server's ends, by client and its end.
    ends: BTreeMap<(usize, EndId), EndId>,
    next_end: u32,
}

fn config(chroot: &str) -> ZkClientConfig {
    let server = ZkServer { name: Arc::from("zk1"), address: Address { host: SERVER, port: Port(2181) } };
    let mut config = ZkClientConfig::new(vec![server], 6000);
    config.chroot = Chroot::new(chroot).expect("a path");
    config
}

impl World {
    fn new(configs: Vec<ZkClientConfig>) -> Self {
        let mut server = Rig::new(ServerConfig::standalone(), 100);
        server.boot();
        server.settle();
        server.take_effects();
        let clients = configs.into_iter().zip(1..).map(|(config, number)| Rig::new(config, number)).collect();
        let mut world = Self { server, clients, ends: BTreeMap::new(), next_end: 0 };
        for at in 0..world.clients.len() {
            world.clients[at].boot();
        }
        world.run(Span::millis(10));
        assert!((0..world.clients.len()).all(|at| world.zk(at).is_connected()));
        world
    }

    fn zk(&self, at: usize) -> &ZkClient {
        &self.clients[at].machine().zk
    }

    fn run(&mut self, span: Span) {
        for _ in 0..span.as_millis() {
            self.server.advance(Span::millis(1));
            for client in &mut self.clients {
                client.advance(Span::millis(1));
            }
            while self.exchange() {}
        }
    }

    /// Carries what was sent; false if that was nothing.
    fn exchange(&mut self) -> bool {
        self.server.settle();
        let mut to_clients = VecDeque::new();
        for effect in self.server.take_effects() {
            let (theirs, input) = match effect {
                Effect::Send { on, message: Message::Client(packet) } => (on, Some(packet)),
                Effect::Close { end } => (end, None),
                _ => continue,
            };
            let Some((&(at, on), _)) = self.ends.iter().find(|(_, end)| **end == theirs) else { continue };
            to_clients.push_back((at, on, input));
        }
        let mut moved = !to_clients.is_empty();
        for (at, on, packet) in to_clients {
            let input = match packet {
                Some(message) => Input::Message { on, message },
                None => {
                    self.ends.remove(&(at, on));
                    Input::Lost { on, why: Loss::Closed }
                }
            };
            self.clients[at].feed(input);
        }
        for at in 0..self.clients.len() {
            for effect in self.clients[at].take_effects() {
                moved = true;
                match effect {
                    Effect::Connect { end, to } => {
                        assert_eq!(to.host, SERVER);
                        self.next_end += 1;
                        self.ends.insert((at, end), EndId(self.next_end));
                        let on = EndId(self.next_end);
                        self.server.feed(Input::Accepted { on, port: to.port, peer: HostId(200) });
                        self.clients[at].feed(Input::Opened { on: end });
                    }
                    Effect::Send { on, message } => {
                        let on = self.ends[&(at, on)];
                        self.server.feed(Input::Message { on, message: Message::Client(message) });
                    }
                    Effect::Close { end } => self.hang_up(at, end),
                    _ => {}
                }
            }
        }
        moved
    }

    fn hang_up(&mut self, at: usize, end: EndId) {
        if let Some(on) = self.ends.remove(&(at, end)) {
            self.server.feed(Input::Lost { on, why: Loss::Reset });
        }
    }

    /// Both sides lose a client's connection.
    fn cut(&mut self, at: usize) {
        let (&(_, end), _) = self.ends.iter().find(|((client, _), _)| *client == at).expect("it is connected");
        self.hang_up(at, end);
        self.clients[at].feed(Input::Lost { on: end, why: Loss::Reset });
    }

    fn command(&mut self, at: usize, work: Command) {
        self.clients[at].feed(Input::Turn { lane: Lane(0), work });
        self.run(Span::millis(10));
    }

    fn outcome(&self, at: usize) -> Outcome {
        let alone = self.clients[at].machine();
        let op: OpId = alone.submitted.last().expect("it was submitted").expect("it was taken");
        let ended = alone.events.iter().find_map(|event| match event {
            ZkEvent::Completed { op: it, outcome } if *it == op => Some(outcome.clone()),
            _ => None,
        });
        ended.expect("it has ended")
    }

    /// What comes of a request.
    fn ask(&mut self, at: usize, request: Request) -> Result<Option<Response>, ErrorCode> {
        self.command(at, Command::Submit(request));
        match self.outcome(at) {
            Outcome::Ok { response, .. } => Ok(response),
            Outcome::Error { code, .. } => Err(code),
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, at: usize, path: &str, mode: CreateMode) -> String {
        let request =
            CreateRequest { path: path.to_owned(), data: Buffer::NULL, acl: Some(Acl::open()), flags: mode.code() };
        match self.ask(at, Request::Create2(request)) {
            Ok(Some(Response::Create2(made))) => made.path,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn set(&mut self, at: usize, path: &str) {
        let request = SetDataRequest { path: path.to_owned(), data: Buffer::NULL, version: Version::ANY };
        self.ask(at, Request::SetData(request)).expect("it is there");
    }

    /// What a client's watches were told, by path and kinds.
    fn watched(&mut self, at: usize) -> Vec<(EventType, String, &'static str)> {
        let events = &self.clients[at].machine().events;
        let told = events.iter().filter_map(|event| match event {
            ZkEvent::Watch(event) => Some((event.event, event.path.to_string(), event.consumed.name())),
            _ => None,
        });
        told.collect()
    }
}

fn told(event: EventType, path: &str, kinds: &'static str) -> (EventType, String, &'static str) {
    (event, path.to_owned(), kinds)
}

#[test]
fn client_below_a_chroot_sees_a_tree_of_its_own() {
    let mut world = World::new(vec![config("/"), config("/app")]);
    let (whole, app) = (0, 1);
    let request = CreateRequest {
        path: "/a".to_owned(),
        data: Buffer::NULL,
        acl: Some(Acl::open()),
        flags: CreateMode::Persistent.code(),
    };
    assert_eq!(world.ask(app, Request::Create2(request)), Err(ErrorCode::NoNode), "nobody makes the chroot");
    world.create(whole, "/app", CreateMode::Persistent);
    assert_eq!(world.create(app, "/a-", CreateMode::EphemeralSequential), "/a-0000000000");
    assert!(world.ask(whole, exists("/app/a-0000000000", false)).is_ok());
    let Ok(Some(Response::GetChildren2(root))) = world.ask(app, get_children("/", true)) else { panic!("it is there") };
    assert_eq!(root.children, ["a-0000000000"]);
    let prefix = Some("/".to_owned());
    let mine = world.ask(app, Request::GetEphemerals(GetEphemeralsRequest { prefix }));
    let Ok(Some(Response::GetEphemerals(mine))) = mine else { panic!("{mine:?}") };
    assert_eq!(mine.ephemerals, ["/a-0000000000"]);
    // What happens outside is not seen, what happens inside has the client's own path.
    world.create(whole, "/b", CreateMode::Persistent);
    world.create(whole, "/app/b", CreateMode::Persistent);
    assert_eq!(world.watched(app), [told(EventType::NodeChildrenChanged, "/", "child")]);
}

#[test]
fn watches_that_stay_survive_a_reconnect_until_they_are_removed() {
    let mut world = World::new(vec![config("/"), config("/app")]);
    let (whole, app) = (0, 1);
    world.create(whole, "/app", CreateMode::Persistent);
    let add = |path: &str, mode| Request::AddWatch(AddWatchRequest { path: path.to_owned(), mode });
    world.ask(app, add("/p", AddWatchMode::Persistent)).unwrap();
    world.ask(app, add("/r", AddWatchMode::PersistentRecursive)).unwrap();
    world.create(whole, "/app/p", CreateMode::Persistent);
    world.cut(app);
    world.run(Span::secs(3));
    assert!(world.zk(app).is_connected());
    world.set(whole, "/app/p");
    world.create(whole, "/app/r", CreateMode::Persistent);
    world.create(whole, "/app/r/deep", CreateMode::Persistent);
    let before = [
        told(EventType::NodeCreated, "/p", "persistent"),
        told(EventType::NodeDataChanged, "/p", "persistent"),
        told(EventType::NodeCreated, "/r", "recursive"),
        told(EventType::NodeCreated, "/r/deep", "recursive"),
    ];
    assert_eq!(world.watched(app), before);
    for (path, watcher_type) in [("/p", WatcherType::Persistent), ("/r", WatcherType::Any)] {
        world.command(app, Command::RemoveWatches { path: path.to_owned(), watcher_type, local: false });
        assert!(matches!(world.outcome(app), Outcome::Ok { .. }));
    }
    world.set(whole, "/app/p");
    world.create(whole, "/app/r/more", CreateMode::Persistent);
    let removed = [
        told(EventType::PersistentWatchRemoved, "/p", "persistent"),
        told(EventType::PersistentWatchRemoved, "/r", "recursive"),
    ];
    assert_eq!(world.watched(app), [&before[..], &removed[..]].concat());
}

#[test]
fn reconnect_finds_what_happened_to_watched_znodes_meanwhile() {
    let mut world = World::new(vec![config("/"), config("/app")]);
    let (whole, app) = (0, 1);
    for path in ["/app", "/app/d", "/app/c", "/app/gone"] {
        world.create(whole, path, CreateMode::Persistent);
    }
    for request in [get_data("/d", true), get_children("/c", true), get_data("/gone", true), get_data("/", true)] {
        world.ask(app, request).unwrap();
    }
    assert_eq!(world.ask(app, exists("/e", true)), Err(ErrorCode::NoNode));
    world.cut(app);
    world.set(whole, "/app/d");
    world.create(whole, "/app/c/x", CreateMode::Persistent);
    world.create(whole, "/app/e", CreateMode::Persistent);
    world.ask(whole, Request::Delete(DeleteRequest { path: "/app/gone".to_owned(), version: Version::ANY })).unwrap();
    world.run(Span::secs(3));
    assert_eq!(
        world.watched(app),
        [
            told(EventType::NodeDataChanged, "/d", "data"),
            told(EventType::NodeDeleted, "/gone", "data"),
            told(EventType::NodeCreated, "/e", "exist"),
            told(EventType::NodeChildrenChanged, "/c", "child"),
        ]
    );
    assert!(world.zk(app).is_watching(zkclient::WatchKind::Data, "/"), "nothing happened to that one");
}

#[test]
fn identity_is_claimed_again_behind_a_reconnect_and_a_wrong_one_ends_the_client() {
    let digest = AuthInfo { scheme: Arc::from("digest"), auth: Buffer::new(&b"u:p"[..]) };
    let mut owner = config("/");
    owner.auth = vec![digest];
    let mut world = World::new(vec![owner, config("/")]);
    let (owner, other) = (0, 1);
    let acl = Acl { perms: Acl::open()[0].perms, id: Id { scheme: "auth".into(), id: "".into() } };
    let request = CreateRequest { path: "/mine".to_owned(), data: Buffer::NULL, acl: Some(vec![acl]), flags: 0 };
    world.ask(owner, Request::Create2(request)).unwrap();
    let read = || Request::GetData(GetDataRequest { path: "/mine".to_owned(), watch: false });
    assert_eq!(world.ask(other, read()), Err(ErrorCode::NoAuth));
    world.cut(owner);
    world.run(Span::secs(3));
    assert!(world.ask(owner, read()).is_ok());
    let unknown = AuthInfo { scheme: Arc::from("kerberos"), auth: Buffer::NULL };
    world.command(other, Command::AddAuth(unknown));
    assert!(!world.zk(other).is_alive());
    assert_eq!(world.clients[other].machine().events.last(), Some(&ZkEvent::AuthFailed));
}

#[test]
fn pings_keep_a_session_for_ever() {
    let mut world = World::new(vec![config("/")]);
    let session = world.zk(0).session();
    world.run(Span::secs(30));
    assert_eq!((world.zk(0).is_connected(), world.zk(0).session()), (true, session));
}
