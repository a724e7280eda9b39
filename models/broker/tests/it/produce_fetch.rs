//! From a producer to a consumer through real brokers (kafka-broker.md App. A3).

use bytes::Bytes;
use kafkawire::messages::fetch_request::{FetchPartition, FetchTopic};
use kafkawire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafkawire::messages::{self, FetchRequest, ProduceRequest};
use kafkawire::{ErrorCode, NewBatch, Request, Response, Topic, Wire, batches};
use machine::Span;

use crate::bench::Bench;

pub(crate) fn produce(topic: &str, partition: i32, acks: i16, value: &str) -> Request {
    let records: [(Option<&[u8]>, &[u8]); 1] = [(None, value.as_bytes())];
    let batch = NewBatch {
        records: &records,
        timestamp: 1_700_000_000_000,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
    }
    .encode();
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(Topic::from(topic).wire()).with_partition_data(vec![data]);
    Request::Produce(
        ProduceRequest::default().with_acks(acks).with_timeout_ms(5000).with_topic_data(vec![topic]).into(),
    )
}

pub(crate) fn fetch(topic: &str, partition: i32, from: i64) -> Request {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(from)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(Topic::from(topic).wire()).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_id(messages::BrokerId(-1))
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    Request::Fetch(request.into())
}

#[track_caller]
pub(crate) fn produced(answer: &Response) -> (ErrorCode, i64) {
    let Response::Produce(answer) = answer else { panic!("{answer:?}") };
    let partition = &answer.responses[0].partition_responses[0];
    (ErrorCode::from_code(partition.error_code).unwrap(), partition.base_offset)
}

/// The values of the records that a consumer is given.
#[track_caller]
pub(crate) fn fetched(answer: &Response) -> Vec<String> {
    let Response::Fetch(answer) = answer else { panic!("{answer:?}") };
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::None.code());
    let records: Bytes = partition.records.clone().unwrap_or_default();
    let decoded = batches(&records).map(|batch| batch.unwrap().records().unwrap());
    let values = decoded.flatten().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    values.collect()
}

fn leader(bench: &Bench, topic: &str) -> usize {
    let broker = (1..=3).find(|&broker| bench.is_up(broker)).unwrap();
    let leader = bench.broker(broker).cache().topics[topic][&0].leader.expect("it has a leader");
    usize::try_from(leader.0).unwrap()
}

fn replicated(wire: Wire) -> (Bench, usize) {
    let mut bench = Bench::running(3, |_, image| image.wire = wire);
    let controller = (1..=3).find(|&broker| bench.broker(broker).controller().is_active()).unwrap();
    let client = bench.connect(controller);
    bench.ask(client, crate::topics::create("t", 1, 3));
    bench.run(Span::secs(1));
    let client = bench.connect(leader(&bench, "t"));
    (bench, client)
}

#[test]
fn one_broker_gives_back_what_it_was_given() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    bench.ask(client, crate::topics::create("t", 1, 1));
    for (at, value) in ["a", "b", "c"].into_iter().enumerate() {
        let answer = bench.ask(client, produce("t", 0, -1, value));
        assert_eq!(produced(&answer), (ErrorCode::None, i64::try_from(at).unwrap()));
    }
    assert_eq!(fetched(&bench.ask(client, fetch("t", 0, 0))), ["a", "b", "c"]);
    assert_eq!(fetched(&bench.ask(client, fetch("t", 0, 2))), ["c"]);
}

#[test]
fn acknowledged_record_is_on_every_replica() {
    for wire in [Wire::Values, Wire::Bytes] {
        let (mut bench, client) = replicated(wire);
        let answer = bench.ask(client, produce("t", 0, -1, "a"));
        assert_eq!(produced(&answer), (ErrorCode::None, 0));
        for broker in 1..=3 {
            let tp = kafkawire::TopicPartition::new("t", 0);
            let log = bench.broker(broker).replicas().unwrap().log(&tp).expect("a replica");
            assert_eq!(log.log_end().0, 1, "broker {broker}");
        }
        assert_eq!(fetched(&bench.ask(client, fetch("t", 0, 0))), ["a"]);
    }
}

