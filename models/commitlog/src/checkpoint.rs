//! Small files that are replaced as a whole: written beside their place, synced, renamed (kafka-broker.md §0.3, §5.1).
//!
//! `Simplified:` the real code does all of that before the call returns. Here a sync is a ticket, so who changes something that
//! is checkpointed goes on at once and the file follows; what changes in between is written as one. Lost: the time a caller
//! waits. A crash may therefore find a file that is behind; who reads these files must not depend on more (`crate::loading`
//! derives the epochs of a log that was not closed from its batches).

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;

use kafkawire::{Offset, TopicPartition};
use machine::disk::{Disk, DiskError};
use machine::{Io, Ticket, Vocabulary};

/// What such a file holds.
pub(crate) trait Content: Clone + Debug {
    fn encode(&self) -> String;
    /// None if the text is none that [`Content::encode`] makes.
    fn decode(text: &str) -> Option<Self>;
}

/// What a file was found to hold.
#[derive(Clone, Debug)]
pub(crate) enum Found<C> {
    Nothing,
    Content(C),
    Malformed,
}

/// A file of the log dir that is replaced as a whole.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointFile<C> {
    path: Arc<str>,
    /// What the file holds.
    in_place: C,
    stage: Stage<C>,
    /// Something changed since what is being written: it has to be written again.
    is_stale: bool,
}

#[derive(Clone, Debug)]
enum Stage<C> {
    Idle,
    /// The new file is written beside the old one and waits to be durable.
    Syncing {
        ticket: Ticket,
        content: C,
    },
    /// The new file has taken the place of the old one, which waits to be durable.
    Renamed {
        ticket: Ticket,
    },
}

impl<C: Content> CheckpointFile<C> {
    /// A file that holds `in_place` already.
    pub(crate) fn new(path: impl Into<Arc<str>>, in_place: C) -> Self {
        Self { path: path.into(), in_place, stage: Stage::Idle, is_stale: false }
    }

    /// Reads a file; one that is missing is created empty, as the real code does. An empty one holds nothing.
    pub(crate) fn read(disk: &mut dyn Disk, path: &str) -> Result<Found<C>, DiskError> {
        let file = match disk.open(path) {
            Ok(file) => file,
            Err(DiskError::NotFound) => {
                disk.create(path)?;
                return Ok(Found::Nothing);
            }
            Err(error @ (DiskError::Io | DiskError::NoSpace)) => return Err(error),
        };
        let len = disk.len(file);
        if len == 0 {
            return Ok(Found::Nothing);
        }
        let bytes = disk.read(file, 0, len)?;
        Ok(str::from_utf8(&bytes).ok().and_then(C::decode).map_or(Found::Malformed, Found::Content))
    }

    /// What the file holds, not what is being written.
    pub(crate) const fn in_place(&self) -> &C {
        &self.in_place
    }

    /// The file gets what the content is now; or, if an earlier one is being written still, what it is after that. Returns the
    /// ticket to hand to [`CheckpointFile::on_durable`], unless that has another one already.
    pub(crate) fn write<V: Vocabulary>(
        &mut self,
        content: impl FnOnce() -> C,
        io: &mut Io<'_, V>,
    ) -> Result<Option<Ticket>, DiskError> {
        match self.stage {
            Stage::Idle => self.begin(content(), io).map(Some),
            Stage::Syncing { .. } | Stage::Renamed { .. } => {
                self.is_stale = true;
                Ok(None)
            }
        }
    }

    fn begin<V: Vocabulary>(&mut self, content: C, io: &mut Io<'_, V>) -> Result<Ticket, DiskError> {
        let file = io.disk().create(&format!("{}.tmp", self.path))?;
        io.disk().append(file, content.encode().as_bytes())?;
        let ticket = io.sync(file);
        self.stage = Stage::Syncing { ticket, content };
        self.is_stale = false;
        Ok(ticket)
    }

    /// A sync is done; returns the ticket of the next one, if there is one. A ticket of somebody else changes nothing.
    pub(crate) fn on_durable<V: Vocabulary>(
        &mut self,
        done: Ticket,
        content: impl FnOnce() -> C,
        io: &mut Io<'_, V>,
    ) -> Result<Option<Ticket>, DiskError> {
        match &self.stage {
            Stage::Syncing { ticket, .. } | Stage::Renamed { ticket } if *ticket == done => {}
            Stage::Idle | Stage::Syncing { .. } | Stage::Renamed { .. } => return Ok(None),
        }
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => unreachable!("an idle file awaits no ticket"),
            Stage::Syncing { content, .. } => {
                io.disk().rename(&format!("{}.tmp", self.path), &self.path)?;
                self.in_place = content;
                let ticket = io.sync_directory();
                self.stage = Stage::Renamed { ticket };
                Ok(Some(ticket))
            }
            Stage::Renamed { .. } if self.is_stale => self.begin(content(), io).map(Some),
            Stage::Renamed { .. } => Ok(None),
        }
    }
}

/// `topic partition offset` lines: the content of the three offset checkpoints.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Offsets(pub(crate) Arc<BTreeMap<TopicPartition, Offset>>);

impl Offsets {
    pub(crate) fn of(&self, tp: &TopicPartition) -> Option<Offset> {
        self.0.get(tp).copied()
    }
}

impl FromIterator<(TopicPartition, Offset)> for Offsets {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, Offset)>>(offsets: I) -> Self {
        Self(Arc::new(offsets.into_iter().collect()))
    }
}

impl Content for Offsets {
    fn encode(&self) -> String {
        text_of(self.0.iter().map(|(tp, offset)| format!("{} {} {offset}", tp.topic, tp.partition)))
    }

    fn decode(text: &str) -> Option<Self> {
        lines_of(text)?
            .into_iter()
            .map(|line| {
                let mut words = line.split(' ');
                let tp = TopicPartition::new(words.next()?, words.next()?.parse().ok()?);
                let offset = Offset(words.next()?.parse().ok()?);
                if words.next().is_none() { Some((tp, offset)) } else { None }
            })
            .collect()
    }
}

/// The text of a checkpoint: its version, the number of lines, the lines.
pub(crate) fn text_of(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        writeln!(text, "{line}").expect("a String takes whatever is written");
    }
    text
}

/// The lines of a checkpoint; none if version or number are not right.
pub(crate) fn lines_of(text: &str) -> Option<Vec<&str>> {
    let mut lines = text.lines();
    if lines.next()? != "0" {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let lines: Vec<&str> = lines.collect();
    if lines.len() == count { Some(lines) } else { None }
}
