//! One server without a peer: the tests of the pipeline in its three roles.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for what it knows, and at nothing else")]

mod defects;

use std::collections::VecDeque;
use std::sync::Arc;

use jute::client::{
    ClientFrame, ClientPacket, ConnectRequest, CreateRequest, DeleteRequest, GetDataRequest, MultiOp, MultiRequest,
    Request as ClientRequest, ServerFrame, SetDataRequest, SetWatchesRequest, SyncRequest,
};
use jute::data::Acl;
use jute::op::{CreateMode, ErrorCode, EventType, OpCode};
use jute::password::session_password;
use jute::txn::{Txn, TxnEntry};
use jute::{Buffer, PeerEpoch, SessionId, Version, Xid, Zxid};
use machine::disk::{DiskError, Metadata, PageCache};
use machine::{Clock, Effect, EndId, HostId, Instant, Io, Numbers, RunKey, Span, Ticket};

use super::{Committing, Proposal, Server, ServerEvent, ServerFault, ServerWork, Serving, Stores};
use crate::config::ServerConfig;
use crate::store::{TxnLog, snapshot_files};
use crate::{Coordinator, Database, Defect, Fact, Message, Work};

const CLIENT: EndId = EndId(1000);
const OTHER: EndId = EndId(1001);
const LEARNER: EndId = EndId(2000);
const EPOCH: Zxid = Zxid::new(PeerEpoch::new(1), 0);

struct Bench {
    server: Server,
    db: Database,
    log: TxnLog,
    disk: PageCache,
    numbers: Numbers,
    now: Instant,
    turns: VecDeque<ServerWork>,
    syncs: Vec<Ticket>,
    sent: Vec<(EndId, ServerFrame)>,
    closed: Vec<EndId>,
    facts: Vec<Fact>,
}

impl Bench {
    fn new(serving: Serving) -> Self {
        Self::with(serving, |_| {})
    }

    fn with(serving: Serving, configure: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::standalone();
        configure(&mut config);
        let mut disk = PageCache::new(Metadata::Journaled);
        let mut numbers = Numbers::default();
        let mut out: Vec<Effect<Coordinator>> = Vec::new();
        let now = Instant::from_nanos(1_000_000_000);
        let clock = Clock { now, wall_offset_ms: 0 };
        let mut db = Database::new(config.commit_log_count);
        let mut log = TxnLog::new(&config);
        let mut io = Io::new(clock, RunKey([1, 2]), 1, &mut disk, &mut numbers, &mut out);
        let mut server = Server::new(Arc::new(config), &mut io);
        server.open(serving, &Stores { db: &mut db, log: &mut log }, &mut io);
        Self {
            server,
            db,
            log,
            disk,
            numbers,
            now,
            turns: VecDeque::new(),
            syncs: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            facts: Vec::new(),
        }
    }

    fn step<R>(&mut self, step: impl FnOnce(&mut Server, &mut Stores<'_>, &mut Io<'_, Coordinator>) -> R) -> R {
        let mut out: Vec<Effect<Coordinator>> = Vec::new();
        let clock = Clock { now: self.now, wall_offset_ms: 0 };
        let mut io = Io::new(clock, RunKey([1, 2]), 1, &mut self.disk, &mut self.numbers, &mut out);
        let result = step(&mut self.server, &mut Stores { db: &mut self.db, log: &mut self.log }, &mut io);
        for effect in out {
            match effect {
                Effect::Defer { work: Work::Server(work), .. } => self.turns.push_back(work),
                Effect::Sync { ticket, .. } => self.syncs.push(ticket),
                Effect::Send { on, message: Message::Client(ClientPacket::ToClient(frame)) } => {
                    self.sent.push((on, frame));
                }
                Effect::Close { end } => self.closed.push(end),
                Effect::State(fact) => self.facts.push(fact),
                Effect::Reach(_) | Effect::Spend { .. } => {}
                other => panic!("a server does not do this: {other:?}"),
            }
        }
        self.server.check_invariants();
        result
    }

    /// One item of any lane, the oldest first.
    fn turn(&mut self) -> bool {
        let Some(work) = self.turns.pop_front() else { return false };
        self.step(|server, stores, io| server.on_turn(work, stores, io));
        true
    }

