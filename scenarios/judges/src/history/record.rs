//! Operations from invocation to end (invariants-and-faults.md §3.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::Findings;
use jute::{SessionId, Zxid};

use super::fencing::Locks;
use super::leadership::Leaderships;
use super::recipes::Recipes;
use super::register::{self, Read, Write};
use super::watching::Watching;
use crate::chunked::Chunked;
use crate::moment::Story;
use crate::oracle::Oracle;
use crate::{Moment, Rule};

/// What an operation does, as far as the checks care.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OperationKind {
    /// Creates a znode.
    Create,
    /// Deletes one.
    Delete,
    /// Sets data.
    Set,
    /// Reads data or a stat.
    Read,
    /// Reads data behind a sync.
    SyncRead,
    /// Reads the names of children.
    List,
    /// Several changes in one.
    Multi,
    /// Reads the configuration of the ensemble.
    ReadConfig,
    /// Asks for another one.
    Reconfig,
    /// Sets an access control list.
    SetAcl,
    /// Reads what no register tells: lists of access, counts, several znodes at once.
    OtherRead,
}

impl OperationKind {
    const ALL: [Self; 11] = [
        Self::Create,
        Self::Delete,
        Self::Set,
        Self::Read,
        Self::SyncRead,
        Self::List,
        Self::Multi,
        Self::ReadConfig,
        Self::Reconfig,
        Self::SetAcl,
        Self::OtherRead,
    ];

    /// Whether it may change anything.
    const fn is_write(self) -> bool {
        match self {
            Self::Create | Self::Delete | Self::Set | Self::Multi | Self::SetAcl | Self::Reconfig => true,
            Self::Read | Self::SyncRead | Self::List | Self::OtherRead | Self::ReadConfig => false,
        }
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Set => "set",
            Self::Read => "read",
            Self::SyncRead => "sync-read",
            Self::List => "list",
            Self::Multi => "multi",
            Self::ReadConfig => "read-config",
            Self::Reconfig => "reconfig",
            Self::SetAcl => "set-acl",
            Self::OtherRead => "other-read",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationOutcome {
    /// It happened.
    Ok,
    /// It was answered with what it found instead: no such znode, another version. It changed nothing.
    Refused,
    /// It surely had no effect.
    Failed,
    /// It may take effect at any time, or never.
    Unknown,
}

/// How often a kind of operation ended how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OperationCount {
    /// They happened, or were answered with what they found.
    pub ok: u64,
    /// They surely had no effect.
    pub failed: u64,
    /// Nobody knows; those without an end count here too.
    pub unknown: u64,
}

/// An operation that is invoked.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its number, unique in a run.
    pub number: u64,
    /// What it does.
    pub kind: OperationKind,
    /// Where.
    pub path: Arc<str>,
    /// In which session.
    pub session: SessionId,
    /// The version it demands, if it does.
    pub demanded: Option<i32>,
    /// The value it writes, unique in a run.
    pub value: Option<u64>,
}

/// The end of an operation.
#[derive(Clone, Debug)]
pub struct OperationEnd {
    /// Its number.
    pub number: u64,
    /// Where; of a sequential create, the path that was made.
    pub path: Arc<str>,
    /// How it ended.
    pub outcome: OperationOutcome,
    /// The znode's creation.
    pub czxid: Option<Zxid>,
    /// The znode's last change.
    pub mzxid: Option<Zxid>,
    /// The last change of its children.
    pub pzxid: Option<Zxid>,
    /// The znode's version, read or made.
    pub version: Option<i32>,
    /// The value read or written.
    pub value: Option<u64>,
}

/// When something happened, in the order of what clients said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) place: u64,
    pub(super) moment: Moment,
}

/// An operation with its end, if it had one.
#[derive(Clone, Debug)]
struct Recorded {
    operation: Operation,
    invoked: Stamp,
    end: Option<(OperationEnd, Stamp)>,
}

/// What one part of a multi made.
#[derive(Clone, Debug)]
struct MultiPart {
    path: Arc<str>,
    /// The znode's creation, where the part told it.
    czxid: Option<Zxid>,
    version: i32,
    value: Option<u64>,
    invoked: Stamp,
    returned: Stamp,
}

