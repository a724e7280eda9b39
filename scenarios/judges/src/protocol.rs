//! What servers may say to each other: C06, C07, C12, C15 and C38.

use std::collections::VecDeque;

use engine::Findings;
use jute::Zxid;
use jute::quorum::QuorumPacket;
use machine::HostId;

use crate::moment::Story;
use crate::oracle::Oracle;
use crate::server::{DiskPast, Role};
use crate::{Moment, Rule};

/// What a learner was proposed by its leader, and not told to commit yet: in the order in which both must come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proposed {
    leader: Option<HostId>,
    waiting: VecDeque<(Zxid, Moment)>,
}

impl Oracle {
    /// C06 and C07: a leader proposes in its own epoch alone, and leaves no counter out.
    pub fn proposed(&mut self, moment: Moment, member: usize, zxid: Zxid, findings: &mut Findings) {
        self.tally.check(Rule::Integrity);
        self.tally.check(Rule::LocalPrimaryOrder);
        let name = self.member_name(member).to_owned();
        let server = &self.servers[member];
        let (role, last) = (server.role, server.last_proposed);
        let current = server.current.value.map_or(0, |(epoch, _)| epoch);
        if role != Role::Leading || zxid.epoch().value() != current {
            let headline = format!(
                "{name}, which is {} in epoch {current}, proposes {zxid}: it does not lead that epoch",
                role.name()
            );
            let story = Story::new(Rule::Integrity, headline).kind("proposal-of-another-epoch");
            self.broken(Rule::Integrity, story.detected(moment, "it states so"), findings);
        }
        let first = self.roster.ensemble.initial_counter.unwrap_or(0).saturating_add(1);
        let before = last.filter(|(last, _)| last.epoch() == zxid.epoch());
        let expected = before.map_or(Zxid::new(zxid.epoch(), first), |(last, _)| last.next());
        if expected != zxid {
            let headline = format!("{name} proposes {zxid}, where {expected} had to come");
            let story = Story::new(Rule::LocalPrimaryOrder, headline).kind("proposals-out-of-order");
            let story = match before {
                Some((last, then)) => story.promise(then, format!("{name} proposed {last}")),
                None => story,
            };
            self.broken(Rule::LocalPrimaryOrder, story.detected(moment, "it states so"), findings);
        }
        self.server_mut(member).last_proposed = Some((zxid, moment));
    }

    /// C15 and C38, of what a learner says.
    pub(crate) fn check_said(&mut self, moment: Moment, member: usize, packet: &QuorumPacket, findings: &mut Findings) {
        if let QuorumPacket::AckEpoch { last_logged: Some(zxid), .. } = packet
            && !zxid.is_epoch_start()
        {
            self.tally.check(Rule::MemoryOnDisk);
            let server = &self.servers[member];
            let last = server.last_on_disk();
            // What failed to be written is in memory, and the real server goes on with that (zookeeper.md §3.10).
            if *zxid > last && server.disk != DiskPast::Failed {
                let name = self.member_name(member);
                let headline = format!("{name} tells its leader that it has {zxid}, and its disk has {last} at most");
                let story = Story::new(Rule::MemoryOnDisk, headline).kind("memory-ahead-of-disk");
                self.broken(Rule::MemoryOnDisk, story.detected(moment, "it sends ACKEPOCH"), findings);
            }
        }
        if let QuorumPacket::Ack { zxid } = packet {
            self.tally.check(Rule::Promise);
            let promised = self.servers[member].accepted.value;
            if let Some((epoch, then)) = promised.filter(|&(epoch, _)| epoch > zxid.epoch().value()) {
                let name = self.member_name(member).to_owned();
                let headline =
                    format!("{name} acknowledges {zxid}, and has promised to follow no leader before epoch {epoch}");
                let story = Story::new(Rule::Promise, headline)
                    .promise(then, format!("{name} wrote acceptedEpoch {epoch}"))
                    .kind("ack-of-older-epoch")
                    .detected(moment, "it sends ACK");
                self.broken(Rule::Promise, story, findings);
            }
        }
    }

    /// C12: a learner is told to commit what it was proposed, in that order.
    pub(crate) fn check_heard(
        &mut self,
        moment: Moment,
        member: usize,
        from: HostId,
        packet: &QuorumPacket,
        findings: &mut Findings,
    ) {
        if let QuorumPacket::Diff { .. } | QuorumPacket::Trunc { .. } | QuorumPacket::Snap { .. } = packet {
            self.server_mut(member).proposed = Proposed { leader: Some(from), waiting: VecDeque::new() };
        }
        if let QuorumPacket::Proposal { zxid, .. } = packet {
            let proposed = &mut self.server_mut(member).proposed;
            // While it synchronises, a learner may be sent a proposal twice (zookeeper.md §12.6).
            let is_new = proposed.waiting.back().is_none_or(|(last, _)| last < zxid);
            if proposed.leader == Some(from) && is_new {
                proposed.waiting.push_back((*zxid, moment));
            }
        }
        let (QuorumPacket::Commit { zxid } | QuorumPacket::CommitAndActivate { zxid, .. }) = packet else { return };
        self.tally.check(Rule::LegalMessage);
        let proposed = &mut self.server_mut(member).proposed;
        let is_of_another = proposed.leader != Some(from);
        let next = proposed.waiting.pop_front();
        if is_of_another || next.is_some_and(|(next, _)| next == *zxid) {
            return;
        }
        let (leader, name) = (self.name(from), self.member_name(member));
        let expected = next.map_or_else(|| "nothing".to_owned(), |(next, _)| next.to_string());
        let headline = format!("{leader} has {name} commit {zxid}, where {expected} is the next that it proposed");
        let story = Story::new(Rule::LegalMessage, headline);
        let story = match next {
            Some((next, then)) => story.promise(then, format!("{name} was proposed {next}")),
            None => story,
        };
        let kind = if next.is_some() { "commit-out-of-order" } else { "commit-of-nothing" };
        self.broken(Rule::LegalMessage, story.kind(kind).detected(moment, "COMMIT arrives"), findings);
    }
}
