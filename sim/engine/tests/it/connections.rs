//! The rules of connections, one by one.

use engine::Rule;

use crate::toy::{A, Act, B, C, Image, at, quiet, rules, script, world};

fn dial_and_send() -> Image {
    script(vec![(10, Act::Connect(A)), (50, Act::Send(1_000)), (60, Act::Send(1_001)), (70, Act::Send(1_002))])
}

fn at_rule(ms: u64, fault: &str) -> Vec<Rule> {
    rules(&format!("[[faults]]\nwhen = {{ at = \"{ms}ms\" }}\ndo = {{ {fault} }}\n"))
}

fn both(rules: [Vec<Rule>; 2]) -> Vec<Rule> {
    rules.into_iter().flatten().collect()
}

#[test]
fn a_closed_port_refuses() {
    let mut world = world(1, vec![script(vec![]), script(vec![(10, Act::Connect(A))])], vec![]);
    world.run_until(at(100));
    assert_eq!(world.judges().of(B), ["booted", "recovered 0", "refused"]);
}

#[test]
fn the_kernel_of_a_dead_process_refuses() {
    let kill = at_rule(5, r#"kill = { target = { host = "a" } }"#);
    let mut world = world(1, vec![quiet(), dial_and_send()], kill);
    world.run_until(at(40));
    assert_eq!(world.judges().count(B, "refused"), 1);
}

#[test]
fn a_handshake_opens_the_dialer_first_and_then_the_acceptor() {
    let mut world = world(1, vec![quiet(), dial_and_send()], vec![]);
    world.run_until(at(200));
    assert!(world.judges().at(B, "opened") < world.judges().at(A, "accepted"));
    assert_eq!(world.judges().of(A)[2..], ["accepted", "got 1000", "got 1001", "got 1002"]);
    assert_eq!(world.judges().count(B, "answered 1002"), 1);
}

#[test]
fn a_host_can_dial_itself() {
    let image = Image { listens: true, ..dial_and_send() };
    let mut world = world(1, vec![image], vec![]);
    world.run_until(at(200));
    // The newest end is the accepted one, so the dialer's side receives.
    assert_eq!(world.judges().count(A, "accepted"), 1);
    assert_eq!(world.judges().count(A, "got 1000"), 1);
}

#[test]
fn a_kill_resets_the_peer_behind_the_data_under_way() {
    let acts = vec![(10, Act::Connect(A)), (49, Act::All(vec![Act::Send(1_000), Act::Send(1_001)]))];
    let kill = at_rule(50, r#"kill = { target = { host = "b" } }"#);
    let mut world = world(3, vec![quiet(), script(acts)], kill);
    world.run_until(at(200));
    assert_eq!(world.judges().of(A)[2..], ["accepted", "got 1000", "got 1001", "reset"]);
}

#[test]
fn an_exit_closes_in_order_behind_the_data() {
    let acts = vec![(10, Act::Connect(A)), (50, Act::All(vec![Act::Send(1_000), Act::Send(1_001), Act::Exit(3)]))];
    let mut world = world(3, vec![quiet(), script(acts)], vec![]);
    world.run_until(at(200));
    assert_eq!(world.judges().of(A)[2..], ["accepted", "got 1000", "got 1001", "closed"]);
    assert_eq!(world.judges().count(B, "exited 3"), 1);
}

#[test]
fn a_close_delivers_what_was_sent_before_and_tells_the_closer_nothing() {
    let acts = vec![(10, Act::Connect(A)), (50, Act::All(vec![Act::Send(1_000), Act::Close]))];
    let mut world = world(3, vec![quiet(), script(acts)], vec![]);
    world.run_until(at(200));
    assert_eq!(world.judges().of(A)[2..], ["accepted", "got 1000", "closed"]);
    assert_eq!(world.judges().of(B)[2..], ["opened", "sent 1000"]);
}

#[test]
fn a_close_while_opening_is_never_accepted() {
    let acts = vec![(10, Act::All(vec![Act::Connect(A), Act::Close]))];
    let mut world = world(3, vec![quiet(), script(acts)], vec![]);
    world.run_until(at(200));
    assert_eq!(world.judges().count(A, "accepted"), 0);
    assert_eq!(world.judges().of(B), ["booted", "recovered 0"]);
}

#[test]
fn a_loss_of_power_is_silent_until_somebody_sends_to_the_rebooted_host() {
    let acts = vec![(10, Act::Connect(A)), (50, Act::Send(1_000)), (900, Act::Send(1_001))];
    let off = at_rule(200, r#"power-loss = { target = { host = "a" }, down-for = "300ms" }"#);
    let mut world = world(3, vec![quiet(), script(acts)], off);
    world.run_until(at(890));
    assert_eq!(world.judges().count(B, "reset"), 0, "half-open: nobody tells");
    world.run_until(at(1_000));
    assert_eq!(world.judges().count(B, "reset"), 1, "the rebooted kernel knows no such connection");
    assert_eq!(world.judges().count(A, "got 1001"), 0);
}

#[test]
fn a_message_to_a_host_without_power_is_retransmitted_until_it_is_reset() {
    let acts = vec![(10, Act::Connect(A)), (250, Act::Send(1_000))];
    let off = at_rule(200, r#"power-loss = { target = { host = "a" }, down-for = "300ms" }"#);
    let mut world = world(3, vec![quiet(), script(acts)], off);
    world.run_until(at(2_000));
    assert!(world.judges().at(B, "reset") > at(500));
    assert_eq!(world.judges().count(A, "got 1000"), 0, "a late message never reaches a new life");
}

#[test]
fn a_syn_into_a_cut_is_retried_and_never_refused() {
    let cut = at_rule(5, r#"cut = { from = { host = "a" }, to = { host = "b" }, for = "2s" }"#);
    let mut world = world(3, vec![quiet(), script(vec![(10, Act::Connect(A))])], cut);
    world.run_until(at(2_900));
    assert_eq!(world.judges().of(B), ["booted", "recovered 0"]);
    world.run_until(at(3_100));
    assert!(world.judges().at(B, "opened") >= at(3_010), "sent at 10 ms, 1,010 ms and 3,010 ms");
}

#[test]
fn a_syn_to_a_frozen_host_is_retried() {
    let freeze = at_rule(5, r#"freeze = { target = { host = "a" }, for = "700ms" }"#);
    let mut world = world(3, vec![quiet(), script(vec![(10, Act::Connect(A))])], freeze);
    world.run_until(at(2_000));
    assert!(world.judges().at(B, "opened") >= at(1_010));
}

#[test]
fn the_kernel_of_a_paused_process_accepts_and_its_inputs_wait() {
    let pause = at_rule(5, r#"pause = { target = { host = "a" }, for = "1s" }"#);
    let mut world = world(3, vec![quiet(), dial_and_send()], pause);
    world.run_until(at(900));
    assert_eq!(world.judges().count(B, "opened"), 1);
    assert_eq!(world.judges().count(A, "accepted"), 0);
    world.run_until(at(1_100));
    assert_eq!(world.judges().of(A)[3..], ["resumed", "accepted", "got 1000", "got 1001", "got 1002"]);
}

#[test]
fn what_a_paused_process_had_queued_for_a_closed_connection_still_comes_before_the_loss() {
    let acts = vec![(10, Act::Connect(A)), (50, Act::Send(1_000)), (60, Act::Exit(0))];
    let pause = at_rule(30, r#"pause = { target = { host = "a" }, for = "1s" }"#);
    let mut world = world(3, vec![quiet(), script(acts)], pause);
    world.run_until(at(2_000));
    assert_eq!(world.judges().of(A)[4..], ["resumed", "got 1000", "closed"]);
}

#[test]
fn what_a_cut_held_arrives_in_order_before_anything_newer() {
    for seed in 0..50 {
        let cut = at_rule(45, r#"cut = { from = { host = "a" }, to = { host = "b" }, for = "14ms" }"#);
        let acts = (0..40).map(|n| (40 + n, Act::Send(1_000 + n)));
        let acts = [(10, Act::Connect(A))].into_iter().chain(acts).collect();
        let mut world = world(seed, vec![quiet(), script(acts)], cut);
        world.run_until(at(2_000));
        let got: Vec<String> = world.judges().of(A).into_iter().filter(|line| line.starts_with("got")).collect();
        let expected: Vec<String> = (0..40).map(|n| format!("got {}", 1_000 + n)).collect();
        assert_eq!(got, expected, "seed {seed}");
    }
}

#[test]
fn a_one_way_cut_lets_the_other_way_pass() {
    let cut = at_rule(40, r#"cut = { from = { host = "a" }, to = { host = "b" }, one-way = true, for = "1s" }"#);
    let mut world = world(3, vec![quiet(), dial_and_send()], cut);
    world.run_until(at(900));
    assert_eq!(world.judges().count(A, "got 1002"), 1);
    assert_eq!(world.judges().count(B, "answered 1000"), 0);
    world.run_until(at(3_000));
    assert_eq!(world.judges().of(B)[3 + 3..], ["answered 1000", "answered 1001", "answered 1002"]);
}

#[test]
fn a_reset_lost_in_a_cut_leaves_the_peer_half_open_until_it_sends() {
    let acts = vec![(10, Act::Connect(A)), (700, Act::Send(1_000))];
    let faults = both([
        at_rule(40, r#"cut = { from = { host = "a" }, to = { host = "b" }, for = "500ms" }"#),
        at_rule(100, r#"kill = { target = { host = "a" }, restart-after = "100ms" }"#),
    ]);
    let mut world = world(3, vec![quiet(), script(acts)], faults);
    world.run_until(at(690));
    assert_eq!(world.judges().count(B, "reset"), 0);
    world.run_until(at(800));
    assert_eq!(world.judges().count(B, "reset"), 1);
    assert_eq!(world.judges().count(A, "got 1000"), 0);
}

#[test]
fn an_injected_reset_tells_both_and_loses_what_is_under_way() {
    let acts = vec![(10, Act::Connect(A)), (49, Act::Send(1_000))];
    let reset = at_rule(50, r#"reset = { between = [{ host = "a" }, { host = "b" }] }"#);
    let mut world = world(3, vec![quiet(), script(acts)], reset);
    world.run_until(at(200));
    assert_eq!(world.judges().count(A, "reset"), 1);
    assert_eq!(world.judges().count(B, "reset"), 1);
    assert_eq!(world.judges().count(B, "sent 1000"), 1);
    assert_eq!(world.judges().count(A, "got 1000"), 0);
}

#[test]
fn losses_delay_and_never_reorder() {
    let loss = at_rule(30, r#"loss = { from = { host = "b" }, to = { host = "a" }, one-in = 2 }"#);
    let acts = (0..30).map(|n| (40 + n, Act::Send(1_000 + n)));
    let acts = [(10, Act::Connect(A))].into_iter().chain(acts).collect();
    let mut world = world(3, vec![quiet(), script(acts)], loss);
    world.run_until(at(100_000));
    let got: Vec<String> = world.judges().of(A).into_iter().filter(|line| line.starts_with("got")).collect();
    assert_eq!(got, (0..30).map(|n| format!("got {}", 1_000 + n)).collect::<Vec<_>>());
    assert!(world.judges().at(A, "got 1029") > at(240), "somebody waited for a retransmission");
}

#[test]
fn datagrams_are_lost_doubled_and_reordered_and_cuts_swallow_them() {
    let acts = (0..200).map(|n| (10 + n / 20, Act::Datagram(A, n))).collect();
    let mut links = crate::toy::links();
    links.datagrams = engine::DatagramSpec { loss_one_in: 10, duplicate_one_in: 10 };
    let cut = at_rule(500, r#"cut = { from = { host = "a" }, to = { host = "c" } }"#);
    let late = vec![(600, Act::Datagram(A, 7_777))];
    let hosts = crate::toy::hosts(vec![quiet(), script(acts), script(late)]);
    let options = engine::Options::default();
    let mut world = engine::World::new(5, crate::toy::Watch::default(), hosts, &links, cut, options);
    world.run_until(at(1_000));
    let got: Vec<String> = world.judges().of(A).into_iter().filter(|line| line.starts_with("got")).collect();
    let mut sorted = got.clone();
    sorted.sort();
    sorted.dedup();
    assert!(sorted.len() < 200, "some were lost");
    assert!(sorted.len() < got.len(), "some came twice");
    assert!(!got.is_sorted(), "some were overtaken");
    assert_eq!(world.judges().count(A, "got 7777"), 0);
    assert_eq!(world.judges().count(C, "booted"), 1);
}
