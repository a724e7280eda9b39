//! From what is on the disk to logs (kafka-broker.md §5.3), one log at a time, so that a crash can fall between two.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kafkawire::{LeaderEpoch, Offset, TopicPartition};
use machine::disk::{Disk, DiskError};
use machine::{Io, Vocabulary, WallMillis};

use crate::checkpoint::{CheckpointFile, Content, Found, Offsets};
use crate::desk::Desk;
use crate::layout::{
    CLEAN_SHUTDOWN, DELETED_SUFFIX, DirName, HIGH_WATERMARKS, INDEX, LEADER_EPOCHS, LOG, LOG_STARTS, RECOVERY_POINTS,
    TIME_INDEX, base_offset,
};
use crate::log_manager::LogManager;
use crate::log_table::LogTable;
use crate::segment::Segment;
use crate::{BadMetaProperties, CommitLogMark, EpochCache, Log, LogConfig, MetaProperties, meta_properties};

/// Why a log dir cannot be loaded: it is to be given up (§3.8), or the broker must not start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// A checkpoint that is replaced as a whole is malformed nevertheless.
    #[error("{path} is malformed")]
    CorruptCheckpoint {
        /// The file.
        path: String,
    },
    /// A directory is neither a partition's nor that of a deleted one.
    #[error("{name} is not the name of a partition's directory")]
    StrangeDirectory {
        /// The directory.
        name: String,
    },
    /// `meta.properties` cannot be used.
    #[error("meta.properties cannot be used")]
    MetaProperties(#[from] BadMetaProperties),
    /// The disk failed.
    #[error("the disk failed")]
    Disk(#[from] DiskError),
}

/// A log that was loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// The partition.
    pub tp: TopicPartition,
    /// Whether the log dir was closed cleanly, so that nothing had to be scanned.
    pub clean: bool,
    /// The log's start.
    pub log_start: Offset,
    /// The log's end.
    pub log_end: Offset,
    /// Everything below it is durable.
    pub recovery_point: Offset,
    /// What recovery cut off.
    pub cut: Option<Cut>,
}

/// What recovery cut off a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The log's end since.
    pub at: Offset,
    /// Bytes cut off the segment the log ends in.
    pub bytes: u64,
    /// Segments deleted behind it.
    pub segments: usize,
}

/// A log dir that is being loaded.
#[derive(Clone, Debug)]
pub struct Loading {
    manager: LogManager,
    clean: bool,
    todo: VecDeque<TopicPartition>,
}

