//! Hand-written histories: for each rule one in which it fires, and the nearest in which it does not.

mod clients;
mod control;
mod crashes;
mod replication;
mod serving;
mod settling;

use std::sync::Arc;

use bytes::Bytes;
use engine::{Findings, Violation};
use jute::txn::{CloseSessionTxn, CreateTxn, DeleteTxn, SetDataTxn, Txn, TxnEntry, TxnHeader};
use jute::{Buffer, PeerEpoch, SessionId, Version, Xid, Zxid};
use kafkawire::znode::{self, ControllerClaim, PartitionState, TopicAssignment, TopicConfig};
use kafkawire::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, Topic, TopicPartition};
use machine::disk::{CrashModel, Disk, Metadata, PageCache, SyncTarget};
use machine::{HostId, Instant, Purpose, RunKey, Ticket};

use super::replica_log::tests::batch;
use super::{Cluster, DiskLook, Ended, KafkaBroker, KafkaClientKind, KafkaClientSeat, KafkaOracle};
use crate::Moment;

/// The hosts of the clients: a producer, a consumer, two members of a balanced group.
const PRODUCER: usize = 3;
const CONSUMER: usize = 4;
const MEMBERS: [usize; 2] = [5, 6];
/// The one segment of the one partition.
const LOG: &str = "kafka-logs/orders-0/00000000000000000000.log";

fn session(number: i64) -> SessionId {
    SessionId::new(number)
}

/// The first session of a broker.
fn session_of(broker: usize) -> SessionId {
    session(0x100 + i64::try_from(broker).unwrap())
}

fn id(broker: usize) -> BrokerId {
    BrokerId(i32::try_from(broker).unwrap() + 1)
}

fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn state(controller: i32, leader: Option<usize>, epoch: i32, isr: &[usize]) -> PartitionState {
    PartitionState {
        controller_epoch: ControllerEpoch(controller),
        leader: leader.map(id),
        leader_epoch: LeaderEpoch(epoch),
        isr: isr.iter().copied().map(id).collect(),
    }
}

fn create(path: &str, data: Bytes, ephemeral: bool) -> Txn {
    Txn::Create2(CreateTxn {
        path: path.to_owned(),
        data: Buffer::new(data),
        acl: Vec::new(),
        ephemeral,
        parent_cversion: None,
    })
}

fn set(path: &str, data: Bytes, version: i32) -> Txn {
    Txn::SetData(SetDataTxn { path: path.to_owned(), data: Buffer::new(data), version: Version::new(version) })
}

fn delete(path: &str) -> Txn {
    Txn::Delete(DeleteTxn { path: path.to_owned() })
}

/// Three brokers on hosts 0 to 2 with real disks, clients beside them, and a ZooKeeper that commits what it is told to.
struct Stage {
    oracle: KafkaOracle,
    findings: Findings,
    disks: Vec<PageCache>,
    event: u64,
    zxid: u32,
    lives: [u32; 3],
    /// The version of the partition's state.
    version: i32,
    tickets: u64,
}

impl DiskLook for Vec<PageCache> {
    fn disk(&self, host: HostId) -> &PageCache {
        &self[host.0 as usize]
    }
}

impl Stage {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// Three brokers that run and are registered; b1 is controller.
    fn with(change: impl FnOnce(&mut Cluster)) -> Self {
        let host = |host: usize| HostId(u32::try_from(host).unwrap());
        let broker = |at: usize| KafkaBroker { host: host(at), id: id(at), name: format!("b{}", at + 1) };
        let seat = |at: usize, kind| KafkaClientSeat {
            host: host(at),
            number: u16::try_from(at).unwrap(),
            name: format!("c{}", at - 2),
            kind,
            probes: false,
        };
        let mut cluster = Cluster {
            brokers: (0..3).map(broker).collect(),
            clients: vec![
                seat(PRODUCER, KafkaClientKind::Producer),
                seat(CONSUMER, KafkaClientKind::Consumer),
                seat(MEMBERS[0], KafkaClientKind::ZkConsumer),
                seat(MEMBERS[1], KafkaClientKind::ZkConsumer),
            ],
            min_insync: 2,
            unclean_election: false,
            flush_each: false,
            situations: super::KAFKA_SITUATIONS.iter().map(|(kind, _)| (*kind).to_owned()).collect(),
        };
        change(&mut cluster);
        let disks = (0..7).map(|_| PageCache::new(Metadata::Synchronous)).collect();
        let mut stage = Self {
            oracle: KafkaOracle::new(cluster),
            findings: Findings::new(),
            disks,
            event: 0,
            zxid: 0,
            lives: [0; 3],
            version: 0,
            tickets: 0,
        };
        stage.commit(session(1), &[create(znode::CONTROLLER_EPOCH, Bytes::from_static(b"0"), false)]);
        for broker in 0..3 {
            stage.boot(broker);
            stage.register(broker, session_of(broker));
        }
        stage.claim(0, session_of(0), 1);
        for client in 3..7 {
            stage.oracle.client_started(client - 3);
        }
        stage
    }

