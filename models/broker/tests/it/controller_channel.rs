//! The controller's channels: one request in flight, the same again until it is answered.

use machine::Span;

use crate::controller_bench::Bench;

/// The controller is 1, broker 2 does not answer, and a topic is created that 2 and 3 shall host.
fn with_silent_broker() -> Bench {
    let mut bench = Bench::in_office();
    bench.silent.insert(2);
    bench.create_topic("t", &[&[2, 3]]);
    bench.run();
    bench
}

fn to_broker_2(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("→2 ")).collect()
}

const LEAD: &str = "LeaderAndIsr be=19: t-0 2/0 2,3 new";
const KNOW: &str = "UpdateMetadata be=19 live 1,2,3: t-0 2/0";

#[test]
fn one_request_is_in_flight_and_the_next_follows_its_answer() {
    let mut bench = with_silent_broker();
    assert_eq!(to_broker_2(&bench.take_sent()), [LEAD]);
    bench.silent.clear();
    bench.respond_to_oldest();
    assert_eq!(to_broker_2(&bench.take_sent()), [KNOW]);
    assert_eq!(bench.controller(1).pending(), "");
}

#[test]
fn same_request_is_sent_again_100_ms_after_the_connection_was_lost() {
    let mut bench = with_silent_broker();
    bench.take_log();
    bench.silent.clear();
    bench.reset(2);
    bench.advance(Span::millis(99));
    assert!(bench.take_sent().is_empty());
    bench.advance(Span::millis(1));
    assert_eq!(to_broker_2(&bench.take_sent()), [LEAD, KNOW]);
}

#[test]
fn silence_of_controller_socket_timeout_costs_the_connection() {
    let mut bench = with_silent_broker();
    bench.take_log();
    bench.advance(Span::millis(29_999));
    assert!(bench.take_sent().is_empty());
    bench.silent.clear();
    bench.advance(Span::millis(101));
    assert_eq!(to_broker_2(&bench.take_sent()), [LEAD, KNOW]);
}

#[test]
fn broker_that_cannot_be_reached_is_dialled_again_for_ever() {
    let mut bench = with_silent_broker();
    bench.take_log();
    bench.reset(2);
    // Each attempt takes 10 s to give up, and 100 ms to be made again.
    bench.advance(Span::secs(100));
    bench.run();
    assert!(bench.take_sent().is_empty());
    assert_eq!(bench.controller(1).pending(), "2 control requests wait for broker 2, first LeaderAndIsr");
    bench.silent.clear();
    bench.advance(Span::secs(11));
    assert_eq!(to_broker_2(&bench.take_sent()), [LEAD, KNOW]);
}

#[test]
fn what_waits_for_a_broker_goes_with_it() {
    let mut bench = with_silent_broker();
    bench.silent.clear();
    bench.take_log();
    bench.unregister(2);
    bench.run();
    bench.advance(Span::secs(60));
    assert_eq!(to_broker_2(&bench.take_sent()), Vec::<&str>::new());
    let epoch = bench.register(2);
    bench.run();
    let sent = bench.take_sent();
    let sent = to_broker_2(&sent);
    assert!(
        sent[0].starts_with(&format!("UpdateMetadata be={epoch} live 1,2,3")),
        "a new life is told anew: {sent:#?}"
    );
    assert!(!sent.iter().any(|line| line.contains("be=19")));
}

#[test]
fn channels_end_with_the_office() {
    let mut bench = with_silent_broker();
    bench.change(|tree| tree.remove("/controller"));
    bench.run_alone(3);
    bench.run();
    bench.take_log();
    assert_eq!(bench.controller(1).next_wake(), None);
    bench.reset(2);
    bench.silent.clear();
    bench.advance(Span::secs(60));
    let sent = bench.take_sent();
    assert!(sent.iter().all(|line| !line.contains("be=19: t-0 2/0 2,3 new")), "{sent:#?}");
}
