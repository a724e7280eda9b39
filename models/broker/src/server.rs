//! The socket server: accepted connections, one request of each at a time, and the queue to the request handlers
//! (kafka-broker.md §1.2).
//!
//! ```text
//!   connection ──▶ one request ──▶ queue (queued.max.requests) ──▶ handler thread ──▶ api
//!        ▲         the rest waits                                                      │
//!        └──────────────────────────── answer, narrowed ◀──────────────────────────────┘
//! ```
//!
//! A connection is muted from the moment its request is taken up until the answer is handed over, so answers keep the order
//! of requests. A request whose connection is lost meanwhile is still handled; its answer is dropped.
//!
//! Absent: listeners other than one PLAINTEXT, `connections.max.idle.ms`, quotas, limits of connections and of bytes.
//! Simplified: requests are dealt to the handler threads in turn, where the real ones take from one queue; lost: that a
//! thread which is free overtakes one that is busy.

use std::collections::{BTreeMap, VecDeque};

use kafkawire::{ApiKey, Correlation, KafkaMessage, Request, Response, Version};
use machine::{Digest, EndId};

use crate::cx::{Answer, Cx, RequestId};
use crate::{Work, work};

/// A request that is taken up: what its answer must carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Busy {
    number: u64,
    correlation: Correlation,
    /// The version of the answer.
    version: Version,
}

/// What came while the connection was muted.
#[derive(Clone, Debug)]
struct Received {
    correlation: Correlation,
    version: Version,
    body: Request,
}

/// An accepted connection.
#[derive(Clone, Debug, Default)]
struct Connection {
    busy: Option<Busy>,
    backlog: VecDeque<Received>,
}

/// The requests that are queued for the handlers.
#[derive(Clone, Debug)]
struct Queued {
    id: RequestId,
    version: Version,
    body: Request,
}

/// Whether requests are handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Not listening.
    Closed,
    /// Accepting; requests wait for the handlers to start (§3.1 steps 9–19).
    Accepting,
    /// Handling.
    Handling,
}

/// The server on Kafka's port.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    stage: Stage,
    connections: BTreeMap<EndId, Connection>,
    /// Requests accepted so far.
    accepted: u64,
    /// Before the handlers run.
    queue: VecDeque<Queued>,
    /// Dealt to a handler that has not come to it.
    dealt: usize,
    next_handler: u16,
    /// Whose next request found the queue full, in order: the network thread that reads them is blocked.
    blocked: VecDeque<EndId>,
}

