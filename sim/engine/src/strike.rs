//! Faults strike: targets are resolved, what lasts is remembered until it ends, and the world heals.

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::{Draw, Effect, HostId, Input, InputOf, Instant, Loss, Machine, Purpose, Span};

use crate::connection::{Role, SideState, SlotId};
use crate::core::{Active, Event};
use crate::disk::{DiskFaults, Failing};
use crate::fault::{DiskOperation, Lasting};
use crate::host::{Cast, Stalled};
use crate::judge::{Judges, SeenWhat};
use crate::network::Trouble;
use crate::step::{Ending, Fed};
use crate::trace::{Entry, FaultEvent};
use crate::{Except, Fault, SpanRange, Strike, Target, World};

pub(crate) const TRIGGER_HOST: Purpose = Purpose::new("engine/trigger-host");
const RULE: Purpose = Purpose::new("engine/rule");
const RULE_AFTER: Purpose = Purpose::new("engine/rule-after");
const INJECTED: Purpose = Purpose::new("engine/injected");
const RESUME: Purpose = Purpose::new("engine/resume");
const HEAL: Purpose = Purpose::new("engine/heal");

/// Hosts that are down when the world heals start within so much.
const HEAL_RESTART: (Span, Span) = (Span::millis(10), Span::millis(500));

/// Whom a target means at this instant; sorted, nobody twice.
pub(crate) fn resolve<M: Machine, J: Judges<M>>(
    cast: &Cast,
    judges: &J,
    this: Option<HostId>,
    taken: &[HostId],
    draw: &mut Draw,
    target: &Target,
) -> Vec<HostId> {
    match target {
        Target::Host(name) => cast.named(name).into_iter().collect(),
        Target::Role(role) => judges.role(role).into_iter().collect(),
        Target::Group(group) => cast.group(group),
        Target::AnyOf(group) => {
            let group = cast.group(group);
            if group.is_empty() { Vec::new() } else { vec![group[draw.index(group.len())]] }
        }
        Target::MinorityOf(group) => {
            let mut group = cast.group(group);
            let most = group.len().saturating_sub(1) / 2;
            if most == 0 {
                return Vec::new();
            }
            let count = 1 + draw.index(most);
            draw.shuffle(&mut group);
            group.truncate(count);
            group.sort_unstable();
            group
        }
        Target::RestOf(group) => cast.group(group).into_iter().filter(|host| !taken.contains(host)).collect(),
        Target::Except(Except { group, target }) => {
            let out = resolve(cast, judges, this, taken, draw, target);
            cast.group(group).into_iter().filter(|host| !out.contains(host)).collect()
        }
        Target::This(_) => this.into_iter().collect(),
        Target::Everybody(_) => cast.all().collect(),
    }
}

/// One strike while it is carried out.
struct Striking {
    rule: Option<usize>,
    this: Option<HostId>,
    draw: Draw,
    /// Whom it has named so far.
    taken: Vec<HostId>,
    is_felt: bool,
    entry: Option<usize>,
}

impl<M: Machine, J: Judges<M>> World<M, J> {
    /// Injects a fault now, by hand, as if a rule had struck.
    pub fn inject(&mut self, fault: &Fault) {
        let draw = self.core.key.draw(INJECTED, self.core.counts.faults, 0);
        self.carry_out(fault, None, None, draw);
        self.strike_triggered(HostId(0));
    }

    /// A triggered rule strikes now, or after a while.
    pub(crate) fn strike_after(&mut self, rule: usize, this: HostId) {
        let state = &self.core.rule_states[rule];
        let mut draw = self.core.key.draw(RULE_AFTER, state.key, u64::from(state.triggered));
        let after = self.core.rules[rule].after.draw(&mut draw);
        if after == Span::ZERO {
            self.strike(rule, Some(this));
        } else {
            self.core.push(self.core.now + after, Event::Strike { rule, this: Some(this) });
        }
    }

