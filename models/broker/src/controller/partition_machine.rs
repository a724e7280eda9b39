//! The partition state machine (kafka-broker.md §4.5).
//!
//! A partition becomes online in two ways: a new one gets its first `state` znode, any other is elected a leader by a
//! [`Strategy`] from what `state` says now. Both write fenced, and only what was written is told to brokers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jute::op::ErrorCode;
use kafkawire::znode;
use kafkawire::{BrokerId, LeaderEpoch, PartitionEpoch, Topic, TopicPartition};

use crate::cx::Cx;
use crate::fact::KafkaFact;
use crate::topic_settings::TopicSettings;
use crate::zookeeper::{ZkRequest, ZkResult};
use crate::{BrokerMark, Defect};

use super::context::{Leadership, PartitionState};
use super::failover::state_reads;
use super::fence::{self, Written};
use super::step::{Catch, Done, Failure, listed};
use super::strategy::{Elected, Strategy};
use super::{Controller, read};

/// A step of the partition state machine.
#[derive(Clone, Debug)]
pub(super) enum PartitionStep {
    /// `triggerOnlinePartitionStateChange`: every partition that is new or offline shall get a leader.
    TriggerOnline,
    /// `handleStateChanges`.
    Change {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// What they shall become.
        target: PartitionState,
        /// How leaders are elected, where they are.
        strategy: Strategy,
    },
    /// Its `try`.
    Transition {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// What they shall become.
        target: PartitionState,
        /// How leaders are elected.
        strategy: Strategy,
    },
    /// New partitions are given their first leader.
    Initialise(Vec<TopicPartition>),
    /// Their topics' `partitions` were created.
    ParentsCreated(Vec<(TopicPartition, Leadership)>),
    /// Their own znodes were created.
    PartitionsCreated(Vec<(TopicPartition, Leadership)>),
    /// Their `state`s were created.
    StatesCreated(Vec<(TopicPartition, Leadership)>),
    /// Reads the states of partitions that shall get another leader.
    Elect {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// How.
        strategy: Strategy,
    },
    /// They were read.
    StatesRead {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// How.
        strategy: Strategy,
    },
    /// The configuration of topics without a live replica in sync was read: may an unclean leader be elected?
    ConfigsRead {
        /// What the states said.
        before: Vec<(TopicPartition, Leadership)>,
        /// Whose configuration was read.
        topics: Vec<Topic>,
        /// How leaders are elected.
        strategy: Strategy,
    },
    /// The elections' outcomes were written.
    Elected {
        /// Which.
        elected: Vec<(TopicPartition, Elected)>,
        /// How, for those whose version had changed: they are elected again.
        strategy: Strategy,
    },
    /// Tells the brokers.
    Send,
}

