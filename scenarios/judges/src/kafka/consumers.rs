//! Judges of consumers: G09, G14, H10, H11, H15 (invariants-and-faults.md §3.10, §3.11).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::Findings;
use jute::{SessionId, Zxid};
use kafkawire::TopicPartition;

use super::cluster::KafkaClientKind;
use super::oracle::KafkaOracle;
use super::partition::PartitionAt;
use super::producers::Position;
use super::records::record_told;
use crate::chunked::Chunked;
use crate::moment::Story;
use crate::{Moment, Rule};

/// What the old consumer is known for.
pub(crate) const OVERLAP: &str = "two members of a group read a partition at once: the session of the first is over, and it still reads (known hole, the consumer of 0.8, kafka-broker.md §12 KA-B63)";
const CLAIM_DELETED: &str = "a member that had given up a partition deleted it once more after its connection was lost, and so deleted the claim that another had made meanwhile (known hole, the consumer of 0.8, kafka-broker.md §6.10, §12 KA-B63)";
const ZOMBIE_OFFSET: &str = "a member without the claim overwrote its group's offset with an older one (known hole, the consumer of 0.8, kafka-broker.md §12 KA-B63)";
/// Why a reader of ZooKeeper may see the past in spite of its sync.
const DEPOSED: &str = "the sync was answered while leadership of the ensemble changed: a deposed leader may have answered it (known hole, ZOOKEEPER-2136)";

const AT_THE_LEADER: &str = "the sync was answered by the leader itself, where it is a plain read and does not wait for what is committed and not yet applied (known hole, zookeeper.md §3.11)";

/// An offset of a group, committed.
#[derive(Clone, Copy, Debug)]
struct Commit {
    offset: i64,
    zxid: Zxid,
    moment: Moment,
}

/// The offsets of a group in a partition, in the order of zxids.
#[derive(Clone, Default, Debug)]
struct Commits {
    all: Chunked<Commit>,
    /// So many of them, from the first on, some client knows of: it was told of the last one's success, or has read it.
    known: usize,
}

impl Commits {
    /// Where an offset stands, at a place or behind it.
    fn position_from(&self, from: usize, offset: i64) -> Option<usize> {
        self.all.iter_from(from).position(|it| it.offset == offset).map(|at| from + at)
    }

    /// A client knows of the commit at a place.
    fn know(&mut self, at: usize) {
        self.known = self.known.max(at + 1);
    }
}

/// Who leads the ensemble, as far as a reader behind a sync depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Leadership {
    /// How many leaders there have been.
    pub(crate) terms: usize,
    /// The last transaction that the leader has applied, if exactly one server leads.
    pub(crate) applied: Option<Zxid>,
}

/// Members of a group that read a partition, and since when.
type Readers = Vec<(usize, Moment)>;

/// A read of an offset, under way.
#[derive(Clone, Copy, Debug)]
struct Fetching {
    /// How many commits were known to somebody: it must not find what is older than the last of them.
    from: usize,
    ensemble: Leadership,
    moment: Moment,
}

/// What groups do.
#[derive(Clone, Default, Debug)]
pub(crate) struct Groups {
    commits: BTreeMap<(Arc<str>, PartitionAt), Commits>,
    /// How many commits there were when a client began to write one, by client and its number.
    writing: BTreeMap<(usize, u64), usize>,
    fetching: BTreeMap<(usize, PartitionAt), Fetching>,
    /// Who reads what.
    owners: BTreeMap<(Arc<str>, PartitionAt), Readers>,
    /// The session with which a member claimed what it reads.
    claims: BTreeMap<(usize, PartitionAt), SessionId>,
    /// Claims that another session than their owner's deleted.
    deleted: BTreeSet<(SessionId, PartitionAt)>,
    /// Groups that are balanced over ZooKeeper.
    balanced: BTreeSet<Arc<str>>,
}

impl Groups {
    /// The history of commits is told anew.
    pub(crate) fn retell(&mut self) {
        self.commits.clear();
        self.writing.clear();
        self.fetching.clear();
        self.deleted.clear();
    }

    fn commits_of(&self, group: &Arc<str>, at: PartitionAt) -> usize {
        self.commits.get(&(Arc::clone(group), at)).map_or(0, |it| it.all.len())
    }

