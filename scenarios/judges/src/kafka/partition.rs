//! A partition as the judges know it: the committed history, its replicas, and what ZooKeeper says of it.
//!
//! The committed history (the *canon*, invariants-and-faults.md §2.10) grows when a leader's high watermark passes a batch.
//! It lives in no broker. An excused loss cuts it, and what was committed before is forgotten from there on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jute::Zxid;
use kafkawire::znode::PartitionState;
use kafkawire::{BrokerId, LeaderEpoch, TopicPartition};

use super::broker::LEADS_ON;
use super::cluster::{BrokerAt, Brokers};
use super::logs::CUT_UNDONE;
use super::replica_log::{Chain, Entry, ReplicaLog, common};
use crate::Moment;
use crate::chunked::Chunked;

/// A partition's place among the judges' partitions.
pub(crate) type PartitionAt = usize;

/// A committed batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canonical {
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) epoch: i32,
    pub(crate) crc: u32,
    pub(crate) chain: u64,
    /// Brokers that had it when it became committed.
    pub(crate) holders: Brokers,
    pub(crate) moment: Moment,
}

/// The committed history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canon(pub(crate) Chunked<Canonical>);

impl Chain for Canon {
    fn batches(&self) -> usize {
        self.0.len()
    }

    fn chain_at(&self, at: usize) -> u64 {
        self.0.get(at).expect("it is below the length").chain
    }
}

impl Canon {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The true high watermark.
    pub(crate) fn end(&self) -> i64 {
        self.0.last().map_or(0, |last| last.last + 1)
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Canonical> {
        self.0.get(at)
    }

    /// How many batches lie wholly below an offset.
    pub(crate) fn count_below(&self, offset: i64) -> usize {
        self.0.partition_point(|it| it.last < offset)
    }

    /// The committed batch that begins at an offset.
    pub(crate) fn at(&self, base: i64) -> Option<&Canonical> {
        let at = self.0.partition_point(|it| it.base < base);
        self.0.get(at).filter(|it| it.base == base)
    }

    pub(crate) fn push(&mut self, entry: &Entry, holders: Brokers, moment: Moment) {
        let &Entry { base, last, epoch, crc, chain, .. } = entry;
        self.0.push(Canonical { base, last, epoch, crc, chain, holders, moment });
    }
}

/// Part of a log that a fault destroyed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    pub(crate) moment: Moment,
    /// How many committed batches it had, and how far it reached.
    pub(crate) had: usize,
    pub(crate) end: i64,
    /// Where it ends now.
    pub(crate) left: i64,
    /// Who was in sync then.
    pub(crate) isr: Brokers,
    /// A loss of power did it, so that what was synced is still there.
    pub(crate) by_power: bool,
    /// When it was taken into the ISR again, before it had back what it lost.
    pub(crate) joined: Option<Moment>,
}

/// A truncation of committed records: the replica must have them back before anybody counts on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Obligation {
    pub(crate) moment: Moment,
    /// How many committed batches it must have.
    pub(crate) needs: usize,
}

/// A log as it was when its process ended.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    pub(crate) moment: Moment,
    pub(crate) log: ReplicaLog,
    pub(crate) flushed: i64,
    pub(crate) by_power: bool,
    pub(crate) unsynced_cut: bool,
}

/// What a replica does in the present process.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum ReplicaRole {
    /// Nothing yet, or no more.
    #[default]
    None,
    /// It leads.
    Leader(LeaderEpoch),
    /// It follows.
    Follower(LeaderEpoch),
}

/// A replica on a broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    pub(crate) log: ReplicaLog,
    /// The high watermark it stated last, and the highest of this process.
    pub(crate) high_watermark: i64,
    pub(crate) high_watermark_most: i64,
    /// Up to where the log is durable, at least.
    pub(crate) flushed: i64,
    pub(crate) before: Option<Arc<Before>>,
    /// The log was cut, and not synced since: a loss of power may undo that.
    pub(crate) unsynced_cut: bool,
    pub(crate) loss: Option<Loss>,
    pub(crate) obligation: Option<Obligation>,
    pub(crate) role: ReplicaRole,
    /// The epoch it led last in this process, and where that began in its log.
    pub(crate) epoch_start: Option<(LeaderEpoch, i64)>,
    /// The highest leader epoch that this process has heard of.
    pub(crate) epoch: Option<(LeaderEpoch, Moment)>,
    /// This process has fetched the partition from a leader.
    pub(crate) fetched: bool,
    /// The high watermark that its leader's last answer said, if it had to drop that.
    pub(crate) dropped_high_watermark: Option<i64>,
}

