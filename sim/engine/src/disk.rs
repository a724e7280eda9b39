//! A host's disk as the engine runs it: the page cache, its latencies, and the faults that are active.
//!
//! A machine writes and reads through a [`LentDisk`] for the length of one step. That is where errors are injected, where
//! every change is logged for the trace and the judges, and where cache misses add up to a stall of the step's lane. The
//! device serves one sync after another: [`HostDisk::begun`] says when each completes, [`HostDisk::complete`] what it
//! then did. Which faults are active is data set from outside; nothing is injected that nobody switched on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use machine::disk::{CrashModel, Disk, DiskError, Durable, FileId, Metadata, PageCache, PowerLoss, SyncTarget};
use machine::{Digest, Draw, Instant, Span, Ticket};
use serde::{Deserialize, Serialize};

/// What a disk is like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskSpec {
    /// What makes entries of the directory durable.
    pub metadata: Metadata,
    /// What a loss of power leaves.
    pub crash: CrashModel,
    /// Bytes the disk can store, holes not counted; none is without limit.
    pub capacity_bytes: Option<u64>,
    /// Least and most time a sync takes once the device turns to it.
    pub sync_latency: (Span, Span),
    /// Least and most time the device takes to bring a region into the cache.
    pub read_miss_latency: (Span, Span),
    /// After how long the kernel writes back by itself what nobody synced; at most a second later it is durable. None is
    /// never, as if every loss of power came at once.
    pub write_back_after: Option<Span>,
}

/// A journaling file system on a data-centre SSD: a sync in 0.2 to 2 ms, a read miss in 60 to 300 µs, no limit,
/// dirty pages written back after 5 s (ext4's commit interval), and nothing younger survives a loss of power unsynced.
impl Default for DiskSpec {
    fn default() -> Self {
        Self {
            metadata: Metadata::Journaled,
            crash: CrashModel::AllUnsyncedLost,
            capacity_bytes: None,
            sync_latency: (Span::micros(200), Span::millis(2)),
            read_miss_latency: (Span::micros(60), Span::micros(300)),
            write_back_after: Some(Span::secs(5)),
        }
    }
}

impl DiskSpec {
    /// Panics if a range of latencies is the wrong way round or a sector has no bytes.
    fn check(&self) {
        for (least, most) in [self.sync_latency, self.read_miss_latency] {
            assert!(least <= most, "a disk with latencies between {least} and {most}");
        }
        match self.crash {
            CrashModel::AllUnsyncedLost | CrashModel::Prefix | CrashModel::AnySubset => {}
            CrashModel::Torn { sector_bytes } => assert!(sector_bytes > 0, "a sector has at least one byte"),
        }
    }
}

/// How often something fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failing {
    /// Not at all.
    #[default]
    Never,
    /// The next so many times, then no more.
    Next(u32),
    /// Each time, until it is switched off.
    Always,
}

impl Failing {
    /// Asks whether it fails this time.
    const fn strikes(&mut self) -> bool {
        match self {
            Self::Never | Self::Next(0) => false,
            Self::Next(times) => {
                *times -= 1;
                true
            }
            Self::Always => true,
        }
    }
}

/// The faults that are active on a disk. The engine switches them on and off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DiskFaults {
    /// EIO of writes, changes of length, creations, renames and removals. Nothing is written.
    pub write_error: Failing,
    /// EIO of reads and of opening.
    pub read_error: Failing,
    /// EIO of syncs, of files and of the directory: what they covered is lost ([`PageCache::fail_sync`]). Counted when a
    /// sync completes.
    pub sync_error: Failing,
    /// ENOSPC of whatever needs more space.
    pub full: bool,
    /// Syncs and read misses take so many times as long. Not zero.
    pub slow_factor: u64,
    /// Syncs and read misses take so much longer, after the factor.
    pub stall: Span,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self {
            write_error: Failing::Never,
            read_error: Failing::Never,
            sync_error: Failing::Never,
            full: false,
            slow_factor: 1,
            stall: Span::ZERO,
        }
    }
}

impl DiskFaults {
    fn slows(&self) -> bool {
        self.slow_factor != 1 || self.stall != Span::ZERO
    }

    fn slowed(&self, latency: Span) -> Span {
        assert!(self.slow_factor > 0, "a disk slowed by a factor of zero");
        Span::nanos(latency.as_nanos().saturating_mul(self.slow_factor)).saturating_add(self.stall)
    }
}

