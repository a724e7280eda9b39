//! Shrinking: delta debugging of whatever makes a run fail, one pass after the other, until nothing gets smaller.
//!
//! A pass proposes candidates that are simpler than the best so far; the caller's check runs one and says whether it still
//! fails *in the same way*. The candidates of a round are checked in parallel and the first that is accepted, in their order,
//! wins: the result does not depend on the number of threads, and neither does the count of runs that are charged.

use std::collections::BTreeSet;
use std::fmt;

use crate::workers;

/// Makes the value that has these parts only.
type Keep<'p, T> = Box<dyn Fn(&T, &[usize]) -> T + 'p>;
/// Simpler values, from a value, what its run has shown, and a place in it.
type Simplify<'p, T, R> = Box<dyn Fn(&T, &R, usize) -> Vec<T> + 'p>;

/// How a pass takes a value apart, for delta debugging.
struct Parts<'p, T> {
    count: Box<dyn Fn(&T) -> usize + 'p>,
    keep: Keep<'p, T>,
}

/// How a pass simplifies a value at one place after the other.
struct Sites<'p, T, R> {
    count: Box<dyn Fn(&T) -> usize + 'p>,
    candidates: Simplify<'p, T, R>,
}

enum Kind<'p, T, R> {
    Parts(Parts<'p, T>),
    Sites(Sites<'p, T, R>),
}

/// One way to make a failing value simpler.
pub struct Pass<'p, T, R> {
    name: &'static str,
    kind: Kind<'p, T, R>,
}

impl<T, R> fmt::Debug for Pass<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'p, T, R> Pass<'p, T, R> {
    /// Delta debugging over a list: `count` says how many parts a value has, `keep` makes the one with these parts only.
    pub fn parts(name: &'static str, count: impl Fn(&T) -> usize + 'p, keep: impl Fn(&T, &[usize]) -> T + 'p) -> Self {
        Self { name, kind: Kind::Parts(Parts { count: Box::new(count), keep: Box::new(keep) }) }
    }

    /// Candidates for the next step, the boldest first, from a value and what its run has shown; asked again after each
    /// that was accepted. Each must be simpler than the value, or the pass does not end before the budget does.
    pub fn steps(name: &'static str, candidates: impl Fn(&T, &R) -> Vec<T> + 'p) -> Self {
        Self::sites(name, |_| 1, move |value, shown, _| candidates(value, shown))
    }

    /// The same for each of several places of a value: the next place is looked at when nothing more is accepted at one.
    pub fn sites(
        name: &'static str,
        count: impl Fn(&T) -> usize + 'p,
        candidates: impl Fn(&T, &R, usize) -> Vec<T> + 'p,
    ) -> Self {
        Self { name, kind: Kind::Sites(Sites { count: Box::new(count), candidates: Box::new(candidates) }) }
    }

    /// What reports call it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// How much may be spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Threads; it changes nothing but the speed.
    pub jobs: usize,
    /// Runs, of candidates that count: all of a round up to the one that was accepted.
    pub runs: u64,
}

/// How far shrinking has come.
#[derive(Debug)]
pub struct Progress<'a, T, R> {
    /// The pass.
    pub pass: &'static str,
    /// Runs charged so far.
    pub runs: u64,
    /// Candidates accepted so far.
    pub accepted: u64,
    /// The best value so far.
    pub best: &'a T,
    /// What its run has shown.
    pub shown: &'a R,
}

/// What shrinking came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shrunk<T, R> {
    /// The smallest value that still fails in the same way.
    pub value: T,
    /// What its run has shown.
    pub shown: R,
    /// Runs charged.
    pub runs: u64,
    /// Candidates accepted.
    pub accepted: u64,
    /// Whether every pass came to its end, rather than the budget.
    pub is_complete: bool,
}

/// A shrinking in progress.
struct Shrinking<'s, T, R> {
    best: T,
    shown: R,
    runs: u64,
    accepted: u64,
    rejected: BTreeSet<u64>,
    limits: Limits,
    key: &'s dyn Fn(&T) -> u64,
    check: &'s (dyn Fn(&T) -> Option<R> + Sync),
    progress: &'s mut dyn FnMut(&Progress<'_, T, R>),
}

