//! The txn log as written, and recovery from what crashes leave.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use coordinator::store::{
    Durability, EpochFile, LogError, LogReader, RefuseToStart, SnapshotWriter, TruncateError, TxnLog, disk_proposals,
    log_files, log_path, recover, snapshot_files, snapshot_path, truncate,
};
use coordinator::{Database, ServerConfig};
use jute::txn::{CreateTxn, Txn, TxnEntry, TxnHeader};
use jute::{Buffer, PeerEpoch, SessionId, Sid, Version, Xid, Zxid};
use machine::disk::{CrashModel, Disk, Metadata, PageCache};
use machine::{Clock, Effect, HostId, Instant, Io, Never, Numbers, Purpose, RunKey, Ticket, Vocabulary};

/// Speaks nothing: only the disk is of interest.
#[derive(Clone, Debug)]
struct Mute;

impl Vocabulary for Mute {
    type Message = Never;
    type Work = Never;
    type Fact = Never;
}

struct Host {
    disk: PageCache,
    numbers: Numbers,
    config: ServerConfig,
}

impl Host {
    fn new() -> Self {
        Self::of(ServerConfig::standalone())
    }

    fn member() -> Self {
        Self::of(ServerConfig::ensemble(Sid::new(1), &[HostId(0), HostId(1), HostId(2)]))
    }

    fn of(config: ServerConfig) -> Self {
        Self { disk: PageCache::new(Metadata::Journaled), numbers: Numbers::default(), config }
    }

