//! Faults that last, resolved: what is switched on now and off later.

use std::sync::Arc;

use machine::{HostId, Instant, Span};

use crate::connection::SlotId;
use crate::fault::DiskOperation;

/// Ordered pairs of hosts.
pub(crate) type Links = Vec<(HostId, HostId)>;

/// A fault that lasts, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Lasting {
    Pause(HostId),
    Freeze(HostId),
    /// Frozen, and its clocks stand still.
    Suspend(HostId),
    /// Threads take so many times as long, and each turn so much longer.
    SlowCpu(HostId, u32, Span),
    /// The lane of that name takes no turn.
    StopLane(HostId, Arc<str>),
    /// The process dies again, so many times more, within so much of its start.
    CrashLoop(HostId),
    Cut(Links),
    /// Cuts that come and go: from when to when, and where.
    Phases(Arc<[Phase]>),
    Delay(Links, Span),
    Loss(Links, u32),
    /// Bytes per second.
    Bandwidth(Links, u64),
    /// These connections pass nothing, and nobody is told.
    HalfOpen(Vec<SlotId>),
    /// Connections are accepted so much later; refused if there is nothing to wait for.
    SlowAccept(HostId, Option<Span>),
    DiskError(HostId, DiskOperation, Option<u32>),
    DiskFull(HostId),
    SlowDisk(HostId, u32, Span),
    BadSectors(HostId),
    LostSync(HostId),
    LostWrite(HostId, Arc<LostWrites>),
    Drift(HostId, i32),
    /// The calendar is ahead by so many milliseconds in every second period of that length.
    Strobe(HostId, i64, Span),
    LateTimers(HostId, Span),
    /// The process is down; nothing to end, only a band to draw.
    Down(HostId),
}

/// A cut that is there for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Phase {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    pub(crate) links: Links,
}

/// Writes that the device takes and loses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LostWrites {
    /// Of files whose path begins so.
    pub(crate) file: String,
    /// The next so many.
    pub(crate) times: u32,
    /// What was written lands elsewhere in the file.
    pub(crate) is_misdirected: bool,
}

impl Lasting {
    /// It keeps something from passing this link.
    pub(crate) fn cuts(&self, link: (HostId, HostId), now: Instant) -> bool {
        if let Self::Phases(phases) = self {
            return phases.iter().any(|phase| phase.is_on(now) && phase.links.contains(&link));
        }
        matches!(self, Self::Cut(links) if links.contains(&link))
    }

    /// It stops that process.
    pub(crate) fn stops(&self, id: HostId) -> bool {
        matches!(self, Self::Pause(host) | Self::Freeze(host) | Self::Suspend(host) if *host == id)
    }

    /// It keeps that host from answering the network.
    pub(crate) fn silences(&self, id: HostId) -> bool {
        matches!(self, Self::Freeze(host) | Self::Suspend(host) | Self::Down(host) if *host == id)
    }

    /// The host it is on, if it is on one alone.
    pub(crate) const fn host(&self) -> Option<HostId> {
        match self {
            Self::Pause(host)
            | Self::Freeze(host)
            | Self::Suspend(host)
            | Self::SlowCpu(host, ..)
            | Self::StopLane(host, _)
            | Self::CrashLoop(host)
            | Self::SlowAccept(host, _)
            | Self::DiskError(host, ..)
            | Self::DiskFull(host)
            | Self::SlowDisk(host, ..)
            | Self::BadSectors(host)
            | Self::LostSync(host)
            | Self::LostWrite(host, _)
            | Self::Drift(host, _)
            | Self::Strobe(host, ..)
            | Self::LateTimers(host, _)
            | Self::Down(host) => Some(*host),
            Self::Cut(_)
            | Self::Phases(_)
            | Self::Delay(..)
            | Self::Loss(..)
            | Self::Bandwidth(..)
            | Self::HalfOpen(_) => None,
        }
    }
}

impl Phase {
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        self.from <= now && now < self.until
    }
}
