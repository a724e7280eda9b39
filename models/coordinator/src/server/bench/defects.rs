//! Bugs that show in the pipeline, switched on.

use super::*;

fn with(serving: Serving, defect: Option<Defect>) -> Bench {
    Bench::with(serving, |config| config.defects = defect.into_iter().collect())
}

#[test]
fn zookeeper_1412_replies_to_reads_without_a_zxid() {
    let zxid_of_read = |defect| {
        let mut bench = with(Serving::Standalone, defect);
        bench.session(CLIENT);
        bench.request(CLIENT, 1, persistent("/a"));
        bench.request(CLIENT, 2, get("/a"));
        bench.settle();
        bench.replies().iter().map(|&(_, _, zxid, _)| zxid).collect::<Vec<_>>()
    };
    assert_eq!(zxid_of_read(None), [2, 2]);
    assert_eq!(zxid_of_read(Some(Defect::ReplyRequestZxid)), [2, 0]);
}

#[test]
fn zookeeper_1667_tells_creations_to_data_watches_and_changes_to_exist_watches() {
    let told = |defect| {
        let mut bench = with(Serving::Standalone, defect);
        bench.session(CLIENT);
        bench.request(CLIENT, 1, persistent("/a"));
        bench.settle();
        bench.sent.clear();
        let set = SetWatchesRequest {
            relative_zxid: Zxid::new(PeerEpoch::ZERO, 1),
            data_watches: vec!["/a".to_owned()],
            exist_watches: vec!["/a".to_owned()],
            child_watches: Vec::new(),
        };
        bench.request(CLIENT, Xid::SET_WATCHES.value(), ClientRequest::SetWatches(set));
        bench.settle();
        let events = bench.sent.iter().filter_map(|(_, frame)| match frame {
            ServerFrame::Notification { event, .. } => Some(event.event),
            _ => None,
        });
        events.collect::<Vec<_>>()
    };
    assert_eq!(told(None), [EventType::NodeDataChanged, EventType::NodeCreated]);
    let old = [EventType::NodeCreated, EventType::NodeDataChanged];
    assert_eq!(told(Some(Defect::SetWatchesOldRules)), old);
}

#[test]
#[should_panic(expected = "is left behind, and nothing ever removes it")]
fn zookeeper_1382_leaves_a_watch_behind() {
    let mut bench = with(LEADER, Some(Defect::WatchOnDeadConnection));
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.request(CLIENT, 2, watch("/a"));
    bench.settle();
    bench.step(|server, _, _| server.on_lost(CLIENT));
    bench.commit_all();
}

#[test]
fn zookeeper_1863_leaves_a_client_without_an_answer() {
    let answered = |defect| {
        let mut bench = with(Serving::Follower, defect);
        let mut leader = Bench::new(LEADER);
        bench.connect(CLIENT, SessionId::ZERO);
        // What is forwarded comes back committed before the commit processor has looked at the request itself.
        while bench.turns.front().is_some_and(|work| matches!(work, ServerWork::Prep(_))) {
            bench.turn();
        }
        let events = bench.events();
        let [ServerEvent::Forward { session, cxid, op, body, .. }] = &events[..] else {
            panic!("a createSession, not {events:?}")
        };
        leader.step(|server, _, io| server.submit_from_learner(LEARNER, *session, *cxid, *op, (body, Vec::new()), io));
        leader.settle();
        let proposal = proposals(&leader.commit_all()).remove(0);
        let zxid = proposal.zxid();
        bench.step(|server, _, io| server.log_proposal(proposal, io));
        assert_eq!(bench.step(|server, _, io| server.commit(zxid, io)), Committing::Taken);
        bench.settle();
        bench.sent.len()
    };
    assert_eq!(answered(None), 1);
    assert_eq!(answered(Some(Defect::CommitBeforeRequest)), 0);
}

#[test]
fn zookeeper_2247_says_nothing_of_a_log_that_failed() {
    let died = |defect| {
        let mut bench = with(LEADER, defect);
        bench.connect(CLIENT, SessionId::ZERO);
        bench.turns();
        bench.finish_syncs(Err(DiskError::Io));
        bench.turns();
        bench.events().iter().any(|event| matches!(event, ServerEvent::Fatal(_)))
    };
    assert!(died(None));
    assert!(!died(Some(Defect::SyncErrorNoStepDown)));
}

#[test]
fn zookeeper_1277_goes_on_into_the_next_epoch() {
    let mut bench =
        with(Serving::Leader { zxid: Zxid::new(PeerEpoch::new(1), u32::MAX - 1) }, Some(Defect::NoRolloverCheck));
    bench.session(CLIENT);
    bench.request(CLIENT, 1, persistent("/a"));
    bench.settle();
    let proposed = bench.events().into_iter().find_map(|event| match event {
        ServerEvent::Propose(proposal) => Some(proposal.zxid()),
        _ => None,
    });
    assert_eq!(proposed, Some(Zxid::new(PeerEpoch::new(2), 0)));
}

#[test]
fn zookeeper_3145_closes_a_session_without_saying_what_goes_with_it() {
    let lists = |defect| {
        let mut bench = with(LEADER, defect);
        bench.session(CLIENT);
        bench.request(CLIENT, 1, create("/e", CreateMode::Ephemeral));
        bench.turns();
        bench.commit_all();
        bench.request(CLIENT, 2, ClientRequest::CloseSession);
        bench.turns();
        let events = bench.events();
        events.iter().find_map(|event| match event {
            ServerEvent::Propose(proposal) => match &proposal.entry.txn {
                Txn::CloseSession(close) => Some(close.is_some()),
                _ => None,
            },
            _ => None,
        })
    };
    assert_eq!(lists(None), Some(true));
    assert_eq!(lists(Some(Defect::CloseTxnWithoutPaths)), Some(false));
}
