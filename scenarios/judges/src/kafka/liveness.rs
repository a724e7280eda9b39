//! V04 to V08, E21 and E25: what has not come right yet, after everything healed.

use std::fmt::Write as _;
use std::sync::Arc;

use engine::Findings;
use kafkawire::{BrokerId, LeaderEpoch, TopicPartition};
use machine::HostId;

use super::cluster::{BrokerAt, Brokers, KafkaClientKind};
use super::control::told;
use super::fetching::ANSWER_DROPPED;
use super::oracle::KafkaOracle;
use super::partition::{PartitionAt, ReplicaRole};
use super::replica_log::{Chain as _, common};
use crate::{Moment, Rule};

/// Why partitions that nobody reads are not waited for.
const GAVE_UP: &str = "a member gave up to rebalance and has no partitions until something changes (known hole, the consumer of 0.8, kafka-broker.md §12 KA-B63)";

/// Why a replica that has everything is not waited for.
const UNSEEN_SHRINK: &str = "ZooKeeper has a smaller ISR than the leader knows, because the answer to its own write was lost with its session: it puts nobody back who it believes is there (known hole KIP-497, kafka-broker.md §5.11)";

/// Why clients that get nothing done are not waited for.
const LOST_TOPIC: &str = "ZooKeeper lost a topic with its power: nobody creates it again";

/// Why a client that gets nothing done is not waited for.
const LOST_CLIENT: &str = "every broker that a client was told of is broken for good: it does not go back to bootstrap.servers before 3.8 (known hole KIP-899)";

/// Why nobody is elected controller.
const UNWATCHED: &str = "/controller was deleted before any broker had set its watch on it again, which the claim had fired: nobody stands for election until a broker starts or loses its session (known hole, kafka-broker.md §3.3)";

/// A partition as a broker answers it to clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CachedPartition<'a> {
    /// Who leads.
    pub leader: Option<BrokerId>,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// Who is in sync.
    pub isr: &'a [BrokerId],
    /// The version of the `state` znode.
    pub version: i32,
}

/// What may be looked at while a world settles.
pub trait ClusterLook {
    /// Whether a host's process runs.
    fn is_running(&self, host: HostId) -> bool;
    /// Whether anything is asked of a host: not of one that is broken for good.
    fn is_meant(&self, host: HostId) -> bool;
    /// The brokers that a broker believes to be alive, in order.
    fn alive(&self, host: HostId) -> Vec<BrokerId>;
    /// A partition in a broker's metadata cache.
    fn cached(&self, host: HostId, partition: &TopicPartition) -> Option<CachedPartition<'_>>;
    /// What a broker is waiting for, in words.
    fn waits_for(&self, host: HostId) -> Option<String>;
}

/// Why a broker's metadata may stay old.
const UNDONE: &str = "an UpdateMetadata that was held up arrived behind a newer one and undid it: metadata caches compare no epochs \
                      (known hole, kafka-broker.md App. B)";

impl KafkaOracle {
    /// The first condition that is not met, in words; none if everything has come right.
    pub fn unsettled(&mut self, now: Moment, look: &impl ClusterLook) -> Option<String> {
        let live = self.live(look);
        self.tally.check(Rule::EphemeralRegistration);
        let mut gave_up = None;
        if let Some(what) = self.unregistered(look, &mut gave_up) {
            return Some(titled(Rule::EphemeralRegistration, &what));
        }
        if let Some(why) = gave_up {
            self.relax_hole(Rule::EphemeralRegistration, why, now);
        }
        self.tally.check(Rule::OneController);
        if self.stays_vacant(look) {
            // All that follows is a controller's to do, or comes to nothing without one.
            self.relax_hole(Rule::OneController, UNWATCHED, now);
            return None;
        }
        if let Some(what) = self.without_controller(look) {
            return Some(titled(Rule::OneController, &what));
        }
        self.tally.check(Rule::LeadersExist);
        if let Some(what) = self.without_leader(live) {
            return Some(titled(Rule::LeadersExist, &what));
        }
        self.tally.check(Rule::IsrFull);
        if let Some(what) = self.out_of_sync(now, live) {
            return Some(titled(Rule::IsrFull, &what));
        }
        self.tally.check(Rule::MetadataConverges);
        let mut undone = 0;
        if let Some(what) = self.stale_metadata(look, &mut undone) {
            return Some(titled(Rule::MetadataConverges, &what));
        }
        if undone > 0 {
            self.relax_hole(Rule::MetadataConverges, UNDONE, now);
        }
        let is_quiet = self.work.under_way.is_empty();
        self.tally.check(Rule::ReplicasEqual);
        if let Some(what) = self.unequal_replicas(now, live, is_quiet) {
            return Some(titled(Rule::ReplicasEqual, &what));
        }
        self.tally.check(Rule::ClientsComplete);
        let what = self.unfinished_clients(now, look)?;
        Some(titled(Rule::ClientsComplete, &what))
    }

