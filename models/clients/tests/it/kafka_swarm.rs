//! All roles at once under drawn faults: nobody panics, every record has one outcome, and behind the faults everything is read.

use std::collections::BTreeSet;

use clients::kafka::{Balance, KafkaWorkFact, ProducerImage};
use kafkawire::{BrokerId, ErrorCode};
use machine::{Draw, Purpose, RunKey, Span};

use crate::kafka_bench::KafkaBench;
use crate::kafka_brokers::Fate;
use crate::kafka_images::{consumer, producer, zk_config, zk_consumer};

const PARTITIONS: i32 = 4;
const FAULTS: Span = Span::secs(40);
const STOP: Span = Span::secs(45);
const PROBE: Span = Span::secs(60);
const SETTLE: Span = Span::secs(100);

struct Swarm {
    bench: KafkaBench,
    producers: Vec<usize>,
    consumer: usize,
    members: Vec<usize>,
}

impl Swarm {
    fn new() -> Self {
        let mut bench = KafkaBench::new(PARTITIONS);
        bench.write_cluster();
        let balances =
            [Balance::Metadata, Balance::ZooKeeper(zk_config()), Balance::FixedBroker(BrokerId(2)), Balance::Metadata];
        let mut producers = Vec::new();
        for (client, balance) in (1..).zip(balances) {
            let keys = if client == 4 { 10 } else { 0 };
            let mut image = ProducerImage { balance, keys, rate_per_second: 20, ..producer(client) };
            image.work.stop_after = Some(STOP);
            image.work.probe_after = Some(PROBE);
            producers.push(bench.start(image));
        }
        let mut image = consumer(11);
        image.group = "assigned".into();
        image.work.stop_after = Some(STOP);
        image.work.probe_after = Some(PROBE);
        let consumer = bench.start(image);
        let member = |client| {
            let mut image = zk_consumer(client);
            image.rebalance_max_retries = 20;
            image.work.stop_after = Some(STOP);
            image.work.probe_after = Some(PROBE);
            image
        };
        let members = (21..23).map(|client| bench.start(member(client))).collect();
        Self { bench, producers, consumer, members }
    }

    fn fault(&mut self, draw: &mut Draw) {
        let bench = &mut self.bench;
        let partition = i32::try_from(draw.below(PARTITIONS.unsigned_abs().into())).unwrap();
        let broker = i32::try_from(1 + draw.below(3)).unwrap();
        match draw.below(10) {
            0 | 1 => {
                let up = bench.brokers[&broker];
                bench.set_broker(broker, !up);
                if up {
                    let others: Vec<i32> = bench.brokers.iter().filter(|(_, up)| **up).map(|(&id, _)| id).collect();
                    for partition in 0..PARTITIONS {
                        if bench.parts[&partition].leader == broker && !others.is_empty() {
                            bench.elect(partition, others[draw.index(others.len())]);
                            bench.write_state(partition);
                        }
                    }
                }
            }
            2 => {
                bench.elect(partition, broker);
                bench.write_state(partition);
            }
            3 => {
                // A new leader that lacks the last batch.
                bench.parts.get_mut(&partition).unwrap().batches.pop();
                bench.elect(partition, broker);
                bench.write_state(partition);
            }
            4 => bench.cut_zookeeper(true),
            5 => bench.cut_zookeeper(false),
            6 => {
                let at = draw.index(7);
                bench.lose_zookeeper(at);
            }
            7 => {
                let at = draw.index(7);
                bench.pause(at, true);
                bench.run(draw.between(Span::millis(100), Span::secs(12)));
                bench.pause(at, false);
            }
            8 => {
                let at = draw.index(7);
                bench.restart(at);
            }
            _ => {
                let fates = [
                    Fate::Refuse(ErrorCode::NotEnoughReplicas),
                    Fate::Refuse(ErrorCode::NotLeaderOrFollower),
                    Fate::AppendThen(ErrorCode::NotEnoughReplicasAfterAppend),
                    Fate::AppendThen(ErrorCode::RequestTimedOut),
                    Fate::AppendThenLose,
                    Fate::Lose,
                ];
                bench.fates.push_back(fates[draw.index(fates.len())]);
            }
        }
    }

    fn heal(&mut self) {
        for broker in 1..=3 {
            self.bench.set_broker(broker, true);
        }
        self.bench.cut_zookeeper(false);
        self.bench.fates.clear();
    }

    fn check(&self, seed: u64) {
        let bench = &self.bench;
        for at in (0..7).filter(|at| *at != 2) {
            let client = bench.client(at);
            assert_eq!(client.pending(), None, "seed {seed}, client {at}");
            assert!(client.probed(), "seed {seed}, client {at}");
        }
        assert_eq!(bench.client(2).pending(), None, "seed {seed}: a fixed broker's records expire at the latest");
        for &at in &self.producers {
            let sent: BTreeSet<_> = bench.said(at).filter_map(record_sent).collect();
            assert!(sent.len() > 100, "seed {seed}: {}", sent.len());
        }
        let owned: Vec<i32> =
            self.members.iter().flat_map(|&at| bench.client(at).owned()).map(|at| at.partition).collect();
        assert_eq!(owned.iter().collect::<BTreeSet<_>>().len(), usize::try_from(PARTITIONS).unwrap(), "seed {seed}");
        assert_eq!(owned.len(), usize::try_from(PARTITIONS).unwrap(), "seed {seed}");
        for partition in 0..PARTITIONS {
            let last = bench.parts[&partition].end() - 1;
            let mut readers = self.members.iter().chain([&self.consumer]);
            assert!(bench.consumed(self.consumer, partition).contains(&last), "seed {seed}, partition {partition}");
            assert!(readers.any(|&at| bench.consumed(at, partition).contains(&last)), "seed {seed}");
        }
    }
}

fn record_sent(fact: &KafkaWorkFact) -> Option<clients::kafka::RecordId> {
    match fact {
        KafkaWorkFact::RecordSent { record, .. } => Some(*record),
        _ => None,
    }
}

#[test]
fn clients_recover_from_whatever_happens_to_them() {
    const SWARM: Purpose = Purpose::new("test-swarm");
    for seed in 0..2 {
        let mut swarm = Swarm::new();
        let begun = swarm.bench.now();
        let mut index = 0;
        while swarm.bench.now() < begun + FAULTS {
            let mut draw = RunKey([seed, 7]).draw(SWARM, 0, index);
            index += 1;
            swarm.bench.run(draw.between(Span::millis(50), Span::secs(2)));
            swarm.fault(&mut draw);
        }
        swarm.heal();
        swarm.bench.run(SETTLE);
        swarm.check(seed);
        for &at in &swarm.producers {
            // Records of a life that ended have no outcome; no record has two.
            let [sent, acknowledged, surely, unknown] = swarm.bench.outcomes(at);
            assert!(acknowledged + surely + unknown <= sent);
        }
    }
}
