//! Who and what: identities the host hands out, never reused, not even after a restart.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Purpose;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($of:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $of);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// What a machine runs on; dense, from zero.
    HostId(u32),
    "host"
);
id!(
    /// One *end* of a connection, numbered by the host it is on. The two ends of a connection have two ids: a machine
    /// that dials itself sees both, and a late message can never reach a new life.
    EndId(u32),
    "end"
);
id!(
    /// A life of a host's process: incremented by each boot, so messages of an earlier life are recognisable.
    Incarnation(u32),
    "life"
);
id!(
    /// A durability request in flight, numbered by its host.
    Ticket(u64),
    "ticket"
);
id!(
    /// A thread of a machine: work deferred to one lane runs one item at a time, in order. Constants per machine.
    Lane(u16),
    "lane"
);
id!(
    /// A port a machine listens on.
    Port(u16),
    ":"
);

/// Where to dial: a host and a port on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Address {
    /// The host.
    pub host: HostId,
    /// The port on that host.
    pub port: Port,
}

/// A host's supply of numbers. It outlives every incarnation of the machine, so an end or a ticket is never reused.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    next_end: u32,
    next_ticket: u64,
    /// Draws made so far per purpose, sorted by purpose; few purposes per machine, so a flat table beats a tree.
    draws: Vec<(u64, u64)>,
}

impl Numbers {
    /// Hands out the next end.
    pub fn end(&mut self) -> EndId {
        self.next_end += 1;
        EndId(self.next_end)
    }

    /// Hands out the next ticket.
    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Counts a draw for `purpose` and returns how many came before it.
    pub fn draw_index(&mut self, purpose: Purpose) -> u64 {
        let key = purpose.key();
        match self.draws.binary_search_by_key(&key, |&(k, _)| k) {
            Ok(at) => {
                self.draws[at].1 += 1;
                self.draws[at].1
            }
            Err(at) => {
                self.draws.insert(at, (key, 0));
                0
            }
        }
    }
}
