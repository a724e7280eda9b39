//! Who gets the replicas of a new topic (kafka-broker.md §4.8): a pure function, shared by brokers and the tool that writes
//! znodes itself. Where it starts is drawn by whoever calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::BrokerId;

/// A broker that may get replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its id.
    pub broker: BrokerId,
    /// Its rack, if it says one.
    pub rack: Option<Arc<str>>,
}

/// Where an assignment starts: two numbers below the number of brokers, drawn for a new topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssignmentStart {
    /// The index of the first partition's first replica (`startIndex`).
    pub index: usize,
    /// How far behind it the second one is, less one (`nextReplicaShift`).
    pub shift: usize,
}

/// Why there is no assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadAssignment {
    /// No partitions: INVALID_PARTITIONS.
    #[error("a topic has at least one partition")]
    NoPartitions,
    /// No replicas, or more than there are brokers: INVALID_REPLICATION_FACTOR.
    #[error("a replication factor of {wanted} with {brokers} brokers")]
    ReplicationFactor {
        /// What was asked.
        wanted: i16,
        /// How many brokers there are.
        brokers: usize,
    },
}

/// The replicas of each partition from 0, the preferred leader first. Racks count if every broker says one (mode Safe);
/// otherwise the assignment is rack-unaware. The order of `brokers` does not matter.
///
/// # Errors
/// See [`BadAssignment`].
///
/// # Panics
/// If a broker is there twice, or `start` is not below the number of brokers.
pub fn assign_replicas(
    brokers: &[Candidate],
    partitions: i32,
    replication_factor: i16,
    start: AssignmentStart,
) -> Result<BTreeMap<i32, Vec<BrokerId>>, BadAssignment> {
    let sorted: BTreeMap<BrokerId, Option<Arc<str>>> =
        brokers.iter().map(|candidate| (candidate.broker, candidate.rack.clone())).collect();
    assert_eq!(sorted.len(), brokers.len(), "a broker is a candidate once");
    if partitions <= 0 {
        return Err(BadAssignment::NoPartitions);
    }
    let bad_factor = BadAssignment::ReplicationFactor { wanted: replication_factor, brokers: sorted.len() };
    let factor = usize::try_from(replication_factor).map_err(|_| bad_factor)?;
    if factor == 0 || factor > sorted.len() {
        return Err(bad_factor);
    }
    assert!(start.index < sorted.len() && start.shift < sorted.len(), "{start:?} is drawn below {}", sorted.len());
    let racks: Option<BTreeMap<BrokerId, Arc<str>>> =
        sorted.iter().map(|(&broker, rack)| rack.clone().map(|rack| (broker, rack))).collect();
    Ok(match racks {
        Some(racks) => rack_aware(&racks, partitions, factor, start),
        None => rack_unaware(&sorted.into_keys().collect::<Vec<_>>(), partitions, factor, start),
    })
}

/// The index of a replica behind the first one (`replicaIndex`).
const fn replica_index(first: usize, shift: usize, replica: usize, brokers: usize) -> usize {
    (first + 1 + (shift + replica) % (brokers - 1)) % brokers
}

fn rack_unaware(
    brokers: &[BrokerId],
    partitions: i32,
    factor: usize,
    start: AssignmentStart,
) -> BTreeMap<i32, Vec<BrokerId>> {
    let count = brokers.len();
    let mut shift = start.shift;
    let mut assignment = BTreeMap::new();
    for (index, partition) in (0..partitions).enumerate() {
        if index > 0 && index.is_multiple_of(count) {
            shift += 1;
        }
        let first = (index + start.index) % count;
        let followers = (0..factor - 1).map(|replica| brokers[replica_index(first, shift, replica, count)]);
        assignment.insert(partition, std::iter::once(brokers[first]).chain(followers).collect());
    }
    assignment
}

fn rack_aware(
    racks: &BTreeMap<BrokerId, Arc<str>>,
    partitions: i32,
    factor: usize,
    start: AssignmentStart,
) -> BTreeMap<i32, Vec<BrokerId>> {
    let brokers = alternated(racks);
    let count = brokers.len();
    let racks_total = racks.values().collect::<BTreeSet<_>>().len();
    let mut shift = start.shift;
    let mut assignment = BTreeMap::new();
    for (index, partition) in (0..partitions).enumerate() {
        if index > 0 && index.is_multiple_of(count) {
            shift += 1;
        }
        let first = (index + start.index) % count;
        let mut replicas = vec![brokers[first]];
        let mut racks_used = BTreeSet::from([&racks[&brokers[first]]]);
        let mut candidate = 0;
        while replicas.len() < factor {
            let broker = brokers[replica_index(first, shift * racks_total, candidate, count)];
            candidate += 1;
            let rack = &racks[&broker];
            let rack_is_free = !racks_used.contains(rack) || racks_used.len() == racks_total;
            if rack_is_free && !replicas.contains(&broker) {
                replicas.push(broker);
                racks_used.insert(rack);
            }
        }
        assignment.insert(partition, replicas);
    }
    assignment
}

