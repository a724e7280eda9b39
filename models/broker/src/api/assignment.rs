//! Which brokers get the replicas of a new topic (kafka-broker.md §4.8, `AdminUtils.assignReplicasToBrokers`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafkawire::BrokerId;
use machine::Draw;

/// A broker that may get replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: BrokerId,
    /// Its rack.
    pub rack: Option<Arc<str>>,
}

/// Why there is no assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unassignable {
    /// A topic has at least one partition.
    #[error("Number of partitions must be larger than 0.")]
    NoPartitions,
    /// A partition has at least one replica.
    #[error("Replication factor must be larger than 0.")]
    NoReplicas,
    /// A partition has no more replicas than there are brokers.
    #[error("Replication factor: {replication_factor} larger than available brokers: {available}.")]
    TooFewBrokers {
        /// Replicas asked for.
        replication_factor: i16,
        /// Brokers there are.
        available: usize,
    },
    /// Some brokers have a rack and some have none.
    #[error("Not all brokers have rack information for replica rack aware assignment.")]
    MissingRacks,
}

/// Assigns replicas to partitions, the preferred leader first; `draw` gives the two random numbers.
///
/// Leaders go round the brokers from a random one; each further replica is shifted by one more, and by yet one more for every
/// round, so that the partitions of one leader do not share all their followers. With racks, a rack gets a second replica of a
/// partition only when every rack has one.
///
/// # Errors
/// See [`Unassignable`].
pub fn assign(
    candidates: &[Candidate],
    partitions: i32,
    replication_factor: i16,
    mut draw: Draw,
) -> Result<BTreeMap<i32, Vec<BrokerId>>, Unassignable> {
    if partitions <= 0 {
        return Err(Unassignable::NoPartitions);
    }
    let replicas = usize::try_from(replication_factor).unwrap_or(0);
    if replicas == 0 {
        return Err(Unassignable::NoReplicas);
    }
    if replicas > candidates.len() {
        return Err(Unassignable::TooFewBrokers { replication_factor, available: candidates.len() });
    }
    let racks = racks_of(candidates)?;
    let start = draw.index(candidates.len());
    let shift = draw.index(candidates.len());
    Ok(deal(candidates, racks.as_ref(), partitions, replicas, start, shift))
}

/// The rack of each broker; none if no broker has one.
fn racks_of(candidates: &[Candidate]) -> Result<Option<BTreeMap<BrokerId, Arc<str>>>, Unassignable> {
    let racks: BTreeMap<BrokerId, Arc<str>> =
        candidates.iter().filter_map(|broker| Some((broker.id, Arc::clone(broker.rack.as_ref()?)))).collect();
    if racks.is_empty() {
        Ok(None)
    } else if racks.len() == candidates.len() {
        Ok(Some(racks))
    } else {
        Err(Unassignable::MissingRacks)
    }
}

fn deal(
    candidates: &[Candidate],
    racks: Option<&BTreeMap<BrokerId, Arc<str>>>,
    partitions: i32,
    replicas: usize,
    start: usize,
    mut shift: usize,
) -> BTreeMap<i32, Vec<BrokerId>> {
    let list = match racks {
        Some(racks) => alternated(racks),
        None => candidates.iter().map(|broker| broker.id).collect::<BTreeSet<_>>().into_iter().collect(),
    };
    let mut assignment = BTreeMap::new();
    for (at, partition) in (0..partitions).enumerate() {
        if at > 0 && at.is_multiple_of(list.len()) {
            shift += 1;
        }
        let first = (at + start) % list.len();
        let chosen = match racks {
            Some(racks) => spread(&list, racks, replicas, first, shift),
            None => {
                let others = (0..replicas - 1).map(|replica| list[replica_index(first, shift, replica, list.len())]);
                std::iter::once(list[first]).chain(others).collect()
            }
        };
        assignment.insert(partition, chosen);
    }
    assignment
}

/// Where a replica after the first is: never where the first is, however far it is shifted.
fn replica_index(first: usize, shift: usize, replica: usize, brokers: usize) -> usize {
    (first + 1 + (shift + replica) % (brokers - 1)) % brokers
}

/// One broker of each rack in turn, racks and brokers sorted.
fn alternated(racks: &BTreeMap<BrokerId, Arc<str>>) -> Vec<BrokerId> {
    let mut by_rack: BTreeMap<&str, Vec<BrokerId>> = BTreeMap::new();
    for (&broker, rack) in racks {
        by_rack.entry(rack).or_default().push(broker);
    }
    let longest = by_rack.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| by_rack.values().filter_map(move |brokers| brokers.get(at).copied())).collect()
}