/// How often each kind of fault changed something for the machine, since the disk was made. Only ever grows: who wants
/// to attribute what was felt compares two readings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DiskFelt {
    /// Changes that failed with EIO.
    pub write_error: u32,
    /// Reads that failed with EIO.
    pub read_error: u32,
    /// Syncs that failed with EIO.
    pub sync_error: u32,
    /// Changes that failed with ENOSPC, because of a fault or because the disk was full.
    pub full: u32,
    /// Syncs and read misses that took longer.
    pub slow: u32,
}

/// What a change did to a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DiskOpKind {
    /// An empty file was created, in place of one that had the name.
    Create,
    /// Bytes were written.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
        /// [`Digest`] of the bytes.
        checksum: u64,
    },
    /// The length was changed.
    SetLen {
        /// The new length in bytes.
        len: u64,
    },
    /// The file was given another name.
    Rename {
        /// The new name.
        to: Arc<str>,
    },
    /// The file was removed.
    Remove,
    /// A sync of the file, or of the directory if the path is empty, was begun.
    BeginSync {
        /// Its ticket.
        ticket: Ticket,
    },
}

/// One change of a disk by a machine, in the order they were made. Changes that failed are not among them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DiskOp {
    /// The file's name at that moment.
    pub path: Arc<str>,
    /// What was done.
    pub kind: DiskOpKind,
}

impl DiskOp {
    /// Adds the change to a digest: name, kind, offset, length and the checksum of the bytes.
    pub(crate) fn digest(&self, digest: &mut Digest) {
        digest.text(&self.path);
        match &self.kind {
            DiskOpKind::Create => digest.word(1),
            DiskOpKind::Write { offset, bytes, checksum } => {
                digest.word(2);
                digest.word(*offset);
                digest.word(bytes.len() as u64);
                digest.word(*checksum);
            }
            DiskOpKind::SetLen { len } => {
                digest.word(3);
                digest.word(*len);
            }
            DiskOpKind::Rename { to } => {
                digest.word(4);
                digest.text(to);
            }
            DiskOpKind::Remove => digest.word(5),
            DiskOpKind::BeginSync { ticket } => {
                digest.word(6);
                digest.word(ticket.0);
            }
        }
    }
}

/// The disk of one host.
#[derive(Clone, Debug)]
pub(crate) struct HostDisk {
    cache: PageCache,
    spec: Arc<DiskSpec>,
    faults: DiskFaults,
    felt: DiskFelt,
    /// When the device has served every sync it was given.
    busy_until: Instant,
    warm: Warmth,
    /// What became dirty when, youngest last: one entry a second.
    dirty: VecDeque<Dirty>,
}

/// Changes that the kernel writes back together.
#[derive(Clone, Copy, Debug)]
struct Dirty {
    /// When the first of them was made.
    since: Instant,
    /// When the last of them was made.
    until: Instant,
    /// Its number.
    last_change: u64,
}

/// How far apart the kernel looks at what is dirty.
const WRITE_BACK_INTERVAL: Span = Span::secs(1);

/// Bytes that one read miss brings into the cache: the read-ahead window of Linux.
const REGION_BYTES: u64 = 128 << 10;

/// Which regions of old files a read has brought back into the cache since power was lost.
///
/// Simplified: a write into a cold region does not warm it, so the first read after it still waits for the device.
#[derive(Clone, Debug)]
struct Warmth {
    /// The first file created since then: from it on, files are in the cache as they were written.
    cold_below: FileId,
    regions: Arc<BTreeSet<(FileId, u64)>>,
}

impl Warmth {
    fn new(cold_below: FileId) -> Self {
        Self { cold_below, regions: Arc::default() }
    }

    /// Notes a read of that region; true if it was cold.
    fn touch(&mut self, file: FileId, region: u64) -> bool {
        file < self.cold_below
            && !self.regions.contains(&(file, region))
            && Arc::make_mut(&mut self.regions).insert((file, region))
    }
}

impl HostDisk {
    /// An empty disk. Panics if the spec contradicts itself.
    pub(crate) fn new(spec: Arc<DiskSpec>) -> Self {
        spec.check();
        Self {
            cache: PageCache::new(spec.metadata),
            spec,
            faults: DiskFaults::default(),
            felt: DiskFelt::default(),
            busy_until: Instant::ZERO,
            warm: Warmth::new(FileId(0)),
            dirty: VecDeque::new(),
        }
    }

