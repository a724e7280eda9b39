//! A snapshot taken while transactions go on, with the log after its name, is the state: whatever it caught half done.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;

use coordinator::store::{Durability, Progress, SnapshotWriter, TxnLog, recover, snapshot_files};
use coordinator::tree::OpResult;
use coordinator::{Database, ServerConfig};
use jute::data::{Acl, StatPersisted};
use jute::op::ErrorCode;
use jute::txn::{
    CloseSessionTxn, CreateSessionTxn, CreateTxn, DeleteTxn, ErrorTxn, SetAclTxn, SetDataTxn, Txn, TxnDigest, TxnEntry,
    TxnHeader,
};
use jute::{Buffer, PeerEpoch, SessionId, Version, Xid, Zxid};
use machine::disk::{Metadata, PageCache};
use machine::{Draw, Purpose, RunKey};

/// Makes transactions such as a leader's preparation would: valid against the state they will be applied to.
struct Leader {
    database: Database,
    draw: Draw,
    next: u32,
}

impl Leader {
    fn new(seed: u64) -> Self {
        Self { database: Database::new(500), draw: RunKey([seed, 1]).draw(Purpose::new("txns"), 0, 0), next: 1 }
    }

    fn pick(&mut self, of: u64) -> u64 {
        self.draw.below(of)
    }

    fn some_node(&mut self) -> String {
        let paths: Vec<_> = self.database.tree().iter().map(|(path, _)| path.to_owned()).collect();
        let paths: Vec<_> = paths.into_iter().filter(|path| path.starts_with("/n")).collect();
        let at = self.pick(paths.len() as u64 + 1);
        paths.get(usize::try_from(at).unwrap()).cloned().unwrap_or_default()
    }

    fn session(&mut self) -> SessionId {
        SessionId::new(0x0100_0000_0000_0000 + i64::try_from(self.pick(3)).unwrap())
    }

    fn create(&mut self, database: &Database, session: SessionId) -> Option<CreateTxn> {
        let parent = self.some_node();
        let ephemeral = self.pick(3) == 0 && database.sessions().contains_key(&session);
        let node = database.tree().node(&parent)?;
        let path = format!("{parent}/n{}", self.pick(4));
        let is_free = database.tree().node(&path).is_none() && node.stat().ephemeral_owner == 0 && path.len() < 12;
        let acl = if self.pick(4) == 0 { Acl::read_only() } else { Acl::open() };
        let data = Buffer::new(format!("d{}", self.next).into_bytes());
        let parent_cversion = Some(node.stat().cversion.next());
        is_free.then_some(CreateTxn { path, data, acl, ephemeral, parent_cversion })
    }

    fn op(&mut self, database: &Database, session: SessionId) -> Option<Txn> {
        let kind = self.pick(12);
        let path = self.some_node();
        let node = database.tree().node(&path).filter(|_| !path.is_empty());
        Some(match kind {
            0..=2 => Txn::Create(self.create(database, session)?),
            3..=4 => Txn::Create2(self.create(database, session)?),
            5..=8 => {
                let node = node.filter(|node| node.child_count() == 0);
                Txn::Delete(DeleteTxn { path: node.map(|_| path)? })
            }
            9..=10 => {
                let version = node?.stat().version.next();
                Txn::SetData(SetDataTxn { path, data: Buffer::new(format!("s{}", self.next).into_bytes()), version })
            }
            _ => {
                let version: Version = node?.stat().aversion.next();
                let acl = if self.pick(2) == 0 { Acl::read_only() } else { Acl::open() };
                Txn::SetAcl(SetAclTxn { path, acl, version })
            }
        })
    }

    /// A multi, validated part by part against what the parts before it leave.
    fn multi(&mut self, header: &TxnHeader) -> Txn {
        let mut database = self.database.clone();
        let mut parts = Vec::new();
        for _ in 0..3 {
            let op = self.op(&database, header.session).filter(Txn::is_part);
            if let Some(op) = op {
                database.process_txn(header, &op);
                parts.push(op);
            }
        }
        Txn::Multi(parts)
    }

