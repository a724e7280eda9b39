//! Bugs that can be switched on: historical ones under their public ids (kafka-broker.md §12), and mutants, which are wrong on
//! purpose to put the judges to the test (invariants-and-faults.md §5.4).
//!
//! On means the old, or wrong, code path: nothing is injected, and nothing fails that would not fail in that code.

use commitlog::LogMutant;

machine::defects! {
    /// A bug that can be switched on.
    pub enum Defect {
        /// A follower truncates to its own high watermark and fetches from there, without asking for the leader's epochs
        /// (§12 KA-B01; KIP-101; until 0.11).
        TruncateToHighWatermark = "KAFKA-1211" as "M22",
            "A broker that becomes a follower cuts its log to its own high watermark, which lags one fetch behind what was acknowledged, and fetches from there (KIP-101; until 0.11).";
        /// The broker epoch is ignored by brokers and controller: a bounce that falls between two reads is invisible, and requests
        /// to an earlier life are obeyed (§12 KA-B21; KIP-380; until 2.2).
        NoBrokerEpoch = "KAFKA-7235" as "M17",
            "Nobody looks at broker epochs: a broker that restarts between two reads of /brokers/ids is not missed, and control requests to its earlier life are obeyed (KIP-380; until 2.2).";
        /// The controller's writes to ZooKeeper are not conditional on its epoch (§12 KA-B20; until 2.1).
        NoControllerFence = "KAFKA-6082" as "M15",
            "A controller's writes to ZooKeeper do not check /controller_epoch: one that was deposed and has not heard of it yet still writes (until 2.1).";
        /// A broker that meets the ephemeral of its own earlier session on re-registration gives up (§12 KA-B25; until 2.2).
        NoOwnEphemeralCleanup = "KAFKA-7165",
            "A broker whose session expired, and who finds its own old registration still there, gives up and stays unregistered (until 2.2).";
        /// A follower joins the ISR when it reaches the leader's high watermark, though that of a new leader is still behind where
        /// its epoch began (§12 KA-B04; until 2.0.0, fixed in 2.0.1, 2.1.0).
        IsrJoinAtHighWatermark = "KAFKA-7128" as "M24",
            "A follower joins the ISR when it reaches the leader's high watermark, even where a new leader's is behind what was committed before it (until 2.0.0).";
        /// A write of the ISR whose answer was lost is not recognised as one's own: the version in memory stays behind, and no
        /// later write succeeds until the leader epoch changes (§12 KA-B29; KAFKA-2729 is the loop that follows; until 0.8.1).
        NoWriteResultCheck = "KAFKA-1382",
            "A leader whose write of the ISR took effect, but whose answer was lost, never recognises it: every later write of the ISR fails on the version (until 0.8.1).";
        /// OffsetsForLeaderEpoch answers an offset and no epoch, and for an epoch the leader does not have the start of its next one
        /// (§12 KA-B02; KIP-279; 0.11 to 1.1).
        EpochReplyWithoutEpoch = "KAFKA-6361",
            "A leader that is asked where an epoch ends that it never had answers where its next one begins, and does not say so: the follower keeps records of its own (KIP-279; 0.11 to 1.1).";
        /// A control request that names a later broker epoch than the broker knows of is an error (§12 KA-B22; 2.2 to 2.5.0).
        RejectsNewerBrokerEpoch = "KAFKA-9839",
            "A broker refuses what the controller sends before the answer to its own registration has come, and is not told again (2.2 to 2.5.0).";

        /// Only the broker epoch is looked at.
        IgnoresControllerEpoch = "M16", "A broker applies control requests whatever their controller epoch.";
        /// All assigned replicas pass for the ISR.
        ElectsFirstLive = "M18", "The controller elects the first live replica, in the ISR or not.";
        /// An ISR of one is written without a version.
        ShrinksWithoutCas = "M19", "A leader shrinks its ISR to itself, whatever the version of the znode.";
        /// A shrunk ISR counts before ZooKeeper has it.
        CountsShrunkIsr = "M20", "A leader raises its high watermark by an ISR that it has not written yet.";
        /// The leader epoch of a follower's fetch is not compared.
        TakesOlderFetches = "M21", "A leader counts the fetches of followers that are in an older leader epoch.";
        /// The answer to OffsetsForLeaderEpoch is one too high.
        EpochEndOffByOne = "M23", "A leader tells followers that an epoch ends one offset later than it does.";
        /// `acks=all` waits for nobody.
        AcksAtAppend = "M25", "A leader answers acks=all as soon as it has appended.";
        /// A consumer reads what a follower may.
        ServesToLogEnd = "M26", "A leader gives consumers everything it has.";
        /// Every start is a clean one.
        TrustsTheDisk = "M27", "A broker trusts its logs after a crash as after a clean shutdown.";
        /// Neither appends nor recovery look at a batch's CRC.
        SkipsCrc = "M28", "A broker does not check the CRC of batches, neither when it appends nor when it recovers.";
    }
}

/// What is switched on of what the logs may do wrong.
#[must_use]
pub fn log_mutant(defects: &Defects) -> LogMutant {
    LogMutant { trusts_the_disk: defects.has(Defect::TrustsTheDisk), skips_crc: defects.has(Defect::SkipsCrc) }
}

/// The defects that are switched on; none by default.
pub type Defects = machine::Defects<Defect>;

#[cfg(test)]
mod tests {
    use super::Defect;

    #[test]
    fn every_defect_is_found_by_its_public_id_and_by_its_alias() {
        for &defect in Defect::ALL {
            assert_eq!(Defect::from_id(defect.id()), Some(defect));
        }
        assert_eq!(Defect::from_id("M15"), Some(Defect::NoControllerFence));
        assert_eq!(Defect::from_id("KAFKA-1"), None);
    }
}
