//! A ZooKeeper session that is begun anew when it expires, and what its owner asked of it.
//!
//! The operations are few, so each carries a *purpose* that comes back with its answer: what it was for, in the owner's words.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jute::client::{
    CreateRequest, DeleteRequest, ExistsRequest, GetChildrenRequest, GetDataRequest, Request, Response, SetDataRequest,
    SyncRequest,
};
use jute::data::{Acl, Stat};
use jute::op::{CreateMode, ErrorCode};
use jute::{Buffer, SessionId, Version};
use machine::{EndId, InputOf, Instant, Io};
use zkclient::{OpId, Outcome, Rejected, WatchedEvent, ZkClient, ZkClientConfig, ZkEvent};

use super::KafkaClient;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The data of a znode.
    Data { data: Bytes, stat: Stat },
    /// The children of a znode.
    Children(Vec<String>),
    /// It was done, and there is nothing to say.
    Done,
    /// The server refused it: it had no effect.
    Refused(ErrorCode),
    /// Connection or session were lost: nobody knows.
    Lost,
}

/// What the owner of a session must know.
#[derive(Clone, Debug)]
pub(crate) enum Told<P> {
    /// A server confirmed the session; `anew` if it is another one than before, so that watches and ephemerals are gone.
    Connected { anew: bool },
    /// The session is over; another is being begun.
    Expired,
    /// It was closed by its owner.
    Closed,
    /// An operation ended.
    Answered { purpose: P, answer: Answer },
    /// A watch saw something.
    Watched(WatchedEvent),
}

/// Whether a read leaves a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It does.
    Set,
    /// It does not.
    None,
}

/// A session and what is open on it.
#[derive(Clone, Debug)]
pub(crate) struct Session<P> {
    config: Arc<ZkClientConfig>,
    zk: ZkClient,
    open: BTreeMap<OpId, P>,
    /// The session that was last confirmed.
    last: SessionId,
}

impl<P> Session<P> {
    pub(crate) fn start(config: &Arc<ZkClientConfig>, io: &mut Io<'_, KafkaClient>) -> Self {
        let mut zk = ZkClient::new(Arc::clone(config));
        io.lend(|io| zk.start(io));
        Self { config: Arc::clone(config), zk, open: BTreeMap::new(), last: SessionId::ZERO }
    }

    pub(crate) fn owns(&self, end: EndId) -> bool {
        self.zk.owns(end)
    }

    pub(crate) const fn zk(&self) -> &ZkClient {
        &self.zk
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.zk.next_wake()
    }

    pub(crate) fn handle(&mut self, input: InputOf<ZkClient>, io: &mut Io<'_, KafkaClient>) -> Vec<Told<P>> {
        let events = io.lend(|io| self.zk.handle(input, io));
        self.on_events(events, io)
    }

    /// Ends the session.
    pub(crate) fn close(&mut self, io: &mut Io<'_, KafkaClient>) -> Vec<Told<P>> {
        let events = io.lend(|io| self.zk.close(io));
        self.on_events(events, io)
    }

    fn on_events(&mut self, events: Vec<ZkEvent>, io: &mut Io<'_, KafkaClient>) -> Vec<Told<P>> {
        let mut told = Vec::new();
        for event in events {
            match event {
                ZkEvent::Connected { session, .. } => {
                    let anew = session != self.last;
                    self.last = session;
                    told.push(Told::Connected { anew });
                }
                ZkEvent::Disconnected => {}
                ZkEvent::Expired => {
                    assert!(self.open.is_empty(), "operations end before their session");
                    self.zk = ZkClient::new(Arc::clone(&self.config));
                    io.lend(|io| self.zk.start(io));
                    told.push(Told::Expired);
                }
                ZkEvent::Closed => told.push(Told::Closed),
                ZkEvent::ConnectedReadOnly { .. } => unreachable!("Kafka wants servers that can write"),
                ZkEvent::AuthFailed => unreachable!("clients of Kafka claim no identity"),
                ZkEvent::Completed { op, outcome } => {
                    let purpose = self.open.remove(&op).expect("what completes was open");
                    told.push(Told::Answered { purpose, answer: answer_of(outcome) });
                }
                ZkEvent::Watch(event) => told.push(Told::Watched(event)),
            }
        }
        told
    }

