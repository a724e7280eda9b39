//! How likely a failure was along its run: the world is forked again and again, and many futures of each fork run to their
//! end.

use engine::{Judges, World};
use machine::{Instant, Machine};
use serde::Serialize;

use crate::futures::{Ending, Futures, Tally};

/// A failure is inevitable if so many of a hundred futures end with it, from there on.
pub const INEVITABLE_PERCENT: u32 = 95;

/// It can still be avoided if fewer than so many do: between the two lies the chance of the draw.
const AVOIDABLE_PERCENT: u32 = 80;

/// How many steps the search for the exact instant takes at most.
const NARROWINGS: usize = 12;

/// One instant of the curve.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Point {
    /// When the world was forked, in nanoseconds.
    pub at: u64,
    /// The last event before that.
    pub event: u64,
    /// How its futures ended.
    pub tally: Tally,
}

/// The curve, and when the failure became inevitable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Curve {
    /// The instants, in order.
    pub points: Vec<Point>,
    /// The last instant at which it could still be avoided, and the first at which it could not, the same one if that is the
    /// start; none if it never became inevitable before it was seen.
    pub inevitable: Option<(Point, Point)>,
}

/// Instants from the start to the end of a run, denser towards its end; sorted, none twice.
#[must_use]
pub fn instants(from: Instant, to: Instant, count: u32) -> Vec<Instant> {
    let (from, to) = (from.as_nanos(), to.as_nanos());
    let whole = u128::from(to.saturating_sub(from));
    let n = u128::from(count.max(1));
    let mut instants: Vec<Instant> = (0..=n)
        .map(|i| {
            // What is left shrinks with the square of the steps that are left.
            let left = whole * (n - i) * (n - i) / (n * n);
            Instant::from_nanos(to - u64::try_from(left).expect("a part of a u64"))
        })
        .collect();
    instants.dedup();
    instants
}

/// The curve of a run. `world` is it at its start, `advance` lets it run until an instant, `end` runs a future to its end.
pub fn inevitability<M, J>(
    mut world: World<M, J>,
    instants: &[Instant],
    advance: &dyn Fn(&mut World<M, J>, Instant),
    end: &(dyn Fn(World<M, J>) -> Ending + Sync),
    futures: Futures,
    progress: &mut dyn FnMut(usize),
) -> Curve
where
    M: Machine,
    J: Judges<M>,
    World<M, J>: Send + Sync,
{
    let mut points = Vec::with_capacity(instants.len());
    let mut forks = Vec::with_capacity(instants.len());
    for (number, &at) in instants.iter().enumerate() {
        progress(number);
        advance(&mut world, at);
        forks.push(world.clone());
        points.push(Point { at: at.as_nanos(), event: world.events(), tally: futures.of(&world, end) });
    }
    let is_inevitable = |point: &Point| point.tally.percent() >= INEVITABLE_PERCENT;
    let last = points.iter().rposition(|point| point.tally.percent() < AVOIDABLE_PERCENT);
    let Some(last) = last else {
        let inevitable = points.first().map(|&start| (start, start));
        return Curve { points, inevitable };
    };
    let Some(first) = (last + 1..points.len()).find(|&at| is_inevitable(&points[at])) else {
        return Curve { points, inevitable: None };
    };
    // One future more or less decides here: more of them are asked.
    let more = Futures { count: futures.count.saturating_mul(3), ..futures };
    // The exact instant lies between two points: halve what is between them, by time, until only one event is left.
    let (mut before, mut after) = (points[last], points[first]);
    let mut fork = forks.swap_remove(last);
    for _ in 0..NARROWINGS {
        let middle = before.at.midpoint(after.at);
        if after.event <= before.event + 1 || middle == before.at {
            break;
        }
        let mut world = fork.clone();
        advance(&mut world, Instant::from_nanos(middle));
        let point = Point { at: middle, event: world.events(), tally: more.of(&world, end) };
        if is_inevitable(&point) {
            after = point;
        } else {
            (before, fork) = (point, world);
        }
    }
    Curve { points, inevitable: Some((before, after)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_denser_towards_the_end_and_have_both_ends() {
        let all = instants(Instant::from_nanos(1_000), Instant::from_nanos(101_000), 10);
        assert_eq!((all.first(), all.last()), (Some(&Instant::from_nanos(1_000)), Some(&Instant::from_nanos(101_000))));
        let gaps: Vec<u64> = all.windows(2).map(|pair| pair[1].as_nanos() - pair[0].as_nanos()).collect();
        assert!(gaps.is_sorted_by(|a, b| a >= b), "{gaps:?}");
        assert_eq!(instants(Instant::ZERO, Instant::ZERO, 5), [Instant::ZERO]);
    }
}
