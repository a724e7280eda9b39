//! The bench: replica managers without the rest of their brokers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use broker::cache::MetadataCache;
use broker::cx::{Answer, Ask, Cx, Identity, RequestId};
use broker::fact::KafkaFact;
use broker::replication::ReplicaManager;
use broker::zookeeper::{ZkBatch, ZkError, ZkOwner, ZkRequest, ZkResult};
use broker::{Broker, BrokerConfig, BrokerImage, Costs, Defect, Defects, Fact, Message, Work};
use bytes::Bytes;
use commitlog::{Loading, LogManager};
use jute::client::{GetDataResponse, Response as ZkResponse, SetDataResponse};
use jute::data::Stat;
use jute::op::ErrorCode as ZkCode;
use jute::{Buffer, Version as ZkVersion};
use kafkawire::messages::fetch_response::PartitionData;
use kafkawire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafkawire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafkawire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafkawire::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafkawire::messages::produce_response::PartitionProduceResponse;
use kafkawire::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use kafkawire::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest, UpdateMetadataRequest};
use kafkawire::{
    BrokerEpoch, BrokerId, Correlation, ErrorCode, Hosts, KafkaMessage, Offset, Request, Response, StrBytes,
    TopicPartition, Version, Wire, znode,
};
use machine::disk::{CrashModel, Metadata, PageCache};
use machine::{
    Address, Clock, Effect, EndId, HostId, Input, InputOf, Instant, Io, Lane, Loss, Numbers, Port, Purpose, RunKey,
    Span, Ticket,
};
use zkclient::{ZkClientConfig, ZkServer};

use crate::replication::asking::{
    Asking, consumer_fetch, leader_and_isr, partition_error, produce, values_in, wire_ids,
};

const KEY: RunKey = RunKey([7, 0x5EED]);
const PORT: Port = Port(9092);

/// The one partition most tests are about.
pub(crate) fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

pub(crate) fn wire_name(name: &str) -> kafkawire::messages::TopicName {
    kafkawire::messages::TopicName(StrBytes::from_string(name.to_owned()))
}

/// A partition's state, as a controller writes it.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) tp: TopicPartition,
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    pub(crate) isr: Vec<i32>,
    pub(crate) replicas: Vec<i32>,
    pub(crate) version: i32,
}

impl State {
    /// `orders-0` with all three replicas in sync.
    pub(crate) fn new(leader: i32, epoch: i32) -> Self {
        Self { tp: orders(), leader, epoch, isr: vec![1, 2, 3], replicas: vec![1, 2, 3], version: epoch }
    }

    pub(crate) fn isr(mut self, isr: &[i32]) -> Self {
        self.isr = isr.to_vec();
        self
    }

    pub(crate) fn replicas(mut self, replicas: &[i32]) -> Self {
        self.replicas = replicas.to_vec();
        self
    }

    pub(crate) fn of(mut self, tp: TopicPartition) -> Self {
        self.tp = tp;
        self
    }

    fn payload(&self) -> Bytes {
        znode::PartitionState {
            controller_epoch: kafkawire::ControllerEpoch(1),
            leader: Some(BrokerId(self.leader)),
            leader_epoch: kafkawire::LeaderEpoch(self.epoch),
            isr: self.isr.iter().map(|&id| BrokerId(id)).collect(),
        }
        .encode()
    }
}

/// What a broker's process leaves when it dies, and what it has while it runs.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    image: Arc<BrokerImage>,
    identity: Identity,
    cache: MetadataCache,
    pub(crate) disk: PageCache,
    numbers: Numbers,
    manager: Option<ReplicaManager>,
    turns: VecDeque<(Lane, Work)>,
    syncs: Vec<Ticket>,
    pub(crate) facts: Vec<KafkaFact>,
    pub(crate) marks: Vec<&'static str>,
    pub(crate) answers: BTreeMap<u64, Answer>,
    pub(crate) failed: bool,
}

/// Where a fetcher's end leads.
#[derive(Clone, Copy, Debug)]
struct Wired {
    to: i32,
}

