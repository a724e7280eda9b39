//! Links: who reaches whom, how fast, and what is wrong with them at the moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::{Draw, HostId, Instant, Purpose, RunKey, Span};
use serde::{Deserialize, Serialize};

const BASE: Purpose = Purpose::new("engine/link-base");
const LATENCY: Purpose = Purpose::new("engine/latency");
const LOSS: Purpose = Purpose::new("engine/loss");

/// Shortest retransmission time of a kernel: Linux's `TCP_RTO_MIN`.
const RETRANSMIT_FIRST: Span = Span::millis(200);
/// Longest: `TCP_RTO_MAX`.
const RETRANSMIT_MOST: Span = Span::secs(120);
/// Losses of one segment in a row after which the draw stops; far beyond any chance that matters.
const LOSSES_MOST: u32 = 9;

/// How the links of a world behave while nothing is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// Shortest and longest base latency; drawn once per ordered pair of hosts.
    pub base: (Span, Span),
    /// What a segment takes on top, as a table of quantiles: one interval between neighbours is drawn, then a point in
    /// it. Two entries make a uniform latency; a long last interval makes a tail. Ascending, not empty.
    pub jitter: Vec<Span>,
    /// What a host takes to reach itself.
    pub loopback: Span,
    /// Base latency of particular ordered pairs (from, to), instead of a drawn one.
    pub overrides: Vec<(HostId, HostId, Span)>,
    /// The datagram mode.
    pub datagrams: DatagramSpec,
}

impl Default for NetworkSpec {
    /// A data centre: 50 to 250 µs per pair, up to 300 µs on top, one segment in eight up to 2 ms.
    fn default() -> Self {
        let jitter = [0, 10, 20, 40, 60, 100, 150, 300, 2_000];
        Self {
            base: (Span::micros(50), Span::micros(250)),
            jitter: jitter.map(Span::micros).to_vec(),
            loopback: Span::micros(15),
            overrides: Vec::new(),
            datagrams: DatagramSpec::default(),
        }
    }
}

impl NetworkSpec {
    /// Every latency uniform between the two.
    #[must_use]
    pub fn uniform(least: Span, most: Span) -> Self {
        Self { base: (Span::ZERO, Span::ZERO), jitter: vec![least, most], ..Self::default() }
    }
}

/// What may happen to a datagram. Reordering needs no setting: each takes its own latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DatagramSpec {
    /// One in so many is lost; zero for none.
    pub loss_one_in: u32,
    /// One in so many arrives twice; zero for none.
    pub duplicate_one_in: u32,
}

/// What is wrong with one link, summed over the active faults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) cuts: u32,
    pub(crate) extra: Span,
    pub(crate) loss_one_in: u32,
    /// What the link carries; zero for any amount.
    pub(crate) bytes_per_second: u64,
}

/// All links.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    hosts: usize,
    fixed: Arc<Fixed>,
    troubles: BTreeMap<(HostId, HostId), Trouble>,
    /// Until when links of small bandwidth are busy with what was sent already.
    busy_until: BTreeMap<(HostId, HostId), Instant>,
}

/// What does not change during a run.
#[derive(Debug)]
struct Fixed {
    base: Vec<Span>,
    jitter: Vec<Span>,
    datagrams: DatagramSpec,
}

impl Network {
    pub(crate) fn new(spec: &NetworkSpec, hosts: usize, key: RunKey) -> Self {
        assert!(!spec.jitter.is_empty(), "a table of latencies has entries");
        assert!(spec.jitter.is_sorted(), "a table of latencies ascends");
        let mut base = Vec::with_capacity(hosts * hosts);
        for from in 0..hosts as u64 {
            for to in 0..hosts as u64 {
                base.push(if from == to {
                    spec.loopback
                } else {
                    key.draw(BASE, (from << 32) | to, 0).between(spec.base.0, spec.base.1)
                });
            }
        }
        for &(from, to, latency) in &spec.overrides {
            base[from.0 as usize * hosts + to.0 as usize] = latency;
        }
        let fixed = Fixed { base, jitter: spec.jitter.clone(), datagrams: spec.datagrams };
        Self { hosts, fixed: Arc::new(fixed), troubles: BTreeMap::new(), busy_until: BTreeMap::new() }
    }

    pub(crate) fn datagrams(&self) -> DatagramSpec {
        self.fixed.datagrams
    }

    /// What is wrong with the link; almost always nothing, which costs one comparison.
    #[inline]
    pub(crate) fn trouble(&self, from: HostId, to: HostId) -> Option<&Trouble> {
        if self.troubles.is_empty() { None } else { self.troubles.get(&(from, to)) }
    }

    #[inline]
    pub(crate) fn is_cut(&self, from: HostId, to: HostId) -> bool {
        self.trouble(from, to).is_some_and(|trouble| trouble.cuts > 0)
    }

    /// Replaces what is wrong with all links.
    pub(crate) fn set_troubles(&mut self, troubles: BTreeMap<(HostId, HostId), Trouble>) {
        self.troubles = troubles;
    }

