//! A client's way to the brokers: one [`Link`] each, reconnects with backoff, and the metadata cache (kafka-broker.md §8.1).
//!
//! What Kafka's `NetworkClient` and `Metadata` are together: everything that has a connection to a broker and a reason to use
//! it. Roles send requests by node and get back [`ClusterEvent`]s; metadata requests are the cluster's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::messages::MetadataRequest;
use kafkawire::messages::metadata_request::MetadataRequestTopic;
use kafkawire::{BrokerId, Correlation, Link, LinkConfig, LinkEvent, Request, Response, Topic, Versions, Wire};
use machine::{Address, Digest, Input, InputOf, Instant, Io, Purpose, Span};

use super::metadata::{LeaderAndEpoch, Metadata};
use super::{KafkaClient, KafkaClientMark, Work};

const RECONNECT_JITTER: Purpose = Purpose::new("kafka-client-reconnect-jitter");
const LEAST_LOADED: Purpose = Purpose::new("kafka-client-least-loaded-node");

/// `reconnect.backoff.ms`.
const RECONNECT_BACKOFF: Span = Span::millis(50);
/// `reconnect.backoff.max.ms`.
const RECONNECT_BACKOFF_MAX: Span = Span::millis(1000);

/// Whom a client can talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeId {
    /// An entry of `bootstrap.servers`, before anybody said which broker that is.
    Bootstrap(usize),
    /// A broker.
    Broker(BrokerId),
}

/// Where a client's knowledge of the cluster comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Any broker's metadata.
    Brokers,
    /// The metadata of a broker that is registered: who that is its owner says before each question
    /// ([`Cluster::learn_brokers`]). Nobody is known before that.
    Registered,
    /// This broker's metadata, as soon as its address is known; nobody else is ever dialled.
    Pinned(BrokerId),
    /// Told by its owner ([`Cluster::learn`]): no metadata is asked for.
    Told,
}

/// A cluster's configuration.
#[derive(Clone, Debug)]
pub(crate) struct ClusterConfig {
    pub(crate) source: Source,
    /// What metadata is asked about.
    pub(crate) topics: Vec<Topic>,
    pub(crate) request_timeout: Span,
    pub(crate) retry_backoff: Span,
    pub(crate) metadata_max_age: Span,
    pub(crate) max_in_flight: usize,
}

/// What a role must know.
#[derive(Clone, Debug)]
pub(crate) enum ClusterEvent {
    /// A connection can be used.
    Up,
    /// An answer.
    Response { node: NodeId, correlation: Correlation, response: Response },
    /// A connection is gone, and nobody will answer these.
    Down { node: NodeId, unanswered: Vec<Correlation> },
    /// The metadata was refreshed.
    Refreshed,
}

/// A node and the way to it.
#[derive(Clone, Debug)]
struct Node {
    link: Link,
    failures: u32,
    /// Not dialled before.
    not_before: Instant,
    /// Somebody has something to send.
    is_wanted: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Refresh {
    is_wanted: bool,
    asked: Option<(NodeId, Correlation)>,
    last_attempt: Option<Instant>,
    last_success: Option<Instant>,
    /// Whom to ask was just said.
    has_brokers: bool,
}

/// A client's connections and what it knows of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    config: Arc<ClusterConfig>,
    hosts: kafkawire::Hosts,
    setup_timeout: Span,
    wire: Wire,
    nodes: BTreeMap<NodeId, Node>,
    metadata: Metadata,
    /// Who was registered when its owner last said so.
    registered: BTreeMap<BrokerId, Address>,
    refresh: Refresh,
}

impl Cluster {
    /// Panics if no name of `bootstrap.servers` resolves, as Kafka's clients refuse to start.
    pub(crate) fn new(work: &Work, config: ClusterConfig) -> Self {
        assert!(config.request_timeout > Span::ZERO, "requests have time to be answered");
        let mut cluster = Self {
            config: Arc::new(config),
            hosts: work.hosts.clone(),
            setup_timeout: work.setup_timeout,
            wire: work.wire,
            nodes: BTreeMap::new(),
            metadata: Metadata::default(),
            registered: BTreeMap::new(),
            refresh: Refresh { is_wanted: true, ..Refresh::default() },
        };
        if matches!(cluster.config.source, Source::Brokers | Source::Pinned(_)) {
            for (index, (host, port)) in work.bootstrap.iter().enumerate() {
                if let Some(address) = work.hosts.resolve(host, *port) {
                    let node = cluster.node_at(address);
                    cluster.nodes.insert(NodeId::Bootstrap(index), node);
                }
            }
            assert!(!cluster.nodes.is_empty(), "no resolvable bootstrap urls given in bootstrap.servers");
        }
        cluster
    }

