//! Controllers without their brokers: a tree for ZooKeeper, requests recorded as lines, channels answered or left alone.
//!
//! Lines of ZooKeeper: `exists P`, `get P`, `ls P`, `create P D`, `set P vN D`, `delete P`, and `[…; …]` for a multi; `✓` for the
//! check of `/controller_epoch`. Lines of channels: `→N Api be=E: T-P leader/epoch isr [new]`.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for what it waits for, and at nothing else"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use broker::cache::MetadataCache;
use broker::controller::{Controller, ControllerEvent};
use broker::cx::{Answer, Ask, Cx, Identity, RequestId};
use broker::fact::KafkaFact;
use broker::zookeeper::{ZkError, ZkOwner, ZkRequest, ZkResult, ZnodeHandler};
use broker::{Broker, BrokerConfig, BrokerImage, Costs, Defect, Defects, Fact, Message, Work};
use jute::SessionId;
use jute::client::MultiOp;
use jute::op::{CreateMode, EventType};
use kafkawire::messages::{LeaderAndIsrResponse, StopReplicaResponse, UpdateMetadataResponse};
use kafkawire::znode::{self, BrokerRegistration, TopicAssignment};
use kafkawire::{BrokerEpoch, BrokerId, Hosts, KafkaMessage, Request, Response, Topic, Wire};
use machine::disk::{Metadata, PageCache};
use machine::{Clock, Effect, EndId, HostId, Input, Instant, Io, Loss, Numbers, Port, RunKey, Span};
use zkclient::{WatchKinds, WatchedEvent, ZkClientConfig};

use crate::controller_tree::{Change, Tree};

/// A broker of which only the controller is there.
#[derive(Debug)]
struct Node {
    controller: Controller,
    identity: Identity,
    cache: MetadataCache,
    image: Arc<BrokerImage>,
    disk: PageCache,
    numbers: Numbers,
    session: SessionId,
    handlers: BTreeSet<ZnodeHandler>,
    armed: BTreeSet<ZnodeHandler>,
    /// Deferred turns.
    turns: usize,
    /// What ZooKeeper was asked and has not answered.
    asked: VecDeque<Vec<ZkRequest>>,
    /// Ends of channels, and whom they lead to.
    ends: BTreeMap<EndId, BrokerId>,
    facts: Vec<KafkaFact>,
    marks: Vec<&'static str>,
    answers: Vec<(RequestId, Response)>,
    asks: Vec<&'static str>,
}

/// The controllers of brokers 1 to n.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) tree: Tree,
    nodes: BTreeMap<i32, Node>,
    now: Instant,
    /// What ZooKeeper was asked, and what brokers were told.
    pub(crate) log: Vec<String>,
    /// Brokers that neither accept nor answer.
    pub(crate) silent: BTreeSet<i32>,
    /// Requests on the wire that nobody has answered: who sent on which end.
    pub(crate) unanswered: Vec<(i32, EndId, KafkaMessage)>,
}

const LEADERS: i32 = 3;

