//! Watches: registered by replies, consumed by events, set again after a reconnect.

use jute::Xid;
use jute::op::{ErrorCode, EventType};
use zkclient::{WatchKind, ZkClientConfig, ZkClientFact, ZkEvent};

use crate::bench::{Bench, children, data, exists, found, get_children, get_data, zx};

fn watched(bench: &mut Bench) -> Vec<(EventType, String, &'static str)> {
    bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ZkEvent::Watch(event) => Some((event.event, event.path.to_string(), event.consumed.name())),
            _ => None,
        })
        .collect()
}

/// A client with a data watch on /d, an exist watch on /e and a child watch on /c.
fn watching() -> Bench {
    let mut bench = Bench::connected(3);
    bench.submit(get_data("/d", true)).expect("taken");
    bench.submit(exists("/e", true)).expect("taken");
    bench.submit(get_children("/c", true)).expect("taken");
    bench.reply(1, 4, ErrorCode::Ok, data());
    bench.reply(2, 4, ErrorCode::NoNode, None);
    bench.reply(3, 5, ErrorCode::Ok, children());
    bench.sent();
    bench.events();
    bench
}

#[test]
fn watch_is_registered_by_the_reply_and_only_where_it_can_see_something() {
    let mut bench = Bench::connected(3);
    let cases = [
        (get_data("/1", true), ErrorCode::Ok, data(), Some(WatchKind::Data)),
        (get_data("/2", true), ErrorCode::NoNode, None, None),
        (exists("/3", true), ErrorCode::Ok, found(), Some(WatchKind::Data)),
        (exists("/4", true), ErrorCode::NoNode, None, Some(WatchKind::Exist)),
        (exists("/5", true), ErrorCode::NoAuth, None, None),
        (get_children("/6", true), ErrorCode::Ok, children(), Some(WatchKind::Child)),
        (get_children("/7", true), ErrorCode::NoNode, None, None),
        (get_data("/8", false), ErrorCode::Ok, data(), None),
    ];
    for (xid, (request, err, response, expected)) in (1..).zip(cases) {
        let path = format!("/{xid}");
        bench.submit(request).unwrap();
        assert_eq!(kinds(&bench, &path), None, "before the reply");
        bench.reply(xid, 3, err, response);
        assert_eq!(kinds(&bench, &path), expected, "{path}");
    }
    let set = bench.facts.iter().filter(|fact| matches!(fact, ZkClientFact::WatchSet { .. }));
    assert_eq!(set.count(), 4);
}

fn kinds(bench: &Bench, path: &str) -> Option<WatchKind> {
    [WatchKind::Data, WatchKind::Exist, WatchKind::Child].into_iter().find(|&kind| bench.zk().is_watching(kind, path))
}

#[test]
fn event_is_told_once_and_consumes_its_watch() {
    let mut bench = watching();
    for _ in 0..2 {
        bench.notify(EventType::NodeDataChanged, "/d");
        bench.notify(EventType::NodeCreated, "/e");
        bench.notify(EventType::NodeChildrenChanged, "/c");
    }
    assert_eq!(
        watched(&mut bench),
        [
            (EventType::NodeDataChanged, "/d".to_owned(), "data"),
            (EventType::NodeCreated, "/e".to_owned(), "exist"),
            (EventType::NodeChildrenChanged, "/c".to_owned(), "child"),
        ]
    );
    let told = bench.facts.iter().filter(|fact| matches!(fact, ZkClientFact::WatchDelivered { .. }));
    assert_eq!(told.count(), 6, "observers are told of events nobody waited for");
}

#[test]
fn watch_events_do_not_move_the_last_zxid() {
    let mut bench = watching();
    let event = jute::client::WatcherEvent {
        event: EventType::NodeDataChanged,
        state: jute::op::KeeperState::SyncConnected,
        path: "/d".to_owned(),
    };
    bench.answer(jute::client::ServerFrame::Notification { zxid: Some(zx(99)), event });
    assert_eq!(bench.zk().last_zxid(), zx(5));
}

#[test]
fn watches_are_set_again_before_anything_queued_with_an_ordinary_xid() {
    let mut bench = watching();
    bench.lost();
    bench.until_dialled();
    bench.submit(get_data("/q", false)).unwrap();
    bench.associate(6000);
    let sent = bench.sent();
    let ops: Vec<_> = sent
        .iter()
        .map(|frame| match frame {
            jute::client::ClientFrame::Request { request, .. } => request.op().name(),
            _ => "connect",
        })
        .collect();
    assert_eq!(ops, ["connect", "setWatches", "getData"]);
    let mut bench = watching();
    bench.lost();
    bench.until_dialled();
    bench.opened();
    bench.sent();
    bench.confirm(6000);
    let (xid, request) = bench.set_watches();
    assert_eq!(xid, Xid::new(4));
    assert_eq!(request.relative_zxid, zx(5));
    assert_eq!(request.data_watches, ["/d"]);
    assert_eq!(request.exist_watches, ["/e"]);
    assert_eq!(request.child_watches, ["/c"]);
    // What had changed is told before the reply; the reply completes nothing of the parent's.
    bench.events();
    bench.notify(EventType::NodeDeleted, "/d");
    bench.reply(4, 6, ErrorCode::Ok, None);
    assert_eq!(watched(&mut bench), [(EventType::NodeDeleted, "/d".to_owned(), "data")]);
    assert_eq!(kinds(&bench, "/e"), Some(WatchKind::Exist));
}

#[test]
fn reconnect_without_watches_sends_no_set_watches() {
    let mut bench = Bench::connected(3);
    bench.lost();
    bench.until_dialled();
    bench.opened();
    bench.sent();
    bench.confirm(6000);
    assert_eq!(bench.sent(), []);
}

#[test]
fn many_watches_are_set_again_in_batches_last_first() {
    let mut config = ZkClientConfig::new(Bench::new(1).zk_servers(), 6000);
    config.watches_max = 400;
    let mut bench = Bench::with(config);
    bench.associate(6000);
    for xid in 1..=300 {
        bench.submit(get_data(&format!("/{xid:01023}"), true)).unwrap();
        bench.reply(xid, 3, ErrorCode::Ok, data());
    }
    bench.sent();
    bench.lost();
    bench.until_dialled();
    bench.opened();
    bench.sent();
    bench.confirm(6000);
    let sizes: Vec<_> = bench
        .requests()
        .into_iter()
        .map(|(_, request)| match request {
            jute::client::Request::SetWatches(request) => request.data_watches.len(),
            other => panic!("{other:?} is no setWatches"),
        })
        .collect();
    assert_eq!(sizes, [44, 128, 128], "each batch is put in front of the one before");
}

#[test]
fn watch_of_an_operation_that_was_lost_is_not_registered() {
    let mut bench = Bench::connected(3);
    bench.submit(get_data("/d", true)).unwrap();
    bench.lost();
    bench.until_dialled();
    assert_eq!(kinds(&bench, "/d"), None);
}

#[test]
fn watches_over_the_limit_are_rejected() {
    let mut config = ZkClientConfig::new(Bench::new(1).zk_servers(), 6000);
    config.watches_max = 1;
    let mut bench = Bench::with(config);
    bench.associate(6000);
    bench.submit(get_data("/a", true)).unwrap();
    assert_eq!(bench.submit(get_data("/b", true)), Err(zkclient::Rejected::Full));
    assert!(bench.submit(get_data("/b", false)).is_ok());
}
