//! Historical bugs that can be switched back on, under their public ids (zookeeper.md §13).

use serde::{Deserialize, Serialize};

/// A historical bug: on means the old code path, not an injected failure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Defect {
    /// A learner persists the new `currentEpoch` before the txns it was sent by DIFF are in its log: after a crash between
    /// the two it wins elections with a history it does not have (§13 ZB-24; until 3.9.1).
    #[serde(rename = "ZOOKEEPER-4643")]
    EpochBeforeTxns,
    /// `create(EPHEMERAL)` is accepted between the preparation of a `closeSession` and its commit: the node outlives its
    /// session (§13 ZB-41; until 3.3.3).
    #[serde(rename = "ZOOKEEPER-1208")]
    NoClosingFlag,
}

impl Defect {
    /// Every defect this package can re-introduce.
    pub const ALL: &'static [Self] = &[Self::EpochBeforeTxns, Self::NoClosingFlag];

    /// The public id, as reports and scenario files write it.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::EpochBeforeTxns => "ZOOKEEPER-4643",
            Self::NoClosingFlag => "ZOOKEEPER-1208",
        }
    }

    /// What the old behaviour was, in a sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::EpochBeforeTxns => {
                "A learner persists the new currentEpoch before the txns it was sent by DIFF are in its log: after a crash \
                 between the two it wins elections with a history it does not have (until 3.9.1)."
            }
            Self::NoClosingFlag => {
                "A create of an ephemeral is accepted between the preparation of its session's closeSession and its \
                 commit: the node outlives its session (until 3.3.3)."
            }
        }
    }

    /// The defect with a public id.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|defect| defect.id() == id)
    }
}

/// The defects that are switched on; none by default.
pub type Defects = machine::Defects<Defect>;

#[cfg(test)]
mod tests {
    use super::Defect;

    #[test]
    fn every_defect_is_found_by_its_public_id() {
        for &defect in Defect::ALL {
            assert_eq!(Defect::from_id(defect.id()), Some(defect));
        }
        assert_eq!(Defect::from_id("ZOOKEEPER-1"), None);
    }
}