    /// A rule strikes.
    pub(crate) fn strike(&mut self, rule: usize, this: Option<HostId>) {
        let rules = Arc::clone(&self.core.rules);
        let state = &mut self.core.rule_states[rule];
        let draw = self.core.key.draw(RULE, state.key, u64::from(state.count.fired));
        state.count.fired += 1;
        self.carry_out(&rules[rule].fault, Some(rule), this, draw);
    }

    /// The end of a step in which a rule may strike before the effects: its facts are stated first, then the rules
    /// strike, and what is left of the process lets its effects leave.
    pub(crate) fn apply_struck(&mut self, id: HostId, fed: Fed) {
        let outbox = std::mem::take(&mut self.core.outbox);
        let mut rest = Vec::with_capacity(outbox.len());
        for effect in outbox {
            match effect {
                Effect::State(fact) => self.core.state(&mut self.judges, id, &fact),
                Effect::Reach(mark) => self.core.reach(mark),
                other @ (Effect::Connect { .. }
                | Effect::Listen { .. }
                | Effect::Unlisten { .. }
                | Effect::Send { .. }
                | Effect::Datagram { .. }
                | Effect::Close { .. }
                | Effect::Sync { .. }
                | Effect::Defer { .. }
                | Effect::Spend { .. }
                | Effect::Exit { .. }) => rest.push(other),
            }
        }
        self.core.take_situations(&self.judges, id);
        let rules = Arc::clone(&self.core.rules);
        let triggered = std::mem::take(&mut self.core.triggered);
        let (before, after) = triggered.into_iter().partition(|&(rule, _)| rules[rule].strike == Strike::BeforeEffects);
        self.core.triggered = after;
        let before: Vec<(usize, HostId)> = before;
        for (rule, this) in before {
            self.strike(rule, Some(this));
        }
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if host.machine.is_some() {
            self.core.outbox = rest;
            self.core.apply(&mut self.judges, host, id, fed);
        }
    }

    fn carry_out(&mut self, fault: &Fault, rule: Option<usize>, this: Option<HostId>, draw: Draw) {
        self.core.counts.faults += 1;
        let mut striking = Striking { rule, this, draw, taken: Vec::new(), is_felt: false, entry: None };
        // Resolved before anything is done, in the order in which the fault names them.
        let resolved: Vec<Vec<HostId>> =
            fault.targets().into_iter().map(|target| self.resolve(&mut striking, target)).collect();
        let mut targets = striking.taken.clone();
        targets.sort_unstable();
        targets.dedup();
        self.core.trace.entry(Entry::Fault);
        self.core.trace.digest.text(fault.name());
        self.core.trace.digest.word(self.core.now.as_nanos());
        for &host in &targets {
            self.core.trace.digest.word(u64::from(host.0));
        }
        if let Some(recording) = &mut self.core.recording {
            striking.entry = Some(recording.faults.len());
            recording.faults.push(FaultEvent {
                rule,
                at: self.core.now,
                event: self.core.event,
                until: None,
                text: fault.to_string(),
                name: fault.name(),
                targets: targets.clone(),
            });
        }
        let seen = SeenWhat::Struck { rule, fault, targets: &targets };
        self.core.observe(&mut self.judges, targets.first().copied().unwrap_or(HostId(0)), seen);
        self.carry_out_on(fault, &resolved, &mut striking);
        if let (true, Some(rule)) = (striking.is_felt, rule) {
            self.core.rule_states[rule].count.felt += 1;
        }
    }

    fn resolve(&self, striking: &mut Striking, target: &Target) -> Vec<HostId> {
        let Striking { this, draw, taken, .. } = striking;
        let hosts = resolve(&self.core.cast, &self.judges, *this, taken, draw, target);
        taken.extend(&hosts);
        hosts
    }

