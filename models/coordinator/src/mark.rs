//! Situations a good campaign must reach (invariants-and-faults.md §5.2), as far as one server can know them.

machine::marks! {
    /// What one server may meet.
    pub enum CoordinatorMark {
        /// A learner's own tail was cut: a proposal of an earlier leader did not survive (Y03).
        TailTruncated => "coordinator-tail-truncated",
        /// A learner was synchronised by DIFF (Y05).
        SyncedByDiff => "coordinator-synced-by-diff",
        /// A DIFF was read from the log files, not from memory (Y05).
        SyncedByDiskDiff => "coordinator-synced-by-disk-diff",
        /// A learner was synchronised by TRUNC (Y06).
        SyncedByTrunc => "coordinator-synced-by-trunc",
        /// A learner was synchronised by SNAP (Y07).
        SyncedBySnap => "coordinator-synced-by-snap",
        /// A server found an epoch file ahead of, or behind, its txns at start (Y09).
        EpochFileRepaired => "coordinator-epoch-file-repaired",
        /// A leader lost its quorum and stepped down with proposals outstanding (Y11).
        SteppedDownWithOutstanding => "coordinator-stepped-down-with-outstanding",
        /// A proposal was outstanding while a learner joined: live packets on both sides of NEWLEADER.
        JoinedUnderLoad => "coordinator-joined-under-load",
        /// A session came back on another server while its old connection was open (Y14).
        SessionMoved => "coordinator-session-moved",
        /// A client was refused because this server was behind what it had seen (Y15).
        ClientAheadOfServer => "coordinator-client-ahead-of-server",
        /// A re-registered watch fired at once: the change happened in between (Y17).
        WatchCaughtUp => "coordinator-watch-caught-up",
        /// A create of an ephemeral met the one of an older session (Y18).
        EphemeralOfOlderSession => "coordinator-ephemeral-of-older-session",
        /// A create arrived while its session was closing (Y19).
        CreateRacedWithClose => "coordinator-create-raced-with-close",
        /// A multi failed on a version check (Y20).
        MultiFailedOnCheck => "coordinator-multi-failed-on-check",
        /// A leader gave up with a closeSession proposed and not committed (Y21).
        CloseSessionOutstanding => "coordinator-close-session-outstanding",
        /// Many sessions expired in one bucket (Y23).
        MassExpiry => "coordinator-mass-expiry",
        /// The zxid counter reached its end (Y26).
        ZxidRollover => "coordinator-zxid-rollover",
        /// A leader found more acknowledgements out of order than in order: the strict commit order held one back.
        CommitHeldBack => "coordinator-commit-held-back",
        /// Old snapshots or logs were thrown away.
        Purged => "coordinator-purged",
        /// A server without a leader opened for read-only clients.
        ReadOnlyServer => "coordinator-read-only-server",
        /// A local session became global: its client makes an ephemeral.
        LocalSessionUpgraded => "coordinator-local-session-upgraded",
        /// Recovery met a torn tail of the log.
        TornTail => "coordinator-torn-tail",
        /// Recovery fell back to an older snapshot.
        SnapshotFallback => "coordinator-snapshot-fallback",
        /// A learner that does not vote was synchronised.
        ObserverSynchronised => "coordinator-observer-synchronised",
        /// An observer was turned away because enough learners were being synchronised.
        SyncThrottled => "coordinator-sync-throttled",
        /// A reconfiguration was committed.
        ReconfigCommitted => "coordinator-reconfig-committed",
        /// A leader handed over to another by a reconfiguration.
        LeaderHandedOver => "coordinator-leader-handed-over",
        /// A leader completed a reconfiguration that it found open when it began to lead.
        ReconfigCompleted => "coordinator-reconfig-completed",
        /// A server learned of a newer configuration while it looked for a leader.
        ConfigGossiped => "coordinator-config-gossiped",
        /// Other servers came into force, and leader election started over with them.
        ElectionRestarted => "coordinator-election-restarted",
    }
}
