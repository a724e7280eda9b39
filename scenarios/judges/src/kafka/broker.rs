//! Judges of a broker's process: E05, E06, E08, E09, and what it states about its replicas.

use std::collections::{BTreeMap, BTreeSet};

use engine::Findings;
use jute::SessionId;
use kafkawire::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch};
use machine::disk::FileId;
use machine::{EndId, Ticket};

use super::cluster::BrokerAt;
use super::config_reads::ConfigReads;
use super::fetching::Fetching;
use super::oracle::KafkaOracle;
use super::partition::{Appender, PartitionAt, ReplicaRole};
use crate::moment::Story;
use crate::{Moment, Rule};

/// Why a second life may go on in the epoch of the first.
pub(crate) const LEADS_ON: &str = "a controller that took over after a leader's process had ended found it registered again, and left it its epoch (known hole, kafka-broker.md §4.5 at startup)";

/// A request whose answer matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// A produce with acks=all.
    ProduceToAll { correlation: i32 },
    /// A consumer's fetch.
    Consume { correlation: i32 },
}

/// What is known of a broker's process.
#[derive(Clone, Default, Debug)]
pub(crate) struct BrokerShadow {
    pub(crate) is_up: bool,
    pub(crate) life: u32,
    /// When its last process ended.
    pub(crate) ended: Option<Moment>,
    /// The session it was connected with last.
    pub(crate) session: Option<SessionId>,
    /// The session that registered it last in this process, and the epoch that made.
    pub(crate) registered_by: Option<SessionId>,
    pub(crate) epoch: Option<BrokerEpoch>,
    /// When it learnt that its session is over, until it is registered again.
    pub(crate) expired: Option<Moment>,
    /// It takes requests: its controller's thread was started before.
    pub(crate) serves: bool,
    /// When something made it stand for election last.
    pub(crate) stood: Option<Moment>,
    /// Why it does not register again, until its next session ends.
    pub(crate) gave_up: Option<&'static str>,
    /// The epoch in which it believes to be controller.
    pub(crate) controls: Option<ControllerEpoch>,
    /// The highest controller epoch whose request this process applied.
    pub(crate) obeyed: Option<(ControllerEpoch, Moment)>,
    /// Syncs under way.
    pub(crate) syncs: BTreeMap<Ticket, FileId>,
    /// A sync failed once.
    pub(crate) has_failing_disk: bool,
    /// Bits of what is on its disk flipped once.
    pub(crate) has_rotten_disk: bool,
    /// Requests that wait for their answers, one at most per connection.
    pub(crate) asked: BTreeMap<EndId, Asked>,
    /// What UpdateMetadata told this process.
    pub(crate) told: Told,
    /// Incarnation of the registration that each control request in its hands was meant for, by controller and API.
    pub(crate) addressed: BTreeMap<(BrokerId, &'static str), (Option<BrokerEpoch>, Moment)>,
    /// Its last fetch on each connection, answered or not.
    pub(crate) fetching: BTreeMap<EndId, Fetching>,
    /// What it asks ZooKeeper of the configurations of topics, and what it was told that was not so any more.
    pub(crate) configs: ConfigReads,
    /// The epochs that control requests carried which were not too old when they came to this process.
    pub(crate) let_in: BTreeSet<BrokerEpoch>,
}

/// What UpdateMetadata told a process, in the order in which it arrived: a cache has no epochs to compare (kafka-broker.md
/// App. B), so a request that was held up and arrives behind a newer one undoes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Who was said to be alive, last.
    pub(crate) alive: Vec<BrokerId>,
    /// Who ever was, but not last.
    pub(crate) alive_before: BTreeSet<Vec<BrokerId>>,
    /// Leader epoch and version of each partition, last and newest.
    pub(crate) states: BTreeMap<PartitionAt, [(LeaderEpoch, i32); 2]>,
}

