//! The committed history, as it must be: every transaction that a quorum settled on, in order.
//!
//! It grows when a leader commits a proposal, and when a leader is established with a tail that nobody had committed before
//! (its quorum has that tail now). It lives in no server.

use std::collections::BTreeMap;

use bytes::Bytes;
use jute::txn::{Txn, TxnEntry};
use jute::{PeerEpoch, SessionId, Zxid};
use machine::Digest;

use crate::Moment;
use crate::chunked::Chunked;

/// A committed transaction.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub(crate) zxid: Zxid,
    /// Of the bytes that logs and proposals hold.
    pub(crate) digest: u64,
    pub(crate) entry: Bytes,
    /// When it became committed, and by whom.
    pub(crate) moment: Moment,
    /// Voters that had it durable then.
    pub(crate) holders: u32,
    /// Voters that had it then, be it in their page cache only.
    pub(crate) loggers: u32,
    /// The first success that told a client of it, and the client's session.
    pub(crate) acked: Option<(Moment, SessionId)>,
    /// The tree's digest after it, as the first server to apply it had it.
    pub(crate) tree: Option<(u64, Moment)>,
}

/// A transaction that was seen in a proposal or a log.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) digest: u64,
    pub(crate) entry: Bytes,
    pub(crate) moment: Moment,
}

/// What a zxid that is seen means for the rule that it names one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// As before, or new.
    Same,
    /// Other bytes than those seen first, then.
    Differs(Moment),
}

/// The committed history, and what was proposed beyond it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canon {
    committed: Chunked<Committed>,
    /// Seen, and not committed.
    proposed: BTreeMap<Zxid, Seen>,
    /// The last epoch whose leader was established.
    epoch: PeerEpoch,
}

/// The digest of a transaction's bytes.
pub(crate) fn digest_of(entry: &[u8]) -> u64 {
    let mut digest = Digest::new();
    digest.bytes(entry);
    digest.value()
}

impl Canon {
    pub(crate) fn len(&self) -> usize {
        self.committed.len()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Committed> {
        self.committed.get(at)
    }

    pub(crate) fn last(&self) -> Option<&Committed> {
        self.committed.last()
    }

    /// The last zxid, zero before any.
    pub(crate) fn last_zxid(&self) -> Zxid {
        self.committed.last().map_or(Zxid::ZERO, |last| last.zxid)
    }

    /// How many transactions have a zxid up to this one.
    pub(crate) fn count_to(&self, zxid: Zxid) -> usize {
        self.committed.partition_point(|it| it.zxid <= zxid)
    }

    /// The place of a transaction, if it is committed.
    pub(crate) fn position(&self, zxid: Zxid) -> Option<usize> {
        let at = self.count_to(zxid).checked_sub(1)?;
        self.committed.get(at).is_some_and(|it| it.zxid == zxid).then_some(at)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut Committed> {
        self.committed.get_mut(at)
    }

    pub(crate) fn iter_from(&self, from: usize) -> impl Iterator<Item = &Committed> {
        self.committed.iter_from(from)
    }

    /// The last epoch whose leader was established.
    pub(crate) fn epoch(&self) -> PeerEpoch {
        self.epoch
    }

    /// A leader is established: nothing of an older epoch can become committed any more.
    pub(crate) fn seal(&mut self, epoch: PeerEpoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// A transaction is seen, in a proposal or in a log.
    pub(crate) fn see(&mut self, zxid: Zxid, digest: u64, entry: &Bytes, moment: Moment) -> Content {
        if zxid <= self.last_zxid()
            && let Some(at) = self.position(zxid)
        {
            let known = self.committed.get(at).expect("it has a place");
            return if known.digest == digest { Content::Same } else { Content::Differs(known.moment) };
        }
        match self.proposed.get(&zxid) {
            Some(known) if known.digest == digest => Content::Same,
            Some(known) => Content::Differs(known.moment),
            None => {
                self.proposed.insert(zxid, Seen { digest, entry: entry.clone(), moment });
                Content::Same
            }
        }
    }

    /// What was seen of a transaction that is not committed.
    pub(crate) fn proposal(&self, zxid: Zxid) -> Option<&Seen> {
        self.proposed.get(&zxid)
    }

    /// Whether the end of a session was proposed, and is not committed.
    pub(crate) fn is_close_proposed(&self, session: SessionId) -> bool {
        let mut entries = self.proposed.values().filter_map(|seen| TxnEntry::decode(&seen.entry).ok());
        entries.any(|entry| entry.header.session == session && matches!(entry.txn, Txn::CloseSession(_)))
    }

    /// A transaction is committed; false if nobody has ever seen what it does.
    pub(crate) fn commit(&mut self, zxid: Zxid, moment: Moment) -> bool {
        assert!(zxid > self.last_zxid(), "the committed history is in order");
        let seen = self.proposed.remove(&zxid);
        let is_known = seen.is_some();
        let (digest, entry) = seen.map_or((0, Bytes::new()), |seen| (seen.digest, seen.entry));
        self.committed.push(Committed { zxid, digest, entry, moment, holders: 0, loggers: 0, acked: None, tree: None });
        is_known
    }

    /// Forgets the history from a place on: it is lost, and said to be.
    pub(crate) fn cut(&mut self, len: usize) {
        self.committed.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::tests::moment;

    #[test]
    fn a_zxid_names_one_transaction_before_and_after_its_commit() {
        let mut canon = Canon::default();
        let zxid = PeerEpoch::new(1).start().next();
        let see = |canon: &mut Canon, bytes: &'static [u8], event| {
            canon.see(zxid, digest_of(bytes), &Bytes::from_static(bytes), moment(event, 0))
        };
        assert_eq!(see(&mut canon, b"a", 1), Content::Same);
        assert_eq!(see(&mut canon, b"a", 2), Content::Same);
        assert_eq!(see(&mut canon, b"b", 3), Content::Differs(moment(1, 0)));
        assert!(canon.commit(zxid, moment(4, 0)));
        assert_eq!(see(&mut canon, b"a", 5), Content::Same);
        assert_eq!(see(&mut canon, b"b", 6), Content::Differs(moment(4, 0)));
        assert_eq!((canon.position(zxid), canon.position(zxid.next())), (Some(0), None));
    }
}
