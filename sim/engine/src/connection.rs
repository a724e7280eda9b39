//! The connection table: flat and `Copy`, because it is in every fork. Segments that a cut holds are kept apart.
//!
//! ```text
//!   dialer            acceptor
//!   Opening ── SYN ──▶ (port open?)  no: RST ──▶ dialer Refused
//!   Open ◀── SYN/ACK ─ Accepting
//!        ─── ACK ────▶ Open                      data, FIN and RST from here on, in order per direction
//! ```
//!
//! A slot is freed when both sides are done with it; its generation then changes, and whatever is still under way for
//! the old one is dropped. A side that lost power is `Gone` while its peer may stay `Open` for ever: half-open.

use std::collections::BTreeMap;

use machine::{EndId, HostId, Instant, Port};

/// Where one side of a connection stands, as its kernel knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SideState {
    /// Acceptor, before the SYN arrived.
    Absent,
    /// Dialer, before the SYN/ACK arrived.
    Opening,
    /// Acceptor, before the ACK of its SYN/ACK arrived.
    Accepting,
    /// Data flows.
    Open,
    /// Its process closed it: a FIN is under way.
    Closed,
    /// Its kernel has forgotten it, or has told its process that it is lost: segments are answered with a reset.
    Gone,
}

impl SideState {
    const fn is_done(self) -> bool {
        match self {
            Self::Absent | Self::Closed | Self::Gone => true,
            Self::Opening | Self::Accepting | Self::Open => false,
        }
    }
}

/// One side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) host: HostId,
    /// The end its machine knows it by; zero while it has none.
    pub(crate) end: EndId,
    pub(crate) state: SideState,
    /// Segments of this direction that are held.
    pub(crate) held: u32,
    /// Reliable segments sent from this side: the index of their draws.
    pub(crate) sent: u32,
    /// The number of the next of them that the other side may be given.
    pub(crate) next: u32,
    /// When the last of them arrives: none may overtake it.
    pub(crate) last_arrival: Instant,
}

/// Which side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Role {
    Dialer,
    Acceptor,
}

impl Role {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}

/// A slot of the table and the generation it had: what everything that is under way names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SlotId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    generation: u32,
    in_use: bool,
    pub(crate) port: Port,
    /// SYNs sent so far.
    pub(crate) attempts: u32,
    /// So many active faults let it pass nothing.
    pub(crate) silenced: u32,
    pub(crate) dialer: Side,
    pub(crate) acceptor: Side,
}

impl Connection {
    pub(crate) const fn side(&self, role: Role) -> &Side {
        match role {
            Role::Dialer => &self.dialer,
            Role::Acceptor => &self.acceptor,
        }
    }

    pub(crate) const fn side_mut(&mut self, role: Role) -> &mut Side {
        match role {
            Role::Dialer => &mut self.dialer,
            Role::Acceptor => &mut self.acceptor,
        }
    }

    /// Names one direction in draws: the dialer's host and end never occur twice in a run.
    pub(crate) fn entity(&self, from: Role) -> u64 {
        let direction = match from {
            Role::Dialer => 0,
            Role::Acceptor => 1,
        };
        (u64::from(self.dialer.host.0) << 33) | (u64::from(self.dialer.end.0) << 1) | direction
    }
}

/// What travels on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Segment<T> {
    Syn,
    SynAck,
    Ack,
    Data(T),
    Fin,
    Rst,
}

/// A segment that could not pass, in the sender's kernel.
#[derive(Clone, Debug)]
pub(crate) struct Held<T> {
    pub(crate) number: u32,
    /// When it was first sent in vain: its retransmissions count from here.
    pub(crate) since: Instant,
    pub(crate) cause: u64,
    pub(crate) segment: Segment<T>,
}

/// All connections of a world.
#[derive(Clone, Debug)]
pub(crate) struct Connections<T> {
    table: Vec<Connection>,
    free: Vec<u32>,
    held: BTreeMap<(u32, Role), Vec<Held<T>>>,
}

impl<T> Default for Connections<T> {
    fn default() -> Self {
        Self { table: Vec::new(), free: Vec::new(), held: BTreeMap::new() }
    }
}

