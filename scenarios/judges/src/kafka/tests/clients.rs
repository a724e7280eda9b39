//! H01, H03, H04, H05, H10, H11, H12, H15, G09, G14.

use super::*;
use crate::kafka::consumers::Leadership;

const NONE: [&str; 0] = [];
const P: usize = PRODUCER - 3;
const C: usize = CONSUMER - 3;
const M: [usize; 2] = [MEMBERS[0] - 3, MEMBERS[1] - 3];

fn group() -> Arc<str> {
    Arc::from("g")
}

fn record(number: u64) -> u64 {
    (PRODUCER as u64) << 48 | number
}

fn send(stage: &mut Stage, number: u64) {
    let moment = stage.moment(PRODUCER);
    stage.oracle.record_sent(moment, record(number), "orders", 0);
}

fn ack(stage: &mut Stage, number: u64, acks: i16, offset: i64) {
    let moment = stage.moment(PRODUCER);
    stage.oracle.record_acknowledged(moment, record(number), "orders", 0, acks, offset, &mut stage.findings);
}

fn assign(stage: &mut Stage, client: usize, position: i64) {
    let moment = stage.moment(client + 3);
    stage.oracle.partition_assigned(moment, client, &group(), "orders", 0, position, &mut stage.findings);
}

fn consume(stage: &mut Stage, offset: i64, number: u64) {
    let moment = stage.moment(CONSUMER);
    stage.oracle.record_consumed(moment, C, "orders", 0, offset, record(number), &mut stage.findings);
}

fn finish(stage: &mut Stage) {
    let moment = stage.moment(0);
    stage.oracle.finish(moment, &mut stage.findings);
}

/// What fired, with the rule that a gap is about.
fn fired(stage: &Stage) -> Vec<String> {
    let id = |violation: &Violation| match violation.invariant {
        "GAP" => violation.headline.split(['(', ' ']).find(|word| word.starts_with('H')).unwrap().to_owned(),
        id => id.to_owned(),
    };
    stage.findings.violations().iter().map(id).collect()
}

#[test]
fn an_anomaly_that_only_clients_saw_is_a_gap() {
    let mut stage = Stage::led();
    ack(&mut stage, 1, -1, 0);
    ack(&mut stage, 2, -1, 0);
    assert_eq!(stage.only().invariant, "GAP");
    assert!(stage.only().headline.starts_with("clients saw an anomaly (H01 inconsistent-offsets)"));
    let mut stage = Stage::led();
    stage.high_watermark(1, false, 0, 1);
    ack(&mut stage, 1, -1, 0);
    ack(&mut stage, 2, -1, 0);
    assert_eq!(stage.fired(), ["L05", "H01"]);
}

#[test]
fn h01_leaves_the_word_of_a_leader_alone() {
    let mut stage = Stage::led();
    ack(&mut stage, 1, 1, 0);
    ack(&mut stage, 2, -1, 0);
    ack(&mut stage, 2, -1, 0);
    assert_eq!(stage.fired(), NONE);
    assign(&mut stage, C, 0);
    consume(&mut stage, 0, 3);
    assert_eq!(fired(&stage), ["H01"]);
    assert!(stage.only().headline.contains("offset 0 of orders-0 has two records: 3:2 and 3:3"));
}

#[test]
fn h03_and_h04_fire_for_what_nobody_read() {
    let run = |read: &[(i64, u64)]| {
        let mut stage = Stage::led();
        assign(&mut stage, C, 0);
        for number in 0..3 {
            ack(&mut stage, number, -1, number.cast_signed());
        }
        for &(offset, number) in read {
            consume(&mut stage, offset, number);
        }
        stage.findings = Findings::new();
        finish(&mut stage);
        fired(&stage)
    };
    assert_eq!(run(&[(0, 0), (1, 1), (2, 2)]), NONE);
    assert_eq!(run(&[(0, 0), (2, 2)]), ["H03"]);
    assert_eq!(run(&[(0, 0), (1, 1)]), ["H04"]);
    // Nobody read from the start: what was before is nobody's.
    let mut stage = Stage::led();
    ack(&mut stage, 0, -1, 0);
    finish(&mut stage);
    assert_eq!(stage.fired(), NONE);
}

#[test]
fn h05_fires_when_a_failed_record_is_read_before_or_after() {
    let fail = |stage: &mut Stage, surely| {
        send(stage, 7);
        let moment = stage.moment(PRODUCER);
        stage.oracle.record_failed(moment, record(7), "orders", 0, surely, &mut stage.findings);
    };
    for (first, surely, fires) in [(true, true, true), (false, true, true), (true, false, false)] {
        let mut stage = Stage::led();
        assign(&mut stage, C, 0);
        if first {
            fail(&mut stage, surely);
        }
        consume(&mut stage, 0, 7);
        if !first {
            fail(&mut stage, surely);
        }
        assert_eq!(!fired(&stage).is_empty(), fires, "{first} {surely}");
        assert!(fired(&stage).iter().all(|id| id == "H05"));
    }
}

