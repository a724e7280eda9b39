//! One rebalance of the consumer of 0.8: the seven steps of §6.10, tried again until `rebalance.max.retries`.
//!
//! ```text
//!  1 read brokers, members, their threads, partitions   4 assign, everybody alone      7 fetch
//!  2 stop fetchers, commit                              5 read offsets                    │
//!  3 release: delete own owners                         6 claim: create owners ──refused──┴─▶ delete those made, rest, again
//! ```
//!
//! The steps are in this order because the next member may claim as soon as this one has released, and must then find the
//! offsets committed; nothing but claims and retries keeps two members with different views apart.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jute::op::{CreateMode, ErrorCode};
use kafkawire::znode::{self, ConsumerRegistration, TopicAssignment};
use kafkawire::{Offset, TopicPartition};
use machine::{Instant, Io};

use super::range::range_assignment;
use super::{ZkConsumer, ZkOp};
use crate::kafka::session::{Answer, Watch, parents};
use crate::kafka::{KafkaClient, KafkaClientMark, KafkaWorkFact};

/// What an operation of a rebalance is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RebalanceOp {
    Brokers,
    Members,
    Registration {
        consumer: String,
    },
    Topic,
    Release {
        partition: i32,
    },
    /// A parent of the owners, by its depth, for the claim that found none.
    OwnersParent {
        partition: i32,
        depth: usize,
    },
    Claim {
        partition: i32,
    },
    /// Whose claim is in the way.
    Owner {
        partition: i32,
    },
    RollBack {
        partition: i32,
    },
}

/// Where an attempt is.
#[derive(Clone, Debug)]
enum Step {
    ReadBrokers,
    ReadMembers,
    ReadRegistrations {
        left: BTreeSet<String>,
        threads: Vec<String>,
    },
    ReadTopic {
        threads: Vec<String>,
    },
    Commit {
        due: BTreeMap<i32, Offset>,
        threads: Vec<String>,
        partitions: Vec<i32>,
    },
    Release {
        left: BTreeSet<i32>,
        threads: Vec<String>,
        partitions: Vec<i32>,
    },
    ReadOffsets {
        mine: BTreeMap<i32, String>,
        found: BTreeMap<i32, Option<Offset>>,
    },
    Claim {
        mine: BTreeMap<i32, String>,
        found: BTreeMap<i32, Option<Offset>>,
        claimed: BTreeSet<i32>,
        refused: BTreeSet<i32>,
    },
    RollBack {
        left: BTreeSet<i32>,
    },
    Rest {
        until: Instant,
    },
}

/// A rebalance.
#[derive(Clone, Debug)]
pub(super) struct Rebalance {
    why: &'static str,
    attempt: u32,
    step: Step,
}

impl Rebalance {
    pub(super) fn describe(&self) -> String {
        format!("is rebalancing ({}, attempt {})", self.why, self.attempt)
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        match self.step {
            Step::Rest { until } => Some(until),
            Step::ReadBrokers
            | Step::ReadMembers
            | Step::ReadRegistrations { .. }
            | Step::ReadTopic { .. }
            | Step::Commit { .. }
            | Step::Release { .. }
            | Step::ReadOffsets { .. }
            | Step::Claim { .. }
            | Step::RollBack { .. } => None,
        }
    }
}

impl ZkConsumer {
    /// Something changed. One that is running goes on, and another follows it.
    pub(super) fn trigger(&mut self, why: &'static str, io: &mut Io<'_, KafkaClient>) {
        if !self.is_registered() || self.life.is_terminating() {
            return;
        }
        if self.rebalance.is_some() {
            io.reach(KafkaClientMark::RebalanceAgain);
            self.triggered = Some(why);
        } else {
            self.begin_attempt(why, 1, io);
        }
    }

    fn begin_attempt(&mut self, why: &'static str, attempt: u32, io: &mut Io<'_, KafkaClient>) {
        self.run += 1;
        self.has_failed = false;
        io.state(KafkaWorkFact::RebalanceBegun {
            client: self.life.client,
            group: self.image.group.clone(),
            attempt: u64::from(attempt),
            why,
        });
        self.rebalance = Some(Rebalance { why, attempt, step: Step::ReadBrokers });
        self.ask(RebalanceOp::Brokers, io);
    }