    fn io<R>(&mut self, with: impl FnOnce(&ServerConfig, &mut Io<'_, Mute>) -> R) -> R {
        let mut out: Vec<Effect<Mute>> = Vec::new();
        let clock = Clock { now: Instant::ZERO, wall_offset_ms: 0 };
        let mut io = Io::new(clock, RunKey([0, 0]), 0, &mut self.disk, &mut self.numbers, &mut out);
        with(&self.config, &mut io)
    }

    fn append(&mut self, log: &mut TxnLog, entry: &TxnEntry) {
        log.append(&mut self.disk, entry.header.zxid, &entry.encode()).unwrap();
    }

    fn flush(&mut self, log: &mut TxnLog) -> Vec<Ticket> {
        self.io(|_, io| log.flush(io)).unwrap()
    }

    /// Appends creates of `/n<counter>` and makes them durable.
    fn log(&mut self, log: &mut TxnLog, epoch: u32, counters: impl IntoIterator<Item = u32>) {
        for counter in counters {
            self.append(log, &create(zxid(epoch, counter)));
        }
        for ticket in self.flush(log) {
            self.disk.harden(ticket);
        }
    }

    fn snapshot(&mut self, database: &Database) {
        SnapshotWriter::begin(database, &self.config, Durability::Lazy).write_all(database, &mut self.disk).unwrap();
    }

    fn lose_power(&mut self) {
        let mut draw = RunKey([1, 2]).draw(Purpose::new("crash"), 0, 0);
        self.disk.lose_power(CrashModel::AllUnsyncedLost, &mut draw);
    }

    fn recovered_zxid(&mut self) -> Result<Zxid, RefuseToStart> {
        recover(&mut self.disk, &self.config).map(|recovered| recovered.database.last_processed())
    }
}

fn zxid(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(PeerEpoch::new(epoch), counter)
}

fn create(zxid: Zxid) -> TxnEntry {
    let create = CreateTxn {
        path: format!("/n{}", zxid.counter()),
        data: Buffer::NULL,
        acl: jute::data::Acl::open(),
        ephemeral: false,
        parent_cversion: Some(Version::new(1)),
    };
    let header = TxnHeader { session: SessionId::new(7), cxid: Xid::new(1), zxid, time_ms: 1 };
    TxnEntry { header, txn: Txn::Create(create), digest: None }
}

/// A host with `snapshot.0` and a log, whose process was just killed.
fn logged(host: &mut Host, epoch: u32, counters: impl IntoIterator<Item = u32>) {
    recover(&mut host.disk, &host.config).unwrap();
    let mut log = TxnLog::new(&host.config);
    host.log(&mut log, epoch, counters);
}

#[test]
fn log_has_the_real_format_and_padding() {
    let mut host = Host::new();
    let mut log = TxnLog::new(&host.config);
    let entry = create(zxid(0, 1)).encode();
    log.append(&mut host.disk, zxid(0, 1), &entry).unwrap();
    let file = host.disk.open("data/version-2/log.1").unwrap();
    assert_eq!(host.disk.len(file), 64 * 1024 * 1024 + 16);
    assert_eq!(&host.disk.read(file, 16, 8).unwrap()[..], [0; 8], "an append stays in memory until the flush");
    assert!(log.has_unwritten());
    assert_eq!(host.flush(&mut log).len(), 1);
    assert!(!log.has_unwritten());

    let mut expected = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
    expected.extend(i64::from(adler32(&entry)).to_be_bytes());
    expected.extend(i32::try_from(entry.len()).unwrap().to_be_bytes());
    expected.extend(&entry);
    expected.push(b'B');
    assert_eq!(log.bytes(), expected.len() as u64);
    expected.push(0);
    assert_eq!(&host.disk.read(file, 0, expected.len() as u64).unwrap()[..], expected);
}

/// RFC 1950, in the slow and obvious way.
fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

#[test]
fn padding_grows_by_blocks_before_the_end_is_reached() {
    let mut host = Host::new();
    host.config.pre_alloc_size_kb = 16;
    let mut log = TxnLog::new(&host.config);
    let mut lens = Vec::new();
    for counter in 1..=400 {
        host.append(&mut log, &create(zxid(0, counter)));
        host.flush(&mut log);
        let file = host.disk.open("data/version-2/log.1").unwrap();
        lens.push(host.disk.len(file));
        assert!(log.bytes() + 3000 < host.disk.len(file));
    }
    lens.dedup();
    assert_eq!(lens, [16_400, 32_784, 49_168]);
    assert_eq!(host.recovered_zxid(), Err(RefuseToStart::LogWithoutSnapshot));
    host.config.snapshot_trust_empty = true;
    assert_eq!(host.recovered_zxid(), Ok(zxid(0, 400)));
}

#[test]
fn flush_syncs_rolled_streams_too() {
    let mut host = Host::new();
    recover(&mut host.disk, &host.config).unwrap();
    let mut log = TxnLog::new(&host.config);
    host.append(&mut log, &create(zxid(0, 1)));
    log.roll(&mut host.disk).unwrap();
    host.append(&mut log, &create(zxid(0, 2)));
    let tickets = host.flush(&mut log);
    assert_eq!(tickets.len(), 2, "the roll synced nothing, so the flush has to");
    host.append(&mut log, &create(zxid(0, 3)));
    assert_eq!(host.flush(&mut log).len(), 1, "the rolled stream is closed now");
    for ticket in tickets {
        host.disk.harden(ticket);
    }
    let names: Vec<_> = log_files(&host.disk, "data/version-2").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [zxid(0, 1), zxid(0, 2)]);
    assert_eq!(host.recovered_zxid(), Ok(zxid(0, 3)));
}

#[test]
fn without_force_sync_there_is_nothing_to_wait_for() {
    let mut host = Host::new();
    host.config.force_sync = false;
    let mut log = TxnLog::new(&host.config);
    host.append(&mut log, &create(zxid(0, 1)));
    assert_eq!(host.flush(&mut log), []);
}

#[test]
fn what_was_synced_survives_a_loss_of_power_and_each_life_begins_a_new_file() {
    let mut host = Host::new();
    logged(&mut host, 0, 1..=3);
    // The snapshot of the empty tree was never synced by the server itself.
    let snapshot = host.disk.open("data/version-2/snapshot.0").unwrap();
    let ticket = host.io(|_, io| io.sync(snapshot));
    host.disk.harden(ticket);
    let mut log = TxnLog::new(&host.config);
    host.log(&mut log, 0, [4]);
    host.append(&mut log, &create(zxid(0, 5)));
    host.flush(&mut log);
    host.lose_power();
    assert_eq!(host.recovered_zxid(), Ok(zxid(0, 4)));
    let names: Vec<_> = log_files(&host.disk, "data/version-2").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [zxid(0, 1), zxid(0, 4)]);
}

