//! Three brokers, faults drawn from a seed, and what a producer was promised.

use std::collections::BTreeSet;

use kafkawire::TopicPartition;
use machine::{Describe, Purpose, RunKey, Span};

use crate::bench::{Bench, ZOOKEEPER};
use crate::produce_fetch::{fetch, fetched, produce, produced};

const BROKERS: usize = 3;

/// Starts whoever is down, as a supervisor does: again and again while an old registration is in the way.
fn supervise(bench: &mut Bench) {
    for broker in 1..=BROKERS {
        if !bench.is_up(broker) {
            bench.boot(broker);
        }
    }
}

fn leader(bench: &Bench) -> Option<usize> {
    let up = (1..=BROKERS).filter(|&broker| bench.is_up(broker) && bench.broker(broker).is_running());
    let partition = up.filter_map(|broker| bench.broker(broker).cache().topics.get("t")?.get(&0).cloned());
    let leader = partition.max_by_key(|partition| partition.leader_epoch)?.leader?;
    let leader = usize::try_from(leader.0).unwrap();
    (bench.is_up(leader) && bench.broker(leader).is_running()).then_some(leader)
}

/// What a run came to.
#[derive(Debug)]
struct Verdict {
    acknowledged: usize,
    /// Acknowledged, and not read in the end.
    lost: Vec<String>,
    /// How often a log was cut.
    truncations: usize,
    /// Replicas have the same end, and what is read has the order in which it was sent.
    is_consistent: bool,
}

fn run(seed: u64) -> Verdict {
    let mut draw = RunKey([seed, 77]).draw(Purpose::new("swarm"), 0, 0);
    let mut bench = Bench::running(BROKERS, |_, _| {});
    let client = bench.connect((1..=BROKERS).find(|&broker| bench.broker(broker).controller().is_active()).unwrap());
    bench.ask(client, crate::topics::create_with("t", 1, 3, Some(("min.insync.replicas", "2"))));
    let (mut sent, mut acknowledged) = (0, BTreeSet::new());
    let mut cuts = BTreeSet::new();
    let mut waiting = Vec::new();
    for _ in 0..60 {
        let broker = 1 + draw.index(BROKERS);
        let other = draw.index(BROKERS + 1);
        let down = (1..=BROKERS).filter(|&broker| !bench.is_up(broker)).count();
        match draw.below(16) {
            0 if down == 0 => bench.kill(broker),
            1 if down == 0 => bench.terminate(broker),
            2 | 3 if other != broker => {
                bench.cut(broker, other);
                cuts.insert((broker, other));
            }
            4..=6 => {
                if let Some((one, other)) = cuts.pop_first() {
                    bench.heal(one, other);
                }
            }
            7 if other != broker => bench.reset(broker, other),
            8 => {
                let leader = leader(&bench).unwrap_or(broker);
                for other in (0..=BROKERS).filter(|&other| other != leader) {
                    bench.cut(leader, other);
                    cuts.insert((leader, other));
                }
                if bench.is_listening(leader) {
                    let client = bench.connect(leader);
                    bench.send(client, produce("t", 0, 1, &format!("{sent}")));
                    sent += 1;
                }
            }
            9 => {
                if bench.is_up(ZOOKEEPER) {
                    bench.kill(ZOOKEEPER);
                }
            }
            10 => {
                if !bench.is_up(ZOOKEEPER) {
                    bench.boot(ZOOKEEPER);
                }
                supervise(&mut bench);
            }
            // Whoever is asked may be a leader of the past: with acks=1 nothing is promised.
            11 | 12 if bench.is_up(broker) && bench.is_listening(broker) => {
                let client = bench.connect(broker);
                bench.send(client, produce("t", 0, 1, &format!("{sent}")));
                sent += 1;
            }
            _ => {
                if let Some(leader) = leader(&bench) {
                    let client = bench.connect(leader);
                    let value = format!("{sent}");
                    sent += 1;
                    let correlation = bench.send(client, produce("t", 0, -1, &value));
                    waiting.push((client, correlation, value));
                }
            }
        }
        let pause = draw.between(Span::millis(1), Span::secs(4));
        bench.run(pause);
    }
    // Everything heals.
    for (one, other) in cuts {
        bench.heal(one, other);
    }
    if !bench.is_up(ZOOKEEPER) {
        bench.boot(ZOOKEEPER);
    }
    for _ in 0..60 {
        supervise(&mut bench);
        bench.run(Span::secs(2));
    }
    let tp = TopicPartition::new("t", 0);
    let leader = leader(&bench).unwrap_or_else(|| panic!("seed {seed}: nobody leads"));
    assert_eq!(bench.broker(leader).cache().partition(&tp).unwrap().isr.len(), 3, "seed {seed}: all are in sync");
    for (client, correlation, value) in waiting {
        if let Some(answer) = bench.response(client, correlation)
            && produced(&answer).0.is_none()
        {
            acknowledged.insert(value);
        }
    }
    let client = bench.connect(leader);
    let read = fetched(&bench.ask(client, fetch("t", 0, 0)));
    let order: Vec<u32> = read.iter().map(|value| value.parse().unwrap()).collect();
    let read: BTreeSet<String> = read.into_iter().collect();
    let end = |broker: usize| bench.broker(broker).replicas().unwrap().log(&tp).unwrap().log_end();
    Verdict {
        acknowledged: acknowledged.len(),
        lost: acknowledged.difference(&read).cloned().collect(),
        truncations: bench.facts.iter().filter(|(_, fact)| fact.kind() == "log-truncated").count(),
        is_consistent: (1..=BROKERS).all(|broker| end(broker) == end(leader))
            && order.is_sorted_by(|one, next| one < next),
    }
}

#[test]
fn acknowledged_records_survive_kills_cuts_and_resets() {
    let (mut acknowledged, mut truncations) = (0, 0);
    for seed in 0..30 {
        let verdict = run(seed);
        assert!(verdict.lost.is_empty() && verdict.is_consistent, "seed {seed}: {verdict:?}");
        acknowledged += verdict.acknowledged;
        truncations += verdict.truncations;
    }
    assert!(acknowledged > 100 && truncations > 10, "the seeds ask something: {acknowledged}, {truncations}");
}
