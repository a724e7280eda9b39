//! A list that only grows (or is cut at its end), and whose copies share all but its last part.

use std::sync::Arc;

/// Elements of a part that is shared.
const CHUNK: usize = 256;

/// A list in sealed, shared parts and an owned tail: a copy costs one pointer per 256 elements.
#[derive(Clone, Debug)]
pub(crate) struct Chunked<T> {
    sealed: Vec<Arc<Vec<T>>>,
    tail: Vec<T>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { sealed: Vec::new(), tail: Vec::new() }
    }
}

impl<T: Clone> Chunked<T> {
    pub(crate) fn len(&self) -> usize {
        self.sealed.len() * CHUNK + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.tail.is_empty()
    }

    pub(crate) fn push(&mut self, element: T) {
        self.tail.push(element);
        if self.tail.len() == CHUNK {
            self.sealed.push(Arc::new(std::mem::take(&mut self.tail)));
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match self.sealed.get(at / CHUNK) {
            Some(chunk) => chunk.get(at % CHUNK),
            None => self.tail.get(at.checked_sub(self.sealed.len() * CHUNK)?),
        }
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let in_tail = at.checked_sub(self.sealed.len() * CHUNK);
        match self.sealed.get_mut(at / CHUNK) {
            Some(chunk) => Arc::make_mut(chunk).get_mut(at % CHUNK),
            None => self.tail.get_mut(in_tail?),
        }
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Keeps the first elements only.
    pub(crate) fn truncate(&mut self, len: usize) {
        while len < self.sealed.len() * CHUNK {
            let chunk = self.sealed.pop().expect("there is a sealed part");
            self.tail = Arc::unwrap_or_clone(chunk);
        }
        self.tail.truncate(len - self.sealed.len() * CHUNK);
    }

    /// How many elements, from the first on, are so; those that are come before those that are not.
    pub(crate) fn partition_point(&self, mut is_so: impl FnMut(&T) -> bool) -> usize {
        // What is asked for is nearly always at the end.
        if self.tail.first().is_some_and(&mut is_so) {
            return self.sealed.len() * CHUNK + self.tail.partition_point(is_so);
        }
        let chunk = self.sealed.partition_point(|chunk| is_so(&chunk[0]));
        match chunk.checked_sub(1) {
            None => 0,
            Some(chunk) => chunk * CHUNK + self.sealed[chunk].partition_point(is_so),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_from(0)
    }

    pub(crate) fn iter_from(&self, from: usize) -> impl Iterator<Item = &T> {
        (from..self.len()).map(|at| self.get(at).expect("it is below the length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_found_cut_and_changed_like_a_vector() {
        let mut list = Chunked::default();
        let mut vector = Vec::new();
        for n in 0..1_000_u32 {
            list.push(n * 2);
            vector.push(n * 2);
        }
        let fork = list.clone();
        for (cut, probe) in [(1_000, 511), (768, 4), (700, 1_399), (256, 700), (3, 2), (0, 9)] {
            list.truncate(cut);
            vector.truncate(cut);
            assert_eq!(list.iter().copied().collect::<Vec<_>>(), vector);
            assert_eq!((list.len(), list.last()), (vector.len(), vector.last()));
            assert_eq!(list.partition_point(|&n| n < probe), vector.partition_point(|&n| n < probe));
            assert_eq!(list.get(cut), None);
        }
        assert_eq!(fork.len(), 1_000);
        let mut changed = fork.clone();
        *changed.get_mut(5).unwrap() = 7;
        assert_eq!((fork.get(5), changed.get(5), changed.get(999)), (Some(&10), Some(&7), Some(&1_998)));
        list.push(1);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [1]);
    }
}
