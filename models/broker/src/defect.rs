//! Historical bugs that can be switched back on, under their public ids (kafka-broker.md §12).

use serde::{Deserialize, Serialize};

/// A historical bug: on means the old code path, not an injected failure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Defect {
    /// A follower truncates to its own high watermark and fetches from there, without asking for the leader's epochs
    /// (§12 KA-B01; KIP-101; until 0.11).
    #[serde(rename = "KAFKA-1211")]
    TruncateToHighWatermark,
    /// The broker epoch is ignored by brokers and controller: a bounce that falls between two reads is invisible, and requests
    /// to an earlier life are obeyed (§12 KA-B21; KIP-380; until 2.2).
    #[serde(rename = "KAFKA-7235")]
    NoBrokerEpoch,
    /// The controller's writes to ZooKeeper are not conditional on its epoch (§12 KA-B20; until 2.1).
    #[serde(rename = "KAFKA-6082")]
    NoControllerFence,
    /// A broker that meets the ephemeral of its own earlier session on re-registration gives up (§12 KA-B25; until 2.2).
    #[serde(rename = "KAFKA-7165")]
    NoOwnEphemeralCleanup,
}

impl Defect {
    /// Every defect this package can re-introduce.
    pub const ALL: &'static [Self] =
        &[Self::TruncateToHighWatermark, Self::NoBrokerEpoch, Self::NoControllerFence, Self::NoOwnEphemeralCleanup];

    /// The public id, as reports and scenario files write it.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::TruncateToHighWatermark => "KAFKA-1211",
            Self::NoBrokerEpoch => "KAFKA-7235",
            Self::NoControllerFence => "KAFKA-6082",
            Self::NoOwnEphemeralCleanup => "KAFKA-7165",
        }
    }

    /// What the old behaviour was, in a sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::TruncateToHighWatermark => {
                "A broker that becomes a follower cuts its log to its own high watermark, which lags one fetch behind what was \
                 acknowledged, and fetches from there (KIP-101; until 0.11)."
            }
            Self::NoBrokerEpoch => {
                "Nobody looks at broker epochs: a broker that restarts between two reads of /brokers/ids is not missed, and \
                 control requests to its earlier life are obeyed (KIP-380; until 2.2)."
            }
            Self::NoControllerFence => {
                "A controller's writes to ZooKeeper do not check /controller_epoch: one that was deposed while it was paused \
                 still writes (until 2.1)."
            }
            Self::NoOwnEphemeralCleanup => {
                "A broker whose session expired, and who finds its own old registration still there, gives up and stays \
                 unregistered (until 2.2)."
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
        assert_eq!(Defect::from_id("KAFKA-1"), None);
    }
}
