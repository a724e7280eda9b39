//! What followers ask of their leaders, in which life and when: E13, E17 and V07 depend on it.

use kafkawire::messages::{FetchRequest, FetchResponse};
use kafkawire::{BrokerId, Request, Response};
use machine::EndId;

use super::cluster::BrokerAt;
use super::oracle::KafkaOracle;
use crate::Moment;

/// Why a follower that has everything does not learn that it is committed.
pub(crate) const ANSWER_DROPPED: &str = "a follower dropped its leader's answer, because it had heard of another epoch meanwhile, and a fetch session says a high watermark only once: it learns it with the next record (known hole, kafka-broker.md §5.6, §5.10)";

/// The last fetch that a process sent on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fetching {
    leader: BrokerAt,
    correlation: i32,
    moment: Moment,
}

fn follower_fetch(request: &Request) -> Option<&FetchRequest> {
    match request {
        Request::Fetch(body) => Some(&**body).filter(|body| body.replica_id.0 >= 0),
        Request::Produce(_)
        | Request::ListOffsets(_)
        | Request::Metadata(_)
        | Request::LeaderAndIsr(_)
        | Request::StopReplica(_)
        | Request::UpdateMetadata(_)
        | Request::ControlledShutdown(_)
        | Request::ApiVersions(_)
        | Request::CreateTopics(_)
        | Request::OffsetForLeaderEpoch(_) => None,
    }
}

impl KafkaOracle {
    /// A broker sends a request to another; here only a follower's fetch matters.
    pub fn fetch_sent(
        &mut self,
        moment: Moment,
        follower: BrokerAt,
        on: EndId,
        leader: BrokerAt,
        correlation: i32,
        request: &Request,
    ) {
        if follower_fetch(request).is_some() {
            let fetching = Fetching { leader, correlation, moment };
            self.broker_mut(follower).fetching.insert(on, fetching);
        }
    }

    /// A fetch reaches a leader, who knows from then on how far that life of the follower is. One of an earlier life may still come
    /// after its end (KIP-903).
    pub(super) fn follower_fetched(&mut self, leader: BrokerAt, correlation: i32, request: &FetchRequest) {
        let Some(follower) = self.seating.broker(BrokerId::from(request.replica_id)) else { return };
        let is_of_this_life =
            self.brokers[follower].fetching.values().any(|it| it.leader == leader && it.correlation >= correlation);
        if !is_of_this_life {
            return;
        }
        for topic in &request.topics {
            for partition in &topic.partitions {
                let Some(at) = self.find(topic.topic.as_str(), partition.partition) else { continue };
                if !self.partitions[at].replicas[follower].fetched {
                    self.partition_mut(at).replicas[follower].fetched = true;
                }
            }
        }
    }

    /// A leader's answer reaches a follower. What it says of a partition whose epoch began after it was asked for is dropped.
    pub fn fetch_answered(&mut self, follower: BrokerAt, on: EndId, correlation: i32, response: &Response) {
        let Response::Fetch(body) = response else { return };
        let asked = self.brokers[follower].fetching.get(&on).filter(|it| it.correlation == correlation);
        if let Some(asked) = asked.map(|it| it.moment) {
            self.fetch_answer_delivered(follower, asked, body);
        }
    }

    fn fetch_answer_delivered(&mut self, follower: BrokerAt, asked: Moment, response: &FetchResponse) {
        for topic in &response.responses {
            for answer in &topic.partitions {
                let Some(at) = self.find(topic.topic.as_str(), answer.partition_index) else { continue };
                let replica = &self.partitions[at].replicas[follower];
                let is_dropped = replica.epoch.is_some_and(|(_, heard)| heard.event > asked.event);
                let dropped = (is_dropped && answer.error_code == 0).then_some(answer.high_watermark);
                if replica.dropped_high_watermark != dropped {
                    self.partition_mut(at).replicas[follower].dropped_high_watermark = dropped;
                }
            }
        }
    }
}
