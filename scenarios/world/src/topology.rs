//! From a scenario and a seed to the hosts, links and schedule of one run.

use std::sync::Arc;

use broker::BrokerConfig;
use clients::kafka::NewTopic;
use clients::{WorkloadKind, ZkWorkloadImage};
use coordinator::{Defects, LearnerType, Member, ServerConfig};
use engine::{ClockSpec, DiskSpec, HostSpec, NetworkSpec, Rule, SpanRange, Supervisor};
use jute::Sid;
use machine::disk::CrashModel;
use machine::{Address, HostId, Span};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use zkclient::{ZkClientConfig, ZkServer};

use crate::cluster::{self, ADMINS, BROKERS, Broker};
use crate::place::{BadInput, did_you_mean};
use crate::scenario::{self, text_of};
use crate::server_properties::ServerProperties;
use crate::zoo_cfg::ZooCfg;
use crate::{Balance, CoreChoice, Image, Kind, Node, Scenario, Workload};

/// The group of the ZooKeeper servers.
pub const COORDINATORS: &str = "coordinators";
/// The group of the ZooKeeper servers that do not vote.
pub const OBSERVERS: &str = "observers";
/// The group of the clients.
pub const CLIENTS: &str = "clients";

/// A ZooKeeper server of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its host.
    pub host: HostId,
    /// Its host's name.
    pub name: String,
    /// Its id.
    pub sid: Sid,
}

/// A client of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its host.
    pub host: HostId,
    /// Its host's name.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Whether it tries something new behind the faults, which must succeed. A producer behind a fixed address does not: its
    /// broker may lead nothing any more.
    pub probes: bool,
}

/// Who takes part in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The ZooKeeper servers that vote, by id.
    pub servers: Vec<Server>,
    /// The ZooKeeper servers that do not, by id. Their hosts come last.
    pub observers: Vec<Server>,
    /// The brokers, by id.
    pub brokers: Vec<Broker>,
    /// The clients, in the order of their numbers.
    pub clients: Vec<Client>,
    /// What all servers have in common: the configuration of the first.
    pub config: ServerConfig,
    /// The historical bugs of everybody who is a client of ZooKeeper.
    pub client_defects: zkclient::Defects,
    /// What all brokers have in common: the configuration of the first.
    pub kafka: Arc<BrokerConfig>,
    /// The topics that are created.
    pub topics: Vec<NewTopic>,
}

impl Topology {
    /// The names of all hosts, in order of their numbers.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let servers = self.servers.iter().map(|server| server.name.clone());
        let brokers = self.brokers.iter().map(|broker| broker.name.clone());
        let clients = self.clients.iter().map(|client| client.name.clone());
        let observers = self.observers.iter().map(|observer| observer.name.clone());
        servers.chain(brokers).chain(clients).chain(observers).collect()
    }
}

/// The user's configuration files, where there are any; a scenario's own keys win over them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// A `zoo.cfg`.
    pub zoo_cfg: Option<ZooCfg>,
    /// A `server.properties`.
    pub server_properties: Option<ServerProperties>,
}

/// Everything that a run is made from. The same scenario and seed give the same setup.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The seed.
    pub seed: u64,
    /// Who takes part.
    pub topology: Topology,
    /// The hosts, in order of their numbers.
    pub hosts: Vec<HostSpec<Node>>,
    /// The links.
    pub network: NetworkSpec,
    /// The schedule: that of the file, then that of the nemesis.
    pub schedule: Vec<Rule>,
    /// How long faults may strike.
    pub faults_for: Span,
    /// How long the healed world may take to converge.
    pub settle_at_most: Span,
    /// Faults that would make recovery impossible are refused.
    pub budgeted: bool,
    /// How long a drawn core may take without getting any further while the rest stays broken; none if there is no core.
    pub core_patience: Option<Span>,
    /// What a swarm drew, in words.
    pub drawn: Vec<String>,
}

