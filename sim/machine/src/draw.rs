//! Randomness by name.
//!
//! A draw is a pure function of (run key, purpose, entity, index). Nobody shares a generator, so one more draw in the
//! network cannot shift an election, and removing one message or fault changes only its own draws: that is what makes
//! shrinking and "the same run without this message" possible.

use crate::{Digest, Span};

/// What a draw is for: a name, and its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Purpose {
    name: &'static str,
    key: u64,
}

impl Purpose {
    /// Names a purpose; meant for constants. Two purposes of one package must have two names.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        // FNV-1a: the key only has to differ from name to name, and to be computed by the compiler.
        let bytes = name.as_bytes();
        let mut key: u64 = 0xCBF2_9CE4_8422_2325;
        let mut at = 0;
        while at < bytes.len() {
            key = (key ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01B3);
            at += 1;
        }
        Self { name, key }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The name's hash.
    #[must_use]
    pub const fn key(self) -> u64 {
        self.key
    }
}

/// The key of a run, made from its seed. A fork is reseeded by changing it from that instant on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunKey(pub [u64; 2]);

impl RunKey {
    /// The draw for `purpose` by `entity` with that index.
    #[must_use]
    #[inline]
    pub const fn draw(self, purpose: Purpose, entity: u64, index: u64) -> Draw {
        let mut digest = Digest::resume(self.0[0]);
        digest.word(purpose.key);
        digest.word(entity ^ self.0[1]);
        digest.word(index);
        Draw { state: digest.value() }
    }
}

/// One draw: a value, and as many more as are needed.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// 64 random bits.
    #[inline]
    pub const fn bits(&mut self) -> u64 {
        // SplitMix64: a counter and a finalizer, so successive values of one draw are independent.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`. Panics if `bound` is zero.
    #[inline]
    pub const fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw below zero");
        ((self.bits() as u128 * bound as u128) >> 64) as u64
    }

    /// An index into something of that length. Panics if it is empty.
    #[expect(clippy::cast_possible_truncation, reason = "an index below a usize is a usize")]
    pub const fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A span between the two, both included. Panics if `least` is longer than `most`.
    #[inline]
    pub fn between(&mut self, least: Span, most: Span) -> Span {
        assert!(least <= most, "a span between {least} and {most}");
        if least == most {
            return least;
        }
        Span::nanos(least.as_nanos() + self.below((most - least).as_nanos() + 1))
    }

    /// True `times` out of `of`. Panics if `of` is zero.
    #[inline]
    pub const fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    /// Puts the items into a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Purpose, RunKey};
    use crate::Span;

    const LATENCY: Purpose = Purpose::new("latency");
    const ORDER: Purpose = Purpose::new("order");

    #[test]
    fn a_draw_depends_on_each_of_its_four_names_and_on_nothing_else() {
        let key = RunKey([1, 2]);
        let base = key.draw(LATENCY, 3, 4).bits();
        assert_eq!(base, RunKey([1, 2]).draw(LATENCY, 3, 4).bits());
        assert_ne!(base, RunKey([1, 3]).draw(LATENCY, 3, 4).bits());
        assert_ne!(base, RunKey([2, 2]).draw(LATENCY, 3, 4).bits());
        assert_ne!(base, key.draw(ORDER, 3, 4).bits());
        assert_ne!(base, key.draw(LATENCY, 4, 4).bits());
        assert_ne!(base, key.draw(LATENCY, 3, 5).bits());
    }

    #[test]
    fn draws_spread_evenly_over_their_range() {
        let mut hits = [0_u32; 10];
        for index in 0..10_000 {
            hits[RunKey([7, 9]).draw(LATENCY, 1, index).index(10)] += 1;
        }
        assert!(hits.iter().all(|&n| (850..1150).contains(&n)), "{hits:?}");
        let mut draw = RunKey([7, 9]).draw(ORDER, 0, 0);
        for _ in 0..100 {
            let span = draw.between(Span::millis(3), Span::millis(4));
            assert!(span >= Span::millis(3) && span <= Span::millis(4));
        }
    }

    #[test]
    fn a_shuffle_keeps_all_items() {
        let mut items: Vec<u32> = (0..50).collect();
        RunKey([1, 1]).draw(ORDER, 0, 0).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