    fn turns(&mut self) {
        while self.turn() {}
    }

    fn finish_syncs(&mut self, result: Result<(), DiskError>) -> bool {
        let syncs = std::mem::take(&mut self.syncs);
        for &ticket in &syncs {
            self.disk.harden(ticket);
            if self.server.owns_ticket(ticket) {
                self.step(|server, _, io| server.on_durable(ticket, result, io));
            }
        }
        !syncs.is_empty()
    }

    fn settle(&mut self) {
        loop {
            self.turns();
            if !self.finish_syncs(Ok(())) {
                return;
            }
        }
    }

    fn advance(&mut self, span: Span) {
        let until = self.now + span;
        while let Some(wake) = self.server.next_wake().filter(|&wake| wake <= until) {
            self.now = self.now.max(wake);
            self.step(|server, stores, io| server.on_woken(stores.db, io));
            assert!(self.server.next_wake().is_none_or(|next| next > self.now), "nothing is due after a wake");
            self.settle();
        }
        self.now = until;
    }

    fn events(&mut self) -> Vec<ServerEvent> {
        std::iter::from_fn(|| self.server.poll_event()).collect()
    }

    fn frame(&mut self, end: EndId, frame: ClientFrame) {
        self.step(|server, stores, io| server.on_frame(end, frame, stores, io));
    }

    fn request(&mut self, end: EndId, xid: i32, request: ClientRequest) {
        self.frame(end, ClientFrame::Request { xid: Xid::new(xid), request });
    }

    fn accept(&mut self, end: EndId) {
        self.step(|server, _, io| server.on_accepted(end, HostId(7), io));
    }

    fn connect(&mut self, end: EndId, session: SessionId) {
        self.accept(end);
        let password = if session.is_zero() { vec![0; 16] } else { session_password(session).to_vec() };
        self.frame(
            end,
            ClientFrame::Connect(ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid::ZERO,
                timeout_ms: 6_000,
                session,
                password: Buffer::new(password),
                read_only: Some(false),
            }),
        );
    }

    /// A session on a server that makes it alone.
    fn session(&mut self, end: EndId) -> SessionId {
        self.connect(end, SessionId::ZERO);
        self.settle();
        if matches!(self.server.serving(), Some(Serving::Leader { .. })) {
            self.commit_all();
        }
        match self.sent.pop() {
            Some((_, ServerFrame::Connect(response))) => response.session,
            other => panic!("a session, not {other:?}"),
        }
    }

    /// Leader: every proposal has its quorum.
    fn commit_all(&mut self) -> Vec<ServerEvent> {
        let events = self.events();
        for event in &events {
            if let ServerEvent::Propose(proposal) = event {
                let zxid = proposal.zxid();
                assert_eq!(self.step(|server, _, io| server.commit(zxid, io)), Committing::Taken);
            }
        }
        self.settle();
        events
    }

    /// xid, zxid and error of the replies, with their connection.
    fn replies(&mut self) -> Vec<(EndId, i32, u32, ErrorCode)> {
        std::mem::take(&mut self.sent)
            .into_iter()
            .filter_map(|(end, frame)| match frame {
                ServerFrame::Reply { header, .. } => {
                    Some((end, header.xid.value(), header.zxid.map_or(0, Zxid::counter), header.err))
                }
                ServerFrame::Connect(_) | ServerFrame::Notification { .. } => None,
            })
            .collect()
    }
}

fn create(path: &str, mode: CreateMode) -> ClientRequest {
    ClientRequest::Create(CreateRequest {
        path: path.to_owned(),
        data: Buffer::NULL,
        acl: Some(Acl::open()),
        flags: mode.code(),
    })
}

fn persistent(path: &str) -> ClientRequest {
    create(path, CreateMode::Persistent)
}

fn delete(path: &str) -> ClientRequest {
    ClientRequest::Delete(DeleteRequest { path: path.to_owned(), version: Version::ANY })
}

fn get(path: &str) -> ClientRequest {
    ClientRequest::GetData(GetDataRequest { path: path.to_owned(), watch: false })
}

