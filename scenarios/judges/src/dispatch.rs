//! What the engine saw, translated into what the judges take.

use clients::kafka::KafkaClientFact;
use clients::{ClientFact, OpKind, Outcome, WorkloadFact};
use coordinator::{Fact as ServerFact, Hierarchy, LearnerType, ServerConfig};
use engine::{Fault, Findings, Hosts, Judges, Seen, SeenWhat, Step};
use jute::client::ClientPacket;
use jute::election::ElectionMessage;
use jute::op::ErrorCode;
use jute::quorum::QuorumMessage;
use jute::{SessionId, Sid};
use machine::disk::PageCache;
use machine::{EndId, HostId, Instant};
use world::{Fact, Node, Packet};
use zkclient::{WatchKind, WatchKinds, ZkClientFact};

use crate::ensemble::Place;
use crate::history::{Operation, OperationEnd, OperationKind, OperationOutcome, RecipeCall, RecipeEnd, WatchMap};
use crate::oracle::{Look, Oracle, TreeLook};
use crate::{Client, Configuration, Ensemble, Member, Moment, Role};

/// The judges of a ZooKeeper ensemble and its clients.
///
/// A clone is a fork: it shares the histories until one side goes on.
#[derive(Clone, Debug)]
pub struct ZkJudges {
    oracle: Oracle,
    last: Moment,
    /// Whether nothing was wrong with the ensemble when it was last asked.
    has_settled: bool,
}

impl ZkJudges {
    /// Judges of that ensemble.
    ///
    /// Panics if it contradicts itself.
    #[must_use]
    pub fn new(ensemble: Ensemble) -> Self {
        let last = Moment { event: 0, at: Instant::ZERO, host: ensemble.members[0].host };
        Self { oracle: Oracle::new(ensemble), last, has_settled: false }
    }

    /// Judges of a world made from a scenario. `probes` says whether its clients try a write after everything healed;
    /// `situations` are the kinds that rules wait for, see [`crate::SITUATIONS`].
    #[must_use]
    pub fn of(topology: &world::Topology, probes: bool, situations: Vec<String>) -> Self {
        let servers = || topology.servers.iter().chain(&topology.observers);
        let clients = topology.clients.iter().map(|it| Client {
            host: it.host,
            name: it.name.clone(),
            probes: probes && it.kind.zk().is_some(),
        });
        // To the ensemble brokers are clients like any other.
        let brokers = topology.brokers.iter().map(|it| Client { host: it.host, name: it.name.clone(), probes: false });
        Self::new(Ensemble {
            members: servers().map(|it| Member { host: it.host, sid: it.sid, name: it.name.clone() }).collect(),
            configuration: configuration(&topology.config, |sid| servers().position(|it| it.sid == sid)),
            clients: clients.chain(brokers).collect(),
            force_sync: topology.config.force_sync,
            local_sessions: topology.config.local_sessions_enabled,
            initial_counter: topology.config.initial_zxid,
            situations,
        })
    }

    /// What they know, and what they have counted.
    #[must_use]
    pub const fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    fn server_stated(&mut self, moment: Moment, member: usize, fact: &ServerFact, findings: &mut Findings) {
        let oracle = &mut self.oracle;
        match fact {
            ServerFact::RoleChanged { role, .. } => {
                let role = match role {
                    coordinator::Role::Looking => Role::Looking,
                    coordinator::Role::Following => Role::Following,
                    coordinator::Role::Observing => Role::Observing,
                    coordinator::Role::Leading => Role::Leading,
                    coordinator::Role::Standalone => Role::Standalone,
                };
                oracle.role_entered(moment, member, role);
            }
            ServerFact::LeaderEstablished { epoch, .. } => oracle.established(moment, member, *epoch, findings),
            ServerFact::Committed { zxid } => oracle.committed_by(moment, member, *zxid, findings),
            ServerFact::Applied { zxid, tree_digest, .. } => {
                oracle.applied(moment, member, *zxid, *tree_digest, findings);
            }
            ServerFact::SessionClosed { session } => oracle.session_closed(moment, member, *session),
            ServerFact::SessionExpired { session, timeout_ms } => {
                oracle.session_expired(moment, member, *session, *timeout_ms);
            }
            ServerFact::Recovered { epoch, .. } => {
                oracle.recovered(moment, member, *epoch, findings);
                oracle.read_back(moment, member);
            }
            ServerFact::ConfigActivated { version } => oracle.config_activated(moment, member, *version),
            ServerFact::Proposed { zxid, .. } => oracle.proposed(moment, member, *zxid, findings),
            ServerFact::LogFailed { .. } => oracle.log_failed(member),
            ServerFact::RefusedToStart { why } => oracle.refused_to_start(moment, member, why),
            // The role that follows says it, or a packet or the disk did.
            ServerFact::LeaderSteppedDown { .. }
            | ServerFact::LearnerLeft { .. }
            | ServerFact::LearnerDropped { .. }
            | ServerFact::LeaderElected { .. }
            | ServerFact::EpochAccepted { .. }
            | ServerFact::EpochCurrent { .. }
            | ServerFact::Synchronised { .. }
            | ServerFact::SyncDecided { .. }
            | ServerFact::SessionCreated { .. }
            | ServerFact::SessionMoved { .. }
            | ServerFact::SnapshotWritten { .. }
            | ServerFact::Truncated { .. }
            | ServerFact::WatchFired { .. } => {}
        }
    }

