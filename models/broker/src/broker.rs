//! The broker as a whole: it routes inputs to the parts that own them, and settles what they want of each other.

use std::collections::VecDeque;
use std::sync::Arc;

use commitlog::LogManager;
use kafkawire::{KafkaMessage, Link};
use machine::{Digest, EndId, Input, InputOf, Instant, Io, Lane, Loss, Machine, Vocabulary};

use crate::api::{self, Concerned, TopicCommands};
use crate::cache::MetadataCache;
use crate::controller::{Controller, ControllerEvent};
use crate::cx::{Ask, Cx, Identity};
use crate::fact::KafkaFact;
use crate::lifecycle::{Lifecycle, Siblings};
use crate::replication::ReplicaManager;
use crate::server::Server;
use crate::view::PartitionView;
use crate::zookeeper::{KafkaZk, RenewalStep, ZkNews, ZkOwner};
use crate::{BrokerConfig, BrokerImage, BrokerView, Fact, Message, Work, work};

/// One broker process.
#[derive(Clone, Debug)]
pub struct Broker {
    image: Arc<BrokerImage>,
    identity: Identity,
    cache: MetadataCache,
    zk: KafkaZk,
    server: Server,
    controller: Controller,
    /// None until the broker is registered.
    replicas: Option<ReplicaManager>,
    topics: TopicCommands,
    lifecycle: Lifecycle,
    /// Empty at rest.
    asks: VecDeque<Ask>,
}

impl Vocabulary for Broker {
    type Message = Message;
    type Work = Work;
    type Fact = Fact;
}

/// The parts, apart from what each is lent.
struct Parts<'a> {
    zk: &'a mut KafkaZk,
    server: &'a mut Server,
    controller: &'a mut Controller,
    replicas: &'a mut Option<ReplicaManager>,
    topics: &'a mut TopicCommands,
    lifecycle: &'a mut Lifecycle,
}

impl Machine for Broker {
    type Image = BrokerImage;
    type View = BrokerView;

    fn boot(image: &Self::Image, io: &mut Io<'_, Self>) -> Self {
        let image = Arc::new(image.clone());
        let mut identity = Identity::default();
        let mut cache = MetadataCache::default();
        let mut asks = VecDeque::new();
        let mut zk = KafkaZk::new(Arc::clone(&image.zookeeper), image.config.zookeeper_max_in_flight_requests);
        let mut cx = Cx { io, image: &image, identity: &mut identity, cache: &mut cache, asks: &mut asks };
        let lifecycle = Lifecycle::start(&mut zk, &mut cx);
        assert!(asks.is_empty(), "a start begins by connecting");
        Self {
            image,
            identity,
            cache,
            zk,
            server: Server::new(),
            controller: Controller::new(),
            replicas: None,
            topics: TopicCommands::default(),
            lifecycle,
            asks,
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        if self.lifecycle.has_exited() {
            return;
        }
        let (mut parts, mut cx) = self.split(io);
        match input {
            Input::Woken => parts.on_woken(&mut cx),
            Input::Message { on, message } => parts.on_message(on, message, &mut cx),
            Input::Accepted { on, .. } => parts.server.on_accepted(on, &mut cx),
            Input::Opened { on } => parts.on_end(on, Input::Opened { on }, Input::Opened { on }, &mut cx),
            Input::Refused { on } => parts.on_end(on, Input::Refused { on }, Input::Refused { on }, &mut cx),
            Input::Lost { on, why } => parts.on_end(on, Input::Lost { on, why }, Input::Lost { on, why }, &mut cx),
            Input::Durable { ticket, result } => {
                if parts.lifecycle.owns_ticket(ticket) {
                    parts.lifecycle.on_durable(ticket, result, &mut cx);
                } else if let Some(replicas) = parts.replicas.as_mut().filter(|replicas| replicas.owns_ticket(ticket)) {
                    replicas.on_durable(ticket, result, &mut cx);
                }
                // Else it was asked by an earlier life of the process.
            }
            Input::Turn { lane, work } => parts.on_turn(lane, work, &mut cx),
            Input::Terminate => parts.lifecycle.on_terminate(&mut cx),
            // Nobody sends a broker datagrams.
            Input::Datagram { .. } => {}
        }
        parts.settle(&mut cx);
        assert!(self.asks.is_empty() || self.lifecycle.has_exited(), "a broker at rest wants nothing of itself");
    }

    fn next_wake(&self) -> Option<Instant> {
        if self.lifecycle.has_exited() {
            return None;
        }
        let replicas = self.replicas.as_ref().and_then(ReplicaManager::next_wake);
        Instant::earliest([
            self.zk.next_wake(),
            self.controller.next_wake(),
            replicas,
            self.topics.next_wake(),
            self.lifecycle.next_wake(),
        ])
    }

    fn check_invariants(&self) {
        self.zk.check_invariants();
        self.server.check_invariants();
        self.controller.check_invariants();
        self.topics.check_invariants();
        self.lifecycle.check_invariants();
        if let Some(replicas) = &self.replicas {
            replicas.check_invariants();
        }
    }

    fn view(&self) -> Self::View {
        BrokerView {
            broker: self.image.config.broker_id,
            phase: self.lifecycle.name(),
            epoch: self.identity.epoch,
            session: self.zk.view(),
            is_controller: self.controller.is_active(),
            controller: self.cache.controller,
            alive: self.cache.alive.keys().copied().collect(),
            topics: self.cache.topics.len(),
            connections: self.server.connections(),
            partitions: self.replicas.as_ref().map(PartitionView::all).unwrap_or_default(),
        }
    }

    fn digest(&self, into: &mut Digest) {
        into.signed(i64::from(self.image.config.broker_id.0));
        into.signed(self.identity.epoch.map_or(-1, |epoch| epoch.0));
        self.lifecycle.digest(into);
        self.cache.digest(into);
        self.zk.digest(into);
        self.server.digest(into);
        self.controller.digest(into);
        self.topics.digest(into);
        if let Some(replicas) = &self.replicas {
            replicas.digest(into);
        }
    }

    fn lane_name(lane: Lane) -> &'static str {
        work::lane_name(lane)
    }
}

