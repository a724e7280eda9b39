//! What a machine is lent for the length of one input, and the effects it leaves behind.

use std::fmt::Debug;

use crate::disk::{Disk, FileId, SyncTarget};
use crate::{
    Address, Draw, EndId, Instant, Lane, Mark, Numbers, Port, Purpose, RunKey, Span, Ticket, Vocabulary, WallMillis,
};

/// What a machine asks for. Applied in order when its step is over.
#[derive(Clone, Debug)]
pub enum Effect<V: Vocabulary> {
    /// Dial `to`; the answer is `Opened` or `Refused`, or silence.
    Connect {
        /// This side's end, known at once.
        end: EndId,
        /// Where to.
        to: Address,
    },
    /// Accept connections on a port.
    Listen {
        /// The port.
        port: Port,
    },
    /// No longer accept connections on a port; those that are open stay.
    Unlisten {
        /// The port.
        port: Port,
    },
    /// Send on an open end. On an end lost meanwhile: silently nothing.
    Send {
        /// The end.
        on: EndId,
        /// The message.
        message: V::Message,
    },
    /// Send without a connection: it may be lost, doubled or overtaken.
    Datagram {
        /// Where to.
        to: Address,
        /// The message.
        message: V::Message,
    },
    /// Close an end; what was sent on it before is still delivered.
    Close {
        /// The end.
        end: EndId,
    },
    /// A sync was begun; its ticket comes back as `Durable`.
    Sync {
        /// The ticket.
        ticket: Ticket,
        /// What becomes durable.
        target: SyncTarget,
    },
    /// Work for a lane, behind what is already there.
    Defer {
        /// The lane.
        lane: Lane,
        /// The item.
        work: V::Work,
    },
    /// CPU time: delays the lane's *next* item, never the effects of this step.
    Spend {
        /// The lane.
        lane: Lane,
        /// How long.
        time: Span,
    },
    /// The process ends; nothing after it in this step takes effect.
    Exit {
        /// Exit status, zero for success.
        status: i32,
    },
    /// A fact for observers.
    State(V::Fact),
    /// A mark was reached.
    Reach(&'static str),
}

/// Takes effects in order.
pub trait Outbox<V: Vocabulary> {
    /// Appends an effect.
    fn push(&mut self, effect: Effect<V>);
}

impl<V: Vocabulary> Outbox<V> for Vec<Effect<V>> {
    fn push(&mut self, effect: Effect<V>) {
        Self::push(self, effect);
    }
}

/// The host's clocks, read once per step.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The monotonic clock: it may drift, it never jumps.
    pub now: Instant,
    /// What the calendar clock adds to the monotonic one, in milliseconds: it may jump.
    pub wall_offset_ms: i64,
}

/// What a machine is lent while it handles one input.
pub struct Io<'a, V: Vocabulary> {
    clock: Clock,
    key: RunKey,
    entity: u64,
    disk: &'a mut dyn Disk,
    numbers: &'a mut Numbers,
    out: &'a mut dyn Outbox<V>,
}

impl<V: Vocabulary> Debug for Io<'_, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").field("clock", &self.clock).field("entity", &self.entity).finish_non_exhaustive()
    }
}

impl<'a, V: Vocabulary> Io<'a, V> {
    /// Lends a host. `entity` names the host in draws.
    pub fn new(
        clock: Clock,
        key: RunKey,
        entity: u64,
        disk: &'a mut dyn Disk,
        numbers: &'a mut Numbers,
        out: &'a mut dyn Outbox<V>,
    ) -> Self {
        Self { clock, key, entity, disk, numbers, out }
    }

