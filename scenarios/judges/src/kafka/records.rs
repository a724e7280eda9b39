//! What clients know of a partition's records: the black-box checks H01, H03, H04, H05, H10, H11, H12
//! (invariants-and-faults.md §3.7, without transactions).

use std::sync::Arc;

use engine::Findings;

use super::oracle::KafkaOracle;
use super::partition::PartitionAt;
use crate::chunked::Chunked;
use crate::moment::Story;
use crate::{Moment, Rule};

/// What clients were told of an offset.
#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    /// The record, if any was named.
    record: Option<u64>,
    /// A producer with acks=all was told that it is there.
    acked: Option<Moment>,
    /// A consumer was given it.
    consumed: Option<Moment>,
}

/// What clients know of a partition.
#[derive(Clone, Default, Debug)]
pub(crate) struct RecordHistory {
    slots: Chunked<Slot>,
    /// Acknowledgements of all replicas: by event, the highest offset acknowledged so far.
    acks: Chunked<(u64, i64)>,
    /// From where on some consumer has read, if any has.
    pub(crate) covered_from: Option<i64>,
    /// The highest offset that was consumed.
    consumed_most: Option<i64>,
}

impl RecordHistory {
    fn slot_mut(&mut self, offset: i64) -> Option<&mut Slot> {
        let at = usize::try_from(offset).ok()?;
        while self.slots.len() <= at {
            self.slots.push(Slot::default());
        }
        self.slots.get_mut(at)
    }

    /// The highest offset acknowledged before an event.
    fn acked_before(&self, event: u64) -> Option<i64> {
        let at = self.acks.partition_point(|&(then, _)| then < event).checked_sub(1)?;
        self.acks.get(at).map(|&(_, offset)| offset)
    }

    /// A consumer begins to read at an offset.
    pub(crate) fn cover(&mut self, from: i64) {
        self.covered_from = Some(self.covered_from.map_or(from, |covered| covered.min(from)));
    }
}

/// A record in a user's words: producer and number.
pub(crate) fn record_told(record: u64) -> String {
    format!("{}:{}", record >> 48, record & 0xFFFF_FFFF_FFFF)
}

