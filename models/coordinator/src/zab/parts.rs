//! What the main loop works with, lent for one step.

use bytes::Bytes;
use jute::txn::Txn;
use jute::{ElectionRound, PeerEpoch, SessionId, Sid, Zxid};
use machine::disk::{DiskError, FileId};
use machine::{Io, Ticket};

use super::peer_epochs::PeerEpochs;
use crate::config::ServerConfig;
use crate::database::Database;
use crate::defect::Defect;
use crate::election::{Candidate, Election, Vote};
use crate::membership::{Activated, Membership};
use crate::quorum_verifier::{Member, QuorumVerifier};
use crate::server::{Committing, Proposal, Server, Serving, Stores};
use crate::store::{
    Durability, LogError, RefuseToStart, SnapshotImage, SnapshotWriter, TruncateError, TxnLog, disk_proposals,
    fast_forward, recover, serialize_snapshot, snapshot_files, truncate,
};
use crate::{Coordinator, CoordinatorMark, Fact};

/// Ends the stream behind SNAP.
const SIGNATURE: &str = "BenWasHere";
/// `SNAPSHOT_ERROR`: a snapshot cannot be written.
const EXIT_SNAPSHOT: i32 = 10;

/// The other parts of the server.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a ServerConfig,
    pub(crate) db: &'a mut Database,
    pub(crate) log: &'a mut TxnLog,
    pub(crate) epochs: &'a mut PeerEpochs,
    pub(crate) server: &'a mut Server,
    pub(crate) membership: &'a mut Membership,
    /// None of a standalone server.
    pub(crate) election: Option<&'a mut Election>,
}

