//! A standalone server answers as a real one did.

use super::replay::{Replay, Step};

/// Replays a transcript; so many steps must be compared, executed in another form, and left out, and so many events seen.
#[track_caller]
fn check(name: &str, compared: usize, substituted: usize, left_out: usize, events: usize) {
    let replay = Replay::run(name);
    let found =
        (replay.count(Step::Compared), replay.count(Step::Substituted), replay.count(Step::LeftOut), replay.events);
    assert_eq!(
        found,
        (compared, substituted, left_out, events),
        "{name}: steps compared, substituted, left out; events"
    );
}

#[test]
fn operations_and_stats_are_those_of_a_real_server() {
    check("basic-100", 207, 0, 24, 0);
}

#[test]
fn mixed_operations_are_those_of_a_real_server() {
    check("basic-mix-101", 189, 0, 26, 1);
}

#[test]
fn errors_are_those_of_a_real_server() {
    check("errors-102", 161, 8, 61, 0);
}

#[test]
fn errors_of_odd_frames_are_those_of_a_real_server() {
    check("errors-odd-103", 115, 14, 41, 0);
}

#[test]
fn paths_are_judged_as_by_a_real_server() {
    check("paths-104", 244, 0, 53, 0);
}

#[test]
fn sequential_names_are_those_of_a_real_server() {
    check("sequential-105", 149, 0, 7, 1);
}

#[test]
fn multis_are_those_of_a_real_server() {
    check("multi-107", 121, 4, 24, 5);
}

#[test]
fn mixed_multis_are_those_of_a_real_server() {
    check("multi-mix-108", 160, 1, 22, 11);
}

#[test]
fn one_shot_watches_fire_as_in_a_real_server() {
    check("watch-oneshot-109", 190, 0, 37, 30);
}

#[test]
fn watches_set_again_after_a_reconnect_fire_as_in_a_real_server() {
    check("watch-reconnect-111", 178, 0, 17, 30);
}

#[test]
fn ephemerals_live_and_die_as_in_a_real_server() {
    check("ephemerals-112", 123, 0, 27, 11);
}

#[test]
fn sessions_live_and_die_as_in_a_real_server() {
    check("sessions-113", 140, 0, 7, 1);
}

#[test]
fn session_timeouts_are_negotiated_as_by_a_real_server() {
    check("sessions-limits-114", 137, 0, 5, 1);
}
