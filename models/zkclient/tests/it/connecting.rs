//! Host list, handshake, reconnect.

use jute::client::{ClientFrame, Request};
use jute::{SessionId, Xid, Zxid};
use machine::{Input, Span};
use zkclient::{DisconnectCause, ZkClientFact, ZkEvent};

use crate::bench::{Bench, SESSION, data, get_data, zx};

#[test]
fn first_connect_asks_for_a_new_session_and_sends_nothing_else() {
    let mut bench = Bench::new(3);
    bench.submit(get_data("/a", false)).unwrap();
    bench.opened();
    let request = bench.connect_request();
    assert_eq!((request.session, request.last_zxid_seen, request.timeout_ms), (SessionId::ZERO, Zxid::ZERO, 6000));
    assert_eq!(request.password.as_slice(), [0; 16]);
    assert_eq!(request.read_only, Some(false));
    bench.confirm(6000);
    assert_eq!(bench.requests(), [(Xid::FIRST, get_data("/a", false))]);
    assert!(matches!(&bench.events()[..], [ZkEvent::Connected { session: SESSION, .. }]));
}

#[test]
fn reconnect_takes_session_password_and_last_zxid_to_another_server() {
    let mut bench = Bench::connected(3);
    bench.submit(get_data("/a", false)).unwrap();
    bench.sent();
    bench.reply(1, 9, jute::op::ErrorCode::Ok, data());
    bench.lost();
    bench.until_dialled();
    bench.opened();
    let request = bench.connect_request();
    assert_eq!((request.session, request.last_zxid_seen), (SESSION, zx(9)));
    assert_eq!(request.password.as_slice(), [7; 16]);
    assert_ne!(bench.dialled[0], bench.dialled[1]);
    bench.confirm(6000);
    let moved = bench.facts.iter().filter(|fact| matches!(fact, ZkClientFact::SessionMoved { session: SESSION, .. }));
    assert_eq!(moved.count(), 1);
    let resumed =
        bench.facts.iter().filter(|fact| matches!(fact, ZkClientFact::SessionConnected { resumed: true, .. }));
    assert_eq!(resumed.count(), 1);
}

#[test]
fn all_servers_are_dialled_in_a_shuffled_order() {
    let mut bench = Bench::new(3);
    for _ in 0..5 {
        bench.refused();
        bench.until_dialled();
    }
    let mut first: Vec<_> = bench.dialled[..3].to_vec();
    assert_eq!(first, bench.dialled[3..], "the same order again");
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), 3, "each once");
}

#[test]
fn servers_that_never_answered_are_dialled_after_the_close_pause_and_the_list_after_the_spin_delay() {
    let mut bench = Bench::new(2);
    bench.refused();
    assert_eq!(bench.until_dialled(), Span::millis(100));
    bench.refused();
    assert_eq!(bench.until_dialled(), Span::millis(1100), "back at the start of the list");
}

#[test]
fn reconnect_is_delayed_by_a_random_part_of_a_second() {
    let mut bench = Bench::connected(2);
    let mut delays = Vec::new();
    for _ in 0..10 {
        bench.lost();
        delays.push(bench.until_dialled());
        bench.associate(6000);
        bench.sent();
    }
    assert!(delays.iter().all(|&slept| slept >= Span::millis(100) && slept < Span::millis(1100)), "{delays:?}");
    let drawn = delays.len();
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > drawn / 2, "they differ: {delays:?}");
}

#[test]
fn only_server_of_a_list_is_dialled_again_after_spin_and_random_delay() {
    let mut bench = Bench::connected(1);
    bench.lost();
    let slept = bench.until_dialled();
    assert!(slept >= Span::millis(1100) && slept < Span::millis(2100), "{slept}");
}

#[test]
fn disconnected_is_told_once_however_often_a_reconnect_fails() {
    let mut bench = Bench::connected(2);
    bench.lost();
    bench.until_dialled();
    bench.refused();
    bench.until_dialled();
    bench.opened();
    bench.lost();
    bench.until_dialled();
    assert_eq!(bench.events(), [ZkEvent::Disconnected]);
    bench.associate(6000);
    assert!(matches!(&bench.events()[..], [ZkEvent::Connected { .. }]));
}

#[test]
fn inputs_on_an_end_that_was_given_up_are_dropped() {
    let mut bench = Bench::connected(2);
    let old = bench.end;
    bench.lost();
    bench.until_dialled();
    assert!(!bench.zk().owns(old) && bench.zk().owns(bench.end));
    bench.feed(Input::Opened { on: old });
    bench.feed(Input::Refused { on: old });
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.zk().view().state, "connecting");
}

#[test]
fn server_that_closes_instead_of_confirming_is_an_ordinary_disconnect() {
    let mut bench = Bench::connected(3);
    bench.lost();
    bench.until_dialled();
    bench.opened();
    bench.lost();
    bench.until_dialled();
    assert_eq!(bench.zk().session(), SESSION);
    assert!(bench.zk().is_alive());
}

#[test]
fn reply_before_the_session_is_confirmed_drops_the_connection() {
    let mut bench = Bench::new(2);
    bench.opened();
    let end = bench.end;
    bench.reply(1, 1, jute::op::ErrorCode::Ok, None);
    assert_eq!(bench.closed, [end]);
    bench.until_dialled();
}

#[test]
fn close_ends_with_the_reply_to_close_session() {
    let mut bench = Bench::connected(2);
    bench.close();
    assert_eq!(bench.requests(), [(Xid::FIRST, Request::CloseSession)]);
    assert_eq!(bench.submit(get_data("/a", false)), Err(zkclient::Rejected::Closed));
    bench.reply(1, 2, jute::op::ErrorCode::Ok, None);
    assert_eq!(bench.events(), [ZkEvent::Closed]);
    assert_eq!(bench.closed, [bench.end]);
    assert!(bench.facts.contains(&ZkClientFact::SessionClosed { session: SESSION, confirmed: true }));
}

#[test]
fn close_does_not_reconnect_and_says_that_nobody_confirmed() {
    let mut bench = Bench::connected(2);
    bench.close();
    bench.lost();
    assert_eq!(bench.events(), [ZkEvent::Closed]);
    assert!(bench.facts.contains(&ZkClientFact::SessionClosed { session: SESSION, confirmed: false }));
    assert_eq!(bench.zk().next_wake(), None);
}

#[test]
fn close_between_two_servers_still_says_so_to_the_next() {
    let mut bench = Bench::connected(2);
    bench.lost();
    // Past the pause, in the sleep before the next connect.
    bench.advance(Span::millis(100));
    bench.close();
    if bench.dialled.len() == 1 {
        bench.until_dialled();
    }
    bench.associate(6000);
    let last = bench.sent().pop();
    assert!(matches!(last, Some(ClientFrame::Request { request: Request::CloseSession, .. })), "{last:?}");
}

#[test]
fn facts_name_the_cause_of_a_disconnect() {
    let mut bench = Bench::connected(2);
    bench.lost();
    assert!(bench.facts.iter().any(|fact| matches!(
        fact,
        ZkClientFact::SessionDisconnected { session: SESSION, cause: DisconnectCause::Reset, .. }
    )));
}
