//! Recordings of a real 3.8.0 server: reading them, and writing a server's frames the way they are written there.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use coordinator::config::{ELECTION_PORT, QUORUM_PORT};
use jute::client::{ConnectResponse, OpResult, Response, ServerFrame, WatcherEvent};
use jute::data::{Acl, Stat};
use jute::op::EventType;
use jute::password::session_password;
use jute::{SessionId, Sid, Zxid};
use machine::Port;
use serde_json::{Value, json};

/// The header and the steps of a transcript.
pub(crate) struct Transcript {
    pub(crate) header: Value,
    pub(crate) steps: Vec<Value>,
}

impl Transcript {
    /// The recordings whose names begin so, sorted.
    pub(crate) fn names(prefix: &str) -> Vec<String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/transcripts");
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            files.filter(|name| name.starts_with(prefix)).map(|name| name.replace(".jsonl", "")).collect();
        names.sort();
        names
    }

    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/conformance/transcripts/{name}.jsonl"));
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines().map(|line| {
            // Java wrote the halves of a surrogate pair one by one: such a reply is no text.
            let readable = line.replace("\\udced\\udca0\\udcbd\\udced\\udcb8\\udc80", "");
            let mut value: Value = serde_json::from_str(&readable).unwrap();
            if readable != line {
                value["unreadable"] = json!(true);
            }
            value
        });
        let header = lines.next().unwrap();
        Self { header, steps: lines.collect() }
    }
}

impl Transcript {
    /// The quorum and election port of a server, as its line in `/zookeeper/config` was read at the end; any, if nobody read it.
    pub(crate) fn ports(&self, sid: Sid) -> (Port, Port) {
        let Some(dump) = self.steps.iter().rfind(|step| step["op"] == "dump_tree") else {
            return (QUORUM_PORT, ELECTION_PORT);
        };
        let text = dump["reply"]["nodes"]["/zookeeper/config"]["data"]["utf8"].as_str().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("server.{sid}="))).unwrap();
        let mut parts = line.split(':').skip(1).map(|part| Port(part.parse().unwrap()));
        (parts.next().unwrap(), parts.next().unwrap())
    }
}

/// The bytes of a field in hexadecimal.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for byte in text.bytes().filter(|&byte| byte != b'=') {
        bits = bits << 6 | u32::try_from(ALPHABET.iter().position(|&known| known == byte).unwrap()).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}

/// How the symbols of a transcript (`@A`) stand for this server's sessions.
#[derive(Default)]
pub(crate) struct Symbols {
    names: BTreeMap<SessionId, String>,
}

impl Symbols {
    pub(crate) fn name(&mut self, session: SessionId, symbol: &str) {
        self.names.insert(session, symbol.to_owned());
    }

    /// The symbol of a session by its id in hexadecimal.
    pub(crate) fn name_of(&self, id: &str) -> String {
        let known = self.names.iter().find(|(session, _)| session.to_string() == id);
        known.map_or_else(|| id.to_owned(), |(_, name)| name.clone())
    }

    pub(crate) fn session(&self, symbol: &str) -> SessionId {
        *self.names.iter().find(|(_, name)| *name == symbol).unwrap_or_else(|| panic!("no session is {symbol}")).0
    }

    fn symbol(&self, session: SessionId) -> Value {
        if session.is_zero() {
            return json!(0);
        }
        self.names.get(&session).map_or_else(|| json!(session.to_string()), |name| json!(name))
    }

    pub(crate) fn stat(&self, stat: &Stat) -> Value {
        let time = |ms: i64| if ms == 0 { json!(0) } else { json!("T") };
        json!({
            "czxid": stat.czxid.to_wire(), "mzxid": stat.mzxid.to_wire(), "pzxid": stat.pzxid.to_wire(),
            "ctime": time(stat.ctime), "mtime": time(stat.mtime),
            "version": stat.version.value(), "cversion": stat.cversion.value(), "aversion": stat.aversion.value(),
            "ephemeralOwner": self.symbol(stat.ephemeral_owner),
            "dataLength": stat.data_length, "numChildren": stat.num_children,
        })
    }

    /// A reply, in the form of `norm.reply`.
    pub(crate) fn reply(&self, frame: &ServerFrame) -> Value {
        match frame {
            ServerFrame::Connect(response) => self.connect(response),
            ServerFrame::Reply { header, response } => {
                let mut reply = json!({
                    "xid": header.xid.value(), "zxid": header.zxid.map_or(-1, Zxid::to_wire), "err": header.err.code(),
                });
                if let Some(response) = response {
                    for (key, value) in self.body(response).as_object().unwrap() {
                        reply[key] = value.clone();
                    }
                }
                reply
            }
            ServerFrame::Notification { .. } => panic!("a notification is no reply"),
        }
    }

    fn connect(&self, response: &ConnectResponse) -> Value {
        let password = response.password.as_slice();
        let passwd = if response.session.is_zero() {
            assert_eq!(password, [0; 16]);
            json!("00".repeat(16))
        } else {
            assert_eq!(password, session_password(response.session));
            json!(format!("{}.passwd", self.symbol(response.session).as_str().unwrap()))
        };
        let mut reply = json!({
            "protocolVersion": response.protocol_version, "timeOut": response.timeout_ms,
            "sessionId": self.symbol(response.session), "passwd": passwd,
        });
        if let Some(read_only) = response.read_only {
            reply["readOnly"] = json!(read_only);
        }
        reply
    }

