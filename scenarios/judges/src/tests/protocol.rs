//! What servers may say to each other (C06, C07, C12, C15, C38), and what the committed history may do (C21, C24, C26, C43, C45).

use jute::client::{CreateRequest, GetDataRequest, GetDataResponse};
use jute::data::Stat;

use super::*;

const NONE: Vec<&str> = Vec::new();

fn proposes(stage: &mut Stage, voter: usize, zxid: Zxid) -> Vec<&'static str> {
    let moment = stage.moment(voter);
    stage.oracle.proposed(moment, voter, zxid, &mut stage.findings);
    stage.fired()
}

#[test]
fn c06_fires_when_somebody_else_proposes() {
    let mut stage = Stage::led();
    assert_eq!(proposes(&mut stage, 0, zxid(1, 1)), NONE);
    assert_eq!(proposes(&mut stage, 1, zxid(1, 1)), ["C06"], "zk2 follows");
    let mut stage = Stage::led();
    assert_eq!(proposes(&mut stage, 0, zxid(2, 1)), ["C06"], "zk1 leads epoch 1");
}

#[test]
fn c07_fires_when_a_leader_leaves_a_counter_out_or_gives_it_twice() {
    for (second, fired) in [(2, NONE), (3, vec!["C07"]), (1, vec!["C07"])] {
        let mut stage = Stage::led();
        assert_eq!(proposes(&mut stage, 0, zxid(1, 1)), NONE);
        assert_eq!(proposes(&mut stage, 0, zxid(1, second)), fired);
    }
    assert_eq!(proposes(&mut Stage::led(), 0, zxid(1, 2)), ["C07"], "an epoch begins with 1");
}

#[test]
fn c12_fires_when_a_learner_is_told_to_commit_anything_but_the_next_proposal() {
    let run = |commits: &[u32]| {
        let mut stage = Stage::new();
        stage.lead(0, 1);
        for counter in [1, 2] {
            stage.propose(0, 1, &create(zxid(1, counter), SESSION, 0, &format!("/n{counter}"), false));
        }
        for &counter in commits {
            stage.deliver(0, 1, &QuorumPacket::Commit { zxid: zxid(1, counter) });
        }
        stage.fired()
    };
    assert_eq!(run(&[1, 2]), NONE);
    assert_eq!(run(&[2]), ["C12"]);
    assert_eq!(run(&[1, 1]), ["C12"]);
    assert_eq!(run(&[1, 2, 3]), ["C12"], "nothing was proposed");
}

#[test]
fn c12_takes_the_same_proposal_twice() {
    let mut stage = Stage::new();
    stage.lead(0, 1);
    let entry = create(zxid(1, 1), SESSION, 0, "/n", false);
    stage.propose(0, 1, &entry);
    stage.propose(0, 1, &entry);
    stage.deliver(0, 1, &QuorumPacket::Commit { zxid: zxid(1, 1) });
    assert_eq!(stage.fired(), NONE);
    stage.propose(0, 1, &create(zxid(1, 2), SESSION, 0, "/m", false));
    stage.deliver(0, 1, &QuorumPacket::Commit { zxid: zxid(1, 2) });
    assert_eq!(stage.fired(), NONE);
}

