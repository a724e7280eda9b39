//! Faults as data: what is done, and to whom.

mod words;

use serde::{Deserialize, Serialize};

use crate::{SpanRange, Target};

/// What a disk error hits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOperation {
    /// Reads and opens answer EIO.
    Read,
    /// Writes, creations, renames and removals answer EIO.
    Write,
    /// Syncs complete with EIO, and what they covered is lost at the next loss of power.
    Sync,
}

/// What is done. In files the key is `do`: `do = { pause = { target = { role = "leader" }, for = "8s" } }`.
///
/// A fault without `for` lasts until the world heals.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The process dies at once; its kernel resets its connections, the page cache stays.
    Kill {
        /// Who.
        target: Target,
        /// When it starts again; absent: as its supervisor does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart_after: Option<SpanRange>,
    },
    /// The host is off at once: memory, kernel and everything unsynced are gone; nobody is told.
    PowerLoss {
        /// Who.
        target: Target,
        /// When it is on again and its process starts; absent: when the world heals.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        down_for: Option<SpanRange>,
    },
    /// The operator asks the process to end (SIGTERM).
    Terminate {
        /// Who.
        target: Target,
        /// When it starts again after it has ended; absent: as its supervisor does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart_after: Option<SpanRange>,
    },
    /// The process stops (SIGSTOP, a long garbage collection): its kernel still accepts and acknowledges, its clocks go
    /// on.
    Pause {
        /// Who.
        target: Target,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// The whole host stops (a frozen virtual machine): nothing answers, its clocks go on.
    Freeze {
        /// Who.
        target: Target,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Nothing passes from one to the other, nor back unless it is one-way.
    Cut {
        /// The one side.
        from: Target,
        /// The other side.
        to: Target,
        /// Only this direction.
        #[serde(default)]
        one_way: bool,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Nothing passes between any two of the groups; who is in none of them still reaches everybody.
    Partition {
        /// The groups: each a list of targets.
        groups: Vec<Vec<Target>>,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Nothing passes between each target and everybody else, in both directions.
    Isolate {
        /// Who.
        target: Target,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Every connection between the two is reset; both learn it at once, and what was under way is lost.
    Reset {
        /// The one and the other.
        between: [Target; 2],
    },
    /// Segments take longer, in this direction.
    Delay {
        /// The one side.
        from: Target,
        /// The other side.
        to: Target,
        /// By how much; drawn once.
        extra: SpanRange,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Segments are lost, in this direction: on a connection that is a retransmission delay of 200 ms, doubled each time.
    Loss {
        /// The one side.
        from: Target,
        /// The other side.
        to: Target,
        /// One in so many; not zero.
        one_in: u32,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Operations of the disk answer EIO.
    DiskError {
        /// Who.
        target: Target,
        /// Which operations.
        operation: DiskOperation,
        /// The next so many of them; absent: all while the fault lasts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<u32>,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Writes that need space answer ENOSPC.
    DiskFull {
        /// Who.
        target: Target,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Syncs and reads from the device take longer.
    SlowDisk {
        /// Who.
        target: Target,
        /// Times the usual latency.
        #[serde(default = "one")]
        factor: u32,
        /// On top of each.
        #[serde(default)]
        stall: SpanRange,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Both clocks run faster or slower.
    ClockDrift {
        /// Who.
        target: Target,
        /// Parts per million, -500,000 to 900,000; replaces the drift it had.
        ppm: i32,
        /// How long; then the drift it started with is back.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// The calendar clock jumps.
    ClockJump {
        /// Who.
        target: Target,
        /// Milliseconds, forwards or (negative) backwards.
        by_ms: i64,
    },
    /// The process dies at once, and again a drawn while into each of its next lives.
    CrashLoop {
        /// Who.
        target: Target,
        /// How many more times than once; not zero.
        times: u32,
        /// How long each of those lives is.
        within: SpanRange,
        /// How long it is down each time, the last included.
        restart_after: SpanRange,
    },
    /// Whatever keeps the process or its host from running (pause, freeze, suspend) ends now.
    Resume {
        /// Who.
        target: Target,
    },
    /// The whole host stops and its clocks with it: a virtual machine that is suspended. Its calendar is late afterwards.
    Suspend {
        /// Who.
        target: Target,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Threads get less of the processor.
    SlowCpu {
        /// Who.
        target: Target,
        /// What a thread computes, and what it waits for the processor, takes so many times as long.
        #[serde(default = "one")]
        factor: u32,
        /// Each turn of a thread comes so much later; drawn once.
        #[serde(default)]
        each: SpanRange,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// One thread of the process stops; the others live on.
    StopLane {
        /// Who.
        target: Target,
        /// The thread, by the name of its lane.
        lane: String,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Each of the hosts reaches a majority of them, and no two the same: at least five hosts, in a drawn order.
    Ring {
        /// Among whom.
        target: Target,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Two halves that only one of the hosts, drawn, still joins: at least three hosts.
    Bridge {
        /// Among whom.
        target: Target,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// The links between the two go down and up again, at most fifty times.
    Flap {
        /// The one side.
        from: Target,
        /// The other side.
        to: Target,
        /// How long they are up; drawn each time.
        up: SpanRange,
        /// How long they are down; drawn each time.
        down: SpanRange,
        /// How long in all.
        #[serde(rename = "for")]
        lasting: SpanRange,
    },
    /// A drawn half of the hosts is cut off from everybody, one after another, and comes back in another order.
    Swizzle {
        /// Among whom.
        target: Target,
        /// How long in all.
        #[serde(rename = "for")]
        lasting: SpanRange,
    },
    /// The connections that are open between the two pass nothing any more, and nobody is told; new ones do. When it ends the
    /// kernels give the old ones up.
    HalfOpen {
        /// The one and the other.
        between: [Target; 2],
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Whoever dials waits longer, or is refused.
    SlowAccept {
        /// Who is dialled.
        target: Target,
        /// How much longer; absent: refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extra: Option<SpanRange>,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// A link carries only so much, in this direction.
    Bandwidth {
        /// The one side.
        from: Target,
        /// The other side.
        to: Target,
        /// Bytes per second of each link; not zero.
        bytes_per_second: u64,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// The host loses power, and comes back with an empty disk.
    Wipe {
        /// Who.
        target: Target,
        /// When it is on again and its process starts; absent: when the world heals.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        down_for: Option<SpanRange>,
    },
    /// The host loses power after a while, and comes back with the disk as it is now: a virtual machine restored from a
    /// backup. Beyond what any of the real systems promises to survive.
    RestoreDisk {
        /// Who.
        target: Target,
        /// How long after this the power goes.
        age: SpanRange,
        /// When it is on again and its process starts; absent: when the world heals.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        down_for: Option<SpanRange>,
    },
    /// Bits flip in what the device holds, at drawn places. No read reports it.
    ///
    /// Simplified: the page cache does not hide it.
    BitRot {
        /// Who.
        target: Target,
        /// Files whose path begins so; any if empty.
        #[serde(default)]
        file: String,
        /// How many.
        #[serde(default = "one")]
        bits: u32,
    },
    /// Drawn sectors of 4 KiB answer EIO when they are read, until they are written as a whole.
    BadSectors {
        /// Who.
        target: Target,
        /// Files whose path begins so; any if empty.
        #[serde(default)]
        file: String,
        /// How many.
        #[serde(default = "one")]
        sectors: u32,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Syncs complete well, and nothing they cover is durable. Beyond what any of the real systems promises to survive.
    LostSync {
        /// Who.
        target: Target,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// The next writes are taken and never applied: a sync of them completes, and the next loss of power shows the old bytes.
    LostWrite {
        /// Who.
        target: Target,
        /// To files whose path begins so; any if empty.
        #[serde(default)]
        file: String,
        /// How many.
        #[serde(default = "one")]
        times: u32,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// The next writes land at another place of the same file, over bytes that were durable.
    MisdirectedWrite {
        /// Who.
        target: Target,
        /// To files whose path begins so; any if empty.
        #[serde(default)]
        file: String,
        /// How many.
        #[serde(default = "one")]
        times: u32,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// The calendar clock jumps there and back, again and again.
    ClockStrobe {
        /// Who.
        target: Target,
        /// Milliseconds, forwards or (negative) backwards.
        by_ms: i64,
        /// How long it stays; drawn once, at least a millisecond.
        every: SpanRange,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Timers fire late, each by a drawn time up to a bound: a coarse or busy scheduler.
    LateTimers {
        /// Who.
        target: Target,
        /// The bound; drawn once.
        by: SpanRange,
        /// How long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasting: Option<SpanRange>,
    },
    /// Every fault that lasts ends now; who is down stays down until its restart.
    Heal {},
}

const fn one() -> u32 {
    1
}

impl Fault {
    /// The fault's name in files, such as `power-loss`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::PowerLoss { .. } => "power-loss",
            Self::Terminate { .. } => "terminate",
            Self::Pause { .. } => "pause",
            Self::Freeze { .. } => "freeze",
            Self::Cut { .. } => "cut",
            Self::Partition { .. } => "partition",
            Self::Isolate { .. } => "isolate",
            Self::Reset { .. } => "reset",
            Self::Delay { .. } => "delay",
            Self::Loss { .. } => "loss",
            Self::DiskError { .. } => "disk-error",
            Self::DiskFull { .. } => "disk-full",
            Self::SlowDisk { .. } => "slow-disk",
            Self::ClockDrift { .. } => "clock-drift",
            Self::ClockJump { .. } => "clock-jump",
            Self::CrashLoop { .. } => "crash-loop",
            Self::Resume { .. } => "resume",
            Self::Suspend { .. } => "suspend",
            Self::SlowCpu { .. } => "slow-cpu",
            Self::StopLane { .. } => "stop-lane",
            Self::Ring { .. } => "ring",
            Self::Bridge { .. } => "bridge",
            Self::Flap { .. } => "flap",
            Self::Swizzle { .. } => "swizzle",
            Self::HalfOpen { .. } => "half-open",
            Self::SlowAccept { .. } => "slow-accept",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Wipe { .. } => "wipe",
            Self::RestoreDisk { .. } => "restore-disk",
            Self::BitRot { .. } => "bit-rot",
            Self::BadSectors { .. } => "bad-sectors",
            Self::LostSync { .. } => "lost-sync",
            Self::LostWrite { .. } => "lost-write",
            Self::MisdirectedWrite { .. } => "misdirected-write",
            Self::ClockStrobe { .. } => "clock-strobe",
            Self::LateTimers { .. } => "late-timers",
            Self::Heal {} => "heal",
        }
    }

    /// Every target it names, in order.
    #[must_use]
    pub fn targets(&self) -> Vec<&Target> {
        match self {
            Self::Kill { target, .. }
            | Self::PowerLoss { target, .. }
            | Self::Terminate { target, .. }
            | Self::Pause { target, .. }
            | Self::Freeze { target, .. }
            | Self::Isolate { target, .. }
            | Self::DiskError { target, .. }
            | Self::DiskFull { target, .. }
            | Self::SlowDisk { target, .. }
            | Self::ClockDrift { target, .. }
            | Self::ClockJump { target, .. }
            | Self::CrashLoop { target, .. }
            | Self::Resume { target, .. }
            | Self::Suspend { target, .. }
            | Self::SlowCpu { target, .. }
            | Self::StopLane { target, .. }
            | Self::Ring { target, .. }
            | Self::Bridge { target, .. }
            | Self::Swizzle { target, .. }
            | Self::SlowAccept { target, .. }
            | Self::Wipe { target, .. }
            | Self::RestoreDisk { target, .. }
            | Self::BitRot { target, .. }
            | Self::BadSectors { target, .. }
            | Self::LostSync { target, .. }
            | Self::LostWrite { target, .. }
            | Self::MisdirectedWrite { target, .. }
            | Self::ClockStrobe { target, .. }
            | Self::LateTimers { target, .. } => vec![target],
            Self::Cut { from, to, .. }
            | Self::Delay { from, to, .. }
            | Self::Loss { from, to, .. }
            | Self::Flap { from, to, .. }
            | Self::Bandwidth { from, to, .. } => vec![from, to],
            Self::Partition { groups, .. } => groups.iter().flatten().collect(),
            Self::Reset { between } | Self::HalfOpen { between, .. } => between.iter().collect(),
            Self::Heal {} => Vec::new(),
        }
    }

    /// True for what cannot strike before the effects of a step leave: the process would have to keep them back.
    #[must_use]
    pub const fn needs_effects(&self) -> bool {
        matches!(
            self,
            Self::Terminate { .. }
                | Self::Pause { .. }
                | Self::Freeze { .. }
                | Self::Suspend { .. }
                | Self::Resume { .. }
                | Self::StopLane { .. }
        )
    }

    /// True for what breaks every promise of a disk, so that no budget allows it: only schedules that say so have it.
    #[must_use]
    pub const fn is_beyond_spec(&self) -> bool {
        matches!(self, Self::LostSync { .. } | Self::RestoreDisk { .. })
    }

    /// True for what may take durable bytes away, or what a disk was asked to keep.
    #[must_use]
    pub const fn is_lossy(&self) -> bool {
        matches!(
            self,
            Self::PowerLoss { .. }
                | Self::Wipe { .. }
                | Self::RestoreDisk { .. }
                | Self::BitRot { .. }
                | Self::LostSync { .. }
                | Self::LostWrite { .. }
                | Self::MisdirectedWrite { .. }
        ) || matches!(self, Self::DiskError { operation: DiskOperation::Sync, .. })
    }

    /// How long it lasts, or its target is down, to be changed; none for what is over at once or has no end of its own.
    pub const fn lasting_mut(&mut self) -> Option<&mut SpanRange> {
        match self {
            Self::Kill { restart_after: span, .. }
            | Self::Terminate { restart_after: span, .. }
            | Self::PowerLoss { down_for: span, .. }
            | Self::Wipe { down_for: span, .. }
            | Self::RestoreDisk { down_for: span, .. }
            | Self::Pause { lasting: span, .. }
            | Self::Freeze { lasting: span, .. }
            | Self::Suspend { lasting: span, .. }
            | Self::SlowCpu { lasting: span, .. }
            | Self::StopLane { lasting: span, .. }
            | Self::Cut { lasting: span, .. }
            | Self::Partition { lasting: span, .. }
            | Self::Isolate { lasting: span, .. }
            | Self::Ring { lasting: span, .. }
            | Self::Bridge { lasting: span, .. }
            | Self::HalfOpen { lasting: span, .. }
            | Self::SlowAccept { lasting: span, .. }
            | Self::Bandwidth { lasting: span, .. }
            | Self::Delay { lasting: span, .. }
            | Self::Loss { lasting: span, .. }
            | Self::DiskError { lasting: span, .. }
            | Self::DiskFull { lasting: span, .. }
            | Self::SlowDisk { lasting: span, .. }
            | Self::BadSectors { lasting: span, .. }
            | Self::LostSync { lasting: span, .. }
            | Self::LostWrite { lasting: span, .. }
            | Self::MisdirectedWrite { lasting: span, .. }
            | Self::ClockDrift { lasting: span, .. }
            | Self::ClockStrobe { lasting: span, .. }
            | Self::LateTimers { lasting: span, .. } => span.as_mut(),
            Self::Flap { lasting: span, .. }
            | Self::Swizzle { lasting: span, .. }
            | Self::CrashLoop { restart_after: span, .. } => Some(span),
            Self::Reset { .. } | Self::Resume { .. } | Self::BitRot { .. } | Self::ClockJump { .. } | Self::Heal {} => {
                None
            }
        }
    }
}
