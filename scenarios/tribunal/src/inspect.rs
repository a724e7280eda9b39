//! The state of a world at an instant, as plain data: hosts, znodes, sessions, watches, files, partitions, logs.
//!
//! Everything is read from the machines and their disks, nothing from what they state: the same walk serves `tribunal inspect`
//! and whoever compares two worlds.

use std::collections::BTreeMap;

use broker::Broker;
use coordinator::store::recover;
use coordinator::watch::WatchKind;
use coordinator::{Coordinator, ServerConfig};
use engine::Bound;
use jute::client::FourLetterWord;
use machine::disk::{Disk as _, PageCache};
use machine::{HostId, Instant, Machine as _};
use serde::Serialize;
use serde_json::json;
use world::Node;

use crate::prepared::JudgedWorld;
use crate::story::shown;

/// How much of a znode's data is shown, in characters.
const DATA: usize = 1000;

/// An instant of a run, as it is given: a time since the start, or the end of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub Bound);

impl std::str::FromStr for At {
    type Err = String;

    /// `12.5s`, `1m`, `500ms`, `200us`, `7ns`, or `#1234`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no instant: a time such as 12.5s or 1500ms, or an event such as #1234");
        if let Some(event) = text.strip_prefix('#') {
            return event.parse().map(|event| Self(Bound::Event(event))).map_err(|_| wrong());
        }
        let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let nanos_per_unit: u64 = match unit {
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return Err(wrong()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let nanos = whole.checked_mul(nanos_per_unit).ok_or_else(wrong)?;
        let scale = 10_u64.pow(u32::try_from(fraction.len()).expect("nine digits at most"));
        if !nanos_per_unit.is_multiple_of(scale) {
            return Err(wrong()); // Finer than a nanosecond.
        }
        let parts: u64 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| wrong())? };
        let nanos = nanos.checked_add(parts * (nanos_per_unit / scale)).ok_or_else(wrong)?;
        Ok(Self(Bound::At(Instant::from_nanos(nanos))))
    }
}

/// The state of a world at an instant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct State {
    /// When, in nanoseconds of simulated time.
    pub at: u64,
    /// The last event.
    pub event: u64,
    /// Every host.
    pub hosts: Vec<HostState>,
    /// Every ZooKeeper server that runs.
    pub servers: Vec<ServerState>,
    /// Every broker that runs.
    pub brokers: Vec<BrokerState>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostState {
    /// Its name.
    pub host: String,
    /// Its group.
    pub group: String,
    /// `up`, `paused` or `down`.
    pub condition: &'static str,
    /// How often its process was started.
    pub life: u32,
    /// What its clock shows beyond the world's time, in nanoseconds.
    pub clock_offset: i64,
    /// Its process in a few words; empty while it is down.
    pub summary: String,
    /// Its machine's own view; none while it is down.
    pub view: Option<serde_json::Value>,
    /// Its files.
    pub files: Vec<FileState>,
}

/// A file in the page cache of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileState {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// How much of that a loss of power would leave for certain; none if not even its name.
    pub durable: Option<u64>,
    /// What is in it, if that is a line of text.
    pub text: Option<String>,
}

/// A ZooKeeper server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerState {
    /// Its host.
    pub host: String,
    /// What it is to its ensemble.
    pub role: &'static str,
    /// Whether clients are served.
    pub serving: bool,
    /// The digest of its tree.
    pub tree_digest: String,
    /// Its znodes, in order of their paths.
    pub znodes: Vec<Znode>,
    /// Its table of sessions.
    pub sessions: Vec<SessionState>,
    /// The watches of its connections.
    pub watches: Vec<WatchState>,
}

/// A znode on one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Znode {
    /// Its path.
    pub path: String,
    /// The transaction that created it.
    pub czxid: String,
    /// The transaction that last set its data.
    pub mzxid: String,
    /// The transaction that last changed its children.
    pub pzxid: String,
    /// Changes of its data.
    pub version: i32,
    /// Changes of its children.
    pub cversion: i32,
    /// The session that it is an ephemeral of.
    pub ephemeral_owner: Option<String>,
    /// How many children it has.
    pub children: usize,
    /// Its data, as text or as hexadecimal, cut.
    pub data: String,
}

/// A session in the table of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionState {
    /// Its id.
    pub session: String,
    /// Its timeout, in milliseconds.
    pub timeout_ms: i32,
    /// The host of its client, if it is connected to this server.
    pub client: Option<String>,
    /// How many ephemerals it has.
    pub ephemerals: usize,
}

