//! Records that wait to be sent: a deque of batches per partition (`RecordAccumulator`, kafka-broker.md §8.1).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kafkawire::{NewBatch, RECORD_BATCH_OVERHEAD};
use machine::{Instant, Span};

use crate::kafka::{ProducerImage, RecordId};

/// A record with its partition, until its outcome is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingRecord {
    pub(crate) id: RecordId,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Bytes,
    /// It is the probe behind the faults.
    pub(crate) is_probe: bool,
}

/// Records of one partition that are sent, appended and answered together.
#[derive(Clone, Debug)]
pub(crate) struct ProducerBatch {
    /// Ascending in the order of creation.
    pub(crate) number: u64,
    pub(crate) partition: i32,
    pub(crate) records: Vec<PendingRecord>,
    pub(crate) created: Instant,
    /// The calendar when it was created, in milliseconds: the timestamp of its records.
    timestamp: i64,
    size: usize,
    /// How often it was put back.
    pub(crate) attempts: u32,
    last_attempt: Instant,
    /// Some attempt did not provably have no effect.
    pub(crate) is_maybe_appended: bool,
    encoded: Option<Bytes>,
}

impl ProducerBatch {
    fn new(number: u64, partition: i32, created: Instant, timestamp: i64) -> Self {
        Self {
            number,
            partition,
            records: Vec::new(),
            created,
            timestamp,
            size: RECORD_BATCH_OVERHEAD,
            attempts: 0,
            last_attempt: created,
            is_maybe_appended: false,
            encoded: None,
        }
    }

    fn push(&mut self, record: PendingRecord) {
        assert!(self.encoded.is_none(), "a batch that was sent is closed");
        self.size += record_size(self.records.len(), &record);
        self.records.push(record);
    }

    /// Whether a record may be added: one always may, more while `batch.size` is not exceeded.
    fn has_room_for(&self, record: &PendingRecord, batch_size: usize) -> bool {
        self.encoded.is_none()
            && (self.records.is_empty() || self.size + record_size(self.records.len(), record) <= batch_size)
    }

    /// The bytes, encoded once: every attempt sends the same.
    pub(crate) fn bytes(&mut self) -> Bytes {
        let (records, timestamp) = (&self.records, self.timestamp);
        let encode = || {
            let records: Vec<(Option<&[u8]>, &[u8])> =
                records.iter().map(|record| (record.key.as_deref(), record.value.as_ref())).collect();
            NewBatch::new(&records, timestamp).encode()
        };
        self.encoded.get_or_insert_with(encode).clone()
    }

    pub(crate) const fn size(&self) -> usize {
        self.size
    }
}

/// Bytes of a record in a batch (`DefaultRecord.sizeInBytes`); its timestamp is that of the batch.
fn record_size(offset_delta: usize, record: &PendingRecord) -> usize {
    let key = record.key.as_ref().map_or(1, |key| varint_size(key.len()) + key.len());
    let value = varint_size(record.value.len()) + record.value.len();
    let body = 1 + 1 + varint_size(offset_delta) + key + value + 1;
    varint_size(body) + body
}

/// Bytes of a number that is not negative as a zigzag varint.
const fn varint_size(number: usize) -> usize {
    let bits = usize::BITS - number.leading_zeros() + 1;
    (if bits < 7 { 7 } else { bits }).div_ceil(7) as usize
}

/// The batches that are not in flight.
#[derive(Clone, Debug)]
pub(crate) struct Accumulator {
    batch_size: usize,
    linger: Span,
    retry_backoff: Span,
    delivery_timeout: Span,
    queues: BTreeMap<i32, VecDeque<ProducerBatch>>,
    /// Partitions with a batch in flight, if only one may be (`max.in.flight.requests.per.connection=1`).
    muted: BTreeSet<i32>,
    /// Whether the application waits until everything is sent.
    pub(crate) is_flushing: bool,
    next_number: u64,
    bytes: usize,
}

impl Accumulator {
    pub(crate) const fn new(image: &ProducerImage) -> Self {
        Self {
            batch_size: image.batch_size,
            linger: image.linger,
            retry_backoff: image.retry_backoff,
            delivery_timeout: image.delivery_timeout,
            queues: BTreeMap::new(),
            muted: BTreeSet::new(),
            is_flushing: false,
            next_number: 0,
            bytes: 0,
        }
    }

    /// Bytes of the batches that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Partitions with batches that wait.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.queues.keys().copied()
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &ProducerBatch> {
        self.queues.values().flatten()
    }

    /// Whether a batch of a partition waits.
    pub(crate) fn has_batch(&self, partition: i32) -> bool {
        self.queues.contains_key(&partition)
    }

