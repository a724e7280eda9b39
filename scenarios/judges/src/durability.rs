//! Judges of what a server's disk must hold: C02, C10, C11. And the shadow of that disk.

use std::sync::Arc;

use bytes::Bytes;
use engine::{FieldValue, Findings};
use jute::quorum::QuorumPacket;
use jute::{PeerEpoch, Zxid};
use machine::HostId;
use machine::disk::PageCache;

use crate::moment::Story;
use crate::oracle::{Look, Oracle, Todo};
use crate::server::{DiskPast, EpochName, Lack, Mode, Role, Sync, epoch_in, epoch_on, renames_are_durable};
use crate::txn_log::{is_log, zxid_of};
use crate::zab::{INHERITED, NO_FORCE_SYNC};
use crate::{Moment, Rule};

/// Why a renamed epoch file need not be durable.
const RENAME_NOT_SYNCED: &str = "the directory is not synced after an epoch file is renamed, so a loss of power may bring the old one back (known hole, zookeeper.md §9.7)";
/// Why a file whose bytes are durable counts, though its name is not.
pub(crate) const NAME_NOT_SYNCED: &str = "the directory is not synced after a log or a snapshot is created or renamed, so a loss of power may take the whole file (known hole, zookeeper.md §9.7)";
/// Why a server may read back another state than there was.
pub(crate) const STEPPED_OVER: &str = "a loss of power took from the midst of a log what was never synced, and recovery does not ask whether zxids follow on each other (known hole, zookeeper.md §9.6)";
/// Why a tail whose sync failed is tolerated.
const SYNC_FAILED: &str = "a write or a sync failed, and the real server goes on in the same process with a log tail that nothing syncs again (known hole, zookeeper.md §3.10)";
/// Why a transaction that was cut is back.
const TRUNCATION_UNDONE: &str =
    "a loss of power brought a transaction back that had been cut from a log (known hole, zookeeper.md §9.5)";

impl Oracle {
    /// A member's process is about to start.
    pub fn booted(&mut self, moment: Moment, member: usize, life: u32, disk: &PageCache, findings: &mut Findings) {
        let server = Arc::make_mut(&mut self.servers[member]);
        server.enter(Role::Looking, moment.at);
        server.life = life;
        for name in EpochName::ALL {
            self.tally.check(Rule::EpochMonotone);
            let found = epoch_on(disk, name);
            let server = Arc::make_mut(&mut self.servers[member]);
            let before = server.epoch_mut(name).value;
            server.epoch_mut(name).beside = None;
            server.epoch_mut(name).value = found.map(|(value, _)| (value, moment));
            let Some((before, then)) = before else { continue };
            if found.is_some_and(|(value, _)| value >= before) {
                continue;
            }
            // What is durable stays: only a loss of power can have taken it, and only because it was not.
            if renames_are_durable(disk) {
                let headline = format!(
                    "{} starts with {} {}, after it had {before}",
                    self.member_name(member),
                    name.name(),
                    found.map_or_else(|| "gone".to_owned(), |(value, _)| value.to_string()),
                );
                let story = Story::new(Rule::EpochMonotone, headline)
                    .promise(then, format!("{} {before} was in place", name.name()))
                    .kind(name.name())
                    .kind("restart")
                    .detected(moment, "it is older now");
                self.broken(Rule::EpochMonotone, story, findings);
            } else {
                self.tally.relax(Rule::EpochMonotone, RENAME_NOT_SYNCED);
                self.tally.note(RENAME_NOT_SYNCED, moment);
            }
        }
    }

    /// A member's process ended, by itself or not.
    pub fn ended(&mut self, moment: Moment, member: usize) {
        self.server_mut(member).enter(Role::Down, moment.at);
    }

    /// A member lost power; `disk` is what is left.
    pub fn lost_power(&mut self, moment: Moment, member: usize, disk: &PageCache) {
        let server = self.server_mut(member);
        server.enter(Role::Down, moment.at);
        server.disk = server.disk.max(DiskPast::LostPower);
        if server.read_back(disk, moment) {
            self.tally.note(TRUNCATION_UNDONE, moment);
        }
    }

    /// An empty file was created.
    pub fn created(&mut self, member: usize, path: &str) {
        if is_log(path) {
            let server = self.server_mut(member);
            server.log.create(path);
            server.distrust_alignment();
        } else if let Some(zxid) = zxid_of(path, "snapshot.") {
            self.snapshot_appeared(member, zxid, path);
        }
    }