impl Controller {
    pub(super) fn run_partition(&mut self, step: PartitionStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            PartitionStep::TriggerOnline => {
                let partitions = self.context.without_leader();
                self.then(PartitionStep::Change {
                    partitions,
                    target: PartitionState::Online,
                    strategy: Strategy::Offline,
                });
            }
            PartitionStep::Change { partitions, target, strategy } => {
                self.elected_some = false;
                if !partitions.is_empty() {
                    self.then(Catch::StateChanges);
                    self.then(PartitionStep::Transition { partitions, target, strategy });
                }
            }
            PartitionStep::Transition { partitions, target, strategy } => {
                self.batch.begin()?;
                self.then(PartitionStep::Send);
                self.transition(partitions, target, strategy);
            }
            PartitionStep::Initialise(partitions) => self.initialise(&partitions, cx),
            PartitionStep::ParentsCreated(partitions) => self.create_partitions(partitions, cx)?,
            PartitionStep::PartitionsCreated(partitions) => self.create_states(partitions, cx)?,
            PartitionStep::StatesCreated(partitions) => self.on_states_created(partitions, cx)?,
            PartitionStep::Elect { partitions, strategy } => {
                self.ask(state_reads(&partitions), PartitionStep::StatesRead { partitions, strategy }, cx);
            }
            PartitionStep::StatesRead { partitions, strategy } => self.on_states_read(partitions, strategy, cx),
            PartitionStep::ConfigsRead { before, topics, strategy } => {
                let results = self.take_results();
                let allowed = unclean_allowed(&topics, &results, cx);
                self.choose(before, &allowed, strategy, cx);
            }
            PartitionStep::Elected { elected, strategy } => self.on_elected(elected, strategy, cx)?,
            PartitionStep::Send => self.send_batch(cx),
        }
        Ok(())
    }

    fn transition(&mut self, partitions: Vec<TopicPartition>, target: PartitionState, strategy: Strategy) {
        let (mut uninitialised, mut to_elect) = (Vec::new(), Vec::new());
        for tp in partitions {
            // A topic that was removed meanwhile has no partitions to change.
            let Some(partition) = self.context.partition_mut(&tp) else { continue };
            if !partition.state.may_become(target) {
                // An invalid transition is logged.
                continue;
            }
            match (target, partition.state) {
                (PartitionState::New | PartitionState::Offline | PartitionState::NonExistent, _) => {
                    partition.state = target
                }
                (PartitionState::Online, PartitionState::New) => uninitialised.push(tp),
                (PartitionState::Online, PartitionState::Online | PartitionState::Offline) => to_elect.push(tp),
                (PartitionState::Online, PartitionState::NonExistent) => unreachable!("{tp} may not become online"),
            }
        }
        if !to_elect.is_empty() {
            self.then(PartitionStep::Elect { partitions: to_elect, strategy });
        }
        if !uninitialised.is_empty() {
            self.then(PartitionStep::Initialise(uninitialised));
        }
    }

    /// The first live replica leads, all live replicas are in sync. A partition without any stays new.
    fn initialise(&mut self, partitions: &[TopicPartition], cx: &mut Cx<'_, '_>) {
        let mut first = Vec::new();
        for tp in partitions {
            let assignment = self.context.assignment(tp);
            let live: Vec<BrokerId> =
                assignment.iter().copied().filter(|&broker| self.context.is_online(broker)).collect();
            if let Some(&leader) = live.first() {
                let leadership = Leadership {
                    leader: Some(leader),
                    leader_epoch: LeaderEpoch(0),
                    isr: live.into(),
                    partition_epoch: PartitionEpoch(0),
                    controller_epoch: self.context.epoch,
                };
                first.push((tp.clone(), leadership));
            }
        }
        let topics: BTreeSet<&Topic> = first.iter().map(|(tp, _)| &tp.topic).collect();
        let parents = topics.iter().map(|topic| ZkRequest::create(znode::topic_partitions(topic), Bytes::new()));
        let parents = self.fenced(parents, cx);
        self.ask(parents, PartitionStep::ParentsCreated(first), cx);
    }

    fn create_partitions(&mut self, first: Vec<(TopicPartition, Leadership)>, cx: &mut Cx<'_, '_>) -> Done {
        // That `partitions` was there already is as good, here and in the next.
        if self.unfenced_or_logged(cx)?.is_some() {
            let creates = first.iter().map(|(tp, _)| ZkRequest::create(znode::partition(tp), Bytes::new()));
            let creates = self.fenced(creates, cx);
            self.ask(creates, PartitionStep::PartitionsCreated(first), cx);
        }
        Ok(())
    }

    fn create_states(&mut self, first: Vec<(TopicPartition, Leadership)>, cx: &mut Cx<'_, '_>) -> Done {
        if self.unfenced_or_logged(cx)?.is_some() {
            let state = |leadership: &Leadership| leadership.written().encode();
            let creates = first.iter().map(|(tp, first)| ZkRequest::create(znode::partition_state(tp), state(first)));
            let creates = self.fenced(creates, cx);
            self.ask(creates, PartitionStep::StatesCreated(first), cx);
        }
        Ok(())
    }

    /// A `state` that is there already is logged, and the partition stays new. If our own write created it, and its answer
    /// was lost with a connection, so does the real one's: the next controller finds the partition online.
    fn on_states_created(&mut self, first: Vec<(TopicPartition, Leadership)>, cx: &mut Cx<'_, '_>) -> Done {
        let Some(outcomes) = self.unfenced_or_logged(cx)? else { return Ok(()) };
        for ((tp, leadership), outcome) in first.into_iter().zip(outcomes) {
            if outcome.is_err() {
                continue;
            }
            let recipients = leadership.isr.clone();
            self.put_leadership(&tp, leadership, false, cx);
            self.batch.add_leader_and_isr(&recipients, &tp, true, &self.context);
            self.context.partition_mut(&tp).expect("its leadership was put").state = PartitionState::Online;
        }
        Ok(())
    }

    fn on_states_read(&mut self, partitions: Vec<TopicPartition>, strategy: Strategy, cx: &mut Cx<'_, '_>) {
        let mut before = Vec::new();
        for (tp, result) in partitions.into_iter().zip(self.take_results()) {
            // No state, or that of a later controller, or none to be had: this election failed, and is logged.
            let Ok(Some(leadership)) = self.state_of(&result) else { continue };
            before.push((tp, leadership));
        }
        let stuck = |(_, leadership): &&(TopicPartition, Leadership)| {
            !leadership.isr.iter().any(|&broker| self.context.is_online(broker))
        };
        let topics: BTreeSet<Topic> = match strategy {
            Strategy::Offline => before.iter().filter(stuck).map(|(tp, _)| tp.topic.clone()).collect(),
            Strategy::Preferred | Strategy::ControlledShutdown => BTreeSet::new(),
        };
        if topics.is_empty() {
            return self.choose(before, &BTreeMap::new(), strategy, cx);
        }
        let topics: Vec<Topic> = topics.into_iter().collect();
        let configs = topics.iter().map(TopicSettings::request).collect();
        self.ask(configs, PartitionStep::ConfigsRead { before, topics, strategy }, cx);
    }

    /// What a read of `state` says.
    ///
    /// # Errors
    /// `StateChangeFailedException` if a later controller wrote it; whatever ZooKeeper answered instead.
    pub(super) fn state_of(&self, result: &ZkResult) -> Result<Option<Leadership>, Failure> {
        let Some((data, stat)) = read::data(result)? else { return Ok(None) };
        let state = znode::PartitionState::decode(data)?;
        if state.controller_epoch > self.context.epoch {
            return Err(Failure::StateChange);
        }
        Ok(Some(Leadership::read(&state, stat.version.value())))
    }

    /// Elects, and writes who was elected. A topic missing in `allowed` had a live replica in sync, or no readable
    /// configuration: no unclean leader for it.
    fn choose(
        &mut self,
        before: Vec<(TopicPartition, Leadership)>,
        allowed: &BTreeMap<Topic, bool>,
        strategy: Strategy,
        cx: &mut Cx<'_, '_>,
    ) {
        let mut elected = Vec::new();
        for (tp, before) in before {
            let allow_unclean = allowed.get(&tp.topic).copied().unwrap_or(false);
            let assignment = self.context.assignment(&tp);
            let passes = cx.has(Defect::ElectsFirstLive) && strategy == Strategy::Offline;
            let first = assignment.iter().copied().find(|&broker| passes && self.context.is_online(broker));
            let before = match first.filter(|first| !before.isr.contains(first)) {
                Some(first) => Leadership { isr: before.isr.iter().copied().chain([first]).collect(), ..before },
                None => before,
            };
            if let Some(outcome) = strategy.elect(&assignment, &before, allow_unclean, &self.context) {
                elected.push((tp, outcome));
            }
        }
        let writes = self.state_writes(elected.iter().map(|(tp, outcome)| (tp, &outcome.leadership)), cx);
        self.ask(writes, PartitionStep::Elected { elected, strategy }, cx);
    }

    /// Fenced writes of states, each only if the version is still the one that was read. The controller epoch becomes ours.
    pub(super) fn state_writes<'a>(
        &self,
        states: impl Iterator<Item = (&'a TopicPartition, &'a Leadership)>,
        cx: &Cx<'_, '_>,
    ) -> Vec<ZkRequest> {
        let writes = states.map(|(tp, leadership)| {
            let state = znode::PartitionState { controller_epoch: self.context.epoch, ..leadership.written() };
            fence::set(znode::partition_state(tp), state.encode(), leadership.partition_epoch.0)
        });
        self.fenced(writes, cx)
    }

    fn on_elected(&mut self, elected: Vec<(TopicPartition, Elected)>, strategy: Strategy, cx: &mut Cx<'_, '_>) -> Done {
        let Some(outcomes) = self.unfenced_or_logged(cx)? else { return Ok(()) };
        let mut again = Vec::new();
        for ((tp, elected), outcome) in elected.into_iter().zip(outcomes) {
            match outcome {
                Ok(Written::Set { version }) => {
                    let leadership = self.owned(&elected.leadership, version);
                    self.put_leadership(&tp, leadership, elected.unclean, cx);
                    self.batch.add_leader_and_isr(&elected.recipients, &tp, false, &self.context);
                    self.context.partition_mut(&tp).expect("its leadership was put").state = PartitionState::Online;
                    self.elected_some = true;
                }
                Ok(Written::Done) => unreachable!("a state is set"),
                Err(ErrorCode::BadVersion) => again.push(tp),
                // Logged: this election failed.
                Err(_) => {}
            }
        }
        if !again.is_empty() {
            self.then(PartitionStep::Elect { partitions: again, strategy });
        }
        Ok(())
    }

    /// A leadership as this controller has written it.
    pub(super) fn owned(&self, leadership: &Leadership, version: i32) -> Leadership {
        Leadership {
            partition_epoch: PartitionEpoch(version),
            controller_epoch: self.context.epoch,
            ..leadership.clone()
        }
    }

    /// Remembers a state that this controller wrote, and states the fact if it has another leader than was known.
    pub(super) fn put_leadership(
        &mut self,
        tp: &TopicPartition,
        leadership: Leadership,
        unclean: bool,
        cx: &mut Cx<'_, '_>,
    ) {
        let partition = self.context.partition_mut(tp).expect("states are written of partitions that are known");
        let known = partition.leadership.replace(leadership.clone());
        if known.is_some_and(|known| known.leader == leadership.leader) {
            return;
        }
        if unclean {
            cx.io.reach(BrokerMark::UncleanElection);
        }
        cx.io.state(KafkaFact::PartitionLeaderElected {
            controller: cx.broker(),
            controller_epoch: self.context.epoch,
            topic: tp.topic.clone(),
            partition: tp.partition,
            leader: leadership.leader.map_or(-1, |leader| leader.0),
            leader_epoch: leadership.leader_epoch,
            isr: listed(leadership.isr.iter().copied()),
            unclean,
        });
    }
}

/// Which topics allow an unclean leader. One whose configuration cannot be read or applied does not.
fn unclean_allowed(topics: &[Topic], results: &[ZkResult], cx: &Cx<'_, '_>) -> BTreeMap<Topic, bool> {
    let read = |result| TopicSettings::read(cx.config(), result).ok();
    let settings = topics.iter().zip(results).filter_map(|(topic, result)| Some((topic, read(result)?)));
    settings.map(|(topic, settings)| (topic.clone(), settings.unclean_leader_election_enable)).collect()
}
