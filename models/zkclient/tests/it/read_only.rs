//! A server without an ensemble, and the search for one that has one.

use jute::client::{ClientPacket, FourLetterWord};
use jute::op::ErrorCode;
use jute::{SessionId, Zxid};
use machine::{Input, Loss, Span};
use zkclient::{DisconnectCause, Outcome, ZkClientConfig, ZkClientFact, ZkEvent};

use crate::bench::{Bench, SESSION, data, get_data, zx};

const LOCAL: SessionId = SessionId::new(0x0200_0000_0000_0001);

fn willing() -> ZkClientConfig {
    let mut config = Bench::config(3);
    config.can_be_read_only = true;
    config
}

/// A client that reads from a server without an ensemble.
fn reading() -> Bench {
    let mut bench = Bench::with(willing());
    bench.associate_read_only(LOCAL);
    bench.sent();
    bench
}

fn text(bench: &mut Bench, text: &str) {
    bench.feed(Input::Message { on: bench.probe, message: ClientPacket::Text(text.to_owned()) });
}

/// Lets time pass until another server is asked; answers pings on the way.
fn until_probed(bench: &mut Bench) -> Span {
    let (before, start) = (bench.probed.len(), bench.now());
    while bench.probed.len() == before {
        bench.advance(Span::millis(10));
        if bench.pings() > 0 {
            bench.reply(-2, 0, ErrorCode::Ok, None);
        }
    }
    bench.now() - start
}

#[test]
fn request_says_whether_a_server_without_an_ensemble_will_do() {
    let mut bench = Bench::with(willing());
    bench.opened();
    assert_eq!(bench.connect_request().read_only, Some(true));
    let mut bench = Bench::new(3);
    bench.opened();
    assert_eq!(bench.connect_request().read_only, Some(false));
}

#[test]
fn session_of_a_server_without_an_ensemble_is_told_as_read_only_and_can_be_read() {
    let mut bench = reading();
    assert!(matches!(&bench.events()[..], [ZkEvent::ConnectedReadOnly { session: LOCAL, .. }]));
    assert!(bench.zk().is_connected() && bench.zk().is_read_only());
    assert_eq!(bench.zk().view().state, "connected-read-only");
    let op = bench.submit(get_data("/a", false)).unwrap();
    assert_eq!(bench.requests().len(), 1);
    bench.reply(1, 3, ErrorCode::NotReadOnly, None);
    let outcome = Outcome::Error { code: ErrorCode::NotReadOnly, zxid: Some(zx(3)) };
    assert_eq!(bench.events(), [ZkEvent::Completed { op, outcome }]);
    assert!(bench.facts.iter().any(|fact| matches!(fact, ZkClientFact::ReadOnlyConnected { session: LOCAL, .. })));
    assert!(!bench.facts.iter().any(|fact| matches!(fact, ZkClientFact::SessionConnected { .. })));
}

#[test]
fn servers_are_asked_at_growing_intervals_up_to_a_minute() {
    let mut bench = reading();
    let mut intervals = Vec::new();
    for _ in 0..12 {
        intervals.push(until_probed(&mut bench).as_millis());
        bench.feed(Input::Refused { on: bench.probe });
    }
    assert_eq!(intervals[..6], [100, 200, 400, 800, 1600, 3200]);
    assert_eq!(intervals[10..], [60_000, 60_000]);
    let asked: std::collections::BTreeSet<_> = bench.probed.iter().collect();
    assert_eq!(asked.len(), 3, "all in turn");
}

#[test]
fn server_is_asked_with_a_word_and_one_without_an_ensemble_changes_nothing() {
    for answer in ["ro", "null", "isro is not executed because it is not in the whitelist.\n"] {
        let mut bench = reading();
        until_probed(&mut bench);
        bench.feed(Input::Opened { on: bench.probe });
        assert_eq!(bench.words, [FourLetterWord::Isro]);
        text(&mut bench, answer);
        assert_eq!(bench.closed, [bench.probe]);
        assert!(bench.zk().is_read_only(), "{answer}");
    }
}

#[test]
fn server_that_does_not_answer_is_given_up_after_a_second() {
    let mut bench = reading();
    until_probed(&mut bench);
    bench.feed(Input::Opened { on: bench.probe });
    let asked = bench.probe;
    bench.advance(Span::millis(999));
    assert_eq!(bench.closed, []);
    bench.advance(Span::millis(1));
    assert_eq!(bench.closed, [asked]);
    assert_eq!(bench.probed.len(), 2, "the next is overdue");
    assert!(bench.zk().owns(bench.probe) && !bench.zk().owns(asked));
}

#[test]
fn client_goes_to_the_server_with_an_ensemble_and_gets_a_session_that_all_know() {
    let mut bench = reading();
    bench.submit(get_data("/a", true)).unwrap();
    bench.reply(1, 9, ErrorCode::Ok, data());
    bench.sent();
    until_probed(&mut bench);
    bench.feed(Input::Opened { on: bench.probe });
    bench.events();
    let found = *bench.probed.last().unwrap();
    text(&mut bench, "rw");
    assert!(bench.closed.contains(&bench.end) && bench.closed.contains(&bench.probe));
    assert!(bench.until_dialled() < Span::millis(1100), "nobody sleeps for the end of the list");
    assert_eq!(bench.dialled.last(), Some(&found));
    assert_eq!(bench.events(), [ZkEvent::Disconnected]);
    bench.sent();
    bench.opened();
    let request = bench.connect_request();
    assert_eq!(request.session, SessionId::ZERO, "the other session was known to one server alone");
    assert_eq!(request.last_zxid_seen, zx(9));
    bench.confirm(6000);
    assert!(matches!(&bench.events()[..], [ZkEvent::Connected { session: SESSION, .. }]));
    assert!(!bench.zk().is_read_only());
    assert_eq!(bench.set_watches().1.data_watches, ["/a"]);
    let new = bench.facts.iter().filter(|fact| matches!(fact, ZkClientFact::SessionConnected { resumed: false, .. }));
    assert_eq!(new.count(), 1);
    assert!(bench.facts.iter().any(|fact| matches!(
        fact,
        ZkClientFact::SessionDisconnected { session: LOCAL, cause: DisconnectCause::ReadWriteServerFound, .. }
    )));
    // Whoever has found one looks no more.
    let asked = bench.probed.len();
    bench.advance(Span::secs(3));
    assert_eq!(bench.probed.len(), asked);
}

#[test]
fn session_that_all_know_is_never_forgotten() {
    let mut config = willing();
    config.session_timeout_ms = 60_000;
    let mut bench = Bench::with(config);
    bench.associate(60_000);
    bench.lost();
    bench.until_dialled();
    bench.sent();
    bench.opened();
    let request = bench.connect_request();
    assert_eq!((request.session, request.last_zxid_seen), (SESSION, Zxid::ZERO));
}

#[test]
fn loss_of_the_connection_ends_the_search() {
    let mut bench = reading();
    until_probed(&mut bench);
    let asked = bench.probe;
    bench.feed(Input::Lost { on: bench.end, why: Loss::Reset });
    assert_eq!(bench.closed, [asked]);
    assert!(!bench.zk().owns(asked));
    bench.feed(Input::Message { on: asked, message: ClientPacket::Text("rw".to_owned()) });
    bench.until_dialled();
}
