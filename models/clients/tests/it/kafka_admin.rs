//! Admins: topics by the API and by znode.

use std::collections::{BTreeMap, BTreeSet};

use clients::kafka::{CreateTopicsBy, KafkaClientMark, KafkaWorkFact, NewTopic};
use kafkawire::znode::{self, TopicAssignment, TopicConfig};
use kafkawire::{ApiKey, BrokerId, ErrorCode, Topic};
use machine::Span;

use crate::kafka_bench::{KafkaBench, TOPIC};
use crate::kafka_images::{admin, zk_config};

fn topic(replication_factor: i16) -> NewTopic {
    NewTopic {
        name: Topic::from(TOPIC),
        partitions: 6,
        replication_factor,
        assignment: BTreeMap::new(),
        config: BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]),
    }
}

fn is_ready(bench: &KafkaBench, at: usize) -> bool {
    let told = bench.count(at, |fact| matches!(fact, KafkaWorkFact::TopicsReady { topics: 1, .. }));
    assert_eq!(told == 1, bench.client(at).is_ready());
    told == 1
}

#[test]
fn topic_is_created_by_the_controller_once_all_brokers_are_there() {
    let mut bench = KafkaBench::new(6);
    bench.topic_exists = false;
    bench.set_broker(3, false);
    let at = bench.start(admin(CreateTopicsBy::Api, vec![topic(3)]));
    bench.run(Span::secs(2));
    assert!(!bench.arrived.contains_key(&ApiKey::CreateTopics));
    assert!(bench.client(at).pending().unwrap().contains("2 brokers of 3"));
    bench.set_broker(3, true);
    bench.create_answers.extend([ErrorCode::InvalidReplicationFactor, ErrorCode::None]);
    bench.run_until(|bench| is_ready(bench, at));
    assert_eq!(bench.client(at).pending(), None);
    assert_eq!(bench.arrived[&ApiKey::CreateTopics], 2);
    let before = bench.arrived.clone();
    bench.run(Span::secs(5));
    assert_eq!(bench.arrived, before, "it rests");
}

#[test]
fn broker_that_is_not_the_controller_makes_the_admin_ask_who_is() {
    let mut bench = KafkaBench::new(6);
    bench.topic_exists = false;
    let at = bench.start(admin(CreateTopicsBy::Api, vec![topic(3)]));
    bench.create_answers.push_back(ErrorCode::NotController);
    bench.run_until(|bench| bench.arrived.get(&ApiKey::CreateTopics) == Some(&1));
    bench.controller = 2;
    bench.run_until(|bench| is_ready(bench, at));
}

#[test]
fn topic_that_is_there_already_is_ready_when_it_has_leaders() {
    let mut bench = KafkaBench::new(6);
    bench.parts.get_mut(&4).unwrap().leader = -1;
    bench.create_answers.extend([ErrorCode::RequestTimedOut, ErrorCode::TopicAlreadyExists]);
    let at = bench.start(admin(CreateTopicsBy::Api, vec![topic(3)]));
    bench.run(Span::secs(2));
    assert!(bench.reached(at, KafkaClientMark::TopicExists));
    assert!(!is_ready(&bench, at));
    bench.elect(4, 2);
    bench.run_until(|bench| is_ready(bench, at));
}

#[test]
fn tool_writes_settings_and_assignment_and_waits_for_leaders() {
    let mut bench = KafkaBench::new(6);
    let at = bench.start(admin(CreateTopicsBy::Znode(zk_config()), vec![topic(2)]));
    bench.run(Span::secs(1));
    bench.put("/brokers/topics", bytes::Bytes::new());
    bench.put("/config/topics", bytes::Bytes::new());
    for id in 1..=3 {
        assert_eq!(bench.data(&znode::topic(&Topic::from(TOPIC))), None);
        bench.register_broker(id);
    }
    bench.run(Span::secs(1));
    let config = bench.data(&znode::topic_config(&Topic::from(TOPIC))).unwrap();
    assert_eq!(TopicConfig::decode(&config).unwrap().config, topic(2).config);
    let assignment = bench.data(&znode::topic(&Topic::from(TOPIC))).unwrap();
    let assignment = TopicAssignment::decode(&assignment).unwrap().partitions;
    assert_eq!(assignment.len(), 6);
    for replicas in assignment.values() {
        assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 2);
    }
    let leads = |broker| assignment.values().filter(|replicas| replicas[0] == BrokerId(broker)).count();
    assert_eq!((leads(1), leads(2), leads(3)), (2, 2, 2));
    assert!(!is_ready(&bench, at));
    for partition in 0..6 {
        bench.write_state(partition);
    }
    bench.run_until(|bench| is_ready(bench, at));
}

#[test]
fn assignment_that_is_given_is_written_as_it_is() {
    let mut bench = KafkaBench::new(2);
    bench.put("/brokers/topics", bytes::Bytes::new());
    bench.put("/config/topics", bytes::Bytes::new());
    for id in 1..=3 {
        bench.register_broker(id);
    }
    let given = BTreeMap::from([(0, vec![BrokerId(3), BrokerId(1)]), (1, vec![BrokerId(1), BrokerId(2)])]);
    let new = NewTopic { assignment: given.clone(), ..topic(2) };
    bench.start(admin(CreateTopicsBy::Znode(zk_config()), vec![new]));
    bench.run(Span::secs(1));
    let assignment = bench.data(&znode::topic(&Topic::from(TOPIC))).unwrap();
    assert_eq!(TopicAssignment::decode(&assignment).unwrap().partitions, given);
}
