//! Several operations in one request (zookeeper.md §11.6).
//!
//! Each is preceded by a header, and a header alone ends the list:
//!
//! ```text
//! type 1 (create), done 0, err -1 | path, data, acl, flags | type 5 (setData), done 0, err -1 | … | type -1, done 1, err -1
//! ```

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};
use std::fmt;
use std::marker::PhantomData;

use super::record::{
    CheckVersionRequest, Create2Response, CreateRequest, CreateResponse, CreateTtlRequest, DeleteRequest,
    GetChildrenRequest, GetChildrenResponse, GetDataRequest, GetDataResponse, SetDataRequest, SetDataResponse,
};
use crate::coded::bad_value;
use crate::op::{ErrorCode, OpCode};

/// A transaction of several operations: all of them or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MultiRequest {
    /// In the order they take effect.
    pub ops: Vec<MultiOp>,
}

/// One operation of a [`MultiRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiOp {
    /// Creates a znode; the result is its path.
    Create(CreateRequest),
    /// Creates a znode; the result is its path and stat.
    Create2(CreateRequest),
    /// Creates a container.
    CreateContainer(CreateRequest),
    /// Creates a TTL znode.
    CreateTtl(CreateTtlRequest),
    /// Deletes a znode.
    Delete(DeleteRequest),
    /// Sets a znode's data.
    SetData(SetDataRequest),
    /// Demands a znode's version.
    Check(CheckVersionRequest),
}

impl MultiOp {
    /// Returns its code.
    pub fn op(&self) -> OpCode {
        match self {
            MultiOp::Create(_) => OpCode::Create,
            MultiOp::Create2(_) => OpCode::Create2,
            MultiOp::CreateContainer(_) => OpCode::CreateContainer,
            MultiOp::CreateTtl(_) => OpCode::CreateTtl,
            MultiOp::Delete(_) => OpCode::Delete,
            MultiOp::SetData(_) => OpCode::SetData,
            MultiOp::Check(_) => OpCode::Check,
        }
    }

    /// Returns the path it names.
    pub fn path(&self) -> &str {
        match self {
            MultiOp::Create(request) | MultiOp::Create2(request) | MultiOp::CreateContainer(request) => &request.path,
            MultiOp::CreateTtl(request) => &request.path,
            MultiOp::Delete(request) => &request.path,
            MultiOp::SetData(request) => &request.path,
            MultiOp::Check(request) => &request.path,
        }
    }
}

/// Several reads in one request, each with its own outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MultiReadRequest {
    /// In the order of their results.
    pub ops: Vec<MultiReadOp>,
}

/// One read of a [`MultiReadRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiReadOp {
    /// Reads a znode's data.
    GetData(GetDataRequest),
    /// Reads the names of a znode's children.
    GetChildren(GetChildrenRequest),
}

impl MultiReadOp {
    /// Returns its code.
    pub fn op(&self) -> OpCode {
        match self {
            MultiReadOp::GetData(_) => OpCode::GetData,
            MultiReadOp::GetChildren(_) => OpCode::GetChildren,
        }
    }
}

/// The answer to multi and multiRead: a result per operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MultiResponse {
    /// In the order of the operations.
    pub results: Vec<OpResult>,
}

/// What came of one operation of a multi or multiRead.
///
/// When the k-th operation of a multi fails, all results are errors: `Ok` before it, its code, `RuntimeInconsistency` after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// Of create.
    Create(CreateResponse),
    /// Of create2, createContainer and createTTL.
    Create2(Create2Response),
    /// Of delete.
    Delete,
    /// Of setData.
    SetData(SetDataResponse),
    /// Of check.
    Check,
    /// Of getData.
    GetData(GetDataResponse),
    /// Of getChildren.
    GetChildren(GetChildrenResponse),
    /// It failed, or shares the fate of one that did.
    Error(ErrorCode),
}