    /// Whether a record fits the last batch of a partition.
    pub(crate) fn fits_last(&self, partition: i32, record: &PendingRecord) -> bool {
        let last = self.queues.get(&partition).and_then(VecDeque::back);
        last.is_some_and(|batch| batch.has_room_for(record, self.batch_size))
    }

    /// Adds a record to the last batch of a partition, or to a new one.
    pub(crate) fn append(&mut self, partition: i32, record: PendingRecord, now: Instant, timestamp: i64) {
        let fits = self.fits_last(partition, &record);
        let queue = self.queues.entry(partition).or_default();
        if !fits {
            queue.push_back(ProducerBatch::new(self.next_number, partition, now, timestamp));
            self.next_number += 1;
            self.bytes += RECORD_BATCH_OVERHEAD;
        }
        let batch = queue.back_mut().expect("a batch was made");
        let before = batch.size;
        batch.push(record);
        self.bytes += batch.size - before;
    }

    /// When the first batch of a partition may leave: at once if it is full, behind the linger otherwise, a retry behind its
    /// backoff; never while the partition is muted.
    pub(crate) fn ready_at(&self, partition: i32) -> Option<Instant> {
        if self.muted.contains(&partition) {
            return None;
        }
        let queue = self.queues.get(&partition)?;
        let first = queue.front()?;
        if first.attempts > 0 {
            return Some(first.last_attempt.saturating_add(self.retry_backoff));
        }
        let is_full = queue.len() > 1 || first.size >= self.batch_size;
        Some(if is_full || self.is_flushing { first.created } else { first.created.saturating_add(self.linger) })
    }

    /// Takes the first batch of a partition unless it is backing off: a node that is sent to takes along what still lingers.
    pub(crate) fn drain(&mut self, partition: i32, now: Instant, room: usize) -> Option<ProducerBatch> {
        if self.muted.contains(&partition) {
            return None;
        }
        let queue = self.queues.get_mut(&partition)?;
        let first = queue.front()?;
        let is_backing_off = first.attempts > 0 && first.last_attempt.saturating_add(self.retry_backoff) > now;
        if is_backing_off || first.size > room {
            return None;
        }
        let batch = queue.pop_front()?;
        self.tidy(partition);
        self.bytes -= batch.size;
        Some(batch)
    }

    fn tidy(&mut self, partition: i32) {
        if self.queues.get(&partition).is_some_and(VecDeque::is_empty) {
            self.queues.remove(&partition);
        }
    }

    /// Puts a batch back to be sent again, in front of everything: a batch behind it that is in flight may be appended first.
    pub(crate) fn put_back(&mut self, mut batch: ProducerBatch, now: Instant) {
        batch.attempts += 1;
        batch.last_attempt = now;
        self.bytes += batch.size;
        self.queues.entry(batch.partition).or_default().push_front(batch);
    }

    /// Replaces a batch that was too large by batches of `batch.size`, in front of everything, with its age and its doubts.
    ///
    /// A batch that is no larger than `batch.size` comes back as it was, to be refused again until it expires (KAFKA-8350).
    pub(crate) fn split(&mut self, batch: ProducerBatch) {
        let mut parts: Vec<ProducerBatch> = Vec::new();
        for record in batch.records {
            if !parts.last().is_some_and(|part| part.has_room_for(&record, self.batch_size)) {
                let mut part = ProducerBatch::new(self.next_number, batch.partition, batch.created, batch.timestamp);
                part.is_maybe_appended = batch.is_maybe_appended;
                self.next_number += 1;
                parts.push(part);
            }
            parts.last_mut().expect("a part was made").push(record);
        }
        for part in parts.into_iter().rev() {
            self.bytes += part.size;
            self.queues.entry(batch.partition).or_default().push_front(part);
        }
    }

    pub(crate) fn mute(&mut self, partition: i32) {
        self.muted.insert(partition);
    }

    pub(crate) fn unmute(&mut self, partition: i32) {
        self.muted.remove(&partition);
    }

    /// When a batch must have its outcome.
    pub(crate) fn expiry_of(&self, batch: &ProducerBatch) -> Instant {
        batch.created.saturating_add(self.delivery_timeout)
    }