#[test]
fn h10_and_h11_fire_when_a_consumer_skips_or_goes_back() {
    let run = |offset: i64| {
        let mut stage = Stage::led();
        assign(&mut stage, C, 3);
        consume(&mut stage, 3, 3);
        consume(&mut stage, offset, offset.unsigned_abs());
        fired(&stage)
    };
    assert_eq!((run(4), run(5), run(3)), (vec![], vec!["H10".to_owned()], vec!["H11".to_owned()]));
    let mut stage = Stage::led();
    assign(&mut stage, C, 3);
    consume(&mut stage, 3, 3);
    let moment = stage.moment(CONSUMER);
    stage.oracle.position_reset(moment, C, "orders", 0, 0);
    consume(&mut stage, 0, 0);
    stage.oracle.client_ended(C);
    stage.oracle.client_started(C);
    assign(&mut stage, C, 0);
    consume(&mut stage, 0, 0);
    assert_eq!(stage.fired(), NONE, "a reset and a restart begin elsewhere");
}

#[test]
fn h12_fires_when_the_later_record_has_the_lower_offset() {
    let run = |sent_late: bool, acks: i16| {
        let mut stage = Stage::led();
        send(&mut stage, 1);
        if !sent_late {
            send(&mut stage, 2);
        }
        ack(&mut stage, 1, acks, 5);
        if sent_late {
            send(&mut stage, 2);
        }
        ack(&mut stage, 2, acks, 4);
        fired(&stage)
    };
    assert_eq!(run(true, -1), ["H12"]);
    assert_eq!((run(false, -1), run(true, 1)), (vec![], vec![]), "a retry may overtake, and a leader alone may forget");
}

fn commit_offset(stage: &mut Stage, by: SessionId, offset: i64) {
    let path = znode::consumer_offset("g", &orders());
    stage.commit(by, &[set(&path, znode::encode_offset(Offset(offset)), 1)]);
}

#[test]
fn g09_fires_when_a_commit_is_beyond_what_was_ever_committed() {
    let mut stage = Stage::led();
    stage.commit_records(3);
    commit_offset(&mut stage, session(5), 3);
    assert_eq!(stage.fired(), NONE);
    commit_offset(&mut stage, session(5), 4);
    assert_eq!(stage.fired(), ["G09"]);
}

/// A consumer's write of its offset succeeds.
fn told(stage: &mut Stage, offset: i64) {
    stage.oracle.commit_invoked(C, 1, &group(), "orders", 0);
    commit_offset(stage, session(5), offset);
    let moment = stage.moment(CONSUMER);
    stage.oracle.commit_completed(moment, C, 1, &group(), "orders", 0, offset, true, &mut stage.findings);
}

/// A consumer reads its group's offset while the ensemble has had so many leaders, the first of which had applied that.
fn fetch_from(stage: &mut Stage, applied: Zxid, between: impl FnOnce(&mut Stage), found: i64, terms: [usize; 2]) {
    let moment = stage.moment(CONSUMER);
    let leadership = |terms| Leadership { terms, applied: Some(applied) };
    stage.oracle.fetch_invoked(moment, C, &group(), "orders", 0, leadership(terms[0]));
    between(stage);
    let moment = stage.moment(CONSUMER);
    stage.oracle.offset_fetched(moment, C, &group(), "orders", 0, found, leadership(terms[1]), &mut stage.findings);
}

fn fetch(stage: &mut Stage, between: impl FnOnce(&mut Stage), found: i64, terms: [usize; 2]) {
    fetch_from(stage, Zxid::new(PeerEpoch::new(9), 0), between, found, terms);
}

#[test]
fn h15_fires_when_a_group_starts_from_an_older_commit() {
    let mut stage = Stage::led();
    stage.commit_records(9);
    fetch(&mut stage, |_| {}, -1, [1, 1]);
    told(&mut stage, 3);
    told(&mut stage, 6);
    fetch(&mut stage, |_| {}, 6, [1, 1]);
    fetch(&mut stage, |stage| told(stage, 8), 6, [1, 1]);
    fetch(&mut stage, |stage| told(stage, 5), 5, [1, 1]);
    assert_eq!(stage.fired(), NONE, "a commit meanwhile may be seen or not; a smaller number is no regression");
    fetch(&mut stage, |_| {}, 6, [1, 1]);
    assert_eq!(stage.only().invariant, "H15");
    fetch(&mut stage, |_| {}, 7, [1, 2]);
    fetch(&mut stage, |_| {}, -1, [1, 1]);
    assert_eq!(stage.fired(), ["H15"; 3], "from nowhere, and nothing");
    fetch(&mut stage, |_| {}, 6, [1, 2]);
    assert_eq!((stage.fired().len(), stage.relaxed("H15")), (3, 1), "a deposed leader may have answered the sync");
    fetch_from(&mut stage, Zxid::ZERO, |_| {}, 6, [1, 1]);
    assert_eq!((stage.fired().len(), stage.relaxed("H15")), (3, 2), "a leader does not wait for itself");
}

