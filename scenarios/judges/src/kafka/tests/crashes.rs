//! L16, and the excuse procedure: EX1 to EX4.

use super::*;

const NONE: [&str; 0] = [];

#[test]
fn l16_wants_what_a_killed_process_had() {
    let mut stage = Stage::led();
    stage.commit_records(3);
    stage.kill(1);
    stage.boot(1);
    let mut wrong = Stage { oracle: stage.oracle.clone(), disks: stage.disks.clone(), ..Stage::new() };
    stage.load_log(1, 3);
    assert_eq!(stage.fired(), NONE);
    wrong.truncate(1, 2);
    wrong.load_log(1, 2);
    assert_eq!(wrong.fired().last(), Some(&"L16"));
    let headline = &wrong.findings.violations().last().unwrap().headline;
    assert!(headline.contains("its process was killed when the log ended at 3, and it ends at 2"), "{headline}");
}

#[test]
fn l16_wants_what_was_synced_when_power_was_lost() {
    for (cut, fires) in [(None, false), (Some(1), true)] {
        let mut stage = Stage::led();
        for base in 0..4 {
            stage.append(1, false, base, 0, "a");
            if base == 1 {
                stage.sync_log(1);
            }
        }
        stage.lose_power(1);
        stage.boot(1);
        assert_eq!(stage.oracle.partitions[0].replicas[1].log.end(), 2, "the page cache is gone");
        if let Some(to) = cut {
            stage.truncate(1, to);
        }
        stage.load_log(1, cut.unwrap_or(2));
        assert_eq!(stage.fired().contains(&"L16"), fires, "{cut:?}");
    }
}

#[test]
fn l16_knows_that_a_truncation_is_not_synced() {
    for synced in [false, true] {
        let mut stage = Stage::led();
        for base in 0..3 {
            stage.append(1, false, base, 0, "a");
        }
        stage.sync_log(1);
        stage.truncate(1, 2);
        if synced {
            stage.sync_log(1);
        }
        let before = stage.oracle.partitions[0].replicas[1].log.end();
        stage.lose_power(1);
        stage.boot(1);
        let after = stage.oracle.partitions[0].replicas[1].log.end();
        stage.load_log(1, after);
        assert_eq!((before, after, stage.fired()), (2, if synced { 2 } else { 3 }, vec![]));
        assert_eq!(stage.relaxed("L16"), u64::from(!synced));
        // What it has in the midst of its log no truncation finds.
        stage.append(0, true, 0, 0, "x");
        assert_eq!((stage.fired().is_empty(), stage.relaxed("L03")), (!synced, u64::from(!synced)));
    }
}

#[test]
fn l16_fires_when_garbage_is_kept() {
    let mut stage = Stage::led();
    stage.append(1, false, 0, 0, "a");
    stage.kill(1);
    stage.boot(1);
    stage.load_log(1, 2);
    assert_eq!(stage.only().invariant, "L16");
    assert!(stage.only().headline.contains("it says that the log ends at 2, and whole batches end at 1"));
}

#[test]
fn l16_compares_with_what_the_process_began_anew_on_an_empty_disk() {
    let mut stage = Stage::led();
    stage.commit_records(3);
    stage.sync_log(1);
    stage.disks[1] = PageCache::new(Metadata::Synchronous);
    stage.lose_power(1);
    stage.boot(1);
    stage.create_log(1);
    for base in 0..4 {
        stage.append(1, false, base, 0, "a");
    }
    stage.kill(1);
    stage.boot(1);
    let mut wrong = Stage { oracle: stage.oracle.clone(), disks: stage.disks.clone(), ..Stage::new() };
    stage.load_log(1, 4);
    assert_eq!(stage.fired(), NONE, "there were four, not the three of before");
    wrong.truncate(1, 3);
    wrong.load_log(1, 3);
    assert_eq!(wrong.fired().last(), Some(&"L16"));
}