impl Bench {
    /// Brokers 1 to 3, not registered; the znodes of their start are there.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with_defect(defect: Defect) -> Self {
        Self::with(|image| image.defects.insert(defect))
    }

    pub(crate) fn with(change: impl Fn(&mut BrokerImage)) -> Self {
        let mut tree = Tree::default();
        for path in znode::TOP_LEVEL {
            tree.make(path, "");
        }
        let nodes = (1..=LEADERS).map(|broker| (broker, Node::new(broker, &change))).collect();
        let now = Instant::from_nanos(1_000_000_000);
        Self { tree, nodes, now, log: Vec::new(), silent: BTreeSet::new(), unanswered: Vec::new() }
    }

    /// Brokers 1 to 3 are registered, 1 is the controller, its first hour of office is over.
    pub(crate) fn in_office() -> Self {
        Self::new().inaugurated()
    }

    pub(crate) fn inaugurated(mut self) -> Self {
        for broker in 1..=LEADERS {
            self.register(broker);
        }
        for broker in 1..=LEADERS {
            self.put(broker, ControllerEvent::Startup);
            self.run();
        }
        assert!(self.controller(1).is_active());
        self.log.clear();
        self
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.nodes[&1].image.defects.has(defect)
    }

    pub(crate) fn controller(&self, broker: i32) -> &Controller {
        &self.nodes[&broker].controller
    }

    /// Writes `/brokers/ids/N`; returns the broker epoch.
    pub(crate) fn register(&mut self, broker: i32) -> i64 {
        let session = self.nodes[&broker].session;
        let payload = BrokerRegistration::new(host(broker), 9092, None, 1);
        let path = znode::broker_id(BrokerId(broker));
        let (czxid, changes) = self.tree.make_ephemeral(&path, payload.encode(), session);
        self.fire(&changes);
        let identity = &mut self.nodes.get_mut(&broker).unwrap().identity;
        identity.epoch = Some(BrokerEpoch(czxid));
        identity.session = Some(session);
        identity.registered_session = Some(session);
        czxid
    }

    /// Its registration is gone.
    pub(crate) fn unregister(&mut self, broker: i32) {
        self.change(|tree| tree.remove(&znode::broker_id(BrokerId(broker))));
    }

    /// Its session is gone, with all it held; the broker does not know.
    pub(crate) fn expire(&mut self, broker: i32) {
        let session = self.nodes[&broker].session;
        self.change(|tree| tree.expire(session));
    }

    /// The broker has a new session.
    pub(crate) fn renew_session(&mut self, broker: i32) {
        let node = self.nodes.get_mut(&broker).unwrap();
        node.session = SessionId::new(node.session.value() + 100);
        node.identity.session = Some(node.session);
        node.armed.clear();
    }

    /// Another client's write: watches see it.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Tree) -> Vec<Change>) {
        let changes = change(&mut self.tree);
        self.fire(&changes);
    }

    /// Creates the assignment of a topic, partition by partition.
    pub(crate) fn create_topic(&mut self, topic: &str, replicas: &[&[i32]]) {
        let payload = assignment(replicas).encode();
        self.change(|tree| tree.make(&znode::topic(&Topic::from(topic)), payload));
    }

    pub(crate) fn put(&mut self, broker: i32, event: ControllerEvent) {
        self.with_cx(broker, |controller, cx| controller.put(event, cx));
    }

    pub(crate) fn clear_and_put_expire(&mut self, broker: i32) {
        self.with_cx(broker, Controller::clear_and_put_expire);
    }

    /// A turn of a controller's thread; false if it has none.
    pub(crate) fn turn(&mut self, broker: i32) -> bool {
        let node = self.nodes.get_mut(&broker).unwrap();
        if node.turns == 0 {
            return false;
        }
        node.turns -= 1;
        self.with_cx(broker, Controller::turn);
        true
    }

    /// ZooKeeper does what the controller waits for, and answers; false if it waits for nothing.
    pub(crate) fn answer(&mut self, broker: i32) -> bool {
        let Some(requests) = self.nodes.get_mut(&broker).unwrap().asked.pop_front() else { return false };
        let results = self.apply(broker, &requests);
        self.with_cx(broker, |controller, cx| controller.on_zk(results, cx));
        true
    }

    /// ZooKeeper does it, the answer is lost with the connection, and it is asked again.
    pub(crate) fn answer_after_loss(&mut self, broker: i32) {
        let requests = self.nodes[&broker].asked.front().expect("it waits").clone();
        self.apply(broker, &requests);
        assert!(self.answer(broker));
    }

    /// The session ended before ZooKeeper did it.
    pub(crate) fn fail(&mut self, broker: i32) {
        let requests = self.nodes.get_mut(&broker).unwrap().asked.pop_front().expect("it waits");
        let results = requests.iter().map(|_| Err(ZkError::SessionExpired)).collect();
        self.with_cx(broker, |controller, cx| controller.on_zk(results, cx));
    }

    /// What the controller waits for, as lines.
    pub(crate) fn waiting(&self, broker: i32) -> Vec<String> {
        self.nodes[&broker].asked.iter().flatten().map(line).collect()
    }

    /// Runs one controller until it waits for a request that begins so.
    #[track_caller]
    pub(crate) fn run_until(&mut self, broker: i32, prefix: &str) {
        for _ in 0..1000 {
            if self.waiting(broker).iter().any(|line| line.starts_with(prefix)) {
                return;
            }
            if !self.turn(broker) && !self.answer(broker) {
                break;
            }
        }
        panic!("broker {broker} never asked {prefix}; it did {:#?}", self.log);
    }

    /// Runs one controller until it is idle.
    pub(crate) fn run_alone(&mut self, broker: i32) {
        while self.turn(broker) || self.answer(broker) {}
    }

    /// Runs all controllers until they are idle.
    pub(crate) fn run(&mut self) {
        loop {
            let before = self.log.len();
            let idle = (1..=LEADERS).filter(|&broker| self.turn(broker) || self.answer(broker)).count() == 0;
            if idle && before == self.log.len() {
                return;
            }
        }
    }

    /// Lets time pass; every wake on the way is handled.
    pub(crate) fn advance(&mut self, span: Span) {
        let until = self.now + span;
        loop {
            let next = self.nodes.values().filter_map(|node| node.controller.next_wake()).min();
            let Some(next) = next.filter(|&next| next <= until) else { break };
            self.now = self.now.max(next);
            for broker in 1..=LEADERS {
                if self.controller(broker).next_wake().is_some_and(|due| due <= self.now) {
                    self.with_cx(broker, |controller, cx| controller.handle(Input::Woken, cx));
                }
            }
        }
        self.now = until;
    }

    /// The connections to a broker are lost.
    pub(crate) fn reset(&mut self, broker: i32) {
        for holder in 1..=LEADERS {
            let ends: Vec<EndId> =
                self.nodes[&holder].ends.iter().filter(|(_, to)| to.0 == broker).map(|(&end, _)| end).collect();
            for on in ends {
                if self.controller(holder).owns(on) {
                    self.unanswered.retain(|(by, end, _)| (*by, *end) != (holder, on));
                    self.with_cx(holder, |controller, cx| controller.handle(Input::Lost { on, why: Loss::Reset }, cx));
                }
            }
        }
    }

    /// A request that a silent broker was sent is answered after all.
    pub(crate) fn respond_to_oldest(&mut self) {
        let (by, on, request) = self.unanswered.remove(0);
        let message = response_to(&request);
        self.with_cx(by, |controller, cx| controller.handle(Input::Message { on, message }, cx));
    }

    pub(crate) fn facts(&self, broker: i32) -> &[KafkaFact] {
        &self.nodes[&broker].facts
    }

    /// The kinds of facts, those given alone.
    pub(crate) fn fact_kinds(&self, broker: i32) -> Vec<&'static str> {
        use machine::Describe;
        self.facts(broker).iter().map(KafkaFact::kind).collect()
    }

    pub(crate) fn marks(&self, broker: i32) -> &[&'static str] {
        &self.nodes[&broker].marks
    }

    pub(crate) fn answers(&self, broker: i32) -> &[(RequestId, Response)] {
        &self.nodes[&broker].answers
    }

    /// Names of asks that concern no other table.
    pub(crate) fn asks(&self, broker: i32) -> &[&'static str] {
        &self.nodes[&broker].asks
    }

    pub(crate) fn handlers(&self, broker: i32) -> Vec<String> {
        let name = |handler: &ZnodeHandler| match handler {
            ZnodeHandler::Data(path) => path.clone(),
            ZnodeHandler::Children(path) => format!("{path}/*"),
        };
        self.nodes[&broker].handlers.iter().map(name).collect()
    }

    /// Takes the lines so far.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// Takes the lines so far that are about ZooKeeper.
    pub(crate) fn take_zookeeper(&mut self) -> Vec<String> {
        self.take_log().into_iter().filter(|line| !line.starts_with('→')).collect()
    }

    /// Takes the lines so far that are about brokers.
    pub(crate) fn take_sent(&mut self) -> Vec<String> {
        self.take_log().into_iter().filter(|line| line.starts_with('→')).collect()
    }

    fn apply(&mut self, broker: i32, requests: &[ZkRequest]) -> Vec<ZkResult> {
        let mut results = Vec::new();
        for request in requests {
            self.log.push(line(request));
            let node = self.nodes.get_mut(&broker).unwrap();
            node.arm(request);
            let mut changes = Vec::new();
            results.push(self.tree.apply(request, node.session, &mut changes));
            self.fire(&changes);
        }
        results
    }

    fn fire(&mut self, changes: &[Change]) {
        for (event, path) in changes {
            let handler = match event {
                EventType::NodeChildrenChanged => ZnodeHandler::Children(path.clone()),
                _ => ZnodeHandler::Data(path.clone()),
            };
            for broker in 1..=LEADERS {
                let node = self.nodes.get_mut(&broker).unwrap();
                if node.armed.remove(&handler) && node.handlers.contains(&handler) {
                    let consumed = WatchKinds { data: true, ..WatchKinds::default() };
                    let event = WatchedEvent { event: *event, path: path.as_str().into(), zxid: None, consumed };
                    self.with_cx(broker, |controller, cx| controller.on_watch(&event, cx));
                }
            }
        }
    }

    fn with_cx(&mut self, broker: i32, to: impl FnOnce(&mut Controller, &mut Cx<'_, '_>)) {
        let mut to = Some(to);
        self.lend(broker, &mut |controller, cx| to.take().expect("it is lent once")(controller, cx));
    }

    fn lend(&mut self, broker: i32, to: &mut dyn FnMut(&mut Controller, &mut Cx<'_, '_>)) {
        let node = self.nodes.get_mut(&broker).unwrap();
        let mut out: Vec<Effect<Broker>> = Vec::new();
        let mut asks = VecDeque::new();
        let clock = Clock { now: self.now, wall_offset_ms: 1_700_000_000_000 };
        let entity = u64::try_from(broker).unwrap();
        let mut io = Io::new(clock, RunKey([1, 2]), entity, &mut node.disk, &mut node.numbers, &mut out);
        let mut cx = Cx {
            io: &mut io,
            image: &node.image,
            identity: &mut node.identity,
            cache: &mut node.cache,
            asks: &mut asks,
        };
        to(&mut node.controller, &mut cx);
        node.controller.check_invariants();
        let mut lines = Vec::new();
        for ask in asks {
            node.settle(ask);
        }
        let mut inputs = Vec::new();
        for effect in out {
            if let Some(input) = node.perform(broker, effect, &self.silent, &mut lines, &mut self.unanswered) {
                inputs.push(input);
            }
        }
        self.log.extend(lines);
        for input in inputs {
            self.with_cx(broker, |controller, cx| {
                let (Input::Opened { on } | Input::Message { on, .. }) = &input else { unreachable!() };
                // The connection may have been given up meanwhile.
                if controller.owns(*on) {
                    controller.handle(input, cx);
                }
            });
        }
    }
}

