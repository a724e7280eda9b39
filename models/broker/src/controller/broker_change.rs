//! Brokers that come, go, or come back faster than anybody looked (kafka-broker.md §4.6).
//!
//! Who is new, dead or bounced follows from **one** reading of `/brokers/ids` (KAFKA-3085), made when the event is processed
//! and not when it was delivered (KAFKA-5502). A bounce is seen by its czxid (KIP-380).

use std::collections::{BTreeMap, BTreeSet};

use kafkawire::znode::{self, BROKERS_IDS};
use kafkawire::{BrokerId, TopicPartition};

use crate::cx::{Ask, Cx};
use crate::fact::KafkaFact;
use crate::zookeeper::{ZkRequest, ZnodeHandler};
use crate::{BrokerMark, Defect};

use super::context::{LiveBroker, PartitionState, ReplicaState};
use super::failover::{FailoverStep, broker_ids, broker_reads, brokers_read};
use super::partition_machine::PartitionStep;
use super::replica_machine::ReplicaStep;
use super::step::{Done, listed};
use super::strategy::Strategy;
use super::{Controller, read};

/// Brokers and what was read of them.
type Brokers = BTreeMap<BrokerId, LiveBroker>;

/// A step of a change of brokers.
#[derive(Clone, Debug)]
pub(super) enum BrokerStep {
    /// Lists `/brokers/ids`.
    List,
    /// It was listed; reads each.
    Listed,
    /// They were read.
    Read(Vec<BrokerId>),
    /// Brokers are alive (again): `onBrokerStartup`.
    Startup(Brokers),
    /// They know their partitions, and everybody knows them: their replicas are online, and may lead who has no leader.
    Started(BTreeSet<BrokerId>),
    /// Everybody and they themselves have been told of the others: tells them their partitions.
    TellPartitions(Vec<BrokerId>),
    /// Brokers are not alive any more: `onBrokerFailure`.
    Failure(BTreeSet<BrokerId>),
    /// The leaderless partitions have had their elections: the replicas on the dead go offline.
    TakeOffline(BTreeSet<BrokerId>),
    /// If nothing of that told anybody anything, tells everybody who is dead.
    TellDead,
    /// Unregisters the handlers of the dead.
    Unwatch(BTreeSet<BrokerId>),
    /// Reads a broker's data again.
    ReadOne(BrokerId),
    /// It was read.
    OneRead(BrokerId),
}

impl Controller {
    pub(super) fn begin_broker_change(&mut self) {
        self.then(BrokerStep::List);
    }

    pub(super) fn begin_broker_modifications(&mut self, broker: BrokerId) {
        self.then(BrokerStep::ReadOne(broker));
    }

