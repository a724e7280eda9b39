//! What travels between hosts: one variant per protocol, not per machine.

use jute::client::ClientPacket;
use jute::election::ElectionMessage;
use jute::quorum::QuorumMessage;
use kafkawire::KafkaMessage;
use machine::{Depth, Digest, Narrow, Payload};

/// A packet of one of the protocols.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// ZooKeeper's client protocol.
    ZkClient(ClientPacket),
    /// ZooKeeper's leader and learners (Zab).
    ZkQuorum(QuorumMessage),
    /// ZooKeeper's leader election.
    ZkElection(ElectionMessage),
    /// Kafka's, with its version.
    Kafka(KafkaMessage),
}

impl Payload for Packet {
    fn name(&self) -> &'static str {
        match self {
            Self::ZkClient(packet) => packet.name(),
            Self::ZkQuorum(message) => message.name(),
            Self::ZkElection(message) => message.name(),
            Self::Kafka(message) => message.name(),
        }
    }

    fn wire_len(&self) -> u32 {
        match self {
            Self::ZkClient(packet) => packet.wire_len(),
            Self::ZkQuorum(message) => message.wire_len(),
            Self::ZkElection(message) => message.wire_len(),
            Self::Kafka(message) => message.wire_len(),
        }
    }

    fn digest(&self, depth: Depth, into: &mut Digest) {
        match self {
            Self::ZkClient(packet) => packet.digest(depth, into),
            Self::ZkQuorum(message) => message.digest(depth, into),
            Self::ZkElection(message) => message.digest(depth, into),
            Self::Kafka(message) => message.digest(depth, into),
        }
    }
}

impl From<ClientPacket> for Packet {
    fn from(packet: ClientPacket) -> Self {
        Self::ZkClient(packet)
    }
}

impl From<coordinator::Message> for Packet {
    fn from(message: coordinator::Message) -> Self {
        match message {
            coordinator::Message::Client(packet) => Self::ZkClient(packet),
            coordinator::Message::Quorum(message) => Self::ZkQuorum(message),
            coordinator::Message::Election(message) => Self::ZkElection(message),
        }
    }
}

impl Narrow<Packet> for coordinator::Message {
    fn narrow(wide: Packet) -> Result<Self, Packet> {
        Ok(match wide {
            Packet::ZkClient(packet) => Self::Client(packet),
            Packet::ZkQuorum(message) => Self::Quorum(message),
            Packet::ZkElection(message) => Self::Election(message),
            other @ Packet::Kafka(_) => return Err(other),
        })
    }
}

impl Narrow<Packet> for ClientPacket {
    fn narrow(wide: Packet) -> Result<Self, Packet> {
        match wide {
            Packet::ZkClient(packet) => Ok(packet),
            other @ (Packet::ZkQuorum(_) | Packet::ZkElection(_) | Packet::Kafka(_)) => Err(other),
        }
    }
}

impl From<broker::Message> for Packet {
    fn from(message: broker::Message) -> Self {
        match message {
            broker::Message::Kafka(message) => Self::Kafka(message),
            broker::Message::Zk(packet) => Self::ZkClient(packet),
        }
    }
}

impl Narrow<Packet> for broker::Message {
    fn narrow(wide: Packet) -> Result<Self, Packet> {
        match wide {
            Packet::Kafka(message) => Ok(Self::Kafka(message)),
            Packet::ZkClient(packet) => Ok(Self::Zk(packet)),
            other @ (Packet::ZkQuorum(_) | Packet::ZkElection(_)) => Err(other),
        }
    }
}

impl From<clients::kafka::KafkaClientMessage> for Packet {
    fn from(message: clients::kafka::KafkaClientMessage) -> Self {
        match message {
            clients::kafka::KafkaClientMessage::Kafka(message) => Self::Kafka(message),
            clients::kafka::KafkaClientMessage::Zk(packet) => Self::ZkClient(packet),
        }
    }
}

impl Narrow<Packet> for clients::kafka::KafkaClientMessage {
    fn narrow(wide: Packet) -> Result<Self, Packet> {
        match wide {
            Packet::Kafka(message) => Ok(Self::Kafka(message)),
            Packet::ZkClient(packet) => Ok(Self::Zk(packet)),
            other @ (Packet::ZkQuorum(_) | Packet::ZkElection(_)) => Err(other),
        }
    }
}
