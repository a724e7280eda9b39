//! The session and what is asked on it: Kafka's `ZooKeeperClient` with the retries of its `KafkaZkClient`.
//!
//! A batch is a *call* of one of the real broker's threads, which blocks until all its requests are answered. Calls share
//! `zookeeper.max.in.flight.requests`; they take turns, as threads do at the real one's semaphore. A request whose connection
//! was lost is asked again when the rest of its call is answered and a server has confirmed the session again, for ever: nobody
//! knows whether it took effect the first time (§2.3).
//!
//! Everything the session tells (replies, watch events, its states) is handed out in order on the lane
//! [`ZK_EVENTS`](crate::work::ZK_EVENTS), as the Java client's event thread does. So a part sees a watch event before the reply that follows it on
//! the session.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jute::SessionId;
use jute::client::Response;
use jute::op::ErrorCode;
use machine::{Digest, EndId, InputOf, Instant};
use zkclient::{OpId, Outcome, Rejected, WatchedEvent, ZkClient, ZkClientConfig, ZkClientView, ZkEvent};

use crate::Work;
use crate::cx::Cx;
use crate::work::{ZK_EVENTS, ZK_SESSION_EXPIRY};
use crate::zookeeper::handler::Handlers;
use crate::zookeeper::{ZkBatch, ZkError, ZkOwner, ZkRequest, ZkResult, ZnodeHandler};

/// What the event thread hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ZkNews {
    /// A call returns.
    Results {
        /// Whose.
        owner: ZkOwner,
        /// In the order of its requests.
        results: Vec<ZkResult>,
    },
    /// A watch of a registered handler saw something.
    Watch(WatchedEvent),
    /// A server confirmed the session.
    Connected,
    /// The session is over.
    Expired {
        /// Which.
        session: SessionId,
    },
    /// The session was closed, or its end left to the server.
    Closed,
}

/// A batch on its way.
#[derive(Clone, Debug)]
struct Call {
    owner: ZkOwner,
    requests: Arc<Vec<ZkRequest>>,
    results: Vec<Option<ZkResult>>,
    /// What this round has still to send, in order.
    unsent: VecDeque<usize>,
    /// Sent and unanswered.
    outstanding: usize,
    /// What the next round asks again.
    lost: Vec<usize>,
    awaits_connection: bool,
}

/// A request of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    call: u64,
    request: usize,
}

#[derive(Clone, Debug)]
enum Event {
    Completed { slot: Slot, outcome: Outcome },
    Watch(WatchedEvent),
    Connected { session: SessionId },
    Disconnected,
    Expired,
    Closed,
}

/// Where the making of a new session is (§2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Renewal {
    /// There is a session, or the first is being made.
    Idle,
    /// The session expired; its thread has not begun.
    Scheduled,
    /// `beforeInitializingSession`: blocked until the controller's thread begins to process Expire.
    AwaitsExpire,
    /// Unblocked.
    Released,
}

/// What the expiry thread does in its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RenewalStep {
    /// `beforeInitializingSession`: whoever has handlers for it empties his queue, and calls
    /// [`on_expire_processed`](KafkaZk::on_expire_processed).
    Before,
    /// The new session is being made; `afterInitializingSession`.
    After,
}

/// Kafka's ZooKeeper client.
#[derive(Clone, Debug)]
pub(crate) struct KafkaZk {
    config: Arc<ZkClientConfig>,
    in_flight_max: usize,
    client: ZkClient,
    is_closing: bool,
    handlers: Arc<Handlers>,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    /// Calls with something to send, whose turn it is first.
    turns: VecDeque<u64>,
    in_flight: BTreeMap<OpId, Slot>,
    /// Permits taken: from the sending to the handing out of the reply.
    permits: usize,
    events: VecDeque<Event>,
    renewal: Renewal,
}

impl KafkaZk {
    /// Without a session yet; `in_flight_max` is `zookeeper.max.in.flight.requests`.
    pub(crate) fn new(config: Arc<ZkClientConfig>, in_flight_max: usize) -> Self {
        assert!(in_flight_max > 0, "zookeeper.max.in.flight.requests is at least 1");
        Self {
            client: ZkClient::new(Arc::clone(&config)),
            config,
            in_flight_max,
            is_closing: false,
            handlers: Arc::default(),
            calls: BTreeMap::new(),
            next_call: 0,
            turns: VecDeque::new(),
            in_flight: BTreeMap::new(),
            permits: 0,
            events: VecDeque::new(),
            renewal: Renewal::Idle,
        }
    }