    pub(super) fn run_broker(&mut self, step: BrokerStep, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            BrokerStep::List => self.list(BROKERS_IDS, BrokerStep::Listed, cx),
            BrokerStep::Listed => {
                let brokers = broker_ids(&read::only(self.take_results()))?;
                self.ask(broker_reads(&brokers), BrokerStep::Read(brokers), cx);
            }
            BrokerStep::Read(brokers) => {
                let results = self.take_results();
                self.compare(brokers_read(&brokers, &results)?, cx);
            }
            BrokerStep::Startup(brokers) => self.on_broker_startup(brokers, cx),
            BrokerStep::TellPartitions(brokers) => {
                let partitions = self.context.with_leadership();
                self.send_update_metadata(&brokers, &partitions, cx);
            }
            BrokerStep::Started(brokers) => {
                // Resuming reassignments and deletions would follow here.
                self.then(FailoverStep::WatchBrokers(brokers.iter().copied().collect()));
                self.then(PartitionStep::TriggerOnline);
                let replicas = self.context.replicas_on(&brokers);
                self.then(ReplicaStep::Change { replicas, target: ReplicaState::Online });
            }
            BrokerStep::Failure(brokers) => self.on_broker_failure(brokers),
            BrokerStep::TakeOffline(brokers) => {
                let replicas = self.context.replicas_on(&brokers);
                if replicas.is_empty() && !self.elected_some {
                    self.then(BrokerStep::TellDead);
                }
                self.then(ReplicaStep::Change { replicas, target: ReplicaState::Offline });
            }
            BrokerStep::TellDead => {
                let live: Vec<BrokerId> = self.context.live_ids().collect();
                self.send_update_metadata(&live, &[], cx);
            }
            BrokerStep::Unwatch(brokers) => {
                for broker in brokers {
                    cx.ask(Ask::Unwatch(ZnodeHandler::Data(znode::broker_id(broker))));
                }
            }
            BrokerStep::ReadOne(broker) => {
                self.ask(vec![ZkRequest::GetData { path: znode::broker_id(broker) }], BrokerStep::OneRead(broker), cx);
            }
            BrokerStep::OneRead(broker) => {
                let results = self.take_results();
                if let Some(live) = brokers_read(&[broker], &results)?.remove(&broker) {
                    self.on_broker_modified(broker, live, cx);
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, current: Brokers, cx: &mut Cx<'_, '_>) {
        let known = self.context.live_brokers();
        let bounces =
            |broker: &BrokerId, now: &LiveBroker| known.get(broker).is_some_and(|before| now.epoch > before.epoch);
        let looks_at_epochs = !cx.has(Defect::NoBrokerEpoch);
        let dead: BTreeSet<BrokerId> = known.keys().filter(|broker| !current.contains_key(broker)).copied().collect();
        let (mut new, mut bounced) = (Brokers::new(), Brokers::new());
        for (broker, now) in current {
            if !known.contains_key(&broker) {
                new.insert(broker, now);
            } else if looks_at_epochs && bounces(&broker, &now) {
                bounced.insert(broker, now);
            }
        }
        if new.is_empty() && bounced.is_empty() && dead.is_empty() {
            return;
        }
        if !bounced.is_empty() {
            cx.io.reach(BrokerMark::BrokerBounced);
        }
        cx.io.state(KafkaFact::BrokerChange {
            controller: cx.broker(),
            added: listed(new.keys().copied()),
            bounced: listed(bounced.keys().copied()),
            dead: listed(dead.iter().copied()),
        });
        for (&broker, live) in &new {
            self.channels.add(broker, live, cx);
        }
        for &broker in bounced.keys() {
            self.channels.remove(broker, cx);
        }
        for (&broker, live) in &bounced {
            self.channels.add(broker, live, cx);
        }
        for &broker in &dead {
            self.channels.remove(broker, cx);
        }
        if !dead.is_empty() {
            self.then(BrokerStep::Failure(dead));
        }
        if !bounced.is_empty() {
            let ids = bounced.keys().copied().collect();
            self.then(BrokerStep::Startup(bounced));
            self.then(BrokerStep::Failure(ids));
        }
        if !new.is_empty() {
            self.then(BrokerStep::Startup(new));
        }
    }

    fn on_broker_startup(&mut self, brokers: Brokers, cx: &mut Cx<'_, '_>) {
        let ids: BTreeSet<BrokerId> = brokers.keys().copied().collect();
        for (broker, live) in brokers {
            self.context.put_live(broker, live);
        }
        self.then(BrokerStep::Started(ids.clone()));
        self.then(BrokerStep::TellPartitions(ids.iter().copied().collect()));
        let existing: Vec<BrokerId> = self.context.live_ids().filter(|broker| !ids.contains(broker)).collect();
        self.send_update_metadata(&existing, &[], cx);
    }

    fn on_broker_failure(&mut self, brokers: BTreeSet<BrokerId>) {
        for &broker in &brokers {
            self.context.remove_shutting_down(broker);
            self.context.remove_live(broker);
        }
        self.then(BrokerStep::Unwatch(brokers.clone()));
        self.then(BrokerStep::TakeOffline(brokers));
        self.then(PartitionStep::TriggerOnline);
        let leaderless: Vec<TopicPartition> = self.context.with_offline_leader();
        let strategy = Strategy::Offline;
        self.then(PartitionStep::Change { partitions: leaderless, target: PartitionState::Offline, strategy });
    }

    fn on_broker_modified(&mut self, broker: BrokerId, now: LiveBroker, cx: &mut Cx<'_, '_>) {
        let Some(before) = self.context.live_brokers().get(&broker) else { return };
        if before.has_endpoint_of(&now) {
            return;
        }
        // Its epoch is for the broker change to find out.
        let epoch = before.epoch;
        self.context.put_live(broker, LiveBroker { epoch, ..now });
        let live: Vec<BrokerId> = self.context.live_ids().collect();
        self.send_update_metadata(&live, &[], cx);
    }
}
