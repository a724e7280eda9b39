//! How a leader brings a learner up to date: the decision table of `syncFollower` (zookeeper.md §3.4).
//!
//! Knows no packets and no connections: it compares zxids and picks txns. The one rule to know: whatever is sent, the
//! learner ends with a prefix of the leader's history. If that cannot be seen from the committed log or the log files, the
//! answer is the whole tree.

use bytes::Bytes;
use jute::Zxid;

/// What the learner is told first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    /// Keep everything; the zxid is the last one committed of what follows.
    Diff(Zxid),
    /// Cut everything after this zxid.
    Trunc(Zxid),
    /// Forget everything: the leader's tree follows.
    Snap,
}

impl Opening {
    /// The packet's name, as facts show it.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Diff(_) => "DIFF",
            Self::Trunc(_) => "TRUNC",
            Self::Snap => "SNAP",
        }
    }
}

/// What to send a learner before NEWLEADER, without what is committed or proposed meanwhile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SyncPlan {
    /// Its first packet.
    pub(super) opening: Opening,
    /// Committed txns to send as PROPOSAL and COMMIT, in order.
    pub(super) txns: Vec<(Zxid, Bytes)>,
    /// Where live forwarding takes over: the learner has, or will get by this plan, everything up to here.
    pub(super) forward_after: Zxid,
    /// Whether txns were read from the log files.
    pub(super) from_disk: bool,
}

/// What the leader compares with.
pub(super) struct History<'a> {
    /// `minCommittedLog` and `maxCommittedLog`; none while the committed log is empty.
    pub(super) committed: Option<(Zxid, Zxid)>,
    /// The committed log.
    pub(super) committed_log: &'a mut dyn Iterator<Item = (Zxid, Bytes)>,
    /// The tree's `lastProcessedZxid`.
    pub(super) last_processed: Zxid,
    /// `forceSnapshotSync`.
    pub(super) force_snapshot: bool,
    /// Whether a txn of the learner's that is not in the committed log is looked for, and cut (ZOOKEEPER-1154).
    pub(super) cuts_strangers: bool,
    /// Whether a learner without any txn gets a DIFF from wherever the committed log begins (ZOOKEEPER-4352).
    pub(super) diffs_from_zero: bool,
    /// Whether a tail beyond the committed log is cut.
    pub(super) cuts_tails: bool,
}

