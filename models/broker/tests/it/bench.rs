//! A little cluster: one standalone ZooKeeper server, some brokers, and clients driven by hand. Latency and syncs take constant
//! time; there are no faults but those a test makes.

mod clients;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker::{Broker, BrokerConfig, BrokerImage, Costs, Defects, Fact, Message};
use coordinator::{Coordinator, ServerConfig};
use jute::SessionId;
use jute::client::{ClientPacket, ServerFrame};
use kafkawire::{BrokerId, Hosts, KafkaMessage, Wire};
use machine::rig::Rig;
use machine::{Address, Effect, EndId, HostId, Input, Instant, Loss, Machine, Port, Span};
use zkclient::{ZkClientConfig, ZkServer};

const LATENCY: Span = Span::micros(200);
const SYNC: Span = Span::millis(1);
/// The host of the ZooKeeper server; broker N runs on host N.
pub(crate) const ZOOKEEPER: usize = 0;
pub(crate) const KAFKA_PORT: Port = Port(9092);
/// What the brokers ask for; it expires up to a tick later.
pub(crate) const SESSION_TIMEOUT: Span = Span::secs(6);

/// What travels between two hosts.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Zk(ClientPacket),
    Kafka(KafkaMessage),
}

/// A packet that was sent; recorded if the test asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) from: usize,
    /// None to a client of the test.
    pub(crate) to: Option<usize>,
    pub(crate) packet: Packet,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Peer {
    Host(usize, EndId),
    Client(usize),
}

#[derive(Clone, Debug)]
enum Arrival {
    Opened,
    Refused,
    Lost(Loss),
    Packet(Packet),
}

#[derive(Debug)]
enum Event {
    Dial { from: usize, end: EndId, to: usize, port: Port },
    Arrive { from: Option<usize>, to: usize, life: u32, on: EndId, what: Arrival },
    ToClient { client: usize, packet: Option<Packet> },
    Syncs { host: usize, life: u32 },
}

#[derive(Debug)]
enum Machinery {
    Coordinator(Box<Rig<Coordinator>>),
    Broker(Box<Rig<Broker>>),
}

/// What a host wants of the network.
enum Wish {
    Connect { end: EndId, to: Address },
    Listen(Port),
    Unlisten(Port),
    Send { on: EndId, packet: Packet },
    Close(EndId),
    Exit(i32),
}

