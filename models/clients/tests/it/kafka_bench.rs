//! Clients of Kafka against brokers that are played by hand and a real ZooKeeper server, in lockstep of a millisecond.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use clients::kafka::{KafkaClient, KafkaClientFact, KafkaClientMark, KafkaClientMessage, KafkaWorkFact};
use coordinator::{Coordinator, Message, ServerConfig};
use jute::client::{
    ClientFrame, ClientPacket, ConnectRequest, CreateRequest, DeleteRequest, GetChildrenRequest, GetDataRequest,
    Request as ZkRequest, Response as ZkResponse, ServerFrame, SetDataRequest,
};
use jute::data::Acl;
use jute::op::ErrorCode as ZkError;
use jute::{Buffer, SessionId, Version, Xid, Zxid};
use kafkawire::znode::{self, BrokerRegistration, PartitionState, TopicAssignment};
use kafkawire::{ApiKey, BrokerId, ControllerEpoch, ErrorCode, KafkaMessage, LeaderEpoch, Topic, TopicPartition};
use machine::disk::CrashModel;
use machine::rig::Rig;
use machine::{Address, Effect, EndId, HostId, Input, Instant, Loss, Mark as _, Port, Span};

use crate::kafka_brokers::{Asked, Fate, Part};
use crate::kafka_images::Role;

pub(crate) const TOPIC: &str = "orders";
pub(crate) const GROUP: &str = "g";
pub(crate) const ZOOKEEPER: HostId = HostId(100);
pub(crate) const KAFKA_PORT: u16 = 9092;

#[derive(Debug)]
pub(crate) struct Client {
    rig: Rig<KafkaClient>,
    /// Open ends, and the host at the other side.
    pub(crate) ends: BTreeMap<EndId, HostId>,
    /// The coordinator's end of each end to it.
    at_zookeeper: BTreeMap<EndId, EndId>,
    pub(crate) inbox: VecDeque<Input<KafkaClientMessage, machine::Never>>,
    facts: Vec<KafkaClientFact>,
    marks: BTreeSet<&'static str>,
    exit: Option<i32>,
    is_running: bool,
}

pub(crate) struct KafkaBench {
    pub(crate) clients: Vec<Client>,
    zookeeper: Rig<Coordinator>,
    zookeeper_up: bool,
    next_end: u32,
    /// Replies to the bench's own session.
    replies: Vec<(EndId, ServerFrame)>,
    pub(crate) brokers: BTreeMap<i32, bool>,
    pub(crate) parts: BTreeMap<i32, Part>,
    /// Brokers that metadata name; all that are there if not said otherwise.
    pub(crate) metadata: Option<BTreeMap<i32, (i32, i32)>>,
    pub(crate) fates: VecDeque<Fate>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) held: Vec<Asked>,
    /// Broker and partition of each produce request's batches, in order of arrival.
    pub(crate) produced: Vec<(i32, i32)>,
    /// The requests that arrived, by API.
    pub(crate) arrived: BTreeMap<ApiKey, usize>,
    pub(crate) topic_exists: bool,
    pub(crate) controller: i32,
    pub(crate) create_answers: VecDeque<ErrorCode>,
    /// Fetch sessions are kept.
    pub(crate) sessions: bool,
    pub(crate) fetch_sessions: BTreeMap<i32, (i32, BTreeMap<i32, i64>)>,
}

impl KafkaBench {
    /// Three brokers, and a topic with partition `p` led by broker `p mod 3 + 1` in epoch 1.
    pub(crate) fn new(partitions: i32) -> Self {
        let part = |partition| Part {
            leader: partition % 3 + 1,
            epoch: 1,
            batches: Vec::new(),
            high_watermark: None,
            log_start: 0,
        };
        let mut zookeeper = Rig::new(ServerConfig::standalone(), 100);
        zookeeper.boot();
        zookeeper.settle();
        zookeeper.take_effects();
        Self {
            clients: Vec::new(),
            zookeeper,
            zookeeper_up: true,
            next_end: 1_000_000,
            replies: Vec::new(),
            brokers: (1..=3).map(|id| (id, true)).collect(),
            parts: (0..partitions).map(|partition| (partition, part(partition))).collect(),
            metadata: None,
            fates: VecDeque::new(),
            asked: Vec::new(),
            held: Vec::new(),
            produced: Vec::new(),
            arrived: BTreeMap::new(),
            topic_exists: true,
            controller: 1,
            create_answers: VecDeque::new(),
            sessions: true,
            fetch_sessions: BTreeMap::new(),
        }
    }

