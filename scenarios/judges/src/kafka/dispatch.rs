//! What the engine saw, translated into what the judges of Kafka take.

use broker::Broker;
use broker::fact::{KafkaFact, Side};
use clients::kafka::{KafkaClientFact, KafkaWorkFact};
use engine::{Core, Fault, Findings, Hosts, Seen, SeenWhat};
use jute::Zxid;
use jute::client::{ClientFrame, ClientPacket, Request as ZkRequest, ServerFrame};
use jute::op::EventType;
use kafkawire::znode::{self, Znode};
use kafkawire::{BrokerId, KafkaMessage, TopicPartition};
use machine::disk::PageCache;
use machine::{HostId, Instant};
use world::{Fact, Kind, Node, Packet, Topology};
use zkclient::ZkClientFact;

use super::cluster::{BrokerAt, Cluster, KafkaBroker, KafkaClientKind, KafkaClientSeat, Seat};
use super::consumers::Leadership;
use super::liveness::{CachedPartition, ClusterLook};
use super::logs::Ended;
use super::oracle::{DiskLook, KafkaOracle};
use crate::{Moment, Oracle};

/// The judges of the Kafka cluster of a world.
///
/// A clone is a fork: it shares the histories until one side goes on.
#[derive(Clone, Debug)]
pub struct KafkaJudges {
    oracle: KafkaOracle,
    /// How much of ZooKeeper's committed history was taken, and what came last.
    taken: usize,
    last_zxid: Zxid,
    last: Moment,
}

impl KafkaJudges {
    /// Judges of a world made from a scenario; none if it has no brokers.
    #[must_use]
    pub fn of(topology: &Topology, probes: bool, situations: Vec<String>) -> Option<Self> {
        if topology.brokers.is_empty() {
            return None;
        }
        let brokers = topology.brokers.iter();
        let clients = topology.clients.iter().enumerate().filter_map(|(number, it)| {
            let kind = match it.kind {
                Kind::Produce => KafkaClientKind::Producer,
                Kind::Consume => KafkaClientKind::Consumer,
                Kind::ZookeeperConsume => KafkaClientKind::ZkConsumer,
                Kind::CreateTopics => KafkaClientKind::Admin,
                // An operator speaks to ZooKeeper alone.
                Kind::MoveController
                | Kind::UniqueCreates
                | Kind::CompareAndSet
                | Kind::Ephemerals
                | Kind::Sequentials
                | Kind::Multi
                | Kind::Watches
                | Kind::Lock
                | Kind::Reconfigure
                | Kind::Election
                | Kind::Queue
                | Kind::Barrier
                | Kind::DoubleBarrier
                | Kind::RandomOperations => return None,
            };
            Some(KafkaClientSeat {
                host: it.host,
                number: u16::try_from(number).expect("a world has few clients"),
                name: it.name.clone(),
                kind,
                probes: probes && it.probes,
            })
        });
        let config = &topology.kafka;
        Some(Self::new(Cluster {
            brokers: brokers.map(|it| KafkaBroker { host: it.host, id: it.id, name: it.name.clone() }).collect(),
            clients: clients.collect(),
            min_insync: config.min_insync_replicas,
            unclean_election: config.unclean_leader_election_enable,
            flush_each: config.log.flush_messages == 1,
            situations,
        }))
    }

