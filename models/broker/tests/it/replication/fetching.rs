//! Fetch, ListOffsets, OffsetForLeaderEpoch: what is served to whom, errors, waiting (§5.6, §5.7).

use broker::fact::KafkaFact;
use kafkawire::{ErrorCode, Offset, Response, TopicPartition};
use machine::Span;

use crate::replication::asking::{
    consumer_fetch, error_of, fetch_of, follower_fetch, partition_of, produce, values_in,
};
use crate::replication::bench::{Bench, State, orders};

fn led_by_1() -> Bench {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 4));
    bench
}

fn fetch_error(bench: &mut Bench, id: i32, request: kafkawire::messages::FetchRequest) -> ErrorCode {
    let number = bench.ask(id, request);
    let Response::Fetch(response) = bench.response(id, number) else { panic!("a fetch is answered by a fetch") };
    let partition = partition_of(&response).expect("an error is always told");
    if partition.error_code != 0 {
        assert_eq!((partition.high_watermark, partition.log_start_offset), (-1, -1));
    }
    error_of(partition.error_code)
}

#[test]
fn consumers_see_nothing_above_the_high_watermark() {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    bench.cut(1, 2);
    bench.produce(1, "b", -1);
    let data = bench.consume(1, 0);
    assert_eq!(values_in(data.records.as_ref().unwrap()), ["a"]);
    assert_eq!((data.high_watermark, data.last_stable_offset), (1, 1));
    let above = bench.consume(1, 2);
    assert_eq!((above.error_code, above.records.unwrap().len()), (0, 0), "not yet, and no error");
    let served = bench.take_facts(1).into_iter().filter(|fact| matches!(fact, KafkaFact::RecordsServed { .. }));
    let [KafkaFact::RecordsServed { start, end, high_watermark, .. }] = served.collect::<Vec<_>>()[..] else {
        panic!("served once")
    };
    assert_eq!((start, end, high_watermark), (Offset(0), Offset(1), Offset(1)));
}

