//! The committed ZooKeeper history as Kafka sees it: transactions in, changes of Kafka's znodes out.
//!
//! Nothing is judged here. Payloads that are not Kafka's are passed over: whoever writes one breaks another rule.

use std::collections::{BTreeMap, BTreeSet};

use jute::txn::{Txn, TxnEntry};
use jute::{SessionId, Zxid};
use kafkawire::znode::{
    ControllerClaim, PartitionState, TopicAssignment, TopicConfig, Znode, decode_controller_epoch, decode_offset,
};
use kafkawire::{BrokerEpoch, BrokerId, ControllerEpoch, Offset, Topic, TopicPartition};

use crate::Moment;

/// What happened to a znode of Kafka's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// `/controller` was created; with the epoch that the same transaction wrote, if it wrote one.
    Claimed { broker: BrokerId, epoch: Option<ControllerEpoch> },
    /// `/controller_epoch` was raised without a claim.
    EpochRaised { epoch: ControllerEpoch },
    /// `/controller` is gone.
    ControllerGone,
    /// `/brokers/ids/N` was created.
    Registered { broker: BrokerId, epoch: BrokerEpoch },
    /// `/brokers/ids/N` is gone.
    Unregistered { broker: BrokerId },
    /// `/brokers/topics/T` was written.
    Assigned { topic: Topic, assignment: TopicAssignment, is_new: bool },
    /// `/config/topics/T` was written.
    Configured { topic: Topic, config: TopicConfig },
    /// A partition's `state` was written.
    State { partition: TopicPartition, state: PartitionState, version: i32, is_new: bool },
    /// An ISR change notification was deleted: that is for controllers to do.
    NotificationDeleted,
    /// A group's offset was written.
    Committed { group: String, partition: TopicPartition, offset: Offset },
    /// A consumer claimed a partition.
    Claim { group: String, partition: TopicPartition },
    /// A claim is gone; with its owner's session, or by somebody's delete.
    ClaimGone { group: String, partition: TopicPartition, owner: Option<SessionId> },
}

/// A change, and whose transaction made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    pub(crate) change: Change,
    pub(crate) author: SessionId,
    pub(crate) zxid: Zxid,
}

/// A registration that was in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Registration {
    pub(crate) epoch: BrokerEpoch,
    pub(crate) session: SessionId,
    pub(crate) moment: Moment,
}

/// A claim of `/controller`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ControllerTerm {
    pub(crate) broker: BrokerId,
    pub(crate) session: SessionId,
    pub(crate) moment: Moment,
}

/// What is in the tree, and what of its past rules ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Znodes {
    /// Who holds `/controller`.
    pub(crate) controller: Option<(BrokerId, SessionId)>,
    /// What `/controller_epoch` says.
    pub(crate) epoch: ControllerEpoch,
    /// Every claim, by the epoch it made.
    pub(crate) terms: BTreeMap<ControllerEpoch, ControllerTerm>,
    /// The last claim of each session.
    pub(crate) claimed_by: BTreeMap<SessionId, ControllerEpoch>,
    /// `/brokers/ids`.
    pub(crate) registrations: BTreeMap<BrokerId, Registration>,
    /// The last registration of each broker, in the tree or not.
    pub(crate) last_registration: BTreeMap<BrokerId, Registration>,
    /// Every registration there ever was: czxid to broker and session.
    pub(crate) registered_ever: BTreeMap<BrokerEpoch, (BrokerId, SessionId)>,
    /// `/config/topics`, of topics that set something.
    pub(crate) configs: BTreeMap<Topic, TopicConfig>,
    /// ISR change notifications that nobody deleted yet.
    pub(crate) notifications: BTreeSet<String>,
    /// Sessions that hold claims of partitions, by group and partition.
    pub(crate) owners: BTreeMap<(String, TopicPartition), SessionId>,
    /// Sessions that are over, and since when.
    pub(crate) closed: BTreeMap<SessionId, Moment>,
    /// Ephemerals of Kafka's, and their owners.
    ephemerals: BTreeMap<String, SessionId>,
}