    fn client_stated(&mut self, moment: Moment, client: usize, fact: &ClientFact, findings: &mut Findings) {
        match fact {
            ClientFact::Session(fact) => self.session_stated(moment, fact, findings),
            ClientFact::Workload(fact) => self.workload_stated(moment, client, fact),
        }
    }

    fn session_stated(&mut self, moment: Moment, fact: &ZkClientFact, findings: &mut Findings) {
        match fact {
            ZkClientFact::WatchSet { session, path, watch, zxid } => {
                if let (Some(zxid), Some(map)) = (zxid, map_of(*watch)) {
                    self.oracle.watch_set(moment, *session, path, map, *zxid);
                }
            }
            ZkClientFact::WatchDelivered { session, path, consumed, event, zxid } => {
                let (maps, count) = maps_of(*consumed);
                // Watches that stay are told of everything, as often as it happens.
                if count > 0 || consumed.is_empty() {
                    self.oracle.watch_delivered(moment, *session, path, &maps[..count], *zxid);
                }
                self.oracle.watch_told(moment, *session, path, (&maps[..count], *event), findings);
            }
            ZkClientFact::WatchRemoved { session, path, removed } => {
                let (maps, count) = maps_of(*removed);
                self.oracle.watch_removed(*session, path, &maps[..count]);
            }
            ZkClientFact::SessionExpired { session, .. }
            | ZkClientFact::SessionClosed { session, .. }
            | ZkClientFact::AuthFailed { session } => {
                self.oracle.session_over(*session);
                if let Place::Client(client) = self.oracle.place(moment.host) {
                    self.oracle.client_gave_up(client);
                }
            }
            ZkClientFact::SessionConnected { .. }
            | ZkClientFact::ReadOnlyConnected { .. }
            | ZkClientFact::SessionMoved { .. }
            | ZkClientFact::SessionDisconnected { .. }
            | ZkClientFact::WatchesResent { .. } => {}
        }
    }

