//! Controllers in whole brokers on a real server: whatever happens, in the end everybody agrees with ZooKeeper (KA-I10).

use broker::Broker;
use kafkawire::znode::{self, PartitionState};
use kafkawire::{BrokerId, Topic, TopicPartition};
use machine::{Draw, Purpose, RunKey, Span};

use crate::bench::{Bench, ZOOKEEPER};
use crate::controller_bench::assignment;

const BROKERS: usize = 3;
const SEEDS: u64 = 10;

fn id(broker: usize) -> BrokerId {
    BrokerId(i32::try_from(broker).expect("few brokers"))
}

fn create_topic(bench: &mut Bench, topic: &str, replicas: &[&[i32]]) {
    bench.zk_create(&znode::topic(&Topic::from(topic)), &assignment(replicas).encode());
}

fn active(bench: &Bench) -> Vec<usize> {
    let up = (1..=BROKERS).filter(|&broker| bench.is_up(broker));
    up.filter(|&broker| bench.broker(broker).controller().is_active()).collect()
}

fn state(bench: &Bench, tp: &TopicPartition) -> Option<PartitionState> {
    bench.znode(&znode::partition_state(tp)).map(|data| PartitionState::decode(&data).expect("brokers write states"))
}

/// What is not yet as it should be, in words; nothing if all is well.
fn complaint(bench: &Bench, partitions: &[TopicPartition]) -> Option<String> {
    let [controller] = active(bench)[..] else { return Some(format!("active are {:?}", active(bench))) };
    let controller = bench.broker(controller).controller();
    let context = controller.context();
    if context.live_brokers().len() != BROKERS {
        return Some(format!("live are {:?}", context.live_brokers().keys()));
    }
    if !controller.pending().is_empty() {
        return Some(controller.pending());
    }
    for broker in 1..=BROKERS {
        let registered = bench.broker(broker).identity().epoch;
        if context.broker_epoch(id(broker)) != registered {
            return Some(format!("{broker} is registered as {registered:?}"));
        }
    }
    for tp in partitions {
        let Some(state) = state(bench, tp) else { return Some(format!("{tp} has no state")) };
        let Some(known) = context.leadership(tp) else { return Some(format!("{tp} is not known")) };
        if state.leader.is_none() || (known.leader, known.leader_epoch) != (state.leader, state.leader_epoch) {
            return Some(format!("{tp}: {known:?} is {state:?}"));
        }
        let told = |broker: &Broker| {
            let told = broker.cache().partition(tp);
            told.is_some_and(|told| (told.leader, told.leader_epoch) == (state.leader, state.leader_epoch))
        };
        if let Some(unaware) = (1..=BROKERS).find(|&broker| !told(bench.broker(broker))) {
            return Some(format!("{unaware} was not told of {tp}: {state:?}"));
        }
        if state.isr.len() < BROKERS {
            return Some(format!("{tp} has not everybody in sync: {state:?}"));
        }
    }
    None
}

#[track_caller]
fn settle(bench: &mut Bench, partitions: &[TopicPartition], seed: u64) {
    for _ in 0..120 {
        for broker in 1..=BROKERS {
            bench.heal(broker, ZOOKEEPER);
            if !bench.is_up(broker) {
                bench.boot(broker);
            }
        }
        bench.run(Span::secs(1));
        if (1..=BROKERS).all(|broker| bench.is_up(broker)) && complaint(bench, partitions).is_none() {
            return;
        }
    }
    panic!("seed {seed}: {}", complaint(bench, partitions).unwrap_or_default());
}

/// One thing that may happen to a cluster.
fn strike(bench: &mut Bench, draw: &mut Draw) {
    let broker = draw.index(BROKERS) + 1;
    match draw.below(6) {
        0 | 1 if bench.is_up(broker) => bench.kill(broker),
        0 | 1 => bench.boot(broker),
        2 if bench.is_up(broker) => bench.terminate(broker),
        2 => bench.boot(broker),
        // Long enough for a session to end, or not.
        3 => bench.cut(broker, ZOOKEEPER),
        4 => bench.heal(broker, ZOOKEEPER),
        _ => bench.reset(broker, draw.index(BROKERS + 1)),
    }
}

/// Some twenty things happen to three brokers with twelve partitions.
fn churn(seed: u64) {
    let mut draw = RunKey([seed, 0xC0]).draw(Purpose::new("churn"), 0, seed);
    let mut bench = Bench::running(BROKERS, |_, _| {});
    let replicas: [&[i32]; 12] = std::array::from_fn(|at| [&[1, 2, 3][..], &[2, 3, 1], &[3, 1, 2]][at % 3]);
    create_topic(&mut bench, "t", &replicas);
    let partitions: Vec<TopicPartition> = (0..12).map(|index| TopicPartition::new("t", index)).collect();
    settle(&mut bench, &partitions, seed);
    for _ in 0..20 {
        strike(&mut bench, &mut draw);
        bench.run(draw.between(Span::millis(1), Span::secs(4)));
    }
    settle(&mut bench, &partitions, seed);
}

#[test]
fn everybody_agrees_with_zookeeper_after_kills_expiries_and_lost_connections() {
    for seed in 0..SEEDS {
        churn(seed);
    }
}

#[test]
fn successor_gives_every_partition_of_a_dead_controller_a_leader() {
    let mut bench = Bench::running(BROKERS, |_, _| {});
    create_topic(&mut bench, "t", &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]]);
    let partitions: Vec<TopicPartition> = (0..3).map(|index| TopicPartition::new("t", index)).collect();
    settle(&mut bench, &partitions, 0);
    let [controller] = active(&bench)[..] else { panic!("one is active") };
    bench.kill(controller);
    bench.until(Span::secs(20), "another is ready", |bench| {
        let [successor] = active(bench)[..] else { return false };
        bench.broker(successor).controller().pending().is_empty()
    });
    for tp in &partitions {
        let state = state(&bench, tp).expect("it has a state");
        assert!(state.leader.is_some_and(|leader| leader != id(controller)), "{tp}: {state:?}");
        assert!(!state.isr.contains(&id(controller)), "{tp}: {state:?}");
        assert_eq!(state.controller_epoch.0, 2);
    }
}
