//! The APIs: each request to whom it concerns (kafka-broker.md §9).
//!
//! Absent, and therefore not in the answer to ApiVersions: consumer groups, transactions, and every other API of
//! [`ApiKey`] that is not a variant of [`Request`].

mod create_topics;
mod metadata;
mod topic_commands;
pub mod topic_name;

use kafkawire::messages::api_versions_response::ApiVersion;
use kafkawire::messages::{ApiVersionsResponse, ControlledShutdownRequest};
use kafkawire::{ApiKey, BrokerEpoch, BrokerId, ErrorCode, Request, Response, Version};

use crate::controller::ControllerEvent;
use crate::cx::{Ask, Cx, RequestId};
use crate::replication::ReplicaManager;

pub(crate) use topic_commands::TopicCommands;

/// Whom requests concern.
pub(crate) struct Concerned<'a> {
    pub(crate) replicas: &'a mut ReplicaManager,
    pub(crate) topics: &'a mut TopicCommands,
    /// Whether this broker believes that it is the controller.
    pub(crate) is_controller: bool,
}

/// Handles one request: it is answered now or later, once.
pub(crate) fn handle(id: RequestId, version: Version, body: &Request, of: Concerned<'_>, cx: &mut Cx<'_, '_>) {
    let Concerned { replicas, topics, is_controller } = of;
    match body {
        Request::Produce(request) => replicas.produce(id, request, version, cx),
        Request::Fetch(request) => replicas.fetch(id, request, version, cx),
        Request::ListOffsets(request) => replicas.list_offsets(id, request, version, cx),
        Request::OffsetForLeaderEpoch(request) => replicas.offset_for_leader_epoch(id, request, cx),
        Request::LeaderAndIsr(request) => replicas.leader_and_isr(id, request, cx),
        Request::StopReplica(request) => replicas.stop_replica(id, request, cx),
        Request::UpdateMetadata(request) => replicas.update_metadata(id, request, cx),
        Request::ControlledShutdown(request) => controlled_shutdown(id, request, cx),
        Request::ApiVersions(_) => {
            let is_known = ApiKey::ApiVersions.supported().contains(version);
            cx.answer(id, versions(if is_known { ErrorCode::None } else { ErrorCode::UnsupportedVersion }));
        }
        Request::Metadata(request) => match metadata::look_up(id, request, cx) {
            metadata::Reply::Now(response) => cx.answer(id, response),
            metadata::Reply::AfterCreating(inquiry, unknown) => topics.auto_create(inquiry, unknown, cx),
        },
        Request::CreateTopics(request) => topics.create(id, request, is_controller, cx),
    }
}

/// What is spoken here.
fn versions(error: ErrorCode) -> Response {
    let keys = ApiKey::ALL.iter().map(|&api| {
        let range = api.supported();
        ApiVersion::default().with_api_key(api.code()).with_min_version(range.min).with_max_version(range.max)
    });
    Response::ApiVersions(
        ApiVersionsResponse::default().with_error_code(error.code()).with_api_keys(keys.collect()).into(),
    )
}

fn controlled_shutdown(to: RequestId, request: &ControlledShutdownRequest, cx: &mut Cx<'_, '_>) {
    // Versions before 2 have no epoch: −1.
    let epoch = Some(BrokerEpoch(request.broker_epoch)).filter(|epoch| epoch.0 >= 0);
    let broker = BrokerId::from(request.broker_id);
    cx.ask(Ask::Controller(ControllerEvent::ControlledShutdown { to, broker, epoch }));
}
