//! Topics by znode: what `kafka-topics --zookeeper` did. The topic's settings come first, because the controller reads them when
//! it sees the topic (kafka-broker.md §4.7); then the assignment, which is the tool's own (§4.8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::op::{CreateMode, ErrorCode};
use kafkawire::znode::{self, BrokerRegistration, PartitionState, TopicAssignment, TopicConfig};
use kafkawire::{AssignmentStart, BrokerId, Candidate, Topic, TopicPartition, assign_replicas};
use machine::{InputOf, Instant, Io, Purpose};
use zkclient::{ZkClient, ZkClientConfig};

use super::RETRY_BACKOFF;
use crate::kafka::session::{Answer, Session, Told, Watch};
use crate::kafka::{AdminImage, KafkaClient, KafkaClientMark};

const START: Purpose = Purpose::new("admin-assignment-start");

/// What an operation of the tool is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToolOp {
    Brokers,
    Broker(BrokerId),
    SetConfig,
    CreateConfig,
    CreateTopic,
    /// Whether the topic is ready: its partitions, then their leaders.
    Topic,
    State(TopicPartition),
}

/// Where the tool is with the first topic that is not ready.
#[derive(Clone, Debug)]
enum Step {
    /// Nothing was asked yet, or something is asked again then.
    Rest {
        until: Instant,
    },
    ReadBrokers {
        left: BTreeSet<BrokerId>,
        candidates: Vec<Candidate>,
    },
    Write {
        assignment: TopicAssignment,
    },
    AwaitLeaders {
        left: BTreeSet<TopicPartition>,
        all_led: bool,
    },
}

/// The way of the tool.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    image: Arc<AdminImage>,
    pub(super) session: Session<ToolOp>,
    /// How many topics are written, and how many of them are ready.
    written: usize,
    ready: usize,
    step: Step,
}

impl Tool {
    pub(super) fn start(image: Arc<AdminImage>, config: &Arc<ZkClientConfig>, io: &mut Io<'_, KafkaClient>) -> Self {
        let session = Session::start(config, io);
        Self { image, session, written: 0, ready: 0, step: Step::Rest { until: Instant::ZERO } }
    }

    pub(super) fn handle(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>) {
        for told in self.session.handle(input, io) {
            match told {
                Told::Connected { .. } | Told::Expired | Told::Closed => {}
                Told::Answered { purpose, answer: Answer::Lost } => self.ask(purpose, io),
                Told::Answered { purpose, answer } => self.on_answer(purpose, answer, io),
                Told::Watched(event) => panic!("the tool watches nothing: {event:?}"),
            }
        }
    }

    /// Does what can be done; true once every topic is ready.
    pub(super) fn settle(&mut self, io: &mut Io<'_, KafkaClient>) -> bool {
        let is_ready = self.ready == self.image.topics.len();
        if let Step::Rest { until } = self.step
            && until <= io.now()
            && !is_ready
        {
            if self.written < self.image.topics.len() {
                self.step = Step::ReadBrokers { left: BTreeSet::new(), candidates: Vec::new() };
                self.ask(ToolOp::Brokers, io);
            } else {
                self.step = Step::AwaitLeaders { left: BTreeSet::new(), all_led: true };
                self.ask(ToolOp::Topic, io);
            }
        }
        is_ready
    }

    fn topic(&self) -> &Topic {
        let at = if self.written < self.image.topics.len() { self.written } else { self.ready };
        &self.image.topics[at].name
    }

    fn ask(&mut self, op: ToolOp, io: &mut Io<'_, KafkaClient>) {
        let topic = self.topic().clone();
        let config = || TopicConfig { config: self.image.topics[self.written].config.clone() }.encode();
        match &op {
            ToolOp::Brokers => self.session.children(op, znode::BROKERS_IDS.to_owned(), Watch::None, io),
            ToolOp::Broker(broker) => {
                let path = znode::broker_id(*broker);
                self.session.data(op, path, Watch::None, io);
            }
            ToolOp::SetConfig => {
                let config = config();
                self.session.set(op, znode::topic_config(&topic), config, io);
            }
            ToolOp::CreateConfig => {
                let config = config();
                self.session.create(op, znode::topic_config(&topic), config, CreateMode::Persistent, io);
            }
            ToolOp::CreateTopic => {
                let Step::Write { assignment } = &self.step else { panic!("a topic is written in its step") };
                let data = assignment.encode();
                self.session.create(op, znode::topic(&topic), data, CreateMode::Persistent, io);
            }
            ToolOp::Topic => self.session.data(op, znode::topic(&topic), Watch::None, io),
            ToolOp::State(at) => {
                let path = znode::partition_state(at);
                self.session.data(op, path, Watch::None, io);
            }
        }
    }

    fn rest(&mut self, io: &Io<'_, KafkaClient>) {
        self.step = Step::Rest { until: io.now() + RETRY_BACKOFF };
    }

