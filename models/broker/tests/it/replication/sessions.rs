//! Incremental fetch sessions (KIP-227).

use kafkawire::messages::fetch_request::ForgottenTopic;
use kafkawire::messages::{FetchRequest, FetchResponse};
use kafkawire::{ErrorCode, Response, TopicPartition};

use crate::replication::asking::{error_of, fetch_of, produce};
use crate::replication::bench::{Bench, State, orders, wire_name};

fn second() -> TopicPartition {
    TopicPartition::new("orders", 1)
}

fn bench() -> Bench {
    let mut bench = Bench::new(3);
    bench.elect(&State::new(1, 0));
    bench.elect(&State::new(1, 0).of(second()));
    // The followers' fetches of the first partition alone end.
    bench.advance(machine::Span::secs(1));
    bench
}

fn fetch(bench: &mut Bench, session: (i32, i32), asked: &[(&TopicPartition, i64)]) -> FetchResponse {
    fetch_forgetting(bench, session, asked, &[])
}

fn fetch_forgetting(
    bench: &mut Bench,
    (id, epoch): (i32, i32),
    asked: &[(&TopicPartition, i64)],
    forgotten: &[i32],
) -> FetchResponse {
    let mut request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_id(id)
        .with_session_epoch(epoch)
        .with_topics(asked.iter().map(|&(tp, from)| fetch_of(tp, from, -1)).collect());
    if !forgotten.is_empty() {
        let topic = ForgottenTopic::default().with_topic(wire_name("orders")).with_partitions(forgotten.to_vec());
        request = request.with_forgotten_topics_data(vec![topic]);
    }
    let number = bench.ask(1, request);
    let Response::Fetch(response) = bench.response(1, number) else { panic!("a fetch is answered by a fetch") };
    (*response).clone()
}

fn partitions(response: &FetchResponse) -> Vec<i32> {
    response.responses.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.partition_index).collect()
}

#[test]
fn a_session_answers_only_what_is_news() {
    let mut bench = bench();
    let first = fetch(&mut bench, (0, 0), &[(&orders(), 0), (&second(), 0)]);
    let id = first.session_id;
    assert_ne!(id, 0);
    assert_eq!(partitions(&first), [0, 1], "a full request is answered in full");
    assert_eq!(partitions(&fetch(&mut bench, (id, 1), &[])), [] as [i32; 0], "nothing happened");
    bench.ask(1, produce(&second(), "a", -1));
    let news = fetch(&mut bench, (id, 2), &[]);
    assert_eq!((news.session_id, partitions(&news)), (id, vec![1]));
    let again = fetch(&mut bench, (id, 3), &[]);
    assert_eq!(partitions(&again), [1], "records are told until the position moves");
    assert_eq!(partitions(&fetch(&mut bench, (id, 4), &[(&second(), 1)])), [] as [i32; 0]);
}

#[test]
fn a_session_forgets_what_it_is_told_to() {
    let mut bench = bench();
    let id = fetch(&mut bench, (0, 0), &[(&orders(), 0), (&second(), 0)]).session_id;
    bench.produce(1, "a", -1);
    bench.ask(1, produce(&second(), "a", -1));
    assert_eq!(partitions(&fetch_forgetting(&mut bench, (id, 1), &[], &[0])), [1]);
    let nothing = fetch_forgetting(&mut bench, (id, 2), &[], &[1]);
    assert_eq!((nothing.error_code, nothing.session_id), (0, 0), "an empty session ends");
}

#[test]
fn a_partition_with_an_error_is_told_each_time_and_in_full_when_it_is_well_again() {
    let mut bench = bench();
    let id = fetch(&mut bench, (0, 0), &[(&orders(), 0)]).session_id;
    assert_eq!(partitions(&fetch(&mut bench, (id, 1), &[(&orders(), 7)])), [0]);
    assert_eq!(partitions(&fetch(&mut bench, (id, 2), &[])), [0]);
    assert_eq!(partitions(&fetch(&mut bench, (id, 3), &[(&orders(), 0)])), [0]);
    assert_eq!(partitions(&fetch(&mut bench, (id, 4), &[])), [] as [i32; 0]);
}

#[test]
fn records_move_a_partition_behind_the_others() {
    let mut bench = bench();
    bench.produce(1, "a", -1);
    bench.ask(1, produce(&second(), "a", -1));
    let id = fetch(&mut bench, (0, 0), &[(&orders(), 1), (&second(), 1)]).session_id;
    assert_eq!(partitions(&fetch(&mut bench, (id, 1), &[(&orders(), 0)])), [0]);
    assert_eq!(partitions(&fetch(&mut bench, (id, 2), &[(&second(), 0)])), [1, 0]);
}

#[test]
fn a_wrong_epoch_or_id_fails_the_request() {
    let mut bench = bench();
    let id = fetch(&mut bench, (0, 0), &[(&orders(), 0)]).session_id;
    let unknown = fetch(&mut bench, (id.wrapping_add(1), 1), &[]);
    assert_eq!(error_of(unknown.error_code), ErrorCode::FetchSessionIdNotFound);
    let late = fetch(&mut bench, (id, 2), &[]);
    assert_eq!(error_of(late.error_code), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(fetch(&mut bench, (id, 1), &[]).error_code, 0, "the session is still there");
    // A full request ends it and makes another one.
    let other = fetch(&mut bench, (id, 0), &[(&orders(), 0)]).session_id;
    assert_ne!(other, id);
    assert_eq!(error_of(fetch(&mut bench, (id, 2), &[]).error_code), ErrorCode::FetchSessionIdNotFound);
    // The last one of a session answers without one.
    let last = fetch(&mut bench, (other, -1), &[(&orders(), 0)]);
    assert_eq!((last.session_id, partitions(&last)), (0, vec![0]));
    assert_eq!(error_of(fetch(&mut bench, (other, 1), &[]).error_code), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn without_a_free_slot_a_consumer_gets_no_session_and_a_follower_takes_a_consumers() {
    let mut bench = Bench::with(3, &[], &|config| config.max_incremental_fetch_session_cache_slots = 1);
    bench.elect(&State::new(1, 0).replicas(&[1]).isr(&[1]));
    let first = fetch(&mut bench, (0, 0), &[(&orders(), 0)]).session_id;
    assert_ne!(first, 0);
    assert_eq!(fetch(&mut bench, (0, 0), &[(&orders(), 0)]).session_id, 0, "there is no room");
    let follower = FetchRequest::default()
        .with_replica_id(2.into())
        .with_max_bytes(1 << 20)
        .with_session_epoch(0)
        .with_topics(vec![fetch_of(&orders(), 0, -1)]);
    let number = bench.ask(1, follower);
    let Response::Fetch(response) = bench.response(1, number) else { panic!("a fetch is answered by a fetch") };
    assert_ne!(response.session_id, 0, "followers are privileged");
    assert_eq!(error_of(fetch(&mut bench, (first, 1), &[]).error_code), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(fetch(&mut bench, (0, 0), &[(&orders(), 0)]).session_id, 0, "a consumer does not take a follower's");
}
