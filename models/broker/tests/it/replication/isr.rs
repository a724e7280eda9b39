//! The in-sync replicas: who leaves, who joins, how that is written, and what waits meanwhile (§5.11).

use broker::cx::Answer;
use broker::fact::KafkaFact;
use broker::zookeeper::{ZkError, ZkOwner, ZkRequest};
use kafkawire::znode::{self, IsrChange};
use kafkawire::{ErrorCode, Offset, TopicPartition};
use machine::Span;

use crate::replication::asking::{
    consumer_fetch, fetch_of, follower_fetch, leader_and_isr, partition_of, produce, values_in,
};
use crate::replication::bench::{Bench, State, orders};

fn led_by_1() -> Bench {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench
}

fn stored_isr(bench: &Bench) -> (Vec<i32>, i32) {
    let (data, version) = &bench.znodes[&znode::partition_state(&orders())];
    let state = znode::PartitionState::decode(data).unwrap();
    (state.isr.iter().map(|broker| broker.0).collect(), *version)
}

/// A leader whose follower 3 has been silent until the ISR is about to shrink, with ZooKeeper silent, too.
fn about_to_shrink() -> Bench {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    bench.cut(1, 3);
    bench.zk_answers = false;
    bench.produce(1, "b", 1);
    bench.advance(Span::secs(46));
    assert_eq!(bench.zk.len(), 1, "the ISR is being written");
    bench
}

fn shrink_result(bench: &mut Bench) -> (i32, ZkOwner, broker::zookeeper::ZkResult) {
    let (id, batch) = bench.zk.pop_front().unwrap();
    let result = bench.zk_result(&batch.requests[0]);
    (id, batch.owner, result)
}

#[test]
fn a_silent_follower_leaves_after_its_lag_and_commits_what_waited_for_it() {
    let mut bench = led_by_1();
    bench.cut(1, 3);
    let request = bench.produce(1, "a", 1);
    assert_eq!(bench.produced(1, request).0, ErrorCode::None);
    bench.advance(Span::secs(29));
    assert_eq!((bench.isr(1), bench.high_watermark(1)), (vec![1, 2, 3], 0));
    bench.advance(Span::secs(17));
    assert_eq!((bench.isr(1), bench.high_watermark(1)), (vec![1, 2], 1));
    assert_eq!(stored_isr(&bench), (vec![1, 2], 1));
    let facts = bench.take_facts(1);
    let changed = facts.iter().find_map(|fact| match fact {
        KafkaFact::IsrChanged { isr, version, .. } => Some((&**isr, *version)),
        _ => None,
    });
    assert_eq!(changed, Some(("1,2", 1)));
}

#[test]
fn an_idle_follower_at_the_leaders_end_stays_in_sync() {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    bench.cut(1, 3);
    bench.advance(Span::secs(120));
    assert_eq!(bench.isr(1), [1, 2, 3], "its end is the leader's: it lacks nothing");
}

#[test]
fn a_follower_that_caught_up_joins_again() {
    let mut bench = led_by_1();
    bench.cut(1, 3);
    bench.produce(1, "a", 1);
    bench.advance(Span::secs(46));
    assert_eq!(bench.isr(1), [1, 2]);
    bench.heal();
    bench.advance(Span::secs(2));
    assert_eq!(bench.isr(1), [1, 2, 3]);
    assert_eq!(stored_isr(&bench), (vec![1, 2, 3], 2));
}

#[test]
fn a_follower_joins_only_beyond_the_start_of_the_leaders_epoch() {
    // KAFKA-7128: broker 2 leads with a high watermark that is behind; 3 reaches that, but not what was committed.
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    bench.cut(1, 3);
    bench.produce(1, "b", 1);
    bench.advance(Span::secs(46));
    assert_eq!(bench.isr(1), [1, 2]);
    bench.produce(1, "c", -1);
    assert_eq!((bench.high_watermark(1), bench.high_watermark(2), bench.log_end(2)), (3, 2, 3));
    bench.cut(2, 3);
    bench.cut(1, 2);
    bench.elect(&State::new(2, 1).isr(&[2, 1]));
    assert_eq!(bench.high_watermark(2), 2, "it does not know yet that c is committed");
    bench.zk_answers = false;
    for from in [1, 2] {
        bench.ask(2, follower_fetch(3, from, 1));
        assert!(bench.zk.is_empty(), "offset {from} is before the start of the epoch");
    }
    bench.ask(2, follower_fetch(3, 3, 1));
    assert_eq!(bench.zk.len(), 1);
}