impl Setup {
    /// Draws a run.
    ///
    /// # Errors
    /// If scenario and files contradict each other.
    pub fn draw(scenario: &Scenario, files: &Files, seed: u64) -> Result<Self, BadInput> {
        let scenario = &scenario.resolved(seed);
        // A generator of its own: what is drawn here shifts nothing in the engine.
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x05EE_D0F5_CEAA_0210);
        let duration = span(scenario.duration, &mut rng);
        let topology = topology(scenario, files, &mut rng)?;
        let mut hosts = Vec::new();
        for server in &topology.servers {
            let config = ServerConfig { myid: server.sid, ..topology.config.clone() };
            hosts.push(HostSpec {
                disk: disk(scenario, &mut rng),
                clock: clock(scenario, &mut rng),
                supervisor: Supervisor::After(scenario.cluster.restart_after),
                ..HostSpec::new(&server.name, COORDINATORS, Image::Coordinator(Box::new(config)))
            });
        }
        let wire = cluster::wire(scenario, seed);
        for image in cluster::broker_images(scenario, &topology, wire) {
            let name = &topology.brokers[hosts.len() - topology.servers.len()].name;
            hosts.push(HostSpec {
                disk: disk(scenario, &mut rng),
                clock: clock(scenario, &mut rng),
                supervisor: Supervisor::After(scenario.cluster.restart_after),
                start_at: scenario.cluster.late.get(name).map(|&late| span(late, &mut rng)),
                ..HostSpec::new(name, BROKERS, Image::Broker(Arc::new(image)))
            });
        }
        for (start_at, image) in images(scenario, &topology, duration, wire, &mut rng)? {
            let client = &topology.clients[hosts.len() - topology.servers.len() - topology.brokers.len()];
            let group = if client.kind == Kind::CreateTopics { ADMINS } else { CLIENTS };
            hosts.push(HostSpec {
                clock: clock(scenario, &mut rng),
                supervisor: Supervisor::After(scenario.cluster.restart_after),
                start_at,
                ..HostSpec::new(&client.name, group, image)
            });
        }
        for observer in &topology.observers {
            let config = ServerConfig { myid: observer.sid, ..topology.config.clone() };
            hosts.push(HostSpec {
                disk: disk(scenario, &mut rng),
                clock: clock(scenario, &mut rng),
                supervisor: Supervisor::After(scenario.cluster.restart_after),
                ..HostSpec::new(&observer.name, OBSERVERS, Image::Coordinator(Box::new(config)))
            });
        }
        let mut schedule = scenario.faults.clone();
        if let Some(nemesis) = &scenario.nemesis {
            schedule.extend(nemesis.draw(duration, &mut rng));
        }
        Ok(Self {
            seed,
            hosts,
            network: network(scenario),
            schedule,
            faults_for: duration,
            settle_at_most: span(scenario.settle, &mut rng),
            budgeted: scenario.budget,
            core_patience: scenario.liveness.as_ref().and_then(|it| match it.core {
                CoreChoice::Full => None,
                CoreChoice::Drawn => Some(span(it.patience, &mut rng)),
            }),
            drawn: scenario.drawn.clone(),
            topology,
        })
    }
}

/// Whole milliseconds: what a report prints is what was drawn.
pub(crate) fn span(range: SpanRange, rng: &mut ChaCha8Rng) -> Span {
    if range.least() == range.most() {
        return range.least();
    }
    Span::millis(rng.random_range(range.least().as_millis()..=range.most().as_millis()))
}

