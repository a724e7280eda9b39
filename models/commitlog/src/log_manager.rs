//! All logs of one log dir, their checkpoints, their deletion and their end (kafka-broker.md §3.6, §5.1, §5.3).

mod shutdown;

use std::sync::Arc;

use kafkawire::{Offset, TopicPartition};
use machine::disk::DiskError;
use machine::{Digest, Instant, Io, Purpose, Ticket, Vocabulary};

use crate::checkpoint::{CheckpointFile, Offsets};
use crate::desk::{Desk, Owner};
use crate::layout::{LEADER_EPOCHS, deleted_dir};
pub(crate) use crate::log_manager::shutdown::Shutdown;
use crate::log_table::LogTable;
use crate::segment::Segment;
use crate::{EpochCache, Log, LogConfig, LogId, LogMut, MetaProperties, Truncated};

/// The id in the name of a deleted partition's directory.
const DELETED_ID: Purpose = Purpose::new("log-deleted-id");

/// The logs of a broker's log dir: a part of a broker, which lends it its `io` and hands it the tickets it
/// [owns](LogManager::owns).
///
/// After any error the log dir is to be given up (§3.8); with one log dir that means that the broker halts. A clone costs a few
/// reference counts; the first change after it copies one pointer per log, and of the changed log less than a chunk.
#[derive(Clone, Debug)]
pub struct LogManager {
    pub(crate) dir: Arc<str>,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) logs: LogTable,
    pub(crate) desk: Desk,
    pub(crate) high_watermarks: CheckpointFile<Offsets>,
    pub(crate) recovery_points: CheckpointFile<Offsets>,
    pub(crate) log_starts: CheckpointFile<Offsets>,
    pub(crate) meta_properties: CheckpointFile<Option<MetaProperties>>,
    /// What `meta.properties` is to hold.
    pub(crate) meta_wanted: Option<MetaProperties>,
    pub(crate) shutdown: Shutdown,
}

fn high_watermarks_of(logs: &LogTable) -> Offsets {
    let hosted = logs.iter().filter(|(_, log)| log.is_hosted);
    hosted.map(|(tp, log)| (tp.clone(), log.high_watermark)).collect()
}

fn recovery_points_of(logs: &LogTable) -> Offsets {
    logs.iter().map(|(tp, log)| (tp.clone(), log.recovery_point)).collect()
}

fn log_starts_of(logs: &LogTable) -> Offsets {
    let inside = logs.iter().filter(|(_, log)| log.log_start > log.segment(0).base);
    inside.map(|(tp, log)| (tp.clone(), log.log_start)).collect()
}

/// What a finished sync brought about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEvent {
    /// The recovery point of a log moved: what waits for a flush may go on.
    Flushed {
        /// The partition.
        tp: TopicPartition,
        /// Everything below it is durable.
        recovery_point: Offset,
    },
    /// `meta.properties` is in place.
    MetaPropertiesWritten,
    /// The shutdown is complete: the log dir is marked as cleanly closed.
    ShutDown,
}

impl LogManager {
    /// The log of a partition.
    #[must_use]
    pub fn log(&self, tp: &TopicPartition) -> Option<&Log> {
        self.logs.get(self.logs.find(tp)?)
    }