impl BrokerShadow {
    pub(crate) fn begin_process(&mut self, life: u32) {
        let (ended, has_failing_disk, has_rotten_disk) = (self.ended, self.has_failing_disk, self.has_rotten_disk);
        *self = Self { is_up: true, life, ended, has_failing_disk, has_rotten_disk, ..Self::default() };
    }

    pub(crate) fn end_process(&mut self, moment: Moment) {
        let (life, has_failing_disk, has_rotten_disk) = (self.life, self.has_failing_disk, self.has_rotten_disk);
        *self = Self { life, ended: Some(moment), has_failing_disk, has_rotten_disk, ..Self::default() };
    }
}

/// Why a broker that runs need not be registered.
pub(crate) const GAVE_UP: &str = "a broker found its registration in the hands of a session of its own whose answer it never got, and tries again only when its next session ends (known hole, kafka-broker.md §3.2 c)";
const NOBODY_LISTENS: &str = "the session of a broker that started was over between its registration and the start of its controller, who alone registers it again (known hole, kafka-broker.md §3.1 steps 13 to 15)";

/// Why a broker may apply a request to its earlier registration.
const CHECKED_EARLY: &str = "a control request waited for a partition while its broker registered again: epochs are compared before the wait and not behind it (known hole, kafka-broker.md §4.15)";

impl KafkaOracle {
    /// Whether a controller was elected after a moment.
    fn took_over_since(&self, moment: Option<Moment>) -> bool {
        let last = self.znodes.terms.values().next_back();
        moment.zip(last).is_some_and(|(moment, last)| last.moment.event > moment.event)
    }

    /// A leader that goes on in the epoch of its earlier life writes anew what it lost: with the same offsets, and in the same epoch
    /// as its followers have known for long.
    pub(super) fn note_fork(&mut self, moment: Moment, at: PartitionAt, broker: BrokerAt, epoch: LeaderEpoch) {
        let partition = &self.partitions[at];
        let Some(first) = partition.leaders.get(&epoch) else { return };
        let is_second_life = first.broker == broker && first.life != self.brokers[broker].life;
        let loss = partition.replicas[broker].loss.as_ref();
        let has_lost = loss.is_some_and(|loss| loss.left < loss.end && loss.moment.event > first.moment.event);
        if is_second_life && has_lost && self.took_over_since(self.brokers[broker].ended) {
            self.partition_mut(at).forked = Some(moment);
        }
    }

    /// A broker takes requests from now on.
    pub fn broker_serves(&mut self, broker: BrokerAt) {
        self.broker_mut(broker).serves = true;
    }

    /// A broker stands for election, unless somebody is controller: it has started, or registers with another session, or its watch
    /// tells it that `/controller` is gone (kafka-broker.md §3.3).
    pub fn stands(&mut self, moment: Moment, broker: BrokerAt) {
        self.broker_mut(broker).stood = Some(moment);
    }

    /// A broker learnt that its session is over.
    pub fn broker_session_expired(&mut self, moment: Moment, broker: BrokerAt) {
        let shadow = self.broker_mut(broker);
        shadow.expired = Some(moment);
        shadow.gave_up = (shadow.registered_by.is_some() && !shadow.serves).then_some(NOBODY_LISTENS);
    }

    /// A broker believes that it is controller, or no longer.
    pub fn controls(&mut self, broker: BrokerAt, epoch: Option<ControllerEpoch>) {
        self.broker_mut(broker).controls = epoch;
    }