type LinkInput = Input<KafkaMessage, machine::Never>;

impl Node {
    fn new(broker: i32, change: impl Fn(&mut BrokerImage)) -> Self {
        let hosts = (1..=9).map(|other| (Arc::from(host(other)), HostId(u32::try_from(other).unwrap())));
        let zookeeper =
            zkclient::ZkServer { name: "zk".into(), address: machine::Address { host: HostId(0), port: Port(2181) } };
        let mut image = BrokerImage {
            config: Arc::new(BrokerConfig::new(BrokerId(broker), host(broker), Port(9092))),
            zookeeper: Arc::new(ZkClientConfig::new(vec![zookeeper], 18_000)),
            hosts: Hosts::new(hosts),
            defects: Defects::default(),
            wire: Wire::Values,
            costs: Costs::default(),
        };
        change(&mut image);
        Self {
            controller: Controller::new(),
            identity: Identity::default(),
            cache: MetadataCache::default(),
            image: Arc::new(image),
            disk: PageCache::new(Metadata::Journaled),
            numbers: Numbers::default(),
            session: SessionId::new(i64::from(broker)),
            handlers: BTreeSet::new(),
            armed: BTreeSet::new(),
            turns: 0,
            asked: VecDeque::new(),
            ends: BTreeMap::new(),
            facts: Vec::new(),
            marks: Vec::new(),
            answers: Vec::new(),
            asks: Vec::new(),
        }
    }