fn watch(path: &str) -> ClientRequest {
    ClientRequest::GetData(GetDataRequest { path: path.to_owned(), watch: true })
}

fn set(path: &str) -> ClientRequest {
    ClientRequest::SetData(SetDataRequest {
        path: path.to_owned(),
        data: Buffer::new(&b"x"[..]),
        version: Version::ANY,
    })
}

fn sync() -> ClientRequest {
    ClientRequest::Sync(SyncRequest { path: Some("/".to_owned()) })
}

fn proposals(events: &[ServerEvent]) -> Vec<Arc<Proposal>> {
    events
        .iter()
        .filter_map(|event| match event {
            ServerEvent::Propose(proposal) => Some(Arc::clone(proposal)),
            _ => None,
        })
        .collect()
}

const LEADER: Serving = Serving::Leader { zxid: EPOCH };

#[test]
fn writes_that_queue_during_a_sync_share_the_next_one() {
    let mut bench = Bench::new(Serving::Standalone);
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.turns();
    assert_eq!(bench.syncs.len(), 1, "the first write is alone in its group");
    for xid in 2..=5 {
        bench.request(CLIENT, xid, persistent(&format!("/n{xid}")));
    }
    bench.turns();
    assert_eq!(bench.syncs.len(), 1, "the thread is blocked in its sync");
    assert!(bench.replies().is_empty(), "nothing is answered before it is durable");
    bench.finish_syncs(Ok(()));
    bench.turns();
    assert_eq!(bench.replies(), [(CLIENT, 1, 2, ErrorCode::Ok)]);
    assert_eq!(bench.syncs.len(), 1, "four writes, one sync");
    bench.settle();
    let answered: Vec<_> = bench.replies().iter().map(|&(_, xid, zxid, _)| (xid, zxid)).collect();
    assert_eq!(answered, [(2, 3), (3, 4), (4, 5), (5, 6)]);
}

#[test]
fn standalone_read_waits_behind_unsynced_writes_and_for_nothing_else() {
    let mut bench = Bench::new(Serving::Standalone);
    bench.session(CLIENT);
    bench.session(OTHER);
    bench.request(OTHER, 1, get("/"));
    bench.turns();
    assert_eq!(bench.replies(), [(OTHER, 1, 2, ErrorCode::Ok)], "nothing was to be flushed");
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(OTHER, 2, get("/a"));
    bench.turns();
    assert!(bench.replies().is_empty());
    bench.settle();
    assert_eq!(bench.replies(), [(CLIENT, 1, 3, ErrorCode::Ok), (OTHER, 2, 3, ErrorCode::Ok)]);
}

#[test]
fn failed_write_takes_a_zxid_and_is_logged() {
    let mut bench = Bench::new(Serving::Standalone);
    bench.session(CLIENT);
    bench.request(CLIENT, 1, delete("/none"));
    bench.settle();
    assert_eq!(bench.replies(), [(CLIENT, 1, 2, ErrorCode::NoNode)]);
    let (zxid, entry) = bench.db.committed_log().iter().last().expect("it is in the committed log");
    assert_eq!(zxid.counter(), 2);
    let entry = TxnEntry::decode(entry).unwrap();
    assert!(matches!(entry.txn, Txn::Error(error) if error.err == ErrorCode::NoNode));
    assert_eq!(entry.digest, None);
}

#[test]
fn preparation_sees_what_is_not_applied_yet() {
    let mut bench = Bench::new(LEADER);
    bench.session(CLIENT);
    // Nothing of this is committed while it is prepared.
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(CLIENT, 2, create("/a/s", CreateMode::PersistentSequential));
    bench.request(CLIENT, 3, create("/a/s", CreateMode::PersistentSequential));
    bench.request(CLIENT, 4, delete("/a"));
    bench.request(CLIENT, 5, set("/a"));
    bench.turns();
    let events = bench.commit_all();
    assert_eq!(proposals(&events).len(), 5);
    let errors: Vec<_> = bench.replies().iter().map(|&(_, xid, _, err)| (xid, err)).collect();
    let ok = ErrorCode::Ok;
    assert_eq!(errors, [(1, ok), (2, ok), (3, ok), (4, ErrorCode::NotEmpty), (5, ok)]);
    let children: Vec<_> = bench.db.tree().node("/a").unwrap().children().collect();
    assert_eq!(children, ["s0000000000", "s0000000001"]);
    assert_eq!(bench.db.digest_mismatches(), (0, None), "the predicted digests are right");
    assert_eq!(bench.server.prep.changes.len(), 0, "what is applied is no longer outstanding");
}

