//! Client connections, sessions and the request pipeline (zookeeper.md §4, §7, §8).
//!
//! One [`Server`] is the real server's `ZooKeeperServer` of whatever role the peer has at the moment: it is opened when the
//! role starts to serve and closed when it ends. Stages are threads there and lanes here; what waits between two stages is a
//! queue of the struct, and an item of the lane takes one request from it:
//!
//! ```text
//! standalone  client ─▶ Prep ─▶ Sync ─▶ Final
//! leader      client, learner ─▶ Prep ─▶ Commit ·····(commit)·····▶ Final
//!                                  └──▶ propose, Sync ─▶ own ack
//! follower    client ─▶ forward ─▶ Commit ··(commit)··▶ Final      proposal ─▶ Sync ─▶ ack
//! lanes       (arrival)   PREP      COMMIT   COMMIT                            DISK
//! ```
//!
//! A standalone server's Final runs on the DISK lane, as its requests pass the sync processor one behind the other.
//! What the peer must do with a request (propose it, forward it, acknowledge it) leaves as a [`ServerEvent`]; the owner
//! drains them with [`Server::poll_event`] after every call. Lane items of an earlier role are stale and do nothing.

mod acl;
#[cfg(test)]
mod bench;
mod change;
mod commit;
mod connect;
mod connection;
mod containers;
mod delivery;
mod expiry_queue;
mod finish;
mod identity;
mod ingress;
mod local_sessions;
mod prep;
mod prep_txn;
mod read;
mod read_only;
mod reconfig;
mod request;
mod session_tracker;
mod snapshot;
mod statistics;
mod sync;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use jute::data::Id;
use jute::op::OpCode;
use jute::{SessionId, Sid, Xid, Zxid};
use machine::disk::DiskError;
use machine::{Digest, EndId, HostId, Instant, Io, Ticket, WallMillis};

use crate::config::{Release, ServerConfig};
use crate::quorum_verifier::Quorums;
use crate::store::TxnLog;
use crate::tree::TreeEvent;
use crate::watch::WatchTable;
use crate::{Coordinator, CoordinatorMark, Database, Fact, work};

use commit::CommitProcessor;
use connection::Connections;
use containers::ContainerManager;
use expiry_queue::ExpiryQueue;
use local_sessions::LocalSessions;
use prep::Prep;
use session_tracker::{SessionTracker, Tracking};
use snapshot::SnapshotThread;
use statistics::Statistics;
use sync::SyncProcessor;

use request::nobody;

pub use request::{Ask, Owner, Proposal, Request, is_forwarded};
pub use words::Asked;

/// As what a server serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    /// Alone.
    Standalone,
    /// As the leader: the first txn gets the zxid after this one, `epoch << 32`.
    Leader {
        /// `epoch << 32`.
        zxid: Zxid,
    },
    /// As a follower.
    Follower,
    /// Nobody's: what it has may be read, while it looks for a leader.
    ReadOnly,
    /// As an observer.
    Observer,
}

/// What a step works on: lent by the coordinator, which shares both with recovery and synchronisation.
#[derive(Debug)]
pub struct Stores<'a> {
    /// Tree, session table and committed log.
    pub db: &'a mut Database,
    /// The txn log.
    pub log: &'a mut TxnLog,
}

