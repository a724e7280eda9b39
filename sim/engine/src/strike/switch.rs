//! What a fault does while it lasts: it is switched on, and off.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use machine::{Draw, HostId, Instant, Machine, Purpose, Span};

use crate::World;
use crate::core::{Event, Pending};
use crate::disk::{DiskFaults, Failing, Service, SyncEvent};
use crate::fault::DiskOperation;
use crate::host::Stalled;
use crate::judge::{Judges, SeenWhat};
use crate::lane::Slowness;
use crate::lasting::Lasting;
use crate::network::Trouble;

const RESUME: Purpose = Purpose::new("engine/resume");
impl<M: Machine, J: Judges<M>> World<M, J> {
    /// Switches a fault on or off. Faults that meet on one link or disk add up; the rest of them stays.
    pub(super) fn switch(&mut self, fault: u64, lasting: &Lasting, on: bool) {
        match lasting {
            Lasting::Pause(_) | Lasting::Freeze(_) | Lasting::Suspend(_) => self.switch_process(lasting, on),
            Lasting::SlowCpu(id, ..) => {
                let mut slowness = Slowness::NONE;
                for active in &self.core.active {
                    if let Lasting::SlowCpu(host, factor, each) = active.lasting
                        && host == *id
                    {
                        // The worst counts: slow-downs that multiply would keep a thread busy for minutes, long behind their end.
                        slowness.factor = slowness.factor.max(u64::from(factor));
                        slowness.each = slowness.each.max(each);
                    }
                }
                Arc::make_mut(&mut self.hosts[id.0 as usize]).slowness = slowness;
            }
            Lasting::StopLane(id, name) => self.switch_lane(*id, name, on),
            Lasting::CrashLoop(id) => {
                if !on {
                    Arc::make_mut(&mut self.hosts[id.0 as usize]).crash_loop = None;
                }
            }
            Lasting::Cut(_) | Lasting::Phases(_) | Lasting::Delay(..) | Lasting::Loss(..) | Lasting::Bandwidth(..) => {
                self.renew_troubles(!on);
                if let (true, Lasting::Phases(phases)) = (on, lasting) {
                    let mut turns: Vec<Instant> = phases.iter().flat_map(|phase| [phase.from, phase.until]).collect();
                    turns.sort_unstable();
                    turns.dedup();
                    for at in turns {
                        self.core.push(at.max(self.core.now), Event::Toggle { fault });
                    }
                }
            }
            Lasting::HalfOpen(connections) => {
                for &id in connections {
                    let Some(connection) = self.core.connections.live(id) else { continue };
                    if on {
                        connection.silenced += 1;
                    } else {
                        connection.silenced -= 1;
                        if connection.silenced == 0 {
                            self.break_connection(id);
                        }
                    }
                }
            }
            Lasting::SlowAccept(id, _) => {
                let is_it =
                    |lasting: &Lasting| if let Lasting::SlowAccept(_, extra) = lasting { Some(*extra) } else { None };
                let last = self.lasting_on(*id).rev().find_map(is_it);
                Arc::make_mut(&mut self.hosts[id.0 as usize]).slow_accept = last;
            }
            Lasting::DiskError(..)
            | Lasting::DiskFull(_)
            | Lasting::SlowDisk(..)
            | Lasting::BadSectors(_)
            | Lasting::LostSync(_)
            | Lasting::LostWrite(..) => self.switch_disk(lasting),
            Lasting::Drift(..) | Lasting::Strobe(..) | Lasting::LateTimers(..) => self.switch_clock(fault, lasting, on),
            Lasting::Down(_) => {}
        }
    }

    fn switch_process(&mut self, lasting: &Lasting, on: bool) {
        let id = lasting.host().expect("a process is on a host");
        let now = self.core.now;
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        let is_pause = matches!(lasting, Lasting::Pause(_));
        if matches!(lasting, Lasting::Suspend(_)) {
            if on {
                if host.suspends == 0 {
                    host.suspended_at = host.clock.local(now);
                }
                host.suspends += 1;
            } else {
                host.suspends -= 1;
                if host.suspends == 0 {
                    host.clock.resume(now, host.suspended_at);
                    self.core.arm(host, id);
                }
            }
        }
        let count = if is_pause { &mut host.pauses } else { &mut host.freezes };
        *count = if on { *count + 1 } else { *count - 1 };
        self.stopped_or_resumed(id, on);
        if !on && !is_pause {
            self.thawed(id);
        }
    }