/// What judges and reports may look at.
impl Broker {
    /// Who it is to ZooKeeper and to the cluster.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What UpdateMetadata told it.
    #[must_use]
    pub const fn cache(&self) -> &MetadataCache {
        &self.cache
    }

    /// Its controller, active or not.
    #[must_use]
    pub const fn controller(&self) -> &Controller {
        &self.controller
    }

    /// Its replicas; none before it is registered.
    #[must_use]
    pub const fn replicas(&self) -> Option<&ReplicaManager> {
        self.replicas.as_ref()
    }

    /// Its logs; none before they are loaded.
    #[must_use]
    pub fn logs(&self) -> Option<&LogManager> {
        self.replicas.as_ref().map(ReplicaManager::logs).or_else(|| self.lifecycle.logs())
    }

    /// Whether it processes requests and is not being shut down.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.lifecycle.is_running()
    }

    /// `server.properties`.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.image.config
    }

    /// Whether a server has confirmed its session on the present connection.
    #[must_use]
    pub fn is_connected_to_zookeeper(&self) -> bool {
        self.zk.is_connected()
    }

    /// What it is doing and what waits, a sentence each: for reports on runs that do not settle. Empty if nothing.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        let mut pending = Vec::new();
        if !self.lifecycle.is_running() {
            pending.push(format!("it is {}", self.lifecycle.name()));
        }
        pending.extend(self.zk.pending());
        pending.extend(Some(self.controller.pending()).filter(|pending| !pending.is_empty()));
        pending.extend(self.topics.pending());
        pending.extend(self.replicas.iter().flat_map(ReplicaManager::pending));
        pending
    }

    fn split<'a, 'io>(&'a mut self, io: &'a mut Io<'io, Self>) -> (Parts<'a>, Cx<'a, 'io>) {
        let Self { image, identity, cache, zk, server, controller, replicas, topics, lifecycle, asks } = self;
        (Parts { zk, server, controller, replicas, topics, lifecycle }, Cx { io, image, identity, cache, asks })
    }
}

/// Whose an end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Zk,
    Server,
    Controller,
    Replicas,
    Lifecycle,
}

