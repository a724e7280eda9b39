//! The bytes of a file: sealed shared segments and one open tail.
//!
//! ```text
//!   0        64K       128K                 192K                                  64M
//!   ├─ sealed ┼─ sealed ┼─ open: 4K 4K 4K tail ┤      nothing stored: zeros        ┤ len
//! ```
//!
//! A clone costs one reference count for all sealed segments, one per full page of the open one, and a copy of the tail
//! of less than 4 KiB. An appended byte is copied into the tail once, and once more when its segment is sealed, so that
//! segments are contiguous and a read inside one shares it. Segments are keyed by number: a hole of any size costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

const PAGE: usize = 4 << 10;
const SEGMENT: usize = 64 << 10;
const SEGMENT_BYTES: u64 = 64 << 10;

/// The bytes of a file and its length. Bytes below the length that were never written are zeros and take no space.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    /// Each starts at its segment's first byte and ends where nothing more is stored.
    sealed: Arc<BTreeMap<u64, Bytes>>,
    sealed_bytes: u64,
    /// The segment written to last, which is never among the sealed ones.
    open: Option<Open>,
}

/// A segment that grows.
#[derive(Clone, Debug)]
struct Open {
    segment: u64,
    pages: Vec<Bytes>,
    /// Shorter than a page.
    tail: Vec<u8>,
}

impl Content {
    /// Length in bytes, holes included.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that take space.
    pub(super) fn stored(&self) -> u64 {
        self.sealed_bytes + self.open.as_ref().map_or(0, |open| open.len() as u64)
    }

    /// Bytes between the two offsets that take space.
    pub(super) fn stored_between(&self, from: u64, to: u64) -> u64 {
        self.segments_between(from, to)
            .into_iter()
            .map(|segment| {
                let (start, end) = clip(segment, from, to);
                self.stored_in(segment).min(end).saturating_sub(start) as u64
            })
            .sum()
    }

    /// Writes, growing the file if need be.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let start = within(at);
            let (part, later) = rest.split_at(rest.len().min(SEGMENT - start));
            self.write_in(at / SEGMENT_BYTES, start, part);
            at += part.len() as u64;
            rest = later;
        }
        self.len = self.len.max(at);
    }

    /// Cuts the file, or extends it by a hole.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.punch(len, self.len);
        }
        self.len = len;
    }

    /// Reads up to `len` bytes; shared with the file where one segment holds them all.
    pub(super) fn read(&self, offset: u64, len: u64) -> Bytes {
        let to = offset.saturating_add(len).min(self.len);
        if offset >= to {
            return Bytes::new();
        }
        let segments = self.segments_between(offset, to);
        if let [segment] = segments[..]
            && let Some(sealed) = self.sealed.get(&segment)
            && offset / SEGMENT_BYTES == (to - 1) / SEGMENT_BYTES
            && clip(segment, offset, to).1 <= sealed.len()
        {
            let (start, end) = clip(segment, offset, to);
            return sealed.slice(start..end);
        }
        let mut out = vec![0; size(to - offset)];
        for segment in segments {
            let (start, end) = clip(segment, offset, to);
            let end = end.min(self.stored_in(segment));
            if start < end {
                let into = size(segment * SEGMENT_BYTES + start as u64 - offset);
                self.copy_in(segment, start, &mut out[into..into + (end - start)]);
            }
        }
        Bytes::from(out)
    }

    /// The stored bytes between the two offsets, in order, without the holes.
    pub(super) fn pieces(&self, from: u64, to: u64) -> Vec<(u64, Bytes)> {
        let mut pieces = Vec::new();
        if from / SEGMENT_BYTES == to / SEGMENT_BYTES && within(from) >= self.stored_in(from / SEGMENT_BYTES) {
            return pieces; // An append, the case that has to be fast.
        }
        for segment in self.segments_between(from, to) {
            let (start, end) = clip(segment, from, to);
            let end = end.min(self.stored_in(segment));
            if start < end {
                let bytes = self.sealed.get(&segment).map_or_else(
                    || {
                        let mut copy = vec![0; end - start];
                        self.copy_in(segment, start, &mut copy);
                        Bytes::from(copy)
                    },
                    |sealed| sealed.slice(start..end),
                );
                pieces.push((segment * SEGMENT_BYTES + start as u64, bytes));
            }
        }
        pieces
    }

    /// Makes everything between the two offsets a hole again.
    pub(super) fn punch(&mut self, from: u64, to: u64) {
        for segment in self.segments_between(from, to) {
            let (start, end) = clip(segment, from, to);
            let stored = self.stored_in(segment);
            if start >= stored {
                continue;
            }
            let mut bytes = self.take(segment);
            if end >= stored {
                bytes.truncate(start);
            } else {
                bytes[start..end].fill(0);
            }
            self.seal(segment, Bytes::from(bytes));
        }
    }

    fn write_in(&mut self, segment: u64, start: usize, bytes: &[u8]) {
        if start < self.stored_in(segment) {
            let mut all = self.take(segment);
            if all.len() < start + bytes.len() {
                all.resize(start + bytes.len(), 0);
            }
            all[start..start + bytes.len()].copy_from_slice(bytes);
            self.seal(segment, Bytes::from(all));
        } else if bytes.len() == SEGMENT {
            self.seal(segment, Bytes::copy_from_slice(bytes));
        } else {
            let mut open = self.reopen(segment);
            open.append_zeros(start - open.len());
            open.append(bytes);
            if open.len() == SEGMENT {
                self.seal(segment, open.into_bytes());
            } else {
                self.open = Some(open);
            }
        }
    }

    /// Takes the segment out in order to grow it, sealing the one that was open.
    fn reopen(&mut self, segment: u64) -> Open {
        if let Some(open) = self.open.take() {
            if open.segment == segment {
                return open;
            }
            self.seal(open.segment, open.into_bytes());
        }
        let Some(sealed) = self.unseal(segment) else {
            return Open { segment, pages: Vec::new(), tail: Vec::new() };
        };
        let full = sealed.len() / PAGE;
        Open {
            segment,
            pages: (0..full).map(|page| sealed.slice(page * PAGE..(page + 1) * PAGE)).collect(),
            tail: sealed[full * PAGE..].to_vec(),
        }
    }

    /// Takes the segment's bytes out in order to change them.
    fn take(&mut self, segment: u64) -> Vec<u8> {
        match self.close_if(segment) {
            Some(bytes) => bytes.into(),
            None => self.unseal(segment).map(Vec::from).unwrap_or_default(),
        }
    }

    fn close_if(&mut self, segment: u64) -> Option<Bytes> {
        self.open.take_if(|open| open.segment == segment).map(Open::into_bytes)
    }

    fn seal(&mut self, segment: u64, bytes: Bytes) {
        if !bytes.is_empty() {
            assert!(bytes.len() <= SEGMENT, "a segment of {} bytes", bytes.len());
            self.sealed_bytes += bytes.len() as u64;
            let before = Arc::make_mut(&mut self.sealed).insert(segment, bytes);
            assert!(before.is_none(), "segment {segment} is sealed twice");
        }
    }

    fn unseal(&mut self, segment: u64) -> Option<Bytes> {
        if !self.sealed.contains_key(&segment) {
            return None;
        }
        let bytes = Arc::make_mut(&mut self.sealed).remove(&segment)?;
        self.sealed_bytes -= bytes.len() as u64;
        Some(bytes)
    }

    /// Where the stored bytes of a segment end, counted from its first byte.
    fn stored_in(&self, segment: u64) -> usize {
        match &self.open {
            Some(open) if open.segment == segment => open.len(),
            Some(_) | None => self.sealed.get(&segment).map_or(0, Bytes::len),
        }
    }

    /// The segments with stored bytes that the range touches, in order.
    fn segments_between(&self, from: u64, to: u64) -> Vec<u64> {
        if from >= to {
            return Vec::new();
        }
        let (first, last) = (from / SEGMENT_BYTES, (to - 1) / SEGMENT_BYTES);
        let mut segments: Vec<u64> = self.sealed.range(first..=last).map(|(&segment, _)| segment).collect();
        if let Some(open) = &self.open
            && (first..=last).contains(&open.segment)
        {
            let at = segments.partition_point(|&segment| segment < open.segment);
            segments.insert(at, open.segment);
        }
        segments
    }

    /// Copies stored bytes of one segment.
    fn copy_in(&self, segment: u64, start: usize, out: &mut [u8]) {
        match &self.open {
            Some(open) if open.segment == segment => open.copy(start, out),
            Some(_) | None => {
                let sealed = self.sealed.get(&segment).expect("only stored bytes are copied");
                out.copy_from_slice(&sealed[start..start + out.len()]);
            }
        }
    }
}

