//! Whether a learner keeps up: `SyncLimitCheck` of its handler (zookeeper.md §3.9).

use jute::Zxid;
use machine::{Instant, Span};

/// Watches the oldest unacknowledged proposal a learner was sent, and the newest; those between are not tracked.
#[derive(Clone, Default, Debug)]
pub(super) struct SyncLimitCheck {
    started: bool,
    oldest: Option<(Zxid, Instant)>,
    newest: Option<(Zxid, Instant)>,
}

impl SyncLimitCheck {
    /// From now on proposals count; those sent before the learner acknowledged NEWLEADER never do.
    pub(super) const fn start(&mut self) {
        self.started = true;
    }

    pub(super) const fn sent(&mut self, zxid: Zxid, now: Instant) {
        if !self.started {
            return;
        }
        if self.oldest.is_none() {
            self.oldest = Some((zxid, now));
        } else {
            self.newest = Some((zxid, now));
        }
    }

    pub(super) fn acked(&mut self, zxid: Zxid) {
        if self.oldest.is_some_and(|(oldest, _)| oldest == zxid) {
            self.oldest = self.newest.take();
        } else if self.newest.is_some_and(|(newest, _)| newest == zxid) {
            // Out of order: the real server warns, and forgets the newest.
            self.newest = None;
        }
    }

    pub(super) fn keeps_up(&self, now: Instant, limit: Span) -> bool {
        self.oldest.is_none_or(|(_, sent)| now.saturating_since(sent) < limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jute::PeerEpoch;

    fn z(counter: u32) -> Zxid {
        Zxid::new(PeerEpoch::new(1), counter)
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Span::millis(ms)
    }

    #[test]
    fn an_unacknowledged_proposal_is_noticed_after_the_limit() {
        let limit = Span::millis(100);
        let mut check = SyncLimitCheck::default();
        check.sent(z(1), at(0));
        assert!(check.keeps_up(at(1000), limit), "not started");
        check.start();
        check.sent(z(2), at(1000));
        check.sent(z(3), at(1010));
        check.sent(z(4), at(1050));
        assert!(check.keeps_up(at(1099), limit));
        assert!(!check.keeps_up(at(1100), limit));
        check.acked(z(2));
        assert!(check.keeps_up(at(1149), limit), "the newest took its place");
        assert!(!check.keeps_up(at(1150), limit));
        check.acked(z(4));
        assert!(check.keeps_up(at(9999), limit));
    }
}
