//! The replica fetchers of a broker: one per leader and fetcher id (kafka-broker.md §5.10).

use std::sync::Arc;

use kafkawire::{BrokerId, Link, TopicPartition};
use machine::{EndId, Input, InputOf, Instant};

use crate::cx::Cx;
use crate::replication::fetcher::{Assigned, Fetcher, FetcherTurn};
use crate::replication::local::LocalLogs;
use crate::replication::table::Slot;

/// `String.hashCode` of Java.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit.cast_signed())))
}

/// Which of a leader's fetchers follows a partition: abs(31 · hash(topic) + partition) mod `num.replica.fetchers`, with Kafka's
/// abs (appendix B).
fn fetcher_id(tp: &TopicPartition, fetchers: u32) -> u32 {
    let hash = java_hash(tp.topic.as_str()).wrapping_mul(31).wrapping_add(tp.partition);
    let magnitude = hash.checked_abs().unwrap_or(0).unsigned_abs();
    magnitude % fetchers.max(1)
}

/// The fetchers, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetchers {
    running: Vec<Arc<Fetcher>>,
    /// How many there were.
    started: u64,
}

impl Fetchers {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fetcher> {
        self.running.iter().map(|fetcher| &**fetcher)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Fetcher> {
        self.running.iter_mut().map(Arc::make_mut)
    }

    /// Follows a partition.
    pub(crate) fn add(&mut self, leader: BrokerId, assigned: Assigned, cx: &mut Cx<'_, '_>) {
        let id = fetcher_id(&assigned.tp, cx.config().num_replica_fetchers);
        let known = self.running.iter().position(|fetcher| fetcher.leader == leader && fetcher.fetcher_id == id);
        let at = known.unwrap_or_else(|| self.start(leader, id, cx));
        let fetcher = Arc::make_mut(&mut self.running[at]);
        fetcher.look_up_leader(cx);
        fetcher.add(assigned, cx);
    }

    fn start(&mut self, leader: BrokerId, fetcher_id: u32, cx: &mut Cx<'_, '_>) -> usize {
        self.started += 1;
        let at = self.running.iter().enumerate().position(|(at, fetcher)| usize::from(fetcher.thread) != at);
        let at = at.unwrap_or(self.running.len());
        let thread = u16::try_from(at).expect("fewer fetchers than lanes");
        self.running.insert(at, Arc::new(Fetcher::new(thread, self.started, leader, fetcher_id, cx)));
        at
    }

    /// No longer follows a partition.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(fetcher) = self.running.iter_mut().find(|fetcher| fetcher.follows(slot)) {
            Arc::make_mut(fetcher).remove(slot);
        }
    }

    /// Whether a partition is followed; it may have failed.
    pub(crate) fn follow(&self, slot: Slot) -> bool {
        self.iter().any(|fetcher| fetcher.follows(slot))
    }

    /// Ends the threads that follow nothing (`shutdownIdleFetcherThreads`).
    pub(crate) fn close_idle(&mut self, cx: &mut Cx<'_, '_>) {
        self.running.retain_mut(|fetcher| {
            let is_idle = fetcher.is_idle();
            if is_idle {
                Arc::make_mut(fetcher).close(cx);
            }
            !is_idle
        });
    }

    /// Ends all of them.
    pub(crate) fn close_all(&mut self, cx: &mut Cx<'_, '_>) {
        for mut fetcher in self.running.drain(..) {
            Arc::make_mut(&mut fetcher).close(cx);
        }
    }

    pub(crate) fn owns(&self, end: EndId) -> bool {
        self.iter().any(|fetcher| fetcher.owns(end))
    }

    /// An input on an end of one of them.
    pub(crate) fn handle(&mut self, end: EndId, input: InputOf<Link>, cx: &mut Cx<'_, '_>) {
        if let Some(fetcher) = self.running.iter_mut().find(|fetcher| fetcher.owns(end)) {
            Arc::make_mut(fetcher).handle(input, cx);
        }
    }

    pub(crate) fn on_woken(&mut self, cx: &mut Cx<'_, '_>) {
        let now = cx.io.now();
        for fetcher in &mut self.running {
            if fetcher.next_wake().is_some_and(|due| due <= now) {
                Arc::make_mut(fetcher).handle(Input::Woken, cx);
            }
        }
    }

    pub(crate) fn turn(
        &mut self,
        thread: u16,
        generation: u64,
        turn: FetcherTurn,
        local: &mut LocalLogs<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        let of = |fetcher: &&mut Arc<Fetcher>| fetcher.thread == thread && fetcher.generation == generation;
        if let Some(fetcher) = self.running.iter_mut().find(of) {
            Arc::make_mut(fetcher).turn(turn, local, cx);
        }
    }

    pub(crate) fn on_flushed(&mut self, local: &mut LocalLogs<'_>, cx: &mut Cx<'_, '_>) {
        for fetcher in self.iter_mut() {
            fetcher.on_flushed(local, cx);
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.iter().filter_map(Fetcher::next_wake).min()
    }
}

#[cfg(test)]
mod tests {
    use kafkawire::TopicPartition;

    use super::{fetcher_id, java_hash};

    #[test]
    fn hashes_are_javas() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("a"), 97);
        assert_eq!(java_hash("orders"), -1_008_770_331);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }

    #[test]
    fn partitions_are_spread_over_the_fetchers_of_a_leader() {
        let id = |partition, fetchers| fetcher_id(&TopicPartition::new("orders", partition), fetchers);
        assert_eq!(id(0, 1), 0);
        let spread: Vec<u32> = (0..6).map(|partition| id(partition, 3)).collect();
        assert_eq!(spread.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{spread:?}");
    }
}
