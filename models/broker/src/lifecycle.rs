//! From the start of the process to its end (kafka-broker.md §3.1, §3.6, §3.8).
//!
//! ```text
//!   connecting ─▶ paths ─▶ cluster id ─▶ logs ─▶ endpoints ─▶ registering ─▶ meta.properties ─▶ running
//!                                                                                                 │ SIGTERM
//!   exit 0 ◀─ closing the session ◀─ stopping the controller ◀─ stopping the replicas ◀─ controlled shutdown
//! ```
//!
//! The main thread calls ZooKeeper synchronously: each answer is a step of its own on the lane
//! [`MAIN`](crate::work::MAIN), so that a crash can fall between any two. What fails at the start is fatal: the process exits
//! with status 1, and its supervisor starts it again.

mod controlled_shutdown;
mod startup;

use commitlog::{LogEvent, LogManager};
use kafkawire::Link;
use machine::disk::DiskError;
use machine::{Digest, EndId, InputOf, Instant, Ticket};

use crate::Work;
use crate::controller::ControllerEvent;
use crate::cx::{Ask, Cx};
use crate::fact::KafkaFact;
use crate::lifecycle::controlled_shutdown::{ControlledShutdown, Progress};
use crate::lifecycle::startup::Startup;
use crate::replication::ReplicaManager;
use crate::server::Server;
use crate::work::MAIN;
use crate::zookeeper::{KafkaZk, ZkResult};

/// The log directory (`log.dirs`); one, and a name of its own on the broker's host.
pub const LOG_DIR: &str = "kafka-logs";

/// What the main thread starts and stops.
pub(crate) struct Siblings<'a> {
    pub(crate) zk: &'a mut KafkaZk,
    pub(crate) server: &'a mut Server,
    pub(crate) replicas: &'a mut Option<ReplicaManager>,
}

#[derive(Clone, Debug)]
enum Phase {
    Starting(Box<Startup>),
    Running,
    ControlledShutdown(Box<ControlledShutdown>),
    /// The replicas are told to stop, and wait for the disk.
    StoppingReplicas {
        controlled: bool,
    },
    StoppingController {
        controlled: bool,
    },
    ClosingSession,
    Exited,
}

/// The main thread.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    phase: Phase,
    /// What ZooKeeper answered; the main thread goes on with it in its turn.
    answered: Option<Vec<ZkResult>>,
    is_controller_started: bool,
}

impl Lifecycle {
    /// The process starts: it begins to connect.
    pub(crate) fn start(zk: &mut KafkaZk, cx: &mut Cx<'_, '_>) -> Self {
        let broker = cx.broker();
        cx.io.state(KafkaFact::Started { broker });
        zk.start(cx);
        let startup = Startup::connecting(cx);
        Self { phase: Phase::Starting(Box::new(startup)), answered: None, is_controller_started: false }
    }

    /// Whether requests are handled and nothing is being shut down.
    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether the process has asked to exit: what still comes finds nobody.
    pub(crate) const fn has_exited(&self) -> bool {
        matches!(self.phase, Phase::Exited)
    }

