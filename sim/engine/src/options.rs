//! How a world is run: what changes what one sees, and how threads interleave.

use machine::Depth;

use crate::Scheduling;

/// How a world is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Keeps a [`Recording`](crate::Recording) of every event. The trace hash does not change.
    pub record: bool,
    /// How deep messages go into the trace hash: `Encoded` verifies every byte of them.
    pub depth: Depth,
    /// How lanes interleave.
    pub scheduling: Scheduling,
    /// Every so manieth step of a host checks the machine's invariants in full; not zero.
    pub check_every: u32,
    /// After so many events, every machine is checked and its digest goes into the trace hash; not zero.
    pub barrier_every: u64,
    /// Each fault is asked of the judges first ([`Judges::refuses`](crate::Judges::refuses)): one that would make recovery impossible
    /// does not strike.
    pub budgeted: bool,
    /// Goes on after a violation until there are so many; one stops at the first.
    pub violations_most: usize,
}

impl Default for Options {
    /// No recording, cheap digests, every 64th step checked, a barrier every 4,096 events, stop at the first violation.
    fn default() -> Self {
        Self {
            record: false,
            depth: Depth::Cheap,
            scheduling: Scheduling::default(),
            check_every: 64,
            barrier_every: 4_096,
            budgeted: false,
            violations_most: 1,
        }
    }
}

/// What a run has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "each is the number of what it is called")]
pub struct Counts {
    /// Inputs delivered, by kind.
    pub boots: u64,
    pub wakes: u64,
    pub messages: u64,
    pub datagrams: u64,
    pub opened: u64,
    pub accepted: u64,
    pub refused: u64,
    pub lost: u64,
    pub durable: u64,
    pub turns: u64,
    pub terminations: u64,
    /// Effects.
    pub sends: u64,
    pub syncs: u64,
    pub facts: u64,
    pub writes: u64,
    pub exits: u64,
    /// What was done to the world.
    pub faults: u64,
    pub crashes: u64,
    pub segments_held: u64,
    pub inputs_stalled: u64,
}