    pub(crate) fn start(&mut self, image: impl Into<Role>) -> usize {
        let at = self.clients.len();
        let mut rig = Rig::new(image.into().0, at as u64 + 1);
        rig.clock.now = self.now();
        rig.boot();
        self.clients.push(Client {
            rig,
            ends: BTreeMap::new(),
            at_zookeeper: BTreeMap::new(),
            inbox: VecDeque::new(),
            facts: Vec::new(),
            marks: BTreeSet::new(),
            exit: None,
            is_running: true,
        });
        self.pump();
        at
    }

    pub(crate) fn client(&self, at: usize) -> &KafkaClient {
        self.clients[at].rig.machine()
    }

    pub(crate) fn exit(&self, at: usize) -> Option<i32> {
        self.clients[at].exit
    }

    pub(crate) fn now(&self) -> Instant {
        self.zookeeper.clock.now
    }

    /// The process is stopped, or goes on; its clock runs.
    pub(crate) fn pause(&mut self, at: usize, paused: bool) {
        self.clients[at].is_running = !paused;
    }

    /// Power fails under a client, and it boots again.
    pub(crate) fn restart(&mut self, at: usize) {
        let ends: Vec<EndId> = self.clients[at].ends.keys().copied().collect();
        for end in ends {
            self.hang_up(at, end);
        }
        let client = &mut self.clients[at];
        client.inbox.clear();
        let mut draw = machine::RunKey([5, 6]).draw(machine::Purpose::new("test-crash"), 1, 1);
        client.rig.lose_power(CrashModel::AllUnsyncedLost, &mut draw);
        client.rig.boot();
        client.exit = None;
        self.pump();
    }

    pub(crate) fn terminate(&mut self, at: usize) {
        self.clients[at].rig.feed(Input::Terminate);
        self.pump();
    }

