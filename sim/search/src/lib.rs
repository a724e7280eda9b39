//! Finding, reproducing and explaining failures of engine scenarios. It knows no protocol.

#![warn(missing_docs)]

mod campaign;
mod diff;
mod difference;
mod futures;
mod group;
pub mod hex;
mod inevitability;
mod necessity;
mod seeds;
mod shard;
mod shrink;
mod slice;
mod trail;
mod workers;

pub use campaign::{Panicked, campaign};
pub use diff::{Change, changes};
pub use difference::{Difference, first_difference, input};
pub use futures::{Ending, Futures, Tally};
pub use group::{Failure, Group, Groups, SEEDS_MOST};
pub use inevitability::{Curve, INEVITABLE_PERCENT, Point, inevitability, instants};
pub use necessity::{Necessity, Need, necessity};
pub use seeds::{Seeds, Stretch};
pub use shard::{Shard, ShardError};
pub use shrink::{Limits, Pass, Progress, Shrunk, shrink};
pub use slice::{Line, Said, Slice, Teller, Telling, Whence, slice};
pub use trail::{Parting, Trail};
pub use workers::{first, in_order};
