//! The leader's side of Zab, against learners played by the test (zookeeper.md §3.2–3.4, §3.9, §3.10).

use coordinator::{Fact, Message, Role};
use jute::quorum::{LEARNER_PROTOCOL, QuorumMessage, QuorumPacket};
use jute::{PeerEpoch, Zxid};
use machine::{Effect, EndId, Input, Loss, Span};

use crate::peers::{Bench, PEER};

fn epoch(number: u32) -> PeerEpoch {
    PeerEpoch::new(number)
}

fn leader_info(number: u32) -> QuorumPacket {
    QuorumPacket::LeaderInfo { epoch: epoch(number), protocol_version: LEARNER_PROTOCOL }
}

fn ack_epoch(current: Option<u32>, last: Zxid) -> QuorumPacket {
    QuorumPacket::AckEpoch { last_logged: Some(last), current_epoch: current.map(epoch) }
}

fn is_closed(bench: &mut Bench, end: EndId) -> bool {
    bench.effects().iter().any(|effect| matches!(effect, Effect::Close { end: closed } if *closed == end))
}

fn stepped_down(bench: &mut Bench) -> bool {
    bench.facts().iter().any(|fact| matches!(fact, Fact::LeaderSteppedDown { .. }))
}

/// A leader in broadcast, with `server.1` on [`PEER`].
fn established() -> Bench {
    let mut bench = Bench::leading(|_| {});
    bench.learner(PEER, 1, epoch(0));
    bench.rig.settle();
    bench.say(PEER, ack_epoch(Some(0), Zxid::ZERO));
    bench.rig.settle();
    bench.say(PEER, QuorumPacket::Ack { zxid: epoch(1).start() });
    bench.rig.settle();
    assert!(bench.rig.machine().is_serving());
    let _ = bench.effects();
    bench
}

#[test]
fn epoch_is_above_every_promise_of_a_quorum_and_durable_before_it_is_told() {
    let mut bench = Bench::leading(|_| {});
    bench.learner(PEER, 1, epoch(4));
    bench.turns();
    assert_eq!(bench.sent(PEER), [], "acceptedEpoch is not durable");
    assert_eq!(bench.file("acceptedEpoch").unwrap(), "0");
    bench.rig.finish_syncs();
    assert_eq!(bench.file("acceptedEpoch").unwrap(), "5");
    bench.turns();
    assert_eq!(bench.sent(PEER), [leader_info(5)]);
    // Whoever comes later gets the same epoch, whatever it promised.
    let late = EndId(PEER.0 + 1);
    bench.learner(late, 2, epoch(9));
    assert_eq!(bench.sent(late), [leader_info(5)]);
}

#[test]
fn learner_with_a_newer_history_is_dropped_and_the_leader_waits_on() {
    let mut bench = Bench::leading(|_| {});
    bench.learner(PEER, 1, epoch(2));
    bench.rig.settle();
    bench.say(PEER, ack_epoch(Some(2), Zxid::new(epoch(2), 7)));
    assert!(is_closed(&mut bench, PEER));
    assert_eq!(bench.role(), Role::Leading);
    let other = EndId(PEER.0 + 1);
    bench.learner(other, 2, epoch(0));
    bench.say(other, ack_epoch(Some(0), Zxid::ZERO));
    assert!(bench.sent(other).contains(&QuorumPacket::Diff { zxid: Zxid::ZERO }));
}

#[test]
fn learner_that_does_not_say_who_it_is_is_dropped() {
    let mut bench = Bench::leading(|_| {});
    bench.feed(Input::Accepted { on: PEER, port: coordinator::config::QUORUM_PORT, peer: machine::HostId(0) });
    bench.say(PEER, QuorumPacket::Ack { zxid: Zxid::ZERO });
    assert!(is_closed(&mut bench, PEER));
}

#[test]
fn leader_serves_only_after_a_quorum_acknowledged_newleader() {
    let mut bench = Bench::leading(|_| {});
    bench.learner(PEER, 1, epoch(0));
    bench.rig.settle();
    assert_eq!(bench.sent(PEER), [leader_info(1)]);
    bench.say(PEER, ack_epoch(Some(0), Zxid::ZERO));
    let sent = bench.sent(PEER);
    assert!(
        matches!(sent[..], [QuorumPacket::Diff { .. }, QuorumPacket::NewLeader { .. }]),
        "synchronised before the leader's own currentEpoch is durable: {sent:?}"
    );
    bench.rig.settle();
    assert_eq!(bench.file("currentEpoch").unwrap(), "1");
    assert!(!bench.rig.machine().is_serving());
    bench.say(PEER, QuorumPacket::Ack { zxid: epoch(1).start() });
    assert!(bench.rig.machine().is_serving());
    assert_eq!(bench.rig.machine().database().last_processed(), epoch(1).start());
    assert_eq!(bench.sent(PEER), [QuorumPacket::UpToDate]);
}

