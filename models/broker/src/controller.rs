//! The controller (kafka-broker.md §4): one broker of the cluster at a time, or two that both believe it.
//!
//! One thread processes one event at a time and calls ZooKeeper synchronously (§0.3, actor 2). An event is a stack of
//! steps: a step that asks ZooKeeper ends the turn, and the thread goes on with the results in a turn of its own, so that
//! a crash, a watch or another broker's write can fall between any two of its requests. Everything else in the broker goes on
//! meanwhile.
//!
//! Deferred and therefore absent: topic deletion (§4.9), reassignment (§4.10), AlterPartition (§4.12), topic ids, features,
//! elections asked for through the API or znodes, dynamic configuration, log-directory failures of other brokers (a broker has
//! one directory here and halts with it).

mod broker_change;
mod channel;
mod context;
mod controlled_shutdown;
mod election;
mod event;
mod failover;
mod fence;
mod isr_change;
mod partition_machine;
mod preferred;
mod read;
mod replica_machine;
mod request_batch;
mod step;
mod strategy;
mod topic_change;

use std::collections::VecDeque;

use jute::op::EventType;
use kafkawire::znode::Znode;
use kafkawire::{BrokerId, ControllerEpoch, ErrorCode, Response, messages};
use machine::{Digest, EndId, Input, Instant};
use zkclient::WatchedEvent;

use crate::Work;
use crate::cx::{Ask, Cx, RequestId};
use crate::work::CONTROLLER;
use crate::zookeeper::{Registration, RegistrationStep, ZkBatch, ZkOwner, ZkRequest, ZkResult};

use channel::Channels;
use election::ElectionStep;
use request_batch::RequestBatch;
use step::{Catch, Done, Failure, Step};

pub use context::{ControllerContext, Leadership, LiveBroker, PartitionContext, PartitionState, ReplicaState};
pub use event::ControllerEvent;

/// The controller of a broker, active or not.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    queue: VecDeque<ControllerEvent>,
    /// The event being processed: what is left to do of it, the next step last. Empty if none is.
    stack: Vec<Step>,
    /// What ZooKeeper answered to the step before.
    results: Option<Vec<ZkResult>>,
    /// Whether the thread waits for ZooKeeper.
    waits: bool,
    /// Whether a turn is deferred.
    scheduled: bool,
    /// Whether the thread is at its end.
    stopped: bool,
    /// What `/controller` said when it was last looked at.
    active: Option<BrokerId>,
    context: ControllerContext,
    /// Outlives a resignation, as the real one's does: a batch that was never sent is found by the next one to be begun.
    batch: RequestBatch,
    channels: Channels,
    /// Whether the last state changes elected somebody (what `handleStateChanges` returns).
    elected_some: bool,
    /// When preferred leaders are looked at next.
    rebalance_at: Option<Instant>,
}

impl Controller {
    /// The controller of a broker that has just started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it believes that it is the controller of the cluster.
    #[must_use]
    pub fn is_active(&self) -> bool {
        // Only who won an election has an epoch, and only who is the controller keeps it.
        self.context.epoch != ControllerEpoch(0)
    }

    /// The epoch it was elected in; none if it is not active.
    #[must_use]
    pub fn epoch(&self) -> Option<ControllerEpoch> {
        self.is_active().then_some(self.context.epoch)
    }

    /// Whom it believes to be the controller.
    #[must_use]
    pub const fn known_controller(&self) -> Option<BrokerId> {
        self.active
    }

    /// What it remembers of ZooKeeper; empty if it is not active.
    #[must_use]
    pub const fn context(&self) -> &ControllerContext {
        &self.context
    }

    /// What it is doing and what waits, for reports on runs that do not end. Empty if nothing.
    #[must_use]
    pub fn pending(&self) -> String {
        let mut parts = Vec::new();
        if let Some(step) = self.stack.last() {
            let on = if self.waits { "waits for ZooKeeper before" } else { "is about to run" };
            parts.push(format!("{on} {step:?}"));
        }
        if !self.queue.is_empty() {
            parts.push(format!("{} events wait, first {:?}", self.queue.len(), self.queue[0]));
        }
        parts.extend(self.channels.pending());
        parts.join("; ")
    }

    /// Puts an event at the end of the queue; its thread goes on by `Work::Controller` on [`CONTROLLER`].
    ///
    /// Shutdown empties the queue first: each event is preempted.
    pub fn put(&mut self, event: ControllerEvent, cx: &mut Cx<'_, '_>) {
        if self.stopped {
            return Self::preempt(&event, cx);
        }
        if event == ControllerEvent::Shutdown {
            self.clear(cx);
        }
        self.queue.push_back(event);
        self.schedule(cx);
    }