impl Znodes {
    /// Takes a committed transaction. Its changes are already in the tree when they are returned.
    pub(crate) fn commit(&mut self, moment: Moment, entry: &[u8]) -> Vec<Written> {
        let Ok(entry) = TxnEntry::decode(entry) else { return Vec::new() };
        let (author, zxid) = (entry.header.session, entry.header.zxid);
        let mut changes = Vec::new();
        if let Txn::Multi(parts) = &entry.txn {
            if parts.iter().any(|part| matches!(part, Txn::Error(_))) {
                return Vec::new();
            }
            for part in parts {
                self.apply(moment, author, zxid, part, &mut changes);
            }
            join_claim(&mut changes);
        } else {
            self.apply(moment, author, zxid, &entry.txn, &mut changes);
        }
        for change in &changes {
            if let Change::Claimed { broker, epoch: Some(epoch) } = *change {
                self.terms.entry(epoch).or_insert(ControllerTerm { broker, session: author, moment });
                self.claimed_by.insert(author, epoch);
            }
        }
        changes.into_iter().map(|change| Written { change, author, zxid }).collect()
    }

    fn apply(&mut self, moment: Moment, author: SessionId, zxid: Zxid, txn: &Txn, changes: &mut Vec<Change>) {
        match txn {
            Txn::Create(create) | Txn::Create2(create) => {
                let Some(znode) = Znode::of(&create.path) else { return };
                if create.ephemeral {
                    self.ephemerals.insert(create.path.clone(), author);
                }
                self.created(moment, author, zxid, &create.path, znode, create.data.as_slice(), changes);
            }
            Txn::CreateContainer(create) => {
                if let Some(znode) = Znode::of(&create.path) {
                    self.created(moment, author, zxid, &create.path, znode, create.data.as_slice(), changes);
                }
            }
            Txn::CreateTtl(create) => {
                if let Some(znode) = Znode::of(&create.path) {
                    self.created(moment, author, zxid, &create.path, znode, create.data.as_slice(), changes);
                }
            }
            Txn::SetData(set) => {
                if let Some(znode) = Znode::of(&set.path) {
                    self.written(znode, set.data.as_slice(), set.version.value(), false, changes);
                }
            }
            Txn::Delete(delete) | Txn::DeleteContainer(delete) => self.deleted(&delete.path, changes),
            Txn::CloseSession(_) => {
                self.closed.insert(author, moment);
                let owned: Vec<String> = self
                    .ephemerals
                    .iter()
                    .filter(|&(_, &owner)| owner == author)
                    .map(|(path, _)| path.clone())
                    .collect();
                for path in owned {
                    self.deleted(&path, changes);
                }
            }
            Txn::Reconfig(_)
            | Txn::SetAcl(_)
            | Txn::CreateSession(_)
            | Txn::Check(_)
            | Txn::Error(_)
            | Txn::Multi(_) => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a transaction has that many parts")]
    fn created(
        &mut self,
        moment: Moment,
        author: SessionId,
        zxid: Zxid,
        path: &str,
        znode: Znode,
        data: &[u8],
        changes: &mut Vec<Change>,
    ) {
        match znode {
            Znode::Controller => {
                if let Ok(claim) = ControllerClaim::decode(data) {
                    self.controller = Some((claim.broker, author));
                    changes.push(Change::Claimed { broker: claim.broker, epoch: None });
                }
            }
            Znode::BrokerId(broker) => {
                let epoch = BrokerEpoch(zxid.value().cast_signed());
                let registration = Registration { epoch, session: author, moment };
                self.registrations.insert(broker, registration);
                self.last_registration.insert(broker, registration);
                self.registered_ever.insert(epoch, (broker, author));
                changes.push(Change::Registered { broker, epoch });
            }
            Znode::IsrChange(_) => {
                self.notifications.insert(path.to_owned());
            }
            Znode::ConsumerOwner { group, partition } => {
                self.owners.insert((group.clone(), partition.clone()), author);
                changes.push(Change::Claim { group, partition });
            }
            // A first epoch is not raised: nobody had one.
            Znode::ControllerEpoch => {
                if let Ok(epoch) = decode_controller_epoch(data) {
                    self.epoch = epoch;
                }
            }
            other @ (Znode::Topic(_)
            | Znode::TopicConfig(_)
            | Znode::PartitionState(_)
            | Znode::ConsumerOffset { .. }) => self.written(other, data, 0, true, changes),
            Znode::ClusterId
            | Znode::BrokerIds
            | Znode::BrokersSeqid
            | Znode::Topics
            | Znode::TopicPartitions(_)
            | Znode::Partition(_)
            | Znode::DeleteTopics
            | Znode::DeleteTopic(_)
            | Znode::IsrChanges
            | Znode::LogDirEvents
            | Znode::LogDirEvent(_)
            | Znode::Consumers
            | Znode::ConsumerIds { .. }
            | Znode::ConsumerId { .. }
            | Znode::ConsumerOwners { .. }
            | Znode::ConsumerOffsets { .. } => {}
        }
    }

    fn written(&mut self, znode: Znode, data: &[u8], version: i32, is_new: bool, changes: &mut Vec<Change>) {
        match znode {
            Znode::ControllerEpoch => {
                if let Ok(epoch) = decode_controller_epoch(data) {
                    self.epoch = epoch;
                    changes.push(Change::EpochRaised { epoch });
                }
            }
            Znode::Topic(topic) => {
                if let Ok(assignment) = TopicAssignment::decode(data) {
                    changes.push(Change::Assigned { topic, assignment, is_new });
                }
            }
            Znode::TopicConfig(topic) => {
                if let Ok(config) = TopicConfig::decode(data) {
                    self.configs.insert(topic.clone(), config.clone());
                    changes.push(Change::Configured { topic, config });
                }
            }
            Znode::PartitionState(partition) => {
                if let Ok(state) = PartitionState::decode(data) {
                    changes.push(Change::State { partition, state, version, is_new });
                }
            }
            Znode::ConsumerOffset { group, partition } => {
                if let Ok(offset) = decode_offset(data) {
                    changes.push(Change::Committed { group, partition, offset });
                }
            }
            // The claim's own data do not change after it, nor do the registration's that matter.
            Znode::Controller
            | Znode::BrokerId(_)
            | Znode::ConsumerOwner { .. }
            | Znode::IsrChange(_)
            | Znode::ClusterId
            | Znode::BrokerIds
            | Znode::BrokersSeqid
            | Znode::Topics
            | Znode::TopicPartitions(_)
            | Znode::Partition(_)
            | Znode::DeleteTopics
            | Znode::DeleteTopic(_)
            | Znode::IsrChanges
            | Znode::LogDirEvents
            | Znode::LogDirEvent(_)
            | Znode::Consumers
            | Znode::ConsumerIds { .. }
            | Znode::ConsumerId { .. }
            | Znode::ConsumerOwners { .. }
            | Znode::ConsumerOffsets { .. } => {}
        }
    }

    fn deleted(&mut self, path: &str, changes: &mut Vec<Change>) {
        self.ephemerals.remove(path);
        match Znode::of(path) {
            Some(Znode::Controller) => {
                self.controller = None;
                changes.push(Change::ControllerGone);
            }
            Some(Znode::BrokerId(broker)) => {
                self.registrations.remove(&broker);
                changes.push(Change::Unregistered { broker });
            }
            Some(Znode::IsrChange(_)) => {
                self.notifications.remove(path);
                changes.push(Change::NotificationDeleted);
            }
            Some(Znode::TopicConfig(topic)) => {
                self.configs.remove(&topic);
            }
            Some(Znode::ConsumerOwner { group, partition }) => {
                let owner = self.owners.remove(&(group.clone(), partition.clone()));
                changes.push(Change::ClaimGone { group, partition, owner });
            }
            Some(
                Znode::ControllerEpoch
                | Znode::ClusterId
                | Znode::BrokerIds
                | Znode::BrokersSeqid
                | Znode::Topics
                | Znode::Topic(_)
                | Znode::TopicPartitions(_)
                | Znode::Partition(_)
                | Znode::PartitionState(_)
                | Znode::DeleteTopics
                | Znode::DeleteTopic(_)
                | Znode::IsrChanges
                | Znode::LogDirEvents
                | Znode::LogDirEvent(_)
                | Znode::Consumers
                | Znode::ConsumerIds { .. }
                | Znode::ConsumerId { .. }
                | Znode::ConsumerOwners { .. }
                | Znode::ConsumerOffsets { .. }
                | Znode::ConsumerOffset { .. },
            )
            | None => {}
        }
    }
}

/// A claim and the epoch written beside it are one change.
fn join_claim(changes: &mut Vec<Change>) {
    let raised = changes.iter().find_map(|change| match change {
        Change::EpochRaised { epoch } => Some(*epoch),
        Change::Claimed { .. }
        | Change::ControllerGone
        | Change::Registered { .. }
        | Change::Unregistered { .. }
        | Change::Assigned { .. }
        | Change::Configured { .. }
        | Change::State { .. }
        | Change::NotificationDeleted
        | Change::Committed { .. }
        | Change::Claim { .. }
        | Change::ClaimGone { .. } => None,
    });
    let Some(raised) = raised else { return };
    let mut joined = false;
    for change in changes.iter_mut() {
        if let Change::Claimed { epoch, .. } = change {
            *epoch = Some(raised);
            joined = true;
        }
    }
    if joined {
        changes.retain(|change| !matches!(change, Change::EpochRaised { .. }));
    }
}
