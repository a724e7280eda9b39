//! Frames and log entries of a real server decode, and encode to the same bytes.

use jute::client::{ClientFrame, ServerFrame};
use jute::election::Notification;
use jute::op::{ErrorCode, OpCode};
use jute::quorum::{Direction, QuorumPacket};
use jute::txn::{Txn, TxnEntry};
use serde_json::Value;

const TRANSCRIPTS: [(&str, &str); 6] = [
    ("acl-115", include_str!("../conformance/acl-115.jsonl")),
    ("basic-100", include_str!("../conformance/basic-100.jsonl")),
    ("container-ttl-118", include_str!("../conformance/container-ttl-118.jsonl")),
    ("errors-odd-103", include_str!("../conformance/errors-odd-103.jsonl")),
    ("multi-107", include_str!("../conformance/multi-107.jsonl")),
    ("watch-reconnect-111", include_str!("../conformance/watch-reconnect-111.jsonl")),
];

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    requests: u32,
    malformed: u32,
    unknown: u32,
    trailing: u32,
    replies: u32,
}

#[test]
fn frames_of_a_real_server_encode_to_the_same_bytes() {
    let mut tally = Tally::default();
    for (name, transcript) in TRANSCRIPTS {
        for line in transcript.lines() {
            let step: Value = serde_json::from_str(line).expect("a line of JSON");
            let at = format!("{name} step {}", step["step"]);
            check_step(&step, &at, &mut tally);
        }
    }
    // The recordings are fixed, and so is what they hold.
    let expected = Tally { requests: 1021, malformed: 38, unknown: 3, trailing: 2, replies: 1061 };
    assert_eq!(tally, expected);
}

fn check_step(step: &Value, at: &str, tally: &mut Tally) {
    let request = unhex(step["request_hex"].as_str().expect("only steps with a request are kept"));
    let is_connect = matches!(step["op"].as_str(), Some("connect" | "reconnect"));
    let frame = if is_connect { ClientFrame::decode_connect(&request) } else { ClientFrame::decode(&request) };
    let frame = frame.unwrap_or_else(|error| panic!("{at}: {error}"));
    let encoded = frame.encode();
    assert_eq!(frame.wire_len(), 4 + encoded.len(), "{at}");
    if encoded.len() < request.len() {
        assert!(request.starts_with(&encoded), "{at}");
        tally.trailing += 1;
    } else {
        assert_eq!(encoded, request, "{at}");
    }
    let op = match &frame {
        ClientFrame::Connect(_) => None,
        ClientFrame::Request { request, .. } => Some(request.op()),
        ClientFrame::Malformed { op, .. } => Some(*op),
        ClientFrame::Unknown { code, .. } => OpCode::from_code(*code),
    };
    let reply = step["reply_hex"].as_str().map(|hex| {
        let reply = unhex(hex);
        let frame = if is_connect { ServerFrame::decode_connect(&reply) } else { ServerFrame::decode(&reply, op) };
        let frame = frame.unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(frame.encode(), reply, "{at}");
        assert_eq!(frame.wire_len(), 4 + reply.len(), "{at}");
        tally.replies += 1;
        frame
    });
    match frame.refusal() {
        None => tally.requests += 1,
        Some(ErrorCode::Unimplemented) => tally.unknown += 1,
        Some(_) => tally.malformed += 1,
    }
    if let Some(err) = frame.refusal() {
        match reply {
            Some(ServerFrame::Reply { header, .. }) => assert_eq!(header.err, err, "{at}"),
            other => panic!("{at}: {other:?}"),
        }
    }
}

/// A log: 16 bytes of header, then checksum, length, entry and a `B`, until zeros.
#[test]
fn log_of_a_real_server_encodes_to_the_same_bytes() {
    let log = include_bytes!("../conformance/log.1");
    let mut rest = &log[16..];
    let mut entries = Vec::new();
    loop {
        let (_checksum, length): (i64, i32) = jute::from_prefix(&mut rest).expect("an entry or the padding");
        if length == 0 {
            break;
        }
        let (entry, behind) = rest.split_at(usize::try_from(length).unwrap());
        let decoded = TxnEntry::decode(entry).unwrap();
        assert_eq!(decoded.encode(), entry, "{decoded:?}");
        assert_eq!(TxnEntry::decode_header(entry), Ok(decoded.header));
        entries.push(decoded);
        rest = &behind[1..];
    }
    assert_eq!(entries.len(), 84);
    assert!(entries.is_sorted_by_key(|entry| entry.header.zxid));
    for entry in &entries {
        let is_error = matches!(entry.txn, Txn::Error(_));
        assert_eq!(entry.digest.is_none(), is_error, "{entry:?}");
    }
    let has = |op| entries.iter().any(|entry| entry.txn.op() == op);
    for op in [OpCode::Multi, OpCode::CreateTtl, OpCode::CreateContainer, OpCode::SetAcl, OpCode::CloseSession] {
        assert!(has(op), "{op}");
    }
}

#[test]
fn flipped_bits_never_panic() {
    let log = include_bytes!("../conformance/log.1");
    let mut entry = log[16 + 12..][..200].to_vec();
    for at in 0..entry.len() {
        for bit in 0..8 {
            entry[at] ^= 1 << bit;
            // Whatever they say now: only panics and endless allocations would be wrong.
            let _ = TxnEntry::decode(&entry);
            let _ = ClientFrame::decode(&entry[at..]);
            let _ = ClientFrame::decode_connect(&entry[at..]);
            let _ = ServerFrame::decode(&entry[at..], Some(OpCode::GetChildren2));
            let _ = QuorumPacket::decode(&entry[at..], Direction::ToLeader);
            let _ = QuorumPacket::decode(&entry[at..], Direction::ToLearner);
            let _ = Notification::decode(&entry[at..]);
            entry[at] ^= 1 << bit;
        }
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}
