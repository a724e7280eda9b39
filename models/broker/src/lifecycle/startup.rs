//! The start, step by step (kafka-broker.md §3.1).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use commitlog::{LoadError, Loaded, Loading, LogEvent, LogManager, MetaProperties};
use jute::client::Response;
use kafkawire::BrokerId;
use kafkawire::znode::{self, BrokerRegistration, ClusterId};
use machine::disk::DiskError;
use machine::{Instant, Purpose, Ticket};

use crate::Work;
use crate::cx::{Ask, Cx};
use crate::fact::KafkaFact;
use crate::lifecycle::{LOG_DIR, Siblings};
use crate::replication::ReplicaManager;
use crate::work::MAIN;
use crate::zookeeper::{
    Creation, RecursiveCreate, Registration, RegistrationStep, ZkBatch, ZkOwner, ZkRequest, ZkResult,
};

const CLUSTER_ID: Purpose = Purpose::new("broker-cluster-id");

/// A step of the start; the number is that of §3.1.
#[derive(Clone, Debug)]
enum Step {
    /// 1: waits for a session.
    Connecting { until: Instant },
    /// 1: has one.
    Connected,
    /// 1: the top-level paths; those after the one being created.
    Paths { create: RecursiveCreate, rest: VecDeque<&'static str> },
    /// 2: reads the cluster's id; again, after another broker created it first.
    ReadingClusterId { again: bool },
    /// 2: proposes one.
    ProposingClusterId { create: RecursiveCreate, id: Arc<str> },
    /// 7: loads the logs, one in each turn.
    Loading(Loading),
    /// 12: looks who else is registered, and where.
    ListingBrokers(LogManager),
    /// 12: reads their endpoints.
    ReadingBrokers(LogManager),
    /// 13.
    Registering(LogManager, Registration),
    /// 14: waits for the disk.
    WritingMetaProperties(LogManager),
    /// The logs are the replica manager's.
    Done,
}

/// What a turn of the start came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It goes on.
    Goes,
    /// The broker can run.
    Done,
    /// It cannot: the process exits.
    Fatal,
    /// Nor can it if the disk fails.
    DiskFailed(DiskError),
}

/// A broker that is starting.
#[derive(Clone, Debug)]
pub(super) struct Startup {
    step: Step,
}

impl Startup {
    pub(super) fn connecting(cx: &Cx<'_, '_>) -> Self {
        let until = cx.io.now().saturating_add(cx.config().zookeeper_connection_timeout);
        Self { step: Step::Connecting { until } }
    }

    /// There is a session; whether that is what it waited for.
    pub(super) fn on_connected(&mut self) -> bool {
        let waited = matches!(self.step, Step::Connecting { .. });
        if waited {
            self.step = Step::Connected;
        }
        waited
    }

