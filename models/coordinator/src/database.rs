//! What a server holds in memory of the replicated state: the tree, the table of sessions, and the last committed
//! transactions (zookeeper.md §0.4, §4.7).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use jute::txn::{Txn, TxnDigest, TxnEntry, TxnHeader};
use jute::{Buffer, SessionId, Zxid};

use crate::defect::{Defect, Defects};
use crate::tree::{DIGEST_VERSION, DataTree, OpResult, TreeEvent};

/// The digest of a tree after a transaction, as snapshots end with (zookeeper.md §9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZxidDigest {
    /// The transaction.
    pub zxid: Zxid,
    /// The digest and its algorithm.
    pub digest: TxnDigest,
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What is answered.
    pub result: OpResult,
    /// What watches see, in the order in which they fire (zookeeper.md §8.3).
    pub events: Vec<TreeEvent>,
}

/// The replicated state in memory. A clone is cheap: it shares everything until either side changes.
#[derive(Clone, Debug)]
pub struct Database {
    tree: Arc<DataTree>,
    sessions: Arc<BTreeMap<SessionId, i32>>,
    last_processed: Zxid,
    committed: Arc<CommittedLog>,
    /// Of the last transaction applied since boot or since the snapshot's own; none while the tree may be fuzzy.
    last_digest: Option<ZxidDigest>,
    /// What the tree will be once replay has come to this transaction: until then no digest can be compared.
    loaded_digest: Option<ZxidDigest>,
    mismatches: u64,
    first_mismatch: Option<Zxid>,
}

impl Database {
    /// Returns the state of a server without history. `commit_log_count` bounds the committed log.
    #[must_use]
    pub fn new(commit_log_count: usize) -> Self {
        Self::restore(DataTree::new(), BTreeMap::new(), Zxid::ZERO, None, commit_log_count)
    }

    /// The same, with what is switched on of the bugs that show in it.
    #[must_use]
    pub(crate) fn with_defects(mut self, defects: &Defects) -> Self {
        self.switch_on(defects);
        self
    }

    /// Switches the bugs on that show in it.
    pub(crate) fn switch_on(&mut self, defects: &Defects) {
        if self.tree.defects != *defects {
            Arc::make_mut(&mut self.tree).defects = defects.clone();
        }
        if Defect::leave_gaps(defects) {
            Arc::make_mut(&mut self.committed).may_have_gaps = true;
        }
    }

    /// Returns the state that a snapshot holds. `digest` is what the snapshot says of the tree; of one that was taken while
    /// transactions went on, it holds only after replay up to its zxid.
    #[must_use]
    pub fn restore(
        tree: DataTree,
        sessions: BTreeMap<SessionId, i32>,
        zxid: Zxid,
        digest: Option<ZxidDigest>,
        commit_log_count: usize,
    ) -> Self {
        // Older than the snapshot: a leader's zxid at the start of its epoch belongs to no transaction, and nothing is fuzzy.
        let loaded_digest = digest.filter(|digest| digest.zxid > Zxid::ZERO && digest.zxid >= zxid);
        let mut database = Self {
            tree: Arc::new(tree),
            sessions: Arc::new(sessions),
            last_processed: zxid,
            committed: Arc::new(CommittedLog::new(commit_log_count)),
            last_digest: None,
            loaded_digest,
            mismatches: 0,
            first_mismatch: None,
        };
        database.compare_loaded_digest(zxid);
        database
    }

    /// Returns the tree.
    #[must_use]
    pub fn tree(&self) -> &DataTree {
        &self.tree
    }

    /// Returns the zxid of the last transaction applied, or what a leader made of it at the start of its epoch.
    #[must_use]
    pub const fn last_processed(&self) -> Zxid {
        self.last_processed
    }

    /// Sets the last zxid: a leader at the start of its epoch, a learner after TRUNC or SNAP (zookeeper.md §3.2, §3.5).
    pub fn set_last_processed(&mut self, zxid: Zxid) {
        self.last_processed = zxid;
    }

