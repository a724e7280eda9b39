//! The follower's side of Zab, against a leader played by the test (zookeeper.md §3.3, §3.5, §3.8).

use coordinator::{Defect, Fact, Role};
use jute::data::Acl;
use jute::quorum::{LEARNER_PROTOCOL, QuorumPacket};
use jute::txn::{CreateTxn, Txn, TxnEntry, TxnHeader};
use jute::{Buffer, PeerEpoch, SessionId, Version, Xid, Zxid};
use machine::disk::CrashModel;
use machine::{EndId, Input, Loss, Purpose, RunKey, Span};

use crate::peers::Bench;

fn epoch(number: u32) -> PeerEpoch {
    PeerEpoch::new(number)
}

fn z(counter: u32) -> Zxid {
    Zxid::new(epoch(1), counter)
}

fn leader_info(number: u32) -> QuorumPacket {
    QuorumPacket::LeaderInfo { epoch: epoch(number), protocol_version: LEARNER_PROTOCOL }
}

pub(crate) fn proposal(zxid: Zxid) -> QuorumPacket {
    let header = TxnHeader { session: SessionId::new(7), cxid: Xid::FIRST, zxid, time_ms: 0 };
    let txn = Txn::Create(CreateTxn {
        path: format!("/n{}", zxid.counter()),
        data: Buffer::default(),
        acl: Acl::open(),
        ephemeral: false,
        parent_cversion: Some(Version::new(i32::try_from(zxid.counter()).unwrap())),
    });
    QuorumPacket::Proposal { zxid, entry: TxnEntry { header, txn, digest: None }.encode() }
}

pub(crate) fn commit(zxid: Zxid) -> QuorumPacket {
    QuorumPacket::Commit { zxid }
}

pub(crate) fn new_leader() -> QuorumPacket {
    QuorumPacket::NewLeader { zxid: epoch(1).start(), config: bytes::Bytes::new() }
}

pub(crate) const ACK_NEW_LEADER: QuorumPacket = QuorumPacket::Ack { zxid: epoch_start() };

const fn epoch_start() -> Zxid {
    Zxid::new(PeerEpoch::new(1), 0)
}

/// A follower that promised epoch 1 and waits for DIFF, TRUNC or SNAP.
pub(crate) fn promised(defect: Option<Defect>) -> (Bench, EndId) {
    let (mut bench, end) = Bench::following(|config| config.defects = defect.into_iter().collect());
    bench.say(end, leader_info(1));
    bench.rig.settle();
    let _ = bench.effects();
    (bench, end)
}

/// A follower in broadcast.
fn serving() -> (Bench, EndId) {
    let (mut bench, end) = promised(None);
    bench.say(end, QuorumPacket::Diff { zxid: Zxid::ZERO });
    bench.say(end, new_leader());
    bench.rig.settle();
    bench.say(end, QuorumPacket::UpToDate);
    bench.rig.settle();
    assert_eq!(bench.sent(end), [ACK_NEW_LEADER, ACK_NEW_LEADER]);
    assert!(bench.rig.machine().is_serving());
    (bench, end)
}

#[test]
fn promise_is_durable_before_it_is_given() {
    let (mut bench, end) = Bench::following(|_| {});
    bench.say(end, leader_info(4));
    bench.turns();
    assert_eq!(bench.file("acceptedEpoch").unwrap(), "0");
    assert_eq!(bench.sent(end), []);
    bench.rig.finish_syncs();
    assert_eq!(bench.file("acceptedEpoch").unwrap(), "4");
    assert_eq!(bench.sent(end), [], "a crash may fall between the rename and the answer");
    bench.turns();
    let ack = QuorumPacket::AckEpoch { last_logged: Some(Zxid::ZERO), current_epoch: Some(epoch(0)) };
    assert_eq!(bench.sent(end), [ack]);
}

#[test]
fn promise_given_before_is_not_counted_again() {
    let (mut bench, _) = promised(None);
    bench.rig.kill();
    let end = bench.follow();
    bench.say(end, leader_info(1));
    let ack = QuorumPacket::AckEpoch { last_logged: Some(Zxid::ZERO), current_epoch: None };
    assert_eq!(bench.sent(end), [ack], "at once: nothing is written");
}

#[test]
fn leader_of_an_older_epoch_is_left() {
    let (mut bench, end) = Bench::following(|_| {});
    bench.say(end, leader_info(4));
    bench.rig.settle();
    bench.rig.kill();
    let end_again = bench.follow();
    assert_ne!(end, end_again);
    bench.say(end_again, leader_info(3));
    assert_eq!(bench.role(), Role::Looking);
    assert!(bench.facts().iter().any(|fact| matches!(fact, Fact::LearnerLeft { .. })));
}

