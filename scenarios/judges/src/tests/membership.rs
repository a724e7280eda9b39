//! C35, C42, and what a quorum is: weights, observers, and configurations that follow one another.

use std::collections::BTreeMap;

use jute::client::{GetDataRequest, GetDataResponse, ReconfigRequest};
use jute::data::Stat;
use jute::election::{Notification, PeerState};
use jute::quorum::LearnerInfo;
use jute::{ElectionRound, txn};

use super::*;
use crate::membership::CONFIG;

/// `p` votes, `o` observes, anything else is not in it; by place.
fn text(roles: &str, version: Zxid) -> Bytes {
    let line = |(place, role): (usize, char)| {
        let role = match role {
            'p' => "participant",
            'o' => "observer",
            _ => return None,
        };
        Some(format!("server.{}=host{place}:2888:3888:{role};0.0.0.0:2181\n", place + 1))
    };
    let lines: String = roles.chars().enumerate().filter_map(line).collect();
    Bytes::from(format!("{lines}version={:x}", version.value()))
}

fn reconfig(zxid: Zxid, roles: &str) -> Bytes {
    let data = Buffer::new(text(roles, zxid).to_vec());
    let set = SetDataTxn { path: CONFIG.to_owned(), data, version: Version::ANY };
    entry_of(zxid, SESSION, 0, Txn::Reconfig(set))
}

/// Five servers of which three vote and one observes; the last is not in it. zk1 leads epoch 1.
fn stage() -> Stage {
    stage_on(Metadata::Synchronous)
}

fn stage_on(metadata: Metadata) -> Stage {
    let configuration = Configuration::majority(0..3, [3]).with_version(zxid(1, 0));
    let mut stage = Stage::of(5, configuration, true, metadata);
    stage.begin_to_lead(0, 1);
    for member in 1..4 {
        follow(&mut stage, member, 0, 1, "pppo-", zxid(1, 0));
    }
    stage.establish(0, 1);
    for member in 1..4 {
        stage.pass(0, member, &QuorumPacket::UpToDate);
    }
    commit(&mut stage, &create_session(zxid(1, 1), SESSION), 0..3);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage
}

/// A learner says what it is, and is synchronised up to its acknowledgement of NEWLEADER.
fn follow(stage: &mut Stage, member: usize, leader: usize, epoch: u32, roles: &str, version: Zxid) {
    let observes = roles.chars().nth(member) == Some('o');
    let moment = stage.moment(member);
    stage.oracle.role_entered(moment, member, if observes { Role::Observing } else { Role::Following });
    let info = LearnerInfo { sid: Sid::new(1), protocol_version: 0x10000, config_version: version.to_wire() };
    let hello = match observes {
        true => QuorumPacket::ObserverInfo { accepted_epoch: PeerEpoch::new(epoch), info },
        false => QuorumPacket::FollowerInfo { accepted_epoch: PeerEpoch::new(epoch), info },
    };
    stage.pass(member, leader, &hello);
    stage.write_epoch(member, "acceptedEpoch", epoch);
    stage.pass(member, leader, &QuorumPacket::AckEpoch { last_logged: None, current_epoch: None });
    stage.pass(leader, member, &QuorumPacket::Diff { zxid: Zxid::ZERO });
    stage.pass(leader, member, &QuorumPacket::NewLeader { zxid: zxid(epoch, 0), config: text(roles, version) });
    stage.write_epoch(member, "currentEpoch", epoch);
    stage.pass(member, leader, &QuorumPacket::Ack { zxid: zxid(epoch, 0) });
}

/// These log it, acknowledge it, and the first of them says that it is committed.
fn commit(stage: &mut Stage, entry: &Bytes, by: impl IntoIterator<Item = usize>) {
    let zxid = TxnEntry::decode_header(entry).unwrap().zxid;
    for member in by {
        stage.propose(0, member, entry);
        stage.log_and_sync(member, entry);
    }
    stage.say_committed(0, zxid);
}

#[test]
fn c09_does_not_count_an_observer_nor_a_stranger() {
    let fired = |by: &[usize]| {
        let mut stage = stage();
        commit(&mut stage, &create(zxid(1, 2), SESSION, 0, "/a", false), by.iter().copied());
        stage.fired()
    };
    assert_eq!(fired(&[0, 3, 4]), ["C09"]);
    assert_eq!(fired(&[0, 2]), Vec::<&str>::new());
}

