//! Messages as bytes: a length, a header, a body.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use machine::Digest;

use crate::schema::{Field, Skim};
use crate::{ApiKey, Correlation, KafkaMessage, Request, Response, Version};

/// The client id in every request header. `Simplified:` one for all; only quotas, metrics and logs would tell clients apart.
const CLIENT_ID: &str = "tribunal";

/// Bytes are not a message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadMessage {
    /// The length in front is not that of what follows.
    #[error("the length in front is not that of what follows")]
    BadLength,
    /// The header does not decode.
    #[error("the header does not decode")]
    BadHeader,
    /// An API that is not modelled, or none of Kafka's.
    #[error("no API {0} here")]
    UnknownApi(i16),
    /// A version of an API that is not [supported](ApiKey::supported).
    #[error("no version {version} of {api} here")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version.
        version: Version,
        /// The request's number: what the answer, UNSUPPORTED_VERSION, must carry.
        correlation: Correlation,
    },
    /// The body does not decode, or something follows it.
    #[error("the body is not one of {api} {version}")]
    BadBody {
        /// The API.
        api: ApiKey,
        /// The version.
        version: Version,
    },
}

/// A body: what is generic about requests and responses.
trait Body: Encodable + Decodable + HeaderVersion + Field {}
impl<T: Encodable + Decodable + HeaderVersion + Field> Body for T {}

macro_rules! with_body {
    ($enum:ident, $of:expr, $body:ident => $do:expr) => {
        match $of {
            $enum::Produce($body) => $do,
            $enum::Fetch($body) => $do,
            $enum::ListOffsets($body) => $do,
            $enum::Metadata($body) => $do,
            $enum::LeaderAndIsr($body) => $do,
            $enum::StopReplica($body) => $do,
            $enum::UpdateMetadata($body) => $do,
            $enum::ControlledShutdown($body) => $do,
            $enum::ApiVersions($body) => $do,
            $enum::CreateTopics($body) => $do,
            $enum::OffsetForLeaderEpoch($body) => $do,
        }
    };
}

macro_rules! decode_as {
    ($enum:ident, $api:expr, $decode:expr) => {
        match $api {
            ApiKey::Produce => $decode.map($enum::Produce),
            ApiKey::Fetch => $decode.map($enum::Fetch),
            ApiKey::ListOffsets => $decode.map($enum::ListOffsets),
            ApiKey::Metadata => $decode.map($enum::Metadata),
            ApiKey::LeaderAndIsr => $decode.map($enum::LeaderAndIsr),
            ApiKey::StopReplica => $decode.map($enum::StopReplica),
            ApiKey::UpdateMetadata => $decode.map($enum::UpdateMetadata),
            ApiKey::ControlledShutdown => $decode.map($enum::ControlledShutdown),
            ApiKey::ApiVersions => $decode.map($enum::ApiVersions),
            ApiKey::CreateTopics => $decode.map($enum::CreateTopics),
            ApiKey::OffsetForLeaderEpoch => $decode.map($enum::OffsetForLeaderEpoch),
        }
    };
}

/// Why a narrowed message encodes: nothing is set that its version lacks, and nothing is longer than its length field can
/// say.
const ENCODES: &str = "a narrowed message encodes";
const LENGTH: &str = "a message is below 2 GiB";

impl KafkaMessage {
    /// Encodes length, header and body, as on the wire.
    ///
    /// # Panics
    /// If the message was not narrowed to its version, or does not fit 2 GiB.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Request { correlation, version, body } => {
                with_body!(Request, body, it => encode_request(body.api(), *correlation, *version, it.as_ref()))
            }
            Self::Response { correlation, version, body } => {
                with_body!(Response, body, it => encode_response(*correlation, *version, it.as_ref()))
            }
        }
    }

    /// Decodes a request: length, header and body.
    ///
    /// # Errors
    /// See [`BadMessage`]; no bytes panic.
    pub fn decode_request(frame: &Bytes) -> Result<Self, BadMessage> {
        let mut rest = unframed(frame)?;
        let (&[a, b, c, d, e, f, g, h], _) = rest.split_first_chunk().ok_or(BadMessage::BadHeader)?;
        let api = i16::from_be_bytes([a, b]);
        let api = ApiKey::from_code(api).ok_or(BadMessage::UnknownApi(api))?;
        let version = i16::from_be_bytes([c, d]);
        let correlation = Correlation(i32::from_be_bytes([e, f, g, h]));
        if !api.supported().contains(version) {
            return Err(BadMessage::UnsupportedVersion { api, version, correlation });
        }
        let body = decode_as!(Request, api, decode_request_body(api, version, &mut rest))?;
        Ok(Self::Request { correlation, version, body })
    }

    /// Decodes a response: length, header and body. Only the request says of which API and version it is.
    ///
    /// # Errors
    /// See [`BadMessage`]; no bytes panic.
    pub fn decode_response(frame: &Bytes, api: ApiKey, version: Version) -> Result<Self, BadMessage> {
        let mut rest = unframed(frame)?;
        let (&correlation, _) = rest.split_first_chunk().ok_or(BadMessage::BadHeader)?;
        let correlation = Correlation(i32::from_be_bytes(correlation));
        if !api.supported().contains(version) {
            return Err(BadMessage::UnsupportedVersion { api, version, correlation });
        }
        let body = decode_as!(Response, api, decode_response_body(api, version, &mut rest))?;
        Ok(Self::Response { correlation, version, body })
    }

    /// The length of [`encode`](Self::encode), without encoding.
    pub(crate) fn encoded_len(&self) -> usize {
        const SIZE: usize = size_of::<i32>();
        match self {
            Self::Request { version, body, .. } => with_body!(Request, body, it => {
                SIZE + request_header_len(header_version(it.as_ref(), *version)) + body_len(it.as_ref(), *version)
            }),
            Self::Response { version, body, .. } => with_body!(Response, body, it => {
                SIZE + response_header_len(header_version(it.as_ref(), *version)) + body_len(it.as_ref(), *version)
            }),
        }
    }

    /// Adds every field that the version has, records by the headers of their batches.
    pub(crate) fn digest_fields(&self, into: &mut Digest) {
        match self {
            Self::Request { version, body, .. } => {
                with_body!(Request, body, it => Field::digest(it.as_ref(), *version, into));
            }
            Self::Response { version, body, .. } => {
                with_body!(Response, body, it => Field::digest(it.as_ref(), *version, into));
            }
        }
    }
}

