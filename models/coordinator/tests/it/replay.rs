//! Replays recordings of a real 3.8.0 server against a model of that release, step by step.
//!
//! The recorder flushed after each step: an `exists /zookeeper` on every open connection. So does the replay, which keeps sessions
//! alive and shows the last zxid.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it knows, and panics at anything else")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use coordinator::store::{SnapshotImage, snapshot_path};
use coordinator::tree::{AclId, PersistedNode};
use coordinator::{Fact, Release, ServerConfig};
use jute::client::{
    ClientFrame, CreateRequest, ExistsRequest, FourLetterWord, GetAclRequest, GetChildrenRequest, GetDataRequest,
    Request, Response, ServerFrame, SetDataRequest, SetWatchesRequest, SyncRequest,
};
use jute::data::{Acl, Id, StatPersisted};
use jute::{Buffer, Version, Xid, Zxid};
use machine::Span;
use serde_json::{Value, json};

use super::network::{CLIENT_HOST, Network};
use super::operator;
use super::transcript::{Symbols, Transcript, acl_json, event, hex, recorded_data, recorded_event, recorded_reply};

/// First xid of the flushes, as the recorder's.
const FLUSH_XID: i32 = 0x4000_0000;
/// First xid of what else the replay asks for.
const OWN_XID: i32 = 0x5000_0000;

/// One connection of the recorder.
struct Connection {
    client: usize,
    /// Frames that were looked at.
    read: usize,
    /// Whether it is flushed.
    flushes: bool,
    /// Whether its end was noticed.
    closed: bool,
}

/// A replay under way.
pub(crate) struct Replay {
    name: String,
    network: Network,
    connections: BTreeMap<String, Connection>,
    symbols: Symbols,
    /// Flushes wait for the leader first.
    is_ensemble: bool,
    next_flush: i32,
    next_own: i32,
    /// The last zxid a flush saw.
    zxid: i64,
    closed: BTreeSet<String>,
    /// Steps compared.
    pub(crate) steps: usize,
    /// Events compared.
    pub(crate) events: usize,
    /// Steps that do not agree, in words.
    pub(crate) differences: Vec<String>,
}

