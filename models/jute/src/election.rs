//! What voters say to each other in a leader election (zookeeper.md §2.2, §2.5).
//!
//! A connection starts with the dialer's [`ConnectionHeader`]; then come frames of an `i32` length and a [`Notification`].

pub use crate::packet::ElectionMessage;

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};

use crate::coded::coded_enum;
use crate::ser::{Nested, Raw};
use crate::{DecodeError, ElectionRound, PeerEpoch, Sid, Zxid, encoded_len, from_prefix, to_bytes};

coded_enum! {
    /// What a server does in its ensemble.
    pub enum PeerState("a server state from 0 to 3") {
        Looking = 0, "LOOKING";
        Following = 1, "FOLLOWING";
        Leading = 2, "LEADING";
        Observing = 3, "OBSERVING";
    }
}

/// Largest body of a frame: 512 KiB.
pub const FRAME_LEN_MAX: usize = 512 * 1024;

/// A vote, and who casts it in which state. Fields that are none are `MIN_i64` on the wire: an observer votes for nobody.
///
/// Any negative number is read as none. One real sentinel is lost by that: −1 as the zxid of a server without a database
/// (zookeeper.md §9.6). It compares below every zxid, as none does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The sender's state.
    pub state: PeerState,
    /// The proposed leader.
    pub leader: Option<Sid>,
    /// The proposed leader's last logged zxid.
    pub zxid: Option<Zxid>,
    /// The sender's round, `electionEpoch`.
    pub round: ElectionRound,
    /// The proposed leader's current epoch.
    pub peer_epoch: Option<PeerEpoch>,
    /// Of the format: [`Notification::VERSION`], or less from old peers, who send no configuration.
    pub version: i32,
    /// Text of the sender's current configuration; empty if the version is below 2.
    pub config: Bytes,
}

impl Notification {
    /// The format since 3.5.
    pub const VERSION: i32 = 2;
    /// The shortest that is not dropped: without peer epoch.
    const LEN_MIN: usize = 28;
    /// With a peer epoch, but the last four bytes are not read: before 3.4.6 they meant nothing.
    const LEN_UNVERSIONED: usize = 40;

    /// Returns the body of the frame.
    pub fn encode(&self) -> Bytes {
        to_bytes(self)
    }

    /// Returns the length of the frame: prefix and body.
    pub fn wire_len(&self) -> usize {
        4 + encoded_len(self)
    }

    /// Decodes the body of a frame, legacy forms included. Bytes behind the configuration are ignored.
    ///
    /// # Errors
    /// See [`DecodeError`]: the receiver drops such a message. It is `Truncated` below 28 bytes, `NegativeLength` or `TooLong` if the
    /// configuration's length is a lie, `BadValue` for an unknown state or a number that is no sid or epoch.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let length = body.len();
        if length < Self::LEN_MIN {
            return Err(DecodeError::Truncated { needed: Self::LEN_MIN - length, left: length });
        }
        if length > FRAME_LEN_MAX {
            return Err(DecodeError::TooLong { length, limit: FRAME_LEN_MAX });
        }
        let mut rest = body;
        let rest = &mut rest;
        let state = from_prefix(rest)?;
        let leader = or_none(from_prefix(rest)?, Sid::from_wire, "a server id from 0 to 255")?;
        let zxid = Zxid::from_wire(from_prefix(rest)?);
        let round = from_prefix(rest)?;
        let peer_epoch = if length == Self::LEN_MIN {
            zxid.map(Zxid::epoch)
        } else {
            or_none(from_prefix(rest)?, PeerEpoch::from_wire, "an epoch of 31 bits")?
        };
        let version = if length <= Self::LEN_UNVERSIONED { 0 } else { from_prefix(rest)? };
        let config = if version < Self::VERSION { Bytes::new() } else { decode_config(rest, length)? };
        Ok(Notification { state, leader, zxid, round, peer_epoch, version, config })
    }
}

/// Returns nothing for a negative number, and refuses one that is out of range.
fn or_none<T>(
    found: i64,
    from_wire: impl Fn(i64) -> Option<T>,
    expected: &'static str,
) -> Result<Option<T>, DecodeError> {
    if found < 0 {
        return Ok(None);
    }
    from_wire(found).map(Some).ok_or_else(|| DecodeError::bad_value(found, expected))
}

fn decode_config(rest: &mut &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    let length: i32 = from_prefix(rest)?;
    let length = usize::try_from(length).map_err(|_| DecodeError::NegativeLength(length))?;
    if length > limit {
        return Err(DecodeError::TooLong { length, limit });
    }
    let config = rest.get(..length).ok_or(DecodeError::Truncated { needed: length, left: rest.len() })?;
    Ok(Bytes::copy_from_slice(config))
}

