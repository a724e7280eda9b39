//! Writes that a deposed controller cannot make (kafka-broker.md §2.3, KAFKA-6082).
//!
//! Every write of this file is `multi[check(/controller_epoch, czv), write]`. If the check fails, somebody was elected
//! since: [`Failure::Moved`].

use bytes::Bytes;
use jute::client::{OpResult, Response};
use jute::op::ErrorCode;
use kafkawire::znode::CONTROLLER_EPOCH;

use crate::cx::Cx;
use crate::zookeeper::{ZkError, ZkRequest, ZkResult};
use crate::{BrokerMark, Defect};

use super::Controller;
use super::step::Failure;

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Created or deleted.
    Done,
    /// Set; the data has this version now.
    Set {
        /// The zkVersion.
        version: i32,
    },
}

impl Controller {
    /// These writes, each behind the check. Without it with KAFKA-6082: only the versions they carry are looked at then.
    pub(super) fn fenced(&self, writes: impl IntoIterator<Item = ZkRequest>, cx: &Cx<'_, '_>) -> Vec<ZkRequest> {
        let writes = writes.into_iter();
        if cx.has(Defect::NoControllerFence) {
            return writes.collect();
        }
        writes.map(|write| write.checked(CONTROLLER_EPOCH, self.context.epoch_version)).collect()
    }

    /// What came of the writes of [`fenced`](Self::fenced), each with the server's error.
    ///
    /// The first check that failed, or that could not be made, fails them all, as the real one throws there.
    pub(super) fn unfenced(&mut self, cx: &mut Cx<'_, '_>) -> Result<Vec<Result<Written, ErrorCode>>, Failure> {
        let results = self.take_results();
        let outcome = results.iter().map(written).collect();
        if outcome == Err(Failure::Moved) {
            cx.io.reach(BrokerMark::ControllerDeposedMidEvent);
        }
        outcome
    }

    /// As [`unfenced`](Self::unfenced) inside the `try` of the state machines: only that the controller moved goes on
    /// failing; none if something else was thrown, which is logged there.
    pub(super) fn unfenced_or_logged(
        &mut self,
        cx: &mut Cx<'_, '_>,
    ) -> Result<Option<Vec<Result<Written, ErrorCode>>>, Failure> {
        match self.unfenced(cx) {
            Ok(outcomes) => Ok(Some(outcomes)),
            Err(Failure::Moved) => Err(Failure::Moved),
            Err(_) => Ok(None),
        }
    }
}

fn written(result: &ZkResult) -> Result<Result<Written, ErrorCode>, Failure> {
    match result {
        Ok(Some(Response::Multi(response))) => match response.results.as_slice() {
            [OpResult::Error(ErrorCode::Ok), write] => Ok(of_operation(write)),
            [OpResult::Error(ErrorCode::BadVersion), _] => Err(Failure::Moved),
            [OpResult::Error(code), _] => Err(Failure::Zk(ZkError::Code(*code))),
            [OpResult::Check, write] => Ok(of_operation(write)),
            other => panic!("check and write were answered by {other:?}"),
        },
        Ok(Some(Response::SetData(set))) => Ok(Ok(Written::Set { version: set.stat.version.value() })),
        Ok(_) => Ok(Ok(Written::Done)),
        Err(ZkError::Code(code)) => Ok(Err(*code)),
        Err(why @ ZkError::SessionExpired) => Err(Failure::Zk(*why)),
    }
}

fn of_operation(result: &OpResult) -> Result<Written, ErrorCode> {
    match result {
        OpResult::Create(_) | OpResult::Create2(_) | OpResult::Delete => Ok(Written::Done),
        OpResult::SetData(set) => Ok(Written::Set { version: set.stat.version.value() }),
        OpResult::Error(code) => Err(*code),
        OpResult::Check | OpResult::GetData(_) | OpResult::GetChildren(_) => {
            panic!("a write was answered by {result:?}")
        }
    }
}

/// A fenced write's request: the znode's data, if it still has that version.
pub(super) fn set(path: String, data: Bytes, version: i32) -> ZkRequest {
    ZkRequest::SetData { path, data, version }
}

/// A fenced write's request: the znode goes, whatever its version.
pub(super) fn delete(path: String) -> ZkRequest {
    ZkRequest::Delete { path, version: -1 }
}
