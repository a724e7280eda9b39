//! Where a follower cuts its log (KIP-101, KIP-279; kafka-broker.md §5.10).

use commitlog::EpochEnd;
use kafkawire::{LeaderEpoch, Offset};

/// What the leader answers when it is asked where the follower's latest epoch ends: the largest epoch of its own that is not
/// beyond, and where that ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeaderReply {
    /// None from a leader that does not tell (before KIP-279).
    pub(crate) epoch: Option<LeaderEpoch>,
    /// None if it knows no epoch so old.
    pub(crate) end: Option<Offset>,
}

/// What the follower does about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Truncation {
    /// The log's end from now on, unless it ends before.
    pub(crate) to: Offset,
    /// Whether the logs agree below it. If not, the leader is asked again, about the epoch that is the latest then.
    pub(crate) is_complete: bool,
}

/// The decision; `initial` is the offset to fetch from that the follower began with, its high watermark.
pub(crate) fn decide(
    reply: LeaderReply,
    initial: Offset,
    log_end: Offset,
    own_end_of: impl FnOnce(LeaderEpoch) -> Option<EpochEnd>,
) -> Truncation {
    let complete = |to| Truncation { to, is_complete: true };
    let Some(end) = reply.end else { return complete(initial) };
    let Some(epoch) = reply.epoch else { return complete(end.min(log_end)) };
    match own_end_of(epoch) {
        None => complete(end.min(log_end)),
        Some(own) if own.epoch != epoch => Truncation { to: own.end.min(log_end), is_complete: false },
        Some(own) => complete(own.end.min(end).min(log_end)),
    }
}

#[cfg(test)]
mod tests {
    use commitlog::EpochEnd;
    use kafkawire::{LeaderEpoch, Offset};

    use super::{LeaderReply, Truncation, decide};

    fn reply(epoch: i32, end: i64) -> LeaderReply {
        LeaderReply { epoch: Some(LeaderEpoch(epoch)), end: Some(Offset(end)) }
    }

    fn own(epoch: i32, end: i64) -> impl FnOnce(LeaderEpoch) -> Option<EpochEnd> {
        move |_| Some(EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) })
    }

    const INITIAL: Offset = Offset(7);
    const LOG_END: Offset = Offset(20);

    fn complete(to: i64) -> Truncation {
        Truncation { to: Offset(to), is_complete: true }
    }

    #[test]
    fn a_leader_that_knows_no_such_epoch_sends_the_follower_to_its_high_watermark() {
        let unknown = LeaderReply { epoch: None, end: None };
        assert_eq!(decide(unknown, INITIAL, LOG_END, |_| panic!("nothing to compare")), complete(7));
    }

    #[test]
    fn an_end_without_epoch_is_taken_as_it_is() {
        let old = |end| LeaderReply { epoch: None, end: Some(Offset(end)) };
        assert_eq!(decide(old(12), INITIAL, LOG_END, |_| panic!("nothing to compare")), complete(12));
        assert_eq!(decide(old(30), INITIAL, LOG_END, |_| panic!("nothing to compare")), complete(20));
    }

    #[test]
    fn a_follower_without_epochs_takes_the_leaders_end() {
        assert_eq!(decide(reply(3, 12), INITIAL, LOG_END, |_| None), complete(12));
        assert_eq!(decide(reply(3, 30), INITIAL, LOG_END, |_| None), complete(20));
    }

    #[test]
    fn an_epoch_the_follower_lacks_is_asked_about_again_from_the_one_below() {
        let again = Truncation { to: Offset(9), is_complete: false };
        assert_eq!(decide(reply(3, 12), INITIAL, LOG_END, own(2, 9)), again);
    }

    #[test]
    fn a_common_epoch_ends_where_it_ends_first() {
        assert_eq!(decide(reply(3, 12), INITIAL, LOG_END, own(3, 15)), complete(12));
        assert_eq!(decide(reply(3, 18), INITIAL, LOG_END, own(3, 15)), complete(15));
        assert_eq!(decide(reply(3, 40), INITIAL, LOG_END, own(3, 20)), complete(20));
    }
}
