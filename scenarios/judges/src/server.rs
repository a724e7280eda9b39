//! One server, as the engine saw it: its disk, its role, what it was sent, and what its tree must contain.

use std::collections::BTreeMap;
use std::sync::Arc;

use jute::{PeerEpoch, SessionId, Zxid};
use machine::disk::{Disk, Metadata, PageCache};
use machine::{EndId, HostId, Instant};

use crate::Moment;
use crate::canon::Canon;
use crate::protocol::Proposed;
use crate::snapshot_file;
use crate::txn_log::{Durability, TxnLog, zxid_of};

/// What a member is to its ensemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Its process does not run.
    Down,
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It observes one.
    Observing,
    /// It leads, or tries to.
    Leading,
    /// It is alone.
    Standalone,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Looking => "looking",
            Self::Following => "following",
            Self::Observing => "observing",
            Self::Leading => "leading",
            Self::Standalone => "standalone",
        }
    }
}

/// The two epoch files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EpochName {
    Current,
    Accepted,
}

impl EpochName {
    pub(crate) const ALL: [Self; 2] = [Self::Current, Self::Accepted];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Current => "currentEpoch",
            Self::Accepted => "acceptedEpoch",
        }
    }

    /// Which of the two a path is, if any.
    pub(crate) fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| path.rsplit_once('/').map_or(path, |(_, file)| file) == name.name())
    }
}

/// An epoch file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EpochFile {
    /// What was last written beside it, to be renamed.
    pub(crate) beside: Option<u32>,
    /// What is in it, and since when.
    pub(crate) value: Option<(u32, Moment)>,
}

/// How a learner is brought up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Diff,
    Trunc,
    Snap,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Diff => "DIFF",
            Self::Trunc => "TRUNC",
            Self::Snap => "SNAP",
        }
    }
}

/// What a learner was sent since its leader's first packet of the synchronisation.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) leader: HostId,
    pub(crate) mode: Mode,
    pub(crate) began: Moment,
    /// What must be durable at NEWLEADER: what came with a commit, and a snapshot's zxid.
    pub(crate) required: Vec<Zxid>,
    /// The last of its own log that it keeps.
    pub(crate) kept: Zxid,
    /// NEWLEADER was delivered, of this epoch.
    pub(crate) new_leader: Option<(PeerEpoch, Moment)>,
}

/// Which part of the committed history a tree contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// So many of the committed transactions, from the first on.
    pub(crate) contains: usize,
    /// Behind them, what is not committed yet.
    pub(crate) beyond: Vec<Zxid>,
}

/// The last time a leader heard of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    /// On the leader's own clock.
    pub(crate) local: Instant,
    pub(crate) timeout_ms: i32,
    pub(crate) moment: Moment,
}

/// A snapshot on a server's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    path: Arc<str>,
    /// What it has that was not committed when it was written, in order.
    beyond: Vec<Zxid>,
}

/// What a loss of power took from a log.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) moment: Moment,
    pub(crate) zxids: Vec<Zxid>,
}

/// What of a history is not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lack {
    /// Neither log nor snapshot has it.
    Missing(Zxid),
    /// It is in the page cache only.
    Cached(Zxid),
    /// Its bytes are durable, the name of its file is not: real servers never sync a directory.
    Unnamed(Zxid),
    /// It is in the page cache only, written by an earlier life of the process: a real server never syncs it again.
    Inherited(Zxid),
    /// So it is, since its sync failed: a real server goes on, and does not try again.
    Abandoned(Zxid),
}

/// How a server's log relates to the committed history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alignment {
    /// It contains so many of the committed transactions, from the first on.
    pub(crate) contains: usize,
    /// A transaction that is not committed stands before one that is.
    pub(crate) foreign: Option<Zxid>,
    /// A transaction that is not committed, and that a later one which is would have to overwrite.
    pub(crate) stray: Option<Zxid>,
    /// What stands behind all that is committed.
    pub(crate) tail: Vec<Zxid>,
}

