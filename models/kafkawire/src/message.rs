//! What travels on a connection of Kafka's.

use machine::{Depth, Digest, Payload};

use crate::{ApiKey, Request, Response, Version};

/// The number that pairs a response with its request; counted per connection, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Correlation(pub i32);

/// A request or a response, narrowed to the version it travels with.
#[derive(Clone, Debug, PartialEq)]
pub enum KafkaMessage {
    /// From client, follower or controller to a broker.
    Request {
        /// Its number on the connection.
        correlation: Correlation,
        /// The version it was narrowed to.
        version: Version,
        /// What is asked.
        body: Request,
    },
    /// Back.
    Response {
        /// That of the request.
        correlation: Correlation,
        /// That of the request.
        version: Version,
        /// What is answered.
        body: Response,
    },
}

impl KafkaMessage {
    /// A request, narrowed to the version.
    ///
    /// # Panics
    /// If the version is not [supported](ApiKey::supported).
    #[must_use]
    pub fn request(correlation: Correlation, version: Version, body: Request) -> Self {
        Self::Request { correlation, version, body: body.narrow(version) }
    }

    /// A response, narrowed to the version of its request.
    ///
    /// # Panics
    /// If the version is not [supported](ApiKey::supported).
    #[must_use]
    pub fn response(correlation: Correlation, version: Version, body: Response) -> Self {
        Self::Response { correlation, version, body: body.narrow(version) }
    }

    /// Its API.
    #[must_use]
    pub const fn api(&self) -> ApiKey {
        match self {
            Self::Request { body, .. } => body.api(),
            Self::Response { body, .. } => body.api(),
        }
    }

    /// Its number on the connection.
    #[must_use]
    pub const fn correlation(&self) -> Correlation {
        match self {
            Self::Request { correlation, .. } | Self::Response { correlation, .. } => *correlation,
        }
    }

    /// The version it was narrowed to.
    #[must_use]
    pub const fn version(&self) -> Version {
        match self {
            Self::Request { version, .. } | Self::Response { version, .. } => *version,
        }
    }

    /// Encodes it and decodes what came of it: the same message, and the proof that nothing else travels with it.
    ///
    /// # Panics
    /// If the bytes do not come back as the same message.
    #[must_use]
    pub fn through_bytes(self) -> Self {
        let frame = self.encode();
        let back = match &self {
            Self::Request { .. } => Self::decode_request(&frame),
            Self::Response { version, body, .. } => Self::decode_response(&frame, body.api(), *version),
        };
        let back = back.unwrap_or_else(|bad| panic!("{bad}: {self:?}"));
        assert_eq!(back, self, "bytes come back as the message they were");
        back
    }
}

/// Names are Kafka's, such as `produce-request` and `fetch-response`; the length is that of the encoding, with its own four
/// bytes and the header. The cheap digest has every field, but of records only base offset, leader epoch and CRC of each
/// batch.
impl Payload for KafkaMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Request { body, .. } => body.api().request_name(),
            Self::Response { body, .. } => body.api().response_name(),
        }
    }

    fn wire_len(&self) -> u32 {
        u32::try_from(self.encoded_len()).expect("a message is below 2 GiB")
    }

    fn digest(&self, depth: Depth, into: &mut Digest) {
        match depth {
            Depth::Cheap => {
                let direction = match self {
                    Self::Request { .. } => 0,
                    Self::Response { .. } => 1,
                };
                into.word(direction);
                into.signed(i64::from(self.api().code()));
                into.signed(i64::from(self.version()));
                into.signed(i64::from(self.correlation().0));
                self.digest_fields(into);
            }
            Depth::Encoded => into.bytes(&self.encode()),
        }
    }
}

/// How messages are carried: a choice of a run that must change nothing but its speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wire {
    /// As values.
    #[default]
    Values,
    /// Every message is encoded and decoded again before it leaves.
    Bytes,
}

impl Wire {
    /// A message as it leaves.
    ///
    /// # Panics
    /// If it goes through bytes and does not come back the same.
    #[must_use]
    pub fn carry(self, message: KafkaMessage) -> KafkaMessage {
        match self {
            Self::Values => message,
            Self::Bytes => message.through_bytes(),
        }
    }
}
