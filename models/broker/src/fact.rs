//! What only a broker knows and an observer may be told.

use std::sync::Arc;

use jute::SessionId;
use kafkawire::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, Topic};
use machine::{Describe, Never, Value};
use zkclient::ZkClientFact;

fn session_bits(session: SessionId) -> u64 {
    session.value().cast_unsigned()
}

/// On which side of replication a broker stands with a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// It leads.
    Leader,
    /// It follows.
    Follower,
}

impl Side {
    /// The name in facts and views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
        }
    }
}

machine::facts! {
    /// What a broker states about itself, its replicas and, while it is controller, the cluster.
    pub enum KafkaFact {
        /// The process started; its logs are not loaded yet (§3.1 step 1).
        "broker-started" Started { broker: BrokerId => Int(i64::from(broker.0)) },
        /// One log was loaded (§5.3). `recovered` if it had not been shut down cleanly.
        "log-loaded" LogLoaded {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            recovered: bool => Flag(*recovered),
            recovery_point: Offset => Int(recovery_point.0),
            log_end: Offset => Int(log_end.0),
        },
        /// `/brokers/ids/N` is ours (§3.2). The epoch is the znode's czxid.
        "broker-registered" Registered {
            broker: BrokerId => Int(i64::from(broker.0)),
            epoch: BrokerEpoch => Int(epoch.0),
            session: SessionId => Hex(session_bits(*session)),
        },
        /// `/brokers/ids/N` belongs to another session (§3.2 case c): fatal at startup, logged on re-registration.
        "registration-refused" RegistrationRefused {
            broker: BrokerId => Int(i64::from(broker.0)),
            session: SessionId => Hex(session_bits(*session)),
            owner: SessionId => Hex(session_bits(*owner)),
        },
        /// The broker deleted the registration of its own earlier session (§3.2 case b, KAFKA-7165).
        "own-registration-deleted" OwnRegistrationDeleted {
            broker: BrokerId => Int(i64::from(broker.0)),
            owner: SessionId => Hex(session_bits(*owner)),
        },
        /// It processes requests (§3.1 step 21).
        "broker-running" Running { broker: BrokerId => Int(i64::from(broker.0)) },
        /// It learnt that its session expired (§2.4).
        "broker-session-expired" SessionExpired { broker: BrokerId => Int(i64::from(broker.0)), session: SessionId => Hex(session_bits(*session)) },
        /// It was asked to stop (SIGTERM).
        "broker-stopping" Stopping { broker: BrokerId => Int(i64::from(broker.0)) },
        /// A clean shutdown is complete but for the session (§3.6); `controlled` if the controller moved all leaderships away.
        "broker-stopped" Stopped { broker: BrokerId => Int(i64::from(broker.0)), controlled: bool => Flag(*controlled) },

        /// The election multi succeeded (§3.3).
        "controller-elected" ControllerElected { broker: BrokerId => Int(i64::from(broker.0)), epoch: ControllerEpoch => Int(i64::from(epoch.0)) },
        /// The fifteen steps of a failover are done (§4.3).
        "controller-ready" ControllerReady {
            broker: BrokerId => Int(i64::from(broker.0)),
            epoch: ControllerEpoch => Int(i64::from(epoch.0)),
            partitions: u64 => Uint(*partitions),
        },
        /// It no longer acts as controller (§3.4).
        "controller-resigned" ControllerResigned { broker: BrokerId => Int(i64::from(broker.0)), epoch: ControllerEpoch => Int(i64::from(epoch.0)) },
        /// The controller wrote a partition's state with another leader than before (§4.5); −1 is none. `unclean` if it was not
        /// in the ISR. The ISR is written as `1,2,3`.
        "partition-leader-elected" PartitionLeaderElected {
            controller: BrokerId => Int(i64::from(controller.0)),
            controller_epoch: ControllerEpoch => Int(i64::from(controller_epoch.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            leader: i32 => Int(i64::from(*leader)),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
            isr: Arc<str> => Text(isr),
            unclean: bool => Flag(*unclean),
        },
        /// The controller took up a new topic's partitions (§4.7).
        "topic-created" TopicCreated {
            controller: BrokerId => Int(i64::from(controller.0)),
            topic: Topic => Text(topic.as_str()),
            partitions: u64 => Uint(*partitions),
        },
        /// The controller noticed brokers that came, went or restarted (§4.6); ids as `1,2`.
        "broker-change" BrokerChange {
            controller: BrokerId => Int(i64::from(controller.0)),
            added: Arc<str> => Text(added),
            bounced: Arc<str> => Text(bounced),
            dead: Arc<str> => Text(dead),
        },

        /// A control request passed the fences (§4.15). `own_epoch` is what the broker holds for its broker epoch (−1 none yet).
        "control-request-applied" ControlRequestApplied {
            broker: BrokerId => Int(i64::from(broker.0)),
            api: &'static str => Text(api),
            controller: BrokerId => Int(i64::from(controller.0)),
            controller_epoch: ControllerEpoch => Int(i64::from(controller_epoch.0)),
            broker_epoch: BrokerEpoch => Int(broker_epoch.0),
            own_epoch: BrokerEpoch => Int(own_epoch.0),
        },
        /// A control request met a fence.
        "control-request-refused" ControlRequestRefused {
            broker: BrokerId => Int(i64::from(broker.0)),
            api: &'static str => Text(api),
            controller: BrokerId => Int(i64::from(controller.0)),
            controller_epoch: ControllerEpoch => Int(i64::from(controller_epoch.0)),
            broker_epoch: BrokerEpoch => Int(broker_epoch.0),
            error: &'static str => Text(error),
        },
        /// It leads a partition in a new epoch (§5.9).
        "became-leader" BecameLeader {
            broker: BrokerId => Int(i64::from(broker.0)),
            broker_epoch: BrokerEpoch => Int(broker_epoch.0),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
            start: Offset => Int(start.0),
        },
        /// It follows in a new epoch (§5.9); leader −1 is none.
        "became-follower" BecameFollower {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            leader: i32 => Int(i64::from(*leader)),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
        },
        /// It no longer serves or follows a partition (StopReplica, §4.15).
        "replica-stopped" ReplicaStopped {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            deleted: bool => Flag(*deleted),
        },
        /// A batch is in the log: written to the page cache (§5.5, §5.10). `checksum` is the batch's CRC: what identifies its records.
        "appended" Appended {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            side: Side => Text(side.name()),
            base: Offset => Int(base.0),
            last: Offset => Int(last.0),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
            checksum: u32 => Hex(u64::from(*checksum)),
        },
        /// A log lost its tail (§5.10): what began at `to` is gone; it had ended at `from`.
        "log-truncated" Truncated {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            from: Offset => Int(from.0),
            to: Offset => Int(to.0),
        },
        /// A replica's high watermark moved (§5.4).
        "high-watermark" HighWatermark {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            side: Side => Text(side.name()),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
            offset: Offset => Int(offset.0),
        },
        /// A leader's change of the ISR is committed in ZooKeeper (§5.11); ids as `1,2,3`. `version` is the znode's.
        "isr-changed" IsrChanged {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
            isr: Arc<str> => Text(isr),
            version: i32 => Int(i64::from(*version)),
        },
        /// A leader's change of the ISR failed: the znode has another version (§5.11).
        "isr-change-refused" IsrChangeRefused {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
            version: i32 => Int(i64::from(*version)),
        },
        /// A leader answers a produce of acks=all with success (§5.5).
        "produce-acknowledged" ProduceAcknowledged {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
            base: Offset => Int(base.0),
            last: Offset => Int(last.0),
            high_watermark: Offset => Int(high_watermark.0),
            isr_size: u64 => Uint(*isr_size),
            min_insync: u64 => Uint(*min_insync),
        },
        /// A consumer is given records: from `start` up to, and without, `end` (§5.6).
        "records-served" RecordsServed {
            broker: BrokerId => Int(i64::from(broker.0)),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            leader_epoch: LeaderEpoch => Int(i64::from(leader_epoch.0)),
            start: Offset => Int(start.0),
            end: Offset => Int(end.0),
            high_watermark: Offset => Int(high_watermark.0),
        },
        /// The disk refused: the only log directory is offline and the process halts (§3.8).
        "log-dir-failed" LogDirFailed { broker: BrokerId => Int(i64::from(broker.0)), error: &'static str => Text(error) },
    }
}

/// What a broker states: of its own, or the ZooKeeper session inside it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Of Kafka.
    Kafka(KafkaFact),
    /// Of its session.
    Zk(ZkClientFact),
}

impl From<KafkaFact> for Fact {
    fn from(fact: KafkaFact) -> Self {
        Self::Kafka(fact)
    }
}

impl From<ZkClientFact> for Fact {
    fn from(fact: ZkClientFact) -> Self {
        Self::Zk(fact)
    }
}

impl From<Never> for Fact {
    fn from(fact: Never) -> Self {
        match fact {}
    }
}

const KINDS: [&str; KafkaFact::KINDS.len() + ZkClientFact::KINDS.len()] =
    machine::joined(&[KafkaFact::KINDS, ZkClientFact::KINDS]);

impl Describe for Fact {
    fn kinds() -> &'static [&'static str] {
        &KINDS
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Kafka(fact) => fact.kind(),
            Self::Zk(fact) => fact.kind(),
        }
    }

    fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'_>)) {
        match self {
            Self::Kafka(fact) => fact.fields(visit),
            Self::Zk(fact) => fact.fields(visit),
        }
    }
}
