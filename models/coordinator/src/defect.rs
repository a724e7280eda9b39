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

        /// `currentEpoch` is written at UPTODATE, behind the ACK of NEWLEADER (§13 ZB-05; ZOOKEEPER-1264, 1282, 1291; fixed in 3.4.0).
        EpochAfterUpToDate = "ZOOKEEPER-1264",
            "A learner writes currentEpoch at UPTODATE, after it has acknowledged NEWLEADER: a quorum that dies in between does not know of the epoch (before 3.4.0).";
        /// Txns applied during synchronisation do not reach the table of sessions (§13 ZB-07; until 3.4.2, fixed in 3.3.5, 3.4.3).
        SyncSkipsSessions = "ZOOKEEPER-1367",
            "Sessions that begin or end in the txns of a synchronisation do so in the tree only: when that learner leads, it kills the living (until 3.4.2).";
        /// The log stream that is open stays open over TRUNC, at its old position (§13 ZB-08; until 3.4.3, fixed in 3.3.6, 3.4.4).
        TruncKeepsStream = "ZOOKEEPER-1489",
            "A log that was cut is written on where it ended before the cut: what comes there is behind a hole, and a restart does not find it (until 3.4.3).";
        /// Replay over a fuzzy snapshot takes a missing znode for an error (§13 ZB-10; until 3.4.5, fixed in 3.4.6, 3.5.0).
        ReplayNoNodeFatal = "ZOOKEEPER-1573",
            "A server does not start if its log changes a znode that its snapshot lacks, because it was deleted while the snapshot was written (until 3.4.5).";
        /// `currentEpoch.tmp` is not looked at (§13 ZB-11; ZOOKEEPER-1653, 4269; until 3.4.5, again until 3.5.9, 3.6.2, 3.7.0).
        NoEpochTmpRecovery = "ZOOKEEPER-1653",
            "A follower that dies between logging the txns of a new epoch and renaming currentEpoch never starts again (until 3.4.5; in part until 3.7.0).";
        /// NEWLEADER is queued before the tree is sent, and SNAP says what the leader had when it decided (§13 ZB-16; until 3.5.4, fixed in 3.5.5, 3.6.0).
        NewLeaderBeforeSnap = "ZOOKEEPER-3104",
            "NEWLEADER is queued before the tree is sent: what is committed while that takes is in the tree, and comes once more behind it (until 3.5.4).";
        /// closeSession does not list what it deletes, and a delete of what is not there leaves the parent alone (§13 ZB-19; until 3.5, fixed in 3.6.0).
        CloseTxnWithoutPaths = "ZOOKEEPER-3145",
            "closeSession does not say what it deletes: replayed over a fuzzy snapshot it leaves another parent than it left at first (before 3.6.0).";
        /// A tree received by SNAP stays in memory when its leader dies before NEWLEADER (§13 ZB-22; until 3.5.9, 3.6.2).
        KeepDbAfterPartialSnap = "ZOOKEEPER-3642",
            "A learner keeps in memory the tree that a leader sent it which died before NEWLEADER: the next DIFF goes on top of what its disk never had (until 3.5.9 and 3.6.2).";
        /// What is proposed and not committed when NEWLEADER comes is forgotten (§13 ZB-25; 3.6.3 to 3.9.2).
        ClearPendingAtNewLeader = "ZOOKEEPER-4394",
            "A learner forgets at NEWLEADER what was proposed and is not committed yet: the COMMIT that follows finds nothing (3.6.3 to 3.9.2).";
        /// A leader whose log cannot be written goes on in office (§13 ZB-29; until 3.4.8, fixed in 3.4.9, 3.5.3, 3.6.0).
        SyncErrorNoStepDown = "ZOOKEEPER-2247",
            "A leader whose log cannot be written stays in office and answers pings, though it logs nothing any more (until 3.4.8).";
        /// The counter of zxids overflows into the epoch (§13 ZB-30; until 3.3.4, 3.4.3).
        NoRolloverCheck = "ZOOKEEPER-1277",
            "A leader goes on when its counter of zxids is at its end, into an epoch that is not its own (until 3.3.4 and 3.4.3).";
        /// An empty newest log file is an error (§13 ZB-31; until 3.9.2, fixed in 3.9.3).
        EmptyTailLogFatal = "ZOOKEEPER-2332",
            "A server whose newest log file is empty, because it lost power right behind its creation, does not start (until 3.9.2).";
        /// TRUNC cuts the log only, and takes the newest snapshot whatever it contains (§13 ZB-34; open in 3.9.5).
        TruncUsesNewestSnapshot = "ZOOKEEPER-4837",
            "A learner that is told to cut its log loads its newest snapshot afterwards, which may have what was cut (open; here fixed unless switched on).";
        /// DIFF from the log files goes over gaps that a SNAP left (§13 ZB-35; open in 3.9.5).
        TxnLogSyncIgnoresGaps = "ZOOKEEPER-2846",
            "A leader sends a DIFF from its log files over the gap that its own SNAP left in them (open; learners since 3.9.4 refuse it).";
        /// What was applied stays in memory when its log write failed (§13 ZB-36; open in 3.9.5).
        KeepMemoryAfterLogError = "ZOOKEEPER-4882",
            "A follower whose log failed keeps what it had applied: it logs on behind a hole, and a restart loses what comes after it (open; here fixed unless switched on).";
        /// A learner without history gets a DIFF from wherever the committed log begins (§13 ZB-38; open in 3.9.5).
        DiffFromZero = "ZOOKEEPER-4352",
            "A learner without any txn is sent a DIFF, though the leader's committed log does not go back to the first (open; here fixed unless switched on).";
        /// A replayed create counts in its parent's cversion once more (§13 ZB-42; until 3.3.3, fixed in 3.3.4, 3.4.0).
        CversionComputedInApply = "ZOOKEEPER-1046",
            "Servers count children's changes as they apply them, not as the leader said: after a replay over a fuzzy snapshot sequential numbers differ (until 3.3.3).";
        /// The commit processor looks at commits before it looks at requests (§13 ZB-43; 3.5.0-alpha).
        CommitBeforeRequest = "ZOOKEEPER-1863",
            "A commit that comes before the commit processor has looked at its request is applied without it, and the client waits for ever (3.5.0-alpha).";
        /// Replies to reads have the zxid of their request, which has none (§13 ZB-48; until 3.4.3, fixed in 3.3.5, 3.4.4).
        ReplyRequestZxid = "ZOOKEEPER-1412",
            "The reply to a read does not say how far its server was: a client that reconnects is told of changes that it has seen (until 3.4.3).";
        /// setWatches tells wrong events (§13 ZB-49; until 3.4.5, fixed in 3.4.6, 3.5.0).
        SetWatchesOldRules = "ZOOKEEPER-1667",
            "A client that sets its watches anew is told NodeCreated for data watches and NodeDataChanged for exist watches (until 3.4.5).";
        /// A read that outlives its connection leaves its watch (§13 ZB-50; until 3.4.5, fixed in 3.4.6, 3.5.0).
        WatchOnDeadConnection = "ZOOKEEPER-1382",
            "A read that is answered after its connection was closed leaves a watch that nothing ever removes (until 3.4.5).";
        /// A commit may come between the decision what to send a learner and the forwarding to it (§13 ZB-02; until 3.3.2, fixed in 3.3.3, 3.4.0).
        SyncWithoutLogLock = "ZOOKEEPER-962",
            "A txn that is committed between the making of a DIFF and the beginning of the forwarding reaches its learner by neither (until 3.3.2).";

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
        const THEY: [Defect; 10] = [
            Defect::DiffSetsLastProcessed,
            Defect::DiffWithoutTrunc,
            Defect::NoFastForward,
            Defect::SyncSkipsCommittedLog,
            Defect::NoTruncation,
            Defect::HoleInDiff,
            Defect::TxnLogSyncIgnoresGaps,
            Defect::DiffFromZero,
            Defect::ClearPendingAtNewLeader,
            Defect::SyncWithoutLogLock,
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
