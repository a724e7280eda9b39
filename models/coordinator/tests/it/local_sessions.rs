//! Sessions that one server knows alone, in a small ensemble.

use coordinator::{Fact, Role};
use jute::client::{CreateRequest, GetEphemeralsRequest, Request, Response};
use jute::data::Acl;
use jute::op::{CreateMode, ErrorCode};
use jute::{Buffer, SessionId};
use machine::Span;

use super::network::{Network, create};

fn ensemble(upgrading: bool) -> Network {
    let mut network = Network::ensemble(3, |config| {
        config.local_sessions_enabled = true;
        config.local_sessions_upgrading_enabled = upgrading;
    });
    network.boot_all();
    assert!(network.run_until(Span::secs(10), |network| network.serving().len() == 3));
    network
}

fn ephemeral(path: &str) -> Request {
    let flags = CreateMode::Ephemeral.code();
    Request::Create(CreateRequest { path: path.to_owned(), data: Buffer::NULL, acl: Some(Acl::open()), flags })
}

fn is_global(network: &Network, session: SessionId) -> bool {
    network.serving().iter().all(|&host| network.machine(host).database().sessions().contains_key(&session))
}

fn hosts(network: &Network) -> [usize; 2] {
    let leader = network.leader().expect("somebody leads");
    let follower = network.serving().into_iter().find(|&host| network.machine(host).role() != Role::Leading);
    [leader, follower.expect("somebody follows")]
}

#[test]
fn local_session_is_no_transaction_and_writes_all_the_same() {
    let mut network = ensemble(false);
    for server in hosts(&network) {
        let before = network.machine(server).database().last_processed();
        let client = network.connect(server);
        assert_eq!(network.machine(server).database().last_processed(), before, "no transaction began it");
        let path = format!("/of{server}");
        network.create(client, &path);
        assert!(!is_global(&network, network.clients[client].session));
        assert_eq!(network.call(client, ephemeral("/e")), Err(ErrorCode::EphemeralOnLocalSession));
        assert!(network.call(client, Request::CloseSession).is_ok());
        network.run(Span::millis(100));
        assert!(network.clients[client].lost, "it ends with its connection");
        assert!(network.has(server, &path));
    }
    assert!(!network.facts.iter().any(|(_, fact)| matches!(fact, Fact::SessionCreated { .. })));
    network.assert_agreement();
}

#[test]
fn ephemeral_makes_a_local_session_global_first() {
    let mut network = ensemble(true);
    for server in hosts(&network) {
        let client = network.connect(server);
        let session = network.clients[client].session;
        let path = format!("/e{server}");
        network.call(client, ephemeral(&path)).unwrap();
        network.run(Span::millis(100));
        assert!(is_global(&network, session), "every server knows it now");
        let own = network.call(client, Request::GetEphemerals(GetEphemeralsRequest { prefix: None })).unwrap();
        assert!(matches!(own, Some(Response::GetEphemerals(own)) if own.ephemerals == [path.clone()]));
        network.call(client, create(&format!("{path}-p"))).unwrap();
        network.call(client, Request::CloseSession).unwrap();
        network.run(Span::millis(100));
        assert!(!network.has(server, &path), "it owned it to its end");
    }
    network.assert_agreement();
}

#[test]
fn local_session_ends_without_a_transaction_where_it_is_known() {
    let mut network = ensemble(true);
    let [leader, follower] = hosts(&network);
    for server in [leader, follower] {
        let client = network.connect(server);
        let session = network.clients[client].session;
        let before = network.machine(server).database().last_processed();
        network.hang_up(client);
        network.run(Span::secs(12));
        assert_eq!(network.machine(server).database().last_processed(), before, "no transaction ended it");
        let again = network.reopen(server, session);
        assert!(network.clients[again].session.is_zero(), "it is unknown now");
    }
}
