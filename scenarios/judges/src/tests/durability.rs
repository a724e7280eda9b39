//! C02, C10, C11.

use jute::quorum::QuorumPacket;

use super::*;
use crate::durability::STEPPED_OVER;

#[test]
fn c10_fires_when_an_ack_leaves_before_its_sync() {
    // M01.
    let run = |synced: bool| {
        let mut stage = Stage::led();
        let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
        stage.propose(0, 1, &entry);
        stage.log(1, &entry);
        if synced {
            stage.sync(1);
        }
        stage.send(1, 0, &QuorumPacket::Ack { zxid: zxid(1, 3) });
        stage
    };
    assert_eq!(run(true).fired(), Vec::<&str>::new());
    let early = run(false);
    assert_eq!(early.only().invariant, "C10");
    assert_eq!(
        early.only().headline,
        "zk2 acknowledged 0x100000003 (create /b) which is in its page cache only: a loss of power now loses it"
    );
}

#[test]
fn c10_fires_when_an_ack_leaves_before_its_write() {
    let mut stage = Stage::led();
    stage.propose(0, 1, &create(zxid(1, 3), SESSION, 0, "/b", false));
    stage.send(1, 0, &QuorumPacket::Ack { zxid: zxid(1, 3) });
    assert_eq!(stage.only().invariant, "C10");
}

#[test]
fn c10_is_relaxed_for_the_tail_of_an_earlier_life() {
    let mut stage = Stage::led();
    let tail = create(zxid(1, 3), SESSION, 0, "/b", false);
    stage.propose(0, 1, &tail);
    stage.log(1, &tail);
    stage.kill(1, 2);
    stage.join(1, 0, 1);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    assert!(stage.relaxed("C10") > 0);
    assert!(stage.oracle.notes().next().is_some(), "the hole is told");
}

/// Found by the swarm (swarm-ensemble, seed 1347).
#[test]
fn c10_is_relaxed_for_the_tail_of_a_log_whose_writing_failed() {
    let run = |failed: bool| {
        let mut stage = Stage::led();
        let tail = create(zxid(1, 3), SESSION, 0, "/b", false);
        stage.propose(0, 1, &tail);
        stage.log(1, &tail);
        if failed {
            stage.oracle.log_failed(1);
        }
        stage.join(1, 0, 1);
        (stage.fired(), stage.relaxed("C10") > 0)
    };
    assert_eq!(run(true), (vec![], true));
    assert!(!run(false).0.is_empty());
}

/// zk3 was away for one transaction and is brought up to date by DIFF.
fn learner_behind(stage: &mut Stage) -> Bytes {
    let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
    stage.log_and_sync(0, &entry);
    stage.propose(0, 1, &entry);
    stage.log_and_sync(1, &entry);
    stage.pass(1, 0, &QuorumPacket::Ack { zxid: zxid(1, 3) });
    stage.say_committed(0, zxid(1, 3));
    stage.kill(0, 2);
    stage.begin_to_lead(1, 2);
    stage.promise(2, 1, 2);
    stage.pass(1, 2, &QuorumPacket::Diff { zxid: zxid(1, 3) });
    stage.propose(1, 2, &entry);
    stage.pass(1, 2, &QuorumPacket::Commit { zxid: zxid(1, 3) });
    stage.new_leader(1, 2, 2);
    entry
}

#[test]
fn c11_fires_when_the_epoch_is_written_before_the_transactions() {
    // M02, ZOOKEEPER-4643.
    let mut stage = Stage::led();
    let entry = learner_behind(&mut stage);
    let mut correct = Stage {
        oracle: stage.oracle.clone(),
        disks: stage.disks.clone(),
        event: stage.event,
        tickets: stage.tickets,
        logs: stage.logs.clone(),
        ..Stage::new()
    };
    stage.write_epoch(2, "currentEpoch", 2);
    assert_eq!(stage.only().invariant, "C11");
    assert!(
        stage.only().headline.starts_with("zk3 wrote currentEpoch 2 without 0x100000003"),
        "{}",
        stage.only().headline
    );

    correct.log_and_sync(2, &entry);
    correct.apply(2, zxid(1, 3));
    correct.write_epoch(2, "currentEpoch", 2);
    correct.send(2, 1, &QuorumPacket::Ack { zxid: zxid(2, 0) });
    assert_eq!(correct.fired(), Vec::<&str>::new());
}

