//! A host with one log dir and nothing else.

use bytes::{Bytes, BytesMut};
use commitlog::{Appended, LoadError, Loaded, LogConfig, LogEvent, LogManager, LogMut};
use kafkawire::{Batch, BatchHeader, LeaderEpoch, NewBatch, Offset, TopicPartition};
use machine::disk::{CrashModel, DiskError, Metadata, PageCache, PowerLoss};
use machine::{Clock, Draw, Effect, Instant, Io, Never, Numbers, Purpose, RunKey, Span, Ticket, Vocabulary};

use crate::disk_errors::FailingDisk;

pub(crate) const DIR: &str = "kafka-logs";
const CRASH: Purpose = Purpose::new("crash");

/// Speaks nothing: only the disk is of interest.
#[derive(Clone, Debug)]
pub(crate) struct Mute;

impl Vocabulary for Mute {
    type Message = Never;
    type Work = Never;
    type Fact = Never;
}

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) disk: PageCache,
    pub(crate) config: LogConfig,
    pub(crate) now: Instant,
    pub(crate) marks: Vec<&'static str>,
    logs: Option<LogManager>,
    /// Syncs begun and not finished, oldest first.
    pub(crate) syncs: Vec<Ticket>,
    numbers: Numbers,
    crashes: u64,
    /// From now on the disk does so many changes, and then one fails.
    pub(crate) fail_after: Option<u32>,
}

pub(crate) fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

impl Host {
    /// An empty log dir, loaded.
    pub(crate) fn new(config: LogConfig) -> Self {
        Self::on(config, Metadata::Journaled)
    }

    pub(crate) fn on(config: LogConfig, metadata: Metadata) -> Self {
        let mut host = Self {
            disk: PageCache::new(metadata),
            config,
            now: Instant::from_nanos(1_000_000_000),
            marks: Vec::new(),
            logs: None,
            syncs: Vec::new(),
            numbers: Numbers::default(),
            crashes: 0,
            fail_after: None,
        };
        host.start();
        host
    }

    /// As [`Host::new`], with an empty log of `orders-0`.
    pub(crate) fn with_log(config: LogConfig) -> Self {
        let mut host = Self::new(config);
        host.create(&orders());
        host
    }

    pub(crate) fn logs(&self) -> &LogManager {
        self.logs.as_ref().expect("the process runs")
    }

    pub(crate) fn log(&self) -> &commitlog::Log {
        self.logs().log(&orders()).expect("the log was created")
    }

