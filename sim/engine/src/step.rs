//! One step of one machine: feed it, log its writes, apply its effects in order, arm its next wake.

use machine::{Clock, Effect, HostId, Input, InputOf, Instant, Io, Lane, Machine, Purpose, Span};

use crate::core::{Core, Event};
use crate::disk::{DiskFelt, DiskOpKind, SyncEvent};
use crate::fault::DiskOperation;
use crate::host::{Host, Supervisor};
use crate::judge::{Judges, SeenWhat};
use crate::lane::Slowness;
use crate::lasting::Lasting;
use crate::trace::Entry;
use crate::wire::Abandon;

const SYNC: Purpose = Purpose::new("engine/sync");
const RESTART: Purpose = Purpose::new("engine/restart");
const LATE: Purpose = Purpose::new("engine/late-timer");
const CRASH: Purpose = Purpose::new("engine/crash");

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Exited(i32),
    Killed,
    PowerLost,
    /// The same, and the disk is replaced by an empty one.
    Wiped,
}

/// What a step was, as far as its end must know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fed {
    lane: Option<Lane>,
    /// The host's clock, if the step was a wake.
    woken: Option<Clock>,
    /// What its reads waited for the device.
    stall: Span,
}

impl<M: Machine> Core<M> {
    /// Feeds an input to a running machine and applies its effects; not these if a rule may strike before them, for which
    /// the world is needed: then it returns what the step was.
    #[inline(always)]
    pub(crate) fn take_step<J: Judges<M>>(
        &mut self,
        judges: &mut J,
        host: &mut Host<M>,
        id: HostId,
        cause: u64,
        from: Option<HostId>,
        input: InputOf<M>,
    ) -> Option<Fed> {
        let fed = self.feed(judges, host, id, cause, from, input);
        if self.has_before_effects_due() {
            return Some(fed);
        }
        self.apply_now(judges, host, id, fed);
        None
    }

    /// The same for every input but the usual one: only that is worth another copy of all this code.
    pub(crate) fn take_other_step<J: Judges<M>>(
        &mut self,
        judges: &mut J,
        host: &mut Host<M>,
        id: HostId,
        cause: u64,
        from: Option<HostId>,
        input: InputOf<M>,
    ) -> Option<Fed> {
        self.take_step(judges, host, id, cause, from, input)
    }

    /// Feeds an input to a running machine. Its effects are in the outbox afterwards.
    #[inline(always)]
    fn feed<J: Judges<M>>(
        &mut self,
        judges: &mut J,
        host: &mut Host<M>,
        id: HostId,
        cause: u64,
        from: Option<HostId>,
        input: InputOf<M>,
    ) -> Fed {
        assert!(self.outbox.is_empty(), "the outbox is empty between steps");
        self.begin_event(cause, id, host.incarnation, &input, from);
        let (mut lane, mut is_wake) = (None, false);
        match &input {
            Input::Woken => {
                self.counts.wakes += 1;
                is_wake = true;
            }
            Input::Message { on, message } => {
                self.counts.messages += 1;
                let from = from.expect("a message has a sender");
                self.observe(judges, id, SeenWhat::Delivered { from, on: *on, message });
            }
            Input::Datagram { from, message } => {
                self.counts.datagrams += 1;
                self.observe(judges, id, SeenWhat::DatagramDelivered { from: *from, message });
            }
            Input::Opened { on } => {
                self.counts.opened += 1;
                self.observe(judges, id, SeenWhat::Opened { on: *on });
            }
            Input::Accepted { on, port, peer } => {
                self.counts.accepted += 1;
                self.observe(judges, id, SeenWhat::Accepted { on: *on, port: *port, peer: *peer });
            }
            Input::Refused { on } => {
                self.counts.refused += 1;
                self.observe(judges, id, SeenWhat::Refused { on: *on });
            }
            Input::Lost { on, why } => {
                self.counts.lost += 1;
                self.observe(judges, id, SeenWhat::Lost { on: *on, why: *why });
            }
            Input::Durable { .. } => self.counts.durable += 1,
            Input::Turn { lane: turn, .. } => {
                self.counts.turns += 1;
                lane = Some(*turn);
            }
            Input::Terminate => self.counts.terminations += 1,
        }
        let felt = self.disk_felt(host);
        let clock = host.clock.read(self.now);
        let Host { machine, disk, numbers, read_miss, .. } = host;
        let machine = machine.as_mut().expect("only a running machine is fed");
        let mut lent = disk.lend(*read_miss, &mut self.disk_log);
        machine.handle(input, &mut Io::new(clock, self.key, u64::from(id.0), &mut lent, numbers, &mut self.outbox));
        let stall = lent.stall();
        host.disk.write_back(self.now);
        self.take_disk_log(judges, host, id, felt);
        Fed { lane, woken: is_wake.then_some(clock), stall }
    }

