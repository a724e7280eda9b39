//! A client that lives below a znode: servers see whole paths, the application its own.

use jute::client::{Create2Response, CreateRequest, Request, Response};
use jute::data::{Acl, Stat};
use jute::op::{CreateMode, ErrorCode, EventType};
use jute::path::PathError;
use jute::{Buffer, Xid};
use zkclient::{Chroot, Outcome, Rejected, WatchKind, ZkClientConfig, ZkClientFact, ZkEvent};

use crate::bench::{Bench, data, exists, get_children, get_data, zx};

fn confined() -> ZkClientConfig {
    let mut config = Bench::config(3);
    config.chroot = Chroot::new("/app").expect("a path");
    config
}

#[test]
fn requests_name_whole_paths_and_replies_the_clients() {
    let mut bench = Bench::connected_with(confined());
    let create = |path: &str| {
        Request::Create2(CreateRequest {
            path: path.to_owned(),
            data: Buffer::NULL,
            acl: Some(Acl::open()),
            flags: CreateMode::PersistentSequential.code(),
        })
    };
    let op = bench.submit(create("/a-")).unwrap();
    assert_eq!(bench.requests(), [(Xid::FIRST, create("/app/a-"))]);
    let created = |path: &str| Response::Create2(Create2Response { path: path.to_owned(), stat: Stat::default() });
    bench.reply(1, 5, ErrorCode::Ok, Some(created("/app/a-0000000003")));
    let outcome = Outcome::Ok { response: Some(created("/a-0000000003")), zxid: Some(zx(5)) };
    assert_eq!(bench.events(), [ZkEvent::Completed { op, outcome }]);
}

#[test]
fn root_of_the_client_is_its_chroot() {
    let mut bench = Bench::connected_with(confined());
    bench.submit(get_children("/", false)).unwrap();
    assert_eq!(bench.requests()[0].1, get_children("/app", false));
}

#[test]
fn watches_are_the_clients_paths_and_observers_are_told_the_servers() {
    let mut bench = Bench::connected_with(confined());
    bench.submit(get_data("/d", true)).unwrap();
    bench.submit(exists("/", true)).unwrap();
    bench.reply(1, 4, ErrorCode::Ok, data());
    bench.reply(2, 4, ErrorCode::NoNode, None);
    assert!(bench.zk().is_watching(WatchKind::Data, "/d") && bench.zk().is_watching(WatchKind::Exist, "/"));
    let set = |path: &str, watch| ZkClientFact::WatchSet {
        session: crate::bench::SESSION,
        path: path.into(),
        watch,
        zxid: Some(zx(4)),
    };
    assert!(bench.facts.contains(&set("/app/d", WatchKind::Data)));
    assert!(bench.facts.contains(&set("/app", WatchKind::Exist)));
    bench.events();
    bench.notify(EventType::NodeDataChanged, "/app/d");
    bench.notify(EventType::NodeCreated, "/app");
    let told = bench.events().into_iter().map(|event| match event {
        ZkEvent::Watch(event) => (event.path.to_string(), event.consumed.name()),
        other => panic!("{other:?} is no watch's"),
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, [("/d".to_owned(), "data"), ("/".to_owned(), "exist")]);
    let delivered = bench.facts.iter().filter_map(|fact| match fact {
        ZkClientFact::WatchDelivered { path, .. } => Some(&**path),
        _ => None,
    });
    assert_eq!(delivered.collect::<Vec<_>>(), ["/app/d", "/app"]);
}

#[test]
fn watches_are_set_again_by_whole_paths() {
    let mut bench = Bench::connected_with(confined());
    bench.submit(get_data("/d", true)).unwrap();
    bench.reply(1, 4, ErrorCode::Ok, data());
    bench.lost();
    bench.until_dialled();
    bench.sent();
    bench.opened();
    bench.sent();
    bench.confirm(6000);
    assert_eq!(bench.set_watches().1.data_watches, ["/app/d"]);
}

#[test]
fn what_is_no_path_is_not_sent_anywhere() {
    let mut bench = Bench::connected(3);
    assert_eq!(bench.submit(get_data("a", false)), Err(Rejected::BadPath(PathError::NotAbsolute)));
    assert_eq!(bench.submit(get_data("/a/", false)), Err(Rejected::BadPath(PathError::TrailingSlash)));
    // Of a sequential znode the number belongs to it.
    let create = |flags: CreateMode| {
        let path = "/a/".to_owned();
        Request::Create(CreateRequest { path, data: Buffer::NULL, acl: Some(Acl::open()), flags: flags.code() })
    };
    assert_eq!(bench.submit(create(CreateMode::Persistent)), Err(Rejected::BadPath(PathError::TrailingSlash)));
    assert!(bench.submit(create(CreateMode::PersistentSequential)).is_ok());
    assert_eq!(bench.requests().len(), 1);
}
