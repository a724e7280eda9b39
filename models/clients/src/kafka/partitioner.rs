//! Which partition a record goes to (kafka-broker.md §8.1, appendix B).
//!
//! With a key the partition is a hash of it over *all* partitions, whoever leads them. Without one, the producer of 2.4 to 3.2
//! sticks to a partition until a batch is full (KIP-480); the producer of 0.7 drew one for each record.

use machine::{Io, Purpose};

use super::KafkaClient;

const STICKY: Purpose = Purpose::new("producer-sticky-partition");
const RANDOM: Purpose = Purpose::new("producer-random-partition");

/// The hash of Kafka's default partitioner.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let len = u32::try_from(data.len()).expect("a key is shorter than 4 GiB");
    let mut h = SEED ^ len;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().expect("chunks of four")).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (at, &byte) in tail.iter().enumerate() {
            h ^= u32::from(byte) << (8 * at);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// Java's `String.hashCode`, for ASCII.
#[must_use]
pub fn string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `toPositive(murmur2(key)) % partitions`: the partition of a key since 0.8.2.
///
/// # Panics
/// If there are no partitions.
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: usize) -> usize {
    assert!(partitions > 0, "a topic has partitions");
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// `Utils.abs(key.hashCode) % partitions`: the partition of a key in 0.7, as an index into the sorted partitions.
///
/// # Panics
/// If there are no partitions.
#[must_use]
pub fn partition_of_hash(key: &str, partitions: usize) -> usize {
    assert!(partitions > 0, "a topic has partitions");
    let hash = string_hash(key);
    let positive = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
    positive as usize % partitions
}

/// A partition for a record without a key in 0.7: any, for each record anew.
pub(crate) fn random_partition(partitions: usize, io: &mut Io<'_, KafkaClient>) -> usize {
    io.draw(RANDOM).index(partitions)
}

/// The partition that records without a key go to until a batch is full (`StickyPartitionCache`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sticky {
    current: Option<i32>,
}

impl Sticky {
    /// The current one; chosen if there is none. `available` are those of `all` that have a leader.
    pub(crate) fn current(&mut self, all: &[i32], available: &[i32], io: &mut Io<'_, KafkaClient>) -> i32 {
        match self.current.filter(|current| all.contains(current)) {
            Some(current) => current,
            None => self.choose(None, all, available, io),
        }
    }

    /// A record did not fit the last batch of `previous`, or there is none: another partition is chosen.
    pub(crate) fn on_new_batch(
        &mut self,
        previous: i32,
        all: &[i32],
        available: &[i32],
        io: &mut Io<'_, KafkaClient>,
    ) -> i32 {
        match self.current.filter(|&current| current != previous) {
            Some(current) => current,
            None => self.choose(Some(previous), all, available, io),
        }
    }

    fn choose(&mut self, old: Option<i32>, all: &[i32], available: &[i32], io: &mut Io<'_, KafkaClient>) -> i32 {
        let chosen = match available {
            [] => all[io.draw(STICKY).index(all.len())],
            [only] => *only,
            [..] => {
                let others: Vec<i32> = available.iter().copied().filter(|&partition| Some(partition) != old).collect();
                others[io.draw(STICKY).index(others.len())]
            }
        };
        self.current = Some(chosen);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_agrees_with_kafkas_own_vectors() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn string_hash_is_javas() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("abc"), 96_354);
        assert_eq!(string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition_of_hash("polygenelubricants", 7), 0, "Kafka's abs of the least number is 0");
    }

    #[test]
    fn keys_spread_over_all_partitions_and_stay_where_they_are() {
        let mut hits = [0; 6];
        for key in 0..600 {
            let key = format!("key-{key}");
            let partition = partition_of_key(key.as_bytes(), 6);
            assert_eq!(partition, partition_of_key(key.as_bytes(), 6));
            hits[partition] += 1;
        }
        assert!(hits.iter().all(|&n| n > 60), "{hits:?}");
    }
}
