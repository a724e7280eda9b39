//! Identities: claimed on every connection, before everything else; a refused one ends the client.

use std::sync::Arc;

use jute::client::{AuthPacket, ClientFrame, ReplyHeader, Request, ServerFrame};
use jute::op::ErrorCode;
use jute::{Buffer, Xid, Zxid};
use zkclient::{AuthInfo, Outcome, Rejected, ZkClientFact, ZkEvent};

use crate::bench::{Bench, Command, SESSION, data, get_data};

fn digest(user: &str) -> AuthInfo {
    AuthInfo { scheme: Arc::from("digest"), auth: Buffer::new(format!("{user}:secret").into_bytes()) }
}

fn packet(user: &str) -> (Xid, Request) {
    let info = digest(user);
    (Xid::AUTH, Request::Auth(AuthPacket { kind: 0, scheme: Some("digest".to_owned()), auth: info.auth }))
}

fn answer(bench: &mut Bench, err: ErrorCode) {
    let header = ReplyHeader { xid: Xid::AUTH, zxid: Some(Zxid::ZERO), err };
    bench.answer(ServerFrame::Reply { header, response: None });
}

/// What is sent behind a ConnectRequest.
fn behind_connect(bench: &mut Bench) -> Vec<(Xid, Request)> {
    let sent = bench.sent();
    let (connect, rest) = sent.split_first().expect("a ConnectRequest");
    assert!(matches!(connect, ClientFrame::Connect(_)), "{connect:?}");
    let requests = rest.iter().map(|frame| match frame {
        ClientFrame::Request { xid, request } => (*xid, request.clone()),
        other => panic!("{other:?} is no request"),
    });
    requests.collect()
}

#[test]
fn identity_is_sent_at_once_without_a_number() {
    let mut bench = Bench::connected(3);
    bench.command(Command::AddAuth(digest("u")));
    bench.submit(get_data("/a", false)).unwrap();
    assert_eq!(bench.requests(), [packet("u"), (Xid::FIRST, get_data("/a", false))]);
    // Its answer is nobody's turn.
    answer(&mut bench, ErrorCode::Ok);
    bench.reply(1, 4, ErrorCode::Ok, data());
    assert!(matches!(&bench.events()[..], [ZkEvent::Completed { outcome: Outcome::Ok { .. }, .. }]));
}

#[test]
fn identities_come_first_on_every_connection_and_before_watches() {
    let mut bench = Bench::connected(3);
    bench.command(Command::AddAuth(digest("u")));
    bench.command(Command::AddAuth(digest("v")));
    bench.submit(get_data("/d", true)).unwrap();
    bench.reply(1, 4, ErrorCode::Ok, data());
    for _ in 0..2 {
        bench.lost();
        bench.until_dialled();
        bench.sent();
        bench.submit(get_data("/q", false)).unwrap();
        bench.associate(6000);
        let sent = behind_connect(&mut bench);
        assert_eq!(sent[..2], [packet("v"), packet("u")], "each was put in front of the one before");
        let ops: Vec<_> = sent[2..].iter().map(|(_, request)| request.op().name()).collect();
        assert_eq!(ops, ["setWatches", "getData"]);
    }
}

#[test]
fn identity_of_the_configuration_is_claimed_twice_on_the_first_connection() {
    let mut config = Bench::config(3);
    config.auth = vec![digest("u")];
    let mut bench = Bench::with(config);
    bench.associate(6000);
    assert_eq!(behind_connect(&mut bench), [packet("u"), packet("u")]);
    bench.lost();
    bench.until_dialled();
    bench.associate(6000);
    assert_eq!(behind_connect(&mut bench), [packet("u")]);
}

#[test]
fn refused_identity_ends_the_client_and_its_operations() {
    let mut bench = Bench::connected(3);
    bench.command(Command::AddAuth(digest("u")));
    let op = bench.submit(get_data("/a", false)).unwrap();
    answer(&mut bench, ErrorCode::AuthFailed);
    assert_eq!(bench.events(), [ZkEvent::Completed { op, outcome: Outcome::AuthFailed }, ZkEvent::AuthFailed]);
    assert_eq!(bench.closed, [bench.end]);
    assert!(!bench.zk().is_alive());
    assert_eq!(bench.zk().next_wake(), None);
    assert_eq!(bench.submit(get_data("/a", false)), Err(Rejected::AuthFailed));
    assert!(bench.facts.contains(&ZkClientFact::AuthFailed { session: SESSION }));
}
