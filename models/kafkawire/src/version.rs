//! API keys, versions, and how two ends agree on one (kafka-broker.md §1.9, §9.1).

use std::fmt;

/// The version of an API that a message was narrowed to.
pub type Version = i16;

/// Versions of an API, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionRange {
    /// The lowest.
    pub min: Version,
    /// The highest.
    pub max: Version,
}

impl VersionRange {
    /// From `min` to `max`.
    ///
    /// # Panics
    /// If the range is empty.
    #[must_use]
    pub const fn new(min: Version, max: Version) -> Self {
        assert!(0 <= min && min <= max, "a range of versions is not empty");
        Self { min, max }
    }

    /// Whether a version is inside.
    #[must_use]
    pub const fn contains(self, version: Version) -> bool {
        self.min <= version && version <= self.max
    }

    /// Every version, ascending.
    pub fn versions(self) -> impl DoubleEndedIterator<Item = Version> {
        self.min..=self.max
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

macro_rules! api_keys {
    ($($(#[$doc:meta])* $code:literal $name:ident $kebab:literal $min:literal..=$max:literal;)*) => {
        /// An API that is modelled.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum ApiKey {
            $($(#[$doc])* $name,)*
        }

        impl ApiKey {
            /// Every API that is modelled, by code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number in request headers.
            #[must_use]
            pub const fn code(self) -> i16 {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The API of a number; none if Kafka has no such API, or none that is modelled.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name of it, such as `LeaderAndIsr`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            pub(crate) const fn request_name(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($kebab, "-request"),)*
                }
            }

            pub(crate) const fn response_name(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($kebab, "-response"),)*
                }
            }

            /// The versions both ends speak here; what a broker answers to ApiVersions.
            ///
            /// The highest are those of Kafka 2.6, the release that era E22's `inter.broker.protocol.version` names: none
            /// of them has topic ids, truncation on fetch or what else came later. Where the lowest is not 0:
            ///
            /// - Produce from 3 and Fetch from 4: below, records are message sets (magic 0 and 1), which would have to be
            ///   converted.
            /// - ListOffsets from 1: version 0 answers with a list of segment starts.
            /// - Metadata from 4: below, a client cannot say `allow_auto_topic_creation`, and 0 has no controller.
            #[must_use]
            pub const fn supported(self) -> VersionRange {
                match self {
                    $(Self::$name => VersionRange::new($min, $max),)*
                }
            }
        }
    };
}

api_keys! {
    /// Append records.
    0 Produce "produce" 3..=8;
    /// Read records.
    1 Fetch "fetch" 4..=11;
    /// Where a partition's log begins and ends.
    2 ListOffsets "list-offsets" 1..=5;
    /// Who leads what, and who is alive.
    3 Metadata "metadata" 4..=9;
    /// Controller to broker: lead or follow.
    4 LeaderAndIsr "leader-and-isr" 0..=4;
    /// Controller to broker: stop following, perhaps delete.
    5 StopReplica "stop-replica" 0..=3;
    /// Controller to broker: what to answer to Metadata.
    6 UpdateMetadata "update-metadata" 0..=6;
    /// Broker to controller: move my leaderships away.
    7 ControlledShutdown "controlled-shutdown" 0..=3;
    /// What versions are spoken here.
    18 ApiVersions "api-versions" 0..=3;
    /// Create topics.
    19 CreateTopics "create-topics" 0..=5;
    /// Where an epoch ends (KIP-101).
    23 OffsetForLeaderEpoch "offset-for-leader-epoch" 0..=3;
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The highest version of an API that we and another end with the range `theirs` both speak (kafka-broker.md §9.1).
///
/// # Errors
/// If there is none.
pub fn negotiate(api: ApiKey, theirs: VersionRange) -> Result<Version, UnsupportedVersion> {
    let ours = api.supported();
    let version = ours.max.min(theirs.max);
    if ours.contains(version) && theirs.contains(version) { Ok(version) } else { Err(UnsupportedVersion(api)) }
}

/// The version that one broker sends to another without asking: `inter.broker.protocol.version=2.6` (kafka-broker.md §1.9).
///
/// What brokers do not send to each other in this era (Produce, Metadata, ApiVersions, CreateTopics) has no gate: the
/// highest.
#[must_use]
pub const fn inter_broker(api: ApiKey) -> Version {
    match api {
        ApiKey::Fetch => 11,
        ApiKey::ListOffsets => 5,
        ApiKey::LeaderAndIsr => 4,
        ApiKey::StopReplica => 3,
        ApiKey::UpdateMetadata => 6,
        ApiKey::ControlledShutdown => 3,
        ApiKey::OffsetForLeaderEpoch => 3,
        ApiKey::Produce | ApiKey::Metadata | ApiKey::ApiVersions | ApiKey::CreateTopics => api.supported().max,
    }
}

/// Two ends have no version of an API in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnsupportedVersion(pub ApiKey);

impl fmt::Display for UnsupportedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no common version of {}", self.0.name())
    }
}

impl std::error::Error for UnsupportedVersion {}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        ApiVersionsRequest, ControlledShutdownRequest, CreateTopicsRequest, FetchRequest, LeaderAndIsrRequest,
        ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest, StopReplicaRequest,
        UpdateMetadataRequest,
    };
    use kafka_protocol::protocol::{Message, Request};

    use super::{ApiKey, UnsupportedVersion, VersionRange, inter_broker, negotiate};

    fn schema_of<R: Request>(api: ApiKey) {
        assert_eq!(R::KEY, api.code());
        for versions in [<R as Message>::VERSIONS, <R::Response as Message>::VERSIONS] {
            assert!(versions.min <= api.supported().min, "{api}: the schema begins at {versions}");
            assert!(versions.max >= api.supported().max, "{api}: the schema ends at {versions}");
        }
    }

    #[test]
    fn supported_versions_are_inside_the_schemas() {
        for &api in ApiKey::ALL {
            match api {
                ApiKey::Produce => schema_of::<ProduceRequest>(api),
                ApiKey::Fetch => schema_of::<FetchRequest>(api),
                ApiKey::ListOffsets => schema_of::<ListOffsetsRequest>(api),
                ApiKey::Metadata => schema_of::<MetadataRequest>(api),
                ApiKey::LeaderAndIsr => schema_of::<LeaderAndIsrRequest>(api),
                ApiKey::StopReplica => schema_of::<StopReplicaRequest>(api),
                ApiKey::UpdateMetadata => schema_of::<UpdateMetadataRequest>(api),
                ApiKey::ControlledShutdown => schema_of::<ControlledShutdownRequest>(api),
                ApiKey::ApiVersions => schema_of::<ApiVersionsRequest>(api),
                ApiKey::CreateTopics => schema_of::<CreateTopicsRequest>(api),
                ApiKey::OffsetForLeaderEpoch => schema_of::<OffsetForLeaderEpochRequest>(api),
            }
            assert!(api.supported().contains(inter_broker(api)), "{api}");
            assert_eq!(ApiKey::from_code(api.code()), Some(api));
        }
        assert_eq!(ApiKey::from_code(8), None, "OffsetCommit is not modelled");
    }

    #[test]
    fn the_highest_common_version_is_chosen() {
        let fetch = |min, max| negotiate(ApiKey::Fetch, VersionRange::new(min, max));
        assert_eq!(fetch(0, 13), Ok(11));
        assert_eq!(fetch(0, 7), Ok(7));
        assert_eq!(fetch(11, 13), Ok(11));
        assert_eq!(fetch(12, 13), Err(UnsupportedVersion(ApiKey::Fetch)));
        assert_eq!(fetch(0, 3), Err(UnsupportedVersion(ApiKey::Fetch)));
    }
}