    /// As [`Stage::new`], with `orders-0` on all brokers, led by b1 in epoch 0.
    fn led() -> Self {
        Self::new().with_orders()
    }

    fn with_orders(mut self) -> Self {
        let mut assignment = TopicAssignment::default();
        assignment.partitions.insert(0, (0..3).map(id).collect());
        self.commit(session_of(0), &[create("/brokers/topics/orders", assignment.encode(), false)]);
        let path = znode::partition_state(&orders());
        self.commit(session_of(0), &[create(&path, state(1, Some(0), 0, &[0, 1, 2]).encode(), false)]);
        for broker in 0..3 {
            self.create_log(broker);
        }
        self.lead(0, 0);
        self
    }

    fn moment(&mut self, host: usize) -> Moment {
        self.event += 1;
        let host = HostId(u32::try_from(host).unwrap());
        Moment { event: self.event, at: Instant::from_nanos(self.event * 1_000_000), host }
    }

    fn fired(&self) -> Vec<&'static str> {
        self.findings.violations().iter().map(|violation| violation.invariant).collect()
    }

    fn only(&self) -> &Violation {
        let [violation] = self.findings.violations() else { panic!("{:#?}", self.findings.violations()) };
        violation
    }

    fn relaxed(&self, id: &str) -> u64 {
        let checks = self.oracle.checks();
        let check = checks.iter().find(|check| check.id == id).unwrap();
        check.relaxed.iter().map(|(_, times)| times).sum()
    }

    fn checked(&self, id: &str) -> u64 {
        self.oracle.checks().iter().find(|check| check.id == id).unwrap().times
    }

    fn arose(&self, kind: &str) -> bool {
        self.findings.situations().iter().any(|situation| situation.kind == kind)
    }

    fn settle(&mut self) {
        self.oracle.settle(&self.disks);
    }

    // ZooKeeper.

    fn commit(&mut self, author: SessionId, parts: &[Txn]) -> Zxid {
        self.zxid += 1;
        let zxid = Zxid::new(PeerEpoch::new(1), self.zxid);
        let txn = if let [txn] = parts { txn.clone() } else { Txn::Multi(parts.to_vec()) };
        let header = TxnHeader { session: author, cxid: Xid::new(1), zxid, time_ms: 0 };
        let entry = TxnEntry { header, txn, digest: None }.encode();
        let moment = self.moment(99);
        self.oracle.committed_in_zookeeper(moment, &entry, &mut self.findings);
        zxid
    }

    fn close_session(&mut self, of: SessionId) {
        self.commit(of, &[Txn::CloseSession(Some(CloseSessionTxn { paths: Vec::new() }))]);
    }

    fn claim(&mut self, broker: usize, by: SessionId, epoch: i32) {
        let claim = ControllerClaim { broker: id(broker), timestamp_ms: 0 };
        let raised = znode::encode_controller_epoch(ControllerEpoch(epoch));
        let parts = [create(znode::CONTROLLER, claim.encode(), true), set(znode::CONTROLLER_EPOCH, raised, epoch)];
        self.commit(by, &parts);
        self.oracle.controls(broker, Some(ControllerEpoch(epoch)));
    }

    /// A broker connects with a session and registers.
    fn register(&mut self, broker: usize, by: SessionId) -> BrokerEpoch {
        let host = HostId(u32::try_from(broker).unwrap());
        self.oracle.session_connected(host, by);
        let zxid = self.commit(by, &[create(&znode::broker_id(id(broker)), Bytes::new(), true)]);
        let epoch = BrokerEpoch(zxid.value().cast_signed());
        let moment = self.moment(broker);
        self.oracle.registered(moment, broker, epoch, by, &mut self.findings);
        epoch
    }

    /// A broker that was away registers with a session of its new life.
    fn come_back(&mut self, broker: usize) {
        self.close_session(session_of(broker));
        self.register(broker, session(0x200 + i64::try_from(broker).unwrap()));
    }

    /// The partition's state is written.
    fn write_state(&mut self, author: SessionId, state: &PartitionState) {
        self.version += 1;
        self.commit(author, &[set(&znode::partition_state(&orders()), state.encode(), self.version)]);
    }

    /// The first controller writes the state.
    fn elect(&mut self, leader: Option<usize>, epoch: i32, isr: &[usize]) {
        self.write_state(session_of(0), &state(1, leader, epoch, isr));
    }

    fn configure(&mut self, key: &str, value: &str) {
        let config = TopicConfig { config: [(key.to_owned(), value.to_owned())].into() };
        self.commit(session(1), &[create(&znode::topic_config(&Topic::from("orders")), config.encode(), false)]);
    }

    // Brokers.

    fn boot(&mut self, broker: usize) {
        self.lives[broker] += 1;
        let moment = self.moment(broker);
        self.oracle.booted(moment, broker, self.lives[broker], &self.disks[broker]);
    }

    fn kill(&mut self, broker: usize) {
        let moment = self.moment(broker);
        self.oracle.ended(moment, broker, Ended::Process);
    }

    fn lose_power(&mut self, broker: usize) {
        let moment = self.moment(broker);
        let mut draw = RunKey([1, 2]).draw(Purpose::new("test/power"), 0, self.event);
        self.disks[broker].lose_power(CrashModel::AllUnsyncedLost, &mut draw);
        self.oracle.ended(moment, broker, Ended::PowerLost(&self.disks[broker]));
    }

    fn replace_disk(&mut self, broker: usize) {
        let moment = self.moment(broker);
        self.disks[broker] = PageCache::new(Metadata::Synchronous);
        self.oracle.ended(moment, broker, Ended::DiskReplaced(&self.disks[broker]));
    }

    /// A broker fetches the partition from a leader, who has its request at once.
    fn fetch(&mut self, broker: usize, leader: usize) {
        let request = self.send_fetch(broker, leader);
        self.oracle.request_delivered(leader, machine::EndId(9), 1, &request);
    }

    fn send_fetch(&mut self, broker: usize, leader: usize) -> kafkawire::Request {
        use kafkawire::messages::FetchRequest;
        use kafkawire::messages::fetch_request::{FetchPartition, FetchTopic};
        let partition = FetchPartition::default().with_partition(0);
        let topic = FetchTopic::default().with_topic(Topic::from("orders").wire()).with_partitions(vec![partition]);
        let request = FetchRequest::default().with_replica_id(id(broker).wire()).with_topics(vec![topic]);
        let request = kafkawire::Request::Fetch(Arc::new(request));
        let moment = self.moment(broker);
        self.oracle.fetch_sent(moment, broker, machine::EndId(8), leader, 1, &request);
        request
    }

    fn load_log(&mut self, broker: usize, log_end: i64) {
        let moment = self.moment(broker);
        self.oracle.log_loaded(moment, broker, "orders", 0, log_end, &mut self.findings);
    }

    fn create_log(&mut self, broker: usize) {
        self.disks[broker].create(LOG).unwrap();
        let moment = self.moment(broker);
        self.oracle.created(moment, broker, LOG, &mut self.findings);
    }

    fn sync_log(&mut self, broker: usize) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let target = SyncTarget::File(self.disks[broker].find(LOG).unwrap());
        self.disks[broker].begin_sync(target, ticket);
        self.oracle.sync_asked(broker, ticket, target);
        assert!(self.disks[broker].harden(ticket));
        self.oracle.synced(broker, ticket, true);
        self.settle();
    }

    /// A leader or follower writes a batch; it states so.
    fn append(&mut self, broker: usize, leads: bool, base: i64, epoch: i32, tag: &str) {
        self.append_records(broker, leads, base, epoch, 1, tag);
    }

    /// A batch of so many records.
    fn append_records(&mut self, broker: usize, leads: bool, base: i64, epoch: i32, records: usize, tag: &str) {
        let bytes = batch(base, epoch, records, tag);
        let file = self.disks[broker].open(LOG).unwrap();
        let offset = self.disks[broker].append(file, &bytes).unwrap();
        let moment = self.moment(broker);
        self.oracle.wrote(moment, broker, LOG, offset, &bytes, &mut self.findings);
        let checksum = kafkawire::BatchHeader::parse(&bytes).unwrap().crc;
        if leads {
            self.produce(broker, &bytes);
        }
        let epoch = LeaderEpoch(epoch);
        self.oracle.appended(moment, broker, "orders", 0, leads, base, epoch, checksum, &mut self.findings);
    }

    /// A producer's batch comes to a broker.
    fn produce(&mut self, broker: usize, bytes: &Bytes) {
        use kafkawire::messages::ProduceRequest;
        use kafkawire::messages::produce_request::{PartitionProduceData, TopicProduceData};
        let data = PartitionProduceData::default().with_index(0).with_records(Some(bytes.clone()));
        let topic = TopicProduceData::default().with_name(Topic::from("orders").wire()).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(1).with_topic_data(vec![topic]);
        let request = kafkawire::Request::Produce(Arc::new(request));
        self.oracle.request_delivered(broker, machine::EndId(9), 1, &request);
    }

    fn truncate(&mut self, broker: usize, to: i64) {
        let bytes = to.unsigned_abs() * batch(0, 0, 1, "a").len() as u64;
        let file = self.disks[broker].open(LOG).unwrap();
        self.disks[broker].set_len(file, bytes).unwrap();
        let moment = self.moment(broker);
        self.oracle.resized(moment, broker, LOG, bytes, &mut self.findings);
    }

    fn high_watermark(&mut self, broker: usize, leads: bool, epoch: i32, offset: i64) {
        let (moment, epoch) = (self.moment(broker), LeaderEpoch(epoch));
        self.oracle.high_watermark(moment, broker, "orders", 0, leads, epoch, offset, &mut self.findings);
    }

    /// A broker leads, and all others follow it.
    fn lead(&mut self, leader: usize, epoch: i32) {
        for broker in 0..3 {
            let (moment, epoch) = (self.moment(broker), LeaderEpoch(epoch));
            if broker == leader {
                self.oracle.became_leader(moment, broker, "orders", 0, epoch, &mut self.findings);
            } else {
                self.oracle.became_follower(moment, broker, "orders", 0, epoch, &mut self.findings);
            }
        }
    }

    /// The first `count` records: b1 appends them, all have them, and b1 commits them.
    fn commit_records(&mut self, count: i64) {
        for base in 0..count {
            self.append(0, true, base, 0, "a");
            self.append(1, false, base, 0, "a");
            self.append(2, false, base, 0, "a");
        }
        self.high_watermark(0, true, 0, count);
        assert_eq!(self.fired(), Vec::<&str>::new());
    }

    /// A producer was promised everything below an offset.
    fn promise(&mut self, end: i64) {
        let moment = self.moment(0);
        let last = end - 1;
        self.oracle.acknowledged(moment, 0, "orders", 0, last, end, 3, 2, &mut self.findings);
        self.answer_produce(0, last);
    }

    fn answer_produce(&mut self, broker: usize, base: i64) {
        use kafkawire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
        use kafkawire::messages::{ProduceRequest, ProduceResponse};
        use kafkawire::{Request, Response};
        let end = machine::EndId(7);
        let request = Request::Produce(Arc::new(ProduceRequest::default().with_acks(-1)));
        self.oracle.request_delivered(broker, end, 1, &request);
        let answer = PartitionProduceResponse::default().with_index(0).with_base_offset(base);
        let topic = TopicProduceResponse::default()
            .with_name(Topic::from("orders").wire())
            .with_partition_responses(vec![answer]);
        let response = Response::Produce(Arc::new(ProduceResponse::default().with_responses(vec![topic])));
        let moment = self.moment(broker);
        self.oracle.response_sent(moment, broker, end, 1, &response, &mut self.findings);
    }
}