    /// The log of a partition, to be changed.
    pub fn log_mut(&mut self, tp: &TopicPartition) -> Option<LogMut<'_>> {
        let log = self.logs.get_mut(self.logs.find(tp)?)?;
        Some(LogMut { log, desk: &mut self.desk })
    }

    /// The id of a partition's log, for [`at`](Self::at) and [`at_mut`](Self::at_mut).
    #[must_use]
    pub fn find(&self, tp: &TopicPartition) -> Option<LogId> {
        self.logs.find(tp)
    }

    /// The log of that id.
    ///
    /// # Panics
    /// If it was deleted.
    #[must_use]
    pub fn at(&self, id: LogId) -> &Log {
        self.logs.get(id).expect("whoever holds an id knows of the deletion")
    }

    /// The log of that id, to be changed.
    ///
    /// # Panics
    /// If it was deleted.
    pub fn at_mut(&mut self, id: LogId) -> LogMut<'_> {
        let log = self.logs.get_mut(id).expect("whoever holds an id knows of the deletion");
        LogMut { log, desk: &mut self.desk }
    }

    /// All logs, in order of their partitions.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Log)> {
        self.logs.iter()
    }

    /// The configuration of logs that have none of their own.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Creates an empty log: its directory, its first segment, its epoch checkpoint.
    ///
    /// # Errors
    /// Of creating the files.
    ///
    /// # Panics
    /// If the partition has a log, or the log dir is being shut down.
    pub fn create<V: Vocabulary>(&mut self, tp: &TopicPartition, io: &mut Io<'_, V>) -> Result<LogMut<'_>, DiskError> {
        assert!(self.log(tp).is_none(), "{tp} has a log");
        assert!(!self.is_shutting_down(), "{tp} is created in a log dir that is being shut down");
        let dir: Arc<str> = Arc::from(format!("{}/{tp}", self.dir));
        let created = io.wall_clock();
        let active = Segment::create(io.disk(), &dir, Offset::ZERO, created)?;
        let epochs_path = format!("{dir}/{LEADER_EPOCHS}");
        io.disk().create(&epochs_path)?;
        let log = Log {
            tp: tp.clone(),
            config: Arc::clone(&self.config),
            sealed: Arc::default(),
            active,
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            high_watermark: Offset::ZERO,
            recovery_point: Offset::ZERO,
            epochs: EpochCache::default(),
            epochs_file: CheckpointFile::new(epochs_path, EpochCache::default()),
            flushes: Vec::new(),
            last_flush: io.now(),
            is_hosted: false,
            dir,
        };
        let id = self.logs.insert(log);
        Ok(self.at_mut(id))
    }

    /// Deletes a log: its directory is renamed, its files go after `file.delete.delay.ms`. False if there is none.
    ///
    /// `Simplified:` a directory is renamed file by file, the oldest last, and a loss of power may leave the older part of the
    /// log under its name, where the real rename is one operation.
    ///
    /// # Errors
    /// Of renaming the files.
    pub fn delete<V: Vocabulary>(&mut self, tp: &TopicPartition, io: &mut Io<'_, V>) -> Result<bool, DiskError> {
        let Some(log) = self.logs.remove(tp) else { return Ok(false) };
        let mut draw = io.draw(DELETED_ID);
        let id = (u128::from(draw.bits()) << 64) | u128::from(draw.bits());
        let renamed_dir = format!("{}/{}", self.dir, deleted_dir(tp, id));
        let mut renamed = Vec::new();
        for path in io.disk().list(&format!("{}/", log.dir)).iter().rev() {
            let to = format!("{renamed_dir}/{}", &path[log.dir.len() + 1..]);
            io.disk().rename(path, &to)?;
            renamed.push(to);
        }
        self.desk.remove_at(io.now().saturating_add(log.config.file_delete_delay), renamed);
        self.desk.expect(io.sync_directory(), Owner::LogDir);
        self.checkpoint_recovery_points(io)?;
        self.checkpoint_log_start_offsets(io)?;
        Ok(true)
    }

    /// When [`LogManager::remove_deleted`] has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.desk.removals.keys().next().map(|&(due, _)| due)
    }

    /// Removes the files that were deleted long enough ago. Returns how many there were.
    ///
    /// # Errors
    /// Of removing one.
    pub fn remove_deleted<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<usize, DiskError> {
        let mut removed = 0;
        while let Some(first) = self.desk.removals.first_entry().filter(|first| first.key().0 <= io.now()) {
            for path in first.remove() {
                match io.disk().remove(&path) {
                    Ok(()) => removed += 1,
                    // A directory deleted since took the file with it; or a later file had the same name, and went with this one.
                    Err(DiskError::NotFound) => {}
                    Err(error @ (DiskError::Io | DiskError::NoSpace)) => return Err(error),
                }
            }
        }
        Ok(removed)
    }

    /// Cuts a log at an offset (§5.10): at or beyond its end, only the epochs are cut; before its first segment, it is emptied
    /// and begins there. The high watermark is not beyond the end afterwards.
    ///
    /// `Simplified:` the real truncation returns when the recovery points are checkpointed. Lost: a loss of power before that
    /// finds the old recovery point, and does not scan segments that were written again since below it.
    ///
    /// # Errors
    /// Of changing the files.
    ///
    /// # Panics
    /// If the partition has no log.
    pub fn truncate_to<V: Vocabulary>(
        &mut self,
        tp: &TopicPartition,
        to: Offset,
        io: &mut Io<'_, V>,
    ) -> Result<Truncated, DiskError> {
        let truncated = self.log_mut(tp).expect("a log that is truncated exists").truncate_to(to, io)?;
        if truncated.to < truncated.from {
            self.checkpoint_recovery_points(io)?;
        }
        Ok(truncated)
    }

    /// Empties a log and lets it begin at an offset, with its high watermark there (§5.10, KAFKA-9491).
    ///
    /// # Errors
    /// Of changing the files.
    ///
    /// # Panics
    /// If the partition has no log.
    pub fn truncate_fully_and_start_at<V: Vocabulary>(
        &mut self,
        tp: &TopicPartition,
        at: Offset,
        io: &mut Io<'_, V>,
    ) -> Result<Truncated, DiskError> {
        let mut log = self.log_mut(tp).expect("a log that is truncated exists");
        let truncated = log.truncate_fully_and_start_at(at, io)?;
        self.checkpoint_recovery_points(io)?;
        Ok(truncated)
    }

    /// The high watermark that `replication-offset-checkpoint` holds for a partition.
    #[must_use]
    pub fn checkpointed_high_watermark(&self, tp: &TopicPartition) -> Option<Offset> {
        self.high_watermarks.in_place().of(tp)
    }

    /// A partition stands on a log from now on: its high watermark becomes the checkpointed one, or 0, but neither beyond the
    /// log's end nor before its start (§5.3). Returns it.
    ///
    /// # Panics
    /// If the partition has no log.
    pub fn restore_high_watermark(&mut self, tp: &TopicPartition) -> Offset {
        let checkpointed = self.checkpointed_high_watermark(tp).unwrap_or(Offset::ZERO);
        let log = self.log_mut(tp).expect("a log whose high watermark is restored exists").log;
        log.is_hosted = true;
        log.high_watermark = checkpointed.min(log.log_end).max(log.log_start);
        log.high_watermark
    }

    /// No partition stands on a log any more, as after a StopReplica: its high watermark is checkpointed no more.
    pub fn forget_high_watermark(&mut self, tp: &TopicPartition) {
        if let Some(log) = self.log_mut(tp) {
            log.log.is_hosted = false;
        }
    }

    /// Writes `replication-offset-checkpoint`: of the logs that a partition stands on, and of no others (KAFKA-1647).
    ///
    /// # Errors
    /// Of the write.
    pub fn checkpoint_high_watermarks<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<(), DiskError> {
        let ticket = self.high_watermarks.write(|| high_watermarks_of(&self.logs), io)?;
        self.expect(ticket, Owner::HighWatermarks);
        Ok(())
    }

    /// Writes `recovery-point-offset-checkpoint`.
    ///
    /// # Errors
    /// Of the write.
    pub fn checkpoint_recovery_points<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<(), DiskError> {
        let ticket = self.recovery_points.write(|| recovery_points_of(&self.logs), io)?;
        self.expect(ticket, Owner::RecoveryPoints);
        Ok(())
    }

    /// Writes `log-start-offset-checkpoint`: of the logs that do not start with their first segment.
    ///
    /// # Errors
    /// Of the write.
    pub fn checkpoint_log_start_offsets<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<(), DiskError> {
        let ticket = self.log_starts.write(|| log_starts_of(&self.logs), io)?;
        self.expect(ticket, Owner::LogStarts);
        Ok(())
    }

    /// Begins the flush of every log that has been unflushed for `flush.ms`: what the log flusher does every
    /// `log.flush.scheduler.interval.ms`.
    pub fn flush_dirty<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) {
        let now = io.now();
        let is_due = |log: &Log| {
            let idle_ms = now.saturating_since(log.last_flush).as_millis();
            log.unflushed() > 0 && i64::try_from(idle_ms).is_ok_and(|idle_ms| idle_ms >= log.config.flush_ms)
        };
        let due: Vec<TopicPartition> = self.iter().filter(|(_, log)| is_due(log)).map(|(tp, _)| tp.clone()).collect();
        for tp in due {
            self.log_mut(&tp).expect("the log was just looked at").flush(io);
        }
    }

    /// What `meta.properties` holds.
    #[must_use]
    pub fn meta_properties(&self) -> Option<&MetaProperties> {
        self.meta_properties.in_place().as_ref()
    }

    /// Writes `meta.properties`; [`LogEvent::MetaPropertiesWritten`] follows.
    ///
    /// # Errors
    /// Of the write.
    pub fn write_meta_properties<V: Vocabulary>(
        &mut self,
        properties: MetaProperties,
        io: &mut Io<'_, V>,
    ) -> Result<(), DiskError> {
        self.meta_wanted = Some(properties);
        let ticket = self.meta_properties.write(|| self.meta_wanted.clone(), io)?;
        self.expect(ticket, Owner::MetaProperties);
        Ok(())
    }

    /// Whether a ticket was asked for here.
    #[must_use]
    pub fn owns(&self, ticket: Ticket) -> bool {
        self.desk.tickets.contains_key(&ticket)
    }

    /// A sync is done, or failed.
    ///
    /// # Errors
    /// The failure of the sync, or of what followed it: the log dir is to be given up.
    ///
    /// # Panics
    /// If the ticket is not [owned](LogManager::owns).
    pub fn on_durable<V: Vocabulary>(
        &mut self,
        ticket: Ticket,
        result: Result<(), DiskError>,
        io: &mut Io<'_, V>,
    ) -> Result<Option<LogEvent>, DiskError> {
        let owner = self.desk.tickets.get(&ticket).expect("a ticket of this log dir").clone();
        // What a failed sync was to cover never becomes durable: who waits for it waits for ever.
        result?;
        self.desk.tickets.remove(&ticket);
        let mut event = None;
        match owner {
            Owner::Log(tp) => {
                // A log deleted since waits for nothing.
                if let Some(mut log) = self.log_mut(&tp)
                    && log.on_durable(ticket, io)?
                {
                    let recovery_point = log.recovery_point;
                    event = Some(LogEvent::Flushed { tp, recovery_point });
                }
            }
            Owner::HighWatermarks => {
                let next = self.high_watermarks.on_durable(ticket, || high_watermarks_of(&self.logs), io)?;
                self.expect(next, Owner::HighWatermarks);
            }
            Owner::RecoveryPoints => {
                let next = self.recovery_points.on_durable(ticket, || recovery_points_of(&self.logs), io)?;
                self.expect(next, Owner::RecoveryPoints);
            }
            Owner::LogStarts => {
                let next = self.log_starts.on_durable(ticket, || log_starts_of(&self.logs), io)?;
                self.expect(next, Owner::LogStarts);
            }
            Owner::MetaProperties => {
                let next = self.meta_properties.on_durable(ticket, || self.meta_wanted.clone(), io)?;
                if next.is_none() {
                    event = Some(LogEvent::MetaPropertiesWritten);
                }
                self.expect(next, Owner::MetaProperties);
            }
            Owner::LogDir => {}
        }
        if self.desk.tickets.is_empty() && self.on_quiet(io)? {
            assert!(event.is_none(), "the last sync of a shutdown is that of a checkpoint: {event:?}");
            event = Some(LogEvent::ShutDown);
        }
        Ok(event)
    }

    fn expect(&mut self, ticket: Option<Ticket>, owner: Owner) {
        if let Some(ticket) = ticket {
            self.desk.expect(ticket, owner);
        }
    }

    /// Adds the positions of every log: no payload.
    pub fn digest(&self, into: &mut Digest) {
        into.word(self.logs.len() as u64);
        for (tp, log) in self.iter() {
            into.text(tp.topic.as_str());
            into.signed(i64::from(tp.partition));
            log.digest(into);
        }
        into.word(self.desk.tickets.len() as u64);
        into.word(self.desk.removals.len() as u64);
        self.shutdown.digest(into);
    }

    /// Panics if a log contradicts itself, or a ticket has nobody.
    pub fn check_invariants(&self) {
        for (tp, log) in self.iter() {
            assert_eq!(tp, log.topic_partition(), "a log is kept under its own name");
            log.check_invariants();
            for &ticket in log.flushes.iter().flat_map(|flush| &flush.waiting) {
                assert!(self.owns(ticket), "{tp} waits for {ticket}, which is nobody's");
            }
        }
    }
}
