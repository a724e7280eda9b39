//! Which links a shape of a partition cuts, and when.

use machine::{Draw, HostId, Instant, Span};

use super::pairs;
use crate::SpanRange;
use crate::lasting::{Links, Phase};

/// A link flaps at most so often.
const FLAPS_MOST: usize = 50;

/// Each host reaches a majority of them, itself included, and no two the same one: its neighbours on a ring in drawn order. None for
/// fewer than five hosts, who cannot.
pub(super) fn ring(hosts: &[HostId], draw: &mut Draw) -> Links {
    let mut ring = hosts.to_vec();
    draw.shuffle(&mut ring);
    let count = ring.len();
    if count < 5 {
        return Vec::new();
    }
    // So many neighbours on either side make a majority.
    let reach = (count / 2).div_ceil(2);
    let mut links = Vec::new();
    for (at, &one) in ring.iter().enumerate() {
        for (other_at, &other) in ring.iter().enumerate() {
            let apart = at.abs_diff(other_at);
            if apart.min(count - apart) > reach {
                links.push((one, other));
            }
        }
    }
    links
}

/// Two halves in drawn order that only one host joins. None for fewer than three hosts.
pub(super) fn bridge(hosts: &[HostId], draw: &mut Draw) -> Links {
    let mut order = hosts.to_vec();
    draw.shuffle(&mut order);
    if order.len() < 3 {
        return Vec::new();
    }
    let (one, other) = order[1..].split_at((order.len() - 1) / 2);
    let mut links = pairs(one, other);
    links.extend(pairs(other, one));
    links
}

/// Down at once, then up, then down again, until the time is over.
pub(super) fn flap(
    links: &[(HostId, HostId)],
    now: Instant,
    up: SpanRange,
    down: SpanRange,
    lasting: Span,
    draw: &mut Draw,
) -> Vec<Phase> {
    let mut links = links.to_vec();
    links.sort_unstable();
    links.dedup();
    let end = now + lasting;
    let mut phases = Vec::new();
    let mut from = now;
    while !links.is_empty() && from < end && phases.len() < FLAPS_MOST {
        let until = (from + down.draw(draw)).min(end);
        phases.push(Phase { from, until, links: links.clone() });
        from = until + up.draw(draw);
    }
    phases
}

/// Half of the hosts, at least one, in drawn order: one after another is cut off in the first half of the time and comes back in the
/// second, in another order (FoundationDB's swizzle-clog).
pub(super) fn swizzle(
    hosts: &[HostId],
    everybody: &[HostId],
    now: Instant,
    lasting: Span,
    draw: &mut Draw,
) -> Vec<Phase> {
    let mut order = hosts.to_vec();
    draw.shuffle(&mut order);
    order.truncate(order.len().div_ceil(2));
    let half = lasting / 2;
    let mut back: Vec<Span> = order.iter().map(|_| half + draw.between(Span::ZERO, half)).collect();
    let mut out: Vec<Span> = order.iter().map(|_| draw.between(Span::ZERO, half)).collect();
    out.sort_unstable();
    draw.shuffle(&mut back);
    let phase = |((host, from), until): ((HostId, Span), Span)| {
        let mut links = pairs(&[host], everybody);
        links.extend(pairs(everybody, &[host]));
        Phase { from: now + from, until: now + until, links }
    };
    order.into_iter().zip(out).zip(back).map(phase).collect()
}