#[test]
fn txns_are_durable_before_the_epoch_and_the_epoch_before_the_ack() {
    let (mut bench, end) = promised(None);
    bench.say(end, QuorumPacket::Diff { zxid: z(1) });
    bench.say(end, proposal(z(1)));
    bench.say(end, commit(z(1)));
    bench.say(end, proposal(z(2)));
    bench.rig.settle();
    assert!(!bench.has_log(), "nothing is logged before NEWLEADER");
    bench.say(end, new_leader());
    bench.turns();
    assert!(bench.has_log());
    assert!(bench.rig.machine().database().tree().node("/n1").is_some());
    assert_eq!((bench.file("currentEpoch").unwrap().as_str(), bench.file("currentEpoch.tmp")), ("0", None));
    bench.rig.finish_syncs();
    bench.turns();
    assert_eq!(bench.file("currentEpoch").unwrap(), "0", "the log is durable, the epoch is being written");
    bench.rig.finish_syncs();
    assert_eq!(bench.file("currentEpoch").unwrap(), "1");
    assert_eq!(bench.sent(end), [], "the ACK is a step of its own");
    bench.turns();
    assert_eq!(bench.sent(end), [ACK_NEW_LEADER], "the proposal that is not committed is not acknowledged");
    bench.say(end, QuorumPacket::Ping { zxid: z(2) });
    assert_eq!(bench.sent(end), [], "pings are not answered before UPTODATE");
    bench.say(end, QuorumPacket::UpToDate);
    bench.turns();
    assert_eq!(bench.sent(end), [ACK_NEW_LEADER], "the second, which leaders ignore");
    bench.rig.settle();
    assert_eq!(bench.sent(end), [QuorumPacket::Ack { zxid: z(2) }]);
    bench.say(end, commit(z(2)));
    bench.rig.settle();
    assert!(bench.rig.machine().database().tree().node("/n2").is_some());
}

/// Crashes it after every number of steps between NEWLEADER and its ACK; whether the new epoch ever came without the txn.
fn epoch_without_its_txns(defect: Option<Defect>) -> bool {
    let crashes = (0..8).flat_map(|steps| [(steps, false), (steps, true)]);
    crashes.into_iter().any(|(steps, power)| {
        let (mut bench, end) = promised(defect);
        bench.write_back();
        for packet in [QuorumPacket::Diff { zxid: z(1) }, proposal(z(1)), commit(z(1)), new_leader()] {
            bench.say(end, packet);
        }
        for _ in 0..steps {
            // One turn or the end of the syncs, whichever is next.
            let _ = bench.rig.turn() || bench.rig.finish_syncs();
        }
        if power {
            let mut draw = RunKey([1, 2]).draw(Purpose::new("crash"), 1, steps);
            bench.rig.lose_power(CrashModel::AllUnsyncedLost, &mut draw);
        } else {
            bench.rig.kill();
        }
        bench.rig.boot();
        bench.rig.settle();
        let view = machine::Machine::view(bench.rig.machine());
        // Between the log and the epoch file even the fixed order has a gap: the server refuses to start (§3.6).
        view.phase != "down" && view.current_epoch == 1 && view.last_processed == 0
    })
}

#[test]
fn crash_never_leaves_the_new_epoch_without_its_txns() {
    assert!(!epoch_without_its_txns(None));
}

#[test]
fn zookeeper_4643_leaves_the_new_epoch_without_its_txns() {
    assert!(epoch_without_its_txns(Some(Defect::EpochBeforeTxns)));
}

#[test]
fn what_is_no_synchronisation_ends_the_process() {
    let (mut bench, end) = promised(None);
    bench.say(end, QuorumPacket::UpToDate);
    assert_eq!(bench.exit_status(), Some(13));
}

#[test]
fn log_that_cannot_be_cut_ends_the_process() {
    let (mut bench, end) = promised(None);
    bench.say(end, QuorumPacket::Trunc { zxid: z(4) });
    assert_eq!(bench.exit_status(), Some(13));
}

#[test]
fn commit_of_another_than_the_next_proposal_ends_the_process() {
    let (mut bench, end) = serving();
    bench.say(end, proposal(z(1)));
    bench.say(end, proposal(z(2)));
    bench.say(end, commit(z(2)));
    assert_eq!(bench.exit_status(), Some(12));
}

#[test]
fn commit_without_any_proposal_is_ignored() {
    let (mut bench, end) = serving();
    bench.say(end, commit(z(1)));
    assert_eq!(bench.exit_status(), None);
    assert_eq!(bench.role(), Role::Following);
}

#[test]
fn gap_within_an_epoch_is_refused() {
    let (mut bench, end) = promised(None);
    bench.say(end, QuorumPacket::Diff { zxid: z(3) });
    bench.say(end, proposal(z(1)));
    bench.say(end, proposal(z(3)));
    assert_eq!(bench.role(), Role::Looking);
}

#[test]
fn ping_is_answered_with_its_zxid() {
    let (mut bench, end) = serving();
    bench.say(end, QuorumPacket::Ping { zxid: z(0) });
    assert_eq!(bench.sent(end), [QuorumPacket::PingReply { zxid: z(0), touches: Vec::new() }]);
}

