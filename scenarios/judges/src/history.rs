//! What clients saw, and nothing else: the history that the black-box checks judge.

mod barriers;
mod fencing;
mod leadership;
mod linearizable;
mod queue;
mod recipes;
mod record;
mod register;
mod watching;

pub use recipes::{RecipeCall, RecipeEnd};
pub(crate) use record::{Anomaly, History};
pub use record::{Operation, OperationCount, OperationEnd, OperationKind, OperationOutcome};
pub use watching::WatchMap;
