//! What a fault is called in a report.

use std::fmt;

use crate::{DiskOperation, Fault, SpanRange};

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
            Self::CrashLoop { target, times, within, restart_after } => {
                write!(
                    f,
                    "kill {target} and again {times} times within {within} of its start, restart after {restart_after}"
                )
            }
            Self::Resume { target } => write!(f, "resume {target}"),
            Self::Suspend { target, lasting } => write!(f, "suspend {target}, its clocks too{}", For(*lasting)),
            Self::SlowCpu { target, factor, each, lasting } => {
                write!(f, "slow processor at {target}, {factor} times plus {each} a turn{}", For(*lasting))
            }
            Self::StopLane { target, lane, lasting } => {
                write!(f, "stop the {lane} thread of {target}{}", For(*lasting))
            }
            Self::Ring { target, lasting } => {
                write!(f, "ring of {target}: each sees a majority, no two the same{}", For(*lasting))
            }
            Self::Bridge { target, lasting } => write!(f, "halves of {target} joined by one{}", For(*lasting)),
            Self::Flap { from, to, up, down, lasting } => {
                write!(f, "flap {from} <-> {to}, {up} up and {down} down{}", For(Some(*lasting)))
            }
            Self::Swizzle { target, lasting } => {
                write!(
                    f,
                    "swizzle: half of {target} cut off one by one, and back in another order{}",
                    For(Some(*lasting))
                )
            }
            Self::HalfOpen { between: [a, b], lasting } => {
                write!(f, "connections between {a} and {b} fall silent{}", For(*lasting))
            }
            Self::SlowAccept { target, extra: Some(extra), lasting } => {
                write!(f, "{target} accepts connections {extra} later{}", For(*lasting))
            }
            Self::SlowAccept { target, extra: None, lasting } => {
                write!(f, "{target} refuses connections{}", For(*lasting))
            }
            Self::Bandwidth { from, to, bytes_per_second, lasting } => {
                write!(f, "{from} -> {to} carries {bytes_per_second} bytes a second{}", For(*lasting))
            }
            Self::Wipe { target, down_for } => write!(f, "disk of {target} replaced by an empty one{}", For(*down_for)),
            Self::RestoreDisk { target, age, down_for } => {
                write!(f, "disk of {target} back to what it is now, {age} later{}", For(*down_for))
            }
            Self::BitRot { target, file, bits } => write!(f, "{bits} bits rot in {} of {target}", files(file)),
            Self::BadSectors { target, file, sectors, lasting } => {
                write!(f, "{sectors} sectors of {} of {target} cannot be read{}", files(file), For(*lasting))
            }
            Self::LostSync { target, lasting } => write!(f, "syncs of {target} lie{}", For(*lasting)),
            Self::LostWrite { target, file, times, lasting } => {
                write!(f, "{times} writes to {} of {target} are lost{}", files(file), For(*lasting))
            }
            Self::MisdirectedWrite { target, file, times, lasting } => {
                write!(f, "{times} writes to {} of {target} land elsewhere{}", files(file), For(*lasting))
            }
            Self::ClockStrobe { target, by_ms, every, lasting } => {
                write!(f, "calendar of {target} alternates by {by_ms} ms every {every}{}", For(*lasting))
            }
            Self::LateTimers { target, by, lasting } => {
                write!(f, "timers of {target} fire up to {by} late{}", For(*lasting))
            }
            Self::Heal {} => f.write_str("heal"),
        }
    }
}

fn files(prefix: &str) -> &str {
    if prefix.is_empty() { "any file" } else { prefix }
}

/// Prints ` for 8s`, or nothing.
struct For(Option<SpanRange>);

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |span| write!(f, " for {span}"))
    }
}
