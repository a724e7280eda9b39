//! What a server sends and receives.

use jute::client::ClientPacket;
use jute::election::ElectionMessage;
use jute::quorum::QuorumMessage;
use machine::{Depth, Digest, Payload};

/// A message on one of a server's three ports.
#[derive(Clone, Debug)]
pub enum Message {
    /// Between a client and a server.
    Client(ClientPacket),
    /// Between a leader and a learner.
    Quorum(QuorumMessage),
    /// Among the voters, before there is a leader.
    Election(ElectionMessage),
}

impl From<ClientPacket> for Message {
    fn from(packet: ClientPacket) -> Self {
        Self::Client(packet)
    }
}

impl From<QuorumMessage> for Message {
    fn from(message: QuorumMessage) -> Self {
        Self::Quorum(message)
    }
}

impl From<ElectionMessage> for Message {
    fn from(message: ElectionMessage) -> Self {
        Self::Election(message)
    }
}

impl Payload for Message {
    fn name(&self) -> &'static str {
        match self {
            Self::Client(packet) => packet.name(),
            Self::Quorum(message) => message.name(),
            Self::Election(message) => message.name(),
        }
    }

    fn wire_len(&self) -> u32 {
        match self {
            Self::Client(packet) => packet.wire_len(),
            Self::Quorum(message) => message.wire_len(),
            Self::Election(message) => message.wire_len(),
        }
    }

    fn digest(&self, depth: Depth, into: &mut Digest) {
        match self {
            Self::Client(packet) => packet.digest(depth, into),
            Self::Quorum(message) => message.digest(depth, into),
            Self::Election(message) => message.digest(depth, into),
        }
    }
}
