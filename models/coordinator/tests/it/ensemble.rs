//! Servers among themselves: a leader is elected, writes are committed everywhere, crashes are survived.

use coordinator::{Fact, Role};
use jute::op::ErrorCode;
use machine::Span;

use crate::network::{Network, create};

fn started(size: usize) -> Network {
    let mut net = Network::ensemble(size, |_| {});
    net.boot_all();
    let all = net.run_until(Span::secs(10), |net| net.serving().len() == size);
    assert!(all, "{:?}", (0..size).map(|host| machine::Machine::view(net.machine(host))).collect::<Vec<_>>());
    net
}

#[test]
fn standalone_server_serves_and_recovers_after_a_power_loss() {
    let mut net = Network::standalone();
    net.boot_all();
    net.write_back(0);
    let client = net.connect(0);
    net.create(client, "/a");
    assert_eq!(net.data(client, "/a").unwrap(), b"/a");
    assert_eq!(net.call(client, create("/a")), Err(ErrorCode::NodeExists));
    net.lose_power(0);
    net.boot(0);
    assert!(net.has(0, "/a"), "what was acknowledged is there after a loss of power");
    let client = net.connect(0);
    net.create(client, "/b");
    assert_eq!(net.machine(0).role(), Role::Standalone);
}

#[test]
fn first_start_elects_the_highest_id_and_all_serve() {
    let net = started(3);
    assert_eq!(net.leader(), Some(2));
    let established = net.facts.iter().filter(|(_, fact)| matches!(fact, Fact::LeaderEstablished { .. })).count();
    assert_eq!(established, 1);
    for host in 0..3 {
        let view = machine::Machine::view(net.machine(host));
        assert_eq!((view.accepted_epoch, view.current_epoch), (1, 1));
    }
}

#[test]
fn writes_through_any_server_reach_all() {
    let mut net = started(3);
    for server in 0..3 {
        let client = net.connect(server);
        net.create(client, &format!("/from-{server}"));
    }
    net.run(Span::secs(1));
    for server in 0..3 {
        for from in 0..3 {
            assert!(net.has(server, &format!("/from-{from}")), "host{server} lacks /from-{from}");
        }
    }
    net.assert_agreement();
}

#[test]
fn killed_leader_is_replaced_and_comes_back_as_follower() {
    let mut net = started(3);
    let client = net.connect(0);
    net.create(client, "/before");
    net.kill(2);
    assert!(net.run_until(Span::secs(10), |net| net.leader().is_some() && net.serving().len() == 2));
    assert_eq!(net.leader(), Some(1), "the higher id of equals");
    let client = net.connect(0);
    assert_eq!(net.data(client, "/before").unwrap(), b"/before");
    net.create(client, "/during");
    net.boot(2);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    assert_eq!(net.machine(2).role(), Role::Following);
    net.create(client, "/after");
    net.run(Span::secs(1));
    assert!(net.has(2, "/before") && net.has(2, "/during") && net.has(2, "/after"));
    net.assert_agreement();
}

#[test]
fn whole_ensemble_survives_a_power_loss_with_everything_acknowledged() {
    let mut net = started(3);
    (0..3).for_each(|host| net.write_back(host));
    let client = net.connect(1);
    for number in 0..20 {
        net.create(client, &format!("/n{number}"));
    }
    for host in 0..3 {
        net.lose_power(host);
    }
    net.boot_all();
    assert!(net.run_until(Span::secs(20), |net| net.serving().len() == 3));
    let client = net.connect(0);
    for number in 0..20 {
        net.data(client, &format!("/n{number}")).unwrap();
    }
    net.create(client, "/next");
    net.run(Span::secs(1));
    net.assert_agreement();
}

#[test]
fn leader_cut_off_from_its_followers_steps_down() {
    let mut net = started(3);
    net.cut.insert(2);
    assert!(net.run_until(Span::secs(20), |net| { net.leader() == Some(1) && net.machine(2).role() == Role::Looking }));
    assert!(net.facts.iter().any(|(host, fact)| *host == 2 && matches!(fact, Fact::LeaderSteppedDown { .. })));
    let client = net.connect(0);
    net.create(client, "/majority");
    net.run(Span::secs(1));
    assert!(net.has(1, "/majority") && !net.has(2, "/majority"));
}

