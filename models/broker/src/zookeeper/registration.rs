//! The checked ephemeral: how a broker registers (kafka-broker.md §3.2).

use bytes::Bytes;
use jute::client::{MultiOp, OpResult, Response, SetDataRequest};
use jute::op::{CreateMode, ErrorCode};
use jute::{Buffer, SessionId, Version};
use kafkawire::znode::{self, BrokerRegistration};
use kafkawire::{BrokerEpoch, BrokerId};

use crate::Defect;
use crate::cx::{Cx, Identity};
use crate::fact::KafkaFact;
use crate::zookeeper::{ZkError, ZkRequest, ZkResult};

/// What becomes of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask these, and go on with their results.
    Ask(Vec<ZkRequest>),
    /// `/brokers/ids/N` is ours; the epoch is its czxid.
    Done(BrokerEpoch),
    /// It belongs to another session: `NodeExistsException`.
    Refused {
        /// The other session.
        owner: SessionId,
    },
    /// ZooKeeper said something else, or the session expired: whether we are registered is not known.
    Failed(ZkError),
}

/// A registration under way: `multi[create E /brokers/ids/N null, setData(v0)]`, and what a NODEEXISTS makes necessary.
///
/// It is driven by whoever registers: ask what [`begin`](Self::begin) says, feed the results to
/// [`advance`](Self::advance) until the step is not [`Step::Ask`].
#[derive(Clone, Debug)]
pub struct Registration {
    path: String,
    payload: Bytes,
    awaits: Awaits,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaits {
    Create,
    Read,
    Delete { owner: SessionId },
}

impl Registration {
    /// A registration of a broker with this payload.
    #[must_use]
    pub fn new(broker: BrokerId, payload: &BrokerRegistration) -> Self {
        Self { path: znode::broker_id(broker), payload: payload.encode(), awaits: Awaits::Create }
    }

    /// The registration of the broker that is lent, stamped with its calendar.
    #[must_use]
    pub fn of(cx: &Cx<'_, '_>) -> Self {
        let config = cx.config();
        let timestamp_ms = cx.io.wall_clock().0;
        let payload =
            BrokerRegistration::new(config.advertised_host.clone(), config.port.0, config.rack.clone(), timestamp_ms);
        Self::new(config.broker_id, &payload)
    }

    /// The first requests.
    #[must_use]
    pub fn begin(&mut self) -> Vec<ZkRequest> {
        self.awaits = Awaits::Create;
        vec![ZkRequest::Multi(vec![
            MultiOp::Create(ZkRequest::wire_create(&self.path, Buffer::NULL, CreateMode::Ephemeral)),
            MultiOp::SetData(SetDataRequest {
                path: self.path.clone(),
                data: Buffer::new(self.payload.clone()),
                version: Version::ZERO,
            }),
        ])]
    }

    /// Goes on, and tells: [`Step::Done`] is remembered in the identity and stated, so are a refusal and a deletion of an
    /// own earlier registration.
    ///
    /// # Panics
    /// As [`next`](Self::next).
    #[must_use]
    pub fn advance(&mut self, results: &[ZkResult], cx: &mut Cx<'_, '_>) -> Step {
        let broker = cx.broker();
        let deleting = match self.awaits {
            Awaits::Create | Awaits::Read => None,
            Awaits::Delete { owner } => Some(owner),
        };
        let removes_own = !cx.has(Defect::NoOwnEphemeralCleanup);
        let step = self.next(results, cx.identity, removes_own);
        if let (Some(owner), Step::Ask(_)) = (deleting, &step) {
            cx.io.state(KafkaFact::OwnRegistrationDeleted { broker, owner });
        }
        match step {
            Step::Ask(_) | Step::Failed(_) => {}
            Step::Done(epoch) => {
                let session = cx.identity.session.expect("a reply came on a session");
                cx.identity.on_registered(epoch);
                cx.io.state(KafkaFact::Registered { broker, epoch, session });
            }
            Step::Refused { owner } => {
                let session = cx.identity.session.expect("a reply came on a session");
                cx.io.state(KafkaFact::RegistrationRefused { broker, session, owner });
            }
        }
        step
    }