/// What happened to a server's disk so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum DiskPast {
    /// Nothing: its processes died at most.
    #[default]
    Whole,
    /// What was not synced was lost, or torn.
    LostPower,
    /// It failed in a way from which no server need recover.
    Failed,
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: HostId,
    pub(crate) role: Role,
    pub(crate) role_since: Instant,
    pub(crate) life: u32,
    /// It is established as the leader of this epoch.
    pub(crate) leads: Option<PeerEpoch>,
    /// The version of the configuration that it came to go by last, and when.
    pub(crate) goes_by: Option<(Zxid, Moment)>,
    /// It told its leader that it observes.
    pub(crate) observes: bool,
    /// It was told UPTODATE by this leader.
    pub(crate) follows: Option<HostId>,
    pub(crate) log: TxnLog,
    pub(crate) snapshots: BTreeMap<Zxid, Snapshot>,
    /// A loss of power took the name of its newest snapshot.
    pub(crate) lost_snapshot: Option<Zxid>,
    /// Why what it read back last need not be what was committed.
    pub(crate) misread: Option<&'static str>,
    durable_snapshot: Option<Zxid>,
    pub(crate) current: EpochFile,
    pub(crate) accepted: EpochFile,
    pub(crate) sync: Option<Sync>,
    /// The last that it proposed itself.
    pub(crate) last_proposed: Option<(Zxid, Moment)>,
    pub(crate) proposed: Proposed,
    pub(crate) memory: Memory,
    /// Its clients' connections: session and timeout.
    pub(crate) ends: BTreeMap<EndId, (SessionId, i32)>,
    /// What it, as a leader, heard of sessions.
    pub(crate) touches: BTreeMap<SessionId, Touch>,
    pub(crate) losses: Vec<Loss>,
    /// It refused to start, because it cannot trust its disk.
    pub(crate) refused: Option<Moment>,
    pub(crate) disk: DiskPast,
    /// So many committed transactions and log entries were found to agree.
    aligned: (usize, usize),
}

impl Server {
    pub(crate) fn new(host: HostId) -> Self {
        Self {
            host,
            role: Role::Down,
            role_since: Instant::ZERO,
            life: 0,
            leads: None,
            goes_by: None,
            observes: false,
            follows: None,
            log: TxnLog::default(),
            snapshots: BTreeMap::new(),
            lost_snapshot: None,
            misread: None,
            durable_snapshot: None,
            current: EpochFile::default(),
            accepted: EpochFile::default(),
            sync: None,
            last_proposed: None,
            proposed: Proposed::default(),
            memory: Memory::default(),
            ends: BTreeMap::new(),
            touches: BTreeMap::new(),
            losses: Vec::new(),
            refused: None,
            disk: DiskPast::Whole,
            aligned: (0, 0),
        }
    }

    /// It enters a role: whatever it had from the one before is over.
    pub(crate) fn enter(&mut self, role: Role, at: Instant) {
        self.role = role;
        self.role_since = at;
        self.leads = None;
        self.follows = None;
        self.observes = role == Role::Observing;
        self.sync = None;
        self.last_proposed = None;
        self.proposed = Proposed::default();
        self.touches.clear();
        if role == Role::Down {
            self.ends.clear();
        }
    }

    /// Whether its clients may be answered from its tree.
    pub(crate) const fn serves(&self) -> bool {
        self.leads.is_some() || self.follows.is_some()
    }

    pub(crate) fn epoch_mut(&mut self, name: EpochName) -> &mut EpochFile {
        match name {
            EpochName::Current => &mut self.current,
            EpochName::Accepted => &mut self.accepted,
        }
    }

    /// The newest snapshot, durable or not.
    pub(crate) fn anchor(&self) -> Option<Zxid> {
        self.snapshots.last_key_value().map(|(&zxid, _)| zxid)
    }

