//! Transactions in a user's words. Only violations are told with them.

use jute::op::ErrorCode;
use jute::txn::{Txn, TxnEntry};

/// What a transaction does, such as `setData /a (version 3)`.
pub(crate) fn describe(entry: &[u8]) -> String {
    let Ok(TxnEntry { header, txn, .. }) = TxnEntry::decode(entry) else {
        return "a transaction nobody has seen".to_owned();
    };
    let what = describe_txn(&txn);
    if let Txn::CreateSession(_) | Txn::CloseSession(_) = txn { format!("{what} of {}", header.session) } else { what }
}

fn describe_txn(txn: &Txn) -> String {
    let op = txn.op();
    match txn {
        Txn::Create(create) | Txn::Create2(create) => {
            format!("create {}{}", create.path, if create.ephemeral { " (ephemeral)" } else { "" })
        }
        Txn::CreateContainer(create) => format!("{op} {}", create.path),
        Txn::CreateTtl(create) => format!("{op} {}", create.path),
        Txn::Delete(delete) | Txn::DeleteContainer(delete) => format!("delete {}", delete.path),
        Txn::SetData(set) | Txn::Reconfig(set) => format!("{op} {} (version {})", set.path, set.version),
        Txn::SetAcl(set) => format!("{op} {}", set.path),
        Txn::CreateSession(_) | Txn::CloseSession(_) => op.to_string(),
        Txn::Error(error) => refused(error.err),
        Txn::Check(check) => format!("check {}", check.path),
        Txn::Multi(parts) => {
            let parts: Vec<String> = parts.iter().map(describe_txn).collect();
            format!("multi of {}", parts.join(", "))
        }
    }
}

fn refused(err: ErrorCode) -> String {
    format!("a request refused with {err}")
}