#[test]
fn while_the_isr_is_written_nothing_else_touches_the_partition() {
    let mut bench = about_to_shrink();
    let ask = |bench: &mut Bench, value: &str| bench.ask_only(1, produce(&orders(), value, 1));
    let first = ask(&mut bench, "c");
    let fetch = bench.ask_only(1, follower_fetch(2, 2, 0));
    let second = ask(&mut bench, "d");
    bench.settle();
    assert_eq!(bench.log_end(1), 2, "nothing was appended");
    assert!([first, fetch, second].iter().all(|&number| bench.answer(1, number).is_none()));
    let demoted = bench.ask_only(1, leader_and_isr(&[State::new(2, 1)]));
    assert!(bench.answer(1, demoted).is_none());
    let (id, owner, result) = shrink_result(&mut bench);
    bench.answer_zk(id, &owner, vec![result]);
    bench.settle();
    // In the order in which they came: two appends around the fetch, and only then the change of roles.
    assert_eq!(bench.produced(1, first), (ErrorCode::None, Offset(2)));
    assert_eq!(bench.produced(1, second), (ErrorCode::None, Offset(3)));
    let Some(Answer::Response(kafkawire::Response::Fetch(answer))) = bench.answer(1, fetch) else { panic!("answered") };
    let records = partition_of(&answer).unwrap().records.clone().unwrap();
    assert_eq!(values_in(&records), ["c"], "the fetch ran between the appends");
    assert!(bench.answer(1, demoted).is_some());
    assert!(bench.isr(1).is_empty(), "it follows now");
}

#[test]
fn no_write_of_another_isr_begins_before_a_control_request_that_waits() {
    let mut bench = led_by_1();
    let other = TopicPartition::new("orders", 1);
    bench.elect(&State::new(1, 0).of(other.clone()));
    bench.cut(1, 3);
    for tp in [&orders(), &other] {
        bench.ask(1, produce(tp, "a", 1));
    }
    bench.zk_answers = false;
    bench.advance(Span::secs(46));
    assert_eq!(bench.zk.len(), 1, "one ISR after the other is written");
    let demoted = bench.ask_only(1, leader_and_isr(&[State::new(2, 1), State::new(2, 1).of(other)]));
    let fetch = bench.ask_only(1, follower_fetch(2, 1, 0));
    let (id, owner, result) = shrink_result(&mut bench);
    bench.answer_zk(id, &owner, vec![result]);
    bench.settle();
    assert!(bench.answer(1, fetch).is_some());
    assert!(bench.answer(1, demoted).is_some(), "it waits for no other partition");
    assert!(bench.zk.is_empty());
}

#[test]
fn a_fetch_whose_time_is_over_while_the_partition_is_held_is_answered_when_it_is_free() {
    let mut bench = led_by_1();
    bench.produce(1, "a", -1);
    bench.cut(1, 3);
    bench.produce(1, "b", 1);
    bench.advance(Span::millis(44_700));
    bench.zk_answers = false;
    let request = bench.ask(1, consumer_fetch(&orders(), 1, 500));
    bench.advance(Span::secs(2));
    assert_eq!(bench.zk.len(), 1);
    assert!(bench.answer(1, request).is_none());
    let (id, batch) = bench.zk.pop_front().unwrap();
    bench.answer_zk(id, &batch.owner, vec![Err(ZkError::SessionExpired)]);
    let Some(Answer::Response(kafkawire::Response::Fetch(answer))) = bench.answer(1, request) else {
        panic!("answered")
    };
    assert_eq!(partition_of(&answer).unwrap().high_watermark, 1, "there is still nothing for it");
}