    fn next(&mut self) -> TxnEntry {
        let session = self.session();
        let zxid = Zxid::new(PeerEpoch::new(1), self.next);
        let header = TxnHeader { session, cxid: Xid::new(1), zxid, time_ms: i64::from(self.next) * 10 };
        let is_open = self.database.sessions().contains_key(&session);
        let database = self.database.clone();
        let txn = match self.pick(16) {
            0 if is_open => {
                let paths = database.tree().ephemerals(session).map(str::to_owned).collect();
                Txn::CloseSession(Some(CloseSessionTxn { paths }))
            }
            0..=1 => Txn::CreateSession(CreateSessionTxn { timeout_ms: 4000 }),
            2..=3 => self.multi(&header),
            _ => self.op(&database, session).unwrap_or(Txn::Error(ErrorTxn { err: ErrorCode::NoNode })),
        };
        self.next += 1;
        let applied = self.database.process_txn(&header, &txn);
        if let OpResult::Multi(parts) = &applied.result {
            assert!(parts.iter().all(|part| part.err() == ErrorCode::Ok), "{txn:?}");
        } else if !matches!(txn, Txn::Error(_)) {
            assert_eq!(applied.result.err(), ErrorCode::Ok, "{txn:?}");
        }
        let digest = Some(TxnDigest { version: 2, tree_digest: self.database.digest() });
        let digest = if matches!(txn, Txn::Error(_)) { None } else { digest };
        TxnEntry { header, txn, digest }
    }
}

type Shown = Vec<(String, Buffer, StatPersisted, Vec<Acl>, BTreeSet<String>)>;

fn shown(database: &Database) -> Shown {
    let tree = database.tree();
    let node = |(path, node): (&str, &coordinator::tree::Node)| {
        let children = node.children().map(str::to_owned).collect();
        (path.to_owned(), node.data().clone(), *node.stat(), tree.acl(path).unwrap().to_vec(), children)
    };
    tree.iter().map(node).collect()
}

/// Runs 300 transactions; from the 100th on a snapshot is written, one znode per so many transactions. Then the process is
/// killed, and the disk read back. Returns whether the snapshot was fuzzy.
fn check(seed: u64, txns_per_node: u64) -> bool {
    let config = ServerConfig { pre_alloc_size_kb: 64, ..ServerConfig::standalone() };
    let mut disk = PageCache::new(Metadata::Journaled);
    recover(&mut disk, &config).unwrap();
    let mut leader = Leader::new(seed);
    let mut log = TxnLog::new(&config);
    let mut writer = None;
    let mut is_fuzzy = false;
    for at in 0..300 {
        let entry = leader.next();
        log.append(&mut disk, entry.header.zxid, &entry.encode()).unwrap();
        if at % 40 == 0 {
            log.roll(&mut disk).unwrap();
        }
        if at == 100 {
            leader.database.check_invariants();
            writer = Some(SnapshotWriter::begin(&leader.database, &config, Durability::Lazy));
        } else if at % txns_per_node == 0
            && let Some(mut writing) = writer.take()
        {
            match writing.step(&leader.database, 1, &mut disk).unwrap() {
                Progress::More => writer = Some(writing),
                Progress::Done => is_fuzzy = writing.is_fuzzy(),
            }
        }
    }
    if let Some(mut writing) = writer {
        writing.write_all(&leader.database, &mut disk).unwrap();
        is_fuzzy = writing.is_fuzzy();
    }
    log.close(&mut disk).unwrap();
    let recovered = recover(&mut disk, &config).unwrap();
    assert_eq!(recovered.snapshot, Some(snapshot_files(&disk, &config.data_dir)[1].0), "seed {seed}");
    let database = &recovered.database;
    database.check_invariants();
    assert_eq!(database.sessions(), leader.database.sessions(), "seed {seed}");
    assert_eq!(shown(database), shown(&leader.database), "seed {seed}");
    assert_eq!(database.digest(), leader.database.digest(), "seed {seed}");
    assert_eq!(database.digest_mismatches(), (0, None), "seed {seed}");
    is_fuzzy
}

#[test]
fn replay_over_a_fuzzy_snapshot_gives_the_tree_of_the_leader() {
    let fuzzy = (0..200).filter(|&seed| check(seed, 1 + seed % 12)).count();
    assert!(fuzzy > 150, "only {fuzzy} of 200 snapshots were fuzzy");
}
