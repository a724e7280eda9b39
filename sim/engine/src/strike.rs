//! Faults strike: targets are resolved, and what lasts is remembered until it ends.

mod heal;
mod links;
mod switch;

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::disk::PageCache;
use machine::{Draw, Effect, HostId, Input, InputOf, Loss, Machine, Purpose, Span};

use crate::connection::{Role, SideState, SlotId};
use crate::core::{Active, Event};
use crate::host::{Cast, CrashLoop};
use crate::judge::{Judges, SeenWhat};
use crate::lasting::{Lasting, LostWrites, Phase};
use crate::step::{Ending, Fed};
use crate::trace::{Entry, FaultEvent};
use crate::{Except, Fault, Hosts, SpanRange, Strike, Target, World};

pub(crate) const TRIGGER_HOST: Purpose = Purpose::new("engine/trigger-host");
const RULE: Purpose = Purpose::new("engine/rule");
const RULE_AFTER: Purpose = Purpose::new("engine/rule-after");
const INJECTED: Purpose = Purpose::new("engine/injected");
const CRASH_AGAIN: Purpose = Purpose::new("engine/crash-again");

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
        Target::Hosts(names) => {
            let mut hosts: Vec<HostId> = names.iter().filter_map(|name| cast.named(name)).collect();
            hosts.sort_unstable();
            hosts.dedup();
            hosts
        }
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