    /// The last zxid that its disk knows of.
    pub(crate) fn last_on_disk(&self) -> Zxid {
        self.log.last_zxid().max(self.anchor().unwrap_or(Zxid::ZERO))
    }

    pub(crate) fn file_removed(&mut self, path: &str) {
        if let Some(zxid) = zxid_of(path, "snapshot.") {
            self.snapshots.remove(&zxid);
            self.durable_snapshot = None;
        } else {
            self.log.remove(path);
            self.distrust_alignment();
        }
    }

    pub(crate) fn snapshot_appeared(&mut self, zxid: Zxid, path: &str) {
        let beyond = self.memory.beyond.iter().copied().filter(|&it| it <= zxid).collect();
        self.snapshots.insert(zxid, Snapshot { path: Arc::from(path), beyond });
        self.lost_snapshot = self.lost_snapshot.filter(|&lost| zxid < lost);
    }

    /// The log has become shorter, or the committed history has.
    pub(crate) fn distrust_alignment(&mut self) {
        if self.log.len() < self.aligned.1 {
            self.aligned = (0, 0);
        }
    }

    pub(crate) fn committed_was_cut(&mut self, len: usize) {
        self.aligned = (0, 0);
        self.memory.contains = self.memory.contains.min(len);
    }

    /// The disk after a loss of power: what was lost, and whether something that had been cut is back.
    pub(crate) fn read_back(&mut self, disk: &PageCache, moment: Moment) -> bool {
        let (lost, back) = self.log.read_back(disk, self.life);
        if !lost.is_empty() {
            self.losses.push(Loss { moment, zxids: lost.iter().map(|it| it.zxid).collect() });
        }
        self.aligned = (0, 0);
        let newest = self.anchor();
        let mut before = std::mem::take(&mut self.snapshots);
        for path in disk.list("") {
            let Some(zxid) = zxid_of(&path, "snapshot.") else { continue };
            if disk.bytes(&path).is_some_and(|bytes| snapshot_file::is_whole(&bytes)) {
                let beyond = before.remove(&zxid).map_or(Vec::new(), |snapshot| snapshot.beyond);
                self.snapshots.insert(zxid, Snapshot { path: Arc::from(path), beyond });
            }
        }
        self.lost_snapshot = newest.filter(|_| self.anchor() < newest);
        self.durable_snapshot = self.anchor();
        !back.is_empty()
    }

    /// Whether it had that in its page cache only, and lost it with its power.
    pub(crate) fn lost_with_power(&self, zxid: Zxid) -> bool {
        self.losses.iter().any(|loss| loss.zxids.contains(&zxid))
    }

    /// Whether a snapshot that has everything up to this zxid would survive a loss of power.
    fn has_durable_snapshot(&mut self, zxid: Zxid, disk: &PageCache) -> bool {
        if self.durable_snapshot.is_some_and(|durable| durable >= zxid) {
            return true;
        }
        let whole = self
            .snapshots
            .range(zxid..)
            .rev()
            .find(|(_, it)| disk.durable().bytes(&it.path).is_some_and(|bytes| snapshot_file::is_whole(&bytes)));
        self.durable_snapshot = whole.map(|(&zxid, _)| zxid).max(self.durable_snapshot);
        whole.is_some()
    }

    /// Whether there is such a snapshot whose bytes are durable, if not its name.
    fn has_synced_snapshot(&self, zxid: Zxid, disk: &PageCache) -> bool {
        self.snapshots.range(zxid..).any(|(_, Snapshot { path, .. })| {
            let file = disk.find(path);
            file.is_some_and(|file| disk.durable().holds(file, disk.len(file)))
                && disk.bytes(path).is_some_and(|bytes| snapshot_file::is_whole(&bytes))
        })
    }