/// Two records are committed by all and promised; nobody has synced.
fn promised() -> Stage {
    let mut stage = Stage::led();
    stage.commit_records(2);
    stage.promise(2);
    stage
}

#[test]
fn ex1_excuses_what_an_unclean_election_loses() {
    let mut stage = Stage::led();
    stage.configure("unclean.leader.election.enable", "true");
    stage.append(0, true, 0, 0, "a");
    stage.append(1, false, 0, 0, "a");
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0, 1]));
    stage.high_watermark(0, true, 0, 1);
    stage.promise(1);
    stage.elect(Some(2), 1, &[2]);
    assert_eq!((stage.fired(), stage.relaxed("L10")), (vec![], 1));
    let [excuse] = stage.oracle.excuses() else { panic!("one loss") };
    assert!(excuse.because[0].1.starts_with("b3 was elected though it was not in sync"), "{excuse:?}");
    // The others truncate to it, and other records get the offset: nobody complains.
    stage.truncate(1, 0);
    stage.append(2, true, 0, 1, "c");
    stage.append(1, false, 0, 1, "c");
    stage.high_watermark(2, true, 1, 1);
    stage.high_watermark(0, true, 0, 1);
    assert_eq!(stage.fired(), NONE);
}

/// b1 leads alone in epoch 0 and does not hear that b3, which was not in sync, was elected.
fn deposed_uncleanly(allowed: bool) -> Stage {
    let mut stage = Stage::led();
    if allowed {
        stage.configure("unclean.leader.election.enable", "true");
    }
    stage.commit_records(2);
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0]));
    stage.elect(Some(2), 1, &[2]);
    stage
}

#[test]
fn ex1_excuses_what_a_leader_commits_that_has_not_heard_of_an_unclean_election() {
    let mut stage = deposed_uncleanly(true);
    // All that was committed, the new leader has; what comes now it never will.
    assert_eq!((stage.fired(), stage.oracle.excuses().len()), (vec![], 0));
    stage.append(0, true, 2, 0, "a");
    stage.high_watermark(0, true, 0, 3);
    stage.append(0, true, 3, 0, "a");
    stage.high_watermark(0, true, 0, 4);
    assert_eq!((stage.fired(), stage.relaxed("E13")), (vec![], 2));
    let [excuse] = stage.oracle.excuses() else { panic!("one loss") };
    assert_eq!(excuse.headline, "b1 commits orders-0 from offset 2 on in epoch 0, which is over");
    assert_eq!(stage.oracle.partitions[0].committed_most, 4, "a group may commit what it has read of it");
    // Nothing of it is expected of the new leader, who gives the offset to another record.
    stage.append(2, true, 2, 1, "c");
    stage.high_watermark(2, true, 1, 3);
    assert_eq!(stage.oracle.partitions[0].canon.end(), 3);
    assert_eq!(stage.fired(), NONE);
}

#[test]
fn ex1_excuses_what_a_leader_commits_though_the_new_one_was_faster() {
    let mut stage = deposed_uncleanly(true);
    stage.append(2, true, 2, 1, "c");
    stage.high_watermark(2, true, 1, 3);
    stage.append(0, true, 2, 0, "a");
    stage.high_watermark(0, true, 0, 3);
    assert_eq!((stage.fired(), stage.oracle.excuses().len()), (vec![], 1));
}

#[test]
fn ex1_excuses_nothing_where_unclean_elections_are_not_allowed() {
    let mut stage = deposed_uncleanly(false);
    stage.append(0, true, 2, 0, "a");
    stage.high_watermark(0, true, 0, 3);
    assert_eq!(stage.fired(), ["E10", "E13"]);
}

#[test]
fn ex2_excuses_what_everybody_lost_with_the_power() {
    let mut stage = promised();
    for broker in 0..3 {
        stage.lose_power(broker);
        stage.boot(broker);
        stage.load_log(broker, 0);
    }
    stage.come_back(1);
    stage.elect(Some(1), 1, &[0, 1, 2]);
    assert_eq!((stage.fired(), stage.relaxed("L10"), stage.oracle.notes().count()), (vec![], 1, 0));
    assert_eq!(stage.oracle.excuses()[0].because.len(), 3, "each loss is named");
}