    fn node_at(&self, address: Address) -> Node {
        let link = Link::new(LinkConfig {
            address,
            request_timeout: self.config.request_timeout,
            setup_timeout: self.setup_timeout,
            wire: self.wire,
            versions: Versions::Negotiate,
            max_in_flight: self.config.max_in_flight,
        });
        Node { link, failures: 0, not_before: Instant::ZERO, is_wanted: false }
    }

    pub(crate) const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(crate) const fn hosts(&self) -> &kafkawire::Hosts {
        &self.hosts
    }

    /// Demands a refresh behind the backoff; asked twice it is one.
    pub(crate) const fn request_refresh(&mut self) {
        self.refresh.is_wanted = true;
    }

    /// An epoch was seen in an answer; metadata older than that are refreshed.
    pub(crate) fn see_epoch(&mut self, topic: &Topic, partition: i32, epoch: kafkawire::LeaderEpoch) {
        if self.metadata.see_epoch(topic, partition, epoch) {
            self.request_refresh();
        }
    }

    /// Brokers and leaders as its owner found them. Returns what was in flight to who moved or left.
    #[must_use]
    pub(crate) fn learn(
        &mut self,
        brokers: BTreeMap<BrokerId, Address>,
        topic: &Topic,
        leaders: BTreeMap<i32, LeaderAndEpoch>,
        io: &mut Io<'_, KafkaClient>,
    ) -> Vec<ClusterEvent> {
        assert_eq!(self.config.source, Source::Told, "who is told asks nobody");
        self.metadata.learn(brokers, topic, leaders);
        self.align(io)
    }

    /// Whether leaders are to be asked for, and its owner has to say who is registered.
    pub(crate) fn wants_brokers(&self, now: Instant) -> bool {
        self.config.source == Source::Registered
            && !self.refresh.has_brokers
            && self.refresh_at().is_some_and(|at| at <= now)
    }

    /// The brokers that are registered: one of them is asked next. If there are none, its owner is to look again behind the backoff.
    #[must_use]
    pub(crate) fn learn_brokers(
        &mut self,
        registered: BTreeMap<BrokerId, Address>,
        io: &mut Io<'_, KafkaClient>,
    ) -> Vec<ClusterEvent> {
        assert_eq!(self.config.source, Source::Registered, "who is registered is asked by its owner");
        self.refresh.has_brokers = !registered.is_empty();
        if registered.is_empty() {
            self.refresh.last_attempt = Some(io.now());
        }
        self.registered = registered;
        self.align(io)
    }

