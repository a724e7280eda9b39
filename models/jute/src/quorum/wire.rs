//! The packets as four fields.

use bytes::Bytes;
use serde::ser::{SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use super::packet::{Direction, LearnerInfo, LearnerRequest, QuorumPacket, SessionTouch};
use crate::data::Id;
use crate::ser::{Nested, Raw};
use crate::{Buffer, DecodeError, PeerEpoch, Zxid, encoded_len, from_bytes, from_prefix, to_bytes};

const REQUEST: i32 = 1;
const PROPOSAL: i32 = 2;
const ACK: i32 = 3;
const COMMIT: i32 = 4;
const PING: i32 = 5;
const REVALIDATE: i32 = 6;
const SYNC: i32 = 7;
const INFORM: i32 = 8;
const COMMIT_AND_ACTIVATE: i32 = 9;
const NEW_LEADER: i32 = 10;
const FOLLOWER_INFO: i32 = 11;
const UP_TO_DATE: i32 = 12;
const DIFF: i32 = 13;
const TRUNC: i32 = 14;
const SNAP: i32 = 15;
const OBSERVER_INFO: i32 = 16;
const LEADER_INFO: i32 = 17;
const ACK_EPOCH: i32 = 18;
const INFORM_AND_ACTIVATE: i32 = 19;

/// Data or authinfo that is not there.
const NULL: i32 = -1;

/// Bytes of a [`SessionTouch`].
const TOUCH_LEN: usize = 12;

impl QuorumPacket {
    /// Returns the packet's bytes.
    pub fn encode(&self) -> Bytes {
        to_bytes(self)
    }

    /// Returns how many bytes [`QuorumPacket::encode`] would make; there is no length prefix.
    pub fn wire_len(&self) -> usize {
        encoded_len(self)
    }

    /// Decodes one packet that travelled this way.
    ///
    /// # Errors
    /// See [`DecodeError`]; also if no such packet travels this way.
    pub fn decode(bytes: &[u8], direction: Direction) -> Result<Self, DecodeError> {
        let packet: WirePacket = from_bytes(bytes)?;
        match direction {
            Direction::ToLeader => packet.at_leader(),
            Direction::ToLearner => packet.at_learner(),
        }
    }

    /// Decodes the packet a stream begins with, and advances `stream` behind it.
    ///
    /// # Errors
    /// Like [`QuorumPacket::decode`]. [`DecodeError::Truncated`] means: wait for more.
    pub fn decode_prefix(stream: &mut &[u8], direction: Direction) -> Result<Self, DecodeError> {
        let packet: WirePacket = from_prefix(stream)?;
        match direction {
            Direction::ToLeader => packet.at_leader(),
            Direction::ToLearner => packet.at_learner(),
        }
    }
}

impl Serialize for QuorumPacket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            QuorumPacket::Request(LearnerRequest { session, cxid, op, body, auth }) => {
                let mut tuple = serializer.serialize_tuple(4)?;
                tuple.serialize_element(&(REQUEST, -1_i64))?;
                tuple.serialize_element(&Nested((session, cxid, op, Raw(body))))?;
                tuple.serialize_element(auth)?;
                tuple.end()
            }
            QuorumPacket::Proposal { zxid, entry } => put(serializer, PROPOSAL, *zxid, Nested(Raw(entry))),
            QuorumPacket::Ack { zxid } => put(serializer, ACK, *zxid, NULL),
            QuorumPacket::Commit { zxid } => put(serializer, COMMIT, *zxid, NULL),
            QuorumPacket::Ping { zxid } => put(serializer, PING, *zxid, NULL),
            QuorumPacket::PingReply { zxid, touches } => put(serializer, PING, *zxid, Nested(Touches(touches))),
            QuorumPacket::Revalidate(touch) => put(serializer, REVALIDATE, -1_i64, Nested(touch)),
            QuorumPacket::RevalidateReply { session, is_valid } => {
                put(serializer, REVALIDATE, -1_i64, Nested((session, is_valid)))
            }
            QuorumPacket::Sync => put(serializer, SYNC, Zxid::ZERO, NULL),
            QuorumPacket::Inform { zxid, entry } => put(serializer, INFORM, *zxid, Nested(Raw(entry))),
            QuorumPacket::CommitAndActivate { zxid, designated_leader } => {
                put(serializer, COMMIT_AND_ACTIVATE, *zxid, Nested(designated_leader))
            }
            QuorumPacket::NewLeader { zxid, config } => put(serializer, NEW_LEADER, *zxid, Nested(Raw(config))),
            QuorumPacket::FollowerInfo { accepted_epoch, info } => {
                put(serializer, FOLLOWER_INFO, accepted_epoch.start(), Nested(info))
            }
            QuorumPacket::UpToDate => put(serializer, UP_TO_DATE, -1_i64, NULL),
            QuorumPacket::Diff { zxid } => put(serializer, DIFF, *zxid, NULL),
            QuorumPacket::Trunc { zxid } => put(serializer, TRUNC, *zxid, NULL),
            QuorumPacket::Snap { zxid } => put(serializer, SNAP, *zxid, NULL),
            QuorumPacket::ObserverInfo { accepted_epoch, info } => {
                put(serializer, OBSERVER_INFO, accepted_epoch.start(), Nested(info))
            }
            QuorumPacket::LeaderInfo { epoch, protocol_version } => {
                put(serializer, LEADER_INFO, epoch.start(), Nested(protocol_version))
            }
            QuorumPacket::AckEpoch { last_logged, current_epoch } => {
                let zxid = last_logged.map_or(-1, Zxid::to_wire);
                let epoch = current_epoch.map_or(-1, PeerEpoch::to_wire);
                put(serializer, ACK_EPOCH, zxid, Nested(epoch))
            }
            QuorumPacket::InformAndActivate { zxid, designated_leader, entry } => {
                put(serializer, INFORM_AND_ACTIVATE, *zxid, Nested((designated_leader, Raw(entry))))
            }
        }
    }
}

