//! Periods of leadership, and rounds of leader election.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::Zxid;
use crate::coded::bad_value;

/// The number of a leadership period: the upper half of a [`Zxid`] (zookeeper.md §1.1). On its own it travels as an `int`,
/// in a vote as a `long`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerEpoch(u32);

impl PeerEpoch {
    /// Before any leader.
    pub const ZERO: PeerEpoch = PeerEpoch(0);

    /// Returns the epoch with this number.
    ///
    /// # Panics
    /// Above 2³¹−1: zxids would turn negative.
    pub const fn new(number: u32) -> Self {
        assert!(number <= u32::MAX >> 1, "an epoch has 31 bits");
        PeerEpoch(number)
    }

    /// Returns the epoch a `long` stands for, none for sentinels and numbers that are no epoch.
    pub const fn from_wire(value: i64) -> Option<Self> {
        if value < 0 || value > i32::MAX as i64 { None } else { Some(PeerEpoch::of_zxid(value.cast_unsigned() << 32)) }
    }

    pub(crate) const fn of_zxid(zxid: u64) -> Self {
        PeerEpoch((zxid >> 32) as u32)
    }

    /// Returns the number.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Returns the `int` for the wire.
    pub const fn to_wire(self) -> i32 {
        self.0.cast_signed()
    }

    /// Returns the epoch after this one.
    ///
    /// # Panics
    /// After 2³¹−1 epochs.
    #[must_use]
    pub const fn next(self) -> Self {
        PeerEpoch::new(self.0 + 1)
    }

    /// Returns the zxid of this epoch's NEWLEADER proposal.
    pub const fn start(self) -> Zxid {
        Zxid::new(self, 0)
    }
}

impl fmt::Display for PeerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerEpoch({})", self.0)
    }
}

impl Serialize for PeerEpoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.to_wire())
    }
}

impl<'de> Deserialize<'de> for PeerEpoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i32::deserialize(deserializer)?;
        PeerEpoch::from_wire(i64::from(value)).ok_or_else(|| bad_value!(value, "an epoch, which is not negative"))
    }
}

/// A round of leader election, `electionEpoch` on the wire: counted in memory only, from 0 (zookeeper.md §1.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElectionRound(u64);

impl ElectionRound {
    /// Before the first leader election of a server's life.
    pub const ZERO: ElectionRound = ElectionRound(0);

    /// Returns the round with this number.
    ///
    /// # Panics
    /// Above 2⁶³−1, which the wire cannot tell.
    pub const fn new(number: u64) -> Self {
        assert!(number <= u64::MAX >> 1, "a round has 63 bits");
        ElectionRound(number)
    }

    /// Returns the round a `long` stands for, none if it is negative.
    pub const fn from_wire(value: i64) -> Option<Self> {
        if value < 0 { None } else { Some(ElectionRound(value.cast_unsigned())) }
    }

    /// Returns the number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Returns the `long` for the wire.
    pub const fn to_wire(self) -> i64 {
        self.0.cast_signed()
    }

    /// Returns the round after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        ElectionRound::new(self.0 + 1)
    }
}

impl fmt::Display for ElectionRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ElectionRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ElectionRound({})", self.0)
    }
}

impl Serialize for ElectionRound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.to_wire())
    }
}

impl<'de> Deserialize<'de> for ElectionRound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        ElectionRound::from_wire(value).ok_or_else(|| bad_value!(value, "a round, which is not negative"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_of_the_wire_fits_31_bits() {
        assert_eq!(PeerEpoch::from_wire(3), Some(PeerEpoch::new(3)));
        assert_eq!(PeerEpoch::from_wire(-1), None);
        assert_eq!(PeerEpoch::from_wire(1 << 31), None);
        assert_eq!(PeerEpoch::new(3).start().to_string(), "0x300000000");
    }
}