    pub(super) const fn name(&self) -> &'static str {
        match self.step {
            Step::Connecting { .. } | Step::Connected => "connecting",
            Step::Paths { .. } => "creating-paths",
            Step::ReadingClusterId { .. } | Step::ProposingClusterId { .. } => "cluster-id",
            Step::Loading(_) => "loading-logs",
            Step::ListingBrokers(_) | Step::ReadingBrokers(_) => "checking-endpoints",
            Step::Registering(..) => "registering",
            Step::WritingMetaProperties(_) | Step::Done => "writing-meta-properties",
        }
    }

    pub(super) const fn next_wake(&self) -> Option<Instant> {
        match self.step {
            Step::Connecting { until } => Some(until),
            Step::Connected
            | Step::Paths { .. }
            | Step::ReadingClusterId { .. }
            | Step::ProposingClusterId { .. }
            | Step::Loading(_)
            | Step::ListingBrokers(_)
            | Step::ReadingBrokers(_)
            | Step::Registering(..)
            | Step::WritingMetaProperties(_)
            | Step::Done => None,
        }
    }

    pub(super) const fn logs(&self) -> Option<&LogManager> {
        match &self.step {
            Step::ListingBrokers(logs)
            | Step::ReadingBrokers(logs)
            | Step::Registering(logs, _)
            | Step::WritingMetaProperties(logs) => Some(logs),
            Step::Connecting { .. }
            | Step::Connected
            | Step::Paths { .. }
            | Step::ReadingClusterId { .. }
            | Step::ProposingClusterId { .. }
            | Step::Loading(_)
            | Step::Done => None,
        }
    }

    fn logs_mut(&mut self) -> Option<&mut LogManager> {
        match &mut self.step {
            Step::ListingBrokers(logs)
            | Step::ReadingBrokers(logs)
            | Step::Registering(logs, _)
            | Step::WritingMetaProperties(logs) => Some(logs),
            Step::Connecting { .. }
            | Step::Connected
            | Step::Paths { .. }
            | Step::ReadingClusterId { .. }
            | Step::ProposingClusterId { .. }
            | Step::Loading(_)
            | Step::Done => None,
        }
    }

    pub(super) fn on_durable(
        &mut self,
        ticket: Ticket,
        result: Result<(), DiskError>,
        cx: &mut Cx<'_, '_>,
    ) -> Result<Option<LogEvent>, DiskError> {
        self.logs_mut().expect("only logs have tickets").on_durable(ticket, result, cx.io)
    }

    pub(super) fn turn(
        &mut self,
        answered: Option<Vec<ZkResult>>,
        siblings: &mut Siblings<'_>,
        cx: &mut Cx<'_, '_>,
    ) -> Outcome {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Connecting { .. } => unreachable!("a start has no turn before it is connected"),
            Step::Connected => self.next_path(znode::TOP_LEVEL.iter().copied().collect(), cx),
            Step::Paths { create, rest } => self.on_path(create, rest, &one(answered), cx),
            Step::ReadingClusterId { again } => self.on_cluster_id(again, &one(answered), cx),
            Step::ProposingClusterId { create, id } => self.on_proposed(create, id, &one(answered), cx),
            Step::Loading(loading) => self.load(loading, siblings, cx),
            Step::ListingBrokers(logs) => self.on_brokers(logs, &one(answered), cx),
            Step::ReadingBrokers(logs) => self.on_endpoints(logs, &answered.expect("the endpoints were asked for"), cx),
            Step::Registering(logs, registration) => {
                self.on_registration(logs, registration, &answered.expect("a registration was asked for"), cx)
            }
            Step::WritingMetaProperties(logs) => {
                *siblings.replicas = Some(ReplicaManager::start(logs, cx));
                Outcome::Done
            }
            Step::Done => unreachable!("a start is over once"),
        }
    }

    /// Step 1: what every broker creates if it is not there.
    fn next_path(&mut self, mut rest: VecDeque<&'static str>, cx: &mut Cx<'_, '_>) -> Outcome {
        match rest.pop_front() {
            Some(path) => {
                let (create, first) = RecursiveCreate::begin(path, Bytes::new());
                self.ask(Step::Paths { create, rest }, vec![first], cx)
            }
            None => self.read_cluster_id(false, cx),
        }
    }

    fn on_path(
        &mut self,
        mut create: RecursiveCreate,
        rest: VecDeque<&'static str>,
        result: &ZkResult,
        cx: &mut Cx<'_, '_>,
    ) -> Outcome {
        match create.next(result) {
            Creation::Ask(next) => self.ask(Step::Paths { create, rest }, vec![next], cx),
            Creation::Created | Creation::Existed => self.next_path(rest, cx),
            Creation::Failed(_) => Outcome::Fatal,
        }
    }

    /// Step 2.
    fn read_cluster_id(&mut self, again: bool, cx: &mut Cx<'_, '_>) -> Outcome {
        let read = ZkRequest::GetData { path: znode::CLUSTER_ID.to_owned() };
        self.ask(Step::ReadingClusterId { again }, vec![read], cx)
    }

    fn on_cluster_id(&mut self, again: bool, result: &ZkResult, cx: &mut Cx<'_, '_>) -> Outcome {
        match result {
            Ok(Some(Response::GetData(read))) => match ClusterId::decode(read.data.as_slice()) {
                Ok(found) => self.become_member(Arc::from(found.id), cx),
                Err(_) => Outcome::Fatal,
            },
            Err(crate::zookeeper::ZkError::Code(jute::op::ErrorCode::NoNode)) if !again => {
                let id = new_cluster_id(cx);
                let data = ClusterId { id: id.to_string() }.encode();
                let (create, first) = RecursiveCreate::begin(znode::CLUSTER_ID, data);
                self.ask(Step::ProposingClusterId { create, id }, vec![first], cx)
            }
            Ok(_) | Err(_) => Outcome::Fatal,
        }
    }

    fn on_proposed(
        &mut self,
        mut create: RecursiveCreate,
        id: Arc<str>,
        result: &ZkResult,
        cx: &mut Cx<'_, '_>,
    ) -> Outcome {
        match create.next(result) {
            Creation::Ask(next) => self.ask(Step::ProposingClusterId { create, id }, vec![next], cx),
            Creation::Created => self.become_member(id, cx),
            // Another broker was first, or the answer was lost.
            Creation::Existed => self.read_cluster_id(true, cx),
            Creation::Failed(_) => Outcome::Fatal,
        }
    }

    /// Step 3: a log directory of another broker, or of another cluster, is fatal; nothing in it is touched.
    fn become_member(&mut self, id: Arc<str>, cx: &mut Cx<'_, '_>) -> Outcome {
        let found = match MetaProperties::read(cx.io.disk(), LOG_DIR) {
            Ok(found) => found,
            Err(why) => return fatal_load(&why.into()),
        };
        if let Some(meta) = found {
            let other_broker = meta.broker_id != cx.broker();
            let other_cluster = meta.cluster_id.is_some_and(|cluster| cluster != id);
            if other_broker || other_cluster {
                return Outcome::Fatal;
            }
        }
        cx.identity.cluster_id = Some(id);
        match Loading::begin(LOG_DIR, &cx.config().log.clone(), cx.io) {
            Ok(loading) => {
                self.step = Step::Loading(loading);
                cx.io.defer(MAIN, Work::Lifecycle);
                Outcome::Goes
            }
            Err(why) => fatal_load(&why),
        }
    }

    /// Step 7: one log in each turn.
    fn load(&mut self, mut loading: Loading, siblings: &mut Siblings<'_>, cx: &mut Cx<'_, '_>) -> Outcome {
        match loading.next(cx.io) {
            Ok(Some(loaded)) => {
                state_loaded(loaded, cx);
                let cost = cx.image.costs.recover_log;
                cx.io.spend(MAIN, cost);
                self.step = Step::Loading(loading);
                cx.io.defer(MAIN, Work::Lifecycle);
                Outcome::Goes
            }
            Ok(None) => match loading.finish(cx.io) {
                Ok(logs) => {
                    // Step 9: the port is open, requests wait for their handlers.
                    siblings.server.listen(cx);
                    let list = ZkRequest::GetChildren { path: znode::BROKERS_IDS.to_owned(), watch: false };
                    self.ask(Step::ListingBrokers(logs), vec![list], cx)
                }
                Err(error) => Outcome::DiskFailed(error),
            },
            Err(why) => fatal_load(&why),
        }
    }

    /// Step 12.
    fn on_brokers(&mut self, logs: LogManager, result: &ZkResult, cx: &mut Cx<'_, '_>) -> Outcome {
        let Ok(Some(Response::GetChildren2(listed))) = result else { return Outcome::Fatal };
        let ids = listed.children.iter().filter_map(|id| id.parse().ok().map(BrokerId));
        let mut others: Vec<BrokerId> = ids.filter(|&id| id != cx.broker()).collect();
        others.sort_unstable();
        if others.is_empty() {
            return self.register(logs, cx);
        }
        let reads = others.iter().map(|&id| ZkRequest::GetData { path: znode::broker_id(id) }).collect();
        self.ask(Step::ReadingBrokers(logs), reads, cx)
    }

    /// Two brokers that advertise one endpoint are a mistake: fatal. Who left meanwhile does not count.
    fn on_endpoints(&mut self, logs: LogManager, results: &[ZkResult], cx: &mut Cx<'_, '_>) -> Outcome {
        let own = (cx.config().advertised_host.clone(), i32::from(cx.config().port.0));
        for result in results {
            match result {
                Ok(Some(Response::GetData(read))) => match BrokerRegistration::decode(read.data.as_slice()) {
                    Ok(other) if (&other.host, other.port) == (&own.0, own.1) => return Outcome::Fatal,
                    Ok(_) => {}
                    Err(_) => return Outcome::Fatal,
                },
                Err(crate::zookeeper::ZkError::Code(jute::op::ErrorCode::NoNode)) => {}
                Ok(_) | Err(_) => return Outcome::Fatal,
            }
        }
        self.register(logs, cx)
    }

    /// Step 13.
    fn register(&mut self, logs: LogManager, cx: &mut Cx<'_, '_>) -> Outcome {
        let mut registration = Registration::of(cx);
        let first = registration.begin();
        self.ask(Step::Registering(logs, registration), first, cx)
    }

    fn on_registration(
        &mut self,
        mut logs: LogManager,
        mut registration: Registration,
        results: &[ZkResult],
        cx: &mut Cx<'_, '_>,
    ) -> Outcome {
        match registration.advance(results, cx) {
            RegistrationStep::Ask(next) => self.ask(Step::Registering(logs, registration), next, cx),
            RegistrationStep::Done(_) => {
                // Step 14.
                let meta = MetaProperties { broker_id: cx.broker(), cluster_id: cx.identity.cluster_id.clone() };
                if let Err(error) = logs.write_meta_properties(meta, cx.io) {
                    return Outcome::DiskFailed(error);
                }
                self.step = Step::WritingMetaProperties(logs);
                Outcome::Goes
            }
            RegistrationStep::Refused { .. } | RegistrationStep::Failed(_) => Outcome::Fatal,
        }
    }

    fn ask(&mut self, step: Step, requests: Vec<ZkRequest>, cx: &mut Cx<'_, '_>) -> Outcome {
        self.step = step;
        cx.ask(Ask::Zk(ZkBatch { owner: ZkOwner::Lifecycle, requests }));
        Outcome::Goes
    }
}

