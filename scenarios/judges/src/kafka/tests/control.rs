//! E01, E04, E05, E06, E08, E10, E15, E25.

use kafkawire::Request;
use kafkawire::messages::StopReplicaRequest;

use super::*;

const NONE: [&str; 0] = [];

#[test]
fn e01_fires_when_an_epoch_is_claimed_twice() {
    let mut stage = Stage::new();
    stage.close_session(session_of(0));
    stage.claim(1, session_of(1), 2);
    assert_eq!(stage.fired(), NONE);
    stage.claim(2, session_of(2), 2);
    assert_eq!(stage.only().invariant, "E01");
    assert_eq!(stage.only().headline, "b2 and b3 both claimed controller epoch 2");
}

#[test]
fn e01_fires_when_the_claim_and_the_epoch_are_two_transactions() {
    let mut stage = Stage::new();
    let claim = ControllerClaim { broker: id(1), timestamp_ms: 0 };
    stage.commit(session_of(1), &[create(znode::CONTROLLER, claim.encode(), true)]);
    assert_eq!(stage.fired(), ["E01"]);
    stage.commit(session_of(1), &[set(znode::CONTROLLER_EPOCH, Bytes::from_static(b"2"), 2)]);
    assert_eq!(stage.fired(), ["E01", "E01"]);
}

/// b1 was controller and lost it; b2 is.
fn succeeded() -> Stage {
    let mut stage = Stage::led();
    stage.commit(session(1), &[delete(znode::CONTROLLER)]);
    stage.claim(1, session_of(1), 2);
    stage
}

#[test]
fn e04_fires_when_a_deposed_controller_elects() {
    // KAFKA-6082.
    let mut stage = succeeded();
    stage.write_state(session_of(1), &state(2, Some(1), 1, &[1, 2]));
    assert_eq!(stage.fired(), NONE);
    stage.write_state(session_of(0), &state(1, Some(2), 2, &[1, 2]));
    assert_eq!(stage.only().invariant, "E04");
    assert_eq!(
        stage.only().headline,
        "b1, controller of epoch 1, wrote the state of orders-0 while the epoch is 2 already"
    );
}

#[test]
fn e04_knows_a_deposed_controller_by_its_next_session_too() {
    let mut stage = succeeded();
    stage.oracle.session_connected(HostId(0), session(0x200));
    stage.write_state(session(0x200), &state(1, Some(2), 1, &[1, 2]));
    assert_eq!(stage.fired(), ["E04"]);
}

#[test]
fn e04_fires_when_a_deposed_controller_deletes_a_notification_or_assigns() {
    let mut stage = succeeded();
    let path = format!("{}0000000001", znode::isr_change_prefix());
    stage.commit(session_of(2), &[create(&path, Bytes::new(), false)]);
    stage.commit(session_of(0), &[delete(&path)]);
    assert_eq!(stage.fired(), ["E04"]);
    let mut assignment = TopicAssignment::default();
    assignment.partitions.insert(0, vec![id(2), id(1), id(0)]);
    stage.commit(session_of(0), &[set("/brokers/topics/orders", assignment.encode(), 1)]);
    assert_eq!(stage.fired(), ["E04", "E04"]);
}

#[test]
fn e04_leaves_leaders_their_isr() {
    let mut stage = succeeded();
    // b1 still leads, and shrinks its ISR: the leader epoch stays.
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
    assert_eq!(stage.fired(), NONE);
    // Whoever was never controller may do no more than that.
    stage.write_state(session_of(2), &state(1, Some(0), 1, &[0, 1]));
    assert_eq!(stage.fired(), ["E04"]);
}

