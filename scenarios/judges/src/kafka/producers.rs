//! What clients of Kafka do: records under way, probes, positions.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::Findings;
use kafkawire::{BrokerId, Response};

use super::cluster::Brokers;
use super::oracle::KafkaOracle;
use super::partition::PartitionAt;
use super::records::record_told;
use crate::Moment;

/// Where a consumer stands in a partition.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) group: Arc<str>,
    /// The next offset.
    pub(crate) next: i64,
    pub(crate) since: Moment,
}

/// What is known of a client's process.
#[derive(Clone, Default, Debug)]
pub(crate) struct ClientShadow {
    pub(crate) probed: bool,
    pub(crate) topics_ready: bool,
    /// It gave up to rebalance and waits for something to change.
    pub(crate) gave_up: Option<Moment>,
    pub(crate) positions: BTreeMap<PartitionAt, Position>,
    /// The brokers of the last metadata that it was answered.
    pub(crate) knows: Brokers,
}

/// What all clients do.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) clients: Vec<ClientShadow>,
    /// Records that producers have not heard of yet: where they go, and since when.
    pub(crate) under_way: BTreeMap<u64, (PartitionAt, Moment)>,
    /// Records that surely failed.
    pub(crate) failed: BTreeMap<u64, Moment>,
}

impl Work {
    pub(crate) fn new(clients: usize) -> Self {
        Self { clients: vec![ClientShadow::default(); clients], under_way: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// The record that has been under way longest, in words.
    pub(crate) fn oldest(&self) -> Option<(String, Moment)> {
        let (&record, &(_, since)) = self.under_way.iter().min_by_key(|(_, (_, since))| since.event)?;
        Some((record_told(record), since))
    }
}

impl KafkaOracle {
    pub(crate) fn work_mut(&mut self) -> &mut Work {
        Arc::make_mut(&mut self.work)
    }

    /// A client's process started.
    pub fn client_started(&mut self, client: usize) {
        let probed = self.work.clients[client].probed;
        self.work_mut().clients[client] = ClientShadow { probed, ..ClientShadow::default() };
    }

    /// A client's process is over: nobody waits for what it had under way.
    pub fn client_ended(&mut self, client: usize) {
        let number = u64::from(self.seating.cluster.clients[client].number);
        let own = number << 48..(number + 1) << 48;
        let positions = std::mem::take(&mut self.work_mut().clients[client].positions);
        let probed = self.work.clients[client].probed;
        self.work_mut().clients[client] = ClientShadow { probed, ..ClientShadow::default() };
        if self.work.under_way.range(own.clone()).next().is_some() {
            self.work_mut().under_way.retain(|record, _| !own.contains(record));
        }
        for (at, position) in positions {
            self.ownership_ended(client, at, &position.group);
        }
    }

    /// A client's probe succeeded.
    pub fn probed(&mut self, client: usize) {
        self.work_mut().clients[client].probed = true;
    }

    /// An answer reaches a client: one that names brokers says all that it knows of the cluster from then on.
    pub(crate) fn answer_delivered(&mut self, client: usize, response: &Response) {
        let Response::Metadata(metadata) = response else { return };
        let named: Vec<BrokerId> = metadata.brokers.iter().map(|broker| BrokerId::from(broker.node_id)).collect();
        let knows = self.seating.brokers(&named);
        if !knows.is_empty() && self.work.clients[client].knows != knows {
            self.work_mut().clients[client].knows = knows;
        }
    }

    /// Every topic is there.
    pub fn topics_ready(&mut self, client: usize) {
        self.work_mut().clients[client].topics_ready = true;
    }

    /// A record was handed to a producer.
    pub fn record_sent(&mut self, moment: Moment, record: u64, topic: &str, number: i32) {
        let Some(at) = self.place(topic, number) else { return };
        self.work_mut().under_way.insert(record, (at, moment));
    }

    /// A producer was told that a record is there.
    #[expect(clippy::too_many_arguments, reason = "the fact has that many fields")]
    pub fn record_acknowledged(
        &mut self,
        moment: Moment,
        record: u64,
        topic: &str,
        number: i32,
        acks: i16,
        offset: i64,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        let sent = self.work_mut().under_way.remove(&record).map(|(_, since)| since.event);
        self.record_acked(moment, at, record, offset, acks, sent, findings);
    }

    /// A producer gave a record up.
    pub fn record_failed(
        &mut self,
        moment: Moment,
        record: u64,
        topic: &str,
        number: i32,
        surely: bool,
        findings: &mut Findings,
    ) {
        let Some(at) = self.place(topic, number) else { return };
        let work = self.work_mut();
        work.under_way.remove(&record);
        if surely {
            work.failed.insert(record, moment);
            self.record_failed_surely(moment, at, record, findings);
        }
    }
}
