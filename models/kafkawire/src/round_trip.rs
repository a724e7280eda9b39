//! Random messages with every field populated, in every version: what is narrowed comes back from its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, LeaderAndIsrRequest, StopReplicaRequest, TopicName, UpdateMetadataRequest,
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::{FetchableTopicResponse, PartitionData},
    leader_and_isr_request::{LeaderAndIsrPartitionState, LeaderAndIsrTopicState},
    stop_replica_request::{StopReplicaPartitionState, StopReplicaTopicState},
    update_metadata_request::{UpdateMetadataBroker, UpdateMetadataEndpoint},
};
use kafka_protocol::protocol::StrBytes;
use machine::{Depth, Digest, Payload as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::schema::Field;
use crate::{
    ApiKey, Batch, BrokerId, Correlation, KafkaMessage, LeaderEpoch, NewBatch, Offset, Request, Response, Wire,
};

fn arbitrary<T: Field>(rng: &mut ChaCha8Rng) -> Arc<T> {
    Arc::new(T::arbitrary(rng))
}

fn request(api: ApiKey, rng: &mut ChaCha8Rng) -> Request {
    match api {
        ApiKey::Produce => Request::Produce(arbitrary(rng)),
        ApiKey::Fetch => Request::Fetch(arbitrary(rng)),
        ApiKey::ListOffsets => Request::ListOffsets(arbitrary(rng)),
        ApiKey::Metadata => Request::Metadata(arbitrary(rng)),
        ApiKey::LeaderAndIsr => Request::LeaderAndIsr(arbitrary(rng)),
        ApiKey::StopReplica => {
            // One request of an old version deletes all or none.
            let mut body = StopReplicaRequest::arbitrary(rng);
            for topic in &mut body.topic_states {
                for partition in &mut topic.partition_states {
                    partition.delete_partition = body.delete_partitions;
                }
            }
            Request::StopReplica(Arc::new(body))
        }
        ApiKey::UpdateMetadata => Request::UpdateMetadata(arbitrary(rng)),
        ApiKey::ControlledShutdown => Request::ControlledShutdown(arbitrary(rng)),
        ApiKey::ApiVersions => Request::ApiVersions(arbitrary(rng)),
        ApiKey::CreateTopics => Request::CreateTopics(arbitrary(rng)),
        ApiKey::OffsetForLeaderEpoch => Request::OffsetForLeaderEpoch(arbitrary(rng)),
    }
}

fn response(api: ApiKey, rng: &mut ChaCha8Rng) -> Response {
    match api {
        ApiKey::Produce => Response::Produce(arbitrary(rng)),
        ApiKey::Fetch => Response::Fetch(arbitrary(rng)),
        ApiKey::ListOffsets => Response::ListOffsets(arbitrary(rng)),
        ApiKey::Metadata => Response::Metadata(arbitrary(rng)),
        ApiKey::LeaderAndIsr => Response::LeaderAndIsr(arbitrary(rng)),
        ApiKey::StopReplica => Response::StopReplica(arbitrary(rng)),
        ApiKey::UpdateMetadata => Response::UpdateMetadata(arbitrary(rng)),
        ApiKey::ControlledShutdown => Response::ControlledShutdown(arbitrary(rng)),
        ApiKey::ApiVersions => Response::ApiVersions(arbitrary(rng)),
        ApiKey::CreateTopics => Response::CreateTopics(arbitrary(rng)),
        ApiKey::OffsetForLeaderEpoch => Response::OffsetForLeaderEpoch(arbitrary(rng)),
    }
}

/// Calls `check` with random messages of every API, version and direction.
fn for_each_message(seed: u64, rounds: u32, mut check: impl FnMut(KafkaMessage)) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for &api in ApiKey::ALL {
        for version in api.supported().versions() {
            for _ in 0..rounds {
                let correlation = Correlation(rng.random_range(0..i32::MAX));
                check(KafkaMessage::request(correlation, version, request(api, &mut rng)));
                check(KafkaMessage::response(correlation, version, response(api, &mut rng)));
            }
        }
    }
}

fn digest(message: &KafkaMessage, depth: Depth) -> u64 {
    let mut digest = Digest::new();
    message.digest(depth, &mut digest);
    digest.value()
}

/// Everything the version has, and nothing else.
fn cheap(message: &KafkaMessage) -> u64 {
    digest(message, Depth::Cheap)
}

#[test]
fn every_narrowed_message_comes_back_from_its_bytes() {
    for_each_message(1, 40, |message| {
        assert_eq!(message.wire_len() as usize, message.encode().len(), "{message:?}");
        // Asserts that it is the same.
        let back = message.clone().through_bytes();
        assert_eq!(digest(&back, Depth::Cheap), digest(&message, Depth::Cheap));
        assert_eq!(digest(&back, Depth::Encoded), digest(&message, Depth::Encoded));
    });
}

