//! A host's page cache and the device below it, without faults of its own: those are the engine's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::file::{Change, File, Operation, Sequence, Survival};
use super::{CrashModel, Disk, DiskError, FileId, Metadata, SyncTarget};
use crate::{Digest, Draw, Purpose, Ticket};

/// The draws of a loss of power that leaves nothing to chance.
const RESTORE: Purpose = Purpose::new("machine/restore");

/// A disk behind a page cache.
///
/// Everything done to it has a number in one sequence. A sync remembers the last number when it is begun
/// ([`Disk::begin_sync`]) and covers everything up to it when it completes ([`PageCache::harden`]), so a write between the
/// two is never made durable by accident.
///
/// A clone shares everything but a few reference counts and less than 4 KiB per file touched afterwards.
#[derive(Clone, Debug)]
pub struct PageCache {
    metadata: Metadata,
    directory: Arc<Directory>,
    files: BTreeMap<FileId, Arc<File>>,
    /// Files without a name, which a crash may give theirs back.
    unlinked: BTreeSet<FileId>,
    syncs: BTreeMap<Ticket, PendingSync>,
    next_file: u32,
    last_sequence: Sequence,
}

/// A sync that was begun and has not completed.
#[derive(Clone, Copy, Debug)]
struct PendingSync {
    target: SyncTarget,
    /// It covers every operation below this number.
    covered: Sequence,
}

/// What a loss of power did to operations that were not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PowerLoss {
    /// Writes and changes of length of which nothing is left.
    pub operations_lost: usize,
    /// Writes and changes of length that survived whole.
    pub operations_kept: usize,
    /// Writes of which some sectors survived, and others did not.
    pub operations_torn: usize,
    /// Creations, renames and removals that did not happen after all.
    pub entries_lost: usize,
    /// Creations, renames and removals that survived though no sync had covered them.
    pub entries_kept: usize,
}

impl PowerLoss {
    /// True if the loss changed nothing that anybody could read.
    #[must_use]
    pub const fn is_harmless(&self) -> bool {
        self.operations_lost == 0 && self.operations_torn == 0 && self.entries_lost == 0
    }
}

impl PageCache {
    /// An empty disk whose directory keeps those rules.
    #[must_use]
    pub fn new(metadata: Metadata) -> Self {
        Self {
            metadata,
            directory: Arc::default(),
            files: BTreeMap::new(),
            unlinked: BTreeSet::new(),
            syncs: BTreeMap::new(),
            next_file: 0,
            last_sequence: 0,
        }
    }

    /// The sync of that ticket is done: exactly what it covered when it was begun is durable now. False if no such sync
    /// is pending, as after a loss of power.
    pub fn harden(&mut self, ticket: Ticket) -> bool {
        let Some(PendingSync { target, covered }) = self.syncs.remove(&ticket) else { return false };
        let commits_entries = match target {
            SyncTarget::File(file) => {
                if let Some(file) = self.files.get_mut(&file).filter(|file| file.is_dirty_below(covered)) {
                    Arc::make_mut(file).harden(covered);
                }
                match self.metadata {
                    Metadata::Journaled => true,
                    Metadata::Synchronous | Metadata::Strict => false,
                }
            }
            SyncTarget::Directory => true,
        };
        if commits_entries && self.directory.is_dirty_below(covered) {
            Arc::make_mut(&mut self.directory).harden(covered);
            self.forget_unreachable();
        }
        true
    }

    /// The number of the last change: what [`PageCache::write_back`] may be told later.
    #[must_use]
    pub const fn last_change(&self) -> u64 {
        self.last_sequence
    }

    /// The kernel has written back every change up to that number, data and entries alike, as it does with what is dirty
    /// for long enough even if nobody asks. What a failed sync lost stays lost.
    pub fn write_back(&mut self, up_to: u64) {
        let covered = up_to + 1;
        for file in self.files.values_mut().filter(|file| file.is_dirty_below(covered)) {
            Arc::make_mut(file).harden(covered);
        }
        if self.directory.is_dirty_below(covered) {
            Arc::make_mut(&mut self.directory).harden(covered);
            self.forget_unreachable();
        }
    }

