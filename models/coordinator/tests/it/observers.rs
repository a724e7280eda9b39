//! Servers that do not vote: they find the leader, are told what is committed, serve, and nobody waits for them.

use coordinator::{CoordinatorMark, Fact, LearnerType, Role, ServerConfig};
use jute::Sid;
use jute::client::{Request, SyncRequest};
use machine::{Mark, Span};

use crate::network::{Network, create};

/// Server 4 is an observer.
fn with_observer(change: impl Fn(&mut ServerConfig)) -> Network {
    Network::ensemble(4, |config| {
        config.members.get_mut(&Sid::new(4)).unwrap().role = LearnerType::Observer;
        change(config);
    })
}

fn started(change: impl Fn(&mut ServerConfig)) -> Network {
    let mut net = with_observer(change);
    net.boot_all();
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 4), "all serve");
    net
}

fn sync_mode_of(net: &Network, sid: u8) -> Vec<&'static str> {
    let of = |fact: &Fact| {
        let Fact::SyncDecided { learner, mode, .. } = fact else { return None };
        (learner.value() == sid).then_some(*mode)
    };
    net.facts.iter().filter_map(|(_, fact)| of(fact)).collect()
}

#[test]
fn observer_finds_the_leader_and_its_sessions_carry_its_id() {
    let mut net = started(|_| {});
    assert_eq!(net.leader(), Some(2), "not the highest id, which does not vote");
    assert_eq!(net.machine(3).role(), Role::Observing);
    let client = net.connect(3);
    assert_eq!(net.clients[client].session.value() >> 56, 4);
}

#[test]
fn writes_through_an_observer_reach_all_and_it_is_told_of_others() {
    let mut net = started(|_| {});
    let (own, other) = (net.connect(3), net.connect(0));
    net.create(own, "/own");
    net.create(other, "/other");
    net.call(own, Request::Sync(SyncRequest { path: Some("/".to_owned()) })).unwrap();
    assert_eq!(net.data(own, "/other").unwrap(), b"/other", "what a sync waited for is there");
    net.run(Span::secs(1));
    assert!((0..4).all(|host| net.has(host, "/own") && net.has(host, "/other")));
    net.assert_agreement();
}

#[test]
fn observer_keeps_its_clients_sessions_alive_by_pings() {
    let mut net = started(|_| {});
    let client = net.connect(3);
    for _ in 0..10 {
        net.run(Span::secs(4));
        net.data(client, "/zookeeper/config").unwrap();
    }
    assert!(!net.facts.iter().any(|(_, fact)| matches!(fact, Fact::SessionExpired { .. })));
}

#[test]
fn observer_is_no_part_of_a_quorum() {
    let mut net = started(|_| {});
    net.kill(0);
    net.kill(1);
    assert!(net.run_until(Span::secs(10), |net| net.serving().is_empty()), "one of three voters and an observer");
    net.run(Span::secs(20));
    assert_eq!(net.leader(), None);
    net.boot(0);
    assert!(net.run_until(Span::secs(70), |net| net.serving().len() == 3), "two of three voters");
    let client = net.connect(3);
    net.create(client, "/again");
}

#[test]
fn writes_are_committed_without_the_observer() {
    let mut net = started(|_| {});
    net.cut.insert(3);
    let client = net.connect(0);
    net.create(client, "/without");
    assert_eq!(net.leader(), Some(2));
}

#[test]
fn observer_follows_from_leader_to_leader() {
    let mut net = started(|_| {});
    let client = net.connect(3);
    net.create(client, "/before");
    net.kill(2);
    assert!(net.run_until(Span::secs(10), |net| net.leader().is_some() && net.serving().len() == 3));
    let client = net.connect(3);
    net.create(client, "/after");
    assert!(net.has(3, "/before"));
    assert_eq!(net.machine(3).role(), Role::Observing);
}

#[test]
fn observer_logs_what_it_is_told_and_needs_only_the_rest_when_it_comes_back() {
    let mut net = started(|_| {});
    let client = net.connect(0);
    for number in 0..5 {
        net.create(client, &format!("/n{number}"));
    }
    net.run(Span::secs(1));
    net.kill(3);
    net.create(client, "/missed");
    net.boot(3);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 4));
    assert_eq!(*sync_mode_of(&net, 4).last().unwrap(), "DIFF");
    net.create(client, "/live");
    net.run(Span::secs(1));
    net.assert_agreement();
    net.kill(3);
    net.boot(3);
    assert!(net.has(3, "/missed") && net.has(3, "/live"), "read back from its own disk");
}

#[test]
fn observer_without_a_log_starts_from_the_tree_it_was_sent() {
    let mut net = started(|config| config.sync_enabled = false);
    let client = net.connect(0);
    net.create(client, "/a");
    net.run(Span::secs(1));
    assert!(net.has(3, "/a"));
    let logs = net.rigs[3].with_io(|_, io| io.disk().list("data/version-2/log."));
    assert!(logs.is_empty(), "{logs:?}");
    net.kill(3);
    net.boot(3);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 4));
    net.assert_agreement();
}

#[test]
fn observer_over_the_limit_is_turned_away_and_followers_are_not() {
    let mut net = with_observer(|config| {
        config.max_concurrent_snap_syncs = 0;
        config.max_concurrent_diff_syncs = 0;
    });
    net.boot_all();
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3), "the voters serve");
    net.run(Span::secs(5));
    assert!(!net.machine(3).is_serving());
    let throttled = CoordinatorMark::SyncThrottled.name();
    assert!(net.marks.iter().filter(|(_, mark)| *mark == throttled).count() > 2, "it comes again and again");
    let client = net.connect(1);
    net.create(client, "/a");
}

#[test]
fn ensemble_of_one_voter_and_observers_serves_if_it_need_not_stand_alone() {
    let mut net = Network::ensemble(2, |config| {
        config.members.get_mut(&Sid::new(2)).unwrap().role = LearnerType::Observer;
        config.standalone_enabled = false;
    });
    net.boot_all();
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 2));
    let client = net.connect(1);
    net.call(client, create("/a")).unwrap();
    assert_eq!(net.machine(0).role(), Role::Leading);
}

#[test]
fn nothing_acknowledged_is_lost_while_voters_and_observer_crash() {
    for seed in 0..6u64 {
        let mut net = started(|config| config.observer_reconnect_delay = Span::millis(50));
        (0..4).for_each(|host| net.write_back(host));
        let mut written = Vec::new();
        for round in 0..12u64 {
            let victim = usize::try_from((seed * 7 + round * 5 + round * round) % 4).unwrap();
            net.lose_power(victim);
            net.run(Span::millis(100 * ((seed + round) % 9)));
            net.boot(victim);
            assert!(net.run_until(Span::secs(30), |net| net.serving().len() == 4), "seed {seed} round {round}");
            // Snapshots that nobody syncs: without them a log is of no use.
            (0..4).for_each(|host| net.write_back(host));
            let through = usize::try_from((seed + round) % 4).unwrap();
            let Some(client) = net.try_connect(through) else { continue };
            for number in 0..3 {
                let path = format!("/s{seed}r{round}n{number}");
                net.create(client, &path);
                written.push(path);
            }
        }
        net.run(Span::secs(1));
        net.assert_agreement();
        assert!(written.iter().all(|path| (0..4).all(|host| net.has(host, path))), "seed {seed}");
    }
}