impl OpResult {
    /// Returns the code of the header before it.
    pub fn op(&self) -> OpCode {
        match self {
            OpResult::Create(_) => OpCode::Create,
            OpResult::Create2(_) => OpCode::Create2,
            OpResult::Delete => OpCode::Delete,
            OpResult::SetData(_) => OpCode::SetData,
            OpResult::Check => OpCode::Check,
            OpResult::GetData(_) => OpCode::GetData,
            OpResult::GetChildren(_) => OpCode::GetChildren,
            OpResult::Error(_) => OpCode::Error,
        }
    }
}

/// An element of a list with headers.
trait Item: Sized {
    /// Returns type and err of the header before it.
    fn header(&self) -> (OpCode, i32);
    /// Writes what follows the header.
    fn write<T: SerializeTuple>(&self, tuple: &mut T) -> Result<(), T::Error>;
    /// Reads what follows a header of this type.
    fn read<'de, A: SeqAccess<'de>>(op: OpCode, seq: &mut A) -> Result<Self, A::Error>;
}

const ERR_NONE: i32 = -1;

impl Item for MultiOp {
    fn header(&self) -> (OpCode, i32) {
        (self.op(), ERR_NONE)
    }

    fn write<T: SerializeTuple>(&self, tuple: &mut T) -> Result<(), T::Error> {
        match self {
            MultiOp::Create(request) | MultiOp::Create2(request) | MultiOp::CreateContainer(request) => {
                tuple.serialize_element(request)
            }
            MultiOp::CreateTtl(request) => tuple.serialize_element(request),
            MultiOp::Delete(request) => tuple.serialize_element(request),
            MultiOp::SetData(request) => tuple.serialize_element(request),
            MultiOp::Check(request) => tuple.serialize_element(request),
        }
    }

    fn read<'de, A: SeqAccess<'de>>(op: OpCode, seq: &mut A) -> Result<Self, A::Error> {
        if op == OpCode::Create {
            field(seq).map(MultiOp::Create)
        } else if op == OpCode::Create2 {
            field(seq).map(MultiOp::Create2)
        } else if op == OpCode::CreateContainer {
            field(seq).map(MultiOp::CreateContainer)
        } else if op == OpCode::CreateTtl {
            field(seq).map(MultiOp::CreateTtl)
        } else if op == OpCode::Delete {
            field(seq).map(MultiOp::Delete)
        } else if op == OpCode::SetData {
            field(seq).map(MultiOp::SetData)
        } else if op == OpCode::Check {
            field(seq).map(MultiOp::Check)
        } else {
            Err(bad_value!(op.code(), "an operation a multi may hold"))
        }
    }
}

impl Item for MultiReadOp {
    fn header(&self) -> (OpCode, i32) {
        (self.op(), ERR_NONE)
    }

    fn write<T: SerializeTuple>(&self, tuple: &mut T) -> Result<(), T::Error> {
        match self {
            MultiReadOp::GetData(request) => tuple.serialize_element(request),
            MultiReadOp::GetChildren(request) => tuple.serialize_element(request),
        }
    }

    fn read<'de, A: SeqAccess<'de>>(op: OpCode, seq: &mut A) -> Result<Self, A::Error> {
        if op == OpCode::GetData {
            field(seq).map(MultiReadOp::GetData)
        } else if op == OpCode::GetChildren {
            field(seq).map(MultiReadOp::GetChildren)
        } else {
            Err(bad_value!(op.code(), "an operation a multiRead may hold"))
        }
    }
}

impl Item for OpResult {
    fn header(&self) -> (OpCode, i32) {
        let err = if let OpResult::Error(err) = self { err.code() } else { ErrorCode::Ok.code() };
        (self.op(), err)
    }

    fn write<T: SerializeTuple>(&self, tuple: &mut T) -> Result<(), T::Error> {
        match self {
            OpResult::Create(response) => tuple.serialize_element(response),
            OpResult::Create2(response) => tuple.serialize_element(response),
            OpResult::Delete | OpResult::Check => Ok(()),
            OpResult::SetData(response) => tuple.serialize_element(response),
            OpResult::GetData(response) => tuple.serialize_element(response),
            OpResult::GetChildren(response) => tuple.serialize_element(response),
            OpResult::Error(err) => tuple.serialize_element(err),
        }
    }