    fn on_answer(&mut self, op: ToolOp, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        match op {
            ToolOp::Brokers => self.on_brokers(answer, io),
            ToolOp::Broker(broker) => self.on_broker(broker, answer, io),
            ToolOp::SetConfig => match answer {
                Answer::Refused(ErrorCode::NoNode) => self.ask(ToolOp::CreateConfig, io),
                Answer::Done => self.ask(ToolOp::CreateTopic, io),
                Answer::Data { .. } | Answer::Children(_) | Answer::Refused(_) | Answer::Lost => self.rest(io),
            },
            ToolOp::CreateConfig => match answer {
                // Its own answer was lost, or somebody else was faster.
                Answer::Refused(ErrorCode::NodeExists) => self.ask(ToolOp::SetConfig, io),
                Answer::Done => self.ask(ToolOp::CreateTopic, io),
                // No broker has created the parent yet.
                Answer::Data { .. } | Answer::Children(_) | Answer::Refused(_) | Answer::Lost => self.rest(io),
            },
            ToolOp::CreateTopic => match answer {
                Answer::Done => self.on_written(io),
                Answer::Refused(ErrorCode::NodeExists) => {
                    io.reach(KafkaClientMark::TopicExists);
                    self.on_written(io);
                }
                Answer::Data { .. } | Answer::Children(_) | Answer::Refused(_) | Answer::Lost => self.rest(io),
            },
            ToolOp::Topic => self.on_topic(answer, io),
            ToolOp::State(at) => self.on_state(&at, answer, io),
        }
    }

    fn on_written(&mut self, io: &Io<'_, KafkaClient>) {
        self.written += 1;
        self.step = Step::Rest { until: io.now() };
    }

    fn on_brokers(&mut self, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        let names = if let Answer::Children(names) = answer { names } else { Vec::new() };
        let ids: BTreeSet<BrokerId> = names.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
        if ids.len() < self.image.brokers_expected.max(1) {
            return self.rest(io);
        }
        self.step = Step::ReadBrokers { left: ids.clone(), candidates: Vec::new() };
        for id in ids {
            self.ask(ToolOp::Broker(id), io);
        }
    }

    fn on_broker(&mut self, broker: BrokerId, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        // Behind a broker that left in between, everything is read again.
        let Step::ReadBrokers { left, candidates } = &mut self.step else { return };
        let Answer::Data { data, .. } = answer else { return self.rest(io) };
        if !left.remove(&broker) {
            return;
        }
        let registration = BrokerRegistration::decode(&data).expect("brokers write registrations");
        candidates.push(Candidate { broker, rack: registration.rack });
        if !left.is_empty() {
            return;
        }
        let candidates = std::mem::take(candidates);
        match self.assign(&candidates, io) {
            Some(partitions) => {
                self.step = Step::Write { assignment: TopicAssignment { partitions } };
                self.ask(ToolOp::SetConfig, io);
            }
            // More brokers may come.
            None => self.rest(io),
        }
    }

    fn assign(&self, candidates: &[Candidate], io: &mut Io<'_, KafkaClient>) -> Option<BTreeMap<i32, Vec<BrokerId>>> {
        let topic = &self.image.topics[self.written];
        if !topic.assignment.is_empty() {
            return Some(topic.assignment.clone());
        }
        let mut draw = io.draw(START);
        let start = AssignmentStart { index: draw.index(candidates.len()), shift: draw.index(candidates.len()) };
        assign_replicas(candidates, topic.partitions, topic.replication_factor, start).ok()
    }

    fn on_topic(&mut self, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        let Answer::Data { data, .. } = answer else { return self.rest(io) };
        let assignment = TopicAssignment::decode(&data).expect("whoever creates a topic writes its assignment");
        let topic = self.topic().clone();
        let all: BTreeSet<TopicPartition> =
            assignment.partitions.keys().map(|&partition| TopicPartition::new(topic.clone(), partition)).collect();
        self.step = Step::AwaitLeaders { left: all.clone(), all_led: true };
        for at in all {
            self.ask(ToolOp::State(at), io);
        }
    }

    fn on_state(&mut self, at: &TopicPartition, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        let Step::AwaitLeaders { left, all_led } = &mut self.step else { panic!("states are read in their step") };
        let has_leader = match answer {
            Answer::Data { data, .. } => {
                PartitionState::decode(&data).expect("controllers and leaders write states").leader.is_some()
            }
            Answer::Children(_) | Answer::Done | Answer::Refused(_) | Answer::Lost => false,
        };
        *all_led &= has_leader;
        left.remove(at);
        if !left.is_empty() {
            return;
        }
        if *all_led {
            self.ready += 1;
            self.step = Step::Rest { until: io.now() };
        } else {
            self.rest(io);
        }
    }

    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let rest = match self.step {
            Step::Rest { until } => Some(until),
            Step::ReadBrokers { .. } | Step::Write { .. } | Step::AwaitLeaders { .. } => None,
        };
        [rest, self.session.next_wake()].into_iter().flatten().filter(|&at| at > now).min()
    }

    pub(super) fn describe(&self) -> String {
        if self.written < self.image.topics.len() {
            format!("topic {} is not written", self.topic())
        } else {
            format!("topic {} has partitions without a leader", self.topic())
        }
    }
}
