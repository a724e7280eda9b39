//! Replays recordings of a real server against a standalone one, step by step.
//!
//! The recorder flushed after each step: an `exists /zookeeper` on every open connection. So does the replay, which keeps
//! sessions alive and shows the last zxid. Simulated time passes only where the recording waited for an expiry.
//!
//! What this server does not have is left out, and counted: the caller asserts how much. A write that is left out is replaced by
//! one that fails (`delete /`), so that zxids stay those of the recording; a container or TTL znode is replaced by a persistent one,
//! which clients cannot tell apart. Where watches were added or removed by operations that are left out, events are no longer
//! compared. 3.8.0 differs from 3.9 in four ways that are allowed for: events carry no zxid (§8.4), a create2 in a multi is answered
//! like a create (§5.6), an ACL cannot name an IPv6 address (§6.4), and a top-level check is not refused but logged (§4.3,
//! ZOOKEEPER-2623).

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it knows, and panics at anything else")]

use std::collections::{BTreeMap, BTreeSet};

use coordinator::{Coordinator, Fact, Message, ServerConfig};
use jute::client::{
    ClientFrame, ClientPacket, CreateRequest, DeleteRequest, ExistsRequest, GetDataRequest, MultiOp, Request,
    ServerFrame,
};
use jute::op::{ErrorCode, OpCode};
use jute::{Buffer, DecodeError, Version, Xid, Zxid};
use machine::rig::Rig;
use machine::{Effect, EndId, HostId, Input, Loss, Span};
use serde_json::Value;

use super::transcript::{Symbols, Transcript, event, forget_aversions, hex, recorded_event, recorded_reply};

/// First xid of the flushes, as the recorder's.
const FLUSH_XID: i32 = 0x4000_0000;
/// First xid of the requests that stand for something else.
const STAND_IN_XID: i32 = 0x5000_0000;
/// Ends dialled by clients are far from those the server would number.
const FIRST_END: u32 = 1_000_000;

/// How a step went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Step {
    /// Executed and compared.
    Compared,
    /// Executed in another form and compared.
    Substituted,
    /// Left out: an operation this server does not have.
    LeftOut,
}

struct Connection {
    end: EndId,
    /// Frames received and not looked at.
    received: Vec<ServerFrame>,
    symbol: String,
}

/// A replay under way.
pub(crate) struct Replay {
    name: String,
    rig: Rig<Coordinator>,
    connections: BTreeMap<String, Connection>,
    symbols: Symbols,
    next_end: u32,
    next_flush: i32,
    next_stand_in: i32,
    zxid: i64,
    closed: BTreeSet<String>,
    /// Connections and paths, with all below them, whose watches are no longer those of the recording.
    odd_watches: BTreeSet<(String, String)>,
    /// Nodes whose ACL was set in the recording, by czxid.
    acl_set: BTreeSet<i64>,
    pub(crate) events: usize,
    pub(crate) counts: BTreeMap<Step, usize>,
}

fn config(header: &Value) -> ServerConfig {
    let config = &header["config"];
    let millis = |key: &str| config.get(key).and_then(Value::as_u64).map(Span::millis);
    ServerConfig {
        tick_time: millis("tickTime").unwrap(),
        min_session_timeout: millis("minSessionTimeout"),
        max_session_timeout: millis("maxSessionTimeout"),
        max_client_cnxns: u32::try_from(config["maxClientCnxns"].as_u64().unwrap()).unwrap(),
        ..ServerConfig::standalone()
    }
}

