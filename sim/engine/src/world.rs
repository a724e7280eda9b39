//! The world: hosts, judges, and the core between them. A value that can be cloned (forked) at any instant.

use std::fmt;
use std::sync::Arc;

use machine::{Address, HostId, Input, InputOf, Instant, Lane, Loss, Machine, Purpose, RunKey, Span, Ticket};

use crate::catalogue::{ScheduleError, check_legal};
use crate::connection::{Connections, Role, Segment, Side, SideState, SlotId};
use crate::core::{Core, Event, Pending, RuleCount, RuleState};
use crate::host::{Cast, EndEntry, Host, HostSpec, Hosts, Stalled};
use crate::judge::{Findings, Judges, SeenWhat, Step};
use crate::lasting::Lasting;
use crate::network::{Network, NetworkSpec};
use crate::queue::Queue;
use crate::run::Course;
use crate::seed::run_key;
use crate::step::Fed;
use crate::trace::{Entry, Recording, Trace, word_of};
use crate::{Counts, Options, Rule, Strike, Violation, When};

const START: Purpose = Purpose::new("engine/start");
const RULE_AT: Purpose = Purpose::new("engine/rule-at");

/// Processes start within so much of the first instant, so that not all do at once.
const START_MOST: Span = Span::millis(20);
/// How long a frozen dialer's kernel waits before it looks again whether it may send a SYN.
const FROZEN_RETRY: Span = Span::secs(1);

/// All hosts, the network, the event queue, the rules and the judges. `clone` is a fork: a complete, independent world,
/// cheap by structural sharing.
#[derive(Clone)]
pub struct World<M: Machine, J> {
    pub(crate) hosts: Vec<Arc<Host<M>>>,
    pub(crate) judges: J,
    pub(crate) core: Core<M>,
    /// The run that was begun, if any.
    pub(crate) course: Option<Box<Course>>,
}

impl<M: Machine, J> fmt::Debug for World<M, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.core.now)
            .field("events", &self.core.event)
            .field("hosts", &self.core.cast.names)
            .finish_non_exhaustive()
    }
}

impl<M: Machine, J: Judges<M>> World<M, J> {
    /// Makes a world: time is zero, nothing runs yet.
    ///
    /// Panics if two hosts share a name, a specification contradicts itself, or a rule is illegal in itself
    /// ([`check_schedule`](crate::check_schedule) tells before).
    pub fn new(
        seed: u64,
        judges: J,
        hosts: Vec<HostSpec<M>>,
        network: &NetworkSpec,
        schedule: Vec<Rule>,
        options: Options,
    ) -> Self {
        let key = run_key(seed);
        assert!(options.check_every > 0 && options.barrier_every > 0, "a period is at least 1");
        let cast = Cast {
            names: hosts.iter().map(|host| host.name.clone()).collect(),
            groups: hosts.iter().map(|host| host.group.clone()).collect(),
        };
        for (at, name) in cast.names.iter().enumerate() {
            assert!(!cast.names[..at].contains(name), "two hosts are called `{name}`");
        }
        for (index, rule) in schedule.iter().enumerate() {
            if let Err(what) = check_legal(rule) {
                panic!("an illegal schedule: {}", ScheduleError { rule: index, what });
            }
        }
        let has_triggers = schedule.iter().any(|rule| matches!(rule.when, When::Fact(_)));
        let has_before_effects = schedule.iter().any(|rule| rule.strike == Strike::BeforeEffects);
        let mut core = Core {
            now: Instant::ZERO,
            key,
            event: 0,
            cause: 0,
            next_barrier: options.barrier_every,
            stepping: None,
            queue: Queue::with_capacity(64),
            connections: Connections::default(),
            network: Network::new(network, hosts.len(), key),
            cast: Arc::new(cast),
            rule_states: rule_states(&schedule),
            rules: schedule.into(),
            has_triggers,
            has_before_effects,
            is_healed: false,
            frozen: std::collections::BTreeSet::new(),
            active: Vec::new(),
            faults_begun: 0,
            trace: Trace::new(options.depth),
            recording: options.record.then(Box::default),
            current: None,
            counts: Counts::default(),
            marks: std::collections::BTreeMap::new(),
            findings: Findings::new(),
            options,
            triggered: Vec::new(),
            outbox: Vec::new(),
            disk_log: Vec::new(),
        };
        let mut running = Vec::with_capacity(hosts.len());
        for (id, spec) in core.cast.all().zip(hosts) {
            let mut draw = key.draw(START, u64::from(id.0), 0);
            let start = spec.start_at.unwrap_or_else(|| draw.between(Span::ZERO, START_MOST));
            let host = Host::new(spec, id, key);
            core.push(Instant::ZERO + start, Event::Boot { host: id, incarnation: host.incarnation });
            running.push(Arc::new(host));
        }
        let rules = Arc::clone(&core.rules);
        for (index, rule) in rules.iter().enumerate() {
            if let When::At(at) = &rule.when {
                let mut draw = key.draw(RULE_AT, core.rule_states[index].key, 0);
                let at = Instant::ZERO + at.draw(&mut draw) + rule.after.draw(&mut draw);
                core.rule_states[index].triggered = 1;
                core.push(at, Event::Strike { rule: index, this: None });
            }
        }
        Self { hosts: running, judges, core, course: None }
    }

