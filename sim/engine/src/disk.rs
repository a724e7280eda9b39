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
use machine::{Digest, Draw, Incarnation, Instant, Span, Ticket};
use serde::{Deserialize, Serialize};

use crate::lasting::LostWrites;

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
    /// Syncs complete well and harden nothing.
    pub lying: bool,
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
            lying: false,
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
    /// Reads that met a bad sector.
    pub bad_sector: u32,
    /// Syncs that lied.
    pub lost_sync: u32,
    /// Writes that were lost, or went elsewhere.
    pub lost_write: u32,
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
    /// Sectors that cannot be read.
    bad: Arc<BTreeSet<(FileId, u64)>>,
    /// Which writes are lost, and how many more of them.
    losing: Option<(Arc<LostWrites>, u32)>,
    /// When the device has served every sync it was given.
    busy_until: Instant,
    /// Syncs that it serves or that wait for it, in that order; those that are done may still be among them.
    serving: VecDeque<Service>,
    warm: Warmth,
    /// What became dirty when, youngest last: one entry a second.
    dirty: VecDeque<Dirty>,
    /// The last change that is in there, or was.
    last_dirty: u64,
}

/// A sync that the device was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    /// What is told when it is done.
    pub(crate) event: SyncEvent,
    /// When that is.
    pub(crate) done_at: Instant,
    /// What it takes of a device that nothing slows.
    latency: Span,
}

/// Who asked for a sync, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncEvent {
    pub(crate) ticket: Ticket,
    pub(crate) power_epoch: u32,
    pub(crate) incarnation: Incarnation,
    pub(crate) cause: u64,
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

