//! The replica state machine (kafka-broker.md §4.4).
//!
//! What matters most: a replica that goes offline leaves the ISR, and **the last member never does**. The leader epoch moves
//! on with every removal, so that whoever still leads in the old one is fenced.

use jute::op::ErrorCode;
use kafkawire::{BrokerId, TopicPartition};

use crate::cx::Cx;

use super::Controller;
use super::context::{Leadership, ReplicaState, Replicas};
use super::failover::state_reads;
use super::fence::Written;
use super::step::{Catch, Done};

/// A step of the replica state machine.
#[derive(Clone, Debug)]
pub(super) enum ReplicaStep {
    /// `handleStateChanges`.
    Change {
        /// Which, by broker.
        replicas: Replicas,
        /// What they shall become.
        target: ReplicaState,
    },
    /// Its `try`.
    Begin {
        /// Which, by broker.
        replicas: Replicas,
        /// What they shall become.
        target: ReplicaState,
    },
    /// The replicas of the next broker.
    Next {
        /// Those that are left.
        replicas: Replicas,
        /// What they shall become.
        target: ReplicaState,
    },
    /// `removeReplicasFromIsr`: reads the states.
    RemoveFromIsr {
        /// Of which replicas.
        partitions: Vec<TopicPartition>,
        /// Whose they are.
        replica: BrokerId,
    },
    /// They were read.
    StatesRead {
        /// Of which replicas.
        partitions: Vec<TopicPartition>,
        /// Whose they are.
        replica: BrokerId,
    },
    /// The shrunk ISRs were written.
    Removed {
        /// What was written.
        shrunk: Vec<(TopicPartition, Leadership)>,
        /// Who was removed.
        replica: BrokerId,
    },
    /// Tells the brokers.
    Send,
}