    pub(super) fn on_rebalance_woken(&mut self, io: &mut Io<'_, KafkaClient>) {
        if let Some(Rebalance { why, attempt, step: Step::Rest { until } }) = self.rebalance
            && until <= io.now()
        {
            self.begin_attempt(why, attempt + 1, io);
        }
    }

    fn owner_path(&self, partition: i32) -> String {
        znode::consumer_owner(&self.image.group, &TopicPartition::new(self.image.topic.clone(), partition))
    }

    fn ask(&mut self, op: RebalanceOp, io: &mut Io<'_, KafkaClient>) {
        let purpose = ZkOp::Rebalance { run: self.run, op: op.clone() };
        let group = &self.image.group;
        match op {
            RebalanceOp::Brokers => self.session.children(purpose, znode::BROKERS_IDS.to_owned(), Watch::None, io),
            RebalanceOp::Members => self.session.children(purpose, znode::consumer_ids(group), Watch::None, io),
            RebalanceOp::Registration { consumer } => {
                self.session.data(purpose, znode::consumer_id(group, &consumer), Watch::None, io);
            }
            RebalanceOp::Topic => self.session.data(purpose, znode::topic(&self.image.topic), Watch::None, io),
            RebalanceOp::Release { partition } | RebalanceOp::RollBack { partition } => {
                self.session.delete(purpose, self.owner_path(partition), io);
            }
            RebalanceOp::OwnersParent { partition, depth } => {
                let parent = parents(&self.owner_path(partition)).into_iter().nth(depth);
                let parent = parent.expect("the depth is that of a parent");
                self.session.create(purpose, parent, Bytes::new(), CreateMode::Persistent, io);
            }
            RebalanceOp::Claim { partition } => {
                let Some(Step::Claim { mine, .. }) = self.rebalance.as_ref().map(|rebalance| &rebalance.step) else {
                    panic!("a claim belongs to its step")
                };
                let thread = Bytes::from(mine[&partition].clone());
                self.session.create(purpose, self.owner_path(partition), thread, CreateMode::Ephemeral, io);
            }
            RebalanceOp::Owner { partition } => {
                self.session.data(purpose, self.owner_path(partition), Watch::None, io);
            }
        }
    }

    fn step(&mut self) -> &mut Step {
        &mut self.rebalance.as_mut().expect("a rebalance is running").step
    }

    /// An answer to an operation of the present attempt. What was lost is asked again: the ZooKeeper client of 0.8 retries
    /// until it is connected.
    pub(super) fn on_rebalance_answer(&mut self, op: RebalanceOp, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        if answer == Answer::Lost {
            return self.ask(op, io);
        }
        match op {
            RebalanceOp::Brokers => self.on_brokers(answer, io),
            RebalanceOp::Members => self.on_members(answer, io),
            RebalanceOp::Registration { consumer } => self.on_registration(&consumer, answer, io),
            RebalanceOp::Topic => self.on_topic(answer, io),
            RebalanceOp::Release { partition } => {
                let Step::Release { left, .. } = self.step() else { panic!("a release belongs to its step") };
                left.remove(&partition);
                self.registry.remove(&partition);
                self.go_on(io);
            }
            RebalanceOp::OwnersParent { partition, depth } => {
                let is_last = depth + 1 == parents(&self.owner_path(partition)).len();
                let next = if is_last {
                    RebalanceOp::Claim { partition }
                } else {
                    RebalanceOp::OwnersParent { partition, depth: depth + 1 }
                };
                self.ask(next, io);
            }
            RebalanceOp::Claim { partition } => match answer {
                Answer::Done => self.on_claimed(partition, true, io),
                Answer::Refused(ErrorCode::NoNode) => {
                    self.ask(RebalanceOp::OwnersParent { partition, depth: 0 }, io);
                }
                Answer::Refused(ErrorCode::NodeExists) => self.ask(RebalanceOp::Owner { partition }, io),
                Answer::Data { .. } | Answer::Children(_) | Answer::Refused(_) | Answer::Lost => {
                    self.on_claimed(partition, false, io);
                }
            },
            RebalanceOp::Owner { partition } => {
                // The claim itself, if its answer was lost; else another's, or one of an earlier session of this consumer.
                let is_own = match &answer {
                    Answer::Data { stat, .. } => stat.ephemeral_owner == self.session.zk().session(),
                    Answer::Children(_) | Answer::Done | Answer::Refused(_) | Answer::Lost => false,
                };
                self.on_claimed(partition, is_own, io);
            }
            RebalanceOp::RollBack { partition } => {
                let Step::RollBack { left } = self.step() else { panic!("a roll-back belongs to its step") };
                left.remove(&partition);
                if left.is_empty() {
                    self.fail_attempt(io);
                }
            }
        }
    }

