//! Pings and timeouts, for a session of 6 s: connect 6 s / servers, read 4 s, ping 2 s, expiration 8 s.

use jute::Xid;
use jute::op::ErrorCode;
use machine::Span;
use zkclient::{DisconnectCause, ZkClientFact, ZkEvent};

use crate::bench::{Bench, get_data};

fn last_cause(bench: &Bench) -> Option<DisconnectCause> {
    bench.facts.iter().rev().find_map(|fact| match fact {
        ZkClientFact::SessionDisconnected { cause, .. } => Some(*cause),
        _ => None,
    })
}

#[test]
fn idle_connection_is_pinged_after_a_third_of_the_timeout() {
    let mut bench = Bench::connected(3);
    bench.advance(Span::millis(1999));
    assert_eq!(bench.pings(), 0);
    bench.advance(Span::millis(1));
    assert_eq!(bench.pings(), 1);
}

#[test]
fn ping_comes_a_second_earlier_once_something_happens_after_a_second() {
    let mut bench = Bench::connected(3);
    bench.advance(Span::millis(1500));
    // Any frame makes the client look at its clocks: 1.5 s after the last send a ping is overdue by half a second.
    bench.reply(Xid::PING.value(), 1, ErrorCode::Ok, None);
    assert_eq!(bench.pings(), 1);
}

#[test]
fn sending_a_request_puts_the_ping_off() {
    let mut bench = Bench::connected(3);
    bench.advance(Span::millis(900));
    bench.submit(get_data("/a", false)).unwrap();
    bench.sent();
    bench.advance(Span::millis(1999));
    assert_eq!(bench.sent(), []);
    bench.advance(Span::millis(1));
    assert_eq!(bench.pings(), 1);
}

#[test]
fn answered_pings_keep_the_connection_for_ever() {
    let mut bench = Bench::connected(3);
    for _ in 0..100 {
        bench.advance(Span::millis(2000));
        assert_eq!(bench.pings(), 1);
        bench.reply(Xid::PING.value(), 1, ErrorCode::Ok, None);
    }
    assert!(bench.zk().is_connected());
}

#[test]
fn silent_server_is_dropped_after_two_thirds_of_the_timeout() {
    let mut bench = Bench::connected(3);
    bench.advance(Span::millis(3999));
    assert!(bench.zk().is_connected());
    bench.advance(Span::millis(1));
    assert!(!bench.zk().is_connected());
    assert_eq!(bench.closed.len(), 1);
    assert_eq!(last_cause(&bench), Some(DisconnectCause::ReadTimeout));
    // Java sleeps 100 ms with the socket closed before it tells anybody.
    assert_eq!(bench.events(), []);
    bench.advance(Span::millis(100));
    assert_eq!(bench.events(), [ZkEvent::Disconnected]);
}

#[test]
fn connect_timeout_is_shared_out_among_the_servers() {
    let mut bench = Bench::new(3);
    bench.advance(Span::millis(1999));
    assert_eq!(bench.closed, []);
    bench.advance(Span::millis(1));
    assert_eq!(bench.closed.len(), 1);
}

#[test]
fn connect_timeout_begins_again_when_the_connect_request_is_sent() {
    let mut bench = Bench::new(3);
    bench.advance(Span::millis(1500));
    bench.opened();
    bench.advance(Span::millis(1999));
    assert_eq!(bench.closed, []);
    bench.advance(Span::millis(1));
    assert_eq!(bench.closed.len(), 1);
}

#[test]
fn negotiated_timeout_replaces_the_requested_one() {
    let mut bench = Bench::new(3);
    bench.associate(3000);
    bench.sent();
    bench.advance(Span::millis(1000));
    assert_eq!(bench.pings(), 1);
    bench.advance(Span::millis(1000));
    assert!(!bench.zk().is_connected(), "2 s of silence are two thirds of 3 s");
}

#[test]
fn long_session_is_pinged_at_least_every_ten_seconds_when_something_happens() {
    let mut bench = Bench::new(3);
    bench.associate(60_000);
    bench.sent();
    bench.advance(Span::millis(10_001));
    assert_eq!(bench.sent(), []);
    bench.notify(jute::op::EventType::NodeCreated, "/x");
    assert_eq!(bench.pings(), 1);
}