#[test]
fn ex2_does_not_excuse_what_was_to_be_flushed() {
    let mut stage = Stage::with(|cluster| cluster.flush_each = true).with_orders();
    stage.commit_records(2);
    stage.promise(2);
    for broker in 0..3 {
        stage.lose_power(broker);
        stage.boot(broker);
    }
    stage.come_back(1);
    stage.elect(Some(1), 1, &[0, 1, 2]);
    assert_eq!(stage.fired(), ["L10"]);
}

#[test]
fn ex3_is_the_hole_of_the_last_replica_standing() {
    // KIP-966.
    let mut stage = promised();
    stage.elect(Some(2), 1, &[2]);
    stage.lose_power(2);
    stage.boot(2);
    stage.load_log(2, 0);
    stage.elect(None, 2, &[2]);
    stage.come_back(2);
    stage.elect(Some(2), 3, &[2]);
    assert_eq!((stage.fired(), stage.relaxed("L10")), (vec![], 1));
    let note = stage.oracle.notes().next().unwrap().0;
    assert!(note.contains("KIP-966"), "{note}");
    let because = &stage.oracle.excuses()[0].because[0].1;
    assert_eq!(because, "b3 lost power: its log of orders-0 went from 2 to 0, and was alone in the ISR");
}

#[test]
fn ex4_is_the_hole_of_a_join_for_an_earlier_life() {
    // KIP-903.
    let run = |fetched_again: bool| {
        let mut stage = promised();
        stage.elect(Some(0), 1, &[0, 1]);
        stage.lose_power(2);
        stage.boot(2);
        if fetched_again {
            stage.fetch(2, 0);
        }
        stage.write_state(session_of(0), &state(1, Some(0), 1, &[0, 1, 2]));
        stage
    };
    let mut stage = run(false);
    assert_eq!((stage.fired(), stage.relaxed("E13")), (vec![], 1));
    stage.come_back(2);
    stage.elect(Some(2), 2, &[2]);
    assert_eq!(stage.fired(), NONE);
    assert!(stage.oracle.notes().all(|(note, ..)| note.contains("KIP-903")));
    // A leader that heard from the new life knows better.
    assert_eq!(run(true).fired(), ["E13"]);
}

#[test]
fn a_registration_that_outlives_its_broker_loses_nothing() {
    let mut stage = promised();
    stage.lose_power(2);
    stage.elect(Some(2), 1, &[0, 1, 2]);
    stage.elect(Some(1), 2, &[0, 1]);
    assert_eq!((stage.fired(), stage.relaxed("L10"), stage.oracle.committed(&orders())), (vec![], 0, 2));
    // If it comes to lead all the same, it does.
    stage.boot(2);
    stage.elect(Some(2), 3, &[2]);
    stage.lead(2, 3);
    assert_eq!((stage.fired(), stage.relaxed("L10")), (vec!["E10"], 1));
}

#[test]
fn a_loss_without_an_excuse_is_a_violation() {
    let mut stage = promised();
    // b2 lost power, and caught up again; then b3 is elected without the records for no reason at all.
    stage.lose_power(1);
    stage.boot(1);
    stage.append(1, false, 0, 0, "a");
    stage.append(1, false, 1, 0, "a");
    stage.truncate(2, 0);
    stage.elect(Some(2), 1, &[2]);
    assert_eq!(stage.fired(), ["L11", "E13", "L10"]);
}

#[test]
fn a_member_that_lost_its_tail_is_no_lie_of_the_isr() {
    let mut stage = promised();
    stage.lose_power(2);
    stage.boot(2);
    for broker in 0..2 {
        stage.append(broker, broker == 0, 2, 0, "a");
    }
    stage.high_watermark(0, true, 0, 3);
    assert_eq!(stage.fired(), NONE);
    assert!(stage.relaxed("L08") > 0 && stage.relaxed("E13") > 0);
}

