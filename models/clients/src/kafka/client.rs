//! The process of one client of Kafka: it routes inputs to its role, and lets the role settle behind each of them.

use std::collections::BTreeMap;

use kafkawire::{Topic, TopicPartition};
use machine::{Digest, Input, InputOf, Instant, Io, Lane, Machine, Never, Vocabulary};
use zkclient::ZkClientView;

use super::admin::Admin;
use super::cluster::Cluster;
use super::consumer::Consumer;
use super::fetcher::Fetcher;
use super::life::Role;
use super::operator::Operator;
use super::producer::Producer;
use super::view::KafkaClientView;
use super::zk_consumer::ZkConsumer;
use super::{KafkaClientFact, KafkaClientImage, KafkaClientMessage};

/// One client process of Kafka: a producer, a consumer, the consumer of 0.8, an admin, or an operator.
#[derive(Clone, Debug)]
pub struct KafkaClient {
    inner: Inner,
}

#[derive(Clone, Debug)]
enum Inner {
    Producer(Box<Producer>),
    Consumer(Box<Consumer>),
    ZkConsumer(Box<ZkConsumer>),
    Admin(Box<Admin>),
    Operator(Box<Operator>),
}

impl Vocabulary for KafkaClient {
    type Message = KafkaClientMessage;
    type Work = Never;
    type Fact = KafkaClientFact;
}

impl Machine for KafkaClient {
    type Image = KafkaClientImage;
    type View = KafkaClientView;

    fn boot(image: &KafkaClientImage, io: &mut Io<'_, Self>) -> Self {
        let inner = match image {
            KafkaClientImage::Producer(image) => Inner::Producer(Box::new(Producer::boot(image, io))),
            KafkaClientImage::Consumer(image) => Inner::Consumer(Box::new(Consumer::boot(image, io))),
            KafkaClientImage::ZkConsumer(image) => Inner::ZkConsumer(Box::new(ZkConsumer::boot(image, io))),
            KafkaClientImage::Admin(image) => Inner::Admin(Box::new(Admin::boot(image, io))),
            KafkaClientImage::Operator(image) => Inner::Operator(Box::new(Operator::boot(image, io))),
        };
        let mut client = Self { inner };
        client.role_mut().settle(io);
        client
    }

    fn handle(&mut self, input: InputOf<Self>, io: &mut Io<'_, Self>) {
        let role = self.role_mut();
        match input {
            // The role settles below.
            Input::Woken => {}
            Input::Message { on, message: KafkaClientMessage::Kafka(message) } => {
                role.on_link(Input::Message { on, message }, io);
            }
            Input::Message { on, message: KafkaClientMessage::Zk(message) } => {
                role.on_session(Input::Message { on, message }, io);
            }
            Input::Opened { on } if role.owns_session(on) => role.on_session(Input::Opened { on }, io),
            Input::Refused { on } if role.owns_session(on) => role.on_session(Input::Refused { on }, io),
            Input::Lost { on, why } if role.owns_session(on) => role.on_session(Input::Lost { on, why }, io),
            Input::Opened { on } => role.on_link(Input::Opened { on }, io),
            Input::Refused { on } => role.on_link(Input::Refused { on }, io),
            Input::Lost { on, why } => role.on_link(Input::Lost { on, why }, io),
            Input::Durable { ticket, result } => role.on_durable(ticket, result, io),
            Input::Terminate => role.on_terminate(io),
            Input::Turn { work, .. } => match work {},
            Input::Accepted { .. } | Input::Datagram { .. } => panic!("a client does not listen: {input:?}"),
        }
        role.settle(io);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.role().next_wake()
    }

    fn check_invariants(&self) {
        self.role().check_invariants();
    }

    fn view(&self) -> KafkaClientView {
        self.role().view()
    }

    fn digest(&self, into: &mut Digest) {
        self.role().digest(into);
        into.word(u64::from(self.role().life().is_stopped()) << 1 | u64::from(self.probed()));
    }

    fn lane_name(_: Lane) -> &'static str {
        "none"
    }
}

/// What may be asked of it at any time.
impl KafkaClient {
    fn role(&self) -> &dyn Role {
        match &self.inner {
            Inner::Producer(role) => role.as_ref(),
            Inner::Consumer(role) => role.as_ref(),
            Inner::ZkConsumer(role) => role.as_ref(),
            Inner::Admin(role) => role.as_ref(),
            Inner::Operator(role) => role.as_ref(),
        }
    }

    fn role_mut(&mut self) -> &mut dyn Role {
        match &mut self.inner {
            Inner::Producer(role) => role.as_mut(),
            Inner::Consumer(role) => role.as_mut(),
            Inner::ZkConsumer(role) => role.as_mut(),
            Inner::Admin(role) => role.as_mut(),
            Inner::Operator(role) => role.as_mut(),
        }
    }

    /// Its number.
    #[must_use]
    pub fn client(&self) -> u16 {
        self.role().life().client
    }

    /// What it is, as in its `kafka-client-started`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.role().life().kind
    }

    /// The oldest unfinished thing, in words: a record without outcome, a partition that is not read to its end, a rebalance, a
    /// topic that is not there. None if everything is done.
    #[must_use]
    pub fn pending(&self) -> Option<String> {
        self.role().pending()
    }

    /// How far it is behind the high watermark of a partition it reads, by the last answer; none if it does not know.
    #[must_use]
    pub fn lag(&self, at: &TopicPartition) -> Option<i64> {
        self.role().lag(at)
    }

    /// The partitions it reads, or has claimed.
    #[must_use]
    pub fn owned(&self) -> Vec<TopicPartition> {
        self.role().owned()
    }

    /// Whether it wants a produce, or fetch, behind the faults. A producer behind a fixed address does not: its broker may lead
    /// nothing any more.
    #[must_use]
    pub fn wants_probe(&self) -> bool {
        self.role().life().wants_probe()
    }

    /// Whether that succeeded.
    #[must_use]
    pub fn probed(&self) -> bool {
        self.role().life().probed()
    }

    /// Whether it knows what it must know to work: partitions, offsets, or topics that it created.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.role().is_ready()
    }
}

/// A view of what every role has.
pub(super) fn bare_view(role: &impl Role) -> KafkaClientView {
    let life = role.life();
    KafkaClientView {
        client: life.client,
        kind: life.kind,
        ready: role.is_ready(),
        stopped: life.is_stopped(),
        probed: life.probed(),
        pending: role.pending(),
        brokers: Vec::new(),
        leaders: BTreeMap::new(),
        positions: BTreeMap::new(),
        session: None,
    }
}

/// A view of a role that knows brokers and a topic.
pub(super) fn view_of(
    role: &impl Role,
    cluster: &Cluster,
    topic: &Topic,
    session: Option<ZkClientView>,
) -> KafkaClientView {
    let leaders = cluster.metadata().topic(topic).into_iter().flatten();
    let leader_text = |known: &super::metadata::LeaderAndEpoch| {
        let leader = known.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        let epoch = known.epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
        format!("{leader}/{epoch}")
    };
    KafkaClientView {
        brokers: brokers_of(cluster),
        leaders: leaders.map(|(&partition, known)| (partition, leader_text(known))).collect(),
        session,
        ..bare_view(role)
    }
}

pub(super) fn brokers_of(cluster: &Cluster) -> Vec<i32> {
    cluster.metadata().brokers().keys().map(|broker| broker.0).collect()
}

pub(super) fn positions_of(fetcher: &Fetcher) -> BTreeMap<i32, i64> {
    let partitions = fetcher.partitions();
    partitions.filter_map(|partition| Some((partition, fetcher.position(partition)?.0))).collect()
}
