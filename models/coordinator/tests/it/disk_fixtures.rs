//! Data directories that real 3.8.0 servers left behind, and what the real server made of them when it was started again.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use coordinator::store::{
    LogError, LogReader, Recovered, RefuseToStart, SnapshotImage, fast_forward, log_files, recover, serialize_snapshot,
    snapshot_files, truncate,
};
use coordinator::{Database, ServerConfig};
use jute::data::{EphemeralOwner, Stat};
use jute::txn::TxnEntry;
use jute::{PeerEpoch, Sid, Zxid};
use machine::HostId;
use machine::disk::{Disk, Metadata, PageCache};
use serde_json::Value;

const DIR: &str = "data/version-2";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/disk").join(name)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Copies a directory's files to the disk, over those that are there.
fn copy_to(disk: &mut PageCache, from: &Path) {
    let mut paths: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = disk.create(&format!("{DIR}/{name}")).unwrap();
        disk.append(file, &fs::read(&path).unwrap()).unwrap();
    }
}

fn load(name: &str) -> PageCache {
    let mut disk = PageCache::new(Metadata::Journaled);
    copy_to(&mut disk, &fixture(name));
    disk
}

fn content(disk: &mut PageCache, path: &str) -> Bytes {
    let file = disk.open(path).unwrap();
    let len = disk.len(file);
    disk.read(file, 0, len).unwrap()
}

fn zxid(value: &Value) -> Zxid {
    let number = match value.as_str() {
        Some(text) => i64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap(),
        None => value.as_i64().unwrap(),
    };
    Zxid::from_wire(number).unwrap()
}

fn standalone() -> ServerConfig {
    let config = ServerConfig::standalone();
    assert_eq!(config.data_dir, DIR);
    config
}

fn member() -> ServerConfig {
    ServerConfig::ensemble(Sid::new(1), &[HostId(0), HostId(1), HostId(2)])
}

fn stat_json(stat: &Stat) -> Value {
    serde_json::json!({
        "czxid": stat.czxid.value(), "mzxid": stat.mzxid.value(), "ctime": stat.ctime, "mtime": stat.mtime,
        "version": stat.version.value(), "cversion": stat.cversion.value(), "aversion": stat.aversion.value(),
        "ephemeralOwner": stat.ephemeral_owner.value(), "dataLength": stat.data_length,
        "numChildren": stat.num_children, "pzxid": stat.pzxid.value(),
    })
}

fn data_of(value: &Value) -> Option<Vec<u8>> {
    if value.is_null() {
        return None;
    }
    if let Some(text) = value.get("utf8") {
        return Some(text.as_str().unwrap().as_bytes().to_vec());
    }
    if let Some(text) = value.get("b64") {
        return Some(decode_base64(text.as_str().unwrap()));
    }
    let fill = value["fill"].as_array().unwrap();
    let count = usize::try_from(fill[1].as_u64().unwrap()).unwrap();
    Some(vec![u8::try_from(fill[0].as_u64().unwrap()).unwrap(); count])
}

fn decode_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut width, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').chars() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(digit).unwrap()).unwrap();
        width += 6;
        if width >= 8 {
            width -= 8;
            bytes.push(u8::try_from(bits >> width & 0xff).unwrap());
        }
    }
    bytes
}

/// Compares every znode: data, null or not, stat as clients see it, and access control list.
#[track_caller]
fn assert_nodes(database: &Database, expected: &BTreeMap<String, Value>) {
    let tree = database.tree();
    let paths: Vec<_> = tree.iter().map(|(path, _)| if path.is_empty() { "/" } else { path }).collect();
    assert_eq!(paths, expected.keys().map(String::as_str).collect::<Vec<_>>());
    for (path, expected) in expected {
        // A server sets its configuration anew when it starts; the recordings saw that, recovery does not do it.
        if path == "/zookeeper/config" {
            continue;
        }
        let node = tree.node(path).unwrap();
        assert_eq!(stat_json(&tree.client_stat(path).unwrap()), expected["stat"], "stat of {path}");
        assert_eq!(node.data().bytes().map(|data| data.to_vec()), data_of(&expected["data"]), "data of {path}");
        let shown = tree.acl(path).unwrap().iter().map(|acl| {
            // getACL hides the digest of a password from those who may not set it.
            let id = match acl.id.id.split_once(':') {
                Some((user, _)) if acl.id.scheme == "digest" => format!("{user}:x"),
                _ => acl.id.id.clone(),
            };
            serde_json::json!({ "perms": acl.perms, "scheme": acl.id.scheme, "id": id })
        });
        let shown: Vec<_> = shown.collect();
        assert_eq!(Value::from(shown), expected["acl"], "ACL of {path}");
    }
}

