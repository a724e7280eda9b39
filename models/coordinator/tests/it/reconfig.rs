//! Dynamic reconfiguration: servers join, leave and change their roles while the ensemble serves.

use coordinator::{CoordinatorMark, Fact, LearnerType, Role, ServerConfig};
use jute::client::{ReconfigRequest, Request, Response};
use jute::op::ErrorCode;
use machine::{Mark, Span};

use crate::network::{Network, create};

const ANY: i64 = -1;

/// `size` servers, of which the first `members` are the ensemble; the others know it, and themselves as observers that it does not
/// know. Once they hear of a configuration that leaves them out, they are followers without a vote.
fn network(size: usize, members: u8) -> Network {
    Network::ensemble(size, |config| {
        config.reconfig_enabled = true;
        config.skip_acl = true;
        let me = config.myid;
        config.members.retain(|&sid, _| sid.value() <= members || sid == me);
        if me.value() > members {
            config.members.get_mut(&me).unwrap().role = LearnerType::Observer;
        }
    })
}

fn started(size: usize, members: u8) -> Network {
    let mut net = network(size, members);
    net.boot_all();
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == size), "all serve");
    net
}

fn line(sid: u8, role: &str) -> String {
    format!("server.{sid}=host{}:2888:3888:{role};2181", sid - 1)
}

fn joining(line: &str) -> Request {
    reconfig(Some(line), None, None, ANY)
}

fn leaving(sids: &str) -> Request {
    reconfig(None, Some(sids), None, ANY)
}

fn reconfig(joining: Option<&str>, leaving: Option<&str>, new_members: Option<&str>, config_id: i64) -> Request {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Request::Reconfig(ReconfigRequest {
        joining: owned(joining),
        leaving: owned(leaving),
        new_members: owned(new_members),
        config_id,
    })
}

/// The configuration that a server's own tree shows.
fn config_on(net: &Network, host: usize) -> String {
    let node = net.machine(host).database().tree().node("/zookeeper/config").unwrap();
    String::from_utf8(node.data().as_slice().to_vec()).unwrap()
}

fn members_on(net: &Network, host: usize) -> Vec<String> {
    let text = config_on(net, host);
    text.lines()
        .filter_map(|line| line.strip_prefix("server.")?.split_once('='))
        .map(|(sid, _)| sid.to_owned())
        .collect()
}

fn reached(net: &Network, mark: CoordinatorMark) -> usize {
    net.marks.iter().filter(|(_, reached)| *reached == mark.name()).count()
}

fn elections(net: &Network) -> usize {
    net.facts.iter().filter(|(_, fact)| matches!(fact, Fact::LeaderElected { .. })).count()
}

fn files(net: &mut Network, host: usize) -> Vec<String> {
    let mut files = net.rigs[host].with_io(|_, io| io.disk().list("conf/"));
    files.sort();
    files
}

#[test]
fn first_leader_gives_the_configuration_its_version() {
    let mut net = started(3, 3);
    net.run(Span::secs(1));
    for host in 0..3 {
        let text = config_on(&net, host);
        assert!(text.ends_with("version=100000000"), "host{host}: {text}");
        assert_eq!(files(&mut net, host), ["conf/zoo.cfg", "conf/zoo.cfg.dynamic.100000000"]);
    }
}

#[test]
fn without_reconfig_enabled_nothing_has_a_version() {
    let mut net = Network::ensemble(3, |config| config.skip_acl = true);
    net.boot_all();
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    let client = net.connect(0);
    assert_eq!(net.call(client, leaving("3")), Err(ErrorCode::ReconfigDisabled));
    assert!(config_on(&net, 0).ends_with("version=0"));
    assert!(files(&mut net, 0).is_empty());
}

