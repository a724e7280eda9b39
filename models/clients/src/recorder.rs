//! A session whose every operation is told to observers: invocation, end, and who was left behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use jute::client::{MultiReadOp, OpResult, Request, SyncRequest};
use jute::op::ErrorCode;
use jute::{SessionId, Zxid};
use machine::{EndId, InputOf, Instant, Io};
use zkclient::{Chroot, OpId, Rejected, WatchedEvent, ZkClient, ZkClientConfig, ZkEvent};

use crate::data::Numbering;
use crate::invocation::Invocation;
use crate::op::{Done, Found, Open};
use crate::{OldestOp, OpKind, Outcome, WorkloadFact, WorkloadMark, ZkWorkload};

/// What a workload must know of its session and its operations.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// A session was made anew, or a connection is back; perhaps one that can only read.
    Connected,
    /// A server refused its identity: nothing will ever come of this process.
    AuthFailed,
    /// The connection is gone; what was open on it has ended.
    Disconnected,
    /// The session is over; another was begun.
    Expired,
    /// The session was closed at the workload's own wish.
    Closed,
    /// An operation ended.
    Done(Box<Done>),
    /// A watch saw something.
    Watch(WatchedEvent),
}

/// A logical process: it has one operation open at a time, and rests between two.
#[derive(Clone, Copy, Debug)]
struct Slot {
    process: u64,
    open: bool,
    ready_at: Instant,
}

/// A session, the operations that are open on it, and the processes that invoked them.
///
/// A client that is to live below a chroot begins outside, because somebody must make that znode, and goes in when it has.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    client: u16,
    config: Arc<ZkClientConfig>,
    zk: ZkClient,
    /// The session outside is being closed: the next is inside.
    entering: bool,
    numbers: Numbering,
    slots: Vec<Slot>,
    /// By the session's own number.
    open: BTreeMap<OpId, Open>,
    /// Syncs, and the reads behind them.
    syncs: BTreeMap<OpId, OpId>,
}

impl Recorder {
    pub(crate) fn new(client: u16, config: Arc<ZkClientConfig>, processes: u16, io: &mut Io<'_, ZkWorkload>) -> Self {
        let mut numbers = Numbering::new(client, io);
        let ready_at = io.now();
        let slots = (0..processes).map(|_| Slot { process: numbers.fresh(), open: false, ready_at }).collect();
        let outside = ZkClientConfig { chroot: Chroot::NONE, ..config.as_ref().clone() };
        let zk = ZkClient::new(if config.chroot == Chroot::NONE { Arc::clone(&config) } else { Arc::new(outside) });
        let mut recorder =
            Self { client, config, zk, entering: false, numbers, slots, open: BTreeMap::new(), syncs: BTreeMap::new() };
        io.lend(|io| recorder.zk.start(io));
        recorder
    }