    fn snapshot_appeared(&mut self, member: usize, zxid: Zxid, path: &str) {
        let canon = Arc::clone(&self.canon);
        let server = self.server_mut(member);
        // A leader writes what it has before it says that it leads.
        // Who leads without an election, behind a reconfiguration, does so before it says that it left its leader.
        let took_over = server.follows.is_some() && !zxid.is_epoch_start() && zxid > server.memory.last(&canon);
        if took_over || matches!(server.role, Role::Looking | Role::Down) {
            server.memory_from_disk(&canon);
        }
        server.snapshot_appeared(zxid, path);
    }

    /// Bytes were written.
    pub fn wrote(
        &mut self,
        moment: Moment,
        member: usize,
        path: &str,
        offset: u64,
        bytes: &Bytes,
        findings: &mut Findings,
    ) {
        if is_log(path) {
            let server = Arc::make_mut(&mut self.servers[member]);
            let mut entries = Vec::new();
            server
                .log
                .write(path, offset, bytes, server.life, |zxid, digest, entry| entries.push((zxid, digest, entry)));
            for (zxid, digest, entry) in entries {
                self.see(moment, zxid, digest, &entry, findings);
            }
        } else if let Some(name) = EpochName::of(path) {
            // In place, without a file beside it.
            if let Some(epoch) = epoch_in(bytes) {
                self.epoch_written(moment, member, name, epoch, findings);
            }
        } else if let Some(name) = path.strip_suffix(".tmp").and_then(EpochName::of) {
            self.server_mut(member).epoch_mut(name).beside = epoch_in(bytes);
        }
    }

    /// A file was cut or extended.
    pub fn resized(&mut self, member: usize, path: &str, to: u64) {
        if is_log(path) {
            let server = self.server_mut(member);
            server.log.resize(path, to);
            server.distrust_alignment();
        }
    }

    /// A file has another name.
    pub fn renamed(&mut self, moment: Moment, member: usize, from: &str, to: &str, findings: &mut Findings) {
        if let Some(name) = EpochName::of(to) {
            if let Some(epoch) = self.server_mut(member).epoch_mut(name).beside.take() {
                self.epoch_written(moment, member, name, epoch, findings);
            }
            return;
        }
        self.server_mut(member).file_removed(from);
        if let Some(zxid) = zxid_of(to, "snapshot.") {
            self.snapshot_appeared(member, zxid, to);
        }
    }

    /// A file was removed.
    pub fn removed(&mut self, member: usize, path: &str) {
        self.server_mut(member).file_removed(path);
    }

    /// C02, and C11 at the end of the step.
    fn epoch_written(&mut self, moment: Moment, member: usize, name: EpochName, epoch: u32, findings: &mut Findings) {
        self.tally.check(Rule::EpochMonotone);
        let file = self.server_mut(member).epoch_mut(name);
        let before = file.value.replace((epoch, moment));
        if let Some((before, then)) = before
            && epoch < before
        {
            let headline = format!("{} wrote {} {epoch} over {before}", self.member_name(member), name.name());
            let story = Story::new(Rule::EpochMonotone, headline)
                .promise(then, format!("{} {before} was written", name.name()))
                .kind(name.name())
                .kind("decreased")
                .detected(moment, format!("{} {epoch} replaces it", name.name()));
            self.broken(Rule::EpochMonotone, story, findings);
        }
        let server = &self.servers[member];
        // A server that begins with nothing writes a currentEpoch of 0 first.
        let accepted = server.accepted.value.unwrap_or((0, moment));
        if let (Some((current, _)), (accepted, then)) = (server.current.value, accepted)
            && current > accepted
        {
            let headline = format!(
                "{} has currentEpoch {current} and acceptedEpoch {accepted}: it is in step with a leader it never promised to follow",
                self.member_name(member)
            );
            let story = Story::new(Rule::EpochMonotone, headline)
                .other(then, format!("acceptedEpoch {accepted}"))
                .kind("current-above-accepted")
                .detected(moment, format!("{} {epoch} was written", name.name()));
            self.broken(Rule::EpochMonotone, story, findings);
        }
        if name == EpochName::Current {
            self.todo.push(Todo::EpochWritten { member, epoch, moment });
        }
    }

