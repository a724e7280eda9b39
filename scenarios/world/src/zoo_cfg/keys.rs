//! Every key of zookeeper.md §1.2, with its default and what it sets in the model.

use coordinator::{LearnerType, ServerConfig};
use jute::client::FourLetterWord;
use machine::Span;

use crate::properties::{
    Key, boolean, millis, millis_or_default, not_modelled, number, port, positive, positive_millis, set,
};

fn directory(value: &str) -> Result<String, &'static str> {
    let path = value.trim_matches('/');
    if path.is_empty() { Err("a directory") } else { Ok(format!("{path}/version-2")) }
}

/// In thousandths, without a float: `0.33` is 330; negative is off, above 1 means the default.
fn factor(value: &str) -> Result<Option<u32>, &'static str> {
    const EXPECTED: &str = "a decimal number such as 0.33";
    if let Some(rest) = value.strip_prefix('-') {
        return factor(rest).map(|_| None);
    }
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let digits = part.bytes().chain(std::iter::repeat(b'0')).take(3);
    let mut thousandths: u32 = if whole.is_empty() { 0 } else { number(whole, EXPECTED)? };
    if (whole.is_empty() && part.is_empty()) || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    for digit in digits {
        thousandths =
            thousandths.checked_mul(10).and_then(|t| t.checked_add(u32::from(digit - b'0'))).ok_or(EXPECTED)?;
    }
    Ok(Some(if thousandths > 1000 { 330 } else { thousandths }))
}

