//! The range assignment of the consumer of 0.8 (kafka-broker.md §6.10 step 4): every member computes it alone, from what it read.

use std::collections::BTreeMap;

/// Partition to the consumer thread that gets it: threads in the order of their ids get consecutive partitions, the first of
/// them one more each if the division leaves a rest. Both lists must be sorted.
pub(crate) fn range_assignment(partitions: &[i32], threads: &[String]) -> BTreeMap<i32, String> {
    assert!(partitions.is_sorted() && threads.is_sorted(), "every member sorts alike");
    let mut assignment = BTreeMap::new();
    if threads.is_empty() {
        return assignment;
    }
    let (least, extra) = (partitions.len() / threads.len(), partitions.len() % threads.len());
    for (index, thread) in threads.iter().enumerate() {
        let start = least * index + index.min(extra);
        let count = least + usize::from(index < extra);
        for &partition in &partitions[start..start + count] {
            assignment.insert(partition, thread.clone());
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use super::range_assignment;

    #[track_caller]
    fn check(partitions: i32, threads: &[&str], expected: &[&str]) {
        let partitions: Vec<i32> = (0..partitions).collect();
        let threads: Vec<String> = threads.iter().map(|&thread| thread.to_owned()).collect();
        let assignment = range_assignment(&partitions, &threads);
        assert_eq!(assignment.into_values().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn first_threads_get_one_more_if_there_is_a_rest() {
        check(5, &["a-0", "a-1"], &["a-0", "a-0", "a-0", "a-1", "a-1"]);
        check(6, &["a-0", "b-0", "c-0"], &["a-0", "a-0", "b-0", "b-0", "c-0", "c-0"]);
        check(7, &["a-0", "b-0", "c-0"], &["a-0", "a-0", "a-0", "b-0", "b-0", "c-0", "c-0"]);
        check(8, &["a-0", "b-0", "c-0"], &["a-0", "a-0", "a-0", "b-0", "b-0", "b-0", "c-0", "c-0"]);
    }

    #[test]
    fn threads_beyond_the_partitions_get_nothing() {
        check(2, &["a-0", "b-0", "c-0"], &["a-0", "b-0"]);
        check(0, &["a-0"], &[]);
        check(2, &[], &[]);
    }
}
