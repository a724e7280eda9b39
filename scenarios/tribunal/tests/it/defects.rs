//! Canaries: with a historical bug switched on the named judges fire; without it the same seeds hold.

use tribunal::{Changes, Prepared, Seed, Source, campaign};

/// A seed of `session-expiry` in which ZOOKEEPER-1208 is caught.
pub(crate) const SEED_OF_1208: u64 = 0;

fn results(name: &str, defect: Option<&str>, seeds: std::ops::Range<u64>) -> Vec<Seed> {
    let changes = Changes { defects: defect.map(str::to_owned).into_iter().collect(), ..Changes::default() };
    campaign(&Prepared::new(&Source::named(name).unwrap(), &changes).unwrap(), seeds, 2)
}

fn first_broken(results: &[Seed]) -> Vec<(u64, &str)> {
    results.iter().filter_map(|result| Some((result.seed, result.broken.as_ref()?.0.as_str()))).collect()
}

#[test]
fn an_ephemeral_created_between_the_two_steps_of_closing_its_session_is_caught() {
    let on = results("session-expiry", Some("ZOOKEEPER-1208"), 0..12);
    let broken = first_broken(&on);
    assert!(!broken.is_empty(), "no seed of twelve caught it");
    assert!(broken.iter().all(|(_, id)| ["C19", "C20"].contains(id)), "{broken:?}");
    let off = results("session-expiry", None, 0..12);
    assert_eq!(first_broken(&off), []);
}