    /// Whether a transaction is durable, and all before it.
    pub(crate) fn lacks(&mut self, zxid: Zxid, disk: &PageCache) -> Option<Lack> {
        let lack = match self.log.durability(zxid, disk, self.life) {
            Durability::Durable => return None,
            Durability::Cached { first } => Lack::Cached(first),
            Durability::Unnamed { first } => Lack::Unnamed(first),
            Durability::Inherited { first } => Lack::Inherited(first),
            // To vouch for the very transaction whose sync failed is no hole of the real server's; for one that was synced behind
            // such a tail it is, also if a later sync failed since.
            Durability::Abandoned { first, last } if last == zxid => Lack::Cached(first),
            Durability::Abandoned { first, .. } => Lack::Abandoned(first),
            Durability::Absent => Lack::Missing(zxid),
        };
        if self.has_durable_snapshot(zxid, disk) {
            None
        } else if self.has_synced_snapshot(zxid, disk) {
            Some(Lack::Unnamed(zxid))
        } else {
            Some(lack)
        }
    }

    /// What of its own log, up to a zxid that it does not vouch for anew, is not durable.
    pub(crate) fn lacks_of_old(&mut self, zxid: Zxid, disk: &PageCache) -> Option<Lack> {
        let lack = self.lacks(zxid, disk)?;
        Some(match lack {
            Lack::Cached(first) if self.log.was_there_at_failure(zxid) => Lack::Abandoned(first),
            Lack::Cached(_) | Lack::Missing(_) | Lack::Unnamed(_) | Lack::Inherited(_) | Lack::Abandoned(_) => lack,
        })
    }

    /// What of these is not durable; the worst first.
    pub(crate) fn lacks_any(&mut self, zxids: &[Zxid], disk: &PageCache) -> Option<Lack> {
        let mut worst = None;
        for &zxid in zxids {
            worst = match (worst, self.lacks(zxid, disk)) {
                (Some(Lack::Missing(_)), _) => worst,
                (_, missing @ Some(Lack::Missing(_))) => missing,
                (
                    None | Some(Lack::Inherited(_) | Lack::Abandoned(_) | Lack::Unnamed(_)),
                    cached @ Some(Lack::Cached(_)),
                ) => cached,
                (None, lack) => lack,
                (Some(_), _) => worst,
            };
        }
        worst
    }

    /// Compares the log, and the newest snapshot before it, with the committed history.
    ///
    /// Simplified: a snapshot is believed to hold what its name says; that it does is the business of the tree's digest.
    pub(crate) fn align(&mut self, canon: &Canon) -> Alignment {
        let anchor = self.anchor();
        let is_anchored = |zxid: Zxid| anchor.is_some_and(|anchor| zxid <= anchor);
        let (mut at, mut entry) = self.aligned;
        // What is not committed: a tail that a later leader will cut, unless something committed stands behind it.
        let (mut stray, mut foreign, mut is_straight) = (None, None, true);
        let mut log = self.log.iter_from(entry).copied().peekable();
        while let Some(committed) = canon.get(at) {
            match log.peek() {
                Some(logged) if logged.zxid == committed.zxid && logged.digest == committed.digest => {
                    foreign = foreign.or(stray);
                    at += 1;
                    entry += 1;
                    log.next();
                    if is_straight {
                        self.aligned = (at, entry);
                    }
                }
                Some(logged) if logged.zxid <= committed.zxid => {
                    is_straight = false;
                    // A stale tail below a snapshot is never replayed.
                    if !is_anchored(logged.zxid) {
                        stray = stray.or(Some(logged.zxid));
                    }
                    log.next();
                }
                Some(_) | None if is_anchored(committed.zxid) => {
                    is_straight = false;
                    at += 1;
                }
                Some(_) | None => break,
            }
        }
        // What stands in the log below a snapshot is in the tree only if it was when that was written: a tail that was not cut before
        // a SNAP is in the log and not in the tree, and a tail that came with a SNAP is in the tree and not in the log.
        let newest = self.snapshots.last_key_value().map_or(&[][..], |(_, snapshot)| &snapshot.beyond);
        let last = at.checked_sub(1).and_then(|last| canon.get(last)).map_or(Zxid::ZERO, |it| it.zxid);
        let in_tree = newest.iter().copied().filter(|&zxid| zxid > last);
        let behind = log.map(|logged| logged.zxid).filter(|&zxid| !is_anchored(zxid));
        Alignment { contains: at, foreign, stray, tail: in_tree.chain(behind).collect() }
    }

