//! What every role of a client has: when it stops, what it tries behind the faults, and the shape the machine sees.

use kafkawire::{Link, TopicPartition};
use machine::disk::DiskError;
use machine::{Digest, EndId, InputOf, Instant, Io, Span, Ticket};
use zkclient::ZkClient;

use super::view::KafkaClientView;
use super::{KafkaClient, KafkaWorkFact, Work};

/// A probe that failed is tried again after so long.
pub(crate) const PROBE_RETRY: Span = Span::millis(200);

/// One of the things a client of Kafka can be. The machine routes inputs to it, and lets it settle behind each of them.
pub(crate) trait Role {
    /// An input for a connection to a broker.
    fn on_link(&mut self, input: InputOf<Link>, io: &mut Io<'_, KafkaClient>);
    /// Whether an end is that of its ZooKeeper session.
    fn owns_session(&self, end: EndId) -> bool;
    /// An input for its ZooKeeper session.
    fn on_session(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>);
    /// A sync ended.
    fn on_durable(&mut self, ticket: Ticket, result: Result<(), DiskError>, io: &mut Io<'_, KafkaClient>);
    /// The operator asks the process to end.
    fn on_terminate(&mut self, io: &mut Io<'_, KafkaClient>);
    /// Does everything that is due or has become possible, and notes when it next wants to be woken.
    fn settle(&mut self, io: &mut Io<'_, KafkaClient>);
    fn next_wake(&self) -> Option<Instant>;
    fn life(&self) -> &Life;
    /// Whether it knows what it must know to work.
    fn is_ready(&self) -> bool;
    /// The oldest unfinished thing, in words.
    fn pending(&self) -> Option<String>;
    /// The partitions it reads.
    fn owned(&self) -> Vec<TopicPartition>;
    /// How far it is behind the high watermark it was last told.
    fn lag(&self, at: &TopicPartition) -> Option<i64>;
    fn check_invariants(&self);
    fn digest(&self, into: &mut Digest);
    fn view(&self) -> KafkaClientView;
}

/// The produce, or fetch, behind the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// None is wanted.
    Absent,
    /// It is tried then.
    At(Instant),
    /// It is being tried.
    Trying,
    /// It succeeded.
    Succeeded,
}

/// When a client stops, and its probe.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) client: u16,
    pub(crate) kind: &'static str,
    stop_at: Option<Instant>,
    is_stopped: bool,
    probe: Probe,
    is_terminating: bool,
}

impl Life {
    pub(crate) fn begin(work: &Work, kind: &'static str, io: &mut Io<'_, KafkaClient>) -> Self {
        io.state(KafkaWorkFact::Started { client: work.client, kind });
        Self {
            client: work.client,
            kind,
            stop_at: work.stop_after.map(|span| io.now() + span),
            is_stopped: false,
            probe: work.probe_after.map_or(Probe::Absent, |span| Probe::At(io.now() + span)),
            is_terminating: false,
        }
    }

    /// Nobody may demand a probe of this client.
    pub(crate) const fn without_probe(mut self) -> Self {
        self.probe = Probe::Absent;
        self
    }

    /// Whether the time to stop has come; true once.
    pub(crate) fn is_stop_due(&mut self, now: Instant) -> bool {
        let is_due = self.stop_at.is_some_and(|at| at <= now);
        if is_due {
            self.stop_at = None;
        }
        is_due
    }

    pub(crate) fn stop(&mut self, io: &mut Io<'_, KafkaClient>) {
        if !self.is_stopped {
            self.is_stopped = true;
            io.state(KafkaWorkFact::Stopped { client: self.client });
        }
    }

    /// Whether the time of the probe has come; it is being tried from then on.
    pub(crate) fn begin_probe(&mut self, now: Instant) -> bool {
        let Probe::At(at) = self.probe else { return false };
        if at <= now {
            self.probe = Probe::Trying;
        }
        at <= now
    }

    pub(crate) fn retry_probe(&mut self, now: Instant) {
        assert_eq!(self.probe, Probe::Trying, "a probe that failed was tried");
        self.probe = Probe::At(now + PROBE_RETRY);
    }

    pub(crate) fn end_probe(&mut self, io: &mut Io<'_, KafkaClient>) {
        assert_eq!(self.probe, Probe::Trying, "a probe that succeeded was tried");
        self.probe = Probe::Succeeded;
        io.state(KafkaWorkFact::ProbeSucceeded { client: self.client });
    }

    pub(crate) fn terminate(&mut self) {
        self.is_terminating = true;
        self.stop_at = None;
    }

    pub(crate) const fn is_terminating(&self) -> bool {
        self.is_terminating
    }

    pub(crate) const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(crate) fn wants_probe(&self) -> bool {
        self.probe != Probe::Absent
    }

    pub(crate) fn probed(&self) -> bool {
        self.probe == Probe::Succeeded
    }

    /// When stop or probe are due. A probe that is due may have to wait for something else.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let probe = match self.probe {
            Probe::At(at) => Some(at),
            Probe::Absent | Probe::Trying | Probe::Succeeded => None,
        };
        Instant::earliest([self.stop_at.filter(|&at| at > now), probe.filter(|&at| at > now)])
    }
}