fn nodes(value: &Value) -> BTreeMap<String, Value> {
    value.as_object().unwrap().iter().map(|(path, node)| (path.clone(), node.clone())).collect()
}

/// Compares what a real server recovered with what we did: zxid, sessions, ephemerals.
#[track_caller]
fn assert_recovered(recovered: &Recovered, expected: &Value) {
    let database = &recovered.database;
    database.check_invariants();
    assert_eq!(database.last_processed(), zxid(&expected["last_zxid"]));
    let sessions: Vec<_> = database.sessions().keys().map(|session| format!("{session}")).collect();
    let mut expected_sessions: Vec<_> =
        expected["sessions"].as_array().unwrap().iter().map(|session| session.as_str().unwrap().to_owned()).collect();
    expected_sessions.sort();
    assert_eq!(sessions, expected_sessions);
    let tree = database.tree();
    let mut ephemerals = BTreeMap::new();
    for owner in tree.ephemeral_owners() {
        ephemerals.extend(tree.ephemerals(owner).map(|path| (path.to_owned(), Value::from(format!("{owner}")))));
    }
    assert_eq!(ephemerals, nodes(&expected["ephemerals"]));
    assert_eq!(tree.len(), usize::try_from(expected["znode_count"].as_u64().unwrap()).unwrap());
    assert_eq!(database.digest_mismatches(), (0, None), "every digest in the log is the tree's");
}

#[test]
fn plain_log_of_every_transaction_type_recovers_to_the_real_servers_tree() {
    let expected = json(&fixture("plain-400/expect.json"));
    let mut disk = load("plain-400/data/version-2");
    let recovered = recover(&mut disk, &standalone()).unwrap();
    assert_recovered(&recovered, &expected["recovered"]);
    assert_nodes(&recovered.database, &nodes(&expected["recovered"]["nodes"]));
    assert_eq!((recovered.snapshot, recovered.replayed), (Some(Zxid::ZERO), 84));
    assert!(recovered.epochs.is_none(), "a standalone server has no epochs");
    let committed = recovered.database.committed_log();
    assert_eq!((committed.min(), committed.max()), (Zxid::from_wire(1), Zxid::from_wire(84)));
}

#[test]
fn fuzzy_snapshots_and_many_logs_recover_to_the_real_servers_tree() {
    let expected = json(&fixture("fuzzy-402/expect.json"));
    let mut disk = load("fuzzy-402/data/version-2");
    let recovered = recover(&mut disk, &standalone()).unwrap();
    assert_recovered(&recovered, &expected["recovered"]);
    assert_nodes(&recovered.database, &nodes(&expected["live"]["nodes"]));
    assert_eq!(recovered.snapshot, Zxid::from_wire(0x10c));
    assert_eq!(recovered.replayed, 455 - 0x10c);
}

