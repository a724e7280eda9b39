//! The consumer of 0.8: registration, rebalances, claims, session expiry, and its known flaws.

use std::collections::BTreeMap;

use bytes::Bytes;
use clients::kafka::{KafkaClientMark, KafkaWorkFact, ZkConsumerImage};
use kafkawire::{BrokerId, TopicPartition, znode};
use machine::Span;

use crate::kafka_bench::{GROUP, KafkaBench, TOPIC};
use crate::kafka_images::zk_consumer;

fn cluster(partitions: i32) -> KafkaBench {
    let mut bench = KafkaBench::new(partitions);
    bench.write_cluster();
    bench
}

fn owned(bench: &KafkaBench, at: usize) -> Vec<i32> {
    bench.client(at).owned().iter().map(|at| at.partition).collect()
}

/// Partition to owner, as ZooKeeper has it.
fn owners(bench: &mut KafkaBench) -> BTreeMap<i32, String> {
    let names = bench.children(&format!("/consumers/{GROUP}/owners/{TOPIC}"));
    let owner = |name: &String| {
        let path = format!("/consumers/{GROUP}/owners/{TOPIC}/{name}");
        (name.parse().unwrap(), String::from_utf8(bench.data(&path).unwrap().to_vec()).unwrap())
    };
    names.iter().map(owner).collect()
}

fn settled(bench: &KafkaBench, members: &[usize], partitions: usize) -> bool {
    members.iter().all(|&at| bench.client(at).is_ready())
        && members.iter().map(|&at| owned(bench, at).len()).sum::<usize>() == partitions
}

#[test]
fn lone_member_claims_everything_reads_it_and_commits() {
    let mut bench = cluster(4);
    bench.append(0, 0..5);
    let at = bench.start(zk_consumer(1));
    bench.run(Span::secs(3));
    assert_eq!(owned(&bench, at), [0, 1, 2, 3]);
    assert_eq!(bench.consumed(at, 0), (0..5).collect::<Vec<_>>());
    assert_eq!(bench.committed(0), Some(5));
    let owners = owners(&mut bench);
    assert_eq!(owners.len(), 4);
    assert!(owners.values().all(|owner| owner.starts_with("g_client-1-") && owner.ends_with("-0")));
    assert_eq!(bench.client(at).pending(), None);
}

#[test]
fn second_member_gets_its_range_and_nothing_is_read_twice() {
    let mut bench = cluster(5);
    for partition in 0..5 {
        bench.append(partition, 0..10);
    }
    let first = bench.start(zk_consumer(1));
    bench.run(Span::secs(3));
    let second = bench.start(zk_consumer(2));
    bench.run_until(|bench| settled(bench, &[first, second], 5));
    assert_eq!((owned(&bench, first), owned(&bench, second)), (vec![0, 1, 2], vec![3, 4]));
    for partition in 0..5 {
        bench.append(partition, 10..12);
    }
    bench.run(Span::secs(2));
    for partition in 0..5 {
        let mut read = bench.consumed(first, partition);
        read.extend(bench.consumed(second, partition));
        assert_eq!(read, (0..12).collect::<Vec<_>>(), "partition {partition}");
    }
    assert_eq!(bench.count(first, |fact| matches!(fact, KafkaWorkFact::PartitionRevoked { why: "rebalance", .. })), 5);
}

#[test]
fn partitions_of_a_member_that_leaves_or_dies_are_taken_over() {
    for dies in [false, true] {
        let mut bench = cluster(4);
        let members = [bench.start(zk_consumer(1)), bench.start(zk_consumer(2))];
        bench.run_until(|bench| settled(bench, &members, 4));
        if dies {
            bench.pause(members[0], true);
        } else {
            bench.terminate(members[0]);
            bench.run_until(|bench| bench.exit(members[0]) == Some(0));
        }
        bench.run_until(|bench| owned(bench, members[1]).len() == 4);
    }
}

#[test]
fn claim_that_meets_anothers_is_rolled_back_and_tried_again() {
    let mut bench = cluster(2);
    let path = znode::consumer_owner(GROUP, &TopicPartition::new(TOPIC, 1));
    bench.put(&path, Bytes::from_static(b"somebody-0"));
    let at = bench.start(zk_consumer(1));
    bench.run_until(|bench| bench.reached(at, KafkaClientMark::ClaimRefused));
    bench.run(Span::millis(100));
    assert_eq!(owners(&mut bench).len(), 1, "what it had claimed is released");
    assert_eq!(bench.count(at, |fact| matches!(fact, KafkaWorkFact::ClaimRefused { partition: 1, .. })), 1);
    bench.remove(&path);
    bench.run_until(|bench| settled(bench, &[at], 2));
    let finished =
        |fact: &KafkaWorkFact| matches!(fact, KafkaWorkFact::RebalanceFinished { attempts: 2, partitions: 2, .. });
    assert_eq!(bench.count(at, finished), 1);
}

#[test]
fn member_gives_up_behind_its_retries_until_something_changes() {
    let mut bench = cluster(2);
    let path = znode::consumer_owner(GROUP, &TopicPartition::new(TOPIC, 1));
    bench.put(&path, Bytes::from_static(b"somebody-0"));
    let at = bench.start(ZkConsumerImage { rebalance_max_retries: 3, ..zk_consumer(1) });
    bench.run(Span::secs(5));
    assert_eq!(bench.count(at, |fact| matches!(fact, KafkaWorkFact::RebalanceFailed { attempts: 3, .. })), 1);
    assert_eq!(bench.count(at, |fact| matches!(fact, KafkaWorkFact::RebalanceBegun { .. })), 3);
    assert!(owned(&bench, at).is_empty() && bench.client(at).pending().unwrap().contains("gave up"));
    bench.remove(&path);
    bench.run(Span::secs(5));
    assert!(owned(&bench, at).is_empty(), "nobody tells it");
    let other = bench.start(zk_consumer(2));
    bench.run_until(|bench| settled(bench, &[at, other], 2));
}