#[test]
fn narrowing_twice_is_narrowing_once_and_copies_nothing() {
    for_each_message(2, 10, |message| match message {
        KafkaMessage::Request { version, body, .. } => {
            let again = body.clone().narrow(version);
            assert_eq!(again, body);
            if let (Request::Fetch(again), Request::Fetch(body)) = (&again, &body) {
                assert!(Arc::ptr_eq(again, body), "a body that fits is shared");
            }
        }
        KafkaMessage::Response { version, body, .. } => assert_eq!(body.clone().narrow(version), body),
    });
}

#[test]
fn the_highest_version_keeps_all_it_has() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..40 {
        for &api in ApiKey::ALL {
            let (correlation, version) = (Correlation(1), api.supported().max);
            let mut body = request(api, &mut rng);
            // What old versions say in another form would be added to what the highest says.
            match &mut body {
                Request::LeaderAndIsr(body) => Arc::make_mut(body).ungrouped_partition_states.clear(),
                Request::UpdateMetadata(body) => Arc::make_mut(body).ungrouped_partition_states.clear(),
                Request::StopReplica(body) => {
                    Arc::make_mut(body).ungrouped_partitions.clear();
                    Arc::make_mut(body).topics.clear();
                }
                Request::Produce(_)
                | Request::Fetch(_)
                | Request::ListOffsets(_)
                | Request::Metadata(_)
                | Request::ControlledShutdown(_)
                | Request::ApiVersions(_)
                | Request::CreateTopics(_)
                | Request::OffsetForLeaderEpoch(_) => {}
            }
            let whole = KafkaMessage::Request { correlation, version, body: body.clone() };
            let narrow = KafkaMessage::request(correlation, version, body);
            assert_eq!(cheap(&whole), cheap(&narrow), "{whole:?}");
            let body = response(api, &mut rng);
            let whole = KafkaMessage::Response { correlation, version, body: body.clone() };
            assert_eq!(cheap(&whole), cheap(&KafkaMessage::response(correlation, version, body)), "{whole:?}");
        }
    }
}

#[test]
fn cheap_digests_differ_where_messages_do() {
    let mut seen = BTreeMap::new();
    for_each_message(4, 20, |message| {
        let bytes = message.encode();
        let direction = message.name();
        let before = seen.insert(digest(&message, Depth::Cheap), (direction, message.version(), bytes.clone()));
        assert!(before.is_none_or(|before| before == (direction, message.version(), bytes)), "{message:?}");
    });
}

#[test]
fn cheap_digests_tell_what_a_leader_stamped_and_what_was_produced() {
    let produced = |value: &[u8]| {
        let bytes = NewBatch::new(&[(None, value)], 5).encode();
        Batch::read(&bytes, 0).expect("no damage").expect("a batch")
    };
    let answered = |batch: Batch| {
        let data = PartitionData::default().with_records(Some(batch.bytes));
        let topic = FetchableTopicResponse::default().with_partitions(vec![data]);
        let response = FetchResponse::default().with_responses(vec![topic]);
        cheap(&KafkaMessage::response(Correlation(1), 11, Response::Fetch(Arc::new(response))))
    };
    let stamped = |base, epoch| answered(produced(b"v").stamped(Offset(base), LeaderEpoch(epoch)));
    let all =
        [stamped(1, 1), stamped(2, 1), stamped(1, 2), answered(produced(b"w").stamped(Offset(1), LeaderEpoch(1)))];
    assert_eq!(BTreeSet::from(all).len(), all.len(), "{all:?}");
    assert_eq!(stamped(1, 1), all[0]);
}

fn fetch(last_fetched_epoch: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(3)
        .with_current_leader_epoch(7)
        .with_last_fetched_epoch(last_fetched_epoch);
    let topic =
        FetchTopic::default().with_topic(TopicName(StrBytes::from_static_str("t"))).with_partitions(vec![partition]);
    FetchRequest::default().with_session_id(5).with_session_epoch(9).with_topics(vec![topic])
}

#[test]
fn what_a_version_lacks_is_reset() {
    let Request::Fetch(fetched) = Request::Fetch(Arc::new(fetch(6))).narrow(11) else { unreachable!() };
    assert_eq!(*fetched, fetch(-1), "Fetch 11 has no last fetched epoch");
    let Request::Fetch(fetched) = Request::Fetch(Arc::new(fetch(-1))).narrow(6) else { unreachable!() };
    assert_eq!((fetched.session_id, fetched.session_epoch), (0, -1), "Fetch 6 has no sessions");
    assert_eq!(fetched.topics[0].partitions[0].current_leader_epoch, -1, "Fetch 6 has no leader epoch");
}

fn name(topic: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(topic))
}

#[test]
fn old_control_requests_keep_every_partition() {
    let state = |index| LeaderAndIsrPartitionState::default().with_partition_index(index).with_leader_epoch(4);
    let topic = |topic, partitions| {
        LeaderAndIsrTopicState::default().with_topic_name(name(topic)).with_partition_states(partitions)
    };
    let topics = vec![topic("a", vec![state(0), state(1)]), topic("b", vec![state(0)])];
    let grouped = Request::LeaderAndIsr(Arc::new(LeaderAndIsrRequest::default().with_topic_states(topics)));
    let Request::LeaderAndIsr(old) = grouped.clone().narrow(1) else { unreachable!() };
    let named: Vec<_> =
        old.ungrouped_partition_states.iter().map(|it| (it.topic_name.as_str(), it.partition_index)).collect();
    assert_eq!(named, [("a", 0), ("a", 1), ("b", 0)]);
    assert!(old.topic_states.is_empty());
    assert_eq!(Request::LeaderAndIsr(old).narrow(4), grouped, "and back");
}