    /// Brokers whose process runs and that are registered.
    fn live(&self, look: &impl ClusterLook) -> Brokers {
        let brokers = self.seating.cluster.brokers.iter().enumerate();
        let live = brokers.filter(|(_, it)| {
            look.is_meant(it.host) && look.is_running(it.host) && self.znodes.registrations.contains_key(&it.id)
        });
        live.fold(Brokers::NONE, |live, (at, _)| live.with(at))
    }

    /// E25: every broker that runs is registered by its own session.
    fn unregistered(&self, look: &impl ClusterLook, gave_up: &mut Option<&'static str>) -> Option<String> {
        for (at, broker) in self.seating.cluster.brokers.iter().enumerate() {
            let name = &broker.name;
            let shadow = &self.brokers[at];
            if !look.is_meant(broker.host) {
                if self.znodes.registrations.contains_key(&broker.id) && !look.is_running(broker.host) {
                    return Some(format!("{name} is registered and does not run"));
                }
                continue;
            }
            if !look.is_running(broker.host) {
                return Some(format!("{name} does not run"));
            }
            let waits = || look.waits_for(broker.host).map_or_else(String::new, |what| format!(" ({what})"));
            let Some(registration) = self.znodes.registrations.get(&broker.id) else {
                if shadow.gave_up.is_some() {
                    *gave_up = shadow.gave_up;
                    continue;
                }
                return Some(format!("{name} runs and is not registered{}", waits()));
            };
            if shadow.session != Some(registration.session) {
                let own = shadow.session.map_or_else(|| "none".to_owned(), |session| session.to_string());
                let of = registration.session;
                return Some(format!("{name} is registered by session {of}, and its session is {own}{}", waits()));
            }
        }
        None
    }

    /// Whether `/controller` went away and no broker that runs was told so, nor has had another reason to stand since.
    fn stays_vacant(&self, look: &impl ClusterLook) -> bool {
        let Some(vacated) = self.vacated.filter(|_| self.znodes.controller.is_none()) else { return false };
        let brokers = self.seating.cluster.brokers.iter().zip(&self.brokers);
        brokers
            .filter(|(broker, _)| look.is_meant(broker.host))
            .all(|(_, shadow)| shadow.stood.is_none_or(|stood| stood.event < vacated.event))
    }

    fn without_controller(&self, look: &impl ClusterLook) -> Option<String> {
        let Some((controller, _)) = self.znodes.controller else {
            return Some("no broker is controller".to_owned());
        };
        let epoch = self.znodes.epoch;
        for (at, broker) in self.seating.cluster.brokers.iter().enumerate() {
            let believes = self.brokers[at].controls;
            if !look.is_meant(broker.host) {
                if broker.id == controller {
                    return Some(format!("ZooKeeper names {} the controller, and it is broken for good", broker.name));
                }
                continue;
            }
            if broker.id == controller && (believes != Some(epoch) || !look.is_running(broker.host)) {
                return Some(format!(
                    "ZooKeeper names {} the controller of epoch {epoch}, and it does not act",
                    broker.name
                ));
            }
            if broker.id != controller
                && let Some(believes) = believes
            {
                let name = self.name_of(controller);
                return Some(format!(
                    "{} acts as controller of epoch {believes}, and ZooKeeper names {name}",
                    broker.name
                ));
            }
        }
        None
    }