    fn on_brokers(&mut self, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        let has_brokers = matches!(&answer, Answer::Children(names) if !names.is_empty());
        if has_brokers {
            *self.step() = Step::ReadMembers;
            return self.ask(RebalanceOp::Members, io);
        }
        // "No brokers found when trying to rebalance": whatever it has stays, and the first broker will trigger another.
        self.watch_brokers(io);
        self.finish(io);
    }

    fn on_members(&mut self, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        let Answer::Children(consumers) = answer else { return self.fail_attempt(io) };
        // It must find itself: a registration that is gone is an error of the attempt.
        if !consumers.contains(&self.consumer_id) {
            return self.fail_attempt(io);
        }
        *self.step() = Step::ReadRegistrations { left: consumers.iter().cloned().collect(), threads: Vec::new() };
        for consumer in consumers {
            self.ask(RebalanceOp::Registration { consumer }, io);
        }
    }

    fn on_registration(&mut self, consumer: &str, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        let topic = self.image.topic.clone();
        // A member that left in between is an error of the attempt; so are answers behind that.
        let Step::ReadRegistrations { left, threads } = self.step() else { return };
        let Answer::Data { data, .. } = answer else { return self.fail_attempt(io) };
        let registration = ConsumerRegistration::decode(&data).expect("consumers register with JSON");
        let count = registration.subscription.get(topic.as_str()).copied().unwrap_or(0);
        threads.extend((0..count).map(|thread| thread_id(consumer, thread)));
        left.remove(consumer);
        if left.is_empty() {
            threads.sort_unstable();
            let threads = std::mem::take(threads);
            *self.step() = Step::ReadTopic { threads };
            self.ask(RebalanceOp::Topic, io);
        }
    }

    fn on_topic(&mut self, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        let Step::ReadTopic { threads } = self.step() else { panic!("the topic is read in its step") };
        let threads = std::mem::take(threads);
        let partitions = match answer {
            Answer::Data { data, .. } => {
                let assignment = TopicAssignment::decode(&data).expect("whoever creates a topic writes its assignment");
                assignment.partitions.into_keys().collect()
            }
            // A topic that is not there has no partitions.
            Answer::Children(_) | Answer::Done | Answer::Refused(_) | Answer::Lost => Vec::new(),
        };
        let due = self.stop_fetchers(io);
        *self.step() = Step::Commit { due, threads, partitions };
        self.go_on(io);
    }

    /// A commit ended: the next may begin.
    pub(super) fn on_rebalance_committed(&mut self, io: &mut Io<'_, KafkaClient>) {
        if self.rebalance.is_some() {
            self.go_on(io);
        }
    }

