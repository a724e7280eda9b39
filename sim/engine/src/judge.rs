//! Judges: observers that hold what the engine saw, and what machines state, against rules.
//!
//! The engine tells a judge what it sees itself (messages, writes, syncs, connections, crashes), in order, and the facts
//! that only a machine knows. A judge answers with violations, and with *situations*: facts over several machines that
//! may trigger rules like any other.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use machine::disk::{DiskError, PageCache, SyncTarget};
use machine::{Digest, Draw, EndId, HostId, Incarnation, Instant, Loss, Machine, Port, Ticket, Value};

use crate::{Core, Fault, Hosts};

/// What observes a world: one struct of the scenario's, beside the hosts.
pub trait Judges<M: Machine>: Clone {
    /// Something was seen. Called in the order in which things happen.
    fn observe(&mut self, seen: &Seen<'_, M>, findings: &mut Findings);

    /// A step is over: all hosts, read-only, and which one was stepped.
    fn inspect(&mut self, step: &Step, hosts: &Hosts<'_, M>, findings: &mut Findings);

    /// Who has a role at this instant; `None` if nobody has, or there is no such role.
    fn role(&self, name: &str) -> Option<HostId>;

    /// Why a fault must not strike these hosts now, if the world is to be able to recover; `None` if it may. Asked before each
    /// fault of a run with a budget ([`Options::budgeted`](crate::Options)).
    fn refuses(&self, now: Instant, fault: &Fault, targets: &[HostId], hosts: &Hosts<'_, M>) -> Option<String> {
        let _ = (now, fault, targets, hosts);
        None
    }

    /// What has not converged yet, in words; `None` if everything has. Asked while the world settles. What stands before a colon is a
    /// title: two worlds that lack what has the same title are taken for the same failure.
    fn pending(&mut self, now: Instant, hosts: &Hosts<'_, M>) -> Option<String>;

    /// Draws a part of the world that must get on alone; `None` if there is no such part. Asked when the faults are over, of a run
    /// that has such a phase.
    fn core(&self, draw: &mut Draw, hosts: &Hosts<'_, M>) -> Option<Core> {
        let _ = (draw, hosts);
        None
    }

    /// What has not converged yet in a core, in words; `None` if everything in it has.
    fn pending_in(&mut self, core: &Core, now: Instant, hosts: &Hosts<'_, M>) -> Option<String> {
        let _ = (core, now, hosts);
        None
    }

    /// Why nobody can promise that this core converges, read off its state; `None` if it must.
    fn core_excuse(&self, core: &Core, hosts: &Hosts<'_, M>) -> Option<String> {
        let _ = (core, hosts);
        None
    }

    /// How much was done that somebody wanted: operations, records, never attempts. More is better, the first number counts most.
    fn progress(&self) -> Vec<u64> {
        Vec::new()
    }

    /// What the hosts are to each other, in words without counters, epochs and times: a world whose shapes come again and again is
    /// stuck.
    fn shape(&self, hosts: &Hosts<'_, M>) -> String {
        let _ = hosts;
        String::new()
    }

    /// The run is over and nothing is pending: the last look.
    fn finish(&mut self, now: Instant, hosts: &Hosts<'_, M>, findings: &mut Findings);
}

/// Judges nothing.
impl<M: Machine> Judges<M> for () {
    fn observe(&mut self, _: &Seen<'_, M>, _: &mut Findings) {}

    fn inspect(&mut self, _: &Step, _: &Hosts<'_, M>, _: &mut Findings) {}

    fn role(&self, _: &str) -> Option<HostId> {
        None
    }

    fn pending(&mut self, _: Instant, _: &Hosts<'_, M>) -> Option<String> {
        None
    }

    fn finish(&mut self, _: Instant, _: &Hosts<'_, M>, _: &mut Findings) {}
}

/// One step of one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The world's time.
    pub at: Instant,
    /// The event that was delivered.
    pub event: u64,
    /// Who was stepped.
    pub host: HostId,
}

/// Something the engine saw.
#[derive(Debug)]
pub struct Seen<'a, M: Machine> {
    /// The world's time.
    pub at: Instant,
    /// The event during which, or after which, it happened.
    pub event: u64,
    /// The host it happened on.
    pub host: HostId,
    /// What.
    pub what: SeenWhat<'a, M>,
}

/// What the engine saw.
#[derive(Debug)]
pub enum SeenWhat<'a, M: Machine> {
    /// The machine states a fact.
    Stated {
        /// The fact.
        fact: &'a M::Fact,
    },
    /// A message leaves on a connection.
    Sent {
        /// To whom.
        to: HostId,
        /// On which end of the sender's.
        on: EndId,
        /// The message.
        message: &'a M::Message,
    },
    /// A message is delivered to the machine, which has not handled it yet.
    Delivered {
        /// From whom.
        from: HostId,
        /// On which end of the receiver's.
        on: EndId,
        /// The message.
        message: &'a M::Message,
    },
    /// A datagram leaves.
    DatagramSent {
        /// To whom.
        to: HostId,
        /// The message.
        message: &'a M::Message,
    },
    /// A datagram is delivered.
    DatagramDelivered {
        /// From whom.
        from: HostId,
        /// The message.
        message: &'a M::Message,
    },
    /// Bytes were written to the page cache.
    Wrote {
        /// The file.
        path: &'a str,
        /// Where.
        offset: u64,
        /// What.
        bytes: &'a Bytes,
    },
    /// A file was cut or extended.
    Resized {
        /// The file.
        path: &'a str,
        /// Its length now.
        to: u64,
    },
    /// A file has another name.
    Renamed {
        /// The old name.
        from: &'a str,
        /// The new name.
        to: &'a str,
    },
    /// A file was removed.
    Removed {
        /// The file.
        path: &'a str,
    },
    /// An empty file was created.
    Created {
        /// The file.
        path: &'a str,
    },
    /// A sync was asked.
    SyncAsked {
        /// Its ticket.
        ticket: Ticket,
        /// Of what.
        target: SyncTarget,
    },
    /// A sync completed on the device, even if the process that asked is dead.
    Durable {
        /// Its ticket.
        ticket: Ticket,
        /// How.
        result: Result<(), DiskError>,
    },
    /// A process is about to start.
    Booted {
        /// Its life.
        incarnation: Incarnation,
        /// What it finds.
        disk: &'a PageCache,
    },
    /// The process ended by itself.
    Exited {
        /// Its status, zero for success.
        status: i32,
    },
    /// The process was ended.
    Crashed {
        /// By a loss of power.
        power: bool,
        /// With the power the disk went too: the one that is there now is another, and empty.
        replaced: bool,
        /// What the crash left.
        disk: &'a PageCache,
    },
    /// The process, or the host, stopped.
    Paused,
    /// It goes on.
    Resumed,
    /// A connection was dialled.
    Dialled {
        /// The dialer's end.
        on: EndId,
        /// Whom.
        to: HostId,
        /// Which port.
        port: Port,
    },
    /// A dialled connection is open.
    Opened {
        /// The dialer's end.
        on: EndId,
    },
    /// A connection was accepted.
    Accepted {
        /// The acceptor's end.
        on: EndId,
        /// Which port.
        port: Port,
        /// Who dialled.
        peer: HostId,
    },
    /// A dialled connection was refused.
    Refused {
        /// The dialer's end.
        on: EndId,
    },
    /// A connection is gone.
    Lost {
        /// The end.
        on: EndId,
        /// Why.
        why: Loss,
    },
    /// The machine closed an end.
    Closed {
        /// The end.
        on: EndId,
    },
    /// A fault struck. `host` of the [`Seen`] is its first target, or host 0 if it has none.
    Struck {
        /// The rule's index in the schedule; `None` for one injected by hand.
        rule: Option<usize>,
        /// What.
        fault: &'a Fault,
        /// Whom it names, resolved; empty if nobody.
        targets: &'a [HostId],
    },
}

impl<M: Machine> Clone for Seen<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

// Not derived: references are `Copy` whatever the machine is.
impl<M: Machine> Copy for Seen<'_, M> {}

impl<M: Machine> Clone for SeenWhat<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Machine> Copy for SeenWhat<'_, M> {}

/// The value of a field of a situation, or of a recorded fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldValue {
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A number shown in hexadecimal.
    Hex(u64),
    /// Text.
    Text(String),
    /// Yes or no.
    Flag(bool),
}

impl FieldValue {
    pub(crate) fn as_value(&self) -> Value<'_> {
        match self {
            Self::Int(v) => Value::Int(*v),
            Self::Uint(v) => Value::Uint(*v),
            Self::Hex(v) => Value::Hex(*v),
            Self::Text(v) => Value::Text(v),
            Self::Flag(v) => Value::Flag(*v),
        }
    }
}

/// A fact over several machines, stated by an observer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Situation {
    /// Its kind.
    pub kind: &'static str,
    /// Its fields.
    pub fields: Vec<(&'static str, FieldValue)>,
}

/// What judges have to say.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub(crate) violations: Vec<Violation>,
    pub(crate) situations: Vec<Situation>,
}

impl Findings {
    /// Nothing found yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A rule is broken.
    pub fn violation(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    /// A situation has arisen; it triggers rules like a fact, of the host that was stepped.
    pub fn situation(&mut self, kind: &'static str, fields: Vec<(&'static str, FieldValue)>) {
        self.situations.push(Situation { kind, fields });
    }