/// A watch on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WatchState {
    /// The path.
    pub path: String,
    /// `data` or `child`.
    pub kind: &'static str,
    /// The host of the client.
    pub client: Option<String>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerState {
    /// Its host.
    pub host: String,
    /// `broker.id`.
    pub broker: i32,
    /// Where it is between start and exit.
    pub phase: &'static str,
    /// The broker epoch of its last registration.
    pub epoch: Option<i64>,
    /// The epoch in which it is controller, if it believes that it is.
    pub controls: Option<i32>,
    /// The controller that it knows.
    pub controller: Option<i32>,
    /// The brokers that it knows to be alive.
    pub alive: Vec<i32>,
    /// Its ZooKeeper session, as it sees that.
    pub session: String,
    /// The server it is connected to.
    pub server: Option<String>,
    /// What it does and waits for.
    pub pending: Vec<String>,
    /// Its logs, and the partitions that it leads or follows, by name.
    pub partitions: BTreeMap<String, PartitionState>,
}

/// A partition on a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionState {
    /// `leader`, `follower`, `none`; `offline` for a log that is not hosted yet.
    pub role: &'static str,
    /// The epoch of the leadership.
    pub leader_epoch: Option<i32>,
    /// The version of the `state` znode, as far as the broker knows.
    pub partition_epoch: Option<i32>,
    /// The in-sync replicas; empty unless it leads.
    pub isr: Vec<i32>,
    /// Where its log starts.
    pub log_start: Option<i64>,
    /// Where its log ends.
    pub log_end: Option<i64>,
    /// What it takes for committed.
    pub high_watermark: Option<i64>,
    /// Up to where recovery would trust the log.
    pub recovery_point: Option<i64>,
    /// The base offsets of its segments.
    pub segments: Vec<i64>,
    /// Its leader epochs and where they begin.
    pub epochs: Vec<(i32, i64)>,
    /// Bytes in its segments.
    pub bytes: u64,
}

impl State {
    /// The state of a world as it is.
    #[must_use]
    pub fn of(world: &JudgedWorld) -> Self {
        let all = world.hosts();
        let name = |host: HostId| all.name(host).to_owned();
        let machines = || all.machines();
        Self {
            at: world.now().as_nanos(),
            event: world.events(),
            hosts: all.ids().map(|host| host_state(world, host)).collect(),
            servers: machines()
                .filter_map(|(host, node)| Some(server(name(host), node.as_coordinator()?, &name)))
                .collect(),
            brokers: machines().filter_map(|(host, node)| Some(broker(name(host), node.as_broker()?))).collect(),
        }
    }

    /// Leaves nothing but what is on a host.
    pub fn keep_host(&mut self, name: &str) {
        self.hosts.retain(|it| it.host == name);
        self.servers.retain(|it| it.host == name);
        self.brokers.retain(|it| it.host == name);
    }

    /// Every path there is: znodes, partitions, files.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let znodes = self.servers.iter().flat_map(|it| it.znodes.iter().map(|znode| znode.path.clone()));
        let partitions = self.brokers.iter().flat_map(|it| it.partitions.keys().cloned());
        let files = self.hosts.iter().flat_map(|it| it.files.iter().map(|file| file.path.clone()));
        let mut paths: Vec<String> = znodes.chain(partitions).chain(files).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// Leaves nothing but what is at a path or below it: a znode, a partition with its files, or files. False if there is no such
    /// path anywhere, and then everything is gone.
    pub fn keep_path(&mut self, path: &str) -> bool {
        let below = |at: &str, root: &str| {
            at == root || at.strip_prefix(root).is_some_and(|rest| root.ends_with('/') || rest.starts_with('/'))
        };
        for server in &mut self.servers {
            server.znodes.retain(|znode| below(&znode.path, path));
            server.watches.retain(|watch| below(&watch.path, path));
        }
        for broker in &mut self.brokers {
            broker.partitions.retain(|name, _| name == path);
        }
        for host in &mut self.hosts {
            // A partition's directory is its name, below that of the logs.
            let within = |file: &FileState| below(&file.path, path) || file.path.split('/').any(|part| part == path);
            host.files.retain(within);
        }
        self.servers.iter().any(|it| !it.znodes.is_empty())
            || self.brokers.iter().any(|it| !it.partitions.is_empty())
            || self.hosts.iter().any(|it| !it.files.is_empty())
    }
}

/// What a machine says of itself, in a few words.
#[must_use]
pub fn summary(view: &serde_json::Value) -> String {
    let serde_json::Value::Object(fields) = view else { return view.to_string() };
    let words = fields.iter().filter(|(_, value)| !value.is_null() && !value.is_object() && !value.is_array()).map(
        |(name, value)| match value {
            serde_json::Value::String(text) => text.clone(),
            other => format!("{} {other}", name.replace('_', " ")),
        },
    );
    words.collect::<Vec<String>>().join(", ")
}