impl Replay {
    /// Replays all of a transcript.
    pub(crate) fn run(name: &str) -> Self {
        let transcript = Transcript::read(name);
        assert_eq!(transcript.header["mode"], "standalone");
        let mut rig = Rig::new(config(&transcript.header), 1);
        rig.boot();
        rig.settle();
        let mut replay = Self {
            name: name.to_owned(),
            rig,
            connections: BTreeMap::new(),
            symbols: Symbols::default(),
            next_end: FIRST_END,
            next_flush: FLUSH_XID,
            next_stand_in: STAND_IN_XID,
            zxid: 0,
            closed: BTreeSet::new(),
            odd_watches: BTreeSet::new(),
            acl_set: BTreeSet::new(),
            events: 0,
            counts: BTreeMap::new(),
        };
        for step in &transcript.steps {
            let how = replay.step(step);
            *replay.counts.entry(how).or_default() += 1;
        }
        replay
    }

    pub(crate) fn count(&self, step: Step) -> usize {
        self.counts.get(&step).copied().unwrap_or(0)
    }

    fn step(&mut self, step: &Value) -> Step {
        let handle = step["session"].as_str().unwrap();
        let how = match step["op"].as_str().unwrap() {
            "connect" | "reconnect" => self.connect(handle, step),
            "disconnect" => {
                self.disconnect(handle);
                Step::Compared
            }
            "expire" => {
                self.expire(handle, step);
                Step::Compared
            }
            "dump_tree" => {
                self.compare_tree(step);
                Step::Compared
            }
            _ => self.operation(handle, step),
        };
        let reply = if how == Step::LeftOut { None } else { self.take_reply(handle, step) };
        if how == Step::LeftOut {
            self.stand_in(step);
        }
        self.flush(None);
        self.compare(handle, step, reply, how);
        how
    }

    /// What this step is called in a failure.
    fn place(&self, step: &Value) -> String {
        format!("{} step {} ({} {})", self.name, step["step"], step["session"], step["op"])
    }

    fn connect(&mut self, handle: &str, step: &Value) -> Step {
        // A handle that connects again replaces its connection; the old one stays open until the server closes it.
        if let Some(old) = self.connections.remove(handle) {
            self.connections.insert(format!("{handle}~old"), old);
        }
        let ClientFrame::Connect(mut request) =
            ClientFrame::decode_connect(&hex(step["request_hex"].as_str().unwrap())).unwrap()
        else {
            panic!("a connect is one")
        };
        let symbol = step["norm"]["reply"]["sessionId"].as_str().unwrap_or("").to_owned();
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
        let end = EndId(self.next_end);
        self.next_end += 1;
        self.connections.insert(handle.to_owned(), Connection { end, received: Vec::new(), symbol });
        self.rig.feed(Input::Accepted { on: end, port: coordinator::config::CLIENT_PORT, peer: HostId(9) });
        self.rig.settle();
        self.collect();
        self.send(handle, ClientFrame::Connect(request));
        Step::Compared
    }

    fn disconnect(&mut self, handle: &str) {
        if let Some(connection) = self.connections.remove(handle) {
            self.rig.feed(Input::Lost { on: connection.end, why: Loss::Closed });
            self.rig.settle();
            self.collect();
        }
    }

    /// Time passes, with flushes on everybody else's connections, until the server has made a txn of its own.
    fn expire(&mut self, handle: &str, step: &Value) {
        let timeout = step["timeOut"].as_u64().unwrap();
        let before = self.zxid;
        let started = self.rig.clock.now;
        while self.zxid == before {
            self.rig.advance(Span::millis(20));
            self.rig.settle();
            self.collect();
            self.flush(Some(handle));
            let waited = (self.rig.clock.now - started).as_millis();
            assert!(waited <= timeout + 2_000, "{}: {waited} ms and no expiry", self.place(step));
        }
        let waited = (self.rig.clock.now - started).as_millis();
        assert!(waited + 20 >= timeout, "{}: expired after {waited} ms", self.place(step));
    }

