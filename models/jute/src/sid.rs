//! The identity of a server.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::coded::bad_value;

/// A server's id, its `myid`: it fits a byte because it is the top byte of the session ids it mints (zookeeper.md §1.1).
/// A `long` on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid(u8);

impl Sid {
    /// Returns the id with this number.
    pub const fn new(number: u8) -> Self {
        Sid(number)
    }

    /// Returns the id a `long` stands for, none for sentinels and numbers above a byte.
    pub fn from_wire(value: i64) -> Option<Self> {
        u8::try_from(value).ok().map(Sid)
    }

    /// Returns the number.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// Returns the `long` for the wire.
    pub const fn to_wire(self) -> i64 {
        self.0 as i64
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({})", self.0)
    }
}

impl Serialize for Sid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.to_wire())
    }
}

impl<'de> Deserialize<'de> for Sid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        Sid::from_wire(value).ok_or_else(|| bad_value!(value, "a server id from 0 to 255"))
    }
}