    /// Goes on with the results of what it asked last. `removes_own` is off with KAFKA-7165: case (b) is then (c).
    ///
    /// # Panics
    /// If these are not the results of what was asked.
    #[must_use]
    pub fn next(&mut self, results: &[ZkResult], identity: &Identity, removes_own: bool) -> Step {
        let [result] = results else { panic!("one request was asked, {} were answered", results.len()) };
        match self.awaits {
            Awaits::Create => self.on_created(result),
            Awaits::Read => self.on_read(result, identity, removes_own),
            Awaits::Delete { .. } => match result {
                Ok(_) | Err(ZkError::Code(ErrorCode::NoNode)) => Step::Ask(self.begin()),
                Err(why) => Step::Failed(*why),
            },
        }
    }

    fn on_created(&mut self, result: &ZkResult) -> Step {
        match super::multi_results(result) {
            Ok([OpResult::Create(_), OpResult::SetData(set)]) => Step::Done(epoch_of(&set.stat)),
            Ok(other) => panic!("create and setData were answered by {other:?}"),
            Err(ZkError::Code(ErrorCode::NodeExists)) => {
                self.awaits = Awaits::Read;
                Step::Ask(vec![ZkRequest::GetData { path: self.path.clone() }])
            }
            Err(why) => Step::Failed(why),
        }
    }

    fn on_read(&mut self, result: &ZkResult, identity: &Identity, removes_own: bool) -> Step {
        let stat = match result {
            Ok(Some(Response::GetData(read))) => read.stat,
            // It went away while it was looked at.
            Err(ZkError::Code(ErrorCode::NoNode)) => return Step::Ask(self.begin()),
            Err(why) => return Step::Failed(*why),
            Ok(other) => panic!("getData was answered by {other:?}"),
        };
        let owner = stat.ephemeral_owner;
        let session = identity.session.expect("a reply came on a session");
        if identity.registered_session == Some(owner) && session != owner && removes_own {
            // (b): of our own earlier session, which the server has not cleaned up yet (ZOOKEEPER-2985).
            self.awaits = Awaits::Delete { owner };
            return Step::Ask(vec![ZkRequest::Delete { path: self.path.clone(), version: Version::ANY.value() }]);
        }
        if owner == session {
            // (a): it was created, and the answer was lost.
            return Step::Done(epoch_of(&stat));
        }
        // (c)
        Step::Refused { owner }
    }
}

/// The broker epoch is the czxid of the registration (KIP-380).
fn epoch_of(stat: &jute::data::Stat) -> BrokerEpoch {
    BrokerEpoch(stat.czxid.value().cast_signed())
}

#[cfg(test)]
mod tests {
    use jute::client::{CreateResponse, GetDataResponse, MultiResponse, SetDataResponse};
    use jute::data::Stat;
    use jute::{PeerEpoch, Zxid};

    use super::*;

    const OURS: SessionId = SessionId::new(7);
    const EARLIER: SessionId = SessionId::new(6);
    const OTHER: SessionId = SessionId::new(99);

    fn registration() -> Registration {
        let payload = BrokerRegistration::new("kafka-1", 9092, None, 0);
        let mut registration = Registration::new(BrokerId(1), &payload);
        let first = registration.begin();
        let [ZkRequest::Multi(ops)] = first.as_slice() else { panic!("{first:?}") };
        assert!(matches!(&ops[..], [MultiOp::Create(create), MultiOp::SetData(set)]
            if create.flags == CreateMode::Ephemeral.code() && create.data.is_null() && set.version == Version::ZERO));
        registration
    }

    fn identity(registered: Option<SessionId>) -> Identity {
        Identity { session: Some(OURS), registered_session: registered, ..Identity::default() }
    }