#[test]
fn c11_then_c13_fire_when_the_server_crashes_in_between_and_leads() {
    let mut stage = Stage::led();
    stage.connect(0, END, SESSION);
    learner_behind(&mut stage);
    stage.ask(0, END, 1, Request::Delete(jute::client::DeleteRequest { path: "/b".to_owned(), version: Version::ANY }));
    stage.reply(0, END, 1, zxid(1, 3), None);
    stage.write_epoch(2, "currentEpoch", 2);
    stage.kill(2, 2);
    stage.lead(2, 3);
    assert_eq!(stage.fired()[..2], ["C11", "C13"]);
}

#[test]
fn c11_fires_when_newleader_is_acknowledged_without_its_epoch() {
    let mut stage = Stage::led();
    let entry = learner_behind(&mut stage);
    stage.log_and_sync(2, &entry);
    stage.send(2, 1, &QuorumPacket::Ack { zxid: zxid(2, 0) });
    assert_eq!(stage.fired(), ["C11"]);
}

#[test]
fn c10_fires_when_newleader_is_acknowledged_before_the_snapshot_is_durable() {
    let run = |is_durable: bool| {
        let mut stage = Stage::led();
        stage.promise(2, 0, 2);
        stage.pass(0, 2, &QuorumPacket::Snap { zxid: zxid(1, 9) });
        let path = "v/snapshot.100000009";
        stage.create_file(2, path);
        stage.write(2, path, &crate::snapshot_file::tests::snapshot());
        if is_durable {
            stage.sync_file(2, path);
        }
        stage.new_leader(0, 2, 2);
        stage.write_epoch(2, "currentEpoch", 2);
        stage.send(2, 0, &QuorumPacket::Ack { zxid: zxid(2, 0) });
        stage.fired()
    };
    assert_eq!(run(true), Vec::<&str>::new());
    assert_eq!(run(false), ["C11", "C10"]);
}

#[test]
fn c02_fires_when_an_epoch_decreases_or_overtakes_its_promise() {
    let mut stage = Stage::led();
    stage.write_epoch(1, "acceptedEpoch", 3);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage.write_epoch(1, "acceptedEpoch", 2);
    assert_eq!(stage.only().invariant, "C02");
    let mut stage = Stage::led();
    let moment = stage.moment(1);
    stage.oracle.role_entered(moment, 1, Role::Looking);
    stage.write_epoch(1, "currentEpoch", 2);
    assert_eq!(stage.only().invariant, "C02");
}

#[test]
fn c02_is_relaxed_where_a_rename_was_never_synced() {
    for (metadata, relaxed) in [(Metadata::Strict, 1), (Metadata::Synchronous, 0)] {
        let mut stage = Stage::with(true, metadata);
        stage.write_epoch(1, "acceptedEpoch", 1);
        stage.lose_power(1, 2);
        assert_eq!((stage.fired(), stage.relaxed("C02")), (vec![], relaxed), "{metadata:?}");
    }
}

#[test]
fn c16_knows_that_a_leader_gave_away_what_it_had_misread() {
    let read_back = |misread: bool| {
        let mut stage = Stage::led();
        stage.oracle.server_mut(1).misread = misread.then_some(STEPPED_OVER);
        stage.begin_to_lead(1, 2);
        stage.establish(1, 2);
        stage.tree = Some(TreeLook { zxid: zxid(1, 2), digest: 7, sessions: Vec::new() });
        let moment = stage.moment(2);
        stage.oracle.read_back(moment, 2);
        stage.settle();
        (stage.fired().contains(&"C16"), stage.relaxed("C16"))
    };
    assert_eq!(read_back(true), (false, 1));
    assert_eq!(read_back(false), (true, 0));
}

/// Found by the swarm (swarm-cluster, seeds 2581 and 4009).
#[test]
fn a_server_steps_over_what_its_power_took_from_the_midst_of_its_log() {
    let run = |was_logged: bool| {
        let mut stage = Stage::with(false, Metadata::Synchronous).under_way();
        let entries = [3, 4].map(|counter| create(zxid(1, counter), SESSION, 0, &format!("/n{counter}"), false));
        for entry in &entries {
            stage.log_and_sync(0, entry);
            stage.log_and_sync(1, entry);
        }
        if was_logged {
            stage.log(2, &entries[0]);
            stage.logs[2] = None; // The log is rolled.
        }
        stage.log_and_sync(2, &entries[1]);
        for counter in [3, 4] {
            stage.say_committed(0, zxid(1, counter));
            stage.apply(0, zxid(1, counter));
            stage.apply(1, zxid(1, counter));
        }
        stage.lose_power(2, 2);
        stage.tree = Some(TreeLook { zxid: zxid(1, 4), digest: 7, sessions: vec![SESSION] });
        let moment = stage.moment(2);
        stage.oracle.read_back(moment, 2);
        stage.settle();
        let recovered = (stage.fired(), stage.relaxed("C16"));
        // Its leader goes on from there.
        stage.promise(2, 0, 1);
        stage.pass(0, 2, &QuorumPacket::Diff { zxid: zxid(1, 4) });
        stage.commit(&create(zxid(1, 5), SESSION, 0, "/n5", false));
        (recovered, stage.fired())
    };
    assert_eq!(run(true), ((vec![], 1), vec![]));
    assert_eq!(run(false), ((vec!["C16"], 0), vec!["C16", "C03"]), "it never had it");
}