#[test]
fn c09_weighs_voters_by_group() {
    let fired = |by: &[usize]| {
        let groups = [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2)];
        let configuration = Configuration::majority(0..5, []).weighed(groups, BTreeMap::from([(0, 3), (2, 0)]));
        let mut stage = Stage::of(5, configuration, true, Metadata::Synchronous);
        stage.lead_some(0, &[1, 2, 3, 4], 1);
        commit(&mut stage, &create_session(zxid(1, 1), SESSION), by.iter().copied());
        stage.fired()
    };
    assert_eq!(fired(&[0, 3, 4]), Vec::<&str>::new());
    assert_eq!(fired(&[0, 1, 2, 3]), ["C09"], "more than half of the voters, and half of the weight of one group");
}

#[test]
fn c09_wants_a_quorum_of_the_old_and_of_the_new_voters_for_a_reconfiguration() {
    let fired = |by: &[usize]| {
        let mut stage = stage();
        commit(&mut stage, &reconfig(zxid(1, 2), "p--pp"), by.iter().copied());
        stage.fired()
    };
    assert_eq!(fired(&[0, 1, 2]), ["C09"], "one of the new");
    assert_eq!(fired(&[0, 3, 4]), ["C09"], "one of the old");
    assert_eq!(fired(&[0, 2, 4]), Vec::<&str>::new());
}

#[test]
fn c09_wants_the_new_voters_alone_behind_a_reconfiguration() {
    let fired = |by: &[usize]| {
        let mut stage = stage();
        commit(&mut stage, &reconfig(zxid(1, 2), "p--pp"), 0..5);
        commit(&mut stage, &create(zxid(1, 3), SESSION, 0, "/a", false), by.iter().copied());
        stage.fired()
    };
    assert_eq!(fired(&[0, 3]), Vec::<&str>::new());
    assert_eq!(fired(&[0, 1, 2]), ["C09"]);
}

/// zk2 leads epoch 2 with a reconfiguration in its log that nobody committed, and these acknowledge.
fn completed_by(by: &[usize]) -> Stage {
    let mut stage = stage();
    let entry = reconfig(zxid(1, 2), "p--pp");
    stage.propose(0, 1, &entry);
    stage.log_and_sync(1, &entry);
    stage.kill(0, 2);
    stage.begin_to_lead(1, 2);
    for &member in by {
        follow(&mut stage, member, 1, 2, "p--pp", zxid(1, 2));
    }
    stage.establish(1, 2);
    stage
}

#[test]
fn c09_wants_both_quorums_behind_newleader_that_completes_a_reconfiguration() {
    assert_eq!(completed_by(&[2, 3]).fired(), ["C09"], "one of the new");
    assert_eq!(completed_by(&[3, 4]).fired(), ["C09"], "one of the old");
    let mut stage = completed_by(&[2, 3, 4]);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    let moment = stage.moment(3);
    stage.oracle.config_activated(moment, 3, zxid(1, 2));
    stage.settle();
    assert_eq!(stage.fired(), Vec::<&str>::new(), "it is in force");
}

#[test]
fn c35_fires_when_a_configuration_is_gone_by_that_was_never_agreed_on() {
    let mut stage = stage();
    let entry = reconfig(zxid(1, 2), "p--pp");
    stage.propose(0, 1, &entry);
    stage.log_and_sync(1, &entry);
    let activate = |stage: &mut Stage| {
        let moment = stage.moment(1);
        stage.oracle.config_activated(moment, 1, zxid(1, 2));
        stage.settle();
    };
    let mut early = Stage { oracle: stage.oracle.clone(), disks: stage.disks.clone(), ..self::stage() };
    activate(&mut early);
    assert_eq!(early.only().invariant, "C35");
    commit(&mut stage, &entry, [0, 2, 4]);
    activate(&mut stage);
    assert_eq!(stage.fired(), Vec::<&str>::new());
}