    fn arm(&mut self, request: &ZkRequest) {
        let handler = match request {
            ZkRequest::Exists { path } | ZkRequest::GetData { path } => ZnodeHandler::Data(path.clone()),
            ZkRequest::GetChildren { path, watch: true } => ZnodeHandler::Children(path.clone()),
            _ => return,
        };
        if self.handlers.contains(&handler) {
            self.armed.insert(handler);
        }
    }

    fn settle(&mut self, ask: Ask) {
        match ask {
            Ask::Zk(batch) => {
                assert_eq!(batch.owner, ZkOwner::Controller);
                self.asked.push_back(batch.requests);
            }
            Ask::Watch(handler) => {
                self.handlers.insert(handler);
            }
            Ask::Unwatch(handler) => {
                self.handlers.remove(&handler);
            }
            Ask::Answer { to, answer: Answer::Response(response) } => self.answers.push((to, response)),
            Ask::ExpireProcessed => self.asks.push("expire-processed"),
            Ask::ControllerStopped => self.asks.push("controller-stopped"),
            other => panic!("a controller asks {other:?}"),
        }
    }

    fn perform(
        &mut self,
        broker: i32,
        effect: Effect<Broker>,
        silent: &BTreeSet<i32>,
        lines: &mut Vec<String>,
        unanswered: &mut Vec<(i32, EndId, KafkaMessage)>,
    ) -> Option<LinkInput> {
        match effect {
            Effect::Defer { work: Work::Controller, .. } => self.turns += 1,
            Effect::Connect { end, to } => {
                let to = i32::try_from(to.host.0).unwrap();
                self.ends.insert(end, BrokerId(to));
                return (!silent.contains(&to)).then_some(Input::Opened { on: end });
            }
            Effect::Send { on, message: Message::Kafka(request) } => {
                let to = self.ends[&on];
                let KafkaMessage::Request { body, .. } = &request else { panic!("channels send requests") };
                lines.push(format!("→{to} {}", told(body)));
                if silent.contains(&to.0) {
                    unanswered.push((broker, on, request));
                } else {
                    return Some(Input::Message { on, message: response_to(&request) });
                }
            }
            Effect::State(Fact::Kafka(fact)) => self.facts.push(fact),
            Effect::Reach(mark) => self.marks.push(mark),
            Effect::Close { .. } | Effect::Spend { .. } => {}
            other => panic!("a controller does {other:?}"),
        }
        None
    }
}

