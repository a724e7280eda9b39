//! Topics that are being created through this broker's API, and who waits for them (kafka-broker.md §4.7, App. B).
//!
//! A command creates its topics one after the other, as the request handler's thread does. A CreateTopics is answered when the
//! metadata cache shows a leader of every partition, or at its timeout (`DelayedCreatePartitions`); a Metadata at once, with
//! LEADER_NOT_AVAILABLE. Brokers of this era create what is only asked about by writing to ZooKeeper themselves, controller or
//! not: asking the controller to came with `inter.broker.protocol.version` 2.8.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kafkawire::messages::create_topics_request::CreatableTopic;
use kafkawire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafkawire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafkawire::{ErrorCode, Response, Topic, TopicPartition};
use machine::{Digest, Instant, Span};

use crate::api::create_topics::{Next, Refusal, TopicCreation};
use crate::api::metadata::{self, Inquiry};
use crate::cache::MetadataCache;
use crate::cx::{Ask, Cx, RequestId};
use crate::zookeeper::{ZkBatch, ZkOwner, ZkRequest, ZkResult};

/// Who waits for a command.
#[derive(Clone, Debug)]
enum Waiting {
    /// A CreateTopics.
    Create { to: RequestId, timeout: Span },
    /// A Metadata.
    Metadata(Inquiry),
}

/// What became of one topic.
#[derive(Clone, Debug)]
struct Outcome {
    topic: Topic,
    result: Result<Created, Refusal>,
}

/// A topic that was written, or would have been.
#[derive(Clone, Debug)]
struct Created {
    partitions: i32,
    replication_factor: i16,
    config: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Command {
    waiting: Waiting,
    validate_only: bool,
    todo: VecDeque<CreatableTopic>,
    current: Option<TopicCreation>,
    outcomes: Vec<Outcome>,
    /// When it is answered anyway; only while it waits for leaders.
    expires_at: Option<Instant>,
}

/// The commands under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicCommands {
    next: u64,
    commands: BTreeMap<u64, Command>,
    expirations: BTreeSet<(Instant, u64)>,
}

impl TopicCommands {
    /// CreateTopics: for the controller only.
    pub(crate) fn create(
        &mut self,
        to: RequestId,
        request: &CreateTopicsRequest,
        is_controller: bool,
        cx: &mut Cx<'_, '_>,
    ) {
        let (todo, outcomes) = if is_controller {
            let (twice, once): (Vec<_>, Vec<_>) =
                request.topics.iter().cloned().partition(|wanted| occurs_twice(wanted, &request.topics));
            let refused: BTreeSet<Topic> = twice.iter().map(|wanted| Topic::from(&wanted.name)).collect();
            let refuse = |topic| {
                let message = "Create topics request from client contains multiple entries for this topic.";
                Outcome { topic, result: Err(Refusal::new(ErrorCode::InvalidRequest, message)) }
            };
            (once.into(), refused.into_iter().map(refuse).collect())
        } else {
            let refuse = |wanted: &CreatableTopic| {
                let message = "This is not the correct controller for this cluster.";
                let topic = Topic::from(&wanted.name);
                Outcome { topic, result: Err(Refusal::new(ErrorCode::NotController, message)) }
            };
            (VecDeque::new(), request.topics.iter().map(refuse).collect())
        };
        let timeout = Span::millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let waiting = Waiting::Create { to, timeout };
        let validate_only = request.validate_only;
        self.begin(Command { waiting, validate_only, todo, current: None, outcomes, expires_at: None }, cx);
    }

    /// A Metadata asked about topics that nobody knows, and may create them.
    pub(crate) fn auto_create(&mut self, inquiry: Inquiry, unknown: Vec<Topic>, cx: &mut Cx<'_, '_>) {
        let wanted = |topic: &Topic| {
            CreatableTopic::default().with_name(topic.wire()).with_num_partitions(-1).with_replication_factor(-1)
        };
        let todo = unknown.iter().map(wanted).collect();
        let waiting = Waiting::Metadata(inquiry);
        let command =
            Command { waiting, validate_only: false, todo, current: None, outcomes: Vec::new(), expires_at: None };
        self.begin(command, cx);
    }

