//! Whatever a crash leaves of the log, recovery gives a prefix of the history or refuses: never a panic, never another tree.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;

use coordinator::store::{RefuseToStart, TxnLog, recover};
use coordinator::{Database, ServerConfig};
use jute::data::Acl;
use jute::txn::{CreateTxn, SetDataTxn, Txn, TxnDigest, TxnEntry, TxnHeader};
use jute::{Buffer, PeerEpoch, SessionId, Version, Xid, Zxid};
use machine::disk::{CrashModel, Disk, FileId, Metadata, PageCache};
use machine::{Clock, Effect, Instant, Io, Never, Numbers, Purpose, RunKey, Ticket, Vocabulary};

/// Speaks nothing: only the disk is of interest.
#[derive(Clone, Debug)]
struct Mute;

impl Vocabulary for Mute {
    type Message = Never;
    type Work = Never;
    type Fact = Never;
}

const CRASH: Purpose = Purpose::new("crash");

/// A server that only logs, and knows what its tree was after each transaction.
#[derive(Clone)]
struct Host {
    config: ServerConfig,
    disk: PageCache,
    numbers: Numbers,
    database: Database,
    log: TxnLog,
    digests: BTreeMap<Zxid, u64>,
}

impl Host {
    fn new() -> Self {
        let config = ServerConfig { pre_alloc_size_kb: 16, ..ServerConfig::standalone() };
        let mut disk = PageCache::new(Metadata::Journaled);
        let database = recover(&mut disk, &config).unwrap().database;
        let snapshot = disk.open("data/version-2/snapshot.0").unwrap();
        let log = TxnLog::new(&config);
        let digests = BTreeMap::from([(Zxid::ZERO, database.digest())]);
        let mut host = Self { config, disk, numbers: Numbers::default(), database, log, digests };
        // A loss of power may take a snapshot that was never synced; here it is the log that is of interest.
        let ticket = host.io(|io, _| io.sync(snapshot));
        host.disk.harden(ticket);
        host
    }