/// A partition's `state` znode.
#[derive(Clone, Debug)]
pub(crate) struct ZkState {
    pub(crate) state: PartitionState,
    pub(crate) leader: Option<BrokerAt>,
    pub(crate) isr: Brokers,
    pub(crate) version: i32,
    pub(crate) zxid: Zxid,
    pub(crate) moment: Moment,
}

/// An event that replaced part of the committed history, with excuse.
#[derive(Clone, Debug)]
pub(crate) struct Rebase {
    /// The lowest offset from which what was committed is no longer.
    pub(crate) from: i64,
    pub(crate) why: &'static str,
}

/// The election of a replica that was not in sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unclean {
    pub(crate) moment: Moment,
    /// The epoch that it begins.
    pub(crate) epoch: LeaderEpoch,
}

/// An ISR that grew, and its leader was not told before its epoch was over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overlooked {
    /// When it was written.
    pub(crate) moment: Moment,
    pub(crate) epoch: LeaderEpoch,
}

/// Why a leader whose epoch is over commits what the new one need not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overruled {
    /// The new one was not in sync.
    Uncleanly(Moment),
    /// It was taken into the ISR, and the leader of that epoch never knew.
    Unseen(Moment),
}

/// Who led in an epoch, or appended as its leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Appender {
    pub(crate) broker: BrokerAt,
    pub(crate) life: u32,
    pub(crate) moment: Moment,
}

/// The highest offset somebody was promised: acknowledged to a producer with acks=all, or given to a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Promise {
    pub(crate) end: i64,
    pub(crate) moment: Moment,
    pub(crate) how: &'static str,
}

/// A partition.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) name: TopicPartition,
    pub(crate) assignment: Vec<BrokerId>,
    pub(crate) assigned: Brokers,
    pub(crate) zk: Option<ZkState>,
    pub(crate) canon: Canon,
    /// The highest true high watermark there ever was.
    pub(crate) committed_most: i64,
    pub(crate) replicas: Vec<Replica>,
    /// Batches that are not committed: (base, epoch) to the digest up to them, as first seen.
    pub(crate) uncommitted: BTreeMap<(i64, i32), (u64, Moment)>,
    pub(crate) promise: Option<Promise>,
    pub(crate) rebase: Option<Rebase>,
    pub(crate) uncleans: Vec<Unclean>,
    pub(crate) overlooked: Vec<Overlooked>,
    pub(crate) appenders: BTreeMap<LeaderEpoch, Appender>,
    /// Who led in each epoch first.
    pub(crate) leaders: BTreeMap<LeaderEpoch, Appender>,
    /// The CRCs of the batches that producers sent.
    pub(crate) produced: Arc<BTreeSet<u32>>,
    /// The ISR that the leader knows: that of its election, then what it was told its own writes made.
    pub(crate) believed: Option<(LeaderEpoch, Brokers)>,
    /// Members of the ISR that the leader does not know of (KIP-497).
    pub(crate) unknown_to_leader: Brokers,
    /// Replicas to which a loss of power brought back records that had been truncated, in the midst of others perhaps.
    pub(crate) scrambled: Brokers,
    /// When such a replica came to lead: what the others have need not be what it has.
    pub(crate) led_scrambled: Option<Moment>,
    /// When a leader that had lost records went on in the same epoch: replicas may differ where they should not.
    pub(crate) forked: Option<Moment>,
    /// Findings that were told: the same one is not told at every event that follows.
    pub(crate) told: BTreeSet<(&'static str, BrokerAt)>,
}

impl Partition {
    pub(crate) fn new(name: TopicPartition, brokers: usize) -> Self {
        Self {
            name,
            assignment: Vec::new(),
            assigned: Brokers::NONE,
            zk: None,
            canon: Canon::default(),
            committed_most: 0,
            replicas: vec![Replica::default(); brokers],
            uncommitted: BTreeMap::new(),
            promise: None,
            rebase: None,
            uncleans: Vec::new(),
            overlooked: Vec::new(),
            appenders: BTreeMap::new(),
            leaders: BTreeMap::new(),
            produced: Arc::default(),
            believed: None,
            unknown_to_leader: Brokers::NONE,
            scrambled: Brokers::NONE,
            led_scrambled: None,
            forked: None,
            told: BTreeSet::new(),
        }
    }

    /// How many committed batches a replica has, from the first on.
    pub(crate) fn has(&self, broker: BrokerAt) -> usize {
        common(&self.replicas[broker].log, &self.canon)
    }

    /// Who is in sync, as ZooKeeper says.
    pub(crate) fn isr(&self) -> Brokers {
        self.zk.as_ref().map_or(Brokers::NONE, |zk| zk.isr)
    }

    /// The leader that ZooKeeper names, in its epoch.
    pub(crate) fn is_led_by(&self, broker: BrokerAt, epoch: LeaderEpoch) -> bool {
        self.zk.as_ref().is_some_and(|zk| zk.leader == Some(broker) && zk.state.leader_epoch == epoch)
    }