    /// The violations so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The situations that were not handed on yet.
    #[must_use]
    pub fn situations(&self) -> &[Situation] {
        &self.situations
    }
}

/// What a witness of a violation is for its story.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// The promise that was broken: an acknowledgement, a served read, a granted lock.
    Promise,
    /// The earliest step that was wrong.
    FirstWrongStep,
    /// Where it was detected.
    Detected,
    /// What else one must know.
    Other,
}

/// One event of the story of a violation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// The event.
    pub event: u64,
    /// When.
    pub at: Instant,
    /// Who.
    pub host: Option<HostId>,
    /// What happened, with the values that matter.
    pub note: String,
    /// What it is for the story.
    pub part: Part,
}

/// A broken rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Id of the rule, such as `C11`.
    pub invariant: &'static str,
    /// Its name, such as `history-agreement`.
    pub name: &'static str,
    /// One sentence with values.
    pub headline: String,
    /// The story, in order.
    pub witnesses: Vec<Witness>,
    /// Whose fault it seems to be.
    pub host: Option<HostId>,
    /// When it was detected.
    pub at: Instant,
    /// By which event.
    pub event: u64,
    /// What makes two violations the same one, beside the invariant: roles and kinds, never ids, times or numbers.
    pub signature_parts: Vec<String>,
}

