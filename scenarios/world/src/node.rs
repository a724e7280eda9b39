//! The enum of machines: a one-line arm per machine; a missing arm does not compile.

use std::sync::Arc;

use broker::fact::KafkaFact;
use broker::{Broker, BrokerImage};
use clients::kafka::{KafkaClient, KafkaClientFact, KafkaClientImage, KafkaWorkFact};
use clients::{ClientFact, WorkloadFact, ZkWorkload, ZkWorkloadImage};
use coordinator::{Coordinator, ServerConfig};
use machine::{Describe, Digest, EndId, Input, InputOf, Instant, Io, Lane, Machine, Narrow, Never, Value, Vocabulary};
use serde::Serialize;
use zkclient::ZkClientFact;

use crate::Packet;

/// A machine of this world.
#[derive(Clone, Debug)]
pub enum Node {
    /// A ZooKeeper server.
    Coordinator(Box<Coordinator>),
    /// A Kafka broker.
    Broker(Box<Broker>),
    /// A client with one of the ZooKeeper workloads.
    ZkWorkload(Box<ZkWorkload>),
    /// A client of Kafka.
    KafkaClient(Box<KafkaClient>),
}

/// What a machine of this world is made from.
#[derive(Clone, Debug)]
pub enum Image {
    /// A ZooKeeper server's configuration.
    Coordinator(Box<ServerConfig>),
    /// A Kafka broker's.
    Broker(Arc<BrokerImage>),
    /// A ZooKeeper workload's.
    ZkWorkload(Box<ZkWorkloadImage>),
    /// A client of Kafka's.
    KafkaClient(KafkaClientImage),
}

/// What a machine of this world defers to itself.
#[derive(Clone, Debug)]
pub enum Work {
    /// A step of a ZooKeeper server.
    Coordinator(coordinator::Work),
    /// A step of a Kafka broker.
    Broker(broker::Work),
}

/// What a machine of this world states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A ZooKeeper server does.
    Coordinator(coordinator::Fact),
    /// A Kafka broker does, or the ZooKeeper client inside it.
    Broker(broker::Fact),
    /// A ZooKeeper workload does, or the ZooKeeper client inside it.
    ZkWorkload(ClientFact),
    /// A client of Kafka does, or the ZooKeeper client inside it.
    KafkaClient(KafkaClientFact),
}

/// What an inspector is shown of a machine of this world.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum View {
    /// A ZooKeeper server.
    Coordinator(<Coordinator as Machine>::View),
    /// A Kafka broker.
    Broker(<Broker as Machine>::View),
    /// A ZooKeeper workload.
    ZkWorkload(<ZkWorkload as Machine>::View),
    /// A client of Kafka.
    KafkaClient(<KafkaClient as Machine>::View),
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
            Self::Broker(_) | Self::ZkWorkload(_) | Self::KafkaClient(_) => None,
        }
    }

    /// The broker, if it is one.
    #[must_use]
    pub fn as_broker(&self) -> Option<&Broker> {
        match self {
            Self::Broker(machine) => Some(machine),
            Self::Coordinator(_) | Self::ZkWorkload(_) | Self::KafkaClient(_) => None,
        }
    }

    /// The ZooKeeper workload, if it is one.
    #[must_use]
    pub fn as_zk_workload(&self) -> Option<&ZkWorkload> {
        match self {
            Self::ZkWorkload(machine) => Some(machine),
            Self::Coordinator(_) | Self::Broker(_) | Self::KafkaClient(_) => None,
        }
    }

    /// The client of Kafka, if it is one.
    #[must_use]
    pub fn as_kafka_client(&self) -> Option<&KafkaClient> {
        match self {
            Self::KafkaClient(machine) => Some(machine),
            Self::Coordinator(_) | Self::Broker(_) | Self::ZkWorkload(_) => None,
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
            Image::Broker(image) => Self::Broker(Box::new(io.lend(|io| Broker::boot(image, io)))),
            Image::ZkWorkload(image) => Self::ZkWorkload(Box::new(io.lend(|io| ZkWorkload::boot(image, io)))),
            Image::KafkaClient(image) => Self::KafkaClient(Box::new(io.lend(|io| KafkaClient::boot(image, io)))),
        }
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        match self {
            Self::Coordinator(machine) => run(machine.as_mut(), input, io),
            Self::Broker(machine) => run(machine.as_mut(), input, io),
            Self::ZkWorkload(machine) => run(machine.as_mut(), input, io),
            Self::KafkaClient(machine) => run(machine.as_mut(), input, io),
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        match self {
            Self::Coordinator(machine) => machine.next_wake(),
            Self::Broker(machine) => machine.next_wake(),
            Self::ZkWorkload(machine) => machine.next_wake(),
            Self::KafkaClient(machine) => machine.next_wake(),
        }
    }

    fn check_invariants(&self) {
        match self {
            Self::Coordinator(machine) => machine.check_invariants(),
            Self::Broker(machine) => machine.check_invariants(),
            Self::ZkWorkload(machine) => machine.check_invariants(),
            Self::KafkaClient(machine) => machine.check_invariants(),
        }
    }

    fn view(&self) -> View {
        match self {
            Self::Coordinator(machine) => View::Coordinator(machine.view()),
            Self::Broker(machine) => View::Broker(machine.view()),
            Self::ZkWorkload(machine) => View::ZkWorkload(machine.view()),
            Self::KafkaClient(machine) => View::KafkaClient(machine.view()),
        }
    }

    fn digest(&self, into: &mut Digest) {
        match self {
            Self::Coordinator(machine) => machine.digest(into),
            Self::Broker(machine) => machine.digest(into),
            Self::ZkWorkload(machine) => machine.digest(into),
            Self::KafkaClient(machine) => machine.digest(into),
        }
    }

    fn lane_name(lane: Lane) -> &'static str {
        // Clients have no lanes.
        if lane >= broker::work::FIRST { Broker::lane_name(lane) } else { Coordinator::lane_name(lane) }
    }
}