    /// Takes the batches that are older than `delivery.timeout.ms`.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<ProducerBatch> {
        let mut expired = Vec::new();
        if self.batches().all(|batch| self.expiry_of(batch) > now) {
            return expired;
        }
        let partitions: Vec<i32> = self.partitions().collect();
        for partition in partitions {
            let queue = self.queues.get_mut(&partition).expect("it is listed");
            while let Some(first) =
                queue.pop_front_if(|first| first.created.saturating_add(self.delivery_timeout) <= now)
            {
                self.bytes -= first.size;
                expired.push(first);
            }
            self.tidy(partition);
        }
        expired
    }

    pub(crate) fn check_invariants(&self) {
        let bytes: usize = self.batches().map(ProducerBatch::size).sum();
        assert_eq!(bytes, self.bytes, "the bytes that wait are counted");
        for (partition, queue) in &self.queues {
            assert!(!queue.is_empty(), "a partition without batches has no queue");
            for batch in queue {
                assert_eq!(batch.partition, *partition, "a batch waits for its own partition");
                assert!(!batch.records.is_empty(), "a batch has records");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kafkawire::BatchHeader;

    use super::*;

    fn record(number: u64, len: usize) -> PendingRecord {
        let id = RecordId { client: 1, number };
        PendingRecord { id, key: Some(Bytes::from_static(b"k")), value: Bytes::from(vec![b'v'; len]), is_probe: false }
    }

    fn accumulator(batch_size: usize) -> Accumulator {
        Accumulator {
            batch_size,
            linger: Span::millis(5),
            retry_backoff: Span::millis(100),
            delivery_timeout: Span::secs(10),
            queues: BTreeMap::new(),
            muted: BTreeSet::new(),
            is_flushing: false,
            next_number: 0,
            bytes: 0,
        }
    }

    const NOW: Instant = Instant::from_nanos(1_000_000_000);

    #[test]
    fn size_of_a_batch_is_that_of_its_bytes() {
        for len in [1, 40, 62, 63, 64, 200, 9000] {
            let mut accumulator = accumulator(1 << 20);
            for number in 0..130 {
                accumulator.append(0, record(number, len), NOW, 5);
            }
            let mut batch = accumulator.drain(0, NOW, usize::MAX).unwrap();
            let bytes = batch.bytes();
            assert_eq!(BatchHeader::parse(&bytes).unwrap().size(), bytes.len());
            assert_eq!(batch.size(), bytes.len(), "records of {len} bytes");
        }
    }

    #[test]
    fn record_that_does_not_fit_begins_a_new_batch_and_makes_the_first_ready() {
        let mut accumulator = accumulator(200);
        accumulator.append(0, record(0, 60), NOW, 0);
        assert_eq!(accumulator.ready_at(0), Some(NOW + Span::millis(5)), "it lingers");
        assert!(accumulator.fits_last(0, &record(1, 60)));
        assert!(!accumulator.fits_last(0, &record(1, 160)));
        accumulator.append(0, record(1, 160), NOW, 0);
        assert_eq!(accumulator.ready_at(0), Some(NOW), "the first of two is closed");
        accumulator.check_invariants();
    }

    #[test]
    fn batch_that_was_put_back_goes_first_behind_its_backoff() {
        let mut accumulator = accumulator(100);
        accumulator.append(0, record(0, 60), NOW, 0);
        accumulator.append(0, record(1, 60), NOW, 0);
        let first = accumulator.drain(0, NOW, usize::MAX).unwrap();
        accumulator.put_back(first, NOW + Span::millis(1));
        assert_eq!(accumulator.ready_at(0), Some(NOW + Span::millis(101)));
        assert!(
            accumulator.drain(0, NOW + Span::millis(100), usize::MAX).is_none(),
            "nothing overtakes it in the queue"
        );
        let again = accumulator.drain(0, NOW + Span::millis(101), usize::MAX).unwrap();
        assert_eq!((again.number, again.attempts), (0, 1));
        accumulator.check_invariants();
    }

    #[test]
    fn batches_expire_by_their_creation() {
        let mut accumulator = accumulator(100);
        accumulator.append(0, record(0, 60), NOW, 0);
        accumulator.append(0, record(1, 60), NOW + Span::secs(1), 0);
        assert!(accumulator.expire(NOW + Span::millis(9_999)).is_empty());
        assert_eq!(accumulator.expire(NOW + Span::secs(10)).len(), 1);
        assert_eq!(accumulator.expire(NOW + Span::secs(11)).len(), 1);
        assert!(accumulator.is_empty());
        assert_eq!(accumulator.bytes(), 0);
    }

    #[test]
    fn batch_that_was_too_large_is_split_in_order_and_keeps_its_age() {
        let mut accumulator = accumulator(1000);
        for number in 0..4 {
            accumulator.append(0, record(number, 100), NOW, 0);
        }
        let mut whole = accumulator.drain(0, NOW, usize::MAX).unwrap();
        whole.is_maybe_appended = true;
        accumulator.batch_size = 300;
        accumulator.split(whole);
        accumulator.check_invariants();
        let parts: Vec<Vec<u64>> =
            accumulator.batches().map(|batch| batch.records.iter().map(|record| record.id.number).collect()).collect();
        assert_eq!(parts, [vec![0, 1], vec![2, 3]]);
        assert!(accumulator.batches().all(|batch| batch.created == NOW && batch.is_maybe_appended));
    }
}
