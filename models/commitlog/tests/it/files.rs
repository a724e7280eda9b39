//! The bytes of indexes and checkpoints; deletion; what a log dir with bad files does.

use commitlog::{BadMetaProperties, LoadError, LogConfig, LogEvent, MetaProperties};
use kafkawire::{BrokerId, Offset, TopicPartition};
use machine::Span;

use crate::bench::{DIR, Host, orders, small, values};

#[test]
fn indexes_have_the_bytes_of_the_real_ones() {
    let mut host = Host::with_log(LogConfig { index_interval_bytes: 100, ..LogConfig::kafka_defaults() });
    host.truncate_to(0);
    host.with(|logs, io| logs.truncate_fully_and_start_at(&orders(), Offset(1000), io)).unwrap();
    for timestamp in [500, 700, 600, 800, 900] {
        host.append_at(0, &["0123456789", "0123456789"], timestamp);
    }
    // Batches of 95 bytes: more than 100 have gone by before the third, and again before the fifth. The entry names the last
    // offset of what is appended and the position where that begins.
    let offsets = host.disk.bytes("kafka-logs/orders-0/00000000000000001000.index").unwrap();
    let entry = |offset: i32, position: i32| [offset.to_be_bytes(), position.to_be_bytes()].concat();
    assert_eq!(offsets, [entry(5, 2 * 95), entry(9, 4 * 95)].concat());
    let times = host.disk.bytes("kafka-logs/orders-0/00000000000000001000.timeindex").unwrap();
    let entry = |timestamp: i64, offset: i32| [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()[..]].concat();
    assert_eq!(times, [entry(700, 3), entry(900, 9)].concat());
}

#[test]
fn closed_segment_ends_its_time_index_with_its_largest_timestamp() {
    let mut host = Host::with_log(LogConfig { segment_bytes: 160, ..LogConfig::kafka_defaults() });
    for timestamp in [500, 400, 600] {
        host.append_at(0, &["0123456789"], timestamp);
    }
    let times = host.disk.bytes("kafka-logs/orders-0/00000000000000000000.timeindex").unwrap();
    assert_eq!(times, [&500_i64.to_be_bytes()[..], &0_i32.to_be_bytes()[..]].concat());
}

#[test]
fn checkpoints_have_the_text_of_the_real_ones() {
    let mut host = Host::new(small());
    for tp in [TopicPartition::new("payments", 3), orders(), TopicPartition::new("orders", 10)] {
        host.create(&tp);
    }
    for _ in 0..7 {
        host.append(0, &["0123456789"]);
    }
    host.finish_syncs();
    host.with(|logs, io| {
        logs.restore_high_watermark(&orders());
        logs.log_mut(&orders()).unwrap().set_high_watermark(Offset(6));
        logs.log_mut(&orders()).unwrap().raise_log_start(Offset(2), io).unwrap();
        logs.restore_high_watermark(&TopicPartition::new("payments", 3));
        logs.checkpoint_high_watermarks(io).unwrap();
        logs.checkpoint_recovery_points(io).unwrap();
        logs.checkpoint_log_start_offsets(io).unwrap();
    });
    assert_eq!(host.text("replication-offset-checkpoint"), "", "not before it is durable");
    host.finish_syncs();
    // Only logs that a partition stands on have a high watermark (KAFKA-1647).
    assert_eq!(host.text("replication-offset-checkpoint"), "0\n2\norders 0 6\npayments 3 0\n");
    assert_eq!(host.text("recovery-point-offset-checkpoint"), "0\n3\norders 0 5\norders 10 0\npayments 3 0\n");
    assert_eq!(host.text("log-start-offset-checkpoint"), "0\n1\norders 0 2\n");
    assert_eq!(host.files("").iter().filter(|file| file.ends_with(".tmp")).count(), 0);
}

#[test]
fn high_watermark_is_restored_within_the_log() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(0, &["a", "b", "c"]);
    host.with(|logs, io| {
        assert_eq!(logs.restore_high_watermark(&orders()), Offset(0), "without a checkpoint it is 0");
        logs.log_mut(&orders()).unwrap().set_high_watermark(Offset(2));
        logs.checkpoint_high_watermarks(io).unwrap();
    });
    host.finish_syncs();
    host.kill();
    host.start();
    assert_eq!(host.log().high_watermark(), Offset(0), "before a partition stands on it");
    host.with(|logs, io| {
        // A checkpoint before the partition is there must not claim 0 for it, and then nothing at all.
        assert_eq!(logs.checkpointed_high_watermark(&orders()), Some(Offset(2)));
        assert_eq!(logs.restore_high_watermark(&orders()), Offset(2));
        logs.truncate_to(&orders(), Offset(1), io).unwrap();
        assert_eq!(logs.restore_high_watermark(&orders()), Offset(1), "never beyond the log's end");
        logs.forget_high_watermark(&orders());
        logs.checkpoint_high_watermarks(io).unwrap();
    });
    host.finish_syncs();
    assert_eq!(host.text("replication-offset-checkpoint"), "0\n0\n");
}

#[test]
fn checkpoint_asked_for_while_one_is_written_holds_what_is_true_when_it_is_written() {
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(0, &["a", "b", "c"]);
    host.with(|logs, io| {
        logs.restore_high_watermark(&orders());
        logs.checkpoint_high_watermarks(io).unwrap();
        logs.log_mut(&orders()).unwrap().set_high_watermark(Offset(1));
        logs.checkpoint_high_watermarks(io).unwrap();
        logs.log_mut(&orders()).unwrap().set_high_watermark(Offset(3));
    });
    host.finish_syncs();
    assert_eq!(host.text("replication-offset-checkpoint"), "0\n1\norders 0 3\n");
}