impl Striking {
    /// What follows from an earlier strike.
    const fn untold(draw: Draw) -> Self {
        Self { rule: None, this: None, draw, taken: Vec::new(), is_felt: false, entry: None }
    }
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
        let refused = if self.core.options.budgeted {
            self.judges.refuses(self.core.now, fault, &targets, &Hosts { hosts: &self.hosts, cast: &self.core.cast })
        } else {
            None
        };
        self.core.trace.entry(Entry::Fault);
        self.core.trace.digest.text(if refused.is_some() { "refused" } else { fault.name() });
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
                text: match &refused {
                    Some(why) => format!("{fault}: refused, {why}"),
                    None => fault.to_string(),
                },
                name: fault.name(),
                targets: targets.clone(),
            });
        }
        if refused.is_some() {
            if let Some(entry) = striking.entry {
                let recording = self.core.recording.as_mut().expect("it has the entry");
                recording.faults[entry].until = Some(self.core.now);
            }
            if let Some(rule) = rule {
                self.core.rule_states[rule].count.refused += 1;
            }
            return;
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
            Fault::CrashLoop { times, within, restart_after, .. } => {
                for host in all(0).filter(|host| self.machine(*host).is_some()).collect::<Vec<_>>() {
                    let crash_loop = CrashLoop { left: *times, within: *within, restart_after: *restart_after };
                    Arc::make_mut(&mut self.hosts[host.0 as usize]).crash_loop = Some(crash_loop);
                    let restart = restart_after.draw(&mut striking.draw);
                    self.kill(host, Some(restart), striking);
                    self.begin(Lasting::CrashLoop(host), None, striking);
                }
            }
            Fault::Resume { .. } => {
                for host in all(0) {
                    striking.is_felt |= self.core.active.iter().any(|active| active.lasting.stops(host));
                    self.end_faults_of(|lasting| lasting.stops(host));
                }
            }
            Fault::Suspend { lasting, .. } => {
                for host in all(0).filter(|host| self.hosts[host.0 as usize].is_powered).collect::<Vec<_>>() {
                    self.begin(Lasting::Suspend(host), *lasting, striking);
                }
            }
            Fault::SlowCpu { factor, each, lasting, .. } => {
                for host in all(0) {
                    let each = each.draw(&mut striking.draw);
                    self.begin(Lasting::SlowCpu(host, *factor, each), *lasting, striking);
                }
            }
            Fault::StopLane { lane, lasting, .. } => {
                let lane: Arc<str> = Arc::from(lane.as_str());
                for host in all(0).filter(|host| self.machine(*host).is_some()).collect::<Vec<_>>() {
                    self.begin(Lasting::StopLane(host, Arc::clone(&lane)), *lasting, striking);
                }
            }
            Fault::Ring { lasting, .. } => {
                let links = links::ring(&resolved[0], &mut striking.draw);
                self.begin_links(links, Lasting::Cut, *lasting, striking);
            }
            Fault::Bridge { lasting, .. } => {
                let links = links::bridge(&resolved[0], &mut striking.draw);
                self.begin_links(links, Lasting::Cut, *lasting, striking);
            }
            Fault::Flap { up, down, lasting, .. } => {
                let mut flapping = pairs(&resolved[0], &resolved[1]);
                flapping.extend(pairs(&resolved[1], &resolved[0]));
                let lasting = lasting.draw(&mut striking.draw);
                let phases = links::flap(&flapping, self.core.now, *up, *down, lasting, &mut striking.draw);
                self.begin_phases(phases, lasting, striking);
            }
            Fault::Swizzle { lasting, .. } => {
                let everybody: Vec<HostId> = self.core.cast.all().collect();
                let lasting = lasting.draw(&mut striking.draw);
                let phases = links::swizzle(&resolved[0], &everybody, self.core.now, lasting, &mut striking.draw);
                self.begin_phases(phases, lasting, striking);
            }
            Fault::HalfOpen { lasting, .. } => {
                let mut open: Vec<SlotId> = Vec::new();
                for (a, b) in pairs(&resolved[0], &resolved[1]) {
                    open.extend(self.core.connections.open_between(a, b));
                }
                open.sort_unstable();
                open.dedup();
                if !open.is_empty() {
                    self.begin(Lasting::HalfOpen(open), *lasting, striking);
                }
            }
            Fault::SlowAccept { extra, lasting, .. } => {
                for host in all(0) {
                    let extra = extra.map(|span| span.draw(&mut striking.draw));
                    self.begin(Lasting::SlowAccept(host, extra), *lasting, striking);
                }
            }
            Fault::Bandwidth { bytes_per_second, lasting, .. } => {
                let links = pairs(&resolved[0], &resolved[1]);
                self.begin_links(links, |links| Lasting::Bandwidth(links, *bytes_per_second), *lasting, striking);
            }
            Fault::Wipe { down_for, .. } => {
                for host in all(0) {
                    let restart = down_for.map(|span| span.draw(&mut striking.draw));
                    self.wipe(host, restart, striking);
                }
            }
            Fault::RestoreDisk { age, down_for, .. } => {
                for host in all(0) {
                    let at = self.core.now + age.draw(&mut striking.draw);
                    let down_for = down_for.map(|span| span.draw(&mut striking.draw));
                    let image = Box::new(self.hosts[host.0 as usize].disk.cache().clone());
                    self.core.push(at, Event::Restore { host, rule: striking.rule, image, down_for });
                }
            }
            Fault::BitRot { file, bits, .. } => {
                for host in all(0) {
                    let disk = &mut Arc::make_mut(&mut self.hosts[host.0 as usize]).disk;
                    striking.is_felt |= disk.rot(file, *bits, &mut striking.draw) > 0;
                }
            }
            Fault::BadSectors { file, sectors, lasting, .. } => {
                for host in all(0) {
                    let disk = &mut Arc::make_mut(&mut self.hosts[host.0 as usize]).disk;
                    if disk.spoil(file, *sectors, &mut striking.draw) > 0 {
                        self.begin(Lasting::BadSectors(host), *lasting, striking);
                    }
                }
            }
            Fault::LostSync { lasting, .. } => {
                for host in all(0) {
                    self.begin(Lasting::LostSync(host), *lasting, striking);
                }
            }
            Fault::LostWrite { file, times, lasting, .. } | Fault::MisdirectedWrite { file, times, lasting, .. } => {
                let is_misdirected = matches!(fault, Fault::MisdirectedWrite { .. });
                let which = Arc::new(LostWrites { file: file.clone(), times: *times, is_misdirected });
                for host in all(0) {
                    self.begin(Lasting::LostWrite(host, Arc::clone(&which)), *lasting, striking);
                }
            }
            Fault::ClockStrobe { by_ms, every, lasting, .. } => {
                for host in all(0) {
                    striking.is_felt = true;
                    let every = every.draw(&mut striking.draw);
                    self.begin(Lasting::Strobe(host, *by_ms, every), *lasting, striking);
                }
            }
            Fault::LateTimers { by, lasting, .. } => {
                for host in all(0) {
                    let by = by.draw(&mut striking.draw);
                    self.begin(Lasting::LateTimers(host, by), *lasting, striking);
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
        self.end_faults_of(|lasting| {
            *lasting == Lasting::Pause(id) || matches!(lasting, Lasting::StopLane(host, _) if *host == id)
        });
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        if restart.is_some() {
            host.restart_after = restart;
        }
        self.core.end_process(&mut self.judges, host, id, Ending::Killed);
        self.begin_down(id, striking);
    }

    fn lose_power(&mut self, id: HostId, restart: Option<Span>, striking: &mut Striking) {
        if self.hosts[id.0 as usize].is_powered {
            self.switch_off(id, restart, Ending::PowerLost, striking);
        }
    }

    fn wipe(&mut self, id: HostId, restart: Option<Span>, striking: &mut Striking) {
        if self.hosts[id.0 as usize].is_powered {
            return self.switch_off(id, restart, Ending::Wiped, striking);
        }
        // It is off already: only the disk is another one when it comes back.
        striking.is_felt = true;
        Arc::make_mut(&mut self.hosts[id.0 as usize]).disk.wipe();
    }

    fn switch_off(&mut self, id: HostId, restart: Option<Span>, how: Ending, striking: &mut Striking) {
        striking.is_felt = true;
        self.end_faults_of(|lasting| lasting.stops(id) || matches!(lasting, Lasting::StopLane(host, _) if *host == id));
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        host.restart_after = restart;
        host.boot_waits = false;
        self.core.end_process(&mut self.judges, host, id, how);
        self.begin_down(id, striking);
    }

    /// A process that is to die again has started: it will, in a while.
    pub(crate) fn crash_soon(&mut self, id: HostId) {
        let host = &self.hosts[id.0 as usize];
        let Some(CrashLoop { within, .. }) = host.crash_loop else { return };
        let incarnation = host.incarnation;
        let mut draw = self.core.key.draw(CRASH_AGAIN, u64::from(id.0), u64::from(incarnation.0));
        let at = self.core.now + within.draw(&mut draw);
        self.core.push(at, Event::CrashAgain { host: id, incarnation });
    }

    /// It does.
    pub(crate) fn crash_again(&mut self, id: HostId) {
        let host = Arc::make_mut(&mut self.hosts[id.0 as usize]);
        let Some(CrashLoop { left, restart_after, .. }) = &mut host.crash_loop else { return };
        *left -= 1;
        let is_last = *left == 0;
        let mut draw = self.core.key.draw(CRASH_AGAIN, u64::from(id.0) | 1 << 32, u64::from(host.incarnation.0));
        let restart = restart_after.draw(&mut draw);
        if is_last {
            self.end_faults_of(|lasting| *lasting == Lasting::CrashLoop(id));
        }
        self.kill(id, Some(restart), &mut Striking::untold(draw));
    }

    /// The disk goes back to what it was.
    pub(crate) fn restore(&mut self, id: HostId, rule: Option<usize>, image: &PageCache, down_for: Option<Span>) {
        let draw = self.core.key.draw(RULE, u64::from(id.0), self.core.faults_begun);
        self.lose_power(id, down_for, &mut Striking::untold(draw));
        Arc::make_mut(&mut self.hosts[id.0 as usize]).disk.restore(image);
        if let Some(rule) = rule {
            self.core.rule_states[rule].count.felt += 1;
        }
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

    /// Cuts that come and go begin.
    fn begin_phases(&mut self, phases: Vec<Phase>, lasting: Span, striking: &mut Striking) {
        if !phases.is_empty() {
            self.begin(Lasting::Phases(phases.into()), Some(SpanRange::exactly(lasting)), striking);
        }
    }

    /// A fault that lasts begins.
    fn begin(&mut self, lasting: Lasting, span: Option<SpanRange>, striking: &mut Striking) {
        let id = self.core.faults_begun;
        self.core.faults_begun += 1;
        let until = span.map(|span| self.core.now + span.draw(&mut striking.draw));
        let entry = striking.entry;
        let active = Active {
            id,
            rule: striking.rule,
            felt: striking.is_felt,
            entry,
            for_good: false,
            lasting: lasting.clone(),
        };
        self.core.active.push(active);
        if let Some(at) = until {
            self.core.push(at, Event::FaultEnd { fault: id });
        }
        self.switch(id, &lasting, true);
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
        self.switch(active.id, &active.lasting, false);
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
}

/// Every ordered pair of one and another of two sets.
fn pairs(from: &[HostId], to: &[HostId]) -> Vec<(HostId, HostId)> {
    from.iter().flat_map(|&a| to.iter().map(move |&b| (a, b))).filter(|(a, b)| a != b).collect()
}