    fn read<'de, A: SeqAccess<'de>>(op: OpCode, seq: &mut A) -> Result<Self, A::Error> {
        if op == OpCode::Create {
            field(seq).map(OpResult::Create)
        } else if op == OpCode::Create2 {
            field(seq).map(OpResult::Create2)
        } else if op == OpCode::Delete {
            Ok(OpResult::Delete)
        } else if op == OpCode::SetData {
            field(seq).map(OpResult::SetData)
        } else if op == OpCode::Check {
            Ok(OpResult::Check)
        } else if op == OpCode::GetData {
            field(seq).map(OpResult::GetData)
        } else if op == OpCode::GetChildren {
            field(seq).map(OpResult::GetChildren)
        } else if op == OpCode::Error {
            field(seq).map(OpResult::Error)
        } else {
            Err(bad_value!(op.code(), "an operation with a result"))
        }
    }
}

fn field<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| de::Error::custom("a list of operations ends without its last header"))
}

fn write_list<I: Item, S: Serializer>(items: &[I], serializer: S) -> Result<S::Ok, S::Error> {
    let mut tuple = serializer.serialize_tuple(items.len())?;
    for item in items {
        let (op, err) = item.header();
        tuple.serialize_element(&(op, false, err))?;
        item.write(&mut tuple)?;
    }
    tuple.serialize_element(&(OpCode::Error, true, ERR_NONE))?;
    tuple.end()
}

fn read_list<'de, I: Item, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<I>, D::Error> {
    // A tuple without end: its last header says where it stops.
    deserializer.deserialize_tuple(usize::MAX, ListVisitor(PhantomData))
}

struct ListVisitor<I>(PhantomData<I>);

impl<'de, I: Item> Visitor<'de> for ListVisitor<I> {
    type Value = Vec<I>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("operations with a header each")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<I>, A::Error> {
        let mut items = Vec::new();
        loop {
            let (op, done, _err): (OpCode, bool, i32) = field(&mut seq)?;
            if done {
                return Ok(items);
            }
            items.push(I::read(op, &mut seq)?);
        }
    }
}

macro_rules! list_record {
    ($($record:ident { $field:ident },)*) => {
        $(
            impl Serialize for $record {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    write_list(&self.$field, serializer)
                }
            }

            impl<'de> Deserialize<'de> for $record {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    read_list(deserializer).map(|$field| $record { $field })
                }
            }
        )*
    };
}

list_record! { MultiRequest { ops }, MultiReadRequest { ops }, MultiResponse { results }, }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, from_bytes, to_bytes};

    #[test]
    fn empty_multi_is_its_last_header() {
        let wire = [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(&to_bytes(&MultiRequest::default())[..], wire);
        assert_eq!(from_bytes(&wire), Ok(MultiResponse::default()));
    }

    #[test]
    fn list_without_last_header_is_truncated() {
        let response = MultiResponse { results: vec![OpResult::Delete, OpResult::Error(ErrorCode::NoNode)] };
        let wire = to_bytes(&response);
        assert_eq!(from_bytes(&wire), Ok(response));
        assert!(matches!(
            from_bytes::<MultiResponse>(&wire[..wire.len() - 9]),
            Err(DecodeError::Truncated { needed: 4, left: 0 })
        ));
    }

    #[test]
    fn read_in_a_multi_is_refused() {
        let read = MultiReadRequest {
            ops: vec![MultiReadOp::GetData(GetDataRequest { path: "/a".to_owned(), watch: false })],
        };
        assert!(matches!(from_bytes::<MultiRequest>(&to_bytes(&read)), Err(DecodeError::BadValue { found: 4, .. })));
    }
}