    fn begin(&mut self, command: Command, cx: &mut Cx<'_, '_>) {
        let number = self.next;
        self.next += 1;
        self.commands.insert(number, command);
        self.create_next(number, cx);
    }

    /// Takes up the next topic that is not refused at sight.
    fn create_next(&mut self, number: u64, cx: &mut Cx<'_, '_>) {
        let command = self.commands.get_mut(&number).expect("a command under way");
        while let Some(wanted) = command.todo.pop_front() {
            match TopicCreation::begin(&wanted, command.validate_only, cx) {
                Ok((creation, first)) => {
                    command.current = Some(creation);
                    return ask(number, first, cx);
                }
                Err(refusal) => {
                    command.outcomes.push(Outcome { topic: Topic::from(&wanted.name), result: Err(refusal) });
                }
            }
        }
        self.on_all_tried(number, cx);
    }

    /// ZooKeeper answered a command.
    pub(crate) fn on_zk(&mut self, number: u64, results: &[ZkResult], cx: &mut Cx<'_, '_>) {
        let command = self.commands.get_mut(&number).expect("a command stays until it is answered");
        let creation = command.current.as_mut().expect("only a creation asks");
        let [result] = results else { panic!("one thing was asked, {} were answered", results.len()) };
        let result = match creation.next(result, cx.config()) {
            Next::Ask(next) => return ask(number, next, cx),
            Next::Done => Ok(Created::of(creation)),
            Next::Refused(refusal) => Err(refusal),
        };
        let topic = creation.topic.clone();
        command.current = None;
        command.outcomes.push(Outcome { topic, result });
        self.create_next(number, cx);
    }

    /// Everything is written or refused.
    fn on_all_tried(&mut self, number: u64, cx: &mut Cx<'_, '_>) {
        let command = self.commands.get_mut(&number).expect("a command under way");
        if let Waiting::Create { timeout, .. } = &command.waiting {
            let any_created = command.outcomes.iter().any(|outcome| outcome.result.is_ok());
            if any_created && !command.validate_only && *timeout > Span::ZERO && !command.has_leaders(cx.cache) {
                let expires_at = cx.io.now().saturating_add(*timeout);
                command.expires_at = Some(expires_at);
                self.expirations.insert((expires_at, number));
                return;
            }
        }
        self.finish(number, cx);
    }

    /// The metadata cache changed: whoever waits for leaders looks again.
    pub(crate) fn on_metadata_changed(&mut self, cx: &mut Cx<'_, '_>) {
        let complete: Vec<u64> = self
            .expirations
            .iter()
            .map(|&(_, number)| number)
            .filter(|number| self.commands[number].has_leaders(cx.cache))
            .collect();
        for number in complete {
            self.finish(number, cx);
        }
    }