/// Found by broker-power-loss, seed 296: the member had fetched behind the record, so its leader counts on it.
#[test]
fn l08_knows_what_a_member_had_told_before_it_lost_power() {
    let run = |told: bool| {
        let mut stage = promised();
        stage.sync_log(2);
        stage.append(0, true, 2, 0, "a");
        stage.append(1, false, 2, 0, "a");
        if told {
            stage.append(2, false, 2, 0, "a");
        }
        stage.lose_power(2);
        stage.high_watermark(0, true, 0, 3);
        stage
    };
    let stage = run(true);
    assert_eq!((stage.fired(), stage.relaxed("L08")), (vec![], 1));
    assert_eq!(run(false).fired(), ["L08"], "what it never had it cannot have lost");
}

/// Found by swarm-cluster, seed 5018: the leader asks for the new ISR because of a fetch that was still under way.
#[test]
fn ex4_counts_no_fetch_of_the_life_that_is_over() {
    let run = |sent_again: bool| {
        let mut stage = promised();
        stage.elect(Some(0), 1, &[0, 1]);
        let request = stage.send_fetch(2, 0);
        stage.replace_disk(2);
        stage.boot(2);
        if sent_again {
            stage.send_fetch(2, 0);
        }
        stage.oracle.request_delivered(0, machine::EndId(9), 1, &request);
        stage.write_state(session_of(0), &state(1, Some(0), 1, &[0, 1, 2]));
        stage
    };
    let stage = run(false);
    assert_eq!((stage.fired(), stage.relaxed("E13")), (vec![], 1));
    assert_eq!(run(true).fired(), ["E13"], "a life that fetched is known");
}

/// Found by swarm-cluster, seeds 2703 and 6555.
#[test]
fn a_disk_that_is_replaced_loses_what_was_flushed_too() {
    let run = |replaced: bool| {
        let mut stage = Stage::with(|cluster| cluster.flush_each = true).with_orders();
        stage.commit_records(2);
        stage.promise(2);
        if replaced {
            stage.replace_disk(2);
        } else {
            stage.disks[2] = PageCache::new(Metadata::Synchronous);
            stage.lose_power(2);
        }
        stage.boot(2);
        stage.append(0, true, 2, 0, "a");
        stage.append(1, false, 2, 0, "a");
        stage.high_watermark(0, true, 0, 3);
        stage.come_back(2);
        stage.elect(Some(2), 1, &[2]);
        stage
    };
    let stage = run(true);
    assert_eq!((stage.fired(), stage.relaxed("L08"), stage.relaxed("L10")), (vec![], 1, 1));
    let because = &stage.oracle.excuses()[0].because[0].1;
    assert_eq!(because, "b3 lost its disk: its log of orders-0 went from 2 to 0");
    assert_eq!(run(false).fired(), ["L08", "E13", "L10"], "a loss of power takes nothing that was flushed");
}

/// Found by swarm-cluster, seed 5616: power went again before the log was loaded.
#[test]
fn l16_knows_of_a_truncation_that_was_undone_by_the_first_of_two_losses_of_power() {
    for undone in [true, false] {
        let mut stage = Stage::led();
        for base in 0..3 {
            stage.append(1, false, base, 0, "a");
        }
        stage.sync_log(1);
        if undone {
            stage.truncate(1, 2);
        }
        stage.lose_power(1);
        stage.boot(1);
        stage.sync_log(1);
        stage.lose_power(1);
        stage.boot(1);
        if !undone {
            stage.append(1, false, 3, 0, "never there");
        }
        let end = stage.oracle.partitions[0].replicas[1].log.end();
        stage.load_log(1, end);
        assert_eq!(stage.fired(), if undone { vec![] } else { vec!["L16"] });
    }
}