    /// Judges of that cluster.
    ///
    /// Panics if it contradicts itself.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        let last = Moment { event: 0, at: Instant::ZERO, host: cluster.brokers[0].host };
        Self { oracle: KafkaOracle::new(cluster), taken: 0, last_zxid: Zxid::ZERO, last }
    }

    /// What they know, and what they have counted.
    #[must_use]
    pub const fn oracle(&self) -> &KafkaOracle {
        &self.oracle
    }

    /// Takes what ZooKeeper has committed since.
    fn catch_up(&mut self, zookeeper: &Oracle, findings: &mut Findings) {
        let canon = &zookeeper.canon;
        let last = self.taken.checked_sub(1).and_then(|at| canon.get(at)).map(|it| it.zxid);
        if self.taken > 0 && last != Some(self.last_zxid) {
            let entries = canon.iter_from(0).map(|it| (it.moment, &*it.entry));
            self.oracle.history_retold(entries);
            self.taken = canon.len();
        } else {
            for committed in canon.iter_from(self.taken) {
                self.oracle.committed_in_zookeeper(committed.moment, &committed.entry, findings);
                self.taken += 1;
            }
        }
        self.last_zxid = canon.last_zxid();
    }

    #[inline]
    fn is_behind(&self, zookeeper: &Oracle) -> bool {
        zookeeper.canon.len() != self.taken || zookeeper.canon.last_zxid() != self.last_zxid
    }

    /// Something was seen; the judges of the ensemble have been told already.
    pub(crate) fn observe(&mut self, seen: &Seen<'_, Node>, zookeeper: &Oracle, findings: &mut Findings) {
        if self.is_behind(zookeeper) {
            self.catch_up(zookeeper, findings);
        }
        let moment = Moment { event: seen.event, at: seen.at, host: seen.host };
        self.last = moment;
        match self.oracle.seating.seat(seen.host) {
            Seat::Broker(broker) => self.broker_seen(moment, broker, seen.what, findings),
            Seat::Client(client) => self.client_seen(moment, client, seen.what, zookeeper, findings),
            Seat::Stranger => {}
        }
    }

    /// A step is over.
    pub(crate) fn inspect(&mut self, hosts: &Hosts<'_, Node>, zookeeper: &Oracle, findings: &mut Findings) {
        if self.is_behind(zookeeper) {
            self.catch_up(zookeeper, findings);
        }
        self.oracle.settle(&Eyes { hosts: *hosts, core: None });
    }

    pub(crate) fn pending(&mut self, now: Instant, hosts: &Hosts<'_, Node>, core: Option<&Core>) -> Option<String> {
        self.oracle.unsettled(Moment { at: now, ..self.last }, &Eyes { hosts: *hosts, core })
    }

    pub(crate) fn finish(&mut self, now: Instant, findings: &mut Findings) {
        self.oracle.finish(Moment { at: now, ..self.last }, findings);
    }

    fn broker_seen(&mut self, moment: Moment, broker: BrokerAt, what: SeenWhat<'_, Node>, findings: &mut Findings) {
        let oracle = &mut self.oracle;
        match what {
            SeenWhat::Stated { fact: Fact::Broker(broker::Fact::Kafka(fact)) } => {
                self.broker_stated(moment, broker, fact, findings);
            }
            SeenWhat::Stated { fact: Fact::Broker(broker::Fact::Zk(fact)) } => {
                if let ZkClientFact::WatchDelivered { path, event: EventType::NodeDeleted, .. } = fact
                    && **path == *znode::CONTROLLER
                {
                    oracle.stands(moment, broker);
                }
                self.session_stated(moment.host, fact);
            }
            SeenWhat::Stated { fact: Fact::Coordinator(_) | Fact::ZkWorkload(_) | Fact::KafkaClient(_) } => {}
            SeenWhat::Sent { to, on, message: Packet::Kafka(message) } => match message {
                KafkaMessage::Request { correlation, body, .. } => {
                    if let Some(to) = oracle.seating.broker_on(to) {
                        oracle.control_sent(moment, moment.host, to, body, findings);
                        oracle.fetch_sent(moment, broker, on, to, correlation.0, body);
                    }
                }
                KafkaMessage::Response { correlation, body, .. } => {
                    oracle.response_sent(moment, broker, on, correlation.0, body, findings);
                }
            },
            SeenWhat::Delivered { from, on, message: Packet::Kafka(message) } => match message {
                KafkaMessage::Request { correlation, body, .. } => {
                    oracle.request_delivered(broker, on, correlation.0, body);
                    oracle.control_delivered(from, broker, body);
                }
                KafkaMessage::Response { correlation, body, .. } => {
                    if let Some(from) = oracle.seating.broker_on(from) {
                        oracle.control_answered(moment.host, from, body);
                        oracle.fetch_answered(broker, on, correlation.0, body);
                    }
                }
            },
            SeenWhat::Wrote { path, offset, bytes } => oracle.wrote(moment, broker, path, offset, bytes, findings),
            SeenWhat::Resized { path, to } => oracle.resized(moment, broker, path, to, findings),
            SeenWhat::Renamed { from, to } => oracle.renamed(moment, broker, from, to, findings),
            SeenWhat::Removed { path } => oracle.removed(moment, broker, path, findings),
            SeenWhat::Created { path } => oracle.created(moment, broker, path, findings),
            SeenWhat::SyncAsked { ticket, target } => oracle.sync_asked(broker, ticket, target),
            SeenWhat::Durable { ticket, result } => oracle.synced(broker, ticket, result.is_ok()),
            SeenWhat::Booted { incarnation, disk } => oracle.booted(moment, broker, incarnation.0, disk),
            SeenWhat::Exited { .. } | SeenWhat::Crashed { power: false, .. } => {
                oracle.ended(moment, broker, Ended::Process);
            }
            SeenWhat::Crashed { power: true, replaced, disk } => {
                let how = if replaced { Ended::DiskReplaced(disk) } else { Ended::PowerLost(disk) };
                oracle.ended(moment, broker, how);
            }
            SeenWhat::Lost { on, .. } | SeenWhat::Closed { on } => oracle.end_gone(broker, on),
            SeenWhat::Struck { fault: Fault::BitRot { .. }, targets, .. } => oracle.disks_rot(targets),
            SeenWhat::Sent { message: Packet::ZkClient(ClientPacket::ToServer(frame)), .. } => {
                let ClientFrame::Request { xid, request } = frame else { return };
                if let ZkRequest::SetData(set) = request
                    && let Some(Znode::PartitionState(partition)) = Znode::of(&set.path)
                {
                    oracle.state_write_sent(moment, broker, &partition, set.version, findings);
                }
                oracle.zookeeper_asked(broker, *xid, request);
            }
            SeenWhat::Delivered { message: Packet::ZkClient(ClientPacket::ToClient(frame)), .. } => {
                if let ServerFrame::Reply { header, response } = frame {
                    oracle.zookeeper_answered(broker, header, response.as_ref());
                }
            }
            SeenWhat::Sent { message: Packet::ZkClient(_) | Packet::ZkQuorum(_) | Packet::ZkElection(_), .. }
            | SeenWhat::Delivered {
                message: Packet::ZkClient(_) | Packet::ZkQuorum(_) | Packet::ZkElection(_), ..
            }
            | SeenWhat::DatagramSent { .. }
            | SeenWhat::DatagramDelivered { .. }
            | SeenWhat::Paused
            | SeenWhat::Resumed
            | SeenWhat::Dialled { .. }
            | SeenWhat::Opened { .. }
            | SeenWhat::Accepted { .. }
            | SeenWhat::Refused { .. }
            | SeenWhat::Struck { .. } => {}
        }
    }

    fn session_stated(&mut self, host: HostId, fact: &ZkClientFact) {
        match fact {
            ZkClientFact::SessionConnected { session, .. } => self.oracle.session_connected(host, *session),
            ZkClientFact::ReadOnlyConnected { .. }
            | ZkClientFact::SessionMoved { .. }
            | ZkClientFact::AuthFailed { .. }
            | ZkClientFact::WatchRemoved { .. }
            | ZkClientFact::SessionDisconnected { .. }
            | ZkClientFact::SessionExpired { .. }
            | ZkClientFact::SessionClosed { .. }
            | ZkClientFact::WatchSet { .. }
            | ZkClientFact::WatchDelivered { .. }
            | ZkClientFact::WatchesResent { .. } => {}
        }
    }

    fn broker_stated(&mut self, moment: Moment, at: BrokerAt, fact: &KafkaFact, findings: &mut Findings) {
        let oracle = &mut self.oracle;
        match fact {
            KafkaFact::LogLoaded { topic, partition, log_end, .. } => {
                oracle.log_loaded(moment, at, topic.as_str(), *partition, log_end.0, findings);
            }
            KafkaFact::Registered { epoch, session, .. } => {
                oracle.stands(moment, at);
                oracle.registered(moment, at, *epoch, *session, findings);
            }
            KafkaFact::RegistrationRefused { session, owner, .. } => {
                oracle.registration_refused(moment, at, *session, *owner, findings);
            }
            KafkaFact::SessionExpired { .. } => oracle.broker_session_expired(moment, at),
            KafkaFact::ControllerElected { epoch, .. } => oracle.controls(at, Some(*epoch)),
            KafkaFact::ControllerResigned { .. } => oracle.controls(at, None),
            KafkaFact::ControlRequestApplied { api, controller, controller_epoch, broker_epoch, .. } => {
                oracle.control_applied(moment, at, api, *controller, *controller_epoch, *broker_epoch, findings);
            }
            KafkaFact::BecameLeader { topic, partition, leader_epoch, start, .. } => {
                oracle.epoch_began(at, topic.as_str(), *partition, *leader_epoch, start.0);
                oracle.became_leader(moment, at, topic.as_str(), *partition, *leader_epoch, findings);
            }
            KafkaFact::BecameFollower { topic, partition, leader_epoch, .. } => {
                oracle.became_follower(moment, at, topic.as_str(), *partition, *leader_epoch, findings);
            }
            KafkaFact::ReplicaStopped { topic, partition, deleted, .. } => {
                oracle.replica_stopped(at, topic.as_str(), *partition, *deleted);
            }
            KafkaFact::Appended { topic, partition, side, base, leader_epoch, checksum, .. } => {
                let (leads, base) = (*side == Side::Leader, base.0);
                let (topic, partition) = (topic.as_str(), *partition);
                oracle.appended(moment, at, topic, partition, leads, base, *leader_epoch, *checksum, findings);
            }
            KafkaFact::HighWatermark { topic, partition, side, leader_epoch, offset, .. } => {
                let leads = *side == Side::Leader;
                oracle.high_watermark(moment, at, topic.as_str(), *partition, leads, *leader_epoch, offset.0, findings);
            }
            KafkaFact::IsrChanged { topic, partition, leader_epoch, isr, .. } => {
                oracle.isr_changed(at, topic.as_str(), *partition, *leader_epoch, isr);
            }
            KafkaFact::ProduceAcknowledged { topic, partition, last, high_watermark, isr_size, min_insync, .. } => {
                let (topic, partition) = (topic.as_str(), *partition);
                let (last, passed) = (last.0, high_watermark.0);
                oracle.acknowledged(moment, at, topic, partition, last, passed, *isr_size, *min_insync, findings);
            }
            KafkaFact::RecordsServed { topic, partition, end, high_watermark, .. } => {
                oracle.records_served(moment, at, topic.as_str(), *partition, end.0, high_watermark.0, findings);
            }
            // Files, messages or ZooKeeper's history say it.
            KafkaFact::Running { .. } => {
                oracle.broker_serves(at);
                oracle.stands(moment, at);
            }
            KafkaFact::Started { .. }
            | KafkaFact::OwnRegistrationDeleted { .. }
            | KafkaFact::Stopping { .. }
            | KafkaFact::Stopped { .. }
            | KafkaFact::ControllerReady { .. }
            | KafkaFact::PartitionLeaderElected { .. }
            | KafkaFact::TopicCreated { .. }
            | KafkaFact::BrokerChange { .. }
            | KafkaFact::ControlRequestRefused { .. }
            | KafkaFact::Truncated { .. }
            | KafkaFact::IsrChangeRefused { .. }
            | KafkaFact::LogDirFailed { .. } => {}
        }
    }

    fn client_seen(
        &mut self,
        moment: Moment,
        client: usize,
        what: SeenWhat<'_, Node>,
        zookeeper: &Oracle,
        findings: &mut Findings,
    ) {
        match what {
            SeenWhat::Stated { fact: Fact::KafkaClient(KafkaClientFact::Work(fact)) } => {
                self.client_stated(moment, client, fact, zookeeper, findings);
            }
            SeenWhat::Stated { fact: Fact::KafkaClient(KafkaClientFact::Session(fact)) } => {
                self.session_stated(moment.host, fact);
            }
            SeenWhat::Delivered { message: Packet::Kafka(KafkaMessage::Response { body, .. }), .. } => {
                self.oracle.answer_delivered(client, body);
            }
            SeenWhat::Booted { .. } => self.oracle.client_started(client),
            SeenWhat::Exited { .. } | SeenWhat::Crashed { .. } => self.oracle.client_ended(client),
            SeenWhat::Stated { fact: Fact::Coordinator(_) | Fact::Broker(_) | Fact::ZkWorkload(_) }
            | SeenWhat::Sent { .. }
            | SeenWhat::Delivered { .. }
            | SeenWhat::DatagramSent { .. }
            | SeenWhat::DatagramDelivered { .. }
            | SeenWhat::Wrote { .. }
            | SeenWhat::Resized { .. }
            | SeenWhat::Renamed { .. }
            | SeenWhat::Removed { .. }
            | SeenWhat::Created { .. }
            | SeenWhat::SyncAsked { .. }
            | SeenWhat::Durable { .. }
            | SeenWhat::Paused
            | SeenWhat::Resumed
            | SeenWhat::Dialled { .. }
            | SeenWhat::Opened { .. }
            | SeenWhat::Accepted { .. }
            | SeenWhat::Refused { .. }
            | SeenWhat::Lost { .. }
            | SeenWhat::Closed { .. }
            | SeenWhat::Struck { .. } => {}
        }
    }

    fn client_stated(
        &mut self,
        moment: Moment,
        at: usize,
        fact: &KafkaWorkFact,
        zookeeper: &Oracle,
        findings: &mut Findings,
    ) {
        let oracle = &mut self.oracle;
        match fact {
            KafkaWorkFact::ProbeSucceeded { .. } => oracle.probed(at),
            KafkaWorkFact::TopicsReady { .. } => oracle.topics_ready(at),
            KafkaWorkFact::RecordSent { record, topic, partition, .. } => {
                oracle.record_sent(moment, record.bits(), topic.as_str(), *partition);
            }
            KafkaWorkFact::RecordAcknowledged { record, topic, partition, acks, offset } => {
                let (record, topic) = (record.bits(), topic.as_str());
                oracle.record_acknowledged(moment, record, topic, *partition, *acks, offset.0, findings);
            }
            KafkaWorkFact::RecordFailed { record, topic, partition, surely, .. } => {
                oracle.record_failed(moment, record.bits(), topic.as_str(), *partition, *surely, findings);
            }
            KafkaWorkFact::PartitionAssigned { group, topic, partition, position, .. } => {
                oracle.partition_assigned(moment, at, group, topic.as_str(), *partition, position.0, findings);
            }
            KafkaWorkFact::PartitionRevoked { group, topic, partition, .. } => {
                oracle.partition_revoked(at, group, topic.as_str(), *partition);
            }
            KafkaWorkFact::RecordConsumed { topic, partition, offset, record, .. } => {
                oracle.record_consumed(moment, at, topic.as_str(), *partition, offset.0, record.bits(), findings);
            }
            KafkaWorkFact::PositionReset { topic, partition, to, .. } => {
                oracle.position_reset(moment, at, topic.as_str(), *partition, to.0);
            }
            KafkaWorkFact::OffsetCommitInvoked { commit, group, topic, partition, .. } => {
                oracle.commit_invoked(at, *commit, group, topic.as_str(), *partition);
            }
            KafkaWorkFact::OffsetCommitCompleted { commit, group, topic, partition, offset, outcome, .. } => {
                let (topic, partition, is_ok) = (topic.as_str(), *partition, *outcome == "ok");
                oracle.commit_completed(moment, at, *commit, group, topic, partition, offset.0, is_ok, findings);
            }
            KafkaWorkFact::OffsetFetchInvoked { group, topic, partition, .. } => {
                oracle.fetch_invoked(moment, at, group, topic.as_str(), *partition, leadership(zookeeper));
            }
            KafkaWorkFact::OffsetFetched { group, topic, partition, offset, .. } => {
                let (topic, partition, ensemble) = (topic.as_str(), *partition, leadership(zookeeper));
                oracle.offset_fetched(moment, at, group, topic, partition, offset.0, ensemble, findings);
            }
            KafkaWorkFact::RebalanceFinished { .. } | KafkaWorkFact::RebalanceBegun { .. } => {
                oracle.rebalanced(at, None);
            }
            KafkaWorkFact::RebalanceFailed { .. } => oracle.rebalanced(at, Some(moment)),
            KafkaWorkFact::Started { .. }
            | KafkaWorkFact::Stopped { .. }
            | KafkaWorkFact::ProducerBrokersKnown { .. }
            | KafkaWorkFact::ClaimRefused { .. } => {}
        }
    }
}