impl Parts<'_> {
    /// The highest epoch this server promised. ZOOKEEPER-335: nothing but the log tells of epochs.
    pub(super) fn accepted_epoch(&self) -> PeerEpoch {
        let recorded = !self.config.defects.has(Defect::NoEpochFiles);
        if recorded { self.epochs.accepted() } else { self.db.last_processed().epoch() }
    }

    /// The epoch of the last leader it was in step with. ZOOKEEPER-335: as [`Parts::accepted_epoch`].
    pub(super) fn current_epoch(&self) -> PeerEpoch {
        let recorded = !self.config.defects.has(Defect::NoEpochFiles);
        if recorded { self.epochs.current() } else { self.db.last_processed().epoch() }
    }

    /// Writes the tree out at once; a synced snapshot must still be synced and published.
    ///
    /// # Errors
    /// The status that the process exits with.
    pub(super) fn take_snapshot(
        &mut self,
        durability: Durability,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<SnapshotWriter, i32> {
        let mut writer = SnapshotWriter::begin(self.db, self.config, durability);
        writer.write_all(self.db, io.disk()).map_err(|_| EXIT_SNAPSHOT)?;
        io.state(Fact::SnapshotWritten { zxid: writer.zxid(), fuzzy: false });
        Ok(writer)
    }

    /// The tree as the stream behind SNAP, with its signature.
    pub(super) fn serialise_snapshot(&self) -> Bytes {
        let snapshot = serialize_snapshot(self.db, self.config);
        let signature = jute::to_bytes(&SIGNATURE.to_owned());
        Bytes::from([&snapshot[..], &signature[..]].concat())
    }

    /// Takes the tree over that came behind SNAP; what was there is forgotten. False if it cannot be read.
    pub(super) fn load_snapshot(&mut self, zxid: Zxid, stream: &[u8]) -> bool {
        let signature = jute::to_bytes(&SIGNATURE.to_owned());
        let Some(snapshot) = stream.strip_suffix(&signature[..]) else { return false };
        let image = SnapshotImage::parse(snapshot);
        let Ok(db) = image.and_then(|image| image.into_database(zxid, self.config.commit_log_count)) else {
            return false;
        };
        *self.db = db.with_defects(&self.config.defects);
        true
    }

    pub(super) fn has_snapshot(&self, io: &mut Io<'_, Coordinator>) -> bool {
        !snapshot_files(io.disk(), &self.config.data_dir).is_empty()
    }

    /// Puts the ensemble's configuration into `/zookeeper/config`.
    pub(super) fn publish_config(&mut self, io: &Io<'_, Coordinator>) {
        let quorum = self.membership.current();
        let text = Bytes::from(quorum.text(self.config));
        self.db.set_config(text, quorum.version(), io.wall_clock().0);
    }

    /// A configuration was heard of (`setLastSeenQuorumVerifier`).
    pub(super) fn set_last_seen(&mut self, seen: QuorumVerifier, io: &mut Io<'_, Coordinator>) {
        if self.membership.set_last_seen(seen, self.config, io) {
            self.spread_membership();
        }
    }

    /// A configuration is in force (`processReconfig`). `designated` is who leads from the txn with that zxid on, if somebody
    /// says. True if this server must leave what it does: it is something else now, or its leader is somebody else.
    ///
    /// Simplified: a client port that changes is not listened on before the next start.
    pub(super) fn process_reconfig(
        &mut self,
        new: QuorumVerifier,
        designated: Option<(Sid, Zxid)>,
        io: &mut Io<'_, Coordinator>,
    ) -> bool {
        if !self.config.reconfig_enabled {
            return false;
        }
        let version = new.version();
        let activated = self.membership.activate(new, self.config, io);
        self.publish_config(io);
        let Some(Activated { previous, role_changed }) = activated else { return false };
        io.state(Fact::ConfigActivated { version });
        let Some(previous) = previous else {
            self.spread_membership();
            return false;
        };
        self.server.set_quorums(self.membership.quorums());
        let election = self.election.as_mut().expect("who reconfigures is in an ensemble");
        election.restart(self.membership, io);
        let vote = election.current_vote().expect("nothing is reconfigured before the start");
        let leader_changed = match designated {
            Some((leader, zxid)) if vote.candidate.leader != Some(leader) => {
                let candidate = Candidate { peer_epoch: None, zxid: Some(zxid), leader: Some(leader) };
                election.set_current_vote(Vote { candidate, round: ElectionRound::ZERO });
                self.membership.set_reconfig_flag();
                true
            }
            Some(_) => false,
            None => {
                self.membership.clear_reconfig_flag();
                let address = |of: &QuorumVerifier| {
                    let leader = vote.candidate.leader.filter(|leader| of.is_voter(*leader))?;
                    of.members().get(&leader).map(Member::quorum_address)
                };
                let before = address(&previous);
                before.is_none() || before != address(self.membership.current())
            }
        };
        role_changed || leader_changed
    }

    /// Whoever goes by a configuration is told of the change.
    fn spread_membership(&mut self) {
        self.server.set_quorums(self.membership.quorums());
        if let Some(election) = self.election.as_mut() {
            election.set_membership(self.membership);
        }
    }

    /// The configuration in a reconfiguration's txn; none of any other txn.
    pub(super) fn config_in(&self, proposal: &Proposal) -> Option<QuorumVerifier> {
        let Txn::Reconfig(set) = &proposal.entry.txn else { return None };
        self.read_config(set.data.as_slice())
    }

    /// A configuration as text; none if it cannot be understood.
    pub(super) fn read_config(&self, text: &[u8]) -> Option<QuorumVerifier> {
        QuorumVerifier::parse(str::from_utf8(text).ok()?, self.config).ok()
    }

    /// The txns of the log files from the one that may hold `peer`; none if that is switched off, impossible or too dear.
    pub(super) fn log_files_from(&self, peer: Zxid, io: &mut Io<'_, Coordinator>) -> Option<Vec<(Zxid, Bytes)>> {
        let mut reader = disk_proposals(io.disk(), self.config, peer)?;
        let mut txns = Vec::new();
        loop {
            match reader.next(io.disk()) {
                Ok(Some(entry)) => txns.push((entry.zxid, entry.bytes)),
                Ok(None) => return Some(txns),
                Err(_) => return None,
            }
        }
    }

    /// Cuts the log after `zxid` and reads the tree back. Returns the file that was cut, and whether files were removed.
    pub(super) fn truncate(
        &mut self,
        zxid: Zxid,
        io: &mut Io<'_, Coordinator>,
    ) -> Result<(Option<FileId>, bool), TruncateError> {
        // ZOOKEEPER-1489: the stream stayed as it was.
        let stream = if self.config.defects.has(Defect::TruncKeepsStream) {
            self.log.write_out(io.disk())?;
            Some(self.log.clone())
        } else {
            None
        };
        self.log.close(io.disk())?;
        let truncation = truncate(io.disk(), self.config, zxid)?;
        if let Some(stream) = stream.filter(|stream| truncation.cut.is_some() && stream.is_at(truncation.cut)) {
            *self.log = stream;
        }
        *self.db = truncation.recovered.database.with_defects(&self.config.defects);
        Ok((truncation.cut, truncation.files_removed > 0))
    }

    /// What was appended and could not be written is given up.
    pub(super) fn forget_unwritten(&mut self) {
        if self.log.has_unwritten() {
            *self.log = TxnLog::new(self.config);
        }
    }

    /// Brings the tree up to the log, uncommitted tail included (ZOOKEEPER-2845).
    pub(super) fn fast_forward(&mut self, io: &mut Io<'_, Coordinator>) -> Result<(), LogError> {
        fast_forward(io.disk(), self.config, self.db).map(|_| ())
    }

    /// Throws the tree away and reads it back.
    pub(super) fn reload(&mut self, io: &mut Io<'_, Coordinator>) -> Result<(), RefuseToStart> {
        // What was appended and not written was never acknowledged, and is not wanted any more.
        *self.log = TxnLog::new(self.config);
        let recovered = recover(io.disk(), self.config)?;
        if recovered.torn_tails > 0 {
            io.reach(CoordinatorMark::TornTail);
        }
        *self.db = recovered.database.with_defects(&self.config.defects);
        io.state(Fact::Recovered { zxid: self.db.last_processed(), epoch: self.epochs.current() });
        Ok(())
    }

    /// Writes what was appended to the log and begins its syncs.
    pub(super) fn flush_log(&mut self, io: &mut Io<'_, Coordinator>) -> Result<Vec<Ticket>, DiskError> {
        self.log.flush(io)
    }

    pub(super) fn open_server(&mut self, serving: Serving, io: &mut Io<'_, Coordinator>) {
        self.server.open(serving, &Stores { db: self.db, log: self.log }, io);
    }

    pub(super) fn close_server(&mut self, io: &mut Io<'_, Coordinator>) {
        self.server.close(&Stores { db: self.db, log: self.log }, io);
    }

    /// What was served without a leader ends: there is one, or the process does.
    pub(super) fn close_read_only_server(&mut self, io: &mut Io<'_, Coordinator>) {
        if self.server.is_read_only() {
            self.server.close_read_only(&Stores { db: self.db, log: self.log }, io);
        }
    }

    pub(super) fn commit(&mut self, zxid: Zxid, io: &mut Io<'_, Coordinator>) -> Committing {
        self.server.commit(zxid, io)
    }

    pub(super) fn revalidated(&mut self, session: SessionId, is_valid: bool, io: &mut Io<'_, Coordinator>) {
        self.server.revalidated(session, is_valid, &mut Stores { db: self.db, log: self.log }, io);
    }
}
