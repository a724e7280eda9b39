//! Historical bugs that show on the disk and between a leader and a learner, switched on and off.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use coordinator::store::{
    Durability, LogError, LogReader, RefuseToStart, SnapshotWriter, TxnLog, log_path, recover, truncate,
};
use coordinator::{Database, Defect, Fact, Role, ServerConfig};
use jute::data::Acl;
use jute::quorum::QuorumPacket;
use jute::txn::{CloseSessionTxn, CreateSessionTxn, CreateTxn, DeleteTxn, Txn, TxnEntry, TxnHeader};
use jute::{Buffer, PeerEpoch, SessionId, Sid, Version, Xid, Zxid};
use machine::disk::{Disk, DiskError, Metadata, PageCache};
use machine::{HostId, Input};

use crate::follower::{ACK_NEW_LEADER, commit, new_leader, promised, proposal};

const SESSION: SessionId = SessionId::new(7);

fn z(counter: u32) -> Zxid {
    Zxid::new(PeerEpoch::new(1), counter)
}

fn entry(counter: u32, txn: Txn) -> TxnEntry {
    TxnEntry {
        header: TxnHeader { session: SESSION, cxid: Xid::FIRST, zxid: z(counter), time_ms: 1 },
        txn,
        digest: None,
    }
}

fn create(counter: u32, path: &str, ephemeral: bool, parent_cversion: i32) -> TxnEntry {
    let txn = Txn::Create2(CreateTxn {
        path: path.to_owned(),
        data: Buffer::NULL,
        acl: Acl::open(),
        ephemeral,
        parent_cversion: Some(Version::new(parent_cversion)),
    });
    entry(counter, txn)
}

fn delete(counter: u32, path: &str) -> TxnEntry {
    entry(counter, Txn::Delete(DeleteTxn { path: path.to_owned() }))
}

/// The disk of a voter that has a first snapshot and these txns.
struct Store {
    disk: PageCache,
    config: ServerConfig,
}

impl Store {
    fn new(defect: Option<Defect>, txns: &[TxnEntry]) -> Self {
        let mut config = ServerConfig::ensemble(Sid::new(1), &[HostId(0), HostId(1), HostId(2)]);
        config.defects = defect.into_iter().collect();
        let mut store = Self { disk: PageCache::new(Metadata::Journaled), config };
        recover(&mut store.disk, &store.config).unwrap();
        store.log(txns);
        store
    }

    fn log(&mut self, txns: &[TxnEntry]) {
        let mut log = TxnLog::new(&self.config);
        for txn in txns {
            log.append(&mut self.disk, txn.header.zxid, &txn.encode()).unwrap();
        }
        log.close(&mut self.disk).unwrap();
    }

    fn put(&mut self, file: &str, content: &[u8]) {
        let path = format!("{}/{file}", self.config.data_dir);
        let file = self.disk.create(&path).unwrap();
        self.disk.write_at(file, 0, content).unwrap();
    }

    fn recovered(&mut self) -> Result<Database, RefuseToStart> {
        recover(&mut self.disk, &self.config).map(|recovered| recovered.database)
    }
}

/// The history as it was applied once, and as a server reads it back that died over a snapshot which began at the first of `from..=to`
/// and ended at the last: root and `/d` are written at once, what is below `/d` at the end.
fn live_and_replayed(
    defect: Option<Defect>,
    txns: &[TxnEntry],
    from: u32,
    to: u32,
) -> Result<(u64, u64), RefuseToStart> {
    let mut store = Store::new(defect, txns);
    let mut live = Database::new(500);
    let mut writer = None;
    for txn in txns {
        live.process_entry(txn);
        if txn.header.zxid == z(from) {
            let mut begun = SnapshotWriter::begin(&live, &store.config, Durability::Lazy);
            begun.step(&live, 2, &mut store.disk).unwrap();
            writer = Some(begun);
        }
        if txn.header.zxid == z(to) {
            writer.take().unwrap().write_all(&live, &mut store.disk).unwrap();
        }
    }
    store.recovered().map(|database| (live.digest(), database.digest()))
}

/// `/d/a` is made and goes while the snapshot is written, `/d/b` stays.
fn made_and_gone() -> Vec<TxnEntry> {
    vec![create(1, "/d", false, 1), create(2, "/d/a", false, 1), delete(3, "/d/a"), create(4, "/d/b", false, 2)]
}

#[track_caller]
fn replays(defect: Option<Defect>, txns: &[TxnEntry], from: u32, to: u32, same: bool) {
    let (live, replayed) = live_and_replayed(defect, txns, from, to).unwrap();
    assert_eq!(live == replayed, same, "{defect:?}");
}

