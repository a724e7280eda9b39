//! `acceptedEpoch` and `currentEpoch` in memory, and their way to the disk (zookeeper.md §3.6).
//!
//! A write is three steps a crash can fall between: the temporary file and its sync, the rename, and whatever its writer does
//! then. The memory follows the rename.

use jute::PeerEpoch;
use machine::disk::DiskError;
use machine::{Io, Ticket};

use super::ZabWork;
use crate::config::ServerConfig;
use crate::defect::Defect;
use crate::store::EpochFile;
use crate::work::MAIN;
use crate::{Coordinator, Fact};

/// A write under way.
#[derive(Clone, Copy, Debug)]
struct Write {
    file: EpochFile,
    epoch: PeerEpoch,
    ticket: Ticket,
    term: u64,
}

/// The epochs as the disk has them, and the one write that may be under way: who writes waits for it.
#[derive(Clone, Debug)]
pub(crate) struct PeerEpochs {
    accepted: PeerEpoch,
    current: PeerEpoch,
    write: Option<Write>,
}

impl PeerEpochs {
    pub(crate) const fn new(accepted: PeerEpoch, current: PeerEpoch) -> Self {
        Self { accepted, current, write: None }
    }

    /// The highest epoch this server promised.
    pub(crate) const fn accepted(&self) -> PeerEpoch {
        self.accepted
    }

    /// The epoch of the last leader it was in step with.
    pub(crate) const fn current(&self) -> PeerEpoch {
        self.current
    }

    /// Begins a write; [`ZabWork::EpochWritten`] with this term is its end.
    ///
    /// # Errors
    /// Of the write.
    pub(super) fn begin(
        &mut self,
        file: EpochFile,
        epoch: PeerEpoch,
        term: u64,
        config: &ServerConfig,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), DiskError> {
        assert!(self.write.is_none(), "who writes an epoch waits for it");
        if config.defects.has(Defect::NoEpochFiles) {
            match file {
                EpochFile::Accepted => (self.accepted, self.current) = (epoch, self.current.min(epoch)),
                EpochFile::Current => self.current = epoch,
            }
            io.defer(MAIN, ZabWork::EpochWritten { term, file });
            return Ok(());
        }
        let known = match file {
            EpochFile::Accepted => self.accepted,
            EpochFile::Current => self.current,
        };
        assert!(epoch >= known, "{} never goes back, from {known} to {epoch}", file.name());
        let ticket = file.begin(config, epoch, io)?;
        self.write = Some(Write { file, epoch, ticket, term });
        Ok(())
    }

    pub(crate) fn owns_ticket(&self, ticket: Ticket) -> bool {
        self.write.is_some_and(|write| write.ticket == ticket)
    }

    /// The temporary file is durable: it takes the file's place.
    ///
    /// # Errors
    /// Of the sync or the rename; the file is then as it was.
    pub(super) fn on_durable(
        &mut self,
        result: Result<(), DiskError>,
        config: &ServerConfig,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(), DiskError> {
        let Write { file, epoch, term, .. } = self.write.take().expect("the ticket is owned");
        result?;
        if file == EpochFile::Current || !config.defects.has(Defect::PromiseNotPersisted) {
            file.finish(config, io.disk())?;
        }
        match file {
            EpochFile::Accepted => self.accepted = epoch,
            EpochFile::Current => self.current = epoch,
        }
        io.defer(MAIN, ZabWork::EpochWritten { term, file });
        Ok(())
    }

    /// States that a file has its new content.
    pub(super) fn state_written(&self, file: EpochFile, config: &ServerConfig, io: &mut Io<'_, Coordinator>) {
        if config.defects.has(Defect::NoEpochFiles) {
            return; // There is no file.
        }
        io.state(match file {
            EpochFile::Accepted => Fact::EpochAccepted { epoch: self.accepted },
            EpochFile::Current => Fact::EpochCurrent { epoch: self.current },
        });
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.current <= self.accepted, "a server is in step only with a leader it promised to follow");
    }
}