    /// The sync of that ticket failed with an error of the device. False if no such sync is pending.
    ///
    /// What it covered is clean but lost: the cache still reads it, the machine that dies and boots again reads it, no
    /// later sync covers it, and the next loss of power takes it. A sync that succeeds after one that failed proves
    /// nothing about what the first one covered (as ext4, XFS and Btrfs mark pages clean after a failed write-back). The
    /// failed sync of a file leaves the entries of the directory to a later one.
    ///
    /// Simplified: a later write into the same 4 KiB page does not bring the lost bytes around it back to the device.
    pub fn fail_sync(&mut self, ticket: Ticket) -> bool {
        let Some(PendingSync { target, covered }) = self.syncs.remove(&ticket) else { return false };
        match target {
            SyncTarget::File(file) => {
                if let Some(file) = self.files.get_mut(&file).filter(|file| file.is_dirty_below(covered)) {
                    Arc::make_mut(file).lose(covered);
                }
            }
            SyncTarget::Directory => Arc::make_mut(&mut self.directory).lose(covered),
        }
        true
    }

    /// True if a sync of that ticket was begun and has neither completed nor been dropped by a loss of power.
    #[must_use]
    pub fn is_pending(&self, ticket: Ticket) -> bool {
        self.syncs.contains_key(&ticket)
    }

    /// The host loses power: the cache is gone, the device holds what was durable and what the model leaves of the rest,
    /// all of it durable from now on. Pending syncs never complete. Open files again by path.
    pub fn lose_power(&mut self, model: CrashModel, draw: &mut Draw) -> PowerLoss {
        self.syncs.clear();
        let fate = Fate::drawn(model, self, draw);
        let mut loss = PowerLoss::default();
        loss.entries_lost += self.directory.lost();
        let metadata = self.metadata;
        Arc::make_mut(&mut self.directory).crash(|change| {
            let survives = fate.keeps_entry(change.sequence, metadata, draw);
            *(if survives { &mut loss.entries_kept } else { &mut loss.entries_lost }) += 1;
            survives
        });
        let names: BTreeMap<FileId, Arc<str>> =
            self.directory.entries().map(|(path, file)| (file, Arc::clone(path))).collect();
        self.files.retain(|id, file| {
            let unsynced = file.unsynced();
            let Some(path) = names.get(id) else {
                if file.path.is_some() {
                    loss.operations_lost += file.dirty().count() + file.lost();
                }
                return false;
            };
            if unsynced == 0 && file.path.as_ref() == Some(path) {
                return true;
            }
            let file = Arc::make_mut(file);
            file.path = Some(Arc::clone(path));
            loss.operations_lost += file.lost();
            file.crash(|operation| {
                let survival = fate.of_operation(operation, draw);
                *(match survival {
                    Survival::Lost => &mut loss.operations_lost,
                    Survival::Kept => &mut loss.operations_kept,
                    Survival::Torn(_) => &mut loss.operations_torn,
                }) += 1;
                survival
            });
            true
        });
        self.unlinked.clear();
        loss
    }

    /// Replaces the disk by an empty one. Handles and tickets of the old one are not reused.
    pub fn wipe(&mut self) {
        self.directory = Arc::default();
        self.files.clear();
        self.unlinked.clear();
        self.syncs.clear();
    }

    /// The sync of that ticket is over and has done nothing, whatever its asker was told: what it covered waits for another.
    /// False if no such sync is pending.
    pub fn skip_sync(&mut self, ticket: Ticket) -> bool {
        self.syncs.remove(&ticket).is_some()
    }

    /// The device took the last change of that file and lost it: the cache reads it, no sync brings it back, and the next loss of
    /// power takes it. Panics if the file was removed.
    pub fn lose_last(&mut self, file: FileId) {
        self.file_mut(file).lose_last();
    }

