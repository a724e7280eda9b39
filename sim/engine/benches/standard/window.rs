//! What a peer has not answered: a window of indices that moves on. Ours and the bare loop's replication share it, so that
//! they differ by the engine alone.

use std::collections::VecDeque;

/// Unanswered indices, and when each was last sent, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    base: u64,
    sent: VecDeque<Option<u64>>,
}

impl Window {
    fn place(&self, index: u64) -> Option<usize> {
        index.checked_sub(self.base).and_then(|at| usize::try_from(at).ok())
    }

    /// Notes that an index was sent; they need not come in order.
    pub(crate) fn insert(&mut self, index: u64, now: u64) {
        if self.sent.is_empty() {
            self.base = index;
        }
        while index < self.base {
            self.sent.push_front(None);
            self.base -= 1;
        }
        let at = self.place(index).expect("not before the window");
        if self.sent.len() <= at {
            self.sent.resize(at + 1, None);
        }
        self.sent[at] = Some(now);
    }

    /// Notes an answer; false if none was waited for.
    pub(crate) fn remove(&mut self, index: u64) -> bool {
        let waited = self.place(index).and_then(|at| self.sent.get_mut(at)).and_then(Option::take).is_some();
        while self.sent.front().is_some_and(Option::is_none) {
            self.sent.pop_front();
            self.base += 1;
        }
        waited
    }

    pub(crate) fn contains(&self, index: u64) -> bool {
        self.place(index).and_then(|at| self.sent.get(at)).is_some_and(Option::is_some)
    }

    /// The oldest index that is waited for.
    pub(crate) fn first(&self) -> Option<u64> {
        (!self.sent.is_empty()).then_some(self.base)
    }

    /// How many indices are waited for.
    pub(crate) fn count(&self) -> u64 {
        self.sent.iter().flatten().count() as u64
    }

    /// Takes up to `most` that were sent at or before `until`, oldest index first, and notes that they are sent again.
    pub(crate) fn overdue(&mut self, until: u64, now: u64, most: usize) -> Vec<u64> {
        let late = (self.base..).zip(&mut self.sent).filter(|(_, sent)| sent.is_some_and(|sent| sent <= until));
        late.take(most)
            .map(|(index, sent)| {
                *sent = Some(now);
                index
            })
            .collect()
    }
}