    #[expect(clippy::too_many_lines, reason = "a flat match with one arm per fault")]
    fn carry_out_on(&mut self, fault: &Fault, resolved: &[Vec<HostId>], striking: &mut Striking) {
        let all = |of: usize| resolved[of].iter().copied();
        match fault {
            Fault::Kill { restart_after, .. } => {
                for host in all(0) {
                    let restart = restart_after.map(|span| span.draw(&mut striking.draw));
                    self.kill(host, restart, striking);
                }
            }
            Fault::PowerLoss { down_for, .. } => {
                for host in all(0) {
                    let restart = down_for.map(|span| span.draw(&mut striking.draw));
                    self.lose_power(host, restart, striking);
                }
            }
            Fault::Terminate { restart_after, .. } => {
                for host in all(0) {
                    let restart = restart_after.map(|span| span.draw(&mut striking.draw));
                    let target = Arc::make_mut(&mut self.hosts[host.0 as usize]);
                    if target.machine.is_some() {
                        striking.is_felt = true;
                        target.restart_after = restart;
                        self.deliver_soon(host, None, Input::Terminate);
                    }
                }
            }
            Fault::Pause { lasting, .. } => {
                for host in all(0).filter(|host| self.machine(*host).is_some()).collect::<Vec<_>>() {
                    self.begin(Lasting::Pause(host), *lasting, striking);
                }
            }
            Fault::Freeze { lasting, .. } => {
                for host in all(0).filter(|host| self.hosts[host.0 as usize].is_powered).collect::<Vec<_>>() {
                    self.begin(Lasting::Freeze(host), *lasting, striking);
                }
            }
            Fault::Cut { one_way, lasting, .. } => {
                let mut links = pairs(&resolved[0], &resolved[1]);
                if !one_way {
                    links.extend(pairs(&resolved[1], &resolved[0]));
                }
                self.begin_links(links, Lasting::Cut, *lasting, striking);
            }
            Fault::Partition { groups, lasting } => {
                let mut rest = resolved;
                let mut sides: Vec<Vec<HostId>> = Vec::new();
                for group in groups {
                    let (these, others) = rest.split_at(group.len());
                    sides.push(these.concat());
                    rest = others;
                }
                let mut links = Vec::new();
                for (at, one) in sides.iter().enumerate() {
                    for other in &sides[at + 1..] {
                        links.extend(pairs(one, other));
                        links.extend(pairs(other, one));
                    }
                }
                self.begin_links(links, Lasting::Cut, *lasting, striking);
            }
            Fault::Isolate { lasting, .. } => {
                let everybody: Vec<HostId> = self.core.cast.all().collect();
                let mut links = pairs(&resolved[0], &everybody);
                links.extend(pairs(&everybody, &resolved[0]));
                self.begin_links(links, Lasting::Cut, *lasting, striking);
            }
            Fault::Reset { .. } => {
                for (a, b) in pairs(&resolved[0], &resolved[1]) {
                    for id in self.core.connections.between(a, b) {
                        striking.is_felt |= self.break_connection(id);
                    }
                }
            }
            Fault::Delay { extra, lasting, .. } => {
                let extra = extra.draw(&mut striking.draw);
                let links = pairs(&resolved[0], &resolved[1]);
                self.begin_links(links, |links| Lasting::Delay(links, extra), *lasting, striking);
            }
            Fault::Loss { one_in, lasting, .. } => {
                let links = pairs(&resolved[0], &resolved[1]);
                self.begin_links(links, |links| Lasting::Loss(links, *one_in), *lasting, striking);
            }
            Fault::DiskError { operation, times, lasting, .. } => {
                for host in all(0) {
                    self.begin(Lasting::DiskError(host, *operation, *times), *lasting, striking);
                }
            }
            Fault::DiskFull { lasting, .. } => {
                for host in all(0) {
                    self.begin(Lasting::DiskFull(host), *lasting, striking);
                }
            }
            Fault::SlowDisk { factor, stall, lasting, .. } => {
                for host in all(0) {
                    let stall = stall.draw(&mut striking.draw);
                    self.begin(Lasting::SlowDisk(host, *factor, stall), *lasting, striking);
                }
            }
            Fault::ClockDrift { ppm, lasting, .. } => {
                for host in all(0) {
                    striking.is_felt = true;
                    self.begin(Lasting::Drift(host, *ppm), *lasting, striking);
                }
            }
            Fault::ClockJump { by_ms, .. } => {
                for host in all(0) {
                    striking.is_felt = true;
                    Arc::make_mut(&mut self.hosts[host.0 as usize]).clock.jump(*by_ms);
                }
            }
            Fault::Heal {} => {
                striking.is_felt = !self.core.active.is_empty();
                self.end_all_faults(false);
            }
        }
    }