/// One broker of each rack in turn, racks in order, brokers of a rack in order.
fn alternated(racks: &BTreeMap<BrokerId, Arc<str>>) -> Vec<BrokerId> {
    let mut by_rack: BTreeMap<&Arc<str>, Vec<BrokerId>> = BTreeMap::new();
    for (&broker, rack) in racks {
        by_rack.entry(rack).or_default().push(broker);
    }
    let longest = by_rack.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|turn| by_rack.values().filter_map(move |brokers| brokers.get(turn).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(racks: &[(i32, Option<&str>)]) -> Vec<Candidate> {
        racks.iter().map(|&(id, rack)| Candidate { broker: BrokerId(id), rack: rack.map(Arc::from) }).collect()
    }

    fn ids(assignment: &BTreeMap<i32, Vec<BrokerId>>) -> Vec<Vec<i32>> {
        assignment.values().map(|replicas| replicas.iter().map(|broker| broker.0).collect()).collect()
    }

    const START: AssignmentStart = AssignmentStart { index: 0, shift: 0 };

    /// The example in the comment of Kafka's `AdminUtils`: 5 brokers, 10 partitions, 3 replicas.
    #[test]
    fn replicas_without_racks_are_those_of_kafkas_own_example() {
        let candidates = brokers(&[(3, None), (0, None), (1, None), (4, None), (2, None)]);
        let assignment = assign_replicas(&candidates, 10, 3, START).unwrap();
        let expected = [
            [0, 1, 2],
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 0],
            [4, 0, 1],
            [0, 2, 3],
            [1, 3, 4],
            [2, 4, 0],
            [3, 0, 1],
            [4, 1, 2],
        ];
        assert_eq!(ids(&assignment), expected);
    }

    /// The example in the same comment: 6 brokers in 3 racks.
    #[test]
    fn replicas_with_racks_are_those_of_kafkas_own_example() {
        let racks = [(0, "rack1"), (1, "rack3"), (2, "rack3"), (3, "rack2"), (4, "rack2"), (5, "rack1")];
        let candidates = brokers(&racks.map(|(id, rack)| (id, Some(rack))));
        let alternating = alternated(&racks.iter().map(|&(id, rack)| (BrokerId(id), Arc::from(rack))).collect());
        assert_eq!(alternating.iter().map(|broker| broker.0).collect::<Vec<_>>(), [0, 3, 1, 5, 4, 2]);
        let assignment = assign_replicas(&candidates, 7, 3, START).unwrap();
        let expected = [[0, 3, 1], [3, 1, 5], [1, 5, 4], [5, 4, 2], [4, 2, 0], [2, 0, 3], [0, 4, 2]];
        assert_eq!(ids(&assignment), expected);
    }

    #[test]
    fn no_broker_and_no_rack_has_two_replicas_while_others_have_none() {
        let racks = [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")];
        let candidates = brokers(&racks.map(|(id, rack)| (id, Some(rack))));
        for index in 0..6 {
            for shift in 0..6 {
                let start = AssignmentStart { index, shift };
                for replicas in assign_replicas(&candidates, 20, 3, start).unwrap().values() {
                    let used: BTreeSet<_> = replicas.iter().map(|broker| (broker.0 - 1) / 2).collect();
                    assert_eq!(used.len(), 3, "{replicas:?}");
                }
            }
        }
    }

    #[test]
    fn one_broker_without_a_rack_makes_the_assignment_rack_unaware() {
        let candidates = brokers(&[(1, Some("a")), (2, Some("a")), (3, None)]);
        let assignment = assign_replicas(&candidates, 2, 2, START).unwrap();
        assert_eq!(ids(&assignment), [[1, 2], [2, 3]]);
    }

    #[test]
    fn more_replicas_than_brokers_are_refused() {
        let candidates = brokers(&[(1, None), (2, None)]);
        let refused = |partitions, factor| assign_replicas(&candidates, partitions, factor, START).unwrap_err();
        assert_eq!(refused(1, 3), BadAssignment::ReplicationFactor { wanted: 3, brokers: 2 });
        assert_eq!(refused(1, 0), BadAssignment::ReplicationFactor { wanted: 0, brokers: 2 });
        assert_eq!(refused(0, 1), BadAssignment::NoPartitions);
        assert_eq!(assign_replicas(&candidates[..1], 2, 1, START).unwrap().len(), 2);
    }
}
