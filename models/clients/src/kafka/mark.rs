//! Situations a good campaign brings clients of Kafka into.

machine::marks! {
    /// What a client of Kafka may meet.
    pub enum KafkaClientMark {
        /// Metadata named an older leader epoch than was known, and was not believed.
        StaleMetadata => "kafka-client-stale-metadata-ignored",
        /// A request was sent to a broker that no longer leads the partition.
        NotLeader => "kafka-client-not-leader",
        /// A batch was sent again.
        Retried => "producer-batch-retried",
        /// A batch that failed was sent again behind a later one of its partition.
        Reordered => "producer-retry-behind-later-batch",
        /// A record was given up without anybody knowing whether it is there.
        OutcomeUnknown => "producer-outcome-unknown",
        /// A record was given up before it was ever sent.
        ExpiredUnsent => "producer-record-expired-unsent",
        /// A batch was too large for the broker and was split.
        BatchSplit => "producer-batch-split",
        /// The application waited for metadata or for memory.
        SendBlocked => "producer-send-blocked",
        /// A broker forgot a fetch session.
        FetchSessionLost => "consumer-fetch-session-lost",
        /// A position was out of range.
        OffsetOutOfRange => "consumer-offset-out-of-range",
        /// A new leader's log ends before a position: what was read is gone (KIP-320).
        TruncationNoticed => "consumer-truncation-noticed",
        /// A batch did not have the CRC of its header.
        CorruptBatch => "consumer-corrupt-batch",
        /// A commit ended unknown.
        CommitUnknown => "consumer-commit-unknown",
        /// An old registration of the same consumer was in the way.
        RegistrationConflict => "zookeeper-consumer-registration-conflict",
        /// A claim met another's.
        ClaimRefused => "zookeeper-consumer-claim-refused",
        /// A consumer gave up rebalancing.
        RebalanceFailed => "zookeeper-consumer-rebalance-failed",
        /// Something changed while a consumer was rebalancing.
        RebalanceAgain => "zookeeper-consumer-rebalance-triggered-again",
        /// A consumer rebalanced in a session behind one that had expired.
        SessionAgain => "zookeeper-consumer-new-session",
        /// A topic was there already.
        TopicExists => "admin-topic-exists",
    }
}
