//! L03, L05, L08, L10, L11, E09, E12, E13.

use super::*;

const NONE: [&str; 0] = [];

#[test]
fn l03_fires_when_replicas_diverge_under_one_epoch() {
    let mut stage = Stage::led();
    stage.append(0, true, 0, 0, "a");
    stage.append(1, false, 0, 0, "a");
    assert_eq!(stage.fired(), NONE);
    stage.append(2, false, 0, 0, "x");
    assert_eq!(stage.only().invariant, "L03");
    assert!(stage.only().headline.contains("offset 0 of orders-0 in epoch 0 is not the same on b3 as on b1"));
}

#[test]
fn l03_sees_a_difference_before_equal_records() {
    let mut stage = Stage::led();
    stage.append(0, true, 0, 0, "a");
    stage.append(0, true, 1, 1, "b");
    stage.append(1, false, 0, 2, "x");
    assert_eq!(stage.fired(), NONE, "another epoch may have another record until it is truncated");
    stage.append(1, false, 1, 1, "b");
    assert_eq!(stage.fired(), ["L03"]);
}

#[test]
fn l05_fires_when_a_high_watermark_covers_what_was_not_committed() {
    let mut stage = Stage::led();
    stage.commit_records(2);
    stage.append(0, true, 2, 0, "a");
    stage.append(1, false, 2, 0, "a");
    stage.append(2, false, 2, 1, "x");
    stage.high_watermark(2, false, 1, 2);
    stage.high_watermark(2, false, 1, 1);
    assert_eq!(stage.fired(), NONE, "a follower's high watermark may lag, and decrease");
    stage.elect(Some(0), 1, &[0, 1]);
    stage.high_watermark(0, true, 1, 3);
    assert_eq!(stage.fired(), NONE);
    stage.high_watermark(2, false, 1, 3);
    assert_eq!(stage.only().invariant, "L05");
    let mut stage = Stage::led();
    stage.high_watermark(1, false, 0, 1);
    assert_eq!(stage.fired(), ["L05"], "a high watermark beyond the log");
}

#[test]
fn l05_fires_when_a_broker_states_an_append_that_its_files_lack() {
    let mut stage = Stage::led();
    stage.append(0, true, 0, 0, "a");
    let moment = stage.moment(0);
    stage.oracle.appended(moment, 0, "orders", 0, true, 1, LeaderEpoch(0), 7, &mut stage.findings);
    assert_eq!(stage.fired(), ["L05"]);
}

#[test]
fn l08_fires_when_a_leader_commits_what_a_member_lacks() {
    let mut stage = Stage::led();
    stage.append(0, true, 0, 0, "a");
    stage.append(1, false, 0, 0, "a");
    let mut shrunk = Stage::led();
    shrunk.append(0, true, 0, 0, "a");
    shrunk.append(1, false, 0, 0, "a");
    shrunk.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
    shrunk.high_watermark(0, true, 0, 1);
    assert_eq!(shrunk.fired(), NONE);
    stage.high_watermark(0, true, 0, 1);
    assert_eq!(stage.fired(), ["L08", "E13"]);
    assert_eq!(
        stage.findings.violations()[0].headline,
        "b1 commits orders-0 up to 1, and b3, which is in the ISR, has it up to 0 only"
    );
}

#[test]
fn l08_does_not_judge_a_leader_that_was_deposed() {
    let mut stage = Stage::led();
    for broker in 0..3 {
        stage.append(broker, broker == 0, 0, 0, "a");
    }
    stage.elect(Some(1), 1, &[1, 2]);
    // b1 does not know, and what it commits everybody has.
    let checked = stage.checked("L08");
    stage.high_watermark(0, true, 0, 1);
    assert_eq!((stage.fired(), stage.checked("L08")), (vec![], checked));
    assert_eq!(stage.oracle.committed(&orders()), 1);
}

#[test]
fn l11_fires_when_a_member_of_the_isr_truncates_below_what_is_committed() {
    // KAFKA-1211: a follower cuts to its own high watermark.
    let mut stage = Stage::led();
    stage.commit_records(2);
    stage.promise(2);
    assert!(stage.arose("follower-behind-high-watermark"));
    stage.elect(Some(0), 1, &[0, 1, 2]);
    stage.truncate(2, 1);
    assert_eq!(stage.fired(), ["L11", "E13"]);
    let headline = &stage.findings.violations()[0].headline;
    assert_eq!(headline, "b3 truncated orders-0 to 1, below what is committed (up to 2), and is in the ISR");
    // And if it is elected: the loss itself.
    stage.elect(Some(2), 2, &[2]);
    assert_eq!(stage.fired(), ["L11", "E13", "L10"]);
}