    fn body(&self, response: &Response) -> Value {
        match response {
            Response::Create(create) => json!({ "path": create.path }),
            Response::Create2(create) => json!({ "path": create.path, "stat": self.stat(&create.stat) }),
            Response::Exists(exists) => json!({ "stat": self.stat(&exists.stat) }),
            Response::GetData(data) => {
                json!({ "data": data.data.bytes().map(|bytes| bytes.to_vec()), "stat": self.stat(&data.stat) })
            }
            Response::SetData(set) => json!({ "stat": self.stat(&set.stat) }),
            Response::GetChildren(children) => json!({ "children": children.children }),
            Response::GetChildren2(children) => {
                json!({ "children": children.children, "stat": self.stat(&children.stat) })
            }
            Response::Sync(sync) => json!({ "path": sync.path }),
            Response::Multi(multi) => {
                json!({ "results": multi.results.iter().map(|result| self.result(result)).collect::<Vec<_>>() })
            }
            Response::GetAcl(get) => json!({ "acl": acl_json(&get.acl), "stat": self.stat(&get.stat) }),
            Response::SetAcl(set) => json!({ "stat": self.stat(&set.stat) }),
            Response::AddWatch(added) => json!({ "err_body": added.err.code() }),
            Response::GetEphemerals(own) => {
                let mut own = own.ephemerals.clone();
                own.sort();
                json!({ "ephemerals": own })
            }
            Response::GetAllChildrenNumber(number) => json!({ "totalNumber": number.total_number }),
            Response::WhoAmI(who) => {
                let infos = who.client_info.iter();
                let mut infos: Vec<_> =
                    infos.map(|info| json!({ "scheme": info.auth_scheme, "user": info.user })).collect();
                infos.sort_by_key(Value::to_string);
                json!({ "clientInfo": infos })
            }
            Response::Sasl(_) => {
                json!({ "rest_hex": response.encode().iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
            }
            Response::Reconfig(_) => panic!("no recorded reconfig succeeds"),
        }
    }

    fn result(&self, result: &OpResult) -> Value {
        match result {
            OpResult::Create(create) => json!({ "type": 1, "path": create.path }),
            OpResult::Create2(create) => json!({ "type": 15, "path": create.path, "stat": self.stat(&create.stat) }),
            OpResult::Delete => json!({ "type": 2 }),
            OpResult::SetData(set) => json!({ "type": 5, "stat": self.stat(&set.stat) }),
            OpResult::Check => json!({ "type": 13 }),
            OpResult::Error(err) => json!({ "type": -1, "err": err.code() }),
            OpResult::GetData(data) => {
                let bytes = data.data.bytes().map(|bytes| bytes.to_vec());
                json!({ "type": 4, "data": bytes, "stat": self.stat(&data.stat) })
            }
            OpResult::GetChildren(children) => json!({ "type": 8, "children": children.children }),
        }
    }
}

/// An access control list as it is recorded, in no order: `auth` stands for identities that have none.
pub(crate) fn acl_json(acl: &[Acl]) -> Value {
    let entry = |acl: &Acl| json!({ "perms": acl.perms, "scheme": acl.id.scheme, "id": acl.id.id });
    let mut acl: Vec<_> = acl.iter().map(entry).collect();
    acl.sort_by_key(Value::to_string);
    json!(acl)
}

/// A reply as recorded, brought to the form of [`Symbols::reply`]: without names of codes, data as bytes, children sorted.
pub(crate) fn recorded_reply(reply: &Value) -> Value {
    let mut reply = reply.clone();
    normalise(&mut reply);
    reply
}

fn normalise(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // Whoever has several identities has them in no order.
            if let Some(Value::Array(infos)) = fields.get_mut("clientInfo") {
                infos.sort_by_key(Value::to_string);
            }
            if let Some(Value::Array(acl)) = fields.get_mut("acl") {
                acl.sort_by_key(Value::to_string);
            }
            for name in ["err_name", "name", "header_err", "end_header"] {
                fields.remove(name);
            }
            if let Some(sorted) = fields.remove("children_sorted") {
                fields.insert("children".to_owned(), sorted);
            }
            if let Some(sorted) = fields.remove("ephemerals_sorted") {
                fields.insert("ephemerals".to_owned(), sorted);
            }
            if let Some(data) = fields.get_mut("data") {
                *data = json!(recorded_data(data));
            }
            fields.values_mut().for_each(normalise);
        }
        Value::Array(values) => values.iter_mut().for_each(normalise),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(crate) fn recorded_data(data: &Value) -> Option<Vec<u8>> {
    let data = data.as_object()?;
    Some(if let Some(text) = data.get("utf8") {
        text.as_str().unwrap().as_bytes().to_vec()
    } else if let Some(text) = data.get("b64") {
        base64(text.as_str().unwrap())
    } else {
        let fill = &data["fill"];
        vec![u8::try_from(fill[0].as_u64().unwrap()).unwrap(); usize::try_from(fill[1].as_u64().unwrap()).unwrap()]
    })
}

/// An event as `TYPE path`, and with the zxid it carries if it carries any.
pub(crate) fn event(event: &WatcherEvent, zxid: Option<Zxid>) -> String {
    let zxid = zxid.map_or(String::new(), |zxid| format!(" {zxid}"));
    format!("{} {}{zxid}", event.event.name(), event.path)
}

/// An event as recorded, in the same form.
pub(crate) fn recorded_event(event: &Value) -> String {
    assert_eq!(event["state"], "SyncConnected");
    assert_eq!(event["zxid"], -1, "3.8 tells no zxid");
    let name = event["type"].as_str().unwrap();
    assert!(EventType::ALL.iter().any(|known| known.name() == name));
    format!("{name} {}", event["path"].as_str().unwrap())
}
