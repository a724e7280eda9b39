//! Which brokers the consumer of 0.8 asks for leaders (`LeaderFinderThread`, kafka-broker.md §8.4).
//!
//! It has no `bootstrap.servers`: at each turn it reads `/brokers/ids` and every registration below it, and asks one of those who
//! leads. Whoever it asked before means nothing to the next turn.
//!
//! `Simplified:` a turn asks one broker, where the original tried those it had read one after the other before it read again; and
//! it asks on the connection that it fetches from, where the original opened one per question. Lost: that load.

use std::collections::{BTreeMap, BTreeSet};

use jute::op::ErrorCode;
use kafkawire::BrokerId;
use kafkawire::znode::{self, BrokerRegistration};
use machine::{Address, Io};

use super::{ZkConsumer, ZkOp};
use crate::kafka::KafkaClient;
use crate::kafka::session::{Answer, Watch};

/// A read of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FinderOp {
    /// Who is registered.
    Brokers,
    /// Where one of them is.
    Broker(BrokerId),
}

/// A turn: what was read of the brokers, and what is being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding {
    left: BTreeSet<BrokerId>,
    found: BTreeMap<BrokerId, Address>,
}

impl ZkConsumer {
    /// Begins a turn if leaders are missing.
    pub(super) fn find_leaders(&mut self, io: &mut Io<'_, KafkaClient>) {
        let has_partitions = self.fetcher.partitions().next().is_some();
        if self.finding.is_none() && has_partitions && self.cluster.wants_brokers(io.now()) {
            self.finding = Some(Finding::default());
            self.read_brokers(FinderOp::Brokers, io);
        }
    }

    fn read_brokers(&mut self, op: FinderOp, io: &mut Io<'_, KafkaClient>) {
        match op {
            FinderOp::Brokers => {
                self.session.children(ZkOp::Finder(op), znode::BROKERS_IDS.to_owned(), Watch::None, io);
            }
            FinderOp::Broker(broker) => {
                self.session.data(ZkOp::Finder(op), znode::broker_id(broker), Watch::None, io);
            }
        }
    }

    /// What is lost is asked again, in the next session if it must be.
    pub(super) fn on_finder_answer(&mut self, op: FinderOp, answer: Answer, io: &mut Io<'_, KafkaClient>) {
        let Some(finding) = &mut self.finding else { return };
        match (op, answer) {
            (_, Answer::Lost) => return self.read_brokers(op, io),
            (FinderOp::Brokers, Answer::Children(names)) => {
                finding.left = names.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
                for broker in finding.left.clone() {
                    self.read_brokers(FinderOp::Broker(broker), io);
                }
            }
            // The first broker of all creates the parent.
            (FinderOp::Brokers, Answer::Refused(ErrorCode::NoNode)) => {}
            (FinderOp::Broker(broker), Answer::Data { data, .. }) => {
                let registration = BrokerRegistration::decode(&data).expect("brokers write registrations");
                finding.left.remove(&broker);
                if let Some(address) = self.cluster.hosts().resolve(&registration.host, registration.port) {
                    finding.found.insert(broker, address);
                }
            }
            // It left between the two reads.
            (FinderOp::Broker(broker), Answer::Refused(ErrorCode::NoNode)) => {
                finding.left.remove(&broker);
            }
            (op, answer) => panic!("{op:?} is answered by {answer:?}"),
        }
        if self.finding.as_ref().is_some_and(|finding| finding.left.is_empty()) {
            let found = self.finding.take().expect("it was just there").found;
            let events = self.cluster.learn_brokers(found, io);
            self.on_cluster(events, io);
        }
    }
}