    /// A number for a value.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.numbers.fresh()
    }

    pub(crate) const fn client(&self) -> u16 {
        self.client
    }

    pub(crate) const fn zk(&self) -> &ZkClient {
        &self.zk
    }

    pub(crate) const fn session(&self) -> SessionId {
        self.zk.session()
    }

    /// What servers, and so reports and judges, call a path of this client.
    pub(crate) fn whole_path(&self, path: &Arc<str>) -> Arc<str> {
        self.zk.config().chroot.prepend_shared(path)
    }

    /// Ends the session outside of the chroot, which is there now, and begins one inside.
    pub(crate) fn enter(&mut self, io: &mut Io<'_, ZkWorkload>) -> Vec<Told> {
        assert!(self.open.is_empty(), "nothing is open when the client goes in");
        self.entering = true;
        let events = io.lend(|io| self.zk.close(io));
        self.on_events(events, io)
    }

    fn begin_again(&mut self, config: Arc<ZkClientConfig>, io: &mut Io<'_, ZkWorkload>) {
        self.entering = false;
        self.zk = ZkClient::new(config);
        io.lend(|io| self.zk.start(io));
    }

    pub(crate) fn owns(&self, end: EndId) -> bool {
        self.zk.owns(end)
    }

    /// A process that may start an operation now.
    pub(crate) fn free_slot(&self, now: Instant) -> Option<usize> {
        self.slots.iter().position(|slot| !slot.open && slot.ready_at <= now)
    }

    /// A process without an operation, resting or not: for what follows from an event.
    pub(crate) fn idle_slot(&self) -> Option<usize> {
        self.slots.iter().position(|slot| !slot.open)
    }

    pub(crate) fn rest(&mut self, slot: usize, until: Instant) {
        self.slots[slot].ready_at = until;
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Starts an operation and states its invocation. A session that is being closed takes none: then its failure is
    /// stated at once, and nothing else comes of it.
    pub(crate) fn invoke(&mut self, slot: usize, what: Invocation, io: &mut Io<'_, ZkWorkload>) {
        assert!(!self.slots[slot].open, "a process has one operation open at a time");
        let Invocation { kind, path, request, version, writes, aim, subject } = what;
        let parts = if let Request::Multi(multi) = &request {
            multi.ops.iter().map(|op| Arc::from(op.path())).collect()
        } else if let Request::MultiRead(multi) = &request {
            multi.ops.iter().map(path_read).collect()
        } else {
            Vec::new()
        };
        let open = Open {
            number: self.numbers.fresh(),
            slot,
            since: io.now(),
            kind,
            path,
            writes,
            aim,
            subject,
            parts,
            unsynced: false,
        };
        io.state(WorkloadFact::Invoked {
            client: self.client,
            process: self.slots[slot].process,
            op: open.number,
            kind,
            path: self.whole_path(&open.path),
            session: self.zk.session(),
            version,
            value: writes.map(|stored| stored.value),
        });
        match self.submit(&open, request, io) {
            Ok(op) => {
                self.slots[slot].open = true;
                let before = self.open.insert(op, open);
                assert!(before.is_none(), "operation numbers are not reused");
            }
            Err(Rejected::Closed) => {
                self.state_end(&open, Outcome::Failed, ErrorCode::SessionExpired, None, &Found::default(), io);
            }
            Err(Rejected::Full) => panic!("client {} has more processes than operations", self.client),
            Err(Rejected::BadPath(error)) => panic!("client {} names znodes properly: {error}", self.client),
            Err(Rejected::AuthFailed) => unreachable!("its process ended with that"),
        }
    }

    fn submit(&mut self, open: &Open, request: Request, io: &mut Io<'_, ZkWorkload>) -> Result<OpId, Rejected> {
        let sync = match open.kind {
            OpKind::SyncGetData => {
                let sync = Request::Sync(SyncRequest { path: Some(open.path.as_ref().to_owned()) });
                Some(io.lend(|io| self.zk.submit(sync, io))?)
            }
            OpKind::Create
            | OpKind::CreateEphemeral
            | OpKind::CreateSequential
            | OpKind::CreateEphemeralSequential
            | OpKind::Delete
            | OpKind::Exists
            | OpKind::GetData
            | OpKind::SetData
            | OpKind::GetChildren
            | OpKind::Multi
            | OpKind::GetConfig
            | OpKind::Reconfig => None,
            OpKind::CreateContainer
            | OpKind::CreateTtl
            | OpKind::CreateSequentialTtl
            | OpKind::SetAcl
            | OpKind::MixedMulti
            | OpKind::GetAcl
            | OpKind::ListNames
            | OpKind::MultiRead
            | OpKind::GetEphemerals
            | OpKind::CountChildren
            | OpKind::CheckWatches
            | OpKind::RemoveWatches => None,
        };
        let op = io.lend(|io| self.zk.submit(request, io))?;
        if let Some(sync) = sync {
            self.syncs.insert(sync, op);
        }
        Ok(op)
    }

    /// Ends the session.
    pub(crate) fn close(&mut self, io: &mut Io<'_, ZkWorkload>) -> Vec<Told> {
        self.entering = false;
        let events = io.lend(|io| self.zk.close(io));
        self.on_events(events, io)
    }

    /// Feeds the session, and begins a new one where it expired.
    pub(crate) fn handle(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, ZkWorkload>) -> Vec<Told> {
        let events = io.lend(|io| self.zk.handle(input, io));
        self.on_events(events, io)
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.zk.next_wake()
    }

    fn on_events(&mut self, events: Vec<ZkEvent>, io: &mut Io<'_, ZkWorkload>) -> Vec<Told> {
        let mut told = Vec::new();
        for event in events {
            match event {
                // A session that is being closed takes nothing more.
                ZkEvent::Connected { .. } | ZkEvent::ConnectedReadOnly { .. } if self.entering => {}
                ZkEvent::Connected { .. } | ZkEvent::ConnectedReadOnly { .. } => told.push(Told::Connected),
                ZkEvent::AuthFailed => told.push(Told::AuthFailed),
                ZkEvent::Disconnected => told.push(Told::Disconnected),
                ZkEvent::Expired => {
                    assert!(self.open.is_empty() && self.syncs.is_empty(), "operations end before their session");
                    io.reach(WorkloadMark::SessionAgain);
                    let config = if self.entering { &self.config } else { self.zk.config() };
                    self.begin_again(Arc::clone(config), io);
                    told.push(Told::Expired);
                }
                ZkEvent::Closed if self.entering => self.begin_again(Arc::clone(&self.config), io),
                ZkEvent::Closed => told.push(Told::Closed),
                ZkEvent::Completed { op, outcome } => {
                    told.extend(self.on_completed(op, outcome, io).map(|done| Told::Done(Box::new(done))))
                }
                ZkEvent::Watch(event) => told.push(Told::Watch(event)),
            }
        }
        told
    }

    fn on_completed(&mut self, op: OpId, outcome: zkclient::Outcome, io: &mut Io<'_, ZkWorkload>) -> Option<Done> {
        if let Some(read) = self.syncs.remove(&op) {
            self.on_synced(read, &outcome);
            return None;
        }
        let open = self.open.remove(&op).expect("what completes was open");
        let (mut class, code, zxid, found) = match outcome {
            zkclient::Outcome::Ok { response, zxid } => {
                let found = Found::of(&open, response);
                let code = found.multi_code(open.kind);
                (Outcome::of(code), code, zxid, found)
            }
            zkclient::Outcome::Error { code, zxid } => (Outcome::of(code), code, zxid, Found::default()),
            zkclient::Outcome::ConnectionLoss => (Outcome::Unknown, ErrorCode::ConnectionLoss, None, Found::default()),
            zkclient::Outcome::SessionExpired => (Outcome::Unknown, ErrorCode::SessionExpired, None, Found::default()),
            zkclient::Outcome::AuthFailed => (Outcome::Unknown, ErrorCode::AuthFailed, None, Found::default()),
            zkclient::Outcome::RequestTimeout => (Outcome::Unknown, ErrorCode::RequestTimeout, None, Found::default()),
        };
        if open.unsynced {
            class = Outcome::Unknown;
        }
        self.state_end(&open, class, code, zxid, &found, io);
        self.slots[open.slot].open = false;
        if class == Outcome::Unknown {
            io.reach(WorkloadMark::OutcomeUnknown);
            self.retire(open.slot, io);
        }
        if code == ErrorCode::BadVersion {
            io.reach(WorkloadMark::BadVersion);
        }
        let wrote = open.writes.map(|stored| stored.value);
        let Open { slot, kind, path, aim, subject, .. } = open;
        Some(Done { slot, kind, path, aim, subject, outcome: class, code, zxid, wrote, result: found })
    }

    /// A read behind a sync that went wrong proves nothing; one behind a lost connection is lost as well.
    fn on_synced(&mut self, read: OpId, outcome: &zkclient::Outcome) {
        match outcome {
            zkclient::Outcome::Ok { .. } => {}
            zkclient::Outcome::Error { .. }
            | zkclient::Outcome::ConnectionLoss
            | zkclient::Outcome::SessionExpired
            | zkclient::Outcome::AuthFailed
            | zkclient::Outcome::RequestTimeout => {
                self.open.get_mut(&read).expect("a sync ends before its read").unsynced = true;
            }
        }
    }

    /// A process that does not know how its operation ended may not invoke another.
    fn retire(&mut self, slot: usize, io: &mut Io<'_, ZkWorkload>) {
        let process = self.slots[slot].process;
        let successor = self.numbers.fresh();
        self.slots[slot].process = successor;
        io.state(WorkloadFact::ProcessRetired { client: self.client, process, successor });
    }

    fn state_end(
        &self,
        open: &Open,
        outcome: Outcome,
        code: ErrorCode,
        zxid: Option<Zxid>,
        found: &Found,
        io: &mut Io<'_, ZkWorkload>,
    ) {
        self.state_parts(open, found, io);
        let path = self.whole_path(found.created.as_ref().unwrap_or(&open.path));
        let wrote = if code == ErrorCode::Ok { open.writes } else { None };
        let value = found.stored.or(wrote).map(|stored| stored.value);
        let is_list = open.kind == OpKind::GetChildren && code == ErrorCode::Ok && outcome == Outcome::Ok;
        io.state(WorkloadFact::Completed {
            client: self.client,
            process: self.slots[open.slot].process,
            op: open.number,
            kind: open.kind,
            path,
            session: self.zk.session(),
            server: self.zk.server().cloned(),
            outcome,
            code,
            zxid,
            czxid: found.stat.map(|stat| stat.czxid),
            mzxid: found.stat.map(|stat| stat.mzxid),
            pzxid: found.stat.map(|stat| stat.pzxid),
            version: found.stat.map(|stat| stat.version),
            cversion: found.stat.map(|stat| stat.cversion),
            owner: found.stat.map_or(SessionId::ZERO, |stat| stat.ephemeral_owner),
            value,
            children: is_list.then(|| u32::try_from(found.children.len()).expect("a list fits a frame")),
        });
    }

    fn state_parts(&self, open: &Open, found: &Found, io: &mut Io<'_, ZkWorkload>) {
        assert!(
            found.parts.is_empty() || found.parts.len() == open.parts.len(),
            "a multi of {} has {} results",
            open.parts.len(),
            found.parts.len()
        );
        if open.kind == OpKind::MultiRead {
            return;
        }
        if open.kind == OpKind::MixedMulti {
            return self.state_mixed_parts(open, found, io);
        }
        for (part, path) in found.parts.iter().zip(&open.parts) {
            let (code, stat) = match part {
                OpResult::SetData(set) => (ErrorCode::Ok, Some(set.stat)),
                OpResult::Create2(made) => (ErrorCode::Ok, Some(made.stat)),
                OpResult::Create(_)
                | OpResult::Delete
                | OpResult::Check
                | OpResult::GetData(_)
                | OpResult::GetChildren(_) => (ErrorCode::Ok, None),
                OpResult::Error(code) => (*code, None),
            };
            let value = stat.and(open.writes).map(|stored| stored.value);
            io.state(WorkloadFact::MultiResult {
                client: self.client,
                op: open.number,
                path: self.whole_path(path),
                code,
                mzxid: stat.map(|stat| stat.mzxid),
                version: stat.map(|stat| stat.version),
                value,
            });
        }
    }

    fn state_mixed_parts(&self, open: &Open, found: &Found, io: &mut Io<'_, ZkWorkload>) {
        for (part, path) in found.parts.iter().zip(&open.parts) {
            let (path, stat) = match part {
                OpResult::SetData(set) => (Arc::clone(path), set.stat),
                OpResult::Create2(made) => (Arc::from(made.path.as_str()), made.stat),
                OpResult::Create(_)
                | OpResult::Delete
                | OpResult::Check
                | OpResult::GetData(_)
                | OpResult::GetChildren(_)
                | OpResult::Error(_) => continue,
            };
            io.state(WorkloadFact::PartWritten {
                client: self.client,
                op: open.number,
                path,
                czxid: stat.czxid,
                version: stat.version,
                value: open.writes.map(|stored| stored.value),
            });
        }
    }

    /// The oldest operation without an outcome.
    pub(crate) fn oldest(&self) -> Option<OldestOp> {
        let open = self.open.values().min_by_key(|open| open.number)?;
        Some(OldestOp {
            client: self.client,
            op: open.number,
            kind: open.kind,
            path: Arc::clone(&open.path),
            since: open.since,
        })
    }

    /// Panics if the state contradicts itself.
    pub(crate) fn check_invariants(&self) {
        self.zk.check_invariants();
        assert_eq!(
            self.zk.operations(),
            self.open.len() + self.syncs.len(),
            "every operation of the session is one of the workload"
        );
        for (index, slot) in self.slots.iter().enumerate() {
            let open = self.open.values().filter(|open| open.slot == index).count();
            assert_eq!(open, usize::from(slot.open), "process {:#x} has {open} operations open", slot.process);
        }
    }
}

/// The path that a part of a multiRead is about.
fn path_read(op: &MultiReadOp) -> Arc<str> {
    Arc::from(match op {
        MultiReadOp::GetData(request) => request.path.as_str(),
        MultiReadOp::GetChildren(request) => request.path.as_str(),
    })
}
