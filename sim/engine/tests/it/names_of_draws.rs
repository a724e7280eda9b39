//! Draws by name: what is removed changes only its own.

use machine::{Depth, HostId};

use crate::toy::{A, Ack, Act, B, C, D, Image, Watch, at, hosts, links, quiet, rules, script, two_pairs, world_of};

/// Everything two hosts saw, with its time.
fn story(schedule: &str, hosts: [HostId; 2]) -> Vec<(machine::Instant, HostId, String)> {
    let mut world = world_of(11, two_pairs(Ack::Durable), rules(schedule));
    world.run_until(at(3_000));
    world.judges().lines.iter().filter(|(_, host, _)| hosts.contains(host)).cloned().collect()
}

const ONE: &str = r#"
    [[faults]]
    when = { at = "500ms..900ms" }
    do = { kill = { target = { host = "a" } } }
"#;
const TWO: &str = r#"
    [[faults]]
    when = { at = "200ms..700ms" }
    do = { pause = { target = { host = "c" }, for = "100ms..300ms" } }
"#;

#[test]
fn a_removed_fault_leaves_every_unrelated_draw_unchanged() {
    let both = format!("{ONE}{TWO}");
    assert_eq!(story(&both, [C, D]), story(TWO, [C, D]), "the other pair lives the same life");
    assert_eq!(story(&both, [A, B]), story(ONE, [A, B]), "the rule that stays draws as before");
    assert_ne!(story(&both, [A, B]), story(TWO, [A, B]), "the fault mattered to those it struck");
    let swapped = format!("{TWO}{ONE}");
    assert_eq!(story(&both, [A, B]), story(&swapped, [A, B]), "the place in the file means nothing");
}

#[test]
fn one_message_less_leaves_the_latency_of_the_others_unchanged() {
    let arrivals = |sends: Vec<(u64, Act)>| {
        let acts = [(10, Act::Connect(A))].into_iter().chain(sends).collect();
        let other = script(vec![(10, Act::Connect(C)), (50, Act::Send(5_000))]);
        let mut world = world_of(2, hosts(vec![quiet(), script(acts), quiet(), other]), vec![]);
        world.run_until(at(200));
        world.judges().at(C, "got 5000")
    };
    let many = arrivals((0..9).map(|n| (40 + n, Act::Send(1_000 + n))).collect());
    assert_eq!(many, arrivals(vec![]));
}

#[test]
fn a_change_of_content_that_keeps_all_headers_changes_the_hash() {
    let hash = |body: &'static str, depth| {
        let image = script(vec![(10, Act::Connect(A)), (50, Act::SendBody(1_000, body))]);
        let silent = Image { ack: Ack::Silent, ..quiet() };
        let options = engine::Options { depth, ..engine::Options::default() };
        let mut world = engine::World::new(1, Watch::default(), hosts(vec![silent, image]), &links(), vec![], options);
        world.run_until(at(100));
        world.hash()
    };
    assert_ne!(hash("one", Depth::Encoded), hash("two", Depth::Encoded));
    assert_eq!(hash("one", Depth::Encoded), hash("one", Depth::Encoded));
    // The toy's cheap digest leaves the body out: that is what `Encoded` is for.
    assert_eq!(hash("one", Depth::Cheap), hash("two", Depth::Cheap));
    let write = |n| {
        let mut world = world_of(1, hosts(vec![script(vec![(10, Act::Write(n))])]), vec![]);
        world.run_until(at(100));
        world.hash()
    };
    assert_ne!(write(1), write(2), "bytes on disk count too");
}
