//! What clients and servers say to each other (zookeeper.md §11).
//!
//! A frame is an `i32` length and a payload. The first payload each way is a [`ConnectRequest`] and a [`ConnectResponse`];
//! after them a client sends header and request, the server header and response, or a notification. Nothing in a payload
//! says which it is: the state of the connection decides between [`ClientFrame::decode_connect`] and
//! [`ClientFrame::decode`], and a response can be read only by who remembers the request, see [`ServerFrame::decode`].
//!
//! `encode` and `decode` are about payloads; `wire_len` counts the length prefix as well.

mod multi;
mod record;
mod request;
mod response;
mod word;

pub use multi::{MultiOp, MultiReadOp, MultiReadRequest, MultiRequest, MultiResponse, OpResult};
pub use record::*;
pub use request::{ClientFrame, Request, refusal_of_malformed};
pub use response::{Response, ServerFrame};
pub use word::FourLetterWord;

pub use crate::packet::ClientPacket;

/// Bytes of the length before each payload.
const LENGTH_PREFIX: usize = 4;
