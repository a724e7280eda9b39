//! The creation of one topic: its checks in the real broker's order, then its two znodes, one after the other
//! (kafka-broker.md §4.7, `ZkAdminManager.createTopics`, `AdminZkClient`).
//!
//! Nothing makes the two writes one: a crash between them leaves `/config/topics/T` without a topic.

use std::collections::{BTreeMap, BTreeSet};

use jute::client::Response;
use jute::op::ErrorCode as ZkCode;
use kafkawire::messages::create_topics_request::CreatableTopic;
use kafkawire::znode::{self, TopicAssignment, TopicConfig};
use kafkawire::{AssignmentStart, BadAssignment, BrokerId, Candidate, ErrorCode, Topic, assign_replicas};
use machine::Purpose;

use crate::BrokerConfig;
use crate::api::topic_name;
use crate::cx::Cx;
use crate::topic_settings::TopicSettings;
use crate::zookeeper::{Creation, RecursiveCreate, ZkError, ZkRequest, ZkResult};

const ASSIGNMENT: Purpose = Purpose::new("broker-replica-assignment");
/// "As the broker is configured".
const DEFAULT: i32 = -1;

/// Why a topic is not created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) error: ErrorCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// `isTopicMarkedForDeletion`.
    CheckingDeletion,
    /// `topicExists`.
    CheckingTopic,
    /// `getAllTopicsInCluster`, for a name that may collide.
    CheckingCollisions,
    /// The config znode is overwritten if it is there …
    WritingConfig,
    /// … created if it is not …
    CreatingConfig(RecursiveCreate),
    /// … and overwritten if another was faster.
    WritingConfigAgain,
    CreatingTopic(RecursiveCreate),
}

/// What comes next.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// Ask this, and go on with its result.
    Ask(ZkRequest),
    /// It is written, or would be.
    Done,
    Refused(Refusal),
}

/// The creation of one topic under way.
#[derive(Clone, Debug)]
pub(super) struct TopicCreation {
    pub(super) topic: Topic,
    pub(super) assignment: BTreeMap<i32, Vec<BrokerId>>,
    pub(super) config: BTreeMap<String, String>,
    validate_only: bool,
    step: Step,
}