impl Server {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Closed,
            connections: BTreeMap::new(),
            accepted: 0,
            queue: VecDeque::new(),
            dealt: 0,
            next_handler: 0,
            blocked: VecDeque::new(),
        }
    }

    /// Binds the port: connections are accepted, requests wait.
    pub(crate) fn listen(&mut self, cx: &mut Cx<'_, '_>) {
        assert_eq!(self.stage, Stage::Closed, "a server listens once");
        self.stage = Stage::Accepting;
        let port = cx.config().port;
        cx.io.listen(port);
    }

    /// The request handlers start: what waited has its turn.
    pub(crate) fn start_handlers(&mut self, cx: &mut Cx<'_, '_>) {
        assert_eq!(self.stage, Stage::Accepting, "handlers start once");
        self.stage = Stage::Handling;
        for queued in std::mem::take(&mut self.queue) {
            self.deal(queued, cx);
        }
    }

    /// Closes the port and every connection; what is dealt still runs, and finds nobody to answer.
    pub(crate) fn stop(&mut self, cx: &mut Cx<'_, '_>) {
        if self.stage == Stage::Closed {
            return;
        }
        self.stage = Stage::Closed;
        let port = cx.config().port;
        cx.io.unlisten(port);
        for (end, _) in std::mem::take(&mut self.connections) {
            cx.io.close(end);
        }
        self.queue.clear();
        self.blocked.clear();
    }

    pub(crate) fn owns(&self, end: EndId) -> bool {
        self.connections.contains_key(&end)
    }

    /// Somebody connected.
    pub(crate) fn on_accepted(&mut self, on: EndId, cx: &mut Cx<'_, '_>) {
        if self.stage == Stage::Closed {
            // It was accepted by the kernel before the port was closed.
            return cx.io.close(on);
        }
        let before = self.connections.insert(on, Connection::default());
        assert!(before.is_none(), "an end is accepted once");
    }

    /// A connection is gone.
    pub(crate) fn on_lost(&mut self, on: EndId) {
        self.connections.remove(&on);
    }

    /// Something arrived on a connection it owns.
    pub(crate) fn on_message(&mut self, on: EndId, message: KafkaMessage, cx: &mut Cx<'_, '_>) {
        match message {
            KafkaMessage::Request { correlation, version, body } => {
                let connection = self.connections.get_mut(&on).expect("only what is owned is routed here");
                connection.backlog.push_back(Received { correlation, version, body });
                self.take_next(on, cx);
            }
            // Nobody is asked on an accepted connection.
            KafkaMessage::Response { .. } => self.close(on, cx),
        }
    }

    /// Something of another protocol arrived: the connection is of no use.
    pub(crate) fn close(&mut self, on: EndId, cx: &mut Cx<'_, '_>) {
        if self.connections.remove(&on).is_some() {
            cx.io.close(on);
        }
    }

    /// Takes up the next request of a connection that is not muted, if the queue has room.
    fn take_next(&mut self, on: EndId, cx: &mut Cx<'_, '_>) {
        let full = self.waiting() >= cx.config().queued_max_requests;
        let Some(connection) = self.connections.get_mut(&on) else { return };
        if connection.busy.is_some() || connection.backlog.is_empty() {
            return;
        }
        if full {
            if !self.blocked.contains(&on) {
                self.blocked.push_back(on);
            }
            return;
        }
        let Received { correlation, version, body } = connection.backlog.pop_front().expect("it is not empty");
        let answered_in = if body.api().supported().contains(version) {
            version
        } else if body.api() == ApiKey::ApiVersions {
            // Clients ask for versions before they know any, so that request alone is answered whatever its version: in
            // version 0 (KIP-511).
            0
        } else {
            // InvalidRequestException.
            return self.close(on, cx);
        };
        let number = self.accepted;
        self.accepted += 1;
        connection.busy = Some(Busy { number, correlation, version: answered_in });
        let queued = Queued { id: RequestId { on, number }, version, body };
        match self.stage {
            Stage::Handling => self.deal(queued, cx),
            Stage::Accepting => self.queue.push_back(queued),
            Stage::Closed => unreachable!("a closed server has no connections"),
        }
    }

    /// Requests in the queue that no handler has come to.
    fn waiting(&self) -> usize {
        self.queue.len() + self.dealt
    }

    fn deal(&mut self, queued: Queued, cx: &mut Cx<'_, '_>) {
        let Queued { id, version, body } = queued;
        let lane = work::request_handler(self.next_handler);
        self.next_handler = (self.next_handler + 1) % cx.config().num_io_threads;
        self.dealt += 1;
        cx.io.defer(lane, Work::Request { id, version, body });
    }

    /// A handler came to a request: the queue has room for another.
    pub(crate) fn on_handled(&mut self, cx: &mut Cx<'_, '_>) {
        self.dealt = self.dealt.checked_sub(1).expect("only what was dealt is handled");
        if let Some(on) = self.blocked.pop_front() {
            self.take_next(on, cx);
        }
    }

    /// Hands an answer over, and takes up what waited behind its request.
    pub(crate) fn answer(&mut self, to: RequestId, answer: Answer, cx: &mut Cx<'_, '_>) {
        let Some(connection) = self.connections.get_mut(&to.on) else { return };
        let busy = connection.busy.take().expect("a request is answered once, and before the next of its connection");
        assert_eq!(busy.number, to.number, "answers keep the order of requests");
        match answer {
            Answer::Response(body) => self.send(to.on, busy.correlation, busy.version, body, cx),
            Answer::Nothing => {}
            Answer::Close => return self.close(to.on, cx),
        }
        self.take_next(to.on, cx);
    }

    fn send(&self, on: EndId, correlation: Correlation, version: Version, body: Response, cx: &mut Cx<'_, '_>) {
        let message = cx.image.wire.carry(KafkaMessage::response(correlation, version, body));
        cx.io.send(on, message);
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn check_invariants(&self) {
        for (on, connection) in &self.connections {
            if connection.busy.is_none() && !connection.backlog.is_empty() {
                assert!(self.blocked.contains(on), "a request waits for the one before it, or for the queue");
            }
        }
        if self.stage == Stage::Handling {
            assert!(self.queue.is_empty(), "handlers that run are dealt everything");
        }
        if self.stage == Stage::Closed {
            assert!(self.connections.is_empty(), "a closed server has no connections");
        }
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        into.word(self.connections.len() as u64);
        into.word(self.accepted);
        into.word(self.waiting() as u64);
    }
}