    /// Returns the timeouts of the global sessions, ms.
    #[must_use]
    pub fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// Returns the digest of the tree (zookeeper.md §5.10).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.tree.digest()
    }

    /// Applies a transaction: first to the table of sessions, then to the tree (ZOOKEEPER-3144).
    ///
    /// Never fails, neither on what preparation produced nor on replay.
    pub fn process_txn(&mut self, header: &TxnHeader, txn: &Txn) -> Applied {
        match txn {
            Txn::CreateSession(create) => {
                Arc::make_mut(&mut self.sessions).insert(header.session, create.timeout_ms);
            }
            Txn::CloseSession(_) => {
                Arc::make_mut(&mut self.sessions).remove(&header.session);
            }
            Txn::Create(_)
            | Txn::Create2(_)
            | Txn::CreateContainer(_)
            | Txn::CreateTtl(_)
            | Txn::Delete(_)
            | Txn::DeleteContainer(_)
            | Txn::SetData(_)
            | Txn::Reconfig(_)
            | Txn::SetAcl(_)
            | Txn::Error(_)
            | Txn::Multi(_)
            | Txn::Check(_) => {}
        }
        let mut events = Vec::new();
        let result = Arc::make_mut(&mut self.tree).apply(header, txn, &mut events);
        self.last_processed = self.last_processed.max(header.zxid);
        if self.loaded_digest.is_some() {
            self.compare_loaded_digest(header.zxid);
        } else {
            self.last_digest = Some(self.digest_at(header.zxid));
        }
        Applied { result, events }
    }

    /// Applies a transaction and compares the digest it carries with the tree's. A mismatch is counted, nothing more happens
    /// (zookeeper.md §5.10); while the tree may be fuzzy nothing is compared.
    pub fn process_entry(&mut self, entry: &TxnEntry) -> Applied {
        let applied = self.process_txn(&entry.header, &entry.txn);
        if self.loaded_digest.is_none()
            && let Some(digest) = entry.digest
        {
            self.compare_digest(ZxidDigest { zxid: entry.header.zxid, digest });
        }
        applied
    }

    /// The same, but the table of sessions does not notice (ZOOKEEPER-1367).
    pub(crate) fn process_entry_beside_sessions(&mut self, entry: &TxnEntry) -> Applied {
        let sessions = Arc::clone(&self.sessions);
        let applied = self.process_entry(entry);
        self.sessions = sessions;
        applied
    }

    /// Appends a committed transaction to the committed log; see [`CommittedLog::add`].
    pub fn add_committed(&mut self, zxid: Zxid, entry: Bytes) {
        Arc::make_mut(&mut self.committed).add(zxid, entry);
    }

    /// Returns the last committed transactions.
    #[must_use]
    pub fn committed_log(&self) -> &CommittedLog {
        &self.committed
    }

    /// Deletes ephemerals of sessions that the table does not know, in memory only: when a leader or a standalone server
    /// starts (zookeeper.md §3.2, §7.9).
    pub fn kill_unknown_sessions(&mut self) {
        let unknown: Vec<SessionId> =
            self.tree.ephemeral_owners().filter(|owner| !self.sessions.contains_key(owner)).collect();
        for session in unknown {
            Arc::make_mut(&mut self.tree).kill_session(session, self.last_processed, &mut Vec::new());
        }
    }

    /// Puts the ensemble's configuration into `/zookeeper/config`, in memory only (zookeeper.md §3.5).
    pub fn set_config(&mut self, text: Bytes, version: Zxid, wall_ms: i64) {
        Arc::make_mut(&mut self.tree).set_config(Buffer::new(text), version, wall_ms);
    }

    /// How often a digest differed from the tree's since the state was loaded, and at which zxid first.
    #[must_use]
    pub fn digest_mismatches(&self) -> (u64, Option<Zxid>) {
        (self.mismatches, self.first_mismatch)
    }

    /// Returns what a snapshot taken now says of the tree. None while the tree may be fuzzy, and before any transaction.
    #[must_use]
    pub const fn last_digest(&self) -> Option<ZxidDigest> {
        self.last_digest
    }

    /// Panics if the state contradicts itself. Walks all of it.
    pub fn check_invariants(&self) {
        self.tree.check_invariants();
        self.committed.check_invariants();
    }

    fn digest_at(&self, zxid: Zxid) -> ZxidDigest {
        ZxidDigest { zxid, digest: TxnDigest { version: DIGEST_VERSION, tree_digest: self.tree.digest() } }
    }

    /// Compares the tree with what its snapshot promised for this zxid; from then on digests are compared one by one.
    fn compare_loaded_digest(&mut self, zxid: Zxid) {
        if let Some(loaded) = self.loaded_digest
            && loaded.zxid == zxid
        {
            self.compare_digest(loaded);
            self.loaded_digest = None;
            self.last_digest = Some(self.digest_at(zxid));
        }
    }

    fn compare_digest(&mut self, expected: ZxidDigest) {
        if expected.digest.version == DIGEST_VERSION && expected.digest.tree_digest != self.tree.digest() {
            self.mismatches += 1;
            self.first_mismatch = self.first_mismatch.or(Some(expected.zxid));
        }
    }
}

