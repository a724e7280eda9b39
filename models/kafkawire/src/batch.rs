//! Record batches of format 2 (kafka-broker.md §5.2): encoded once by the producer, carried as bytes from there on.
//!
//! A broker reads the 61 bytes of the header, checks the CRC and patches base offset and leader epoch, which the CRC does not
//! cover; it never decodes records. Nothing here trusts its input: arbitrary bytes are an error, never a panic.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};

use crate::{LeaderEpoch, Offset};

/// Bytes of a batch before its first record.
pub const RECORD_BATCH_OVERHEAD: usize = 61;

/// Bytes before what `batch_length` counts: base offset and the length itself (`LOG_OVERHEAD`).
const LOG_OVERHEAD: usize = 12;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// The CRC covers everything from here.
const ATTRIBUTES_AT: usize = 21;
const MAGIC: u8 = 2;

const COMPRESSION_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// What is wrong with a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadBatch {
    /// The bytes end before the batch does.
    #[error("the bytes end before the batch does")]
    TooShort,
    /// The format is not 2.
    #[error("the format of the batch is not 2")]
    BadMagic,
    /// The length in the header cannot be one.
    #[error("the length of the batch cannot be one")]
    BadLength,
    /// The bytes do not have the CRC in the header.
    #[error("the batch does not have the CRC of its header")]
    BadCrc,
    /// The records are compressed. `Simplified:` only uncompressed records are decoded; no producer here compresses, and a
    /// broker never looks. Lost: what compression does to batch sizes.
    #[error("the records are compressed")]
    Compressed,
    /// A record does not decode, or their number is not that of the header.
    #[error("a record of the batch does not decode")]
    BadRecord,
}

/// The header of a batch, as it stands in the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The offset of the first record; assigned by the leader.
    pub base_offset: Offset,
    /// Bytes after this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended it; −1 before that.
    pub leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control.
    pub attributes: i16,
    /// The offset of the last record, from the base; compaction keeps it.
    pub last_offset_delta: i32,
    /// The timestamp of the first record, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The largest timestamp, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// The producer's id; −1 if it is not idempotent.
    pub producer_id: i64,
    /// The producer's epoch; −1 if it is not idempotent.
    pub producer_epoch: i16,
    /// The sequence number of the first record; −1 if the producer is not idempotent.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header of the batch that `bytes` begin with; what follows the header is not looked at.
    ///
    /// # Errors
    /// If fewer than 61 bytes are there, the format is not 2, or the length is below that of a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadBatch> {
        let header: &[u8; RECORD_BATCH_OVERHEAD] = bytes.first_chunk().ok_or(BadBatch::TooShort)?;
        if header[MAGIC_AT] != MAGIC {
            return Err(BadBatch::BadMagic);
        }
        let batch_length = i32::from_be_bytes(at(header, 8));
        size_of(batch_length)?;
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(at(header, 0))),
            batch_length,
            leader_epoch: i32::from_be_bytes(at(header, LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(at(header, CRC_AT)),
            attributes: i16::from_be_bytes(at(header, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(at(header, 23)),
            base_timestamp: i64::from_be_bytes(at(header, 27)),
            max_timestamp: i64::from_be_bytes(at(header, 35)),
            producer_id: i64::from_be_bytes(at(header, 43)),
            producer_epoch: i16::from_be_bytes(at(header, 51)),
            base_sequence: i32::from_be_bytes(at(header, 53)),
            record_count: i32::from_be_bytes(at(header, 57)),
        })
    }

    /// Bytes of the whole batch.
    ///
    /// # Panics
    /// If the header was not [parsed](Self::parse) but made up with a length that cannot be one.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of(self.batch_length).expect("the length was checked when the header was parsed")
    }

    /// The offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Whether its only record is a transaction's marker.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether it is part of a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether its records are compressed.
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        self.attributes & COMPRESSION_MASK != 0
    }
}

fn at<const N: usize>(header: &[u8; RECORD_BATCH_OVERHEAD], from: usize) -> [u8; N] {
    header[from..from + N].try_into().expect("a field of the header is inside it")
}

/// Bytes of a batch with this length in its header.
fn size_of(batch_length: i32) -> Result<usize, BadBatch> {
    let size = usize::try_from(batch_length).map_err(|_| BadBatch::BadLength)? + LOG_OVERHEAD;
    if size < RECORD_BATCH_OVERHEAD { Err(BadBatch::BadLength) } else { Ok(size) }
}

/// A whole batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Its header, as it stands in the bytes.
    pub header: BatchHeader,
    /// All its bytes, shared with where they were read from.
    pub bytes: Bytes,
}