fn put<S: Serializer>(serializer: S, code: i32, zxid: impl Serialize, data: impl Serialize) -> Result<S::Ok, S::Error> {
    (code, zxid, data, NULL).serialize(serializer)
}

/// Sessions one after the other, without a count.
struct Touches<'a>(&'a [SessionTouch]);

impl Serialize for Touches<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for touch in self.0 {
            tuple.serialize_element(touch)?;
        }
        tuple.end()
    }
}

#[derive(Deserialize)]
struct WirePacket {
    code: i32,
    zxid: i64,
    data: Buffer,
    auth: Option<Vec<Id>>,
}

impl WirePacket {
    fn at_leader(self) -> Result<QuorumPacket, DecodeError> {
        Ok(match self.code {
            REQUEST => {
                let data = self.bytes()?;
                let mut body = &data[..];
                let (session, cxid, op) = from_prefix(&mut body)?;
                let body = data.slice_ref(body);
                QuorumPacket::Request(LearnerRequest { session, cxid, op, body, auth: self.auth.unwrap_or_default() })
            }
            ACK => QuorumPacket::Ack { zxid: self.zxid()? },
            PING => QuorumPacket::PingReply { zxid: self.zxid()?, touches: self.touches()? },
            REVALIDATE => QuorumPacket::Revalidate(self.record()?),
            FOLLOWER_INFO => {
                QuorumPacket::FollowerInfo { accepted_epoch: self.epoch_of_zxid()?, info: self.learner_info()? }
            }
            OBSERVER_INFO => {
                QuorumPacket::ObserverInfo { accepted_epoch: self.epoch_of_zxid()?, info: self.learner_info()? }
            }
            ACK_EPOCH => {
                let epoch: i32 = self.record()?;
                let current_epoch = PeerEpoch::from_wire(i64::from(epoch));
                QuorumPacket::AckEpoch { last_logged: Zxid::from_wire(self.zxid), current_epoch }
            }
            code => return Err(misdirected(code)),
        })
    }

