//! Znodes, sessions and partitions over time, as the ensemble committed them and brokers stated them.

use coordinator::Database;
use engine::Recording;
use judges::Court;
use jute::txn::{Txn, TxnEntry};
use record::{Tree, TreeChange};

use super::Fields;
use super::kafka::whom;

/// How much of a znode's data a row shows, in characters.
const DATA: usize = 120;

/// Data as text if it is text, else as hexadecimal; cut.
pub(crate) fn shown(data: &[u8], at_most: usize) -> String {
    let text = std::str::from_utf8(data).ok().filter(|text| !text.chars().any(char::is_control));
    let text = text.map_or_else(|| data.iter().map(|byte| format!("{byte:02x}")).collect(), str::to_owned);
    if text.chars().count() <= at_most {
        return text;
    }
    let mut cut: String = text.chars().take(at_most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Rows by path over time.
pub(crate) fn trees(recording: &Recording, court: &Court, names: &[String]) -> Vec<Tree> {
    let (znodes, sessions) = committed(court);
    let mut trees = vec![znodes, sessions];
    if court.kafka().is_some() {
        trees.push(partitions(recording, names));
    }
    trees
}

/// The znodes that a transaction touches, those of the parts of a multi included.
fn touched(txn: &Txn, database: &Database, entry: &TxnEntry) -> Vec<String> {
    match txn {
        Txn::Create(create) | Txn::Create2(create) => vec![create.path.clone()],
        Txn::CreateContainer(create) => vec![create.path.clone()],
        Txn::CreateTtl(create) => vec![create.path.clone()],
        Txn::Delete(delete) | Txn::DeleteContainer(delete) => vec![delete.path.clone()],
        Txn::SetData(set) | Txn::Reconfig(set) => vec![set.path.clone()],
        Txn::SetAcl(set) => vec![set.path.clone()],
        Txn::CloseSession(close) => {
            let named = close.iter().flat_map(|close| close.paths.iter().cloned());
            named.chain(database.tree().ephemerals(entry.header.session).map(str::to_owned)).collect()
        }
        Txn::Multi(parts) => parts.iter().flat_map(|part| touched(part, database, entry)).collect(),
        Txn::CreateSession(_) | Txn::Error(_) | Txn::Check(_) => Vec::new(),
    }
}

/// What the ensemble committed, replayed.
fn committed(court: &Court) -> (Tree, Tree) {
    let head = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect();
    let mut znodes = Tree {
        name: "znodes".to_owned(),
        head: head(&["czxid", "mzxid", "version", "ephemeral owner", "data"]),
        changes: Vec::new(),
    };
    let mut sessions = Tree { name: "sessions".to_owned(), head: head(&["timeout ms"]), changes: Vec::new() };
    let mut database = Database::new(1);
    for (moment, bytes) in court.zookeeper().committed_history() {
        // What a defect wrote may be no transaction.
        let Ok(entry) = TxnEntry::decode(bytes) else { continue };
        let (at, event) = (moment.at.as_nanos(), moment.event);
        let mut paths = touched(&entry.txn, &database, &entry);
        paths.sort();
        paths.dedup();
        database.process_entry(&entry);
        for path in paths {
            let row = database.tree().node(&path).map(|node| {
                let stat = node.client_stat();
                vec![
                    stat.czxid.to_string(),
                    stat.mzxid.to_string(),
                    stat.version.to_string(),
                    if stat.ephemeral_owner.is_zero() { String::new() } else { stat.ephemeral_owner.to_string() },
                    shown(node.data().as_slice(), DATA),
                ]
            });
            znodes.changes.push(TreeChange { at, event, path, row });
        }
        if let Txn::CreateSession(_) | Txn::CloseSession(_) = entry.txn {
            let session = entry.header.session;
            let row = database.sessions().get(&session).map(|timeout| vec![timeout.to_string()]);
            sessions.changes.push(TreeChange { at, event, path: session.to_string(), row });
        }
    }
    (znodes, sessions)
}

/// The partitions, as controllers and leaders changed them.
fn partitions(recording: &Recording, names: &[String]) -> Tree {
    let mut tree = Tree {
        name: "partitions".to_owned(),
        head: ["leader", "leader epoch", "ISR", "said by"].map(str::to_owned).to_vec(),
        changes: Vec::new(),
    };
    let mut leaders = std::collections::BTreeMap::new();
    for event in &recording.events {
        for (kind, fields) in &event.facts {
            let fields = Fields(fields);
            let path = || format!("{}-{}", fields.of("topic"), fields.of("partition"));
            let leader = match *kind {
                "partition-leader-elected" => {
                    leaders.insert(path(), whom(fields.of("leader")).to_owned());
                    whom(fields.of("leader")).to_owned()
                }
                "isr-changed" => leaders.get(&path()).cloned().unwrap_or_default(),
                _ => continue,
            };
            let said_by = names[event.host.0 as usize].clone();
            let row = vec![leader, fields.of("leader_epoch").to_owned(), fields.of("isr").to_owned(), said_by];
            tree.changes.push(TreeChange { at: event.at.as_nanos(), event: event.id, path: path(), row: Some(row) });
        }
    }
    tree
}