    /// A packet leaves a member for another.
    pub fn quorum_sent(
        &mut self,
        moment: Moment,
        member: usize,
        to: HostId,
        packet: &QuorumPacket,
        findings: &mut Findings,
    ) {
        self.check_said(moment, member, packet, findings);
        match packet {
            QuorumPacket::Proposal { zxid, entry } => {
                self.see(moment, *zxid, crate::canon::digest_of(entry), entry, findings);
            }
            QuorumPacket::Commit { zxid }
            | QuorumPacket::Inform { zxid, .. }
            | QuorumPacket::CommitAndActivate { zxid, .. }
            | QuorumPacket::InformAndActivate { zxid, .. } => {
                // Before a leader is established it brings learners up to date with what it has, committed or not.
                if self.servers[member].leads == Some(zxid.epoch()) {
                    self.committed_by(moment, member, *zxid, findings);
                }
            }
            QuorumPacket::Ack { zxid } if zxid.is_epoch_start() => {
                *self.new_leader_acks.entry(zxid.epoch()).or_insert(0) |= 1 << member;
                // Nobody counts on an observer: it logs what it was sent when it is told that it is up to date (zookeeper.md §3.5).
                if !self.servers[member].observes {
                    self.todo.push(Todo::AckedNewLeader { member, epoch: zxid.epoch(), moment });
                }
            }
            QuorumPacket::Ack { zxid } if self.servers[member].observes => {
                self.check_observer_ack(moment, member, *zxid, findings);
            }
            QuorumPacket::Ack { zxid } => self.todo.push(Todo::Acked { member, zxid: *zxid, moment }),
            QuorumPacket::NewLeader { zxid, config } => self.offered(member, zxid.epoch(), config),
            QuorumPacket::FollowerInfo { .. } => self.server_mut(member).observes = false,
            QuorumPacket::ObserverInfo { .. } => self.server_mut(member).observes = true,
            QuorumPacket::Snap { .. } => {
                let memory = self.servers[member].memory.clone();
                self.in_flight.insert((moment.host, to), memory);
            }
            QuorumPacket::AckEpoch { .. } => {
                let canon = Arc::clone(&self.canon);
                self.server_mut(member).memory_from_disk(&canon);
            }
            QuorumPacket::Request(_)
            | QuorumPacket::Ping { .. }
            | QuorumPacket::PingReply { .. }
            | QuorumPacket::Revalidate(_)
            | QuorumPacket::RevalidateReply { .. }
            | QuorumPacket::Sync
            | QuorumPacket::UpToDate
            | QuorumPacket::Diff { .. }
            | QuorumPacket::Trunc { .. }
            | QuorumPacket::LeaderInfo { .. } => {}
        }
    }

    /// A packet reaches a member.
    pub fn quorum_delivered(
        &mut self,
        moment: Moment,
        member: usize,
        from: HostId,
        packet: &QuorumPacket,
        findings: &mut Findings,
    ) {
        self.check_heard(moment, member, from, packet, findings);
        match packet {
            QuorumPacket::Diff { .. } => self.sync_began(moment, member, from, Mode::Diff, None),
            QuorumPacket::Trunc { zxid } => self.sync_began(moment, member, from, Mode::Trunc, Some(*zxid)),
            QuorumPacket::Snap { zxid } => self.sync_began(moment, member, from, Mode::Snap, Some(*zxid)),
            QuorumPacket::Commit { zxid } | QuorumPacket::CommitAndActivate { zxid, .. } => {
                if let Some(sync) = &self.servers[member].sync
                    && sync.leader == from
                    && sync.new_leader.is_none()
                {
                    self.server_mut(member).sync.as_mut().expect("it is there").required.push(*zxid);
                } else if self.servers[member].follows == Some(from) && *zxid > self.last_on_one_follower {
                    self.last_on_one_follower = *zxid;
                    let (name, zxid) = (self.member_name(member).to_owned(), zxid.value());
                    let fields = || vec![("follower", FieldValue::Text(name)), ("zxid", FieldValue::Hex(zxid))];
                    self.arise("committed-on-one-follower", fields, findings);
                }
            }
            QuorumPacket::NewLeader { zxid, .. } => {
                if let Some(sync) = &mut self.server_mut(member).sync
                    && sync.leader == from
                {
                    sync.new_leader = Some((zxid.epoch(), moment));
                }
            }
            QuorumPacket::UpToDate => self.up_to_date(moment, member, from, findings),
            QuorumPacket::PingReply { touches, .. } if self.servers[member].leads.is_some() => {
                for touch in touches {
                    let (session, timeout_ms) = (touch.session, touch.timeout_ms);
                    self.todo.push(Todo::Touched { member, session, timeout_ms, moment });
                }
            }
            QuorumPacket::Revalidate(touch) if self.servers[member].leads.is_some() => {
                let (session, timeout_ms) = (touch.session, touch.timeout_ms);
                self.todo.push(Todo::Touched { member, session, timeout_ms, moment });
            }
            QuorumPacket::PingReply { .. }
            | QuorumPacket::Revalidate(_)
            | QuorumPacket::Request(_)
            | QuorumPacket::Proposal { .. }
            | QuorumPacket::Ack { .. }
            | QuorumPacket::Ping { .. }
            | QuorumPacket::RevalidateReply { .. }
            | QuorumPacket::Sync
            | QuorumPacket::Inform { .. }
            | QuorumPacket::FollowerInfo { .. }
            | QuorumPacket::ObserverInfo { .. }
            | QuorumPacket::LeaderInfo { .. }
            | QuorumPacket::AckEpoch { .. }
            | QuorumPacket::InformAndActivate { .. } => {}
        }
    }

