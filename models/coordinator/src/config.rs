//! A server's static configuration: what `zoo.cfg` and `myid` say, and what the testbed adds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use jute::client::FourLetterWord;
use jute::{Sid, Zxid};
use machine::{HostId, Port, Span};
use serde::{Deserialize, Serialize};

use crate::defect::Defects;
use crate::quorum_verifier::{Hierarchy, LearnerType, Member, QuorumVerifier};

/// Whose habits a server has where releases differ (the reference tags what was seen of 3.8.0 `[R38]`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Release {
    /// 3.8.0: events carry no zxid and are told to whoever watches, a connection watches a path in one mode only (ZOOKEEPER-4466), a
    /// create2 in a multi is answered by its path alone, no ACL names an IPv6 address, and a top-level check is a write
    /// (ZOOKEEPER-2623).
    #[serde(rename = "3.8.0")]
    V3_8_0,
    /// 3.9.5.
    #[default]
    #[serde(rename = "3.9.5")]
    V3_9_5,
}

/// What CPU work costs, per step, on the lane that does it. Zero by default: only the order of steps matters then.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Costs {
    /// Preparing one request.
    pub prep: Span,
    /// Appending one txn to the log's buffer.
    pub log: Span,
    /// Applying one txn or answering one read.
    pub apply: Span,
    /// Serialising one chunk of a snapshot.
    pub snapshot_chunk: Span,
    /// Handling one leader election notification.
    pub notification: Span,
}

