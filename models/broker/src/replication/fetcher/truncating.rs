//! A fetcher makes logs agree with the leader's.

use kafkawire::messages::OffsetForLeaderEpochResponse;
use kafkawire::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafkawire::{ErrorCode, LeaderEpoch, Offset};

use crate::BrokerMark;
use crate::cx::Cx;
use crate::replication::fetcher::{FetchPhase, FetchState, Fetcher};
use crate::replication::local::LocalLogs;
use crate::replication::table::Slot;
use crate::replication::truncation::{LeaderReply, decide};
use crate::replication::wire;

impl Fetcher {
    pub(super) fn on_epochs(
        &mut self,
        asked: &[(Slot, LeaderEpoch)],
        response: &OffsetForLeaderEpochResponse,
        local: &mut LocalLogs<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        for topic in &response.topics {
            for answer in &topic.partitions {
                let slot = local.partitions.find(topic.topic.as_str(), answer.partition);
                let question = asked.iter().find(|&&(of, _)| Some(of) == slot);
                let Some(&(slot, epoch_then)) = question else { continue };
                let is_current = |state: &FetchState| state.leader_epoch == epoch_then;
                if self.partitions.get(&slot).is_some_and(is_current) {
                    self.on_epoch_end(slot, answer, local, cx);
                }
            }
        }
    }

    pub(super) fn on_epoch_end(
        &mut self,
        slot: Slot,
        answer: &EpochEndOffset,
        local: &mut LocalLogs<'_>,
        cx: &mut Cx<'_, '_>,
    ) {
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => {
                let end = wire::offset(answer.end_offset);
                let reply = LeaderReply { epoch: wire::leader_epoch(answer.leader_epoch), end };
                let initial = self.partitions[&slot].offset;
                let own_end_of = |epoch| local.end_offset_for(slot, epoch);
                let truncation = decide(reply, initial, local.log_end(slot), own_end_of);
                if !truncation.is_complete {
                    cx.io.reach(BrokerMark::TruncationAskedAgain);
                }
                let lost_some = self.cut(slot, truncation.to, truncation.is_complete, local, cx);
                if lost_some && end.is_some() {
                    cx.io.reach(BrokerMark::DivergentTailTruncated);
                }
            }
            // The leader is of a later epoch: LeaderAndIsr will tell.
            Some(ErrorCode::FencedLeaderEpoch) => self.fail(slot),
            Some(_) | None => self.delay([slot], cx),
        }
    }

    /// Cuts the log; true if it lost something.
    pub(super) fn cut(
        &mut self,
        slot: Slot,
        to: Offset,
        is_complete: bool,
        local: &mut LocalLogs<'_>,
        cx: &mut Cx<'_, '_>,
    ) -> bool {
        match local.truncate(slot, to, cx) {
            Ok(lost_some) => {
                let state = self.partitions.get_mut(&slot).expect("what is cut is followed");
                state.offset = to;
                state.phase = if is_complete { FetchPhase::Fetching } else { FetchPhase::Truncating };
                lost_some
            }
            Err(error) => {
                self.fail_on_disk(slot, error, cx);
                false
            }
        }
    }
}