#[test]
fn failed_multi_leaves_no_outstanding_change() {
    let mut bench = Bench::new(LEADER);
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    let open = |path: &str| CreateRequest {
        path: path.to_owned(),
        data: Buffer::NULL,
        acl: Some(Acl::open()),
        flags: CreateMode::PersistentSequential.code(),
    };
    let multi = MultiRequest {
        ops: vec![
            MultiOp::Create(open("/a/s")),
            MultiOp::Delete(DeleteRequest { path: "/none".to_owned(), version: Version::ANY }),
            MultiOp::Create(open("/a/s")),
        ],
    };
    bench.request(CLIENT, 2, ClientRequest::Multi(multi));
    // Prepared on what the multi left behind: the first number again, and a parent without children.
    bench.request(CLIENT, 3, create("/a/s", CreateMode::PersistentSequential));
    bench.turns();
    bench.commit_all();
    let children: Vec<_> = bench.db.tree().node("/a").unwrap().children().collect();
    assert_eq!(children, ["s0000000000"]);
    assert_eq!(bench.db.digest_mismatches(), (0, None));
}

#[test]
fn leader_applies_only_what_is_committed_and_reads_overtake() {
    let mut bench = Bench::new(LEADER);
    bench.session(CLIENT);
    bench.session(OTHER);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(CLIENT, 2, get("/a"));
    bench.request(OTHER, 1, get("/a"));
    bench.settle();
    assert_eq!(bench.replies(), [(OTHER, 1, 2, ErrorCode::NoNode)], "a read overtakes another session's write");
    let events = bench.commit_all();
    let zxid = EPOCH.next().next().next();
    assert!(events.iter().any(|event| matches!(event, ServerEvent::Logged(zxids) if *zxids == [zxid])));
    assert_eq!(bench.replies(), [(CLIENT, 1, 3, ErrorCode::Ok), (CLIENT, 2, 3, ErrorCode::Ok)]);
    assert!(
        bench.events().iter().any(|event| matches!(event, ServerEvent::Applied { zxid: applied } if *applied == zxid))
    );
}

#[test]
fn commit_out_of_order_is_refused() {
    let mut bench = Bench::new(LEADER);
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(CLIENT, 2, persistent("/b"));
    bench.settle();
    let zxids: Vec<_> = proposals(&bench.events()).iter().map(|proposal| proposal.zxid()).collect();
    let (first, second) = (zxids[0], zxids[1]);
    let mut commit = |zxid| bench.step(|server, _, io| server.commit(zxid, io));
    assert_eq!(commit(second), Committing::Mismatch { head: first });
    assert_eq!(commit(first), Committing::Taken);
    assert_eq!(commit(second), Committing::Taken);
    assert_eq!(commit(second), Committing::NonePending);
}