/// Every key, in the reference's order.
pub(super) const KEYS: &[Key<ServerConfig>] = &[
    set("tickTime", "3000", |c, v| positive_millis(v).map(|ms| c.tick_time = ms)),
    set("initLimit", "required in an ensemble", |c, v| positive(v).map(|n| c.init_limit = n)),
    set("syncLimit", "required in an ensemble", |c, v| positive(v).map(|n| c.sync_limit = n)),
    set("connectToLearnerMasterLimit", "0 (initLimit)", |c, v| {
        number(v, "a number of ticks").map(|n| c.connect_to_learner_master_limit = n)
    }),
    set("minSessionTimeout", "2 ticks", |c, v| millis_or_default(v).map(|ms| c.min_session_timeout = ms)),
    set("maxSessionTimeout", "20 ticks", |c, v| millis_or_default(v).map(|ms| c.max_session_timeout = ms)),
    // The log goes where the data goes unless dataLogDir says otherwise; a later dataLogDir overwrites this.
    set("dataDir", "none", |c, v| {
        directory(v).map(|path| {
            c.data_log_dir.clone_from(&path);
            c.data_dir = path;
        })
    }),
    set("dataLogDir", "dataDir", |c, v| directory(v).map(|path| c.data_log_dir = path)),
    set("clientPort", "none", |c, v| port(v).map(|port| c.client_port = port)),
    not_modelled("clientPortAddress", "all addresses"),
    not_modelled("secureClientPort", "none"),
    not_modelled("secureClientPortAddress", "all addresses"),
    set("maxClientCnxns", "60", |c, v| number(v, "a number of connections").map(|n| c.max_client_cnxns = n)),
    set("maxCnxns", "0 (no limit)", |c, v| number(v, "a number of connections").map(|n| c.max_cnxns = n)),
    not_modelled("clientPortListenBacklog", "-1"),
    set("electionAlg", "3", |_, v| if v == "3" { Ok(()) } else { Err("3, the only algorithm this era supports") }),
    not_modelled("electionPort", "2182"),
    set("peerType", "participant", |c, v| {
        let named = [LearnerType::Participant, LearnerType::Observer];
        let peer_type =
            named.into_iter().find(|it| v.eq_ignore_ascii_case(it.name())).ok_or("participant or observer")?;
        c.peer_type = peer_type;
        Ok(())
    }),
    set("leaderServes", "yes", |c, v| boolean(v).map(|yes| c.leader_serves = yes)),
    set("cnxTimeout", "5000", |c, v| positive_millis(v).map(|ms| c.cnx_timeout = ms)),
    set("quorumCnxnTimeoutMs", "-1 (syncLimit ticks)", |c, v| {
        millis_or_default(v).map(|ms| c.quorum_cnxn_timeout = ms)
    }),
    not_modelled("electionPortBindRetry", "3"),
    set("fastleader.minNotificationInterval", "200", |c, v| {
        positive_millis(v).map(|ms| c.min_notification_interval = ms)
    }),
    set("fastleader.maxNotificationInterval", "60000", |c, v| {
        positive_millis(v).map(|ms| c.max_notification_interval = ms)
    }),
    set("leader.maxTimeToWaitForEpoch", "-1 (off)", |c, v| {
        millis_or_default(v).map(|ms| c.max_time_to_wait_for_epoch = ms)
    }),
    not_modelled("leader.ackLoggingFrequency", "1000"),
    not_modelled("leader.closeSocketAsync", "false"),
    not_modelled("learner.closeSocketAsync", "false"),
    not_modelled("learner.asyncSending", "false"),
    set("leaderConnectDelayDuringRetryMs", "100", |c, v| millis(v).map(|ms| c.leader_connect_delay = ms)),
    set("leader.maxConcurrentSnapSyncs", "10", |c, v| positive(v).map(|n| c.max_concurrent_snap_syncs = n as usize)),
    set("leader.maxConcurrentDiffSyncs", "100", |c, v| positive(v).map(|n| c.max_concurrent_diff_syncs = n as usize)),
    set("forceSnapshotSync", "false", |c, v| boolean(v).map(|yes| c.force_snapshot_sync = yes)),
    set("snapshotSizeFactor", "0.33", |c, v| factor(v).map(|f| c.snapshot_size_factor = f)),
    set("commitLogCount", "500", |c, v| number(v, "a number of txns").map(|n: usize| c.commit_log_count = n.max(500))),
    set("globalOutstandingLimit", "1000", |c, v| positive(v).map(|n| c.global_outstanding_limit = n)),
    not_modelled("request_throttle_max_requests", "0 (off)"),
    not_modelled("throttled_op_wait_time", "0 (off)"),
    not_modelled("request_stale_connection_check", "true"),
    not_modelled("request_stale_latency_check", "false"),
    not_modelled("largeRequestMaxBytes", "104857600"),
    not_modelled("largeRequestThreshold", "-1 (off)"),
    not_modelled("connection_throttle_tokens", "0 (off)"),
    set("snapCount", "100000", |c, v| number(v, "a number of txns").map(|n: u32| c.snap_count = n.max(2))),
    set("snapSizeLimitInKb", "4194304", |c, v| {
        number(v, "a number of KiB").map(|n: i64| c.snap_size_limit_kb = u64::try_from(n).unwrap_or(0))
    }),
    set("preAllocSize", "65536", |c, v| positive(v).map(|n| c.pre_alloc_size_kb = u64::from(n))),
    set("txnLogSizeLimitInKb", "-1 (off)", |c, v| {
        number(v, "a number of KiB, or -1").map(|n: i64| c.txn_log_size_limit_kb = u64::try_from(n).ok())
    }),
    set("forceSync", "yes", |c, v| boolean(v).map(|yes| c.force_sync = yes)),
    not_modelled("fsync.warningthresholdms", "1000"),
    set("flushDelay", "0", |c, v| millis(v).map(|ms| c.flush_delay = ms)),
    set("maxBatchSize", "1000", |c, v| positive(v).map(|n| c.max_batch_size = n as usize)),
    set("maxWriteQueuePollTime", "flushDelay / 3", |c, v| {
        millis_or_default(v).map(|ms| c.max_write_queue_poll_time = ms)
    }),
    set("autopurge.snapRetainCount", "3", |c, v| positive(v).map(|n| c.snap_retain_count = (n as usize).max(3))),
    set("autopurge.purgeInterval", "0 (off)", |c, v| {
        number(v, "a number of hours")
            .map(|hours: u64| c.purge_interval = (hours > 0).then(|| Span::secs(3_600) * hours))
    }),
    set("syncEnabled", "true", |c, v| boolean(v).map(|yes| c.sync_enabled = yes)),
    set("observer.reconnectDelayMs", "0", |c, v| millis(v).map(|ms| c.observer_reconnect_delay = ms)),
    set("observer.election.DelayMs", "200", |c, v| millis(v).map(|ms| c.observer_election_delay = ms)),
    not_modelled("observerMasterPort", "0 (off)"),
    set("localSessionsEnabled", "false", |c, v| boolean(v).map(|yes| c.local_sessions_enabled = yes)),
    set("localSessionsUpgradingEnabled", "false", |c, v| {
        boolean(v).map(|yes| c.local_sessions_upgrading_enabled = yes)
    }),
    set("reconfigEnabled", "false", |c, v| boolean(v).map(|yes| c.reconfig_enabled = yes)),
    set("standaloneEnabled", "true", |c, v| boolean(v).map(|yes| c.standalone_enabled = yes)),
    not_modelled("dynamicConfigFile", "none"),
    not_modelled("quorumListenOnAllIPs", "false"),
    set("readonlymode.enabled", "false", |c, v| boolean(v).map(|yes| c.read_only_mode = yes)),
    set("4lw.commands.whitelist", "srvr", |c, v| {
        c.four_letter_words = if v == "*" {
            FourLetterWord::ALL.into()
        } else {
            v.split(',').filter_map(|word| FourLetterWord::from_name(word.trim())).collect()
        };
        Ok(())
    }),
    not_modelled("admin.enableServer", "true"),
    not_modelled("admin.serverPort", "8080"),
    not_modelled("metricsProvider.className", "none"),
    not_modelled("metricsProvider.httpHost", "0.0.0.0"),
    not_modelled("metricsProvider.httpPort", "7000"),
    not_modelled("metricsProvider.exportJvmInfo", "true"),
    set("skipACL", "no", |c, v| boolean(v).map(|yes| c.skip_acl = yes)),
    not_modelled("enableEagerACLCheck", "false"),
    set("extendedTypesEnabled", "false", |c, v| boolean(v).map(|yes| c.extended_types_enabled = yes)),
    set("znode.container.checkIntervalMs", "60000", |c, v| {
        positive_millis(v).map(|ms| c.container_check_interval = ms)
    }),
    set("znode.container.maxPerMinute", "10000", |c, v| positive(v).map(|n| c.container_max_per_minute = n)),
    set("znode.container.maxNeverUsedIntervalMs", "0 (off)", |c, v| {
        millis(v).map(|ms| c.container_max_never_used = Some(ms).filter(|&ms| ms > Span::ZERO))
    }),
    set("enforceQuota", "false", |c, v| boolean(v).map(|yes| c.enforce_quota = yes)),
    set("DigestAuthenticationProvider.superDigest", "none", |c, v| {
        let is_digest = v.split_once(':').is_some_and(|(user, digest)| !user.is_empty() && !digest.is_empty());
        c.super_digest = Some(v.to_owned());
        if is_digest { Ok(()) } else { Err("a user and a digest, parted by a colon") }
    }),
    set("digest.enabled", "true", |c, v| boolean(v).map(|yes| c.digest_enabled = yes)),
    set("closeSessionTxn.enabled", "true", |c, v| boolean(v).map(|yes| c.close_session_txn_enabled = yes)),
    set("serializeLastProcessedZxid.enabled", "true", |c, v| {
        boolean(v).map(|yes| c.serialize_last_processed_zxid = yes)
    }),
    set("snapshot.trust.empty", "false", |c, v| boolean(v).map(|yes| c.snapshot_trust_empty = yes)),
    not_modelled("snapshot.compression.method", "none"),
    set("db.autocreate", "true", |c, v| boolean(v).map(|yes| c.db_autocreate = yes)),
    not_modelled("datadir.autocreate", "true"),
    set("jute.maxbuffer", "1048575", |c, v| positive(v).map(|n| c.jute_max_buffer = n)),
    not_modelled("jute.maxbuffer.extrasize", "jute.maxbuffer"),
    set("nio.sessionlessCnxnTimeout", "10000", |c, v| positive_millis(v).map(|ms| c.sessionless_cnxn_timeout = ms)),
    not_modelled("commitProcessor.numWorkerThreads", "number of cores"),
    set("commitProcessor.maxReadBatchSize", "-1", |c, v| {
        number(v, "a number of requests, or -1").map(|n: i64| c.max_read_batch_size = usize::try_from(n).ok())
    }),
    set("commitProcessor.maxCommitBatchSize", "1", |c, v| positive(v).map(|n| c.max_commit_batch_size = n as usize)),
    not_modelled("commitProcessor.shutdownTimeout", "5000"),
    not_modelled("follower.skipLearnerRequestToNextProcessor", "false"),
    not_modelled("forward_learner_requests_to_commit_processor_disabled", "false"),
    not_modelled("maxResponseCacheSize", "400"),
    not_modelled("maxGetChildrenResponseCacheSize", "400"),
    set("testingonly.initialZxid", "none", |c, v| number(v, "a counter").map(|n| c.initial_zxid = Some(n))),
];

#[cfg(test)]
mod tests {
    use super::{KEYS, factor};

    #[test]
    fn every_key_is_listed_once() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..at].iter().all(|earlier| earlier.name != key.name), "{} is listed twice", key.name);
        }
    }

    #[test]
    fn the_snapshot_size_factor_is_read_as_the_real_server_reads_it() {
        assert_eq!(factor("0.33"), Ok(Some(330)));
        assert_eq!(factor("1"), Ok(Some(1000)));
        assert_eq!(factor("1.5"), Ok(Some(330)));
        assert_eq!(factor("-1"), Ok(None));
        assert!(factor("a lot").is_err());
        assert!(factor("").is_err());
    }
}