    fn switch_lane(&mut self, id: HostId, name: &Arc<str>, on: bool) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if on {
            host.stopped_lanes.push(Arc::clone(name));
            return;
        }
        let at = host.stopped_lanes.iter().position(|other| other == name).expect("it was stopped");
        host.stopped_lanes.remove(at);
        let incarnation = host.incarnation;
        // Those that are still stopped by another fault wait again.
        for lane in std::mem::take(&mut host.waiting_lanes) {
            self.core.push(self.core.now, Event::Turn { host: id, incarnation, lane });
        }
    }

    /// The links as the active faults leave them; what they held may go if some of them ended.
    pub(super) fn renew_troubles(&mut self, has_ended: bool) {
        let troubles = self.troubles();
        self.core.network.set_troubles(troubles);
        if has_ended {
            let hosts = &self.hosts;
            self.core.release(hosts, self.core.is_healed);
        }
    }

    fn switch_disk(&mut self, lasting: &Lasting) {
        let id = lasting.host().expect("a disk is on a host");
        let failing = |operation| self.failing(id, operation);
        let (read, write, sync) =
            (failing(DiskOperation::Read), failing(DiskOperation::Write), failing(DiskOperation::Sync));
        let (mut slow_factor, mut stall, mut full, mut lying) = (1_u64, Span::ZERO, false, false);
        let (mut losing, mut is_bad) = (None, false);
        for lasting in self.lasting_on(id) {
            if let Lasting::SlowDisk(_, factor, more) = lasting {
                slow_factor = slow_factor.saturating_mul(u64::from(*factor));
                stall = stall.saturating_add(*more);
            }
            if let Lasting::LostWrite(_, which) = lasting {
                losing = Some(Arc::clone(which));
            }
            full |= matches!(lasting, Lasting::DiskFull(_));
            lying |= matches!(lasting, Lasting::LostSync(_));
            is_bad |= matches!(lasting, Lasting::BadSectors(_));
        }
        let disk = &mut Arc::make_mut(&mut self.hosts[id.0 as usize]).disk;
        let faults = disk.faults_mut();
        if let Lasting::DiskError(_, operation, _) = lasting {
            match operation {
                DiskOperation::Read => faults.read_error = read,
                DiskOperation::Write => faults.write_error = write,
                DiskOperation::Sync => faults.sync_error = sync,
            }
        } else if matches!(lasting, Lasting::LostWrite(..)) {
            disk.lose_writes(losing);
        } else if matches!(lasting, Lasting::BadSectors(_)) {
            if !is_bad {
                disk.mend();
            }
        } else {
            *faults = DiskFaults { full, lying, ..*faults };
            // What was to be told later is told earlier; the sync is no longer pending when its first time comes.
            for Service { event, done_at, .. } in disk.slow(slow_factor, stall, self.core.now) {
                let SyncEvent { ticket, power_epoch, incarnation, cause } = event;
                let event = Event::Synced { host: id, power_epoch, incarnation, ticket };
                self.core.queue.push(done_at, Pending { cause, event });
            }
        }
    }

    fn switch_clock(&mut self, fault: u64, lasting: &Lasting, on: bool) {
        let id = lasting.host().expect("a clock is on a host");
        if matches!(lasting, Lasting::Drift(..)) {
            let ppm = |lasting: &Lasting| if let Lasting::Drift(_, ppm) = lasting { Some(*ppm) } else { None };
            let last = self.lasting_on(id).rev().find_map(ppm);
            let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
            let usual = if self.core.is_healed { 0 } else { host.clock_spec.drift_ppm };
            host.clock.drift(self.core.now, last.unwrap_or(usual));
            self.core.arm(host, id);
        } else if let Lasting::Strobe(_, by_ms, every) = *lasting {
            if on {
                self.strobe(id, by_ms);
                self.core.push(self.core.now + every, Event::Toggle { fault });
            } else if self.hosts[id.0 as usize].strobed_ms != 0 {
                self.strobe(id, by_ms);
            }
        } else {
            let by = |lasting: &Lasting| if let Lasting::LateTimers(_, by) = lasting { Some(*by) } else { None };
            let most = self.lasting_on(id).filter_map(by).max().unwrap_or(Span::ZERO);
            Arc::make_mut(&mut self.hosts[id.0 as usize]).late_timers = most;
        }
    }

    /// Moves the calendar of a host, or back if it is moved.
    fn strobe(&mut self, id: HostId, by_ms: i64) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        let step = if host.strobed_ms == 0 { by_ms } else { -host.strobed_ms };
        host.clock.jump(step);
        host.strobed_ms += step;
    }

    /// The faults that last on a host, the oldest first.
    fn lasting_on(&self, id: HostId) -> impl DoubleEndedIterator<Item = &Lasting> {
        self.core.active.iter().map(|active| &active.lasting).filter(move |lasting| lasting.host() == Some(id))
    }

    /// A fault that comes and goes does so.
    pub(crate) fn toggle(&mut self, fault: u64) {
        let Some(active) = self.core.active.iter().find(|active| active.id == fault) else { return };
        if let Lasting::Strobe(id, by_ms, every) = active.lasting {
            self.strobe(id, by_ms);
            self.core.push(self.core.now + every, Event::Toggle { fault });
        } else {
            self.renew_troubles(true);
        }
    }

    /// What is wrong with the links, summed over the active faults.
    fn troubles(&self) -> BTreeMap<(HostId, HostId), Trouble> {
        let mut troubles: BTreeMap<(HostId, HostId), Trouble> = BTreeMap::new();
        for active in &self.core.active {
            let lasting = &active.lasting;
            let mut trouble = |links: &[(HostId, HostId)], change: &dyn Fn(&mut Trouble)| {
                for &link in links {
                    change(troubles.entry(link).or_default());
                }
            };
            if let Lasting::Cut(links) = lasting {
                trouble(links, &|it| it.cuts += 1);
            } else if let Lasting::Phases(phases) = lasting {
                for phase in phases.iter().filter(|phase| phase.is_on(self.core.now)) {
                    trouble(&phase.links, &|it| it.cuts += 1);
                }
            } else if let Lasting::Delay(links, extra) = lasting {
                trouble(links, &|it| it.extra = it.extra.saturating_add(*extra));
            } else if let Lasting::Loss(links, one_in) = lasting {
                trouble(links, &|it| it.loss_one_in = worst(it.loss_one_in, *one_in));
            } else if let Lasting::Bandwidth(links, rate) = lasting {
                trouble(links, &|it| it.bytes_per_second = worst(it.bytes_per_second, *rate));
            }
        }
        troubles
    }

    /// How often an operation fails, by the last fault that is active on it.
    fn failing(&self, id: HostId, operation: DiskOperation) -> Failing {
        let last = self.lasting_on(id).rev().find_map(|lasting| {
            if let Lasting::DiskError(_, other, times) = lasting {
                (*other == operation).then_some(*times)
            } else {
                None
            }
        });
        match last {
            None => Failing::Never,
            Some(None) => Failing::Always,
            Some(Some(times)) => Failing::Next(times),
        }
    }

    /// A process stops, or goes on: then the wake and what was stalled come, which first is drawn, in order per
    /// connection and lane.
    fn stopped_or_resumed(&mut self, id: HostId, on: bool) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        let depth = host.pauses + host.freezes;
        if on {
            if depth == 1 {
                self.core.observe(&mut self.judges, id, SeenWhat::Paused);
            }
            return;
        }
        if depth > 0 {
            return;
        }
        let mut draw = self.core.key.draw(RESUME, u64::from(id.0), host.resumes);
        host.resumes += 1;
        host.stalled = merged(std::mem::take(&mut host.stalled), &mut draw);
        if !host.stalled.is_empty() {
            self.core.push(self.core.now, Event::Drain { host: id, incarnation: host.incarnation });
        }
        self.core.observe(&mut self.judges, id, SeenWhat::Resumed);
    }

    /// A host that was frozen answers again.
    fn thawed(&mut self, id: HostId) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if host.freezes == 0 && std::mem::take(&mut host.boot_waits) {
            self.core.push(self.core.now, Event::Boot { host: id, incarnation: host.incarnation });
        }
        let hosts = &self.hosts;
        self.core.release(hosts, self.core.is_healed);
    }

    /// When the world was healed is not `now`: for the length of a phase.
    pub(crate) fn since(&self, start: Instant) -> Span {
        self.core.now.saturating_since(start)
    }
}

