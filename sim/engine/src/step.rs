//! One step of one machine: feed it, log its writes, apply its effects in order, arm its next wake.

use machine::{Clock, Effect, HostId, Input, InputOf, Io, Lane, Machine, Payload, Purpose, Span};

use crate::connection::Segment;
use crate::core::{Core, Event};
use crate::disk::{DiskFelt, DiskOpKind};
use crate::fault::{DiskOperation, Lasting};
use crate::host::{Host, Supervisor};
use crate::judge::{Judges, SeenWhat};
use crate::trace::Entry;
use crate::wire::Abandon;

const SYNC: Purpose = Purpose::new("engine/sync");
const RESTART: Purpose = Purpose::new("engine/restart");
const CRASH: Purpose = Purpose::new("engine/crash");

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Exited(i32),
    Killed,
    PowerLost,
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
    /// Feeds an input to a running machine. Its effects are in the outbox afterwards.
    #[inline(always)]
    pub(crate) fn feed<J: Judges<M>>(
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
        let felt = host.disk.felt();
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
        let felt = host.disk.felt();
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
    #[inline]
    pub(crate) fn apply<J: Judges<M>>(&mut self, judges: &mut J, host: &mut Host<M>, id: HostId, fed: Fed) {
        let mut exited = None;
        let mut one = |core: &mut Self, host: &mut Host<M>, effect| {
            if let Effect::Exit { status } = effect {
                exited = Some(status);
            } else {
                core.apply_one(judges, host, id, effect);
            }
        };
        if self.outbox.len() == 1 {
            // The usual step by far: an answer, and nothing else.
            let effect = self.outbox.pop().expect("there is one");
            one(self, host, effect);
        } else if !self.outbox.is_empty() {
            let mut outbox = std::mem::take(&mut self.outbox);
            for effect in outbox.drain(..) {
                let is_exit = matches!(effect, Effect::Exit { .. });
                one(self, host, effect);
                if is_exit {
                    break;
                }
            }
            self.outbox = outbox;
        }
        if let Some(status) = exited {
            self.end_process(judges, host, id, Ending::Exited(status));
            return;
        }
        if let Some(lane) = fed.lane {
            if fed.stall > Span::ZERO {
                host.lanes.spend(lane, self.now, fed.stall);
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
        self.arm(host, id);
    }

    #[inline(always)]
    fn apply_one<J: Judges<M>>(&mut self, judges: &mut J, host: &mut Host<M>, id: HostId, effect: Effect<M>) {
        match effect {
            Effect::Send { on, message } => {
                let Some(entry) = host.end(on) else { return };
                let Some(to) = self.receiver(entry) else { return };
                self.counts.sends += 1;
                if let Some(current) = &mut self.current {
                    current.sends.push((to, message.name()));
                }
                self.observe(judges, id, SeenWhat::Sent { to, on, message: &message });
                self.transmit(entry.id, entry.role, Segment::Data(message));
            }
            Effect::State(fact) => self.state(judges, id, &fact),
            Effect::Defer { lane, work } => {
                host.lanes.defer(lane, self.event, work);
                self.schedule(host, id, lane);
            }
            Effect::Spend { lane, time } => host.lanes.spend(lane, self.now, time),
            Effect::Sync { ticket, target } => {
                self.counts.syncs += 1;
                self.observe(judges, id, SeenWhat::SyncAsked { ticket, target });
                let felt = host.disk.felt();
                let at = host.disk.begun(self.now, self.key.draw(SYNC, u64::from(id.0), ticket.0));
                self.feel_disk(id, felt, host.disk.felt());
                let (power_epoch, incarnation) = (host.power_epoch, host.incarnation);
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
            Effect::Datagram { to, message } => {
                self.counts.sends += 1;
                if let Some(current) = &mut self.current {
                    current.sends.push((to.host, message.name()));
                }
                self.observe(judges, id, SeenWhat::DatagramSent { to: to.host, message: &message });
                self.send_datagram(host, id, to, message);
            }
            Effect::Reach(mark) => self.reach(mark),
            Effect::Exit { .. } => unreachable!("an exit ends the effects of its step"),
        }
    }

    /// Schedules the next turn of a lane that has work.
    pub(crate) fn schedule(&mut self, host: &mut Host<M>, id: HostId, lane: Lane) {
        let next = host.lanes.schedule(lane, self.now, self.key, u64::from(id.0), &self.options.scheduling);
        if let Some(at) = next {
            self.push(at, Event::Turn { host: id, incarnation: host.incarnation, lane });
        }
    }

    /// Arms the next wake, if it is earlier than the one that is armed. A later one needs nothing: the early pop arms
    /// anew, and is no event.
    #[inline]
    pub(crate) fn arm(&mut self, host: &mut Host<M>, id: HostId) {
        let Some(deadline) = host.deadline else { return };
        let at = host.clock.world_at(deadline).max(self.now);
        if host.armed.is_none_or(|armed| at < armed) {
            host.arm = host.arm.wrapping_add(1);
            host.armed = Some(at);
            self.push(at, Event::Wake { host: id, arm: host.arm });
        }
    }

    /// The disk writes of a step: into the hash, the record and to the judges.
    #[inline]
    fn take_disk_log<J: Judges<M>>(&mut self, judges: &mut J, host: &Host<M>, id: HostId, felt: DiskFelt) {
        if !self.active.is_empty() {
            self.feel_disk(id, felt, host.disk.felt());
        }
        if self.disk_log.is_empty() {
            return;
        }
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
            Lasting::Pause(_)
            | Lasting::Freeze(_)
            | Lasting::Cut(_)
            | Lasting::Delay(..)
            | Lasting::Loss(..)
            | Lasting::Drift(..)
            | Lasting::Down(_) => false,
        });
    }

    /// The process ends; what becomes of its connections depends on how. A restart is scheduled if somebody sees to it.
    pub(crate) fn end_process<J: Judges<M>>(&mut self, judges: &mut J, host: &mut Host<M>, id: HostId, how: Ending) {
        assert!(host.machine.is_some() || how == Ending::PowerLost, "only a running process ends");
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
            Ending::PowerLost => Abandon::Silence,
        };
        self.abandon(id, abandon);
        host.end_life();
        match how {
            Ending::Exited(_) => {}
            Ending::Killed | Ending::PowerLost => {
                let power = how == Ending::PowerLost;
                if power {
                    let mut draw = self.key.draw(CRASH, u64::from(id.0), u64::from(host.power_epoch));
                    host.disk.write_back(self.now);
                    host.disk.lose_power(&mut draw);
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
                let seen = SeenWhat::Crashed { power, disk: host.disk.cache() };
                self.observe(judges, id, seen);
            }
        }
        let restart = match (order, how, host.supervisor) {
            (Some(span), ..) => Some(span),
            // Power comes back when the fault says so.
            (None, Ending::PowerLost, _) | (None, _, Supervisor::Never) => None,
            (None, Ending::Exited(_) | Ending::Killed, Supervisor::After(range)) => {
                let mut draw = self.key.draw(RESTART, u64::from(id.0), u64::from(host.incarnation.0));
                Some(range.draw(&mut draw))
            }
        };
        if let Some(span) = restart.filter(|_| had_process || how == Ending::PowerLost) {
            self.push(self.now + span, Event::Boot { host: id, incarnation: host.incarnation });
        }
    }
}
