//! C17, C19, C20, C22, C25 (effects).

use jute::client::{DeleteRequest, MultiOp, MultiRequest, SetDataRequest};
use jute::quorum::{QuorumPacket, SessionTouch};
use jute::txn::{CheckVersionTxn, CloseSessionTxn, DeleteTxn, ErrorTxn};

use super::*;

fn close(zxid: Zxid, session: SessionId, paths: &[&str]) -> Bytes {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    entry_of(zxid, session, 0, Txn::CloseSession(Some(CloseSessionTxn { paths })))
}

#[test]
fn c17_fires_when_a_session_is_expired_before_its_time() {
    let run = |ms: u64| {
        let mut stage = Stage::led();
        let touches = vec![SessionTouch { session: SESSION, timeout_ms: 4_000 }];
        stage.pass(1, 0, &QuorumPacket::PingReply { zxid: zxid(1, 2), touches });
        stage.wait_ms(ms);
        let moment = stage.moment(0);
        stage.oracle.session_expired(moment, 0, SESSION, 4_000);
        stage.settle();
        stage.fired()
    };
    assert_eq!(run(3_990), ["C17"]);
    assert_eq!(run(4_000), Vec::<&str>::new());
}

#[test]
fn c17_counts_from_the_beginning_of_a_leader_and_from_its_own_clients() {
    let mut stage = Stage::led();
    stage.wait_ms(4_000);
    stage.lead(1, 2);
    let moment = stage.moment(1);
    stage.oracle.session_expired(moment, 1, SESSION, 4_000);
    stage.settle();
    assert_eq!(stage.fired(), ["C17"]);

    let mut stage = Stage::led();
    stage.connect(0, END, SESSION);
    stage.wait_ms(4_000);
    stage.ask(0, END, -2, Request::Ping);
    let moment = stage.moment(0);
    stage.oracle.session_expired(moment, 0, SESSION, 4_000);
    stage.settle();
    assert_eq!(stage.fired(), ["C17"]);
    assert!(stage.kinds().contains(&"live-session-expired"));
}

/// Found by the swarm (swarm-cluster, seed 7149): the commit thread stands still, and the session stays in the table.
#[test]
fn c17_knows_that_a_session_that_is_closing_is_not_touched() {
    for step in 0..3 {
        let mut stage = Stage::led();
        let entry = close(zxid(1, 3), SESSION, &[]);
        stage.wait_ms(3_990);
        if step > 0 {
            stage.log_and_sync(0, &entry);
            stage.propose(0, 1, &entry);
            stage.log_and_sync(1, &entry);
        }
        if step > 1 {
            stage.say_committed(0, zxid(1, 3));
        }
        let touches = vec![SessionTouch { session: SESSION, timeout_ms: 4_000 }];
        stage.pass(1, 0, &QuorumPacket::PingReply { zxid: zxid(1, 2), touches });
        stage.wait_ms(10);
        let moment = stage.moment(0);
        stage.oracle.session_expired(moment, 0, SESSION, 4_000);
        stage.settle();
        assert_eq!(stage.fired(), if step == 0 { vec!["C17"] } else { vec![] }, "step {step}");
    }
}

#[test]
fn c19_and_c20_fire_when_a_closed_session_creates_an_ephemeral() {
    // ZOOKEEPER-1208: the create was prepared between the two steps of the close.
    let mut stage = Stage::led();
    stage.commit(&create(zxid(1, 3), SESSION, 0, "/e", true));
    stage.commit(&close(zxid(1, 4), SESSION, &["/e"]));
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage.commit(&create(zxid(1, 5), SESSION, 5, "/e2", true));
    assert_eq!(stage.fired(), ["C19", "C20"]);
}

#[test]
fn c19_is_silent_for_what_is_refused() {
    let mut stage = Stage::led();
    stage.commit(&close(zxid(1, 3), SESSION, &[]));
    let refused = entry_of(zxid(1, 4), SESSION, 5, Txn::Error(ErrorTxn { err: ErrorCode::SessionExpired }));
    stage.commit(&refused);
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage.commit(&set_data(zxid(1, 5), SESSION, 6, "/a", 1));
    assert_eq!(stage.fired(), ["C19"]);
}

/// Found by the swarm (swarm-ensemble, seed 390): a slow leader prepares createSession behind the session's expiry, and so tracks it again.
#[test]
fn c19_is_silent_for_a_second_end_that_takes_nothing_with_it() {
    let mut stage = Stage::led();
    stage.commit(&close(zxid(1, 3), SESSION, &[]));
    stage.commit(&close(zxid(1, 4), SESSION, &[]));
    assert_eq!(stage.fired(), Vec::<&str>::new());
    stage.commit(&close(zxid(1, 5), SESSION, &["/e"]));
    assert_eq!(stage.fired(), ["C19"]);
}

#[test]
fn c20_fires_when_a_close_forgets_an_ephemeral() {
    // M07.
    let run = |paths: &[&str]| {
        let mut stage = Stage::led();
        stage.commit(&create(zxid(1, 3), SESSION, 0, "/e", true));
        stage.commit(&create(zxid(1, 4), SESSION, 0, "/f", true));
        stage.commit(&close(zxid(1, 5), SESSION, paths));
        stage.fired()
    };
    assert_eq!(run(&["/f", "/e"]), Vec::<&str>::new());
    assert_eq!(run(&["/f"]), ["C20"]);
}