#[test]
fn removed_follower_goes_on_following_without_a_vote() {
    let mut net = started(3, 3);
    let client = net.connect(1);
    let before = elections(&net);
    let Ok(Some(Response::Reconfig(answer))) = net.call(client, leaving("1")) else { panic!("no configuration") };
    let text = String::from_utf8(answer.data.as_slice().to_vec()).unwrap();
    assert!(text.starts_with("server.2=") && text.contains("server.3=") && !text.contains("server.1="), "{text}");
    assert_eq!(answer.stat.version.value(), -1, "the node's own version never moves");
    assert_eq!(text.rsplit('=').next(), Some(format!("{:x}", answer.stat.mzxid.value()).as_str()));
    net.run(Span::secs(2));
    assert_eq!(net.serving().len(), 3);
    assert_eq!(net.machine(0).role(), Role::Following);
    assert_eq!(elections(&net), before, "nobody looked for a leader");
    for host in 0..3 {
        assert_eq!(members_on(&net, host), ["2", "3"], "host{host}");
    }
    // Two of two must acknowledge now: the removed one is no help.
    let client = net.connect(2);
    net.cut.insert(1);
    let lost = net.ask(client, create("/lonely"));
    net.run(Span::secs(10));
    assert!(net.reply(client, lost).is_none_or(|(error, _)| error != ErrorCode::Ok));
    assert_eq!(net.leader(), None);
}

#[test]
fn removed_leader_hands_over_to_a_follower_without_an_election() {
    let mut net = started(3, 3);
    let client = net.connect(0);
    net.create(client, "/before");
    let before = elections(&net);
    net.ask(client, leaving("3"));
    assert!(net.run_until(Span::secs(2), |net| net.leader().is_some_and(|leader| leader != 2)), "another leads");
    let follows = |net: &Network| net.machine(2).role() == Role::Following && net.serving().len() == 3;
    assert!(net.run_until(Span::secs(2), follows), "it has no vote, but follows");
    assert_eq!(elections(&net), before, "nobody looked for a leader");
    assert_eq!(reached(&net, CoordinatorMark::LeaderHandedOver), 1);
    let client = net.connect(2);
    net.create(client, "/after");
    net.run(Span::secs(1));
    assert!((0..3).all(|host| members_on(&net, host) == ["1", "2"] && net.has(host, "/before")));
    net.assert_agreement();
}

#[test]
fn joiner_becomes_a_voter_that_counts() {
    let mut net = started(4, 3);
    assert_eq!(net.machine(3).role(), Role::Following);
    let client = net.connect(0);
    net.create(client, "/before");
    net.call(client, joining(&line(4, "participant"))).unwrap();
    assert!(net.run_until(Span::secs(3), |net| net.serving().len() == 4));
    // Three of four are needed and there: without the new one there would be two.
    net.kill(1);
    net.run(Span::secs(3));
    let client = net.connect(3);
    net.create(client, "/after");
    assert!((0..4).filter(|&host| host != 1).all(|host| members_on(&net, host) == ["1", "2", "3", "4"]));
    assert!(net.has(3, "/before"));
}

#[test]
fn joiner_waits_for_a_leader_that_knows_nothing_of_it() {
    let mut net = network(4, 3);
    net.boot(3);
    net.run(Span::secs(5));
    assert_eq!(net.machine(3).role(), Role::Looking);
    (0..3).for_each(|host| net.boot(host));
    assert!(net.run_until(Span::secs(70), |net| net.serving().len() == 4));
    assert_eq!(net.machine(3).role(), Role::Following);
    assert!(reached(&net, CoordinatorMark::ConfigGossiped) > 0);
}

#[test]
fn voter_becomes_an_observer_and_a_voter_again() {
    let mut net = started(3, 3);
    let client = net.connect(2);
    net.call(client, joining(&line(1, "observer"))).unwrap();
    assert!(net.run_until(Span::secs(3), |net| net.machine(0).role() == Role::Observing && net.serving().len() == 3));
    net.create(client, "/while-observing");
    net.call(client, joining(&line(1, "participant"))).unwrap();
    assert!(net.run_until(Span::secs(3), |net| net.machine(0).role() == Role::Following && net.serving().len() == 3));
    net.create(client, "/after");
    net.run(Span::secs(1));
    net.assert_agreement();
    assert!(config_on(&net, 0).contains("server.1=host0:2888:3888:participant;0.0.0.0:2181"));
}

