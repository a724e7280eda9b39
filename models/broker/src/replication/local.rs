//! The follower's side of its logs: what fetchers append to and cut (kafka-broker.md §5.10).

use bytes::Bytes;
use commitlog::{AppendError, EpochEnd, Log, LogManager};
use kafkawire::{LeaderEpoch, Offset};
use machine::disk::DiskError;

use crate::cx::Cx;
use crate::fact::{KafkaFact, Side};
use crate::replication::table::{PartitionTable, Slot};
use crate::replication::{Partition, wire};

/// The logs of the partitions a broker hosts.
#[derive(Debug)]
pub(crate) struct LocalLogs<'a> {
    pub(crate) partitions: &'a PartitionTable,
    pub(crate) logs: &'a mut LogManager,
}

impl LocalLogs<'_> {
    fn partition(&self, slot: Slot) -> &Partition {
        self.partitions.get(slot).expect("what is followed is hosted")
    }

    fn log(&self, slot: Slot) -> &Log {
        self.logs.at(self.partition(slot).log_in_use())
    }

    pub(crate) fn log_start(&self, slot: Slot) -> Offset {
        self.log(slot).log_start()
    }

    pub(crate) fn log_end(&self, slot: Slot) -> Offset {
        self.log(slot).log_end()
    }

    pub(crate) fn latest_epoch(&self, slot: Slot) -> Option<LeaderEpoch> {
        self.log(slot).latest_epoch()
    }

    pub(crate) fn end_offset_for(&self, slot: Slot, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.log(slot).end_offset_for(epoch)
    }

    pub(crate) fn is_durable_to(&self, slot: Slot, offset: Offset) -> bool {
        self.log(slot).recovery_point() >= offset
    }

    /// Cuts a log; true if it lost something.
    pub(crate) fn truncate(&mut self, slot: Slot, to: Offset, cx: &mut Cx<'_, '_>) -> Result<bool, DiskError> {
        let tp = self.partition(slot).tp().clone();
        let done = self.logs.truncate_to(&tp, to, cx.io)?;
        self.state_truncated(slot, done, cx);
        Ok(done.to < done.from)
    }

    /// Empties a log and lets it begin where the leader's does (KAFKA-9491).
    pub(crate) fn restart_at(&mut self, slot: Slot, at: Offset, cx: &mut Cx<'_, '_>) -> Result<(), DiskError> {
        let tp = self.partition(slot).tp().clone();
        let done = self.logs.truncate_fully_and_start_at(&tp, at, cx.io)?;
        self.state_truncated(slot, done, cx);
        Ok(())
    }

    fn state_truncated(&self, slot: Slot, done: commitlog::Truncated, cx: &mut Cx<'_, '_>) {
        let tp = self.partition(slot).tp();
        if done.to != done.from {
            cx.io.state(KafkaFact::Truncated {
                broker: cx.image.config.broker_id,
                topic: tp.topic.clone(),
                partition: tp.partition,
                from: done.from,
                to: done.to,
            });
        }
        if self.log(slot).high_watermark() != done.high_watermark {
            self.state_high_watermark(slot, cx);
        }
    }

    /// Appends what the leader sent; returns up to where the log must be durable before anything else happens with it.
    pub(crate) fn append(
        &mut self,
        slot: Slot,
        records: &Bytes,
        cx: &mut Cx<'_, '_>,
    ) -> Result<Option<Offset>, AppendError> {
        let partition = self.partitions.get(slot).expect("what is followed is hosted");
        let tp = partition.tp();
        let mut log = self.logs.at_mut(partition.log_in_use());
        let appended = log.append_as_follower(records, cx.io)?;
        for batch in &appended {
            cx.io.state(KafkaFact::Appended {
                broker: cx.image.config.broker_id,
                topic: tp.topic.clone(),
                partition: tp.partition,
                side: Side::Follower,
                base: batch.base,
                last: batch.last,
                leader_epoch: LeaderEpoch(wire::epoch_code(wire::leader_epoch(batch.header.leader_epoch))),
                checksum: batch.header.crc,
            });
        }
        Ok(appended.last().and_then(|last| last.flush_first))
    }

    /// What the leader said about its offsets: the high watermark is the smaller of its own and this log's end, the log starts
    /// where the leader's does. Only a truncation lowers a follower's high watermark.
    pub(crate) fn follow_offsets(
        &mut self,
        slot: Slot,
        leader_high_watermark: Option<Offset>,
        leader_log_start: Option<Offset>,
        cx: &mut Cx<'_, '_>,
    ) -> Result<(), DiskError> {
        let id = self.partition(slot).log_in_use();
        let log = self.logs.at(id);
        let high_watermark = leader_high_watermark.map_or(log.high_watermark(), |leaders| leaders.min(log.log_end()));
        if high_watermark > log.high_watermark() {
            self.logs.at_mut(id).set_high_watermark(high_watermark);
            self.state_high_watermark(slot, cx);
        }
        // The leader's start is committed; this replica may not know yet how far, and raises its own when it does.
        let log = self.logs.at(id);
        let start = leader_log_start.unwrap_or(Offset::ZERO).min(log.high_watermark());
        if start > log.log_start() {
            self.logs.at_mut(id).raise_log_start(start, cx.io)?;
        }
        Ok(())
    }

    fn state_high_watermark(&self, slot: Slot, cx: &mut Cx<'_, '_>) {
        let partition = self.partition(slot);
        let tp = partition.tp();
        cx.io.state(KafkaFact::HighWatermark {
            broker: cx.image.config.broker_id,
            topic: tp.topic.clone(),
            partition: tp.partition,
            side: Side::Follower,
            leader_epoch: partition.leader_epoch().unwrap_or(LeaderEpoch(-1)),
            offset: self.log(slot).high_watermark(),
        });
    }
}
