//! Many runs on several threads, their results handed on in order.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, mpsc};

/// A run that panicked outside of its world: the testbed is at fault, not a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panicked(pub String);

impl Panicked {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&'static str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self(text.unwrap_or_else(|| "a panic without a message".to_owned()))
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Panicked {}

/// What is still to be handed out.
struct Source<I> {
    jobs: I,
    next: usize,
    is_open: bool,
}

/// Does the jobs on so many threads, and hands the results to `take` in the order of the jobs, on the caller's thread.
///
/// Jobs are handed out in order. As soon as `go_on` says no, none is handed out any more, and those that are being done are
/// finished and taken: what was taken is always the beginning of `jobs`, without a gap. Once `take` breaks, no result behind
/// it is taken: what was taken does not depend on the number of threads then, either.
pub fn campaign<K: Send, T: Send>(
    jobs: impl Iterator<Item = K> + Send,
    threads: usize,
    go_on: &(dyn Fn() -> bool + Sync),
    run: &(dyn Fn(&K) -> T + Sync),
    take: &mut dyn FnMut(K, Result<T, Panicked>) -> ControlFlow<()>,
) {
    let source = Mutex::new(Source { jobs, next: 0, is_open: true });
    let hand_out = || {
        let mut source = source.lock().expect("an iterator over jobs does not panic");
        if !source.is_open || !go_on() {
            source.is_open = false;
            return None;
        }
        let job = source.jobs.next()?;
        source.next += 1;
        Some((source.next - 1, job))
    };
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let sender = sender.clone();
            let hand_out = &hand_out;
            scope.spawn(move || {
                while let Some((number, job)) = hand_out() {
                    let result = catch_unwind(AssertUnwindSafe(|| run(&job)));
                    let result = result.map_err(|payload| Panicked::of(payload.as_ref()));
                    // Nobody listens once `take` has broken off: there is nothing more to do then, either.
                    if sender.send((number, job, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut expected = 0;
        'taking: for (number, job, result) in results {
            early.insert(number, (job, result));
            while let Some((job, result)) = early.remove(&expected) {
                expected += 1;
                if take(job, result).is_break() {
                    break 'taking;
                }
            }
        }
        source.lock().expect("an iterator over jobs does not panic").is_open = false;
    });
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Panicked, campaign};

    /// Takes longer the smaller `n` modulo 7 is, so that threads overtake each other.
    fn slow(n: u64) {
        (0..(7 - n % 7) * 30_000).for_each(|n| assert!(std::hint::black_box(n) < u64::MAX));
    }

    #[test]
    fn results_are_taken_in_order_whatever_the_threads() {
        for threads in [1, 2, 5, 64] {
            let mut taken = Vec::new();
            campaign(
                0..100_u64,
                threads,
                &|| true,
                &|&n| {
                    slow(n);
                    n * n
                },
                &mut |n, result| {
                    taken.push((n, result.unwrap()));
                    ControlFlow::Continue(())
                },
            );
            assert!(taken.iter().copied().eq((0..100).map(|n| (n, n * n))), "{threads} threads: {taken:?}");
        }
    }

    #[test]
    fn an_interrupted_campaign_has_finished_what_it_began_without_a_gap() {
        for threads in [1, 2, 5] {
            let begun = AtomicUsize::new(0);
            let mut taken = Vec::new();
            campaign(
                0_u64..,
                threads,
                &|| begun.load(Ordering::SeqCst) < 20,
                &|&n| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    slow(n);
                },
                &mut |n, _| {
                    taken.push(n);
                    ControlFlow::Continue(())
                },
            );
            assert_eq!(taken.len(), begun.load(Ordering::SeqCst), "all that was begun is taken");
            assert!((20..20 + threads).contains(&taken.len()), "{threads} threads did {}", taken.len());
            assert!(taken.iter().copied().eq(0..taken.len() as u64), "{taken:?}");
        }
    }

    #[test]
    fn a_job_that_panics_is_a_result_and_not_the_end() {
        let mut panicked = Vec::new();
        let mut count = 0;
        campaign(0..10_u32, 2, &|| true, &|&n| assert_ne!(n, 3, "the third"), &mut |n, result| {
            count += 1;
            if let Err(Panicked(text)) = result {
                panicked.push((n, text));
            }
            ControlFlow::Continue(())
        });
        assert_eq!(count, 10);
        assert_eq!(panicked.len(), 1);
        assert!(panicked[0].0 == 3 && panicked[0].1.contains("the third"), "{panicked:?}");
    }

    #[test]
    fn nothing_behind_a_break_is_taken() {
        for threads in [1, 2, 5] {
            let mut taken = Vec::new();
            campaign(0..1_000_u64, threads, &|| true, &|&n| slow(n), &mut |n, _| {
                taken.push(n);
                if n == 11 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert!(taken.iter().copied().eq(0..12), "{taken:?}");
        }
    }
}