#[test]
fn refusals_come_in_the_real_servers_order() {
    let mut net = Network::ensemble(3, |config| config.reconfig_enabled = true);
    net.boot_all();
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3));
    let client = net.connect(0);
    let mut ask = |request| net.call(client, request).unwrap_err();
    assert_eq!(ask(reconfig(None, Some("3"), None, 77)), ErrorCode::BadVersion);
    assert_eq!(ask(reconfig(None, None, Some("garbage"), ANY)), ErrorCode::BadArguments);
    assert_eq!(ask(joining("server.9")), ErrorCode::BadArguments);
    assert_eq!(ask(joining("server.9=host2:2999:3999")), ErrorCode::BadArguments, "no client port");
    assert_eq!(ask(joining("server.9=host2:2888:3999;2999")), ErrorCode::BadArguments, "server 3's port");
    assert_eq!(ask(leaving("1,2")), ErrorCode::BadArguments, "one voter is left");
    assert_eq!(ask(leaving("nobody")), ErrorCode::MarshallingError);
    let strangers = format!("{},{}", line(8, "participant"), line(9, "participant"));
    assert_eq!(ask(reconfig(Some(&strangers), Some("1,2"), None, ANY)), ErrorCode::NewConfigNoQuorum);
    assert_eq!(ask(leaving("3")), ErrorCode::NoAuth, "the node is read-only for whoever is not super");
    let alone = ServerConfig { reconfig_enabled: true, ..ServerConfig::standalone() };
    let mut net = Network::of([alone].into_iter(), |_| {});
    net.boot_all();
    let client = net.connect(0);
    assert_eq!(net.call(client, leaving("3")), Err(ErrorCode::Unimplemented));
}

#[test]
fn all_members_may_be_replaced_at_once_also_by_weighted_groups() {
    let mut net = started(3, 3);
    let client = net.connect(0);
    let members: Vec<String> = (1..=3).map(|sid| line(sid, "participant")).collect();
    let new = format!("{},group.1=1:2:3,weight.1=0", members.join(","));
    net.call(client, reconfig(None, None, Some(&new), ANY)).unwrap();
    net.run(Span::secs(1));
    assert!(config_on(&net, 2).contains("group.1=1:2:3\nweight.1=0\nweight.2=1\nweight.3=1\n"));
    assert_eq!(net.call(client, leaving("1")), Err(ErrorCode::BadArguments), "not one by one any more");
    net.kill(0);
    net.create_through(2, "/without-the-weightless");
    net.kill(1);
    net.boot(0);
    net.run(Span::secs(20));
    assert_eq!(net.leader(), None, "a server without weight is no help");
}

#[test]
fn restarted_servers_go_by_the_files() {
    let mut net = started(4, 3);
    let client = net.connect(0);
    net.call(client, reconfig(Some(&line(4, "participant")), Some("1"), None, ANY)).unwrap();
    net.run(Span::secs(2));
    let version = config_on(&net, 1).rsplit('=').next().unwrap().to_owned();
    for host in 1..4 {
        assert!(files(&mut net, host).contains(&format!("conf/zoo.cfg.dynamic.{version}")), "host{host}");
        net.write_back(host);
    }
    (0..4).for_each(|host| net.lose_power(host));
    (1..4).for_each(|host| net.boot(host));
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 3), "without the one that left");
    assert!((1..4).all(|host| config_on(&net, host).ends_with(&version)));
    net.boot(0);
    net.run(Span::secs(1));
    assert!(!net.is_up(0), "my id 1 not in the peer list");
    assert_eq!(net.exits, [(0, 1)]);
}

#[test]
fn server_that_slept_through_it_learns_of_it_by_notifications() {
    let mut net = started(5, 3);
    net.kill(0);
    let client = net.connect(1);
    let both = format!("{},{}", line(4, "participant"), line(5, "participant"));
    net.call(client, joining(&both)).unwrap();
    net.run(Span::secs(2));
    net.boot(0);
    assert!(net.run_until(Span::secs(10), |net| net.serving().len() == 5));
    assert_eq!(members_on(&net, 0), ["1", "2", "3", "4", "5"]);
}

#[test]
fn follower_of_a_later_configuration_refuses_an_older_leader() {
    let mut net = started(3, 3);
    net.kill(0);
    let client = net.connect(1);
    net.call(client, joining(&line(2, "participant"))).unwrap();
    net.run(Span::secs(1));
    net.kill(1);
    net.kill(2);
    // Only server 1, which missed it, and server 2, which has it, come back.
    net.boot(0);
    net.boot(1);
    assert!(net.run_until(Span::secs(20), |net| net.serving().len() == 2));
    assert_eq!(config_on(&net, 0), config_on(&net, 1));
}

