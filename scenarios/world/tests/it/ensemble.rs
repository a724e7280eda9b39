//! An ensemble without judges: what a cluster must do if nothing, or one thing, goes wrong.

use std::collections::BTreeSet;

use engine::{Options, Plan, Verdict, World};
use machine::{Machine as _, Span};
use world::{Files, Node, Scenario, Setup, View, load};

fn scenario(faults: &str) -> Scenario {
    let text = format!(
        "about = \"a test\"\nduration = \"12s\"\n\
         [cluster]\ncoordinators = 3\nzoo = {{ tickTime = 500, initLimit = 10, syncLimit = 5, preAllocSize = 64 }}\n\
         [[workloads]]\nkind = \"unique-creates\"\n[[workloads]]\nkind = \"compare-and-set\"\n{faults}"
    );
    load("test.toml", &text).unwrap()
}

fn run(faults: &str, seed: u64) -> World<Node, ()> {
    let setup = Setup::draw(&scenario(faults), &Files::default(), seed).unwrap();
    let options = Options { record: true, ..Options::default() };
    let mut world = World::new(seed, (), setup.hosts, &setup.network, setup.schedule, options);
    let plan = Plan { faults_for: setup.faults_for, settle_at_most: Span::secs(20), step_budget: 10_000_000 };
    let outcome = world.run(&plan);
    assert_eq!(outcome.verdict, Verdict::Held);
    let until = world.now() + Span::secs(10);
    world.run_until(until);
    world
}

/// The fields of every fact of a kind, in order.
fn facts(world: &World<Node, ()>, kind: &str) -> Vec<Vec<(&'static str, String)>> {
    let events = &world.recording().unwrap().events;
    events.iter().flat_map(|event| &event.facts).filter(|(k, _)| *k == kind).map(|(_, fields)| fields.clone()).collect()
}

