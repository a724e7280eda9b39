//! Judges of the broadcast: C01, C03, C04, C08, C09, C13, C14.

use std::sync::Arc;

use engine::{FieldValue, Findings};
use jute::{PeerEpoch, Zxid};

use crate::canon::Content;
use crate::configuration::Needs;
use crate::durability::NAME_NOT_SYNCED;
use crate::moment::Story;
use crate::oracle::{Look, Oracle, Todo};
use crate::server::{Alignment, Lack, Memory, Mode, Role, Server};
use crate::{Excuse, Moment, Rule};

impl Oracle {
    /// A member enters a role.
    pub fn role_entered(&mut self, moment: Moment, member: usize, role: Role) {
        let epoch = self.canon.epoch();
        let server = self.server_mut(member);
        server.enter(role, moment.at);
        match role {
            Role::Standalone => server.leads = Some(epoch),
            // It loads its database anew: whatever is in its log is in its tree.
            Role::Leading => {
                let canon = Arc::clone(&self.canon);
                self.server_mut(member).memory_from_disk(&canon);
            }
            Role::Down | Role::Looking | Role::Following | Role::Observing => {}
        }
    }

    /// The bytes of a transaction are seen, in a proposal or a log: they must be those seen before (ZK-I02).
    pub(crate) fn see(
        &mut self,
        moment: Moment,
        zxid: Zxid,
        digest: u64,
        entry: &bytes::Bytes,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::PrefixAgreement);
        if let Content::Differs(first) = Arc::make_mut(&mut self.canon).see(zxid, digest, entry, moment) {
            let headline = format!(
                "zxid {zxid} names two transactions: {} and {}",
                self.describe(zxid),
                crate::describe::describe(entry)
            );
            let story = Story::new(Rule::PrefixAgreement, headline)
                .first_wrong(first, format!("{} had it first", self.name(first.host)))
                .kind("one-zxid-two-transactions")
                .detected(moment, format!("{} has other bytes", self.name(moment.host)));
            self.broken(Rule::PrefixAgreement, story, findings);
        }
    }

    /// A quorum acknowledged NEWLEADER: a leader begins to broadcast.
    pub fn established(&mut self, moment: Moment, member: usize, epoch: PeerEpoch, findings: &mut Findings) {
        self.tally.check(Rule::OneLeaderPerEpoch);
        match self.leaders.get(&epoch).copied() {
            Some(first) if first.host != moment.host => {
                let headline = format!(
                    "{} and {} are both established as the leader of epoch {epoch}",
                    self.name(first.host),
                    self.name(moment.host)
                );
                let story = Story::new(Rule::OneLeaderPerEpoch, headline)
                    .first_wrong(first, format!("{} was established", self.name(first.host)))
                    .kind("two-established")
                    .detected(moment, format!("{} is established too", self.name(moment.host)));
                self.broken(Rule::OneLeaderPerEpoch, story, findings);
            }
            Some(_) => {}
            None => {
                self.leaders.insert(epoch, moment);
            }
        }
        self.note_other_leaders(member, epoch, findings);
        let offered = self.offer_of(epoch);
        let (contains, needs) = if self.canon.epoch() > epoch {
            // What is in force by now is no business of its own.
            let needs = offered.as_ref().map_or_else(|| self.needs(), Needs::new);
            (self.follow_late(moment, member, epoch, findings), needs)
        } else {
            let mut needs = self.take_over(moment, member, epoch, findings);
            offered.iter().for_each(|offered| needs.and(offered));
            self.configured(moment, member, epoch);
            (self.canon.len(), needs)
        };
        let server = self.server_mut(member);
        server.leads = Some(epoch);
        server.memory = Memory { contains, beyond: Vec::new() };
        self.check_may_lead((member, epoch), &needs, moment, findings);
        self.todo.push(Todo::Established { member, epoch, needs, moment });
    }

    /// A standalone server has read its disk back: what it has is the history.
    pub fn recovered(&mut self, moment: Moment, member: usize, epoch: PeerEpoch, findings: &mut Findings) {
        if self.roster.is_standalone() {
            self.take_over(moment, member, epoch, findings);
            let contains = self.canon.len();
            let server = self.server_mut(member);
            server.leads = Some(epoch);
            server.memory = Memory { contains, beyond: Vec::new() };
        }
    }

    /// The history of a leader replaces that of the ensemble: it must contain all that was committed, and what it has beyond
    /// becomes committed with it. Returns what had to acknowledge it.
    fn take_over(&mut self, moment: Moment, member: usize, epoch: PeerEpoch, findings: &mut Findings) -> Needs {
        self.tally.check(Rule::PrimaryIntegrity);
        self.tally.check(Rule::NoAckedLoss);
        let canon = Arc::clone(&self.canon);
        let Alignment { contains, foreign, .. } = self.server_mut(member).align(&canon);
        drop(canon);
        if let Some(zxid) = foreign {
            let headline = format!(
                "{} leads epoch {epoch} with {zxid} ({}) in its history, which was never committed and stands before what was",
                self.member_name(member),
                self.describe(zxid)
            );
            let story = Story::new(Rule::PrefixAgreement, headline)
                .kind("leader-with-foreign-transaction")
                .detected(moment, "it is established");
            self.broken(Rule::PrefixAgreement, story, findings);
        }
        if contains < self.canon.len() {
            self.lost(moment, member, epoch, contains, findings);
            self.cut_canon(contains);
        }
        let canon = Arc::clone(&self.canon);
        let Alignment { tail, .. } = self.server_mut(member).align(&canon);
        drop(canon);
        let mut needs = self.needs();
        for zxid in tail {
            needs.and_all(&self.commit(zxid, moment, findings));
        }
        Arc::make_mut(&mut self.canon).seal(epoch);
        self.parted = self.parted.or(self.servers[member].misread);
        needs
    }

    /// A leader reads the last acknowledgement of NEWLEADER when a later epoch has its leader already: its process was paused. It
    /// leads nobody, and its history is where that of the later one begins: all of the epochs before its own, and nothing else.
    ///
    /// Returns how many of the committed transactions it has.
    fn follow_late(&mut self, moment: Moment, member: usize, epoch: PeerEpoch, findings: &mut Findings) -> usize {
        self.tally.check(Rule::PrimaryIntegrity);
        let canon = Arc::clone(&self.canon);
        let Alignment { contains, stray, tail, .. } = self.server_mut(member).align(&canon);
        if canon.get(contains).is_some_and(|missing| missing.zxid.epoch() < epoch) {
            self.lost(moment, member, epoch, contains, findings);
        }
        for zxid in stray.into_iter().chain(tail) {
            self.committed_by(moment, member, zxid, findings);
        }
        contains
    }

    /// A leader lacks committed transactions, from this place on.
    pub(crate) fn lost(
        &mut self,
        moment: Moment,
        member: usize,
        epoch: PeerEpoch,
        from: usize,
        findings: &mut Findings,
    ) {
        let first = self.canon.get(from).expect("it is missing").clone();
        let acked = self.canon.iter_from(from).find(|it| it.acked.is_some()).cloned();
        let leader = self.member_name(member).to_owned();
        let count = self.canon.len() - from;
        if let Some(because) = self.excuse(from, moment) {
            let lost = acked.as_ref().unwrap_or(&first);
            let headline = format!(
                "{leader} leads epoch {epoch} without {count} committed transactions, from {} ({}) on",
                lost.zxid,
                self.describe(lost.zxid)
            );
            let rule = if acked.is_some() { Rule::NoAckedLoss } else { Rule::PrimaryIntegrity };
            self.tally.relax(rule, "a quorum lost what it had in its page cache when power went");
            self.tally.excuse(Excuse { rule, headline, because, moment });
            return;
        }
        let holders = format!("committed: durable on {}", self.roster.names(first.holders));
        if let Some(it) = acked {
            let (ack, session) = it.acked.expect("it was found by that");
            let what = self.describe(it.zxid);
            let headline = format!(
                "{} ({what}) was acknowledged to {} and is not in the history of {leader}, leader of epoch {epoch}",
                it.zxid,
                self.name(ack.host)
            );
            let story = Story::new(Rule::NoAckedLoss, headline)
                .other(it.moment, format!("{} committed: durable on {}", it.zxid, self.roster.names(it.holders)))
                .promise(ack, format!("{what} was acknowledged to session {session} at {}", it.zxid))
                .kind("acknowledged-write")
                .kind("established-leader")
                .detected(moment, format!("{leader} is established; its history ends before {}", first.zxid));
            self.broken(Rule::NoAckedLoss, story, findings);
        }
        let headline = format!(
            "{leader} leads epoch {epoch} without {} ({}), which was committed before; {count} transactions are missing",
            first.zxid,
            self.describe(first.zxid)
        );
        let story = Story::new(Rule::PrimaryIntegrity, headline)
            .promise(first.moment, format!("{} {holders}", first.zxid))
            .kind("established-leader")
            .detected(moment, format!("{leader} is established"));
        self.broken(Rule::PrimaryIntegrity, story, findings);
    }

    /// The excuse procedure (invariants-and-faults.md §2.8): a loss is excused if enough of those who had the transaction in
    /// their page cache, but not durable, lost it with their power that a quorum can be formed without it.
    fn excuse(&self, at: usize, now: Moment) -> Option<Vec<(Moment, String)>> {
        let lost = self.canon.get(at)?;
        let mut because = Vec::new();
        let mut losers = 0_u32;
        for (member, server) in self.servers.iter().enumerate() {
            let bit = 1 << member;
            if lost.loggers & bit == 0 || lost.holders & bit != 0 {
                continue;
            }
            let mut losses = server.losses.iter().filter(|loss| loss.moment.event <= now.event);
            // Without forceSync a log lags behind the epoch file, which is always synced: whoever lost any of its log has votes that
            // its log does not deserve.
            let loss = losses.find(|loss| {
                let is_later = !self.roster.ensemble.force_sync && loss.moment.event >= lost.moment.event;
                is_later || loss.zxids.contains(&lost.zxid)
            });
            if let Some(loss) = loss {
                losers |= bit;
                let why = if self.roster.ensemble.force_sync { "it was never synced" } else { "forceSync=no" };
                let what =
                    if loss.zxids.contains(&lost.zxid) { lost.zxid.to_string() } else { "some of its log".to_owned() };
                because.push((loss.moment, format!("{} lost power and {what}: {why}", self.member_name(member))));
            }
        }
        let all = u32::MAX >> (32 - self.servers.len());
        let without = all & !(lost.loggers & !losers);
        (losers != 0 && self.in_force.is_quorum(without)).then_some(because)
    }

    /// What is lost is lost: the history goes on without it.
    fn cut_canon(&mut self, len: usize) {
        Arc::make_mut(&mut self.canon).cut(len);
        for member in 0..self.servers.len() {
            self.server_mut(member).committed_was_cut(len);
        }
        self.rebuild_replay();
        self.configurations_were_cut();
    }

    /// A leader saw a quorum of acknowledgements (or says so to its followers).
    pub fn committed_by(&mut self, moment: Moment, member: usize, zxid: Zxid, findings: &mut Findings) {
        if self.canon.position(zxid).is_some() {
            return;
        }
        self.tally.check(Rule::NoGap);
        let last = self.canon.last_zxid();
        let leader = self.member_name(member).to_owned();
        if zxid < last || zxid.epoch() < self.canon.epoch() {
            let epoch = self.canon.epoch();
            let headline = format!(
                "{leader} committed {zxid} ({}), which the leader of epoch {epoch} does not have",
                self.describe(zxid)
            );
            let story = Story::new(Rule::PrimaryIntegrity, headline);
            let story = match self.leaders.get(&epoch) {
                Some(&established) => {
                    story.first_wrong(established, format!("{} was established", self.name(established.host)))
                }
                None => story,
            };
            let violation = story.kind("commit-of-deposed-leader").detected(moment, "a quorum acknowledged it");
            self.broken(Rule::PrimaryIntegrity, violation, findings);
            return;
        }
        let first = self.roster.ensemble.initial_counter.unwrap_or(0).saturating_add(1);
        let expected = if zxid.epoch() == last.epoch() { last.next() } else { Zxid::new(zxid.epoch(), first) };
        if zxid != expected {
            let headline = format!("{leader} committed {zxid} where {expected} had to come: a hole in the history");
            let story = Story::new(Rule::NoGap, headline).kind("leader-commits-with-hole");
            let story = match self.canon.last() {
                Some(last) => story.other(last.moment, format!("{} was the last committed before", last.zxid)),
                None => story,
            };
            let violation = story.detected(moment, format!("{} is committed", self.describe(zxid)));
            self.broken(Rule::NoGap, violation, findings);
        }
        let needs = self.commit(zxid, moment, findings);
        self.todo.push(Todo::Committed { zxid, needs, moment });
    }

    /// A server applied a transaction to its tree.
    pub fn applied(&mut self, moment: Moment, member: usize, zxid: Zxid, tree_digest: u64, findings: &mut Findings) {
        if self.roster.is_standalone() && self.canon.position(zxid).is_none() {
            // Nobody else has to agree.
            self.committed_by(moment, member, zxid, findings);
        }
        self.tally.check(Rule::NoGap);
        self.tally.check(Rule::PrefixAgreement);
        let canon = Arc::clone(&self.canon);
        let server = Arc::make_mut(&mut self.servers[member]);
        let last = server.memory.last(&canon);
        let wrong_before = server.memory.settle(&canon);
        let serves = server.serves();
        if !serves && zxid <= last && server.sync.as_ref().is_some_and(|sync| sync.mode == Mode::Snap) {
            // A leader goes on while it decides to send a snapshot: what is in it already comes once more, and is repaired by
            // what follows (zookeeper.md §3.4, §9.4).
            return;
        }
        let memory = &mut server.memory;
        let next = if memory.beyond.is_empty() { canon.get(memory.contains).map(|it| it.zxid) } else { None };
        let story = match next {
            Some(expected) if expected == zxid => {
                memory.contains += 1;
                None
            }
            Some(expected) if zxid > expected => {
                memory.contains = canon.count_to(zxid);
                Some((Rule::NoGap, "applied-with-hole", format!("without {expected} before it")))
            }
            Some(_) => Some((
                Rule::PrefixAgreement,
                if canon.position(zxid).is_some() { "applied-twice" } else { "applied-uncommitted" },
                format!("behind {last}"),
            )),
            None if zxid <= last => Some((Rule::NoGap, "applied-twice", format!("behind {last}"))),
            None => {
                let follows = zxid.epoch() > last.epoch() || zxid.value() == last.value() + 1;
                memory.beyond.push(zxid);
                if serves {
                    memory.beyond.clear();
                    Some((Rule::PrefixAgreement, "applied-uncommitted", "which no quorum has settled on".to_owned()))
                } else if follows {
                    None
                } else {
                    Some((Rule::NoGap, "applied-with-hole", format!("right behind {last}")))
                }
            }
        };
        // Nothing may share the history while it grows.
        drop(canon);
        let story = wrong_before
            .map(|zxid| {
                (Rule::PrefixAgreement, "applied-uncommitted", format!("behind {zxid}, which was not committed"))
            })
            .or(story);
        if let Some((rule, why)) = story.as_ref().and_then(|&(rule, ..)| Some((rule, self.misled(member)?))) {
            self.tally.relax(rule, why);
        } else if let Some((rule, kind, how)) = story {
            let headline = format!("{} applied {zxid} ({}) {how}", self.member_name(member), self.describe(zxid));
            let mut story =
                Story::new(rule, headline).kind(kind).kind(if serves { "serving" } else { "synchronising" });
            if let Some(sync) = &self.servers[member].sync {
                let leader = self.name(sync.leader);
                story =
                    story.other(sync.began, format!("its synchronisation with {leader} by {} began", sync.mode.name()));
            }
            self.broken(rule, story.detected(moment, "it is in its tree"), findings);
        }
        self.compare_trees(moment, member, zxid, tree_digest, findings);
    }

    /// Why the tree of a server may be another than the history makes: it, or whoever gives it what it lacks, has misread its disk.
    pub(crate) fn misled(&self, member: usize) -> Option<&'static str> {
        let server = &self.servers[member];
        let leader = server.follows.or(server.sync.as_ref().map(|sync| sync.leader));
        let misread = |it: &&Arc<Server>| it.host == server.host || Some(it.host) == leader;
        self.servers.iter().filter(misread).find_map(|it| it.misread)
    }

    /// The tree after a transaction is the same on every server (C14).
    pub(crate) fn compare_trees(
        &mut self,
        moment: Moment,
        member: usize,
        zxid: Zxid,
        digest: u64,
        findings: &mut Findings,
    ) {
        let Some(at) = self.canon.position(zxid) else { return };
        self.tally.check(Rule::TreeDeterminism);
        match self.canon.get(at).and_then(|it| it.tree) {
            Some((first, _)) if first == digest => {}
            Some((first, then)) => {
                let misread = |host| self.servers.iter().find(|it| it.host == host)?.misread;
                if let Some(why) = self.parted.or_else(|| self.misled(member)).or_else(|| misread(then.host)) {
                    return self.tally.relax(Rule::TreeDeterminism, why);
                }
                let (one, other) = (self.name(then.host).to_owned(), self.member_name(member).to_owned());
                let headline = format!(
                    "after {zxid} ({}) the trees of {one} and {other} differ: {first:#x} and {digest:#x}",
                    self.describe(zxid)
                );
                let story = Story::new(Rule::TreeDeterminism, headline)
                    .other(then, format!("{one} applied it"))
                    .kind("digest-differs")
                    .detected(moment, format!("{other} applied it"));
                self.broken(Rule::TreeDeterminism, story, findings);
            }
            None => {
                Arc::make_mut(&mut self.canon).get_mut(at).expect("it has a place").tree = Some((digest, moment));
            }
        }
    }

    /// A follower may serve its clients: what is in its tree must be committed by now.
    pub(crate) fn up_to_date(
        &mut self,
        moment: Moment,
        member: usize,
        leader: machine::HostId,
        findings: &mut Findings,
    ) {
        let canon = Arc::clone(&self.canon);
        let server = Arc::make_mut(&mut self.servers[member]);
        server.follows = Some(leader);
        let wrong = server.memory.settle(&canon).or_else(|| server.memory.beyond.first().copied());
        self.tally.check(Rule::PrefixAgreement);
        if let Some(zxid) = wrong {
            self.server_mut(member).memory.beyond.clear();
            let headline = format!(
                "{} may serve its clients with {zxid} ({}) in its tree, which was not committed",
                self.member_name(member),
                self.describe(zxid)
            );
            let story = Story::new(Rule::PrefixAgreement, headline)
                .kind("serves-uncommitted")
                .detected(moment, format!("UPTODATE of {}", self.name(leader)));
            self.broken(Rule::PrefixAgreement, story, findings);
        }
    }

    /// C09: a quorum has a committed transaction durable.
    pub(crate) fn check_commit(
        &mut self,
        zxid: Zxid,
        needs: &Needs,
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::QuorumDurable);
        let (mut holders, mut unnamed, mut inherited, mut cached) = (0_u32, 0_u32, 0_u32, 0_u32);
        let force_sync = self.roster.ensemble.force_sync;
        for member in 0..self.servers.len() {
            let bit = 1 << member;
            let server = Arc::make_mut(&mut self.servers[member]);
            match server.lacks(zxid, look.disk(server.host)) {
                None => holders |= bit,
                Some(Lack::Unnamed(_)) => unnamed |= bit,
                Some(Lack::Inherited(_) | Lack::Abandoned(_)) => inherited |= bit,
                Some(Lack::Cached(_)) => cached |= bit,
                // It acknowledged what was in its page cache, as it may without forceSync, and lost power since.
                Some(Lack::Missing(_)) if !force_sync && server.lost_with_power(zxid) => cached |= bit,
                Some(Lack::Missing(_)) => {}
            }
        }
        if let Some(at) = self.canon.position(zxid) {
            let committed = Arc::make_mut(&mut self.canon).get_mut(at).expect("it has a place");
            committed.holders = holders;
            committed.loggers = holders | unnamed | inherited | cached;
        }
        if needs.are_met_by(holders) {
            return;
        }
        if needs.are_met_by(holders | unnamed) {
            self.tally.relax(Rule::QuorumDurable, NAME_NOT_SYNCED);
            self.tally.note(NAME_NOT_SYNCED, moment);
            return;
        }
        let inherited = inherited | unnamed;
        if needs.are_met_by(holders | inherited) {
            self.tally.relax(Rule::QuorumDurable, INHERITED);
            self.tally.note(INHERITED, moment);
            return;
        }
        if !self.roster.ensemble.force_sync && needs.are_met_by(holders | inherited | cached) {
            self.tally.relax(Rule::QuorumDurable, NO_FORCE_SYNC);
            return;
        }
        let headline = format!(
            "{} committed {zxid} ({}) while only {} of {} voters had it durable: {}",
            self.name(moment.host),
            self.describe(zxid),
            (holders & needs.voters()).count_ones(),
            needs.voters().count_ones(),
            self.roster.names(holders & needs.voters())
        );
        let story = Story::new(Rule::QuorumDurable, headline)
            .kind("leader")
            .kind(if cached == 0 { "too-few-logged" } else { "not-synced" })
            .detected(moment, format!("in the page cache only: {}", self.roster.names(inherited | cached)));
        self.broken(Rule::QuorumDurable, story, findings);
    }

    /// C09 of a leader's first history: a quorum said that it has it.
    pub(crate) fn check_established(
        &mut self,
        (member, epoch): (usize, PeerEpoch),
        needs: &Needs,
        moment: Moment,
        look: &impl Look,
        findings: &mut Findings,
    ) {
        self.touch_all(member, moment, look);
        self.note_longer_logs(member, findings);
        self.tally.check(Rule::QuorumDurable);
        let acks = self.new_leader_acks.remove(&epoch).unwrap_or(0) | 1 << member;
        if needs.are_met_by(acks) {
            return;
        }
        let headline = format!(
            "{} is established as the leader of epoch {epoch}, and only {} acknowledged NEWLEADER",
            self.member_name(member),
            self.roster.names(acks)
        );
        let story = Story::new(Rule::QuorumDurable, headline)
            .kind("leader")
            .kind("too-few-newleader-acks")
            .detected(moment, "it begins to broadcast");
        self.broken(Rule::QuorumDurable, story, findings);
    }

    fn note_other_leaders(&mut self, member: usize, epoch: PeerEpoch, findings: &mut Findings) {
        let other = self.servers.iter().enumerate().find(|(at, server)| *at != member && server.leads.is_some());
        if let Some((other, server)) = other {
            let (old, old_epoch) = (self.member_name(other).to_owned(), server.leads.unwrap_or(PeerEpoch::ZERO));
            let new = self.member_name(member).to_owned();
            let fields = || {
                vec![
                    ("deposed", FieldValue::Text(old)),
                    ("deposed_epoch", FieldValue::Uint(u64::from(old_epoch.value()))),
                    ("leader", FieldValue::Text(new)),
                    ("epoch", FieldValue::Uint(u64::from(epoch.value()))),
                ]
            };
            self.arise("two-leaders", fields, findings);
        }
    }

    fn note_longer_logs(&mut self, member: usize, findings: &mut Findings) {
        let last = self.canon.last_zxid();
        let longer = self.servers.iter().enumerate().find(|(at, server)| {
            // Beyond what the leader has, or beside it: a proposal of an earlier leader that it lacks.
            *at != member && {
                let theirs = server.log.last_zxid();
                theirs > last || (theirs > Zxid::ZERO && self.canon.position(theirs).is_none())
            }
        });
        if let Some((other, server)) = longer {
            let (name, zxid) = (self.member_name(other).to_owned(), server.log.last_zxid());
            let fields = || vec![("server", FieldValue::Text(name)), ("zxid", FieldValue::Hex(zxid.value()))];
            self.arise("longer-log-elsewhere", fields, findings);
        }
    }
}

/// Why a copy in the page cache of a restarted server counts.
pub(crate) const INHERITED: &str = "a log tail of an earlier life of the process is in the page cache only, and real servers never sync it again (known hole, zookeeper.md §9.6)";
/// Why a copy in the page cache counts.
pub(crate) const NO_FORCE_SYNC: &str = "forceSync=no: an acknowledgement promises the page cache only";
