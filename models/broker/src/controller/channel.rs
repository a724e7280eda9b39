//! The controller's way to each broker (kafka-broker.md §4.13).
//!
//! A channel is a queue and a connection with one request in flight. Whatever goes wrong, the connection is closed and **the
//! same** request is sent again after 100 ms, until it is answered or the channel is removed with all that waits in it. A
//! request may therefore be executed twice; epochs make that harmless.

use std::collections::{BTreeMap, VecDeque};

use kafkawire::{BrokerId, Correlation, Link, LinkConfig, LinkEvent, Request, Versions};
use machine::{Digest, EndId, Input, InputOf, Instant, Span};

use crate::cx::Cx;

use super::context::{ControllerContext, LiveBroker};

/// How long a channel waits before it sends again.
const BACKOFF: Span = Span::millis(100);

/// A channel to one broker.
#[derive(Clone, Debug)]
struct Channel {
    /// None if nobody knows the name of the broker's host: its requests wait until the channel is removed.
    link: Option<Link>,
    /// What waits; the first is in flight, or will be.
    queue: VecDeque<Request>,
    in_flight: Option<Correlation>,
    /// When the first is tried again.
    retry_at: Option<Instant>,
}

impl Channel {
    fn new(broker: &LiveBroker, cx: &Cx<'_, '_>) -> Self {
        let address = cx.image.hosts.resolve(&broker.host, broker.port);
        let link = address.map(|address| {
            Link::new(LinkConfig {
                address,
                request_timeout: cx.config().controller_socket_timeout,
                setup_timeout: kafkawire::CONNECTION_SETUP_TIMEOUT,
                wire: cx.image.wire,
                versions: Versions::InterBroker,
                max_in_flight: 1,
            })
        });
        Self { link, queue: VecDeque::new(), in_flight: None, retry_at: None }
    }

    fn push(&mut self, request: Request, cx: &mut Cx<'_, '_>) {
        self.queue.push_back(request);
        self.pump(cx);
    }

    /// Sends the first request if nothing is in flight; dials for it if need be. A connection is made for a request only.
    fn pump(&mut self, cx: &mut Cx<'_, '_>) {
        let Some(link) = &mut self.link else { return };
        let Some(first) = self.queue.front() else { return };
        if self.in_flight.is_some() || self.retry_at.is_some() {
            return;
        }
        if link.is_down() {
            cx.io.lend(|io| link.open(io));
        } else if link.can_send() {
            let request = first.clone();
            self.in_flight = Some(cx.io.lend(|io| link.send(request, io)));
        }
    }

    fn handle(&mut self, input: InputOf<Link>, cx: &mut Cx<'_, '_>) {
        if let Input::Woken = input
            && self.retry_at.is_some_and(|due| due <= cx.io.now())
        {
            self.retry_at = None;
        }
        let Some(link) = &mut self.link else { return };
        match cx.io.lend(|io| link.handle(input, io)) {
            Some(LinkEvent::Up) | None => {}
            Some(LinkEvent::Response { correlation, response: _ }) => {
                // An error is logged, and not sent again (KA-B22). Partitions refused with KAFKA_STORAGE_ERROR are
                // absent: a broker has one log directory here, and halts with it.
                assert_eq!(self.in_flight.take(), Some(correlation), "one request is in flight");
                self.queue.pop_front();
            }
            Some(LinkEvent::Down { why: _, unanswered: _ }) => {
                self.in_flight = None;
                if !self.queue.is_empty() {
                    self.retry_at = Some(cx.io.now().saturating_add(BACKOFF));
                }
            }
        }
        self.pump(cx);
    }

    fn close(mut self, cx: &mut Cx<'_, '_>) {
        if let Some(link) = &mut self.link {
            cx.io.lend(|io| link.close(io));
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        Instant::earliest([self.link.as_ref().and_then(Link::next_wake), self.retry_at])
    }
}

/// The channels of the active controller (`ControllerChannelManager`); none otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Channels {
    channels: BTreeMap<BrokerId, Channel>,
}