fn header_version<T: Body>(_: &T, version: Version) -> i16 {
    T::header_version(version)
}

fn body_len<T: Body>(body: &T, version: Version) -> usize {
    body.compute_size(version).expect(ENCODES)
}

/// API, version and correlation; a client id since header version 1; tagged fields, of which there are none, since 2.
fn request_header_len(header_version: i16) -> usize {
    match header_version {
        0 => 8,
        1 => 8 + 2 + CLIENT_ID.len(),
        _ => 8 + 2 + CLIENT_ID.len() + 1,
    }
}

/// A correlation; tagged fields, of which there are none, since header version 1.
fn response_header_len(header_version: i16) -> usize {
    if header_version == 0 { 4 } else { 5 }
}

fn encode_request<T: Body>(api: ApiKey, correlation: Correlation, version: Version, body: &T) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(api.code())
        .with_request_api_version(version)
        .with_correlation_id(correlation.0)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    framed(&header, T::header_version(version), body, version)
}

fn encode_response<T: Body>(correlation: Correlation, version: Version, body: &T) -> Bytes {
    let header = ResponseHeader::default().with_correlation_id(correlation.0);
    framed(&header, T::header_version(version), body, version)
}

fn framed<T: Body>(header: &impl Encodable, header_version: i16, body: &T, version: Version) -> Bytes {
    let length = header.compute_size(header_version).expect(ENCODES) + body_len(body, version);
    let mut frame = BytesMut::with_capacity(size_of::<i32>() + length);
    frame.put_i32(i32::try_from(length).expect(LENGTH));
    header.encode(&mut frame, header_version).expect(ENCODES);
    body.encode(&mut frame, version).expect(ENCODES);
    assert_eq!(frame.len(), size_of::<i32>() + length, "a message has the length it was computed to have");
    frame.freeze()
}

fn unframed(frame: &Bytes) -> Result<Bytes, BadMessage> {
    let (&length, rest) = frame.split_first_chunk().ok_or(BadMessage::BadLength)?;
    if usize::try_from(i32::from_be_bytes(length)) == Ok(rest.len()) {
        Ok(frame.slice(length.len()..))
    } else {
        Err(BadMessage::BadLength)
    }
}

fn decode_request_body<T: Body>(api: ApiKey, version: Version, rest: &mut Bytes) -> Result<Arc<T>, BadMessage> {
    let header_version = T::header_version(version);
    RequestHeader::decode(rest, header_version).map_err(|_| BadMessage::BadHeader)?;
    decode_body(api, version, header_version >= 2, rest)
}

fn decode_response_body<T: Body>(api: ApiKey, version: Version, rest: &mut Bytes) -> Result<Arc<T>, BadMessage> {
    let header_version = T::header_version(version);
    ResponseHeader::decode(rest, header_version).map_err(|_| BadMessage::BadHeader)?;
    // The header of an ApiVersions response is never flexible: who cannot know the version must be able to read it (KIP-511).
    let flexible = header_version >= 1 || (api == ApiKey::ApiVersions && version >= 3);
    decode_body(api, version, flexible, rest)
}

fn decode_body<T: Body>(api: ApiKey, version: Version, flexible: bool, rest: &mut Bytes) -> Result<Arc<T>, BadMessage> {
    let bad = BadMessage::BadBody { api, version };
    if Skim::body::<T>(rest, version, flexible).is_err() {
        return Err(bad);
    }
    let body = T::decode(rest, version).map_err(|_| bad.clone())?;
    if rest.has_remaining() { Err(bad) } else { Ok(Arc::new(body)) }
}
