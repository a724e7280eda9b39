//! Control requests between a controller and brokers, as the wire shows them (for E06).
//!
//! A channel sends the same request again over a new connection until it is answered (kafka-broker.md §4.13). Whom the
//! controller meant is what was registered when it sent it *first*.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{FieldValue, Findings};
use kafkawire::{BrokerEpoch, BrokerId, Request, Response};
use machine::HostId;

use super::cluster::BrokerAt;
use super::oracle::KafkaOracle;
use crate::Moment;

/// A control request that has no answer yet.
#[derive(Clone, Debug)]
pub(crate) struct Outstanding {
    request: Request,
    /// The epoch under which its receiver was registered when it was sent first.
    addressed: Option<BrokerEpoch>,
    first: Moment,
}

/// Control requests without an answer, by sender and receiver.
#[derive(Clone, Default, Debug)]
pub(crate) struct Channels(BTreeMap<(HostId, BrokerAt), Outstanding>);

/// The API of a control request, as facts call it, which controller it says it is from, and the broker epoch it carries.
fn control_of(request: &Request) -> Option<(&'static str, BrokerId, BrokerEpoch)> {
    match request {
        Request::LeaderAndIsr(body) => {
            Some(("LeaderAndIsr", body.controller_id.into(), BrokerEpoch(body.broker_epoch)))
        }
        Request::StopReplica(body) => Some(("StopReplica", body.controller_id.into(), BrokerEpoch(body.broker_epoch))),
        Request::UpdateMetadata(body) => {
            Some(("UpdateMetadata", body.controller_id.into(), BrokerEpoch(body.broker_epoch)))
        }
        Request::Produce(_)
        | Request::Fetch(_)
        | Request::ListOffsets(_)
        | Request::Metadata(_)
        | Request::ControlledShutdown(_)
        | Request::ApiVersions(_)
        | Request::CreateTopics(_)
        | Request::OffsetForLeaderEpoch(_) => None,
    }
}

/// Whether it is the same request again: mostly the very same value.
fn is_same(a: &Request, b: &Request) -> bool {
    match (a, b) {
        (Request::LeaderAndIsr(a), Request::LeaderAndIsr(b)) => Arc::ptr_eq(a, b) || a == b,
        (Request::StopReplica(a), Request::StopReplica(b)) => Arc::ptr_eq(a, b) || a == b,
        (Request::UpdateMetadata(a), Request::UpdateMetadata(b)) => Arc::ptr_eq(a, b) || a == b,
        (a, b) => a == b,
    }
}

impl KafkaOracle {
    /// A broker sends a control request.
    pub fn control_sent(
        &mut self,
        moment: Moment,
        from: HostId,
        to: BrokerAt,
        request: &Request,
        findings: &mut Findings,
    ) {
        let Some((api, controller, _)) = control_of(request) else { return };
        let again = self.channels.0.get(&(from, to)).is_some_and(|outstanding| is_same(&outstanding.request, request));
        if again {
            let fields = |seating: &super::cluster::Seating| {
                vec![
                    ("controller", FieldValue::Int(i64::from(controller.0))),
                    ("broker", FieldValue::Int(i64::from(seating.cluster.brokers[to].id.0))),
                    ("api", FieldValue::Text(api.to_owned())),
                ]
            };
            return self.arise("control-request-resent", fields, findings);
        }
        let id = self.seating.cluster.brokers[to].id;
        let addressed = self.znodes.last_registration.get(&id).map(|registration| registration.epoch);
        let outstanding = Outstanding { request: request.clone(), addressed, first: moment };
        Arc::make_mut(&mut self.channels).0.insert((from, to), outstanding);
    }

    /// A control request reaches a broker.
    pub fn control_delivered(&mut self, from: HostId, to: BrokerAt, request: &Request) {
        let Some((api, controller, carried)) = control_of(request) else { return };
        let outstanding = self.channels.0.get(&(from, to)).filter(|outstanding| is_same(&outstanding.request, request));
        let meant = outstanding.map(|outstanding| (outstanding.addressed, outstanding.first));
        let shadow = self.broker_mut(to);
        if carried.0 >= 0 && shadow.epoch.is_some_and(|own| own <= carried) {
            shadow.let_in.insert(carried);
        }
        match meant {
            Some(meant) => {
                shadow.addressed.insert((controller, api), meant);
            }
            None => {
                shadow.addressed.remove(&(controller, api));
            }
        }
    }

    /// The answer to a control request reaches its sender.
    pub fn control_answered(&mut self, to: HostId, from: BrokerAt, response: &Response) {
        let is_control = match response {
            Response::LeaderAndIsr(_) | Response::StopReplica(_) | Response::UpdateMetadata(_) => true,
            Response::Produce(_)
            | Response::Fetch(_)
            | Response::ListOffsets(_)
            | Response::Metadata(_)
            | Response::ControlledShutdown(_)
            | Response::ApiVersions(_)
            | Response::CreateTopics(_)
            | Response::OffsetForLeaderEpoch(_) => false,
        };
        if is_control && self.channels.0.contains_key(&(to, from)) {
            Arc::make_mut(&mut self.channels).0.remove(&(to, from));
        }
    }

    /// A dead controller sends nothing again.
    pub(crate) fn channels_of_dead(&mut self, broker: BrokerAt) {
        let host = self.seating.cluster.brokers[broker].host;
        if self.channels.0.keys().any(|&(from, _)| from == host) {
            Arc::make_mut(&mut self.channels).0.retain(|&(from, _), _| from != host);
        }
    }
}