    /// What the kernel has written back by itself by now. Nobody can tell before a loss of power, so this is done when a
    /// step of the host is over, and before power is lost, not by an event of its own.
    #[inline]
    pub(crate) fn write_back(&mut self, now: Instant) {
        let Some(after) = self.spec.write_back_after else { return };
        let last = self.cache.last_change();
        match self.dirty.back_mut() {
            Some(dirty) if dirty.last_change == last => {}
            Some(dirty) if now < dirty.since.saturating_add(WRITE_BACK_INTERVAL) => {
                (dirty.until, dirty.last_change) = (now, last);
            }
            Some(_) | None => self.dirty.push_back(Dirty { since: now, until: now, last_change: last }),
        }
        while let Some(dirty) = self.dirty.pop_front_if(|dirty| dirty.until.saturating_add(after) <= now) {
            self.cache.write_back(dirty.last_change);
        }
    }

    /// What the disk is like.
    pub(crate) fn spec(&self) -> &DiskSpec {
        &self.spec
    }

    /// The page cache, for observers.
    pub(crate) const fn cache(&self) -> &PageCache {
        &self.cache
    }

    /// What a loss of power that keeps nothing would leave, for observers.
    pub(crate) const fn durable(&self) -> Durable<'_> {
        self.cache.durable()
    }

    /// The faults that are active, to be changed.
    pub(crate) const fn faults_mut(&mut self) -> &mut DiskFaults {
        &mut self.faults
    }

    /// How often faults were felt so far.
    pub(crate) const fn felt(&self) -> DiskFelt {
        self.felt
    }

    /// Lends the disk for one step. Changes go to the end of `log`; `draw` is for the latencies of read misses.
    pub(crate) const fn lend<'a>(&'a mut self, draw: Draw, log: &'a mut Vec<DiskOp>) -> LentDisk<'a> {
        LentDisk { disk: self, draw, log, stall: Span::ZERO }
    }

    /// A step of the machine at `now` has begun a sync; returns when it completes. The device serves syncs one after
    /// another, in the order they are given to it here.
    pub(crate) fn begun(&mut self, now: Instant, mut draw: Draw) -> Instant {
        let (least, most) = self.spec.sync_latency;
        if self.faults.slows() {
            self.felt.slow += 1;
        }
        let latency = self.faults.slowed(draw.between(least, most));
        self.busy_until = self.busy_until.max(now).saturating_add(latency);
        self.busy_until
    }

    /// A sync is done with, well or badly: says what the machine is told. None if it is not pending any more because
    /// power was lost. A sync completes whether or not the process that asked for it still lives.
    ///
    /// # Errors
    /// `Io`, if a fault struck: what the sync covered is lost.
    pub(crate) fn complete(&mut self, ticket: Ticket) -> Option<Result<(), DiskError>> {
        if !self.cache.is_pending(ticket) {
            return None;
        }
        if self.faults.sync_error.strikes() {
            self.felt.sync_error += 1;
            assert!(self.cache.fail_sync(ticket), "the sync is pending");
            return Some(Err(DiskError::Io));
        }
        assert!(self.cache.harden(ticket), "the sync is pending");
        Some(Ok(()))
    }

    /// The host loses power. Active faults stay: they are the device's.
    pub(crate) fn lose_power(&mut self, draw: &mut Draw) -> PowerLoss {
        let loss = self.cache.lose_power(self.spec.crash, draw);
        self.dirty.clear();
        self.busy_until = Instant::ZERO;
        self.warm = Warmth::new(self.cache.next_file());
        loss
    }

    /// Adds the state of cache and device: not the bytes, which the trace has seen as they were written, and not the
    /// faults, which the schedule tells.
    pub(crate) fn digest(&self, digest: &mut Digest) {
        self.cache.digest(digest);
        digest.word(self.busy_until.as_nanos());
        digest.word(self.warm.regions.len() as u64);
    }
}

/// A host's disk for the length of one step.
#[derive(Debug)]
pub(crate) struct LentDisk<'a> {
    disk: &'a mut HostDisk,
    draw: Draw,
    log: &'a mut Vec<DiskOp>,
    stall: Span,
}