#[test]
fn every_fetch_error_has_its_code() {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    assert_eq!(fetch_error(&mut bench, 1, consumer_fetch(&orders(), 9, 0)), ErrorCode::OffsetOutOfRange);
    assert_eq!(fetch_error(&mut bench, 2, consumer_fetch(&orders(), 0, 0)), ErrorCode::NotLeaderOrFollower);
    let unknown = TopicPartition::new("orders", 5);
    assert_eq!(fetch_error(&mut bench, 1, consumer_fetch(&unknown, 0, 0)), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(fetch_error(&mut bench, 1, follower_fetch(2, 0, 3)), ErrorCode::FencedLeaderEpoch);
    assert_eq!(fetch_error(&mut bench, 1, follower_fetch(2, 0, 5)), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(fetch_error(&mut bench, 2, follower_fetch(3, 0, 4)), ErrorCode::NotLeaderOrFollower);
    // The epoch is looked at before the role.
    assert_eq!(fetch_error(&mut bench, 2, follower_fetch(3, 0, 3)), ErrorCode::FencedLeaderEpoch);
    assert_eq!(fetch_error(&mut bench, 1, follower_fetch(4, 0, 4)), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(fetch_error(&mut bench, 1, follower_fetch(4, 0, -1)), ErrorCode::NotLeaderOrFollower);
    assert_eq!(fetch_error(&mut bench, 1, follower_fetch(2, 1, 4)), ErrorCode::None);
}

#[test]
fn a_fetch_waits_until_something_is_committed() {
    let mut bench = led_by_1();
    let request = bench.ask(1, consumer_fetch(&orders(), 0, 400));
    bench.advance(Span::millis(100));
    assert!(bench.answer(1, request).is_none());
    bench.cut(1, 2);
    bench.produce(1, "a", 1);
    assert!(bench.answer(1, request).is_none(), "appended is not committed");
    bench.heal();
    let Response::Fetch(response) = bench.response(1, request) else { panic!("a fetch is answered by a fetch") };
    assert_eq!(values_in(partition_of(&response).unwrap().records.as_ref().unwrap()), ["a"]);
}

#[test]
fn a_fetch_that_waits_in_vain_is_answered_empty_when_its_time_is_over() {
    let mut bench = led_by_1();
    let request = bench.ask(1, consumer_fetch(&orders(), 0, 400));
    bench.advance(Span::millis(399));
    assert!(bench.answer(1, request).is_none());
    bench.advance(Span::millis(1));
    let Response::Fetch(response) = bench.response(1, request) else { panic!("a fetch is answered by a fetch") };
    assert!(partition_of(&response).unwrap().records.as_ref().unwrap().is_empty());
    bench.advance(Span::secs(1));
    assert!(bench.answer(1, request).is_none(), "answered once");
}

#[test]
fn min_bytes_are_waited_for() {
    let mut bench = led_by_1();
    let size = crate::replication::asking::record("a").len();
    let fetch = consumer_fetch(&orders(), 0, 400).with_min_bytes(i32::try_from(2 * size).unwrap());
    let request = bench.ask(1, fetch);
    bench.produce(1, "a", -1);
    assert!(bench.answer(1, request).is_none(), "one batch is too little");
    bench.produce(1, "b", -1);
    let Response::Fetch(response) = bench.response(1, request) else { panic!("a fetch is answered by a fetch") };
    assert_eq!(values_in(partition_of(&response).unwrap().records.as_ref().unwrap()), ["a", "b"]);
}

#[test]
fn a_fetch_that_waits_ends_when_the_leader_changes() {
    let mut bench = led_by_1();
    let request = bench.ask(1, consumer_fetch(&orders(), 0, 60_000));
    bench.elect(&State::new(2, 5));
    let Response::Fetch(response) = bench.response(1, request) else { panic!("a fetch is answered by a fetch") };
    assert_eq!(error_of(partition_of(&response).unwrap().error_code), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn limits_of_size_let_the_first_batch_through_and_cut_the_others() {
    let mut bench = led_by_1();
    let other = TopicPartition::new("orders", 1);
    bench.elect(&State::new(1, 4).of(other.clone()));
    for value in ["a", "b"] {
        bench.produce(1, value, -1);
        bench.ask(1, produce(&other, value, -1));
    }
    let both = vec![fetch_of(&orders(), 0, -1), fetch_of(&other, 0, -1)];
    let number = bench.ask(1, consumer_fetch(&orders(), 0, 0).with_max_bytes(10).with_topics(both));
    let Response::Fetch(response) = bench.response(1, number) else { panic!("a fetch is answered by a fetch") };
    let partitions = &response.responses[0].partitions;
    assert_eq!(values_in(partitions[0].records.as_ref().unwrap()), ["a"], "the first is returned however large");
    assert_eq!(partitions[1].records.as_ref().unwrap().len(), 0, "and that was all there is room for");
    let mut fetch = fetch_of(&orders(), 0, -1);
    fetch.partitions[0].partition_max_bytes =
        i32::try_from(crate::replication::asking::record("a").len() + 10).unwrap();
    let number = bench.ask(1, consumer_fetch(&orders(), 0, 0).with_topics(vec![fetch]));
    let Response::Fetch(response) = bench.response(1, number) else { panic!("a fetch is answered by a fetch") };
    assert_eq!(values_in(partition_of(&response).unwrap().records.as_ref().unwrap()), ["a"]);
}

#[test]
fn offsets_are_listed_for_clients_up_to_the_high_watermark() {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    bench.cut(1, 2);
    bench.produce(1, "b", -1);
    let latest = bench.latest(1);
    assert_eq!((latest.error_code, latest.offset, latest.leader_epoch), (0, 1, 4));
    let earliest = bench.list(1, -2);
    assert_eq!((earliest.error_code, earliest.offset), (0, 0));
    let timed = bench.list(1, 1_699_999_999_999);
    assert_eq!((timed.error_code, timed.offset, timed.timestamp), (0, 0, 1_700_000_000_000));
    let young = bench.list(1, 1_700_000_000_001);
    assert_eq!((young.error_code, young.offset), (0, -1));
    assert_eq!(error_of(bench.latest(2).error_code), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_new_leader_that_does_not_know_what_was_committed_tells_no_client_its_end() {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    assert_eq!(bench.high_watermark(2), 0, "the follower is a round behind");
    bench.kill(1);
    bench.cut(2, 3);
    bench.elect(&State::new(2, 5).isr(&[2, 3]));
    assert_eq!(error_of(bench.latest(2).error_code), ErrorCode::OffsetNotAvailable);
    assert_eq!(error_of(bench.list(2, 1_700_000_000_000).error_code), ErrorCode::OffsetNotAvailable);
    assert_eq!(bench.list(2, -2).error_code, 0, "the earliest is known");
    bench.heal();
    bench.advance(Span::secs(2));
    let latest = bench.latest(2);
    assert_eq!((latest.error_code, latest.offset, latest.leader_epoch), (0, 1, 5));
}

#[test]
fn epochs_end_where_the_next_one_begins() {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    bench.produce(1, "b", -1);
    bench.elect(&State::new(1, 7));
    bench.produce(1, "c", -1);
    let end = |bench: &mut Bench, epoch: i32| {
        let end = bench.epoch_end(1, 7, epoch);
        (end.error_code, end.leader_epoch, end.end_offset)
    };
    assert_eq!(end(&mut bench, 7), (0, 7, 3), "the current one at the log's end");
    assert_eq!(end(&mut bench, 4), (0, 4, 2));
    assert_eq!(end(&mut bench, 6), (0, 4, 2), "the largest that is not beyond");
    assert_eq!(end(&mut bench, 3), (0, 3, 0), "before the first: where that begins");
    assert_eq!(end(&mut bench, 8), (0, -1, -1), "nobody has heard of it");
    assert_eq!(error_of(bench.epoch_end(1, 6, 4).error_code), ErrorCode::FencedLeaderEpoch);
    assert_eq!(error_of(bench.epoch_end(1, 8, 4).error_code), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(error_of(bench.epoch_end(2, 7, 4).error_code), ErrorCode::NotLeaderOrFollower);
}
