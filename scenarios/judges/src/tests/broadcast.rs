//! C01, C03, C04, C08, C09, C13, C14.

use jute::quorum::QuorumPacket;

use super::*;

#[test]
fn c01_fires_when_two_are_established_in_one_epoch() {
    let mut stage = Stage::led();
    stage.establish(1, 1);
    assert_eq!(stage.fired().first(), Some(&"C01"));
}

#[test]
fn c01_is_silent_when_the_second_leader_has_another_epoch() {
    let mut stage = Stage::led();
    stage.lead_some(1, &[2], 2);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    assert_eq!(stage.oracle.role("leader"), Some(HostId(1)));
    assert_eq!(stage.oracle.role("former-leader"), Some(HostId(0)));
    assert!(stage.kinds().contains(&"two-leaders"));
}

#[test]
fn c03_fires_when_a_zxid_names_two_transactions() {
    let mut stage = Stage::led();
    stage.propose(0, 1, &create(zxid(1, 3), SESSION, 0, "/b", false));
    stage.propose(0, 2, &create(zxid(1, 3), SESSION, 0, "/b", false));
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage.propose(0, 2, &create(zxid(1, 3), SESSION, 0, "/c", false));
    assert_eq!(stage.only().invariant, "C03");
    assert_eq!(stage.only().headline, "zxid 0x100000003 names two transactions: create /b and create /c");
}

#[test]
fn c03_fires_when_a_serving_follower_applies_what_is_not_committed() {
    let mut stage = Stage::led();
    let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
    stage.log_and_sync(0, &entry);
    stage.propose(0, 1, &entry);
    stage.log_and_sync(1, &entry);
    let mut early = Stage { oracle: stage.oracle.clone(), disks: stage.disks.clone(), ..Stage::new() };
    early.apply(1, zxid(1, 3));
    assert_eq!(early.only().invariant, "C03");
    stage.say_committed(0, zxid(1, 3));
    stage.apply(1, zxid(1, 3));
    assert_eq!(stage.fired(), Vec::<&str>::new());
}

#[test]
fn c03_fires_when_a_follower_serves_with_a_tail_that_no_quorum_has() {
    // zk1 dies with a proposal that only zk2 has; zk3 leads without it and does not cut it.
    let mut stage = Stage::led();
    let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
    stage.log_and_sync(1, &entry);
    stage.kill(0, 2);
    stage.begin_to_lead(2, 2);
    stage.promise(1, 2, 2);
    let mut correct = Stage {
        oracle: stage.oracle.clone(),
        disks: stage.disks.clone(),
        logs: stage.logs.clone(),
        event: stage.event,
        ..Stage::new()
    };
    for (it, packet) in [
        (&mut stage, QuorumPacket::Diff { zxid: zxid(1, 2) }),
        (&mut correct, QuorumPacket::Trunc { zxid: zxid(1, 2) }),
    ] {
        it.pass(2, 1, &packet);
        it.new_leader(2, 1, 2);
        it.write_epoch(1, "currentEpoch", 2);
        it.pass(1, 2, &QuorumPacket::Ack { zxid: zxid(2, 0) });
        it.establish(2, 2);
        it.pass(2, 1, &QuorumPacket::UpToDate);
    }
    assert_eq!(stage.fired(), ["C03"], "M04: the new leader skips truncating the follower's tail");
    assert_eq!(correct.fired(), Vec::<&str>::new());
    assert!(correct.kinds().contains(&"longer-log-elsewhere"));
}

#[test]
fn c04_fires_when_a_learner_is_sent_a_hole() {
    // M05: the DIFF skips a transaction.
    let run = |sent: &[u32]| {
        let mut stage = Stage::new();
        stage.lead(0, 1);
        stage.commit(&create_session(zxid(1, 1), SESSION));
        // zk3 is cut off from here on.
        for counter in 2..5 {
            let entry = create(zxid(1, counter), SESSION, 0, &format!("/n{counter}"), false);
            stage.log_and_sync(0, &entry);
            stage.propose(0, 1, &entry);
            stage.log_and_sync(1, &entry);
            stage.pass(1, 0, &QuorumPacket::Ack { zxid: zxid(1, counter) });
            stage.say_committed(0, zxid(1, counter));
        }
        stage.promise(2, 0, 1);
        stage.pass(0, 2, &QuorumPacket::Diff { zxid: zxid(1, 4) });
        for &counter in sent {
            let entry = create(zxid(1, counter), SESSION, 0, &format!("/n{counter}"), false);
            stage.propose(0, 2, &entry);
            stage.pass(0, 2, &QuorumPacket::Commit { zxid: zxid(1, counter) });
            stage.log_and_sync(2, &entry);
            stage.apply(2, zxid(1, counter));
        }
        stage.fired()
    };
    assert_eq!(run(&[2, 3, 4]), Vec::<&str>::new());
    assert_eq!(run(&[2, 4]), ["C04"]);
}