#[test]
fn l11_waits_for_a_replica_that_is_out_of_sync() {
    let truncated = || {
        let mut stage = Stage::led();
        stage.commit_records(2);
        stage.elect(Some(0), 1, &[0, 1]);
        stage.truncate(2, 1);
        assert_eq!(stage.fired(), NONE);
        stage
    };
    let mut stage = truncated();
    stage.append(2, false, 1, 0, "a");
    stage.write_state(session_of(0), &state(1, Some(0), 1, &[0, 1, 2]));
    assert_eq!(stage.fired(), NONE, "it has them back");
    let mut stage = truncated();
    stage.write_state(session_of(0), &state(1, Some(0), 1, &[0, 1, 2]));
    assert_eq!(stage.only().invariant, "L11");
    assert!(stage.only().headline.ends_with("is taken into the ISR before it has them back"));
}

#[test]
fn l11_lets_uncommitted_records_go() {
    let mut stage = Stage::led();
    stage.commit_records(2);
    stage.append(2, false, 2, 0, "a");
    stage.truncate(2, 2);
    assert_eq!(stage.fired(), NONE);
}

#[test]
fn e09_fires_when_two_append_in_one_epoch() {
    let mut stage = Stage::led();
    stage.append(0, true, 0, 0, "a");
    stage.append(0, true, 1, 0, "a");
    stage.append(1, true, 0, 1, "b");
    assert_eq!(stage.fired(), NONE);
    stage.append(2, true, 0, 1, "b");
    assert_eq!(stage.only().invariant, "E09");
    assert_eq!(stage.only().headline, "b2 and b3 both appended to orders-0 as leader of epoch 1");
}

#[test]
fn e09_fires_when_a_second_life_goes_on_in_the_epoch_of_the_first() {
    let mut stage = Stage::led();
    stage.append(0, true, 0, 0, "a");
    stage.kill(0);
    stage.boot(0);
    let mut taken_over = Stage { oracle: stage.oracle.clone(), disks: stage.disks.clone(), ..Stage::new() };
    stage.append(0, true, 1, 0, "a");
    assert_eq!(stage.fired(), ["E09"]);
    // A new controller finds it alive, and lets it lead on.
    taken_over.event = 1_000;
    taken_over.commit(session(1), &[delete(znode::CONTROLLER)]);
    taken_over.claim(1, session_of(1), 2);
    taken_over.append(0, true, 1, 0, "a");
    assert_eq!((taken_over.fired(), taken_over.relaxed("E09")), (vec![], 1));
}

/// Found by swarm-cluster, seed 7548: it had appended nothing in that epoch before.
#[test]
fn l08_knows_a_leader_that_goes_on_in_its_epoch_with_an_empty_disk() {
    let run = |is_taken_over: bool| {
        let mut stage = Stage::led();
        stage.commit_records(2);
        stage.elect(Some(0), 1, &[0, 1]);
        stage.lead(0, 1);
        stage.replace_disk(0);
        stage.boot(0);
        if is_taken_over {
            stage.commit(session(1), &[delete(znode::CONTROLLER)]);
            stage.claim(1, session_of(1), 2);
        }
        stage.register(0, session(0x200));
        stage.lead(0, 1);
        stage.create_log(0);
        stage.append(0, true, 0, 1, "b");
        stage.append(1, false, 2, 1, "c");
        stage.high_watermark(0, true, 1, 1);
        stage
    };
    let stage = run(true);
    assert_eq!((stage.fired(), stage.relaxed("L08")), (vec![], 1));
    assert!(run(false).fired().contains(&"L08"));
}

/// Found by swarm-cluster, seed 2555.
#[test]
fn l05_knows_that_hole_when_a_follower_has_what_the_leader_lost() {
    let run = |epoch_of_follower: i32| {
        let mut stage = Stage::led();
        stage.append(0, true, 0, 0, "a");
        stage.append(1, false, 0, 0, "a");
        stage.sync_log(0);
        stage.append(0, true, 1, 0, "lost");
        stage.append(1, false, 1, epoch_of_follower, "lost");
        stage.lose_power(0);
        stage.boot(0);
        stage.commit(session(1), &[delete(znode::CONTROLLER)]);
        stage.claim(1, session_of(1), 2);
        stage.elect(Some(0), 0, &[0]);
        stage.lead(0, 0);
        stage.append(0, true, 1, 0, "another");
        stage.high_watermark(0, true, 0, 2);
        stage.high_watermark(1, false, 0, 2);
        stage
    };
    let stage = run(0);
    assert_eq!((stage.fired(), stage.relaxed("L05")), (vec![], 1));
    assert_eq!(run(3).fired(), ["L05"], "records of another epoch are found and truncated");
}

#[test]
fn l03_knows_that_hole_when_the_first_record_of_the_second_life_replaces_a_lost_one() {
    let second_life = |is_taken_over: bool| {
        let mut stage = Stage::led();
        stage.append(0, true, 0, 0, "a");
        stage.sync_log(0);
        stage.append(0, true, 1, 0, "lost");
        stage.lose_power(0);
        stage.boot(0);
        if is_taken_over {
            stage.commit(session(1), &[delete(znode::CONTROLLER)]);
            stage.claim(1, session_of(1), 2);
        }
        stage.lead(0, 0);
        stage.append(0, true, 1, 0, "another");
        stage
    };
    assert_eq!(second_life(false).fired(), ["L03", "E09"]);
    let stage = second_life(true);
    assert_eq!((stage.fired(), stage.relaxed("L03")), (vec![], 1));
}

