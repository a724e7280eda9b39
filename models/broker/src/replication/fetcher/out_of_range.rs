//! What a fetcher does about an offset that its leader does not have.

use std::collections::VecDeque;

use kafkawire::messages::ListOffsetsResponse;
use kafkawire::{ErrorCode, Link, Offset};

use crate::cx::Cx;
use crate::replication::fetcher::{FetchPhase, Fetcher, OutOfRange, Step};
use crate::replication::local::LocalLogs;
use crate::replication::offsets::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};
use crate::replication::wire;

impl Fetcher {
    /// Finds out where the leader's logs end, one partition after the other (`handleOutOfRangeError`); then goes on.
    ///
    /// `Simplified:` the real thread holds the lock of its partitions meanwhile, so that a LeaderAndIsr waits for the leader's
    /// answer. Lost: that wait; an answer about an earlier epoch is ignored instead.
    pub(super) fn settle_out_of_range(&mut self, mut rest: VecDeque<OutOfRange>, cx: &mut Cx<'_, '_>) {
        let Some(of) = rest.pop_front() else { return self.begin_again(cx) };
        if !self.is_current(of) {
            return self.settle_out_of_range(rest, cx);
        }
        if !self.link.as_ref().is_some_and(Link::can_send) {
            self.delay(std::iter::once(of).chain(rest).map(|of| of.slot), cx);
            return self.begin_again(cx);
        }
        let request = self.list_request(of.slot, LATEST_TIMESTAMP, cx);
        let correlation = self.send(request, cx);
        self.step = Step::AskingEnd { correlation, of, rest };
    }

    pub(super) fn is_current(&self, of: OutOfRange) -> bool {
        self.partitions.get(&of.slot).is_some_and(|state| state.leader_epoch == of.leader_epoch)
    }

    /// The offset the leader told; none if it told an error, about which something was done.
    pub(super) fn listed(&mut self, of: OutOfRange, response: &ListOffsetsResponse, cx: &Cx<'_, '_>) -> Option<Offset> {
        if !self.is_current(of) {
            return None;
        }
        let answer = response.topics.first().and_then(|topic| topic.partitions.first());
        let error = answer.and_then(|answer| ErrorCode::from_code(answer.error_code));
        match error {
            Some(ErrorCode::None) => answer.and_then(|answer| wire::offset(answer.offset)),
            Some(ErrorCode::FencedLeaderEpoch) => {
                self.fail(of.slot);
                None
            }
            Some(_) | None => {
                self.delay([of.slot], cx);
                None
            }
        }
    }

    pub(super) fn on_leader_end(
        &mut self,
        of: OutOfRange,
        rest: VecDeque<OutOfRange>,
        response: &ListOffsetsResponse,
        local: &mut LocalLogs<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        let Some(leader_end) = self.listed(of, response, cx) else { return self.settle_out_of_range(rest, cx) };
        if leader_end < local.log_end(of.slot) {
            self.cut(of.slot, leader_end, true, local, cx);
            return self.settle_out_of_range(rest, cx);
        }
        if !self.link.as_ref().is_some_and(Link::can_send) {
            self.delay(std::iter::once(of).chain(rest).map(|of| of.slot), cx);
            return self.begin_again(cx);
        }
        // The leader grew meanwhile, or this log ends before the leader's begins (KAFKA-2143).
        let request = self.list_request(of.slot, EARLIEST_TIMESTAMP, cx);
        let correlation = self.send(request, cx);
        self.step = Step::AskingStart { correlation, of, rest };
    }

    pub(super) fn on_leader_start(
        &mut self,
        of: OutOfRange,
        rest: VecDeque<OutOfRange>,
        response: &ListOffsetsResponse,
        local: &mut LocalLogs<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        let Some(leader_start) = self.listed(of, response, cx) else { return self.settle_out_of_range(rest, cx) };
        let log_end = local.log_end(of.slot);
        let restarted = if leader_start > log_end { local.restart_at(of.slot, leader_start, cx) } else { Ok(()) };
        match restarted {
            Ok(()) => {
                let state = self.partitions.get_mut(&of.slot).expect("it was just there");
                state.offset = leader_start.max(log_end);
                state.phase = FetchPhase::Fetching;
            }
            Err(error) => self.fail_on_disk(of.slot, error, cx),
        }
        self.settle_out_of_range(rest, cx);
    }
}
