//! Hand-written histories: for each rule one in which it fires, and the nearest in which it does not.

mod broadcast;
mod budget;
mod clients;
mod durability;
mod membership;
mod protocol;
mod recipes;
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
use crate::{Client, Configuration, Ensemble, Look, Member, Moment, Oracle, TreeLook};

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

/// Three voters on hosts 0 to 2, or as many servers as wanted, two clients behind them, disks that are real, and clocks that are right.
struct Stage {
    oracle: Oracle,
    findings: Findings,
    disks: Vec<PageCache>,
    logs: Vec<Option<String>>,
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
        Self::of(3, Configuration::majority(0..3, []), force_sync, metadata)
    }

    /// So many servers, of which some count.
    fn of(servers: u8, configuration: Configuration, force_sync: bool, metadata: Metadata) -> Self {
        let member =
            |at: u8| Member { host: HostId(u32::from(at)), sid: Sid::new(at + 1), name: format!("zk{}", at + 1) };
        let client =
            |at: u32| Client { host: HostId(u32::from(servers) + at), name: format!("c{}", at + 1), probes: true };
        let ensemble = Ensemble {
            members: (0..servers).map(member).collect(),
            configuration,
            clients: (0..2).map(client).collect(),
            force_sync,
            local_sessions: false,
            initial_counter: None,
            situations: crate::SITUATIONS.iter().map(|(kind, _)| (*kind).to_owned()).collect(),
        };
        let disks = (0..servers + 2).map(|_| PageCache::new(metadata)).collect();
        let (oracle, findings) = (Oracle::new(ensemble), Findings::new());
        let (tree, ephemeral) = (None, None);
        let mut stage = Self {
            oracle,
            findings,
            disks,
            logs: vec![None; usize::from(servers)],
            event: 0,
            tickets: 0,
            tree,
            ephemeral,
        };
        for member in 0..usize::from(servers) {
            stage.boot(member, 1);
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

    fn boot(&mut self, member: usize, life: u32) {
        let moment = self.moment(member);
        self.logs[member] = None;
        self.oracle.booted(moment, member, life, &self.disks[member], &mut self.findings);
        self.oracle.role_entered(moment, member, Role::Looking);
    }

    fn kill(&mut self, member: usize, life: u32) {
        let moment = self.moment(member);
        self.oracle.ended(moment, member);
        self.boot(member, life);
    }

    fn lose_power(&mut self, member: usize, life: u32) {
        let moment = self.moment(member);
        let mut draw = RunKey([1, 2]).draw(Purpose::new("test/power"), 0, self.event);
        self.disks[member].lose_power(CrashModel::AllUnsyncedLost, &mut draw);
        self.oracle.lost_power(moment, member, &self.disks[member]);
        self.boot(member, life);
    }

    fn create_file(&mut self, member: usize, path: &str) {
        self.disks[member].create(path).unwrap();
        self.oracle.created(member, path);
    }

    fn write(&mut self, member: usize, path: &str, bytes: &[u8]) {
        let moment = self.moment(member);
        let file = self.disks[member].open(path).unwrap();
        let offset = self.disks[member].append(file, bytes).unwrap();
        let bytes = Bytes::copy_from_slice(bytes);
        self.oracle.wrote(moment, member, path, offset, &bytes, &mut self.findings);
    }

    fn sync_file(&mut self, member: usize, path: &str) {
        self.tickets += 1;
        let file = self.disks[member].open(path).unwrap();
        self.disks[member].begin_sync(SyncTarget::File(file), Ticket(self.tickets));
        assert!(self.disks[member].harden(Ticket(self.tickets)));
        let moment = self.moment(member);
        self.oracle.synced(moment, member);
        self.settle();
    }

    /// Into the page cache of a member.
    fn log(&mut self, member: usize, entry: &[u8]) {
        let path = match self.logs[member].clone() {
            Some(path) => path,
            None => {
                let zxid = TxnEntry::decode_header(entry).unwrap().zxid;
                let path = format!("v/log.{zxid:x}");
                self.create_file(member, &path);
                self.write(member, &path, &[MAGIC, &[0; 12]].concat());
                self.logs[member].insert(path).clone()
            }
        };
        self.write(member, &path, &framed(entry));
    }

    fn sync(&mut self, member: usize) {
        let path = self.logs[member].clone().unwrap();
        self.sync_file(member, &path);
    }

    fn log_and_sync(&mut self, member: usize, entry: &[u8]) {
        self.log(member, entry);
        self.sync(member);
    }

    fn write_epoch(&mut self, member: usize, name: &str, epoch: u32) {
        let (path, beside) = (format!("v/{name}"), format!("v/{name}.tmp"));
        self.create_file(member, &beside);
        self.write(member, &beside, epoch.to_string().as_bytes());
        self.sync_file(member, &beside);
        self.disks[member].rename(&beside, &path).unwrap();
        let moment = self.moment(member);
        self.oracle.renamed(moment, member, &beside, &path, &mut self.findings);
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
    fn promise(&mut self, member: usize, leader: usize, epoch: u32) {
        let moment = self.moment(member);
        self.oracle.role_entered(moment, member, Role::Following);
        self.write_epoch(member, "acceptedEpoch", epoch);
        self.pass(member, leader, &QuorumPacket::AckEpoch { last_logged: None, current_epoch: None });
    }

    fn new_leader(&mut self, leader: usize, member: usize, epoch: u32) {
        let packet = QuorumPacket::NewLeader { zxid: zxid(epoch, 0), config: Bytes::new() };
        self.pass(leader, member, &packet);
    }

    /// A learner that has all is synchronised with its leader, up to its acknowledgement.
    fn join(&mut self, member: usize, leader: usize, epoch: u32) {
        self.promise(member, leader, epoch);
        self.pass(leader, member, &QuorumPacket::Diff { zxid: Zxid::ZERO });
        self.new_leader(leader, member, epoch);
        self.write_epoch(member, "currentEpoch", epoch);
        self.pass(member, leader, &QuorumPacket::Ack { zxid: zxid(epoch, 0) });
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

    /// A member leads, and all others follow it.
    fn lead(&mut self, leader: usize, epoch: u32) {
        let others: Vec<usize> = [0, 1, 2].into_iter().filter(|&it| it != leader).collect();
        self.lead_some(leader, &others, epoch);
    }

    /// A member leads, and these follow it.
    fn lead_some(&mut self, leader: usize, followers: &[usize], epoch: u32) {
        self.begin_to_lead(leader, epoch);
        for &member in followers {
            self.join(member, leader, epoch);
        }
        self.establish(leader, epoch);
        for &member in followers {
            self.pass(leader, member, &QuorumPacket::UpToDate);
        }
    }

    fn propose(&mut self, leader: usize, member: usize, entry: &Bytes) {
        let zxid = TxnEntry::decode_header(entry).unwrap().zxid;
        self.pass(leader, member, &QuorumPacket::Proposal { zxid, entry: entry.clone() });
    }

    fn say_committed(&mut self, leader: usize, zxid: Zxid) {
        let moment = self.moment(leader);
        self.oracle.committed_by(moment, leader, zxid, &mut self.findings);
        self.settle();
    }

    fn apply(&mut self, member: usize, zxid: Zxid) {
        let moment = self.moment(member);
        let digest = digest_of(&zxid.value().to_be_bytes());
        self.oracle.applied(moment, member, zxid, digest, &mut self.findings);
        self.settle();
    }

    /// zk1 proposes, all log, acknowledge and apply.
    fn commit(&mut self, entry: &Bytes) {
        let zxid = TxnEntry::decode_header(entry).unwrap().zxid;
        self.log_and_sync(0, entry);
        for member in 1..3 {
            self.propose(0, member, entry);
            self.log_and_sync(member, entry);
            self.pass(member, 0, &QuorumPacket::Ack { zxid });
        }
        self.say_committed(0, zxid);
        for member in 0..3 {
            self.apply(member, zxid);
        }
    }

    /// A client connects, anew or with a session.
    fn connect(&mut self, client: usize, end: EndId, session: SessionId) {
        let moment = self.moment(self.logs.len() + client);
        let connect = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 4_000,
            session,
            password: Buffer::NULL,
            read_only: None,
        };
        self.oracle.client_sent(moment, client, HostId(0), end, &ClientFrame::Connect(connect));
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
        let moment = self.moment(self.logs.len() + client);
        let frame = ClientFrame::Request { xid: Xid::new(xid), request };
        self.oracle.client_sent(moment, client, HostId(0), end, &frame);
        self.oracle.server_heard(moment, 0, end, &frame);
        self.settle();
    }

    fn tell(&mut self, client: usize, end: EndId, frame: &ServerFrame) {
        let moment = self.moment(self.logs.len() + client);
        self.oracle.client_heard_of_server(moment, client, frame);
        self.oracle.client_told(moment, client, end, frame, &mut self.findings);
        self.settle();
    }

    fn reply(&mut self, client: usize, end: EndId, xid: i32, zxid: Zxid, response: Option<Response>) {
        let header = ReplyHeader { xid: Xid::new(xid), zxid: Some(zxid), err: ErrorCode::Ok };
        self.tell(client, end, &ServerFrame::Reply { header, response });
    }
}