pub(crate) fn assignment(replicas: &[&[i32]]) -> TopicAssignment {
    let ids = |replicas: &&[i32]| replicas.iter().copied().map(BrokerId).collect();
    TopicAssignment { partitions: (0..).zip(replicas.iter().map(ids)).collect() }
}

/// A partition's state as its znode has it.
pub(crate) fn state(ce: i32, leader: i32, le: i32, isr: &[i32]) -> String {
    let isr: Vec<String> = isr.iter().map(i32::to_string).collect();
    let isr = isr.join(",");
    format!(r#"{{"controller_epoch":{ce},"leader":{leader},"version":1,"leader_epoch":{le},"isr":[{isr}]}}"#)
}

fn host(broker: i32) -> String {
    format!("kafka-{broker}")
}

fn response_to(request: &KafkaMessage) -> KafkaMessage {
    let KafkaMessage::Request { correlation, version, body } = request else { panic!("{request:?}") };
    let response = match body {
        Request::LeaderAndIsr(_) => Response::LeaderAndIsr(LeaderAndIsrResponse::default().into()),
        Request::UpdateMetadata(_) => Response::UpdateMetadata(UpdateMetadataResponse::default().into()),
        Request::StopReplica(_) => Response::StopReplica(StopReplicaResponse::default().into()),
        other => panic!("a controller sends {other:?}"),
    };
    KafkaMessage::response(*correlation, *version, response)
}

/// A request to ZooKeeper as a line.
fn line(request: &ZkRequest) -> String {
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    match request {
        ZkRequest::Create { path, data, mode } => {
            let kind = if *mode == CreateMode::Ephemeral { "E " } else { "" };
            format!("create {kind}{path} {}", text(data)).trim_end().to_owned()
        }
        ZkRequest::Delete { path, .. } => format!("delete {path}"),
        ZkRequest::Exists { path } => format!("exists {path}"),
        ZkRequest::GetData { path } => format!("get {path}"),
        ZkRequest::SetData { path, data, version } => format!("set {path} v{version} {}", text(data)),
        ZkRequest::GetChildren { path, .. } => format!("ls {path}"),
        ZkRequest::Multi(ops) => {
            let ops: Vec<String> = ops.iter().map(operation).collect();
            format!("[{}]", ops.join("; "))
        }
    }
}

fn operation(op: &MultiOp) -> String {
    let text = |data: &jute::Buffer| String::from_utf8(data.as_slice().to_vec()).unwrap();
    match op {
        MultiOp::Check(check) if check.path == znode::CONTROLLER_EPOCH => format!("✓v{}", check.version.value()),
        MultiOp::Check(check) => format!("check {} v{}", check.path, check.version.value()),
        MultiOp::Create(create) => {
            let kind = if create.mode().unwrap().is_ephemeral() { "E " } else { "" };
            format!("create {kind}{} {}", create.path, text(&create.data)).trim_end().to_owned()
        }
        MultiOp::SetData(set) => format!("set {} v{} {}", set.path, set.version.value(), text(&set.data)),
        MultiOp::Delete(delete) => format!("delete {}", delete.path),
        other => panic!("no broker asks {other:?}"),
    }
}

/// A control request as a line.
fn told(request: &Request) -> String {
    let ids = |ids: &[kafkawire::messages::BrokerId]| {
        let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
        ids.join(",")
    };
    let mut parts = Vec::new();
    match request {
        Request::LeaderAndIsr(body) => {
            for topic in &body.topic_states {
                for state in &topic.partition_states {
                    let new = if state.is_new { " new" } else { "" };
                    let (name, index) = (topic.topic_name.as_str(), state.partition_index);
                    let (leader, epoch, isr) = (state.leader.0, state.leader_epoch, ids(&state.isr));
                    parts.push(format!("{name}-{index} {leader}/{epoch} {isr}{new}"));
                }
            }
            format!("LeaderAndIsr be={}: {}", body.broker_epoch, parts.join(", "))
        }
        Request::UpdateMetadata(body) => {
            let live: Vec<String> = body.live_brokers.iter().map(|broker| broker.id.0.to_string()).collect();
            for topic in &body.topic_states {
                for state in &topic.partition_states {
                    let (name, index) = (topic.topic_name.as_str(), state.partition_index);
                    let (leader, epoch) = (state.leader.0, state.leader_epoch);
                    let offline = ids(&state.offline_replicas);
                    let offline = if offline.is_empty() { offline } else { format!(" offline {offline}") };
                    parts.push(format!("{name}-{index} {leader}/{epoch}{offline}"));
                }
            }
            let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
            format!("UpdateMetadata be={} live {}{parts}", body.broker_epoch, live.join(","))
        }
        Request::StopReplica(body) => {
            for topic in &body.topic_states {
                for state in &topic.partition_states {
                    let (name, index) = (topic.topic_name.as_str(), state.partition_index);
                    assert!(!state.delete_partition, "nothing is deleted");
                    parts.push(format!("{name}-{index} /{}", state.leader_epoch));
                }
            }
            format!("StopReplica be={}: {}", body.broker_epoch, parts.join(", "))
        }
        other => panic!("a controller sends {other:?}"),
    }
}