    /// Whether request handlers still do their work.
    pub(crate) const fn handles_requests(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::ControlledShutdown(_))
    }

    /// Whether the controller hears of a session's end (§2.4).
    pub(crate) const fn is_controller_started(&self) -> bool {
        self.is_controller_started
    }

    /// The name of the phase, for reports.
    pub(crate) fn name(&self) -> &'static str {
        match &self.phase {
            Phase::Starting(startup) => startup.name(),
            Phase::Running => "running",
            Phase::ControlledShutdown(_) => "controlled-shutdown",
            Phase::StoppingReplicas { .. } => "stopping-replicas",
            Phase::StoppingController { .. } => "stopping-controller",
            Phase::ClosingSession => "closing-session",
            Phase::Exited => "exited",
        }
    }

    /// A server confirmed a session.
    pub(crate) fn on_connected(&mut self, cx: &mut Cx<'_, '_>) {
        if let Phase::Starting(startup) = &mut self.phase
            && startup.on_connected()
        {
            cx.io.defer(MAIN, Work::Lifecycle);
        }
    }

    /// What it asked is answered.
    pub(crate) fn on_zk(&mut self, results: Vec<ZkResult>, cx: &mut Cx<'_, '_>) {
        assert!(self.answered.is_none(), "the main thread asks one thing at a time");
        self.answered = Some(results);
        cx.io.defer(MAIN, Work::Lifecycle);
    }

    /// A turn of the main thread.
    pub(crate) fn turn(&mut self, siblings: &mut Siblings<'_>, cx: &mut Cx<'_, '_>) {
        let answered = self.answered.take();
        match &mut self.phase {
            Phase::Starting(startup) => match startup.turn(answered, siblings, cx) {
                startup::Outcome::Goes => {}
                startup::Outcome::Done => self.become_running(siblings, cx),
                startup::Outcome::Fatal => self.exit(1, cx),
                startup::Outcome::DiskFailed(error) => self.on_disk_failed(error, cx),
            },
            Phase::ControlledShutdown(shutdown) => {
                let controlled = shutdown.succeeded().expect("it has a turn when it is over");
                self.stop_sockets(controlled, siblings, cx);
            }
            Phase::StoppingController { controlled } => {
                let controlled = *controlled;
                self.close_session(controlled, siblings, cx);
            }
            Phase::ClosingSession => self.exit(0, cx),
            Phase::Running | Phase::StoppingReplicas { .. } | Phase::Exited => {
                unreachable!("the main thread has nothing to do when {}", self.name())
            }
        }
    }

    /// Steps 15 to 21: the controller starts, the handlers start.
    fn become_running(&mut self, siblings: &mut Siblings<'_>, cx: &mut Cx<'_, '_>) {
        self.phase = Phase::Running;
        self.is_controller_started = true;
        cx.ask(Ask::Controller(ControllerEvent::Startup));
        siblings.server.start_handlers(cx);
        let broker = cx.broker();
        cx.io.state(KafkaFact::Running { broker });
    }

    /// SIGTERM.
    pub(crate) fn on_terminate(&mut self, cx: &mut Cx<'_, '_>) {
        match &self.phase {
            // "Kafka server is still starting up, cannot shut down!": the process is halted.
            Phase::Starting(_) => self.exit(1, cx),
            Phase::Running => {
                let broker = cx.broker();
                cx.io.state(KafkaFact::Stopping { broker });
                let shutdown = ControlledShutdown::begin(cx);
                self.phase = Phase::ControlledShutdown(Box::new(shutdown));
            }
            // It is on its way.
            Phase::ControlledShutdown(_)
            | Phase::StoppingReplicas { .. }
            | Phase::StoppingController { .. }
            | Phase::ClosingSession
            | Phase::Exited => {}
        }
    }

    /// Sockets, then request handlers: what is queued is not handled any more.
    fn stop_sockets(&mut self, controlled: bool, siblings: &mut Siblings<'_>, cx: &mut Cx<'_, '_>) {
        if let Phase::ControlledShutdown(shutdown) = &mut self.phase {
            shutdown.close(cx);
        }
        siblings.server.stop(cx);
        self.phase = Phase::StoppingReplicas { controlled };
        siblings.replicas.as_mut().expect("a broker that ran has replicas").shut_down(cx);
        self.look(siblings.replicas.as_ref(), cx);
    }

    /// Looks, after every input, whether the replicas have stopped.
    pub(crate) fn look(&mut self, replicas: Option<&ReplicaManager>, cx: &mut Cx<'_, '_>) {
        if let Phase::StoppingReplicas { controlled } = self.phase
            && replicas.is_some_and(ReplicaManager::is_shut_down)
        {
            self.phase = Phase::StoppingController { controlled };
            cx.ask(Ask::Controller(ControllerEvent::Shutdown));
        }
    }

    /// The controller's thread is at its end.
    pub(crate) fn on_controller_stopped(&mut self, cx: &mut Cx<'_, '_>) {
        assert!(matches!(self.phase, Phase::StoppingController { .. }), "the controller stops when it is told to");
        cx.io.defer(MAIN, Work::Lifecycle);
    }

    fn close_session(&mut self, controlled: bool, siblings: &mut Siblings<'_>, cx: &mut Cx<'_, '_>) {
        let broker = cx.broker();
        cx.io.state(KafkaFact::Stopped { broker, controlled });
        self.phase = Phase::ClosingSession;
        siblings.zk.close(cx);
    }

    /// The session is closed, or left to the server.
    pub(crate) fn on_session_closed(&mut self, cx: &mut Cx<'_, '_>) {
        assert!(matches!(self.phase, Phase::ClosingSession), "the session is closed at the end");
        cx.io.defer(MAIN, Work::Lifecycle);
    }

    /// The only log directory failed: the process halts (§3.8).
    pub(crate) fn on_disk_failed(&mut self, error: DiskError, cx: &mut Cx<'_, '_>) {
        let broker = cx.broker();
        let error = match error {
            DiskError::Io => "EIO",
            DiskError::NoSpace => "ENOSPC",
            DiskError::NotFound => "ENOENT",
        };
        cx.io.state(KafkaFact::LogDirFailed { broker, error });
        self.exit(1, cx);
    }

    fn exit(&mut self, status: i32, cx: &mut Cx<'_, '_>) {
        self.phase = Phase::Exited;
        cx.io.exit(status);
    }
}