#[test]
fn a_fetch_that_waited_before_its_partition_was_held_sees_what_happened_to_the_others() {
    let mut bench = led_by_1();
    let other = TopicPartition::new("orders", 1);
    bench.elect(&State::new(1, 0).of(other.clone()).replicas(&[1]).isr(&[1]));
    bench.cut(1, 3);
    let behind = bench.produce(1, "a", 1);
    assert_eq!(bench.produced(1, behind).0, ErrorCode::None);
    bench.advance(Span::millis(44_000));
    bench.zk_answers = false;
    let both = vec![fetch_of(&orders(), 1, -1), fetch_of(&other, 0, -1)];
    let request = bench.ask(1, consumer_fetch(&orders(), 0, 30_000).with_topics(both));
    bench.advance(Span::secs(2));
    assert_eq!(bench.zk.len(), 1, "the first partition is held");
    bench.ask(1, produce(&other, "b", 1));
    assert!(bench.answer(1, request).is_none(), "it may not be read while one of its partitions is held");
    let (id, owner, result) = shrink_result(&mut bench);
    bench.answer_zk(id, &owner, vec![result]);
    let Some(Answer::Response(kafkawire::Response::Fetch(answer))) = bench.answer(1, request) else {
        panic!("answered")
    };
    let records = answer.responses[0].partitions[1].records.clone().unwrap();
    assert_eq!(values_in(&records), ["b"]);
}

#[test]
fn a_lost_answer_of_an_applied_write_is_found_out() {
    let mut bench = about_to_shrink();
    // Applied, the answer lost, sent again: BADVERSION.
    let (id, owner, result) = shrink_result(&mut bench);
    assert!(result.is_ok());
    bench.answer_zk(id, &owner, vec![Err(ZkError::Code(jute::op::ErrorCode::BadVersion))]);
    let (_, batch) = bench.zk.front().unwrap();
    assert!(matches!(batch.requests[..], [ZkRequest::GetData { .. }]));
    let (id, owner, result) = shrink_result(&mut bench);
    bench.answer_zk(id, &owner, vec![result]);
    assert_eq!(bench.isr(1), [1, 2]);
    assert!(bench.has_mark("broker-isr-write-found-applied"));
    // The next write knows the version.
    bench.zk_answers = true;
    bench.heal();
    bench.advance(Span::secs(2));
    assert_eq!((bench.isr(1), stored_isr(&bench)), (vec![1, 2, 3], (vec![1, 2, 3], 2)));
}

#[test]
fn a_write_over_somebody_elses_is_refused_again_and_again() {
    let mut bench = about_to_shrink();
    // The controller elected somebody else meanwhile.
    bench.write_state(&State::new(2, 1).isr(&[2, 3]));
    bench.zk_answers = true;
    bench.settle();
    assert_eq!(bench.isr(1), [1, 2, 3], "not applied");
    bench.advance(Span::secs(15));
    assert_eq!(bench.isr(1), [1, 2, 3]);
    let refused =
        bench.take_facts(1).into_iter().filter(|fact| matches!(fact, KafkaFact::IsrChangeRefused { version: 0, .. }));
    assert_eq!(refused.count(), 2);
    assert_eq!(stored_isr(&bench).0, [2, 3]);
}

#[test]
fn an_expired_session_leaves_the_isr_as_it_is() {
    let mut bench = about_to_shrink();
    let (id, batch) = bench.zk.pop_front().unwrap();
    bench.answer_zk(id, &batch.owner, vec![Err(ZkError::SessionExpired)]);
    assert_eq!(bench.isr(1), [1, 2, 3]);
    bench.zk_answers = true;
    bench.advance(Span::secs(15));
    assert_eq!(bench.isr(1), [1, 2]);
}

#[test]
fn changes_are_told_when_they_have_been_quiet_for_five_seconds() {
    let mut bench = led_by_1();
    bench.cut(1, 3);
    bench.produce(1, "a", 1);
    bench.advance(Span::secs(45));
    assert_eq!(bench.isr(1), [1, 2]);
    let told =
        |bench: &Bench| bench.znodes.get(&znode::isr_change_prefix()).map(|(data, _)| IsrChange::decode(data).unwrap());
    bench.advance(Span::secs(4));
    assert_eq!(told(&bench), None);
    bench.advance(Span::secs(4));
    assert_eq!(told(&bench), Some(IsrChange { partitions: vec![orders()] }));
    bench.znodes.remove(&znode::isr_change_prefix());
    bench.advance(Span::secs(70));
    assert_eq!(told(&bench), None, "told once");
}