/// The same before its multi has ended.
#[derive(Clone, Debug)]
struct PartOpen {
    number: u64,
    path: Arc<str>,
    czxid: Option<Zxid>,
    version: i32,
    value: Option<u64>,
}

/// Something that a client could complain about.
#[derive(Clone, Debug)]
pub(crate) struct Anomaly {
    pub(crate) rule: Rule,
    pub(crate) class: &'static str,
    pub(crate) headline: String,
    pub(crate) story: Vec<(Moment, String)>,
}

/// More than these are not kept.
const ANOMALIES_MOST: usize = 16;

/// The history of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    next: u64,
    open: BTreeMap<u64, (Operation, Stamp)>,
    ended: Chunked<Recorded>,
    parts: Chunked<MultiPart>,
    /// Parts whose multi has not ended yet.
    parts_open: Vec<PartOpen>,
    counts: BTreeMap<OperationKind, OperationCount>,
    pub(super) watching: Watching,
    pub(super) locks: Locks,
    pub(super) recipes: Recipes,
    pub(super) leaderships: Leaderships,
    anomalies: Vec<Anomaly>,
}

impl History {
    pub(super) fn stamp(&mut self, moment: Moment) -> Stamp {
        self.next += 1;
        Stamp { place: self.next, moment }
    }

    pub(crate) fn invoked(&mut self, moment: Moment, operation: Operation) {
        let stamp = self.stamp(moment);
        self.open.insert(operation.number, (operation, stamp));
    }

    /// A part of a multi made a version; told before the end of the multi itself.
    fn multi_part(&mut self, part: PartOpen) {
        self.parts_open.push(part);
    }

    pub(crate) fn ended(&mut self, moment: Moment, end: OperationEnd) {
        let returned = self.stamp(moment);
        let Some((mut operation, invoked)) = self.open.remove(&end.number) else { return };
        operation.path = Arc::clone(&end.path);
        let count = self.counts.entry(operation.kind).or_default();
        match end.outcome {
            OperationOutcome::Ok | OperationOutcome::Refused => count.ok += 1,
            OperationOutcome::Failed => count.failed += 1,
            OperationOutcome::Unknown => count.unknown += 1,
        }
        let is_answered = matches!(end.outcome, OperationOutcome::Ok | OperationOutcome::Refused);
        if is_answered && operation.kind.is_write() {
            self.recipes.session_wrote(operation.session, invoked.place);
        }
        let parts = std::mem::take(&mut self.parts_open);
        for PartOpen { number, path, czxid, version, value } in parts {
            if number == end.number && end.outcome == OperationOutcome::Ok {
                self.parts.push(MultiPart { path, czxid, version, value, invoked, returned });
            }
        }
        if let Some(anomaly) = self.watching.read(&operation, &end, moment) {
            self.add(anomaly);
        }
        self.ended.push(Recorded { operation, invoked, end: Some((end, returned)) });
    }

    pub(crate) fn add(&mut self, anomaly: Anomaly) {
        if self.anomalies.len() < ANOMALIES_MOST {
            self.anomalies.push(anomaly);
        }
    }

    /// The oldest operation without an end.
    pub(crate) fn oldest_open(&self) -> Option<(&Operation, Moment)> {
        let (operation, stamp) = self.open.values().min_by_key(|(_, stamp)| stamp.place)?;
        Some((operation, stamp.moment))
    }

    pub(crate) fn counts(&self) -> Vec<(&'static str, OperationCount)> {
        let mut counts: Vec<_> = OperationKind::ALL
            .iter()
            .map(|&kind| (kind.name(), self.counts.get(&kind).copied().unwrap_or_default()))
            .collect();
        for (operation, _) in self.open.values() {
            let name = operation.kind.name();
            if let Some((_, count)) = counts.iter_mut().find(|(other, _)| *other == name) {
                count.unknown += 1;
            }
        }
        counts.retain(|(_, count)| *count != OperationCount::default());
        counts
    }

