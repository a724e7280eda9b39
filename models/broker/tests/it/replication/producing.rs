//! Produce: appends, acknowledgements, purgatory, errors (§5.5, A3).

use broker::cx::Answer;
use broker::fact::KafkaFact;
use bytes::{Bytes, BytesMut};
use kafkawire::messages::ProduceRequest;
use kafkawire::{ErrorCode, NewBatch, Offset, Response, TopicPartition};
use machine::Span;

use crate::replication::asking::{produce, produce_bytes, record, set_topic};
use crate::replication::bench::{Bench, State, orders};

fn led_by_1() -> Bench {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench
}

#[test]
fn acks_all_is_answered_when_every_in_sync_replica_has_fetched_beyond_the_record() {
    let mut bench = led_by_1();
    bench.cut(1, 3);
    let request = bench.produce(1, "a", -1);
    assert_eq!(bench.log_end(2), 1, "broker 2 has it");
    assert_eq!(bench.high_watermark(1), 0, "and 3 has not");
    assert!(bench.answer(1, request).is_none());
    bench.heal();
    assert_eq!(bench.produced(1, request), (ErrorCode::None, Offset(0)));
    assert_eq!(bench.high_watermark(1), 1);
    assert_eq!(bench.values(3), ["a"]);
    let acknowledged =
        bench.take_facts(1).into_iter().filter(|fact| matches!(fact, KafkaFact::ProduceAcknowledged { .. }));
    let [KafkaFact::ProduceAcknowledged { base, last, high_watermark, isr_size, min_insync, .. }] =
        acknowledged.collect::<Vec<_>>()[..]
    else {
        panic!("one acknowledgement")
    };
    assert_eq!((base, last, high_watermark, isr_size, min_insync), (Offset(0), Offset(0), Offset(1), 3, 1));
}

#[test]
fn followers_learn_the_high_watermark_one_fetch_after_the_leader() {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    assert_eq!((bench.high_watermark(1), bench.high_watermark(2)), (1, 0));
    bench.advance(Span::millis(500));
    assert_eq!((bench.high_watermark(2), bench.high_watermark(3)), (1, 1));
}

#[test]
fn acks_1_is_answered_by_the_append_and_acks_0_not_at_all() {
    let mut bench = led_by_1();
    bench.cut(1, 2);
    bench.cut(1, 3);
    let one = bench.produce(1, "a", 1);
    assert_eq!(bench.produced(1, one), (ErrorCode::None, Offset(0)));
    let none = bench.produce(1, "b", 0);
    assert!(matches!(bench.answer(1, none), Some(Answer::Nothing)));
    assert_eq!(bench.values(1), ["a", "b"]);
}

#[test]
fn a_failed_produce_without_acks_closes_the_connection() {
    let mut bench = led_by_1();
    let request = bench.produce(2, "a", 0);
    assert!(matches!(bench.answer(2, request), Some(Answer::Close)));
}

#[test]
fn a_produce_that_is_not_replicated_in_time_times_out_once_and_stays_in_the_log() {
    let mut bench = led_by_1();
    bench.cut(1, 2);
    bench.cut(1, 3);
    let request = bench.produce(1, "a", -1);
    bench.advance(Span::millis(9_999));
    assert!(bench.answer(1, request).is_none());
    bench.advance(Span::millis(1));
    assert_eq!(bench.produced(1, request).0, ErrorCode::RequestTimedOut);
    bench.heal();
    bench.advance(Span::secs(3));
    assert!(bench.answer(1, request).is_none(), "the replicas caught up after the answer");
    assert_eq!(bench.high_watermark(1), 1);
    assert_eq!(bench.values(2), ["a"]);
}

#[test]
fn too_few_in_sync_refuse_the_append() {
    let mut bench = Bench::new(3);
    set_topic(&mut bench, "orders", &[("min.insync.replicas", "2")]);
    bench.cut(1, 2);
    bench.cut(1, 3);
    bench.elect(&State::new(1, 0).isr(&[1]));
    let request = bench.produce(1, "a", -1);
    assert_eq!(bench.produced(1, request).0, ErrorCode::NotEnoughReplicas);
    assert_eq!(bench.log_end(1), 0);
    let request = bench.produce(1, "a", 1);
    assert_eq!(bench.produced(1, request).0, ErrorCode::None, "acks=1 does not ask who is in sync");
}

