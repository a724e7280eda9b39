//! A server's transaction log as the engine saw it written (zookeeper.md §9.2).
//!
//! Bytes are read as they go into the page cache, and from the disk itself after a loss of power. Whether one is durable is
//! not modelled here: the page cache is asked, since it alone knows what a crash would leave.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jute::Zxid;
use jute::txn::TxnEntry;
use machine::disk::{Disk, PageCache};

use crate::canon::digest_of;
use crate::chunked::Chunked;

/// Magic, version and database id.
const FILE_HEADER: u64 = 16;
pub(crate) const MAGIC: &[u8] = b"ZKLG";
/// Checksum and length before an entry.
const ENTRY_HEADER: usize = 12;
const END_OF_ENTRY: u8 = b'B';

/// A transaction in a server's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Logged {
    pub(crate) zxid: Zxid,
    pub(crate) digest: u64,
    /// Where it ends in its file.
    end: u64,
    file: usize,
    /// The life of the process that wrote it.
    life: u32,
}

/// One `log.<zxid>`.
#[derive(Clone, Debug)]
struct LogFile {
    path: Arc<str>,
    /// How far it was read.
    read_to: u64,
    /// What was written behind that and is no whole entry yet.
    rest: BytesMut,
    /// Its first entry.
    first: usize,
    /// It is not written in one go from its start to its end: it must be read from the disk.
    is_opaque: bool,
}

/// Where a transaction is in a server's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// It is durable, and so is everything before it.
    Durable,
    /// It, or something before it, is in the page cache only, written by this life of the process.
    Cached {
        /// The first that is not durable.
        first: Zxid,
    },
    /// Its bytes are durable and so are all before it, but a file's name is not: its directory was never synced.
    Unnamed {
        /// The first of that file.
        first: Zxid,
    },
    /// As [`Durability::Cached`], but all of that was written by an earlier life and is never synced again.
    Inherited {
        /// The first that is not durable.
        first: Zxid,
    },
    /// As [`Durability::Cached`], but a sync of all that failed, and is not tried again.
    Abandoned {
        /// The first that is not durable.
        first: Zxid,
        /// The last: what comes behind it is durable.
        last: Zxid,
    },
    /// It is not in the log.
    Absent,
}

/// An entry at the start of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Front {
    /// One of so many bytes in all.
    Entry(usize),
    /// More bytes are needed to say.
    Incomplete,
    /// Zeros, or no entry: the log ends.
    End,
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    // So many sums fit 32 bits before they must be reduced.
    for chunk in bytes.chunks(5_552) {
        for &byte in chunk {
            a += u32::from(byte);
            b += a;
        }
        a %= 65_521;
        b %= 65_521;
    }
    b << 16 | a
}

fn front(bytes: &[u8]) -> Front {
    let Some((header, rest)) = bytes.split_at_checked(ENTRY_HEADER) else { return Front::Incomplete };
    let checksum = u64::from_be_bytes(header[..8].try_into().expect("eight bytes"));
    let len = i32::from_be_bytes(header[8..].try_into().expect("four bytes"));
    let Some(len) = usize::try_from(len).ok().filter(|&len| len > 0) else { return Front::End };
    let Some(entry) = rest.get(..len) else { return Front::Incomplete };
    match rest.get(len) {
        None => Front::Incomplete,
        Some(&END_OF_ENTRY) if u64::from(adler32(entry)) == checksum => Front::Entry(ENTRY_HEADER + len + 1),
        Some(_) => Front::End,
    }
}

/// Whether a path is that of a log file.
pub(crate) fn is_log(path: &str) -> bool {
    zxid_of(path, "log.").is_some()
}

/// The zxid in a file's name.
pub(crate) fn zxid_of(path: &str, prefix: &str) -> Option<Zxid> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let digits = name.strip_prefix(prefix)?;
    Zxid::from_wire(i64::from_str_radix(digits, 16).ok()?)
}

