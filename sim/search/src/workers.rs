//! Many runs at once, one world per thread, with results that do not depend on how many threads there are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does `count` pieces of work on so many threads; results in order.
///
/// # Panics
/// If a piece of work does.
pub fn in_order<R: Send>(jobs: usize, count: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    let result = work(at);
                    results.lock().expect("no thread panics with the lock").push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panics with the lock");
    results.sort_by_key(|&(at, _)| at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The first of these pieces of work, in their order, that comes to something; what is behind it is not begun.
///
/// # Panics
/// If a piece of work does.
pub fn first<R: Send>(jobs: usize, count: usize, work: impl Fn(usize) -> Option<R> + Sync) -> Option<(usize, R)> {
    let next = AtomicUsize::new(0);
    let best: Mutex<Option<(usize, R)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let is_behind = |best: &Option<(usize, R)>| best.as_ref().is_some_and(|&(found, _)| found < at);
                    if at >= count || is_behind(&best.lock().expect("no thread panics with the lock")) {
                        return;
                    }
                    if let Some(result) = work(at) {
                        let mut best = best.lock().expect("no thread panics with the lock");
                        if !is_behind(&best) {
                            *best = Some((at, result));
                        }
                    }
                }
            });
        }
    });
    best.into_inner().expect("no thread panics with the lock")
}

#[cfg(test)]
mod tests {
    use super::{first, in_order};

    #[test]
    fn results_stand_in_order_whatever_the_threads() {
        let squares: Vec<usize> = (0..100).map(|n| n * n).collect();
        for jobs in [1, 2, 7, 200] {
            assert_eq!(in_order(jobs, 100, |n| n * n), squares);
        }
        assert!(in_order(4, 0, |n| n).is_empty());
    }

    #[test]
    fn the_first_in_order_wins_though_a_later_one_is_quicker() {
        for jobs in [1, 2, 4] {
            let found = first(jobs, 50, |n| {
                if n == 3 {
                    // So that a thread that is at 4 or 5 comes back first.
                    (0..200_000_u64).for_each(|n| assert!(std::hint::black_box(n) < u64::MAX));
                }
                (n >= 3).then_some(n * 10)
            });
            assert_eq!(found, Some((3, 30)), "{jobs} jobs");
        }
        assert_eq!(first(2, 5, |_| None::<()>), None);
    }
}
