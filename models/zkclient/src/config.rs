//! What a client is told when it is made.

use std::sync::Arc;

use machine::Address;
use serde::{Deserialize, Serialize};

/// One server of the connect string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZkServer {
    /// What facts and reports call it.
    pub name: Arc<str>,
    /// Its client port.
    pub address: Address,
}

/// A client's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZkClientConfig {
    /// The connect string, in its order; shuffled once when the client starts.
    pub servers: Vec<ZkServer>,
    /// The session timeout it asks for, in milliseconds; the server clamps it.
    pub session_timeout_ms: i32,
    /// Most operations queued and pending; one more is [`Rejected::Full`](crate::Rejected::Full).
    pub operations_max: usize,
    /// Most watches set or being set; one more is [`Rejected::Full`](crate::Rejected::Full).
    pub watches_max: usize,
}

impl ZkClientConfig {
    /// A client of these servers with limits no workload reaches by accident.
    #[must_use]
    pub const fn new(servers: Vec<ZkServer>, session_timeout_ms: i32) -> Self {
        Self { servers, session_timeout_ms, operations_max: 4096, watches_max: 65_536 }
    }
}