    /// A control request passed a broker's fences: E05, E06.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn control_applied(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        api: &'static str,
        controller: BrokerId,
        epoch: ControllerEpoch,
        broker_epoch: BrokerEpoch,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::StaleControlRequest);
        let who = self.seating.name(broker).to_owned();
        let from = self.name_of(controller);
        if let Some((obeyed, then)) = self.brokers[broker].obeyed
            && epoch < obeyed
        {
            let headline =
                format!("{who} applied {api} of {from}, controller of epoch {epoch}, behind one of epoch {obeyed}");
            let story = Story::new(Rule::StaleControlRequest, headline)
                .promise(then, format!("it applied a request of epoch {obeyed}"))
                .kind(api)
                .detected(moment, format!("it obeys epoch {epoch}"));
            self.broken(Rule::StaleControlRequest, story, findings);
        }
        let shadow = self.broker_mut(broker);
        if shadow.obeyed.is_none_or(|(obeyed, _)| obeyed < epoch) {
            shadow.obeyed = Some((epoch, moment));
        }
        self.check_incarnation(moment, broker, api, controller, broker_epoch, findings);
    }

    /// E06. What a request carries counts; if it carries nothing, whom its sender meant when it sent it first.
    fn check_incarnation(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        api: &'static str,
        controller: BrokerId,
        carried: BrokerEpoch,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::StaleBrokerIncarnation);
        let sent = self.brokers[broker].addressed.get(&(controller, api)).copied();
        let addressed = if carried.0 >= 0 { Some(carried) } else { sent.and_then(|(epoch, _)| epoch) };
        let (Some(own), Some(addressed)) = (self.brokers[broker].epoch, addressed) else { return };
        if addressed >= own {
            return;
        }
        // The process is the same one: only its session is another.
        if self.brokers[broker].let_in.contains(&carried) {
            return self.relax_hole(Rule::StaleBrokerIncarnation, CHECKED_EARLY, moment);
        }
        let who = self.seating.name(broker).to_owned();
        let from = self.name_of(controller);
        let headline = format!(
            "{who}, registered with epoch {own}, applied {api} of {from} that was meant for its earlier life, of epoch {addressed}"
        );
        let mut story = Story::new(Rule::StaleBrokerIncarnation, headline);
        if let Some((_, then)) = sent {
            story = story.first_wrong(then, format!("{from} sent it first, to epoch {addressed}"));
        }
        let id = self.seating.cluster.brokers[broker].id;
        if let Some(registration) = self.znodes.last_registration.get(&id) {
            story = story.promise(registration.moment, format!("{who} registered with epoch {}", registration.epoch));
        }
        let violation = story.kind(api).detected(moment, format!("{who} applies it"));
        self.broken(Rule::StaleBrokerIncarnation, violation, findings);
    }

    /// A broker leads a partition in an epoch: E08; L10 with the log it leads with.
    pub fn became_leader(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        topic: &str,
        number: i32,
        epoch: LeaderEpoch,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        self.heard_of_epoch(moment, at, broker, epoch, findings);
        self.note_fork(moment, at, broker, epoch);
        let life = self.brokers[broker].life;
        let partition = self.partition_mut(at);
        partition.leaders.entry(epoch).or_insert(Appender { broker, life, moment });
        partition.replicas[broker].role = ReplicaRole::Leader(epoch);
        if partition.scrambled.has(broker) && partition.led_scrambled.is_none() {
            partition.led_scrambled = Some(moment);
        }
        if self.partitions[at].is_led_by(broker, epoch) {
            let is_clean = self.partitions[at].uncleans.last().is_none_or(|unclean| {
                self.partitions[at].zk.as_ref().is_none_or(|zk| zk.moment.event != unclean.moment.event)
            });
            self.check_leader(moment, at, broker, is_clean, findings);
        }
    }

    /// A broker leads a partition in an epoch that begins at this offset of its log.
    pub fn epoch_began(&mut self, broker: BrokerAt, topic: &str, number: i32, epoch: LeaderEpoch, start: i64) {
        if let Some(at) = self.place(topic, number) {
            self.partition_mut(at).replicas[broker].epoch_start = Some((epoch, start));
        }
    }

    /// A broker follows a partition in an epoch: E08.
    pub fn became_follower(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        topic: &str,
        number: i32,
        epoch: LeaderEpoch,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        self.heard_of_epoch(moment, at, broker, epoch, findings);
        self.partition_mut(at).replicas[broker].role = ReplicaRole::Follower(epoch);
    }

    /// A broker no longer has a replica's partition.
    pub fn replica_stopped(&mut self, broker: BrokerAt, topic: &str, number: i32, is_deleted: bool) {
        let Some(at) = self.place(topic, number) else { return };
        let replica = &mut self.partition_mut(at).replicas[broker];
        replica.role = ReplicaRole::None;
        if is_deleted {
            replica.epoch = None;
        }
    }

    /// E08, in a broker's memory.
    fn heard_of_epoch(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        broker: BrokerAt,
        epoch: LeaderEpoch,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::LeaderEpochMonotone);
        let known = self.partitions[at].replicas[broker].epoch;
        if let Some((known, then)) = known
            && epoch < known
        {
            let (name, who) = (self.partitions[at].name.clone(), self.seating.name(broker).to_owned());
            let headline = format!("{who} goes back from leader epoch {known} of {name} to {epoch}");
            let story = Story::new(Rule::LeaderEpochMonotone, headline)
                .promise(then, format!("{who} had epoch {known}"))
                .kind("memory")
                .detected(moment, format!("it takes up epoch {epoch}"));
            self.broken(Rule::LeaderEpochMonotone, story, findings);
        }
        if known.is_none_or(|(known, _)| known < epoch) {
            self.partition_mut(at).replicas[broker].epoch = Some((epoch, moment));
        }
    }

    /// A broker states that a batch is in its log: E09, and the log has it.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn appended(
        &mut self,
        moment: Moment,
        broker: BrokerAt,
        topic: &str,
        number: i32,
        leads: bool,
        base: i64,
        epoch: LeaderEpoch,
        checksum: u32,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        self.tally.check(Rule::CommittedPrefix);
        let log = &self.partitions[at].replicas[broker].log;
        if !log.is_stale() && log.at(base).is_none_or(|entry| (entry.crc, entry.epoch) != (checksum, epoch.0)) {
            let (name, who) = (self.partitions[at].name.clone(), self.seating.name(broker).to_owned());
            let headline = format!(
                "{who} states that it appended offset {base} of {name} in epoch {epoch}, and its files do not have it"
            );
            let note = "it states so";
            self.broken_plainly(Rule::CommittedPrefix, "phantom-append", headline, moment, note, findings);
        }
        if !leads {
            return;
        }
        self.tally.check(Rule::OneAppender);
        let life = self.brokers[broker].life;
        let first = self.partitions[at].appenders.get(&epoch).copied();
        match first {
            None => {
                let appenders = &mut self.partition_mut(at).appenders;
                appenders.insert(epoch, Appender { broker, life, moment });
            }
            Some(first) if (first.broker, first.life) == (broker, life) => {}
            // A controller that took over meanwhile has not seen the broker away, and lets it lead on.
            Some(first) if first.broker == broker && self.took_over_since(self.brokers[broker].ended) => {
                self.note_fork(moment, at, broker, epoch);
                let appender = Appender { broker, life, moment };
                self.partition_mut(at).appenders.insert(epoch, appender);
                self.relax_hole(Rule::OneAppender, LEADS_ON, moment);
            }
            Some(first) => {
                let name = self.partitions[at].name.clone();
                let (a, b) = (self.seating.name(first.broker), self.seating.name(broker));
                let again = if first.broker == broker { ", in two lives," } else { "" };
                let headline = format!("{a} and {b}{again} both appended to {name} as leader of epoch {epoch}");
                let story = Story::new(Rule::OneAppender, headline)
                    .first_wrong(first.moment, format!("{a} appended first"))
                    .kind("split-brain-append")
                    .detected(moment, format!("{b} appends too"));
                self.broken(Rule::OneAppender, story, findings);
            }
        }
    }
}
