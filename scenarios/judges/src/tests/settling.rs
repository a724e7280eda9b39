//! V01, V02, V03, and the roles.

use jute::quorum::QuorumPacket;
use jute::txn::CloseSessionTxn;

use super::*;

fn unsettled(stage: &mut Stage) -> Option<String> {
    let now = Instant::from_nanos((stage.event + 100) * 1_000_000);
    stage.oracle.unsettled(now, |_| true)
}

/// Everything has come right.
fn settled() -> Stage {
    let mut stage = Stage::led();
    stage.connect(0, END, SESSION);
    stage.commit(&create_session(zxid(1, 3), OTHER));
    stage.connect(1, END, OTHER);
    stage.oracle.probe_succeeded(0);
    stage.oracle.probe_succeeded(1);
    assert_eq!(unsettled(&mut stage), None);
    stage
}

#[test]
fn v01_names_who_does_not_follow_and_since_when() {
    let mut stage = settled();
    stage.kill(2, 2);
    let what = unsettled(&mut stage).unwrap();
    assert!(
        what.starts_with("V01 leader-and-synced: zk3 is not in step with zk1, the leader (zk1 leading epoch 1 for "),
        "{what}"
    );
    assert!(what.contains("zk3 looking for 100 ms"), "{what}");
    stage.promise(2, 0, 1);
    stage.pass(0, 2, &QuorumPacket::Diff { zxid: zxid(1, 3) });
    assert!(unsettled(&mut stage).unwrap().contains("zk3 following zk1, synchronising"));
    stage.pass(0, 2, &QuorumPacket::UpToDate);
    assert_eq!(unsettled(&mut stage), None);
}

#[test]
fn v01_fires_without_a_leader_and_with_two() {
    let mut stage = settled();
    stage.lead_some(1, &[2], 2);
    assert!(unsettled(&mut stage).unwrap().contains("zk1, zk2 all lead"));
    stage.kill(0, 2);
    stage.kill(1, 2);
    assert!(unsettled(&mut stage).unwrap().contains("no leader is established"));
}

#[test]
fn v01_does_not_wait_for_a_server_that_refuses_its_disk() {
    let mut stage = settled();
    let moment = stage.moment(2);
    stage.oracle.refused_to_start(moment, 2, "none of 1 snapshots can be loaded");
    stage.oracle.ended(moment, 2);
    let now = Instant::from_nanos(stage.event * 1_000_000);
    assert_eq!(stage.oracle.unsettled(now, |host| host != HostId(2)), None);
    assert_eq!(stage.oracle.notes().count(), 1);
}

#[test]
fn v01_does_not_wait_for_a_server_that_promised_an_epoch_above_its_leaders() {
    for accepted in [1, 2] {
        let mut stage = settled();
        stage.kill(2, 2);
        stage.write_epoch(2, "acceptedEpoch", accepted);
        let what = unsettled(&mut stage);
        assert_eq!(what.is_none(), accepted == 2, "{what:?}");
        assert_eq!((stage.oracle.notes().count(), stage.relaxed("V01")), if accepted == 2 { (1, 1) } else { (0, 0) });
    }
}

#[test]
fn v01_waits_until_all_have_applied_all() {
    let mut stage = settled();
    let entry = create(zxid(1, 4), SESSION, 0, "/b", false);
    for member in 0..3 {
        stage.log_and_sync(member, &entry);
    }
    stage.say_committed(0, zxid(1, 4));
    stage.apply(0, zxid(1, 4));
    assert!(unsettled(&mut stage).unwrap().contains("zk2 has applied 3 of 4 committed transactions"));
}

#[test]
fn v02_names_the_client_whose_write_does_not_complete() {
    let mut stage = settled();
    stage.oracle.probed = 1;
    let what = unsettled(&mut stage).unwrap();
    assert!(what.starts_with("V02 writes-complete: no new write of c2 has succeeded"), "{what}");
}

#[test]
fn v03_names_the_session_that_outlives_its_client_or_is_gone() {
    let mut stage = settled();
    stage.commit(&create_session(zxid(1, 4), SessionId::new(0xc)));
    let what = unsettled(&mut stage).unwrap();
    assert!(what.starts_with("V03 sessions-settle: session 0xc belongs to no live client"), "{what}");
    let mut parted = stage.oracle.clone();
    parted.parted = Some("a leader had misread its disk");
    let now = Instant::from_nanos((stage.event + 100) * 1_000_000);
    assert_eq!(parted.unsettled(now, |_| true), None, "nobody can say whose session it is");
    let close =
        |zxid, session| entry_of(zxid, session, 0, Txn::CloseSession(Some(CloseSessionTxn { paths: Vec::new() })));
    stage.commit(&close(zxid(1, 5), SessionId::new(0xc)));
    assert_eq!(unsettled(&mut stage), None);
    stage.commit(&close(zxid(1, 6), OTHER));
    let what = unsettled(&mut stage).unwrap();
    assert!(what.starts_with("V03 sessions-settle: session 0xb of c2 is gone"), "{what}");
}

