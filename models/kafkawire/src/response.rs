//! What a broker answers.

use std::sync::Arc;

use kafka_protocol::messages::{
    ApiVersionsResponse, ControlledShutdownResponse, CreateTopicsResponse, FetchResponse, LeaderAndIsrResponse,
    ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse, ProduceResponse, StopReplicaResponse,
    UpdateMetadataResponse,
};

use crate::ApiKey;

/// A response. The bodies are shared: a second receiver or a fork costs a reference count.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To the request of this name.
    Produce(Arc<ProduceResponse>),
    /// To the request of this name.
    Fetch(Arc<FetchResponse>),
    /// To the request of this name.
    ListOffsets(Arc<ListOffsetsResponse>),
    /// To the request of this name.
    Metadata(Arc<MetadataResponse>),
    /// To the request of this name.
    LeaderAndIsr(Arc<LeaderAndIsrResponse>),
    /// To the request of this name.
    StopReplica(Arc<StopReplicaResponse>),
    /// To the request of this name.
    UpdateMetadata(Arc<UpdateMetadataResponse>),
    /// To the request of this name.
    ControlledShutdown(Arc<ControlledShutdownResponse>),
    /// To the request of this name.
    ApiVersions(Arc<ApiVersionsResponse>),
    /// To the request of this name.
    CreateTopics(Arc<CreateTopicsResponse>),
    /// To the request of this name.
    OffsetForLeaderEpoch(Arc<OffsetForLeaderEpochResponse>),
}

impl Response {
    /// Its API.
    #[must_use]
    pub const fn api(&self) -> ApiKey {
        match self {
            Self::Produce(_) => ApiKey::Produce,
            Self::Fetch(_) => ApiKey::Fetch,
            Self::ListOffsets(_) => ApiKey::ListOffsets,
            Self::Metadata(_) => ApiKey::Metadata,
            Self::LeaderAndIsr(_) => ApiKey::LeaderAndIsr,
            Self::StopReplica(_) => ApiKey::StopReplica,
            Self::UpdateMetadata(_) => ApiKey::UpdateMetadata,
            Self::ControlledShutdown(_) => ApiKey::ControlledShutdown,
            Self::ApiVersions(_) => ApiKey::ApiVersions,
            Self::CreateTopics(_) => ApiKey::CreateTopics,
            Self::OffsetForLeaderEpoch(_) => ApiKey::OffsetForLeaderEpoch,
        }
    }
}