#[test]
fn e05_fires_when_a_broker_obeys_an_older_controller() {
    let mut stage = Stage::led();
    let own = stage.oracle.brokers[2].epoch.unwrap();
    let apply = |stage: &mut Stage, epoch: i32| {
        let moment = stage.moment(2);
        let epoch = ControllerEpoch(epoch);
        stage.oracle.control_applied(moment, 2, "UpdateMetadata", id(0), epoch, own, &mut stage.findings);
    };
    apply(&mut stage, 2);
    apply(&mut stage, 2);
    assert_eq!(stage.fired(), NONE);
    apply(&mut stage, 1);
    assert_eq!(stage.only().invariant, "E05");
    // A new process knows of no controller.
    stage.kill(2);
    stage.boot(2);
    apply(&mut stage, 1);
    assert_eq!(stage.fired(), ["E05"]);
}

/// b1 sends b3 a request; b3 restarts before it answers, and the request is sent again, carrying `broker_epoch`.
fn resent(broker_epoch: impl FnOnce(BrokerEpoch, BrokerEpoch) -> i64, again: bool) -> Stage {
    let mut stage = Stage::led();
    let before = stage.oracle.brokers[2].epoch.unwrap();
    let request = |delete| {
        let body = StopReplicaRequest::default().with_controller_id(id(0).wire()).with_delete_partitions(delete);
        Request::StopReplica(Arc::new(body))
    };
    let moment = stage.moment(0);
    stage.oracle.control_sent(moment, HostId(0), 2, &request(false), &mut stage.findings);
    stage.kill(2);
    stage.close_session(session_of(2));
    stage.boot(2);
    let after = stage.register(2, session(0x202));
    let moment = stage.moment(0);
    stage.oracle.control_sent(moment, HostId(0), 2, &request(!again), &mut stage.findings);
    stage.oracle.control_delivered(HostId(0), 2, &request(!again));
    let (moment, carried) = (stage.moment(2), BrokerEpoch(broker_epoch(before, after)));
    let epoch = ControllerEpoch(1);
    stage.oracle.control_applied(moment, 2, "StopReplica", id(0), epoch, carried, &mut stage.findings);
    stage
}

#[test]
fn e06_fires_when_a_request_to_an_earlier_life_is_obeyed() {
    // KAFKA-7235: requests carry no broker epoch, or nobody looks at it.
    let stage = resent(|_, _| -1, true);
    assert_eq!(stage.only().invariant, "E06");
    assert!(stage.only().headline.starts_with("b3, registered with epoch "), "{}", stage.only().headline);
    assert!(stage.arose("control-request-resent"));
    assert_eq!(resent(|before, _| before.0, true).fired(), ["E06"]);
    assert_eq!(resent(|before, _| before.0, false).fired(), ["E06"]);
}

#[test]
fn e06_is_silent_about_requests_to_the_present_life() {
    assert_eq!(resent(|_, after| after.0, true).fired(), NONE);
    let fresh = resent(|_, _| -1, false);
    assert_eq!(fresh.fired(), NONE);
    assert!(!fresh.arose("control-request-resent"));
}

#[test]
fn e06_forgives_what_was_let_in_before_the_same_process_registered_again() {
    for is_early in [true, false] {
        let mut stage = Stage::led();
        let before = stage.oracle.brokers[2].epoch.unwrap();
        let body = StopReplicaRequest::default().with_controller_id(id(0).wire()).with_broker_epoch(before.0);
        let request = Request::StopReplica(Arc::new(body));
        let moment = stage.moment(0);
        stage.oracle.control_sent(moment, HostId(0), 2, &request, &mut stage.findings);
        if is_early {
            stage.oracle.control_delivered(HostId(0), 2, &request);
        }
        stage.close_session(session_of(2));
        stage.register(2, session(0x202));
        stage.oracle.control_delivered(HostId(0), 2, &request);
        let moment = stage.moment(2);
        let epoch = ControllerEpoch(1);
        stage.oracle.control_applied(moment, 2, "StopReplica", id(0), epoch, before, &mut stage.findings);
        assert_eq!(stage.fired(), if is_early { &NONE[..] } else { &["E06"] });
        assert_eq!(stage.relaxed("E06"), u64::from(is_early));
    }
}