impl Batch {
    /// Reads the batch at `at` of a records field; none at its end. The CRC is not checked.
    ///
    /// # Errors
    /// If the bytes end before the batch does, or begin with something else.
    pub fn read(records: &Bytes, at: usize) -> Result<Option<Self>, BadBatch> {
        let rest = records.get(at..).ok_or(BadBatch::TooShort)?;
        if rest.is_empty() {
            return Ok(None);
        }
        let header = BatchHeader::parse(rest)?;
        if rest.len() < header.size() {
            return Err(BadBatch::TooShort);
        }
        Ok(Some(Self { header, bytes: records.slice(at..at + header.size()) }))
    }

    /// Checks the CRC.
    ///
    /// # Errors
    /// If the bytes do not have it.
    pub fn check_crc(&self) -> Result<(), BadBatch> {
        if crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..]) == self.header.crc { Ok(()) } else { Err(BadBatch::BadCrc) }
    }

    /// The batch as the leader of `epoch` appends it at `base`: one copy, two patches outside the CRC.
    #[must_use]
    pub fn stamped(&self, base: Offset, epoch: LeaderEpoch) -> Self {
        let mut bytes = BytesMut::from(self.bytes.as_ref());
        bytes[..8].copy_from_slice(&base.0.to_be_bytes());
        bytes[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&epoch.0.to_be_bytes());
        Self { header: BatchHeader { base_offset: base, leader_epoch: epoch.0, ..self.header }, bytes: bytes.freeze() }
    }

    /// Decodes the records. The CRC is not checked.
    ///
    /// # Errors
    /// If they are compressed, do not decode, or are more or fewer than the header says.
    pub fn records(&self) -> Result<Vec<Record>, BadBatch> {
        if self.header.is_compressed() {
            return Err(BadBatch::Compressed);
        }
        let mut body = Body { bytes: self.bytes.slice(RECORD_BATCH_OVERHEAD..) };
        let count = usize::try_from(self.header.record_count).map_err(|_| BadBatch::BadRecord)?;
        // A record is seven bytes at least: the count of a corrupt header allocates nothing absurd.
        if count > body.bytes.len() {
            return Err(BadBatch::BadRecord);
        }
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            records.push(body.record(&self.header)?);
        }
        if body.bytes.is_empty() { Ok(records) } else { Err(BadBatch::BadRecord) }
    }
}

/// The batches of a records field, in order. An incomplete last one, as a fetch limited by size returns it, is the end; after
/// an error nothing follows.
pub fn batches(records: &Bytes) -> impl Iterator<Item = Result<Batch, BadBatch>> {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let from = at.take()?;
        match Batch::read(records, from) {
            Ok(Some(batch)) => {
                at = Some(from + batch.header.size());
                Some(Ok(batch))
            }
            Ok(None) | Err(BadBatch::TooShort) => None,
            Err(bad) => Some(Err(bad)),
        }
    })
}

/// A decoded record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// What is left to decode; every field is taken from the front.
struct Body {
    bytes: Bytes,
}

impl Body {
    fn record(&mut self, batch: &BatchHeader) -> Result<Record, BadBatch> {
        let length = usize::try_from(self.varint()?).map_err(|_| BadBatch::BadRecord)?;
        let mut body = Self { bytes: self.take(length)? };
        body.byte()?; // Attributes: none is used.
        let timestamp_delta = body.varlong()?;
        let offset_delta = i64::from(body.varint()?);
        let key = body.nullable()?;
        let value = body.nullable()?;
        let header_count = body.varint()?;
        let mut headers = Vec::new();
        for _ in 0..usize::try_from(header_count).map_err(|_| BadBatch::BadRecord)? {
            let name = body.nullable()?.ok_or(BadBatch::BadRecord)?;
            headers.push((name, body.nullable()?));
        }
        if !body.bytes.is_empty() {
            return Err(BadBatch::BadRecord);
        }
        let timestamp = if batch.attributes & LOG_APPEND_TIME == 0 {
            batch.base_timestamp.checked_add(timestamp_delta).ok_or(BadBatch::BadRecord)?
        } else {
            batch.max_timestamp
        };
        let offset = batch.base_offset.0.checked_add(offset_delta).ok_or(BadBatch::BadRecord)?;
        Ok(Record { offset: Offset(offset), timestamp, key, value, headers })
    }

    fn take(&mut self, length: usize) -> Result<Bytes, BadBatch> {
        if length > self.bytes.len() { Err(BadBatch::BadRecord) } else { Ok(self.bytes.split_to(length)) }
    }

    fn byte(&mut self) -> Result<u8, BadBatch> {
        let byte = *self.bytes.first().ok_or(BadBatch::BadRecord)?;
        self.bytes.advance(1);
        Ok(byte)
    }

