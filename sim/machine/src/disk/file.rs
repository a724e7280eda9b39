//! One file: its content, and what of it is not yet durable.
//!
//! Only the content as the cache has it is kept. Each operation that is not durable remembers what it overwrote (nothing
//! at all, for an append), so that a crash can walk back through the operations, newest first, to the durable content,
//! and then forward through those that survive:
//!
//! ```text
//!   cache ── undo 3 ── undo 2 ── undo 1 ──▶ durable ── redo 1 ── redo 3 ──▶ after the crash
//! ```
//!
//! What an operation wrote is read off the content on the way back, so an append is never held twice, and a completed
//! sync only shortens the list.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::content::Content;

/// A number in the order of everything done to one disk.
pub(super) type Sequence = u64;

/// What a crash leaves of one operation that was not durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Survival {
    /// Nothing of it.
    Lost,
    /// All of it.
    Kept,
    /// Of a write, these ranges: offset and length each.
    Torn(Vec<(u64, u64)>),
}

/// A file of the cache.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// Its name, while it has one.
    pub(super) path: Option<Arc<str>>,
    content: Content,
    unsynced: Unsynced,
}

/// An operation that is not durable, or follows one that was lost by a failed sync.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) sequence: Sequence,
    pub(super) change: Change,
    state: State,
    len_before: u64,
    /// Stored bytes that were overwritten or cut off.
    before: Vec<(u64, Bytes)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Write { offset: u64, len: u64 },
    SetLen { len: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the cache only; the next sync covers it.
    Dirty,
    /// A sync of it failed: in the cache only, and no later sync covers it.
    Clean,
    /// On the device, but kept here because an older operation is not.
    Durable,
}

impl File {
    /// An empty file of that name.
    pub(super) fn named(path: Arc<str>) -> Self {
        Self { path: Some(path), ..Self::default() }
    }

    /// Length in bytes, as the cache has it.
    pub(super) const fn len(&self) -> u64 {
        self.content.len()
    }

    /// Bytes that take space.
    pub(super) fn stored(&self) -> u64 {
        self.content.stored()
    }

    /// Bytes between the two offsets that take space.
    pub(super) fn stored_between(&self, from: u64, to: u64) -> u64 {
        self.content.stored_between(from, to)
    }

    pub(super) fn read(&self, offset: u64, len: u64) -> Bytes {
        self.content.read(offset, len)
    }

    pub(super) fn write(&mut self, sequence: Sequence, offset: u64, bytes: &[u8]) {
        let len = bytes.len() as u64;
        let end = offset.checked_add(len).expect("a file ends below 2^64 bytes");
        self.unsynced.push(Operation {
            sequence,
            change: Change::Write { offset, len },
            state: State::Dirty,
            len_before: self.content.len(),
            before: self.content.pieces(offset, end),
        });
        self.content.write(offset, bytes);
    }

    pub(super) fn set_len(&mut self, sequence: Sequence, len: u64) {
        let len_before = self.content.len();
        self.unsynced.push(Operation {
            sequence,
            change: Change::SetLen { len },
            state: State::Dirty,
            len_before,
            before: if len < len_before { self.content.pieces(len, len_before) } else { Vec::new() },
        });
        self.content.set_len(len);
    }

    /// True if a sync of everything below `covered` would change anything.
    pub(super) fn is_dirty_below(&self, covered: Sequence) -> bool {
        self.unsynced.first().is_some_and(|operation| operation.sequence < covered)
    }

    /// A sync that covers everything below `covered` is done.
    pub(super) fn harden(&mut self, covered: Sequence) {
        self.unsynced.mark(covered, State::Durable);
        self.unsynced.drop_durable();
    }

    /// A sync that covers everything below `covered` failed.
    pub(super) fn lose(&mut self, covered: Sequence) {
        self.unsynced.mark(covered, State::Clean);
    }

    /// The device took the last operation and lost it.
    pub(super) fn lose_last(&mut self) {
        self.unsynced.mark_last(State::Clean);
    }

    /// True if the range is on the device as the cache reads it.
    pub(super) fn is_settled(&self, offset: u64, len: u64) -> bool {
        let end = offset.saturating_add(len);
        end <= self.len().min(self.durable_len())
            && self.unsynced.iter().all(|operation| match operation.change {
                Change::Write { offset: at, len } => at >= end || at + len <= offset,
                Change::SetLen { len } => len >= end && operation.len_before >= end,
            })
    }

    /// Changes what is on the device. The range must be settled.
    pub(super) fn alter(&mut self, offset: u64, bytes: &[u8]) {
        self.content.write(offset, bytes);
    }

    /// The operations a sync begun now would cover, oldest first.
    pub(super) fn dirty(&self) -> impl Iterator<Item = &Operation> {
        self.unsynced.iter().filter(|operation| operation.state == State::Dirty)
    }

    /// How many operations are not durable and cannot be any more.
    pub(super) fn lost(&self) -> usize {
        self.unsynced.iter().filter(|operation| operation.state == State::Clean).count()
    }

