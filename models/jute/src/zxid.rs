//! The order of transactions.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::PeerEpoch;
use crate::coded::bad_value;

/// A transaction id: the epoch of the leader that proposed it, and a counter within it (zookeeper.md §1.1).
///
/// Printed as the logs do: `0x100000002`. On the wire it is a `long`. The sentinels −1 and `MIN_i64` are no zxids: fields
/// that may hold one are `Option<Zxid>`, converted by [`Zxid::from_wire`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zxid(u64);

impl Zxid {
    /// Before any transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// Returns the zxid of this epoch and counter. Counter 0 names the epoch's NEWLEADER proposal.
    pub const fn new(epoch: PeerEpoch, counter: u32) -> Self {
        Zxid((epoch.value() as u64) << 32 | counter as u64)
    }

    /// Returns the zxid a `long` stands for, none for a sentinel (any negative number).
    pub const fn from_wire(value: i64) -> Option<Self> {
        if value < 0 { None } else { Some(Zxid(value.cast_unsigned())) }
    }

    /// Returns the `long` for the wire.
    pub const fn to_wire(self) -> i64 {
        self.0.cast_signed()
    }

    /// Returns `epoch << 32 | counter`, as file names and logs show it.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Returns the epoch of the leader that proposed it.
    pub const fn epoch(self) -> PeerEpoch {
        PeerEpoch::of_zxid(self.0)
    }

    /// Returns the place within the epoch, 0 for the NEWLEADER proposal.
    pub const fn counter(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// Whether this names a NEWLEADER proposal.
    pub const fn is_epoch_start(self) -> bool {
        self.counter() == 0
    }

    /// Returns the next zxid of the same epoch.
    ///
    /// # Panics
    /// If the counter is at its end: a leader must step down before (ZOOKEEPER-1277).
    #[must_use]
    pub const fn next(self) -> Self {
        assert!(self.counter() < u32::MAX, "the counter of a zxid never wraps into the epoch");
        Zxid(self.0 + 1)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zxid({self})")
    }
}

impl fmt::LowerHex for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl Serialize for Zxid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.to_wire())
    }
}

impl<'de> Deserialize<'de> for Zxid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        Zxid::from_wire(value).ok_or_else(|| bad_value!(value, "a zxid, which is not negative"))
    }
}

/// A zxid that may be absent, which is −1 on the wire: `#[serde(with = "crate::zxid::or_minus_one")]`.
pub(crate) mod or_minus_one {
    use super::{Deserialize, Deserializer, Serializer, Zxid};

    pub(crate) fn serialize<S: Serializer>(zxid: &Option<Zxid>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(zxid.map_or(-1, Zxid::to_wire))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Zxid>, D::Error> {
        i64::deserialize(deserializer).map(Zxid::from_wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, from_bytes, to_bytes};

    #[test]
    fn epoch_and_counter_make_a_zxid() {
        let zxid = Zxid::new(PeerEpoch::new(1), 2);
        assert_eq!(zxid.to_string(), "0x100000002");
        assert_eq!((zxid.epoch(), zxid.counter()), (PeerEpoch::new(1), 2));
        assert_eq!(zxid.next(), Zxid::new(PeerEpoch::new(1), 3));
        assert!(Zxid::new(PeerEpoch::new(7), 0).is_epoch_start());
        assert_eq!(from_bytes(&to_bytes(&zxid)), Ok(zxid));
    }

    #[test]
    fn sentinels_are_no_zxids() {
        assert_eq!(Zxid::from_wire(-1), None);
        assert_eq!(Zxid::from_wire(i64::MIN), None);
        assert!(matches!(from_bytes::<Zxid>(&[0xff; 8]), Err(DecodeError::BadValue { found: -1, .. })));
    }

    #[test]
    #[should_panic(expected = "never wraps")]
    fn counter_does_not_wrap_into_the_epoch() {
        let _ = Zxid::new(PeerEpoch::new(1), u32::MAX).next();
    }
}