    fn sync_began(&mut self, moment: Moment, member: usize, leader: HostId, mode: Mode, zxid: Option<Zxid>) {
        let canon = Arc::clone(&self.canon);
        let sent = match mode {
            Mode::Snap => self.in_flight.remove(&(leader, moment.host)),
            Mode::Diff | Mode::Trunc => None,
        };
        let misread = self.servers.iter().find(|server| server.host == leader).and_then(|server| server.misread);
        let server = self.server_mut(member);
        let kept = match mode {
            Mode::Diff => server.log.last_zxid(),
            Mode::Trunc => server.log.last_zxid().min(zxid.unwrap_or(Zxid::ZERO)),
            Mode::Snap => Zxid::ZERO,
        };
        match (mode, zxid) {
            (Mode::Snap, _) => {
                server.memory = sent.unwrap_or_default();
                server.misread = misread;
            }
            (Mode::Trunc, Some(zxid)) => server.memory.cut(zxid, &canon),
            (Mode::Trunc, None) | (Mode::Diff, _) => {}
        }
        // A snapshot vouches for all that its leader had; an empty one for nothing.
        let required = match (mode, zxid) {
            (Mode::Snap, Some(zxid)) if zxid > Zxid::ZERO => vec![zxid],
            (Mode::Snap, _) | (Mode::Diff | Mode::Trunc, _) => Vec::new(),
        };
        server.sync = Some(Sync { leader, mode, began: moment, required, kept, new_leader: None });
    }

