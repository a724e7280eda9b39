//! What changes a log: appends, flushes, epochs, the high watermark (kafka-broker.md §5.5, §5.8, §5.10, appendix B).

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use kafkawire::{BadBatch, Batch, BatchHeader, LeaderEpoch, Offset};
use machine::disk::DiskError;
use machine::{Io, Ticket, Vocabulary};

use crate::desk::{Desk, Owner};
use crate::log::Flush;
use crate::segment::Segment;
use crate::{CommitLogMark, Log, LogConfig};

/// A log that is being changed, with its log dir's table of tickets; reads as a [`Log`].
///
/// Truncations are at the [`LogManager`](crate::LogManager), because they are checkpointed for the whole log dir.
#[derive(Debug)]
pub struct LogMut<'a> {
    pub(crate) log: &'a mut Log,
    pub(crate) desk: &'a mut Desk,
}

impl Deref for LogMut<'_> {
    type Target = Log;

    fn deref(&self) -> &Log {
        self.log
    }
}

/// A batch that was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset of its last record.
    pub last: Offset,
    /// Its header as it is in the log.
    pub header: BatchHeader,
    /// `flush.messages` was reached: nobody may be told of the append before the recovery point reaches this offset.
    pub flush_first: Option<Offset>,
}

/// Why nothing was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// CORRUPT_MESSAGE: the batch is none, or not the one its CRC was made of.
    #[error("the batch is corrupt")]
    Corrupt(#[from] BadBatch),
    /// INVALID_RECORD: a producer's batch must be one, begin at 0, count its offsets and be no control batch.
    #[error("the batch is not one that a producer may send")]
    Invalid,
    /// MESSAGE_TOO_LARGE: a producer's batch is larger than `max.message.bytes`.
    #[error("the batch is larger than max.message.bytes")]
    TooLarge,
    /// RECORD_LIST_TOO_LARGE: what is appended at once is larger than `segment.bytes`.
    #[error("the batches are larger than segment.bytes")]
    LargerThanSegment,
    /// A batch begins before the log's end (`UnexpectedAppendOffsetException`), or that of the batch before it
    /// (`OffsetsOutOfOrderException`).
    #[error("the batches begin at {found}, the log ends at {expected}")]
    UnexpectedOffset {
        /// The log's end.
        expected: Offset,
        /// Where the batch that does not follow begins.
        found: Offset,
    },
    /// The disk failed: the log dir is to be given up (§3.8).
    #[error("writing failed")]
    Disk(#[from] DiskError),
}

impl LogMut<'_> {
    /// Appends a producer's batch as the leader of an epoch (§5.5, steps 4 and 5): it gets the log's end as its offsets, and
    /// the epoch.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then, unless it was the disk that failed.
    pub fn append_as_leader<V: Vocabulary>(
        &mut self,
        batch: &Batch,
        epoch: LeaderEpoch,
        io: &mut Io<'_, V>,
    ) -> Result<Appended, AppendError> {
        let header = &batch.header;
        let counts = header.record_count > 0 && header.last_offset_delta == header.record_count - 1;
        if header.base_offset != Offset::ZERO || !counts || header.is_control() {
            return Err(AppendError::Invalid);
        }
        if batch.bytes.len() as u64 > self.config.max_message_bytes {
            return Err(AppendError::TooLarge);
        }
        self.check_crc(batch)?;
        let stamped = batch.stamped(self.log_end, epoch);
        let flush_first = self.append(&stamped.bytes, &[stamped.header], io)?;
        Ok(appended(stamped.header, flush_first))
    }

    /// Appends what a leader sent to its follower (§5.10): offsets and epochs are those of the batches. An incomplete batch at
    /// the end is left out.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then, unless it was the disk that failed. A gap is none: a leader whose log was truncated in the midst of a batch has
    /// one, since the whole batch went and the log's end is what was asked for (§5.10).
    pub fn append_as_follower<V: Vocabulary>(
        &mut self,
        batches: &Bytes,
        io: &mut Io<'_, V>,
    ) -> Result<Vec<Appended>, AppendError> {
        let mut headers: Vec<BatchHeader> = Vec::new();
        let (mut at, mut expected) = (0, self.log_end);
        loop {
            let batch = match Batch::read(batches, at) {
                Ok(Some(batch)) => batch,
                Ok(None) | Err(BadBatch::TooShort) => break,
                Err(bad) => return Err(bad.into()),
            };
            let found = batch.header.base_offset;
            if found < expected {
                io.reach(CommitLogMark::UnexpectedAppend);
                return Err(AppendError::UnexpectedOffset { expected, found });
            }
            if batch.header.last_offset_delta < 0 {
                return Err(AppendError::Invalid);
            }
            self.check_crc(&batch)?;
            at += batch.header.size();
            expected = batch.header.next_offset();
            headers.push(batch.header);
        }
        if headers.is_empty() {
            return Ok(Vec::new());
        }
        let flush_first = self.append(&batches[..at], &headers, io)?;
        Ok(headers.into_iter().map(|header| appended(header, flush_first)).collect())
    }

    fn check_crc(&self, batch: &Batch) -> Result<(), BadBatch> {
        if self.config.mutant.skips_crc { Ok(()) } else { batch.check_crc() }
    }

    /// Appends stamped batches, all into one segment; returns what the append has to wait for.
    fn append<V: Vocabulary>(
        &mut self,
        bytes: &[u8],
        headers: &[BatchHeader],
        io: &mut Io<'_, V>,
    ) -> Result<Option<Offset>, AppendError> {
        if bytes.len() as u64 > self.config.segment_bytes {
            return Err(AppendError::LargerThanSegment);
        }
        let last = headers.last().expect("an append has a batch").last_offset();
        let max_timestamp = headers.iter().map(|header| header.max_timestamp).max().expect("an append has a batch");
        let mut is_news = false;
        for header in headers.iter().filter(|header| header.leader_epoch >= 0) {
            is_news |= self.log.epochs.assign(LeaderEpoch(header.leader_epoch), header.base_offset);
        }
        if is_news {
            self.write_epochs(io)?;
        }
        let now = io.wall_clock();
        if self.log.active.must_roll(&self.log.config, bytes.len() as u64, last, max_timestamp, now) {
            self.roll(io)?;
        }
        let Log { active, config, log_end, .. } = &mut *self.log;
        let appended = active.append(io.disk(), config, bytes, headers);
        // Whatever failed after that: what is in the file is in the log.
        *log_end = active.next_offset().max(*log_end);
        appended?;
        if self.unflushed() < self.config.flush_messages {
            return Ok(None);
        }
        self.flush(io);
        Ok(Some(self.log_end))
    }

    /// Begins a new segment at the log's end, and the flush of what lies below it.
    fn roll<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<(), DiskError> {
        io.reach(CommitLogMark::Rolled);
        self.log.active.complete_time_index(io.disk())?;
        let created = io.wall_clock();
        let base = self.log.log_end;
        assert!(base > self.log.active.base, "{}: a second segment at {base}", self.log.tp);
        let segment = Segment::create(io.disk(), &self.log.dir, base, created)?;
        let rolled = std::mem::replace(&mut self.log.active, segment);
        Arc::make_mut(&mut self.log.sealed).push(Arc::new(rolled));
        self.begin_flush(base, io);
        Ok(())
    }

    /// Begins to make everything durable. The recovery point follows when the syncs are done: see
    /// [`LogEvent::Flushed`](crate::LogEvent::Flushed).
    pub fn flush<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) {
        self.begin_flush(self.log.log_end, io);
    }

    /// Syncs the segments that hold offsets up to the given one, from where the flush before ends: that of the latest that is in flight, or
    /// the recovery point. The real flush syncs from the recovery point each time, which costs it nothing for what is clean or on
    /// its way; here each sync takes the disk's time.
    fn begin_flush<V: Vocabulary>(&mut self, up_to: Offset, io: &mut Io<'_, V>) {
        self.log.last_flush = io.now();
        // A flush in flight was begun after all that was appended that it is to cover.
        let from = self.log.flushes.last().map_or(Offset::ZERO, |flush| flush.up_to).max(self.log.recovery_point);
        if from >= up_to {
            return;
        }
        let mut waiting = Vec::new();
        let mut is_new = false;
        for at in self.log.floor(from)..=self.log.sealed.len() {
            let segment = self.log.segment(at);
            if segment.base >= up_to {
                break;
            }
            is_new |= segment.base >= from;
            waiting.push(io.sync(segment.log));
            waiting.push(io.sync(segment.offsets.file));
            waiting.push(io.sync(segment.times.file));
        }
        if is_new {
            waiting.push(io.sync_directory());
        }
        for &ticket in &waiting {
            self.desk.expect(ticket, Owner::Log(self.log.tp.clone()));
        }
        self.log.flushes.push(Flush { up_to, waiting });
    }

    /// A sync of this log is done; returns whether the recovery point moved.
    pub(crate) fn on_durable<V: Vocabulary>(&mut self, ticket: Ticket, io: &mut Io<'_, V>) -> Result<bool, DiskError> {
        let Log { epochs_file, epochs, .. } = &mut *self.log;
        if let Some(next) = epochs_file.on_durable(ticket, || epochs.clone(), io)? {
            self.desk.expect(next, Owner::Log(self.log.tp.clone()));
        }
        let Some(at) = self.log.flushes.iter().position(|flush| flush.waiting.contains(&ticket)) else {
            return Ok(false);
        };
        self.log.flushes[at].waiting.retain(|&waiting| waiting != ticket);
        // A flush covers nothing below the end of the one before it.
        let done = self.log.flushes.iter().take_while(|flush| flush.waiting.is_empty()).count();
        let up_to = self.log.flushes.drain(..done).next_back().map_or(Offset::ZERO, |flush| flush.up_to);
        let moves = up_to > self.log.recovery_point;
        if moves {
            self.log.recovery_point = up_to;
        }
        Ok(moves)
    }

    /// The leader of an epoch begins at the log's end, even if it never writes (§5.9, KAFKA-7415). Returns where that is.
    ///
    /// # Errors
    /// Of writing the epoch checkpoint.
    pub fn begin_epoch<V: Vocabulary>(&mut self, epoch: LeaderEpoch, io: &mut Io<'_, V>) -> Result<Offset, DiskError> {
        let start = self.log.log_end;
        if self.log.epochs.assign(epoch, start) {
            self.write_epochs(io)?;
        }
        Ok(start)
    }

    pub(crate) fn write_epochs<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<(), DiskError> {
        let Log { epochs_file, epochs, .. } = &mut *self.log;
        match epochs_file.write(|| epochs.clone(), io)? {
            Some(ticket) => self.desk.expect(ticket, Owner::Log(self.log.tp.clone())),
            None => io.reach(CommitLogMark::EpochsWaited),
        }
        Ok(())
    }

    /// Raises the high watermark; a lower one changes nothing, because only a truncation lowers it. Returns whether it rose.
    ///
    /// # Panics
    /// If the offset lies outside the log: the caller has taken the smaller of it and the log's end.
    pub fn set_high_watermark(&mut self, offset: Offset) -> bool {
        let Log { tp, log_start, log_end, .. } = &*self.log;
        assert!(offset >= *log_start, "{tp}: high watermark {offset} before the log start {log_start}");
        assert!(offset <= *log_end, "{tp}: high watermark {offset} beyond the log end {log_end}");
        let rises = offset > self.log.high_watermark;
        if rises {
            self.log.high_watermark = offset;
        }
        rises
    }

    /// A follower learns that the leader's log starts later (§5.10): so does this one. Returns whether that was news.
    ///
    /// Segments before it stay: only retention, which is absent, would delete them.
    ///
    /// # Errors
    /// Of writing the epoch checkpoint.
    ///
    /// # Panics
    /// If the offset lies beyond the high watermark.
    pub fn raise_log_start<V: Vocabulary>(&mut self, to: Offset, io: &mut Io<'_, V>) -> Result<bool, DiskError> {
        let Log { tp, high_watermark, .. } = &*self.log;
        assert!(to <= *high_watermark, "{tp}: log start {to} beyond the high watermark {high_watermark}");
        if to <= self.log.log_start {
            return Ok(false);
        }
        self.log.log_start = to;
        if self.log.epochs.truncate_from_start(to) {
            self.write_epochs(io)?;
        }
        Ok(true)
    }

    /// Changes the configuration: that of the topic changed.
    pub fn reconfigure(&mut self, config: LogConfig) {
        self.log.config = Arc::new(config);
    }
}

fn appended(header: BatchHeader, flush_first: Option<Offset>) -> Appended {
    Appended { base: header.base_offset, last: header.last_offset(), header, flush_first }
}