/// A broker is passed over while its rack has a replica and another rack has none, or while it has one and another has none.
fn spread(
    list: &[BrokerId],
    racks: &BTreeMap<BrokerId, Arc<str>>,
    replicas: usize,
    first: usize,
    shift: usize,
) -> Vec<BrokerId> {
    let racks_in_all = racks.values().collect::<BTreeSet<_>>().len();
    let mut chosen = vec![list[first]];
    let mut racks_used = BTreeSet::from([&racks[&list[first]]]);
    let mut candidate = 0;
    while chosen.len() < replicas {
        let broker = list[replica_index(first, shift * racks_in_all, candidate, list.len())];
        let rack = &racks[&broker];
        let rack_fits = !racks_used.contains(rack) || racks_used.len() == racks_in_all;
        if rack_fits && !chosen.contains(&broker) {
            chosen.push(broker);
            racks_used.insert(rack);
        }
        candidate += 1;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use machine::{Purpose, RunKey};

    use super::*;

    fn candidates(ids: impl IntoIterator<Item = i32>) -> Vec<Candidate> {
        ids.into_iter().map(|id| Candidate { id: BrokerId(id), rack: None }).collect()
    }

    fn racked(of: &[(i32, &str)]) -> Vec<Candidate> {
        of.iter().map(|&(id, rack)| Candidate { id: BrokerId(id), rack: Some(Arc::from(rack)) }).collect()
    }

    fn draw(index: u64) -> Draw {
        RunKey([3, 5]).draw(Purpose::new("test-assignment"), 0, index)
    }

    fn dealt(candidates: &[Candidate], partitions: i32, replicas: usize, start: usize, shift: usize) -> Vec<Vec<i32>> {
        let racks = racks_of(candidates).expect("racks are complete");
        let assignment = deal(candidates, racks.as_ref(), partitions, replicas, start, shift);
        assignment.into_values().map(|chosen| chosen.into_iter().map(|broker| broker.0).collect()).collect()
    }

    #[test]
    fn ten_partitions_on_five_brokers_are_dealt_as_in_the_comment_of_the_original() {
        // broker-0  broker-1  broker-2  broker-3  broker-4
        // p0        p1        p2        p3        p4       (1st replica)
        // p5        p6        p7        p8        p9       (1st replica)
        // p4        p0        p1        p2        p3       (2nd replica)
        // p8        p9        p5        p6        p7       (2nd replica)
        // p3        p4        p0        p1        p2       (3rd replica)
        // p7        p8        p9        p5        p6       (3rd replica)
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
        assert_eq!(dealt(&candidates(0..5), 10, 3, 0, 0), expected);
    }

    #[test]
    fn racks_alternate_as_in_the_comment_of_the_original() {
        let brokers = racked(&[(0, "rack1"), (1, "rack3"), (2, "rack3"), (3, "rack2"), (4, "rack2"), (5, "rack1")]);
        let racks = racks_of(&brokers).expect("racks are complete").expect("there are racks");
        let list: Vec<i32> = alternated(&racks).into_iter().map(|broker| broker.0).collect();
        assert_eq!(list, [0, 3, 1, 5, 4, 2]);
        let expected = [[0, 3, 1], [3, 1, 5], [1, 5, 4], [5, 4, 2], [4, 2, 0], [2, 0, 3], [0, 4, 2]];
        assert_eq!(dealt(&brokers, 7, 3, 0, 0), expected);
    }

    #[test]
    fn leaders_are_balanced_and_no_broker_holds_a_partition_twice() {
        for index in 0..200 {
            let mut numbers = draw(index);
            let brokers = 1 + numbers.index(7);
            let replicas = 1 + numbers.index(brokers);
            let partitions = 1 + numbers.index(40);
            let of = candidates(1..=i32::try_from(brokers).unwrap());
            let count = i32::try_from(partitions).unwrap();
            let assignment = assign(&of, count, i16::try_from(replicas).unwrap(), draw(index + 1000)).unwrap();
            assert_eq!(assignment.len(), partitions);
            let mut leaders: BTreeMap<BrokerId, usize> = BTreeMap::new();
            for chosen in assignment.values() {
                assert_eq!(chosen.len(), replicas);
                assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), replicas, "{chosen:?}");
                *leaders.entry(chosen[0]).or_default() += 1;
            }
            let most = leaders.values().max().copied().unwrap_or(0);
            assert_eq!(most, partitions.div_ceil(brokers), "leaders go round");
        }
    }

    #[test]
    fn every_rack_gets_a_replica_before_one_gets_two() {
        let brokers = racked(&[(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "c")]);
        for index in 0..50 {
            let assignment = assign(&brokers, 12, 3, draw(index)).unwrap();
            for chosen in assignment.values() {
                let racks: BTreeSet<_> = chosen
                    .iter()
                    .map(|id| brokers.iter().find(|broker| broker.id == *id).unwrap().rack.clone())
                    .collect();
                assert_eq!(racks.len(), 3, "{chosen:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_assigned_is_named() {
        let brokers = candidates(1..=2);
        assert_eq!(assign(&brokers, 0, 1, draw(0)), Err(Unassignable::NoPartitions));
        assert_eq!(assign(&brokers, 1, 0, draw(0)), Err(Unassignable::NoReplicas));
        let too_few = Unassignable::TooFewBrokers { replication_factor: 3, available: 2 };
        assert_eq!(assign(&brokers, 1, 3, draw(0)), Err(too_few));
        let mut mixed = racked(&[(1, "a"), (2, "b")]);
        mixed[1].rack = None;
        assert_eq!(assign(&mixed, 1, 1, draw(0)), Err(Unassignable::MissingRacks));
    }
}
