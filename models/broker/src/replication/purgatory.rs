//! Where requests wait for a condition or for their time to be over (kafka-broker.md appendix B).
//!
//! An operation completes once: whoever takes it out of the purgatory answers it. The real purgatory keeps a list of watchers
//! per key; here there are as many operations as connections that wait, so each is asked whether it watches a partition, in
//! the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;

use machine::Instant;

use crate::replication::table::{Slot, SlotSet};

/// The number of an operation, in order of arrival.
pub(crate) type OpNumber = u64;

#[derive(Clone, Debug)]
struct Waiting<O> {
    number: OpNumber,
    op: Arc<O>,
    watches: SlotSet,
    /// None once it has passed.
    deadline: Option<Instant>,
}

/// Operations of one kind that wait.
#[derive(Clone, Debug)]
pub(crate) struct Purgatory<O> {
    /// Ascending by number.
    ops: VecDeque<Waiting<O>>,
    /// The earliest deadline: it is asked for after every step of the broker.
    next_deadline: Option<Instant>,
    numbered: OpNumber,
}

impl<O: Clone> Purgatory<O> {
    pub(crate) const fn new() -> Self {
        Self { ops: VecDeque::new(), next_deadline: None, numbered: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// An operation waits until the deadline.
    pub(crate) fn insert(&mut self, op: O, watches: SlotSet, deadline: Instant) -> OpNumber {
        self.numbered += 1;
        let number = self.numbered;
        self.ops.push_back(Waiting { number, op: Arc::new(op), watches, deadline: Some(deadline) });
        self.next_deadline = Instant::earliest([self.next_deadline, Some(deadline)]);
        number
    }

    fn place_of(&self, number: OpNumber) -> Option<usize> {
        self.ops.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }

    /// The first operation after `after` that watches a partition.
    pub(crate) fn watching(&self, slot: Slot, after: OpNumber) -> Option<OpNumber> {
        let mut later = self.ops.iter().filter(|waiting| waiting.number > after);
        later.find(|waiting| waiting.watches.contains(slot)).map(|waiting| waiting.number)
    }

    pub(crate) fn get(&self, number: OpNumber) -> Option<&O> {
        self.place_of(number).map(|at| &*self.ops[at].op)
    }

    pub(crate) fn get_mut(&mut self, number: OpNumber) -> Option<&mut O> {
        self.place_of(number).map(|at| Arc::make_mut(&mut self.ops[at].op))
    }

    /// Takes an operation out: the caller completes it.
    pub(crate) fn remove(&mut self, number: OpNumber) -> Option<O> {
        let waiting = self.ops.remove(self.place_of(number)?)?;
        if waiting.deadline == self.next_deadline {
            self.remember();
        }
        Some(Arc::unwrap_or_clone(waiting.op))
    }

    fn remember(&mut self) {
        self.next_deadline = self.ops.iter().filter_map(|waiting| waiting.deadline).min();
    }

    /// The next operation whose time is over: of those that are due the one that was due first. It stays, and has no deadline
    /// any more, until the caller removes it.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<OpNumber> {
        let due = self.next_deadline.filter(|&deadline| deadline <= now)?;
        let mut waiting = self.ops.iter_mut();
        let expired = waiting.find(|waiting| waiting.deadline == Some(due)).expect("a deadline is an operation's");
        expired.deadline = None;
        let number = expired.number;
        self.remember();
        Some(number)
    }

    /// Whether the time of an operation is over that could not be completed then.
    pub(crate) fn is_expired(&self, number: OpNumber) -> bool {
        self.place_of(number).is_some_and(|at| self.ops[at].deadline.is_none())
    }

    pub(crate) const fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    pub(crate) fn clear(&mut self) {
        self.ops.clear();
        self.next_deadline = None;
    }

    pub(crate) fn check_invariants(&self) {
        let earliest = self.ops.iter().filter_map(|waiting| waiting.deadline).min();
        assert_eq!(earliest, self.next_deadline, "the earliest deadline is remembered");
    }
}

#[cfg(test)]
mod tests {
    use machine::{Instant, Span};

    use super::Purgatory;
    use crate::replication::table::{Slot, SlotSet};

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Span::secs(seconds)
    }

    fn slots(numbers: &[u32]) -> SlotSet {
        numbers.iter().map(|&number| Slot::for_tests(number)).collect()
    }

    #[test]
    fn operations_that_watch_a_partition_are_found_in_order_of_arrival() {
        let mut purgatory = Purgatory::new();
        let first = purgatory.insert("first", slots(&[1, 70]), at(9));
        purgatory.insert("other", slots(&[2]), at(1));
        let last = purgatory.insert("last", slots(&[70]), at(3));
        let slot = Slot::for_tests(70);
        assert_eq!(purgatory.watching(slot, 0), Some(first));
        assert_eq!(purgatory.watching(slot, first), Some(last));
        assert_eq!(purgatory.watching(slot, last), None);
    }

    #[test]
    fn an_operation_completes_once_whether_its_condition_or_its_time_came_first() {
        let mut purgatory = Purgatory::new();
        let early = purgatory.insert("early", slots(&[0]), at(1));
        let late = purgatory.insert("late", slots(&[0]), at(2));
        assert_eq!(purgatory.expire(at(0)), None);
        assert_eq!(purgatory.remove(late), Some("late"));
        assert_eq!(purgatory.remove(late), None);
        assert_eq!(purgatory.expire(at(5)), Some(early));
        assert_eq!(purgatory.expire(at(5)), None, "a deadline passes once");
        assert!(purgatory.is_expired(early));
        purgatory.check_invariants();
        assert_eq!(purgatory.remove(early), Some("early"));
        assert_eq!(purgatory.len(), 0);
        assert_eq!(purgatory.next_deadline(), None);
    }
}