    /// Changes what the device holds, unseen by anybody: no operation, nothing to sync. False if some of it is not on the device
    /// yet, or lies beyond the end, and then nothing happens. Panics if the file was removed.
    pub fn alter(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> bool {
        self.file(file).is_settled(offset, bytes.len() as u64) && {
            self.file_mut(file).alter(offset, bytes);
            true
        }
    }

    /// Replaces the disk by an older image of it, as a loss of power that kept nothing unsynced left that. Handles and tickets
    /// given out since are not reused.
    pub fn restore(&mut self, image: &Self) {
        let (next_file, last_sequence) = (self.next_file, self.last_sequence);
        *self = image.clone();
        self.lose_power(CrashModel::AllUnsyncedLost, &mut crate::RunKey([0, 0]).draw(RESTORE, 0, 0));
        self.next_file = self.next_file.max(next_file);
        self.last_sequence = self.last_sequence.max(last_sequence);
    }

    /// The files that have a name, in order of their names, with their length on the device.
    pub fn durable_files(&self) -> impl Iterator<Item = (&str, FileId, u64)> {
        self.directory.entries().map(|(path, id)| (&**path, id, self.file(id).durable_len()))
    }

    /// The rules of the directory.
    #[must_use]
    pub const fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// The name of a file; none once it was removed, replaced or lost.
    #[must_use]
    pub fn path_of(&self, file: FileId) -> Option<&str> {
        self.files.get(&file).and_then(|file| file.path.as_deref())
    }

    /// The same as [`PageCache::path_of`], to be kept.
    #[must_use]
    pub fn shared_path_of(&self, file: FileId) -> Option<Arc<str>> {
        self.files.get(&file).and_then(|file| file.path.clone())
    }

    /// Looks a path up without opening it.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<FileId> {
        self.directory.find(path)
    }

    /// Looks at what the cache has under a path, without the faults of a read; none if there is no such file.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<Bytes> {
        let file = self.file(self.find(path)?);
        Some(file.read(0, file.len()))
    }

    /// What would be left if power were lost now and everything unsynced with it.
    #[must_use]
    pub const fn durable(&self) -> Durable<'_> {
        Durable(self)
    }

    /// Bytes that take space: holes and removed files are free.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.files.values().filter(|file| file.path.is_some()).map(|file| file.stored()).sum()
    }

    /// Bytes by which such a write would add to [`PageCache::used_bytes`]. Panics if the file was removed.
    #[must_use]
    pub fn growth(&self, file: FileId, offset: u64, len: u64) -> u64 {
        len - self.file(file).stored_between(offset, offset.saturating_add(len))
    }

    /// The handle that the next file created will have: older files have smaller ones.
    #[must_use]
    pub const fn next_file(&self) -> FileId {
        FileId(self.next_file)
    }

    /// Adds names, lengths and how much is unsynced; not the bytes, which the trace has seen as they were written.
    pub fn digest(&self, digest: &mut Digest) {
        for (path, id) in self.directory.entries() {
            let file = self.file(id);
            digest.text(path);
            digest.word(u64::from(id.0));
            digest.word(file.len());
            digest.word(file.unsynced() as u64);
        }
        digest.word(self.directory.unsynced() as u64);
        digest.word(self.syncs.len() as u64);
        digest.word(self.last_sequence);
    }

    fn file(&self, id: FileId) -> &File {
        let file = self.files.get(&id).unwrap_or_else(|| panic!("{id:?} was removed or never existed"));
        assert!(file.path.is_some(), "{id:?} was removed");
        file
    }

    fn file_mut(&mut self, id: FileId) -> &mut File {
        let file = self.files.get_mut(&id).unwrap_or_else(|| panic!("{id:?} was removed or never existed"));
        assert!(file.path.is_some(), "{id:?} was removed");
        Arc::make_mut(file)
    }

    const fn next_sequence(&mut self) -> Sequence {
        self.last_sequence += 1;
        self.last_sequence
    }

    /// A file lost its name: it is dropped if no crash can give that back.
    fn unlink(&mut self, id: FileId) {
        self.file_mut(id).path = None;
        if self.directory.is_reachable(id) {
            self.unlinked.insert(id);
        } else {
            self.files.remove(&id);
        }
    }

    /// Drops the files that no crash can bring back, now that less of the directory is unsynced.
    fn forget_unreachable(&mut self) {
        let (directory, files) = (&self.directory, &mut self.files);
        let changed = directory.changed();
        self.unlinked.retain(|&id| {
            let is_reachable = directory.is_named(id) || changed.contains(&id);
            if !is_reachable {
                files.remove(&id);
            }
            is_reachable
        });
    }
}