    fn kill(&mut self, id: HostId, restart: Option<Span>, striking: &mut Striking) {
        if self.hosts[id.0 as usize].machine.is_none() {
            return;
        }
        striking.is_felt = true;
        // A signal that cannot be caught also ends a process that is stopped.
        self.end_faults_of(|lasting| *lasting == Lasting::Pause(id));
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if restart.is_some() {
            host.restart_after = restart;
        }
        self.core.end_process(&mut self.judges, host, id, Ending::Killed);
        self.begin_down(id, striking);
    }

    fn lose_power(&mut self, id: HostId, restart: Option<Span>, striking: &mut Striking) {
        if !self.hosts[id.0 as usize].is_powered {
            return;
        }
        striking.is_felt = true;
        self.end_faults_of(|lasting| *lasting == Lasting::Pause(id) || *lasting == Lasting::Freeze(id));
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        host.restart_after = restart;
        host.boot_waits = false;
        self.core.end_process(&mut self.judges, host, id, Ending::PowerLost);
        self.begin_down(id, striking);
    }

    /// Both sides of a connection learn at once that it is reset, and what is under way is lost.
    fn break_connection(&mut self, id: SlotId) -> bool {
        let Some(connection) = self.core.connections.live(id) else { return false };
        let (dialer, acceptor) = (connection.dialer, connection.acceptor);
        for role in [Role::Dialer, Role::Acceptor] {
            // The first to be done may be the last, and take the connection with it.
            if self.core.connections.live(id).is_some() {
                drop(self.core.connections.take_held(id, role));
                self.core.connections.finish(id, role, SideState::Gone);
            }
        }
        let mut is_felt = false;
        for (side, peer) in [(dialer, acceptor.host), (acceptor, dialer.host)] {
            let input = match side.state {
                SideState::Open => Input::Lost { on: side.end, why: Loss::Reset },
                SideState::Opening => Input::Refused { on: side.end },
                SideState::Absent | SideState::Accepting | SideState::Closed | SideState::Gone => continue,
            };
            is_felt = true;
            self.deliver_soon(side.host, Some(peer), input);
        }
        is_felt
    }

    /// Delivers an input at this instant, but not within the step that is under way.
    fn deliver_soon(&mut self, host: HostId, from: Option<HostId>, input: InputOf<M>) {
        let incarnation = self.hosts[host.0 as usize].incarnation;
        self.core.push(self.core.now, Event::Deliver { host, incarnation, from, input: Box::new(input) });
    }

    fn begin_links(
        &mut self,
        mut links: Vec<(HostId, HostId)>,
        lasting: impl FnOnce(Vec<(HostId, HostId)>) -> Lasting,
        span: Option<SpanRange>,
        striking: &mut Striking,
    ) {
        links.sort_unstable();
        links.dedup();
        if !links.is_empty() {
            self.begin(lasting(links), span, striking);
        }
    }

    /// A fault that lasts begins.
    fn begin(&mut self, lasting: Lasting, span: Option<SpanRange>, striking: &mut Striking) {
        let id = self.core.faults_begun;
        self.core.faults_begun += 1;
        let until = span.map(|span| self.core.now + span.draw(&mut striking.draw));
        let entry = striking.entry;
        let active = Active { id, rule: striking.rule, felt: striking.is_felt, entry, lasting: lasting.clone() };
        self.core.active.push(active);
        if let Some(at) = until {
            self.core.push(at, Event::FaultEnd { fault: id });
        }
        self.switch(&lasting, true);
    }

    /// A process is down: nothing to end but a band, which its next boot ends.
    fn begin_down(&mut self, id: HostId, striking: &mut Striking) {
        self.begin(Lasting::Down(id), None, striking);
    }