    /// How many operations are not durable; a bound, and exact unless a sync has failed.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Length that the durable content has.
    pub(super) fn durable_len(&self) -> u64 {
        let Some(first) = self.unsynced.first() else { return self.len() };
        self.unsynced.iter().filter(|operation| operation.state == State::Durable).fold(
            first.len_before,
            |len, operation| match operation.change {
                Change::Write { offset, len: written } => len.max(offset + written),
                Change::SetLen { len } => len,
            },
        )
    }

    /// True if the durable content agrees with the cache below `offset`, as far as lengths and ranges tell.
    pub(super) fn is_durable_to(&self, offset: u64) -> bool {
        offset <= self.len().min(self.durable_len())
            && self.unsynced.iter().filter(|operation| operation.state != State::Durable).all(|operation| {
                match operation.change {
                    Change::Write { offset: at, len } => at >= offset || len == 0,
                    Change::SetLen { len } => len >= offset && operation.len_before >= offset,
                }
            })
    }

    /// The durable content. Takes time in proportion to what is not durable.
    pub(super) fn durable_bytes(&self) -> Bytes {
        let mut copy = self.clone();
        copy.crash(|_| Survival::Lost);
        copy.read(0, copy.len())
    }

    /// Power is lost: the content becomes the durable one and what survives of the operations, all of it durable.
    pub(super) fn crash(&mut self, mut survival: impl FnMut(&Operation) -> Survival) {
        let fates: Vec<Survival> = self
            .unsynced
            .iter()
            .map(|operation| match operation.state {
                State::Dirty => survival(operation),
                State::Clean => Survival::Lost,
                State::Durable => Survival::Kept,
            })
            .collect();
        let unsynced = std::mem::take(&mut self.unsynced);
        let mut redo = Vec::new();
        for (operation, fate) in unsynced.iter().rev().zip(fates.into_iter().rev()) {
            match operation.change {
                Change::Write { offset, len } => {
                    let ranges = match fate {
                        Survival::Lost => Vec::new(),
                        Survival::Kept => vec![(offset, len)],
                        Survival::Torn(ranges) => ranges,
                    };
                    redo.extend(
                        ranges.into_iter().rev().map(|(at, len)| Redo::Write { at, bytes: self.content.read(at, len) }),
                    );
                    self.content.punch(offset, offset + len);
                }
                Change::SetLen { len } => match fate {
                    Survival::Lost => {}
                    Survival::Kept => redo.push(Redo::SetLen { len }),
                    Survival::Torn(_) => unreachable!("a change of length is not torn"),
                },
            }
            self.content.set_len(operation.len_before);
            for (at, bytes) in &operation.before {
                self.content.write(*at, bytes);
            }
            assert_eq!(self.content.len(), operation.len_before, "what was overwritten lay below the length");
        }
        for step in redo.into_iter().rev() {
            match step {
                Redo::Write { at, bytes } => self.content.write(at, &bytes),
                Redo::SetLen { len } => self.content.set_len(len),
            }
        }
    }
}

/// An operation that survived, with what it wrote.
enum Redo {
    Write { at: u64, bytes: Bytes },
    SetLen { len: u64 },
}

/// Operations in order of their sequence, in shared chunks: a file that is never synced may collect very many.
#[derive(Clone, Debug, Default)]
struct Unsynced {
    chunks: VecDeque<Arc<Vec<Operation>>>,
    len: usize,
}

const CHUNK: usize = 64;

impl Unsynced {
    const fn len(&self) -> usize {
        self.len
    }

    fn push(&mut self, operation: Operation) {
        self.len += 1;
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK => Arc::make_mut(chunk).push(operation),
            Some(_) | None => self.chunks.push_back(Arc::new(vec![operation])),
        }
    }

    fn first(&self) -> Option<&Operation> {
        self.chunks.front().and_then(|chunk| chunk.first())
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &Operation> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Moves the dirty operations below `covered` into another state.
    fn mark(&mut self, covered: Sequence, state: State) {
        for chunk in &mut self.chunks {
            if chunk.first().is_none_or(|operation| operation.sequence >= covered) {
                break;
            }
            for operation in Arc::make_mut(chunk) {
                if operation.state == State::Dirty && operation.sequence < covered {
                    operation.state = state;
                }
            }
        }
    }

    /// Moves the last operation into another state, if it is dirty.
    fn mark_last(&mut self, state: State) {
        let last = self.chunks.back_mut().and_then(|chunk| Arc::make_mut(chunk).last_mut());
        if let Some(operation) = last.filter(|operation| operation.state == State::Dirty) {
            operation.state = state;
        }
    }

    /// Drops the oldest operations as long as they are durable: nothing has to be undone below them.
    fn drop_durable(&mut self) {
        while let Some(chunk) = self.chunks.front_mut() {
            let durable = chunk.iter().take_while(|operation| operation.state == State::Durable).count();
            self.len -= durable;
            if durable < chunk.len() {
                if durable > 0 {
                    Arc::make_mut(chunk).drain(..durable);
                }
                return;
            }
            self.chunks.pop_front();
        }
    }
}