impl Loading {
    /// Looks at a log dir: notes and deletes the marker of a clean shutdown (KAFKA-10471), reads the checkpoints, finds the
    /// logs. Files of deleted logs are to be removed after `file.delete.delay.ms`.
    ///
    /// Recovery points and log starts that are missing or malformed count as 0, as in the real broker.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn begin<V: Vocabulary>(dir: &str, config: &LogConfig, io: &mut Io<'_, V>) -> Result<Self, LoadError> {
        let marker = format!("{dir}/{CLEAN_SHUTDOWN}");
        let clean = match io.disk().remove(&marker) {
            Ok(()) => true,
            Err(DiskError::NotFound) => false,
            Err(error @ (DiskError::Io | DiskError::NoSpace)) => return Err(error.into()),
        };
        let clean = clean || config.mutant.trusts_the_disk;
        if clean {
            io.reach(CommitLogMark::CleanStart);
        }
        let meta = MetaProperties::read(io.disk(), dir)?;
        let mut desk = Desk::default();
        let mut names = BTreeMap::new();
        for path in io.disk().list(&format!("{dir}/")) {
            if let Some((name, _)) = path[dir.len() + 1..].split_once('/') {
                names.entry(String::from(name)).or_insert_with(Vec::new).push(path);
            }
        }
        let mut todo = VecDeque::new();
        for (name, paths) in names {
            match DirName::parse(&name) {
                DirName::Partition(tp) => todo.push_back(tp),
                DirName::Deleted => desk.remove_at(io.now().saturating_add(config.file_delete_delay), paths),
                DirName::Strange => return Err(LoadError::StrangeDirectory { name }),
            }
        }
        let manager = LogManager {
            dir: Arc::from(dir),
            config: Arc::new(config.clone()),
            logs: LogTable::default(),
            desk,
            high_watermarks: read_or_fail(io.disk(), format!("{dir}/{HIGH_WATERMARKS}"))?,
            recovery_points: read_or_default(io.disk(), format!("{dir}/{RECOVERY_POINTS}"))?,
            log_starts: read_or_default(io.disk(), format!("{dir}/{LOG_STARTS}"))?,
            meta_properties: CheckpointFile::new(meta_properties::path(dir), meta.clone()),
            meta_wanted: meta,
            shutdown: crate::log_manager::Shutdown::No,
        };
        Ok(Self { manager, clean, todo })
    }

    /// Whether the log dir was closed cleanly.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.clean
    }

    /// How many logs are still to be loaded.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.todo.len()
    }

    /// What `meta.properties` holds.
    #[must_use]
    pub fn meta_properties(&self) -> Option<&MetaProperties> {
        self.manager.meta_properties()
    }

    /// Loads the next log; none if all are loaded.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn next<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> Result<Option<Loaded>, LoadError> {
        let Some(tp) = self.todo.pop_front() else { return Ok(None) };
        let loader = Loader {
            dir: Arc::from(format!("{}/{tp}", self.manager.dir)),
            config: Arc::clone(&self.manager.config),
            clean: self.clean,
            recovery_point: self.manager.recovery_points.in_place().of(&tp).unwrap_or(Offset::ZERO),
            log_start: self.manager.log_starts.in_place().of(&tp),
            now: io.wall_clock(),
            tp,
        };
        let (log, cut) = loader.load(io)?;
        let loaded = Loaded {
            tp: log.tp.clone(),
            clean: self.clean,
            log_start: log.log_start,
            log_end: log.log_end,
            recovery_point: log.recovery_point,
            cut,
        };
        self.manager.logs.insert(log);
        Ok(Some(loaded))
    }

    /// All logs are loaded; epochs that differ from their checkpoint begin to be written, and recovery points if one went back.
    ///
    /// # Errors
    /// Of these writes.
    ///
    /// # Panics
    /// If a log is still to be loaded.
    pub fn finish<V: Vocabulary>(self, io: &mut Io<'_, V>) -> Result<LogManager, DiskError> {
        assert!(self.todo.is_empty(), "{} logs are still to be loaded", self.todo.len());
        let mut manager = self.manager;
        let is_changed = |log: &Log| log.epochs != *log.epochs_file.in_place();
        let changed: Vec<TopicPartition> =
            manager.iter().filter(|(_, log)| is_changed(log)).map(|(tp, _)| tp.clone()).collect();
        for tp in changed {
            manager.log_mut(&tp).expect("the log was just listed").write_epochs(io)?;
        }
        let checkpointed = manager.recovery_points.in_place();
        if manager.iter().any(|(tp, log)| checkpointed.of(tp).is_some_and(|offset| offset > log.recovery_point)) {
            manager.checkpoint_recovery_points(io)?;
        }
        manager.check_invariants();
        Ok(manager)
    }
}

impl LogManager {
    /// Loads a whole log dir at once: [`Loading`] from begin to end.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load<V: Vocabulary>(
        dir: &str,
        config: &LogConfig,
        io: &mut Io<'_, V>,
    ) -> Result<(Self, Vec<Loaded>), LoadError> {
        let mut loading = Loading::begin(dir, config, io)?;
        let mut loaded = Vec::new();
        while let Some(log) = loading.next(io)? {
            loaded.push(log);
        }
        Ok((loading.finish(io)?, loaded))
    }
}