    pub(crate) fn end_down(&mut self, id: HostId) {
        if !self.core.active.is_empty() {
            self.end_faults_of(|lasting| *lasting == Lasting::Down(id));
        }
    }

    pub(crate) fn end_fault(&mut self, fault: u64) {
        if let Some(at) = self.core.active.iter().position(|active| active.id == fault) {
            self.end_active(at);
        }
    }

    fn end_faults_of(&mut self, is_meant: impl Fn(&Lasting) -> bool) {
        while let Some(at) = self.core.active.iter().position(|active| is_meant(&active.lasting)) {
            self.end_active(at);
        }
    }

    fn end_active(&mut self, at: usize) {
        let active = self.core.active.remove(at);
        if let (Some(entry), Some(recording)) = (active.entry, &mut self.core.recording) {
            recording.faults[entry].until = Some(self.core.now);
        }
        self.switch(&active.lasting, false);
    }

    /// Ends all faults; `prompt` lets what they held go at once instead of at its next retransmission.
    fn end_all_faults(&mut self, prompt: bool) {
        if prompt {
            // Links first, all at once, so that the release below finds every one of them whole.
            self.core.network.set_troubles(BTreeMap::new());
        }
        self.end_faults_of(|lasting| !matches!(lasting, Lasting::Down(_)));
        let hosts = &self.hosts;
        self.core.release(hosts, prompt);
    }

    /// Switches a fault on or off. Faults that meet on one link or disk add up; the rest of them stays.
    fn switch(&mut self, lasting: &Lasting, on: bool) {
        match *lasting {
            Lasting::Pause(id) => {
                let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
                host.pauses = if on { host.pauses + 1 } else { host.pauses - 1 };
                self.stopped_or_resumed(id, on);
            }
            Lasting::Freeze(id) => {
                let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
                host.freezes = if on { host.freezes + 1 } else { host.freezes - 1 };
                self.stopped_or_resumed(id, on);
                if !on {
                    self.thawed(id);
                }
            }
            Lasting::Cut(_) | Lasting::Delay(..) | Lasting::Loss(..) => {
                let troubles = self.troubles();
                self.core.network.set_troubles(troubles);
                if !on {
                    let hosts = &self.hosts;
                    self.core.release(hosts, self.core.is_healed);
                }
            }
            Lasting::DiskError(id, operation, _) => {
                let failing = self.failing(id, operation);
                let faults = Arc::make_mut(&mut self.hosts[id.0 as usize]).disk.faults_mut();
                match operation {
                    DiskOperation::Read => faults.read_error = failing,
                    DiskOperation::Write => faults.write_error = failing,
                    DiskOperation::Sync => faults.sync_error = failing,
                }
            }
            Lasting::DiskFull(id) => {
                let full = self.core.active.iter().any(|active| active.lasting == Lasting::DiskFull(id));
                Arc::make_mut(&mut self.hosts[id.0 as usize]).disk.faults_mut().full = full;
            }
            Lasting::SlowDisk(id, ..) => {
                let (mut slow_factor, mut stall) = (1_u64, Span::ZERO);
                for active in &self.core.active {
                    if let Lasting::SlowDisk(host, factor, more) = active.lasting
                        && host == id
                    {
                        slow_factor = slow_factor.saturating_mul(u64::from(factor));
                        stall = stall.saturating_add(more);
                    }
                }
                let faults = Arc::make_mut(&mut self.hosts[id.0 as usize]).disk.faults_mut();
                *faults = DiskFaults { slow_factor, stall, ..*faults };
            }
            Lasting::Drift(id, _) => {
                let last = self.core.active.iter().rev().find_map(|active| match active.lasting {
                    Lasting::Drift(host, ppm) => (host == id).then_some(ppm),
                    Lasting::Pause(_)
                    | Lasting::Freeze(_)
                    | Lasting::Cut(_)
                    | Lasting::Delay(..)
                    | Lasting::Loss(..)
                    | Lasting::DiskError(..)
                    | Lasting::DiskFull(_)
                    | Lasting::SlowDisk(..)
                    | Lasting::Down(_) => None,
                });
                let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
                let usual = if self.core.is_healed { 0 } else { host.clock_spec.drift_ppm };
                host.clock.drift(self.core.now, last.unwrap_or(usual));
                self.core.arm(host, id);
            }
            Lasting::Down(_) => {}
        }
    }

