//! ACLs as a create brings them (zookeeper.md §6.3).
//!
//! Simplified: lists are checked, stored, logged and carried in snapshots, but never enforced, and no connection has more
//! than its `ip` identity: `NoAuth` does not happen.

use std::net::{Ipv4Addr, Ipv6Addr};

use jute::data::Acl;
use jute::op::ErrorCode;

/// The list to store: without repetitions.
///
/// # Errors
/// `InvalidAcl` if there is none, or an entry names nobody.
pub(super) fn fix(acl: Option<&[Acl]>) -> Result<Vec<Acl>, ErrorCode> {
    let mut fixed: Vec<Acl> = Vec::new();
    for entry in acl.unwrap_or_default() {
        if !is_valid(entry) {
            return Err(ErrorCode::InvalidAcl);
        }
        if !fixed.contains(entry) {
            fixed.push(entry.clone());
        }
    }
    if fixed.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(fixed) }
}

fn is_valid(entry: &Acl) -> bool {
    match entry.id.scheme.as_str() {
        "world" => entry.id.id == "anyone",
        // Exactly two parts. Java's split drops empty ones at the end, so the second must not be empty.
        "digest" => entry.id.id.split_once(':').is_some_and(|(_, digest)| !digest.is_empty() && !digest.contains(':')),
        "ip" => is_ip_expression(&entry.id.id),
        // `auth` stands for the connection's own authenticated identities, and no connection has any.
        _ => false,
    }
}

/// An address, or an address and how many of its bits count.
fn is_ip_expression(id: &str) -> bool {
    let (address, bits) = id.split_once('/').map_or((id, None), |(address, bits)| (address, Some(bits)));
    let bits_max = if address.parse::<Ipv4Addr>().is_ok() {
        32
    } else if address.parse::<Ipv6Addr>().is_ok() {
        128
    } else {
        return false;
    };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= bits_max))
}

#[cfg(test)]
mod tests {
    use jute::data::{Id, perms};

    use super::*;

    fn entry(scheme: &str, id: &str) -> Acl {
        Acl { perms: perms::ALL, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } }
    }

    #[test]
    fn list_that_names_nobody_is_invalid() {
        assert_eq!(fix(None), Err(ErrorCode::InvalidAcl));
        assert_eq!(fix(Some(&[])), Err(ErrorCode::InvalidAcl));
        for (scheme, id) in [
            ("foo", "x"),
            ("auth", ""),
            ("digest", "u"),
            ("digest", "u:"),
            ("digest", "u:p:q"),
            ("ip", "999.0.0.1"),
            ("ip", "10.0.0.0/33"),
            ("world", "nobody"),
            ("", ""),
        ] {
            assert_eq!(fix(Some(&[entry(scheme, id)])), Err(ErrorCode::InvalidAcl), "{scheme}:{id}");
        }
    }

    #[test]
    fn repetitions_are_dropped() {
        let list =
            [entry("world", "anyone"), entry("digest", "u:p"), entry("world", "anyone"), entry("ip", "10.0.0.0/8")];
        let fixed = fix(Some(&list)).unwrap();
        assert_eq!(fixed, [entry("world", "anyone"), entry("digest", "u:p"), entry("ip", "10.0.0.0/8")]);
    }
}