    /// The loss from which a replica has not recovered yet, as far as committed records go.
    pub(crate) fn open_loss(&self, broker: BrokerAt) -> Option<&Loss> {
        let loss = self.replicas[broker].loss.as_ref()?;
        // A member of the ISR had told its leader of what it lost: that may have been committed on its word since.
        let told = if loss.isr.has(broker) { self.canon.count_below(loss.end) } else { 0 };
        let needs = loss.had.max(told).min(self.canon.len());
        (self.has(broker) < needs).then_some(loss)
    }

    /// The truncation that a replica has not made good yet.
    pub(crate) fn open_obligation(&self, broker: BrokerAt) -> Option<Obligation> {
        let obligation = self.replicas[broker].obligation?;
        (self.has(broker) < obligation.needs.min(self.canon.len())).then_some(obligation)
    }

    /// Why what was committed at an offset may be replaced; none if it may not.
    pub(crate) fn replaced(&self, offset: i64) -> Option<&'static str> {
        self.rebase.as_ref().filter(|rebase| rebase.from <= offset).map(|rebase| rebase.why)
    }

    /// Why whoever still leads in an epoch that is over commits on the word of replicas that the new leader need not be among.
    pub(crate) fn overruled(&self, epoch: LeaderEpoch) -> Option<Overruled> {
        let unclean = self.uncleans.iter().find(|unclean| unclean.epoch > epoch);
        let unseen = self.overlooked.iter().find(|overlooked| overlooked.epoch >= epoch);
        unclean
            .map(|unclean| Overruled::Uncleanly(unclean.moment))
            .or_else(|| unseen.map(|overlooked| Overruled::Unseen(overlooked.moment)))
    }

    /// An epoch ended with members in the ISR that its leader did not know of.
    pub(crate) fn note_overlooked(&mut self, before: &ZkState) {
        let epoch = before.state.leader_epoch;
        if self.believed.is_some_and(|(of, isr)| of == epoch && !before.isr.without(isr).is_empty()) {
            self.overlooked.push(Overlooked { moment: before.moment, epoch });
        }
    }

    /// Why replicas may differ where their epochs are the same; none if they may not. Nobody finds that: a replica whose log ends
    /// in the midst of one of the leader's batches cannot append it, and gives up (`markPartitionFailed`, kafka-broker.md §5.10).
    pub(crate) fn differs_within_epoch(&self) -> Option<&'static str> {
        let is_forked = self.forked.is_some();
        is_forked.then_some(LEADS_ON).or_else(|| (!self.scrambled.is_empty()).then_some(CUT_UNDONE))
    }

    /// Why a replica may lack what is committed though nobody will ever find that; none if it may not.
    pub(crate) fn may_lack(&self, broker: BrokerAt) -> Option<&'static str> {
        let is_scrambled = self.scrambled.has(broker) || self.led_scrambled.is_some();
        self.forked.map(|_| LEADS_ON).or_else(|| is_scrambled.then_some(CUT_UNDONE))
    }

    /// Whether the leader that ZooKeeper names has so many batches, up to that digest.
    pub(crate) fn leader_has(&self, batches: usize, chain: u64) -> bool {
        self.zk.as_ref().and_then(|zk| zk.leader).is_some_and(|leader| {
            let log = &self.replicas[leader].log;
            log.batches() >= batches && log.chain_at(batches - 1) == chain
        })
    }

    /// What was committed from an offset on, or is, may be replaced.
    pub(crate) fn replace_from(&mut self, from: i64, why: &'static str) {
        let from = self.rebase.as_ref().map_or(from, |rebase| rebase.from.min(from));
        self.rebase = Some(Rebase { from, why });
    }

    /// Somebody was promised everything below an offset.
    pub(crate) fn promised(&mut self, end: i64, moment: Moment, how: &'static str) {
        if self.promise.is_none_or(|promise| promise.end < end) {
            self.promise = Some(Promise { end, moment, how });
        }
    }

    /// Whether a finding of that kind about a replica is told now for the first time.
    pub(crate) fn tell(&mut self, what: &'static str, broker: BrokerAt) -> bool {
        self.told.insert((what, broker))
    }

    /// Forgets committed history from a place on: it is lost, and said to be.
    pub(crate) fn cut(&mut self, len: usize, why: &'static str) {
        let Some(from) = self.canon.get(len).map(|first| first.base) else { return };
        self.replace_from(from, why);
        self.canon.0.truncate(len);
        let end = self.canon.end();
        self.promise = self.promise.map(|promise| Promise { end: promise.end.min(end), ..promise });
    }
}
