//! Bugs that can be switched on: historical ones under their public ids (zookeeper.md §13), and mutants, which are wrong on
//! purpose to put the judges to the test (invariants-and-faults.md §5.4).
//!
//! On means the old, or wrong, code path: nothing is injected, and nothing fails that would not fail in that code.

machine::defects! {
    /// A bug that can be switched on.
    pub enum Defect {
        /// A learner persists the new `currentEpoch` before the txns it was sent by DIFF are in its log: after a crash between
        /// the two it wins elections with a history it does not have (§13 ZB-24; until 3.9.1).
        EpochBeforeTxns = "ZOOKEEPER-4643",
            "A learner persists the new currentEpoch before the txns it was sent by DIFF are in its log: after a crash between the two it wins elections with a history it does not have (until 3.9.1).";
        /// `create(EPHEMERAL)` is accepted between the preparation of a `closeSession` and its commit: the node outlives its
        /// session (§13 ZB-41; until 3.3.3).
        NoClosingFlag = "ZOOKEEPER-1208",
            "A create of an ephemeral is accepted between the preparation of its session's closeSession and its commit: the node outlives its session (until 3.3.3).";
        /// Nobody records that an epoch was promised or begun: a leader takes the epoch after that of its own last txn, and leader
        /// election compares zxids only (§13 ZB-01; ZOOKEEPER-335, 1081, 1082; until 3.3, fixed in 3.4.0).
        NoEpochFiles = "ZOOKEEPER-335",
            "Epochs are not recorded: a leader takes the one after its last txn's, whatever was promised or begun meanwhile, so that one epoch can have two leaders (until 3.3).";
        /// `lastProcessedZxid` becomes the zxid of the DIFF packet before any of its txns has come: a learner that is cut off
        /// between the two believes, and says, that it has them (§13 ZB-13; until 3.4.10, fixed in 3.4.11, 3.5.4, 3.6.0).
        DiffSetsLastProcessed = "ZOOKEEPER-2355",
            "A learner takes the zxid of a DIFF for what it has before the txns of it have come: cut off in between, it is never sent them again (until 3.4.10).";
        /// NEWLEADER is acknowledged before the txns of a DIFF are in the log at all: they go there behind UPTODATE (§13 ZB-23,
        /// the variant from ZOOKEEPER-2678 on; 3911, 3023, 4646; 3.4.10 to 3.5.9 and 3.6.2).
        AckNewLeaderBeforeTxns = "ZOOKEEPER-3911",
            "A learner acknowledges NEWLEADER before the txns it was sent by DIFF are in its log: its leader counts a copy that a loss of power takes (3.4.10 to 3.5.9 and 3.6.2).";
        /// A learner whose last txn lies within the leader's committed log, but is not in it, gets a plain DIFF: what it has alone
        /// stays (§13 ZB-03; until 3.3.3, fixed in 3.3.4, 3.4.0).
        DiffWithoutTrunc = "ZOOKEEPER-1154",
            "A learner with a txn that its leader does not know is sent a plain DIFF, and keeps that txn for ever (until 3.3.3).";
        /// The tree that stays in memory between two roles is not brought up to the log: a tail that was logged and not committed is
        /// in the next election's vote neither, and comes back with the next restart (§13 ZB-14; fixed in 3.4.12, 3.5.4).
        NoFastForward = "ZOOKEEPER-2845",
            "Between two roles the tree is not brought up to the log: what was logged alone is forgotten, never cut, and comes back with the next restart (until 3.4.11).";
        /// TRUNC cuts one txn too many: the position was taken before the last txn to keep (§13 ZB-04; the releases of 1154).
        TruncOneExtra = "ZOOKEEPER-1156",
            "A learner that is told to cut its log cuts one txn more than it was told (until 3.3.3).";
        /// The snapshot taken behind SNAP is not synced before NEWLEADER is acknowledged (§13 ZB-15; fixed in 3.5.10, 3.6.0).
        SnapshotNotSynced = "ZOOKEEPER-2872",
            "A learner acknowledges NEWLEADER while the snapshot it was sent is in its page cache only (until 3.5.9).";
        /// Txns applied during synchronisation are not added to the committed log: a later leader sends DIFFs with a hole, and no
        /// learner looks for one (§13 ZB-28; 3.9.3 only).
        SyncSkipsCommittedLog = "ZOOKEEPER-4925",
            "Txns that a learner applies while it synchronises are missing from its committed log: when it leads, its DIFFs have a hole (3.9.3).";

        /// The log hands its group on when it is written, before it is synced.
        AckBeforeSync = "M01", "A server acknowledges proposals that are written to its log and not synced.";
        /// `currentEpoch` first, then snapshot and txns.
        EpochFileFirst = "M02", "A learner writes currentEpoch before the snapshot and the txns it was sent.";
        /// Half is enough.
        HalfIsAQuorum = "M03", "A leader commits with the acknowledgements of half of the voters, rounded down.";
        /// TRUNC is never sent to a learner that is ahead.
        NoTruncation = "M04", "A new leader does not cut the tail of a learner that is ahead of it.";
        /// The last but one txn of a DIFF is left out, and the learner does not look.
        HoleInDiff = "M05", "A DIFF lacks one of its txns.";
        /// Sessions live by the calendar.
        ExpiryByCalendar = "M06", "The leader measures the silence of sessions by the calendar instead of its monotonic clock.";
        /// One ephemeral is neither listed nor looked for.
        CloseLeavesEphemeral = "M07", "The end of a session leaves one of its ephemerals.";
        /// ConnectRequest's `lastZxidSeen` is not looked at.
        AcceptsClientsAhead = "M08", "A server takes clients that have seen a later zxid than it has.";
        /// setWatches only watches.
        NoCatchUp = "M09", "A server sets watches anew without looking what was missed.";
        /// A watch fires behind the next reply.
        LateWatches = "M10", "A server answers once more before it tells watches what changed.";
        /// A failed multi keeps what succeeded before.
        TornMulti = "M11", "The operations of a multi before one that fails are applied.";
        /// A setData that names the version before the present one passes.
        ForgivesRetries = "M12", "A setData that names the version before the present one is taken for a retry, and applied.";
        /// `acceptedEpoch` stays in memory.
        PromiseNotPersisted = "M13", "acceptedEpoch is not written: a server forgets a promise when it restarts.";
        /// The session with the highest id is left out.
        SnapshotLacksSession = "M14", "A snapshot's session table lacks a session that its name and its tree know of.";
    }
}

impl Defect {
    /// Whether one is on whose damage is a hole in what a server has: then the server's own assertions must not be the first to
    /// notice, because the code that had the bug had none.
    pub(crate) fn leave_gaps(defects: &Defects) -> bool {
        const THEY: [Defect; 6] = [
            Defect::DiffSetsLastProcessed,
            Defect::DiffWithoutTrunc,
            Defect::NoFastForward,
            Defect::SyncSkipsCommittedLog,
            Defect::NoTruncation,
            Defect::HoleInDiff,
        ];
        THEY.iter().any(|&defect| defects.has(defect))
    }

    /// Whether a learner that is sent txns by DIFF looks for holes in them: only since the fix of ZOOKEEPER-4925.
    pub(crate) fn learner_refuses_gaps(defects: &Defects) -> bool {
        !Self::leave_gaps(defects)
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