/// What the pipeline wants of the peer. Drained after every call, in order.
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// Follower: REQUEST for the leader (§4.2). A sync is already remembered for the leader's SYNC.
    Forward {
        /// Whose request.
        session: SessionId,
        /// The client's number for it.
        cxid: Xid,
        /// What it asks for.
        op: OpCode,
        /// Its record.
        body: Bytes,
        /// Who the client is.
        ids: Arc<[Id]>,
    },
    /// Leader: propose it (§3.7). The server keeps the request until [`Server::commit`].
    Propose(Arc<Proposal>),
    /// Leader: the counter of zxids is at its end; nothing more can be proposed (§3.7, `XidRollover`).
    XidRollover,
    /// Leader: a learner's sync reached its place: answer SYNC at once, or when what was proposed last is committed (§3.11).
    LeaderSync {
        /// The learner.
        learner: EndId,
        /// Whose sync.
        session: SessionId,
        /// The client's number for it.
        cxid: Xid,
    },
    /// These txns are in the log, durably, in this order: the leader acknowledges its own, a follower sends ACKs.
    Logged(Vec<Zxid>),
    /// Follower: REVALIDATE for the leader; the answer is [`Server::revalidated`].
    Revalidate {
        /// The session.
        session: SessionId,
        /// The timeout its client was promised, ms.
        timeout_ms: i32,
    },
    /// A txn is applied: the leader drops it from `toBeApplied`.
    Applied {
        /// Its zxid.
        zxid: Zxid,
    },
    /// [`Server::close`] has come to its end: everything that was queued for the log is in it, durably.
    Closed,
    /// A critical thread died (§3.10): the role must end.
    Fatal(ServerFault),
}

/// Why a server cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerFault {
    /// Writing or syncing the txn log failed.
    Log(DiskError),
}

/// What a commit from the leader met (§3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Committing {
    /// It is on its way to the tree.
    Taken,
    /// No txn waits for a commit: it is ignored.
    NonePending,
    /// Another txn is next: a follower exits with status 12.
    Mismatch {
        /// The next.
        head: Zxid,
    },
}

/// The next step of a stage. The number is the term of service it was deferred in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerWork {
    /// One request to prepare or to forward.
    Prep(u64),
    /// One step of the sync processor.
    Sync(u64),
    /// One step of the commit processor.
    Commit(u64),
    /// The expiry buckets that are due.
    Expire(u64),
    /// One chunk of a snapshot.
    Snapshot,
}

/// Sessions that expire in one bucket before it counts as many.
const MASS_EXPIRY: usize = 3;

/// The server behind the client port, in whatever role it has at the moment.
#[derive(Clone, Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    /// Counts openings: lane items of an earlier one are stale.
    term: u64,
    /// None: client connections are accepted, and closed at their first frame.
    serving: Option<Serving>,
    /// No longer open to clients, and not yet done with the log.
    closing: bool,
    connections: Connections,
    /// Connections by when they are given up if nothing is heard of them.
    connection_expiry: ExpiryQueue<EndId>,
    watches: WatchTable,
    tracking: Tracking,
    /// Of a server of an ensemble whose new sessions are local.
    locals: Option<LocalSessions>,
    /// Sessions that expired and whose closing is not submitted yet.
    expired: Vec<SessionId>,
    /// The next session's id.
    next_session: SessionId,
    prep: Prep,
    sync: SyncProcessor,
    commit: CommitProcessor,
    commit_scheduled: bool,
    /// What waits for its commit, in order: the leader's proposals, a follower's `pendingTxns`.
    proposed: VecDeque<Request>,
    /// Follower: syncs that wait for the leader's SYNC.
    pending_syncs: VecDeque<Request>,
    /// Follower: connections that wait for the answer to a REVALIDATE.
    revalidating: BTreeMap<SessionId, EndId>,
    /// Requests of this server's own clients that are not answered.
    in_process: usize,
    statistics: Statistics,
    containers: ContainerManager,
    /// Who is in the ensemble.
    quorums: Quorums,
    /// Leader: who was in step when a reconfiguration came to its turn.
    synced: BTreeSet<Sid>,
    snapshot: Option<SnapshotThread>,
    snapshot_scheduled: bool,
    /// Events that watches are told of late, with their txns; always empty but for a mutant.
    late_watches: Vec<(Vec<TreeEvent>, Zxid)>,
    /// Both clocks when it was opened.
    opened_at: (Instant, WallMillis),
    events: VecDeque<ServerEvent>,
}

