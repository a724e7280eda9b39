//! Situations a good campaign brings a log into.

machine::marks! {
    /// What a log may meet.
    pub enum CommitLogMark {
        /// The log dir was closed cleanly.
        CleanStart => "log-clean-start",
        /// A log was scanned because its log dir was not closed cleanly.
        Recovered => "log-recovered",
        /// Recovery cut a log at a batch that was not whole.
        RecoveryTruncated => "log-recovery-truncated",
        /// Recovery deleted segments behind the point where it cut a log, or behind a gap.
        RecoveryDeletedSegments => "log-recovery-deleted-segments",
        /// What recovery left ended before the log's start: it begins anew there.
        EndBeforeStart => "log-end-before-log-start",
        /// A segment was rolled.
        Rolled => "log-segment-rolled",
        /// A truncation deleted whole segments.
        TruncatedSegments => "log-truncated-segments",
        /// A truncation at the log's end took an epoch without records (KAFKA-10706).
        EpochTrimmedAtLogEnd => "log-epoch-trimmed-at-log-end",
        /// A log was emptied and began elsewhere.
        TruncatedFully => "log-truncated-fully",
        /// A follower was handed a batch that does not begin at its log's end.
        UnexpectedAppend => "log-unexpected-append",
        /// A change of the epochs had to wait for the writing of the one before it.
        EpochsWaited => "log-epoch-checkpoint-waited",
    }
}