#[test]
fn follower_forwards_writes_and_answers_with_their_commit() {
    let mut bench = Bench::new(Serving::Follower);
    bench.connect(CLIENT, SessionId::ZERO);
    bench.settle();
    let events = bench.events();
    let [ServerEvent::Forward { session, cxid: Xid::ZERO, op: OpCode::CreateSession, body, .. }] = &events[..] else {
        panic!("a createSession, not {events:?}")
    };
    assert_eq!(body.as_ref(), 6_000_i32.to_be_bytes());
    // The leader proposes it, this server logs it, then the leader commits.
    let mut leader = Bench::new(LEADER);
    let submit = |leader: &mut Bench, session, cxid, op, body: &bytes::Bytes| {
        assert!(leader.step(|server, _, io| server.submit_from_learner(
            LEARNER,
            session,
            cxid,
            op,
            (body, Vec::new()),
            io
        )));
        leader.settle();
        proposals(&leader.commit_all()).remove(0)
    };
    let proposal = submit(&mut leader, *session, Xid::ZERO, OpCode::CreateSession, body);
    let deliver = |bench: &mut Bench, proposal: Arc<Proposal>| {
        let zxid = proposal.zxid();
        bench.step(|server, _, io| server.log_proposal(proposal, io));
        bench.settle();
        let events = bench.events();
        assert!(matches!(&events[..], [ServerEvent::Logged(zxids)] if *zxids == [zxid]), "{events:?}");
        assert_eq!(bench.step(|server, _, io| server.commit(zxid, io)), Committing::Taken);
        bench.settle();
    };
    deliver(&mut bench, proposal);
    assert!(matches!(&bench.sent[..], [(CLIENT, ServerFrame::Connect(response))] if response.session == *session));
    bench.events();

    bench.request(CLIENT, 1, create("/e", CreateMode::Ephemeral));
    bench.request(CLIENT, 2, get("/e"));
    bench.settle();
    assert!(bench.replies().is_empty(), "a read behind a write waits for it");
    let events = bench.events();
    let [ServerEvent::Forward { session, cxid, op: OpCode::Create, body, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    let proposal = submit(&mut leader, *session, *cxid, OpCode::Create, body);
    deliver(&mut bench, proposal);
    assert_eq!(bench.replies(), [(CLIENT, 1, 2, ErrorCode::Ok), (CLIENT, 2, 2, ErrorCode::Ok)]);
    assert_eq!(bench.step(|server, _, _| server.take_touches()), [(*session, 6_000)]);
    assert_eq!(bench.step(|server, _, _| server.take_touches()), []);
}

#[test]
fn follower_answers_a_sync_when_the_leader_does() {
    let mut bench = Bench::new(Serving::Follower);
    bench.connect(CLIENT, SessionId::new(0x0100_0000_0000_0000));
    let events = bench.events();
    assert!(matches!(&events[..], [ServerEvent::Revalidate { timeout_ms: 6_000, .. }]), "{events:?}");
    bench.step(|server, stores, io| server.revalidated(SessionId::new(0x0100_0000_0000_0000), true, stores, io));
    bench.request(CLIENT, 1, sync());
    bench.request(CLIENT, 2, get("/"));
    bench.settle();
    assert!(matches!(&bench.events()[..], [ServerEvent::Forward { op: OpCode::Sync, .. }]));
    assert!(bench.replies().is_empty());
    bench.step(|server, _, io| server.sync_done(io));
    bench.settle();
    assert_eq!(bench.replies(), [(CLIENT, 1, 0, ErrorCode::Ok), (CLIENT, 2, 0, ErrorCode::Ok)]);
}

#[test]
fn leader_sends_a_learners_sync_behind_what_was_prepared() {
    let mut bench = Bench::new(LEADER);
    let session = bench.session(CLIENT);
    bench.events();
    bench.request(CLIENT, 1, persistent("/a"));
    let body = sync().encode();
    bench.step(|server, _, io| {
        server.submit_from_learner(LEARNER, session, Xid::new(9), OpCode::Sync, (&body, Vec::new()), io)
    });
    bench.settle();
    let events = bench.events();
    assert!(matches!(&events[..2], [ServerEvent::Propose(_), ServerEvent::LeaderSync { learner: LEARNER, .. }]));
    assert!(!bench.step(|server, _, io| server.submit_from_learner(
        LEARNER,
        session,
        Xid::new(9),
        OpCode::Ping,
        (&body, Vec::new()),
        io
    )));
}

#[test]
fn moved_session_is_cut_off_at_its_first_write() {
    let mut bench = Bench::new(LEADER);
    let session = bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.settle();
    bench.commit_all();
    bench.replies();
    assert!(bench.step(|server, _, io| server.revalidate(LEARNER, session, 6_000, io)));
    assert!(bench.facts.iter().any(|fact| matches!(fact, Fact::SessionMoved { .. })));
    bench.request(CLIENT, 2, set("/a"));
    bench.settle();
    let events = bench.commit_all();
    let error = &proposals(&events)[0].entry.txn;
    assert!(matches!(error, Txn::Error(error) if error.err == ErrorCode::SessionMoved));
    assert!(bench.replies().is_empty(), "no answer, or the client would take it for its new connection's");
    assert_eq!(bench.closed, [CLIENT]);
    assert!(!bench.step(|server, _, io| server.revalidate(LEARNER, SessionId::new(5), 6_000, io)));
}

#[test]
fn session_expires_with_its_ephemerals_and_its_connection() {
    let mut bench = Bench::new(Serving::Standalone);
    let session = bench.session(CLIENT);
    bench.session(OTHER);
    bench.request(CLIENT, 1, create("/e", CreateMode::Ephemeral));
    bench.settle();
    bench.request(OTHER, 1, watch("/e"));
    bench.settle();
    bench.replies();
    for xid in 0..3 {
        bench.advance(Span::secs(2));
        bench.request(OTHER, 2 + xid, get("/"));
        bench.settle();
        assert!(bench.db.tree().node("/e").is_some(), "6 s of timeout, and a tick of 2 s");
    }
    bench.advance(Span::secs(2));
    assert!(bench.db.tree().node("/e").is_none());
    assert!(!bench.db.sessions().contains_key(&session));
    assert_eq!(bench.closed, [CLIENT]);
    let told = bench.sent.iter().any(|(end, frame)| *end == OTHER && matches!(frame, ServerFrame::Notification { .. }));
    assert!(told, "the watcher is told");
    assert!(bench.facts.iter().any(|fact| matches!(fact, Fact::SessionExpired { timeout_ms: 6_000, .. })));
}

#[test]
fn watch_event_comes_before_the_reply_that_shows_its_change() {
    let mut bench = Bench::new(Serving::Standalone);
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(CLIENT, 2, watch("/a"));
    bench.request(CLIENT, 3, set("/a"));
    bench.settle();
    let kinds: Vec<_> = bench
        .sent
        .iter()
        .map(|(_, frame)| match frame {
            ServerFrame::Notification { .. } => 0,
            ServerFrame::Reply { header, .. } => header.xid.value(),
            ServerFrame::Connect(_) => panic!("no second session"),
        })
        .collect();
    assert_eq!(kinds, [1, 2, 0, 3]);
}

#[test]
fn watch_set_again_fires_only_for_what_came_after_the_zxid_the_client_saw() {
    let mut bench = Bench::new(Serving::Standalone);
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(CLIENT, 2, persistent("/a/b"));
    bench.settle();
    let (mzxid, pzxid) = (Zxid::new(PeerEpoch::ZERO, 2), Zxid::new(PeerEpoch::ZERO, 3));
    assert_eq!(bench.db.tree().client_stat("/a").map(|stat| (stat.mzxid, stat.pzxid)), Some((mzxid, pzxid)));
    let mut told = |seen: Zxid| {
        bench.sent.clear();
        let lists = || vec!["/a".to_owned()];
        let set = SetWatchesRequest {
            relative_zxid: seen,
            data_watches: lists(),
            exist_watches: Vec::new(),
            child_watches: lists(),
        };
        bench.request(CLIENT, Xid::SET_WATCHES.value(), ClientRequest::SetWatches(set));
        bench.settle();
        let events = bench.sent.iter().filter_map(|(_, frame)| match frame {
            ServerFrame::Notification { zxid: None, event } => Some(event.event),
            _ => None,
        });
        events.collect::<Vec<_>>()
    };
    let (data, children) = (EventType::NodeDataChanged, EventType::NodeChildrenChanged);
    assert_eq!(told(Zxid::new(PeerEpoch::ZERO, 1)), [data, children]);
    assert_eq!(told(mzxid), [children]);
    assert_eq!(told(pzxid), []);
}

/// Found by a swarm: `session-expiry` with ZOOKEEPER-1208, seed 18. The request waits behind a write while its connection goes.
#[test]
fn watches_of_a_connection_that_is_gone_are_neither_told_nor_set() {
    let mut bench = Bench::new(LEADER);
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(CLIENT, 2, persistent("/b"));
    let set = SetWatchesRequest {
        relative_zxid: Zxid::ZERO,
        data_watches: vec!["/a".to_owned(), "/missing".to_owned()],
        exist_watches: vec!["/later".to_owned()],
        child_watches: Vec::new(),
    };
    bench.request(CLIENT, Xid::SET_WATCHES.value(), ClientRequest::SetWatches(set));
    bench.settle();
    bench.step(|server, _, _| server.on_lost(CLIENT));
    bench.sent.clear();
    bench.commit_all();
    assert!(bench.sent.is_empty(), "{:?}", bench.sent);
    bench.step(|server, _, _| assert_eq!(server.watches.len(), 0));
}

/// A close is prepared; behind it comes a create of an ephemeral of the same session.
fn create_behind_close(defects: impl FnOnce(&mut ServerConfig)) -> (Bench, SessionId) {
    let mut bench = Bench::with(LEADER, defects);
    let session = bench.session(CLIENT);
    bench.step(|server, _, io| {
        server.submit_from_learner(
            LEARNER,
            session,
            Xid::new(3),
            OpCode::CloseSession,
            (&bytes::Bytes::new(), Vec::new()),
            io,
        )
    });
    bench.request(CLIENT, 1, create("/late", CreateMode::Ephemeral));
    bench.turns();
    bench.commit_all();
    (bench, session)
}

#[test]
fn closing_session_creates_nothing() {
    let (bench, _) = create_behind_close(|_| {});
    assert!(bench.db.tree().node("/late").is_none());
}

#[test]
fn defect_1208_leaves_an_ephemeral_without_a_session() {
    let (bench, session) = create_behind_close(|config| config.defects.insert(Defect::NoClosingFlag));
    assert!(bench.db.tree().node("/late").is_some());
    assert!(!bench.db.sessions().contains_key(&session));
}

#[test]
fn wrong_password_cuts_off_the_live_connection_too() {
    let mut bench = Bench::new(Serving::Standalone);
    let session = bench.session(CLIENT);
    bench.accept(OTHER);
    bench.frame(
        OTHER,
        ClientFrame::Connect(ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 6_000,
            session,
            password: Buffer::new(vec![1; 16]),
            read_only: None,
        }),
    );
    assert_eq!(bench.closed, [CLIENT, OTHER]);
    assert!(matches!(&bench.sent[..], [(OTHER, ServerFrame::Connect(response))] if response.is_refusal()));
}

#[test]
fn client_that_has_seen_more_is_cut_off_without_an_answer() {
    let mut bench = Bench::new(Serving::Standalone);
    bench.accept(CLIENT);
    bench.frame(
        CLIENT,
        ClientFrame::Connect(ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: EPOCH,
            timeout_ms: 6_000,
            session: SessionId::ZERO,
            password: Buffer::new(vec![0; 16]),
            read_only: Some(true),
        }),
    );
    assert_eq!((bench.closed, bench.sent.len()), (vec![CLIENT], 0));
}

