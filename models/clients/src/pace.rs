//! When the next operation is started.

use machine::{Instant, Io, Purpose, Span, Vocabulary};

const PACE: Purpose = Purpose::new("client-pace");

/// A rate with jitter: intervals lie between half and three halves of the mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    mean: Option<Span>,
    next: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(rate_per_second: u32) -> Self {
        let mean = (rate_per_second > 0).then(|| Span::secs(1) / u64::from(rate_per_second));
        Self { mean, next: None }
    }

    /// Begins; the first tick comes after a part of an interval, so that clients do not march in step.
    pub(crate) fn start<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) {
        self.next = self.mean.map(|mean| io.now() + Span::nanos(1) + io.draw(PACE).between(Span::ZERO, mean));
    }

    pub(crate) const fn stop(&mut self) {
        self.next = None;
    }

    pub(crate) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a tick is due; arms the next one. Ticks that were missed are not made up for.
    pub(crate) fn tick<V: Vocabulary>(&mut self, io: &mut Io<'_, V>) -> bool {
        let now = io.now();
        let (Some(next), Some(mean)) = (self.next, self.mean) else { return false };
        if next > now {
            return false;
        }
        let half = mean / 2;
        self.next = Some(now + Span::nanos(1) + io.draw(PACE).between(half, half + mean));
        true
    }
}