    /// The host's monotonic clock.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.clock.now
    }

    /// The host's calendar clock.
    #[must_use]
    #[expect(clippy::cast_possible_wrap, reason = "milliseconds of a u64 of nanoseconds fit i64")]
    pub const fn wall_clock(&self) -> WallMillis {
        WallMillis(self.clock.now.as_millis() as i64 + self.clock.wall_offset_ms)
    }

    /// The host's page cache.
    pub fn disk(&mut self) -> &mut dyn Disk {
        self.disk
    }

    /// Draws for a purpose; the index is counted per host and purpose, over all incarnations.
    pub fn draw(&mut self, purpose: Purpose) -> Draw {
        let index = self.numbers.draw_index(purpose);
        self.key.draw(purpose, self.entity, index)
    }

    /// Dials; returns this side's end at once.
    pub fn connect(&mut self, to: Address) -> EndId {
        let end = self.numbers.end();
        self.out.push(Effect::Connect { end, to });
        end
    }

    /// Accepts connections on a port.
    pub fn listen(&mut self, port: Port) {
        self.out.push(Effect::Listen { port });
    }

    /// No longer accepts connections on a port.
    pub fn unlisten(&mut self, port: Port) {
        self.out.push(Effect::Unlisten { port });
    }

    /// Sends on an end. On an end lost meanwhile: silently nothing; the machine has, or will get, `Lost`.
    pub fn send(&mut self, on: EndId, message: impl Into<V::Message>) {
        self.out.push(Effect::Send { on, message: message.into() });
    }

    /// Sends without a connection.
    pub fn send_datagram(&mut self, to: Address, message: impl Into<V::Message>) {
        self.out.push(Effect::Datagram { to, message: message.into() });
    }

    /// Closes an end; what was sent on it before is still delivered. The closer gets no `Lost`.
    pub fn close(&mut self, end: EndId) {
        self.out.push(Effect::Close { end });
    }

    /// Asks that what was written to `file` so far become durable; the answer is `Durable` with this ticket.
    pub fn sync(&mut self, file: FileId) -> Ticket {
        self.begin_sync(SyncTarget::File(file))
    }

    /// Asks that creations, renames and removals so far become durable; the answer is `Durable` with this ticket.
    pub fn sync_directory(&mut self) -> Ticket {
        self.begin_sync(SyncTarget::Directory)
    }

    fn begin_sync(&mut self, target: SyncTarget) -> Ticket {
        let ticket = self.numbers.ticket();
        // At once, not when the effect is applied: what this step still writes is not covered.
        self.disk.begin_sync(target, ticket);
        self.out.push(Effect::Sync { ticket, target });
        ticket
    }

    /// Defers an item to a lane.
    pub fn defer(&mut self, lane: Lane, work: impl Into<V::Work>) {
        self.out.push(Effect::Defer { lane, work: work.into() });
    }

    /// Spends CPU time on a lane: its *next* item waits. Who answers after the work defers the answer.
    pub fn spend(&mut self, lane: Lane, time: Span) {
        if time > Span::ZERO {
            self.out.push(Effect::Spend { lane, time });
        }
    }

    /// Ends the process; nothing after it in this step takes effect.
    pub fn exit(&mut self, status: i32) {
        self.out.push(Effect::Exit { status });
    }

    /// States a fact.
    pub fn state(&mut self, fact: impl Into<V::Fact>) {
        self.out.push(Effect::State(fact.into()));
    }

    /// Reaches a mark.
    pub fn reach(&mut self, mark: impl Mark) {
        self.out.push(Effect::Reach(mark.name()));
    }

    /// Lends this host on to a part with a narrower vocabulary: its effects widen by `From` on the way.
    ///
    /// What the parent must know comes back as the return value; facts are for observers only.
    pub fn lend<S: Vocabulary, R>(&mut self, to: impl FnOnce(&mut Io<'_, S>) -> R) -> R
    where
        V::Message: From<S::Message>,
        V::Work: From<S::Work>,
        V::Fact: From<S::Fact>,
    {
        let mut widen = Widen { out: self.out };
        to(&mut Io {
            clock: self.clock,
            key: self.key,
            entity: self.entity,
            disk: self.disk,
            numbers: self.numbers,
            out: &mut widen,
        })
    }
}

/// An outbox of a narrower vocabulary on top of a wider one.
struct Widen<'a, V: Vocabulary> {
    out: &'a mut dyn Outbox<V>,
}

impl<V: Vocabulary, S: Vocabulary> Outbox<S> for Widen<'_, V>
where
    V::Message: From<S::Message>,
    V::Work: From<S::Work>,
    V::Fact: From<S::Fact>,
{
    fn push(&mut self, effect: Effect<S>) {
        self.out.push(match effect {
            Effect::Connect { end, to } => Effect::Connect { end, to },
            Effect::Listen { port } => Effect::Listen { port },
            Effect::Unlisten { port } => Effect::Unlisten { port },
            Effect::Send { on, message } => Effect::Send { on, message: message.into() },
            Effect::Datagram { to, message } => Effect::Datagram { to, message: message.into() },
            Effect::Close { end } => Effect::Close { end },
            Effect::Sync { ticket, target } => Effect::Sync { ticket, target },
            Effect::Defer { lane, work } => Effect::Defer { lane, work: work.into() },
            Effect::Spend { lane, time } => Effect::Spend { lane, time },
            Effect::Exit { status } => Effect::Exit { status },
            Effect::State(fact) => Effect::State(fact.into()),
            Effect::Reach(mark) => Effect::Reach(mark),
        });
    }
}