/// Found by swarm-cluster, seed 3912: what the old leader commits was cut from the history by the election already.
#[test]
fn ex1_knows_that_consumers_of_a_deposed_leader_go_on_reading() {
    let mut stage = Stage::led();
    stage.configure("unclean.leader.election.enable", "true");
    stage.commit_records(2);
    stage.write_state(session_of(0), &state(1, Some(0), 0, &[0]));
    stage.append(0, true, 2, 0, "a");
    stage.high_watermark(0, true, 0, 3);
    stage.elect(Some(2), 1, &[2]);
    assert_eq!((stage.fired(), stage.relaxed("E12")), (vec![], 1));
    stage.append(2, true, 2, 1, "c");
    stage.high_watermark(2, true, 1, 3);
    stage.append(0, true, 3, 0, "a");
    stage.append(0, true, 4, 0, "a");
    stage.high_watermark(0, true, 0, 4);
    let partition = &stage.oracle.partitions[0];
    assert_eq!((stage.fired(), partition.canon.end(), partition.committed_most), (vec![], 3, 4));
}

/// Found by swarm-cluster, seed 4311.
#[test]
fn a_leader_whose_truncation_was_undone_is_nobody_to_be_measured_by() {
    let run = |leads: bool| {
        let mut stage = Stage::led();
        for base in 0..3 {
            stage.append(2, false, base, 0, "a");
        }
        stage.sync_log(2);
        stage.truncate(2, 2);
        for base in 0..2 {
            stage.append(0, true, base, 0, "a");
            stage.append(1, false, base, 0, "a");
        }
        for broker in 0..3 {
            stage.append(broker, broker == 0, 2, 1, "b");
        }
        stage.elect(Some(0), 1, &[0, 1, 2]);
        stage.lead(0, 1);
        stage.high_watermark(0, true, 1, 3);
        stage.lose_power(2);
        stage.boot(2);
        stage.load_log(2, 3);
        assert_eq!((stage.fired(), stage.relaxed("L16")), (vec![], 1));
        stage.come_back(2);
        let (leader, follower) = if leads { (2, 1) } else { (1, 0) };
        stage.elect(Some(leader), 2, &[leader, follower]);
        stage.lead(leader, 2);
        stage.append(leader, true, 3, 2, "c");
        if leads {
            stage.append(follower, false, 3, 2, "c");
        }
        stage.high_watermark(leader, true, 2, 4);
        stage
    };
    let stage = run(true);
    assert_eq!((stage.fired(), stage.relaxed("L08"), stage.relaxed("E12")), (vec![], 1, 1));
    assert_eq!(run(false).fired(), ["L08", "E13"], "nothing ever happened to these two");
}

/// Found by swarm-cluster, seed 5616: recovery had cut what was no batch, and records were written in its place.
#[test]
fn l16_knows_that_what_recovery_cut_may_come_back() {
    for torn in [true, false] {
        let mut stage = Stage::led();
        stage.append(1, false, 0, 0, "a");
        if torn {
            let file = stage.disks[1].open(LOG).unwrap();
            stage.disks[1].append(file, &batch(1, 0, 1, "a")[..65]).unwrap();
        }
        stage.kill(1);
        stage.boot(1);
        stage.truncate(1, 1);
        stage.load_log(1, 1);
        stage.append(1, false, 1, 0, "a");
        assert_eq!(stage.fired(), NONE);
        stage.disks[1] = PageCache::new(Metadata::Synchronous);
        let file = stage.disks[1].create(LOG).unwrap();
        for (base, tag) in [(0, "a"), (1, "a ghost")] {
            stage.disks[1].append(file, &batch(base, 0, 1, tag)).unwrap();
        }
        let moment = stage.moment(1);
        stage.oracle.ended(moment, 1, Ended::PowerLost(&stage.disks[1]));
        stage.boot(1);
        stage.load_log(1, 2);
        assert_eq!(stage.fired(), if torn { vec![] } else { vec!["L16"] });
    }
}