    pub(crate) fn on_woken(&mut self, cx: &mut Cx<'_, '_>) {
        while let Some(&(due, number)) = self.expirations.first()
            && due <= cx.io.now()
        {
            self.finish(number, cx);
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.expirations.first().map(|&(due, _)| due)
    }

    fn finish(&mut self, number: u64, cx: &mut Cx<'_, '_>) {
        let command = self.commands.remove(&number).expect("a command is answered once");
        if let Some(due) = command.expires_at {
            self.expirations.remove(&(due, number));
        }
        match &command.waiting {
            Waiting::Create { to, timeout } => {
                // Without a timeout nobody waits for leaders, and a creation is never said to have succeeded.
                let waited = *timeout > Span::ZERO;
                let results = command.outcomes.iter().map(|outcome| command.result_of(outcome, waited, cx.cache));
                let response = CreateTopicsResponse::default().with_topics(results.collect());
                cx.answer(*to, Response::CreateTopics(response.into()));
            }
            Waiting::Metadata(inquiry) => {
                let mut topics = inquiry.known.clone();
                topics.extend(command.outcomes.iter().map(|outcome| {
                    let error = match &outcome.result {
                        // It will have a leader soon, whoever created it.
                        Ok(_) | Err(Refusal { error: ErrorCode::TopicAlreadyExists, .. }) => {
                            ErrorCode::LeaderNotAvailable
                        }
                        Err(refusal) => refusal.error,
                    };
                    metadata::unknown_topic(&outcome.topic, error)
                }));
                let response = metadata::response(topics, cx);
                cx.answer(inquiry.to, response);
            }
        }
    }

    /// What waits, for reports.
    pub(crate) fn pending(&self) -> Option<String> {
        if self.commands.is_empty() {
            return None;
        }
        let parked = self.expirations.len();
        Some(format!("{} creations of topics wait, {parked} of them for leaders", self.commands.len()))
    }

    pub(crate) fn check_invariants(&self) {
        for &(due, number) in &self.expirations {
            assert_eq!(self.commands[&number].expires_at, Some(due), "an expiration belongs to a command");
        }
        for (number, command) in &self.commands {
            assert!(
                command.current.is_some() != command.expires_at.is_some(),
                "command {number} waits for ZooKeeper or for leaders"
            );
        }
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        into.word(self.next);
        into.word(self.commands.len() as u64);
    }
}

impl Command {
    /// Whether every partition of what was created has a leader, as far as the cache knows.
    fn has_leaders(&self, cache: &MetadataCache) -> bool {
        self.outcomes.iter().all(|outcome| match &outcome.result {
            Ok(created) => created.has_leaders(&outcome.topic, cache),
            Err(_) => true,
        })
    }

    fn result_of(&self, outcome: &Outcome, waited: bool, cache: &MetadataCache) -> CreatableTopicResult {
        let result = CreatableTopicResult::default().with_name(outcome.topic.wire());
        match &outcome.result {
            Ok(created) if self.validate_only || (waited && created.has_leaders(&outcome.topic, cache)) => {
                created.describe(result)
            }
            Ok(_) => result.with_error_code(ErrorCode::RequestTimedOut.code()),
            Err(refusal) => {
                result.with_error_code(refusal.error.code()).with_error_message(Some(refusal.message.clone().into()))
            }
        }
    }
}

impl Created {
    fn of(creation: &TopicCreation) -> Self {
        let replicas = creation.assignment.values().next().map_or(0, Vec::len);
        Self {
            partitions: i32::try_from(creation.assignment.len()).expect("partitions are numbered by i32"),
            replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
            config: creation.config.clone(),
        }
    }

    fn has_leaders(&self, topic: &Topic, cache: &MetadataCache) -> bool {
        (0..self.partitions).all(|partition| {
            let tp = TopicPartition::new(topic.clone(), partition);
            cache.partition(&tp).is_some_and(|state| state.leader.is_some())
        })
    }

    /// `Simplified:` of the topic's configuration only what it sets itself is told, not the defaults behind it.
    fn describe(&self, result: CreatableTopicResult) -> CreatableTopicResult {
        const DYNAMIC_TOPIC_CONFIG: i8 = 1;
        let configs = self.config.iter().map(|(key, value)| {
            CreatableTopicConfigs::default()
                .with_name(key.clone().into())
                .with_value(Some(value.clone().into()))
                .with_config_source(DYNAMIC_TOPIC_CONFIG)
        });
        result
            .with_num_partitions(self.partitions)
            .with_replication_factor(self.replication_factor)
            .with_configs(Some(configs.collect()))
    }
}

fn occurs_twice(wanted: &CreatableTopic, all: &[CreatableTopic]) -> bool {
    all.iter().filter(|other| other.name == wanted.name).count() > 1
}

fn ask(number: u64, request: ZkRequest, cx: &mut Cx<'_, '_>) {
    cx.ask(Ask::Zk(ZkBatch { owner: ZkOwner::TopicCommand(number), requests: vec![request] }));
}
