//! Who a connection is (zookeeper.md §6.4, §6.5): `ip` of itself, `digest` and `super` once it has proved them.
//!
//! Schemes of `authProvider.N` (x509, sasl with a server side) are absent, as in a server that configures none.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jute::Buffer;
use jute::client::ClientInfo;
use jute::data::Id;
use sha1::{Digest, Sha1};

/// The scheme of who may do everything.
pub(super) const SUPER: &str = "super";
/// The scheme of names with passwords.
pub(super) const DIGEST: &str = "digest";
/// The scheme of addresses.
pub(super) const IP: &str = "ip";

/// An authentication that failed, or whose scheme nobody provides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AuthFailed;

/// What a proof adds to the identities of a connection.
pub(super) fn authenticate(
    scheme: Option<&str>,
    proof: &Buffer,
    address: Id,
    super_digest: Option<&str>,
) -> Result<Vec<Id>, AuthFailed> {
    match scheme {
        // Whatever address it names, it gets its own.
        Some(IP) => Ok(vec![address]),
        Some(DIGEST) => {
            let proof = proof.bytes().ok_or(AuthFailed)?;
            let id = Id { scheme: DIGEST.to_owned(), id: digest_id(proof) };
            let is_super = super_digest.is_some_and(|digest| digest == id.id);
            let mut ids = Vec::new();
            if is_super {
                ids.push(Id { scheme: SUPER.to_owned(), id: String::new() });
            }
            ids.push(id);
            Ok(ids)
        }
        Some(_) | None => Err(AuthFailed),
    }
}

/// `user:base64(SHA-1("user:password"))`.
fn digest_id(proof: &[u8]) -> String {
    let text = String::from_utf8_lossy(proof);
    let user = text.split(':').next().expect("a split has a first part");
    format!("{user}:{}", STANDARD.encode(Sha1::digest(text.as_bytes())))
}

/// What whoAmI tells of an identity: of a digest the user alone, of a scheme without a provider nothing.
pub(super) fn client_info(id: &Id) -> ClientInfo {
    let user = match id.scheme.as_str() {
        DIGEST => id.id.split(':').next().expect("a split has a first part"),
        IP => &id.id,
        _ => "",
    };
    ClientInfo { auth_scheme: id.scheme.clone(), user: user.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Id {
        Id { scheme: IP.to_owned(), id: "10.0.0.1".to_owned() }
    }

    #[test]
    fn digest_of_a_password_is_the_real_servers() {
        let ids = authenticate(Some(DIGEST), &Buffer::new(&b"u:p"[..]), address(), None).unwrap();
        assert_eq!(ids, [Id { scheme: DIGEST.to_owned(), id: "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=".to_owned() }]);
        assert_eq!(client_info(&ids[0]).user, "u");
    }

    #[test]
    fn super_digest_makes_super_beside_the_name() {
        let digest = Some("u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
        let ids = authenticate(Some(DIGEST), &Buffer::new(&b"u:p"[..]), address(), digest).unwrap();
        assert_eq!(ids.iter().map(|id| id.scheme.as_str()).collect::<Vec<_>>(), [SUPER, DIGEST]);
    }

    #[test]
    fn schemes_nobody_provides_fail() {
        for scheme in [None, Some("world"), Some("auth"), Some("sasl"), Some("x509"), Some("")] {
            assert_eq!(authenticate(scheme, &Buffer::new(&b"x"[..]), address(), None), Err(AuthFailed));
        }
        assert_eq!(authenticate(Some(DIGEST), &Buffer::NULL, address(), None), Err(AuthFailed));
        assert_eq!(authenticate(Some(IP), &Buffer::new(&b"1.2.3.4"[..]), address(), None), Ok(vec![address()]));
    }
}