impl KafkaOracle {
    /// A producer was told that its record is there. `sent` is the event at which it was handed to the producer.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub(crate) fn record_acked(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        record: u64,
        offset: i64,
        acks: i16,
        sent: Option<u64>,
        findings: &mut Findings,
    ) {
        if offset < 0 {
            return;
        }
        if acks != -1 {
            // A leader's word alone: it may be lost, and its offset used again.
            return;
        }
        self.check_send_order(moment, at, record, offset, sent, findings);
        self.place_record(moment, at, record, offset, false, findings);
        let history = self.records_mut(at);
        let most = history.acks.last().map_or(offset, |&(_, most)| most.max(offset));
        history.acks.push((moment.event, most));
    }

    /// A consumer was given a record.
    pub(crate) fn record_read(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        record: u64,
        offset: i64,
        findings: &mut Findings,
    ) {
        self.place_record(moment, at, record, offset, true, findings);
        let history = self.records_mut(at);
        history.consumed_most = Some(history.consumed_most.map_or(offset, |most| most.max(offset)));
        self.tally.check(Rule::FailedRead);
        if let Some(&failed) = self.work.failed.get(&record) {
            self.failed_record_read(moment, at, record, offset, failed, findings);
        }
    }

    /// H01: an offset has one record.
    fn place_record(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        record: u64,
        offset: i64,
        is_read: bool,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::InconsistentOffsets);
        let Some(slot) = self.records_mut(at).slot_mut(offset) else { return };
        let before = *slot;
        slot.record.get_or_insert(record);
        let mark = if is_read { &mut slot.consumed } else { &mut slot.acked };
        mark.get_or_insert(moment);
        let Some(other) = before.record.filter(|&other| other != record) else { return };
        if let Some(why) = self.partitions[at].replaced(offset) {
            return self.tally.relax(Rule::InconsistentOffsets, why);
        }
        let name = self.partitions[at].name.clone();
        let headline =
            format!("offset {offset} of {name} has two records: {} and {}", record_told(other), record_told(record));
        let mut story = Story::new(Rule::InconsistentOffsets, headline);
        for (then, how) in [(before.acked, "acknowledged there"), (before.consumed, "read there")] {
            if let Some(then) = then {
                story = story.promise(then, format!("{} was {how}", record_told(other)));
            }
        }
        let how = if is_read { "read" } else { "acknowledged" };
        let violation =
            story.kind("inconsistent-offsets").detected(moment, format!("{} is {how} there", record_told(record)));
        self.broken(Rule::InconsistentOffsets, violation, findings);
    }

    /// H12: what is sent after another was acknowledged comes behind it.
    fn check_send_order(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        record: u64,
        offset: i64,
        sent: Option<u64>,
        findings: &mut Findings,
    ) {
        let Some(sent) = sent else { return };
        self.tally.check(Rule::OffsetOrder);
        let Some(before) = self.records[at].acked_before(sent).filter(|&before| before >= offset) else { return };
        if let Some(why) = self.partitions[at].replaced(offset) {
            return self.tally.relax(Rule::OffsetOrder, why);
        }
        let headline = format!(
            "{} of {} was sent after offset {before} had been acknowledged, and is acknowledged at {offset}",
            record_told(record),
            self.partitions[at].name
        );
        let note = "the acknowledgement arrives";
        self.broken_plainly(Rule::OffsetOrder, "offset-order-realtime", headline, moment, note, findings);
    }

    /// H05: what surely failed is nowhere.
    fn failed_record_read(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        record: u64,
        offset: i64,
        failed: Moment,
        findings: &mut Findings,
    ) {
        let name = self.partitions[at].name.clone();
        let headline = format!(
            "{} of {name} surely failed, as its producer was told, and is read at offset {offset}",
            record_told(record)
        );
        let violation = Story::new(Rule::FailedRead, headline)
            .promise(failed, format!("{} failed", record_told(record)))
            .kind("aborted-read")
            .detected(moment, "it was read");
        self.broken(Rule::FailedRead, violation, findings);
    }

    /// A record surely failed: H05 if somebody has read it already.
    pub(crate) fn record_failed_surely(
        &mut self,
        moment: Moment,
        at: PartitionAt,
        record: u64,
        findings: &mut Findings,
    ) {
        self.tally.check(Rule::FailedRead);
        let history = Arc::clone(&self.records[at]);
        // Rare: the whole history is searched.
        let read =
            history.slots.iter().enumerate().find(|(_, slot)| slot.record == Some(record) && slot.consumed.is_some());
        if let Some((offset, _)) = read {
            let offset = i64::try_from(offset).expect("offsets are counted");
            self.failed_record_read(moment, at, record, offset, moment, findings);
        }
    }

    /// H03 and H04: what was acknowledged by all was read by somebody, where anybody has read that far.
    pub(crate) fn judge_records(&mut self, now: Moment, findings: &mut Findings) {
        for at in 0..self.records.len() {
            let history = Arc::clone(&self.records[at]);
            let Some(from) = history.covered_from.and_then(|from| usize::try_from(from).ok()) else { continue };
            self.tally.check(Rule::LostWrite);
            self.tally.check(Rule::Unseen);
            let unread = history.slots.iter_from(from.min(history.slots.len())).enumerate();
            let unread = unread.filter_map(|(place, slot)| match (slot.record, slot.acked, slot.consumed) {
                (Some(record), Some(acked), None) => {
                    i64::try_from(from + place).ok().map(|offset| (offset, record, acked))
                }
                (Some(_), None, _) | (Some(_), Some(_), Some(_)) | (None, _, _) => None,
            });
            let mut told = [false; 2];
            for (offset, record, acked) in unread {
                let is_passed = history.consumed_most.is_some_and(|most| offset < most);
                let rule = if is_passed { Rule::LostWrite } else { Rule::Unseen };
                if let Some(why) = self.partitions[at].replaced(offset) {
                    self.tally.relax(rule, why);
                    continue;
                }
                // One of each kind for each partition says it.
                if std::mem::replace(&mut told[usize::from(is_passed)], true) {
                    continue;
                }
                let name = self.partitions[at].name.clone();
                let seen = if is_passed { "though later ones were" } else { "when everything was read" };
                let headline = format!(
                    "{} was acknowledged at offset {offset} of {name} and never read, {seen}",
                    record_told(record)
                );
                let violation = Story::new(rule, headline)
                    .promise(acked, format!("{} was acknowledged with acks=all", record_told(record)))
                    .kind(rule.name())
                    .detected(now, "the run is over");
                self.broken(rule, violation, findings);
            }
        }
    }
}
