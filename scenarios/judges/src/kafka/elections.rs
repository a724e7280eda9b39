//! Judges of partition leader elections: E12, L10; what an election makes of a truncation (L11) and of an ISR (E13). And the
//! excuse procedure (invariants-and-faults.md §2.8): a loss is excused by events that are named, or it is a bug.

use engine::Findings;

use super::broker::LEADS_ON;
use super::cluster::{BrokerAt, Brokers};
use super::control::UNCLEAN;
use super::oracle::KafkaOracle;
use super::partition::{Loss, Partition, PartitionAt};
use super::watermarks::{LOST_TAIL, STALE_JOIN, UNSEEN_GROWTH};
use crate::moment::Story;
use crate::{Excuse, Moment, Rule};

/// Why lost records are excused.
const ALL_COPIES: &str = "every broker that had the records lost its unsynced or whole disk (EX2)";
pub(crate) const UNCLEAN_LOSS: &str =
    "an unclean election chose a replica without the records, as the topic allows (EX1)";

/// What excuses a loss.
struct Verdict {
    why: &'static str,
    /// The real system loses records here too, though nobody allowed it to.
    is_hole: bool,
    because: Vec<(Moment, String)>,
}

impl KafkaOracle {
    /// A leader was elected in ZooKeeper.
    pub(crate) fn elected(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        leader: BrokerAt,
        is_clean: bool,
        findings: &mut Findings,
    ) {
        // Of a broker that is away only the registration was elected: what it lacks matters if it comes to lead.
        if self.brokers[leader].epoch.is_some() {
            self.check_leader(moment, at, leader, is_clean, findings);
        }
        self.partition_mut(at).told.clear();
    }

    /// L11, E12 and L10 for whoever leads now.
    pub(crate) fn check_leader(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        leader: BrokerAt,
        is_clean: bool,
        findings: &mut Findings,
    ) {
        if is_clean && let Some(obligation) = self.partitions[at].open_obligation(leader) {
            self.lost_by_truncation(moment, obligation.moment, at, leader, "elected", findings);
            self.partition_mut(at).replicas[leader].obligation = None;
        }
        self.check_complete(moment, at, leader, findings);
    }

