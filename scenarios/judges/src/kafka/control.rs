//! Judges of what is committed in ZooKeeper: E01, E04, E08, E10, E15, E25.

use std::sync::Arc;

use engine::{FieldValue, Findings};
use jute::{SessionId, Zxid};
use kafkawire::znode::{PartitionState, TopicAssignment};
use kafkawire::{BrokerId, ControllerEpoch, Topic, TopicPartition};

use super::broker::GAVE_UP;
use super::cluster::{BrokerAt, Brokers};
use super::oracle::KafkaOracle;
use super::partition::{PartitionAt, Unclean, ZkState};
use super::znodes::{Change, Written};
use crate::moment::Story;
use crate::{Moment, Rule};

/// Why a leader from outside the ISR is tolerated.
pub(crate) const UNCLEAN: &str = "unclean.leader.election.enable is on for the topic, and no replica in sync is alive";

/// A `state` that was written, and by whom.
struct StateWrite {
    state: PartitionState,
    version: i32,
    is_new: bool,
    author: SessionId,
    zxid: Zxid,
}

impl KafkaOracle {
    /// Takes a committed transaction; `is_retold` if it was judged before.
    pub(crate) fn take_znodes(&mut self, moment: Moment, entry: &[u8], is_retold: bool, findings: &mut Findings) {
        let before = self.znodes.epoch;
        for Written { change, author, zxid } in self.znodes_mut().commit(moment, entry) {
            match change {
                Change::Claimed { broker, epoch } => {
                    self.controller_claimed(moment, broker, author, epoch, before, findings);
                }
                Change::EpochRaised { epoch } => {
                    self.tally.check(Rule::ControllerEpochUnique);
                    let headline =
                        format!("/controller_epoch is raised to {epoch} by a transaction that claims nothing");
                    let note = "it is committed";
                    self.broken_plainly(
                        Rule::ControllerEpochUnique,
                        "epoch-without-claim",
                        headline,
                        moment,
                        note,
                        findings,
                    );
                }
                Change::ControllerGone => self.vacated = Some(moment),
                Change::Unregistered { .. } => {}
                Change::Registered { broker, .. } => self.registration_written(moment, broker, author, findings),
                Change::Assigned { topic, assignment, is_new } => {
                    if !is_new {
                        self.check_author(moment, author, &format!("the assignment of {topic}"), false, findings);
                    }
                    self.assigned(&topic, &assignment);
                }
                Change::Configured { .. } => {}
                Change::State { partition, state, version, is_new } => {
                    let write = StateWrite { state, version, is_new, author, zxid };
                    self.state_written(moment, &partition, write, is_retold, findings);
                }
                Change::NotificationDeleted => {
                    self.check_author(moment, author, "an ISR change notification", false, findings);
                }
                Change::Committed { group, partition, offset } => {
                    self.offset_written(moment, &group, &partition, offset.0, (author, zxid), findings);
                }
                Change::Claim { partition, .. } => self.claim_written(&partition, author),
                Change::ClaimGone { partition, owner, .. } => {
                    if let Some(owner) = owner.filter(|&owner| owner != author) {
                        self.claim_deleted(&partition, owner);
                    }
                }
            }
        }
    }