/// A server's configuration: the machine's image.
///
/// Keys of zookeeper.md §1.2 that the model does not use are absent. Those that a boot may want to change between two lives
/// of a server (a rolling change of configuration) can all be changed: nothing here is on the disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerConfig {
    /// `myid`.
    pub myid: Sid,
    /// `server.N`: voters and observers, by id.
    pub members: BTreeMap<Sid, Member>,
    /// `group.N` and `weight.N`: hierarchical quorums instead of majorities.
    pub hierarchy: Option<Hierarchy>,
    /// `peerType`, of a server that its own list does not name; else the list wins.
    pub peer_type: LearnerType,
    /// `standaloneEnabled`: with fewer than two voters the server runs standalone.
    pub standalone_enabled: bool,
    /// `clientPort`.
    pub client_port: Port,
    /// `tickTime`.
    pub tick_time: Span,
    /// `initLimit`, in ticks.
    pub init_limit: u32,
    /// `syncLimit`, in ticks.
    pub sync_limit: u32,
    /// `connectToLearnerMasterLimit`, in ticks; 0 means `initLimit`.
    pub connect_to_learner_master_limit: u32,
    /// `minSessionTimeout`; none means two ticks.
    pub min_session_timeout: Option<Span>,
    /// `maxSessionTimeout`; none means twenty ticks.
    pub max_session_timeout: Option<Span>,
    /// `dataDir` with its `version-2`: the prefix of snapshot and epoch file paths.
    pub data_dir: String,
    /// `dataLogDir` with its `version-2`: the prefix of txn log paths.
    pub data_log_dir: String,
    /// `maxClientCnxns`: connections per client host; 0 is no limit.
    pub max_client_cnxns: u32,
    /// `maxCnxns`: connections in all; 0 is no limit.
    pub max_cnxns: u32,
    /// `leaderServes`.
    pub leader_serves: bool,
    /// `cnxTimeout`: the connect timeout of the election channel.
    pub cnx_timeout: Span,
    /// `quorumCnxnTimeoutMs`: the read timeout of the election channel's handshake; none means `syncLimit × tickTime`.
    pub quorum_cnxn_timeout: Option<Span>,
    /// `fastleader.minNotificationInterval`.
    pub min_notification_interval: Span,
    /// `fastleader.maxNotificationInterval`.
    pub max_notification_interval: Span,
    /// How long a finished leader election waits for a better vote (`finalizeWait`, fixed in the real server).
    pub finalize_wait: Span,
    /// `leader.maxTimeToWaitForEpoch`; none is off.
    pub max_time_to_wait_for_epoch: Option<Span>,
    /// `leaderConnectDelayDuringRetryMs`.
    pub leader_connect_delay: Span,
    /// `forceSnapshotSync`.
    pub force_snapshot_sync: bool,
    /// `leader.maxConcurrentSnapSyncs`: an observer that comes while so many learners are sent the tree is turned away.
    pub max_concurrent_snap_syncs: usize,
    /// `leader.maxConcurrentDiffSyncs`: as above, of those that are sent what they lack.
    pub max_concurrent_diff_syncs: usize,
    /// `syncEnabled`: an observer writes log and snapshots.
    pub sync_enabled: bool,
    /// `observer.reconnectDelayMs`: up to so long an observer waits before it dials its leader.
    pub observer_reconnect_delay: Span,
    /// `observer.election.DelayMs`: up to so long an observer that lost its leader waits before it looks for another.
    pub observer_election_delay: Span,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// Where `zoo.cfg` is: beside it are the files of a reconfiguration.
    pub config_file: String,
    /// `snapshotSizeFactor` in thousandths; none (a negative value) switches synchronisation from the txn log off.
    pub snapshot_size_factor: Option<u32>,
    /// `commitLogCount`.
    pub commit_log_count: usize,
    /// `globalOutstandingLimit`.
    pub global_outstanding_limit: u32,
    /// `snapCount`.
    pub snap_count: u32,
    /// `snapSizeLimitInKb`; 0 is off.
    pub snap_size_limit_kb: u64,
    /// `preAllocSize`, in KiB.
    pub pre_alloc_size_kb: u64,
    /// `txnLogSizeLimitInKb`; none is off.
    pub txn_log_size_limit_kb: Option<u64>,
    /// `forceSync`.
    pub force_sync: bool,
    /// `flushDelay`.
    pub flush_delay: Span,
    /// `maxBatchSize`: txns per group commit.
    pub max_batch_size: usize,
    /// `maxWriteQueuePollTime`; none means a third of `flushDelay`.
    pub max_write_queue_poll_time: Option<Span>,
    /// `digest.enabled`.
    pub digest_enabled: bool,
    /// `closeSessionTxn.enabled`.
    pub close_session_txn_enabled: bool,
    /// `serializeLastProcessedZxid.enabled`.
    pub serialize_last_processed_zxid: bool,
    /// `snapshot.trust.empty`.
    pub snapshot_trust_empty: bool,
    /// `db.autocreate`.
    pub db_autocreate: bool,
    /// `jute.maxbuffer`, in bytes.
    pub jute_max_buffer: u32,
    /// `nio.sessionlessCnxnTimeout`.
    pub sessionless_cnxn_timeout: Span,
    /// `commitProcessor.maxReadBatchSize`; none is unlimited.
    pub max_read_batch_size: Option<usize>,
    /// `commitProcessor.maxCommitBatchSize`.
    pub max_commit_batch_size: usize,
    /// `readonlymode.enabled`: a server without a leader may be read.
    pub read_only_mode: bool,
    /// `localSessionsEnabled`: new sessions are known to their server alone.
    pub local_sessions_enabled: bool,
    /// `localSessionsUpgradingEnabled`: they become global when they make an ephemeral.
    pub local_sessions_upgrading_enabled: bool,
    /// `autopurge.snapRetainCount`: snapshots that are kept; never fewer than three.
    pub snap_retain_count: usize,
    /// `autopurge.purgeInterval`: how often older ones go, first at start; none is never.
    pub purge_interval: Option<Span>,
    /// `extendedTypesEnabled`: whether there are TTL znodes.
    pub extended_types_enabled: bool,
    /// `znode.container.checkIntervalMs`: how often empty containers and TTL znodes are looked for.
    pub container_check_interval: Span,
    /// `znode.container.maxPerMinute`.
    pub container_max_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container may wait for its first child; none is for ever.
    pub container_max_never_used: Option<Span>,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// `4lw.commands.whitelist`: the words an operator may say to the client port.
    pub four_letter_words: BTreeSet<FourLetterWord>,
    /// `skipACL`: nobody is asked who he is.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.superDigest`: `user:digest` of who may do everything.
    pub super_digest: Option<String>,
    /// `enforce.auth.schemes` with `enforce.auth.enabled`: a connection without an identity of one of these is not served; none is
    /// off.
    pub enforced_auth: Option<Vec<String>>,
    /// The IP addresses of hosts that have another than the testbed gives them: see [`ServerConfig::address_of`].
    pub addresses: BTreeMap<HostId, IpAddr>,
    /// Whose habits it has.
    pub release: Release,
    /// `testingonly.initialZxid`: the counter a new leader starts from.
    pub initial_zxid: Option<u32>,
    /// How many nodes one step of the snapshot thread serialises: what makes a snapshot fuzzy.
    pub snapshot_chunk_nodes: usize,
    /// What CPU work costs.
    pub costs: Costs,
    /// Historical bugs that are switched on.
    pub defects: Defects,
}

