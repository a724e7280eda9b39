//! Frames by vector, and what is refused.

use bytes::Bytes;
use jute::client::{
    ClientFrame, ConnectRequest, ConnectResponse, MultiOp, MultiRequest, ReplyHeader, Request, Response, ServerFrame,
    SetDataRequest, SyncResponse, WatcherEvent,
};
use jute::op::{ErrorCode, EventType, KeeperState, OpCode};
use jute::password::session_password;
use jute::{Buffer, DecodeError, PeerEpoch, SessionId, Version, Xid, Zxid};

#[test]
fn refused_session_is_answered_with_zeros() {
    let frame = ServerFrame::Connect(ConnectResponse::refused(Some(false)));
    let payload = [&[0; 16][..], &[0, 0, 0, 16], &[0; 16], &[0]].concat();
    assert_eq!(frame.encode(), payload);
    assert_eq!(frame.wire_len(), 4 + 0x25);
    assert_eq!(ServerFrame::decode_connect(&payload), Ok(frame));
}

#[test]
fn read_only_flag_is_sent_to_those_who_know_it() {
    let session = SessionId::new(0x0100_000f_c934_0000);
    let password = Buffer::new(Bytes::copy_from_slice(&session_password(session)));
    for read_only in [None, Some(false), Some(true)] {
        let frame = ClientFrame::Connect(ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::new(PeerEpoch::new(1), 7),
            timeout_ms: 4000,
            session,
            password: password.clone(),
            read_only,
        });
        let payload = frame.encode();
        assert_eq!(payload.len(), 44 + usize::from(read_only.is_some()));
        assert_eq!(ClientFrame::decode_connect(&payload), Ok(frame));
    }
}

#[test]
fn notification_needs_no_request() {
    let event =
        WatcherEvent { event: EventType::NodeDeleted, state: KeeperState::SyncConnected, path: "/a".to_owned() };
    for zxid in [None, Some(Zxid::new(PeerEpoch::new(1), 2))] {
        let frame = ServerFrame::Notification { zxid, event: event.clone() };
        let payload = frame.encode();
        assert_eq!(ServerFrame::decode(&payload, None), Ok(frame.clone()));
        assert_eq!(ServerFrame::decode(&payload, Some(OpCode::GetData)), Ok(frame));
    }
}

#[test]
fn reply_to_a_ping_does_not_answer_the_oldest_request() {
    let header = ReplyHeader { xid: Xid::PING, zxid: Some(Zxid::ZERO), err: ErrorCode::Ok };
    let frame = ServerFrame::Reply { header, response: None };
    assert_eq!(ServerFrame::decode(&frame.encode(), Some(OpCode::GetData)), Ok(frame));
}

#[test]
fn reply_nobody_awaits_is_refused() {
    let header = ReplyHeader { xid: Xid::FIRST, zxid: Some(Zxid::ZERO), err: ErrorCode::Ok };
    let response = Some(Response::Sync(SyncResponse { path: None }));
    let frame = ServerFrame::Reply { header, response };
    assert_eq!(ServerFrame::decode(&frame.encode(), None), Err(DecodeError::TrailingBytes(4)));
    assert_eq!(ServerFrame::decode(&frame.encode(), Some(OpCode::Sync)), Ok(frame));
}

#[test]
fn null_path_is_a_bad_argument_to_set_data_only() {
    let refusal = |op: i32| {
        let payload = jute::to_bytes(&(1_i32, op, -1_i32, -1_i32, -1_i32));
        ClientFrame::decode(&payload).unwrap().refusal()
    };
    assert_eq!(refusal(5), Some(ErrorCode::BadArguments));
    assert_eq!(refusal(2), Some(ErrorCode::MarshallingError));
    assert_eq!(refusal(500), Some(ErrorCode::Unimplemented));
    assert_eq!(refusal(-11), None);
}

#[test]
fn null_acl_id_is_an_invalid_acl() {
    let payload = jute::to_bytes(&(1_i32, 7_i32, "/a", 1_i32, 31_i32, -1_i32, "anyone", -1_i32));
    assert_eq!(ClientFrame::decode(&payload).unwrap().refusal(), Some(ErrorCode::InvalidAcl));
}

#[test]
fn frame_cut_anywhere_is_an_error_or_malformed() {
    let set = SetDataRequest { path: "/a".to_owned(), data: Buffer::new(&b"x"[..]), version: Version::ANY };
    let ops = vec![MultiOp::SetData(set)];
    let frame = ClientFrame::Request { xid: Xid::FIRST, request: Request::Multi(MultiRequest { ops }) };
    let payload = frame.encode();
    assert_eq!(ClientFrame::decode(&payload), Ok(frame));
    for length in 0..payload.len() {
        match ClientFrame::decode(&payload[..length]) {
            Err(DecodeError::Truncated { .. }) => assert!(length < 8),
            Ok(ClientFrame::Malformed { error: DecodeError::Truncated { .. }, .. }) => assert!(length >= 8),
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}
