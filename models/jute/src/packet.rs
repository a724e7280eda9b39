//! What travels on a connection, as machines send and receive it: one packet type per protocol.
//!
//! A packet is typed, not bytes; what it would be on the wire decides its length and, if asked, its digest.

use bytes::Bytes;
use machine::{Depth, Digest, Payload};

use crate::client::{ClientFrame, FourLetterWord, ServerFrame};
use crate::election::{ConnectionHeader, Notification};
use crate::quorum::QuorumPacket;
use crate::ser::digest_into;

/// Between a client and a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPacket {
    /// From the client.
    ToServer(ClientFrame),
    /// From the server.
    ToClient(ServerFrame),
    /// From an operator, in the place of a client.
    Word(FourLetterWord),
    /// From the server, to an operator.
    Text(String),
}

impl From<ClientFrame> for ClientPacket {
    fn from(frame: ClientFrame) -> Self {
        Self::ToServer(frame)
    }
}

impl From<ServerFrame> for ClientPacket {
    fn from(frame: ServerFrame) -> Self {
        Self::ToClient(frame)
    }
}

fn length(of: usize) -> u32 {
    u32::try_from(of).expect("no packet of ours reaches 4 GiB")
}

impl Payload for ClientPacket {
    fn name(&self) -> &'static str {
        match self {
            Self::ToServer(ClientFrame::Connect(_)) => "connect",
            Self::ToServer(ClientFrame::Request { request, .. }) => request.op().name(),
            Self::ToServer(ClientFrame::Unknown { .. }) => "unknown-request",
            Self::ToServer(ClientFrame::Malformed { .. }) => "malformed-request",
            Self::ToClient(ServerFrame::Connect(_)) => "connect-response",
            Self::ToClient(ServerFrame::Reply { .. }) => "reply",
            Self::ToClient(ServerFrame::Notification { .. }) => "watch-event",
            Self::Word(word) => word.name(),
            Self::Text(_) => "text",
        }
    }

    fn wire_len(&self) -> u32 {
        length(match self {
            Self::ToServer(frame) => frame.wire_len(),
            Self::ToClient(frame) => frame.wire_len(),
            Self::Word(word) => word.name().len(),
            Self::Text(text) => text.len(),
        })
    }

    fn digest(&self, depth: Depth, into: &mut Digest) {
        match (depth, self) {
            (Depth::Cheap, Self::ToServer(frame)) => digest_into(frame, into),
            (Depth::Cheap, Self::ToClient(frame)) => digest_into(frame, into),
            (Depth::Encoded, Self::ToServer(frame)) => into.bytes(&frame.encode()),
            (Depth::Encoded, Self::ToClient(frame)) => into.bytes(&frame.encode()),
            (Depth::Cheap | Depth::Encoded, Self::Word(word)) => into.text(word.name()),
            (Depth::Cheap | Depth::Encoded, Self::Text(text)) => into.text(text),
        }
    }
}

/// Between a leader and its learners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuorumMessage {
    /// A packet.
    Packet(QuorumPacket),
    /// What follows a SNAP packet: a snapshot and the text `BenWasHere` (zookeeper.md §3.4).
    ///
    /// Simplified: the stream arrives in one piece, so no crash can fall into the middle of its transfer.
    Snapshot(Bytes),
}

impl From<QuorumPacket> for QuorumMessage {
    fn from(packet: QuorumPacket) -> Self {
        Self::Packet(packet)
    }
}

impl Payload for QuorumMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Packet(packet) => packet.name(),
            Self::Snapshot(_) => "snapshot",
        }
    }

    fn wire_len(&self) -> u32 {
        length(match self {
            Self::Packet(packet) => packet.wire_len(),
            Self::Snapshot(stream) => stream.len(),
        })
    }

    fn digest(&self, depth: Depth, into: &mut Digest) {
        match (depth, self) {
            (Depth::Cheap, Self::Packet(packet)) => digest_into(packet, into),
            (Depth::Encoded, Self::Packet(packet)) => into.bytes(&packet.encode()),
            (Depth::Cheap | Depth::Encoded, Self::Snapshot(stream)) => into.bytes(stream),
        }
    }
}

/// Between two voters who look for a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElectionMessage {
    /// The dialer says who it is (zookeeper.md §2.5).
    Hello(ConnectionHeader),
    /// A vote.
    Notification(Notification),
}

impl From<Notification> for ElectionMessage {
    fn from(notification: Notification) -> Self {
        Self::Notification(notification)
    }
}

impl Payload for ElectionMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "election-hello",
            Self::Notification(_) => "notification",
        }
    }

    fn wire_len(&self) -> u32 {
        length(match self {
            Self::Hello(header) => header.wire_len(),
            Self::Notification(notification) => notification.wire_len(),
        })
    }

    fn digest(&self, _: Depth, into: &mut Digest) {
        match self {
            Self::Hello(header) => into.bytes(&header.encode()),
            Self::Notification(notification) => into.bytes(&notification.encode()),
        }
    }
}
