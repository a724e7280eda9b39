//! Access control lists: what a request may bring, and whom a list lets do what (zookeeper.md §6.2, §6.3).

use std::net::Ipv6Addr;

use jute::data::{Acl, Id};
use jute::op::ErrorCode;

use super::identity::{DIGEST, IP, SUPER};
use crate::config::{Release, ServerConfig};

/// The list to store (`fixupACL`): without repetitions, `auth` replaced by the connection's own identities.
///
/// # Errors
/// `InvalidAcl` if there is none, or an entry names nobody.
pub(super) fn fix(acl: Option<&[Acl]>, ids: &[Id], release: Release) -> Result<Vec<Acl>, ErrorCode> {
    let mut unique: Vec<&Acl> = Vec::new();
    for entry in acl.unwrap_or_default() {
        if !unique.contains(&entry) {
            unique.push(entry);
        }
    }
    let mut fixed: Vec<Acl> = Vec::new();
    for entry in unique {
        if entry.id.scheme == "auth" {
            // An address is no proof of who somebody is; nobody provides `super`.
            let own = ids.iter().filter(|id| id.scheme == DIGEST);
            let before = fixed.len();
            fixed.extend(own.map(|id| Acl { perms: entry.perms, id: id.clone() }));
            if fixed.len() == before {
                return Err(ErrorCode::InvalidAcl);
            }
        } else if is_valid(&entry.id, release) {
            fixed.push(entry.clone());
        } else {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    if fixed.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(fixed) }
}

/// Whether a list lets one of these identities do what the bits say (`checkACL`). An empty list lets everybody: it is of a znode whose
/// list a fuzzy snapshot lacks.
///
/// # Errors
/// `NoAuth`.
pub(super) fn check(acl: &[Acl], perms: i32, ids: &[Id], config: &ServerConfig) -> Result<(), ErrorCode> {
    if config.skip_acl || acl.is_empty() || ids.iter().any(|id| id.scheme == SUPER) {
        return Ok(());
    }
    let lets = |entry: &Acl| {
        entry.perms & perms != 0
            && (entry.id.scheme == "world" && entry.id.id == "anyone"
                || ids.iter().any(|id| id.scheme == entry.id.scheme && matches(id, &entry.id)))
    };
    if acl.iter().any(lets) { Ok(()) } else { Err(ErrorCode::NoAuth) }
}

/// Whether an identity is who an entry of the same scheme means.
fn matches(id: &Id, meant: &Id) -> bool {
    match id.scheme.as_str() {
        DIGEST => id.id == meant.id,
        IP => {
            let Some((mut range, bits)) = address_range(&meant.id, Release::V3_9_5) else { return false };
            let Some(mut address) = address_bytes(&id.id, Release::V3_9_5) else { return false };
            mask(&mut range, bits);
            mask(&mut address, bits);
            range == address
        }
        _ => false,
    }
}

/// A list as it is shown to who may read the znode but not administer it: without the secrets of digests.
pub(super) fn masked(acl: &[Acl]) -> Vec<Acl> {
    let mask = |entry: &Acl| {
        let mut entry = entry.clone();
        if entry.id.scheme == DIGEST
            && let Some((user, _)) = entry.id.id.split_once(':')
        {
            entry.id.id = format!("{user}:x");
        }
        entry
    };
    acl.iter().map(mask).collect()
}

fn is_valid(id: &Id, release: Release) -> bool {
    match id.scheme.as_str() {
        "world" => id.id == "anyone",
        // Exactly two parts. Java's split drops empty ones at the end, so the second must not be empty.
        DIGEST => id.id.split_once(':').is_some_and(|(_, digest)| !digest.is_empty() && !digest.contains(':')),
        IP => address_range(&id.id, release).is_some(),
        _ => false,
    }
}

/// An address, and how many of its bits count: all unless it says so.
fn address_range(id: &str, release: Release) -> Option<(Vec<u8>, usize)> {
    let (address, bits) = id.split_once('/').map_or((id, None), |(address, bits)| (address, Some(bits)));
    let address = address_bytes(address, release)?;
    let all = address.len() * 8;
    let bits = bits.map_or(Some(all), |bits| bits.parse().ok())?;
    (bits <= all).then_some((address, bits))
}

fn address_bytes(address: &str, release: Release) -> Option<Vec<u8>> {
    // As Java reads it: leading zeros are nothing special.
    let parts: Vec<Option<u8>> = address.split('.').map(|part| part.parse().ok()).collect();
    if parts.len() == 4 {
        return parts.into_iter().collect();
    }
    let is_known = release != Release::V3_8_0;
    address.parse::<Ipv6Addr>().ok().filter(|_| is_known).map(|address| address.octets().to_vec())
}

fn mask(address: &mut [u8], bits: usize) {
    for (at, byte) in address.iter_mut().enumerate() {
        let kept = bits.saturating_sub(at * 8).min(8);
        *byte &= !u8::MAX.checked_shr(u32::try_from(kept).expect("at most eight")).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use jute::data::perms;

    use super::*;

    fn id(scheme: &str, id: &str) -> Id {
        Id { scheme: scheme.to_owned(), id: id.to_owned() }
    }

    fn entry(scheme: &str, who: &str) -> Acl {
        Acl { perms: perms::ALL, id: id(scheme, who) }
    }

    fn fixed(acl: Option<&[Acl]>, ids: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
        fix(acl, ids, Release::V3_9_5)
    }

    #[test]
    fn list_that_names_nobody_is_invalid() {
        assert_eq!(fixed(None, &[]), Err(ErrorCode::InvalidAcl));
        assert_eq!(fixed(Some(&[]), &[]), Err(ErrorCode::InvalidAcl));
        for (scheme, who) in [
            ("foo", "x"),
            ("auth", ""),
            ("digest", "u"),
            ("digest", "u:"),
            ("digest", "u:p:q"),
            ("ip", "999.0.0.1"),
            ("ip", "10.0.0.0/33"),
            ("world", "nobody"),
            ("super", ""),
            ("", ""),
        ] {
            assert_eq!(fixed(Some(&[entry(scheme, who)]), &[]), Err(ErrorCode::InvalidAcl), "{scheme}:{who}");
        }
    }

    #[test]
    fn ipv6_is_known_since_3_9() {
        let list = [entry("ip", "fd00::/8")];
        assert_eq!(fix(Some(&list), &[], Release::V3_8_0), Err(ErrorCode::InvalidAcl));
        assert_eq!(fixed(Some(&list), &[]), Ok(list.to_vec()));
    }

    #[test]
    fn repetitions_are_dropped() {
        let list =
            [entry("world", "anyone"), entry("digest", "u:p"), entry("world", "anyone"), entry("ip", "10.0.0.0/8")];
        let kept = [entry("world", "anyone"), entry("digest", "u:p"), entry("ip", "10.0.0.0/8")];
        assert_eq!(fixed(Some(&list), &[]), Ok(kept.to_vec()));
    }

    #[test]
    fn auth_stands_for_every_proved_identity() {
        let ids = [id("ip", "10.0.0.1"), id("digest", "u:p"), id("super", ""), id("digest", "v:q")];
        let own = [entry("digest", "u:p"), entry("digest", "v:q")];
        assert_eq!(fixed(Some(&[entry("auth", "whatever")]), &ids), Ok(own.to_vec()));
        assert_eq!(fixed(Some(&[entry("auth", "")]), &ids[..1]), Err(ErrorCode::InvalidAcl));
    }

    #[track_caller]
    fn checked(list: &[Acl], perms: i32, ids: &[Id]) -> bool {
        check(list, perms, ids, &ServerConfig::standalone()).is_ok()
    }

    #[test]
    fn list_lets_whom_it_names_do_what_it_says() {
        let reader = [Acl { perms: perms::READ, id: id("digest", "u:p") }];
        assert!(checked(&reader, perms::READ, &[id("digest", "u:p")]));
        assert!(checked(&reader, perms::READ | perms::ADMIN, &[id("digest", "u:p")]), "one of the two is enough");
        assert!(!checked(&reader, perms::WRITE, &[id("digest", "u:p")]));
        assert!(!checked(&reader, perms::READ, &[id("digest", "u:q"), id("ip", "10.0.0.1")]));
        assert!(checked(&reader, perms::WRITE, &[id("super", "")]));
        assert!(checked(&[], perms::WRITE, &[]));
        assert!(checked(&Acl::open(), perms::ADMIN, &[]));
        let skips = ServerConfig { skip_acl: true, ..ServerConfig::standalone() };
        assert_eq!(check(&reader, perms::WRITE, &[], &skips), Ok(()));
    }

    #[test]
    fn address_is_compared_in_the_bits_that_count() {
        for (range, lets) in [
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("10.1.0.0/16", true),
            ("10.0.0.0/15", true),
            ("10.2.0.0/15", false),
            ("11.1.2.3/0", true),
            ("fd00::/8", false),
        ] {
            assert_eq!(checked(&[entry("ip", range)], perms::READ, &[id("ip", "10.1.2.3")]), lets, "{range}");
        }
    }

    #[test]
    fn secrets_of_digests_are_masked() {
        let list = [entry("digest", "u:p"), entry("world", "anyone")];
        assert_eq!(masked(&list), [entry("digest", "u:x"), entry("world", "anyone")]);
    }
}