/// Found by the swarm (swarm-ensemble, seeds 1107 and 4306).
#[test]
fn what_was_stepped_over_is_known_beyond_the_committed_history_too() {
    for was_lost in [true, false] {
        let mut stage = Stage::with(false, Metadata::Synchronous).under_way();
        let entries = [3, 4].map(|counter| create(zxid(1, counter), SESSION, 0, &format!("/n{counter}"), false));
        for voter in [0, 1] {
            stage.log_and_sync(voter, &entries[0]);
        }
        stage.say_committed(0, zxid(1, 3));
        stage.log(2, &entries[0]);
        if !was_lost {
            stage.sync(2);
        }
        stage.logs[2] = None;
        stage.log_and_sync(2, &entries[1]);
        stage.lose_power(2, 2);
        stage.tree = Some(TreeLook { zxid: zxid(1, 4), digest: 7, sessions: vec![SESSION] });
        let moment = stage.moment(2);
        stage.oracle.read_back(moment, 2);
        stage.settle();
        assert_eq!(stage.oracle.servers[2].misread.is_some(), was_lost);
    }
}

#[test]
fn no_two_trees_need_agree_behind_a_leader_that_misread_its_disk() {
    let run = |is_parted: bool| {
        let mut stage = Stage::led();
        stage.oracle.server_mut(1).misread = is_parted.then_some(STEPPED_OVER);
        stage.lead(1, 2);
        stage.oracle.server_mut(1).misread = None;
        let entry = create(zxid(2, 1), SESSION, 0, "/b", false);
        for voter in 0..3 {
            stage.log_and_sync(voter, &entry);
        }
        stage.say_committed(1, zxid(2, 1));
        stage.apply(1, zxid(2, 1));
        let moment = stage.moment(0);
        stage.oracle.applied(moment, 0, zxid(2, 1), 7, &mut stage.findings);
        (stage.fired(), stage.relaxed("C14"))
    };
    assert_eq!(run(true), (vec![], 1));
    assert_eq!(run(false), (vec!["C14"], 0));
}

/// Found by the swarm (swarm-cluster, seed 4009).
#[test]
fn a_leader_gives_what_it_has_misread_to_who_synchronises_with_it() {
    let run = |is_misread: bool| {
        let mut stage = Stage::led();
        for counter in [3, 4] {
            let entry = create(zxid(1, counter), SESSION, 0, &format!("/n{counter}"), false);
            for member in [0, 1] {
                stage.log_and_sync(member, &entry);
            }
            stage.say_committed(0, zxid(1, counter));
            stage.apply(0, zxid(1, counter));
        }
        stage.oracle.server_mut(0).misread = is_misread.then_some(STEPPED_OVER);
        stage.begin_to_lead(0, 2);
        stage.promise(2, 0, 2);
        stage.pass(0, 2, &QuorumPacket::Diff { zxid: zxid(1, 4) });
        let moment = stage.moment(2);
        stage.oracle.applied(moment, 2, zxid(1, 4), 7, &mut stage.findings);
        (stage.fired(), stage.relaxed("C04"), stage.relaxed("C14"))
    };
    assert_eq!(run(true), (vec![], 1, 1));
    assert_eq!(run(false), (vec!["C04", "C14"], 0, 0));
}

#[test]
fn c16_fires_when_a_server_reads_back_another_state() {
    let read_back = |digest: u64, sessions: &[SessionId]| {
        let mut stage = Stage::led();
        stage.tree = Some(TreeLook { zxid: zxid(1, 2), digest, sessions: sessions.to_vec() });
        let moment = stage.moment(1);
        stage.oracle.read_back(moment, 1);
        stage.settle();
        stage.fired()
    };
    let right = digest_of(&zxid(1, 2).value().to_be_bytes());
    assert_eq!(read_back(right, &[SESSION]), Vec::<&str>::new());
    assert_eq!(read_back(right ^ 1, &[SESSION]), ["C16"]);
    assert_eq!(read_back(right, &[]), ["C16"], "a session is lost");
    assert_eq!(read_back(right, &[SESSION, OTHER]), ["C16"], "a session is there that never was");
}
