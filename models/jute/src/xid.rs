//! A client's numbering of its requests.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number a client gives a request and finds again in the reply; `cxid` in transactions (zookeeper.md §10.5).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Xid(i32);

impl Xid {
    /// A connect, and what the server asks of itself.
    pub const ZERO: Xid = Xid(0);
    /// The first request of a session.
    pub const FIRST: Xid = Xid(1);
    /// A watch event.
    pub const NOTIFICATION: Xid = Xid(-1);
    /// A ping and its reply.
    pub const PING: Xid = Xid(-2);
    /// An auth packet and its reply.
    pub const AUTH: Xid = Xid(-4);
    /// Watches set again after a reconnect.
    pub const SET_WATCHES: Xid = Xid(-8);

    /// Returns the xid with this number.
    pub const fn new(number: i32) -> Self {
        Xid(number)
    }

    /// Returns the number.
    pub const fn value(self) -> i32 {
        self.0
    }

    /// Returns the number of the next request: from 2³¹−1 it goes back to 1.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 == i32::MAX { Xid::FIRST } else { Xid(self.0 + 1) }
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Xid({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xid_wraps_to_one() {
        assert_eq!(Xid::new(i32::MAX).next(), Xid::FIRST);
        assert_eq!(Xid::FIRST.next(), Xid::new(2));
    }
}