fn read_or_default(disk: &mut dyn Disk, path: String) -> Result<CheckpointFile<Offsets>, DiskError> {
    let content = match CheckpointFile::read(disk, &path)? {
        Found::Content(content) => content,
        Found::Nothing | Found::Malformed => Offsets::default(),
    };
    Ok(CheckpointFile::new(path, content))
}

fn read_or_fail<C: Content + Default>(disk: &mut dyn Disk, path: String) -> Result<CheckpointFile<C>, LoadError> {
    match CheckpointFile::read(disk, &path)? {
        Found::Content(content) => Ok(CheckpointFile::new(path, content)),
        Found::Nothing => Ok(CheckpointFile::new(path, C::default())),
        Found::Malformed => Err(LoadError::CorruptCheckpoint { path }),
    }
}

/// What one log is loaded from.
struct Loader {
    tp: TopicPartition,
    dir: Arc<str>,
    config: Arc<LogConfig>,
    clean: bool,
    /// As checkpointed.
    recovery_point: Offset,
    /// As checkpointed.
    log_start: Option<Offset>,
    now: WallMillis,
}

impl Loader {
    fn load<V: Vocabulary>(self, io: &mut Io<'_, V>) -> Result<(Log, Option<Cut>), LoadError> {
        let bases = self.tidy(io.disk())?;
        let (mut segments, mut cut) = self.segments(bases, io)?;
        let mut log_start = self.log_start.unwrap_or(Offset::ZERO);
        if let Some(first) = segments.first() {
            log_start = log_start.max(first.base);
        }
        let mut log_end = segments.last().map_or(log_start, Segment::next_offset);
        if log_end < log_start {
            io.reach(CommitLogMark::EndBeforeStart);
            let deleted = segments.len();
            for segment in segments.drain(..).rev() {
                self.remove_segment(segment.base, io.disk())?;
            }
            log_end = log_start;
            cut = Some(Cut { at: log_start, bytes: cut.map_or(0, |cut| cut.bytes), segments: deleted });
        }
        let active = match segments.pop() {
            Some(active) => active,
            None => Segment::create(io.disk(), &self.dir, log_start, self.now)?,
        };
        // A file that was cut is durable only when it is synced again: see `Log::end_at`.
        let durable = if cut.is_some() { active.base } else { log_end };
        let recovery_point = if self.clean { durable } else { self.recovery_point.min(durable) };
        let epochs_file: CheckpointFile<EpochCache> = read_or_fail(io.disk(), format!("{}/{LEADER_EPOCHS}", self.dir))?;
        let mut log = Log {
            tp: self.tp,
            dir: self.dir,
            config: self.config,
            sealed: Arc::new(segments.into_iter().map(Arc::new).collect()),
            active,
            log_start,
            log_end,
            high_watermark: log_start,
            recovery_point,
            epochs: epochs_file.in_place().clone(),
            epochs_file,
            flushes: Vec::new(),
            last_flush: io.now(),
            is_hosted: false,
        };
        if !self.clean {
            log.rebuild_epochs();
        }
        log.epochs.truncate_from_end(log_end);
        log.epochs.truncate_from_start(log_start);
        Ok((log, cut))
    }

    /// Removes deleted segments and indexes without a log; returns the base offsets of the segments there are.
    fn tidy(&self, disk: &mut dyn Disk) -> Result<Vec<Offset>, DiskError> {
        let paths = disk.list(&format!("{}/", self.dir));
        let name = |path: &str| String::from(&path[self.dir.len() + 1..]);
        let bases: BTreeSet<Offset> = paths.iter().filter_map(|path| base_offset(&name(path), LOG)).collect();
        for path in &paths {
            let name = name(path);
            let index_of = base_offset(&name, INDEX).or_else(|| base_offset(&name, TIME_INDEX));
            let is_orphan = index_of.is_some_and(|base| !bases.contains(&base));
            if is_orphan || name.ends_with(DELETED_SUFFIX) {
                disk.remove(path)?;
            }
        }
        Ok(bases.into_iter().collect())
    }

