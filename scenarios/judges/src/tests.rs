//! Hand-written histories: for each rule one in which it fires, and the nearest in which it does not.

mod broadcast;
mod budget;
mod clients;
mod durability;
mod sessions;
mod settling;

use bytes::Bytes;
use engine::{Findings, Violation};
use jute::client::{ClientFrame, ConnectRequest, ConnectResponse, ReplyHeader, Request, Response, ServerFrame};
use jute::op::ErrorCode;
use jute::quorum::QuorumPacket;
use jute::txn::{CreateSessionTxn, CreateTxn, SetDataTxn, Txn, TxnEntry, TxnHeader};
use jute::{Buffer, PeerEpoch, SessionId, Sid, Version, Xid, Zxid};
use machine::disk::{CrashModel, Disk, Metadata, PageCache, SyncTarget};
use machine::{EndId, HostId, Instant, Purpose, RunKey, Ticket};

use crate::canon::digest_of;
use crate::server::Role;
use crate::txn_log::MAGIC;
use crate::txn_log::tests::framed;
use crate::{Client, Ensemble, Look, Moment, Oracle, TreeLook, Voter};

const SESSION: SessionId = SessionId::new(0xa);
const OTHER: SessionId = SessionId::new(0xb);
/// Each client's end, and the server's end of it.
const END: EndId = EndId(1);

fn zxid(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(PeerEpoch::new(epoch), counter)
}

fn entry_of(zxid: Zxid, session: SessionId, cxid: i32, txn: Txn) -> Bytes {
    let header = TxnHeader { session, cxid: Xid::new(cxid), zxid, time_ms: 0 };
    TxnEntry { header, txn, digest: None }.encode()
}

fn create_session(zxid: Zxid, session: SessionId) -> Bytes {
    entry_of(zxid, session, 0, Txn::CreateSession(CreateSessionTxn { timeout_ms: 4_000 }))
}

fn create(zxid: Zxid, session: SessionId, cxid: i32, path: &str, ephemeral: bool) -> Bytes {
    let txn =
        CreateTxn { path: path.to_owned(), data: Buffer::NULL, acl: Vec::new(), ephemeral, parent_cversion: None };
    entry_of(zxid, session, cxid, Txn::Create2(txn))
}

fn set_data(zxid: Zxid, session: SessionId, cxid: i32, path: &str, version: i32) -> Bytes {
    let txn = SetDataTxn { path: path.to_owned(), data: Buffer::NULL, version: Version::new(version) };
    entry_of(zxid, session, cxid, Txn::SetData(txn))
}

/// Three voters on hosts 0 to 2, two clients on hosts 3 and 4, disks that are real, and clocks that are right.
struct Stage {
    oracle: Oracle,
    findings: Findings,
    disks: Vec<PageCache>,
    logs: [Option<String>; 3],
    event: u64,
    tickets: u64,
    /// What a server has read back.
    tree: Option<TreeLook>,
    /// What a server has kept of a session that is over.
    ephemeral: Option<String>,
}

impl Look for Stage {
    fn tree(&self, _: HostId) -> Option<TreeLook> {
        self.tree.clone()
    }

    fn ephemeral_of(&self, _: HostId, _: SessionId) -> Option<String> {
        self.ephemeral.clone()
    }

    fn disk(&self, host: HostId) -> &PageCache {
        &self.disks[host.0 as usize]
    }

    fn local(&self, _: HostId, at: Instant) -> Instant {
        at
    }
}

impl Stage {
    fn new() -> Self {
        Self::with(true, Metadata::Synchronous)
    }