    /// Feeds an input: one for the end of a link, where a late one does nothing, or a wake, which goes to every link.
    pub(crate) fn handle(&mut self, input: InputOf<Link>, io: &mut Io<'_, KafkaClient>) -> Vec<ClusterEvent> {
        let mut events = Vec::new();
        match &input {
            Input::Woken => {
                // A link does nothing before its time.
                let now = io.now();
                let is_due = |node: &Node| node.link.next_wake().is_some_and(|due| due <= now);
                let due: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| is_due(node)).map(|(&id, _)| id).collect();
                for id in due {
                    self.feed(id, Input::Woken, &mut events, io);
                }
            }
            Input::Message { on, .. } | Input::Opened { on } | Input::Refused { on } | Input::Lost { on, .. } => {
                let owner = self.nodes.iter().find(|(_, node)| node.link.owns(*on)).map(|(&id, _)| id);
                if let Some(id) = owner {
                    self.feed(id, input, &mut events, io);
                }
            }
            Input::Turn { work, .. } => match *work {},
            Input::Accepted { .. } | Input::Datagram { .. } | Input::Durable { .. } | Input::Terminate => {
                panic!("an input of the client reached its cluster: {input:?}")
            }
        }
        self.dial_wanted(io);
        events
    }

    fn feed(&mut self, id: NodeId, input: InputOf<Link>, events: &mut Vec<ClusterEvent>, io: &mut Io<'_, KafkaClient>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Some(event) = io.lend(|io| node.link.handle(input, io)) {
            self.on_link(id, event, events, io);
        }
    }

    fn on_link(&mut self, id: NodeId, event: LinkEvent, events: &mut Vec<ClusterEvent>, io: &mut Io<'_, KafkaClient>) {
        match event {
            LinkEvent::Up => {
                let node = self.nodes.get_mut(&id).expect("it has an event");
                node.failures = 0;
                node.is_wanted = false;
                events.push(ClusterEvent::Up);
            }
            LinkEvent::Response { correlation, response } => {
                if self.refresh.asked == Some((id, correlation)) {
                    self.refresh.asked = None;
                    self.on_metadata(&response, events, io);
                } else {
                    events.push(ClusterEvent::Response { node: id, correlation, response });
                }
            }
            LinkEvent::Down { unanswered, .. } => {
                let node = self.nodes.get_mut(&id).expect("it has an event");
                let backoff = reconnect_backoff(node.failures);
                let fifth = backoff / 5;
                let jittered = io.draw(RECONNECT_JITTER).between(backoff - fifth, backoff + fifth);
                node.failures = node.failures.saturating_add(1);
                node.not_before = io.now() + jittered;
                // A node that fails may have moved its leaderships.
                self.request_refresh();
                self.refresh.has_brokers = false;
                self.on_unanswered(id, unanswered, events);
            }
        }
    }

    fn on_unanswered(&mut self, id: NodeId, mut unanswered: Vec<Correlation>, events: &mut Vec<ClusterEvent>) {
        if let Some((node, correlation)) = self.refresh.asked
            && node == id
            && unanswered.contains(&correlation)
        {
            self.refresh.asked = None;
            unanswered.retain(|&other| other != correlation);
        }
        events.push(ClusterEvent::Down { node: id, unanswered });
    }

    fn on_metadata(&mut self, response: &Response, events: &mut Vec<ClusterEvent>, io: &mut Io<'_, KafkaClient>) {
        let Response::Metadata(response) = response else { panic!("Metadata is answered by {response:?}") };
        // A broker that has just started has no cache yet: "Ignoring empty metadata response".
        if response.brokers.is_empty() {
            return self.request_refresh();
        }
        let updated = self.metadata.update(response, &self.hosts);
        if updated.was_stale {
            io.reach(KafkaClientMark::StaleMetadata);
        }
        self.refresh.is_wanted = updated.ask_again;
        self.refresh.last_success = Some(io.now());
        events.extend(self.align(io));
        events.push(ClusterEvent::Refreshed);
    }

    /// Nodes as the metadata name them. Who moved to another address, or is no longer named and has nothing in flight, is
    /// hung up on.
    fn align(&mut self, io: &mut Io<'_, KafkaClient>) -> Vec<ClusterEvent> {
        let known = self.metadata.brokers().iter().chain(&self.registered);
        let mut named: BTreeMap<NodeId, Address> = known.map(|(&id, &address)| (NodeId::Broker(id), address)).collect();
        if let Source::Pinned(pinned) = self.config.source {
            named.retain(|&id, _| id == NodeId::Broker(pinned));
            if named.is_empty() {
                // Its address is not known yet, or it is the only one ever known and now down.
                return Vec::new();
            }
        }
        let mut events = Vec::new();
        let known: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in known {
            let node = self.nodes.get_mut(&id).expect("it is known");
            let stays = match named.get(&id) {
                Some(&address) => node.link.config().address == address,
                None => node.link.in_flight() > 0,
            };
            if !stays {
                let unanswered = io.lend(|io| node.link.close(io));
                self.nodes.remove(&id);
                if !unanswered.is_empty() {
                    self.on_unanswered(id, unanswered, &mut events);
                }
            }
        }
        for (id, address) in named {
            if !self.nodes.contains_key(&id) {
                let node = self.node_at(address);
                self.nodes.insert(id, node);
            }
        }
        events
    }

    /// Whether a request can be sent to a node now; if it is down, it is dialled as soon as its backoff allows.
    pub(crate) fn is_ready(&mut self, id: NodeId, io: &mut Io<'_, KafkaClient>) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else { return false };
        if node.link.is_down() {
            node.is_wanted = true;
            self.dial_wanted(io);
            return false;
        }
        node.link.can_send()
    }

    /// Panics if the node is not [ready](Self::is_ready).
    pub(crate) fn send(&mut self, id: NodeId, request: Request, io: &mut Io<'_, KafkaClient>) -> Correlation {
        let node = self.nodes.get_mut(&id).expect("a node that is ready is known");
        io.lend(|io| node.link.send(request, io))
    }

    /// Sends a produce request with acks=0. Panics if the node is not [ready](Self::is_ready).
    pub(crate) fn send_expecting_none(&mut self, id: NodeId, request: Request, io: &mut Io<'_, KafkaClient>) {
        let node = self.nodes.get_mut(&id).expect("a node that is ready is known");
        io.lend(|io| node.link.send_expecting_none(request, io));
    }

    fn dial_wanted(&mut self, io: &mut Io<'_, KafkaClient>) {
        let now = io.now();
        for node in self.nodes.values_mut() {
            if node.is_wanted && node.link.is_down() && node.not_before <= now {
                io.lend(|io| node.link.open(io));
            }
        }
    }

    /// Sends what is due of its own: a metadata request to the least loaded node.
    pub(crate) fn pump(&mut self, io: &mut Io<'_, KafkaClient>) {
        let is_told_whom = self.config.source != Source::Registered || self.refresh.has_brokers;
        if self.config.source == Source::Told || self.refresh.asked.is_some() || !is_told_whom {
            return;
        }
        if self.refresh_at().is_none_or(|at| at > io.now()) {
            return;
        }
        let Some(id) = self.least_loaded(io) else { return };
        if !self.is_ready(id, io) {
            return;
        }
        let topics =
            self.config.topics.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(topic.wire())));
        let request =
            MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(false);
        let correlation = self.send(id, Request::Metadata(Arc::new(request)), io);
        self.refresh.asked = Some((id, correlation));
        self.refresh.has_brokers = false;
        self.refresh.last_attempt = Some(io.now());
    }

    /// When metadata are to be asked for: at once if that is demanded, else when they are old; never within the backoff.
    fn refresh_at(&self) -> Option<Instant> {
        let due = match (self.refresh.is_wanted, self.refresh.last_success) {
            (true, _) | (false, None) => Instant::ZERO,
            (false, Some(last)) => last.saturating_add(self.config.metadata_max_age),
        };
        let allowed =
            self.refresh.last_attempt.map_or(Instant::ZERO, |last| last.saturating_add(self.config.retry_backoff));
        Some(due.max(allowed)).filter(|_| self.config.source != Source::Told && self.refresh.asked.is_none())
    }

    /// `leastLoadedNode`: from a drawn place on, the first connected node with nothing in flight, else the connected one with
    /// the least, else one that is being dialled, else one that may be.
    fn least_loaded(&self, io: &mut Io<'_, KafkaClient>) -> Option<NodeId> {
        let ids: Vec<NodeId> = self.nodes.keys().copied().filter(|&id| self.may_ask(id)).collect();
        if ids.is_empty() {
            return None;
        }
        let from = io.draw(LEAST_LOADED).index(ids.len());
        let (mut ready, mut dialling, mut idle) = (None::<(usize, NodeId)>, None, None);
        for at in 0..ids.len() {
            let id = ids[(from + at) % ids.len()];
            let node = &self.nodes[&id];
            if node.link.can_send() {
                let load = node.link.in_flight();
                if ready.is_none_or(|(least, _)| load < least) {
                    ready = Some((load, id));
                }
            } else if !node.link.is_down() && !node.link.is_up() {
                dialling.get_or_insert(id);
            } else if node.link.is_down() && node.not_before <= io.now() {
                idle.get_or_insert(id);
            }
        }
        ready.map(|(_, id)| id).or(dialling).or(idle)
    }

    /// A node that is no longer named is not asked, though its connection may still be open.
    fn may_ask(&self, id: NodeId) -> bool {
        match (self.config.source, id) {
            (Source::Pinned(_), _) => true,
            (Source::Registered, NodeId::Broker(broker)) => {
                self.refresh.has_brokers && self.registered.contains_key(&broker)
            }
            (Source::Brokers | Source::Registered | Source::Told, NodeId::Bootstrap(_)) => {
                self.metadata.brokers().is_empty()
            }
            (Source::Brokers | Source::Told, NodeId::Broker(broker)) => self.metadata.brokers().contains_key(&broker),
        }
    }

    /// When it next wants to be woken; later than `now`, as what is due now was done.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let later = |wake: Option<Instant>| wake.filter(|&at| at > now);
        let refresh = self.refresh_at();
        let wants_refresh = refresh.is_some_and(|at| at <= now);
        let mut earliest = later(refresh);
        for (&id, node) in &self.nodes {
            let wants_dial = node.link.is_down() && (node.is_wanted || (wants_refresh && self.may_ask(id)));
            let dial = Some(node.not_before).filter(|_| wants_dial);
            earliest = Instant::earliest([earliest, later(node.link.next_wake()), later(dial)]);
        }
        earliest
    }

    pub(crate) fn check_invariants(&self) {
        for node in self.nodes.values() {
            node.link.check_invariants();
        }
        if let Some((id, _)) = self.refresh.asked {
            assert!(self.nodes[&id].link.in_flight() > 0, "metadata that were asked for are in flight");
        }
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        for node in self.nodes.values() {
            node.link.digest(into);
        }
        self.metadata.digest(into);
    }
}

/// 50 ms, doubled per failure in a row, at most 1 s; 20 % of jitter come on top.
fn reconnect_backoff(failures: u32) -> Span {
    let doubled = RECONNECT_BACKOFF * (1_u64 << failures.min(10));
    doubled.min(RECONNECT_BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnect_backoff_doubles_up_to_a_second() {
        let backoffs: Vec<u64> = (0..7).map(|failures| reconnect_backoff(failures).as_millis()).collect();
        assert_eq!(backoffs, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(reconnect_backoff(u32::MAX), RECONNECT_BACKOFF_MAX);
    }
}
