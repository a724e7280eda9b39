//! Shutdown, kill, and forks.

use commitlog::{Loading, LogConfig, LogEvent};
use kafkawire::{LeaderEpoch, Offset, TopicPartition};
use machine::disk::DiskError;

use crate::bench::{DIR, Host, batch, orders, small, values};

fn seven_records() -> Host {
    let mut host = Host::with_log(small());
    for _ in 0..7 {
        host.append(1, &["0123456789"]);
    }
    host
}

#[test]
fn clean_shutdown_flushes_checkpoints_and_then_marks() {
    let mut host = seven_records();
    assert_eq!(host.with(|logs, io| logs.shutdown(io)), Ok(false));
    while host.syncs.len() > 1 {
        assert!(!host.files("").contains(&".kafka_cleanshutdown".into()), "the marker comes last");
        host.finish(host.syncs[0], Ok(()));
    }
    let events = host.finish_syncs();
    assert_eq!(events, [LogEvent::ShutDown]);
    assert!(host.logs().is_shut_down());
    assert!(host.files("").contains(&".kafka_cleanshutdown".into()));
    assert_eq!(host.text("recovery-point-offset-checkpoint"), "0\n1\norders 0 7\n");
    assert_eq!(host.text("orders-0/leader-epoch-checkpoint"), "0\n1\n1 0\n");
    host.kill();
    let loaded = host.start();
    assert_eq!((loaded[0].clean, loaded[0].recovery_point, loaded[0].log_end), (true, Offset(7), Offset(7)));
    assert!(!host.files("").contains(&".kafka_cleanshutdown".into()), "the marker is gone with the start");
    assert_eq!(host.log().latest_epoch(), Some(LeaderEpoch(1)));
    assert_eq!(values(&mut host).len(), 7);
}

#[test]
fn shutdown_of_an_empty_log_dir_is_complete_after_its_checkpoints() {
    let mut host = Host::new(LogConfig::kafka_defaults());
    host.finish_syncs();
    host.shut_down();
    assert_eq!(host.start(), []);
}

#[test]
fn marker_of_an_earlier_shutdown_does_not_excuse_a_later_crash() {
    // KAFKA-10471: the marker goes at the start, not at the end of loading.
    let mut host = seven_records();
    host.shut_down();
    let config = host.config.clone();
    let mut loading = host.with_io(|io| Loading::begin(DIR, &config, io)).unwrap();
    assert!(loading.is_clean());
    assert_eq!(loading.remaining(), 1);
    host.with_io(|io| loading.next(io)).unwrap();
    host.kill();
    assert!(!host.start()[0].clean, "the crash fell into the loading");
}

#[test]
fn kill_loses_nothing() {
    let mut host = seven_records();
    let before: Vec<_> = host.log().batches(Offset(0), Offset(100)).copied().collect();
    host.kill();
    let loaded = host.start();
    assert_eq!((loaded[0].clean, loaded[0].log_end, loaded[0].recovery_point), (false, Offset(7), Offset(0)));
    assert_eq!(loaded[0].cut, None);
    let after: Vec<_> = host.log().batches(Offset(0), Offset(100)).copied().collect();
    assert_eq!(before, after);
    assert_eq!(values(&mut host).len(), 7);
    assert_eq!(host.log().latest_epoch(), Some(LeaderEpoch(1)), "derived from the batches");
    assert_eq!(host.append(2, &["next"]).base, Offset(7));
}

#[test]
fn rebuilt_indexes_are_those_that_were_written_batch_by_batch() {
    let mut host = seven_records();
    let index = |host: &Host, suffix: &str| host.disk.bytes(&format!("{DIR}/orders-0/{:020}{suffix}", 0)).unwrap();
    let before = (index(&host, ".index"), index(&host, ".timeindex"));
    assert!(!before.0.is_empty());
    host.kill();
    host.start();
    assert_eq!((index(&host, ".index"), index(&host, ".timeindex")), before);
}

#[test]
fn logs_are_loaded_one_at_a_time() {
    let mut host = Host::new(LogConfig::kafka_defaults());
    let names: Vec<TopicPartition> = (0..4).map(|partition| TopicPartition::new("orders", partition)).collect();
    for tp in &names {
        host.create(tp);
    }
    host.kill();
    let config = host.config.clone();
    let mut loading = host.with_io(|io| Loading::begin(DIR, &config, io)).unwrap();
    for (at, tp) in names.iter().enumerate() {
        assert_eq!(loading.remaining(), 4 - at);
        assert_eq!(host.with_io(|io| loading.next(io)).unwrap().unwrap().tp, *tp);
    }
    assert_eq!(host.with_io(|io| loading.next(io)), Ok(None));
    let logs = host.with_io(|io| loading.finish(io)).unwrap();
    assert!(logs.iter().map(|(tp, _)| tp).eq(&names));
}

#[test]
fn failed_sync_is_told() {
    let mut host = Host::with_log(LogConfig { flush_messages: 1, ..LogConfig::kafka_defaults() });
    host.finish_syncs();
    host.append(0, &["a"]);
    let ticket = *host.syncs.last().unwrap();
    assert!(host.logs().owns(ticket));
    let told = host.with(|logs, io| logs.on_durable(ticket, Err(DiskError::Io), io));
    assert_eq!(told, Err(DiskError::Io));
    assert_eq!(host.log().recovery_point(), Offset(0));
}

#[test]
fn fork_and_original_go_separate_ways() {
    let mut host = seven_records();
    let mut fork = host.clone();
    host.append(1, &["of the original"]);
    fork.truncate_to(3);
    fork.append(2, &["of the fork"]);
    assert_eq!(values(&mut host).len(), 8);
    let of_fork = values(&mut fork);
    assert_eq!((of_fork.len(), of_fork[3].1.as_str()), (4, "of the fork"));
    assert_eq!(host.log().latest_epoch(), Some(LeaderEpoch(1)));
    let digest = |host: &Host| {
        let mut digest = machine::Digest::new();
        host.logs().digest(&mut digest);
        digest.value()
    };
    assert_ne!(digest(&host), digest(&fork));
    assert_eq!(digest(&host), digest(&host.clone()));
}

#[test]
fn follower_with_the_bytes_of_its_leader_has_the_same_headers() {
    let mut leader = seven_records();
    let mut follower = Host::with_log(LogConfig::kafka_defaults());
    let mut from = Offset(0);
    while from < leader.log().log_end() {
        let data = leader.read(from.0);
        follower.with_log_of(&orders(), |mut log, io| log.append_as_follower(&data.bytes, io)).unwrap();
        from = data.next_offset;
    }
    let headers = |host: &Host| host.log().batches(Offset(0), Offset(100)).copied().collect::<Vec<_>>();
    assert_eq!(headers(&leader), headers(&follower));
    assert_eq!(leader.log().epochs(), follower.log().epochs());
    assert_eq!(leader.log().log_end(), batch(&["a"], 0).header.next_offset().plus(6));
}
