//! What an inspector is shown of a server.

use serde::Serialize;

/// A server at an instant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CoordinatorView {
    /// `myid`.
    pub sid: u8,
    /// Its role.
    pub role: &'static str,
    /// What it is doing in that role.
    pub phase: &'static str,
    /// The highest epoch it promised.
    pub accepted_epoch: u32,
    /// The epoch of the last leader it was in step with.
    pub current_epoch: u32,
    /// The last zxid applied to its tree.
    pub last_processed: u64,
    /// The digest of its tree.
    pub tree_digest: u64,
    /// Sessions in the global table.
    pub sessions: usize,
}