    /// Opens the segments; those that may hold what was not flushed are scanned, up to where the log stops making sense.
    fn segments<V: Vocabulary>(
        &self,
        bases: Vec<Offset>,
        io: &mut Io<'_, V>,
    ) -> Result<(Vec<Segment>, Option<Cut>), DiskError> {
        let first_unflushed = if self.clean {
            None
        } else {
            Some(bases.partition_point(|&base| base <= self.recovery_point).saturating_sub(1))
        };
        let mut segments: Vec<Segment> = Vec::new();
        for (at, &base) in bases.iter().enumerate() {
            let is_unflushed = first_unflushed.is_some_and(|first| at >= first);
            // The real loader has no such check: compaction leaves gaps between segments. Without compaction a gap is what a loss
            // of power made of a roll or a truncation, and KA-I31 does not let it stay.
            let follows = segments.last().is_none_or(|before| before.next_offset() == base);
            if !self.clean && !follows {
                return self.cut(segments, 0, &bases[at..], io).map(|(segments, cut)| (segments, Some(cut)));
            }
            let trusted = if is_unflushed { None } else { Segment::open(io.disk(), &self.dir, base, self.now)? };
            let (segment, bytes) = match trusted {
                Some(segment) => (segment, 0),
                None => {
                    io.reach(CommitLogMark::Recovered);
                    let epoch = segments.iter().rev().find_map(Segment::last_epoch).unwrap_or(-1);
                    Segment::recover(io.disk(), &self.dir, base, epoch, self.now, &self.config)?
                }
            };
            segments.push(segment);
            if bytes > 0 {
                io.reach(CommitLogMark::RecoveryTruncated);
                return self.cut(segments, bytes, &bases[at + 1..], io).map(|(segments, cut)| (segments, Some(cut)));
            }
        }
        Ok((segments, None))
    }

    /// The log ends with the segments it has: the later ones go.
    fn cut<V: Vocabulary>(
        &self,
        segments: Vec<Segment>,
        bytes: u64,
        later: &[Offset],
        io: &mut Io<'_, V>,
    ) -> Result<(Vec<Segment>, Cut), DiskError> {
        if !later.is_empty() {
            io.reach(CommitLogMark::RecoveryDeletedSegments);
        }
        // The youngest first: a crash on the way leaves no gap.
        for &base in later.iter().rev() {
            self.remove_segment(base, io.disk())?;
        }
        let at = segments.last().map_or(Offset::ZERO, Segment::next_offset);
        Ok((segments, Cut { at, bytes, segments: later.len() }))
    }

    /// Removes the files of a segment for good.
    ///
    /// `Simplified:` the real loader renames them first and removes them after `file.delete.delay.ms`.
    fn remove_segment(&self, base: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
        for path in Segment::rename_deleted(disk, &self.dir, base)? {
            disk.remove(&path)?;
        }
        Ok(())
    }
}

impl Log {
    /// Derives the epochs from the batches, epoch 0 included (KAFKA-10432).
    ///
    /// The real scan looks only at what it scans and trusts the checkpoint for the rest, because that was written before the call
    /// that changed it returned. Here it may be one change behind ([`crate::checkpoint`]), so all batches are asked; where the
    /// checkpoint is not behind, both give the same.
    fn rebuild_epochs(&mut self) {
        let mut epochs = EpochCache::default();
        for header in self.batches(self.log_start, self.log_end).filter(|header| header.leader_epoch >= 0) {
            let epoch = LeaderEpoch(header.leader_epoch);
            if epochs.latest().is_none_or(|latest| epoch > latest) {
                epochs.assign(epoch, header.base_offset);
            }
        }
        if epochs != self.epochs {
            self.epochs = epochs;
        }
    }
}
