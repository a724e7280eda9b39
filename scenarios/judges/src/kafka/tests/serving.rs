//! L09, L12, L13.

use kafkawire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafkawire::messages::{FetchRequest, FetchResponse};
use kafkawire::{Request, Response};
use machine::EndId;

use super::*;

const NONE: [&str; 0] = [];

fn acknowledge(stage: &mut Stage, last: i64, high_watermark: i64, isr_size: u64, min_insync: u64) {
    let moment = stage.moment(0);
    let findings = &mut stage.findings;
    stage.oracle.acknowledged(moment, 0, "orders", 0, last, high_watermark, isr_size, min_insync, findings);
}

#[test]
fn l09_fires_when_success_comes_before_the_commit() {
    let mut stage = Stage::led();
    stage.commit_records(2);
    acknowledge(&mut stage, 1, 2, 3, 2);
    stage.answer_produce(0, 1);
    assert_eq!(stage.fired(), NONE);
    stage.append(0, true, 2, 0, "a");
    acknowledge(&mut stage, 2, 2, 3, 2);
    assert_eq!(stage.fired(), ["L09"]);
    // What is on the wire counts, whatever is stated.
    stage.answer_produce(0, 2);
    assert_eq!(stage.fired(), ["L09", "L09"]);
    acknowledge(&mut stage, 2, 3, 3, 2);
    assert_eq!(stage.fired().len(), 3, "a high watermark that was never stated");
}

#[test]
fn l09_fires_when_too_few_are_in_sync() {
    let mut stage = Stage::led();
    stage.configure("min.insync.replicas", "3");
    stage.commit_records(1);
    acknowledge(&mut stage, 0, 1, 3, 3);
    assert_eq!(stage.fired(), NONE);
    acknowledge(&mut stage, 0, 1, 2, 3);
    assert_eq!(stage.fired(), ["L09"]);
    acknowledge(&mut stage, 0, 1, 3, 2);
    assert!(stage.findings.violations()[1].headline.contains("it takes min.insync.replicas for 2, and it is 3"));
}

/// b1 answers a consumer.
fn serve(stage: &mut Stage, high_watermark: i64, records: &Bytes) {
    let request = Request::Fetch(Arc::new(FetchRequest::default().with_replica_id(BrokerId(-1).wire())));
    stage.oracle.request_delivered(0, EndId(8), 4, &request);
    let data = PartitionData::default()
        .with_partition_index(0)
        .with_high_watermark(high_watermark)
        .with_records(Some(records.clone()));
    let topic = FetchableTopicResponse::default().with_topic(Topic::from("orders").wire()).with_partitions(vec![data]);
    let response = Response::Fetch(Arc::new(FetchResponse::default().with_responses(vec![topic])));
    let moment = stage.moment(0);
    stage.oracle.response_sent(moment, 0, EndId(8), 4, &response, &mut stage.findings);
}

#[test]
fn l12_fires_when_a_consumer_is_given_what_is_not_committed() {
    let mut stage = Stage::led();
    stage.commit_records(2);
    stage.append(0, true, 2, 0, "a");
    serve(&mut stage, 2, &batch(1, 0, 1, "a"));
    assert_eq!(stage.fired(), NONE);
    let both = [batch(1, 0, 1, "a"), batch(2, 0, 1, "a")].concat();
    serve(&mut stage, 2, &Bytes::from(both));
    assert_eq!(stage.only().invariant, "L12");
    serve(&mut stage, 9, &batch(1, 0, 1, "a"));
    assert_eq!(stage.fired(), ["L12", "L12"], "a high watermark that was never stated");
    let moment = stage.moment(0);
    stage.oracle.records_served(moment, 0, "orders", 0, 2, 2, &mut stage.findings);
    assert_eq!(stage.fired().len(), 2);
    stage.oracle.records_served(moment, 0, "orders", 0, 3, 2, &mut stage.findings);
    assert_eq!(stage.fired().len(), 3);
}