#[test]
fn c35_fires_when_a_leader_goes_by_an_older_configuration_than_that_in_force() {
    let led = |metadata: Metadata, power: bool| {
        let mut stage = stage_on(metadata);
        commit(&mut stage, &reconfig(zxid(1, 2), "p--pp"), 0..5);
        if power {
            stage.lose_power(0, 2);
        }
        stage.oracle.offered(0, PeerEpoch::new(2), &text("pppo-", zxid(1, 0)));
        let moment = stage.moment(0);
        stage.oracle.configured(moment, 0, PeerEpoch::new(2));
        stage.settle();
        stage
    };
    assert_eq!(led(Metadata::Synchronous, true).fired(), ["C35"]);
    assert_eq!(led(Metadata::Journaled, false).fired(), ["C35"]);
    let excused = led(Metadata::Journaled, true);
    assert_eq!((excused.fired(), excused.relaxed("C35")), (Vec::new(), 1), "a rename that was not durable");
}

#[test]
fn c35_tolerates_a_joiner_that_goes_by_what_is_outstanding() {
    let mut stage = stage();
    let entry = reconfig(zxid(1, 2), "ppp-p");
    stage.propose(0, 1, &entry);
    stage.log_and_sync(1, &entry);
    follow(&mut stage, 4, 0, 1, "ppp-p", zxid(1, 2));
    stage.pass(0, 4, &QuorumPacket::UpToDate);
    let moment = stage.moment(4);
    stage.oracle.config_activated(moment, 4, zxid(1, 2));
    stage.settle();
    assert_eq!((stage.fired(), stage.relaxed("C35")), (Vec::new(), 1));
    // The leader refuses it then, and what is outstanding may wait for it (swarm-members, seed 36).
    let moment = stage.moment(4);
    stage.oracle.role_entered(moment, 4, Role::Looking);
    let now = |ms: u64| Instant::from_nanos((stage.event + ms) * 1_000_000);
    assert_eq!((stage.oracle.stranded(now(1_000)), stage.oracle.stranded(now(6_000)).is_some()), (None, true));
    let (early, late) = (now(1_000), now(6_000));
    assert!(stage.oracle.unsettled(early, |_| true).is_some(), "nobody has probed");
    assert_eq!(stage.oracle.unsettled(late, |_| true), None);
}

/// Found by `reconfiguration`, seeds 1 and 5: who takes over without an election writes its snapshot before it says that it leads.
#[test]
fn who_takes_over_behind_a_reconfiguration_leads_with_the_tail_of_its_log() {
    let mut stage = stage();
    commit(&mut stage, &reconfig(zxid(1, 2), "-pp--"), 0..3);
    let tail = create(zxid(1, 3), SESSION, 0, "/tail", false);
    stage.propose(0, 1, &tail);
    stage.log_and_sync(1, &tail);
    stage.create_file(1, "v/snapshot.100000003");
    stage.begin_to_lead(1, 2);
    follow(&mut stage, 2, 1, 2, "-pp--", zxid(1, 2));
    stage.establish(1, 2);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    assert_eq!(stage.oracle.committed(), 3, "the tail is committed with it");
}

/// A client asks for the configuration and is shown one.
fn show(stage: &mut Stage, xid: i32, roles: &str, version: Zxid) {
    let ask = GetDataRequest { path: CONFIG.to_owned(), watch: false };
    stage.ask(0, END, xid, Request::GetData(ask));
    let shown = GetDataResponse { data: Buffer::new(text(roles, version).to_vec()), stat: Stat::default() };
    stage.reply(0, END, xid, zxid(1, 2), Some(Response::GetData(shown)));
}

#[test]
fn c35_fires_when_a_session_is_shown_an_older_configuration_than_before() {
    let mut stage = stage();
    stage.connect(0, END, SESSION);
    commit(&mut stage, &reconfig(zxid(1, 2), "ppp-o"), 0..3);
    show(&mut stage, 1, "pppo-", zxid(1, 0));
    show(&mut stage, 2, "ppp-o", zxid(1, 2));
    assert_eq!(stage.fired(), Vec::<&str>::new());
    show(&mut stage, 3, "pppo-", zxid(1, 0));
    assert_eq!(stage.only().signature_parts, ["configuration-went-back"]);
}

