//! The disk through the engine: what is acknowledged after its sync survives, what is acknowledged before may not.

use engine::{DiskSpec, HostSpec};
use machine::disk::CrashModel;

use crate::toy::{A, Ack, Act, B, Fact, Image, Toy, at, feeder, hosts, quiet, rules, script, world, world_of};

/// A store that loses power while it is fed; the answers its feeder got, and what the disk kept.
fn answered_and_kept(seed: u64, ack: Ack, crash: CrashModel) -> (u64, u64) {
    let mut hosts: Vec<HostSpec<Toy>> = hosts(vec![Image { ack, ..quiet() }, feeder(A, 2)]);
    hosts[0].disk = DiskSpec { crash, ..DiskSpec::default() };
    let off = "[[faults]]\nwhen = { at = \"200ms..400ms\" }\ndo = { power-loss = { target = { host = \"a\" } } }\n";
    let mut world = world_of(seed, hosts, rules(off));
    world.run_until(at(600));
    let answered = world.judges().facts.iter().filter(|(_, _, fact)| matches!(fact, Fact::Answered { .. })).count();
    (answered as u64, world.judges().durable_logs[&A])
}

#[test]
fn what_is_answered_after_its_sync_survives_every_loss_of_power() {
    for crash in
        [CrashModel::AllUnsyncedLost, CrashModel::Prefix, CrashModel::AnySubset, CrashModel::Torn { sector_bytes: 512 }]
    {
        for seed in 0..25 {
            let (answered, kept) = answered_and_kept(seed, Ack::Durable, crash);
            assert!(answered > 0, "it was fed");
            assert!(kept >= answered, "{answered} answered, {kept} kept, {crash:?}, seed {seed}");
        }
    }
}

#[test]
fn what_is_answered_before_its_sync_is_lost_under_some_seed() {
    let lost = |seed| {
        let (answered, kept) = answered_and_kept(seed, Ack::Early, CrashModel::AllUnsyncedLost);
        kept < answered
    };
    assert!((0..50).any(lost), "a store that lies is found out");
}

#[test]
fn a_kill_keeps_the_page_cache() {
    let acts = vec![(10, Act::Write(1)), (11, Act::Write(2))];
    let kill = "[[faults]]\nwhen = { at = \"20ms\" }\ndo = { kill = { target = { host = \"a\" }, restart-after = \"5ms\" } }\n";
    let mut world = world(1, vec![script(acts)], rules(kill));
    world.run_until(at(26));
    assert_eq!(world.judges().count(A, "recovered 2"), 1);
}

#[test]
fn a_loss_of_power_takes_what_was_not_synced() {
    let acts = vec![(10, Act::Write(1)), (11, Act::Sync), (40, Act::Write(2))];
    let off = "[[faults]]\nwhen = { at = \"50ms\" }\ndo = { power-loss = { target = { host = \"a\" }, down-for = \"5ms\" } }\n";
    let mut world = world(1, vec![script(acts)], rules(off));
    world.run_until(at(56));
    assert_eq!(world.judges().count(A, "recovered 1"), 1);
}

#[test]
fn a_killed_process_does_not_cancel_its_sync_but_is_not_told() {
    let acts = vec![(10, Act::Write(1)), (11, Act::Sync)];
    let text = r#"
        [[faults]]
        when = { at = "11050us" }
        do = { kill = { target = { host = "a" } } }
        [[faults]]
        when = { at = "40ms" }
        do = { power-loss = { target = { host = "a" }, down-for = "5ms" } }
    "#;
    let mut world = world(1, vec![script(acts)], rules(text));
    world.run_until(at(50));
    assert_eq!(world.judges().count(A, "stored 0 true"), 0);
    assert_eq!(world.judges().count(A, "recovered 1"), 1);
}

#[test]
fn disk_errors_reach_the_machine_one_by_one() {
    let acts = vec![
        (20, Act::Write(1)),
        (21, Act::Write(2)),
        (30, Act::Read),
        (31, Act::Read),
        (40, Act::Sync),
        (60, Act::Sync),
        (80, Act::Write(3)),
    ];
    let text = r#"
        [[faults]]
        when = { at = "10ms" }
        do = { disk-error = { target = { host = "a" }, operation = "write", times = 1 } }
        [[faults]]
        when = { at = "10ms" }
        do = { disk-error = { target = { host = "a" }, operation = "read", times = 1 } }
        [[faults]]
        when = { at = "10ms" }
        do = { disk-error = { target = { host = "a" }, operation = "sync", times = 1 } }
        [[faults]]
        when = { at = "70ms" }
        do = { disk-full = { target = { host = "a" } } }
    "#;
    let mut world = world(1, vec![script(acts)], rules(text));
    world.run_until(at(100));
    let lines = world.judges().of(A);
    assert_eq!(lines[2..], ["failed EIO", "failed EIO", "stored 0 false", "stored 0 true", "failed ENOSPC"]);
    assert!(world.rules().all(|(_, count)| count.felt == 1));
}

#[test]
fn a_slow_disk_delays_the_answer() {
    let acts = vec![(20, Act::Write(1)), (21, Act::Sync)];
    let slow =
        "[[faults]]\nwhen = { at = \"10ms\" }\ndo = { slow-disk = { target = { host = \"a\" }, stall = \"500ms\" } }\n";
    let mut world = world(1, vec![script(acts), quiet()], rules(slow));
    world.run_until(at(1_000));
    assert!(world.judges().at(A, "stored 0 true") >= at(521));
    assert_eq!(world.judges().count(B, "booted"), 1);
}