/// Found by zookeeper-consumer-rebalance, seed 351: the leader had committed the newer offset when the read began, and had
/// told nobody yet.
#[test]
fn h15_takes_a_commit_that_nobody_knows_of_as_unknown() {
    let mut stage = Stage::led();
    stage.commit_records(9);
    told(&mut stage, 3);
    commit_offset(&mut stage, session(5), 6);
    fetch(&mut stage, |_| {}, 3, [1, 1]);
    assert_eq!(stage.fired(), NONE);
    fetch(&mut stage, |_| {}, 6, [1, 1]);
    fetch(&mut stage, |_| {}, 3, [1, 1]);
    assert_eq!(stage.only().invariant, "H15", "who has read it knows it");
}

#[test]
fn h15_fires_when_a_commit_that_succeeded_is_nowhere() {
    let run = |happens: bool, is_ok: bool| {
        let mut stage = Stage::led();
        stage.commit_records(3);
        commit_offset(&mut stage, session(5), 3);
        stage.oracle.commit_invoked(C, 1, &group(), "orders", 0);
        if happens {
            commit_offset(&mut stage, session(5), 3);
        }
        let moment = stage.moment(CONSUMER);
        stage.oracle.commit_completed(moment, C, 1, &group(), "orders", 0, 3, is_ok, &mut stage.findings);
        stage.fired()
    };
    assert_eq!((run(true, true), run(false, false), run(false, true)), (vec![], vec![], vec!["H15"]));
}

fn claim(stage: &mut Stage, by: SessionId) {
    stage.commit(by, &[create(&znode::consumer_owner("g", &orders()), Bytes::new(), true)]);
}

#[test]
fn g14_fires_when_two_live_members_read_a_partition() {
    let mut stage = Stage::led();
    claim(&mut stage, session(0x51));
    assign(&mut stage, M[0], 0);
    // The first gives it up first.
    stage.oracle.partition_revoked(M[0], &group(), "orders", 0);
    stage.commit(session(0x51), &[delete(&znode::consumer_owner("g", &orders()))]);
    claim(&mut stage, session(0x52));
    assign(&mut stage, M[1], 0);
    assert_eq!(stage.fired(), NONE);
    // The second does not.
    stage.commit(session(0x52), &[delete(&znode::consumer_owner("g", &orders()))]);
    claim(&mut stage, session(0x51));
    assign(&mut stage, M[0], 0);
    assert_eq!(stage.only().invariant, "G14");
    assert!(stage.only().headline.starts_with("c4 and c3 both read orders-0 for group g"));
}

#[test]
fn g14_knows_the_zombies_of_the_old_consumer() {
    // KA-B63.
    let mut stage = Stage::led();
    stage.commit_records(9);
    claim(&mut stage, session(0x51));
    assign(&mut stage, M[0], 0);
    commit_offset(&mut stage, session(0x51), 4);
    stage.close_session(session(0x51));
    claim(&mut stage, session(0x52));
    assign(&mut stage, M[1], 4);
    commit_offset(&mut stage, session(0x52), 8);
    commit_offset(&mut stage, session(0x53), 5);
    assert_eq!((stage.fired(), stage.relaxed("G14")), (vec![], 1));
    assert_eq!(stage.oracle.notes().filter(|(note, ..)| note.contains("KA-B63")).count(), 2);
}

/// Found by swarm-cluster, seed 9947: a delete was sent again behind a lost connection.
#[test]
fn g14_knows_a_claim_that_another_member_deleted() {
    for (deletes, fires) in [(0x52, false), (0x51, true)] {
        let mut stage = Stage::led();
        claim(&mut stage, session(0x51));
        assign(&mut stage, M[0], 0);
        stage.commit(session(deletes), &[delete(&znode::consumer_owner("g", &orders()))]);
        claim(&mut stage, session(0x52));
        assign(&mut stage, M[1], 0);
        assert_eq!(stage.fired(), if fires { vec!["G14"] } else { vec![] });
        assert_eq!(stage.relaxed("G14"), u64::from(!fires));
    }
}

#[test]
fn nobody_waits_for_what_a_dead_producer_sent() {
    let mut stage = Stage::led();
    send(&mut stage, 1);
    assert_eq!(stage.oracle.work.under_way.len(), 1);
    stage.oracle.client_ended(P);
    assert!(stage.oracle.work.under_way.is_empty());
}