fn topology(scenario: &Scenario, files: &Files, rng: &mut ChaCha8Rng) -> Result<Topology, BadInput> {
    let mut config = ServerConfig::standalone();
    let zoo_cfg = files.zoo_cfg.as_ref();
    if let Some(cfg) = zoo_cfg {
        cfg.apply(&mut config);
    }
    let own = ZooCfg::parse("[cluster.zoo]", &text_of(&scenario.cluster.zoo))?;
    own.apply_over(&mut config);
    config.defects = defects(scenario);
    let drawn = *scenario.cluster.coordinators.choices().choose(rng).expect("checked when it was loaded");
    let listed = zoo_cfg.map(|cfg| &cfg.servers).filter(|servers| !servers.is_empty());
    config.hierarchy = zoo_cfg.and_then(|cfg| cfg.hierarchy.clone());
    let mut servers = Vec::new();
    // Observers' hosts come behind everybody else's.
    let mut observing: Vec<(Sid, Member)> = Vec::new();
    match listed {
        Some(listed) => {
            for (&sid, line) in listed {
                let host = host(servers.len());
                let member = Member {
                    host,
                    quorum_port: machine::Port(line.quorum_port),
                    election_port: machine::Port(line.election_port),
                    role: line.role,
                    client_port: line.client_port.map(machine::Port),
                };
                if line.role == LearnerType::Observer {
                    observing.push((sid, member));
                    continue;
                }
                config.members.insert(sid, member);
                servers.push(Server { host, name: format!("zk{sid}"), sid });
            }
        }
        None => {
            let hosts: Vec<HostId> = (0..drawn).map(HostId).collect();
            let sample = ServerConfig::ensemble(Sid::new(1), &hosts);
            for (sid, member) in sample.members {
                config.members.insert(sid, Member { client_port: Some(config.client_port), ..member });
                servers.push(Server { host: member.host, name: format!("zk{sid}"), sid });
            }
        }
    }
    for _ in 0..scenario.cluster.observers {
        let last = config.members.keys().next_back().copied().max(observing.last().map(|&(sid, _)| sid));
        let sid = Sid::new(last.map_or(1, |last| last.value() + 1));
        let like = *config.members.values().next().expect("there are voters");
        observing.push((sid, Member { role: LearnerType::Observer, ..like }));
    }
    config.myid = servers[0].sid;
    let brokers = cluster::brokers(scenario, servers.len(), rng);
    let before = servers.len() + brokers.len();
    let mut clients = Vec::new();
    for workload in &scenario.workloads {
        for _ in 0..workload.clients {
            let name = format!("c{}", clients.len() + 1);
            let fixed = workload.kind == Kind::Produce && workload.balance == Balance::FixedBroker;
            let probes = !fixed && workload.kind != Kind::MoveController;
            clients.push(Client { host: host(before + clients.len()), name, kind: workload.kind, probes });
        }
    }
    if !scenario.topics.is_empty() {
        let (host, name) = (host(before + clients.len()), "admin".to_owned());
        clients.push(Client { host, name, kind: Kind::CreateTopics, probes: false });
    }
    let mut observers = Vec::new();
    for (sid, member) in observing {
        let host = host(before + clients.len() + observers.len());
        config.members.insert(sid, Member { host, ..member });
        observers.push(Server { host, name: format!("zk{sid}"), sid });
    }
    let kafka = Arc::new(cluster::config(scenario, files)?);
    let client_defects = scenario.cluster.defects.iter().filter_map(|id| zkclient::Defect::from_id(id)).collect();
    let topics = cluster::topics(scenario);
    Ok(Topology { servers, observers, brokers, clients, config, client_defects, kafka, topics })
}

pub(crate) fn host(number: usize) -> HostId {
    HostId(u32::try_from(number).expect("a world has few hosts"))
}

fn defects(scenario: &Scenario) -> Defects {
    scenario.cluster.defects.iter().filter_map(|id| coordinator::Defect::from_id(id)).collect()
}

/// `zookeeper.connect` of everybody.
pub(crate) fn connect_string(topology: &Topology) -> Vec<ZkServer> {
    let server = |server: &Server| {
        let port = topology.config.members[&server.sid].client_port.unwrap_or(topology.config.client_port);
        ZkServer { name: Arc::from(server.name.as_str()), address: Address { host: server.host, port } }
    };
    topology.servers.iter().chain(&topology.observers).map(server).collect()
}

/// A client of the whole ensemble.
pub(crate) fn client_config(topology: &Topology, timeout: Span) -> ZkClientConfig {
    ZkClientConfig {
        defects: topology.client_defects.clone(),
        ..ZkClientConfig::new(connect_string(topology), whole_millis(timeout))
    }
}

/// A session with a drawn timeout.
pub(crate) fn session(topology: &Topology, timeout: SpanRange, rng: &mut ChaCha8Rng) -> ZkClientConfig {
    client_config(topology, span(timeout, rng))
}

/// A session as a workload of ZooKeeper wants it.
fn zk_session(workload: &Workload, topology: &Topology, rng: &mut ChaCha8Rng) -> Result<ZkClientConfig, BadInput> {
    const PLACE: &str = "[[workloads]]";
    let bad = |why| BadInput::new(PLACE, None, why);
    let mut config = session(topology, workload.session_timeout, rng);
    if let Some(connect) = &workload.connect {
        let all = std::mem::take(&mut config.servers);
        for (name, port) in scenario::connect_string(connect).map_err(bad)?.hosts {
            let known: Vec<&str> = all.iter().map(|server| &*server.name).collect();
            let server = all.iter().find(|server| *server.name == *name).ok_or_else(|| {
                bad(format!("there is no server `{name}` to connect to")).hint(did_you_mean(&name, &known))
            })?;
            if server.address.port != machine::Port(port) {
                let listens = server.address.port.0;
                return Err(bad(format!("`{name}` does not listen on {port}, which `{connect}` says"))
                    .hint(format!("its port is {listens}")));
            }
            config.servers.push(server.clone());
        }
    }
    config.chroot = workload.chroot().map_err(bad)?;
    config.auth = workload.auth_info().map_err(bad)?.into_iter().collect();
    config.can_be_read_only = workload.can_be_read_only;
    if let Some(timeout) = workload.zookeeper_request_timeout {
        config.request_timeout = span(timeout, rng);
    }
    Ok(config)
}

