//! Situations a good campaign must reach (invariants-and-faults.md §5.2), as far as one broker can know them.

machine::marks! {
    /// What one broker may meet.
    pub enum BrokerMark {
        /// A controller was deposed in the middle of an event: a fenced write of it was refused.
        ControllerDeposedMidEvent => "broker-controller-deposed-mid-event",
        /// A control request of a deposed controller was refused by its epoch.
        StaleControllerRefused => "broker-stale-controller-refused",
        /// A control request to an earlier incarnation was refused by its broker epoch.
        StaleBrokerEpochRefused => "broker-stale-broker-epoch-refused",
        /// A control request named a broker epoch that the broker does not hold yet (KAFKA-9839).
        NewerBrokerEpochAccepted => "broker-newer-broker-epoch-accepted",
        /// A follower cut off a tail that its leader does not have.
        DivergentTailTruncated => "broker-divergent-tail-truncated",
        /// A truncation took more than one question: the leader did not know the follower's epoch (KIP-279).
        TruncationAskedAgain => "broker-truncation-asked-again",
        /// The ISR shrank to the leader alone.
        IsrShrankToLeader => "broker-isr-shrank-to-leader",
        /// A write of the ISR was applied but its answer was lost: found out by comparing.
        IsrWriteFoundApplied => "broker-isr-write-found-applied",
        /// A produce of acks=all was refused before the append: too few in sync.
        NotEnoughReplicas => "broker-not-enough-replicas",
        /// A produce of acks=all was appended, and then too few were in sync.
        NotEnoughReplicasAfterAppend => "broker-not-enough-replicas-after-append",
        /// A produce was parked when its broker lost the leadership.
        ParkedProduceLostLeader => "broker-parked-produce-lost-leader",
        /// A leader was elected that was not in the ISR.
        UncleanElection => "broker-unclean-election",
        /// A broker was found bounced: same id, later czxid, between two reads.
        BrokerBounced => "broker-bounced",
    }
}