impl Serialize for Notification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(7)?;
        tuple.serialize_element(&self.state)?;
        tuple.serialize_element(&self.leader.map_or(i64::MIN, Sid::to_wire))?;
        tuple.serialize_element(&self.zxid.map_or(i64::MIN, Zxid::to_wire))?;
        tuple.serialize_element(&self.round)?;
        tuple.serialize_element(&self.peer_epoch.map_or(i64::MIN, |epoch| i64::from(epoch.value())))?;
        tuple.serialize_element(&self.version)?;
        if self.version >= Self::VERSION {
            tuple.serialize_element(&Nested(Raw(&self.config)))?;
        }
        tuple.end()
    }
}

/// Who dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialer {
    /// A server with an id.
    Server(Sid),
    /// An observer of old, which had no id (`MAX_i64`): the acceptor gives it a negative number of its own.
    Observer,
}

/// What the dialer of an election connection says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionHeader {
    /// Id alone; long ago.
    Legacy {
        /// Who dials.
        dialer: Dialer,
    },
    /// Id and one address: protocol version −65536.
    SingleAddress {
        /// Who dials.
        dialer: Dialer,
        /// Its election address, `host:port`.
        address: String,
    },
    /// Id and addresses: protocol version −65535.
    MultiAddress {
        /// Who dials.
        dialer: Dialer,
        /// Its election addresses, `host:port` each.
        addresses: Vec<String>,
    },
}

impl ConnectionHeader {
    const SINGLE_ADDRESS: i64 = -65536;
    const MULTI_ADDRESS: i64 = -65535;
    /// Longest text of addresses.
    const ADDRESSES_LEN_MAX: usize = 2048;
    const LEGACY_OBSERVER: i64 = i64::MAX;

    /// Returns who dials.
    pub fn dialer(&self) -> Dialer {
        match self {
            ConnectionHeader::Legacy { dialer }
            | ConnectionHeader::SingleAddress { dialer, .. }
            | ConnectionHeader::MultiAddress { dialer, .. } => *dialer,
        }
    }

    /// Returns the header's bytes; there is no length prefix.
    pub fn encode(&self) -> Bytes {
        to_bytes(self)
    }

    /// Returns how many bytes [`ConnectionHeader::encode`] would make.
    pub fn wire_len(&self) -> usize {
        encoded_len(self)
    }

    /// Decodes the header a stream begins with, and advances `stream` behind it.
    ///
    /// # Errors
    /// See [`DecodeError`]: the acceptor closes the connection. [`DecodeError::Truncated`] means: wait for more.
    pub fn decode_prefix(stream: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut rest = *stream;
        let protocol: i64 = from_prefix(&mut rest)?;
        let header = if protocol >= 0 {
            ConnectionHeader::Legacy { dialer: dialer_from_wire(protocol)? }
        } else if protocol == Self::SINGLE_ADDRESS {
            let (dialer, address) = decode_dialer(&mut rest)?;
            ConnectionHeader::SingleAddress { dialer, address: address.to_owned() }
        } else if protocol == Self::MULTI_ADDRESS {
            let (dialer, addresses) = decode_dialer(&mut rest)?;
            ConnectionHeader::MultiAddress { dialer, addresses: addresses.split('|').map(str::to_owned).collect() }
        } else {
            return Err(DecodeError::bad_value(protocol, "a protocol version of -65536 or -65535"));
        };
        *stream = rest;
        Ok(header)
    }
}

fn dialer_to_wire(dialer: Dialer) -> i64 {
    match dialer {
        Dialer::Server(sid) => sid.to_wire(),
        Dialer::Observer => ConnectionHeader::LEGACY_OBSERVER,
    }
}

fn dialer_from_wire(sid: i64) -> Result<Dialer, DecodeError> {
    if sid == ConnectionHeader::LEGACY_OBSERVER {
        return Ok(Dialer::Observer);
    }
    Sid::from_wire(sid).map(Dialer::Server).ok_or_else(|| DecodeError::bad_value(sid, "a server id from 0 to 255"))
}