impl Parts<'_> {
    /// None for ends that were given up while something was under way on them.
    fn owner(&self, end: EndId) -> Option<Owner> {
        if self.server.owns(end) {
            Some(Owner::Server)
        } else if self.replicas.as_ref().is_some_and(|replicas| replicas.owns(end)) {
            Some(Owner::Replicas)
        } else if self.zk.owns(end) {
            Some(Owner::Zk)
        } else if self.controller.owns(end) {
            Some(Owner::Controller)
        } else if self.lifecycle.owns(end) {
            Some(Owner::Lifecycle)
        } else {
            None
        }
    }

    /// Feeds who owns a link.
    fn on_link(&mut self, owner: Owner, input: InputOf<Link>, cx: &mut Cx<'_, '_>) {
        match owner {
            Owner::Controller => self.controller.handle(input, cx),
            Owner::Replicas => self.replicas.as_mut().expect("they own an end").handle(input, cx),
            Owner::Lifecycle => self.lifecycle.handle(input, cx),
            Owner::Zk | Owner::Server => unreachable!("{owner:?} has no link"),
        }
    }

    /// A connection opened, or did not, or is gone.
    fn on_end(&mut self, on: EndId, input: InputOf<Link>, for_zk: InputOf<zkclient::ZkClient>, cx: &mut Cx<'_, '_>) {
        match self.owner(on) {
            Some(Owner::Zk) => self.zk.handle(for_zk, cx),
            Some(Owner::Server) => self.server.on_lost(on),
            Some(owner @ (Owner::Controller | Owner::Replicas | Owner::Lifecycle)) => self.on_link(owner, input, cx),
            None => {}
        }
    }

    /// Of another protocol than the connection's, a message makes it useless: it is given up.
    fn on_message(&mut self, on: EndId, message: Message, cx: &mut Cx<'_, '_>) {
        match (self.owner(on), message) {
            (Some(Owner::Server), Message::Kafka(message)) => self.server.on_message(on, message, cx),
            (Some(Owner::Server), Message::Zk(_)) => self.server.close(on, cx),
            (Some(Owner::Zk), Message::Zk(message)) => self.zk.handle(Input::Message { on, message }, cx),
            (Some(Owner::Zk), Message::Kafka(_)) => {
                cx.io.close(on);
                self.zk.handle(Input::Lost { on, why: Loss::Reset }, cx);
            }
            (Some(owner @ (Owner::Controller | Owner::Replicas | Owner::Lifecycle)), message) => {
                let input = match message {
                    Message::Kafka(message) => link_message(on, message),
                    Message::Zk(_) => {
                        cx.io.close(on);
                        Input::Lost { on, why: Loss::Reset }
                    }
                };
                self.on_link(owner, input, cx);
            }
            (None, Message::Kafka(_) | Message::Zk(_)) => {}
        }
    }

    fn on_woken(&mut self, cx: &mut Cx<'_, '_>) {
        let now = cx.io.now();
        let is_due = |wake: Option<Instant>| wake.is_some_and(|wake| wake <= now);
        if is_due(self.zk.next_wake()) {
            self.zk.handle(Input::Woken, cx);
        }
        if is_due(self.controller.next_wake()) {
            self.controller.handle(Input::Woken, cx);
        }
        if let Some(replicas) = self.replicas.as_mut().filter(|replicas| is_due(replicas.next_wake())) {
            replicas.handle(Input::Woken, cx);
        }
        if is_due(self.topics.next_wake()) {
            self.topics.on_woken(cx);
        }
        if is_due(self.lifecycle.next_wake()) {
            self.lifecycle.on_woken(cx);
        }
    }

    fn on_turn(&mut self, lane: Lane, work: Work, cx: &mut Cx<'_, '_>) {
        match work {
            Work::Lifecycle => {
                let mut siblings = Siblings { zk: self.zk, server: self.server, replicas: self.replicas };
                self.lifecycle.turn(&mut siblings, cx);
            }
            Work::Controller => self.controller.turn(cx),
            Work::ZkEvents => {
                for news in self.zk.turn(cx) {
                    self.on_zk_news(news, cx);
                }
            }
            Work::Reinitialize => self.on_reinitialize(cx),
            Work::Request { id, version, body } => {
                self.server.on_handled(cx);
                if !self.lifecycle.handles_requests() {
                    return; // The handlers have stopped.
                }
                let cost = cx.image.costs.request;
                cx.io.spend(lane, cost);
                let of = Concerned {
                    replicas: self.replicas.as_mut().expect("handlers start after the replicas"),
                    topics: self.topics,
                    is_controller: self.controller.is_active(),
                };
                api::handle(id, version, &body, of, cx);
            }
            Work::Replication(work) => {
                self.replicas.as_mut().expect("only they defer their work").turn(work, cx);
            }
        }
    }

    fn on_zk_news(&mut self, news: ZkNews, cx: &mut Cx<'_, '_>) {
        match news {
            ZkNews::Results { owner, results } => self.on_zk_results(owner, results, cx),
            ZkNews::Watch(event) => self.controller.on_watch(&event, cx),
            ZkNews::Connected => self.lifecycle.on_connected(cx),
            ZkNews::Expired { session } => {
                let broker = cx.broker();
                cx.io.state(KafkaFact::SessionExpired { broker, session });
            }
            ZkNews::Closed => self.lifecycle.on_session_closed(cx),
        }
    }

    fn on_zk_results(&mut self, owner: ZkOwner, results: Vec<crate::zookeeper::ZkResult>, cx: &mut Cx<'_, '_>) {
        let replicas = "only they ask for themselves";
        match owner {
            ZkOwner::Lifecycle => self.lifecycle.on_zk(results, cx),
            ZkOwner::Controller => self.controller.on_zk(results, cx),
            ZkOwner::Isr(tp) => self.replicas.as_mut().expect(replicas).on_isr_written(&tp, results, cx),
            ZkOwner::IsrPropagation => self.replicas.as_mut().expect(replicas).on_isr_propagated(results, cx),
            ZkOwner::TopicConfigs => self.replicas.as_mut().expect(replicas).on_topic_configs(results, cx),
            ZkOwner::TopicCommand(number) => self.topics.on_zk(number, &results, cx),
        }
    }

    /// The expiry thread has its turn (§2.4): before the new session the controller's queue is emptied, after it the broker
    /// registers again. A broker whose controller has not started hears of neither.
    fn on_reinitialize(&mut self, cx: &mut Cx<'_, '_>) {
        match self.zk.renew(cx) {
            RenewalStep::Before if self.lifecycle.is_controller_started() => self.controller.clear_and_put_expire(cx),
            RenewalStep::Before => self.zk.on_expire_processed(cx),
            RenewalStep::After if self.lifecycle.is_controller_started() => {
                cx.ask(Ask::Controller(ControllerEvent::RegisterBrokerAndReelect));
            }
            RenewalStep::After => {}
        }
    }

    /// Settles what the parts want of each other, until nobody wants anything.
    fn settle(&mut self, cx: &mut Cx<'_, '_>) {
        loop {
            while let Some(ask) = cx.asks.pop_front() {
                if self.lifecycle.has_exited() {
                    return cx.asks.clear();
                }
                self.grant(ask, cx);
            }
            self.lifecycle.look(self.replicas.as_ref(), cx);
            if cx.asks.is_empty() {
                return;
            }
        }
    }

    fn grant(&mut self, ask: Ask, cx: &mut Cx<'_, '_>) {
        match ask {
            Ask::Zk(batch) => self.zk.call(batch, cx),
            Ask::Answer { to, answer } => self.server.answer(to, answer, cx),
            Ask::Controller(event) => self.controller.put(event, cx),
            Ask::ExpireProcessed => self.zk.on_expire_processed(cx),
            Ask::MetadataChanged => self.topics.on_metadata_changed(cx),
            Ask::Watch(handler) => self.zk.register(handler),
            Ask::Unwatch(handler) => self.zk.unregister(&handler),
            Ask::ControllerStopped => self.lifecycle.on_controller_stopped(cx),
            Ask::LogDirFailed(error) => self.lifecycle.on_disk_failed(error, cx),
        }
    }
}

fn link_message(on: EndId, message: KafkaMessage) -> InputOf<Link> {
    Input::Message { on, message }
}