#[test]
fn zookeeper_1046_counts_a_replayed_create_twice() {
    let txns = [create(1, "/d", false, 1), create(2, "/d/a", false, 1), create(3, "/d/b", false, 2)];
    replays(None, &txns, 1, 3, true);
    // Its parent is in the snapshot as it was before: counted once. Over a parent that has it already it is counted again.
    let (live, replayed) = late_parent(Some(Defect::CversionComputedInApply), &txns);
    assert_ne!(live, replayed);
    let (live, replayed) = late_parent(None, &txns);
    assert_eq!(live, replayed);
}

/// The same with a snapshot that is named before everything and has everything.
fn late_parent(defect: Option<Defect>, txns: &[TxnEntry]) -> (u64, u64) {
    let mut store = Store::new(defect, txns);
    let mut live = Database::new(500);
    live.process_entry(&txns[0]);
    let mut writer = SnapshotWriter::begin(&live, &store.config, Durability::Lazy);
    for txn in &txns[1..] {
        live.process_entry(txn);
    }
    writer.write_all(&live, &mut store.disk).unwrap();
    (live.digest(), store.recovered().unwrap().digest())
}

#[test]
fn zookeeper_3145_leaves_the_parent_as_it_was_before_the_session_ended() {
    let ends = |close: Option<CloseSessionTxn>| {
        vec![
            entry(1, Txn::CreateSession(CreateSessionTxn { timeout_ms: 4_000 })),
            create(2, "/d", false, 1),
            create(3, "/d/e", true, 1),
            entry(4, Txn::CloseSession(close)),
        ]
    };
    replays(None, &ends(Some(CloseSessionTxn { paths: vec!["/d/e".to_owned()] })), 3, 4, true);
    replays(Some(Defect::CloseTxnWithoutPaths), &ends(None), 3, 4, false);
}

#[test]
fn zookeeper_1573_does_not_start_over_what_was_deleted_meanwhile() {
    assert!(live_and_replayed(None, &made_and_gone()[..3], 2, 3).is_ok());
    let error = live_and_replayed(Some(Defect::ReplayNoNodeFatal), &made_and_gone()[..3], 2, 3);
    assert_eq!(error, Err(RefuseToStart::Log(LogError::NoNode { zxid: z(3) })));
}

#[test]
fn zookeeper_1653_does_not_look_beside_the_epoch_file() {
    let start = |defect| {
        let mut store = Store::new(defect, &[create(1, "/a", false, 1)]);
        store.put("currentEpoch", b"0");
        store.put("acceptedEpoch", b"1");
        store.put("currentEpoch.tmp", b"1");
        store.recovered().map(|database| database.last_processed())
    };
    assert_eq!(start(None), Ok(z(1)));
    let behind = RefuseToStart::CurrentEpochBehind { current: PeerEpoch::ZERO, last: z(1) };
    assert_eq!(start(Some(Defect::NoEpochTmpRecovery)), Err(behind));
}

#[test]
fn zookeeper_2332_does_not_start_over_an_empty_log_file() {
    let start = |defect| {
        let mut store = Store::new(defect, &[create(1, "/a", false, 1)]);
        let path = log_path(&store.config.data_log_dir, z(2));
        store.disk.create(&path).unwrap();
        (store.recovered().map(|database| database.last_processed()), path)
    };
    assert_eq!(start(None).0, Ok(z(1)));
    let (result, file) = start(Some(Defect::EmptyTailLogFatal));
    assert_eq!(result, Err(RefuseToStart::Log(LogError::TruncatedHeader { file })));
}

#[test]
fn zookeeper_4837_brings_back_from_a_snapshot_what_was_cut() {
    let cut = |defect| {
        let txns = [create(1, "/a", false, 1), create(2, "/tail", false, 2)];
        let mut store = Store::new(defect, &txns);
        let tail = store.recovered().unwrap();
        SnapshotWriter::begin(&tail, &store.config, Durability::Lazy).write_all(&tail, &mut store.disk).unwrap();
        let cut = truncate(&mut store.disk, &store.config, z(1)).unwrap();
        cut.recovered.database.tree().node("/tail").is_some()
    };
    assert!(!cut(None));
    assert!(cut(Some(Defect::TruncUsesNewestSnapshot)));
}