    /// Changes the key of the run: every draw from this instant on is another one.
    pub fn reseed(&mut self, salt: u64) {
        let RunKey([a, b]) = self.core.key;
        self.core.key = run_key(a ^ b.rotate_left(32) ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }

    /// The world's time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.core.now
    }

    /// The hash over everything that happened so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.core.trace.digest.value()
    }

    /// Inputs delivered so far: the id of the last event.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.core.event
    }

    /// Events that are pending in the queue.
    #[must_use]
    pub const fn pending_events(&self) -> usize {
        self.core.queue.len()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.core.counts
    }

    /// Marks reached so far, and how often.
    #[must_use]
    pub const fn marks(&self) -> &std::collections::BTreeMap<&'static str, u64> {
        &self.core.marks
    }

    /// Each rule of the schedule, with how often it fired and was felt.
    pub fn rules(&self) -> impl Iterator<Item = (&Rule, RuleCount)> {
        self.core.rules.iter().zip(self.core.rule_states.iter().map(|state| state.count))
    }

    /// The links that pass nothing at the moment, in order: from and to.
    #[must_use]
    pub fn cut_links(&self) -> Vec<(HostId, HostId)> {
        let links = self.core.cast.all().flat_map(|from| self.core.cast.all().map(move |to| (from, to)));
        links.filter(|&(from, to)| self.core.network.is_cut(from, to)).collect()
    }

    /// How far a host's calendar is ahead of what it would be had nothing moved it, in milliseconds.
    #[must_use]
    pub fn calendar_ahead(&self, host: HostId) -> i64 {
        self.hosts[host.0 as usize].strobed_ms
    }

    /// All hosts, read-only.
    #[must_use]
    pub fn hosts(&self) -> Hosts<'_, M> {
        Hosts { hosts: &self.hosts, cast: &self.core.cast }
    }

    /// The machine of a host; `None` while its process is down.
    #[must_use]
    pub fn machine(&self, host: HostId) -> Option<&M> {
        self.hosts[host.0 as usize].machine.as_ref()
    }

    /// The judges.
    #[must_use]
    pub const fn judges(&self) -> &J {
        &self.judges
    }

    /// Violations found so far and not taken by an outcome.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.core.findings.violations()
    }

    /// The full record, if the options asked for one.
    #[must_use]
    pub fn recording(&self) -> Option<&Recording> {
        self.core.recording.as_deref()
    }

    /// Takes the next event off the queue; false if there is none. It need not deliver anything.
    ///
    /// Panics if a machine does; [`World::run`] catches that.
    pub fn step(&mut self) -> bool {
        let Some((at, slot)) = self.core.queue.pop() else { return false };
        let Pending { cause, event } = self.core.queue.take(slot);
        debug_assert!(at >= self.core.now, "time runs forwards");
        self.core.now = at;
        self.core.cause = cause;
        match event {
            Event::Segment { id, from, number, segment: Segment::Data(message) } => {
                self.on_data(id, from, number, cause, message);
            }
            Event::Segment { id, from, number, segment } => self.on_segment(id, from, number, cause, segment),
            Event::Wake { host, arm } => self.on_wake(host, arm),
            Event::Turn { host, incarnation, lane } => {
                if self.hosts[host.0 as usize].incarnation == incarnation {
                    self.on_turn(host, lane);
                }
            }
            Event::Synced { host, power_epoch, incarnation, ticket } => {
                if self.hosts[host.0 as usize].power_epoch == power_epoch {
                    self.on_synced(host, incarnation == self.hosts[host.0 as usize].incarnation, cause, ticket);
                }
            }
            Event::Datagram { from, to, message } => self.on_datagram(from, to, cause, message),
            Event::SynRetry { id } => self.on_syn_retry(id),
            Event::Drain { host, incarnation } => {
                if self.hosts[host.0 as usize].incarnation == incarnation {
                    self.on_drain(host);
                }
            }
            Event::Deliver { host, incarnation, from, input } => {
                if self.hosts[host.0 as usize].incarnation == incarnation {
                    self.on_deliver(host, cause, from, *input);
                }
            }
            Event::Boot { host, incarnation } => {
                let target = &self.hosts[host.0 as usize];
                let stays_down = self.core.frozen.contains(&host);
                if target.incarnation == incarnation && target.machine.is_none() && !stays_down {
                    self.on_boot(host, cause);
                }
            }
            Event::Strike { rule, this } => {
                if !self.core.is_healed {
                    self.strike(rule, this);
                    self.strike_triggered(HostId(0));
                }
            }
            Event::FaultEnd { fault } => {
                if !self.core.active.iter().any(|active| active.id == fault && active.for_good) {
                    self.end_fault(fault);
                }
            }
            Event::Toggle { fault } => self.toggle(fault),
            Event::CrashAgain { host, incarnation } => {
                if self.hosts[host.0 as usize].incarnation == incarnation {
                    self.crash_again(host);
                }
            }
            Event::LateSyn { id } => self.on_late_syn(id, cause),
            Event::Restore { host, rule, image, down_for } => {
                if !self.core.is_healed {
                    self.restore(host, rule, &image, down_for);
                }
            }
        }
        true
    }

    /// Steps until the next event would be later than `until`, or a violation stops it; the time is then `until`.
    pub fn run_until(&mut self, until: Instant) {
        while self.core.queue.next_at().is_some_and(|at| at <= until) {
            if self.is_stopped_by_violations() {
                return;
            }
            self.step();
        }
        self.core.now = self.core.now.max(until);
    }

    pub(crate) fn is_stopped_by_violations(&self) -> bool {
        self.core.findings.violations.len() >= self.core.options.violations_most.max(1)
    }

    /// Delivers an input, or keeps it for a process that is stopped. Dropped if none runs.
    pub(crate) fn deliver(&mut self, to: HostId, cause: u64, from: Option<HostId>, input: InputOf<M>) {
        let host = Arc::make_mut(&mut self.hosts[to.0 as usize]);
        if host.machine.is_none() {
            return;
        }
        if host.is_stopped() || !host.stalled.is_empty() {
            host.stalled.push_back(Stalled::Input { cause, from, input });
            self.stalled(to);
            return;
        }
        let struck = self.core.take_other_step(&mut self.judges, host, to, cause, from, input);
        self.finish_step(to, struck);
    }

    /// The end of a step that [`Core::take_step`] has begun.
    #[inline(always)]
    fn finish_step(&mut self, id: HostId, struck: Option<Fed>) {
        if let Some(fed) = struck {
            self.apply_struck(id, fed);
        }
        self.end_step(id);
    }

    fn stalled(&mut self, host: HostId) {
        self.core.counts.inputs_stalled += 1;
        self.core.feel(|lasting| lasting.stops(host));
    }

    /// The step is over: the judges look at all hosts, and rules that were triggered strike.
    #[inline(always)]
    pub(crate) fn end_step(&mut self, host: HostId) {
        let step = Step { at: self.core.now, event: self.core.event, host };
        let hosts = Hosts { hosts: &self.hosts, cast: &self.core.cast };
        self.judges.inspect(&step, &hosts, &mut self.core.findings);
        self.core.end_event();
        if self.core.event >= self.core.next_barrier {
            self.core.next_barrier = self.core.event + self.core.options.barrier_every;
            self.barrier();
        }
        self.strike_triggered(host);
    }

    /// Rules triggered by facts and situations strike now, or after a while.
    #[inline(always)]
    pub(crate) fn strike_triggered(&mut self, host: HostId) {
        if !self.core.findings.situations.is_empty() || !self.core.triggered.is_empty() {
            self.strike_all_triggered(host);
        }
    }

    #[cold]
    fn strike_all_triggered(&mut self, host: HostId) {
        loop {
            if !self.core.findings.situations.is_empty() {
                self.core.take_situations(&self.judges, host);
            }
            if self.core.triggered.is_empty() {
                return;
            }
            let (rule, this) = self.core.triggered.remove(0);
            self.strike_after(rule, this);
        }
    }

    /// Every machine checks itself, and its digest goes into the hash.
    pub(crate) fn barrier(&mut self) {
        self.core.trace.entry(Entry::Barrier);
        for (id, host) in self.core.cast.all().zip(&self.hosts) {
            let digest = &mut self.core.trace.digest;
            digest.word(u64::from(host.incarnation.0) << 1 | u64::from(host.machine.is_some()));
            host.disk.digest(digest);
            if let Some(machine) = &host.machine {
                self.core.stepping = Some(id);
                machine.check_invariants();
                machine.digest(digest);
            }
        }
        self.core.stepping = None;
    }

    fn on_boot(&mut self, id: HostId, cause: u64) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if host.freezes > 0 {
            host.boot_waits = true;
            return;
        }
        let comes_on = !host.is_powered;
        host.is_powered = true;
        let fed = self.core.boot(&mut self.judges, host, id, cause);
        if self.core.has_before_effects_due() {
            self.apply_struck(id, fed);
        } else {
            self.core.apply(&mut self.judges, host, id, fed);
        }
        self.end_step(id);
        self.end_down(id);
        self.crash_soon(id);
        if comes_on {
            let hosts = &self.hosts;
            self.core.release(hosts, false);
        }
    }

    fn on_wake(&mut self, id: HostId, arm: u32) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if host.arm != arm || host.machine.is_none() {
            return;
        }
        host.armed = None;
        if host.is_stopped() || !host.stalled.is_empty() {
            host.stalled.push_back(Stalled::Wake);
            self.stalled(id);
            return;
        }
        self.wake(id);
    }

    /// Wakes a machine that is due; arms anew if it is not.
    #[inline(always)]
    fn wake(&mut self, id: HostId) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        let Some(deadline) = host.deadline else { return };
        if deadline > host.clock.local(self.core.now) {
            self.core.arm(host, id);
            return;
        }
        let cause = host.deadline_cause;
        let struck = self.core.take_other_step(&mut self.judges, host, id, cause, None, Input::Woken);
        self.finish_step(id, struck);
    }

    fn on_turn(&mut self, id: HostId, lane: Lane) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if host.machine.is_none() {
            return;
        }
        if host.is_stopped() || !host.stalled.is_empty() {
            host.stalled.push_back(Stalled::Turn { lane });
            self.stalled(id);
            return;
        }
        self.turn(id, lane);
    }

    fn turn(&mut self, id: HostId, lane: Lane) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        let busy_until = host.lanes.busy_until(lane);
        if busy_until > self.core.now {
            let incarnation = host.incarnation;
            self.core.push(busy_until, Event::Turn { host: id, incarnation, lane });
            return;
        }
        if !host.stopped_lanes.is_empty() && host.stopped_lanes.iter().any(|name| **name == *M::lane_name(lane)) {
            host.waiting_lanes.push(lane);
            let name = M::lane_name(lane);
            self.core
                .feel(|lasting| matches!(lasting, Lasting::StopLane(host, lane) if *host == id && **lane == *name));
            return;
        }
        let (cause, work) = host.lanes.take(lane);
        let struck = self.core.take_other_step(&mut self.judges, host, id, cause, None, Input::Turn { lane, work });
        self.finish_step(id, struck);
    }

    /// A sync completes on the device, whoever still waits for it.
    fn on_synced(&mut self, id: HostId, is_same_life: bool, cause: u64, ticket: Ticket) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        let felt = host.disk.felt();
        let Some(result) = host.disk.complete(ticket) else { return };
        self.core.feel_disk(id, felt, host.disk.felt());
        self.core.observe(&mut self.judges, id, SeenWhat::Durable { ticket, result });
        if is_same_life {
            self.deliver(id, cause, None, Input::Durable { ticket, result });
        }
    }

    fn on_datagram(&mut self, from: HostId, to: Address, cause: u64, message: M::Message) {
        if self.core.network.is_cut(from, to.host) {
            return self.core.feel_cut(from, to.host);
        }
        let host = &self.hosts[to.host.0 as usize];
        if !host.is_reachable() {
            return self.core.feel_cut(from, to.host);
        }
        if host.ports.binary_search(&to.port).is_ok() {
            self.deliver(to.host, cause, Some(from), Input::Datagram { from, message });
        }
    }

    fn on_syn_retry(&mut self, id: SlotId) {
        let Some(connection) = self.core.connections.live(id) else { return };
        if connection.dialer.state != SideState::Opening {
            return;
        }
        let dialer = connection.dialer.host;
        if self.hosts[dialer.0 as usize].is_reachable() {
            self.core.send_syn(id);
        } else {
            self.core.push(self.core.now + FROZEN_RETRY, Event::SynRetry { id });
        }
    }

    /// A message reaches the other side's host: the usual case of [`World::on_segment`], while nothing is wrong.
    #[inline(always)]
    fn on_data(&mut self, id: SlotId, from: Role, number: u32, cause: u64, message: M::Message) {
        let Some(connection) = self.core.connections.live(id) else { return };
        let (sender, &Side { host: to, end, state, .. }) = (connection.side(from).host, connection.side(from.other()));
        let host = Arc::make_mut(&mut self.hosts[to.0 as usize]);
        let is_in_order = connection.side(from).next == number && connection.side(from).held == 0;
        let is_usual = state == SideState::Open && is_in_order && !self.core.network.is_troubled();
        if is_usual && host.is_powered && host.machine.is_some() && !host.is_stopped() && host.stalled.is_empty() {
            connection.side_mut(from).next += 1;
            let input = Input::Message { on: end, message };
            let struck = self.core.take_step(&mut self.judges, host, to, cause, Some(sender), input);
            self.finish_step(to, struck);
        } else {
            self.on_segment(id, from, number, cause, Segment::Data(message));
        }
    }

    /// A segment reaches the other side's host.
    fn on_segment(&mut self, id: SlotId, from: Role, number: u32, cause: u64, segment: Segment<M::Message>) {
        let Some(connection) = self.core.connections.live(id) else { return };
        let (sender, receiver) = (connection.side(from).host, connection.side(from.other()).host);
        let side = *connection.side(from.other());
        let port = connection.port;
        if self.core.network.is_cut(sender, receiver) || !self.hosts[receiver.0 as usize].is_reachable() {
            self.core.feel_cut(sender, receiver);
            return match segment {
                Segment::Syn => self.core.retry_syn(id),
                // Not retransmitted: a peer that waits for its SYN/ACK tries again, any other stays half-open.
                Segment::Rst => {
                    if side.state == SideState::Opening {
                        self.core.retry_syn(id);
                    }
                }
                Segment::SynAck | Segment::Ack | Segment::Data(_) | Segment::Fin => {
                    self.core.hold(id, from, number, cause, segment);
                }
            };
        }
        let to = from.other();
        if !matches!(segment, Segment::Syn | Segment::Rst) && !matches!(side.state, SideState::Gone | SideState::Closed)
        {
            let connection = self.core.connections.live(id).expect("it was just now");
            let sender = connection.side_mut(from);
            // One that was sent before it is still on its way, because a fault held it: kernels keep the order.
            if number > sender.next && !matches!(segment, Segment::SynAck | Segment::Ack) {
                return self.core.hold(id, from, number, cause, segment);
            }
            sender.next = number + 1;
            if sender.held > 0 && connection.silenced == 0 {
                self.core.let_follow(id, from);
            }
        }
        match (segment, side.state) {
            (Segment::Data(message), SideState::Open) => {
                let input = Input::Message { on: side.end, message };
                self.deliver(receiver, cause, Some(sender), input);
            }
            (Segment::Syn, SideState::Absent) => self.on_syn(id, receiver, port),
            (Segment::SynAck, SideState::Opening) => {
                self.core.connections.live(id).expect("it was just now").dialer.state = SideState::Open;
                self.core.transmit(id, to, Segment::Ack);
                self.deliver(receiver, cause, Some(sender), Input::Opened { on: side.end });
            }
            (Segment::Ack, SideState::Accepting) => self.accept(id, receiver, sender, cause),
            (Segment::Fin, SideState::Open) => self.lose(id, to, receiver, cause, Loss::Closed),
            (Segment::Rst, SideState::Open) => self.lose(id, to, receiver, cause, Loss::Reset),
            (Segment::Rst, SideState::Opening) => {
                if self.core.connections.live(id).expect("it was just now").acceptor.state == SideState::Accepting {
                    self.core.connections.finish(id, Role::Acceptor, SideState::Gone);
                }
                self.core.connections.finish(id, Role::Dialer, SideState::Gone);
                self.deliver_last(receiver, cause, sender, Input::Refused { on: side.end }, side.end);
            }
            (Segment::Rst, SideState::Accepting) => {
                self.core.connections.finish(id, Role::Acceptor, SideState::Gone);
            }
            // The kernel knows no such connection: its host lost power, or its reset was lost.
            (Segment::SynAck | Segment::Ack | Segment::Data(_) | Segment::Fin, SideState::Gone) => {
                let _ = self.core.reset(id, to);
            }
            // What arrives for a closed side meets its FIN on the way; a reset needs no answer.
            (Segment::Data(_) | Segment::Fin | Segment::SynAck | Segment::Ack, SideState::Closed)
            | (Segment::Rst, SideState::Closed | SideState::Gone | SideState::Absent) => {}
            (segment, state) => unreachable!("{segment:?} for a side that is {state:?}"),
        }
    }

    /// A SYN reaches a host that may take its time over it.
    fn on_syn(&mut self, id: SlotId, receiver: HostId, port: machine::Port) {
        let slow = self.hosts[receiver.0 as usize].slow_accept;
        if slow.is_some() {
            self.core.feel(|lasting| matches!(lasting, Lasting::SlowAccept(host, _) if *host == receiver));
        }
        match slow {
            None => self.answer_syn(id, receiver, port),
            Some(Some(extra)) => self.core.push(self.core.now + extra, Event::LateSyn { id }),
            Some(None) => self.refuse(id),
        }
    }

    fn on_late_syn(&mut self, id: SlotId, cause: u64) {
        let Some(connection) = self.core.connections.live(id) else { return };
        if connection.acceptor.state != SideState::Absent || connection.dialer.state != SideState::Opening {
            return;
        }
        let (receiver, port) = (connection.acceptor.host, connection.port);
        self.core.cause = cause;
        if self.hosts[receiver.0 as usize].is_reachable() {
            self.answer_syn(id, receiver, port);
        } else {
            self.core.retry_syn(id);
        }
    }

    fn answer_syn(&mut self, id: SlotId, receiver: HostId, port: machine::Port) {
        if self.hosts[receiver.0 as usize].ports.binary_search(&port).is_ok() {
            let connection = self.core.connections.live(id).expect("it was just now");
            connection.acceptor.state = SideState::Accepting;
            self.core.transmit(id, Role::Acceptor, Segment::SynAck);
        } else {
            self.refuse(id);
        }
    }

    fn refuse(&mut self, id: SlotId) {
        if !self.core.reset(id, Role::Acceptor) {
            // The refusal is lost, so the SYN got no answer.
            self.core.retry_syn(id);
        }
    }

    /// The handshake is complete on the acceptor's side.
    fn accept(&mut self, id: SlotId, host: HostId, peer: HostId, cause: u64) {
        let target = Arc::make_mut(&mut self.hosts[host.0 as usize]);
        let end = target.numbers.end();
        target.ends.push(EndEntry { end, id, role: Role::Acceptor });
        let connection = self.core.connections.live(id).expect("the connection lives");
        connection.acceptor.state = SideState::Open;
        connection.acceptor.end = end;
        let port = connection.port;
        self.deliver(host, cause, Some(peer), Input::Accepted { on: end, port, peer });
    }

    /// A side is told that its connection is gone.
    fn lose(&mut self, id: SlotId, role: Role, host: HostId, cause: u64, why: Loss) {
        let connection = self.core.connections.live(id).expect("the connection lives");
        let (end, peer) = (connection.side(role).end, connection.side(role.other()).host);
        drop(self.core.connections.take_held(id, role));
        self.core.connections.finish(id, role, SideState::Gone);
        self.deliver_last(host, cause, peer, Input::Lost { on: end, why }, end);
    }

    /// Delivers the last input of an end. The machine forgets the end with it, which for a stopped process is later.
    pub(crate) fn deliver_last(
        &mut self,
        host: HostId,
        cause: u64,
        from: HostId,
        input: InputOf<M>,
        end: machine::EndId,
    ) {
        let target = Arc::make_mut(&mut self.hosts[host.0 as usize]);
        if !target.is_stopped() && target.stalled.is_empty() {
            target.remove_end(end);
        }
        self.deliver(host, cause, Some(from), input);
    }

    /// Something that does not come over a wire is delivered.
    fn on_deliver(&mut self, id: HostId, cause: u64, from: Option<HostId>, input: InputOf<M>) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if host.machine.is_some() && (host.is_stopped() || !host.stalled.is_empty()) {
            host.stalled.push_back(Stalled::Input { cause, from, input });
            return self.stalled(id);
        }
        self.deliver_kept(id, cause, from, input);
    }

    /// Delivers what was kept for a while: an end that the machine has closed meanwhile has no more inputs.
    fn deliver_kept(&mut self, id: HostId, cause: u64, from: Option<HostId>, input: InputOf<M>) {
        let (end, is_last) = match &input {
            Input::Message { on, .. } | Input::Opened { on } | Input::Accepted { on, .. } => (Some(*on), false),
            Input::Refused { on } | Input::Lost { on, .. } => (Some(*on), true),
            Input::Woken | Input::Datagram { .. } | Input::Durable { .. } | Input::Turn { .. } | Input::Terminate => {
                (None, false)
            }
        };
        if let Some(end) = end {
            let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
            if host.end(end).is_none() {
                return;
            }
            if is_last {
                host.remove_end(end);
            }
        }
        self.deliver(id, cause, from, input);
    }

    /// The process goes on with the oldest input that waits for it.
    fn on_drain(&mut self, id: HostId) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if host.is_stopped() || host.machine.is_none() {
            return;
        }
        let incarnation = host.incarnation;
        let Some(stalled) = host.stalled.pop_front() else { return };
        let mut rest = std::mem::take(&mut host.stalled);
        match stalled {
            Stalled::Wake => self.wake(id),
            Stalled::Turn { lane } => self.turn(id, lane),
            Stalled::Input { cause, from, input } => self.deliver_kept(id, cause, from, input),
        }
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if host.incarnation != incarnation || host.machine.is_none() {
            return;
        }
        // What was stalled meanwhile is newer than what was stalled before.
        rest.append(&mut host.stalled);
        host.stalled = rest;
        if !host.stalled.is_empty() && !host.is_stopped() {
            self.core.push(self.core.now, Event::Drain { host: id, incarnation });
        }
    }
}

/// Names each rule in draws: by its name, else by its content; equal ones by how many came before.
fn rule_states(schedule: &[Rule]) -> Vec<RuleState> {
    let mut states: Vec<RuleState> = Vec::with_capacity(schedule.len());
    for rule in schedule {
        let mut digest = machine::Digest::new();
        match &rule.name {
            Some(name) => digest.text(name),
            None => digest.text(&format!("{rule:?}")),
        }
        let content = digest.value();
        let before = (0..).map(|index: u64| content.wrapping_add(index));
        let key = before.into_iter().find(|key| states.iter().all(|state| state.key != *key));
        let key = key.expect("there are fewer rules than keys");
        let trigger = match &rule.when {
            When::Fact(trigger) => word_of(&trigger.fact),
            When::At(_) => 0,
        };
        let behind = match &rule.when {
            When::Fact(trigger) => trigger.behind.as_deref(),
            When::At(_) => None,
        };
        let behind = behind.map(|name| {
            let named = schedule.iter().position(|other| other.name.as_deref() == Some(name));
            named.unwrap_or_else(|| panic!("an illegal schedule: there is no rule `{name}`"))
        });
        states.push(RuleState { key, trigger, behind, ..RuleState::default() });
    }
    states
}
