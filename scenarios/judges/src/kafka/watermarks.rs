//! Judges of high watermarks: L05, L08, E13. Here the committed history grows.

use engine::{FieldValue, Findings};
use kafkawire::LeaderEpoch;

use super::broker::LEADS_ON;
use super::cluster::{BrokerAt, Brokers};
use super::control::{UNCLEAN, partition_fields};
use super::elections::UNCLEAN_LOSS;
use super::logs::CUT_UNDONE;
use super::oracle::KafkaOracle;
use super::partition::{Overruled, PartitionAt};
use super::replica_log::{Chain as _, common};
use crate::moment::Story;
use crate::{Excuse, Moment, Rule};

/// Why a member of the ISR that has lost records is tolerated.
pub(crate) const LOST_TAIL: &str = "a broker that lost records it had not synced is in the ISR until the controller removes it, or comes back as its last member (known hole KIP-966, kafka-broker.md §12 KA-B35)";
/// Why a member of the ISR that never had the records is tolerated.
pub(crate) const STALE_JOIN: &str = "a broker that lost its records was taken into the ISR for a fetch that it sent in an earlier life (known hole KIP-903, kafka-broker.md §12 KA-B36)";
/// Why a member of the ISR that the leader does not count is tolerated.
pub(crate) const UNSEEN_GROWTH: &str = "ZooKeeper has a larger ISR than the leader knows, because the answer to its own write was lost, and the high watermark moves without the new member (known hole KIP-497, invariants-and-faults.md §0.3 maximal_isr)";

