//! The world heals: a part of it for good, or all of it.

use std::sync::Arc;

use machine::{HostId, Machine, Purpose, Span};

use super::{Striking, pairs};
use crate::World;
use crate::core::Event;
use crate::disk::DiskFaults;
use crate::judge::Judges;
use crate::lasting::{Lasting, Links};
use crate::run::{Brokenness, Core};
use crate::trace::{Entry, FaultEvent};

const HEAL: Purpose = Purpose::new("engine/heal");
const CORE_REST: Purpose = Purpose::new("engine/core-rest");

/// Hosts that are down when the world heals start within so much.
const HEAL_RESTART: (Span, Span) = (Span::millis(10), Span::millis(500));

impl<M: Machine, J: Judges<M>> World<M, J> {
    /// Ends the phase of faults: every fault ends, links are whole and what they held goes at once, clocks run true,
    /// who is down starts again, and no rule strikes any more.
    pub fn heal(&mut self) {
        self.core.cause = 0;
        self.core.is_healed = true;
        self.core.has_triggers = false;
        self.core.has_before_effects = false;
        self.core.frozen.clear();
        self.end_all_faults(true);
        let now = self.core.now;
        for id in self.core.cast.all() {
            self.heal_host(id);
        }
        if let Some(recording) = &mut self.core.recording {
            recording.healed_at = Some(now);
        }
    }

    /// A host is whole again; if it is down it starts.
    fn heal_host(&mut self, id: HostId) {
        let now = self.core.now;
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

    /// Ends the phase of faults for a part of the world: its hosts and the links between them are whole, the rest stays as broken as
    /// it is, or is broken as the core says, for good. No rule strikes any more.
    pub(crate) fn heal_core(&mut self, core: &Core) {
        self.core.cause = 0;
        self.core.is_healed = true;
        self.core.has_triggers = false;
        self.core.has_before_effects = false;
        let is_in = |id: HostId| core.members.contains(&id);
        self.core.trace.entry(Entry::Fault);
        self.core.trace.digest.text("core");
        for &id in &core.members {
            self.core.trace.digest.word(u64::from(id.0));
        }
        if let Some(recording) = &mut self.core.recording {
            recording.faults.push(FaultEvent {
                rule: None,
                at: self.core.now,
                event: self.core.event,
                until: None,
                text: format!("a core is healed for good: {}", core.name),
                name: "core",
                targets: core.members.clone(),
            });
        }
        self.end_faults_of(|lasting| match lasting.host() {
            Some(host) => is_in(host) && !matches!(lasting, Lasting::Down(_)),
            None => matches!(lasting, Lasting::HalfOpen(_)),
        });
        let now = self.core.now;
        for active in &mut self.core.active {
            active.for_good = true;
            let outside = |links: &Links| -> Links {
                links.iter().copied().filter(|&(from, to)| !(is_in(from) && is_in(to))).collect()
            };
            if let Lasting::Phases(phases) = &active.lasting {
                // What comes and goes stays as it is.
                let on = phases.iter().filter(|phase| phase.is_on(now)).flat_map(|phase| phase.links.iter().copied());
                let mut links: Links = on.collect();
                links.sort_unstable();
                links.dedup();
                active.lasting = Lasting::Cut(links);
            }
            active.lasting = match &active.lasting {
                Lasting::Cut(links) => Lasting::Cut(outside(links)),
                Lasting::Delay(links, extra) => Lasting::Delay(outside(links), *extra),
                Lasting::Loss(links, one_in) => Lasting::Loss(outside(links), *one_in),
                Lasting::Bandwidth(links, rate) => Lasting::Bandwidth(outside(links), *rate),
                other @ (Lasting::Pause(_)
                | Lasting::Freeze(_)
                | Lasting::Suspend(_)
                | Lasting::SlowCpu(..)
                | Lasting::StopLane(..)
                | Lasting::CrashLoop(_)
                | Lasting::Phases(_)
                | Lasting::HalfOpen(_)
                | Lasting::SlowAccept(..)
                | Lasting::DiskError(..)
                | Lasting::DiskFull(_)
                | Lasting::SlowDisk(..)
                | Lasting::BadSectors(_)
                | Lasting::LostSync(_)
                | Lasting::LostWrite(..)
                | Lasting::Drift(..)
                | Lasting::Strobe(..)
                | Lasting::LateTimers(..)
                | Lasting::Down(_)) => other.clone(),
            };
        }
        self.renew_troubles(true);
        for &id in &core.members {
            self.heal_host(id);
        }
        for (index, &(id, how)) in (0_u64..).zip(&core.rest) {
            self.core.frozen.insert(id);
            let mut striking = Striking::untold(self.core.key.draw(CORE_REST, u64::from(id.0), index));
            let (out, back) = (pairs(&[id], &core.members), pairs(&core.members, &[id]));
            match how {
                Brokenness::AsItIs => {}
                Brokenness::Down => self.kill(id, None, &mut striking),
                Brokenness::Paused => {
                    if self.machine(id).is_some() {
                        self.begin(Lasting::Pause(id), None, &mut striking);
                    }
                }
                Brokenness::Cut => self.begin_links([out, back].concat(), Lasting::Cut, None, &mut striking),
                Brokenness::Mute => self.begin_links(out, Lasting::Cut, None, &mut striking),
            }
        }
    }
}
