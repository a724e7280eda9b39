//! What the judges must know of a Kafka cluster before anything happens.

use std::sync::Arc;

use kafkawire::BrokerId;
use machine::HostId;

/// A broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaBroker {
    /// Its host.
    pub host: HostId,
    /// `broker.id`.
    pub id: BrokerId,
    /// Its name in reports.
    pub name: String,
}

/// What a client of Kafka is, as far as judges care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KafkaClientKind {
    /// It writes records.
    Producer,
    /// It reads the partitions it was given.
    Consumer,
    /// It reads the partitions that its group balances over ZooKeeper (kafka-broker.md §6.10).
    ZkConsumer,
    /// It creates topics.
    Admin,
}

/// A client of Kafka.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaClientSeat {
    /// Its host.
    pub host: HostId,
    /// The number it calls itself in facts.
    pub number: u16,
    /// Its name in reports.
    pub name: String,
    /// What it is.
    pub kind: KafkaClientKind,
    /// Whether it tries something after everything healed, which must succeed (V08).
    pub probes: bool,
}

/// Who is who, and the configuration that decides what is promised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// The brokers, also those that join later.
    pub brokers: Vec<KafkaBroker>,
    /// The clients.
    pub clients: Vec<KafkaClientSeat>,
    /// `min.insync.replicas` of the brokers; a topic may override it.
    pub min_insync: usize,
    /// `unclean.leader.election.enable` of the brokers; a topic may override it.
    pub unclean_election: bool,
    /// `log.flush.interval.messages` is 1: what is appended is durable before it is answered; a topic may override it.
    pub flush_each: bool,
    /// Situations a rule may wait for, by kind; others are counted but not stated, which costs less.
    pub situations: Vec<String>,
}

/// A broker's place among the judges' brokers.
pub(crate) type BrokerAt = usize;

/// Brokers, as a mask of their places.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Brokers(u64);

impl Brokers {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(broker: BrokerAt) -> Self {
        Self(1 << broker)
    }

    pub(crate) const fn has(self, broker: BrokerAt) -> bool {
        self.0 & 1 << broker != 0
    }

    pub(crate) const fn with(self, broker: BrokerAt) -> Self {
        Self(self.0 | 1 << broker)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = BrokerAt> {
        (0..64).filter(move |&at| self.has(at))
    }
}

/// What a host is to the judges of Kafka.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seat {
    /// A broker, by its place.
    Broker(BrokerAt),
    /// A client, by its place.
    Client(usize),
    /// Something else.
    Stranger,
}

/// The cluster, and who is on which host.
#[derive(Debug)]
pub(crate) struct Seating {
    pub(crate) cluster: Cluster,
    seats: Vec<Seat>,
}

impl Seating {
    pub(crate) fn new(cluster: Cluster) -> Arc<Self> {
        assert!(cluster.brokers.len() <= 64, "brokers are kept in a mask of 64 bits");
        let hosts = cluster.brokers.iter().map(|it| it.host).chain(cluster.clients.iter().map(|it| it.host));
        let len = hosts.map(|host| host.0 as usize + 1).max().unwrap_or(0);
        let mut seats = vec![Seat::Stranger; len];
        let brokers = cluster.brokers.iter().enumerate().map(|(at, broker)| (broker.host, Seat::Broker(at)));
        let clients = cluster.clients.iter().enumerate().map(|(at, client)| (client.host, Seat::Client(at)));
        for (host, seat) in brokers.chain(clients) {
            assert_eq!(seats[host.0 as usize], Seat::Stranger, "a host has one seat");
            seats[host.0 as usize] = seat;
        }
        Arc::new(Self { cluster, seats })
    }

    #[inline]
    pub(crate) fn seat(&self, host: HostId) -> Seat {
        self.seats.get(host.0 as usize).copied().unwrap_or(Seat::Stranger)
    }

    /// The broker on a host.
    pub(crate) fn broker_on(&self, host: HostId) -> Option<BrokerAt> {
        match self.seat(host) {
            Seat::Broker(at) => Some(at),
            Seat::Client(_) | Seat::Stranger => None,
        }
    }

    /// The broker with an id.
    pub(crate) fn broker(&self, id: BrokerId) -> Option<BrokerAt> {
        self.cluster.brokers.iter().position(|broker| broker.id == id)
    }

    /// The brokers with these ids; ids that nobody has are left out.
    pub(crate) fn brokers(&self, ids: &[BrokerId]) -> Brokers {
        ids.iter().filter_map(|&id| self.broker(id)).fold(Brokers::NONE, Brokers::with)
    }

    pub(crate) fn name(&self, broker: BrokerAt) -> &str {
        &self.cluster.brokers[broker].name
    }

    /// The name of a broker by its id, or the id.
    pub(crate) fn name_of(&self, id: BrokerId) -> String {
        self.broker(id).map_or_else(|| format!("broker {id}"), |at| self.name(at).to_owned())
    }

    pub(crate) fn client_name(&self, client: usize) -> &str {
        &self.cluster.clients[client].name
    }

    /// The names of some brokers.
    pub(crate) fn names(&self, brokers: Brokers) -> String {
        let names: Vec<&str> = brokers.iter().map(|at| self.name(at)).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }
}