#[test]
fn c20_fires_when_a_server_keeps_an_ephemeral_of_a_session_that_is_over() {
    for (kept, fired) in [(None, vec![]), (Some("/e".to_owned()), vec!["C20"])] {
        let mut stage = Stage::led();
        stage.commit(&create(zxid(1, 3), SESSION, 0, "/e", true));
        stage.commit(&close(zxid(1, 4), SESSION, &["/e"]));
        stage.ephemeral = kept;
        let moment = stage.moment(1);
        stage.oracle.session_closed(moment, 1, SESSION);
        stage.settle();
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c20_fires_when_a_client_reads_the_ephemeral_of_a_dead_session() {
    let mut stage = Stage::led();
    stage.commit(&create_session(zxid(1, 3), OTHER));
    stage.connect(1, END, OTHER);
    stage.commit(&create(zxid(1, 4), SESSION, 0, "/e", true));
    let exists = |xid| {
        let request = jute::client::ExistsRequest { path: "/e".to_owned(), watch: false };
        (xid, Request::Exists(request))
    };
    let (czxid, mzxid) = (zxid(1, 4), zxid(1, 4));
    let stat = jute::data::Stat { ephemeral_owner: SESSION, czxid, mzxid, ..jute::data::Stat::default() };
    let found = Some(Response::Exists(jute::client::ExistsResponse { stat }));
    let (xid, request) = exists(1);
    stage.ask(1, END, xid, request);
    stage.reply(1, END, 1, zxid(1, 4), found.clone());
    stage.commit(&close(zxid(1, 5), SESSION, &["/e"]));
    // A server that is behind may still show it.
    let (xid, request) = exists(2);
    stage.ask(1, END, xid, request);
    stage.reply(1, END, 2, zxid(1, 4), found.clone());
    assert_eq!(stage.fired(), Vec::<&str>::new());
    let (xid, request) = exists(3);
    stage.ask(1, END, xid, request);
    stage.reply(1, END, 3, zxid(1, 5), found);
    assert_eq!(stage.fired(), ["C20", "C26"]);
}

fn set_request(version: i32) -> Request {
    Request::SetData(SetDataRequest { path: "/a".to_owned(), data: Buffer::NULL, version: Version::new(version) })
}

#[test]
fn c22_fires_when_a_write_succeeds_at_another_version() {
    let run = |demanded: i32, made: i32| {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        stage.ask(0, END, 1, set_request(demanded));
        stage.commit(&set_data(zxid(1, 3), SESSION, 1, "/a", made));
        stage.fired()
    };
    assert_eq!(run(0, 1), Vec::<&str>::new());
    assert_eq!(run(-1, 1), Vec::<&str>::new());
    assert_eq!(run(7, 1), ["C22"]);
    assert_eq!(run(0, 2), ["C22"]);
}

#[test]
fn c22_names_the_transaction_that_the_write_did_not_reckon_with() {
    let mut stage = Stage::led();
    stage.connect(0, END, SESSION);
    stage.ask(0, END, 1, set_request(0));
    stage.commit(&set_data(zxid(1, 3), SESSION, 1, "/a", 1));
    stage.ask(0, END, 2, set_request(0));
    stage.commit(&set_data(zxid(1, 4), SESSION, 2, "/a", 2));
    let promise = &stage.only().witnesses[0];
    assert_eq!(promise.part, engine::Part::Promise);
    assert!(promise.note.starts_with("0x100000003 was committed: setData /a"), "{}", promise.note);
}

#[test]
fn c22_fires_when_the_right_version_is_refused() {
    let run = |demanded: i32| {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        stage.ask(0, END, 1, set_request(demanded));
        stage.commit(&entry_of(zxid(1, 3), SESSION, 1, Txn::Error(ErrorTxn { err: ErrorCode::BadVersion })));
        stage.fired()
    };
    assert_eq!(run(4), Vec::<&str>::new());
    assert_eq!(run(0), ["C22"]);
}

#[test]
fn c22_fires_when_a_delete_succeeds_at_another_version() {
    for (demanded, fired) in [(0, vec![]), (3, vec!["C22"])] {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        let request = DeleteRequest { path: "/a".to_owned(), version: Version::new(demanded) };
        stage.ask(0, END, 1, Request::Delete(request));
        stage.commit(&entry_of(zxid(1, 3), SESSION, 1, Txn::Delete(DeleteTxn { path: "/a".to_owned() })));
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c25_fires_when_requests_take_effect_out_of_order() {
    let run = |cxids: [i32; 2]| {
        let mut stage = Stage::led();
        stage.commit(&set_data(zxid(1, 3), SESSION, cxids[0], "/a", 1));
        stage.commit(&set_data(zxid(1, 4), SESSION, cxids[1], "/a", 2));
        stage.fired()
    };
    assert_eq!(run([1, 2]), Vec::<&str>::new());
    assert_eq!(run([2, 1]), ["C25"]);
    assert_eq!(run([2, 2]), ["C25"], "and none of them twice");
}

#[test]
fn c23_fires_when_a_multi_is_committed_without_one_of_its_operations() {
    let committed = |second: Txn| {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        let (path, version) = ("/a".to_owned(), Version::ZERO);
        let ops = vec![
            MultiOp::Delete(DeleteRequest { path: path.clone(), version: Version::ANY }),
            MultiOp::SetData(SetDataRequest { path, data: Buffer::NULL, version }),
        ];
        stage.ask(0, END, 7, Request::Multi(MultiRequest { ops }));
        let first = Txn::Delete(DeleteTxn { path: "/a".to_owned() });
        stage.commit(&entry_of(zxid(1, 3), SESSION, 7, Txn::Multi(vec![first, second])));
        stage.fired()
    };
    let check = CheckVersionTxn { path: "/a".to_owned(), version: Version::ANY };
    assert!(committed(Txn::Check(check)).contains(&"C23"));
    let whole = SetDataTxn { path: "/a".to_owned(), data: Buffer::NULL, version: Version::ZERO.next() };
    assert!(!committed(Txn::SetData(whole)).contains(&"C23"));
}