/// What the servers that run would tell an operator who says a four-letter word to them, by host.
#[must_use]
pub fn say(world: &JudgedWorld, word: FourLetterWord) -> Vec<(String, String)> {
    let all = world.hosts();
    let told = all.machines().filter_map(|(host, node)| {
        let clocks = all.clocks(host, world.now());
        let wall_ms = clocks.wall_offset_ms + i64::try_from(clocks.now.as_millis()).expect("a run ends before that");
        let text = node.as_coordinator()?.say(word, clocks.now, wall_ms);
        Some((all.name(host).to_owned(), text))
    });
    told.collect()
}

fn host_state(world: &JudgedWorld, host: HostId) -> HostState {
    let all = world.hosts();
    let view = all.machine(host).map(|node| serde_json::to_value(node.view()).expect("a view is plain data"));
    let now = world.now();
    let local = i128::from(all.local_time(host, now).as_nanos()) - i128::from(now.as_nanos());
    HostState {
        host: all.name(host).to_owned(),
        group: all.group(host).to_owned(),
        condition: match (all.is_running(host), all.is_stopped(host)) {
            (_, true) => "paused",
            (true, false) => "up",
            (false, false) => "down",
        },
        life: all.incarnation(host).0,
        clock_offset: i64::try_from(local).expect("a clock is off by less than centuries"),
        summary: view.as_ref().map(summary).unwrap_or_default(),
        view,
        files: files(world, host),
    }
}

fn files(world: &JudgedWorld, host: HostId) -> Vec<FileState> {
    let (disk, durable) = (world.hosts().disk(host), world.hosts().durable(host));
    let mut files = Vec::new();
    for path in disk.list("") {
        let id = disk.find(&path).expect("it was listed");
        let len = disk.len(id);
        let is_short = len <= 64;
        let text =
            is_short.then(|| disk.bytes(&path)).flatten().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        let text = text.map(|text| text.trim_end().to_owned());
        let text = text.filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
        let durable = durable.has_entry(id).then(|| durable.len(id)).flatten();
        files.push(FileState { path, len, durable, text });
    }
    files
}

/// The files of one host, and of a ZooKeeper server what it would start with if it read them now.
#[derive(Debug)]
pub struct Extract {
    /// The host.
    pub host: String,
    /// Path and content, sorted by path.
    pub files: Vec<(String, Vec<u8>)>,
    /// See [`Extract::of`]; none of other hosts.
    pub recovered: Option<serde_json::Value>,
}

impl Extract {
    /// Takes the files of every host, as they are on its disk at this instant, with what is not durable yet.
    ///
    /// `recovered` has `zxid`, `sessions` (timeout in ms by id) and `nodes` (data in hexadecimal or null, acl, persisted stat, by path),
    /// after the ephemerals of unknown sessions are gone; or `refused`, why such a server would not start.
    #[must_use]
    pub fn of(world: &JudgedWorld, setup: &world::Setup) -> Vec<Self> {
        let all = world.hosts();
        let extract = |host: HostId| {
            let disk = all.disk(host);
            let files = disk.list("").into_iter().map(|path| {
                let bytes = disk.bytes(&path).map(|bytes| bytes.to_vec()).unwrap_or_default();
                (path, bytes)
            });
            let server = setup.topology.servers.iter().find(|server| server.host == host);
            let recovered = server.map(|server| {
                let config = ServerConfig { myid: server.sid, ..setup.topology.config.clone() };
                recovered(&mut disk.clone(), &config)
            });
            Self { host: all.name(host).to_owned(), files: files.collect(), recovered }
        };
        all.ids().map(extract).collect()
    }
}

fn recovered(disk: &mut PageCache, config: &ServerConfig) -> serde_json::Value {
    let mut recovered = match recover(disk, config) {
        Ok(recovered) => recovered,
        Err(why) => return json!({ "refused": why.to_string() }),
    };
    recovered.database.kill_unknown_sessions();
    let database = &recovered.database;
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let nodes = database.tree().iter().map(|(path, node)| {
        let acl = database.tree().acl(path).expect("the znode is there").iter();
        let node = json!({
            "data": node.data().bytes().map(|bytes| hex(bytes)),
            "acl": acl.map(|entry| json!([entry.perms, entry.id.scheme, entry.id.id])).collect::<Vec<_>>(),
            "stat": node.client_stat(),
        });
        (if path.is_empty() { "/".to_owned() } else { path.to_owned() }, node)
    });
    let sessions = database.sessions().iter().map(|(session, timeout_ms)| (session.to_string(), json!(timeout_ms)));
    json!({
        "zxid": database.last_processed().to_string(),
        "sessions": sessions.collect::<serde_json::Map<_, _>>(),
        "nodes": nodes.collect::<serde_json::Map<_, _>>(),
    })
}

