//! Cutting a log (kafka-broker.md §5.10, last line).

use std::sync::Arc;

use kafkawire::Offset;
use machine::disk::DiskError;
use machine::{Io, Vocabulary};

use crate::log_mut::LogMut;
use crate::segment::Segment;
use crate::{CommitLogMark, Log};

/// What a truncation did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated {
    /// The log's end before.
    pub from: Offset,
    /// The log's end since.
    pub to: Offset,
    /// The high watermark before.
    pub high_watermark: Offset,
}

impl LogMut<'_> {
    pub(crate) fn truncate_to<V: Vocabulary>(
        &mut self,
        to: Offset,
        io: &mut Io<'_, V>,
    ) -> Result<Truncated, DiskError> {
        if to < self.log.segment(0).base {
            return self.truncate_fully_and_start_at(to, io);
        }
        let before = Truncated { from: self.log.log_end, to, high_watermark: self.log.high_watermark };
        if to >= self.log.log_end {
            // An epoch that this log's leader began and never wrote in would contradict the new leader's for ever (KAFKA-10706).
            if self.log.epochs.truncate_from_end(self.log.log_end) {
                io.reach(CommitLogMark::EpochTrimmedAtLogEnd);
                self.write_epochs(io)?;
            }
            return Ok(Truncated { to: self.log.log_end, ..before });
        }
        let kept = self.log.floor(to);
        if kept < self.log.sealed.len() {
            io.reach(CommitLogMark::TruncatedSegments);
            let bases: Vec<Offset> = self.log.segment_bases().skip(kept + 1).collect();
            // The youngest first: a crash on the way leaves no gap.
            for &base in bases.iter().rev() {
                self.delete_segment(base, io)?;
            }
            let sealed = Arc::make_mut(&mut self.log.sealed);
            sealed.truncate(kept + 1);
            let last = sealed.pop().expect("the segment the log ends in from now on");
            self.log.active = Arc::unwrap_or_clone(last);
        }
        let now = io.wall_clock();
        self.log.active.truncate_to(io.disk(), to, now)?;
        self.log.end_at(to, self.log.active.base);
        self.log.log_start = self.log.log_start.min(to);
        if self.log.epochs.truncate_from_end(to) {
            self.write_epochs(io)?;
        }
        Ok(before)
    }

    /// Empties the log and lets it begin at an offset; the high watermark and the log start go there, too (KAFKA-9491).
    pub(crate) fn truncate_fully_and_start_at<V: Vocabulary>(
        &mut self,
        at: Offset,
        io: &mut Io<'_, V>,
    ) -> Result<Truncated, DiskError> {
        io.reach(CommitLogMark::TruncatedFully);
        let before = Truncated { from: self.log.log_end, to: at, high_watermark: self.log.high_watermark };
        let bases: Vec<Offset> = self.log.segment_bases().collect();
        for &base in bases.iter().rev() {
            self.delete_segment(base, io)?;
        }
        let created = io.wall_clock();
        self.log.active = Segment::create(io.disk(), &self.log.dir, at, created)?;
        self.log.sealed = Arc::default();
        self.log.end_at(at, at);
        self.log.log_start = at;
        self.log.high_watermark = at;
        if self.log.epochs.clear() {
            self.write_epochs(io)?;
        }
        Ok(before)
    }

    /// Renames the files of a segment; they are removed after `file.delete.delay.ms`.
    fn delete_segment<V: Vocabulary>(&mut self, base: Offset, io: &mut Io<'_, V>) -> Result<(), DiskError> {
        let paths = Segment::rename_deleted(io.disk(), &self.log.dir, base)?;
        let due = io.now().saturating_add(self.log.config.file_delete_delay);
        self.desk.remove_at(due, paths);
        Ok(())
    }
}

impl Log {
    /// The log ends here, and of what is below the end only what is below `durable` is as the disk has it.
    ///
    /// The real recovery point goes down to the new end and no further, although the shortened file is not synced: a journaling
    /// file system makes it durable with whatever is synced next. The disk here need not, so the segment that was cut is
    /// unflushed as a whole: the next flush syncs it, and recovery scans it until then.
    fn end_at(&mut self, end: Offset, durable: Offset) {
        self.log_end = end;
        self.high_watermark = self.high_watermark.min(end);
        self.recovery_point = self.recovery_point.min(durable);
        for flush in &mut self.flushes {
            flush.up_to = flush.up_to.min(durable);
        }
    }
}
