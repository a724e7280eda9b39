//! Random schedules: brokers die and come back, links break, leaders are elected from the ISR as ZooKeeper has it. What was
//! acknowledged by all must be in the log of every later leader, and in the end all logs are the same.

use broker::Defect;
use kafkawire::{ErrorCode, znode};
use machine::disk::CrashModel;
use machine::{Purpose, RunKey, Span};

use crate::replication::bench::{Bench, State, orders};

const ALL: [i32; 3] = [1, 2, 3];

/// What came of a schedule.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Held,
    /// An acknowledged record is missing at a leader, or logs differ in the end.
    Lost(String),
}

struct Schedule {
    bench: Bench,
    epoch: i32,
    leader: i32,
    written: u32,
    waiting: Vec<(i32, u64, String)>,
    acknowledged: Vec<String>,
}

impl Schedule {
    fn new(defects: &[Defect]) -> Self {
        let mut bench = Bench::with(3, defects, &|config| {
            config.replica_lag_time_max = Span::secs(4);
            config.min_insync_replicas = 2;
        });
        bench.elect(&State::new(1, 0));
        Self { bench, epoch: 0, leader: 1, written: 0, waiting: Vec::new(), acknowledged: Vec::new() }
    }

    fn stored_isr(&self) -> (Vec<i32>, i32) {
        let (data, version) = &self.bench.znodes[&znode::partition_state(&orders())];
        let state = znode::PartitionState::decode(data).unwrap();
        (state.isr.iter().map(|broker| broker.0).collect(), *version)
    }

    fn up(&self) -> Vec<i32> {
        ALL.into_iter().filter(|id| self.bench.nodes[id].is_up()).collect()
    }

    fn produce(&mut self) {
        self.written += 1;
        let value = format!("v{}", self.written);
        if self.bench.nodes[&self.leader].is_up() {
            let number = self.bench.produce(self.leader, &value, -1);
            self.waiting.push((self.leader, number, value));
        }
    }

    fn collect(&mut self) {
        for (id, number, value) in std::mem::take(&mut self.waiting) {
            if !self.bench.nodes[&id].is_up() {
                continue;
            }
            if self.bench.nodes[&id].answers.contains_key(&number) {
                if self.bench.produced(id, number).0 == ErrorCode::None {
                    self.acknowledged.push(value);
                }
            } else {
                self.waiting.push((id, number, value));
            }
        }
    }

    /// Elects the live ISR member that comes next after the leader, as the controller would.
    fn elect(&mut self) -> Outcome {
        self.collect();
        let (isr, version) = self.stored_isr();
        let up = self.up();
        let candidates: Vec<i32> = ALL.into_iter().filter(|id| isr.contains(id) && up.contains(id)).collect();
        let Some(&leader) = candidates.iter().find(|&&id| id > self.leader).or(candidates.first()) else {
            return Outcome::Held;
        };
        self.leader = leader;
        self.epoch += 1;
        let state = State { version: version + 1, ..State::new(leader, self.epoch).isr(&candidates) };
        self.bench.elect(&state);
        let values = self.bench.values(leader);
        match self.acknowledged.iter().find(|value| !values.contains(value)) {
            Some(lost) => Outcome::Lost(format!("{lost} is not in the log of leader {leader} of epoch {}", self.epoch)),
            None => Outcome::Held,
        }
    }

    fn settle(&mut self) -> Outcome {
        self.bench.heal();
        for id in ALL {
            if !self.bench.nodes[&id].is_up() {
                self.bench.boot(id);
            }
        }
        self.bench.tell_alive(&ALL);
        let elected = self.elect();
        if elected != Outcome::Held {
            return elected;
        }
        self.bench.advance(Span::secs(10));
        self.collect();
        let values = self.bench.values(self.leader);
        if let Some(lost) = self.acknowledged.iter().find(|value| !values.contains(value)) {
            return Outcome::Lost(format!("{lost} is lost in the end"));
        }
        for id in ALL {
            if self.bench.values(id) != values {
                return Outcome::Lost(format!("the logs of {id} and {} differ", self.leader));
            }
            assert_eq!(self.bench.high_watermark(id), self.bench.log_end(id), "all is committed in the end");
        }
        assert_eq!(self.bench.isr(self.leader).len(), 3, "all are in sync in the end");
        Outcome::Held
    }
}

/// Runs the schedule of a seed; brokers die with their page cache, or without it if a crash model says so.
fn run(seed: u64, defects: &[Defect], crash: Option<CrashModel>) -> (Outcome, usize) {
    let mut draw = RunKey([seed, 0xACED]).draw(Purpose::new("replication-schedule"), 0, 0);
    let mut schedule = Schedule::new(defects);
    for _ in 0..60 {
        match draw.below(12) {
            0..=4 => schedule.produce(),
            5 => schedule.bench.advance(Span::millis(draw.below(700))),
            6 => schedule.bench.advance(Span::millis(draw.below(6000))),
            7 => {
                // One at a time: the others have what was acknowledged.
                let up = schedule.up();
                if up.len() == 3 {
                    schedule.collect();
                    let victim = up[draw.index(3)];
                    match crash {
                        Some(model) => schedule.bench.lose_power(victim, model),
                        None => schedule.bench.kill(victim),
                    }
                }
            }
            8 => {
                if let Some(id) = ALL.into_iter().find(|id| !schedule.bench.nodes[id].is_up()) {
                    schedule.bench.boot(id);
                    schedule.bench.tell_alive(&ALL);
                }
                let outcome = schedule.elect();
                if outcome != Outcome::Held {
                    return (outcome, schedule.acknowledged.len());
                }
            }
            9 => {
                let outcome = schedule.elect();
                if outcome != Outcome::Held {
                    return (outcome, schedule.acknowledged.len());
                }
            }
            10 => {
                let a = ALL[draw.index(3)];
                schedule.bench.cut(a, a % 3 + 1);
            }
            _ => schedule.bench.heal(),
        }
    }
    (schedule.settle(), schedule.acknowledged.len())
}

#[test]
fn what_was_acknowledged_by_all_survives_any_single_death() {
    let mut acknowledged = 0;
    for seed in 0..60 {
        let (outcome, count) = run(seed, &[], None);
        assert_eq!(outcome, Outcome::Held, "seed {seed}");
        acknowledged += count;
    }
    assert!(acknowledged > 300, "{acknowledged} records were acknowledged in all");
}

#[test]
fn truncation_to_the_high_watermark_is_found_out() {
    let lost = (0..60).filter(|&seed| run(seed, &[Defect::TruncateToHighWatermark], None).0 != Outcome::Held).count();
    assert!(lost > 0, "no seed of 60 lost a record or made logs differ");
}

#[test]
fn logs_agree_in_the_end_whatever_a_loss_of_power_took() {
    let models = [
        CrashModel::AllUnsyncedLost,
        CrashModel::Prefix,
        CrashModel::AnySubset,
        CrashModel::Torn { sector_bytes: 512 },
    ];
    for seed in 0..60 {
        let model = models[usize::try_from(seed % 4).unwrap()];
        // An in-sync replica that comes back without its tail may be elected (KIP-966): records are lost, but nowhere kept.
        if let (Outcome::Lost(what), _) = run(seed, &[], Some(model)) {
            assert!(!what.contains("differ"), "seed {seed}, {model:?}: {what}");
        }
    }
}