fn server(host: String, machine: &Coordinator, name: &dyn Fn(HostId) -> String) -> ServerState {
    let database = machine.database();
    let tree = database.tree();
    let clients: Vec<_> = machine.server().clients().collect();
    let znodes = tree.iter().map(|(path, node)| {
        let stat = node.client_stat();
        Znode {
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            czxid: stat.czxid.to_string(),
            mzxid: stat.mzxid.to_string(),
            pzxid: stat.pzxid.to_string(),
            version: stat.version.value(),
            cversion: stat.cversion.value(),
            ephemeral_owner: (!stat.ephemeral_owner.is_zero()).then(|| stat.ephemeral_owner.to_string()),
            children: node.child_count(),
            data: shown(node.data().as_slice(), DATA),
        }
    });
    let sessions = database.sessions().iter().map(|(&session, &timeout_ms)| SessionState {
        session: session.to_string(),
        timeout_ms,
        client: clients.iter().find(|it| it.2 == session).map(|&(_, client, _)| name(client)),
        ephemerals: tree.ephemerals(session).count(),
    });
    let watches = machine.server().watches().iter().map(|(kind, path, end)| WatchState {
        path: path.to_owned(),
        kind: match kind {
            WatchKind::Data => "data",
            WatchKind::Child => "child",
        },
        client: clients.iter().find(|it| it.0 == end).map(|&(_, client, _)| name(client)),
    });
    ServerState {
        role: machine.role().name(),
        serving: machine.is_serving(),
        tree_digest: format!("{:016x}", database.digest()),
        znodes: znodes.collect(),
        sessions: sessions.collect(),
        watches: watches.collect(),
        host,
    }
}

fn broker(host: String, machine: &Broker) -> BrokerState {
    let view = machine.view();
    let mut partitions: BTreeMap<String, PartitionState> = BTreeMap::new();
    for (tp, log) in machine.logs().into_iter().flat_map(commitlog::LogManager::iter) {
        let state = PartitionState {
            role: "offline",
            log_start: Some(log.log_start().0),
            log_end: Some(log.log_end().0),
            recovery_point: Some(log.recovery_point().0),
            segments: log.segment_bases().map(|base| base.0).collect(),
            epochs: log.epochs().entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect(),
            bytes: log.size_bytes(),
            ..PartitionState::default()
        };
        partitions.insert(tp.to_string(), state);
    }
    for (name, hosted) in view.partitions {
        let state = partitions.entry(name).or_default();
        state.role = hosted.role;
        state.leader_epoch = hosted.leader_epoch.map(|it| it.0);
        state.partition_epoch = hosted.partition_epoch.map(|it| it.0);
        state.isr = hosted.isr.iter().map(|it| it.0).collect();
        state.high_watermark = hosted.high_watermark.map(|it| it.0);
    }
    BrokerState {
        host,
        broker: view.broker.0,
        phase: view.phase,
        epoch: view.epoch.map(|it| it.0),
        controls: machine.controller().epoch().filter(|_| view.is_controller).map(|it| it.0),
        controller: view.controller.map(|it| it.0),
        alive: view.alive.iter().map(|it| it.0).collect(),
        session: format!("{} {}", view.session.session, view.session.state),
        server: view.session.server.map(|it| it.to_string()),
        pending: machine.pending(),
        partitions,
    }
}

/// The sessions that clients believe in: host, session, state, server.
#[must_use]
pub fn client_sessions(world: &JudgedWorld) -> Vec<[String; 4]> {
    let sessions = world.hosts().machines().filter_map(|(host, node)| {
        let view = match node {
            Node::Coordinator(_) => return None,
            Node::Broker(machine) => machine.view().session,
            Node::ZkWorkload(machine) => machine.view().session,
            Node::KafkaClient(machine) => machine.view().session?,
        };
        let server = view.server.map_or_else(String::new, |server| server.to_string());
        Some([world.hosts().name(host).to_owned(), view.session, view.state.to_owned(), server])
    });
    sessions.collect()
}

#[cfg(test)]
mod tests {
    use super::At;
    use engine::Bound;
    use machine::Instant;

    #[test]
    fn instants_are_times_with_units_or_events() {
        let check =
            |text: &str, nanos: u64| assert_eq!(text.parse(), Ok(At(Bound::At(Instant::from_nanos(nanos)))), "{text}");
        check("12.5s", 12_500_000_000);
        check("1m", 60_000_000_000);
        check("1500ms", 1_500_000_000);
        check("0.000000001s", 1);
        check("7ns", 7);
        assert_eq!("#1234".parse(), Ok(At(Bound::Event(1234))));
        for wrong in ["12", "s", "1.s5", "-1s", "#x", "1h", "99999999999999999999s", "1.0000000001s", "1.5ns"] {
            assert!(wrong.parse::<At>().is_err(), "{wrong}");
        }
    }
}