impl Channels {
    /// A channel to every live broker.
    pub(super) fn start(&mut self, context: &ControllerContext, cx: &Cx<'_, '_>) {
        assert!(self.channels.is_empty(), "channels end with the office they were made for");
        for (&broker, live) in context.live_brokers() {
            self.add(broker, live, cx);
        }
    }

    /// A channel to a broker, unless there is one.
    pub(super) fn add(&mut self, broker: BrokerId, live: &LiveBroker, cx: &Cx<'_, '_>) {
        self.channels.entry(broker).or_insert_with(|| Channel::new(live, cx));
    }

    /// Closes a channel; what waits in it is dropped.
    pub(super) fn remove(&mut self, broker: BrokerId, cx: &mut Cx<'_, '_>) {
        if let Some(channel) = self.channels.remove(&broker) {
            channel.close(cx);
        }
    }

    /// Closes them all.
    pub(super) fn shut_down(&mut self, cx: &mut Cx<'_, '_>) {
        for channel in std::mem::take(&mut self.channels).into_values() {
            channel.close(cx);
        }
    }

    /// Queues a request. To a broker without a channel nothing is sent: it is gone.
    pub(super) fn send(&mut self, broker: BrokerId, request: Request, cx: &mut Cx<'_, '_>) {
        if let Some(channel) = self.channels.get_mut(&broker) {
            channel.push(request, cx);
        }
    }

    pub(super) fn owns(&self, end: EndId) -> bool {
        self.channels.values().any(|channel| channel.link.as_ref().is_some_and(|link| link.owns(end)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Feeds an input to its channel, a wake to all.
    pub(super) fn handle(&mut self, input: InputOf<Link>, cx: &mut Cx<'_, '_>) {
        let on = match &input {
            Input::Woken => None,
            Input::Opened { on } | Input::Refused { on } | Input::Lost { on, .. } | Input::Message { on, .. } => {
                Some(*on)
            }
            Input::Turn { work, .. } => match *work {},
            Input::Accepted { .. } | Input::Datagram { .. } | Input::Durable { .. } | Input::Terminate => {
                panic!("an input of the broker reached its controller's channels: {input:?}")
            }
        };
        match on {
            None => {
                for channel in self.channels.values_mut() {
                    channel.handle(Input::Woken, cx);
                }
            }
            Some(on) => {
                let owns = |channel: &&mut Channel| channel.link.as_ref().is_some_and(|link| link.owns(on));
                if let Some(channel) = self.channels.values_mut().find(owns) {
                    channel.handle(input, cx);
                }
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.channels.values().filter_map(Channel::next_wake).min()
    }

    /// What waits, for reports.
    pub(super) fn pending(&self) -> impl Iterator<Item = String> + '_ {
        let waiting =
            self.channels.iter().filter_map(|(broker, channel)| Some((broker, channel, channel.queue.front()?)));
        waiting.map(|(broker, channel, first)| {
            format!("{} control requests wait for broker {broker}, first {}", channel.queue.len(), first.api())
        })
    }

    pub(super) fn check_invariants(&self) {
        for (broker, channel) in &self.channels {
            if let Some(link) = &channel.link {
                link.check_invariants();
            }
            if channel.in_flight.is_some() || channel.retry_at.is_some() {
                assert!(!channel.queue.is_empty(), "the channel to {broker} has nothing in flight, or to send again");
                assert!(
                    channel.in_flight.is_none() || channel.retry_at.is_none(),
                    "what is in flight is not sent again"
                );
            }
        }
    }

    pub(super) fn digest(&self, into: &mut Digest) {
        for (broker, channel) in &self.channels {
            into.signed(i64::from(broker.0));
            into.word(channel.queue.len() as u64);
            if let Some(link) = &channel.link {
                link.digest(into);
            }
        }
    }
}