impl LentDisk<'_> {
    /// How long the step's reads have waited for the device so far: the lane is busy that much longer.
    pub(crate) const fn stall(&self) -> Span {
        self.stall
    }

    fn write_fault(&mut self) -> Result<(), DiskError> {
        if self.disk.faults.write_error.strikes() {
            self.disk.felt.write_error += 1;
            return Err(DiskError::Io);
        }
        Ok(())
    }

    fn read_fault(&mut self) -> Result<(), DiskError> {
        if self.disk.faults.read_error.strikes() {
            self.disk.felt.read_error += 1;
            return Err(DiskError::Io);
        }
        Ok(())
    }

    /// Fails if the disk cannot store so many bytes more.
    fn space_fault(&mut self, growth: impl FnOnce(&PageCache) -> u64) -> Result<(), DiskError> {
        let capacity = match (self.disk.faults.full, self.disk.spec.capacity_bytes) {
            (false, None) => return Ok(()),
            (true, _) => 0,
            (false, Some(capacity)) => capacity,
        };
        let growth = growth(&self.disk.cache);
        if growth > 0 && self.disk.cache.used_bytes().saturating_add(growth) > capacity {
            self.disk.felt.full += 1;
            return Err(DiskError::NoSpace);
        }
        Ok(())
    }

    fn log(&mut self, path: impl Into<Arc<str>>, kind: DiskOpKind) {
        self.log.push(DiskOp { path: path.into(), kind });
    }

    fn path_of(&self, file: FileId) -> Arc<str> {
        self.disk.cache.shared_path_of(file).unwrap_or_else(|| panic!("{file:?} was removed or never existed"))
    }

    /// Brings what is read into the cache, which takes time where it was not there.
    fn warm(&mut self, file: FileId, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.disk.cache.len(file));
        if file >= self.disk.warm.cold_below || offset >= end {
            return;
        }
        for region in offset / REGION_BYTES..=(end - 1) / REGION_BYTES {
            let start = region * REGION_BYTES;
            let is_hole = self.disk.cache.growth(file, start, REGION_BYTES) == REGION_BYTES;
            if !is_hole && self.disk.warm.touch(file, region) {
                let (least, most) = self.disk.spec.read_miss_latency;
                if self.disk.faults.slows() {
                    self.disk.felt.slow += 1;
                }
                let latency = self.disk.faults.slowed(self.draw.between(least, most));
                self.stall = self.stall.saturating_add(latency);
            }
        }
    }
}

