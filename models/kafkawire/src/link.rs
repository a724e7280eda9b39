//! One client connection to one broker: what Kafka's `NetworkClient` does for one node.
//!
//! A *part*: its parent lends it `io` and feeds it what comes for the end it [owns](Link::owns), and every wake. It dials,
//! agrees on versions, numbers and narrows requests, pairs responses with them, and gives up a connection that does not open
//! or answer in time. It has no policy: when it is down the parent decides when to [open](Link::open) it again (the
//! controller's channels after 100 ms, fetchers after their backoff, clients after `reconnect.backoff.ms`).
//!
//! ```text
//!                open            opened, versions known
//!   Down ───────────────▶ Connecting ──▶ (Negotiating) ──▶ Up ──▶ send …
//!    ▲                         │               │           │
//!    └──── Down{why, unanswered} ◀─────────────┴───────────┘
//! ```
//!
//! A broker answers the requests of a connection in order (kafka-broker.md §1.2): a response that is not that of the oldest
//! request in flight breaks the connection.

use std::collections::VecDeque;

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;
use machine::{Address, Digest, EndId, Input, InputOf, Instant, Io, Never, Span, Vocabulary};

use crate::version::{inter_broker, negotiate};
use crate::{
    ApiKey, Correlation, ErrorCode, KafkaMessage, Request, Response, UnsupportedVersion, Version, VersionRange, Wire,
};

/// The default of `socket.connection.setup.timeout.ms`. `Simplified:` it does not double with every failure up to
/// `socket.connection.setup.timeout.max.ms`; lost: longer waits for a host that stays silent.
pub const CONNECTION_SETUP_TIMEOUT: Span = Span::millis(10_000);

/// How the version of a request is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Versions {
    /// As clients do: ask what the broker speaks, take the highest common one.
    Negotiate,
    /// As brokers do among each other: what `inter.broker.protocol.version` says, unasked.
    InterBroker,
}

/// What a link is told when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkConfig {
    /// Where the broker listens.
    pub address: Address,
    /// `request.timeout.ms`, or `controller.socket.timeout.ms`, or `replica.socket.timeout.ms`: a request unanswered so long
    /// costs the connection.
    pub request_timeout: Span,
    /// `socket.connection.setup.timeout.ms`; [`CONNECTION_SETUP_TIMEOUT`] if nobody says otherwise.
    pub setup_timeout: Span,
    /// How messages are carried.
    pub wire: Wire,
    /// How versions are chosen.
    pub versions: Versions,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: usize,
}

/// Why a connection is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DownCause {
    /// Nobody listens there.
    Refused,
    /// The broker closed or reset it.
    Lost,
    /// The oldest request in flight was not answered in time.
    TimedOut,
    /// It did not open in time.
    ConnectTimeout,
    /// What came was not the answer to the oldest request in flight, or versions could not be agreed on.
    UnexpectedMessage,
}

/// What a link's parent must know.
#[derive(Clone, PartialEq, Debug)]
pub enum LinkEvent {
    /// Requests can be sent.
    Up,
    /// A request was answered.
    Response {
        /// Which.
        correlation: Correlation,
        /// How.
        response: Response,
    },
    /// The connection is gone; it is down until it is opened again.
    Down {
        /// Why.
        why: DownCause,
        /// The requests that will not be answered, oldest first: they may have been executed, or may be yet.
        unanswered: Vec<Correlation>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Down,
    Connecting { end: EndId, give_up_at: Instant },
    Negotiating { end: EndId },
    Up { end: EndId },
}

/// A request that waits for its response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct InFlight {
    correlation: Correlation,
    api: ApiKey,
    version: Version,
    expires_at: Instant,
}

/// One client connection to one broker; see the module.
#[derive(Clone, Debug)]
pub struct Link {
    config: LinkConfig,
    phase: Phase,
    next_correlation: Correlation,
    in_flight: VecDeque<InFlight>,
    /// What the broker speaks; empty until it was asked.
    theirs: Vec<(ApiKey, VersionRange)>,
}