    /// Starts a process. Its effects are in the outbox afterwards.
    pub(crate) fn boot<J: Judges<M>>(&mut self, judges: &mut J, host: &mut Host<M>, id: HostId, cause: u64) -> Fed {
        assert!(host.machine.is_none(), "a host runs one process");
        assert!(self.outbox.is_empty(), "the outbox is empty between steps");
        host.begin_life(id, self.key);
        self.begin_boot(cause, id, host.incarnation);
        let seen = SeenWhat::Booted { incarnation: host.incarnation, disk: host.disk.cache() };
        self.observe(judges, id, seen);
        let felt = self.disk_felt(host);
        let clock = host.clock.read(self.now);
        let Host { machine, image, disk, numbers, read_miss, .. } = host;
        let mut lent = disk.lend(*read_miss, &mut self.disk_log);
        let mut io = Io::new(clock, self.key, u64::from(id.0), &mut lent, numbers, &mut self.outbox);
        *machine = Some(M::boot(image, &mut io));
        let stall = lent.stall();
        host.disk.write_back(self.now);
        self.take_disk_log(judges, host, id, felt);
        Fed { lane: None, woken: None, stall }
    }

    /// Applies the effects in the outbox, in order, and arms the next wake.
    pub(crate) fn apply<J: Judges<M>>(&mut self, judges: &mut J, host: &mut Host<M>, id: HostId, fed: Fed) {
        self.apply_now(judges, host, id, fed);
    }

    #[inline(always)]
    fn apply_now<J: Judges<M>>(&mut self, judges: &mut J, host: &mut Host<M>, id: HostId, fed: Fed) {
        // From the end, because that moves nothing; the usual step wants one thing only.
        if self.outbox.len() > 1 {
            self.outbox.reverse();
        }
        while let Some(effect) = self.outbox.pop() {
            match effect {
                Effect::Send { on, message } => self.send(judges, host, id, on, message),
                Effect::Datagram { to, message } => self.send_datagram(judges, host, id, to, message),
                Effect::State(fact) => self.state(judges, id, &fact),
                Effect::Exit { status } => {
                    self.outbox.clear();
                    return self.end_process(judges, host, id, Ending::Exited(status));
                }
                other @ (Effect::Connect { .. }
                | Effect::Listen { .. }
                | Effect::Unlisten { .. }
                | Effect::Close { .. }
                | Effect::Sync { .. }
                | Effect::Defer { .. }
                | Effect::Spend { .. }
                | Effect::Reach(_)) => self.apply_rare(judges, host, id, other),
            }
        }
        if let Some(lane) = fed.lane {
            if fed.stall > Span::ZERO {
                self.spend(host, id, lane, fed.stall);
            }
            self.schedule(host, id, lane);
        }
        host.unchecked += 1;
        let machine = host.machine.as_ref().expect("it has not exited");
        if host.unchecked >= self.options.check_every {
            host.unchecked = 0;
            machine.check_invariants();
        }
        let deadline = machine.next_wake();
        if let (Some(clock), Some(deadline)) = (fed.woken, deadline) {
            assert!(
                deadline > clock.now,
                "{id} was woken at {} of its clock and is still due at {deadline}: a wake must retire what is due",
                clock.now,
            );
        }
        if deadline != host.deadline {
            host.deadline = deadline;
            host.deadline_cause = self.event;
        }
        // An armed wake that is not too late for the deadline does: the early pop arms anew. The order of two instants is
        // the same on both clocks, so nothing need be converted to know it.
        if let Some(deadline) = deadline
            && (host.armed.is_none() || deadline < host.armed_for)
        {
            self.arm(host, id);
        }
    }

    /// The effects that do not come with most messages.
    fn apply_rare<J: Judges<M>>(&mut self, judges: &mut J, host: &mut Host<M>, id: HostId, effect: Effect<M>) {
        match effect {
            Effect::Defer { lane, work } => {
                host.lanes.defer(lane, self.event, work);
                self.schedule(host, id, lane);
            }
            Effect::Spend { lane, time } => self.spend(host, id, lane, host.slowness.spent(time)),
            Effect::Sync { ticket, target } => {
                self.counts.syncs += 1;
                self.observe(judges, id, SeenWhat::SyncAsked { ticket, target });
                let felt = host.disk.felt();
                let (power_epoch, incarnation) = (host.power_epoch, host.incarnation);
                let event = SyncEvent { ticket, power_epoch, incarnation, cause: self.cause };
                let at = host.disk.begun(self.now, self.key.draw(SYNC, u64::from(id.0), ticket.0), event);
                self.feel_disk(id, felt, host.disk.felt());
                self.push(at, Event::Synced { host: id, power_epoch, incarnation, ticket });
            }
            Effect::Connect { end, to } => {
                self.observe(judges, id, SeenWhat::Dialled { on: end, to: to.host, port: to.port });
                self.connect(host, id, end, to);
            }
            Effect::Listen { port } => {
                if let Err(at) = host.ports.binary_search(&port) {
                    host.ports.insert(at, port);
                }
            }
            Effect::Unlisten { port } => host.ports.retain(|&other| other != port),
            Effect::Close { end } => {
                if let Some(entry) = host.remove_end(end) {
                    self.observe(judges, id, SeenWhat::Closed { on: end });
                    self.close(entry.id, entry.role);
                }
            }
            Effect::Reach(mark) => self.reach(mark),
            Effect::Send { .. } | Effect::Datagram { .. } | Effect::State(_) | Effect::Exit { .. } => {
                unreachable!("applied with the usual ones")
            }
        }
    }

