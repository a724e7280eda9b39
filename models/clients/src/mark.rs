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
        /// A leader found out by a refused write that there is a later epoch.
        LeaderDeposed => "client-leader-deposed",
        /// A leader gave up its leadership because its connection was gone.
        LeaderSuspended => "client-leader-suspended",
        /// The delete of an element ended unknown: it may be taken, or not.
        ElementUncertain => "client-element-uncertain",
        /// Somebody else took the element first.
        ElementTaken => "client-element-taken-by-another",
        /// A barrier was found lifted in another session than that which had seen it.
        BarrierAcrossSessions => "client-barrier-passed-in-another-session",
        /// Who waited at a double barrier lost its session and entered again.
        EnteredAgain => "client-double-barrier-entered-again",
        /// A session expired inside a double barrier.
        ExpiredInside => "client-double-barrier-expired-inside",
        /// A multi was refused as a whole.
        MultiRefused => "client-multi-refused",
    }
}