    /// The disk as the process finds it decides what is in its tree.
    ///
    /// Recovery does not ask whether zxids follow on each other (zookeeper.md §9.6): what a loss of power took from the midst of the
    /// log is stepped over. Whether the tree is the right one without it, C16 says.
    pub(crate) fn memory_from_disk(&mut self, canon: &Canon) {
        let Alignment { mut contains, tail, .. } = self.align(canon);
        let known = tail.iter().rposition(|&zxid| canon.position(zxid).is_some());
        let mut beyond = &tail[..];
        if let Some((known, until)) = known.and_then(|known| Some((known, canon.position(tail[known])? + 1))) {
            let mut missing = canon.iter_from(contains).take(until.saturating_sub(contains));
            if missing.all(|it| self.log.position(it.zxid).is_some() || self.lost_with_power(it.zxid)) {
                contains = until;
                beyond = &tail[known + 1..];
            }
        }
        self.memory = Memory { contains, beyond: beyond.to_vec() };
    }
}

/// The value of an epoch file on a disk, and whether a loss of power could bring an older one back.
pub(crate) fn epoch_on(disk: &PageCache, name: EpochName) -> Option<(u32, bool)> {
    let path = disk.list("").into_iter().find(|path| EpochName::of(path) == Some(name))?;
    let value = epoch_in(&disk.bytes(&path)?)?;
    let durable = disk.durable().bytes(&path).and_then(|bytes| epoch_in(&bytes));
    Some((value, durable == Some(value)))
}

/// The epoch in a file's bytes.
pub(crate) fn epoch_in(bytes: &[u8]) -> Option<u32> {
    str::from_utf8(bytes).ok()?.lines().next()?.trim().parse().ok()
}

/// Whether entries of this disk's directory are durable without a sync of the directory.
pub(crate) fn renames_are_durable(disk: &PageCache) -> bool {
    match disk.metadata() {
        Metadata::Synchronous => true,
        Metadata::Journaled | Metadata::Strict => false,
    }
}

impl Memory {
    /// Moves what has become committed meanwhile; returns what stands where something else is committed.
    pub(crate) fn settle(&mut self, canon: &Canon) -> Option<Zxid> {
        let mut settled = 0;
        let mut wrong = None;
        for &zxid in &self.beyond {
            match canon.get(self.contains) {
                Some(committed) if committed.zxid == zxid => {
                    self.contains += 1;
                    settled += 1;
                }
                Some(_) => {
                    wrong = Some(zxid);
                    break;
                }
                None => break,
            }
        }
        self.beyond.drain(..settled);
        wrong
    }

    /// The last transaction in it.
    pub(crate) fn last(&self, canon: &Canon) -> Zxid {
        let committed = self.contains.checked_sub(1).and_then(|at| canon.get(at));
        self.beyond.last().copied().or(committed.map(|it| it.zxid)).unwrap_or(Zxid::ZERO)
    }

