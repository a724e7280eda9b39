//! Which historical bugs a machine is booted with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The defects that are switched on, of those that a package can re-introduce; none by default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "D: Ord + Serialize + serde::de::DeserializeOwned")]
pub struct Defects<D>(BTreeSet<D>);

impl<D> Default for Defects<D> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<D: Copy + Ord> Defects<D> {
    /// Whether this defect is on.
    #[must_use]
    pub fn has(&self, defect: D) -> bool {
        self.0.contains(&defect)
    }

    /// Switches a defect on.
    pub fn insert(&mut self, defect: D) {
        self.0.insert(defect);
    }

    /// Those that are on, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = D> + '_ {
        self.0.iter().copied()
    }
}

impl<D: Ord> FromIterator<D> for Defects<D> {
    fn from_iter<I: IntoIterator<Item = D>>(defects: I) -> Self {
        Self(defects.into_iter().collect())
    }
}