    fn io<R>(&mut self, with: impl FnOnce(&mut Io<'_, Mute>, &mut TxnLog) -> R) -> R {
        let mut out: Vec<Effect<Mute>> = Vec::new();
        let clock = Clock { now: Instant::ZERO, wall_offset_ms: 0 };
        let mut io = Io::new(clock, RunKey([0, 0]), 0, &mut self.disk, &mut self.numbers, &mut out);
        with(&mut io, &mut self.log)
    }

    /// Logs one transaction: a create, or new data for the last znode, of a length that moves entries across sectors.
    fn append(&mut self) {
        let counter = u32::try_from(self.digests.len()).unwrap();
        let zxid = Zxid::new(PeerEpoch::ZERO, counter);
        let data = Buffer::new(vec![b'x'; usize::try_from(counter * 37 % 200).unwrap()]);
        let txn = if counter % 3 == 0 {
            let path = format!("/n{}", counter - 1);
            Txn::SetData(SetDataTxn { path, data, version: Version::new(1) })
        } else {
            let parent_cversion = Some(self.database.tree().node("/").unwrap().stat().cversion.next());
            let path = format!("/n{counter}");
            Txn::Create(CreateTxn { path, data, acl: Acl::open(), ephemeral: false, parent_cversion })
        };
        let header = TxnHeader { session: SessionId::new(7), cxid: Xid::new(1), zxid, time_ms: 1 };
        self.database.process_txn(&header, &txn);
        self.digests.insert(zxid, self.database.digest());
        let digest = Some(TxnDigest { version: 2, tree_digest: self.database.digest() });
        let entry = TxnEntry { header, txn, digest };
        self.log.append(&mut self.disk, zxid, &entry.encode()).unwrap();
    }

    fn flush(&mut self) -> Vec<Ticket> {
        self.io(|io, log| log.flush(io)).unwrap()
    }

    /// Recovers; whatever comes of it must be a prefix of the history.
    #[track_caller]
    fn recovered(&mut self) -> Result<Zxid, RefuseToStart> {
        let recovered = recover(&mut self.disk, &self.config)?.database;
        let last = recovered.last_processed();
        assert_eq!(recovered.digest_mismatches(), (0, None));
        assert_eq!(Some(&recovered.digest()), self.digests.get(&last), "the tree at {last} is another one");
        Ok(last)
    }
}

/// A host with this many transactions in `log.1`, the file, and where its padding begins.
fn logged(txns: u32) -> (Host, FileId, u64) {
    let mut host = Host::new();
    for _ in 0..txns {
        host.append();
    }
    host.flush();
    let file = host.disk.open("data/version-2/log.1").unwrap();
    let bytes = host.log.bytes();
    (host, file, bytes)
}

#[test]
fn log_cut_at_any_byte_gives_the_entries_before_the_cut() {
    let (host, file, bytes) = logged(12);
    let mut last = Zxid::ZERO;
    let mut refused = 0;
    for cut in 0..=bytes {
        let mut host = host.clone();
        host.disk.set_len(file, cut).unwrap();
        match host.recovered() {
            Ok(zxid) => {
                assert!(zxid == last || zxid.value() == last.value() + 1, "{last} then {zxid} at {cut}");
                last = zxid;
            }
            Err(_) => {
                assert!((1..16).contains(&cut), "only a header cut short is refused, not {cut}");
                refused += 1;
            }
        }
    }
    assert_eq!((last.counter(), refused), (12, 15));
}

#[test]
fn any_flipped_bit_is_refused_or_ends_the_log() {
    let (host, file, bytes) = logged(8);
    let (mut refused, mut shorter, mut whole) = (0, 0, 0);
    for at in 0..bytes {
        let mut host = host.clone();
        let byte = host.disk.read(file, at, 1).unwrap()[0];
        host.disk.write_at(file, at, &[byte ^ 1 << (at % 8)]).unwrap();
        match host.recovered() {
            Ok(zxid) if zxid.counter() == 8 => whole += 1,
            Ok(_) => shorter += 1,
            Err(_) => refused += 1,
        }
    }
    assert_eq!(whole, 12, "nobody reads version and dbid");
    // The end marks, and lengths that reach beyond the file or past the end mark.
    assert!((8..60).contains(&shorter), "{shorter} shorter, {refused} refused");
}

#[test]
fn what_was_synced_survives_every_loss_of_power() {
    let models = [
        CrashModel::AllUnsyncedLost,
        CrashModel::Prefix,
        CrashModel::AnySubset,
        CrashModel::Torn { sector_bytes: 512 },
    ];
    let mut beyond = 0;
    for model in models {
        let mut refused = 0;
        for seed in 0..60 {
            let mut host = Host::new();
            let mut draw = RunKey([seed, 3]).draw(CRASH, 0, 0);
            // Four batches that are synced, over a roll, and one that is not, sometimes the first of its file.
            let mut synced = Zxid::ZERO;
            for batch in 0..5 {
                if batch == 2 || batch == 4 && seed % 3 == 0 {
                    host.log.roll(&mut host.disk).unwrap();
                }
                for _ in 0..=draw.below(12) {
                    host.append();
                }
                let tickets = host.flush();
                if batch < 4 {
                    for ticket in tickets {
                        assert!(host.disk.harden(ticket));
                    }
                    synced = host.database.last_processed();
                }
            }
            host.disk.lose_power(model, &mut draw);
            match host.recovered() {
                Ok(zxid) => {
                    assert!(zxid >= synced, "{model:?}, seed {seed}: {zxid} is left of {synced}");
                    beyond += u32::from(zxid > synced);
                }
                Err(RefuseToStart::Log(_)) => refused += 1,
                Err(why) => panic!("{model:?}, seed {seed}: {why}"),
            }
        }
        // A header or an entry of which only a part is left stops the real server as well.
        assert!(refused < 10, "{model:?}: {refused} of 60 refuse to start");
        if matches!(model, CrashModel::AllUnsyncedLost | CrashModel::Prefix) {
            assert_eq!(refused, 0, "{model:?} tears nothing");
        }
    }
    assert!(beyond > 10, "a crash may leave more than was synced");
}
