//! From a seed to a run's key, and to generators for what is made before a run starts.

use machine::{Digest, Purpose, RunKey};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The key of a run, from its seed.
pub(crate) fn run_key(seed: u64) -> RunKey {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    RunKey([generator.next_u64(), generator.next_u64()])
}

/// A generator for what is made once per seed, such as a nemesis' schedule or a workload: its own for each purpose, so
/// that one does not shift the other.
#[must_use]
pub fn generator(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut digest = Digest::new();
    digest.word(seed);
    digest.word(purpose.key());
    ChaCha8Rng::seed_from_u64(digest.value())
}

#[cfg(test)]
mod tests {
    use machine::Purpose;
    use rand_chacha::rand_core::Rng;

    use super::{generator, run_key};

    #[test]
    fn a_seed_means_the_same_run_for_ever() {
        assert_eq!(run_key(7).0[0], 2_910_824_217_569_608_635, "stored seeds depend on this value");
        assert_ne!(run_key(7), run_key(8));
    }

    #[test]
    fn two_purposes_have_two_generators() {
        let first = |name| generator(7, Purpose::new(name)).next_u64();
        assert_eq!(first("nemesis"), first("nemesis"));
        assert_ne!(first("nemesis"), first("workload"));
    }
}
