//! Every scenario of the catalogue on a handful of seeds.

use tribunal::{Changes, Prepared, SCENARIOS, Source, campaign};

const SEEDS: std::ops::Range<u64> = 0..4;

fn prepared(name: &str) -> Prepared {
    Prepared::new(&Source::catalogue(name).unwrap(), &Changes::default()).unwrap()
}

macro_rules! held {
    ($($test:ident = $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                tribunal::check($name, SEEDS);
            }
        )*

        #[test]
        fn every_scenario_of_the_catalogue_has_its_test() {
            let names: Vec<&str> = SCENARIOS.iter().map(|entry| entry.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

held! {
    steady_holds = "steady",
    leader_crash_holds = "leader-crash",
    leader_pause_holds = "leader-pause",
    ensemble_split_holds = "ensemble-split",
    session_expiry_holds = "session-expiry",
    power_loss_holds = "power-loss",
    rolling_restart_holds = "rolling-restart",
    slow_disk_holds = "slow-disk",
    lock_under_faults_holds = "lock-under-faults",
    observers_under_faults_holds = "observers-under-faults",
    reconfiguration_holds = "reconfiguration",
    recipes_under_faults_hold = "recipes-under-faults",
    random_operations_hold = "random-operations",
    random_operations_steady_holds = "random-operations-steady",
    controller_crash_holds = "controller-crash",
    controller_pause_holds = "controller-pause",
    partition_leader_crash_holds = "partition-leader-crash",
    coordinator_leader_crash_holds = "coordinator-leader-crash",
    broker_isolated_holds = "broker-isolated",
    broker_session_expiry_holds = "broker-session-expiry",
    stale_registration_holds = "stale-registration",
    broker_rolling_restart_holds = "broker-rolling-restart",
    broker_power_loss_holds = "broker-power-loss",
    broker_joins_holds = "broker-joins",
    producer_balance_holds = "producer-balance",
    zookeeper_consumer_rebalance_holds = "zookeeper-consumer-rebalance",
}

#[test]
fn the_same_seed_gives_the_same_trace_on_one_thread_and_on_two() {
    for entry in SCENARIOS {
        let prepared = prepared(entry.name);
        let one = campaign(&prepared, 0..2, 1);
        let two = campaign(&prepared, 0..2, 2);
        assert_eq!(one, two, "{}", entry.name);
        assert_ne!(one[0].hash, one[1].hash, "{}: two seeds, one trace", entry.name);
    }
}

#[test]
fn every_fault_of_the_catalogue_is_felt_in_some_seed() {
    for entry in SCENARIOS {
        let prepared = prepared(entry.name);
        let mut felt = vec![0; prepared.scenario.faults.len()];
        for seed in 0..6 {
            let run = prepared.run(seed, tribunal::Watch::LIGHT).unwrap();
            for (count, (_, rule)) in felt.iter_mut().zip(run.world.rules()) {
                *count += rule.felt;
            }
        }
        let unfelt: Vec<_> = felt.iter().zip(&prepared.scenario.faults).filter(|(count, _)| **count == 0).collect();
        assert!(unfelt.is_empty(), "{}: never felt in six seeds: {unfelt:?}", entry.name);
    }
}

/// The encoded-wire axis: what travels as bytes is what travels as values.
#[test]
fn messages_that_travel_as_bytes_change_nothing() {
    for name in ["controller-crash", "partition-leader-crash", "zookeeper-consumer-rebalance"] {
        let runs = ["values", "bytes"].map(|wire| {
            let changes = Changes { sets: vec![format!("cluster.wire={wire}")], ..Changes::default() };
            campaign(&Prepared::new(&Source::catalogue(name).unwrap(), &changes).unwrap(), 0..2, 2)
        });
        assert_eq!(runs[0], runs[1], "{name}");
    }
}

/// Seeds that found a bug in a model; what it was is said by the test named behind each.
#[test]
fn seeds_that_once_failed_hold() {
    let found = [
        // coordinator: a_log_that_a_snap_was_loaded_over_is_no_diff
        ("leader-pause", 594),
        // coordinator: watches_of_a_connection_that_is_gone_are_neither_told_nor_set
        ("session-expiry", 18),
        // judges: what the leader of E21's hole leaves behind when an UpdateMetadata overtakes
        ("broker-isolated", 4),
        // judges: a leader that lost records and leads on in its epoch
        ("broker-power-loss", 55),
        // judges: l08_knows_what_a_member_had_told_before_it_lost_power
        ("broker-power-loss", 296),
        // judges: h15_takes_a_commit_that_nobody_knows_of_as_unknown
        ("zookeeper-consumer-rebalance", 351),
        // judges: a_leader_may_have_on_its_way_to_disk_what_its_quorum_committed
        ("controller-crash", 622),
        // world: fetch_is_answered_before_its_request_times_out
        ("swarm-cluster", 5),
        // engine: device_that_recovered_works_its_queue_off_at_its_usual_pace
        ("swarm-cluster", 7),
        // world: batch_fits_a_segment
        ("swarm-cluster", 10),
        // judges: ex1_excuses_what_a_leader_commits_that_has_not_heard_of_an_unclean_election
        ("swarm-cluster", 18),
        // judges: e13_and_l05_know_that_hole_when_the_member_already_leads
        ("swarm-cluster", 104),
        ("swarm-cluster", 247),
        // judges: a broker outside of a core is cut off from the core alone
        ("swarm-cluster", 109),
        // judges: l16_compares_with_what_the_process_began_anew_on_an_empty_disk
        ("swarm-cluster", 137),
        // world: disk_keeps_up_with_the_segments_that_are_rolled
        ("swarm-cluster", 195),
        // world: session_lasts_long_enough_to_be_opened
        ("swarm-cluster", 199),
        // judges: e06_forgives_what_was_let_in_before_the_same_process_registered_again
        ("swarm-cluster", 246),
        // judges: v08_does_not_wait_for_a_client_whose_brokers_are_all_broken_for_good
        ("swarm-cluster", 305),
        // coordinator: leader_is_not_dialled_again_by_who_slept_through_the_time_for_it
        ("swarm-cluster", 306),
        // judges: l03_knows_that_hole_when_the_first_record_of_the_second_life_replaces_a_lost_one
        ("swarm-cluster", 47),
        // judges: tail_whose_sync_failed_is_told_apart_from_what_comes_behind
        ("swarm-cluster", 121),
        ("swarm-ensemble", 4005),
        // judges: e25_knows_who_does_not_try_again, e25_knows_that_nobody_listens_before_the_controller_is_started
        ("swarm-cluster", 252),
        ("swarm-cluster", 1405),
        // judges: ex1_excuses_what_a_leader_commits_that_has_not_heard_of_an_unclean_election
        ("swarm-cluster", 1083),
        // judges: clients_do_not_wait_for_a_topic_that_zookeeper_lost
        ("swarm-cluster", 1121),
        // the patience of the catalogue's swarms: ten turns of the longest interval between notifications
        ("swarm-ensemble", 786),
        // coordinator: a_log_that_a_snap_was_loaded_over_by_a_whole_epoch_is_no_diff
        ("swarm-ensemble", 2439),
        // judges: nobody_tells_a_core_of_a_candidate_that_it_does_not_hear
        ("swarm-ensemble", 4688),
        // judges: v06_knows_that_nobody_appends_the_second_half_of_a_batch
        ("swarm-cluster", 618),
        ("swarm-cluster", 687),
        // judges: v06_knows_that_a_leader_puts_nobody_back_whom_it_does_not_miss
        ("swarm-cluster", 699),
        // broker: no_write_of_another_isr_begins_before_a_control_request_that_waits
        ("swarm-cluster", 682),
        // clients: who_leads_is_asked_of_whom_zookeeper_names
        ("swarm-cluster", 1168),
        ("swarm-cluster", 1219),
    ];
    for (name, seed) in found {
        let result = tribunal::one(&prepared(name), seed);
        assert!(result.held(), "{name} {seed}: {:?}", result.broken);
    }
}