#[test]
fn fetchers_go_on_while_the_session_is_lost_and_a_new_session_registers_and_rebalances() {
    let mut bench = cluster(2);
    bench.append(0, 0..3);
    let at = bench.start(zk_consumer(1));
    bench.run(Span::secs(3));
    let ids = format!("/consumers/{GROUP}/ids");
    let first = bench.children(&ids);
    bench.cut_zookeeper(true);
    bench.run(Span::secs(15));
    bench.append(0, 3..6);
    bench.run(Span::secs(1));
    assert_eq!(bench.consumed(at, 0), (0..6).collect::<Vec<_>>(), "its session has expired, and it reads");
    bench.cut_zookeeper(false);
    let begun = |bench: &KafkaBench| {
        bench.count(at, |fact| matches!(fact, KafkaWorkFact::RebalanceBegun { why: "session-expired", .. }))
    };
    bench.run_until(|bench| begun(bench) == 1 && settled(bench, &[at], 2));
    assert_eq!(bench.children(&ids), first, "the same id in another session");
    let revoked = |fact: &KafkaWorkFact| matches!(fact, KafkaWorkFact::PartitionRevoked { why: "session-expired", .. });
    assert_eq!(bench.count(at, revoked), 2);
    bench.run(Span::secs(3));
    assert_eq!(bench.committed(0), Some(6));
}

#[test]
fn commit_of_a_zombie_overwrites_its_successors() {
    let mut bench = cluster(1);
    bench.append(0, 0..3);
    let zombie = bench.start(zk_consumer(1));
    bench.run(Span::secs(3));
    assert_eq!(bench.committed(0), Some(3));
    // It reads two more, and its commit meets a connection that is gone.
    bench.cut_zookeeper(true);
    bench.append(0, 3..5);
    bench.run(Span::secs(15));
    let path = znode::consumer_offset(GROUP, &TopicPartition::new(TOPIC, 0));
    bench.put(&path, znode::encode_offset(kafkawire::Offset(100)));
    bench.cut_zookeeper(false);
    bench.run_until(|bench| bench.client(zombie).is_ready());
    bench.run(Span::secs(2));
    assert_eq!(bench.committed(0), Some(5));
}

#[test]
fn registration_of_an_earlier_session_is_waited_for() {
    let mut bench = cluster(1);
    let at = bench.start(zk_consumer(1));
    bench.run(Span::secs(2));
    let ids = format!("/consumers/{GROUP}/ids");
    let id = bench.children(&ids).remove(0);
    bench.cut_zookeeper(true);
    bench.run(Span::secs(20));
    // What an earlier session left, as far as the next one can see.
    let path = format!("{ids}/{id}");
    bench.put(&path, Bytes::from_static(b"{}"));
    bench.cut_zookeeper(false);
    bench.run_until(|bench| bench.reached(at, KafkaClientMark::RegistrationConflict));
    assert!(bench.client(at).pending().unwrap().contains("not registered"));
    bench.remove(&path);
    bench.run_until(|bench| settled(bench, &[at], 1));
}

#[test]
fn topic_that_comes_later_is_claimed_when_it_comes() {
    let mut bench = KafkaBench::new(2);
    let at = bench.start(zk_consumer(1));
    bench.run(Span::secs(2));
    assert!(owned(&bench, at).is_empty());
    for id in 1..=3 {
        bench.register_broker(id);
    }
    bench.run(Span::secs(1));
    bench.write_cluster();
    bench.run_until(|bench| settled(bench, &[at], 2));
}

#[test]
fn leader_that_moves_is_found_behind_the_backoff() {
    let mut bench = cluster(1);
    bench.append(0, 0..3);
    let at = bench.start(zk_consumer(1));
    bench.run(Span::secs(2));
    bench.elect(0, 2);
    bench.set_broker(1, false);
    bench.append(0, 3..5);
    bench.run(Span::secs(3));
    assert_eq!(bench.consumed(at, 0), (0..5).collect::<Vec<_>>());
    assert!(!bench.arrived.contains_key(&kafkawire::ApiKey::OffsetForLeaderEpoch), "it validates nothing");
}

#[test]
fn who_leads_is_asked_of_whom_zookeeper_names() {
    let mut bench = cluster(1);
    for broker in [2, 3] {
        bench.remove(&znode::broker_id(BrokerId(broker)));
        bench.set_broker(broker, false);
    }
    bench.append(0, 0..3);
    let at = bench.start(zk_consumer(1));
    bench.run(Span::secs(2));
    assert_eq!(bench.consumed(at, 0), [0, 1, 2]);
    // The only broker that metadata ever named is gone for good.
    bench.remove(&znode::broker_id(BrokerId(1)));
    bench.set_broker(1, false);
    bench.set_broker(2, true);
    bench.elect(0, 2);
    bench.append(0, 3..5);
    bench.run(Span::secs(3));
    assert_eq!(bench.consumed(at, 0), [0, 1, 2], "nobody is registered");
    bench.register_broker(2);
    bench.run(Span::secs(3));
    assert_eq!(bench.consumed(at, 0), (0..5).collect::<Vec<_>>());
}
