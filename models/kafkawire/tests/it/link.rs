//! A link, input by input.

use std::sync::Arc;

use kafkawire::messages::{
    ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    api_versions_response::ApiVersion, fetch_request::FetchTopic,
};
use kafkawire::{
    ApiKey, CONNECTION_SETUP_TIMEOUT, Correlation, DownCause, ErrorCode, KafkaMessage, Link, LinkConfig, LinkEvent,
    Request, Response, UnsupportedVersion, Version, VersionRange, Versions, Wire,
};
use machine::disk::{Metadata, PageCache};
use machine::{Address, Clock, Effect, EndId, HostId, Input, InputOf, Instant, Io, Loss, Numbers, Port, RunKey, Span};

const BROKER: Address = Address { host: HostId(4), port: Port(9092) };
const TIMEOUT: Span = Span::millis(30_000);

struct Bench {
    clock: Clock,
    disk: PageCache,
    numbers: Numbers,
    link: Link,
}

impl Bench {
    fn new(versions: Versions, max_in_flight: usize) -> Self {
        Self::carried_by(Wire::Values, versions, max_in_flight)
    }

    fn carried_by(wire: Wire, versions: Versions, max_in_flight: usize) -> Self {
        let config = LinkConfig {
            address: BROKER,
            request_timeout: TIMEOUT,
            setup_timeout: CONNECTION_SETUP_TIMEOUT,
            wire,
            versions,
            max_in_flight,
        };
        Self {
            clock: Clock { now: Instant::from_nanos(1_000_000_000), wall_offset_ms: 0 },
            disk: PageCache::new(Metadata::Journaled),
            numbers: Numbers::default(),
            link: Link::new(config),
        }
    }