fn decode_dialer<'a>(rest: &mut &'a [u8]) -> Result<(Dialer, &'a str), DecodeError> {
    let dialer = dialer_from_wire(from_prefix(rest)?)?;
    let length: i32 = from_prefix(&mut &**rest)?;
    match usize::try_from(length) {
        Err(_) => return Err(DecodeError::NegativeLength(length)),
        Ok(length) if length > ConnectionHeader::ADDRESSES_LEN_MAX => {
            return Err(DecodeError::TooLong { length, limit: ConnectionHeader::ADDRESSES_LEN_MAX });
        }
        Ok(_) => {}
    }
    Ok((dialer, from_prefix(rest)?))
}

impl Serialize for ConnectionHeader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ConnectionHeader::Legacy { dialer } => dialer_to_wire(*dialer).serialize(serializer),
            ConnectionHeader::SingleAddress { dialer, address } => {
                (Self::SINGLE_ADDRESS, dialer_to_wire(*dialer), address).serialize(serializer)
            }
            ConnectionHeader::MultiAddress { dialer, addresses } => {
                (Self::MULTI_ADDRESS, dialer_to_wire(*dialer), addresses.join("|")).serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote() -> Notification {
        Notification {
            state: PeerState::Looking,
            leader: Some(Sid::new(3)),
            zxid: Some(Zxid::new(PeerEpoch::new(2), 9)),
            round: ElectionRound::new(4),
            peer_epoch: Some(PeerEpoch::new(2)),
            version: Notification::VERSION,
            config: Bytes::from_static(b"version=100000000"),
        }
    }

    #[test]
    fn notification_comes_back() {
        let nobody = Notification {
            state: PeerState::Observing,
            leader: None,
            zxid: None,
            peer_epoch: None,
            config: Bytes::new(),
            ..vote()
        };
        for notification in [vote(), nobody] {
            let body = notification.encode();
            assert_eq!(notification.wire_len(), 4 + body.len());
            assert_eq!(Notification::decode(&body), Ok(notification));
        }
        assert_eq!(vote().encode().len(), 4 + 8 + 8 + 8 + 8 + 4 + 4 + 17);
    }

    #[test]
    fn peer_epoch_of_the_28_byte_form_is_that_of_the_zxid() {
        let body = vote().encode();
        let legacy = Notification { version: 0, config: Bytes::new(), ..vote() };
        assert_eq!(Notification::decode(&body[..28]), Ok(legacy.clone()));
        assert_eq!(Notification::decode(&body[..40]), Ok(legacy.clone()));
        assert_eq!(legacy.encode().len(), 40);
        assert_eq!(Notification::decode(&legacy.encode()), Ok(legacy));
    }

    #[test]
    fn bad_notification_is_dropped_for_a_reason() {
        let body = vote().encode();
        let check = |at: usize, bytes: &[u8], expected: DecodeError| {
            let mut body = body.to_vec();
            body[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(Notification::decode(&body), Err(expected));
        };
        check(3, &[4], DecodeError::bad_value(4, "a server state from 0 to 3"));
        check(4, &[1], DecodeError::bad_value((1_i64 << 56) + 3, "a server id from 0 to 255"));
        check(40, &[0xff; 4], DecodeError::NegativeLength(-1));
        check(40, &[0, 0, 1, 0], DecodeError::TooLong { length: 256, limit: 61 });
        check(40, &[0, 0, 0, 18], DecodeError::Truncated { needed: 18, left: 17 });
        assert_eq!(Notification::decode(&body[..27]), Err(DecodeError::Truncated { needed: 1, left: 27 }));
        assert_eq!(Notification::decode(&body[..33]), Err(DecodeError::Truncated { needed: 8, left: 5 }));
    }

    #[test]
    fn connection_header_comes_back() {
        let dialer = Dialer::Server(Sid::new(3));
        let address = "c3:3888".to_owned();
        for header in [
            ConnectionHeader::Legacy { dialer },
            ConnectionHeader::Legacy { dialer: Dialer::Observer },
            ConnectionHeader::SingleAddress { dialer, address: address.clone() },
            ConnectionHeader::MultiAddress { dialer, addresses: vec![address, "d3:3888".to_owned()] },
        ] {
            let bytes = [&header.encode()[..], b"more"].concat();
            let mut stream = &bytes[..];
            assert_eq!(ConnectionHeader::decode_prefix(&mut stream), Ok(header));
            assert_eq!(stream, b"more");
        }
    }

    #[test]
    fn overlong_address_is_refused_before_it_is_read() {
        let wire = to_bytes(&(-65536_i64, 1_i64, 2049_i32));
        assert_eq!(
            ConnectionHeader::decode_prefix(&mut &wire[..]),
            Err(DecodeError::TooLong { length: 2049, limit: 2048 })
        );
    }
}
