//! The event queue: a packed 4-ary heap of keys, the events themselves in a slab.
//!
//! A key is one `u128` of (time 64 | sequence 40 | slot 24), so one comparison orders by time and then by the order of
//! pushing, and a fork copies two flat vectors. The place of the key that was taken last stays free until the next push
//! or pop: most steps take one event and push one, and then one way through the heap does for both. Private to the
//! engine: another queue with the same order would give the same traces.

use machine::Instant;

const SLOT_BITS: u32 = 24;
const SEQUENCE_BITS: u32 = 40;
const ARITY: usize = 4;
/// Later than every key.
const NOTHING: u128 = u128::MAX;

/// Where the event of a popped key is: to be taken, once. Apart from the key, so that the event is moved only once too.
#[derive(Debug)]
#[must_use]
pub(crate) struct Slot(u32);

/// Events in order of (time, push).
#[derive(Clone, Debug)]
pub(crate) struct Queue<E> {
    /// Groups of four below the first, filled up with [`NOTHING`], so that every parent has all its children.
    heap: Vec<u128>,
    /// Places of the heap that are taken.
    len: usize,
    /// The first of them is free: its key was popped.
    has_hole: bool,
    slab: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<E> Queue<E> {
    pub(crate) fn with_capacity(events: usize) -> Self {
        let mut heap = Vec::with_capacity(1 + events.next_multiple_of(ARITY));
        heap.push(NOTHING);
        let (slab, free) = (Vec::with_capacity(events), Vec::with_capacity(events));
        Self { heap, len: 0, has_hole: false, slab, free, sequence: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len - self.has_hole as usize
    }

    /// When the next event is due.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let key = if self.has_hole {
            self.heap.iter().skip(1).take(ARITY).min().copied().unwrap_or(NOTHING)
        } else {
            self.heap[0]
        };
        (key != NOTHING).then(|| time_of(key))
    }

    #[inline(always)]
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
        if self.has_hole {
            self.has_hole = false;
            self.sift_down(key);
        } else {
            self.sift_up(key);
        }
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<(Instant, Slot)> {
        if self.has_hole {
            self.close();
        }
        if self.len == 0 {
            return None;
        }
        let first = self.heap[0];
        self.has_hole = true;
        Some((time_of(first), Slot(slot_of(first))))
    }

    /// The event whose key was popped.
    #[inline(always)]
    pub(crate) fn take(&mut self, Slot(slot): Slot) -> E {
        self.free.push(slot);
        self.slab[slot as usize].take().expect("a key names a full slot")
    }

    /// Fills the free first place with the last key.
    fn close(&mut self) {
        self.has_hole = false;
        self.len -= 1;
        let last = std::mem::replace(&mut self.heap[self.len], NOTHING);
        if self.len > 0 {
            self.sift_down(last);
        }
    }

    fn sift_up(&mut self, key: u128) {
        if self.len == self.heap.len() {
            self.heap.extend([NOTHING; ARITY]);
        }
        let mut hole = self.len;
        self.len += 1;
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

    fn sift_down(&mut self, key: u128) {
        let heap = self.heap.as_mut_slice();
        let mut hole = 0;
        while let Some(four) = heap.get(hole * ARITY + 1..).and_then(<[u128]>::first_chunk::<ARITY>) {
            // Two comparisons that do not depend on each other, and one between the winners. The mask tells the compiler
            // what is so anyway.
            let left = usize::from(four[1] < four[0]);
            let right = 2 + usize::from(four[3] < four[2]);
            let least = if four[right & 3] < four[left] { right & 3 } else { left };
            let least_key = four[least];
            if least_key >= key {
                break;
            }
            heap[hole] = least_key;
            hole = hole * ARITY + 1 + least;
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
                let (at, slot) = queue.pop().unwrap();
                let event = queue.take(slot);
                expected.sort_unstable();
                assert_eq!((at.as_nanos(), event), expected.remove(0));
            }
            assert_eq!(queue.len(), expected.len());
        }
        expected.sort_unstable();
        let mut rest = Vec::new();
        while let Some(next) = queue.next_at() {
            let (at, slot) = queue.pop().unwrap();
            assert_eq!(at, next);
            rest.push((at.as_nanos(), queue.take(slot)));
        }
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
            for _ in 0..2 {
                let (_, slot) = queue.pop().unwrap();
                assert_eq!(queue.take(slot), round);
            }
        }
        assert_eq!(queue.slab.len(), 2);
    }
}