impl<T> Connections<T> {
    /// A new connection, dialled.
    pub(crate) fn dial(&mut self, from: HostId, end: EndId, to: HostId, port: Port) -> SlotId {
        let side = |host, end, state| Side { host, end, state, held: 0, sent: 0, next: 0, last_arrival: Instant::ZERO };
        let mut connection = Connection {
            generation: 0,
            in_use: true,
            port,
            attempts: 0,
            silenced: 0,
            dialer: side(from, end, SideState::Opening),
            acceptor: side(to, EndId(0), SideState::Absent),
        };
        if let Some(slot) = self.free.pop() {
            let place = &mut self.table[slot as usize];
            assert!(!place.in_use, "a free slot is not in use");
            connection.generation = place.generation;
            *place = connection;
            return SlotId { slot, generation: connection.generation };
        }
        let slot = u32::try_from(self.table.len()).expect("fewer than 2^32 connections");
        self.table.push(connection);
        SlotId { slot, generation: 0 }
    }

    /// The connection, unless that life of the slot is over.
    #[inline]
    pub(crate) fn live(&mut self, id: SlotId) -> Option<&mut Connection> {
        let connection = &mut self.table[id.slot as usize];
        (connection.in_use && connection.generation == id.generation).then_some(connection)
    }

    /// Every side of a live connection that is on `host` and not done.
    pub(crate) fn sides_on(&self, host: HostId) -> Vec<(SlotId, Role)> {
        let mut sides = Vec::new();
        for (slot, connection) in (0_u32..).zip(&self.table) {
            for role in [Role::Dialer, Role::Acceptor] {
                let side = connection.side(role);
                if connection.in_use && side.host == host && !side.state.is_done() {
                    sides.push((SlotId { slot, generation: connection.generation }, role));
                }
            }
        }
        sides
    }

    /// Every open connection between the two hosts.
    pub(crate) fn between(&self, a: HostId, b: HostId) -> Vec<SlotId> {
        let is_open = |connection: &Connection| {
            let hosts = (connection.dialer.host, connection.acceptor.host);
            connection.in_use && (hosts == (a, b) || hosts == (b, a))
        };
        (0_u32..)
            .zip(&self.table)
            .filter(|(_, connection)| is_open(connection))
            .map(|(slot, connection)| SlotId { slot, generation: connection.generation })
            .collect()
    }

    /// Every connection between the two that is open on both sides.
    pub(crate) fn open_between(&self, a: HostId, b: HostId) -> Vec<SlotId> {
        let is_open = |id: &SlotId| {
            let connection = &self.table[id.slot as usize];
            connection.dialer.state == SideState::Open && connection.acceptor.state == SideState::Open
        };
        self.between(a, b).into_iter().filter(is_open).collect()
    }

    /// One side is done; frees the slot if that was the last. Panics if the connection's life is over.
    pub(crate) fn finish(&mut self, id: SlotId, role: Role, state: SideState) {
        assert!(state.is_done(), "a side is finished into a state that is done");
        let connection = self.live(id).expect("the connection lives");
        connection.side_mut(role).state = state;
        if connection.dialer.state.is_done() && connection.acceptor.state.is_done() {
            connection.in_use = false;
            connection.generation += 1;
            let held = connection.dialer.held + connection.acceptor.held;
            self.free.push(id.slot);
            if held > 0 {
                self.held.remove(&(id.slot, Role::Dialer));
                self.held.remove(&(id.slot, Role::Acceptor));
            }
        }
    }

    /// Keeps a segment until it may pass, in the order of its number.
    pub(crate) fn hold(&mut self, id: SlotId, from: Role, held: Held<T>) {
        self.live(id).expect("the connection lives").side_mut(from).held += 1;
        let line = self.held.entry((id.slot, from)).or_default();
        let at = line.partition_point(|other| other.number < held.number);
        line.insert(at, held);
    }

    /// Directions that hold something.
    pub(crate) fn holding(&self) -> Vec<(SlotId, Role)> {
        let id = |slot: u32| SlotId { slot, generation: self.table[slot as usize].generation };
        self.held.keys().map(|&(slot, role)| (id(slot), role)).collect()
    }

    /// Takes what a direction holds, in order.
    pub(crate) fn take_held(&mut self, id: SlotId, from: Role) -> Vec<Held<T>> {
        if let Some(connection) = self.live(id) {
            connection.side_mut(from).held = 0;
        }
        self.held.remove(&(id.slot, from)).unwrap_or_default()
    }
}