/// The names of all lanes there are, in order.
#[must_use]
pub fn lane_names() -> Vec<String> {
    use broker::work as broker;
    use coordinator::work as coordinator;
    let learner = coordinator::learner(jute::Sid::new(1));
    let coordinators = (coordinator::MAIN.0..=coordinator::CLIENTS.0).map(Lane).chain([learner]);
    let brokers = (broker::MAIN.0..=broker::ZK_SESSION_EXPIRY.0).map(Lane);
    let brokers = brokers.chain([broker::request_handler(0), broker::fetcher(0)]);
    let mut names: Vec<String> = coordinators.chain(brokers).map(|lane| Node::lane_name(lane).to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
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
            other @ Work::Broker(_) => Err(other),
        }
    }
}

impl From<broker::Work> for Work {
    fn from(work: broker::Work) -> Self {
        Self::Broker(work)
    }
}

impl Narrow<Work> for broker::Work {
    fn narrow(wide: Work) -> Result<Self, Work> {
        match wide {
            Work::Broker(work) => Ok(work),
            other @ Work::Coordinator(_) => Err(other),
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

impl From<broker::Fact> for Fact {
    fn from(fact: broker::Fact) -> Self {
        Self::Broker(fact)
    }
}

impl From<KafkaClientFact> for Fact {
    fn from(fact: KafkaClientFact) -> Self {
        Self::KafkaClient(fact)
    }
}

// The ZooKeeper session's facts are the same whoever has the session: they are listed once.
const KINDS: [&str;
    coordinator::Fact::KINDS.len()
        + ZkClientFact::KINDS.len()
        + WorkloadFact::KINDS.len()
        + KafkaFact::KINDS.len()
        + KafkaWorkFact::KINDS.len()] = machine::joined(&[
    coordinator::Fact::KINDS,
    ZkClientFact::KINDS,
    WorkloadFact::KINDS,
    KafkaFact::KINDS,
    KafkaWorkFact::KINDS,
]);

impl Describe for Fact {
    fn kinds() -> &'static [&'static str] {
        &KINDS
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Coordinator(fact) => fact.kind(),
            Self::Broker(fact) => fact.kind(),
            Self::ZkWorkload(fact) => fact.kind(),
            Self::KafkaClient(fact) => fact.kind(),
        }
    }

    fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'_>)) {
        match self {
            Self::Coordinator(fact) => fact.fields(visit),
            Self::Broker(fact) => fact.fields(visit),
            Self::ZkWorkload(fact) => fact.fields(visit),
            Self::KafkaClient(fact) => fact.fields(visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Describe as _, Fact};

    #[test]
    fn no_kind_of_fact_means_two_things() {
        let mut kinds = Fact::kinds().to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), Fact::kinds().len());
    }
}