/// Decides for a learner whose last logged txn is `peer`. `log_files` opens the txn log at the file that may hold `peer`; it
/// answers none if that is switched off or costs more than a snapshot.
pub(super) fn plan<L>(peer: Zxid, history: History<'_>, log_files: impl FnOnce() -> Option<L>) -> SyncPlan
where
    L: IntoIterator<Item = (Zxid, Bytes)>,
{
    let History {
        committed,
        committed_log,
        last_processed,
        force_snapshot,
        cuts_strangers,
        diffs_from_zero,
        cuts_tails,
    } = history;
    let (min, max) = committed.unwrap_or((last_processed, last_processed));
    let snap = SyncPlan { opening: Opening::Snap, txns: Vec::new(), forward_after: last_processed, from_disk: false };
    let agreed = |opening| SyncPlan { opening, ..snap.clone() };

    if force_snapshot {
        snap
    } else if last_processed == peer {
        SyncPlan { forward_after: peer, ..agreed(Opening::Diff(peer)) }
    } else if peer > max && !peer.is_epoch_start() {
        // Everything the learner has above was never committed, or the leader would have it.
        let opening = if cuts_tails { Opening::Trunc(max) } else { Opening::Diff(max) };
        SyncPlan { forward_after: max, ..agreed(opening) }
    } else if peer > max {
        // The learner finished its synchronisation with an epoch that has no txn: nothing to cut, nothing to tell it by.
        snap
    } else if peer >= min || diffs_from_zero && peer == Zxid::ZERO {
        let mut queue = Queue::new(peer, max, cuts_strangers);
        let forward_after = queue.take_committed(peer, None, committed_log);
        match queue.opening {
            Some(opening) => SyncPlan { opening, txns: queue.txns, forward_after, from_disk: false },
            // No common history could be seen: a snapshot, but what is outstanding is counted from the learner's end.
            None => SyncPlan { forward_after, ..snap },
        }
    } else {
        let Some(log) = log_files() else { return snap };
        let mut log = log.into_iter().peekable();
        if log.peek().is_none() {
            return snap;
        }
        let mut queue = Queue::new(peer, max, cuts_strangers);
        let reached = queue.take_committed(peer, Some(min), &mut log);
        if reached < min {
            return snap; // A gap between the log files and the committed log.
        }
        let forward_after = queue.take_committed(reached, None, committed_log);
        match queue.opening {
            Some(opening) => SyncPlan { opening, txns: queue.txns, forward_after, from_disk: true },
            None => SyncPlan { forward_after, ..snap },
        }
    }
}

/// What `queueCommittedProposals` builds; `needOpPacket` is "no opening yet".
struct Queue {
    peer_at_epoch_start: bool,
    cuts_strangers: bool,
    last_committed: Zxid,
    opening: Option<Opening>,
    txns: Vec<(Zxid, Bytes)>,
}

impl Queue {
    const fn new(peer: Zxid, last_committed: Zxid, cuts_strangers: bool) -> Self {
        let peer_at_epoch_start = peer.is_epoch_start();
        Self { peer_at_epoch_start, cuts_strangers, last_committed, opening: None, txns: Vec::new() }
    }

    /// `queueCommitted`: takes what follows `peer`, up to `max` if there is one, and returns the last zxid queued.
    fn take_committed(&mut self, peer: Zxid, max: Option<Zxid>, log: &mut dyn Iterator<Item = (Zxid, Bytes)>) -> Zxid {
        let mut queued = peer;
        let mut previous = None;
        for (zxid, entry) in log {
            if max.is_some_and(|max| zxid > max) {
                break;
            }
            if zxid < peer {
                previous = Some(zxid);
                continue;
            }
            if self.opening.is_none() {
                if zxid == peer {
                    self.opening = Some(Opening::Diff(self.last_committed));
                    continue;
                }
                if self.peer_at_epoch_start || !self.cuts_strangers {
                    self.opening = Some(Opening::Diff(self.last_committed));
                } else {
                    // The learner has a txn the leader does not: it may only be cut within one epoch.
                    let Some(previous) = previous else { return queued };
                    if zxid.epoch() != peer.epoch() {
                        return queued;
                    }
                    self.opening = Some(Opening::Trunc(previous));
                }
            }
            if zxid <= queued {
                continue;
            }
            self.txns.push((zxid, entry));
            queued = zxid;
        }
        if self.opening.is_none() && self.peer_at_epoch_start {
            self.opening = Some(Opening::Diff(self.last_committed));
        }
        queued
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jute::PeerEpoch;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(PeerEpoch::new(epoch), counter)
    }

    fn txns(zxids: &[Zxid]) -> Vec<(Zxid, Bytes)> {
        zxids.iter().map(|&zxid| (zxid, Bytes::new())).collect()
    }

    fn decide_with(peer: Zxid, committed: &[Zxid], last: Zxid, files: Option<&[Zxid]>) -> SyncPlan {
        let mut log = txns(committed).into_iter();
        let history = History {
            committed: committed.first().map(|&min| (min, *committed.last().unwrap())),
            committed_log: &mut log,
            last_processed: last,
            force_snapshot: false,
            cuts_strangers: true,
            diffs_from_zero: false,
            cuts_tails: true,
        };
        plan(peer, history, || files.map(txns))
    }

    fn decide(peer: Zxid, committed: &[Zxid], last: Zxid) -> SyncPlan {
        decide_with(peer, committed, last, None)
    }

    fn sent(plan: &SyncPlan) -> Vec<Zxid> {
        plan.txns.iter().map(|(zxid, _)| *zxid).collect()
    }

    #[test]
    fn equal_histories_get_an_empty_diff() {
        let plan = decide(z(1, 5), &[z(1, 4), z(1, 5)], z(1, 5));
        assert_eq!((plan.opening, sent(&plan), plan.forward_after), (Opening::Diff(z(1, 5)), vec![], z(1, 5)));
    }

    #[test]
    fn peer_inside_the_committed_log_gets_what_follows() {
        let plan = decide(z(1, 2), &[z(1, 1), z(1, 2), z(1, 3), z(2, 1)], z(2, 1));
        assert_eq!(plan.opening, Opening::Diff(z(2, 1)));
        assert_eq!(sent(&plan), [z(1, 3), z(2, 1)]);
        assert_eq!(plan.forward_after, z(2, 1));
        assert!(!plan.from_disk);
    }

    #[test]
    fn uncommitted_tail_is_cut_while_the_new_leader_is_idle() {
        // [R] of §3.4: the peer had …b, the leader idles in epoch 3: TRUNC 0x20000000a.
        let plan = decide(z(2, 0xb), &[z(2, 9), z(2, 0xa)], z(3, 0));
        assert_eq!((plan.opening, plan.forward_after), (Opening::Trunc(z(2, 0xa)), z(2, 0xa)));
    }

    #[test]
    fn uncommitted_tail_across_epochs_gets_a_snapshot() {
        // [R] of §3.4: p=0x100000018, min=0x100000001, max=0x200000002.
        let committed: Vec<Zxid> = (1..=0x17).map(|n| z(1, n)).chain([z(2, 1), z(2, 2)]).collect();
        let plan = decide(z(1, 0x18), &committed, z(2, 2));
        assert_eq!(plan.opening, Opening::Snap);
        assert_eq!(plan.txns, [], "nothing of the DIFF is left over");
        assert_eq!(plan.forward_after, z(1, 0x18));
    }

    #[test]
    fn hole_within_one_epoch_is_cut_back_and_filled() {
        let plan = decide(z(1, 3), &[z(1, 1), z(1, 2), z(1, 4)], z(1, 4));
        assert_eq!((plan.opening, sent(&plan)), (Opening::Trunc(z(1, 2)), vec![z(1, 4)]));
    }

    #[test]
    fn empty_peer_gets_a_snapshot_once_the_leader_has_its_epoch() {
        // [R] of §3.4: nothing was ever committed, last = e<<32.
        assert_eq!(decide(z(0, 0), &[], z(1, 0)).opening, Opening::Snap);
        assert_eq!(decide(z(0, 0), &[], z(0, 0)).opening, Opening::Diff(z(0, 0)), "during discovery they are equal");
    }

    #[test]
    fn peer_at_an_epoch_start_gets_a_diff_without_a_common_txn() {
        let plan = decide(z(2, 0), &[z(1, 9), z(2, 1)], z(2, 1));
        assert_eq!((plan.opening, sent(&plan)), (Opening::Diff(z(2, 1)), vec![z(2, 1)]));
        let plan = decide(z(3, 0), &[z(1, 9), z(2, 1)], z(4, 0));
        assert_eq!(plan.opening, Opening::Snap, "it names no txn that could be cut");
    }

    #[test]
    fn peer_below_the_committed_log_is_served_from_the_log_files() {
        let committed = [z(1, 5), z(1, 6), z(1, 7)];
        let files: Vec<Zxid> = (1..=7).map(|n| z(1, n)).collect();
        let plan = decide_with(z(1, 2), &committed, z(1, 7), Some(&files));
        assert_eq!(plan.opening, Opening::Diff(z(1, 7)));
        assert_eq!(sent(&plan), (3..=7).map(|n| z(1, n)).collect::<Vec<_>>());
        assert!(plan.from_disk);
        assert_eq!(
            decide(z(1, 2), &committed, z(1, 7)).opening,
            Opening::Snap,
            "files that cost too much are not used"
        );
    }

    #[test]
    fn gap_between_log_files_and_committed_log_gets_a_snapshot() {
        let files = [z(1, 1), z(1, 2), z(1, 3)];
        let plan = decide_with(z(1, 2), &[z(1, 5), z(1, 6)], z(1, 6), Some(&files));
        assert_eq!((plan.opening, sent(&plan), plan.forward_after), (Opening::Snap, vec![], z(1, 6)));
    }

    #[test]
    fn zookeeper_4352_sends_a_diff_without_its_beginning() {
        let opening = |diffs_from_zero| {
            let committed = [z(1, 5), z(1, 6)];
            let history = History {
                committed: Some((z(1, 5), z(1, 6))),
                committed_log: &mut txns(&committed).into_iter(),
                last_processed: z(1, 6),
                force_snapshot: false,
                cuts_strangers: true,
                diffs_from_zero,
                cuts_tails: true,
            };
            plan(Zxid::ZERO, history, || None::<Vec<_>>).opening
        };
        assert_eq!(opening(false), Opening::Snap);
        assert_eq!(opening(true), Opening::Diff(z(1, 6)));
    }

    #[test]
    fn forced_snapshots_are_sent_even_to_equals() {
        let mut log = txns(&[z(1, 1)]).into_iter();
        let history = History {
            committed: Some((z(1, 1), z(1, 1))),
            committed_log: &mut log,
            last_processed: z(1, 1),
            force_snapshot: true,
            cuts_strangers: true,
            diffs_from_zero: false,
            cuts_tails: true,
        };
        assert_eq!(plan(z(1, 1), history, || None::<Vec<_>>).opening, Opening::Snap);
    }
}
