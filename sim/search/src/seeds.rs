//! Which seeds were run: stretches of equal steps, so that a shard's tenth of a million seeds is one line.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Seeds that are equally far apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// The first.
    pub from: u64,
    /// How far the next is; 1 if there is none.
    pub every: u64,
    /// How many there are.
    pub count: u64,
}

impl Stretch {
    fn last(&self) -> u64 {
        self.from + (self.count - 1) * self.every
    }

    fn contains(&self, seed: u64) -> bool {
        (self.from..=self.last()).contains(&seed) && (seed - self.from).is_multiple_of(self.every)
    }

    fn iter(&self) -> impl Iterator<Item = u64> + use<> {
        let Self { from, every, count } = *self;
        (0..count).map(move |at| from + at * every)
    }

    /// False for what no campaign writes.
    fn is_legal(&self) -> bool {
        let last = self.count.checked_sub(1).and_then(|steps| steps.checked_mul(self.every));
        self.every > 0 && last.and_then(|last| last.checked_add(self.from)).is_some()
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.every) {
            (1, _) => write!(f, "{}", self.from),
            (_, 1) => write!(f, "{}..{}", self.from, u128::from(self.last()) + 1),
            (_, every) => write!(f, "{}..{} by {every}", self.from, u128::from(self.last()) + 1),
        }
    }
}

/// A set of seeds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Stretch>", into = "Vec<Stretch>")]
pub struct Seeds(Vec<Stretch>);

impl Seeds {
    /// Adds a seed that is larger than all before it.
    ///
    /// # Panics
    /// If it is not.
    pub fn push(&mut self, seed: u64) {
        let Some(last) = self.0.last_mut() else {
            return self.0.push(Stretch { from: seed, every: 1, count: 1 });
        };
        assert!(seed > last.last(), "seeds are added in order");
        let step = seed - last.last();
        if last.count == 1 || last.every == step {
            (last.every, last.count) = (step, last.count + 1);
        } else {
            self.0.push(Stretch { from: seed, every: 1, count: 1 });
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|stretch| stretch.count).sum()
    }

    /// Whether this seed is one of them.
    #[must_use]
    pub fn contains(&self, seed: u64) -> bool {
        self.0.iter().any(|stretch| stretch.contains(seed))
    }

    /// A seed that both have, if there is one.
    #[must_use]
    pub fn common(&self, other: &Self) -> Option<u64> {
        let (few, many) = if self.count() <= other.count() { (self, other) } else { (other, self) };
        few.0.iter().flat_map(Stretch::iter).find(|&seed| many.contains(seed))
    }

    /// Adds those of another set, which has none in common with this one.
    pub fn merge(&mut self, other: Self) {
        let mut stretches = std::mem::take(&mut self.0);
        stretches.extend(other.0);
        stretches.sort_unstable();
        let mut all: Vec<u64> = stretches.iter().flat_map(Stretch::iter).collect();
        all.sort_unstable();
        let mut joined = Self::default();
        all.into_iter().for_each(|seed| joined.push(seed));
        // What has holes may be longer than its parts were.
        self.0 = if joined.0.len() <= stretches.len() { joined.0 } else { stretches };
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 4;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let named: Vec<String> = self.0.iter().take(MOST).map(Stretch::to_string).collect();
        f.write_str(&named.join(", "))?;
        if self.0.len() > MOST {
            write!(f, " and {} more", self.0.iter().skip(MOST).map(|stretch| stretch.count).sum::<u64>())?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<Stretch>> for Seeds {
    type Error = String;

    fn try_from(stretches: Vec<Stretch>) -> Result<Self, String> {
        match stretches.iter().find(|stretch| !stretch.is_legal()) {
            None => Ok(Self(stretches)),
            Some(Stretch { from, every, count }) => Err(format!("{count} seeds from {from} by {every} are none")),
        }
    }
}

impl From<Seeds> for Vec<Stretch> {
    fn from(seeds: Seeds) -> Self {
        seeds.0
    }
}

#[cfg(test)]
mod tests {
    use super::Seeds;

    fn of(seeds: impl IntoIterator<Item = u64>) -> Seeds {
        let mut set = Seeds::default();
        seeds.into_iter().for_each(|seed| set.push(seed));
        set
    }

    #[test]
    fn merged_shards_are_the_range_in_any_order() {
        let shard = |index| of((100..200).filter(move |seed| seed % 3 == index));
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut merged = Seeds::default();
            order.into_iter().for_each(|index| merged.merge(shard(index)));
            assert_eq!(merged, of(100..200));
            assert_eq!(merged.to_string(), "100..200");
        }
    }

    #[test]
    fn common_seeds_are_found_and_others_are_not() {
        let (even, odd) = (of((0..100).step_by(2)), of((1..100).step_by(2)));
        assert_eq!(even.common(&odd), None);
        assert_eq!(even.common(&of([7, 13, 44])), Some(44));
        assert_eq!((even.count(), even.contains(98), even.contains(100)), (50, true, false));
    }

    #[test]
    fn sets_are_written_as_stretches_and_what_is_none_is_refused() {
        let text = serde_json::to_string(&of([0, 3, 6, 9])).unwrap();
        assert_eq!(text, r#"[{"from":0,"every":3,"count":4}]"#);
        assert_eq!(serde_json::from_str::<Seeds>(&text).unwrap().to_string(), "0..10 by 3");
        assert_eq!(of([u64::MAX - 1, u64::MAX]).to_string(), "18446744073709551614..18446744073709551616");
        for wrong in [
            r#"[{"from":0,"every":0,"count":4}]"#,
            r#"[{"from":0,"every":1,"count":0}]"#,
            r#"[{"from":5,"every":18446744073709551615,"count":3}]"#,
        ] {
            assert!(serde_json::from_str::<Seeds>(wrong).is_err(), "{wrong}");
        }
    }
}
