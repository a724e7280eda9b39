//! Bytes that may be null.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A jute `buffer`: bytes, or null. Null and empty are two values, on the wire and in a znode (zookeeper.md §16.2).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buffer(Option<Bytes>);

impl Buffer {
    /// The null buffer.
    pub const NULL: Buffer = Buffer(None);

    /// Returns a buffer of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Buffer(Some(bytes.into()))
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the bytes, none for null.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.0.as_ref()
    }

    /// Returns the bytes; null reads as empty.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Number of bytes; 0 for null, as in a Stat's `dataLength`.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are no bytes: null or empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Buffer {
    fn from(bytes: Bytes) -> Self {
        Buffer(Some(bytes))
    }
}

impl From<Option<Bytes>> for Buffer {
    fn from(bytes: Option<Bytes>) -> Self {
        Buffer(bytes)
    }
}

impl From<Buffer> for Option<Bytes> {
    fn from(buffer: Buffer) -> Self {
        buffer.0
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("null"),
            Some(bytes) => bytes.fmt(f),
        }
    }
}

impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            None => serializer.serialize_none(),
            Some(bytes) => serializer.serialize_bytes(bytes),
        }
    }
}

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(BufferVisitor)
    }
}

struct BufferVisitor;

impl<'de> Visitor<'de> for BufferVisitor {
    type Value = Buffer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes or null")
    }

    fn visit_none<E>(self) -> Result<Buffer, E> {
        Ok(Buffer::NULL)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Buffer, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Buffer, E> {
        Ok(Buffer::new(Bytes::copy_from_slice(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_bytes, to_bytes};

    #[test]
    fn null_and_empty_stay_apart() {
        for (buffer, wire) in [
            (Buffer::NULL, &[0xff, 0xff, 0xff, 0xff][..]),
            (Buffer::new(Bytes::new()), &[0, 0, 0, 0]),
            (Buffer::new(&b"x"[..]), &[0, 0, 0, 1, b'x']),
        ] {
            assert_eq!(&to_bytes(&buffer)[..], wire);
            assert_eq!(from_bytes::<Buffer>(wire), Ok(buffer));
        }
    }
}