#[derive(Debug)]
struct Client {
    server: usize,
    end: EndId,
    next: i32,
    session: SessionId,
    received: Vec<Packet>,
    lost: bool,
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Bench {
    hosts: Vec<Machinery>,
    up: Vec<bool>,
    lives: Vec<u32>,
    listening: Vec<BTreeSet<Port>>,
    peers: BTreeMap<(usize, EndId), Peer>,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    now: Instant,
    next_end: u32,
    clients: Vec<Client>,
    cuts: BTreeSet<(usize, usize)>,
    held: Vec<Event>,
    /// Hosts whose device fails every sync.
    failing: BTreeSet<usize>,
    /// Facts of brokers, with the broker's number.
    pub(crate) facts: Vec<(usize, Fact)>,
    pub(crate) marks: Vec<(usize, &'static str)>,
    pub(crate) exits: Vec<(usize, i32)>,
    pub(crate) records: bool,
    /// What was sent while `records` was on.
    pub(crate) sent: Vec<Sent>,
}

fn host_name(broker: usize) -> Arc<str> {
    Arc::from(format!("kafka-{broker}"))
}

fn image_of(broker: usize, brokers: usize) -> BrokerImage {
    let id = BrokerId(i32::try_from(broker).unwrap());
    let mut config = BrokerConfig::new(id, host_name(broker), KAFKA_PORT);
    config.zookeeper_session_timeout = SESSION_TIMEOUT;
    config.zookeeper_connection_timeout = SESSION_TIMEOUT;
    let address = Address { host: HostId(u32::try_from(ZOOKEEPER).unwrap()), port: Port(2181) };
    let zookeeper = ZkClientConfig::new(
        vec![ZkServer { name: Arc::from("zk"), address }],
        SESSION_TIMEOUT.as_millis().try_into().unwrap(),
    );
    BrokerImage {
        config: Arc::new(config),
        zookeeper: Arc::new(zookeeper),
        hosts: Hosts::new((1..=brokers).map(|other| (host_name(other), HostId(u32::try_from(other).unwrap())))),
        defects: Defects::default(),
        wire: Wire::Values,
        costs: Costs::default(),
    }
}

impl Bench {
    /// A running ZooKeeper server and brokers 1 to `brokers`, which are not booted yet. `change` may change their images.
    pub(crate) fn new(brokers: usize, change: impl Fn(usize, &mut BrokerImage)) -> Self {
        let mut server = ServerConfig::standalone();
        server.tick_time = Span::millis(500);
        server.pre_alloc_size_kb = 64;
        let mut hosts = vec![Machinery::Coordinator(Box::new(Rig::new(server, 0)))];
        for broker in 1..=brokers {
            let mut image = image_of(broker, brokers);
            change(broker, &mut image);
            hosts.push(Machinery::Broker(Box::new(Rig::new(image, broker as u64))));
        }
        let size = hosts.len();
        let mut bench = Self {
            hosts,
            up: vec![false; size],
            lives: vec![0; size],
            listening: vec![BTreeSet::new(); size],
            peers: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            now: Instant::from_nanos(1_000_000_000),
            next_end: 1_000_000,
            clients: Vec::new(),
            cuts: BTreeSet::new(),
            held: Vec::new(),
            failing: BTreeSet::new(),
            facts: Vec::new(),
            marks: Vec::new(),
            exits: Vec::new(),
            records: false,
            sent: Vec::new(),
        };
        bench.boot(ZOOKEEPER);
        bench
    }

    /// The same, with all brokers booted one after the other, running, and told by a controller who is alive.
    pub(crate) fn running(brokers: usize, change: impl Fn(usize, &mut BrokerImage)) -> Self {
        let mut bench = Self::new(brokers, change);
        for broker in 1..=brokers {
            bench.boot(broker);
            bench.until(Span::secs(10), "the broker runs", |bench| bench.broker(broker).is_running());
        }
        bench.until(Span::secs(10), "everybody knows everybody", |bench| {
            (1..=brokers).all(|broker| bench.broker(broker).cache().alive.len() == brokers)
        });
        bench
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn broker(&self, broker: usize) -> &Broker {
        match &self.hosts[broker] {
            Machinery::Broker(rig) => rig.machine(),
            Machinery::Coordinator(_) => panic!("host {broker} is no broker"),
        }
    }

    pub(crate) fn zookeeper(&self) -> &Coordinator {
        match &self.hosts[ZOOKEEPER] {
            Machinery::Coordinator(rig) => rig.machine(),
            Machinery::Broker(_) => unreachable!("host 0 is the ZooKeeper server"),
        }
    }

    pub(crate) fn is_up(&self, host: usize) -> bool {
        self.up[host]
    }

    /// Whether a broker's port is open.
    pub(crate) fn is_listening(&self, broker: usize) -> bool {
        self.listening[broker].contains(&KAFKA_PORT)
    }

    /// Starts a process.
    pub(crate) fn boot(&mut self, host: usize) {
        self.set_clock(host);
        match &mut self.hosts[host] {
            Machinery::Coordinator(rig) => rig.boot(),
            Machinery::Broker(rig) => rig.boot(),
        }
        self.up[host] = true;
        self.settle(host);
    }

    /// The process dies; what it wrote stays.
    pub(crate) fn kill(&mut self, host: usize) {
        match &mut self.hosts[host] {
            Machinery::Coordinator(rig) => rig.kill(),
            Machinery::Broker(rig) => rig.kill(),
        }
        self.down(host);
    }

    /// The host loses power, and everything that was not synced.
    pub(crate) fn lose_power(&mut self, host: usize) {
        let key = machine::RunKey([7, host as u64]);
        let mut draw = key.draw(machine::Purpose::new("bench-crash"), host as u64, self.sequence);
        let model = machine::disk::CrashModel::AllUnsyncedLost;
        match &mut self.hosts[host] {
            Machinery::Coordinator(rig) => rig.lose_power(model, &mut draw),
            Machinery::Broker(rig) => rig.lose_power(model, &mut draw),
        }
        self.down(host);
    }

    fn down(&mut self, host: usize) {
        self.up[host] = false;
        self.lives[host] += 1;
        self.listening[host].clear();
        let ends: Vec<_> = self.peers.keys().copied().filter(|(of, _)| *of == host).collect();
        for end in ends {
            self.close(end, Loss::Reset);
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self, broker: usize) {
        self.set_clock(broker);
        match &mut self.hosts[broker] {
            Machinery::Coordinator(rig) => rig.feed(Input::Terminate),
            Machinery::Broker(rig) => rig.feed(Input::Terminate),
        }
        self.settle(broker);
    }

    /// From now on every sync of a broker's fails with EIO.
    pub(crate) fn fail_disk(&mut self, broker: usize) {
        self.failing.insert(broker);
    }

    /// Lends a broker's disk.
    pub(crate) fn disk<R>(&mut self, broker: usize, to: impl FnOnce(&mut dyn machine::disk::Disk) -> R) -> R {
        match &mut self.hosts[broker] {
            Machinery::Coordinator(rig) => to(&mut rig.disk),
            Machinery::Broker(rig) => to(&mut rig.disk),
        }
    }

    /// Holds back everything between two hosts, until [`heal`](Self::heal); connections stay.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.cuts.insert((one.min(other), one.max(other)));
    }

    /// Delivers what was held back between two hosts, in order.
    pub(crate) fn heal(&mut self, one: usize, other: usize) {
        self.cuts.remove(&(one.min(other), one.max(other)));
        for event in std::mem::take(&mut self.held) {
            self.push(LATENCY, event);
        }
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cuts.contains(&(one.min(other), one.max(other)))
    }

    /// Resets every connection between two hosts, and loses what is under way on them; both learn of it.
    pub(crate) fn reset(&mut self, one: usize, other: usize) {
        let between = self.peers.iter().filter_map(|(&(of, end), peer)| match peer {
            Peer::Host(to, there) if of == one && *to == other => Some([(one, end), (other, *there)]),
            Peer::Host(..) | Peer::Client(_) => None,
        });
        let ends: BTreeSet<(usize, EndId)> = between.flatten().collect();
        let stays = |event: &Event| match event {
            Event::Arrive { to, on, what: Arrival::Packet(_), .. } => !ends.contains(&(*to, *on)),
            Event::Arrive { .. } | Event::Dial { .. } | Event::ToClient { .. } | Event::Syncs { .. } => true,
        };
        self.queue.retain(|_, event| stays(event));
        self.held.retain(stays);
        for (host, end) in ends {
            self.peers.remove(&(host, end));
            self.arrive(None, host, end, Arrival::Lost(Loss::Reset));
        }
    }

    fn set_clock(&mut self, host: usize) {
        match &mut self.hosts[host] {
            Machinery::Coordinator(rig) => rig.clock.now = self.now,
            Machinery::Broker(rig) => rig.clock.now = self.now,
        }
    }

    fn next_wake(&self, host: usize) -> Option<Instant> {
        match &self.hosts[host] {
            Machinery::Coordinator(rig) => rig.machine().next_wake(),
            Machinery::Broker(rig) => rig.machine().next_wake(),
        }
    }

    fn push(&mut self, after: Span, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    fn arrive(&mut self, from: Option<usize>, to: usize, on: EndId, what: Arrival) {
        let life = self.lives[to];
        self.push(LATENCY, Event::Arrive { from, to, life, on, what });
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Span) {
        let until = self.now + span;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets time pass until this holds.
    #[track_caller]
    pub(crate) fn until(&mut self, span: Span, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = self.now + span;
        while !holds(self) {
            assert!(self.step(until), "not within {span}: {what}");
        }
    }

    /// One event; false if nothing is due before `until`.
    fn step(&mut self, until: Instant) -> bool {
        let wake = (0..self.hosts.len())
            .filter(|&host| self.up[host])
            .filter_map(|host| Some((self.next_wake(host)?.max(self.now), host)))
            .min();
        let head = self.queue.keys().next().map(|&(at, _)| at);
        let (at, wake) = match (head, wake) {
            (None, None) => return false,
            (Some(at), Some((due, host))) if due < at => (due, Some(host)),
            (Some(at), _) => (at, None),
            (None, Some((due, host))) => (due, Some(host)),
        };
        if at > until {
            return false;
        }
        self.now = at;
        match wake {
            Some(host) => {
                self.set_clock(host);
                match &mut self.hosts[host] {
                    Machinery::Coordinator(rig) => rig.feed(Input::Woken),
                    Machinery::Broker(rig) => rig.feed(Input::Woken),
                }
                self.settle(host);
                let next = self.up[host].then(|| self.next_wake(host)).flatten();
                assert!(next.is_none_or(|next| next > self.now), "a wake retires what was due on host {host}");
            }
            None => {
                let (_, event) = self.queue.pop_first().unwrap();
                self.deliver(event);
            }
        }
        true
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Dial { from, end, to, port } => {
                if self.is_cut(from, to) {
                    return self.held.push(Event::Dial { from, end, to, port });
                }
                if !self.up[from] {
                    return;
                }
                if !self.up[to] || !self.listening[to].contains(&port) {
                    return self.arrive(Some(to), from, end, Arrival::Refused);
                }
                let there = self.fresh_end();
                self.peers.insert((from, end), Peer::Host(to, there));
                self.peers.insert((to, there), Peer::Host(from, end));
                self.accept(to, there, port, from);
                self.arrive(Some(to), from, end, Arrival::Opened);
            }
            Event::Arrive { from, to, life, on, what } => {
                if from.is_some_and(|from| self.is_cut(from, to)) {
                    return self.held.push(Event::Arrive { from, to, life, on, what });
                }
                if self.up[to] && self.lives[to] == life {
                    self.feed(to, on, what);
                }
            }
            Event::ToClient { client, packet: Some(packet) } => {
                if let Packet::Zk(ClientPacket::ToClient(ServerFrame::Connect(response))) = &packet {
                    self.clients[client].session = response.session;
                }
                self.clients[client].received.push(packet);
            }
            Event::ToClient { client, packet: None } => self.clients[client].lost = true,
            Event::Syncs { host, life } => {
                if self.up[host] && self.lives[host] == life {
                    self.set_clock(host);
                    match &mut self.hosts[host] {
                        Machinery::Broker(rig) if self.failing.contains(&host) => {
                            if let Some(&ticket) = rig.pending_syncs().first() {
                                assert!(rig.disk.fail_sync(ticket), "the sync was begun");
                                rig.feed(Input::Durable { ticket, result: Err(machine::disk::DiskError::Io) });
                            }
                        }
                        Machinery::Coordinator(rig) => {
                            rig.finish_syncs();
                        }
                        Machinery::Broker(rig) => {
                            rig.finish_syncs();
                        }
                    }
                    self.settle(host);
                }
            }
        }
    }

    fn fresh_end(&mut self) -> EndId {
        self.next_end += 1;
        EndId(self.next_end)
    }

    fn accept(&mut self, host: usize, on: EndId, port: Port, from: usize) {
        self.set_clock(host);
        let peer = HostId(u32::try_from(from).unwrap());
        match &mut self.hosts[host] {
            Machinery::Coordinator(rig) => rig.feed(Input::Accepted { on, port, peer }),
            Machinery::Broker(rig) => rig.feed(Input::Accepted { on, port, peer }),
        }
        self.settle(host);
    }

    fn feed(&mut self, host: usize, on: EndId, what: Arrival) {
        self.set_clock(host);
        match &mut self.hosts[host] {
            Machinery::Coordinator(rig) => rig.feed(match what {
                Arrival::Opened => Input::Opened { on },
                Arrival::Refused => Input::Refused { on },
                Arrival::Lost(why) => Input::Lost { on, why },
                Arrival::Packet(Packet::Zk(packet)) => {
                    Input::Message { on, message: coordinator::Message::Client(packet) }
                }
                Arrival::Packet(Packet::Kafka(message)) => panic!("a ZooKeeper server was sent {message:?}"),
            }),
            Machinery::Broker(rig) => rig.feed(match what {
                Arrival::Opened => Input::Opened { on },
                Arrival::Refused => Input::Refused { on },
                Arrival::Lost(why) => Input::Lost { on, why },
                Arrival::Packet(Packet::Zk(packet)) => Input::Message { on, message: Message::Zk(packet) },
                Arrival::Packet(Packet::Kafka(message)) => Input::Message { on, message: Message::Kafka(message) },
            }),
        }
        self.settle(host);
    }

    /// Deferred items have their turns at once; effects become events.
    fn settle(&mut self, host: usize) {
        loop {
            for wish in self.wishes(host) {
                self.grant(host, wish);
                if !self.up[host] {
                    return;
                }
            }
            let had_turn = match &mut self.hosts[host] {
                Machinery::Coordinator(rig) => rig.turn(),
                Machinery::Broker(rig) => rig.turn(),
            };
            if !had_turn {
                break;
            }
        }
        let syncs = match &self.hosts[host] {
            Machinery::Coordinator(rig) => rig.pending_syncs().len(),
            Machinery::Broker(rig) => rig.pending_syncs().len(),
        };
        if syncs > 0 {
            let life = self.lives[host];
            self.push(SYNC, Event::Syncs { host, life });
        }
    }

    fn wishes(&mut self, host: usize) -> Vec<Wish> {
        let mut wishes = Vec::new();
        match &mut self.hosts[host] {
            Machinery::Coordinator(rig) => {
                for effect in rig.take_effects() {
                    let packet = |message| match message {
                        coordinator::Message::Client(packet) => Packet::Zk(packet),
                        coordinator::Message::Quorum(_) | coordinator::Message::Election(_) => {
                            panic!("a standalone server has no peers")
                        }
                    };
                    wishes.extend(wish(effect, packet, |_| {}, |_| {}));
                }
            }
            Machinery::Broker(rig) => {
                let (facts, marks) = (&mut self.facts, &mut self.marks);
                for effect in rig.take_effects() {
                    let packet = |message| match message {
                        Message::Kafka(message) => Packet::Kafka(message),
                        Message::Zk(packet) => Packet::Zk(packet),
                    };
                    wishes.extend(wish(
                        effect,
                        packet,
                        |fact| facts.push((host, fact)),
                        |mark| marks.push((host, mark)),
                    ));
                }
            }
        }
        wishes
    }

    fn grant(&mut self, host: usize, wish: Wish) {
        match wish {
            Wish::Connect { end, to } => {
                let to_host = usize::try_from(to.host.0).unwrap();
                self.push(LATENCY, Event::Dial { from: host, end, to: to_host, port: to.port });
            }
            Wish::Listen(port) => {
                self.listening[host].insert(port);
            }
            Wish::Unlisten(port) => {
                self.listening[host].remove(&port);
            }
            Wish::Send { on, packet } => {
                let Some(peer) = self.peers.get(&(host, on)).copied() else { return };
                if self.records {
                    let to = match peer {
                        Peer::Host(to, _) => Some(to),
                        Peer::Client(_) => None,
                    };
                    self.sent.push(Sent { from: host, to, packet: packet.clone() });
                }
                match peer {
                    Peer::Host(to, there) => self.arrive(Some(host), to, there, Arrival::Packet(packet)),
                    Peer::Client(client) => {
                        self.push(LATENCY, Event::ToClient { client, packet: Some(packet) });
                    }
                }
            }
            Wish::Close(end) => self.close((host, end), Loss::Closed),
            Wish::Exit(status) => {
                self.exits.push((host, status));
                self.kill(host);
            }
        }
    }

    fn close(&mut self, end: (usize, EndId), why: Loss) {
        match self.peers.remove(&end) {
            Some(Peer::Host(to, there)) => {
                self.peers.remove(&(to, there));
                self.arrive(Some(end.0), to, there, Arrival::Lost(why));
            }
            Some(Peer::Client(client)) => self.push(LATENCY, Event::ToClient { client, packet: None }),
            None => {}
        }
    }
}

fn wish<M: Machine>(
    effect: Effect<M>,
    packet: impl Fn(M::Message) -> Packet,
    mut state: impl FnMut(M::Fact),
    mut reach: impl FnMut(&'static str),
) -> Option<Wish> {
    Some(match effect {
        Effect::Connect { end, to } => Wish::Connect { end, to },
        Effect::Listen { port } => Wish::Listen(port),
        Effect::Unlisten { port } => Wish::Unlisten(port),
        Effect::Send { on, message } => Wish::Send { on, packet: packet(message) },
        Effect::Close { end } => Wish::Close(end),
        Effect::Exit { status } => Wish::Exit(status),
        Effect::State(fact) => {
            state(fact);
            return None;
        }
        Effect::Reach(mark) => {
            reach(mark);
            return None;
        }
        Effect::Datagram { .. } | Effect::Sync { .. } | Effect::Defer { .. } | Effect::Spend { .. } => {
            unreachable!("not a machine's here, or the rig's own")
        }
    })
}
