//! Requests on their way: queued until a session is confirmed, then pending until they are answered.

use std::collections::VecDeque;
use std::sync::Arc;

use jute::Xid;
use jute::client::{AuthPacket, Request};
use jute::op::WatcherType;
use machine::Instant;

use crate::{OpId, WatchKind};

/// What happens to the client's own watches when a request has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnWatches {
    /// Nothing.
    Nothing,
    /// One is set, if the reply says so.
    Set { kind: WatchKind, path: Arc<str> },
    /// Some are removed; `local` ones even if no server agrees.
    Remove { watcher_type: WatcherType, path: Arc<str>, local: bool },
}

/// An operation of the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) op: OpId,
    pub(crate) on_watches: OnWatches,
    /// When its caller gives up; never, usually.
    pub(crate) deadline: Option<Instant>,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The parent.
    Operation(Operation),
    /// Its caller has given it up: nobody waits for its end.
    Abandoned,
    /// An identity. It has no number and is not answered in order, so nothing waits for it.
    Auth,
    /// The watches of a session that reconnected.
    Watches,
    /// The end of the session.
    Close,
}

/// A request without a number: it gets its xid when it is written.
#[derive(Clone, Debug)]
struct Queued {
    purpose: Purpose,
    request: Request,
}

/// A request that was written and is unanswered.
#[derive(Clone, Debug)]
struct Pending {
    xid: Xid,
    purpose: Purpose,
}

/// What a reply's xid came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It is the oldest request's.
    InOrder(Purpose),
    /// It is not: that request, which was taken, is lost.
    OutOfOrder(Purpose),
    /// Nothing is pending.
    Unasked,
}

/// The two FIFO queues of the Java client, `outgoingQueue` and `pendingQueue`.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    next_xid: Xid,
    next_op: u64,
    queued: VecDeque<Queued>,
    pending: VecDeque<Pending>,
    /// Operations of the parent in both.
    operations: usize,
    /// Those of them that will register a watch.
    watches_due: usize,
}

impl InFlight {
    pub(crate) const fn new() -> Self {
        Self {
            next_xid: Xid::FIRST,
            next_op: 0,
            queued: VecDeque::new(),
            pending: VecDeque::new(),
            operations: 0,
            watches_due: 0,
        }
    }

    pub(crate) const fn operations(&self) -> usize {
        self.operations
    }