#[test]
fn e12_fires_when_a_leader_lacks_what_nobody_was_promised() {
    let lost = |promised: bool| {
        let mut stage = Stage::led();
        for base in 0..2 {
            stage.append(0, true, base, 0, "a");
            stage.append(1, false, base, 0, "a");
        }
        stage.append(2, false, 0, 0, "a");
        stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
        stage.high_watermark(0, true, 0, 2);
        if promised {
            stage.promise(2);
        }
        assert_eq!(stage.fired(), NONE);
        // An ISR that lies, and an election that believes it.
        stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1, 2]));
        stage.elect(Some(2), 1, &[2]);
        stage
    };
    let stage = lost(false);
    assert_eq!(stage.fired(), ["E13", "E12"]);
    let stage = lost(true);
    assert_eq!(stage.fired(), ["E13", "L10"]);
    assert_eq!(
        stage.findings.violations()[1].headline,
        "b3 leads orders-0 without offsets 1 to 1, which were committed; those below 2 were acknowledged to a producer with acks=all"
    );
    assert_eq!(stage.oracle.committed(&orders()), 1, "what is lost was told once");
}

#[test]
fn e13_knows_the_hole_of_an_isr_that_grew_behind_the_leaders_back() {
    // KIP-497: the answer to the leader's write was lost, and its session with it.
    let mut stage = Stage::led();
    stage.elect(Some(0), 1, &[0, 1]);
    stage.write_state(session_of(0), &state(1, Some(0), 1, &[0, 1, 2]));
    stage.append(0, true, 0, 1, "a");
    stage.append(1, false, 0, 1, "a");
    stage.high_watermark(0, true, 1, 1);
    assert_eq!(stage.fired(), NONE);
    assert!(stage.relaxed("E13") > 0 && stage.relaxed("L08") > 0);
    stage.elect(Some(2), 2, &[2]);
    assert_eq!((stage.fired(), stage.oracle.excuses().len()), (vec![], 1));
    // Had the leader known, it would be a violation.
    let mut stage = Stage::led();
    stage.elect(Some(0), 1, &[0, 1]);
    stage.write_state(session_of(0), &state(1, Some(0), 1, &[0, 1, 2]));
    stage.oracle.isr_changed(0, "orders", 0, LeaderEpoch(1), "1,2,3");
    stage.append(0, true, 0, 1, "a");
    stage.append(1, false, 0, 1, "a");
    stage.high_watermark(0, true, 1, 1);
    assert_eq!(stage.fired(), ["L08", "E13"]);
}

#[test]
fn e13_and_l05_know_that_hole_when_the_member_already_leads() {
    for is_late in [false, true] {
        let mut stage = Stage::led();
        stage.elect(Some(0), 1, &[0, 1]);
        stage.write_state(session_of(0), &state(1, Some(0), 1, &[0, 1, 2]));
        stage.elect(Some(2), 2, &[1, 2]);
        // b1 was not told of either, and commits with b2, which has not heard of b3 yet.
        stage.append(0, true, 0, 1, "a");
        stage.append(1, false, 0, 1, "a");
        if is_late {
            stage.truncate(1, 0);
            stage.append(2, true, 0, 2, "c");
            stage.append(1, false, 0, 2, "c");
            stage.high_watermark(2, true, 2, 1);
        }
        stage.high_watermark(0, true, 1, 1);
        assert_eq!((stage.fired(), stage.oracle.excuses().len()), (vec![], 1), "{is_late}");
    }
    // Where the leader knew whom it had to ask, it is a violation.
    let mut stage = Stage::led();
    stage.elect(Some(0), 1, &[0, 1]);
    stage.elect(Some(1), 2, &[1]);
    stage.append(0, true, 0, 1, "a");
    stage.high_watermark(0, true, 1, 1);
    assert_eq!(stage.fired(), ["E13"]);
}

#[test]
fn uncommitted_records_of_a_dead_leader_may_vanish_and_survive() {
    let mut stage = Stage::led();
    stage.commit_records(1);
    stage.append(0, true, 1, 0, "a");
    stage.append(1, false, 1, 0, "a");
    stage.kill(0);
    stage.elect(Some(2), 1, &[1, 2]);
    stage.lead(2, 1);
    stage.truncate(1, 1);
    stage.append(2, true, 1, 1, "c");
    stage.append(1, false, 1, 1, "c");
    stage.high_watermark(2, true, 1, 2);
    assert_eq!((stage.fired(), stage.oracle.committed(&orders())), (vec![], 2));
}

#[test]
fn a_fork_goes_its_own_way() {
    let mut stage = Stage::led();
    stage.commit_records(1);
    let fork = stage.oracle.clone();
    for broker in 0..3 {
        stage.append(broker, broker == 0, 1, 0, "a");
    }
    stage.high_watermark(0, true, 0, 2);
    assert_eq!((stage.oracle.committed(&orders()), fork.committed(&orders())), (2, 1));
}