#[test]
fn l12_counts_the_high_watermark_a_broker_finds_on_its_disk() {
    let mut stage = Stage::led();
    stage.commit_records(2);
    let path = "kafka-logs/replication-offset-checkpoint";
    let file = stage.disks[0].create(path).unwrap();
    stage.disks[0].append(file, b"0\n1\norders 0 2\n").unwrap();
    stage.kill(0);
    stage.boot(0);
    serve(&mut stage, 2, &batch(1, 0, 1, "a"));
    assert_eq!(stage.fired(), NONE);
}

#[test]
fn l13_fires_when_an_offset_means_another_record() {
    let mut stage = Stage::led();
    stage.commit_records(2);
    serve(&mut stage, 2, &batch(1, 0, 1, "x"));
    assert_eq!(stage.fired(), ["L15", "L13"], "and nobody sent it");
    // What is served is promised.
    let mut stage = Stage::led();
    stage.commit_records(1);
    serve(&mut stage, 1, &batch(0, 0, 1, "a"));
    let promise = stage.oracle.partitions[0].promise.unwrap();
    assert_eq!((promise.end, promise.how), (1, "given to a consumer"));
}

#[test]
fn l15_fires_when_bytes_are_damaged_or_nobody_sent_them() {
    let served = |records: &Bytes| {
        let mut stage = Stage::led();
        stage.commit_records(1);
        serve(&mut stage, 1, records);
        stage.fired()
    };
    let whole = batch(0, 0, 1, "a");
    assert_eq!(served(&whole), NONE);
    let mut damaged = whole.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(served(&Bytes::from(damaged)), ["L15"]);
    assert!(served(&batch(0, 0, 1, "b")).contains(&"L15"));
}

#[test]
fn l15_lets_a_broker_send_what_rotted_on_its_own_disk_only() {
    let served = |rotten: usize| {
        let mut stage = Stage::led();
        stage.commit_records(1);
        let is_its = |&host: &HostId| stage.oracle.seating.broker_on(host) == Some(rotten);
        let host = (0..).map(HostId).find(is_its).unwrap();
        stage.oracle.disks_rot(&[host]);
        let mut damaged = batch(0, 0, 1, "a").to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        serve(&mut stage, 1, &Bytes::from(damaged));
        (stage.fired(), stage.relaxed("L15"))
    };
    assert_eq!(served(0), (vec![], 1));
    assert_eq!(served(1), (vec!["L15"], 0), "it took the damage from another");
}

/// Found by swarm-cluster, seed 3007: the topic was created, and the server of the broker's session had not heard of it.
#[test]
fn l09_knows_who_read_the_configuration_from_a_server_that_was_behind() {
    use jute::client::{GetDataRequest, ReplyHeader, Request as ZkRequest};
    use jute::op::ErrorCode;
    let run = |is_behind: bool| {
        let mut stage = Stage::with(|cluster| cluster.min_insync = 1).with_orders();
        let read = ZkRequest::GetData(GetDataRequest { path: "/config/topics/orders".to_owned(), watch: false });
        let header = ReplyHeader { xid: Xid::new(5), zxid: None, err: ErrorCode::NoNode };
        if !is_behind {
            stage.oracle.zookeeper_asked(0, header.xid, &read);
            stage.oracle.zookeeper_answered(0, &header, None);
        }
        stage.configure("min.insync.replicas", "2");
        if is_behind {
            stage.oracle.zookeeper_asked(0, header.xid, &read);
            stage.oracle.zookeeper_answered(0, &header, None);
        }
        stage.commit_records(1);
        acknowledge(&mut stage, 0, 1, 3, 1);
        stage
    };
    let mut stage = run(true);
    assert_eq!((stage.fired(), stage.relaxed("L09")), (vec![], 1));
    acknowledge(&mut stage, 1, 1, 3, 1);
    assert_eq!(stage.fired(), ["L09"], "what is not committed is acknowledged by nobody");
    // Another value it cannot have read.
    let mut stage = run(true);
    acknowledge(&mut stage, 0, 1, 3, 3);
    assert_eq!(stage.fired(), ["L09"]);
    assert_eq!(run(false).fired(), ["L09"], "there was nothing to be read yet");
}