impl Vocabulary for Link {
    type Message = KafkaMessage;
    type Work = Never;
    type Fact = Never;
}

impl Link {
    /// A link that is down.
    ///
    /// # Panics
    /// If nothing may be in flight.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        assert!(config.max_in_flight > 0, "a link without requests in flight is of no use");
        Self {
            config,
            phase: Phase::Down,
            next_correlation: Correlation(0),
            in_flight: VecDeque::new(),
            theirs: Vec::new(),
        }
    }

    /// What it was told when it was made.
    #[must_use]
    pub const fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Dials.
    ///
    /// # Panics
    /// If it is not down.
    pub fn open(&mut self, io: &mut Io<'_, Self>) {
        assert_eq!(self.phase, Phase::Down, "a link is opened when it is down");
        let end = io.connect(self.config.address);
        self.phase = Phase::Connecting { end, give_up_at: io.now().saturating_add(self.config.setup_timeout) };
        self.next_correlation = Correlation(0);
        self.theirs.clear();
    }

    /// Closes the connection, whatever its state, and forgets what was in flight; returns that, oldest first. No event follows.
    pub fn close(&mut self, io: &mut Io<'_, Self>) -> Vec<Correlation> {
        if let Some(end) = self.end() {
            io.close(end);
        }
        self.fall()
    }

    /// Whether it is down: neither up nor on the way.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.phase == Phase::Down
    }

    /// Whether the connection is open and versions are known.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        match self.phase {
            Phase::Up { .. } => true,
            Phase::Down | Phase::Connecting { .. } | Phase::Negotiating { .. } => false,
        }
    }

    /// Whether it is up and fewer requests than allowed are in flight.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.is_up() && self.in_flight.len() < self.config.max_in_flight
    }

    /// How many requests wait for a response, the link's own included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether this end is the link's.
    #[must_use]
    pub fn owns(&self, end: EndId) -> bool {
        self.end() == Some(end)
    }

    /// The version in which requests of an API are sent.
    ///
    /// # Errors
    /// If the broker speaks no version that we speak.
    ///
    /// # Panics
    /// If it is not up.
    pub fn version_of(&self, api: ApiKey) -> Result<Version, UnsupportedVersion> {
        assert!(self.is_up(), "versions are known when the link is up");
        match self.config.versions {
            Versions::InterBroker => Ok(inter_broker(api)),
            Versions::Negotiate => {
                let theirs = self.theirs.iter().find(|(key, _)| *key == api).ok_or(UnsupportedVersion(api))?;
                negotiate(api, theirs.1)
            }
        }
    }

    /// Sends a request. Its response, or the link's going down, names the correlation returned.
    ///
    /// # Panics
    /// If it is not up, too much is in flight, or the broker lacks the API: see [`can_send`](Self::can_send),
    /// [`version_of`](Self::version_of).
    pub fn send(&mut self, request: Request, io: &mut Io<'_, Self>) -> Correlation {
        assert!(self.is_up(), "requests are sent when the link is up");
        assert!(self.can_send(), "{} requests are in flight, which is all", self.in_flight.len());
        let version = self.version_of(request.api()).expect("whoever sends has seen that the broker has the API");
        self.send_awaited(request, version, io)
    }

    /// Sends a request that is not answered: a Produce with `acks=0`.
    ///
    /// # Panics
    /// As [`send`](Self::send); if the request would be answered.
    pub fn send_expecting_none(&mut self, request: Request, io: &mut Io<'_, Self>) {
        assert!(self.can_send(), "requests are sent when the link is up and has room");
        let Request::Produce(body) = &request else { panic!("{} is answered", request.api()) };
        assert_eq!(body.acks, 0, "only a Produce without acks is not answered");
        let version = self.version_of(ApiKey::Produce).expect("whoever sends has seen that the broker has the API");
        self.write(request, version, io);
    }

    /// Feeds one input. What the parent must know is returned: no input brings about more than one thing.
    ///
    /// # Panics
    /// If the input can only be the parent's: a link accepts, syncs and defers nothing.
    #[must_use]
    pub fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) -> Option<LinkEvent> {
        match input {
            Input::Woken => self.on_woken(io),
            Input::Opened { on } if self.owns(on) => self.on_opened(on, io),
            Input::Refused { on } if self.owns(on) => Some(self.go_down(DownCause::Refused)),
            Input::Lost { on, .. } if self.owns(on) => Some(self.go_down(DownCause::Lost)),
            Input::Message { on, message } if self.owns(on) => self.on_message(on, message, io),
            // Late: the end was given up while this was under way.
            Input::Opened { .. } | Input::Refused { .. } | Input::Lost { .. } | Input::Message { .. } => None,
            Input::Turn { work, .. } => match work {},
            Input::Accepted { .. } | Input::Datagram { .. } | Input::Durable { .. } | Input::Terminate => {
                panic!("an input of the parent reached its link: {input:?}")
            }
        }
    }

    /// When it next wants to be woken.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        match self.phase {
            Phase::Down => None,
            Phase::Connecting { give_up_at, .. } => Some(give_up_at),
            // All have the same timeout: the oldest expires first.
            Phase::Negotiating { .. } | Phase::Up { .. } => self.in_flight.front().map(|oldest| oldest.expires_at),
        }
    }

    /// Phase and what is in flight.
    pub fn digest(&self, into: &mut Digest) {
        let phase = match self.phase {
            Phase::Down => 0,
            Phase::Connecting { .. } => 1,
            Phase::Negotiating { .. } => 2,
            Phase::Up { .. } => 3,
        };
        into.word(phase);
        into.signed(i64::from(self.next_correlation.0));
        into.word(self.in_flight.len() as u64);
    }

    /// The full check; panics if the state contradicts itself.
    pub fn check_invariants(&self) {
        assert!(self.in_flight.len() <= self.config.max_in_flight, "requests in flight stay within their limit");
        match self.phase {
            Phase::Down | Phase::Connecting { .. } => {
                assert!(self.in_flight.is_empty(), "nothing is in flight on a connection that is not open");
            }
            Phase::Negotiating { .. } => assert_eq!(self.in_flight.len(), 1, "the question for versions is in flight"),
            Phase::Up { .. } => {}
        }
        for (earlier, later) in self.in_flight.iter().zip(self.in_flight.iter().skip(1)) {
            assert!(earlier.correlation < later.correlation, "requests are in flight in the order of their numbers");
            assert!(earlier.expires_at <= later.expires_at, "requests expire in the order they were sent");
        }
        if let Some(latest) = self.in_flight.back() {
            assert!(latest.correlation < self.next_correlation, "what is in flight was numbered");
        }
    }

    const fn end(&self) -> Option<EndId> {
        match self.phase {
            Phase::Down => None,
            Phase::Connecting { end, .. } | Phase::Negotiating { end } | Phase::Up { end } => Some(end),
        }
    }

    fn on_woken(&mut self, io: &mut Io<'_, Self>) -> Option<LinkEvent> {
        if self.next_wake().is_none_or(|due| due > io.now()) {
            return None;
        }
        let why = match self.phase {
            Phase::Connecting { .. } => DownCause::ConnectTimeout,
            Phase::Down | Phase::Negotiating { .. } | Phase::Up { .. } => DownCause::TimedOut,
        };
        Some(self.give_up(why, io))
    }

    fn on_opened(&mut self, end: EndId, io: &mut Io<'_, Self>) -> Option<LinkEvent> {
        match self.config.versions {
            Versions::Negotiate => {
                self.phase = Phase::Negotiating { end };
                self.ask_versions(ApiKey::ApiVersions.supported().max, io);
                None
            }
            Versions::InterBroker => {
                self.phase = Phase::Up { end };
                Some(LinkEvent::Up)
            }
        }
    }

    fn ask_versions(&mut self, version: Version, io: &mut Io<'_, Self>) {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("tribunal"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        self.send_awaited(Request::ApiVersions(request.into()), version, io);
    }

    fn on_message(&mut self, on: EndId, message: KafkaMessage, io: &mut Io<'_, Self>) -> Option<LinkEvent> {
        let KafkaMessage::Response { correlation, version, body } = message else {
            return Some(self.give_up(DownCause::UnexpectedMessage, io));
        };
        let Some(oldest) = self.in_flight.front().copied() else {
            return Some(self.give_up(DownCause::UnexpectedMessage, io));
        };
        // Who does not speak the version of an ApiVersions request answers it in version 0 (KIP-511).
        let version_right = version == oldest.version || (oldest.api == ApiKey::ApiVersions && version == 0);
        if correlation != oldest.correlation || body.api() != oldest.api || !version_right {
            return Some(self.give_up(DownCause::UnexpectedMessage, io));
        }
        self.in_flight.pop_front();
        match (self.phase, &body) {
            (Phase::Negotiating { .. }, Response::ApiVersions(body)) => self.on_versions(on, oldest, body, io),
            (Phase::Negotiating { .. } | Phase::Up { .. }, _) => {
                Some(LinkEvent::Response { correlation, response: body })
            }
            (Phase::Down | Phase::Connecting { .. }, _) => {
                unreachable!("nothing is in flight before the connection is open")
            }
        }
    }

    fn on_versions(
        &mut self,
        end: EndId,
        asked: InFlight,
        answer: &ApiVersionsResponse,
        io: &mut Io<'_, Self>,
    ) -> Option<LinkEvent> {
        let ranges = answer.api_keys.iter().filter_map(|key| {
            let api = ApiKey::from_code(key.api_key)?;
            Some((api, VersionRange { min: key.min_version, max: key.max_version }))
        });
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => {
                self.theirs = ranges.collect();
                self.phase = Phase::Up { end };
                Some(LinkEvent::Up)
            }
            Some(ErrorCode::UnsupportedVersion) if asked.version > 0 => {
                // Since 2.4 the answer names what is spoken; 0 if not. Never as high again: that would go on for ever.
                let named = ranges.into_iter().find(|(api, _)| *api == ApiKey::ApiVersions);
                let version = named.map_or(0, |(_, theirs)| theirs.max).clamp(0, asked.version - 1);
                self.ask_versions(version, io);
                None
            }
            Some(_) | None => Some(self.give_up(DownCause::UnexpectedMessage, io)),
        }
    }

    fn send_awaited(&mut self, request: Request, version: Version, io: &mut Io<'_, Self>) -> Correlation {
        let api = request.api();
        let correlation = self.write(request, version, io);
        let expires_at = io.now().saturating_add(self.config.request_timeout);
        self.in_flight.push_back(InFlight { correlation, api, version, expires_at });
        correlation
    }

    fn write(&mut self, request: Request, version: Version, io: &mut Io<'_, Self>) -> Correlation {
        let end = self.end().expect("requests are written to a connection");
        let correlation = self.next_correlation;
        // Kafka's counter wraps; two thousand million requests on one connection are beyond any run.
        self.next_correlation = Correlation(correlation.0 + 1);
        io.send(end, self.config.wire.carry(KafkaMessage::request(correlation, version, request)));
        correlation
    }

    /// Closes the connection and tells why.
    fn give_up(&mut self, why: DownCause, io: &mut Io<'_, Self>) -> LinkEvent {
        LinkEvent::Down { why, unanswered: self.close(io) }
    }

    /// The connection is gone already.
    fn go_down(&mut self, why: DownCause) -> LinkEvent {
        LinkEvent::Down { why, unanswered: self.fall() }
    }

    /// What was in flight is the parent's, unless it is the link's own question for versions.
    fn fall(&mut self) -> Vec<Correlation> {
        let own = matches!(self.phase, Phase::Negotiating { .. });
        self.phase = Phase::Down;
        self.in_flight.drain(..).filter(|_| !own).map(|request| request.correlation).collect()
    }
}
