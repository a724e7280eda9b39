//! What clients of Kafka did, counted for the report: nothing here is judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::fact::{KafkaFact, Side};
use clients::kafka::{KafkaClientFact, KafkaWorkFact};
use engine::{Seen, SeenWhat};
use kafkawire::{BatchHeader, KafkaMessage, Request};
use machine::HostId;
use world::{Fact, Node, Packet};

use crate::OperationCount;

/// Counts over a run.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// What each client says that it is.
    kinds: BTreeMap<HostId, &'static str>,
    /// Records that producers of a kind sent to a broker, with those they sent again.
    sent: Arc<BTreeMap<(&'static str, HostId), u64>>,
    /// Records that a broker appended as leader.
    led: Arc<BTreeMap<HostId, u64>>,
    produced: OperationCount,
    consumed: OperationCount,
    committed: OperationCount,
}

impl Statistics {
    /// Something was seen.
    pub(crate) fn observe(&mut self, seen: &Seen<'_, Node>) {
        if let SeenWhat::Stated { fact: Fact::KafkaClient(KafkaClientFact::Work(fact)) } = &seen.what {
            self.stated(seen.host, fact);
        } else if let SeenWhat::Stated { fact: Fact::Broker(broker::Fact::Kafka(fact)) } = &seen.what {
            if let KafkaFact::Appended { side: Side::Leader, base, last, .. } = fact {
                let records = (last.0 - base.0 + 1).unsigned_abs();
                *Arc::make_mut(&mut self.led).entry(seen.host).or_default() += records;
            }
        } else if let SeenWhat::Sent { to, message: Packet::Kafka(message), .. } = &seen.what
            && let KafkaMessage::Request { body: Request::Produce(body), .. } = message
            && let Some(&kind) = self.kinds.get(&seen.host)
        {
            let partitions = body.topic_data.iter().flat_map(|topic| &topic.partition_data);
            let batches = partitions.filter_map(|partition| partition.records.as_ref());
            let headers = batches.filter_map(|records| BatchHeader::parse(records).ok());
            let records: u64 = headers.map(|header| u64::from(header.record_count.unsigned_abs())).sum();
            *Arc::make_mut(&mut self.sent).entry((kind, *to)).or_default() += records;
        }
    }

    fn stated(&mut self, host: HostId, fact: &KafkaWorkFact) {
        let count = |count: &mut OperationCount, is_ok: bool, surely: bool| match (is_ok, surely) {
            (true, _) => count.ok += 1,
            (false, true) => count.failed += 1,
            (false, false) => count.unknown += 1,
        };
        match fact {
            KafkaWorkFact::Started { kind, .. } => {
                self.kinds.insert(host, kind);
            }
            KafkaWorkFact::RecordAcknowledged { .. } => count(&mut self.produced, true, true),
            KafkaWorkFact::RecordFailed { surely, .. } => count(&mut self.produced, false, *surely),
            KafkaWorkFact::RecordConsumed { .. } => count(&mut self.consumed, true, true),
            KafkaWorkFact::OffsetCommitCompleted { outcome, .. } => {
                count(&mut self.committed, *outcome == "ok", *outcome == "failed");
            }
            KafkaWorkFact::Stopped { .. }
            | KafkaWorkFact::ProbeSucceeded { .. }
            | KafkaWorkFact::TopicsReady { .. }
            | KafkaWorkFact::RecordSent { .. }
            | KafkaWorkFact::ProducerBrokersKnown { .. }
            | KafkaWorkFact::PartitionAssigned { .. }
            | KafkaWorkFact::PartitionRevoked { .. }
            | KafkaWorkFact::PositionReset { .. }
            | KafkaWorkFact::OffsetCommitInvoked { .. }
            | KafkaWorkFact::OffsetFetchInvoked { .. }
            | KafkaWorkFact::OffsetFetched { .. }
            | KafkaWorkFact::RebalanceBegun { .. }
            | KafkaWorkFact::RebalanceFinished { .. }
            | KafkaWorkFact::RebalanceFailed { .. }
            | KafkaWorkFact::ClaimRefused { .. } => {}
        }
    }

    /// What clients asked and what became of it, by kind: records, and writes of offsets.
    #[must_use]
    pub fn operations(&self) -> [(&'static str, OperationCount); 3] {
        [("produce", self.produced), ("consume", self.consumed), ("commit offset", self.committed)]
    }

    /// Records that producers of a kind sent to a broker, with those they sent again.
    #[must_use]
    pub fn sent(&self) -> &BTreeMap<(&'static str, HostId), u64> {
        &self.sent
    }

    /// Records that a broker appended as leader.
    #[must_use]
    pub fn led(&self, broker: HostId) -> u64 {
        self.led.get(&broker).copied().unwrap_or(0)
    }
}
