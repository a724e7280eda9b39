//! Arbitrary bytes: every decoder answers with a value or an error, in time and space that the bytes can justify.
//!
//! The bytes are drawn from what frames are made of (lengths great and small, negative counts, codes, text), so that many of them come
//! far. What can be decoded is encoded again and decoded to the same.

#![expect(clippy::cast_possible_truncation, reason = "what is drawn is below a small end")]
#![expect(clippy::cast_possible_wrap, reason = "what is drawn is below a small end")]

use jute::client::{ClientFrame, Request, Response, ServerFrame};
use jute::election::{ConnectionHeader, Notification};
use jute::op::OpCode;
use jute::quorum::{Direction, QuorumPacket};
use jute::txn::TxnEntry;

/// splitmix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.below(14) {
            match self.below(9) {
                // Codes and small lengths.
                0 | 1 => bytes.extend((self.below(23) as i32 - 1).to_be_bytes()),
                2 => bytes.extend((self.below(12) as i32 + 99).to_be_bytes()),
                // Nulls, and lengths that nothing can hold.
                3 => bytes.extend((-1_i32).to_be_bytes()),
                4 => bytes.extend([i32::MAX, i32::MIN, 0x00ff_ffff, -2][self.below(4) as usize].to_be_bytes()),
                5 => {
                    let text = &b"/a/b/world:anyone"[..self.below(17) as usize];
                    bytes.extend((text.len() as i32).to_be_bytes());
                    bytes.extend(text);
                }
                6 => bytes.extend(self.next().to_be_bytes()),
                7 => bytes.push([0, 1, 2, 0xff][self.below(4) as usize]),
                _ => bytes.extend((self.below(4) as i64).to_be_bytes()),
            }
        }
        bytes
    }
}

#[test]
fn no_bytes_make_a_decoder_panic_and_what_is_decoded_comes_back() {
    let mut draw = Draw(7);
    let mut decoded = [0_u32; 7];
    for _ in 0..60_000 {
        let bytes = draw.bytes();
        if let Ok(frame) = ClientFrame::decode_connect(&bytes) {
            decoded[0] += 1;
            assert_eq!(ClientFrame::decode_connect(&frame.encode()), Ok(frame));
        }
        if let Ok(frame @ ClientFrame::Request { .. }) = ClientFrame::decode(&bytes) {
            decoded[1] += 1;
            assert_eq!(ClientFrame::decode(&frame.encode()), Ok(frame));
        }
        let op = OpCode::ALL[draw.below(OpCode::ALL.len() as u64) as usize];
        if let Ok(Some(request)) = Request::decode(op, &bytes) {
            assert_eq!(Request::decode(op, &request.encode()), Ok(Some(request)));
        }
        if let Ok(Some(response)) = Response::decode(op, &mut &bytes[..]) {
            decoded[2] += 1;
            assert_eq!(Response::decode(op, &mut &response.encode()[..]), Ok(Some(response)));
        }
        if let Ok(frame) = ServerFrame::decode(&bytes, Some(op)) {
            decoded[3] += 1;
            assert_eq!(ServerFrame::decode(&frame.encode(), Some(op)), Ok(frame));
        }
        for direction in [Direction::ToLeader, Direction::ToLearner] {
            if let Ok(packet) = QuorumPacket::decode(&bytes, direction) {
                decoded[4] += 1;
                assert_eq!(QuorumPacket::decode(&packet.encode(), direction), Ok(packet));
            }
        }
        if let Ok(notification) = Notification::decode(&bytes) {
            decoded[5] += 1;
            let _ = notification.encode();
        }
        let _ = ConnectionHeader::decode_prefix(&mut &bytes[..]);
        if let Ok(entry) = TxnEntry::decode(&bytes) {
            decoded[6] += 1;
            assert_eq!(TxnEntry::decode(&entry.encode()), Ok(entry));
        }
    }
    // Of each kind enough came through for this to mean something.
    assert!(decoded.iter().all(|&count| count > 0), "decoded: {decoded:?}");
}