#[test]
fn c04_fires_when_a_leader_commits_with_a_hole() {
    let mut stage = Stage::led();
    let entries = [3, 4].map(|counter| create(zxid(1, counter), SESSION, 0, &format!("/n{counter}"), false));
    for member in 0..3 {
        for entry in &entries {
            stage.log_and_sync(member, entry);
        }
    }
    stage.say_committed(0, zxid(1, 4));
    assert_eq!(stage.only().invariant, "C04");
}

#[test]
fn c08_and_c13_fire_when_a_leader_lacks_what_was_committed_and_acknowledged() {
    let lost = |acked: bool| {
        let mut stage = Stage::led();
        // A transaction that zk1 and zk2 have; zk3 leads without it.
        let entry = create(zxid(1, 3), SESSION, 1, "/b", false);
        stage.log_and_sync(0, &entry);
        stage.propose(0, 1, &entry);
        stage.log_and_sync(1, &entry);
        stage.pass(1, 0, &QuorumPacket::Ack { zxid: zxid(1, 3) });
        stage.say_committed(0, zxid(1, 3));
        if acked {
            stage.connect(0, END, SESSION);
            stage.ask(
                0,
                END,
                1,
                Request::Delete(jute::client::DeleteRequest { path: "/b".to_owned(), version: Version::ANY }),
            );
            stage.reply(0, END, 1, zxid(1, 3), None);
        }
        stage.lead(2, 2);
        stage
    };
    let acked = lost(true);
    assert_eq!(acked.fired()[..2], ["C13", "C08"]);
    let violation = &acked.findings.violations()[0];
    assert_eq!(
        violation.headline,
        "0x100000003 (create /b) was acknowledged to c1 and is not in the history of zk3, leader of epoch 2"
    );
    assert_eq!(violation.witnesses.len(), 3);
    assert_eq!(lost(false).fired().first(), Some(&"C08"));
}

#[test]
fn c08_is_silent_when_an_uncommitted_tail_survives_or_vanishes() {
    // 8 of the legal surprises: a proposal of a dead leader that one follower has.
    for leader in [1, 2] {
        let mut stage = Stage::led();
        let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
        stage.log_and_sync(0, &entry);
        stage.propose(0, 1, &entry);
        stage.log_and_sync(1, &entry);
        stage.kill(0, 2);
        stage.begin_to_lead(leader, 2);
        let learner = 3 - leader;
        stage.promise(learner, leader, 2);
        if leader == 1 {
            stage.pass(1, 2, &QuorumPacket::Diff { zxid: zxid(1, 3) });
            stage.propose(1, 2, &entry);
            stage.pass(1, 2, &QuorumPacket::Commit { zxid: zxid(1, 3) });
            stage.log_and_sync(2, &entry);
            stage.apply(2, zxid(1, 3));
        } else {
            stage.pass(2, 1, &QuorumPacket::Trunc { zxid: zxid(1, 2) });
        }
        stage.new_leader(leader, learner, 2);
        stage.write_epoch(learner, "currentEpoch", 2);
        stage.pass(learner, leader, &QuorumPacket::Ack { zxid: zxid(2, 0) });
        stage.establish(leader, 2);
        stage.pass(leader, learner, &QuorumPacket::UpToDate);
        assert_eq!(stage.fired(), Vec::<&str>::new(), "zk{} leads", leader + 1);
        assert_eq!(stage.oracle.committed(), if leader == 1 { 3 } else { 2 });
    }
}