    /// Empties the queue (each event is preempted) and puts Expire (§2.4 step 2). When that begins to be processed it asks
    /// [`ExpireProcessed`](Ask::ExpireProcessed).
    pub fn clear_and_put_expire(&mut self, cx: &mut Cx<'_, '_>) {
        let shutting_down = self.queue.contains(&ControllerEvent::Shutdown);
        if self.stopped || shutting_down {
            // Who waits for Expire does not wait for a thread that shuts down.
            return cx.ask(Ask::ExpireProcessed);
        }
        self.clear(cx);
        self.put(ControllerEvent::Expire, cx);
    }

    /// A turn of the event thread.
    pub fn turn(&mut self, cx: &mut Cx<'_, '_>) {
        assert!(self.scheduled, "a turn was deferred");
        assert!(!self.waits, "the thread waits for ZooKeeper");
        self.scheduled = false;
        if self.stack.is_empty() {
            let event = self.queue.pop_front().expect("the thread runs while there are events");
            self.begin(event, cx);
        }
        while !self.waits
            && let Some(step) = self.stack.pop()
        {
            if let Err(why) = self.run(step, cx) {
                self.unwind(why, cx);
            }
        }
        assert!(self.results.is_none(), "results are taken by the step that follows");
        cx.io.spend(CONTROLLER, cx.image.costs.controller_step);
        self.schedule(cx);
    }

    /// The results that the event it is processing waits for. The thread goes on in a turn of its lane.
    pub fn on_zk(&mut self, results: Vec<ZkResult>, cx: &mut Cx<'_, '_>) {
        assert!(self.waits, "results come to a thread that waits for them");
        self.waits = false;
        self.results = Some(results);
        self.schedule(cx);
    }

    /// A watch of a registered handler saw something (on the ZooKeeper event thread): an event is queued.
    pub fn on_watch(&mut self, event: &WatchedEvent, cx: &mut Cx<'_, '_>) {
        let Some(znode) = Znode::of(&event.path) else { return };
        let queued = match (znode, event.event) {
            (Znode::Controller, EventType::NodeCreated | EventType::NodeDataChanged) => {
                ControllerEvent::ControllerChange
            }
            (Znode::Controller, EventType::NodeDeleted) => ControllerEvent::Reelect,
            (Znode::BrokerIds, EventType::NodeChildrenChanged) => ControllerEvent::BrokerChange,
            (Znode::BrokerId(broker), EventType::NodeDataChanged) => ControllerEvent::BrokerModifications(broker),
            (Znode::Topics, EventType::NodeChildrenChanged) => ControllerEvent::TopicChange,
            (Znode::Topic(topic), EventType::NodeDataChanged) => ControllerEvent::PartitionModifications(topic),
            (Znode::IsrChanges, EventType::NodeChildrenChanged) => ControllerEvent::IsrChangeNotification,
            // The handlers of these paths do nothing about other events, or the path has no handler of the controller's.
            _ => return,
        };
        self.put(queued, cx);
    }

    /// Whether an end belongs to a channel to a broker.
    #[must_use]
    pub fn owns(&self, end: EndId) -> bool {
        self.channels.owns(end)
    }

    /// An input for the channels: only what [`owns`](Self::owns), and wakes.
    pub fn handle(&mut self, input: machine::InputOf<kafkawire::Link>, cx: &mut Cx<'_, '_>) {
        if let Input::Woken = input
            && self.rebalance_at.is_some_and(|due| due <= cx.io.now())
        {
            self.rebalance_at = None;
            self.put(ControllerEvent::AutoPreferredReplicaLeaderElection, cx);
        }
        self.channels.handle(input, cx);
    }