    pub(crate) fn with<R>(&mut self, to: impl FnOnce(&mut LogManager, &mut Io<'_, Mute>) -> R) -> R {
        let mut logs = self.logs.take().expect("the process runs");
        let result = self.with_io(|io| to(&mut logs, io));
        logs.check_invariants();
        self.logs = Some(logs);
        result
    }

    pub(crate) fn with_io<R>(&mut self, to: impl FnOnce(&mut Io<'_, Mute>) -> R) -> R {
        let mut out: Vec<Effect<Mute>> = Vec::new();
        let clock = Clock { now: self.now, wall_offset_ms: 1_700_000_000_000 };
        let mut disk = FailingDisk { disk: &mut self.disk, fail_after: &mut self.fail_after };
        let mut io = Io::new(clock, RunKey([1, 2]), 0, &mut disk, &mut self.numbers, &mut out);
        let result = to(&mut io);
        for effect in out {
            if let Effect::Sync { ticket, .. } = effect {
                self.syncs.push(ticket);
            } else if let Effect::Reach(mark) = effect {
                self.marks.push(mark);
            }
        }
        result
    }

    pub(crate) fn with_log_of<R>(
        &mut self,
        tp: &TopicPartition,
        to: impl FnOnce(LogMut<'_>, &mut Io<'_, Mute>) -> R,
    ) -> R {
        self.with(|logs, io| to(logs.log_mut(tp).expect("the log exists"), io))
    }

    pub(crate) fn create(&mut self, tp: &TopicPartition) {
        self.with(|logs, io| logs.create(tp, io).map(|_| ())).unwrap();
    }

    /// Appends records as the leader of an epoch.
    pub(crate) fn append(&mut self, epoch: i32, values: &[&str]) -> Appended {
        self.append_at(epoch, values, 1_700_000_000_000)
    }

    pub(crate) fn append_at(&mut self, epoch: i32, values: &[&str], timestamp: i64) -> Appended {
        let batch = batch(values, timestamp);
        self.with_log_of(&orders(), |mut log, io| log.append_as_leader(&batch, LeaderEpoch(epoch), io)).unwrap()
    }

    pub(crate) fn truncate_to(&mut self, to: i64) -> commitlog::Truncated {
        self.with(|logs, io| logs.truncate_to(&orders(), Offset(to), io)).unwrap()
    }

    /// Reads everything below the log's end that one read gives.
    pub(crate) fn read(&mut self, from: i64) -> commitlog::ReadData {
        self.with_log_of(&orders(), |log, io| log.read(Offset(from), 1 << 20, log.log_end(), true, io)).unwrap()
    }

    /// Everything from the log start on, over all segments.
    pub(crate) fn read_all(&mut self) -> Vec<Batch> {
        let mut all = Vec::new();
        let mut from = self.log().log_start();
        while from < self.log().log_end() {
            let data = self.read(from.0);
            assert!(data.next_offset > from, "a read at {from} makes no progress");
            all.extend(batches_of(&data.bytes));
            from = data.next_offset;
        }
        all
    }

    /// Finishes one sync; returns what came of it.
    pub(crate) fn finish(&mut self, ticket: Ticket, result: Result<(), DiskError>) -> Option<LogEvent> {
        self.syncs.retain(|&pending| pending != ticket);
        if result.is_ok() {
            self.disk.harden(ticket);
        } else {
            self.disk.fail_sync(ticket);
        }
        if self.logs.as_ref().is_some_and(|logs| logs.owns(ticket)) {
            self.with(|logs, io| logs.on_durable(ticket, result, io)).unwrap()
        } else {
            None
        }
    }

    /// Finishes every sync, those begun on the way too.
    pub(crate) fn finish_syncs(&mut self) -> Vec<LogEvent> {
        let mut events = Vec::new();
        while let Some(&ticket) = self.syncs.first() {
            events.extend(self.finish(ticket, Ok(())));
        }
        events
    }

    pub(crate) fn advance(&mut self, span: Span) {
        self.now = self.now.saturating_add(span);
    }

    /// Closes the log dir as a controlled shutdown does.
    pub(crate) fn shut_down(&mut self) {
        let is_done = self.with(|logs, io| {
            logs.checkpoint_high_watermarks(io)?;
            logs.shutdown(io)
        });
        if !is_done.unwrap() {
            assert_eq!(self.finish_syncs().last(), Some(&LogEvent::ShutDown));
        }
        assert!(self.logs().is_shut_down());
        self.logs = None;
    }

    /// The process dies; the page cache stays, and syncs that were asked for are done some time.
    pub(crate) fn kill(&mut self) {
        self.logs = None;
        for ticket in std::mem::take(&mut self.syncs) {
            self.disk.harden(ticket);
        }
    }

    pub(crate) fn lose_power(&mut self, model: CrashModel) -> PowerLoss {
        self.crashes += 1;
        let mut draw = RunKey([3, 4]).draw(CRASH, 0, self.crashes);
        self.lose_power_as(model, &mut draw)
    }

    pub(crate) fn lose_power_as(&mut self, model: CrashModel, draw: &mut Draw) -> PowerLoss {
        self.logs = None;
        self.syncs.clear();
        self.disk.lose_power(model, draw)
    }

    /// The process starts: the log dir is loaded.
    pub(crate) fn start(&mut self) -> Vec<Loaded> {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(&mut self) -> Result<Vec<Loaded>, LoadError> {
        assert!(self.logs.is_none(), "the process runs already");
        let config = self.config.clone();
        let (logs, loaded) = self.with_io(|io| LogManager::load(DIR, &config, io))?;
        logs.check_invariants();
        self.logs = Some(logs);
        Ok(loaded)
    }

    /// The files below a directory of the log dir, without their directory.
    pub(crate) fn files(&self, dir: &str) -> Vec<String> {
        use machine::disk::Disk as _;
        let prefix = format!("{DIR}/{dir}");
        self.disk.list(&prefix).iter().map(|path| String::from(&path[prefix.len()..])).collect()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        let bytes = self.disk.bytes(&format!("{DIR}/{path}")).unwrap_or_else(|| panic!("there is no {path}"));
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Changes bytes of a file behind everybody's back.
    pub(crate) fn damage(&mut self, path: &str, offset: u64, bytes: &[u8]) {
        use machine::disk::Disk as _;
        let file = self.disk.open(&format!("{DIR}/{path}")).unwrap();
        self.disk.write_at(file, offset, bytes).unwrap();
    }
}

pub(crate) fn small() -> LogConfig {
    LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..LogConfig::kafka_defaults() }
}

/// A producer's batch.
pub(crate) fn batch(values: &[&str], timestamp: i64) -> Batch {
    let records: Vec<(Option<&[u8]>, &[u8])> = values.iter().map(|value| (None, value.as_bytes())).collect();
    Batch::read(&NewBatch::new(&records, timestamp).encode(), 0).unwrap().expect("one batch was encoded")
}

/// Batches as a leader has them, to be appended by a follower.
pub(crate) fn replicated(batches: &[(i64, i32, &[&str])]) -> Bytes {
    let mut bytes = BytesMut::new();
    for &(base, epoch, values) in batches {
        bytes.extend_from_slice(&batch(values, 1_700_000_000_000).stamped(Offset(base), LeaderEpoch(epoch)).bytes);
    }
    bytes.freeze()
}

pub(crate) fn batches_of(bytes: &Bytes) -> Vec<Batch> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(batch) = Batch::read(bytes, at).unwrap() {
        batch.check_crc().unwrap();
        at += batch.header.size();
        all.push(batch);
    }
    all
}

/// The values of all records of a log.
pub(crate) fn values(host: &mut Host) -> Vec<(i64, String)> {
    let records = host.read_all().into_iter().flat_map(|batch| batch.records().unwrap());
    records.map(|record| (record.offset.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap())).collect()
}

/// What tells two batches at the same place apart.
pub(crate) fn identity(header: &BatchHeader) -> (i64, i64, i32, u32) {
    (header.base_offset.0, header.next_offset().0, header.leader_epoch, header.crc)
}