/// The leader dies at each of many instants behind the request: whatever was answered holds, and the servers that are left agree on
/// one configuration.
#[test]
fn leader_that_dies_during_a_reconfiguration_leaves_one_configuration() {
    let (mut completed, mut dropped) = (0, 0);
    for micros in (0..40).map(|step| step * 150) {
        let mut net = started(5, 3);
        (0..5).for_each(|host| net.write_back(host));
        let client = net.connect(0);
        net.create(client, "/before");
        let both = format!("{},{}", line(4, "participant"), line(5, "participant"));
        let asked = net.ask(client, joining(&both));
        net.run(Span::micros(micros));
        net.lose_power(2);
        let answered = net.reply(client, asked).is_some_and(|(error, _)| error == ErrorCode::Ok);
        assert!(net.run_until(Span::secs(60), |net| net.leader().is_some()), "{micros} µs");
        net.run(Span::secs(3));
        let leader = net.leader().expect("a leader");
        let has_all = members_on(&net, leader).len() == 5;
        assert!(has_all || !answered, "{micros} µs: an answered reconfiguration is lost");
        if has_all {
            completed += 1
        } else {
            dropped += 1
        }
        net.create_through(leader, "/after");
        net.boot(2);
        assert!(net.run_until(Span::secs(60), |net| net.serving().len() == 5), "{micros} µs");
        net.run(Span::secs(2));
        let texts: Vec<String> = (0..5).map(|host| config_on(&net, host)).collect();
        assert!(texts.iter().all(|text| *text == texts[0]), "{micros} µs: {texts:?}");
        net.assert_agreement();
    }
    assert!(completed > 0 && dropped > 0, "{completed} completed, {dropped} dropped");
}

#[test]
fn nothing_acknowledged_is_lost_while_servers_come_go_and_crash() {
    for seed in 0..6u64 {
        let mut net = started(5, 3);
        (0..5).for_each(|host| net.write_back(host));
        let mut written = Vec::new();
        let mut members = vec![1u8, 2, 3];
        for round in 0..14u64 {
            let draw = seed * 31 + round * 17 + round * round * 7;
            let through = usize::from(members[usize::try_from(draw).unwrap() % members.len()]) - 1;
            // Who restarts after it was left out finds itself in no list, and exits.
            (0..5).filter(|&host| !net.is_up(host)).collect::<Vec<_>>().into_iter().for_each(|host| net.boot(host));
            net.run(Span::secs(2));
            if let Some(client) = Some(through).filter(|&host| net.is_up(host)).and_then(|host| net.try_connect(host)) {
                let path = format!("/s{seed}r{round}");
                let asked = net.ask(client, create(&path));
                net.run(Span::millis(300));
                if net.reply(client, asked).is_some_and(|(error, _)| error == ErrorCode::Ok) {
                    written.push(path);
                }
                let other = u8::try_from(draw % 5).unwrap() + 1;
                let role = if draw % 3 == 0 { "observer" } else { "participant" };
                let request = if members.len() > 3 && members.contains(&other) && draw % 2 == 0 {
                    leaving(&other.to_string())
                } else {
                    joining(&line(other, role))
                };
                net.ask(client, request);
                net.run(Span::micros(draw % 5000));
            }
            let victim = usize::try_from((draw / 3) % 5).unwrap();
            if net.is_up(victim) {
                net.lose_power(victim);
                net.run(Span::millis(draw % 700));
                net.boot(victim);
            }
            assert!(net.run_until(Span::secs(120), |net| net.leader().is_some()), "seed {seed} round {round}");
            net.run(Span::secs(4));
            let leader = net.leader().expect("a leader");
            members = members_on(&net, leader).iter().map(|sid| sid.parse().unwrap()).collect();
            (0..5)
                .filter(|&host| net.is_up(host))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|host| net.write_back(host));
        }
        let leader = net.leader().expect("a leader");
        for path in &written {
            assert!(net.has(leader, path), "seed {seed}: {path} is lost");
        }
        net.assert_agreement();
        assert!(reached(&net, CoordinatorMark::ReconfigCommitted) > 3, "seed {seed}");
    }
}