#[test]
fn c08_fires_when_a_deposed_leader_commits_what_its_successor_lacks() {
    let mut stage = Stage::led();
    let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
    stage.log_and_sync(0, &entry);
    stage.lead_some(1, &[2], 2);
    // Too late: zk3 has acknowledged it, and forgot.
    stage.log_and_sync(2, &entry);
    stage.say_committed(0, zxid(1, 3));
    assert_eq!(stage.fired(), ["C08"]);
}

#[test]
fn a_leader_that_was_paused_may_be_established_behind_its_successor() {
    let run = |its: u32| {
        let mut stage = Stage::led();
        let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
        for member in 0..3 {
            if member != 2 || its > 3 {
                stage.log_and_sync(member, &entry);
            }
        }
        stage.say_committed(0, zxid(1, 3));
        if its > 4 {
            stage.log_and_sync(2, &create(zxid(1, 4), SESSION, 0, "/c", false));
        }
        // zk3 pauses behind the acknowledgement of zk2; zk1 and zk2 go on without it.
        stage.begin_to_lead(2, 2);
        stage.join(1, 2, 2);
        stage.lead_some(0, &[1], 3);
        stage.log_and_sync(0, &create(zxid(3, 1), SESSION, 0, "/d", false));
        stage.log_and_sync(1, &create(zxid(3, 1), SESSION, 0, "/d", false));
        stage.say_committed(0, zxid(3, 1));
        assert_eq!(stage.fired(), Vec::<&str>::new());
        stage.establish(2, 2);
        assert_eq!(stage.oracle.committed(), 4, "what the later leader committed stands");
        stage.fired()
    };
    assert_eq!(run(4), Vec::<&str>::new());
    assert_eq!(run(3), ["C08"], "it lacks what was committed before its epoch");
    assert_eq!(run(5), ["C08"], "it has what its successor lacks");
}

#[test]
fn c09_fires_when_fewer_than_a_quorum_have_it_durable() {
    let run = |synced: &[usize]| {
        let mut stage = Stage::led();
        let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
        stage.log(0, &entry);
        stage.propose(0, 1, &entry);
        stage.log(1, &entry);
        for &member in synced {
            stage.sync(member);
        }
        stage.say_committed(0, zxid(1, 3));
        stage.fired()
    };
    assert_eq!(run(&[0, 1]), Vec::<&str>::new());
    // M03: a leader commits with half of the acknowledgements.
    assert_eq!(run(&[0]), ["C09"]);
}

#[test]
fn c09_is_relaxed_without_force_sync() {
    let mut stage = Stage::with(false, Metadata::Synchronous).under_way();
    let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
    stage.log(0, &entry);
    stage.propose(0, 1, &entry);
    stage.log(1, &entry);
    stage.say_committed(0, zxid(1, 3));
    assert_eq!((stage.fired(), stage.relaxed("C09")), (vec![], 1));
    // Only in the leader's page cache: that is no quorum either.
    let entry = create(zxid(1, 4), SESSION, 0, "/c", false);
    stage.log(0, &entry);
    stage.propose(0, 1, &entry);
    stage.say_committed(0, zxid(1, 4));
    assert_eq!(stage.fired(), ["C09"]);
}

/// Found by the swarm (swarm-ensemble, seed 1107).
#[test]
fn c09_counts_who_lost_its_page_cache_before_the_commit_only_without_force_sync() {
    let run = |force_sync: bool| {
        let mut stage = Stage::with(force_sync, Metadata::Synchronous).under_way();
        let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
        stage.log(0, &entry);
        stage.propose(0, 1, &entry);
        stage.log(1, &entry);
        stage.lose_power(1, 2);
        stage.say_committed(0, zxid(1, 3));
        (stage.fired(), stage.relaxed("C09"))
    };
    assert_eq!(run(false), (vec![], 1));
    assert_eq!(run(true), (vec!["C09"], 0));
}

#[test]
fn c09_fires_when_a_leader_is_established_by_itself() {
    let mut stage = Stage::new();
    stage.begin_to_lead(0, 1);
    stage.establish(0, 1);
    assert_eq!(stage.fired(), ["C09"]);
}

