//! A standalone server answers as a real one did.

use super::replay::Replay;
use super::transcript::Transcript;

/// Replays a transcript: so many steps and events are compared, and all agree.
#[track_caller]
fn check(name: &str, steps: usize, events: usize) {
    let replay = Replay::run(name);
    let found = replay.differences.len();
    assert_eq!(found, 0, "{found} differences\n{}", replay.differences.join("\n"));
    assert_eq!((replay.steps, replay.events), (steps, events), "{name}: steps, events");
}

#[test]
fn operations_and_stats_are_those_of_a_real_server() {
    check("basic-100", 231, 0);
}

#[test]
fn mixed_operations_are_those_of_a_real_server() {
    check("basic-mix-101", 215, 8);
}

#[test]
fn errors_are_those_of_a_real_server() {
    check("errors-102", 230, 0);
}

#[test]
fn odd_frames_are_those_of_a_real_server() {
    check("errors-odd-103", 170, 0);
}

#[test]
fn paths_are_those_of_a_real_server() {
    check("paths-104", 297, 3);
}

#[test]
fn sequential_names_are_those_of_a_real_server() {
    check("sequential-105", 156, 1);
}

#[test]
fn sequential_names_beyond_the_last_number_are_those_of_a_real_server() {
    check("sequential-overflow-106", 142, 0);
}

#[test]
fn multis_are_those_of_a_real_server() {
    check("multi-107", 149, 9);
}

#[test]
fn mixed_multis_are_those_of_a_real_server() {
    check("multi-mix-108", 183, 11);
}

#[test]
fn one_shot_watches_are_those_of_a_real_server() {
    check("watch-oneshot-109", 227, 31);
}

#[test]
fn persistent_watches_are_those_of_a_real_server() {
    check("watch-persistent-110", 203, 63);
}

#[test]
fn watches_set_again_after_a_reconnect_are_those_of_a_real_server() {
    check("watch-reconnect-111", 195, 47);
}

#[test]
fn ephemerals_are_those_of_a_real_server() {
    check("ephemerals-112", 150, 24);
}

#[test]
fn sessions_are_those_of_a_real_server() {
    check("sessions-113", 147, 8);
}

#[test]
fn session_timeouts_are_those_of_a_real_server() {
    check("sessions-limits-114", 142, 12);
}

#[test]
fn acls_and_identities_are_those_of_a_real_server() {
    check("acl-115", 230, 0);
}

#[test]
fn enforced_quotas_are_those_of_a_real_server() {
    check("quota-116", 198, 1);
}

#[test]
fn soft_quotas_are_those_of_a_real_server() {
    check("quota-soft-117", 150, 3);
}

#[test]
fn containers_and_ttls_are_those_of_a_real_server() {
    check("container-ttl-118", 109, 16);
}

#[test]
fn long_frames_are_those_of_a_real_server() {
    check("maxbuffer-119", 109, 0);
}

#[test]
fn enforced_authentication_are_those_of_a_real_server() {
    check("enforce-auth-124", 127, 3);
}

#[test]
fn operations_across_servers_are_those_of_a_real_ensemble() {
    check("ensemble-crud-121", 239, 33);
}

#[test]
fn sessions_that_move_between_servers_are_those_of_a_real_ensemble() {
    check("ensemble-sessions-122", 197, 19);
}

#[test]
fn local_sessions_are_those_of_a_real_ensemble() {
    check("ensemble-local-123", 191, 12);
}

#[test]
fn four_letter_words_are_answered_as_by_a_real_server() {
    check("fourlw-120", 124, 23);
}

#[test]
fn read_only_server_does_what_a_real_one_did() {
    check("election-readonly-304", 43, 0);
}

/// What `.ci/conformance/record` recorded: random operations of three clients, replayed whole.
#[test]
fn random_operations_are_those_of_a_real_server() {
    let names = Transcript::names("random-");
    assert!(!names.is_empty(), "there is a recording");
    for name in names {
        let replay = Replay::run(&name);
        assert!(replay.differences.is_empty(), "{}", replay.differences.join("\n"));
        assert!(replay.steps > 300 && replay.events > 0, "{name}: {} steps, {} events", replay.steps, replay.events);
    }
}
