//! Creating a znode with its parents (`KafkaZkClient.createRecursive`): not atomic, one request after the other.

use bytes::Bytes;
use jute::op::ErrorCode;
use jute::path::parent_of;

use crate::zookeeper::{ZkError, ZkRequest, ZkResult};

/// A creation under way.
#[derive(Clone, Debug)]
pub(crate) struct RecursiveCreate {
    data: Bytes,
    /// What is being created is last; what waits for it as its parent is before it.
    stack: Vec<String>,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// Ask this, and go on with its result.
    Ask(ZkRequest),
    /// It was created.
    Created,
    /// It was there before.
    Existed,
    /// ZooKeeper said something else.
    Failed(ZkError),
}

impl RecursiveCreate {
    /// A creation with this data, and its first request. Parents are created without data.
    pub(crate) fn begin(path: &str, data: Bytes) -> (Self, ZkRequest) {
        let this = Self { data, stack: vec![path.to_owned()] };
        let request = this.request();
        (this, request)
    }

    fn request(&self) -> ZkRequest {
        let path = self.stack.last().expect("something is being created");
        let data = if self.stack.len() == 1 { self.data.clone() } else { Bytes::new() };
        ZkRequest::create(path.clone(), data)
    }

    /// Goes on with the result of what it asked last.
    pub(crate) fn next(&mut self, result: &ZkResult) -> Creation {
        let existed = match result {
            Ok(_) => false,
            Err(ZkError::Code(ErrorCode::NodeExists)) => true,
            Err(ZkError::Code(ErrorCode::NoNode)) => {
                let path = self.stack.last().expect("something is being created");
                let parent = parent_of(path).expect("the root is there");
                self.stack.push(parent.to_owned());
                return Creation::Ask(self.request());
            }
            Err(why) => return Creation::Failed(*why),
        };
        self.stack.pop();
        if !self.stack.is_empty() {
            return Creation::Ask(self.request());
        }
        if existed { Creation::Existed } else { Creation::Created }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_NODE: ZkResult = Err(ZkError::Code(ErrorCode::NoNode));
    const EXISTS: ZkResult = Err(ZkError::Code(ErrorCode::NodeExists));

    fn ask(path: &str, data: &'static str) -> Creation {
        Creation::Ask(ZkRequest::create(path, data))
    }

    #[test]
    fn missing_parents_are_created_from_the_first_that_is_missing() {
        let (mut create, first) = RecursiveCreate::begin("/a/b/c", Bytes::from("x"));
        assert_eq!(first, ZkRequest::create("/a/b/c", "x"));
        assert_eq!(create.next(&NO_NODE), ask("/a/b", ""));
        assert_eq!(create.next(&NO_NODE), ask("/a", ""));
        assert_eq!(create.next(&Ok(None)), ask("/a/b", ""));
        assert_eq!(create.next(&EXISTS), ask("/a/b/c", "x"), "somebody else made the parent meanwhile");
        assert_eq!(create.next(&Ok(None)), Creation::Created);
    }

    #[test]
    fn what_was_there_before_is_told() {
        let (mut create, _) = RecursiveCreate::begin("/a", Bytes::new());
        assert_eq!(create.next(&EXISTS), Creation::Existed);
        let (mut create, _) = RecursiveCreate::begin("/a", Bytes::new());
        assert_eq!(create.next(&Err(ZkError::SessionExpired)), Creation::Failed(ZkError::SessionExpired));
    }
}
