//! What an error says about an attempt: was the batch surely not appended? (invariants-and-faults.md §3.1)

use kafkawire::ErrorCode;

use crate::kafka::Acks;

/// Whether an attempt that was answered with this error surely appended nothing.
///
/// The broker checks leadership before it appends, so with acks=1 `NOT_LEADER_OR_FOLLOWER` proves that nothing happened. With
/// acks=all the same code also completes requests that wait in the purgatory *behind* the append when the broker loses the
/// partition, and so does `UNKNOWN_TOPIC_OR_PARTITION` if the partition is gone from its cache as well: they prove nothing.
pub(crate) fn had_no_effect(error: ErrorCode, acks: Acks) -> bool {
    let is_checked_before_append = matches!(
        error,
        ErrorCode::NotEnoughReplicas
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::InvalidRecord
            | ErrorCode::InvalidTimestamp
            | ErrorCode::InvalidTopic
            | ErrorCode::InvalidRequiredAcks
            | ErrorCode::InvalidRequest
            | ErrorCode::UnsupportedVersion
            | ErrorCode::UnsupportedForMessageFormat
            | ErrorCode::UnsupportedCompressionType
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
    );
    let is_about_the_leader = matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::UnknownTopicOrPartition);
    // Everything else was appended (NOT_ENOUGH_REPLICAS_AFTER_APPEND), or nobody knows how far it came (REQUEST_TIMED_OUT,
    // KAFKA_STORAGE_ERROR, UNKNOWN_SERVER_ERROR), or is no answer to a produce request at all.
    is_checked_before_append || (is_about_the_leader && acks != Acks::All)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_as_the_table_says() {
        for (error, one, all) in [
            (ErrorCode::NotEnoughReplicas, true, true),
            (ErrorCode::MessageTooLarge, true, true),
            (ErrorCode::CorruptMessage, true, true),
            (ErrorCode::NotLeaderOrFollower, true, false),
            (ErrorCode::UnknownTopicOrPartition, true, false),
            (ErrorCode::NotEnoughReplicasAfterAppend, false, false),
            (ErrorCode::RequestTimedOut, false, false),
            (ErrorCode::NetworkException, false, false),
            (ErrorCode::KafkaStorageError, false, false),
            (ErrorCode::UnknownServerError, false, false),
        ] {
            assert_eq!(had_no_effect(error, Acks::One), one, "{error} with acks=1");
            assert_eq!(had_no_effect(error, Acks::All), all, "{error} with acks=all");
        }
    }
}
