//! The end of a session, told by a server or found out.

use machine::Span;
use zkclient::{Defect, ExpiredBy, Outcome, Rejected, ZkClientFact, ZkEvent};

use crate::bench::{Bench, SESSION, get_data};

#[test]
fn refused_session_is_expired_and_ends_queued_operations() {
    let mut bench = Bench::connected(3);
    bench.lost();
    bench.until_dialled();
    assert_eq!(bench.events(), [ZkEvent::Disconnected]);
    let op = bench.submit(get_data("/a", false)).unwrap();
    bench.associate(0);
    assert_eq!(bench.events(), [ZkEvent::Completed { op, outcome: Outcome::SessionExpired }, ZkEvent::Expired]);
    assert_eq!(bench.closed, [bench.end]);
    assert_eq!(bench.submit(get_data("/a", false)), Err(Rejected::Closed));
    assert_eq!(bench.zk().next_wake(), None);
    assert!(bench.facts.contains(&ZkClientFact::SessionExpired { session: SESSION, by: ExpiredBy::Server }));
}

#[test]
fn client_gives_its_session_up_after_four_thirds_of_the_timeout() {
    let mut bench = Bench::connected(1);
    let heard = bench.now();
    bench.advance(Span::millis(4000));
    bench.until_dialled();
    // The server does not answer; 6 s to connect would end long after the session.
    let left = (heard + Span::millis(8000)).saturating_since(bench.now());
    bench.advance(left - Span::millis(1));
    assert_eq!(bench.events(), [ZkEvent::Disconnected]);
    bench.advance(Span::millis(1));
    assert_eq!(bench.events(), [ZkEvent::Expired]);
    assert!(bench.facts.contains(&ZkClientFact::SessionExpired { session: SESSION, by: ExpiredBy::Client }));
}

#[test]
fn client_that_never_had_a_session_tries_for_ever() {
    let mut bench = Bench::new(1);
    for _ in 0..20 {
        bench.until_dialled();
    }
    assert!(bench.zk().is_alive());
    assert!(bench.now() > machine::Instant::from_nanos(60_000_000_000));
}

#[test]
fn connection_that_opens_counts_as_nothing_heard() {
    let mut bench = Bench::connected(1);
    let heard = bench.now();
    bench.advance(Span::millis(4000));
    bench.until_dialled();
    bench.opened();
    bench.sent();
    let left = (heard + Span::millis(8000)).saturating_since(bench.now());
    bench.advance(left);
    assert_eq!(bench.events(), [ZkEvent::Disconnected, ZkEvent::Expired]);
}

#[test]
fn process_that_was_stopped_beyond_its_session_does_not_try_to_go_on() {
    let mut bench = Bench::connected(3);
    bench.stall(Span::millis(7999));
    assert!(bench.zk().is_alive(), "it lost its connection only");
    let mut bench = Bench::connected(3);
    bench.stall(Span::millis(8000));
    assert_eq!(bench.events(), [ZkEvent::Expired]);
}

#[test]
fn old_client_tries_for_ever_what_ended_long_ago() {
    let mut config = Bench::config(1);
    config.defects = [Defect::NoClientExpiry].into_iter().collect();
    let mut bench = Bench::connected_with(config);
    let heard = bench.now();
    bench.advance(Span::millis(4000));
    for _ in 0..20 {
        bench.until_dialled();
        bench.refused();
    }
    assert!(bench.now() > heard + Span::millis(20_000));
    assert_eq!(bench.events(), [ZkEvent::Disconnected]);
    bench.until_dialled();
    bench.associate(0);
    assert_eq!(bench.events(), [ZkEvent::Expired], "a server tells it at last");
}