    /// The partitions that are assigned.
    fn assigned_partitions(&self) -> impl Iterator<Item = PartitionAt> {
        (0..self.partitions.len()).filter(|&at| !self.partitions[at].assignment.is_empty())
    }

    fn without_leader(&self, live: Brokers) -> Option<String> {
        for at in self.assigned_partitions() {
            let partition = &self.partitions[at];
            let name = &partition.name;
            let Some(zk) = &partition.zk else {
                if !partition.assigned.and(live).is_empty() {
                    return Some(format!("{name} is assigned and has no state yet"));
                }
                continue;
            };
            if zk.isr.and(live).is_empty() {
                continue;
            }
            let epoch = zk.state.leader_epoch;
            let Some(leader) = zk.leader.filter(|&leader| live.has(leader)) else {
                return Some(format!(
                    "{name} has no live leader though {} could lead it: {}",
                    self.seating.names(zk.isr.and(live)),
                    told(&zk.state)
                ));
            };
            if partition.replicas[leader].role != ReplicaRole::Leader(epoch) {
                return Some(format!(
                    "{} does not know that it leads {name}: {}",
                    self.seating.name(leader),
                    told(&zk.state)
                ));
            }
        }
        None
    }

    fn out_of_sync(&mut self, now: Moment, live: Brokers) -> Option<String> {
        for at in self.assigned_partitions().collect::<Vec<_>>() {
            let partition = &self.partitions[at];
            let Some(zk) = &partition.zk else { continue };
            let (should, is) = (partition.assigned.and(live), zk.isr);
            if let Some(why) = self.headless(at) {
                self.relax_hole(Rule::IsrFull, why, now);
                continue;
            }
            let missing = should.without(is);
            let waited_for = missing.iter().find(|&broker| self.stays_outside(at, broker).is_none());
            let dead = is.without(should);
            if waited_for.is_some() || !dead.is_empty() {
                let mut what = format!("the ISR of {} is {}", partition.name, self.seating.names(is));
                if let Some(broker) = waited_for {
                    let _ =
                        write!(what, ", and {} is alive: {}", self.seating.name(broker), self.replica_told(at, broker));
                } else {
                    let _ = write!(what, ", and {} does not live", self.seating.names(dead));
                }
                return Some(what);
            }
            let excused: Vec<_> = missing.iter().filter_map(|broker| self.stays_outside(at, broker)).collect();
            for why in excused {
                self.relax_hole(Rule::IsrFull, why, now);
            }
        }
        None
    }