fn config(header: &Value) -> ServerConfig {
    let config = &header["config"];
    let properties = &config["system_properties"];
    let text = |key: &str| {
        let value =
            config.get(key).or_else(|| properties.get(format!("zookeeper.{key}"))).or_else(|| properties.get(key));
        value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let number = |key: &str| text(key).map(|value| value.parse::<u64>().unwrap());
    let is_set = |key: &str| text(key).is_some_and(|value| value == "true");
    let default = ServerConfig::standalone();
    ServerConfig {
        tick_time: number("tickTime").map(Span::millis).unwrap(),
        min_session_timeout: number("minSessionTimeout").map(Span::millis),
        max_session_timeout: number("maxSessionTimeout").map(Span::millis),
        max_client_cnxns: u32::try_from(number("maxClientCnxns").unwrap()).unwrap(),
        init_limit: number("initLimit").map_or(default.init_limit, |ticks| u32::try_from(ticks).unwrap()),
        sync_limit: number("syncLimit").map_or(default.sync_limit, |ticks| u32::try_from(ticks).unwrap()),
        read_only_mode: is_set("readonlymode.enabled"),
        local_sessions_enabled: is_set("localSessionsEnabled"),
        local_sessions_upgrading_enabled: is_set("localSessionsUpgradingEnabled"),
        four_letter_words: match text("4lw.commands.whitelist").as_deref() {
            Some("*") => FourLetterWord::ALL.into(),
            Some(words) => words.split(',').filter_map(FourLetterWord::from_name).collect(),
            None => default.four_letter_words.clone(),
        },
        extended_types_enabled: is_set("extendedTypesEnabled"),
        container_check_interval: number("znode.container.checkIntervalMs")
            .map_or(default.container_check_interval, Span::millis),
        enforce_quota: is_set("enforceQuota"),
        reconfig_enabled: is_set("reconfigEnabled"),
        super_digest: text("DigestAuthenticationProvider.superDigest"),
        enforced_auth: text("enforce.auth.schemes")
            .filter(|_| is_set("enforce.auth.enabled"))
            .map(|schemes| schemes.split(',').map(str::to_owned).collect()),
        jute_max_buffer: number("jute.maxbuffer")
            .map_or(default.jute_max_buffer, |bytes| u32::try_from(bytes).unwrap()),
        snapshot_trust_empty: is_set("snapshot.trust.empty"),
        digest_enabled: text("digest.enabled").is_none_or(|value| value == "true"),
        addresses: [(CLIENT_HOST, IpAddr::V4(Ipv4Addr::LOCALHOST))].into(),
        release: Release::V3_8_0,
        ..default
    }
}

impl Replay {
    /// Replays all of a transcript.
    pub(crate) fn run(name: &str) -> Self {
        let transcript = Transcript::read(name);
        let is_ensemble = transcript.header["mode"] == "ensemble-3";
        let config = config(&transcript.header);
        let mut network = if is_ensemble {
            let change = |own: &mut ServerConfig| {
                *own = ServerConfig { myid: own.myid, members: own.members.clone(), ..config.clone() };
                for (sid, member) in &mut own.members {
                    let ports = transcript.ports(*sid);
                    (member.quorum_port, member.election_port, member.client_port) = (ports.0, ports.1, None);
                    own.addresses.insert(member.host, IpAddr::V4(Ipv4Addr::LOCALHOST));
                }
            };
            Network::ensemble(3, change)
        } else {
            Network::of([config.clone()].into_iter(), |_| {})
        };
        if let Some(tree) = transcript.header.get("initial_tree") {
            load(&mut network, tree);
        }
        let order = transcript.header["config"].get("start_order").cloned().unwrap_or(json!([1]));
        // Who joined when the leader was established has its zxid; who made it leader does not.
        let served = &transcript.steps[0]["observed"]["served_zxid"];
        let is_late =
            |sid: &Value| served[sid.to_string()] != "0x0" && transcript.steps[0]["observed"]["leader"] != *sid;
        let (late, early): (Vec<_>, Vec<_>) =
            order.as_array().unwrap().iter().partition(|sid| served.is_object() && is_late(sid));
        for sids in [early, late] {
            for sid in sids {
                network.boot(usize::try_from(sid.as_u64().unwrap()).unwrap() - 1);
                network.run(Span::millis(10));
            }
            assert!(network.run_until(Span::secs(10), |network| !network.serving().is_empty()), "somebody serves");
        }
        assert!(
            network.run_until(Span::secs(10), |network| network.serving().len() == network.rigs.len()),
            "all serve"
        );
        network.run(Span::secs(1));
        let mut replay = Self {
            name: name.to_owned(),
            network,
            connections: BTreeMap::new(),
            symbols: Symbols::default(),
            is_ensemble,
            next_flush: FLUSH_XID,
            next_own: OWN_XID,
            zxid: 0,
            closed: BTreeSet::new(),
            steps: 0,
            events: 0,
            differences: Vec::new(),
        };
        for step in &transcript.steps {
            replay.step(step);
        }
        for fact in &replay.network.facts {
            if let (_, Fact::Applied { zxid, txn_digest, tree_digest, .. }) = fact {
                assert_eq!(txn_digest, tree_digest, "{name}: the digest predicted for {zxid}");
            }
        }
        replay
    }

    fn differ(&mut self, step: &Value, what: &str, found: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug) {
        self.differences.push(format!(
            "{} step {} ({} {}) {what}:\n  found    {found:?}\n  recorded {expected:?}",
            self.name, step["step"], step["session"], step["op"]
        ));
    }

    fn step(&mut self, step: &Value) {
        self.steps += 1;
        let handle = step["session"].as_str().unwrap_or("").to_owned();
        let mut before = Vec::new();
        match step["op"].as_str().unwrap() {
            "connect" | "reconnect" => {
                let reply = self.connect(&handle, step);
                self.compare_reply(step, reply.as_ref());
            }
            "disconnect" => self.disconnect(&handle),
            "expire" | "await_server_txn" => self.await_txn(&handle, step),
            "sleep" => self.sleep(Span::millis(step["ms"].as_u64().unwrap())),
            "flush_on" => self.connections.get_mut(&handle).unwrap().flushes = true,
            "await_close" | "drain" | "survey" => {}
            "server_kill" => {
                for host in hosts(step) {
                    self.network.kill(host);
                }
                self.network.run(Span::secs(5));
            }
            "server_start" => {
                for host in hosts(step) {
                    self.network.boot(host);
                }
                self.network.run(Span::secs(5));
            }
            "await_leader" => {
                let led = self.network.run_until(Span::secs(10), |network| network.leader().is_some());
                let leader = self.network.leader().map(|host| host + 1);
                assert!(led && step["observed"]["leader"] == json!(leader), "{}: {leader:?} leads", self.name);
            }
            "4lw" => self.operator(step),
            "dump_tree" => self.compare_tree(&handle, step),
            _ => {
                let (reply, events) = self.operation(&handle, step);
                before = events;
                if step["unreadable"] != true {
                    self.compare_reply(step, reply.as_ref());
                }
            }
        }
        self.flush(None);
        self.note_ends(step);
        self.compare_events(&handle, step, before);
        self.compare_closed(step);
        let expected = step["zxid_after"].as_i64();
        if self.connections.values().any(|connection| connection.flushes && !connection.closed)
            && Some(self.zxid) != expected
        {
            let zxid = self.zxid;
            self.differ(step, "the last zxid", &zxid, &expected);
        }
    }

    fn connect(&mut self, handle: &str, step: &Value) -> Option<ServerFrame> {
        // A handle that connects again replaces its connection; the old one stays open until the server closes it.
        if let Some(old) = self.connections.remove(handle) {
            self.connections.insert(format!("{handle}~old"), old);
        }
        let request = ClientFrame::decode_connect(&hex(step["request_hex"].as_str().unwrap())).unwrap();
        let ClientFrame::Connect(mut request) = request else { panic!("a connect is one") };
        if let Some(session) = step["sessionId"].as_str() {
            let session = self.symbols.session(session);
            request.session = session;
            let right = jute::password::session_password(session);
            let password = match step["passwd"].as_str().unwrap() {
                "right" => right.to_vec(),
                "wrong" => {
                    let mut wrong = right.to_vec();
                    wrong[0] ^= 0xff;
                    wrong
                }
                "zero" => vec![0; 16],
                "empty" => Vec::new(),
                other => panic!("a password that is {other}"),
            };
            request.password = Buffer::new(password);
        }
        let server = usize::try_from(step["server"].as_u64().unwrap()).unwrap() - 1;
        let client = self.network.open(server, request);
        let flushes = step["noflush"] != true;
        self.connections.insert(handle.to_owned(), Connection { client, read: 0, flushes, closed: false });
        let (frame, events) = self.take_until_reply(handle, |frame| matches!(frame, ServerFrame::Connect(_)));
        assert!(events.is_empty(), "nobody is told anything before he has a session");
        if let Some(ServerFrame::Connect(response)) = &frame
            && !response.session.is_zero()
        {
            let symbol = step["norm"]["reply"]["sessionId"].as_str().unwrap_or("?").to_owned();
            self.symbols.name(response.session, &symbol);
        }
        frame
    }

    fn disconnect(&mut self, handle: &str) {
        if let Some(connection) = self.connections.remove(handle) {
            self.network.hang_up(connection.client);
            self.network.run(Span::millis(1));
        }
    }

    /// Time passes, with flushes on everybody else's connections, until the server has made a txn of its own.
    fn await_txn(&mut self, handle: &str, step: &Value) {
        let is_expiry = step["op"] == "expire";
        let used = step["zxids_used"].as_i64().unwrap();
        let before = self.zxid;
        let mut waited = 0;
        while self.zxid < before + used {
            self.network.run(Span::millis(20));
            waited += 20;
            self.flush(Some(handle).filter(|_| is_expiry));
            if waited > 65_000 {
                self.differ(step, "no txn of the server's own", &waited, &used);
                return;
            }
        }
        if let Some(timeout) = step["timeOut"].as_u64().filter(|_| is_expiry)
            && !(timeout..=timeout + 1_100).contains(&(waited + 20))
        {
            self.differ(step, "ms until the session expired", &waited, &timeout);
        }
    }

    fn sleep(&mut self, span: Span) {
        let mut left = span;
        while left > Span::ZERO {
            let some = left.min(Span::millis(100));
            self.network.run(some);
            self.flush(None);
            left = left.saturating_sub(some);
        }
    }

    /// The reply, and the events before it.
    fn operation(&mut self, handle: &str, step: &Value) -> (Option<ServerFrame>, Vec<String>) {
        let frame = match step["request_hex"].as_str() {
            Some(text) => ClientFrame::decode(&hex(text)).unwrap(),
            None => rebuilt(step),
        };
        let Some(connection) = self.connections.get(handle).filter(|connection| !connection.closed) else {
            return (None, Vec::new());
        };
        self.network.say(connection.client, frame);
        let xid = Xid::new(i32::try_from(step["xid"].as_i64().unwrap()).unwrap());
        self.take_until_reply(handle, |frame| matches!(frame, ServerFrame::Reply { header, .. } if header.xid == xid))
    }

    /// Runs until the reply is there, the connection ends, or nothing came for 0.7 s.
    fn take_until_reply(
        &mut self,
        handle: &str,
        is_reply: impl Fn(&ServerFrame) -> bool,
    ) -> (Option<ServerFrame>, Vec<String>) {
        let Connection { client, read, .. } = self.connections[handle];
        self.network.run_until(Span::millis(700), |network| {
            let client = &network.clients[client];
            client.lost || client.frames[read..].iter().any(&is_reply)
        });
        let mut events = Vec::new();
        let mut reply = None;
        let frames = self.network.clients[client].frames[read..].to_vec();
        let mut taken = 0;
        for frame in frames {
            taken += 1;
            match frame {
                ServerFrame::Notification { zxid, event: seen } => events.push(event(&seen, zxid)),
                frame if is_reply(&frame) => {
                    reply = Some(frame);
                    break;
                }
                other => panic!("{}: {handle} waits for a reply and gets {other:?}", self.name),
            }
        }
        self.connections.get_mut(handle).unwrap().read += taken;
        (reply, events)
    }

    fn flush(&mut self, but: Option<&str>) {
        let handles: Vec<String> = self.connections.keys().cloned().collect();
        for handle in handles {
            let Connection { client, read, flushes, closed } = self.connections[&handle];
            if Some(handle.as_str()) == but || !flushes || closed || self.network.clients[client].lost {
                continue;
            }
            if self.is_ensemble {
                self.flush_with(client, read, Request::Sync(SyncRequest { path: Some("/".to_owned()) }));
            }
            let exists = Request::Exists(ExistsRequest { path: "/zookeeper".to_owned(), watch: false });
            self.flush_with(client, read, exists);
        }
    }

    fn flush_with(&mut self, client: usize, read: usize, request: Request) {
        let xid = Xid::new(self.next_flush);
        self.next_flush += 1;
        self.network.say(client, ClientFrame::Request { xid, request });
        let is_reply = |frame: &ServerFrame| matches!(frame, ServerFrame::Reply { header, .. } if header.xid == xid);
        self.network.run_until(Span::secs(1), |network| {
            let client = &network.clients[client];
            client.lost || client.frames[read..].iter().any(is_reply)
        });
        let frames = &mut self.network.clients[client].frames;
        if let Some(at) = frames[read..].iter().position(is_reply) {
            let ServerFrame::Reply { header, .. } = frames.remove(read + at) else { panic!("a reply") };
            self.zxid = self.zxid.max(header.zxid.map_or(0, Zxid::to_wire));
        }
    }

    /// Connections that have ended. The recorder looked at one that it did not flush only when it waited for its end.
    fn note_ends(&mut self, step: &Value) {
        if step["op"] == "server_start" {
            return;
        }
        for (handle, connection) in &mut self.connections {
            let looks = connection.flushes
                || step["session"] == handle.as_str()
                    && ["await_close", "closeSession", "auth"].iter().any(|&op| step["op"] == op);
            if looks && self.network.clients[connection.client].lost && !connection.closed {
                connection.closed = true;
                self.closed.insert(handle.clone());
            }
        }
    }

    fn compare_reply(&mut self, step: &Value, reply: Option<&ServerFrame>) {
        let expected = recorded_reply(step.get("norm").map_or(&Value::Null, |norm| &norm["reply"]));
        let mut found = reply.map_or(Value::Null, |reply| self.symbols.reply(reply));
        if let (Some(Value::Array(found)), Some(Value::Array(_))) = (found.get_mut("acl"), expected.get("acl")) {
            found.sort_by_key(Value::to_string);
        }
        if found != expected {
            self.differ(step, "the reply", &found.to_string(), &expected.to_string());
        }
    }

    fn compare_events(&mut self, handle: &str, step: &Value, before: Vec<String>) {
        let recorded =
            |events: &Value| -> Vec<String> { events.as_array().into_iter().flatten().map(recorded_event).collect() };
        let expected_before = recorded(&step["events_before_reply"]);
        self.events += before.len();
        if before != expected_before {
            self.differ(step, "events before the reply", &before, &expected_before);
        }
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in step["events"].as_array().into_iter().flatten() {
            expected.entry(event["session"].as_str().unwrap().to_owned()).or_default().push(recorded_event(event));
        }
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (handle, connection) in &mut self.connections {
            let frames = &self.network.clients[connection.client].frames[connection.read..];
            connection.read += frames.len();
            for frame in frames {
                let ServerFrame::Notification { zxid, event: seen } = frame else {
                    panic!("{} step {}: {handle} got {frame:?}", self.name, step["step"])
                };
                found.entry(handle.clone()).or_default().push(event(seen, *zxid));
            }
        }
        // The order of a session's ephemerals, and of what setWatches lists, is that of a hash set in the real server.
        if step["op"] == "closeSession" || step["op"] == "expire" {
            expected.values_mut().chain(found.values_mut()).for_each(|events| events.sort());
        }
        self.events += found.values().map(Vec::len).sum::<usize>();
        if found != expected {
            self.differ(step, &format!("events after what {handle} did"), &found, &expected);
        }
    }

    fn compare_closed(&mut self, step: &Value) {
        let recorded: BTreeSet<String> =
            step["closed"].as_array().into_iter().flatten().map(|handle| handle.as_str().unwrap().to_owned()).collect();
        let closed = std::mem::take(&mut self.closed);
        for handle in &closed {
            self.connections.remove(handle);
        }
        if closed != recorded {
            self.differ(step, "connections closed", &closed, &recorded);
        }
    }

    /// One question of the replay's own.
    fn ask(&mut self, handle: &str, request: Request) -> ServerFrame {
        let xid = Xid::new(self.next_own);
        self.next_own += 1;
        self.network.say(self.connections[handle].client, ClientFrame::Request { xid, request });
        let is_reply = |frame: &ServerFrame| matches!(frame, ServerFrame::Reply { header, .. } if header.xid == xid);
        let (reply, events) = self.take_until_reply(handle, is_reply);
        assert!(events.is_empty(), "a dump changes nothing");
        reply.expect("a read is answered")
    }

    /// Compares what an operator is told, as far as the recording holds it to be comparable.
    fn operator(&mut self, step: &Value) {
        let name = step["cmd"].as_str().unwrap();
        let server = usize::try_from(step["server"].as_u64().unwrap()).unwrap() - 1;
        let Some(word) = FourLetterWord::from_name(name) else {
            assert_eq!(step["text"], "", "no server knows {name}");
            return;
        };
        let text = self.network.operator(server, word);
        let found = operator::normalised(word, &text, &|session| self.symbols.name_of(session));
        let expected = operator::comparable(word, &step["text_norm"]);
        if found != expected {
            self.differ(step, name, &found.to_string(), &expected.to_string());
        }
    }

    /// Compares every node, as one client sees it.
    fn compare_tree(&mut self, handle: &str, step: &Value) {
        let expected = recorded_reply(&step["norm"]["reply"]["nodes"]);
        let mut found = serde_json::Map::new();
        let mut paths = vec![step["root"].as_str().unwrap().to_owned()];
        let _ = self.ask(handle, Request::Sync(SyncRequest { path: Some("/".to_owned()) }));
        while let Some(path) = paths.pop() {
            let mut node = json!({});
            let reads = [
                ("getData", Request::GetData(GetDataRequest { path: path.clone(), watch: false })),
                ("getChildren", Request::GetChildren(GetChildrenRequest { path: path.clone(), watch: false })),
                ("getACL", Request::GetAcl(GetAclRequest { path: path.clone() })),
                ("exists", Request::Exists(ExistsRequest { path: path.clone(), watch: false })),
            ];
            for (name, request) in reads {
                let frame = self.ask(handle, request);
                let ServerFrame::Reply { header, response } = &frame else { panic!("a reply") };
                match response {
                    Some(Response::GetData(_)) => {
                        let reply = self.symbols.reply(&frame);
                        node["data"] = reply["data"].clone();
                        node["stat"] = reply["stat"].clone();
                    }
                    Some(Response::GetChildren(children)) => {
                        let slash = if path == "/" { "" } else { "/" };
                        paths.extend(children.children.iter().map(|name| format!("{path}{slash}{name}")));
                    }
                    Some(Response::GetAcl(acl)) => node["acl"] = acl_json(&acl.acl),
                    Some(Response::Exists(exists)) => node["stat"] = self.symbols.stat(&exists.stat),
                    _ => node[format!("{name}_err")] = json!(header.err.to_string()),
                }
            }
            if node.get("acl").is_none() {
                node["acl"] = Value::Null;
            }
            found.insert(path, node);
        }
        let Value::Object(mut expected) = expected else { panic!("nodes by path") };
        for node in expected.values_mut() {
            for name in ["getData_err", "getChildren_err", "getACL_err"] {
                if let Some(Value::String(err)) = node.get_mut(name) {
                    *err = err.to_uppercase();
                }
            }
        }
        for path in expected.keys().chain(found.keys()).cloned().collect::<BTreeSet<String>>() {
            let (found, expected) = (found.get(&path), expected.get(&path));
            if found != expected {
                let text = |node: Option<&Value>| node.map(Value::to_string);
                self.differ(step, &path, &text(found), &text(expected));
            }
        }
    }
}

/// Leaves a snapshot on the first server's disk, before it boots.
fn load(network: &mut Network, tree: &Value) {
    let number = |node: &Value, key: &str| node[key].as_i64().unwrap_or(0);
    let version = |node: &Value, key: &str| Version::new(i32::try_from(number(node, key)).unwrap());
    let nodes = tree["nodes"].as_object().unwrap().iter().map(|(path, node)| {
        let zxid = |key: &str| Zxid::from_wire(number(node, key)).unwrap();
        let stat = StatPersisted {
            czxid: zxid("czxid"),
            mzxid: zxid("mzxid"),
            pzxid: zxid("pzxid"),
            version: version(node, "version"),
            cversion: version(node, "cversion"),
            aversion: version(node, "aversion"),
            // Any time will do: they are not compared, but for being none.
            ctime: i64::from(node["ctime"] == "T"),
            mtime: i64::from(node["mtime"] == "T"),
            ephemeral_owner: 0,
        };
        let data = recorded_data(&node["data"]).map_or(Buffer::NULL, Buffer::new);
        let acl = if path == "/zookeeper/config" {
            2
        } else if path.starts_with("/of") {
            1
        } else {
            -1
        };
        (if path == "/" { String::new() } else { path.clone() }, PersistedNode { data, acl, stat })
    });
    let zxid = Zxid::from_wire(tree["last_zxid"].as_i64().unwrap()).unwrap();
    let image = SnapshotImage {
        sessions: Vec::new(),
        acls: vec![(AclId(1), Acl::open()), (AclId(2), Acl::read_only())],
        nodes: nodes.collect(),
        digest: None,
        last_processed: None,
    };
    network.rigs[0].with_io(|config, io| {
        let file = io.disk().create(&snapshot_path(&config.data_dir, zxid)).unwrap();
        io.disk().append(file, &image.encode()).unwrap();
    });
}

/// The hosts of the servers that a step is about.
fn hosts(step: &Value) -> Vec<usize> {
    let sids = step["servers"].as_array().unwrap().iter();
    sids.map(|sid| usize::try_from(sid.as_u64().unwrap()).unwrap() - 1).collect()
}

/// A request whose frame is too long to be recorded.
fn rebuilt(step: &Value) -> ClientFrame {
    let path = step["path"].as_str().unwrap_or("").to_owned();
    let data = recorded_data(&step["data"]).map_or(Buffer::NULL, Buffer::new);
    let xid = Xid::new(i32::try_from(step["xid"].as_i64().unwrap()).unwrap());
    let create = || {
        let acl = |entry: &Value| Acl {
            perms: i32::try_from(entry["perms"].as_i64().unwrap()).unwrap(),
            id: Id {
                scheme: entry["scheme"].as_str().unwrap().to_owned(),
                id: entry["id"].as_str().unwrap().to_owned(),
            },
        };
        CreateRequest {
            path: path.clone(),
            data: data.clone(),
            acl: step["acl"].as_array().map(|list| list.iter().map(acl).collect()),
            flags: i32::try_from(step["flags"].as_i64().unwrap()).unwrap(),
        }
    };
    let request = match step["op"].as_str().unwrap() {
        "create" => Request::Create(create()),
        "create2" => Request::Create2(create()),
        "exists" => Request::Exists(ExistsRequest { path, watch: step["watch"].as_bool().unwrap() }),
        "setData" => {
            let version = Version::new(i32::try_from(step["version"].as_i64().unwrap()).unwrap());
            Request::SetData(SetDataRequest { path, data, version })
        }
        "setWatches" => {
            let paths =
                |name: &str| step[name].as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned());
            Request::SetWatches(SetWatchesRequest {
                relative_zxid: Zxid::from_wire(step["relativeZxid"].as_i64().unwrap()).unwrap(),
                data_watches: paths("dataWatches").collect(),
                exist_watches: paths("existWatches").collect(),
                child_watches: paths("childWatches").collect(),
            })
        }
        other => panic!("no long {other} was recorded"),
    };
    let frame = ClientFrame::Request { xid, request };
    assert_eq!(frame.wire_len() as u64 - 4, step["request_hex"]["len"].as_u64().unwrap(), "{step}");
    frame
}
