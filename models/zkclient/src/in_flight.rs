//! Requests on their way: queued until a session is confirmed, then pending until they are answered.

use std::collections::VecDeque;
use std::sync::Arc;

use jute::Xid;
use jute::client::{Request, SetWatchesRequest};

use crate::{OpId, Outcome, WatchKind, ZkEvent};

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The parent, and perhaps a watch: it is registered when the reply arrives.
    Operation { op: OpId, watch: Option<(WatchKind, Arc<str>)> },
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

    pub(crate) fn queue_operation(&mut self, request: Request, watch: Option<(WatchKind, Arc<str>)>) -> OpId {
        let op = OpId(self.next_op);
        self.next_op += 1;
        self.operations += 1;
        self.watches_due += usize::from(watch.is_some());
        self.queued.push_back(Queued { purpose: Purpose::Operation { op, watch }, request });
        op
    }

    pub(crate) fn queue_close(&mut self) {
        self.queued.push_back(Queued { purpose: Purpose::Close, request: Request::CloseSession });
    }

    /// Puts watches in front of everything.
    pub(crate) fn queue_watches_first(&mut self, batch: SetWatchesRequest) {
        self.queued.push_front(Queued { purpose: Purpose::Watches, request: Request::SetWatches(batch) });
    }

    /// Takes the next queued request to be written, and numbers it: also setWatches, whose special xid −8 the Java client
    /// overwrites.
    pub(crate) fn write_next(&mut self) -> Option<(Xid, Request)> {
        let Queued { purpose, request } = self.queued.pop_front()?;
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

    /// Ends everything, pending before queued, and tells how.
    pub(crate) fn complete_all(&mut self, outcome: &Outcome, events: &mut Vec<ZkEvent>) {
        let pending = std::mem::take(&mut self.pending).into_iter().map(|pending| pending.purpose);
        let queued = std::mem::take(&mut self.queued).into_iter().map(|queued| queued.purpose);
        for purpose in pending.chain(queued) {
            self.uncount(&purpose);
            events.extend(purpose.completed(outcome.clone()));
        }
        assert_eq!((self.operations, self.watches_due), (0, 0), "nothing is left when everything has ended");
    }

    fn uncount(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Operation { watch, .. } => {
                self.operations -= 1;
                self.watches_due -= usize::from(watch.is_some());
            }
            Purpose::Watches | Purpose::Close => {}
        }
    }

    /// The full check; panics if the state contradicts itself.
    pub(crate) fn check_invariants(&self) {
        let pending = self.pending.iter().map(|pending| &pending.purpose);
        let queued = self.queued.iter().map(|queued| &queued.purpose);
        let (mut operations, mut watches_due, mut closes) = (0, 0, 0);
        for purpose in pending.chain(queued) {
            match purpose {
                Purpose::Operation { watch, .. } => {
                    operations += 1;
                    watches_due += usize::from(watch.is_some());
                }
                Purpose::Watches => {}
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

impl Purpose {
    /// What the parent is told when the request ends like this; nothing of the client's own.
    pub(crate) fn completed(self, outcome: Outcome) -> Option<ZkEvent> {
        match self {
            Self::Operation { op, .. } => Some(ZkEvent::Completed { op, outcome }),
            Self::Watches | Self::Close => None,
        }
    }
}
