//! What a fetcher asks.

use std::sync::Arc;

use kafkawire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafkawire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafkawire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafkawire::messages::{FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest};
use kafkawire::{LeaderEpoch, Request};
use machine::Span;

use crate::cx::Cx;
use crate::replication::fetcher::{FetchPhase, Fetcher, Told};
use crate::replication::local::LocalLogs;
use crate::replication::table::Slot;

impl Fetcher {
    pub(super) fn epochs_request(&self, asked: &[(Slot, LeaderEpoch)], cx: &Cx<'_, '_>) -> Request {
        let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
        for (slot, latest) in asked {
            let state = &self.partitions[slot];
            let partition = OffsetForLeaderPartition::default()
                .with_partition(state.tp.partition)
                .with_current_leader_epoch(state.leader_epoch.0)
                .with_leader_epoch(latest.0);
            match topics.last_mut().filter(|last| last.topic == state.wire_topic) {
                Some(last) => last.partitions.push(partition),
                None => topics.push(
                    OffsetForLeaderTopic::default()
                        .with_topic(state.wire_topic.clone())
                        .with_partitions(vec![partition]),
                ),
            }
        }
        let request = OffsetForLeaderEpochRequest::default().with_replica_id(cx.broker().wire()).with_topics(topics);
        Request::OffsetForLeaderEpoch(Arc::new(request))
    }

    /// A fetch of every partition that is ready: all of them in a full request, else those that changed since the last one.
    pub(super) fn fetch_request(&mut self, local: &LocalLogs<'_>, cx: &Cx<'_, '_>) -> Request {
        let now = cx.io.now();
        let config = cx.config();
        let is_full = self.session.is_full();
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (&slot, state) in &mut self.partitions {
            if !state.is_in(FetchPhase::Fetching, now) {
                if state.told.take().is_some() {
                    self.forgotten.push((slot, state.tp.clone(), state.wire_topic.clone()));
                }
                continue;
            }
            let told =
                Told { offset: state.offset, leader_epoch: state.leader_epoch, log_start: local.log_start(slot) };
            let is_known = state.told.replace(told) == Some(told);
            if is_known && !is_full {
                continue;
            }
            let partition = FetchPartition::default()
                .with_partition(state.tp.partition)
                .with_current_leader_epoch(state.epoch_code())
                .with_fetch_offset(told.offset.0)
                .with_log_start_offset(told.log_start.0)
                .with_partition_max_bytes(config.replica_fetch_max_bytes);
            match topics.last_mut().filter(|last| last.topic == state.wire_topic) {
                Some(last) => last.partitions.push(partition),
                None => topics
                    .push(FetchTopic::default().with_topic(state.wire_topic.clone()).with_partitions(vec![partition])),
            }
        }
        let mut forgotten: Vec<ForgottenTopic> = Vec::new();
        for (slot, tp, wire_topic) in self.forgotten.drain(..) {
            let is_back = self.partitions.get(&slot).is_some_and(|state| state.told.is_some());
            if is_full || is_back {
                continue;
            }
            match forgotten.iter_mut().find(|topic| topic.topic == wire_topic) {
                Some(topic) => topic.partitions.push(tp.partition),
                None => {
                    forgotten
                        .push(ForgottenTopic::default().with_topic(wire_topic).with_partitions(vec![tp.partition]));
                }
            }
        }
        let request = FetchRequest::default()
            .with_replica_id(cx.broker().wire())
            .with_max_wait_ms(millis(config.replica_fetch_wait_max))
            .with_min_bytes(config.replica_fetch_min_bytes)
            .with_max_bytes(config.replica_fetch_response_max_bytes)
            .with_session_id(self.session.id)
            .with_session_epoch(self.session.epoch)
            .with_topics(topics)
            .with_forgotten_topics_data(forgotten);
        Request::Fetch(Arc::new(request))
    }

    pub(super) fn list_request(&self, slot: Slot, timestamp: i64, cx: &Cx<'_, '_>) -> Request {
        let state = &self.partitions[&slot];
        let partition = ListOffsetsPartition::default()
            .with_partition_index(state.tp.partition)
            .with_current_leader_epoch(state.epoch_code())
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(state.wire_topic.clone()).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(cx.broker().wire()).with_topics(vec![topic]);
        Request::ListOffsets(Arc::new(request))
    }
}

fn millis(span: Span) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}
