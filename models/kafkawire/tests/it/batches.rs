//! Record batches against the generated crate's encoder and decoder.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, Record as TheirRecord, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use kafkawire::{
    BadBatch, Batch, BatchHeader, LeaderEpoch, NewBatch, Offset, RECORD_BATCH_OVERHEAD, StrBytes, batches,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const AT: i64 = 1_700_000_000_000;

fn theirs(offset: i64, timestamp: i64, key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> TheirRecord {
    TheirRecord {
        transactional: false,
        control: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        // Their encoder begins a new batch where offsets and sequence numbers do not advance together.
        sequence: i32::try_from(offset).expect("a small offset") - 1,
        timestamp,
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers: Default::default(),
    }
}

fn encoded_by_them(records: &[TheirRecord]) -> Bytes {
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, records, &options).expect("records that encode");
    bytes.freeze()
}

fn read(bytes: &Bytes) -> Batch {
    Batch::read(bytes, 0).expect("no damage").expect("a batch")
}

const LONG: &[u8] = &[7; 300];

#[test]
fn a_batch_decodes_elsewhere_as_what_was_encoded() {
    let records: [(Option<&[u8]>, &[u8]); 4] = [(Some(b"k"), b"v"), (None, b"w"), (Some(b""), b""), (Some(LONG), LONG)];
    let mut bytes = NewBatch::new(&records, AT).encode();
    let batch = read(&bytes);
    assert_eq!(batch.check_crc(), Ok(()));
    assert_eq!(
        (batch.header.record_count, batch.header.last_offset(), batch.header.next_offset()),
        (4, Offset(3), Offset(4))
    );
    let decoded = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
    for ((ours, record), decoded) in batch.records().unwrap().iter().zip(&records).zip(&decoded) {
        assert_eq!((ours.key.as_deref(), ours.value.as_deref()), (record.0, Some(record.1)));
        assert_eq!((&decoded.key, &decoded.value), (&ours.key, &ours.value));
        assert_eq!((decoded.offset, decoded.timestamp), (ours.offset.0, ours.timestamp));
        assert_eq!((decoded.producer_id, decoded.partition_leader_epoch), (-1, -1));
    }
    assert_eq!(decoded.len(), 4);
}

#[test]
fn one_record_has_the_bytes_of_the_other_encoder() {
    let ours = NewBatch::new(&[(Some(b"key"), b"value")], AT).encode();
    assert_eq!(ours, encoded_by_them(&[theirs(0, AT, Some(b"key"), Some(b"value"))]));
}

#[test]
fn the_producer_is_in_the_header() {
    let batch =
        NewBatch { producer_id: 4000, producer_epoch: 3, base_sequence: 17, ..NewBatch::new(&[(None, b"v")], AT) };
    let header = read(&batch.encode()).header;
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4000, 3, 17));
    assert!(!header.is_control() && !header.is_transactional() && !header.is_compressed());
}

#[test]
fn batches_of_others_decode_with_nulls_headers_and_deltas() {
    let mut records = vec![
        theirs(100, AT, None, None),
        theirs(101, AT + 86_400_000, Some(b"k"), None),
        theirs(107, AT - 5, Some(LONG), Some(b"v")),
    ];
    records[1].headers.insert(StrBytes::from_static_str("trace"), Some(Bytes::from_static(b"1")));
    records[1].headers.insert(StrBytes::from_static_str("empty"), None);
    let batch = read(&encoded_by_them(&records));
    let decoded = batch.records().unwrap();
    assert_eq!(decoded.len(), records.len());
    for (ours, theirs) in decoded.iter().zip(&records) {
        assert_eq!((ours.offset.0, ours.timestamp), (theirs.offset, theirs.timestamp));
        assert_eq!((&ours.key, &ours.value), (&theirs.key, &theirs.value));
    }
    assert_eq!(
        decoded[1].headers,
        [(Bytes::from_static(b"trace"), Some(Bytes::from_static(b"1"))), (Bytes::from_static(b"empty"), None)]
    );
    assert_eq!((batch.header.last_offset(), batch.header.max_timestamp), (Offset(107), AT + 86_400_000));
}

#[test]
fn control_and_transactional_batches_are_recognised() {
    let record = |control| TheirRecord {
        transactional: true,
        control,
        producer_id: 1,
        producer_epoch: 0,
        ..theirs(5, AT, None, None)
    };
    assert!(read(&encoded_by_them(&[record(true)])).header.is_control());
    let data = read(&encoded_by_them(&[record(false)])).header;
    assert!(data.is_transactional() && !data.is_control());
}