    fn workload_stated(&mut self, moment: Moment, client: usize, fact: &WorkloadFact) {
        let oracle = &mut self.oracle;
        match fact {
            WorkloadFact::Invoked { op, kind, path, session, version, value, .. } => {
                let operation = Operation {
                    number: *op,
                    kind: kind_of(*kind),
                    path: path.clone(),
                    session: *session,
                    demanded: version.map(jute::Version::value),
                    value: *value,
                };
                oracle.invoked(moment, operation);
            }
            WorkloadFact::Completed { op, path, outcome, code, czxid, mzxid, pzxid, version, value, .. } => {
                let outcome = match (outcome, code) {
                    (Outcome::Ok, ErrorCode::Ok) => OperationOutcome::Ok,
                    (Outcome::Ok, _) => OperationOutcome::Refused,
                    (Outcome::Failed, _) => OperationOutcome::Failed,
                    (Outcome::Unknown, _) => OperationOutcome::Unknown,
                };
                oracle.ended_operation(
                    moment,
                    OperationEnd {
                        number: *op,
                        path: path.clone(),
                        outcome,
                        czxid: *czxid,
                        mzxid: *mzxid,
                        pzxid: *pzxid,
                        version: version.map(jute::Version::value),
                        value: *value,
                    },
                );
            }
            WorkloadFact::MultiResult { op, path, code, version, value, .. } => {
                if let (ErrorCode::Ok, Some(version)) = (code, version) {
                    oracle.multi_part(*op, path, None, version.value(), *value);
                }
            }
            WorkloadFact::PartWritten { op, path, czxid, version, value, .. } => {
                oracle.multi_part(*op, path, Some(*czxid), version.value(), *value);
            }
            WorkloadFact::LockAcquired { client, lock, session, token, .. } => {
                oracle.lock_acquired(moment, *client, lock, *session, *token);
            }
            WorkloadFact::LockReleased { lock, .. } => oracle.lock_released(moment, lock),
            WorkloadFact::ResourceWrite { client, resource, token, accepted, version, .. } => {
                if let (true, Some(version)) = (accepted, version) {
                    oracle.resource_written(moment, *client, resource, *token, version.value());
                }
            }
            WorkloadFact::CandidateStood { election, .. } => oracle.candidate_stood(moment, election),
            WorkloadFact::LeadershipTaken { client, election, session, epoch, .. } => {
                oracle.leadership_taken(moment, *client, election, *session, *epoch);
            }
            WorkloadFact::LeadershipGivenUp { election, .. } => oracle.leadership_given_up(moment, election),
            WorkloadFact::RecipeInvoked { client, call, kind, object, session, value } => {
                let (number, object) = (*call, object.clone());
                let call =
                    RecipeCall { number, client: *client, kind: *kind, object, session: *session, value: *value };
                oracle.recipe_called(moment, call);
            }
            WorkloadFact::RecipeReturned { call, session, outcome, value, number, .. } => {
                let outcome = match outcome {
                    Outcome::Ok => OperationOutcome::Ok,
                    Outcome::Failed => OperationOutcome::Failed,
                    Outcome::Unknown => OperationOutcome::Unknown,
                };
                let (session, value, place) = (*session, *value, *number);
                oracle.recipe_ended(moment, RecipeEnd { number: *call, session, outcome, value, place });
            }
            WorkloadFact::ProbeSucceeded { .. } => oracle.probe_succeeded(client),
            WorkloadFact::Started { .. } => oracle.client_began(moment),
            WorkloadFact::PairRead { .. }
            | WorkloadFact::ProcessRetired { .. }
            | WorkloadFact::SetupDone { .. }
            | WorkloadFact::Stopped { .. } => {}
        }
    }

    fn sent(&mut self, moment: Moment, to: HostId, on: EndId, packet: &Packet, findings: &mut Findings) {
        let place = self.oracle.place(moment.host);
        match (place, packet) {
            (Place::Member(member), Packet::ZkQuorum(QuorumMessage::Packet(packet))) => {
                self.oracle.quorum_sent(moment, member, to, packet, findings);
            }
            (Place::Member(member), Packet::ZkElection(ElectionMessage::Notification(notification))) => {
                self.oracle.voted(moment, member, to, notification, findings);
            }
            (Place::Member(member), Packet::ZkClient(ClientPacket::ToClient(frame))) => {
                self.oracle.server_answered(member, on, frame);
            }
            (Place::Client(client), Packet::ZkClient(ClientPacket::ToServer(frame))) => {
                self.oracle.client_sent(moment, client, to, on, frame);
            }
            (Place::Member(_) | Place::Client(_) | Place::Stranger, _) => {}
        }
    }

    fn delivered(&mut self, moment: Moment, from: HostId, on: EndId, packet: &Packet, findings: &mut Findings) {
        let place = self.oracle.place(moment.host);
        match (place, packet) {
            (Place::Member(member), Packet::ZkQuorum(QuorumMessage::Packet(packet))) => {
                self.oracle.quorum_delivered(moment, member, from, packet, findings);
            }
            (Place::Member(member), Packet::ZkClient(ClientPacket::ToServer(frame))) => {
                self.oracle.server_heard(moment, member, on, frame);
            }
            (Place::Client(client), Packet::ZkClient(ClientPacket::ToClient(frame))) => {
                self.oracle.client_heard_of_server(moment, client, frame);
                self.oracle.client_told(moment, client, on, frame, findings);
            }
            (Place::Member(_) | Place::Client(_) | Place::Stranger, _) => {}
        }
    }
}

