//! An admin client that creates topics and then rests: through the API (kafka-broker.md §8.3, §4.7), or by writing znodes as
//! `kafka-topics --zookeeper` did.
//!
//! Topics are ready when every partition of each has a leader. A topic that is there already is left as it is; a CreateTopics
//! whose answer was lost is asked again, and TOPIC_ALREADY_EXISTS then says that it, or somebody, succeeded.

mod api;
mod tool;

use std::sync::Arc;

use kafkawire::{Link, TopicPartition};
use machine::disk::DiskError;
use machine::{Digest, EndId, Input, InputOf, Instant, Io, Span, Ticket};
use zkclient::ZkClient;

use self::api::Api;
use self::tool::Tool;
use super::life::{Life, Role};
use super::view::KafkaClientView;
use super::{AdminImage, CreateTopicsBy, KafkaClient, KafkaWorkFact};

/// `retry.backoff.ms` of an admin client.
const RETRY_BACKOFF: Span = Span::millis(100);

#[derive(Clone, Debug)]
enum By {
    Api(Box<Api>),
    Znode(Box<Tool>),
}

/// An admin client.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    image: Arc<AdminImage>,
    life: Life,
    by: By,
    is_ready: bool,
    wake: Option<Instant>,
}

impl Admin {
    pub(crate) fn boot(image: &Arc<AdminImage>, io: &mut Io<'_, KafkaClient>) -> Self {
        let life = Life::begin(&image.work, "admin", io).without_probe();
        let by = match &image.by {
            CreateTopicsBy::Api => By::Api(Box::new(Api::new(Arc::clone(image)))),
            CreateTopicsBy::Znode(config) => By::Znode(Box::new(Tool::start(Arc::clone(image), config, io))),
        };
        Self { image: Arc::clone(image), life, by, is_ready: false, wake: None }
    }
}

impl Role for Admin {
    fn on_link(&mut self, input: InputOf<Link>, io: &mut Io<'_, KafkaClient>) {
        if let By::Api(api) = &mut self.by {
            api.handle(input, io);
        }
    }

    fn owns_session(&self, end: EndId) -> bool {
        match &self.by {
            By::Api(_) => false,
            By::Znode(tool) => tool.session.owns(end),
        }
    }

    fn on_session(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>) {
        if let By::Znode(tool) = &mut self.by {
            tool.handle(input, io);
        }
    }

    fn on_durable(&mut self, ticket: Ticket, _: Result<(), DiskError>, _: &mut Io<'_, KafkaClient>) {
        panic!("an admin writes no files: {ticket}");
    }

    fn on_terminate(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.life.terminate();
        io.exit(0);
    }

    fn settle(&mut self, io: &mut Io<'_, KafkaClient>) {
        self.on_link(Input::Woken, io);
        self.on_session(Input::Woken, io);
        let now = io.now();
        let is_done = match &mut self.by {
            By::Api(api) => self.is_ready || api.settle(io),
            By::Znode(tool) => self.is_ready || tool.settle(io),
        };
        if is_done && !self.is_ready {
            self.is_ready = true;
            io.state(KafkaWorkFact::TopicsReady { client: self.life.client, topics: self.image.topics.len() as u64 });
        }
        if self.life.is_stop_due(now) {
            self.life.stop(io);
        }
        let by = match &self.by {
            By::Api(api) => api.next_wake(now, self.is_ready),
            By::Znode(tool) => tool.next_wake(now),
        };
        self.wake = [by, self.life.next_wake(now)].into_iter().flatten().min();
    }

    fn next_wake(&self) -> Option<Instant> {
        self.wake
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn pending(&self) -> Option<String> {
        match &self.by {
            _ if self.is_ready => None,
            By::Api(api) => Some(api.describe()),
            By::Znode(tool) => Some(tool.describe()),
        }
    }

    fn owned(&self) -> Vec<TopicPartition> {
        Vec::new()
    }

    fn lag(&self, _: &TopicPartition) -> Option<i64> {
        None
    }

    fn check_invariants(&self) {
        match &self.by {
            By::Api(api) => api.cluster.check_invariants(),
            By::Znode(tool) => tool.session.check_invariants(),
        }
    }

    fn digest(&self, into: &mut Digest) {
        into.word(u64::from(self.is_ready));
        match &self.by {
            By::Api(api) => api.cluster.digest(into),
            By::Znode(tool) => tool.session.zk().digest(into),
        }
    }

    fn view(&self) -> KafkaClientView {
        let mut view = super::client::bare_view(self);
        match &self.by {
            By::Api(api) => view.brokers = super::client::brokers_of(&api.cluster),
            By::Znode(tool) => view.session = Some(tool.session.zk().view()),
        }
        view
    }
}