#[test]
fn zookeeper_2846_reads_on_over_a_gap() {
    let read = |defect| {
        let txns = [create(1, "/a", false, 1), create(2, "/b", false, 2), create(5, "/c", false, 5)];
        let mut store = Store::new(defect, &txns);
        let mut log = LogReader::around(&store.disk, &store.config, z(1));
        std::iter::from_fn(|| log.next(&mut store.disk).transpose()).all(|entry| entry.is_ok())
    };
    assert!(!read(None));
    assert!(read(Some(Defect::TxnLogSyncIgnoresGaps)));
}

#[test]
fn zookeeper_4882_does_not_read_back_what_its_log_has() {
    for (defect, reads) in [(None, true), (Some(Defect::KeepMemoryAfterLogError), false)] {
        let (mut bench, end) = promised(defect);
        bench.say(end, QuorumPacket::Diff { zxid: Zxid::ZERO });
        bench.say(end, new_leader());
        bench.rig.settle();
        bench.say(end, QuorumPacket::UpToDate);
        bench.rig.settle();
        bench.say(end, proposal(z(1)));
        bench.turns();
        let ticket = *bench.rig.pending_syncs().last().unwrap();
        bench.say(end, commit(z(1)));
        bench.turns();
        assert!(bench.rig.disk.fail_sync(ticket));
        let _ = bench.effects();
        bench.feed(Input::Durable { ticket, result: Err(DiskError::Io) });
        bench.say(end, QuorumPacket::Ping { zxid: z(1) });
        bench.turns();
        assert_eq!(bench.role(), Role::Looking);
        assert_eq!(bench.facts().iter().any(|fact| matches!(fact, Fact::Recovered { .. })), reads, "{defect:?}");
    }
}

#[test]
fn zookeeper_1264_acknowledges_newleader_before_the_epoch_is_written() {
    for (defect, epoch) in [(None, "1"), (Some(Defect::EpochAfterUpToDate), "0")] {
        let (mut bench, end) = promised(defect);
        bench.say(end, QuorumPacket::Diff { zxid: Zxid::ZERO });
        bench.say(end, new_leader());
        bench.rig.settle();
        assert_eq!(bench.sent(end), [ACK_NEW_LEADER]);
        assert_eq!(bench.file("currentEpoch").unwrap(), epoch, "{defect:?}");
        bench.say(end, QuorumPacket::UpToDate);
        bench.rig.settle();
        assert_eq!(bench.file("currentEpoch").unwrap(), "1");
        assert!(bench.rig.machine().is_serving());
    }
}

#[test]
fn zookeeper_4394_forgets_what_is_committed_behind_newleader() {
    for (defect, is_there) in [(None, true), (Some(Defect::ClearPendingAtNewLeader), false)] {
        let (mut bench, end) = promised(defect);
        for packet in [QuorumPacket::Diff { zxid: Zxid::ZERO }, proposal(z(1)), new_leader()] {
            bench.say(end, packet);
        }
        bench.rig.settle();
        bench.say(end, commit(z(1)));
        bench.say(end, QuorumPacket::UpToDate);
        bench.rig.settle();
        assert_eq!(bench.rig.machine().database().tree().node("/n1").is_some(), is_there, "{defect:?}");
    }
}

#[test]
fn zookeeper_1367_leaves_sessions_out_that_began_while_it_was_away() {
    for (defect, is_known) in [(None, true), (Some(Defect::SyncSkipsSessions), false)] {
        let (mut bench, end) = promised(defect);
        let begins = entry(1, Txn::CreateSession(CreateSessionTxn { timeout_ms: 4_000 })).encode();
        for packet in [
            QuorumPacket::Diff { zxid: z(1) },
            QuorumPacket::Proposal { zxid: z(1), entry: begins },
            commit(z(1)),
            new_leader(),
        ] {
            bench.say(end, packet);
        }
        bench.rig.settle();
        let database = bench.rig.machine().database();
        assert_eq!(database.sessions().contains_key(&SESSION), is_known, "{defect:?}");
        assert_eq!(database.last_processed(), z(1));
    }
}

/// A follower is sent the tree, and loses its leader before NEWLEADER: the last txn it then believes to have.
#[test]
fn zookeeper_3642_keeps_a_tree_that_no_disk_has() {
    for (defect, last) in [(None, Zxid::ZERO), (Some(Defect::KeepDbAfterPartialSnap), z(9))] {
        let (mut bench, end) = promised(defect);
        let mut tree = Database::new(500);
        tree.set_last_processed(z(9));
        bench.say(end, QuorumPacket::Snap { zxid: z(9) });
        bench.stream(end, &tree);
        bench.lose(end);
        bench.rig.settle();
        assert_eq!(bench.role(), Role::Looking);
        assert_eq!(bench.rig.machine().database().last_processed(), last, "{defect:?}");
    }
}