    /// C10 of a proposal.
    pub(crate) fn check_ack(
        &mut self,
        member: usize,
        zxid: Zxid,
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::AckImpliesDurable);
        let server = Arc::make_mut(&mut self.servers[member]);
        let lack = server.lacks(zxid, look.disk(server.host));
        let name = self.member_name(member).to_owned();
        match self.judge_lack(Rule::AckImpliesDurable, lack, moment) {
            None => self.note_quorum_of_acks(member, zxid, findings),
            Some(lack) => {
                let headline = format!("{name} acknowledged {zxid} ({}) {}", self.describe(zxid), told(lack, zxid));
                let story = Story::new(Rule::AckImpliesDurable, headline)
                    .kind("follower")
                    .kind(lack_kind(lack))
                    .detected(moment, "the ACK leaves for the leader");
                self.broken(Rule::AckImpliesDurable, story, findings);
            }
        }
    }

    /// C10 and C11 of NEWLEADER: the leader's history first, then its epoch, then the ACK.
    pub(crate) fn check_new_leader_ack(
        &mut self,
        member: usize,
        epoch: PeerEpoch,
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::AckImpliesDurable);
        let lack = self.lack_of_sync(member, look);
        let name = self.member_name(member).to_owned();
        if let Some(lack) = self.judge_lack(Rule::AckImpliesDurable, lack, moment) {
            let headline = format!("{name} acknowledged NEWLEADER of epoch {epoch} {}", told(lack, Zxid::ZERO));
            let story = Story::new(Rule::AckImpliesDurable, headline).kind("learner").kind(lack_kind(lack));
            let story = self.tell_sync(member, story).detected(moment, "the ACK leaves for the leader");
            self.broken(Rule::AckImpliesDurable, story, findings);
        }
        self.tally.check(Rule::EpochAfterSync);
        let current = self.servers[member].current.value;
        if current.is_none_or(|(current, _)| current != epoch.value()) {
            let has = current.map_or_else(|| "none".to_owned(), |(current, _)| current.to_string());
            let headline = format!("{name} acknowledged NEWLEADER of epoch {epoch} with currentEpoch {has}");
            let story = Story::new(Rule::EpochAfterSync, headline)
                .kind("learner")
                .kind("ack-before-epoch")
                .detected(moment, "the ACK leaves for the leader");
            self.broken(Rule::EpochAfterSync, story, findings);
        } else {
            let disk = look.disk(self.servers[member].host);
            if epoch_on(disk, EpochName::Current).is_none_or(|(_, is_durable)| !is_durable) {
                self.tally.relax(Rule::EpochAfterSync, RENAME_NOT_SYNCED);
                self.tally.note(RENAME_NOT_SYNCED, moment);
            }
        }
    }

    /// C11: when `currentEpoch` is written, the history of that epoch's leader is durable.
    pub(crate) fn check_epoch_written(
        &mut self,
        member: usize,
        epoch: u32,
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        let server = &self.servers[member];
        let (is_learner, is_leader) = match server.role {
            Role::Following => (server.sync.is_some(), false),
            Role::Leading => (false, true),
            // Nobody counts on what an observer has.
            Role::Down | Role::Looking | Role::Observing | Role::Standalone => (false, false),
        };
        if !is_learner && !is_leader {
            return;
        }
        self.tally.check(Rule::EpochAfterSync);
        let is_complete = is_leader
            || server.sync.as_ref().is_some_and(|sync| sync.new_leader.is_some_and(|(it, _)| it.value() == epoch));
        let lack = if is_leader {
            let server = Arc::make_mut(&mut self.servers[member]);
            let last = server.log.last_zxid();
            if last == Zxid::ZERO { None } else { server.lacks_of_old(last, look.disk(server.host)) }
        } else {
            self.lack_of_sync(member, look)
        };
        let name = self.member_name(member).to_owned();
        let role = if is_leader { "leader" } else { "learner" };
        if !is_complete {
            let headline = format!("{name} wrote currentEpoch {epoch} before its leader had sent all of its history");
            let story = Story::new(Rule::EpochAfterSync, headline).kind(role).kind("before-newleader");
            let story = self.tell_sync(member, story).detected(moment, format!("currentEpoch {epoch} is written"));
            self.broken(Rule::EpochAfterSync, story, findings);
            return;
        }
        if let Some(lack) = self.judge_lack(Rule::EpochAfterSync, lack, moment) {
            let headline = format!("{name} wrote currentEpoch {epoch} {}", told(lack, Zxid::ZERO));
            let story = Story::new(Rule::EpochAfterSync, headline).kind(role).kind(lack_kind(lack));
            let story = self.tell_sync(member, story).detected(
                moment,
                format!("currentEpoch {epoch} is written: after a crash now it would lead with less than it claims"),
            );
            self.broken(Rule::EpochAfterSync, story, findings);
        }
    }

    /// What a learner was sent as committed, and has not durable.
    fn lack_of_sync(&mut self, member: usize, look: &impl Look) -> Option<Lack> {
        let server = Arc::make_mut(&mut self.servers[member]);
        let sync = server.sync.clone()?;
        let disk = look.disk(server.host);
        let of_sent = server.lacks_any(&sync.required, disk);
        if of_sent.is_some() || sync.kept == Zxid::ZERO || sync.mode == Mode::Snap {
            return of_sent;
        }
        server.lacks_of_old(sync.kept.min(server.last_on_disk()), disk)
    }

    /// What configuration and known holes excuse is counted, and not told.
    fn judge_lack(&mut self, rule: Rule, lack: Option<Lack>, moment: Moment) -> Option<Lack> {
        match lack? {
            Lack::Inherited(_) => {
                self.tally.relax(rule, INHERITED);
                self.tally.note(INHERITED, moment);
                None
            }
            Lack::Abandoned(_) => {
                self.tally.relax(rule, SYNC_FAILED);
                self.tally.note(SYNC_FAILED, moment);
                None
            }
            Lack::Unnamed(_) => {
                self.tally.relax(rule, NAME_NOT_SYNCED);
                self.tally.note(NAME_NOT_SYNCED, moment);
                None
            }
            Lack::Cached(_) if !self.roster.ensemble.force_sync => {
                self.tally.relax(rule, NO_FORCE_SYNC);
                None
            }
            lack @ (Lack::Missing(_) | Lack::Cached(_)) => Some(lack),
        }
    }

    fn tell_sync(&self, member: usize, story: Story) -> Story {
        let Some(sync) = &self.servers[member].sync else { return story };
        let leader = self.name(sync.leader).to_owned();
        let sent = sync.required.len();
        let story = story.other(sync.began, format!("{} of {leader} began its synchronisation", sync.mode.name()));
        match sync.new_leader {
            Some((epoch, moment)) => {
                story.promise(moment, format!("NEWLEADER of epoch {epoch}, behind {sent} committed transactions"))
            }
            None => story,
        }
    }

    /// A22: enough have acknowledged, and nobody has committed yet.
    fn note_quorum_of_acks(&mut self, member: usize, zxid: Zxid, findings: &mut Findings) {
        if zxid <= self.last_acked_by_quorum || zxid <= self.canon.last_zxid() {
            return;
        }
        // Each was asked when it acknowledged, the leader when its sync came back.
        let confirmed = self.servers.iter().enumerate().filter(|(_, server)| server.log.is_confirmed(zxid));
        let holders = confirmed.fold(0, |mask, (at, _)| mask | 1 << at);
        if self.needs().are_met_by(holders) {
            self.last_acked_by_quorum = zxid;
            let name = self.member_name(member).to_owned();
            let fields = || vec![("follower", FieldValue::Text(name)), ("zxid", FieldValue::Hex(zxid.value()))];
            self.arise("quorum-acked-not-committed", fields, findings);
        }
    }

    /// A sync completed on a member's disk. A21: a leader has logged what nobody else has.
    pub(crate) fn on_synced(&mut self, member: usize, _moment: Moment, look: &impl Look, findings: &mut Findings) {
        let server = Arc::make_mut(&mut self.servers[member]);
        let zxid = server.log.last_zxid();
        if server.leads != Some(zxid.epoch()) || zxid <= self.canon.last_zxid() {
            return;
        }
        if server.lacks(zxid, look.disk(server.host)).is_some() || zxid <= self.last_alone {
            return;
        }
        let is_alone = (0..self.servers.len()).all(|at| at == member || self.servers[at].log.last_zxid() < zxid);
        if is_alone {
            self.last_alone = zxid;
            let name = self.member_name(member).to_owned();
            let fields = || vec![("leader", FieldValue::Text(name)), ("zxid", FieldValue::Hex(zxid.value()))];
            self.arise("leader-ahead-of-followers", fields, findings);
        }
    }

    /// A sync failed on a member's disk, or a write to its log.
    pub fn log_failed(&mut self, member: usize) {
        self.server_mut(member).log.sync_failed();
    }

    /// A sync completed on a member's disk.
    pub fn synced(&mut self, moment: Moment, member: usize) {
        if self.servers[member].leads.is_some() {
            self.todo.push(Todo::Synced { member, moment });
        }
    }
}

fn told(lack: Lack, acked: Zxid) -> String {
    match lack {
        Lack::Missing(zxid) => format!("without {zxid} in its log or in a snapshot that is durable"),
        Lack::Cached(zxid) | Lack::Inherited(zxid) | Lack::Abandoned(zxid) | Lack::Unnamed(zxid) if zxid == acked => {
            "which is in its page cache only: a loss of power now loses it".to_owned()
        }
        Lack::Cached(zxid) | Lack::Inherited(zxid) | Lack::Abandoned(zxid) | Lack::Unnamed(zxid) => {
            format!("while {zxid} is in its page cache only: a loss of power now loses it")
        }
    }
}

const fn lack_kind(lack: Lack) -> &'static str {
    match lack {
        Lack::Missing(_) => "not-written",
        Lack::Cached(_) | Lack::Inherited(_) | Lack::Abandoned(_) | Lack::Unnamed(_) => "not-synced",
    }
}