    fn operation(&mut self, handle: &str, step: &Value) -> Step {
        if step["unreadable"] == true {
            // Java wrote the halves of a surrogate pair one by one: the recorded reply is no text.
            return Step::LeftOut;
        }
        let frame = ClientFrame::decode(&hex(step["request_hex"].as_str().unwrap())).unwrap();
        let err = step["norm"]["reply"]["err"].as_i64().unwrap_or(0);
        let (frame, how) = match frame {
            ClientFrame::Request { xid, request } => match self.substitute(handle, request, err, step) {
                Some((request, how)) => (ClientFrame::Request { xid, request }, how),
                None => return Step::LeftOut,
            },
            ClientFrame::Malformed { op, .. } if !is_implemented(op) => return Step::LeftOut,
            // The real server trips over some nulls later, with another error; what fails, fails all the same.
            frame @ ClientFrame::Malformed { error: DecodeError::UnexpectedNull, .. } if err != 0 => {
                (frame, Step::Substituted)
            }
            frame @ (ClientFrame::Malformed { .. } | ClientFrame::Unknown { .. } | ClientFrame::Connect(_)) => {
                (frame, Step::Compared)
            }
        };
        if !self.connections.contains_key(handle) {
            assert!(step["norm"]["reply"].is_null(), "{}: the connection is gone", self.place(step));
            return Step::LeftOut;
        }
        self.send(handle, frame);
        how
    }

    /// The request to send; none if this server cannot do anything like it.
    fn substitute(&mut self, handle: &str, request: Request, err: i64, step: &Value) -> Option<(Request, Step)> {
        if err == i64::from(ErrorCode::NoAuth.code()) {
            return None;
        }
        // A container whatever else the flags say, and perhaps a sequential one.
        let persistent =
            |create: CreateRequest| CreateRequest { flags: i32::from([2, 3, 6].contains(&create.flags)) * 2, ..create };
        match request {
            Request::CreateContainer(create) if err == 0 => {
                Some((Request::Create2(persistent(create)), Step::Substituted))
            }
            Request::CreateTtl(create) if err == 0 => {
                let flags = i32::from(create.flags == 6) * 2;
                let create = CreateRequest { path: create.path, data: create.data, acl: create.acl, flags };
                Some((Request::Create2(create), Step::Substituted))
            }
            Request::Multi(mut multi) => {
                let results = step["norm"]["reply"]["results"].as_array().cloned().unwrap_or_default();
                let errs: Vec<i64> = results.iter().map(|result| result["err"].as_i64().unwrap_or(0)).collect();
                let odd = multi.ops.iter().any(|op| !is_implemented(op.op()) && op.op() != OpCode::Check);
                if errs.contains(&i64::from(ErrorCode::NoAuth.code())) || odd && errs.iter().any(|&err| err != 0) {
                    return None;
                }
                for op in &mut multi.ops {
                    if let MultiOp::CreateContainer(create) = op {
                        *op = MultiOp::Create2(persistent(create.clone()));
                    } else if let MultiOp::CreateTtl(create) = op {
                        let create = create.clone();
                        let flags = i32::from(create.flags == 6) * 2;
                        *op = MultiOp::Create2(CreateRequest {
                            path: create.path,
                            data: create.data,
                            acl: create.acl,
                            flags,
                        });
                    }
                }
                Some((Request::Multi(multi), if odd { Step::Substituted } else { Step::Compared }))
            }
            Request::SetAcl(_) if err == 0 => {
                self.acl_set.insert(step["norm"]["reply"]["stat"]["czxid"].as_i64().unwrap());
                None
            }
            Request::AddWatch(watch) if err == 0 => {
                self.odd_watches.insert((handle.to_owned(), watch.path));
                None
            }
            Request::RemoveWatches(watch) if err == 0 => {
                self.odd_watches.insert((handle.to_owned(), watch.path));
                None
            }
            Request::SetWatches2(set) if err == 0 => {
                let lists = [
                    set.data_watches,
                    set.exist_watches,
                    set.child_watches,
                    set.persistent_watches,
                    set.persistent_recursive_watches,
                ];
                self.odd_watches.extend(lists.into_iter().flatten().map(|path| (handle.to_owned(), path)));
                None
            }
            // 3.8 knew no IPv6 in ACLs.
            Request::Create(create) | Request::Create2(create) if names_ipv6(&create) => None,
            // A container or TTL node by the opcode of another: refused here (§5.3), let through by the real server, but for TTL
            // nodes where `extendedTypesEnabled` is off.
            Request::Create(create) if create.flags >= 4 && create.flags <= 6 => {
                let sequential = create.flags == 6;
                let plain = CreateRequest { flags: i32::from(sequential) * 2, ..create };
                (err == 0).then_some((Request::Create(plain), Step::Substituted))
            }
            Request::Create2(create) if create.flags >= 4 && create.flags <= 6 => {
                let sequential = create.flags == 6;
                let plain = CreateRequest { flags: i32::from(sequential) * 2, ..create };
                (err == 0).then_some((Request::Create2(plain), Step::Substituted))
            }
            // Quotas are not kept.
            Request::GetData(get) if get.path.starts_with("/zookeeper/quota/") => None,
            request if is_implemented(request.op()) => Some((request, Step::Compared)),
            // Refused by both: by this server together with much else.
            _ if err == i64::from(ErrorCode::Unimplemented.code()) && step["closed"].is_array() => {
                Some((request, Step::Compared))
            }
            _ => None,
        }
    }

