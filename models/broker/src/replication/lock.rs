//! Partitions that may not be touched for a while, and who waits for them (kafka-broker.md §0.3 actor 4, §5.11).
//!
//! The leader of this era writes the ISR to ZooKeeper *synchronously, under the partition's lock* (`leaderIsrUpdateLock`):
//! until ZooKeeper answers nobody else appends, records a follower's fetch, moves the high watermark or changes the role. And a
//! flush that `flush.messages` demands happens inside the append, which holds the same lock against role and ISR changes, and
//! the log's lock against other appends, but lets readers through.
//!
//! Here a partition is *held* meanwhile. Whatever needs it is parked whole, before it had any effect, and runs when the
//! partition is free, in the order in which it came; whoever holds it goes on first. A fetcher never waits: a broker holds only
//! what it leads, and does not fetch that.
//!
//! `Simplified:` what is parked does not occupy a request handler. Lost: a broker all of whose `num.io.threads` handlers wait
//! for ZooKeeper, and that answers nobody. A request parks before its first partition, where the real one is through with those
//! before the held one; lost: these effects happening earlier. A control request needs all its partitions at once, and gets them:
//! while it waits for one, no write of an ISR begins, or leaders of the past that write in turn would keep it waiting for good.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kafkawire::messages::{FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest};
use kafkawire::{BrokerId, Version};

use crate::cx::RequestId;
use crate::replication::fetch::FetchInProgress;
use crate::replication::table::Slot;

/// What is done with a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Its log is read, the positions of its followers noted.
    Read,
    /// It is appended to, or its role or ISR changes.
    Write,
}

/// A write of the ISR that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IsrWrite {
    /// What is written.
    pub(crate) isr: Vec<BrokerId>,
    pub(crate) step: IsrWriteStep,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IsrWriteStep {
    /// The conditional setData was sent.
    Writing,
    /// It met another version: what is there is compared with what was written (KAFKA-1382).
    Comparing,
}

/// Why a partition is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// Its leader writes the ISR.
    Isr(IsrWrite),
    /// An append waits for its flush.
    Flush,
}

/// What waits for a partition.
#[derive(Clone, Debug)]
pub(crate) enum Parked {
    /// A request that has not begun.
    Request(ParkedRequest),
    /// A follower's fetch that was read, and whose effects on the leader are being noted.
    Fetch(Arc<FetchInProgress>),
    /// The isr-expiration task.
    IsrExpiration,
    /// The control request that is next.
    Control,
}

/// A client's or follower's request that has not begun.
#[derive(Clone, Debug)]
pub(crate) struct ParkedRequest {
    pub(crate) to: RequestId,
    pub(crate) version: Version,
    pub(crate) body: ParkedBody,
}

#[derive(Clone, Debug)]
pub(crate) enum ParkedBody {
    Produce(Arc<ProduceRequest>),
    Fetch(Arc<FetchRequest>),
    ListOffsets(Arc<ListOffsetsRequest>),
    OffsetForLeaderEpoch(Arc<OffsetForLeaderEpochRequest>),
}

impl Parked {
    pub(crate) const fn access(&self) -> Access {
        match self {
            Self::Request(request) => match request.body {
                ParkedBody::Produce(_) => Access::Write,
                ParkedBody::Fetch(_) | ParkedBody::ListOffsets(_) | ParkedBody::OffsetForLeaderEpoch(_) => Access::Read,
            },
            Self::Fetch(_) | Self::IsrExpiration | Self::Control => Access::Write,
        }
    }
}

#[derive(Clone, Debug)]
struct Held {
    why: Hold,
    parked: VecDeque<Parked>,
}

/// The partitions that are held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locks {
    held: BTreeMap<Slot, Held>,
}

impl Locks {
    /// Whether nothing is held: the usual case, in which nobody needs to ask about partitions.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn blocks(&self, slot: Slot, access: Access) -> bool {
        self.held.get(&slot).is_some_and(|held| match held.why {
            Hold::Isr(_) => true,
            Hold::Flush => access == Access::Write,
        })
    }

    /// The first of these partitions that is held against an access.
    pub(crate) fn blocked(&self, slots: impl IntoIterator<Item = Slot>, access: Access) -> Option<Slot> {
        if self.is_empty() { None } else { slots.into_iter().find(|&slot| self.blocks(slot, access)) }
    }

    /// Holds a partition; `goes_on` runs first when it is free.
    ///
    /// # Panics
    /// If it is held.
    pub(crate) fn hold(&mut self, slot: Slot, why: Hold, goes_on: Option<Parked>) {
        let before = self.held.insert(slot, Held { why, parked: goes_on.into_iter().collect() });
        assert!(before.is_none(), "a partition is held once");
    }

    /// Parks something behind what waits for the partition already.
    ///
    /// # Panics
    /// If the partition is not held.
    pub(crate) fn park(&mut self, slot: Slot, parked: Parked) {
        self.held.get_mut(&slot).expect("one parks at a held partition").parked.push_back(parked);
    }

    /// The ISR write that holds a partition.
    pub(crate) fn isr_write(&mut self, slot: Slot) -> Option<&mut IsrWrite> {
        match &mut self.held.get_mut(&slot)?.why {
            Hold::Isr(write) => Some(write),
            Hold::Flush => None,
        }
    }

    /// Frees a partition; what waited for it is the caller's to run.
    pub(crate) fn release(&mut self, slot: Slot) -> VecDeque<Parked> {
        self.held.remove(&slot).map(|held| held.parked).unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Hold, usize)> {
        self.held.iter().map(|(&slot, held)| (slot, &held.why, held.parked.len()))
    }
}
