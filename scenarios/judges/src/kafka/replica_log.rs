//! The shadow of a replica's log: the batches in its `.log` files, from the bytes that were written and cut.
//!
//! No broker is asked what it has. Each batch carries a digest of everything up to it, so that two logs agree up to a batch
//! if and only if they have the same digest there.

use bytes::Bytes;
use kafkawire::{Batch, BatchHeader, TopicPartition};
use machine::Digest;
use machine::disk::{Disk as _, PageCache};

use crate::chunked::Chunked;

/// A batch of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) epoch: i32,
    pub(crate) crc: u32,
    /// Of this batch and all before it.
    pub(crate) chain: u64,
    /// Where it begins in its segment's file, and where it ends.
    position: u64,
    end: u64,
}

/// What the digest of an empty log is.
const ROOT: u64 = 0x7261_6674_0000_0001;

/// Continues the digest of a log.
fn chained(before: u64, header: &BatchHeader) -> u64 {
    let mut digest = Digest::resume(before);
    digest.signed(header.base_offset.0);
    digest.signed(header.last_offset().0);
    digest.signed(i64::from(header.leader_epoch));
    digest.word(u64::from(header.crc));
    digest.value()
}

/// Something in order that has digests: a log, or the committed history of a partition.
pub(crate) trait Chain {
    /// How many batches.
    fn batches(&self) -> usize;
    /// The digest up to a batch.
    fn chain_at(&self, at: usize) -> u64;
}

/// How many batches, from the first on, two chains have in common. Constant time if one is a prefix of the other.
pub(crate) fn common(a: &impl Chain, b: &impl Chain) -> usize {
    let mut most = a.batches().min(b.batches());
    if most == 0 || a.chain_at(most - 1) == b.chain_at(most - 1) {
        return most;
    }
    let mut least = 0;
    while least < most {
        let middle = least + (most - least) / 2;
        if a.chain_at(middle) == b.chain_at(middle) {
            least = middle + 1;
        } else {
            most = middle;
        }
    }
    least
}

/// A segment's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    base: i64,
    /// Bytes of whole batches.
    size: u64,
}

/// A log in the page cache of a broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplicaLog {
    entries: Chunked<Entry>,
    segments: Vec<Segment>,
    /// Something was written that is not a batch at the end: the file must be read.
    is_stale: bool,
    /// Behind the last batch its file has bytes that are none.
    is_torn: bool,
}

impl Chain for ReplicaLog {
    fn batches(&self) -> usize {
        self.entries.len()
    }

    fn chain_at(&self, at: usize) -> u64 {
        self.entries.get(at).expect("it is below the length").chain
    }
}