    /// Bytes behind their length; −1 is null.
    fn nullable(&mut self) -> Result<Option<Bytes>, BadBatch> {
        match self.varint()? {
            -1 => Ok(None),
            length => Ok(Some(self.take(usize::try_from(length).map_err(|_| BadBatch::BadRecord)?)?)),
        }
    }

    fn varint(&mut self) -> Result<i32, BadBatch> {
        i32::try_from(self.zigzag(5)?).map_err(|_| BadBatch::BadRecord)
    }

    fn varlong(&mut self) -> Result<i64, BadBatch> {
        self.zigzag(10)
    }

    fn zigzag(&mut self, bytes_max: u32) -> Result<i64, BadBatch> {
        let mut word = 0_u64;
        for index in 0..bytes_max {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            let shifted = bits << (7 * index);
            // The tenth byte of a varlong has room for one bit.
            if shifted >> (7 * index) != bits {
                return Err(BadBatch::BadRecord);
            }
            word |= shifted;
            if byte & 0x80 == 0 {
                return Ok((word >> 1).cast_signed() ^ -(word & 1).cast_signed());
            }
        }
        Err(BadBatch::BadRecord)
    }
}

/// A batch to be encoded by a producer: uncompressed, of create time.
#[derive(Clone, Copy, Debug)]
pub struct NewBatch<'a> {
    /// Key and value of each record.
    pub records: &'a [(Option<&'a [u8]>, &'a [u8])],
    /// The timestamp of every record, in milliseconds since 1970.
    pub timestamp: i64,
    /// −1 for a producer that is not idempotent.
    pub producer_id: i64,
    /// −1 for a producer that is not idempotent.
    pub producer_epoch: i16,
    /// −1 for a producer that is not idempotent.
    pub base_sequence: i32,
}

impl<'a> NewBatch<'a> {
    /// A batch of a producer that is not idempotent.
    #[must_use]
    pub const fn new(records: &'a [(Option<&'a [u8]>, &'a [u8])], timestamp: i64) -> Self {
        Self { records, timestamp, producer_id: -1, producer_epoch: -1, base_sequence: -1 }
    }

    /// Encodes it with base offset 0 and no leader epoch, as producers do.
    ///
    /// # Panics
    /// If there are no records, or they do not fit a batch (2 GiB).
    #[must_use]
    pub fn encode(&self) -> Bytes {
        assert!(!self.records.is_empty(), "a producer sends no empty batch");
        let count = i32::try_from(self.records.len()).expect("as many records as a batch can count");
        let capacity: usize =
            self.records.iter().map(|(key, value)| key.map_or(0, <[u8]>::len) + value.len() + 24).sum();
        let mut batch = BytesMut::with_capacity(RECORD_BATCH_OVERHEAD + capacity);
        batch.put_i64(0);
        batch.put_i32(0); // The length, patched below.
        batch.put_i32(-1);
        batch.put_u8(MAGIC);
        batch.put_u32(0); // The CRC, patched below.
        batch.put_i16(0);
        batch.put_i32(count - 1);
        batch.put_i64(self.timestamp);
        batch.put_i64(self.timestamp);
        batch.put_i64(self.producer_id);
        batch.put_i16(self.producer_epoch);
        batch.put_i32(self.base_sequence);
        batch.put_i32(count);
        assert_eq!(batch.len(), RECORD_BATCH_OVERHEAD, "the header has its length");
        let mut record = Vec::with_capacity(capacity);
        for (offset_delta, (key, value)) in (0_i64..).zip(self.records) {
            record.clear();
            record.push(0); // Attributes: none is used.
            put_varint(&mut record, 0); // All records have the batch's timestamp.
            put_varint(&mut record, offset_delta);
            match key {
                None => put_varint(&mut record, -1),
                Some(key) => put_bytes(&mut record, key),
            }
            put_bytes(&mut record, value);
            put_varint(&mut record, 0); // No headers.
            put_varint(&mut batch, i64::try_from(record.len()).expect("a record fits memory"));
            batch.put_slice(&record);
        }
        let length = i32::try_from(batch.len() - LOG_OVERHEAD).expect("a batch is below 2 GiB");
        batch[8..LOG_OVERHEAD].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
        batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        batch.freeze()
    }
}

fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(into, i64::try_from(bytes.len()).expect("a slice fits memory"));
    into.extend_from_slice(bytes);
}

/// A zigzag varint; an i32 and the i64 of the same value have the same encoding.
fn put_varint(into: &mut impl BufMut, value: i64) {
    let mut word = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while word >= 0x80 {
        into.put_u8((word & 0x7F) as u8 | 0x80);
        word >>= 7;
    }
    into.put_u8((word & 0x7F) as u8);
}
