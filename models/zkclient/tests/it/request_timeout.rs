//! `zookeeper.request.timeout`: who waits too long goes, and takes the connection along.

use jute::op::ErrorCode;
use machine::Span;
use zkclient::{DisconnectCause, Outcome, ZkClientFact, ZkEvent};

use crate::bench::{Bench, data, get_data};

fn impatient() -> Bench {
    let mut config = Bench::config(3);
    config.request_timeout = Span::millis(500);
    Bench::connected_with(config)
}

fn completed(bench: &mut Bench) -> Vec<(u64, Outcome)> {
    let events = bench.events().into_iter().filter_map(|event| match event {
        ZkEvent::Completed { op, outcome } => Some((op.0, outcome)),
        _ => None,
    });
    events.collect()
}

#[test]
fn operation_without_an_answer_times_out_and_the_others_are_lost_with_the_connection() {
    let mut bench = impatient();
    bench.submit(get_data("/a", false)).unwrap();
    bench.advance(Span::millis(300));
    bench.submit(get_data("/b", false)).unwrap();
    bench.advance(Span::millis(199));
    assert_eq!(completed(&mut bench), []);
    bench.advance(Span::millis(1));
    assert_eq!(completed(&mut bench), [(0, Outcome::RequestTimeout)]);
    assert_eq!(bench.closed, [bench.end]);
    bench.advance(Span::millis(100));
    assert_eq!(
        bench.events(),
        [ZkEvent::Completed { op: zkclient::OpId(1), outcome: Outcome::ConnectionLoss }, ZkEvent::Disconnected,]
    );
    assert!(
        bench.facts.iter().any(|fact| matches!(
            fact,
            ZkClientFact::SessionDisconnected { cause: DisconnectCause::RequestTimeout, .. }
        ))
    );
}

#[test]
fn answer_in_time_ends_the_wait() {
    let mut bench = impatient();
    bench.submit(get_data("/a", false)).unwrap();
    bench.advance(Span::millis(400));
    bench.reply(1, 3, ErrorCode::Ok, data());
    bench.advance(Span::millis(1000));
    assert!(bench.zk().is_connected());
}

#[test]
fn operation_that_waits_for_a_connection_times_out_as_well() {
    let mut bench = impatient();
    bench.lost();
    bench.until_dialled();
    bench.events();
    bench.submit(get_data("/a", false)).unwrap();
    let end = bench.end;
    bench.advance(Span::millis(500));
    assert_eq!(completed(&mut bench), [(0, Outcome::RequestTimeout)]);
    assert_eq!(bench.closed, [end], "the attempt is given up");
}

#[test]
fn without_a_timeout_an_operation_waits_as_long_as_its_connection_lives() {
    let mut bench = Bench::connected(3);
    bench.submit(get_data("/a", false)).unwrap();
    let end = bench.now() + Span::secs(60);
    while bench.now() < end {
        bench.advance(Span::millis(1000));
        bench.reply(-2, 1, ErrorCode::Ok, None);
    }
    assert_eq!(completed(&mut bench), []);
    assert!(bench.zk().is_connected());
}