#[test]
fn silent_leader_is_left_after_the_sync_limit() {
    let (mut bench, end) = serving();
    bench.rig.advance(Span::millis(2_400));
    assert_eq!(bench.role(), Role::Following);
    bench.say(end, QuorumPacket::Ping { zxid: z(0) });
    bench.rig.advance(Span::millis(2_400));
    assert_eq!(bench.role(), Role::Following);
    bench.rig.advance(Span::millis(200));
    assert_eq!(bench.role(), Role::Looking);
}

#[test]
fn leader_that_refuses_is_dialled_five_times() {
    let mut bench = Bench::new(1, |_| {});
    let mut end = bench.dial_leader();
    for _ in 0..4 {
        bench.feed(Input::Refused { on: end });
        assert_eq!(bench.role(), Role::Following);
        bench.rig.advance(Span::millis(100));
        end = bench.dialled().expect("it dials again");
    }
    bench.feed(Input::Refused { on: end });
    assert_eq!(bench.role(), Role::Looking);
}

#[test]
fn leader_is_not_dialled_again_by_who_slept_through_the_time_for_it() {
    // A process that is stopped between two dials: as many ticks as a learner has to connect are over when it goes on.
    for (slept, role) in [(Span::millis(4_000), Role::Following), (Span::secs(20), Role::Looking)] {
        let mut bench = Bench::new(1, |_| {});
        let end = bench.dial_leader();
        bench.feed(Input::Refused { on: end });
        bench.rig.sleep(slept);
        assert_eq!(bench.role(), role, "after {slept}");
        assert_eq!(bench.dialled().is_some(), role == Role::Following);
    }
}

#[test]
fn connection_lost_while_it_writes_is_noticed_after_the_write() {
    let (mut bench, end) = Bench::following(|_| {});
    bench.say(end, leader_info(4));
    bench.feed(Input::Lost { on: end, why: Loss::Reset });
    assert_eq!(bench.role(), Role::Following, "it is blocked in its write");
    bench.rig.settle();
    assert_eq!(bench.file("acceptedEpoch").unwrap(), "4", "the promise stands");
    assert_eq!(bench.role(), Role::Looking);
}

#[test]
fn partial_snapshot_is_thrown_away_with_its_leader() {
    let (mut bench, end) = promised(None);
    bench.say(end, QuorumPacket::Snap { zxid: z(9) });
    let mut empty = coordinator::Database::new(500);
    empty.set_last_processed(z(9));
    let config = bench.rig.machine().config().clone();
    let snapshot = coordinator::store::serialize_snapshot(&empty, &config);
    let signature = jute::to_bytes(&"BenWasHere".to_owned());
    let stream = bytes::Bytes::from([&snapshot[..], &signature[..]].concat());
    bench.feed(Input::Message { on: end, message: jute::quorum::QuorumMessage::Snapshot(stream).into() });
    assert_eq!(bench.rig.machine().database().last_processed(), z(9));
    bench.feed(Input::Lost { on: end, why: Loss::Reset });
    assert_eq!(bench.role(), Role::Looking);
    assert_eq!(bench.rig.machine().database().last_processed(), Zxid::ZERO, "its base was never on the disk");
}

#[test]
fn failed_log_write_ends_the_following_and_the_tree_is_read_back() {
    let (mut bench, end) = serving();
    bench.say(end, proposal(z(1)));
    bench.turns();
    let ticket = *bench.rig.pending_syncs().last().unwrap();
    bench.say(end, commit(z(1)));
    bench.turns();
    assert!(bench.rig.machine().database().tree().node("/n1").is_some(), "applied before its own log has it");
    assert!(bench.rig.disk.fail_sync(ticket));
    bench.feed(Input::Durable { ticket, result: Err(machine::disk::DiskError::Io) });
    assert_eq!(bench.sent(end), [], "nothing is acknowledged");
    bench.say(end, QuorumPacket::Ping { zxid: z(1) });
    bench.turns();
    assert_eq!(machine::Machine::view(bench.rig.machine()).phase, "looking");
    let facts = bench.facts();
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Recovered { .. })), "{facts:?}");
}

#[test]
fn history_with_a_hole_before_its_first_txn_is_refused() {
    let (mut bench, end) = serving();
    for counter in 1..=3 {
        bench.say(end, proposal(z(counter)));
        bench.say(end, commit(z(counter)));
    }
    bench.rig.settle();
    bench.rig.kill();
    let end = bench.follow();
    bench.say(end, leader_info(2));
    bench.rig.settle();
    bench.say(end, QuorumPacket::Diff { zxid: z(9) });
    bench.say(end, proposal(z(9)));
    bench.say(end, commit(z(9)));
    bench.say(end, QuorumPacket::NewLeader { zxid: epoch(2).start(), config: bytes::Bytes::new() });
    bench.rig.settle();
    assert_eq!(machine::Machine::view(bench.rig.machine()).phase, "looking");
    assert_eq!(bench.file("currentEpoch").unwrap(), "1");
    bench.rig.kill();
    bench.rig.boot();
    bench.rig.settle();
    assert_eq!(machine::Machine::view(bench.rig.machine()).last_processed, z(3).value(), "nothing of it is in the log");
}