#[test]
fn a_gap_in_the_log_is_refused() {
    let mut host = Host::new();
    logged(&mut host, 1, [1, 2, 4]);
    // What comes before a snapshot does not matter; epochs may begin anywhere.
    let gap = |after, next| {
        let file = log_path("data/version-2", zxid(1, 1));
        Err(RefuseToStart::Log(LogError::Gap { after, next, file }))
    };
    assert_eq!(host.recovered_zxid(), gap(zxid(1, 2), zxid(1, 4)));
    let mut database = Database::new(500);
    database.set_last_processed(zxid(1, 3));
    host.snapshot(&database);
    assert_eq!(host.recovered_zxid(), Ok(zxid(1, 4)));
}

#[test]
fn a_lost_middle_file_is_refused() {
    let mut host = Host::new();
    logged(&mut host, 0, 1..=2);
    host.log(&mut TxnLog::new(&host.config), 0, 3..=4);
    host.log(&mut TxnLog::new(&host.config), 0, 5..=6);
    assert_eq!(host.recovered_zxid(), Ok(zxid(0, 6)));
    host.disk.remove("data/version-2/log.3").unwrap();
    assert!(matches!(host.recovered_zxid(), Err(RefuseToStart::Log(LogError::Gap { .. }))));
}

#[test]
fn an_empty_disk_is_trusted_or_keeps_the_server_from_voting() {
    let mut host = Host::new();
    assert!(recover(&mut host.disk, &host.config).unwrap().may_vote);
    assert_eq!(snapshot_files(&host.disk, "data/version-2").len(), 1);

    let mut host = Host::member();
    host.config.db_autocreate = false;
    assert!(!recover(&mut host.disk, &host.config).unwrap().may_vote);
    assert_eq!(snapshot_files(&host.disk, "data/version-2").len(), 0);
    host.disk.create("data/initialize").unwrap();
    let recovered = recover(&mut host.disk, &host.config).unwrap();
    assert!(recovered.may_vote);
    assert_eq!(recovered.epochs.unwrap().to_write.len(), 2, "both epoch files are missing");
    assert_eq!(host.disk.list("data/init").len(), 0, "the word is good once");
}

#[test]
fn broken_snapshots_are_passed_over_and_torn_ones_not_even_tried() {
    let mut host = Host::new();
    logged(&mut host, 0, 1..=4);
    let mut database = Database::new(500);
    database.set_last_processed(zxid(0, 2));
    host.snapshot(&database);
    let whole = host.disk.open(&snapshot_path("data/version-2", zxid(0, 2))).unwrap();
    let (len, mut bytes) = (host.disk.len(whole), host.disk.read(whole, 0, 4096).unwrap().to_vec());
    // Same ending, one bit wrong: only the seal tells.
    bytes[40] ^= 1;
    let broken = host.disk.create("data/version-2/snapshot.3").unwrap();
    host.disk.append(broken, &bytes).unwrap();
    let torn = host.disk.create("data/version-2/snapshot.4").unwrap();
    host.disk.append(torn, &bytes[..100]).unwrap();
    let recovered = recover(&mut host.disk, &host.config).unwrap();
    assert_eq!((recovered.snapshot, recovered.snapshots_skipped), (Some(zxid(0, 2)), 2));
    host.disk.set_len(whole, len - 1).unwrap();
    host.disk.remove("data/version-2/snapshot.0").unwrap();
    assert_eq!(host.recovered_zxid(), Err(RefuseToStart::NoValidSnapshot { tried: 1 }));
}

#[test]
fn epoch_file_is_written_beside_and_renamed_when_durable() {
    let mut host = Host::member();
    let epoch = PeerEpoch::new(3);
    let ticket = host.io(|config, io| EpochFile::Accepted.begin(config, epoch, io)).unwrap();
    assert_eq!(host.disk.list("data/version-2/acc"), ["data/version-2/acceptedEpoch.tmp"]);
    host.disk.harden(ticket);
    EpochFile::Accepted.finish(&host.config, &mut host.disk).unwrap();
    let recovered = recover(&mut host.disk, &host.config).unwrap();
    let epochs = recovered.epochs.unwrap();
    assert_eq!((epochs.accepted, epochs.current), (epoch, PeerEpoch::ZERO));
}