#[test]
fn v03_leaves_alone_a_session_that_one_server_alone_may_know() {
    for (local_sessions, waits) in [(false, true), (true, false)] {
        let mut stage = settled();
        std::sync::Arc::make_mut(&mut stage.oracle.roster).ensemble.local_sessions = local_sessions;
        stage.connect(0, EndId(9), SessionId::new(0xd));
        stage.commit(&entry_of(zxid(1, 4), SESSION, 0, Txn::CloseSession(Some(CloseSessionTxn { paths: Vec::new() }))));
        let what = unsettled(&mut stage);
        assert_eq!(what.is_some_and(|what| what.contains("session 0xd of c1 is gone")), waits);
    }
}

#[test]
fn every_role_is_known_and_resolves_when_somebody_has_it() {
    let mut stage = settled();
    let resolved: Vec<&str> =
        crate::ROLES.iter().map(|(role, _)| *role).filter(|role| stage.oracle.role(role).is_some()).collect();
    assert_eq!(resolved, ["leader", "a-follower", "last-follower", "laggard", "session-holder"]);
    assert_eq!(stage.oracle.role("a-follower"), Some(HostId(1)));
    assert_eq!(stage.oracle.role("emperor"), None);
    stage.kill(1, 2);
    assert_eq!(stage.oracle.role("looking"), Some(HostId(1)));
    stage.promise(1, 0, 1);
    stage.pass(0, 1, &QuorumPacket::Diff { zxid: zxid(1, 3) });
    assert_eq!(stage.oracle.role("synchronising"), Some(HostId(1)));
    let moment = stage.moment(2);
    stage.oracle.role_entered(moment, 2, Role::Leading);
    assert_eq!(stage.oracle.role("leading-candidate"), Some(HostId(2)));
}

#[test]
fn a_fork_of_the_judges_goes_its_own_way() {
    let mut stage = settled();
    let fork = stage.oracle.clone();
    stage.commit(&create(zxid(1, 4), SESSION, 0, "/b", false));
    assert_eq!((stage.oracle.committed(), fork.committed()), (4, 3));
    let checks = |oracle: &Oracle| oracle.checks().iter().map(|check| check.times).sum::<u64>();
    assert!(checks(&stage.oracle) > checks(&fork));
}

/// Stops the third server, and has it refuse to start.
fn refuses(stage: &mut Stage, why: &str) -> Vec<&'static str> {
    let moment = stage.moment(2);
    stage.oracle.ended(moment, 2);
    stage.oracle.refused_to_start(moment, 2, why);
    stage.settle();
    stage.fired()
}

#[test]
fn c49_fires_when_a_server_that_only_died_does_not_start() {
    let mut stage = settled();
    assert_eq!(refuses(&mut stage, "the log changes a znode at 0x100000002 that is not there"), ["C49"]);
}

#[test]
fn c49_knows_the_epoch_that_stands_beside_its_file() {
    let why = coordinator::store::RefuseToStart::CurrentEpochBehind { current: PeerEpoch::new(1), last: zxid(2, 1) };
    let mut stage = settled();
    assert_eq!(refuses(&mut stage, &why.to_string()), Vec::<&str>::new());
    let mut stage = settled();
    stage.disks[2].create("data/version-2/currentEpoch.tmp").unwrap();
    assert_eq!(refuses(&mut stage, &why.to_string()), ["C49"]);
}

#[test]
fn c49_takes_an_empty_log_file_for_what_a_loss_of_power_leaves_and_nothing_else() {
    let lost_power = |content: &[u8], file: &str| {
        let mut stage = settled();
        let path = "data/version-2/log.500000001";
        let log = stage.disks[2].create(path).unwrap();
        stage.disks[2].write_at(log, 0, content).unwrap();
        let moment = stage.moment(2);
        let disk = stage.disks[2].clone();
        stage.oracle.lost_power(moment, 2, &disk);
        let why = coordinator::store::LogError::TruncatedHeader { file: file.to_owned() };
        refuses(&mut stage, &why.to_string())
    };
    assert_eq!(lost_power(b"", "data/version-2/log.500000001"), ["C49"]);
    assert_eq!(lost_power(b"ZKLG", "data/version-2/log.500000001"), Vec::<&str>::new());
    assert_eq!(lost_power(b"", "data/version-2/log.400000001"), Vec::<&str>::new(), "an older one is damage");
}

#[test]
fn c49_is_silent_about_disks_that_failed() {
    let mut stage = settled();
    stage.oracle.disks_fail(&[HostId(2)]);
    assert_eq!(refuses(&mut stage, "CRC check failed in log.1 at 16"), Vec::<&str>::new());
}
