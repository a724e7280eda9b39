//! Drives one machine by hand, without an engine: inputs in, effects out.
//!
//! The rig is a host that never fails by itself. Time stands still until [`Rig::advance`]; syncs finish when the test
//! says so ([`Rig::finish_syncs`]); a crash is [`Rig::kill`] or [`Rig::lose_power`] followed by [`Rig::boot`].

use crate::disk::{CrashModel, Metadata, PageCache};
use crate::{Clock, Draw, Effect, Input, InputOf, Instant, Io, Lane, Machine, Numbers, RunKey, Span, Ticket};

/// One machine on a bench.
#[derive(Debug)]
pub struct Rig<M: Machine> {
    /// The host's clocks.
    pub clock: Clock,
    /// The host's disk.
    pub disk: PageCache,
    machine: Option<M>,
    image: M::Image,
    key: RunKey,
    entity: u64,
    numbers: Numbers,
    effects: Vec<Effect<M>>,
    syncs: Vec<Ticket>,
    turns: Vec<(Lane, M::Work)>,
}

impl<M: Machine> Rig<M> {
    /// A host with an empty disk and no process. `entity` names the host in draws.
    pub fn new(image: M::Image, entity: u64) -> Self {
        Self {
            clock: Clock { now: Instant::from_nanos(1_000_000_000), wall_offset_ms: 1_700_000_000_000 },
            disk: PageCache::new(Metadata::Journaled),
            machine: None,
            image,
            key: RunKey([entity, 0x5EED]),
            entity,
            numbers: Numbers::default(),
            effects: Vec::new(),
            syncs: Vec::new(),
            turns: Vec::new(),
        }
    }

    /// Starts the process; panics if it runs already.
    pub fn boot(&mut self) {
        assert!(self.machine.is_none(), "the process runs already");
        let image = self.image.clone();
        let machine = self.with_io(|_, io| M::boot(&image, io));
        self.machine = Some(machine);
        self.at_rest();
    }

    /// The machine; panics if none runs.
    #[must_use]
    pub fn machine(&self) -> &M {
        self.machine.as_ref().expect("a process runs")
    }

    /// Feeds one input; panics if no process runs. Deferred items are kept until [`Rig::turn`] or [`Rig::settle`].
    pub fn feed(&mut self, input: InputOf<M>) {
        let mut machine = self.machine.take().expect("a process runs");
        self.with_io(|_, io| machine.handle(input, io));
        self.machine = Some(machine);
        self.at_rest();
    }

    /// Gives the oldest deferred item of any lane its turn; false if there is none.
    pub fn turn(&mut self) -> bool {
        if self.turns.is_empty() {
            return false;
        }
        let (lane, work) = self.turns.remove(0);
        self.feed(Input::Turn { lane, work });
        true
    }

    /// Gives every deferred item its turn and finishes every sync, until nothing is left of either.
    pub fn settle(&mut self) {
        while self.turn() || self.finish_syncs() {}
    }

    /// Finishes every sync that was begun, in order; false if there was none.
    pub fn finish_syncs(&mut self) -> bool {
        let syncs = std::mem::take(&mut self.syncs);
        for &ticket in &syncs {
            self.disk.harden(ticket);
            if self.machine.is_some() {
                self.feed(Input::Durable { ticket, result: Ok(()) });
            }
        }
        !syncs.is_empty()
    }

    /// Syncs begun and not finished, oldest first.
    #[must_use]
    pub fn pending_syncs(&self) -> &[Ticket] {
        &self.syncs
    }

    /// Lets time pass, waking the machine at each deadline on the way. Deferred items and syncs wait.
    pub fn advance(&mut self, span: Span) {
        let until = self.clock.now + span;
        while let Some(wake) = self.machine.as_ref().and_then(Machine::next_wake).filter(|&wake| wake <= until) {
            self.clock.now = self.clock.now.max(wake);
            self.feed(Input::Woken);
        }
        self.clock.now = until;
    }

    /// Stops the process for so long: what became due meanwhile is due at once when it goes on.
    pub fn sleep(&mut self, span: Span) {
        self.clock.now = self.clock.now + span;
        self.advance(Span::ZERO);
    }

    /// Takes the effects of the steps so far; `Sync`, `Defer` and `Spend` are kept by the rig itself and left out.
    pub fn take_effects(&mut self) -> Vec<Effect<M>> {
        std::mem::take(&mut self.effects)
    }

    /// The process dies; the page cache stays.
    pub fn kill(&mut self) {
        self.machine = None;
        self.turns.clear();
        self.effects.clear();
    }

    /// The host loses power: the process dies and the disk is left as the crash model decides.
    pub fn lose_power(&mut self, model: CrashModel, draw: &mut Draw) {
        self.kill();
        self.syncs.clear();
        self.disk.lose_power(model, draw);
    }

    /// Lends the host to something that is not the machine: a part under test, or a test's own writes.
    pub fn with_io<R>(&mut self, to: impl FnOnce(&M::Image, &mut Io<'_, M>) -> R) -> R {
        let mut out = Vec::new();
        let result = to(
            &self.image,
            &mut Io::new(self.clock, self.key, self.entity, &mut self.disk, &mut self.numbers, &mut out),
        );
        for effect in out {
            match effect {
                Effect::Sync { ticket, .. } => self.syncs.push(ticket),
                Effect::Defer { lane, work } => self.turns.push((lane, work)),
                Effect::Spend { .. } => {}
                other @ (Effect::Connect { .. }
                | Effect::Listen { .. }
                | Effect::Unlisten { .. }
                | Effect::Send { .. }
                | Effect::Datagram { .. }
                | Effect::Close { .. }
                | Effect::Exit { .. }
                | Effect::State(_)
                | Effect::Reach(_)) => self.effects.push(other),
            }
        }
        result
    }

    fn at_rest(&self) {
        let machine = self.machine.as_ref().expect("a process runs");
        machine.check_invariants();
    }
}
