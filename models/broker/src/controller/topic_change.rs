//! Topics that come, and partitions that come to them (kafka-broker.md §4.7, the controller's part).
//!
//! Only partitions that are not known are taken up: replicas that a tool writes over those of a known partition are ignored.

use std::collections::BTreeSet;

use kafkawire::znode::{BROKERS_TOPICS, TopicAssignment};
use kafkawire::{Topic, TopicPartition};

use crate::cx::Cx;
use crate::fact::KafkaFact;

use super::context::{PartitionState, ReplicaState};
use super::failover::{assignments_read, topic_reads, topics_listed};
use super::partition_machine::PartitionStep;
use super::replica_machine::ReplicaStep;
use super::step::Done;
use super::strategy::Strategy;
use super::{Controller, read};

/// A step of a change of topics.
#[derive(Clone, Debug)]
pub(super) enum TopicStep {
    /// Lists `/brokers/topics`.
    List,
    /// It was listed.
    Listed,
    /// The new topics were read; these others are gone.
    Read {
        /// Who was read.
        added: Vec<Topic>,
        /// Who is gone.
        removed: Vec<Topic>,
    },
    /// Reads a topic whose data changed.
    ReadOne(Topic),
    /// It was read.
    OneRead(Topic),
    /// `onNewPartitionCreation`, from its second half on: the replicas of these partitions are new.
    Create(Vec<TopicPartition>),
    /// These partitions have leaders: their replicas are online.
    Created(Vec<TopicPartition>),
}

impl Controller {
    pub(super) fn begin_topic_change(&mut self) {
        self.then(TopicStep::List);
    }

    pub(super) fn begin_partition_modifications(&mut self, topic: Topic) {
        self.then(TopicStep::ReadOne(topic));
    }

    pub(super) fn run_topic(&mut self, step: TopicStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            TopicStep::List => self.list(BROKERS_TOPICS, TopicStep::Listed, cx),
            TopicStep::Listed => {
                let current = topics_listed(&read::only(self.take_results()))?;
                let (known, added): (Vec<Topic>, Vec<Topic>) =
                    current.into_iter().partition(|topic| self.context.has_topic(topic.as_str()));
                let known: BTreeSet<Topic> = known.into_iter().collect();
                let removed = self.context.topics().filter(|topic| !known.contains(*topic)).cloned().collect();
                self.watch_topics(&added, cx);
                self.ask(topic_reads(&added), TopicStep::Read { added, removed }, cx);
            }
            TopicStep::Read { added, removed } => {
                let results = self.take_results();
                let assignments = assignments_read(&added, &results)?;
                for topic in removed {
                    // The real one keeps the states of its partitions, to no effect.
                    self.context.remove_topic(topic.as_str());
                }
                self.take_up(&assignments, cx);
            }
            TopicStep::ReadOne(topic) => {
                let reads = topic_reads(std::slice::from_ref(&topic));
                self.ask(reads, TopicStep::OneRead(topic), cx);
            }
            TopicStep::OneRead(topic) => {
                let results = self.take_results();
                for (topic, assigned) in assignments_read(&[topic], &results)? {
                    let partitions = self.context.put_assignment(&topic, &assigned.partitions);
                    self.on_new_partitions(partitions);
                }
            }
            TopicStep::Create(partitions) => {
                let replicas = self.context.replicas_of(&partitions);
                self.then(TopicStep::Created(partitions.clone()));
                self.then(PartitionStep::Change {
                    partitions,
                    target: PartitionState::Online,
                    strategy: Strategy::Offline,
                });
                self.then(ReplicaStep::Change { replicas, target: ReplicaState::New });
            }
            TopicStep::Created(partitions) => {
                let replicas = self.context.replicas_of(&partitions);
                self.then(ReplicaStep::Change { replicas, target: ReplicaState::Online });
            }
        }
        Ok(())
    }

    fn take_up(&mut self, assignments: &[(Topic, TopicAssignment)], cx: &mut Cx<'_, '_>) {
        let mut created = Vec::new();
        for (topic, assigned) in assignments {
            let partitions = self.context.put_assignment(topic, &assigned.partitions);
            cx.io.state(KafkaFact::TopicCreated {
                controller: cx.broker(),
                topic: topic.clone(),
                partitions: partitions.len() as u64,
            });
            created.extend(partitions);
        }
        self.on_new_partitions(created);
    }

    fn on_new_partitions(&mut self, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        self.then(TopicStep::Create(partitions.clone()));
        self.then(PartitionStep::Change { partitions, target: PartitionState::New, strategy: Strategy::Offline });
    }
}