fn one(answered: Option<Vec<ZkResult>>) -> ZkResult {
    let mut results = answered.expect("ZooKeeper was asked");
    assert_eq!(results.len(), 1, "one thing was asked");
    results.remove(0)
}

/// A log directory that cannot be read is offline, and there is no other.
fn fatal_load(why: &LoadError) -> Outcome {
    match why {
        LoadError::Disk(error) => Outcome::DiskFailed(*error),
        LoadError::MetaProperties(commitlog::BadMetaProperties::Disk(error)) => Outcome::DiskFailed(*error),
        LoadError::MetaProperties(commitlog::BadMetaProperties::Malformed)
        | LoadError::CorruptCheckpoint { .. }
        | LoadError::StrangeDirectory { .. } => Outcome::Fatal,
    }
}

fn state_loaded(loaded: Loaded, cx: &mut Cx<'_, '_>) {
    let broker = cx.broker();
    cx.io.state(KafkaFact::LogLoaded {
        broker,
        topic: loaded.tp.topic,
        partition: loaded.tp.partition,
        recovered: !loaded.clean,
        recovery_point: loaded.recovery_point,
        log_end: loaded.log_end,
    });
}

/// A random UUID in 22 characters of URL-safe base64 without padding.
fn new_cluster_id(cx: &mut Cx<'_, '_>) -> Arc<str> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut draw = cx.io.draw(CLUSTER_ID);
    let uuid = (u128::from(draw.bits()) << 64) | u128::from(draw.bits());
    // Version 4, variant 1.
    let uuid = (uuid & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    // 128 bits and four of padding are 22 digits.
    let digit = |at: u32| {
        let shift = 126 - 6 * i64::from(at);
        let bits = if shift >= 0 { uuid >> shift } else { uuid << -shift };
        char::from(ALPHABET[usize::try_from(bits & 0x3F).expect("six bits")])
    };
    (0..22).map(digit).collect::<String>().into()
}