#[test]
fn c15_fires_when_a_server_says_that_it_has_what_its_disk_lacks() {
    for (counter, fired) in [(2, NONE), (3, vec!["C15"])] {
        let mut stage = Stage::led();
        let last_logged = Some(zxid(1, counter));
        stage.send(2, 0, &QuorumPacket::AckEpoch { last_logged, current_epoch: None });
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c38_fires_when_a_promise_is_broken() {
    for (promised, fired) in [(1, NONE), (2, vec!["C38"])] {
        let mut stage = Stage::led();
        stage.write_epoch(2, "acceptedEpoch", promised);
        stage.send(2, 0, &QuorumPacket::Ack { zxid: zxid(1, 2) });
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c21_fires_when_a_znode_hangs_below_nothing() {
    let run = |entries: &[Bytes]| {
        let mut stage = Stage::led();
        for entry in entries {
            stage.commit(entry);
        }
        stage.fired()
    };
    let delete = |counter, path: &str| {
        entry_of(zxid(1, counter), SESSION, 0, Txn::Delete(jute::txn::DeleteTxn { path: path.to_owned() }))
    };
    let below = create(zxid(1, 3), SESSION, 0, "/a/b", false);
    assert_eq!(run(&[below.clone(), delete(4, "/a/b"), delete(5, "/a")]), NONE);
    assert_eq!(run(&[below, delete(4, "/a")]), ["C21"], "a child is left");
    assert_eq!(run(&[create(zxid(1, 3), SESSION, 0, "/x/b", false)]), ["C21"], "there is no parent");
    let ephemeral = create(zxid(1, 3), SESSION, 0, "/e", true);
    assert_eq!(run(&[ephemeral, create(zxid(1, 4), SESSION, 0, "/e/b", false)]), ["C21"], "it is an ephemeral");
    let beside = create(zxid(1, 3), SESSION, 0, "/a-b", false);
    assert_eq!(run(&[beside, delete(4, "/a")]), NONE, "a name that begins alike is no child");
}

#[test]
fn c24_fires_when_a_number_is_given_twice() {
    let run = |second: &str, between: Option<&str>| {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        let mut counter = 2;
        for (cxid, number) in [(1, "0000000005"), (2, second)] {
            let path = "/a/x-".to_owned();
            let create_one = CreateRequest { path, data: Buffer::NULL, acl: Some(Vec::new()), flags: 2 };
            stage.ask(0, END, cxid, Request::Create(create_one));
            counter += 1;
            stage.commit(&create(zxid(1, counter), SESSION, cxid, &format!("/a/x-{number}"), false));
            if let Some(gone) = between.filter(|_| cxid == 1) {
                for path in [format!("/a/x-{number}"), gone.to_owned()] {
                    counter += 1;
                    let txn = Txn::Delete(jute::txn::DeleteTxn { path });
                    stage.commit(&entry_of(zxid(1, counter), SESSION, 0, txn));
                }
                counter += 1;
                stage.commit(&create(zxid(1, counter), SESSION, 0, gone, false));
            }
        }
        stage.fired()
    };
    assert_eq!(run("0000000006", None), NONE);
    assert_eq!(run("0000000005", None), ["C24"]);
    assert_eq!(run("0000000004", None), ["C24"]);
    assert_eq!(run("0000000005", Some("/a")), NONE, "a new parent begins anew");
}

/// c1 reads `/a`, which was created at 1:2 and set at 1:3: what it is shown at `at`.
fn reads(at: Zxid, shown: Option<(Zxid, Zxid)>) -> Vec<&'static str> {
    let mut stage = Stage::led();
    stage.commit(&set_data(zxid(1, 3), SESSION, 0, "/a", 1));
    stage.connect(0, END, SESSION);
    stage.ask(0, END, 1, Request::GetData(GetDataRequest { path: "/a".to_owned(), watch: false }));
    let header = |err| ReplyHeader { xid: Xid::new(1), zxid: Some(at), err };
    let frame = match shown {
        Some((czxid, mzxid)) => {
            let stat = Stat { czxid, mzxid, ..Stat::default() };
            let response = Some(Response::GetData(GetDataResponse { data: Buffer::NULL, stat }));
            ServerFrame::Reply { header: header(ErrorCode::Ok), response }
        }
        None => ServerFrame::Reply { header: header(ErrorCode::NoNode), response: None },
    };
    stage.tell(0, END, &frame);
    stage.fired()
}

#[test]
fn c26_fires_when_a_read_shows_what_never_was() {
    let (created, set) = (zxid(1, 2), zxid(1, 3));
    assert_eq!(reads(set, Some((created, set))), NONE);
    assert_eq!(reads(created, Some((created, created))), NONE, "an old state is allowed");
    assert_eq!(reads(zxid(1, 1), None), NONE, "it was not there yet");
    assert_eq!(reads(set, Some((created, created))), ["C26"], "the reply says that it has the change");
    assert_eq!(reads(created, Some((created, set))), ["C26"], "of the future");
    assert_eq!(reads(set, None), ["C26"]);
    assert_eq!(reads(zxid(1, 1), Some((created, created))), ["C26"]);
}

#[test]
fn c43_fires_when_a_session_is_created_twice() {
    let mut stage = Stage::led();
    stage.commit(&create_session(zxid(1, 3), OTHER));
    assert_eq!(stage.fired(), NONE);
    stage.commit(&create_session(zxid(1, 4), OTHER));
    assert_eq!(stage.fired(), ["C43"]);
}

/// c1 comes back to zk1 with its session, and is told that it is over.
fn is_refused(stage: &mut Stage) -> Vec<&'static str> {
    stage.connect(0, END, SESSION);
    let refusal = ConnectResponse {
        protocol_version: 0,
        timeout_ms: 0,
        session: SessionId::ZERO,
        password: Buffer::NULL,
        read_only: None,
    };
    stage.tell(0, END, &ServerFrame::Connect(refusal));
    stage.fired()
}

#[test]
fn c45_fires_when_a_live_session_is_refused() {
    assert_eq!(is_refused(&mut Stage::led()), ["C45"]);
    let mut closed = Stage::led();
    let close = entry_of(zxid(1, 3), SESSION, 0, Txn::CloseSession(None));
    closed.log_and_sync(0, &close);
    assert_eq!(is_refused(&mut closed), NONE, "its end is proposed");
    let mut expired = Stage::led();
    expired.wait_ms(4_000);
    let moment = expired.moment(0);
    expired.oracle.session_expired(moment, 0, SESSION, 4_000);
    assert_eq!(is_refused(&mut expired), NONE, "its leader gave up on it");
}

#[test]
fn c45_knows_that_a_deposed_leader_does_not_know_every_session() {
    let mut stage = Stage::led();
    stage.lead_some(1, &[2], 2);
    assert_eq!((is_refused(&mut stage), stage.relaxed("C45")), (NONE, 1));
}