/// The sample configuration's `clientPort`.
pub const CLIENT_PORT: Port = Port(2181);
/// The sample configuration's quorum port.
pub const QUORUM_PORT: Port = Port(2888);
/// The sample configuration's election port.
pub const ELECTION_PORT: Port = Port(3888);

impl ServerConfig {
    /// A standalone server with the sample configuration: `tickTime` 2 s, everything else by default.
    #[must_use]
    pub fn standalone() -> Self {
        Self {
            myid: Sid::new(0),
            members: BTreeMap::new(),
            hierarchy: None,
            peer_type: LearnerType::Participant,
            standalone_enabled: true,
            client_port: CLIENT_PORT,
            tick_time: Span::secs(2),
            init_limit: 10,
            sync_limit: 5,
            connect_to_learner_master_limit: 0,
            min_session_timeout: None,
            max_session_timeout: None,
            data_dir: "data/version-2".to_owned(),
            data_log_dir: "data/version-2".to_owned(),
            max_client_cnxns: 60,
            max_cnxns: 0,
            leader_serves: true,
            cnx_timeout: Span::secs(5),
            quorum_cnxn_timeout: None,
            min_notification_interval: Span::millis(200),
            max_notification_interval: Span::secs(60),
            finalize_wait: Span::millis(200),
            max_time_to_wait_for_epoch: None,
            leader_connect_delay: Span::millis(100),
            force_snapshot_sync: false,
            reconfig_enabled: false,
            config_file: "conf/zoo.cfg".to_owned(),
            max_concurrent_snap_syncs: 10,
            max_concurrent_diff_syncs: 100,
            sync_enabled: true,
            observer_reconnect_delay: Span::ZERO,
            observer_election_delay: Span::millis(200),
            snapshot_size_factor: Some(330),
            commit_log_count: 500,
            global_outstanding_limit: 1000,
            snap_count: 100_000,
            snap_size_limit_kb: 4 * 1024 * 1024,
            pre_alloc_size_kb: 64 * 1024,
            txn_log_size_limit_kb: None,
            force_sync: true,
            flush_delay: Span::ZERO,
            max_batch_size: 1000,
            max_write_queue_poll_time: None,
            digest_enabled: true,
            close_session_txn_enabled: true,
            serialize_last_processed_zxid: true,
            snapshot_trust_empty: false,
            db_autocreate: true,
            jute_max_buffer: 0xf_ffff,
            sessionless_cnxn_timeout: Span::secs(10),
            max_read_batch_size: None,
            max_commit_batch_size: 1,
            read_only_mode: false,
            local_sessions_enabled: false,
            local_sessions_upgrading_enabled: false,
            snap_retain_count: 3,
            purge_interval: None,
            extended_types_enabled: false,
            container_check_interval: Span::secs(60),
            container_max_per_minute: 10_000,
            container_max_never_used: None,
            enforce_quota: false,
            four_letter_words: BTreeSet::from([FourLetterWord::Srvr]),
            skip_acl: false,
            super_digest: None,
            enforced_auth: None,
            addresses: BTreeMap::new(),
            release: Release::default(),
            initial_zxid: None,
            snapshot_chunk_nodes: 64,
            costs: Costs::default(),
            defects: Defects::default(),
        }
    }