/// Shrinks `value`, whose run has `shown` the failure.
///
/// `key` tells values apart, so that none is run twice; `check` runs one and says what it has shown if that is the same
/// failure. The passes are gone through again and again until none changes anything, or the budget is spent.
pub fn shrink<T: Send + Sync, R: Send>(
    value: T,
    shown: R,
    passes: &[Pass<'_, T, R>],
    key: &dyn Fn(&T) -> u64,
    check: &(dyn Fn(&T) -> Option<R> + Sync),
    limits: Limits,
    progress: &mut dyn FnMut(&Progress<'_, T, R>),
) -> Shrunk<T, R> {
    let mut state =
        Shrinking { best: value, shown, runs: 0, accepted: 0, rejected: BTreeSet::new(), limits, key, check, progress };
    loop {
        let before = state.accepted;
        for pass in passes {
            match &pass.kind {
                Kind::Parts(parts) => state.parts(pass.name, parts),
                Kind::Sites(sites) => state.sites(pass.name, sites),
            }
        }
        if state.accepted == before || state.is_spent() {
            let is_complete = state.accepted == before && !state.is_spent();
            let Shrinking { best, shown, runs, accepted, .. } = state;
            return Shrunk { value: best, shown, runs, accepted, is_complete };
        }
    }
}

impl<T: Send + Sync, R: Send> Shrinking<'_, T, R> {
    const fn is_spent(&self) -> bool {
        self.runs >= self.limits.runs
    }

    /// Delta debugging by complements: chunks of half of the list are left out, then of a quarter, down to single parts.
    fn parts(&mut self, name: &'static str, parts: &Parts<'_, T>) {
        let all = (parts.count)(&self.best);
        if all == 0 || self.round(name, vec![(parts.keep)(&self.best, &[])]).is_some() {
            return;
        }
        let mut chunk = all.div_ceil(2);
        while !self.is_spent() {
            let count = (parts.count)(&self.best);
            let without = |from: usize| -> T {
                let kept: Vec<usize> = (0..count).filter(|at| !(from..from + chunk).contains(at)).collect();
                (parts.keep)(&self.best, &kept)
            };
            // The last first: what came late in a schedule is more often superfluous than what began it.
            let candidates: Vec<T> = (0..count).step_by(chunk.max(1)).rev().map(without).collect();
            if self.round(name, candidates).is_some() {
                chunk = chunk.min((parts.count)(&self.best)).max(1);
                if (parts.count)(&self.best) == 0 {
                    return;
                }
            } else if chunk <= 1 {
                return;
            } else {
                chunk /= 2;
            }
        }
    }

    fn sites(&mut self, name: &'static str, sites: &Sites<'_, T, R>) {
        let mut site = 0;
        while site < (sites.count)(&self.best) && !self.is_spent() {
            let candidates = (sites.candidates)(&self.best, &self.shown, site);
            if self.round(name, candidates).is_none() {
                site += 1;
            }
        }
    }

    /// Checks candidates; the first that is accepted is the new best. Says which.
    fn round(&mut self, pass: &'static str, candidates: Vec<T>) -> Option<usize> {
        let mut fresh: Vec<(u64, T)> = Vec::with_capacity(candidates.len());
        let best = (self.key)(&self.best);
        for candidate in candidates {
            let key = (self.key)(&candidate);
            if key != best && !self.rejected.contains(&key) && fresh.iter().all(|&(other, _)| other != key) {
                fresh.push((key, candidate));
            }
        }
        let room = usize::try_from(self.limits.runs.saturating_sub(self.runs)).unwrap_or(usize::MAX);
        fresh.truncate(room);
        let check = self.check;
        let found = workers::first(self.limits.jobs, fresh.len(), |at| check(&fresh[at].1));
        let (accepted, tried) = match found {
            Some((at, shown)) => {
                self.shown = shown;
                self.accepted += 1;
                (Some(at), at + 1)
            }
            None => (None, fresh.len()),
        };
        self.runs += tried as u64;
        for (at, (key, candidate)) in fresh.into_iter().enumerate().take(tried) {
            if accepted == Some(at) {
                self.best = candidate;
            } else {
                self.rejected.insert(key);
            }
        }
        if tried > 0 {
            let Self { runs, accepted, best, shown, progress, .. } = self;
            progress(&Progress { pass, runs: *runs, accepted: *accepted, best, shown });
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Pass, Shrunk, shrink};

    /// Fails if it has all of `wanted`, whatever else there is.
    fn shrunk(value: Vec<u32>, wanted: &[u32], jobs: usize, runs: u64) -> Shrunk<Vec<u32>, usize> {
        let passes = [
            Pass::parts("parts", Vec::len, |value: &Vec<u32>, kept: &[usize]| {
                kept.iter().map(|&at| value[at]).collect()
            }),
            Pass::steps("halves", |value: &Vec<u32>, _: &usize| {
                (0..value.len())
                    .map(|at| {
                        let mut value = value.clone();
                        value[at] = value[at] / 2000 * 1000;
                        value
                    })
                    .collect()
            }),
        ];
        let key = |value: &Vec<u32>| value.iter().fold(7, |key: u64, &n| key.wrapping_mul(31).wrapping_add(n.into()));
        let check = |value: &Vec<u32>| {
            wanted.iter().all(|wanted| value.iter().any(|n| n % 1000 == *wanted % 1000)).then_some(value.len())
        };
        shrink(value.clone(), value.len(), &passes, &key, &check, Limits { jobs, runs }, &mut |_| {})
    }

    #[test]
    fn only_what_the_failure_needs_is_left() {
        let value: Vec<u32> = (0..64).collect();
        let shrunk = shrunk(value, &[3, 17, 42], 1, 10_000);
        assert_eq!(shrunk.value, [3, 17, 42]);
        assert!(shrunk.is_complete && shrunk.runs < 200, "{shrunk:?}");
    }

    #[test]
    fn the_result_is_the_same_whatever_the_jobs_and_whatever_the_budget() {
        let value: Vec<u32> = (0..40).map(|n| n * 7 + 1).collect();
        for runs in [1, 5, 17, 10_000] {
            let one = shrunk(value.clone(), &[8, 57, 106], 1, runs);
            assert_eq!(one, shrunk(value.clone(), &[8, 57, 106], 4, runs));
            assert!(one.runs <= runs && one.is_complete == (runs == 10_000), "{one:?}");
        }
    }

    #[test]
    fn what_needs_nothing_shrinks_to_nothing() {
        assert_eq!(shrunk(vec![1, 2, 3], &[], 2, 100).value, Vec::<u32>::new());
        assert_eq!(shrunk(Vec::new(), &[], 2, 100).runs, 0);
    }
}