    /// Lets the link act and returns what came of it and its effects.
    fn act<R>(&mut self, act: impl FnOnce(&mut Link, &mut Io<'_, Link>) -> R) -> (R, Vec<Effect<Link>>) {
        let mut out = Vec::new();
        let key = RunKey([1, 2]);
        let mut io = Io::new(self.clock, key, 0, &mut self.disk, &mut self.numbers, &mut out);
        let result = act(&mut self.link, &mut io);
        self.link.check_invariants();
        assert!(self.link.next_wake().is_none_or(|wake| wake > self.clock.now), "nothing is still due");
        (result, out)
    }

    fn open(&mut self) -> EndId {
        let ((), effects) = self.act(Link::open);
        let [Effect::Connect { end, to: BROKER }] = effects[..] else { panic!("{effects:?}") };
        assert!(self.link.owns(end) && !self.link.is_up() && !self.link.is_down());
        end
    }

    fn feed(&mut self, input: InputOf<Link>) -> (Vec<LinkEvent>, Vec<Effect<Link>>) {
        self.act(|link, io| link.handle(input, io).into_iter().collect())
    }

    fn send(&mut self, request: Request) -> (Correlation, KafkaMessage) {
        let (correlation, effects) = self.act(|link, io| link.send(request, io));
        (correlation, sent(&effects))
    }

    fn answer(&mut self, on: EndId, correlation: Correlation, version: Version, body: Response) -> Vec<LinkEvent> {
        let (events, _) = self.feed(Input::Message { on, message: KafkaMessage::response(correlation, version, body) });
        events
    }

    /// A link that is up with a broker of these versions.
    fn up(versions: Versions, max_in_flight: usize) -> (Self, EndId) {
        let mut bench = Self::new(versions, max_in_flight);
        let end = bench.open();
        let (mut events, effects) = bench.feed(Input::Opened { on: end });
        if versions == Versions::Negotiate {
            let asked = sent(&effects);
            events = bench.answer(end, asked.correlation(), asked.version(), everything());
        }
        assert_eq!(events, [LinkEvent::Up]);
        assert!(bench.link.is_up());
        (bench, end)
    }
}

#[track_caller]
fn sent(effects: &[Effect<Link>]) -> KafkaMessage {
    let [Effect::Send { message, .. }] = effects else { panic!("{effects:?}") };
    message.clone()
}

fn metadata() -> Request {
    Request::Metadata(Arc::new(MetadataRequest::default()))
}

fn versions_response(error: ErrorCode, ranges: &[(ApiKey, VersionRange)]) -> Response {
    let keys = ranges.iter().map(|(api, range)| {
        ApiVersion::default().with_api_key(api.code()).with_min_version(range.min).with_max_version(range.max)
    });
    let response = ApiVersionsResponse::default().with_error_code(error.code()).with_api_keys(keys.collect());
    Response::ApiVersions(Arc::new(response))
}

fn everything() -> Response {
    let ranges: Vec<_> = ApiKey::ALL.iter().map(|&api| (api, api.supported())).collect();
    versions_response(ErrorCode::None, &ranges)
}

fn metadata_response() -> Response {
    Response::Metadata(Arc::new(MetadataResponse::default()))
}

fn down(why: DownCause, unanswered: &[i32]) -> LinkEvent {
    LinkEvent::Down { why, unanswered: unanswered.iter().copied().map(Correlation).collect() }
}

#[test]
fn a_client_asks_for_versions_and_takes_the_highest_common_ones() {
    let mut bench = Bench::new(Versions::Negotiate, 5);
    let end = bench.open();
    let (events, effects) = bench.feed(Input::Opened { on: end });
    assert_eq!(events, []);
    let asked = sent(&effects);
    assert_eq!((asked.api(), asked.version()), (ApiKey::ApiVersions, 3));
    assert!(!bench.link.is_up());
    let ranges = [(ApiKey::Metadata, VersionRange::new(0, 6)), (ApiKey::Fetch, VersionRange::new(12, 13))];
    let events = bench.answer(end, asked.correlation(), 3, versions_response(ErrorCode::None, &ranges));
    assert_eq!(events, [LinkEvent::Up]);
    assert_eq!(bench.link.version_of(ApiKey::Metadata), Ok(6));
    assert_eq!(bench.link.version_of(ApiKey::Fetch), Err(UnsupportedVersion(ApiKey::Fetch)));
    assert_eq!(bench.link.version_of(ApiKey::Produce), Err(UnsupportedVersion(ApiKey::Produce)));
    let (_, message) = bench.send(metadata());
    assert_eq!(message.version(), 6);
}

#[test]
fn an_unsupported_question_for_versions_is_asked_again_as_the_broker_says() {
    // (what the broker names, what is asked next)
    for (named, next) in [(Some(2), 2), (None, 0), (Some(3), 2)] {
        let mut bench = Bench::new(Versions::Negotiate, 5);
        let end = bench.open();
        let (_, effects) = bench.feed(Input::Opened { on: end });
        let ranges: Vec<_> = named.map(|max| (ApiKey::ApiVersions, VersionRange::new(0, max))).into_iter().collect();
        let refusal = versions_response(ErrorCode::UnsupportedVersion, &ranges);
        // Who does not speak version 3 answers in version 0.
        let message = KafkaMessage::response(sent(&effects).correlation(), 0, refusal);
        let (events, effects) = bench.feed(Input::Message { on: end, message });
        assert_eq!(events, []);
        let again = sent(&effects);
        assert_eq!((again.api(), again.version()), (ApiKey::ApiVersions, next));
        assert_eq!(bench.answer(end, again.correlation(), next, everything()), [LinkEvent::Up]);
    }
}

#[test]
fn a_broker_that_refuses_version_zero_is_given_up() {
    let mut bench = Bench::new(Versions::Negotiate, 5);
    let end = bench.open();
    let (_, effects) = bench.feed(Input::Opened { on: end });
    let refusal = || versions_response(ErrorCode::UnsupportedVersion, &[]);
    let first = sent(&effects).correlation();
    let (_, effects) = bench.feed(Input::Message { on: end, message: KafkaMessage::response(first, 0, refusal()) });
    let again = sent(&effects);
    let message = KafkaMessage::response(again.correlation(), again.version(), refusal());
    let (events, effects) = bench.feed(Input::Message { on: end, message });
    assert_eq!(events, [down(DownCause::UnexpectedMessage, &[])]);
    assert!(matches!(effects[..], [Effect::Close { .. }]));
}

#[test]
fn a_broker_speaks_to_another_unasked_in_the_versions_of_its_era() {
    let (mut bench, _) = Bench::up(Versions::InterBroker, 1);
    let topic = FetchTopic::default();
    let fetch = FetchRequest::default().with_topics(vec![topic]);
    let (correlation, message) = bench.send(Request::Fetch(Arc::new(fetch)));
    assert_eq!((correlation, message.version()), (Correlation(0), 11));
    assert_eq!(bench.link.version_of(ApiKey::LeaderAndIsr), Ok(4));
}

#[test]
fn responses_are_paired_with_requests_in_order() {
    let (mut bench, end) = Bench::up(Versions::InterBroker, 2);
    let (first, message) = bench.send(metadata());
    let (second, _) = bench.send(Request::Fetch(Arc::new(FetchRequest::default())));
    assert!(first < second);
    assert!(!bench.link.can_send(), "two are in flight, which is all");
    let events = bench.answer(end, first, message.version(), metadata_response());
    assert_eq!(events, [LinkEvent::Response { correlation: first, response: metadata_response() }]);
    assert!(bench.link.can_send());
    let fetched = Response::Fetch(Arc::new(FetchResponse::default()));
    let events = bench.answer(end, second, 11, fetched.clone());
    assert_eq!(events, [LinkEvent::Response { correlation: second, response: fetched }]);
    assert_eq!((bench.link.in_flight(), bench.link.next_wake()), (0, None));
}

#[test]
fn a_message_that_answers_nothing_breaks_the_connection() {
    let request = KafkaMessage::request(Correlation(0), 9, metadata());
    let wrong_number = KafkaMessage::response(Correlation(1), 9, metadata_response());
    let wrong_version = KafkaMessage::response(Correlation(0), 8, metadata_response());
    let wrong_api = KafkaMessage::response(Correlation(0), 9, everything_of_nine());
    for message in [request, wrong_number, wrong_version, wrong_api] {
        let (mut bench, end) = Bench::up(Versions::InterBroker, 5);
        bench.send(metadata());
        bench.send(metadata());
        let (events, effects) = bench.feed(Input::Message { on: end, message });
        assert_eq!(events, [down(DownCause::UnexpectedMessage, &[0, 1])]);
        assert!(matches!(effects[..], [Effect::Close { end: closed }] if closed == end));
        assert!(bench.link.is_down() && !bench.link.owns(end));
    }
    let (mut bench, end) = Bench::up(Versions::InterBroker, 5);
    assert_eq!(bench.answer(end, Correlation(0), 9, metadata_response()), [down(DownCause::UnexpectedMessage, &[])]);
}

/// A response of another API that has a version 9 too.
fn everything_of_nine() -> Response {
    Response::Fetch(Arc::new(FetchResponse::default()))
}

#[test]
fn the_oldest_unanswered_request_costs_the_connection() {
    let (mut bench, end) = Bench::up(Versions::Negotiate, 5);
    bench.send(metadata());
    let due = bench.clock.now + TIMEOUT;
    bench.clock.now = bench.clock.now + Span::millis(1000);
    bench.send(metadata());
    assert_eq!(bench.link.next_wake(), Some(due));
    bench.clock.now = due;
    let (events, effects) = bench.feed(Input::Woken);
    assert_eq!(events, [down(DownCause::TimedOut, &[1, 2])], "0 was the link's own question for versions");
    assert!(matches!(effects[..], [Effect::Close { end: closed }] if closed == end));
    assert_eq!(bench.feed(Input::Woken).0, [], "a wake with nothing due changes nothing");
}

#[test]
fn a_question_for_versions_times_out_too() {
    let mut bench = Bench::new(Versions::Negotiate, 5);
    let end = bench.open();
    bench.feed(Input::Opened { on: end });
    bench.clock.now = bench.clock.now + TIMEOUT;
    assert_eq!(bench.feed(Input::Woken).0, [down(DownCause::TimedOut, &[])]);
}

#[test]
fn a_connection_that_does_not_open_is_given_up() {
    let mut bench = Bench::new(Versions::Negotiate, 5);
    let end = bench.open();
    assert_eq!(bench.link.next_wake(), Some(bench.clock.now + CONNECTION_SETUP_TIMEOUT));
    bench.clock.now = bench.clock.now + CONNECTION_SETUP_TIMEOUT;
    let (events, effects) = bench.feed(Input::Woken);
    assert_eq!(events, [down(DownCause::ConnectTimeout, &[])]);
    assert!(matches!(effects[..], [Effect::Close { end: closed }] if closed == end));
    // It opens after all: nobody cares any more.
    assert_eq!(bench.feed(Input::Opened { on: end }).0, []);
    assert!(bench.link.is_down());
}

#[test]
fn a_refused_or_lost_connection_is_down_until_it_is_opened_again() {
    let mut bench = Bench::new(Versions::InterBroker, 5);
    let end = bench.open();
    assert_eq!(bench.feed(Input::Refused { on: end }).0, [down(DownCause::Refused, &[])]);
    let again = bench.open();
    assert_ne!(again, end);
    bench.feed(Input::Opened { on: again });
    bench.send(metadata());
    let (events, effects) = bench.feed(Input::Lost { on: again, why: Loss::Reset });
    assert_eq!(events, [down(DownCause::Lost, &[0])]);
    assert!(effects.is_empty(), "what is lost is not closed");
    // The answer of the old connection is late.
    let third = bench.open();
    bench.feed(Input::Opened { on: third });
    assert_eq!(bench.answer(again, Correlation(0), 9, metadata_response()), []);
    assert_eq!(bench.send(metadata()).0, Correlation(0), "a new connection counts from the start");
}

#[test]
fn closing_returns_what_was_in_flight_and_tells_nothing() {
    let (mut bench, end) = Bench::up(Versions::InterBroker, 5);
    let (correlation, _) = bench.send(metadata());
    let (unanswered, effects) = bench.act(Link::close);
    assert_eq!(unanswered, [correlation]);
    assert!(matches!(effects[..], [Effect::Close { end: closed }] if closed == end));
    let (unanswered, effects) = bench.act(Link::close);
    assert!(unanswered.is_empty() && effects.is_empty(), "a link that is down has nothing to close");
}

#[test]
fn a_produce_without_acks_is_not_awaited() {
    let (mut bench, _) = Bench::up(Versions::Negotiate, 1);
    let produce = Request::Produce(Arc::new(ProduceRequest::default().with_acks(0)));
    let ((), effects) = bench.act(|link, io| link.send_expecting_none(produce, io));
    assert_eq!((sent(&effects).api(), sent(&effects).version()), (ApiKey::Produce, 8));
    assert_eq!((bench.link.in_flight(), bench.link.next_wake()), (0, None));
    assert!(bench.link.can_send());
}

#[test]
#[should_panic(expected = "when the link is up")]
fn sending_on_a_link_that_is_not_up_is_a_bug() {
    let mut bench = Bench::new(Versions::InterBroker, 5);
    bench.open();
    bench.send(metadata());
}

#[test]
#[should_panic(expected = "is answered")]
fn only_a_produce_is_sent_without_expecting_an_answer() {
    let (mut bench, _) = Bench::up(Versions::InterBroker, 5);
    bench.act(|link, io| link.send_expecting_none(metadata(), io));
}

#[test]
fn both_wires_send_the_same() {
    let run = |wire| {
        let mut bench = Bench::carried_by(wire, Versions::InterBroker, 5);
        let end = bench.open();
        bench.feed(Input::Opened { on: end });
        let fetch = FetchRequest::default().with_session_id(7).with_topics(vec![FetchTopic::default()]);
        bench.send(Request::Fetch(Arc::new(fetch))).1
    };
    assert_eq!(run(Wire::Values), run(Wire::Bytes));
}