#[test]
fn killing_both_followers_makes_the_leader_look_again_and_keeps_its_tail() {
    let mut net = started(3);
    let client = net.connect(2);
    net.create(client, "/common");
    net.kill(0);
    net.kill(1);
    // Proposed and logged by the leader alone: committed by nobody yet.
    let _ = net.ask(client, create("/alone"));
    assert!(net.run_until(Span::secs(5), |net| net.machine(2).role() == Role::Looking));
    net.run(Span::millis(10));
    assert!(net.clients[client].lost, "clients are cut off");
    assert!(net.has(2, "/alone"), "the tree is brought up to the log for the next leader election");
    net.boot(0);
    net.boot(1);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    assert_eq!(net.leader(), Some(2), "its log is the longest");
    net.run(Span::secs(1));
    assert!(net.has(0, "/alone"), "a new leader's tail becomes history");
    net.assert_agreement();
}

#[test]
fn tail_that_only_a_dead_leader_had_is_cut_when_it_comes_back() {
    let mut net = started(3);
    net.write_back(2);
    let client = net.connect(2);
    net.create(client, "/common");
    net.kill(0);
    net.kill(1);
    let _ = net.ask(client, create("/alone"));
    net.run(Span::millis(50));
    net.kill(2);
    net.boot(0);
    net.boot(1);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 2));
    net.boot(2);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    assert!(!net.has(2, "/alone"), "nobody else had it");
    assert!(net.facts.iter().any(|(host, fact)| *host == 2 && matches!(fact, Fact::Truncated { .. })));
    let client = net.connect(2);
    net.create(client, "/next");
    net.run(Span::secs(1));
    net.assert_agreement();
    // And it stays away.
    net.lose_power(2);
    net.boot(2);
    assert!(!net.has(2, "/alone"));
}

#[test]
fn tail_across_epochs_is_replaced_by_a_snapshot() {
    let mut net = started(3);
    let client = net.connect(2);
    net.create(client, "/common");
    net.kill(0);
    net.kill(1);
    let _ = net.ask(client, create("/alone"));
    net.run(Span::millis(50));
    net.kill(2);
    net.boot(0);
    net.boot(1);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 2));
    let other = net.connect(0);
    net.create(other, "/new-epoch");
    net.boot(2);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    let snap = |fact: &Fact| matches!(fact, Fact::Synchronised { mode: "SNAP", .. });
    assert!(net.facts.iter().any(|(host, fact)| *host == 2 && snap(fact)));
    assert!(!net.has(2, "/alone") && net.has(2, "/new-epoch"));
    net.assert_agreement();
}

#[test]
fn five_servers_lose_two_and_go_on() {
    let mut net = started(5);
    let client = net.connect(0);
    net.create(client, "/a");
    net.kill(4);
    net.kill(3);
    assert!(net.run_until(Span::secs(10), |net| net.leader().is_some() && net.serving().len() == 3));
    let client = net.connect(0);
    net.create(client, "/b");
    net.run(Span::secs(1));
    net.assert_agreement();
}

#[test]
fn learner_far_behind_the_committed_log_is_brought_up_from_the_log_files() {
    let mut net = started(3);
    let client = net.connect(1);
    net.create(client, "/common");
    net.run(Span::secs(1));
    net.kill(0);
    for number in 0..520 {
        let _ = net.ask(client, create(&format!("/n{number}")));
    }
    assert!(net.run_until(Span::secs(60), |net| net.has(1, "/n519")));
    net.boot(0);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    net.run(Span::secs(1));
    assert!(net.has(0, "/n0") && net.has(0, "/n519"));
    assert!(net.marks.contains(&(2, "coordinator-synced-by-disk-diff")));
    net.assert_agreement();
}

#[test]
fn end_of_the_zxid_counter_brings_a_new_epoch_and_loses_nothing() {
    let mut net = Network::ensemble(3, |config| config.initial_zxid = Some(0xffff_fff0));
    net.boot_all();
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    let client = net.connect(0);
    for number in 0..10 {
        net.create(client, &format!("/n{number}"));
    }
    for number in 10..20 {
        let _ = net.ask(client, create(&format!("/n{number}")));
    }
    let rolled = |fact: &Fact| matches!(fact, Fact::LeaderEstablished { epoch, .. } if epoch.value() == 2);
    assert!(net.run_until(Span::secs(10), |net| {
        net.facts.iter().any(|(_, fact)| rolled(fact)) && net.serving().len() == 3
    }));
    for number in 0..10 {
        assert!(net.has(0, &format!("/n{number}")));
    }
    net.run(Span::secs(1));
    net.assert_agreement();
}

#[test]
fn same_inputs_give_the_same_run() {
    let run = || {
        let mut net = started(3);
        let client = net.connect(0);
        net.create(client, "/a");
        net.kill(2);
        net.run(Span::secs(5));
        net.facts
    };
    assert_eq!(run(), run());
}