#[test]
fn every_snapshot_of_a_history_leads_to_the_same_tree() {
    let mut digests = Vec::new();
    for kept in 0..4 {
        let mut disk = load("fuzzy-402/data/version-2");
        let files = snapshot_files(&disk, DIR);
        for (_, path) in files.iter().enumerate().filter(|&(at, _)| at != kept).map(|(_, file)| file) {
            disk.remove(path).unwrap();
        }
        let recovered = recover(&mut disk, &standalone()).unwrap();
        assert_eq!(recovered.snapshot, Some(files[kept].0));
        assert_eq!(recovered.database.digest_mismatches(), (0, None));
        recovered.database.check_invariants();
        digests.push((recovered.database.last_processed(), recovered.database.digest()));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
}

#[test]
fn torn_tails_start_or_refuse_as_the_real_server_did() {
    let expected = json(&fixture("torn-tail-401/expect.json"));
    let whole = nodes(&expected["recovered"]["nodes"]);
    let recovered = recover(&mut load("torn-tail-401/data/version-2"), &standalone()).unwrap();
    assert_recovered(&recovered, &expected["recovered"]);
    assert_nodes(&recovered.database, &whole);
    assert_eq!(recovered.torn_tails, 0);

    let variants = json(&fixture("torn-tail-401/torn.json"));
    let variants = variants["variants"].as_object().unwrap();
    assert_eq!(variants.len(), 14);
    for (name, expected) in variants {
        let mut disk = load("torn-tail-401/data/version-2");
        copy_to(&mut disk, &fixture("torn-tail-401/torn").join(name));
        let recovered = recover(&mut disk, &standalone());
        let starts = expected["starts"].as_bool().unwrap();
        match (name.as_str(), recovered) {
            // Since 3.9.3 an empty last log is removed (ZOOKEEPER-2332); 3.8.0, which made the recording, refused.
            ("extra-empty-log", recovered) => {
                assert!(!starts);
                assert_nodes(&recovered.unwrap().database, &whole);
                assert_eq!(log_files(&disk, DIR).len(), 1, "the empty log is gone");
            }
            (_, Ok(recovered)) => {
                assert!(starts, "{name}: the real server refused");
                assert_recovered(&recovered, expected);
                let mut nodes = whole.clone();
                for missing in expected["nodes_missing"].as_array().unwrap() {
                    nodes.remove(missing.as_str().unwrap());
                }
                nodes.extend(self::nodes(&expected["nodes_different"]));
                assert_nodes(&recovered.database, &nodes);
                let is_torn = !name.starts_with("extra-") && name != "cut-at-boundary";
                assert_eq!(recovered.torn_tails, u32::from(is_torn), "{name}");
                assert_eq!(recovered.snapshots_skipped, usize::from(name.ends_with("-snapshot")), "{name}");
            }
            (_, Err(why)) => {
                assert!(!starts, "{name}: the real server started, we say {why}");
                match name.as_str() {
                    "bitflip-last" | "bitflip-middle" => {
                        assert!(matches!(why, RefuseToStart::Log(LogError::ChecksumMismatch { .. })), "{why}");
                    }
                    _ => assert!(matches!(why, RefuseToStart::Log(LogError::TruncatedHeader { .. })), "{why}"),
                }
            }
        }
    }
}

#[test]
fn members_of_an_ensemble_recover_their_epochs_and_their_own_tails() {
    let expected = json(&fixture("ensemble-403/expect.json"));
    for sid in ["1", "2", "3"] {
        let on_disk = &expected["disk"][sid];
        let mut disk = load(&format!("ensemble-403/data/s{sid}/version-2"));
        let recovered = recover(&mut disk, &member()).unwrap();
        recovered.database.check_invariants();
        assert_eq!(recovered.database.last_processed(), zxid(&on_disk["last_logged_zxid"]));
        assert_eq!(recovered.database.digest_mismatches(), (0, None));
        let epochs = recovered.epochs.unwrap();
        assert_eq!(epochs.current, PeerEpoch::new(1));
        assert_eq!(epochs.accepted, PeerEpoch::new(1));
        assert_eq!(epochs.to_write, []);
    }
    // Server 1, and server 3 with the write that nobody else has, led when they were started first.
    for (sid, outcome) in [("1", 0), ("3", 1)] {
        let recovered = recover(&mut load(&format!("ensemble-403/data/s{sid}/version-2")), &member()).unwrap();
        assert_nodes(&recovered.database, &nodes(&expected["outcomes"][outcome]["nodes"]));
    }
}

#[test]
fn truncated_member_has_the_tree_and_the_log_of_the_real_one() {
    let expected = json(&fixture("ensemble-403/expect.json"));
    let mut disk = load("ensemble-403/data/s3/version-2");
    let to = Zxid::from_wire(0x1_0000_000e).unwrap();
    let truncation = truncate(&mut disk, &member(), to).unwrap();
    assert_eq!(truncation.recovered.database.last_processed(), to);
    assert_nodes(&truncation.recovered.database, &nodes(&expected["outcomes"][0]["nodes"]));
    assert_eq!(truncation.files_removed, 0);
    // 14 of 15 records, and the end of the file right after them.
    let valid_bytes = expected["files"]["s1"]["logs"][0]["valid_bytes"].as_u64().unwrap();
    assert_eq!(disk.len(truncation.cut.unwrap()), valid_bytes);
    let mut log = LogReader::around(&disk, &member(), Zxid::ZERO);
    let mut records = 0;
    while log.next(&mut disk).unwrap().is_some() {
        records += 1;
    }
    assert_eq!(records, 14);
}

const FIXTURES: [&str; 6] = [
    "plain-400/data/version-2",
    "fuzzy-402/data/version-2",
    "torn-tail-401/data/version-2",
    "ensemble-403/data/s1/version-2",
    "ensemble-403/data/s2/version-2",
    "ensemble-403/data/s3/version-2",
];

#[test]
fn every_log_entry_encodes_to_its_own_bytes() {
    let mut entries = 0;
    for name in FIXTURES {
        let mut disk = load(name);
        let mut log = LogReader::around(&disk, &standalone(), Zxid::ZERO);
        while let Some(entry) = log.next(&mut disk).unwrap() {
            let decoded = entry.decode().unwrap();
            assert_eq!(decoded.header.zxid, entry.zxid);
            assert_eq!(decoded.encode(), entry.bytes, "{name} at {}", entry.zxid);
            entries += 1;
        }
    }
    assert_eq!(entries, 84 + 455 + 48 + 14 + 11 + 15);
}

#[test]
fn every_snapshot_encodes_to_its_own_bytes_and_its_digest_is_the_trees() {
    let mut digests = 0;
    for name in FIXTURES {
        let mut disk = load(name);
        for (zxid, path) in snapshot_files(&disk, DIR) {
            let bytes = content(&mut disk, &path);
            let image = SnapshotImage::parse(&bytes).unwrap();
            assert_eq!(image.encode(), bytes, "{name} {path}");
            assert_eq!(image.last_processed, None, "3.8 does not write it");
            let promised = image.digest.unwrap();
            let database = image.into_database(zxid, 500).unwrap();
            database.check_invariants();
            if promised.zxid == zxid && zxid > Zxid::ZERO {
                assert_eq!(database.digest(), promised.digest.tree_digest, "{path}");
                digests += 1;
            }
        }
    }
    assert_eq!(digests, 2);
}

#[test]
fn a_snapshot_of_ours_is_read_back_as_the_same_state() {
    let recovered = recover(&mut load("plain-400/data/version-2"), &standalone()).unwrap();
    let database = recovered.database;
    let bytes = serialize_snapshot(&database, &standalone());
    let image = SnapshotImage::parse(&bytes).unwrap();
    assert_eq!(image.encode(), bytes);
    assert_eq!(image.last_processed, Some(database.last_processed()));
    assert_eq!(image.digest.unwrap().digest.tree_digest, database.digest());
    let again = image.into_database(database.last_processed(), 500).unwrap();
    again.check_invariants();
    assert_eq!(again.digest_mismatches(), (0, None));
    assert_eq!(again.sessions(), database.sessions());
    let shown = |database: &Database| {
        let tree = database.tree();
        let node = |(path, node): (&str, &coordinator::tree::Node)| {
            (path.to_owned(), node.data().clone(), *node.stat(), tree.acl(path).cloned(), node.owner())
        };
        tree.iter().map(node).collect::<Vec<_>>()
    };
    assert_eq!(shown(&again), shown(&database));
    assert!(shown(&again).iter().any(|(.., owner)| matches!(owner, EphemeralOwner::Ttl { ttl_ms: 86_400_000 })));
}

#[test]
fn fast_forward_replays_what_memory_lacks() {
    let mut disk = load("plain-400/data/version-2");
    let whole = recover(&mut disk, &standalone()).unwrap().database;
    let mut database = Database::new(500);
    let mut log = LogReader::around(&disk, &standalone(), Zxid::ZERO);
    for _ in 0..40 {
        let entry = log.next(&mut disk).unwrap().unwrap();
        database.process_entry(&TxnEntry::decode(&entry.bytes).unwrap());
    }
    let replay = fast_forward(&mut disk, &standalone(), &mut database).unwrap();
    assert_eq!(replay.replayed, 44);
    assert_eq!((database.digest(), database.last_processed()), (whole.digest(), whole.last_processed()));
}