impl Disk for PageCache {
    fn create(&mut self, path: &str) -> Result<FileId, DiskError> {
        let id = FileId(self.next_file);
        self.next_file = self.next_file.checked_add(1).expect("a run creates fewer than 2^32 files on one disk");
        let (sequence, path): (_, Arc<str>) = (self.next_sequence(), Arc::from(path));
        self.files.insert(id, Arc::new(File::named(Arc::clone(&path))));
        let replaced = Arc::make_mut(&mut self.directory).name(sequence, id, path, self.metadata);
        if let Some(replaced) = replaced {
            self.unlink(replaced);
        }
        Ok(id)
    }

    fn open(&mut self, path: &str) -> Result<FileId, DiskError> {
        self.find(path).ok_or(DiskError::NotFound)
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        self.directory.list(prefix)
    }

    fn len(&self, file: FileId) -> u64 {
        self.file(file).len()
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        if !bytes.is_empty() {
            let sequence = self.next_sequence();
            self.file_mut(file).write(sequence, offset, bytes);
        }
        Ok(())
    }

    fn read(&mut self, file: FileId, offset: u64, len: u64) -> Result<Bytes, DiskError> {
        Ok(self.file(file).read(offset, len))
    }

    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        if self.len(file) != len {
            let sequence = self.next_sequence();
            self.file_mut(file).set_len(sequence, len);
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let id = self.find(from).ok_or(DiskError::NotFound)?;
        if from == to {
            return Ok(());
        }
        let (sequence, to): (_, Arc<str>) = (self.next_sequence(), Arc::from(to));
        self.file_mut(id).path = Some(Arc::clone(&to));
        let replaced = Arc::make_mut(&mut self.directory).name(sequence, id, to, self.metadata);
        if let Some(replaced) = replaced {
            self.unlink(replaced);
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        let id = self.find(path).ok_or(DiskError::NotFound)?;
        let sequence = self.next_sequence();
        Arc::make_mut(&mut self.directory).unname(sequence, id, self.metadata);
        self.unlink(id);
        Ok(())
    }

    fn begin_sync(&mut self, target: SyncTarget, ticket: Ticket) {
        if let SyncTarget::File(file) = target {
            assert!(self.files.get(&file).is_some_and(|file| file.path.is_some()), "{file:?} was removed");
        }
        let before = self.syncs.insert(ticket, PendingSync { target, covered: self.last_sequence + 1 });
        assert!(before.is_none(), "{ticket} is pending");
    }
}

/// What would be left of a disk if power were lost now under [`CrashModel::AllUnsyncedLost`].
#[derive(Clone, Copy, Debug)]
pub struct Durable<'a>(&'a PageCache);

impl Durable<'_> {
    /// The paths that would be there, in order of their bytes.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        self.0.directory.durable_entries().map(|(path, _)| String::from(&**path)).collect()
    }

    /// The bytes that would be under a path. Takes time in proportion to the file.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<Bytes> {
        let id = self.0.directory.find_durable(path)?;
        Some(self.0.files.get(&id).expect("a file with a durable entry is kept").durable_bytes())
    }

    /// The length the file's content would have, were there a name for it; none if the file is gone.
    #[must_use]
    pub fn len(&self, file: FileId) -> Option<u64> {
        self.0.files.get(&file).map(|file| file.durable_len())
    }

    /// True if the file would be found under its present name.
    #[must_use]
    pub fn has_entry(&self, file: FileId) -> bool {
        self.0.path_of(file).is_some_and(|path| self.0.directory.find_durable(path) == Some(file))
    }

    /// True if what the cache has below `offset` would be found under the file's present name. Takes time in proportion
    /// to the operations on the file that are not durable.
    #[must_use]
    pub fn reaches(&self, file: FileId, offset: u64) -> bool {
        self.has_entry(file) && self.0.file(file).is_durable_to(offset)
    }

    /// As [`Durable::reaches`], whether or not the file would be found: true of a file that was synced before its name was.
    #[must_use]
    pub fn holds(&self, file: FileId, offset: u64) -> bool {
        self.0.file(file).is_durable_to(offset)
    }
}

