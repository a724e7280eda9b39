//! Every broker key of kafka-broker.md §1.1–1.7, with its default and what it sets in the model.

use broker::{BrokerConfig, Era};
use machine::{Port, Span};

use crate::properties::{
    Key, boolean, millis, not_modelled, number, port, positive, positive_i32, positive_millis, set,
};

fn secs(value: &str) -> Result<Span, &'static str> {
    number(value, "a number of seconds").map(|s: u32| Span::secs(u64::from(s)))
}

fn era(value: &str) -> Result<Era, &'static str> {
    let release = value.split('-').next().unwrap_or(value);
    match release {
        "2.2" | "2.3" | "2.4" | "2.5" | "2.6" => Ok(Era::E22),
        _ => Err("a version from 2.2 to 2.6 (later ones change the ISR through the controller, which is not modelled)"),
    }
}

/// `PLAINTEXT://host:port`, several separated by commas: the port of the first.
fn listener(value: &str) -> Result<Port, &'static str> {
    const EXPECTED: &str = "a listener such as PLAINTEXT://:9092";
    let first = value.split(',').next().unwrap_or(value);
    let (_, address) = first.split_once("://").ok_or(EXPECTED)?;
    let (_, number) = address.rsplit_once(':').ok_or(EXPECTED)?;
    port(number).map_err(|_| EXPECTED)
}

fn bytes(value: &str) -> Result<u64, &'static str> {
    positive_i32(value).map(|n| u64::from(n.unsigned_abs()))
}

/// A long of Java's above zero; the largest means never.
fn long(value: &str) -> Result<i64, &'static str> {
    number(value, "a number above zero").and_then(|n: i64| if n > 0 { Ok(n) } else { Err("a number above zero") })
}

fn millis_unless_longest(value: &str) -> Result<Option<Span>, &'static str> {
    long(value).map(|n| Some(n).filter(|&n| n < i64::MAX).map(|n| Span::millis(n.unsigned_abs())))
}