    fn with(force_sync: bool, metadata: Metadata) -> Self {
        let voter =
            |at: u8| Voter { host: HostId(u32::from(at)), sid: Sid::new(at + 1), name: format!("zk{}", at + 1) };
        let client = |at: u32| Client { host: HostId(at + 3), name: format!("c{}", at + 1), probes: true };
        let ensemble = Ensemble {
            voters: (0..3).map(voter).collect(),
            clients: (0..2).map(client).collect(),
            force_sync,
            initial_counter: None,
            situations: crate::SITUATIONS.iter().map(|(kind, _)| (*kind).to_owned()).collect(),
        };
        let disks = (0..5).map(|_| PageCache::new(metadata)).collect();
        let (oracle, findings) = (Oracle::new(ensemble), Findings::new());
        let (tree, ephemeral) = (None, None);
        let mut stage =
            Self { oracle, findings, disks, logs: [None, None, None], event: 0, tickets: 0, tree, ephemeral };
        for voter in 0..3 {
            stage.boot(voter, 1);
        }
        stage
    }

    /// An ensemble that zk1 leads in epoch 1, with a session and a znode `/a`.
    fn led() -> Self {
        Self::new().under_way()
    }

    fn under_way(mut self) -> Self {
        self.lead(0, 1);
        self.commit(&create_session(zxid(1, 1), SESSION));
        self.commit(&create(zxid(1, 2), SESSION, 0, "/a", false));
        assert_eq!(self.fired(), Vec::<&str>::new());
        self
    }

    /// A moment a millisecond after the last.
    fn moment(&mut self, host: usize) -> Moment {
        self.event += 1;
        let host = HostId(u32::try_from(host).unwrap());
        Moment { event: self.event, at: Instant::from_nanos(self.event * 1_000_000), host }
    }

    fn wait_ms(&mut self, ms: u64) {
        self.event += ms;
    }

    /// The step is over.
    fn settle(&mut self) {
        let mut oracle = self.oracle.clone();
        let mut findings = std::mem::take(&mut self.findings);
        oracle.settle(self, &mut findings);
        self.oracle = oracle;
        self.findings = findings;
    }

