//! A sequence that grows and is cut at its end, shared between the forks of a world.

use std::sync::Arc;

/// Full chunks are shared for good; a clone costs two reference counts, the first push after it at most one chunk and, when
/// that chunk fills, one pointer per chunk.
#[derive(Clone, Debug)]
pub(crate) struct Chunked<T> {
    full: Arc<Vec<Arc<Vec<T>>>>,
    /// Shorter than a chunk.
    tail: Arc<Vec<T>>,
}

const CHUNK: usize = 64;

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { full: Arc::default(), tail: Arc::default() }
    }
}

impl<T: Clone> Chunked<T> {
    pub(crate) fn len(&self) -> usize {
        self.full.len() * CHUNK + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let chunk = self.full.get(at / CHUNK).map_or(&self.tail, |chunk| chunk);
        if at / CHUNK <= self.full.len() { chunk.get(at % CHUNK) } else { None }
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.tail.last().or_else(|| self.full.last().and_then(|chunk| chunk.last()))
    }

    pub(crate) fn push(&mut self, item: T) {
        let tail = Arc::make_mut(&mut self.tail);
        tail.push(item);
        if tail.len() == CHUNK {
            let chunk = std::mem::take(&mut self.tail);
            Arc::make_mut(&mut self.full).push(chunk);
        }
    }

    /// Keeps the first `len` items; more than there are changes nothing.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        let chunks = len / CHUNK;
        if chunks < self.full.len() {
            let full = Arc::make_mut(&mut self.full);
            self.tail = Arc::clone(&full[chunks]);
            full.truncate(chunks);
        }
        Arc::make_mut(&mut self.tail).truncate(len % CHUNK);
    }

    /// How many items come before the first that does not satisfy the predicate, of which all that do come first.
    pub(crate) fn partition_point(&self, satisfied: impl Fn(&T) -> bool) -> usize {
        let chunk = self.full.partition_point(|chunk| chunk.last().is_some_and(&satisfied));
        let within = self.full.get(chunk).map_or(&self.tail, |chunk| chunk);
        chunk * CHUNK + within.partition_point(satisfied)
    }

    pub(crate) fn range(&self, range: std::ops::Range<usize>) -> impl DoubleEndedIterator<Item = &T> {
        range.map(|at| self.get(at).expect("the range is inside the sequence"))
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Chunked};

    #[test]
    fn chunked_sequence_agrees_with_a_vec_under_pushes_cuts_and_forks() {
        let (mut chunked, mut model) = (Chunked::default(), Vec::new());
        for round in 0..40_usize {
            let fork = (chunked.clone(), model.clone());
            for item in 0..(round * 37) % 150 {
                chunked.push(item + round);
                model.push(item + round);
            }
            let len = (model.len() * (round % 7)) / 6;
            chunked.truncate(len);
            model.truncate(len);
            for (chunked, model) in [(&chunked, &model), (&fork.0, &fork.1)] {
                assert_eq!(chunked.len(), model.len());
                assert_eq!(chunked.last(), model.last());
                assert!(chunked.range(0..chunked.len()).eq(model.iter()));
                assert_eq!(chunked.get(model.len()), None);
                assert_eq!(chunked.get(model.len() + CHUNK), None);
            }
        }
    }

    #[test]
    fn partition_point_is_that_of_the_whole_sequence() {
        let mut chunked = Chunked::default();
        for item in 0..CHUNK * 3 {
            chunked.push(item);
            for bound in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 2, CHUNK * 3] {
                assert_eq!(chunked.partition_point(|&at| at < bound), bound.min(item + 1));
            }
        }
    }
}
