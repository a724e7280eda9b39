//! Where the epochs of a log begin (kafka-broker.md §5.8; KIP-101, KIP-279).

use std::sync::Arc;

use kafkawire::{LeaderEpoch, Offset};

use crate::checkpoint::{Content, lines_of, text_of};

/// An epoch and the offset of its first record; or, of a leader that has written nothing yet, of the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Where it begins.
    pub start: Offset,
}

/// The end of an epoch, as it is told to a follower or found out by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    /// The largest epoch of the log that is not beyond the one asked for; that one itself where the log knows none.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end: Offset,
}

/// The epochs of a log, in order, each beginning beyond the one before it. A clone is one reference count.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EpochCache {
    entries: Arc<Vec<EpochEntry>>,
}

impl EpochCache {
    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The last epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The end of an epoch in a log that ends at `log_end`; none is the protocol's undefined.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if self.latest() == Some(epoch) {
            return Some(EpochEnd { epoch, end: log_end });
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(higher)?.start;
        let floor = higher.checked_sub(1).map_or(epoch, |at| self.entries[at].epoch);
        Some(EpochEnd { epoch: floor, end })
    }

    /// The epoch of the record at an offset that is in the log.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// Notes that an epoch begins; true if that was news. Entries it contradicts go: those of its own and later epochs, and
    /// those that begin where it does or later.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.entries.last().is_some_and(|last| last.epoch == epoch && last.start <= start) {
            return false;
        }
        let entries = Arc::make_mut(&mut self.entries);
        while entries.pop_if(|last| last.epoch >= epoch || last.start >= start).is_some() {}
        entries.push(EpochEntry { epoch, start });
        true
    }

    /// Drops the entries that begin at the offset or later; true if there were any.
    pub(crate) fn truncate_from_end(&mut self, offset: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start < offset);
        if kept == self.entries.len() {
            return false;
        }
        Arc::make_mut(&mut self.entries).truncate(kept);
        true
    }

    /// Lets the epoch at the offset begin there, and drops those before it; true if that changed anything.
    pub(crate) fn truncate_from_start(&mut self, offset: Offset) -> bool {
        let dropped = self.entries.partition_point(|entry| entry.start <= offset);
        let Some(last) = dropped.checked_sub(1) else { return false };
        if last == 0 && self.entries[0].start == offset {
            return false;
        }
        let entries = Arc::make_mut(&mut self.entries);
        entries.drain(..last);
        entries[0].start = offset;
        true
    }

    /// Drops all entries; true if there were any.
    pub(crate) fn clear(&mut self) -> bool {
        self.truncate_from_end(Offset(i64::MIN))
    }
}

/// `leader-epoch-checkpoint`.
impl Content for EpochCache {
    fn encode(&self) -> String {
        text_of(self.entries.iter().map(|entry| format!("{} {}", entry.epoch, entry.start)))
    }

    fn decode(text: &str) -> Option<Self> {
        let mut entries: Vec<EpochEntry> = Vec::new();
        for line in lines_of(text)? {
            let (epoch, start) = line.split_once(' ')?;
            let entry = EpochEntry { epoch: LeaderEpoch(epoch.parse().ok()?), start: Offset(start.parse().ok()?) };
            if entries.last().is_some_and(|last| last.epoch >= entry.epoch || last.start >= entry.start) {
                return None;
            }
            entries.push(entry);
        }
        Some(Self { entries: Arc::new(entries) })
    }
}
