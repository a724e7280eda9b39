//! The event queue: a packed 4-ary heap of keys, the events themselves in a slab.
//!
//! A key is one `u128` of (time 64 | sequence 40 | slot 24), so one comparison orders by time and then by the order of
//! pushing, and a fork copies two flat vectors. Private to the engine: another queue with the same order would give the
//! same traces.

use machine::Instant;

const SLOT_BITS: u32 = 24;
const SEQUENCE_BITS: u32 = 40;
const ARITY: usize = 4;

/// Events in order of (time, push).
#[derive(Clone, Debug)]
pub(crate) struct Queue<E> {
    heap: Vec<u128>,
    slab: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<E> Queue<E> {
    pub(crate) fn with_capacity(events: usize) -> Self {
        Self { heap: Vec::with_capacity(events), slab: Vec::with_capacity(events), free: Vec::new(), sequence: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.heap.len()
    }

    /// When the next event is due.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.first().map(|&key| time_of(key))
    }

    #[inline]
    pub(crate) fn push(&mut self, at: Instant, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slab[slot as usize] = Some(event);
                slot
            }
            None => {
                let slot = u32::try_from(self.slab.len()).expect("fewer than 2^24 events pend");
                assert!(slot < 1 << SLOT_BITS, "more than 2^24 events pend");
                self.slab.push(Some(event));
                slot
            }
        };
        assert!(self.sequence < 1 << SEQUENCE_BITS, "a run of more than 2^40 events");
        let key = (u128::from(at.as_nanos()) << 64) | u128::from((self.sequence << SLOT_BITS) | u64::from(slot));
        self.sequence += 1;
        let hole = self.heap.len();
        self.heap.push(key);
        self.sift_up(hole, key);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Instant, E)> {
        let first = *self.heap.first()?;
        let last = self.heap.pop().expect("it has a first");
        if !self.heap.is_empty() {
            self.sift_down(last);
        }
        let slot = slot_of(first);
        let event = self.slab[slot as usize].take().expect("a key names a full slot");
        self.free.push(slot);
        Some((time_of(first), event))
    }

    #[inline]
    fn sift_up(&mut self, mut hole: usize, key: u128) {
        while hole > 0 {
            let parent = (hole - 1) / ARITY;
            let above = self.heap[parent];
            if above <= key {
                break;
            }
            self.heap[hole] = above;
            hole = parent;
        }
        self.heap[hole] = key;
    }

    #[inline]
    fn sift_down(&mut self, key: u128) {
        let heap = self.heap.as_mut_slice();
        let len = heap.len();
        let mut hole = 0;
        loop {
            let child = hole * ARITY + 1;
            if child >= len {
                break;
            }
            let (mut least, mut least_key) = (child, heap[child]);
            if let Some(&[_, second, third, fourth]) = heap[child..].first_chunk::<ARITY>() {
                // All four: two comparisons that do not depend on each other, and one between the winners.
                let (left, left_key) = if second < least_key { (child + 1, second) } else { (least, least_key) };
                let (right, right_key) = if fourth < third { (child + 3, fourth) } else { (child + 2, third) };
                (least, least_key) = if right_key < left_key { (right, right_key) } else { (left, left_key) };
            } else {
                for (at, &other) in (child + 1..).zip(&heap[child + 1..]) {
                    if other < least_key {
                        (least, least_key) = (at, other);
                    }
                }
            }
            if least_key >= key {
                break;
            }
            heap[hole] = least_key;
            hole = least;
        }
        heap[hole] = key;
    }
}

const fn time_of(key: u128) -> Instant {
    Instant::from_nanos((key >> 64) as u64)
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest 24 bits are the slot")]
const fn slot_of(key: u128) -> u32 {
    key as u32 & ((1 << SLOT_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use machine::{Instant, Purpose, RunKey};

    use super::Queue;

    const AT: Purpose = Purpose::new("at");

    #[test]
    fn events_leave_in_order_of_time_and_then_of_pushing() {
        let mut queue = Queue::with_capacity(0);
        let mut expected = Vec::new();
        for index in 0..2_000_u64 {
            let at = RunKey([1, 2]).draw(AT, 0, index).below(300);
            queue.push(Instant::from_nanos(at), index);
            expected.push((at, index));
            if index % 3 == 0 {
                let (at, event) = queue.pop().unwrap();
                expected.sort_unstable();
                assert_eq!((at.as_nanos(), event), expected.remove(0));
            }
        }
        expected.sort_unstable();
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(at, event)| (at.as_nanos(), event)).collect();
        assert_eq!(rest, expected);
        assert_eq!(queue.len(), 0);
        assert_eq!(queue.next_at(), None);
    }

    #[test]
    fn a_slot_is_used_again_after_its_event_left() {
        let mut queue = Queue::with_capacity(0);
        for round in 0..100 {
            queue.push(Instant::from_nanos(round), round);
            queue.push(Instant::from_nanos(round), round);
            queue.pop();
            queue.pop();
        }
        assert_eq!(queue.slab.len(), 2);
    }
}