impl Server {
    /// A server that does not serve yet.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, io: &mut Io<'_, Coordinator>) -> Self {
        let now = io.now();
        let quorum = Arc::new(config.quorum());
        Self {
            term: 0,
            quorums: Quorums::new(&quorum, &quorum),
            synced: BTreeSet::new(),
            serving: None,
            closing: false,
            connections: Connections::default(),
            connection_expiry: ExpiryQueue::new(config.sessionless_cnxn_timeout, now),
            watches: WatchTable::new(config.release == Release::V3_8_0),
            tracking: Tracking::Touching(BTreeMap::new()),
            locals: None,
            expired: Vec::new(),
            next_session: SessionId::ZERO,
            prep: Prep::new(Zxid::ZERO, config.digest_enabled),
            sync: SyncProcessor::new(&config, io),
            commit: CommitProcessor::new(false, config.max_read_batch_size, config.max_commit_batch_size),
            commit_scheduled: false,
            proposed: VecDeque::new(),
            pending_syncs: VecDeque::new(),
            revalidating: BTreeMap::new(),
            in_process: 0,
            statistics: Statistics::default(),
            containers: ContainerManager::new(config.container_check_interval, now),
            snapshot: None,
            snapshot_scheduled: false,
            late_watches: Vec::new(),
            opened_at: (now, io.wall_clock()),
            events: VecDeque::new(),
            config,
        }
    }

    /// Begins to serve. The database is loaded, its unknown sessions are killed, and a leader's `last_processed` is already the
    /// start of its epoch: all that is the main loop's (§3.2, §3.5).
    ///
    /// A server that may expire sessions gives each a full timeout from now.
    ///
    /// # Panics
    /// If it serves already.
    pub fn open(&mut self, serving: Serving, stores: &Stores<'_>, io: &mut Io<'_, Coordinator>) {
        assert!(self.serving.is_none(), "a server is opened once per role");
        let config = Arc::clone(&self.config);
        let now = io.now();
        self.term += 1;
        self.serving = Some(serving);
        self.closing = false;
        self.opened_at = (now, io.wall_clock());
        self.in_process = 0;
        self.tracking = match serving {
            Serving::Standalone | Serving::Leader { .. } => {
                let no_closing_flag = config.defects.has(crate::Defect::NoClosingFlag);
                let tracker = SessionTracker::new(stores.db.sessions(), config.tick_time, no_closing_flag, now);
                Tracking::Expiring(tracker)
            }
            Serving::Follower | Serving::Observer | Serving::ReadOnly => Tracking::Touching(BTreeMap::new()),
        };
        self.locals = (config.local_sessions_enabled && serving != Serving::Standalone)
            .then(|| LocalSessions::new(config.tick_time, now));
        self.expired.clear();
        // A standalone server calls itself 1 (§7.1).
        let sid = if config.is_distributed() { config.myid } else { Sid::new(1) };
        self.next_session = SessionId::first_of(sid, now.as_millis());
        let zxid = match serving {
            Serving::Standalone | Serving::Follower | Serving::Observer | Serving::ReadOnly => {
                stores.db.last_processed()
            }
            Serving::Leader { zxid } => zxid,
        };
        self.prep = Prep::new(zxid, config.digest_enabled);
        // How many txns were logged since the last snapshot is the database's business, whatever the role (§4.5).
        let txns = self.sync.txns;
        self.sync = SyncProcessor::new(&config, io);
        self.sync.txns = txns;
        let match_syncs = matches!(serving, Serving::Follower | Serving::Observer);
        self.commit = CommitProcessor::new(match_syncs, config.max_read_batch_size, config.max_commit_batch_size)
            .with_defects(&config.defects);
        self.commit_scheduled = false;
        self.containers = ContainerManager::new(config.container_check_interval, now);
        self.note_reapable(stores.db, now);
    }

    /// Ends a role (§2.1): clients are cut off, what is queued before the log is dropped, what is queued for it is logged. The
    /// end of that is [`ServerEvent::Closed`], perhaps at once; only then may the database be fast-forwarded or replaced.
    pub fn close(&mut self, stores: &Stores<'_>, io: &mut Io<'_, Coordinator>) {
        if self.serving.is_none() || self.closing {
            return;
        }
        self.closing = true;
        let ends: Vec<EndId> = self.connections.ends().collect();
        for end in ends {
            self.close_connection(end, io);
        }
        self.watches.clear();
        self.late_watches.clear();
        self.containers = ContainerManager::new(self.config.container_check_interval, io.now());
        self.tracking = Tracking::Touching(BTreeMap::new());
        self.locals = None;
        self.prep.queue.clear();
        self.prep.dead = true;
        self.commit = CommitProcessor::new(false, self.config.max_read_batch_size, self.config.max_commit_batch_size);
        self.proposed.clear();
        self.pending_syncs.clear();
        self.revalidating.clear();
        self.finish_snapshot(stores, io);
        self.close_if_drained();
    }

    /// The last step of [`Server::close`].
    fn close_if_drained(&mut self) {
        if self.closing && self.serving.is_some() && self.sync.is_drained() {
            self.serving = None;
            self.closing = false;
            self.expired.clear();
            self.events.push_back(ServerEvent::Closed);
        }
    }

    /// Whether it serves clients.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.serving.is_some() && !self.closing
    }

    /// Whether it has nothing to do with database and log: it was never opened, or has been closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.serving.is_none()
    }

    /// The role it serves in.
    #[must_use]
    pub fn serving(&self) -> Option<Serving> {
        self.serving
    }

    /// The watches of its clients.
    #[must_use]
    pub const fn watches(&self) -> &WatchTable {
        &self.watches
    }

    /// The connections that have a session: the end, the client's host, the session.
    pub fn clients(&self) -> impl Iterator<Item = (EndId, HostId, SessionId)> {
        self.connections.with_session()
    }

    /// Number of client connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// A deferred item has its turn.
    pub fn on_turn(&mut self, work: ServerWork, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        match work {
            ServerWork::Snapshot => self.on_snapshot_turn(stores, io),
            ServerWork::Prep(term) | ServerWork::Sync(term) | ServerWork::Commit(term) | ServerWork::Expire(term)
                if term != self.term || self.serving.is_none() => {}
            ServerWork::Prep(_) => self.on_prep_turn(stores, io),
            ServerWork::Sync(_) => self.on_sync_turn(stores, io),
            ServerWork::Commit(_) => self.on_commit_turn(stores, io),
            ServerWork::Expire(_) => self.on_expire_turn(io),
        }
    }

    /// Whether this server waits for that ticket.
    #[must_use]
    pub fn owns_ticket(&self, ticket: Ticket) -> bool {
        self.sync.owns(ticket)
    }

    /// A ticket came back.
    pub fn on_durable(&mut self, ticket: Ticket, result: Result<(), DiskError>, io: &mut Io<'_, Coordinator>) {
        assert!(self.owns_ticket(ticket), "{ticket} is none of the server's");
        self.on_log_durable(ticket, result, io);
    }

    /// Time has passed.
    pub fn on_woken(&mut self, db: &Database, io: &mut Io<'_, Coordinator>) {
        self.on_poll_timeout(io);
        if self.containers.next_due().is_some_and(|due| due <= io.now()) {
            self.reap(db, io);
        }
        if self.next_expiry().is_some_and(|due| due <= io.now()) {
            self.expire_connections(io);
            self.expire_sessions(io);
        }
    }

    /// When it next wants to be woken.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        [self.next_expiry(), self.sync.next_wake(), self.containers.next_due()].into_iter().flatten().min()
    }

    fn next_expiry(&self) -> Option<Instant> {
        let sessions = match &self.tracking {
            Tracking::Expiring(tracker) => tracker.next_due(),
            Tracking::Touching(_) => None,
        };
        let locals = self.locals.as_ref().and_then(|locals| locals.tracker.next_due());
        [sessions, locals, self.connection_expiry.next_due()].into_iter().flatten().min()
    }

    /// What sessions are measured by: the monotonic clock. A mutant has it run ahead as the calendar does.
    fn expiry_clock(&self, io: &Io<'_, Coordinator>) -> Instant {
        let (now, (opened, calendar)) = (io.now(), self.opened_at);
        if !self.config.defects.has(crate::Defect::ExpiryByCalendar) {
            return now;
        }
        let by_calendar = u64::try_from(io.wall_clock().0.saturating_sub(calendar.0)).unwrap_or(0);
        now.max(opened.saturating_add(machine::Span::millis(by_calendar)))
    }

    /// The buckets that are due. They are taken in the wake itself, which is the tracker thread's: a process that stalled
    /// may so take them before or after the touches that wait in its sockets, as the engine draws it.
    fn expire_sessions(&mut self, io: &mut Io<'_, Coordinator>) {
        let was_idle = self.expired.is_empty();
        let now = self.expiry_clock(io);
        while let Some(expired) = self.tracking.tracker().and_then(|tracker| tracker.expire(now)) {
            if expired.len() >= MASS_EXPIRY {
                io.reach(CoordinatorMark::MassExpiry);
            }
            for (session, timeout_ms) in expired {
                io.state(Fact::SessionExpired { session, timeout_ms });
                self.expired.push(session);
            }
        }
        while let Some(expired) = self.locals.as_mut().and_then(|locals| locals.tracker.expire(now)) {
            self.expired.extend(expired.into_iter().map(|(session, _)| session));
        }
        if was_idle && !self.expired.is_empty() {
            io.defer(work::SESSIONS, ServerWork::Expire(self.term));
        }
    }

    /// The sessions that expired are closed, as if they had asked for it themselves.
    fn on_expire_turn(&mut self, io: &mut Io<'_, Coordinator>) {
        for session in std::mem::take(&mut self.expired) {
            let ask = Ask::Client(jute::client::Request::CloseSession);
            let is_local = self.is_local(session);
            self.submit(Request { is_local, ..Request::detached(session, Xid::ZERO, ask, Owner::Me, nobody()) }, io);
        }
    }

    fn expire_connections(&mut self, io: &mut Io<'_, Coordinator>) {
        while let Some(bucket) = self.connection_expiry.poll(io.now()) {
            for end in bucket {
                self.close_connection(end, io);
            }
        }
    }

    /// The next thing the peer must do.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// Leader: a quorum has this txn. Follower: the leader says so (§3.7, §3.8).
    pub fn commit(&mut self, zxid: Zxid, io: &mut Io<'_, Coordinator>) -> Committing {
        match self.proposed.front().and_then(|request| request.proposal.as_ref()).map(|proposal| proposal.zxid()) {
            None => Committing::NonePending,
            Some(head) if head != zxid => Committing::Mismatch { head },
            Some(_) => {
                let request = self.proposed.pop_front().expect("it has a front");
                self.commit.commit(request);
                self.schedule_commit(io);
                Committing::Taken
            }
        }
    }

    /// Follower: a proposal to log and, later, to commit (§3.8). One that only names its epoch waits for no commit.
    pub fn log_proposal(&mut self, proposal: Arc<Proposal>, io: &mut Io<'_, Coordinator>) {
        assert!(self.serving == Some(Serving::Follower), "only a follower logs another's proposal");
        let request = Request::of_proposal(proposal);
        let zxid = request.proposal.as_ref().map_or(Zxid::ZERO, |proposal| proposal.zxid());
        if !zxid.is_epoch_start() {
            self.proposed.push_back(request.clone());
        }
        self.log_request(request, io);
    }

    /// Observer: the leader committed this txn (§3.8). It is logged, and nobody is told when it is durable.
    pub fn inform(&mut self, proposal: Arc<Proposal>, io: &mut Io<'_, Coordinator>) {
        assert!(self.serving == Some(Serving::Observer), "only an observer is informed");
        let request = Request::of_proposal(proposal);
        if self.config.sync_enabled {
            self.log_request(request.clone(), io);
        }
        self.commit.commit(request);
        self.schedule_commit(io);
    }

    /// The ensemble's configuration changed.
    pub fn set_quorums(&mut self, quorums: Quorums) {
        self.quorums = quorums;
    }

    /// Leader: whether the next request to prepare is a reconfiguration: then [`Server::set_synced`] comes first.
    #[must_use]
    pub fn reconfigures_next(&self) -> bool {
        self.prep.queue.front().is_some_and(|request| request.op() == OpCode::Reconfig)
    }

    /// Leader: its followers that are in step with it, and itself.
    pub fn set_synced(&mut self, synced: BTreeSet<Sid>) {
        self.synced = synced;
    }

    /// The txn that is committed next.
    #[must_use]
    pub fn next_to_commit(&self) -> Option<Arc<Proposal>> {
        self.proposed.front().and_then(|request| request.proposal.clone())
    }

    /// Follower: the leader answered the oldest sync (§3.11).
    pub fn sync_done(&mut self, io: &mut Io<'_, Coordinator>) {
        if let Some(request) = self.pending_syncs.pop_front() {
            self.commit.commit(request);
            self.schedule_commit(io);
        }
    }

    fn arrive_at_commit(&mut self, request: Request, io: &mut Io<'_, Coordinator>) {
        self.commit.arrive(request);
        self.schedule_commit(io);
    }

    fn schedule_commit(&mut self, io: &mut Io<'_, Coordinator>) {
        if !self.commit_scheduled && !self.commit.is_idle() {
            self.commit_scheduled = true;
            io.defer(work::COMMIT, ServerWork::Commit(self.term));
        }
    }

    fn on_commit_turn(&mut self, stores: &mut Stores<'_>, io: &mut Io<'_, Coordinator>) {
        self.commit_scheduled = false;
        for request in self.commit.step() {
            io.spend(work::COMMIT, self.config.costs.apply);
            self.finish(request, stores, io);
        }
        self.schedule_commit(io);
    }

    /// Panics if the server contradicts itself.
    pub fn check_invariants(&self) {
        self.connections.check();
        self.connection_expiry.check();
        assert!(
            self.connection_expiry.len() == self.connections.len(),
            "every connection may expire, and nothing else"
        );
        self.watches.check_invariants();
        for end in self.watches.ends() {
            assert!(self.connections.contains(end), "a watch of {end} is left behind, and nothing ever removes it");
        }
        self.commit.check();
        self.sync.check();
        self.prep.changes.check();
        if let Tracking::Expiring(tracker) = &self.tracking {
            tracker.check_invariants();
        }
        if self.serving.is_none() {
            assert!(self.proposed.is_empty() && self.pending_syncs.is_empty(), "who does not serve waits for nobody");
        }
    }

    /// Lengths and positions.
    pub fn digest(&self, into: &mut Digest) {
        into.word(self.term);
        into.word(match self.serving {
            None => 0,
            Some(Serving::Standalone) => 1,
            Some(Serving::Leader { .. }) => 2,
            Some(Serving::Follower) => 3,
            Some(Serving::ReadOnly) => 4,
            Some(Serving::Observer) => 5,
        });
        let tracked = match &self.tracking {
            Tracking::Expiring(tracker) => tracker.len(),
            Tracking::Touching(touches) => touches.len(),
        };
        let lengths = [
            self.connections.len(),
            self.watches.len(),
            tracked,
            self.prep.queue.len(),
            self.prep.changes.len(),
            self.sync.len(),
            self.commit.len(),
            self.proposed.len(),
            self.pending_syncs.len(),
            self.in_process,
        ];
        for length in lengths {
            into.word(length as u64);
        }
        into.word(self.prep.zxid.value());
        into.signed(self.next_session.value());
    }
}