#[test]
fn e08_fires_when_an_epoch_goes_back() {
    let mut stage = Stage::led();
    stage.elect(Some(1), 3, &[1, 2]);
    assert_eq!(stage.fired(), NONE);
    stage.elect(Some(2), 2, &[1, 2]);
    assert_eq!(stage.fired(), ["E08", "E16"], "an epoch that does not rise is no controller's work");
    let mut stage = Stage::led();
    stage.elect(Some(1), 0, &[1, 2]);
    assert_eq!(stage.only().invariant, "E08");
    assert!(stage.only().headline.contains("stays though the leader changes"), "{}", stage.only().headline);
}

#[test]
fn e08_fires_when_a_broker_goes_back_in_one_life() {
    let mut stage = Stage::led();
    let follow = |stage: &mut Stage, epoch| {
        let moment = stage.moment(1);
        stage.oracle.became_follower(moment, 1, "orders", 0, LeaderEpoch(epoch), &mut stage.findings);
    };
    follow(&mut stage, 4);
    stage.kill(1);
    stage.boot(1);
    follow(&mut stage, 2);
    assert_eq!(stage.fired(), NONE);
    follow(&mut stage, 1);
    assert_eq!(stage.fired(), ["E08"]);
}

#[test]
fn e10_fires_when_an_outsider_is_elected() {
    let elect = |mut stage: Stage| {
        stage.elect(Some(0), 1, &[0, 1]);
        assert_eq!(stage.fired(), NONE);
        stage.elect(Some(2), 2, &[2]);
        stage
    };
    let stage = elect(Stage::led());
    assert_eq!(stage.only().invariant, "E10");
    let mut allowed = Stage::led();
    allowed.configure("unclean.leader.election.enable", "true");
    let allowed = elect(allowed);
    assert_eq!((allowed.fired(), allowed.relaxed("E10")), (vec![], 1));
    let everywhere = elect(Stage::with(|cluster| cluster.unclean_election = true).with_orders());
    assert_eq!(everywhere.fired(), NONE);
}

#[test]
fn e15_fires_when_a_state_contradicts_itself() {
    for (leader, isr, fires) in [
        (Some(1), &[0, 2][..], true),
        (None, &[], true),
        (Some(0), &[0, 0], true),
        (Some(0), &[0, 6], true),
        (None, &[0], false),
        (Some(0), &[2, 0], false),
    ] {
        let mut stage = Stage::led();
        stage.elect(leader, 1, isr);
        assert_eq!(stage.fired().contains(&"E15"), fires, "{leader:?} {isr:?}");
    }
}

/// b3 loses its session, connects with another, and finds a registration that is in the way.
fn refused(owner: SessionId) -> Stage {
    let mut stage = Stage::led();
    let moment = stage.moment(2);
    stage.oracle.broker_session_expired(moment, 2);
    stage.oracle.session_connected(HostId(2), session(0x202));
    let moment = stage.moment(2);
    stage.oracle.registration_refused(moment, 2, session(0x202), owner, &mut stage.findings);
    stage
}

#[test]
fn e25_fires_when_a_broker_is_kept_out_by_its_own_ghost() {
    // KAFKA-7165.
    let stage = refused(session_of(2));
    assert_eq!(stage.only().invariant, "E25");
    assert!(stage.only().headline.starts_with("b3 cannot register with session 0x202"), "{}", stage.only().headline);
    // That of another process is no ghost of its own.
    assert_eq!(refused(session(0x55)).fired(), NONE);
}

#[test]
fn e25_fires_when_a_broker_registers_another_or_believes_in_nothing() {
    let mut stage = Stage::new();
    stage.close_session(session_of(2));
    stage.commit(session_of(1), &[create(&znode::broker_id(id(2)), Bytes::new(), true)]);
    assert_eq!(stage.fired(), ["E25"]);
    let moment = stage.moment(1);
    stage.oracle.registered(moment, 1, BrokerEpoch(9_999), session_of(1), &mut stage.findings);
    assert_eq!(stage.fired(), ["E25", "E25"]);
}