/// The choices of a crash model for one loss of power.
#[derive(Clone, Copy, Debug)]
struct Fate {
    model: CrashModel,
    /// Everything from this number on is lost; of what is below it, the model decides.
    cut: Sequence,
    /// The same for the entries of a journaled directory.
    journal_cut: Sequence,
    /// An operation survives so many times out of [`ODDS`].
    odds: u64,
}

const ODDS: u64 = 16;

impl Fate {
    fn drawn(model: CrashModel, disk: &PageCache, draw: &mut Draw) -> Self {
        let entries: Vec<Sequence> = disk.directory.dirty().map(|change| change.sequence).collect();
        // Drawn per crash, so that "nearly all" and "nearly nothing" happen to many operations too.
        let odds = 1 + draw.below(ODDS - 1);
        match model {
            CrashModel::AllUnsyncedLost => Self { model, cut: 0, journal_cut: 0, odds },
            CrashModel::Prefix => {
                let operations = disk.files.values().flat_map(|file| file.dirty().map(|operation| operation.sequence));
                let mut all: Vec<Sequence> = operations.chain(entries).collect();
                all.sort_unstable();
                let cut = prefix_of(&all, draw);
                Self { model, cut, journal_cut: cut, odds }
            }
            CrashModel::AnySubset => Self { model, cut: Sequence::MAX, journal_cut: prefix_of(&entries, draw), odds },
            CrashModel::Torn { sector_bytes } => {
                assert!(sector_bytes > 0, "a sector has at least one byte");
                Self { model, cut: Sequence::MAX, journal_cut: prefix_of(&entries, draw), odds }
            }
        }
    }

    fn keeps_entry(&self, sequence: Sequence, metadata: Metadata, draw: &mut Draw) -> bool {
        match metadata {
            Metadata::Synchronous => unreachable!("each entry is durable at once"),
            Metadata::Journaled => sequence < self.journal_cut,
            Metadata::Strict => match self.model {
                CrashModel::AllUnsyncedLost | CrashModel::Prefix => sequence < self.cut,
                CrashModel::AnySubset | CrashModel::Torn { .. } => draw.chance(self.odds, ODDS),
            },
        }
    }

    fn of_operation(&self, operation: &Operation, draw: &mut Draw) -> Survival {
        let survives = match self.model {
            CrashModel::AllUnsyncedLost | CrashModel::Prefix => operation.sequence < self.cut,
            CrashModel::AnySubset => draw.chance(self.odds, ODDS),
            CrashModel::Torn { sector_bytes } => match operation.change {
                Change::Write { offset, len } => return self.torn(offset, len, u64::from(sector_bytes), draw),
                Change::SetLen { .. } => draw.chance(self.odds, ODDS),
            },
        };
        if survives { Survival::Kept } else { Survival::Lost }
    }

    /// Draws which sectors of a write survive.
    fn torn(&self, offset: u64, len: u64, sector: u64, draw: &mut Draw) -> Survival {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let next = (at / sector + 1).saturating_mul(sector).min(end);
            if draw.chance(self.odds, ODDS) {
                match ranges.last_mut() {
                    Some((start, length)) if *start + *length == at => *length += next - at,
                    Some(_) | None => ranges.push((at, next - at)),
                }
            }
            at = next;
        }
        if ranges.is_empty() {
            Survival::Lost
        } else if ranges == [(offset, len)] {
            Survival::Kept
        } else {
            Survival::Torn(ranges)
        }
    }
}

/// Draws how many of those survive, oldest first, and returns the number from which on none does.
fn prefix_of(sequences: &[Sequence], draw: &mut Draw) -> Sequence {
    sequences.get(draw.index(sequences.len() + 1)).copied().unwrap_or(Sequence::MAX)
}