/// Every key, in the reference's order.
pub(super) const KEYS: &[Key<BrokerConfig>] = &[
    not_modelled("broker.id.generation.enable", "true"),
    not_modelled("reserved.broker.max.id", "1000"),
    set("zookeeper.session.timeout.ms", "18000", |c, v| positive_millis(v).map(|ms| c.zookeeper_session_timeout = ms)),
    set("zookeeper.connection.timeout.ms", "zookeeper.session.timeout.ms", |c, v| {
        positive_millis(v).map(|ms| c.zookeeper_connection_timeout = ms)
    }),
    set("zookeeper.max.in.flight.requests", "10", |c, v| {
        positive(v).map(|n| c.zookeeper_max_in_flight_requests = n as usize)
    }),
    not_modelled("zookeeper.set.acl", "false"),
    set("controller.socket.timeout.ms", "30000", |c, v| positive_millis(v).map(|ms| c.controller_socket_timeout = ms)),
    set("controlled.shutdown.enable", "true", |c, v| boolean(v).map(|yes| c.controlled_shutdown_enable = yes)),
    set("controlled.shutdown.max.retries", "3", |c, v| {
        number(v, "a number of attempts").map(|n| c.controlled_shutdown_max_retries = n)
    }),
    set("controlled.shutdown.retry.backoff.ms", "5000", |c, v| {
        millis(v).map(|ms| c.controlled_shutdown_retry_backoff = ms)
    }),
    set("auto.leader.rebalance.enable", "true", |c, v| boolean(v).map(|yes| c.auto_leader_rebalance_enable = yes)),
    set("leader.imbalance.check.interval.seconds", "300", |c, v| {
        secs(v).map(|s| c.leader_imbalance_check_interval = s)
    }),
    set("leader.imbalance.per.broker.percentage", "10", |c, v| {
        number(v, "a percentage").map(|n| c.leader_imbalance_per_broker_percentage = n)
    }),
    set("unclean.leader.election.enable", "false", |c, v| boolean(v).map(|yes| c.unclean_leader_election_enable = yes)),
    not_modelled("delete.topic.enable", "true"),
    set("auto.create.topics.enable", "true", |c, v| boolean(v).map(|yes| c.auto_create_topics_enable = yes)),
    set("num.partitions", "1", |c, v| positive_i32(v).map(|n| c.num_partitions = n)),
    set("default.replication.factor", "1", |c, v| {
        number(v, "a number of replicas").map(|n| c.default_replication_factor = n)
    }),
    set("min.insync.replicas", "1", |c, v| positive(v).map(|n| c.min_insync_replicas = n as usize)),
    set("inter.broker.protocol.version", "2.6 here", |c, v| era(v).map(|era| c.era = era)),
    not_modelled("request.timeout.ms", "30000"),
    set("broker.rack", "none", |c, v| {
        c.rack = Some(v.into());
        Ok(())
    }),
    set("listeners", "PLAINTEXT://:9092", |c, v| listener(v).map(|port| c.port = port)),
    set("port", "9092", |c, v| port(v).map(|port| c.port = port)),
    not_modelled("listener.security.protocol.map", "the protocols' own names"),
    not_modelled("inter.broker.listener.name", "none"),
    not_modelled("security.inter.broker.protocol", "PLAINTEXT"),
    not_modelled("num.network.threads", "3"),
    set("num.io.threads", "8", |c, v| {
        positive(v)
            .and_then(|n| u16::try_from(n).ok().filter(|&n| n <= 512).ok_or("a number from 1 to 512"))
            .map(|n| c.num_io_threads = n)
    }),
    not_modelled("background.threads", "10"),
    set("queued.max.requests", "500", |c, v| positive(v).map(|n| c.queued_max_requests = n as usize)),
    not_modelled("queued.max.request.bytes", "-1"),
    not_modelled("socket.request.max.bytes", "104857600"),
    not_modelled("socket.send.buffer.bytes", "102400"),
    not_modelled("socket.receive.buffer.bytes", "102400"),
    not_modelled("connections.max.idle.ms", "600000"),
    not_modelled("socket.connection.setup.timeout.ms", "10000"),
    not_modelled("socket.connection.setup.timeout.max.ms", "30000"),
    set("num.replica.fetchers", "1", |c, v| positive(v).map(|n| c.num_replica_fetchers = n)),
    not_modelled("num.recovery.threads.per.data.dir", "1"),
    set("replica.lag.time.max.ms", "30000", |c, v| positive_millis(v).map(|ms| c.replica_lag_time_max = ms)),
    set("replica.fetch.min.bytes", "1", |c, v| positive_i32(v).map(|n| c.replica_fetch_min_bytes = n)),
    set("replica.fetch.wait.max.ms", "500", |c, v| millis(v).map(|ms| c.replica_fetch_wait_max = ms)),
    set("replica.fetch.max.bytes", "1048576", |c, v| positive_i32(v).map(|n| c.replica_fetch_max_bytes = n)),
    set("replica.fetch.response.max.bytes", "10485760", |c, v| {
        positive_i32(v).map(|n| c.replica_fetch_response_max_bytes = n)
    }),
    set("replica.fetch.backoff.ms", "1000", |c, v| millis(v).map(|ms| c.replica_fetch_backoff = ms)),
    set("replica.socket.timeout.ms", "30000", |c, v| positive_millis(v).map(|ms| c.replica_socket_timeout = ms)),
    not_modelled("replica.socket.receive.buffer.bytes", "65536"),
    set("replica.high.watermark.checkpoint.interval.ms", "5000", |c, v| {
        positive_millis(v).map(|ms| c.replica_high_watermark_checkpoint_interval = ms)
    }),
    not_modelled("replica.selector.class", "none"),
    set("fetch.max.bytes", "57671680", |c, v| positive_i32(v).map(|n| c.fetch_max_bytes = n)),
    set("max.incremental.fetch.session.cache.slots", "1000", |c, v| {
        number(v, "a number of sessions").map(|n| c.max_incremental_fetch_session_cache_slots = n)
    }),
    not_modelled("fetch.purgatory.purge.interval.requests", "1000"),
    not_modelled("producer.purgatory.purge.interval.requests", "1000"),
    not_modelled("delete.records.purgatory.purge.interval.requests", "1"),
    set("message.max.bytes", "1048588", |c, v| bytes(v).map(|n| c.log.max_message_bytes = n)),
    set("log.segment.bytes", "1073741824", |c, v| bytes(v).map(|n| c.log.segment_bytes = n)),
    set("log.roll.hours", "168", |c, v| positive(v).map(|n| c.log.segment_ms = i64::from(n) * 3_600_000)),
    set("log.roll.ms", "log.roll.hours", |c, v| long(v).map(|ms| c.log.segment_ms = ms)),
    not_modelled("log.roll.jitter.ms", "log.roll.jitter.hours"),
    not_modelled("log.roll.jitter.hours", "0"),
    set("log.index.size.max.bytes", "10485760", |c, v| bytes(v).map(|n| c.log.index_max_bytes = n)),
    set("log.index.interval.bytes", "4096", |c, v| {
        number(v, "a number of bytes").map(|n: u32| c.log.index_interval_bytes = u64::from(n))
    }),
    set("log.flush.interval.messages", "9223372036854775807", |c, v| long(v).map(|n| c.log.flush_messages = n)),
    set("log.flush.interval.ms", "none", |c, v| long(v).map(|n| c.log.flush_ms = n)),
    set("log.flush.scheduler.interval.ms", "9223372036854775807", |c, v| {
        millis_unless_longest(v).map(|span| c.log_flush_scheduler_interval = span)
    }),
    set("log.flush.offset.checkpoint.interval.ms", "60000", |c, v| {
        positive_millis(v).map(|ms| c.log_flush_offset_checkpoint_interval = ms)
    }),
    set("log.flush.start.offset.checkpoint.interval.ms", "60000", |c, v| {
        positive_millis(v).map(|ms| c.log_flush_start_offset_checkpoint_interval = ms)
    }),
    set("log.segment.delete.delay.ms", "60000", |c, v| millis(v).map(|ms| c.log.file_delete_delay = ms)),
    not_modelled("log.dir", "/tmp/kafka-logs"),
    not_modelled("log.dirs", "log.dir"),
    not_modelled("log.retention.ms", "log.retention.minutes"),
    not_modelled("log.retention.minutes", "log.retention.hours"),
    not_modelled("log.retention.hours", "168"),
    not_modelled("log.retention.bytes", "-1"),
    not_modelled("log.retention.check.interval.ms", "300000"),
    not_modelled("log.cleanup.policy", "delete"),
    not_modelled("log.cleaner.enable", "true"),
    not_modelled("log.cleaner.threads", "1"),
    not_modelled("log.cleaner.dedupe.buffer.size", "134217728"),
    not_modelled("log.cleaner.io.buffer.load.factor", "0.9"),
    not_modelled("log.cleaner.io.buffer.size", "524288"),
    not_modelled("log.cleaner.io.max.bytes.per.second", "none"),
    not_modelled("log.cleaner.backoff.ms", "15000"),
    not_modelled("log.cleaner.delete.retention.ms", "86400000"),
    not_modelled("log.cleaner.min.compaction.lag.ms", "0"),
    not_modelled("log.cleaner.max.compaction.lag.ms", "9223372036854775807"),
    not_modelled("log.cleaner.min.cleanable.ratio", "0.5"),
    not_modelled("log.preallocate", "false"),
    not_modelled("log.message.format.version", "3.0"),
    not_modelled("log.message.timestamp.type", "CreateTime"),
    not_modelled("log.message.timestamp.difference.max.ms", "9223372036854775807"),
    not_modelled("log.message.downconversion.enable", "true"),
    not_modelled("compression.type", "producer"),
    not_modelled("group.min.session.timeout.ms", "6000"),
    not_modelled("group.max.session.timeout.ms", "1800000"),
    not_modelled("group.initial.rebalance.delay.ms", "3000"),
    not_modelled("group.max.size", "2147483647"),
    not_modelled("offset.metadata.max.bytes", "4096"),
    not_modelled("offsets.load.buffer.size", "5242880"),
    not_modelled("offsets.topic.num.partitions", "50"),
    not_modelled("offsets.topic.replication.factor", "3"),
    not_modelled("offsets.topic.segment.bytes", "104857600"),
    not_modelled("offsets.topic.compression.codec", "0"),
    not_modelled("offsets.retention.minutes", "10080"),
    not_modelled("offsets.retention.check.interval.ms", "600000"),
    not_modelled("offsets.commit.timeout.ms", "5000"),
    not_modelled("offsets.commit.required.acks", "-1"),
    not_modelled("transactional.id.expiration.ms", "604800000"),
    not_modelled("transaction.max.timeout.ms", "900000"),
    not_modelled("transaction.state.log.num.partitions", "50"),
    not_modelled("transaction.state.log.replication.factor", "3"),
    not_modelled("transaction.state.log.min.isr", "2"),
    not_modelled("transaction.state.log.segment.bytes", "104857600"),
    not_modelled("transaction.state.log.load.buffer.size", "5242880"),
    not_modelled("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000"),
    not_modelled("transaction.remove.expired.transaction.cleanup.interval.ms", "3600000"),
    not_modelled("quota.window.num", "11"),
    not_modelled("quota.window.size.seconds", "1"),
    not_modelled("metric.reporters", "none"),
    not_modelled("metrics.num.samples", "2"),
    not_modelled("metrics.sample.window.ms", "30000"),
    not_modelled("authorizer.class.name", "none"),
    not_modelled("super.users", "none"),
];

#[cfg(test)]
mod tests {
    use super::{KEYS, listener, long, millis_unless_longest};
    use machine::Port;

    #[test]
    fn every_key_is_listed_once() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..at].iter().all(|earlier| earlier.name != key.name), "{} is listed twice", key.name);
        }
    }

    #[test]
    fn listeners_and_longs_are_read_as_the_real_broker_reads_them() {
        assert_eq!(listener("PLAINTEXT://:9093"), Ok(Port(9093)));
        assert_eq!(listener("PLAINTEXT://0.0.0.0:9092,SSL://:9094"), Ok(Port(9092)));
        assert!(listener("9092").is_err());
        assert_eq!(millis_unless_longest("9223372036854775807"), Ok(None));
        assert_eq!(long("1"), Ok(1));
        assert!(long("0").is_err());
    }
}
