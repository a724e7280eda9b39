//! What a machine is fed.

use crate::disk::DiskError;
use crate::{EndId, HostId, Lane, Port, Ticket, Vocabulary};

/// Why an end was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The peer closed it (FIN): everything it sent before has been delivered.
    Closed,
    /// The peer's kernel reset it (RST): its process died, or the end is of an earlier life.
    Reset,
}

/// One input of a machine with these messages and this work.
#[derive(Clone, Debug)]
pub enum Input<Message, Work> {
    /// The instant of [`Machine::next_wake`](crate::Machine::next_wake) has come, or the engine merely looked in: with
    /// nothing due, a wake changes nothing.
    Woken,
    /// A message arrived.
    Message {
        /// On this end.
        on: EndId,
        /// The message.
        message: Message,
    },
    /// A datagram arrived: perhaps twice, late, or out of order.
    Datagram {
        /// Who sent it.
        from: HostId,
        /// The message.
        message: Message,
    },
    /// A connection this machine dialled is open.
    Opened {
        /// The end that `connect` returned.
        on: EndId,
    },
    /// Somebody dialled a port this machine listens on.
    Accepted {
        /// The new end.
        on: EndId,
        /// The port that was dialled.
        port: Port,
        /// Who dialled.
        peer: HostId,
    },
    /// Nobody listens where this machine dialled.
    Refused {
        /// The end that `connect` returned.
        on: EndId,
    },
    /// A connection is gone.
    Lost {
        /// The end that is gone.
        on: EndId,
        /// Why.
        why: Loss,
    },
    /// The answer to a `sync` or `sync_directory`.
    Durable {
        /// The ticket that the call returned.
        ticket: Ticket,
        /// After an error a later success proves nothing: the pages count as clean, and lost.
        result: Result<(), DiskError>,
    },
    /// A deferred item has its turn.
    Turn {
        /// The lane it was deferred to.
        lane: Lane,
        /// The item.
        work: Work,
    },
    /// The operator asks the process to end (SIGTERM).
    Terminate,
}

/// The input of a vocabulary.
pub type InputOf<V> = Input<<V as Vocabulary>::Message, <V as Vocabulary>::Work>;