/// Something on its way between two brokers.
#[derive(Clone, Debug)]
enum Flight {
    Opened { to: i32, end: EndId },
    Refused { to: i32, end: EndId },
    Lost { to: i32, end: EndId },
    Request { from: i32, to: i32, end: EndId, message: KafkaMessage },
    Response { from: i32, to: i32, end: EndId, message: KafkaMessage },
}

/// A request that another broker asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    by: i32,
    end: EndId,
    correlation: Correlation,
    version: Version,
}

/// The brokers of a test.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) nodes: BTreeMap<i32, Node>,
    pub(crate) now: Instant,
    next_request: u64,
    wires: BTreeMap<(i32, EndId), Wired>,
    flights: VecDeque<Flight>,
    asked: BTreeMap<(i32, u64), Asked>,
    /// Pairs of brokers that do not hear each other.
    cuts: BTreeSet<(i32, i32)>,
    held: Vec<Flight>,
    /// Znodes: data and version.
    pub(crate) znodes: BTreeMap<String, (Bytes, i32)>,
    /// Batches that the test answers itself, if it wants to.
    pub(crate) zk: VecDeque<(i32, ZkBatch)>,
    /// Whether ZooKeeper answers by itself.
    pub(crate) zk_answers: bool,
    /// Whether syncs finish by themselves.
    pub(crate) disk_answers: bool,
}

fn image(id: i32, defects: &[Defect], change: &dyn Fn(&mut BrokerConfig)) -> BrokerImage {
    let mut config = BrokerConfig::new(BrokerId(id), format!("kafka-{id}"), PORT);
    change(&mut config);
    let zk = Address { host: HostId(0), port: Port(2181) };
    let zookeeper = ZkClientConfig::new(vec![ZkServer { name: Arc::from("zk"), address: zk }], 6000);
    let host = |id: u32| (Arc::from(format!("kafka-{id}")), HostId(id));
    BrokerImage {
        config: Arc::new(config),
        zookeeper: Arc::new(zookeeper),
        hosts: Hosts::new((1..=4).map(host)),
        defects: defects.iter().copied().collect::<Defects>(),
        wire: Wire::Bytes,
        costs: Costs::default(),
    }
}

impl Bench {
    /// Brokers 1 to `brokers`, which run and lead nothing.
    pub(crate) fn new(brokers: i32) -> Self {
        Self::with(brokers, &[], &|_| {})
    }

    pub(crate) fn with(brokers: i32, defects: &[Defect], change: &dyn Fn(&mut BrokerConfig)) -> Self {
        let nodes = (1..=brokers).map(|id| {
            let node = Node {
                id,
                image: Arc::new(image(id, defects, change)),
                identity: Identity { epoch: Some(BrokerEpoch(10 * i64::from(id))), ..Identity::default() },
                cache: MetadataCache::default(),
                disk: PageCache::new(Metadata::Journaled),
                numbers: Numbers::default(),
                manager: None,
                turns: VecDeque::new(),
                syncs: Vec::new(),
                facts: Vec::new(),
                marks: Vec::new(),
                answers: BTreeMap::new(),
                failed: false,
            };
            (id, node)
        });
        let mut this = Self {
            nodes: nodes.collect(),
            now: Instant::ZERO + Span::secs(100),
            next_request: 0,
            wires: BTreeMap::new(),
            flights: VecDeque::new(),
            asked: BTreeMap::new(),
            cuts: BTreeSet::new(),
            held: Vec::new(),
            znodes: BTreeMap::new(),
            zk: VecDeque::new(),
            zk_answers: true,
            disk_answers: true,
        };
        for id in 1..=brokers {
            this.boot(id);
        }
        this.tell_alive(&(1..=brokers).collect::<Vec<_>>());
        this
    }