#[test]
fn loss_of_a_quorum_without_force_sync_is_excused_by_name() {
    let mut stage = Stage::with(false, Metadata::Synchronous).under_way();
    let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
    for member in [0, 1] {
        stage.log(member, &entry);
    }
    stage.propose(0, 1, &entry);
    stage.say_committed(0, zxid(1, 3));
    let mut plain =
        Stage { oracle: stage.oracle.clone(), disks: stage.disks.clone(), event: stage.event, ..Stage::new() };
    for member in [0, 1] {
        stage.lose_power(member, 2);
        plain.kill(member, 2);
    }
    stage.lead(2, 2);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    let [excuse] = stage.oracle.excuses() else { panic!("one loss is excused") };
    assert_eq!(excuse.because.len(), 2, "{excuse:?}");
    assert_eq!(stage.oracle.committed(), 2, "what is lost is lost");
    // A crash of the processes takes nothing, so nothing is excused.
    plain.lead(2, 2);
    assert!(plain.fired().contains(&"C08"));
}

#[test]
fn c13_fires_when_a_client_is_told_of_what_is_not_committed() {
    let mut stage = Stage::led();
    stage.connect(0, END, SESSION);
    stage.ask(0, END, 1, Request::Delete(jute::client::DeleteRequest { path: "/a".to_owned(), version: Version::ANY }));
    stage.reply(0, END, 1, zxid(1, 3), None);
    assert_eq!(stage.fired(), ["C13"]);
}

#[test]
fn c14_fires_when_trees_differ_after_the_same_transaction() {
    let mut stage = Stage::led();
    let moment = stage.moment(2);
    let digest = stage.oracle.canon.get(1).unwrap().tree.unwrap().0;
    stage.oracle.compare_trees(moment, 2, zxid(1, 2), digest, &mut stage.findings);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage.oracle.compare_trees(moment, 2, zxid(1, 2), digest + 1, &mut stage.findings);
    assert_eq!(stage.fired(), ["C14"]);
}

#[test]
fn snapshot_from_a_leader_counts_as_its_history() {
    let mut stage = Stage::led();
    stage.promise(2, 0, 1);
    stage.pass(0, 2, &QuorumPacket::Snap { zxid: zxid(1, 2) });
    assert_eq!(stage.oracle.servers[2].memory.contains, 2);
    let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
    for member in 0..2 {
        stage.log_and_sync(member, &entry);
    }
    stage.propose(0, 1, &entry);
    stage.say_committed(0, zxid(1, 3));
    stage.apply(2, zxid(1, 3));
    assert_eq!(stage.fired(), Vec::<&str>::new());
}

#[test]
fn situations_of_a_proposal_arise_once_each() {
    let mut stage = Stage::led();
    let before = stage.oracle.situations().clone();
    let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
    stage.log_and_sync(0, &entry);
    stage.propose(0, 1, &entry);
    stage.log_and_sync(1, &entry);
    stage.pass(1, 0, &QuorumPacket::Ack { zxid: zxid(1, 3) });
    stage.say_committed(0, zxid(1, 3));
    stage.pass(0, 1, &QuorumPacket::Commit { zxid: zxid(1, 3) });
    stage.pass(0, 2, &QuorumPacket::Commit { zxid: zxid(1, 3) });
    for kind in ["leader-ahead-of-followers", "quorum-acked-not-committed", "committed-on-one-follower"] {
        let arisen = stage.oracle.situations()[kind] - before.get(kind).copied().unwrap_or(0);
        assert_eq!(arisen, 1, "{kind}");
    }
}

/// Found by controller-crash, seed 622: the run ended while the leader's own log was still behind the quorum.
#[test]
fn a_leader_may_have_on_its_way_to_disk_what_its_quorum_committed() {
    let run = |applied: bool| {
        let mut stage = Stage::led();
        let entry = create(zxid(1, 3), SESSION, 0, "/b", false);
        for member in 1..3 {
            stage.propose(0, member, &entry);
            stage.log_and_sync(member, &entry);
            stage.pass(member, 0, &QuorumPacket::Ack { zxid: zxid(1, 3) });
        }
        stage.say_committed(0, zxid(1, 3));
        if applied {
            stage.apply(0, zxid(1, 3));
        }
        let moment = stage.moment(0);
        stage.oracle.finish(moment, &mut stage.findings);
        stage.fired()
    };
    assert_eq!(run(true), Vec::<&str>::new());
    assert_eq!(run(false), ["C08"], "it has it nowhere");
}
