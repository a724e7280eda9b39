//! Situations a good campaign brings workloads into.

machine::marks! {
    /// What a workload may meet.
    pub enum WorkloadMark {
        /// A conditional write met a version that was not the one it had read.
        BadVersion => "client-bad-version",
        /// An operation ended unknown.
        OutcomeUnknown => "client-outcome-unknown",
        /// A process began a new session after one had expired.
        SessionAgain => "client-new-session-after-expiry",
        /// An ephemeral of an earlier session was in the way.
        EphemeralOfBefore => "client-ephemeral-of-earlier-session",
        /// The lock's znode was found again after its create had ended unknown.
        LockNodeFound => "client-lock-node-found-after-loss",
        /// A lock's create that had ended unknown had no effect, or not yet.
        LockNodeMissing => "client-lock-node-missing-after-loss",
        /// An own znode beside the first was found under the lock and deleted.
        LockNodeDouble => "client-lock-node-double",
        /// The session that held the lock expired.
        LockExpired => "client-lock-expired-while-held",
        /// The resource refused a token smaller than one it had seen.
        TokenRefused => "client-fencing-token-refused",
        /// A multi was refused as a whole.
        MultiRefused => "client-multi-refused",
    }
}