    /// Keeps a lane busy.
    fn spend(&mut self, host: &mut Host<M>, id: HostId, lane: Lane, time: Span) {
        host.lanes.spend(lane, self.now, time);
        if host.slowness != Slowness::NONE {
            self.feel_slow_cpu(id);
        }
    }

    #[cold]
    fn feel_slow_cpu(&mut self, id: HostId) {
        self.feel(|lasting| matches!(lasting, Lasting::SlowCpu(host, ..) if *host == id));
    }

    /// Schedules the next turn of a lane that has work.
    pub(crate) fn schedule(&mut self, host: &mut Host<M>, id: HostId, lane: Lane) {
        let (scheduling, slowness) = (&self.options.scheduling, host.slowness);
        let next = host.lanes.schedule(lane, self.now, self.key, u64::from(id.0), scheduling, slowness);
        if let Some(at) = next {
            if slowness != Slowness::NONE {
                self.feel_slow_cpu(id);
            }
            self.push(at, Event::Turn { host: id, incarnation: host.incarnation, lane });
        }
    }

    /// Arms the next wake, if it is earlier than the one that is armed. A later one needs nothing: the early pop arms
    /// anew, and is no event.
    pub(crate) fn arm(&mut self, host: &mut Host<M>, id: HostId) {
        // Without a deadline nothing is known of the next one: the clock may have changed since the wake was armed.
        host.armed_for = host.deadline.unwrap_or(Instant::MAX);
        let Some(deadline) = host.deadline else { return };
        let mut at = host.clock.world_at(deadline).max(self.now);
        if host.late_timers > Span::ZERO {
            let mut draw = self.key.draw(LATE, u64::from(id.0), u64::from(host.arm));
            at = at + draw.between(Span::ZERO, host.late_timers);
            self.feel(|lasting| matches!(lasting, Lasting::LateTimers(host, _) if *host == id));
        }
        if host.armed.is_none_or(|armed| at < armed) {
            host.arm = host.arm.wrapping_add(1);
            host.armed = Some(at);
            self.push(at, Event::Wake { host: id, arm: host.arm });
        }
    }

    /// The disk writes of a step: into the hash, the record and to the judges.
    #[inline(always)]
    fn take_disk_log<J: Judges<M>>(&mut self, judges: &mut J, host: &Host<M>, id: HostId, felt: Option<DiskFelt>) {
        if let Some(felt) = felt {
            self.feel_disk(id, felt, host.disk.felt());
        }
        if !self.disk_log.is_empty() {
            self.show_disk_log(judges, id);
        }
    }

    fn show_disk_log<J: Judges<M>>(&mut self, judges: &mut J, id: HostId) {
        let mut log = std::mem::take(&mut self.disk_log);
        for op in log.drain(..) {
            self.trace.entry(Entry::Write);
            op.digest(&mut self.trace.digest);
            let path = &*op.path;
            let (kind, offset, len, seen) = match &op.kind {
                DiskOpKind::Create => ("create", 0, 0, Some(SeenWhat::Created { path })),
                DiskOpKind::Write { offset, bytes, .. } => {
                    self.counts.writes += 1;
                    let seen = SeenWhat::Wrote { path, offset: *offset, bytes };
                    ("write", *offset, bytes.len() as u64, Some(seen))
                }
                DiskOpKind::SetLen { len } => ("set-len", 0, *len, Some(SeenWhat::Resized { path, to: *len })),
                DiskOpKind::Rename { to } => ("rename", 0, 0, Some(SeenWhat::Renamed { from: path, to })),
                DiskOpKind::Remove => ("remove", 0, 0, Some(SeenWhat::Removed { path })),
                // Told with the effect, so that it stands in order with the sends.
                DiskOpKind::BeginSync { ticket } => ("begin-sync", ticket.0, 0, None),
            };
            if let Some(current) = &mut self.current {
                current.writes.push((path.to_owned(), kind, offset, len));
            }
            if let Some(seen) = seen {
                self.observe(judges, id, seen);
            }
        }
        self.disk_log = log;
    }

