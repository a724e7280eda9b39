//! Against a server that the test plays.

use std::collections::VecDeque;
use std::sync::Arc;

use jute::client::{
    ClientFrame, ClientPacket, ConnectResponse, GetDataResponse, ReplyHeader, Request, ServerFrame, WatcherEvent,
};
use jute::data::Stat;
use jute::op::{EventType, KeeperState};
use jute::{Buffer, PeerEpoch, Xid, Zxid};
use kafkawire::{BrokerId, Hosts, TopicPartition, Wire};
use machine::disk::{Metadata, PageCache};
use machine::{Address, Clock, Effect, HostId, Input, Io, Loss, Numbers, Port, RunKey, Span};
use zkclient::ZkServer;

use super::*;
use crate::cache::MetadataCache;
use crate::cx::Identity;
use crate::{Broker, BrokerConfig, BrokerImage, Costs, Defects, Message};

/// A client on a host, and the server's side of its connection.
struct Play {
    zk: KafkaZk,
    image: Arc<BrokerImage>,
    identity: Identity,
    clock: Clock,
    disk: PageCache,
    numbers: Numbers,
    end: EndId,
    /// Requests that the server has got and not answered, oldest first.
    asked: VecDeque<(Xid, Request)>,
    news: Vec<ZkNews>,
    lanes: VecDeque<Work>,
}

fn image() -> BrokerImage {
    let address = Address { host: HostId(9), port: Port(2181) };
    let mut config = BrokerConfig::new(BrokerId(1), "kafka-1", Port(9092));
    config.zookeeper_max_in_flight_requests = 3;
    BrokerImage {
        config: Arc::new(config),
        zookeeper: Arc::new(ZkClientConfig::new(vec![ZkServer { name: Arc::from("zk"), address }], 6000)),
        hosts: Hosts::default(),
        defects: Defects::default(),
        wire: Wire::Values,
        costs: Costs::default(),
    }
}

fn get(path: &str) -> ZkRequest {
    ZkRequest::GetData { path: path.to_owned() }
}

fn batch(owner: ZkOwner, paths: &[&str]) -> ZkBatch {
    ZkBatch { owner, requests: paths.iter().map(|path| get(path)).collect() }
}

fn isr() -> ZkOwner {
    ZkOwner::Isr(TopicPartition::new("t", 0))
}

impl Play {
    /// With a confirmed session.
    fn connected() -> Self {
        let image = Arc::new(image());
        let mut play = Self {
            zk: KafkaZk::new(Arc::clone(&image.zookeeper), image.config.zookeeper_max_in_flight_requests),
            image,
            identity: Identity::default(),
            clock: Clock { now: Instant::from_nanos(1_000_000_000), wall_offset_ms: 0 },
            disk: PageCache::new(Metadata::Journaled),
            numbers: Numbers::default(),
            end: EndId(0),
            asked: VecDeque::new(),
            news: Vec::new(),
            lanes: VecDeque::new(),
        };
        play.with(KafkaZk::start);
        play.confirm(1);
        assert_eq!(play.take_news(), [ZkNews::Connected]);
        play
    }

    /// Lends the client its host and takes what it wants; deferred items wait.
    fn lend<R>(&mut self, to: impl FnOnce(&mut KafkaZk, &mut Cx<'_, '_>) -> R) -> R {
        let (mut out, mut asks, mut cache) = (Vec::new(), VecDeque::new(), MetadataCache::default());
        let mut io: Io<'_, Broker> =
            Io::new(self.clock, RunKey([1, 2]), 1, &mut self.disk, &mut self.numbers, &mut out);
        let mut cx =
            Cx { io: &mut io, image: &self.image, identity: &mut self.identity, cache: &mut cache, asks: &mut asks };
        let result = to(&mut self.zk, &mut cx);
        assert!(asks.is_empty(), "the client wants nothing of its siblings");
        for effect in out {
            match effect {
                Effect::Connect { end, .. } => self.end = end,
                Effect::Send { on, message: Message::Zk(ClientPacket::ToServer(frame)) } if on == self.end => {
                    if let ClientFrame::Request { xid, request } = frame {
                        self.asked.push_back((xid, request));
                    }
                }
                Effect::Defer { work, .. } => self.lanes.push_back(work),
                Effect::Close { .. } | Effect::State(_) | Effect::Reach(_) => {}
                other @ (Effect::Send { .. }
                | Effect::Listen { .. }
                | Effect::Unlisten { .. }
                | Effect::Datagram { .. }
                | Effect::Sync { .. }
                | Effect::Spend { .. }
                | Effect::Exit { .. }) => panic!("a client wants no {other:?}"),
            }
        }
        self.zk.check_invariants();
        result
    }

