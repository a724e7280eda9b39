//! The enum of machines, as a scenario has it: inputs are narrowed, the host is lent on, effects are widened.

use machine::{
    Depth, Describe, Digest, Input, InputOf, Instant, Io, Lane, Machine, Narrow, Never, Payload, Port, Value,
    Vocabulary,
};

use crate::pingpong::{PingFact, PingImage, PingMessage, PingNode};
use crate::replicate::{LogImage, LogMessage, LogNode};
use crate::timers::{Heartbeat, TimerImage, TimerNode};

pub(crate) const PORT: Port = Port(1);

/// The machine of a node of any workload.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Ping(PingNode),
    Timer(TimerNode),
    Log(LogNode),
}

#[derive(Clone, Debug)]
pub(crate) enum Image {
    Ping(PingImage),
    Timer(TimerImage),
    Log(LogImage),
}

/// One variant per protocol.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Ping(PingMessage),
    Timer(Heartbeat),
    Log(LogMessage),
}

#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Ping(PingFact),
}

impl Vocabulary for Node {
    type Message = Packet;
    type Work = Never;
    type Fact = Fact;
}

macro_rules! protocol {
    ($message:ty, $variant:ident) => {
        impl From<$message> for Packet {
            fn from(message: $message) -> Self {
                Self::$variant(message)
            }
        }

        impl Narrow<Packet> for $message {
            fn narrow(wide: Packet) -> Result<Self, Packet> {
                match wide {
                    Packet::$variant(message) => Ok(message),
                    other => Err(other),
                }
            }
        }
    };
}

protocol!(PingMessage, Ping);
protocol!(Heartbeat, Timer);
protocol!(LogMessage, Log);

impl Payload for Packet {
    fn name(&self) -> &'static str {
        match self {
            Self::Ping(message) => message.name(),
            Self::Timer(message) => message.name(),
            Self::Log(message) => message.name(),
        }
    }

    fn wire_len(&self) -> u32 {
        match self {
            Self::Ping(message) => message.wire_len(),
            Self::Timer(message) => message.wire_len(),
            Self::Log(message) => message.wire_len(),
        }
    }

    fn digest(&self, depth: Depth, into: &mut Digest) {
        match self {
            Self::Ping(message) => message.digest(depth, into),
            Self::Timer(message) => message.digest(depth, into),
            Self::Log(message) => message.digest(depth, into),
        }
    }
}

impl From<PingFact> for Fact {
    fn from(fact: PingFact) -> Self {
        Self::Ping(fact)
    }
}

impl From<Never> for Fact {
    fn from(fact: Never) -> Self {
        match fact {}
    }
}

impl Describe for Fact {
    fn kinds() -> &'static [&'static str] {
        PingFact::kinds()
    }

    fn kind(&self) -> &'static str {
        let Self::Ping(fact) = self;
        fact.kind()
    }

    fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'_>)) {
        let Self::Ping(fact) = self;
        fact.fields(visit);
    }
}

/// The input, if it is one of that machine's.
fn narrow<M: Machine<Work = Never>>(input: InputOf<Node>) -> Option<InputOf<M>>
where
    M::Message: Narrow<Packet>,
{
    Some(match input {
        Input::Woken => Input::Woken,
        Input::Message { on, message } => Input::Message { on, message: M::Message::narrow(message).ok()? },
        Input::Datagram { from, message } => Input::Datagram { from, message: M::Message::narrow(message).ok()? },
        Input::Opened { on } => Input::Opened { on },
        Input::Accepted { on, port, peer } => Input::Accepted { on, port, peer },
        Input::Refused { on } => Input::Refused { on },
        Input::Lost { on, why } => Input::Lost { on, why },
        Input::Durable { ticket, result } => Input::Durable { ticket, result },
        Input::Turn { lane, work } => Input::Turn { lane, work },
        Input::Terminate => Input::Terminate,
    })
}

fn run<M: Machine<Work = Never>>(machine: &mut M, input: InputOf<Node>, io: &mut Io<'_, Node>)
where
    M::Message: Narrow<Packet>,
    Packet: From<M::Message>,
    Fact: From<M::Fact>,
{
    let input = narrow::<M>(input).expect("nobody dials another protocol's port");
    io.lend(|io| machine.handle(input, io));
}

impl Machine for Node {
    type Image = Image;
    type View = ();

    fn boot(image: &Image, io: &mut Io<'_, Self>) -> Self {
        match image {
            Image::Ping(image) => Self::Ping(io.lend(|io| PingNode::boot(image, io))),
            Image::Timer(image) => Self::Timer(io.lend(|io| TimerNode::boot(image, io))),
            Image::Log(image) => Self::Log(io.lend(|io| LogNode::boot(image, io))),
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match self {
            Self::Ping(machine) => run(machine, input, io),
            Self::Timer(machine) => run(machine, input, io),
            Self::Log(machine) => run(machine, input, io),
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        match self {
            Self::Ping(machine) => machine.next_wake(),
            Self::Timer(machine) => machine.next_wake(),
            Self::Log(machine) => machine.next_wake(),
        }
    }

    fn check_invariants(&self) {
        match self {
            Self::Ping(machine) => machine.check_invariants(),
            Self::Timer(machine) => machine.check_invariants(),
            Self::Log(machine) => machine.check_invariants(),
        }
    }

    fn view(&self) {}

    fn digest(&self, into: &mut Digest) {
        match self {
            Self::Ping(machine) => machine.digest(into),
            Self::Timer(machine) => machine.digest(into),
            Self::Log(machine) => machine.digest(into),
        }
    }

    fn lane_name(lane: Lane) -> &'static str {
        PingNode::lane_name(lane)
    }
}