/// A server's log.
#[derive(Clone, Debug, Default)]
pub(crate) struct TxnLog {
    files: Vec<LogFile>,
    entries: Chunked<Logged>,
    /// So many entries are known to be durable.
    confirmed: usize,
    /// So many entries were there when a sync failed: those of them that are not durable never will be.
    failed: usize,
}

impl TxnLog {
    /// The last zxid, zero if there is none.
    pub(crate) fn last_zxid(&self) -> Zxid {
        self.entries.last().map_or(Zxid::ZERO, |last| last.zxid)
    }

    pub(crate) fn iter_from(&self, from: usize) -> impl Iterator<Item = &Logged> {
        self.entries.iter_from(from)
    }

    /// How many entries have a zxid up to this one.
    pub(crate) fn count_to(&self, zxid: Zxid) -> usize {
        self.entries.partition_point(|it| it.zxid <= zxid)
    }

    pub(crate) fn position(&self, zxid: Zxid) -> Option<usize> {
        let at = self.count_to(zxid).checked_sub(1)?;
        self.entries.get(at).is_some_and(|it| it.zxid == zxid).then_some(at)
    }

    /// A file is created; one that had its name is gone.
    pub(crate) fn create(&mut self, path: &str) {
        self.remove(path);
        self.files.push(LogFile {
            path: Arc::from(path),
            read_to: FILE_HEADER,
            rest: BytesMut::new(),
            first: self.entries.len(),
            is_opaque: false,
        });
    }

    /// Bytes were written. `new` is told of each entry that is whole now.
    pub(crate) fn write(
        &mut self,
        path: &str,
        offset: u64,
        bytes: &Bytes,
        life: u32,
        mut new: impl FnMut(Zxid, u64, Bytes),
    ) {
        let Some(at) = self.files.iter().rposition(|file| &*file.path == path) else { return };
        let is_last = at + 1 == self.files.len();
        let file = &mut self.files[at];
        // Written in one go from its start to its end: what a server of ours does, and what can be read as it comes.
        let expected = file.read_to + file.rest.len() as u64;
        let skip = expected.saturating_sub(offset);
        if file.is_opaque || !is_last || offset > expected || (skip > 0 && expected > FILE_HEADER) {
            file.is_opaque = true;
            return;
        }
        let skip = usize::try_from(skip).expect("a header is short").min(bytes.len());
        let mut unread = if file.rest.is_empty() {
            bytes.slice(skip..)
        } else {
            let mut rest = std::mem::take(&mut file.rest);
            rest.extend_from_slice(&bytes[skip..]);
            rest.freeze()
        };
        while let Front::Entry(len) = front(&unread) {
            let entry = unread.slice(ENTRY_HEADER..len - 1);
            let file = &mut self.files[at];
            file.read_to += len as u64;
            let end = file.read_to;
            if let Ok(header) = TxnEntry::decode_header(&entry) {
                let digest = digest_of(&entry);
                self.push(Logged { zxid: header.zxid, digest, end, file: at, life });
                new(header.zxid, digest, entry);
            }
            unread = unread.slice(len..);
        }
        self.files[at].rest = BytesMut::from(&*unread);
    }

    /// An entry that is there already stays where it is: a copy of it protects nothing.
    fn push(&mut self, logged: Logged) {
        if logged.zxid > self.last_zxid() || self.entries.is_empty() {
            self.entries.push(logged);
        }
    }

    /// A file was cut.
    pub(crate) fn resize(&mut self, path: &str, to: u64) {
        let Some(at) = self.files.iter().rposition(|file| &*file.path == path) else { return };
        let file = &mut self.files[at];
        if to >= file.read_to {
            return;
        }
        file.rest = BytesMut::new();
        let end = self.files.get(at + 1).map_or(self.entries.len(), |next| next.first);
        let first = self.files[at].first;
        let keep = (first..end).take_while(|&entry| self.entries.get(entry).is_some_and(|it| it.end <= to)).count();
        self.files[at].read_to =
            if keep == 0 { FILE_HEADER } else { self.entries.get(first + keep - 1).expect("it is kept").end };
        self.cut(first + keep, at + 1);
    }