impl KafkaOracle {
    /// A broker states a replica's high watermark.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn high_watermark(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        topic: &str,
        number: i32,
        leads: bool,
        epoch: LeaderEpoch,
        offset: i64,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        let replica = &mut self.partition_mut(at).replicas[broker];
        replica.high_watermark = offset;
        replica.high_watermark_most = replica.high_watermark_most.max(offset);
        let agrees = self.check_prefix(moment, at, broker, leads, (epoch, offset), findings);
        if !leads {
            return;
        }
        if agrees {
            if self.partitions[at].is_led_by(broker, epoch) {
                self.check_quorum(moment, at, broker, offset, findings);
            }
            self.extend_canon(moment, at, broker, (epoch, offset), findings);
        }
        self.note_followers_behind(at, broker, offset, findings);
    }

    /// L05: below its high watermark a replica has what is committed.
    fn check_prefix(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        broker: BrokerAt,
        leads: bool,
        (epoch, offset): (LeaderEpoch, i64),
        findings: &mut Findings,
    ) -> bool {
        self.tally.check(Rule::CommittedPrefix);
        let partition = &self.partitions[at];
        let log = &partition.replicas[broker].log;
        let below = log.count_below(offset).min(partition.canon.len());
        let reaches = log.end() >= offset;
        if reaches
            && (below == 0 || log.chain_at(below - 1) == partition.canon.0.get(below - 1).map_or(0, |it| it.chain))
        {
            return true;
        }
        let first = common(log, &partition.canon);
        let first_offset = partition.canon.get(first).map_or(offset, |canonical| canonical.base);
        if partition.scrambled.has(broker) {
            self.relax_hole(Rule::CommittedPrefix, CUT_UNDONE, moment);
            return false;
        }
        if let Some(why) = partition.replaced(first_offset) {
            self.tally.relax(Rule::CommittedPrefix, why);
            // A consumer of a leader that has not heard of its successor reads it all the same, and commits what it has read.
            if leads && reaches && partition.overruled(epoch).is_some() {
                let partition = self.partition_mut(at);
                partition.committed_most = partition.committed_most.max(offset);
            }
            return false;
        }
        // Both have it in the same epoch: no truncation finds that.
        let own_epoch = log.get(first).map(|entry| entry.epoch);
        let is_hidden = own_epoch.is_some() && own_epoch == partition.canon.get(first).map(|canonical| canonical.epoch);
        if reaches && is_hidden && partition.forked.is_some() {
            self.relax_hole(Rule::CommittedPrefix, LEADS_ON, moment);
            return false;
        }
        if reaches && let Some(overruled) = partition.overruled(epoch) {
            self.committed_in_vain(moment, at, broker, (epoch, first_offset), overruled);
            return false;
        }
        let (name, who) = (partition.name.clone(), self.seating.name(broker).to_owned());
        let committed = partition.canon.get(first).map(|canonical| canonical.moment);
        let headline = if reaches {
            format!(
                "{who} has a high watermark of {offset} for {name}, and from {first_offset} on its log is not what was committed"
            )
        } else {
            format!("{who} states a high watermark of {offset} for {name}, where its log ends at {}", log.end())
        };
        let mut story = Story::new(Rule::CommittedPrefix, headline);
        if let Some(committed) = committed {
            story = story
                .promise(committed, format!("offset {first_offset} was committed by {}", self.host_name(committed)));
        }
        let kind = if reaches { "divergence-below-high-watermark" } else { "high-watermark-beyond-log" };
        let violation = story.kind(kind).detected(moment, format!("its high watermark is {offset}"));
        self.broken(Rule::CommittedPrefix, violation, findings);
        false
    }

    /// L08: every member of the ISR has what the leader calls committed.
    fn check_quorum(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        leader: BrokerAt,
        offset: i64,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::HighWatermarkNeedsQuorum);
        let partition = &self.partitions[at];
        let below = partition.replicas[leader].log.count_below(offset);
        if below == 0 {
            return;
        }
        let chain = partition.replicas[leader].log.chain_at(below - 1);
        let lacks = |broker: BrokerAt| {
            let log = &partition.replicas[broker].log;
            log.batches() < below || log.chain_at(below - 1) != chain
        };
        let lacking: Vec<BrokerAt> =
            partition.isr().without(Brokers::of(leader)).iter().filter(|&it| lacks(it)).collect();
        for broker in lacking {
            if let Some(why) = self.excused_member(at, broker, offset) {
                self.relax_hole(Rule::HighWatermarkNeedsQuorum, why, moment);
                continue;
            }
            if !self.partition_mut(at).tell("L08", broker) {
                continue;
            }
            let partition = &self.partitions[at];
            let (name, who, whose) =
                (partition.name.clone(), self.seating.name(leader).to_owned(), self.seating.name(broker));
            let headline = format!(
                "{who} commits {name} up to {offset}, and {whose}, which is in the ISR, has it up to {} only",
                partition.replicas[broker].log.end().min(offset)
            );
            let mut story = Story::new(Rule::HighWatermarkNeedsQuorum, headline).kind("premature-commit");
            if let Some(zk) = &partition.zk {
                let isr = format!("the ISR became {} in ZooKeeper", self.seating.names(zk.isr));
                story = story.other(zk.moment, isr);
            }
            let violation = story.detected(moment, format!("the high watermark becomes {offset}"));
            self.broken(Rule::HighWatermarkNeedsQuorum, violation, findings);
        }
    }

    /// A high watermark passes batches: they are committed.
    fn extend_canon(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        leader: BrokerAt,
        (epoch, offset): (LeaderEpoch, i64),
        findings: &mut Findings,
    ) {
        let partition = &self.partitions[at];
        let (from, to) = (partition.canon.len(), partition.replicas[leader].log.count_below(offset));
        if to <= from {
            return;
        }
        let chain = partition.replicas[leader].log.chain_at(to - 1);
        if let Some(overruled) = partition.overruled(epoch).filter(|_| !partition.leader_has(to, chain)) {
            let first = partition.replicas[leader].log.get(from).expect("it is below its high watermark").base;
            return self.committed_in_vain(moment, at, leader, (epoch, first), overruled);
        }
        let mut holders = Brokers::NONE;
        for (broker, replica) in partition.replicas.iter().enumerate() {
            if replica.log.batches() >= to && replica.log.chain_at(to - 1) == chain {
                holders = holders.with(broker);
            }
        }
        let partition = self.partition_mut(at);
        for index in from..to {
            let entry = *partition.replicas[leader].log.get(index).expect("it is below its high watermark");
            partition.canon.push(&entry, holders, moment);
        }
        let end = partition.canon.end();
        partition.committed_most = partition.committed_most.max(end);
        while let Some(first) = partition.uncommitted.first_entry()
            && first.key().0 < end
        {
            first.remove();
        }
        let isr = partition.isr().without(holders);
        for broker in isr.iter() {
            self.check_strong_isr(moment, at, broker, findings);
        }
        self.tally.check(Rule::CandidateComplete);
    }

    /// A leader commits records in an epoch that is over, before it hears of that; the new leader is not among those whose word it
    /// counts (EX1, KIP-497), and its log is what remains.
    fn committed_in_vain(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        leader: BrokerAt,
        (epoch, from): (LeaderEpoch, i64),
        overruled: Overruled,
    ) {
        let rule = Rule::CandidateComplete;
        // A consumer of that leader reads it all the same, and commits what it has read.
        let partition = self.partition_mut(at);
        partition.committed_most = partition.committed_most.max(partition.replicas[leader].high_watermark);
        let (why, because) = match overruled {
            Overruled::Uncleanly(unclean) => {
                (UNCLEAN_LOSS, (unclean, format!("another was elected though it was not in sync: {UNCLEAN}")))
            }
            Overruled::Unseen(grown) => {
                (UNSEEN_GROWTH, (grown, format!("the ISR of epoch {epoch} grew, and its leader was not told")))
            }
        };
        match overruled {
            Overruled::Uncleanly(_) => self.tally.relax(rule, why),
            Overruled::Unseen(_) => self.relax_hole(rule, why, moment),
        }
        if self.partitions[at].replaced(from).is_some() {
            return;
        }
        let (name, who) = (&self.partitions[at].name, self.seating.name(leader));
        let headline = format!("{who} commits {name} from offset {from} on in epoch {epoch}, which is over");
        self.tally.excuse(Excuse { rule, headline, because: vec![because], moment });
        self.partition_mut(at).replace_from(from, why);
    }

    /// E13: a running member of the ISR has everything that is committed.
    pub(crate) fn check_strong_isr(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        broker: BrokerAt,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::CandidateComplete);
        let partition = &self.partitions[at];
        let has = partition.has(broker);
        if has >= partition.canon.len() || !self.is_up(broker) {
            return;
        }
        if let Some(why) = self.excused_member(at, broker, self.partitions[at].canon.end()) {
            if why == UNSEEN_GROWTH {
                let partition = self.partition_mut(at);
                partition.unknown_to_leader = partition.unknown_to_leader.with(broker);
            }
            return self.relax_hole(Rule::CandidateComplete, why, moment);
        }
        if !self.partition_mut(at).tell("E13", broker) {
            return;
        }
        let partition = &self.partitions[at];
        let first = partition.canon.get(has).expect("it lacks one");
        let (name, who) = (partition.name.clone(), self.seating.name(broker).to_owned());
        let headline = format!(
            "{who} is in the ISR of {name} and lacks what is committed from offset {} on; if it is elected now, that is lost",
            first.base
        );
        let violation = Story::new(Rule::CandidateComplete, headline)
            .promise(first.moment, format!("offset {} was committed by {}", first.base, self.host_name(first.moment)))
            .kind("isr-lie")
            .detected(moment, format!("its log agrees with what is committed up to {} only", first.base));
        self.broken(Rule::CandidateComplete, violation, findings);
    }

    /// Why a member of the ISR may lack committed records; none if it may not.
    fn excused_member(&self, at: PartitionAt, broker: BrokerAt, offset: i64) -> Option<&'static str> {
        let partition = &self.partitions[at];
        if let Some(loss) = partition.open_loss(broker) {
            let is_excused = !(loss.by_power && self.flushes_each(&partition.name.topic));
            return is_excused.then_some(if loss.joined.is_some() { STALE_JOIN } else { LOST_TAIL });
        }
        if let Some(why) = partition.may_lack(broker) {
            return Some(why);
        }
        // The leader counts what the member told it before its power went: it lost that, committed or not.
        let replica = &partition.replicas[broker];
        let told = replica.loss.filter(|loss| loss.isr.has(broker) && loss.left < offset && offset <= loss.end);
        if let Some(loss) = told.filter(|_| replica.log.end() < offset) {
            let is_excused = !(loss.by_power && self.flushes_each(&partition.name.topic));
            return is_excused.then_some(LOST_TAIL);
        }
        let epoch = partition.zk.as_ref().map(|zk| zk.state.leader_epoch);
        let is_unseen = partition.believed.is_some_and(|(of, isr)| Some(of) == epoch && !isr.has(broker));
        is_unseen.then_some(UNSEEN_GROWTH)
    }

    /// A rule is not met, and the real system has that hole too.
    pub(crate) fn relax_hole(&mut self, rule: Rule, why: &'static str, moment: Moment) {
        self.tally.relax(rule, why);
        self.tally.note(why, moment);
    }

    /// A leader was told that its change of the ISR is committed, or what it is told at its election.
    pub fn isr_changed(&mut self, broker: BrokerAt, topic: &str, number: i32, epoch: LeaderEpoch, isr: &str) {
        let Some(at) = self.place(topic, number) else { return };
        let ids: Vec<kafkawire::BrokerId> =
            isr.split(',').filter_map(|id| id.trim().parse().ok()).map(kafkawire::BrokerId).collect();
        let isr = self.seating.brokers(&ids);
        let partition = self.partition_mut(at);
        if partition.is_led_by(broker, epoch) {
            partition.believed = Some((epoch, isr));
        }
    }

    /// S01: a follower that has the records does not know yet that they are committed.
    fn note_followers_behind(&mut self, at: PartitionAt, leader: BrokerAt, offset: i64, findings: &mut Findings) {
        let partition = &self.partitions[at];
        let behind =
            partition.isr().without(Brokers::of(leader)).iter().find(|&it| {
                partition.replicas[it].high_watermark < offset && partition.replicas[it].log.end() >= offset
            });
        let Some(follower) = behind else { return };
        let name = partition.name.clone();
        let own = partition.replicas[follower].high_watermark;
        self.arise(
            "follower-behind-high-watermark",
            |seating| {
                let mut fields = partition_fields(&name, "follower", seating.cluster.brokers[follower].id);
                fields.push(("leader", FieldValue::Int(i64::from(seating.cluster.brokers[leader].id.0))));
                fields.push(("high_watermark", FieldValue::Int(offset)));
                fields.push(("own", FieldValue::Int(own)));
                fields
            },
            findings,
        );
    }
}