    /// What the disk has felt so far, if a fault is active that might be felt.
    #[inline(always)]
    fn disk_felt(&self, host: &Host<M>) -> Option<DiskFelt> {
        (!self.active.is_empty()).then(|| host.disk.felt())
    }

    /// Attributes what the disk of a host felt between two readings to the active faults.
    pub(crate) fn feel_disk(&mut self, id: HostId, before: DiskFelt, after: DiskFelt) {
        if before == after {
            return;
        }
        self.feel(|lasting| match lasting {
            Lasting::DiskError(host, operation, _) => {
                *host == id
                    && match operation {
                        DiskOperation::Read => before.read_error != after.read_error,
                        DiskOperation::Write => before.write_error != after.write_error,
                        DiskOperation::Sync => before.sync_error != after.sync_error,
                    }
            }
            Lasting::DiskFull(host) => *host == id && before.full != after.full,
            Lasting::SlowDisk(host, ..) => *host == id && before.slow != after.slow,
            Lasting::BadSectors(host) => *host == id && before.bad_sector != after.bad_sector,
            Lasting::LostSync(host) => *host == id && before.lost_sync != after.lost_sync,
            Lasting::LostWrite(host, _) => *host == id && before.lost_write != after.lost_write,
            Lasting::Pause(_)
            | Lasting::Freeze(_)
            | Lasting::Suspend(_)
            | Lasting::SlowCpu(..)
            | Lasting::StopLane(..)
            | Lasting::CrashLoop(_)
            | Lasting::Cut(_)
            | Lasting::Phases(_)
            | Lasting::Delay(..)
            | Lasting::Loss(..)
            | Lasting::Bandwidth(..)
            | Lasting::HalfOpen(_)
            | Lasting::SlowAccept(..)
            | Lasting::Drift(..)
            | Lasting::Strobe(..)
            | Lasting::LateTimers(..)
            | Lasting::Down(_) => false,
        });
    }

    /// The process ends; what becomes of its connections depends on how. A restart is scheduled if somebody sees to it.
    pub(crate) fn end_process<J: Judges<M>>(&mut self, judges: &mut J, host: &mut Host<M>, id: HostId, how: Ending) {
        let is_off = matches!(how, Ending::PowerLost | Ending::Wiped);
        assert!(host.machine.is_some() || is_off, "only a running process ends");
        let had_process = host.machine.is_some();
        let order = host.restart_after.take();
        let abandon = match how {
            Ending::Exited(status) => {
                self.counts.exits += 1;
                self.trace.entry(Entry::Exit);
                self.trace.digest.signed(i64::from(status));
                if let Some(current) = &mut self.current {
                    current.exit = Some(status);
                }
                self.observe(judges, id, SeenWhat::Exited { status });
                Abandon::InOrder
            }
            Ending::Killed => Abandon::Reset,
            Ending::PowerLost | Ending::Wiped => Abandon::Silence,
        };
        self.abandon(id, abandon);
        host.end_life();
        match how {
            Ending::Exited(_) => {}
            Ending::Killed | Ending::PowerLost | Ending::Wiped => {
                let power = is_off;
                if power {
                    let mut draw = self.key.draw(CRASH, u64::from(id.0), u64::from(host.power_epoch));
                    host.disk.write_back(self.now);
                    host.disk.lose_power(&mut draw);
                    if how == Ending::Wiped {
                        host.disk.wipe();
                    }
                    host.power_epoch += 1;
                    host.is_powered = false;
                }
                self.counts.crashes += 1;
                self.trace.entry(Entry::Crash);
                self.trace.digest.word(u64::from(id.0) << 1 | u64::from(power));
                host.disk.digest(&mut self.trace.digest);
                if let Some(recording) = &mut self.recording {
                    recording.crashes.push((self.now, self.event, id, power));
                }
                let replaced = how == Ending::Wiped;
                let seen = SeenWhat::Crashed { power, replaced, disk: host.disk.cache() };
                self.observe(judges, id, seen);
            }
        }
        let restart = match (order, how, host.supervisor) {
            (Some(span), ..) => Some(span),
            // Power comes back when the fault says so.
            (None, Ending::PowerLost | Ending::Wiped, _) | (None, _, Supervisor::Never) => None,
            (None, Ending::Exited(_) | Ending::Killed, Supervisor::After(range)) => {
                let mut draw = self.key.draw(RESTART, u64::from(id.0), u64::from(host.incarnation.0));
                Some(range.draw(&mut draw))
            }
        };
        if let Some(span) = restart.filter(|_| had_process || is_off) {
            self.push(self.now + span, Event::Boot { host: id, incarnation: host.incarnation });
        }
    }
}