    /// E12 and L10: the log of a leader has everything that is committed.
    pub(crate) fn check_complete(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        leader: BrokerAt,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::LeaderComplete);
        self.tally.check(Rule::NoCommittedLoss);
        let partition = &self.partitions[at];
        let has = partition.has(leader);
        let Some(first) = partition.canon.get(has).copied() else { return };
        let end = partition.canon.end();
        let name = partition.name.clone();
        let who = self.seating.name(leader).to_owned();
        let promise = partition.promise.filter(|promise| promise.end > first.base);
        let rule = if promise.is_some() { Rule::NoCommittedLoss } else { Rule::LeaderComplete };
        let what = match promise {
            Some(promise) => format!(
                "{who} leads {name} without offsets {} to {}, which were committed; those below {} were {}",
                first.base,
                end - 1,
                promise.end,
                promise.how
            ),
            None => format!("{who} leads {name} without offsets {} to {}, which were committed", first.base, end - 1),
        };
        let verdict = self.excuse(at, leader, has);
        let why = match verdict {
            Some(Verdict { why, is_hole, because }) => {
                self.tally.relax(rule, why);
                if is_hole {
                    self.tally.note(why, moment);
                }
                self.tally.excuse(Excuse { rule, headline: what, because, moment });
                why
            }
            None => {
                let partition = &self.partitions[at];
                let mut story = Story::new(rule, what);
                story = match promise {
                    Some(promise) => story
                        .promise(promise.moment, format!("records below {} were {}", promise.end, promise.how))
                        .other(first.moment, format!("offset {} was committed", first.base)),
                    None => story.promise(first.moment, format!("offset {} was committed", first.base)),
                };
                if let Some(zk) = &partition.zk {
                    story = story.other(zk.moment, format!("ZooKeeper says: {}", self.zk_told(at)));
                }
                let headless = partition.open_loss(leader).map(|loss| loss.moment);
                if let Some(lost) = headless {
                    story = story.first_wrong(lost, format!("{who} lost its log's end, which was to be durable"));
                }
                let violation = story.kind("elected").detected(moment, format!("{who} leads without them"));
                self.broken(rule, violation, findings);
                "it was lost before, and that was told"
            }
        };
        self.partition_mut(at).cut(has, why);
    }

    /// EX1 to EX4.
    fn excuse(&self, at: PartitionAt, leader: BrokerAt, has: usize) -> Option<Verdict> {
        let partition = &self.partitions[at];
        let first = partition.canon.get(has)?;
        let later = partition.uncleans.iter().rev().find(|unclean| unclean.moment.event >= first.moment.event);
        if let Some(unclean) = later {
            let because = vec![(
                unclean.moment,
                format!("{} was elected though it was not in sync: {UNCLEAN}", self.seating.name(leader)),
            )];
            return Some(Verdict { why: UNCLEAN_LOSS, is_hole: false, because });
        }
        let flushes = self.flushes_each(&partition.name.topic);
        let counts = |loss: &Loss| !(loss.by_power && flushes);
        let destroyed = |broker: BrokerAt| {
            let is_gone = partition.has(broker) <= has;
            let is_later = |loss: &Loss| loss.moment.event >= first.moment.event;
            partition.replicas[broker].loss.filter(|loss| is_gone && counts(loss) && is_later(loss))
        };
        if !first.holders.is_empty() && first.holders.iter().all(|holder| destroyed(holder).is_some()) {
            let because =
                first.holders.iter().filter_map(|it| destroyed(it).map(|loss| self.loss_told(partition, it, &loss)));
            return Some(Verdict { why: ALL_COPIES, is_hole: false, because: because.collect() });
        }
        if let Some(forked) = partition.forked {
            let because = vec![(forked, "a leader that had lost records went on in its epoch".to_owned())];
            return Some(Verdict { why: LEADS_ON, is_hole: true, because });
        }
        if let Some(why) = partition.may_lack(leader) {
            let led = partition.led_scrambled.map(|led| (led, "a replica led whose truncation was undone".to_owned()));
            return Some(Verdict { why, is_hole: true, because: led.into_iter().collect() });
        }
        if partition.unknown_to_leader.has(leader) {
            return Some(Verdict { why: UNSEEN_GROWTH, is_hole: true, because: Vec::new() });
        }
        let loss = partition.open_loss(leader).filter(|loss| counts(loss)).copied()?;
        let mut because = vec![self.loss_told(partition, leader, &loss)];
        if let Some(joined) = loss.joined {
            because.push((joined, format!("{} was taken into the ISR again", self.seating.name(leader))));
        }
        let why = if loss.joined.is_some() { STALE_JOIN } else { LOST_TAIL };
        Some(Verdict { why, is_hole: true, because })
    }

    fn loss_told(&self, partition: &Partition, broker: BrokerAt, loss: &Loss) -> (Moment, String) {
        let who = self.seating.name(broker);
        let how = if loss.by_power { "lost power" } else { "lost its disk" };
        let alone = if loss.isr == Brokers::of(broker) { ", and was alone in the ISR" } else { "" };
        (
            loss.moment,
            format!("{who} {how}: its log of {} went from {} to {}{alone}", partition.name, loss.end, loss.left),
        )
    }

    /// E17: a follower is taken into the ISR by its leader.
    fn check_join(&mut self, moment: Moment, at: PartitionAt, broker: BrokerAt, findings: &mut Findings) {
        let partition = &self.partitions[at];
        let Some(leader) = partition.zk.as_ref().and_then(|zk| zk.leader) else { return };
        let epoch = partition.zk.as_ref().map(|zk| zk.state.leader_epoch);
        let (guards, follower) = (&partition.replicas[leader], &partition.replicas[broker]);
        // A leader that has begun another life, or another epoch, since it asked cannot be looked at any more.
        let Some((begun, start)) = guards.epoch_start.filter(|&(begun, _)| Some(begun) == epoch) else { return };
        self.tally.check(Rule::IsrJoinGuard);
        let (has, needs) = (follower.log.end(), guards.high_watermark.max(start));
        if has >= needs {
            return;
        }
        let headline = format!(
            "{} is taken into the ISR of {} with a log that ends at {has}; its leader's high watermark is {}, and epoch {begun} begins at {start}",
            self.seating.name(broker),
            partition.name,
            guards.high_watermark
        );
        let violation = Story::new(Rule::IsrJoinGuard, headline)
            .kind(if has < start { "before-the-epoch" } else { "below-the-high-watermark" })
            .detected(moment, "the new ISR is committed in ZooKeeper");
        self.broken(Rule::IsrJoinGuard, violation, findings);
    }

    /// A broker was taken into the ISR: E13, E17, L11.
    pub(crate) fn joined_isr(&mut self, moment: Moment, at: PartitionAt, broker: BrokerAt, findings: &mut Findings) {
        let partition = &self.partitions[at];
        if partition.open_loss(broker).is_some() && !partition.replicas[broker].fetched {
            if let Some(loss) = &mut self.partition_mut(at).replicas[broker].loss {
                loss.joined = Some(moment);
            }
            return self.relax_hole(Rule::CandidateComplete, STALE_JOIN, moment);
        }
        if let Some(why) = partition.may_lack(broker) {
            return self.relax_hole(Rule::CandidateComplete, why, moment);
        }
        if let Some(obligation) = partition.open_obligation(broker) {
            self.lost_by_truncation(moment, obligation.moment, at, broker, "joined", findings);
            self.partition_mut(at).replicas[broker].obligation = None;
            return;
        }
        self.check_join(moment, at, broker, findings);
        let partition = &self.partitions[at];
        if partition.has(broker) >= partition.canon.len() {
            return self.tally.check(Rule::CandidateComplete);
        }
        // Nothing but a loss in an earlier life can excuse a member that never caught up: the leader chose it.
        self.tally.check(Rule::CandidateComplete);
        let partition = &self.partitions[at];
        let first = *partition.canon.get(partition.has(broker)).expect("it lacks one");
        let (name, who) = (partition.name.clone(), self.seating.name(broker).to_owned());
        let headline =
            format!("{who} is taken into the ISR of {name} without what is committed from offset {} on", first.base);
        let violation = Story::new(Rule::CandidateComplete, headline)
            .promise(first.moment, format!("offset {} was committed by {}", first.base, self.host_name(first.moment)))
            .kind("premature-join")
            .detected(moment, "the new ISR is committed in ZooKeeper");
        self.broken(Rule::CandidateComplete, violation, findings);
    }
}
