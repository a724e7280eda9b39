//! Judges of logs as files: L03, L11, L16; and what crashes leave of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::Findings;
use kafkawire::LeaderEpoch;
use machine::Ticket;
use machine::disk::{Disk as _, FileId, PageCache, SyncTarget};

use super::broker::LEADS_ON;
use super::cluster::BrokerAt;
use super::oracle::{DiskLook, KafkaOracle, Todo};
use super::partition::{Before, Loss, Obligation, PartitionAt, ReplicaRole};
use super::replica_log::{Chain as _, Entry, ReplicaLog, common, logs_on, segment_of};
use crate::moment::Story;
use crate::{Moment, Rule};

const FOREIGN_TAIL: &str = "foreign-tail";
/// Why a log may hold what it had lost.
pub(crate) const CUT_UNDONE: &str = "a loss of power brought back records that had been truncated: the real log does not sync a truncation either (known hole, kafka-broker.md §5.10)";
/// Why a log need not hold all that was synced.
const DISK_FAULT: &str = "the disk of the broker returned errors before: what was synced is not known";

/// How a broker's process ended, with what that left on its disk if it is not what was there.
#[derive(Clone, Copy, Debug)]
pub enum Ended<'a> {
    /// It exited, or was killed: the host goes on.
    Process,
    /// The host lost its power.
    PowerLost(&'a PageCache),
    /// The host lost its disk: the one that is there now is another.
    DiskReplaced(&'a PageCache),
}

impl KafkaOracle {
    /// Bytes were written.
    pub fn wrote(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        path: &str,
        offset: u64,
        bytes: &[u8],
        findings: &mut Findings,
    ) {
        let Some((topic, number, base)) = segment_of(path) else { return };
        let Some(at) = self.place(topic, number) else { return };
        let mut appended: Option<Vec<Entry>> = None;
        let mut first: Option<Entry> = None;
        let log = &mut self.partition_mut(at).replicas[broker].log;
        // The usual write is one batch.
        log.wrote(base, offset, bytes, |entry| match (&mut first, &mut appended) {
            (None, _) => first = Some(*entry),
            (Some(_), more) => more.get_or_insert_default().push(*entry),
        });
        if log.is_stale() {
            self.todo.push(Todo::Reread { broker, partition: at });
        }
        for entry in first.into_iter().chain(appended.into_iter().flatten()) {
            self.check_matching(moment, at, broker, &entry, findings);
        }
        let partition = &self.partitions[at];
        if partition.replicas[broker].obligation.is_some() && partition.open_obligation(broker).is_none() {
            self.partition_mut(at).replicas[broker].obligation = None;
        }
    }

    /// L03: the same offset and epoch on two replicas is the same record behind the same history.
    fn check_matching(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        broker: BrokerAt,
        entry: &Entry,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::LogMatching);
        let partition = &self.partitions[at];
        let committed = (entry.base < partition.canon.end()).then(|| partition.canon.at(entry.base)).flatten();
        let known = match committed {
            Some(canonical) if canonical.epoch == entry.epoch => Some((canonical.chain, canonical.moment)),
            Some(_) => None,
            None => partition.uncommitted.get(&(entry.base, entry.epoch)).copied(),
        };
        let is_uncommitted = committed.is_none();
        if known.is_some_and(|(chain, _)| chain != entry.chain)
            && matches!(partition.replicas[broker].role, ReplicaRole::Leader(_))
        {
            // The bytes are there before the broker says that it appended them.
            self.note_fork(moment, at, broker, LeaderEpoch(entry.epoch));
        }
        let partition = &self.partitions[at];
        match known {
            Some((chain, _)) if chain == entry.chain => {}
            Some(_) if !partition.scrambled.is_empty() => self.relax_hole(Rule::LogMatching, CUT_UNDONE, moment),
            Some(_) if partition.forked.is_some() => self.relax_hole(Rule::LogMatching, LEADS_ON, moment),
            // What follows a divergence diverges: once says it.
            Some(_) if partition.told.contains(&("L03", broker)) => {}
            Some((_, first)) => {
                self.partition_mut(at).tell("L03", broker);
                let partition = &self.partitions[at];
                let name = partition.name.clone();
                let headline = format!(
                    "offset {} of {name} in epoch {} is not the same on {} as on {}: the records differ, or those before them",
                    entry.base,
                    entry.epoch,
                    self.seating.name(broker),
                    self.host_name(first)
                );
                let story = Story::new(Rule::LogMatching, headline)
                    .first_wrong(first, format!("first seen on {}", self.host_name(first)))
                    .kind("divergence")
                    .detected(moment, format!("{} appends it", self.seating.name(broker)));
                self.broken(Rule::LogMatching, story, findings);
            }
            None if is_uncommitted => {
                let key = (entry.base, entry.epoch);
                self.partition_mut(at).uncommitted.insert(key, (entry.chain, moment));
            }
            None => {}
        }
    }

    pub(crate) fn host_name(&self, moment: Moment) -> String {
        let broker = self.seating.broker_on(moment.host);
        broker.map_or_else(|| "another".to_owned(), |broker| self.seating.name(broker).to_owned())
    }

    /// A file was cut or extended.
    pub fn resized(&mut self, moment: Moment, broker: BrokerAt, path: &str, to: u64, findings: &mut Findings) {
        self.change_log(moment, broker, path, findings, |log, base| log.resized(base, to));
    }

    /// An empty file was created.
    pub fn created(&mut self, moment: Moment, broker: BrokerAt, path: &str, findings: &mut Findings) {
        self.change_log(moment, broker, path, findings, ReplicaLog::created);
    }

    /// A file was removed.
    pub fn removed(&mut self, moment: Moment, broker: BrokerAt, path: &str, findings: &mut Findings) {
        self.change_log(moment, broker, path, findings, ReplicaLog::removed);
    }

    /// A file has another name.
    pub fn renamed(&mut self, moment: Moment, broker: BrokerAt, from: &str, to: &str, findings: &mut Findings) {
        let directory = |path: &str| path.rsplit_once('/').map(|(directory, _)| directory.to_owned());
        if directory(from) == directory(to) {
            self.removed(moment, broker, from, findings);
        } else if let Some((topic, number, _)) = segment_of(from)
            && let Some(at) = self.find(topic, number)
        {
            // The replica is deleted, as the controller wanted: nothing was truncated.
            let replica = &mut self.partition_mut(at).replicas[broker];
            replica.log = ReplicaLog::default();
            replica.flushed = 0;
            replica.role = ReplicaRole::None;
        }
    }

    fn change_log(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        path: &str,
        findings: &mut Findings,
        change: impl FnOnce(&mut ReplicaLog, i64),
    ) {
        let Some((topic, number, base)) = segment_of(path) else { return };
        let Some(at) = self.place(topic, number) else { return };
        let had = self.partitions[at].has(broker);
        let (from, was_torn) = {
            let log = &self.partitions[at].replicas[broker].log;
            (log.end(), log.is_torn())
        };
        let replica = &mut self.partition_mut(at).replicas[broker];
        change(&mut replica.log, base);
        let to = replica.log.end();
        replica.flushed = replica.flushed.min(to);
        // Recovery cuts what is no batch: if that is undone too, what is written meanwhile may lie among it.
        replica.unsynced_cut |= to < from || was_torn && !replica.log.is_torn();
        if replica.log.is_stale() {
            self.todo.push(Todo::Reread { broker, partition: at });
        } else if to < from {
            self.truncated(moment, at, broker, had, findings);
        }
    }

    /// L11: a running replica cut its log.
    fn truncated(&mut self, moment: Moment, at: PartitionAt, broker: BrokerAt, had: usize, findings: &mut Findings) {
        self.tally.check(Rule::TruncateFloor);
        let partition = &self.partitions[at];
        if partition.has(broker) >= had {
            return;
        }
        if partition.isr().has(broker) {
            self.lost_by_truncation(moment, moment, at, broker, "in-sync", findings);
            self.check_strong_isr(moment, at, broker, findings);
        } else {
            self.partition_mut(at).replicas[broker].obligation = Some(Obligation { moment, needs: had });
        }
    }

    /// L11 is broken: somebody counts on a replica that cut off committed records.
    pub(crate) fn lost_by_truncation(
        &mut self,
        moment: Moment,
        cut: Moment,
        at: PartitionAt,
        broker: BrokerAt,
        counted: &'static str,
        findings: &mut Findings,
    ) {
        let partition = &self.partitions[at];
        let name = partition.name.clone();
        let who = self.seating.name(broker).to_owned();
        let (to, end) = (partition.replicas[broker].log.end(), partition.canon.end());
        let watermark = partition.replicas[broker].high_watermark;
        let how = match counted {
            "elected" => "is elected leader before it has them back",
            "joined" => "is taken into the ISR before it has them back",
            _ => "is in the ISR",
        };
        let headline = format!("{who} truncated {name} to {to}, below what is committed (up to {end}), and {how}");
        let mut story = Story::new(Rule::TruncateFloor, headline);
        if let Some(promise) = partition.promise.filter(|promise| promise.end > to) {
            story = story.promise(promise.moment, format!("records below {} were {}", promise.end, promise.how));
        }
        let violation = story
            .first_wrong(cut, format!("{who} truncated to {to}; high watermark {watermark}"))
            .kind(counted)
            .detected(moment, format!("{who} {how}"));
        self.broken(Rule::TruncateFloor, violation, findings);
    }

    /// A sync of a broker's was asked.
    pub fn sync_asked(&mut self, broker: BrokerAt, ticket: Ticket, target: SyncTarget) {
        if let SyncTarget::File(file) = target {
            self.broker_mut(broker).syncs.insert(ticket, file);
        }
    }

    /// A sync completed, or failed.
    pub fn synced(&mut self, broker: BrokerAt, ticket: Ticket, is_ok: bool) {
        let shadow = self.broker_mut(broker);
        let file = shadow.syncs.remove(&ticket);
        if !is_ok {
            shadow.has_failing_disk = true;
        } else if let Some(file) = file {
            self.todo.push(Todo::Synced { broker, file });
        }
    }

    /// What the device really has of a file counts, whatever a sync said.
    pub(crate) fn became_durable(&mut self, broker: BrokerAt, file: FileId, look: &impl DiskLook) {
        let host = self.seating.cluster.brokers[broker].host;
        let disk = look.disk(host);
        let Some(path) = disk.path_of(file) else { return };
        let Some((topic, number, base)) = segment_of(path) else { return };
        let Some(at) = self.find(topic, number) else { return };
        let durable = disk.durable();
        if !durable.has_entry(file) {
            return;
        }
        let Some(bytes) = durable.len(file) else { return };
        let replica = &mut self.partition_mut(at).replicas[broker];
        replica.flushed = replica.log.durable_end(replica.flushed, base, bytes);
        replica.unsynced_cut &= replica.flushed < replica.log.end();
    }

    /// The shadow of a log does not follow from what was written: the files say.
    pub(crate) fn reread(&mut self, broker: BrokerAt, at: PartitionAt, look: &impl DiskLook) {
        if !self.partitions[at].replicas[broker].log.is_stale() {
            return;
        }
        let disk = look.disk(self.seating.cluster.brokers[broker].host);
        let name = self.partitions[at].name.clone();
        let files = logs_on(disk).into_iter().find(|(of, _)| *of == name).map(|(_, files)| files);
        self.partition_mut(at).replicas[broker].log = ReplicaLog::read(disk, &files.unwrap_or_default());
    }

    /// A broker's process is over.
    pub fn ended(&mut self, moment: Moment, broker: BrokerAt, how: Ended<'_>) {
        let by_power = match how {
            Ended::Process => false,
            Ended::PowerLost(_) | Ended::DiskReplaced(_) => true,
        };
        for at in 0..self.partitions.len() {
            let replica = &self.partitions[at].replicas[broker];
            if replica.log.batches() == 0 && replica.role == ReplicaRole::None && replica.epoch.is_none() {
                continue;
            }
            let replica = &mut self.partition_mut(at).replicas[broker];
            let (flushed, unsynced_cut) = (replica.flushed, replica.unsynced_cut);
            let before = Before { moment, log: replica.log.snapshot(), flushed, by_power, unsynced_cut };
            // Of two ends without a start in between, the first says what there was.
            if replica.before.is_none() || by_power {
                let first = replica.before.take();
                let log = first.as_ref().map_or(before.log.clone(), |first| first.log.clone());
                let unsynced_cut = unsynced_cut || first.is_some_and(|first| first.unsynced_cut);
                replica.before = Some(Arc::new(Before { log, unsynced_cut, ..before }));
            }
            replica.role = ReplicaRole::None;
            replica.epoch = None;
            replica.high_watermark = 0;
            replica.high_watermark_most = 0;
            replica.fetched = false;
            replica.dropped_high_watermark = None;
        }
        self.broker_mut(broker).end_process(moment);
        self.channels_of_dead(broker);
        match how {
            Ended::Process => {}
            Ended::PowerLost(disk) => self.read_disk(moment, broker, disk, Reading::PowerLost),
            Ended::DiskReplaced(disk) => self.read_disk(moment, broker, disk, Reading::DiskReplaced),
        }
    }

    /// A broker's process is about to start.
    pub fn booted(&mut self, moment: Moment, broker: BrokerAt, life: u32, disk: &PageCache) {
        self.broker_mut(broker).begin_process(life);
        self.read_disk(moment, broker, disk, Reading::Booted);
        for (topic, number, checkpointed) in checkpointed_high_watermarks(disk) {
            let Some(at) = self.place(&topic, number) else { continue };
            let replica = &mut self.partition_mut(at).replicas[broker];
            replica.high_watermark = checkpointed.min(replica.log.end());
            replica.high_watermark_most = replica.high_watermark;
        }
    }

    /// What is on the disk is what the replicas have; what is missing is lost.
    fn read_disk(&mut self, moment: Moment, broker: BrokerAt, disk: &PageCache, when: Reading) {
        let by_power = when == Reading::PowerLost;
        let mut found = BTreeSet::new();
        for (name, files) in logs_on(disk) {
            let Some(at) = self.place(name.topic.as_str(), name.partition) else { continue };
            found.insert(at);
            self.replace_log(moment, at, broker, ReplicaLog::read(disk, &files), by_power);
        }
        for at in (0..self.partitions.len()).filter(|at| !found.contains(at)) {
            if self.partitions[at].replicas[broker].log.batches() > 0 {
                self.replace_log(moment, at, broker, ReplicaLog::default(), by_power);
            }
            // Nothing is there to be loaded: what this process makes anew is not what an earlier one had.
            if when == Reading::Booted && self.partitions[at].replicas[broker].before.is_some() {
                self.partition_mut(at).replicas[broker].before = None;
            }
        }
    }

    fn replace_log(&mut self, moment: Moment, at: PartitionAt, broker: BrokerAt, log: ReplicaLog, by_power: bool) {
        let partition = &self.partitions[at];
        let (had, end, isr) = (partition.has(broker), partition.replicas[broker].log.end(), partition.isr());
        let left = log.end();
        let has = common(&log, &partition.canon);
        let replica = &mut self.partition_mut(at).replicas[broker];
        replica.log = log;
        replica.flushed = replica.flushed.min(left);
        // What a member of the ISR lost before it was committed counts too: its leader may know already that it has it.
        if has < had || (left < end && isr.has(broker)) {
            // An older loss that is not made good yet had more.
            let older = replica.loss.filter(|loss| loss.had > had);
            let loss = Loss { moment, had, end, left, isr, by_power, joined: None };
            replica.loss = Some(older.map_or(loss, |older| Loss { had: older.had, end: older.end, ..loss }));
        }
    }

    /// L16: a broker has loaded a log.
    pub fn log_loaded(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        topic: &str,
        number: i32,
        log_end: i64,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        self.tally.check(Rule::RecoveryPrefix);
        let before = self.partition_mut(at).replicas[broker].before.take();
        let partition = &self.partitions[at];
        let now = &partition.replicas[broker].log;
        let what = match &before {
            _ if now.end() != log_end => Some((
                "garbage-tail",
                format!("it says that the log ends at {log_end}, and whole batches end at {}", now.end()),
            )),
            None => None,
            Some(before) if common(now, &before.log) < now.batches() => Some((
                FOREIGN_TAIL,
                format!("it has records that it did not have when it went down at {}", before.moment.at),
            )),
            Some(before) if !before.by_power && now.batches() < before.log.batches() => Some((
                "over-truncation",
                format!("its process was killed when the log ended at {}, and it ends at {log_end}", before.log.end()),
            )),
            Some(before) if log_end < before.flushed => {
                Some(("over-truncation", format!("it was synced up to {}, and ends at {log_end}", before.flushed)))
            }
            Some(_) => None,
        };
        let Some((kind, what)) = what else { return };
        if kind == FOREIGN_TAIL && before.as_ref().is_some_and(|before| before.by_power && before.unsynced_cut) {
            let partition = self.partition_mut(at);
            partition.scrambled = partition.scrambled.with(broker);
            return self.relax_hole(Rule::RecoveryPrefix, CUT_UNDONE, moment);
        }
        if self.brokers[broker].has_failing_disk {
            return self.tally.relax(Rule::RecoveryPrefix, DISK_FAULT);
        }
        let headline = format!("{} recovered {} wrongly: {what}", self.seating.name(broker), partition.name);
        let mut story = Story::new(Rule::RecoveryPrefix, headline);
        if let Some(before) = before {
            story = story.other(before.moment, format!("its process ended; the log reached {}", before.log.end()));
        }
        let violation = story.kind(kind).detected(moment, "the log is loaded");
        self.broken(Rule::RecoveryPrefix, violation, findings);
    }
}

/// When a disk is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// A process is about to start.
    Booted,
    /// What was not durable is gone.
    PowerLost,
    /// Everything is gone, durable or not.
    DiskReplaced,
}

/// The file in which a broker keeps its high watermarks (kafka-broker.md §5.1).
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

/// The high watermarks on a disk: a version, a count, then one line for each partition.
fn checkpointed_high_watermarks(disk: &PageCache) -> Vec<(String, i32, i64)> {
    let path = disk.list("").into_iter().find(|path| path.ends_with(HIGH_WATERMARKS));
    let bytes = path.and_then(|path| disk.bytes(&path)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        Some((topic.to_owned(), partition.parse().ok()?, offset.parse().ok()?))
    };
    text.lines().skip(2).filter_map(line).collect()
}
