//! C25 (replies), C27, C31, C32, and the black-box checks C29, C33, H20 with GAP.

use std::sync::Arc;

use jute::client::{GetDataRequest, GetDataResponse, SetWatchesRequest, WatcherEvent};
use jute::data::Stat;
use jute::op::{EventType, KeeperState};

use super::*;
use crate::{Operation, OperationEnd, OperationKind, OperationOutcome, WatchMap};

fn get(watch: bool) -> Request {
    Request::GetData(GetDataRequest { path: "/a".to_owned(), watch })
}

fn data() -> Option<Response> {
    Some(Response::GetData(GetDataResponse { data: Buffer::NULL, stat: Stat::default() }))
}

fn changed(zxid: Zxid) -> ServerFrame {
    let event =
        WatcherEvent { event: EventType::NodeDataChanged, state: KeeperState::SyncConnected, path: "/a".to_owned() };
    ServerFrame::Notification { zxid: Some(zxid), event }
}

#[test]
fn c25_fires_when_replies_are_out_of_order() {
    for (replies, fired) in [([1, 2], vec![]), ([2, 1], vec!["C25", "C25"])] {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        for xid in [1, 2] {
            stage.ask(0, END, xid, get(false));
        }
        for xid in replies {
            stage.reply(0, END, xid, zxid(1, 2), data());
        }
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c27_fires_when_a_session_moves_to_a_server_behind_its_past() {
    // M08: a server accepts a reconnect with a newer zxid.
    for (second, fired) in [(zxid(1, 2), vec![]), (zxid(1, 1), vec!["C27"])] {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        stage.ask(0, END, 1, get(false));
        stage.reply(0, END, 1, zxid(1, 2), data());
        stage.connect(0, EndId(2), SESSION);
        stage.ask(0, EndId(2), 2, get(false));
        stage.reply(0, EndId(2), 2, second, data());
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c27_takes_a_ping_for_what_its_own_connection_has_seen() {
    let run = |end: EndId| {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        stage.reply(0, END, Xid::PING.value(), zxid(1, 2), None);
        if end != END {
            stage.connect(0, end, SESSION);
        }
        stage.ask(0, end, 1, get(false));
        stage.reply(0, end, 1, zxid(1, 1), data());
        stage.fired()
    };
    assert_eq!(run(END), ["C27"]);
    assert_eq!(run(EndId(2)), Vec::<&str>::new(), "a client does not remember it");
}

#[test]
fn c27_is_per_session() {
    let mut stage = Stage::led();
    stage.connect(0, END, SESSION);
    stage.connect(1, END, OTHER);
    for (client, zxid) in [(0, zxid(1, 2)), (1, zxid(1, 1))] {
        stage.ask(client, END, 1, get(false));
        stage.reply(client, END, 1, zxid, data());
    }
    assert_eq!(stage.fired(), Vec::<&str>::new());
}

/// c1 watches `/a`; then zk1 commits a change of it.
fn watched() -> Stage {
    let mut stage = Stage::led();
    stage.connect(0, END, SESSION);
    stage.ask(0, END, 1, get(true));
    stage.reply(0, END, 1, zxid(1, 2), data());
    stage.commit(&set_data(zxid(1, 3), OTHER, 0, "/a", 1));
    stage.ask(0, END, 2, get(false));
    stage
}

#[test]
fn c31_fires_when_a_reply_overtakes_the_watch_event() {
    // M10.
    let mut late = watched();
    late.reply(0, END, 2, zxid(1, 3), data());
    assert_eq!(late.only().invariant, "C31");
    assert_eq!(
        late.only().headline,
        "c1 was shown 0x100000003 by a reply before its data watch of /a told of the change at 0x100000003 (setData /a (version 1))"
    );
    let mut correct = watched();
    correct.tell(0, END, &changed(zxid(1, 3)));
    correct.reply(0, END, 2, zxid(1, 3), data());
    assert_eq!(correct.fired(), Vec::<&str>::new());
    // A reply of a server that has not got that far shows nothing.
    let mut behind = watched();
    behind.reply(0, END, 2, zxid(1, 2), data());
    assert_eq!(behind.fired(), Vec::<&str>::new());
}

#[test]
fn c32_fires_when_a_watch_still_waits_at_rest() {
    let at_rest = |told: bool, ms: u64| {
        let mut stage = watched();
        if told {
            let event = WatcherEvent {
                event: EventType::NodeDataChanged,
                state: KeeperState::SyncConnected,
                path: "/a".to_owned(),
            };
            stage.tell(0, END, &ServerFrame::Notification { zxid: Some(zxid(1, 3)), event });
        }
        stage.wait_ms(ms);
        let moment = stage.moment(3);
        stage.oracle.settled(moment, &mut stage.findings);
        stage.fired()
    };
    assert_eq!(at_rest(false, 3_000), ["C32"]);
    assert_eq!(at_rest(true, 3_000), Vec::<&str>::new());
    assert_eq!(at_rest(false, 500), Vec::<&str>::new(), "it may still be on its way");
}

/// A session that watches `/a` reconnects behind its change and sets the watch again, as a request with this xid.
fn set_again(xid: i32, is_told: bool) -> Stage {
    let mut stage = watched();
    stage.connect(0, EndId(2), SESSION);
    let again = SetWatchesRequest {
        relative_zxid: zxid(1, 2),
        data_watches: vec!["/a".to_owned()],
        exist_watches: Vec::new(),
        child_watches: Vec::new(),
    };
    stage.ask(0, EndId(2), xid, Request::SetWatches(again));
    if is_told {
        let ServerFrame::Notification { event, .. } = changed(Zxid::ZERO) else { unreachable!() };
        stage.tell(0, EndId(2), &ServerFrame::Notification { zxid: None, event });
    }
    stage.reply(0, EndId(2), xid, zxid(1, 3), None);
    stage
}

#[test]
fn c32_fires_when_watches_set_again_miss_a_change() {
    // The Java client numbers setWatches as any request.
    for xid in [-8, 7] {
        for (is_told, fired) in [(true, vec![]), (false, vec!["C32"])] {
            assert_eq!(set_again(xid, is_told).fired(), fired, "xid {xid}");
        }
    }
}

#[test]
fn a_session_that_has_set_its_watches_again_is_judged_as_before() {
    let mut stage = set_again(7, true);
    stage.ask(0, EndId(2), 8, get(true));
    stage.reply(0, EndId(2), 8, zxid(1, 3), data());
    stage.commit(&set_data(zxid(1, 4), OTHER, 1, "/a", 2));
    stage.ask(0, EndId(2), 9, get(false));
    stage.reply(0, EndId(2), 9, zxid(1, 4), data());
    assert_eq!(stage.fired(), ["C31"]);
}

/// What a client says of one operation on `/k`.
struct Said {
    kind: OperationKind,
    outcome: OperationOutcome,
    version: i32,
    value: Option<u64>,
}

/// A history in which each operation ends before the next begins.
fn told(said: &[Said]) -> Stage {
    let mut stage = Stage::led();
    for (number, said) in (1..).zip(said) {
        let moment = stage.moment(3);
        let path: Arc<str> = Arc::from("/k");
        let operation = Operation {
            number,
            kind: said.kind,
            path: Arc::clone(&path),
            session: SESSION,
            demanded: None,
            value: said.value,
        };
        stage.oracle.invoked(moment, operation);
        let end = OperationEnd {
            number,
            path,
            outcome: said.outcome,
            czxid: Some(zxid(1, 2)),
            mzxid: None,
            pzxid: None,
            version: Some(said.version),
            value: said.value,
        };
        stage.oracle.ended_operation(moment, end);
    }
    finish(&mut stage);
    stage
}

fn finish(stage: &mut Stage) {
    let moment = stage.moment(0);
    stage.oracle.finish(moment, &mut stage.findings);
}

fn set(version: i32) -> Said {
    Said { kind: OperationKind::Set, outcome: OperationOutcome::Ok, version, value: None }
}

#[test]
fn c29_fires_as_a_gap_when_two_writes_make_one_version() {
    assert_eq!(told(&[set(1), set(2)]).fired(), Vec::<&str>::new());
    let stage = told(&[set(1), set(1)]);
    assert_eq!(stage.only().invariant, "GAP");
    assert_eq!(stage.only().signature_parts, ["C29", "lost-update"]);
    assert!(stage.only().headline.starts_with("clients saw an anomaly (C29 lost-update)"), "{}", stage.only().headline);
}

#[test]
fn c29_fires_under_its_own_name_when_a_judge_had_noticed() {
    let mut stage = told(&[]);
    stage.propose(0, 1, &create(zxid(1, 2), SESSION, 0, "/z", false));
    assert_eq!(stage.fired(), ["C03"]);
    for version in [1, 1] {
        let moment = stage.moment(3);
        let number = moment.event;
        let path: Arc<str> = Arc::from("/k");
        let operation = Operation {
            number,
            kind: OperationKind::Set,
            path: Arc::clone(&path),
            session: SESSION,
            demanded: None,
            value: None,
        };
        stage.oracle.invoked(moment, operation);
        let end = OperationEnd {
            number,
            path,
            outcome: OperationOutcome::Ok,
            czxid: Some(zxid(1, 2)),
            mzxid: None,
            pzxid: None,
            version: Some(version),
            value: None,
        };
        stage.oracle.ended_operation(moment, end);
    }
    finish(&mut stage);
    assert_eq!(stage.fired(), ["C03", "C29"]);
}

#[test]
fn stale_read_behind_a_sync_is_counted_and_not_alarmed() {
    let read = Said { kind: OperationKind::SyncRead, outcome: OperationOutcome::Ok, version: 1, value: None };
    let stage = told(&[set(1), set(2), read]);
    assert_eq!((stage.fired(), stage.relaxed("C29")), (vec![], 1));
}

#[test]
fn c33_fires_when_a_session_is_told_of_what_it_does_not_watch() {
    let path: Arc<str> = Arc::from("/a");
    for (sets, fired) in [(2, vec![]), (1, vec!["GAP"])] {
        let mut stage = Stage::led();
        for event in 0..2 {
            let moment = stage.moment(3);
            if event < sets {
                stage.oracle.watch_set(moment, SESSION, &path, WatchMap::Data, zxid(1, 2));
            }
            let consumed: &[WatchMap] = if event < sets { &[WatchMap::Data] } else { &[] };
            stage.oracle.watch_delivered(moment, SESSION, &path, consumed, Some(zxid(1, 3)));
        }
        finish(&mut stage);
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c33_fires_when_an_event_is_older_than_its_watch() {
    let path: Arc<str> = Arc::from("/a");
    for (zxid_of_event, fired) in [(zxid(1, 3), vec![]), (zxid(1, 2), vec!["GAP"])] {
        let mut stage = Stage::led();
        let moment = stage.moment(3);
        stage.oracle.watch_set(moment, SESSION, &path, WatchMap::Data, zxid(1, 2));
        stage.oracle.watch_delivered(moment, SESSION, &path, &[WatchMap::Data], Some(zxid_of_event));
        finish(&mut stage);
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c33_fires_when_a_read_shows_what_a_watch_has_yet_to_tell() {
    for (is_told, fired) in [(true, vec![]), (false, vec!["GAP"])] {
        let mut stage = Stage::led();
        let path: Arc<str> = Arc::from("/a");
        let moment = stage.moment(3);
        stage.oracle.watch_set(moment, SESSION, &path, WatchMap::Data, zxid(1, 2));
        let operation = Operation {
            number: 1,
            kind: OperationKind::Read,
            path: Arc::clone(&path),
            session: SESSION,
            demanded: None,
            value: None,
        };
        stage.oracle.invoked(moment, operation);
        if is_told {
            stage.oracle.watch_delivered(moment, SESSION, &path, &[WatchMap::Data], Some(zxid(1, 3)));
        }
        let end = OperationEnd {
            number: 1,
            path,
            outcome: OperationOutcome::Ok,
            czxid: Some(zxid(1, 2)),
            mzxid: Some(zxid(1, 3)),
            pzxid: None,
            version: None,
            value: None,
        };
        stage.oracle.ended_operation(moment, end);
        finish(&mut stage);
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn h20_fires_when_an_older_token_writes_behind_a_newer_one() {
    let resource: Arc<str> = Arc::from("/resource");
    for (tokens, fired) in [([1, 2], vec![]), ([2, 1], vec!["GAP"])] {
        let mut stage = Stage::led();
        // Told in another order than that of the resource's versions, which is the one that counts.
        for (version, client) in [(2, 1_u16), (1, 0)] {
            let moment = stage.moment(3);
            let token = tokens[usize::try_from(version - 1).unwrap()];
            stage.oracle.resource_written(moment, client, &resource, token, version);
        }
        finish(&mut stage);
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn h20_fires_when_two_clients_hold_one_token() {
    let lock: Arc<str> = Arc::from("/lock");
    for (second, fired) in [(8, vec![]), (7, vec!["GAP"])] {
        let mut stage = Stage::led();
        let moment = stage.moment(3);
        stage.oracle.lock_acquired(moment, 0, &lock, SESSION, 7);
        assert_eq!(stage.oracle.role("lock-holder"), Some(HostId(3)));
        stage.oracle.lock_released(moment, &lock);
        let moment = stage.moment(4);
        stage.oracle.lock_acquired(moment, 1, &lock, OTHER, second);
        finish(&mut stage);
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c34_fires_when_a_watch_is_told_what_it_did_not_wait_for() {
    let told = |map: WatchMap, event: EventType| {
        let mut stage = Stage::led();
        let moment = stage.moment(3);
        let mut findings = std::mem::take(&mut stage.findings);
        stage.oracle.watch_told(moment, SESSION, "/a", (&[map], event), &mut findings);
        stage.findings = findings;
        stage.fired()
    };
    assert_eq!(told(WatchMap::Data, EventType::NodeCreated), ["C34"]);
    assert_eq!(told(WatchMap::Exist, EventType::NodeDataChanged), ["C34"]);
    assert_eq!(told(WatchMap::Data, EventType::NodeDataChanged), Vec::<&str>::new());
    assert_eq!(told(WatchMap::Data, EventType::NodeDeleted), Vec::<&str>::new());
    assert_eq!(told(WatchMap::Exist, EventType::NodeCreated), Vec::<&str>::new());
}

/// A client with a session of 4 s hears nothing more, and dials so many ms after it last did.
fn dials(after_ms: &[u64], between: impl Fn(&mut Stage)) -> Vec<&'static str> {
    let mut stage = Stage::led();
    stage.connect(0, END, SESSION);
    let mut passed = 0;
    for ms in after_ms {
        stage.wait_ms(ms - passed - 1);
        passed = *ms;
        let moment = stage.moment(3);
        let mut findings = std::mem::take(&mut stage.findings);
        stage.oracle.client_dialled(moment, 0, &mut findings);
        stage.findings = findings;
        between(&mut stage);
    }
    stage.fired()
}

#[test]
fn c50_fires_when_a_client_goes_on_after_its_session_must_have_ended() {
    assert_eq!(dials(&[3000, 7000, 7300], |_| {}), [""; 0], "a slow clock may say that it is not time yet");
    assert_eq!(dials(&[3000, 7400], |_| {}), [""; 0], "it looks at its clock when it has dialled");
    assert_eq!(dials(&[3000, 7400, 9000], |_| {}), ["C50"]);
    assert_eq!(dials(&[7400, 9000], |stage| stage.oracle.client_gave_up(0)), [""; 0]);
}

#[test]
fn c32_does_not_wait_for_watches_that_were_removed() {
    for (removed, fired) in [(false, vec!["C31"]), (true, vec![])] {
        let mut stage = Stage::led();
        stage.connect(0, END, SESSION);
        stage.ask(0, END, 1, get(true));
        stage.reply(0, END, 1, zxid(1, 2), data());
        if removed {
            stage.oracle.watch_removed(SESSION, &Arc::from("/a"), &[WatchMap::Data]);
        }
        stage.commit(&set_data(zxid(1, 3), SESSION, 5, "/a", 1));
        stage.ask(0, END, 2, get(false));
        stage.reply(0, END, 2, zxid(1, 3), data());
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c33_follows_watches_from_the_session_of_a_server_without_an_ensemble_to_the_next() {
    // It asked under the one session, and was answered under the other.
    for (asked_in, is_told, fired) in [(OTHER, true, vec![]), (SESSION, true, vec![]), (SESSION, false, vec!["GAP"])] {
        let mut stage = Stage::led();
        let path: Arc<str> = Arc::from("/a");
        stage.connect(0, END, OTHER);
        let moment = stage.moment(3);
        stage.oracle.watch_set(moment, OTHER, &path, WatchMap::Data, zxid(1, 2));
        stage.connect(0, EndId(2), SESSION);
        let operation = Operation {
            number: 1,
            kind: OperationKind::Read,
            path: Arc::clone(&path),
            session: asked_in,
            demanded: None,
            value: None,
        };
        stage.oracle.invoked(moment, operation);
        if is_told {
            stage.oracle.watch_delivered(moment, SESSION, &path, &[WatchMap::Data], Some(zxid(1, 3)));
        }
        let end = OperationEnd {
            number: 1,
            path,
            outcome: OperationOutcome::Ok,
            czxid: Some(zxid(1, 2)),
            mzxid: Some(zxid(1, 3)),
            pzxid: None,
            version: None,
            value: None,
        };
        stage.oracle.ended_operation(moment, end);
        finish(&mut stage);
        assert_eq!(stage.fired(), fired);
    }
}

#[test]
fn c33_lets_a_reconnect_tell_twice_of_a_path_that_was_watched_twice() {
    let path: Arc<str> = Arc::from("/a");
    for (first, zxid_of_second, fired) in [
        (&[WatchMap::Data, WatchMap::Child][..], None, vec![]),
        (&[WatchMap::Data, WatchMap::Child][..], Some(zxid(1, 3)), vec!["GAP"]),
        (&[WatchMap::Data][..], None, vec!["GAP"]),
    ] {
        let mut stage = Stage::led();
        let moment = stage.moment(3);
        stage.oracle.watch_delivered(moment, SESSION, &path, first, None);
        stage.oracle.watch_delivered(moment, SESSION, &path, &[], zxid_of_second);
        finish(&mut stage);
        assert_eq!(stage.fired(), fired);
    }
}
