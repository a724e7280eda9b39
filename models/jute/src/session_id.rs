//! The identity of a session.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Sid;

/// A session's id: who minted it in the top byte, then milliseconds and a counter (zookeeper.md §7.1). Printed as `0x…`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(i64);

impl SessionId {
    /// No session: what a client sends to get a new one, and what a refusal says.
    pub const ZERO: SessionId = SessionId(0);

    /// Returns the id with this value.
    pub const fn new(value: i64) -> Self {
        SessionId(value)
    }

    /// Returns the first id a server mints whose tracker starts at `monotonic_ms`: sid, 40 bits of time, counter 0.
    pub const fn first_of(sid: Sid, monotonic_ms: u64) -> Self {
        let id = (monotonic_ms << 24 >> 8 | (sid.value() as u64) << 56).cast_signed();
        // MIN_i64 as an owner marks a container.
        SessionId(if id == i64::MIN { id + 1 } else { id })
    }

    /// Returns the server that minted it: the top byte.
    pub const fn server(self) -> Sid {
        let [server, ..] = self.0.to_be_bytes();
        Sid::new(server)
    }

    /// Returns the id minted after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        SessionId(self.0.wrapping_add(1))
    }

    /// Returns the value on the wire.
    pub const fn value(self) -> i64 {
        self.0
    }

    /// Whether this names no session.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_holds_sid_and_low_40_bits_of_time() {
        let id = SessionId::first_of(Sid::new(1), 0x00ab_0000_000f_c934);
        assert_eq!(id.to_string(), "0x100000fc9340000");
        assert_eq!(SessionId::first_of(Sid::new(255), 0).to_string(), "0xff00000000000000");
        assert_eq!(SessionId::first_of(Sid::new(128), 0), SessionId::new(i64::MIN + 1));
    }
}