    /// Forgets everything behind a zxid.
    pub(crate) fn cut(&mut self, zxid: Zxid, canon: &Canon) {
        self.contains = self.contains.min(canon.count_to(zxid));
        self.beyond.retain(|&it| it <= zxid);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::canon::digest_of;
    use crate::moment::tests::moment;
    use crate::txn_log::tests::{entry, framed, zxid};

    fn canon(zxids: &[Zxid]) -> Canon {
        let mut canon = Canon::default();
        for &zxid in zxids {
            let bytes = entry(zxid);
            canon.see(zxid, digest_of(&bytes), &bytes, moment(1, 0));
            canon.commit(zxid, moment(1, 0));
        }
        canon
    }

    fn server(zxids: &[Zxid]) -> Server {
        let mut server = Server::new(HostId(0));
        server.log.create("log.1");
        let mut bytes = vec![0; 16];
        for &zxid in zxids {
            bytes.extend(framed(&entry(zxid)));
        }
        server.log.write("log.1", 0, &Bytes::from(bytes), 1, |_, _, _| {});
        server
    }

    #[test]
    fn log_is_aligned_with_what_is_committed() {
        let committed = [zxid(1, 1), zxid(1, 2), zxid(2, 1)];
        for (log, snapshot, contains, foreign, tail) in [
            (vec![zxid(1, 1), zxid(1, 2), zxid(2, 1), zxid(2, 2)], None, 3, None, vec![zxid(2, 2)]),
            (vec![zxid(1, 1)], None, 1, None, vec![]),
            // A tail that a later leader will cut.
            (vec![zxid(1, 1), zxid(1, 2), zxid(1, 3)], None, 2, None, vec![]),
            // The same tail, kept below the next epoch.
            (vec![zxid(1, 1), zxid(1, 2), zxid(1, 3), zxid(2, 1)], None, 3, Some(zxid(1, 3)), vec![]),
            // A hole.
            (vec![zxid(1, 1), zxid(2, 1)], None, 1, None, vec![zxid(2, 1)]),
            // The hole is in a snapshot, and so is a stale tail.
            (vec![zxid(1, 1), zxid(2, 1)], Some(zxid(1, 2)), 3, None, vec![]),
            (vec![zxid(1, 1), zxid(1, 3)], Some(zxid(2, 1)), 3, None, vec![]),
            (vec![], Some(zxid(2, 0)), 2, None, vec![]),
        ] {
            let mut server = server(&log);
            if let Some(snapshot) = snapshot {
                server.snapshot_appeared(snapshot, "snapshot");
            }
            let canon = canon(&committed);
            for _ in 0..2 {
                let found = server.align(&canon);
                assert_eq!((found.contains, found.foreign), (contains, foreign), "{log:?}");
                assert_eq!(found.tail, tail, "{log:?}");
            }
        }
    }

    /// Found by the swarm (swarm-ensemble, seeds 2400 and 2943).
    #[test]
    fn below_a_snapshot_the_tail_is_what_the_tree_had_and_not_what_the_log_has() {
        let canon = canon(&[zxid(1, 1)]);
        // A SNAP of a leader with two transactions that nobody committed yet, over a log whose tail was never committed.
        let mut server = server(&[zxid(1, 1), zxid(1, 2), zxid(3, 1)]);
        server.memory = Memory { contains: 1, beyond: vec![zxid(2, 1), zxid(2, 2)] };
        server.snapshot_appeared(zxid(2, 2), "snapshot");
        assert_eq!(server.align(&canon).tail, [zxid(2, 1), zxid(2, 2), zxid(3, 1)]);
    }

    #[test]
    fn memory_settles_in_order() {
        let canon = canon(&[zxid(1, 1), zxid(1, 2)]);
        let mut memory = Memory { contains: 0, beyond: vec![zxid(1, 1), zxid(1, 2), zxid(1, 3)] };
        assert_eq!(memory.settle(&canon), None);
        assert_eq!(memory, Memory { contains: 2, beyond: vec![zxid(1, 3)] });
        let mut memory = Memory { contains: 1, beyond: vec![zxid(1, 7)] };
        assert_eq!(memory.settle(&canon), Some(zxid(1, 7)));
        memory.cut(zxid(1, 1), &canon);
        assert_eq!(memory, Memory { contains: 1, beyond: vec![] });
    }
}
