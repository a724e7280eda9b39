//! `updateServerList` on a living client, and frames that are too long for it.

use jute::Buffer;
use jute::client::{GetDataResponse, Response};
use jute::data::Stat;
use jute::op::ErrorCode;
use machine::HostId;
use zkclient::{DisconnectCause, ZkClientFact, ZkEvent};

use crate::bench::{Bench, Command, get_data};

fn last_cause(bench: &Bench) -> Option<DisconnectCause> {
    bench.facts.iter().rev().find_map(|fact| match fact {
        ZkClientFact::SessionDisconnected { cause, .. } => Some(*cause),
        _ => None,
    })
}

#[test]
fn client_whose_server_is_not_listed_any_more_goes_to_one_that_is() {
    let mut bench = Bench::connected(3);
    let at = bench.dialled[0];
    let others: Vec<_> = bench.zk_servers().into_iter().filter(|server| server.address.host != at).collect();
    bench.command(Command::Update(others));
    assert_eq!(last_cause(&bench), Some(DisconnectCause::ServersChanged));
    bench.until_dialled();
    assert_eq!(bench.events(), [ZkEvent::Disconnected]);
    assert_ne!(bench.dialled[1], at);
    bench.associate(6000);
    assert!(bench.zk().is_connected());
}

#[test]
fn client_whose_server_stays_listed_stays_and_knows_the_new_list() {
    let mut bench = Bench::connected(3);
    let at = bench.dialled[0];
    let mine: Vec<_> = bench.zk_servers().into_iter().filter(|server| server.address.host == at).collect();
    bench.command(Command::Update(mine));
    assert!(bench.zk().is_connected());
    bench.lost();
    for _ in 0..3 {
        bench.until_dialled();
        bench.refused();
    }
    assert_eq!(bench.dialled, vec![at; 4]);
}

#[test]
fn update_between_two_connections_is_for_the_next() {
    let mut bench = Bench::new(1);
    bench.refused();
    let mut servers = bench.zk_servers();
    servers[0].address.host = HostId(9);
    bench.command(Command::Update(servers));
    bench.until_dialled();
    assert_eq!(bench.dialled.last(), Some(&HostId(9)));
}

#[test]
fn frame_beyond_the_limit_drops_the_connection() {
    let mut config = Bench::config(3);
    config.frame_bytes_max = 200;
    let answer = |bytes: usize| {
        let data = Buffer::new(vec![1; bytes]);
        Some(Response::GetData(GetDataResponse { data, stat: Stat::default() }))
    };
    let mut bench = Bench::connected_with(config);
    bench.submit(get_data("/a", false)).unwrap();
    bench.submit(get_data("/a", false)).unwrap();
    // Header 16 bytes, length 4, stat 68: 112 bytes are just short enough.
    bench.reply(1, 3, ErrorCode::Ok, answer(112));
    assert!(bench.zk().is_connected());
    bench.reply(2, 3, ErrorCode::Ok, answer(113));
    assert_eq!(last_cause(&bench), Some(DisconnectCause::FrameTooLong));
}