#[test]
fn two_controllers_are_a_situation_while_the_first_does_not_know() {
    assert!(succeeded().arose("two-controllers"));
    let mut stage = Stage::led();
    stage.commit(session(1), &[delete(znode::CONTROLLER)]);
    stage.oracle.controls(0, None);
    stage.claim(1, session_of(1), 2);
    assert!(!stage.arose("two-controllers"));
}

#[test]
fn roles_are_those_of_the_committed_history() {
    let mut stage = succeeded();
    let role = |stage: &Stage, name: &str| stage.oracle.role(name).map(|host| host.0);
    assert_eq!((role(&stage, "controller"), role(&stage, "former-controller")), (Some(1), Some(0)));
    assert_eq!(role(&stage, "leader-of-orders-0"), Some(0));
    assert_eq!(role(&stage, "isr-follower-of-orders-0"), Some(1));
    assert_eq!(role(&stage, "last-isr-member-of-orders-0"), None);
    stage.write_state(session_of(1), &state(2, Some(2), 1, &[2]));
    assert_eq!(role(&stage, "leader-of-orders-0"), Some(2));
    assert_eq!(role(&stage, "last-isr-member-of-orders-0"), Some(2));
    assert_eq!(role(&stage, "isr-follower-of-orders-0"), None);
    assert_eq!(role(&stage, "out-of-sync-replica-of-orders-0"), Some(0));
    assert_eq!((role(&stage, "leader-of-orders-1"), role(&stage, "leader-of-sales-0")), (None, None));
    assert!(stage.arose("isr-shrunk-to-one"));
    let roles = crate::kafka::kafka_roles([(&Topic::from("orders"), 2)]);
    assert!(roles.contains(&"isr-follower-of-orders-1".to_owned()) && roles.contains(&"controller".to_owned()));
}

#[test]
fn a_history_that_is_told_anew_is_not_judged_again() {
    let mut stage = Stage::led();
    let checked = stage.checked("E15");
    let moment = stage.moment(99);
    let entry = |session: SessionId, txn| {
        let header = TxnHeader { session, cxid: Xid::new(1), zxid: Zxid::new(PeerEpoch::new(1), 1), time_ms: 0 };
        TxnEntry { header, txn, digest: None }.encode()
    };
    let path = znode::partition_state(&orders());
    let told = entry(session_of(0), create(&path, state(1, Some(2), 7, &[2]).encode(), false));
    stage.oracle.history_retold([(moment, &*told)].into_iter());
    assert_eq!(stage.checked("E15"), checked);
    assert_eq!(stage.oracle.role("leader-of-orders-0"), Some(HostId(2)));
}

#[test]
fn e16_fires_when_another_than_the_leader_writes_the_isr() {
    let mut stage = Stage::led();
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
    assert_eq!(stage.fired(), NONE);
    stage.write_state(session_of(1), &state(1, Some(0), 0, &[0]));
    assert_eq!(stage.fired(), ["E16"]);
}

#[test]
fn e16_fires_when_a_write_demands_no_version() {
    let mut stage = Stage::led();
    let mut write = |version| {
        let moment = stage.moment(0);
        stage.oracle.state_write_sent(moment, 0, &orders(), version, &mut stage.findings);
        stage.fired()
    };
    assert_eq!(write(Version::ZERO), NONE);
    assert_eq!(write(Version::ANY), ["E16"]);
}

#[test]
fn e17_fires_when_a_follower_joins_before_the_epoch_began() {
    let joined = |end: i64| {
        let mut stage = Stage::led();
        stage.commit_records(1);
        stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
        stage.append(0, true, 1, 0, "a");
        stage.append(1, false, 1, 0, "a");
        stage.elect(Some(1), 1, &[1]);
        stage.oracle.epoch_began(1, "orders", 0, LeaderEpoch(1), 2);
        stage.lead(1, 1);
        for base in 1..end {
            stage.append(2, false, base, 0, "a");
        }
        stage.write_state(session_of(1), &state(1, Some(1), 1, &[1, 2]));
        stage.fired()
    };
    assert_eq!(joined(1), ["E17"]);
    assert_eq!(joined(2), NONE);
}