    /// Whether members of a group ever claimed what they read.
    pub(crate) fn is_balanced(&self, group: &Arc<str>) -> bool {
        self.balanced.contains(group)
    }

    /// Who of a group reads a partition.
    pub(crate) fn readers(&self, group: &Arc<str>, at: PartitionAt) -> usize {
        self.owners.get(&(Arc::clone(group), at)).map_or(0, Vec::len)
    }

    /// What groups there are, and what they have read.
    pub(crate) fn owned_ever(&self) -> impl Iterator<Item = &(Arc<str>, PartitionAt)> {
        self.owners.keys()
    }
}

impl KafkaOracle {
    fn groups_mut(&mut self) -> &mut Groups {
        Arc::make_mut(&mut self.groups)
    }

    /// A group's offset is written in ZooKeeper: G09.
    pub(crate) fn offset_written(
        &mut self,
        moment: Moment,
        group: &str,
        partition: &TopicPartition,
        offset: i64,
        (author, zxid): (SessionId, Zxid),
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(partition.topic.as_str(), partition.partition) else { return };
        self.tally.check(Rule::CommitRange);
        let committed = self.partitions[at].committed_most;
        if offset < 0 || offset > committed {
            let headline = format!(
                "group {group} commits offset {offset} of {partition}, where {committed} is the end of what was ever committed"
            );
            let note = "the offset is written";
            self.broken_plainly(Rule::CommitRange, "wild-commit", headline, moment, note, findings);
        }
        let owner = self.znodes.owners.get(&(group.to_owned(), partition.clone())).copied();
        let group: Arc<str> = Arc::from(group);
        let commits = self.groups_mut().commits.entry((group, at)).or_default();
        let is_older = commits.all.last().is_some_and(|last| offset < last.offset);
        commits.all.push(Commit { offset, zxid, moment });
        if is_older && owner.is_some_and(|owner| owner != author) {
            self.tally.note(ZOMBIE_OFFSET, moment);
        }
    }

    /// A consumer begins to write its offset.
    pub fn commit_invoked(&mut self, client: usize, number: u64, group: &Arc<str>, topic: &str, partition: i32) {
        let Some(at) = self.place(topic, partition) else { return };
        let from = self.groups.commits_of(group, at);
        self.groups_mut().writing.insert((client, number), from);
    }