#[test]
fn an_old_stop_replica_has_one_flag_for_all() {
    let stop = |deletes: [bool; 2]| {
        let states = (0..).zip(deletes).map(|(index, delete)| {
            StopReplicaPartitionState::default().with_partition_index(index).with_delete_partition(delete)
        });
        let topic = StopReplicaTopicState::default().with_topic_name(name("a")).with_partition_states(states.collect());
        Request::StopReplica(Arc::new(StopReplicaRequest::default().with_topic_states(vec![topic])))
    };
    for version in [0, 1, 2] {
        let Request::StopReplica(old) = stop([true, true]).narrow(version) else { unreachable!() };
        assert!(old.delete_partitions);
        assert_eq!(Request::StopReplica(old).narrow(3), stop([true, true]), "and back");
    }
    let mixed = std::panic::catch_unwind(|| stop([true, false]).narrow(2));
    assert!(mixed.is_err(), "half of a deletion must not get lost");
}

#[test]
fn the_oldest_update_metadata_names_the_plaintext_endpoint() {
    let endpoint = UpdateMetadataEndpoint::default().with_host(StrBytes::from_static_str("h1")).with_port(9092);
    let broker = UpdateMetadataBroker::default().with_id(BrokerId(1).wire()).with_endpoints(vec![endpoint]);
    let request = Request::UpdateMetadata(Arc::new(UpdateMetadataRequest::default().with_live_brokers(vec![broker])));
    let Request::UpdateMetadata(old) = request.narrow(0) else { unreachable!() };
    assert_eq!((old.live_brokers[0].v0_host.as_str(), old.live_brokers[0].v0_port), ("h1", 9092));
}

#[test]
fn both_wires_carry_the_same_message() {
    for_each_message(5, 3, |message| {
        assert_eq!(Wire::Bytes.carry(message.clone()), Wire::Values.carry(message));
    });
}

/// Decodes as a request and as a response of every version: an error or a message, never a panic.
fn decode_every_way(frame: &Bytes) -> u32 {
    let mut decoded = u32::from(KafkaMessage::decode_request(frame).is_ok());
    for &api in ApiKey::ALL {
        for version in api.supported().versions() {
            decoded += u32::from(KafkaMessage::decode_response(frame, api, version).is_ok());
        }
    }
    decoded
}

fn framed(body: &[u8]) -> Bytes {
    let length = i32::try_from(body.len()).expect("a short frame").to_be_bytes();
    Bytes::from([length.as_slice(), body].concat())
}

#[test]
fn random_bytes_are_an_error_and_never_a_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..20_000 {
        let length = rng.random_range(0..64);
        let mut body: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        if let Some(header) = body.first_chunk_mut::<4>() {
            // Half of them at least name an API and a version.
            if rng.random() {
                let api = ApiKey::ALL[rng.random_range(0..ApiKey::ALL.len())];
                header[..2].copy_from_slice(&api.code().to_be_bytes());
                header[2..].copy_from_slice(&rng.random_range(0_i16..12).to_be_bytes());
            }
        }
        decode_every_way(&framed(&body));
        decode_every_way(&Bytes::from(body));
    }
}

#[test]
fn damaged_messages_are_an_error_or_another_message_and_never_a_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut refused = 0;
    for_each_message(8, 4, |message| {
        for _ in 0..8 {
            let mut frame = message.encode()[4..].to_vec();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..frame.len());
                frame[at] = [0, 0x7F, 0x80, 0xFF, rng.random()][rng.random_range(0..5)];
            }
            frame.truncate(rng.random_range(0..2 * frame.len()));
            let frame = framed(&frame);
            let back = match &message {
                KafkaMessage::Request { .. } => KafkaMessage::decode_request(&frame),
                KafkaMessage::Response { version, body, .. } => {
                    KafkaMessage::decode_response(&frame, body.api(), *version)
                }
            };
            refused += u32::from(back.is_err());
        }
    });
    assert!(refused > 1000, "{refused} were refused: the damage does not reach the decoder");
}

#[test]
fn an_array_that_claims_more_than_there_is_reserves_nothing() {
    // Fetch 11 that claims 2^31 - 1 topics: room for so many would be hundreds of gigabytes.
    let message = KafkaMessage::request(Correlation(1), 11, Request::Fetch(Arc::new(fetch(-1))));
    let mut frame = message.encode().to_vec();
    let name = b"\0\x01t";
    let count_at = frame.windows(name.len()).position(|window| window == name).expect("the topic's name") - 4;
    frame[count_at..count_at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(KafkaMessage::decode_request(&Bytes::from(frame)).is_err());
}
