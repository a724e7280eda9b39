//! What clients of Kafka tell observers: a history that black-box checkers judge without believing any broker
//! (invariants-and-faults.md §3.1, §3.7, §3.11).

use std::fmt;
use std::sync::Arc;

use kafkawire::{Offset, Topic};
use machine::{Describe, Never, Value};
use zkclient::ZkClientFact;

/// What makes a record unique: who sent it, and the number it gave it. It is in the record's value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordId {
    /// The producer's client number.
    pub client: u16,
    /// Ascending over all its lives, and never used twice: the high bits name a life, the low 32 count within it.
    pub number: u64,
}

impl RecordId {
    /// One number for both, for facts.
    #[must_use]
    pub const fn bits(self) -> u64 {
        ((self.client as u64) << 48) | self.number
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.client, self.number)
    }
}

machine::facts! {
    /// What a client of Kafka says about its work.
    pub enum KafkaWorkFact {
        /// The process started. `kind` is `producer-fixed`, `producer-zookeeper`, `producer-metadata`, `consumer`,
        /// `zookeeper-consumer`, `admin` or `operator`.
        "kafka-client-started" Started { client: u16 => Uint(u64::from(*client)), kind: &'static str => Text(kind) },
        /// It starts nothing new.
        "kafka-client-stopped" Stopped { client: u16 => Uint(u64::from(*client)) },
        /// The produce, or fetch, behind the faults succeeded.
        "kafka-probe-succeeded" ProbeSucceeded { client: u16 => Uint(u64::from(*client)) },
        /// Every topic that was asked for is there.
        "topics-ready" TopicsReady { client: u16 => Uint(u64::from(*client)), topics: u64 => Uint(*topics) },

        /// A record was handed to the producer and has its partition.
        "record-sent" RecordSent {
            record: RecordId => Hex(record.bits()),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            acks: i16 => Int(i64::from(*acks)),
        },
        /// The producer was told that it is there; the offset is −1 with acks=0.
        "record-acknowledged" RecordAcknowledged {
            record: RecordId => Hex(record.bits()),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            acks: i16 => Int(i64::from(*acks)),
            offset: Offset => Int(offset.0),
        },
        /// The producer gave the record up. `surely` if no attempt can have appended it, else nobody knows.
        "record-failed" RecordFailed {
            record: RecordId => Hex(record.bits()),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            error: &'static str => Text(error),
            surely: bool => Flag(*surely),
        },
        /// A producer's view of the brokers changed; ids as `1,2,3`.
        "producer-brokers-known" ProducerBrokersKnown { client: u16 => Uint(u64::from(*client)), brokers: Arc<str> => Text(brokers) },

        /// A consumer may read a partition from now on, and begins at this offset; at −1 it has none yet, and a
        /// `position-reset` follows. `member` is its id in the group.
        "partition-assigned" PartitionAssigned {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            member: Arc<str> => Text(member),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            position: Offset => Int(position.0),
        },
        /// It no longer reads it. `why` is `rebalance`, `session-expired`, `closed`.
        "partition-revoked" PartitionRevoked {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            member: Arc<str> => Text(member),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            why: &'static str => Text(why),
        },
        /// The application was given a record. `value` is the checksum (CRC-32C) of the record's key and value.
        "record-consumed" RecordConsumed {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            offset: Offset => Int(offset.0),
            record: RecordId => Hex(record.bits()),
            value: u32 => Hex(u64::from(*value)),
        },
        /// A consumer's position was out of range, or it had none: it begins elsewhere by `auto.offset.reset`. −1 was none.
        "position-reset" PositionReset {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            from: Offset => Int(from.0),
            to: Offset => Int(to.0),
            why: &'static str => Text(why),
        },
        /// A consumer writes its offset. `commit` counts its commits.
        "offset-commit-invoked" OffsetCommitInvoked {
            client: u16 => Uint(u64::from(*client)),
            commit: u64 => Uint(*commit),
            group: Arc<str> => Text(group),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            offset: Offset => Int(offset.0),
        },
        /// That ended: `ok`, `failed` (surely nothing was written) or `unknown`.
        "offset-commit-completed" OffsetCommitCompleted {
            client: u16 => Uint(u64::from(*client)),
            commit: u64 => Uint(*commit),
            group: Arc<str> => Text(group),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            offset: Offset => Int(offset.0),
            outcome: &'static str => Text(outcome),
        },
        /// A consumer is about to read its offset: what it will be told is no older than what was committed by now.
        "offset-fetch-invoked" OffsetFetchInvoked {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
        },
        /// It read its group's offset, behind a sync; −1 is none.
        "offset-fetched" OffsetFetched {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
            offset: Offset => Int(offset.0),
        },

        /// The consumer of 0.8 begins to rebalance. `attempt` counts from 1.
        "rebalance-begun" RebalanceBegun {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            attempt: u64 => Uint(*attempt),
            why: &'static str => Text(why),
        },
        /// It has the partitions it claimed.
        "rebalance-finished" RebalanceFinished {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            attempts: u64 => Uint(*attempts),
            partitions: u64 => Uint(*partitions),
        },
        /// It gave up behind `rebalance.max.retries`: it is without partitions until something changes.
        "rebalance-failed" RebalanceFailed {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            attempts: u64 => Uint(*attempts),
        },
        /// A claim met another's (§6.10 step 6).
        "claim-refused" ClaimRefused {
            client: u16 => Uint(u64::from(*client)),
            group: Arc<str> => Text(group),
            topic: Topic => Text(topic.as_str()),
            partition: i32 => Int(i64::from(*partition)),
        },
    }
}

/// What a client of Kafka states: about its work, or the ZooKeeper session inside it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaClientFact {
    /// Its work.
    Work(KafkaWorkFact),
    /// Its session.
    Session(ZkClientFact),
}

impl From<KafkaWorkFact> for KafkaClientFact {
    fn from(fact: KafkaWorkFact) -> Self {
        Self::Work(fact)
    }
}

impl From<ZkClientFact> for KafkaClientFact {
    fn from(fact: ZkClientFact) -> Self {
        Self::Session(fact)
    }
}

impl From<Never> for KafkaClientFact {
    fn from(fact: Never) -> Self {
        match fact {}
    }
}

const KINDS: [&str; KafkaWorkFact::KINDS.len() + ZkClientFact::KINDS.len()] =
    machine::joined(&[KafkaWorkFact::KINDS, ZkClientFact::KINDS]);

impl Describe for KafkaClientFact {
    fn kinds() -> &'static [&'static str] {
        &KINDS
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Work(fact) => fact.kind(),
            Self::Session(fact) => fact.kind(),
        }
    }

    fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'_>)) {
        match self {
            Self::Work(fact) => fact.fields(visit),
            Self::Session(fact) => fact.fields(visit),
        }
    }
}
