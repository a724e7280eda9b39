//! The error codes of Kafka's responses.

use std::fmt;

/// How a client treats a code (`Errors` and the exceptions behind it).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Success.
    Success,
    /// The request failed for good.
    Final,
    /// Asking again may succeed.
    Retriable,
    /// Asking again may succeed, after the metadata was refreshed.
    InvalidMetadata,
}

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:literal $class:ident;)*) => {
        /// An error code, under the field's name (kafka-broker.md §9.3).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[expect(missing_docs, reason = "the names are Kafka's own")]
        pub enum ErrorCode {
            $($variant,)*
        }

        impl ErrorCode {
            /// Every code, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The number in messages.
            #[must_use]
            pub const fn code(self) -> i16 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The code of a number; none if Kafka has no such code, or none that is modelled.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name in Kafka's `Errors`, such as `NOT_LEADER_OR_FOLLOWER`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            const fn class(self) -> Class {
                match self {
                    $(Self::$variant => Class::$class,)*
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR" Final;
    0 None "NONE" Success;
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE" Final;
    2 CorruptMessage "CORRUPT_MESSAGE" Retriable;
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION" InvalidMetadata;
    4 InvalidFetchSize "INVALID_FETCH_SIZE" Final;
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE" InvalidMetadata;
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER" InvalidMetadata;
    7 RequestTimedOut "REQUEST_TIMED_OUT" Retriable;
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE" Final;
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE" InvalidMetadata;
    10 MessageTooLarge "MESSAGE_TOO_LARGE" Final;
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH" Final;
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE" Final;
    13 NetworkException "NETWORK_EXCEPTION" InvalidMetadata;
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS" Retriable;
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE" Retriable;
    16 NotCoordinator "NOT_COORDINATOR" Retriable;
    17 InvalidTopic "INVALID_TOPIC_EXCEPTION" Final;
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE" Final;
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS" Retriable;
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND" Retriable;
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS" Final;
    22 IllegalGeneration "ILLEGAL_GENERATION" Final;
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL" Final;
    24 InvalidGroupId "INVALID_GROUP_ID" Final;
    25 UnknownMemberId "UNKNOWN_MEMBER_ID" Final;
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT" Final;
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS" Final;
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE" Final;
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED" Final;
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED" Final;
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED" Final;
    32 InvalidTimestamp "INVALID_TIMESTAMP" Final;
    35 UnsupportedVersion "UNSUPPORTED_VERSION" Final;
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS" Final;
    37 InvalidPartitions "INVALID_PARTITIONS" Final;
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR" Final;
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT" Final;
    40 InvalidConfig "INVALID_CONFIG" Final;
    41 NotController "NOT_CONTROLLER" Retriable;
    42 InvalidRequest "INVALID_REQUEST" Final;
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT" Final;
    44 PolicyViolation "POLICY_VIOLATION" Final;
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER" Final;
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER" Final;
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH" Final;
    48 InvalidTxnState "INVALID_TXN_STATE" Final;
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING" Final;
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT" Final;
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS" Retriable;
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED" Final;
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" Final;
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED" Final;
    56 KafkaStorageError "KAFKA_STORAGE_ERROR" InvalidMetadata;
    57 LogDirNotFound "LOG_DIR_NOT_FOUND" Final;
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID" Final;
    60 ReassignmentInProgress "REASSIGNMENT_IN_PROGRESS" Final;
    68 NonEmptyGroup "NON_EMPTY_GROUP" Final;
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND" Final;
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND" Retriable;
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH" Retriable;
    72 ListenerNotFound "LISTENER_NOT_FOUND" InvalidMetadata;
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED" Final;
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH" InvalidMetadata;
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH" Retriable;
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE" Final;
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH" Final;
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE" Retriable;
    79 MemberIdRequired "MEMBER_ID_REQUIRED" Final;
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE" InvalidMetadata;
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED" Final;
    82 FencedInstanceId "FENCED_INSTANCE_ID" Final;
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE" InvalidMetadata;
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED" InvalidMetadata;
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS" Final;
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC" Final;
    87 InvalidRecord "INVALID_RECORD" Final;
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT" Retriable;
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED" Retriable;
    90 ProducerFenced "PRODUCER_FENCED" Final;
    95 InvalidUpdateVersion "INVALID_UPDATE_VERSION" Final;
    96 FeatureUpdateFailed "FEATURE_UPDATE_FAILED" Final;
    100 UnknownTopicId "UNKNOWN_TOPIC_ID" InvalidMetadata;
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID" InvalidMetadata;
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND" Final;
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR" Retriable;
    107 IneligibleReplica "INELIGIBLE_REPLICA" Final;
    108 NewLeaderElected "NEW_LEADER_ELECTED" Final;
    120 TransactionAbortable "TRANSACTION_ABORTABLE" Final;
}

impl ErrorCode {
    /// Whether this is no error.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.class() == Class::Success
    }

    /// Whether asking again may succeed.
    #[must_use]
    pub fn is_retriable(self) -> bool {
        match self.class() {
            Class::Retriable | Class::InvalidMetadata => true,
            Class::Success | Class::Final => false,
        }
    }

    /// Whether a client must refresh its metadata before it asks again.
    #[must_use]
    pub fn is_invalid_metadata(self) -> bool {
        self.class() == Class::InvalidMetadata
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::error::{ParseResponseErrorCode as _, ResponseError};

    use super::ErrorCode;

    #[test]
    fn codes_and_variants_are_one_to_one() {
        for pair in ErrorCode::ALL.windows(2) {
            assert!(pair[0].code() < pair[1].code(), "{} before {}", pair[0], pair[1]);
        }
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(code.code()), Some(code));
        }
        assert_eq!(ErrorCode::from_code(33), None);
    }

    #[test]
    fn an_invalid_metadata_error_is_retriable_too() {
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(ErrorCode::NotLeaderOrFollower.is_invalid_metadata());
        assert!(ErrorCode::NotEnoughReplicas.is_retriable());
        assert!(!ErrorCode::NotEnoughReplicas.is_invalid_metadata());
        assert!(!ErrorCode::StaleBrokerEpoch.is_retriable());
        assert!(!ErrorCode::None.is_retriable());
        assert!(ErrorCode::None.is_none());
    }

    #[test]
    fn names_and_retriability_are_those_of_the_generated_table() {
        for &code in ErrorCode::ALL {
            // The table knows NONE as success and ends before the newest codes.
            if let Some(theirs) = code.code().err().filter(|theirs| !matches!(theirs, ResponseError::Unknown(_))) {
                assert_eq!(format!("{theirs:?}").to_uppercase(), code.name().replace('_', ""));
                // `ConcurrentTransactionsException` became retriable later than the table was made.
                let retriable = theirs.is_retriable() || code == ErrorCode::ConcurrentTransactions;
                assert_eq!(code.is_retriable(), retriable, "{code}");
            }
        }
    }
}