/// Crashes of every kind at arbitrary moments, under load: what was acknowledged stays, and the servers agree.
#[test]
fn nothing_acknowledged_is_lost_over_random_crashes() {
    let mut marks = std::collections::BTreeSet::new();
    for seed in 0..6_u64 {
        marks.extend(survive(seed));
    }
    for mark in ["diff", "trunc", "snap"] {
        assert!(marks.contains(format!("coordinator-synced-by-{mark}").as_str()), "{marks:?}");
    }
    assert!(marks.contains("coordinator-stepped-down-with-outstanding"), "{marks:?}");
    assert!(marks.contains("coordinator-joined-under-load"), "{marks:?}");
}

/// A generator for tests: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    fn host(&mut self) -> usize {
        usize::try_from(self.below(3)).unwrap()
    }
}

/// The leader logs what nobody else will ever have, and dies; the others go on without it for a while.
fn leave_alone_with_a_tail(net: &mut Network, leader: usize, dice: &mut Dice) {
    let Some(client) = net.try_connect(leader) else { return };
    for host in (0..3).filter(|&host| host != leader) {
        if net.is_up(host) {
            net.kill(host);
        }
    }
    let _ = net.ask(client, create("/tail"));
    net.run(Span::millis(20));
    if net.is_up(leader) {
        net.kill(leader);
    }
    for host in (0..3).filter(|&host| host != leader) {
        net.boot(host);
    }
    net.run(Span::millis(dice.below(3_000)));
}

fn survive(seed: u64) -> impl Iterator<Item = &'static str> {
    let mut dice = Dice(seed);
    let mut net = Network::ensemble(3, |config| config.snap_count = 20);
    net.boot_all();
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    let mut asked = Vec::new();
    let mut acknowledged = Vec::new();
    for step in 0..12 {
        for host in net.serving() {
            if let Some(client) = net.try_connect(host) {
                for number in 0..dice.below(12) {
                    let path = format!("/s{step}-{host}-{number}");
                    let xid = net.ask(client, create(&path));
                    asked.push((client, xid, path));
                }
            }
        }
        net.run(Span::micros(dice.below(8_000)));
        let host = dice.host();
        if net.is_up(host) {
            match dice.below(4) {
                0 => net.kill(host),
                1 => {
                    net.write_back(host);
                    net.lose_power(host);
                }
                2 => {
                    net.cut.insert(host);
                    net.run(Span::millis(dice.below(4_000)));
                    net.kill(host);
                    net.cut.remove(&host);
                }
                _ => {}
            }
        }
        if let Some(leader) = net.leader().filter(|_| dice.below(6) == 0) {
            leave_alone_with_a_tail(&mut net, leader, &mut dice);
        }
        net.run(Span::millis(dice.below(1_500)));
        for host in 0..3 {
            if !net.is_up(host) && dice.below(2) == 0 {
                net.boot(host);
            }
        }
        // Load goes on while those that came back are brought up to date.
        for burst in 0..dice.below(60) {
            for client in 0..net.clients.len() {
                if !net.clients[client].lost && !net.clients[client].session.is_zero() && dice.below(3) == 0 {
                    let path = format!("/b{step}-{burst}-{client}");
                    let xid = net.ask(client, create(&path));
                    asked.push((client, xid, path));
                }
            }
            net.run(Span::micros(dice.below(40_000)));
        }
        acknowledged.extend(
            asked
                .extract_if(.., |(client, xid, _)| matches!(net.reply(*client, *xid), Some((ErrorCode::Ok, _))))
                .map(|(.., path)| path),
        );
    }
    for host in 0..3 {
        if !net.is_up(host) {
            net.boot(host);
        }
    }
    assert!(net.run_until(Span::secs(60), |net| net.serving().len() == 3), "seed {seed}: no recovery");
    net.run(Span::secs(2));
    assert!(!acknowledged.is_empty(), "seed {seed}: nothing was ever acknowledged");
    for path in &acknowledged {
        for host in 0..3 {
            assert!(net.has(host, path), "seed {seed}: host{host} lacks {path}, which was acknowledged");
        }
    }
    net.assert_agreement();
    assert_eq!(net.exits, [], "seed {seed}");
    net.marks.into_iter().map(|(_, mark)| mark)
}

/// The long form, for a machine with time.
#[test]
#[ignore = "takes minutes"]
fn nothing_acknowledged_is_lost_over_many_random_crashes() {
    for seed in 1_000..1_100_u64 {
        let _ = survive(seed);
    }
}
