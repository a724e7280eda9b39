//! Lanes: the threads of a machine. Items of one lane run one at a time, in order; which lane runs first is drawn.

use std::collections::VecDeque;

use machine::{Draw, Instant, Lane, Purpose, RunKey, Span};

const TURN: Purpose = Purpose::new("engine/turn");

/// How threads interleave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scheduling {
    /// Longest time a ready lane waits for the processor, uniformly drawn: orders lanes that are ready at one instant.
    pub wake_up_most: Span,
    /// One turn in so many is preempted; zero for never.
    pub preempt_one_in: u32,
    /// Shortest preemption.
    pub preempt_least: Span,
    /// Longest preemption.
    pub preempt_most: Span,
}

impl Default for Scheduling {
    /// Up to a microsecond of wake-up time; one turn in 16 preempted for 0.1 to 10 ms.
    fn default() -> Self {
        Self {
            wake_up_most: Span::micros(1),
            preempt_one_in: 16,
            preempt_least: Span::micros(100),
            preempt_most: Span::millis(10),
        }
    }
}

impl Scheduling {
    fn wait(&self, mut draw: Draw) -> Span {
        let wait = draw.between(Span::ZERO, self.wake_up_most);
        if self.preempt_one_in > 0 && draw.chance(1, u64::from(self.preempt_one_in)) {
            return wait + draw.between(self.preempt_least, self.preempt_most);
        }
        wait
    }
}

/// How much less of the processor the threads of a host get than usual.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slowness {
    /// Everything takes so many times as long. Not zero.
    pub(crate) factor: u64,
    /// Each turn comes so much later.
    pub(crate) each: Span,
}

impl Slowness {
    pub(crate) const NONE: Self = Self { factor: 1, each: Span::ZERO };

    /// What a thread computes for that long takes.
    pub(crate) const fn spent(self, time: Span) -> Span {
        Span::nanos(time.as_nanos().saturating_mul(self.factor))
    }

    const fn waited(self, wait: Span) -> Span {
        self.spent(wait).saturating_add(self.each)
    }
}

/// One lane of one host.
#[derive(Clone, Debug)]
struct LaneState<W> {
    lane: Lane,
    /// Work, and the event that deferred it.
    items: VecDeque<(u64, W)>,
    busy_until: Instant,
    /// A turn of it is in the event queue, or stalled.
    scheduled: bool,
    /// Turns drawn so far, over all lives: the index of the next draw.
    turns: u64,
}

/// All lanes of one host, sorted; few, so a flat table.
#[derive(Clone, Debug)]
pub(crate) struct Lanes<W> {
    lanes: Vec<LaneState<W>>,
    /// Where the lane is that was asked for last: a turn asks several times for its own.
    last: usize,
}

impl<W> Default for Lanes<W> {
    fn default() -> Self {
        Self { lanes: Vec::new(), last: 0 }
    }
}

impl<W> Lanes<W> {
    fn lane(&mut self, lane: Lane) -> &mut LaneState<W> {
        if self.lanes.get(self.last).is_none_or(|state| state.lane != lane) {
            self.last = self.place_of(lane);
        }
        &mut self.lanes[self.last]
    }

    fn place_of(&mut self, lane: Lane) -> usize {
        match self.lanes.binary_search_by_key(&lane, |state| state.lane) {
            Ok(at) => at,
            Err(at) => {
                let state =
                    LaneState { lane, items: VecDeque::new(), busy_until: Instant::ZERO, scheduled: false, turns: 0 };
                self.lanes.insert(at, state);
                at
            }
        }
    }

    /// Appends an item.
    pub(crate) fn defer(&mut self, lane: Lane, cause: u64, work: W) {
        self.lane(lane).items.push_back((cause, work));
    }

    /// When the lane's next turn comes, if it has work and no turn is scheduled; it then counts as scheduled.
    pub(crate) fn schedule(
        &mut self,
        lane: Lane,
        now: Instant,
        key: RunKey,
        host: u64,
        scheduling: &Scheduling,
        slowness: Slowness,
    ) -> Option<Instant> {
        let state = self.lane(lane);
        if state.scheduled || state.items.is_empty() {
            return None;
        }
        let draw = key.draw(TURN, (host << 16) | u64::from(lane.0), state.turns);
        state.turns += 1;
        state.scheduled = true;
        Some(now.max(state.busy_until) + slowness.waited(scheduling.wait(draw)))
    }

    /// Takes the item whose turn it is.
    pub(crate) fn take(&mut self, lane: Lane) -> (u64, W) {
        let state = self.lane(lane);
        assert!(state.scheduled, "a turn of {lane} that was not scheduled");
        state.scheduled = false;
        state.items.pop_front().expect("a scheduled lane has work")
    }

    /// Until when the lane is busy; a turn that comes earlier waits.
    pub(crate) fn busy_until(&mut self, lane: Lane) -> Instant {
        self.lane(lane).busy_until
    }

    /// Keeps the lane busy: its next item waits.
    pub(crate) fn spend(&mut self, lane: Lane, now: Instant, time: Span) {
        let state = self.lane(lane);
        state.busy_until = state.busy_until.max(now) + time;
    }

    /// The process died: work is lost, the counters of draws stay.
    pub(crate) fn clear(&mut self) {
        for state in &mut self.lanes {
            state.items.clear();
            state.scheduled = false;
            state.busy_until = Instant::ZERO;
        }
    }
}
