//! CreateTopics, sent to the controller that the metadata name.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use kafkawire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafkawire::{BrokerId, Correlation, ErrorCode, Link, Request, Response, StrBytes, Topic};
use machine::{InputOf, Instant, Io, Span};

use super::RETRY_BACKOFF;
use crate::kafka::cluster::{Cluster, ClusterConfig, ClusterEvent, NodeId, Source};
use crate::kafka::{AdminImage, KafkaClient, KafkaClientMark, NewTopic};

/// `metadata.max.age.ms` of an admin client.
const METADATA_MAX_AGE: Span = Span::secs(300);
/// Requests in flight: one at a time, and metadata beside it.
const MAX_IN_FLIGHT: usize = 5;

/// The way of the API.
#[derive(Clone, Debug)]
pub(super) struct Api {
    image: Arc<AdminImage>,
    pub(super) cluster: Cluster,
    /// Topics that are not known to be there, and what was answered last.
    missing: BTreeMap<Topic, Option<ErrorCode>>,
    asked: Option<(NodeId, Correlation)>,
    not_before: Instant,
}

impl Api {
    pub(super) fn new(image: Arc<AdminImage>) -> Self {
        let config = ClusterConfig {
            source: Source::Brokers,
            topics: image.topics.iter().map(|topic| topic.name.clone()).collect(),
            request_timeout: image.request_timeout,
            retry_backoff: RETRY_BACKOFF,
            metadata_max_age: METADATA_MAX_AGE,
            max_in_flight: MAX_IN_FLIGHT,
        };
        Self {
            cluster: Cluster::new(&image.work, config),
            missing: image.topics.iter().map(|topic| (topic.name.clone(), None)).collect(),
            asked: None,
            not_before: Instant::ZERO,
            image,
        }
    }

    pub(super) fn handle(&mut self, input: InputOf<Link>, io: &mut Io<'_, KafkaClient>) {
        for event in self.cluster.handle(input, io) {
            match event {
                ClusterEvent::Up | ClusterEvent::Refreshed => {}
                ClusterEvent::Response { node, correlation, response } => {
                    assert_eq!(self.asked.take(), Some((node, correlation)), "an answer has a request");
                    let Response::CreateTopics(response) = response else {
                        panic!("CreateTopics is answered by {response:?}")
                    };
                    self.on_created(&response, io);
                }
                ClusterEvent::Down { node, unanswered } => {
                    if self.asked.is_some_and(|(at, correlation)| at == node && unanswered.contains(&correlation)) {
                        self.asked = None;
                        self.not_before = io.now() + RETRY_BACKOFF;
                    }
                }
            }
        }
    }

    fn on_created(&mut self, response: &CreateTopicsResponse, io: &mut Io<'_, KafkaClient>) {
        for topic in &response.topics {
            let name = Topic::from(&topic.name);
            let error = ErrorCode::from_code(topic.error_code).unwrap_or(ErrorCode::UnknownServerError);
            if error.is_none() {
                self.missing.remove(&name);
            } else if error == ErrorCode::TopicAlreadyExists {
                io.reach(KafkaClientMark::TopicExists);
                self.missing.remove(&name);
            } else {
                self.missing.insert(name, Some(error));
                self.not_before = io.now() + RETRY_BACKOFF;
                // Another controller, or more brokers: both are in newer metadata.
                self.cluster.request_refresh();
            }
        }
    }

    /// Does what can be done; true once every partition has a leader.
    pub(super) fn settle(&mut self, io: &mut Io<'_, KafkaClient>) -> bool {
        let is_ready = self.missing.is_empty() && self.have_leaders();
        if !is_ready {
            if self.missing.is_empty() || self.cluster.metadata().brokers().len() < self.image.brokers_expected {
                self.cluster.request_refresh();
            } else {
                self.create(io);
            }
            self.cluster.pump(io);
        }
        is_ready
    }

    fn have_leaders(&self) -> bool {
        self.image.topics.iter().all(|topic| {
            let partitions = self.cluster.metadata().topic(&topic.name);
            partitions.is_some_and(|partitions| {
                !partitions.is_empty() && partitions.values().all(|known| known.leader.is_some())
            })
        })
    }

    fn create(&mut self, io: &mut Io<'_, KafkaClient>) {
        if self.asked.is_some() || self.not_before > io.now() {
            return;
        }
        let Some(controller) = self.cluster.metadata().controller() else { return self.cluster.request_refresh() };
        let node = NodeId::Broker(controller);
        if !self.cluster.is_ready(node, io) {
            return;
        }
        let missing = self.image.topics.iter().filter(|topic| self.missing.contains_key(&topic.name));
        let request = CreateTopicsRequest::default()
            .with_topics(missing.map(wire).collect())
            .with_timeout_ms(i32::try_from(self.image.request_timeout.as_millis()).unwrap_or(i32::MAX));
        let correlation = self.cluster.send(node, Request::CreateTopics(Arc::new(request)), io);
        self.asked = Some((node, correlation));
    }

    pub(super) fn next_wake(&self, now: Instant, is_ready: bool) -> Option<Instant> {
        // Who rests asks for nothing more; its connections may still end.
        let own = Some(self.not_before).filter(|&at| at > now && !is_ready);
        [own, self.cluster.next_wake(now)].into_iter().flatten().min()
    }

    pub(super) fn describe(&self) -> String {
        let brokers = self.cluster.metadata().brokers().len();
        match self.missing.first_key_value() {
            _ if brokers < self.image.brokers_expected => {
                format!("{brokers} brokers of {} are known", self.image.brokers_expected)
            }
            Some((topic, Some(error))) => format!("topic {topic} is not created: {error}"),
            Some((topic, None)) => format!("topic {topic} is not created"),
            None => "partitions of a topic that was created have no leader".to_owned(),
        }
    }
}

fn wire(topic: &NewTopic) -> CreatableTopic {
    let assignments = topic.assignment.iter().map(|(&partition, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(partition)
            .with_broker_ids(brokers.iter().copied().map(BrokerId::wire).collect())
    });
    let configs = topic.config.iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string(name.clone()))
            .with_value(Some(StrBytes::from_string(value.clone())))
    });
    // Who says the assignment says neither of the two numbers.
    let (partitions, factor) =
        if topic.assignment.is_empty() { (topic.partitions, topic.replication_factor) } else { (-1, -1) };
    CreatableTopic::default()
        .with_name(topic.name.wire())
        .with_num_partitions(partitions)
        .with_replication_factor(factor)
        .with_assignments(assignments.collect())
        .with_configs(configs.collect())
}
