//! A host's clocks: offset, drift and jump against the world's time.

use machine::{Clock, Instant};
use serde::{Deserialize, Serialize};

/// One million: drift is in parts of it.
const MILLION: u64 = 1_000_000;

/// What the calendar shows when a run starts: 2023-11-14T22:13:20Z.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// A host's clocks when the run starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClockSpec {
    /// How far its calendar is ahead, in milliseconds.
    pub offset_ms: i64,
    /// How much faster both its clocks run, in parts per million: -500,000 to 900,000.
    pub drift_ppm: i32,
}

/// A host's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    anchor_world: u64,
    anchor_local: u64,
    /// Local nanoseconds per million of the world's.
    rate: u64,
    wall_offset_ms: i64,
}

impl HostClock {
    /// A clock that reads `start` at world zero.
    pub(crate) fn new(spec: ClockSpec, start: Instant) -> Self {
        let start_ms = i64::try_from(start.as_millis()).expect("milliseconds fit i64");
        Self {
            anchor_world: 0,
            anchor_local: start.as_nanos(),
            rate: rate_of(spec.drift_ppm),
            wall_offset_ms: EPOCH_MS + spec.offset_ms - start_ms,
        }
    }

    /// Both clocks at a world instant.
    #[inline(always)]
    pub(crate) fn read(&self, world: Instant) -> Clock {
        Clock { now: self.local(world), wall_offset_ms: self.wall_offset_ms }
    }

    /// `anchor + floor(elapsed · rate / 10⁶)`.
    #[inline(always)]
    pub(crate) fn local(&self, world: Instant) -> Instant {
        let elapsed = world.as_nanos() - self.anchor_world;
        let passed = if self.rate == MILLION { elapsed } else { scaled(elapsed, self.rate, MILLION, Rounding::Down) };
        Instant::from_nanos(self.anchor_local + passed)
    }

    /// The *first* world instant whose local time reaches `deadline`; rounded up, so that a wake is never early.
    #[inline]
    pub(crate) fn world_at(&self, deadline: Instant) -> Instant {
        let ahead = deadline.as_nanos().saturating_sub(self.anchor_local);
        let elapsed = if self.rate == MILLION { ahead } else { scaled(ahead, MILLION, self.rate, Rounding::Up) };
        Instant::from_nanos(self.anchor_world.saturating_add(elapsed))
    }

    /// Changes the drift from `now` on; what was read so far stays read.
    pub(crate) fn drift(&mut self, now: Instant, ppm: i32) {
        self.anchor_local = self.local(now).as_nanos();
        self.anchor_world = now.as_nanos();
        self.rate = rate_of(ppm);
    }

    /// Both clocks stood still since the monotonic one showed `since`, and go on now.
    pub(crate) const fn resume(&mut self, now: Instant, since: Instant) {
        self.anchor_local = since.as_nanos();
        self.anchor_world = now.as_nanos();
    }

    /// Moves the calendar; the monotonic clock never jumps.
    pub(crate) const fn jump(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }
}

fn rate_of(ppm: i32) -> u64 {
    assert!((-500_000..=900_000).contains(&ppm), "a drift of {ppm} ppm is outside -500000..=900000");
    u64::try_from(i64::from(ppm) + 1_000_000).expect("a drift above -100 %")
}

#[derive(Clone, Copy)]
enum Rounding {
    Down,
    Up,
}

/// `value · by / over`, in 64 bits where that is enough. Inlined, because a division by a constant is none.
#[inline(always)]
fn scaled(value: u64, by: u64, over: u64, rounding: Rounding) -> u64 {
    let up = match rounding {
        Rounding::Down => 0,
        Rounding::Up => over - 1,
    };
    if value < 1 << 42 {
        return (value * by + up) / over;
    }
    scaled_widely(value, by, over, up)
}

#[cold]
fn scaled_widely(value: u64, by: u64, over: u64, up: u64) -> u64 {
    let wide = (u128::from(value) * u128::from(by) + u128::from(up)) / u128::from(over);
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use machine::Instant;

    use super::{ClockSpec, HostClock};

    #[test]
    fn a_deadline_is_never_early_and_at_most_one_tick_late() {
        for drift_ppm in [-500_000, -200, -1, 0, 1, 200, 50_000, 900_000] {
            let clock = HostClock::new(ClockSpec { offset_ms: 0, drift_ppm }, Instant::from_nanos(777));
            for deadline in [778, 1_000, 123_457, 999_999_999, 5_000_000_000_001, 9_000_000_000_000_000] {
                let deadline = Instant::from_nanos(deadline);
                let at = clock.world_at(deadline);
                assert!(clock.local(at) >= deadline, "early at {drift_ppm} ppm");
                let before = Instant::from_nanos(at.as_nanos() - 1);
                assert!(clock.local(before) < deadline, "late at {drift_ppm} ppm");
            }
        }
    }

    #[test]
    fn a_change_of_drift_does_not_move_the_present() {
        let mut clock = HostClock::new(ClockSpec { offset_ms: 5, drift_ppm: 100_000 }, Instant::ZERO);
        let now = Instant::from_nanos(3_333_333_333);
        let before = clock.read(now);
        clock.drift(now, -400_000);
        assert_eq!(clock.read(now).now, before.now);
        clock.jump(-70);
        assert_eq!(clock.read(now).now, before.now);
        assert_eq!(clock.read(now).wall_offset_ms, before.wall_offset_ms - 70);
    }
}