/// What cannot be read as a whole if a bit of it cannot: a sector of a modern disk.
const SECTOR_BYTES: u64 = 4 << 10;

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
            bad: Arc::default(),
            losing: None,
            busy_until: Instant::ZERO,
            serving: VecDeque::new(),
            warm: Warmth::new(FileId(0)),
            dirty: VecDeque::new(),
            last_dirty: 0,
        }
    }

    /// What the kernel has written back by itself by now. Nobody can tell before a loss of power, so this is done when a
    /// step of the host is over, and before power is lost, not by an event of its own.
    #[inline(always)]
    pub(crate) fn write_back(&mut self, now: Instant) {
        if self.last_dirty != self.cache.last_change() || !self.dirty.is_empty() {
            self.write_back_dirty(now);
        }
    }

    fn write_back_dirty(&mut self, now: Instant) {
        let last = self.cache.last_change();
        let has_changed = last != std::mem::replace(&mut self.last_dirty, last);
        let Some(after) = self.spec.write_back_after else { return };
        match self.dirty.back_mut() {
            _ if !has_changed => {}
            Some(dirty) if now < dirty.since.saturating_add(WRITE_BACK_INTERVAL) => {
                (dirty.until, dirty.last_change) = (now, last);
            }
            Some(_) | None => self.dirty.push_back(Dirty { since: now, until: now, last_change: last }),
        }
        if self.faults.lying {
            return;
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
    pub(crate) fn begun(&mut self, now: Instant, mut draw: Draw, event: SyncEvent) -> Instant {
        let (least, most) = self.spec.sync_latency;
        if self.faults.slows() {
            self.felt.slow += 1;
        }
        let latency = draw.between(least, most);
        self.busy_until = self.busy_until.max(now).saturating_add(self.faults.slowed(latency));
        while self.serving.pop_front_if(|service| service.done_at <= now).is_some() {}
        self.serving.push_back(Service { event, done_at: self.busy_until, latency });
        self.busy_until
    }

    /// Makes the device as slow as that, from now on. What it serves and what waits for it is then done the sooner if it is slowed
    /// less than before: a device that has recovered works its queue off at its usual pace, however long the fault had made that.
    /// Returns what is done sooner, with its new time.
    pub(crate) fn slow(&mut self, factor: u64, stall: Span, now: Instant) -> Vec<Service> {
        let was = (self.faults.slow_factor, self.faults.stall);
        (self.faults.slow_factor, self.faults.stall) = (factor, stall);
        if factor >= was.0 && stall >= was.1 {
            return Vec::new();
        }
        let mut sooner = Vec::new();
        let mut free_at = now;
        for service in self.serving.iter_mut().filter(|service| service.done_at > now) {
            let done_at = free_at.saturating_add(self.faults.slowed(service.latency));
            if done_at < service.done_at {
                service.done_at = done_at;
                sooner.push(*service);
            }
            free_at = service.done_at;
        }
        self.busy_until = self.busy_until.min(free_at);
        sooner
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
        if self.faults.lying {
            self.felt.lost_sync += 1;
            assert!(self.cache.skip_sync(ticket), "the sync is pending");
            return Some(Ok(()));
        }
        assert!(self.cache.harden(ticket), "the sync is pending");
        Some(Ok(()))
    }

    /// The host loses power. Active faults stay: they are the device's.
    pub(crate) fn lose_power(&mut self, draw: &mut Draw) -> PowerLoss {
        let loss = self.cache.lose_power(self.spec.crash, draw);
        self.dirty.clear();
        self.busy_until = Instant::ZERO;
        self.serving.clear();
        self.warm = Warmth::new(self.cache.next_file());
        loss
    }

    /// The device is replaced by an empty one.
    pub(crate) fn wipe(&mut self) {
        self.cache.wipe();
        self.dirty.clear();
        self.bad = Arc::default();
        self.warm = Warmth::new(self.cache.next_file());
    }

    /// The device holds again what it held when that image was taken.
    pub(crate) fn restore(&mut self, image: &PageCache) {
        self.cache.restore(image);
        self.dirty.clear();
        self.bad = Arc::default();
        self.warm = Warmth::new(self.cache.next_file());
    }

    /// Flips bits at drawn places of files whose path begins so; how many it could.
    pub(crate) fn rot(&mut self, prefix: &str, bits: u32, draw: &mut Draw) -> u32 {
        let mut flipped = 0;
        for _ in 0..bits {
            let Some((file, offset)) = self.drawn_place(prefix, draw) else { break };
            let Ok(byte) = self.cache.read(file, offset, 1) else { continue };
            let altered = byte.first().map(|byte| byte ^ 1 << draw.below(8));
            flipped += u32::from(altered.is_some_and(|byte| self.cache.alter(file, offset, &[byte])));
        }
        flipped
    }

    /// Makes drawn sectors of files whose path begins so unreadable; how many it could.
    pub(crate) fn spoil(&mut self, prefix: &str, sectors: u32, draw: &mut Draw) -> u32 {
        let mut spoilt = 0;
        for _ in 0..sectors {
            let Some((file, offset)) = self.drawn_place(prefix, draw) else { break };
            spoilt += u32::from(Arc::make_mut(&mut self.bad).insert((file, offset / SECTOR_BYTES)));
        }
        spoilt
    }

    /// Every sector can be read again: the device has remapped them.
    pub(crate) fn mend(&mut self) {
        self.bad = Arc::default();
    }

    /// Which of the next writes are lost.
    pub(crate) fn lose_writes(&mut self, which: Option<Arc<LostWrites>>) {
        self.losing = which.map(|which| {
            let times = which.times;
            (which, times)
        });
    }

    /// A byte that is on the device, each as likely as any other.
    fn drawn_place(&self, prefix: &str, draw: &mut Draw) -> Option<(FileId, u64)> {
        let files: Vec<(FileId, u64)> = self
            .cache
            .durable_files()
            .filter(|(path, _, len)| path.starts_with(prefix) && *len > 0)
            .map(|(_, file, len)| (file, len))
            .collect();
        let total: u64 = files.iter().map(|(_, len)| len).sum();
        let mut at = (total > 0).then(|| draw.below(total))?;
        for (file, len) in files {
            if at < len {
                return Some((file, at));
            }
            at -= len;
        }
        unreachable!("the place lies below the total")
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

    /// Fails if what is read touches a sector that is bad.
    fn sector_fault(&mut self, file: FileId, offset: u64, len: u64) -> Result<(), DiskError> {
        if self.disk.bad.is_empty() || len == 0 {
            return Ok(());
        }
        let end = offset.saturating_add(len).min(self.disk.cache.len(file));
        let is_bad = offset < end && {
            let sectors = (file, offset / SECTOR_BYTES)..=(file, (end - 1) / SECTOR_BYTES);
            self.disk.bad.range(sectors).next().is_some()
        };
        if is_bad {
            self.disk.felt.bad_sector += 1;
            return Err(DiskError::Io);
        }
        Ok(())
    }

    /// What was written is where it should be, unless a fault says otherwise.
    fn written(&mut self, file: FileId, offset: u64, bytes: &[u8]) {
        let len = bytes.len() as u64;
        if !self.disk.bad.is_empty() && len > 0 {
            for sector in offset.div_ceil(SECTOR_BYTES)..(offset + len) / SECTOR_BYTES {
                Arc::make_mut(&mut self.disk.bad).remove(&(file, sector));
            }
        }
        let path = self.disk.losing.is_some().then(|| self.path_of(file));
        let Some((which, left)) = &mut self.disk.losing else { return };
        if *left == 0 || len == 0 || !path.is_some_and(|path| path.starts_with(&which.file)) {
            return;
        }
        *left -= 1;
        let is_misdirected = which.is_misdirected;
        self.disk.felt.lost_write += 1;
        self.disk.cache.lose_last(file);
        let room = self.disk.cache.durable().len(file).unwrap_or(0);
        if is_misdirected && room > len {
            // Its own draw: the change before it is named nowhere else.
            let mut elsewhere = Digest::new();
            elsewhere.word(self.disk.cache.last_change());
            let victim = elsewhere.value() % (room - len);
            let _ = self.disk.cache.alter(file, victim, bytes);
        }
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
        if self.disk.losing.is_some() || !self.disk.bad.is_empty() {
            self.written(file, offset, bytes);
        }
        let mut digest = Digest::new();
        digest.bytes(bytes);
        let kind = DiskOpKind::Write { offset, bytes: Bytes::copy_from_slice(bytes), checksum: digest.value() };
        self.log(self.path_of(file), kind);
        Ok(())
    }

    fn read(&mut self, file: FileId, offset: u64, len: u64) -> Result<Bytes, DiskError> {
        self.read_fault()?;
        self.sector_fault(file, offset, len)?;
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
mod tests;