#[test]
fn leader_does_not_serve_before_its_own_epoch_is_durable() {
    let mut bench = Bench::leading(|_| {});
    let other = EndId(PEER.0 + 1);
    bench.learner(PEER, 1, epoch(0));
    bench.learner(other, 2, epoch(0));
    bench.rig.settle();
    for end in [PEER, other] {
        bench.say(end, ack_epoch(Some(0), Zxid::ZERO));
        bench.say(end, QuorumPacket::Ack { zxid: epoch(1).start() });
    }
    bench.turns();
    assert!(!bench.rig.machine().is_serving(), "two of three acknowledged, but its own file is not written");
    bench.rig.settle();
    assert!(bench.rig.machine().is_serving());
}

#[test]
fn promise_of_an_epoch_given_before_does_not_count() {
    let mut bench = Bench::leading(|_| {});
    bench.learner(PEER, 1, epoch(0));
    bench.rig.settle();
    bench.say(PEER, ack_epoch(None, Zxid::ZERO));
    bench.rig.settle();
    assert_eq!(bench.sent(PEER), [leader_info(1)]);
    bench.rig.advance(Span::millis(5_000));
    assert!(stepped_down(&mut bench), "no quorum promised within initLimit");
}

#[test]
fn leader_without_a_quorum_gives_up_after_the_init_limit() {
    let mut bench = Bench::leading(|_| {});
    bench.rig.advance(Span::millis(4_999));
    assert_eq!(bench.role(), Role::Leading);
    bench.rig.advance(Span::millis(1));
    assert!(stepped_down(&mut bench));
    assert_eq!(bench.role(), Role::Looking);
}

#[test]
fn lost_follower_is_missed_at_the_next_full_tick() {
    let mut bench = established();
    bench.feed(Input::Lost { on: PEER, why: Loss::Reset });
    bench.rig.advance(Span::millis(250));
    assert_eq!(bench.role(), Role::Leading, "the first half tick is skipped");
    bench.rig.advance(Span::millis(250));
    assert!(stepped_down(&mut bench));
}

#[test]
fn silent_follower_is_dropped_after_the_sync_limit() {
    let mut bench = established();
    for _ in 0..9 {
        bench.rig.advance(Span::millis(250));
        assert!(bench.sent(PEER).iter().any(|packet| matches!(packet, QuorumPacket::Ping { .. })));
    }
    bench.rig.advance(Span::millis(250));
    assert!(bench.facts().iter().any(|fact| matches!(fact, Fact::LearnerDropped { .. })));
    bench.rig.advance(Span::millis(500));
    assert_eq!(bench.role(), Role::Looking);
}

#[test]
fn answered_pings_keep_the_leader_in_office() {
    let mut bench = established();
    for _ in 0..40 {
        bench.rig.advance(Span::millis(250));
        bench.say(PEER, QuorumPacket::PingReply { zxid: epoch(1).start(), touches: Vec::new() });
    }
    assert_eq!(bench.role(), Role::Leading);
}

#[test]
fn empty_latecomer_gets_the_tree_before_newleader() {
    let mut bench = established();
    let late = EndId(PEER.0 + 1);
    bench.learner(late, 2, epoch(0));
    bench.say(late, ack_epoch(Some(0), Zxid::ZERO));
    bench.rig.settle();
    let order: Vec<String> = bench
        .effects()
        .into_iter()
        .filter_map(|effect| {
            let Effect::Send { on, message: Message::Quorum(message) } = effect else { return None };
            let name = match message {
                QuorumMessage::Packet(packet) => packet.name().to_owned(),
                QuorumMessage::Snapshot(_) => "stream".to_owned(),
            };
            (on == late).then_some(name)
        })
        .collect();
    assert_eq!(order, ["LEADERINFO", "SNAP", "stream", "NEWLEADER"]);
    bench.say(late, QuorumPacket::Ack { zxid: epoch(1).start() });
    assert_eq!(bench.sent(late), [QuorumPacket::UpToDate]);
}

#[test]
fn first_ack_of_something_else_than_newleader_is_not_counted() {
    let mut bench = Bench::leading(|_| {});
    bench.learner(PEER, 1, epoch(0));
    bench.rig.settle();
    bench.say(PEER, ack_epoch(Some(0), Zxid::ZERO));
    bench.rig.settle();
    bench.say(PEER, QuorumPacket::Ack { zxid: Zxid::new(epoch(1), 1) });
    bench.rig.settle();
    assert!(!bench.rig.machine().is_serving());
    bench.rig.advance(Span::millis(5_000));
    assert!(stepped_down(&mut bench), "no quorum acknowledged NEWLEADER within initLimit");
}

#[test]
fn leader_that_does_not_serve_cuts_clients_off() {
    let mut bench = Bench::leading(|config| config.leader_serves = false);
    bench.learner(PEER, 1, epoch(0));
    bench.rig.settle();
    bench.say(PEER, ack_epoch(Some(0), Zxid::ZERO));
    bench.rig.settle();
    bench.say(PEER, QuorumPacket::Ack { zxid: epoch(1).start() });
    let client = EndId(PEER.0 + 5);
    let port = bench.rig.machine().config().client_port;
    bench.feed(Input::Accepted { on: client, port, peer: machine::HostId(9) });
    assert!(is_closed(&mut bench, client));
}