    fn send(&mut self, handle: &str, frame: ClientFrame) {
        let on = self.connections[handle].end;
        self.rig.feed(Input::Message { on, message: Message::Client(ClientPacket::ToServer(frame)) });
        self.rig.settle();
        self.collect();
    }

    /// Sorts what the server sent by connection.
    fn collect(&mut self) {
        for effect in self.rig.take_effects() {
            match effect {
                Effect::Send { on, message: Message::Client(ClientPacket::ToClient(frame)) } => {
                    if let Some(connection) = self.connections.values_mut().find(|connection| connection.end == on) {
                        connection.received.push(frame);
                    }
                }
                Effect::Close { end } => {
                    let handle = self.connections.iter().find(|(_, connection)| connection.end == end);
                    let handle = handle.expect("the server closes what is open").0.clone();
                    self.closed.insert(handle);
                }
                Effect::State(Fact::Applied { zxid, txn_digest, tree_digest, .. }) => {
                    assert_eq!(txn_digest, tree_digest, "{}: the digest predicted for {zxid}", self.name);
                }
                Effect::Listen { .. } | Effect::State(_) | Effect::Reach(_) => {}
                other => panic!("{}: {other:?}", self.name),
            }
        }
    }

    /// The reply of the acting connection, and, before it, its events.
    fn take_reply(&mut self, handle: &str, step: &Value) -> Option<ServerFrame> {
        let connection = self.connections.get_mut(handle)?;
        let at = connection.received.iter().position(|frame| !matches!(frame, ServerFrame::Notification { .. }))?;
        assert!(
            connection.received[at + 1..].iter().all(|frame| matches!(frame, ServerFrame::Notification { .. })),
            "one reply to one request: {step}"
        );
        let reply = connection.received.remove(at);
        if let ServerFrame::Connect(response) = &reply
            && !response.session.is_zero()
        {
            self.symbols.name(response.session, &connection.symbol);
        }
        Some(reply)
    }

    /// As many zxids as a step took that was left out: by deletes of the root, on whatever connection is open.
    fn stand_in(&mut self, step: &Value) {
        let Some(after) = step["zxid_after"].as_i64() else { return };
        while self.zxid < after {
            let handle = self.connections.keys().find(|handle| !self.closed.contains(*handle)).cloned();
            let Some(handle) = handle else { return };
            let xid = Xid::new(self.next_stand_in);
            self.next_stand_in += 1;
            let request = Request::Delete(DeleteRequest { path: "/".to_owned(), version: Version::ANY });
            self.send(&handle, ClientFrame::Request { xid, request });
            let reply = self.take_reply(&handle, step).expect("a stand-in is answered");
            let ServerFrame::Reply { header, .. } = reply else { panic!("a reply") };
            assert_eq!(header.err, ErrorCode::BadArguments);
            self.zxid = header.zxid.unwrap().to_wire();
        }
    }