#[test]
fn acknowledged_records_survive_the_leader() {
    let (mut bench, client) = replicated(Wire::Values);
    for value in ["a", "b"] {
        assert_eq!(produced(&bench.ask(client, produce("t", 0, -1, value))).0, ErrorCode::None);
    }
    let old = leader(&bench, "t");
    bench.kill(old);
    bench.until(Span::secs(30), "another leads", |bench| {
        let other = (1..=3).find(|&broker| bench.is_up(broker)).unwrap();
        bench.broker(other).cache().topics["t"][&0].leader.is_some_and(|id| usize::try_from(id.0).unwrap() != old)
    });
    bench.run(Span::secs(2));
    let new = leader(&bench, "t");
    let client = bench.connect(new);
    assert_eq!(produced(&bench.ask(client, produce("t", 0, -1, "c"))), (ErrorCode::None, 2));
    assert_eq!(fetched(&bench.ask(client, fetch("t", 0, 0))), ["a", "b", "c"]);
    // The old leader comes back, and catches up.
    bench.boot(old);
    bench
        .until(Span::secs(60), "it is in sync again", |bench| bench.broker(new).cache().topics["t"][&0].isr.len() == 3);
    let tp = kafkawire::TopicPartition::new("t", 0);
    assert_eq!(bench.broker(old).replicas().unwrap().log(&tp).unwrap().log_end().0, 3);
}

#[test]
fn unacknowledged_produce_is_answered_with_nothing_and_a_refused_one_costs_the_connection() {
    let (mut bench, client) = replicated(Wire::Values);
    bench.send(client, produce("t", 0, 0, "a"));
    bench.run(Span::secs(1));
    assert_eq!(bench.responses(client).len(), 0);
    assert_eq!(fetched(&bench.ask(client, fetch("t", 0, 0))), ["a"], "the connection goes on");
    bench.send(client, produce("unknown", 0, 0, "b"));
    bench.run(Span::secs(1));
    assert!(bench.is_lost(client));
}

#[test]
fn same_cluster_says_the_same_however_messages_are_carried() {
    let facts = |wire| {
        let (mut bench, client) = replicated(wire);
        bench.ask(client, produce("t", 0, -1, "a"));
        bench.run(Span::secs(2));
        bench.facts
    };
    assert_eq!(facts(Wire::Values), facts(Wire::Bytes));
}

#[test]
fn tail_of_an_isolated_leader_is_cut_off_when_it_comes_back() {
    let (mut bench, client) = replicated(Wire::Values);
    assert_eq!(produced(&bench.ask(client, produce("t", 0, -1, "a"))).0, ErrorCode::None);
    bench.run(Span::secs(1));
    let old = leader(&bench, "t");
    for other in (0..=3).filter(|&other| other != old) {
        bench.cut(old, other);
    }
    // It does not know better, and nothing was promised.
    assert_eq!(produced(&bench.ask(client, produce("t", 0, 1, "x"))), (ErrorCode::None, 1));
    let is_old = |bench: &Bench, broker: usize| {
        bench.broker(broker).cache().topics["t"][&0].leader.is_some_and(|id| usize::try_from(id.0).unwrap() == old)
    };
    let witness = old % 3 + 1;
    bench.until(Span::secs(40), "another leads", |bench| !is_old(bench, witness));
    bench.run(Span::secs(1));
    let new = usize::try_from(bench.broker(witness).cache().topics["t"][&0].leader.unwrap().0).unwrap();
    let client = bench.connect(new);
    assert_eq!(produced(&bench.ask(client, produce("t", 0, -1, "b"))), (ErrorCode::None, 1));
    for other in (0..=3).filter(|&other| other != old) {
        bench.heal(old, other);
    }
    bench
        .until(Span::secs(60), "it is in sync again", |bench| bench.broker(new).cache().topics["t"][&0].isr.len() == 3);
    assert!(bench.fact_kinds(old).contains(&"log-truncated"));
    assert_eq!(fetched(&bench.ask(client, fetch("t", 0, 0))), ["a", "b"]);
}

/// A broker alone loses its power; what it answers to produces before, and what it has afterwards.
#[track_caller]
fn after_power_loss(flush_messages: Option<&'static str>) -> Vec<String> {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    let own = flush_messages.map(|value| ("flush.messages", value));
    bench.ask(client, crate::topics::create_with("t", 1, 1, own));
    // The directory and the first segment outlive the loss of power; what is appended since is in question.
    bench.run(Span::secs(120));
    for value in ["a", "b"] {
        assert_eq!(produced(&bench.ask(client, produce("t", 0, -1, value))).0, ErrorCode::None);
    }
    bench.lose_power(1);
    bench.run(Span::secs(10));
    bench.boot(1);
    bench.until(Span::secs(20), "it leads again", |bench| {
        bench.broker(1).cache().topics.get("t").is_some_and(|t| t[&0].leader.is_some())
    });
    let client = bench.connect(1);
    fetched(&bench.ask(client, fetch("t", 0, 0)))
}

#[test]
fn acknowledged_records_of_a_lone_broker_outlive_its_power_only_if_they_are_flushed() {
    assert_eq!(after_power_loss(None), Vec::<String>::new());
    assert_eq!(after_power_loss(Some("1")), ["a", "b"]);
}