    /// Begins to connect.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_, '_>) {
        cx.io.lend(|io| self.client.start(io));
    }

    /// Takes up a batch.
    pub(crate) fn call(&mut self, batch: ZkBatch, cx: &mut Cx<'_, '_>) {
        let ZkBatch { owner, requests } = batch;
        assert!(!requests.is_empty(), "{owner:?} asks something");
        let number = self.next_call;
        self.next_call += 1;
        let call = Call {
            owner,
            results: vec![None; requests.len()],
            unsent: (0..requests.len()).collect(),
            requests: Arc::new(requests),
            outstanding: 0,
            lost: Vec::new(),
            awaits_connection: false,
        };
        self.calls.insert(number, call);
        self.turns.push_back(number);
        self.send(cx);
    }

    pub(crate) fn register(&mut self, handler: ZnodeHandler) {
        Arc::make_mut(&mut self.handlers).register(handler);
    }

    pub(crate) fn unregister(&mut self, handler: &ZnodeHandler) {
        Arc::make_mut(&mut self.handlers).unregister(handler);
    }

    pub(crate) fn owns(&self, end: EndId) -> bool {
        self.client.owns(end)
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.client.next_wake()
    }

    /// Whether a server has confirmed the session.
    pub(crate) fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Feeds an input of the session's; what it tells waits for the event thread.
    pub(crate) fn handle(&mut self, input: InputOf<ZkClient>, cx: &mut Cx<'_, '_>) {
        let told = cx.io.lend(|io| self.client.handle(input, io));
        self.take(told, cx);
    }

    /// Ends the session; [`ZkNews::Closed`] follows.
    pub(crate) fn close(&mut self, cx: &mut Cx<'_, '_>) {
        self.is_closing = true;
        if !self.client.is_alive() {
            // It expired: there is nothing to close.
            return self.push(Event::Closed, cx);
        }
        let told = cx.io.lend(|io| self.client.close(io));
        self.take(told, cx);
    }

    fn take(&mut self, told: Vec<ZkEvent>, cx: &mut Cx<'_, '_>) {
        for event in told {
            let event = match event {
                ZkEvent::Completed { op, outcome } => {
                    let slot = self.in_flight.remove(&op).expect("only what was sent is answered");
                    Event::Completed { slot, outcome }
                }
                ZkEvent::Watch(event) => Event::Watch(event),
                ZkEvent::Connected { session, server: _ } => Event::Connected { session },
                ZkEvent::Disconnected => Event::Disconnected,
                ZkEvent::Expired => Event::Expired,
                ZkEvent::Closed => Event::Closed,
                ZkEvent::ConnectedReadOnly { .. } => unreachable!("a broker wants a server that can write"),
                ZkEvent::AuthFailed => unreachable!("a broker claims no identity"),
            };
            self.push(event, cx);
        }
    }

    /// The event thread runs while there is something to hand out.
    fn push(&mut self, event: Event, cx: &mut Cx<'_, '_>) {
        if self.events.is_empty() {
            cx.io.defer(ZK_EVENTS, Work::ZkEvents);
        }
        self.events.push_back(event);
    }

    /// Sends what the permits allow, one request of each call in turn.
    fn send(&mut self, cx: &mut Cx<'_, '_>) {
        while self.permits < self.in_flight_max {
            let Some(number) = self.turns.pop_front() else { return };
            let call = self.calls.get_mut(&number).expect("who has a turn has a call");
            let at = call.unsent.pop_front().expect("who has a turn has something to send");
            call.outstanding += 1;
            if !call.unsent.is_empty() {
                self.turns.push_back(number);
            }
            self.permits += 1;
            let slot = Slot { call: number, request: at };
            let requests = Arc::clone(&call.requests);
            let request = requests[at].wire(self.sets_watch(&requests[at]));
            match cx.io.lend(|io| self.client.submit(request, io)) {
                Ok(op) => {
                    let before = self.in_flight.insert(op, slot);
                    assert!(before.is_none(), "operations are numbered");
                }
                // The handle is closed: Java completes with SESSIONEXPIRED, on the event thread like everything.
                Err(Rejected::Closed) => self.push(Event::Completed { slot, outcome: Outcome::SessionExpired }, cx),
                Err(Rejected::Full) => panic!("a broker stays within the limits of its ZooKeeper client"),
                Err(Rejected::BadPath(error)) => panic!("a broker names znodes properly: {error}"),
                Err(Rejected::AuthFailed) => unreachable!("a broker claims no identity"),
            }
        }
    }

    fn sets_watch(&self, request: &ZkRequest) -> bool {
        match request {
            ZkRequest::Exists { path } | ZkRequest::GetData { path } => self.handlers.wants_data(path),
            ZkRequest::GetChildren { path, watch } => *watch && self.handlers.wants_children(path),
            ZkRequest::Create { .. } | ZkRequest::Delete { .. } | ZkRequest::SetData { .. } | ZkRequest::Multi(_) => {
                false
            }
        }
    }

    /// A turn of the event thread: hands out its next event.
    pub(crate) fn turn(&mut self, cx: &mut Cx<'_, '_>) -> Vec<ZkNews> {
        let mut news = Vec::new();
        let event = self.events.pop_front().expect("the event thread runs while there are events");
        if !self.events.is_empty() {
            cx.io.defer(ZK_EVENTS, Work::ZkEvents);
        }
        match event {
            Event::Completed { slot, outcome } => self.on_completed(slot, outcome, &mut news),
            Event::Watch(event) => {
                if self.handlers.wants(&event) {
                    news.push(ZkNews::Watch(event));
                }
            }
            Event::Connected { session } => {
                cx.identity.session = Some(session);
                self.resume();
                news.push(ZkNews::Connected);
            }
            // Who waits for a connection waits by himself.
            Event::Disconnected => {}
            Event::Expired => self.on_expired(&mut news, cx),
            Event::Closed => news.push(ZkNews::Closed),
        }
        self.send(cx);
        news
    }

    fn on_completed(&mut self, slot: Slot, outcome: Outcome, news: &mut Vec<ZkNews>) {
        self.permits -= 1;
        let call = self.calls.get_mut(&slot.call).expect("a call stays until it is answered");
        call.outstanding -= 1;
        match result_of(outcome) {
            Some(result) => call.results[slot.request] = Some(result),
            None => call.lost.push(slot.request),
        }
        if call.outstanding == 0 && call.unsent.is_empty() {
            self.on_round_over(slot.call, news);
        }
    }

    /// Everything of a round is answered or lost.
    fn on_round_over(&mut self, number: u64, news: &mut Vec<ZkNews>) {
        let call = self.calls.get_mut(&number).expect("it has just been looked at");
        if call.lost.is_empty() {
            news.extend(self.deliver(number));
        } else if !self.client.is_alive() {
            news.extend(self.fail(number));
        } else if self.client.is_connected() {
            self.ask_again(number);
        } else {
            call.awaits_connection = true;
        }
    }

    fn ask_again(&mut self, number: u64) {
        let call = self.calls.get_mut(&number).expect("a call that has lost something");
        call.awaits_connection = false;
        call.unsent = std::mem::take(&mut call.lost).into();
        assert!(!call.unsent.is_empty(), "nothing is asked again unless it was lost");
        self.turns.push_back(number);
    }

    fn resume(&mut self) {
        let waiting: Vec<u64> = self.waiting().collect();
        for number in waiting {
            self.ask_again(number);
        }
    }

    fn waiting(&self) -> impl Iterator<Item = u64> {
        self.calls.iter().filter(|(_, call)| call.awaits_connection).map(|(&number, _)| number)
    }

    /// Who waits for a connection learns that it will not come.
    fn on_expired(&mut self, news: &mut Vec<ZkNews>, cx: &mut Cx<'_, '_>) {
        let session = self.client.session();
        let waiting: Vec<u64> = self.waiting().collect();
        for number in waiting {
            news.extend(self.fail(number));
        }
        news.push(ZkNews::Expired { session });
        if self.is_closing {
            // A process that was stopped for long finds the session over that it was about to close.
            return news.push(ZkNews::Closed);
        }
        assert_eq!(self.renewal, Renewal::Idle, "a session expires once");
        self.renewal = Renewal::Scheduled;
        cx.io.defer(ZK_SESSION_EXPIRY, Work::Reinitialize);
    }

    /// A turn of the expiry thread.
    pub(crate) fn renew(&mut self, cx: &mut Cx<'_, '_>) -> RenewalStep {
        match self.renewal {
            Renewal::Scheduled => {
                self.renewal = Renewal::AwaitsExpire;
                RenewalStep::Before
            }
            Renewal::Released => {
                self.renewal = Renewal::Idle;
                // The real one tries again after 1000 ms if the handle cannot be made: a connect string that does not resolve,
                // which a configuration here cannot have.
                self.client = ZkClient::new(Arc::clone(&self.config));
                self.start(cx);
                RenewalStep::After
            }
            Renewal::Idle | Renewal::AwaitsExpire => unreachable!("the expiry thread is {:?}", self.renewal),
        }
    }

    /// Expire begins to be processed: the expiry thread goes on.
    pub(crate) fn on_expire_processed(&mut self, cx: &mut Cx<'_, '_>) {
        if self.renewal == Renewal::AwaitsExpire {
            self.renewal = Renewal::Released;
            cx.io.defer(ZK_SESSION_EXPIRY, Work::Reinitialize);
        }
    }

    fn deliver(&mut self, number: u64) -> Option<ZkNews> {
        let call = self.calls.remove(&number)?;
        let results = call.results.into_iter().map(|result| result.expect("every request is answered")).collect();
        Some(ZkNews::Results { owner: call.owner, results })
    }

    fn fail(&mut self, number: u64) -> Option<ZkNews> {
        let call = self.calls.get_mut(&number)?;
        for at in std::mem::take(&mut call.lost) {
            call.results[at] = Some(Err(ZkError::SessionExpired));
        }
        self.deliver(number)
    }

    /// What waits, for reports.
    pub(crate) fn pending(&self) -> Option<String> {
        let first = self.calls.values().next()?;
        let connected = if self.client.is_connected() { "connected" } else { "not connected" };
        Some(format!("{} calls to ZooKeeper wait, {connected}; the first is of {:?}", self.calls.len(), first.owner))
    }

    pub(crate) fn view(&self) -> ZkClientView {
        self.client.view()
    }

    pub(crate) fn check_invariants(&self) {
        self.client.check_invariants();
        assert!(self.permits <= self.in_flight_max, "zookeeper.max.in.flight.requests holds");
        assert!(self.in_flight.len() <= self.permits, "what is in flight has a permit");
        let outstanding: usize = self.calls.values().map(|call| call.outstanding).sum();
        assert_eq!(outstanding, self.permits, "every permit belongs to a request");
        let sending = self.calls.values().filter(|call| !call.unsent.is_empty()).count();
        assert_eq!(sending, self.turns.len(), "who has something to send has a turn");
        for call in self.calls.values() {
            assert!(
                call.outstanding > 0 || !call.unsent.is_empty() || call.awaits_connection,
                "the call of {:?} waits for something",
                call.owner
            );
        }
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        self.client.digest(into);
        into.word(self.calls.len() as u64);
        into.word(self.handlers.len() as u64);
        into.word(self.events.len() as u64);
    }
}

/// None if the connection was lost first.
fn result_of(outcome: Outcome) -> Option<Result<Option<Response>, ZkError>> {
    match outcome {
        Outcome::Ok { response, zxid: _ } => Some(Ok(response)),
        Outcome::Error { code: ErrorCode::SessionExpired, zxid: _ } | Outcome::SessionExpired => {
            Some(Err(ZkError::SessionExpired))
        }
        Outcome::Error { code, zxid: _ } => Some(Err(ZkError::Code(code))),
        Outcome::ConnectionLoss => None,
        Outcome::AuthFailed => Some(Err(ZkError::Code(ErrorCode::AuthFailed))),
        Outcome::RequestTimeout => Some(Err(ZkError::Code(ErrorCode::RequestTimeout))),
    }
}

#[cfg(test)]
mod tests;