fn leadership(zookeeper: &Oracle) -> Leadership {
    let mut leading = zookeeper.servers.iter().filter(|server| server.leads.is_some());
    let leader = leading.next().filter(|_| leading.next().is_none());
    Leadership { terms: zookeeper.leaders.len(), applied: leader.map(|it| it.memory.last(&zookeeper.canon)) }
}

/// Looks at hosts.
struct Eyes<'a> {
    hosts: Hosts<'a, Node>,
    core: Option<&'a Core>,
}

impl<'a> Eyes<'a> {
    fn broker(&self, host: HostId) -> Option<&'a Broker> {
        self.hosts.machine(host).and_then(Node::as_broker)
    }
}

impl DiskLook for Eyes<'_> {
    fn disk(&self, host: HostId) -> &PageCache {
        self.hosts.disk(host)
    }
}

impl ClusterLook for Eyes<'_> {
    fn is_running(&self, host: HostId) -> bool {
        self.hosts.is_running(host)
    }

    fn is_meant(&self, host: HostId) -> bool {
        self.core.is_none_or(|core| core.members.contains(&host))
    }

    fn alive(&self, host: HostId) -> Vec<BrokerId> {
        self.broker(host).map_or_else(Vec::new, |broker| broker.cache().alive.keys().copied().collect())
    }

    fn cached(&self, host: HostId, partition: &TopicPartition) -> Option<CachedPartition<'_>> {
        let cached = self.broker(host)?.cache().partition(partition)?;
        Some(CachedPartition {
            leader: cached.leader,
            leader_epoch: cached.leader_epoch,
            isr: &cached.isr,
            version: cached.zk_version,
        })
    }

    fn waits_for(&self, host: HostId) -> Option<String> {
        self.broker(host).map(|broker| broker.controller().pending())
    }
}
