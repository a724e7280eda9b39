//! What the controller's reads were answered with.

use jute::Zxid;
use jute::client::Response;
use jute::data::Stat;
use jute::op::ErrorCode;

use crate::zookeeper::{ZkError, ZkResult};

use super::step::Failure;

/// A znode's data and Stat; none if there is no such znode.
pub(super) fn data(result: &ZkResult) -> Result<Option<(&[u8], &Stat)>, Failure> {
    match result {
        Ok(Some(Response::GetData(read))) => Ok(Some((read.data.as_slice(), &read.stat))),
        Err(ZkError::Code(ErrorCode::NoNode)) => Ok(None),
        Err(why) => Err(Failure::Zk(*why)),
        Ok(other) => panic!("getData was answered by {other:?}"),
    }
}

/// The names of a znode's children, sorted; none at all if there is no such znode.
pub(super) fn children(result: &ZkResult) -> Result<Vec<String>, Failure> {
    let mut names = match result {
        Ok(Some(Response::GetChildren(read))) => read.children.clone(),
        Ok(Some(Response::GetChildren2(read))) => read.children.clone(),
        Err(ZkError::Code(ErrorCode::NoNode)) => Vec::new(),
        Err(why) => return Err(Failure::Zk(*why)),
        Ok(other) => panic!("getChildren was answered by {other:?}"),
    };
    // ZooKeeper's order is that of a hash map.
    names.sort_unstable();
    Ok(names)
}

/// Whether a znode is there.
pub(super) fn exists(result: &ZkResult) -> Result<bool, Failure> {
    match result {
        Ok(_) => Ok(true),
        Err(ZkError::Code(ErrorCode::NoNode)) => Ok(false),
        Err(why) => Err(Failure::Zk(*why)),
    }
}

/// The only result.
pub(super) fn only(results: Vec<ZkResult>) -> ZkResult {
    let [result] = <[ZkResult; 1]>::try_from(results).expect("one request was asked");
    result
}

/// A czxid as a broker epoch.
pub(super) fn epoch_of(czxid: Zxid) -> kafkawire::BrokerEpoch {
    kafkawire::BrokerEpoch(czxid.to_wire())
}
