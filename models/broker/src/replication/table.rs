//! The partitions a broker hosts: `allPartitions` of the real ReplicaManager.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkawire::{Topic, TopicPartition};

use crate::replication::Partition;

/// Where a hosted partition stands in the table. Never reused: a partition that is deleted and created again has another one,
/// so whoever remembers the old one finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Slot(u32);

impl Slot {
    /// The index of its word and its bit there, for sets of slots.
    const fn bit(self) -> (usize, u64) {
        ((self.0 / 64) as usize, 1 << (self.0 % 64))
    }
}

/// A set of partitions, as bits; those of the first word need no memory of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotSet {
    first: u64,
    rest: Vec<u64>,
}

impl SlotSet {
    pub(crate) fn insert(&mut self, slot: Slot) {
        let (word, bit) = slot.bit();
        let Some(after_first) = word.checked_sub(1) else {
            self.first |= bit;
            return;
        };
        if self.rest.len() <= after_first {
            self.rest.resize(after_first + 1, 0);
        }
        self.rest[after_first] |= bit;
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = slot.bit();
        let bits = word.checked_sub(1).map_or(Some(&self.first), |after_first| self.rest.get(after_first));
        bits.is_some_and(|bits| bits & bit != 0)
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

/// The partitions, by name and by slot. A clone costs one reference count per partition; the names are shared until one is
/// added.
#[derive(Clone, Debug, Default)]
pub(crate) struct PartitionTable {
    names: Arc<BTreeMap<Topic, BTreeMap<i32, Slot>>>,
    slots: Vec<Option<Arc<Partition>>>,
}

impl PartitionTable {
    pub(crate) fn find(&self, topic: &str, partition: i32) -> Option<Slot> {
        self.names.get(topic)?.get(&partition).copied()
    }

    pub(crate) fn find_tp(&self, tp: &TopicPartition) -> Option<Slot> {
        self.find(tp.topic.as_str(), tp.partition)
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Partition> {
        self.slots.get(slot.0 as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Partition> {
        self.slots.get_mut(slot.0 as usize)?.as_mut().map(Arc::make_mut)
    }

    pub(crate) fn insert(&mut self, partition: Partition) -> Slot {
        let slot = Slot(u32::try_from(self.slots.len()).expect("fewer partitions than fit a u32"));
        let tp = partition.tp();
        let topic = Arc::make_mut(&mut self.names).entry(tp.topic.clone()).or_default();
        let before = topic.insert(tp.partition, slot);
        assert!(before.is_none(), "{tp} is hosted twice");
        self.slots.push(Some(Arc::new(partition)));
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let Some(partition) = self.slots.get_mut(slot.0 as usize).and_then(Option::take) else { return };
        let tp = partition.tp();
        let names = Arc::make_mut(&mut self.names);
        let topic = names.get_mut(&tp.topic).expect("a hosted partition has a name");
        topic.remove(&tp.partition);
        if topic.is_empty() {
            names.remove(&tp.topic);
        }
    }

    /// By name, then by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Partition)> {
        let slots = self.names.values().flat_map(|topic| topic.values());
        slots.map(|&slot| (slot, self.get(slot).expect("a name stands for a hosted partition")))
    }

    /// Whether a partition of the topic is hosted.
    pub(crate) fn hosts(&self, topic: &Topic) -> bool {
        self.names.contains_key(topic.as_str())
    }

    pub(crate) fn len(&self) -> usize {
        self.names.values().map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
impl Slot {
    pub(crate) const fn for_tests(number: u32) -> Self {
        Self(number)
    }
}