    /// Leaves a step in which nothing is left to wait for.
    fn go_on(&mut self, io: &mut Io<'_, KafkaClient>) {
        let Some(Rebalance { step, .. }) = &mut self.rebalance else { return };
        match step {
            Step::Commit { due, threads, partitions } => {
                // A commit of the timer may be under way, with an older offset.
                for (&partition, &offset) in due.iter() {
                    self.offsets.commit(partition, offset, &mut self.session, io);
                }
                due.retain(|&partition, &mut offset| self.offsets.is_committing_other(partition, offset));
                if due.is_empty() && !self.offsets.is_committing() {
                    let (threads, partitions) = (std::mem::take(threads), std::mem::take(partitions));
                    let left: BTreeSet<i32> = self.registry.keys().copied().collect();
                    *step = Step::Release { left: left.clone(), threads, partitions };
                    for partition in left {
                        self.ask(RebalanceOp::Release { partition }, io);
                    }
                    self.go_on(io);
                }
            }
            Step::Release { left, threads, partitions } => {
                if left.is_empty() {
                    let mut mine = range_assignment(partitions, threads);
                    let own: Vec<String> = (0..self.image.streams)
                        .map(|thread| thread_id(&self.consumer_id, i32::try_from(thread).expect("few threads")))
                        .collect();
                    mine.retain(|_, thread| own.contains(thread));
                    let wanted: Vec<i32> = mine.keys().copied().collect();
                    *step = Step::ReadOffsets { mine, found: BTreeMap::new() };
                    self.offsets.forget();
                    for partition in wanted {
                        self.offsets.fetch(partition, &mut self.session, io);
                    }
                    self.go_on(io);
                }
            }
            Step::ReadOffsets { mine, found } => {
                if found.len() == mine.len() {
                    let (mine, found) = (std::mem::take(mine), std::mem::take(found));
                    let wanted: Vec<i32> = mine.keys().copied().collect();
                    *step = Step::Claim { mine, found, claimed: BTreeSet::new(), refused: BTreeSet::new() };
                    for partition in wanted {
                        self.ask(RebalanceOp::Claim { partition }, io);
                    }
                    self.go_on(io);
                }
            }
            Step::Claim { mine, found, claimed, refused } => {
                if claimed.len() + refused.len() < mine.len() {
                    return;
                }
                if !refused.is_empty() {
                    let left = std::mem::take(claimed);
                    *step = Step::RollBack { left: left.clone() };
                    if left.is_empty() {
                        return self.fail_attempt(io);
                    }
                    for partition in left {
                        self.ask(RebalanceOp::RollBack { partition }, io);
                    }
                    return;
                }
                let (mine, found) = (std::mem::take(mine), std::mem::take(found));
                self.registry = mine;
                self.start_fetchers(&found, io);
                self.finish(io);
            }
            Step::ReadBrokers
            | Step::ReadMembers
            | Step::ReadRegistrations { .. }
            | Step::ReadTopic { .. }
            | Step::RollBack { .. }
            | Step::Rest { .. } => {}
        }
    }

    pub(super) fn on_offset_found(&mut self, partition: i32, offset: Option<Offset>, io: &mut Io<'_, KafkaClient>) {
        if let Some(Rebalance { step: Step::ReadOffsets { mine, found }, .. }) = &mut self.rebalance
            && mine.contains_key(&partition)
        {
            found.insert(partition, offset);
            self.go_on(io);
        }
    }

    fn on_claimed(&mut self, partition: i32, is_ours: bool, io: &mut Io<'_, KafkaClient>) {
        let Step::Claim { claimed, refused, .. } = self.step() else { panic!("a claim belongs to its step") };
        if is_ours {
            claimed.insert(partition);
        } else {
            refused.insert(partition);
            io.reach(KafkaClientMark::ClaimRefused);
            io.state(KafkaWorkFact::ClaimRefused {
                client: self.life.client,
                group: self.image.group.clone(),
                topic: self.image.topic.clone(),
                partition,
            });
        }
        self.go_on(io);
    }

    /// Nothing is fetched while it rests: what it does not own, another may already read.
    fn fail_attempt(&mut self, io: &mut Io<'_, KafkaClient>) {
        for (partition, offset) in self.stop_fetchers(io) {
            self.offsets.commit(partition, offset, &mut self.session, io);
        }
        // Answers of this attempt that are still under way mean nothing to the next one.
        self.run += 1;
        let rebalance = self.rebalance.as_mut().expect("a rebalance is running");
        if rebalance.attempt < self.image.rebalance_max_retries {
            rebalance.step = Step::Rest { until: io.now() + self.image.rebalance_backoff };
            return;
        }
        io.reach(KafkaClientMark::RebalanceFailed);
        io.state(KafkaWorkFact::RebalanceFailed {
            client: self.life.client,
            group: self.image.group.clone(),
            attempts: u64::from(rebalance.attempt),
        });
        self.has_failed = true;
        self.end_rebalance(io);
    }

    fn finish(&mut self, io: &mut Io<'_, KafkaClient>) {
        let attempts = u64::from(self.rebalance.as_ref().expect("a rebalance is running").attempt);
        io.state(KafkaWorkFact::RebalanceFinished {
            client: self.life.client,
            group: self.image.group.clone(),
            attempts,
            partitions: self.registry.len() as u64,
        });
        self.end_rebalance(io);
    }

    fn end_rebalance(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.rebalance = None;
        if let Some(why) = self.triggered.take() {
            self.trigger(why, io);
        }
    }
}

/// The id of one of a consumer's threads: what owners hold.
pub(super) fn thread_id(consumer: &str, thread: i32) -> String {
    format!("{consumer}-{thread}")
}
