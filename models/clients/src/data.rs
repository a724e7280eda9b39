//! What workloads write into znodes: values nobody else ever writes, so that a read names its writer.

use jute::Buffer;
use machine::{Digest, Io, Purpose, Vocabulary};

const LIFE: Purpose = Purpose::new("client-life");

/// Counter bits of a number; above them 24 bits name a life of the client, and 16 the client.
const COUNTER_BITS: u32 = 24;
const LIFE_BITS: u32 = 24;
const STORED_LEN: usize = 24;

/// Hands out numbers for values, operations and processes: never twice, over all clients and all their lives.
///
/// A client keeps nothing over a restart, so each life draws its own 24 bits.
#[derive(Clone, Debug)]
pub(crate) struct Numbering {
    next: u64,
    last: u64,
}

impl Numbering {
    pub(crate) fn new<V: Vocabulary>(client: u16, io: &mut Io<'_, V>) -> Self {
        let life = io.draw(LIFE).below(1 << LIFE_BITS);
        let first = (u64::from(client) << LIFE_BITS | life) << COUNTER_BITS;
        Self { next: first, last: first | ((1 << COUNTER_BITS) - 1) }
    }

    pub(crate) fn fresh(&mut self) -> u64 {
        assert!(self.next < self.last, "a life of a client has 16 million numbers");
        self.next += 1;
        self.next
    }
}

/// What a workload's znode holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The value: unique per write.
    pub value: u64,
    /// The fencing token it was written under, or a counter; zero where there is neither.
    pub token: u64,
}

/// Why data is not what some workload wrote to that path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not the length of a value.
    Length(usize),
    /// The check field is that of another value or another path.
    Check,
}

impl Stored {
    /// The bytes for the znode at `path`: value, token and a check field over both and the path.
    #[must_use]
    pub fn encode(self, path: &str) -> Buffer {
        let mut bytes = Vec::with_capacity(STORED_LEN);
        bytes.extend_from_slice(&self.value.to_be_bytes());
        bytes.extend_from_slice(&self.token.to_be_bytes());
        bytes.extend_from_slice(&self.check(path).to_be_bytes());
        Buffer::new(bytes)
    }

    /// Reads the bytes of the znode at `path`.
    ///
    /// # Errors
    /// If no workload wrote them there.
    pub fn decode(bytes: &[u8], path: &str) -> Result<Self, Unreadable> {
        let bytes: &[u8; STORED_LEN] = bytes.try_into().map_err(|_| Unreadable::Length(bytes.len()))?;
        let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let stored = Self { value: word(0), token: word(8) };
        if stored.check(path) == word(16) { Ok(stored) } else { Err(Unreadable::Check) }
    }

    fn check(self, path: &str) -> u64 {
        let mut digest = Digest::new();
        digest.word(self.value);
        digest.word(self.token);
        digest.text(path);
        digest.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_read_back_at_its_own_path_only() {
        let stored = Stored { value: 7, token: 3 };
        let bytes = stored.encode("/a");
        assert_eq!(Stored::decode(bytes.as_slice(), "/a"), Ok(stored));
        assert_eq!(Stored::decode(bytes.as_slice(), "/b"), Err(Unreadable::Check));
        assert_eq!(Stored::decode(&[], "/a"), Err(Unreadable::Length(0)));
    }
}
