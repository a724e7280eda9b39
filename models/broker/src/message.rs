//! What a broker sends and receives.

use jute::client::ClientPacket;
use kafkawire::KafkaMessage;
use machine::{Depth, Digest, Payload};

/// A message on one of a broker's connections.
#[derive(Clone, Debug)]
pub enum Message {
    /// Of Kafka's protocol.
    Kafka(KafkaMessage),
    /// To or from ZooKeeper.
    Zk(ClientPacket),
}

impl From<KafkaMessage> for Message {
    fn from(message: KafkaMessage) -> Self {
        Self::Kafka(message)
    }
}

impl From<ClientPacket> for Message {
    fn from(packet: ClientPacket) -> Self {
        Self::Zk(packet)
    }
}

impl Payload for Message {
    fn name(&self) -> &'static str {
        match self {
            Self::Kafka(message) => message.name(),
            Self::Zk(packet) => packet.name(),
        }
    }

    fn wire_len(&self) -> u32 {
        match self {
            Self::Kafka(message) => message.wire_len(),
            Self::Zk(packet) => packet.wire_len(),
        }
    }

    fn digest(&self, depth: Depth, into: &mut Digest) {
        match self {
            Self::Kafka(message) => message.digest(depth, into),
            Self::Zk(packet) => packet.digest(depth, into),
        }
    }
}
