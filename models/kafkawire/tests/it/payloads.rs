//! What is in Kafka's znodes, byte for byte (kafka-broker.md §2.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::znode::{
    BadPayload, BrokerRegistration, ClusterId, ConsumerRegistration, ControllerClaim, IsrChange, PartitionState,
    TopicAssignment, TopicConfig, decode_controller_epoch, decode_offset, encode_controller_epoch, encode_offset,
};
use kafkawire::{BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicPartition};

macro_rules! check {
    ($value:expr, $of:ty, $text:expr) => {
        let value: $of = $value;
        assert_eq!(str::from_utf8(&value.encode()).unwrap(), $text);
        assert_eq!(<$of>::decode($text.as_bytes()).unwrap(), value);
    };
}

const AT: i64 = 1_700_000_000_000;

#[test]
fn payloads_have_the_bytes_of_a_real_broker() {
    check!(
        ControllerClaim { broker: BrokerId(1), timestamp_ms: AT },
        ControllerClaim,
        r#"{"version":1,"brokerid":1,"timestamp":"1700000000000"}"#
    );
    check!(
        TopicAssignment {
            partitions: BTreeMap::from([
                (0, vec![BrokerId(1), BrokerId(2)]),
                (1, vec![BrokerId(2), BrokerId(3)]),
                (10, vec![BrokerId(3)])
            ])
        },
        TopicAssignment,
        r#"{"version":2,"partitions":{"0":[1,2],"1":[2,3],"10":[3]},"adding_replicas":{},"removing_replicas":{}}"#
    );
    check!(
        PartitionState {
            controller_epoch: ControllerEpoch(7),
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(4),
            isr: vec![BrokerId(1), BrokerId(2)]
        },
        PartitionState,
        r#"{"controller_epoch":7,"leader":1,"version":1,"leader_epoch":4,"isr":[1,2]}"#
    );
    check!(
        IsrChange { partitions: vec![TopicPartition::new("T", 0)] },
        IsrChange,
        r#"{"version":1,"partitions":[{"topic":"T","partition":0}]}"#
    );
    check!(
        TopicConfig { config: BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]) },
        TopicConfig,
        r#"{"version":1,"config":{"min.insync.replicas":"2"}}"#
    );
    check!(
        ClusterId { id: "b8tRS7h4TJ2Vt43Dp85v2A".to_owned() },
        ClusterId,
        r#"{"version":"1","id":"b8tRS7h4TJ2Vt43Dp85v2A"}"#
    );
    check!(
        ConsumerRegistration {
            subscription: BTreeMap::from([("T".to_owned(), 2)]),
            pattern: "static".to_owned(),
            timestamp_ms: AT
        },
        ConsumerRegistration,
        r#"{"version":1,"subscription":{"T":2},"pattern":"static","timestamp":"1700000000000"}"#
    );
}

#[test]
fn a_partition_without_leader_is_written_minus_one() {
    check!(
        PartitionState {
            controller_epoch: ControllerEpoch(7),
            leader: None,
            leader_epoch: LeaderEpoch(5),
            isr: vec![BrokerId(1)]
        },
        PartitionState,
        r#"{"controller_epoch":7,"leader":-1,"version":1,"leader_epoch":5,"isr":[1]}"#
    );
}

#[test]
fn registrations_have_features_since_version_five() {
    let four = BrokerRegistration::new("h1", 9092, None, AT);
    check!(
        four.clone(),
        BrokerRegistration,
        concat!(
            r#"{"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://h1:9092"],"#,
            r#""jmx_port":-1,"host":"h1","timestamp":"1700000000000","port":9092,"version":4}"#
        )
    );
    check!(
        BrokerRegistration { version: 5, rack: Some(Arc::from("r1")), ..four },
        BrokerRegistration,
        concat!(
            r#"{"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://h1:9092"],"#,
            r#""jmx_port":-1,"features":{},"host":"h1","timestamp":"1700000000000","port":9092,"version":5,"rack":"r1"}"#
        )
    );
}

#[test]
fn other_versions_and_orders_are_read() {
    let one = TopicAssignment { partitions: BTreeMap::from([(0, vec![BrokerId(1)])]) };
    for text in [
        r#"{"version":1,"partitions":{"0":[1]}}"#,
        r#"{"partitions":{"0":[1]},"version":1}"#,
        r#"{"version":3,"topic_id":"b8tRS7h4TJ2Vt43Dp85v2A","partitions":{"0":[1]},"adding_replicas":{"0":[4]},"removing_replicas":{}}"#,
    ] {
        assert_eq!(TopicAssignment::decode(text.as_bytes()), Ok(one.clone()), "{text}");
    }
    let old = br#"{"version":1,"host":"h1","port":9092,"jmx_port":-1,"timestamp":"5"}"#;
    assert_eq!(BrokerRegistration::decode(old).unwrap().port, 9092);
    let newer = br#"{"version":2,"brokerid":3,"timestamp":"5","kraftControllerEpoch":-1}"#;
    assert_eq!(ControllerClaim::decode(newer).unwrap().broker, BrokerId(3));
    let recovering =
        br#"{"controller_epoch":1,"leader":2,"version":1,"leader_epoch":3,"isr":[2],"leader_recovery_state":1}"#;
    assert_eq!(PartitionState::decode(recovering).unwrap().leader, Some(BrokerId(2)));
}

#[test]
fn numbers_are_decimal_text() {
    assert_eq!(encode_controller_epoch(ControllerEpoch(7)), "7");
    assert_eq!(decode_controller_epoch(b"7"), Ok(ControllerEpoch(7)));
    assert_eq!(encode_offset(Offset(1 << 40)), "1099511627776");
    assert_eq!(decode_offset(b"1099511627776"), Ok(Offset(1 << 40)));
}

#[test]
fn what_is_no_payload_is_an_error() {
    let bad: [Result<(), BadPayload>; 8] = [
        ControllerClaim::decode(b"").map(drop),
        ControllerClaim::decode(br#"{"version":1,"brokerid":1,"timestamp":"soon"}"#).map(drop),
        PartitionState::decode(br#"{"leader":1}"#).map(drop),
        TopicAssignment::decode(br#"{"version":4,"partitions":{}}"#).map(drop),
        TopicAssignment::decode(br#"{"version":1,"partitions":{"x":[1]}}"#).map(drop),
        BrokerRegistration::decode(&[0xFF, 0xFE]).map(drop),
        decode_controller_epoch(b"seven").map(drop),
        decode_offset(&[0xFF]).map(drop),
    ];
    for (index, result) in bad.iter().enumerate() {
        assert!(result.is_err(), "payload {index}");
    }
}
