//! Requests, replies, and what a lost connection leaves of them.

use jute::op::ErrorCode;
use jute::{Xid, Zxid};
use machine::Span;
use zkclient::{Outcome, Rejected, ZkClientConfig, ZkEvent};

use crate::bench::{Bench, data, get_data, zx};

fn completed(bench: &mut Bench) -> Vec<(u64, Outcome)> {
    bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ZkEvent::Completed { op, outcome } => Some((op.0, outcome)),
            _ => None,
        })
        .collect()
}

#[test]
fn requests_are_numbered_from_one_and_replies_complete_them_in_order() {
    let mut bench = Bench::connected(3);
    for path in ["/a", "/b"] {
        bench.submit(get_data(path, false)).unwrap();
    }
    let xids: Vec<_> = bench.requests().into_iter().map(|(xid, _)| xid.value()).collect();
    assert_eq!(xids, [1, 2]);
    bench.reply(1, 5, ErrorCode::Ok, data());
    bench.reply(2, 6, ErrorCode::NoNode, None);
    assert_eq!(
        completed(&mut bench),
        [
            (0, Outcome::Ok { response: data(), zxid: Some(zx(5)) }),
            (1, Outcome::Error { code: ErrorCode::NoNode, zxid: Some(zx(6)) }),
        ]
    );
}

#[test]
fn last_zxid_is_that_of_replies_and_not_of_zero() {
    let mut bench = Bench::connected(3);
    for _ in 0..2 {
        bench.submit(get_data("/a", false)).unwrap();
    }
    bench.reply(1, 5, ErrorCode::Ok, data());
    let header = jute::client::ReplyHeader { xid: Xid::new(2), zxid: Some(Zxid::ZERO), err: ErrorCode::NoNode };
    bench.answer(jute::client::ServerFrame::Reply { header, response: None });
    assert_eq!(bench.zk().last_zxid(), zx(5));
}

#[test]
fn lost_connection_leaves_pending_and_queued_operations_unknown() {
    let mut bench = Bench::connected(3);
    bench.submit(get_data("/pending", false)).unwrap();
    bench.lost();
    // Submitted while the socket is closed and nobody knows: it shares their fate.
    bench.submit(get_data("/queued", false)).unwrap();
    assert_eq!(completed(&mut bench), [], "Java sleeps 100 ms first");
    bench.advance(Span::millis(100));
    assert_eq!(completed(&mut bench), [(0, Outcome::ConnectionLoss), (1, Outcome::ConnectionLoss)]);
}

#[test]
fn operation_is_written_at_most_once() {
    let mut bench = Bench::connected(3);
    bench.submit(get_data("/a", false)).unwrap();
    assert_eq!(bench.requests().len(), 1);
    bench.lost();
    bench.until_dialled();
    bench.associate(6000);
    let sent = bench.sent();
    assert_eq!(sent.len(), 1, "the ConnectRequest alone: {sent:?}");
}

#[test]
fn operation_submitted_between_two_servers_waits_for_the_next_and_fails_with_it() {
    let mut bench = Bench::connected(3);
    bench.lost();
    bench.until_dialled();
    bench.submit(get_data("/a", false)).unwrap();
    assert_eq!(completed(&mut bench), []);
    bench.refused();
    bench.advance(Span::millis(100));
    assert_eq!(completed(&mut bench), [(0, Outcome::ConnectionLoss)]);
    bench.submit(get_data("/b", false)).unwrap();
    if bench.dialled.len() == 2 {
        bench.until_dialled();
    }
    bench.associate(6000);
    bench.sent();
    bench.reply(1, 1, ErrorCode::Ok, data());
    assert_eq!(completed(&mut bench).len(), 1);
}

#[test]
fn xid_out_of_order_drops_the_connection_and_everything_on_it() {
    let mut bench = Bench::connected(3);
    for _ in 0..2 {
        bench.submit(get_data("/a", false)).unwrap();
    }
    bench.reply(2, 5, ErrorCode::Ok, data());
    assert_eq!(completed(&mut bench), [(0, Outcome::ConnectionLoss)]);
    assert_eq!(bench.closed, [bench.end]);
    bench.advance(Span::millis(100));
    assert_eq!(completed(&mut bench), [(1, Outcome::ConnectionLoss)]);
    assert_eq!(bench.zk().last_zxid(), Zxid::ZERO, "the reply was not believed");
}

#[test]
fn reply_to_nothing_drops_the_connection() {
    let mut bench = Bench::connected(3);
    bench.reply(1, 5, ErrorCode::Ok, data());
    assert_eq!(bench.closed, [bench.end]);
}

#[test]
fn xids_go_on_over_a_reconnect() {
    let mut bench = Bench::connected(3);
    bench.submit(get_data("/a", false)).unwrap();
    bench.lost();
    bench.until_dialled();
    bench.associate(6000);
    bench.sent();
    bench.submit(get_data("/b", false)).unwrap();
    assert_eq!(bench.requests()[0].0, Xid::new(2));
}

#[test]
fn operations_over_the_limit_are_rejected() {
    let mut config = ZkClientConfig::new(Vec::new(), 6000);
    config.servers = Bench::new(1).zk_servers();
    config.operations_max = 2;
    let mut bench = Bench::with(config);
    for _ in 0..2 {
        bench.submit(get_data("/a", false)).unwrap();
    }
    assert_eq!(bench.submit(get_data("/a", false)), Err(Rejected::Full));
}