    /// The same, and lets the lanes run.
    fn with(&mut self, to: impl FnOnce(&mut KafkaZk, &mut Cx<'_, '_>)) {
        self.lend(to);
        while let Some(work) = self.lanes.pop_front() {
            match work {
                Work::ZkEvents => {
                    let news = self.lend(KafkaZk::turn);
                    self.news.extend(news);
                }
                Work::Reinitialize => {
                    self.lend(|zk, cx| {
                        if zk.renew(cx) == RenewalStep::Before {
                            zk.on_expire_processed(cx);
                        }
                    });
                }
                other @ (Work::Lifecycle | Work::Controller | Work::Request { .. } | Work::Replication(_)) => {
                    panic!("the client defers no {other:?}")
                }
            }
        }
    }

    fn call(&mut self, batch: ZkBatch) {
        self.with(|zk, cx| zk.call(batch, cx));
    }

    fn say(&mut self, frame: ServerFrame) {
        let on = self.end;
        self.with(|zk, cx| zk.handle(Input::Message { on, message: ClientPacket::ToClient(frame) }, cx));
    }

    /// Opens the connection that is being dialled and confirms a session.
    fn confirm(&mut self, session: i64) {
        let on = self.end;
        self.with(|zk, cx| zk.handle(Input::Opened { on }, cx));
        self.say(ServerFrame::Connect(ConnectResponse {
            protocol_version: 0,
            timeout_ms: if session == 0 { 0 } else { 6000 },
            session: SessionId::new(session),
            password: Buffer::new(vec![1; 16]),
            read_only: Some(false),
        }));
    }

    /// Loses the connection and lets time pass until the client dials again.
    fn lose(&mut self) {
        let on = self.end;
        self.with(|zk, cx| zk.handle(Input::Lost { on, why: Loss::Reset }, cx));
        self.asked.clear();
        while self.end == on {
            self.clock.now = self.clock.now + Span::millis(10);
            self.with(|zk, cx| zk.handle(Input::Woken, cx));
        }
    }

    /// Answers the oldest request with data.
    fn answer(&mut self, data: &str) {
        let (xid, _) = self.asked.pop_front().expect("something was asked");
        let data = Buffer::new(data.as_bytes().to_vec());
        self.say(ServerFrame::Reply {
            header: ReplyHeader { xid, zxid: Some(Zxid::new(PeerEpoch::ZERO, 9)), err: ErrorCode::Ok },
            response: Some(Response::GetData(GetDataResponse { data, stat: Stat::default() })),
        });
    }

    fn changed(&mut self, event: EventType, path: &str) {
        let event = WatcherEvent { event, state: KeeperState::SyncConnected, path: path.to_owned() };
        self.say(ServerFrame::Notification { zxid: Some(Zxid::new(PeerEpoch::ZERO, 9)), event });
    }

    /// Paths of what was asked and not answered, and whether a watch was.
    fn asked(&self) -> Vec<(&str, bool)> {
        let requests = self.asked.iter().map(|(_, request)| {
            let Request::GetData(get) = request else { panic!("only reads are asked here: {request:?}") };
            (get.path.as_str(), get.watch)
        });
        requests.collect()
    }

    fn asked_paths(&self) -> Vec<&str> {
        self.asked().into_iter().map(|(path, _)| path).collect()
    }

    fn take_news(&mut self) -> Vec<ZkNews> {
        std::mem::take(&mut self.news)
    }

    /// The data of each result that came back, by owner.
    fn take_results(&mut self) -> Vec<(ZkOwner, Vec<String>)> {
        let news = self.take_news().into_iter().filter_map(|news| match news {
            ZkNews::Results { owner, results } => Some((owner, results.iter().map(shown).collect())),
            ZkNews::Watch(_) | ZkNews::Connected | ZkNews::Expired { .. } | ZkNews::Closed => None,
        });
        news.collect()
    }
}