/// Found by `reconfiguration`, seed 92.
#[test]
fn c35_tolerates_what_is_shown_before_the_tree_has_it() {
    let mut stage = stage();
    stage.connect(0, END, SESSION);
    commit(&mut stage, &reconfig(zxid(1, 2), "ppp-o"), 0..3);
    commit(&mut stage, &reconfig(zxid(1, 3), "pppoo"), 0..3);
    // Both replies are of a tree that ends with the first.
    show(&mut stage, 1, "pppoo", zxid(1, 3));
    show(&mut stage, 2, "ppp-o", zxid(1, 2));
    assert_eq!((stage.fired(), stage.relaxed("C35")), (Vec::new(), 1));
}

#[test]
fn c35_fires_when_a_session_is_shown_what_nobody_agreed_on() {
    let kinds = |roles: &str, version| {
        let mut stage = stage();
        stage.connect(0, END, SESSION);
        show(&mut stage, 1, roles, version);
        stage.findings.violations().iter().flat_map(|it| it.signature_parts.clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("pppo-", zxid(1, 0)), Vec::<String>::new());
    assert_eq!(kinds("pppp-", zxid(1, 0)), ["one-version-two-configurations"]);
    assert_eq!(kinds("pppp-", zxid(1, 7)), ["shown-uncommitted"]);
}

#[test]
fn c13_holds_a_reconfiguration_that_was_acknowledged() {
    let mut stage = stage();
    stage.connect(0, END, SESSION);
    let ask = ReconfigRequest { joining: None, leaving: Some("4".into()), new_members: None, config_id: -1 };
    stage.ask(0, END, 1, Request::Reconfig(ask));
    commit(&mut stage, &reconfig(zxid(1, 2), "ppp--"), [0, 1]);
    let data = Buffer::new(text("ppp--", zxid(1, 2)).to_vec());
    let answer = GetDataResponse { data, stat: Stat::default() };
    stage.reply(0, END, 1, zxid(1, 2), Some(Response::Reconfig(answer)));
    assert_eq!(stage.fired(), Vec::<&str>::new());
    // The next leader has never heard of it.
    stage.begin_to_lead(2, 2);
    stage.establish(2, 2);
    assert!(stage.fired().contains(&"C13"), "{:?}", stage.fired());
}

#[test]
fn c22_holds_the_version_that_a_reconfiguration_demands() {
    let fired = |config_id: Zxid, refused: bool| {
        let mut stage = stage();
        stage.connect(0, END, SESSION);
        let config_id = config_id.to_wire();
        let ask = ReconfigRequest { joining: None, leaving: Some("4".into()), new_members: None, config_id };
        stage.ask(0, END, 1, Request::Reconfig(ask));
        let txn = match refused {
            true => Txn::Error(txn::ErrorTxn { err: ErrorCode::BadVersion }),
            false => {
                let data = Buffer::new(text("ppp--", zxid(1, 2)).to_vec());
                Txn::Reconfig(SetDataTxn { path: CONFIG.to_owned(), data, version: Version::ANY })
            }
        };
        commit(&mut stage, &entry_of(zxid(1, 2), SESSION, 1, txn), 0..3);
        stage.fired()
    };
    assert_eq!(fired(zxid(1, 0), false), Vec::<&str>::new());
    assert_eq!(fired(zxid(0, 9), false), ["C22"]);
    assert_eq!(fired(zxid(0, 9), true), Vec::<&str>::new());
    assert_eq!(fired(zxid(1, 0), true), ["C22"]);
}

#[test]
fn c42_fires_when_an_observer_acknowledges_a_proposal() {
    let mut stage = stage();
    let entry = create(zxid(1, 2), SESSION, 0, "/a", false);
    commit(&mut stage, &entry, 0..4);
    stage.pass(2, 0, &QuorumPacket::Ack { zxid: zxid(1, 2) });
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage.pass(3, 0, &QuorumPacket::Ack { zxid: zxid(1, 2) });
    assert_eq!(stage.only().signature_parts, ["observer-acknowledges"]);
}

#[test]
fn c42_fires_when_who_has_no_vote_leads() {
    let fired = |leader: usize| {
        let mut stage = stage();
        stage.kill(0, 2);
        stage.begin_to_lead(leader, 2);
        for member in (1..3).filter(|&member| member != leader) {
            follow(&mut stage, member, leader, 2, "pppo-", zxid(1, 0));
        }
        stage.establish(leader, 2);
        stage.fired()
    };
    assert_eq!(fired(1), Vec::<&str>::new());
    assert!(fired(3).contains(&"C42"));
}

#[test]
fn c42_fires_when_an_observer_proposes_itself() {
    let fired_to = |leader: Option<u8>, roles: &str, to: u32| {
        let mut stage = stage();
        let moment = stage.moment(3);
        let notification = Notification {
            state: PeerState::Looking,
            leader: leader.map(Sid::new),
            zxid: None,
            round: ElectionRound::ZERO,
            peer_epoch: None,
            version: Notification::VERSION,
            config: text(roles, zxid(1, 0)),
        };
        stage.oracle.voted(moment, 3, HostId(to), &notification, &mut stage.findings);
        stage.fired()
    };
    let fired = |leader, roles| fired_to(leader, roles, 0);
    assert_eq!(fired(Some(4), "pppo-"), ["C42"]);
    assert_eq!(fired_to(Some(4), "pppo-", 4), Vec::<&str>::new(), "its vote of old, for who has none either");
    assert_eq!(fired(None, "pppo-"), Vec::<&str>::new());
    assert_eq!(fired(Some(3), "pppo-"), Vec::<&str>::new(), "it passes on what it heard");
    assert_eq!(fired(Some(4), "pppp-"), Vec::<&str>::new(), "it does not know yet");
}

#[test]
fn observer_is_held_to_the_committed_history_as_any_other() {
    let entry = create(zxid(1, 2), SESSION, 0, "/a", false);
    let mut stage = stage();
    commit(&mut stage, &entry, 0..3);
    let mut late = Stage { oracle: stage.oracle.clone(), disks: stage.disks.clone(), ..self::stage() };
    // It is told of the second without the first.
    late.apply(3, zxid(1, 2));
    assert_eq!(late.only().invariant, "C04");
    stage.apply(3, zxid(1, 1));
    stage.apply(3, zxid(1, 2));
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage.apply(3, zxid(1, 3));
    assert_eq!(stage.only().invariant, "C03", "nobody committed that");
}

#[test]
fn v01_waits_for_observers_and_not_for_who_was_removed() {
    let unsettled = |stage: &mut Stage| {
        let now = Instant::from_nanos((stage.event + 100) * 1_000_000);
        stage.oracle.probe_succeeded(0);
        stage.oracle.probe_succeeded(1);
        stage.oracle.unsettled(now, |_| true)
    };
    let mut stage = stage();
    stage.connect(0, END, SESSION);
    (0..4).for_each(|member| stage.apply(member, zxid(1, 1)));
    assert_eq!(unsettled(&mut stage), None, "zk5 is not in it");
    assert_eq!(stage.oracle.role("last-follower"), Some(HostId(2)), "an observer follows nobody");
    assert_eq!(stage.oracle.role("an-observer"), Some(HostId(3)));
    stage.kill(3, 2);
    assert!(unsettled(&mut stage).unwrap().contains("zk4 is not in step with zk1"));
    commit(&mut stage, &reconfig(zxid(1, 2), "ppp--"), 0..3);
    (0..3).for_each(|member| stage.apply(member, zxid(1, 2)));
    assert_eq!(unsettled(&mut stage), None);
}

#[test]
fn c49_lets_who_was_removed_refuse_to_start() {
    let fired = |member: usize, hears: bool| {
        let mut stage = stage();
        commit(&mut stage, &reconfig(zxid(1, 2), "pp---"), 0..3);
        let moment = stage.moment(member);
        if hears {
            stage.oracle.config_activated(moment, member, zxid(1, 2));
        }
        stage.oracle.refused_to_start(moment, member, "my id 3 is not in the peer list");
        stage.settle();
        stage.fired()
    };
    assert_eq!(fired(2, true), Vec::<&str>::new());
    assert_eq!(fired(2, false), ["C49"], "nobody told it");
    assert_eq!(fired(1, true), ["C49"], "it is still in it");
}
