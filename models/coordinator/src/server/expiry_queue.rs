//! What expires in buckets (zookeeper.md §7.5).
//!
//! A deadline is rounded up to the next multiple of the interval, and a whole bucket expires at once: later than its deadline by
//! at most one interval, never earlier. So a touch mostly changes nothing, and expiry costs nothing per element.

use std::collections::{BTreeMap, BTreeSet};

use machine::{Instant, Span};

/// A queue of things that expire unless they are touched.
#[derive(Clone, Debug)]
pub(super) struct ExpiryQueue<K> {
    interval: Span,
    /// When the next bucket is due, whether it holds anything or not.
    next: Instant,
    buckets: BTreeMap<Instant, BTreeSet<K>>,
    /// The bucket of each element. One that was polled keeps its entry until it is removed.
    due: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> ExpiryQueue<K> {
    /// An empty queue that starts now.
    pub(super) fn new(interval: Span, now: Instant) -> Self {
        assert!(interval > Span::ZERO, "an expiry queue needs an interval");
        let mut queue = Self { interval, next: now, buckets: BTreeMap::new(), due: BTreeMap::new() };
        queue.next = queue.bucket(now);
        queue
    }

    /// The first multiple of the interval after `at`.
    fn bucket(&self, at: Instant) -> Instant {
        let interval = self.interval.as_nanos();
        Instant::from_nanos((at.as_nanos() / interval + 1).saturating_mul(interval))
    }

    /// Adds an element, or puts off its end: it expires in `(timeout, timeout + interval]` from now.
    pub(super) fn touch(&mut self, key: K, timeout: Span, now: Instant) {
        let due = self.bucket(now.saturating_add(timeout));
        let previous = self.due.insert(key, due);
        if previous == Some(due) {
            return;
        }
        if let Some(previous) = previous {
            self.drop_from_bucket(previous, key);
        }
        self.buckets.entry(due).or_default().insert(key);
    }

    /// The buckets and what is in them.
    pub(super) fn buckets(&self) -> Vec<(Instant, Vec<K>)> {
        self.buckets.iter().map(|(&at, keys)| (at, keys.iter().copied().collect())).collect()
    }

    /// Removes an element.
    pub(super) fn remove(&mut self, key: K) {
        if let Some(due) = self.due.remove(&key) {
            self.drop_from_bucket(due, key);
        }
    }

    fn drop_from_bucket(&mut self, due: Instant, key: K) {
        if let Some(bucket) = self.buckets.get_mut(&due) {
            bucket.remove(&key);
            if bucket.is_empty() {
                self.buckets.remove(&due);
            }
        }
    }

    /// Takes the next bucket if it is due: none if it is not, perhaps empty if it is. Its elements stay known until removed.
    pub(super) fn poll(&mut self, now: Instant) -> Option<BTreeSet<K>> {
        if now < self.next {
            return None;
        }
        let bucket = self.buckets.remove(&self.next).unwrap_or_default();
        self.next = self.next.saturating_add(self.interval);
        Some(bucket)
    }

    /// When there is something to do: the first bucket that holds anything.
    ///
    /// The real thread wakes for every bucket; one that is empty changes nothing but `next`, which [`poll`](Self::poll)
    /// catches up on.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.buckets.first_key_value().map(|(&due, _)| due.max(self.next))
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// Panics if a bucket and the elements' own notes disagree.
    pub(super) fn check(&self) {
        for (due, bucket) in &self.buckets {
            assert!(!bucket.is_empty(), "an empty bucket is kept");
            assert!(
                bucket.iter().all(|key| self.due.get(key) == Some(due)),
                "an element is in a bucket that is not its own"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Span = Span::secs(2);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn expired_by(queue: &mut ExpiryQueue<u8>, now: Instant) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bucket) = queue.poll(now) {
            all.extend(bucket);
        }
        all
    }

    #[test]
    fn element_expires_at_the_first_tick_after_its_timeout() {
        let mut queue = ExpiryQueue::new(TICK, at(500));
        queue.touch(1, Span::secs(4), at(1_240));
        assert_eq!(queue.next_due(), Some(at(6_000)));
        assert_eq!(expired_by(&mut queue, at(5_999)), [0_u8; 0]);
        assert_eq!(expired_by(&mut queue, at(6_000)), [1]);
    }

    #[test]
    fn deadline_on_a_tick_expires_one_tick_later() {
        let mut queue = ExpiryQueue::new(TICK, at(0));
        queue.touch(1, Span::secs(4), at(2_000));
        assert_eq!(queue.next_due(), Some(at(8_000)));
    }

    #[test]
    fn touch_moves_the_element_to_its_new_bucket_alone() {
        let mut queue = ExpiryQueue::new(TICK, at(0));
        queue.touch(1, Span::secs(4), at(0));
        queue.touch(1, Span::secs(4), at(3_000));
        queue.check();
        assert_eq!(expired_by(&mut queue, at(7_999)), [0_u8; 0]);
        assert_eq!(expired_by(&mut queue, at(8_000)), [1]);
    }

    #[test]
    fn removed_element_does_not_expire() {
        let mut queue = ExpiryQueue::new(TICK, at(0));
        queue.touch(1, Span::secs(4), at(0));
        queue.touch(2, Span::secs(4), at(0));
        queue.remove(1);
        queue.check();
        assert_eq!((expired_by(&mut queue, at(60_000)), queue.len()), (vec![2], 1));
    }

    #[test]
    fn stalled_owner_gets_bucket_after_bucket() {
        let mut queue = ExpiryQueue::new(TICK, at(0));
        for (key, seconds) in [(1, 3), (2, 5), (3, 5), (4, 9)] {
            queue.touch(key, Span::secs(seconds), at(0));
        }
        let buckets: Vec<_> =
            std::iter::from_fn(|| queue.poll(at(7_000))).filter(|bucket| !bucket.is_empty()).collect();
        assert_eq!(buckets, [BTreeSet::from([1]), BTreeSet::from([2, 3])]);
    }
}