impl ReplicaLog {
    /// The offset after the last batch; where the log would begin if there is none.
    pub(crate) fn end(&self) -> i64 {
        let of_segment = self.segments.last().map_or(0, |segment| segment.base);
        self.entries.last().map_or(of_segment, |entry| (entry.last + 1).max(of_segment))
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    /// How many batches lie wholly below an offset.
    pub(crate) fn count_below(&self, offset: i64) -> usize {
        if self.entries.last().is_none_or(|entry| entry.last < offset) {
            return self.entries.len();
        }
        self.entries.partition_point(|entry| entry.last < offset)
    }

    /// The batch that begins at an offset.
    pub(crate) fn at(&self, base: i64) -> Option<&Entry> {
        let at = match self.entries.last() {
            Some(last) if last.base == base => self.entries.len() - 1,
            Some(_) | None => self.entries.partition_point(|entry| entry.base < base),
        };
        self.entries.get(at).filter(|entry| entry.base == base)
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale
    }

    pub(crate) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The log as it is now, for later.
    pub(crate) fn snapshot(&self) -> Self {
        self.clone()
    }

    fn segment_at(&self, base: i64) -> Result<usize, usize> {
        self.segments.binary_search_by_key(&base, |segment| segment.base)
    }

    /// An empty file of a segment was created.
    pub(crate) fn created(&mut self, base: i64) {
        match self.segment_at(base) {
            Ok(_) => self.cut(base, 0),
            Err(at) => self.segments.insert(at, Segment { base, size: 0 }),
        }
    }

    /// Bytes were written to a segment's file; `appended` is told of each batch.
    pub(crate) fn wrote(&mut self, base: i64, position: u64, bytes: &[u8], mut appended: impl FnMut(&Entry)) {
        let Ok(at) = self.segment_at(base) else {
            self.is_stale = true;
            return;
        };
        if self.is_stale || at + 1 != self.segments.len() || self.segments[at].size != position {
            self.is_stale = true;
            return;
        }
        let mut from = 0;
        while from < bytes.len() {
            let Ok(header) = BatchHeader::parse(&bytes[from..]) else {
                self.is_stale = true;
                return;
            };
            let to = from + header.size();
            if to > bytes.len() || header.base_offset.0 < self.end() {
                self.is_stale = true;
                return;
            }
            let entry = self.push(at, &header);
            appended(&entry);
            from = to;
        }
    }

    fn push(&mut self, segment: usize, header: &BatchHeader) -> Entry {
        let position = self.segments[segment].size;
        let end = position + header.size() as u64;
        let before = self.entries.last().map_or(ROOT, |entry| entry.chain);
        let entry = Entry {
            base: header.base_offset.0,
            last: header.last_offset().0,
            epoch: header.leader_epoch,
            crc: header.crc,
            chain: chained(before, header),
            position,
            end,
        };
        self.entries.push(entry);
        self.segments[segment].size = end;
        entry
    }

    /// A segment's file was cut or extended.
    pub(crate) fn resized(&mut self, base: i64, to: u64) {
        let Ok(at) = self.segment_at(base) else { return };
        self.is_torn &= to > self.segments[at].size;
        if to < self.segments[at].size {
            self.cut(base, to);
        }
    }

    /// Drops what lies in the segment behind a position, and everything after it.
    fn cut(&mut self, base: i64, position: u64) {
        let in_segment = self.entries.partition_point(|entry| entry.base < base);
        let mut keep = in_segment;
        while self.entries.get(keep).is_some_and(|entry| entry.end <= position && self.is_in(keep, base)) {
            keep += 1;
        }
        self.entries.truncate(keep);
        let size = if keep > in_segment { self.entries.get(keep - 1).map_or(0, |entry| entry.end) } else { 0 };
        for segment in &mut self.segments {
            if segment.base == base {
                segment.size = size;
            } else if segment.base > base {
                segment.size = 0;
            }
        }
    }

    fn is_in(&self, at: usize, base: i64) -> bool {
        let next = self.segments.iter().map(|segment| segment.base).find(|&other| other > base);
        self.entries.get(at).is_some_and(|entry| next.is_none_or(|next| entry.base < next))
    }

    /// A segment's file is gone, by whatever name.
    pub(crate) fn removed(&mut self, base: i64) {
        let Ok(at) = self.segment_at(base) else { return };
        if at + 1 == self.segments.len() || self.segments[at + 1..].iter().all(|segment| segment.size == 0) {
            self.cut(base, 0);
            self.segments.remove(at);
        } else {
            // From the front: what is left begins later.
            self.is_stale = true;
        }
    }

    /// How far the log is durable, given how far it was and how many bytes of a segment are now.
    pub(crate) fn durable_end(&self, flushed: i64, base: i64, bytes: u64) -> i64 {
        if flushed < base {
            return flushed;
        }
        let mut at = self.entries.partition_point(|entry| entry.base < base.max(flushed));
        let mut end = flushed;
        while let Some(entry) = self.entries.get(at)
            && entry.end <= bytes
            && self.is_in(at, base)
        {
            end = entry.last + 1;
            at += 1;
        }
        end
    }

    /// Reads a log from its files, up to the first batch that is not whole.
    pub(crate) fn read(disk: &PageCache, files: &[(i64, String)]) -> Self {
        let mut log = Self::default();
        let mut is_whole = true;
        for (base, path) in files {
            if !is_whole {
                break;
            }
            let Some(bytes) = disk.bytes(path) else { continue };
            log.segments.push(Segment { base: *base, size: 0 });
            is_whole = log.read_segment(&bytes);
        }
        log.is_torn = !is_whole;
        log
    }

    /// False if the file ends with something that is not a batch.
    fn read_segment(&mut self, bytes: &Bytes) -> bool {
        let segment = self.segments.len() - 1;
        let mut from = 0;
        while from < bytes.len() {
            let batch = Batch::read(bytes, from);
            let Ok(Some(batch)) = batch else { return false };
            if batch.check_crc().is_err() || batch.header.base_offset.0 < self.end() {
                return false;
            }
            from += batch.header.size();
            self.push(segment, &batch.header);
        }
        true
    }
}

/// The segment's file that a path names, if it names one: `kafka-logs/orders-0/00000000000000000042.log`.
pub(crate) fn segment_of(path: &str) -> Option<(&str, i32, i64)> {
    let (dir, name) = path.rsplit_once('/')?;
    let digits = name.strip_suffix(".log")?;
    let base = if digits.len() == 20 { digits.parse().ok()? } else { return None };
    let (topic, partition) = partition_of(dir)?;
    Some((topic, partition, base))
}

/// The partition whose directory a path is.
fn partition_of(dir: &str) -> Option<(&str, i32)> {
    let name = dir.rsplit_once('/').map_or(dir, |(_, name)| name);
    let (topic, partition) = name.rsplit_once('-')?;
    // A directory that waits to be removed ends in a word.
    Some((topic, partition.parse().ok()?))
}

/// The files of every log on a disk, by partition, in order of their base offsets.
pub(crate) fn logs_on(disk: &PageCache) -> Vec<(TopicPartition, Vec<(i64, String)>)> {
    let mut logs: Vec<(TopicPartition, Vec<(i64, String)>)> = Vec::new();
    for path in disk.list("") {
        let Some((topic, partition, base)) = segment_of(&path) else { continue };
        let is_last = logs.last().is_some_and(|(of, _)| of.partition == partition && of.topic.as_str() == topic);
        if !is_last {
            logs.push((TopicPartition::new(topic, partition), Vec::new()));
        }
        logs.last_mut().expect("it was just pushed").1.push((base, path));
    }
    logs
}

#[cfg(test)]
pub(crate) mod tests {
    use kafkawire::{LeaderEpoch, NewBatch, Offset};
    use machine::disk::Metadata;