    fn stat(owner: SessionId, czxid: u32) -> Stat {
        Stat { ephemeral_owner: owner, czxid: Zxid::new(PeerEpoch::ZERO, czxid), ..Stat::default() }
    }

    fn created(czxid: u32) -> ZkResult {
        let results = vec![
            OpResult::Create(CreateResponse { path: "/brokers/ids/1".to_owned() }),
            OpResult::SetData(SetDataResponse { stat: stat(OURS, czxid) }),
        ];
        Ok(Some(Response::Multi(MultiResponse { results })))
    }

    fn exists() -> ZkResult {
        let results = vec![OpResult::Error(ErrorCode::NodeExists), OpResult::Error(ErrorCode::RuntimeInconsistency)];
        Ok(Some(Response::Multi(MultiResponse { results })))
    }

    fn found(owner: SessionId, czxid: u32) -> ZkResult {
        Ok(Some(Response::GetData(GetDataResponse { data: Buffer::NULL, stat: stat(owner, czxid) })))
    }

    #[track_caller]
    fn reads(step: &Step) {
        assert_eq!(step, &Step::Ask(vec![ZkRequest::GetData { path: "/brokers/ids/1".to_owned() }]));
    }

    #[test]
    fn broker_epoch_is_the_czxid_of_the_new_znode() {
        assert_eq!(registration().next(&[created(42)], &identity(None), true), Step::Done(BrokerEpoch(42)));
    }

    #[test]
    fn own_znode_after_a_lost_answer_is_a_success() {
        let mut registration = registration();
        reads(&registration.next(&[exists()], &identity(None), true));
        assert_eq!(registration.next(&[found(OURS, 5)], &identity(None), true), Step::Done(BrokerEpoch(5)));
    }

    #[test]
    fn znode_of_the_own_earlier_session_is_deleted_and_created_again() {
        let identity = identity(Some(EARLIER));
        let mut registration = registration();
        reads(&registration.next(&[exists()], &identity, true));
        let delete = ZkRequest::Delete { path: "/brokers/ids/1".to_owned(), version: -1 };
        assert_eq!(registration.next(&[found(EARLIER, 5)], &identity, true), Step::Ask(vec![delete]));
        // The server was faster.
        let again = registration.next(&[Err(ZkError::Code(ErrorCode::NoNode))], &identity, true);
        assert!(matches!(again, Step::Ask(requests) if matches!(requests[..], [ZkRequest::Multi(_)])));
        assert_eq!(registration.next(&[created(9)], &identity, true), Step::Done(BrokerEpoch(9)));
    }

    #[test]
    fn with_kafka_7165_the_znode_of_the_own_earlier_session_is_fatal() {
        let identity = identity(Some(EARLIER));
        let mut registration = registration();
        reads(&registration.next(&[exists()], &identity, false));
        assert_eq!(registration.next(&[found(EARLIER, 5)], &identity, false), Step::Refused { owner: EARLIER });
    }

    #[test]
    fn znode_of_another_session_is_a_refusal() {
        for registered in [None, Some(EARLIER)] {
            let mut registration = registration();
            reads(&registration.next(&[exists()], &identity(registered), true));
            let step = registration.next(&[found(OTHER, 5)], &identity(registered), true);
            assert_eq!(step, Step::Refused { owner: OTHER });
        }
    }

    #[test]
    fn znode_that_goes_away_while_it_is_read_is_created_again() {
        let mut registration = registration();
        reads(&registration.next(&[exists()], &identity(None), true));
        let again = registration.next(&[Err(ZkError::Code(ErrorCode::NoNode))], &identity(None), true);
        assert!(matches!(again, Step::Ask(requests) if matches!(requests[..], [ZkRequest::Multi(_)])));
    }

    #[test]
    fn end_of_the_session_is_a_failure() {
        let step = registration().next(&[Err(ZkError::SessionExpired)], &identity(None), true);
        assert_eq!(step, Step::Failed(ZkError::SessionExpired));
    }
}
