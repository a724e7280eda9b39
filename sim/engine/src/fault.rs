//! Faults as data: what is done, and to whom.

use std::fmt;

use machine::{HostId, Span};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SpanRange;

/// Who is meant. Resolved at the instant the fault strikes; one that resolves to nobody is *fired, not felt*.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// `{ host = "zk1" }`: the host of that name.
    Host(String),
    /// `{ role = "leader" }`: whoever has the role at that instant, as the judges see it.
    Role(String),
    /// `{ group = "coordinators" }`: every host of the group.
    Group(String),
    /// `{ any-of = "coordinators" }`: one host of the group, drawn.
    AnyOf(String),
    /// `{ minority-of = "coordinators" }`: fewer than half of the group, at least one, drawn.
    MinorityOf(String),
    /// `{ rest-of = "coordinators" }`: those of the group that this fault has not named so far.
    RestOf(String),
    /// `{ except = { group = "coordinators", target = { role = "leader" } } }`: the group without the target.
    Except(Except),
    /// `{ this = true }`: the host that stated the fact which triggered the rule.
    This(Yes),
    /// `{ everybody = true }`: every host.
    Everybody(Yes),
}

/// A group without somebody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Except {
    /// The group.
    pub group: String,
    /// Who is left out of it.
    pub target: Box<Target>,
}

/// The only value of a key that is merely present: `true`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Yes;

impl Serialize for Yes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for Yes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if bool::deserialize(from)? { Ok(Self) } else { Err(D::Error::custom("this key is `true` or absent")) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Role(name) => write!(f, "the {name}"),
            Self::Group(name) => write!(f, "all {name}"),
            Self::AnyOf(name) => write!(f, "one of the {name}"),
            Self::MinorityOf(name) => write!(f, "a minority of the {name}"),
            Self::RestOf(name) => write!(f, "the rest of the {name}"),
            Self::Except(Except { group, target }) => write!(f, "all {group} except {target}"),
            Self::This(Yes) => f.write_str("this host"),
            Self::Everybody(Yes) => f.write_str("everybody"),
        }
    }
}

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
            | Self::ClockJump { target, .. } => vec![target],
            Self::Cut { from, to, .. } | Self::Delay { from, to, .. } | Self::Loss { from, to, .. } => vec![from, to],
            Self::Partition { groups, .. } => groups.iter().flatten().collect(),
            Self::Reset { between } => between.iter().collect(),
            Self::Heal {} => Vec::new(),
        }
    }

    /// True for what cannot strike before the effects of a step leave: the process would have to keep them back.
    #[must_use]
    pub const fn needs_effects(&self) -> bool {
        match self {
            Self::Terminate { .. } | Self::Pause { .. } | Self::Freeze { .. } => true,
            Self::Kill { .. }
            | Self::PowerLoss { .. }
            | Self::Cut { .. }
            | Self::Partition { .. }
            | Self::Isolate { .. }
            | Self::Reset { .. }
            | Self::Delay { .. }
            | Self::Loss { .. }
            | Self::DiskError { .. }
            | Self::DiskFull { .. }
            | Self::SlowDisk { .. }
            | Self::ClockDrift { .. }
            | Self::ClockJump { .. }
            | Self::Heal {} => false,
        }
    }
}

/// Reads like a line of a report: `pause the leader for 8s`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { target, restart_after } => {
                write!(f, "kill {target}")?;
                restart_after.map_or(Ok(()), |span| write!(f, ", restart after {span}"))
            }
            Self::PowerLoss { target, down_for } => write!(f, "power loss of {target}{}", For(*down_for)),
            Self::Terminate { target, restart_after } => {
                write!(f, "terminate {target}")?;
                restart_after.map_or(Ok(()), |span| write!(f, ", restart after {span}"))
            }
            Self::Pause { target, lasting } => write!(f, "pause {target}{}", For(*lasting)),
            Self::Freeze { target, lasting } => write!(f, "freeze {target}{}", For(*lasting)),
            Self::Cut { from, to, one_way, lasting } => {
                write!(f, "cut {from} {} {to}{}", if *one_way { "->" } else { "<->" }, For(*lasting))
            }
            Self::Partition { groups, lasting } => {
                f.write_str("partition ")?;
                for (at, group) in groups.iter().enumerate() {
                    f.write_str(if at > 0 { " | " } else { "" })?;
                    for (at, target) in group.iter().enumerate() {
                        write!(f, "{}{target}", if at > 0 { ", " } else { "" })?;
                    }
                }
                write!(f, "{}", For(*lasting))
            }
            Self::Isolate { target, lasting } => write!(f, "isolate {target}{}", For(*lasting)),
            Self::Reset { between: [a, b] } => write!(f, "reset connections between {a} and {b}"),
            Self::Delay { from, to, extra, lasting } => write!(f, "delay {from} -> {to} by {extra}{}", For(*lasting)),
            Self::Loss { from, to, one_in, lasting } => {
                write!(f, "lose one in {one_in} of {from} -> {to}{}", For(*lasting))
            }
            Self::DiskError { target, operation, times, lasting } => {
                let operation = match operation {
                    DiskOperation::Read => "read",
                    DiskOperation::Write => "write",
                    DiskOperation::Sync => "sync",
                };
                write!(f, "EIO on {operation} at {target}")?;
                times.map_or(Ok(()), |times| write!(f, ", {times} times"))?;
                write!(f, "{}", For(*lasting))
            }
            Self::DiskFull { target, lasting } => write!(f, "disk full at {target}{}", For(*lasting)),
            Self::SlowDisk { target, factor, stall, lasting } => {
                write!(f, "slow disk at {target}, {factor} times plus {stall}{}", For(*lasting))
            }
            Self::ClockDrift { target, ppm, lasting } => {
                write!(f, "clock of {target} drifts {ppm} ppm{}", For(*lasting))
            }
            Self::ClockJump { target, by_ms } => write!(f, "calendar of {target} jumps {by_ms} ms"),
            Self::Heal {} => f.write_str("heal"),
        }
    }
}

/// Prints ` for 8s`, or nothing.
struct For(Option<SpanRange>);

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |span| write!(f, " for {span}"))
    }
}

/// A fault that lasts, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Lasting {
    Pause(HostId),
    Freeze(HostId),
    Cut(Vec<(HostId, HostId)>),
    Delay(Vec<(HostId, HostId)>, Span),
    Loss(Vec<(HostId, HostId)>, u32),
    DiskError(HostId, DiskOperation, Option<u32>),
    DiskFull(HostId),
    SlowDisk(HostId, u32, Span),
    Drift(HostId, i32),
    /// The process is down; nothing to end, only a band to draw.
    Down(HostId),
}