fn shown(result: &ZkResult) -> String {
    match result {
        Ok(Some(Response::GetData(get))) => String::from_utf8(get.data.as_slice().to_vec()).expect("text"),
        Err(why) => format!("{why:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_more_requests_are_in_flight_than_allowed_and_results_come_together() {
    let mut play = Play::connected();
    play.call(batch(ZkOwner::Controller, &["/a", "/b", "/c", "/d"]));
    assert_eq!(play.asked_paths(), ["/a", "/b", "/c"]);
    play.answer("A");
    assert_eq!(play.asked_paths(), ["/b", "/c", "/d"], "an answer makes room");
    play.answer("B");
    play.answer("C");
    assert_eq!(play.take_results(), []);
    play.answer("D");
    let all = ["A", "B", "C", "D"].map(str::to_owned).to_vec();
    assert_eq!(play.take_results(), [(ZkOwner::Controller, all)]);
}

#[test]
fn calls_take_turns() {
    let mut play = Play::connected();
    play.call(batch(ZkOwner::Controller, &["/a", "/b", "/c", "/d", "/e"]));
    play.call(batch(isr(), &["/i"]));
    play.answer("A");
    play.answer("B");
    assert_eq!(play.asked_paths(), ["/c", "/d", "/i"], "the second call does not wait for the end of the first");
}

#[test]
fn requests_whose_connection_was_lost_are_asked_again_and_the_others_are_not() {
    let mut play = Play::connected();
    play.call(batch(ZkOwner::Controller, &["/a", "/b", "/c", "/d"]));
    play.answer("A");
    play.lose();
    assert_eq!(play.take_results(), [], "nobody is told of a lost connection");
    play.confirm(1);
    assert_eq!(play.asked_paths(), ["/b", "/c", "/d"]);
    for data in ["B", "C", "D"] {
        play.answer(data);
    }
    let all = ["A", "B", "C", "D"].map(str::to_owned).to_vec();
    assert_eq!(play.take_results(), [(ZkOwner::Controller, all)]);
}

#[test]
fn what_is_unanswered_when_the_session_expires_fails() {
    let mut play = Play::connected();
    play.call(batch(ZkOwner::Controller, &["/a", "/b"]));
    play.answer("A");
    play.lose();
    // The server knows the session no more.
    play.confirm(0);
    let news = play.take_news();
    let results = news.iter().position(|news| matches!(news, ZkNews::Results { .. })).expect("the call returns");
    let expired = news.iter().position(|news| matches!(news, ZkNews::Expired { .. })).expect("the session expired");
    assert!(results < expired, "who waited for a connection is told first: {news:?}");
    let ZkNews::Results { results, .. } = &news[results] else { unreachable!() };
    assert_eq!(results.iter().map(shown).collect::<Vec<_>>(), ["A", "SessionExpired"]);
}

#[test]
fn new_session_is_made_after_the_old_one_expired() {
    let mut play = Play::connected();
    assert_eq!(play.identity.session, Some(SessionId::new(1)));
    play.lose();
    play.confirm(0);
    assert_eq!(play.identity.session, Some(SessionId::new(1)), "until there is another");
    play.confirm(2);
    assert_eq!(play.identity.session, Some(SessionId::new(2)));
    play.call(batch(isr(), &["/a"]));
    play.answer("A");
    assert_eq!(play.take_results(), [(isr(), vec!["A".to_owned()])]);
}

#[test]
fn calls_between_two_sessions_fail_at_once() {
    let mut play = Play::connected();
    play.lose();
    let on = play.end;
    play.lend(|zk, cx| zk.handle(Input::Opened { on }, cx));
    let refusal = ServerFrame::Connect(ConnectResponse {
        protocol_version: 0,
        timeout_ms: 0,
        session: SessionId::ZERO,
        password: Buffer::new(vec![0; 16]),
        read_only: Some(false),
    });
    let message = ClientPacket::ToClient(refusal);
    play.lend(|zk, cx| zk.handle(Input::Message { on, message }, cx));
    // The expiry thread has not made the new session yet.
    play.call(batch(isr(), &["/a"]));
    assert_eq!(play.take_results(), [(isr(), vec!["SessionExpired".to_owned()])]);
}

#[test]
fn only_reads_of_a_path_with_a_handler_set_a_watch() {
    let mut play = Play::connected();
    play.zk.register(ZnodeHandler::Data("/a".to_owned()));
    play.zk.register(ZnodeHandler::Children("/b".to_owned()));
    play.call(batch(ZkOwner::Controller, &["/a", "/b"]));
    assert_eq!(play.asked(), [("/a", true), ("/b", false)]);
}

#[test]
fn watch_event_is_seen_before_the_reply_behind_it() {
    let mut play = Play::connected();
    play.zk.register(ZnodeHandler::Data("/a".to_owned()));
    play.call(batch(ZkOwner::Controller, &["/a"]));
    play.answer("A");
    play.call(batch(isr(), &["/i"]));
    play.take_news();
    play.changed(EventType::NodeDataChanged, "/a");
    play.answer("I");
    let news = play.take_news();
    assert!(matches!(&news[..], [ZkNews::Watch(event), ZkNews::Results { .. }] if &*event.path == "/a"), "{news:?}");
}

#[test]
fn event_without_a_handler_finds_nobody() {
    let mut play = Play::connected();
    let handler = ZnodeHandler::Data("/a".to_owned());
    play.zk.register(handler.clone());
    play.call(batch(ZkOwner::Controller, &["/a"]));
    play.answer("A");
    play.take_news();
    play.zk.unregister(&handler);
    play.changed(EventType::NodeDeleted, "/a");
    assert_eq!(play.take_news(), []);
}

#[test]
fn closed_session_is_told_once_it_is_answered() {
    let mut play = Play::connected();
    play.with(KafkaZk::close);
    assert_eq!(play.take_news(), []);
    let (xid, request) = play.asked.pop_front().expect("closeSession was sent");
    assert_eq!(request, Request::CloseSession);
    let header = ReplyHeader { xid, zxid: Some(Zxid::new(PeerEpoch::ZERO, 9)), err: ErrorCode::Ok };
    play.say(ServerFrame::Reply { header, response: None });
    assert_eq!(play.take_news(), [ZkNews::Closed]);
}
