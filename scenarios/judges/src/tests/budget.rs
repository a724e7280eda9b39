//! What a fault that takes what is not synced would leave behind (invariants-and-faults.md §1.9), and which cores are drawn.

use engine::Brokenness;

use super::*;
use crate::budget::would_start;
use crate::settled_core::{drawn, excuse};

/// A whole snapshot of a member.
fn write_snapshot(stage: &mut Stage, member: usize, zxid: Zxid, is_synced: bool) {
    let path = format!("v/snapshot.{zxid:x}");
    stage.create_file(member, &path);
    stage.write(member, &path, &crate::snapshot_file::tests::snapshot());
    if is_synced {
        stage.sync_file(member, &path);
    }
}

fn starts(stage: &Stage, member: usize) -> bool {
    let disk = &stage.disks[member];
    would_start(&stage.oracle.servers[member], disk, &disk.durable())
}

fn diverges(stage: &Stage, member: usize) -> bool {
    stage.oracle.would_diverge(&stage.oracle.servers[member], &stage.disks[member].durable())
}

#[test]
fn a_server_would_start_from_a_durable_snapshot_and_a_durable_log() {
    assert!(starts(&Stage::new(), 2), "from an empty disk");
    let mut stage = Stage::led();
    assert!(!starts(&stage, 2), "a log without a snapshot is refused");
    write_snapshot(&mut stage, 2, Zxid::ZERO, false);
    assert!(!starts(&stage, 2), "the snapshot may be lost");
    stage.sync_file(2, "v/snapshot.0");
    assert!(starts(&stage, 2));
    stage.log(2, &create(zxid(1, 3), SESSION, 0, "/b", false));
    assert!(!starts(&stage, 2), "what is not synced may be torn");
    stage.sync(2);
    assert!(starts(&stage, 2));
}

#[test]
fn a_server_would_not_start_from_a_log_with_a_gap() {
    let mut stage = Stage::led();
    write_snapshot(&mut stage, 2, Zxid::ZERO, true);
    stage.log_and_sync(2, &create(zxid(1, 4), SESSION, 0, "/c", false));
    assert!(!starts(&stage, 2));
    write_snapshot(&mut stage, 2, zxid(1, 3), true);
    assert!(starts(&stage, 2), "a snapshot has what the log lacks");
}

#[test]
fn a_server_would_diverge_if_only_its_newest_snapshot_had_what_its_log_lacks() {
    let mut stage = Stage::new();
    stage.lead(0, 1);
    let entries = [1, 2, 3].map(|counter| create(zxid(1, counter), SESSION, 0, &format!("/n{counter}"), false));
    for (at, entry) in entries.iter().enumerate() {
        stage.log_and_sync(0, entry);
        stage.log_and_sync(1, entry);
        stage.say_committed(0, TxnEntry::decode_header(entry).unwrap().zxid);
        if at == 2 {
            stage.log_and_sync(2, entry);
        }
    }
    assert!(!diverges(&stage, 2), "without a snapshot it refuses to start");
    write_snapshot(&mut stage, 2, Zxid::ZERO, true);
    write_snapshot(&mut stage, 2, zxid(1, 2), false);
    assert!(diverges(&stage, 2));
    stage.sync_file(2, "v/snapshot.100000002");
    assert!(!diverges(&stage, 2));
}

/// Found by the swarm (swarm-ensemble, seed 6691): two leaders of one epoch.
#[test]
fn a_leader_that_was_deposed_has_not_all_that_an_ensemble_rests_on() {
    let mut stage = Stage::led();
    let has_all = |stage: &Stage| [0, 1, 2].map(|voter| stage.oracle.has_all(&stage.oracle.servers[voter]));
    assert_eq!(has_all(&stage), [true; 3]);
    stage.lead_some(1, &[2], 2);
    assert_eq!(has_all(&stage), [false, true, true], "zk1 has not heard of epoch 2");
    stage.log(2, &create(zxid(2, 1), SESSION, 0, "/b", false));
    assert_eq!(has_all(&stage), [false, true, false], "nobody knows what becomes of that");
}

#[test]
fn a_leader_is_never_left_half_dead_outside_of_a_core() {
    let stage = Stage::led();
    let everybody: Vec<HostId> = (0..5).map(HostId).collect();
    let (mut seen, mut leaders) = (0, 0);
    for number in 0..500 {
        let mut draw = RunKey([1, 2]).draw(Purpose::new("test/core"), 0, number);
        let core = drawn(&stage.oracle, None, &everybody, &mut draw);
        assert!(core.rest.len() <= 1, "a quorum is in the core: {}", core.name);
        for &(host, how) in &core.rest {
            assert!(host != HostId(0) || how != Brokenness::AsItIs, "{}", core.name);
            seen += u32::from(how == Brokenness::AsItIs);
            leaders += u32::from(host == HostId(0));
        }
        let mut all: Vec<HostId> = core.rest.iter().map(|&(host, _)| host).chain(core.members).collect();
        all.sort_unstable();
        assert_eq!(all, everybody);
    }
    assert!(seen > 0 && leaders > 0, "{seen} and {leaders}");
}

/// Found by the swarm (swarm-ensemble, seed 2239).
#[test]
fn a_candidate_that_cannot_lead_keeps_a_core_from_electing_another() {
    use engine::Core;
    for (how, is_excused) in [(Brokenness::AsItIs, true), (Brokenness::Down, false)] {
        let core = Core { name: String::new(), members: vec![HostId(0), HostId(1)], rest: vec![(HostId(2), how)] };
        let mut stage = Stage::led();
        assert_eq!(excuse(&stage.oracle, None, &core), None, "zk1 leads");
        stage.kill(0, 2);
        stage.kill(2, 2);
        assert_eq!(excuse(&stage.oracle, None, &core).is_some(), is_excused, "{how:?}");
    }
}