#[test]
fn a_leaders_stamp_is_outside_the_crc() {
    let produced = read(&NewBatch::new(&[(None, b"v"), (None, b"w")], AT).encode());
    let appended = produced.stamped(Offset(1000), LeaderEpoch(7));
    assert_eq!(appended.check_crc(), Ok(()));
    assert_eq!(read(&appended.bytes), appended, "header and bytes say the same");
    assert_eq!((appended.header.base_offset, appended.header.leader_epoch), (Offset(1000), 7));
    assert_eq!(appended.header.crc, produced.header.crc);
    assert_eq!(appended.records().unwrap()[1].offset, Offset(1001));
    assert_eq!(read(&produced.bytes).header.base_offset, Offset(0), "the producer's bytes are as they were");
}

#[test]
fn an_incomplete_last_batch_is_the_end() {
    let one = NewBatch::new(&[(None, b"one")], AT).encode();
    let two = NewBatch::new(&[(None, b"two")], AT).encode();
    for cut in 0..=two.len() {
        let field = Bytes::from([&one[..], &two[..cut]].concat());
        let whole = if cut == two.len() { 2 } else { 1 };
        assert_eq!(batches(&field).map(Result::unwrap).count(), whole, "{cut} bytes of the second");
        let second = Batch::read(&field, one.len());
        match cut {
            0 => assert_eq!(second, Ok(None)),
            cut if cut < two.len() => assert_eq!(second, Err(BadBatch::TooShort)),
            _ => assert_eq!(second.unwrap().unwrap().bytes, two),
        }
    }
    assert_eq!(Batch::read(&one, one.len() + 1), Err(BadBatch::TooShort));
}

#[test]
fn an_error_ends_the_batches() {
    let one = NewBatch::new(&[(None, b"one")], AT).encode();
    let mut bad = one.to_vec();
    bad[16] = 1;
    let field = Bytes::from([&one[..], &bad, &one].concat());
    let read: Vec<_> = batches(&field).map(|batch| batch.map(|batch| batch.header.record_count)).collect();
    assert_eq!(read, [Ok(1), Err(BadBatch::BadMagic)]);
}

#[test]
fn what_is_wrong_with_a_batch_is_said() {
    let good = NewBatch::new(&[(None, b"value")], AT).encode();
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.to_vec();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(bad)
    };
    assert_eq!(BatchHeader::parse(&good[..RECORD_BATCH_OVERHEAD - 1]), Err(BadBatch::TooShort));
    assert_eq!(BatchHeader::parse(&with(16, &[1])), Err(BadBatch::BadMagic));
    assert_eq!(BatchHeader::parse(&with(8, &(-1_i32).to_be_bytes())), Err(BadBatch::BadLength));
    assert_eq!(BatchHeader::parse(&with(8, &48_i32.to_be_bytes())), Err(BadBatch::BadLength));
    assert_eq!(Batch::read(&with(8, &i32::MAX.to_be_bytes()), 0), Err(BadBatch::TooShort));
    assert_eq!(read(&with(70, b"x")).check_crc(), Err(BadBatch::BadCrc));
    assert_eq!(read(&with(21, &[0, 1])).records(), Err(BadBatch::Compressed));
    assert_eq!(read(&with(57, &2_i32.to_be_bytes())).records(), Err(BadBatch::BadRecord));
    assert_eq!(read(&with(57, &0_i32.to_be_bytes())).records(), Err(BadBatch::BadRecord));
    assert_eq!(read(&with(57, &(-1_i32).to_be_bytes())).records(), Err(BadBatch::BadRecord));
}

#[test]
fn every_flipped_bit_below_the_crc_is_found() {
    let good = NewBatch::new(&[(Some(b"k"), b"value")], AT).encode();
    for at in 17..good.len() {
        for bit in 0..8 {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << bit;
            assert_eq!(read(&Bytes::from(bad)).check_crc(), Err(BadBatch::BadCrc), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let good = NewBatch::new(&[(Some(b"k"), b"value"), (None, LONG)], i64::MAX).encode();
    let mut decoded = 0;
    for _ in 0..100_000 {
        let mut bytes = if rng.random_range(0..4) == 0 {
            (0..rng.random_range(0..200)).map(|_| rng.random()).collect()
        } else {
            good.to_vec()
        };
        for _ in 0..rng.random_range(0..6) {
            // Length and magic are left alone: behind them is the rest to be reached.
            let at = rng.random_range(17..bytes.len().max(18));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = [0, 1, 0x7F, 0x80, 0xFF, rng.random()][rng.random_range(0..6)];
            }
        }
        for batch in batches(&Bytes::from(bytes)).flatten() {
            let _ = (batch.check_crc(), batch.header.last_offset(), batch.header.next_offset());
            decoded += u32::from(batch.records().is_ok());
        }
    }
    assert!(decoded > 1000, "{decoded} decoded: the noise does not reach the records");
}