/// The worse of two limits: the smaller one, where zero stands for none.
fn worst<T: Ord + Default>(one: T, other: T) -> T {
    if one == T::default() { other } else { one.min(other) }
}

/// Merges what was stalled at random, in order within each stream.
fn merged<M: Machine>(stalled: VecDeque<Stalled<M>>, draw: &mut Draw) -> VecDeque<Stalled<M>> {
    let streams: Vec<(u8, u64)> = stalled.iter().enumerate().map(|(at, item)| item.stream(at)).collect();
    // Shuffle the places of all items, then give each stream's places to its items in order.
    let mut places: Vec<usize> = (0..stalled.len()).collect();
    draw.shuffle(&mut places);
    let mut of_stream: BTreeMap<(u8, u64), Vec<usize>> = BTreeMap::new();
    for (item, &place) in places.iter().enumerate() {
        of_stream.entry(streams[item]).or_default().push(place);
    }
    for places in of_stream.values_mut() {
        places.sort_unstable_by(|a, b| b.cmp(a));
    }
    let mut placed: Vec<(usize, Stalled<M>)> = stalled
        .into_iter()
        .zip(streams)
        .map(|(item, stream)| {
            let places = of_stream.get_mut(&stream).expect("every stream has places");
            (places.pop().expect("one place per item"), item)
        })
        .collect();
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, item)| item).collect()
}