    /// Judges every znode as a versioned register; returns how many, and how many reads behind a sync were stale.
    fn judge_registers(&mut self) -> (u64, u64) {
        let Registers { keys, unknown, unknown_multis, moments } = self.registers();
        let (judged, mut stale) = (keys.len() as u64, 0);
        for ((path, czxid), Register { mut writes, reads }) in keys {
            writes.extend(unknown.get(&path).into_iter().flatten().copied());
            let parent = jute::path::parent_of(&path);
            let multis = unknown_multis.iter().filter(|(other, _)| jute::path::parent_of(other) == parent);
            writes.extend(multis.map(|(_, write)| *write));
            match register::check(&writes, &reads, false) {
                Ok(()) => stale += u64::from(register::check(&writes, &reads, true).is_err()),
                Err(wrong) => {
                    let places = wrong.places.iter();
                    let story = places.filter_map(|(place, what)| Some((*moments.get(place)?, what.clone()))).collect();
                    let headline = format!("{path} (created at {czxid}): {}", wrong.what);
                    self.add(Anomaly { rule: Rule::VersionedRegister, class: wrong.class, headline, story });
                }
            }
        }
        (judged, stale)
    }

    /// Sorts the history by znode.
    fn registers(&self) -> Registers {
        let mut registers = Registers::default();
        let open = self.open.values().map(|(operation, invoked)| Recorded {
            operation: operation.clone(),
            invoked: *invoked,
            end: None,
        });
        for recorded in self.ended.iter().cloned().chain(open) {
            registers.add(recorded);
        }
        for part in self.parts.iter() {
            registers.add_part(part);
        }
        registers
    }
}

/// What happened to one incarnation of a znode.
#[derive(Debug, Default)]
struct Register {
    writes: Vec<Write>,
    reads: Vec<Read>,
}

/// The history, sorted by znode.
#[derive(Debug, Default)]
struct Registers {
    /// By path and creation.
    keys: BTreeMap<(Arc<str>, Zxid), Register>,
    /// Writes of unknown outcome: they may belong to any incarnation.
    unknown: BTreeMap<Arc<str>, Vec<Write>>,
    /// Multis of unknown outcome: they may have written any sibling of the path they name.
    unknown_multis: Vec<(Arc<str>, Write)>,
    moments: BTreeMap<u64, Moment>,
}

impl Registers {
    fn add(&mut self, Recorded { operation, invoked, end }: Recorded) {
        let inv = invoked.place;
        self.moments.insert(inv, invoked.moment);
        let Some((end, returned)) = end.filter(|(end, _)| end.outcome != OperationOutcome::Unknown) else {
            let demanded = operation.demanded.map(i64::from);
            let write = Write { version: None, demanded, inv, ret: u64::MAX, value: operation.value };
            match operation.kind {
                OperationKind::Set => self.unknown.entry(operation.path).or_default().push(write),
                OperationKind::Multi => {
                    // One multi writes the same value to several znodes.
                    self.unknown_multis.push((operation.path, Write { demanded: None, value: None, ..write }));
                }
                OperationKind::Create
                | OperationKind::Delete
                | OperationKind::Read
                | OperationKind::SyncRead
                | OperationKind::List
                | OperationKind::ReadConfig
                | OperationKind::Reconfig
                | OperationKind::SetAcl
                | OperationKind::OtherRead => {}
            }
            return;
        };
        let (OperationOutcome::Ok, Some(czxid), Some(version)) = (end.outcome, end.czxid, end.version) else { return };
        let (ret, version) = (returned.place, i64::from(version));
        self.moments.insert(ret, returned.moment);
        let register = self.keys.entry((Arc::clone(&operation.path), czxid)).or_default();
        match operation.kind {
            OperationKind::Create | OperationKind::Set => {
                let value = end.value;
                register.writes.push(Write { version: Some(version), demanded: None, inv, ret, value });
            }
            OperationKind::Read | OperationKind::SyncRead => {
                let is_fresh = operation.kind == OperationKind::SyncRead;
                register.reads.push(Read { version, inv, ret, value: end.value, is_fresh });
            }
            // The judges hear of configurations from the replies (C35).
            OperationKind::Delete
            | OperationKind::List
            | OperationKind::Multi
            | OperationKind::ReadConfig
            | OperationKind::Reconfig
            | OperationKind::SetAcl
            | OperationKind::OtherRead => {}
        }
    }