/// The last committed transactions, from which learners are brought up to date by DIFF (zookeeper.md §3.4, §4.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedLog {
    entries: VecDeque<(Zxid, Bytes)>,
    limit: usize,
    /// Nobody looked for gaps before the fix of ZOOKEEPER-4925, nor do bugs that leave them.
    may_have_gaps: bool,
}

impl CommittedLog {
    /// The real server never keeps fewer.
    pub const LIMIT_MIN: usize = 500;

    /// Returns an empty log which keeps `commit_log_count` transactions, but never fewer than [`Self::LIMIT_MIN`].
    #[must_use]
    pub fn new(commit_log_count: usize) -> Self {
        Self { entries: VecDeque::new(), limit: commit_log_count.max(Self::LIMIT_MIN), may_have_gaps: false }
    }

    /// Returns the oldest zxid, none if the log is empty: then leaders use their last processed one for both ends.
    #[must_use]
    pub fn min(&self) -> Option<Zxid> {
        self.entries.front().map(|&(zxid, _)| zxid)
    }

    /// Returns the newest zxid.
    #[must_use]
    pub fn max(&self) -> Option<Zxid> {
        self.entries.back().map(|&(zxid, _)| zxid)
    }

    /// Returns the transactions in order; an entry is header, record and digest, as the txn log and proposals have it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Zxid, &Bytes)> {
        self.entries.iter().map(|(zxid, entry)| (*zxid, entry))
    }

    /// Number of transactions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends a transaction; one that is there already is ignored, the oldest goes when there are too many.
    ///
    /// # Panics
    /// If the transaction leaves a gap in its epoch (ZOOKEEPER-4925).
    pub fn add(&mut self, zxid: Zxid, entry: Bytes) {
        if let Some(max) = self.max() {
            if zxid <= max {
                return;
            }
            assert!(
                self.may_have_gaps || follows(max, zxid),
                "the committed log would have a gap between {max} and {zxid}"
            );
        }
        self.entries.push_back((zxid, entry));
        if self.entries.len() > self.limit {
            self.entries.pop_front();
        }
    }

    fn check_invariants(&self) {
        assert!(self.entries.len() <= self.limit, "the committed log is longer than {}", self.limit);
        for ((a, _), (b, _)) in self.entries.iter().zip(self.entries.iter().skip(1)) {
            assert!(a < b, "the committed log is not sorted at {a}");
            assert!(self.may_have_gaps || follows(*a, *b), "the committed log has a gap between {a} and {b}");
        }
    }
}

/// Whether `next` may come right after `last` in a history: it is the next of the same epoch, or of a later epoch.
///
/// It cannot be asked that a later epoch begins at 1: a server that joined later may have seen none of its start.
#[must_use]
pub fn follows(last: Zxid, next: Zxid) -> bool {
    next.epoch() > last.epoch() || next.value() == last.value() + 1
}

#[cfg(test)]
mod tests {
    use jute::PeerEpoch;

    use super::*;

    fn zxid(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(PeerEpoch::new(epoch), counter)
    }

    #[test]
    fn committed_log_drops_the_oldest_beyond_its_limit() {
        let mut log = CommittedLog::new(0);
        for counter in 1..=501 {
            log.add(zxid(1, counter), Bytes::new());
        }
        log.add(zxid(1, 7), Bytes::new());
        assert_eq!((log.len(), log.min(), log.max()), (500, Some(zxid(1, 2)), Some(zxid(1, 501))));
        log.add(zxid(3, 1), Bytes::new());
        log.check_invariants();
    }

    #[test]
    #[should_panic(expected = "gap between 0x100000001 and 0x100000003")]
    fn committed_log_has_no_gap() {
        let mut log = CommittedLog::new(500);
        log.add(zxid(1, 1), Bytes::new());
        log.add(zxid(1, 3), Bytes::new());
    }

    #[test]
    fn a_clone_shares_the_tree_until_one_changes() {
        let database = Database::new(500);
        let mut fork = database.clone();
        assert!(Arc::ptr_eq(&database.tree, &fork.tree));
        fork.set_config(Bytes::from_static(b"server.1"), Zxid::ZERO, 1);
        assert!(database.tree().node("/zookeeper/config").unwrap().data().is_empty());
        assert_eq!(fork.digest(), database.digest());
    }
}