#[test]
fn truncation_removes_snapshots_that_know_of_the_tail() {
    let mut host = Host::member();
    logged(&mut host, 1, 1..=5);
    host.log(&mut TxnLog::new(&host.config), 1, 6..=7);
    let tail = recover(&mut host.disk, &host.config).unwrap().database;
    // A leader's snapshot at the start of its epoch holds the whole log, committed or not (ZB-34) …
    host.snapshot(&tail);
    // … and one that was being written meanwhile is older by name only.
    let mut older = Database::new(500);
    older.set_last_processed(zxid(1, 4));
    let mut fuzzy = SnapshotWriter::begin(&older, &host.config, Durability::Lazy);
    fuzzy.write_all(&tail, &mut host.disk).unwrap();
    assert!(fuzzy.is_fuzzy());

    let truncation = truncate(&mut host.disk, &host.config, zxid(1, 5)).unwrap();
    let recovered = truncation.recovered;
    assert_eq!((recovered.snapshot, recovered.database.last_processed()), (Some(Zxid::ZERO), zxid(1, 5)));
    assert!(recovered.database.tree().node("/n5").is_some());
    assert!(recovered.database.tree().node("/n6").is_none());
    assert_eq!(truncation.files_removed, 3, "log.6 and two snapshots");
    assert_eq!(host.recovered_zxid(), Ok(zxid(1, 5)));
}

#[test]
fn truncation_to_what_was_never_there_fails() {
    let mut host = Host::member();
    assert!(matches!(truncate(&mut host.disk, &host.config, zxid(1, 5)), Err(TruncateError::NoLog)));
    logged(&mut host, 1, 1..=3);
    host.log(&mut TxnLog::new(&host.config), 2, 1..=1);
    let error = truncate(&mut host.disk, &host.config, zxid(1, 5)).unwrap_err();
    assert_eq!(error, TruncateError::HistoryEndsBefore { last: zxid(1, 3), zxid: zxid(1, 5) });
}

#[test]
fn truncation_without_an_older_snapshot_touches_nothing() {
    let mut host = Host::member();
    logged(&mut host, 1, 1..=5);
    let tail = recover(&mut host.disk, &host.config).unwrap().database;
    host.snapshot(&tail);
    host.disk.remove("data/version-2/snapshot.0").unwrap();
    let error = truncate(&mut host.disk, &host.config, zxid(1, 3)).unwrap_err();
    assert_eq!(error, TruncateError::NoBase { zxid: zxid(1, 3) });
    assert_eq!(host.recovered_zxid(), Ok(zxid(1, 5)));
}

#[test]
fn truncation_does_not_look_at_what_it_cuts() {
    let mut host = Host::member();
    logged(&mut host, 1, 1..=3);
    let file = host.disk.open("data/version-2/log.100000001").unwrap();
    let mut log = LogReader::around(&host.disk, &host.config, Zxid::ZERO);
    let second = std::iter::from_fn(|| log.next(&mut host.disk).unwrap()).nth(1).unwrap();
    host.disk.write_at(file, second.end + 20, b"?").unwrap();
    assert!(matches!(host.recovered_zxid(), Err(RefuseToStart::Log(LogError::ChecksumMismatch { .. }))));
    truncate(&mut host.disk, &host.config, zxid(1, 2)).unwrap();
    assert_eq!(host.recovered_zxid(), Ok(zxid(1, 2)));
}