    /// A write of an offset ended: H15, a write that succeeded is there.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn commit_completed(
        &mut self,
        moment: Moment,
        client: usize,
        number: u64,
        group: &Arc<str>,
        topic: &str,
        partition: i32,
        offset: i64,
        is_ok: bool,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, partition) else { return };
        let Some(from) = self.groups_mut().writing.remove(&(client, number)) else { return };
        if !is_ok {
            return;
        }
        self.tally.check(Rule::OffsetRegression);
        let commits = self.groups_mut().commits.entry((Arc::clone(group), at)).or_default();
        let position = commits.position_from(from, offset);
        if let Some(position) = position {
            commits.know(position);
        } else {
            let name = &self.partitions[at].name;
            let headline = format!(
                "{} was told that offset {offset} of group {group} in {name} is written, and no such write is committed",
                self.seating.client_name(client)
            );
            let note = "the success reaches it";
            self.broken_plainly(Rule::OffsetRegression, "phantom-commit", headline, moment, note, findings);
        }
    }

    /// A consumer begins to read its group's offset.
    pub(crate) fn fetch_invoked(
        &mut self,
        moment: Moment,
        client: usize,
        group: &Arc<str>,
        topic: &str,
        partition: i32,
        ensemble: Leadership,
    ) {
        let Some(at) = self.place(topic, partition) else { return };
        let from = self.groups.commits.get(&(Arc::clone(group), at)).map_or(0, |it| it.known);
        self.groups_mut().fetching.insert((client, at), Fetching { from, ensemble, moment });
    }

    /// A consumer has read its group's offset: H15, it is no older than what somebody knew to be committed before. A commit that
    /// nobody was told of yet may be seen or not.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub(crate) fn offset_fetched(
        &mut self,
        moment: Moment,
        client: usize,
        group: &Arc<str>,
        topic: &str,
        partition: i32,
        offset: i64,
        ensemble: Leadership,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, partition) else { return };
        let Some(begun) = self.groups_mut().fetching.remove(&(client, at)) else { return };
        self.tally.check(Rule::OffsetRegression);
        let newest = begun.from.checked_sub(1);
        let commits = self.groups_mut().commits.entry((Arc::clone(group), at)).or_default();
        match (newest, commits.position_from(newest.unwrap_or(0), offset)) {
            (_, Some(position)) => return commits.know(position),
            (None, None) if offset < 0 => return,
            _ => {}
        }
        let last = newest.and_then(|at| commits.all.get(at).copied());
        let is_of_past = offset < 0 || commits.position_from(0, offset).is_some();
        if is_of_past && (begun.ensemble.terms != ensemble.terms || ensemble.applied.is_none()) {
            return self.relax_hole(Rule::OffsetRegression, DEPOSED, moment);
        }
        if is_of_past && last.is_some_and(|last| begun.ensemble.applied.is_none_or(|applied| applied < last.zxid)) {
            return self.relax_hole(Rule::OffsetRegression, AT_THE_LEADER, moment);
        }
        let (name, who) = (self.partitions[at].name.clone(), self.seating.client_name(client).to_owned());
        let found = if offset < 0 { "nothing".to_owned() } else { offset.to_string() };
        let headline = match last {
            Some(Commit { offset: last, .. }) => {
                format!(
                    "{who} read {found} as the offset of group {group} in {name}, where {last} was known to be committed"
                )
            }
            None => format!("{who} read {found} as the offset of group {group} in {name}, which nobody has committed"),
        };
        let mut story = Story::new(Rule::OffsetRegression, headline)
            .other(begun.moment, format!("{who} began to read, behind a sync"));
        if let Some(Commit { offset: last, moment: then, .. }) = last {
            story = story.promise(then, format!("{last} was committed"));
        }
        let kind = if is_of_past { "offset-regression" } else { "offset-from-nowhere" };
        let violation = story.kind(kind).detected(moment, format!("it read {found}"));
        self.broken(Rule::OffsetRegression, violation, findings);
    }

    /// A consumer may read a partition from now on: G14.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn partition_assigned(
        &mut self,
        moment: Moment,
        client: usize,
        group: &Arc<str>,
        topic: &str,
        partition: i32,
        position: i64,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, partition) else { return };
        let since = Position { group: Arc::clone(group), next: position, since: moment };
        self.work_mut().clients[client].positions.insert(at, since);
        if position >= 0 {
            self.records_mut(at).cover(position);
        }
        if self.seating.cluster.clients[client].kind == KafkaClientKind::ZkConsumer {
            self.check_ownership(moment, client, group, at, findings);
            if !self.groups.is_balanced(group) {
                self.groups_mut().balanced.insert(Arc::clone(group));
            }
            let name = self.partitions[at].name.clone();
            if let Some(&session) = self.znodes.owners.get(&(group.to_string(), name)) {
                self.groups_mut().claims.insert((client, at), session);
            }
        }
        let owners = self.groups_mut().owners.entry((Arc::clone(group), at)).or_default();
        owners.retain(|&(owner, _)| owner != client);
        owners.push((client, moment));
    }

    fn check_ownership(
        &mut self,
        moment: Moment,
        client: usize,
        group: &Arc<str>,
        at: PartitionAt,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::OwnershipInterval);
        let owners = self.groups.owners.get(&(Arc::clone(group), at)).cloned().unwrap_or_default();
        for (other, since) in owners.into_iter().filter(|&(other, _)| other != client) {
            let claim = self.groups.claims.get(&(other, at));
            if claim.is_some_and(|session| self.znodes.closed.contains_key(session)) {
                self.relax_hole(Rule::OwnershipInterval, OVERLAP, moment);
                continue;
            }
            if claim.is_some_and(|&session| self.groups.deleted.contains(&(session, at))) {
                self.relax_hole(Rule::OwnershipInterval, CLAIM_DELETED, moment);
                continue;
            }
            let (a, b) = (self.seating.client_name(other).to_owned(), self.seating.client_name(client).to_owned());
            let headline = format!(
                "{a} and {b} both read {} for group {group}, and the session with which {a} claimed it is alive",
                self.partitions[at].name
            );
            let violation = Story::new(Rule::OwnershipInterval, headline)
                .promise(since, format!("{a} was assigned it"))
                .kind("dual-ownership")
                .detected(moment, format!("{b} is assigned it too"));
            self.broken(Rule::OwnershipInterval, violation, findings);
        }
    }

    /// A session claims a partition.
    pub(crate) fn claim_written(&mut self, partition: &TopicPartition, owner: SessionId) {
        let Some(at) = self.place(partition.topic.as_str(), partition.partition) else { return };
        if self.groups.deleted.contains(&(owner, at)) {
            self.groups_mut().deleted.remove(&(owner, at));
        }
    }

    /// A session's claim was deleted by another one.
    pub(crate) fn claim_deleted(&mut self, partition: &TopicPartition, owner: SessionId) {
        let Some(at) = self.place(partition.topic.as_str(), partition.partition) else { return };
        self.groups_mut().deleted.insert((owner, at));
    }

    /// A consumer no longer reads a partition.
    pub fn partition_revoked(&mut self, client: usize, group: &Arc<str>, topic: &str, partition: i32) {
        let Some(at) = self.place(topic, partition) else { return };
        self.work_mut().clients[client].positions.remove(&at);
        self.ownership_ended(client, at, group);
    }

    pub(crate) fn ownership_ended(&mut self, client: usize, at: PartitionAt, group: &Arc<str>) {
        let groups = self.groups_mut();
        groups.claims.remove(&(client, at));
        if let Some(owners) = groups.owners.get_mut(&(Arc::clone(group), at)) {
            owners.retain(|&(owner, _)| owner != client);
        }
    }

    /// A consumer begins elsewhere.
    pub fn position_reset(&mut self, moment: Moment, client: usize, topic: &str, partition: i32, to: i64) {
        let Some(at) = self.place(topic, partition) else { return };
        self.records_mut(at).cover(to);
        if let Some(position) = self.work_mut().clients[client].positions.get_mut(&at) {
            *position = Position { next: to, since: moment, group: Arc::clone(&position.group) };
        }
    }

    /// A consumer was given a record: H10, H11, and the checks of its partition.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn record_consumed(
        &mut self,
        moment: Moment,
        client: usize,
        topic: &str,
        partition: i32,
        offset: i64,
        record: u64,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, partition) else { return };
        self.tally.check(Rule::PollSkip);
        self.tally.check(Rule::NonmonotonicPoll);
        let expected = self.work.clients[client].positions.get(&at).map(|position| (position.next, position.since));
        if let Some((next, since)) = expected
            && next >= 0
            && next != offset
        {
            let rule = if offset > next { Rule::PollSkip } else { Rule::NonmonotonicPoll };
            self.misread(moment, client, at, rule, next, since, offset, record, findings);
        }
        if let Some(position) = self.work_mut().clients[client].positions.get_mut(&at) {
            position.next = offset + 1;
            position.since = moment;
        }
        self.record_read(moment, at, record, offset, findings);
    }

    #[expect(clippy::too_many_arguments, reason = "a finding has that many parts")]
    fn misread(
        &mut self,
        moment: Moment,
        client: usize,
        at: PartitionAt,
        rule: Rule,
        next: i64,
        since: Moment,
        offset: i64,
        record: u64,
        findings: &mut Findings,
    ) {
        if let Some(why) = self.partitions[at].replaced(next.min(offset)) {
            return self.tally.relax(rule, why);
        }
        let name = self.partitions[at].name.clone();
        let how = if offset > next { "skips" } else { "goes back" };
        let headline = format!(
            "{} stands at offset {next} of {name} and is given {offset} ({}): it {how}",
            self.seating.client_name(client),
            record_told(record)
        );
        let violation = Story::new(rule, headline)
            .other(since, format!("its position became {next}"))
            .kind(rule.name())
            .detected(moment, format!("it is given offset {offset}"));
        self.broken(rule, violation, findings);
    }

    /// A member of a group begins to rebalance, or has done so, or gave up.
    pub fn rebalanced(&mut self, client: usize, gave_up: Option<Moment>) {
        if self.work.clients[client].gave_up != gave_up {
            self.work_mut().clients[client].gave_up = gave_up;
        }
    }
}