    /// Starts a broker on what its disk holds.
    pub(crate) fn boot(&mut self, id: i32) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(node.manager.is_none(), "broker {id} runs");
        let effects = node.with_cx(now, |cx| {
            let mut loading = Loading::begin("kafka-logs", &cx.image.config.log, cx.io).unwrap();
            while loading.next(cx.io).unwrap().is_some() {}
            let logs: LogManager = loading.finish(cx.io).unwrap();
            ReplicaManager::start(logs, cx)
        });
        node.manager = Some(effects);
        self.settle();
    }

    pub(crate) fn manager(&self, id: i32) -> &ReplicaManager {
        self.nodes[&id].manager.as_ref().expect("the broker runs")
    }

    /// Kills a broker: its page cache stays.
    pub(crate) fn kill(&mut self, id: i32) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.manager = None;
        node.turns.clear();
        node.answers.clear();
        // The kernel goes on writing.
        for ticket in std::mem::take(&mut node.syncs) {
            node.disk.harden(ticket);
        }
        node.cache = MetadataCache::default();
        let ends: Vec<_> = self.wires.iter().map(|(&at, &wired)| (at, wired)).collect();
        for ((from, end), wired) in ends {
            if from == id || wired.to == id {
                self.wires.remove(&(from, end));
                if from != id {
                    self.flights.push_back(Flight::Lost { to: from, end });
                }
            }
        }
        self.asked.retain(|&(at, _), asked| at != id && asked.by != id);
        self.held.retain(|flight| !flight.concerns(id));
        self.settle();
    }

    /// Kills a broker and loses what was not durable.
    pub(crate) fn lose_power(&mut self, id: i32, model: CrashModel) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.syncs.clear();
        let mut draw = KEY.draw(Purpose::new("bench-power-loss"), u64::from(id.unsigned_abs()), self.now.as_nanos());
        node.disk.lose_power(model, &mut draw);
        self.kill(id);
    }

    /// Whether two brokers hear each other.
    pub(crate) fn cut(&mut self, a: i32, b: i32) {
        self.cuts.insert((a.min(b), a.max(b)));
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.flights.extend(std::mem::take(&mut self.held));
        self.settle();
    }

    /// Lets so many messages through between two brokers that do not hear each other.
    pub(crate) fn let_through(&mut self, a: i32, b: i32, messages: usize) {
        let pair = (a.min(b), a.max(b));
        for _ in 0..messages {
            let at =
                self.held.iter().position(|flight| flight.ends().is_some_and(|(a, b)| (a.min(b), a.max(b)) == pair));
            let flight = self.held.remove(at.expect("a message is held"));
            self.cuts.remove(&pair);
            self.deliver(flight);
            self.cuts.insert(pair);
            self.settle();
        }
    }

    /// Feeds a broker and collects what it wants.
    fn feed<R>(&mut self, id: i32, to: impl FnOnce(&mut ReplicaManager, &mut Cx<'_, '_>) -> R) -> Option<R> {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        let mut manager = node.manager.take()?;
        let mut flights = Vec::new();
        let mut asks = VecDeque::new();
        let result = node.run(now, &mut flights, &mut asks, |cx| to(&mut manager, cx));
        manager.check_invariants();
        node.manager = Some(manager);
        for ask in asks {
            self.on_ask(id, ask);
        }
        for effect in flights {
            self.on_effect(id, effect);
        }
        Some(result)
    }

    fn on_ask(&mut self, id: i32, ask: Ask) {
        match ask {
            Ask::Zk(batch) => self.zk.push_back((id, batch)),
            Ask::Answer { to, answer } => {
                let Some(asked) = self.asked.remove(&(id, to.number)) else {
                    let before = self.nodes.get_mut(&id).unwrap().answers.insert(to.number, answer);
                    assert!(before.is_none(), "a request is answered once");
                    return;
                };
                let Answer::Response(response) = answer else { panic!("a fetcher was answered by {answer:?}") };
                let message = KafkaMessage::response(asked.correlation, asked.version, response);
                self.flights.push_back(Flight::Response { from: id, to: asked.by, end: asked.end, message });
            }
            Ask::LogDirFailed(_) => self.nodes.get_mut(&id).unwrap().failed = true,
            Ask::MetadataChanged => {}
            other @ (Ask::Controller(_)
            | Ask::ExpireProcessed
            | Ask::Watch(_)
            | Ask::Unwatch(_)
            | Ask::ControllerStopped) => panic!("replication asked {other:?}"),
        }
    }

    fn on_effect(&mut self, id: i32, effect: Effect<Broker>) {
        match effect {
            Effect::Connect { end, to } => {
                let to = i32::try_from(to.host.0).unwrap();
                if self.nodes.get(&to).is_some_and(|node| node.manager.is_some()) {
                    self.wires.insert((id, end), Wired { to });
                    self.flights.push_back(Flight::Opened { to: id, end });
                } else {
                    self.flights.push_back(Flight::Refused { to: id, end });
                }
            }
            Effect::Send { on, message: Message::Kafka(message) } => {
                if let Some(wired) = self.wires.get(&(id, on)) {
                    self.flights.push_back(Flight::Request { from: id, to: wired.to, end: on, message });
                }
            }
            Effect::Close { end } => {
                self.wires.remove(&(id, end));
            }
            other => panic!("replication wanted {other:?}"),
        }
    }

    /// Delivers and runs until nothing happens any more.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(flight) = self.flights.pop_front() {
                self.deliver(flight);
                continue;
            }
            let due = self.nodes.values_mut().find_map(|node| node.turns.pop_front().map(|turn| (node.id, turn)));
            if let Some((id, (_, work))) = due {
                let Work::Replication(work) = work else { panic!("replication deferred {work:?}") };
                self.feed(id, |manager, cx| manager.turn(work, cx));
                continue;
            }
            if self.disk_answers && self.sync_once() {
                continue;
            }
            let config = self.zk.iter().position(|(_, batch)| self.zk_answers || batch.owner == ZkOwner::TopicConfigs);
            if let Some(at) = config {
                let (id, batch) = self.zk.remove(at).unwrap();
                let results = batch.requests.iter().map(|request| self.zk_result(request)).collect();
                self.answer_zk(id, &batch.owner, results);
                continue;
            }
            return;
        }
    }

    /// Finishes the oldest sync; false if there is none.
    pub(crate) fn sync_once(&mut self) -> bool {
        let due = self.nodes.values_mut().find(|node| !node.syncs.is_empty() && node.manager.is_some());
        let Some(node) = due else { return false };
        let (id, ticket) = (node.id, node.syncs.remove(0));
        node.disk.harden(ticket);
        self.feed(id, |manager, cx| {
            assert!(manager.owns_ticket(ticket));
            manager.on_durable(ticket, Ok(()), cx);
        });
        true
    }

    /// What the test's ZooKeeper says.
    pub(crate) fn zk_result(&mut self, request: &ZkRequest) -> ZkResult {
        let stat = |version: i32| Stat { version: ZkVersion::new(version), ..Stat::default() };
        match request {
            ZkRequest::GetData { path } => match self.znodes.get(path) {
                Some((data, version)) => Ok(Some(ZkResponse::GetData(GetDataResponse {
                    data: Buffer::new(data.clone()),
                    stat: stat(*version),
                }))),
                None => Err(ZkError::Code(ZkCode::NoNode)),
            },
            ZkRequest::SetData { path, data, version } => match self.znodes.get_mut(path) {
                Some(znode) if znode.1 == *version => {
                    *znode = (data.clone(), version + 1);
                    Ok(Some(ZkResponse::SetData(SetDataResponse { stat: stat(version + 1) })))
                }
                Some(_) => Err(ZkError::Code(ZkCode::BadVersion)),
                None => Err(ZkError::Code(ZkCode::NoNode)),
            },
            ZkRequest::Create { path, data, .. } => {
                self.znodes.insert(path.clone(), (data.clone(), 0));
                Ok(None)
            }
            other => panic!("replication asked ZooKeeper {other:?}"),
        }
    }

    pub(crate) fn answer_zk(&mut self, id: i32, owner: &ZkOwner, results: Vec<ZkResult>) {
        self.feed(id, |manager, cx| match owner {
            ZkOwner::Isr(tp) => manager.on_isr_written(tp, results, cx),
            ZkOwner::IsrPropagation => manager.on_isr_propagated(results, cx),
            ZkOwner::TopicConfigs => manager.on_topic_configs(results, cx),
            other => panic!("replication does not own {other:?}"),
        });
    }

    fn deliver(&mut self, flight: Flight) {
        if flight.ends().is_some_and(|(a, b)| self.cuts.contains(&(a.min(b), a.max(b)))) {
            self.held.push(flight);
            return;
        }
        let input: (i32, InputOf<kafkawire::Link>) = match flight {
            Flight::Opened { to, end } => (to, Input::Opened { on: end }),
            Flight::Refused { to, end } => (to, Input::Refused { on: end }),
            Flight::Lost { to, end } => (to, Input::Lost { on: end, why: Loss::Reset }),
            Flight::Response { to, end, message, .. } => {
                if !self.wires.contains_key(&(to, end)) {
                    return;
                }
                (to, Input::Message { on: end, message: message.through_bytes() })
            }
            Flight::Request { from, to, end, message } => {
                let KafkaMessage::Request { correlation, version, body } = message.through_bytes() else {
                    panic!("a fetcher sent a response")
                };
                let number = self.number();
                self.asked.insert((to, number), Asked { by: from, end, correlation, version });
                self.dispatch(to, number, version, &body);
                return;
            }
        };
        let (to, input) = input;
        self.feed(to, |manager, cx| manager.handle(input, cx));
    }

    fn number(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    fn dispatch(&mut self, id: i32, number: u64, version: Version, body: &Request) {
        let to = RequestId { on: EndId(0), number };
        self.feed(id, |manager, cx| match body {
            Request::Produce(body) => manager.produce(to, body, version, cx),
            Request::Fetch(body) => manager.fetch(to, body, version, cx),
            Request::ListOffsets(body) => manager.list_offsets(to, body, version, cx),
            Request::OffsetForLeaderEpoch(body) => manager.offset_for_leader_epoch(to, body, cx),
            Request::LeaderAndIsr(body) => manager.leader_and_isr(to, body, cx),
            Request::StopReplica(body) => manager.stop_replica(to, body, cx),
            Request::UpdateMetadata(body) => manager.update_metadata(to, body, cx),
            other => panic!("{other:?} is not for replication"),
        });
    }

    /// Asks a broker something, without letting anything else happen.
    pub(crate) fn ask_only(&mut self, id: i32, body: impl Into<Asking>) -> u64 {
        let Asking(version, body) = body.into();
        let number = self.number();
        self.dispatch(id, number, version, &body);
        number
    }

    /// Asks a broker something; returns the number of the request.
    pub(crate) fn ask(&mut self, id: i32, body: impl Into<Asking>) -> u64 {
        let number = self.ask_only(id, body);
        self.settle();
        number
    }

    /// Takes the answer to a request; none if there is none yet.
    pub(crate) fn answer(&mut self, id: i32, number: u64) -> Option<Answer> {
        self.nodes.get_mut(&id).unwrap().answers.remove(&number)
    }

    pub(crate) fn response(&mut self, id: i32, number: u64) -> Response {
        match self.answer(id, number) {
            Some(Answer::Response(response)) => response,
            other => panic!("request {number} to broker {id} was answered by {other:?}"),
        }
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, span: Span) {
        let until = self.now + span;
        loop {
            self.settle();
            let running = self.nodes.values().filter_map(|node| Some((node.manager.as_ref()?.next_wake()?, node.id)));
            let Some((due, id)) = running.min().filter(|&(due, _)| due <= until) else { break };
            self.now = self.now.max(due);
            self.feed(id, |manager, cx| manager.handle(Input::Woken, cx));
            let now = self.now;
            assert!(self.manager(id).next_wake().is_none_or(|next| next > now), "a wake retires what was due");
        }
        self.now = until;
        self.settle();
    }

    // As controller.

    /// Tells every broker that runs who is alive.
    pub(crate) fn tell_alive(&mut self, alive: &[i32]) {
        self.tell_metadata(alive, &[]);
    }

    pub(crate) fn tell_metadata(&mut self, alive: &[i32], states: &[State]) {
        let live = alive.iter().map(|&id| {
            let endpoint = UpdateMetadataEndpoint::default()
                .with_host(StrBytes::from_string(format!("kafka-{id}")))
                .with_port(i32::from(PORT.0))
                .with_listener(StrBytes::from_static_str("PLAINTEXT"));
            UpdateMetadataBroker::default().with_id(id.into()).with_endpoints(vec![endpoint])
        });
        let topics = states.iter().map(|state| {
            let partition = UpdateMetadataPartitionState::default()
                .with_partition_index(state.tp.partition)
                .with_controller_epoch(1)
                .with_leader(state.leader.into())
                .with_leader_epoch(state.epoch)
                .with_isr(wire_ids(&state.isr))
                .with_zk_version(state.version)
                .with_replicas(wire_ids(&state.replicas));
            UpdateMetadataTopicState::default()
                .with_topic_name(state.tp.topic.wire())
                .with_partition_states(vec![partition])
        });
        let request = UpdateMetadataRequest::default()
            .with_controller_id(1.into())
            .with_controller_epoch(1)
            .with_broker_epoch(-1)
            .with_topic_states(topics.collect())
            .with_live_brokers(live.collect());
        for id in self.running() {
            let number = self.ask(id, request.clone());
            assert!(matches!(self.response(id, number), Response::UpdateMetadata(_)));
        }
    }

    fn running(&self) -> Vec<i32> {
        self.nodes.values().filter(|node| node.manager.is_some()).map(|node| node.id).collect()
    }

    /// Writes a state to ZooKeeper, and tells it to the replicas that run, the leader first, and to everybody's cache.
    pub(crate) fn elect(&mut self, state: &State) {
        self.write_state(state);
        let alive = self.running();
        let mut replicas: Vec<i32> = state.replicas.iter().copied().filter(|id| alive.contains(id)).collect();
        replicas.sort_by_key(|&id| (id != state.leader, id));
        for id in replicas {
            let error = self.tell(id, state);
            assert_eq!(error, ErrorCode::None, "LeaderAndIsr of {state:?} to {id}");
        }
        self.tell_metadata(&alive, std::slice::from_ref(state));
    }

    pub(crate) fn write_state(&mut self, state: &State) {
        self.znodes.insert(znode::partition_state(&state.tp), (state.payload(), state.version));
    }

    /// Sends LeaderAndIsr for one partition to one broker; returns the partition's error.
    pub(crate) fn tell(&mut self, id: i32, state: &State) -> ErrorCode {
        let number = self.ask(id, leader_and_isr(std::slice::from_ref(state)));
        match self.response(id, number) {
            Response::LeaderAndIsr(response) => partition_error(&response),
            other => panic!("LeaderAndIsr was answered by {other:?}"),
        }
    }

    // As client.

    /// Produces one record; returns the number of the request.
    pub(crate) fn produce(&mut self, id: i32, value: &str, acks: i16) -> u64 {
        self.ask(id, produce(&orders(), value, acks))
    }

    /// The one partition's answer to a produce.
    pub(crate) fn produced(&mut self, id: i32, number: u64) -> (ErrorCode, Offset) {
        match self.response(id, number) {
            Response::Produce(response) => {
                let answer: &PartitionProduceResponse = &response.responses[0].partition_responses[0];
                (ErrorCode::from_code(answer.error_code).unwrap(), Offset(answer.base_offset))
            }
            other => panic!("a produce was answered by {other:?}"),
        }
    }

    /// Fetches at once, as a consumer.
    pub(crate) fn consume(&mut self, id: i32, from: i64) -> PartitionData {
        let number = self.ask(id, consumer_fetch(&orders(), from, 0));
        let Response::Fetch(response) = self.response(id, number) else { panic!("a fetch is answered by a fetch") };
        response.responses[0].partitions[0].clone()
    }

    pub(crate) fn latest(&mut self, id: i32) -> ListOffsetsPartitionResponse {
        self.list(id, -1)
    }

    pub(crate) fn list(&mut self, id: i32, timestamp: i64) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(wire_name("orders")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let number = self.ask(id, request);
        let Response::ListOffsets(response) = self.response(id, number) else { panic!("ListOffsets answers itself") };
        response.topics[0].partitions[0].clone()
    }

    pub(crate) fn epoch_end(&mut self, id: i32, current: i32, epoch: i32) -> EpochEndOffset {
        let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default().with_topic(wire_name("orders")).with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_replica_id(2.into()).with_topics(vec![topic]);
        let number = self.ask(id, request);
        let Response::OffsetForLeaderEpoch(response) = self.response(id, number) else { panic!("it answers itself") };
        response.topics[0].partitions[0].clone()
    }

    // What there is to see.

    pub(crate) fn log_end(&self, id: i32) -> i64 {
        self.manager(id).log(&orders()).map_or(-1, |log| log.log_end().0)
    }

    pub(crate) fn high_watermark(&self, id: i32) -> i64 {
        self.manager(id).log(&orders()).map_or(-1, |log| log.high_watermark().0)
    }

    pub(crate) fn isr(&self, id: i32) -> Vec<i32> {
        let partition = self.manager(id).partition(&orders()).expect("the partition is hosted");
        partition.isr().iter().map(|broker| broker.0).collect()
    }

    /// The values in a broker's log.
    pub(crate) fn values(&mut self, id: i32) -> Vec<String> {
        self.values_of(id, &orders())
    }

    pub(crate) fn values_of(&mut self, id: i32, tp: &TopicPartition) -> Vec<String> {
        self.feed(id, |manager, cx| {
            let log = manager.log(tp).expect("the partition has a log");
            let mut values = Vec::new();
            let mut from = log.log_start();
            while from < log.log_end() {
                let read = log.read(from, 1 << 20, log.log_end(), true, cx.io).unwrap();
                values.extend(values_in(&read.bytes));
                from = read.next_offset;
            }
            values
        })
        .expect("the broker runs")
    }

    /// How many facts of a kind a broker stated since it was last asked.
    pub(crate) fn take_facts(&mut self, id: i32) -> Vec<KafkaFact> {
        std::mem::take(&mut self.nodes.get_mut(&id).unwrap().facts)
    }

    pub(crate) fn has_mark(&self, mark: &str) -> bool {
        self.nodes.values().any(|node| node.marks.contains(&mark))
    }

    /// Asks a broker to close its logs cleanly, and ends it when it has.
    pub(crate) fn shut_down(&mut self, id: i32) {
        self.feed(id, |manager, cx| manager.shut_down(cx));
        self.settle();
        assert!(self.manager(id).is_shut_down(), "the shutdown completes when the disk has answered");
        self.kill(id);
    }
}