    pub(crate) fn run(&mut self, span: Span) {
        for _ in 0..span.as_millis() {
            self.zookeeper.advance(Span::millis(1));
            for client in &mut self.clients {
                if client.is_running && client.exit.is_none() {
                    client.rig.advance(Span::millis(1));
                } else {
                    client.rig.clock.now = client.rig.clock.now + Span::millis(1);
                }
            }
            self.answer_all();
            self.pump();
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
        let pending: Vec<_> = self.clients.iter().map(|client| client.rig.machine().pending()).collect();
        panic!("a minute was not enough: {pending:?}");
    }

    pub(crate) fn pump(&mut self) {
        loop {
            for at in 0..self.clients.len() {
                self.take(at);
            }
            self.take_zookeeper();
            let next = (0..self.clients.len()).find(|&at| {
                let client = &self.clients[at];
                client.is_running && client.exit.is_none() && !client.inbox.is_empty()
            });
            let Some(at) = next else { return };
            let input = self.clients[at].inbox.pop_front().expect("it is not empty");
            self.clients[at].rig.feed(input);
        }
    }

    fn take(&mut self, at: usize) {
        while self.clients[at].rig.finish_syncs() {}
        for effect in self.clients[at].rig.take_effects() {
            match effect {
                Effect::Connect { end, to } => self.on_connect(at, end, to),
                Effect::Send { on, message } => self.on_send(at, on, message),
                Effect::Close { end } => self.hang_up(at, end),
                Effect::State(fact) => self.clients[at].facts.push(fact),
                Effect::Exit { status } => self.clients[at].exit = Some(status),
                Effect::Reach(mark) => drop(self.clients[at].marks.insert(mark)),
                other => panic!("a client wants no {other:?}"),
            }
        }
    }

    fn on_connect(&mut self, at: usize, end: EndId, to: Address) {
        let broker = i32::try_from(to.host.0).unwrap();
        let is_up = if to.host == ZOOKEEPER { self.zookeeper_up } else { self.brokers.get(&broker) == Some(&true) };
        if !is_up {
            return self.clients[at].inbox.push_back(Input::Refused { on: end });
        }
        self.clients[at].ends.insert(end, to.host);
        self.clients[at].inbox.push_back(Input::Opened { on: end });
        if to.host == ZOOKEEPER {
            let theirs = self.fresh_end();
            self.clients[at].at_zookeeper.insert(end, theirs);
            self.zookeeper.feed(Input::Accepted { on: theirs, port: Port(2181), peer: HostId(200) });
        }
    }

    fn fresh_end(&mut self) -> EndId {
        self.next_end += 1;
        EndId(self.next_end)
    }

    /// The client's side of a connection is gone.
    fn hang_up(&mut self, at: usize, end: EndId) {
        self.clients[at].ends.remove(&end);
        if let Some(theirs) = self.clients[at].at_zookeeper.remove(&end) {
            self.zookeeper.feed(Input::Lost { on: theirs, why: Loss::Reset });
        }
        self.asked.retain(|asked| asked.client != at || asked.on != end);
        self.held.retain(|asked| asked.client != at || asked.on != end);
    }

    fn on_send(&mut self, at: usize, on: EndId, message: KafkaClientMessage) {
        let Some(&host) = self.clients[at].ends.get(&on) else { return };
        match message {
            KafkaClientMessage::Zk(packet) => {
                let theirs = self.clients[at].at_zookeeper[&on];
                self.zookeeper.feed(Input::Message { on: theirs, message: Message::Client(packet) });
            }
            KafkaClientMessage::Kafka(KafkaMessage::Request { correlation, version, body }) => {
                *self.arrived.entry(body.api()).or_default() += 1;
                let broker = i32::try_from(host.0).unwrap();
                let since = self.now();
                self.asked.push(Asked { client: at, on, broker, correlation, version, body, since });
            }
            KafkaClientMessage::Kafka(other) => panic!("a client sends no {other:?}"),
        }
    }

    fn take_zookeeper(&mut self) {
        self.zookeeper.settle();
        for effect in self.zookeeper.take_effects() {
            match effect {
                Effect::Send { on, message: Message::Client(packet) } => match self.owner_of(on) {
                    Some((at, end)) => {
                        let message = KafkaClientMessage::Zk(packet);
                        self.clients[at].inbox.push_back(Input::Message { on: end, message });
                    }
                    None => {
                        if let ClientPacket::ToClient(frame) = packet {
                            self.replies.push((on, frame));
                        }
                    }
                },
                Effect::Close { end } => {
                    if let Some((at, end)) = self.owner_of(end) {
                        self.clients[at].ends.remove(&end);
                        self.clients[at].at_zookeeper.remove(&end);
                        self.clients[at].inbox.push_back(Input::Lost { on: end, why: Loss::Closed });
                    }
                }
                _ => {}
            }
        }
    }

    fn owner_of(&self, theirs: EndId) -> Option<(usize, EndId)> {
        self.clients.iter().enumerate().find_map(|(at, client)| {
            client.at_zookeeper.iter().find(|(_, end)| **end == theirs).map(|(&own, _)| (at, own))
        })
    }

    /// A client loses its connections to ZooKeeper, and cannot get new ones until told otherwise.
    pub(crate) fn cut_zookeeper(&mut self, cut: bool) {
        self.zookeeper_up = !cut;
        if cut {
            for at in 0..self.clients.len() {
                self.lose_zookeeper(at);
            }
        }
        self.pump();
    }

    /// A client's connection to ZooKeeper is reset.
    pub(crate) fn lose_zookeeper(&mut self, at: usize) {
        let ends: Vec<EndId> = self.clients[at].at_zookeeper.keys().copied().collect();
        for end in ends {
            self.hang_up(at, end);
            self.clients[at].inbox.push_back(Input::Lost { on: end, why: Loss::Reset });
        }
    }

    /// A broker dies, or comes back.
    pub(crate) fn set_broker(&mut self, broker: i32, up: bool) {
        self.brokers.insert(broker, up);
        if !up {
            for at in 0..self.clients.len() {
                self.lose_broker(at, broker);
            }
        }
        self.pump();
    }

    /// A client's connections to a broker are reset.
    pub(crate) fn lose_broker(&mut self, at: usize, broker: i32) {
        let host = HostId(broker.unsigned_abs());
        let ends: Vec<EndId> =
            self.clients[at].ends.iter().filter(|(_, other)| **other == host).map(|(&end, _)| end).collect();
        for end in ends {
            self.hang_up(at, end);
            self.clients[at].inbox.push_back(Input::Lost { on: end, why: Loss::Reset });
        }
    }

    /// Another broker leads a partition from now on.
    pub(crate) fn elect(&mut self, partition: i32, leader: i32) {
        let part = self.parts.get_mut(&partition).unwrap();
        part.leader = leader;
        part.epoch += 1;
    }

    /// What a client said of its work.
    pub(crate) fn said(&self, at: usize) -> impl Iterator<Item = &KafkaWorkFact> {
        self.clients[at].facts.iter().filter_map(|fact| match fact {
            KafkaClientFact::Work(fact) => Some(fact),
            KafkaClientFact::Session(_) => None,
        })
    }

    pub(crate) fn count(&self, at: usize, is: impl Fn(&KafkaWorkFact) -> bool) -> usize {
        self.said(at).filter(|fact| is(fact)).count()
    }

    pub(crate) fn reached(&self, at: usize, mark: KafkaClientMark) -> bool {
        self.clients[at].marks.contains(mark.name())
    }

    /// Offsets a client consumed from a partition, in order.
    pub(crate) fn consumed(&self, at: usize, of: i32) -> Vec<i64> {
        let offset_of = |fact: &KafkaWorkFact| match fact {
            KafkaWorkFact::RecordConsumed { partition, offset, .. } if *partition == of => Some(offset.0),
            _ => None,
        };
        self.said(at).filter_map(offset_of).collect()
    }

    /// The bench's own request to ZooKeeper, in a session of its own.
    pub(crate) fn zk(&mut self, request: ZkRequest) -> Result<Option<ZkResponse>, ZkError> {
        let end = self.fresh_end();
        self.zookeeper.feed(Input::Accepted { on: end, port: Port(2181), peer: HostId(199) });
        let connect = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 40_000,
            session: SessionId::ZERO,
            password: Buffer::new(vec![0; 16]),
            read_only: Some(false),
        };
        let mut answer = None;
        for frame in [ClientFrame::Connect(connect), ClientFrame::Request { xid: Xid::new(1), request }] {
            let message = Message::Client(ClientPacket::ToServer(frame));
            self.zookeeper.feed(Input::Message { on: end, message });
            for _ in 0..50 {
                self.take_zookeeper();
                if let Some(found) = self.replies.iter().position(|(on, _)| *on == end) {
                    answer = Some(self.replies.remove(found).1);
                    break;
                }
                self.zookeeper.advance(Span::ZERO);
            }
        }
        self.zookeeper.feed(Input::Lost { on: end, why: Loss::Reset });
        self.pump();
        let Some(ServerFrame::Reply { header, response }) = answer else { panic!("no reply but {answer:?}") };
        if header.err == ZkError::Ok { Ok(response) } else { Err(header.err) }
    }