/// The inputs of the main thread's own.
impl Lifecycle {
    pub(crate) fn owns(&self, end: EndId) -> bool {
        match &self.phase {
            Phase::ControlledShutdown(shutdown) => shutdown.owns(end),
            Phase::Starting(_)
            | Phase::Running
            | Phase::StoppingReplicas { .. }
            | Phase::StoppingController { .. }
            | Phase::ClosingSession
            | Phase::Exited => false,
        }
    }

    pub(crate) fn handle(&mut self, input: InputOf<Link>, cx: &mut Cx<'_, '_>) {
        if let Phase::ControlledShutdown(shutdown) = &mut self.phase
            && shutdown.handle(input, cx) == Progress::Over
        {
            cx.io.defer(MAIN, Work::Lifecycle);
        }
    }

    pub(crate) fn on_woken(&mut self, cx: &mut Cx<'_, '_>) {
        match &mut self.phase {
            Phase::Starting(startup) => {
                if startup.next_wake().is_some_and(|due| due <= cx.io.now()) {
                    // ZooKeeperClientTimeoutException.
                    self.exit(1, cx);
                }
            }
            Phase::ControlledShutdown(shutdown) => {
                if shutdown.on_woken(cx) == Progress::Over {
                    cx.io.defer(MAIN, Work::Lifecycle);
                }
            }
            Phase::Running
            | Phase::StoppingReplicas { .. }
            | Phase::StoppingController { .. }
            | Phase::ClosingSession
            | Phase::Exited => {}
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Starting(startup) => startup.next_wake(),
            Phase::ControlledShutdown(shutdown) => shutdown.next_wake(),
            Phase::Running
            | Phase::StoppingReplicas { .. }
            | Phase::StoppingController { .. }
            | Phase::ClosingSession
            | Phase::Exited => None,
        }
    }

    /// The logs, while they are not the replica manager's yet.
    pub(crate) fn logs(&self) -> Option<&LogManager> {
        match &self.phase {
            Phase::Starting(startup) => startup.logs(),
            Phase::Running
            | Phase::ControlledShutdown(_)
            | Phase::StoppingReplicas { .. }
            | Phase::StoppingController { .. }
            | Phase::ClosingSession
            | Phase::Exited => None,
        }
    }

    pub(crate) fn owns_ticket(&self, ticket: Ticket) -> bool {
        self.logs().is_some_and(|logs| logs.owns(ticket))
    }

    pub(crate) fn on_durable(&mut self, ticket: Ticket, result: Result<(), DiskError>, cx: &mut Cx<'_, '_>) {
        let Phase::Starting(startup) = &mut self.phase else { unreachable!("only a start has tickets") };
        match startup.on_durable(ticket, result, cx) {
            Ok(Some(LogEvent::MetaPropertiesWritten)) => cx.io.defer(MAIN, Work::Lifecycle),
            Ok(Some(LogEvent::Flushed { .. }) | None) => {}
            Ok(Some(LogEvent::ShutDown)) => unreachable!("nothing is shut down at the start"),
            Err(error) => self.on_disk_failed(error, cx),
        }
    }

    pub(crate) fn check_invariants(&self) {
        if let Some(logs) = self.logs() {
            logs.check_invariants();
        }
    }

    pub(crate) fn digest(&self, into: &mut Digest) {
        into.text(self.name());
        if let Some(logs) = self.logs() {
            logs.digest(into);
        }
    }
}