    /// Why a broker that runs is not registered, if it is so for good.
    fn away(&self, broker: BrokerAt) -> Option<&'static str> {
        let id = self.seating.cluster.brokers[broker].id;
        self.brokers[broker].gave_up.filter(|_| !self.znodes.registrations.contains_key(&id))
    }

    fn registered_of(&self, brokers: Brokers) -> Brokers {
        let is_registered =
            |&broker: &BrokerAt| self.znodes.registrations.contains_key(&self.seating.cluster.brokers[broker].id);
        brokers.iter().filter(is_registered).fold(Brokers::NONE, Brokers::with)
    }

    /// Why a partition has no leader: nobody in sync is registered, and somebody who is gave up.
    fn headless(&self, at: PartitionAt) -> Option<&'static str> {
        let zk = self.partitions[at].zk.as_ref()?;
        let is_led = zk.leader.is_some_and(|leader| !self.registered_of(Brokers::of(leader)).is_empty());
        if is_led || !self.registered_of(zk.isr).is_empty() {
            return None;
        }
        zk.isr.iter().find_map(|broker| self.away(broker))
    }

    /// Why nothing with acks=all can be written to a partition: the members that it lacks gave up.
    fn starved(&self, at: PartitionAt) -> Option<&'static str> {
        let partition = &self.partitions[at];
        let isr = self.registered_of(partition.isr()).iter().count();
        let away: Vec<_> = partition.assigned.iter().filter_map(|broker| self.away(broker)).collect();
        let least = self.min_insync(&partition.name.topic);
        let is_for_them = isr < least && isr + away.len() >= least;
        self.headless(at).or_else(|| away.first().copied().filter(|_| is_for_them))
    }

    /// Why a live replica may stay outside of the ISR for good; none if it may not.
    fn stays_outside(&self, at: PartitionAt, broker: BrokerAt) -> Option<&'static str> {
        let partition = &self.partitions[at];
        let zk = partition.zk.as_ref()?;
        let leader = zk.leader?;
        let believed = partition.believed.filter(|&(epoch, _)| epoch == zk.state.leader_epoch);
        let registration = self.znodes.registrations.get(&self.seating.cluster.brokers[leader].id);
        let is_answer_lost = registration.is_some_and(|it| it.moment.event > zk.moment.event);
        if is_answer_lost && believed.is_some_and(|(_, isr)| isr.has(broker)) {
            return Some(UNSEEN_SHRINK);
        }
        let leaders = &partition.replicas[leader].log;
        let end = partition.replicas[broker].log.end();
        let straddling = leaders.get(leaders.count_below(end)).filter(|entry| entry.base < end);
        straddling.and_then(|_| partition.differs_within_epoch())
    }

    /// What a replica is, for whoever wonders why it does not get on.
    fn replica_told(&self, at: PartitionAt, broker: BrokerAt) -> String {
        let partition = &self.partitions[at];
        let replica = &partition.replicas[broker];
        let role = match replica.role {
            ReplicaRole::None => "has no role".to_owned(),
            ReplicaRole::Leader(epoch) => format!("leads epoch {epoch}"),
            ReplicaRole::Follower(epoch) => format!("follows in epoch {epoch}"),
        };
        format!("it {role} and has {} of {}", replica.log.end(), partition.canon.end())
    }

    /// E21: every metadata cache says what ZooKeeper says, and no notification was left.
    ///
    /// `undone` counts what an UpdateMetadata that arrived behind a newer one has undone.
    fn stale_metadata(&self, look: &impl ClusterLook, undone: &mut u64) -> Option<String> {
        let registered: Vec<BrokerId> = self.znodes.registrations.keys().copied().collect();
        let brokers = self.seating.cluster.brokers.iter().zip(&self.brokers);
        // Who is not registered is told nothing.
        for (broker, shadow) in brokers.filter(|(it, shadow)| look.is_meant(it.host) && shadow.gave_up.is_none()) {
            let heard = &shadow.told;
            let alive = look.alive(broker.host);
            if alive != registered && alive == heard.alive && heard.alive_before.contains(&registered) {
                *undone += 1;
            } else if alive != registered {
                return Some(format!(
                    "{} believes that {alive:?} are alive, and {registered:?} are registered",
                    broker.name
                ));
            }
            for at in self.assigned_partitions() {
                let partition = &self.partitions[at];
                let Some(zk) = &partition.zk else { continue };
                let Some(cached) = look.cached(broker.host, &partition.name) else {
                    return Some(format!("{} does not know {}", broker.name, partition.name));
                };
                let same_isr = self.seating.brokers(cached.isr) == zk.isr;
                let known = (cached.leader, cached.leader_epoch, cached.version);
                let of_zk = (zk.state.leader_epoch, zk.version);
                let is_undone = heard.states.get(&at) == Some(&[(cached.leader_epoch, cached.version), of_zk]);
                if is_undone && (cached.leader_epoch, cached.version) < of_zk {
                    *undone += 1;
                } else if !same_isr || known != (zk.state.leader, zk.state.leader_epoch, zk.version) {
                    return Some(format!(
                        "{} has an old state of {}: leader {:?} in epoch {}, ISR {:?}, version {}; ZooKeeper has {}, version {}",
                        broker.name,
                        partition.name,
                        cached.leader.map(|id| id.0),
                        cached.leader_epoch,
                        cached.isr.iter().map(|id| id.0).collect::<Vec<_>>(),
                        cached.version,
                        told(&zk.state),
                        zk.version
                    ));
                }
            }
        }
        let left = self.znodes.notifications.first()?;
        Some(format!("{left} was never taken up by a controller"))
    }

    /// V07.
    fn unequal_replicas(&mut self, now: Moment, live: Brokers, is_quiet: bool) -> Option<String> {
        let mut dropped = 0;
        for at in self.assigned_partitions().collect::<Vec<_>>() {
            let partition = &self.partitions[at];
            // Nothing repairs a record in the midst of a log.
            if let Some((zk, why)) = partition.zk.as_ref().zip(partition.differs_within_epoch()) {
                let moment = zk.moment;
                self.relax_hole(Rule::ReplicasEqual, why, moment);
                continue;
            }
            let Some(leader) = partition.zk.as_ref().and_then(|zk| zk.leader) else { continue };
            let log = &partition.replicas[leader].log;
            for broker in partition.assigned.and(live).iter() {
                let replica = &partition.replicas[broker];
                let (own, name, who) = (&replica.log, &partition.name, self.seating.name(broker));
                let both = common(own, log);
                if both < own.batches().min(log.batches()) {
                    let from = log.get(both).map_or(0, |entry| entry.base);
                    return Some(format!("{who} and its leader differ on {name} from offset {from} on"));
                }
                if is_quiet && own.end() != log.end() {
                    return Some(format!("{who} has {name} up to {}, and its leader up to {}", own.end(), log.end()));
                }
                if is_quiet && replica.dropped_high_watermark == Some(own.end()) {
                    dropped += u64::from(replica.high_watermark != own.end());
                } else if is_quiet && replica.high_watermark != own.end() {
                    let passed = replica.high_watermark;
                    return Some(format!("{who} has {name} up to {}, with its high watermark at {passed}", own.end()));
                }
            }
        }
        if dropped > 0 {
            self.relax_hole(Rule::ReplicasEqual, ANSWER_DROPPED, now);
        }
        None
    }

    /// V08.
    fn unfinished_clients(&mut self, now: Moment, look: &impl ClusterLook) -> Option<String> {
        let seating = Arc::clone(&self.seating);
        // Simplified: clients of other topics are not waited for either; no scenario has any.
        if self.partitions.iter().any(|it| it.assignment.is_empty() && it.canon.len() > 0) {
            self.tally.relax(Rule::ClientsComplete, LOST_TOPIC);
            return None;
        }
        for (at, client) in seating.cluster.clients.iter().enumerate() {
            let name = &client.name;
            if !look.is_running(client.host) {
                return Some(format!("{name} does not run"));
            }
            if self.is_lost(at, look) {
                self.relax_hole(Rule::ClientsComplete, LOST_CLIENT, now);
                continue;
            }
            let shadow = &self.work.clients[at];
            if client.kind == KafkaClientKind::Admin && !shadow.topics_ready {
                // It waits until it knows every broker, so that its topics are spread over all.
                if let Some(why) = self.brokers.iter().find_map(|broker| broker.gave_up) {
                    self.relax_hole(Rule::ClientsComplete, why, now);
                    continue;
                }
                return Some(format!("{name} has not seen every topic that it was to create"));
            }
            if let Some(moment) = shadow.gave_up.filter(|_| client.probes && !shadow.probed) {
                self.relax_hole(Rule::ClientsComplete, GAVE_UP, moment);
                continue;
            }
            if client.probes && !shadow.probed {
                let starved = self.assigned_partitions().find_map(|at| self.starved(at));
                if let Some(why) = starved {
                    self.relax_hole(Rule::ClientsComplete, why, now);
                    continue;
                }
                return Some(format!("nothing new of {name} has succeeded{}", self.oldest_told(now)));
            }
        }
        let lost: Vec<usize> = (0..seating.cluster.clients.len()).filter(|&at| self.is_lost(at, look)).collect();
        let is_of_lost =
            |record: u64| lost.iter().any(|&at| u64::from(seating.cluster.clients[at].number) == record >> 48);
        let under_way = self.work.under_way.iter();
        let most = under_way.filter(|&(&record, &(at, _))| !is_of_lost(record) && self.starved(at).is_none()).count();
        if most > 0 {
            return Some(format!(
                "{most} records have neither been acknowledged nor given up{}",
                self.oldest_told(now)
            ));
        }
        self.unread(&seating, &lost)
    }

    /// Whether every broker that a client knows is broken for good. The consumer of 0.8 and the producers that read ZooKeeper learn
    /// of others there.
    fn is_lost(&self, client: usize, look: &impl ClusterLook) -> bool {
        let cluster = &self.seating.cluster;
        let asks_brokers = match cluster.clients[client].kind {
            KafkaClientKind::Producer | KafkaClientKind::Consumer => true,
            KafkaClientKind::ZkConsumer | KafkaClientKind::Admin => false,
        };
        let knows = self.work.clients[client].knows;
        asks_brokers && !knows.is_empty() && knows.iter().all(|broker| !look.is_meant(cluster.brokers[broker].host))
    }

    fn oldest_told(&self, now: Moment) -> String {
        self.work.oldest().map_or_else(String::new, |(record, since)| {
            format!("; {record} has been under way for {} ms", now.at.saturating_since(since.at).as_millis())
        })
    }

    /// Consumers that have not read everything, and partitions that nobody of a group reads.
    fn unread(&mut self, seating: &super::cluster::Seating, lost: &[usize]) -> Option<String> {
        let mut gave_up = None;
        for (at, client) in seating.cluster.clients.iter().enumerate().filter(|(at, _)| !lost.contains(at)) {
            let shadow = &self.work.clients[at];
            if client.kind == KafkaClientKind::ZkConsumer {
                gave_up = gave_up.or(shadow.gave_up);
            }
            for (&at_of, position) in &shadow.positions {
                let partition = &self.partitions[at_of];
                let end = partition.canon.end();
                if position.next < end && self.headless(at_of).is_none() {
                    let (name, of, next) = (&client.name, &partition.name, position.next);
                    return Some(format!("{name} has read {of} up to {next} of {end}"));
                }
            }
        }
        let orphan = self.orphan()?;
        if let Some(moment) = gave_up {
            self.relax_hole(Rule::ClientsComplete, GAVE_UP, moment);
            return None;
        }
        Some(orphan)
    }

    /// A partition of a topic that a balanced group reads, and that nobody of the group reads.
    fn orphan(&self) -> Option<String> {
        let zk_consumers = self.seating.cluster.clients.iter().any(|it| it.kind == KafkaClientKind::ZkConsumer);
        if !zk_consumers {
            return None;
        }
        for (group, at) in self.groups.owned_ever() {
            if self.groups.is_balanced(group) && self.groups.readers(group, *at) == 0 {
                return Some(format!("nobody of group {group} reads {}", self.partitions[*at].name));
            }
        }
        None
    }

    /// The run is over: leaders still have everything, and then the black-box checks.
    pub fn finish(&mut self, now: Moment, findings: &mut Findings) {
        for at in 0..self.partitions.len() {
            if let Some(leader) = self.partitions[at].zk.as_ref().and_then(|zk| zk.leader) {
                self.check_complete(now, at, leader, findings);
            }
        }
        self.judge_records(now, findings);
        self.tally.check(Rule::Gap);
    }
}

fn titled(rule: Rule, what: &str) -> String {
    format!("{} {}: {what}", rule.id(), rule.name())
}
