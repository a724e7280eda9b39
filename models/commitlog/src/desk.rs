//! What all logs of a log dir share: whose ticket is whose, and which files wait to be removed.

use std::collections::BTreeMap;

use kafkawire::TopicPartition;
use machine::{Instant, Ticket};

/// Who waits for a sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// A log: a flush of it, or its epochs.
    Log(TopicPartition),
    HighWatermarks,
    RecoveryPoints,
    LogStarts,
    MetaProperties,
    /// Nobody; but a failure of it is a failure of the log dir.
    LogDir,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Desk {
    /// Syncs in flight.
    pub(crate) tickets: BTreeMap<Ticket, Owner>,
    /// Files to be removed, by when and in the order they were deleted.
    pub(crate) removals: BTreeMap<(Instant, u64), Vec<String>>,
    removals_made: u64,
}

impl Desk {
    pub(crate) fn expect(&mut self, ticket: Ticket, owner: Owner) {
        let before = self.tickets.insert(ticket, owner);
        assert!(before.is_none(), "{ticket} has two owners");
    }

    pub(crate) fn remove_at(&mut self, due: Instant, paths: Vec<String>) {
        if !paths.is_empty() {
            self.removals.insert((due, self.removals_made), paths);
            self.removals_made += 1;
        }
    }
}
