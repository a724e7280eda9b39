//! The enum of machines: a one-line arm per machine; a missing arm does not compile.

use clients::{ClientFact, ZkWorkload, ZkWorkloadImage};
use coordinator::{Coordinator, ServerConfig};
use machine::{Describe, Digest, EndId, Input, InputOf, Instant, Io, Lane, Machine, Narrow, Never, Value, Vocabulary};
use serde::Serialize;

use crate::Packet;

/// A machine of this world.
#[derive(Clone, Debug)]
pub enum Node {
    /// A ZooKeeper server.
    Coordinator(Box<Coordinator>),
    /// A client with one of the ZooKeeper workloads.
    ZkWorkload(Box<ZkWorkload>),
}

/// What a machine of this world is made from.
#[derive(Clone, Debug)]
pub enum Image {
    /// A ZooKeeper server's configuration.
    Coordinator(Box<ServerConfig>),
    /// A workload's.
    ZkWorkload(ZkWorkloadImage),
}

/// What a machine of this world defers to itself.
#[derive(Clone, Debug)]
pub enum Work {
    /// A step of a ZooKeeper server.
    Coordinator(coordinator::Work),
}

/// What a machine of this world states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A ZooKeeper server does.
    Coordinator(coordinator::Fact),
    /// A workload does, or the ZooKeeper client inside it.
    ZkWorkload(ClientFact),
}

/// What an inspector is shown of a machine of this world.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum View {
    /// A ZooKeeper server.
    Coordinator(<Coordinator as Machine>::View),
    /// A workload.
    ZkWorkload(<ZkWorkload as Machine>::View),
}

impl Vocabulary for Node {
    type Message = Packet;
    type Work = Work;
    type Fact = Fact;
}

impl Node {
    /// The ZooKeeper server, if it is one.
    #[must_use]
    pub fn as_coordinator(&self) -> Option<&Coordinator> {
        match self {
            Self::Coordinator(machine) => Some(machine),
            Self::ZkWorkload(_) => None,
        }
    }

    /// The workload, if it is one.
    #[must_use]
    pub fn as_zk_workload(&self) -> Option<&ZkWorkload> {
        match self {
            Self::ZkWorkload(machine) => Some(machine),
            Self::Coordinator(_) => None,
        }
    }
}

/// An input that is not for the machine it reached.
enum Stray {
    /// Somebody dialled the wrong port.
    Message(EndId),
    /// A datagram: nobody here speaks them.
    Datagram,
    /// Work of another machine: the testbed's fault.
    Work,
}

fn narrow<M: Machine>(input: InputOf<Node>) -> Result<InputOf<M>, Stray>
where
    M::Message: Narrow<Packet>,
    M::Work: Narrow<Work>,
{
    Ok(match input {
        Input::Woken => Input::Woken,
        Input::Message { on, message } => {
            Input::Message { on, message: M::Message::narrow(message).map_err(|_| Stray::Message(on))? }
        }
        Input::Datagram { .. } => return Err(Stray::Datagram),
        Input::Opened { on } => Input::Opened { on },
        Input::Accepted { on, port, peer } => Input::Accepted { on, port, peer },
        Input::Refused { on } => Input::Refused { on },
        Input::Lost { on, why } => Input::Lost { on, why },
        Input::Durable { ticket, result } => Input::Durable { ticket, result },
        Input::Turn { lane, work } => Input::Turn { lane, work: M::Work::narrow(work).map_err(|_| Stray::Work)? },
        Input::Terminate => Input::Terminate,
    })
}

