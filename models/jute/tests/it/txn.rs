//! Transactions by vector, in current and legacy forms.

use jute::data::Acl;
use jute::op::ErrorCode;
use jute::txn::{
    CheckVersionTxn, CloseSessionTxn, CreateContainerTxn, CreateSessionTxn, CreateTtlTxn, CreateTxn, DeleteTxn,
    ErrorTxn, SetAclTxn, SetDataTxn, Txn, TxnDigest, TxnEntry, TxnHeader,
};
use jute::{Buffer, DecodeError, PeerEpoch, SessionId, Version, Xid, Zxid};

fn entry(txn: Txn) -> TxnEntry {
    let header = TxnHeader {
        session: SessionId::new(0x0100_0036_6e66_0000),
        cxid: Xid::new(3),
        zxid: Zxid::new(PeerEpoch::new(1), 2),
        time_ms: 1_795_000_000_000,
    };
    TxnEntry { header, txn, digest: None }
}

fn digested(txn: Txn) -> TxnEntry {
    let digest = TxnDigest { version: 2, tree_digest: 0xfedc_ba98_7654_3210 };
    TxnEntry { digest: Some(digest), ..entry(txn) }
}

fn create(path: &str) -> CreateTxn {
    CreateTxn {
        path: path.to_owned(),
        data: Buffer::NULL,
        acl: Acl::open(),
        ephemeral: true,
        parent_cversion: Some(Version::new(4)),
    }
}

fn close(paths: &[&str]) -> Txn {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    Txn::CloseSession(Some(CloseSessionTxn { paths }))
}

#[test]
fn entries_have_the_sizes_of_a_real_log() {
    let session = digested(Txn::CreateSession(CreateSessionTxn { timeout_ms: 4000 }));
    assert_eq!(session.encode().len(), 48);
    let error = entry(Txn::Error(ErrorTxn { err: ErrorCode::NoNode }));
    assert_eq!(error.encode().len(), 36);
}

#[test]
fn every_transaction_comes_back_with_and_without_digest() {
    let data = Buffer::new(&b"data"[..]);
    let path = || "/a".to_owned();
    let acl = Acl::open;
    let parent_cversion = Some(Version::new(9));
    let version = Version::new(1);
    let delete = DeleteTxn { path: path() };
    let set = SetDataTxn { path: path(), data: data.clone(), version };
    let error = Txn::Error(ErrorTxn { err: ErrorCode::RuntimeInconsistency });
    let container = CreateContainerTxn { path: path(), data: data.clone(), acl: acl(), parent_cversion };
    let ttl = CreateTtlTxn { path: path(), data, acl: acl(), parent_cversion, ttl_ms: 5 };
    let parts = vec![
        Txn::Create(create("/b")),
        Txn::Create2(create("/c")),
        Txn::CreateContainer(container.clone()),
        Txn::CreateTtl(ttl.clone()),
        Txn::Delete(delete.clone()),
        Txn::SetData(set.clone()),
        Txn::Check(CheckVersionTxn { path: path(), version }),
        error.clone(),
    ];
    for txn in [
        Txn::Create(create("/a")),
        Txn::Create2(create("/a")),
        Txn::CreateContainer(container),
        Txn::CreateTtl(ttl),
        Txn::Delete(delete.clone()),
        Txn::DeleteContainer(delete),
        Txn::SetData(set.clone()),
        Txn::Reconfig(set),
        Txn::SetAcl(SetAclTxn { path: path(), acl: acl(), version }),
        Txn::CreateSession(CreateSessionTxn { timeout_ms: 4000 }),
        close(&["/a", "/b"]),
        close(&["/abc"]),
        close(&[]),
        Txn::CloseSession(None),
        error,
        Txn::Multi(parts),
        Txn::Multi(vec![]),
    ] {
        for entry in [entry(txn.clone()), digested(txn)] {
            assert_eq!(TxnEntry::decode(&entry.encode()), Ok(entry));
        }
    }
}

#[test]
fn create_from_before_3_4_has_no_parent_cversion() {
    let bytes = entry(Txn::Create(create("/a"))).encode();
    let legacy = TxnEntry::decode(&bytes[..bytes.len() - 4]).unwrap();
    let expected = entry(Txn::Create(CreateTxn { parent_cversion: None, ..create("/a") }));
    assert_eq!(legacy, expected);
    // It is written in the current form, since a digest may follow.
    assert_eq!(legacy.encode().len(), bytes.len());
    assert_eq!(TxnEntry::decode(&legacy.encode()), Ok(expected));
}

#[test]
fn unknown_type_makes_an_entry_unreadable() {
    let mut bytes = entry(Txn::CloseSession(None)).encode().to_vec();
    for code in [4_i32, 13, 99] {
        bytes.truncate(28);
        bytes.extend(code.to_be_bytes());
        bytes.extend([0, 0, 0, 2, b'/', b'a', 0, 0, 0, 1]);
        let found = i64::from(code);
        assert_eq!(
            TxnEntry::decode(&bytes),
            Err(DecodeError::BadValue { found, expected: "a transaction type".to_owned() })
        );
    }
}

#[test]
fn multi_in_a_multi_is_refused() {
    let mut bytes = entry(Txn::Multi(vec![])).encode().to_vec();
    bytes.truncate(32);
    bytes.extend(jute::to_bytes(&vec![(14_i32, vec![0_i32; 0])]));
    assert!(matches!(TxnEntry::decode(&bytes), Err(DecodeError::BadValue { found: 14, .. })));
}

#[test]
fn bytes_after_the_digest_are_refused() {
    let bytes = [&digested(Txn::Error(ErrorTxn { err: ErrorCode::NoNode })).encode()[..], &[0]].concat();
    assert_eq!(TxnEntry::decode(&bytes), Err(DecodeError::TrailingBytes(1)));
}

#[test]
#[should_panic(expected = "a multi holds no setACL")]
fn multi_of_an_acl_is_our_mistake() {
    let acl = SetAclTxn { path: "/a".to_owned(), acl: vec![], version: Version::ZERO };
    entry(Txn::Multi(vec![Txn::SetAcl(acl)])).encode();
}
