//! Which life of a producer this is: what keeps the numbers of its records unique over restarts.
//!
//! A producer keeps one small file, `incarnation`, with the decimal number of its last life. A new life writes the next number
//! beside it, syncs, renames, syncs the directory, and sends nothing before that is durable: a power loss at any instant leaves
//! either the old number, and then nothing was sent under the new one, or the new one.

use machine::disk::{Disk, DiskError};
use machine::{Io, Ticket};

use crate::kafka::KafkaClient;

const FILE: &str = "incarnation";
const NEXT: &str = "incarnation.next";

/// Low bits of a record's number that count within a life; above them 16 bits name the life.
const COUNTER_BITS: u32 = 32;

/// How far a life is on its way to be sure of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The new file is being synced.
    Writing(Ticket),
    /// It has its name; the directory is being synced.
    Renaming(Ticket),
    /// The number is durable.
    Durable,
    /// The disk refuses: the process ends.
    Failed,
}

/// This life, and the numbers it hands out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incarnation {
    life: u16,
    sent: u32,
    step: Step,
}

impl Incarnation {
    pub(crate) fn begin(io: &mut Io<'_, KafkaClient>) -> Self {
        match Self::write_next(io) {
            Ok((life, ticket)) => Self { life, sent: 0, step: Step::Writing(ticket) },
            Err(_) => Self::fail(io),
        }
    }

    /// A file that cannot be read or written ends the process; its supervisor tries again.
    fn fail(io: &mut Io<'_, KafkaClient>) -> Self {
        io.exit(1);
        Self { life: 0, sent: 0, step: Step::Failed }
    }

    fn write_next(io: &mut Io<'_, KafkaClient>) -> Result<(u16, Ticket), DiskError> {
        let life = last_life(io.disk())?.checked_add(1).ok_or(DiskError::NoSpace)?;
        let file = io.disk().create(NEXT)?;
        io.disk().append(file, life.to_string().as_bytes())?;
        Ok((life, io.sync(file)))
    }

    pub(crate) fn on_durable(&mut self, ticket: Ticket, result: Result<(), DiskError>, io: &mut Io<'_, KafkaClient>) {
        let moved = match self.step {
            Step::Writing(waited) if waited == ticket => result.and_then(|()| {
                io.disk().rename(NEXT, FILE)?;
                Ok(Step::Renaming(io.sync_directory()))
            }),
            Step::Renaming(waited) if waited == ticket => result.map(|()| Step::Durable),
            Step::Writing(_) | Step::Renaming(_) | Step::Durable | Step::Failed => {
                panic!("{ticket} is not one this producer waits for")
            }
        };
        match moved {
            Ok(step) => self.step = step,
            Err(_) => *self = Self::fail(io),
        }
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.step == Step::Durable
    }

    /// The next record's number; ascending over all lives.
    pub(crate) fn next_number(&mut self) -> u64 {
        assert!(self.is_durable(), "nothing is numbered before the life is durable");
        let number = u64::from(self.life) << COUNTER_BITS | u64::from(self.sent);
        self.sent = self.sent.checked_add(1).expect("a life has four billion numbers");
        number
    }
}

fn last_life(disk: &mut dyn Disk) -> Result<u16, DiskError> {
    let file = match disk.open(FILE) {
        Ok(file) => file,
        Err(DiskError::NotFound) => return Ok(0),
        Err(other @ (DiskError::Io | DiskError::NoSpace)) => return Err(other),
    };
    let len = disk.len(file);
    let bytes = disk.read(file, 0, len)?;
    // Text that is no number any more is as good as a file that cannot be read.
    std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()).ok_or(DiskError::Io)
}