    pub(crate) const fn watches_due(&self) -> usize {
        self.watches_due
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether setWatches is unanswered: what arrives now is what a reconnect found.
    pub(crate) fn is_setting_watches(&self) -> bool {
        self.pending.iter().any(|pending| pending.purpose == Purpose::Watches)
    }

    pub(crate) fn queue_operation(
        &mut self,
        request: Request,
        on_watches: OnWatches,
        deadline: Option<Instant>,
    ) -> OpId {
        let op = OpId(self.next_op);
        self.next_op += 1;
        self.operations += 1;
        self.watches_due += usize::from(on_watches.sets_one());
        let purpose = Purpose::Operation(Operation { op, on_watches, deadline });
        self.queued.push_back(Queued { purpose, request });
        op
    }

    /// An identity, behind what is queued.
    pub(crate) fn queue_auth(&mut self, packet: AuthPacket) {
        self.queued.push_back(Queued { purpose: Purpose::Auth, request: Request::Auth(packet) });
    }

    pub(crate) fn queue_close(&mut self) {
        self.queued.push_back(Queued { purpose: Purpose::Close, request: Request::CloseSession });
    }

    /// Puts watches, as setWatches or setWatches2, in front of everything.
    pub(crate) fn queue_watches_first(&mut self, batch: Request) {
        self.queued.push_front(Queued { purpose: Purpose::Watches, request: batch });
    }

    /// Puts an identity in front of everything.
    pub(crate) fn queue_auth_first(&mut self, packet: AuthPacket) {
        self.queued.push_front(Queued { purpose: Purpose::Auth, request: Request::Auth(packet) });
    }

    /// Takes the next queued request to be written, and numbers it: also setWatches, whose special xid −8 the Java client
    /// overwrites.
    pub(crate) fn write_next(&mut self) -> Option<(Xid, Request)> {
        let Queued { purpose, request } = self.queued.pop_front()?;
        if purpose == Purpose::Auth {
            return Some((Xid::AUTH, request));
        }
        let xid = self.next_xid;
        self.next_xid = xid.next();
        self.pending.push_back(Pending { xid, purpose });
        Some((xid, request))
    }

    /// Takes the oldest pending request for a reply with this xid.
    pub(crate) fn answer(&mut self, xid: Xid) -> Answered {
        let Some(pending) = self.pending.pop_front() else { return Answered::Unasked };
        self.uncount(&pending.purpose);
        if pending.xid == xid { Answered::InOrder(pending.purpose) } else { Answered::OutOfOrder(pending.purpose) }
    }

    /// Ends everything: what waited, pending before queued.
    pub(crate) fn take_all(&mut self) -> Vec<Purpose> {
        let pending = std::mem::take(&mut self.pending).into_iter().map(|pending| pending.purpose);
        let queued = std::mem::take(&mut self.queued).into_iter().map(|queued| queued.purpose);
        let all: Vec<_> = pending.chain(queued).collect();
        for purpose in &all {
            self.uncount(purpose);
        }
        assert_eq!((self.operations, self.watches_due), (0, 0), "nothing is left when everything has ended");
        all
    }

    /// When the first caller gives up. All wait equally long, so it is the one that has waited longest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadline = |purpose: &Purpose| match purpose {
            Purpose::Operation(operation) => operation.deadline,
            Purpose::Abandoned | Purpose::Auth | Purpose::Watches | Purpose::Close => None,
        };
        let pending = self.pending.iter().map(|pending| &pending.purpose);
        pending.chain(self.queued.iter().map(|queued| &queued.purpose)).find_map(deadline)
    }

    /// Takes the operations whose callers have waited long enough. Their places in the queues stay.
    pub(crate) fn take_overdue(&mut self, now: Instant) -> Vec<Operation> {
        let is_overdue = |operation: &Operation| operation.deadline.is_some_and(|deadline| deadline <= now);
        let pending = self.pending.iter_mut().map(|pending| &mut pending.purpose);
        let mut overdue = Vec::new();
        for purpose in pending.chain(self.queued.iter_mut().map(|queued| &mut queued.purpose)) {
            let is_overdue = match purpose {
                Purpose::Operation(operation) => is_overdue(operation),
                Purpose::Abandoned | Purpose::Auth | Purpose::Watches | Purpose::Close => false,
            };
            if is_overdue && let Purpose::Operation(operation) = std::mem::replace(purpose, Purpose::Abandoned) {
                overdue.push(operation);
            }
        }
        for operation in &overdue {
            self.operations -= 1;
            self.watches_due -= usize::from(operation.on_watches.sets_one());
        }
        overdue
    }

    fn uncount(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Operation(operation) => {
                self.operations -= 1;
                self.watches_due -= usize::from(operation.on_watches.sets_one());
            }
            Purpose::Abandoned | Purpose::Auth | Purpose::Watches | Purpose::Close => {}
        }
    }

    /// The full check; panics if the state contradicts itself.
    pub(crate) fn check_invariants(&self) {
        let pending = self.pending.iter().map(|pending| &pending.purpose);
        let queued = self.queued.iter().map(|queued| &queued.purpose);
        let (mut operations, mut watches_due, mut closes) = (0, 0, 0);
        for purpose in pending.chain(queued) {
            match purpose {
                Purpose::Operation(operation) => {
                    operations += 1;
                    watches_due += usize::from(operation.on_watches.sets_one());
                }
                Purpose::Abandoned | Purpose::Auth | Purpose::Watches => {}
                Purpose::Close => closes += 1,
            }
        }
        assert_eq!(self.operations, operations, "operations are counted");
        assert_eq!(self.watches_due, watches_due, "watches that are being set are counted");
        assert!(closes <= 1, "a session is closed once, not {closes} times");
        let mut xid = self.pending.front().map(|pending| pending.xid);
        for pending in &self.pending {
            assert_eq!(Some(pending.xid), xid, "pending requests are numbered without a gap");
            xid = Some(pending.xid.next());
        }
    }
}

impl OnWatches {
    /// Whether a watch may come of it.
    pub(crate) const fn sets_one(&self) -> bool {
        match self {
            Self::Set { .. } => true,
            Self::Nothing | Self::Remove { .. } => false,
        }
    }
}