    /// The ids of what has fired.
    fn fired(&self) -> Vec<&'static str> {
        self.findings.violations().iter().map(|violation| violation.invariant).collect()
    }

    fn only(&self) -> &Violation {
        let [violation] = self.findings.violations() else { panic!("{:#?}", self.findings.violations()) };
        violation
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.findings.situations().iter().map(|situation| situation.kind).collect()
    }

    fn relaxed(&self, id: &str) -> u64 {
        let checks = self.oracle.checks();
        let check = checks.iter().find(|check| check.id == id).unwrap();
        check.relaxed.iter().map(|(_, times)| times).sum()
    }

    fn boot(&mut self, voter: usize, life: u32) {
        let moment = self.moment(voter);
        self.logs[voter] = None;
        self.oracle.booted(moment, voter, life, &self.disks[voter], &mut self.findings);
        self.oracle.role_entered(moment, voter, Role::Looking);
    }

    fn kill(&mut self, voter: usize, life: u32) {
        let moment = self.moment(voter);
        self.oracle.ended(moment, voter);
        self.boot(voter, life);
    }

    fn lose_power(&mut self, voter: usize, life: u32) {
        let moment = self.moment(voter);
        let mut draw = RunKey([1, 2]).draw(Purpose::new("test/power"), 0, self.event);
        self.disks[voter].lose_power(CrashModel::AllUnsyncedLost, &mut draw);
        self.oracle.lost_power(moment, voter, &self.disks[voter]);
        self.boot(voter, life);
    }

    fn create_file(&mut self, voter: usize, path: &str) {
        self.disks[voter].create(path).unwrap();
        self.oracle.created(voter, path);
    }

    fn write(&mut self, voter: usize, path: &str, bytes: &[u8]) {
        let moment = self.moment(voter);
        let file = self.disks[voter].open(path).unwrap();
        let offset = self.disks[voter].append(file, bytes).unwrap();
        let bytes = Bytes::copy_from_slice(bytes);
        self.oracle.wrote(moment, voter, path, offset, &bytes, &mut self.findings);
    }

    fn sync_file(&mut self, voter: usize, path: &str) {
        self.tickets += 1;
        let file = self.disks[voter].open(path).unwrap();
        self.disks[voter].begin_sync(SyncTarget::File(file), Ticket(self.tickets));
        assert!(self.disks[voter].harden(Ticket(self.tickets)));
        let moment = self.moment(voter);
        self.oracle.synced(moment, voter);
        self.settle();
    }

    /// Into the page cache of a voter.
    fn log(&mut self, voter: usize, entry: &[u8]) {
        let path = match self.logs[voter].clone() {
            Some(path) => path,
            None => {
                let zxid = TxnEntry::decode_header(entry).unwrap().zxid;
                let path = format!("v/log.{zxid:x}");
                self.create_file(voter, &path);
                self.write(voter, &path, &[MAGIC, &[0; 12]].concat());
                self.logs[voter].insert(path).clone()
            }
        };
        self.write(voter, &path, &framed(entry));
    }

    fn sync(&mut self, voter: usize) {
        let path = self.logs[voter].clone().unwrap();
        self.sync_file(voter, &path);
    }

    fn log_and_sync(&mut self, voter: usize, entry: &[u8]) {
        self.log(voter, entry);
        self.sync(voter);
    }

    fn write_epoch(&mut self, voter: usize, name: &str, epoch: u32) {
        let (path, beside) = (format!("v/{name}"), format!("v/{name}.tmp"));
        self.create_file(voter, &beside);
        self.write(voter, &beside, epoch.to_string().as_bytes());
        self.sync_file(voter, &beside);
        self.disks[voter].rename(&beside, &path).unwrap();
        let moment = self.moment(voter);
        self.oracle.renamed(moment, voter, &beside, &path, &mut self.findings);
        self.settle();
    }

    fn send(&mut self, from: usize, to: usize, packet: &QuorumPacket) {
        let moment = self.moment(from);
        let to = HostId(u32::try_from(to).unwrap());
        self.oracle.quorum_sent(moment, from, to, packet, &mut self.findings);
        self.settle();
    }

    fn deliver(&mut self, from: usize, to: usize, packet: &QuorumPacket) {
        let moment = self.moment(to);
        let from = HostId(u32::try_from(from).unwrap());
        self.oracle.quorum_delivered(moment, to, from, packet, &mut self.findings);
        self.settle();
    }

    fn pass(&mut self, from: usize, to: usize, packet: &QuorumPacket) {
        self.send(from, to, packet);
        self.deliver(from, to, packet);
    }

    /// A learner follows and promises an epoch.
    fn promise(&mut self, voter: usize, leader: usize, epoch: u32) {
        let moment = self.moment(voter);
        self.oracle.role_entered(moment, voter, Role::Following);
        self.write_epoch(voter, "acceptedEpoch", epoch);
        self.pass(voter, leader, &QuorumPacket::AckEpoch { last_logged: None, current_epoch: None });
    }

    fn new_leader(&mut self, leader: usize, voter: usize, epoch: u32) {
        let packet = QuorumPacket::NewLeader { zxid: zxid(epoch, 0), config: Bytes::new() };
        self.pass(leader, voter, &packet);
    }

    /// A learner that has all is synchronised with its leader, up to its acknowledgement.
    fn join(&mut self, voter: usize, leader: usize, epoch: u32) {
        self.promise(voter, leader, epoch);
        self.pass(leader, voter, &QuorumPacket::Diff { zxid: Zxid::ZERO });
        self.new_leader(leader, voter, epoch);
        self.write_epoch(voter, "currentEpoch", epoch);
        self.pass(voter, leader, &QuorumPacket::Ack { zxid: zxid(epoch, 0) });
    }

    fn begin_to_lead(&mut self, leader: usize, epoch: u32) {
        let moment = self.moment(leader);
        self.oracle.role_entered(moment, leader, Role::Leading);
        self.write_epoch(leader, "acceptedEpoch", epoch);
        self.write_epoch(leader, "currentEpoch", epoch);
    }

    fn establish(&mut self, leader: usize, epoch: u32) {
        let moment = self.moment(leader);
        self.oracle.established(moment, leader, PeerEpoch::new(epoch), &mut self.findings);
        self.settle();
    }

    /// A voter leads, and all others follow it.
    fn lead(&mut self, leader: usize, epoch: u32) {
        let others: Vec<usize> = [0, 1, 2].into_iter().filter(|&it| it != leader).collect();
        self.lead_some(leader, &others, epoch);
    }

    /// A voter leads, and these follow it.
    fn lead_some(&mut self, leader: usize, followers: &[usize], epoch: u32) {
        self.begin_to_lead(leader, epoch);
        for &voter in followers {
            self.join(voter, leader, epoch);
        }
        self.establish(leader, epoch);
        for &voter in followers {
            self.pass(leader, voter, &QuorumPacket::UpToDate);
        }
    }

    fn propose(&mut self, leader: usize, voter: usize, entry: &Bytes) {
        let zxid = TxnEntry::decode_header(entry).unwrap().zxid;
        self.pass(leader, voter, &QuorumPacket::Proposal { zxid, entry: entry.clone() });
    }

    fn say_committed(&mut self, leader: usize, zxid: Zxid) {
        let moment = self.moment(leader);
        self.oracle.committed_by(moment, leader, zxid, &mut self.findings);
        self.settle();
    }

    fn apply(&mut self, voter: usize, zxid: Zxid) {
        let moment = self.moment(voter);
        let digest = digest_of(&zxid.value().to_be_bytes());
        self.oracle.applied(moment, voter, zxid, digest, &mut self.findings);
        self.settle();
    }

    /// zk1 proposes, all log, acknowledge and apply.
    fn commit(&mut self, entry: &Bytes) {
        let zxid = TxnEntry::decode_header(entry).unwrap().zxid;
        self.log_and_sync(0, entry);
        for voter in 1..3 {
            self.propose(0, voter, entry);
            self.log_and_sync(voter, entry);
            self.pass(voter, 0, &QuorumPacket::Ack { zxid });
        }
        self.say_committed(0, zxid);
        for voter in 0..3 {
            self.apply(voter, zxid);
        }
    }

    /// A client connects, anew or with a session.
    fn connect(&mut self, client: usize, end: EndId, session: SessionId) {
        let moment = self.moment(client + 3);
        let connect = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 4_000,
            session,
            password: Buffer::NULL,
            read_only: None,
        };
        self.oracle.client_sent(moment, client, end, &ClientFrame::Connect(connect));
        let answer = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 4_000,
            session: if session.is_zero() { SESSION } else { session },
            password: Buffer::NULL,
            read_only: None,
        };
        self.oracle.server_answered(0, end, &ServerFrame::Connect(answer.clone()));
        self.tell(client, end, &ServerFrame::Connect(answer));
    }

    fn ask(&mut self, client: usize, end: EndId, xid: i32, request: Request) {
        let moment = self.moment(client + 3);
        let frame = ClientFrame::Request { xid: Xid::new(xid), request };
        self.oracle.client_sent(moment, client, end, &frame);
        self.oracle.server_heard(moment, 0, end, &frame);
        self.settle();
    }

    fn tell(&mut self, client: usize, end: EndId, frame: &ServerFrame) {
        let moment = self.moment(client + 3);
        self.oracle.client_told(moment, client, end, frame, &mut self.findings);
        self.settle();
    }

    fn reply(&mut self, client: usize, end: EndId, xid: i32, zxid: Zxid, response: Option<Response>) {
        let header = ReplyHeader { xid: Xid::new(xid), zxid: Some(zxid), err: ErrorCode::Ok };
        self.tell(client, end, &ServerFrame::Reply { header, response });
    }
}