    /// Asks. A session that is being closed takes nothing more, and no answer comes.
    fn submit(&mut self, purpose: impl Into<P>, request: Request, io: &mut Io<'_, KafkaClient>) {
        match io.lend(|io| self.zk.submit(request, io)) {
            Ok(op) => {
                let before = self.open.insert(op, purpose.into());
                assert!(before.is_none(), "operation numbers are not reused");
            }
            Err(Rejected::Closed) => {}
            Err(Rejected::Full) => panic!("a client of Kafka has more operations or watches than its limits allow"),
            Err(Rejected::BadPath(error)) => panic!("a client of Kafka names znodes properly: {error}"),
            Err(Rejected::AuthFailed) => unreachable!("clients of Kafka claim no identity"),
        }
    }

    pub(crate) fn data(&mut self, purpose: impl Into<P>, path: String, watch: Watch, io: &mut Io<'_, KafkaClient>) {
        self.submit(purpose, Request::GetData(GetDataRequest { path, watch: watch == Watch::Set }), io);
    }

    pub(crate) fn children(&mut self, purpose: impl Into<P>, path: String, watch: Watch, io: &mut Io<'_, KafkaClient>) {
        self.submit(purpose, Request::GetChildren2(GetChildrenRequest { path, watch: watch == Watch::Set }), io);
    }

    /// Leaves a watch whether something is there or not.
    pub(crate) fn watch_for(&mut self, purpose: impl Into<P>, path: String, io: &mut Io<'_, KafkaClient>) {
        self.submit(purpose, Request::Exists(ExistsRequest { path, watch: true }), io);
    }

    pub(crate) fn sync(&mut self, purpose: impl Into<P>, path: String, io: &mut Io<'_, KafkaClient>) {
        self.submit(purpose, Request::Sync(SyncRequest { path: Some(path) }), io);
    }

    pub(crate) fn create(
        &mut self,
        purpose: impl Into<P>,
        path: String,
        data: Bytes,
        mode: CreateMode,
        io: &mut Io<'_, KafkaClient>,
    ) {
        let data = Buffer::new(data);
        let request = CreateRequest { path, data, acl: Some(Acl::open()), flags: mode.code() };
        self.submit(purpose, Request::Create(request), io);
    }

    /// Sets data whatever version is there.
    pub(crate) fn set(&mut self, purpose: impl Into<P>, path: String, data: Bytes, io: &mut Io<'_, KafkaClient>) {
        let request = SetDataRequest { path, data: Buffer::new(data), version: Version::ANY };
        self.submit(purpose, Request::SetData(request), io);
    }

    /// Deletes whatever version is there.
    pub(crate) fn delete(&mut self, purpose: impl Into<P>, path: String, io: &mut Io<'_, KafkaClient>) {
        self.submit(purpose, Request::Delete(DeleteRequest { path, version: Version::ANY }), io);
    }

    pub(crate) fn check_invariants(&self) {
        self.zk.check_invariants();
        assert_eq!(self.zk.operations(), self.open.len(), "every operation of the session has a purpose");
    }
}

fn answer_of(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Ok { response: Some(Response::GetData(got)), .. } => {
            Answer::Data { data: got.data.bytes().cloned().unwrap_or_default(), stat: got.stat }
        }
        Outcome::Ok { response: Some(Response::GetChildren2(got)), .. } => Answer::Children(got.children),
        Outcome::Ok { .. } => Answer::Done,
        Outcome::Error { code, .. } => Answer::Refused(code),
        Outcome::ConnectionLoss | Outcome::SessionExpired | Outcome::AuthFailed | Outcome::RequestTimeout => {
            Answer::Lost
        }
    }
}

/// The parents of a path, outermost first: what a recursive create makes.
pub(crate) fn parents(path: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|&at| at > 0);
    ends.map(|at| path[..at].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::parents;

    #[test]
    fn parents_come_outermost_first_without_the_root() {
        assert_eq!(parents("/consumers/g/ids"), ["/consumers", "/consumers/g"]);
        assert_eq!(parents("/controller"), [""; 0]);
    }
}
