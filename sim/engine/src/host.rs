//! Hosts: what a machine runs on.

use std::collections::VecDeque;
use std::sync::Arc;

use machine::disk::{Durable, PageCache};
use machine::{
    Clock, Draw, EndId, HostId, Incarnation, Input, InputOf, Instant, Lane, Machine, Numbers, Port, Purpose, RunKey,
    Span,
};

use crate::SpanRange;
use crate::clock::{ClockSpec, HostClock};
use crate::connection::{Role, SlotId};
use crate::disk::{DiskSpec, HostDisk};
use crate::lane::{Lanes, Slowness};

const CLOCK_START: Purpose = Purpose::new("engine/clock-start");
const READ_MISS: Purpose = Purpose::new("engine/read-miss");

/// What restarts a process that is not running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Supervisor {
    /// Nothing.
    Never,
    /// A supervisor, after a while.
    After(SpanRange),
}

/// A host of a world that is yet to be made. Hosts are numbered from zero, in the order they are given.
#[derive(Clone, Debug)]
pub struct HostSpec<M: Machine> {
    /// Its name, unique.
    pub name: String,
    /// Its group, such as `coordinators`.
    pub group: String,
    /// What its process is started with.
    pub image: M::Image,
    /// Its disk.
    pub disk: DiskSpec,
    /// Its clocks.
    pub clock: ClockSpec,
    /// What restarts its process.
    pub supervisor: Supervisor,
    /// When its process first starts; absent: at once, but not all at the same instant.
    pub start_at: Option<Span>,
}

impl<M: Machine> HostSpec<M> {
    /// A host with everything else at its default, restarted by its supervisor after one to three seconds.
    pub fn new(name: impl Into<String>, group: impl Into<String>, image: M::Image) -> Self {
        Self {
            name: name.into(),
            group: group.into(),
            image,
            disk: DiskSpec::default(),
            clock: ClockSpec::default(),
            supervisor: Supervisor::After(SpanRange::between(Span::secs(1), Span::secs(3))),
            start_at: None,
        }
    }
}

/// Names and groups: what does not change during a run.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) names: Vec<String>,
    pub(crate) groups: Vec<String>,
}

impl Cast {
    pub(crate) fn all(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..u32::try_from(self.names.len()).expect("hosts are numbered in 32 bits")).map(HostId)
    }

    pub(crate) fn named(&self, name: &str) -> Option<HostId> {
        self.all().zip(&self.names).find(|(_, other)| *other == name).map(|(host, _)| host)
    }

    pub(crate) fn group(&self, group: &str) -> Vec<HostId> {
        self.all().zip(&self.groups).filter(|(_, other)| *other == group).map(|(host, _)| host).collect()
    }
}

/// An end that a machine holds, and where its connection is in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndEntry {
    pub(crate) end: EndId,
    pub(crate) id: SlotId,
    pub(crate) role: Role,
}

/// Something for a process that is stopped, or that still has older things to take in.
#[derive(Clone, Debug)]
pub(crate) enum Stalled<M: Machine> {
    Input { cause: u64, from: Option<HostId>, input: InputOf<M> },
    Wake,
    Turn { lane: Lane },
}

impl<M: Machine> Stalled<M> {
    /// What must stay in order among itself: one connection, one lane, the disk.
    pub(crate) fn stream(&self, position: usize) -> (u8, u64) {
        match self {
            Self::Wake => (0, 0),
            Self::Turn { lane } => (1, u64::from(lane.0)),
            Self::Input { input, .. } => match input {
                Input::Message { on, .. }
                | Input::Opened { on }
                | Input::Accepted { on, .. }
                | Input::Refused { on }
                | Input::Lost { on, .. } => (2, u64::from(on.0)),
                Input::Durable { .. } => (3, 0),
                Input::Datagram { .. } => (4, position as u64),
                Input::Terminate | Input::Woken | Input::Turn { .. } => (5, 0),
            },
        }
    }
}

/// A process that dies again soon after each of its next starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrashLoop {
    pub(crate) left: u32,
    pub(crate) within: SpanRange,
    pub(crate) restart_after: SpanRange,
}