impl Judges<Node> for ZkJudges {
    fn observe(&mut self, seen: &Seen<'_, Node>, findings: &mut Findings) {
        let moment = Moment { event: seen.event, at: seen.at, host: seen.host };
        self.last = moment;
        match seen.what {
            SeenWhat::Stated { fact } => match (self.oracle.place(seen.host), fact) {
                (Place::Member(member), Fact::Coordinator(fact)) => self.server_stated(moment, member, fact, findings),
                (Place::Client(client), Fact::ZkWorkload(fact)) => {
                    self.client_stated(moment, client, fact, findings);
                }
                (
                    Place::Client(_),
                    Fact::Broker(broker::Fact::Zk(fact)) | Fact::KafkaClient(KafkaClientFact::Session(fact)),
                ) => self.session_stated(moment, fact, findings),
                (Place::Member(_) | Place::Client(_) | Place::Stranger, _) => {}
            },
            SeenWhat::Sent { to, on, message } => self.sent(moment, to, on, message, findings),
            SeenWhat::Delivered { from, on, message } => self.delivered(moment, from, on, message, findings),
            // Clients have disks too, and leave them alone.
            SeenWhat::Wrote { .. }
            | SeenWhat::Resized { .. }
            | SeenWhat::Renamed { .. }
            | SeenWhat::Removed { .. }
            | SeenWhat::Created { .. }
            | SeenWhat::Durable { .. }
            | SeenWhat::Booted { .. }
            | SeenWhat::Exited { .. }
            | SeenWhat::Crashed { .. }
            | SeenWhat::Lost { .. }
            | SeenWhat::Closed { .. } => match self.oracle.place(seen.host) {
                Place::Member(member) => self.member_seen(moment, member, seen.what, findings),
                Place::Client(client) => {
                    if let SeenWhat::Booted { .. } = seen.what {
                        self.oracle.client_gave_up(client);
                    }
                }
                Place::Stranger => {}
            },
            SeenWhat::Dialled { to, .. } => {
                if let (Place::Client(client), Place::Member(_)) = (self.oracle.place(seen.host), self.oracle.place(to))
                {
                    self.oracle.client_dialled(moment, client, findings);
                }
            }
            SeenWhat::DatagramSent { .. }
            | SeenWhat::DatagramDelivered { .. }
            | SeenWhat::SyncAsked { .. }
            | SeenWhat::Paused
            | SeenWhat::Resumed
            | SeenWhat::Opened { .. }
            | SeenWhat::Accepted { .. }
            | SeenWhat::Refused { .. } => {}
            SeenWhat::Struck { fault, targets, .. } => {
                if is_of_disks(fault) {
                    self.oracle.disks_fail(targets);
                }
            }
        }
    }

    fn inspect(&mut self, _: &Step, hosts: &Hosts<'_, Node>, findings: &mut Findings) {
        self.oracle.settle(&Eyes(*hosts), findings);
    }

    fn role(&self, name: &str) -> Option<HostId> {
        self.oracle.role(name)
    }

    fn pending(&mut self, now: Instant, hosts: &Hosts<'_, Node>) -> Option<String> {
        let pending = self.oracle.unsettled(now, |host| hosts.is_running(host));
        self.has_settled = pending.is_none() && self.oracle.stranded(now).is_none();
        pending
    }

    fn finish(&mut self, now: Instant, _: &Hosts<'_, Node>, findings: &mut Findings) {
        let moment = Moment { at: now, ..self.last };
        if self.has_settled {
            self.oracle.settled(moment, findings);
        }
        self.oracle.finish(moment, findings);
    }
}

impl ZkJudges {
    /// As `pending`, for a core.
    pub(crate) fn pending_in(
        &mut self,
        now: Instant,
        hosts: &Hosts<'_, Node>,
        is_in: impl Fn(HostId) -> bool,
    ) -> Option<String> {
        self.oracle.unsettled_in(now, |host| hosts.is_running(host), is_in)
    }

    fn member_seen(&mut self, moment: Moment, member: usize, what: SeenWhat<'_, Node>, findings: &mut Findings) {
        let oracle = &mut self.oracle;
        match what {
            SeenWhat::Wrote { path, offset, bytes } => oracle.wrote(moment, member, path, offset, bytes, findings),
            SeenWhat::Resized { path, to, .. } => oracle.resized(member, path, to),
            SeenWhat::Renamed { from, to } => oracle.renamed(moment, member, from, to, findings),
            SeenWhat::Removed { path } => oracle.removed(member, path),
            SeenWhat::Created { path } => oracle.created(member, path),
            SeenWhat::Durable { result: Ok(()), .. } => oracle.synced(moment, member),
            SeenWhat::Durable { result: Err(_), .. } => oracle.log_failed(member),
            SeenWhat::Booted { incarnation, disk } => oracle.booted(moment, member, incarnation.0, disk, findings),
            SeenWhat::Exited { .. } | SeenWhat::Crashed { power: false, .. } => oracle.ended(moment, member),
            SeenWhat::Crashed { power: true, disk, .. } => oracle.lost_power(moment, member, disk),
            SeenWhat::Lost { on, .. } | SeenWhat::Closed { on } => oracle.end_closed(member, on),
            SeenWhat::Stated { .. }
            | SeenWhat::Sent { .. }
            | SeenWhat::Delivered { .. }
            | SeenWhat::DatagramSent { .. }
            | SeenWhat::DatagramDelivered { .. }
            | SeenWhat::SyncAsked { .. }
            | SeenWhat::Paused
            | SeenWhat::Resumed
            | SeenWhat::Dialled { .. }
            | SeenWhat::Opened { .. }
            | SeenWhat::Accepted { .. }
            | SeenWhat::Refused { .. }
            | SeenWhat::Struck { .. } => {}
        }
    }
}