    fn flush(&mut self, but: Option<&str>) {
        let handles: Vec<String> = self.connections.keys().cloned().collect();
        for handle in handles {
            if Some(handle.as_str()) == but || self.closed.contains(&handle) {
                continue;
            }
            let xid = Xid::new(self.next_flush);
            self.next_flush += 1;
            let request = Request::Exists(ExistsRequest { path: "/zookeeper".to_owned(), watch: false });
            self.send(&handle, ClientFrame::Request { xid, request });
            let connection = self.connections.get_mut(&handle).unwrap();
            let at = connection.received.iter().position(|frame| matches!(frame, ServerFrame::Reply { .. }));
            if let Some(at) = at {
                let ServerFrame::Reply { header, .. } = connection.received.remove(at) else { panic!("a reply") };
                assert_eq!(header.xid, xid, "a flush is answered in its turn");
                self.zxid = self.zxid.max(header.zxid.map_or(0, Zxid::to_wire));
            }
        }
    }

    fn compare(&mut self, handle: &str, step: &Value, reply: Option<ServerFrame>, how: Step) {
        let place = self.place(step);
        let recorded = recorded_reply(step.get("norm").map_or(&Value::Null, |norm| &norm["reply"]));
        if how != Step::LeftOut && step["op"] != "dump_tree" && step["op"] != "disconnect" && step["op"] != "expire" {
            let mut expected = recorded;
            let mut reply = reply.as_ref().map_or(Value::Null, |reply| self.symbols.reply(reply));
            let acl_set = |czxid: i64| self.acl_set.contains(&czxid);
            forget_aversions(&mut expected, &acl_set);
            forget_aversions(&mut reply, &acl_set);
            if let Some(results) = expected.get_mut("results").and_then(Value::as_array_mut) {
                for result in results {
                    // A container's or TTL znode's create, executed as another.
                    if result["type"] == 19 || result["type"] == 21 || result["type"] == 15 {
                        *result = serde_json::json!({ "type": 1, "path": result["path"] });
                    }
                }
            }
            if how == Step::Substituted && reply["err"] == ErrorCode::MarshallingError.code() {
                assert!(expected["err"] != 0, "{place}: what is malformed fails");
                expected["err"] = reply["err"].clone();
            }
            assert_eq!(reply, expected, "{place}: the reply");
        }
        self.compare_events(handle, step, how, &place);
        let recorded_closed: BTreeSet<String> = step["closed"]
            .as_array()
            .map(|closed| closed.iter().map(|handle| handle.as_str().unwrap().to_owned()).collect())
            .unwrap_or_default();
        let closed = std::mem::take(&mut self.closed);
        if how == Step::LeftOut {
            // Whoever the recorded server cut off is cut off here, too.
            for handle in recorded_closed.difference(&closed) {
                self.disconnect(handle);
            }
        } else {
            assert_eq!(closed, recorded_closed, "{place}: connections closed");
        }
        for handle in &closed {
            self.connections.remove(handle);
        }
        if !self.connections.is_empty() {
            assert_eq!(Some(self.zxid), step["zxid_after"].as_i64(), "{place}: the last zxid");
        }
    }