/// One host.
#[derive(Clone, Debug)]
pub(crate) struct Host<M: Machine> {
    pub(crate) machine: Option<M>,
    pub(crate) image: Arc<M::Image>,
    pub(crate) disk: HostDisk,
    pub(crate) numbers: Numbers,
    pub(crate) clock: HostClock,
    pub(crate) clock_spec: ClockSpec,
    pub(crate) supervisor: Supervisor,
    pub(crate) lanes: Lanes<M::Work>,
    /// Lives so far: the running process, or the last one.
    pub(crate) incarnation: Incarnation,
    /// Losses of power so far.
    pub(crate) power_epoch: u32,
    pub(crate) is_powered: bool,
    /// Active faults that stop the process, and the whole host.
    pub(crate) pauses: u32,
    pub(crate) freezes: u32,
    /// A boot came due while the host was frozen.
    pub(crate) boot_waits: bool,
    /// Active faults that stop its clocks, and what its monotonic clock showed when the first of them did.
    pub(crate) suspends: u32,
    pub(crate) suspended_at: Instant,
    pub(crate) slowness: Slowness,
    /// Lanes that are stopped, by name, and those that wait for that to end.
    pub(crate) stopped_lanes: Vec<Arc<str>>,
    pub(crate) waiting_lanes: Vec<Lane>,
    pub(crate) crash_loop: Option<CrashLoop>,
    /// Connections are accepted so much later, or refused.
    pub(crate) slow_accept: Option<Option<Span>>,
    /// Wakes come up to so much late.
    pub(crate) late_timers: Span,
    /// How far a strobe has moved the calendar at the moment.
    pub(crate) strobed_ms: i64,
    /// What to do instead of what the supervisor does, when the process ends next.
    pub(crate) restart_after: Option<Span>,
    pub(crate) ports: Vec<Port>,
    /// Sorted by end, because ends are handed out in order.
    pub(crate) ends: Vec<EndEntry>,
    pub(crate) stalled: VecDeque<Stalled<M>>,
    /// When the armed wake comes, in the world's time, and which one it is.
    pub(crate) armed: Option<Instant>,
    /// A deadline on the host's clock for which it is not too late; nor is it for any that is not earlier.
    pub(crate) armed_for: Instant,
    pub(crate) arm: u32,
    /// What the machine's `next_wake` last was, on its clock, and the event that made it so.
    pub(crate) deadline: Option<Instant>,
    pub(crate) deadline_cause: u64,
    /// Resumes and datagrams so far, the latter per receiver: indices of draws.
    pub(crate) resumes: u64,
    pub(crate) datagrams: Vec<(HostId, u64)>,
    pub(crate) read_miss: Draw,
    /// Steps of the machine since it last checked itself in full.
    pub(crate) unchecked: u32,
}

impl<M: Machine> Host<M> {
    pub(crate) fn new(spec: HostSpec<M>, id: HostId, key: RunKey) -> Self {
        let entity = u64::from(id.0);
        // A monotonic clock means nothing on another host, so no two start alike: 1 s to 1 h.
        let start = key.draw(CLOCK_START, entity, 0).between(Span::secs(1), Span::secs(3_600)).as_millis();
        let start = Instant::ZERO + Span::millis(start);
        Self {
            machine: None,
            image: Arc::new(spec.image),
            disk: HostDisk::new(Arc::new(spec.disk)),
            numbers: Numbers::default(),
            clock: HostClock::new(spec.clock, start),
            clock_spec: spec.clock,
            supervisor: spec.supervisor,
            lanes: Lanes::default(),
            incarnation: Incarnation(0),
            power_epoch: 0,
            is_powered: true,
            pauses: 0,
            freezes: 0,
            boot_waits: false,
            suspends: 0,
            suspended_at: Instant::ZERO,
            slowness: Slowness::NONE,
            stopped_lanes: Vec::new(),
            waiting_lanes: Vec::new(),
            crash_loop: None,
            slow_accept: None,
            late_timers: Span::ZERO,
            strobed_ms: 0,
            restart_after: None,
            ports: Vec::new(),
            ends: Vec::new(),
            stalled: VecDeque::new(),
            armed: None,
            armed_for: Instant::ZERO,
            arm: 0,
            deadline: None,
            deadline_cause: 0,
            resumes: 0,
            datagrams: Vec::new(),
            read_miss: key.draw(READ_MISS, entity, 0),
            unchecked: 0,
        }
    }

    /// A new life: the draws of its read misses begin anew.
    pub(crate) fn begin_life(&mut self, id: HostId, key: RunKey) {
        self.incarnation.0 += 1;
        self.read_miss = key.draw(READ_MISS, u64::from(id.0), u64::from(self.incarnation.0));
    }

    /// The process does not run at the moment, though it lives.
    pub(crate) const fn is_stopped(&self) -> bool {
        self.pauses > 0 || self.freezes > 0
    }

    /// The kernel answers the network.
    pub(crate) const fn is_reachable(&self) -> bool {
        self.is_powered && self.freezes == 0
    }

    #[inline(always)]
    pub(crate) fn end(&self, end: EndId) -> Option<EndEntry> {
        self.place_of(end).map(|at| self.ends[at])
    }

