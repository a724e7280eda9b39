//! Failures grouped by signature: forty failing seeds are two bugs.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// So many seeds of a group are named; the others are counted.
pub const SEEDS_MOST: usize = 8;

/// A run that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// Id of the rule that was broken.
    pub invariant: String,
    /// Name of that rule.
    pub name: String,
    /// The sentence that says how.
    pub headline: String,
    /// The trace hash at the end of the run.
    #[serde(with = "crate::hex")]
    pub hash: u64,
}

/// All runs of a scenario that failed in the same way, as far as one can tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What they have in common.
    #[serde(with = "crate::hex")]
    pub signature: u64,
    /// How many there are.
    pub runs: u64,
    /// The one with the smallest seed.
    pub first: Failure,
    /// The smallest seeds, at most [`SEEDS_MOST`].
    pub seeds: Vec<u64>,
}

/// The groups of one scenario, by signature.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Groups(BTreeMap<u64, Group>);

impl Groups {
    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a failure; true if it is the first of its group.
    pub fn add(&mut self, signature: u64, failure: Failure) -> bool {
        let seeds = vec![failure.seed];
        let is_new = !self.0.contains_key(&signature);
        self.join(Group { signature, runs: 1, first: failure, seeds });
        is_new
    }

    /// Adds the groups of another campaign over the same scenario and other seeds.
    pub fn merge(&mut self, others: Self) {
        others.0.into_values().for_each(|group| self.join(group));
    }

    fn join(&mut self, other: Group) {
        match self.0.get_mut(&other.signature) {
            None => {
                self.0.insert(other.signature, other);
            }
            Some(group) => {
                group.runs += other.runs;
                group.seeds.extend(other.seeds);
                group.seeds.sort_unstable();
                group.seeds.truncate(SEEDS_MOST);
                if other.first.seed < group.first.seed {
                    group.first = other.first;
                }
            }
        }
    }

    /// The groups, in order of their signatures.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.values()
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if nothing failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs that failed, over all groups.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.iter().map(|group| group.runs).sum()
    }
}

/// As a list.
impl Serialize for Groups {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut groups = Self::new();
        Vec::<Group>::deserialize(from)?.into_iter().for_each(|group| groups.join(group));
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Groups, SEEDS_MOST};

    fn failure(seed: u64) -> Failure {
        let text = |text: &str| text.to_owned();
        Failure { seed, invariant: text("C13"), name: text("no-loss"), headline: format!("by {seed}"), hash: seed }
    }

    #[test]
    fn failures_with_one_signature_are_one_group_with_its_smallest_seed() {
        let mut groups = Groups::new();
        assert!(groups.add(7, failure(20)));
        assert!(!groups.add(7, failure(3)));
        assert!(groups.add(8, failure(4)));
        assert!(!groups.add(7, failure(30)));
        let found: Vec<_> = groups.iter().map(|group| (group.signature, group.runs, group.first.seed)).collect();
        assert_eq!(found, [(7, 3, 3), (8, 1, 4)]);
        assert_eq!(groups.iter().next().unwrap().seeds, [3, 20, 30]);
        assert_eq!((groups.len(), groups.runs()), (2, 4));
    }

    #[test]
    fn merged_groups_are_those_of_one_campaign_in_any_order() {
        let of = |seeds: &[u64]| {
            let mut groups = Groups::new();
            for &seed in seeds {
                groups.add(seed % 3, failure(seed));
            }
            groups
        };
        let all: Vec<u64> = (0..100).collect();
        let (even, odd): (Vec<u64>, Vec<u64>) = all.iter().partition(|&seed| seed % 2 == 0);
        for (one, other) in [(&even, &odd), (&odd, &even)] {
            let mut merged = of(one);
            merged.merge(of(other));
            assert_eq!(merged, of(&all));
        }
        assert!(of(&all).iter().all(|group| group.seeds.len() == SEEDS_MOST));
    }

    #[test]
    fn groups_survive_json() {
        let mut groups = Groups::new();
        groups.add(u64::MAX, failure(1));
        let text = serde_json::to_string(&groups).unwrap();
        assert!(text.contains("\"ffffffffffffffff\""), "{text}");
        assert_eq!(serde_json::from_str::<Groups>(&text).unwrap(), groups);
    }
}
