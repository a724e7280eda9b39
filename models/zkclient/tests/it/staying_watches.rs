//! Watches that stay until they are removed, and the removal of watches.

use jute::client::{AddWatchRequest, ErrorResponse, Request, Response, WatchesRequest};
use jute::op::{AddWatchMode, ErrorCode, EventType, WatcherType};
use zkclient::{Outcome, WatchKind, ZkClientFact, ZkEvent};

use crate::bench::{Bench, data, exists, get_data, zx};

fn add_watch(path: &str, mode: AddWatchMode) -> Request {
    Request::AddWatch(AddWatchRequest { path: path.to_owned(), mode })
}

fn added() -> Option<Response> {
    Some(Response::AddWatch(ErrorResponse { err: ErrorCode::Ok }))
}

/// A client with a persistent watch on /p and a recursive one on /r.
fn watching() -> Bench {
    let mut bench = Bench::connected(3);
    bench.submit(add_watch("/p", AddWatchMode::Persistent)).expect("taken");
    bench.submit(add_watch("/r", AddWatchMode::PersistentRecursive)).expect("taken");
    bench.reply(1, 4, ErrorCode::Ok, added());
    bench.reply(2, 4, ErrorCode::Ok, added());
    bench.sent();
    bench.events();
    bench
}

fn watched(bench: &mut Bench) -> Vec<(EventType, String, &'static str)> {
    let events = bench.events().into_iter().filter_map(|event| match event {
        ZkEvent::Watch(event) => Some((event.event, event.path.to_string(), event.consumed.name())),
        _ => None,
    });
    events.collect()
}

#[test]
fn added_watch_is_registered_by_a_reply_that_says_ok_or_no_node() {
    for (mode, kind) in
        [(AddWatchMode::Persistent, WatchKind::Persistent), (AddWatchMode::PersistentRecursive, WatchKind::Recursive)]
    {
        for (err, expected) in [(ErrorCode::Ok, true), (ErrorCode::NoNode, true), (ErrorCode::Unimplemented, false)] {
            let mut bench = Bench::connected(3);
            bench.submit(add_watch("/a", mode)).unwrap();
            bench.reply(1, 4, err, if err == ErrorCode::Ok { added() } else { None });
            assert_eq!(bench.zk().is_watching(kind, "/a"), expected, "{mode:?} {err:?}");
        }
    }
}

#[test]
fn watch_that_stays_is_told_of_every_change() {
    let mut bench = watching();
    for _ in 0..2 {
        bench.notify(EventType::NodeDataChanged, "/p");
        bench.notify(EventType::NodeChildrenChanged, "/p");
        bench.notify(EventType::NodeCreated, "/r/a/b");
    }
    let once = [
        (EventType::NodeDataChanged, "/p".to_owned(), "persistent"),
        (EventType::NodeChildrenChanged, "/p".to_owned(), "persistent"),
        (EventType::NodeCreated, "/r/a/b".to_owned(), "recursive"),
    ];
    assert_eq!(watched(&mut bench), [once.clone(), once].concat());
}

#[test]
fn watches_that_stay_are_set_again_with_the_others() {
    let mut bench = watching();
    bench.submit(get_data("/d", true)).unwrap();
    bench.reply(3, 6, ErrorCode::Ok, data());
    bench.lost();
    bench.until_dialled();
    bench.opened();
    bench.sent();
    bench.confirm(6000);
    let requests = bench.requests();
    let [(xid, Request::SetWatches2(again))] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((xid.value(), again.relative_zxid), (4, zx(6)));
    assert_eq!(again.data_watches, ["/d"]);
    assert_eq!(again.persistent_watches, ["/p"]);
    assert_eq!(again.persistent_recursive_watches, ["/r"]);
    assert!(bench.facts.iter().any(|fact| matches!(fact, ZkClientFact::WatchesResent { watches: 3, .. })));
}