impl Disk for LentDisk<'_> {
    fn create(&mut self, path: &str) -> Result<FileId, DiskError> {
        self.write_fault()?;
        self.space_fault(|_| 1)?;
        let file = self.disk.cache.create(path)?;
        self.log(path, DiskOpKind::Create);
        Ok(file)
    }

    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        let file = self.disk.cache.open(path)?;
        self.read_fault()?;
        Ok(file)
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        self.disk.cache.list(prefix)
    }

    fn len(&self, file: FileId) -> u64 {
        self.disk.cache.len(file)
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.write_fault()?;
        self.space_fault(|cache| cache.growth(file, offset, bytes.len() as u64))?;
        self.disk.cache.write_at(file, offset, bytes)?;
        let mut digest = Digest::new();
        digest.bytes(bytes);
        let kind = DiskOpKind::Write { offset, bytes: Bytes::copy_from_slice(bytes), checksum: digest.value() };
        self.log(self.path_of(file), kind);
        Ok(())
    }

    fn read(&mut self, file: FileId, offset: u64, len: u64) -> Result<Bytes, DiskError> {
        self.read_fault()?;
        self.warm(file, offset, len);
        self.disk.cache.read(file, offset, len)
    }

    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        self.write_fault()?;
        self.disk.cache.set_len(file, len)?;
        self.log(self.path_of(file), DiskOpKind::SetLen { len });
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.disk.cache.find(from).ok_or(DiskError::NotFound)?;
        self.write_fault()?;
        self.disk.cache.rename(from, to)?;
        self.log(from, DiskOpKind::Rename { to: Arc::from(to) });
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        self.disk.cache.find(path).ok_or(DiskError::NotFound)?;
        self.write_fault()?;
        self.disk.cache.remove(path)?;
        self.log(path, DiskOpKind::Remove);
        Ok(())
    }

    fn begin_sync(&mut self, target: SyncTarget, ticket: Ticket) {
        self.disk.cache.begin_sync(target, ticket);
        let path = match target {
            SyncTarget::File(file) => self.path_of(file),
            SyncTarget::Directory => Arc::from(""),
        };
        self.log(path, DiskOpKind::BeginSync { ticket });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machine::disk::{CrashModel, Disk, DiskError, FileId, SyncTarget};
    use machine::{Digest, Draw, Instant, Purpose, RunKey, Span, Ticket};

    use super::{DiskOp, DiskOpKind, DiskSpec, Failing, HostDisk};

    const TEST: Purpose = Purpose::new("test");

    fn draw(index: u64) -> Draw {
        RunKey([1, 2]).draw(TEST, 0, index)
    }

    fn disk(spec: DiskSpec) -> HostDisk {
        HostDisk::new(Arc::new(spec))
    }

    /// One step of a machine; returns what it did, what was logged, and how long it waited.
    fn step<R>(disk: &mut HostDisk, to: impl FnOnce(&mut dyn Disk) -> R) -> (R, Vec<DiskOp>, Span) {
        let mut log = Vec::new();
        let mut lent = disk.lend(draw(9), &mut log);
        let result = to(&mut lent);
        let stall = lent.stall();
        (result, log, stall)
    }

    fn log_file(disk: &mut HostDisk, bytes: &[u8]) -> FileId {
        step(disk, |disk| {
            let file = disk.create("log").unwrap();
            disk.append(file, bytes).unwrap();
            disk.begin_sync(SyncTarget::File(file), Ticket(500));
            file
        })
        .0
    }

    #[test]
    fn every_change_is_logged_in_order_with_its_bytes() {
        let mut disk = disk(DiskSpec::default());
        let (file, log, stall) = step(&mut disk, |disk| {
            let file = disk.create("a").unwrap();
            disk.append(file, b"bytes").unwrap();
            disk.rename("a", "b").unwrap();
            disk.set_len(file, 2).unwrap();
            disk.begin_sync(SyncTarget::File(file), Ticket(1));
            assert_eq!(disk.remove("a"), Err(DiskError::NotFound));
            disk.remove("b").unwrap();
            file
        });
        assert_eq!((file, stall), (FileId(0), Span::ZERO));
        let mut checksum = Digest::new();
        checksum.bytes(b"bytes");
        let bytes = b"bytes"[..].into();
        let expected = [
            ("a", DiskOpKind::Create),
            ("a", DiskOpKind::Write { offset: 0, bytes, checksum: checksum.value() }),
            ("a", DiskOpKind::Rename { to: "b".into() }),
            ("b", DiskOpKind::SetLen { len: 2 }),
            ("b", DiskOpKind::BeginSync { ticket: Ticket(1) }),
            ("b", DiskOpKind::Remove),
        ];
        assert_eq!(log, expected.map(|(path, kind)| DiskOp { path: path.into(), kind }));
    }

    #[test]
    fn logged_change_digests_its_content() {
        let digest_of = |bytes: &[u8]| {
            let mut disk = disk(DiskSpec::default());
            let (_, log, _) = step(&mut disk, |disk| {
                let file = disk.create("a").unwrap();
                disk.append(file, bytes).unwrap();
            });
            let mut digest = Digest::new();
            log.iter().for_each(|op| op.digest(&mut digest));
            digest.value()
        };
        assert_ne!(digest_of(b"one"), digest_of(b"two"), "same name, offset and length");
        assert_eq!(digest_of(b"one"), digest_of(b"one"));
    }

    #[test]
    fn failed_write_writes_and_logs_nothing() {
        let mut disk = disk(DiskSpec::default());
        let file = log_file(&mut disk, b"old");
        disk.faults_mut().write_error = Failing::Next(2);
        let (results, log, _) = step(&mut disk, |disk| {
            [disk.append(file, b"a").err(), disk.set_len(file, 0).err(), disk.append(file, b"b").err()]
        });
        assert_eq!(results, [Some(DiskError::Io), Some(DiskError::Io), None]);
        assert_eq!(log.len(), 1);
        assert_eq!(disk.cache().bytes("log").unwrap(), "oldb");
        assert_eq!(disk.felt().write_error, 2);
    }

    #[test]
    fn read_error_lasts_while_it_is_active() {
        let mut disk = disk(DiskSpec::default());
        let file = log_file(&mut disk, b"old");
        disk.faults_mut().read_error = Failing::Always;
        for _ in 0..3 {
            assert_eq!(step(&mut disk, |disk| disk.read(file, 0, 3)).0, Err(DiskError::Io));
        }
        assert_eq!(step(&mut disk, |disk| disk.open("none")).0, Err(DiskError::NotFound));
        disk.faults_mut().read_error = Failing::Never;
        assert_eq!(step(&mut disk, |disk| disk.read(file, 0, 3)).0.unwrap(), "old");
        assert_eq!(disk.felt().read_error, 3);
    }

    #[test]
    fn full_disk_refuses_growth_and_lets_overwrites_and_removals_pass() {
        let mut disk = disk(DiskSpec { capacity_bytes: Some(10), ..DiskSpec::default() });
        let file = log_file(&mut disk, b"12345678");
        let (results, log, _) = step(&mut disk, |disk| {
            disk.set_len(file, 1_000).unwrap();
            [disk.write_at(file, 8, b"9ab").err(), disk.write_at(file, 0, b"overwrite").err(), disk.remove("log").err()]
        });
        assert_eq!(results, [Some(DiskError::NoSpace), None, None]);
        assert_eq!((log.len(), disk.felt().full), (3, 1));
        disk.faults_mut().full = true;
        assert_eq!(step(&mut disk, |disk| disk.create("log")).0, Err(DiskError::NoSpace));
        disk.faults_mut().full = false;
        assert!(step(&mut disk, |disk| disk.create("log")).0.is_ok());
    }

    #[test]
    fn syncs_of_one_disk_are_served_one_after_another() {
        let latency = Span::millis(1);
        let mut disk = disk(DiskSpec { sync_latency: (latency, latency), ..DiskSpec::default() });
        let now = Instant::from_nanos(5_000_000);
        assert_eq!(disk.begun(now, draw(0)), now + latency);
        assert_eq!(disk.begun(now, draw(1)), now + latency * 2);
        assert_eq!(disk.begun(now + Span::secs(1), draw(2)), now + Span::secs(1) + latency);
        disk.faults_mut().slow_factor = 10;
        disk.faults_mut().stall = Span::millis(3);
        assert_eq!(disk.begun(now + Span::secs(2), draw(3)), now + Span::secs(2) + latency * 13);
        assert_eq!(disk.felt().slow, 1);
    }

    #[test]
    fn completed_sync_is_durable_and_a_failed_one_never_is() {
        let mut disk = disk(DiskSpec::default());
        let file = log_file(&mut disk, b"old");
        assert_eq!(disk.complete(Ticket(500)), Some(Ok(())));
        assert_eq!(disk.complete(Ticket(500)), None);
        let mut lossy = disk.clone();
        lossy.faults_mut().sync_error = Failing::Next(1);
        for disk in [&mut disk, &mut lossy] {
            for ticket in [Ticket(1), Ticket(2)] {
                step(disk, |disk| {
                    disk.append(file, b"+").unwrap();
                    disk.begin_sync(SyncTarget::File(file), ticket);
                });
            }
        }
        assert_eq!((disk.complete(Ticket(1)), disk.complete(Ticket(2))), (Some(Ok(())), Some(Ok(()))));
        assert_eq!((lossy.complete(Ticket(1)), lossy.complete(Ticket(2))), (Some(Err(DiskError::Io)), Some(Ok(()))));
        assert_eq!((disk.felt().sync_error, lossy.felt().sync_error), (0, 1));
        disk.lose_power(&mut draw(1));
        lossy.lose_power(&mut draw(1));
        assert_eq!(disk.cache().bytes("log").unwrap(), "old++");
        assert_eq!(lossy.cache().bytes("log").unwrap(), "old\0+");
    }

    #[test]
    fn power_loss_follows_the_spec_and_drops_pending_syncs() {
        let mut disk = disk(DiskSpec { crash: CrashModel::Torn { sector_bytes: 512 }, ..DiskSpec::default() });
        let file = log_file(&mut disk, b"");
        assert_eq!(disk.complete(Ticket(500)), Some(Ok(())));
        step(&mut disk, |disk| {
            disk.append(file, &[1; 100_000]).unwrap();
            disk.begin_sync(SyncTarget::File(file), Ticket(1));
        });
        disk.begun(Instant::from_nanos(7), draw(0));
        assert_eq!(disk.lose_power(&mut draw(1)).operations_torn, 1);
        assert_eq!(disk.complete(Ticket(1)), None);
        assert_eq!(disk.busy_until, Instant::ZERO);
    }

    #[test]
    fn what_is_dirty_for_long_enough_is_written_back_by_the_kernel() {
        let after = Span::secs(5);
        for (age, survives) in [(Span::secs(4), false), (Span::secs(5), true), (Span::secs(60), true)] {
            let mut disk = disk(DiskSpec { write_back_after: Some(after), ..DiskSpec::default() });
            let written = Instant::ZERO + Span::secs(1);
            step(&mut disk, |disk| {
                let file = disk.create("snapshot").unwrap();
                disk.append(file, b"tree").unwrap();
            });
            disk.write_back(written);
            // The host sleeps: nobody looks at its disk until power is lost.
            disk.write_back(written + age);
            disk.lose_power(&mut draw(1));
            assert_eq!(disk.cache().find("snapshot").is_some(), survives, "after {age}");
        }
        let mut never = disk(DiskSpec { write_back_after: None, ..DiskSpec::default() });
        step(&mut never, |disk| {
            disk.create("snapshot").unwrap();
        });
        never.write_back(Instant::ZERO + Span::secs(3600));
        never.lose_power(&mut draw(1));
        assert_eq!(never.cache().find("snapshot"), None);
    }

    #[test]
    fn changes_within_a_second_are_written_back_together_and_never_early() {
        let mut disk = disk(DiskSpec { write_back_after: Some(Span::secs(5)), ..DiskSpec::default() });
        for tenth in 0..30 {
            step(&mut disk, |disk| {
                disk.create(&format!("file-{tenth:02}")).unwrap();
            });
            disk.write_back(Instant::ZERO + Span::millis(tenth * 100));
        }
        disk.write_back(Instant::ZERO + Span::millis(6_950));
        disk.lose_power(&mut draw(1));
        let left = disk.cache().durable().list();
        assert_eq!(left.last().map(String::as_str), Some("file-19"), "the third second is not over for five");
    }

    #[test]
    fn first_read_of_each_region_after_a_power_loss_waits_for_the_device() {
        let miss = Span::micros(100);
        let mut disk = disk(DiskSpec { read_miss_latency: (miss, miss), ..DiskSpec::default() });
        let file = log_file(&mut disk, &[1; 300_000]);
        disk.complete(Ticket(500)).unwrap().unwrap();
        let read = |disk: &mut HostDisk, offset, len| step(disk, |disk| disk.read(file, offset, len).unwrap()).2;
        assert_eq!(read(&mut disk, 0, 300_000), Span::ZERO, "it was just written");
        disk.lose_power(&mut draw(1));
        assert_eq!(read(&mut disk, 10, 10), miss);
        assert_eq!(read(&mut disk, 0, 100), Span::ZERO, "the same region");
        assert_eq!(read(&mut disk, 0, 1_000_000), miss * 2, "the two others; nothing lies behind the end");
        disk.faults_mut().slow_factor = 5;
        disk.lose_power(&mut draw(2));
        assert_eq!(read(&mut disk, 0, 1), miss * 5);
        assert_eq!(disk.felt().slow, 1);
        let fresh = step(&mut disk, |disk| {
            let fresh = disk.create("fresh").unwrap();
            disk.append(fresh, b"new").unwrap();
            disk.read(fresh, 0, 3).unwrap();
        });
        assert_eq!(fresh.2, Span::ZERO, "a new file was never out of the cache");
    }

    #[test]
    fn hole_is_read_without_the_device() {
        let mut disk = disk(DiskSpec::default());
        let file = log_file(&mut disk, b"head");
        step(&mut disk, |disk| {
            disk.set_len(file, 64 << 20).unwrap();
            disk.begin_sync(SyncTarget::File(file), Ticket(1));
        });
        disk.complete(Ticket(1)).unwrap().unwrap();
        disk.lose_power(&mut draw(1));
        assert_eq!(step(&mut disk, |disk| disk.read(file, 1 << 20, 1 << 20).unwrap()).2, Span::ZERO);
        assert_ne!(step(&mut disk, |disk| disk.read(file, 0, 4).unwrap()).2, Span::ZERO);
    }

    #[test]
    #[should_panic(expected = "latencies between")]
    fn spec_that_contradicts_itself_is_refused() {
        disk(DiskSpec { sync_latency: (Span::millis(2), Span::millis(1)), ..DiskSpec::default() });
    }
}