#[test]
fn deleted_log_keeps_its_bytes_for_a_while_under_another_name() {
    let mut host = Host::with_log(small());
    for _ in 0..7 {
        host.append(0, &["0123456789"]);
    }
    assert_eq!(host.with(|logs, io| logs.delete(&orders(), io)), Ok(true));
    assert_eq!(host.with(|logs, io| logs.delete(&orders(), io)), Ok(false));
    assert!(host.logs().log(&orders()).is_none());
    assert_eq!(host.files("orders-0/"), Vec::<String>::new());
    let kept = host.files("orders-0.");
    assert_eq!(kept.len(), 8, "three files of each of two segments, the epochs and their successor: {kept:?}");
    assert!(kept.iter().all(|file| file.split_once('/').unwrap().0.ends_with("-delete")), "{kept:?}");
    // Syncs of the old log finish beside the new one without effect.
    host.create(&orders());
    host.append(9, &["new"]);
    host.finish_syncs();
    assert_eq!(host.text("orders-0/leader-epoch-checkpoint"), "0\n1\n9 0\n");
    assert_eq!(host.log().recovery_point(), Offset(0));
    host.advance(Span::secs(60));
    host.with(|logs, io| logs.remove_deleted(io)).unwrap();
    assert_eq!(host.files("orders-0."), Vec::<String>::new());
    assert_eq!(values(&mut host), [(0, "new".into())]);
}

#[test]
fn deleted_log_is_not_loaded_and_goes_after_the_delay() {
    let mut host = Host::with_log(small());
    host.append(0, &["a"]);
    host.with(|logs, io| logs.delete(&orders(), io)).unwrap();
    host.kill();
    assert_eq!(host.start(), []);
    assert!(!host.files("orders-0.").is_empty());
    host.advance(Span::secs(60));
    host.with(|logs, io| logs.remove_deleted(io)).unwrap();
    assert!(host.files("orders-0.").is_empty());
}

#[test]
fn meta_properties_are_read_back() {
    let mut host = Host::new(LogConfig::kafka_defaults());
    assert_eq!(host.logs().meta_properties(), None);
    let properties = MetaProperties { broker_id: BrokerId(3), cluster_id: Some("4L6g3nShT-eMCtK--X86sw".into()) };
    host.with(|logs, io| logs.write_meta_properties(properties.clone(), io)).unwrap();
    assert_eq!(host.finish_syncs(), [LogEvent::MetaPropertiesWritten]);
    assert_eq!(host.text("meta.properties"), "cluster.id=4L6g3nShT-eMCtK--X86sw\nversion=0\nbroker.id=3\n");
    host.kill();
    host.start();
    assert_eq!(host.logs().meta_properties(), Some(&properties));
    assert_eq!(MetaProperties::read(&mut host.disk, DIR), Ok(Some(properties)));
}

#[track_caller]
fn check_meta(text: &str, expected: Result<(i32, Option<&str>), BadMetaProperties>) {
    use machine::disk::Disk as _;
    let mut host = Host::new(LogConfig::kafka_defaults());
    let file = host.disk.create("kafka-logs/meta.properties").unwrap();
    host.disk.append(file, text.as_bytes()).unwrap();
    let found = MetaProperties::read(&mut host.disk, DIR);
    let found = found.map(|found| found.expect("there is a file"));
    let expected =
        expected.map(|(id, cluster)| MetaProperties { broker_id: BrokerId(id), cluster_id: cluster.map(Into::into) });
    assert_eq!(found, expected);
}

#[test]
fn meta_properties_of_a_real_broker_are_understood() {
    check_meta("#\n#Tue Nov 22 02:21:00 UTC 2022\ncluster.id=abc\nversion=0\nbroker.id=1\n", Ok((1, Some("abc"))));
    check_meta("broker.id=1\nversion=0\n", Ok((1, None)));
    check_meta("broker.id=1\n", Err(BadMetaProperties::Malformed));
    check_meta("version=1\nnode.id=1\ncluster.id=abc\n", Err(BadMetaProperties::Malformed));
    check_meta("", Err(BadMetaProperties::Malformed));
}

fn restart_with(path: &str, text: &str) -> Result<usize, LoadError> {
    use machine::disk::Disk as _;
    let mut host = Host::with_log(LogConfig::kafka_defaults());
    host.append(2, &["a"]);
    host.finish_syncs();
    host.kill();
    let file = host.disk.create(&format!("{DIR}/{path}")).unwrap();
    host.disk.append(file, text.as_bytes()).unwrap();
    host.try_start().map(|loaded| loaded.len())
}

#[test]
fn malformed_checkpoints_count_as_empty_or_stop_the_broker_as_the_real_ones_do() {
    for bad in ["1\n0\n", "0\n2\norders 0 1\n", "0\n1\norders 0\n", "0\n1\norders x 1\n", "0\n", "\u{1}\u{2}"] {
        assert_eq!(restart_with("recovery-point-offset-checkpoint", bad), Ok(1), "{bad:?}");
        assert_eq!(restart_with("log-start-offset-checkpoint", bad), Ok(1), "{bad:?}");
        for path in ["replication-offset-checkpoint", "orders-0/leader-epoch-checkpoint"] {
            let expected = LoadError::CorruptCheckpoint { path: format!("{DIR}/{path}") };
            assert_eq!(restart_with(path, bad), Err(expected), "{bad:?}");
        }
    }
    assert_eq!(restart_with("lost+found/x", ""), Err(LoadError::StrangeDirectory { name: "lost+found".into() }));
}