#[test]
fn connections_of_one_host_are_limited() {
    let mut bench = Bench::with(Serving::Standalone, |config| config.max_client_cnxns = 1);
    bench.accept(CLIENT);
    bench.accept(OTHER);
    assert_eq!(bench.closed, [OTHER]);
}

#[test]
fn silent_connection_without_a_session_is_given_up() {
    let mut bench = Bench::new(Serving::Standalone);
    bench.accept(CLIENT);
    bench.advance(Span::secs(10));
    assert!(bench.closed.is_empty());
    bench.advance(Span::secs(10));
    assert_eq!(bench.closed, [CLIENT]);
}

#[test]
fn overloaded_server_reads_no_connection_that_waits_for_answers() {
    let mut bench = Bench::with(Serving::Standalone, |config| config.global_outstanding_limit = 2);
    bench.session(CLIENT);
    for xid in 1..=6 {
        bench.request(CLIENT, xid, persistent(&format!("/n{xid}")));
    }
    assert!(bench.server.in_process < 6, "{} requests were taken", bench.server.in_process);
    bench.settle();
    let xids: Vec<_> = bench.replies().iter().map(|&(_, xid, _, _)| xid).collect();
    assert_eq!(xids, [1, 2, 3, 4, 5, 6], "what was left in the socket is read later, in order");
}