    /// A file is gone. Truncation removes the last files only; if another goes, all behind it count as gone too.
    pub(crate) fn remove(&mut self, path: &str) {
        if let Some(at) = self.files.iter().rposition(|file| &*file.path == path) {
            self.cut(self.files[at].first, at);
            self.files.truncate(at);
        }
    }

    /// Keeps so many entries, all of them in the first files.
    fn cut(&mut self, entries: usize, files: usize) {
        self.entries.truncate(entries);
        self.confirmed = self.confirmed.min(entries);
        self.failed = self.failed.min(entries);
        for file in &mut self.files[files..] {
            file.first = entries;
        }
    }

    /// Reads the log from a disk whose every byte is durable, as after a loss of power. Returns what was there and is not
    /// any more, and what is there and was not.
    pub(crate) fn read_back(&mut self, disk: &PageCache, life: u32) -> (Vec<Logged>, Vec<Logged>) {
        let before = std::mem::take(self);
        self.read(disk, life);
        self.confirmed = self.entries.len();
        let is_in = |log: &Self, it: &Logged| {
            log.position(it.zxid).is_some_and(|at| log.entries.get(at).is_some_and(|other| other.digest == it.digest))
        };
        let lost = before.entries.iter().filter(|it| !is_in(self, it)).copied().collect();
        let back = self.entries.iter().filter(|it| !is_in(&before, it)).copied().collect();
        (lost, back)
    }

    /// Reads all files; nothing is known of what is durable.
    fn read(&mut self, disk: &PageCache, life: u32) {
        let mut paths: Vec<(Zxid, String)> =
            disk.list("").into_iter().filter_map(|path| Some((zxid_of(&path, "log.")?, path))).collect();
        paths.sort();
        for (_, path) in paths {
            let bytes = disk.bytes(&path).expect("the file is listed");
            self.create(&path);
            self.write(&path, 0, &bytes, life, |_, _, _| {});
            self.files.last_mut().expect("it was created").rest = BytesMut::new();
        }
    }

    /// Whether it is known already that a transaction is durable, and all before it.
    pub(crate) fn is_confirmed(&self, zxid: Zxid) -> bool {
        self.position(zxid).is_some_and(|at| at < self.confirmed)
    }

    /// A sync failed: what is not durable now counts as clean, and no later sync of this process covers it.
    pub(crate) fn sync_failed(&mut self) {
        self.failed = self.entries.len();
    }