    /// Server `myid` of an ensemble whose voters are `server.1`, `server.2`, … on these hosts, with the sample's ports.
    ///
    /// # Panics
    /// If there are more than 254 hosts, or `myid` is none of them.
    #[must_use]
    pub fn ensemble(myid: Sid, hosts: &[HostId]) -> Self {
        let members: BTreeMap<_, _> = (1..=u8::MAX - 1)
            .zip(hosts)
            .map(|(number, &host)| {
                let member = Member {
                    host,
                    quorum_port: QUORUM_PORT,
                    election_port: ELECTION_PORT,
                    role: LearnerType::Participant,
                    client_port: Some(CLIENT_PORT),
                };
                (Sid::new(number), member)
            })
            .collect();
        assert_eq!(members.len(), hosts.len(), "a server id fits a byte");
        assert!(members.contains_key(&myid), "myid must be in the server list");
        Self { myid, members, ..Self::standalone() }
    }

    /// The IP address of a host, as ACLs know its clients: unless it is named, 10.0.0.0 and the host's number plus one.
    #[must_use]
    pub fn address_of(&self, host: HostId) -> IpAddr {
        self.addresses.get(&host).copied().unwrap_or_else(|| Ipv4Addr::from_bits(0x0a00_0001 + host.0).into())
    }

    /// Whether this server is one of an ensemble (`isDistributed`).
    #[must_use]
    pub fn is_distributed(&self) -> bool {
        let voters = self.members.values().filter(|member| member.role == LearnerType::Participant).count();
        voters > 1 || voters == 1 && !self.standalone_enabled
    }

    /// The configuration of the ensemble as the files list it.
    ///
    /// # Panics
    /// If there are groups and a voter is in none.
    #[must_use]
    pub fn quorum(&self) -> QuorumVerifier {
        QuorumVerifier::new(self.members.clone(), self.hierarchy.clone(), Zxid::ZERO)
    }

    /// `initLimit` in time.
    #[must_use]
    pub fn init_time(&self) -> Span {
        self.tick_time * u64::from(self.init_limit)
    }

    /// `syncLimit` in time.
    #[must_use]
    pub fn sync_time(&self) -> Span {
        self.tick_time * u64::from(self.sync_limit)
    }

    /// How long a server looks for a leader before it may be read without one.
    #[must_use]
    pub fn read_only_delay(&self) -> Span {
        self.tick_time.max(Span::secs(2))
    }

    /// The shortest session timeout a client may get.
    #[must_use]
    pub fn min_session(&self) -> Span {
        self.min_session_timeout.unwrap_or(self.tick_time * 2)
    }

    /// The longest session timeout a client may get.
    #[must_use]
    pub fn max_session(&self) -> Span {
        self.max_session_timeout.unwrap_or(self.tick_time * 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> ServerConfig {
        ServerConfig::ensemble(Sid::new(2), &[HostId(0), HostId(1), HostId(2)])
    }

    #[test]
    fn one_voter_is_an_ensemble_only_if_it_must_not_stand_alone() {
        assert!(three().is_distributed());
        assert!(!ServerConfig::standalone().is_distributed());
        let mut one = ServerConfig::ensemble(Sid::new(1), &[HostId(0)]);
        assert!(!one.is_distributed());
        one.standalone_enabled = false;
        assert!(one.is_distributed());
    }

    #[test]
    fn quorum_text_lists_every_voter_and_the_version() {
        assert_eq!(
            three().quorum().text(&three()),
            "server.1=host0:2888:3888:participant;0.0.0.0:2181\n\
             server.2=host1:2888:3888:participant;0.0.0.0:2181\n\
             server.3=host2:2888:3888:participant;0.0.0.0:2181\n\
             version=0"
        );
    }
}
