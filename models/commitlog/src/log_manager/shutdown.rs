//! The clean end of a log dir (kafka-broker.md §3.6): logs flushed, checkpoints written, then the marker.

use machine::disk::DiskError;
use machine::{Digest, Io, Vocabulary};

use crate::LogManager;
use crate::layout::CLEAN_SHUTDOWN;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shutdown {
    /// The log dir is in use.
    No,
    /// The logs are being flushed, and whatever was being written before is.
    Flushing,
    /// Recovery points and log starts are being written.
    Checkpointing,
    /// The marker is there.
    Done,
}

impl Shutdown {
    pub(crate) fn digest(self, into: &mut Digest) {
        into.word(match self {
            Self::No => 0,
            Self::Flushing => 1,
            Self::Checkpointing => 2,
            Self::Done => 3,
        });
    }
}

impl LogManager {
    /// Closes the log dir: every log is flushed, recovery points and log starts are written, and when all of that is durable
    /// the marker of a clean shutdown is made. Returns whether that is so at once; otherwise
    /// [`LogEvent::ShutDown`](crate::LogEvent::ShutDown) follows. High watermarks are checkpointed by the caller, before.
    ///
    /// The marker itself is not synced, as in the real broker: without it the next start scans.
    ///
    /// # Errors
    /// Of any write.
    ///
    /// # Panics
    /// If the log dir is being closed already.
    pub fn shutdown<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<bool, DiskError> {
        assert_eq!(self.shutdown, Shutdown::No, "a log dir is closed once");
        self.shutdown = Shutdown::Flushing;
        let logs: Vec<_> = self.iter().map(|(tp, _)| tp.clone()).collect();
        for tp in &logs {
            let mut log = self.log_mut(tp).expect("the log was just listed");
            log.log.active.complete_time_index(io.disk())?;
            log.flush(io);
        }
        if self.desk.tickets.is_empty() { self.on_quiet(io) } else { Ok(false) }
    }

    /// Whether the log dir is being closed, or closed.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown != Shutdown::No
    }

    /// Whether the log dir is closed and marked.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shutdown == Shutdown::Done
    }

    /// Nothing is in flight: the next step of a shutdown. Returns whether it was the last one.
    pub(crate) fn on_quiet<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<bool, DiskError> {
        match self.shutdown {
            Shutdown::No | Shutdown::Done => Ok(false),
            Shutdown::Flushing => {
                for (tp, log) in self.iter() {
                    assert_eq!(log.recovery_point, log.log_end, "{tp} is not flushed");
                }
                self.shutdown = Shutdown::Checkpointing;
                self.checkpoint_recovery_points(io)?;
                self.checkpoint_log_start_offsets(io)?;
                Ok(false)
            }
            Shutdown::Checkpointing => {
                io.disk().create(&format!("{}/{CLEAN_SHUTDOWN}", self.dir))?;
                self.shutdown = Shutdown::Done;
                Ok(true)
            }
        }
    }
}