    /// When it next wants to be woken.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        // A channel per broker: few.
        Instant::earliest([self.channels.next_wake(), self.rebalance_at])
    }

    /// Panics if it contradicts itself.
    pub fn check_invariants(&self) {
        if !self.is_active() {
            assert!(self.context.is_empty(), "who is not the controller remembers nothing");
            assert!(self.channels.is_empty(), "who is not the controller has no channels");
            assert_eq!(self.rebalance_at, None, "who is not the controller rebalances nothing");
        }
        if self.stopped {
            assert!(self.stack.is_empty() && self.queue.is_empty(), "a stopped thread has nothing to do");
        }
        if self.waits {
            assert!(!self.stack.is_empty(), "the thread waits in the middle of an event");
            assert!(!self.scheduled, "a thread that waits has no turn");
        } else if !self.stack.is_empty() || !self.queue.is_empty() {
            assert!(self.scheduled, "a thread with something to do has a turn");
        }
        self.context.check_invariants();
        self.channels.check_invariants();
    }

    /// Epoch, activity, queue.
    pub fn digest(&self, into: &mut Digest) {
        into.signed(i64::from(self.context.epoch.0));
        into.signed(self.active.map_or(-1, |active| i64::from(active.0)));
        into.word(self.queue.len() as u64);
        into.word(self.stack.len() as u64);
        into.word(self.context.live_brokers().len() as u64);
        into.word(self.context.partition_count() as u64);
        self.channels.digest(into);
    }

    fn schedule(&mut self, cx: &mut Cx<'_, '_>) {
        let idle = self.stack.is_empty() && self.queue.is_empty();
        if !self.scheduled && !self.waits && !idle {
            self.scheduled = true;
            cx.io.defer(CONTROLLER, Work::Controller);
        }
    }

    fn clear(&mut self, cx: &mut Cx<'_, '_>) {
        for event in std::mem::take(&mut self.queue) {
            Self::preempt(&event, cx);
        }
    }

    /// An event that will not be processed: who waits for its answer is told that the controller is elsewhere.
    fn preempt(event: &ControllerEvent, cx: &mut Cx<'_, '_>) {
        match event {
            ControllerEvent::ControlledShutdown { to, broker: _, epoch: _ } => {
                refuse_shutdown(*to, ErrorCode::NotController, cx)
            }
            ControllerEvent::Startup
            | ControllerEvent::Reelect
            | ControllerEvent::ControllerChange
            | ControllerEvent::RegisterBrokerAndReelect
            | ControllerEvent::Expire
            | ControllerEvent::Shutdown
            | ControllerEvent::BrokerChange
            | ControllerEvent::BrokerModifications(_)
            | ControllerEvent::TopicChange
            | ControllerEvent::PartitionModifications(_)
            | ControllerEvent::IsrChangeNotification
            | ControllerEvent::AutoPreferredReplicaLeaderElection => {}
        }
    }

    /// Begins to process an event. Those for the active controller alone begin with the question whether this is it.
    fn begin(&mut self, event: ControllerEvent, cx: &mut Cx<'_, '_>) {
        self.then(Catch::Event);
        match event {
            ControllerEvent::Startup => {
                self.then(ElectionStep::Elect);
                self.then(ElectionStep::Watch);
            }
            ControllerEvent::Reelect => {
                self.then(ElectionStep::Elect);
                self.then(ElectionStep::MaybeResign);
            }
            ControllerEvent::ControllerChange => self.then(ElectionStep::MaybeResign),
            ControllerEvent::RegisterBrokerAndReelect => {
                self.then(ElectionStep::Elect);
                self.then(ElectionStep::MaybeResign);
                let registration = Registration::of(cx);
                self.then(Step::Register(registration));
            }
            ControllerEvent::Expire => {
                cx.ask(Ask::ExpireProcessed);
                self.active = None;
                self.resign(cx);
            }
            ControllerEvent::Shutdown => {
                // An Expire may have been preempted; who waits for it need not.
                cx.ask(Ask::ExpireProcessed);
                self.active = None;
                self.resign(cx);
                self.stopped = true;
                self.clear(cx);
                cx.ask(Ask::ControllerStopped);
            }
            ControllerEvent::ControlledShutdown { to, broker, epoch } => {
                self.begin_controlled_shutdown(to, broker, epoch, cx)
            }
            ControllerEvent::BrokerChange if self.is_active() => self.begin_broker_change(),
            ControllerEvent::BrokerModifications(broker) if self.is_active() => self.begin_broker_modifications(broker),
            ControllerEvent::TopicChange if self.is_active() => self.begin_topic_change(),
            ControllerEvent::PartitionModifications(topic) if self.is_active() => {
                self.begin_partition_modifications(topic)
            }
            ControllerEvent::IsrChangeNotification if self.is_active() => self.begin_isr_change(),
            ControllerEvent::AutoPreferredReplicaLeaderElection if self.is_active() => self.begin_rebalance(),
            ControllerEvent::BrokerChange
            | ControllerEvent::BrokerModifications(_)
            | ControllerEvent::TopicChange
            | ControllerEvent::PartitionModifications(_)
            | ControllerEvent::IsrChangeNotification
            | ControllerEvent::AutoPreferredReplicaLeaderElection => {}
        }
    }

    fn run(&mut self, step: Step, cx: &mut Cx<'_, '_>) -> Done {
        match step {
            Step::Catch(catch) => {
                self.pass(catch, cx);
                Ok(())
            }
            Step::Fail(why) => Err(why),
            Step::Register(mut registration) => {
                let requests = registration.begin();
                self.ask(requests, Step::Registered(registration), cx);
                Ok(())
            }
            Step::Registered(registration) => self.on_registered(registration, cx),
            Step::Election(step) => self.run_election(step, cx),
            Step::Failover(step) => self.run_failover(step, cx),
            Step::Partition(step) => self.run_partition(step, cx),
            Step::Replica(step) => self.run_replica(step, cx),
            Step::Broker(step) => self.run_broker(step, cx),
            Step::Topic(step) => self.run_topic(step, cx),
            Step::Isr(step) => self.run_isr(step, cx),
            Step::Shutdown(step) => self.run_shutdown(step, cx),
            Step::Rebalance(step) => self.run_rebalance(step, cx),
        }
    }

    /// Nothing failed in what a catch guards: only what is done finally is.
    fn pass(&mut self, catch: Catch, cx: &mut Cx<'_, '_>) {
        match catch {
            Catch::Event
            | Catch::Elect
            | Catch::ControllerMove
            | Catch::StateChanges
            | Catch::ControlledShutdown { .. } => {}
            Catch::IsrNotifications(names) => self.delete_isr_notifications(names),
            Catch::Rebalance => self.schedule_rebalance(cx),
        }
    }

    /// Gives up everything up to the next catch, and does what that does about it.
    fn unwind(&mut self, why: Failure, cx: &mut Cx<'_, '_>) {
        let catch = loop {
            match self.stack.pop() {
                None => return,
                Some(Step::Catch(catch)) => break catch,
                Some(_) => {}
            }
        };
        let moved = why == Failure::Moved;
        match catch {
            Catch::Event if moved => self.then(ElectionStep::MaybeResign),
            Catch::Elect if moved => self.then(ElectionStep::MaybeResign),
            Catch::Elect => self.then(ElectionStep::TriggerMove),
            Catch::StateChanges | Catch::ControllerMove if !moved => {}
            Catch::ControllerMove | Catch::Event => {}
            Catch::StateChanges => self.then(Step::Fail(why)),
            Catch::IsrNotifications(names) => {
                self.then(Step::Fail(why));
                self.delete_isr_notifications(names);
            }
            Catch::ControlledShutdown { to } => refuse_shutdown(to, shutdown_error(&why), cx),
            Catch::Rebalance => {
                self.schedule_rebalance(cx);
                self.then(Step::Fail(why));
            }
        }
    }

    fn on_registered(&mut self, mut registration: Registration, cx: &mut Cx<'_, '_>) -> Done {
        let results = self.take_results();
        match registration.advance(&results, cx) {
            RegistrationStep::Ask(requests) => {
                self.ask(requests, Step::Registered(registration), cx);
                Ok(())
            }
            RegistrationStep::Done(_) => Ok(()),
            // Logged: the broker stays unregistered, and out of elections, until its next session (§3.2 case c).
            RegistrationStep::Refused { owner: _ } => Err(Failure::RegistrationRefused),
            RegistrationStep::Failed(why) => Err(Failure::Zk(why)),
        }
    }

    /// What the thread does after what it does now.
    fn then(&mut self, step: impl Into<Step>) {
        self.stack.push(step.into());
    }

    /// Asks ZooKeeper; `then` takes the results, in a later turn. Asking nothing returns at once.
    fn ask(&mut self, requests: Vec<ZkRequest>, then: impl Into<Step>, cx: &mut Cx<'_, '_>) {
        assert!(self.results.is_none(), "results are taken before more is asked");
        self.then(then);
        if requests.is_empty() {
            self.results = Some(Vec::new());
            return;
        }
        self.waits = true;
        cx.ask(Ask::Zk(ZkBatch { owner: ZkOwner::Controller, requests }));
    }

    fn take_results(&mut self) -> Vec<ZkResult> {
        self.results.take().expect("the thread has waited for results")
    }
}

fn refuse_shutdown(to: RequestId, error: ErrorCode, cx: &mut Cx<'_, '_>) {
    let response = messages::ControlledShutdownResponse::default().with_error_code(error.code());
    cx.answer(to, Response::ControlledShutdown(response.into()));
}

/// What the broker that wants to stop is told. It tries again after any error.
fn shutdown_error(why: &Failure) -> ErrorCode {
    match why {
        Failure::Moved => ErrorCode::NotController,
        Failure::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
        Failure::BrokerNotAvailable => ErrorCode::BrokerNotAvailable,
        Failure::Zk(_)
        | Failure::Payload(_)
        | Failure::StateChange
        | Failure::IllegalState
        | Failure::RegistrationRefused => ErrorCode::UnknownServerError,
    }
}