pub(crate) fn whole_millis(span: Span) -> i32 {
    i32::try_from(span.as_millis()).expect("a timeout below 24 days")
}

/// Every client's image, with the time at which it starts if that is not at once.
fn images(
    scenario: &Scenario,
    topology: &Topology,
    duration: Span,
    wire: kafkawire::Wire,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<(Option<Span>, Image)>, BadInput> {
    let mut images = Vec::new();
    for (number, workload) in scenario.workloads.iter().enumerate() {
        for nth in 0..workload.clients {
            let client = u16::try_from(images.len()).expect("a world has few clients");
            let start_at = workload.start_at.map(|range| span(range, rng));
            let stop_after = duration.saturating_sub(start_at.unwrap_or(Span::ZERO));
            let image = match workload.kind.zk() {
                Some(kind) => {
                    let connection = zk_session(workload, topology, rng)?;
                    let image = zk_image(scenario, (number, nth), client, kind, connection, stop_after, rng);
                    Image::ZkWorkload(Box::new(image))
                }
                None => {
                    let work = cluster::work(client, topology, wire, stop_after);
                    Image::KafkaClient(cluster::client_image(scenario, number, nth, work, topology, rng))
                }
            };
            images.push((start_at, image));
        }
    }
    if !scenario.topics.is_empty() {
        let client = u16::try_from(images.len()).expect("a world has few clients");
        let work = cluster::work(client, topology, wire, duration);
        images.push((None, Image::KafkaClient(cluster::admin_image(scenario, work, topology))));
    }
    Ok(images)
}

fn zk_image(
    scenario: &Scenario,
    (number, nth): (usize, u32),
    client: u16,
    kind: WorkloadKind,
    connection: ZkClientConfig,
    stop_after: Span,
    rng: &mut ChaCha8Rng,
) -> ZkWorkloadImage {
    let workload = &scenario.workloads[number];
    ZkWorkloadImage {
        client,
        connection,
        kind,
        root: format!("/{}{number}", kind.name()).into(),
        keys: workload.keys,
        members: workload.clients,
        member: nth,
        misuses: scenario.cluster.defects.iter().filter_map(|id| clients::Misuse::from_id(id)).collect(),
        rate_per_second: workload.rate_per_second,
        processes: processes(workload),
        think: span(workload.think, rng),
        stop_after: Some(stop_after),
        probe_after: Some(stop_after + Span::secs(1)),
    }
}

fn processes(workload: &Workload) -> u16 {
    let usual = if workload.kind.zk().is_some_and(WorkloadKind::is_one_process) { 1 } else { 2 };
    u16::try_from(workload.processes.unwrap_or(usual)).expect("a client has few processes")
}

fn disk(scenario: &Scenario, rng: &mut ChaCha8Rng) -> DiskSpec {
    let section = &scenario.cluster.disk;
    let models = [
        CrashModel::AllUnsyncedLost,
        CrashModel::Prefix,
        CrashModel::AnySubset,
        CrashModel::Torn { sector_bytes: 512 },
        CrashModel::Torn { sector_bytes: 4096 },
    ];
    let drawn = *models.choose(rng).expect("there are models");
    let mut spec = DiskSpec { crash: section.crash.unwrap_or(drawn), ..DiskSpec::default() };
    if let Some(metadata) = section.metadata {
        spec.metadata = metadata;
    }
    if let Some(sync) = section.sync {
        spec.sync_latency = (sync.least(), sync.most());
    }
    spec.capacity_bytes = section.capacity_bytes;
    spec
}

fn clock(scenario: &Scenario, rng: &mut ChaCha8Rng) -> ClockSpec {
    let clocks = &scenario.cluster.clocks;
    let most = i64::try_from(clocks.offset.most().as_millis()).expect("an offset below 292 million years");
    let ppm = i32::try_from(clocks.drift_ppm).expect("a drift below 2 billion ppm");
    ClockSpec { offset_ms: rng.random_range(-most..=most), drift_ppm: rng.random_range(-ppm..=ppm) }
}

fn network(scenario: &Scenario) -> NetworkSpec {
    let mut spec = NetworkSpec::default();
    if let Some(latency) = scenario.network.latency {
        spec.base = (latency.least(), latency.most());
    }
    if let Some(jitter) = scenario.network.jitter {
        spec.jitter = vec![jitter.least(), jitter.most()];
    }
    spec
}
