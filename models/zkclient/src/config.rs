//! What a client is told when it is made.

use std::sync::Arc;

use jute::Buffer;
use machine::{Address, Span};
use serde::{Deserialize, Serialize};

use crate::{Chroot, Defects};

/// One server of the connect string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZkServer {
    /// What facts and reports call it.
    pub name: Arc<str>,
    /// Its client port.
    pub address: Address,
}

/// An identity that is claimed on every connection (zookeeper.md §6.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthInfo {
    /// The scheme, such as `digest`.
    pub scheme: Arc<str>,
    /// The proof, in the scheme's own form, such as `user:password`.
    pub auth: Buffer,
}

/// A client's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZkClientConfig {
    /// The connect string, in its order; shuffled once when the client starts.
    pub servers: Vec<ZkServer>,
    /// What is behind the servers in it.
    pub chroot: Chroot,
    /// The session timeout it asks for, in milliseconds; the server clamps it.
    pub session_timeout_ms: i32,
    /// `canBeReadOnly`: a server without an ensemble will do, until one with an ensemble is found.
    pub can_be_read_only: bool,
    /// Identities it claims from the beginning.
    pub auth: Vec<AuthInfo>,
    /// `zookeeper.request.timeout`: how long an operation may take, each being a call that somebody waits for; zero for ever.
    pub request_timeout: Span,
    /// `zookeeper.disableAutoWatchReset`: watches end with their connection.
    pub disable_auto_watch_reset: bool,
    /// `jute.maxbuffer`: most bytes of a frame it reads.
    pub frame_bytes_max: u32,
    /// Most operations queued and pending; one more is [`Rejected::Full`](crate::Rejected::Full).
    pub operations_max: usize,
    /// Most watches set or being set; one more is [`Rejected::Full`](crate::Rejected::Full).
    pub watches_max: usize,
    /// The historical bugs it has.
    pub defects: Defects,
}

impl ZkClientConfig {
    /// A client of these servers with a client's usual configuration, and limits no workload reaches by accident.
    #[must_use]
    pub fn new(servers: Vec<ZkServer>, session_timeout_ms: i32) -> Self {
        Self {
            servers,
            chroot: Chroot::NONE,
            session_timeout_ms,
            can_be_read_only: false,
            auth: Vec::new(),
            request_timeout: Span::ZERO,
            disable_auto_watch_reset: false,
            frame_bytes_max: 0x000f_ffff,
            operations_max: 4096,
            watches_max: 65_536,
            defects: Defects::default(),
        }
    }
}