#[test]
fn snapshot_is_written_while_writes_go_on() {
    let mut bench = Bench::with(Serving::Standalone, |config| {
        config.snap_count = 4;
        config.snapshot_chunk_nodes = 1;
    });
    bench.session(CLIENT);
    for xid in 1..=12 {
        bench.request(CLIENT, xid, persistent(&format!("/n{xid}")));
        for _ in 0..4 {
            bench.turn();
        }
        bench.finish_syncs(Ok(()));
    }
    bench.settle();
    assert_eq!(bench.replies().len(), 12);
    assert!(!snapshot_files(&bench.disk, "data/version-2").is_empty());
    assert!(crate::store::log_files(&bench.disk, "data/version-2").len() > 1, "a snapshot rolls the log");
    let fuzzy = bench.facts.iter().any(|fact| matches!(fact, Fact::SnapshotWritten { fuzzy: true, .. }));
    assert!(fuzzy, "txns went on meanwhile");
}

#[test]
fn close_logs_what_is_queued_and_drops_what_is_not_prepared() {
    let mut bench = Bench::new(LEADER);
    bench.session(CLIENT);
    bench.events();
    bench.request(CLIENT, 1, persistent("/a"));
    assert!(bench.turn(), "prepared, and queued for the log");
    bench.request(CLIENT, 2, persistent("/b"));
    bench.step(|server, stores, io| server.close(stores, io));
    assert_eq!(bench.closed, [CLIENT]);
    assert!(!bench.server.is_closed());
    bench.turns();
    let before = bench.events();
    assert!(!before.iter().any(|event| matches!(event, ServerEvent::Closed)), "its sync is under way");
    bench.finish_syncs(Ok(()));
    let after = bench.events();
    assert!(matches!(&after[..], [ServerEvent::Logged(zxids), ServerEvent::Closed] if zxids.len() == 1), "{after:?}");
    assert!(bench.server.is_closed());
    // A new term: nothing of the old one is left.
    bench.step(|server, stores, io| server.open(Serving::Follower, stores, io));
    bench.settle();
    assert!(bench.events().is_empty());
}