#[test]
fn removal_that_the_server_confirms_is_told_before_its_own_end() {
    let mut bench = watching();
    let op = bench.remove_watches("/p", WatcherType::Any, false);
    let request = WatchesRequest { path: "/p".to_owned(), watcher_type: WatcherType::Any };
    assert_eq!(bench.requests()[0].1, Request::RemoveWatches(request));
    bench.reply(3, 7, ErrorCode::Ok, None);
    let events = bench.events();
    assert!(matches!(&events[0], ZkEvent::Watch(event) if event.event == EventType::PersistentWatchRemoved));
    assert_eq!(events[1], ZkEvent::Completed { op, outcome: Outcome::Ok { response: None, zxid: Some(zx(7)) } });
    assert!(!bench.zk().is_watching(WatchKind::Persistent, "/p"));
    assert!(bench.facts.iter().any(|fact| matches!(fact, ZkClientFact::WatchRemoved { .. })));
}

#[test]
fn watch_that_is_not_there_cannot_be_removed_whatever_the_server_says() {
    let mut bench = watching();
    let op = bench.remove_watches("/p", WatcherType::PersistentRecursive, true);
    bench.reply(3, 7, ErrorCode::Ok, None);
    let outcome = Outcome::Error { code: ErrorCode::NoWatcher, zxid: Some(zx(7)) };
    assert_eq!(bench.events(), [ZkEvent::Completed { op, outcome }]);
    // It is one of children as far as asking goes, and none as far as removing goes.
    let op = bench.remove_watches("/p", WatcherType::Children, false);
    bench.reply(4, 7, ErrorCode::Ok, None);
    let outcome = Outcome::Error { code: ErrorCode::NoWatcher, zxid: Some(zx(7)) };
    assert_eq!(bench.events(), [ZkEvent::Completed { op, outcome }]);
    assert!(bench.zk().is_watching(WatchKind::Persistent, "/p"));
}

#[test]
fn only_a_local_removal_works_without_a_server() {
    for (local, kept) in [(false, true), (true, false)] {
        let mut bench = Bench::connected(3);
        bench.submit(exists("/e", true)).unwrap();
        bench.reply(1, 4, ErrorCode::NoNode, None);
        bench.events();
        let op = bench.remove_watches("/e", WatcherType::Data, local);
        bench.lost();
        bench.advance(machine::Span::millis(100));
        assert_eq!(bench.zk().is_watching(WatchKind::Exist, "/e"), kept);
        let events = bench.events();
        let outcome = events.iter().find_map(|event| match event {
            ZkEvent::Completed { op: it, outcome } if *it == op => Some(outcome),
            _ => None,
        });
        if local {
            assert_eq!(outcome, Some(&Outcome::Ok { response: None, zxid: None }));
            assert!(matches!(&events[0], ZkEvent::Watch(event) if event.event == EventType::DataWatchRemoved));
            // The removal has told of the state already.
            assert_eq!(events.len(), 2);
        } else {
            assert_eq!(outcome, Some(&Outcome::ConnectionLoss));
            assert_eq!(events.last(), Some(&ZkEvent::Disconnected));
        }
    }
}

#[test]
fn removal_that_the_server_refuses_keeps_the_watch_unless_it_is_local() {
    for (local, kept) in [(false, true), (true, false)] {
        let mut bench = watching();
        bench.remove_watches("/r", WatcherType::Any, local);
        bench.reply(3, 7, ErrorCode::NoWatcher, None);
        assert_eq!(bench.zk().is_watching(WatchKind::Recursive, "/r"), kept);
    }
}

#[test]
fn without_the_automatic_reset_watches_end_with_their_connection() {
    let mut config = Bench::config(3);
    config.disable_auto_watch_reset = true;
    let mut bench = Bench::connected_with(config);
    bench.submit(get_data("/d", true)).unwrap();
    bench.submit(add_watch("/p", AddWatchMode::Persistent)).unwrap();
    bench.reply(1, 4, ErrorCode::Ok, data());
    bench.reply(2, 4, ErrorCode::Ok, added());
    bench.lost();
    bench.until_dialled();
    assert!(!bench.zk().is_watching(WatchKind::Data, "/d") && !bench.zk().is_watching(WatchKind::Persistent, "/p"));
    bench.sent();
    bench.associate(6000);
    assert_eq!(bench.sent().len(), 1, "the ConnectRequest alone");
}