impl Controller {
    pub(super) fn run_replica(&mut self, step: ReplicaStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            ReplicaStep::Change { replicas, target } => {
                if !replicas.is_empty() {
                    self.then(Catch::StateChanges);
                    self.then(ReplicaStep::Begin { replicas, target });
                }
            }
            ReplicaStep::Begin { replicas, target } => {
                self.batch.begin()?;
                self.then(ReplicaStep::Send);
                self.then(ReplicaStep::Next { replicas, target });
            }
            ReplicaStep::Next { mut replicas, target } => {
                if let Some((broker, partitions)) = replicas.pop_first() {
                    self.then(ReplicaStep::Next { replicas, target });
                    self.change_replicas(broker, partitions, target);
                }
            }
            ReplicaStep::RemoveFromIsr { partitions, replica } => {
                self.ask(state_reads(&partitions), ReplicaStep::StatesRead { partitions, replica }, cx);
            }
            ReplicaStep::StatesRead { partitions, replica } => self.shrink_isrs(partitions, replica, cx),
            ReplicaStep::Removed { shrunk, replica } => self.on_removed(shrunk, replica, cx)?,
            ReplicaStep::Send => self.send_batch(cx),
        }
        Ok(())
    }

    fn change_replicas(&mut self, broker: BrokerId, mut partitions: Vec<TopicPartition>, target: ReplicaState) {
        partitions.retain(|tp| {
            let state = self.context.partition(tp).map(|partition| partition.replica(broker));
            // An invalid transition is logged.
            state.is_some_and(|state| state.may_become(target))
        });
        match target {
            ReplicaState::New => partitions.iter().for_each(|tp| self.renew(broker, tp)),
            ReplicaState::Online => partitions.iter().for_each(|tp| self.bring_online(broker, tp)),
            ReplicaState::Offline => self.take_offline(broker, partitions),
            ReplicaState::NonExistent | ReplicaState::DeletionIneligible => {
                unreachable!("no replica is made {target:?}: topic deletion is absent")
            }
        }
    }

    fn put_replica(&mut self, broker: BrokerId, tp: &TopicPartition, state: ReplicaState) {
        self.context.partition_mut(tp).expect("only replicas that are known change").put_replica(broker, state);
    }

    fn renew(&mut self, broker: BrokerId, tp: &TopicPartition) {
        if let Some(leadership) = self.context.leadership(tp) {
            if leadership.leader == Some(broker) {
                // Logged: a leader is not new.
                return;
            }
            self.batch.add_leader_and_isr(&[broker], tp, true, &self.context);
        }
        self.put_replica(broker, tp, ReplicaState::New);
    }

    fn bring_online(&mut self, broker: BrokerId, tp: &TopicPartition) {
        let partition = self.context.partition(tp).expect("only replicas that are known change");
        match partition.replica(broker) {
            // The election of the first leader has told it.
            ReplicaState::New => assert!(partition.assignment.contains(&broker), "{tp}: {broker} is not assigned"),
            ReplicaState::Online | ReplicaState::Offline | ReplicaState::DeletionIneligible => {
                if partition.leadership.is_some() {
                    self.batch.add_leader_and_isr(&[broker], tp, false, &self.context);
                }
            }
            ReplicaState::NonExistent => unreachable!("{tp}: {broker} may not become online"),
        }
        self.put_replica(broker, tp, ReplicaState::Online);
    }

    fn take_offline(&mut self, broker: BrokerId, partitions: Vec<TopicPartition>) {
        for tp in &partitions {
            self.batch.add_stop_replica(broker, tp, &self.context);
        }
        let led = |tp: &TopicPartition| self.context.leadership(tp).is_some();
        let (with_leadership, without): (Vec<_>, Vec<_>) = partitions.into_iter().partition(led);
        for tp in without {
            let live: Vec<BrokerId> = self.context.live_ids().collect();
            self.batch.add_update_metadata(live, std::slice::from_ref(&tp), &self.context);
            self.put_replica(broker, &tp, ReplicaState::Offline);
        }
        self.then(ReplicaStep::RemoveFromIsr { partitions: with_leadership, replica: broker });
    }

    fn shrink_isrs(&mut self, partitions: Vec<TopicPartition>, replica: BrokerId, cx: &mut Cx<'_, '_>) {
        let mut shrunk = Vec::new();
        for (tp, result) in partitions.into_iter().zip(self.take_results()) {
            // No state, or that of a later controller, or none to be had: this removal failed, and is logged.
            let Ok(Some(before)) = self.state_of(&result) else { continue };
            if !before.isr.contains(&replica) {
                let leadership = self.owned(&before, before.partition_epoch.0);
                self.put_offline(&tp, leadership, replica, cx);
                continue;
            }
            let leader = before.leader.filter(|&leader| leader != replica);
            let mut isr = before.isr.to_vec();
            if isr.len() > 1 {
                isr.retain(|&broker| broker != replica);
            }
            shrunk.push((tp, before.next(leader, isr)));
        }
        let writes = self.state_writes(shrunk.iter().map(|(tp, leadership)| (tp, leadership)), cx);
        self.ask(writes, ReplicaStep::Removed { shrunk, replica }, cx);
    }

    fn on_removed(
        &mut self,
        shrunk: Vec<(TopicPartition, Leadership)>,
        replica: BrokerId,
        cx: &mut Cx<'_, '_>,
    ) -> Done {
        let Some(outcomes) = self.unfenced_or_logged(cx)? else { return Ok(()) };
        let mut again = Vec::new();
        for ((tp, leadership), outcome) in shrunk.into_iter().zip(outcomes) {
            match outcome {
                Ok(Written::Set { version }) => {
                    let leadership = self.owned(&leadership, version);
                    self.put_offline(&tp, leadership, replica, cx);
                }
                Ok(Written::Done) => unreachable!("a state is set"),
                Err(ErrorCode::BadVersion) => again.push(tp),
                // Logged: this removal failed.
                Err(_) => {}
            }
        }
        if !again.is_empty() {
            self.then(ReplicaStep::RemoveFromIsr { partitions: again, replica });
        }
        Ok(())
    }

    /// A replica is out of the ISR, or the last in it: the other assigned ones are told, even if nothing changed.
    fn put_offline(&mut self, tp: &TopicPartition, leadership: Leadership, replica: BrokerId, cx: &mut Cx<'_, '_>) {
        self.put_leadership(tp, leadership, false, cx);
        let assignment = self.context.assignment(tp);
        let others: Vec<BrokerId> = assignment.iter().copied().filter(|&broker| broker != replica).collect();
        self.batch.add_leader_and_isr(&others, tp, false, &self.context);
        self.put_replica(replica, tp, ReplicaState::Offline);
    }
}