#[test]
fn diff_from_disk_needs_a_log_that_reaches_back_and_is_not_too_long() {
    let mut host = Host::member();
    host.config.pre_alloc_size_kb = 16;
    logged(&mut host, 1, 1..=5);
    let read = |host: &mut Host, peer| {
        let mut log = disk_proposals(&mut host.disk, &host.config, peer)?;
        Some(
            std::iter::from_fn(|| log.next(&mut host.disk).unwrap())
                .map(|entry| entry.zxid.counter())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        read(&mut host, zxid(1, 3)),
        Some(vec![1, 2, 3, 4, 5]),
        "what comes before the peer's zxid is its reader's"
    );
    assert_eq!(read(&mut host, zxid(0, 9)), None, "the log begins after the peer's zxid");
    // The first file is free, a second one is all padding and far longer than a third of the snapshot.
    host.log(&mut TxnLog::new(&host.config), 1, 6..=6);
    assert_eq!(read(&mut host, zxid(1, 3)), None);
    assert_eq!(read(&mut host, zxid(1, 6)), None, "one file below the peer's is opened as well, so its own counts");
    host.config.snapshot_size_factor = Some(1_000_000);
    assert_eq!(read(&mut host, zxid(1, 3)), Some(vec![1, 2, 3, 4, 5, 6]));
    host.config.snapshot_size_factor = None;
    assert_eq!(read(&mut host, zxid(1, 3)), None, "switched off");
}

#[test]
fn a_gap_matters_to_a_diff_only_behind_the_peers_zxid() {
    let mut host = Host::member();
    logged(&mut host, 1, [1, 2, 5, 6]);
    let read = |host: &mut Host, peer: Zxid| {
        let mut log = LogReader::around(&host.disk, &host.config, peer);
        while log.next(&mut host.disk)?.is_some() {}
        Ok::<(), LogError>(())
    };
    assert_eq!(read(&mut host, zxid(1, 6)), Ok(()));
    assert!(matches!(read(&mut host, zxid(1, 5)), Err(LogError::Gap { .. })), "2 to 5: 5 is the peer's own");
    assert!(matches!(read(&mut host, zxid(1, 3)), Err(LogError::Gap { .. })));
}

/// Found by a swarm: `leader-pause`, seed 594. A deposed leader logs what nobody else gets, is brought up to date by SNAP in the
/// middle of the next epoch, logs on, leads, and reads its log to a server that lags.
#[test]
fn a_log_that_a_snap_was_loaded_over_is_no_diff() {
    let read = |counters_of_the_next_epoch: &[u32]| {
        let mut host = Host::member();
        logged(&mut host, 1, [1, 2, 3]);
        logged(&mut host, 2, counters_of_the_next_epoch.iter().copied());
        let mut log = LogReader::around(&host.disk, &host.config, zxid(1, 2));
        while log.next(&mut host.disk)?.is_some() {}
        Ok::<(), LogError>(())
    };
    assert_eq!(read(&[1, 2]), Ok(()), "an epoch behind an epoch");
    assert!(
        matches!(read(&[172, 173]), Err(LogError::Gap { .. })),
        "172 transactions of epoch 2 were never in this log"
    );
}

/// Found by a swarm: `swarm-ensemble`, seed 2439. A server that was cut off is brought up to date by SNAP over an epoch of which it has
/// no transaction, logs the first of the next epoch, leads, and reads its log to a server that lags.
#[test]
fn a_log_that_a_snap_was_loaded_over_by_a_whole_epoch_is_no_diff() {
    let read = |snapshot: Option<Zxid>| {
        let mut host = Host::member();
        logged(&mut host, 1, [1, 2, 3]);
        logged(&mut host, 3, [1, 2]);
        if let Some(zxid) = snapshot {
            host.disk.create(&format!("{}/snapshot.{zxid:x}", host.config.data_dir)).unwrap();
        }
        let mut log = LogReader::around(&host.disk, &host.config, zxid(1, 2));
        while log.next(&mut host.disk)?.is_some() {}
        Ok::<(), LogError>(())
    };
    assert_eq!(read(None), Ok(()), "an epoch in which nothing was committed");
    assert!(matches!(read(Some(zxid(2, 1))), Err(LogError::Gap { .. })), "the snapshot has a transaction of epoch 2");
    for harmless in [zxid(1, 2), zxid(1, 3), zxid(3, 0), zxid(3, 1)] {
        assert_eq!(read(Some(harmless)), Ok(()), "{harmless}");
    }
}
