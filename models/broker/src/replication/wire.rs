//! The edge between messages, which have sentinels, and the machine, which has `Option`.

use kafkawire::{LeaderEpoch, Offset};

/// −1 is none.
pub(crate) fn leader_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// None is −1.
pub(crate) fn epoch_code(epoch: Option<LeaderEpoch>) -> i32 {
    epoch.map_or(-1, |epoch| epoch.0)
}

/// A negative offset is none.
pub(crate) fn offset(offset: i64) -> Option<Offset> {
    (offset >= 0).then_some(Offset(offset))
}

/// A number of bytes; a negative one is none at all.
pub(crate) fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}
