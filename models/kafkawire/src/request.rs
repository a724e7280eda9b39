//! What is asked of a broker: every API that is modelled, and no other.

use std::sync::Arc;

use kafka_protocol::messages::{
    ApiVersionsRequest, ControlledShutdownRequest, CreateTopicsRequest, FetchRequest, LeaderAndIsrRequest,
    ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest, StopReplicaRequest,
    UpdateMetadataRequest,
};

use crate::ApiKey;

/// A request. The bodies are shared: a second receiver or a fork costs a reference count.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Append records.
    Produce(Arc<ProduceRequest>),
    /// Read records, as a consumer or as a follower.
    Fetch(Arc<FetchRequest>),
    /// Where a partition's log begins and ends.
    ListOffsets(Arc<ListOffsetsRequest>),
    /// Who leads what, and who is alive.
    Metadata(Arc<MetadataRequest>),
    /// Controller to broker: lead or follow these partitions.
    LeaderAndIsr(Arc<LeaderAndIsrRequest>),
    /// Controller to broker: stop following, perhaps delete.
    StopReplica(Arc<StopReplicaRequest>),
    /// Controller to broker: what to answer to Metadata.
    UpdateMetadata(Arc<UpdateMetadataRequest>),
    /// Broker to controller: move my leaderships away, I am going.
    ControlledShutdown(Arc<ControlledShutdownRequest>),
    /// What versions are spoken here.
    ApiVersions(Arc<ApiVersionsRequest>),
    /// Create topics.
    CreateTopics(Arc<CreateTopicsRequest>),
    /// Where an epoch ends (KIP-101).
    OffsetForLeaderEpoch(Arc<OffsetForLeaderEpochRequest>),
}

impl Request {
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