    /// Forgets an end; the entry it had.
    pub(crate) fn remove_end(&mut self, end: EndId) -> Option<EndEntry> {
        self.place_of(end).map(|at| self.ends.remove(at))
    }

    /// Ends are handed out one after another: each is as far behind the first as it is younger, unless some between them
    /// are gone.
    #[inline(always)]
    fn place_of(&self, end: EndId) -> Option<usize> {
        let at = end.0.checked_sub(self.ends.first()?.end.0)? as usize;
        if self.ends.get(at).is_some_and(|entry| entry.end == end) {
            return Some(at);
        }
        let before = &self.ends[..at.min(self.ends.len())];
        before.binary_search_by_key(&end, |entry| entry.end).ok()
    }

    /// Everything that dies with the process.
    pub(crate) fn end_life(&mut self) {
        self.machine = None;
        self.lanes.clear();
        self.ports.clear();
        self.ends.clear();
        self.stalled.clear();
        self.waiting_lanes.clear();
        self.armed = None;
        self.arm = self.arm.wrapping_add(1);
        self.deadline = None;
    }

    /// The index of the next datagram to that host.
    pub(crate) fn datagram_index(&mut self, to: HostId) -> u64 {
        match self.datagrams.binary_search_by_key(&to, |&(host, _)| host) {
            Ok(at) => {
                self.datagrams[at].1 += 1;
                self.datagrams[at].1
            }
            Err(at) => {
                self.datagrams.insert(at, (to, 0));
                0
            }
        }
    }
}

/// All hosts, read-only: what judges may look at.
#[derive(Debug)]
pub struct Hosts<'a, M: Machine> {
    pub(crate) hosts: &'a [Arc<Host<M>>],
    pub(crate) cast: &'a Cast,
}

impl<M: Machine> Clone for Hosts<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

// Not derived: references are `Copy` whatever the machine is.
impl<M: Machine> Copy for Hosts<'_, M> {}

impl<'a, M: Machine> Hosts<'a, M> {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.hosts.len()
    }

    /// True if there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Their ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = HostId> + use<M> {
        self.cast.all()
    }

    /// The running machines, in order of their hosts.
    pub fn machines(&self) -> impl Iterator<Item = (HostId, &'a M)> + use<'a, M> {
        self.cast.all().zip(self.hosts).filter_map(|(id, host)| host.machine.as_ref().map(|machine| (id, machine)))
    }

    /// The machine of a host; `None` while its process is down. Panics if there is no such host.
    #[must_use]
    pub fn machine(&self, host: HostId) -> Option<&'a M> {
        self.hosts[host.0 as usize].machine.as_ref()
    }

    /// The page cache of a host, up or down.
    #[must_use]
    pub fn disk(&self, host: HostId) -> &'a PageCache {
        self.hosts[host.0 as usize].disk.cache()
    }

    /// What a loss of power that keeps nothing unsynced would leave on a host's disk.
    #[must_use]
    pub fn durable(&self, host: HostId) -> Durable<'a> {
        self.hosts[host.0 as usize].disk.durable()
    }

    /// What the disk of a host is like.
    #[must_use]
    pub fn disk_spec(&self, host: HostId) -> &'a DiskSpec {
        self.hosts[host.0 as usize].disk.spec()
    }

    /// The name of a host.
    #[must_use]
    pub fn name(&self, host: HostId) -> &'a str {
        &self.cast.names[host.0 as usize]
    }

    /// The group of a host.
    #[must_use]
    pub fn group(&self, host: HostId) -> &'a str {
        &self.cast.groups[host.0 as usize]
    }

    /// The host of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<HostId> {
        self.cast.named(name)
    }

    /// The life of the running process, or of the last one; zero before the first.
    #[must_use]
    pub fn incarnation(&self, host: HostId) -> Incarnation {
        self.hosts[host.0 as usize].incarnation
    }

    /// True if its process runs: it lives, and is neither paused nor frozen.
    #[must_use]
    pub fn is_running(&self, host: HostId) -> bool {
        let host = &self.hosts[host.0 as usize];
        host.machine.is_some() && !host.is_stopped()
    }

    /// True if its process is paused, or the host frozen.
    #[must_use]
    pub fn is_stopped(&self, host: HostId) -> bool {
        self.hosts[host.0 as usize].is_stopped()
    }

    /// A machine's clocks at a world instant.
    #[must_use]
    pub fn clocks(&self, host: HostId, at: Instant) -> Clock {
        self.hosts[host.0 as usize].clock.read(at)
    }

    /// What a machine's clock shows at a world instant.
    #[must_use]
    pub fn local_time(&self, host: HostId, at: Instant) -> Instant {
        self.hosts[host.0 as usize].clock.local(at)
    }
}
