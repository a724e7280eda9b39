//! The hash of traces, contents and states: ten lines of our own, because a crate's hash may change between versions
//! and break every stored trace hash.

/// How deep a message's content goes into a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// The fields that decide what the receiver does, as cheaply as they can be told apart.
    Cheap,
    /// The encoded bytes, every one of them (`--verify`).
    Encoded,
}

/// A running 64-bit digest; two folded multiplications a word. Order matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest(u64);

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const MULTIPLIER: u64 = 0xD6E8_FEB8_6659_FD93;

/// The folded product: both halves of the 128-bit product, xored.
#[expect(clippy::cast_possible_truncation, reason = "folding keeps both halves, each on purpose")]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    /// An empty digest.
    #[must_use]
    pub const fn new() -> Self {
        Self(SEED)
    }

    /// Continues a chain from a value that [`Digest::value`] returned.
    #[must_use]
    pub const fn resume(value: u64) -> Self {
        Self(value)
    }

    /// Adds a word.
    #[inline]
    pub const fn word(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word ^ SEED, MULTIPLIER).wrapping_add(self.0.rotate_left(23));
    }

    /// Adds a signed word.
    #[inline]
    pub const fn signed(&mut self, word: i64) {
        self.word(word.cast_unsigned());
    }

    /// Adds bytes, and how many there were.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    /// Adds text, and how long it was.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// The digest of everything added so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        fold(self.0 ^ MULTIPLIER, SEED)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    fn of(words: &[u64]) -> u64 {
        let mut digest = Digest::new();
        for &word in words {
            digest.word(word);
        }
        digest.value()
    }

    #[test]
    fn digests_tell_order_length_and_content_apart() {
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[]), of(&[0]));
        assert_ne!(of(&[0]), of(&[0, 0]));
        let mut a = Digest::new();
        a.bytes(&[0, 0, 0]);
        let mut b = Digest::new();
        b.bytes(&[0, 0]);
        assert_ne!(a.value(), b.value());
    }

    #[test]
    fn the_digest_is_the_same_for_ever() {
        assert_eq!(of(&[1, 2, 3]), 3_517_804_723_941_225_614, "stored trace hashes depend on this value");
    }
}
