//! Creation of topics and what Metadata tells of them (kafka-broker.md §4.7, App. A2, App. B).

use std::sync::Arc;

use kafkawire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use kafkawire::messages::metadata_request::MetadataRequestTopic;
use kafkawire::messages::{self, CreateTopicsRequest, MetadataRequest, MetadataResponse};
use kafkawire::znode::{TopicAssignment, TopicConfig};
use kafkawire::{ApiKey, ErrorCode, Request, Response, Topic};
use machine::Span;

use crate::bench::Bench;

fn wanted(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(Topic::from(name).wire())
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

fn create_all(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(5000)
}

/// A CreateTopics of one topic that waits five seconds.
pub(crate) fn create(name: &str, partitions: i32, replicas: i16) -> Request {
    Request::CreateTopics(create_all(vec![wanted(name, partitions, replicas)]).into())
}

/// The same, with a setting of the topic's own.
pub(crate) fn create_with(
    name: &str,
    partitions: i32,
    replicas: i16,
    own: Option<(&'static str, &'static str)>,
) -> Request {
    let own =
        own.map(|(key, value)| CreatableTopicConfig::default().with_name(key.into()).with_value(Some(value.into())));
    let topic = wanted(name, partitions, replicas).with_configs(own.into_iter().collect());
    Request::CreateTopics(create_all(vec![topic]).into())
}

pub(crate) fn metadata_of(names: &[&str], creates: bool) -> Request {
    let topics = names.iter().map(|&name| MetadataRequestTopic::default().with_name(Some(Topic::from(name).wire())));
    let request =
        MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(creates);
    Request::Metadata(request.into())
}

/// The codes of the topics of an answer, in order.
#[track_caller]
fn codes(answer: &Response) -> Vec<ErrorCode> {
    let code = |code| ErrorCode::from_code(code).expect("a code of Kafka's");
    match answer {
        Response::CreateTopics(answer) => answer.topics.iter().map(|topic| code(topic.error_code)).collect(),
        Response::Metadata(answer) => answer.topics.iter().map(|topic| code(topic.error_code)).collect(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(request: CreateTopicsRequest, expected: ErrorCode) -> Bench {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    let answer = bench.ask(client, Request::CreateTopics(request.into()));
    assert_eq!(codes(&answer), [expected], "{answer:?}");
    bench
}

fn metadata(bench: &mut Bench, client: usize, names: &[&str], creates: bool) -> Arc<MetadataResponse> {
    let Response::Metadata(answer) = bench.ask(client, metadata_of(names, creates)) else { panic!("another response") };
    answer
}

#[test]
fn created_topic_has_two_znodes_and_leaders_when_it_is_answered() {
    let mut bench = Bench::running(3, |_, _| {});
    bench.run(Span::secs(1));
    bench.records = true;
    let client = bench.connect(1);
    let answer = bench.ask(client, create_with("orders", 6, 3, Some(("min.insync.replicas", "2"))));
    assert_eq!(codes(&answer), [ErrorCode::None]);
    let Response::CreateTopics(answer) = answer else { unreachable!() };
    assert_eq!((answer.topics[0].num_partitions, answer.topics[0].replication_factor), (6, 3));
    let written: Vec<String> =
        bench.zk_requests(1).into_iter().filter(|line| line.contains("orders")).take(5).collect();
    let expected = [
        "exists /admin/delete_topics/orders",
        "exists /brokers/topics/orders",
        "setData /config/topics/orders v-1",
        "create /config/topics/orders",
        "create /brokers/topics/orders",
    ];
    assert_eq!(written, expected);
    let config = TopicConfig::decode(&bench.znode("/config/topics/orders").unwrap()).unwrap();
    assert_eq!(config.config.get("min.insync.replicas").map(String::as_str), Some("2"));
    let assignment = TopicAssignment::decode(&bench.znode("/brokers/topics/orders").unwrap()).unwrap();
    assert_eq!(assignment.partitions.len(), 6);
    let answer = metadata(&mut bench, client, &["orders"], false);
    for partition in &answer.topics[0].partitions {
        let replicas = &assignment.partitions[&partition.partition_index];
        assert_eq!(partition.error_code, ErrorCode::None.code());
        assert_eq!(partition.leader_id, replicas[0].wire(), "the first replica leads");
        assert_eq!(partition.isr_nodes, replicas.iter().map(|id| id.wire()).collect::<Vec<_>>());
    }
    assert_eq!(answer.brokers.len(), 3);
    assert_eq!(answer.controller_id, messages::BrokerId(1));
    assert_eq!(answer.cluster_id.as_ref().map(|id| id.len()), Some(22));
}

#[test]
fn creation_without_a_timeout_times_out_and_takes_place() {
    let mut bench = check(create_all(vec![wanted("t", 1, 1)]).with_timeout_ms(0), ErrorCode::RequestTimedOut);
    bench.run(Span::secs(1));
    let client = bench.connect(1);
    assert_eq!(metadata(&mut bench, client, &["t"], false).topics[0].partitions[0].error_code, 0);
}

#[test]
fn creation_that_gets_no_leader_in_time_times_out() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    // Nobody there leads: broker 7 does not exist.
    let given = CreatableReplicaAssignment::default().with_broker_ids(vec![messages::BrokerId(7)]);
    let request = create_all(vec![wanted("t", -1, -1).with_assignments(vec![given])]).with_timeout_ms(300);
    let before = bench.now();
    let answer = bench.ask(client, Request::CreateTopics(request.into()));
    assert_eq!(codes(&answer), [ErrorCode::RequestTimedOut]);
    assert!(bench.now() >= before + Span::millis(300));
}

#[test]
fn validation_alone_writes_nothing() {
    let bench = check(create_all(vec![wanted("t", 1, 1)]).with_validate_only(true), ErrorCode::None);
    assert_eq!(bench.znode("/brokers/topics/t"), None);
    assert_eq!(bench.znode("/config/topics/t"), None);
}

#[test]
fn what_cannot_be_created_is_refused_with_its_code() {
    let one = |topic| create_all(vec![topic]);
    check(one(wanted("t", 0, 1)), ErrorCode::InvalidPartitions);
    check(one(wanted("t", 1, 0)), ErrorCode::InvalidReplicationFactor);
    check(one(wanted("t", 1, 2)), ErrorCode::InvalidReplicationFactor);
    check(one(wanted("a b", 1, 1)), ErrorCode::InvalidTopic);
    let given = |partition| {
        CreatableReplicaAssignment::default()
            .with_partition_index(partition)
            .with_broker_ids(vec![messages::BrokerId(1)])
    };
    check(one(wanted("t", 1, 1).with_assignments(vec![given(0)])), ErrorCode::InvalidRequest);
    check(one(wanted("t", -1, -1).with_assignments(vec![given(1)])), ErrorCode::InvalidReplicaAssignment);
    let own = |name: &'static str, value: Option<&'static str>| {
        let own = CreatableTopicConfig::default().with_name(name.into()).with_value(value.map(Into::into));
        wanted("t", 1, 1).with_configs(vec![own])
    };
    check(one(own("no.such.key", Some("1"))), ErrorCode::InvalidConfig);
    check(one(own("min.insync.replicas", Some("none"))), ErrorCode::InvalidConfig);
    check(one(own("min.insync.replicas", None)), ErrorCode::InvalidConfig);
    check(one(own("retention.ms", Some("1000"))), ErrorCode::None);
}

#[test]
fn names_that_exist_collide_or_come_twice_are_refused() {
    let mut bench = Bench::running(1, |_, _| {});
    let client = bench.connect(1);
    assert_eq!(codes(&bench.ask(client, create("a.b", 1, 1))), [ErrorCode::None]);
    assert_eq!(codes(&bench.ask(client, create("a.b", 1, 1))), [ErrorCode::TopicAlreadyExists]);
    assert_eq!(codes(&bench.ask(client, create("a_b", 1, 1))), [ErrorCode::InvalidTopic]);
    let twice = create_all(vec![wanted("t", 1, 1), wanted("t", 2, 1), wanted("u", 1, 1)]);
    let answer = bench.ask(client, Request::CreateTopics(twice.into()));
    assert_eq!(codes(&answer), [ErrorCode::InvalidRequest, ErrorCode::None]);
}

#[test]
fn topic_that_is_being_deleted_exists() {
    let mut bench = Bench::running(1, |_, image| Arc::make_mut(&mut image.config).auto_create_topics_enable = false);
    bench.zk_create("/admin/delete_topics/t", b"");
    let client = bench.connect(1);
    assert_eq!(codes(&bench.ask(client, create("t", 1, 1))), [ErrorCode::TopicAlreadyExists]);
}

#[test]
fn topic_asked_about_is_created_and_has_a_leader_later() {
    let mut bench = Bench::running(2, |_, image| Arc::make_mut(&mut image.config).num_partitions = 3);
    let other = if bench.broker(1).controller().is_active() { 2 } else { 1 };
    bench.run(Span::secs(1));
    let client = bench.connect(other);
    let answer = metadata(&mut bench, client, &["t", "."], true);
    let codes: Vec<(&str, i16)> =
        answer.topics.iter().map(|topic| (topic.name.as_ref().unwrap().as_str(), topic.error_code)).collect();
    let expected = [(".", ErrorCode::InvalidTopic.code()), ("t", ErrorCode::LeaderNotAvailable.code())];
    assert_eq!(codes, expected, "a broker that is not the controller creates it as well");
    bench.run(Span::secs(1));
    let answer = metadata(&mut bench, client, &["t"], true);
    assert_eq!(answer.topics[0].partitions.len(), 3);
    assert!(answer.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
}

#[test]
fn topic_asked_about_is_not_created_unless_both_sides_allow_it() {
    for (client_allows, broker_allows) in [(false, true), (true, false)] {
        let mut bench = Bench::running(1, |_, image| {
            Arc::make_mut(&mut image.config).auto_create_topics_enable = broker_allows;
        });
        let client = bench.connect(1);
        let answer = metadata(&mut bench, client, &["t"], client_allows);
        assert_eq!(answer.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
        assert_eq!(bench.znode("/brokers/topics/t"), None);
    }
}

#[test]
fn partition_without_a_live_leader_is_told_so() {
    let mut bench = Bench::running(2, |_, _| {});
    bench.run(Span::secs(1));
    let controller = if bench.broker(1).controller().is_active() { 1 } else { 2 };
    let other = 3 - controller;
    let client = bench.connect(controller);
    let alone = messages::BrokerId(i32::try_from(other).unwrap());
    let given = CreatableReplicaAssignment::default().with_broker_ids(vec![alone]);
    let request = create_all(vec![wanted("t", -1, -1).with_assignments(vec![given])]);
    assert_eq!(codes(&bench.ask(client, Request::CreateTopics(request.into()))), [ErrorCode::None]);
    bench.kill(other);
    bench.run(Span::secs(10));
    let answer = metadata(&mut bench, client, &["t"], false);
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::LeaderNotAvailable.code());
    assert_eq!(partition.leader_id, messages::BrokerId(-1));
    assert_eq!(partition.isr_nodes, [alone], "the last of the ISR stays");
    assert_eq!(answer.brokers.len(), 1);
}

#[test]
fn every_replica_is_told_to_lead_or_follow_before_anybody_is_told_who_leads() {
    let mut bench = Bench::running(3, |_, _| {});
    bench.run(Span::secs(1));
    let controller = (1..=3).find(|&broker| bench.broker(broker).controller().is_active()).unwrap();
    let client = bench.connect(controller);
    bench.records = true;
    bench.ask(client, create("t", 1, 3));
    for broker in 1..=3 {
        let control = bench.rpcs().into_iter().filter(|(from, to, _)| (*from, *to) == (controller, broker));
        let apis: Vec<ApiKey> =
            control.map(|(_, _, request)| request.api()).filter(|api| *api != ApiKey::Fetch).collect();
        assert_eq!(apis[..2], [ApiKey::LeaderAndIsr, ApiKey::UpdateMetadata], "to broker {broker}");
    }
}