    /// Whether a transaction was in the log when a sync failed.
    pub(crate) fn was_there_at_failure(&self, zxid: Zxid) -> bool {
        self.position(zxid).is_some_and(|at| at < self.failed)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a server would start from this log, with a snapshot up to `above`, behind a loss of power: all of it is durable, and has
    /// no gap. What is not durable may be lost as a gap, as an entry that is torn or as a file that is none, and each of them is
    /// refused (zookeeper.md §9.6).
    pub(crate) fn survives(&self, above: Zxid, disk: &PageCache) -> bool {
        let durable = disk.durable();
        let mut before = above;
        for (at, file) in self.files.iter().enumerate() {
            let end = self.files.get(at + 1).map_or(self.entries.len(), |next| next.first);
            let Some(id) = disk.find(&file.path) else { return false };
            let has_header = disk.bytes(&file.path).is_some_and(|bytes| bytes.starts_with(MAGIC));
            if file.is_opaque || !has_header || !durable.reaches(id, disk.len(id)) {
                return false;
            }
            for entry in (file.first..end).filter_map(|entry| self.entries.get(entry)).filter(|it| it.zxid > above) {
                if entry.zxid.epoch() == before.epoch() && entry.zxid.counter() != before.counter() + 1 {
                    return false;
                }
                before = entry.zxid;
            }
        }
        true
    }

    /// Whether a transaction and all before it would survive a loss of power.
    pub(crate) fn durability(&mut self, zxid: Zxid, disk: &PageCache, life: u32) -> Durability {
        if self.files.iter().any(|file| file.is_opaque) {
            *self = Self::default();
            self.read(disk, life);
        }
        let Some(at) = self.position(zxid) else { return Durability::Absent };
        let (mut unnamed, mut inherited, mut abandoned) = (None, None, None);
        let mut from = self.confirmed;
        while from <= at {
            let first = *self.entries.get(from).expect("it is below the length");
            let file_end = self.files.get(first.file + 1).map_or(self.entries.len(), |next| next.first);
            let last = at.min(file_end - 1);
            let gap = self.first_undurable(from, last, disk);
            if gap <= last {
                for it in gap..=last {
                    let entry = self.entries.get(it).expect("it is below the length");
                    if entry.life != life {
                        inherited = inherited.or(Some(entry.zxid));
                    } else if it < self.failed {
                        abandoned = Some((abandoned.map_or(entry.zxid, |(first, _)| first), entry.zxid));
                    } else {
                        return Durability::Cached { first: entry.zxid };
                    }
                }
            } else if !disk.find(&self.files[first.file].path).is_some_and(|file| disk.durable().has_entry(file)) {
                unnamed = unnamed.or(Some(first.zxid));
            } else if from == self.confirmed {
                self.confirmed = last + 1;
            }
            from = last + 1;
        }
        match (abandoned, inherited, unnamed) {
            (Some((first, last)), _, _) => Durability::Abandoned { first, last },
            (None, Some(first), _) => Durability::Inherited { first },
            (None, None, Some(first)) => Durability::Unnamed { first },
            (None, None, None) => Durability::Durable,
        }
    }

    /// The first of some entries of one file whose bytes are not durable; the one behind them if all are.
    fn first_undurable(&self, from: usize, last: usize, disk: &PageCache) -> usize {
        let end = |entry: usize| self.entries.get(entry).expect("it is below the length");
        let Some(file) = disk.find(&self.files[end(from).file].path) else { return from };
        let holds = |entry: usize| disk.durable().holds(file, end(entry).end);
        if holds(last) {
            return last + 1;
        }
        let (mut yes, mut no) = (from, last);
        while yes < no {
            let middle = yes.midpoint(no);
            if holds(middle) {
                yes = middle + 1;
            } else {
                no = middle;
            }
        }
        yes
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jute::txn::{CreateSessionTxn, Txn, TxnHeader};
    use jute::{PeerEpoch, SessionId, Xid};
    use machine::Ticket;
    use machine::disk::{CrashModel, Metadata, SyncTarget};
    use machine::{Purpose, RunKey};

    use super::*;

    pub(crate) fn zxid(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(PeerEpoch::new(epoch), counter)
    }

    /// The bytes of a transaction of no interest.
    pub(crate) fn entry(zxid: Zxid) -> Bytes {
        let header = TxnHeader { session: SessionId::new(7), cxid: Xid::ZERO, zxid, time_ms: 0 };
        TxnEntry { header, txn: Txn::CreateSession(CreateSessionTxn { timeout_ms: 4_000 }), digest: None }.encode()
    }

    /// The bytes of a log's entry.
    pub(crate) fn framed(entry: &[u8]) -> Vec<u8> {
        let mut bytes = u64::from(adler32(entry)).to_be_bytes().to_vec();
        bytes.extend_from_slice(&i32::try_from(entry.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(entry);
        bytes.push(END_OF_ENTRY);
        bytes
    }

    /// A disk and the log that watches it.
    struct Watched {
        disk: PageCache,
        log: TxnLog,
        tickets: u64,
    }

    impl Watched {
        fn new() -> Self {
            Self { disk: PageCache::new(Metadata::Synchronous), log: TxnLog::default(), tickets: 0 }
        }

        fn create(&mut self, path: &str) {
            self.disk.create(path).unwrap();
            self.log.create(path);
            self.write(path, &[b'h'; 16], 1);
        }

        fn write(&mut self, path: &str, bytes: &[u8], life: u32) {
            let file = self.disk.open(path).unwrap();
            let offset = self.disk.append(file, bytes).unwrap();
            self.log.write(path, offset, &Bytes::copy_from_slice(bytes), life, |_, _, _| {});
        }

        fn log(&mut self, path: &str, zxid: Zxid, life: u32) {
            self.write(path, &framed(&entry(zxid)), life);
        }

        fn sync(&mut self, path: &str) {
            self.tickets += 1;
            let file = self.disk.open(path).unwrap();
            self.disk.begin_sync(SyncTarget::File(file), Ticket(self.tickets));
            assert!(self.disk.harden(Ticket(self.tickets)));
        }

        fn durability(&mut self, zxid: Zxid) -> Durability {
            self.log.durability(zxid, &self.disk, 1)
        }
    }

    #[test]
    fn adler_is_that_of_zlib() {
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    fn entry_is_durable_once_its_file_and_those_before_are_synced() {
        let mut it = Watched::new();
        it.create("v/log.100000001");
        it.log("v/log.100000001", zxid(1, 1), 1);
        it.log("v/log.100000001", zxid(1, 2), 1);
        assert_eq!(it.durability(zxid(1, 1)), Durability::Cached { first: zxid(1, 1) });
        it.sync("v/log.100000001");
        it.log("v/log.100000001", zxid(1, 3), 1);
        it.create("v/log.100000004");
        it.log("v/log.100000004", zxid(1, 4), 1);
        it.sync("v/log.100000004");
        assert_eq!(it.durability(zxid(1, 2)), Durability::Durable);
        assert_eq!(it.durability(zxid(1, 4)), Durability::Cached { first: zxid(1, 3) }, "its own file is not enough");
        it.sync("v/log.100000001");
        assert_eq!(it.durability(zxid(1, 4)), Durability::Durable);
        assert_eq!(it.durability(zxid(1, 5)), Durability::Absent);
    }

    #[test]
    fn tail_of_an_earlier_life_is_told_from_that_of_this_one() {
        let mut it = Watched::new();
        it.create("v/log.100000001");
        it.log("v/log.100000001", zxid(1, 1), 0);
        assert_eq!(it.durability(zxid(1, 1)), Durability::Inherited { first: zxid(1, 1) });
        it.log("v/log.100000001", zxid(1, 2), 1);
        assert_eq!(it.durability(zxid(1, 2)), Durability::Cached { first: zxid(1, 2) });
        // A file of this life that is synced does not make the older one durable, nor a fault of this life.
        it.create("v/log.100000003");
        it.disk
            .set_len(it.disk.find("v/log.100000001").unwrap(), 16 + framed(&entry(zxid(1, 1))).len() as u64)
            .unwrap();
        it.log.resize("v/log.100000001", 16 + framed(&entry(zxid(1, 1))).len() as u64);
        it.log("v/log.100000003", zxid(1, 3), 1);
        it.sync("v/log.100000003");
        assert_eq!(it.durability(zxid(1, 3)), Durability::Inherited { first: zxid(1, 1) });
    }

    #[test]
    fn tail_whose_sync_failed_is_told_apart_from_what_comes_behind() {
        let mut it = Watched::new();
        it.create("v/log.100000001");
        it.log("v/log.100000001", zxid(1, 1), 1);
        it.log.sync_failed();
        let abandoned = Durability::Abandoned { first: zxid(1, 1), last: zxid(1, 1) };
        assert_eq!(it.durability(zxid(1, 1)), abandoned);
        it.create("v/log.100000002");
        it.log("v/log.100000002", zxid(1, 2), 1);
        assert_eq!(it.durability(zxid(1, 2)), Durability::Cached { first: zxid(1, 2) });
        it.sync("v/log.100000002");
        assert_eq!(it.durability(zxid(1, 2)), abandoned);
        assert!(it.log.was_there_at_failure(zxid(1, 1)) && !it.log.was_there_at_failure(zxid(1, 2)));
        it.log.sync_failed();
        assert_eq!(it.durability(zxid(1, 2)), abandoned, "what was synced before the next failure stays durable");
        it.create("v/log.100000003");
        it.log("v/log.100000003", zxid(1, 3), 1);
        it.log.sync_failed();
        assert_eq!(it.durability(zxid(1, 3)), Durability::Abandoned { first: zxid(1, 1), last: zxid(1, 3) });
    }

    #[test]
    fn synced_file_without_a_durable_name_is_told_apart() {
        let mut it = Watched { disk: PageCache::new(Metadata::Strict), log: TxnLog::default(), tickets: 0 };
        it.create("v/log.100000001");
        it.log("v/log.100000001", zxid(1, 1), 1);
        assert_eq!(it.durability(zxid(1, 1)), Durability::Cached { first: zxid(1, 1) });
        it.sync("v/log.100000001");
        assert_eq!(it.durability(zxid(1, 1)), Durability::Unnamed { first: zxid(1, 1) });
    }

    #[test]
    fn entry_split_over_writes_is_read_when_it_is_whole() {
        let mut it = Watched::new();
        it.create("v/log.100000001");
        let bytes = framed(&entry(zxid(1, 1)));
        it.write("v/log.100000001", &bytes[..20], 1);
        assert_eq!(it.log.last_zxid(), Zxid::ZERO);
        it.write("v/log.100000001", &bytes[20..], 1);
        assert_eq!(it.log.last_zxid(), zxid(1, 1));
    }

    #[test]
    fn cut_and_removed_entries_are_gone() {
        let mut it = Watched::new();
        it.create("v/log.100000001");
        it.log("v/log.100000001", zxid(1, 1), 1);
        let end = 16 + framed(&entry(zxid(1, 1))).len() as u64;
        it.log("v/log.100000001", zxid(1, 2), 1);
        it.create("v/log.100000003");
        it.log("v/log.100000003", zxid(1, 3), 1);
        it.log.remove("v/log.100000003");
        assert_eq!(it.log.last_zxid(), zxid(1, 2));
        it.log.resize("v/log.100000001", 64 << 20);
        it.log.resize("v/log.100000001", end);
        assert_eq!(it.log.last_zxid(), zxid(1, 1));
        it.log.create("v/log.200000001");
        it.log.write("v/log.200000001", 0, &Bytes::from(vec![0; 16]), 1, |_, _, _| {});
        it.log.write("v/log.200000001", 16, &framed(&entry(zxid(2, 1))).into(), 1, |_, _, _| {});
        assert_eq!(it.log.last_zxid(), zxid(2, 1));
    }

    #[test]
    fn loss_of_power_takes_what_was_not_synced() {
        let mut it = Watched::new();
        it.create("v/log.100000001");
        it.log("v/log.100000001", zxid(1, 1), 1);
        it.sync("v/log.100000001");
        it.log("v/log.100000001", zxid(1, 2), 1);
        it.disk.lose_power(CrashModel::AllUnsyncedLost, &mut RunKey([1, 2]).draw(Purpose::new("test/crash"), 0, 0));
        let (lost, back) = it.log.read_back(&it.disk, 2);
        assert_eq!(lost.iter().map(|it| it.zxid).collect::<Vec<_>>(), [zxid(1, 2)]);
        assert_eq!(back, []);
        assert_eq!(it.durability(zxid(1, 1)), Durability::Durable);
    }
}