impl TopicCreation {
    /// What can be checked without ZooKeeper; then the first question to it.
    pub(super) fn begin(
        wanted: &CreatableTopic,
        validate_only: bool,
        cx: &mut Cx<'_, '_>,
    ) -> Result<(Self, ZkRequest), Refusal> {
        let topic = Topic::from(&wanted.name);
        if cx.cache.topics.contains_key(&topic) {
            return Err(exists(&topic));
        }
        let mut config = BTreeMap::new();
        for own in &wanted.configs {
            let Some(value) = &own.value else {
                let message = format!("Null value not supported for topic configs: {}", own.name);
                return Err(Refusal::new(ErrorCode::InvalidConfig, message));
            };
            config.insert(own.name.to_string(), value.to_string());
        }
        let counts_given = wanted.num_partitions != DEFAULT || i32::from(wanted.replication_factor) != DEFAULT;
        if counts_given && !wanted.assignments.is_empty() {
            let message = "Both numPartitions or replicationFactor and replicasAssignments were set.";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let assignment = if wanted.assignments.is_empty() { assigned(wanted, cx)? } else { given(wanted) };
        if !topic_name::is_legal(topic.as_str()) {
            return Err(Refusal::new(ErrorCode::InvalidTopic, format!("Topic name {topic:?} is illegal")));
        }
        let first = ZkRequest::Exists { path: znode::delete_topic(&topic) };
        Ok((Self { topic, assignment, config, validate_only, step: Step::CheckingDeletion }, first))
    }

    /// Goes on with the result of what it asked last.
    pub(super) fn next(&mut self, result: &ZkResult, config: &BrokerConfig) -> Next {
        match &mut self.step {
            Step::CheckingDeletion => match result {
                Ok(_) => Next::Refused(Refusal::new(
                    ErrorCode::TopicAlreadyExists,
                    format!("Topic '{}' is marked for deletion.", self.topic),
                )),
                Err(ZkError::Code(ZkCode::NoNode)) => {
                    self.step = Step::CheckingTopic;
                    Next::Ask(ZkRequest::Exists { path: znode::topic(&self.topic) })
                }
                Err(why) => unanswered(*why),
            },
            Step::CheckingTopic => match result {
                Ok(_) => Next::Refused(exists(&self.topic)),
                Err(ZkError::Code(ZkCode::NoNode)) if topic_name::has_collision_chars(self.topic.as_str()) => {
                    self.step = Step::CheckingCollisions;
                    Next::Ask(ZkRequest::GetChildren { path: znode::BROKERS_TOPICS.to_owned(), watch: false })
                }
                Err(ZkError::Code(ZkCode::NoNode)) => self.check_and_write(config),
                Err(why) => unanswered(*why),
            },
            Step::CheckingCollisions => match result {
                Ok(Some(Response::GetChildren2(all))) => {
                    // It may have been created meanwhile: that is no collision.
                    if all.children.iter().any(|other| *other == self.topic.as_str()) {
                        return Next::Refused(exists(&self.topic));
                    }
                    match all.children.iter().find(|other| topic_name::collide(self.topic.as_str(), other)) {
                        Some(other) => Next::Refused(Refusal::new(
                            ErrorCode::InvalidTopic,
                            format!("Topic '{}' collides with existing topics: {other}", self.topic),
                        )),
                        None => self.check_and_write(config),
                    }
                }
                Ok(other) => panic!("getChildren was answered by {other:?}"),
                Err(ZkError::Code(ZkCode::NoNode)) => self.check_and_write(config),
                Err(why) => unanswered(*why),
            },
            Step::WritingConfig => match result {
                Ok(_) => self.create_topic(),
                Err(ZkError::Code(ZkCode::NoNode)) => {
                    let path = znode::topic_config(&self.topic);
                    let (create, first) = RecursiveCreate::begin(&path, self.config_payload());
                    self.step = Step::CreatingConfig(create);
                    Next::Ask(first)
                }
                Err(why) => unanswered(*why),
            },
            Step::CreatingConfig(create) => match create.next(result) {
                Creation::Ask(next) => Next::Ask(next),
                Creation::Created => self.create_topic(),
                Creation::Existed => {
                    self.step = Step::WritingConfigAgain;
                    Next::Ask(self.write_config())
                }
                Creation::Failed(why) => unanswered(why),
            },
            Step::WritingConfigAgain => match result {
                Ok(_) => self.create_topic(),
                Err(why) => unanswered(*why),
            },
            Step::CreatingTopic(create) => match create.next(result) {
                Creation::Ask(next) => Next::Ask(next),
                Creation::Created => Next::Done,
                // Also if it was created by this very request, whose answer was lost: nothing tells them apart.
                Creation::Existed => Next::Refused(exists(&self.topic)),
                Creation::Failed(why) => unanswered(why),
            },
        }
    }

    /// The last checks, then the first write.
    fn check_and_write(&mut self, config: &BrokerConfig) -> Next {
        if let Err(refusal) = check_assignment(&self.assignment) {
            return Next::Refused(refusal);
        }
        if let Err(why) = TopicSettings::with(config, &self.config) {
            return Next::Refused(Refusal::new(ErrorCode::InvalidConfig, why.to_string()));
        }
        if self.validate_only {
            return Next::Done;
        }
        self.step = Step::WritingConfig;
        Next::Ask(self.write_config())
    }

    /// The configuration is written even if it is empty.
    fn write_config(&self) -> ZkRequest {
        ZkRequest::SetData { path: znode::topic_config(&self.topic), data: self.config_payload(), version: -1 }
    }

    fn config_payload(&self) -> bytes::Bytes {
        TopicConfig { config: self.config.clone() }.encode()
    }

    fn create_topic(&mut self) -> Next {
        let payload = TopicAssignment { partitions: self.assignment.clone() }.encode();
        let (create, first) = RecursiveCreate::begin(&znode::topic(&self.topic), payload);
        self.step = Step::CreatingTopic(create);
        Next::Ask(first)
    }
}

fn exists(topic: &Topic) -> Refusal {
    Refusal::new(ErrorCode::TopicAlreadyExists, format!("Topic '{topic}' already exists."))
}

/// The session ended, or ZooKeeper refused: whether something was written is not known (`UnknownServerException`).
fn unanswered(why: ZkError) -> Next {
    Next::Refused(Refusal::new(ErrorCode::UnknownServerError, format!("ZooKeeper: {why:?}")))
}

/// The brokers that are alive share the replicas; counts that are not given are the broker's own.
fn assigned(wanted: &CreatableTopic, cx: &mut Cx<'_, '_>) -> Result<BTreeMap<i32, Vec<BrokerId>>, Refusal> {
    let config = cx.config();
    let partitions = if wanted.num_partitions == DEFAULT { config.num_partitions } else { wanted.num_partitions };
    let replication_factor = if i32::from(wanted.replication_factor) == DEFAULT {
        config.default_replication_factor
    } else {
        wanted.replication_factor
    };
    let alive = cx.cache.alive.iter().map(|(&broker, alive)| Candidate { broker, rack: alive.rack.clone() });
    let candidates: Vec<Candidate> = alive.collect();
    let racks = candidates.iter().filter(|candidate| candidate.rack.is_some()).count();
    if racks > 0 && racks < candidates.len() {
        let why = "Not all brokers have rack information for replica rack aware assignment.";
        return Err(Refusal::new(ErrorCode::UnknownServerError, why));
    }
    let mut draw = cx.io.draw(ASSIGNMENT);
    let mut below = |brokers: usize| if brokers == 0 { 0 } else { draw.index(brokers) };
    let start = AssignmentStart { index: below(candidates.len()), shift: below(candidates.len()) };
    assign_replicas(&candidates, partitions, replication_factor, start).map_err(|why| match why {
        BadAssignment::NoPartitions => {
            Refusal::new(ErrorCode::InvalidPartitions, "Number of partitions must be larger than 0.")
        }
        BadAssignment::ReplicationFactor { wanted: ..=0, .. } => {
            let why = "Replication factor must be larger than 0.";
            Refusal::new(ErrorCode::InvalidReplicationFactor, why)
        }
        BadAssignment::ReplicationFactor { wanted, brokers } => {
            let why = format!("Replication factor: {wanted} larger than available brokers: {brokers}.");
            Refusal::new(ErrorCode::InvalidReplicationFactor, why)
        }
    })
}

/// As the request says; brokers that do not exist are not noticed.
fn given(wanted: &CreatableTopic) -> BTreeMap<i32, Vec<BrokerId>> {
    let of = |ids: &[kafkawire::messages::BrokerId]| ids.iter().map(|&id| BrokerId::from(id)).collect();
    wanted.assignments.iter().map(|given| (given.partition_index, of(&given.broker_ids))).collect()
}

fn check_assignment(assignment: &BTreeMap<i32, Vec<BrokerId>>) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    let sizes: BTreeSet<usize> = assignment.values().map(Vec::len).collect();
    if sizes.len() != 1 {
        return refuse("All partitions should have the same number of replicas");
    }
    if assignment.values().any(|replicas| replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len()) {
        return refuse("Duplicate replica assignment found");
    }
    if !assignment.keys().copied().eq((0..).take(assignment.len())) {
        return refuse("partitions should be a consecutive 0-based integer sequence");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(of: &[(i32, &[i32])]) -> BTreeMap<i32, Vec<BrokerId>> {
        of.iter().map(|&(partition, ids)| (partition, ids.iter().copied().map(BrokerId).collect())).collect()
    }

    #[track_caller]
    fn refused(of: &[(i32, &[i32])]) {
        let refusal = check_assignment(&assignment(of)).expect_err("it is not to be accepted");
        assert_eq!(refusal.error, ErrorCode::InvalidReplicaAssignment);
    }

    #[test]
    fn assignments_with_gaps_duplicates_or_unequal_lists_are_refused() {
        assert_eq!(check_assignment(&assignment(&[(0, &[1, 2]), (1, &[2, 1])])), Ok(()));
        refused(&[(0, &[1, 2]), (1, &[2])]);
        refused(&[(0, &[1, 1])]);
        refused(&[(0, &[1]), (2, &[1])]);
        refused(&[(1, &[1])]);
        refused(&[(-1, &[1]), (0, &[1])]);
    }
}