impl Open {
    const fn len(&self) -> usize {
        self.pages.len() * PAGE + self.tail.len()
    }

    fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.tail.capacity() < PAGE {
                self.tail.reserve_exact(PAGE - self.tail.len());
            }
            let (part, later) = rest.split_at(rest.len().min(PAGE - self.tail.len()));
            self.tail.extend_from_slice(part);
            self.turn_page();
            rest = later;
        }
    }

    fn append_zeros(&mut self, count: usize) {
        let mut rest = count;
        while rest > 0 {
            let part = rest.min(PAGE - self.tail.len());
            self.tail.resize(self.tail.len() + part, 0);
            self.turn_page();
            rest -= part;
        }
    }

    fn turn_page(&mut self) {
        if self.tail.len() == PAGE {
            self.pages.push(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }

    fn copy(&self, start: usize, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let at = start + done;
            let page: &[u8] = self.pages.get(at / PAGE).map_or(&self.tail, |page| page);
            let part = (out.len() - done).min(page.len() - at % PAGE);
            assert!(part > 0, "only stored bytes are copied");
            out[done..done + part].copy_from_slice(&page[at % PAGE..at % PAGE + part]);
            done += part;
        }
    }

    fn into_bytes(self) -> Bytes {
        let mut all = Vec::with_capacity(self.len());
        for page in &self.pages {
            all.extend_from_slice(page);
        }
        all.extend_from_slice(&self.tail);
        Bytes::from(all)
    }
}

/// The part of a segment between two offsets, counted from the segment's first byte.
fn clip(segment: u64, from: u64, to: u64) -> (usize, usize) {
    let base = segment * SEGMENT_BYTES;
    (size(from.saturating_sub(base).min(SEGMENT_BYTES)), size(to.saturating_sub(base).min(SEGMENT_BYTES)))
}

/// An offset counted from the first byte of its segment.
fn within(offset: u64) -> usize {
    size(offset % SEGMENT_BYTES)
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("what is held in memory fits the address space")
}
