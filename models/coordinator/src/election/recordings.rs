//! Recorded elections of a real ensemble (`tests/conformance/election-*.jsonl`, ZooKeeper 3.8.0), held against this one.
//!
//! Each recording is replayed: the same servers start and die in the same order, with the epochs and zxids that were on
//! their disks. What is compared is who leads; timing is not. The files hold the starts, kills and outcomes of the
//! recordings, not what clients did in between.

use std::collections::BTreeMap;

use jute::{Sid, Zxid};
use machine::Span;
use serde_json::Value;

use super::ensemble::{Ensemble, sid};

/// What is on a server's disk.
#[derive(Clone, Copy, Default, Debug)]
struct Disk {
    epoch: u32,
    last_logged: Zxid,
}

#[derive(Debug)]
struct Replay {
    ensemble: Ensemble,
    disks: BTreeMap<Sid, Disk>,
    up: Vec<Sid>,
    leader: Option<Sid>,
}

fn sids(list: &Value) -> Vec<Sid> {
    let list = list.as_array().unwrap();
    list.iter().map(|number| sid(u8::try_from(number.as_u64().unwrap()).unwrap())).collect()
}

fn hex(text: &str) -> Zxid {
    Zxid::from_wire(i64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()).unwrap()
}

impl Replay {
    fn read_disks(&mut self, disks: &Value) {
        for (number, disk) in disks.as_object().unwrap() {
            let snapshots = disk["snapshots"].as_array().unwrap().iter();
            let snapshots = snapshots.map(|name| hex(name.as_str().unwrap().trim_start_matches("snapshot.")));
            let last_logged = snapshots.max().max(Some(hex(disk["last_logged_zxid"].as_str().unwrap()))).unwrap();
            let epoch = disk["currentEpoch"].as_str().unwrap().parse().unwrap();
            self.disks.insert(sid(number.parse().unwrap()), Disk { epoch, last_logged });
        }
    }

    fn start(&mut self, who: Sid) {
        let disk = self.disks.get(&who).copied().unwrap_or_default();
        self.ensemble.start(who, disk.epoch, Some(disk.last_logged));
        self.up.push(who);
    }

    /// The survivors look again once they are without a leader, or their leader without a quorum.
    fn kill(&mut self, killed: &[Sid], step: &Value) {
        for &who in killed {
            self.ensemble.kill(who);
            self.up.retain(|&up| up != who);
        }
        if self.leader.is_some_and(|leader| self.up.contains(&leader)) && self.up.len() >= 2 {
            return;
        }
        self.leader = None;
        let acknowledged = Zxid::from_wire(step["zxid_after"].as_i64().unwrap()).unwrap();
        for &who in &self.up {
            let disk = self.disks.get_mut(&who).unwrap();
            disk.last_logged = acknowledged.max(disk.last_logged);
            self.ensemble.look_again(who, disk.epoch, Some(disk.last_logged));
        }
    }

    fn on_observed(&mut self, observed: &Value, step: &Value) {
        let expected = sid(u8::try_from(observed["leader"].as_u64().unwrap()).unwrap());
        assert_eq!(self.ensemble.settle(), expected, "step {}", step["step"]);
        assert_eq!(self.up.len(), observed["modes"].as_object().unwrap().len(), "step {}", step["step"]);
        let is_new = self.leader.replace(expected) != Some(expected);
        let before = self.disks.values().map(|disk| disk.epoch).max().unwrap_or(0);
        self.read_disks(&observed["disk"]);
        let epoch = self.disks[&expected].epoch;
        assert!(
            epoch >= before && (epoch > before || !is_new || before <= 1),
            "step {}: epochs only grow",
            step["step"]
        );
        assert!(self.disks.values().all(|disk| disk.epoch <= epoch), "step {}", step["step"]);
        self.ensemble.establish(epoch);
    }
}

#[track_caller]
fn check(recording: &str, leaders: usize) {
    for seed in 0..10 {
        let ensemble = Ensemble::new(3, seed, (Span::micros(50), Span::millis(1)));
        let mut replay = Replay { ensemble, disks: BTreeMap::new(), up: Vec::new(), leader: None };
        let mut observed = 0;
        for line in recording.lines() {
            let step: Value = serde_json::from_str(line).unwrap();
            match step["op"].as_str() {
                None => {
                    // The header. A JVM takes longer to start than two servers take to elect one of them.
                    let order = sids(&step["config"]["start_order"]);
                    replay.start(order[0]);
                    replay.start(order[1]);
                    replay.ensemble.settle();
                    replay.ensemble.establish(1);
                    replay.start(order[2]);
                }
                Some("server_start") => sids(&step["servers"]).into_iter().for_each(|who| replay.start(who)),
                Some("server_kill") => {
                    if let Some(disks) = step.get("disk_after") {
                        replay.read_disks(disks);
                    }
                    replay.kill(&sids(&step["servers"]), &step);
                }
                // Killed in the middle of a burst of writes: it is the leader, with whatever the others had by then.
                Some("blast_create") => {
                    replay.read_disks(&step["disk_after"]);
                    let leader = replay.leader.expect("a leader was observed before");
                    replay.kill(&[leader], &step);
                }
                Some("await_leader") => {
                    replay.on_observed(&step["observed"], &step);
                    observed += 1;
                }
                Some("server_freeze") => {} // Whoever is frozen is killed next.
                Some(other) => panic!("unknown step {other}"),
            }
        }
        assert_eq!(observed, leaders, "every recorded leader was compared");
    }
}

#[test]
fn leader_is_the_recorded_one_after_leader_crashes() {
    check(include_str!("../../tests/conformance/election-leader-crash-300.jsonl"), 5);
}

#[test]
fn leader_is_the_recorded_one_after_restarts_in_various_orders() {
    check(include_str!("../../tests/conformance/election-restarts-303.jsonl"), 11);
}

#[test]
fn leader_is_the_recorded_one_among_diverged_logs() {
    check(include_str!("../../tests/conformance/election-divergence-302.jsonl"), 9);
}

#[test]
fn leader_is_the_recorded_one_after_the_quorum_was_lost() {
    check(include_str!("../../tests/conformance/election-readonly-304.jsonl"), 2);
}

#[test]
fn leader_is_the_recorded_one_after_one_died_in_a_burst_of_writes() {
    check(include_str!("../../tests/conformance/election-in-flight-301.jsonl"), 5);
}