fn run<M: Machine>(machine: &mut M, input: InputOf<Node>, io: &mut Io<'_, Node>)
where
    Packet: From<M::Message>,
    Work: From<M::Work>,
    Fact: From<M::Fact>,
    M::Message: Narrow<Packet>,
    M::Work: Narrow<Work>,
{
    match narrow::<M>(input) {
        Ok(input) => io.lend(|io| machine.handle(input, io)),
        Err(Stray::Message(on)) => io.close(on),
        Err(Stray::Datagram) => {}
        Err(Stray::Work) => unreachable!("work of another machine"),
    }
}

impl Machine for Node {
    type Image = Image;
    type View = View;

    fn boot(image: &Image, io: &mut Io<'_, Self>) -> Self {
        match image {
            Image::Coordinator(image) => Self::Coordinator(Box::new(io.lend(|io| Coordinator::boot(image, io)))),
            Image::ZkWorkload(image) => Self::ZkWorkload(Box::new(io.lend(|io| ZkWorkload::boot(image, io)))),
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match self {
            Self::Coordinator(machine) => run(machine.as_mut(), input, io),
            Self::ZkWorkload(machine) => run(machine.as_mut(), input, io),
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        match self {
            Self::Coordinator(machine) => machine.next_wake(),
            Self::ZkWorkload(machine) => machine.next_wake(),
        }
    }

    fn check_invariants(&self) {
        match self {
            Self::Coordinator(machine) => machine.check_invariants(),
            Self::ZkWorkload(machine) => machine.check_invariants(),
        }
    }

    fn view(&self) -> View {
        match self {
            Self::Coordinator(machine) => View::Coordinator(machine.view()),
            Self::ZkWorkload(machine) => View::ZkWorkload(machine.view()),
        }
    }

    fn digest(&self, into: &mut Digest) {
        match self {
            Self::Coordinator(machine) => machine.digest(into),
            Self::ZkWorkload(machine) => machine.digest(into),
        }
    }

    fn lane_name(lane: Lane) -> &'static str {
        // Workloads have no lanes.
        Coordinator::lane_name(lane)
    }
}

impl From<coordinator::Work> for Work {
    fn from(work: coordinator::Work) -> Self {
        Self::Coordinator(work)
    }
}

impl Narrow<Work> for coordinator::Work {
    fn narrow(wide: Work) -> Result<Self, Work> {
        match wide {
            Work::Coordinator(work) => Ok(work),
        }
    }
}

impl From<Never> for Work {
    fn from(work: Never) -> Self {
        match work {}
    }
}

impl Narrow<Work> for Never {
    fn narrow(wide: Work) -> Result<Self, Work> {
        Err(wide)
    }
}

impl From<coordinator::Fact> for Fact {
    fn from(fact: coordinator::Fact) -> Self {
        Self::Coordinator(fact)
    }
}

impl From<ClientFact> for Fact {
    fn from(fact: ClientFact) -> Self {
        Self::ZkWorkload(fact)
    }
}

/// Those of a server, then those of a client: a static list cannot be joined from two. A test compares.
const KINDS: &[&str] = &[
    "role-changed",
    "leader-elected",
    "epoch-accepted",
    "epoch-current",
    "leader-established",
    "synchronised",
    "sync-decided",
    "proposed",
    "committed",
    "applied",
    "session-created",
    "session-expired",
    "session-closed",
    "session-moved",
    "snapshot-written",
    "recovered",
    "refused-to-start",
    "leader-stepped-down",
    "learner-dropped",
    "learner-left",
    "truncated",
    "watch-fired",
    "client-connected",
    "client-session-moved",
    "client-disconnected",
    "client-session-expired",
    "client-session-closed",
    "watch-set",
    "watch-delivered",
    "watches-resent",
    "client-started",
    "op-invoked",
    "op-completed",
    "multi-result",
    "pair-read",
    "process-retired",
    "lock-acquired",
    "lock-released",
    "resource-write",
    "setup-done",
    "client-stopped",
    "probe-succeeded",
];

impl Describe for Fact {
    fn kinds() -> &'static [&'static str] {
        KINDS
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Coordinator(fact) => fact.kind(),
            Self::ZkWorkload(fact) => fact.kind(),
        }
    }

    fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'_>)) {
        match self {
            Self::Coordinator(fact) => fact.fields(visit),
            Self::ZkWorkload(fact) => fact.fields(visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientFact, Describe as _, Fact};

    #[test]
    fn kinds_are_those_of_servers_and_clients_and_no_name_means_two_things() {
        let mut joined = coordinator::Fact::kinds().to_vec();
        joined.extend_from_slice(ClientFact::kinds());
        assert_eq!(Fact::kinds(), joined);
        joined.sort_unstable();
        joined.dedup();
        assert_eq!(joined.len(), Fact::kinds().len());
    }
}