impl Violation {
    /// Equal for two violations that are the same bug as far as one can tell. Shrinking accepts only the same one.
    #[must_use]
    pub fn signature(&self) -> u64 {
        let mut digest = Digest::new();
        digest.text(self.invariant);
        for part in &self.signature_parts {
            digest.text(part);
        }
        digest.value()
    }
}

/// A judge with a history, for a list of them: held in [`Kept`], copied on its first write after a fork.
pub trait Judge<M: Machine>: Debug + Send + Sync {
    /// Something was seen.
    fn observe(&mut self, seen: &Seen<'_, M>, findings: &mut Findings);

    /// A step is over.
    fn inspect(&mut self, step: &Step, hosts: &Hosts<'_, M>, findings: &mut Findings);

    /// A copy of its own for a fork. (`Arc::make_mut` cannot copy what is `dyn`.)
    fn fork(&self) -> Arc<dyn Judge<M>>;
}

/// A judge that forks share until one of them writes.
#[derive(Debug)]
pub struct Kept<M: Machine>(Arc<dyn Judge<M>>);

impl<M: Machine> Clone for Kept<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Machine> Kept<M> {
    /// Keeps a judge.
    pub fn new(judge: impl Judge<M> + 'static) -> Self {
        Self(Arc::new(judge))
    }

    /// The judge, to write to; copied first if a fork shares it.
    pub fn to_mut(&mut self) -> &mut dyn Judge<M> {
        if Arc::get_mut(&mut self.0).is_none() {
            self.0 = self.0.fork();
        }
        Arc::get_mut(&mut self.0).expect("a copy of one's own is not shared")
    }
}
