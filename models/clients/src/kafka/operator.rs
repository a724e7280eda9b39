//! An operator who moves the controller as the runbooks of ZooKeeper's days said: by deleting `/controller`.
//!
//! It is the one way to depose a controller whose session lives: with an expired session ZooKeeper refuses its writes by itself,
//! here only the fence of its epoch does (kafka-broker.md §2.3, KA-B20).

use std::sync::Arc;

use kafkawire::{Link, TopicPartition, znode};
use machine::disk::DiskError;
use machine::{Digest, EndId, Input, InputOf, Instant, Io, Ticket};
use zkclient::ZkClient;

use super::life::{Life, Role};
use super::session::{Answer, Session, Told};
use super::view::KafkaClientView;
use super::{KafkaClient, OperatorImage};

/// What it asked of ZooKeeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deletion;

/// An operator.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    image: Arc<OperatorImage>,
    life: Life,
    session: Session<Deletion>,
    is_connected: bool,
    /// When it deletes `/controller` next; none once it has stopped, or while it waits for an answer.
    next: Option<Instant>,
    /// How often that succeeded.
    moved: u64,
    wake: Option<Instant>,
}

impl Operator {
    pub(crate) fn boot(image: &Arc<OperatorImage>, io: &mut Io<'_, KafkaClient>) -> Self {
        let life = Life::begin(&image.work, "operator", io).without_probe();
        Self {
            image: Arc::clone(image),
            life,
            session: Session::start(&image.zookeeper, io),
            is_connected: false,
            next: Some(io.now() + image.every),
            moved: 0,
            wake: None,
        }
    }

    fn on_told(&mut self, told: Vec<Told<Deletion>>, io: &Io<'_, KafkaClient>) {
        for told in told {
            match told {
                Told::Connected { .. } => self.is_connected = true,
                Told::Expired | Told::Closed => self.is_connected = false,
                Told::Answered { purpose: Deletion, answer } => {
                    self.moved += u64::from(answer == Answer::Done);
                    self.next = (!self.life.is_stopped()).then(|| io.now() + self.image.every);
                }
                Told::Watched(event) => panic!("an operator sets no watch: {event:?}"),
            }
        }
    }
}

impl Role for Operator {
    fn on_link(&mut self, _: InputOf<Link>, _: &mut Io<'_, KafkaClient>) {}

    fn owns_session(&self, end: EndId) -> bool {
        self.session.owns(end)
    }

    fn on_session(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>) {
        let told = self.session.handle(input, io);
        self.on_told(told, io);
    }

    fn on_durable(&mut self, ticket: Ticket, _: Result<(), DiskError>, _: &mut Io<'_, KafkaClient>) {
        panic!("an operator writes no files: {ticket}");
    }

    fn on_terminate(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.life.terminate();
        io.exit(0);
    }

    fn settle(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.on_session(Input::Woken, io);
        if self.life.is_stop_due(io.now()) {
            self.life.stop(io);
            self.next = None;
        }
        if self.is_connected && self.next.is_some_and(|at| at <= io.now()) {
            self.next = None;
            self.session.delete(Deletion, znode::CONTROLLER.to_owned(), io);
        }
        let due = self.next.filter(|&at| at > io.now());
        self.wake = [due, self.life.next_wake(io.now()), self.session.next_wake()].into_iter().flatten().min();
    }

    fn next_wake(&self) -> Option<Instant> {
        self.wake
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn is_ready(&self) -> bool {
        self.is_connected
    }

    fn pending(&self) -> Option<String> {
        None
    }

    fn owned(&self) -> Vec<TopicPartition> {
        Vec::new()
    }

    fn lag(&self, _: &TopicPartition) -> Option<i64> {
        None
    }

    fn check_invariants(&self) {
        self.session.check_invariants();
    }

    fn digest(&self, into: &mut Digest) {
        into.word(self.moved);
        self.session.zk().digest(into);
    }

    fn view(&self) -> KafkaClientView {
        let mut view = super::client::bare_view(self);
        view.session = Some(self.session.zk().view());
        view
    }
}