    fn at_learner(self) -> Result<QuorumPacket, DecodeError> {
        Ok(match self.code {
            PROPOSAL => QuorumPacket::Proposal { zxid: self.zxid()?, entry: self.bytes()? },
            COMMIT => QuorumPacket::Commit { zxid: self.zxid()? },
            PING => QuorumPacket::Ping { zxid: self.zxid()? },
            REVALIDATE => {
                let (session, is_valid) = self.record()?;
                QuorumPacket::RevalidateReply { session, is_valid }
            }
            SYNC => QuorumPacket::Sync,
            INFORM => QuorumPacket::Inform { zxid: self.zxid()?, entry: self.bytes()? },
            COMMIT_AND_ACTIVATE => {
                QuorumPacket::CommitAndActivate { zxid: self.zxid()?, designated_leader: self.record()? }
            }
            NEW_LEADER => {
                let zxid = self.epoch_of_zxid()?.start();
                QuorumPacket::NewLeader { zxid, config: self.bytes()? }
            }
            UP_TO_DATE => QuorumPacket::UpToDate,
            DIFF => QuorumPacket::Diff { zxid: self.zxid()? },
            TRUNC => QuorumPacket::Trunc { zxid: self.zxid()? },
            SNAP => QuorumPacket::Snap { zxid: self.zxid()? },
            LEADER_INFO => QuorumPacket::LeaderInfo { epoch: self.epoch_of_zxid()?, protocol_version: self.record()? },
            INFORM_AND_ACTIVATE => {
                let data = self.bytes()?;
                let mut entry = &data[..];
                let designated_leader = from_prefix(&mut entry)?;
                let entry = data.slice_ref(entry);
                QuorumPacket::InformAndActivate { zxid: self.zxid()?, designated_leader, entry }
            }
            code => return Err(misdirected(code)),
        })
    }

    fn zxid(&self) -> Result<Zxid, DecodeError> {
        Zxid::from_wire(self.zxid).ok_or_else(|| DecodeError::bad_value(self.zxid, "a zxid, which is not negative"))
    }

    fn epoch_of_zxid(&self) -> Result<PeerEpoch, DecodeError> {
        let zxid = self.zxid()?;
        if zxid.is_epoch_start() {
            Ok(zxid.epoch())
        } else {
            Err(DecodeError::bad_value(self.zxid, "the start of an epoch"))
        }
    }

    fn bytes(&self) -> Result<Bytes, DecodeError> {
        self.data.bytes().cloned().ok_or(DecodeError::UnexpectedNull)
    }

    fn record<'de, T: Deserialize<'de>>(&'de self) -> Result<T, DecodeError> {
        from_bytes(self.data.bytes().ok_or(DecodeError::UnexpectedNull)?)
    }

    fn learner_info(&self) -> Result<LearnerInfo, DecodeError> {
        self.record()
    }

    fn touches(&self) -> Result<Vec<SessionTouch>, DecodeError> {
        let mut rest = self.data.as_slice();
        let mut touches = Vec::with_capacity(rest.len() / TOUCH_LEN);
        while !rest.is_empty() {
            touches.push(from_prefix(&mut rest)?);
        }
        Ok(touches)
    }
}