#[test]
fn failed_sync_is_fatal_and_nothing_is_acknowledged() {
    let mut bench = Bench::new(LEADER);
    bench.connect(CLIENT, SessionId::ZERO);
    bench.turns();
    bench.finish_syncs(Err(DiskError::Io));
    bench.turns();
    let events = bench.events();
    let died = |event: &ServerEvent| matches!(event, ServerEvent::Fatal(ServerFault::Log(DiskError::Io)));
    assert!(events.iter().any(died));
    assert!(!events.iter().any(|event| matches!(event, ServerEvent::Logged(_))));
    bench.step(|server, stores, io| server.close(stores, io));
    assert!(bench.server.is_closed());
}

#[test]
fn leader_at_the_end_of_its_zxids_proposes_nothing_more() {
    let last = Zxid::new(PeerEpoch::new(1), u32::MAX - 2);
    let mut bench = Bench::new(Serving::Leader { zxid: last });
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(CLIENT, 2, persistent("/b"));
    bench.settle();
    let events = bench.events();
    let ours: Vec<_> = events.iter().filter(|event| !matches!(event, ServerEvent::Applied { .. })).collect();
    assert!(matches!(ours[..], [ServerEvent::XidRollover]), "{ours:?}");
}

#[test]
fn server_that_does_not_serve_cuts_off_who_speaks() {
    let mut bench = Bench::new(Serving::Follower);
    bench.step(|server, stores, io| server.close(stores, io));
    bench.events();
    bench.connect(CLIENT, SessionId::ZERO);
    assert_eq!((bench.closed, bench.sent.len()), (vec![CLIENT], 0));
}

#[test]
fn session_ids_are_those_of_the_server_and_its_clock() {
    let mut bench = Bench::new(Serving::Standalone);
    let first = bench.session(CLIENT);
    assert_eq!(first.value().cast_unsigned() >> 56, 1, "a standalone server calls itself 1");
    assert_eq!(first.value() & 0xffff, 0);
    assert_eq!(bench.session(OTHER), first.next());
}
