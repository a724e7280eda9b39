//! Where requests wait for a condition or for their time to be over (kafka-broker.md appendix B).
//!
//! An operation completes once: whoever takes it out of the purgatory answers it. The real purgatory keeps a list of watchers
//! per key; here there are as many operations as connections that wait, so each is asked whether it watches a partition, in
//! the order in which they came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machine::Instant;

use crate::replication::table::{Slot, SlotSet};

/// The number of an operation, in order of arrival.
pub(crate) type OpNumber = u64;

#[derive(Clone, Debug)]
struct Waiting<O> {
    op: Arc<O>,
    watches: SlotSet,
    deadline: Instant,
    is_expired: bool,
}

/// Operations of one kind that wait.
#[derive(Clone, Debug)]
pub(crate) struct Purgatory<O> {
    ops: BTreeMap<OpNumber, Waiting<O>>,
    deadlines: BTreeSet<(Instant, OpNumber)>,
    numbered: OpNumber,
}

impl<O: Clone> Purgatory<O> {
    pub(crate) const fn new() -> Self {
        Self { ops: BTreeMap::new(), deadlines: BTreeSet::new(), numbered: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// An operation waits until the deadline.
    pub(crate) fn insert(&mut self, op: O, watches: SlotSet, deadline: Instant) -> OpNumber {
        self.numbered += 1;
        let waiting = Waiting { op: Arc::new(op), watches, deadline, is_expired: false };
        self.ops.insert(self.numbered, waiting);
        self.deadlines.insert((deadline, self.numbered));
        self.numbered
    }

    /// The first operation after `after` that watches a partition.
    pub(crate) fn watching(&self, slot: Slot, after: OpNumber) -> Option<OpNumber> {
        let mut later = self.ops.range(after + 1..);
        later.find(|(_, waiting)| waiting.watches.contains(slot)).map(|(&number, _)| number)
    }

    pub(crate) fn get(&self, number: OpNumber) -> Option<&O> {
        self.ops.get(&number).map(|waiting| &*waiting.op)
    }

    pub(crate) fn get_mut(&mut self, number: OpNumber) -> Option<&mut O> {
        self.ops.get_mut(&number).map(|waiting| Arc::make_mut(&mut waiting.op))
    }

    /// Takes an operation out: the caller completes it.
    pub(crate) fn remove(&mut self, number: OpNumber) -> Option<O> {
        let waiting = self.ops.remove(&number)?;
        self.deadlines.remove(&(waiting.deadline, number));
        Some(Arc::unwrap_or_clone(waiting.op))
    }

    /// The next operation whose time is over. It stays, and has no deadline any more, until the caller removes it.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<OpNumber> {
        let &(deadline, number) = self.deadlines.first().filter(|&&(deadline, _)| deadline <= now)?;
        self.deadlines.remove(&(deadline, number));
        self.ops.get_mut(&number).expect("a deadline is an operation's").is_expired = true;
        Some(number)
    }

    /// Whether the time of an operation is over that could not be completed then.
    pub(crate) fn is_expired(&self, number: OpNumber) -> bool {
        self.ops.get(&number).is_some_and(|waiting| waiting.is_expired)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    pub(crate) fn clear(&mut self) {
        self.ops.clear();
        self.deadlines.clear();
    }

    pub(crate) fn check_invariants(&self) {
        let waiting = self.ops.values().filter(|waiting| !waiting.is_expired).count();
        assert_eq!(waiting, self.deadlines.len(), "each operation that waits has one deadline");
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