/// A known type is on the wrong way, an unknown one on no way at all.
fn misdirected(code: i32) -> DecodeError {
    if (REQUEST..=INFORM_AND_ACTIVATE).contains(&code) {
        DecodeError::WrongDirection { code }
    } else {
        DecodeError::bad_value(code, "a packet type from 1 to 19")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::OpCode;
    use crate::quorum::LEARNER_PROTOCOL;
    use crate::{SessionId, Sid, Xid};

    fn packets() -> Vec<QuorumPacket> {
        let epoch = PeerEpoch::new(3);
        let zxid = Zxid::new(epoch, 7);
        let session = SessionId::new(0x0100_0036_6e66_0000);
        let touch = SessionTouch { session, timeout_ms: 4000 };
        let info = LearnerInfo { sid: Sid::new(2), protocol_version: LEARNER_PROTOCOL, config_version: 1 << 32 };
        let entry = Bytes::from_static(b"entry");
        let body = Bytes::from_static(&[0, 0, 0x0f, 0xa0]);
        vec![
            QuorumPacket::Request(LearnerRequest {
                session,
                cxid: Xid::ZERO,
                op: OpCode::CreateSession,
                body,
                auth: vec![],
            }),
            QuorumPacket::Request(LearnerRequest {
                session,
                cxid: Xid::new(5),
                op: OpCode::CloseSession,
                body: Bytes::new(),
                auth: vec![Id::anyone()],
            }),
            QuorumPacket::Proposal { zxid, entry: entry.clone() },
            QuorumPacket::Ack { zxid },
            QuorumPacket::Commit { zxid },
            QuorumPacket::Ping { zxid },
            QuorumPacket::PingReply { zxid, touches: vec![] },
            QuorumPacket::PingReply { zxid, touches: vec![touch, touch] },
            QuorumPacket::Revalidate(touch),
            QuorumPacket::RevalidateReply { session, is_valid: true },
            QuorumPacket::Sync,
            QuorumPacket::Inform { zxid, entry: entry.clone() },
            QuorumPacket::CommitAndActivate { zxid, designated_leader: Sid::new(1) },
            QuorumPacket::NewLeader { zxid: epoch.start(), config: Bytes::from_static(b"version=0") },
            QuorumPacket::FollowerInfo { accepted_epoch: epoch, info },
            QuorumPacket::UpToDate,
            QuorumPacket::Diff { zxid },
            QuorumPacket::Trunc { zxid: Zxid::ZERO },
            QuorumPacket::Snap { zxid },
            QuorumPacket::ObserverInfo { accepted_epoch: PeerEpoch::ZERO, info },
            QuorumPacket::LeaderInfo { epoch, protocol_version: LEARNER_PROTOCOL },
            QuorumPacket::AckEpoch { last_logged: Some(zxid), current_epoch: Some(epoch) },
            QuorumPacket::AckEpoch { last_logged: None, current_epoch: None },
            QuorumPacket::InformAndActivate { zxid, designated_leader: Sid::new(1), entry },
        ]
    }

    #[test]
    fn every_packet_comes_back_in_its_direction() {
        for packet in packets() {
            let bytes = packet.encode();
            assert_eq!(bytes.len(), packet.wire_len());
            assert_eq!(QuorumPacket::decode(&bytes, packet.direction()), Ok(packet));
        }
    }

    #[test]
    fn packets_follow_each_other_without_a_length() {
        let mut stream = Vec::new();
        for packet in packets() {
            if packet.direction() == Direction::ToLearner {
                crate::to_vec_into(&packet, &mut stream);
            }
        }
        let mut rest = &stream[..];
        for packet in packets() {
            if packet.direction() == Direction::ToLearner {
                assert_eq!(QuorumPacket::decode_prefix(&mut rest, Direction::ToLearner), Ok(packet));
            }
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn wire_form_is_type_zxid_data_and_authinfo() {
        let commit = QuorumPacket::Commit { zxid: Zxid::new(PeerEpoch::new(1), 2) };
        let null = [0xff; 4];
        let wire = [&[0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2][..], &null, &null].concat();
        assert_eq!(&commit.encode()[..], wire);

        let ack = QuorumPacket::AckEpoch { last_logged: None, current_epoch: None };
        let wire = [&[0, 0, 0, 18][..], &[0xff; 8], &[0, 0, 0, 4], &null, &null].concat();
        assert_eq!(&ack.encode()[..], wire);

        // A ping's reply has data even if no session was touched; the ping itself has none.
        let reply = QuorumPacket::PingReply { zxid: Zxid::ZERO, touches: vec![] };
        assert_eq!(&reply.encode()[12..], [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn packet_on_the_wrong_way_is_refused() {
        let commit = QuorumPacket::Commit { zxid: Zxid::ZERO }.encode();
        assert_eq!(
            QuorumPacket::decode(&commit, Direction::ToLeader),
            Err(DecodeError::WrongDirection { code: COMMIT })
        );
        let mut unknown = commit.to_vec();
        unknown[3] = 20;
        assert!(matches!(
            QuorumPacket::decode(&unknown, Direction::ToLearner),
            Err(DecodeError::BadValue { found: 20, .. })
        ));
    }

    #[test]
    fn epoch_in_a_zxid_has_no_counter() {
        let mut wire = QuorumPacket::LeaderInfo { epoch: PeerEpoch::new(1), protocol_version: 0 }.encode().to_vec();
        wire[11] = 1;
        assert!(matches!(
            QuorumPacket::decode(&wire, Direction::ToLearner),
            Err(DecodeError::BadValue { found: 0x1_0000_0001, .. })
        ));
    }
}