/// Looks at hosts.
struct Eyes<'a>(Hosts<'a, Node>);

impl Look for Eyes<'_> {
    fn disk(&self, host: HostId) -> &PageCache {
        self.0.disk(host)
    }

    fn local(&self, host: HostId, at: Instant) -> Instant {
        self.0.local_time(host, at)
    }

    fn tree(&self, member: HostId) -> Option<TreeLook> {
        let database = self.0.machine(member).and_then(Node::as_coordinator)?.database();
        Some(TreeLook {
            zxid: database.last_processed(),
            digest: database.digest(),
            sessions: database.sessions().keys().copied().collect(),
        })
    }

    fn ephemeral_of(&self, member: HostId, session: SessionId) -> Option<String> {
        let database = self.0.machine(member).and_then(Node::as_coordinator)?.database();
        database.tree().ephemerals(session).next().map(str::to_owned)
    }
}

/// Whether a fault is one of disks, beyond a loss of power.
const fn is_of_disks(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::DiskError { .. }
            | Fault::DiskFull { .. }
            | Fault::Wipe { .. }
            | Fault::RestoreDisk { .. }
            | Fault::BitRot { .. }
            | Fault::BadSectors { .. }
            | Fault::LostSync { .. }
            | Fault::LostWrite { .. }
            | Fault::MisdirectedWrite { .. }
    )
}

/// Who counts at first, as the servers' own configuration has it.
fn configuration(config: &ServerConfig, place_of: impl Fn(Sid) -> Option<usize>) -> Configuration {
    let place = |sid: &Sid| place_of(*sid).expect("every server has a host");
    let places = |role| config.members.iter().filter(move |(_, it)| it.role == role).map(|(sid, _)| place(sid));
    if config.members.is_empty() {
        return Configuration::majority([0], []); // Alone.
    }
    let configuration = Configuration::majority(places(LearnerType::Participant), places(LearnerType::Observer));
    let Some(Hierarchy { groups, weights }) = &config.hierarchy else { return configuration };
    let groups: Vec<_> = groups.iter().map(|(sid, &group)| (place(sid), group)).collect();
    configuration.weighed(groups, weights.iter().map(|(sid, &weight)| (place(sid), weight)).collect())
}

const fn kind_of(kind: OpKind) -> OperationKind {
    match kind {
        OpKind::Create
        | OpKind::CreateEphemeral
        | OpKind::CreateSequential
        | OpKind::CreateEphemeralSequential
        | OpKind::CreateContainer
        | OpKind::CreateTtl
        | OpKind::CreateSequentialTtl => OperationKind::Create,
        OpKind::Delete => OperationKind::Delete,
        OpKind::Exists | OpKind::GetData => OperationKind::Read,
        OpKind::SyncGetData => OperationKind::SyncRead,
        OpKind::SetData => OperationKind::Set,
        OpKind::GetConfig => OperationKind::ReadConfig,
        OpKind::Reconfig => OperationKind::Reconfig,
        OpKind::GetChildren | OpKind::ListNames => OperationKind::List,
        OpKind::Multi | OpKind::MixedMulti => OperationKind::Multi,
        OpKind::SetAcl => OperationKind::SetAcl,
        OpKind::GetAcl
        | OpKind::MultiRead
        | OpKind::GetEphemerals
        | OpKind::CountChildren
        | OpKind::CheckWatches
        | OpKind::RemoveWatches => OperationKind::OtherRead,
    }
}

/// None for watches that stay: they wait for nothing in particular.
const fn map_of(kind: WatchKind) -> Option<WatchMap> {
    match kind {
        WatchKind::Data => Some(WatchMap::Data),
        WatchKind::Exist => Some(WatchMap::Exist),
        WatchKind::Child => Some(WatchMap::Child),
        WatchKind::Persistent | WatchKind::Recursive => None,
    }
}

/// The maps, and how many there are.
fn maps_of(kinds: WatchKinds) -> ([WatchMap; 3], usize) {
    let mut maps = [WatchMap::Data; 3];
    let mut count = 0;
    for (is_in, map) in [(kinds.data, WatchMap::Data), (kinds.exist, WatchMap::Exist), (kinds.child, WatchMap::Child)] {
        if is_in {
            maps[count] = map;
            count += 1;
        }
    }
    (maps, count)
}
