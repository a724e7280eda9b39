//! ZooKeeper's wire and disk encoding as a serde format, and its records.
//!
//! Jute is big endian and has no tags (zookeeper.md §11.1): an `int` is an [`i32`], a `long` an [`i64`], a `boolean` one
//! byte; a `ustring` or `buffer` is an `i32` length and its bytes, a `vector` an `i32` count and its elements; a record is
//! its fields in order. A length of −1 is *null*, which is not the same as empty: null is [`Option::None`] here.
//! So `#[derive(Serialize, Deserialize)]` on a struct is a jute record, if its fields are `bool`, `i32`, `i64`, [`String`],
//! [`Buffer`], [`Vec`], [`Option`] of the last three, or other records.
//!
//! What is where: [`client`] speaks with clients, [`quorum`] between leader and learners, [`election`] among voters, [`txn`]
//! is what a transaction log holds, [`data`] and [`op`] are what they share.
//!
//! Simplified: strings are UTF-8 both ways. A Java server writes a character above U+FFFF as two surrogates of three bytes each,
//! which is not UTF-8 and which nobody reads back, itself included. Paths cannot hold such characters (zookeeper.md §5.8); lost
//! is how a `sync` of such a path, or an ACL id with one, comes back garbled.
//!
//! Sentinels such as −1 exist on the wire only: a field that may be absent is an `Option` in every record. Decoding believes
//! nothing: it never panics and never allocates more than a small multiple of the bytes it was given.

mod buffer;
mod coded;
mod de;
mod epoch;
mod error;
mod packet;
mod ser;
mod session_id;
mod sid;
mod version;
mod xid;
mod zxid;

pub mod client;
pub mod data;
pub mod election;
pub mod op;
pub mod password;
pub mod path;
pub mod quorum;
pub mod txn;

pub use buffer::Buffer;
pub use de::{from_bytes, from_prefix};
pub use epoch::{ElectionRound, PeerEpoch};
pub use error::DecodeError;
pub use ser::{digest_into, encoded_len, to_bytes, to_vec_into};
pub use session_id::SessionId;
pub use sid::Sid;
pub use version::Version;
pub use xid::Xid;
pub use zxid::Zxid;