    /// Creates a znode with its parents, or sets its data.
    pub(crate) fn put(&mut self, path: &str, data: Bytes) {
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).filter(|&at| at > 0).collect();
        for end in ends {
            assert!(matches!(self.create(&path[..end], Bytes::new()), Ok(()) | Err(ZkError::NodeExists)));
        }
        if self.create(path, data.clone()) == Err(ZkError::NodeExists) {
            let data = Buffer::new(data);
            self.zk(ZkRequest::SetData(SetDataRequest { path: path.to_owned(), data, version: Version::ANY })).unwrap();
        }
    }

    fn create(&mut self, path: &str, data: Bytes) -> Result<(), ZkError> {
        let request =
            CreateRequest { path: path.to_owned(), data: Buffer::new(data), acl: Some(Acl::open()), flags: 0 };
        self.zk(ZkRequest::Create(request)).map(drop)
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.zk(ZkRequest::Delete(DeleteRequest { path: path.to_owned(), version: Version::ANY })).unwrap();
    }

    /// The data of a znode.
    pub(crate) fn data(&mut self, path: &str) -> Option<Bytes> {
        match self.zk(ZkRequest::GetData(GetDataRequest { path: path.to_owned(), watch: false })) {
            Ok(Some(ZkResponse::GetData(got))) => Some(got.data.bytes().cloned().unwrap_or_default()),
            Err(ZkError::NoNode) => None,
            other => panic!("getData is answered by {other:?}"),
        }
    }

    pub(crate) fn children(&mut self, path: &str) -> Vec<String> {
        match self.zk(ZkRequest::GetChildren2(GetChildrenRequest { path: path.to_owned(), watch: false })) {
            Ok(Some(ZkResponse::GetChildren2(got))) => got.children,
            Err(ZkError::NoNode) => Vec::new(),
            other => panic!("getChildren is answered by {other:?}"),
        }
    }

    /// The group's committed offset.
    pub(crate) fn committed(&mut self, partition: i32) -> Option<i64> {
        let path = znode::consumer_offset(GROUP, &TopicPartition::new(TOPIC, partition));
        self.data(&path).map(|data| znode::decode_offset(&data).unwrap().0)
    }

    pub(crate) fn register_broker(&mut self, id: i32) {
        let registration = BrokerRegistration::new(format!("kafka-{id}"), KAFKA_PORT, None, 0);
        self.put(&znode::broker_id(BrokerId(id)), registration.encode());
    }

    /// Writes brokers, topic and states as they are.
    pub(crate) fn write_cluster(&mut self) {
        for id in self.brokers.keys().copied().collect::<Vec<_>>() {
            self.register_broker(id);
        }
        let partitions = self.parts.keys().map(|&partition| (partition, vec![BrokerId(1), BrokerId(2), BrokerId(3)]));
        let assignment = TopicAssignment { partitions: partitions.collect() };
        self.put(&znode::topic(&Topic::from(TOPIC)), assignment.encode());
        for partition in self.parts.keys().copied().collect::<Vec<_>>() {
            self.write_state(partition);
        }
    }

    pub(crate) fn write_state(&mut self, partition: i32) {
        let part = &self.parts[&partition];
        let state = PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: Some(BrokerId(part.leader)),
            leader_epoch: LeaderEpoch(part.epoch),
            isr: vec![BrokerId(part.leader)],
        };
        self.put(&znode::partition_state(&TopicPartition::new(TOPIC, partition)), state.encode());
    }

    /// How each record of a client ended: sent, acknowledged, failed surely, failed unknown. Panics if one ended twice.
    pub(crate) fn outcomes(&self, at: usize) -> [usize; 4] {
        let mut open = BTreeSet::new();
        let mut counts = [0; 4];
        for fact in self.said(at) {
            match fact {
                KafkaWorkFact::RecordSent { record, .. } => {
                    assert!(open.insert(*record), "{record} is sent once");
                    counts[0] += 1;
                }
                KafkaWorkFact::RecordAcknowledged { record, .. } => {
                    assert!(open.remove(record), "{record} ends once");
                    counts[1] += 1;
                }
                KafkaWorkFact::RecordFailed { record, surely, .. } => {
                    assert!(open.remove(record), "{record} ends once");
                    counts[if *surely { 2 } else { 3 }] += 1;
                }
                _ => {}
            }
        }
        counts
    }
}