    /// What is wrong with the links, summed over the active faults.
    fn troubles(&self) -> BTreeMap<(HostId, HostId), Trouble> {
        let mut troubles: BTreeMap<(HostId, HostId), Trouble> = BTreeMap::new();
        for active in &self.core.active {
            match &active.lasting {
                Lasting::Cut(links) => {
                    for &link in links {
                        troubles.entry(link).or_default().cuts += 1;
                    }
                }
                Lasting::Delay(links, extra) => {
                    for &link in links {
                        let trouble = troubles.entry(link).or_default();
                        trouble.extra = trouble.extra.saturating_add(*extra);
                    }
                }
                Lasting::Loss(links, one_in) => {
                    for &link in links {
                        let trouble = troubles.entry(link).or_default();
                        // The worst one rules.
                        trouble.loss_one_in = match trouble.loss_one_in {
                            0 => *one_in,
                            other => other.min(*one_in),
                        };
                    }
                }
                Lasting::Pause(_)
                | Lasting::Freeze(_)
                | Lasting::DiskError(..)
                | Lasting::DiskFull(_)
                | Lasting::SlowDisk(..)
                | Lasting::Drift(..)
                | Lasting::Down(_) => {}
            }
        }
        troubles
    }

    /// How often an operation fails, by the last fault that is active on it.
    fn failing(&self, id: HostId, operation: DiskOperation) -> Failing {
        let last = self.core.active.iter().rev().find_map(|active| match active.lasting {
            Lasting::DiskError(host, other, times) => (host == id && other == operation).then_some(times),
            Lasting::Pause(_)
            | Lasting::Freeze(_)
            | Lasting::Cut(_)
            | Lasting::Delay(..)
            | Lasting::Loss(..)
            | Lasting::DiskFull(_)
            | Lasting::SlowDisk(..)
            | Lasting::Drift(..)
            | Lasting::Down(_) => None,
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

    /// Ends the phase of faults: every fault ends, links are whole and what they held goes at once, clocks run true,
    /// who is down starts again, and no rule strikes any more.
    pub fn heal(&mut self) {
        self.core.cause = 0;
        self.core.is_healed = true;
        self.core.has_triggers = false;
        self.core.has_before_effects = false;
        self.end_all_faults(true);
        let now = self.core.now;
        for id in self.core.cast.all() {
            let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
            *host.disk.faults_mut() = DiskFaults::default();
            host.clock.drift(now, 0);
            self.core.arm(host, id);
            if host.machine.is_none() {
                let mut draw = self.core.key.draw(HEAL, u64::from(id.0), u64::from(host.incarnation.0));
                let at = now + draw.between(HEAL_RESTART.0, HEAL_RESTART.1);
                self.core.push(at, Event::Boot { host: id, incarnation: host.incarnation });
            }
        }
        if let Some(recording) = &mut self.core.recording {
            recording.healed_at = Some(now);
        }
    }

    /// When the world was healed is not `now`: for the length of a phase.
    pub(crate) fn since(&self, start: Instant) -> Span {
        self.core.now.saturating_since(start)
    }
}

/// Every ordered pair of one and another of two sets.
fn pairs(from: &[HostId], to: &[HostId]) -> Vec<(HostId, HostId)> {
    from.iter().flat_map(|&a| to.iter().map(move |&b| (a, b))).filter(|(a, b)| a != b).collect()
}

/// Merges what was stalled at random, in order within each stream.
fn merged<M: Machine>(
    stalled: std::collections::VecDeque<Stalled<M>>,
    draw: &mut Draw,
) -> std::collections::VecDeque<Stalled<M>> {
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