    fn compare_events(&mut self, handle: &str, step: &Value, how: Step, place: &str) {
        let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let before = step["events_before_reply"].as_array().into_iter().flatten().map(|event| (handle, event));
        let after = step["events"].as_array().into_iter().flatten();
        for (handle, event) in before.chain(after.map(|event| (event["session"].as_str().unwrap(), event))) {
            recorded.entry(handle.to_owned()).or_default().push(recorded_event(event));
        }
        // The order of a session's ephemerals is that of a hash set in the real server.
        let unordered = step["op"] == "closeSession" || step["op"] == "expire";
        let without_zxid = step["op"] == "setWatches";
        let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (handle, connection) in &mut self.connections {
            for frame in std::mem::take(&mut connection.received) {
                let ServerFrame::Notification { zxid, event: seen_event } = frame else {
                    panic!("{place}: {handle} got {frame:?}")
                };
                if without_zxid {
                    assert_eq!(zxid, None, "{place}: what setWatches finds has no zxid");
                } else {
                    assert_eq!(zxid.map(Zxid::to_wire), Some(self.zxid), "{place}: an event has the zxid of its txn");
                }
                seen.entry(handle.clone()).or_default().push(event(&seen_event));
            }
        }
        for events in [&mut recorded, &mut seen] {
            for (handle, events) in events.iter_mut() {
                events.retain(|event| !self.is_odd(handle, event));
            }
            events.retain(|_, events| !events.is_empty());
            if unordered {
                events.values_mut().for_each(|events| events.sort());
            }
        }
        if how == Step::LeftOut {
            assert!(seen.is_empty(), "{place}: events of a step that was left out");
            // What it would have fired is still watched here.
            for (handle, events) in recorded {
                self.odd_watches.extend(events.iter().map(|event| (handle.clone(), path_of(event).to_owned())));
            }
        } else {
            assert_eq!(seen, recorded, "{place}: events");
            self.events += seen.values().map(Vec::len).sum::<usize>();
        }
    }

    /// Whether an event is of a watch that this server and the recorded one no longer agree on.
    fn is_odd(&self, handle: &str, event: &str) -> bool {
        let path = path_of(event);
        self.odd_watches.iter().any(|(odd_handle, odd)| {
            let below = path
                .strip_prefix(odd.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || odd == "/");
            odd_handle == handle && below
        })
    }

    /// Compares data and stat of every node that was there at the end.
    fn compare_tree(&mut self, step: &Value) {
        let handle = self.connections.keys().next().expect("somebody reads the tree").clone();
        for (path, node) in step["norm"]["reply"]["nodes"].as_object().unwrap() {
            // The recorder's own identity could not read it, or the server keeps it in another way.
            let denied = node.as_object().unwrap().keys().any(|key| key.ends_with("_err"));
            if denied || path.starts_with("/zookeeper") {
                continue;
            }
            let xid = Xid::new(self.next_stand_in);
            self.next_stand_in += 1;
            let request = Request::GetData(GetDataRequest { path: path.clone(), watch: false });
            self.send(&handle, ClientFrame::Request { xid, request });
            let frame = self.take_reply(&handle, step).expect("a read is answered");
            let mut found = self.symbols.reply(&frame);
            let mut expected = recorded_reply(node);
            let acl_set = |czxid: i64| self.acl_set.contains(&czxid);
            forget_aversions(&mut found, &acl_set);
            forget_aversions(&mut expected, &acl_set);
            assert_eq!(
                (&found["data"], &found["stat"]),
                (&expected["data"], &expected["stat"]),
                "{}: {path} at the end",
                self.name
            );
        }
    }
}

fn names_ipv6(create: &CreateRequest) -> bool {
    create.acl.iter().flatten().any(|entry| entry.id.scheme == "ip" && entry.id.id.contains(':'))
}

/// The path of an event in the form of [`event`].
fn path_of(event: &str) -> &str {
    event.split_once(' ').expect("a type and a path").1
}

/// Whether this server implements the operation.
fn is_implemented(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Create
            | OpCode::Create2
            | OpCode::Delete
            | OpCode::Exists
            | OpCode::GetData
            | OpCode::SetData
            | OpCode::GetChildren
            | OpCode::GetChildren2
            | OpCode::Sync
            | OpCode::Ping
            | OpCode::Multi
            | OpCode::SetWatches
            | OpCode::CloseSession
    )
}
