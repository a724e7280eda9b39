//! Which rules of a schedule a failure needs: each is left out in turn, and many futures are tried with it and without it.
//!
//! Both kinds of future fork from the run shortly before the rule strikes first. Until then a world without the rule is the
//! same, because draws have names; so what happened before stays as it was, and only what comes of the fault is asked.

use engine::{Judges, World};
use machine::{Instant, Machine, Span};
use serde::Serialize;

use crate::futures::{Ending, Futures, Tally};

/// Forks are taken so long before a rule strikes: after everything that led to it but the last step.
const LEAD: Span = Span::millis(1);

/// Whether a failure needs a rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Without it the failure is gone, or as good as gone.
    Needed,
    /// Without it the failure is rarer.
    Helps,
    /// Without it the failure is as likely.
    NotNeeded,
    /// It never struck.
    NeverStruck,
    /// Even with it too few futures fail to tell.
    Unclear,
}

/// What leaving a rule out comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Necessity {
    /// Its place in the schedule.
    pub rule: usize,
    /// Futures in which it strikes.
    pub with: Tally,
    /// Futures without it.
    pub without: Tally,
    /// Whether the run itself, with its own draws, fails without it.
    pub itself: bool,
    /// What follows.
    pub need: Need,
}

/// Asks it of every rule of a schedule. `first_strike` says when a rule struck first and how long before that it may have
/// been triggered; `world` makes the run's world, without a rule, and lets it run until an instant; `end` runs a future to its
/// end.
pub fn necessity<M, J>(
    first_strikes: &[Option<(Instant, Span)>],
    world: &dyn Fn(Option<usize>, Instant) -> World<M, J>,
    end: &(dyn Fn(World<M, J>) -> Ending + Sync),
    futures: Futures,
    progress: &mut dyn FnMut(usize),
) -> Vec<Necessity>
where
    M: Machine,
    J: Judges<M>,
    World<M, J>: Send + Sync,
{
    let mut all = Vec::with_capacity(first_strikes.len());
    for (rule, first) in first_strikes.iter().enumerate() {
        progress(rule);
        let Some((struck, delay)) = first else {
            let (with, without) = (Tally::default(), Tally::default());
            all.push(Necessity { rule, with, without, itself: true, need: Need::NeverStruck });
            continue;
        };
        let before = struck.as_nanos().saturating_sub(delay.saturating_add(LEAD).as_nanos());
        let at = Instant::from_nanos(before);
        let with = futures.of(&world(None, at), end);
        let other = world(Some(rule), at);
        let without = futures.of(&other, end);
        let itself = end(other) == Ending::Same;
        all.push(Necessity { rule, with, without, itself, need: need(with, without, itself) });
    }
    all
}

fn need(with: Tally, without: Tally, itself: bool) -> Need {
    let (with, without) = (with.percent(), without.percent());
    if without == 0 && !itself {
        // Even if few futures fail with it: this very run does not without it.
        Need::Needed
    } else if with < 10 && without < 10 {
        Need::Unclear
    } else if without * 10 <= with {
        Need::Needed
    } else if without * 10 >= with * 8 {
        Need::NotNeeded
    } else {
        Need::Helps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_needed_if_hardly_a_future_fails_without_it() {
        let of = |same: u32| Tally { same, held: 50 - same, ..Tally::default() };
        assert_eq!(need(of(50), of(0), false), Need::Needed);
        assert_eq!(need(of(50), of(5), false), Need::Needed);
        assert_eq!(need(of(47), of(20), true), Need::Helps);
        assert_eq!(need(of(47), of(45), true), Need::NotNeeded);
        assert_eq!(need(of(2), of(0), false), Need::Needed);
        assert_eq!(need(of(2), of(1), false), Need::Unclear);
        assert_eq!(need(of(2), of(0), true), Need::Unclear);
        assert_eq!(need(of(10), of(50), true), Need::NotNeeded);
    }
}
