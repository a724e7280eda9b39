//! What brokers read of topics' configurations: a ZooKeeper server may be behind, and L09 depends on it.

use std::collections::BTreeMap;

use jute::Xid;
use jute::client::{ReplyHeader, Request, Response};
use jute::op::ErrorCode;
use kafkawire::Topic;
use kafkawire::znode::{TopicConfig, Znode};

use super::cluster::BrokerAt;
use super::oracle::KafkaOracle;

/// Why a leader may not know its topic's `min.insync.replicas`.
pub(crate) const READ_BEHIND: &str = "a broker read the configuration of a topic from a ZooKeeper server that was behind its creation, and keeps what it read until it changes (known hole, kafka-broker.md §4.7, §5.9)";

/// What a process asked, and what of the answers was not so any more when it had them.
#[derive(Clone, Default, Debug)]
pub(crate) struct ConfigReads {
    under_way: BTreeMap<Xid, Topic>,
    /// None of a topic that seemed to set nothing itself.
    outdated: BTreeMap<Topic, Option<TopicConfig>>,
}

impl KafkaOracle {
    /// A broker sends a request to ZooKeeper.
    pub fn zookeeper_asked(&mut self, broker: BrokerAt, xid: Xid, request: &Request) {
        if let Request::GetData(read) = request
            && let Some(Znode::TopicConfig(topic)) = Znode::of(&read.path)
        {
            self.broker_mut(broker).configs.under_way.insert(xid, topic);
        } else if self.brokers[broker].configs.under_way.contains_key(&xid) {
            // Of a connection that is gone.
            self.broker_mut(broker).configs.under_way.remove(&xid);
        }
    }

    /// ZooKeeper's answer reaches a broker.
    pub fn zookeeper_answered(&mut self, broker: BrokerAt, header: &ReplyHeader, response: Option<&Response>) {
        if !self.brokers[broker].configs.under_way.contains_key(&header.xid) {
            return;
        }
        let topic = self.broker_mut(broker).configs.under_way.remove(&header.xid).expect("it was just found");
        let read = match (header.err, response) {
            (ErrorCode::NoNode, _) => None,
            (ErrorCode::Ok, Some(Response::GetData(read))) => TopicConfig::decode(read.data.as_slice()).ok(),
            (_, _) => return,
        };
        if read.as_ref() != self.znodes.configs.get(&topic) {
            self.broker_mut(broker).configs.outdated.insert(topic, read);
        }
    }

    /// `min.insync.replicas` of a topic as a broker read it, if that was not so any more.
    pub(super) fn outdated_min_insync(&self, broker: BrokerAt, topic: &Topic) -> Option<usize> {
        let read = self.brokers[broker].configs.outdated.get(topic)?;
        let own = read.as_ref().and_then(|read| read.config.get("min.insync.replicas")?.parse().ok());
        Some(own.unwrap_or(self.seating.cluster.min_insync))
    }
}
