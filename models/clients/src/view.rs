//! What an inspector is shown of a client process.

use serde::Serialize;
use zkclient::ZkClientView;

use crate::WorkloadKind;

/// A client process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZkWorkloadView {
    /// Its number.
    pub client: u16,
    /// What it does.
    pub workload: WorkloadKind,
    /// Its session.
    pub session: ZkClientView,
    /// Whether everything it needs is there.
    pub set_up: bool,
    /// Whether it starts nothing new.
    pub stopped: bool,
    /// Whether its probe succeeded.
    pub probed: bool,
    /// Operations without an outcome.
    pub open: usize,
    /// The oldest of them.
    pub oldest: Option<String>,
}
