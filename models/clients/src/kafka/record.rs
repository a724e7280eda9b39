//! What a record's value holds: who wrote it, and proof that it belongs where it was found.
//!
//! `client:number` as text, so that a dump of a log can be read; behind it a check field over identity, topic and partition;
//! behind that padding up to the length the workload asks for.

use std::fmt::Write as _;

use bytes::Bytes;
use kafkawire::{Topic, TopicPartition};
use machine::Digest;

use super::RecordId;

/// Hexadecimal digits of the check field.
const CHECK_LEN: usize = 16;

/// Bytes that identity and check field have room in; they may take more.
const IDENTITY_ROOM: usize = 40;

/// Why a value is not one that a producer wrote to that partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadableRecord {
    /// It does not begin with an identity and a check field.
    Shape,
    /// The check field is that of another record or another partition.
    Check,
}

/// The value of a record: at least `len` bytes.
#[must_use]
pub fn encode_value(record: RecordId, at: &TopicPartition, len: usize) -> Bytes {
    let mut text = String::with_capacity(len.max(IDENTITY_ROOM));
    write!(text, "{record}/{:016x}/", check(record, &at.topic, at.partition))
        .expect("text can be appended to a string");
    let padding = len.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('.', padding));
    Bytes::from(text)
}

/// Reads the value of a record that was found in this partition.
///
/// # Errors
/// If no producer wrote it there.
pub fn decode_value(value: &[u8], at: &TopicPartition) -> Result<RecordId, UnreadableRecord> {
    let text = std::str::from_utf8(value).map_err(|_| UnreadableRecord::Shape)?;
    let mut fields = text.splitn(3, '/');
    let (Some(identity), Some(found), Some(_)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(UnreadableRecord::Shape);
    };
    let (client, number) = identity.split_once(':').ok_or(UnreadableRecord::Shape)?;
    let client = client.parse().map_err(|_| UnreadableRecord::Shape)?;
    let number = number.parse().map_err(|_| UnreadableRecord::Shape)?;
    if found.len() != CHECK_LEN {
        return Err(UnreadableRecord::Shape);
    }
    let found = u64::from_str_radix(found, 16).map_err(|_| UnreadableRecord::Shape)?;
    let record = RecordId { client, number };
    if found == check(record, &at.topic, at.partition) { Ok(record) } else { Err(UnreadableRecord::Check) }
}

fn check(record: RecordId, topic: &Topic, partition: i32) -> u64 {
    let mut digest = Digest::new();
    digest.word(record.bits());
    digest.text(topic.as_str());
    digest.signed(i64::from(partition));
    digest.value()
}

/// The checksum that facts name a consumed record by: CRC-32C of key and value.
#[must_use]
pub fn checksum(key: Option<&[u8]>, value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.unwrap_or_default()), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: RecordId = RecordId { client: 3, number: 1 << 33 | 77 };

    #[test]
    fn value_is_read_back_in_its_own_partition_only() {
        let at = TopicPartition::new("orders", 1);
        let value = encode_value(RECORD, &at, 100);
        assert_eq!(value.len(), 100);
        assert_eq!(decode_value(&value, &at), Ok(RECORD));
        assert_eq!(decode_value(&value, &TopicPartition::new("orders", 2)), Err(UnreadableRecord::Check));
        assert_eq!(decode_value(&value, &TopicPartition::new("order", 1)), Err(UnreadableRecord::Check));
    }

    #[test]
    fn value_is_never_shorter_than_its_identity() {
        let at = TopicPartition::new("orders", 1);
        assert_eq!(decode_value(&encode_value(RECORD, &at, 0), &at), Ok(RECORD));
    }

    #[test]
    fn bytes_of_somebody_else_are_an_error() {
        let at = TopicPartition::new("orders", 1);
        for bytes in
            [b"".as_slice(), b"1:2", b"1:2/zz/", b"x:2/0000000000000000/", b"\xff\xff", b"1:2/+000000000000000/"]
        {
            assert!(decode_value(bytes, &at).is_err(), "{bytes:?}");
        }
    }
}