#[test]
fn too_few_in_sync_after_the_append_fail_it_and_leave_the_record() {
    let mut bench = Bench::new(3);
    set_topic(&mut bench, "orders", &[("min.insync.replicas", "2")]);
    bench.elect(&State::new(1, 0));
    bench.cut(1, 2);
    bench.cut(1, 3);
    bench.advance(Span::secs(26));
    // The ISR shrinks at 45 s, before the 10 s of the produce are over.
    bench.advance(Span::secs(12));
    let request = bench.produce(1, "a", -1);
    bench.advance(Span::secs(9));
    assert_eq!(bench.isr(1), [1]);
    assert_eq!(bench.produced(1, request).0, ErrorCode::NotEnoughReplicasAfterAppend);
    assert_eq!(bench.values(1), ["a"]);
    assert!(bench.has_mark("broker-not-enough-replicas-after-append"));
}

#[test]
fn a_leader_that_must_follow_answers_its_parked_produces() {
    let mut bench = led_by_1();
    bench.cut(1, 2);
    bench.cut(1, 3);
    let request = bench.produce(1, "a", -1);
    bench.elect(&State::new(2, 1).isr(&[2, 3]));
    assert_eq!(bench.produced(1, request).0, ErrorCode::NotLeaderOrFollower);
    assert!(bench.has_mark("broker-parked-produce-lost-leader"));
}

#[test]
fn every_refusal_has_its_code() {
    let mut bench = Bench::new(3);
    set_topic(&mut bench, "orders", &[("max.message.bytes", "100")]);
    bench.elect(&State::new(1, 0));
    let mut check = |id: i32, request: ProduceRequest, expected: ErrorCode| {
        let number = bench.ask(id, request);
        let Response::Produce(response) = bench.response(id, number) else {
            panic!("a produce is answered by a produce")
        };
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(ErrorCode::from_code(answer.error_code), Some(expected));
        assert_eq!((answer.base_offset, answer.log_start_offset), (-1, -1));
        assert_eq!(bench.log_end(1), 0, "nothing was appended");
    };
    check(1, produce(&orders(), "a", 2), ErrorCode::InvalidRequiredAcks);
    check(2, produce(&orders(), "a", 1), ErrorCode::NotLeaderOrFollower);
    check(1, produce(&TopicPartition::new("orders", 7), "a", 1), ErrorCode::UnknownTopicOrPartition);
    check(1, produce(&TopicPartition::new("__consumer_offsets", 0), "a", 1), ErrorCode::InvalidTopic);
    check(1, produce(&orders(), &"x".repeat(200), 1), ErrorCode::MessageTooLarge);
    let mut corrupt = BytesMut::from(record("a").as_ref());
    let last = corrupt.len() - 1;
    corrupt[last] ^= 1;
    check(1, produce_bytes(&orders(), corrupt.freeze(), 1), ErrorCode::CorruptMessage);
    let two = Bytes::from([record("a"), record("b")].concat());
    check(1, produce_bytes(&orders(), two, 1), ErrorCode::InvalidRecord);
    check(1, produce_bytes(&orders(), Bytes::new(), 1), ErrorCode::InvalidRecord);
    check(1, produce_bytes(&orders(), record("a").slice(..30), 1), ErrorCode::CorruptMessage);
}

#[test]
fn a_batch_gets_as_many_offsets_as_it_has_records() {
    let mut bench = led_by_1();
    let values: [(Option<&[u8]>, &[u8]); 3] = [(None, b"a"), (None, b"b"), (None, b"c")];
    let batch = NewBatch::new(&values, 1_700_000_000_000).encode();
    let first = bench.ask(1, produce_bytes(&orders(), batch, -1));
    assert_eq!(bench.produced(1, first), (ErrorCode::None, Offset(0)));
    let second = bench.produce(1, "d", -1);
    assert_eq!(bench.produced(1, second), (ErrorCode::None, Offset(3)));
    assert_eq!(bench.values(3), ["a", "b", "c", "d"]);
}