impl Node {
    pub(crate) const fn is_up(&self) -> bool {
        self.manager.is_some()
    }

    /// Lends the host to something that is not the manager, and wants nothing of the network.
    fn with_cx<R>(&mut self, now: Instant, to: impl FnOnce(&mut Cx<'_, '_>) -> R) -> R {
        let (mut effects, mut asks) = (Vec::new(), VecDeque::new());
        let result = self.run(now, &mut effects, &mut asks, to);
        assert!(effects.is_empty() && asks.is_empty(), "a start wants nothing of anybody");
        result
    }

    fn run<R>(
        &mut self,
        now: Instant,
        effects: &mut Vec<Effect<Broker>>,
        asks: &mut VecDeque<Ask>,
        to: impl FnOnce(&mut Cx<'_, '_>) -> R,
    ) -> R {
        let clock = Clock { now, wall_offset_ms: 1_700_000_000_000 };
        let mut out: Vec<Effect<Broker>> = Vec::new();
        let entity = u64::from(self.id.unsigned_abs());
        let mut io = Io::new(clock, KEY, entity, &mut self.disk, &mut self.numbers, &mut out);
        let result =
            to(&mut Cx { io: &mut io, image: &self.image, identity: &mut self.identity, cache: &mut self.cache, asks });
        for effect in out {
            match effect {
                Effect::Sync { ticket, .. } => self.syncs.push(ticket),
                Effect::Defer { lane, work } => self.turns.push_back((lane, work)),
                Effect::State(Fact::Kafka(fact)) => self.facts.push(fact),
                Effect::Reach(mark) => self.marks.push(mark),
                Effect::Spend { .. } => {}
                other => effects.push(other),
            }
        }
        result
    }
}

impl Flight {
    fn ends(&self) -> Option<(i32, i32)> {
        match self {
            Self::Request { from, to, .. } | Self::Response { from, to, .. } => Some((*from, *to)),
            Self::Opened { .. } | Self::Refused { .. } | Self::Lost { .. } => None,
        }
    }

    fn concerns(&self, id: i32) -> bool {
        self.ends().is_some_and(|(a, b)| a == id || b == id)
    }
}
