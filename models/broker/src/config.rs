//! A broker's static configuration: what `server.properties` says, and what the testbed adds (kafka-broker.md §1).

use std::sync::Arc;

use commitlog::LogConfig;
use kafkawire::{BrokerId, Hosts, Wire};
use machine::{Port, Span};
use serde::Serialize;
use zkclient::ZkClientConfig;

use crate::defect::Defects;

/// Which releases' behaviour a broker has (kafka-broker.md §0.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum Era {
    /// `inter.broker.protocol.version=2.6`: broker epochs, leaders write the ISR to ZooKeeper, truncation by
    /// OffsetsForLeaderEpoch.
    E22,
}

/// What CPU work costs, per step, on the lane that does it. Zero by default: only the order of steps matters then.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Costs {
    /// Handling one request.
    pub request: Span,
    /// One step of a controller event.
    pub controller_step: Span,
    /// Appending one fetch response.
    pub fetch_response: Span,
    /// Recovering one log.
    pub recover_log: Span,
}

/// `server.properties`, as far as the model uses it. Names are the keys', dots as underscores; times are in their unit's name
/// no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerConfig {
    /// `broker.id`; generated ids are absent.
    pub broker_id: BrokerId,
    /// `inter.broker.protocol.version`, as the era it selects.
    pub era: Era,
    /// The host of `advertised.listeners`: a name that [`Hosts`] resolves.
    pub advertised_host: Arc<str>,
    /// The port of `listeners` and `advertised.listeners`.
    pub port: Port,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// `zookeeper.session.timeout.ms`.
    pub zookeeper_session_timeout: Span,
    /// `zookeeper.connection.timeout.ms`: how long a start waits for a session.
    pub zookeeper_connection_timeout: Span,
    /// `zookeeper.max.in.flight.requests`.
    pub zookeeper_max_in_flight_requests: usize,
    /// `num.io.threads`: how many lanes handle requests.
    pub num_io_threads: u16,
    /// `queued.max.requests`.
    pub queued_max_requests: usize,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `min.insync.replicas`; topics may override it.
    pub min_insync_replicas: usize,
    /// `unclean.leader.election.enable`; topics may override it.
    pub unclean_leader_election_enable: bool,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance_enable: bool,
    /// `leader.imbalance.check.interval.seconds`.
    pub leader_imbalance_check_interval: Span,
    /// `leader.imbalance.per.broker.percentage`.
    pub leader_imbalance_per_broker_percentage: u32,
    /// `controller.socket.timeout.ms`.
    pub controller_socket_timeout: Span,
    /// `controlled.shutdown.enable`.
    pub controlled_shutdown_enable: bool,
    /// `controlled.shutdown.max.retries`.
    pub controlled_shutdown_max_retries: u32,
    /// `controlled.shutdown.retry.backoff.ms`.
    pub controlled_shutdown_retry_backoff: Span,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max: Span,
    /// `num.replica.fetchers`.
    pub num_replica_fetchers: u32,
    /// `replica.fetch.min.bytes`.
    pub replica_fetch_min_bytes: i32,
    /// `replica.fetch.wait.max.ms`.
    pub replica_fetch_wait_max: Span,
    /// `replica.fetch.max.bytes`, per partition.
    pub replica_fetch_max_bytes: i32,
    /// `replica.fetch.response.max.bytes`.
    pub replica_fetch_response_max_bytes: i32,
    /// `replica.fetch.backoff.ms`.
    pub replica_fetch_backoff: Span,
    /// `replica.socket.timeout.ms`.
    pub replica_socket_timeout: Span,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub replica_high_watermark_checkpoint_interval: Span,
    /// `fetch.max.bytes`: what a fetch response holds at most.
    pub fetch_max_bytes: i32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub max_incremental_fetch_session_cache_slots: usize,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub log_flush_offset_checkpoint_interval: Span,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub log_flush_start_offset_checkpoint_interval: Span,
    /// `log.flush.scheduler.interval.ms`; never if none.
    pub log_flush_scheduler_interval: Option<Span>,
    /// The `log.*` keys; topics may override them.
    pub log: LogConfig,
}

impl BrokerConfig {
    /// Kafka's defaults for a broker at this address (kafka-broker.md §1.1–1.4).
    #[must_use]
    pub fn new(broker_id: BrokerId, advertised_host: impl Into<Arc<str>>, port: Port) -> Self {
        Self {
            broker_id,
            era: Era::E22,
            advertised_host: advertised_host.into(),
            port,
            rack: None,
            zookeeper_session_timeout: Span::secs(18),
            zookeeper_connection_timeout: Span::secs(18),
            zookeeper_max_in_flight_requests: 10,
            num_io_threads: 8,
            queued_max_requests: 500,
            num_partitions: 1,
            default_replication_factor: 1,
            auto_create_topics_enable: true,
            min_insync_replicas: 1,
            unclean_leader_election_enable: false,
            auto_leader_rebalance_enable: true,
            leader_imbalance_check_interval: Span::secs(300),
            leader_imbalance_per_broker_percentage: 10,
            controller_socket_timeout: Span::secs(30),
            controlled_shutdown_enable: true,
            controlled_shutdown_max_retries: 3,
            controlled_shutdown_retry_backoff: Span::secs(5),
            replica_lag_time_max: Span::secs(30),
            num_replica_fetchers: 1,
            replica_fetch_min_bytes: 1,
            replica_fetch_wait_max: Span::millis(500),
            replica_fetch_max_bytes: 1 << 20,
            replica_fetch_response_max_bytes: 10 << 20,
            replica_fetch_backoff: Span::secs(1),
            replica_socket_timeout: Span::secs(30),
            replica_high_watermark_checkpoint_interval: Span::secs(5),
            fetch_max_bytes: 55 << 20,
            max_incremental_fetch_session_cache_slots: 1000,
            log_flush_offset_checkpoint_interval: Span::secs(60),
            log_flush_start_offset_checkpoint_interval: Span::secs(60),
            log_flush_scheduler_interval: None,
            log: LogConfig::kafka_defaults(),
        }
    }
}

/// What a broker is booted from.
#[derive(Clone, Debug)]
pub struct BrokerImage {
    /// `server.properties`.
    pub config: Arc<BrokerConfig>,
    /// `zookeeper.connect`, and the session timeout the broker asks for.
    pub zookeeper: Arc<ZkClientConfig>,
    /// Who is where: what `/etc/hosts` is to a real broker.
    pub hosts: Hosts,
    /// Historical bugs that are switched on.
    pub defects: Defects,
    /// How its messages are carried.
    pub wire: Wire,
    /// What its work costs.
    pub costs: Costs,
}