    /// The counters of multis live as long as the run: they are known by their path alone. Other parts tell which znode it was.
    fn add_part(&mut self, part: &MultiPart) {
        let register = match part.czxid {
            Some(czxid) => Some(self.keys.entry((Arc::clone(&part.path), czxid)).or_default()),
            None => self.keys.iter_mut().find(|((path, _), _)| *path == part.path).map(|(_, register)| register),
        };
        let Some(register) = register else { return };
        let (inv, ret) = (part.invoked.place, part.returned.place);
        self.moments.insert(ret, part.returned.moment);
        let version = Some(i64::from(part.version));
        register.writes.push(Write { version, demanded: None, inv, ret, value: part.value });
    }
}

impl Oracle {
    /// A client invokes an operation.
    pub fn invoked(&mut self, moment: Moment, operation: Operation) {
        Arc::make_mut(&mut self.history).invoked(moment, operation);
    }

    /// A part of a multi made a version.
    pub fn multi_part(&mut self, number: u64, path: &Arc<str>, czxid: Option<Zxid>, version: i32, value: Option<u64>) {
        let part = PartOpen { number, path: Arc::clone(path), czxid, version, value };
        Arc::make_mut(&mut self.history).multi_part(part);
    }

    /// An operation ends.
    pub fn ended_operation(&mut self, moment: Moment, end: OperationEnd) {
        Arc::make_mut(&mut self.history).ended(moment, end);
    }

    /// How often each kind of operation ended how.
    #[must_use]
    pub fn operations(&self) -> Vec<(&'static str, OperationCount)> {
        self.history.counts()
    }

    /// The run is over: the black-box checks. What they find is a [`Rule::Gap`] if no judge of the servers had noticed anything.
    pub fn judge_history(&mut self, now: Moment, findings: &mut Findings) {
        let history = Arc::make_mut(&mut self.history);
        let (registers, stale) = history.judge_registers();
        let locks = history.judge_locks();
        let leaderships = history.judge_leaderships();
        let recipes = history.judge_recipes();
        let watches = history.watching.checks();
        let anomalies = std::mem::take(&mut history.anomalies);
        let judged = [
            (Rule::VersionedRegister, registers),
            (Rule::FencingTokens, locks),
            (Rule::WatchHistory, watches),
            (Rule::DualOwnership, leaderships),
        ];
        for (rule, times) in judged.into_iter().chain(recipes.judged) {
            for _ in 0..times {
                self.tally.check(rule);
            }
        }
        for _ in 0..stale {
            self.tally.relax(Rule::VersionedRegister, STALE_SYNC_READ);
        }
        for (rule, reason, times) in recipes.relaxed {
            for _ in 0..times {
                self.tally.relax(rule, reason);
            }
        }
        self.tally.check(Rule::Gap);
        for Anomaly { rule, class, headline, story } in anomalies {
            if !self.tally.excuses().is_empty() {
                self.tally.relax(rule, "a loss before it is excused");
                continue;
            }
            // A recipe may be wrong while every server is right.
            let is_gap = self.tally.is_white_box_silent() && !rule.is_of_recipes();
            let (as_rule, headline) = if is_gap {
                let id = rule.id();
                (
                    Rule::Gap,
                    format!("clients saw an anomaly ({id} {class}) and no judge of the servers did: {headline}"),
                )
            } else {
                (rule, headline)
            };
            let mut told = Story::new(as_rule, headline).kind(rule.id()).kind(class);
            for (moment, note) in story {
                told = told.other(moment, note);
            }
            let violation = told.detected(now, "the history of the clients is judged");
            // A gap is no white-box finding: the next one is a gap as well.
            if !is_gap {
                self.tally.broke(rule);
            }
            findings.violation(violation);
        }
    }
}

/// Why a stale read behind a sync is no violation.
const STALE_SYNC_READ: &str = "a read behind a sync may be stale: sync asks whoever believes that it leads, not a quorum (C30, zookeeper.md §3.11)";