    /// E01.
    fn controller_claimed(
        &mut self,
        moment: Moment,
        broker: BrokerId,
        author: SessionId,
        epoch: Option<ControllerEpoch>,
        before: ControllerEpoch,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::ControllerEpochUnique);
        let name = self.name_of(broker);
        let Some(epoch) = epoch else {
            let headline = format!("{name} claimed /controller without a new epoch; it is {before}");
            let (rule, note) = (Rule::ControllerEpochUnique, "the claim is committed");
            return self.broken_plainly(rule, "claim-without-epoch", headline, moment, note, findings);
        };
        let first = self.znodes.terms.get(&epoch).copied();
        if let Some(first) = first.filter(|term| (term.session, term.moment.event) != (author, moment.event)) {
            let headline = format!("{} and {name} both claimed controller epoch {epoch}", self.name_of(first.broker));
            let story = Story::new(Rule::ControllerEpochUnique, headline)
                .first_wrong(first.moment, format!("{} claimed it", self.name_of(first.broker)))
                .kind("two-claims")
                .detected(moment, format!("{name} claims it too"));
            self.broken(Rule::ControllerEpochUnique, story, findings);
        }
        let former = self.znodes.terms.range(..epoch).next_back().map(|(_, term)| term.broker);
        if let Some(former) = former.filter(|&former| former != broker)
            && let Some(at) = self.seating.broker(former)
            && self.brokers[at].controls.is_some()
        {
            let fields = |_: &_| {
                vec![("old", FieldValue::Int(i64::from(former.0))), ("new", FieldValue::Int(i64::from(broker.0)))]
            };
            self.arise("two-controllers", fields, findings);
        }
    }

    /// E04: what only controllers write is written by the present one.
    fn check_author(
        &mut self,
        moment: Moment,
        author: SessionId,
        what: &str,
        must_control: bool,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::StaleControllerWrite);
        let current = self.znodes.epoch;
        let of_broker = |broker: BrokerAt| {
            let id = self.seating.cluster.brokers[broker].id;
            self.znodes.terms.iter().rev().find(|(_, term)| term.broker == id).map(|(&epoch, _)| epoch)
        };
        let of_session = self.znodes.claimed_by.get(&author).copied();
        let claimed = of_session.or_else(|| self.author(author).and_then(of_broker));
        match claimed {
            Some(claimed) if claimed >= current => {}
            Some(claimed) => {
                let [former, present] = [claimed, current].map(|epoch| self.znodes.terms.get(&epoch).copied());
                let name = former.map_or_else(|| format!("session {author}"), |term| self.name_of(term.broker));
                let headline =
                    format!("{name}, controller of epoch {claimed}, wrote {what} while the epoch is {current} already");
                let mut story = Story::new(Rule::StaleControllerWrite, headline).kind("deposed-controller");
                if let Some(term) = former {
                    story = story.other(term.moment, format!("{name} claimed epoch {claimed}"));
                }
                if let Some(term) = present {
                    let successor = self.name_of(term.broker);
                    story = story.promise(term.moment, format!("{successor} claimed epoch {current}"));
                }
                let violation = story.detected(moment, "its write is committed all the same");
                self.broken(Rule::StaleControllerWrite, violation, findings);
            }
            None if must_control => {
                let author = self
                    .author(author)
                    .map_or_else(|| format!("session {author}"), |broker| self.seating.name(broker).to_owned());
                let headline = format!("{author}, which was never controller, wrote {what}");
                let (rule, note) = (Rule::StaleControllerWrite, "its write is committed");
                self.broken_plainly(rule, "no-controller", headline, moment, note, findings);
            }
            None => {}
        }
    }

    /// E25: nobody registers another.
    fn registration_written(&mut self, moment: Moment, broker: BrokerId, author: SessionId, findings: &mut Findings) {
        self.tally.check(Rule::EphemeralRegistration);
        if let Some(of) = self.author(author)
            && self.seating.cluster.brokers[of].id != broker
        {
            let headline = format!("{} registered /brokers/ids/{broker}", self.seating.name(of));
            let (rule, note) = (Rule::EphemeralRegistration, "the registration is committed");
            self.broken_plainly(rule, "registered-by-another", headline, moment, note, findings);
        }
    }

    fn assigned(&mut self, topic: &Topic, assignment: &TopicAssignment) {
        for (&partition, replicas) in &assignment.partitions {
            let Some(at) = self.place(topic.as_str(), partition) else { continue };
            let assigned = self.seating.brokers(replicas);
            let of = self.partition_mut(at);
            of.assignment.clone_from(replicas);
            of.assigned = assigned;
        }
    }

    /// A partition's `state` is written: E04, E08, E10, E15, and what follows for its log.
    fn state_written(
        &mut self,
        moment: Moment,
        name: &TopicPartition,
        write: StateWrite,
        is_retold: bool,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(name.topic.as_str(), name.partition) else { return };
        let StateWrite { state, version, is_new, author, zxid } = write;
        let before = self.partitions[at].zk.clone().filter(|_| !is_new);
        let leader = state.leader.and_then(|id| self.seating.broker(id));
        let isr = self.seating.brokers(&state.isr);
        let epoch = state.leader_epoch;
        let is_controllers = before.as_ref().is_none_or(|before| epoch > before.state.leader_epoch);
        if !is_retold {
            self.check_state(moment, at, &state, findings);
            self.check_epoch_in_znode(moment, at, before.as_ref(), &state, findings);
            if is_controllers {
                self.check_author(moment, author, &format!("the state of {name}"), true, findings);
            }
        }
        let partition = self.partition_mut(at);
        if let Some(before) = before.as_ref().filter(|_| is_controllers) {
            partition.note_overlooked(before);
        }
        partition.zk = Some(ZkState { state, leader, isr, version, zxid, moment });
        partition.unknown_to_leader = partition.unknown_to_leader.and(isr);
        if is_controllers {
            partition.believed = Some((epoch, isr));
        }
        if is_retold {
            return;
        }
        if let Some(before) = &before {
            if !is_controllers {
                self.check_isr_author(moment, at, before, author, findings);
            }
            // Whom a controller adds it elects, which is judged as that.
            let elected = leader.filter(|_| is_controllers).map_or(Brokers::NONE, Brokers::of);
            for broker in isr.without(before.isr).without(elected).iter() {
                self.joined_isr(moment, at, broker, findings);
            }
            let alone = (isr != before.isr).then(|| isr.iter().next()).flatten().filter(|_| isr.iter().count() == 1);
            if let Some(alone) = alone {
                self.arise(
                    "isr-shrunk-to-one",
                    |seating| partition_fields(name, "broker", seating.cluster.brokers[alone].id),
                    findings,
                );
            }
        }
        if let (Some(before), Some(leader)) = (before, leader)
            && is_controllers
        {
            let is_clean = self.check_elected_in_isr(moment, at, &before, leader, findings);
            self.elected(moment, at, leader, is_clean, findings);
        }
    }

    /// E16: within an epoch only the leader writes the state.
    fn check_isr_author(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        before: &ZkState,
        author: SessionId,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::IsrCas);
        let Some(by) = self.author(author) else { return };
        if before.leader == Some(by) {
            return;
        }
        let headline = format!(
            "{} wrote the ISR of {} in epoch {}, whose leader it is not",
            self.seating.name(by),
            self.partitions[at].name,
            before.state.leader_epoch
        );
        let story = Story::new(Rule::IsrCas, headline)
            .promise(before.moment, format!("the state was {}", told(&before.state)))
            .kind("not-the-leader")
            .detected(moment, "its write is committed");
        self.broken(Rule::IsrCas, story, findings);
    }

    /// E16: a broker sends a write of a partition's state; `version` is the one it demands.
    pub fn state_write_sent(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        partition: &TopicPartition,
        version: jute::Version,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::IsrCas);
        if version == jute::Version::ANY {
            let headline =
                format!("{} writes the state of {partition} whatever its version is", self.seating.name(broker));
            self.broken_plainly(Rule::IsrCas, "unconditional", headline, moment, "the write leaves", findings);
        }
    }

    /// E15.
    fn check_state(&mut self, moment: Moment, at: PartitionAt, state: &PartitionState, findings: &mut Findings) {
        self.tally.check(Rule::LeaderInIsr);
        let partition = &self.partitions[at];
        let assignment = &partition.assignment;
        let stranger = state.isr.iter().find(|id| !assignment.is_empty() && !assignment.contains(id));
        let twice = state.isr.iter().enumerate().any(|(place, id)| state.isr[..place].contains(id));
        let what = if state.isr.is_empty() {
            Some("has an empty ISR".to_owned())
        } else if let Some(leader) = state.leader.filter(|leader| !state.isr.contains(leader)) {
            Some(format!("is led by {}, which is not in its ISR", self.name_of(leader)))
        } else if let Some(&stranger) = stranger {
            Some(format!("has {} in its ISR, which is none of its replicas", self.name_of(stranger)))
        } else {
            twice.then(|| "has a broker twice in its ISR".to_owned())
        };
        if let Some(what) = what {
            let headline = format!("{} {what}: {}", partition.name, told(state));
            let note = "the state is committed";
            self.broken_plainly(Rule::LeaderInIsr, "bad-partition-state", headline, moment, note, findings);
        }
    }

    /// E08, in the znode.
    fn check_epoch_in_znode(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        before: Option<&ZkState>,
        state: &PartitionState,
        findings: &mut Findings,
    ) {
        let Some(before) = before else { return };
        self.tally.check(Rule::LeaderEpochMonotone);
        let has_moved = state.leader != before.state.leader;
        let (old, new) = (before.state.leader_epoch, state.leader_epoch);
        if new < old || (has_moved && new == old) {
            let name = &self.partitions[at].name;
            let how = if new < old { "goes back" } else { "stays though the leader changes" };
            let headline = format!("the leader epoch of {name} {how}: {} after {}", told(state), told(&before.state));
            let story = Story::new(Rule::LeaderEpochMonotone, headline)
                .promise(before.moment, format!("epoch {old} was committed at {}", before.zxid))
                .kind("znode")
                .detected(moment, format!("epoch {new} is committed"));
            self.broken(Rule::LeaderEpochMonotone, story, findings);
        }
    }

    /// E10. True if the election is a clean one.
    fn check_elected_in_isr(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        before: &ZkState,
        leader: BrokerAt,
        findings: &mut Findings,
    ) -> bool {
        self.tally.check(Rule::ElectedInIsr);
        if before.isr.has(leader) {
            return true;
        }
        let name = self.partitions[at].name.clone();
        if self.allows_unclean(&name.topic) {
            self.tally.relax(Rule::ElectedInIsr, UNCLEAN);
            let epoch = self.partitions[at].zk.as_ref().expect("somebody was elected").state.leader_epoch;
            self.partition_mut(at).uncleans.push(Unclean { moment, epoch });
        } else {
            let headline = format!(
                "{} is elected leader of {name}, though only {} had been in sync and unclean election is not allowed",
                self.seating.name(leader),
                self.seating.names(before.isr)
            );
            let story = Story::new(Rule::ElectedInIsr, headline)
                .promise(before.moment, format!("the ISR was {}", self.seating.names(before.isr)))
                .kind("unclean-election")
                .detected(moment, "the election is committed");
            self.broken(Rule::ElectedInIsr, story, findings);
        }
        false
    }

    /// The state of a partition in ZooKeeper, for reports.
    pub(crate) fn zk_told(&self, at: PartitionAt) -> String {
        self.partitions[at].zk.as_ref().map_or_else(|| "no state".to_owned(), |zk| told(&zk.state))
    }

    /// A broker states that it is registered (E25).
    pub fn registered(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        epoch: kafkawire::BrokerEpoch,
        session: SessionId,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::EphemeralRegistration);
        let id = self.seating.cluster.brokers[broker].id;
        let found = self.znodes.registered_ever.get(&epoch).copied();
        if found != Some((id, session)) {
            let headline = format!(
                "{} believes that it is registered with epoch {epoch} by session {session}, and it never was",
                self.seating.name(broker)
            );
            let (rule, note) = (Rule::EphemeralRegistration, "it states so");
            self.broken_plainly(rule, "phantom-registration", headline, moment, note, findings);
        }
        let shadow = Arc::make_mut(&mut self.brokers[broker]);
        shadow.epoch = Some(epoch);
        shadow.registered_by = Some(session);
        shadow.expired = None;
        shadow.gave_up = None;
        shadow.session = Some(session);
    }

    /// A broker states that its registration belongs to another session (E25; kafka-broker.md §3.2 case c).
    pub fn registration_refused(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        session: SessionId,
        owner: SessionId,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::EphemeralRegistration);
        if self.brokers[broker].registered_by != Some(owner) || owner == session {
            // That of an earlier life: the broker fails, as the real one does, and its supervisor tries again. Or that of a session
            // between the one it was registered by and this one, which created it and ended before it was told so.
            if self.brokers[broker].registered_by.is_some() {
                Arc::make_mut(&mut self.brokers[broker]).gave_up = Some(GAVE_UP);
            }
            return;
        }
        let name = self.seating.name(broker).to_owned();
        let headline = format!(
            "{name} cannot register with session {session}: its own registration by session {owner}, which it knows to be over, is in the way, and it gives up"
        );
        let mut story = Story::new(Rule::EphemeralRegistration, headline);
        if let Some(expired) = self.brokers[broker].expired {
            story = story.other(expired, format!("{name} learnt that its session was over"));
        }
        let violation = story.kind("own-ghost").detected(moment, "it stays unregistered");
        self.broken(Rule::EphemeralRegistration, violation, findings);
    }
}

/// A state in a user's words.
pub(crate) fn told(state: &PartitionState) -> String {
    let ids = |ids: &[BrokerId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let leader = state.leader.map_or_else(|| "no leader".to_owned(), |leader| format!("leader {leader}"));
    format!("{leader} in epoch {}, ISR {}", state.leader_epoch, ids(&state.isr))
}

pub(crate) fn partition_fields(
    name: &TopicPartition,
    what: &'static str,
    broker: BrokerId,
) -> Vec<(&'static str, FieldValue)> {
    vec![
        ("topic", FieldValue::Text(name.topic.as_str().to_owned())),
        ("partition", FieldValue::Int(i64::from(name.partition))),
        (what, FieldValue::Int(i64::from(broker.0))),
    ]
}