    /// Something is wrong with some link.
    #[inline(always)]
    pub(crate) fn is_troubled(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Latency of the segment with that name; no loss.
    #[inline]
    pub(crate) fn latency(&self, key: RunKey, from: HostId, to: HostId, entity: u64, index: u64) -> Span {
        let latency = self.untroubled_latency(key, from, to, entity, index);
        match self.trouble(from, to) {
            Some(trouble) if from != to => latency + trouble.extra,
            Some(_) | None => latency,
        }
    }

    /// The same while nothing is wrong with the link.
    #[inline(always)]
    pub(crate) fn untroubled_latency(&self, key: RunKey, from: HostId, to: HostId, entity: u64, index: u64) -> Span {
        let base = self.fixed.base[from.0 as usize * self.hosts + to.0 as usize];
        if from == to {
            return base;
        }
        base + jitter(&self.fixed.jitter, key.draw(LATENCY, entity, index))
    }

    /// How long so many bytes take until they are on the link, behind what was sent before them; nothing if it is wide enough.
    pub(crate) fn queued(&mut self, from: HostId, to: HostId, now: Instant, bytes: u32) -> Span {
        let rate = self.trouble(from, to).map_or(0, |trouble| trouble.bytes_per_second);
        if rate == 0 || from == to {
            return Span::ZERO;
        }
        let takes = Span::nanos(u64::from(bytes).saturating_mul(1_000_000_000).div_ceil(rate));
        let busy_until = self.busy_until.entry((from, to)).or_insert(now);
        *busy_until = (*busy_until).max(now).saturating_add(takes);
        busy_until.saturating_since(now)
    }

    /// How often in a row the segment with that name is lost before it passes.
    pub(crate) fn losses(&self, key: RunKey, from: HostId, to: HostId, entity: u64, index: u64) -> u32 {
        let Some(one_in) = self.trouble(from, to).map(|trouble| trouble.loss_one_in).filter(|&n| n > 0) else {
            return 0;
        };
        let mut draw = key.draw(LOSS, entity, index);
        let mut losses = 0;
        while losses < LOSSES_MOST && draw.chance(1, u64::from(one_in)) {
            losses += 1;
        }
        losses
    }
}

#[inline(always)]
fn jitter(table: &[Span], mut draw: Draw) -> Span {
    match *table {
        [only] => only,
        [least, most] => draw.between(least, most),
        _ => {
            let at = draw.index(table.len() - 1);
            draw.between(table[at], table[at + 1])
        }
    }
}

/// What `losses` retransmissions delay a segment by: 200 ms, then twice as long each time.
pub(crate) fn retransmission_delay(losses: u32) -> Span {
    RETRANSMIT_FIRST * ((1 << losses) - 1)
}

/// The first retransmission, at or after `now`, of a segment that has been sent in vain since `since`.
pub(crate) fn next_retransmission(since: Instant, now: Instant) -> Instant {
    let (mut at, mut wait) = (since, RETRANSMIT_FIRST);
    loop {
        at = at + wait;
        if at >= now {
            return at;
        }
        wait = (wait * 2).min(RETRANSMIT_MOST);
    }
}

/// When a SYN that got no answer is sent again, after so many attempts: 1 s, 2 s, 4 s … 64 s.
///
/// `Simplified:` it is retried for ever; a real kernel reports a time-out after about two minutes. Every machine has a
/// connect timeout of its own that is shorter.
pub(crate) fn syn_retry_after(attempts: u32) -> Span {
    Span::secs(1 << attempts.saturating_sub(1).min(6))
}

#[cfg(test)]
mod tests {
    use machine::{HostId, Instant, RunKey, Span};

    use super::{Network, NetworkSpec, next_retransmission, retransmission_delay, syn_retry_after};

    #[test]
    fn retransmissions_back_off_up_to_two_minutes() {
        assert_eq!(retransmission_delay(0), Span::ZERO);
        assert_eq!(retransmission_delay(3), Span::millis(1_400));
        let at = |ms: u64| Instant::ZERO + Span::millis(ms);
        assert_eq!(next_retransmission(at(0), at(0)), at(200));
        assert_eq!(next_retransmission(at(0), at(601)), at(1_400));
        let late = at(10_000_000);
        assert!(next_retransmission(at(0), late) - late <= Span::secs(120));
        assert_eq!(syn_retry_after(1), Span::secs(1));
        assert_eq!(syn_retry_after(3), Span::secs(4));
        assert_eq!(syn_retry_after(90), Span::secs(64));
    }

    #[test]
    fn a_latency_stays_within_its_table_and_depends_on_its_name() {
        let spec = NetworkSpec::uniform(Span::millis(1), Span::millis(10));
        let network = Network::new(&spec, 2, RunKey([1, 2]));
        let latency = |index| network.latency(RunKey([1, 2]), HostId(0), HostId(1), 7, index);
        assert!((0..1_000).map(latency).all(|span| span >= Span::millis(1) && span <= Span::millis(10)));
        assert_ne!(latency(0), latency(1));
        assert_eq!(latency(5), latency(5));
    }
}