    use super::*;

    /// A batch of `records` records as a leader appends it. `tag` is what tells it from another.
    pub(crate) fn batch(base: i64, epoch: i32, records: usize, tag: &str) -> Bytes {
        let records: Vec<(Option<&[u8]>, &[u8])> = (0..records).map(|_| (None, tag.as_bytes())).collect();
        let new = NewBatch::new(&records, 0).encode();
        let batch = Batch::read(&new, 0).unwrap().unwrap();
        batch.stamped(Offset(base), LeaderEpoch(epoch)).bytes
    }

    fn filled() -> ReplicaLog {
        let mut log = ReplicaLog::default();
        log.created(0);
        let mut position = 0;
        for base in 0..10 {
            let bytes = batch(base, 0, 1, "a");
            log.wrote(0, position, &bytes, |_| {});
            position += bytes.len() as u64;
        }
        log.created(10);
        log.wrote(10, 0, &batch(10, 0, 5, "b"), |_| {});
        log
    }

    #[test]
    fn log_is_what_was_written_and_not_cut() {
        let mut log = filled();
        assert_eq!((log.end(), log.batches(), log.is_stale()), (15, 11, false));
        assert_eq!((log.count_below(10), log.count_below(12), log.count_below(15)), (10, 10, 11));
        assert_eq!(log.at(10).map(|entry| entry.last), Some(14));
        assert_eq!(log.at(11), None);
        let size = batch(0, 0, 1, "a").len() as u64;
        log.removed(10);
        log.resized(0, 4 * size + 3);
        assert_eq!((log.end(), log.batches()), (4, 4));
        log.wrote(0, 4 * size, &batch(4, 1, 1, "c"), |_| {});
        assert_eq!((log.end(), common(&log, &filled()), log.is_stale()), (5, 4, false));
    }

    #[test]
    fn logs_agree_up_to_their_first_difference() {
        let (a, mut b) = (filled(), ReplicaLog::default());
        b.created(0);
        assert_eq!(common(&a, &b), 0);
        let mut position = 0;
        for base in 0..10 {
            let bytes = batch(base, 0, 1, if base == 6 { "x" } else { "a" });
            b.wrote(0, position, &bytes, |_| {});
            position += bytes.len() as u64;
        }
        assert_eq!((common(&a, &b), common(&b, &a)), (6, 6));
    }

    #[test]
    fn log_is_read_back_up_to_the_first_batch_that_is_not_whole() {
        let mut disk = PageCache::new(Metadata::Synchronous);
        let path = "kafka-logs/orders-0/00000000000000000000.log";
        let file = disk.create(path).unwrap();
        for base in 0..3 {
            disk.append(file, &batch(base, 0, 1, "a")).unwrap();
        }
        disk.append(file, &batch(3, 0, 1, "a")[..65]).unwrap();
        disk.create("kafka-logs/orders-0.0123456789abcdef0123456789abcdef-delete/00000000000000000000.log").unwrap();
        let logs = logs_on(&disk);
        assert_eq!(logs.len(), 1);
        let log = ReplicaLog::read(&disk, &logs[0].1);
        assert_eq!((log.end(), log.batches()), (3, 3));
        assert_eq!(log.durable_end(0, 0, 2 * batch(0, 0, 1, "a").len() as u64), 2);
        assert!(log.is_torn());
        let mut cut = log.clone();
        cut.resized(0, 3 * batch(0, 0, 1, "a").len() as u64);
        assert_eq!((cut.end(), cut.is_torn()), (3, false));
    }

    #[test]
    fn bytes_that_are_no_batch_at_the_end_make_it_stale() {
        let mut log = filled();
        log.wrote(10, 0, &batch(10, 0, 1, "z"), |_| {});
        assert!(log.is_stale());
    }
}