fn field<'a>(fields: &'a [(&'static str, String)], name: &str) -> &'a str {
    fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str()).unwrap()
}

/// (role, last zxid, tree digest) of each server.
#[track_caller]
fn agreed(world: &World<Node, ()>) -> (usize, u64) {
    let mut leaders = 0;
    let mut trees = BTreeSet::new();
    let mut servers = 0;
    for (_, machine) in world.hosts().machines() {
        let View::Coordinator(view) = machine.view() else { continue };
        servers += 1;
        leaders += usize::from(view.role == "leading");
        trees.insert((view.tree_digest, view.sessions));
        assert_eq!(view.phase, "broadcast", "{view:?}");
    }
    assert_eq!(servers, 3);
    assert_eq!(trees.len(), 1, "the servers' trees differ: {trees:x?}");
    (leaders, trees.first().unwrap().0)
}

#[test]
fn an_ensemble_without_faults_elects_once_and_completes_every_operation() {
    let world = run("", 1);
    assert_eq!(agreed(&world).0, 1);
    assert_eq!(facts(&world, "leader-established").len(), 1);
    let done = facts(&world, "op-completed");
    assert!(done.len() > 200, "{} operations", done.len());
    assert!(done.iter().all(|fields| field(fields, "outcome") == "ok"));
}

#[test]
fn a_killed_leader_is_replaced_in_a_higher_epoch_and_comes_back_as_a_follower() {
    let kill = "[[faults]]\nwhen = { fact = \"leader-established\", nth = 1 }\nafter = \"3s\"\n\
                do = { kill = { target = { this = true }, restart-after = \"2s\" } }\n";
    for seed in 0..5 {
        let world = run(kill, seed);
        assert_eq!(agreed(&world).0, 1);
        let epochs: Vec<u32> =
            facts(&world, "leader-established").iter().map(|f| field(f, "epoch").parse().unwrap()).collect();
        assert!(epochs.len() >= 2 && epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    }
}

#[test]
fn a_leader_that_is_cut_off_steps_down_while_the_others_go_on() {
    let cut = "[[faults]]\nwhen = { fact = \"leader-established\", nth = 1 }\nafter = \"2s\"\n\
               do = { isolate = { target = { this = true }, for = \"6s\" } }\n";
    for seed in 0..5 {
        let world = run(cut, seed);
        assert_eq!(agreed(&world).0, 1);
        assert!(!facts(&world, "leader-stepped-down").is_empty());
        assert!(facts(&world, "leader-established").len() >= 2);
    }
}

#[test]
fn an_ensemble_that_loses_power_as_a_whole_comes_back_with_everything_acknowledged() {
    let outage = "[[faults]]\nwhen = { at = \"9s\" }\ndo = { power-loss = { target = { group = \"coordinators\" }, down-for = \"1s\" } }\n";
    for seed in 0..5 {
        let world = run(outage, seed);
        agreed(&world);
        let done = facts(&world, "op-completed");
        let of = |kind: &str, outcome: &str| -> BTreeSet<String> {
            let wanted = |f: &&Vec<(&'static str, String)>| field(f, "kind") == kind && field(f, "outcome") == outcome;
            done.iter().filter(wanted).map(|f| field(f, "path").to_owned()).collect()
        };
        let mut created: BTreeSet<String> = done
            .iter()
            .filter(|f| field(f, "kind") == "create" && field(f, "outcome") == "ok" && field(f, "code") == "OK")
            .map(|f| field(f, "path").to_owned())
            .collect();
        for gone in of("delete", "ok").union(&of("delete", "unknown")) {
            created.remove(gone);
        }
        assert!(created.len() > 10, "{} creates", created.len());
        for (_, machine) in world.hosts().machines() {
            let Node::Coordinator(server) = machine else { continue };
            for path in &created {
                assert!(server.database().tree().node(path).is_some(), "{path} was acknowledged and is gone");
            }
        }
    }
}

#[test]
fn observers_come_last_and_change_nothing_for_the_others() {
    let draw = |observers: u8| {
        let mut scenario = scenario("");
        scenario.cluster.observers = observers;
        Setup::draw(&scenario, &Files::default(), 3).unwrap()
    };
    let (without, with) = (draw(0), draw(2));
    let before = without.topology.names();
    let names = with.topology.names();
    assert_eq!(names, [&before[..], &["zk4".to_owned(), "zk5".to_owned()]].concat());
    assert_eq!(without.topology.servers, with.topology.servers);
    assert_eq!(with.hosts.len(), names.len());
    let voters = with.topology.config.quorum();
    assert_eq!((voters.voters().len(), voters.members().len()), (3, 5));
}

#[test]
fn observers_serve_beside_the_voters() {
    let mut scenario = scenario("");
    scenario.cluster.observers = 2;
    let setup = Setup::draw(&scenario, &Files::default(), 3).unwrap();
    let observers: Vec<_> = setup.topology.observers.iter().map(|observer| observer.host).collect();
    let options = Options { record: true, ..Options::default() };
    let mut world = World::new(3, (), setup.hosts, &setup.network, setup.schedule, options);
    world.run_until(machine::Instant::ZERO + Span::secs(10));
    let roles = facts(&world, "role-changed");
    let observing = roles.iter().filter(|fields| fields.iter().any(|(_, value)| value == "observing")).count();
    assert_eq!(observing, observers.len(), "{roles:?}");
}

fn with_workload(keys: &str) -> Scenario {
    let text = format!(
        "about = \"a test\"\nduration = \"5s\"\n[cluster]\ncoordinators = 3\n[[workloads]]\nkind = \"multi\"\n{keys}"
    );
    load("test.toml", &text).unwrap()
}

#[test]
fn a_connect_string_names_servers_of_the_world() {
    for (connect, why) in
        [("zk1,zk9", "there is no server `zk9` to connect to"), ("zk1:2222", "`zk1` does not listen on 2222")]
    {
        let error = Setup::draw(&with_workload(&format!("connect = \"{connect}\"")), &Files::default(), 1).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_client_is_told_what_its_workload_says_about_sessions() {
    let keys = "connect = \"zk3:2181,zk1/app\"\nauth = \"digest:u:p\"\ncan_be_read_only = true\n\
                zookeeper_request_timeout = \"2s\"";
    let setup = Setup::draw(&with_workload(keys), &Files::default(), 1).unwrap();
    let images = setup.hosts.iter().filter_map(|host| match &host.image {
        world::Image::ZkWorkload(image) => Some(&image.connection),
        world::Image::Coordinator(_) | world::Image::Broker(_) | world::Image::KafkaClient(_) => None,
    });
    let images: Vec<_> = images.collect();
    assert_eq!(images.len(), 2);
    for connection in images {
        let names: Vec<&str> = connection.servers.iter().map(|server| &*server.name).collect();
        assert_eq!(names, ["zk3", "zk1"]);
        assert_eq!(connection.chroot.path().map(|path| &**path), Some("/app"));
        assert_eq!(&*connection.auth[0].scheme, "digest");
        assert_eq!(connection.auth[0].auth.as_slice(), b"u:p");
        assert!(connection.can_be_read_only);
        assert_eq!(connection.request_timeout, Span::secs(2));
    }
}
