//! What clients saw, and nothing else: the history that the black-box checks judge.

mod fencing;
mod record;
mod register;
mod watching;

pub(crate) use record::{Anomaly, History};
pub use record::{Operation, OperationCount, OperationEnd, OperationKind, OperationOutcome};
pub use watching::WatchMap;
